"""The little of DER (X.690) that time stamps are made of: a writer, and a reader that takes nothing else. No meaning.

Reads definite, minimal lengths and tags of one byte, which is all that RFC 3161 and CMS need. Never recurses: whoever
reads goes down one level at a time, and stops where the standard stops.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

BOOLEAN, INTEGER, BIT_STRING, OCTETS, NULL, OID, UTF8 = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C
UTC_TIME, TIME = 0x17, 0x18  # TIME is GeneralizedTime
SEQUENCE, SET = 0x30, 0x31


class BadDer(ValueError):
    """Not DER, or not what stands at this place in the standard."""


def context(number: int) -> int:
    """The tag of a constructed ``[number]``."""
    return 0xA0 | number


# --- writing ---


def element(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size + content


def sequence(*parts: bytes) -> bytes:
    return element(SEQUENCE, *parts)


def set_of(*parts: bytes, tag: int = SET) -> bytes:
    """A set in the order that DER demands, under ``tag`` where the standard has an implicit one."""
    return element(tag, *sorted(parts))


def integer(value: int) -> bytes:
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def octets(value: bytes) -> bytes:
    return element(OCTETS, value)


def boolean(value: bool) -> bytes:
    return element(BOOLEAN, b"\xff" if value else b"\x00")


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    return element(OID, b"".join(map(_base128, (first * 40 + second, *rest))))


def generalized_time(moment: datetime) -> bytes:
    """To the second. Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return element(TIME, moment.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode())


def _base128(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(0x80 | value & 0x7F)
    return bytes(reversed(digits))


# --- reading ---


class Reader:
    """Goes through the elements of one level. Every method raises BadDer for anything unexpected."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def next_is(self, tag: int) -> bool:
        return self._at < len(self._data) and self._data[self._at] == tag

    def take(self, tag: int) -> bytes:
        """The content of the next element, which must be a ``tag``."""
        if not self.next_is(tag):
            found = f"tag {self._data[self._at]:#04x}" if self._at < len(self._data) else "the end"
            raise BadDer(f"tag {tag:#04x} belongs here, and there is {found}")
        start, size = self._length(self._at + 1)
        if len(self._data) - start < size:
            raise BadDer("an element says that it is longer than what is there")
        self._at = start + size
        return self._data[start : self._at]

    def inside(self, tag: int = SEQUENCE) -> Reader:
        """The next element, opened."""
        return Reader(self.take(tag))

    def integer(self) -> int:
        content = self.take(INTEGER)
        if not content or (len(content) > 1 and content[0] in (0x00, 0xFF) and (content[0] ^ content[1]) < 0x80):
            raise BadDer("an integer that is not as short as it can be")
        return int.from_bytes(content, signed=True)

    def oid(self) -> str:
        content = self.take(OID)
        if not content or content[-1] & 0x80:
            raise BadDer("an object identifier that does not end")
        arcs, value = [], 0
        for position, byte in enumerate(content):
            if byte == 0x80 and (position == 0 or not content[position - 1] & 0x80):
                raise BadDer("an object identifier that is not as short as it can be")
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                arcs.append(value)
                value = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))

    def time(self) -> datetime:
        """A GeneralizedTime in UTC as RFC 3161 has it. What is finer than a microsecond is cut off."""
        text = self.take(TIME).decode("latin-1")
        match = re.fullmatch(r"([0-9]{14})(?:\.([0-9]*[1-9]))?Z", text)
        if match is None:
            raise BadDer(f"{text[:40]!r} is no time as RFC 3161 writes one")
        try:
            whole = datetime.strptime(match[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError as error:
            raise BadDer(f"{text[:40]!r} is no time that there is") from error
        return whole.replace(microsecond=int((match[2] or "")[:6].ljust(6, "0")))

    def skip(self, tag: int) -> None:
        """Passes over the next element if it is a ``tag``."""
        if self.next_is(tag):
            self.take(tag)

    def end(self) -> None:
        if self._at != len(self._data):
            raise BadDer(f"{len(self._data) - self._at} bytes too many")

    def _length(self, at: int) -> tuple[int, int]:
        head = self._data[at : at + 1]
        if not head:
            raise BadDer("an element without a length")
        if head[0] < 0x80:
            return at + 1, head[0]
        count = head[0] & 0x7F
        size = int.from_bytes(self._data[at + 1 : at + 1 + count])
        if not 1 <= count <= 4 or len(self._data) < at + 1 + count or size < 0x80 or size >> 8 * (count - 1) == 0:
            raise BadDer("a length that is not definite and as short as it can be")
        return at + 1 + count, size
