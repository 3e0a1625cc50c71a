"""Delivers what is owed: alerts out of the ledger to their channels, each attempt written back. Decides no alerts.

An alert is owed from the transaction of the run that caused it until a ``delivery`` entry says that it was delivered or
given up. A crash between the two sends it again with the same key: at least once, and the receiver can tell.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import structlog

from collector import canonical
from collector.alert.channels import open_channels as open_channels
from collector.alert.message import Channel, DeliveryFailed
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.store import Ledger

Channels = Mapping[str, Channel]
Counts = Counter[tuple[str, str]]  # (channel, outcome)

DELIVERED = "delivered"
FAILED = "failed"
GAVE_UP = "gave-up"

RETRY_SECONDS_FIRST = 30
RETRY_SECONDS_MAX = 3600
GIVE_UP_AFTER = timedelta(hours=24)
ATTEMPTS_MIN = 5  # also of an alert that is a day old when the collector comes back
DELIVERIES_MAX = 100  # of one pass, so that a shutdown waits for few

log = structlog.get_logger(__name__)

# Until when a receiver asked to be left alone, by its channel. Forgotten with the process: it will ask again.
_left_alone: WeakKeyDictionary[Channel, datetime] = WeakKeyDictionary()


class _Outcome(NamedTuple):
    outcome: str
    detail: str
    hope: bool  # whether it may still arrive later
    retry_after: float | None  # seconds for which the receiver asks to be left alone


class _Owed(Protocol):
    """What of ``ledger.projection.Pending`` is used here."""

    @property
    def alert(self) -> Entry: ...
    @property
    def channel(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def retry_at(self) -> datetime | None: ...


def deliver_due(ledger: Ledger, channels: Channels, clock: Callable[[], datetime]) -> Counts:
    """One pass over what is owed and due: sends, and writes a ``delivery`` entry after each attempt.

    Returns how many attempts had which outcome, by channel. About one thing, a channel hears in the order of the
    ledger: a resolve waits for its trigger until that was delivered or given up. A channel that does not answer is
    left alone until the next pass, so that it holds up nobody else for long.
    """
    counts: Counts = Counter()
    now = clock()
    if not ledger.projection.pending(now):
        return counts
    waiting: set[tuple[str, str]] = set()  # (channel, key) with something older still owed
    silent = {name for name, channel in channels.items() if _left_alone.get(channel, now) > now}  # and what just failed
    for owed in ledger.projection.pending(datetime.max.replace(tzinfo=UTC)):
        thing = (owed.channel, owed.alert.data["key"])
        later = owed.retry_at is not None and owed.retry_at > now
        if later or thing in waiting or owed.channel in silent:
            waiting.add(thing)
            continue
        outcome = _deliver(ledger, owed, channels.get(owed.channel), clock)
        counts[(owed.channel, outcome)] += 1
        if outcome == FAILED:
            waiting.add(thing)
            silent.add(owed.channel)
        if counts.total() >= DELIVERIES_MAX:
            break
    return counts


def _deliver(ledger: Ledger, owed: _Owed, channel: Channel | None, clock: Callable[[], datetime]) -> str:
    retry_at: datetime | None = None
    if channel is None:
        outcome, detail = GAVE_UP, "no channel of this name is configured any more"
    else:
        outcome, detail, hope, asked = _send(owed, channel)
        if hope:
            now = clock()
            pause = timedelta(seconds=min(asked or 0, RETRY_SECONDS_MAX))
            if pause:
                _left_alone[channel] = now + pause
            if now - owed.alert.at >= GIVE_UP_AFTER and owed.attempt >= ATTEMPTS_MIN:
                outcome, detail = GAVE_UP, f"{detail}; given up after {owed.attempt} attempts"
            else:
                ours = retry_after(owed.attempt, f"{owed.alert.data['key']}{owed.channel}")
                retry_at = now + max(ours, pause)
    if outcome != DELIVERED:
        log.warning(outcome, channel=owed.channel, alert=owed.alert.seq, attempt=owed.attempt, detail=detail)
    fields: dict[str, Any] = {
        "alert": owed.alert.seq,
        "channel": owed.channel,
        "attempt": owed.attempt,
        "outcome": outcome,
        "detail": detail,
        "retry_at": None if retry_at is None else canonical.stamp(retry_at),
    }
    with ledger.write() as batch:
        batch.add(Draft(Kind.DELIVERY, clock(), fields))
    return outcome


def _send(owed: _Owed, channel: Channel) -> _Outcome:
    try:
        return _Outcome(DELIVERED, channel.send(owed.alert.data), False, None)
    except DeliveryFailed as error:
        return _Outcome(FAILED if error.retry else GAVE_UP, error.detail, error.retry, error.retry_after)
    except Exception as error:  # a defect of one channel must not silence the others; it is logged with its trace
        log.exception("channel", channel=owed.channel, alert=owed.alert.seq)
        return _Outcome(FAILED, f"the channel crashed: {type(error).__name__}", True, None)


def retry_after(attempt: int, salt: str) -> timedelta:
    """How long to wait after an attempt: doubled each time up to an hour, less up to a quarter.

    The quarter depends on ``salt``, so that alerts that failed together do not come back together.
    """
    whole = min(RETRY_SECONDS_FIRST * 2 ** min(attempt - 1, 20), RETRY_SECONDS_MAX)
    part = int.from_bytes(hashlib.sha256(f"{salt}{attempt}".encode()).digest()[:4], "big") / 2**32
    return timedelta(seconds=round(whole * (1 - part / 4)))
