#!/usr/bin/env python3
"""Proves an evidence package on any machine: one file, Python 3.9 or newer, nothing to install, no network.

    python3 verify.py [PACKAGE] [--trust DIR] [--json] [--run-packaged-checks]
    python3 verify.py [PACKAGE] --sample CONTROL --seed S [--n N]

PACKAGE is a folder or a .zip; without it, the folder that this file stands in. DIR is your own folder, not one that
came with the package, for nothing in a package vouches for itself. It holds what you were given by another way, as far
as you were: `log.vkey` and `witness.vkey` (keys of the ledger and of its witnesses, one a line), `tsa.pem` (root
certificates of time stamping authorities; their stamps are verified with the `openssl` command), and `*.note`, also in
folders below (checkpoints that were handed to you earlier, or that you fetched from a write-once store).
Exit code 0: what can be proved holds. 4: something does not, and the first thing that does not is named first.
2: the question cannot be asked like this.

What is done, in this order, each step resting on those before it:

    1 the manifest is exactly what was signed        7 anchors: tokens, times, what each of them proves to you
    2 SHA256SUMS is what the manifest says           8 payloads that are missing were dropped after their term
    3 every file is what SHA256SUMS says, no more,   9 plan: every slot due in the window has an outcome
      no fewer                                      10 tables say what the ledger says
    4 entries from before the range: proofs         11 controls and checks are those of the configuration
    5 entries: bytes, order, times, runs, and the   12 verdicts again from the kept answers (needs the collector)
      root at each checkpoint
    6 keys: who signed which checkpoint

It shares no code with the collector that wrote the package. docs/reference/package.md and ledger.md of the collector
describe the formats, docs/decisions/0006 the rules of anchors, keys and levels.
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
import heapq
import importlib
import importlib.util
import io
import json
import math
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

FINE, USAGE, BROKEN = 0, 2, 4

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:evidence-collector:package:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
KEY_STATEMENT = "evidence-collector/key/v1"
PROOF = "c2sp.org/tlog-proof@v1"
UNSUMMED = frozenset(("SHA256SUMS", "manifest.dsse.json"))  # one is signed, the other is the signature

TOLERANCE_BEAT = 60_000_000  # microseconds by which a heartbeat may come late before it counts as missed
CLOCK_MS_MAX = 5 * 60 * 1000  # by which a clock may be off, in milliseconds
TOLERANCE_SECONDS = 300  # by which clocks may differ, and entries stand out of order
LATE_SECONDS = 7_200  # after which an entry that is first stamped could have been written afterwards
PAUSE_SECONDS = 2_700  # what a silence adds at most to the time for which the collector ran
RUN_SECONDS_MAX = 86_400 + TOLERANCE_SECONDS  # the longest run that a configuration allows

ENTRY_BYTES_MAX = 65_535
MANIFEST_BYTES_MAX = 4 << 20
NOTE_BYTES_MAX = 1_000_000
TOKEN_BYTES_MAX = 1 << 20
FILE_BYTES_MAX = 1 << 30  # of a file that is read in one piece
PACKAGE_BYTES_MAX = 1 << 40  # of all files, unpacked
PACKAGE_FILES_MAX = 20_000_000
UNPACKED_RATIO_MAX = 500  # of a file above a megabyte in a zip: what a collector writes packs to a hundredth at best
OPENSSL_SECONDS_MAX = 60
TOLD_MAX = 20  # of each kind of thing, in the text for people
HELD_SUBJECTS_MAX = 300_000  # of observations that are kept because the next run may say the same

UTC = timezone.utc  # noqa: UP017  Python 3.9 knows no datetime.UTC
Slot = tuple[str, Any, Any]  # outcome, run, seq of a gap entry
Hole = tuple[float, str]  # how many seconds a stretch lasted, and when it began; 0 and "" where there is none
STATES = ("satisfied", "not-satisfied", "not-applicable", "undetermined")
STATE_SET = frozenset(STATES)
OUTCOMES = ("observed", "late", "partial", "gap", "missed")
RUN_BY_A_SPREADSHEET = ("=", "+", "-", "@", "\t", "\r")

PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
SUM_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
DIGEST = re.compile(r"[0-9a-f]{64}")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
WHOLE = re.compile(r"-?[0-9]+")
DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")


class BrokenError(Exception):
    """The package does not hold. ``found`` names each thing that is wrong: (file or entry, what is wrong with it)."""

    def __init__(self, *found: tuple[str, str]) -> None:
        super().__init__(found)
        self.found = found


class UsageError(Exception):
    """The question cannot be asked like this."""


# --- two curves, verification only: no secret is handled, so time does not matter ---

Point = tuple[int, ...]


class Multiples:
    """All ``digit * 16**place * point``, so that a multiple of the point costs 64 additions."""

    def __init__(self, point: Point, add: Callable[[Any, Any], Any], neutral: Point) -> None:
        self.add, self.neutral = add, neutral
        self.rows: list[list[Point]] = []
        for _ in range(64):
            row = [neutral]
            for _ in range(15):
                row.append(add(row[-1], point))
            self.rows.append(row)
            point = add(row[-1], point)

    def times(self, number: int) -> Point:
        found, add = self.neutral, self.add
        for row in self.rows:
            if number & 15:
                found = add(found, row[number & 15])
            number >>= 4
        return found


# Ed25519 (RFC 8032)

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE_D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL: Point = (0, 1, 1, 0)  # extended coordinates: x = X/Z, y = Y/Z, xy = T/Z


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
            Ed25519Key.generator = Multiples(GENERATOR, add, NEUTRAL)
        self.public = public
        self.minus = Multiples((P - point[0], point[1], 1, P - point[3]), add, NEUTRAL)

    def verify(self, message: bytes, signature: bytes) -> bool:
        if len(signature) != 64:
            return False
        s = int.from_bytes(signature[32:], "little")
        if s >= ORDER:
            return False
        h = int.from_bytes(hashlib.sha512(signature[:32] + self.public + message).digest(), "little") % ORDER
        assert Ed25519Key.generator is not None
        return bytes_of(add(Ed25519Key.generator.times(s), self.minus.times(h))) == signature[:32]


# ECDSA over P-256 with SHA-256 (FIPS 186-5), for keys that live in a service without Ed25519

P256 = 2**256 - 2**224 + 2**192 + 2**96 - 1
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
P256_GENERATOR: Point = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    1,
)
P256_NEUTRAL: Point = (0, 1, 0)  # homogeneous coordinates: x = X/Z, y = Y/Z
# SubjectPublicKeyInfo in DER up to the 64 bytes of an uncompressed point (RFC 5480)
P256_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")


def add_p256(p: Point, q: Point) -> Point:
    """Complete: also right for equal, opposite and neutral points (Renes, Costello, Batina 2015, algorithm 4)."""
    xx, yy, zz = p[0] * q[0] % P256, p[1] * q[1] % P256, p[2] * q[2] % P256
    xy = ((p[0] + p[1]) * (q[0] + q[1]) - xx - yy) % P256
    yz = ((p[1] + p[2]) * (q[1] + q[2]) - yy - zz) % P256
    xz = ((p[0] + p[2]) * (q[0] + q[2]) - xx - zz) % P256
    low = 3 * (xz - P256_B * zz)
    minus, plus = (yy - low) % P256, (yy + low) % P256
    much = 3 * (P256_B * xz - 3 * zz - xx) % P256
    three = 3 * (xx - zz) % P256
    return (plus * xy - yz * much) % P256, (plus * minus + three * much) % P256, (minus * yz + xy * three) % P256


class P256Key:
    """A public key. Raises ValueError when the bytes are no key."""

    generator: Multiples | None = None

    def __init__(self, spki: bytes) -> None:
        if len(spki) != len(P256_HEAD) + 64 or not spki.startswith(P256_HEAD):
            raise ValueError("not a P-256 key")
        x, y = int.from_bytes(spki[-64:-32], "big"), int.from_bytes(spki[-32:], "big")
        if x >= P256 or y >= P256 or (y * y - x * x * x + 3 * x - P256_B) % P256:
            raise ValueError("not a P-256 key: no point of the curve")
        if P256Key.generator is None:
            P256Key.generator = Multiples(P256_GENERATOR, add_p256, P256_NEUTRAL)
        self.point = Multiples((x, y, 1), add_p256, P256_NEUTRAL)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """``signature`` is r and s as two integers in DER."""
        try:
            ((_, both),) = der(signature, 0x30)
            (_, r_bytes), (_, s_bytes) = der(both, 0x02, 0x02)
        except ValueError:
            return False
        r, s = int.from_bytes(r_bytes, "big", signed=True), int.from_bytes(s_bytes, "big", signed=True)
        if not (0 < r < P256_ORDER and 0 < s < P256_ORDER):
            return False
        inverse = pow(s, -1, P256_ORDER)
        digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
        assert P256Key.generator is not None
        mine = P256Key.generator.times(digest * inverse % P256_ORDER)
        x, _, z = add_p256(mine, self.point.times(r * inverse % P256_ORDER))
        return z != 0 and x * pow(z, -1, P256) % P256 % P256_ORDER == r


# --- DER, as far as signatures and time stamps need it (X.690) ---


def der(data: bytes, *wanted: int) -> list[tuple[int, bytes]]:
    """The values that stand one after the other in ``data``: tag and content of each.

    With ``wanted``, exactly values of these tags. Raises ValueError for anything that is not DER.
    """
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        if at + 2 > len(data) or data[at] & 31 == 31:
            raise ValueError("not DER")
        tag, length = data[at], data[at + 1]
        at += 2
        if length > 127:
            count = length & 127
            length = int.from_bytes(data[at : at + count], "big")
            if not 1 <= count <= 4 or length < 128 or length >> 8 * (count - 1) == 0:
                raise ValueError("not DER: a length that is not written as it must be")
            at += count
        content = data[at : at + length]
        if len(content) != length:
            raise ValueError("not DER: it is cut off")
        if tag == 0x02 and (
            not content or (len(content) > 1 and content[0] in (0, 255) and not (content[0] ^ content[1]) & 128)
        ):
            raise ValueError("not DER: an integer that is not written as it must be")
        found.append((tag, content))
        at += length
    if wanted and [tag for tag, _ in found] != list(wanted):
        raise ValueError("not DER as it is expected here")
    return found


def der_within(data: bytes, *places: int) -> bytes:
    """The content of the value at ``places``: the place in ``data``, then within that value, and so on."""
    for place in places:
        data = der(data)[place][1]
    return data


# --- keys and notes as C2SP has them (c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature) ---


class Plain:
    """What costs time, done with the standard library. `collector verify` hands in something faster that does the
    same; nothing else of this program changes, and what does not hold by that is proved again by this."""

    ed25519: Callable[[bytes], Any] = Ed25519Key
    p256: Callable[[bytes], Any] = P256Key

    @staticmethod
    def roots(
        source: Any, name: str, first: int, frontier: list[bytes], stops: Any
    ) -> Callable[[], dict[int, bytes]] | None:
        """Begins to hash the lines of a file beside us, and gives what waits for the root at each of ``stops``."""
        return None

    @staticmethod
    def stop() -> None:
        """Nothing that runs beside us is waited for any more."""

    decode = staticmethod(json.JSONDecoder().raw_decode)

    @classmethod
    def loads(cls, data: bytes) -> Any:
        """The one JSON value that ``data`` is, perhaps with a line's end after it. Raises ValueError."""
        text = data.decode()
        value, end = cls.decode(text)
        if len(text) - end > text.endswith("\n"):
            raise ValueError(f"more follows after {end} characters")
        return value


def unbase64(text: str) -> bytes:
    """Base 64 in the one way that it can be written. Raises ValueError."""
    data = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not Base 64 as it must be written")
    return data


class Key:
    """A public key, written ``name+id+key``. Raises ValueError when it is not written so, or is not of ``kinds``.

    1 is an Ed25519 key, 2 an ECDSA key over P-256, 4 the Ed25519 key of a witness.
    """

    def __init__(self, text: str, fast: Any, kinds: Sequence[int] = (1, 2)) -> None:
        self.name, id, encoded = text.split("+", 2)
        raw = unbase64(encoded)
        if not raw or raw[0] not in kinds:
            raise ValueError("not a key of the kind that belongs here")
        self.text, self.kind = text, raw[0]
        named = raw[1:] if self.kind == 2 else self.name.encode() + b"\n" + raw
        self.id = hashlib.sha256(named).digest()[:4]
        if self.id.hex() != id:
            raise ValueError("the key does not fit its id: it was mistyped")
        self.key = fast.p256(raw[1:]) if self.kind == 2 else fast.ed25519(raw[1:])

    def verify(self, message: bytes, signature: bytes) -> bool:
        return bool(self.key.verify(message, signature))


class Note:
    """A signed checkpoint, taken apart and not yet believed. Raises ValueError with words that follow its name."""

    def __init__(self, data: bytes) -> None:
        note = data.decode()
        text, blank, tail = note.rpartition("\n\n")
        self.text = text + "\n"
        lines = self.text.split("\n")
        if not blank or not tail.endswith("\n") or len(lines) < 4 or any(c < " " and c != "\n" for c in note):
            raise ValueError("is not a signed checkpoint")
        self.origin, size, root = lines[:3]
        self.size, self.root = int(size), unbase64(root)
        if str(self.size) != size or self.size < 0 or len(self.root) != 32:
            raise ValueError("states no size and root")
        self.signatures: list[tuple[str, bytes, bytes]] = []  # name, id, signature
        for line in tail[:-1].split("\n"):
            if not line.startswith("\u2014 "):
                raise ValueError("has a line under it that is no signature")
            name, _, encoded = line[2:].partition(" ")
            signature = unbase64(encoded)
            self.signatures.append((name, signature[:4], signature[4:]))

    def doubt(self, key: Key) -> str:
        """Why it is not signed by the holder of ``key``, in words that follow its name; "" when it is."""
        if self.origin != key.name:
            return f"is of the ledger {self.origin}, not {key.name}"
        signed = [signature for name, id, signature in self.signatures if (name, id) == (key.name, key.id)]
        if not signed:
            return f"is not signed by {key.text}"
        if not all(key.verify(self.text.encode(), signature) for signature in signed):
            return f"is not what {key.name} signed"
        return ""

    def cosigned(self, witness: Key) -> int | None:
        """When a witness says that it saw it, as unix time; None when it does not say so. Raises ValueError."""
        for name, id, signature in self.signatures:
            if (name, id) == (witness.name, witness.id):
                moment = int.from_bytes(signature[:8], "big")
                if not witness.verify(f"cosignature/v1\ntime {moment}\n{self.text}".encode(), signature[8:]):
                    raise ValueError(f"is not what {witness.name} cosigned")
                return moment
        return None


# --- time stamps (RFC 3161) ---

DIGESTS = {
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}
SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
TIME_STAMP_INFO = bytes.fromhex("2a864886f70d0109100104")
GENERALIZED_TIME = re.compile(rb"(\d{14})(\.\d{0,8}[1-9])?Z")


class TimeStamp:
    """What a time stamp says, read and not yet believed: over which digest, and when. Raises ValueError."""

    def __init__(self, data: bytes) -> None:
        ((_, answer),) = der(data, 0x30)
        (_, status), (_, token) = der(answer, 0x30, 0x30)
        if der(status)[0] not in ((2, b"\0"), (2, b"\1")):
            raise ValueError("the authority granted nothing")
        if der_within(token, 0) != SIGNED_DATA or der_within(token, 1, 0, 2, 0) != TIME_STAMP_INFO:
            raise ValueError("it signs something else than a time stamp")
        _, _, (_, imprint), _, (tag, moment) = der(der_within(token, 1, 0, 2, 1, 0, 0))[:5]
        algorithm, digest = der_within(imprint, 0, 0), der_within(imprint, 1)
        found = GENERALIZED_TIME.fullmatch(moment)
        if algorithm not in DIGESTS or tag != 0x18 or found is None:
            raise ValueError("its digest or its time is of no known kind")
        whole = datetime.strptime(found[1].decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        self.time = whole.timestamp() + float(b"0" + (found[2] or b""))
        self.algorithm, self.digest = DIGESTS[algorithm], digest

    def fits(self, data: bytes) -> bool:
        return hashlib.new(self.algorithm, data).digest() == self.digest


def openssl_says(openssl: str, token: bytes, stamp: TimeStamp, roots: Path) -> str:
    """ "" when `openssl ts -verify` proves that a stamp was signed under ``roots`` at the time that it states; why not.

    Raises ValueError when the signature is false whoever made it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "token.tsr"
        path.write_bytes(token)
        command = [openssl, "ts", "-verify", "-digest", stamp.digest.hex(), "-in", str(path)]
        command += ["-CAfile", str(roots), "-attime", str(int(stamp.time))]
        try:
            done = subprocess.run(  # noqa: S603  the reader's own openssl, no shell, no word out of the package
                command, capture_output=True, text=True, timeout=OPENSSL_SECONDS_MAX, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"the openssl command failed: {error}"
    said = done.stdout + done.stderr
    if done.returncode == 0 and "Verification: OK" in said:
        return ""
    if "signature failure" in said or "digest failure" in said or "imprint mismatch" in said:
        raise ValueError("its signature does not fit what it says")
    why = re.search(r"[Vv]erify error:(.*)", said) or re.search(r"error:[0-9A-F]+:[^:]*:[^:]*:([^:\n]*)", said)
    return why[1].strip() if why else "this openssl command cannot verify time stamps"


# --- the files of a package ---


class Folder:
    """A package in a folder. Only plain files below it are looked at; a link is refused."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: list[str] = []
        size = 0
        for folder, folders, files in os.walk(root):
            for name in folders + files:
                path = Path(folder) / name
                found = path.lstat()
                place = path.relative_to(root).as_posix()
                if stat.S_ISREG(found.st_mode):
                    self.names.append(place)
                    size += found.st_size
                elif not stat.S_ISDIR(found.st_mode):
                    raise BrokenError((place, "is a link or a device; a package holds plain files"))
            refuse_flood(str(root), len(self.names), size)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        with open(f"{self.root}/{name}", "rb") as file:  # noqa: PTH123  pathlib costs more than the reading
            yield file


class Zip:
    """A package in a .zip, read in place. What unpackers disagree about is refused, and what would flood a disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise BrokenError((str(path), f"is not a zip file that can be read: {error}")) from error
        self.names: list[str] = []
        folded: set[str] = set()
        end = size = 0
        for info in sorted(self.archive.infolist(), key=lambda info: info.header_offset):
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
            if b"up" in (info.extra[place : place + 2] for place in extras(info.extra)):
                raise BrokenError((name, "has a second name for other programs; a package's files have one"))
            if info.header_offset < end or (not self.names and info.header_offset):
                raise BrokenError((name, "shares its bytes with what stands before it; a package's files do not"))
            if info.file_size > 1 << 20 and info.file_size > UNPACKED_RATIO_MAX * info.compress_size:
                what = f"would unpack {info.compress_size:,} bytes to {info.file_size:,}: do not unpack this file"
                raise BrokenError((name, what))
            end, size = info.header_offset + info.compress_size, size + info.file_size
            folded.add(name.casefold())
            self.names.append(name)
        refuse_flood(str(path), len(self.names), size)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        try:
            with self.archive.open(name) as file:
                buffered: Any = io.BufferedReader  # typeshed does not know that it takes any binary file
                yield buffered(file, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise BrokenError((name, f"cannot be read out of the zip file: {error}")) from error


def extras(data: bytes) -> Iterator[int]:
    """Where each extra field of a zip entry begins: two bytes of its kind, two of its length, and what it says."""
    place = 0
    while place + 4 <= len(data):
        yield place
        place += 4 + int.from_bytes(data[place + 2 : place + 4], "little")


def refuse_flood(name: str, files: int, size: int) -> None:
    if files > PACKAGE_FILES_MAX or size > PACKAGE_BYTES_MAX:
        raise BrokenError((name, f"holds {files:,} files of {size:,} bytes: more than a package ever does"))


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

    def below(self, folder: str) -> list[str]:
        """The listed files of a folder, in order."""
        return sorted(name for name in self.sums if name.startswith(folder))

    def digest(self, name: str) -> str:
        found = hashlib.sha256()
        with self.source.open(name) as file:
            while data := file.read(1 << 20):
                found.update(data)
        return found.hexdigest()


def object_path(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest[2:]}"


# --- time, and the one way in which things are written ---


def seconds(stamp: str) -> float:
    """Unix time of an RFC 3339 time as the ledger writes it."""
    return datetime.fromisoformat(stamp[:-1] + "+00:00").timestamp()  # noqa: FURB162  Python 3.9 knows no Z


def gravest(holes: Sequence[Hole]) -> Hole:
    """The longest of some stretches, of several that are as long the first; nothing of none."""
    longest = max((length for length, _ in holes), default=0.0)
    return longest, min((since for length, since in holes if length == longest and since), default="")


def stamp_of(unix: float) -> str:
    """The other way; microseconds are rounded."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=unix)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def whole_seconds(stamp: str) -> int:
    """Unix time, rounded up."""
    return -int(-seconds(stamp) // 1)


def micros(stamp: str) -> int:
    """Unix time in microseconds, exactly."""
    return int(seconds(stamp[:19] + "Z")) * 1_000_000 + int(stamp[20:26])


def span_of(seconds: float) -> str:
    """A stretch of time in words: "3 d 4 h", "40 min"."""
    minutes = int(seconds // 60)
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "less than a minute"


def duration(text: str) -> int:
    """Seconds of "15m", "1h", "1d" as a configuration writes them."""
    found = DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]


def canonical(value: Any) -> bytes:
    """The one way in which the collector writes JSON."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def neutral(text: str) -> str:
    """A text as the tables write it: no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(RUN_BY_A_SPREADSHEET) else text


# --- what the reader holds ---


class Trust:
    """What you hold yourself. Without ``folder``: nothing. Raises UsageError."""

    def __init__(self, folder: Path | None, package: Path, fast: Any) -> None:
        self.given = folder is not None
        self.keys: list[Key] = []
        self.witnesses: list[Key] = []
        self.roots: Path | None = None
        self.texts: list[tuple[str, bytes]] = []
        if folder is None:
            return
        if not folder.is_dir():
            raise UsageError(f"--trust {folder}: there is no such folder")
        if package.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise UsageError(f"--trust {folder}: it lies in the package; what came with it vouches for nothing")
        self.keys = self._keys(folder / "log.vkey", (1, 2), fast)
        self.witnesses = self._keys(folder / "witness.vkey", (4,), fast)
        if (folder / "tsa.pem").is_file():
            self.roots = folder / "tsa.pem"
        for path in sorted(folder.rglob("*.note")):
            if path.is_file() and path.stat().st_size <= NOTE_BYTES_MAX:
                self.texts.append((path.relative_to(folder).as_posix(), path.read_bytes()))
        if not (self.keys or self.witnesses or self.roots or self.texts):
            raise UsageError(
                f"--trust {folder}: it holds neither log.vkey nor a checkpoint (*.note), nor witness.vkey, nor tsa.pem"
            )

    def _keys(self, path: Path, kinds: Sequence[int], fast: Any) -> list[Key]:
        found: list[Key] = []
        for line in path.read_text("utf-8").split("\n") if path.is_file() else ():
            if line.strip() and not line.startswith("#"):
                try:
                    found.append(Key(line.strip(), fast, kinds))
                except ValueError as error:
                    raise UsageError(f"{path}: {line.strip()!r} is no key: {error}") from error
        return found


# --- what one run rests on ---


class Calls:
    """A call log, taken apart once: which questions it holds, and which listings in it were not read to their end."""

    def __init__(self, name: str, log: Any, files: Files) -> None:
        self.ids: set[str] = set()
        self.gone: list[tuple[str, str]] = []  # digests of answers that are not in the package, and to what
        self.unfinished: dict[str, str] = {}  # id of a question: its operation
        self.skew_s = 0.0
        listings: dict[bytes, list[tuple[int, str, bool, str]]] = {}
        for number, call in enumerate(log):
            where = f"{name} call {number}"
            listing = [call["cloud"], call["endpoint"], call["operation"], call["params"]]
            id = hashlib.sha256(canonical([*listing, call["page"]])).hexdigest()[:16]
            if id in self.ids:
                raise BrokenError((where, f"{call['operation']} page {call['page']} stands there twice"))
            self.ids.add(id)
            if call["body"] and not files.has_object(call["body"]):
                self.gone.append((call["body"], call["operation"]))
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
        self.skew_s = max(self.skew_s, skew, key=abs)


class Observed:
    """An observations blob, taken apart once."""

    def __init__(self, found: Any) -> None:
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


class Ran:
    """What later steps need to know of a run of the window."""

    __slots__ = (
        "check",
        "failure",
        "observations",
        "population",
        "reason",
        "scope",
        "slot",
        "started",
        "states",
        "subjects",
    )

    check: str
    scope: str
    slot: str | None
    started: str
    reason: str
    failure: str
    population: int | None
    states: tuple[int, ...] | None  # in the order of STATES, None without population
    subjects: str
    observations: str


class Beat:
    """A heartbeat of the collector. What old entries do not say is "", or what was configured."""

    __slots__ = ("at", "collector", "event", "every", "moment", "off_ms", "permissions", "principals", "seq")

    def __init__(self, entry: Any, every: int) -> None:
        self.seq, self.at, self.collector = entry["seq"], entry["at"], entry["collector"]
        self.moment = micros(self.at)
        self.event = entry.get("event", "beat")
        self.every = (entry.get("every_s") or every) * 1_000_000
        offsets = (entry.get("skew_ms"), (entry.get("ntp") or {}).get("offset_ms"))
        self.off_ms = max((abs(ms) for ms in offsets if ms is not None), default=0)
        self.permissions, self.principals = entry.get("permissions") or "", entry.get("principals") or ""


# --- time and anchors ---


class Anchor:
    """An ``anchor`` entry that says that a checkpoint was taken outside, and what its token proves to this reader."""

    def __init__(self, entry: Any) -> None:
        self.seq, self.size, self.type, self.id = entry["seq"], entry["size"], entry["type"], entry["anchor"]
        self.note, self.root, self.token = entry["note"], entry["root"], entry["token"]
        self.time: float | None = seconds(entry["time"]) if entry["time"] else None
        self.worked = 0.0  # for how many seconds the collector had run until then
        self.proved = False
        self.why_not = ""


class Clock:
    """When things were written, as the ledger says, while its entries pass by; and for how long without an anchor.

    ``marks`` cut the range into short stretches: (first entry, its time). ``ran`` counts the seconds for which the
    collector ran since it last went to a place outside. A silence counts for little, since it may have been down.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[int, str]] = []
        self.taken: list[int] = []  # beside the marks: how many ``anchor`` entries stand before each
        self.worked: list[float] = []  # beside the marks: for how many seconds the collector ran until then, in all
        self.pauses: list[tuple[int, str, str]] = []  # the entry after it, from when, to when
        self.newest_at: dict[int, str] = {}  # by size of a checkpoint: the newest time before it
        self.anchors: list[Anchor] = []
        self.failed: dict[str, list[tuple[int, str]]] = {}  # by kind of place: entry, why
        self.tried: dict[int, list[str]] = {}  # every attempt, as anchors.csv writes it
        self.floor = ""  # no entry may be dated before this any more
        self.configured: bool | None = None  # whether places outside are; None: nobody said so yet
        self.every = 3600  # seconds from one checkpoint to the next, as configured
        self.ran = self.total = 0.0  # since the last anchor, and in all
        self.before = ""

    def pass_by(self, seq: int, newest: str, at: str) -> str:
        """An entry that begins a stretch, after one that was written at ``newest``. Returns when the next begins."""
        if not STAMP.fullmatch(at):
            raise ValueError(f"{at!r} is no time")
        now = seconds(at)
        if newest:
            last = seconds(newest)
            if now - last >= PAUSE_SECONDS:
                self.pauses.append((seq, newest, at))
            more = last - seconds(self.before) + min(now - last, PAUSE_SECONDS)
            self.total += more
            self.ran = 0 if now - last >= LATE_SECONDS else self.ran + more
            if self.configured and self.ran > self.allowed:
                what = (
                    f"was written when the collector had run for {span_of(self.ran)} without going to any of the "
                    "places outside that are configured: this was written afterwards"
                )
                raise BrokenError((f"ledger/entries.jsonl entry {seq}", what))
        self.before = at
        self.marks.append((seq, at))
        self.taken.append(len(self.tried))
        self.worked.append(self.total)
        return stamp_of(now + 600)

    def take(self, entry: Any) -> None:
        """An ``anchor`` entry."""
        self.ran = 0.0
        words = [neutral(entry[word]) for word in ("where", "failure", "reason")]
        said = [entry["at"], neutral(entry["anchor"]), entry["outcome"], str(entry["size"]), entry["time"], *words]
        self.tried[entry["seq"]] = said
        if self.configured is None:
            self.configured = True
        if entry["outcome"] == "failed":
            self.failed.setdefault(entry["type"], []).append((entry["seq"], f"{entry['anchor']}: {entry['reason']}"))
            return
        if entry["outcome"] != "anchored" or entry["size"] > entry["seq"]:
            raise BrokenError((place_of(entry), f"holds {entry['size']} entries outside, more than stand before it"))
        anchor = Anchor(entry)
        anchor.worked = self.total
        if anchor.time is not None:
            newest = self.newest_at.get(anchor.size, "")
            if newest and seconds(newest) - anchor.time > TOLERANCE_SECONDS:
                what = f"an entry before {anchor.size} is dated {newest}, but was already there at {entry['time']}"
                raise BrokenError((place_of(entry), f"{what}: a clock was wrong, or times were made up"))
            self.floor = max(self.floor, stamp_of(anchor.time - TOLERANCE_SECONDS))
        self.anchors.append(anchor)

    def use(self, places: bool, every: int) -> None:
        """What the configuration in force says of places outside. Time begins to count when there are any."""
        if places and not self.configured:
            self.ran = 0.0
        self.configured, self.every = places, every

    @property
    def allowed(self) -> float:
        """For how many seconds a collector may run without going outside."""
        return max(LATE_SECONDS, self.every + 3600)

    def only_anchors(self, place: int, end: int) -> bool:
        """Whether a stretch holds nothing but what the anchoring itself wrote, which the next anchor is over."""
        more = place + 1 < len(self.marks)
        until, taken = (self.marks[place + 1][0], self.taken[place + 1]) if more else (end, len(self.tried))
        return until - self.marks[place][0] == taken - self.taken[place]

    def stamped(
        self, since: str, until: str, end: int, proved: Callable[[Anchor], bool]
    ) -> tuple[int, list[tuple[int, int, Anchor]], int]:
        """The stretches that begin in ``[since, until)``, under the anchors that are ``proved``: how many there are;
        those that were first stamped too late, (first mark, last mark, anchor); and how many were not stamped at all.
        The range ends before entry ``end``.
        """
        inside = 0
        late: list[tuple[int, int, Anchor]] = []
        place = 0
        for anchor in self.anchors:
            if anchor.time is None or not proved(anchor):
                continue
            while place < len(self.marks) and self.marks[place][0] < anchor.size:
                at = self.marks[place][1]
                if since <= at < until and not self.only_anchors(place, end):
                    inside += 1
                    if anchor.time - seconds(at) > LATE_SECONDS:
                        if late and late[-1][1] == place - 1 and late[-1][2] is anchor:
                            late[-1] = (late[-1][0], place, anchor)
                        else:
                            late.append((place, place, anchor))
                place += 1
        left = range(place, len(self.marks))
        never = sum(since <= self.marks[i][1] < until and not self.only_anchors(i, end) for i in left)
        return inside + never, late, never

    def why_late(self, first: int, last: int, anchor: Anchor) -> tuple[bool, str]:
        """Why stretches were stamped late: whether because nothing was written meanwhile, and in words."""
        seq, failed = self.marks[first][0], self.failed.get(anchor.type, [])
        begin = bisect_right(failed, (seq, "\U0010ffff"))
        if begin < len(failed) and failed[begin][0] < anchor.seq:
            count = bisect_left(failed, (anchor.seq, "")) - begin
            return False, f"{counted(count, 'attempt')} failed meanwhile, first {failed[begin][1]}"
        begin = bisect_right(self.pauses, (self.marks[last][0], "\U0010ffff", ""))
        pauses = [p for p in self.pauses[begin:] if p[0] <= anchor.seq]
        if pauses and anchor.worked - self.worked[first] <= self.allowed:
            _, since, until = max(pauses, key=lambda p: seconds(p[2]) - seconds(p[1]))
            return True, f"nothing was written from {since} to {until}"
        return False, "no place outside was asked meanwhile, or none whose answer you can verify"


# --- the proof ---


class Proof:
    """One package under proof. Each step raises BrokenError at what does not hold."""

    def __init__(self, files: Files, trust: Trust, progress: bool, fast: Any = Plain) -> None:
        self.files, self.trust, self.fast = files, trust, fast
        self.progress, self.told = progress, 0.0
        self.proved: list[str] = []
        self.unproved: list[str] = []
        self.missed: list[dict[str, str]] = []
        self.levels: list[dict[str, Any]] = []
        # what the manifest says
        self.key: Key
        self.predicate: dict[str, Any] = {}
        self.subjects: list[Any] = []
        self.first = self.last = 0
        self.since = self.until = ""
        self.checks: frozenset[str] = frozenset()
        self.scopes: tuple[str, ...] = ()
        # what the ledger says
        self.notes: dict[int, tuple[str, Note]] = {}
        self.held: dict[int, list[tuple[str, Note]]] = {}  # checkpoints of the reader that can be compared, by size
        self.roots: dict[int, bytes] = {}  # what the entries hash to at each of those
        self.kept: dict[int, Any] = {}  # entries that something later rests on, by seq, also from before the range
        self.clock = Clock()
        self.plans: dict[str, list[dict[str, Any]]] = {}
        self.gaps: dict[str, list[dict[str, Any]]] = {}
        self.alerts: dict[int, dict[str, Any]] = {}
        self.deliveries: dict[int, list[Any]] = {}
        self.ran: dict[int, Ran] = {}  # the runs of the window, by seq, in the order of the ledger
        self.answers: dict[
            tuple[str, str], dict[str | None, tuple[int, ...]]
        ] = {}  # by check and scope: slot, its runs
        self.slots: dict[tuple[str, str, str, str], Slot] = {}  # by account, check, scope and due time
        self.strays: dict[int, tuple[str, str, str]] = {}  # runs before the window: check, scope, when they began
        self.acks: dict[int, list[int]] = {}  # by alert
        self.left_out: dict[str, int] = {}
        self.spots: set[int] = set()  # looks between the slots
        self.looks: dict[int, tuple[Any, dict[str, tuple[str, str]]]] = {}  # with what each saw: state and reason
        self.beats: list[Beat] = []  # the collector's signs of life
        self.beat_every = 3600  # seconds between two of them, as configured last
        # what is held for a while, or once for many
        self.calls: dict[str, Calls] = {}
        self.observed: dict[str, Observed] = {}
        self.fitting: dict[tuple[str, str], Observed] = {}  # by call log and observations that were seen to fit
        self.configs: dict[str, Any] = {}
        self.used: set[str] = set()  # configurations that runs of the window rest on
        self.judged: set[tuple[str, str, int, str]] = set()  # check, code, version and limits of such runs
        self.covered: dict[tuple[str, str], bool] = {}
        self.words: dict[Any, Any] = {}
        self.counts: dict[Any, tuple[int, ...]] = {}
        self.moments: set[tuple[str, str]] = set()  # times in UTC and in another zone that are one
        self.absent: dict[str, tuple[str, str, str]] = {}  # payload: newest time of its use, its file, who rests on it
        self.raised: dict[tuple[str, str, str], list[list[Any]]] | None = None  # alerts by what they are about
        self.blind: set[int] = set()  # runs whose call log or answers were dropped
        self.skew_s = 0.0

    def run(self, run_packaged_checks: bool) -> None:
        """Every step in its order; a signed file that is not what it must be breaks the step that reads it."""
        for step, about in (
            (self.check_manifest, "manifest.dsse.json"),
            (self.check_sums, "SHA256SUMS"),
            (self.check_files, "SHA256SUMS"),
            (self.read_notes, "manifest.dsse.json"),
            (self.check_proofs, "proofs"),
            (self.walk, "ledger/range.json"),
            (self.check_keys, "ledger/entries.jsonl"),
            (self.check_signatures, "checkpoints"),
            (self.check_anchors, "anchors"),
            (self.excuse_absent, "objects"),
            (self.account_for, "plan.json"),
            (self.compare_results, "tables/results.csv"),
            (self.compare_coverage, "tables/coverage.csv"),
            (self.compare_coverage_by_control, "tables/coverage_by_control.csv"),
            (self.compare_runs, "tables/items.csv"),
            (self.compare_others, "tables"),
            (self.check_controls, "controls.json"),
        ):
            try:
                step()
            except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
                raise BrokenError((about, f"is not written as the collector writes it: {error!r}")) from error
        self.say_levels()
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
            key = Key(predicate["vkey"], self.fast)
            expected = {"payload": envelope["payload"], "payloadType": PAYLOAD_TYPE}
            expected["signatures"] = [{"keyid": key.id.hex(), "sig": signature["sig"]}]
            head = (statement["_type"], statement["predicateType"], key.name)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenError((name, f"is not a signed manifest: {error!r}")) from error
        # The bytes are made again from what they mean: nothing can hide in them, and none of them can differ.
        if raw != canonical(expected) or payload != canonical(statement):
            raise BrokenError((name, "is not written as the collector writes it: it was changed"))
        pae = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
        if not key.verify(pae, signed):
            raise BrokenError((name, f"is not what {key.name} signed"))
        if head != (STATEMENT, PREDICATE, predicate["origin"]):
            raise BrokenError((name, f"is of another kind than this program knows: {head}"))
        self.key, self.predicate, self.subjects = key, predicate, statement["subject"]
        window, filters = predicate["window"], predicate["filters"]
        self.since, self.until = window["since"], window["until"]
        self.checks, self.scopes = frozenset(filters["checks"]), tuple(filters["scopes"])
        self.first, self.last = predicate["range"]["first"], predicate["range"]["last"]
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

    def read_notes(self) -> None:
        """Sizes and roots of the checkpoints. Who signed them is seen when the keys of the ledger are known."""
        for name in self.files.below("checkpoints/"):
            try:
                note = Note(self.files.read(name, NOTE_BYTES_MAX))
                if note.origin != self.key.name:
                    raise ValueError(f"is of the ledger {note.origin}, not {self.key.name}")
            except ValueError as error:
                raise BrokenError((name, str(error))) from error
            if name != f"checkpoints/{note.size:020d}.note" or not self.first <= note.size <= self.last:
                raise BrokenError((name, f"is a checkpoint over {note.size} entries, which does not belong here"))
            self.notes[note.size] = (name, note)
        if self.last not in self.notes or (self.first and self.first not in self.notes):
            what = f"the range [{self.first}, {self.last}) does not begin and end at a checkpoint"
            raise BrokenError(("checkpoints", what))
        for name, data in self.trust.texts:
            try:
                note = Note(data)
            except ValueError as error:
                raise BrokenError((name, f"the checkpoint that you hold {error}")) from error
            if note.origin != self.key.name:
                self.unproved.append(f"your checkpoint {name} is of another ledger, {note.origin}")
            elif self.first <= note.size <= self.last:
                self.held.setdefault(note.size, []).append((name, note))
            else:
                where = "older than this package's range" if note.size < self.first else "newer than this package"
                what = f"your checkpoint {name} over {note.size} entries is {where}: it could not be compared"
                self.unproved.append(what)

    def check_proofs(self) -> None:
        """Entries from before the range, each with the proof that it is in the tree of the last checkpoint."""
        names = self.files.below("proofs/")
        _, last = self.notes[self.last]
        signed = self.files.read(f"checkpoints/{self.last:020d}.note").decode()
        for name in names:
            base, _, suffix = name.rpartition(".")
            if suffix == "json" and f"{base}.tlog-proof" in self.files.sums:
                continue
            if suffix != "tlog-proof" or f"{base}.json" not in self.files.sums:
                raise BrokenError((name, "is not one of the two files that prove an older entry"))
            body = self.files.read(f"{base}.json", ENTRY_BYTES_MAX + 1).removesuffix(b"\n")
            try:
                lines, _, checkpoint = self.files.read(name, NOTE_BYTES_MAX).decode().partition("\n\n")
                head, index, *path = [line for line in lines.split("\n") if not line.startswith("extra ")]
                entry = self.fast.loads(body)
                seq = entry["seq"]
                if head != PROOF or index != f"index {seq}" or base != f"proofs/{seq:020d}" or checkpoint != signed:
                    raise ValueError("it is of another entry or checkpoint")
                root = root_from(hashlib.sha256(b"\0" + body).digest(), seq, self.last, [unbase64(p) for p in path])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BrokenError((name, f"is no proof of an entry: {error}")) from error
            if root != last.root:
                raise BrokenError((name, f"does not prove that entry {seq} is in this ledger: it gives another root"))
            self.kept[seq] = entry
        if names:
            self.proved.append(f"{len(names) // 2:,} entries from before the range are in the same ledger")

    # 5

    def walk(self) -> None:
        """Reads every entry of the range once, in order."""
        name = "ledger/entries.jsonl"
        span = self.files.json("ledger/range.json")
        first, last, clock = self.first, self.last, self.clock
        if (span["first"], span["last"], span["origin"]) != (first, last, self.key.name):
            raise BrokenError(("ledger/range.json", "is another range than the signed manifest says"))
        frontier = [bytes.fromhex(text) for text in span["frontier"]]
        ones = bin(first).count("1")  # noqa: FURB161  Python 3.9 has no bit_count
        if len(frontier) != ones or any(len(item) != 32 for item in frontier):
            raise BrokenError(("ledger/range.json", f"its frontier is not that of {first} entries"))
        stops = self.notes.keys() | self.held.keys()
        handlers = {
            "run": self._run,
            "spot": self._spot,
            "plan": self._plan,
            "gap": self._gap,
            "anchor": self._anchor,
            "config": self._config,
            "alert": self._alert,
            "delivery": self._delivery,
            "ack": self._ack,
            "acceptance": self._decision,
            "heartbeat": self._heartbeat,
            "key": self._keep,
            "check": self._keep,
            "expiry": self._keep,
            "window": self._keep,
        }
        older = {"config": self._config, "alert": self._alert, "delivery": self._delivery, "ack": self._ack}
        older["heartbeat"] = self._heartbeat
        for seq in sorted(seq for seq in self.kept if seq < first):
            older.get(self.kept[seq]["kind"], self._keep)(self.kept[seq])
        beside = self.fast.roots(self.files.source, name, first, list(frontier), stops)
        hashing, sha256, loads, handler_of = beside is None, hashlib.sha256, self.fast.loads, handlers.get
        pop, push = frontier.pop, frontier.append
        seq, newest, mark, floor = first, "", "", clock.floor
        if first:
            self._check_root(first, fold(frontier))
            clock.newest_at[first] = ""
        with self.files.source.open(name) as lines:
            for line in lines:
                if line[-1:] != b"\n" or len(line) > ENTRY_BYTES_MAX + 1:
                    raise BrokenError((f"{name} entry {seq}", "is cut off or too long"))
                if hashing:
                    rising, size = sha256(b"\0" + line[:-1]).digest(), seq
                    while size & 1:
                        rising = sha256(b"\1" + pop() + rising).digest()
                        size >>= 1
                    push(rising)
                try:
                    entry = loads(line)
                    at = entry["at"]
                    if entry["seq"] != seq:
                        what = f"is not there: entry {entry['seq']} stands in its place"
                        raise BrokenError((f"{name} entry {seq}", what))
                    if len(at) != 27 or at[26] != "Z":
                        raise ValueError(f"{at!r} is no time")
                    if at >= newest:
                        if at >= mark:
                            mark = clock.pass_by(seq, newest, at)
                        newest = at
                    elif seconds(newest) - seconds(at) > TOLERANCE_SECONDS:
                        raise BrokenError((f"{name} entry {seq}", f"goes back in time: {at} after {newest}"))
                    if at < floor:
                        what = f"is dated {at}, before what a place outside said of entries before it"
                        raise BrokenError((f"{name} entry {seq}", what))
                    handler = handler_of(entry["kind"])
                    if handler is not None:
                        handler(entry)
                        floor = clock.floor
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise BrokenError((f"{name} entry {seq}", f"is not as an entry must be: {error!r}")) from error
                seq += 1
                if seq in stops:
                    if hashing:
                        self._check_root(seq, fold(frontier))
                    clock.newest_at[seq] = newest
                    mark = ""  # what is stamped together is one stretch
                    self._tell("entries", seq - first, last - first)
        if seq != last:
            raise BrokenError((f"{name} entry {seq}", f"is not there: the range ends at {last}"))
        for size, root in sorted(beside().items()) if beside else ():
            self._check_root(size, root)
        if self.notes[last][1].root.hex() != self.predicate["range"]["root"]:
            raise BrokenError((name, "has another root than the signed manifest says"))
        self._say_what_was_walked()

    def _say_what_was_walked(self) -> None:
        self.proved.append(
            f"entries {self.first:,} to {self.last - 1:,} are complete, unchanged, in order of time, and hash to the "
            "root of each checkpoint"
        )
        self.proved.append(
            f"{len(self.ran):,} runs of the window: counts add up, call logs, answers and observations are all there, "
            "each listing was read to its last page"
        )
        if self.spots:
            self.proved.append(
                f"{len(self.spots):,} looks at single subjects between the slots: they count for none of them, and "
                "what they rest on is all there"
            )
        if self.ran:
            self.proved.append(
                f"no answer's own date differs from the collector's clock by more than {TOLERANCE_SECONDS} s "
                f"(at most {abs(self.skew_s):.0f} s)"
            )

    def _check_root(self, size: int, root: bytes) -> None:
        if size in self.notes and self.notes[size][1].root != root:
            name = self.notes[size][0]
            before = max((known for known in self.notes if known < size), default=self.first)
            where = "ledger/range.json" if size == before else f"ledger/entries.jsonl entries {before} to {size - 1}"
            raise BrokenError((where, f"are not what was signed in {name}: they hash to another root"))
        if size in self.held:
            self.roots[size] = root

    def _keep(self, entry: Any) -> None:
        self.kept[entry["seq"]] = entry

    def _plan(self, entry: Any) -> None:
        if seconds(entry["at"]) - seconds(entry["since"]) > TOLERANCE_SECONDS:
            what = f"plans from {entry['since']} on and was written at {entry['at']}: a plan comes before what it plans"
            raise BrokenError((place_of(entry), what))
        known = self.plans.setdefault(entry["account"], [])
        if known and known[-1]["checks"] == entry["checks"]:
            entry["checks"] = known[-1]["checks"]  # a plan is written each day, and mostly says the same
        known.append(entry)

    def _gap(self, entry: Any) -> None:
        self.gaps.setdefault(entry["account"], []).append(entry)

    def _anchor(self, entry: Any) -> None:
        self.clock.take(entry)

    def _config(self, entry: Any) -> None:
        self.kept[entry["seq"]] = entry
        self._use_config(entry["blob"])

    def _use_config(self, digest: str) -> Any:
        """What a configuration says; None when it is not in the package."""
        found = self.configs.get(digest)
        if found is None and self.files.has_object(digest):
            found = self.configs[digest] = json.loads(self.files.object(digest))
        if found is not None:
            settings = found.get("settings", {})
            places = any(settings.get("anchors", {}).values())
            self.clock.use(places, duration(settings.get("schedule", {}).get("checkpoint", "1h")))
            self.beat_every = duration(settings.get("schedule", {}).get("heartbeat", "1h"))
        return found

    def _alert(self, entry: Any) -> None:
        if entry["at"] < self.until:
            mine = (not entry["check"] or entry["check"] in self.checks) and self.touches(entry["scope"])
            if mine:
                self.alerts[entry["seq"]] = entry
            elif entry["at"] >= self.since:
                self.left_out["alert"] = self.left_out.get("alert", 0) + 1

    def _delivery(self, entry: Any) -> None:
        if entry["alert"] in self.alerts:
            self.deliveries.setdefault(entry["alert"], []).append(entry)

    def _heartbeat(self, entry: Any) -> None:
        self.beats.append(Beat(entry, self.beat_every))

    def _ack(self, entry: Any) -> None:
        self.acks.setdefault(entry["alert"], []).append(entry["seq"])

    def _decision(self, entry: Any) -> None:
        self.kept[entry["seq"]] = entry
        inside = self.since <= entry["at"] < self.until
        if inside and not (entry["check"] in self.checks and self.touches(entry["scope"])):
            self.left_out["acceptance"] = self.left_out.get("acceptance", 0) + 1

    def covers(self, check: str, scope: str) -> bool:
        """Whether this export is about a check over a scope."""
        found = self.covered.get((check, scope))
        if found is None:
            found = check in self.checks and (not self.scopes or any(within(scope, known) for known in self.scopes))
            self.covered[check, scope] = found
        return found

    def touches(self, scope: str) -> bool:
        """Whether a scope holds one that this export is about, or is held by one; the whole ledger ("") does."""
        return not scope or not self.scopes or any(within(scope, one) or within(one, scope) for one in self.scopes)

    def _run(self, entry: Any) -> None:
        slot, started, at = entry["slot"], entry["started"], entry["at"]
        population, states = entry["population"], entry["states"]
        if population is None:
            counts = None
            if states or entry["observations"] or entry["subjects"] or not entry["reason"] or not entry["failure"]:
                raise BrokenError((place_of(entry), "has no population, and yet states, or no reason"))
        else:
            key = tuple(states.items())
            counts = self.counts.get(key) or self._count(key, states)
            if sum(counts) != population:
                what = f"has {population} subjects, but its states count {sum(states.values())}"
                raise BrokenError((place_of(entry), what))
        moment = slot or started
        if not moment <= started <= entry["finished"] <= at or started[:10] != at[:10]:
            self._check_times(entry)
        if not self.since <= moment < self.until:
            if started < self.until:
                self.strays[entry["seq"]] = entry["check"], entry["scope"], started
            return
        pair = entry["check"], entry["scope"]
        covered = self.covered.get(pair)
        if not (self.covers(*pair) if covered is None else covered):
            self.left_out["run"] = self.left_out.get("run", 0) + 1
            return
        self._check_evidence(entry)
        share = self.words.setdefault  # one object for equal values: most runs say the same
        run = self.ran[entry["seq"]] = Ran()
        run.check, run.scope = pair = share(pair, pair)
        run.slot = slot and share(slot, slot)
        run.started, run.population, run.states = started, population, counts
        run.reason, run.failure = entry["reason"], entry["failure"]
        subjects, observations = entry["subjects"], entry["observations"]
        run.subjects, run.observations = share(subjects, subjects), share(observations, observations)
        if slot:
            answers = self.answers.get(pair)
            if answers is None:
                answers = self.answers[pair] = {}
            answers[run.slot] = (*answers.get(slot, ()), entry["seq"])

    def _spot(self, entry: Any) -> None:
        """A look at a few named subjects between the slots: its evidence is there as a run's is, and it counts for no
        slot, no population and no stretch of time."""
        found, states, named = entry["found"], entry["states"], entry["subjects"]
        if named != sorted(set(named)) or not named:
            raise BrokenError((place_of(entry), "names no subjects, or not in order, each once"))
        if found is None:
            if states or entry["observations"] or not entry["reason"] or not entry["failure"]:
                raise BrokenError((place_of(entry), "saw nobody, and yet has states, or no reason"))
        elif sum(self._count(tuple(states.items()), states)) != found or found > len(named):
            what = f"found {found} of {len(named)} subjects, but its states count {sum(states.values())}"
            raise BrokenError((place_of(entry), what))
        self._check_times({**entry, "slot": None})
        if not self.since <= entry["started"] < self.until or not self.covers(entry["check"], entry["scope"]):
            return
        digest = ""
        seen: dict[str, tuple[str, str]] = {}
        if found is not None:
            kept = self.fast.loads(self.files.object(entry["observations"]))
            observed = [item["subject"] for item in kept["subjects"]]
            if not set(observed) <= set(named):
                raise BrokenError((place_of(entry), "observed others than the subjects that it names"))
            digest = hashlib.sha256("".join(f"{name}\n" for name in observed).encode()).hexdigest()
            seen = {item["subject"]: (item["state"], item["reason"]) for item in kept["subjects"]}
        self._check_evidence({**entry, "slot": None, "population": found, "subjects": digest})
        self.spots.add(entry["seq"])
        self.looks[entry["seq"]] = entry, seen

    def _count(self, key: Any, states: Any) -> tuple[int, ...]:
        """The counts of a run in the order of STATES; counts that cannot be give a sum that no run has."""
        counts = tuple([states.get(known, -1) for known in STATES])
        if states.keys() != STATE_SET or min(counts) < 0:
            return (-1,)
        self.counts[key] = counts
        return counts

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
        config, source = entry["config"], (entry["check"], entry["code"], entry["version"], str(entry["limits"]))
        if config not in self.used:
            if self._use_config(config) is None:
                raise BrokenError((object_path(config), f"is missing: {place_of(entry)} rests on it"))
            self.used.add(config)
        if source not in self.judged:
            name = f"checks/{source[0]}/{source[1]}.py"
            if self.files.sums.get(name) != source[1]:
                raise BrokenError((name, f"is missing or another: {place_of(entry)} was judged by it"))
            self.judged.add(source)
        observations = entry["observations"]
        observed = self.fitting.get((entry["calls"], observations))
        if observed is None:
            observed = self._check_observations(entry, observations)
        if observed is not None and (observed.subjects != entry["subjects"] or observed.states != entry["states"]):
            name = object_path(observations)
            raise BrokenError((place_of(entry), f"counts other subjects or states than its observations, {name}"))

    def _check_observations(self, entry: Any, observations: str) -> Observed | None:
        """The observations of a run, which rest on what its call log holds; None without population."""
        calls = self._calls(entry)
        if entry["population"] is None:
            return None
        observed = self.observed.get(observations)
        if observed is None:
            if len(self.observed) > 4096:
                self.observed.clear()
            observed = self.observed[observations] = self._observed(object_path(observations), observations)
        if calls is None:
            return observed
        if not observed.every <= calls.ids:
            name = object_path(observations)
            what = f"its observations rest on an answer that its call log does not hold, {name}"
            raise BrokenError((place_of(entry), what))
        if calls.unfinished and (cut := observed.rests_on & calls.unfinished.keys()):
            what = f"rests on {calls.unfinished[min(cut)]}, whose last page is missing in {entry['calls']}"
            raise BrokenError((place_of(entry), what))
        if not calls.gone:
            self.fitting[entry["calls"], observations] = observed
        return observed

    def _calls(self, entry: Any) -> Calls | None:
        """The call log of a run; None when it was dropped after its term, as has to be shown later."""
        digest = entry["calls"]
        found = self.calls.get(digest)
        if found is None:
            name = object_path(digest)
            if name not in self.files.sums:
                self._miss(digest, entry, f"{place_of(entry)} rests on it")
                return None
            try:
                found = Calls(name, self.fast.loads(self.files.read(name)), self.files)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BrokenError((name, f"is no call log: {error!r}")) from error
            self.skew_s = max(self.skew_s, found.skew_s, key=abs)
            if len(self.calls) > 64:  # runs of one slot stand together; older call logs are not asked for again
                self.calls.clear()
                self.fitting.clear()
            self.calls[digest] = found
        for body, operation in found.gone:
            self._miss(body, entry, f"the answer to {operation}")
        return found

    def _miss(self, digest: str, entry: Any, whose: str) -> None:
        newest = self.absent.get(digest, ("", "", ""))[0]
        self.absent[digest] = (max(newest, entry["at"]), object_path(digest), whose)
        self.blind.add(entry["seq"])

    def _observed(self, name: str, digest: str) -> Observed:
        try:
            return Observed(self.fast.loads(self.files.object(digest)))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise BrokenError((name, f"is no list of observations: {error!r}")) from error

    # 6

    def check_keys(self) -> None:
        """Each key follows from the one before it, the manifest is signed by the newest, and you have reason to
        believe that one: you hold it, or it was signed for by one that you hold."""
        named = [entry for _, entry in sorted(self.kept.items()) if entry["kind"] == "key"]
        # From which entry on a key is in force; before the first that is known, the one that it says was there.
        self.chain: list[tuple[int, Key]] = []
        held = {key.text for key in self.trust.keys}
        believed = False
        if not named or "previous" in named[0]:
            text = named[0]["previous"] if named else self.key.text
            self.chain.append((-1, Key(text, self.fast)))
            believed = text in held
        for entry in named:
            where, key = place_of(entry), Key(entry["vkey"], self.fast)
            if entry["origin"] != self.key.name or key.name != self.key.name:
                raise BrokenError((where, f"names a key of {key.name}, but this is the ledger {self.key.name}"))
            recovery = False
            if self.chain:
                recovery = self._check_change(entry, where, self.chain[-1][1], key)
            elif entry["seq"] or "previous" in entry:
                raise BrokenError((where, "names a first key, and is not the first entry"))
            believed = key.text in held or (believed and not recovery)
            self.chain.append((entry["seq"], key))
            if recovery:
                self.unproved.append(
                    f"that the key before entry {entry['seq']} was lost and not stolen: the new one was not signed for "
                    f"by the old one, only announced ({entry['reason']}); it has to reach you by another way"
                )
        newest = self.chain[-1][1]
        name = "manifest.dsse.json"
        if newest.text != self.key.text:
            raise BrokenError((name, f"is signed by {self.key.text}; the newest key of the ledger is {newest.text}"))
        if held and not believed:
            you = " or ".join(sorted(held))
            raise BrokenError((name, f"is signed by {self.key.text}; the key that you hold is {you}"))
        if not held:
            self.unproved.append(
                f"whose key it is: it is signed by {self.key.text}, which came with the package; compare it with the "
                "one you hold (--trust)"
            )
        else:
            follows = "the one that you hold" if self.key.text in held else "signed for by the one that you hold"
            self.proved.append(f"the key is {follows}")
        for text in sorted(held - {key.text for _, key in self.chain}):
            if text.partition("+")[0] == self.key.name:
                self.unproved.append(
                    f"why this ledger never names {text}, a key of its name that you hold: either the package is older "
                    "than that key, or it was made by somebody who has an old one; ask for the newest checkpoint"
                )

    def _check_change(self, entry: Any, where: str, old: Key, new: Key) -> bool:
        """Proves that a key follows another. Returns whether it is a recovery: not signed for by the old one."""
        if entry.get("previous") != old.text:
            raise BrokenError((where, f"does not follow the key {old.text}, which was in force"))
        signatures, reason = entry["signatures"], entry["reason"]
        lines = (KEY_STATEMENT, self.key.name, entry["seq"], old.text, new.text, reason)
        said = "".join(f"{line}\n" for line in lines).encode()
        if "\n" in reason or not new.verify(said, unbase64(signatures["new"])):
            raise BrokenError((where, "is not signed by the key that it names"))
        if signatures["old"] and not old.verify(said, unbase64(signatures["old"])):
            raise BrokenError((where, "is not signed by the key before it"))
        return not signatures["old"]

    def check_signatures(self) -> None:
        for size, (name, note) in sorted(self.notes.items()):
            key = next((key for seq, key in reversed(self.chain) if seq < size), None)
            wrong = note.doubt(key) if key else "was signed before there was a key"
            if wrong:
                raise BrokenError((name, wrong))
            self._tell("checkpoints", len(self.notes), len(self.notes))
        changes = len(self.chain) - 1
        keys = "the same key" if not changes else f"the key of their time ({changes:,} changes, each signed for)"
        self.proved.append(f"{len(self.notes):,} checkpoints are signed by {keys}")
        self._compare_held()

    def _compare_held(self) -> None:
        """The checkpoints that you hold were signed by a key of this ledger, and are part of this history."""
        keys = [key for _, key in self.chain] + self.trust.keys
        for size, known in sorted(self.held.items()):
            for name, note in known:
                wrong = [why for key in keys if (why := note.doubt(key))]
                if len(wrong) == len(keys):
                    why = next((why for why in wrong if "not what" in why), wrong[0])
                    raise BrokenError((name, f"the checkpoint that you hold {why}"))
                if note.root != self.roots[size]:
                    what = f"the checkpoint over {size} entries that you hold ({name}) has another root"
                    raise BrokenError(("ledger", f"history was rewritten: {what}"))
        if self.held:
            self.proved.append(
                f"the first {max(self.held):,} entries are those of the checkpoint that you hold: not rewritten since"
            )

    # 7

    def check_anchors(self) -> None:
        """Each token is what the ledger says and is over the checkpoint that it names; what it proves, you decide."""
        listed = set(self.files.below("anchors/"))
        stamps: list[tuple[Anchor, bytes, TimeStamp]] = []
        for anchor in self.clock.anchors:
            name = self._token_of(anchor, listed)
            if name is None:
                continue
            listed.discard(name)
            token = self.files.read(name, TOKEN_BYTES_MAX)
            try:
                self._check_place(anchor)
                if anchor.type == "tsa":
                    stamps.append((anchor, token, self._stamp(anchor, token)))
                elif anchor.type == "witness":
                    self._check_cosignature(anchor, token)
                else:
                    anchor.why_not = "is a receipt: it is as good as the object that you fetch yourself (*.note)"
            except (ValueError, LookupError) as error:
                raise BrokenError((name, str(error))) from error
        if listed:
            raise BrokenError((min(listed), "is the token of no entry in the range"))
        self._verify_stamps(stamps)
        if self.clock.anchors:
            self.proved.append(
                f"{len(self.clock.anchors):,} anchors are over checkpoints of this ledger, and no entry contradicts "
                f"the time of any of them by more than {TOLERANCE_SECONDS} s"
            )

    def _token_of(self, anchor: Anchor, listed: set[str]) -> str | None:
        suffix = {"tsa": "tsr", "witness": "note"}.get(anchor.type)
        names = [f"anchors/{anchor.seq:020d}.{known}" for known in ([suffix] if suffix else ["json", "note"])]
        found = [name for name in names if name in listed]
        if not anchor.token:
            anchor.why_not = "gave no token"
            return None
        if not found:
            raise BrokenError((names[0], f"is missing: the token of entry {anchor.seq}"))
        if self.files.sums[found[0]] != anchor.token:
            raise BrokenError((found[0], f"is another token than entry {anchor.seq} says"))
        return found[0]

    def _check_place(self, anchor: Anchor) -> None:
        if self.first <= anchor.size <= self.last:
            if anchor.size not in self.notes:
                raise ValueError(f"is over {anchor.size} entries, of which there is no checkpoint")
            name, note = self.notes[anchor.size]
            if self.files.sums[name] != anchor.note or note.root.hex() != anchor.root:
                raise ValueError(f"is over another checkpoint than {name}")

    def _stamp(self, anchor: Anchor, token: bytes) -> TimeStamp:
        stamp = TimeStamp(token)
        if anchor.size in self.notes:
            fits = stamp.fits(self.files.read(self.notes[anchor.size][0], NOTE_BYTES_MAX))
        else:
            fits = stamp.algorithm != "sha256" or stamp.digest.hex() == anchor.note
        if not fits:
            raise ValueError(f"stamps something else than the checkpoint over {anchor.size} entries")
        if anchor.time is None or abs(stamp.time - anchor.time) >= 1:
            raise ValueError(f"states {stamp_of(stamp.time)}; entry {anchor.seq} says otherwise")
        return stamp

    def _check_cosignature(self, anchor: Anchor, token: bytes) -> None:
        note = Note(token)
        if (note.origin, note.size, note.root.hex()) != (self.key.name, anchor.size, anchor.root):
            raise ValueError(f"is over another checkpoint than entry {anchor.seq} says")
        if anchor.size in self.notes and note.text != self.notes[anchor.size][1].text:
            raise ValueError(f"is over another checkpoint than {self.notes[anchor.size][0]}")
        anchor.why_not = "is by a witness whose key you do not hold (witness.vkey)"
        for witness in self.trust.witnesses:
            moment = note.cosigned(witness)
            if moment is not None:
                if anchor.time is None or abs(moment - anchor.time) >= 1:
                    raise ValueError(f"states {stamp_of(moment)}; entry {anchor.seq} says otherwise")
                anchor.proved, anchor.why_not = True, ""

    def _verify_stamps(self, stamps: Sequence[tuple[Anchor, bytes, TimeStamp]]) -> None:
        openssl, roots = shutil.which("openssl"), self.trust.roots
        if roots is None or openssl is None:
            why = "you hold no roots (tsa.pem)" if roots is None else "there is no openssl command here"
            for anchor, _, _ in stamps:
                anchor.why_not = f"was not verified: {why}"
            return

        def verify(item: tuple[Anchor, bytes, TimeStamp]) -> tuple[Anchor, str]:
            anchor, token, stamp = item
            try:
                return anchor, openssl_says(openssl, token, stamp, roots)
            except ValueError as error:
                return anchor, f"!{error}"

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="openssl") as threads:
            for done, (anchor, why) in enumerate(threads.map(verify, stamps), 1):
                if why.startswith("!"):
                    raise BrokenError((f"anchors/{anchor.seq:020d}.tsr", f"is no time stamp: {why[1:]}"))
                anchor.proved, anchor.why_not = not why, why and f"is not under the roots that you hold: {why}"
                self._tell("time stamps", done, len(stamps))

    def say_levels(self) -> None:
        """How strong the assurance is: each level, whether it holds, and why not."""
        self._level(0, True, "signed by the ledger's own key")
        if self.held:
            size = max(self.held)
            at = self.clock.newest_at.get(size, "")
            self._level(
                1, True, f"you hold a checkpoint over the first {size:,} entries" + (f", until {at}" if at else "")
            )
        else:
            self._level(1, False, "you hold no checkpoint of this range")
            self.unproved.append(
                "that history was not rewritten by whoever holds the key: you hold no checkpoint of it; "
                f"keep checkpoints/{self.last:020d}.note, and put it into your --trust folder next time"
            )
        self._outside_level(2, "tsa", "time stamps under the roots that you hold")
        self._outside_level(3, "witness", "cosignatures by witnesses whose keys you hold")
        self._say_why_not()

    def _level(self, level: int, holds: bool, words: str) -> None:
        self.levels.append({"level": level, "holds": holds, "words": words})

    def _outside_level(self, level: int, type: str, what: str) -> None:
        clock = self.clock
        mine = [anchor for anchor in clock.anchors if anchor.type == type]
        proved = [anchor for anchor in mine if anchor.proved]
        if not proved:
            self._level(level, False, f"no {what}" + (f": {mine[-1].id} {mine[-1].why_not}" if mine else ""))
            return
        inside, late, never = clock.stamped(self.since, self.until, self.last, lambda a: a.proved and a.type == type)
        told = [(self._stretch(one), *clock.why_late(*one), one[2]) for one in late]
        pauses = sum(pause for _, pause, _, _ in told)
        kind = {"tsa": "time stamp", "witness": "cosignature"}[type]
        for stretch, _, why, anchor in told[:TOLD_MAX]:
            self.unproved.append(
                f"that {stretch} were written when they say: the first {kind} over them is of "
                f"{stamp_of(anchor.time or 0)}, more than two hours later; {why}"
            )
        if len(told) > TOLD_MAX:
            self.unproved.append(f"the same of {len(told) - TOLD_MAX:,} more stretches, for want of a {kind}")
        if not inside:
            self._level(level, False, f"{what}, but nothing of the window to put under them")
        elif never:
            end = max((anchor.size for anchor in proved), default=0)
            self._level(level, False, f"{what}, but only over the first {end:,} entries: the window goes on after them")
        elif len(told) > pauses:
            stretches = counted(len(told) - pauses, "stretch")
            words = f"{what}, but {stretches} of the window came under one more than two hours late"
            self._level(level, False, words)
        else:
            but = f", but for {counted(pauses, 'stretch')} before a silence" if pauses else ""
            self._level(level, True, f"{what}, over the whole window ({len(proved):,} of them){but}")

    def _stretch(self, late: tuple[int, int, Anchor]) -> str:
        first, last, anchor = late
        marks = self.clock.marks
        end = min(marks[last + 1][0] if last + 1 < len(marks) else self.last, anchor.size)
        return f"entries {marks[first][0]:,} to {end - 1:,}, dated from {marks[first][1]} on,"

    def _say_why_not(self) -> None:
        reasons: dict[tuple[str, str], int] = {}
        for anchor in self.clock.anchors:
            if not anchor.proved:
                reasons[anchor.id, anchor.why_not] = reasons.get((anchor.id, anchor.why_not), 0) + 1
        for (id, why), count in sorted(reasons.items()):
            self.unproved.append(f"{counted(count, 'anchor')} by {id}: each {why}")
        failed = sorted(one for known in self.clock.failed.values() for one in known)
        if failed:
            seq, why = failed[0]
            self.unproved.append(f"{counted(len(failed), 'attempt')} to anchor failed, first entry {seq}: {why}")

    # 8

    def excuse_absent(self) -> None:
        """A payload may be missing when an ``expiry`` entry lists it, and no run used it within the term since."""
        if not self.absent:
            return
        excused: dict[str, str] = {}
        policies: set[str] = set()
        for _, entry in sorted(self.kept.items()):
            if entry["kind"] != "expiry" or not self.files.has_object(entry["blobs"]):
                continue
            for digest in self.files.object(entry["blobs"]).decode().split("\n"):
                if digest in self.absent:
                    excused[digest] = max(excused.get(digest, ""), entry["before"])
                    policies.add(entry["policy"])
        wrong: list[tuple[str, str]] = []
        for digest, (newest, name, whose) in sorted(self.absent.items()):
            if digest not in excused:
                wrong.append((name, f"is missing: {whose}"))
            elif newest >= excused[digest]:
                wrong.append((name, f"is missing, and was dropped before its term was over: {whose}, written {newest}"))
        if wrong:
            raise BrokenError(*wrong)
        self.unproved.append(
            f"what {len(self.absent):,} answers and call logs said, on which {len(self.blind):,} runs rest: payload "
            f"expired ({'; '.join(sorted(policies))}). Their digests are in the ledger; whoever kept one can show it"
        )

    # 9

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
                        times[units] = [(stamp_of(u), stamp_of(u + grace)) for u in units]
                    dues = times[units]
                    for scope in scopes_of(plan, item):
                        if not self.covers(item["check"], scope):
                            others += len(dues)
                            continue
                        answers = self.answers.get((item["check"], scope), {})
                        for due, deadline in dues:
                            found = self._outcome(due, deadline, answers.get(due), gaps, item["check"])
                            slots[account, item["check"], scope, due] = found
        if not slots:
            self.unproved.append("that anything was due: no plan in the package asks for anything in the window")
        if others:
            self.left_out["slot"] = others
        self._check_plan_file()
        self._say_what_is_left_out()

    def _outcome(self, due: str, deadline: str, runs: Sequence[int] | None, gaps: Sequence[Any], check: str) -> Slot:
        """What became of one slot: a word, its run, and the entry that declares it a gap. The first run decides."""
        if not runs:
            for gap in gaps:
                if gap["since"] <= due < gap["until"] and (not gap["checks"] or check in gap["checks"]):
                    return "gap", None, gap["seq"]
            return "missed", None, None
        run = self.ran[runs[0]]
        if run.states is None:
            return "gap", runs[0], None
        if run.states[3]:
            return "partial", runs[0], None
        return ("late" if run.started > deadline else "observed"), runs[0], None

    def _check_plan_file(self) -> None:
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
        accounts = [{"account": a, "stretches": s} for a in sorted(self.plans) if (s := self._stretches_of(a))]
        if plan["accounts"] != accounts or plan["grace_s"] != self.predicate["grace_s"]:
            raise BrokenError(("plan.json", "asks for something else than the plans in the ledger"))
        words = ", ".join(f"{count:,} {state}" for state, count in counts.items())
        self.proved.append(f"every slot due in the window has an outcome: {len(self.slots):,} due, {words}")
        self.missed.sort(key=lambda item: (item["due"], item["check"], item["scope"]))

    def _stretches_of(self, account: str) -> list[dict[str, Any]]:
        """What an account's plans ask for in the window; neighbours that ask for the same are one stretch."""
        found: list[dict[str, Any]] = []
        for begin, end, plan in in_force(self.plans[account]):
            since, until = max(begin, self.since), min(end, self.until)
            if since >= until:
                continue
            checks = [
                {"check": item["check"], "scopes": scopes, "every_s": item["every_s"], "offset_s": item["offset_s"]}
                for item in plan["checks"]
                if (scopes := [scope for scope in scopes_of(plan, item) if self.covers(item["check"], scope)])
            ]
            if found and found[-1]["checks"] == checks and found[-1]["until"] == since:
                found[-1]["until"] = until
                found[-1]["entries"].append(plan["seq"])
            else:
                found.append({"since": since, "until": until, "entries": [plan["seq"]], "checks": checks})
        return found

    def _say_what_is_left_out(self) -> None:
        said = self.predicate["left_out"]
        if (said["slots"], said["runs"]) != (self.left_out.get("slot", 0), self.left_out.get("run", 0)):
            what = f"counts other slots and runs that it leaves out than the ledger gives: {self.left_out}"
            raise BrokenError(("manifest.dsse.json", what))
        if self.left_out:
            slots = self.left_out.get("slot", 0)
            rest = [f"{count:,} {kind}s" for kind, count in sorted(self.left_out.items()) if kind != "slot"]
            self.unproved.append(
                f"{slots:,} slots of checks or scopes that this export leaves out are not accounted for in it"
                f"{', nor ' if rest else ''}{', '.join(rest)}: their entries are here, complete; what they rest on and "
                "their rows in the tables are not"
            )

    # 10

    def _plain_rows(self, table: str, header: Sequence[str] = ()) -> Iterator[list[str]]:
        """The rows of a table as they stand there, after the ``header``; without one, that is the first row."""
        name = f"tables/{table}.csv"
        csv.field_size_limit(FILE_BYTES_MAX)
        if name not in self.files.sums:
            raise BrokenError((name, "is missing"))
        with self.files.source.open(name) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
            rows = csv.reader(text)
            if header and next(rows, []) != list(header):
                raise BrokenError((name, f"has other columns than {', '.join(header)}"))
            yield from rows

    def _rows(self, table: str, columns: Sequence[str], more: Sequence[str] = ()) -> Iterator[tuple[int, list[str]]]:
        """The numbered rows of a table, of each only some columns; ``more`` are "" where the table lacks them.

        Raises ValueError when one of ``columns`` is not there. Whatever a spreadsheet would run is broken, and a local
        time that is not the moment beside it.
        """
        name, rows = f"tables/{table}.csv", self._plain_rows(table)
        header = next(rows, [])
        width = len(header)
        places = [header.index(column) for column in columns]
        places += [header.index(column) if column in header else width for column in more]
        times = [header.index(column) for column in header if column.endswith("_utc")]
        for number, row in enumerate(rows, 2):
            if len(row) != width:
                raise BrokenError((f"{name} row {number}", "has another number of cells than the header"))
            for place in times:
                self._same_moment(f"{name} row {number}", row[place], row[place + 1])
            for cell in row:
                if cell.startswith(RUN_BY_A_SPREADSHEET) and not WHOLE.fullmatch(cell):
                    raise BrokenError((f"{name} row {number}", f"a spreadsheet would run {cell[:40]!r}"))
            row.append("")
            yield number, [row[place] for place in places]

    def _same_moment(self, where: str, utc: str, local: str) -> None:
        """That both cells of a time are one moment, or both empty."""
        if (utc, local) in self.moments:
            return
        if bool(utc) != bool(local) or (utc and not STAMP.fullmatch(utc)):
            raise BrokenError((where, f"{local!r} is not the same moment as {utc!r}"))
        if utc and datetime.fromisoformat(local).timestamp() != seconds(utc):
            raise BrokenError((where, f"{local} is not the same moment as {utc}"))
        if len(self.moments) > 100_000:
            self.moments.clear()
        self.moments.add((utc, local))

    def compare_results(self) -> None:
        name, slots = "tables/results.csv", self.slots
        seen: set[tuple[str, ...]] = set()
        counts = [known.replace("-", "_") for known in STATES]
        columns = ("account", "check", "scope", "due_utc", "state", "gap", "run", "started_utc", "population", *counts)
        gaps = {gap["seq"]: gap["reason"] for known in self.gaps.values() for gap in known}
        for number, row in self._rows("results", (*columns, "runs", "late_s", "reason")):
            place = (row[0], row[1], row[2], row[3])
            if place not in slots or place in seen:
                raise BrokenError((f"{name} row {number}", f"is no slot that the plan asks for: {' '.join(place)}"))
            seen.add(place)
            state, run, gap = slots[place]
            reason = row.pop()  # in other words than the ledger's where the table has its own
            wanted = [state, "" if gap is None else str(gap), "", "", "", "", "", "", "", "0", ""]
            if run is not None:
                ran = self.ran[run]
                wanted[2:4] = [str(run), ran.started]
                if ran.states is not None:
                    wanted[4:9] = [str(ran.population), *map(str, ran.states)]
                wanted[9] = str(len(self.answers[place[1], place[2]][place[3]]))
                wanted[10] = str(int(seconds(ran.started) - seconds(place[3])))
            said = gaps[gap] if gap is not None else ran.reason if run is not None and state == "gap" else None
            if row[4:] != wanted or (said is not None and reason != neutral(said)):
                raise BrokenError((f"{name} row {number}", f"says something else than the ledger: {' '.join(place)}"))
        if len(seen) != len(slots):
            gone = min(slots.keys() - seen)
            raise BrokenError((name, f"leaves out {len(slots) - len(seen)} slots, first {' '.join(gone)}"))

    def compare_coverage(self) -> None:
        name = "tables/coverage.csv"
        dues: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for (_, check, scope, due), (state, *_) in self.slots.items():
            dues.setdefault((check, scope), []).append((due, state))
        columns = ("check", "scope", "due", *OUTCOMES, "covered", "longest_gap_s", "longest_gap_since_utc")
        for number, (check, scope, *stated) in self._rows("coverage", columns):
            found = sorted(dues.pop((check, scope), []))
            states = [state for _, state in found]
            counts = [states.count(outcome) for outcome in OUTCOMES]
            wanted = [len(found), *counts, counts[0] + counts[1], *self._longest_hole(found)]
            if stated != [str(value) for value in wanted]:
                where = f"{check} over {scope}"
                raise BrokenError((f"{name} row {number}", f"counts other slots than the ledger: {where}"))
        if dues:
            raise BrokenError((name, f"leaves out {' over '.join(min(dues))}"))
        self.proved.append("results.csv and coverage.csv say what plans, runs and gaps in the ledger say")

    def compare_coverage_by_control(self) -> None:
        """The same for each control and scope, over the checks that count; and what was planned too seldom of them."""
        name = "tables/coverage_by_control.csv"
        if name not in self.files.sums and not self._about_window():
            return  # older packages do not have it
        dues: dict[str, dict[str, list[tuple[str, str]]]] = {}
        for (_, check, scope, due), (state, *_) in self.slots.items():
            dues.setdefault(check, {}).setdefault(scope, []).append((due, state))
        cards = self._bound()
        left = {(id, scope) for id, checks in cards.items() for check in checks for scope in dues.get(check, ())}
        # Of a check that never ran no entry need be here: then it may count or not.
        stages = {entry["check"]: entry["stage"] for _, entry in sorted(self.kept.items()) if entry["kind"] == "check"}
        rare = self._planned_too_seldom(dues)
        columns = ("control", "scope", "checks", "due", *OUTCOMES, "covered", "longest_gap_s", "longest_gap_since_utc")
        for number, (id, scope, listed, *stated) in self._rows(
            name[7:-4], (*columns, "unplanned_s", "unplanned_since_utc")
        ):
            where = f"{name} row {number}"
            if (id, scope) not in left:
                raise BrokenError((where, f"{id} had nothing due over {scope}, or is there twice"))
            left.remove((id, scope))
            counting = listed.split(" ")
            there = sorted({check for check in cards[id] if scope in dues.get(check, ())})
            if counting != [check for check in there if check in counting] or any(
                (check in counting) == (stages[check] == "preview") for check in there if check in stages
            ):
                raise BrokenError((where, f"counts other checks for {id} than the ledger: {listed}"))
            lanes = [sorted(dues[check][scope]) for check in counting]
            states = [state for lane in lanes for _, state in lane]
            counts = [states.count(outcome) for outcome in OUTCOMES]
            hole = gravest([self._hole(lane) for lane in lanes])
            gap = gravest([rare[check, scope] for check in counting if (check, scope) in rare])
            wanted = [len(states), *counts, counts[0] + counts[1], int(hole[0]), hole[1]]
            wanted += [int(gap[0]), gap[1]] if gap[1] else ["", ""]
            if stated != [str(value) for value in wanted]:
                raise BrokenError((where, f"counts other slots than the ledger: {id} over {scope}"))
        for id, scope in sorted(left):
            if any(stages.get(check, "preview") != "preview" for check in cards[id] if scope in dues.get(check, ())):
                raise BrokenError((name, f"leaves out {id} over {scope}"))
        self.proved.append("coverage_by_control.csv adds up what the same slots say of each control")

    def _about_window(self) -> list[dict[str, Any]]:
        """The entries about the exported window, as far as they are here, in the order of the ledger."""
        name = self.predicate["window"]["name"]
        return [e for _, e in sorted(self.kept.items()) if e["kind"] == "window" and e["window"] == name]

    def _planned_too_seldom(self, dues: dict[str, dict[str, list[tuple[str, str]]]]) -> dict[tuple[str, str], Hole]:
        """By check and scope the longest stretch for which a plan asked nothing of it, where the window promised more.

        Each is held to the promise while it is planned; what was in the window's first plan is from its start on.
        """
        told = self._about_window()
        frequency = told[-1]["frequency_s"] if told else None
        if frequency is None:
            return {}
        planned: dict[tuple[str, str], tuple[str, str]] = {}
        for known in self.plans.values():
            for begin, end, plan in in_force(known):
                begin, end = max(begin, self.since), min(end, self.until)
                for item in plan["checks"] if begin < end else ():
                    for scope in scopes_of(plan, item):
                        if self.covers(item["check"], scope):
                            first = planned.get((item["check"], scope), (begin, end))[0]
                            planned[item["check"], scope] = (first, end)
        earliest = min((begin for begin, _ in planned.values()), default=self.since)
        found: dict[tuple[str, str], Hole] = {}
        for (check, scope), (begin, end) in planned.items():
            early = seconds(begin) - seconds(earliest) <= frequency
            moments = [self.since if early else begin, *sorted(d for d, _ in dues.get(check, {}).get(scope, ())), end]
            times = [seconds(moment) for moment in moments]
            longest = gravest([(times[n] - times[n - 1], moments[n - 1]) for n in range(1, len(times))])
            if longest[0] > frequency:
                found[check, scope] = longest
        return found

    def _longest_hole(self, dues: Sequence[tuple[str, str]]) -> tuple[int, str]:
        longest, since = self._hole(dues)
        return int(longest), since

    def _hole(self, dues: Sequence[tuple[str, str]]) -> Hole:
        """The longest stretch without a covered slot, up to the window's end: seconds, and when it began."""
        longest, since, hole = 0.0, "", ""
        for due, state in [*dues, (self.until, "observed")]:
            if state not in ("observed", "late"):
                hole = hole or due
            elif hole:
                length = seconds(due) - seconds(hole)
                longest, since = max((longest, since), (length, hole), key=lambda item: item[0])
                hole = ""
        return longest, since

    def compare_runs(self) -> None:
        """items.csv, populations.csv, states.csv, exceptions.csv and sampling.json against the observations."""
        rows = self._plain_rows("items", ITEM_HEADER)
        stretches = Stretches(self.ran, {**self.strays, **self._older_runs()}, self.since, self.until)
        held = Held(self.files, self.fast)
        deciding = {run for _, run, _ in self.slots.values() if run is not None}
        self.populations: dict[str, Population] = {id: Population() for id in self._bound()}
        controls = self._controls_of()
        items = 0
        for done, (seq, run) in enumerate(self.ran.items()):
            self._tell("runs", done, len(self.ran))
            if run.states is None:
                stretches.blind(seq, run)
                continue
            said = held.of(run)
            stretches.take(seq, run, said)
            head: list[str] = []
            for place, wanted in enumerate(said.rows):
                row = next(rows, [])
                if not place:
                    where, local = f"tables/items.csv row {items + 2}", "".join(row[1:2])
                    self._same_moment(where, run.slot or "", local)
                    head = [run.slot or "", local, str(seq), run.check, run.scope]
                if row != head + wanted:
                    what = f"says something else than run {seq}: {run.check} over {run.scope}, {wanted[0]}"
                    raise BrokenError((f"tables/items.csv row {items + place + 2}", what))
            items += len(said.rows)
            if seq in deciding:
                for id in controls.get(run.check, ()):
                    self.populations[id].add(f"{run.check}|{run.scope}|{run.slot}|", said.names)
        if next(rows, None) is not None:
            raise BrokenError((f"tables/items.csv row {items + 2}", "is of no run of the window"))
        self._compare_populations(deciding)
        self._compare_states(stretches)
        self._compare_exceptions(Deviations(stretches))
        self._compare_spots(stretches)
        self._compare_sampling()
        self.proved.append(
            f"items.csv ({items:,} rows), populations.csv, states.csv, exceptions.csv and sampling.json say what the "
            "observations of the runs say"
        )

    def _bound(self) -> dict[str, list[str]]:
        """The checks of each control of the package."""
        return {card["id"]: card["checks"] for card in self.files.json("controls.json")["controls"]}

    def _controls_of(self) -> dict[str, list[str]]:
        """The controls of each check."""
        found: dict[str, list[str]] = {}
        for id, checks in self._bound().items():
            for check in checks:
                found.setdefault(check, []).append(id)
        return found

    def _older_runs(self) -> dict[int, tuple[str, str, str]]:
        """Runs from before the range that are proved one by one."""
        return {
            seq: (entry["check"], entry["scope"], entry["started"])
            for seq, entry in self.kept.items()
            if entry["kind"] == "run"
        }

    def _compare_populations(self, deciding: set[int]) -> None:
        name = "tables/populations.csv"
        counts = [known.replace("-", "_") for known in STATES]
        seen: set[int] = set()
        columns = ("run", "check", "scope", "slot_utc", "count", "listing", "digest", "started_utc", "reason", *counts)
        for number, row in self._rows("populations", columns):
            run = self.ran.get(int(row[0]))
            if run is None or int(row[0]) in seen:
                raise BrokenError((f"{name} row {number}", f"run {row[0]} is no run of the window, or is there twice"))
            seen.add(int(row[0]))
            wanted = [run.check, run.scope, run.slot or "", "", "none", ""]
            if run.states is not None:
                wanted[3:] = [str(run.population), "complete", run.subjects]
            # Of a further run of a slot, which decides nothing, the table says no more than that.
            rest = [run.started, neutral(run.reason), *(map(str, run.states) if run.states else [""] * len(STATES))]
            further = run.slot is not None and int(row[0]) not in deciding and not any(row[7:])
            if row[1:7] != wanted or (row[7:] != rest and not further):
                raise BrokenError((f"{name} row {number}", f"says something else than run {row[0]}"))
        for seq in deciding - seen:
            raise BrokenError((name, f"leaves out run {seq}"))

    def _compare_states(self, stretches: Stretches) -> None:
        name = "tables/states.csv"
        columns = ("check", "scope", "subject", "state", "reason", "since_utc", "until_utc", "from_run", "to_run")
        for number, row in self._rows("states", columns):
            wrong = stretches.wrong_with(row)
            if wrong:
                raise BrokenError((f"{name} row {number}", f"{wrong}: {row[0]} over {row[1]}, {row[2]}"))
        for found in stretches.left():
            raise BrokenError((name, f"leaves out how it stood: {found}"))
        if stretches.older:
            self.unproved.append(
                "since when subjects stood as they did when the window began: the answers of older runs are not here"
            )

    def _compare_exceptions(self, deviations: Deviations) -> None:
        name = "tables/exceptions.csv"
        controls = self._controls_of()
        columns = ("check", "scope", "subject", "since_utc", "until_utc", "first_bad", "mended_by", "reason")
        more = ("began_before_window", "duration_s", "still_open", "controls", "alerts")
        since_when = ("unobserved_utc", "unobserved_by")  # older packages have neither
        for number, row in self._rows("exceptions", (*columns, *more), since_when):
            where = f"{name} row {number}"
            wrong = deviations.wrong_with(row[:9])
            end = seconds(row[4] or self.until)
            rest = [str(int(end - seconds(row[3]))), "no" if row[4] else "yes", neutral(" ".join(controls[row[0]]))]
            if not wrong and row[9:12] != rest:
                wrong = "has another duration, end or controls than the rest of it says"
            if not wrong and row[8] == "no" and row[12] != self._alerts_of(row):
                wrong = f"names other alerts than the ledger: {self._alerts_of(row) or 'none'}"
            if not wrong and (row[13] or row[14]) and (row[4] or row[13:15] != self._left_by(row[0], row[1])):
                wrong = "is not what the plans ask for no more since then"
            if wrong:
                raise BrokenError((where, f"{wrong}: {row[0]} over {row[1]}, {row[2]}"))
        for found in deviations.left():
            raise BrokenError((name, f"leaves out a deviation: {found}"))
        if deviations.older:
            self.unproved.append(
                f"when {deviations.older:,} exceptions began: before the window, of which the answers are not here"
            )

    def _compare_spots(self, stretches: Stretches) -> None:
        name = "tables/spots.csv"
        if name not in self.files.sums:
            if self.looks:  # packages of before there was the table
                self.unproved.append(f"the looks between the slots have no {name}: look them up in their entries")
            return
        columns = ("entry", "at_utc", "feed", "events", "event_utc", "delay_s", "started_utc", "account", "check")
        rows = self._rows("spots", (*columns, "scope", "subject", "before", "after", "reason", "calls"))
        for wanted in self._looked(stretches):
            number, row = next(rows, (0, []))
            if row != wanted:
                where = f"{name} row {number}" if number else name
                raise BrokenError(
                    (where, f"says something else than entry {wanted[0]} of {wanted[10]}, or leaves it out")
                )
        for number, row in rows:
            raise BrokenError((f"{name} row {number}", f"entry {row[0]} is no look of the window"))

    def _looked(self, stretches: Stretches) -> Iterator[list[str]]:
        """The rows of the looks between the slots, in the order of the ledger."""
        ran: dict[tuple[str, str], list[int]] = {}
        for seq, run in self.ran.items():
            if run.states is not None:
                ran.setdefault((run.check, run.scope), []).append(seq)
        looked: dict[Place, tuple[int, str]] = {}
        for seq, (entry, seen) in sorted(self.looks.items()):
            event, check, scope = entry["event"], entry["check"], entry["scope"]
            earlier = ran.get((check, scope), [])
            place_of_it = bisect_left(earlier, seq)
            newest = earlier[place_of_it - 1] if place_of_it else -1
            late = str(int(seconds(entry["at"]) - seconds(event["since"])))
            head = [str(seq), entry["at"], event["feed"], neutral(" ".join(event["ids"])), event["since"], late]
            head += [entry["started"], entry["account"], check, scope]
            for subject in entry["subjects"]:
                place = (check, scope, subject)
                at, before = looked.get(place, (-1, ""))
                if newest > at:
                    stood = (s for s in stretches.found.get(place, ()) if s.begun <= newest)
                    before = next((s.state for s in stood if s.ended is None or newest < s.ended), "")
                missing = entry["reason"] if entry["found"] is None else "is not in the listing"
                after, reason = seen.get(subject, ("", missing))
                yield [*head, neutral(subject), before, after, neutral(reason), entry["calls"]]
                if after:
                    looked[place] = seq, after

    def _left_by(self, check: str, scope: str) -> list[str]:
        """Since when no plan asks for a check over a scope any more, until the window's end, and which is the first
        that does not; ["", ""] while the last one asks."""
        account = "/".join(scope.split("/")[:2])
        left = ["", ""]
        for since, _, plan in reversed(in_force(self.plans.get(account, ()))):
            if since >= self.until:
                continue
            if any(item["check"] == check and scope in scopes_of(plan, item) for item in plan["checks"]):
                return left
            left = [since, str(plan["seq"])]
        return ["", ""]

    def _alerts_of(self, row: Sequence[str]) -> str:
        """The alerts that stood for a deviation that began in the window, while it lasted."""
        if self.raised is None:
            self.raised = self._raised()
        found = self.raised.get((row[0], row[1], neutral_off(row[2])), [])
        return " ".join(str(seq) for seq, at, end in found if (not end or end > row[3]) and at < (row[4] or self.until))

    def _raised(self) -> dict[tuple[str, str, str], list[list[Any]]]:
        """Each alert about a subject, from its trigger to what ended it for that subject, by what it is about."""
        found: dict[tuple[str, str, str], list[list[Any]]] = {}
        opened: dict[str, dict[str, list[Any]]] = {}  # by key, then by subject
        for seq, entry in sorted(self.alerts.items()):
            if entry["cause"] != "failed":
                continue
            names = self._object_of(entry["list"]) if "list" in entry else [entry["subject"]]
            if entry["event"] == "trigger":
                opened[entry["key"]] = {name: [seq, entry["at"], ""] for name in names}
                for name, stood in opened[entry["key"]].items():
                    found.setdefault((entry["check"], entry["scope"], name), []).append(stood)
            elif entry["event"] in ("update", "resolve"):
                for name in names:
                    over = opened.get(entry["key"], {}).pop(name, None)
                    if over is not None:
                        over[2] = entry["at"]
        return found

    def _object_of(self, digest: str) -> Any:
        """What a blob of the package says; the names of a group of alerts are in one."""
        return json.loads(self.files.object(digest))

    def _compare_sampling(self) -> None:
        """The populations that samples are drawn from."""
        name = "sampling.json"
        bound = {id: checks for id, checks in self._bound().items() if checks}
        said = {card["control"]: card for card in self.files.json(name)["controls"]}
        if said.keys() != bound.keys():
            raise BrokenError((name, "names other controls than controls.json"))
        slots = sorted((account, due, check, scope) for account, check, scope, due in self.slots)
        for id, checks in bound.items():
            dues = Population()
            dues.add("", [f"{check}|{scope}|{due}" for _, due, check, scope in slots if check in checks])
            found = {"items": self.populations[id].said(), "slots": dues.said()}
            if {part: said[id][part] for part in found} != found:
                raise BrokenError((name, f"says something else of the populations of {id} than the ledger: {found}"))

    def compare_others(self) -> None:
        """The tables of alerts, changes, decisions and anchors; and that no spreadsheet would run any other."""
        self._compare_alerts()
        self._compare_changes()
        self._compare_decisions()
        self._compare_anchors()
        self._compare_collector()
        compared = (*COMPARED, "changes", "collector")
        tables = [name[7:] for name in self.files.below("tables/")]
        others = [name for name in tables if name.rpartition(".")[0] not in compared]
        for name in others:
            if name.endswith(".csv"):
                for _ in self._rows(name[:-4], ()):
                    pass
        self.unproved.append(
            f"what is there for reading ({', '.join(others)}, pages, report, README; of changes.csv and "
            "collector.csv the words) against "
            "the ledger, word for word: where it matters, look it up in the tables that are proved, or in the entry"
        )

    def _compare_alerts(self) -> None:
        name = "tables/alerts.csv"
        wanted = {str(seq): entry for seq, entry in self.alerts.items() if entry["at"] >= self.since}
        words = ("event", "cause", "check", "scope", "subject", "control", "owner", "reason", "key")
        columns = ("entry", "at_utc", *words, "delivered", "deliveries", "acknowledgements")
        for number, row in self._rows("alerts", columns, ("unobserved",)):
            entry = wanted.pop(row[0], None)
            if entry is None:
                what = f"entry {row[0]} is no alert of the window, or is there twice"
                raise BrokenError((f"{name} row {number}", what))
            sent = self.deliveries.get(entry["seq"], [])
            took = any(one["outcome"] == "delivered" for one in sent)
            told = "; ".join(f"{one['channel']} {one['outcome']} {one['at']}" for one in sent)
            said = [entry["at"], *(neutral(entry[word]) for word in words), "yes" if took else "no", neutral(told)]
            left = row.pop()  # older packages do not say it
            if row[1:] != [*said, " ".join(map(str, self.acks.get(entry["seq"], ())))] or left not in (
                "",
                "yes" if entry.get("unobserved") else "no",
            ):
                raise BrokenError((f"{name} row {number}", f"says something else than entry {row[0]}"))
        for seq in wanted:
            raise BrokenError((name, f"leaves out alert {seq}"))

    def _compare_changes(self) -> None:
        name = "tables/changes.csv"
        at = {seq: (entry["kind"], entry["at"]) for seq, entry in self.kept.items()}
        at.update((plan["seq"], ("plan", plan["at"])) for known in self.plans.values() for plan in known)
        seen: set[int] = set()
        for number, (entry, kind, moment) in self._rows("changes", ("entry", "kind", "at_utc")):
            seen.add(int(entry))
            if kind != "principal" and at.get(int(entry)) != (
                kind,
                moment,
            ):  # that is: an identity that a run first has
                raise BrokenError((f"{name} row {number}", f"entry {entry} is no {kind} of {moment}"))
        for seq, (kind, moment) in at.items():
            if kind == "key" and self.since <= moment < self.until and seq not in seen:
                raise BrokenError((name, f"leaves out the change of the key at entry {seq}"))
        before = None
        for told in self._about_window():
            if told["previous"] != before:
                raise BrokenError(
                    (name, f"leaves out what entry {told['previous']} said of the window before this one")
                )
            before = told["seq"]
            if before not in seen:
                raise BrokenError((name, f"leaves out what entry {before} says of the window"))

    def _compare_decisions(self) -> None:
        """Those of the window; what ended one may have come after it, up to the export."""
        name = "tables/decisions.csv"
        made = {seq: e for seq, e in sorted(self.kept.items()) if e["kind"] == "acceptance"}
        wanted: dict[str, list[str]] = {}
        for seq, entry in made.items():
            ends = [(e["at"], str(n)) for n, e in made.items() if e["revokes"] == seq and e["at"] < entry["expires"]]
            ended, by = min(ends, default=(entry["expires"], ""))
            of_window = entry["at"] < self.until and max(ended, entry["at"]) >= self.since
            if not (of_window and entry["check"] in self.checks and self.touches(entry["scope"])):
                continue
            expires = entry["expires"] if entry["revokes"] is None else entry["at"]
            ended = ended if entry["revokes"] is None else entry["at"]
            revokes = "" if entry["revokes"] is None else str(entry["revokes"])
            words = [neutral(entry[word]) for word in DECISION_WORDS]
            wanted[str(seq)] = [entry["at"], *words, expires, ended, revokes, by]
        columns = ("entry", "at_utc", *DECISION_WORDS, "expires_utc", "ended_utc", "revokes", "revoked_by")
        for number, row in self._rows("decisions", columns):
            if wanted.pop(row[0], None) != row[1:]:
                raise BrokenError((f"{name} row {number}", f"says something else than entry {row[0]}"))
        for gone in wanted:
            raise BrokenError((name, f"leaves out the decision of entry {gone}"))

    def _compare_anchors(self) -> None:
        name = "tables/anchors.csv"
        wanted = dict(self.clock.tried)
        columns = ("entry", "at_utc", "anchor", "outcome", "size", "time_utc", "where", "failure", "reason")
        for number, row in self._rows("anchors", columns):
            if wanted.pop(int(row[0]), None) != row[1:]:
                raise BrokenError((f"{name} row {number}", f"says something else than entry {row[0]}"))
        for seq in wanted:
            raise BrokenError((name, f"leaves out entry {seq}"))

    # the collector itself

    def _compare_collector(self) -> None:
        """That everything that befell the collector stands in its table, and what is said to be found of it."""
        name = "tables/collector.csv"
        if name not in self.files.sums:  # of an exporter that was older than this table
            self.unproved.append("how the collector itself did: this package has no table of that")
            return
        wanted: dict[tuple[str, ...], int] = {}
        for event in self._own_events():
            wanted[event] = wanted.get(event, 0) + 1
        amiss = False
        for number, row in self._rows("collector", ("event", "at_utc", "until_utc", "count", "amiss", "entries")):
            if row[0] == "identity":  # between them the runs that were the first to be asked by another
                seqs = row[5].split()
                row[5] = " ".join((seqs[0], seqs[-1]))
            if not wanted.get(tuple(row)):
                what = f"says something else of the collector than the ledger, or twice: {' '.join(row)}"
                raise BrokenError((f"{name} row {number}", what))
            wanted[tuple(row)] -= 1
            amiss = amiss or row[4] == "yes"
        for event, left in wanted.items():
            if left:
                raise BrokenError((name, f"leaves out what happened to the collector: {' '.join(event)}"))
        mine = [beat for beat in self.beats if self.since <= beat.at < self.until]
        unknown = not self.slots or not (mine or any(event[0] == "silence" for event in wanted))
        state = "not-satisfied" if amiss else "undetermined" if unknown else "satisfied"
        missed = sum(int(event[3]) for event in wanted if event[0] == "silence")
        said = self.files.json("controls.json")["collector"]
        if (said["state"], said["heartbeats"], said["missed"]) != (state, len(mine), missed):
            raise BrokenError(("controls.json", f"says something else of the collector than the ledger: {state}"))
        self.proved.append(
            f"collector.csv says what the ledger says of the collector itself: {counted(len(mine), 'heartbeat')}, "
            f"{missed:,} missed; {state}"
        )

    def _own_events(self) -> Iterator[tuple[str, ...]]:
        """What befell the collector, as its table writes it: event, since, until, count, amiss, entries."""
        beats = sorted(self.beats, key=lambda beat: beat.seq)
        inside = [self.since <= beat.at < self.until for beat in beats]
        pairs = list(zip([None, *beats], beats, inside))  # noqa: B905  Python 3.9 knows no strict
        for before, beat, mine in pairs:
            if mine and beat.event != "beat":
                broken = beat.event == "start" and before is not None and before.event != "stop"
                yield "broken-off" if broken else beat.event, beat.at, "", "", "no", str(beat.seq)
            if mine and before is not None and before.collector != beat.collector:
                yield "version", beat.at, "", "", "no", f"{before.seq} {beat.seq}"
        yield from self._silences(beats, any(inside))
        for name, event in (("permissions", "permissions"), ("principals", "identity")):
            said = [beat for beat in beats if getattr(beat, name)]
            for before, beat in zip(said, said[1:]):  # noqa: B905, RUF007  Python 3.9
                if getattr(before, name) != getattr(beat, name) and self.since <= beat.at < self.until:
                    yield event, beat.at, "", "", "no", f"{before.seq} {beat.seq}"
        yield from self._wrong_clocks([beat for beat, mine in zip(beats, inside) if mine])  # noqa: B905
        lost: dict[str, list[str]] = {}
        for (account, _, _, due), (state, *_) in self.slots.items():
            if state == "missed":
                lost.setdefault(account, []).append(due)
        for dues in lost.values():
            yield "missed-runs", min(dues), max(dues), str(len(dues)), "yes", ""
        for seq, entry in self.kept.items():
            if entry["kind"] == "config" and self.since <= entry["at"] < self.until:
                yield "configuration", entry["at"], "", "", "no", str(seq)
        taken = {(neutral(anchor.id), str(anchor.size)) for anchor in self.clock.anchors}
        for seq, (at, anchor, outcome, size, *_) in self.clock.tried.items():
            if outcome == "failed" and self.since <= at < self.until:
                amiss = size != "0" and (anchor, size) not in taken
                yield "anchor", at, "", "", "yes" if amiss else "no", str(seq)
        for seq, entry in self.alerts.items():
            if self.since <= entry["at"] and entry["event"] in ("trigger", "escalate"):
                yield from self._heard(seq, entry)

    def _silences(self, beats: Sequence[Beat], any_inside: bool) -> Iterator[tuple[str, ...]]:
        """Where heartbeats were due and did not come; one is missed when it is a minute late."""
        since, until, found = micros(self.since), micros(self.until), False
        for place, before in enumerate(beats):
            after = beats[place + 1] if place + 1 < len(beats) else None
            begin, end = max(before.moment, since), until if after is None else min(after.moment, until)

            def due(moment: int, before: Beat = before) -> int:
                return max(0, -(-(moment - TOLERANCE_BEAT - before.moment) // before.every) - 1)

            missed = due(end) - due(since)
            if begin < end and missed > 0:
                found = True
                at, to = max(before.at, self.since), self.until if after is None else min(after.at, self.until)
                around = f"{before.seq} {after.seq}" if after is not None else str(before.seq)
                yield "silence", at, to, str(missed), "yes", around
        if any_inside and beats[0].moment > since + beats[0].every + TOLERANCE_BEAT:
            yield "no-heartbeat", self.since, beats[0].at, "", "yes", str(beats[0].seq)
        elif not any_inside and not found:
            yield "no-heartbeat", self.since, self.until, "", "no", ""

    def _wrong_clocks(self, beats: Sequence[Beat]) -> Iterator[tuple[str, ...]]:
        """Heartbeats in a row that say that the clock was further off than clouds bear."""
        row: list[Beat] = []
        for beat in (*beats, None):
            if beat is not None and beat.off_ms > CLOCK_MS_MAX:
                row.append(beat)
            elif row:
                seqs = " ".join(dict.fromkeys((str(row[0].seq), str(row[-1].seq))))
                yield "clock", row[0].at, row[-1].at, str(len(row)), "yes", seqs
                row = []

    def _heard(self, seq: int, alert: Any) -> Iterator[tuple[str, ...]]:
        """Whether an alert reached somebody in time, and whether anybody took note of it."""
        took = [sent for sent in self.deliveries.get(seq, ()) if sent["outcome"] == "delivered"]
        quiet = alert.get("quiet", {})
        held = quiet and set(alert["channels"]) <= quiet.keys()
        grace = self.predicate["grace_s"] * 1_000_000
        late = micros(min(quiet.values()) if held else alert["at"]) + grace
        if not took and late < micros(self.until):
            yield "undelivered", alert["at"], "", "", "yes", str(seq)
        elif took and micros(min(sent["at"] for sent in took)) > late:
            yield "told-late", alert["at"], min(sent["at"] for sent in took), "", "no", f"{seq} {took[0]['seq']}"
        if alert["event"] == "trigger" and not self.acks.get(seq):
            yield "unacknowledged", alert["at"], "", "", "no", str(seq)

    # 11

    def check_controls(self) -> None:
        """What the export is about is what the configurations in force bind, as far as they are in the package."""
        name = "controls.json"
        said = self.files.json(name)
        cards, filters = said["controls"], self.predicate["filters"]
        if self.checks != {check for card in cards for check in card["checks"]}:
            raise BrokenError((name, "binds other checks than the manifest says the export is about"))
        if len({card["id"] for card in cards}) != len(cards):
            raise BrokenError((name, "names a control twice"))
        self._check_cards(name, cards, filters)
        self._compare_settings()
        self._check_versions(name, said["checks"])
        if set(said["configurations"]) != self.used:
            raise BrokenError((name, "names other configurations than the runs of the window"))

    def _check_cards(self, name: str, cards: Sequence[Any], filters: Any) -> None:
        """A control that was removed in the window, and a check that was unbound in it, still stand in it."""
        configs = [entry for _, entry in sorted(self.kept.items()) if entry["kind"] == "config"]
        before = [entry for entry in configs if entry["at"] <= self.since]
        inside = [entry for entry in configs if self.since < entry["at"] < self.until]
        chosen = before[-1:] + inside or configs[:1]
        if not chosen or (not before and self.first) or any(entry["blob"] not in self.configs for entry in chosen):
            self.unproved.append(
                "that controls.json is what was configured: a configuration of the window is not in the package"
            )
            return
        wanted: dict[str, dict[str, Any]] = {}
        for entry in chosen:
            for id, control in self.configs[entry["blob"]]["controls"].items():
                known = wanted[id]["checks"] if id in wanted else []
                checks = [*control["checks"], *(check for check in known if check not in control["checks"])]
                wanted[id] = {"id": id, "checks": checks}
                wanted[id].update((part, control[part]) for part in ("title", "owner", "criteria", "cadence_s"))
                newer = (("by_hand", ""), ("by_collector", False))  # an older exporter does not say them
                told = cards[0] if cards else {}
                wanted[id].update((part, control.get(part, none)) for part, none in newer if part in told)
        asked, only = set(filters["criteria"]), set(filters.get("controls", ()))
        ids = [id for id in sorted(wanted) if asked & set(wanted[id]["criteria"]) and (not only or id in only)]
        if [wanted[id] for id in ids] != [{part: card[part] for part in wanted[ids[0]]} for card in cards]:
            raise BrokenError((name, "says something else of a control than the configurations in force"))
        self.proved.append(
            f"the {len(cards):,} controls, and the checks that they bind, are those of the configurations in force"
        )

    def _compare_settings(self) -> None:
        """What the exporter chose himself, and no configuration of the time had said, is told."""
        window = self.predicate["window"]
        settings = [config["settings"] for config in self.configs.values() if config.get("settings")]
        named = [one["windows"][window["name"]] for one in settings if window["name"] in one.get("windows", {})]
        dated = [(one["start"], one["end"]) for one in named if STAMP.fullmatch(one["start"])]
        told = self._about_window()
        if told:
            self._compare_window(window, told)
        elif not named or (dated and (window["since"], window["ends"]) not in dated):
            self.unproved.append(
                f"that the window {window['name']} was agreed before its end: no configuration in the package names it "
                "with these dates; compare them with what you were told"
            )
        graces = [duration(one["schedule"]["grace"]) for one in settings if "grace" in one.get("schedule", {})]
        if graces and self.predicate["grace_s"] not in graces:
            self.unproved.append(
                f"why a slot counts as late only after {self.predicate['grace_s']:,} s: configured was {graces[-1]:,} s"
            )

    def _compare_window(self, window: Any, told: Sequence[Any]) -> None:
        """Since when the ledger knows the window with these dates, and what was changed of it when it had begun."""
        name, dates = window["name"], (window["since"], window["ends"])
        alike = len(told)
        while alike and (told[alike - 1]["start"], told[alike - 1]["end"]) == dates:
            alike -= 1
        first = told[alike] if alike < len(told) else None
        if first is None or first["at"] >= window["ends"]:
            why = "names it with other dates" if first is None else f"was written at {first['at']}, when it was over"
            self.unproved.append(
                f"that the window {name} was agreed before its end: entry {(first or told[-1])['seq']} {why}; compare "
                "them with what you were told"
            )
        else:
            when = "before it began" if first["at"] <= window["since"] else "when it had begun, and before its end"
            self.proved.append(
                f"the window {name} was recorded with these dates by entry {first['seq']} of {first['at']}, {when}"
            )
        parts = ("start", "end", "zone", "criteria", "scopes", "frequency_s", "hold")
        for place in range(1, len(told)):
            old, new = told[place - 1 : place + 1]
            other = [part for part in parts if old[part] != new[part]]
            if other and new["at"] >= min(old["start"], new["start"]):
                words = "; ".join(f"{part} was {old[part]}, is {new[part]}" for part in other)
                self.unproved.append(
                    f"why the window {name} was defined otherwise when it had begun: entry {new['seq']} of "
                    f"{new['at']}, {words}"
                )

    def _check_versions(self, name: str, cards: Sequence[Any]) -> None:
        versions = {(c["id"], c["version"], c["source"], str(c["limits"])) for c in cards}
        judged = {(check, version, f"checks/{check}/{code}.py", limits) for check, code, version, limits in self.judged}
        if versions != judged or len(versions) != len(cards):
            raise BrokenError((name, "names other check versions than the runs of the window were judged by"))
        unknown = 0
        for card in cards:
            entry = self.kept.get(card["entry"])
            if entry is None:
                unknown += 1
                continue
            parts = ("title", "family", "criteria", "stage", "limits", "version")
            if entry["kind"] != "check" or entry["check"] != card["id"] or any(entry[p] != card[p] for p in parts):
                raise BrokenError((name, f"says something else of {card['id']} than entry {card['entry']}"))
        if unknown:
            self.unproved.append(f"what {unknown:,} entries from before the range say of checks")

    # 12

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
            self._tell("verdicts", done, len(self.ran) + len(self.spots))
        if differs:
            raise BrokenError(*differs)
        missing = sum(could_not.values())
        looks = " and looks between the slots" if self.spots else ""
        self.proved.append(
            f"{done - missing:,} of {len(self.ran) + len(self.spots):,} runs{looks} give the same verdicts again from "
            "the kept answers"
        )
        if self.blind:
            could_not["their payloads expired"] = len(self.blind)
        for what, count in sorted(could_not.items()):
            self.unproved.append(f"{count:,} runs were not re-performed: {what}")

    def _source(self, code: str) -> bytes | None:
        found = [name for name, digest in self.files.sums.items() if digest == code and name.startswith("checks/")]
        return self.files.read(found[0]) if found else None

    def _account_runs(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """The runs of the window whose payloads are there, those together that share a call log."""
        together: list[dict[str, Any]] = []
        with self.files.source.open("ledger/entries.jsonl") as lines:
            for seq, line in enumerate(lines, self.first):
                if (seq not in self.ran and seq not in self.spots) or seq in self.blind:
                    continue
                entry = self.fast.loads(line)
                if together and together[0]["calls"] != entry["calls"]:
                    yield together[0]["calls"], together
                    together = []
                together.append(entry)
        if together:
            yield together[0]["calls"], together

    # a sample, drawn anew

    def sample(self, control: str, seed: str, n: int) -> dict[str, Any]:
        """The first ``n`` items of a control's population in the order that a seed gives, and what they say.

        An item is one subject in one slot, as the run that decides the slot saw it. Raises UsageError.
        """
        cards = {card["id"]: card for card in self.files.json("controls.json")["controls"]}
        if control not in cards:
            raise UsageError(f"this package has no control {control!r}; it has {', '.join(sorted(cards))}")
        checks = set(cards[control]["checks"])
        deciding = {run for (_, check, _, _), (_, run, _) in self.slots.items() if check in checks and run is not None}
        held = Held(self.files, self.fast)
        whole, count = hashlib.sha256(), 0
        first: list[tuple[int, str, str, str, int]] = []  # rank negated, so that the largest is dropped
        for seq in sorted(deciding):
            run = self.ran[seq]
            if run.states is None:
                continue
            said = held.of(run)
            for subject, (state, reason) in said.stands.items():
                id = f"{run.check}|{run.scope}|{run.slot}|{subject}"
                whole.update(f"{id}\n".encode())
                count += 1
                rank = -int.from_bytes(hashlib.sha256(f"{seed}{id}".encode()).digest(), "big")
                if len(first) < n or rank > first[0][0]:
                    heapq.heappush(first, (rank, id, state, reason, seq))
                if len(first) > n:
                    heapq.heappop(first)
        chosen = sorted(first, reverse=True)
        items = [
            {"place": place, "rank": f"{-rank:064x}", "id": id, "state": state, "reason": reason, "run": seq}
            for place, (rank, id, state, reason, seq) in enumerate(chosen, 1)
        ]
        bad = sum(item["state"] == "not-satisfied" for item in items)
        unread = sum(item["state"] == "undetermined" for item in items)
        return {
            "control": control,
            "seed": seed,
            "n": n,
            "population": {"count": count, "digest": whole.hexdigest()},
            "items": items,
            "says": sample_says(count, len(items), bad, unread),
        }

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.progress and time.monotonic() - self.told > 0.1:
            self.told = time.monotonic()
            sys.stderr.write(f"\r{what} {done:,} of {total:,}    ")
            sys.stderr.flush()


# --- what the steps need besides ---


def place_of(entry: Any) -> str:
    return f"ledger/entries.jsonl entry {entry['seq']}"


def counted(count: int, one: str) -> str:
    """A count with its noun."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}{'es' if one.endswith('ch') else 's'}"


def hidden(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last.startswith((".", "~$")) or last.lower() in ("thumbs.db", "desktop.ini")


def within(scope: str, other: str) -> bool:
    return scope == other or scope.startswith(f"{other}/")


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over neighbouring complete subtrees, largest first (RFC 6962)."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = hashlib.sha256(b"\x01" + left + root).digest()
    return root


def root_from(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof gives for a leaf (RFC 9162 2.1.3.2). Raises ValueError when it cannot be one."""
    if not 0 <= index < size or any(len(sibling) != 32 for sibling in path):
        raise ValueError("it is no proof for a tree of this size")
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if not last:
            raise ValueError("it has too many hashes")
        if place & 1 or place == last:
            found = hashlib.sha256(b"\1" + sibling + found).digest()
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + sibling).digest()
        place, last = place >> 1, last >> 1
    if last:
        raise ValueError("it has too few hashes")
    return found


def in_force(plans: Sequence[dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    """One account's plans as stretches that do not overlap: at each moment the newest plan that covers it."""
    stretches: list[tuple[str, str, dict[str, Any]]] = []
    for plan in plans:  # in the order of the ledger
        if plan["since"] >= plan["until"]:
            continue  # it covers no moment
        kept: list[tuple[str, str, dict[str, Any]]] = []
        for since, until, older in stretches:
            if since < plan["since"]:
                kept.append((since, min(until, plan["since"]), older))
            if until > plan["until"]:
                kept.append((max(since, plan["until"]), until, older))
        stretches = [*(s for s in kept if s[0] < s[1]), (plan["since"], plan["until"], plan)]
    return sorted(stretches, key=lambda s: s[0])


def scopes_of(plan: dict[str, Any], item: dict[str, Any]) -> list[str]:
    """What a check of a plan is due over: the scopes that it lists, or each part of the plan's account."""
    if "scopes" in item:
        return list(item["scopes"])
    return [f"{plan['account']}/{part}" for part in plan["parts"]]


COMPARED = (
    "results",
    "coverage",
    "coverage_by_control",
    "items",
    "populations",
    "states",
    "exceptions",
    "spots",
    "alerts",
    "decisions",
    "anchors",
)
DECISION_WORDS = ("control", "check", "scope", "subject", "approver", "reason", "ticket")
ITEM_HEADER = (
    "slot_utc",
    "slot_local",
    "run",
    "check",
    "scope",
    "subject",
    "state",
    "reason",
    "facts",
    "evidence",
)
LISTING_PAGES_MAX = 4  # a subject that rests on the listing alone names its pages, up to so many


class Said:
    """What one observations blob says, as items.csv writes it, and who deviates by it."""

    def __init__(self, found: Any) -> None:
        ids = found["exchanges"]
        listing = found["listing"] if len(found["listing"]) <= LISTING_PAGES_MAX else []
        self.rows: list[list[str]] = []
        self.stands: dict[str, tuple[str, str]] = {}  # state and reason of each subject
        for item in found["subjects"]:
            facts = "" if item["facts"] is None else canonical(item["facts"]).decode()
            evidence = " ".join([ids[place] for place in item["exchanges"] or listing])
            subject, state, reason = item["subject"], item["state"], item["reason"]
            self.rows.append([neutral(subject), state, neutral(reason), facts, evidence])
            self.stands[subject] = state, reason
        self.names = list(self.stands)


class Held:
    """Observations that were just read: mostly the next run says the same."""

    def __init__(self, files: Files, fast: Any) -> None:
        self.files, self.fast = files, fast
        self.said: dict[str, Said] = {}
        self.subjects = 0

    def of(self, run: Ran) -> Said:
        found = self.said.get(run.observations)
        if found is None:
            found = Said(self.fast.loads(self.files.object(run.observations)))
            self.subjects += len(found.rows)
            if self.subjects > HELD_SUBJECTS_MAX:
                self.said.clear()
                self.subjects = len(found.rows)
            self.said[run.observations] = found
        return found


class Population:
    """How many ids there are, and the SHA-256 over all of them in their order, one a line, each line ended."""

    def __init__(self) -> None:
        self.count, self.hash = 0, hashlib.sha256()

    def add(self, head: str, names: Sequence[str]) -> None:
        self.count += len(names)
        self.hash.update("".join([f"{head}{name}\n" for name in names]).encode())

    def said(self) -> dict[str, Any]:
        return {"count": self.count, "digest": self.hash.hexdigest()}


class Stretch:
    """One subject in one state for one reason, as the runs of the window show it; or a whole scope ("") unread."""

    __slots__ = ("begun", "earlier", "ended", "failure", "reason", "settled", "state")

    def __init__(self, state: str, reason: str, begun: int, *, earlier: bool, failure: str = "") -> None:
        self.state, self.reason, self.failure = state, reason, failure
        self.begun = begun  # the run that first saw it so
        self.earlier = earlier  # that is the first run of the window: it may be older
        self.ended: int | None = None  # the run that first saw it otherwise
        self.settled = False


Place = tuple[str, str, str]  # check, scope, subject


class Stretches:
    """How every subject stood, found anew from the observations, to hold states.csv against. Runs come in their order.

    What was before the window cannot be seen here: where a stretch may be older, the table may name an older run, if
    that is a run of the same check and scope: one in the range before the window, or one that is proved by itself.
    """

    def __init__(self, ran: dict[int, Ran], older: dict[int, tuple[str, str, str]], since: str, until: str) -> None:
        self.ran, self.runs_before, self.since, self.until = ran, older, since, until
        self.last: dict[tuple[str, str], str] = {}  # digest of the observations
        self.first: dict[tuple[str, str], int] = {}  # the first run
        self.first_read: dict[tuple[str, str], int] = {}  # the first run with a population
        self.older = False
        self.open: dict[tuple[str, str], dict[str, Stretch]] = {}
        self.found: dict[Place, list[Stretch]] = {}

    def take(self, seq: int, run: Ran, said: Said) -> None:
        """A run with a population."""
        pair = run.check, run.scope
        self._see(pair, seq, None)
        if self.last.get(pair) == run.observations:
            return
        self.last[pair] = run.observations
        standing = self.open.setdefault(pair, {})
        first = self.first_read.setdefault(pair, seq) == seq
        for subject in [name for name in standing if name not in said.stands]:
            standing.pop(subject).ended = seq
        for subject, (state, reason) in said.stands.items():
            known = standing.get(subject)
            if known is None or (known.state, known.reason) != (state, reason):
                if known is not None:
                    known.ended = seq
                self._begin(pair, subject, Stretch(state, reason, seq, earlier=first))

    def blind(self, seq: int, run: Ran) -> None:
        """A run without."""
        self._see((run.check, run.scope), seq, run)

    def _see(self, pair: tuple[str, str], seq: int, blind: Ran | None) -> None:
        """Ends and begins the stretches in which nobody could say who is in the scope."""
        first = self.first.setdefault(pair, seq) == seq
        standing = self.open.setdefault(pair, {})
        known = standing.get("")
        same = (
            known is not None and blind is not None and (known.failure, known.reason) == (blind.failure, blind.reason)
        )
        if known is not None and not same:
            standing.pop("").ended = seq
        if blind is not None and not same:
            self._begin(pair, "", Stretch("undetermined", blind.reason, seq, earlier=first, failure=blind.failure))

    def _begin(self, pair: tuple[str, str], subject: str, stretch: Stretch) -> None:
        self.open[pair][subject] = stretch
        self.found.setdefault((*pair, subject), []).append(stretch)

    def when(self, seq: int, check: str, scope: str) -> str:
        """When a run began. Raises ValueError for one that is not of this check and scope."""
        if seq in self.ran:
            run = self.ran[seq]
            found = run.check, run.scope, run.started
        else:
            found = self.runs_before.get(seq, ("", "", ""))
        if found[:2] != (check, scope):
            raise ValueError(f"run {seq} is none of {check} over {scope} that is in this package")
        return found[2]

    def ends(self, ended: int | None) -> int | None:
        """The run that ended a stretch, None when it ended after the window."""
        return None if ended is None or self.ran[ended].started >= self.until else ended

    def over_before(self, place: Place, begun: int, ended: int | None, states: Sequence[str]) -> bool:
        """Whether something in one of ``states`` may have been over before, or by, the first run that could show it; or
        lasted while no run of the window could.
        """
        first = (self.first_read if place[2] else self.first).get(place[:2])
        if begun in self.ran or (first is not None and (ended is None or ended > first)):
            return False
        return not any(s.begun == ended and s.state in states for s in self.found.get(place, ()))

    def wrong_with(self, row: Sequence[str]) -> str:
        """What is wrong with a row of states.csv; "" when it is one of the stretches, which is then settled."""
        check, scope, subject, state, reason, since, until, from_run, to_run = row
        begun, ended = int(from_run), int(to_run) if to_run else None
        if begun in self.ran or begun in self.runs_before:
            if self.when(begun, check, scope) != since:
                return f"did not begin then, by run {begun}"
        elif since >= self.since:
            return f"began in the window, by run {begun}, which is not there"
        if (until == "") != (ended is None) or (ended is not None and self.when(ended, check, scope) != until):
            return "did not end then"
        place = check, scope, neutral_off(subject)
        for stretch in self.found.get(place, ()):
            same = stretch.begun == begun or (stretch.earlier and begun not in self.ran)
            if stretch.settled or not same or self.ends(stretch.ended) != ended:
                continue
            if stretch.state != state or neutral(stretch.reason) != reason:
                return f"has another state or reason than run {stretch.begun} saw"
            stretch.settled = True
            self.older = self.older or begun not in self.ran
            return ""
        others = [s for s in self.found.get(place, ()) if s.begun == ended and neutral(s.reason) == reason]
        if self.over_before(place, begun, ended, [state] if others else ()):
            self.older = True
            return ""
        return "is no stretch that the runs of the window show"

    def left(self) -> Iterator[str]:
        """The stretches of the window that no row of states.csv has settled."""
        for (check, scope, subject), known in self.found.items():
            for stretch in known:
                if not stretch.settled and self.ran[stretch.begun].started < self.until:
                    yield f"{check} over {scope}, {subject or 'the whole scope'}, {stretch.state}, run {stretch.begun}"


class Deviation:
    """A time in which a subject was not satisfied, as far as the runs of the window show it."""

    def __init__(self, begun: int | None, reason: str, ended: int | None, *, earlier: bool) -> None:
        self.begun = begun  # the run that first saw it; None: it could not be read from the window's begin on
        self.reason = reason
        self.ended = ended  # the run that saw it mended
        self.earlier = earlier  # it may be older than the window


class Deviations:
    """Deviations found anew, to hold exceptions.csv against. Time in which a subject cannot be read ends none."""

    def __init__(self, stretches: Stretches) -> None:
        self.stretches = stretches
        self.ran, self.since, self.until = stretches.ran, stretches.since, stretches.until
        self.found: dict[Place, list[Deviation]] = {}
        self.older = 0
        for place, known in stretches.found.items():
            if place[2]:
                found = list(self._of(known))
                if found:
                    self.found[place] = found

    def _of(self, known: Sequence[Stretch]) -> Iterator[Deviation]:
        """The deviations of one subject out of its stretches, in their order."""
        open_: Deviation | None = None
        end: int | None = None
        for stretch in known:
            bad, unread = stretch.state == "not-satisfied", stretch.state == "undetermined"
            if open_ is not None and (stretch.begun != end or not (bad or unread)):
                open_.ended = end
                yield open_
                open_ = None
            if open_ is None and (bad or (unread and stretch.earlier)):
                begun = stretch.begun if bad else None
                open_ = Deviation(begun, stretch.reason, None, earlier=stretch.earlier)
            elif open_ is not None and bad and open_.begun is None:
                open_.begun, open_.reason = stretch.begun, stretch.reason
            end = stretch.ended
        if open_ is not None:
            open_.ended = end
            yield open_

    def wrong_with(self, row: Sequence[str]) -> str:
        """What is wrong with a row of exceptions.csv; "" when it is one of the deviations, which is then settled."""
        check, scope, subject, since, until, first_bad, mended_by, reason, began = row
        begun, mended, when = int(first_bad), int(mended_by) if mended_by else None, self.stretches.when
        if (until == "") != (mended is None) or not self.since <= since < (until or self.until) <= self.until:
            return "has no possible times"
        started = when(begun, check, scope)
        if since != max(started, self.since) or began != ("yes" if started < self.since else "no"):
            return f"did not begin then, by run {begun}"
        if mended is not None and when(mended, check, scope) != until:
            return f"was not mended then, by run {mended}"
        subject = neutral_off(subject)
        known = self.found.get((check, scope, subject), [])
        for place, deviation in enumerate(known):
            same = deviation.begun == begun or (deviation.earlier and begun not in self.ran)
            if not same or self.stretches.ends(deviation.ended) != mended:
                continue
            if begun in self.ran and reason != neutral(deviation.reason):
                return f"has another reason than run {begun}"
            del known[place]
            self.older += begun not in self.ran
            return ""
        if self.stretches.over_before((check, scope, subject), begun, mended, ("not-satisfied", "undetermined")):
            self.older += 1
            return ""
        return "is no deviation that the runs of the window show"

    def left(self) -> Iterator[str]:
        """The deviations that no row of the table has settled."""
        for (check, scope, subject), known in self.found.items():
            for deviation in known:
                if deviation.begun is not None and self.ran[deviation.begun].started < self.until:
                    yield f"{check} over {scope}, {subject}, from run {deviation.begun} on"


def neutral_off(text: str) -> str:
    """A text as it was before a table put an apostrophe before it."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(RUN_BY_A_SPREADSHEET) else text


def sample_says(population: int, n: int, bad: int, unread: int) -> list[str]:
    """What a sample shows and what it does not. What could not be read counts as if it deviated: nobody knows."""
    seen = f"{bad:,} deviate, {unread:,} could not be read" if bad or unread else "none deviates"
    if n >= population:
        first = f"all {population:,} items were looked at, {seen}: this is no sample, there is nothing to infer"
    else:
        first = (
            f"{n:,} of {population:,} items were drawn, {seen}: with 90 % confidence at most "
            f"{100 * upper_limit(n, bad + unread):.1f} % of the population deviates; were it more, nine of ten samples "
            f"of this size would have shown more than {bad + unread:,}"
        )
    return [first, *SAMPLE_LIMITS]


SAMPLE_LIMITS = (
    "it does not say that nothing else deviates: tables/exceptions.csv lists every deviation that any run saw",
    (
        "it says nothing of what was never in the population: accounts that were not planned, subjects that came and "
        "went between two runs, slots in which nobody looked (tables/coverage.csv)"
    ),
    "it says nothing of whether the check asks the right question: read its source once, under checks/",
)


def upper_limit(n: int, bad: int) -> float:
    """The share of deviations that a sample does not rule out: one-sided binomial limit at 90 % (Clopper, Pearson)."""
    if bad >= n:
        return 1.0
    low, high = bad / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        at_most = sum(math.comb(n, k) * middle**k * (1 - middle) ** (n - k) for k in range(bad + 1))
        low, high = (middle, high) if at_most > 0.1 else (low, middle)
    return high


# --- what the reader is told ---

LIMITS = (  # what, and what does instead
    (
        "an account, subscription or project that was left out of the plan from the first day",
        (
            "let the organisation's own list (AWS Organizations, the Entra tenant, the Google organisation) be printed "
            "before your eyes, and compare it with the accounts in plan.json; bills are a second list"
        ),
    ),
    (
        "an answer that was forged before it was written down",
        (
            "find the request ids of the call logs in CloudTrail, which proves that and when each question was asked; "
            "and look at some subjects yourself, live, on a day of your choice"
        ),
    ),
    (
        "what happened between two runs: a state that came and went was not seen",
        "ask the cloud's own activity log for changes of the subjects that you sample",
    ),
    (
        "a ledger written anew by whoever has its key, and those of the outside: nothing that you hold says otherwise",
        "hold a checkpoint of your own: ask for one before the window begins, and now and then by mail",
    ),
    (
        "another ledger, kept for other readers",
        "compare origin, key and a checkpoint with another reader, or let one witness see them all",
    ),
    (
        "whether a check asks the right question",
        "read its source once, under checks/: the same code judged every subject",
    ),
    (
        "answers of runs outside the window: the ledger entries are here, what they rest on is not",
        "ask for a wider window",
    ),
)
LEVELS = ("signed", "held by you", "time-stamped", "witnessed")


def prove(
    path: Path,
    trust: Path | None,
    run_packaged_checks: bool,
    progress: bool,
    fast: Any = Plain,
    sample: tuple[str, str, int] | None = None,
) -> dict[str, Any]:
    """Everything that is to be said about a package, as printed by --json. Raises UsageError."""
    held = Trust(trust, path, fast)
    if not path.exists():
        raise UsageError(f"{path}: there is no such folder or zip file")
    broken: list[tuple[str, str]] = []
    proof: Proof | None = None
    drawn: dict[str, Any] | None = None
    try:
        files = Files(Folder(path) if path.is_dir() else Zip(path))
        proof = Proof(files, held, progress, fast)
        proof.run(run_packaged_checks)
        drawn = proof.sample(*sample) if sample else None
    except (BrokenError, OSError) as error:
        if fast is not Plain:  # what does not hold is found and named by this program alone
            return prove(path, trust, run_packaged_checks, progress, Plain, sample)
        if isinstance(error, BrokenError):
            broken = list(error.found)
        else:
            broken = [(str(error.filename or path), f"cannot be read: {error.strerror}")]
    finally:
        fast.stop()
        if progress:
            sys.stderr.write("\r" + " " * 60 + "\r")
    levels = proof.levels if proof and not broken else []
    return {
        "package": str(path),
        "verified": not broken,
        "broken": [{"where": where, "what": what} for where, what in broken],
        "assurance": {
            "level": max((item["level"] for item in levels if item["holds"]), default=None),
            "levels": levels,
        },
        "proved": proof.proved if proof else [],
        "not_proved": [] if broken or proof is None else proof.unproved,
        "not_caught": [{"what": what, "instead": instead} for what, instead in LIMITS],
        "left_out": proof.left_out if proof and not broken else {},
        "missed": proof.missed if proof else [],
        "sample": drawn,
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
    level = found["assurance"]["level"]
    if level is not None:
        print(f"Assurance level {level} of 3: {LEVELS[level]}")
        for item in found["assurance"]["levels"]:
            print(f"  {item['level']} {'yes' if item['holds'] else 'no '} {item['words']}")
    for title, lines in (("Proved", found["proved"]), ("Not proved", found["not_proved"])):
        if lines:
            print(f"\n{title}")
            for line in lines:
                print(f"  - {line}")
    print("\nWhat cryptography does not catch, and what does")
    for item in found["not_caught"]:
        print(f"  - {item['what']}\n    instead: {item['instead']}")
    if found["missed"]:
        print(f"\nMissed: {len(found['missed']):,} slots were due, and have neither a run nor a declared gap")
        for item in found["missed"][:TOLD_MAX]:
            print(f"  - {item['due']} {item['check']} over {item['scope']}")
        if len(found["missed"]) > TOLD_MAX:
            print('  - more: see --json, or state "missed" in tables/results.csv')
    if found["sample"]:
        print_sample(found["sample"])
    if found["broken"]:
        print("\nBroken")
        for item in found["broken"][:TOLD_MAX]:
            print(f"  - {item['where']}: {item['what']}")
        if len(found["broken"]) > TOLD_MAX:
            print(f"  - and {len(found['broken']) - TOLD_MAX:,} more: see --json")
    print(f"\nThis verifier's SHA-256 is {found['verifier']}: compare it with the one published for its release.")
    if found["verified"]:
        print("VERIFIED: what can be proved holds.")
    else:
        first = found["broken"][0]
        print(f"DOES NOT VERIFY: {first['where']}: {first['what']}")


def print_sample(drawn: dict[str, Any]) -> None:
    population = drawn["population"]
    print(f"\nSample of {len(drawn['items']):,} for {drawn['control']}, seed {drawn['seed']!r}")
    print(f"  population: {population['count']:,} items, SHA-256 over all ids {population['digest']}")
    for item in drawn["items"]:
        print(f"  {item['place']:>4} {item['state']:14} {item['id']}: {item['reason']} (run {item['run']})")
    for line in drawn["says"]:
        print(f"  - {line}")


def main(arguments: Sequence[str] | None = None, fast: Any = Plain) -> int:
    """The command. Prints, and returns the exit code: 0 fine, 2 usage, 4 does not verify."""
    words = argparse.ArgumentParser(prog="verify.py", description="Prove an evidence package, offline.")
    words.add_argument("package", nargs="?", type=Path, help="a folder or a .zip; default: where this file is")
    words.add_argument(
        "--trust", type=Path, metavar="DIR", help="your own folder: log.vkey, witness.vkey, tsa.pem, earlier *.note"
    )
    words.add_argument("--json", action="store_true", help="print JSON")
    words.add_argument(
        "--run-packaged-checks",
        action="store_true",
        help="judge with the check sources in the package where others are installed: only code that you trust",
    )
    words.add_argument("--sample", metavar="CONTROL", help="draw a sample of a control's population anew")
    words.add_argument("--seed", metavar="S", help="the seed of the sample: whatever you choose")
    words.add_argument("--n", type=int, default=25, metavar="N", help="how many items the sample has (25)")
    given = words.parse_args(arguments)
    try:
        if (given.sample is None) != (given.seed is None) or not 1 <= given.n <= 100_000:
            raise UsageError("a sample needs --sample CONTROL and --seed S, and --n from 1 to 100000")
        sample = None if given.sample is None else (given.sample, given.seed, given.n)
        progress = sys.stderr.isatty() and not given.json
        package = given.package or Path(__file__).resolve().parent
        found = prove(package, given.trust, given.run_packaged_checks, progress, fast, sample)
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
