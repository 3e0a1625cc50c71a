"""The picture: the gravest is seen however small, nothing is drawn where nothing was due, days begin at midnight."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

import pytest

from collector.export import timeline
from collector.export.timeline import COLUMNS, Lane, Mark, columns, mark, ticks
from collector.window.slots import Declared, Due, Ran, Slot, SlotState

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
YEAR = START + timedelta(days=365)


def slot(at: datetime, state: SlotState = SlotState.OBSERVED, **states: int) -> Slot:
    item = Due(at, "aws-a-b", "aws/1", "aws/1")
    if state is SlotState.MISSED:
        return Slot(item, state)
    if state is SlotState.GAP:
        return Slot(item, state, gap=Declared(5, "aws/1", (), at, at + HOUR, "down"))
    counts = {name.replace("_", "-"): count for name, count in states.items()}
    run = Ran(9, "aws/1", "aws-a-b", "aws/1", at, at, at, sum(counts.values()), counts, "", "")
    return Slot(item, state, run=run, runs=1)


def hourly(hours: int, **states: int) -> list[Slot]:
    return [slot(START + n * HOUR, **(states or {"satisfied": 1})) for n in range(hours)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (slot(START, satisfied=2), Mark.SATISFIED),
        (slot(START, satisfied=2, not_satisfied=1), Mark.EXCEPTION),
        (slot(START, SlotState.LATE, satisfied=2), Mark.LATE),
        (slot(START, SlotState.LATE, satisfied=2, not_satisfied=1), Mark.EXCEPTION),
        (slot(START, SlotState.PARTIAL, satisfied=2, undetermined=1), Mark.PARTIAL),
        (slot(START, SlotState.PARTIAL, not_satisfied=2, undetermined=1), Mark.EXCEPTION),
        (slot(START), Mark.NOBODY),
        (slot(START, not_applicable=3), Mark.NOBODY),
        (slot(START, SlotState.GAP), Mark.GAP),
        (slot(START, SlotState.MISSED), Mark.MISSED),
    ],
)
def test_a_slot_is_drawn_by_the_gravest_thing_in_it(given: Slot, expected: Mark) -> None:
    assert mark(given) is expected


def test_a_run_without_population_is_a_gap_and_no_pass() -> None:
    run = Ran(9, "aws/1", "aws-a-b", "aws/1", START, START, START, None, {}, "denied", "denied")
    assert mark(Slot(Due(START, "aws-a-b", "aws/1", "aws/1"), SlotState.GAP, run=run, runs=1)) is Mark.GAP


@pytest.mark.parametrize("hour", [0, 1, 4000, 8758, 8759])
def test_one_bad_hour_of_a_year_is_seen(hour: int) -> None:
    slots = hourly(8760)
    slots[hour] = slot(START + hour * HOUR, not_satisfied=1)
    drawn = columns(slots, START, YEAR)
    assert drawn.count(Mark.EXCEPTION) in (1, 2)
    place = drawn.index(Mark.EXCEPTION)
    assert abs(place - hour * COLUMNS / 8760) <= 1
    assert drawn.count(Mark.SATISFIED) >= COLUMNS - 2


def test_the_window_is_filled_from_end_to_end_and_by_nothing_else() -> None:
    assert columns(hourly(720), START, START + 720 * HOUR) == [Mark.SATISFIED] * COLUMNS


def test_equal_neighbours_become_one_band() -> None:
    slots = hourly(720)
    for n in range(100, 148):
        slots[n] = slot(START + n * HOUR, SlotState.GAP)
    bands = [kind for kind, _ in groupby(columns(slots, START, START + 720 * HOUR))]
    assert bands == [Mark.SATISFIED, Mark.GAP, Mark.SATISFIED]


def test_nothing_is_drawn_where_nothing_was_due() -> None:
    before = hourly(100)
    after = [slot(START + n * HOUR, satisfied=1) for n in range(600, 720)]
    drawn = columns([*before, *after], START, START + 720 * HOUR)
    bands = [(kind, len(list(run))) for kind, run in groupby(drawn)]
    assert [kind for kind, _ in bands] == [Mark.SATISFIED, 0, Mark.SATISFIED]
    assert bands[1][1] == pytest.approx(COLUMNS * 500 / 720, abs=2)


def test_a_daily_slot_lasts_until_the_next_one() -> None:
    slots = [slot(START + n * 24 * HOUR, satisfied=1) for n in range(30)]
    slots[10] = slot(START + 240 * HOUR, SlotState.MISSED)
    drawn = columns(slots, START, START + 720 * HOUR)
    assert drawn.count(Mark.MISSED) == pytest.approx(COLUMNS / 30, abs=2)
    assert 0 not in drawn


def test_days_begin_at_midnight_of_the_zone_also_over_a_change_of_clocks() -> None:
    zone = ZoneInfo("Europe/Berlin")
    since, until = datetime(2026, 3, 22, 23, tzinfo=UTC), datetime(2026, 4, 4, 22, tzinfo=UTC)
    found = ticks(since, until, zone)
    assert found[0] == (since, "23 Mar")
    assert {at.astimezone(zone).hour for at, _ in found} == {0}
    assert (datetime(2026, 3, 29, 22, tzinfo=UTC), "30 Mar") in [(at.astimezone(UTC), label) for at, label in found]
    assert len(found) == 13


@pytest.mark.parametrize("days", [1, 3, 13, 30, 61, 92, 183, 365, 730])
def test_an_axis_has_room_for_its_labels(days: int) -> None:
    found = ticks(START, START + timedelta(days=days), ZoneInfo("America/New_York"))
    assert 1 <= len(found) <= 17
    assert all(START <= at < START + timedelta(days=days) for at, _ in found)
    assert len({label for _, label in found}) == len(found)


def test_every_mark_is_told_from_the_others_without_colour() -> None:
    plain = [kind for kind in Mark if kind not in timeline.PATTERNS]
    assert plain == [Mark.NOBODY, Mark.SATISFIED, Mark.EXCEPTION], "an outline, a pale and a dark one"
    assert len(set(timeline.PATTERNS.values())) == len(timeline.PATTERNS)
    assert set(timeline.LEGEND) == set(Mark)


def test_a_picture_says_what_it_is_and_names_each_lane() -> None:
    lanes = [Lane("aws-a-b", f"aws/<{n}>", hourly(24), ()) for n in range(3)]
    svg = timeline.draw("x", "A & B", "three lanes", lanes, START, START + 24 * HOUR, ZoneInfo("UTC"))
    assert '<title id="x-t">A &amp; B</title><desc id="x-d">three lanes</desc>' in svg
    assert 'role="img" aria-labelledby="x-t x-d"' in svg
    assert re.findall(r"<g><title>([^<]+)</title>", svg) == [f"aws-a-b over aws/&lt;{n}&gt;" for n in range(3)]
    assert "<1>" not in svg
    ids = re.findall(r' id="([^"]+)"', svg)
    assert len(ids) == len(set(ids))


def test_patterned_bands_are_clipped_to_themselves() -> None:
    slots = hourly(24)
    slots[5] = slot(START + 5 * HOUR, SlotState.MISSED)
    svg = timeline.draw("x", "t", "d", [Lane("a", "b", slots, ())], START, START + 24 * HOUR, ZoneInfo("UTC"))
    (clip,) = re.findall(r'<clipPath id="([^"]+)"><use href="#([^"]+)"/></clipPath>', svg)
    assert f'<path id="{clip[1]}" class="m-missed"' in svg
    assert f'<g clip-path="url(#{clip[0]})"><use href="#pattern-missed"' in svg
    assert 'id="pattern-missed"' in timeline.definitions()


def test_of_too_many_lanes_those_with_the_most_to_see_are_drawn() -> None:
    quiet = [Lane("a", f"scope-{n:03d}", hourly(24), ()) for n in range(timeline.LANES_MAX + 20)]
    assert timeline.chosen(quiet[: timeline.LANES_MAX]) == quiet[: timeline.LANES_MAX]
    loud = Lane("a", "scope-999", [slot(START + n * HOUR, not_satisfied=1) for n in range(24)], ())
    drawn = timeline.chosen([*quiet, loud])
    assert len(drawn) == timeline.LANES_MAX
    assert drawn[-1] is loud
    assert drawn[:-1] == quiet[: timeline.LANES_MAX - 1]
