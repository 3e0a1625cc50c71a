"""What a window looks like before anybody draws it: a mark for each slot, the gravest of each stretch of time. Pure.

The report draws it as SVG (``collector.export.timeline``), the command line in characters (``collector.cli.picture``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import IntEnum
from zoneinfo import ZoneInfo

from collector.window.slots import Slot, SlotState


class Mark(IntEnum):
    """What a slot looks like. The greater the graver; where several share a column the gravest is drawn."""

    NOBODY = 1  # observed, and no subject to judge: not a pass
    SATISFIED = 2
    LATE = 3
    PARTIAL = 4
    GAP = 5
    MISSED = 6
    EXCEPTION = 7


NOTHING = 0  # in the place of a mark: nothing was due
NOT_YET = -1  # in the place of a mark: a time that nobody can speak of yet


def mark(slot: Slot) -> Mark:
    """What a slot looks like."""
    if slot.state is SlotState.MISSED:
        return Mark.MISSED
    if slot.state is SlotState.GAP or slot.run is None:
        return Mark.GAP
    states = slot.run.states
    if states.get("not-satisfied", 0):
        return Mark.EXCEPTION
    if slot.state is SlotState.PARTIAL:
        return Mark.PARTIAL
    if slot.state is SlotState.LATE:
        return Mark.LATE
    return Mark.SATISFIED if states.get("satisfied", 0) else Mark.NOBODY


def columns(
    slots: Sequence[Slot], since: datetime, until: datetime, count: int, known: datetime | None = None
) -> list[int]:
    """The mark of each of ``count`` columns over ``[since, until)``, ``NOTHING`` where nothing was due.

    ``slots`` are those of one check over one scope in the order of time. Each lasts until the next one, the last one
    until ``known``, where that is before ``until``.
    """
    found: list[int] = [NOTHING] * count
    begin, scale = since.timestamp(), count / (until - since).total_seconds()
    last_end = min(until, known or until).timestamp()
    times = [slot.due.at.timestamp() for slot in slots]
    for slot, start, end in zip(slots, times, _ends(times, last_end), strict=True):
        drawn = int(mark(slot))
        first = min(int((start - begin) * scale), count - 1)
        last = max(first, min(-int(-(end - begin) * scale // 1) - 1, count - 1))
        for column in range(first, last + 1):
            if found[column] < drawn:
                found[column] = drawn
    return found


def _ends(times: Sequence[float], until: float) -> list[float]:
    """Where each slot's stretch ends: at the next slot, but not across a pause of the plan, where nothing was due.

    A step is a pause when it is longer than the steps on both sides of it.
    """
    steps = [after - before for before, after in zip(times, [*times, until][1:], strict=True)]
    ends = []
    for index, step in enumerate(steps):
        beside = [steps[place] for place in (index - 1, index + 1) if 0 <= place < len(steps) - 1]
        ends.append(times[index] + (min(step, max(beside)) if beside else step))
    return ends


# --- the axis ---


def ticks(since: datetime, until: datetime, zone: ZoneInfo) -> list[tuple[datetime, str]]:
    """Beginnings of days, weeks or months of the zone inside the window, labelled; about 16 at most."""
    days = (until - since) / timedelta(days=1)
    step = next((n for n in (1, 2, 7, 14) if days / n <= 16), 0)
    begin, end = (moment.astimezone(zone).date() for moment in (since, until))
    found: list[date] = []
    day = begin
    while day <= end:
        if step in (1, 2):
            chosen = (day - begin).days % step == 0
        elif step:
            chosen = day.weekday() == 0 and (day.toordinal() // 7) % (step // 7) == 0
        else:
            chosen = day.day == 1
        if chosen:
            found.append(day)
        day += timedelta(days=1)
    every = -(-len(found) // 16)
    shown = [(datetime.combine(day, time(0), zone), day) for day in found[:: max(every, 1)]]
    return [(at, f"{day.day} {day:%b}" if step else f"{day:%b %Y}") for at, day in shown if since <= at < until]


def axis(since: datetime, until: datetime, zone: ZoneInfo, width: int, bar: str = "|") -> str:
    """The ticks as one line of ``width`` characters: a bar in the cell where each begins and its label behind it.

    Where there is no room for all, every second one is left out, or more, so that those that stay are as far apart.
    """
    found = [
        (min(int(width * ((at - since) / (until - since))), width - 1), label)
        for at, label in ticks(since, until, zone)
    ]
    for every in range(1, len(found) + 1):
        line = ""
        for place, label in found[::every]:
            if line and place <= len(line):
                break
            if place + len(bar) + len(label) <= width:
                line = line.ljust(place) + bar + label
        else:
            return line.ljust(width)
    return " " * width


# --- lines of cells ---


@dataclass(frozen=True)
class Line:
    """One line of a picture: a control, or a control over one scope (``scope`` "": over all). A mark for each cell.

    ``bad`` is the share of its checks over its scopes, in percent of those that were due, that had an exception in the
    cell: the worst of forty scopes would otherwise look like all of them.
    """

    control: str
    scope: str
    cells: tuple[int, ...]
    bad: tuple[int, ...]


def lines(
    controls: Iterable[tuple[str, Iterable[str]]],
    slots: Iterable[Slot],
    since: datetime,
    until: datetime,
    ends: datetime,
    width: int,
    *,
    scopes: bool = False,
) -> list[Line]:
    """A line of ``width`` cells over ``[since, ends)`` for each control with its checks, in the order given.

    What is known reaches to ``until``; cells that lie behind it are ``NOT_YET``. Each cell shows the gravest slot of
    any check of the control that reaches into it. With ``scopes`` the line of a control is followed by one for each
    scope, in their order.
    """
    lanes: dict[str, dict[str, list[Slot]]] = {}
    for slot in slots:
        lanes.setdefault(slot.due.check, {}).setdefault(slot.due.scope, []).append(slot)
    known = max(1, min(width, -int(-width * ((until - since) / (ends - since)) // 1)))
    drawn: dict[str, dict[str, list[int]]] = {}  # a check may be bound by several controls
    for check, by_scope in lanes.items():
        for scope, lane in by_scope.items():
            lane.sort(key=lambda slot: slot.due.at)
            drawn.setdefault(check, {})[scope] = columns(lane, since, ends, width, until)
    found: list[Line] = []
    for control, checks in controls:
        mine: dict[str, list[list[int]]] = {}
        for check in checks:
            for scope, cells in drawn.get(check, {}).items():
                mine.setdefault(scope, []).append(cells)
        all_cells = [cells for many in mine.values() for cells in many]
        found.append(Line(control, "", _gravest(all_cells, known, width), _bad(all_cells, width)))
        for scope in sorted(mine) if scopes else ():
            found.append(Line(control, scope, _gravest(mine[scope], known, width), _bad(mine[scope], width)))
    return found


def _gravest(lanes: Sequence[Sequence[int]], known: int, width: int) -> tuple[int, ...]:
    cells = [max(column) for column in zip(*lanes, strict=True)] if lanes else [NOTHING] * width
    return tuple(NOT_YET if place >= known else cell for place, cell in enumerate(cells))


def _bad(lanes: Sequence[Sequence[int]], width: int) -> tuple[int, ...]:
    if not lanes:
        return (0,) * width
    return tuple(
        100 * sum(cell == Mark.EXCEPTION for cell in column) // max(1, sum(cell != NOTHING for cell in column))
        for column in zip(*lanes, strict=True)
    )
