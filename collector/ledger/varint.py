"""Whole numbers as few bytes: seven bits in each, the lowest first, as protocol buffers have them. Nothing else."""

from __future__ import annotations

BYTES_MAX = 10  # 64 bits and more


def varint(number: int) -> bytes:
    """A number that is not negative."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it. Raises ValueError."""
    if at < len(data) and data[at] < 128:  # as nearly all are
        return data[at], at + 1
    number = 0
    for place in range(at, min(len(data), at + BYTES_MAX)):
        byte = data[place]
        number |= (byte & 127) << 7 * (place - at)
        if byte < 128:
            return number, place + 1
    raise ValueError("the packed bytes end within a number")


def zigzag(number: int) -> int:
    """Any whole number as one that is not negative: small when it is small."""
    return number << 1 if number >= 0 else -number * 2 - 1


def unzigzag(number: int) -> int:
    """The other way."""
    return number >> 1 if not number & 1 else -(number + 1) // 2
