"""Slots against a slow and obvious reference, and against the calendar's tricks."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.window.coverage import coverage, percent
from collector.window.slots import (
    Declared,
    Due,
    Plan,
    PlannedCheck,
    Ran,
    SlotState,
    account_for,
    due,
    in_force,
    ticks,
    unanswered,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
GRACE = timedelta(minutes=15)
ACCOUNT = "aws/1"


def plan(seq: int, since: int, until: int, every: int = 3600, check: str = "aws-a-b") -> Plan:
    return Plan(seq, ACCOUNT, START + since * HOUR, START + until * HOUR, (PlannedCheck(check, (ACCOUNT,), every),))


def ran(at: datetime, seq: int = 1, late: timedelta = timedelta(0), population: int | None = 2, blind: int = 0) -> Ran:
    states = {"satisfied": (population or 0) - blind, "undetermined": blind}
    failure = "" if population is not None else "denied"
    return Ran(seq, ACCOUNT, "aws-a-b", ACCOUNT, at, at + late, at + late, population, states, failure, failure)


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    found = []
    for seq in range(draw(st.integers(1, 6))):
        since = draw(st.integers(0, 40))
        length = draw(st.integers(1, 30))
        every = draw(st.sampled_from([900, 3600, 7200, 86_400]))
        found.append(plan(seq, since, since + length, every, draw(st.sampled_from(["aws-a-b", "aws-c-d"]))))
    return found


@given(plans(), st.integers(0, 30), st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_due_is_what_the_newest_plan_says_at_each_moment(known: list[Plan], since: int, length: int) -> None:
    begin, end = START + since * HOUR, START + (since + length) * HOUR
    slow = []
    moment = begin
    while moment < end:
        covering = [p for p in known if p.since <= moment < p.until]
        if covering:
            newest = max(covering, key=lambda p: p.seq)
            for item in newest.checks:
                if int(moment.timestamp() - item.offset_s) % item.every_s == 0:
                    slow.append(Due(moment, item.check, ACCOUNT, ACCOUNT))
        moment += timedelta(minutes=15)
    assert sorted(due(known, begin, end)) == sorted(slow)


@given(plans())
def test_stretches_never_overlap(known: list[Plan]) -> None:
    stretches = in_force(known)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(stretches))


def test_daylight_saving_moves_no_slot_and_leap_days_have_theirs() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring = list(ticks(datetime(2026, 3, 29, tzinfo=berlin), datetime(2026, 3, 30, tzinfo=berlin), 3600))
    autumn = list(ticks(datetime(2026, 10, 25, tzinfo=berlin), datetime(2026, 10, 26, tzinfo=berlin), 3600))
    assert (len(spring), len(autumn)) == (23, 25)
    assert len(list(ticks(datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC), 86_400))) == 29


def test_a_slot_on_the_start_belongs_to_it_and_one_on_the_end_does_not() -> None:
    assert list(ticks(START, START + 2 * HOUR, 3600)) == [START, START + HOUR]
    assert list(ticks(START + timedelta(microseconds=1), START + HOUR, 3600)) == []


def test_every_outcome_has_its_state() -> None:
    dues = list(due([plan(0, 0, 7)], START, START + 7 * HOUR))
    runs = [
        ran(START),
        ran(START + HOUR, late=timedelta(minutes=16)),
        ran(START + 2 * HOUR, blind=1),
        ran(START + 3 * HOUR, population=None),
    ]
    gaps = [Declared(9, ACCOUNT, (), START + 4 * HOUR, START + 4 * HOUR + timedelta(seconds=1), "was not running")]
    slots = list(account_for(dues, runs, gaps, GRACE))
    assert [slot.state for slot in slots] == [
        SlotState.OBSERVED,
        SlotState.LATE,
        SlotState.PARTIAL,
        SlotState.GAP,
        SlotState.GAP,
        SlotState.MISSED,
        SlotState.MISSED,
    ]
    assert slots[4].reason == "was not running"
    (line,) = coverage(slots, START + 7 * HOUR)
    assert (line.due, line.covered, line.partial, line.gap, line.missed) == (7, 2, 1, 2, 2)
    assert line.longest_gap == 5 * HOUR
    assert line.longest_gap_since == START + 2 * HOUR


def test_the_first_run_of_a_slot_decides_and_all_are_counted() -> None:
    item = Due(START, "aws-a-b", ACCOUNT, ACCOUNT)
    (slot,) = account_for([item], [ran(START, seq=8), ran(START, seq=5, blind=1)], [], GRACE)
    assert (slot.state, slot.runs) == (SlotState.PARTIAL, 2)


def test_a_gap_of_one_check_covers_no_other() -> None:
    gap = Declared(1, ACCOUNT, ("aws-c-d",), START, START + HOUR, "why")
    item = Due(START, "aws-a-b", ACCOUNT, ACCOUNT)
    assert unanswered([item], set(), [gap]) == [item]
    assert unanswered([item], {("aws-a-b", ACCOUNT, START)}, []) == []


def test_percentages_never_round_up() -> None:
    assert percent(719, 720) == "99.8 %"
    assert percent(720, 720) == "100.0 %"
    assert percent(0, 0) == "no slot due"
