"""A window in its package: since when it is known, what was moved of it, and what it promised and the plan did not."""

from __future__ import annotations

import csv
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import config, windows
from collector.errors import ConfigError
from collector.export import read
from collector.export.package import PackageInfo
from collector.ledger.entry import Kind
from collector.ledger.verify import prove
from collector.model import State
from collector.window.coverage import by_control
from tests.support.lived import CONFIG, CONTROLS, DAY, EXPORTED, HOUR, Lived, live, resign

MOVED = CONFIG.replace("end = 2026-01-01T16:00:00Z", "end = 2026-01-01T12:00:00Z", 1)
SLOW = CONTROLS.replace('owner = "storage"', 'owner = "storage"\ncadence = "4h"')
PROMISED = CONFIG.replace("[windows.people]", 'frequency = "2h"\n[windows.people]')


def table(package: Path, name: str) -> list[dict[str, str]]:
    with (package / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def restart(lived: Lived, configuration: str) -> None:
    (lived.folder / "collector.toml").write_text(configuration)
    lived.settings = config.load(lived.folder / "collector.toml", {})
    lived.ledger.close()
    lived.operation = lived.start()


def hours(lived: Lived, count: int) -> Lived:
    for _ in range(count):
        lived.hour()
    return lived


def proved(package: Path) -> dict[str, Any]:
    found = prove(package, None, run_packaged_checks=False, progress=False)
    assert found["verified"], found["broken"]
    return found


def first_broken(package: Path) -> str:
    found = prove(package, None, run_packaged_checks=False, progress=False)
    assert not found["verified"]
    return f"{found['broken'][0]['where']}: {found['broken'][0]['what']}"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return live(tmp_path_factory.mktemp("day"))


# --- since when it is known ---


def test_a_window_that_was_recorded_before_it_began_is_proved_to_be(day: Lived, tmp_path: Path) -> None:
    found = proved(day.export(tmp_path / "package").path)
    assert any("the window morning was recorded with these dates by entry" in said for said in found["proved"])
    assert any(said.endswith("before it began") for said in found["proved"])
    (row,) = [row for row in table(tmp_path / "package", "changes") if row["kind"] == "window"]
    assert row["what"].startswith("window morning is open; start 2026-01-01T06:00:00.000000Z; end 2026-01-01T16:00")
    report = (tmp_path / "package" / "report.html").read_text("utf-8")
    assert "First recorded" in report
    assert "Changed when it had begun" not in report


def moved_late(folder: Path) -> Lived:
    """The end was moved before a bad hour, when the window was nearly over; then it was closed."""
    lived = hours(Lived(folder), 14)
    restart(lived, MOVED)
    hours(lived, 4)
    windows.close_window(lived.ledger, lived.settings, lived.now, "morning", "Ann", "the report is written")
    return lived


def test_a_window_whose_end_was_moved_when_it_had_begun_says_so_everywhere(tmp_path: Path) -> None:
    package = moved_late(tmp_path / "lived").export(tmp_path / "package").path
    rows = [row for row in table(package, "changes") if row["kind"] == "window"]
    assert [row["what"].split("; ")[0] for row in rows] == [
        "window morning is open",
        "window morning is defined otherwise",
        "window morning is closed by Ann",
    ]
    moved = "end was 2026-01-01T16:00:00.000000Z, is 2026-01-01T12:00:00.000000Z"
    assert rows[1]["what"].split("; ")[1:] == [moved, "written when the window had begun"]
    assert rows[1]["at_utc"] > "2026-01-01T12:00:00.000000Z", "it is outside of the window, and told all the same"
    assert rows[2]["what"].endswith("; the report is written")
    found = proved(package)
    assert any(
        "was agreed before its end: entry" in said and "when it was over" in said for said in found["not_proved"]
    )
    assert any(
        "why the window morning was defined otherwise when it had begun" in said and "end was 2026-01-01T16" in said
        for said in found["not_proved"]
    )
    report = (package / "report.html").read_text("utf-8")
    assert "Changed when it had begun" in report
    assert "end was 2026-01-01 17:00 CET (UTC+01:00), is 2026-01-01 13:00 CET (UTC+01:00)" in report


def test_a_package_that_hides_a_move_is_refused(tmp_path: Path) -> None:
    lived = moved_late(tmp_path / "lived")
    package = lived.export(tmp_path / "package").path
    path = package / "tables/changes.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    (place,) = [n for n, line in enumerate(lines) if b"is defined otherwise" in line]
    path.write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
    resign(package, lived.signer)
    assert "leaves out what entry" in first_broken(package)


def test_a_package_that_hides_what_came_before_the_range_is_refused(day: Lived, tmp_path: Path) -> None:
    """The first entry lies before the range; each entry names the one before it, so its proof cannot be left out."""
    later = "[windows.later]\nstart = 2026-01-01T06:00:00Z\nend = 2026-01-01T09:00:00Z\ncriteria = ['CC6.1']\n"
    lived = Lived(tmp_path / "lived", CONFIG[: CONFIG.index("[windows.later]")] + later)
    hours(lived, 6)
    restart(lived, CONFIG[: CONFIG.index("[windows.later]")] + later.replace("T09", "T10"))
    hours(lived, 6)
    package = lived.export(tmp_path / "package", "later").path
    proved(package)
    old = next(e.seq for e in lived.ledger.entries(kinds=[Kind.WINDOW]) if e.data["window"] == "later")
    for suffix in ("json", "tlog-proof"):
        (package / f"proofs/{old:020d}.{suffix}").unlink()
    path = package / "tables/changes.csv"
    path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(keepends=True) if b"is open" not in line))
    resign(package, lived.signer)
    assert f"leaves out what entry {old} said of the window" in first_broken(package)


def test_a_window_that_is_configured_no_longer_is_the_one_that_the_ledger_knows(tmp_path: Path) -> None:
    lived = hours(Lived(tmp_path / "lived"), 18)
    restart(lived, CONFIG[: CONFIG.index("[windows.morning]")] + CONFIG[CONFIG.index("[windows.people]") :])
    info = lived.export(tmp_path / "package")
    found = proved(info.path)
    assert found["window"]["since"] == "2026-01-01T06:00:00.000000Z"
    assert found["window"]["zone"] == "Europe/Berlin"
    rows = [row["what"] for row in table(info.path, "changes") if row["kind"] == "window"]
    assert rows[-1] == "window morning is configured no longer"
    with pytest.raises(ConfigError, match="neither the configuration nor the ledger has a window 'mourning'; did you"):
        read.read(lived.ledger, lived.settings, "mourning", EXPORTED)


# --- per control and scope ---


def test_controls_add_up_to_their_findings(day: Lived, tmp_path: Path) -> None:
    day.ledger.checkpoint(EXPORTED)
    dossier = read.read(day.ledger, day.settings, "morning", EXPORTED)
    rows = table(day.export(tmp_path / "package").path, "coverage_by_control")
    assert rows
    for finding in dossier.findings:
        mine = [row for row in rows if row["control"] == finding.control]
        assert sum(int(row["due"]) for row in mine) == finding.due
        assert sum(int(row["covered"]) for row in mine) == finding.covered
        assert max(int(row["longest_gap_s"]) for row in mine) == int(finding.longest_gap.total_seconds())
    (blind,) = [row for row in rows if row["control"] == "DATA-1" and row["scope"].endswith("us-east-1")]
    assert (blind["gap"], blind["longest_gap_s"]) == ("3", "10800"), "blind at 10, down at 11 and 12"
    assert {row["unplanned_s"] for row in rows} == {""}


def test_a_count_of_a_control_that_was_changed_is_refused(day: Lived, tmp_path: Path) -> None:
    package = day.export(tmp_path / "package").path
    path = package / "tables/coverage_by_control.csv"
    honest = path.read_bytes()
    lines = honest.splitlines(keepends=True)
    (place,) = [n for n, line in enumerate(lines) if line.startswith(b"DATA-1,") and b"us-east-1" in line]
    for lie in (
        [*lines[:place], lines[place].replace(b",10800,", b",7200,"), *lines[place + 1 :]],
        [*lines[:place], *lines[place + 1 :]],
        [*lines, lines[place]],
    ):
        path.write_bytes(b"".join(lie))
        resign(package, day.signer)
        assert first_broken(package).startswith("tables/coverage_by_control.csv")


def test_a_control_without_counting_checks_has_no_row() -> None:
    assert by_control([("A-1", ()), ("B-1", ("no-such",))], []) == []


# --- what the window promises ---


def promised(folder: Path, controls: str) -> tuple[Lived, PackageInfo]:
    lived = hours(Lived(folder / "lived", PROMISED, controls), 18)
    return lived, lived.export(folder / "package")


def test_a_cadence_slower_than_the_window_promises_is_no_pass(tmp_path: Path) -> None:
    lived, info = promised(tmp_path, SLOW)
    dossier = read.read(lived.ledger, lived.settings, "morning", EXPORTED)
    states = {finding.control: finding.state for finding in dossier.findings}
    assert states == {"DATA-1": State.UNDETERMINED, "IAM-1": State.SATISFIED, "OPS-1": State.SATISFIED}
    (words,) = [finding.words for finding in dossier.findings if finding.control == "DATA-1"]
    assert words == "no exception seen; 2 checks over scopes planned less often than the window promises"
    assert {(item.longest, item.scope.rpartition("/")[2]) for item in dossier.seldom} == {
        (timedelta(hours=4), "eu-west-1"),
        (timedelta(hours=4), "us-east-1"),
    }
    rows = table(info.path, "coverage_by_control")
    assert {(row["control"], row["unplanned_s"]) for row in rows} == {
        ("DATA-1", "14400"),
        ("IAM-1", ""),
        ("OPS-1", ""),
    }
    proved(info.path)
    assert "asks for nothing for up to 4 h" in (info.path / "report.html").read_text("utf-8")
    path = info.path / "tables/coverage_by_control.csv"
    path.write_bytes(path.read_bytes().replace(b",14400,2026", b",7200,2026", 1))
    resign(info.path, lived.signer)
    assert first_broken(info.path).startswith("tables/coverage_by_control.csv row")


def test_a_plan_that_keeps_the_promise_is_said_nothing_of(tmp_path: Path) -> None:
    _, info = promised(tmp_path, CONTROLS)
    assert {row["unplanned_s"] for row in table(info.path, "coverage_by_control")} == {""}
    found = proved(info.path)
    assert found["verified"]


def test_what_is_exported_is_recorded_first(tmp_path: Path) -> None:
    """Whoever exports with other dates than the collector runs with leaves an entry in the very package."""
    lived = hours(Lived(tmp_path / "lived"), 18)
    (lived.folder / "collector.toml").write_text(MOVED)
    settings = config.load(lived.folder / "collector.toml", {})
    entry = windows.record(lived.ledger, settings, lived.now + HOUR, "morning")
    assert entry is not None
    assert entry.data["event"] == "change"
    assert windows.record(lived.ledger, settings, lived.now + HOUR, "morning") is None
    assert windows.record(lived.ledger, settings, DAY, "no-such") is None
