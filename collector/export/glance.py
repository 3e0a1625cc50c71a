"""A window as it stands now, fast: its slots out of the projections, without reading an entry of any run.

What the whole window means is read out of the ledger by ``collector.export.read``; this is for a look at it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from collector.config import Window
from collector.export.read import Filter, plans_of
from collector.ledger.projection import Projection
from collector.window.coverage import ControlCoverage, by_control, coverage
from collector.window.slots import Declared, Plan, Ran, Slot, account_for, due

SLOTS_MAX = 40_000  # that are looked at: some two seconds of work


@dataclass(frozen=True)
class Glance:
    """A window, or its newest stretch where all of it would take long: ``[since, until)`` of one that ``ends`` later.

    ``controls`` are those that serve its criteria, each with the checks that count for it.
    """

    name: str
    zone: ZoneInfo
    since: datetime
    until: datetime
    ends: datetime
    whole: bool
    controls: tuple[tuple[str, tuple[str, ...]], ...]
    slots: tuple[Slot, ...]
    coverage: tuple[ControlCoverage, ...]


def glance(
    projection: Projection,
    name: str,
    window: Window,
    controls: Sequence[tuple[str, Collection[str], Sequence[str]]],
    now: datetime,
    grace: timedelta,
    slots_max: int = SLOTS_MAX,
) -> Glance | None:
    """A window up to the slots whose grace is over at ``now``; None where there is nothing to say yet.

    ``controls`` are all of the control file: id, criteria, and the checks that count for it. Where more than
    ``slots_max`` slots were due, only the newest stretch with about so many is looked at.
    """
    since, until = window.since, min(window.until, now - grace)
    if until <= since:
        return None
    mine = tuple((id, tuple(checks)) for id, criteria, checks in controls if set(criteria) & set(window.criteria))
    about = Filter(frozenset(check for _, checks in mine for check in checks), window.scopes)
    begun = _begun(projection, about, since, until, slots_max)
    plans = [plan for account in _accounts(projection) for plan in _plans(projection, account, begun, until)]
    dues = [item for item in due(plans, begun, until) if about.covers(item.check, item.scope)]
    slots = tuple(account_for(dues, _runs(projection, about, begun, until), _gaps(projection, begun, until), grace))
    found = tuple(by_control(mine, coverage(slots, until)))
    whole = begun == since
    return Glance(
        name,
        ZoneInfo(window.zone),
        begun,
        until,
        window.until if whole else until,
        whole,
        tuple(item for item in mine if item[1]),
        slots,
        found,
    )


def _accounts(projection: Projection) -> list[str]:
    return sorted(entry.data["account"] for entry in projection.latest_plans())


def _plans(projection: Projection, account: str, since: datetime, until: datetime) -> list[Plan]:
    return plans_of(entry.data for entry in projection.plans_in_force(account, since, until))


def _begun(projection: Projection, about: Filter, since: datetime, until: datetime, slots_max: int) -> datetime:
    """From when on the window is looked at: by what the plans of now ask for an hour."""
    newest = plans_of(entry.data for entry in projection.latest_plans())
    rate = sum(
        3600 / item.every_s
        for plan in newest
        for item in plan.checks
        for scope in item.scopes
        if about.covers(item.check, scope)
    )
    if rate * ((until - since) / timedelta(hours=1)) <= slots_max:
        return since
    shortened = until - timedelta(hours=max(1, int(slots_max / rate)))
    return max(since, shortened.replace(minute=0, second=0, microsecond=0))


def _runs(projection: Projection, about: Filter, since: datetime, until: datetime) -> Iterable[Ran]:
    counts: dict[tuple[int, ...], dict[str, int]] = {}
    for row in projection.runs(since, until):
        if row.slot is not None and about.covers(row.check, row.scope):
            yield Ran(*row._replace(states=counts.setdefault(tuple(row.states.values()), row.states)))


def _gaps(projection: Projection, since: datetime, until: datetime) -> list[Declared]:
    return [
        Declared(row.seq, row.account, row.checks, row.since, row.until, row.reason)
        for row in projection.gaps(since, until)
    ]
