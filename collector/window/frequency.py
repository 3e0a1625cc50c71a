"""Whether what was planned keeps what a window promises: that each check is observed at least so often. Pure.

Whether what was planned was observed is ``collector.window.coverage``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from collector.window.slots import Plan, Slot, in_force


@dataclass(frozen=True)
class Sparse:
    """A check over a scope for which the plan asked less often than the window's frequency.

    ``stretches`` counts the stretches without a due slot that are longer than it; ``longest`` began at ``since``.
    """

    check: str
    scope: str
    stretches: int
    longest: timedelta
    since: datetime


def sparse(
    plans: Iterable[Plan],
    slots: Iterable[Slot],
    about: Callable[[str, str], bool],
    since: datetime,
    until: datetime,
    frequency: timedelta,
) -> list[Sparse]:
    """What of ``[since, until)`` was planned too seldom, by check and scope; ``about`` says which of them count.

    A check over a scope is held to it from the moment it is first planned to the moment it is last, since an account
    may be new. What was in the very first plan of the window is held to it from the window's start: then it was the
    collector that came late.
    """
    planned = _planned(plans, about, since, until)
    dues: dict[tuple[str, str], list[datetime]] = {}
    for slot in slots:
        dues.setdefault((slot.due.check, slot.due.scope), []).append(slot.due.at)
    earliest = min((begin for begin, _ in planned.values()), default=since)
    found: list[Sparse] = []
    for (check, scope), (begin, end) in sorted(planned.items()):
        start = since if begin - earliest <= frequency else begin
        moments = [start, *sorted(dues.get((check, scope), ())), end]
        long = [(after - before, before) for before, after in pairwise(moments) if after - before > frequency]
        if long:
            longest = max(span for span, _ in long)
            found.append(Sparse(check, scope, len(long), longest, min(at for span, at in long if span == longest)))
    return found


def _planned(
    plans: Iterable[Plan], about: Callable[[str, str], bool], since: datetime, until: datetime
) -> dict[tuple[str, str], tuple[datetime, datetime]]:
    """From when to when each check over each scope was in a plan that was in force, clipped to ``[since, until)``."""
    by_account: dict[str, list[Plan]] = {}
    for plan in plans:
        by_account.setdefault(plan.account, []).append(plan)
    found: dict[tuple[str, str], tuple[datetime, datetime]] = {}
    for known in by_account.values():
        for begin, end, plan in _stretches(known, since, until):
            for item in plan.checks:
                for scope in item.scopes:
                    if about(item.check, scope):
                        first = found.get((item.check, scope), (begin, end))[0]
                        found[item.check, scope] = (first, end)
    return found


def _stretches(plans: Iterable[Plan], since: datetime, until: datetime) -> list[tuple[datetime, datetime, Plan]]:
    """One account's plans in force; neighbours that ask for the same are one, since plans are written daily."""
    found: list[tuple[datetime, datetime, Plan]] = []
    for begin, end, plan in in_force(plans):
        begin, end = max(begin, since), min(end, until)
        if begin >= end:
            continue
        if found and found[-1][1] == begin and found[-1][2].checks == plan.checks:
            found[-1] = (found[-1][0], end, found[-1][2])
        else:
            found.append((begin, end, plan))
    return found
