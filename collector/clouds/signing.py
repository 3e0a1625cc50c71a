"""A signing key that never leaves a cloud's key service: what the three clouds have in common. No SDK in here.

Not in here: what is signed, and under which name (collector/signers.py). A service is asked with patience and within
limits; every failure says what a person does next.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from collector import canonical, hush
from collector.clouds.rest import Call, Reply, Trouble, seconds
from collector.errors import CannotObserve, ConfigError, Denied, Disabled, Throttled, Unavailable, Unreadable

ED25519, ECDSA_P256 = "Ed25519", "ECDSA over P-256"
ATTEMPTS_MAX = 4  # of one question
PATIENCE_SECONDS_MAX = 20.0  # for one question, all attempts and waiting together
BACKOFF_SECONDS_MAX = 5.0
CONNECT_SECONDS_MAX = 5
READ_SECONDS_MAX = 10
SAID_CHARACTERS_MAX = 300  # of what a service says to a refusal
P256_BYTES = 32  # of each coordinate, and of r and s
ERRORS = {kind.code: kind for kind in (Denied, Throttled, Unavailable, Disabled, Unreadable)}


@dataclass(frozen=True)
class PublicKey:
    """The public half. ``encoded``: 32 bytes of Ed25519, or the SubjectPublicKeyInfo in DER of a P-256 key."""

    algorithm: str
    encoded: bytes


class ServiceKey(Protocol):
    """One key in one key service."""

    @property
    def where(self) -> str:
        """Its URI, as the configuration names it."""

    @property
    def public(self) -> PublicKey:
        """The public half, as the service gave it when the key was opened."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519, or ECDSA's r and s in DER, as the service gave it: not verified yet.

        Raises one of the ``CannotObserve`` family, or ConfigError for a key that can never sign this.
        """


def public_of(where: str, spki: bytes) -> PublicKey:
    """The public key in a SubjectPublicKeyInfo. Raises ConfigError for one of another kind, Unreadable for none."""
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unreadable(f"{where}: what the service gives as the public key is none ({error})") from error
    if isinstance(key, Ed25519PublicKey):
        return PublicKey(ED25519, key.public_bytes_raw())
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return PublicKey(ECDSA_P256, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    kind = key.curve.name if isinstance(key, EllipticCurvePublicKey) else type(key).__name__.removesuffix("PublicKey")
    raise wrong_key(where, f"its key is of the kind {kind}")


def wrong_key(where: str, why: str) -> ConfigError:
    return ConfigError(f"{where} cannot sign the ledger: {why}; make a signing key of {ED25519} or {ECDSA_P256}")


def no_key(where: str, said: str) -> ConfigError:
    return ConfigError(f"{where}: there is no such key ({said}); name the right one as signer in [collector]")


def told(code: str, message: str) -> str:
    """What a service said, on one line and not longer than anybody reads."""
    return f"{code}: {hush.cut(' '.join(message.split()), SAID_CHARACTERS_MAX)}".rstrip(": ")


def der_of(where: str, raw: bytes) -> bytes:
    """A signature in DER of one as r and s side by side (JWS). Raises Unreadable for any other length."""
    if len(raw) != 2 * P256_BYTES:
        raise Unreadable(f"{where}: a signature of {len(raw)} bytes, and not of {2 * P256_BYTES}")
    return encode_dss_signature(int.from_bytes(raw[:P256_BYTES]), int.from_bytes(raw[P256_BYTES:]))


def asked(
    where: str,
    call: Call,
    send: Callable[[Call], Reply],
    trouble: Callable[[Reply, Any], Trouble | ConfigError],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The JSON object that a key service answers to a call, asked again while it is busy and there is patience.

    ``trouble`` says what a response that is no success means, by its status and its JSON (None when it is none).
    Raises one of the ``CannotObserve`` family, or the ConfigError that ``trouble`` gives.
    """
    until = time.monotonic() + PATIENCE_SECONDS_MAX
    attempt, renewed = 0, False
    while True:
        attempt += 1
        found, wait, status = _once(where, call, send, trouble)
        if isinstance(found, dict):
            return found
        if status == 401 and not renewed:
            renewed = True  # a token that ran out on the way, or was taken back: the next one is another
            continue
        if not isinstance(found, Throttled | Unavailable) or attempt >= ATTEMPTS_MAX:
            raise found
        pause = wait or random.uniform(0, min(BACKOFF_SECONDS_MAX, 0.2 * 2**attempt))  # noqa: S311 - no secret
        if time.monotonic() + pause >= until:
            raise found
        sleep(pause)


def _once(
    where: str,
    call: Call,
    send: Callable[[Call], Reply],
    trouble: Callable[[Reply, Any], Trouble | ConfigError],
) -> tuple[dict[str, Any] | CannotObserve | ConfigError, float, int]:
    """The answer or what is in its place, after how many seconds another attempt is worth it, and the status."""
    try:
        reply = send(call)
    except CannotObserve as error:  # no token
        return type(error)(f"{where}: {error}"), 0.0, 0
    except OSError as error:
        words = f"{where}: no answer from the key service ({type(error).__name__}); look at the network"
        return Unavailable(words), 0.0, 0
    try:
        body = canonical.parse(reply.body)
    except ValueError:
        body = None
    if not 200 <= reply.status < 300:
        meant = trouble(reply, body)
        wait = seconds(reply.headers.get("retry-after"))
        if isinstance(meant, ConfigError):
            return meant, wait, reply.status
        what = f"{where}: {told(meant.code, meant.message)}; {meant.remedy or 'the next checkpoint tries again'}"
        return ERRORS[meant.failure](what), wait or meant.wait, reply.status
    if not isinstance(body, dict):
        return Unreadable(f"{where}: the answer is no JSON object; look at what stands between"), 0.0, reply.status
    return body, 0.0, reply.status
