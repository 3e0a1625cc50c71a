"""Draws a sample that anybody can draw again, and says what it proves. Pure: ids and a seed in, a sample out.

An item is one subject in one slot and has the id ``check|scope|slot|subject``; a slot has the id ``check|scope|slot``,
with its time as the ledger writes it. Of all ids those come first whose SHA-256 over seed and id, as UTF-8 and with
nothing between them, is smallest: who does not choose the seed does not choose what is looked at, and
``printf '%s%s' SEED ID | sha256sum`` gives the same number.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SIZE_MAX = 100_000  # of a sample; above it, look at all
SEED_CHARACTERS_MAX = 200
CONFIDENCE = 0.9
SHOWN = (25, 45, 60, 180, 365)  # sizes that are common for daily controls


def item_id(check: str, scope: str, slot: str, subject: str) -> str:
    """The id of one subject in one slot. ``slot`` is the slot's time as the ledger writes it."""
    return f"{check}|{scope}|{slot}|{subject}"


def slot_id(check: str, scope: str, slot: str) -> str:
    """The id of one slot."""
    return f"{check}|{scope}|{slot}"


@dataclass(frozen=True)
class Population:
    """How many ids there are, and the SHA-256 over all of them in their order, one a line, each line ended."""

    count: int
    digest: str


class Counted:
    """A population while its ids pass by, in the order in which they stand in the ledger."""

    def __init__(self) -> None:
        self._count = 0
        self._hash = hashlib.sha256()

    def add(self, ids: Sequence[str]) -> None:
        if ids:
            self._count += len(ids)
            self._hash.update("\n".join((*ids, "")).encode())

    @property
    def population(self) -> Population:
        return Population(self._count, self._hash.hexdigest())


@dataclass(frozen=True)
class Chosen:
    """One of a sample: ``place`` counts from 1, ``rank`` is the SHA-256 over seed and id, ``id`` the item's."""

    place: int
    rank: str
    id: str


class Draw:
    """The first ``n`` of all ids in the order that ``seed`` gives. Memory grows with ``n`` alone.

    Raises ValueError for an empty or overlong seed, or a size that is not from 1 to 100,000.
    """

    def __init__(self, seed: str, n: int) -> None:
        if not 1 <= len(seed) <= SEED_CHARACTERS_MAX:
            raise ValueError(f"a seed has from 1 to {SEED_CHARACTERS_MAX} characters")
        if not 1 <= n <= SIZE_MAX:
            raise ValueError(f"a sample has from 1 to {SIZE_MAX:,} items")
        self._seeded = hashlib.sha256(seed.encode())
        self._n = n
        self._heap: list[tuple[int, str]] = []  # the largest first: negated
        self._bound = b"\xff" * 33  # above every rank until there are n
        self._counted = Counted()

    def add(self, ids: Sequence[str]) -> None:
        self._counted.add(ids)
        copy, bound = self._seeded.copy, self._bound
        for id in ids:
            found = copy()
            found.update(id.encode())
            rank = found.digest()
            if rank < bound:
                bound = self._keep(rank, id)

    def _keep(self, rank: bytes, id: str) -> bytes:
        item = (-int.from_bytes(rank, "big"), id)
        if len(self._heap) < self._n:
            heapq.heappush(self._heap, item)
        else:
            heapq.heappushpop(self._heap, item)
        if len(self._heap) == self._n:
            self._bound = (-self._heap[0][0]).to_bytes(32, "big")
        return self._bound

    @property
    def population(self) -> Population:
        """All that passed by, drawn or not."""
        return self._counted.population

    def chosen(self) -> list[Chosen]:
        """The sample in its order; fewer than ``n`` when there are no more."""
        ordered = sorted((-negated, id) for negated, id in self._heap)
        return [Chosen(place, f"{rank:064x}", id) for place, (rank, id) in enumerate(ordered, 1)]


def draw(ids: Iterable[str], seed: str, n: int) -> list[Chosen]:
    """The sample of some ids that lie ready."""
    drawing = Draw(seed, n)
    drawing.add(list(ids))
    return drawing.chosen()


# --- what a sample says ---


def upper_bound(n: int, found: int = 0, confidence: float = CONFIDENCE) -> float:
    """The share of deviations, 0 to 1, that a sample of ``n`` with ``found`` deviations does not rule out.

    One-sided Clopper-Pearson bound of the binomial distribution: were the true share larger, so few deviations would
    be seen in less than ``1 - confidence`` of all samples. It is on the safe side for a small population. Raises
    ValueError for counts that cannot be.
    """
    if not 0 <= found <= n or n < 1:
        raise ValueError(f"{found} deviations among {n} items")
    if found == n:
        return 1.0
    if found == 0:
        return float(1 - (1 - confidence) ** (1 / n))
    low, high = found / n, 1.0
    for _ in range(60):  # each halves the interval: beyond the precision of a float
        middle = (low + high) / 2
        if _at_most(found, n, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(found: int, n: int, share: float) -> float:
    """The probability of at most ``found`` deviations among ``n`` when a ``share`` of all are deviations."""
    if share >= 1:
        return 0.0
    yes, no = math.log(share), math.log1p(-share)
    whole = math.lgamma(n + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * yes + (n - k) * no) for k in range(found + 1)
    )


def percent(share: float) -> str:
    """A share with one decimal, as in "8.8 %"."""
    return f"{100 * share:.1f} %"


def says(population: int, n: int, found: int, unread: int = 0) -> list[str]:
    """What a sample of ``n`` items of a population shows, and what it does not.

    ``found`` of them deviate, and ``unread`` could not be read: those count as if they deviated, since nobody knows.
    """
    bad = found + unread
    seen = "None deviates" if found == 0 else f"{found:,} of them deviate{'s' if found == 1 else ''}"
    if unread:
        seen += f", and {unread:,} could not be read, which counts as if they deviated"
    if n >= population:
        first = f"All {population:,} items were looked at. {seen}. This is no sample: there is nothing to infer."
    else:
        bound = percent(upper_bound(n, bad))
        first = (
            f"{n:,} of {population:,} items were drawn. {seen}. With 90 % confidence at most {bound} of the population "
            f"deviates: were it more, nine of ten samples of this size would have shown more than {bad:,}."
        )
    return [first, *LIMITS]


LIMITS = (
    (
        "It does not say that nothing else deviates: tables/exceptions.csv lists every deviation that any run saw, in "
        "the whole population."
    ),
    (
        "It says nothing of what was never in the population: accounts that were not planned, subjects that came and "
        "went between two runs, slots in which nobody looked. results.csv and coverage.csv account for the slots."
    ),
    "It says nothing of whether the check asks the right question: that is tested once, by reading its source.",
)
