"""How exports say times, durations and counts, so that a table and the report say them alike. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from collector import canonical
from collector.export.dossier import AlertLine, Life
from collector.window.findings import Deviation


def duration(span: timedelta) -> str:
    """Days, hours and minutes as "2 d 3 h 15 min", rounded down; below an hour with seconds. Zero is "0 s"."""
    seconds = int(span.total_seconds())
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (0 if seconds >= 3600 else rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def number(count: int) -> str:
    """A count as people read it: 227,760."""
    return f"{count:,}"


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 exception", "2,000 exceptions"."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def short(name: str, length: int) -> str:
    """A long name with its middle left out, both ends kept: they tell one subject from the next."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def ended(deviation: Deviation, life: Life, minute: Callable[[datetime], str], still: str) -> str:
    """When a deviation was seen mended, or why there is no such time; ``still`` is said of one that stands open."""
    if deviation.until is not None:
        return minute(deviation.until)
    return still if life.unobserved is None else f"no longer observed since {minute(life.unobserved)}, not seen mended"


def delivered(alert: AlertLine) -> list[tuple[str, datetime]]:
    """The channels that took an alert, each with the first time that it did."""
    first: dict[str, datetime] = {}
    for channel, outcome, at in alert.deliveries:
        if outcome == "delivered":
            first[channel] = min(at, first.get(channel, at))
    return sorted(first.items(), key=lambda item: (item[1], item[0]))


@dataclass(frozen=True)
class Clock:
    """Moments in a window's zone. The zone's abbreviation is added where the window knows more than one offset."""

    zone: ZoneInfo
    since: datetime
    until: datetime

    @cached_property
    def shifts(self) -> bool:
        """Whether clocks are changed inside the window, so that an hour may be there twice."""
        begin, end = (moment.astimezone(self.zone) for moment in (self.since, self.until))
        days = (end.date() - begin.date()).days
        offsets = {(begin + timedelta(days=day)).utcoffset() for day in range(days + 1)}
        return len(offsets | {end.utcoffset()}) > 1

    def minute(self, moment: datetime) -> str:
        """2026-03-29 03:00, rounded down; with " CEST" where the window has both."""
        local = moment.astimezone(self.zone)
        return f"{local:%Y-%m-%d %H:%M}" + (f" {local:%Z}" if self.shifts else "")

    def full(self, moment: datetime) -> str:
        """2026-03-29 03:00 CEST (UTC+02:00)."""
        local = moment.astimezone(self.zone)
        offset = local.isoformat()[-6:]
        name = local.tzname() or ""
        return f"{local:%Y-%m-%d %H:%M} " + (f"{name} (UTC{offset})" if offset != "+00:00" else "UTC")

    def rfc3339(self, moment: datetime) -> str:
        """The moment with the zone's offset: 2026-03-29T03:00:00.000000+02:00."""
        return moment.astimezone(self.zone).isoformat(timespec="microseconds")


def utc(moment: datetime) -> str:
    """RFC 3339 in UTC, as the ledger writes it."""
    return canonical.stamp(moment)


ENDS = ("update", "resolve")  # events that say of some or all subjects of an alert that it is over


@dataclass
class _Stood:
    """One alert about one subject, from its trigger to what ended it for that subject."""

    alert: AlertLine
    ended: datetime | None = None


class AlertBook:
    """Which alerts stood for a deviation: a group stands for each subject that it names, until it is over for it."""

    def __init__(self, alerts: Sequence[AlertLine]) -> None:
        self._stood: dict[tuple[str, str, str], list[_Stood]] = {}
        opened: dict[str, dict[str, _Stood]] = {}  # by key, then by subject
        for alert in alerts:
            if alert.cause != "failed":
                continue
            names = alert.subjects or (alert.subject,)
            if alert.event == "trigger":
                opened[alert.key] = {name: _Stood(alert) for name in names}
                for name, stood in opened[alert.key].items():
                    self._stood.setdefault((alert.check, alert.scope, name), []).append(stood)
            elif alert.event in ENDS:
                for name in names:
                    if (over := opened.get(alert.key, {}).pop(name, None)) is not None:
                        over.ended = alert.at

    def of(self, deviation: Deviation, first_seen: datetime | None = None) -> list[AlertLine]:
        """The alerts that stood for its subject while it lasted, in the order of the ledger.

        ``first_seen`` is when it began where that was before the window. An alert that asks for several good runs may
        stand for more than one deviation.
        """
        known = self._stood.get((deviation.check, deviation.scope, deviation.subject), [])
        begun = first_seen or deviation.since
        return [
            stood.alert
            for stood in known
            if (stood.ended is None or stood.ended > begun)
            and (deviation.until is None or stood.alert.at < deviation.until)
        ]
