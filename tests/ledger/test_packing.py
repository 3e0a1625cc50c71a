"""Packed and unpacked, bytes are what they were; damaged, they are refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import canonical
from collector.ledger import packing

LIMIT = 1 << 22


def text(size: int, seed: int) -> bytes:
    chance = random.Random(seed)
    return b"".join(
        b'{"id":"%032x","n":%d},' % (chance.getrandbits(128), chance.randrange(99)) for _ in range(size // 46)
    )


def edited(data: bytes, seed: int, edits: int) -> bytes:
    """The same with a few places changed, put in and taken out."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(edits):
        at = chance.randrange(len(changed))
        changed[at : at + chance.randrange(40)] = chance.randbytes(chance.randrange(40))
    return bytes(changed)


def test_the_dictionary_is_the_one_that_ledgers_were_written_with():
    digest = "0a5aea7af7c3306727355520158edf24ececc7b0b710747e687b6605e63ff092"
    assert canonical.digest(packing.DICTIONARY) == digest, "give a changed dictionary a new number"


@given(st.binary(max_size=3000), st.none() | st.binary(max_size=3000))
def test_any_bytes_survive(data, base):
    for encoding, packed in (packing.pack(data, base), packing.pack_leaning(data, base)):
        assert packing.unpack(encoding, packed, base, len(data)) == data
        assert len(packed) <= len(data)


@pytest.mark.parametrize("size", [16_383, 16_384, 16_385, 32_768, 100_000, 1_000_000])
def test_large_values_that_change_a_little_cost_a_little(size):
    base = text(size, seed=1)
    data = edited(base, seed=2, edits=12)
    encoding, packed = packing.pack(data, base)
    assert encoding in (packing.DELTA, packing.MIDDLE)
    assert packing.unpack(encoding, packed, base, LIMIT) == data
    alone = packing.pack(data)[1]
    assert len(packed) * 10 < len(alone)


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=200))
def test_what_lies_between_the_same_begin_and_end_survives(begin, was, now, end):
    base, data = begin + was + end, begin + now + end
    assert packing.unpack(packing.MIDDLE, packing.pack_middle(data, base), base, len(data)) == data


@pytest.mark.parametrize("size", [700, 20_000, 1_000_000])
def test_one_change_in_a_listing_costs_that_change_and_not_the_listing(size):
    base = text(size, seed=8)
    at = len(base) // 2 // 46 * 46
    data = base[:at] + text(46, seed=9) + base[at + 46 :]
    encoding, packed = packing.pack(data, base)
    assert encoding == packing.MIDDLE or size < 1000
    assert len(packed) < 60
    assert packing.unpack(encoding, packed, base, LIMIT) == data
    for wrong in (b"", packed[:1], b"\xff" * 12, b"\xff\xff\xff\x7f" + packed[1:]):
        with pytest.raises(ValueError, match="packed bytes"):
            packing.unpack(packing.MIDDLE, wrong, base, LIMIT)


def test_values_of_other_lengths_than_their_base_survive():
    for long, short in ((200_000, 100), (100, 200_000), (40_000, 33_000)):
        base, data = text(long, seed=3), text(short, seed=4)
        assert packing.unpack(packing.DELTA, packing.pack_delta(data, base), base, LIMIT) == data


def test_a_value_that_nothing_helps_is_kept_plain():
    noise = random.Random(5).randbytes(500)
    assert packing.pack(noise, noise[::-1]) == (packing.PLAIN, noise)


def test_unpacking_stops_at_the_limit():
    for encoding, packed in ((packing.PLAIN, b"x" * 11), packing.pack(b"x" * 100_000)):
        with pytest.raises(ValueError, match="more than 10 bytes"):
            packing.unpack(encoding, packed, None, 10)
    base = b"x" * 40_000
    with pytest.raises(ValueError, match="more than 10 bytes"):
        packing.unpack(packing.DELTA, packing.pack_delta(base, base), base, 10)


def test_damage_is_refused_or_at_least_changes_the_bytes():
    base = text(2_000, seed=6)
    data = edited(base, seed=7, edits=3)
    for lean, (encoding, packed) in ((base, packing.pack(data, base)), (None, packing.pack(data))):
        for at in range(len(packed)):
            broken = packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :]
            try:
                found = packing.unpack(encoding, broken, lean, LIMIT)
            except ValueError:
                continue
            assert found != data or at >= len(packed) - 3  # the last bits of a stream may be padding
        with pytest.raises(ValueError, match=r"end too soon|damaged"):
            packing.unpack(encoding, packed[:-2], lean, LIMIT)


def test_a_way_of_packing_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="does not know"):
        packing.unpack(9, b"", None, LIMIT)
    with pytest.raises(ValueError, match="does not know"):
        packing.unpack(packing.DELTA, b"", None, LIMIT)
