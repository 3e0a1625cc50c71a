"""Which observations were due, and what became of each. Pure: plans, runs, gaps in, slots out; no clock, no store."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from collector import canonical


class SlotState(StrEnum):
    OBSERVED = "observed"  # in time, every subject determined
    LATE = "late"  # every subject determined, begun after the grace
    PARTIAL = "partial"  # some subjects undetermined
    GAP = "gap"  # declared: nobody could look, and why
    MISSED = "missed"  # found by comparing with the plan: neither a run nor a declared gap


COVERED = frozenset((SlotState.OBSERVED, SlotState.LATE))
EARLY_MAX = timedelta(
    minutes=5
)  # by which clocks may differ; verify.py refuses a run that began longer before its slot


@dataclass(frozen=True)
class PlannedCheck:
    """One check of a plan. A slot is due at every unix time t with (t - offset_s) divisible by every_s."""

    check: str
    scopes: tuple[str, ...]
    every_s: int
    offset_s: int = 0


@dataclass(frozen=True)
class Plan:
    """What an account's plan entry says is due in ``[since, until)``."""

    seq: int
    account: str
    since: datetime
    until: datetime
    checks: tuple[PlannedCheck, ...]


def plan_from(data: Mapping[str, Any]) -> Plan:
    """The plan in a ``plan`` entry's body. Raises KeyError or ValueError when it is none."""
    return Plan(
        seq=data["seq"],
        account=data["account"],
        since=canonical.moment(data["since"]),
        until=canonical.moment(data["until"]),
        checks=tuple(
            PlannedCheck(item["check"], scopes_of(data, item), item["every_s"], item["offset_s"])
            for item in data["checks"]
        ),
    )


def scopes_of(plan: Mapping[str, Any], item: Mapping[str, Any]) -> tuple[str, ...]:
    """What a check of a plan entry's body is due over: the scopes that it lists, or each part of the plan's account."""
    if "scopes" in item:
        return tuple(item["scopes"])
    return tuple(f"{plan['account']}/{part}" for part in plan["parts"])


@dataclass(frozen=True, order=True, slots=True)
class Due:
    """One execution of a check over a scope that the plan asks for."""

    at: datetime
    check: str
    scope: str
    account: str


def ticks(since: datetime, until: datetime, every_s: int, offset_s: int = 0) -> Iterator[datetime]:
    """The slots of a cadence in ``[since, until)``, on the unix time line, so daylight saving moves none of them."""
    first = -(-(_unix(since) - offset_s) // every_s) * every_s + offset_s
    for unix in range(first, _unix(until), every_s):
        yield datetime.fromtimestamp(unix, UTC)


def _unix(moment: datetime) -> int:
    """Whole seconds, rounded up, so that a slot is never before the moment."""
    return -int(-moment.timestamp() // 1)


def in_force(plans: Iterable[Plan]) -> list[tuple[datetime, datetime, Plan]]:
    """One account's plans as stretches that do not overlap: at each moment the newest plan that covers it."""
    stretches: list[tuple[datetime, datetime, Plan]] = []
    for plan in sorted(plans, key=lambda p: p.seq):
        if plan.since >= plan.until:
            continue  # it covers no moment
        kept: list[tuple[datetime, datetime, Plan]] = []
        for since, until, older in stretches:
            if since < plan.since:
                kept.append((since, min(until, plan.since), older))
            if until > plan.until:
                kept.append((max(since, plan.until), until, older))
        stretches = [*(s for s in kept if s[0] < s[1]), (plan.since, plan.until, plan)]
    return sorted(stretches, key=lambda s: s[0])


def due(plans: Iterable[Plan], since: datetime, until: datetime) -> Iterator[Due]:
    """Every execution that the plans ask for in ``[since, until)``, each once, by account, then by time."""
    by_account: dict[str, list[Plan]] = {}
    for plan in plans:
        by_account.setdefault(plan.account, []).append(plan)
    for account in sorted(by_account):
        for begin, end, plan in in_force(by_account[account]):
            found = [
                Due(at, item.check, scope, account)
                for item in plan.checks
                for at in ticks(max(begin, since), min(end, until), item.every_s, item.offset_s)
                for scope in item.scopes
            ]
            pairs = [(item.check, scope) for item in plan.checks for scope in item.scopes]
            # the slots of a year are many, and a plan that names a check twice over a scope is rare
            yield from sorted(found if len(set(pairs)) == len(pairs) else set(found))


@dataclass(frozen=True, slots=True)
class Ran:
    """What a slot needs to know of a run entry."""

    seq: int
    account: str
    check: str
    scope: str
    slot: datetime | None
    started: datetime
    finished: datetime
    population: int | None
    states: Mapping[str, int]
    failure: str
    reason: str


@dataclass(frozen=True)
class Declared:
    """What a slot needs to know of a gap entry. No ``checks`` means every check of the account."""

    seq: int
    account: str
    checks: tuple[str, ...]
    since: datetime
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Slot:
    """One due execution with its outcome. ``runs`` counts the runs that answer it; the first of them decides.

    A run that began more than ``EARLY_MAX`` before the slot was due answers nothing: it cannot have looked then.
    """

    due: Due
    state: SlotState
    run: Ran | None = None
    gap: Declared | None = None
    runs: int = 0
    reason: str = ""


@dataclass
class Account:
    """Runs and gaps, found by what they answer for."""

    runs: dict[tuple[str, str, datetime], list[Ran]] = field(default_factory=dict)
    gaps: dict[str, list[Declared]] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[Ran], gaps: Iterable[Declared]) -> Account:
        book = cls()
        for run in runs:
            if run.slot is not None:
                book.runs.setdefault((run.check, run.scope, run.slot), []).append(run)
        for gap in gaps:
            book.gaps.setdefault(gap.account, []).append(gap)
        for known in book.gaps.values():
            known.sort(key=lambda g: g.since)
        return book

    def outcome(self, item: Due, grace: timedelta) -> Slot:
        """What became of one due execution."""
        claims = sorted(self.runs.get((item.check, item.scope, item.at), ()), key=lambda r: r.seq)
        runs = [run for run in claims if run.started >= item.at - EARLY_MAX]
        if not runs:
            gap = self._gap(item)
            if gap is not None:
                return Slot(item, SlotState.GAP, gap=gap, reason=gap.reason)
            why = "a run from before it was due, and no" if claims else "neither a run nor a"
            return Slot(item, SlotState.MISSED, reason=f"{why} declared gap")
        run = runs[0]
        if run.population is None:
            return Slot(item, SlotState.GAP, run=run, runs=len(runs), reason=run.reason)
        blind = run.states.get("undetermined", 0)
        if blind:
            reason = f"{blind} of {run.population} subjects undetermined"
            return Slot(item, SlotState.PARTIAL, run=run, runs=len(runs), reason=reason)
        if run.started > item.at + grace:
            minutes = int((run.started - item.at).total_seconds() // 60)
            return Slot(
                item, SlotState.LATE, run=run, runs=len(runs), reason=f"begun {minutes} minutes after it was due"
            )
        return Slot(item, SlotState.OBSERVED, run=run, runs=len(runs))

    def _gap(self, item: Due) -> Declared | None:
        known = self.gaps.get(item.account, [])
        end = bisect_right([gap.since for gap in known], item.at)
        for gap in reversed(known[:end]):
            if item.at < gap.until and (not gap.checks or item.check in gap.checks):
                return gap
        return None


def account_for(dues: Iterable[Due], runs: Iterable[Ran], gaps: Iterable[Declared], grace: timedelta) -> Iterator[Slot]:
    """Every due execution with its outcome, in the order of ``dues``. None is left out, whatever happened."""
    book = Account.of(runs, gaps)
    for item in dues:
        yield book.outcome(item, grace)


def unanswered(dues: Iterable[Due], answered: set[tuple[str, str, datetime]], gaps: Sequence[Declared]) -> list[Due]:
    """The due executions that have neither a run nor a declared gap: what a starting daemon must declare."""
    book = Account.of((), gaps)
    return [item for item in dues if (item.check, item.scope, item.at) not in answered and book._gap(item) is None]
