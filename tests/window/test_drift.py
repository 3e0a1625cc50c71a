"""Each transition is told once, and blindness is neither good nor bad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.model import State
from collector.window.drift import (
    FLAP_STEADY,
    GROUP_OVER,
    Cause,
    Drift,
    Event,
    Look,
    Opened,
    Rules,
    Told,
    drifts,
    flaps,
)
from tests.support.drifting import START as NOW
from tests.support.drifting import Line, Slow, States, run_of, series

S, N, U = State.SATISFIED, State.NOT_SATISFIED, State.UNDETERMINED
HOUR = timedelta(hours=1)


@dataclass
class Memory:
    """A collector that remembers everything in plain lists."""

    rules: Rules = field(default_factory=Rules)
    runs: list[tuple[int, datetime, States]] = field(default_factory=list)
    alerts: dict[tuple[str, str | int], tuple[Cause, Opened]] = field(default_factory=dict)
    log: list[tuple[datetime, Drift]] = field(default_factory=list)
    now: datetime = NOW

    def looks(self, subject: str) -> Iterator[Look]:
        for seq, at, states in reversed(self.runs):
            if not subject:
                yield Look(seq, at, U if states is None else S)
            elif states is not None:
                yield Look(seq, at, states.get(subject))

    def told(self, cause: Cause) -> Sequence[Told]:
        return [
            Told(drift.event, at, frozenset(drift.subjects or (drift.subject,)), drift.flaps)
            for at, drift in self.log
            if drift.cause is cause
        ]

    def step(self, states: States, after: timedelta = HOUR) -> list[Drift]:
        self.now += after
        seq = len(self.runs) + 1
        opened = {
            (cause, subject): known
            for (_, subject), (cause, known) in self.alerts.items()
            for subject in (known.subjects or (subject,))
        }
        found = drifts(run_of(states, self.now), seq, opened, self, self.rules)
        for drift in found:
            self.log.append((self.now, drift))
            key = drift.cause.value, drift.subject if drift.group is None else drift.group
            if drift.event is Event.TRIGGER:
                assert key not in self.alerts
                about = (drift.since, drift.last_good, drift.first_bad, drift.flaps, drift.group)
                self.alerts[key] = drift.cause, Opened(*about, frozenset(drift.subjects))
            elif drift.event is Event.RESOLVE:
                assert drift.left == 0
                del self.alerts[key]
            else:
                cause, known = self.alerts[key]
                left = known.subjects.difference(drift.subjects)
                assert len(left) == drift.left
                self.alerts[key] = cause, Opened(*list(vars(known).values())[:5], left)
        self.runs.append((seq, self.now, states))
        return found


def lines(found: list[Drift]) -> list[Line]:
    return [
        Line(
            drift.cause.value,
            drift.event.value,
            drift.subjects or (drift.subject,),
            drift.group is not None,
            drift.flaps,
            drift.last_good,
            drift.first_bad or 0,
        )
        for drift in found
    ]


def told(found: list[Drift]) -> list[tuple[str, str, str]]:
    return [(d.cause.value, d.event.value, d.subject) for d in found]


def in_order(found: list[Line]) -> list[Line]:
    return sorted(found, key=lambda line: (line.cause, line.event, line.subjects))


@settings(max_examples=400, deadline=None)
@given(series(), st.integers(1, 4), st.integers(1, 4))
def test_whatever_happens_is_told_as_the_slow_rules_say(
    runs: list[tuple[timedelta, States]], confirm: int, steady: int
) -> None:
    memory, slow = Memory(Rules(confirm, steady)), Slow(confirm, steady)
    for after, states in runs:
        found = lines(memory.step(states, after))
        assert in_order(found) == in_order(slow.step(len(memory.runs), memory.now, states))


@settings(max_examples=200, deadline=None)
@given(series(), st.integers(1, 3), st.integers(1, 3))
def test_nothing_bad_stays_silent_and_nothing_is_told_twice(
    runs: list[tuple[timedelta, States]], confirm: int, steady: int
) -> None:
    """Without any rule of how: whoever was bad in ``confirm`` runs running is covered by exactly one open alert."""
    memory = Memory(Rules(confirm, steady))
    last: list[dict[str, State]] = []
    for after, states in runs:
        memory.step(states, after)
        if states is None:
            assert ("blind", "") in memory.alerts or confirm > 1
            continue
        last = [*last, dict(states)][-confirm:]
        for cause, bad in ((Cause.FAILED, N), (Cause.BLIND, U)):
            covered = [s for kind, known in memory.alerts.values() if kind is cause for s in known.subjects]
            covered += [
                str(s) for (kind, s), (_, known) in memory.alerts.items() if kind == cause and not known.subjects
            ]
            assert len(covered) == len(set(covered))
            for name in states:
                if len(last) == confirm and all(seen.get(name) is bad for seen in last):
                    assert name in covered
        if confirm == steady == 1:
            calm = [drift for _, drift in memory.log if drift.flaps] == []
            failed = {name for name, state in states.items() if state is N}
            covered = [s for kind, known in memory.alerts.values() if kind is Cause.FAILED for s in known.subjects]
            covered += [
                str(s) for (kind, s), (_, known) in memory.alerts.items() if kind == "failed" and not known.subjects
            ]
            hidden = {name for name, state in states.items() if state is U}
            assert failed <= set(covered)
            assert not calm or set(covered) <= failed | hidden


def test_a_fall_is_told_once_with_the_evidence_on_both_sides() -> None:
    memory = Memory()
    assert memory.step({"a": S}) == []
    (drift,) = memory.step({"a": N})
    assert (drift.cause, drift.event, drift.last_good, drift.first_bad) == (Cause.FAILED, Event.TRIGGER, 1, 2)
    assert drift.since == NOW + 2 * HOUR
    assert memory.step({"a": N}) == []


def test_mending_resolves_and_points_back() -> None:
    memory = Memory()
    memory.step({"a": N})
    (drift,) = memory.step({"a": S})
    assert (drift.event, drift.last_good, drift.first_bad, drift.since) == (Event.RESOLVE, 2, 1, NOW + HOUR)


def test_a_failed_subject_that_goes_dark_stays_failed_and_is_blind_besides() -> None:
    memory = Memory()
    memory.step({"a": N})
    assert told(memory.step({"a": U})) == [("blind", "trigger", "a")]
    assert told(memory.step({"a": N})) == [("blind", "resolve", "a")]
    memory.step({"a": U})
    assert told(memory.step({"a": S})) == [("blind", "resolve", "a"), ("failed", "resolve", "a")]


def test_a_scope_that_goes_dark_says_so_once_and_resolves_nothing() -> None:
    memory = Memory()
    memory.step({"a": N})
    assert told(memory.step(None)) == [("blind", "trigger", "")]
    assert memory.step(None) == []
    assert told(memory.step({"a": N})) == [("blind", "resolve", "")]


def test_a_subject_that_vanishes_is_resolved_with_that_reason() -> None:
    memory = Memory()
    memory.step({"a": N})
    (drift,) = memory.step({})
    assert drift.event is Event.RESOLVE
    assert "no longer in the population" in drift.reason


# --- confirmations ---


def test_what_is_bad_for_fewer_runs_than_asked_is_never_told() -> None:
    memory = Memory(Rules(confirm=3))
    for states in ({"a": S}, {"a": N}, {"a": N}, {"a": S}, {"a": N}, {"a": N}):
        assert memory.step(states) == []
    (drift,) = memory.step({"a": N})
    assert (drift.last_good, drift.first_bad) == (4, 5)
    assert drift.since == NOW + 5 * HOUR


def test_a_run_that_saw_nothing_neither_confirms_nor_breaks_the_row() -> None:
    memory = Memory(Rules(confirm=2, steady=2))
    memory.step({"a": S})
    memory.step({"a": N})
    assert told(memory.step({"a": U})) == []  # blindness has to be confirmed too
    assert told(memory.step(None)) == []
    (drift,) = memory.step({"a": N})
    assert (drift.cause, drift.last_good, drift.first_bad) == (Cause.FAILED, 1, 2)
    memory.step({"a": S})
    memory.step(None)
    assert told(memory.step({"a": S})) == [("failed", "resolve", "a")]


def test_what_is_good_for_fewer_runs_than_asked_is_not_over() -> None:
    memory = Memory(Rules(steady=3))
    memory.step({"a": N})
    for states in ({"a": S}, {"a": S}, {"a": N}, {"a": S}, {}):
        assert memory.step(states) == []
    (drift,) = memory.step({"a": S})
    assert (drift.event, drift.last_good, drift.first_bad) == (Event.RESOLVE, 5, 1)


# --- groups ---


def named(count: int, state: State) -> dict[str, State]:
    return {f"s{number:03}": state for number in range(count)}


def test_five_are_five_alerts_and_six_are_one() -> None:
    memory = Memory()
    memory.step(named(6, S))
    assert len(memory.step(named(GROUP_OVER, N))) == GROUP_OVER
    memory = Memory()
    memory.step(named(400, S))
    (drift,) = memory.step(named(400, N))
    assert (drift.subject, drift.group, len(drift.subjects), drift.left) == ("", 2, 400, 400)
    assert drift.reason == "400 subjects: is not-satisfied"
    assert (drift.last_good, drift.first_bad) == (1, 2)


def test_a_group_is_over_when_the_last_of_it_is() -> None:
    memory = Memory()
    memory.step(named(8, N))
    blind, part = memory.step(named(8, S) | {"s000": N, "s001": U})  # nobody can say whether s001 is over
    assert told([blind]) == [("blind", "trigger", "s001")]
    assert (part.event, part.left, len(part.subjects)) == (Event.UPDATE, 2, 6)
    (over,) = [d for d in memory.step(named(8, S)) if d.cause is Cause.FAILED]
    assert (over.event, over.subjects, over.left, over.group) == (Event.RESOLVE, ("s000", "s001"), 0, 1)


def test_whoever_left_a_group_and_falls_again_is_told_anew_though_the_group_stands() -> None:
    memory = Memory()
    memory.step(named(8, N))
    memory.step(named(8, S) | {"s000": N})
    assert told(memory.step(named(8, S) | {"s000": N, "s001": N})) == [("failed", "trigger", "s001")]
    (again,) = memory.step(named(8, N))
    assert again.subjects == tuple(f"s{number:03}" for number in range(2, 8))


def test_two_causes_and_two_runs_are_different_groups() -> None:
    memory = Memory()
    memory.step(named(20, S))
    first = memory.step({**named(20, S), **named(7, N)})
    second = memory.step({**{f"s{n:03}": U for n in range(20)}, **named(7, N)})
    assert [d.cause for d in first] == [Cause.FAILED]
    assert [(d.cause, len(d.subjects)) for d in second] == [(Cause.BLIND, 13)]


# --- flapping ---


def test_the_third_alert_within_a_day_flaps_and_needs_six_good_runs() -> None:
    memory = Memory()
    for states in ({"a": N}, {"a": S}, {"a": N}, {"a": S}):
        (drift,) = memory.step(states)
        assert not drift.flaps
    (third,) = memory.step({"a": N})
    assert (third.event, third.flaps) == (Event.TRIGGER, True)
    for _ in range(FLAP_STEADY - 1):
        assert memory.step({"a": S}) == []
    assert memory.step({"a": N}) == []
    for _ in range(FLAP_STEADY - 1):
        assert memory.step({"a": S}) == []
    (over,) = memory.step({"a": S})
    assert (over.event, over.flaps) == (Event.RESOLVE, True)


@pytest.mark.parametrize(("quiet", "expected"), [(23, True), (24, False)])
def test_it_flaps_until_it_was_quiet_for_a_day(quiet: int, expected: bool) -> None:
    memory = Memory()
    for states in ({"a": N}, {"a": S}, {"a": N}, {"a": S}, {"a": N}, *[{"a": S}] * FLAP_STEADY):
        memory.step(states)
    assert memory.alerts == {}
    (drift,) = memory.step({"a": N}, quiet * HOUR)
    # the run ends a second after it began
    assert drift.flaps is expected


def test_one_subject_of_a_group_that_flaps_makes_the_group_flap_and_another_group_does_not() -> None:
    memory = Memory()
    for states in (named(8, N), named(8, S), named(8, N), named(8, S)):
        memory.step(states)
    (drift,) = memory.step(named(8, N))
    assert drift.flaps
    other = {f"t{number}": N for number in range(8)}
    (fresh,) = memory.step({**named(8, N), **other})
    assert (fresh.flaps, fresh.subjects) == (False, tuple(sorted(other)))


def test_alone_and_in_a_group_count_alike() -> None:
    def one(event: Event, hours: int, *subjects: str) -> Told:
        return Told(event, NOW + hours * HOUR, frozenset(subjects), False)

    history = [one(Event.TRIGGER, 0, "a"), one(Event.RESOLVE, 1, "a"), one(Event.TRIGGER, 2, "a", "b", "c")]
    assert flaps("a", history, NOW + 3 * HOUR)
    assert not flaps("b", history, NOW + 3 * HOUR)
    assert not flaps("a", history, NOW + 24 * HOUR)
