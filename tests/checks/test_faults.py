"""Promise 1 over the whole registry: no answer that failed, was cut short or was not understood becomes a verdict.

Each check is run once against the simulated cloud while its answers are recorded. Then every question it asked gets, in
turn, every kind of bad answer; every member that it read is taken away; every enum value that it read becomes a word
that nobody knows. A new check is in this matrix as soon as it is in the registry.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest

import checks
from collector import canonical, registry
from collector.check import AnyCheck
from collector.clouds.aws import Account, Clients, Edge, credentials_for
from collector.clouds.aws_models import paging
from collector.clouds.transcript import Answer, Transcript
from collector.collect import Task, collect
from collector.demo.cloud import SimulatedCloud
from collector.model import CheckRun, Scope, State

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
REGION = "us-east-1"
REGISTRY = registry.load([checks])
IDS = [item.check.id for item in REGISTRY]

Put = Callable[..., Answer]
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Asked:
    """One question that a check put to the cloud."""

    service: str
    operation: str
    region: str
    params: bytes


class Recorder:
    """Every answer that the simulated cloud gave, by question."""

    def __init__(self, put: Put) -> None:
        self._put = put
        self.answers: dict[Asked, Answer] = {}

    def __call__(self, service: str, operation: str, region: str, params: dict[str, Any]) -> Answer:
        key = Asked(service, operation, region, canonical.payload(dict(params)))
        if key not in self.answers:
            self.answers[key] = self._put(service, operation, region, params)
        return self.answers[key]


class Playback:
    """The recorded answers again, with one of them replaced."""

    def __init__(self, answers: dict[Asked, Answer], at: Asked | None = None, instead: Answer | None = None) -> None:
        self.answers = answers
        self.at = at
        self.instead = instead
        self.asked: list[Asked] = []
        self.reads: dict[Asked, set[tuple[Path, str]]] = {}

    def __call__(self, service: str, operation: str, region: str, params: dict[str, Any]) -> Answer:
        key = Asked(service, operation, region, canonical.payload(dict(params)))
        self.asked.append(key)
        if key == self.at and self.instead is not None:
            return self.instead
        answer = self.answers.get(key)
        if answer is None:  # only a page that a fault invented leads to a question nobody recorded
            return failed("unavailable", "InternalFailure", 500)
        seen = self.reads.setdefault(key, set())
        return replace(answer, body=watched(answer.body, (), seen))


class Watched(dict[str, Any]):
    """A mapping that notes which of its members were read, and by which kind of reader."""

    def __init__(self, values: dict[str, Any], path: Path, seen: set[tuple[Path, str]]) -> None:
        super().__init__({key: watched(value, (*path, key), seen) for key, value in values.items()})
        self._path = path
        self._seen = seen

    def _note(self, key: str) -> None:
        reader = sys._getframe(2).f_code.co_name
        if reader != "payload":
            self._seen.add(((*self._path, key), reader))

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._note(key)
        return super().get(key, default)


def watched(value: Any, path: Path, seen: set[tuple[Path, str]]) -> Any:
    if isinstance(value, dict):
        return Watched(value, path, seen)
    if isinstance(value, list):
        return [watched(member, (*path, index), seen) for index, member in enumerate(value)]
    return value


def failed(failure: str, error: str, status: int) -> Answer:
    body = {"Error": {"Code": error, "Message": "injected"}}
    return Answer(body=body, started=NOW, duration_ms=1, status=status, failure=failure, error=error)


FAULTS: dict[str, Callable[[Answer], Answer]] = {
    "denied": lambda _: failed("denied", "AccessDenied", 403),
    "throttled": lambda _: failed("throttled", "ThrottlingException", 400),
    "server-error": lambda _: failed("unavailable", "InternalFailure", 500),
    "timeout": lambda _: failed("unavailable", "ReadTimeoutError", 0),
    "malformed": lambda _: failed("unreadable", "ResponseParserError", 200),
    "empty-body": lambda answer: replace(answer, body={}, token=None, status=200, error="", failure=""),
    "lost-page": lambda answer: replace(answer, token={"NextToken": "a page that never comes"}),
}


def run_with(check: AnyCheck, put: Put) -> CheckRun:
    account = Account("123456789012", Transcript(), NOW, put, sleep=lambda _: None)
    scope = Scope("aws", account.account, REGION if check.parted else "")
    (found,) = collect([Task(check, scope, account)], lambda: NOW)
    return found


@pytest.fixture(scope="session")
def recorded(simulated_cloud: SimulatedCloud) -> dict[Asked, Answer]:
    """The answers to every question of every check, asked of the simulated cloud by the real edge."""
    edge = Edge(Clients(), simulated_cloud.account, credentials_for(session_name="tests"), lambda: NOW)
    recorder = Recorder(edge.put)
    for item in REGISTRY:
        run_with(item.check, recorder)
    return recorder.answers


@pytest.fixture(scope="session")
def baselines(recorded: dict[Asked, Answer]) -> dict[str, tuple[CheckRun, Playback]]:
    found: dict[str, tuple[CheckRun, Playback]] = {}
    for item in REGISTRY:
        playback = Playback(recorded)
        found[item.check.id] = (run_with(item.check, playback), playback)
    return found


def states(run: CheckRun) -> dict[str, State]:
    return {o.subject: o.verdict.state for o in run.observations}


def can_page(asked: Asked) -> bool:
    return paging(asked.service, asked.operation) is not None


def representatives(playback: Playback) -> list[Asked]:
    """One question of each operation: the listing, and one of the questions about single subjects."""
    first: dict[tuple[str, str], Asked] = {}
    for asked in playback.asked:
        first.setdefault((asked.service, asked.operation), asked)
    return list(first.values())


def assert_nothing_invented(before: CheckRun, after: CheckRun, what: str) -> None:
    """No subject is lost, and none has another verdict than before except "undetermined"."""
    if after.population is None:
        assert after.failure != "crashed", f"{what}: the check crashed: {after.reason}"
        return
    was, now = states(before), states(after)
    assert was.keys() <= now.keys(), f"{what}: {sorted(was.keys() - now.keys())} vanished from the population"
    for subject, state in now.items():
        assert state in (was.get(subject), State.UNDETERMINED), f"{what}: {subject} became {state}"


def blind(run: CheckRun) -> bool:
    return run.population is None or State.UNDETERMINED in states(run).values()


@pytest.mark.parametrize("id", IDS)
def test_the_simulated_cloud_shows_the_check_something(id: str, baselines: Any) -> None:
    run, _ = baselines[id]
    assert run.population, f"{id}: {run.reason or 'the simulated cloud has no subject for it'}"
    assert State.UNDETERMINED not in states(run).values(), [o for o in run.observations if o.facts is None]
    assert State.SATISFIED in states(run).values() or State.NOT_SATISFIED in states(run).values()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("id", IDS)
def test_no_bad_answer_becomes_a_verdict(id: str, fault: str, recorded: Any, baselines: Any) -> None:
    before, playback = baselines[id]
    for asked in representatives(playback):
        if fault == "lost-page" and not can_page(asked):
            continue
        bad = Playback(recorded, asked, FAULTS[fault](recorded[asked]))
        after = run_with(REGISTRY[id].check, bad)
        what = f"{id}: {fault} {asked.service}.{asked.operation}"
        assert_nothing_invented(before, after, what)
        assert blind(after), f"{what}: nobody was told"


def without(body: Any, path: Path) -> Any:
    copied = copy.deepcopy(body)
    holder = copied
    for part in path[:-1]:
        holder = holder[part]
    del holder[path[-1]]
    return copied


def with_value(body: Any, path: Path, value: Any) -> Any:
    copied = copy.deepcopy(body)
    holder = copied
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    return copied


def at(body: Any, path: Path) -> Any:
    for part in path:
        if isinstance(body, dict) and part not in body:
            return None
        body = body[part]
    return body


def shape_at(asked: Asked, path: Path) -> Any:
    service = _models().get_service_model(asked.service)
    name = next(n for n in service.operation_names if botocore.xform_name(n) == asked.operation)
    shape: Any = service.operation_model(name).output_shape
    for part in path:
        if shape is None or shape.type_name not in ("structure", "list", "map"):
            return None
        shape = (
            shape.member
            if shape.type_name == "list"
            else (shape.value if shape.type_name == "map" else shape.members.get(part))
        )
    return shape


_SESSION: list[Any] = []


def _models() -> Any:
    if not _SESSION:
        _SESSION.append(botocore.session.Session())
    return _SESSION[0]


def general(path: Path) -> tuple[str, ...]:
    return tuple("*" if isinstance(part, int) else part for part in path)


def members_read(playback: Playback, recorded: dict[Asked, Answer]) -> Iterator[tuple[Asked, Path, str]]:
    """One place of each member that the check read and that was there, with the reader's name."""
    done: set[tuple[str, str, tuple[str, ...]]] = set()
    for asked, seen in playback.reads.items():
        for path, reader in sorted(seen, key=str):
            place = (asked.service, asked.operation, general(path))
            if place not in done and at(recorded[asked].body, path) is not None:
                done.add(place)
                yield asked, path, reader


@pytest.mark.parametrize("id", IDS)
def test_a_member_that_is_missing_is_no_answer(id: str, recorded: Any, baselines: Any) -> None:
    before, playback = baselines[id]
    defaults = {
        (asked.service, asked.operation, general(path))
        for asked, seen in playback.reads.items()
        for path, reader in seen
        if reader == "absent_means"
    }
    tried = 0
    for asked, path, _ in members_read(playback, recorded):
        if (asked.service, asked.operation, general(path)) in defaults:
            continue  # the check cites what the provider's reference says of its absence
        answer = replace(recorded[asked], body=without(recorded[asked].body, path))
        after = run_with(REGISTRY[id].check, Playback(recorded, asked, answer))
        what = f"{id}: {asked.service}.{asked.operation} without {'.'.join(map(str, path))}"
        assert_nothing_invented(before, after, what)
        assert blind(after), f"{what}: nobody was told; use field(), or absent_means() with its citation"
        tried += 1
    assert tried or defaults, f"{id} reads nothing"


@pytest.mark.parametrize("id", IDS)
def test_a_word_that_nobody_knows_is_no_answer(id: str, recorded: Any, baselines: Any) -> None:
    before, playback = baselines[id]
    for asked, path, _ in members_read(playback, recorded):
        shape = shape_at(asked, path)
        if shape is None or shape.type_name != "string" or not getattr(shape, "enum", None):
            continue
        answer = replace(recorded[asked], body=with_value(recorded[asked].body, path, "WORD_OF_2031"))
        after = run_with(REGISTRY[id].check, Playback(recorded, asked, answer))
        what = f"{id}: {asked.service}.{asked.operation} {'.'.join(map(str, path))} is a new word"
        assert_nothing_invented(before, after, what)
        assert blind(after), f"{what}: nobody was told; use one_of()"
