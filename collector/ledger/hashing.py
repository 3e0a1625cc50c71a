"""Hashes a ledger's lines into their tree, in a process of its own beside quick.py. Proves nothing, imports nothing.

A script that is run alone (`python -I -S hashing.py`), so that it starts at once: the job comes as JSON on standard
input (``place``, ``name``, ``first``, ``frontier``, ``stops``), the root at each stop goes to standard output.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path


def roots(lines: Iterable[bytes], first: int, frontier: list[bytes], stops: Collection[int]) -> dict[int, bytes]:
    """The root (RFC 6962) at each of ``stops``: ``frontier`` over the entries before ``first``, then the lines."""
    found: dict[int, bytes] = {}
    seq, sha256, pop, push = first, hashlib.sha256, frontier.pop, frontier.append
    for line in lines:
        rising, size = sha256(b"\0" + line[:-1]).digest(), seq
        while size & 1:
            rising = sha256(b"\1" + pop() + rising).digest()
            size >>= 1
        push(rising)
        seq += 1
        if seq in stops:
            root = frontier[-1]
            for left in reversed(frontier[:-1]):
                root = sha256(b"\1" + left + root).digest()
            found[seq] = root
    return found


def main() -> None:
    job = json.load(sys.stdin)
    place = Path(job["place"])
    frontier = [bytes.fromhex(text) for text in job["frontier"]]
    with (place / job["name"]).open("rb") if place.is_dir() else zipfile.ZipFile(place).open(job["name"]) as lines:
        found = roots(lines, job["first"], frontier, frozenset(job["stops"]))
    json.dump({str(seq): root.hex() for seq, root in found.items()}, sys.stdout)


if __name__ == "__main__":
    main()
