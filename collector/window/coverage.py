"""How much of a plan was observed, per check and scope and per control and scope, and where the longest hole is. Pure.

What that means for a control is ``collector.window.findings``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from collector.window.slots import COVERED, Slot, SlotState


@dataclass(frozen=True)
class Coverage:
    """Counts of slots by state. ``longest_gap`` runs from the first slot that was not covered to the next that was."""

    check: str
    scope: str
    due: int
    observed: int
    late: int
    partial: int
    gap: int
    missed: int
    longest_gap: timedelta
    longest_gap_since: datetime | None

    @property
    def covered(self) -> int:
        return self.observed + self.late

    @property
    def per_mille(self) -> int:
        """Covered slots of a thousand due ones, rounded down, so that only a whole window reads as whole."""
        return 1000 * self.covered // self.due if self.due else 0


@dataclass(frozen=True)
class ControlCoverage:
    """Counts of the slots of all ``checks`` of a control that are due over one scope.

    Over all scopes of a control the counts add up to those of its finding, and the longest of the gaps is the
    finding's: the longest stretch in which one of its checks was not covered.
    """

    control: str
    scope: str
    checks: tuple[str, ...]
    due: int
    observed: int
    late: int
    partial: int
    gap: int
    missed: int
    longest_gap: timedelta
    longest_gap_since: datetime | None

    @property
    def covered(self) -> int:
        return self.observed + self.late


def by_control(controls: Iterable[tuple[str, Collection[str]]], lines: Iterable[Coverage]) -> list[ControlCoverage]:
    """A line per control and scope: controls in the order given, each with the checks that count for it, scopes
    ordered."""
    by_check: dict[str, list[Coverage]] = {}
    for line in lines:
        by_check.setdefault(line.check, []).append(line)
    found: list[ControlCoverage] = []
    for control, checks in controls:
        by_scope: dict[str, list[Coverage]] = {}
        for check in sorted(set(checks)):
            for line in by_check.get(check, ()):
                by_scope.setdefault(line.scope, []).append(line)
        found += [_sum(control, scope, by_scope[scope]) for scope in sorted(by_scope)]
    return found


def _sum(control: str, scope: str, mine: list[Coverage]) -> ControlCoverage:
    longest = max(line.longest_gap for line in mine)
    begun = (line.longest_gap_since for line in mine if line.longest_gap == longest)
    return ControlCoverage(
        control=control,
        scope=scope,
        checks=tuple(line.check for line in mine),
        due=sum(line.due for line in mine),
        observed=sum(line.observed for line in mine),
        late=sum(line.late for line in mine),
        partial=sum(line.partial for line in mine),
        gap=sum(line.gap for line in mine),
        missed=sum(line.missed for line in mine),
        longest_gap=longest,
        longest_gap_since=min((at for at in begun if at is not None), default=None),
    )


def percent(covered: int, due: int) -> str:
    """``covered`` of ``due`` as a percentage with one decimal, rounded down; "no slot due" when none was."""
    return f"{1000 * covered // due / 10:.1f} %" if due else "no slot due"


def coverage(slots: Iterable[Slot], until: datetime) -> list[Coverage]:
    """One line per check and scope, ordered. ``until`` is the window's end, where a last hole ends."""
    by_pair: dict[tuple[str, str], list[Slot]] = {}
    for slot in slots:
        by_pair.setdefault((slot.due.check, slot.due.scope), []).append(slot)
    return [_line(check, scope, by_pair[check, scope], until) for check, scope in sorted(by_pair)]


def _line(check: str, scope: str, slots: list[Slot], until: datetime) -> Coverage:
    slots.sort(key=lambda s: s.due.at)
    count = dict.fromkeys(SlotState, 0)
    longest, longest_since, hole = timedelta(0), None, None
    for slot in slots:
        count[slot.state] += 1
        if slot.state in COVERED:
            if hole is not None and slot.due.at - hole > longest:
                longest, longest_since = slot.due.at - hole, hole
            hole = None
        elif hole is None:
            hole = slot.due.at
    if hole is not None and until - hole > longest:
        longest, longest_since = until - hole, hole
    return Coverage(
        check=check,
        scope=scope,
        due=len(slots),
        observed=count[SlotState.OBSERVED],
        late=count[SlotState.LATE],
        partial=count[SlotState.PARTIAL],
        gap=count[SlotState.GAP],
        missed=count[SlotState.MISSED],
        longest_gap=longest,
        longest_gap_since=longest_since,
    )
