"""Hours of the day in a time zone, by the clock on the wall: when quiet is over, when the daily hour last struck. Pure.

On the days on which clocks are changed the wall clock decides: an hour that is skipped is not waited for, and one that
is there twice is quiet twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
MINUTES_MAX = 2 * 24 * 60  # no quiet time is longer than a day and what the clocks are changed by


def is_quiet(hours: str, zone: str, moment: datetime) -> bool:
    """Whether the wall clock of ``zone`` shows a time within ``hours``, "22:00-07:00": from the first, to before the
    second. "" is never."""
    if not hours:
        return False
    since, until = (time.fromisoformat(part) for part in hours.split("-"))
    shown = moment.astimezone(ZoneInfo(zone)).time()
    return since <= shown < until if since < until else shown >= since or shown < until


def quiet_until(hours: str, zone: str, moment: datetime) -> datetime | None:
    """The first whole minute after ``moment`` that is no longer quiet, in UTC; None when ``moment`` is not quiet."""
    if not is_quiet(hours, zone, moment):
        return None
    at = moment.astimezone(UTC).replace(second=0, microsecond=0)
    for _ in range(MINUTES_MAX):  # clocks are changed at whole minutes; a day of them is a millisecond
        at += MINUTE
        if not is_quiet(hours, zone, at):
            return at
    raise ValueError(f"{hours} in {zone} is never over")


def last_struck(at: str, zone: str, moment: datetime) -> datetime:
    """The newest moment, not after ``moment``, at which the wall clock of ``zone`` came to ``at``, in UTC.

    Once a day, whatever the clocks do: a time that is skipped strikes when the clock has jumped over it, one that is
    there twice strikes the first time.
    """
    place = ZoneInfo(zone)
    local = moment.astimezone(place)
    for back in range(-1, 3):  # where midnight is there twice, tomorrow may have begun, and is then yet to come again
        day = local.date() - timedelta(days=back)
        struck = datetime.combine(day, time.fromisoformat(at), place).astimezone(UTC)
        shown = struck.astimezone(place)
        if shown.strftime("%H:%M") != at:  # skipped: go back to where the clock jumped
            while (struck - MINUTE).astimezone(place).utcoffset() == shown.utcoffset():
                struck -= MINUTE
        if struck <= moment:
            return struck
    raise ValueError(f"{at} never strikes in {zone}")
