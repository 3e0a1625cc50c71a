"""When payloads were last used, and which deliveries were given up, known without reading all that happened.

The index by kind leaves out runs, which are nearly all entries. From here on entries and blobs may be packed in ways
that an older version cannot read.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORDS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NO_RUN = sa.text("kind != 'run'")
NEW_WAYS = 3  # the first number of packing.py that is new


def upgrade() -> None:
    op.create_table(
        "payload",
        sa.Column("id", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("log", WHOLE, nullable=False),
        sa.Column("newest", WHOLE, nullable=False),
        sa.Column("first", WHOLE, nullable=False),
        sa.Column("last", WHOLE, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "counted",
        sa.Column("id", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("size", WHOLE, nullable=False),
        sa.CheckConstraint("id = 1", name="counted_is_one_row"),
        sqlite_strict=True,
    )
    op.create_table(
        "given_up",
        sa.Column("seq", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("alert", WHOLE, nullable=False),
        sa.Column("channel", WORDS, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("given_up_by_alert", "given_up", ["alert"])
    op.drop_index("entry_by_kind", "entry")
    op.create_index("entry_by_kind", "entry", ["kind", "seq"], sqlite_where=NO_RUN, postgresql_where=NO_RUN)


def downgrade() -> None:
    """Refuses once anything was packed in a new way: an older version would take it for damaged."""
    for table in ("entry", "blob"):
        query = sa.text(f"SELECT count(*) FROM {table} WHERE encoding >= {NEW_WAYS}")  # noqa: S608  no word of a user's
        if held := op.get_bind().execute(query).scalar_one():
            raise RuntimeError(f"{held} rows of {table} are packed in a way that an older version does not know")
    op.drop_index("entry_by_kind", "entry")
    op.create_index("entry_by_kind", "entry", ["kind", "seq"])
    op.drop_table("given_up")
    op.drop_table("counted")
    op.drop_table("payload")
