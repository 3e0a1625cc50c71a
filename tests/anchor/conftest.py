"""What the tests of places share: signed checkpoints, and authorities of both kinds under one roof."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from collector.ledger import note as notes
from collector.ledger.note import TreeHead, VerifierKey

ORIGIN = "evidence.example.com/test"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
KEY = VerifierKey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)  # of simulated time

Checkpoint = tuple[bytes, TreeHead]


def checkpoint(size: int = 592, root: bytes = b"\7" * 32, origin: str = ORIGIN) -> Checkpoint:
    """The bytes of a signed checkpoint, and what it says."""
    head = TreeHead(origin, size, root)
    key = VerifierKey(origin, KEY.public)
    return notes.signed(head.text(), key, PRIVATE.sign(head.text().encode())).encode(), head


def no_proof(old: int) -> Sequence[bytes]:
    raise AssertionError("only a witness asks for a consistency proof")


@pytest.fixture
def note() -> bytes:
    return checkpoint()[0]


@pytest.fixture
def head() -> TreeHead:
    return checkpoint()[1]


class Clock:
    """Simulated time that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def certificate(path: Path) -> Path:
    """Key and certificate of ``localhost`` in one PEM file, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path
