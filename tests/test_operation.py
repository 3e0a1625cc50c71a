"""Plan, observe, seal, declare, alert: the whole operation over a canned cloud and a real ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import collect, config, controls, daemon, registry
from collector.alert.standing import Standing
from collector.clouds.aws import Account
from collector.clouds.transcript import Answer
from collector.errors import StoreError
from collector.ledger import verify
from collector.ledger.entry import Draft, Kind, PlannedCheck, plan_fields
from collector.ledger.store import Ledger
from collector.model import Scope
from collector.operation import AlreadyAnswered, Operation
from collector.window.slots import Ran, SlotState, account_for, due, plan_from

SUPPORT = Path(__file__).parent / "support" / "checks"
START = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACCOUNT = "123456789012"
CONFIG = f"""
[collector]
origin = "test.local/one"
[[aws]]
account = "{ACCOUNT}"
[checks]
folders = ["{SUPPORT}"]
[alerts.webhook.pager]
url = "http://127.0.0.1:9/"
secret_env = "SECRET"
"""
CONTROLS = """
[controls.DOOR]
title = "Doors are locked."
owner = "porter"
criteria = ["CC6.1"]
checks = ["aws-test-door"]
"""


class Cloud:
    """One account whose doors tests open and shut."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.doors: dict[str, str] = {"vol-a": "in-use", "vol-b": "in-use"}
        self.regions = ["us-east-1"]
        self.fails: dict[str, str] = {}
        self.account = ACCOUNT
        self.calls = 0

    def open(self, settings: Any, transcript: Any, reference: datetime) -> Account:
        return Account(settings.account, transcript, reference, self.put, sleep=lambda _: None)

    def put(self, service: str, operation: str, region: str, params: Any) -> Answer:
        self.calls += 1
        now = self.clock()
        if operation in self.fails:
            body = {"Error": {"Code": "AccessDenied", "Message": "no"}}
            return Answer(body, now, 1, 403, "AccessDenied", self.fails[operation])
        bodies: dict[str, Any] = {
            "get_caller_identity": {"Account": self.account, "Arn": f"arn:aws:iam::{self.account}:role/collector"},
            "describe_regions": {"Regions": [{"RegionName": name} for name in self.regions]},
            "describe_volumes": {
                "Volumes": [{"VolumeId": f"{id}-{region}", "State": s} for id, s in self.doors.items()]
            },
        }
        return Answer(bodies[operation], now, 1, request_id=f"r{self.calls}", date="Thu, 01 Jan 2026 00:00:00 GMT")


class Bench:
    """A collector with a clock that tests turn."""

    def __init__(self, folder: Path) -> None:
        self.now = START
        self.cloud = Cloud(lambda: self.now)
        (folder / "collector.toml").write_text(CONFIG)
        (folder / "controls.toml").write_text(CONTROLS)
        self.settings = config.load(folder / "collector.toml", {})
        self.operation = self.start()

    @property
    def ledger(self) -> Ledger:
        return self.operation.ledger

    @property
    def account(self) -> Any:
        return self.settings.aws[0]

    def start(self) -> Operation:
        known = registry.load([], folders=self.settings.checks.folders)
        bound = controls.load(self.settings.collector.controls, known)
        ledger = daemon.open_ledger(self.settings, create=True)
        operation = Operation(self.settings, bound, known, ledger, self.cloud, lambda: self.now)
        operation.announce()
        operation.plan(self.account)
        return operation

    def restart(self) -> None:
        self.ledger.close()
        self.operation = self.start()

    def hour(self) -> Any:
        self.now += HOUR
        self.operation.plan(self.account)
        return self.operation.answer_due(self.account)

    def kinds(self, kind: Kind) -> list[dict[str, Any]]:
        return [entry.data for entry in self.ledger.entries(kinds=[kind])]

    def slots(self) -> list[Any]:
        plans = [plan_from(entry) for entry in self.kinds(Kind.PLAN)]
        runs = [
            Ran(r.seq, r.account, r.check, r.scope, r.slot, r.started, r.finished, r.population, r.states, "", r.reason)
            for r in self.ledger.projection.runs()
        ]
        gaps = self.ledger.projection.gaps(START, self.now + HOUR)
        dues = due(plans, START, self.now)
        return list(account_for(dues, runs, gaps, timedelta(minutes=15)))  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    yield found
    found.ledger.close()


def alerts(bench: Bench) -> list[tuple[str, str, str]]:
    return [(a["cause"], a["event"], a["subject"]) for a in bench.kinds(Kind.ALERT)]


def test_the_ledger_begins_with_who_what_and_when(bench: Bench) -> None:
    kinds = [entry.kind for entry in bench.ledger.entries()]
    assert kinds == [Kind.KEY, Kind.CONFIG, Kind.CHECK, Kind.PLAN]
    bench.restart()
    assert bench.ledger.size() == 4  # nothing changed, nothing is written again


def test_a_run_is_one_entry_that_points_to_its_evidence(bench: Bench) -> None:
    sealed = bench.hour()
    assert [run.population for run in sealed.runs] == [2]
    (entry,) = bench.kinds(Kind.RUN)
    assert entry["slot"] == "2026-01-01T01:00:00.000000Z"
    assert entry["states"] == {"satisfied": 2, "not-satisfied": 0, "not-applicable": 0, "undetermined": 0}
    assert entry["principal"].endswith("role/collector")
    assert b"DescribeVolumes" in bench.ledger.blob(entry["calls"])
    assert b"is locked" in bench.ledger.blob(entry["observations"])


def test_each_slot_is_answered_once_and_a_second_run_is_dropped(bench: Bench) -> None:
    bench.now += HOUR
    waiting = bench.operation.open_slots(bench.account)
    bench.operation.observe(bench.account, waiting[-1].at, waiting)
    size = bench.ledger.size()
    with pytest.raises(AlreadyAnswered):
        bench.operation.observe(bench.account, waiting[-1].at, waiting)
    assert bench.ledger.size() == size
    assert bench.operation.answer_due(bench.account) is None


@pytest.mark.parametrize("before_us", [1, 999_999, 1_000_000, 1_000_001, 1_800_000_000])
def test_the_next_slot_is_the_first_after_a_moment_also_when_it_is_less_than_a_second_away(
    bench: Bench, before_us: int
) -> None:
    slot = START.replace(second=0) + 5 * HOUR
    assert bench.operation.next_slot(bench.account, slot - timedelta(microseconds=before_us)) == slot
    assert bench.operation.next_slot(bench.account, slot) == slot + HOUR


def test_a_door_that_opens_is_told_once_and_its_mending_once(bench: Bench) -> None:
    bench.hour()
    bench.cloud.doors["vol-a"] = "available"
    bench.hour()
    bench.hour()
    bench.cloud.doors["vol-a"] = "in-use"
    bench.hour()
    assert alerts(bench) == [("failed", "trigger", "vol-a-us-east-1"), ("failed", "resolve", "vol-a-us-east-1")]
    trigger, resolve = bench.kinds(Kind.ALERT)
    runs = [entry["seq"] for entry in bench.kinds(Kind.RUN)]
    assert (trigger["last_good"], trigger["first_bad"]) == (runs[0], runs[1])
    assert resolve["key"] == trigger["key"]
    assert resolve["since"] == trigger["since"]
    assert trigger["channels"] == ["pager"]


def test_blindness_is_told_apart_from_failure(bench: Bench) -> None:
    bench.hour()
    bench.cloud.fails["describe_volumes"] = "denied"
    bench.hour()
    bench.hour()
    bench.cloud.fails.clear()
    bench.hour()
    assert alerts(bench) == [("blind", "trigger", ""), ("blind", "resolve", "")]
    assert [slot.state for slot in bench.slots()].count(SlotState.GAP) == 2


def test_a_word_nobody_knows_makes_one_subject_blind(bench: Bench) -> None:
    bench.cloud.doors["vol-a"] = "ajar"
    sealed = bench.hour()
    assert sealed.runs[0].counts()["undetermined"] == 1
    assert alerts(bench) == [("blind", "trigger", "vol-a-us-east-1")]


def test_down_time_is_declared_and_told_and_over_when_observed_again(bench: Bench) -> None:
    bench.hour()
    bench.now += 5 * HOUR
    bench.restart()
    bench.operation.answer_due(bench.account, "the collector was not running")
    (gap,) = bench.kinds(Kind.GAP)
    assert gap["since"] == "2026-01-01T02:00:00.000000Z"
    assert gap["until"] == "2026-01-01T05:00:01.000000Z"
    assert gap["reason"] == "the collector was not running"
    assert alerts(bench) == [("missed", "trigger", ""), ("missed", "resolve", "")]
    states = [slot.state for slot in bench.slots()]
    assert SlotState.MISSED not in states
    assert states.count(SlotState.GAP) == 4


def test_a_run_that_begins_after_its_grace_is_told_once_and_so_is_its_end(bench: Bench) -> None:
    bench.hour()
    for _ in range(2):
        bench.now += HOUR + timedelta(minutes=20)
        bench.operation.answer_due(bench.account)
        bench.now -= timedelta(minutes=20)
    assert [told for told in alerts(bench) if told[0] == "late"] == [("late", "trigger", "")]
    assert [slot.state for slot in bench.slots()][-2:] == [SlotState.LATE, SlotState.LATE]
    bench.hour()
    assert [told for told in alerts(bench) if told[0] == "late"] == [("late", "trigger", ""), ("late", "resolve", "")]


def test_an_outage_of_days_is_due_and_declared_to_the_last_slot(bench: Bench) -> None:
    bench.hour()
    bench.now += timedelta(days=5)
    bench.restart()
    bench.operation.answer_due(bench.account, "the collector was not running")
    states = [slot.state for slot in bench.slots()]
    assert len(states) == 5 * 24 + 1
    assert states.count(SlotState.GAP) == 5 * 24 - 1
    assert SlotState.MISSED not in states


def test_a_new_region_joins_by_itself_and_the_plan_says_when(bench: Bench) -> None:
    bench.hour()
    bench.cloud.regions = ["us-east-1", "eu-west-1"]
    bench.hour()
    assert bench.kinds(Kind.PLAN)[-1]["parts"] == ["eu-west-1", "us-east-1"]
    sealed = bench.hour()
    assert sorted(str(run.scope) for run in sealed.runs) == [
        f"aws/{ACCOUNT}/eu-west-1",
        f"aws/{ACCOUNT}/us-east-1",
    ]


def test_other_credentials_make_every_check_blind_and_ask_nothing_more(bench: Bench) -> None:
    bench.cloud.account = "999999999999"
    sealed = bench.hour()
    assert [run.population for run in sealed.runs] == [None]
    assert "999999999999" in sealed.runs[0].reason
    assert bench.cloud.calls == 1


def test_a_stopped_collector_seals_nothing_and_declares_its_slot(bench: Bench) -> None:
    bench.operation.stop()
    assert bench.hour() is None
    assert bench.kinds(Kind.RUN) == []
    assert bench.kinds(Kind.GAP)[0]["reason"] == "the collector was stopped"


def test_a_collector_that_slept_in_its_run_seals_nothing_of_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is suspended for days: its answers are of before and after, and look as if written back."""
    bench.hour()
    put = bench.cloud.put

    def sleeps(service: str, operation: str, region: str, params: Any) -> Answer:
        if operation == "describe_volumes":
            bench.now += timedelta(hours=36)
        return put(service, operation, region, params)

    monkeypatch.setattr(bench.cloud, "put", sleeps)
    assert bench.hour() is None
    monkeypatch.undo()
    assert len(bench.kinds(Kind.RUN)) == 1
    assert "stood still in its run, between 2026-01-01T02:00" in bench.kinds(Kind.GAP)[0]["reason"]
    assert bench.hour() is not None
    assert SlotState.MISSED not in [slot.state for slot in bench.slots()]


def test_what_the_collector_still_seals_the_verifier_still_takes() -> None:
    """verify.py stands alone, so the bound is written there too; it must not be the stricter one."""
    assert collect.RUN_MAX.total_seconds() < verify.RUN_SECONDS_MAX


def test_a_seal_that_fails_half_way_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    size = bench.ledger.size()
    bench.cloud.doors["vol-a"] = "available"

    def broken(*_: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(Standing, "change", broken)
    with pytest.raises(StoreError):
        bench.hour()
    assert bench.ledger.size() == size
    monkeypatch.undo()
    assert bench.operation.answer_due(bench.account).runs[0].population == 2


def test_a_changed_control_file_is_an_entry_and_a_new_plan(bench: Bench) -> None:
    path = bench.settings.collector.controls
    path.write_text(CONTROLS + 'cadence = "30m"\n')
    bench.restart()
    assert len(bench.kinds(Kind.CONFIG)) == 2
    assert bench.kinds(Kind.PLAN)[-1]["checks"][0]["every_s"] == 1800


def test_rebuilding_gives_what_living_gave(bench: Bench) -> None:
    bench.hour()
    bench.cloud.doors["vol-c"] = "available"
    bench.hour()
    before = (list(bench.ledger.projection.intervals()), list(bench.ledger.projection.runs()))
    bench.ledger.rebuild()
    assert (list(bench.ledger.projection.intervals()), list(bench.ledger.projection.runs())) == before


def test_a_plan_over_hundreds_of_parts_fits_into_an_entry_and_asks_for_each_of_them() -> None:
    tenant, parts = Scope("azure", ACCOUNT), [f"8a1d5c0e-2b7f-4e39-9c64-{number:012d}" for number in range(1000)]
    everywhere = tuple(f"{tenant}/{part}" for part in parts)
    planned = [PlannedCheck(f"azure-check-{number}", everywhere, 3600) for number in range(40)]
    planned += [PlannedCheck("azure-tenant", (str(tenant),), 60), PlannedCheck("azure-some", everywhere[:3], 60)]
    fields = plan_fields(tenant, START, START + HOUR, planned, parts, "")
    assert len(Draft(Kind.PLAN, START, fields).body(1)) < 65_536
    assert list(plan_from({**fields, "seq": 1}).checks) == planned
    assert plan_from({**fields, "seq": 1, "parts": parts[:1]}).checks[0].scopes == everywhere[:1]
