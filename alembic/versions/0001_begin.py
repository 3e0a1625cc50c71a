"""The log with its guards, and the tables that are derived from it.

The guards refuse to edit the log. They are a rail against accidents, not evidence: whoever owns the file can drop them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORDS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def key(name: str = "id") -> sa.Column[Any]:
    return sa.Column(name, WHOLE, primary_key=True, autoincrement=False)


def whole(name: str, *items: Any, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, WHOLE, *items, nullable=null)


def text(name: str, *, primary_key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, WORDS, primary_key=primary_key, nullable=False)


def data(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary, nullable=null)


def table(name: str, *items: Any) -> None:
    op.create_table(name, *items, sqlite_strict=True)


# Which rows would take the place of others, or stand where they do not belong. INSERT is guarded too, since SQLite's
# INSERT OR REPLACE deletes without a trigger.
GUARDS = {
    "head": "EXISTS (SELECT 1 FROM head)",
    "entry": "NEW.seq <> (SELECT coalesce(max(seq) + 1, 0) FROM entry)",
    "tile": "EXISTS (SELECT 1 FROM tile WHERE level = NEW.level AND n = NEW.n)",
    "blob": "EXISTS (SELECT 1 FROM blob WHERE id = NEW.id OR digest = NEW.digest)",
    "checkpoint": "NEW.size <= (SELECT max(size) FROM checkpoint)",
}
# Only the head may move, and only forward.
EDITS = {"head": "NEW.size < OLD.size OR NEW.origin <> OLD.origin OR NEW.id <> OLD.id"}
REFUSAL = "the rows of {} are appended in order and never edited"


def guards() -> Iterator[tuple[str, str, str]]:
    """Every trigger as (name, table, SQL), in the words of the database at hand."""
    make = postgres_guard if op.get_bind().dialect.name == "postgresql" else sqlite_guard
    for table, overwrites in GUARDS.items():
        yield f"{table}_no_update", table, make(f"{table}_no_update", table, "UPDATE", EDITS.get(table, ""))
        yield f"{table}_no_delete", table, make(f"{table}_no_delete", table, "DELETE", "")
        yield f"{table}_no_overwrite", table, make(f"{table}_no_overwrite", table, "INSERT", overwrites)


def sqlite_guard(name: str, table: str, event: str, when: str) -> str:
    refuse = f"SELECT RAISE(ABORT, '{REFUSAL.format(table)}')"
    return f"CREATE TRIGGER {name} BEFORE {event} ON {table} {f'WHEN {when}' if when else ''} BEGIN {refuse}; END"


def postgres_guard(name: str, table: str, event: str, when: str) -> str:
    """A function and its trigger, since a condition of a trigger may not ask other rows there."""
    kept = "OLD" if event == "DELETE" else "NEW"
    return f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF {when or "true"} THEN RAISE EXCEPTION '{REFUSAL.format(table)}'; END IF;
          RETURN {kept};
        END $$;
        CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}();
    """


def drop_guard(name: str, table: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}()")
    else:
        op.execute(f"DROP TRIGGER {name}")


def no_truncate(table: str) -> None:
    """PostgreSQL alone can empty a table without a trigger of a row."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(postgres_guard(f"{table}_no_truncate", table, "TRUNCATE", "").replace("EACH ROW", "EACH STATEMENT"))


def upgrade() -> None:
    log()
    derived()
    for _, _, sql in guards():
        op.execute(sql)
    for table in GUARDS:
        no_truncate(table)


def log() -> None:
    table("head", key(), text("origin"), whole("size"), sa.CheckConstraint("id = 1", name="head_is_one_row"))
    table(
        "entry",
        key("seq"),
        text("kind"),
        whole("at"),
        whole("encoding"),
        whole("base", sa.ForeignKey("entry.seq"), null=True),
        data("body"),
    )
    op.create_index("entry_by_kind", "entry", ["kind", "seq"])
    table("tile", key("level"), key("n"), data("hashes"))
    table("edge", key("level"), data("hashes"))
    table(
        "blob",
        key(),
        data("digest"),
        whole("size"),
        whole("encoding"),
        whole("base", sa.ForeignKey("blob.id"), null=True),
        whole("depth"),
        data("data"),
        sa.UniqueConstraint("digest", name="blob_digest"),
    )
    table("checkpoint", key("size"), data("root"), whole("at"), text("note"))


def derived() -> None:
    for name, more in {
        "check_name": [whole("entry", null=True)],
        "scope_name": [],
        "subject_name": [],
        "reason_text": [],
    }.items():
        table(name, key(), text("name"), *more, sa.UniqueConstraint("name", name=f"{name}_name"))
    table(
        "pair",
        key(),
        whole("check_id", sa.ForeignKey("check_name.id")),
        whole("scope_id", sa.ForeignKey("scope_name.id")),
        whole("latest_run", null=True),
        data("observations", null=True),
        sa.UniqueConstraint("check_id", "scope_id", name="pair_check_scope"),
    )
    table(
        "run",
        key("seq"),
        whole("pair_id", sa.ForeignKey("pair.id")),
        whole("account_id", sa.ForeignKey("scope_name.id")),
        whole("moment"),
        whole("by_hand"),
        whole("started"),
        whole("finished"),
        whole("population", null=True),
        whole("satisfied", null=True),
        whole("not_satisfied", null=True),
        whole("not_applicable", null=True),
        whole("undetermined", null=True),
        whole("failure_id", sa.ForeignKey("reason_text.id"), null=True),
        whole("reason_id", sa.ForeignKey("reason_text.id"), null=True),
    )
    op.create_index("run_by_moment", "run", ["moment"])
    interval(
        "state_interval",
        whole("subject_id", sa.ForeignKey("subject_name.id")),
        whole("state"),
        data("facts", null=True),
    )
    still = sa.text("to_run IS NULL")
    op.create_index("state_interval_open", "state_interval", ["pair_id"], sqlite_where=still, postgresql_where=still)
    op.create_index("state_interval_to", "state_interval", ["to_at"])
    interval("scope_interval", whole("seen"), whole("failure_id", sa.ForeignKey("reason_text.id")))
    op.create_index("scope_interval_pair", "scope_interval", ["pair_id", "to_run"])
    table(
        "span",
        key("seq"),
        text("kind"),
        whole("account_id", sa.ForeignKey("scope_name.id")),
        whole("since"),
        whole("until"),
    )
    op.create_index("span_by_account", "span", ["kind", "account_id", "seq"])
    table("open_alert", text("key", primary_key=True), whole("seq"))
    table("outbox", key("alert"), text("channel", primary_key=True), whole("attempt"), whole("retry_at", null=True))


def interval(name: str, *items: sa.Column[Any]) -> None:
    table(
        name,
        key(),
        whole("pair_id", sa.ForeignKey("pair.id")),
        *items,
        whole("reason_id", sa.ForeignKey("reason_text.id")),
        whole("from_run"),
        whole("to_run", null=True),
        whole("from_at"),
        whole("to_at", null=True),
        whole("since_run"),
        whole("since_at"),
    )


def downgrade() -> None:
    """Takes the tables away again, as long as nothing is in them: evidence is not migrated into nothing."""
    held = op.get_bind().execute(sa.text("SELECT count(*) FROM entry")).scalar_one()
    if held:
        raise RuntimeError(
            f"the ledger holds {held} entries; a downgrade would destroy them: move the file away instead"
        )
    for name, table, _ in guards():
        drop_guard(name, table)
    if op.get_bind().dialect.name == "postgresql":
        for table in GUARDS:
            drop_guard(f"{table}_no_truncate", table)
    for name in (
        "outbox",
        "open_alert",
        "span",
        "scope_interval",
        "state_interval",
        "run",
        "pair",
        "reason_text",
        "subject_name",
        "scope_name",
        "check_name",
        "checkpoint",
        "blob",
        "edge",
        "tile",
        "entry",
        "head",
    ):
        op.drop_table(name)
