"""What lies in a package, that it is all of it, that it is written whole or not at all, and twice the same."""

from __future__ import annotations

import base64
import csv
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import canonical
from collector.errors import ConfigError, ExportError
from collector.export import package, read, tables
from collector.ledger import verify
from collector.ledger.entry import Draft, Kind
from collector.ledger.seal import FileSigner
from collector.model import State
from collector.window.slots import SlotState
from tests.support.lived import ACCOUNT, CONTROLS, DAY, EXPORTED, HOME, HOUR, Lived, live

MFA = "aws-iam-user-mfa"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    lived = live(tmp_path_factory.mktemp("day") / "collector")
    lived.ledger.checkpoint(EXPORTED)
    yield lived
    lived.ledger.close()


@pytest.fixture(scope="module")
def written(day: Lived) -> Path:
    return day.export(day.folder.parent / "package").path


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def manifest(root: Path) -> Any:
    return json.loads(base64.b64decode(json.loads((root / "manifest.dsse.json").read_bytes())["payload"]))


def entries(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "ledger/entries.jsonl").read_bytes().splitlines()]


# --- what lies in it ---


def test_everything_that_the_page_names_is_there(written: Path) -> None:
    tops = {name.partition("/")[0] for name in files(written)}
    assert tops == {
        "README.html",
        "README.pdf",
        "README.txt",
        "SHA256SUMS",
        "checkpoints",
        "checks",
        "collector.html",
        "controls",
        "controls.json",
        "keys.txt",
        "ledger",
        "manifest.dsse.json",
        "objects",
        "plan.json",
        "proofs",
        "report.html",
        "sampling.json",
        "tables",
        "verify.py",
    }
    assert {p.name for p in (written / "tables").iterdir()} == {
        *(f"{t.name}.csv" for t in tables.TABLES),
        "tables.xlsx",
    }


def test_entries_are_the_exact_bytes_of_the_ledger(day: Lived, written: Path) -> None:
    span = json.loads((written / "ledger/range.json").read_bytes())
    bodies = [entry.body + b"\n" for entry in day.ledger.entries(span["first"], span["last"])]
    assert (written / "ledger/entries.jsonl").read_bytes() == b"".join(bodies)
    assert span["frontier"] == [item.hex() for item in day.ledger.frontier(span["first"])]


def test_the_range_begins_before_the_plan_of_the_window_and_ends_at_the_newest_checkpoint(
    day: Lived, written: Path
) -> None:
    span = json.loads((written / "ledger/range.json").read_bytes())
    plans = [e for e in entries(written) if e["kind"] == "plan" and e["since"] <= "2026-01-01T06" < e["until"]]
    assert plans
    assert span["first"] in {item.size for item in day.ledger.checkpoints()}
    assert span["last"] == day.ledger.checkpoints()[-1].size


def test_objects_are_what_the_runs_of_the_window_rest_on_and_nothing_else(day: Lived, written: Path) -> None:
    wanted: set[str] = set()
    for entry in entries(written):
        if entry["kind"] == "run" and "2026-01-01T06" <= entry["slot"] < "2026-01-01T16":
            wanted |= {entry["calls"], entry["config"]} | ({entry["observations"]} - {""})
            wanted |= {call["body"] for call in canonical.parse(day.ledger.blob(entry["calls"])) if call["body"]}
    held = {name.removeprefix("objects/").replace("/", "") for name in files(written) if name.startswith("objects/")}
    assert held == wanted
    assert all(canonical.digest((written / package.object_path(digest)).read_bytes()) == digest for digest in held)


def test_the_verifier_in_it_is_the_one_of_the_collector(written: Path) -> None:
    assert (written / "verify.py").read_bytes() == Path(verify.__file__).read_bytes()


def test_sums_are_in_order_and_name_every_file(written: Path) -> None:
    lines = (written / "SHA256SUMS").read_text().splitlines()
    names = [line[66:] for line in lines]
    assert names == sorted(files(written).keys() - {"SHA256SUMS", "manifest.dsse.json"})
    assert all(canonical.digest((written / line[66:]).read_bytes()) == line[:64] for line in lines)


def test_the_manifest_says_which_window_range_and_filter(day: Lived, written: Path) -> None:
    found = manifest(written)
    predicate = found["predicate"]
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert predicate["origin"] == "test.local/acme"
    assert predicate["vkey"] == str(day.signer.key) == (written / "keys.txt").read_text().strip()
    assert predicate["window"] == {
        "name": "morning",
        "since": "2026-01-01T06:00:00.000000Z",
        "until": "2026-01-01T16:00:00.000000Z",
        "ends": "2026-01-01T16:00:00.000000Z",
        "zone": "Europe/Berlin",
    }
    assert predicate["filters"]["checks"] == ["aws-ebs-volume-encryption", "aws-ec2-patch-compliance", MFA]
    assert predicate["counts"]["runs"] == 40
    assert predicate["counts"]["due"] == 50
    assert predicate["counts"]["files"] == len(files(written))
    assert "only a checkpoint that you were given earlier" in predicate["assurance"]


def test_controls_and_checks_are_told_with_the_source_that_judged(written: Path) -> None:
    told = json.loads((written / "controls.json").read_bytes())
    assert [card["id"] for card in told["controls"]] == ["DATA-1", "IAM-1", "OPS-1"]
    assert "CC6.1" in told["criteria"]
    for card in told["checks"]:
        assert (written / card["source"]).read_text().startswith(f'"""{card["title"]}')
    assert {card["limits"].get("scan_days_max") for card in told["checks"]} == {None, 2}


def test_the_tables_agree_with_what_was_lived_through(written: Path) -> None:
    with (written / "tables/results.csv").open(newline="") as file:
        states = [row["state"] for row in csv.DictReader(file)]
    assert {state: states.count(state) for state in set(states)} == {"observed": 38, "gap": 11, "partial": 1}
    with (written / "tables/exceptions.csv").open(newline="") as file:
        found = [(row["subject"].rpartition("/")[2], row["since_utc"][11:16]) for row in csv.DictReader(file)]
    assert found == [("bob", "08:00"), ("vol-2", "13:00")]


# --- the dossier ---


def test_a_dossier_holds_what_happened(day: Lived) -> None:
    found = read.read(day.ledger, day.settings, "morning", EXPORTED)
    assert {finding.control: finding.state for finding in found.findings} == {
        "DATA-1": State.NOT_SATISFIED,
        "IAM-1": State.NOT_SATISFIED,
        "OPS-1": State.UNDETERMINED,
    }
    bob, volume = found.deviations
    assert bob.since - DAY == timedelta(hours=8, seconds=30)
    assert bob.duration == 2 * HOUR
    assert volume.until is None
    assert [(s.check, s.scope, s.reason.partition(":")[0]) for s in found.blind] == [
        ("aws-ebs-volume-encryption", f"aws/{ACCOUNT}/us-east-1", "the population could not be read")
    ]
    assert [slot.due.at - DAY for slot in found.slots if slot.state is SlotState.GAP and slot.gap] == [
        hour * HOUR for hour in (11, 12) for _ in range(5)
    ]
    assert {(line.cause, line.event) for line in found.alerts} >= {("failed", "trigger"), ("missed", "resolve")}
    assert found.runs_outside_slots == ()
    assert found.ends is None
    first = next(found.items())
    assert (first.check, first.slot) == ("aws-ebs-volume-encryption", DAY + 6 * HOUR)
    assert [(item.subject[-5:], item.state) for item in first.items] == [("vol-1", "satisfied"), ("vol-2", "satisfied")]
    assert all(item.evidence for item in first.items)
    assert found.item_rows == sum(len(run.items) for run in found.items())


def test_a_window_is_about_its_criteria_and_scopes(day: Lived) -> None:
    found = read.read(day.ledger, day.settings, "people", EXPORTED)
    assert [card.id for card in found.controls] == ["IAM-1"]
    assert {slot.due.check for slot in found.slots} == {MFA}
    assert {run.check for run in found.items()} == {MFA}
    assert {line.check for line in found.alerts} <= {MFA, ""}


def test_a_package_of_some_criteria_says_what_it_leaves_out(day: Lived, tmp_path: Path) -> None:
    path = day.export(tmp_path / "package", "people").path
    told = verify.prove(path, None, run_packaged_checks=False, progress=False)
    assert told["verified"], told["broken"]
    assert any("40 slots of checks or scopes that this export leaves out" in words for words in told["not_proved"])


def test_a_window_that_still_runs_ends_where_slots_are_settled(day: Lived, tmp_path: Path) -> None:
    at = DAY + 9 * HOUR + timedelta(minutes=20)
    found = read.read(day.ledger, day.settings, "morning", at)
    assert found.until == DAY + 9 * HOUR + timedelta(minutes=5)
    assert found.ends == DAY + 16 * HOUR
    assert max(slot.due.at for slot in found.slots) == DAY + 9 * HOUR
    assert SlotState.MISSED not in {slot.state for slot in found.slots}
    info = package.write(found, day.ledger, day.signer, tmp_path / "package")
    assert verify.prove(info.path, None, run_packaged_checks=False, progress=False)["verified"]


@pytest.mark.parametrize(("name", "error"), [("mornin", "did you mean 'morning'"), ("later", "nothing was due")])
def test_what_cannot_be_read_is_said(day: Lived, name: str, error: str) -> None:
    with pytest.raises((ConfigError, ExportError), match=error):
        read.read(day.ledger, day.settings, name, EXPORTED)


def test_only_what_was_signed_is_read_unless_told_otherwise(tmp_path: Path) -> None:
    lived = live(tmp_path / "day")
    signed = lived.ledger.checkpoints()[-1].size
    lived.operation.heartbeat()
    assert read.read(lived.ledger, lived.settings, "morning", EXPORTED).last == signed
    upto = lived.ledger.size()
    assert upto == signed + 1
    unsigned = read.read(lived.ledger, lived.settings, "morning", EXPORTED, upto=upto)
    assert unsigned.last == upto
    with pytest.raises(ExportError, match="sign the ledger"):
        package.write(unsigned, lived.ledger, lived.signer, tmp_path / "package")
    lived.ledger.close()


def test_what_is_changed_in_the_window_is_told_and_a_removed_control_stays_in_it(tmp_path: Path) -> None:
    lived = Lived(tmp_path / "day")
    for hour in range(10):
        if hour == 8:
            lived.reconfigure(
                CONTROLS.partition("[controls.DATA-1]")[0].replace('owner = "identity"', 'owner = "people"')
            )
        lived.hour()
    lived.ledger.checkpoint(EXPORTED)
    found = read.read(lived.ledger, lived.settings, "morning", DAY + 10 * HOUR)
    assert [card.id for card in found.controls] == ["DATA-1", "IAM-1", "OPS-1"]
    told = [change.what for change in found.changes]
    assert any("control DATA-1 was removed" in what and "owner was identity, is people" in what for what in told)
    assert any(f"aws-ebs-volume-encryption over aws/{ACCOUNT}/{HOME} is no longer asked for" in what for what in told)
    path = package.write(found, lived.ledger, lived.signer, tmp_path / "package").path
    proof = verify.prove(path, None, run_packaged_checks=False, progress=False)
    assert proof["verified"], proof["broken"]
    lived.ledger.close()


def test_a_run_by_hand_is_in_the_window_of_its_start(tmp_path: Path) -> None:
    lived = Lived(tmp_path / "day")
    for _ in range(8):
        lived.hour()
    lived.operation.observe(lived.settings.aws[0], None)
    path = lived.export(tmp_path / "package", exported_at=DAY + 8 * HOUR).path
    found = read.read(lived.ledger, lived.settings, "morning", DAY + 8 * HOUR)
    assert len(found.runs_outside_slots) == 5
    assert verify.prove(path, None, run_packaged_checks=False, progress=False)["verified"]
    lived.ledger.close()


# --- how it is written ---


def test_the_same_ledger_and_moment_give_the_same_bytes(day: Lived, written: Path, tmp_path: Path) -> None:
    again = day.export(tmp_path / "again").path
    assert files(again) == files(written)
    first, second = (day.export(tmp_path / name).path.read_bytes() for name in ("one.zip", "two.zip"))
    assert first == second


def test_a_zip_holds_the_same_files(day: Lived, written: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(day.export(tmp_path / "package.zip").path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files(written)


@pytest.mark.parametrize("name", ["package", "package.zip"])
def test_what_is_already_there_is_never_overwritten(day: Lived, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    if out.suffix:
        out.write_text("precious")
    else:
        out.mkdir()
        (out / "precious").write_text("precious")
    with pytest.raises(ExportError, match="is already there"):
        day.export(out)
    assert files(tmp_path) == {name if out.suffix else "package/precious": b"precious"}


def test_an_empty_folder_is_taken_and_missing_ones_are_made(day: Lived, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "a" / "b"):
        assert (day.export(out).path / "SHA256SUMS").is_file()


@pytest.mark.parametrize("name", ["package", "package.zip"])
def test_nothing_half_written_is_left(day: Lived, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any, target: Path, *more: Any) -> None:
        (target / "results.csv" if target.is_dir() else target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((package, "_zip", full) if name.endswith("zip") else (tables, "write", full)))
    with pytest.raises(ExportError, match="No space left"):
        day.export(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_only_the_key_of_the_ledger_signs(day: Lived, tmp_path: Path) -> None:
    dossier = read.read(day.ledger, day.settings, "morning", EXPORTED)
    other = FileSigner.create(tmp_path / "other.pem", day.ledger.origin)
    with pytest.raises(ConfigError, match="signed by the ledger's own key"):
        package.write(dossier, day.ledger, other, tmp_path / "package")


def test_a_range_that_no_checkpoint_ends_is_refused(day: Lived, tmp_path: Path) -> None:
    dossier = read.read(day.ledger, day.settings, "morning", EXPORTED)
    with pytest.raises(ExportError, match="no checkpoint ends at"):
        package.write(replace(dossier, last=dossier.last - 1), day.ledger, day.signer, tmp_path / "package")


def test_the_fields_of_the_export_entry_name_the_manifest(day: Lived, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    dossier = read.read(day.ledger, day.settings, "morning", EXPORTED)
    info = package.write(dossier, day.ledger, day.signer, tmp_path / "package", lambda *step: told.append(step))
    assert info.fields["manifest"] == canonical.digest((info.path / "manifest.dsse.json").read_bytes())
    assert (info.fields["first"], info.fields["last"]) == (dossier.first, dossier.last)
    assert info.files == len(files(info.path))
    assert info.runs == 40
    assert told[-1] == (package.WHOLE, package.WHOLE)
    assert [done for done, _ in told] == sorted({done for done, _ in told}), "it only ever grows"
    assert len(told) > 5
    Draft(Kind.EXPORT, EXPORTED, info.fields).body(1)  # it is canonical and small enough
    shutil.rmtree(info.path)


# --- the pages that describe it ---

PAGES = Path(__file__).parents[2] / "docs" / "reference"


def test_the_page_on_the_ledger_names_every_kind_and_every_field(day: Lived) -> None:
    page = (PAGES / "ledger.md").read_text("utf-8")
    sections = {part.split("`", 1)[0]: part for part in page.split("\n### `")[1:]}
    assert sections.keys() == {kind.value for kind in Kind}
    common = page.partition("\n### `")[0]
    seen: set[str] = set()
    for entry in day.ledger.entries():
        seen.add(entry.kind.value)
        text = common + sections[entry.kind.value]
        assert [name for name in entry.data if f"`{name}`" not in text] == [], entry.kind
    assert seen >= {"key", "config", "check", "plan", "run", "gap", "heartbeat", "alert"}


def test_the_page_on_the_ledger_names_every_field_of_a_call_and_of_observations(day: Lived) -> None:
    blobs = (PAGES / "ledger.md").read_text("utf-8").partition("## Blobs")[2]
    for entry in day.ledger.entries(kinds=[Kind.RUN]):
        calls = canonical.parse(day.ledger.blob(entry.data["calls"]))
        observed = canonical.parse(day.ledger.blob(entry.data["observations"])) if entry.data["observations"] else {}
        for record in (*calls, observed, *observed.get("subjects", ())):
            assert [name for name in record if f"`{name}`" not in blobs] == []


def test_the_page_on_the_package_names_every_file_and_every_member(written: Path) -> None:
    page = (PAGES / "package.md").read_text("utf-8")
    for name in files(written):
        top = name.partition("/")[0]
        assert f"`{top}" in page, name
        if top in ("tables", "ledger"):
            assert name.rpartition("/")[2] in page, name
    found = manifest(written)["predicate"]
    told = verify.prove(written, None, run_packaged_checks=False, progress=False)
    for member in (*found, *found["window"], *found["range"], *found["filters"], *told):
        assert f"`{member}`" in page, member


def test_the_page_on_the_package_names_every_column_with_its_meaning() -> None:
    page = (PAGES / "package.md").read_text("utf-8")
    for table in tables.TABLES:
        _, _, section = page.partition(f"\n#### `{table.name}.csv`\n\n{table.about}\n")
        assert section, table.name
        section = section.partition("\n#### ")[0].partition("\n### ")[0]
        for column in table.columns:
            named = [
                name for name in table.header if name in (column.name, f"{column.name}_utc", f"{column.name}_local")
            ]
            names = ", ".join(f"`{name}`" for name in named)
            assert f"| {names} | {column.meaning} |" in section, f"{table.name}.{column.name}"
