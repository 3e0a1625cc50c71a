"""Finds out who changed what an alert speaks of, from the cloud's own log: within seconds, or not at all.

It is no evidence of a verdict and holds nothing up: what was found is an ``alert`` entry of its own, ``explain``, and a
part of the message. How a cloud is asked is in ``clouds/who.py``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from collector import canonical
from collector.alert.message import clipped
from collector.clouds import who
from collector.clouds.directory import AccountSettings
from collector.clouds.transcript import Transcript
from collector.errors import CollectorError
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.store import Ledger
from collector.model import Scope

ASKED_MAX = 5  # subjects of a group
ASKED_SECONDS = 3.0  # after which no further subject is asked about; the answer in hand has to arrive in time
SECONDS_MAX = 5.0  # of one pass of the outbox, all its alerts together
UNKNOWN = timedelta(days=1)  # how far back is looked when nobody ever saw it good
TEXT_CHARACTERS_MAX = 500
MEMBERS = ("who", "event", "when", "request", "source")

log = structlog.get_logger(__name__)

# Given the body of an alert entry: the texts of MEMBERS, or None when nobody knows. May raise CollectorError.
Ask = Callable[[Mapping[str, Any]], Mapping[str, str] | None]


class Explainer:
    """Asks who did it, one alert at a time; whoever asks never waits longer than they say."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._asking: threading.Thread | None = None

    def explain(self, alert: Mapping[str, Any], seconds: float) -> dict[str, str] | None:
        """Who changed it, as texts by ``MEMBERS``; None when nobody knows, cannot say, or not in time.

        A question that is not answered in time goes on in the background, and until it ends no other is put.
        """
        if seconds <= 0 or (self._asking is not None and self._asking.is_alive()):
            return None
        found: list[Mapping[str, str]] = []

        def ask() -> None:
            try:
                answer = self._ask(alert)
            except CollectorError as error:
                log.warning("nobody says who changed it", alert=alert["seq"], why=str(error))
            except Exception as error:  # a defect in here must not keep an alert from anybody
                log.exception("who changed it", alert=alert["seq"], error=type(error).__name__)
            else:
                if answer is not None:
                    found.append(answer)

        self._asking = threading.Thread(target=ask, name="changed-by", daemon=True)
        self._asking.start()
        self._asking.join(seconds)
        if self._asking.is_alive() or not found:
            return None
        return {name: str(found[0].get(name, ""))[:TEXT_CHARACTERS_MAX] for name in MEMBERS}


class Opener(Protocol):
    """Opens an account: ``clouds.directory.Directory``."""

    def open(self, settings: AccountSettings, transcript: Transcript, reference: datetime) -> Any: ...


def asking(
    ledger: Ledger,
    clouds: Opener,
    accounts: Iterable[AccountSettings],
    clock: Callable[[], datetime],
    monotonic: Callable[[], float] = time.monotonic,
) -> Ask:
    """Asks the log of the account that an alert is about, for the stretch in which it must have happened.

    Of a group the log is asked about its first ``ASKED_MAX`` subjects, and of no further one once ``ASKED_SECONDS``
    have passed: four hundred buckets are mostly one person, and what five of them show is said as what it is.
    """
    known = {str(account.scope): account for account in accounts}

    def ask(alert: Mapping[str, Any]) -> Mapping[str, str] | None:
        scope = Scope.parse(alert["scope"])
        account = known.get(str(replace(scope, part="")))
        subjects = [name for name in alert.get("subjects", ())[:ASKED_MAX] or (alert["subject"],) if name]
        if account is None or not subjects:
            return None
        good, bad = (_run(ledger, alert[name]) for name in ("last_good", "first_bad"))
        until = canonical.moment(bad["finished"]) if bad else canonical.moment(alert["since"])
        since = canonical.moment(good["started"]) if good else until - UNKNOWN
        handle = clouds.open(account, Transcript(), clock())
        begun = monotonic()
        found: list[tuple[str, Mapping[str, str]]] = []
        asked = 0
        for subject in subjects:
            if asked and monotonic() - begun > ASKED_SECONDS:
                break
            asked += 1
            try:
                answer = who.changed_by(handle, scope, subject, since, until)
            except CollectorError:
                if found:
                    break
                raise
            if answer is not None:
                found.append((subject, answer))
        return _together(found, asked, alert.get("count", 0))

    return ask


def _together(found: Sequence[tuple[str, Mapping[str, str]]], asked: int, count: int) -> Mapping[str, str] | None:
    """One answer of those about several subjects: who did most, what and when last, and how many that is of how many.

    When several did it, or it was done in several ways, each of them is named.
    """
    if not found:
        return None
    if count < 2:
        return found[0][1]
    by: dict[tuple[str, str], list[tuple[str, Mapping[str, str]]]] = {}
    for subject, answer in found:
        by.setdefault((answer["who"], answer["event"]), []).append((subject, answer))
    ordered = sorted(by.items(), key=lambda item: -len(item[1]))
    last = max((answer for _, answer in ordered[0][1]), key=lambda answer: answer["when"])
    parts = []
    for number, ((person, event), those) in enumerate(ordered):
        more = f" and {len(those) - 1} more" if len(those) > 1 else ""
        doer = f" by {person}" if number else ""
        parts.append(f"{event}{doer} on {those[0][0]}{more}")
    of = f" ({len(found)} of the {asked} asked about, of {count:,})"
    return {**last, "event": clipped("; ".join(parts), TEXT_CHARACTERS_MAX - len(of)) + of}


def _run(ledger: Ledger, seq: int | None) -> Mapping[str, Any] | None:
    entry = None if seq is None else ledger.entry(seq)
    return entry.data if entry is not None and "started" in entry.data else None


def written(ledger: Ledger, alert: Entry) -> dict[str, str] | None:
    """What was found out before about an alert."""
    found = ledger.projection.told_of(alert.data["key"], "explain")
    return found[-1].data["changed_by"] if found else None


def write(ledger: Ledger, alert: Entry, found: Mapping[str, str], draft_at: Callable[[], Any]) -> None:
    """Keeps what was found out; nobody is told by this entry alone."""
    fields = {name: value for name, value in alert.data.items() if name not in _OF_ONE_ENTRY}
    fields |= {"event": "explain", "channels": [], "changed_by": dict(found)}
    with ledger.write() as batch:
        batch.add(Draft(Kind.ALERT, draft_at(), fields))


_OF_ONE_ENTRY = ("seq", "kind", "at", "quiet", "facts", "subjects", "list")
