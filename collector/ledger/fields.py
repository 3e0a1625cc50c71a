"""An entry as what differs, field by field, from one or two earlier ones. Pure; what is hashed is the plain bytes.

Runs of one check differ in times and numbers alone as long as nothing changes, and the runs of one account share the
rest: most fields are those of the check's earlier run, or of the run beside it, or follow from the row. What is made
here is undone by the writer before it is believed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from collector import canonical
from collector.ledger.packing import deflate, inflate
from collector.ledger.varint import read_varint, unzigzag, varint, zigzag

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
STAMP_CHARACTERS = 29  # in its quotes
FIELDS_MAX = 64
BYTES_MAX = 65_535  # of what is written out; a body has no more

# A field is as that of the earlier entry, as that of the one beside it, says what the row says (its number or its
# time), is a time so many microseconds after that of the row, or is written out.
BASE, NEAR, ROW, TIME, WRITTEN = range(5)
WAYS = 5


class Parts(NamedTuple):
    """A body in its fields: their names, as they are written and in their order, and the bytes of their values."""

    names: tuple[bytes, ...]
    values: tuple[bytes, ...]


class Place(NamedTuple):
    """What the row of an entry says: its number, and its time in microseconds since 1970."""

    seq: int
    at: int


def split(body: bytes) -> Parts | None:
    """None when it is no canonical object, or has too many fields."""
    try:
        data = canonical.parse(body)
    except ValueError:
        return None
    if not isinstance(data, dict) or not 0 < len(data) <= FIELDS_MAX:
        return None
    found = Parts(tuple(map(canonical.payload, data)), tuple(map(canonical.payload, data.values())))
    return found if join(found) == body else None


def join(parts: Parts) -> bytes:
    """The body again."""
    return _form(parts.names) % parts.values


def stands_alone(packed: bytes) -> bool:
    """Whether what was packed lies beside no other entry."""
    return packed[:1] == b"\0"


def by_name(parts: Parts) -> dict[bytes, bytes]:
    """The values of the fields by their names."""
    return dict(zip(*parts, strict=True))


@lru_cache(maxsize=64)
def _form(names: tuple[bytes, ...]) -> bytes:
    """A body with a place for each value: there are few kinds of entries, and millions of them."""
    return b"{%b}" % b",".join(name.replace(b"%", b"%%") + b":%b" for name in names)


def pack(parts: Parts, place: Place, base: Parts, near: tuple[int, Parts] | None = None) -> bytes | None:
    """``parts`` as the row ``place`` has them, against ``base`` and, with its number, the entry beside it.

    None when the names of the fields differ, or what was packed would not come back.
    """
    if parts.names != base.names:
        return None
    beside = {} if near is None else by_name(near[1])
    ways, times, written = 0, [], []
    for name, value, was in reversed(list(zip(parts.names, parts.values, base.values, strict=True))):
        way = BASE
        if value == of_row(name, place):
            way = ROW
        elif value != was:
            if value == beside.get(name):
                way = NEAR
            elif (time := _time(value)) is not None:
                way = TIME
                times.append(varint(zigzag(time - place.at)))
            else:
                way = WRITTEN
                written.append(value)
        ways = ways * WAYS + way
    number = ways.to_bytes((ways.bit_length() + 7) // 8, "little")
    distance = 0 if near is None else place.seq - near[0]
    head = varint(distance) + varint(len(number)) + number + b"".join(reversed(times))
    packed = head + (deflate(b"\n".join(reversed(written)), join(base)) if written else b"")
    try:
        back = unpack(packed, place, base, lambda _: beside)
    except (ValueError, zlib.error):
        return None
    return packed if back == parts else None


def unpack(packed: bytes, place: Place, base: Parts, near: Callable[[int], Mapping[bytes, bytes]]) -> Parts:
    """The body in its fields. ``near`` gives the fields of the entry with a number, and is asked when one is needed.

    Raises ValueError when it cannot be made again.
    """
    distance, at = read_varint(packed, 0)
    many, at = read_varint(packed, at)
    number, at = packed[at : at + many], at + many
    if many > FIELDS_MAX or at > len(packed) or distance > place.seq:
        raise ValueError("the packed fields end too soon")
    beside = near(place.seq - distance) if distance else {}
    values: list[bytes] = list(base.values)
    missing: list[int] = []
    for which, way in _ways(number, len(values)):
        if way == NEAR:
            value = beside.get(base.names[which])
        elif way == ROW:
            value = of_row(base.names[which], place)
        elif way == TIME:
            time, at = read_varint(packed, at)
            value = stamp(place.at + unzigzag(time))
        else:
            missing.append(which)
            continue
        if value is None:
            raise ValueError("a packed field is like one that is not there")
        values[which] = value
    if missing:
        try:
            written = inflate(packed[at:], join(base), BYTES_MAX).split(b"\n")
        except zlib.error as error:
            raise ValueError(f"the packed fields are damaged ({error})") from error
        for which, value in zip(missing, written, strict=True):
            values[which] = value
    elif at != len(packed):
        raise ValueError("the packed fields do not end where they should")
    return Parts(base.names, tuple(values))


@lru_cache(maxsize=256)
def _ways(number: bytes, fields: int) -> tuple[tuple[int, int], ...]:
    """Which fields are not as those of the earlier entry, and how they are. The same again and again."""
    left, found = int.from_bytes(number, "little"), []
    for which in range(fields):
        left, way = divmod(left, WAYS)
        if way != BASE:
            found.append((which, way))
    if left:
        raise ValueError("there are more packed fields than names")
    return tuple(found)


def of_row(name: bytes, place: Place) -> bytes | None:
    """What a field says that the row says too; None for the others."""
    if name == b'"seq"':
        return b"%d" % place.seq
    return stamp(place.at) if name == b'"at"' else None


def stamp(microseconds: int) -> bytes:
    """A time as entries write it, in its quotes. Raises ValueError when it is none."""
    second, rest = divmod(microseconds, 1_000_000)
    return b'"%b.%06dZ"' % (_second(second), rest)


@lru_cache(maxsize=64)  # few: each new one would be a little more memory, for weeks
def _second(second: int) -> bytes:
    try:
        return canonical.stamp(EPOCH + timedelta(seconds=second))[:19].encode()
    except OverflowError as error:
        raise ValueError("a packed time is none") from error


def _time(value: bytes) -> int | None:
    """Microseconds since 1970, when a value is a time exactly as we write it."""
    if len(value) != STAMP_CHARACTERS or value[-2:] != b'Z"':
        return None
    try:
        found = (datetime.fromisoformat(value[1:-1].decode()) - EPOCH) // MICROSECOND
    except ValueError:
        return None
    return found if stamp(found) == value else None
