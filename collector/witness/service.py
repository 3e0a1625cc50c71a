"""What a witness answers to an add-checkpoint request, and why. Pure: bytes and what is known in, a decision out.

Source: c2sp.org/tlog-witness, version 1; its status codes and the order in which it names them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from collector.ledger import merkle
from collector.ledger.note import BadNote, Note, TreeHead, VerifierKey

REQUEST_BYTES_MAX = 131_072  # a checkpoint with 16 post-quantum signatures, which readers must accept, has 107,000
PROOF_LINES_MAX = 63
SIZE_MAX = 2**63 - 1


class BadRequest(ValueError):
    """Not an add-checkpoint request as C2SP has it."""


@dataclass(frozen=True)
class Request:
    """An add-checkpoint request, taken apart but not yet believed."""

    old: int  # the size that the client believes the witness to have cosigned last
    proof: tuple[bytes, ...]
    note: Note
    head: TreeHead
    checkpoint: str  # the note as it was sent

    @classmethod
    def parse(cls, body: bytes) -> Request:
        """Raises BadRequest for anything that is not exactly a request."""
        if len(body) > REQUEST_BYTES_MAX:
            raise BadRequest(f"a request of more than {REQUEST_BYTES_MAX} bytes")
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise BadRequest("a request that is not UTF-8") from error
        before, blank, checkpoint = text.partition("\n\n")
        if not blank:
            raise BadRequest("a request is an old size line, proof lines, an empty line, and a checkpoint")
        first, *lines = before.split("\n")
        word, _, size = first.partition(" ")
        if word != "old" or not is_size(size):
            raise BadRequest(f"{first[:80]!r} is not an old size line such as 'old 20852014'")
        if len(lines) > PROOF_LINES_MAX:
            raise BadRequest(f"a proof of more than {PROOF_LINES_MAX} lines")
        try:
            note = Note.parse(checkpoint)
            head = TreeHead.parse(note.text)
        except BadNote as error:
            raise BadRequest(f"the checkpoint is none: {error}") from error
        if head.size > SIZE_MAX:
            raise BadRequest(f"a tree of {head.size} entries; {SIZE_MAX} is the largest that can be")
        return cls(int(size), tuple(_hash(line) for line in lines), note, head, checkpoint)


def is_size(text: str) -> bool:
    """Whether ``text`` is the size of a tree as C2SP writes it: decimal digits, no leading zero."""
    digits = text.isascii() and text.isdecimal() and len(text) <= len(str(SIZE_MAX))
    return digits and (text == "0" or text[0] != "0")


def _hash(line: str) -> bytes:
    try:
        found = base64.b64decode(line.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadRequest(f"{line[:80]!r} in the proof is not Base 64") from error
    if len(found) != merkle.HASH_BYTES or base64.b64encode(found).decode() != line:
        raise BadRequest(f"{line[:80]!r} in the proof is not a hash of 32 bytes in Base 64")
    return found


@dataclass(frozen=True)
class Known:
    """What the witness knows of one log when a request comes."""

    keys: tuple[VerifierKey, ...]  # that may sign its checkpoints now
    size: int = 0  # of the newest checkpoint that was cosigned, 0 before the first
    root: bytes = merkle.EMPTY_ROOT
    same_size: bytes | None = None  # the root that was cosigned for the size that the request speaks of


class Incident(StrEnum):
    """What a signed checkpoint that cannot be cosigned says about the log that signed it."""

    FORK = "fork"  # two roots for one size, both signed by the log: proof of misbehaviour by itself
    NOT_CONTINUED = "not-continued"  # signed by the log, without a proof that it continues what was cosigned before


@dataclass(frozen=True)
class Accepted:
    """The checkpoint continues what is known: cosign and keep it."""

    head: TreeHead
    text: str
    note: str  # the checkpoint with the signatures of the log's trusted keys alone


@dataclass(frozen=True)
class Refusal:
    """The request is not granted. ``status`` is that of HTTP."""

    status: int
    words: str
    size: int | None = None  # of the newest checkpoint, when it is another than the client believes
    incident: Incident | None = None


def decide(request: Request, known: Known | None) -> Accepted | Refusal:
    """Whether the checkpoint is to be cosigned. ``known`` is None for a log that the witness does not serve."""
    head = request.head
    if known is None:
        return Refusal(404, "the checkpoint is of a log that this witness does not know; its operator can trust it")
    try:
        signed = request.note.verify(known.keys)
    except BadNote as error:
        return Refusal(403, f"the checkpoint is not signed by a key that this witness trusts: {error}")
    if request.old > head.size:
        return Refusal(400, f"the old size {request.old} is larger than the checkpoint's, {head.size}")
    forked = Incident.FORK if known.same_size not in (None, head.root) else None
    if request.old != known.size:
        return Refusal(409, f"the newest checkpoint here is over {known.size} entries", known.size, forked)
    if head.size == known.size and head.root != known.root:
        return Refusal(
            409, f"a checkpoint over {head.size} entries with another root was cosigned before", None, Incident.FORK
        )
    if not merkle.extends(known.size, head.size, known.root, head.root, request.proof):
        what = f"it begins with the {known.size} entries cosigned before" if known.size else "it is the first one here"
        return Refusal(422, f"the proof does not prove that {what}", None, Incident.NOT_CONTINUED)
    return Accepted(head, request.note.text, _only_signed_by(signed, request))


def _only_signed_by(keys: Sequence[VerifierKey], request: Request) -> str:
    """The checkpoint with the first signature of each of ``keys``, which were verified, and no other."""
    lines = request.checkpoint.removeprefix(f"{request.note.text}\n")[:-1].split("\n")
    by_key: dict[tuple[str, bytes], str] = {}
    for signature, line in zip(request.note.signatures, lines, strict=True):
        by_key.setdefault((signature.name, signature.id), line)
    return f"{request.note.text}\n" + "".join(f"{by_key[key.name, key.id]}\n" for key in keys)
