"""Compares kept exchanges with what AWS itself logged: was each call made, when, by whom, and which were not kept.

It proves that and when the collector asked, not what was answered: CloudTrail keeps no answers of calls that read. Pure
but for its source; whoever distrusts the collector runs it with credentials of their own. See
docs/reference/corroborate.md for what each status means.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from collector import canonical
from collector.clouds.trail import SETTLED, Event, Source
from collector.clouds.trail_facts import (
    DATA_EVENTS,
    UNAUTHENTICATED,
    other_params,
    plain_name,
    region_of,
    source_of,
    user_of,
    wire_name,
)
from collector.clouds.transcript import exchange_from
from collector.errors import CannotObserve
from collector.model import Exchange

TOLERANCE = timedelta(seconds=300)  # between two clocks; the same as between an anchor's time and an entry's
NEAR = timedelta(seconds=60)  # how far from an unmatched exchange other principals' calls are looked through
NEAR_LOOKUPS_MAX = 200  # beyond that many unmatched exchanges it is no longer a matter of looking closer
EXPECTED_MAX = 2_000_000  # exchanges of one window


class Status(StrEnum):
    """What became of one exchange, or of one event that is no exchange's."""

    MATCHED = "matched"  # AWS logged this very call
    CONTRADICTED = "contradicted"  # AWS logged a call with this request id, and it was another
    UNMATCHED = "unmatched"  # AWS has no such call, and should have
    TOO_RECENT = "too-recent"  # events may still be on their way
    OUT_OF_RETENTION = "out-of-retention"  # older than what the source keeps
    NOT_LOGGED = "not-logged"  # AWS does not log such calls
    NO_ANSWER = "no-answer"  # nothing came back, so there is no request id and no evidence rests on it
    UNDETERMINED = "undetermined"  # the source could not be asked
    ATTEMPT = "attempt"  # an event: an earlier attempt of an exchange that was put more than once
    NOT_IN_EVIDENCE = "not-in-evidence"  # an event: the collector's principal asked, and the answer was not kept


ALARMS = frozenset((Status.CONTRADICTED, Status.UNMATCHED))
BLIND = frozenset((Status.TOO_RECENT, Status.OUT_OF_RETENTION, Status.UNDETERMINED))


@dataclass(frozen=True)
class Log:
    """One call log with the first run that rests on it."""

    run: int
    principal: str
    started: datetime
    calls: str  # digest


@dataclass(frozen=True, slots=True)
class Asked:
    """One exchange with the run it belongs to and who is said to have asked."""

    exchange: Exchange
    run: int
    principal: str

    @property
    def region(self) -> str:
        return region_of(self.exchange.endpoint)

    @property
    def ended(self) -> datetime:
        return self.exchange.started + timedelta(milliseconds=self.exchange.duration_ms)

    @property
    def unkept_attempts(self) -> int:
        """How many of its attempts have no request id in the evidence."""
        return self.exchange.attempts - bool(self.exchange.request_id)


@dataclass(frozen=True)
class Row:
    """One line of the report. ``seconds`` is from the exchange's end to the event's time."""

    status: Status
    asked: Asked | None
    event: Event | None
    what: str = ""

    @property
    def seconds(self) -> int | None:
        if self.asked is None or self.event is None:
            return None
        return round((self.event.at - self.asked.ended).total_seconds())


@dataclass
class Summary:
    """What a comparison came to. Filled while the rows are taken."""

    account: str
    source: str
    since: datetime
    until: datetime
    at: datetime
    principals: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    counts: Counter[Status] = field(default_factory=Counter)
    uncalled: Counter[str] = field(default_factory=Counter)  # events that are not in evidence, by what was called
    blind: dict[str, str] = field(default_factory=dict)  # a region on a day, or a run: why nobody could look

    @property
    def exchanges(self) -> int:
        events = (Status.ATTEMPT, Status.NOT_IN_EVIDENCE)
        return sum(count for status, count in self.counts.items() if status not in events)

    @property
    def alarms(self) -> int:
        return sum(self.counts[status] for status in ALARMS)

    @property
    def undecided(self) -> int:
        return sum(self.counts[status] for status in BLIND) + len(self.blind)

    def record(self) -> dict[str, Any]:
        """As JSON; every status is named, also those of which there is none."""
        return {
            "account": self.account,
            "source": self.source,
            "since": canonical.stamp(self.since),
            "until": canonical.stamp(self.until),
            "at": canonical.stamp(self.at),
            "principals": list(self.principals),
            "regions": list(self.regions),
            "exchanges": self.exchanges,
            "counts": {status.value: self.counts[status] for status in Status},
            "not_in_evidence": dict(sorted(self.uncalled.items())),
            "not_looked_at": dict(sorted(self.blind.items())),
        }


Calls = Callable[[str], bytes | None]  # the call log behind a digest; None when it is not kept any more
Tell = Callable[[int, int], None]


def logs_of(runs: Iterable[Mapping[str, Any]], account: str, since: datetime, until: datetime) -> list[Log]:
    """The call logs of an account's runs that began in ``[since, until)``, out of the bodies of ``run`` entries."""
    found: dict[str, Log] = {}
    for data in runs:
        started = canonical.moment(data["started"])
        if data["account"] == f"aws/{account}" and since <= started < until:
            found.setdefault(data["calls"], Log(data["seq"], data["principal"], started, data["calls"]))
    return sorted(found.values(), key=lambda log: (log.started, log.run))


def corroborate(
    summary: Summary,
    logs: Sequence[Log],
    calls: Calls,
    source: Source,
    parts: Iterable[str] = (),
    tell: Tell | None = None,
) -> Iterator[Row]:
    """Every exchange of ``logs`` with what became of it, then what AWS logged besides; day by day.

    ``parts`` are regions to look at even where nothing was asked: calls that are not in evidence may lie there. Memory
    grows with the exchanges of one day. Fills ``summary`` as it goes. Raises ValueError for a call log that is none.
    """
    comparison = _Comparison(summary, logs, calls, source, parts)
    until = min(summary.until, summary.at.replace(microsecond=0))  # the lookups themselves are logged from here on
    days = list(_days(summary.since, until))
    for number, (begin, end) in enumerate(days, 1):
        for row in comparison.day(begin, end):
            summary.counts[row.status] += 1
            if row.status is Status.NOT_IN_EVIDENCE and row.event is not None:
                summary.uncalled[f"{row.event.source.partition('.')[0]}:{row.event.name}"] += 1
            yield row
        if tell is not None:
            tell(number, len(days))


def _days(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    while since < until:
        end = min(until, (since + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0))
        yield since, end
        since = end


class _Comparison:
    def __init__(
        self, summary: Summary, logs: Sequence[Log], calls: Calls, source: Source, parts: Iterable[str]
    ) -> None:
        self.summary = summary
        self.logs = logs
        self.calls = calls
        self.source = source
        self.near_left = NEAR_LOOKUPS_MAX
        self.ids: set[str] = set()
        self.twice: set[str] = set()
        self.principals: set[str] = set()
        regions = set(parts)
        for log in logs:
            self.principals.add(log.principal)
            for asked in self._asked(log):
                regions.add(asked.region)
                id = asked.exchange.request_id
                if id:
                    (self.twice if id in self.ids else self.ids).add(id)
            if len(self.ids) > EXPECTED_MAX:
                raise ValueError(f"more than {EXPECTED_MAX} exchanges in one window: take a shorter one")
        self.principals.discard("")
        summary.principals = tuple(sorted(self.principals))
        summary.regions = tuple(sorted(regions))
        self.oldest = None if source.keeps is None else summary.at - source.keeps
        self.attempts: list[_Attempts] = []

    def _asked(self, log: Log) -> Iterator[Asked]:
        data = self.calls(log.calls)
        if data is None:
            self.summary.blind[f"run {log.run}"] = "its call log is not kept any more"
            return
        for record in canonical.parse(data):
            exchange = exchange_from(record)
            if exchange.cloud == "aws":
                yield Asked(exchange, log.run, log.principal)

    def day(self, begin: datetime, end: datetime) -> Iterator[Row]:
        """The exchanges of the runs that began in a stretch, then the events in it that are no exchange's."""
        asked = [item for log in self.logs if begin <= log.started < end for item in self._asked(log)]
        ids = {item.exchange.request_id for item in asked}
        events, blind = self._look_up(begin, max([end, *(item.ended for item in asked)]), ids)
        by_id: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            by_id[event.request_id].append(event)
        for item in asked:
            yield self._row(item, by_id, blind)
        self.attempts = [known for known in self.attempts if known.item.ended >= begin]  # a run may last over midnight
        self.attempts += [_Attempts(item, item.unkept_attempts) for item in asked if item.unkept_attempts > 0]
        yield from self._besides(events, begin, end)

    # --- the source ---

    def _look_up(self, begin: datetime, end: datetime, ids: set[str]) -> tuple[list[Event], dict[str, str]]:
        """All events of our principals around a day, each once, and per region why there are none."""
        since = begin - TOLERANCE if self.oldest is None else max(begin - TOLERANCE, self.oldest)
        until = min(end + TOLERANCE, self.summary.at)
        events: dict[str, Event] = {}
        blind: dict[str, str] = {}
        if self.oldest is not None and begin < self.oldest:
            words = f"the {self.source.name} begins {canonical.stamp(self.oldest)}"
            self.summary.blind[f"{begin:%Y-%m-%d}"] = words
        if since >= until:
            return [], {}
        users = {user_of(principal) for principal in self.principals}
        for region in self.summary.regions:
            try:
                for event in self.source.by(region, users, since, until, ids):
                    events.setdefault(event.id or f"{event.request_id} {event.at}", event)
            except CannotObserve as error:
                blind[region] = str(error)
                self.summary.blind[f"{region} {begin:%Y-%m-%d}"] = str(error)
        return list(events.values()), blind

    def _near(self, item: Asked) -> list[Event]:
        """Calls with the same request id by anybody else."""
        source = source_of(item.exchange.operation.partition(":")[0])
        if not source or self.near_left <= 0:
            return []
        self.near_left -= 1
        since, until = item.exchange.started - NEAR, min(item.ended + NEAR, self.summary.at)
        try:
            found = self.source.near(item.region, source, since, until)
            return [event for event in found if event.request_id == item.exchange.request_id]
        except CannotObserve:
            return []

    # --- one exchange ---

    def _row(self, item: Asked, by_id: Mapping[str, list[Event]], blind: Mapping[str, str]) -> Row:
        exchange = item.exchange
        if not exchange.request_id:
            if exchange.failure:
                return Row(Status.NO_ANSWER, item, None, exchange.error or exchange.failure)
            return Row(Status.UNMATCHED, item, None, "an answer without a request id: AWS sends one with every answer")
        events = by_id.get(exchange.request_id, [])
        if not events:
            unfound = self._unfound(item, blind)
            if unfound is not None:
                return unfound
            events = self._near(item)
            if not events:
                return Row(Status.UNMATCHED, item, None, f"no such request in the {self.source.name}")
        problems = [self._problems(item, event) for event in events]
        best = min(range(len(events)), key=lambda n: len(problems[n]))
        found = problems[best]
        if exchange.request_id in self.twice:
            found = [*found, "more than one exchange claims this request id"]
        return Row(Status.CONTRADICTED if found else Status.MATCHED, item, events[best], "; ".join(found))

    def _unfound(self, item: Asked, blind: Mapping[str, str]) -> Row | None:
        """Why an exchange without an event is none to worry about; None when there is no such reason."""
        exchange = item.exchange
        if exchange.operation in DATA_EVENTS:
            return Row(Status.NOT_LOGGED, item, None, "a data event: CloudTrail logs it only where a trail asks for it")
        if exchange.error in UNAUTHENTICATED:
            return Row(Status.NOT_LOGGED, item, None, f"{exchange.error}: who asked was not established")
        if self.oldest is not None and exchange.started < self.oldest:
            return Row(Status.OUT_OF_RETENTION, item, None, f"the {self.source.name} begins later")
        if item.ended > self.summary.at - SETTLED:
            return Row(Status.TOO_RECENT, item, None, "its event may be on its way: look again in a quarter of an hour")
        if item.region in blind:
            return Row(Status.UNDETERMINED, item, None, blind[item.region])
        if exchange.failure in ("throttled", "unavailable"):
            return Row(Status.NOT_LOGGED, item, None, f"{exchange.error}: turned away before the service took it up")
        return None

    def _problems(self, item: Asked, event: Event) -> list[str]:
        """How a call that AWS logged differs from the exchange that claims to be it."""
        exchange = item.exchange
        service, _, operation = exchange.operation.partition(":")
        found: list[str] = []
        if item.principal and event.principal != item.principal:
            found.append(f"{event.principal or 'nobody'} asked, not {item.principal}")
        source = source_of(service)
        if source and event.source != source:
            found.append(f"it was a call to {event.source}, not to {source}")
        elif plain_name(event.name) != wire_name(service, operation):
            found.append(f"it was {event.name}, not {operation}")
        if not exchange.started - TOLERANCE <= event.at <= item.ended + TOLERANCE:
            found.append(f"it was at {canonical.stamp(event.at)}, not at {canonical.stamp(exchange.started)}")
        if event.error and not exchange.error:
            found.append(f"AWS refused it ({event.error}); the evidence holds an answer")
        found += other_params(exchange.params, event.params)
        return found

    # --- what was asked and not kept ---

    def _besides(self, events: Sequence[Event], begin: datetime, end: datetime) -> Iterator[Row]:
        for event in sorted(events, key=lambda event: (event.at, event.id)):
            if not begin <= event.at < end or event.request_id in self.ids or event.principal not in self.principals:
                continue
            known = next((known for known in self.attempts if known.left and _is_attempt(known.item, event)), None)
            if known is not None:
                known.left -= 1
                yield Row(Status.ATTEMPT, known.item, event, "an earlier attempt of a kept exchange")
            else:
                yield Row(Status.NOT_IN_EVIDENCE, None, event, "asked by the collector's principal, and not kept")


@dataclass
class _Attempts:
    """An exchange that was put more often than its request id says, and how many of those were not found yet."""

    item: Asked
    left: int


def _is_attempt(item: Asked, event: Event) -> bool:
    service, _, operation = item.exchange.operation.partition(":")
    return (
        event.source == source_of(service)
        and plain_name(event.name) == wire_name(service, operation)
        and item.exchange.started - timedelta(seconds=2) <= event.at <= item.ended + timedelta(seconds=2)
        and not other_params(item.exchange.params, event.params)
    )
