"""When the collector's own troubles are told, and when they are over: late runs, lost slots, places outside that fail.

The rules are those of subjects (``window/drift.py``): so many in a row before an alert begins and before it ends, and
damping of what flaps. What is late, lost or failed is decided by whoever calls. Delivers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from collector import canonical
from collector.alert.standing import Standing
from collector.config import Settings
from collector.ledger.entry import Entry
from collector.window.drift import FLAP_STEADY, Cause, Drift, Event, Rules


@dataclass(frozen=True)
class Turn:
    """One slot or one attempt: whether it was bad, since when it counts, and an entry that says so."""

    bad: bool
    at: datetime
    seq: int | None  # None: another entry of the row says it


@dataclass(frozen=True)
class Trouble:
    """What may be told of: ``scope`` an account, or ``subject`` a place outside; and the words for either turn."""

    cause: Cause
    scope: str
    subject: str
    bad: str
    good: str


def rules_of(settings: Settings, cause: Cause) -> Rules:
    """How many in a row begin and end an alert of a cause."""
    confirm, steady = settings.alerts.confirm, settings.alerts.steady
    return Rules(getattr(confirm, cause.value), getattr(steady, cause.value))


def tell(standing: Standing, settings: Settings, trouble: Trouble, now: Turn, before: Iterable[Turn]) -> Entry | None:
    """Writes the alert that ``now`` begins or ends; None when it does neither.

    ``before`` gives what went before, newest first. It is read no further than it is needed: where nothing begins or
    ends, and where one is enough, not at all.
    """
    opened = standing.opened(trouble.cause, scope=trouble.scope, subject=trouble.subject)
    if now.bad == (opened is not None):
        return None  # still so
    rules = rules_of(settings, trouble.cause)
    if opened is None:
        row = _row(now, before, rules.confirm)
        if len(row) < rules.confirm:
            return None
        flaps = standing.flaps(trouble.cause, "", trouble.scope, trouble.subject)
        first = next((turn.seq for turn in reversed(row) if turn.seq is not None), None)
        began = (row[-1].at, None, first)
        place = ("", trouble.scope, trouble.subject)
        return standing.change(Drift(trouble.cause, Event.TRIGGER, *place, trouble.bad, *began, flaps=flaps))
    data = opened.data
    flapped = data.get("flaps", False)
    need = max(rules.steady, FLAP_STEADY) if flapped else rules.steady
    row = _row(now, before, need)
    if len(row) < need:
        return None
    about = ("", trouble.scope, trouble.subject, trouble.good, canonical.moment(data["since"]))
    return standing.change(Drift(trouble.cause, Event.RESOLVE, *about, row[-1].seq, data["first_bad"], flaps=flapped))


def _row(now: Turn, before: Iterable[Turn], need: int) -> list[Turn]:
    """``now`` and those in a row before it that are like it, newest first; at most ``need``."""
    row = [now]
    if need == 1:
        return row
    for turn in before:
        if turn.bad is not now.bad:
            break
        row.append(turn)
        if len(row) == need:
            break
    return row
