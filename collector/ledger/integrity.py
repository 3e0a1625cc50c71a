"""Proves a ledger in its own database: entries, tiles, roots, signatures, blobs; says where it breaks.

The proof for strangers, over an exported package, is verify.py; this one may read the tables and is what a start asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import sqlalchemy as sa

from collector import canonical
from collector.errors import LedgerBroken
from collector.ledger import merkle, records
from collector.ledger.entry import Kind
from collector.ledger.merkle import HASH_BYTES, TILE_WIDTH
from collector.ledger.note import BadNote, Note, TreeHead, VerifierKey
from collector.ledger.tables import checkpoint, edge, entry, head, tile

Progress = Callable[[int, int], None]
"""Told now and then how many of how many are done."""

TELL_EVERY = 1_000


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
    def __init__(self, connection: sa.Connection, where: str, progress: Progress | None) -> None:
        self.connection = connection
        self.where = where
        self.progress = progress
        found = connection.execute(sa.select(head)).one()
        self.origin: str = found.origin
        self.size: int = found.size
        self.key: VerifierKey | None = None
        self.notes: Iterator[sa.Row[Any]] = iter(
            connection.execute(sa.select(checkpoint).order_by(checkpoint.c.size)).all()
        )
        self.next_note = next(self.notes, None)
        self.signed = 0
        # The tree so far: the tile being filled, the tiles full below, and what is stored of the one being filled.
        self.low = merkle.Frontier()
        self.high = merkle.Frontier()
        self.upper = merkle.Edge(0, [])
        self.leaves = bytearray()
        self.stored = b""
        self.tiles = 0
        self.needed: list[tuple[int, str]] = []

    def verify(self, blobs: bool) -> Verified:
        self._checkpoints_at(0)
        self.stored = self._stored(0, 0)
        seq = 0
        for seq, data in enumerate(self._bodies(), 1):
            if data["kind"] == Kind.KEY:
                self._take_key(seq - 1, data)
            if blobs:
                self.needed.extend((seq - 1, digest) for digest in _blobs_of(data))
            if self.low.size == TILE_WIDTH:
                self._fill_tile()
            if self.next_note is not None and self.next_note.size == seq:
                self._checkpoints_at(seq)
            if self.progress is not None and seq % TELL_EVERY == 0:
                self.progress(seq, self.size)
        if seq != self.size:
            self._broken(f"it holds {seq} entries, but {self.size} were written: the end is missing or was added to")
        self._compare_leaves()
        self._compare_edges()
        if self.next_note is not None:
            self._broken(
                f"the checkpoint over {self.next_note.size} entries was signed, but there are only {seq} entries now"
            )
        stray = self.connection.execute(sa.select(sa.func.count()).select_from(tile)).scalar_one() - self.tiles
        if stray:
            self._broken(f"there are {stray} tiles that belong to no entries")
        if self.progress is not None:
            self.progress(seq, self.size)
        return Verified(seq, self.tiles, self.signed, self._blobs() if blobs else None, self._root())

    # --- entries ---

    def _bodies(self) -> Iterator[dict[str, Any]]:
        """Every entry's fields, after its place, its columns and its bytes were found to agree; feeds the tree."""
        rows = self.connection.execute(
            sa.select(*records.ROW).order_by(entry.c.seq), execution_options={"yield_per": records.PAGE}
        )
        bases = records.Bases()
        for expected, row in enumerate(rows):
            seq, kind, at, *_ = row
            if seq != expected:
                self._broken(f"entry {expected} is missing: entry {seq} follows entry {expected - 1}")
            try:
                body = records.body_of(self.connection, row, bases)
                data = canonical.parse(body)
                same = data["seq"] == seq and data["kind"] == kind
                same = same and (datetime.fromisoformat(data["at"]) - records.EPOCH) // records.MICROSECOND == at
            except (ValueError, KeyError, TypeError) as error:
                self._broken(f"entry {seq} cannot be read: {error}")
            if not same:
                self._broken(f"entry {seq} is filed under another number, kind or time than its body says")
            leaf = merkle.leaf_hash(body)
            self.leaves += leaf
            self.low.push(leaf)
            yield data

    def _take_key(self, seq: int, data: dict[str, Any]) -> None:
        try:
            self.key = VerifierKey.parse(data["vkey"])
        except (BadNote, KeyError) as error:
            self._broken(f"entry {seq} names no key: {error}")
        if data.get("origin") != self.origin or self.key.name != self.origin:
            self._broken(f"entry {seq} names a key of {self.key.name}, but this is the ledger {self.origin}")

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
        count = len(self.leaves) // HASH_BYTES
        first = self.high.size * TILE_WIDTH
        for at in range(0, len(self.leaves), HASH_BYTES):
            if self.leaves[at : at + HASH_BYTES] != self.stored[at : at + HASH_BYTES]:
                self._broken(f"entry {first + at // HASH_BYTES} is not what was hashed when it was written")
        if count == TILE_WIDTH and len(self.stored) != TILE_WIDTH * HASH_BYTES:
            self._broken(f"tile 0/{self.high.size} is not 256 hashes wide")

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

    def _checkpoints_at(self, size: int) -> None:
        while self.next_note is not None and self.next_note.size == size:
            self._check_note(self.next_note)
            self.signed += 1
            self.next_note = next(self.notes, None)

    def _check_note(self, row: sa.Row[Any]) -> None:
        name = f"the checkpoint over {row.size} entries"
        root = self._root()
        if root != row.root:
            self._compare_leaves()
            self._broken(f"{name} was signed over another history: the entries before it hash to another root")
        if self.key is None:
            self._broken(f"{name} was signed before any key was written into the ledger")
        try:
            parsed = Note.parse(row.note)
            parsed.verify([self.key])
            said = TreeHead.parse(parsed.text)
        except BadNote as error:
            self._broken(f"{name} does not hold: {error}")
        if (said.origin, said.size, said.root) != (self.origin, row.size, root):
            self._broken(f"{name} was signed for {said.origin} over {said.size} entries or for another root")

    # --- blobs ---

    def _blobs(self) -> int:
        held: set[str] = set()
        for digest, wrong in records.blobs(self.connection):
            if wrong:
                self._broken(f"blob {digest} {wrong}")
            held.add(digest)
        for seq, digest in self.needed:
            if digest not in held:
                self._broken(f"entry {seq} rests on blob {digest}, which is not there")
        return len(held)

    def _broken(self, what: str) -> NoReturn:
        raise LedgerBroken(
            f"the ledger at {self.where} does not verify: {what}. "
            "Keep this file as it is for whoever looks into it, and restore a backup beside it."
        )


def _blobs_of(data: dict[str, Any]) -> Iterator[str]:
    """The blobs that an entry cannot be understood without."""
    names = {Kind.RUN: ("calls", "observations"), Kind.CONFIG: ("blob",), Kind.CHECK: ("code",)}
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
