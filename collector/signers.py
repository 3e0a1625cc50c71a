"""Opens the key that signs the ledger, wherever it is kept: a file, or a cloud's key service named by a URI.

What is signed, and when it is refused, is in collector/ledger; how a service is asked, in collector/clouds. Remembers
on disk where a key is kept that the ledger already needs and the configuration does not name yet.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from collector import canonical
from collector.clouds.signing import ED25519, ServiceKey
from collector.config import Settings
from collector.errors import ConfigError, Unreadable
from collector.ledger import note
from collector.ledger.note import VerifierKey
from collector.ledger.seal import FileSigner, OtherKey, Signer

SCHEMES = ("awskms://", "azurekv://", "gcpkms://")
NEXT = "log.key.next"  # in the data folder: where the newest key is kept, while the configuration may not say so
NEXT_BYTES_MAX = 16_384


class ServiceSigner:
    """A log key in a cloud's key service. Each signature is verified here before anybody gets to see it."""

    def __init__(self, service: ServiceKey, origin: str) -> None:
        self._service = service
        public = service.public
        algorithm = note.ED25519 if public.algorithm == ED25519 else note.ECDSA_P256
        self._key = VerifierKey(note.check_name(origin), public.encoded, algorithm)

    @property
    def key(self) -> VerifierKey:
        return self._key

    @property
    def where(self) -> str:
        """The URI of the key."""
        return self._service.where

    def sign(self, message: bytes) -> bytes:
        signature = self._service.sign(message)
        if not self._key.verifies(signature, message):
            raise Unreadable(
                f"{self.where}: what it gave for a signature does not fit its public key; nothing was signed: "
                "look at what stands between"
            )
        return signature


def open_signer(settings: Settings, *, create: bool = False) -> Signer:
    """The key that the configuration names. ``create`` makes a key file when none is named and there is none.

    Raises ConfigError for a key that cannot be used, one of the ``CannotObserve`` family when its service does not
    answer or refuses.
    """
    collector = settings.collector
    if collector.signer:
        return open_named(collector.signer, collector.origin)
    return FileSigner.open(collector.key, collector.origin, create=create)


def open_named(where: str, origin: str) -> Signer:
    """The key at a URI, or in a file. Errors as of ``open_signer``."""
    if not where.startswith(SCHEMES):
        if "://" in where:
            raise ConfigError(f"{where} names no key: write the path of a file, or {', '.join(SCHEMES)}...")
        return FileSigner.load(Path(where), origin)
    return ServiceSigner(_service(where), origin)


def _service(uri: str) -> ServiceKey:
    cloud = {"awskms": "aws", "azurekv": "azure", "gcpkms": "gcp"}[uri.partition(":")[0]]
    try:
        if cloud == "aws":
            from collector.clouds.signing_aws import KmsKey

            return KmsKey(uri)
        if cloud == "azure":
            from collector.clouds.signing_azure import VaultKey

            return VaultKey(uri)
        from collector.clouds.signing_gcp import CloudKmsKey

        return CloudKmsKey(uri)
    except ImportError as error:
        words = f"the signer {uri} needs its SDK ({error.name}): pip install 'evidence-collector[{cloud}]'"
        raise ConfigError(words) from error


# --- between the entry that names a new key, and the configuration that does ---


def setting_of(where: str) -> str:
    """The line of ``[collector]`` that names a key."""
    return f"signer = {json.dumps(where)}" if where.startswith(SCHEMES) else f"key = {json.dumps(where)}"


def remember(settings: Settings, key: VerifierKey, where: str) -> None:
    """Writes down, before the ledger names ``key``, where it is kept: the next start can then say so."""
    path = settings.collector.data / NEXT
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("wb") as file:
            file.write(canonical.record({"vkey": str(key), "where": where}))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); make the data folder writable") from error


def where_is(settings: Settings, key: VerifierKey) -> str:
    """Where ``key`` is kept, as ``remember`` wrote it; "" when it did not."""
    try:
        with (settings.collector.data / NEXT).open("rb") as file:
            found = canonical.parse(file.read(NEXT_BYTES_MAX))
        return str(found["where"]) if found["vkey"] == str(key) else ""
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def explained(settings: Settings, error: OtherKey) -> OtherKey:
    """The same error with the line that the configuration needs, when it is known where the key is kept."""
    where = where_is(settings, error.wanted)
    if not where:
        return error
    also = " and remove signer" if settings.collector.signer and not where.startswith(SCHEMES) else ""
    return OtherKey(f"{error}. That key is {where}: write {setting_of(where)}{also}, and start again", error.wanted)
