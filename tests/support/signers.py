"""Keys that live in memory and are the same each time, of both kinds; and a ledger with them as text, for verifiers."""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from collector.ledger import keys, merkle
from collector.ledger.entry import Draft, Kind
from collector.ledger.note import ECDSA_P256, TreeHead, VerifierKey
from collector.ledger.seal import FileSigner, Signer, seal

ORIGIN = "ledger.example/acme"
START = datetime(2026, 3, 1, tzinfo=UTC)


class P256Signer:
    """As a key service without Ed25519 signs; deterministically (RFC 6979), so that vectors stay as they are."""

    def __init__(self, secret: int, origin: str = ORIGIN) -> None:
        self._private = ec.derive_private_key(secret, ec.SECP256R1())
        public = self._private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key = VerifierKey(origin, public, ECDSA_P256)

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True))


def ed25519(seed: bytes, origin: str = ORIGIN) -> FileSigner:
    return FileSigner(Ed25519PrivateKey.from_private_bytes(seed * (32 // len(seed))), origin)


def vectors() -> dict[str, Any]:
    """A ledger that is begun with Ed25519, rotated to ECDSA, and recovered to another Ed25519 key, wholly as text.

    ``entries`` are the bodies in order, ``checkpoints`` one note over each size from 1 with the key that must have
    signed it, ``statements`` what the key entries' signatures are over, ``refused`` bodies that may not stand in the
    place of entry 2 or 4, each with the reason.
    """
    first, second, third = ed25519(b"a"), P256Signer(0xB0B), ed25519(b"c")
    stranger = ed25519(b"s")
    leaves = merkle.Frontier()
    bodies: list[str] = []
    checkpoints: list[dict[str, Any]] = []
    statements: dict[str, str] = {}

    def add(kind: Kind, fields: dict[str, Any], signer: Signer) -> None:
        seq = len(bodies)
        body = Draft(kind, START + timedelta(hours=seq), fields).body(seq)
        bodies.append(body.decode())
        leaves.push(merkle.leaf_hash(body))
        head = TreeHead(ORIGIN, seq + 1, leaves.root())
        note = seal(signer, head, None)
        checkpoints.append(
            {"size": head.size, "root": head.root.hex(), "signed_by": str(signer.key), "note": note},
        )

    def beat(signer: Signer) -> None:
        add(Kind.HEARTBEAT, {"collector": "0.1.0", "host": "h", "uptime_s": len(bodies)}, signer)

    def fields_of(
        old: Signer, new: Signer, reason: str, *, lost: bool = False, at: int | None = None
    ) -> dict[str, Any]:
        seq = len(bodies) if at is None else at
        said = keys.statement(ORIGIN, seq, old.key, new.key, reason)
        if at is None:
            statements[str(seq)] = said.decode()
        return keys.successor_fields(ORIGIN, old.key, new.key, reason, b"" if lost else old.sign(said), new.sign(said))

    add(Kind.KEY, keys.first_fields(ORIGIN, first.key), first)
    beat(first)
    rotation = fields_of(first, second, "moved into the key service")
    refused = {
        "signed for another place in the ledger": (2, fields_of(first, second, "moved into the key service", at=3)),
        "signed by a stranger instead of the old key": (2, _with(rotation, "old", stranger.sign(_said(rotation, 2)))),
        "signed by a stranger instead of the new key": (2, _with(rotation, "new", stranger.sign(_said(rotation, 2)))),
        "without the new key's signature": (2, _with(rotation, "new", b"")),
        "with another reason than was signed": (2, {**rotation, "reason": "moved somewhere else"}),
        "without signatures": (2, {name: value for name, value in rotation.items() if name != "signatures"}),
        "after a key that was never in force": (2, fields_of(stranger, second, "a rotation out of nowhere", at=2)),
        "without naming the key before it": (2, keys.first_fields(ORIGIN, second.key)),
    }
    add(Kind.KEY, rotation, second)
    beat(second)
    refused["after a key that was replaced before"] = (4, fields_of(first, third, "the old key again", at=4))
    add(Kind.KEY, fields_of(second, third, "the key service was closed", lost=True), third)
    beat(third)
    return {
        "origin": ORIGIN,
        "keys": {"ed25519": str(first.key), "ecdsa": str(second.key), "ed25519 again": str(third.key)},
        "entries": bodies,
        "statements": statements,
        "checkpoints": checkpoints,
        "refused": [
            {"why": why, "seq": seq, "body": Draft(Kind.KEY, START + timedelta(hours=seq), fields).body(seq).decode()}
            for why, (seq, fields) in refused.items()
        ],
    }


def _said(fields: dict[str, Any], seq: int) -> bytes:
    old, new = VerifierKey.parse(fields["previous"]), VerifierKey.parse(fields["vkey"])
    return keys.statement(fields["origin"], seq, old, new, fields["reason"])


def _with(fields: dict[str, Any], name: str, signature: bytes) -> dict[str, Any]:
    return {**fields, "signatures": {**fields["signatures"], name: base64.b64encode(signature).decode()}}


if __name__ == "__main__":  # python -m tests.support.signers FILE: writes the vectors anew
    Path(sys.argv[1]).write_text(json.dumps(vectors(), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
