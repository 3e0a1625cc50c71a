#!/usr/bin/env python3
"""Proves an evidence package on any machine: one file, Python 3.9 or newer, nothing to install, no network.

    python3 verify.py [PACKAGE] [--trust DIR] [--json] [--run-packaged-checks]

PACKAGE is a folder or a .zip; without it, the folder that this file stands in. DIR is your own folder, not one that
came with the package: `log.vkey` holds the key of the ledger as it was told to you by another way, one a line; `*.note`
are checkpoints that you were given earlier. Exit code 0: what can be proved holds. 4: something does not, and the first
thing that does not is named first. 2: the question cannot be asked like this.

What is done, in this order, so that nothing is believed before it is proved:

    1 the manifest is exactly what was signed        5 entries: bytes, order, times, roots at each checkpoint
    2 SHA256SUMS is what the manifest says           6 each run: counts, call log, answers, observations
    3 every file is what SHA256SUMS says, no more,   7 plan: every slot due in the window has an outcome
      no fewer                                       8 tables say what the ledger says
    4 checkpoints: notes and signatures              9 verdicts again from the kept answers (needs the collector)

It shares no code with the collector that wrote the package. docs/reference/package.md and ledger.md of the collector
describe the formats.
"""

# ruff: noqa: E402  (before anything is imported, the folder that this file lies in must not be looked into)

from __future__ import annotations

import sys

SAFE_PATH = sys.flags.isolated or getattr(sys.flags, "safe_path", False)
if __name__ == "__main__" and not SAFE_PATH and not globals().get("__spec__"):
    del sys.path[0]  # the package's own folder: a json.py in there must not become ours

import argparse
import base64
import csv
import hashlib
import importlib
import importlib.util
import io
import json
import os
import re
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

FINE, USAGE, BROKEN = 0, 2, 4

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:evidence-collector:package:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
UNSUMMED = frozenset(("SHA256SUMS", "manifest.dsse.json"))  # one is signed, the other is the signature
TOLERANCE_SECONDS = 300  # by which clocks may differ, and entries stand out of order
RUN_SECONDS_MAX = 86_400 + TOLERANCE_SECONDS  # the longest run that a configuration allows
ENTRY_BYTES_MAX = 65_535
MANIFEST_BYTES_MAX = 4 << 20
FILE_BYTES_MAX = 1 << 30  # of a file that is read in one piece
FAILURES_TOLD = 20
Slot = tuple[str, Any, Any]  # outcome, run, seq of a gap entry
STATES = ("satisfied", "not-satisfied", "not-applicable", "undetermined")
STATE_SET = frozenset(STATES)
OUTCOMES = ("observed", "late", "partial", "gap", "missed")

PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
SUM_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
DIGEST = re.compile(r"[0-9a-f]{64}")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class BrokenError(Exception):
    """The package does not hold. ``found`` names each thing that is wrong: (file or entry, what is wrong with it)."""

    def __init__(self, *found: tuple[str, str]) -> None:
        super().__init__(found)
        self.found = found


class UsageError(Exception):
    """The question cannot be asked like this."""


# --- Ed25519 (RFC 8032), verification only: no secret is handled, so time does not matter ---

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE_D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]  # extended coordinates: x = X/Z, y = Y/Z, xy = T/Z
NEUTRAL: Point = (0, 1, 1, 0)


def point_from(data: bytes) -> Point | None:
    """The point that 32 bytes stand for, None when they stand for none."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def bytes_of(point: Point) -> bytes:
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * CURVE_D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


class Multiples:
    """All ``digit * 16**place * point``, so that a multiple of the point costs 64 additions."""

    def __init__(self, point: Point) -> None:
        self.rows: list[list[Point]] = []
        for _ in range(64):
            row = [NEUTRAL]
            for _ in range(15):
                row.append(add(row[-1], point))
            self.rows.append(row)
            point = add(row[-1], point)

    def times(self, number: int) -> Point:
        found = NEUTRAL
        for row in self.rows:
            if number & 15:
                found = add(found, row[number & 15])
            number >>= 4
        return found


GENERATOR_Y = 4 * pow(5, -1, P) % P
GENERATOR = point_from(GENERATOR_Y.to_bytes(32, "little"))


class Ed25519Key:
    """A public key; verifies many signatures cheaply. Raises ValueError when the bytes are no key."""

    generator: Multiples | None = None

    def __init__(self, public: bytes) -> None:
        point = point_from(public) if len(public) == 32 else None
        if point is None:
            raise ValueError("not an Ed25519 key")
        if Ed25519Key.generator is None:
            assert GENERATOR is not None
            Ed25519Key.generator = Multiples(GENERATOR)
        self.public = public
        self.minus = Multiples((P - point[0], point[1], 1, P - point[3]))

    def verify(self, message: bytes, signature: bytes) -> bool:
        if len(signature) != 64:
            return False
        s = int.from_bytes(signature[32:], "little")
        if s >= ORDER:
            return False
        h = int.from_bytes(hashlib.sha512(signature[:32] + self.public + message).digest(), "little") % ORDER
        assert Ed25519Key.generator is not None
        return bytes_of(add(Ed25519Key.generator.times(s), self.minus.times(h))) == signature[:32]


# --- keys and notes as C2SP has them (c2sp.org/signed-note, c2sp.org/tlog-checkpoint) ---


def unbase64(text: str) -> bytes:
    """Base 64 in the one way that it can be written. Raises ValueError."""
    data = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not Base 64 as it must be written")
    return data


class LogKey:
    """A ledger's public key, written ``name+id+key``. Raises ValueError when it is not written so."""

    def __init__(self, text: str) -> None:
        name, id, encoded = text.split("+", 2)
        raw = unbase64(encoded)
        if raw[:1] != b"\x01" or len(raw) != 33:
            raise ValueError("not an Ed25519 key")
        self.text = text
        self.name = name
        self.id = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
        if self.id.hex() != id:
            raise ValueError("the key does not fit its id: it was mistyped")
        self.key = Ed25519Key(raw[1:])


def read_note(note: str, key: LogKey) -> tuple[int, bytes]:
    """Size and root that a checkpoint signed by ``key`` states. Raises ValueError with words that follow its name."""
    text, blank, tail = note.rpartition("\n\n")
    text += "\n"
    lines = text.split("\n")
    if not blank or not tail.endswith("\n") or len(lines) < 4:
        raise ValueError("is not a signed checkpoint")
    if lines[0] != key.name:
        raise ValueError(f"is of the ledger {lines[0]}, not {key.name}")
    signed = False
    for line in tail[:-1].split("\n"):
        if not line.startswith("\u2014 "):
            raise ValueError("has a line under it that is no signature")
        name, _, encoded = line[2:].partition(" ")
        signature = unbase64(encoded)
        if (name, signature[:4]) == (key.name, key.id):
            if not key.key.verify(text.encode(), signature[4:]):
                raise ValueError(f"is not what {key.name} signed")
            signed = True
    if not signed:
        raise ValueError(f"is not signed by {key.text}")
    root = unbase64(lines[2])
    if str(int(lines[1])) != lines[1] or int(lines[1]) < 0 or len(root) != 32:
        raise ValueError("states no size and root")
    return int(lines[1]), root


# --- the files of a package ---


class Folder:
    """A package in a folder. Only plain files below it are looked at; a link is refused."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: list[str] = []
        for folder, folders, files in os.walk(root):
            for name in folders + files:
                path = Path(folder) / name
                mode = path.lstat().st_mode
                place = path.relative_to(root).as_posix()
                if stat.S_ISREG(mode):
                    self.names.append(place)
                elif not stat.S_ISDIR(mode):
                    raise BrokenError((place, "is a link or a device; a package holds plain files"))

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        with (self.root / name).open("rb") as file:
            yield file


class Zip:
    """A package in a .zip, read in place. What unpackers disagree about is refused."""

    def __init__(self, path: Path) -> None:
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise BrokenError((str(path), f"is not a zip file that can be read: {error}")) from error
        self.names = []
        folded: set[str] = set()
        for info in self.archive.infolist():
            name = info.orig_filename  # as written: zipfile changes backslashes and cuts at a zero byte
            if not PATH.fullmatch(name):
                raise BrokenError((repr(name), "is a path that a package never holds; do not unpack this file"))
            if name.casefold() in folded:
                raise BrokenError((name, "is in the zip file twice; which of them is read depends on the program"))
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise BrokenError((name, "is a link or a device; a package holds plain files"))
            if info.flag_bits & 1:
                raise BrokenError((name, "is encrypted; a package never is"))
            folded.add(name.casefold())
            self.names.append(name)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        try:
            with self.archive.open(name) as file:
                buffered: Any = io.BufferedReader  # typeshed does not know that it takes any binary file
                yield buffered(file, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise BrokenError((name, f"cannot be read out of the zip file: {error}")) from error


class Files:
    """The package's files, each read only as what it was proved to be."""

    def __init__(self, source: Folder | Zip) -> None:
        self.source = source
        self.names = frozenset(source.names)
        self.sums: dict[str, str] = {}

    def read(self, name: str, limit: int = FILE_BYTES_MAX) -> bytes:
        """The whole file, at most ``limit`` bytes of it."""
        if name not in self.names:
            raise BrokenError((name, "is missing"))
        with self.source.open(name) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise BrokenError((name, f"has more than {limit} bytes"))
        return data

    def json(self, name: str) -> Any:
        try:
            return json.loads(self.read(name))
        except ValueError as error:
            raise BrokenError((name, f"is not JSON: {error}")) from error

    def has_object(self, digest: str) -> bool:
        return object_path(digest) in self.sums

    def object(self, digest: str) -> bytes:
        """The blob behind a digest; it was hashed with all files. Raises BrokenError."""
        name = object_path(digest)
        if name not in self.sums:
            raise BrokenError((name, "is missing"))
        return self.read(name)

    def digest(self, name: str) -> str:
        found = hashlib.sha256()
        with self.source.open(name) as file:
            while data := file.read(1 << 20):
                found.update(data)
        return found.hexdigest()


def object_path(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest[2:]}"


# --- time ---


def seconds(stamp: str) -> float:
    """Unix time of an RFC 3339 time as the ledger writes it."""
    return datetime.fromisoformat(stamp[:-1] + "+00:00").timestamp()  # noqa: FURB162  Python 3.9 knows no Z


def stamp_of(unix: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(unix))


def canonical(value: Any) -> bytes:
    """The one way in which the collector writes JSON."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


# --- what the reader holds ---


class Trust:
    """What you hold yourself: the ledger's key, and checkpoints that you were given earlier. Raises UsageError."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"--trust {folder}: there is no such folder")
        self.keys: list[LogKey] = []
        path = folder / "log.vkey"
        if path.is_file():
            for line in path.read_text("utf-8").split("\n"):
                if line.strip() and not line.startswith("#"):
                    try:
                        self.keys.append(LogKey(line.strip()))
                    except ValueError as error:
                        raise UsageError(f"{path}: {line.strip()!r} is no key: {error}") from error
        self.texts = [(found, found.read_text("utf-8")) for found in sorted(folder.glob("*.note"))]
        self.notes: list[tuple[Path, int, bytes]] = []
        if not self.keys and not self.texts:
            raise UsageError(f"--trust {folder}: it holds neither log.vkey nor a checkpoint (*.note)")

    def believe(self, key: LogKey, first: int, last: int) -> list[str]:
        """Takes the checkpoints that this package can be held against; says which cannot be, and why."""
        told: list[str] = []
        for path, text in self.texts:
            try:
                size, root = read_note(text, key)
            except ValueError as error:
                raise BrokenError((str(path), f"the checkpoint that you hold {error}")) from error
            if first <= size <= last:
                self.notes.append((path, size, root))
            else:
                where = "older than this package's range" if size < first else "newer than this package"
                told.append(f"your checkpoint {path.name} over {size} entries is {where}: it could not be compared")
        return told


# --- what one run rests on ---


class Calls:
    """A call log, taken apart once: which questions it holds, and which listings in it were not read to their end."""

    def __init__(self, name: str, data: bytes, files: Files) -> None:
        self.ids: set[str] = set()
        self.unfinished: dict[str, str] = {}  # id of a question: its operation
        self.skew_s = 0.0
        listings: dict[bytes, list[tuple[int, str, bool, str]]] = {}
        for number, call in enumerate(json.loads(data)):
            where = f"{name} call {number}"
            listing = [call["cloud"], call["endpoint"], call["operation"], call["params"]]
            id = hashlib.sha256(canonical([*listing, call["page"]])).hexdigest()[:16]
            if id in self.ids:
                raise BrokenError((where, f"{call['operation']} page {call['page']} stands there twice"))
            self.ids.add(id)
            if call["body"] and not files.has_object(call["body"]):
                raise BrokenError((object_path(call["body"]), f"is missing: the answer to {call['operation']}"))
            ended = call["last"] or bool(call.get("failure"))
            listings.setdefault(canonical(listing), []).append((call["page"], id, ended, call["operation"]))
            self._compare_clocks(where, call)
        for pages in listings.values():
            pages.sort()
            if [page for page, *_ in pages] != list(range(1, len(pages) + 1)):
                raise BrokenError((name, f"a page of {pages[0][3]} is missing"))
            if not pages[-1][2]:
                self.unfinished.update((id, operation) for _, id, _, operation in pages)

    def _compare_clocks(self, where: str, call: Any) -> None:
        if not call["date"]:
            return
        try:
            theirs = parsedate_to_datetime(call["date"]).timestamp()
        except (TypeError, ValueError) as error:
            raise BrokenError((where, f"the provider's Date {call['date']!r} is no time")) from error
        ours = seconds(call["started"])
        skew = theirs - min(max(theirs, ours), ours + call["ms"] / 1000)
        if abs(skew) > TOLERANCE_SECONDS:
            raise BrokenError(
                (where, f"says it was made at {call['started']}; the provider's clock said {call['date']}")
            )
        self.skew_s = skew


class Observed:
    """An observations blob, taken apart once."""

    def __init__(self, data: bytes) -> None:
        found = json.loads(data)
        ids = found["exchanges"]
        names = [item["subject"] for item in found["subjects"]]
        if names != sorted(set(names)):
            raise ValueError("its subjects are not in order, each once")
        self.population = len(names)
        self.subjects = hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()
        self.states = dict.fromkeys(STATES, 0)
        used = set(found["listing"])
        every = set(used)
        for item in found["subjects"]:
            self.states[item["state"]] += 1
            every.update(item["exchanges"])
            if item["state"] != "undetermined":
                used.update(item["exchanges"])
            if (item["facts"] is None) != (item["state"] == "undetermined"):
                raise ValueError(f"{item['subject']} is {item['state']}, which does not fit its facts")
        self.rests_on = frozenset(ids[place] for place in used)  # what is determined rests on these
        self.every = frozenset(ids[place] for place in every)


# --- the proof ---


class Proof:
    """One package under proof. Each step raises BrokenError at what does not hold."""

    def __init__(self, files: Files, trust: Trust | None, progress: bool) -> None:
        self.files = files
        self.trust = trust
        self.progress = progress
        self.told = 0.0
        self.proved: list[str] = []
        self.unproved: list[str] = []
        self.missed: list[dict[str, str]] = []
        self.notes: dict[int, tuple[str, bytes]] = {}
        self.key: LogKey
        self.predicate: dict[str, Any] = {}
        self.since = self.until = ""
        self.checks: frozenset[str] = frozenset()
        self.scopes: tuple[str, ...] = ()
        self.subjects: list[Any] = []
        self.plans: dict[str, list[dict[str, Any]]] = {}
        self.gaps: dict[str, list[dict[str, Any]]] = {}
        self.runs: dict[tuple[str, str], dict[str, list[Any]]] = {}
        self.slots: dict[tuple[str, str, str, str], Slot] = {}  # by account, check, scope and due time
        self.kinds: dict[str, int] = {}
        self.calls: dict[str, Calls] = {}
        self.observed: dict[str, Observed] = {}
        self.known: set[Any] = set()  # configurations and sources that are there
        self.payloads = 0
        self.skew_s = 0.0

    def run(self, run_packaged_checks: bool) -> None:
        """Every step in its order; a signed file that is not what it must be breaks the step that reads it."""
        for step, about in (
            (self.check_manifest, "manifest.dsse.json"),
            (self.check_sums, "SHA256SUMS"),
            (self.check_files, "SHA256SUMS"),
            (self.check_notes, "manifest.dsse.json"),
            (self.walk, "ledger/range.json"),
            (self.account_for, "plan.json"),
            (self.compare_results, "tables/results.csv"),
            (self.compare_coverage, "tables/coverage.csv"),
        ):
            try:
                step()
            except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
                raise BrokenError((about, f"is not written as the collector writes it: {error!r}")) from error
        self.reperform(run_packaged_checks)

    # 1

    def check_manifest(self) -> None:
        name = "manifest.dsse.json"
        raw = self.files.read(name, MANIFEST_BYTES_MAX)
        try:
            envelope = json.loads(raw)
            payload = unbase64(envelope["payload"])
            statement = json.loads(payload)
            (signature,) = envelope["signatures"]
            signed = unbase64(signature["sig"])
            predicate = statement["predicate"]
            key = LogKey(predicate["vkey"])
            expected = {"payload": envelope["payload"], "payloadType": PAYLOAD_TYPE}
            expected["signatures"] = [{"keyid": key.id.hex(), "sig": signature["sig"]}]
            head = (statement["_type"], statement["predicateType"], key.name)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenError((name, f"is not a signed manifest: {error!r}")) from error
        if self.trust is not None and self.trust.keys and key.text not in {known.text for known in self.trust.keys}:
            held = " or ".join(known.text for known in self.trust.keys)
            raise BrokenError((name, f"is signed by {key.text}; the key that you hold is {held}"))
        # The bytes are made again from what they mean: nothing can hide in them, and none of them can differ.
        if raw != canonical(expected) or payload != canonical(statement):
            raise BrokenError((name, "is not written as the collector writes it: it was changed"))
        pae = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
        if not key.key.verify(pae, signed):
            raise BrokenError((name, f"is not what {key.name} signed"))
        if head != (STATEMENT, PREDICATE, predicate["origin"]):
            raise BrokenError((name, f"is of another kind than this program knows: {head}"))
        self.key, self.predicate, self.subjects = key, predicate, statement["subject"]
        window, filters = predicate["window"], predicate["filters"]
        self.since, self.until = window["since"], window["until"]
        self.checks, self.scopes = frozenset(filters["checks"]), tuple(filters["scopes"])
        self.proved.append(f"the manifest is exactly what the holder of {key.text} signed")

    # 2

    def check_sums(self) -> None:
        raw = self.files.read("SHA256SUMS")
        digests = {item["name"]: item["digest"]["sha256"] for item in self.subjects}
        if hashlib.sha256(raw).hexdigest() != digests.get("SHA256SUMS"):
            raise BrokenError(("SHA256SUMS", "is not what the signed manifest says"))
        last = ""
        tops: dict[str, Any] = {}
        for number, line in enumerate(raw.decode("ascii", "replace").split("\n")[:-1], 1):
            found = SUM_LINE.fullmatch(line)
            if found is None or not PATH.fullmatch(found[2]) or found[2] <= last or found[2] in UNSUMMED:
                raise BrokenError(("SHA256SUMS", f"line {number} is not a digest and a path in order: {line!r}"))
            digest, last = found[1], found[2]
            self.files.sums[last] = digest
            top, slash, _ = last.partition("/")
            if slash:
                tops.setdefault(top + "/", hashlib.sha256()).update(line.encode() + b"\n")
            else:
                tops[top] = digest
        stated = {top: found if isinstance(found, str) else found.hexdigest() for top, found in tops.items()}
        if stated != {name: digest for name, digest in digests.items() if name != "SHA256SUMS"}:
            raise BrokenError(("SHA256SUMS", "does not list what the signed manifest lists"))

    # 3

    def check_files(self) -> None:
        wrong: list[tuple[str, str]] = []
        listed = self.files.sums
        for name in sorted(self.files.names - listed.keys() - UNSUMMED):
            hint = " (your computer may have written it when you opened the folder)" if hidden(name) else ""
            wrong.append((name, f"was added after the export: SHA256SUMS does not list it{hint}; remove it"))
        for number, name in enumerate(sorted(listed)):
            self._tell("files", number, len(listed))
            if name not in self.files.names:
                wrong.append((name, "is missing"))
            else:
                try:
                    found = self.files.digest(name)
                except BrokenError as error:
                    wrong += error.found
                    continue
                if found != listed[name]:
                    wrong.append((name, "is not what was exported: its SHA-256 differs"))
                elif name.startswith("objects/") and name != object_path(listed[name]):
                    wrong.append((name, "does not lie under its own digest"))
        if wrong:
            raise BrokenError(*sorted(wrong))
        self.proved.append(f"all {len(listed):,} files are what was exported; none is missing, none was added")

    # 4

    def check_notes(self) -> None:
        first, last = self.predicate["range"]["first"], self.predicate["range"]["last"]
        for name in sorted(n for n in self.files.sums if n.startswith("checkpoints/")):
            try:
                size, root = read_note(self.files.read(name).decode(), self.key)
            except ValueError as error:
                raise BrokenError((name, str(error))) from error
            if name != f"checkpoints/{size:020d}.note" or not first <= size <= last:
                raise BrokenError((name, f"is a checkpoint over {size} entries, which does not belong here"))
            self.notes[size] = (name, root)
        if last not in self.notes or (first and first not in self.notes):
            raise BrokenError(("checkpoints", f"the range [{first}, {last}) does not begin and end at a checkpoint"))
        self.proved.append(f"{len(self.notes):,} checkpoints are signed by the same key")
        if self.trust is None or not self.trust.keys:
            self.unproved.append(
                f"whose key it is: it is signed by {self.key.text}, which came with the package; compare it with the "
                "one you hold (--trust)"
            )
        else:
            self.proved.append("the key is the one that you hold")
        if self.trust is not None:
            self.unproved += self.trust.believe(self.key, first, last)

    # 5

    def walk(self) -> None:
        """Reads every entry of the range once, in order."""
        name = "ledger/entries.jsonl"
        span = self.files.json("ledger/range.json")
        first, last = self.predicate["range"]["first"], self.predicate["range"]["last"]
        if (span["first"], span["last"], span["origin"]) != (first, last, self.key.name):
            raise BrokenError(("ledger/range.json", "is another range than the signed manifest says"))
        frontier = [bytes.fromhex(text) for text in span["frontier"]]
        ones = bin(first).count("1")  # noqa: FURB161  Python 3.9 has no bit_count
        if len(frontier) != ones or any(len(item) != 32 for item in frontier):
            raise BrokenError(("ledger/range.json", f"its frontier is not that of {first} entries"))
        held = {} if self.trust is None else {size: root for _, size, root in self.trust.notes}
        stops = self.notes.keys() | held.keys()
        handlers = {"run": self._run, "plan": self._plan, "gap": self._gap, "key": self._log_key}
        kinds, sha256, decode = self.kinds, hashlib.sha256, json.JSONDecoder().raw_decode  # the inner loop
        seq, newest, stamped = first, "", STAMP.fullmatch
        if first:
            self._check_root(first, frontier, held)
        with self.files.source.open(name) as lines:
            for line in lines:
                body = line[:-1]
                if line[-1:] != b"\n" or len(body) > ENTRY_BYTES_MAX:
                    raise BrokenError((f"{name} entry {seq}", "is cut off or too long"))
                rising, size = sha256(b"\x00" + body).digest(), seq
                while size & 1:
                    rising = sha256(b"\x01" + frontier.pop() + rising).digest()
                    size >>= 1
                frontier.append(rising)
                try:
                    text = body.decode()
                    entry, end = decode(text)
                    if end != len(text):
                        raise ValueError(f"more follows after {end} characters")
                    number, kind, at = entry["seq"], entry["kind"], entry["at"]
                    if number != seq:
                        raise BrokenError((f"{name} entry {seq}", f"is not there: entry {number} stands in its place"))
                    if not stamped(at):
                        raise ValueError(f"{at!r} is no time")
                    if at >= newest:
                        newest = at
                    elif seconds(newest) - seconds(at) > TOLERANCE_SECONDS:
                        raise BrokenError((f"{name} entry {seq}", f"goes back in time: {at} after {newest}"))
                    kinds[kind] = kinds.get(kind, 0) + 1
                    handler = handlers.get(kind)
                    if handler is not None:
                        handler(entry)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise BrokenError((f"{name} entry {seq}", f"is not as an entry must be: {error!r}")) from error
                seq += 1
                if seq in stops:
                    self._check_root(seq, frontier, held)
                    self._tell("entries", seq - first, last - first)
        if seq != last:
            raise BrokenError((f"{name} entry {seq}", f"is not there: the range ends at {last}"))
        if fold(frontier).hex() != self.predicate["range"]["root"]:
            raise BrokenError((name, "has another root than the signed manifest says"))
        self._say_what_was_walked(first, last, held)

    def _say_what_was_walked(self, first: int, last: int, held: dict[int, bytes]) -> None:
        self.proved.append(
            f"entries {first:,} to {last - 1:,} are complete, unchanged, in order of time, and hash to the root of "
            "each checkpoint"
        )
        self.proved.append(
            f"{self.payloads:,} runs of the window: counts add up, call logs, answers and observations are all there, "
            "each listing was read to its last page"
        )
        if self.payloads:
            self.proved.append(
                f"no answer's own date differs from the collector's clock by more than {TOLERANCE_SECONDS} s "
                f"(at most {abs(self.skew_s):.0f} s)"
            )
        if held:
            self.proved.append(
                f"the first {max(held):,} entries are those of the checkpoint that you hold: not rewritten since"
            )
        else:
            self.unproved.append(
                "that history was not rewritten by whoever holds the key: nothing outside holds a checkpoint of it; "
                f"keep checkpoints/{last:020d}.note, and put it into your --trust folder next time"
            )

    def _check_root(self, size: int, frontier: Sequence[bytes], held: dict[int, bytes]) -> None:
        root = fold(frontier)
        if size in self.notes and self.notes[size][1] != root:
            name = self.notes[size][0]
            before = max((known for known in self.notes if known < size), default=self.predicate["range"]["first"])
            where = "ledger/range.json" if size == before else f"ledger/entries.jsonl entries {before} to {size - 1}"
            raise BrokenError((where, f"are not what was signed in {name}: they hash to another root"))
        if held.get(size, root) != root:
            raise BrokenError(
                ("ledger", f"history was rewritten: the checkpoint over {size} entries that you hold has another root")
            )

    def _log_key(self, entry: Any) -> None:
        if entry["vkey"] != self.key.text:
            raise BrokenError(
                (place_of(entry), f"names another key, {entry['vkey']}; this program follows one key only")
            )

    def _plan(self, entry: Any) -> None:
        if seconds(entry["at"]) - seconds(entry["since"]) > TOLERANCE_SECONDS:
            what = f"plans from {entry['since']} on and was written at {entry['at']}: a plan comes before what it plans"
            raise BrokenError((place_of(entry), what))
        self.plans.setdefault(entry["account"], []).append(entry)

    def _gap(self, entry: Any) -> None:
        self.gaps.setdefault(entry["account"], []).append(entry)

    # 6

    def covers(self, check: str, scope: str) -> bool:
        """Whether this export is about a check over a scope."""
        return check in self.checks and (
            not self.scopes or any(scope == known or scope.startswith(known + "/") for known in self.scopes)
        )

    def in_window(self, entry: Any) -> bool:
        """Whether this export holds what a run rests on."""
        moment = entry["slot"] or entry["started"]
        return bool(self.since <= moment < self.until and self.covers(entry["check"], entry["scope"]))

    def _run(self, entry: Any) -> None:
        slot, started, finished = entry["slot"], entry["started"], entry["finished"]
        population, states = entry["population"], entry["states"]
        if population is None:
            if states or entry["observations"] or entry["subjects"] or not entry["reason"] or not entry["failure"]:
                raise BrokenError((place_of(entry), "has no population, and yet states, or no reason"))
        elif sum(states.values()) != population or states.keys() != STATE_SET or min(states.values()) < 0:
            raise BrokenError(
                (place_of(entry), f"has {population} subjects, but its states count {sum(states.values())}")
            )
        if not (slot or started) <= started <= finished <= entry["at"] or started[:10] != entry["at"][:10]:
            self._check_times(entry)
        if not self.in_window(entry):
            return
        self.payloads += 1
        self._check_evidence(entry)
        if slot is None:
            return
        known = self.runs.setdefault((entry["check"], entry["scope"]), {})
        if slot in known:
            known[slot][4] += 1
        else:
            known[slot] = [entry["seq"], started, population, states, 1]

    def _check_times(self, entry: Any) -> None:
        """Times that are out of order may be so by as much as clocks may differ. Nothing is written a day later."""
        times = [entry["slot"] or entry["started"], entry["started"], entry["finished"], entry["at"]]
        for before, after in zip(times, times[1:]):  # noqa: B905, RUF007  Python 3.9 has neither strict nor pairwise
            if seconds(before) - seconds(after) > TOLERANCE_SECONDS:
                due, begun, ended, written = times
                raise BrokenError((place_of(entry), f"due {due}, begun {begun}, ended {ended}, written {written}"))
        if seconds(entry["at"]) - seconds(entry["started"]) > RUN_SECONDS_MAX:
            what = f"begun {entry['started']} and written {entry['at']}: no run takes that long, it was written back"
            raise BrokenError((place_of(entry), what))

    def _check_evidence(self, entry: Any) -> None:
        """Everything that a run rests on is in the package, and says what the entry says."""
        config, calls_digest, source = entry["config"], entry["calls"], (entry["check"], entry["code"])
        if config not in self.known:
            if not self.files.has_object(config):
                raise BrokenError((object_path(config), f"is missing: {place_of(entry)} rests on it"))
            self.known.add(config)
        if source not in self.known:
            name = f"checks/{source[0]}/{source[1]}.py"
            if self.files.sums.get(name) != source[1]:
                raise BrokenError((name, f"is missing or another: {place_of(entry)} was judged by it"))
            self.known.add(source)
        calls = self.calls.get(calls_digest)
        if calls is None:
            if len(self.calls) > 64:
                self.calls.clear()  # runs of one slot stand together; older call logs are not asked for again
            calls = self.calls[calls_digest] = self._calls(entry, object_path(calls_digest))
        if entry["population"] is None:
            return
        observed = self.observed.get(entry["observations"])
        if observed is None:
            if len(self.observed) > 4096:
                self.observed.clear()
            observed = self._observed(object_path(entry["observations"]), entry["observations"])
            self.observed[entry["observations"]] = observed
        if observed.subjects != entry["subjects"] or observed.states != entry["states"]:
            name = object_path(entry["observations"])
            raise BrokenError((place_of(entry), f"counts other subjects or states than its observations, {name}"))
        if not observed.every <= calls.ids:
            name = object_path(entry["observations"])
            what = f"its observations rest on an answer that its call log does not hold, {name}"
            raise BrokenError((place_of(entry), what))
        if calls.unfinished and (cut := observed.rests_on & calls.unfinished.keys()):
            operation = calls.unfinished[min(cut)]
            raise BrokenError((place_of(entry), f"rests on {operation}, whose last page is missing in {calls_digest}"))

    def _calls(self, entry: Any, name: str) -> Calls:
        if name not in self.files.sums:
            raise BrokenError((name, f"is missing: {place_of(entry)} rests on it"))
        try:
            found = Calls(name, self.files.read(name), self.files)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenError((name, f"is no call log: {error!r}")) from error
        self.skew_s = max(self.skew_s, found.skew_s, key=abs)
        return found

    def _observed(self, name: str, digest: str) -> Observed:
        try:
            return Observed(self.files.object(digest))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise BrokenError((name, f"is no list of observations: {error!r}")) from error

    # 7

    def account_for(self) -> None:
        """Finds the outcome of every slot that the plans ask for in the window."""
        grace, slots = self.predicate["grace_s"], self.slots
        times: dict[range, list[tuple[str, str]]] = {}  # most checks are due at the same moments
        begin, end = whole_seconds(self.since), whole_seconds(self.until)
        others = 0
        for account in sorted(self.plans):
            gaps = sorted(self.gaps.get(account, ()), key=lambda gap: gap["since"])[::-1]
            for since, until, plan in in_force(self.plans[account]):
                for item in plan["checks"]:
                    every, offset = item["every_s"], item["offset_s"]
                    start = max(whole_seconds(since), begin)
                    start = -(-(start - offset) // every) * every + offset
                    units = range(start, min(whole_seconds(until), end), every)
                    if units not in times:
                        times[units] = [(stamp_of(unix), stamp_of(unix + grace)) for unix in units]
                    dues = times[units]
                    each = [f"{account}/{part}" for part in plan["parts"]] if "scopes" not in item else item["scopes"]
                    for scope in each:
                        if not self.covers(item["check"], scope):
                            others += len(dues)
                            continue
                        runs = self.runs.get((item["check"], scope), {})
                        for due, deadline in dues:
                            found = outcome(due, deadline, runs.get(due), gaps, item["check"])
                            slots[account, item["check"], scope, due] = found
        if not slots:
            self.unproved.append("that anything was due: no plan in the package asks for anything in the window")
        self._count()
        if others:
            self.unproved.append(
                f"{others:,} slots of checks or scopes that this export leaves out are not accounted for in it"
            )

    def _count(self) -> None:
        counts = dict.fromkeys(OUTCOMES, 0)
        for (account, check, scope, due), (state, *_) in self.slots.items():
            counts[state] += 1
            if state == "missed":
                self.missed.append({"account": account, "check": check, "scope": scope, "due": due})
        plan = self.files.json("plan.json")
        if plan["due"] != len(self.slots) or plan["counts"] != counts:
            raise BrokenError(
                ("plan.json", f"does not count what the plans and runs give: {len(self.slots)} due, {counts}")
            )
        words = ", ".join(f"{count:,} {state}" for state, count in counts.items())
        self.proved.append(f"every slot due in the window has an outcome: {len(self.slots):,} due, {words}")
        self.missed.sort(key=lambda item: (item["due"], item["check"], item["scope"]))

    # 8

    def _rows(self, name: str, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """The numbered rows of a table, of each only some columns. Raises ValueError when one of them is not there."""
        with self.files.source.open(name) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
            rows = csv.reader(text)
            header = next(rows, [])
            places = [header.index(column) for column in columns]
            for number, row in enumerate(rows, 2):
                if len(row) != len(header):
                    raise BrokenError((f"{name} row {number}", "has another number of cells than the header"))
                yield number, [row[place] for place in places]

    def compare_results(self) -> None:
        name, slots = "tables/results.csv", self.slots
        seen: set[tuple[str, ...]] = set()
        counts = [known.replace("-", "_") for known in STATES]
        columns = ("account", "check", "scope", "due_utc", "state", "gap", "run", "started_utc", "population", *counts)
        for number, row in self._rows(name, (*columns, "runs")):
            place = (row[0], row[1], row[2], row[3])
            if place not in slots or place in seen:
                raise BrokenError((f"{name} row {number}", f"is no slot that the plan asks for: {' '.join(place)}"))
            seen.add(place)
            state, run, gap = slots[place]
            wanted = [state, "" if gap is None else str(gap), "", "", "", "", "", "", "", "0"]
            if run is not None:
                seq, started, population, states, times = run
                wanted[2:4] = [str(seq), started]
                if population is not None:
                    wanted[4:9] = [str(population), *[str(states[known]) for known in STATES]]
                wanted[9] = str(times)
            if row[4:] != wanted:
                raise BrokenError((f"{name} row {number}", f"says something else than the ledger: {' '.join(place)}"))
        if len(seen) != len(slots):
            gone = min(slots.keys() - seen)
            raise BrokenError((name, f"leaves out {len(slots) - len(seen)} slots, first {' '.join(gone)}"))

    def compare_coverage(self) -> None:
        name = "tables/coverage.csv"
        counts: dict[tuple[str, str], dict[str, int]] = {}
        for (_, check, scope, _), (state, *_) in self.slots.items():
            counts.setdefault((check, scope), dict.fromkeys(OUTCOMES, 0))[state] += 1
        for number, (check, scope, *stated) in self._rows(name, ("check", "scope", "due", *OUTCOMES)):
            found = counts.pop((check, scope), {})
            if stated != [str(sum(found.values())), *(str(found.get(state, 0)) for state in OUTCOMES)]:
                where = f"{check} over {scope}"
                raise BrokenError((f"{name} row {number}", f"counts other slots than the ledger: {where}"))
        if counts:
            raise BrokenError((name, f"leaves out {' over '.join(min(counts))}"))
        self.proved.append("results.csv and coverage.csv say what plans, runs and gaps in the ledger say")

    # 9

    def reperform(self, run_packaged_checks: bool) -> None:
        """Judges again from the kept answers when the collector is installed here; otherwise says that it did not."""
        how = "install the collector and run `collector verify PACKAGE`"
        try:
            here = importlib.util.find_spec("collector") is not None
            engine = importlib.import_module("collector.reperform") if here else None
            registry = engine.installed() if engine else None
        except Exception as error:  # whatever is wrong with an installation is no fault of the package
            engine, how = None, f"the collector that is installed here cannot be loaded ({error!r})"
        if engine is None:
            self.unproved.append(f"verdicts were not judged again from the kept answers: {how}")
            return
        done = 0
        differs: list[tuple[str, str]] = []
        could_not: dict[str, int] = {}
        for calls, entries in self._account_runs():
            for problem in engine.reperform(
                self.files.object(calls),
                self.files.object,
                entries,
                registry,
                self._source,
                run_packaged_checks=run_packaged_checks,
            ):
                if problem.differs:
                    differs.append((f"ledger/entries.jsonl entry {problem.seq}", problem.what))
                else:
                    could_not[problem.what] = could_not.get(problem.what, 0) + 1
            done += len(entries)
            self._tell("verdicts", done, self.payloads)
        if differs:
            raise BrokenError(*differs)
        missing = sum(could_not.values())
        self.proved.append(f"{done - missing:,} of {done:,} runs give the same verdicts again from the kept answers")
        for what, count in sorted(could_not.items()):
            self.unproved.append(f"{count:,} runs were not re-performed: {what}")

    def _source(self, code: str) -> bytes | None:
        found = [name for name, digest in self.files.sums.items() if digest == code and name.startswith("checks/")]
        return self.files.read(found[0]) if found else None

    def _account_runs(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """The runs of the window, those together that share a call log."""
        together: list[dict[str, Any]] = []
        with self.files.source.open("ledger/entries.jsonl") as lines:
            for line in lines:
                if b'"kind":"run"' not in line:
                    continue
                entry = json.loads(line)
                if entry["kind"] != "run" or not self.in_window(entry):
                    continue
                if together and together[0]["calls"] != entry["calls"]:
                    yield together[0]["calls"], together
                    together = []
                together.append(entry)
        if together:
            yield together[0]["calls"], together

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.progress and time.monotonic() - self.told > 0.1:
            self.told = time.monotonic()
            sys.stderr.write(f"\r{what} {done:,} of {total:,}    ")
            sys.stderr.flush()


def place_of(entry: Any) -> str:
    return f"ledger/entries.jsonl entry {entry['seq']}"


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over neighbouring complete subtrees, largest first (RFC 6962)."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = hashlib.sha256(b"\x01" + left + root).digest()
    return root


def hidden(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last.startswith((".", "~$")) or last.lower() in ("thumbs.db", "desktop.ini")


def whole_seconds(stamp: str) -> int:
    """Unix time, rounded up."""
    return -int(-seconds(stamp) // 1)


def in_force(plans: Sequence[dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    """One account's plans as stretches that do not overlap: at each moment the newest plan that covers it."""
    stretches: list[tuple[str, str, dict[str, Any]]] = []
    for plan in plans:  # in the order of the ledger
        kept: list[tuple[str, str, dict[str, Any]]] = []
        for since, until, older in stretches:
            if since < plan["since"]:
                kept.append((since, min(until, plan["since"]), older))
            if until > plan["until"]:
                kept.append((max(since, plan["until"]), until, older))
        stretches = [*(s for s in kept if s[0] < s[1]), (plan["since"], plan["until"], plan)]
    return sorted(stretches, key=lambda s: s[0])


def outcome(due: str, deadline: str, run: Any, gaps: Sequence[dict[str, Any]], check: str) -> Slot:
    """What became of one slot: a word, its run, and the entry that declares it a gap. The first run decides."""
    if run is None:
        for gap in gaps:
            if gap["since"] <= due < gap["until"] and (not gap["checks"] or check in gap["checks"]):
                return "gap", None, gap["seq"]
        return "missed", None, None
    _, started, population, states, _ = run
    if population is None:
        return "gap", run, None
    if states["undetermined"]:
        return "partial", run, None
    return ("late" if started > deadline else "observed"), run, None


# --- what the reader is told ---

LIMITS = (
    "that no account or region was left out of the plan from the first day: compare it with a list of all accounts",
    "that no answer was forged before it was written down: find request ids in the cloud's own log, and look yourself",
    "what happened between two runs: a state that came and went in between was not seen",
    "answers of runs outside the window: the ledger entries are here, what they rest on is not",
)


def prove(path: Path, trust: Path | None, run_packaged_checks: bool, progress: bool) -> dict[str, Any]:
    """Everything that is to be said about a package, as printed by --json. Raises UsageError."""
    held = None if trust is None else Trust(trust)
    if not path.exists():
        raise UsageError(f"{path}: there is no such folder or zip file")
    broken: list[tuple[str, str]] = []
    proof: Proof | None = None
    try:
        files = Files(Folder(path) if path.is_dir() else Zip(path))
        proof = Proof(files, held, progress)
        proof.run(run_packaged_checks)
    except BrokenError as error:
        broken = list(error.found)
    except OSError as error:
        broken = [(str(error.filename or path), f"cannot be read: {error.strerror}")]
    finally:
        if progress:
            sys.stderr.write("\r" + " " * 60 + "\r")
    return {
        "package": str(path),
        "verified": not broken,
        "broken": [{"where": where, "what": what} for where, what in broken],
        "proved": proof.proved if proof else [],
        "not_proved": ([] if broken or proof is None else proof.unproved) + list(LIMITS),
        "missed": proof.missed if proof else [],
        "signed_by": proof.key.text if proof and proof.predicate else None,
        "window": proof.predicate.get("window") if proof else None,
        "range": proof.predicate.get("range") if proof else None,
        "verifier": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
    }


def print_text(found: dict[str, Any]) -> None:
    window, span = found["window"], found["range"]
    print(f"Package   {found['package']}")
    if window:
        print(f"Window    {window['name']}: {window['since']} to {window['until']} ({window['zone']})")
        print(f"Ledger    {span['first']:,} to {span['last']:,}, signed by {found['signed_by']}")
    for title, lines in (("Proved", found["proved"]), ("Not proved", found["not_proved"])):
        if lines:
            print(f"\n{title}")
            for line in lines:
                print(f"  - {line}")
    if found["missed"]:
        print(f"\nMissed: {len(found['missed']):,} slots were due, and have neither a run nor a declared gap")
        for item in found["missed"][:FAILURES_TOLD]:
            print(f"  - {item['due']} {item['check']} over {item['scope']}")
        if len(found["missed"]) > FAILURES_TOLD:
            print('  - more: see --json, or state "missed" in tables/results.csv')
    if found["broken"]:
        print("\nBroken")
        for item in found["broken"][:FAILURES_TOLD]:
            print(f"  - {item['where']}: {item['what']}")
        if len(found["broken"]) > FAILURES_TOLD:
            print(f"  - and {len(found['broken']) - FAILURES_TOLD:,} more: see --json")
    print(f"\nThis verifier's SHA-256 is {found['verifier']}: compare it with the one published for its release.")
    if found["verified"]:
        print("VERIFIED: what can be proved holds.")
    else:
        first = found["broken"][0]
        print(f"DOES NOT VERIFY: {first['where']}: {first['what']}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Prints, and returns the exit code: 0 fine, 2 usage, 4 does not verify."""
    words = argparse.ArgumentParser(prog="verify.py", description="Prove an evidence package, offline.")
    words.add_argument("package", nargs="?", type=Path, help="a folder or a .zip; default: where this file is")
    words.add_argument("--trust", type=Path, metavar="DIR", help="your own folder: log.vkey, earlier *.note")
    words.add_argument("--json", action="store_true", help="print JSON")
    words.add_argument(
        "--run-packaged-checks",
        action="store_true",
        help="judge with the check sources in the package where others are installed: only code that you trust",
    )
    given = words.parse_args(arguments)
    try:
        progress = sys.stderr.isatty() and not given.json
        package = given.package or Path(__file__).resolve().parent
        found = prove(package, given.trust, given.run_packaged_checks, progress)
    except UsageError as error:
        print(f"verify.py: {error}", file=sys.stderr)
        return USAGE
    if given.json:
        print(json.dumps(found, indent=2, sort_keys=True))
    else:
        print_text(found)
    return FINE if found["verified"] else BROKEN


if __name__ == "__main__":
    sys.exit(main())
