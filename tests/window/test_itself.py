"""The collector as a control: heartbeats, silences, alerts and clocks against a slow count, second by second."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.model import State
from collector.window.itself import TOLERANCE, Beat, Sign, Told, for_control, itself
from collector.window.slots import Due, Slot, SlotState

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(hours=12)
HOUR = timedelta(hours=1)
GRACE = timedelta(minutes=15)


def beat(hours: float, sign: Sign = Sign.BEAT, process: str = "a", **more) -> Beat:
    at = START + timedelta(hours=hours)
    return Beat(int(hours * 3600) + 10_000_000, at, sign, ("host", process), "1.0", 3600, **more)


SEEN = Slot(Due(START, "c", "s", "a"), SlotState.OBSERVED)


def found(beats, slots=(SEEN,), alerts=(), anchors=(0, 0), since=START, until=END):
    return itself(beats, slots, alerts, anchors, since, until, GRACE)


WHOLE = [beat(hour) for hour in range(-1, 13)]


def test_a_window_in_which_nothing_was_amiss_is_satisfied():
    it = found(WHOLE, anchors=(12, 0))
    assert it.state is State.SATISFIED
    assert it.words == ()
    assert (it.beats, it.missed, it.up, it.anchored) == (12, 0, timedelta(hours=12), 12)


def test_without_a_heartbeat_nobody_knows():
    it = found([])
    assert it.state is State.UNDETERMINED
    assert it.words[0].startswith("no heartbeat")


@pytest.mark.parametrize("gone", range(12))
def test_each_missing_heartbeat_is_told(gone):
    it = found([b for b in WHOLE if b.at != START + gone * HOUR])
    assert it.state is State.NOT_SATISFIED
    assert it.missed == 1
    assert it.words == ("1 heartbeat missed, the longest silence " + ("1.0" if gone == 0 else "2.0") + " hours",)
    assert it.up == timedelta(hours=11 if gone == 0 else 10)


def test_a_restart_within_a_heartbeat_misses_none_and_is_told_apart_by_how_it_ended():
    calm = [beat(0, Sign.START), *map(beat, (1, 2)), beat(2.2, Sign.STOP), beat(2.3, Sign.START, "b")]
    calm += [beat(2.3 + n, process="b") for n in range(1, 11)]
    it = found(calm)
    assert it.state is State.SATISFIED
    assert (len(it.starts), len(it.stops), it.broken_off) == (2, 1, ())
    killed = [b for b in calm if b.sign is not Sign.STOP]
    it = found(killed)
    assert it.state is State.SATISFIED
    assert [b.at for b in it.broken_off] == [START + 2.3 * HOUR]
    assert it.up == timedelta(hours=2 + 9.7)


def test_a_collector_that_came_after_the_window_began_was_not_there():
    it = found(WHOLE[3:])
    assert (it.state, it.missed) == (State.NOT_SATISFIED, 0)
    assert it.words == ("no heartbeat before 2026-03-01T02:00:00.000000Z",)


def test_a_stop_is_a_silence_that_was_announced():
    it = found(
        [
            beat(0),
            beat(1),
            beat(1.5, Sign.STOP),
            beat(5, Sign.START, "b"),
            *(beat(n, process="b") for n in range(6, 13)),
        ]
    )
    (silence,) = it.silences
    assert silence.stopped
    assert (silence.since, silence.until, silence.missed) == (START + 1.5 * HOUR, START + 5 * HOUR, 3)
    assert it.up == timedelta(hours=1.5 + 7)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"alerts": [Told(1, START, None, None)]}, "1 alert reached nobody"),
        ({"anchors": (3, 2)}, "2 checkpoints not taken by a place outside"),
        (
            {"slots": [Slot(Due(START, "c", "s", "a"), SlotState.MISSED)]},
            "1 slot with neither a run nor a declared gap",
        ),
    ],
)
def test_each_thing_that_is_amiss_is_said(more, words):
    it = found(WHOLE, **more)
    assert (it.state, it.words) == (State.NOT_SATISFIED, (words,))


def test_a_gap_that_was_declared_is_accounted_for():
    assert found(WHOLE, slots=[Slot(Due(START, "c", "s", "a"), SlotState.GAP)]).state is State.SATISFIED


def test_an_alert_of_the_last_minutes_may_still_be_on_its_way():
    assert found(WHOLE, alerts=[Told(1, END - GRACE, None, None)]).state is State.SATISFIED
    assert found(WHOLE, alerts=[Told(1, END - GRACE - HOUR, None, None)]).state is State.NOT_SATISFIED


def test_the_longest_times_are_kept():
    alerts = [
        Told(1, START, START + timedelta(seconds=5), None),
        Told(2, START, START + timedelta(seconds=9), START + HOUR),
    ]
    it = found(WHOLE, alerts=alerts)
    assert (it.alerts, it.delivered_after, it.acknowledged, it.acknowledged_after) == (2, timedelta(seconds=9), 1, HOUR)


@pytest.mark.parametrize(("skew", "state"), [(299_000, State.SATISFIED), (-301_000, State.NOT_SATISFIED)])
def test_a_clock_that_providers_would_refuse_is_amiss(skew, state):
    it = found([*WHOLE, beat(3.5, skew_ms=skew), beat(3.6, skew_ms=20)])
    assert (it.skew_ms, it.state) == ((min(20, skew), max(20, skew)), state)


@given(
    minutes=st.sets(st.integers(-180, 900), max_size=30),
    every=st.sampled_from((10, 30, 60)),
    late=st.integers(0, 90),
)
def test_missed_heartbeats_are_those_that_a_slow_count_finds(minutes, every, late):
    times = [START + timedelta(minutes=m, seconds=late) for m in sorted(minutes)]
    beats = [Beat(n, at, Sign.BEAT, ("h", "p"), "1", every * 60) for n, at in enumerate(times)]
    slow = 0
    up = timedelta(0)
    for n, at in enumerate(times):
        after = times[n + 1] if n + 1 < len(times) else None
        due = at + timedelta(minutes=every)
        while due + TOLERANCE < min(END, after or END):
            slow += due + TOLERANCE >= START
            due += timedelta(minutes=every)
        if after is not None and after - at <= timedelta(minutes=every) + TOLERANCE:
            up += sum(
                (timedelta(seconds=30) for s in range(int((after - at).total_seconds()) // 30)
                 if START <= at + timedelta(seconds=30 * s) < END),
                timedelta(0),
            )  # fmt: skip
    it = found(beats)
    assert it.missed == slow
    assert abs(it.up - up) <= timedelta(seconds=60)


def test_an_alert_that_quiet_hours_hold_back_is_not_lost():
    held = Told(1, START, None, None, held=END - GRACE)
    assert found(WHOLE, alerts=[held]).state is State.SATISFIED
    assert found(WHOLE, alerts=[Told(1, START, None, None, held=END - GRACE - HOUR)]).undelivered


def test_a_silence_over_the_whole_window_is_one_although_no_heartbeat_lies_in_it():
    it = found([beat(-1), beat(13)])
    assert (it.state, it.beats, it.missed) == (State.NOT_SATISFIED, 0, 13 - 1)
    (silence,) = it.silences
    assert (silence.before.at, silence.after.at) == (START - HOUR, START + 13 * HOUR)


def test_nothing_due_is_no_pass():
    it = found(WHOLE, slots=())
    assert it.state is State.UNDETERMINED
    assert it.words[0].startswith("nothing was due")


MISSED = Slot(Due(START, "c", "s", "a"), SlotState.MISSED)
LOST = Told(1, START, None, None)


@pytest.mark.parametrize(
    ("what", "looking", "telling"),
    [
        ({}, State.SATISFIED, State.SATISFIED),
        ({"slots": [MISSED]}, State.NOT_SATISFIED, State.SATISFIED),
        ({"anchors": (1, 1)}, State.NOT_SATISFIED, State.SATISFIED),
        ({"alerts": [LOST]}, State.SATISFIED, State.NOT_SATISFIED),
        ({"beats": WHOLE[:5]}, State.NOT_SATISFIED, State.UNDETERMINED),  # who is silent tells nobody, as far as known
        ({"beats": WHOLE[5:]}, State.NOT_SATISFIED, State.UNDETERMINED),
        ({"beats": WHOLE[:5], "alerts": [LOST]}, State.NOT_SATISFIED, State.NOT_SATISFIED),
        ({"beats": []}, State.UNDETERMINED, State.UNDETERMINED),
        ({"beats": [], "slots": [MISSED]}, State.NOT_SATISFIED, State.UNDETERMINED),
        ({"slots": []}, State.UNDETERMINED, State.SATISFIED),
    ],
)
def test_a_control_takes_what_concerns_its_criteria(what, looking, telling):
    it = found(**{"beats": WHOLE, **what})
    states = {id: for_control(it, [id, "CC7.2"])[0] for id in ("CC4.1", "CC4.2")}
    assert states == {"CC4.1": looking, "CC4.2": telling}
    both = State.NOT_SATISFIED if State.NOT_SATISFIED in states.values() else it.state
    assert {for_control(it, ids)[0] for ids in (["CC4.1", "CC4.2"], ["CC7.2"])} == {both}
    for ids in (["CC4.1"], ["CC4.2"], ["CC7.2"]):
        state, words = for_control(it, ids)
        assert bool(words)
        assert len(set(words.split("; "))) == len(words.split("; ")), "nothing is said twice"
        if state is State.SATISFIED:
            assert all(said not in words for said in it.words)
