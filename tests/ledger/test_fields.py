"""An entry that is kept as what differs from others comes back byte for byte, and damaged, it is refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import canonical
from collector.ledger import fields
from collector.ledger.fields import Parts, Place
from collector.ledger.varint import read_varint, unzigzag, varint, zigzag

AT = 1_767_225_600_000_000
TIMES = st.integers(0, 4 * 10**15).map(lambda at: fields.stamp(at).decode()[1:-1])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=40) | TIMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["a", "account", "calls", "check", "finished", "slot", "started", "states", 'q"\\n', "100%b"])
RECORDS = st.dictionaries(NAMES, VALUES, max_size=8)


def body_of(record, place):
    at = fields.stamp(place.at).decode()[1:-1]
    return canonical.record({**record, "seq": place.seq, "at": at, "kind": "run"})


def parts_of(record, place):
    found = fields.split(body_of(record, place))
    assert found is not None
    return found


@given(RECORDS, RECORDS, st.data())
def test_any_entry_comes_back(record, other, data):
    """Some of its fields are as those of the one before, some as those of the one beside it, some as those of none."""
    chosen = {name: data.draw(st.sampled_from(("base", "near", "own"))) for name in record}
    was = {n: record[n] if chosen[n] == "base" else other.get(n) for n in record}
    beside = {**other, **{n: record[n] for n in record if chosen[n] == "near"}}
    place = Place(data.draw(st.integers(20, 2**40)), data.draw(st.integers(0, 4 * 10**15)))
    base, near = Place(3, AT), Place(place.seq - data.draw(st.integers(1, 17)), AT + 5)
    known = {near.seq: parts_of(beside, near)}
    named = {seq: fields.by_name(parts) for seq, parts in known.items()}
    for against in (None, (near.seq, known[near.seq])):
        packed = fields.pack(parts_of(record, place), place, parts_of(was, base), against)
        assert packed is not None
        back = fields.unpack(packed, place, parts_of(was, base), named.__getitem__)
        assert fields.join(back) == body_of(record, place)


@given(st.binary(max_size=80), st.integers(0, 50), st.integers(-(2**62), 2**62))
def test_damaged_fields_are_refused_or_are_other_bytes(packed, seq, at):
    base, near = parts_of({"a": "x", "calls": "y"}, Place(0, AT)), parts_of({"calls": "z"}, Place(1, AT))
    try:
        found = fields.unpack(packed, Place(seq, at), base, lambda _: fields.by_name(near))
    except ValueError:
        return
    assert found.names == base.names


def test_a_run_in_which_nothing_changed_takes_a_few_bytes():
    chance = random.Random(1)

    def run(number, check, at):
        return {
            "account": "aws/1",
            "calls": f"{number:064x}",
            "check": check,
            "finished": fields.stamp(at - 3_000).decode()[1:-1],
            "observations": canonical.digest(check.encode()),
            "slot": f"2026-01-01T{number:02}:00:00.000000Z",
            "started": fields.stamp(at - 9_000).decode()[1:-1],
            "states": {"satisfied": 3},
        }

    at = AT + chance.randrange(10**9)
    base, near, place = Place(3, AT), Place(9000, at - 12_000), Place(9020, at)
    against = near.seq, parts_of(run(7, "aws-a", near.at), near)
    packed = fields.pack(parts_of(run(7, "aws-b", at), place), place, parts_of(run(1, "aws-b", AT), base), against)
    assert packed is not None
    assert len(packed) <= 14


def test_what_has_other_fields_is_not_packed_by_them():
    place = Place(5, AT)
    assert fields.pack(parts_of({"a": 1}, place), place, parts_of({"b": 1}, Place(1, AT))) is None
    for body in (b"[1]", b"{}", b"{", b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}'):
        assert fields.split(body) is None or fields.join(fields.split(body) or Parts((), ())) == body
    assert fields.split(b'{"a": 1}') is None


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32, 2**63])
def test_numbers_come_back(number):
    assert read_varint(b"x" + varint(number) + b"y", 1) == (number, 1 + len(varint(number)))
    for signed in (number, -number):
        assert unzigzag(zigzag(signed)) == signed
    with pytest.raises(ValueError, match="within a number"):
        read_varint(varint(number)[:-1], 0)
