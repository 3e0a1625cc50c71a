"""How bytes are made small before they are stored, and whole again. Pure; what is hashed is always the plain bytes.

In five ways, told apart by a number that is stored beside the bytes; how the last is done is in fields.py. A number,
once used, means the same for ever: to change a dictionary, add a number.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from collector.ledger.varint import read_varint, varint

PLAIN = 0
DEFLATED = 1  # raw deflate, primed with DICTIONARY
DELTA = 2  # pieces of raw deflate, each primed with the same place of an earlier value
MIDDLE = 3  # how much of an earlier value's begin and end is the same, and what lies between, deflated
FIELDS = 4  # an entry, field by field like one or two earlier ones

PIECE = 16_384  # of a delta; with SLACK on both sides its place in the earlier value is what deflate looks back over
SLACK = 8_192  # so many bytes may have been put in or taken out before a place, and it is still found
AROUND = 1_024  # bytes of the earlier value on either side that what lies between is primed with
WORTH = 16  # a middle that is so many times smaller than the value is small enough to look no further
SMALL = 3_800  # value and dictionary together; then a 4 KiB window does, and compressing is ten times faster

DICTIONARY = (
    b'"failure":"","reason":"could not be read: the population could not be read: AccessDenied'
    b'{"exchanges":["listing":[0],"subjects":[{"exchanges":[0,1],"facts":{"state":"not-applicable",'
    b'"state":"not-satisfied","state":"undetermined","facts":null,"facts":{"enabled":true,"reason":"has no '
    b'","state":"satisfied","subject":"arn:aws:s3:::","subject":"arn:aws:ec2:us-east-1:arn:aws:iam::user/"}],'
    b'{"attempts":1,"body":"","cloud":"aws","date":"Thu, 01 Jan 2026 00:00:00 GMT","endpoint":'
    b'"https://ec2.eu-west-1.amazonaws.com","last":true,"ms":12,"operation":"iam:GetUser","page":1,"params":{},'
    b'"request_id":"","started":"2026-01-01T00:00:00.000000Z","status":200},{"attempts":1,"body":"'
    b'{"alert":"attempt":"channel":"detail":"","outcome":"delivered","retry_at":null,"kind":"delivery"'
    b'{"at":"2026-01-01T00:00:00.000000Z","collector":"0.1.0","host":"","kind":"heartbeat","seq":,"skew_ms":0,'
    b'"started":"2026-01-01T00:00:00.000000Z","uptime_s":'
    b'{"checks":[{"check":"aws-","every_s":3600,"offset_s":0,"scopes":["aws/123456789012/eu-west-1"]}],'
    b'"config":"","kind":"plan","regions":["eu-west-1","us-east-1"],"since":"2026-01-01T00:00:00.000000Z","until":"'
    b'{"account":"aws/123456789012","at":"2026-01-01T00:00:00.000000Z","calls":"","check":"aws-","code":"",'
    b'"collector":"0.1.0","config":"","failure":"","finished":"2026-01-01T00:00:00.000000Z","kind":"run","limits":{},'
    b'"observations":"","population":0,"principal":"arn:aws:sts::123456789012:assumed-role/EvidenceReadOnly/collector",'
    b'"reason":"","reference":"2026-01-01T00:00:00.000000Z","scope":"aws/123456789012/eu-west-1","seq":,'
    b'"slot":"2026-01-01T00:00:00.000000Z","started":"2026-01-01T00:00:00.000000Z","states":{"not-applicable":0,'
    b'"not-satisfied":0,"satisfied":0,"undetermined":0},"subjects":"","version":1}'
)


def pack(data: bytes, base: bytes | None = None) -> tuple[int, bytes]:
    """The smallest of the ways as (number, packed bytes); a delta is tried when an earlier value is given."""
    best = (PLAIN, data)
    if base:
        middle = pack_middle(data, base)
        if len(middle) < len(data):
            best = (MIDDLE, middle)
        if len(middle) * WORTH < len(data):
            return best
    deflated = deflate(data, DICTIONARY)
    if len(deflated) < len(best[1]):
        best = (DEFLATED, deflated)
    if base:
        delta = pack_delta(data, base)
        if len(delta) < len(best[1]):
            best = (DELTA, delta)
    return best


def pack_leaning(data: bytes, base: bytes | None) -> tuple[int, bytes]:
    """Like ``pack``, for small values much like ``base``: the delta when it is worth leaning, without a contest."""
    if base is not None:
        delta = pack_delta(data, base)
        if len(delta) * 4 < len(data):
            return DELTA, delta
    return pack(data)


def pack_delta(data: bytes, base: bytes) -> bytes:
    """``data`` in pieces of 16 KiB, each after its length in two bytes, primed with its place in ``base``."""
    pieces: list[bytes] = []
    for start in range(0, len(data), PIECE):
        piece = deflate(data[start : start + PIECE], _place(base, start))
        pieces.append(len(piece).to_bytes(2, "big") + piece)
    return b"".join(pieces)


def pack_middle(data: bytes, base: bytes) -> bytes:
    """What lies between a same begin and a same end: of a long listing in which one thing changed, that thing."""
    shorter = min(len(data), len(base))
    begin = _same(shorter, lambda many: data[:many] == base[:many])
    end = _same(shorter - begin, lambda many: data[len(data) - many :] == base[len(base) - many :])
    between = data[begin : len(data) - end]
    return varint(begin) + varint(end) + deflate(between, _around(base, begin, end))


def _same(most: int, alike: Callable[[int], bool]) -> int:
    """The largest number up to ``most`` for which something holds that holds for all smaller ones."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if alike(middle) else (low, middle - 1)
    return low


def _around(base: bytes, begin: int, end: int) -> bytes:
    return base[max(0, begin - AROUND) : len(base) - end + AROUND][: PIECE + SLACK]


def unpack(encoding: int, packed: bytes, base: bytes | None, limit: int) -> bytes:
    """The plain bytes. Raises ValueError when there are more than ``limit`` of them, or when they were damaged."""
    try:
        if encoding == DELTA and base is not None:
            data = _unpack_delta(packed, base, limit)
        elif encoding == MIDDLE and base is not None:
            data = _unpack_middle(packed, base, limit)
        elif encoding == DEFLATED:
            data = inflate(packed, DICTIONARY, limit)
        elif encoding == PLAIN:
            data = packed
        else:
            raise ValueError(f"packed in a way that this version does not know (number {encoding})")
    except zlib.error as error:
        raise ValueError(f"the packed bytes are damaged ({error})") from error
    if len(data) > limit:
        raise ValueError(f"unpacks to more than {limit} bytes")
    return data


def _unpack_delta(packed: bytes, base: bytes, limit: int) -> bytes:
    if len(packed) == 2 + int.from_bytes(packed[:2], "big") and len(base) <= PIECE + SLACK:
        return inflate(packed[2:], base, limit)  # one small piece, as nearly all are
    pieces: list[bytes] = []
    at = start = 0
    while at < len(packed) and start <= limit:
        end = at + 2 + int.from_bytes(packed[at : at + 2], "big")
        if end > len(packed):
            raise ValueError("the packed bytes end too soon")
        piece = inflate(packed[at + 2 : end], _place(base, start), PIECE)
        pieces.append(piece)
        at, start = end, start + len(piece)
    return b"".join(pieces)


def _unpack_middle(packed: bytes, base: bytes, limit: int) -> bytes:
    begin, at = read_varint(packed, 0)
    end, at = read_varint(packed, at)
    if begin + end > len(base):
        raise ValueError("the packed bytes begin or end with more than there is")
    between = inflate(packed[at:], _around(base, begin, end), limit)
    return base[:begin] + between + base[len(base) - end :]


def _place(base: bytes, start: int) -> bytes:
    """The part of an earlier value in which the piece at ``start`` is likely to be found again."""
    if len(base) <= PIECE + SLACK:
        return base
    first = max(min(start, len(base) - PIECE) - SLACK, 0)
    return base[first : start + PIECE + SLACK]


def deflate(data: bytes, dictionary: bytes) -> bytes:
    """Raw deflate, primed."""
    small = len(data) + len(dictionary) <= SMALL
    maker = zlib.compressobj(9, zlib.DEFLATED, -12 if small else -15, 6 if small else 8, zdict=dictionary)
    return maker.compress(data) + maker.flush()


def inflate(packed: bytes, dictionary: bytes, limit: int) -> bytes:
    """The other way. Raises ValueError or zlib.error."""
    reader = zlib.decompressobj(-15, dictionary)
    data = reader.decompress(packed, limit + 1)
    if len(data) <= limit and (not reader.eof or reader.unused_data):
        raise ValueError("the packed bytes end too soon, or not where they should")
    return data
