"""Deviations have a beginning and an end that were seen; findings never round a hole up to satisfied."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from collector.model import State
from collector.window.coverage import Coverage
from collector.window.findings import Stretch, deviations, finding, without_subjects
from collector.window.slots import Due, Ran, Slot, SlotState

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=30)
DAY = timedelta(days=1)


def stretch(state: State, first: int, last: int | None, run: int = 0) -> Stretch:
    to_at = None if last is None else START + last * DAY
    to_run = None if last is None else 100 + last
    return Stretch("aws-a-b", "aws/1", "x", state, f"is {state}", 100 + first, to_run, START + first * DAY, to_at)


def line(due: int, covered: int) -> Coverage:
    return Coverage("aws-a-b", "aws/1", due, covered, 0, 0, due - covered, 0, timedelta(0), None)


def slot(state: SlotState, population: int | None) -> Slot:
    run = Ran(1, "aws/1", "aws-a-b", "aws/1", START, START, START, population, {}, "", "")
    return Slot(Due(START, "aws-a-b", "aws/1", "aws/1"), state, None if population is None else run)


BAD, GOOD, DARK = State.NOT_SATISFIED, State.SATISFIED, State.UNDETERMINED


def test_a_deviation_begins_and_ends_with_runs() -> None:
    (d,) = deviations([stretch(GOOD, 0, 2), stretch(BAD, 2, 5), stretch(GOOD, 5, None)], START, END)
    assert (d.first_bad, d.mended_by, d.duration) == (102, 105, 3 * DAY)


def test_darkness_does_not_mend() -> None:
    (d,) = deviations([stretch(BAD, 2, 5), stretch(DARK, 5, 8), stretch(GOOD, 8, None)], START, END)
    assert (d.duration, d.mended_by) == (6 * DAY, 108)


def test_a_change_of_reason_is_the_same_deviation() -> None:
    assert len(deviations([stretch(BAD, 2, 5), stretch(BAD, 5, 9), stretch(GOOD, 9, None)], START, END)) == 1


def test_windows_clip_and_say_so() -> None:
    (d,) = deviations([stretch(BAD, -5, None)], START, END)
    assert (d.since, d.until, d.began_before_window, d.duration) == (START, None, True, 30 * DAY)
    assert deviations([stretch(BAD, -5, -2)], START, END) == []
    assert deviations([stretch(BAD, 30, None)], START, END) == []
    (e,) = deviations([stretch(BAD, 28, 33)], START, END)
    assert (e.until, e.mended_by) == (None, None)


def test_darkness_alone_is_no_deviation() -> None:
    assert deviations([stretch(DARK, 0, None)], START, END) == []


def test_findings() -> None:
    found = deviations([stretch(BAD, 2, 5)], START, END)
    assert finding("C", ["aws-a-b"], [line(10, 10)], []).state is State.SATISFIED
    assert finding("C", ["aws-a-b"], [line(10, 9)], []).state is State.UNDETERMINED
    assert finding("C", ["aws-a-b"], [], []).state is State.UNDETERMINED
    assert finding("C", ["aws-a-b"], [line(10, 10)], found).state is State.NOT_SATISFIED
    assert finding("C", ["aws-other"], [line(10, 10)], found).state is State.UNDETERMINED
    assert finding("C", [], [line(10, 10)], found).state is State.NOT_APPLICABLE


def test_nobody_to_look_at_is_a_fact_and_no_pass() -> None:
    assert finding("C", ["aws-a-b"], [line(10, 10)], [], empty={"aws-a-b"}).state is State.NOT_APPLICABLE
    assert finding("C", ["aws-a-b"], [line(10, 10)], [], empty={"aws-other"}).state is State.SATISFIED
    assert finding("C", ["aws-a-b"], [line(10, 9)], [], empty={"aws-a-b"}).state is State.UNDETERMINED
    nobody, somebody = slot(SlotState.OBSERVED, 0), slot(SlotState.LATE, 2)
    assert without_subjects([nobody, slot(SlotState.PARTIAL, 3), slot(SlotState.GAP, None)]) == {"aws-a-b"}
    assert without_subjects([nobody, somebody]) == frozenset()
    assert without_subjects([slot(SlotState.GAP, None)]) == frozenset()
