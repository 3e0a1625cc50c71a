"""Populations and samples of a window, out of the ledger or out of a package alone, with the same result.

Both give the same entries to the same functions. How a sample is drawn and what it says is in window/sample.py. A
package is believed as far as its hashes go; whether to believe it at all is asked of ``collector verify``.
"""

from __future__ import annotations

import base64
import binascii
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from collector import canonical
from collector.errors import ConfigError, ExportError, LedgerBroken
from collector.export.dossier import Dossier
from collector.export.read import plans_of
from collector.ledger.entry import Kind
from collector.ledger.store import Ledger
from collector.model import State
from collector.tomlfile import nearest
from collector.window import sample
from collector.window.sample import Chosen, Counted, Draw, Population
from collector.window.slots import Declared, Due, Ran, Slot, account_for, due

FILE = "sampling.json"
MANIFEST_BYTES_MAX = 4 << 20
FILE_BYTES_MAX = 1 << 30
ITEMS, SLOTS = "items", "slots"


@dataclass(frozen=True)
class Source:
    """A window's entries and blobs, wherever they lie. ``entries`` gives those of some kinds, in order."""

    window: str
    since: datetime
    until: datetime
    zone: ZoneInfo
    grace_s: int
    controls: Mapping[str, tuple[str, ...]]  # the checks of each
    scopes: tuple[str, ...]  # empty: all
    entries: Callable[[Collection[Kind]], Iterator[Mapping[str, Any]]]
    blob: Callable[[str], bytes]
    stated: Mapping[str, Any] = field(default_factory=dict)  # what a package's sampling.json says of each control

    def covers(self, scope: str) -> bool:
        return not self.scopes or any(scope == known or scope.startswith(f"{known}/") for known in self.scopes)

    def checks(self, control: str) -> frozenset[str]:
        """The checks of a control. Raises ConfigError for one that the window is not about, or that has none."""
        if control not in self.controls:
            raise ConfigError(f"the window {self.window} has no control {control!r}; {nearest(control, self.controls)}")
        if not self.controls[control]:
            raise ConfigError(f"no check is bound to {control}: it is evidenced elsewhere, and there is no population")
        return frozenset(self.controls[control])


@dataclass(frozen=True)
class Drawn:
    """One item or slot of a sample, with what was seen of it. ``facts`` are canonical JSON, "" when there are none."""

    chosen: Chosen
    check: str
    scope: str
    slot: datetime
    subject: str
    state: str
    reason: str
    facts: str
    evidence: str
    run: int | None
    calls: str


@dataclass(frozen=True)
class Sample:
    """A sample of one control's items or slots, with the population that it was drawn from."""

    window: str
    control: str
    of: str
    seed: str
    n: int
    population: Population
    drawn: tuple[Drawn, ...]

    @property
    def says(self) -> list[str]:
        """What it shows, and what it does not."""
        if self.of == SLOTS:
            bad = sum(item.state not in ("observed", "late") for item in self.drawn)
            return sample.says(self.population.count, len(self.drawn), bad) if self.drawn else []
        bad = sum(item.state == State.NOT_SATISFIED.value for item in self.drawn)
        unread = sum(item.state == State.UNDETERMINED.value for item in self.drawn)
        return sample.says(self.population.count, len(self.drawn), bad, unread) if self.drawn else []


# --- sources ---


def of_ledger(dossier: Dossier, ledger: Ledger) -> Source:
    """The window as the ledger holds it."""

    def entries(kinds: Collection[Kind]) -> Iterator[Mapping[str, Any]]:
        for entry in ledger.entries(dossier.first, dossier.last, kinds=kinds):
            yield entry.data

    return Source(
        window=dossier.name,
        since=dossier.since,
        until=dossier.until,
        zone=dossier.zone,
        grace_s=dossier.grace_s,
        controls={card.id: card.checks for card in dossier.controls},
        scopes=dossier.scopes,
        entries=entries,
        blob=ledger.blob,
    )


def of_package(path: Path) -> Source:
    """The window as a package holds it: a folder or a .zip. Raises ExportError when it is none that can be read."""
    files = _Files(path)
    try:
        envelope = canonical.parse(files.read("manifest.dsse.json", MANIFEST_BYTES_MAX))
        predicate = canonical.parse(base64.b64decode(envelope["payload"]))["predicate"]
        controls = canonical.parse(files.read("controls.json"))["controls"]
        stated = canonical.parse(files.read(FILE))["controls"]
        window = predicate["window"]

        def entries(kinds: Collection[Kind]) -> Iterator[Mapping[str, Any]]:
            marks = [b'"kind":"%s"' % kind.value.encode() for kind in kinds]
            for line in files.lines("ledger/entries.jsonl"):
                if any(mark in line for mark in marks):
                    entry = canonical.parse(line)
                    if entry["kind"] in kinds:
                        yield entry

        return Source(
            window=window["name"],
            since=canonical.moment(window["since"]),
            until=canonical.moment(window["until"]),
            zone=ZoneInfo(window["zone"]),
            grace_s=predicate["grace_s"],
            controls={card["id"]: tuple(card["checks"]) for card in controls},
            scopes=tuple(predicate["filters"]["scopes"]),
            entries=entries,
            blob=files.blob,
            stated={item["control"]: item for item in stated},
        )
    except (LookupError, TypeError, ValueError, binascii.Error) as error:
        raise ExportError(
            f"{path} is no package that can be read ({error!r}); run `collector verify {path}`"
        ) from error


class _Files:
    """The files of a package, in a folder or a zip, each read within limits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive: zipfile.ZipFile | None = None
        if path.is_dir():
            return
        if not path.exists():
            raise ExportError(f"{path}: there is no such folder or zip file")
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise ExportError(f"{path} is neither a folder nor a zip file that can be read: {error}") from error

    def _open(self, name: str) -> Any:
        try:
            return (self._path / name).open("rb") if self._archive is None else self._archive.open(name)
        except (OSError, KeyError) as error:
            raise ExportError(f"{self._path} has no {name}; run `collector verify {self._path}`") from error

    def read(self, name: str, limit: int = FILE_BYTES_MAX) -> bytes:
        with self._open(name) as file:
            data: bytes = file.read(limit + 1)
        if len(data) > limit:
            raise ExportError(f"{self._path}: {name} has more than {limit} bytes")
        return data

    def lines(self, name: str) -> Iterator[bytes]:
        with self._open(name) as file:
            yield from file

    def blob(self, digest: str) -> bytes:
        """Raises LedgerBroken when it is not what its name says."""
        name = f"objects/{digest[:2]}/{digest[2:]}"
        data = self.read(name)
        if canonical.digest(data) != digest:
            raise LedgerBroken(f"{self._path}: {name} is not what its name says; run `collector verify {self._path}`")
        return data


# --- populations ---


def deciding(source: Source, checks: Collection[str]) -> Iterator[Mapping[str, Any]]:
    """The runs that decide slots of the window, in the order of the ledger: of several for one slot the first.

    A run by hand answers no slot. A run without population has no items, and is in here all the same.
    """
    since, until = canonical.stamp(source.since), canonical.stamp(source.until)
    seen: set[tuple[str, str, str]] = set()
    for data in source.entries([Kind.RUN]):
        slot = data["slot"]
        if slot is None or not since <= slot < until or data["check"] not in checks or not source.covers(data["scope"]):
            continue
        place = (data["check"], data["scope"], slot)
        if place not in seen:
            seen.add(place)
            yield data


class _Subjects:
    """The names in each run's observations; those of the run before are held, since mostly nothing changed."""

    def __init__(self, source: Source) -> None:
        self._blob = source.blob
        self._held: dict[tuple[str, str], tuple[str, list[str]]] = {}

    def of(self, run: Mapping[str, Any]) -> list[str]:
        pair, digest = (run["check"], run["scope"]), run["observations"]
        held = self._held.get(pair)
        if held is None or held[0] != digest:
            observed = canonical.parse(self._blob(digest))
            held = self._held[pair] = (digest, [item["subject"] for item in observed["subjects"]])
        return held[1]


def _item_ids(run: Mapping[str, Any], subjects: Sequence[str]) -> list[str]:
    begin = sample.item_id(run["check"], run["scope"], run["slot"], "")
    return [begin + subject for subject in subjects]


def _counters(source: Source) -> tuple[dict[str, Counted], dict[str, list[Counted]]]:
    """A count for each control that has checks, and those that each check counts in."""
    counted = {control: Counted() for control, checks in source.controls.items() if checks}
    by_check: dict[str, list[Counted]] = {}
    for control, checks in source.controls.items():
        for check in dict.fromkeys(checks):
            by_check.setdefault(check, []).append(counted[control])
    return counted, by_check


def item_populations(source: Source) -> dict[str, Population]:
    """The population of items of each control that has checks, in one pass."""
    counted, by_check = _counters(source)
    subjects = _Subjects(source)
    for run in deciding(source, by_check.keys()):
        if run["population"]:
            ids = _item_ids(run, subjects.of(run))
            for one in by_check[run["check"]]:
                one.add(ids)
    return {control: one.population for control, one in counted.items()}


def dues(source: Source, checks: Collection[str]) -> Iterator[Due]:
    """What the plans asked for in the window, by account and time."""
    for item in due(plans_of(source.entries([Kind.PLAN])), source.since, source.until):
        if item.check in checks and source.covers(item.scope):
            yield item


def slots(source: Source, checks: Collection[str]) -> list[Slot]:
    """Every due slot with what became of it."""
    runs = [_ran(data) for data in source.entries([Kind.RUN]) if data["check"] in checks and data["slot"] is not None]
    gaps = [
        Declared(
            data["seq"],
            data["account"],
            tuple(data["checks"]),
            canonical.moment(data["since"]),
            canonical.moment(data["until"]),
            data["reason"],
        )
        for data in source.entries([Kind.GAP])
    ]
    return list(account_for(dues(source, checks), runs, gaps, timedelta(seconds=source.grace_s)))


def _ran(data: Mapping[str, Any]) -> Ran:
    return Ran(
        seq=data["seq"],
        account=data["account"],
        check=data["check"],
        scope=data["scope"],
        slot=canonical.moment(data["slot"]),
        started=canonical.moment(data["started"]),
        finished=canonical.moment(data["finished"]),
        population=data["population"],
        states=data["states"],
        failure=data["failure"],
        reason=data["reason"],
    )


def _slot_id(item: Due) -> str:
    return sample.slot_id(item.check, item.scope, canonical.stamp(item.at))


def slot_populations(source: Source) -> dict[str, Population]:
    """The population of due slots of each control that has checks, in one pass."""
    counted, by_check = _counters(source)
    for item in dues(source, by_check.keys()):
        for one in by_check[item.check]:
            one.add([_slot_id(item)])
    return {control: one.population for control, one in counted.items()}


# --- samples ---


def draw(source: Source, control: str, seed: str, n: int, of: str = ITEMS) -> Sample:
    """The sample of one control. Raises ConfigError for what cannot be asked, LedgerBroken when a package's population
    is another than its sampling.json says."""
    checks = source.checks(control)
    try:
        drawing = Draw(seed, n)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if of == SLOTS:
        for item in dues(source, checks):
            drawing.add([_slot_id(item)])
    else:
        subjects = _Subjects(source)
        for run in deciding(source, checks):
            if run["population"]:
                drawing.add(_item_ids(run, subjects.of(run)))
    population = drawing.population
    said = source.stated.get(control, {}).get(of)
    if said is not None and said != {"count": population.count, "digest": population.digest}:
        raise LedgerBroken(
            f"the population of {control} is {population.count} {of} with the digest {population.digest}; "
            f"{FILE} of the package says {said}: run `collector verify`"
        )
    chosen = drawing.chosen()
    found = _slots_drawn(source, checks, chosen) if of == SLOTS else _items_drawn(source, checks, chosen)
    return Sample(source.window, control, of, seed, n, population, tuple(found))


def _items_drawn(source: Source, checks: Collection[str], chosen: Sequence[Chosen]) -> list[Drawn]:
    wanted: dict[tuple[str, str, str], dict[str, Chosen]] = {}
    for one in chosen:
        check, scope, slot, subject = one.id.split("|", 3)
        wanted.setdefault((check, scope, slot), {})[subject] = one
    found: list[Drawn] = []
    for run in deciding(source, checks):
        mine = wanted.get((run["check"], run["scope"], run["slot"]))
        if not mine or not run["population"]:
            continue
        observed = canonical.parse(source.blob(run["observations"]))
        ids = observed["exchanges"]
        for item in observed["subjects"]:
            one_of = mine.get(item["subject"])
            if one_of is None:
                continue
            facts = "" if item["facts"] is None else canonical.record(item["facts"]).decode()
            rests_on = [ids[place] for place in item["exchanges"] or observed["listing"]]
            found.append(
                Drawn(
                    chosen=one_of,
                    check=run["check"],
                    scope=run["scope"],
                    slot=canonical.moment(run["slot"]),
                    subject=item["subject"],
                    state=item["state"],
                    reason=item["reason"],
                    facts=facts,
                    evidence=" ".join(rests_on),
                    run=run["seq"],
                    calls=run["calls"],
                )
            )
    return sorted(found, key=lambda item: item.chosen.place)


def _slots_drawn(source: Source, checks: Collection[str], chosen: Sequence[Chosen]) -> list[Drawn]:
    wanted = {one.id: one for one in chosen}
    calls: dict[int, str] = {}
    for run in deciding(source, checks):
        calls[run["seq"]] = run["calls"]
    found: list[Drawn] = []
    for slot in slots(source, checks):
        one = wanted.get(_slot_id(slot.due))
        if one is not None:
            found.append(
                Drawn(
                    chosen=one,
                    check=slot.due.check,
                    scope=slot.due.scope,
                    slot=slot.due.at,
                    subject="",
                    state=slot.state.value,
                    reason=slot.reason,
                    facts="",
                    evidence="",
                    run=None if slot.run is None else slot.run.seq,
                    calls="" if slot.run is None else calls.get(slot.run.seq, ""),
                )
            )
    return sorted(found, key=lambda item: item.chosen.place)


# --- sampling.json ---


def record(source: Source) -> dict[str, Any]:
    """What ``sampling.json`` says: the populations, how to draw from them, and what a clean sample of n says."""
    items, due_slots = item_populations(source), slot_populations(source)
    return {
        "window": source.window,
        "id": {ITEMS: "check|scope|slot|subject", SLOTS: "check|scope|slot"},
        "population": "SHA-256 over the ids, one a line, each line ended: items in the order of the ledger (run, then "
        "subject), slots by account, time, check and scope",
        "items": "every subject of every run that decides a slot; of several runs for one slot the first decides",
        "slots": "every slot that was due, whatever became of it",
        "order": "by SHA-256 over seed and id, as UTF-8 with nothing between them; the first n are the sample",
        "draw": "collector sample --package PACKAGE --control ID --seed SEED --n N",
        "clean": [
            {"n": n, "at_most": sample.percent(sample.upper_bound(n)), "confidence": "90 %"} for n in sample.SHOWN
        ],
        "limits": list(sample.LIMITS),
        "controls": [
            {
                "control": control,
                "checks": list(source.controls[control]),
                ITEMS: {"count": items[control].count, "digest": items[control].digest},
                SLOTS: {"count": due_slots[control].count, "digest": due_slots[control].digest},
            }
            for control in items
        ],
    }
