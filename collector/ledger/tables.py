"""The tables: the log itself, and what is derived from it. Says how things lie on disk and does nothing with them.

All times are microseconds since 1970 in UTC. Every table that is derived can be emptied and made again from the log.
The migrations in alembic/ make exactly these tables; a test compares.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem

from collector.model import State

metadata = MetaData()

Words = Text().with_variant(Text(collation="C"), "postgresql")  # ordered by code point, wherever the database lives
Whole = BigInteger().with_variant(Integer, "sqlite")  # SQLite: INTEGER has 64 bits, and alone is the row's own key


def _table(name: str, *items: SchemaItem) -> Table:
    return Table(name, metadata, *items, sqlite_strict=True)


def _key(name: str = "id") -> Column[int]:
    """A key that we count ourselves, under the writer's lock: rebuilding gives every row the number it had."""
    return Column(name, Whole, primary_key=True, autoincrement=False)


def _whole(name: str, *items: SchemaItem, null: bool = False) -> Column[int]:
    return Column(name, Whole, *items, nullable=null)


def _text(name: str, *items: SchemaItem) -> Column[str]:
    return Column(name, Words, *items, nullable=False)


def _bytes(name: str, *, null: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=null)


# --- the log: appended to, never edited ---

head = _table(
    "head",  # one row; whoever appends locks it first
    _key(),
    _text("origin"),
    _whole("size"),
    CheckConstraint("id = 1", name="head_is_one_row"),
)

entry = _table(
    "entry",
    _key("seq"),
    _text("kind"),
    _whole("at"),
    _whole("encoding"),  # packing.py
    _whole("base", ForeignKey("entry.seq"), null=True),  # the entry that a delta is against; itself never a delta
    _bytes("body"),
)
# Nearly all entries are runs, and those are found through ``run``: none of them is in here.
NO_RUN = entry.c.kind != "run"
Index("entry_by_kind", entry.c.kind, entry.c.seq, sqlite_where=NO_RUN, postgresql_where=NO_RUN)

tile = _table("tile", _key("level"), _key("n"), _bytes("hashes"))  # full tiles only, 8,192 bytes each
edge = _table("edge", _key("level"), _bytes("hashes"))  # the hashes of each level that fill no tile yet

blob = _table(
    "blob",
    _key(),
    _bytes("digest"),  # SHA-256 of the plain bytes
    _whole("size"),  # of the plain bytes
    _whole("encoding"),
    _whole("base", ForeignKey("blob.id"), null=True),
    _whole("depth"),  # how many bases are under it
    _bytes("data"),
    UniqueConstraint("digest", name="blob_digest"),
)

checkpoint = _table("checkpoint", _key("size"), _bytes("root"), _whole("at"), _text("note"))

expired = _table(
    "expired",  # digests of payloads that were dropped after their term; some may be kept again since
    Column("digest", LargeBinary, primary_key=True),
    _whole("entry"),  # the ``expiry`` entry that says so
)

LOG = (head, entry, tile, edge, blob, checkpoint, expired)

# --- of the moment: who collects ---

lease = _table(
    "lease",  # one row, where several processes stand by
    _key(),
    _text("holder"),  # host, process and a number of its own
    _whole("epoch"),  # raised whenever another takes over; appends compare it
    _whole("until"),  # by the database's clock
    CheckConstraint("id = 1", name="lease_is_one_row"),
)

# --- of the moment: when payloads were used ---

payload = _table(
    "payload",  # call logs and answers, as far as entries were counted
    _key(),  # of the blob
    _whole("log"),  # whether it is a call log
    _whole("newest"),  # the time of the newest entry that rests on it
    _whole("first"),  # the first slot for which it was read, or start of a run by hand
    _whole("last"),
)

counted = _table(
    "counted",  # one row, once anything was counted
    _key(),
    _whole("size"),  # the first so many entries are in ``payload``
    CheckConstraint("id = 1", name="counted_is_one_row"),
)

# --- derived: the words ---


def _words(name: str, *items: SchemaItem) -> Table:
    return _table(name, _key(), _text("name"), *items, UniqueConstraint("name", name=f"{name}_name"))


check_name = _words("check_name", _whole("entry", null=True))  # the newest ``check`` entry
scope_name = _words("scope_name")
subject_name = _words("subject_name")
reason_text = _words("reason_text")  # reasons of verdicts, reasons and codes of failures

# --- derived: what is true, and since when ---

STATES = (State.SATISFIED, State.NOT_SATISFIED, State.NOT_APPLICABLE, State.UNDETERMINED)  # by number; append only

pair = _table(
    "pair",  # one check over one scope
    _key(),
    _whole("check_id", ForeignKey("check_name.id")),
    _whole("scope_id", ForeignKey("scope_name.id")),
    _whole("latest_run", null=True),
    _bytes("observations", null=True),  # digest of the newest observations; the open states say the same
    UniqueConstraint("check_id", "scope_id", name="pair_check_scope"),
)

run = _table(
    "run",
    _key("seq"),
    _whole("pair_id", ForeignKey("pair.id")),
    _whole("account_id", ForeignKey("scope_name.id")),
    _whole("moment"),  # the slot, or the start of a run by hand
    _whole("by_hand"),
    _whole("started"),
    _whole("finished"),
    _whole("population", null=True),
    _whole("satisfied", null=True),
    _whole("not_satisfied", null=True),
    _whole("not_applicable", null=True),
    _whole("undetermined", null=True),
    _whole("failure_id", ForeignKey("reason_text.id"), null=True),
    _whole("reason_id", ForeignKey("reason_text.id"), null=True),
)
Index("run_by_moment", run.c.moment)
Index("run_by_pair", run.c.pair_id, run.c.seq)


def _interval(name: str, *items: SchemaItem) -> Table:
    return _table(
        name,
        _key(),
        _whole("pair_id", ForeignKey("pair.id")),
        *items,
        _whole("reason_id", ForeignKey("reason_text.id")),
        _whole("from_run"),
        _whole("to_run", null=True),  # the first run that found it otherwise
        _whole("from_at"),
        _whole("to_at", null=True),
        _whole("since_run"),  # the first run of the unbroken stretch in this state, whatever the reasons
        _whole("since_at"),
    )


state_interval = _interval(
    "state_interval",
    _whole("subject_id", ForeignKey("subject_name.id")),
    _whole("state"),  # place in STATES
    _bytes("facts", null=True),  # digest of the newest facts
)
Index("state_interval_open", state_interval.c.pair_id, sqlite_where=state_interval.c.to_run.is_(None),
      postgresql_where=state_interval.c.to_run.is_(None))  # fmt: skip
Index("state_interval_to", state_interval.c.to_at)

scope_interval = _interval(
    "scope_interval",
    _whole("seen"),
    _whole("failure_id", ForeignKey("reason_text.id")),
)
Index("scope_interval_pair", scope_interval.c.pair_id, scope_interval.c.to_run)

# --- derived: where to find entries ---

span = _table(
    "span",  # plans and gaps: entries about a stretch of time
    _key("seq"),
    _text("kind"),
    _whole("account_id", ForeignKey("scope_name.id")),
    _whole("since"),
    _whole("until"),
)
Index("span_by_account", span.c.kind, span.c.account_id, span.c.seq)

open_alert = _table("open_alert", Column("key", Words, primary_key=True), _whole("seq"))

told = _table(
    "told",  # alerts and acknowledgements by what they are about
    _key("seq"),
    _text("key"),  # "" for an acknowledgement of an alert that is unknown
    _text("place"),  # cause, check and scope as one word; "" for an acknowledgement
    _text("event"),  # of the alert, or "ack"
    _whole("at"),
)
Index("told_by_key", told.c.key, told.c.seq)
Index("told_by_place", told.c.place, told.c.at)

outbox = _table(
    "outbox",  # deliveries that are still owed
    _key("alert"),
    Column("channel", Words, primary_key=True),
    _whole("attempt"),  # the next one, from 1
    _whole("retry_at", null=True),  # not before
)

given_up = _table(
    "given_up",  # deliveries that were given up, of alerts that stand open
    _key("seq"),  # of the ``delivery`` entry
    _whole("alert"),
    _text("channel"),
)
Index("given_up_by_alert", given_up.c.alert)

DERIVED = (  # in an order in which they can be filled; emptied from the end
    check_name,
    scope_name,
    subject_name,
    reason_text,
    pair,
    run,
    state_interval,
    scope_interval,
    span,
    open_alert,
    told,
    outbox,
    given_up,
)
