"""Questions about what the log says: runs, states at a time, gaps, alerts that are open, deliveries that are owed.

Reads the derived tables and nothing else but the entries they point to; projecting.py fills them. All times in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple, cast

import sqlalchemy as sa

from collector import canonical
from collector.ledger.entry import Entry, Kind
from collector.ledger.projecting import place_of
from collector.ledger.records import microseconds, moment, of_kinds, read_entry, read_listed
from collector.ledger.tables import (
    STATES,
    check_name,
    entry,
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

PAGE = 2_000  # rows fetched at once

account_name = scope_name.alias("account_name")
failure_text = reason_text.alias("failure_text")


class Standing(NamedTuple):
    """How one subject stands now. ``since`` and ``run``: the first run of the unbroken stretch in this state."""

    state: State
    reason: str
    facts_digest: str  # of the newest facts; "" when undetermined
    since: datetime
    run: int


class ScopeStanding(NamedTuple):
    """Whether a check can see its scope now, and since when; ``reason`` and ``failure`` are "" when it can."""

    seen: bool
    reason: str
    failure: str
    since: datetime
    run: int


class RunRow(NamedTuple):
    """One run of one check over one scope. ``slot`` None: by hand. ``population`` None: nobody knows who was in it."""

    seq: int
    account: str
    check: str
    scope: str
    slot: datetime | None
    started: datetime
    finished: datetime
    population: int | None
    states: dict[str, int]  # all four, or none without population
    failure: str
    reason: str


class GapRow(NamedTuple):
    """Slots in ``[since, until)`` that were declared lost; ``checks`` empty: all."""

    seq: int
    account: str
    checks: tuple[str, ...]
    since: datetime
    until: datetime
    reason: str
    at: datetime


class Interval(NamedTuple):
    """One subject in one state for one reason, over ``[from_at, to_at)``; the ends are starts of runs.

    ``blind``, set by ``states_at`` alone, says why the scope could not be read at that moment: then the state is the
    last known one, and nobody knows whether it still held.
    """

    check: str
    scope: str
    subject: str
    state: State
    reason: str
    from_run: int
    to_run: int | None
    from_at: datetime
    to_at: datetime | None
    blind: str = ""


class ScopeInterval(NamedTuple):
    """One check over one scope, seen or blind, over ``[from_at, to_at)``."""

    check: str
    scope: str
    seen: bool
    reason: str
    failure: str
    from_run: int
    to_run: int | None
    from_at: datetime
    to_at: datetime | None


class Before(NamedTuple):
    """One earlier run of a check over a scope, and whether it could list the population."""

    seq: int
    started: datetime
    seen: bool


class Slotted(NamedTuple):
    """One slot of an account that was answered: when the first run for it began, and that run's entry."""

    at: datetime
    started: datetime
    seq: int


class Stood(NamedTuple):
    """One subject in one state from one run to the one that found it otherwise; None while it stands."""

    subject: str
    state: State
    from_run: int
    to_run: int | None


class OpenPlace(NamedTuple):
    """What an alert that stands open is about. ``check`` is "" for an account, ``scope`` too for a place outside."""

    key: str
    seq: int
    cause: str
    check: str
    scope: str


class Pending(NamedTuple):
    """An alert that is owed to a channel. ``attempt`` is the number of the next one, from 1."""

    alert: Entry
    channel: str
    attempt: int
    retry_at: datetime | None


class Projection:
    """The read side. From a ledger it sees what is committed, from a batch also what the batch has added."""

    def __init__(self, reading: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self._reading = reading

    # --- now ---

    def open_states(self, check: str, scope: str) -> dict[str, Standing]:
        """Every subject of the last run that had a population, by name; the last known when the scope is blind now."""
        query = (
            sa.select(
                subject_name.c.name,
                state_interval.c.state,
                reason_text.c.name.label("reason"),
                state_interval.c.facts,
                state_interval.c.since_at,
                state_interval.c.since_run,
            )
            .select_from(
                _with_pair(state_interval).join(subject_name, subject_name.c.id == state_interval.c.subject_id)
            )
            .where(state_interval.c.to_run.is_(None), check_name.c.name == check, scope_name.c.name == scope)
            .order_by(subject_name.c.name)
        )
        with self._reading() as connection:
            return {
                row.name: Standing(
                    STATES[row.state],
                    row.reason,
                    "" if row.facts is None else row.facts.hex(),
                    moment(row.since_at),
                    row.since_run,
                )
                for row in connection.execute(query)
            }

    def failing(self, check: str, scope: str) -> dict[str, datetime]:
        """The subjects that are not satisfied now, or were when they were last seen, and since when; by name."""
        query = (
            sa.select(subject_name.c.name, state_interval.c.since_at)
            .join(subject_name, subject_name.c.id == state_interval.c.subject_id)
            .where(state_interval.c.pair_id == _pair_id(check, scope), state_interval.c.to_run.is_(None))
            .where(state_interval.c.state == STATES.index(State.NOT_SATISFIED))
            .order_by(subject_name.c.name)
        )
        with self._reading() as connection:
            return {row.name: moment(row.since_at) for row in connection.execute(query)}

    def scope_standing(self, check: str, scope: str) -> ScopeStanding | None:
        """None before the first run."""
        query = (
            sa.select(
                scope_interval.c.seen,
                reason_text.c.name.label("reason"),
                failure_text.c.name.label("failure"),
                scope_interval.c.since_at,
                scope_interval.c.since_run,
            )
            .select_from(
                _with_pair(scope_interval).join(failure_text, failure_text.c.id == scope_interval.c.failure_id)
            )
            .where(scope_interval.c.to_run.is_(None), check_name.c.name == check, scope_name.c.name == scope)
        )
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return ScopeStanding(bool(row.seen), row.reason, row.failure, moment(row.since_at), row.since_run)

    def status(self) -> list[RunRow]:
        """The latest run of every check over every scope, ordered by check and scope."""
        # said twice: without the second, SQLite looks through all runs for those that are the latest
        latest = sa.select(pair.c.latest_run)
        query = _RUNS.where(run.c.seq == pair.c.latest_run, run.c.seq.in_(latest))
        query = query.order_by(check_name.c.name, scope_name.c.name)
        with self._reading() as connection:
            return [_run_row(row) for row in connection.execute(query)]

    def latest_run(self, check: str, scope: str) -> RunRow | None:
        """The newest run of one check over one scope, with or without population; None before the first."""
        query = _of(_RUNS.where(run.c.seq == pair.c.latest_run), check, scope)
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _run_row(row)

    # --- over time ---

    def runs(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        check: str | None = None,
        scope: str | None = None,
        account: str | None = None,
    ) -> Iterator[RunRow]:
        """Runs for slots in ``[since, until)``, by hand for their start, in the order of the ledger."""
        query = _of(_RUNS, check, scope)
        if since is not None:
            first, last = self._reach(since, until)
            if first is None:
                return
            query = query.where(run.c.seq >= first, run.c.seq <= last)
        if account is not None:
            query = query.where(account_name.c.name == account)
        if since is not None:
            query = query.where(run.c.moment >= microseconds(since))
        if until is not None:
            query = query.where(run.c.moment < microseconds(until))
        for row in self._in_order(query, run.c.seq):
            yield _run_row(row)

    def _reach(self, since: datetime, until: datetime | None) -> tuple[int | None, int | None]:
        """Between which entries the runs for these slots lie; None when there are none. Without it a database that
        wants them in their order reads all from the first."""
        query = sa.select(sa.func.min(run.c.seq), sa.func.max(run.c.seq)).where(run.c.moment >= microseconds(since))
        if until is not None:
            query = query.where(run.c.moment < microseconds(until))
        with self._reading() as connection:
            first, last = connection.execute(query).one()
        return first, last

    def intervals(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        check: str | None = None,
        scope: str | None = None,
        state: State | None = None,
    ) -> Iterator[Interval]:
        """The intervals that touch ``[since, until)``, in the order in which they began. Blindness is not in them:
        ask ``scope_intervals`` too before calling a stretch observed."""
        query = _touching(_of(_STATES, check, scope), state_interval, since, until)
        if state is not None:
            query = query.where(state_interval.c.state == STATES.index(state))
        for row in self._in_order(query, state_interval.c.id):
            yield _interval(row)

    def scope_intervals(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        check: str | None = None,
        scope: str | None = None,
        seen: bool | None = None,
    ) -> Iterator[ScopeInterval]:
        """When checks could see their scopes and when they could not, in the order in which that began."""
        query = _touching(_of(_SCOPES, check, scope), scope_interval, since, until)
        if seen is not None:
            query = query.where(scope_interval.c.seen == int(seen))
        for row in self._in_order(query, scope_interval.c.id):
            yield _scope_interval(row)

    def states_at(self, moment: datetime, check: str | None = None, scope: str | None = None) -> list[Interval]:
        """How everything stood at a moment, as far as it was known, ordered by check, scope and subject.

        A check that was blind over a scope says so twice: by one interval of its own without subject, undetermined,
        from when on and why; and by ``blind`` on each subject it knew before, whose state is only the last known one.
        A scope that was not run before ``moment`` is not in the answer at all.
        """
        at = microseconds(moment)
        pairs = _of(_PAIRS, check, scope)
        scopes = _at(_of(_SCOPES, check, scope), scope_interval, at).where(scope_interval.c.seen == 0)
        states = _at(_STATES_OF_PAIRS, state_interval, at)
        if check is not None or scope is not None:
            states = states.where(state_interval.c.pair_id.in_(pairs.with_only_columns(pair.c.id)))
        with self._reading() as connection:
            unseen = [_scope_interval(row) for row in connection.execute(scopes)]
            blind = {(item.check, item.scope): item.reason for item in unseen}
            known = {row[0]: (row[1], row[2], blind.get((row[1], row[2]), "")) for row in connection.execute(pairs)}
            found = _intervals_of(connection.execute(states).all(), known)
        found.extend(
            Interval(i.check, i.scope, "", State.UNDETERMINED, i.reason, *i[5:], blind=i.reason) for i in unseen
        )
        found.sort(key=_place)
        return found

    def gaps(self, since: datetime, until: datetime) -> list[GapRow]:
        """The declared gaps that touch ``[since, until)``, in the order of the ledger."""
        return [
            GapRow(
                found.seq,
                found.data["account"],
                tuple(found.data["checks"]),
                canonical.moment(found.data["since"]),
                canonical.moment(found.data["until"]),
                found.data["reason"],
                found.at,
            )
            for found in self._spans(Kind.GAP, since, until)
        ]

    def plans(self, since: datetime, until: datetime) -> list[Entry]:
        """The plans that speak of any of ``[since, until)``, in the order of the ledger."""
        return self._spans(Kind.PLAN, since, until)

    def plans_in_force(self, account: str, since: datetime, until: datetime) -> list[Entry]:
        """The plans of one account that hold at any moment of ``[since, until)``, in the order of the ledger.

        Each plan reaches a year ahead and is replaced within a day, so most that speak of a moment never hold at it.
        """
        wanted = [(microseconds(since), microseconds(until))]
        query = (
            sa.select(span.c.seq, span.c.since, span.c.until)
            .join(scope_name, scope_name.c.id == span.c.account_id)
            .where(span.c.kind == Kind.PLAN.value, scope_name.c.name == account)
            .where(span.c.since < wanted[0][1], span.c.until > wanted[0][0])
            .order_by(span.c.seq.desc())
        )
        found: list[int] = []
        with self._reading() as connection:
            for seq, begin, end in connection.execute(query):
                left = [
                    part
                    for first, last in wanted
                    for part in ((first, min(last, begin)), (max(first, end), last))
                    if part[0] < part[1]
                ]
                if left != wanted:
                    found.append(seq)
                wanted = left
                if not wanted:
                    break
            return list(read_listed(connection, found).values())

    # --- entries ---

    def latest_plan(self, account: str) -> Entry | None:
        query = (
            sa.select(sa.func.max(span.c.seq))
            .join(scope_name, scope_name.c.id == span.c.account_id)
            .where(span.c.kind == Kind.PLAN.value, scope_name.c.name == account)
        )
        return self._entry(query)

    def latest_plans(self) -> list[Entry]:
        """The newest plan of each account that ever had one."""
        newest = sa.select(sa.func.max(span.c.seq)).where(span.c.kind == Kind.PLAN.value).group_by(span.c.account_id)
        with self._reading() as connection:
            return list(read_listed(connection, connection.execute(newest).scalars().all()).values())

    def latest_check(self, check: str) -> Entry | None:
        """The newest ``check`` entry of one check."""
        return self._entry(sa.select(check_name.c.entry).where(check_name.c.name == check))

    def entry(self, seq: int) -> Entry:
        """Raises StoreError when there is no such entry."""
        with self._reading() as connection:
            return read_entry(connection, seq)

    def last(self, kind: Kind) -> Entry | None:
        """The newest entry of one kind."""
        return self._entry(sa.select(sa.func.max(entry.c.seq)).where(of_kinds([kind])))

    def of_kind(self, kind: Kind) -> list[Entry]:
        """Every entry of one kind, in the order of the ledger: for kinds of which there are few."""
        return self._entries(sa.select(entry.c.seq).where(of_kinds([kind])).order_by(entry.c.seq))

    # --- alerts ---

    def open_alerts(self, account: str = "") -> dict[str, Entry]:
        """The newest trigger of each key that has not been resolved since; only of an account and its parts, if given.

        To read an entry costs a hundred times what it costs to see that it is another account's.
        """
        placed = sa.select(open_alert.c.key, open_alert.c.seq, told.c.place).join(told, told.c.seq == open_alert.c.seq)
        with self._reading() as connection:
            rows = connection.execute(placed.order_by(open_alert.c.seq)).all()
            if account:
                rows = [row for row in rows if f"{row.place.rpartition('|')[2]}/".startswith(f"{account}/")]
            found = read_listed(connection, [row.seq for row in rows])
            return {row.key: found[row.seq] for row in rows}

    def open_places(self) -> list[OpenPlace]:
        """What every alert that stands open is about, oldest first; none of their entries is read."""
        query = (
            sa.select(open_alert.c.key, open_alert.c.seq, told.c.place)
            .join(told, told.c.seq == open_alert.c.seq)
            .order_by(open_alert.c.seq)
        )
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return [OpenPlace(row.key, row.seq, *row.place.split("|", 2)) for row in rows]

    def open_alert(self, key: str) -> Entry | None:
        """The newest trigger of one key that has not been resolved since; None when nothing of it stands open."""
        return self._entry(sa.select(open_alert.c.seq).where(open_alert.c.key == key))

    def slots_before(self, account: str, until: datetime, limit: int) -> list[Slotted]:
        """The last ``limit`` slots of an account before ``until`` that any run answers, newest first."""
        one = sa.select(scope_name.c.id).where(scope_name.c.name == account).scalar_subquery()
        query = (
            sa.select(run.c.moment, sa.func.min(run.c.started), sa.func.min(run.c.seq))
            .where(run.c.moment < microseconds(until), run.c.account_id == one, run.c.by_hand == 0)
            .group_by(run.c.moment)
            .order_by(run.c.moment.desc())
            .limit(limit)
        )
        with self._reading() as connection:
            return [Slotted(moment(at), moment(started), seq) for at, started, seq in connection.execute(query)]

    def newest(self, kind: Kind, limit: int) -> list[Entry]:
        """The newest entries of one kind, newest first."""
        query = sa.select(entry.c.seq).where(of_kinds([kind])).order_by(entry.c.seq.desc()).limit(limit)
        return self._entries(query)

    def runs_before(self, check: str, scope: str, seq: int, limit: int) -> list[Before]:
        """The last ``limit`` runs of a check over a scope before entry ``seq``, newest first."""
        query = (
            sa.select(run.c.seq, run.c.started, run.c.population)
            .where(run.c.pair_id == _pair_id(check, scope), run.c.seq < seq)
            .order_by(run.c.seq.desc())
            .limit(limit)
        )
        with self._reading() as connection:
            return [
                Before(row.seq, moment(row.started), row.population is not None) for row in connection.execute(query)
            ]

    def stood(self, check: str, scope: str, since: datetime) -> list[Stood]:
        """How the subjects of a check over a scope stood from ``since`` on, each one's stretches in their order."""
        columns = (
            state_interval.c.id,
            subject_name.c.name,
            state_interval.c.state,
            state_interval.c.from_run,
            state_interval.c.to_run,
        )
        joined = state_interval.join(subject_name, subject_name.c.id == state_interval.c.subject_id)
        mine = sa.select(*columns).select_from(joined).where(state_interval.c.pair_id == _pair_id(check, scope))
        over = mine.where(state_interval.c.to_at >= microseconds(since))
        stands = mine.where(state_interval.c.to_run.is_(None))
        with self._reading() as connection:
            # ordered here: a database that is asked to would read all intervals in their order
            rows = [row for part in (over, stands) for row in sorted(connection.execute(part).all())]
        return [Stood(row.name, STATES[row.state], row.from_run, row.to_run) for row in rows]

    def told(self, cause: str, check: str, scope: str, since: datetime) -> list[Entry]:
        """The alerts about subjects of a check over a scope, or about the scope, since a moment; oldest first."""
        query = (
            sa.select(told.c.seq)
            .where(told.c.place == place_of(cause, check, scope), told.c.at >= microseconds(since))
            .order_by(told.c.seq)
        )
        return self._entries(query)

    def told_of(self, key: str, event: str | None = None) -> list[Entry]:
        """The alerts with one key and their acknowledgements, from its newest trigger on; only one kind of event when
        that is given."""
        begun = sa.select(sa.func.max(told.c.seq)).where(told.c.key == key, told.c.event == "trigger")
        query = sa.select(told.c.seq).where(told.c.key == key, told.c.seq >= begun.scalar_subquery())
        if event is not None:
            query = query.where(told.c.event == event)
        return self._entries(query.order_by(told.c.seq))

    def unheard(self, until: datetime) -> list[Entry]:
        """The triggers of at latest ``until`` that stand open, and of which nobody has taken note since and nobody else
        was told; oldest first."""
        later = told.alias("later")
        noted = (
            sa.select(later.c.seq)
            .where(
                later.c.key == open_alert.c.key,
                later.c.seq > open_alert.c.seq,
                later.c.event.in_(("ack", "acknowledge", "escalate")),
            )
            .exists()
        )
        query = (
            sa.select(open_alert.c.seq)
            .join(told, told.c.seq == open_alert.c.seq)
            .where(told.c.at <= microseconds(until), ~noted)
            .order_by(open_alert.c.seq)
        )
        return self._entries(query)

    def told_since(self, since: datetime) -> list[Entry]:
        """Every alert since a moment, oldest first."""
        query = sa.select(told.c.seq).where(told.c.place != "", told.c.at >= microseconds(since)).order_by(told.c.seq)
        return self._entries(query)

    def last_told(self, place: tuple[str, str, str]) -> Entry | None:
        """The newest alert about a place: a cause, a check and a scope."""
        return self._entry(sa.select(sa.func.max(told.c.seq)).where(told.c.place == place_of(*place)))

    def given_up(self) -> dict[str, int]:
        """How many deliveries of alerts that stand open were given up, by channel."""
        query = sa.select(given_up.c.channel, sa.func.count().label("many")).group_by(given_up.c.channel)
        with self._reading() as connection:
            return {row.channel: row.many for row in connection.execute(query)}

    def pending(self, now: datetime) -> list[Pending]:
        """The deliveries that are owed and due at ``now``, oldest alert first."""
        due = sa.or_(outbox.c.retry_at.is_(None), outbox.c.retry_at <= microseconds(now))
        with self._reading() as connection:
            rows = connection.execute(sa.select(outbox).where(due).order_by(outbox.c.alert, outbox.c.channel)).all()
            found = read_listed(connection, {row.alert for row in rows})
            return [
                Pending(
                    found[row.alert],
                    row.channel,
                    row.attempt,
                    None if row.retry_at is None else moment(row.retry_at),
                )
                for row in rows
            ]

    # --- how ---

    def _spans(self, kind: Kind, since: datetime, until: datetime) -> list[Entry]:
        query = (
            sa.select(span.c.seq)
            .where(span.c.kind == kind.value)
            .where(span.c.since < microseconds(until), span.c.until > microseconds(since))
            .order_by(span.c.seq)
        )
        return self._entries(query)

    def _entries(self, query: sa.Select[Any]) -> list[Entry]:
        with self._reading() as connection:
            seqs = connection.execute(query).scalars().all()
            found = read_listed(connection, seqs)
            return [found[seq] for seq in seqs]

    def _entry(self, query: sa.Select[Any]) -> Entry | None:
        with self._reading() as connection:
            seq = connection.execute(query).scalar_one_or_none()
            return None if seq is None else read_entry(connection, seq)

    def _in_order(self, query: sa.Select[Any], key: sa.ColumnElement[int]) -> Iterator[sa.Row[Any]]:
        """All rows by their key, which is the first column; page by page, yet out of one state of the database."""
        last = -1
        with self._reading() as connection:
            while rows := connection.execute(query.where(key > last).order_by(key).limit(PAGE)).all():
                yield from rows
                last = rows[-1][0]


def _pair_id(check: str, scope: str) -> sa.ScalarSelect[int]:
    return (
        sa.select(pair.c.id)
        .join(check_name, check_name.c.id == pair.c.check_id)
        .join(scope_name, scope_name.c.id == pair.c.scope_id)
        .where(check_name.c.name == check, scope_name.c.name == scope)
        .scalar_subquery()
    )


def _with_pair(table: sa.Table) -> sa.Join:
    return (
        table.join(pair, pair.c.id == table.c.pair_id)
        .join(check_name, check_name.c.id == pair.c.check_id)
        .join(scope_name, scope_name.c.id == pair.c.scope_id)
        .join(reason_text, reason_text.c.id == table.c.reason_id)
    )


_RUNS = sa.select(
    run,
    account_name.c.name.label("account"),
    check_name.c.name.label("check"),
    scope_name.c.name.label("scope"),
    failure_text.c.name.label("failure"),
    reason_text.c.name.label("reason"),
).select_from(
    run.join(pair, pair.c.id == run.c.pair_id)
    .join(check_name, check_name.c.id == pair.c.check_id)
    .join(scope_name, scope_name.c.id == pair.c.scope_id)
    .join(account_name, account_name.c.id == run.c.account_id)
    .outerjoin(reason_text, reason_text.c.id == run.c.reason_id)
    .outerjoin(failure_text, failure_text.c.id == run.c.failure_id)
)

_STATES = sa.select(
    state_interval.c.id,
    check_name.c.name.label("check"),
    scope_name.c.name.label("scope"),
    subject_name.c.name.label("subject"),
    state_interval.c.state,
    reason_text.c.name.label("reason"),
    state_interval.c.from_run,
    state_interval.c.to_run,
    state_interval.c.from_at,
    state_interval.c.to_at,
).select_from(_with_pair(state_interval).join(subject_name, subject_name.c.id == state_interval.c.subject_id))

_SCOPES = sa.select(
    scope_interval.c.id,
    check_name.c.name.label("check"),
    scope_name.c.name.label("scope"),
    scope_interval.c.seen,
    reason_text.c.name.label("reason"),
    failure_text.c.name.label("failure"),
    scope_interval.c.from_run,
    scope_interval.c.to_run,
    scope_interval.c.from_at,
    scope_interval.c.to_at,
).select_from(_with_pair(scope_interval).join(failure_text, failure_text.c.id == scope_interval.c.failure_id))


# The same without the names of check and scope, which a question about everything at once looks up only once a pair.
_PAIRS = (
    sa.select(pair.c.id, check_name.c.name.label("check"), scope_name.c.name.label("scope"))
    .join(check_name, check_name.c.id == pair.c.check_id)
    .join(scope_name, scope_name.c.id == pair.c.scope_id)
)
_STATES_OF_PAIRS = sa.select(
    state_interval.c.pair_id,
    subject_name.c.name.label("subject"),
    state_interval.c.state,
    reason_text.c.name.label("reason"),
    state_interval.c.from_run,
    state_interval.c.to_run,
    state_interval.c.from_at,
    state_interval.c.to_at,
).select_from(
    state_interval.join(subject_name, subject_name.c.id == state_interval.c.subject_id).join(
        reason_text, reason_text.c.id == state_interval.c.reason_id
    )
)


def _of(query: sa.Select[Any], check: str | None, scope: str | None) -> sa.Select[Any]:
    if check is not None:
        query = query.where(check_name.c.name == check)
    if scope is not None:
        query = query.where(scope_name.c.name == scope)
    return query


def _touching(query: sa.Select[Any], table: sa.Table, since: datetime | None, until: datetime | None) -> sa.Select[Any]:
    if since is not None:
        query = query.where(sa.or_(table.c.to_at.is_(None), table.c.to_at > microseconds(since)))
    if until is not None:
        query = query.where(table.c.from_at < microseconds(until))
    return query


def _at(query: sa.Select[Any], table: sa.Table, at: int) -> sa.Select[Any]:
    return query.where(table.c.from_at <= at, sa.or_(table.c.to_at.is_(None), table.c.to_at > at))


def _place(interval: Interval) -> tuple[str, str, str]:
    return interval[:3]


def _interval(row: Any) -> Interval:
    _, check, scope, subject, state, reason, from_run, to_run, from_at, to_at = row
    end = None if to_at is None else moment(to_at)
    return Interval(check, scope, subject, STATES[state], reason, from_run, to_run, moment(from_at), end)


def _intervals_of(rows: Sequence[Any], pairs: Mapping[int, tuple[str, str, str]]) -> list[Interval]:
    """Rows of ``_STATES_OF_PAIRS`` with the names and the blindness of their pairs."""
    times: dict[int | None, datetime | None] = {None: None}  # thousands of intervals begin with the same few runs
    found: list[Interval] = []
    for pair_id, subject, state, reason, from_run, to_run, from_at, to_at in rows:
        for at in (from_at, to_at):
            if at not in times:
                times[at] = moment(at)
        check, scope, blind = pairs[pair_id]
        begin = cast("datetime", times[from_at])
        found.append(
            Interval(check, scope, subject, STATES[state], reason, from_run, to_run, begin, times[to_at], blind)
        )
    return found


def _scope_interval(row: sa.Row[Any]) -> ScopeInterval:
    return ScopeInterval(
        row.check,
        row.scope,
        bool(row.seen),
        row.reason,
        row.failure,
        row.from_run,
        row.to_run,
        moment(row.from_at),
        None if row.to_at is None else moment(row.to_at),
    )


def _run_row(row: sa.Row[Any]) -> RunRow:
    states: dict[str, int] = {}
    if row.population is not None:
        states = {
            State.SATISFIED.value: row.satisfied,
            State.NOT_SATISFIED.value: row.not_satisfied,
            State.NOT_APPLICABLE.value: row.not_applicable,
            State.UNDETERMINED.value: row.undetermined,
        }
    return RunRow(
        row.seq,
        row.account,
        row.check,
        row.scope,
        None if row.by_hand else moment(row.moment),
        moment(row.started),
        moment(row.finished),
        row.population,
        states,
        row.failure or "",
        row.reason or "",
    )
