"""A signing key in Google Cloud KMS: Ed25519 or P-256, asked with Application Default Credentials.

Needs cloudkms.cryptoKeyVersions.viewPublicKey and useToSign (roles/cloudkms.signerVerifier). What goes and what comes
is held to its CRC32C, as https://cloud.google.com/kms/docs/data-integrity-guidelines asks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from collector.clouds import gcp_answers, signing
from collector.clouds.gcp_access import Access
from collector.clouds.rest import Call, Reply, Trouble
from collector.clouds.signing import ECDSA_P256, ED25519, PublicKey
from collector.errors import ConfigError, Denied, Disabled, Unavailable, Unreadable

HOST = "cloudkms.googleapis.com"
PART = "[A-Za-z0-9_-]+"
URI = re.compile(
    rf"gcpkms://(?P<name>projects/(?P<project>[a-z0-9.:-]+)/locations/(?P<location>{PART})/keyRings/(?P<ring>{PART})"
    rf"/cryptoKeys/(?P<key>{PART})/cryptoKeyVersions/(?P<version>[0-9]+))"
)
ALGORITHMS = {"EC_SIGN_ED25519": ED25519, "EC_SIGN_P256_SHA256": ECDSA_P256}
DATA_BYTES_MAX = 65_536  # that the service signs without a digest
GARBLED_MAX = 3  # answers whose checksums are wrong, before one is given up
POLYNOMIAL = 0x82F63B78  # of CRC32C, reversed


@dataclass(frozen=True)
class _Default:
    """Application Default Credentials, and nothing else."""

    parent: str = ""
    credentials_file: Path | None = None
    impersonate: str = ""
    quota_project: str = ""
    workspace_admin: str = ""
    customer: str = "my_customer"
    projects: tuple[str, ...] = ()


T = TypeVar("T")


class _Garbled(Exception):
    """A checksum is wrong: it is worth asking again."""


class CloudKmsKey:
    """One version of one key."""

    def __init__(self, uri: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Asks for the public half. Raises ConfigError for a URI or a key that cannot be used, or CannotObserve."""
        found = URI.fullmatch(uri)
        if found is None:
            raise ConfigError(
                f"signer {uri}: it is no version of a key; write gcpkms://projects/PROJECT/locations/LOCATION/keyRings/"
                "RING/cryptoKeys/KEY/cryptoKeyVersions/N"
            )
        self.where = uri
        self._parts: Mapping[str, str] = found.groupdict()
        self._name = found["name"]
        self._sleep = sleep
        self._access = Access(_Default())
        self.public: PublicKey = self._proved(self._public)

    def sign(self, message: bytes) -> bytes:
        if self.public.algorithm == ED25519:
            if len(message) > DATA_BYTES_MAX:
                raise ConfigError(
                    f"{self.where}: Cloud KMS signs no more than {DATA_BYTES_MAX} bytes with {ED25519}, and this has "
                    f"{len(message)}; rotate to a key of EC_SIGN_P256_SHA256: docs/reference/keys.md"
                )
            body: dict[str, Any] = {"data": _base64(message), "dataCrc32c": str(crc32c(message))}
            return self._proved(lambda: self._signed(body, "verifiedDataCrc32c"))
        digest = hashlib.sha256(message).digest()
        body = {"digest": {"sha256": _base64(digest)}, "digestCrc32c": str(crc32c(digest))}
        return self._proved(lambda: self._signed(body, "verifiedDigestCrc32c"))

    def _proved(self, ask: Callable[[], T]) -> T:
        """What ``ask`` gives with its checksums right. Raises Unavailable when they are wrong again and again."""
        for attempt in range(1, GARBLED_MAX + 1):
            try:
                return ask()
            except _Garbled as error:
                if attempt == GARBLED_MAX:
                    raise Unavailable(
                        f"{self.where}: {error} {GARBLED_MAX} times; nothing was signed: look at what stands between"
                    ) from error
        raise AssertionError("unreachable")

    def _public(self) -> PublicKey:
        answer = self._asked("GET", "/publicKey")
        pem = str(answer.get("pem") or "")
        self._check(answer, "pemCrc32c", pem.encode())
        algorithm = answer.get("algorithm")
        if algorithm not in ALGORITHMS:
            raise signing.wrong_key(self.where, f"its algorithm is {algorithm}")
        try:
            spki = load_pem_public_key(pem.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except ValueError as error:
            raise Unreadable(f"{self.where}: what the service gives as the public key is none") from error
        public = signing.public_of(self.where, spki)
        if public.algorithm != ALGORITHMS[algorithm]:
            raise Unreadable(f"{self.where}: it says {algorithm}, and gives a key of {public.algorithm}")
        return public

    def _signed(self, body: Mapping[str, Any], verified: str) -> bytes:
        answer = self._asked("POST", ":asymmetricSign", body)
        if answer.get(verified) is not True:
            raise _Garbled("the message did not arrive whole")
        try:
            signature = base64.b64decode(str(answer.get("signature") or ""), validate=True)
        except (binascii.Error, ValueError) as error:
            raise Unreadable(f"{self.where}: the signature is not Base 64") from error
        self._check(answer, "signatureCrc32c", signature)
        return signature

    def _check(self, answer: Mapping[str, Any], member: str, data: bytes) -> None:
        """Raises Unreadable for the answer of another key, _Garbled when ``data`` is not what was sent."""
        if answer.get("name") != self._name:
            raise Unreadable(f"{self.where}: the answer is of the key {answer.get('name')}; nothing was signed")
        if str(answer.get(member)) != str(crc32c(data)):
            raise _Garbled(f"the answer did not arrive whole ({member})")

    def _asked(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        call = Call(method, gcp_answers.url_of(HOST, f"/v1/{self._name}{path}"), body=body)
        return signing.asked(self.where, call, self._access.send, self._trouble, self._sleep)

    def _trouble(self, reply: Reply, body: Any) -> Trouble | ConfigError:
        found = gcp_answers.trouble(reply.status, body)
        said = signing.told(found.code, found.message)
        if found.code.startswith("FAILED_PRECONDITION"):
            if "is not enabled" in found.message:
                return Trouble(Disabled.code, found.code, found.message, self._enable())
            return signing.wrong_key(self.where, said)
        if reply.status == 404:
            return signing.no_key(self.where, said)
        if reply.status == 400:
            return signing.wrong_key(self.where, said)
        if reply.status == 403 and found.failure == Denied.code:
            remedy = f"{found.remedy}; roles/cloudkms.signerVerifier on the key has what is needed"
            return Trouble(Denied.code, found.code, found.message, remedy)
        return found

    def _enable(self) -> str:
        parts = self._parts
        return (
            f"enable it: gcloud kms keys versions enable {parts['version']} --key {parts['key']} "
            f"--keyring {parts['ring']} --location {parts['location']} --project {parts['project']}"
        )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@cache
def _table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        return value

    return tuple(map(entry, range(256)))


def crc32c(data: bytes) -> int:
    """CRC32C (Castagnoli, RFC 3720 B.4)."""
    table, value = _table(), 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
