"""Payloads that were dropped after their term: which, and by which entry.

A blob may be dropped only once its digest stands in ``expired``, and may be packed anew only as the same bytes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

REFUSE = "BEGIN SELECT RAISE(ABORT, 'the rows of {} are appended in order and never edited'); END"
EDITS = "NEW.id <> OLD.id OR NEW.digest <> OLD.digest OR NEW.size <> OLD.size OR NEW.base IS NOT NULL"
GUARDS = {
    "blob_no_update": ("blob", f"BEFORE UPDATE ON blob WHEN {EDITS}"),
    "blob_no_delete": (
        "blob",
        "BEFORE DELETE ON blob WHEN NOT EXISTS (SELECT 1 FROM expired WHERE digest = OLD.digest)",
    ),
    "expired_no_update": ("expired", "BEFORE UPDATE ON expired"),
    "expired_no_delete": ("expired", "BEFORE DELETE ON expired"),
    "expired_no_overwrite": (
        "expired",
        "BEFORE INSERT ON expired WHEN EXISTS (SELECT 1 FROM expired WHERE digest = NEW.digest)",
    ),
}
BEFORE = {
    "blob_no_update": ("blob", "BEFORE UPDATE ON blob"),
    "blob_no_delete": ("blob", "BEFORE DELETE ON blob"),
}


def upgrade() -> None:
    op.create_table(
        "expired",
        sa.Column("digest", sa.LargeBinary, primary_key=True, nullable=False),
        sa.Column("entry", WHOLE, nullable=False),
        sqlite_strict=True,
    )
    _swap(BEFORE, GUARDS)


def downgrade() -> None:
    """Refuses once anything expired: without this table it would look as if payloads had been taken away."""
    held = op.get_bind().execute(sa.text("SELECT count(*) FROM expired")).scalar_one()
    if held:
        raise RuntimeError(f"{held} payloads have expired; an older version would take them for missing")
    _swap(GUARDS, BEFORE)
    op.drop_table("expired")


def _swap(old: dict[str, tuple[str, str]], new: dict[str, tuple[str, str]]) -> None:
    for name in old:
        op.execute(f"DROP TRIGGER {name}")
    for name, (table, rest) in new.items():
        op.execute(f"CREATE TRIGGER {name} {rest} {REFUSE.format(table)}")
