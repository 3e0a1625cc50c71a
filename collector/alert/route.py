"""Who is told of a drift, and what the ledger says of it. Pure: no channel, no clock and no store in here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from collector import canonical
from collector.check import AnyCheck, section_of, title_of
from collector.config import Match, Settings
from collector.controls import Control, Controls
from collector.errors import ConfigError
from collector.registry import Registry
from collector.tomlfile import nearest
from collector.window.drift import Cause, Drift, Event

REASON_CHARACTERS_MAX = 2_000  # an entry has to stay under 64 KiB whatever a check says


def dedup_key(cause: str, check: str, scope: str, subject: str) -> str:
    """What stays the same from a trigger over all its retries to its resolve: 32 hexadecimal digits."""
    return hashlib.sha256(f"{cause}|{check}|{scope}|{subject}".encode()).hexdigest()[:32]


def alert_fields(
    drift: Drift,
    controls: Controls,
    settings: Settings,
    registry: Registry,
    opened: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The fields of the ``alert`` entry for a drift.

    ``opened`` is the body of the alert that a resolve resolves: whoever was told that it began is told that it is
    over, also when the routes have changed since. A check of several controls makes one alert that names them all.
    """
    known = registry.get(drift.check)
    check = known.check if known else None
    bound = controls.controls_of(drift.check)
    if drift.event is Event.RESOLVE and opened is not None:
        channels = list(opened["channels"])
    else:
        channels = _channels(drift, bound, "" if check is None else check.family.value, settings)
    reason = drift.reason
    if len(reason) > REASON_CHARACTERS_MAX:
        reason = reason[: REASON_CHARACTERS_MAX - 1] + "…"
    return {
        "key": dedup_key(drift.cause, drift.check, drift.scope, drift.subject),
        "event": drift.event.value,
        "cause": drift.cause.value,
        "check": drift.check,
        "scope": drift.scope,
        "subject": drift.subject,
        "control": ", ".join(control.id for control in bound),
        "owner": ", ".join(dict.fromkeys(control.owner for control in bound)),
        "family": "" if check is None else check.family.value,
        "title": _title(drift, check),
        "reason": reason,
        "remedy": _remedy(drift, check),
        "since": canonical.stamp(drift.since),
        "last_good": drift.last_good,
        "first_bad": drift.first_bad,
        "channels": channels,
    }


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


def _channels(drift: Drift, bound: tuple[Control, ...], family: str, settings: Settings) -> list[str]:
    told: list[str] = []
    for control in bound or (None,):
        if control is not None and control.channels is not None:
            told += control.channels
        else:
            told += _first_match(drift, control, family, settings)
    return list(dict.fromkeys(told))


def _first_match(drift: Drift, control: Control | None, family: str, settings: Settings) -> tuple[str, ...]:
    for route in settings.route:
        if _matches(route.match, drift, control, family):
            return route.channels
    return settings.alerts.names()


def _matches(match: Match, drift: Drift, control: Control | None, family: str) -> bool:
    return (
        (match.family is None or match.family == family)
        and (match.owner is None or (control is not None and match.owner == control.owner))
        and (match.control is None or (control is not None and match.control == control.id))
        and (match.scope is None or f"{drift.scope}/".startswith(f"{match.scope}/"))
        and (match.cause is None or match.cause == drift.cause.value)
    )


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
