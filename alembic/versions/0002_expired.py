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

REFUSAL = "the rows of {} are appended in order and never edited"
EDITS = "NEW.id <> OLD.id OR NEW.digest <> OLD.digest OR NEW.size <> OLD.size OR NEW.base IS NOT NULL"
GUARDS = {  # trigger: table, event, when it refuses
    "blob_no_update": ("blob", "UPDATE", EDITS),
    "blob_no_delete": ("blob", "DELETE", "NOT EXISTS (SELECT 1 FROM expired WHERE digest = OLD.digest)"),
    "expired_no_update": ("expired", "UPDATE", ""),
    "expired_no_delete": ("expired", "DELETE", ""),
    "expired_no_overwrite": ("expired", "INSERT", "EXISTS (SELECT 1 FROM expired WHERE digest = NEW.digest)"),
}
BEFORE = {
    "blob_no_update": ("blob", "UPDATE", ""),
    "blob_no_delete": ("blob", "DELETE", ""),
}


def upgrade() -> None:
    op.create_table(
        "expired",
        sa.Column("digest", sa.LargeBinary, primary_key=True, nullable=False),
        sa.Column("entry", WHOLE, nullable=False),
        sqlite_strict=True,
    )
    _swap(BEFORE, GUARDS)
    if op.get_bind().dialect.name == "postgresql":
        sql = _postgres("expired_no_truncate", "expired", "TRUNCATE", "").replace("EACH ROW", "EACH STATEMENT")
        op.execute(sql)


def downgrade() -> None:
    """Refuses once anything expired: without this table it would look as if payloads had been taken away."""
    held = op.get_bind().execute(sa.text("SELECT count(*) FROM expired")).scalar_one()
    if held:
        raise RuntimeError(f"{held} payloads have expired; an older version would take them for missing")
    _swap(GUARDS, BEFORE)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER expired_no_truncate ON expired; DROP FUNCTION expired_no_truncate()")
    op.drop_table("expired")


def _swap(old: dict[str, tuple[str, str, str]], new: dict[str, tuple[str, str, str]]) -> None:
    """Takes some triggers away and puts others there."""
    postgres = op.get_bind().dialect.name == "postgresql"
    for name, (table, _, _) in old.items():
        op.execute(f"DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}()" if postgres else f"DROP TRIGGER {name}")
    for name, (table, event, when) in new.items():
        op.execute((_postgres if postgres else _sqlite)(name, table, event, when))


def _sqlite(name: str, table: str, event: str, when: str) -> str:
    refuse = f"SELECT RAISE(ABORT, '{REFUSAL.format(table)}')"
    return f"CREATE TRIGGER {name} BEFORE {event} ON {table} {f'WHEN {when}' if when else ''} BEGIN {refuse}; END"


def _postgres(name: str, table: str, event: str, when: str) -> str:
    kept = "OLD" if event == "DELETE" else "NEW"
    return f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF {when or "true"} THEN RAISE EXCEPTION '{REFUSAL.format(table)}'; END IF;
          RETURN {kept};
        END $$;
        CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}();
    """
