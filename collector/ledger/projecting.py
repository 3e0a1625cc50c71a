"""Keeps the derived tables in step with the log: one entry at a time, from the entry and the blobs alone.

Whatever is written here can be thrown away and made again, row by row the same: no clock, no chance, no other source.
The questions that these tables answer are in projection.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from collector import canonical
from collector.ledger.entry import Entry, Kind
from collector.ledger.records import microseconds
from collector.ledger.tables import (
    DERIVED,
    STATES,
    check_name,
    given_up,
    open_alert,
    outbox,
    pair,
    reason_text,
    run,
    scope_interval,
    scope_name,
    span,
    state_interval,
    subject_name,
    told,
)
from collector.model import State

CHUNK = 500  # names asked for in one statement
WORDS_MAX = 50_000  # remembered at once: reasons may say what differs from subject to subject

ReadBlob = Callable[[str], bytes]

EVENTS = ("trigger", "update", "resolve", "escalate", "acknowledge", "explain", "digest")  # of alert entries

_NUMBER = {state.value: number for number, state in enumerate(STATES)}


class Projector:
    """Draws the consequences of entries within one transaction; what it remembers is true no longer than that."""

    def __init__(self, connection: sa.Connection, blob: ReadBlob) -> None:
        self.connection = connection
        self.blob = blob
        self._words: dict[tuple[str, str], int] = {}
        self._pairs: dict[tuple[str, str], _Pair] = {}
        self._free: dict[str, int] = {}

    def apply(self, entry: Entry) -> None:
        """Draws the consequences of one entry. Raises ValueError for an entry that lacks what its kind must say."""
        draw = _DRAW.get(entry.kind)
        if draw is None:
            return
        try:
            draw(self, entry)
        except KeyError as error:
            raise ValueError(
                f"a {entry.kind} entry without {error}; docs/reference/ledger.md lists its fields"
            ) from error

    def word(self, words: sa.Table, name: str) -> int:
        """The number of one word, which is new the first time."""
        return self.words(words, [name])[name]

    def words(self, words: sa.Table, names: Iterable[str]) -> dict[str, int]:
        """The numbers of a few words that come again and again; they are remembered."""
        wanted = set(names)
        if len(self._words) + len(wanted) > WORDS_MAX:
            self._words.clear()
        lacking = [name for name in wanted if (words.name, name) not in self._words]
        if lacking:
            numbers = _numbers_of(self, words, lacking)
            self._words.update(((words.name, name), number) for name, number in numbers.items())
        return {name: self._words[words.name, name] for name in wanted}

    def take(self, table: sa.Table, count: int = 1) -> int:
        """The first of so many row numbers that nobody has. Asked of the table once: who writes next waits for us."""
        first = self._free.get(table.name)
        if first is None:
            first = int(self.connection.execute(_NEXT[table.name]).scalar_one())
        self._free[table.name] = first + count
        return first

    def pair(self, check: str, scope: str) -> _Pair:
        """One check over one scope as it stands."""
        known = self._pairs.get((check, scope))
        if known is None:
            row = self.connection.execute(_PAIR, {"check": check, "scope": scope}).one_or_none()
            known = self._begin_pair(check, scope) if row is None else _Pair(*row)
            self._pairs[check, scope] = known
        return known

    def _begin_pair(self, check: str, scope: str) -> _Pair:
        begun = _Pair(self.take(pair))
        values = {"id": begun.id, "check_id": self.word(check_name, check), "scope_id": self.word(scope_name, scope)}
        self.connection.execute(_NEW[pair.name], values)
        return begun


@dataclass
class _Pair:
    """The row of ``pair`` with its open row of ``scope_interval``; the rest is None before the first run."""

    id: int
    observations: bytes | None = None
    interval: int | None = None
    seen: int | None = None
    reason: int | None = None
    failure: int | None = None
    since_run: int | None = None
    since_at: int | None = None


# Made once: to build a statement costs SQLAlchemy more than SQLite takes to execute it.
_NUMBERED = (check_name, scope_name, subject_name, reason_text, pair, scope_interval, state_interval)
_NEXT = {table.name: sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0) + 1) for table in _NUMBERED}
_NEW = {table.name: sa.insert(table) for table in (*_NUMBERED, open_alert, outbox, told)}
_CLOSE = {
    table.name: sa.update(table)
    .where(table.c.id == sa.bindparam("interval"))
    .values(to_run=sa.bindparam("seq"), to_at=sa.bindparam("at"))
    for table in (scope_interval, state_interval)
}
_FORGIVEN = sa.delete(given_up).where(
    given_up.c.alert.in_(sa.select(open_alert.c.seq).where(open_alert.c.key == sa.bindparam("calmed")))
)
_STANDS = sa.select(open_alert.c.seq).where(open_alert.c.seq == sa.bindparam("alert"))
_CALMED = sa.delete(open_alert).where(open_alert.c.key == sa.bindparam("calmed"))


def empty(connection: sa.Connection) -> None:
    """Throws all derived rows away."""
    for table in reversed(DERIVED):
        connection.execute(sa.delete(table))


# --- words ---


def _numbers_of(projector: Projector, words: sa.Table, names: Iterable[str]) -> dict[str, int]:
    """The numbers of many words; the new ones are counted in the order of the alphabet."""
    wanted = sorted(set(names))
    found: dict[str, int] = {}
    for start in range(0, len(wanted), CHUNK):
        query = sa.select(words.c.name, words.c.id).where(words.c.name.in_(wanted[start : start + CHUNK]))
        found.update((row.name, row.id) for row in projector.connection.execute(query))
    return found | _add(projector, words, [name for name in wanted if name not in found])


def _add(projector: Projector, words: sa.Table, names: list[str]) -> dict[str, int]:
    if not names:
        return {}
    numbers = {name: number for number, name in enumerate(names, projector.take(words, len(names)))}
    rows = [{"id": number, "name": name} for name, number in numbers.items()]
    projector.connection.execute(_NEW[words.name], rows)
    return numbers


# --- run ---

_PAIR = (
    sa.select(
        pair.c.id,
        pair.c.observations,
        scope_interval.c.id,
        scope_interval.c.seen,
        scope_interval.c.reason_id,
        scope_interval.c.failure_id,
        scope_interval.c.since_run,
        scope_interval.c.since_at,
    )
    .select_from(
        pair.join(check_name, check_name.c.id == pair.c.check_id)
        .join(scope_name, scope_name.c.id == pair.c.scope_id)
        .outerjoin(scope_interval, sa.and_(scope_interval.c.pair_id == pair.c.id, scope_interval.c.to_run.is_(None)))
    )
    .where(check_name.c.name == sa.bindparam("check"), scope_name.c.name == sa.bindparam("scope"))
)
_RUN = sa.insert(run)
_LATEST = (
    sa.update(pair)
    .where(pair.c.id == sa.bindparam("pair"))
    .values(latest_run=sa.bindparam("seq"), observations=sa.bindparam("digest"))
)


def _draw_run(projector: Projector, entry: Entry) -> None:
    data, connection = entry.data, projector.connection
    found = projector.pair(data["check"], data["scope"])
    seen, states = data["population"] is not None, data["states"]
    started = microseconds(canonical.moment(data["started"]))
    reason, failure = (projector.word(reason_text, word) for word in (data["reason"], data["failure"]))
    connection.execute(
        _RUN,
        {
            "seq": entry.seq,
            "pair_id": found.id,
            "account_id": projector.word(scope_name, data["account"]),
            "moment": started if data["slot"] is None else microseconds(canonical.moment(data["slot"])),
            "by_hand": int(data["slot"] is None),
            "started": started,
            "finished": microseconds(canonical.moment(data["finished"])),
            "population": data["population"],
            "satisfied": states[State.SATISFIED] if seen else None,
            "not_satisfied": states[State.NOT_SATISFIED] if seen else None,
            "not_applicable": states[State.NOT_APPLICABLE] if seen else None,
            "undetermined": states[State.UNDETERMINED] if seen else None,
            "failure_id": failure if data["failure"] else None,
            "reason_id": reason if data["reason"] else None,
        },
    )
    _move_scope(projector, found, int(seen), reason, failure, entry.seq, started)
    if seen:
        digest = bytes.fromhex(data["observations"])
        if digest != found.observations:
            subjects = canonical.parse(projector.blob(data["observations"]))["subjects"]
            _move_states(projector, found.id, subjects, entry.seq, started)
            found.observations = digest
    connection.execute(_LATEST, {"pair": found.id, "seq": entry.seq, "digest": found.observations})


def _move_scope(projector: Projector, found: _Pair, seen: int, reason: int, failure: int, seq: int, at: int) -> None:
    """Begins a new interval when the scope is seen or blind in another way than before."""
    if (found.seen, found.reason, found.failure) == (seen, reason, failure):
        return
    before = found.interval
    if found.seen != seen:
        found.since_run, found.since_at = seq, at
    found.interval = projector.take(scope_interval)
    found.seen, found.reason, found.failure = seen, reason, failure
    row = {
        "id": found.interval,
        "pair_id": found.id,
        "seen": seen,
        "failure_id": failure,
        "reason_id": reason,
        "from_run": seq,
        "from_at": at,
        "since_run": found.since_run,
        "since_at": found.since_at,
    }
    projector.connection.execute(_NEW[scope_interval.name], row)
    if before is not None:
        _close(projector.connection, scope_interval, [before], seq, at)


_OPEN = (
    sa.select(
        subject_name.c.name,
        state_interval.c.id,
        state_interval.c.subject_id,
        state_interval.c.state,
        state_interval.c.reason_id,
        state_interval.c.facts,
        state_interval.c.since_run,
        state_interval.c.since_at,
    )
    .join(subject_name, subject_name.c.id == state_interval.c.subject_id)
    .where(state_interval.c.pair_id == sa.bindparam("pair"), state_interval.c.to_run.is_(None))
)


def _move_states(projector: Projector, pair_id: int, subjects: list[dict[str, Any]], seq: int, at: int) -> None:
    """New intervals for subjects that are new or judged otherwise, then the end of those that no longer hold."""
    connection = projector.connection
    open_now = {row.name: row for row in connection.execute(_OPEN, {"pair": pair_id})}
    reasons = projector.words(reason_text, (subject["reason"] for subject in subjects))
    names = _numbers_of(projector, subject_name, (s["subject"] for s in subjects if s["subject"] not in open_now))
    begun: list[dict[str, Any]] = []
    present = {subject["subject"] for subject in subjects}
    ended = [row.id for name, row in sorted(open_now.items()) if name not in present]
    refreshed: list[dict[str, Any]] = []
    for subject in subjects:
        was = open_now.get(subject["subject"])
        state, reason = _NUMBER[subject["state"]], reasons[subject["reason"]]
        facts = None if subject["facts"] is None else bytes.fromhex(facts_digest(subject["facts"]))
        if was is not None and (was.state, was.reason_id) == (state, reason):
            if was.facts != facts:
                refreshed.append({"interval": was.id, "newest": facts})
            continue
        goes_on = was is not None and was.state == state
        begun.append(
            {
                "pair_id": pair_id,
                "subject_id": names[subject["subject"]] if was is None else was.subject_id,
                "state": state,
                "reason_id": reason,
                "facts": facts,
                "from_run": seq,
                "from_at": at,
                "since_run": was.since_run if was is not None and goes_on else seq,
                "since_at": was.since_at if was is not None and goes_on else at,
            }
        )
        if was is not None:
            ended.append(was.id)
    if begun:
        first = projector.take(state_interval, len(begun))
        rows = [{"id": number, **row} for number, row in enumerate(begun, first)]
        connection.execute(_NEW[state_interval.name], rows)
    if refreshed:
        connection.execute(_REFRESH, refreshed)
    if ended:
        _close(connection, state_interval, ended, seq, at)


_REFRESH = (
    sa.update(state_interval)
    .where(state_interval.c.id == sa.bindparam("interval"))
    .values(facts=sa.bindparam("newest"))
)


def facts_digest(facts: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of one subject's facts."""
    return canonical.digest(canonical.record(facts))


def _close(connection: sa.Connection, table: sa.Table, ids: list[int], seq: int, at: int) -> None:
    connection.execute(_CLOSE[table.name], [{"interval": id, "seq": seq, "at": at} for id in ids])


# --- the others ---


def _draw_check(projector: Projector, entry: Entry) -> None:
    number = projector.word(check_name, entry.data["check"])
    projector.connection.execute(sa.update(check_name).where(check_name.c.id == number).values(entry=entry.seq))


def _draw_span(projector: Projector, entry: Entry) -> None:
    projector.connection.execute(
        sa.insert(span),
        {
            "seq": entry.seq,
            "kind": entry.kind.value,
            "account_id": projector.word(scope_name, entry.data["account"]),
            "since": microseconds(canonical.moment(entry.data["since"])),
            "until": microseconds(canonical.moment(entry.data["until"])),
        },
    )


def _draw_alert(projector: Projector, entry: Entry) -> None:
    """A trigger opens its key, a resolve closes it; whatever it is, it is owed to each of its channels."""
    data = entry.data
    key, event = data["key"], data["event"]
    if event not in EVENTS:
        raise ValueError(f"an alert entry with event {event!r}; it is one of {', '.join(EVENTS)}")
    if event in ("trigger", "resolve"):
        projector.connection.execute(_FORGIVEN, {"calmed": key})
        projector.connection.execute(_CALMED, {"calmed": key})
    if event == "trigger":
        projector.connection.execute(_NEW[open_alert.name], {"key": key, "seq": entry.seq})
    place = place_of(data["cause"], data["check"], data["scope"])
    _tell(projector, entry, key, place, event)
    held = data.get("quiet", {})
    owed = [
        {
            "alert": entry.seq,
            "channel": channel,
            "attempt": 1,
            "retry_at": microseconds(canonical.moment(held[channel])) if channel in held else None,
        }
        for channel in sorted(set(data["channels"]))
    ]
    if owed:
        projector.connection.execute(_NEW[outbox.name], owed)


def _draw_ack(projector: Projector, entry: Entry) -> None:
    _tell(projector, entry, entry.data["key"], "", "ack")


def _tell(projector: Projector, entry: Entry, key: str, place: str, event: str) -> None:
    row = {"seq": entry.seq, "key": key, "place": place, "event": event, "at": microseconds(entry.at)}
    projector.connection.execute(_NEW[told.name], row)


def place_of(cause: str, check: str, scope: str) -> str:
    """What the alerts about the subjects of one check over one scope have in common, as one word."""
    return f"{cause}|{check}|{scope}"


def _draw_delivery(projector: Projector, entry: Entry) -> None:
    """Delivered or given up, it is owed no longer; failed, it is owed again. What was settled before stays settled."""
    data = entry.data
    if data["outcome"] == "gave-up" and projector.connection.execute(_STANDS, {"alert": data["alert"]}).first():
        row = {"seq": entry.seq, "alert": data["alert"], "channel": data["channel"]}
        projector.connection.execute(sa.insert(given_up), row)
    this = sa.and_(outbox.c.alert == data["alert"], outbox.c.channel == data["channel"])
    if data["outcome"] in ("delivered", "gave-up"):
        projector.connection.execute(sa.delete(outbox).where(this))
    elif data["outcome"] == "failed":
        retry = None if data["retry_at"] is None else microseconds(canonical.moment(data["retry_at"]))
        projector.connection.execute(sa.update(outbox).where(this).values(attempt=data["attempt"] + 1, retry_at=retry))
    else:
        raise ValueError(f"a delivery entry with outcome {data['outcome']!r}; it is delivered, failed or gave-up")


_DRAW: dict[Kind, Callable[[Projector, Entry], None]] = {
    Kind.RUN: _draw_run,
    Kind.CHECK: _draw_check,
    Kind.PLAN: _draw_span,
    Kind.GAP: _draw_span,
    Kind.ALERT: _draw_alert,
    Kind.ACK: _draw_ack,
    Kind.DELIVERY: _draw_delivery,
}
