"""Looks for secrets in bytes: as they are and in every coding that text is put into on its way; packed bytes unpacked.

Compressed with zlib, gzip or zip is looked into, one inside the other. The collector compresses in no other way.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from tests.secrets.planting import MARK

DEPTH_MAX = 4


@cache
def forms(word: str) -> tuple[bytes, ...]:
    """The ways in which a word may stand in bytes."""
    raw = word.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), word.encode("utf-16-le")}
    found |= {json.dumps(word)[1:-1].encode(), urllib.parse.quote(word, safe="").encode()}
    for offset in range(3):
        coded = base64.b64encode(bytes(offset) + raw)
        core = coded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        found |= {core, core.replace(b"+", b"-").replace(b"/", b"_")}
    return tuple(found)


def leaks(name: str, data: bytes, words: Iterable[str] = (MARK,)) -> list[str]:
    """Where a word stands in bytes, each place with what is around it."""
    found: list[str] = []
    for place, part in unpacked(name, data):
        for word in words:
            for form in forms(word):
                if (at := part.find(form)) >= 0:
                    found.append(f"{place}: {part[max(0, at - 80) : at + 70]!r}")
    return found


def all_leaks(out: Mapping[str, bytes], words: Iterable[str] = (MARK,)) -> list[str]:
    known = tuple(words)
    return [leak for name, data in out.items() for leak in leaks(name, data, known)]


def unpacked(name: str, data: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Some bytes, and whatever is packed in them."""
    yield name, data
    if depth >= DEPTH_MAX:
        return
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield from unpacked(f"{name}/{member}", archive.read(member), depth + 1)
    elif data[:2] == b"\x1f\x8b":
        yield from unpacked(f"{name} (gzip)", gzip.decompress(data), depth + 1)
    elif data[:5] == b"%PDF-":
        for part in data.split(b"stream\n")[1:]:
            try:
                yield f"{name} (a stream)", zlib.decompressobj().decompress(part)
            except zlib.error:
                continue
