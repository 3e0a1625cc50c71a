"""Looks between the slots: what a change feed asks for is evidence of its own, and falsifies nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import canonical, registry
from collector.feed.event import Asked, News
from collector.ledger.entry import Kind
from collector.model import Scope, State
from collector.reperform import reperform
from tests.test_operation import Bench  # the canned account with its doors

REGION = Scope("aws", "123456789012", "us-east-1")
A, B = "vol-a-us-east-1", "vol-b-us-east-1"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    found.hour()
    yield found
    found.ledger.close()


def look(bench: Bench, *subjects: str) -> Any:
    bench.now += timedelta(minutes=5)
    news = News("main", ("event-1",), bench.now - timedelta(seconds=3))
    return bench.operation.spot(bench.account, [Asked("aws-test-door", REGION, frozenset(subjects))], news)


def raised(bench: Bench) -> list[tuple[str, str, str]]:
    return [(a["cause"], a["event"], a["subject"]) for a in bench.kinds(Kind.ALERT)]


def states(bench: Bench) -> dict[str, State]:
    return {name: s.state for name, s in bench.ledger.projection.open_states("aws-test-door", str(REGION)).items()}


def test_a_look_at_one_subject_is_an_entry_of_its_own_and_counts_for_no_slot(bench: Bench) -> None:
    bench.cloud.doors["vol-a"] = bench.cloud.doors["vol-b"] = "available"
    before = bench.slots(), states(bench), list(bench.ledger.projection.runs())
    found = look(bench, A)
    assert (found.calls, found.alerts) == (2, 1)  # who asks, and one listing
    (entry,) = bench.kinds(Kind.SPOT)
    assert (entry["subjects"], entry["found"], "slot" in entry, "population" in entry) == ([A], 1, False, False)
    assert entry["states"] == {"satisfied": 0, "not-satisfied": 1, "not-applicable": 0, "undetermined": 0}
    assert entry["event"]["ids"] == ["event-1"]
    assert raised(bench) == [("failed", "trigger", A)]  # nobody looked at B
    (alert,) = bench.kinds(Kind.ALERT)
    (run,) = bench.kinds(Kind.RUN)
    assert (alert["last_good"], alert["first_bad"]) == (run["seq"], entry["seq"])
    assert (bench.slots(), states(bench), list(bench.ledger.projection.runs())) == before


def test_the_next_full_run_does_not_alert_again_and_a_look_may_end_it(bench: Bench) -> None:
    bench.cloud.doors["vol-a"] = "available"
    look(bench, A)
    bench.hour()
    assert raised(bench) == [("failed", "trigger", A)]
    bench.cloud.doors["vol-a"] = "in-use"
    look(bench, A)
    assert raised(bench)[1:] == [("failed", "resolve", A)]
    bench.hour()
    assert len(raised(bench)) == 2


def test_who_has_vanished_is_said_by_a_full_run_only(bench: Bench) -> None:
    bench.cloud.doors["vol-a"] = "available"
    look(bench, A)
    del bench.cloud.doors["vol-a"]
    assert look(bench, A).alerts == 0
    assert bench.kinds(Kind.SPOT)[-1]["found"] == 0
    assert raised(bench) == [("failed", "trigger", A)]
    bench.hour()
    assert raised(bench)[1:] == [("failed", "resolve", A)]


def test_a_listing_that_nobody_may_read_mends_and_breaks_nothing(bench: Bench) -> None:
    bench.cloud.doors["vol-a"] = "available"
    look(bench, A)
    bench.cloud.fails["describe_volumes"] = "denied"
    assert look(bench, A).alerts == 0
    entry = bench.kinds(Kind.SPOT)[-1]
    assert (entry["found"], entry["states"], entry["failure"]) == (None, {}, "denied")
    bench.cloud.fails = {"get_caller_identity": "denied"}
    assert look(bench, A).alerts == 0
    assert raised(bench) == [("failed", "trigger", A)]


def test_an_account_at_work_is_not_looked_at_beside_its_run(bench: Bench) -> None:
    with bench.operation._turns[bench.account.scope]:
        assert look(bench, A) is None
    bench.operation.stop()
    assert look(bench, A) is None
    assert bench.kinds(Kind.SPOT) == []


def test_a_look_is_judged_again_and_a_changed_one_is_found_out(bench: Bench) -> None:
    bench.cloud.doors["vol-a"] = "available"
    look(bench, A, B, "vol-gone")
    bench.cloud.fails["describe_volumes"] = "denied"
    look(bench, A)
    known = registry.load([], folders=bench.settings.checks.folders)
    entries = bench.kinds(Kind.SPOT)
    for entry in entries:
        assert reperform(bench.ledger.blob(entry["calls"]), bench.ledger.blob, [entry], known, lambda _: None) == []
    forged = {**entries[0], "subjects": [A]}
    (problem,) = reperform(bench.ledger.blob(forged["calls"]), bench.ledger.blob, [forged], known, lambda _: None)
    assert problem.differs
    assert B in problem.what


def test_rebuilding_gives_the_same_and_the_ledger_verifies(bench: Bench) -> None:
    bench.cloud.doors["vol-a"] = "available"
    look(bench, A)
    before = (states(bench), [*bench.ledger.projection.open_alerts()], list(bench.ledger.projection.runs()))
    bench.ledger.rebuild()
    assert (states(bench), [*bench.ledger.projection.open_alerts()], list(bench.ledger.projection.runs())) == before
    blobs = bench.kinds(Kind.SPOT)[0]
    assert canonical.parse(bench.ledger.blob(blobs["observations"]))["subjects"][0]["subject"] == A


def test_a_full_run_of_one_check_by_hand(bench: Bench) -> None:
    bench.now += timedelta(minutes=1)
    sealed = bench.operation.rerun(bench.account, [("aws-test-door", REGION)])
    assert [(run.check, run.population) for run in sealed.runs] == [("aws-test-door", 2)]
    assert [entry["slot"] for entry in bench.kinds(Kind.RUN)][1:] == [None]
    with bench.operation._turns[bench.account.scope]:
        assert bench.operation.rerun(bench.account, [("aws-test-door", REGION)]) is None
