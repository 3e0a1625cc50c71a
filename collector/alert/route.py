"""Who is told of a drift and when, and what the ledger says of it. Pure: no channel, no clock and no store in here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from collector import canonical
from collector.check import AnyCheck, section_of, title_of
from collector.config import Settings
from collector.config_routes import Match, Route
from collector.controls import Control, Controls, Severity
from collector.errors import ConfigError
from collector.registry import Registry
from collector.tomlfile import nearest
from collector.window.drift import Cause, Drift, Event
from collector.window.quiet import quiet_until

REASON_CHARACTERS_MAX = 2_000  # an entry has to stay under 64 KiB whatever a check says
SUBJECTS_MAX = 50  # of a group are named in its entry
SUBJECTS_BYTES_MAX = 20_000


def dedup_key(cause: str, check: str, scope: str, subject: str) -> str:
    """What stays the same from a trigger over all its retries to its resolve: 32 hexadecimal digits."""
    return hashlib.sha256(f"{cause}|{check}|{scope}|{subject}".encode()).hexdigest()[:32]


def key_of(drift: Drift) -> str:
    """The key of the alert that a drift begins or ends. A group's is made of the run that began it."""
    return dedup_key(drift.cause, drift.check, drift.scope, drift.subject if drift.group is None else f"*{drift.group}")


def alert_fields(
    drift: Drift,
    controls: Controls,
    settings: Settings,
    registry: Registry,
    opened: Mapping[str, Any] | None = None,
    *,
    seq: int | None = None,
    now: datetime | None = None,
    facts: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The fields of the ``alert`` entry for a drift.

    ``opened`` is the body of the alert that a resolve resolves: whoever was told that it began is told that it is
    over, also when the routes have changed since. A check of several controls makes one alert that names them all.
    ``seq`` is the number that the entry will have, for its link; ``now`` when it is written, for quiet hours; ``facts``
    what changed.
    """
    known = registry.get(drift.check)
    check = known.check if known else None
    bound = controls.controls_of(drift.check)
    family = "" if check is None else check.family.value
    begins = drift.event is Event.TRIGGER or opened is None
    taken = _taken(drift.cause, drift.scope, bound, family, settings)
    if drift.event is Event.UPDATE:
        channels = []
    elif begins or opened is None:
        channels = list(dict.fromkeys(channel for names, _ in taken for channel in names))
    else:
        channels = list(dict.fromkeys((*opened["channels"], *opened.get("escalated", ()))))
    severity = severity_of(bound)
    key = key_of(drift)
    whose = {
        "control": ", ".join(control.id for control in bound),
        "owner": ", ".join(dict.fromkeys(control.owner for control in bound)),
    }
    title = _title(drift, check)
    if drift.unobserved and opened is not None:  # the controls may bind the check no longer; whose it was, stays
        severity, family = opened["severity"], opened["family"]
        whose, title = {name: opened[name] for name in whose}, opened["title"]
    found: dict[str, Any] = {
        "key": key,
        "event": drift.event.value,
        "cause": drift.cause.value,
        "severity": severity,
        "check": drift.check,
        "scope": drift.scope,
        "subject": drift.subject,
        **whose,
        "family": family,
        "title": title,
        "reason": _clipped(drift.reason),
        "remedy": _remedy(drift, check),
        "since": canonical.stamp(drift.since),
        "last_good": drift.last_good,
        "first_bad": drift.first_bad,
        "channels": channels,
    }
    if now is not None and (held := _held(channels, taken, severity, now)):
        found["quiet"] = {channel: canonical.stamp(until) for channel, until in held.items()}
    if facts:
        found["facts"] = list(facts)
    if drift.flaps:
        found["flaps"] = True
    if drift.unobserved:
        found["unobserved"] = True
    if drift.group is not None:
        found |= {"group": drift.group, "count": len(drift.subjects), "left": drift.left}
        found["subjects"] = _some(drift.subjects)
    if opened is not None and not begins:
        if opened.get("link"):
            found["link"] = opened["link"]
    elif settings.alerts.link and seq is not None:
        found["link"] = settings.alerts.link.replace("{alert}", str(seq)).replace("{key}", key)
    return found


def severity_of(bound: Iterable[Control]) -> str:
    """The worst severity of some controls; what concerns no control is high."""
    order = list(Severity)
    return min((control.severity for control in bound), key=order.index, default=Severity.HIGH).value


def escalation(
    alert: Mapping[str, Any], controls: Controls, settings: Settings
) -> tuple[timedelta, tuple[str, ...]] | None:
    """After how long an alert that nobody took note of is told to others, and to which channels; None when it is not.

    Of several routes that took it, the most impatient one says after how long; all that are that impatient, to whom.
    """
    bound = controls.controls_of(alert["check"])
    taken = _taken(Cause(alert["cause"]), alert["scope"], bound, alert["family"], settings)
    routes = [route for _, route in taken if route is not None and route.escalate_after is not None]
    if not routes:
        return None
    first = min(route.escalate_after for route in routes if route.escalate_after is not None)
    names = [channel for route in routes if route.escalate_after == first for channel in route.escalate_to]
    return timedelta(seconds=first), tuple(dict.fromkeys(names))


def held(
    alert: Mapping[str, Any], channels: Iterable[str], controls: Controls, settings: Settings, now: datetime
) -> dict[str, str]:
    """Until when quiet hours hold back an alert that is written at ``now``, by channel; channels that are told at once
    are not in it."""
    bound = controls.controls_of(alert["check"])
    taken = _taken(Cause(alert["cause"]), alert["scope"], bound, alert["family"], settings)
    found = _held(channels, taken, alert["severity"], now)
    return {channel: canonical.stamp(until) for channel, until in found.items()}


def refuse_unknown(controls: Controls, settings: Settings, registry: Registry) -> None:
    """Raises ConfigError for a route or a control that names what is not there: it would never reach anybody."""
    channels = settings.alerts.names()
    for control in controls:
        for channel in control.channels or ():
            if channel not in channels:
                raise ConfigError(
                    f"[controls.{control.id}] names the channel {channel!r}; {nearest(channel, channels)}"
                )
    ids = [control.id for control in controls]
    owners = {control.owner for control in controls}
    families = {item.check.family.value for item in registry}
    for number, route in enumerate(settings.route, 1):
        match = route.match
        for key, value, known in (
            ("control", match.control, ids),
            ("owner", match.owner, owners),
            ("family", match.family, families),
        ):
            if value is not None and value not in known:
                raise ConfigError(f"[[route]] number {number} matches no {key} {value!r}; {nearest(value, known)}")


_Taken = list[tuple[tuple[str, ...], Route | None]]


def _taken(cause: Cause, scope: str, bound: tuple[Control, ...], family: str, settings: Settings) -> _Taken:
    """The channels of each control, or of what concerns none, with the route that named them."""
    found: _Taken = []
    for control in bound or (None,):
        if control is not None and control.channels is not None:
            found.append((control.channels, None))
            continue
        route = next((route for route in settings.route if _matches(route.match, cause, scope, control, family)), None)
        found.append((settings.alerts.names() if route is None else route.channels, route))
    return found


def _matches(match: Match, cause: Cause, scope: str, control: Control | None, family: str) -> bool:
    return (
        (match.family is None or match.family == family)
        and (match.owner is None or (control is not None and match.owner == control.owner))
        and (match.control is None or (control is not None and match.control == control.id))
        and (match.scope is None or f"{scope}/".startswith(f"{match.scope}/"))
        and (match.cause is None or match.cause == cause.value)
        and (match.severity is None or match.severity == severity_of(() if control is None else (control,)))
    )


def _held(channels: Iterable[str], taken: _Taken, severity: str, now: datetime) -> dict[str, datetime]:
    """Until when each channel waits. One that any route tells at once is told at once, and one that no route of today
    names is too."""
    found: dict[str, datetime] = {}
    for channel in channels:
        waits = [
            quiet_until(route.quiet, route.zone, now)
            if route is not None and severity in route.quiet_severities
            else None
            for names, route in taken
            if channel in names or (route is not None and channel in route.escalate_to)
        ]
        ends = [end for end in waits if end is not None]
        if waits and len(ends) == len(waits):
            found[channel] = min(ends)
    return found


def _clipped(reason: str) -> str:
    return reason if len(reason) <= REASON_CHARACTERS_MAX else reason[: REASON_CHARACTERS_MAX - 1] + "…"


def _some(subjects: Sequence[str]) -> list[str]:
    """The first of the names, as many as fit into an entry beside everything else; the blob has them all."""
    found: list[str] = []
    room = SUBJECTS_BYTES_MAX
    for name in subjects[:SUBJECTS_MAX]:
        room -= len(name.encode()) + 8
        if room < 0:
            break
        found.append(name)
    return found


def _title(drift: Drift, check: AnyCheck | None) -> str:
    if check is not None:
        return title_of(check)
    if drift.cause is Cause.LATE:
        return "Every planned observation of the account begins in time."
    if drift.cause is Cause.ANCHOR:
        return "Checkpoints of the ledger are held outside."
    return drift.check or "Every planned observation of the account takes place."


def _remedy(drift: Drift, check: AnyCheck | None) -> str:
    """What to do about the cause: a subject that cannot be seen is not mended by what mends a failed one."""
    if drift.cause is Cause.ANCHOR:
        return f"see that {drift.subject} can be reached and accepts us; `collector anchor test` asks it at once."
    if drift.cause is Cause.LATE:
        return "observe less often (cadence in the control file), or divide the accounts among several collectors."
    if drift.cause is Cause.LAPSED:
        return "mend the deviation, or decide anew with `collector accept`."
    if drift.cause is Cause.MISSED:
        return "see that the collector runs, is ready (/readyz) and reaches its database; its log names the trouble."
    if drift.cause is Cause.BLIND:
        asks = f" It needs {', '.join(check.permissions)}." if check is not None else ""
        return f"run `collector preflight`: it names the permission, service or credential that is missing.{asks}"
    return "" if check is None else section_of(check, "Remedy")
