"""Writes an evidence package: one folder or zip that a stranger can open, verify and judge again without us.

What it says comes from a dossier, what it proves from the ledger. docs/reference/package.md describes each file; the
verifier that lies in it is ``collector/ledger/verify.py``, byte for byte.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from collector import canonical
from collector.errors import ConfigError, ExportError, StoreError
from collector.export import itself_html, papers, pdf, report, sampling, tables
from collector.export.chapter import View
from collector.export.control_page import Pages
from collector.export.dossier import Dossier
from collector.export.papers import PAYLOAD_TYPE, PREDICATE, STATEMENT, envelope
from collector.export.proofs import tlog_proof
from collector.export.read import in_window
from collector.export.reconcile import Reconciler
from collector.ledger.entry import Entry, Kind
from collector.ledger.seal import Signer
from collector.ledger.store import Ledger

__all__ = ["PAYLOAD_TYPE", "PREDICATE", "STATEMENT", "More", "PackageInfo", "envelope", "object_path", "write"]

MANIFEST = "manifest.dsse.json"
SUMS = "SHA256SUMS"
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # files in a zip carry a time; a package says its own elsewhere
ZIP_LEVEL = 4  # of rows of items, level 6 makes nothing less in half as much time again; level 1 leaves an eighth more
TELL_EVERY = 200
WHOLE = 1000  # of a progress bar

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
    ``progress`` is called with how much of 1,000 is done.

    Nothing is at ``out`` until all of it is. The same dossier over the same ledger gives the same bytes.
    Raises ExportError when it cannot be written there or the range is not signed, ConfigError for another key.
    """
    if str(signer.key) != dossier.vkey:
        raise ConfigError(f"the package is signed by the ledger's own key {dossier.vkey}; this is {signer.key}")
    if dossier.last not in {item.size for item in ledger.checkpoints()}:
        raise ExportError(f"no checkpoint ends at {dossier.last} entries: sign the ledger, then read the window again")
    zipped = out.suffix == ".zip"
    _refuse_existing(out, zipped)
    told = _Told(progress, 2 if zipped else 1)
    try:
        with _beside(out) as folder:
            info = _Writer(dossier, ledger, signer, folder, told, more or {}).write(out)
            if zipped:
                packed = folder.with_name(f"{folder.name}.zip")
                try:
                    _zip(folder, packed, told)
                    packed.replace(out)
                finally:
                    packed.unlink(missing_ok=True)
            else:
                folder.replace(out)
    except OSError as error:
        raise ExportError(f"the package {out} cannot be written: {error.strerror}; nothing is left of it") from error
    told.done()
    return info


class _Told:
    """What the caller hears of progress. The folder is one part, packing it another; each grows from 0 to 1."""

    def __init__(self, progress: Progress | None, parts: int) -> None:
        self._progress = progress
        self._parts = parts
        self._said = -1

    def __call__(self, part: int, share: float) -> None:
        self._say(int(WHOLE * (part + min(share, 1.0)) / self._parts))

    def done(self) -> None:
        self._say(WHOLE)

    def _say(self, done: int) -> None:
        if self._progress is not None and done > self._said:
            self._said = done
            self._progress(done, WHOLE)


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


def _zip(folder: Path, target: Path, told: _Told) -> None:
    paths = sorted(item for item in folder.rglob("*") if item.is_file())
    whole = sum(path.stat().st_size for path in paths) or 1
    done = 0
    with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED, compresslevel=ZIP_LEVEL) as archive:
        for path in paths:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, so that the mode below means something
            entry.external_attr = 0o100644 << 16
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as packed:
                while piece := source.read(1 << 20):
                    packed.write(piece)
                    done += len(piece)
                    told(1, done / whole)


def object_path(digest: str) -> str:
    """Where the blob with a digest lies in a package."""
    return f"objects/{digest[:2]}/{digest[2:]}"


class _Writer:
    """One package being written into a folder."""

    def __init__(self, dossier: Dossier, ledger: Ledger, signer: Signer, folder: Path, told: _Told, more: More) -> None:
        self.dossier = dossier
        self.ledger = ledger
        self.signer = signer
        self.folder = folder
        self.told = told
        self.more = more
        self.sums: dict[str, str] = {}
        self.folders: set[str] = set()  # that were made
        self.runs = 0
        self.configs: set[str] = set()
        self.expired: dict[str, int] = {}  # payloads that were dropped after their term, with the entry that says so
        self.proofs = 0
        self.about = papers.filter_of(dossier)
        self.reconciler = Reconciler(ledger.blob)
        self.verifier = resources.files("collector.ledger").joinpath("verify.py").read_bytes()

    def write(self, out: Path) -> PackageInfo:
        self._entries()
        self._range()
        self._anchors()
        self._proofs()
        self.dossier = replace(self.dossier, reconciled=self.reconciler.lines())
        self._tables()
        self._say()
        for name, made in self.more.items():
            self._stream(name, made(self.sums))
        self._put("verify.py", self.verifier)
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

    def _put(self, name: str, data: bytes, digest: str = "") -> None:
        """Writes a file; ``digest`` is its SHA-256 where somebody computed it already."""
        parent = name.rpartition("/")[0]
        if parent not in self.folders:
            (self.folder / parent).mkdir(parents=True, exist_ok=True)
            self.folders.add(parent)
        with open(f"{self.folder}/{name}", "wb") as file:  # noqa: PTH123  a hundred thousand paths cost more than files
            file.write(data)
        self.sums[name] = digest or canonical.digest(data)

    def _stream(self, name: str, pieces: Iterable[bytes]) -> None:
        """A file that is not held in memory as a whole."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
        self.sums[name] = digest.hexdigest()

    def _put_object(self, digest: str) -> bytes | None:
        """Puts a blob into the package; its bytes when it was not there yet. Notes one that was dropped after its term.

        Raises StoreError when it is not there for any other reason.
        """
        if object_path(digest) in self.sums or digest in self.expired:
            return None
        try:
            data = self.ledger.blob(digest)
        except StoreError:
            dropped = None if self.ledger.has_blob(digest) else self.ledger.expired_by(digest)
            if dropped is None:
                raise
            self.expired[digest] = dropped
            return None
        self._put(object_path(digest), data, digest)
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
                if entry.kind in (Kind.RUN, Kind.SPOT):
                    self._run(entry)
                elif entry.kind is Kind.PLAN:
                    self.reconciler.plan(entry.data)
                if entry.seq % TELL_EVERY == 0:
                    self.told(0, 0.4 * (entry.seq - first) / (last - first))
        self.sums["ledger/entries.jsonl"] = digest.hexdigest()
        for item in self.dossier.configured:
            self._put_object(item.digest)

    def _run(self, entry: Entry) -> None:
        data, dossier = entry.data, self.dossier
        if not self.about.covers(data["check"], data["scope"]) or not in_window(data, dossier.since, dossier.until):
            return
        self.runs += entry.kind is Kind.RUN
        self.configs.add(data["config"])
        log = self._put_object(data["calls"])
        if log is not None:
            calls = canonical.parse(log)
            for call in calls:
                if call["body"]:
                    self._put_object(call["body"])
            if entry.kind is Kind.RUN:  # a look at single subjects lists for itself alone
                self.reconciler.look(data, canonical.moment(data["slot"] or data["started"]), calls)
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

    def _anchors(self) -> None:
        """What places outside gave, each under the number of the entry that says so."""
        for line in self.dossier.anchors:
            if line.file:
                self._put(line.file, self.ledger.blob(line.token))

    def _proofs(self) -> None:
        """Entries from before the range that the window rests on, each with the proof that it is under the checkpoint
        at the end of the range."""
        first = self.dossier.first
        gone = set(self.expired.values())
        for digest in self.dossier.groups:
            self._put_object(digest)
        for seq in sorted(gone):
            self._put_object(self.ledger.entry(seq).data["blobs"])
        wanted = sorted({*self.dossier.rests_on, *(seq for seq in gone if seq < first)})
        if not wanted:
            return
        end = next(item for item in self.ledger.checkpoints() if item.size == self.dossier.last)
        for seq in wanted:
            self._put(f"proofs/{seq:020d}.json", self.ledger.entry(seq).body)
            self._put(f"proofs/{seq:020d}.tlog-proof", tlog_proof(self.ledger, seq, end).encode())
        self.proofs = len(wanted)

    # --- what people read ---

    def _tables(self) -> None:
        folder = self.folder / "tables"
        folder.mkdir()
        runs = self.runs or 1
        done = 0

        def tell(count: int) -> None:
            nonlocal done
            done += count
            self.told(0, 0.4 + 0.4 * done / runs)

        for name, digest in tables.write(self.dossier, folder, tell).items():
            self.sums[f"tables/{name}"] = digest

    def _say(self) -> None:
        dossier = self.dossier
        verifier = canonical.digest(self.verifier)
        self._put("plan.json", canonical.record(papers.plan(dossier)) + b"\n")
        self._put("controls.json", canonical.record(papers.controls(dossier, self.configs)) + b"\n")
        view = View(dossier)
        pages = Pages(view, self.ledger)
        for place, (control, finding) in enumerate(zip(dossier.controls, dossier.findings, strict=True), 1):
            self._put(f"controls/{control.id}.html", pages.html(control, finding).encode())
            self.told(0, 0.8 + 0.1 * place / len(dossier.controls))
        self._put(itself_html.FILE, itself_html.own_page(view).encode())
        self._put("report.html", report.html(dossier, view).encode())
        self._put("README.html", report.readme_html(dossier, verifier).encode())
        self._put("README.txt", report.readme(dossier, verifier).encode())
        self._put("README.pdf", pdf.readme_pdf(dossier, verifier))
        self.told(0, 0.93)
        populations = sampling.record(sampling.of_ledger(dossier, self.ledger))
        self._put(sampling.FILE, canonical.record(populations) + b"\n")
        self.told(0, 0.99)

    # --- the manifest ---

    def _sign(self) -> str:
        """Writes SHA256SUMS and the signed manifest over it; returns the manifest's digest."""
        lines = [f"{self.sums[name]}  {name}\n".encode() for name in sorted(self.sums)]
        sums = b"".join(lines)
        (self.folder / SUMS).write_bytes(sums)
        counts = {
            "runs": self.runs,
            "objects": self._objects(),
            "files": len(self.sums) + 2,
            "proofs": self.proofs,
            "anchors": sum(name.startswith("anchors/") for name in self.sums),
            "expired": len(self.expired),
        }
        statement = {
            "_type": STATEMENT,
            "subject": [{"name": SUMS, "digest": {"sha256": canonical.digest(sums)}}, *self._tops(lines)],
            "predicateType": PREDICATE,
            "predicate": papers.predicate(self.dossier, self.ledger.root(self.dossier.last), counts),
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
