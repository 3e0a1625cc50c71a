"""A window drawn in the terminal: a line a control, time from left to right. What each cell shows is decided elsewhere.

Each mark has a character of its own, so that the picture is read without colour too, and one in ASCII where the
terminal writes nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import IO
from zoneinfo import ZoneInfo

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from collector.cli.terminal import PIPE_COLUMNS, words_for
from collector.window.coverage import ControlCoverage, percent
from collector.window.picture import NOT_YET, NOTHING, Line, Mark, axis, lines
from collector.window.slots import Slot

CELLS_MIN = 10
LABEL_MAX = 44
PERCENT = 8  # columns: " 100.0 %"


@dataclass(frozen=True)
class Look:
    """How one kind of cell is drawn, and what the legend says of it."""

    sign: str
    ascii: str
    style: str
    word: str


HEIGHTS, HEIGHTS_ASCII = "▃▄▅▆▇█", "+++###"  # of an exception: the lowest is still no line, and so no pass

# The graver, the more ink: what is well is a thin line, and nothing that is unknown looks like it.
LOOKS: Mapping[int, Look] = {
    Mark.SATISFIED: Look("─", "-", "green", "satisfied"),
    Mark.LATE: Look("╌", "~", "cyan", "late: after the grace, nothing amiss"),
    Mark.NOBODY: Look("○", "o", "dim", "nobody to judge"),
    Mark.EXCEPTION: Look("█", "#", "red", "not satisfied: higher in more of its checks and scopes"),
    Mark.PARTIAL: Look("▒", "?", "yellow", "undetermined: some could not be read"),
    Mark.GAP: Look("░", ":", "magenta", "gap: nobody could look"),
    Mark.MISSED: Look("×", "x", "bold magenta", "missed: nobody looked"),
    NOT_YET: Look("·", ".", "dim", "not yet due"),
    NOTHING: Look(" ", " ", "", "blank: nothing due"),
}


def plain(stream: IO[str], environ: Mapping[str, str] = os.environ) -> bool:
    """Whether only ASCII may be written: by the stream's encoding, or because the locale is named "C".

    Python writes UTF-8 under LC_ALL=C all the same (PEP 540), and the terminal need not know. A locale that is not
    named at all, as in a container, says nothing.
    """
    if not (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf"):
        return True
    named = next((environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    return named in ("C", "POSIX")


def width_of(console: Console, environ: Mapping[str, str] = os.environ) -> int:
    """How many columns there are: those of the terminal, of COLUMNS, or of a pipe."""
    if console.is_terminal:
        return console.width
    named = environ.get("COLUMNS", "")
    return int(named) if named.isdigit() and int(named) else PIPE_COLUMNS


def show(
    console: Console,
    controls: Sequence[tuple[str, Sequence[str]]],
    slots: Iterable[Slot],
    coverage: Iterable[ControlCoverage],
    stretch: tuple[datetime, datetime, datetime],
    zone: ZoneInfo,
    *,
    scopes: bool = False,
    legend: bool = True,
) -> None:
    """Draws a window: ``stretch`` is its first moment, up to where it is known, and its end."""
    ascii_only, width = plain(console.file), width_of(console)
    since, until, ends = stretch
    covered = _covered(coverage)
    names = [id for id, _ in controls]
    if scopes:
        names += [f"  {scope}" for _, scope in covered if scope]
    label = min(max((cell_len(name) for name in names), default=0), max(12, min(LABEL_MAX, width // 3)))
    cells = max(CELLS_MIN, width - label - 1 - PERCENT)
    drawn = lines(controls, slots, since, until, ends, cells, scopes=scopes)
    head = axis(since, ends, zone, cells, "|" if ascii_only else "│")
    if head.strip():
        console.print(Text(f"{'':{label}} {head}".rstrip(), style="dim"))
    for line in drawn:
        console.print(_line(line, label, covered.get((line.control, line.scope)), ascii_only))
    if legend:
        present = {cell for line in drawn for cell in line.cells}
        span = words_for((ends - since) / cells)
        for words in _legend(present, span, width, ascii_only):
            console.print(words)


def _covered(coverage: Iterable[ControlCoverage]) -> dict[tuple[str, str], tuple[int, int]]:
    """Covered and due slots by control and scope, and by control alone (scope "")."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for line in coverage:
        for scope in (line.scope, ""):
            covered, due = found.get((line.control, scope), (0, 0))
            found[line.control, scope] = (covered + line.covered, due + line.due)
    return found


def _line(line: Line, label: int, covered: tuple[int, int] | None, ascii_only: bool) -> Text:
    name = f"  {line.scope}" if line.scope else line.control
    text = Text()
    text.append(f"{_short(name, label, '..' if ascii_only else '…'):{label}} ", style="" if line.scope else "bold")
    for (kind, height), run in groupby(_kinds(line)):
        look = LOOKS[kind]
        sign = look.ascii if ascii_only else look.sign
        if kind == Mark.EXCEPTION:
            sign = (HEIGHTS_ASCII if ascii_only else HEIGHTS)[height]
        text.append(sign * sum(1 for _ in run), style=look.style)
    share = percent(*covered) if covered else ""
    text.append(f"{share:>{PERCENT}}".rstrip())
    return text


def _kinds(line: Line) -> list[tuple[int, int]]:
    """The mark of each cell, and how high it is drawn: an exception by how much of the control it is."""
    top = len(HEIGHTS) - 1
    return [
        (cell, min(top, bad * len(HEIGHTS) // 100) if cell == Mark.EXCEPTION else 0)
        for cell, bad in zip(line.cells, line.bad, strict=True)
    ]


def _short(name: str, length: int, mark: str) -> str:
    """The end of a long name: it tells one scope from the next."""
    if len(name) <= length:
        return name
    lead = len(name) - len(name.lstrip())
    return name[:lead] + mark + name[-(length - lead - len(mark)) :]


def _legend(present: set[int], span: str, width: int, ascii_only: bool) -> list[Text]:
    """What the characters that were drawn mean, and what one cell is; as many lines as it takes."""
    parts = []
    for kind, look in LOOKS.items():
        if kind in present:
            signs = (look.ascii if ascii_only else look.sign) * 2
            if kind == Mark.EXCEPTION:
                signs = "+#" if ascii_only else "▃▅█"
            parts.append(Text.assemble((f"{signs} ", look.style), look.word))
    parts.append(Text(f"a cell is {span}, its gravest slot is drawn", style="dim"))
    found: list[Text] = []
    for part in parts:
        if found and cell_len(found[-1].plain) + 3 + cell_len(part.plain) <= width:
            found[-1] = Text.assemble(found[-1], "   ", part)
        else:
            found.append(part)
    return found


def share_of(since: datetime, until: datetime, ends: datetime) -> str:
    """How much of a window is over, in words."""
    if until >= ends:
        return "over"
    return f"{int(100 * ((until - since) / (ends - since)))} % over, {words_for(_days(ends - until))} to go"


def _days(span: timedelta) -> timedelta:
    return timedelta(days=span.days) if span.days else span
