"""The verifier's arithmetic, faster: what `collector verify` hands to verify.py. Decides nothing by itself.

JSON by orjson, signatures by OpenSSL, and the hashing of a long ledger in a process of its own. A package that does not
hold by this is proved again by verify.py alone, so that both commands name the same thing first.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import zipfile
from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from collector.ledger import verify

WORTH_A_PROCESS = 50_000  # entries: below, starting one takes longer than hashing them


class Ed25519:
    """As ``verify.Ed25519Key``. Raises ValueError when the bytes are no key."""

    def __init__(self, public: bytes) -> None:
        if verify.point_from(public) is None:  # OpenSSL takes the bytes as they are, and refuses them when it verifies
            raise ValueError("not an Ed25519 key")
        self._key = Ed25519PublicKey.from_public_bytes(public)

    def verify(self, message: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class P256:
    """As ``verify.P256Key``. Raises ValueError when the bytes are no key."""

    def __init__(self, spki: bytes) -> None:
        head = verify.P256_HEAD
        if len(spki) != len(head) + 64 or not spki.startswith(head):
            raise ValueError("not a P-256 key")
        self._key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), spki[-65:])

    def verify(self, message: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, message, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


class Quick(verify.Plain):
    """In the place of ``verify.Plain``."""

    ed25519 = Ed25519
    p256 = P256
    loads = staticmethod(orjson.loads)  # type: ignore[assignment]  # a call less for each entry

    @staticmethod
    def roots(
        source: Any, name: str, first: int, frontier: list[bytes], stops: Collection[int]
    ) -> Callable[[], dict[int, bytes]] | None:
        """Hashes the ledger beside the caller when it is long and there is a second processor."""
        if max(stops) - first < WORTH_A_PROCESS or (os.cpu_count() or 1) < 2:
            return None
        place = source.root if isinstance(source, verify.Folder) else source.path
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        found = pool.submit(hashed, place, name, first, frontier, frozenset(stops))
        pool.shutdown(wait=False)
        return found.result


def hashed(place: Path, name: str, first: int, frontier: list[bytes], stops: Collection[int]) -> dict[int, bytes]:
    """The root over the ledger at each of ``stops``: ``frontier`` over the entries before ``first``, then the lines.

    Whether the package is one, and the lines are entries, the caller finds out meanwhile.
    """
    roots: dict[int, bytes] = {}
    seq, sha256 = first, hashlib.sha256
    with (place / name).open("rb") if place.is_dir() else zipfile.ZipFile(place).open(name) as lines:
        for line in lines:
            rising, size = sha256(b"\0" + line[:-1]).digest(), seq
            while size & 1:
                rising = sha256(b"\1" + frontier.pop() + rising).digest()
                size >>= 1
            frontier.append(rising)
            seq += 1
            if seq in stops:
                roots[seq] = verify.fold(frontier)
    return roots
