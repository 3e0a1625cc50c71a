"""What was told about one thing, and the runs of one check over one scope, found without reading all.

The new table is derived: whoever upgrades fills it by rebuilding, which opening an older ledger does by itself.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORDS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "told",
        sa.Column("seq", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("key", WORDS, nullable=False),
        sa.Column("place", WORDS, nullable=False),
        sa.Column("event", WORDS, nullable=False),
        sa.Column("at", WHOLE, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("told_by_key", "told", ["key", "seq"])
    op.create_index("told_by_place", "told", ["place", "at"])
    op.create_index("run_by_pair", "run", ["pair_id", "seq"])


def downgrade() -> None:
    op.drop_index("run_by_pair", "run")
    op.drop_table("told")
