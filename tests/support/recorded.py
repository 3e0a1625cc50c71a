"""Answers recorded from real clouds, put to our checks: what a check makes of them, and of them with a member gone.

The recordings are other people's and are no part of the project. They lie beside it, or where COLLECTOR_RECORDED says.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import collector.check
from collector import canonical
from collector.check import AnyCheck
from collector.collect import Task, run
from collector.errors import Unreadable
from collector.model import Scope, State

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("COLLECTOR_RECORDED") or ROOT.parent / "shared" / "recorded")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?")

World = dict[str, Any]  # the body of every answer that there is, by what is asked
Path_ = tuple[str | int, ...]  # a place in a world: the question, then members and places in lists


@dataclass(frozen=True)
class Case:
    """One recorded object, with answers around it. ``ours`` answers what nobody recorded, None where we do not either.

    ``source`` says where it was recorded, ``asked`` is the question that it answers; ``whole`` marks a listing with all
    of its objects.
    """

    source: str
    asked: str
    scope: Scope
    world: World
    open: Callable[[Answers, datetime], Any]
    ours: Callable[[str, Mapping[str, Any]], Any] = lambda question, params: None
    whole: bool = False


class Member(str):
    """The name of a member, which tells when it is looked up: also in a copy of the object that holds it."""

    __slots__ = ("place", "read")
    __hash__ = str.__hash__
    place: Path_
    read: set[Path_]

    def __eq__(self, other: object) -> bool:
        same = str.__eq__(self, other)
        if same is True:
            self.read.add(self.place)
        return same


def watched(value: Any, place: Path_, read: set[Path_]) -> Any:
    """A copy of a body in which looking up a member adds its place to ``read``."""
    if isinstance(value, dict):
        found = {}
        for name, member in value.items():
            key = Member(name)
            key.place, key.read = (*place, name), read
            found[key] = watched(member, key.place, read)
        return found
    if isinstance(value, list):
        return [watched(member, (*place, index), read) for index, member in enumerate(value)]
    return value


class Answers:
    """A world during one run: what was asked of it, and which members were looked up."""

    def __init__(self, case: Case, world: World, *, watch: bool) -> None:
        self._case = case
        self._watch = watch
        self.asked: set[str] = set()
        self.read: set[Path_] = set()
        self.given: World = dict(world)  # with ours, where they were asked for
        self._bodies = {question: self._body(question, body) for question, body in world.items()}

    def _body(self, question: str, body: Any) -> Any:
        return watched(body, (question,), self.read) if self._watch else body

    def of(self, question: str, params: Mapping[str, Any] | None = None) -> Any:
        """The body that answers a question. Raises Unreadable when nobody recorded it and it is none of ours."""
        self.asked.add(question)
        if question not in self._bodies:
            body = self._case.ours(question, params or {})
            if body is None:
                raise Unreadable(f"nobody recorded the answer to {question}")
            self.given[question] = body
            self._bodies[question] = self._body(question, body)
        return self._bodies[question]


@dataclass(frozen=True)
class Outcome:
    """What a check made of a world. ``subjects`` holds state and reason by name, empty where all was refused."""

    subjects: dict[str, tuple[State, str]]
    refused: str = ""  # why there is no population
    crashed: str = ""
    given: World = field(default_factory=dict)
    asked: frozenset[str] = frozenset()
    read: dict[str, set[Path_]] = field(default_factory=dict)  # by subject, with what was read for all of them
    defaults: Counter[str] = field(default_factory=Counter)  # members whose absence was given its documented meaning

    @property
    def satisfied(self) -> set[str]:
        return {name for name, (state, _) in self.subjects.items() if state is State.SATISFIED}


class _Here(ThreadPoolExecutor):
    """Observes one subject after the other, in this thread."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **_: Any) -> Iterator[Any]:
        yield from map(fn, *iterables)


def outcome(check: AnyCheck, case: Case, now: datetime, world: World | None = None, *, watch: bool = False) -> Outcome:
    """Runs a check as the engine does, over one world."""
    answers = Answers(case, case.world if world is None else world, watch=watch)
    by_subject: dict[str, set[Path_]] = {}
    listing: set[Path_] = set()
    last: list[str] = []

    def turn(name: str) -> None:
        if last:
            by_subject[last[0]] = set(answers.read)
        else:
            listing.update(answers.read)
        answers.read.clear()
        last[:] = [name]

    def observe(handle: Any, subject: Any) -> Any:
        turn(check.name(subject))
        return check.observe(handle, subject)

    with _Here() as pool, defaults() as counted:
        watched = replace(check, observe=observe)
        found = run(Task(watched, case.scope, case.open(answers, now), check.limits), lambda: NOW, pool)
        turn("")
    if found.failure == "crashed":
        return Outcome({}, crashed=found.reason)
    return Outcome(
        {each.subject: (each.verdict.state, each.verdict.reason) for each in found.observations},
        refused=found.reason if found.population is None else "",
        given=answers.given,
        asked=frozenset(answers.asked),
        read={name: places | listing for name, places in (by_subject or {"": set[Path_]()}).items()},
        defaults=counted,
    )


# --- documented defaults ---

_counted: Counter[str] = Counter()
_absent_means = collector.check.absent_means


def _noted(answer: Mapping[str, Any], path: str, default: Any, *, because: str) -> Any:
    value: Any = answer
    for part in path.split("."):
        if not isinstance(value, Mapping):
            break
        if value.get(part) is None:
            _counted[part] += 1
            break
        value = value[part]
    return _absent_means(answer, path, default, because=because)


@contextmanager
def defaults() -> Iterator[Counter[str]]:
    """Counts the members that ``absent_means`` gave a meaning to inside, by the name of what was absent."""
    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith(("checks.", "collector.")) and getattr(module, "absent_means", None) is _absent_means
    ]
    own: Counter[str] = Counter()
    _counted.clear()
    for module in modules:
        module.absent_means = _noted  # type: ignore[attr-defined]
    try:
        yield own
    finally:
        own.update(_counted)
        for module in modules:
            module.absent_means = _absent_means  # type: ignore[attr-defined]


# --- worlds with a member gone ---


def without(value: Any, place: Path_) -> Any:
    """A copy without the member at a place. What lies beside the way is shared."""
    first, rest = place[0], place[1:]
    if isinstance(value, list):
        assert isinstance(first, int)
        return [*value[:first], without(value[first], rest), *value[first + 1 :]]
    if rest:
        return {**value, first: without(value[first], rest)}
    return {name: member for name, member in value.items() if name != first}


def at(value: Any, place: Path_) -> Any:
    for part in place:
        value = value[part]
    return value


def members(value: Any, place: Path_ = (), depth: int = 5) -> Iterator[Path_]:
    """The places of all members of a body, lists not counted, to a depth."""
    if isinstance(value, dict) and depth:
        for name, member in value.items():
            yield (*place, name)
            yield from members(member, (*place, name), depth - 1)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from members(member, (*place, index), depth)


def won_by_absence(check: AnyCheck, case: Case, now: datetime, before: Outcome, *, every: bool) -> Iterator[str]:
    """Every way in which a subject is satisfied although a member that the check reads is gone, in words.

    Takes each member away that was looked up; with ``every`` each other one to a depth of five too, which may not make
    anybody satisfied. Where the check gave the absence a meaning that the provider documents, nothing is said.
    """
    read = set().union(*before.read.values()) if before.read else set()
    places = {place for place in read if at(before.given, place) is not None}  # null says as little as nothing
    if every:
        places |= {(question, *place) for question, body in case.world.items() for place in members(body)}
    for place in sorted(places, key=str):
        after = outcome(check, case, now, without(before.given, place))
        if after.crashed:
            yield f"{case.source}: without {show(place)} {after.crashed}"
            continue
        name = str(place[-1])
        if after.defaults[name] > before.defaults[name]:
            continue
        for subject in sorted(after.satisfied):
            if subject not in before.satisfied or place in before.read.get(subject, ()):
                was = before.subjects.get(subject, ("not there", ""))[0]
                yield f"{case.source}: {subject} was {was}, and is satisfied without {show(place)}"


def show(place: Path_) -> str:
    return f"{'.'.join(map(str, place[1:]))} of {place[0]}"


# --- what is recorded ---


def digest(value: Any) -> str:
    return canonical.digest(canonical.payload(value))


def times(value: Any) -> list[datetime]:
    """Every time that stands in a body, in order."""
    found = []
    for text in TIME.findall(canonical.payload(value).decode()):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            continue
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
        if 2010 <= moment.year <= NOW.year:
            found.append(moment)
    return sorted(found)


def clocks(case: Case) -> list[datetime]:
    """The reference times of a case: today, and the day it was recorded as far as its times tell."""
    found = times(case.world)
    return [NOW, *found[:1], *(found[-1:] if found[-1:] != found[:1] else [])]
