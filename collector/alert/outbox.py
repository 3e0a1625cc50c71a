"""Delivers what is owed: alerts out of the ledger to their channels, each attempt written back. Decides no alerts.

An alert is owed from the transaction of the run that caused it until a ``delivery`` entry says that it was delivered or
given up. A crash between the two sends it again with the same key: at least once, and the receiver can tell.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import structlog

from collector import canonical
from collector.alert import explaining
from collector.alert.channels import open_channels as open_channels
from collector.alert.explaining import Explainer
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


def deliver_due(
    ledger: Ledger, channels: Channels, clock: Callable[[], datetime], explainer: Explainer | None = None
) -> Counts:
    """One pass over what is owed and due: sends, and writes a ``delivery`` entry after each attempt.

    Returns how many attempts had which outcome, by channel. About one thing, a channel hears in the order of the
    ledger: a resolve waits for its trigger until that was delivered or given up. A channel that does not answer is
    left alone until the next pass, so that it holds up nobody else for long. An ``explainer`` is asked who did it
    before the first attempt, for ``explaining.SECONDS_MAX`` of a pass at most.
    """
    counts: Counts = Counter()
    now = clock()
    if not ledger.projection.pending(now):
        return counts
    waiting: set[tuple[str, str]] = set()  # (channel, key) with something older still owed
    silent = {name for name, channel in channels.items() if _left_alone.get(channel, now) > now}  # and what just failed
    patience = explaining.SECONDS_MAX
    for owed in ledger.projection.pending(datetime.max.replace(tzinfo=UTC)):
        thing = (owed.channel, owed.alert.data["key"])
        later = owed.retry_at is not None and owed.retry_at > now
        if later or thing in waiting or owed.channel in silent:
            waiting.add(thing)
            continue
        channel = channels.get(owed.channel)
        if explainer is not None and channel is not None and owed.attempt == 1:
            begun = time.monotonic()
            _explain(ledger, owed.alert, explainer, patience, clock)
            patience -= time.monotonic() - begun
        outcome = _deliver(ledger, owed, channel, clock)
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
        outcome, detail, hope, asked = _send(owed, channel, _message(ledger, owed.alert))
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


def _explain(
    ledger: Ledger, alert: Entry, explainer: Explainer, patience: float, clock: Callable[[], datetime]
) -> None:
    """Asks who did it, once for all channels and attempts: what was found is in the ledger from then on."""
    if alert.data["event"] != "trigger" or alert.data["cause"] != "failed" or explaining.written(ledger, alert):
        return
    found = explainer.explain(alert.data, patience)
    if found is not None:
        explaining.write(ledger, alert, found, clock)


def _message(ledger: Ledger, alert: Entry) -> Mapping[str, Any]:
    """What a channel is given: the alert, and who did it where that is known."""
    if alert.data["event"] not in ("trigger", "escalate"):
        return alert.data
    found = explaining.written(ledger, alert)
    return alert.data if found is None else {**alert.data, "changed_by": found}


def _send(owed: _Owed, channel: Channel, message: Mapping[str, Any]) -> _Outcome:
    try:
        return _Outcome(DELIVERED, channel.send(message), False, None)
    except DeliveryFailed as error:
        return _Outcome(FAILED if error.retry else GAVE_UP, error.detail, error.retry, error.retry_after)
    except Exception as error:  # a defect of one channel must not silence the others; it is logged with its trace
        log.exception("channel", channel=owed.channel, alert=owed.alert.seq)
        return _Outcome(FAILED, f"the channel crashed: {type(error).__name__}", True, None)


class Repeater:
    """Tells again of what stands open, to channels that forget: those with ``resend_seconds``.

    It is no news, so nothing of it is written down; a repetition that fails is made up for by the next. Which ones are
    due is forgotten with the process: whoever comes next repeats at once, which does no harm.
    """

    def __init__(self, ledger: Ledger, channels: Channels, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._channels = {name: found for name, found in channels.items() if getattr(found, "resend_seconds", 0)}
        self._clock = clock
        self._told: dict[tuple[str, int], datetime] = {}
        shortest = min((found.resend_seconds for found in self._channels.values()), default=0)  # type: ignore[attr-defined]
        self._pause = timedelta(seconds=shortest / 10)
        self._looked: datetime | None = None

    def repeat(self) -> int:
        """One pass; returns how many were told again. Each is sent with the time at which it still stood open."""
        if not self._channels:
            return 0
        now, sent = self._clock(), 0
        if self._looked is not None and now - self._looked < self._pause:
            return 0
        self._looked = now
        opened = self._ledger.projection.open_alerts().values()
        pending = self._ledger.projection.pending(datetime.max.replace(tzinfo=UTC))
        owed = {(one.channel, one.alert.data["key"]) for one in pending}
        self._told = {known: at for known, at in self._told.items() if known[1] in {entry.seq for entry in opened}}
        silent: set[str] = set()
        for entry in opened:
            for name in entry.data["channels"]:
                channel = self._channels.get(name)
                if channel is None or name in silent or (name, entry.data["key"]) in owed:
                    continue  # it is told in its turn
                every = timedelta(seconds=channel.resend_seconds)  # type: ignore[attr-defined]
                if now - self._told.get((name, entry.seq), entry.at) < every:
                    continue
                try:
                    channel.send({**_message(self._ledger, entry), "at": canonical.stamp(now)})
                except DeliveryFailed as error:
                    log.warning("not told again", channel=name, alert=entry.seq, detail=error.detail)
                    silent.add(name)
                except Exception:  # a defect of one channel must not silence the others; it is logged with its trace
                    log.exception("channel", channel=name, alert=entry.seq)
                    silent.add(name)
                else:
                    self._told[name, entry.seq] = now
                    sent += 1
                if sent >= DELIVERIES_MAX:
                    return sent
        return sent


def retry_after(attempt: int, salt: str) -> timedelta:
    """How long to wait after an attempt: doubled each time up to an hour, less up to a quarter.

    The quarter depends on ``salt``, so that alerts that failed together do not come back together.
    """
    whole = min(RETRY_SECONDS_FIRST * 2 ** min(attempt - 1, 20), RETRY_SECONDS_MAX)
    part = int.from_bytes(hashlib.sha256(f"{salt}{attempt}".encode()).digest()[:4], "big") / 2**32
    return timedelta(seconds=round(whole * (1 - part / 4)))
