"""Promise 1 over the whole registry: no answer that failed, was cut short or was not understood becomes a verdict.

Each check is run once against the simulated clouds while its answers are recorded. Then every question it asked gets,
in turn, every kind of bad answer; every member that it read is taken away; every word that it read becomes one that
nobody knows. A new check is in this matrix as soon as it is in the registry.
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
from collector import registry
from collector.check import AnyCheck, Stage
from collector.clouds import directory
from collector.clouds.aws_models import paging
from collector.clouds.directory import Directory, Limits
from collector.clouds.transcript import Answer, Kept, Question, Transcript
from collector.collect import Task, collect
from collector.config import AwsAccount, AzureTenant, GoogleOrganization
from collector.demo import cloud as simulated
from collector.demo.cloud import SimulatedCloud
from collector.model import CheckRun, State

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ACCOUNTS: dict[str, Any] = {
    "aws": AwsAccount(account=simulated.ACCOUNT),
    "azure": AzureTenant(tenant=simulated.TENANT),
    "gcp": GoogleOrganization(parent=simulated.ORGANIZATION, workspace_admin=simulated.WORKSPACE_ADMIN),
}
PARTS = {"aws": simulated.REGIONS[:1], "azure": simulated.SUBSCRIPTIONS, "gcp": simulated.PROJECTS}
REGISTRY = registry.load([checks])
SIMULATED = ("aws", "azure", "gcp")  # a check of another cloud stays in preview until it can be shown something
# Who cites what an absence means: besides ``absent_means`` the handle of Google, whose JSON leaves an empty list out.
CITING = ("absent_means", "_list")
# A project of no organization has no parent, and is then none of those that are observed; a machine without an agent
# has no inventory.
OPTIONAL = {("projects", "*", "parent"), ("assets", "*", "osInventory")}
# Where ``{}`` is how an API says that there is none: it may make a verdict worse.
EMPTY_IS_AN_ANSWER = ("osconfig.googleapis.com",)
# Texts that are names: another one is of something else, not a word that nobody knows.
NAMES = {
    *(("aws-iam-admin-hardware-mfa", name) for name in ("Action", "Resource")),
    *(("gcp-orgunit-2sv-enforcement", name) for name in ("orgUnit", "type")),
}
TEXTLESS = ("aws-ebs-default-encryption",)  # reads nothing but yes and no
IDS = [item.check.id for item in REGISTRY if item.check.cloud in SIMULATED]

Path = tuple[str | int, ...]


class Recorder(Transcript):
    """Asks the simulated clouds, and keeps every question with its answer beyond the run."""

    def __init__(self, answers: dict[str, tuple[Question, Answer]]) -> None:
        super().__init__()
        self.answers = answers

    def ask(self, question: Question, put: Callable[[Question], Answer], *, read: bool = True) -> Kept:
        def recorded(asked: Question) -> Answer:
            if asked.id not in self.answers:
                self.answers[asked.id] = asked, put(asked)
            return self.answers[asked.id][1]

        return super().ask(question, recorded, read=read)


class Playback(Transcript):
    """The recorded answers again, with one of them replaced."""

    def __init__(
        self,
        answers: dict[str, tuple[Question, Answer]],
        at: str = "",
        instead: Answer | None = None,
        watch: bool = False,
    ) -> None:
        super().__init__()
        self.answers = answers
        self.at = at
        self.instead = instead
        self.watch = watch
        self.asked: dict[str, Question] = {}
        self.reads: dict[str, set[tuple[Path, str]]] = {}

    def ask(self, question: Question, put: Callable[[Question], Answer], *, read: bool = True) -> Kept:
        def played(asked: Question) -> Answer:
            if asked.id == self.at and self.instead is not None:
                return self.instead
            if asked.id not in self.answers:  # only a page that a fault invented leads to a question nobody recorded
                return failed("unavailable", "InternalFailure", 500)
            return self.answers[asked.id][1]

        self.asked.setdefault(question.id, question)
        kept = super().ask(question, played, read=read)
        if not self.watch:
            return kept
        seen = self.reads.setdefault(question.id, set())
        return Kept(kept.exchange, kept.token, lambda _: watched(kept.load(kept.exchange.body), (), seen))


class Watched(dict[str, Any]):
    """A mapping that notes which of its members were read, and by which kind of reader."""

    def __init__(self, values: dict[str, Any], path: Path, seen: set[tuple[Path, str]]) -> None:
        super().__init__({key: watched(value, (*path, key), seen) for key, value in values.items()})
        self._path = path
        self._seen = seen

    def _note(self, key: str) -> None:
        self._seen.add(((*self._path, key), sys._getframe(2).f_code.co_name))

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
    "disabled": lambda _: failed("disabled", "SERVICE_DISABLED", 403),
    "malformed": lambda _: failed("unreadable", "ResponseParserError", 200),
    "empty-body": lambda answer: replace(answer, body={}, token=None, status=200, error="", failure=""),
    "lost-page": lambda answer: replace(answer, token=LOST),
}
LOST: Any = {"NextToken": "a page that never comes"}


@dataclass(frozen=True)
class Baseline:
    """A check's run over what was recorded, the part that it was run over, and what it asked and read."""

    run: CheckRun
    part: str
    playback: Playback


def run_with(check: AnyCheck, handle: Any, part: str) -> CheckRun:
    scope = replace(ACCOUNTS[check.cloud].scope, part=part)
    (found,) = collect([Task(check, scope, handle.within(part) if part else handle)], lambda: NOW)
    return found


def replay(check: AnyCheck, playback: Playback, part: str) -> CheckRun:
    settings = ACCOUNTS[check.cloud]
    return run_with(check, directory.kept(settings.scope, playback, NOW, settings.record()), part)


@pytest.fixture(scope="session")
def recorded(simulated_cloud: SimulatedCloud) -> dict[str, tuple[Question, Answer]]:
    """The answers to every question of every check, asked of the simulated clouds by the real edges."""
    answers: dict[str, tuple[Question, Answer]] = {}
    clouds = Directory(lambda: NOW, Limits())
    for id in IDS:
        check = REGISTRY[id].check
        for part in PARTS[check.cloud] if check.parted else ("",):
            run_with(check, clouds.open(ACCOUNTS[check.cloud], Recorder(answers), NOW), part)
    return answers


@pytest.fixture(scope="session")
def baselines(recorded: Any) -> dict[str, Baseline]:
    """One run of each check, over the first part that has subjects for it."""
    found: dict[str, Baseline] = {}
    for id in IDS:
        check = REGISTRY[id].check
        for part in PARTS[check.cloud] if check.parted else ("",):
            playback = Playback(recorded, watch=True)
            found[check.id] = Baseline(replay(check, playback, part), part, playback)
            if found[check.id].run.population:
                break
    return found


def states(run: CheckRun) -> dict[str, State]:
    return {o.subject: o.verdict.state for o in run.observations}


def can_page(question: Question) -> bool:
    if question.cloud != "aws":
        return True
    service, operation = question.operation.split(":")
    return paging(*boto(service, operation)) is not None


def boto(service: str, operation: str) -> tuple[str, str]:
    return service, botocore.xform_name(operation)


def representatives(playback: Playback) -> list[Question]:
    """One question of each operation: the listing, and one of the questions about single subjects."""
    first: dict[str, Question] = {}
    for question in playback.asked.values():
        first.setdefault(kind_of(question), question)
    return list(first.values())


def kind_of(question: Question) -> str:
    """What an operation is, whatever subject it is asked about."""
    if question.cloud == "aws":
        return question.operation
    words = [
        "*" if any(char.isdigit() for char in word) or "@" in word else word for word in question.operation.split("/")
    ]
    return " ".join([question.endpoint, "/".join(words), repr(sorted(question.params.items()))[:300]])


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
    run = baselines[id].run
    assert run.population, f"{id}: {run.reason or 'the simulated cloud has no subject for it'}"
    assert State.UNDETERMINED not in states(run).values(), [o for o in run.observations if o.facts is None]
    assert State.SATISFIED in states(run).values() or State.NOT_SATISFIED in states(run).values()


@pytest.mark.parametrize("item", list(REGISTRY), ids=lambda item: item.check.id)
def test_what_the_matrix_does_not_cover_is_not_counted(item: Any) -> None:
    assert item.check.id in IDS or item.check.stage is Stage.PREVIEW


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("id", IDS)
def test_no_bad_answer_becomes_a_verdict(id: str, fault: str, recorded: Any, baselines: Any) -> None:
    baseline, check = baselines[id], REGISTRY[id].check
    for question in representatives(baseline.playback):
        if fault == "lost-page" and not can_page(question):
            continue
        bad = Playback(recorded, question.id, FAULTS[fault](recorded[question.id][1]))
        after = replay(check, bad, baseline.part)
        what = f"{id}: {fault} {question.endpoint} {question.operation}"
        if fault == "empty-body" and question.endpoint in EMPTY_IS_AN_ANSWER:
            assert State.SATISFIED not in states(after).values(), what
            continue
        assert_nothing_invented(baseline.run, after, what)
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


def shape_at(question: Question, path: Path) -> Any:
    """What the AWS model says of a member; None for the other clouds, which are tried word by word below."""
    if question.cloud != "aws":
        return None
    service, operation = question.operation.split(":")
    shape: Any = _models().get_service_model(service).operation_model(operation).output_shape
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


def members_read(baseline: Baseline, recorded: Any) -> Iterator[tuple[Question, Path, str]]:
    """One place of each member that the check read and that was there, with the reader's name."""
    done: set[tuple[str, tuple[str, ...]]] = set()
    for id, seen in baseline.playback.reads.items():
        question = baseline.playback.asked[id]
        for path, reader in sorted(seen, key=str):
            place = (kind_of(question), general(path))
            if place not in done and at(recorded[id][1].body, path) is not None:
                done.add(place)
                yield question, path, reader


@pytest.mark.parametrize("id", IDS)
def test_a_member_that_is_missing_is_no_answer(id: str, recorded: Any, baselines: Any) -> None:
    baseline, check = baselines[id], REGISTRY[id].check
    defaults = {
        (kind_of(baseline.playback.asked[asked]), general(path))
        for asked, seen in baseline.playback.reads.items()
        for path, reader in seen
        if reader in CITING
    }
    tried = 0
    for question, path, _ in members_read(baseline, recorded):
        if (kind_of(question), general(path)) in defaults or general(path) in OPTIONAL:
            continue  # the check cites what the provider's reference says of its absence
        answer = recorded[question.id][1]
        answer = replace(answer, body=without(answer.body, path))
        after = replay(check, Playback(recorded, question.id, answer), baseline.part)
        what = f"{id}: {question.operation} without {'.'.join(map(str, path))}"
        assert_nothing_invented(baseline.run, after, what)
        assert blind(after), f"{what}: nobody was told; use field(), or absent_means() with its citation"
        tried += 1
    assert tried or defaults, f"{id} reads nothing"


@pytest.mark.parametrize("id", [id for id in IDS if id.startswith("aws-")])
def test_a_word_that_nobody_knows_is_no_answer(id: str, recorded: Any, baselines: Any) -> None:
    baseline, check = baselines[id], REGISTRY[id].check
    for question, path, _ in members_read(baseline, recorded):
        shape = shape_at(question, path)
        if shape is None or shape.type_name != "string" or not getattr(shape, "enum", None):
            continue
        answer = recorded[question.id][1]
        answer = replace(answer, body=with_value(answer.body, path, "WORD_OF_2031"))
        after = replay(check, Playback(recorded, question.id, answer), baseline.part)
        what = f"{id}: {question.operation} {'.'.join(map(str, path))} is a new word"
        assert_nothing_invented(baseline.run, after, what)
        assert blind(after), f"{what}: nobody was told; use one_of()"


@pytest.mark.parametrize("id", IDS)
def test_no_text_that_nobody_knows_makes_anything_better(id: str, recorded: Any, baselines: Any) -> None:
    """A model tells an enum from a name for AWS alone, so every text is tried, whatever it is."""
    baseline, check = baselines[id], REGISTRY[id].check
    was = states(baseline.run)
    tried = 0
    for question, path, _ in members_read(baseline, recorded):
        answer = recorded[question.id][1]
        if not isinstance(at(answer.body, path), str) or (id, path[-1]) in NAMES:
            continue
        answer = replace(answer, body=with_value(answer.body, path, "WORD_OF_2031"))
        after = replay(check, Playback(recorded, question.id, answer), baseline.part)
        what = f"{id}: {question.operation} {'.'.join(map(str, path))} is a new word"
        assert after.failure != "crashed", f"{what}: {after.reason}"
        for subject, state in states(after).items():
            if subject in was and state is not was[subject]:
                assert state in (State.UNDETERMINED, State.NOT_SATISFIED), f"{what}: {subject} became {state}"
        tried += 1
    assert tried or id in TEXTLESS, f"{id} reads no text"
