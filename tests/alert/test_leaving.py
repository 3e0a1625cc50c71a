"""What left the configuration, or the cloud's list, is closed and not called mended; what cannot be reached stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import config, decisions
from collector.alert import message
from collector.alert.leaving import asking, close_places
from collector.alert.reminding import summed_up
from collector.feed.event import Event as Change
from collector.feeding import Feeding
from collector.ledger.entry import Kind
from collector.window.drift import Cause, Drift, Event
from tests.test_operation import ACCOUNT, CONFIG, CONTROLS, HOUR, Bench

OTHER = CONFIG.replace(ACCOUNT, "999999999999")
NOW_BOUND = CONTROLS.replace("aws-test-door", "aws-test-window")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    found.hour()
    yield found
    found.ledger.close()


def told(bench: Bench) -> list[dict[str, Any]]:
    return bench.kinds(Kind.ALERT)


def lines(bench: Bench) -> list[tuple[str, str, bool]]:
    return [(a["cause"], a["event"], a.get("unobserved", False)) for a in told(bench)]


def configure(bench: Bench, text: str = CONFIG, controls: str = CONTROLS) -> None:
    folder = bench.settings.collector.controls.parent
    (folder / "collector.toml").write_text(text)
    (folder / "controls.toml").write_text(controls)
    bench.settings = config.load(folder / "collector.toml", {})
    bench.now += timedelta(minutes=1)
    bench.restart()


def fall(bench: Bench, doors: int = 1) -> None:
    bench.cloud.doors = {f"vol-{number}": "in-use" for number in range(doors)}
    bench.hour()
    bench.cloud.doors = {f"vol-{number}": "available" for number in range(doors)}
    bench.hour()


def test_an_account_that_left_the_configuration_is_closed_with_its_own_words(bench: Bench) -> None:
    fall(bench)
    began = told(bench)[-1]
    configure(bench, OTHER)
    assert lines(bench) == [("failed", "trigger", False), ("failed", "resolve", True)]
    over = told(bench)[-1]
    assert over["reason"] == f"no longer observed: account aws/{ACCOUNT} left the configuration on 2026-01-01 03:01 UTC"
    same = ("key", "channels", "since", "first_bad", "last_good", "control", "owner", "severity", "subject")
    assert {name: over[name] for name in same} == {name: began[name] for name in same}
    assert not bench.ledger.projection.open_alerts()
    assert [one.channel for one in bench.ledger.projection.pending(bench.now)] == ["pager", "pager"]
    words = message.text(over)
    assert message.head(over) == "No longer observed"
    assert "not seen mended" in words
    assert "Good again" not in words
    assert "no longer failed" not in words.lower()
    bench.ledger.rebuild()
    assert not bench.ledger.projection.open_alerts()


def test_whoever_comes_back_is_told_of_anew(bench: Bench) -> None:
    fall(bench)
    configure(bench, OTHER)
    configure(bench)
    bench.hour()
    assert lines(bench)[2:] == [("missed", "trigger", False)] or lines(bench)[2:] == [("failed", "trigger", False)]
    assert told(bench)[-1]["first_bad"] == told(bench)[0]["first_bad"]


def test_a_check_that_no_control_binds_any_more_is_closed_as_it_was(bench: Bench) -> None:
    fall(bench, doors=8)
    assert told(bench)[-1]["count"] == 8
    others = "\n".join(CONTROLS.splitlines()[:-1])
    configure(bench, controls=f"{others}\nchecks = []\n")
    over = told(bench)[-1]
    assert (over["event"], over["unobserved"], over["count"], over["left"], over["owner"]) == (
        "resolve",
        True,
        8,
        0,
        "porter",
    )
    assert "binds aws-test-door any more" in over["reason"]
    assert not bench.ledger.projection.open_alerts()


def test_a_region_that_is_listed_no_longer_left_after_a_day_and_not_before(bench: Bench) -> None:
    bench.cloud.regions = ["eu-west-1", "us-east-1"]
    bench.hour()
    bench.cloud.doors["vol-a"] = "available"
    bench.hour()
    assert [(a["event"], a["scope"][-9:]) for a in told(bench)] == [("trigger", "eu-west-1"), ("trigger", "us-east-1")]
    bench.cloud.regions = ["us-east-1"]
    for _ in range(24):
        bench.hour()
        bench.operation.close_left()
    assert len(told(bench)) == 2
    bench.hour()
    assert bench.operation.close_left() == 1
    over = told(bench)[-1]
    assert over["reason"] == (
        f"no longer observed: aws/{ACCOUNT}/eu-west-1 left what aws/{ACCOUNT} lists on 2026-01-01 04:00 UTC"
    )
    assert [entry.data["scope"][-9:] for entry in bench.ledger.projection.open_alerts().values()] == ["us-east-1"]
    assert bench.operation.close_left() == 0


@pytest.mark.parametrize("what", ["describe_regions", "get_caller_identity"])
def test_what_cannot_be_listed_or_reached_for_days_has_not_left(bench: Bench, what: str) -> None:
    fall(bench)
    bench.cloud.fails[what] = "denied"
    for _ in range(50):
        bench.hour()
        bench.operation.close_left()
    assert all(not alert.get("unobserved") for alert in told(bench))
    assert {entry.data["cause"] for entry in bench.ledger.projection.open_alerts().values()} >= {"failed"}


def test_slots_that_were_missed_are_closed_with_the_account(bench: Bench) -> None:
    bench.now += 3 * HOUR
    bench.operation.declare(bench.account, bench.operation.open_slots(bench.account), "the collector was not running")
    configure(bench, OTHER)
    assert lines(bench) == [("missed", "trigger", False), ("missed", "resolve", True)]


def test_a_place_outside_that_left_is_closed_and_one_that_fails_is_not(bench: Bench) -> None:
    operation = bench.operation
    for id in ("tsa/old", "tsa/kept"):
        with bench.ledger.write() as batch:
            drift = Drift(Cause.ANCHOR, Event.TRIGGER, "", "", id, "did not answer", bench.now, None, 1)
            operation._standing(batch).change(drift)
    assert close_places(bench.ledger, {"tsa/kept"}, operation._standing, bench.now) == 1
    assert (told(bench)[-1]["subject"], told(bench)[-1]["unobserved"]) == ("tsa/old", True)
    assert close_places(bench.ledger, {"tsa/kept"}, operation._standing, bench.now) == 0


def test_a_digest_counts_it_apart_from_what_is_over(bench: Bench) -> None:
    fall(bench)
    configure(bench, OTHER)
    found = summed_up(bench.ledger, bench.settings, bench.now, bench.now + timedelta(seconds=1))
    assert (found["open"], found["over"], found["closed"]) == (0, 0, 1)
    assert any(line.startswith("No longer observed (1)") for line in found["lines"])


def test_a_region_that_the_operator_takes_out_has_left_at_once(bench: Bench) -> None:
    configure(bench, CONFIG.replace("[checks]", 'regions = ["eu-west-1", "us-east-1"]\n[checks]'))
    fall(bench)
    assert len(told(bench)) == 2
    configure(bench, CONFIG.replace("[checks]", 'regions = ["us-east-1"]\n[checks]'))
    (over,) = [alert for alert in told(bench) if alert["event"] == "resolve"]
    assert over["reason"].startswith(f"no longer observed: aws/{ACCOUNT}/eu-west-1 left the configuration on")


def test_an_acceptance_that_is_over_is_not_told_of_what_nobody_looks_at(bench: Bench) -> None:
    fall(bench)
    operation = bench.operation
    about = (operation.controls, operation.settings, operation.registry)
    (failed,) = told(bench)
    decisions.accept(
        bench.ledger,
        operation.controls,
        bench.now,
        check=failed["check"],
        scope=failed["scope"],
        subject="",
        approver="Carl",
        reason="for a while",
        expires=bench.now + HOUR,
        ticket="",
    )
    bench.now += 2 * HOUR
    decisions.review(bench.ledger, bench.now, *about)
    assert ("lapsed", "trigger", False) in lines(bench)
    configure(bench, OTHER)
    assert not bench.ledger.projection.open_alerts()
    count = len(told(bench))
    for _ in range(3):
        bench.now += HOUR
        decisions.review(bench.ledger, bench.now, *about)
        bench.operation.close_left()
    assert len(told(bench)) == count
    assert [(cause, unobserved) for cause, event, unobserved in lines(bench) if event == "resolve"] == [
        ("failed", True),
        ("lapsed", True),
    ]


def test_an_event_about_what_left_asks_for_no_look(bench: Bench) -> None:
    bench.cloud.regions = ["eu-west-1", "us-east-1"]
    bench.hour()
    asks = asking(bench.ledger.projection)
    assert asks("aws-test-door", f"aws/{ACCOUNT}/eu-west-1")
    bench.cloud.regions = ["us-east-1"]
    bench.hour()
    feeding = Feeding(bench.operation)
    volume = Change("1", "aws", ACCOUNT, "", bench.now, "ec2", "ModifyVolume", frozenset({"vol-a-eu-west-1"}))
    assert feeding.match(volume) == []
    known = replace(volume, names=frozenset({"vol-a-us-east-1"}))
    assert [str(item.scope) for item in feeding.match(known)] == [f"aws/{ACCOUNT}/us-east-1"]


def test_a_digest_is_a_digest_however_many_were_closed(bench: Bench) -> None:
    fall(bench)
    configure(bench, OTHER)
    found = summed_up(bench.ledger, bench.settings, bench.now, bench.now + timedelta(seconds=1))
    assert not found.get("unobserved")  # that is what one alert says of itself
    assert message.head(found) == "Digest"
