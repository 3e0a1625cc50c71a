"""Finds every check there is and refuses to start on one that breaks the contract. Runs none of them."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from collector import canonical
from collector.check import AnyCheck, Check, Example, LimitedCheck, doc_of, module_of, section_of, title_of
from collector.collect import facts_record
from collector.criteria import CRITERIA
from collector.errors import BadCheck
from collector.model import ACCOUNT_WORDS, PART_WORDS, State

ENTRY_POINTS = "collector.checks"
ID = re.compile(r"(aws|azure|gcp)-[a-z0-9]+(-[a-z0-9]+)+")
PERMISSION = re.compile(r"[A-Za-z0-9.-]+[:/][A-Za-z0-9.*/:-]+|[a-z]+(\.[A-Za-z]+){2}")  # the last is GCP's


@dataclass(frozen=True)
class Registered:
    """A check with where it came from and the bytes that it is."""

    check: AnyCheck
    origin: str  # "checks", "entry-point:NAME" or the folder
    source: bytes

    @property
    def code(self) -> str:
        """SHA-256 of the check's source file: what a run entry and an auditor compare."""
        return canonical.digest(self.source)


class Registry:
    """All checks by id."""

    def __init__(self, found: Iterable[Registered]) -> None:
        self._by_id: dict[str, Registered] = {}
        for item in found:
            other = self._by_id.setdefault(item.check.id, item)
            if other is not item:
                raise BadCheck(f"{item.check.id} stands in {other.origin} and in {item.origin}; ids are never shared")

    def __iter__(self) -> Iterator[Registered]:
        return iter(self._by_id[key] for key in sorted(self._by_id))

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, id: object) -> bool:
        return id in self._by_id

    def __getitem__(self, id: str) -> Registered:
        return self._by_id[id]

    def get(self, id: str) -> Registered | None:
        return self._by_id.get(id)


def load(
    packages: Sequence[ModuleType], entry_point_names: Sequence[str] = (), folders: Sequence[Path] = ()
) -> Registry:
    """Every check of the packages, of the named entry points and of the folders. Raises BadCheck with one sentence.

    Entry points and folders are opt-in by name: a check is code that runs with cloud credentials.
    """
    found: list[Registered] = []
    for package in packages:
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not info.ispkg:
                found.append(_registered(importlib.import_module(info.name), package.__name__))
    for name in entry_point_names:
        matches = list(entry_points(group=ENTRY_POINTS, name=name))
        if not matches:
            raise BadCheck(f"no installed distribution offers an entry point {name!r} in the group {ENTRY_POINTS}")
        for point in matches:
            module = point.load()
            if not isinstance(module, ModuleType):
                raise BadCheck(f"entry point {name}: names {module!r}, not a module that ends in CHECK")
            found.append(_registered(module, f"entry-point:{name}"))
    for folder in folders:
        if not folder.is_dir():
            raise BadCheck(f"{folder}: the configuration names this folder of checks and it is not there")
        found += [_registered(_from_file(path), str(folder)) for path in sorted(folder.glob("*.py"))]
    return Registry(found)


def _from_file(path: Path) -> ModuleType:
    name = f"collector_folder_checks.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadCheck(f"{path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadCheck(f"{path}: {type(error).__name__}: {error}") from error
    return module


def _registered(module: ModuleType, origin: str) -> Registered:
    check = getattr(module, "CHECK", None)
    if not isinstance(check, Check | LimitedCheck):
        raise BadCheck(f"{module.__name__}: a check module ends in CHECK = Check(...)")
    if module_of(check) != module.__name__:
        raise BadCheck(f"{module.__name__}: population must be defined in the check's own file")
    for complaint in complaints(check):
        raise BadCheck(f"{check.id}: {complaint}")
    return Registered(check, origin, Path(inspect.getfile(module)).read_bytes())


def complaints(check: AnyCheck) -> Iterator[str]:
    """Everything that is wrong with a check, one sentence each; nothing when it keeps the contract."""
    if not ID.fullmatch(check.id):
        yield "an id is the cloud and lower-case words joined by hyphens: aws-iam-user-mfa"
    elif check.per not in (words := (ACCOUNT_WORDS[check.cloud], PART_WORDS[check.cloud])):
        yield f"per is {check.per!r}; it runs once for each {' or '.join(words)}"
    title = title_of(check)
    if not title.endswith(".") or len(title) > 100:
        yield "the docstring begins with one sentence of at most 100 characters that says what is true when all is well"
    for heading in ("Why", "Remedy"):
        if not section_of(check, heading):
            yield f"the docstring has no {heading}: paragraph"
    if "\n\nWhy: " not in doc_of(check):
        yield "an empty line stands between the title and Why:"
    for criterion in check.criteria:
        if criterion not in CRITERIA:
            yield f"{criterion} is no Trust Services Criterion"
    if not check.criteria:
        yield "it names no criterion"
    if not check.permissions:
        yield "it declares no permission, yet it asks something"
    for permission in check.permissions:
        if not PERMISSION.fullmatch(permission):
            yield f"{permission!r} is not written as a permission"
    yield from _example_complaints(check)


def _example_complaints(check: AnyCheck) -> Iterator[str]:
    expected = {example.expect for example in check.examples}
    if missing := {State.SATISFIED, State.NOT_SATISFIED} - expected:
        yield f"it has no example that is {' and none that is '.join(sorted(missing))}"
    for example in check.examples:
        yield from _complaint_of(check, example)


def _complaint_of(check: AnyCheck, example: Example[object]) -> Iterator[str]:
    facts = example.facts
    if not is_dataclass(facts) or not getattr(facts, "__dataclass_params__").frozen:  # noqa: B009
        yield f"facts are a frozen dataclass, not {type(facts).__name__}"
        return
    try:
        canonical.record(facts_record(facts))
        verdict = check.judge(facts)
    except Exception as error:
        yield f"the example {facts} fails with {type(error).__name__}: {error}"
        return
    if verdict.state is not example.expect:
        yield f"the example {facts} should be {example.expect} and is {verdict.state}"
