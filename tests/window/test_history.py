"""What entries say of a window: its status, what was changed and when, and whether that was late."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collector import canonical
from collector.window import history
from collector.window.history import Definition, Event, Recorded, Status

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
YEAR = Definition(START, START + 365 * DAY, "UTC", ("CC6.1",))


def entry(
    seq: int,
    day: float,
    event: Event = Event.OPEN,
    definition: Definition = YEAR,
    by: str = "",
    window: str = "w",
) -> dict[str, Any]:
    return {
        "seq": seq,
        "kind": "window",
        "at": canonical.stamp(START + day * DAY),
        "window": window,
        "event": event.value,
        **definition.fields(),
        "by": by,
        "via": "cli" if by else "configuration",
        "reason": "",
        "previous": None,
    }


def told(*entries: dict[str, Any]) -> list[Recorded]:
    return history.histories(entries)["w"]


def test_a_body_is_read_as_it_was_written() -> None:
    full = Definition(START, START + DAY, "Europe/Berlin", ("CC6.1", "CC7.1"), ("aws/1",), 86_400, True)
    one = history.recorded(canonical.parse(canonical.record(entry(7, 0, definition=full))))
    assert one.definition == full
    assert (one.seq, one.at, one.event) == (7, START, Event.OPEN)


def test_windows_are_told_apart() -> None:
    found = history.histories([entry(1, 0), entry(2, 0, window="v"), entry(3, 1, Event.GONE)])
    assert {name: [one.seq for one in known] for name, known in found.items()} == {"w": [1, 3], "v": [2]}


@pytest.mark.parametrize(
    ("day", "status"), [(-1, Status.TO_COME), (0, Status.RUNNING), (364.9, Status.RUNNING), (365, Status.OVER)]
)
def test_the_status_is_a_matter_of_the_half_open_stretch(day: float, status: Status) -> None:
    assert history.status(YEAR, told(entry(1, -9)), START + day * DAY) is status
    assert history.status(YEAR, [], START + day * DAY) is status


def test_what_a_person_closed_only_a_person_opens_again() -> None:
    ended = [entry(1, 0), entry(2, 9, Event.CLOSE, by="ann")]
    later = replace(YEAR, until=START + 20 * DAY)
    configured = [entry(3, 10, Event.GONE), entry(4, 11), entry(5, 12, Event.CHANGE, later)]
    assert history.status(YEAR, told(*ended), START + 10 * DAY) is Status.CLOSED
    assert history.status(YEAR, told(*ended, *configured), START + 15 * DAY) is Status.CLOSED
    again = history.closed(told(*ended, *configured, entry(6, 13, Event.OPEN, by="ben")))
    assert again is None


def test_what_was_changed_is_named_with_both_values() -> None:
    other = replace(YEAR, until=START + 180 * DAY, scopes=("aws/1", "aws/2"), frequency_s=3600, hold=True)
    assert history.differences(YEAR, other) == [
        ("end", "2027-01-01T00:00:00.000000Z", "2026-06-30T00:00:00.000000Z"),
        ("scopes", "all", "aws/1, aws/2"),
        ("frequency", "none", "3600 s"),
        ("hold", "no", "yes"),
    ]
    assert history.differences(YEAR, YEAR) == []


def test_a_change_is_late_when_the_window_had_begun_by_either_definition() -> None:
    moved = replace(YEAR, until=START + 90 * DAY)
    begins_later = replace(YEAR, since=START + 30 * DAY)
    backwards = replace(YEAR, since=START - 30 * DAY)

    def late(*entries: dict[str, Any]) -> list[int]:
        return [after.seq for _, after in history.moved_late(told(*entries))]

    assert late(entry(1, -9), entry(2, -1, Event.CHANGE, moved)) == []
    assert late(entry(1, -9), entry(2, 0, Event.CHANGE, moved)) == [2]
    assert late(entry(1, -9), entry(2, 1, Event.CHANGE, begins_later)) == [2], "it had begun by the old definition"
    assert late(entry(1, -9), entry(2, -1, Event.CHANGE, backwards)) == [2], "it had begun by the new one"
    gone_between = (entry(1, -9), entry(2, 5, Event.GONE), entry(3, 6, Event.OPEN, moved))
    assert late(*gone_between) == [3], "to drop it and name it again hides nothing"
    assert late(entry(1, -9), entry(2, 5, Event.CLOSE, by="ann")) == []
