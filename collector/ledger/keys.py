"""Which key signs the ledger from which entry on: the fields of a ``key`` entry, its statement, and what is believed.

Pure: the entries lie in the store, the private halves with a signer. docs/decisions/0006 is the rule, and
docs/reference/ledger.md describes each field.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from collector.ledger.note import BadNote, VerifierKey

STATEMENT = "evidence-collector/key/v1"
REASON_CHARACTERS_MAX = 500  # some key services sign no message of more than 4096 bytes
BEGINS = "the ledger begins"


class BadKeyEntry(ValueError):
    """A ``key`` entry that does not follow from the key before it."""


@dataclass(frozen=True)
class KeyEntry:
    """One key of a ledger: it signs every checkpoint over more than ``seq`` entries, until the next one."""

    seq: int
    at: datetime
    key: VerifierKey
    reason: str
    previous: VerifierKey | None  # None for the first
    recovery: bool  # the key before it was lost, and has not signed

    @property
    def how(self) -> str:
        """``begun``, ``rotated`` or ``recovered``."""
        if self.previous is None:
            return "begun"
        return "recovered" if self.recovery else "rotated"


def statement(origin: str, seq: int, previous: VerifierKey, key: VerifierKey, reason: str) -> bytes:
    """What both keys sign when entry ``seq`` of ``origin`` puts ``key`` in the place of ``previous``: six lines."""
    lines = (STATEMENT, origin, str(seq), str(previous), str(key), reason)
    return "".join(f"{line}\n" for line in lines).encode()


def first_fields(origin: str, key: VerifierKey) -> dict[str, Any]:
    """The fields of the first ``key`` entry."""
    return {"origin": origin, "vkey": str(key), "reason": BEGINS}


def successor_fields(
    origin: str, previous: VerifierKey, key: VerifierKey, reason: str, old: bytes, new: bytes
) -> dict[str, Any]:
    """The fields of every later one. ``old`` and ``new`` sign the statement; ``old`` is empty in a recovery."""
    signatures = {"old": base64.b64encode(old).decode(), "new": base64.b64encode(new).decode()}
    return {
        "origin": origin,
        "vkey": str(key),
        "reason": reason,
        "previous": str(previous),
        "signatures": signatures,
    }


def check_reason(reason: str) -> str:
    """``reason`` when it can stand in a statement. Raises ValueError."""
    if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX or not reason.isprintable():
        raise ValueError(
            f"the reason of a new key is one line of 1 to {REASON_CHARACTERS_MAX} characters, such as "
            '"the yearly rotation" or "the host was replaced"'
        )
    return reason


def read(seq: int, at: datetime, data: Mapping[str, Any], origin: str, before: Sequence[KeyEntry]) -> KeyEntry:
    """The key of an entry, which follows the keys ``before`` it. Raises BadKeyEntry, with words that follow its name.

    A recovery is read as one: whether to believe it, only who holds the new key's text can say.
    """
    try:
        key = VerifierKey.parse(data["vkey"])
        reason = data["reason"]
        named = data["origin"]
    except (BadNote, LookupError, TypeError, AttributeError) as error:
        raise BadKeyEntry(f"names no key: {error}") from error
    if named != origin or key.name != origin:
        raise BadKeyEntry(f"names a key of {key.name}, but this is the ledger {origin}")
    if not isinstance(reason, str):
        raise BadKeyEntry("gives no reason")
    if not before:
        if "previous" in data or "signatures" in data:
            raise BadKeyEntry("puts a key in the place of another, but is the first that names one")
        return KeyEntry(seq, at, key, reason, None, recovery=False)
    current = before[-1].key
    if data.get("previous") != str(current):
        raise BadKeyEntry(f"does not follow the key {current}, which was in force")
    if "\n" in reason:
        raise BadKeyEntry("gives a reason of more than one line")
    old, new = _signatures(data)
    said = statement(origin, seq, current, key, reason)
    if not key.verifies(new, said):
        raise BadKeyEntry("is not signed by the key that it names")
    if old and not current.verifies(old, said):
        raise BadKeyEntry("is not signed by the key before it")
    return KeyEntry(seq, at, key, reason, current, recovery=not old)


def _signatures(data: Mapping[str, Any]) -> tuple[bytes, bytes]:
    try:
        found = data["signatures"]
        old, new = found["old"], found["new"]
        decoded = base64.b64decode(old, validate=True), base64.b64decode(new, validate=True)
    except (LookupError, TypeError, ValueError, binascii.Error) as error:
        raise BadKeyEntry(f"lacks the signatures of a change of the key: {error}") from error
    if [base64.b64encode(each).decode() for each in decoded] != [old, new] or len(found) != 2:
        raise BadKeyEntry("has signatures that are not written as they must be")
    return decoded


def key_at(size: int, keys: Sequence[KeyEntry]) -> VerifierKey | None:
    """The key that signs a checkpoint over ``size`` entries: that of the newest entry before. None before the first."""
    return next((known.key for known in reversed(keys) if known.seq < size), None)
