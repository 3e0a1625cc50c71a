"""What every write-once store is to whoever keeps copies in it: versions, locks, errors of ours, and some patience.

No SDK in here, and no rule about what is kept; each provider has a file of its own beside this one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from collector.errors import CannotObserve, Unavailable, Unreadable

ATTEMPTS_MAX = 4  # of one question
PATIENCE_SECONDS_MAX = 60  # for one question, all attempts and waiting together
BACKOFF_SECONDS_MAX = 8
RETRY_AFTER_SECONDS_MAX = 30  # a store may ask for more; then the question is given up and says so
COPY_BYTES_MAX = 1_000_000  # as large as a signed note may be
PAGES_MAX = 1_000  # of one listing

T = TypeVar("T")


@dataclass(frozen=True)
class Version:
    """One version of one object. ``id`` is the provider's own name of it."""

    key: str
    id: str


@dataclass(frozen=True)
class Copy:
    """What a version holds and how it is locked; ``mode`` is the provider's word in lower case, "" for no lock."""

    data: bytes
    mode: str
    retain_until: datetime | None
    written: datetime | None  # when, by the store's clock


class Store(Protocol):
    """One bucket or container. Every method raises one of the ``CannotObserve`` family; for one thread at a time."""

    def prove(self) -> None:
        """Asks whether the store locks versions at all. Raises ConfigError when it does not, or is not there."""

    def create(self, key: str, data: bytes, until: datetime) -> None:
        """Writes a version that is locked until then. Does nothing when something has that key already."""

    def versions(self, prefix: str) -> Iterator[Version]:
        """Every version of every object whose key begins so, to the last page. Marks of deletion are none."""

    def read(self, version: Version) -> Copy:
        """One version, whole. Raises Unreadable for one of more than ``COPY_BYTES_MAX``."""

    def lock(self, version: Version, until: datetime) -> bool:
        """Locks a version that is there; False where a store locks only what it creates."""


class Later(Exception):
    """Raised by one attempt that failed in a way that the next may not: ``error`` is what to raise after the last."""

    def __init__(self, error: CannotObserve, wait: float = 0.0, attempts: int = ATTEMPTS_MAX) -> None:
        """``wait`` is after how many seconds the store wants to be asked again, 0 when it did not say."""
        super().__init__(str(error))
        self.error, self.wait, self.attempts = error, wait, attempts


def patiently(ask: Callable[[], T], sleep: Callable[[float], None], chance: random.Random | None = None) -> T:
    """The result of ``ask``, asked again while it raises Later, with pauses, within limits."""
    begin = time.monotonic()
    attempt = 0
    while True:
        attempt += 1
        try:
            return ask()
        except Later as later:
            most = min(BACKOFF_SECONDS_MAX, 0.2 * 2**attempt)
            pause = later.wait or (chance or random).uniform(0, most)
            over = time.monotonic() - begin + pause > PATIENCE_SECONDS_MAX
            if attempt >= min(later.attempts, ATTEMPTS_MAX) or pause > RETRY_AFTER_SECONDS_MAX or over:
                raise later.error from later
            sleep(pause)


def seconds(value: object) -> float:
    """A Retry-After header in seconds; 0 for none, or for one that cannot be read."""
    try:
        return max(0.0, float(str(value)))
    except ValueError:
        return 0.0


def gone_quiet(what: str, error: BaseException) -> Later:
    """No answer came, or not all of it."""
    return Later(
        Unavailable(f"{what}: no whole answer in time ({type(error).__name__}); the next checkpoint tries again")
    )


def too_large(version: Version) -> Unreadable:
    return Unreadable(
        f"{version.key} (version {version.id}) has more than {COPY_BYTES_MAX} bytes, so it is no checkpoint; find out "
        "who wrote it there"
    )


def endless(what: str) -> Unreadable:
    """A listing that would never end, or does not say how it goes on."""
    return Unreadable(f"{what}: the listing does not end as it must; give this ledger a prefix of its own")
