"""Cosignatures as C2SP has them: a witness's key, and its dated signature under a checkpoint. Ed25519 (0x04) only.

Pure: reads and writes the format; who cosigns what, and when, is decided in collector/witness/.
Source: c2sp.org/tlog-cosignature, version 1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from collector.ledger.note import DASH, BadNote, Note, TreeHead, check_name

COSIGNATURE_V1 = 0x04
TIME_MAX = 2**63 - 1
TIME_BYTES, SIGNATURE_BYTES = 8, 64


@dataclass(frozen=True)
class WitnessKey:
    """The public half of a witness's key, with the name that it cosigns under."""

    name: str
    public: bytes  # 32 bytes

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([COSIGNATURE_V1]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """``name+hexid+base64``, the text to hand to whoever configures the witness, and to an auditor."""
        return f"{self.name}+{self.id.hex()}+{_base64(bytes([COSIGNATURE_V1]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Raises BadNote for anything that ``str`` would not write."""
        name, plus, rest = text.partition("+")
        _, second, encoded = rest.partition("+")
        if not plus or not second:
            raise BadNote(f"{text!r} is no witness key: it has the form name+id+key")
        check_name(name)
        try:
            key = base64.b64decode(encoded.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise BadNote(f"the witness key of {name} is not Base 64: {encoded!r}") from error
        if key[:1] != bytes([COSIGNATURE_V1]) or len(key) != 33:
            kind = "the key of a log (type 1)" if key[:1] == b"\1" else f"of type {key[0]}" if key else "empty"
            raise BadNote(f"the witness key of {name} is {kind}; cosignatures need type 4 with an Ed25519 key")
        found = cls(name, key[1:])
        if str(found) != text:
            raise BadNote(f"the witness key of {name} would be written {found}, not {text!r}: it was mistyped")
        return found


@dataclass(frozen=True)
class Cosignature:
    """A witness's signature that stands: at ``time`` it knew of no larger tree, and this one continued all before."""

    key: WitnessKey
    time: int  # unix seconds
    line: str  # as it stands in the note, with its newline


def message(text: str, time: int) -> bytes:
    """What a witness signs for the checkpoint ``text`` at ``time``, in unix seconds. Raises BadNote."""
    TreeHead.parse(text)
    if not 0 <= time <= TIME_MAX:
        raise BadNote(f"{time} is no time that a cosignature can say")
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def sign(key: WitnessKey, sign: Callable[[bytes], bytes], text: str, time: int) -> str:
    """The signature line, with its newline. ``sign`` makes the Ed25519 signature, 64 bytes. Raises BadNote."""
    value = time.to_bytes(TIME_BYTES, "big") + sign(message(text, time))
    return f"{DASH}{key.name} {_base64(key.id + value)}\n"


def verify(note: Note, keys: Iterable[WitnessKey]) -> list[Cosignature]:
    """The cosignatures by ``keys`` that stand under the checkpoint, in its order; at least one.

    A line by an unknown key is passed over, as the format demands. Raises BadNote when none is by a known key, or
    when one that claims to be is not.
    """
    known = {(key.name, key.id): key for key in keys}
    believed: list[Cosignature] = []
    for signature in note.signatures:
        key = known.get((signature.name, signature.id))
        if key is None:
            continue
        if len(signature.value) != TIME_BYTES + SIGNATURE_BYTES:
            raise BadNote(f"the cosignature of {key.name} is not a time and an Ed25519 signature")
        time = int.from_bytes(signature.value[:TIME_BYTES], "big")
        signed = message(note.text, time)
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature.value[TIME_BYTES:], signed)
        except (InvalidSignature, ValueError) as error:
            raise BadNote(f"the cosignature of {key.name} does not fit the checkpoint and its time") from error
        line = f"{DASH}{key.name} {_base64(signature.id + signature.value)}\n"
        believed.append(Cosignature(key, time, line))
    if not believed:
        raise BadNote(f"not cosigned by {' or '.join(str(key) for key in known.values()) or 'any known witness'}")
    return believed


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
