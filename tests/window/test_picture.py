"""The picture of a window: the gravest of every slot that reaches into a cell, and nothing unknown looks well."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.window.picture import NOT_YET, NOTHING, Line, Mark, axis, lines, mark
from collector.window.slots import Declared, Due, Ran, Slot, SlotState

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def slot(at: datetime, drawn: Mark, check: str = "c", scope: str = "aws/1") -> Slot:
    """A slot that looks so."""
    due = Due(at, check, scope, "aws/1")
    if drawn is Mark.MISSED:
        return Slot(due, SlotState.MISSED)
    if drawn is Mark.GAP:
        return Slot(due, SlotState.GAP, gap=Declared(1, "aws/1", (), at, at + HOUR, "down"))
    found = {Mark.EXCEPTION: "not-satisfied", Mark.PARTIAL: "undetermined", Mark.NOBODY: "not-applicable"}
    states = {found.get(drawn, "satisfied"): 1}
    state = {Mark.LATE: SlotState.LATE, Mark.PARTIAL: SlotState.PARTIAL}.get(drawn, SlotState.OBSERVED)
    return Slot(due, state, run=Ran(9, "aws/1", check, scope, at, at, at, 1, states, "", ""), runs=1)


def drawn(
    slots: Sequence[Slot], days: float, width: int, known: float | None = None, scopes: bool = False
) -> list[Line]:
    ends = START + days * DAY
    until = ends if known is None else START + known * DAY
    return lines([("A-1", ["c", "d"]), ("B-1", ["e"])], slots, START, until, ends, width, scopes=scopes)


@pytest.mark.parametrize("look", list(Mark))
def test_a_slot_that_looks_so_is_marked_so(look: Mark) -> None:
    assert mark(slot(START, look)) is look


def test_a_cell_covers_many_slots_and_shows_the_worst_of_all_checks() -> None:
    well = [slot(START + n * HOUR, Mark.SATISFIED) for n in range(240)]
    other = [slot(START + n * HOUR, Mark.SATISFIED, "d") for n in range(240)]
    other[100] = slot(START + 100 * HOUR, Mark.MISSED, "d")
    other[101] = slot(START + 101 * HOUR, Mark.EXCEPTION, "d")
    other[200] = slot(START + 200 * HOUR, Mark.GAP, "d")
    first, second = drawn([*well, *other], 10, 10)
    assert first.cells == (2, 2, 2, 2, Mark.EXCEPTION, 2, 2, 2, Mark.GAP, 2)
    assert second == Line("B-1", "", (NOTHING,) * 10, (0,) * 10)
    assert first.bad == (0, 0, 0, 0, 50, 0, 0, 0, 0, 0), "one of two checks"


def test_what_has_not_come_yet_is_said_to_be_so_and_the_last_slot_does_not_reach_into_it() -> None:
    daily = [slot(START + n * DAY, Mark.SATISFIED) for n in range(5)]
    (first, second) = drawn(daily, 10, 20, known=4.6)
    assert first.cells == (Mark.SATISFIED,) * 10 + (NOT_YET,) * 10
    assert second.cells == (NOTHING,) * 10 + (NOT_YET,) * 10


def test_scopes_are_lines_of_their_own_below_their_control() -> None:
    two = [slot(START, Mark.SATISFIED, scope="aws/1/b"), slot(START, Mark.GAP, scope="aws/1/a")]
    found = drawn(two, 1, 4, scopes=True)
    assert [(line.control, line.scope, line.cells[0]) for line in found] == [
        ("A-1", "", Mark.GAP),
        ("A-1", "aws/1/a", Mark.GAP),
        ("A-1", "aws/1/b", Mark.SATISFIED),
        ("B-1", "", NOTHING),
    ]


@settings(max_examples=60, deadline=None)
@given(
    looks=st.lists(st.sampled_from(list(Mark)), min_size=1, max_size=60),
    width=st.integers(10, 90),
    ahead=st.integers(0, 40),
)
def test_every_bad_hour_is_seen_and_no_cell_is_better_than_what_it_covers(
    looks: list[Mark], width: int, ahead: int
) -> None:
    """Slowly: every slot against every cell."""
    hours = len(looks) + ahead
    slots = [slot(START + n * HOUR, look) for n, look in enumerate(looks)]
    ends, until = START + hours * HOUR, START + len(looks) * HOUR
    (line,) = lines([("A-1", ["c"])], slots, START, until, ends, width)
    for cell in range(width):
        begin, end = hours * cell / width, hours * (cell + 1) / width
        inside = [look for n, look in enumerate(looks) if n < end - 1e-9 and n + 1 > begin + 1e-9]
        touching = [look for n, look in enumerate(looks) if n <= end + 1e-9 and n + 1 >= begin - 1e-9]
        if not inside:
            assert line.cells[cell] == NOT_YET
        else:
            assert max(inside) <= line.cells[cell] <= max(touching)


# --- the axis ---


@pytest.mark.parametrize("width", [20, 44, 90, 150, 400])
@pytest.mark.parametrize("days", [1, 7, 31, 90, 365])
def test_an_axis_fits_and_its_labels_keep_apart(width: int, days: int) -> None:
    found = axis(START, START + days * DAY, ZoneInfo("UTC"), width)
    assert len(found) == width
    labels = ["|1 Mar", "|1 Mar", "|1 Mar", "|2 Mar", "|Mar 2026"]
    assert found.lstrip().startswith(labels[[1, 7, 31, 90, 365].index(days)])
    assert all(label.strip() for label in found.split("|")[1:])
    assert all(label.endswith(" ") for label in found.split("|")[1:-1])


def test_labels_that_have_no_room_are_left_out_evenly() -> None:
    found = axis(START, START + 90 * DAY, ZoneInfo("UTC"), 44)
    assert found.split() == ["|2", "Mar", "|23", "Mar", "|13", "Apr", "|4", "May"]


def test_a_tick_stands_over_the_cell_in_which_its_day_begins() -> None:
    zone = ZoneInfo("Europe/Berlin")
    found = axis(START, START + 7 * DAY, zone, 140)
    assert found.index("|2 Mar") == int(140 * 23 / (7 * 24))
