"""The engine: who says undetermined, what a crash leaves, and that counts add up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from collector.check import AnyCheck, Check, Family, LimitedCheck, bad, good, not_satisfied, satisfied
from collector.collect import Task, collect
from collector.errors import Denied, Throttled, Unreadable
from collector.model import CheckRun, Observation, Scope, State, Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCOPE = Scope("aws", "123456789012")


@dataclass(frozen=True)
class Facts:
    locked: bool


def evaluate(facts: Facts) -> Verdict:
    return satisfied("is locked") if facts.locked else not_satisfied("is open")


def check(**more: Any) -> AnyCheck:
    settings: dict[str, Any] = {
        "id": "aws-door-lock",
        "family": Family.MFA,
        "criteria": ("CC6.1",),
        "permissions": ("iam:ListUsers",),
        "per": "account",
        "population": lambda cloud: ["a", "b"],
        "name": lambda subject: subject,
        "observe": lambda cloud, subject: Facts(subject == "a"),
        "evaluate": evaluate,
        "examples": (good(Facts(True)), bad(Facts(False))),
    }
    return Check(**{**settings, **more})


def run(*made: AnyCheck) -> list[CheckRun]:
    return collect([Task(item, SCOPE, None) for item in made], lambda: NOW)


def raises(error: Exception) -> Any:
    def fail(*_: Any) -> Any:
        raise error

    return fail


def test_each_subject_is_judged_once() -> None:
    (found,) = run(check())
    assert found.population == 2
    assert [(o.subject, o.verdict.state) for o in found.observations] == [
        ("a", State.SATISFIED),
        ("b", State.NOT_SATISFIED),
    ]
    assert found.counts() == {"satisfied": 1, "not-satisfied": 1, "not-applicable": 0, "undetermined": 0}


def test_an_empty_population_is_a_fact() -> None:
    (found,) = run(check(population=lambda cloud: []))
    assert found.population == 0
    assert sum(found.counts().values()) == 0


@pytest.mark.parametrize("error", [Denied("no"), Throttled("slow"), Unreadable("what"), KeyError("Users")])
def test_a_listing_that_failed_is_a_run_without_population(error: Exception) -> None:
    (found,) = run(check(population=raises(error)))
    assert found.population is None
    assert found.observations == ()
    assert found.failure == getattr(error, "code", "unreadable")


def test_a_listing_that_fails_half_way_is_no_population() -> None:
    def half(cloud: Any) -> Iterable[str]:
        yield "a"
        raise Denied("page 2")

    (found,) = run(check(population=half))
    assert found.population is None


@pytest.mark.parametrize("error", [Denied("no"), KeyError("Mfa"), IndexError("1")])
def test_one_unreadable_subject_is_undetermined_and_the_others_go_on(error: Exception) -> None:
    def observe(cloud: Any, subject: str) -> Facts:
        if subject == "a":
            raise error
        return Facts(True)

    (found,) = run(check(observe=observe))
    assert [o.verdict.state for o in found.observations] == [State.UNDETERMINED, State.SATISFIED]
    assert found.observations[0].facts is None


@pytest.mark.parametrize("part", ["population", "observe", "evaluate"])
def test_a_crash_is_one_run_without_population_that_names_the_class_and_no_more(part: str) -> None:
    crashed, fine = run(check(**{part: raises(ZeroDivisionError("a secret"))}), check())
    assert crashed.population is None
    assert crashed.failure == "crashed"
    assert "ZeroDivisionError" in crashed.reason
    assert "secret" not in crashed.reason
    assert fine.population == 2


def test_a_check_may_not_say_undetermined() -> None:
    (found,) = run(check(evaluate=lambda facts: Verdict(State.UNDETERMINED, "who knows")))
    assert found.population is None
    assert "only the engine" in found.reason


@pytest.mark.parametrize("names", [["a", "a"], [""], [None]])
def test_a_subject_without_a_name_of_its_own_makes_no_population(names: list[Any]) -> None:
    (found,) = run(check(population=lambda cloud: names))
    assert found.population is None


def test_counts_that_do_not_add_up_are_refused() -> None:
    seen = Observation("a", Verdict(State.SATISFIED, "is fine"), {}, ())
    with pytest.raises(ValueError, match="refused"):
        CheckRun("aws-x-y", SCOPE, NOW, NOW, 2, (seen,), ())
    with pytest.raises(ValueError, match="reason"):
        CheckRun("aws-x-y", SCOPE, NOW, NOW, None, (), ())


def test_limits_reach_the_verdict() -> None:
    @dataclass(frozen=True)
    class Limits:
        days_max: int

    @dataclass(frozen=True)
    class Age:
        days: int

    limited = LimitedCheck(
        id="aws-key-age",
        family=Family.MFA,
        criteria=("CC6.1",),
        permissions=("iam:ListUsers",),
        per="account",
        population=lambda cloud: ["a"],
        name=str,
        observe=lambda cloud, subject: Age(5),
        evaluate=lambda age, limits: satisfied("is young") if age.days <= limits.days_max else not_satisfied("is old"),
        examples=(good(Age(1)), bad(Age(9))),
        limits=Limits(7),
    )
    young, old = collect([Task(limited, SCOPE, None, None), Task(limited, SCOPE, None, Limits(3))], lambda: NOW)
    assert young.observations[0].verdict.state is State.SATISFIED
    assert old.observations[0].verdict.state is State.NOT_SATISFIED


def test_checks_run_beside_each_other() -> None:
    barrier = threading.Barrier(3, timeout=5)

    def meet(cloud: Any) -> list[str]:
        barrier.wait()
        return ["a"]

    assert [found.population for found in run(*[check(population=meet) for _ in range(3)])] == [1, 1, 1]


def test_a_check_that_takes_too_long_looks_at_no_further_subject_and_holds_up_no_other() -> None:
    def slowly(_: None, subject: str) -> Any:
        time.sleep(0.2)
        return Facts(True)

    slow = check(population=lambda _: [f"s{n:02}" for n in range(12)], observe=slowly)
    begun = time.monotonic()
    late, whole = collect([Task(slow, SCOPE, None, None, 0.5), Task(check(), SCOPE, None)], lambda: NOW)
    assert time.monotonic() - begun < 2
    states = [o.verdict.state for o in late.observations]
    assert 1 <= states.count(State.SATISFIED) <= 4
    assert late.population == 12
    assert states.count(State.UNDETERMINED) == 12 - states.count(State.SATISFIED)
    assert "at work for more than" in late.observations[-1].verdict.reason
    assert whole.counts()[State.UNDETERMINED] == 0
