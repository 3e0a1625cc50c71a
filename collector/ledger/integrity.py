"""Proves a ledger in its own database: entries, tiles, roots, signatures, blobs; says where it breaks.

The proof for strangers, over an exported package, is verify.py; this one may read the tables and is what a start asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NoReturn

import sqlalchemy as sa

from collector import canonical
from collector.errors import LedgerBroken
from collector.ledger import keys, merkle, records
from collector.ledger.entry import Kind
from collector.ledger.keys import KeyEntry
from collector.ledger.merkle import HASH_BYTES, TILE_WIDTH
from collector.ledger.note import BadNote, Note, TreeHead, VerifierKey
from collector.ledger.tables import checkpoint, edge, entry, expired, head, tile

Progress = Callable[[int, int], None]
"""Told now and then how many of how many are done."""

TELL_EVERY = 1_000
SIGNATURES_AT_ONCE = 4  # the arithmetic of a signature lets other threads go on


@dataclass(frozen=True)
class Verified:
    """What was proved. ``root`` is over all entries; ``blobs`` None when they were not looked at."""

    entries: int
    tiles: int
    checkpoints: int
    blobs: int | None
    root: bytes

    def __str__(self) -> str:
        blobs = "" if self.blobs is None else f", {self.blobs} blobs"
        return f"{self.entries} entries, {self.checkpoints} signed checkpoints{blobs}, root {self.root.hex()}"


def verify(connection: sa.Connection, where: str, *, blobs: bool = False, progress: Progress | None = None) -> Verified:
    """Reads the whole log once, in order. Raises LedgerBroken at the first thing that is not as it was written."""
    return _Walk(connection, where, progress).verify(blobs)


class _Walk:
    """One proof under way."""

    def __init__(self, connection: sa.Connection, where: str, progress: Progress | None) -> None:
        self.connection = connection
        self.where = where
        self.progress = progress
        self.signatures: list[tuple[TreeHead, str, VerifierKey]] = []  # still to be verified
        found = connection.execute(sa.select(head)).one()
        self.origin: str = found.origin
        self.size: int = found.size
        self.keys: list[KeyEntry] = []
        self.notes = deque(connection.execute(sa.select(checkpoint).order_by(checkpoint.c.size)).all())
        self.signed = len(self.notes)
        self.needed: list[tuple[int, str]] = []  # blobs, by the entries that rest on them
        # The tree so far: the tile being filled, the full ones below, and what is stored of the one being filled.
        self.low = merkle.Frontier()
        self.high = merkle.Frontier()
        self.upper = merkle.Edge(0, [])
        self.leaves = bytearray()
        self.stored = self._stored(0, 0)
        self.tiles = 0
        self.told = 0

    def verify(self, blobs: bool) -> Verified:
        query = sa.select(*records.ROW).order_by(entry.c.seq)
        with self.connection.execute(query, execution_options={"yield_per": records.PAGE}) as rows:
            seq = self._walk(rows, blobs)
        self._end(seq)
        return Verified(seq, self.tiles, self.signed, self._blobs() if blobs else None, self._root())

    def _walk(self, rows: Iterable[Any], blobs: bool) -> int:
        """Reads every row, tile by tile and checkpoint by checkpoint. Returns how many there are."""
        seq = 0
        bases = records.Bases()
        while True:
            self._check_notes_at(seq)
            end = (self.high.size + 1) * TILE_WIDTH
            if self.notes:
                end = min(end, self.notes[0].size)
            leaves = self._read(islice(rows, end - seq), seq, bases, blobs)
            self.low.push(*leaves)
            self.leaves += b"".join(leaves)
            seq += len(leaves)
            if self.low.size == TILE_WIDTH:
                self._fill_tile()
            self._tell(seq)
            if seq < end:
                return seq

    def _end(self, seq: int) -> None:
        """What must hold when no entry is left."""
        if seq != self.size:
            self._broken(f"it holds {seq} entries, but {self.size} were written: the end is missing or was added to")
        self._compare_leaves()
        self._compare_edges()
        if self.notes:
            size = self.notes[0].size
            self._broken(f"the checkpoint over {size} entries was signed, but there are only {seq} entries now")
        kept = self.connection.execute(sa.select(sa.func.count()).select_from(tile)).scalar_one()
        if kept != self.tiles:
            self._broken(f"there are {kept} full tiles, but the entries fill {self.tiles}")
        with ThreadPoolExecutor(SIGNATURES_AT_ONCE, thread_name_prefix="signatures") as threads:
            parts = [self.signatures[first::SIGNATURES_AT_ONCE] for first in range(SIGNATURES_AT_ONCE)]
            wrong = [item for found in threads.map(_wrong_with, parts) for item in found]
        if wrong:
            self._broken(min(wrong)[1])
        self._tell(seq, at_last=True)

    def _tell(self, seq: int, *, at_last: bool = False) -> None:
        if self.progress is not None and (at_last or seq - self.told >= TELL_EVERY):
            self.progress(seq, self.size)
            self.told = seq

    # --- entries ---

    def _read(self, rows: Iterable[Any], seq: int, bases: records.Bases, blobs: bool) -> list[bytes]:
        """The leaf hashes of some rows from ``seq`` on, after place, columns and bytes of each were found to agree."""
        leaves: list[bytes] = []
        for expected, (found, kind, at, encoding, leans_on, packed) in enumerate(rows, seq):
            if found != expected:
                self._broken(f"entry {expected} is missing: entry {found} is the next")
            try:
                body = records.body_of(self.connection, found, at, encoding, leans_on, packed, bases)
                data = canonical.parse(body)
                same = data["seq"] == found and data["kind"] == kind
                same = same and (datetime.fromisoformat(data["at"]) - records.EPOCH) // records.MICROSECOND == at
            except (ValueError, KeyError, TypeError) as error:
                self.leaves += b"".join(leaves)  # an entry that this one leans on may be the one that was changed
                self._compare_leaves()
                self._broken(f"entry {found} cannot be read: {error}")
            if not same:
                self._broken(f"entry {found} is filed under another number, kind or time than its body says")
            if kind == Kind.KEY:
                self._take_key(found, data)
            if blobs:
                self.needed.extend((found, digest) for digest in _blobs_of(data))
            leaves.append(merkle.leaf_hash(body))
        return leaves

    def _take_key(self, seq: int, data: dict[str, Any]) -> None:
        try:
            at = datetime.fromisoformat(data["at"])
            self.keys.append(keys.read(seq, at, data, self.origin, self.keys))
        except keys.BadKeyEntry as error:
            self._broken(f"entry {seq} {error}")

    # --- the tree ---

    def _stored(self, level: int, n: int) -> bytes:
        """The tile as it is kept, full or on the edge; nothing when it is not."""
        return stored_tile(self.connection, level, n, self.size)

    def _fill_tile(self) -> None:
        self._compare_leaves()
        root = self.low.root()
        self.tiles += 1
        self.high.push(root)
        for full in self.upper.push(root):
            self.tiles += 1
            if self._stored(full.level + 1, full.n) != full.hashes:
                self._broken(f"tile {full.level + 1}/{full.n} is not what the entries below it hash to")
        self.low = merkle.Frontier()
        self.leaves.clear()
        self.stored = self._stored(0, self.high.size)

    def _compare_leaves(self) -> None:
        """The leaves since the last full tile against what is stored of them."""
        n = self.high.size
        width = merkle.tile_width(0, n, self.size)
        if len(self.stored) != width * HASH_BYTES:
            self._broken(f"tile 0/{n} has {len(self.stored) // HASH_BYTES} hashes instead of {width}")
        if self.stored.startswith(self.leaves):
            return
        for at in range(0, len(self.leaves), HASH_BYTES):
            if self.leaves[at : at + HASH_BYTES] != self.stored[at : at + HASH_BYTES]:
                self._broken(f"entry {n * TILE_WIDTH + at // HASH_BYTES} is not what was hashed when it was written")

    def _compare_edges(self) -> None:
        wanted = {0: bytes(self.leaves)} if self.size else {}
        wanted.update({level: bytes(hashes) for level, hashes in enumerate(self.upper.levels, 1)})
        held = {row.level: row.hashes for row in self.connection.execute(sa.select(edge))}
        for level in sorted(wanted.keys() | held.keys()):
            if wanted.get(level, b"") != held.get(level, b""):
                self._broken(f"the unfilled tile of level {level} is not what the entries hash to")

    def _root(self) -> bytes:
        return merkle.fold([*self.high.hashes(), *self.low.hashes()])

    # --- checkpoints ---

    def _check_notes_at(self, size: int) -> None:
        while self.notes and self.notes[0].size <= size:
            row = self.notes.popleft()
            name = f"the checkpoint over {row.size} entries"
            root = self._root()
            if root != row.root:
                self._compare_leaves()
                self._broken(f"{name} was signed over another history: the entries before it hash to another root")
            if not self.keys:
                self._broken(f"{name} was signed before any key was written into the ledger")
            self.signatures.append((TreeHead(self.origin, size, root), row.note, self.keys[-1].key))

    # --- blobs ---

    def _blobs(self) -> int:
        held: set[str] = set()
        for digest, wrong in records.blobs(self.connection):
            if wrong:
                self._broken(f"blob {digest} {wrong}")
            held.add(digest)
        dropped = {raw.hex() for raw in self.connection.execute(sa.select(expired.c.digest)).scalars()}
        if dropped:
            self._check_expiries(dropped)
        for seq, digest in self.needed:
            if digest not in held and digest not in dropped:
                self._broken(f"entry {seq} rests on blob {digest}, which is not there")
        return len(held)

    def _check_expiries(self, dropped: set[str]) -> None:
        """What is gone was dropped by an entry of the ledger, not by a row in a table."""
        said: set[str] = set()
        for row in self.connection.execute(sa.select(entry.c.seq).where(records.of_kinds([Kind.EXPIRY]))):
            data = records.read_entry(self.connection, row.seq).data
            said.update(records.read_blob(self.connection, data["blobs"]).decode().split())
        if dropped - said:
            self._broken(f"payload {min(dropped - said)} is marked as expired, but no entry says that it was dropped")

    def _broken(self, what: str) -> NoReturn:
        raise LedgerBroken(
            f"the ledger at {self.where} does not verify: {what}. "
            "Keep this file as it is for whoever looks into it, and restore a backup beside it."
        )


def _wrong_with(signatures: Sequence[tuple[TreeHead, str, VerifierKey]]) -> list[tuple[int, str]]:
    """Which notes are not what they should be, signed by the key of their time: by size, in words."""
    wrong: list[tuple[int, str]] = []
    for wanted, text, key in signatures:
        name = f"the checkpoint over {wanted.size} entries"
        try:
            note = Note.parse(text)
            note.verify([key])
            if TreeHead.parse(note.text) != wanted:
                wrong.append((wanted.size, f"{name} says something else than was signed"))
        except BadNote as error:
            wrong.append((wanted.size, f"{name} does not hold: {error}"))
    return wrong


def _blobs_of(data: dict[str, Any]) -> Iterator[str]:
    """The blobs that an entry cannot be understood without."""
    names = {
        Kind.RUN: ("calls", "observations"),
        Kind.SPOT: ("calls", "observations"),
        Kind.CONFIG: ("blob",),
        Kind.CHECK: ("code",),
        Kind.ANCHOR: ("token",),
        Kind.EXPIRY: ("blobs",),
    }
    for name in names.get(data["kind"], ()):
        if data.get(name):
            yield data[name]


def stored_tile(connection: sa.Connection, level: int, n: int, size: int) -> bytes:
    """A tile of a log with ``size`` entries as it is kept: full, or the unfilled one; nothing when it is neither."""
    if merkle.tile_width(level, n, size) == TILE_WIDTH:
        query = sa.select(tile.c.hashes).where(tile.c.level == level, tile.c.n == n)
    else:
        query = sa.select(edge.c.hashes).where(edge.c.level == level)
    return connection.execute(query).scalar_one_or_none() or b""
