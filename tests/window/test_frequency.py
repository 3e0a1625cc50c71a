"""A plan that asks less often than a window promises is found, and an honest one never is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.window.frequency import Sparse, sparse
from collector.window.slots import Plan, PlannedCheck, Slot, SlotState, due

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
END = START + 30 * DAY


def plan(seq: int, since: datetime, every: timedelta | None, account: str = "aws/1", check: str = "c") -> Plan:
    checks = () if every is None else (PlannedCheck(check, (account,), int(every.total_seconds())),)
    return Plan(seq, account, since, since + 400 * DAY, checks)


def seldom(*plans: Plan, frequency: timedelta = DAY, until: datetime = END) -> list[Sparse]:
    slots = [Slot(item, SlotState.MISSED) for item in due(plans, START, until)]
    return sparse(plans, slots, lambda check, scope: True, START, until, frequency)


def test_a_plan_that_asks_as_often_as_promised_keeps_it() -> None:
    assert seldom(plan(1, START - 9 * DAY, DAY)) == []
    assert seldom(plan(1, START - 9 * DAY, HOUR)) == []
    daily = [plan(n, START + n * DAY - HOUR, DAY) for n in range(30)]
    assert seldom(*daily) == []


def test_a_slower_cadence_is_named_with_its_longest_stretch() -> None:
    (one,) = seldom(plan(1, START - 9 * DAY, 7 * DAY))
    assert (one.check, one.scope, one.longest) == ("c", "aws/1", 7 * DAY)
    assert one.stretches == 5, "3 days to the first Thursday, three whole weeks, and what is left of the last"
    assert one.since == datetime(2026, 3, 5, tzinfo=UTC)


def test_a_cadence_so_slow_that_nothing_was_due_at_all_is_found() -> None:
    (one,) = seldom(plan(1, START - 9 * DAY, 31 * DAY), until=START + 9 * DAY)
    assert one == Sparse("c", "aws/1", 1, 9 * DAY, START)


def test_a_pause_of_the_plan_is_found() -> None:
    (one,) = seldom(plan(1, START, HOUR), plan(2, START + 5 * DAY, None), plan(3, START + 8 * DAY, HOUR))
    assert (one.longest, one.since) == (3 * DAY + HOUR, START + 5 * DAY - HOUR)


def test_a_new_account_is_held_to_it_from_its_first_plan_and_a_late_collector_from_the_start() -> None:
    assert seldom(plan(1, START - DAY, DAY), plan(2, START + 10 * DAY + HOUR, DAY, "aws/2")) == []
    both = seldom(plan(1, START + 10 * DAY, DAY), plan(2, START + 10 * DAY + HOUR, DAY, "aws/2"))
    assert [(one.scope, one.since) for one in both] == [("aws/1", START), ("aws/2", START)]


def test_an_account_that_left_is_held_to_it_until_it_left() -> None:
    gone = [plan(3, START + 4 * DAY, None, "aws/2")]
    assert seldom(plan(1, START, DAY), plan(2, START, DAY, "aws/2"), *gone) == []


def test_what_the_window_is_not_about_is_not_held_to_it() -> None:
    plans = [plan(1, START, 7 * DAY)]
    assert sparse(plans, [], lambda check, scope: False, START, END, DAY) == []


@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("frequency_h", [1, 5, 24, 70])
@given(
    changes=st.lists(st.tuples(st.integers(0, 700), st.sampled_from([0, 1, 3, 24, 48, 168])), min_size=1, max_size=4)
)
def test_it_agrees_with_looking_at_every_hour(frequency_h: int, changes: list[tuple[int, int]]) -> None:
    """Slowly: from each hour in which the check stands in a plan, how far is it to the next due hour?"""
    plans = [
        plan(n, START + hour * HOUR, every * HOUR if every else None) for n, (hour, every) in enumerate(sorted(changes))
    ]
    wanted = {item.at for item in due(plans, START, END)}
    hours = [START + n * HOUR for n in range(720)]
    asked = {at for at in hours if any(p.checks for p in [p for p in plans if p.since <= at][-1:])}
    found = seldom(*plans, frequency=frequency_h * HOUR)
    if not asked:
        assert found == []
        return
    longest = run = timedelta(0)
    for at in (at for at in hours if at <= max(asked)):
        run = HOUR if at in wanted else run + HOUR
        longest = max(longest, run)
    assert [one.longest for one in found] == ([longest] if longest > frequency_h * HOUR else [])
