"""Signed checkpoints for places outside: the same key each time, a root for each size, and a second history beside."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from collector.ledger.note import TreeHead, VerifierKey, signed

ORIGIN = "ledger.example/acme"


def head_of(size: int, *, history: str = "", origin: str = ORIGIN) -> TreeHead:
    """The tree head over ``size`` entries; another ``history`` has other roots."""
    return TreeHead(origin, size, hashlib.sha256(f"{history}{size}".encode()).digest())


def note_of(head: TreeHead, secret: bytes = bytes(32)) -> bytes:
    """The head signed under its origin's name."""
    private = Ed25519PrivateKey.from_private_bytes(secret)
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return signed(head.text(), VerifierKey(head.origin, public), private.sign(head.text().encode())).encode()


def no_proof(size: int) -> Sequence[bytes]:
    raise AssertionError("a write-once store asks for no proof")
