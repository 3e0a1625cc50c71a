"""Each transition is told once, and blindness is neither good nor bad."""

from __future__ import annotations

from datetime import UTC, datetime

from collector.model import CheckRun, Observation, Scope, State, Verdict
from collector.window.drift import Cause, Drift, Event, Opened, drifts

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCOPE = Scope("aws", "1")


def run(**states: State) -> CheckRun:
    seen = tuple(Observation(s, Verdict(state, f"is {state}"), {}, ()) for s, state in sorted(states.items()))
    return CheckRun("aws-a-b", SCOPE, NOW, NOW, len(seen), seen, ())


def blind_run() -> CheckRun:
    return CheckRun("aws-a-b", SCOPE, NOW, NOW, None, (), (), "denied", "denied")


def told(found: list[Drift]) -> list[tuple[str, str, str]]:
    return [(d.cause.value, d.event.value, d.subject) for d in found]


OPEN = Opened(NOW, 3, 4)


def test_a_fall_is_told_once_with_the_evidence_on_both_sides() -> None:
    (drift,) = drifts(run(a=State.NOT_SATISFIED), 7, 6, {}, frozenset({"a"}))
    assert (drift.cause, drift.event, drift.last_good, drift.first_bad) == (Cause.FAILED, Event.TRIGGER, 6, 7)
    assert drifts(run(a=State.NOT_SATISFIED), 8, 7, {(Cause.FAILED, "a"): OPEN}, frozenset()) == []


def test_mending_resolves_and_points_back() -> None:
    (drift,) = drifts(run(a=State.SATISFIED), 9, 8, {(Cause.FAILED, "a"): OPEN}, frozenset())
    assert (drift.event, drift.last_good, drift.first_bad) == (Event.RESOLVE, 9, 4)


def test_a_failed_subject_that_goes_dark_stays_failed_and_is_blind_besides() -> None:
    found = drifts(run(a=State.UNDETERMINED), 9, 8, {(Cause.FAILED, "a"): OPEN}, frozenset())
    assert told(found) == [("blind", "trigger", "a")]
    both = {(Cause.FAILED, "a"): OPEN, (Cause.BLIND, "a"): OPEN}
    assert told(drifts(run(a=State.NOT_SATISFIED), 10, 9, both, frozenset())) == [("blind", "resolve", "a")]
    assert told(drifts(run(a=State.SATISFIED), 10, 9, both, frozenset())) == [
        ("blind", "resolve", "a"),
        ("failed", "resolve", "a"),
    ]


def test_a_scope_that_goes_dark_says_so_once_and_resolves_nothing() -> None:
    known = {(Cause.FAILED, "a"): OPEN}
    assert told(drifts(blind_run(), 9, 8, known, frozenset())) == [("blind", "trigger", "")]
    dark = {**known, (Cause.BLIND, ""): OPEN}
    assert drifts(blind_run(), 10, 9, dark, frozenset()) == []
    assert told(drifts(run(a=State.NOT_SATISFIED), 11, 10, dark, frozenset())) == [("blind", "resolve", "")]


def test_a_subject_that_vanishes_is_resolved_with_that_reason() -> None:
    (drift,) = drifts(run(), 9, 8, {(Cause.FAILED, "a"): OPEN}, frozenset())
    assert drift.event is Event.RESOLVE
    assert "no longer in the population" in drift.reason
