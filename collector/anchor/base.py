"""What every anchor is: a place outside the collector's power that holds a checkpoint, or time-stamps or cosigns it.

No network and no SDK in here; each kind of place has a file of its own beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from collector.errors import LedgerBroken
from collector.ledger.note import TreeHead

# The consistency proof (RFC 6962) from a smaller size to the checkpoint being anchored; witnesses ask for it.
Consistency = Callable[[int], Sequence[bytes]]

# Whether the exact bytes of a note are a checkpoint that this ledger signed: others may be able to write there too.
Believe = Callable[[bytes], bool]


def anything(note: bytes) -> bool:
    """Believes every note."""
    return True


@dataclass(frozen=True)
class Anchored:
    """What the outside gave for a checkpoint."""

    token: bytes  # DER TimeStampResp, cosigned note, or a receipt in canonical JSON; kept as a blob, never edited
    suffix: str  # of the token's file in a package: "tsr", "note" or "json"
    time: datetime | None  # the time that the outside asserts; None when it asserts none
    where: str  # where it lies there: address, object key with its version, path, message id


class Ahead(LedgerBroken):
    """A place holds a larger checkpoint than the one it was given: this is an old copy of the ledger, or another
    process has anchored a newer checkpoint meanwhile. Whoever knows how large the ledger is now can tell which."""

    def __init__(self, words: str, size: int, held: TreeHead | None) -> None:
        super().__init__(words)
        self.size = size  # of what the place holds
        self.held = held  # that checkpoint, where the place shows it


class Anchor(Protocol):
    """One configured place. Safe to call from one thread at a time."""

    @property
    def id(self) -> str:
        """``type/name`` as in the configuration: ``tsa/freetsa``."""

    def test(self) -> None:
        """Proves at start-up that the place answers as it must. Raises one of the ``CannotObserve`` family, or
        ConfigError with what to change."""

    def put(self, note: bytes, head: TreeHead, consistency: Consistency) -> Anchored:
        """Anchors the exact bytes of a signed checkpoint and checks what comes back before it returns.

        Raises one of the ``CannotObserve`` family; nothing else than ``Anchored`` is ever a success. Raises
        LedgerBroken where the place says that the checkpoint does not continue what it holds (``Ahead``: is smaller).
        """

    def latest(self, believe: Believe = anything) -> TreeHead | None:
        """The largest checkpoint of this ledger that the place holds and that ``believe`` takes for the ledger's own.

        None when it holds none or the kind of place cannot tell. Raises one of the ``CannotObserve`` family.
        """
