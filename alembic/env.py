"""Runs the migrations on the connection that it is handed, or on ``alembic -x url=sqlite:///ledger.db`` by hand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from collector.ledger.tables import metadata


def migrate(connection: sa.Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


handed: sa.Connection | None = context.config.attributes.get("connection")
if handed is not None:
    migrate(handed)
elif "url" in (arguments := context.get_x_argument(as_dictionary=True)):
    engine = sa.create_engine(arguments["url"])
    try:
        with engine.begin() as connection:
            migrate(connection)
    finally:
        engine.dispose()
else:
    raise SystemExit("say which database: alembic -x url=sqlite:///ledger.db ...")
