"""Drops payloads after their term: raw answers and call logs that no run of late used. Entries and digests stay.

Observations, configurations, sources of checks and tokens of anchors are kept: everything derived is rebuilt from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collector import canonical
from collector.config import Settings, Window
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.store import Ledger
from collector.tomlfile import duration_text


@dataclass(frozen=True)
class Due:
    """What may be dropped now: digests of payloads, their plain size, and the windows whose payloads were spared."""

    before: datetime
    digests: Sequence[str]
    bytes: int
    hold: Sequence[str]


def due(ledger: Ledger, settings: Settings, now: datetime) -> Due | None:
    """What the configured term drops at ``now``; None when no term is configured or nothing is over it.

    A payload is spared as long as any run within the term, or within a window on legal hold, rests on it.
    """
    term = settings.retention.payloads
    if term is None:
        return None
    before = now - timedelta(seconds=term)
    held = {name: window for name, window in settings.windows.items() if window.hold}
    old: set[str] = set()  # call logs
    kept: set[str] = set()
    for entry in ledger.entries(kinds=[Kind.RUN, Kind.SPOT]):
        data = entry.data
        spared = entry.at >= before or _held(canonical.moment(data.get("slot") or data["started"]), held)
        (kept if spared else old).add(data["calls"])
    old = {digest for digest in old - kept if ledger.has_blob(digest)}
    if not old:
        return None
    used = {body for digest in kept if ledger.has_blob(digest) for body in _answers(ledger, digest)}
    answers = {body for digest in old for body in _answers(ledger, digest)} - used
    digests = sorted(old | {digest for digest in answers if ledger.has_blob(digest)})
    size = sum(ledger.blob_size(digest) or 0 for digest in digests)
    return Due(before, digests, size, sorted(held))


def _held(moment: datetime, windows: Mapping[str, Window]) -> bool:
    return any(window.since <= moment < window.until for window in windows.values())


def _answers(ledger: Ledger, calls: str) -> set[str]:
    return {call["body"] for call in canonical.parse(ledger.blob(calls)) if call["body"]}


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
