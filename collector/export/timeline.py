"""The picture of a window: one lane for each check and scope, as SVG inside the report. Draws; decides nothing.

A lane is divided into columns. Each shows the gravest thing among the slots that reach into it, so that one bad hour in
a year is still seen, and a picture stays small however many slots it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import groupby
from zoneinfo import ZoneInfo

from collector.export.words import short
from collector.window import picture
from collector.window.findings import Deviation
from collector.window.picture import Mark, mark, ticks
from collector.window.slots import Slot

__all__ = ["COLUMNS", "LEGEND", "Lane", "Mark", "chosen", "columns", "definitions", "draw", "mark", "swatch", "ticks"]

WIDTH = 1000
LABEL = 208  # of that, for the names of scopes
PLOT = WIDTH - LABEL - 2
COLUMN = 2  # user units: the narrowest mark that is seen in print
COLUMNS = PLOT // COLUMN
LANE = 22
BAND = 12
HEADING = 26
AXIS = 26
NAME_LENGTH = 30
LANES_MAX = 60


LEGEND = {
    Mark.SATISFIED: ("satisfied", "observed in time, every applicable subject satisfied"),
    Mark.EXCEPTION: ("exception", "at least one subject not satisfied"),
    Mark.PARTIAL: ("partial", "at least one subject could not be read"),
    Mark.GAP: ("gap", "nobody could look, and the ledger says why"),
    Mark.MISSED: ("missed", "planned, and neither looked at nor declared"),
    Mark.LATE: ("late", "begun after the grace; nothing amiss was seen"),
    Mark.NOBODY: ("no subject", "observed, and there was nobody to judge"),
}

SLANTS = range(-BAND, PLOT, 6)

# Each pattern is told from the others without its colour. They are lines as long as the plot, clipped to the bands that
# they fill: an SVG <pattern> would be simpler, and makes an image of every band when a browser prints to PDF.
PATTERNS = {
    Mark.LATE: f"M0 {BAND / 2:g}h{PLOT}",  # dashed to upright bars by the page's style
    Mark.PARTIAL: f"M2 2.4h{PLOT}M4.5 6h{PLOT}M2 9.6h{PLOT}",  # dotted by it
    Mark.GAP: "".join(f"M{x} {BAND}l{BAND} -{BAND}" for x in SLANTS),
    Mark.MISSED: "".join(f"M{x} {BAND}l{BAND} -{BAND}M{x} 0l{BAND} {BAND}" for x in SLANTS),
}


@dataclass(frozen=True)
class Lane:
    """One check over one scope: its slots in the order of time, and the deviations seen in it."""

    check: str
    scope: str
    slots: Sequence[Slot]
    deviations: Sequence[Deviation]


def columns(slots: Sequence[Slot], since: datetime, until: datetime) -> list[int]:
    """The mark of each column of a lane, 0 where nothing was due."""
    return picture.columns(slots, since, until, COLUMNS)


# --- drawing ---


def definitions() -> str:
    """The patterns, once a page. Not hidden by ``display``, since a browser would then forget them."""
    made = "".join(
        f'<path id="pattern-{kind.name.lower()}" class="ink-{kind.name.lower()}" d="{d}"/>'
        for kind, d in PATTERNS.items()
    )
    return f'<svg class="definitions" width="0" height="0" aria-hidden="true"><defs>{made}</defs></svg>'


def swatch(kind: Mark) -> str:
    """A sample of a mark for the legend."""
    name = kind.name.lower()
    inked = f'<use href="#pattern-{name}"/>' if kind in PATTERNS else ""
    return (
        f'<svg class="swatch" viewBox="0 0 36 {BAND}" width="36" height="{BAND}" aria-hidden="true">'
        f'<path class="m-{name}" d="M.5 .5h35v{BAND - 1}h-35z"/>{inked}</svg>'
    )


def swatch_open() -> str:
    """A sample of the line beneath a lane."""
    return (
        f'<svg class="swatch" viewBox="0 0 36 {BAND}" width="36" height="{BAND}" aria-hidden="true">'
        f'<path class="open" d="M0 {BAND / 2:g}h36"/></svg>'
    )


def chosen(lanes: Sequence[Lane]) -> list[Lane]:
    """The lanes that are drawn: all, or those with the most to see, in the order given."""
    if len(lanes) <= LANES_MAX:
        return list(lanes)
    plain = (Mark.SATISFIED, Mark.NOBODY)
    eventful = sorted(
        range(len(lanes)), key=lambda n: (-sum(1 for slot in lanes[n].slots if mark(slot) not in plain), n)
    )
    return [lanes[n] for n in sorted(eventful[:LANES_MAX])]


def draw(
    id: str, title: str, description: str, lanes: Sequence[Lane], since: datetime, until: datetime, zone: ZoneInfo
) -> str:
    """The lanes, by check, over one axis. ``id`` is unique on the page; the texts are for who cannot see it."""
    body: list[str] = []
    y = AXIS
    for check, group in groupby(lanes, key=lambda lane: lane.check):
        body.append(f'<text class="check" x="0" y="{y + 18}">{escape(check)}</text>')
        y += HEADING
        for lane in group:
            body.append(_lane(f"{id}-{y}", lane, y, since, until))
            y += LANE
    axis = "".join(
        f'<path class="rule" d="M{x} {AXIS - 4}V{y}"/><text class="tick" x="{x + 4}" y="{AXIS - 12}">{label}</text>'
        for x, label in ((_x(at, since, until), label) for at, label in ticks(since, until, zone))
    )
    return (
        f'<svg class="timeline" viewBox="0 0 {WIDTH} {y + 4}" role="img" aria-labelledby="{id}-t {id}-d">'
        f'<title id="{id}-t">{escape(title)}</title><desc id="{id}-d">{escape(description)}</desc>'
        f'<g aria-hidden="true"><path class="rule" d="M{LABEL} {AXIS - 4}H{WIDTH}"/>{axis}{"".join(body)}</g></svg>'
    )


def _x(at: datetime, since: datetime, until: datetime) -> int:
    return LABEL + round(PLOT * ((at - since) / (until - since)))


def _lane(id: str, lane: Lane, y: int, since: datetime, until: datetime) -> str:
    top = y + (LANE - BAND) // 2
    paths: dict[int, list[str]] = {}
    place = LABEL
    for kind, run in groupby(columns(lane.slots, since, until)):
        width = COLUMN * sum(1 for _ in run)
        if kind:
            paths.setdefault(kind, []).append(f"M{place} {top}h{width}v{BAND}h-{width}z")
        place += width
    drawn = "".join(_bands(f"{id}-{kind}", Mark(kind), "".join(d), top) for kind, d in sorted(paths.items()))
    beneath = _merged(
        (_x(d.since, since, until), max(_x(d.until or until, since, until), _x(d.since, since, until) + COLUMN))
        for d in lane.deviations
    )
    if beneath:
        line = "".join(f"M{begin} {top + BAND + 2.5:g}H{end}" for begin, end in beneath)
        drawn += f'<path class="open" d="{line}"/>'
    return (
        f"<g><title>{escape(f'{lane.check} over {lane.scope}')}</title>"
        f'<text class="scope" x="0" y="{top + 10}">{escape(short(lane.scope, NAME_LENGTH))}</text>{drawn}</g>'
    )


def _bands(id: str, kind: Mark, d: str, top: int) -> str:
    """All bands of one kind in a lane: one path, and the pattern clipped to it."""
    name = kind.name.lower()
    if kind not in PATTERNS:
        return f'<path class="m-{name}" d="{d}"/>'
    return (
        f'<path id="{id}" class="m-{name}" d="{d}"/><clipPath id="{id}-clip"><use href="#{id}"/></clipPath>'
        f'<g clip-path="url(#{id}-clip)"><use href="#pattern-{name}" x="{LABEL}" y="{top}"/></g>'
    )


def _merged(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for begin, end in sorted(stretches):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found
