"""What people decide and say, written down: acceptances of deviations and their end, acknowledgements of alerts.

A decision never changes a verdict and never silences what is observed. It stands beside the deviation, with its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from collector import canonical
from collector.alert import leaving, route
from collector.alert.message import clipped
from collector.alert.standing import Standing
from collector.config import Settings
from collector.controls import Controls
from collector.errors import ConfigError
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.store import Batch, Ledger
from collector.model import State
from collector.registry import Registry
from collector.tomlfile import nearest
from collector.window.drift import Cause, Drift, Event

LONGEST = timedelta(days=366)  # a decision for longer is a change of the control
TEXT_CHARACTERS_MAX = 4_000


@dataclass(frozen=True)
class Acceptance:
    """A decision to live with a deviation until ``expires``. ``subject`` "" means every subject of the check there."""

    seq: int
    at: datetime
    control: str
    check: str
    scope: str
    subject: str
    approver: str
    reason: str
    ticket: str
    expires: datetime
    revoked_by: int | None

    def covers(self, check: str, scope: str, subject: str, moment: datetime) -> bool:
        """Whether it holds for a subject at a moment."""
        return (
            self.revoked_by is None
            and (self.check, self.scope) == (check, scope)
            and self.subject in ("", subject)
            and self.at <= moment < self.expires
        )


def acceptances(entries: Iterable[Entry]) -> list[Acceptance]:
    """Every acceptance of some entries in their order, each with the entry that revoked it."""
    return list(_with({}, entries).values())


def _with(found: dict[int, Acceptance], entries: Iterable[Entry]) -> dict[int, Acceptance]:
    """What was decided before, and what some later entries say."""
    for entry in entries:
        if entry.kind is not Kind.ACCEPTANCE:
            continue
        data = entry.data
        if data["revokes"] is not None:
            revoked = found.get(data["revokes"])
            if revoked is not None:
                found[revoked.seq] = Acceptance(**{**vars(revoked), "revoked_by": entry.seq})
            continue
        names = ("control", "check", "scope", "subject", "approver", "reason", "ticket")
        words = {name: data[name] for name in names}
        expires = canonical.moment(data["expires"])
        found[entry.seq] = Acceptance(seq=entry.seq, at=entry.at, expires=expires, revoked_by=None, **words)
    return found


def accept(
    ledger: Ledger,
    controls: Controls,
    now: datetime,
    *,
    check: str,
    scope: str,
    subject: str = "",
    approver: str,
    reason: str,
    expires: datetime,
    ticket: str = "",
) -> Entry:
    """Writes that somebody lives with a deviation that stands now. Raises ConfigError when there is none to live with,
    or the decision is not whole."""
    _whole(approver=approver, reason=reason)
    if not now < expires <= now + LONGEST:
        raise ConfigError(
            f"an acceptance ends after now and within {LONGEST.days} days; for longer, change the control itself"
        )
    bound = controls.controls_of(check)
    if not bound:
        raise ConfigError(f"no control binds the check {check!r}; {nearest(check, controls.enabled)}")
    _refuse_nothing(ledger, check, scope, subject)
    fields = {
        "control": ", ".join(control.id for control in bound),
        "check": check,
        "scope": scope,
        "subject": subject,
        "approver": approver,
        "reason": reason,
        "ticket": ticket,
        "expires": canonical.stamp(expires),
        "revokes": None,
    }
    with ledger.write() as batch:
        return batch.add(Draft(Kind.ACCEPTANCE, now, fields))


def revoke(ledger: Ledger, now: datetime, *, seq: int, approver: str, reason: str) -> Entry:
    """Ends an acceptance before its time, by a new entry. Raises ConfigError when there is none to end."""
    _whole(approver=approver, reason=reason)
    known = {item.seq: item for item in standing(ledger)}.get(seq)
    if known is None:
        raise ConfigError(f"entry {seq} is no acceptance; `collector decisions` lists them")
    if known.revoked_by is not None:
        raise ConfigError(f"acceptance {seq} was already revoked by entry {known.revoked_by}")
    names = ("control", "check", "scope", "subject", "ticket")
    fields = {name: getattr(known, name) for name in names}
    fields |= {"approver": approver, "reason": reason, "expires": canonical.stamp(now), "revokes": seq}
    with ledger.write() as batch:
        return batch.add(Draft(Kind.ACCEPTANCE, now, fields))


def acknowledge(
    ledger: Ledger,
    now: datetime,
    *,
    alert: int,
    person: str,
    note: str = "",
    via: str = "cli",
    settings: Settings | None = None,
) -> Entry:
    """Writes that somebody has taken note of an alert. Raises ConfigError when there is no such alert.

    With ``settings``, whoever else was told of an alert that stands open is told this too, where several people read
    along or a pager waits: nobody is to look into what somebody looks into.
    """
    _whole(person=person)
    if len(note) > TEXT_CHARACTERS_MAX:
        raise ConfigError(f"the note has more than {TEXT_CHARACTERS_MAX} characters; put what is long into the ticket")
    found = ledger.entry(alert) if 0 <= alert < ledger.size() else None
    if found is None or found.kind is not Kind.ALERT or found.data["event"] != Event.TRIGGER.value:
        raise ConfigError(f"entry {alert} is no alert that began; `collector status` names those that stand open")
    fields = {"alert": alert, "key": found.data["key"], "person": person, "note": note, "via": via}
    with ledger.write() as batch:
        entry = batch.add(Draft(Kind.ACK, now, fields))
        opened = batch.projection.open_alerts().get(found.data["key"])
        if settings is not None and opened is not None and opened.seq == alert:
            further = batch.projection.told_of(found.data["key"], "escalate")
            told = dict.fromkeys(name for known in (opened, *further) for name in known.data["channels"])
            if names := [name for name in told if name != via and name in _shared(settings)]:
                words = f"{person} has taken note" + (f": {note}" if note else "")
                about = {name: value for name, value in opened.data.items() if name not in _OF_ONE_ENTRY}
                about |= {"event": "acknowledge", "reason": clipped(words, TEXT_CHARACTERS_MAX), "channels": names}
                batch.add(Draft(Kind.ALERT, now, about))
        return entry


_OF_ONE_ENTRY = ("seq", "kind", "at", "quiet", "facts", "subjects", "list")


def _shared(settings: Settings) -> set[str]:
    """The channels that several people read, or that page until somebody takes note."""
    alerts = settings.alerts
    return {*alerts.pagerduty, *alerts.slack, *alerts.teams, *alerts.webhook}


# What was read of each ledger: of so many entries, these. What an entry says never changes, so the rest is enough.
_read: WeakKeyDictionary[Ledger, tuple[int, dict[int, Acceptance]]] = WeakKeyDictionary()


def standing(ledger: Ledger) -> list[Acceptance]:
    """Every acceptance of a ledger. Reads what is new since it was asked before."""
    since, before = _read.get(ledger, (0, {}))
    size = ledger.size()
    known = _with(dict(before), ledger.entries(since, size, kinds=[Kind.ACCEPTANCE]))
    _read[ledger] = size, known
    return list(known.values())


def review(ledger: Ledger, now: datetime, controls: Controls, settings: Settings, registry: Registry) -> int:
    """Alerts each deviation whose acceptance is over, and resolves that when it is mended or decided anew.

    What no plan asks for any more is neither: nobody looks there, and ``alert/leaving.py`` closes what stands open.

    Returns how many alerts were written. Reads no more than the acceptances and the states of what they cover.
    """
    known = standing(ledger)
    if not known:
        return 0
    written = 0
    with ledger.write() as batch:
        alerts = Standing(batch, controls, settings, registry, lambda: now)
        opened = alerts.of_cause(Cause.LAPSED)
        over: dict[str, Drift] = {}
        by_place: dict[tuple[str, str], list[Acceptance]] = {}
        for item in known:
            by_place.setdefault((item.check, item.scope), []).append(item)
        asks = leaving.asking(batch.projection)
        for place, items in by_place.items():
            if asks(*place):
                over.update(_lapses(batch, place, items, now))
        for key, drift in over.items():
            if key not in opened:
                alerts.change(drift)
                written += 1
        for key, entry in opened.items():
            if key not in over and asks(entry.data["check"], entry.data["scope"]):
                alerts.change(_over(entry))
                written += 1
    return written


def _lapses(batch: Batch, place: tuple[str, str], items: Sequence[Acceptance], now: datetime) -> dict[str, Drift]:
    """What is failing at a place, was accepted there, and is no longer: by the key of its alert."""
    ended = [item for item in items if item.expires <= now or item.revoked_by is not None]
    if not ended:
        return {}
    failing = batch.projection.failing(*place)
    over: dict[str, Drift] = {}
    for item in ended:
        for subject in (item.subject,) if item.subject else tuple(failing):
            if subject in failing and not any(other.covers(*place, subject, now) for other in items):
                drift = _lapsed(item, subject, failing[subject])
                over[route.key_of(drift)] = drift
    return over


def _lapsed(item: Acceptance, subject: str, since: datetime) -> Drift:
    ended = item.expires if item.revoked_by is None else "it was revoked"
    when = canonical.stamp(ended) if isinstance(ended, datetime) else ended
    reason = f"was accepted by {item.approver} (entry {item.seq}) until {when}, and is still not satisfied"
    return Drift(Cause.LAPSED, Event.TRIGGER, item.check, item.scope, subject, reason, since, None, item.seq)


def _over(entry: Entry) -> Drift:
    data: Mapping[str, Any] = entry.data
    since, reason = canonical.moment(data["since"]), "is mended, gone, or was accepted anew"
    place = (data["check"], data["scope"], data["subject"])
    return Drift(Cause.LAPSED, Event.RESOLVE, *place, reason, since, None, data["first_bad"])


def _refuse_nothing(ledger: Ledger, check: str, scope: str, subject: str) -> None:
    states = ledger.projection.open_states(check, scope)
    if not states:
        scopes = {row.scope for row in ledger.projection.status() if row.check == check}
        raise ConfigError(f"{check} never saw a subject over {scope!r}; {nearest(scope, scopes)}")
    if subject and subject not in states:
        raise ConfigError(f"{check} knows no subject {subject!r} over {scope}; {nearest(subject, states)}")
    wanted = [subject] if subject else list(states)
    if not any(states[name].state is State.NOT_SATISFIED for name in wanted):
        raise ConfigError(f"{subject or f'every subject of {check}'} over {scope} is satisfied or undetermined: "
                          "there is no deviation to accept")  # fmt: skip


def _whole(**words: str) -> None:
    for name, text in words.items():
        if not text.strip() or len(text) > TEXT_CHARACTERS_MAX:
            raise ConfigError(f"--{name} must say something, in at most {TEXT_CHARACTERS_MAX} characters")
