"""The tree over the entries: hashes, roots, proofs and tiles, as RFC 6962 and C2SP tlog-tiles have them.

Pure: bytes in, bytes out. Where hashes are kept, and what a leaf says, is not in here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

HASH_BYTES = 32
TILE_WIDTH = 256  # hashes in a full tile
TILE_HEIGHT = 8  # levels of the tree that one level of tiles stands for
EMPTY_ROOT = hashlib.sha256(b"").digest()

Node = Callable[[int, int], bytes]
"""``node(level, index)``: the hash over the ``2**level`` leaves from leaf ``index * 2**level`` on."""


def leaf_hash(body: bytes) -> bytes:
    """The hash of one entry, 32 bytes."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbouring subtrees, 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over neighbouring complete subtrees, largest first; of none, the root of the empty tree."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """The complete subtrees that leaves ``[start, end)`` consist of, left to right, each as (level, index)."""
    parts: list[tuple[int, int]] = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        parts.append((level, start >> level))
        start += 1 << level
    return parts


def frontier(size: int, node: Node) -> list[bytes]:
    """The hashes of the complete subtrees of the tree of ``size`` leaves, largest first: all that appending needs."""
    return [node(level, index) for level, index in subtrees(0, size)]


def root(size: int, node: Node) -> bytes:
    """The root of the tree over the first ``size`` leaves."""
    return fold(frontier(size, node))


class Frontier:
    """A tree that remembers only its right edge: enough to append and to know the root, in 32 bytes a level."""

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        """``hashes`` as ``frontier`` returns them. Raises ValueError when they do not fit ``size``."""
        self.size = size
        self._hashes = list(hashes)
        if len(self._hashes) != size.bit_count() or any(len(h) != HASH_BYTES for h in self._hashes):
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} hashes of 32 bytes on its frontier")

    def push(self, *leaves: bytes) -> None:
        """Appends leaf hashes."""
        held, sha256 = self._hashes, hashlib.sha256  # this is the inner loop of every proof of a whole ledger
        for size, leaf in enumerate(leaves, self.size):
            rising = leaf
            while size & 1:
                rising = sha256(b"\x01" + held.pop() + rising).digest()
                size >>= 1
            held.append(rising)
        self.size += len(leaves)

    def hashes(self) -> list[bytes]:
        """The hashes of the complete subtrees, largest first."""
        return list(self._hashes)

    def root(self) -> bytes:
        return fold(self._hashes)


# --- proofs ---


def _hash_of(start: int, end: int, node: Node) -> bytes:
    return fold([node(level, index) for level, index in subtrees(start, end)])


def _split(start: int, end: int) -> int:
    """Where RFC 6962 parts the leaves ``[start, end)``: after the largest power of two smaller than their number."""
    return start + (1 << ((end - start - 1).bit_length() - 1))


def inclusion(index: int, size: int, node: Node) -> list[bytes]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves, from the leaf upwards (RFC 6962 2.1.1).

    Raises ValueError when there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = _split(start, end)
        if index < middle:
            path.append(_hash_of(middle, end, node))
            end = middle
        else:
            path.append(_hash_of(start, middle, node))
            start = middle
    path.reverse()
    return path


def consistency(old: int, new: int, node: Node) -> list[bytes]:
    """The proof that the tree of ``old`` leaves is the beginning of the tree of ``new`` leaves (RFC 6962 2.1.2).

    Empty when ``old`` is 0 or equals ``new``. Raises ValueError when ``old`` is larger than ``new``.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} leaves cannot be the beginning of one of {new}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end, known = 0, new, True  # known: the verifier holds the hash over [start, end) as the old root
    while old != end:
        middle = _split(start, end)
        if old <= middle:
            path.append(_hash_of(middle, end, node))
            end = middle
        else:
            path.append(_hash_of(start, middle, node))
            start, known = middle, False
    if not known:
        path.append(_hash_of(start, end, node))
    path.reverse()
    return path


def includes(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether ``path`` proves that ``leaf`` is leaf ``index`` of the tree of this size and root (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while place and not place & 1:
                place >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        place >>= 1
        last >>= 1
    return last == 0 and found == root


def extends(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether ``path`` proves that the new tree begins with the old one (RFC 9162 2.1.4.2)."""
    if old == 0:
        return not path and old_root == EMPTY_ROOT and (new > 0 or new_root == EMPTY_ROOT)
    if not 0 < old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    steps = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not path or not steps:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place >>= 1
        last >>= 1
    before = after = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while place and not place & 1:
                place >>= 1
                last >>= 1
        else:
            after = node_hash(after, sibling)
        place >>= 1
        last >>= 1
    return last == 0 and before == old_root and after == new_root


# --- tiles ---


@dataclass(frozen=True)
class Tile:
    """A full tile: 256 neighbouring hashes of tree level ``8 * level``, 8,192 bytes."""

    level: int
    n: int
    hashes: bytes


def tile_root(hashes: bytes) -> bytes:
    """The hash over a power of two of neighbouring hashes, given as one string of bytes."""
    row = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def node_in_tiles(level: int, index: int, tile: Callable[[int, int], bytes]) -> bytes:
    """One node of the tree out of the tile that holds it. ``tile(level, n)`` fetches a tile, full or not."""
    tile_level, above = divmod(level, TILE_HEIGHT)
    n, first = divmod(index << above, TILE_WIDTH)
    held = tile(tile_level, n)
    wanted = held[first * HASH_BYTES : (first + (1 << above)) * HASH_BYTES]
    if len(wanted) != HASH_BYTES << above:
        raise ValueError(f"tile {tile_level}/{n} holds {len(held) // HASH_BYTES} hashes; number {first} is asked for")
    return tile_root(wanted)


def tile_width(level: int, n: int, size: int) -> int:
    """How many hashes tile ``n`` of ``level`` has in a tree of ``size`` leaves, 0 to 256."""
    return min(max((size >> (TILE_HEIGHT * level)) - n * TILE_WIDTH, 0), TILE_WIDTH)


def tile_path(level: int, n: int, width: int = TILE_WIDTH) -> str:
    """The path of a tile below the log's prefix (C2SP tlog-tiles): ``tile/0/x001/x234/067.p/8``."""
    groups = [f"{n % 1000:03d}"]
    while n := n // 1000:
        groups.insert(0, f"x{n % 1000:03d}")
    return f"tile/{level}/{'/'.join(groups)}" + (f".p/{width}" if width < TILE_WIDTH else "")


class Edge:
    """The right edge of the tiles: the hashes that fill no tile yet, by level. Appending makes full tiles of them."""

    def __init__(self, size: int, levels: Sequence[bytes]) -> None:
        """``levels[k]`` holds the unfilled hashes of tile level k. Raises ValueError when they do not fit ``size``."""
        self.size = size
        self.levels = [bytearray(hashes) for hashes in levels]
        wanted = edge_bytes(size)
        if [len(hashes) for hashes in self.levels] != wanted:
            raise ValueError(f"the edge of a tree of {size} leaves has {wanted} bytes by level")

    def push(self, leaf: bytes) -> list[Tile]:
        """Appends one leaf hash; returns the tiles that it filled, lowest first."""
        filled: list[Tile] = []
        self.size += 1
        level, arriving = 0, leaf
        while True:
            if level == len(self.levels):
                self.levels.append(bytearray())
            held = self.levels[level]
            held += arriving
            if len(held) < TILE_WIDTH * HASH_BYTES:
                return filled
            full = bytes(held)
            held.clear()
            filled.append(Tile(level, (self.size >> (TILE_HEIGHT * (level + 1))) - 1, full))
            level, arriving = level + 1, tile_root(full)


def edge_bytes(size: int) -> list[int]:
    """For each tile level that a tree of ``size`` leaves has, how many bytes its unfilled tile has."""
    found: list[int] = []
    while size:
        found.append(size % TILE_WIDTH * HASH_BYTES)
        size >>= TILE_HEIGHT
    return found
