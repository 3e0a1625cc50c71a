"""Signed notes and checkpoints as C2SP has them: text, signature lines, verifier keys.

Two kinds of keys: Ed25519 (type 0x01), and ECDSA over P-256 with SHA-256 (type 0x02) for key services without Ed25519.
Pure: reads and writes the formats and verifies signatures; making a signature needs a key and is in seal.py.
Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, and for type 0x02 github.com/transparency-dev/formats.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

ED25519 = 0x01
ECDSA_P256 = 0x02
# A P-256 key in the one way it is written here: SubjectPublicKeyInfo in DER with the curve by name and the whole point
# (RFC 5480), which is these bytes, 0x04, and two coordinates of 32 bytes.
SPKI_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 100  # the format asks readers to accept at least 16
DASH = "\N{EM DASH} "


class BadNote(ValueError):
    """Not a note, checkpoint or verifier key as C2SP has them, or not signed as it must be."""


@dataclass(frozen=True)
class VerifierKey:
    """The public half of a log's key, with the name that it signs under.

    ``public`` is 32 bytes for ``ED25519``, the SubjectPublicKeyInfo in DER for ``ECDSA_P256``.
    """

    name: str
    public: bytes
    algorithm: int = ED25519

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys of one name apart. Of ECDSA they are of the key alone: type 0x02 has it so."""
        if self.algorithm == ECDSA_P256:
            return hashlib.sha256(self.public).digest()[:4]
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """``name+hexid+base64``, the text to hand to an auditor."""
        return f"{self.name}+{self.id.hex()}+{_base64(bytes([self.algorithm]) + self.public)}"

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` is this key's over ``message``: 64 bytes of Ed25519, or ECDSA's r and s in DER."""
        try:
            if self.algorithm == ECDSA_P256:
                _p256(self.public).verify(signature, message, ECDSA(SHA256()))
            else:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Raises BadNote for anything that ``str`` would not write."""
        name, plus, rest = text.partition("+")
        id, second, encoded = rest.partition("+")
        if not plus or not second:
            raise BadNote(f"{text!r} is no verifier key: it has the form name+id+key")
        check_name(name)
        key = _unbase64(encoded, "verifier key")
        if not (key[:1] == bytes([ED25519]) and len(key) == 33) and not (
            key[:1] == bytes([ECDSA_P256]) and _is_p256(key[1:])
        ):
            raise BadNote(
                f"the verifier key of {name} is neither Ed25519 (type 1, 32 bytes) nor ECDSA over P-256 "
                "(type 2, a SubjectPublicKeyInfo with the curve by name and the whole point)"
            )
        found = cls(name, key[1:], key[0])
        if found.id.hex() != id:
            raise BadNote(f"the verifier key of {name} has id {found.id.hex()}, but says {id}: it was mistyped")
        return found


@dataclass(frozen=True)
class Signature:
    """One signature line."""

    name: str
    id: bytes
    value: bytes


@dataclass(frozen=True)
class Note:
    """A text with its signatures, taken apart but not yet believed."""

    text: str  # ends in a newline
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, note: str) -> Note:
        """Raises BadNote for anything that is not exactly a signed note."""
        if len(note.encode()) > NOTE_BYTES_MAX:
            raise BadNote(f"a note of more than {NOTE_BYTES_MAX} bytes")
        if any(character < " " and character != "\n" for character in note):
            raise BadNote("a note with a control character in it")
        text, blank, tail = note.rpartition("\n\n")
        if not blank or not tail.endswith("\n"):
            raise BadNote("a note is a text, an empty line, and signature lines that each end in a newline")
        lines = tail[:-1].split("\n")
        if len(lines) > SIGNATURES_MAX:
            raise BadNote(f"a note with more than {SIGNATURES_MAX} signatures")
        return cls(text + "\n", tuple(_signature(line) for line in lines))

    def verify(self, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
        """The keys whose signature stands under the text; at least one.

        A signature by an unknown key is passed over, as the format demands. Raises BadNote when none is by a known
        key, or when one that claims to be is not.
        """
        known = {(key.name, key.id): key for key in keys}
        believed: list[VerifierKey] = []
        for signature in self.signatures:
            key = known.get((signature.name, signature.id))
            if key is None or key in believed:
                continue
            if not key.verifies(signature.value, self.text.encode()):
                raise BadNote(f"the signature of {key.name} does not fit the text")
            believed.append(key)
        if not believed:
            raise BadNote(f"not signed by {' or '.join(str(key) for key in known.values()) or 'any known key'}")
        return believed


def _signature(line: str) -> Signature:
    if not line.startswith(DASH):
        raise BadNote(f"not a signature line: {line!r}")
    name, space, encoded = line.removeprefix(DASH).partition(" ")
    if not space:
        raise BadNote(f"not a signature line: {line!r}")
    check_name(name)
    value = _unbase64(encoded, "signature")
    if len(value) < 5:
        raise BadNote(f"the signature of {name} is empty")
    return Signature(name, value[:4], value[4:])


def signed(text: str, key: VerifierKey, signature: bytes) -> str:
    """The note of ``text`` with one signature by ``key`` under it. Raises BadNote when that would be no note."""
    note = f"{text}\n{DASH}{key.name} {_base64(key.id + signature)}\n"
    if not text.endswith("\n") or Note.parse(note).text != text:
        raise BadNote("the text of a note ends in a newline and holds no control characters")
    return note


# --- checkpoints ---


@dataclass(frozen=True)
class TreeHead:
    """What a checkpoint says: the log ``origin`` had ``size`` entries, and this was the root over them."""

    origin: str
    size: int
    root: bytes
    extension: tuple[str, ...] = ()

    def text(self) -> str:
        """The text to sign. Raises BadNote for an origin that would not survive the format."""
        if not self.origin or "\n" in self.origin:
            raise BadNote(f"{self.origin!r} cannot be the origin of a checkpoint: it is one line, and not empty")
        text = f"{self.origin}\n{self.size}\n{_base64(self.root)}\n" + "".join(f"{line}\n" for line in self.extension)
        if TreeHead.parse(text) != self:
            raise BadNote(f"the tree head of {self.origin!r} cannot be written as a checkpoint")
        return text

    @classmethod
    def parse(cls, text: str) -> TreeHead:
        """Raises BadNote for anything that is not exactly the text of a checkpoint."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise BadNote("a checkpoint is at least three lines, none of them empty: origin, size, root")
        origin, size, root = lines[:3]
        if not (size.isascii() and size.isdecimal()) or (size[0] == "0" and size != "0") or len(size) > 19:
            raise BadNote(f"{size!r} is not the size of a tree")
        decoded = _unbase64(root, "root")
        if len(decoded) != 32:
            raise BadNote(f"a root has 32 bytes, this one {len(decoded)}")
        return cls(origin, int(size), decoded, tuple(lines[3:-1]))


# --- the encodings that everything above is made of ---


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str, what: str) -> bytes:
    """Standard Base 64 with its padding, in the one way it can be written: no other alphabet, no spare bits."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadNote(f"the {what} is not Base 64: {text!r}") from error
    if _base64(data) != text:
        raise BadNote(f"the {what} is not Base 64 as it must be written: {text!r}")
    return data


def _p256(spki: bytes) -> EllipticCurvePublicKey:
    """Raises ValueError for bytes that are no point of the curve."""
    return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), spki[len(SPKI_P256) :])


def _is_p256(spki: bytes) -> bool:
    if len(spki) != len(SPKI_P256) + 65 or not spki.startswith(SPKI_P256 + b"\4"):
        return False
    try:
        _p256(spki)
    except ValueError:
        return False
    return True


def check_name(name: str) -> str:
    """``name`` when it can name a key and be the origin of a ledger. Raises BadNote."""
    if not name or "+" in name or any(c.isspace() or c < " " for c in name):
        raise BadNote(f"{name!r} cannot name a key: no spaces, no plus, not empty (say example.com/evidence)")
    return name
