"""One run: who is in scope, what was read of each, what that means. The only place that says "undetermined".

Checks run concurrently over one transcript; each keeps track of what it read in a context of its own. Time, clouds
and limits are handed in; nothing is stored here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from collector import canonical
from collector.check import AnyCheck
from collector.clouds.transcript import reading
from collector.errors import CannotObserve, StoodStill, Unreadable
from collector.model import CheckRun, Observation, Scope, State, Verdict

CHECKS_MAX = 8  # checks at work at once; each holds a listing in memory
SUBJECTS_MAX = 32  # subjects read at once, over all checks
POPULATION_MAX = 1_000_000  # of one check over one scope
RUN_MAX = timedelta(days=1)  # from the first question to the entry; a verifier takes what is older for written back


@dataclass(frozen=True)
class Task:
    """One check to run over one scope, with the cloud handle to run it with and the limits in force.

    ``seconds``: after so long, subjects that were not looked at yet are undetermined, so that one check over one scope
    cannot use up the time of all. What the handle asks has deadlines of its own.
    ``only``: of the population, these alone are observed, and the run counts no others; it is then no full run.
    """

    check: AnyCheck
    scope: Scope
    handle: Any
    limits: Any = None
    seconds: float = float("inf")
    only: frozenset[str] | None = None


class _Crash(Exception):
    """A check broke its contract; carries what happened."""


def collect(tasks: Sequence[Task], clock: Callable[[], datetime]) -> list[CheckRun]:
    """Runs every task and returns one run for each, in the order of the tasks.

    A check that crashes is one run without population; the others go on. Never raises for what a cloud or a check did.
    """
    with (
        ThreadPoolExecutor(SUBJECTS_MAX, thread_name_prefix="subject") as subjects,
        ThreadPoolExecutor(CHECKS_MAX, thread_name_prefix="check") as checks,
    ):
        return list(checks.map(lambda task: run(task, clock, subjects), tasks))


def refuse_old(begun: datetime, now: datetime) -> None:
    """Raises StoodStill when a run that began then may no longer be sealed."""
    if now - begun > RUN_MAX:
        raise StoodStill(
            f"the collector stood still in its run, between {canonical.stamp(begun)} and {canonical.stamp(now)}"
        )


def run(task: Task, clock: Callable[[], datetime], subjects: ThreadPoolExecutor) -> CheckRun:
    """One check over one scope."""
    started = clock()
    deadline = time.monotonic() + task.seconds

    def nobody(reason: str, failure: str, listing: Sequence[str]) -> CheckRun:
        return CheckRun(
            check=task.check.id,
            scope=task.scope,
            started=started,
            finished=clock(),
            population=None,
            observations=(),
            listing=tuple(listing),
            reason=reason,
            failure=failure,
        )

    with reading() as listing:
        try:
            named = _population(task)
        except CannotObserve as error:
            return nobody(f"the population could not be read: {error}", error.code, listing)
        except Exception as error:
            return nobody(f"the check crashed: {_crash(error)}", "crashed", listing)
    try:
        found = _observed(task, named, subjects, deadline)
        return CheckRun(
            check=task.check.id,
            scope=task.scope,
            started=started,
            finished=clock(),
            population=len(named),
            observations=tuple(sorted(found, key=lambda o: o.subject)),
            listing=tuple(listing),
        )
    except Exception as error:
        return nobody(f"the check crashed: {_crash(error)}", "crashed", listing)


def _population(task: Task) -> Mapping[str, Any]:
    """The subjects by name. Raises Unreadable when one is named twice or not at all."""
    named: dict[str, Any] = {}
    try:
        for subject in task.check.population(task.handle):
            name = task.check.name(subject)
            if not isinstance(name, str) or not name:
                raise Unreadable("the listing holds a subject without a name")
            if name in named:
                raise Unreadable(f"the listing names {name} twice")
            named[name] = subject
            if len(named) > POPULATION_MAX:
                raise Unreadable(f"more than {POPULATION_MAX} subjects; split the scope")
    except LookupError as error:
        raise Unreadable(f"the answer has no {error}") from error
    return named if task.only is None else {name: named[name] for name in sorted(task.only & named.keys())}


def _observed(task: Task, named: Mapping[str, Any], subjects: ThreadPoolExecutor, deadline: float) -> list[Observation]:
    """Every subject, in this thread until one of them has to wait for the cloud; from there on many wait at once.

    Most checks ask nothing for a single subject, and to hand one to another thread costs more than to look at it.
    """
    found: list[Observation] = []
    rest = iter(named.items())
    for name, subject in rest:
        with reading() as read:
            found.append(_observe(task, name, subject, read, deadline))
        if read.waited:
            break

    def observe(item: tuple[str, Any]) -> Observation:
        with reading() as read:
            return _observe(task, *item, read, deadline)

    return [*found, *subjects.map(observe, rest)]


def _observe(task: Task, name: str, subject: Any, read: Sequence[str], deadline: float) -> Observation:
    """One subject; ``read`` is what the reading of this context collects."""
    if time.monotonic() > deadline:
        return _undetermined(name, f"the check was at work for more than {task.seconds:.0f} s", read)
    try:
        facts = task.check.observe(task.handle, subject)
    except CannotObserve as error:
        return _undetermined(name, str(error), read)
    except LookupError as error:
        return _undetermined(name, f"the answer has no {error}", read)
    verdict = task.check.judge(facts, task.limits)
    if verdict.state is State.UNDETERMINED:
        raise _Crash("a check judges; only the engine says that it could not look")
    return Observation(name, verdict, facts_record(facts), tuple(read))


def _undetermined(name: str, reason: str, read: Sequence[str]) -> Observation:
    return Observation(name, Verdict(State.UNDETERMINED, f"could not be read: {reason}"), None, tuple(read))


def _crash(error: Exception) -> str:
    """The class of what went wrong, and its words when they are ours; a stranger's words may hold a secret."""
    return str(error) if isinstance(error, _Crash) else type(error).__name__


def facts_record(facts: object) -> dict[str, Any]:
    """Facts as they are written down."""
    kind: Any = type(facts)
    return {name: _plain(getattr(facts, name)) for name in _members(kind)}


@lru_cache(maxsize=1024)
def _members(kind: Any) -> tuple[str, ...]:
    return tuple(member.name for member in fields(kind))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | bool):
        return value
    if is_dataclass(value):
        return facts_record(value)
    if isinstance(value, dict):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, set | frozenset):
        return sorted(_plain(member) for member in value)
    return value
