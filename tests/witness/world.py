"""A log whose every tree is at hand, honest or not, and what is needed to stand it before a witness."""

from __future__ import annotations

import base64
import http.client
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.ledger import merkle, note
from collector.ledger.note import TreeHead, VerifierKey

ORIGIN = "ledger.example/acme"
NOW = 1_780_000_000


def private(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed.encode().ljust(32, b"."))


class Log:
    """``entries`` leaves, of which those from ``forked`` on are others than in every honest log."""

    def __init__(self, origin: str = ORIGIN, entries: int = 64, key: str = "log", forked: int | None = None) -> None:
        self.origin = origin
        self._private = private(key)
        self.key = VerifierKey(origin, self._private.public_key().public_bytes_raw())
        turn = entries if forked is None else forked
        leaves = [merkle.leaf_hash(b"%d%s" % (n, b"" if n < turn else b" rewritten")) for n in range(entries)]
        self._levels = [leaves]
        while len(self._levels[-1]) > 1:
            row = self._levels[-1]
            self._levels.append([merkle.node_hash(row[n], row[n + 1]) for n in range(0, len(row) - 1, 2)])

    def node(self, level: int, index: int) -> bytes:
        return self._levels[level][index]

    def head(self, size: int) -> TreeHead:
        return TreeHead(self.origin, size, merkle.root(size, self.node))

    def note(self, size: int) -> str:
        return self.sign(self.head(size))

    def sign(self, head: TreeHead) -> str:
        return note.signed(head.text(), self.key, self._private.sign(head.text().encode()))

    def proof(self, old: int, new: int) -> list[bytes]:
        return merkle.consistency(old, new, self.node)

    def request(self, old: int, new: int, proof: list[bytes] | None = None) -> bytes:
        return request(old, self.proof(old, new) if proof is None else proof, self.note(new))


def request(old: int, proof: list[bytes], checkpoint: str) -> bytes:
    lines = [f"old {old}", *(base64.b64encode(item).decode() for item in proof), "", checkpoint]
    return "\n".join(lines).encode()


@dataclass
class Clock:
    """Unix seconds that a test sets."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


@dataclass(frozen=True)
class Reply:
    status: int
    content_type: str
    body: str


def send(url: str, path: str, body: bytes | None = None, method: str = "") -> Reply:
    """One request over a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body)
        answer = connection.getresponse()
        return Reply(answer.status, answer.getheader("content-type", ""), answer.read().decode())
    finally:
        connection.close()


def add(url: str, body: bytes) -> Reply:
    return send(url, "/add-checkpoint", body)
