"""Which process leads, where several stand by. No evidence: the row is overwritten each few seconds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORDS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("id", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("holder", WORDS, nullable=False),
        sa.Column("epoch", WHOLE, nullable=False),
        sa.Column("until", WHOLE, nullable=False),
        sa.CheckConstraint("id = 1", name="lease_is_one_row"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    op.drop_table("lease")
