"""The verifier's arithmetic, faster: what `collector verify` hands to verify.py. Decides nothing by itself.

JSON by orjson, signatures by OpenSSL, and the hashing of a long ledger in a process of its own. A package that does not
hold by this is proved again by verify.py alone, so that both commands name the same thing first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from collector.ledger import hashing, verify

WORTH_A_PROCESS = 50_000  # entries: below, there is little to be won


class Ed25519:
    """As ``verify.Ed25519Key``. Raises ValueError when the bytes are no key."""

    def __init__(self, public: bytes) -> None:
        if (
            len(public) != 32 or verify.point_from(public) is None
        ):  # OpenSSL takes the bytes as they are, and refuses them when it verifies
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
    helpers: ClassVar[list[subprocess.Popen[bytes]]] = []
    loads = staticmethod(orjson.loads)  # type: ignore[assignment]  # a call less for each entry

    @staticmethod
    def roots(
        source: Any, name: str, first: int, frontier: list[bytes], stops: Collection[int]
    ) -> Callable[[], dict[int, bytes]] | None:
        """Hashes the ledger beside the caller when it is long and there is a second processor.

        What waits for it raises OSError when that process fails: then nothing is proved by it.
        """
        if max(stops) - first < WORTH_A_PROCESS or (os.cpu_count() or 1) < 2:
            return None
        place = source.root if isinstance(source, verify.Folder) else source.path
        job = {"place": str(place.resolve()), "name": name, "first": first, "stops": sorted(stops)}
        job["frontier"] = [item.hex() for item in frontier]
        helper = subprocess.Popen(  # noqa: S603  our own interpreter on our own file
            [sys.executable, "-I", "-S", hashing.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert helper.stdin is not None
        Quick.helpers.append(helper)
        helper.stdin.write(json.dumps(job).encode())
        helper.stdin.close()
        helper.stdin = None

        def wait() -> dict[int, bytes]:
            answer, _ = helper.communicate()
            if helper.returncode:
                raise OSError(0, "the process that hashes beside this one failed", name)
            return {int(seq): bytes.fromhex(root) for seq, root in json.loads(answer).items()}

        return wait

    @classmethod
    def stop(cls) -> None:
        """Ends what was begun beside us and is not waited for any more."""
        while cls.helpers:
            with cls.helpers.pop() as helper:
                helper.kill()
