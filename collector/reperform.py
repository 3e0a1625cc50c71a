"""Judges kept answers again, offline: same answers, same check, same verdicts, or it says where they differ.

The stand-alone verifier loads this module when the collector is installed beside it. Nothing here asks a cloud: a
question that the run never asked is an error. A check's source in a package is not run unless the caller says so.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from collector import canonical, collect, registry
from collector.check import limits_with
from collector.clouds import directory
from collector.clouds.transcript import Transcript
from collector.errors import BadCheck, CannotObserve, ConfigError, NeverAsked
from collector.ledger.entry import as_run, observations_blob, population_digest
from collector.model import CheckRun, Scope
from collector.registry import Registered, Registry

NOT_OPENED = "the account could not be opened: "

Body = Callable[[str], bytes]
Source = Callable[[str], bytes | None]


@dataclass(frozen=True)
class Mismatch:
    """A run that was not shown to give the same verdicts again.

    ``differs``: it was judged again and came out otherwise. If not, it could not be judged again; ``what`` says why.
    """

    seq: int
    check: str
    scope: str
    differs: bool
    what: str


def installed() -> Registry:
    """The checks that are installed here."""
    return registry.load([importlib.import_module("checks")])


def reperform(
    call_log: bytes,
    body: Body,
    run_entries: Sequence[Mapping[str, Any]],
    known: Registry,
    packaged_source: Source,
    *,
    run_packaged_checks: bool = False,
) -> list[Mismatch]:
    """Judges the runs that share one call log again. Returns those that differ and those that could not be judged.

    ``body`` gives the bytes behind a digest: answers, observations, configuration. ``packaged_source`` gives the source
    of a check by its digest, None when there is none; it is only run, and that is running a stranger's code, when
    ``run_packaged_checks`` says so and the check that is installed here is another.
    """
    found: list[Mismatch] = []
    try:
        transcript = Transcript.kept(call_log, body)
    except ValueError as error:
        return [_differs(entry, f"its call log cannot be read: {error}") for entry in run_entries]
    with ThreadPoolExecutor(1, thread_name_prefix="reperform") as threads:
        for entry in run_entries:
            problem = _one(entry, transcript, body, known, packaged_source, run_packaged_checks, threads)
            if problem is not None:
                found.append(problem)
    return found


def _differs(entry: Mapping[str, Any], what: str) -> Mismatch:
    return Mismatch(entry["seq"], entry["check"], entry["scope"], True, what)


def _could_not(entry: Mapping[str, Any], what: str) -> Mismatch:
    return Mismatch(entry["seq"], entry["check"], entry["scope"], False, what)


def _one(
    entry: Mapping[str, Any],
    transcript: Transcript,
    body: Body,
    known: Registry,
    packaged_source: Source,
    run_packaged_checks: bool,
    threads: ThreadPoolExecutor,
) -> Mismatch | None:
    reference = canonical.moment(entry["reference"])
    only = None
    if entry["kind"] == "spot":
        only = frozenset(entry["subjects"])
        kept = canonical.parse(body(entry["observations"]))["subjects"] if entry["observations"] else []
        entry = as_run(entry, [item["subject"] for item in kept])
    try:
        handle = _handle(entry, transcript, reference, body)
    except ConfigError as error:
        return _could_not(entry, str(error))
    try:
        principal = handle.identity()
    except NeverAsked:
        return _could_not(entry, "the account could not be opened, and nobody answered: there is nothing to judge")
    except CannotObserve as error:
        return _compare_refusal(entry, error)
    if principal != entry["principal"]:
        return _differs(entry, f"it was asked as {principal}, not as {entry['principal']}")
    check = known.get(entry["check"])
    if check is None or check.code != entry["code"]:
        if not run_packaged_checks:
            return _could_not(entry, _other(entry, check))
        try:
            check = _packaged(entry["code"], packaged_source)
        except BadCheck as error:
            return _could_not(entry, f"the source of {entry['check']} in the package cannot be run: {error}")
        if check.check.id != entry["check"]:
            return _differs(entry, f"its code is that of {check.check.id}, not of {entry['check']}")
    try:
        limits = limits_with(check.check, entry["limits"])
    except ConfigError as error:
        return _differs(entry, f"its limits are not those of its check: {error}")
    scope = Scope.parse(entry["scope"])
    scoped = handle.within(scope.part) if scope.part else handle
    # When a run began does not enter its verdicts: ages are counted to the reference time.
    run = collect.run(collect.Task(check.check, scope, scoped, limits, only=only), lambda: reference, threads)
    return _compare(entry, run, body)


def _handle(entry: Mapping[str, Any], transcript: Transcript, reference: datetime, body: Body) -> Any:
    """The account as it was opened, with its sealed settings. Raises ConfigError for a cloud that is not known here."""
    account = Scope.parse(entry["account"])
    effective = canonical.parse(body(entry["config"])) if entry["config"] else {}
    found: Mapping[str, Any] = {}
    for settings in effective.get("settings", {}).get(account.cloud, ()):
        if account.account in (str(value).replace("/", "-") for value in settings.values()):
            found = settings
    return directory.kept(account, transcript, reference, found)


def _compare_refusal(entry: Mapping[str, Any], error: CannotObserve) -> Mismatch | None:
    """A run whose account refused us has no population, for the reason that the answer gives again."""
    wanted = (None, f"{NOT_OPENED}{error}", error.code)
    if (entry["population"], entry["reason"], entry["failure"]) == wanted:
        return None
    return _differs(entry, f"the account could not be opened ({error}), yet the run says something else")


def _other(entry: Mapping[str, Any], check: Registered | None) -> str:
    used = f"this package used version {entry['version']} of {entry['check']} (code {entry['code'][:12]})"
    here = "it is not installed" if check is None else f"installed is version {check.check.version} ({check.code[:12]})"
    return f"{used}, {here}; --run-packaged-checks runs the source in the package, which is code that you must trust"


_loaded: dict[str, Registered] = {}


def _packaged(code: str, packaged_source: Source) -> Registered:
    """The check whose source has this digest, loaded out of the package. Raises BadCheck."""
    if code not in _loaded:
        source = packaged_source(code)
        if source is None or canonical.digest(source) != code:
            raise BadCheck("it is not there")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / f"packaged_{code}.py").write_bytes(source)
            (_loaded[code],) = registry.load([], folders=[Path(folder)])
    return _loaded[code]


def _compare(entry: Mapping[str, Any], run: CheckRun, body: Body) -> Mismatch | None:
    if run.population is None:
        if (entry["population"], entry["reason"], entry["failure"]) == (None, run.reason, run.failure):
            return None
        if entry["failure"] == "crashed" and run.failure != "crashed":
            return _could_not(entry, f"the crash of {entry['check']} did not happen again: {run.reason}")
        return _differs(entry, f"judged again it has no population: {run.reason}; it says {_said(entry)}")
    if entry["failure"] == "crashed":
        return _could_not(entry, f"the crash of {entry['check']} did not happen again")
    if entry["population"] is None:
        return _differs(entry, f"judged again it has {run.population} subjects; it says {_said(entry)}")
    again = observations_blob(run)
    if canonical.digest(again) != entry["observations"]:
        return _differs(entry, _first_difference(body(entry["observations"]), again))
    subjects = population_digest(o.subject for o in run.observations)
    if (run.population, run.counts(), subjects) != (entry["population"], entry["states"], entry["subjects"]):
        return _differs(entry, f"its counts are {run.counts()}, it says {_said(entry)}")
    return None


def _said(entry: Mapping[str, Any]) -> str:
    return entry["reason"] or f"{entry['population']} subjects, {entry['states']}"


def _first_difference(kept: bytes, again: bytes) -> str:
    """The first subject that is judged otherwise, in words."""
    before = {item["subject"]: item for item in canonical.parse(kept)["subjects"]}
    after = {item["subject"]: item for item in canonical.parse(again)["subjects"]}
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            return f"{name} is not in the kept answers; the run says that it {before[name]['reason']}"
        if name not in before:
            return f"{name} is in the kept answers, and the run does not have it"
        for part in ("state", "reason", "facts", "exchanges"):
            if before[name][part] != after[name][part]:
                return f"{name}: {part} {before[name][part]!r}, judged again {after[name][part]!r}"
    return "its observations rest on other answers than those that it names"
