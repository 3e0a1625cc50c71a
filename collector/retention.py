"""Drops payloads after their term: raw answers and call logs that no run of late used. Entries and digests stay.

Observations, configurations, sources of checks and tokens of anchors are kept: everything derived is rebuilt from them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collector import canonical
from collector.config import Settings
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.records import microseconds
from collector.ledger.store import Ledger
from collector.ledger.uses import Use
from collector.tomlfile import duration_text

ENTRIES_AT_ONCE = 20_000  # counted in one transaction
PAYLOADS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Due:
    """What may be dropped now: digests of payloads, their plain size, and the windows whose payloads were spared."""

    before: datetime
    digests: Sequence[str]
    bytes: int
    hold: Sequence[str]


def due(ledger: Ledger, settings: Settings, now: datetime) -> Due | None:
    """What the configured term drops at ``now``; None when no term is configured or nothing is over it.

    A payload is spared as long as any run within the term, or within a window on legal hold, rests on it. Reads what
    is new since it was asked before, what is to be dropped, and of windows on hold no more than it must.
    """
    term = settings.retention.payloads
    if term is None:
        return None
    before = now - timedelta(seconds=term)
    _count(ledger)
    edge = microseconds(before)
    hold = {name: (window.since, window.until) for name, window in settings.windows.items() if window.hold}
    held = _Held(ledger, list(hold.values()))
    old = held.without(ledger.uses.logs_before(edge))
    if not old:
        return None
    answers = {body for digest in old for body in _answers(ledger, digest)}
    unused = {digest: use for digest, use in ledger.uses.of(answers).items() if use.newest < edge}
    digests = sorted({*old, *held.without_answers(unused, old)})
    size = sum(ledger.blob_size(digest) or 0 for digest in digests)
    return Due(before, digests, size, sorted(hold))


def _count(ledger: Ledger) -> None:
    """Writes down, of the entries that are new, when which payloads were used: a part at a time, so that nobody who
    wants to write waits for long."""
    while True:
        since, size = ledger.uses.counted(), ledger.size()
        found: dict[str, Use] = {}
        told: tuple[str, set[str]] = "", set()
        for number, entry in enumerate(ledger.entries(since, size, kinds=[Kind.RUN, Kind.SPOT]), 1):
            calls = entry.data["calls"]
            if calls != told[0]:  # the checks of one account run share it
                told = calls, _answers(ledger, calls) if ledger.has_blob(calls) else set()
            at, moment = microseconds(entry.at), microseconds(_moment(entry))
            for digest in (calls, *told[1]):
                use = Use(digest == calls, at, moment, moment)
                found[digest] = found[digest].and_also(use) if digest in found else use
            if number >= ENTRIES_AT_ONCE or len(found) >= PAYLOADS_AT_ONCE:
                size = entry.seq + 1
                break
        if since == size:
            return
        with ledger.write() as batch:
            batch.count_uses(found, since, size)


def _moment(entry: Entry) -> datetime:
    """The slot of a run; its start when it was by hand."""
    return canonical.moment(entry.data.get("slot") or entry.data["started"])


def _answers(ledger: Ledger, calls: str) -> set[str]:
    return {call["body"] for call in canonical.parse(ledger.blob(calls)) if call["body"]}


class _Held:
    """The windows on legal hold, and what was used within them."""

    def __init__(self, ledger: Ledger, windows: Sequence[tuple[datetime, datetime]]) -> None:
        self._ledger = ledger
        self._windows = windows
        self._spans = [(microseconds(since), microseconds(until)) for since, until in windows]

    def without(self, logs: Mapping[str, Use]) -> set[str]:
        """The call logs that were used in no window on hold."""
        left = {digest: use for digest, use in logs.items() if not self._in(use.first) and not self._in(use.last)}
        unsure = {digest for digest, use in left.items() if self._may(use)}  # one that says nothing may come many times
        for entry in self._entries() if unsure else ():
            unsure.discard(entry.data["calls"])
            left.pop(entry.data["calls"], None)
            if not unsure:
                break
        return set(left)

    def without_answers(self, answers: Mapping[str, Use], old: Collection[str]) -> set[str]:
        """The answers that no call log in a window on hold names; ``old`` logs are in none."""
        left, unsure = set(answers), {digest for digest, use in answers.items() if self._may(use)}
        seen: set[str] = set(old)
        for entry in self._entries() if unsure else ():
            calls = entry.data["calls"]
            if calls not in seen and self._ledger.has_blob(calls):
                named = _answers(self._ledger, calls)
                left -= named
                unsure -= named
            seen.add(calls)
            if not unsure:
                break
        return left

    def _in(self, moment: int) -> bool:
        return any(since <= moment < until for since, until in self._spans)

    def _may(self, use: Use) -> bool:
        """Whether a payload was used on both sides of a window, or in it."""
        return any(use.first < until and use.last >= since for since, until in self._spans)

    def _entries(self) -> Iterator[Entry]:
        """The runs of the windows on hold, and the looks at single subjects."""
        for since, until in self._windows:
            for row in self._ledger.projection.runs(since, until):
                yield self._ledger.entry(row.seq)
        for entry in self._ledger.entries(kinds=[Kind.SPOT]):
            if self._in(microseconds(_moment(entry))):
                yield entry


def drop(ledger: Ledger, settings: Settings, now: datetime) -> Entry | None:
    """Drops what is due, with the ``expiry`` entry that lists it, in one transaction. None when nothing was due."""
    found = due(ledger, settings, now)
    term = settings.retention.payloads
    if found is None or term is None:
        return None
    with ledger.write() as batch:
        listed = batch.blob("".join(f"{digest}\n" for digest in found.digests).encode())
        fields = {
            "policy": f"raw answers and call logs are kept for {duration_text(term)} after the last run that used them",
            "before": canonical.stamp(found.before),
            "blobs": listed,
            "count": len(found.digests),
            "bytes": found.bytes,
            "hold": list(found.hold),
        }
        entry = batch.add(Draft(Kind.EXPIRY, now, fields))
        batch.drop(found.digests, entry)
    return entry
