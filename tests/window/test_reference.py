"""Windows, slots, coverage, findings and deviations against ``reference``, which walks minute by minute.

What is drawn shrinks to the smallest plan, history or window that is counted wrongly. The examples of every day are the
same each time; the slow ones come from a seed that a failure prints, and ``REFERENCE_SEED`` lives it again.

They can fail: faults were put into slots, coverage, findings, decisions, alerts, windows and the daily hour, one at a
time. Windows are drawn to begin and end where runs do, and moments where hours strike, since otherwise some were not
seen: a deviation mended at the very start that counts, a run that begins at the very end, an expiry still in force.
"""

from __future__ import annotations

import os
import time as clock
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from collector import canonical
from collector.config import Window
from collector.export import life
from collector.export.dossier import AckLine, AlertLine, Decision
from collector.ledger.entry import Entry, Kind
from collector.model import State
from collector.window.coverage import coverage, percent
from collector.window.findings import after_the_end, deviations, finding
from collector.window.quiet import last_struck
from collector.window.slots import (
    Declared,
    Due,
    Plan,
    PlannedCheck,
    Ran,
    Slot,
    SlotState,
    account_for,
    due,
    in_force,
    plan_from,
    ticks,
    unanswered,
)
from tests.window import reference
from tests.window.reference import HOUR, MINUTE, SECOND, Saw

SEED = int(os.environ.get("REFERENCE_SEED", clock.time_ns() % 2**32))
NO_DATABASE: Any = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
GRACE = timedelta(minutes=15)
CHECKS = ("aws-a-b", "aws-c-d", "aws-e-f")
ACCOUNTS = ("aws/1", "aws/2")
SCOPES = ("aws/1", "aws/1/eu", "aws/1/us")
DAY = timedelta(days=1)
START = datetime(2026, 6, 1, tzinfo=UTC)


def against_the_reference(*strategies: st.SearchStrategy[Any], few: int = 60, many: int = 500) -> Callable[..., Any]:
    """A property as a test: ``few`` examples, the same each time; and, slowly, ``many`` from a seed that is printed."""

    def wrap(holds: Callable[..., None]) -> Callable[..., Any]:
        fixed = settings(derandomize=True, max_examples=few, **NO_DATABASE)
        drawn = settings(derandomize=False, max_examples=many, phases=set(Phase) - {Phase.reuse}, **NO_DATABASE)

        @pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["few", "many"])
        def test(slow: bool) -> None:
            if slow:
                print(f"REFERENCE_SEED={SEED}")
                seed(SEED)(drawn(given(*strategies)(holds)))()
            else:
                fixed(given(*strategies)(holds))()

        test.__doc__ = holds.__doc__
        return test

    return wrap


# --- the calendar ---

# Days on which clocks or calendars do something, each with the hours that it has.
ODD_DAYS = (
    ("Europe/Berlin", date(2026, 3, 29), 23.0),
    ("Europe/Berlin", date(2026, 10, 25), 25.0),
    ("Europe/Berlin", date(2026, 6, 1), 24.0),
    ("America/New_York", date(2026, 3, 8), 23.0),
    ("America/New_York", date(2026, 11, 1), 25.0),
    ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),  # half an hour
    ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
    ("Africa/Cairo", date(2026, 4, 24), 23.0),  # midnight is skipped
    ("America/Havana", date(2026, 11, 1), 25.0),  # midnight is there twice
    ("America/Nuuk", date(2026, 3, 28), 23.0),  # the last hour of a day is skipped
    ("Africa/Casablanca", date(2026, 2, 15), 25.0),  # daylight saving the other way round, for Ramadan
    ("Asia/Almaty", date(2024, 2, 29), 25.0),  # another rule from March 2024 on, and a leap day
    ("America/Asuncion", date(2025, 3, 23), 24.0),  # clocks were changed on such a day, and never since October 2024
    ("Asia/Kolkata", date(2028, 2, 29), 24.0),
    ("Pacific/Kiritimati", date(2026, 12, 31), 24.0),  # UTC+14
    ("UTC", date(2028, 2, 29), 24.0),
    ("UTC", date(2026, 12, 31), 24.0),
)
ZONES = tuple(sorted({zone for zone, _, _ in ODD_DAYS}))
CLOCKS = st.builds(time, st.integers(0, 23), st.sampled_from((0, 1, 15, 29, 30, 45, 59)))


def window(start: date, end: date, zone: str) -> Window:
    return Window(start=start, end=end, zone=zone, criteria=("CC6.1",))


@pytest.mark.parametrize(("zone", "day", "hours"), ODD_DAYS)
def test_a_window_of_one_day_has_the_slots_of_the_hours_of_that_day(zone: str, day: date, hours: float) -> None:
    """Whoever adds 24 hours to midnight, or calculates with the time that the wall shows, fails here."""
    one = window(day, day + DAY, zone)
    assert one.until - one.since == hours * HOUR
    assert one.since == reference.first_moment(zone, day)
    plan = Plan(1, "aws/1", one.since - 9 * DAY, one.until + 9 * DAY, (PlannedCheck("aws-a-b", ("aws/1",), 1800),))
    found = list(due([plan], one.since, one.until))
    assert len(found) == 2 * hours
    assert found == reference.slots_due([plan], one.since, one.until)


def test_a_leap_day_and_a_year_have_all_their_days() -> None:
    plan = Plan(1, "aws/1", START - 900 * DAY, START + 1900 * DAY, (PlannedCheck("aws-a-b", ("aws/1",), 86_400),))
    for year, days in ((2026, 365), (2027, 365), (2028, 366)):
        one = window(date(year, 1, 1), date(year + 1, 1, 1), "UTC")
        found = [item.at.date() for item in due([plan], one.since, one.until)]
        assert found == [date(year, 1, 1) + n * DAY for n in range(days)]
    assert date(2028, 2, 29) in found


DAYS = st.sampled_from([(zone, day) for zone, day, _ in ODD_DAYS])


@against_the_reference(DAYS, st.integers(-1, 1), CLOCKS)
def test_windows_begin_when_the_wall_clock_says_so(odd: tuple[str, date], around: int, at: time) -> None:
    """Also at a time that the clocks jump over, or that is there twice: the first moment that is not before it."""
    zone, day = odd[0], odd[1] + around * DAY
    one = window(datetime.combine(day, at), datetime.combine(day + DAY, at), zone)
    assert one.since == reference.first_moment(zone, day, at)
    assert one.until == reference.first_moment(zone, day + DAY, at)
    assert window(day, day + DAY, zone).until == window(day + DAY, day + 2 * DAY, zone).since


NIGHT = st.sampled_from((time(0), time(0, 30), time(1, 59), time(2, 15), time(2, 30), time(3), time(23, 30)))
NEAR = st.sampled_from([timedelta(0), SECOND, -SECOND, MINUTE, -MINUTE, 29 * MINUTE, HOUR, -HOUR, 12 * HOUR])


@against_the_reference(DAYS, st.integers(0, 1), st.one_of(NIGHT, CLOCKS), NEAR, few=80, many=300)
def test_the_daily_hour_strikes_when_the_reference_says_so(
    odd: tuple[str, date], around: int, at: time, off: timedelta
) -> None:
    """Asked at the stroke itself, a second before or after, and in the hours around it."""
    moment, text = reference.first_moment(odd[0], odd[1] + around * DAY, at) + off, f"{at:%H:%M}"
    assert last_struck(text, odd[0], moment) == reference.last_stroke(text, odd[0], moment)


@pytest.mark.parametrize(
    ("at", "moment", "struck"),
    [
        ("00:00", "2006-10-29T02:40:00Z", "2006-10-29T02:30:00Z"),  # Saturday 23:10 again, and Sunday had begun
        ("23:30", "2006-10-29T02:40:00Z", "2006-10-29T02:00:00Z"),
        ("00:00", "2006-10-29T03:40:00Z", "2006-10-29T02:30:00Z"),  # Sunday begins for the second time
    ],
)
def test_an_hour_of_tomorrow_may_have_struck_where_clocks_go_back_over_midnight(
    at: str, moment: str, struck: str
) -> None:
    """As in St. John's until 2011, where 00:01 on Sunday was followed by 23:01 on Saturday."""
    zone, when = "America/St_Johns", datetime.fromisoformat(moment).astimezone(UTC)
    assert last_struck(at, zone, when) == datetime.fromisoformat(struck).astimezone(UTC)
    assert reference.last_stroke(at, zone, when) == last_struck(at, zone, when)


@pytest.mark.parametrize(("zone", "day", "hours"), [odd for odd in ODD_DAYS if odd[2] < 24])
def test_an_hour_that_is_skipped_strikes_when_the_clocks_have_jumped(zone: str, day: date, hours: float) -> None:
    """Every quarter of an hour of the day, asked ten minutes after its stroke."""
    for quarter in range(96):
        at = time(quarter // 4, quarter % 4 * 15)
        moment = reference.first_moment(zone, day, at)
        assert last_struck(f"{at:%H:%M}", zone, moment + 10 * MINUTE) == moment


# --- what is due ---

MINUTES = st.integers(-120, 30 * 60)  # of a day and a bit, from the window's start
CADENCES = st.sampled_from((900, 1800, 3600, 5400, 7200, 21_600, 86_400))


@st.composite
def planned(draw: st.DrawFn, step_s: int = 60) -> PlannedCheck:
    every = draw(CADENCES) if step_s == 60 else draw(st.integers(1, 90))
    offset = draw(st.integers(-3, 100)) * step_s  # also more than a cadence
    scopes = draw(st.lists(st.sampled_from(SCOPES), min_size=0, max_size=3))  # some write one twice
    return PlannedCheck(draw(st.sampled_from(CHECKS)), tuple(scopes), every, offset)


@st.composite
def plans(draw: st.DrawFn, start: datetime = START) -> list[Plan]:
    """An account's plans follow, overlap, repeat, begin at the same moment, end early, and ask for nothing."""
    found: list[Plan] = []
    for seq in range(draw(st.integers(0, 5))):
        since = start + draw(MINUTES) * MINUTE
        if found and draw(st.booleans()):
            since = found[-1].since
        until = since + draw(st.one_of(st.just(0), st.integers(1, 600), st.just(9 * 24 * 60))) * MINUTE
        checks = draw(st.lists(planned(), max_size=3))
        found.append(Plan(seq, draw(st.sampled_from(ACCOUNTS)), since, until, tuple(checks)))
    return draw(st.permutations(found))


def spans(start: datetime) -> st.SearchStrategy[tuple[datetime, datetime]]:
    return st.tuples(MINUTES, st.integers(0, 20 * 60)).map(
        lambda two: (start + two[0] * MINUTE, start + (two[0] + two[1]) * MINUTE)
    )


@against_the_reference(plans(), spans(START), few=50, many=400)
def test_due_is_what_the_plans_in_force_ask_for(known: list[Plan], span: tuple[datetime, datetime]) -> None:
    """Changes of cadence, checks, scopes and accounts in the window; empty, repeated and overlapping plans. Of two that
    begin at the same moment the newer one holds, and what both ask for is due once."""
    assert list(due(known, *span)) == reference.slots_due(known, *span)


@against_the_reference(DAYS, st.integers(0, 2), plans(), few=25, many=150)
def test_due_in_a_window_over_a_change_of_clocks(odd: tuple[str, date], days: int, known: list[Plan]) -> None:
    zone, day = odd
    one = window(day, day + (days + 1) * DAY, zone)
    moved = [Plan(p.seq, p.account, p.since - START + one.since, p.until - START + one.since, p.checks) for p in known]
    assert list(due(moved, one.since, one.until)) == reference.slots_due(moved, one.since, one.until)


@st.composite
def crumbs(draw: st.DrawFn) -> tuple[datetime, datetime]:
    """Ends at whole seconds, just before, or just after."""
    ends = [
        START + draw(st.integers(0, 300)) * SECOND + draw(st.sampled_from((-1, 0, 1))) * timedelta(microseconds=1)
        for _ in range(2)
    ]
    return min(ends), max(ends)


@against_the_reference(crumbs(), crumbs(), planned(step_s=1))
def test_a_slot_on_the_start_is_in_and_one_on_the_end_is_not(
    span: tuple[datetime, datetime], of_plan: tuple[datetime, datetime], item: PlannedCheck
) -> None:
    """Second by second, of the window and of the plan."""
    known = [Plan(1, "aws/1", *of_plan, (item,))]
    assert list(due(known, *span)) == reference.slots_due(known, *span, SECOND)
    every = Plan(1, "aws/1", START - DAY, START + DAY, (PlannedCheck("aws-a-b", ("aws/1",), item.every_s),))
    assert [d.at for d in reference.slots_due([every], *span, SECOND)] == list(ticks(*span, item.every_s))


@against_the_reference(plans(), spans(START), MINUTES)
def test_two_windows_that_touch_count_every_slot_once(
    known: list[Plan], span: tuple[datetime, datetime], cut: int
) -> None:
    """``<=`` at either end counts the slot on the seam twice, ``<`` at both never."""
    since, until = span
    seam = min(max(START + cut * MINUTE, since), until)
    whole = list(due(known, since, until))
    for at in (seam, *[item.at for item in whole[:2]], *[item.at for item in whole[-1:]]):
        assert Counter(due(known, since, at)) + Counter(due(known, at, until)) == Counter(whole)


@against_the_reference(plans())
def test_at_each_moment_one_plan_holds(known: list[Plan]) -> None:
    mine = [plan for plan in known if plan.account == "aws/1"]
    stretches = in_force(mine)
    for moment in reference.walk(START, START + 30 * HOUR, 7 * MINUTE):
        covering = [plan for plan in mine if plan.since <= moment < plan.until]
        held = [plan for since, until, plan in stretches if since <= moment < until]
        assert held == sorted(covering, key=lambda plan: plan.seq)[-1:]
    assert all(since < until for since, until, _ in stretches)


def test_a_day_on_which_everything_changes_is_counted_by_hand() -> None:
    """Cadence at 5:30, a check more from 8:00, a scope less from 10:00; another account from 6:15 to 9:00 alone."""

    def asks(check: str, every_h: int, *scopes: str) -> PlannedCheck:
        return PlannedCheck(check, scopes, every_h * 3600)

    def holds(seq: int, account: str, hour: float, *checks: PlannedCheck) -> Plan:
        return Plan(seq, account, START + hour * HOUR, START + 400 * DAY, checks)

    known = [
        holds(1, "aws/1", -24, asks("aws-a-b", 1, "aws/1/eu", "aws/1/us")),
        holds(2, "aws/1", 5.5, asks("aws-a-b", 2, "aws/1/eu", "aws/1/us")),
        holds(4, "aws/1", 8, asks("aws-a-b", 2, "aws/1/eu", "aws/1/us"), asks("aws-c-d", 3, "aws/1")),
        holds(6, "aws/1", 10, asks("aws-a-b", 2, "aws/1/eu"), asks("aws-c-d", 3, "aws/1")),
        holds(3, "aws/2", 6.25, asks("aws-a-b", 1, "aws/2/eu")),
        holds(5, "aws/2", 9),  # it leaves: nothing is due of it any more
    ]
    hours: dict[tuple[str, str], list[float]] = {}
    for item in due(known, START, START + 12 * HOUR):
        hours.setdefault((item.check, item.scope), []).append((item.at - START) / HOUR)
    assert hours == {
        ("aws-a-b", "aws/1/eu"): [0, 1, 2, 3, 4, 5, 6, 8, 10],
        ("aws-a-b", "aws/1/us"): [0, 1, 2, 3, 4, 5, 6, 8],
        ("aws-c-d", "aws/1"): [9],
        ("aws-a-b", "aws/2/eu"): [7, 8],
    }


def test_a_plan_that_ends_before_it_begins_holds_never() -> None:
    item = PlannedCheck("aws-a-b", ("aws/1",), 3600)
    known = [
        Plan(1, "aws/1", START, START + 9 * HOUR, (item,)),
        Plan(2, "aws/1", START + 6 * HOUR, START + 3 * HOUR, (item,)),
    ]
    assert list(due(known, START, START + DAY)) == reference.slots_due(known, START, START + DAY)


@pytest.mark.parametrize("listed", [True, False])
def test_a_plan_is_read_as_its_entry_says(listed: bool) -> None:
    """``each`` stands for the account's name, a slash and each of ``parts``."""
    item = {"check": "aws-a-b", "every_s": 3600, "offset_s": 60}
    item |= {"scopes": ["aws/1/eu", "aws/1/us"]} if listed else {"each": "part"}
    body = {
        "seq": 4,
        "account": "aws/1",
        "since": "2026-06-01T00:00:00.000000Z",
        "until": "2026-06-01T02:00:00.000000Z",
    }
    (item_read,) = plan_from({**body, "parts": ["eu", "us"], "checks": [item]}).checks
    assert item_read == PlannedCheck("aws-a-b", ("aws/1/eu", "aws/1/us"), 3600, 60)


# --- what became of it ---

LATENESS = st.sampled_from(
    [timedelta(0), SECOND, GRACE - SECOND, GRACE, GRACE + SECOND, 3 * HOUR, -4 * MINUTE, -6 * MINUTE, -3 * HOUR]
)


@st.composite
def outcomes(draw: st.DrawFn) -> tuple[list[Due], list[Ran], list[Declared]]:
    """An hourly morning, and runs and gaps that have something, or nothing, to do with it."""
    plan = Plan(
        1,
        "aws/1",
        START,
        START + 6 * HOUR,
        (PlannedCheck("aws-a-b", ("aws/1/eu", "aws/1/us"), 3600), PlannedCheck("aws-c-d", ("aws/1",), 7200)),
    )
    dues = list(due([plan], START, START + 6 * HOUR))
    runs = []
    for seq in draw(st.lists(st.integers(1, 40), max_size=14, unique=True)):
        item = draw(st.sampled_from(dues))
        slot = draw(st.sampled_from([item.at, item.at, item.at, None, item.at + MINUTE, item.at - HOUR]))
        check, scope = draw(st.sampled_from([(item.check, item.scope)] * 3 + [("aws-c-d", "aws/1/us")]))
        begun = (slot or item.at) + draw(LATENESS)
        population = draw(st.sampled_from([None, 0, 1, 5]))
        blind = min(draw(st.integers(0, 2)), population or 0)
        states = (
            {}
            if population is None
            else {
                "satisfied": population - blind,
                "not-satisfied": 0,
                "not-applicable": 0,
                "undetermined": blind,
            }
        )
        why = "denied" if population is None else ""
        runs.append(Ran(seq, "aws/1", check, scope, slot, begun, begun + MINUTE, population, states, why, why))
    gaps = []
    for seq in range(50, 50 + draw(st.integers(0, 4))):
        since = START + draw(st.integers(-60, 360)) * MINUTE
        until = since + draw(st.sampled_from((SECOND, HOUR, 3 * HOUR, timedelta(0))))
        checks = tuple(draw(st.lists(st.sampled_from(CHECKS), max_size=2)))
        gaps.append(Declared(seq, draw(st.sampled_from(ACCOUNTS)), checks, since, until, "was down"))
    return dues, runs, gaps


@against_the_reference(outcomes(), few=150, many=1500)
def test_each_slot_has_the_state_that_the_reference_says(drawn: tuple[list[Due], list[Ran], list[Declared]]) -> None:
    """On time, after its grace, of another slot or scope, twice, before the slot, with subjects that nobody could read;
    gaps of other accounts and checks, nested and empty. None is left out, and none has the outcome of another."""
    dues, runs, gaps = drawn
    slots = list(account_for(dues, runs, gaps, GRACE))
    assert [slot.due for slot in slots] == dues
    assert [slot.state.value for slot in slots] == [reference.state_of(item, runs, gaps, GRACE) for item in dues]
    assert [slot.run for slot in slots] == [reference.answer(item, runs) for item in dues]
    for slot in slots:
        assert slot.state is SlotState.OBSERVED or slot.reason
        assert (slot.gap is not None) == (slot.run is None and slot.state is SlotState.GAP)


@against_the_reference(outcomes())
def test_what_nobody_answered_is_what_a_starting_daemon_declares(
    drawn: tuple[list[Due], list[Ran], list[Declared]],
) -> None:
    dues, runs, gaps = drawn
    answered = {(run.check, run.scope, run.slot) for run in runs if run.slot is not None}
    left = unanswered(dues, answered, gaps)
    assert left == [
        item
        for item in dues
        if not any((run.check, run.scope, run.slot) == (item.check, item.scope, item.at) for run in runs)
        and not reference.declared(item, gaps)
    ]


@against_the_reference(outcomes(), st.integers(0, 99), LATENESS)
def test_a_run_changes_no_slot_but_the_one_that_it_names(
    drawn: tuple[list[Due], list[Ran], list[Declared]], which: int, lateness: timedelta
) -> None:
    """Nothing is back-filled: a later run fills no older slot, keeps its own time, and a second one changes nothing."""
    dues, runs, gaps = drawn
    item = dues[which % len(dues)]
    states = {"satisfied": 1, "not-satisfied": 0, "not-applicable": 0, "undetermined": 0}
    begun = item.at + lateness
    more = Ran(99, "aws/1", item.check, item.scope, item.at, begun, begun + MINUTE, 1, states, "", "")
    before = list(account_for(dues, runs, gaps, GRACE))
    after = list(account_for(dues, [*runs, more], gaps, GRACE))
    for old, new in zip(before, after, strict=True):
        if new.due != item or old.run is not None:
            assert (new.state, new.run, new.gap, new.reason) == (old.state, old.run, old.gap, old.reason)
        elif new.run is not None:
            assert new.run.started == begun >= item.at - reference.CLOCKS_DIFFER
            assert new.state is (SlotState.LATE if begun > item.at + GRACE else SlotState.OBSERVED)


# --- how much of it ---


@against_the_reference(outcomes(), st.integers(0, 6), few=100, many=800)
def test_counts_add_up_and_the_longest_gap_is_the_longest(
    drawn: tuple[list[Due], list[Ran], list[Declared]], more: int
) -> None:
    dues, runs, gaps = drawn
    until = START + (6 + more) * HOUR
    slots = list(account_for(dues, runs, gaps, GRACE))
    lines = coverage(reversed(slots), until)
    assert [(line.check, line.scope) for line in lines] == sorted({(d.check, d.scope) for d in dues})
    for line in lines:
        states = {
            item.at: reference.state_of(item, runs, gaps, GRACE)
            for item in dues
            if (item.check, item.scope) == (line.check, line.scope)
        }
        counts = Counter(states.values())
        five = (line.observed, line.late, line.partial, line.gap, line.missed)
        assert five == tuple(counts[name] for name in ("observed", "late", "partial", "gap", "missed"))
        assert line.due == sum(five) == len(states)
        assert (line.longest_gap, line.longest_gap_since) == reference.longest_gap(states, until)
        assert (line.per_mille == 1000) == (line.covered == line.due) == (percent(line.covered, line.due) == "100.0 %")


# --- what it means ---

SINCE, UNTIL = START + 2 * HOUR, START + 5 * HOUR  # the window of the histories below
HALF_HOURLY = Plan(
    1,
    "aws/1",
    START,
    START + 7 * HOUR,
    (
        PlannedCheck("aws-a-b", ("aws/1/eu",), 1800),
        PlannedCheck("aws-c-d", ("aws/1",), 3600, 1740),  # the last slot of the window is a minute before its end
    ),
)
READINGS = (
    *[(State.SATISFIED, "is so")] * 4,
    (State.NOT_SATISFIED, "is not"),
    (State.NOT_SATISFIED, "is not, otherwise"),
    (State.NOT_APPLICABLE, "need not be"),
    (State.UNDETERMINED, "could not be read"),
    None,  # is not there
)
SUBJECTS = ("a", "b")


FATES = ("blind", "none", "late", "again", "hand")
LIVES = {
    "calm": ("good",) * 30 + ("any", *FATES),
    "rough": ("good",) * 4 + ("any", *FATES),
    "wild": ("any",) * 8 + FATES,  # good, bad and dark in turn
    "lapse": ("good",),  # all is well, but once
}


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Saw], list[Declared]]:
    """Seven hours of runs, before, in and after a window of three."""
    kind = draw(st.sampled_from(sorted(LIVES)))
    dues = list(due([HALF_HOURLY], START, START + 7 * HOUR))
    lapse = draw(st.sampled_from(dues))
    begun: list[tuple[datetime, Due, datetime | None, Any]] = []
    for item in dues:
        fate = "late" if kind == "lapse" and item == lapse else draw(st.sampled_from(LIVES[kind]))
        reading = dict.fromkeys(SUBJECTS, READINGS[0])
        if fate in ("any", "late", "hand"):
            reading = {name: draw(st.sampled_from(READINGS)) for name in SUBJECTS}
        seen = None if fate == "blind" else {name: said for name, said in reading.items() if said is not None}
        delay = draw(st.sampled_from((1, 16, 20, 35, 70))) if fate == "late" else draw(st.sampled_from((0, 0, 1, 15)))
        if fate != "none":
            slot = None if fate == "hand" else item.at
            begun.append((item.at + delay * MINUTE, item, slot, seen))
        if fate == "again":
            begun.append((item.at + 7 * MINUTE, item, item.at, {"a": draw(st.sampled_from(READINGS[:-1]))}))
    gaps = [Declared(900, "aws/1", (), SINCE, SINCE + HOUR, "was down")] if draw(st.booleans()) else []
    return lived(begun), gaps


def lived(begun: Sequence[tuple[datetime, Due, datetime | None, Any]]) -> list[Saw]:
    """Runs in the order in which they began: when, of what, for which slot, and what they saw."""
    found: list[Saw] = []
    for at, item, slot, seen in sorted(begun, key=lambda one: (one[0], one[1])):
        if any((s.run.started, s.run.check, s.run.scope) == (at, item.check, item.scope) for s in found):
            continue  # an account is observed by one run at a time
        counts = Counter({state.value: 0 for state in State})
        counts.update(state.value for state, _ in (seen or {}).values())
        about = (100 + len(found), "aws/1", item.check, item.scope, slot, at, at + SECOND)
        ran = Ran(*about, None, {}, "denied", "denied") if seen is None else Ran(*about, len(seen), counts, "", "")
        found.append(Saw(ran, seen))
    return found


def plain_history() -> list[Saw]:
    """``a`` is bad from 2:30 to 4:00, ``b`` from an hour before the window on: when decisions are made, too."""
    begun: list[tuple[datetime, Due, datetime | None, Any]] = []
    for item in due([HALF_HOURLY], START, START + 7 * HOUR):
        if item.check == "aws-a-b":
            hour = (item.at - START) / HOUR
            said = {"a": BAD if 2.5 <= hour < 4 else GOOD, "b": BAD if hour >= 1 else GOOD}
            begun.append((item.at, item, item.at, said))
    return lived(begun)


GOOD, BAD = (State.SATISFIED, "is so"), (State.NOT_SATISFIED, "is not")
PLAIN_OR_ANY = st.one_of(st.just(([], [])).map(lambda _: (plain_history(), [])), histories())


@st.composite
def ends(draw: st.DrawFn, seen: Sequence[Saw]) -> tuple[datetime, datetime]:
    """A window that begins and ends where runs begin, or a minute from it."""
    begun = [SINCE, UNTIL, *(saw.run.started for saw in seen)]
    two = [draw(st.sampled_from(begun)) + draw(st.sampled_from((0, 0, 1, -1))) * MINUTE for _ in range(2)]
    return (min(two), max(two)) if two[0] != two[1] else (SINCE, UNTIL)


WITH_ENDS = histories().flatmap(lambda drawn: st.tuples(st.just(drawn), ends(drawn[0])))


def slots_of(seen: Sequence[Saw], gaps: Sequence[Declared], since: datetime, until: datetime) -> list[Slot]:
    return list(account_for(due([HALF_HOURLY], since, until), [saw.run for saw in seen], gaps, GRACE))


def found_by_the_program(
    seen: Sequence[Saw],
    gaps: Sequence[Declared],
    checks: Sequence[str] = CHECKS,
    since: datetime = SINCE,
    until: datetime = UNTIL,
) -> State:
    slots = slots_of(seen, gaps, since, until)
    bad = deviations(reference.stretches_of(seen), since, until)
    return finding("C", checks, coverage(slots, until), bad, after_the_end(slots, until)).state


def found_by_the_reference(
    seen: Sequence[Saw], gaps: Sequence[Declared], checks: Sequence[str], since: datetime, until: datetime
) -> str:
    runs = [saw.run for saw in seen]
    dues = [d for d in reference.slots_due([HALF_HOURLY], since, until) if d.check in checks]
    states = [reference.state_of(item, runs, gaps, GRACE) for item in dues]
    answers = [run for item in dues if (run := reference.answer(item, runs)) is not None]
    after = any(run.started >= until and run.states.get("not-satisfied", 0) for run in answers)
    bad = [one for one in reference.bad_of(seen, since, until) if one.check in checks]
    return reference.determination(states, bad, after)


@against_the_reference(WITH_ENDS, few=200, many=600)
def test_a_finding_is_what_slots_and_subjects_say(
    drawn: tuple[tuple[list[Saw], list[Declared]], tuple[datetime, datetime]],
) -> None:
    """No good word for a slot that was missed, a subject that could not be read, or one that was seen bad: not even
    for a slot that was answered after the window's end, when the answer was bad."""
    (seen, gaps), span = drawn
    for checks in (CHECKS, ("aws-a-b",), ("aws-c-d",)):
        assert found_by_the_program(seen, gaps, checks, *span).value == found_by_the_reference(
            seen, gaps, checks, *span
        )
    assert found_by_the_program(seen, gaps, ("aws-e-f",)) is State.UNDETERMINED  # nothing was due of it
    assert found_by_the_program(seen, gaps, ()) is State.NOT_APPLICABLE


@against_the_reference(histories(), st.integers(0, 99), few=100, many=800)
def test_less_evidence_never_makes_a_finding_satisfied(drawn: tuple[list[Saw], list[Declared]], which: int) -> None:
    """Without the runs of a slot, or with a run that could not look, or with a subject that could not be read, nothing
    becomes satisfied that was not; and the slot is no longer covered, so nothing stays satisfied either."""
    seen, gaps = drawn
    slots = [slot for slot in slots_of(seen, gaps, SINCE, UNTIL) if slot.run is not None]
    if not slots:
        return
    slot = slots[which % len(slots)]
    without = [saw for saw in seen if (saw.run.slot, saw.run.check) != (slot.due.at, slot.due.check)]
    assert found_by_the_program(without, gaps) is not State.SATISFIED
    blind = Saw(
        Ran(*[getattr(slot.run, name) for name in RAN[:7]], None, {}, "denied", "denied"),
        None,
    )
    changed = [blind if saw.run is slot.run else saw for saw in seen]
    assert found_by_the_program(changed, gaps) is not State.SATISFIED
    dark = {"a": (State.UNDETERMINED, "could not be read")}
    counts = {"satisfied": 0, "not-satisfied": 0, "not-applicable": 0, "undetermined": 1}
    partial = Saw(Ran(*[getattr(slot.run, name) for name in RAN[:7]], 1, counts, "", ""), dark)
    changed = [partial if saw.run is slot.run else saw for saw in seen]
    assert found_by_the_program(changed, gaps) is not State.SATISFIED


RAN = ("seq", "account", "check", "scope", "slot", "started", "finished")


@against_the_reference(histories(), st.integers(0, 180), few=60, many=400)
def test_a_longer_window_is_never_better_than_its_parts(drawn: tuple[list[Saw], list[Declared]], cut: int) -> None:
    seen, gaps = drawn
    seam = SINCE + cut * MINUTE
    whole = slots_of(seen, gaps, SINCE, UNTIL)
    parts = [*slots_of(seen, gaps, SINCE, seam), *slots_of(seen, gaps, seam, UNTIL)]
    assert parts == whole
    stretches = reference.stretches_of(seen)
    before, after = deviations(stretches, SINCE, seam), deviations(stretches, seam, UNTIL)
    together = deviations(stretches, SINCE, UNTIL)
    assert sum((d.duration for d in [*before, *after]), timedelta(0)) == sum(
        (d.duration for d in together), timedelta(0)
    )
    assert {d.first_bad for d in [*before, *after]} == {d.first_bad for d in together}
    if cut < 180 and found_by_the_program(seen, gaps, since=seam) is not State.SATISFIED:
        assert found_by_the_program(seen, gaps) is not State.SATISFIED or not slots_of(seen, gaps, seam, UNTIL)


# --- deviations and what became of them ---


@against_the_reference(WITH_ENDS, few=200, many=600)
def test_deviations_begin_last_and_end_as_the_reference_says(
    drawn: tuple[tuple[list[Saw], list[Declared]], tuple[datetime, datetime]],
) -> None:
    """First seen, last seen, since, until, duration inside the window, by which run, and what it was mended by. Mended
    at the very start is not of the window, and mended at the very end is mended after it."""
    (seen, _), (since, until) = drawn
    stretches = reference.stretches_of(seen)
    found = deviations(reversed(stretches), since, until)
    runs = [saw.run for saw in seen if since <= (saw.run.slot or saw.run.started) < until]
    lives = life.lives(found, stretches, runs, [], [], until)
    told = [
        reference.Bad(
            d.check,
            d.scope,
            d.subject,
            d.since,
            d.until,
            d.duration,
            d.first_bad,
            d.mended_by,
            d.began_before_window,
            one.first_seen,
            one.last_bad,
        )
        for d, one in zip(found, lives, strict=True)
    ]
    assert told == reference.bad_of(seen, since, until)
    by_seq = {run.seq: run for run in runs}
    for one in lives:
        assert one.last_seen == (None if one.last_bad is None else by_seq[one.last_bad].started)


@st.composite
def decided(draw: st.DrawFn) -> list[tuple[int, datetime, datetime, int | None, str]]:
    """Acceptances and revocations in the order of the ledger: seq, time, expiry, what it revokes, subject."""
    found: list[tuple[int, datetime, datetime, int | None, str]] = []
    at = START
    for seq in range(1, draw(st.integers(1, 6)) + 1):
        at += draw(st.sampled_from((0, 1, 29, 30, 60, 90))) * MINUTE
        made = [one[0] for one in found if one[3] is None]
        revokes = draw(st.sampled_from(made)) if made and draw(st.booleans()) else None
        expires = at + draw(st.sampled_from((0, 1, 30, 119, 120, 240, 600))) * MINUTE
        found.append((seq, at, expires, revokes, draw(st.sampled_from(("", "a", "b")))))
    return found


def decision_entry(seq: int, at: datetime, expires: datetime, revokes: int | None, subject: str) -> Entry:
    words = dict.fromkeys(("control", "approver", "reason", "ticket"), "x")
    place = {"check": "aws-a-b", "scope": "aws/1/eu", "subject": subject}
    body = {**words, **place, "expires": canonical.stamp(expires), "revokes": revokes}
    return Entry(seq, Kind.ACCEPTANCE, at, canonical.record({**body, "seq": seq, "kind": "acceptance"}))


@against_the_reference(decided(), PLAIN_OR_ANY, few=120, many=300)
def test_an_acceptance_stands_beside_a_deviation_in_its_term_alone(
    made: list[tuple[int, datetime, datetime, int | None, str]], drawn: tuple[list[Saw], list[Declared]]
) -> None:
    """From the moment at which it is written, to before its expiry or to the first entry that revokes it."""
    known = life.decisions(decision_entry(*one) for one in made)
    held = reference.terms([one[:4] for one in made])
    assert {d.seq: (d.at, d.ended) for d in known if d.revokes is None} == held
    seen, _ = drawn
    stretches = reference.stretches_of(seen)
    found = deviations(stretches, SINCE, UNTIL)
    lives = life.lives(found, stretches, [saw.run for saw in seen], [], known, UNTIL)
    for d, one in zip(found, lives, strict=True):
        mine: list[Decision] = [
            decision
            for decision in known
            if (d.check, d.scope) == ("aws-a-b", "aws/1/eu")
            and reference.in_force(decision, d.subject, one.first_seen, d.until or UNTIL)
        ]
        assert list(one.decisions) == mine
    assert found == deviations(stretches, SINCE, UNTIL)  # a decision changes no verdict


EVENTS = ("trigger", "trigger", "resolve", "update", "escalate", "acknowledge")


@st.composite
def alerts(draw: st.DrawFn) -> list[AlertLine]:
    """What might have been told of aws-a-b, and of others, each once it stood, by single alerts and by groups."""
    found: list[AlertLine] = []
    at, opened = START, dict[str, set[str]]()
    for seq in range(1, draw(st.integers(1, 12)) + 1):
        at += draw(st.sampled_from((1, 15, 30, 31))) * MINUTE
        event, key = draw(st.sampled_from(EVENTS)), draw(st.sampled_from(("k1", "k2", "group")))
        names = {"k1": ("a",), "k2": ("b",), "group": SUBJECTS}[key]
        if event == "trigger":
            if opened.get(key):
                continue  # a key stands once
            opened[key] = set(names)
        elif event in ("resolve", "update"):
            names = tuple(name for name in names if name in opened.get(key, ()))
            names = names[:1] if event == "update" else names
            if not names:
                continue
            opened[key] -= set(names)
        cause = draw(st.sampled_from(("failed", "failed", "failed", "blind")))
        subjects = names if key == "group" else ()
        acks = (AckLine(500 + seq, at + MINUTE, "kim", "", "cli"),)
        found.append(
            AlertLine(
                seq=seq,
                at=at,
                key=f"{key}-{cause}"
                if event == "trigger"
                else next(
                    (one.key for one in reversed(found) if one.key.startswith(key) and one.event == "trigger"), key
                ),
                event=event,
                cause=cause
                if event == "trigger"
                else next(
                    (one.cause for one in reversed(found) if one.key.startswith(key) and one.event == "trigger"), cause
                ),
                check="aws-a-b",
                scope="aws/1/eu",
                subject="" if subjects else names[0],
                control="C",
                owner="o",
                reason="r",
                deliveries=(),
                acks=acks,
                subjects=subjects,
            )
        )
    return found


@against_the_reference(alerts(), PLAIN_OR_ANY, few=120, many=300)
def test_a_deviation_has_the_alerts_that_stood_while_it_lasted_with_who_took_note(
    told: list[AlertLine], drawn: tuple[list[Saw], list[Declared]]
) -> None:
    seen, _ = drawn
    stretches = reference.stretches_of(seen)
    found = deviations(stretches, SINCE, UNTIL)
    lives = life.lives(found, stretches, [saw.run for saw in seen], told, [], UNTIL)
    by_seq = {alert.seq: alert for alert in told}
    for d, one in zip(found, lives, strict=True):
        wanted: list[int] = []
        if (d.check, d.scope) == ("aws-a-b", "aws/1/eu"):
            wanted = reference.stood([a for a in told if a.at < UNTIL], d.subject, one.first_seen, d.until or UNTIL)
        assert [alert.seq for alert in one.alerts if alert.at < UNTIL] == wanted
        assert all(alert.acks == by_seq[alert.seq].acks for alert in one.alerts)
