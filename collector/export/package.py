"""Writes an evidence package: one folder or zip that a stranger can open, verify and judge again without us.

What it says comes from a dossier, what it proves from the ledger. docs/reference/package.md describes each file; the
verifier that lies in it is ``collector/ledger/verify.py``, byte for byte.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from collector import canonical
from collector.criteria import CRITERIA
from collector.errors import ConfigError, ExportError
from collector.export import report, tables
from collector.export.dossier import Dossier
from collector.export.read import Filter, in_window
from collector.ledger.entry import Kind
from collector.ledger.seal import Signer
from collector.ledger.store import Ledger
from collector.window.slots import Plan, SlotState, in_force, plan_from

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:evidence-collector:package:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MANIFEST = "manifest.dsse.json"
SUMS = "SHA256SUMS"
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # files in a zip carry a time; a package says its own elsewhere
TELL_EVERY = 1000

Progress = Callable[[int, int], None]
More = Mapping[str, Callable[[Mapping[str, str]], Iterable[bytes]]]  # name of a file: its bytes, given digests so far


@dataclass(frozen=True)
class PackageInfo:
    """What was written. ``fields`` are those of the ``export`` entry that the caller appends to the ledger."""

    path: Path
    files: int
    entries: int
    runs: int
    objects: int
    fields: Mapping[str, Any]


def write(
    dossier: Dossier,
    ledger: Ledger,
    signer: Signer,
    out: Path,
    progress: Progress | None = None,
    more: More | None = None,
) -> PackageInfo:
    """Writes the package of a window to ``out``: a new or empty folder, or a new file when it ends in ``.zip``.

    ``more`` are further files to lie in it, streamed; each sees the SHA-256 of every file that is written before it.

    Nothing is at ``out`` until all of it is. The same dossier over the same ledger gives the same bytes.
    Raises ExportError when it cannot be written there or the range is not signed, ConfigError for another key.
    """
    if str(signer.key) != dossier.vkey:
        raise ConfigError(f"the package is signed by the ledger's own key {dossier.vkey}; this is {signer.key}")
    if dossier.last not in {item.size for item in ledger.checkpoints()}:
        raise ExportError(f"no checkpoint ends at {dossier.last} entries: sign the ledger, then read the window again")
    zipped = out.suffix == ".zip"
    _refuse_existing(out, zipped)
    try:
        with _beside(out) as folder:
            info = _Writer(dossier, ledger, signer, folder, progress, more or {}).write(out)
            if zipped:
                packed = folder.with_name(f"{folder.name}.zip")
                try:
                    _zip(folder, packed)
                    packed.replace(out)
                finally:
                    packed.unlink(missing_ok=True)
            else:
                folder.replace(out)
    except OSError as error:
        raise ExportError(f"the package {out} cannot be written: {error.strerror}; nothing is left of it") from error
    return info


def _refuse_existing(out: Path, zipped: bool) -> None:
    if out.exists() and (zipped or not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is already there; evidence is never overwritten: name another place")


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A new folder on the same disk, gone again unless it was moved away."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(f".{out.name}.{os.getpid()}.partial")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(item for item in folder.rglob("*") if item.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, so that the mode below means something
            entry.external_attr = 0o100644 << 16
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as packed:
                shutil.copyfileobj(source, packed, 1 << 20)


def object_path(digest: str) -> str:
    """Where the blob with a digest lies in a package."""
    return f"objects/{digest[:2]}/{digest[2:]}"


class _Writer:
    """One package being written into a folder."""

    def __init__(
        self, dossier: Dossier, ledger: Ledger, signer: Signer, folder: Path, progress: Progress | None, more: More
    ) -> None:
        self.dossier = dossier
        self.ledger = ledger
        self.signer = signer
        self.folder = folder
        self.progress = progress
        self.more = more
        self.sums: dict[str, str] = {}
        self.runs = 0
        self.configs: set[str] = set()
        self.about = Filter(
            frozenset(check for card in dossier.controls for check in card.checks), tuple(dossier.scopes)
        )

    def write(self, out: Path) -> PackageInfo:
        self._entries()
        self._range()
        self._tables()
        self._say()
        self._more()
        verifier = resources.files("collector.ledger").joinpath("verify.py")
        self._put("verify.py", verifier.read_bytes())
        manifest = self._sign()
        dossier = self.dossier
        fields = {
            "window": dossier.name,
            "since": canonical.stamp(dossier.since),
            "until": canonical.stamp(dossier.until),
            "first": dossier.first,
            "last": dossier.last,
            "manifest": manifest,
        }
        entries = dossier.last - dossier.first
        return PackageInfo(out, len(self.sums) + 2, entries, self.runs, self._objects(), fields)

    def _objects(self) -> int:
        return sum(name.startswith("objects/") for name in self.sums)

    # --- files ---

    def _put(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.sums[name] = canonical.digest(data)

    def _put_object(self, digest: str) -> bytes | None:
        """Puts a blob into the package; its bytes when it was not there yet."""
        if object_path(digest) in self.sums:
            return None
        data = self.ledger.blob(digest)
        self._put(object_path(digest), data)
        return data

    # --- the ledger ---

    def _entries(self) -> None:
        """The exact bytes of every entry of the range, and everything that the runs of the window rest on."""
        first, last = self.dossier.first, self.dossier.last
        path = self.folder / "ledger" / "entries.jsonl"
        path.parent.mkdir(parents=True)
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for entry in self.ledger.entries(first, last):
                line = entry.body + b"\n"
                file.write(line)
                digest.update(line)
                if entry.kind is Kind.RUN and in_window(entry.data, self.about, self.dossier.since, self.dossier.until):
                    self._evidence(entry.data)
                if self.progress is not None and (entry.seq % TELL_EVERY == 0 or entry.seq + 1 == last):
                    self.progress(entry.seq + 1 - first, last - first)
        self.sums["ledger/entries.jsonl"] = digest.hexdigest()

    def _evidence(self, data: Mapping[str, Any]) -> None:
        self.runs += 1
        self.configs.add(data["config"])
        calls = self._put_object(data["calls"])
        if calls is not None:
            for call in canonical.parse(calls):
                if call["body"]:
                    self._put_object(call["body"])
        self._put_object(data["config"])
        if data["observations"]:
            self._put_object(data["observations"])
        source = f"checks/{data['check']}/{data['code']}.py"
        if source not in self.sums:
            self._put(source, self.ledger.blob(data["code"]))

    def _range(self) -> None:
        dossier = self.dossier
        span = {
            "first": dossier.first,
            "last": dossier.last,
            "origin": dossier.origin,
            "frontier": [item.hex() for item in self.ledger.frontier(dossier.first)],
        }
        self._put("ledger/range.json", canonical.record(span) + b"\n")
        for item in self.ledger.checkpoints():
            if dossier.first <= item.size <= dossier.last:
                self._put(f"checkpoints/{item.size:020d}.note", item.note.encode())
        self._put("keys.txt", f"{dossier.vkey}\n".encode())

    # --- what people read ---

    def _tables(self) -> None:
        folder = self.folder / "tables"
        folder.mkdir()
        tables.write(self.dossier, folder)
        for path in sorted(folder.iterdir()):
            with path.open("rb") as file:
                self.sums[f"tables/{path.name}"] = hashlib.file_digest(file, "sha256").hexdigest()

    def _say(self) -> None:
        self._put("README.html", report.readme_html(self.dossier).encode())
        self._put("README.txt", report.readme(self.dossier).encode())
        self._put("report.html", report.html(self.dossier).encode())
        self._put("plan.json", canonical.record(self._plan()) + b"\n")
        self._put("controls.json", canonical.record(self._controls()) + b"\n")

    def _more(self) -> None:
        for name, pieces in sorted(self.more.items()):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with path.open("xb") as file:
                for piece in pieces(self.sums):
                    file.write(piece)
                    digest.update(piece)
            self.sums[name] = digest.hexdigest()

    def _plan(self) -> dict[str, Any]:
        dossier = self.dossier
        by_account: dict[str, list[Plan]] = {}
        for entry in self.ledger.projection.plans(dossier.since, dossier.until):
            if dossier.first <= entry.seq < dossier.last:
                by_account.setdefault(entry.data["account"], []).append(plan_from(entry.data))
        return {
            "window": self._window(),
            "grace_s": dossier.grace_s,
            "due": len(dossier.slots),
            "counts": self._counts(),
            "accounts": [
                {"account": account, "stretches": self._plan_of(by_account[account])} for account in sorted(by_account)
            ],
        }

    def _plan_of(self, plans: Sequence[Plan]) -> list[dict[str, Any]]:
        """What is due and when, clipped to the window; neighbours that ask for the same are one stretch."""
        found: list[dict[str, Any]] = []
        for begin, end, plan in in_force(plans):
            since, until = max(begin, self.dossier.since), min(end, self.dossier.until)
            if since >= until:
                continue
            checks = [
                {"check": item.check, "scopes": scopes, "every_s": item.every_s, "offset_s": item.offset_s}
                for item in plan.checks
                if (scopes := [scope for scope in item.scopes if self.about.covers(item.check, scope)])
            ]
            if found and found[-1]["checks"] == checks and found[-1]["until"] == canonical.stamp(since):
                found[-1]["until"] = canonical.stamp(until)
                found[-1]["entries"].append(plan.seq)
            else:
                found.append(
                    {
                        "since": canonical.stamp(since),
                        "until": canonical.stamp(until),
                        "entries": [plan.seq],
                        "checks": checks,
                    }
                )
        return found

    def _controls(self) -> dict[str, Any]:
        dossier = self.dossier
        named = {*dossier.criteria, *(id for card in dossier.controls for id in card.criteria)}
        return {
            "criteria": {id: CRITERIA[id] for id in sorted(named)},
            "controls": [
                {
                    "id": card.id,
                    "title": card.title,
                    "owner": card.owner,
                    "criteria": list(card.criteria),
                    "checks": list(card.checks),
                    "cadence_s": card.cadence_s,
                }
                for card in dossier.controls
            ],
            "checks": [
                {
                    "id": card.id,
                    "version": card.version,
                    "source": f"checks/{card.id}/{card.code}.py",
                    "title": card.title,
                    "family": card.family,
                    "criteria": list(card.criteria),
                    "stage": card.stage,
                    "limits": dict(card.limits),
                    "entry": card.first_used,
                }
                for card in dossier.checks
            ],
            "configurations": sorted(self.configs),
        }

    def _window(self) -> dict[str, Any]:
        dossier = self.dossier
        return {
            "name": dossier.name,
            "since": canonical.stamp(dossier.since),
            "until": canonical.stamp(dossier.until),
            "ends": canonical.stamp(dossier.ends or dossier.until),
            "zone": dossier.zone.key,
        }

    def _counts(self) -> dict[str, int]:
        counts = {state.value: 0 for state in SlotState}
        for slot in self.dossier.slots:
            counts[slot.state.value] += 1
        return counts

    # --- the manifest ---

    def _sign(self) -> str:
        """Writes SHA256SUMS and the signed manifest over it; returns the manifest's digest."""
        lines = [f"{self.sums[name]}  {name}\n".encode() for name in sorted(self.sums)]
        sums = b"".join(lines)
        (self.folder / SUMS).write_bytes(sums)
        dossier = self.dossier
        statement = {
            "_type": STATEMENT,
            "subject": [{"name": SUMS, "digest": {"sha256": canonical.digest(sums)}}, *self._tops(lines)],
            "predicateType": PREDICATE,
            "predicate": {
                "origin": dossier.origin,
                "vkey": dossier.vkey,
                "window": self._window(),
                "range": {
                    "first": dossier.first,
                    "last": dossier.last,
                    "root": self.ledger.root(dossier.last).hex(),
                },
                "filters": {
                    "criteria": list(dossier.criteria),
                    "checks": sorted(self.about.checks),
                    "scopes": list(dossier.scopes),
                },
                "grace_s": dossier.grace_s,
                "exported_at": canonical.stamp(dossier.exported_at),
                "exporter": {"collector": dossier.collector},
                "counts": {
                    "entries": dossier.last - dossier.first,
                    "runs": self.runs,
                    "objects": self._objects(),
                    "files": len(self.sums) + 2,
                    "due": len(dossier.slots),
                    "exceptions": len(dossier.deviations),
                    "alerts": len(dossier.alerts),
                },
                "assurance": dossier.assurance,
            },
        }
        manifest = envelope(canonical.record(statement), self.signer)
        (self.folder / MANIFEST).write_bytes(manifest)
        return canonical.digest(manifest)

    def _tops(self, lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
        """Each file at the top with its digest, each folder with that of its lines in SHA256SUMS."""
        digests: dict[str, Any] = {}
        for line, name in zip(lines, sorted(self.sums), strict=True):
            top, slash, _ = name.partition("/")
            if slash:
                digests.setdefault(f"{top}/", hashlib.sha256()).update(line)
            else:
                digests[top] = self.sums[name]
        for name in sorted(digests):
            found = digests[name]
            yield {"name": name, "digest": {"sha256": found if isinstance(found, str) else found.hexdigest()}}


def envelope(payload: bytes, signer: Signer) -> bytes:
    """A DSSE envelope of an in-toto statement, in the one way it is written here: canonical JSON, one signature."""
    pae = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    return canonical.record(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"keyid": signer.key.id.hex(), "sig": base64.b64encode(signer.sign(pae)).decode()},
            ],
        }
    )
