"""Quiet hours and the daily hour by the clock on the wall, also when clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.window.quiet import is_quiet, last_struck, quiet_until

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")
CLOCKS = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda t: f"{t[0]:02}:{t[1]:02}")
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def shown(zone: str, moment: datetime) -> str:
    return moment.astimezone(ZoneInfo(zone)).strftime("%H:%M")


@pytest.mark.parametrize(
    ("hours", "zone", "moment", "until"),
    [
        ("22:00-07:00", "UTC", "2026-03-01T21:59:59Z", None),
        ("22:00-07:00", "UTC", "2026-03-01T22:00:00Z", "2026-03-02T07:00:00Z"),
        ("22:00-07:00", "UTC", "2026-03-02T06:59:59Z", "2026-03-02T07:00:00Z"),
        ("22:00-07:00", "UTC", "2026-03-02T07:00:00Z", None),
        ("12:00-13:00", "UTC", "2026-03-02T12:30:17Z", "2026-03-02T13:00:00Z"),
        ("22:00-07:00", "Europe/Berlin", "2026-03-28T21:30:00Z", "2026-03-29T05:00:00Z"),  # a night of 8 hours
        ("22:00-07:00", "Europe/Berlin", "2026-10-24T20:30:00Z", "2026-10-25T06:00:00Z"),  # and one of 10
        ("22:00-02:30", "Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),  # 02:30 is skipped
        ("22:00-02:30", "Europe/Berlin", "2026-10-25T00:15:00Z", "2026-10-25T00:30:00Z"),  # 02:30 the first time
        ("22:00-02:30", "Europe/Berlin", "2026-10-25T01:15:00Z", "2026-10-25T01:30:00Z"),  # and the second
        ("02:30-03:30", "Europe/Berlin", "2026-10-25T00:40:00Z", "2026-10-25T01:00:00Z"),  # the clock jumps out of it
        ("", "UTC", "2026-03-02T03:00:00Z", None),
    ],
)
def test_quiet_ends_when_the_wall_clock_says_so(hours: str, zone: str, moment: str, until: str | None) -> None:
    assert quiet_until(hours, zone, at(moment)) == (None if until is None else at(until))


@settings(max_examples=150, deadline=None)
@given(CLOCKS, CLOCKS, st.sampled_from(ZONES), MOMENTS)
def test_it_is_quiet_to_the_end_and_no_longer(since: str, until: str, zone: str, moment: datetime) -> None:
    """The wall clock as text, compared as text, minute by minute: none of the arithmetic of the program."""
    if since == until:
        return

    def quiet(when: datetime) -> bool:
        now = shown(zone, when)
        return since <= now < until if since < until else not until <= now < since

    end = quiet_until(f"{since}-{until}", zone, moment)
    assert quiet(moment) == is_quiet(f"{since}-{until}", zone, moment) == (end is not None)
    if end is not None:
        assert not quiet(end)
        minute = moment.replace(second=0, microsecond=0)
        while minute < end:
            assert quiet(minute)
            minute += timedelta(minutes=1)
        assert minute == end


@pytest.mark.parametrize(
    ("clock", "zone", "moment", "struck"),
    [
        ("08:00", "UTC", "2026-03-01T08:00:00Z", "2026-03-01T08:00:00Z"),
        ("08:00", "UTC", "2026-03-01T07:59:59Z", "2026-02-28T08:00:00Z"),
        ("08:00", "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-29T06:00:00Z"),
        ("08:00", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-28T07:00:00Z"),
        ("02:30", "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-29T01:00:00Z"),  # skipped: when the clock jumps
        ("02:30", "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-25T00:30:00Z"),  # twice: the first time
        ("02:30", "Europe/Berlin", "2026-10-25T00:45:00Z", "2026-10-25T00:30:00Z"),
        ("08:00", "Pacific/Apia", "2026-03-01T18:30:00Z", "2026-02-28T19:00:00Z"),
    ],
)
def test_the_hour_strikes_once_a_day(clock: str, zone: str, moment: str, struck: str) -> None:
    assert last_struck(clock, zone, at(moment)) == at(struck)


@settings(max_examples=100, deadline=None)
@given(CLOCKS, st.sampled_from(ZONES), MOMENTS)
def test_the_newest_stroke_is_within_a_day_and_every_day_has_one(clock: str, zone: str, moment: datetime) -> None:
    struck = last_struck(clock, zone, moment)
    assert timedelta(0) <= moment - struck <= timedelta(hours=25)
    before = last_struck(clock, zone, struck - timedelta(seconds=1))
    assert timedelta(hours=23) - timedelta(minutes=60) <= struck - before <= timedelta(hours=26)
    day = struck.astimezone(ZoneInfo(zone)).date()
    assert (day - before.astimezone(ZoneInfo(zone)).date()).days == 1
