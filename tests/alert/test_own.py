"""What the collector tells of its own work: late runs, lost slots, places outside; confirmed, damped when it flaps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector import config
from collector.anchor.base import Anchored
from collector.anchoring import Anchoring
from collector.errors import ConfigError, Unavailable
from collector.ledger.entry import Kind
from tests.test_operation import CONFIG, HOUR, Bench

Make = Callable[[str], Bench]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    made: list[Bench] = []

    def bench(more: str = "") -> Bench:
        found = Bench(tmp_path)
        made.append(found)
        if more:
            configure(found, more)
        found.hour()
        return found

    yield bench
    for one in made:
        one.ledger.close()


def configure(bench: Bench, more: str) -> None:
    folder = bench.settings.collector.controls.parent
    (folder / "collector.toml").write_text(CONFIG.replace("[alerts.webhook", f"{more}\n[alerts.webhook"))
    bench.settings = config.load(folder / "collector.toml", {})
    bench.restart()


def told(bench: Bench, cause: str) -> list[dict[str, Any]]:
    return [alert for alert in bench.kinds(Kind.ALERT) if alert["cause"] == cause]


def lines(bench: Bench, cause: str) -> list[tuple[str, bool]]:
    return [(alert["event"], alert.get("flaps", False)) for alert in told(bench, cause)]


def hour(bench: Bench, late: int = 0) -> None:
    """The next hour's slot, answered so many minutes after it was due."""
    bench.now = bench.now.replace(minute=late) + HOUR
    bench.operation.plan(bench.account)
    bench.operation.answer_due(bench.account)


# --- late ---


def test_one_late_run_in_a_busy_hour_is_no_alert_and_two_in_a_row_are(make: Make) -> None:
    bench = make("")
    hour(bench, late=40)
    hour(bench)
    hour(bench, late=40)
    assert lines(bench, "late") == []
    bench.restart()  # what came before is in the ledger, and in no memory
    hour(bench, late=45)
    (alert,) = told(bench, "late")
    assert alert["since"] == "2026-01-01T04:00:00.000000Z"  # the first of the two
    assert bench.ledger.entry(alert["first_bad"]).data["slot"] == alert["since"]
    hour(bench, late=30)
    hour(bench)
    assert lines(bench, "late") == [("trigger", False), ("resolve", False)]
    assert bench.ledger.entry(told(bench, "late")[1]["last_good"]).data["slot"] == "2026-01-01T07:00:00.000000Z"


def test_how_many_late_runs_it_takes_is_configured(make: Make) -> None:
    bench = make("[alerts.confirm]\nlate = 1\n[alerts.steady]\nlate = 2")
    hour(bench, late=40)
    assert lines(bench, "late") == [("trigger", False)]
    hour(bench)
    assert len(told(bench, "late")) == 1
    hour(bench)
    assert [event for event, _ in lines(bench, "late")] == ["trigger", "resolve"]


def test_late_runs_that_come_and_go_flap(make: Make) -> None:
    bench = make("[alerts.confirm]\nlate = 1")
    for _ in range(3):
        hour(bench, late=40)
        hour(bench)
    assert lines(bench, "late") == [("trigger", False), ("resolve", False)] * 2 + [("trigger", True)]
    for _ in range(4):
        hour(bench)
        assert len(told(bench, "late")) == 5
    hour(bench)
    assert lines(bench, "late")[5:] == [("resolve", True)]  # six in a row


# --- missed ---


def lose(bench: Bench, slots: int) -> None:
    """The collector is away for so many slots, and answers the next."""
    bench.now += slots * HOUR
    hour(bench)


def test_a_lost_slot_is_told_at_once_where_nothing_else_is_asked_for(make: Make) -> None:
    bench = make("")
    lose(bench, 1)
    assert lines(bench, "missed") == [("trigger", False), ("resolve", False)]


def test_lost_slots_are_counted_over_several_declarations(make: Make) -> None:
    bench = make("[alerts.confirm]\nmissed = 3")
    lose(bench, 2)
    assert lines(bench, "missed") == []
    assert len(bench.kinds(Kind.GAP)) == 1
    for _ in range(3):  # one after the other, each declared for itself
        bench.now += HOUR
        bench.operation.declare(bench.account, bench.operation.open_slots(bench.account), "the database was away")
    (alert,) = told(bench, "missed")
    first = bench.kinds(Kind.GAP)[1]
    assert alert["since"] == first["since"]
    hour(bench)
    assert [event for event, _ in lines(bench, "missed")] == ["trigger", "resolve"]


def test_an_account_that_loses_a_slot_every_other_hour_flaps(make: Make) -> None:
    bench = make("")
    for _ in range(3):
        lose(bench, 1)
    assert lines(bench, "missed") == [("trigger", False), ("resolve", False)] * 2 + [("trigger", True)]
    for _ in range(4):
        hour(bench)
    assert len(told(bench, "missed")) == 5
    hour(bench)
    assert lines(bench, "missed")[5:] == [("resolve", True)]


# --- places outside ---


class Place:
    id = "tsa/one"

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.fails = False

    def test(self) -> None:
        return None

    def latest(self, ours: Any) -> None:
        return None

    def put(self, note: bytes, head: Any, proof: Any) -> Anchored:
        if self.fails:
            raise Unavailable("tsa/one did not answer in 20 s")
        return Anchored(b"token", "json", None, "there")


def anchoring(bench: Bench, place: Place) -> Anchoring:
    operation = bench.operation
    about = (bench.settings, operation.controls, operation.registry)
    return Anchoring(bench.ledger, {place.id: place}, lambda: bench.now, *about)  # type: ignore[dict-item]


def attempt(bench: Bench, place: Place, fails: bool) -> None:
    place.fails = fails
    bench.hour()
    bench.ledger.checkpoint(bench.now)
    anchoring(bench, place).put_newest()  # each time as after a restart


def test_the_first_failed_anchor_is_an_entry_and_an_alert_at_once(make: Make) -> None:
    bench = make("")
    attempt(bench, Place(bench), fails=True)
    assert [entry["outcome"] for entry in bench.kinds(Kind.ANCHOR)] == ["failed"]
    assert lines(bench, "anchor") == [("trigger", False)]


def test_a_place_that_comes_and_goes_is_damped(make: Make) -> None:
    bench = make("")
    place = Place(bench)
    for _ in range(3):
        attempt(bench, place, fails=True)
        attempt(bench, place, fails=False)
    assert lines(bench, "anchor") == [("trigger", False), ("resolve", False)] * 2 + [("trigger", True)]
    attempt(bench, place, fails=True)  # one more failure begins the count again
    for _ in range(5):
        attempt(bench, place, fails=False)
    assert len(told(bench, "anchor")) == 5
    attempt(bench, place, fails=False)
    assert lines(bench, "anchor")[5:] == [("resolve", True)]
    assert len([e for e in bench.kinds(Kind.ANCHOR) if e["outcome"] == "failed"]) == 4, "each is an entry"


def test_anchors_that_are_confirmed_are_entries_all_the_same(make: Make) -> None:
    bench = make("[alerts.confirm]\nanchor = 2")
    place = Place(bench)
    attempt(bench, place, fails=True)
    assert (len(bench.kinds(Kind.ANCHOR)), lines(bench, "anchor")) == (1, [])
    attempt(bench, place, fails=True)
    (alert,) = told(bench, "anchor")
    assert alert["first_bad"] == bench.kinds(Kind.ANCHOR)[0]["seq"]


@pytest.mark.parametrize(
    "text", ["[alerts.confirm]\nlate = 0", "[alerts.steady]\nanchor = 25", "[alerts.confirm]\nx = 1"]
)
def test_what_is_asked_for_has_limits(make: Make, text: str) -> None:
    with pytest.raises(ConfigError):
        configure(make(""), text)
