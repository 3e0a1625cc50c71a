"""The tree against the published vectors, against itself, and against whoever would forge it."""

from __future__ import annotations

import hashlib
import random

import pytest

from collector.ledger import merkle
from collector.ledger.merkle import Edge, Frontier, leaf_hash, node_hash

# The leaves and roots of the reference implementation of Certificate Transparency (RFC 6962).
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class Tree:
    """A whole tree in memory, every complete subtree by (level, index); the plainest thing that could be right."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.levels = [leaves]
        while len(self.levels[-1]) > 1:
            row = self.levels[-1]
            self.levels.append([node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])

    def node(self, level: int, index: int) -> bytes:
        return self.levels[level][index]


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(recursive_root(leaves[:k]), recursive_root(leaves[k:]))


def numbered(count: int) -> list[bytes]:
    return [leaf_hash(b"leaf %d" % number) for number in range(count)]


def other(hashed: bytes) -> bytes:
    return bytes([hashed[0] ^ 1]) + hashed[1:]


def test_roots_are_those_of_the_reference_implementation():
    tree = Tree([leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES])
    frontier = Frontier()
    for size, expected in enumerate(ROOTS, 1):
        frontier.push(leaf_hash(bytes.fromhex(LEAVES[size - 1])))
        assert merkle.root(size, tree.node).hex() == expected
        assert frontier.root().hex() == expected


def test_the_empty_tree_has_the_root_of_nothing():
    assert Frontier().root() == hashlib.sha256(b"").digest() == merkle.root(0, Tree([]).node)


def test_every_size_to_256_has_the_root_that_the_standard_defines_and_a_frontier_that_goes_on():
    leaves = numbered(256)
    tree = Tree(leaves)
    growing = Frontier()
    for size in range(257):
        assert merkle.root(size, tree.node) == recursive_root(leaves[:size]) == growing.root()
        assert merkle.frontier(size, tree.node) == growing.hashes()
        resumed = Frontier(size, growing.hashes())
        resumed.push(*leaves[size:])
        assert resumed.root() == recursive_root(leaves)
        if size < 256:
            growing.push(leaves[size])


def test_every_inclusion_proof_to_256_holds_and_no_forgery_of_it_does():
    leaves = numbered(256)
    tree = Tree(leaves)
    for size in range(1, 257):
        root = merkle.root(size, tree.node)
        for index in range(size):
            path = merkle.inclusion(index, size, tree.node)
            assert merkle.includes(leaves[index], index, size, path, root)
            assert not merkle.includes(other(leaves[index]), index, size, path, root)
        assert not merkle.includes(leaves[0], size, size, merkle.inclusion(0, size, tree.node), root)


def test_every_consistency_proof_to_256_holds_and_no_forgery_of_it_does():
    tree = Tree(numbered(256))
    roots = [merkle.root(size, tree.node) for size in range(257)]
    for new in range(257):
        for old in range(new + 1):
            path = merkle.consistency(old, new, tree.node)
            assert merkle.extends(old, new, roots[old], roots[new], path)
            assert not merkle.extends(old, new, other(roots[old]), roots[new], path)
            if old > 0:
                assert not merkle.extends(old, new, roots[old], other(roots[new]), path)


def test_random_proofs_to_4096_hold_and_each_way_of_bending_them_fails():
    chance = random.Random(6962)
    leaves = numbered(4096)
    tree = Tree(leaves)
    for _ in range(400):
        new = chance.randrange(2, 4097)
        old, index = chance.randrange(1, new), chance.randrange(new)
        root, before = merkle.root(new, tree.node), merkle.root(old, tree.node)
        path = merkle.inclusion(index, new, tree.node)
        assert merkle.includes(leaves[index], index, new, path, root)
        bent = [path[:-1], [*path, root], [*path[1:], path[0]] if len(set(path)) > 1 else path[:-1]]
        spoiled = list(path)
        spoiled[chance.randrange(len(path))] = root
        for forged in [*bent, spoiled]:
            assert not merkle.includes(leaves[index], index, new, forged, root)
        assert not merkle.includes(leaves[index], (index + 1) % new, new, path, root)

        proof = merkle.consistency(old, new, tree.node)
        assert merkle.extends(old, new, before, root, proof)
        spoiled = list(proof)
        spoiled[chance.randrange(len(proof))] = other(root)
        for forged in [proof[:-1], [*proof, root], spoiled, []]:
            assert not merkle.extends(old, new, before, root, forged)
        assert not merkle.extends(new, old, root, before, proof)


def test_a_proof_about_nothing_is_refused():
    tree = Tree(numbered(8))
    root = merkle.root(8, tree.node)
    with pytest.raises(ValueError, match="no leaf 8"):
        merkle.inclusion(8, 8, tree.node)
    with pytest.raises(ValueError, match="cannot be the beginning"):
        merkle.consistency(9, 8, tree.node)
    assert not merkle.includes(leaf_hash(b""), -1, 8, [], root)
    assert not merkle.extends(-1, 8, root, root, [])
    assert not merkle.extends(0, 8, root, root, [])  # an empty tree has the empty root
    assert merkle.extends(0, 0, merkle.EMPTY_ROOT, merkle.EMPTY_ROOT, [])


def test_a_frontier_that_does_not_fit_its_size_is_refused():
    with pytest.raises(ValueError, match="3 leaves has 2 hashes"):
        Frontier(3, [b"\0" * 32])
    with pytest.raises(ValueError, match="of 32 bytes"):
        Frontier(1, [b"\0" * 31])


def test_tiles_hold_every_node_of_the_tree():
    size = 70_000  # the example of the tlog-tiles specification
    leaves = numbered(size)
    tree = Tree(leaves)
    edge = Edge(0, [])
    tiles = {}
    for leaf in leaves:
        for tile in edge.push(leaf):
            tiles[tile.level, tile.n] = tile.hashes
    tiles.update({(level, size >> (8 * (level + 1))): bytes(held) for level, held in enumerate(edge.levels)})
    widths = {place: len(held) // 32 for place, held in tiles.items()}
    assert all(width == merkle.tile_width(*place, size) for place, width in widths.items())
    assert (widths[0, 273], widths[1, 0], widths[1, 1], widths[2, 0]) == (112, 256, 17, 1)
    assert sum(1 for (level, _), width in widths.items() if level == 0 and width == 256) == 273

    def node(level: int, index: int) -> bytes:
        return merkle.node_in_tiles(level, index, lambda *place: tiles[place])

    chance = random.Random(1)
    for level, row in enumerate(tree.levels):
        for index in {0, len(row) - 1, chance.randrange(len(row))}:
            assert node(level, index) == row[index]
    assert merkle.root(size, node) == merkle.root(size, tree.node)


def test_an_edge_goes_on_where_it_was_put_down():
    leaves = numbered(600)
    whole, halved = Edge(0, []), Edge(0, [])
    filled = [tile for leaf in leaves for tile in whole.push(leaf)]
    again = []
    for leaf in leaves:
        halved = Edge(halved.size, [bytes(level) for level in halved.levels])
        again.extend(halved.push(leaf))
    assert again == filled
    assert halved.levels == whole.levels
    with pytest.raises(ValueError, match="edge of a tree of 600"):
        Edge(600, [b""])


def test_a_node_that_no_tile_holds_is_refused():
    with pytest.raises(ValueError, match="tile 0/0 holds 1 hashes"):
        merkle.node_in_tiles(0, 3, lambda level, n: b"\0" * 32)


def test_tile_paths_are_those_of_the_specification():
    assert merkle.tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert merkle.tile_path(1, 7, 3) == "tile/1/007.p/3"
    assert merkle.tile_path(2, 1000, 255) == "tile/2/x001/000.p/255"
