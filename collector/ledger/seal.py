"""Who signs the ledger: the signer contract, and a signer whose key is a file. What is signed is said in note.py.

A key in a cloud's key service is another Signer, made in collector/signers.py; nothing else knows where a key lives.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from collector import canonical
from collector.errors import ConfigError, LedgerBroken, Unreadable
from collector.ledger import note
from collector.ledger.keys import KeyEntry
from collector.ledger.note import TreeHead, VerifierKey

KEY_BYTES_MAX = 16_384  # a PEM of an Ed25519 key has 119
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Signer(Protocol):
    """Holds a log key. Its verifier key's name is the origin of the ledger that it signs."""

    @property
    def key(self) -> VerifierKey:
        """The public half."""

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message`` as ``key`` verifies it: 64 bytes of Ed25519, or ECDSA's r and s in DER.

        A key service may refuse or not answer: then it raises one of the ``CannotObserve`` family.
        """


class OtherKey(ConfigError):
    """The signer holds another key than the one that signs this ledger, which is ``wanted``."""

    def __init__(self, words: str, wanted: VerifierKey) -> None:
        super().__init__(words)
        self.wanted = wanted


class FileSigner:
    """A log key in a PEM file (PKCS #8, Ed25519) that only its owner can read."""

    def __init__(self, private: Ed25519PrivateKey, origin: str) -> None:
        self._private = private
        self._key = VerifierKey(note.check_name(origin), private.public_key().public_bytes_raw())

    @property
    def key(self) -> VerifierKey:
        return self._key

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    @classmethod
    def open(cls, path: Path, origin: str, *, create: bool = False) -> FileSigner:
        """The key at ``path``; makes one when there is none and ``create`` says so. Raises ConfigError."""
        return cls.create(path, origin) if create and not path.exists() else cls.load(path, origin)

    @classmethod
    def create(cls, path: Path, origin: str) -> FileSigner:
        """Makes a new key and writes it with mode 0600. Raises ConfigError when the file is already there."""
        private = Ed25519PrivateKey.generate()
        signer = cls(private, origin)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise ConfigError(
                f"{path} is already there; a log key is never overwritten: use it, or name another"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"the log key {path} cannot be written ({error.strerror}); name a folder that can"
            ) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        return signer

    @classmethod
    def load(cls, path: Path, origin: str) -> FileSigner:
        """Reads a key. Raises ConfigError when it cannot, or when others than the owner could."""
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                pem = file.read(KEY_BYTES_MAX)
        except OSError as error:
            raise ConfigError(f"the log key {path} cannot be read ({error.strerror}); name the right file") from error
        if mode & OTHERS:
            raise ConfigError(f"others can read the log key {path} (mode {mode:04o}); run: chmod 600 {path}")
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(
                f"{path} is not a log key: it must be an unencrypted PEM private key (PKCS #8)"
            ) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError(f"{path} holds a key of another kind; a log key is Ed25519")
        return cls(private, origin)


def seal(signer: Signer, head: TreeHead, last: TreeHead | None) -> str:
    """The signed checkpoint of ``head``, after ``last``, the newest one that was signed before.

    Raises LedgerBroken rather than sign a smaller tree than before, or another root for the same size: that is what
    a restored backup or a rewritten history looks like.
    """
    if head.origin != signer.key.name:
        raise ConfigError(f"the key signs for {signer.key.name}, this ledger is {head.origin}; use this ledger's key")
    if last is not None and head.size < last.size:
        raise LedgerBroken(
            f"the ledger has {head.size} entries, but a checkpoint over {last.size} was signed before; "
            "nothing is signed until the newest copy of the ledger is back"
        )
    if last is not None and head.size == last.size and head.root != last.root:
        raise LedgerBroken(
            f"a checkpoint over {last.size} entries was signed before with another root; nothing is signed"
        )
    text = head.text()
    return note.signed(text, signer.key, proved(signer, text.encode()))


def proved(signer: Signer, message: bytes) -> bytes:
    """The signature over ``message``, verified before anybody gets to see it. Raises Unreadable when it is none."""
    signature = signer.sign(message)
    if not signer.key.verifies(signature, message):
        raise Unreadable(
            f"what should be a signature of {signer.key} is none; nothing was signed: "
            "look at where the key is kept, and whether it still is that key"
        )
    return signature


def refuse_other_key(keys: Sequence[KeyEntry], signer: Signer) -> None:
    """Raises OtherKey when ``signer`` does not hold the newest of the ledger's ``keys``."""
    newest = keys[-1]
    if signer.key == newest.key:
        return
    if newest.previous is None:
        raise OtherKey(
            f"the ledger was begun with key {newest.key}; this is {signer.key}: name the key that belongs to it "
            "in [collector], as key or signer",
            newest.key,
        )
    this = "the one before it" if signer.key in [known.key for known in keys] else str(signer.key)
    raise OtherKey(
        f"since entry {newest.seq} of {canonical.stamp(newest.at)} the ledger is signed by key {newest.key} "
        f"({newest.how}: {newest.reason}); this is {this}: name the new key in [collector], as key or signer",
        newest.key,
    )
