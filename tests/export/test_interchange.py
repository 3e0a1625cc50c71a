"""The formats of machines as a person gets them: one file, a pipe, or beside everything else in a package."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import canonical
from collector.cli import interchange
from collector.cli.interchange import Extra, Format
from collector.errors import ConfigError, ExportError
from collector.export import ocsf, oscal, package, read
from collector.export.interchange import one_line, stable_uuid
from collector.ledger import verify
from collector.ledger.entry import Kind
from tests.support.lived import EXPORTED, Lived, live

WINDOW = "morning"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    lived = live(tmp_path_factory.mktemp("day") / "collector")
    lived.ledger.checkpoint(EXPORTED)
    yield lived
    lived.ledger.close()


def stream(day: Lived, form: Format, target: Path, window: str = WINDOW) -> bytes:
    size = interchange.stream(day.settings, day.ledger, window, form, target, EXPORTED)
    written = target.read_bytes()
    assert len(written) == size
    return written


def packed(day: Lived, out: Path, *extras: Extra, window: str = WINDOW) -> Path:
    dossier = read.read(day.ledger, day.settings, window, EXPORTED)
    return package.write(dossier, day.ledger, day.signer, out, None, interchange.files(dossier, extras)).path


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "collector", *arguments]
    return subprocess.run(command, cwd=cwd, env={"PYTHONPATH": root, "PATH": ""}, capture_output=True, timeout=120)


# --- one file ---


def test_a_file_holds_what_the_ledger_says(day: Lived, tmp_path: Path) -> None:
    dossier = read.read(day.ledger, day.settings, WINDOW, EXPORTED)
    assert stream(day, Format.OSCAL, tmp_path / "a" / "ar.json") == b"".join(oscal.pieces(dossier))
    assert stream(day, Format.OCSF, tmp_path / "findings.jsonl") == b"".join(ocsf.lines(dossier))


def test_a_real_ledger_says_who_lost_what(day: Lived, tmp_path: Path) -> None:
    """Bob's second factor and the hours without a run, as they lie in the ledger of a lived day."""
    events = [json.loads(line) for line in stream(day, Format.OCSF, tmp_path / "f.jsonl").splitlines()]
    entries = {entry.seq: entry for entry in day.ledger.entries()}
    for event in events:
        rests = event["evidences"][0]["data"]
        if "entry" in rests:
            assert entries[rests["entry"]].kind.value == rests["kind"]
            assert entries[rests["entry"]].data.get("check", "") in ("", event["compliance"]["checks"][0]["uid"])
    told = {(e["compliance"]["checks"][0]["uid"], e["compliance"]["status"]) for e in events}
    assert ("aws-iam-user-mfa", "Fail") in told
    assert any(status == "Unknown" for _, status in told)


def test_nothing_is_written_over(day: Lived, tmp_path: Path) -> None:
    (tmp_path / "ar.json").write_bytes(b"mine")
    with pytest.raises(ExportError, match="already there"):
        interchange.stream(day.settings, day.ledger, WINDOW, Format.OSCAL, tmp_path / "ar.json", EXPORTED)
    assert (tmp_path / "ar.json").read_bytes() == b"mine"


def test_nothing_is_left_of_what_broke_off(day: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(dossier: Any) -> Iterator[bytes]:
        yield b"{"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ocsf, "lines", broken)
    with pytest.raises(ExportError, match="No space left"):
        interchange.stream(day.settings, day.ledger, WINDOW, Format.OCSF, tmp_path / "f.jsonl", EXPORTED)
    assert list(tmp_path.iterdir()) == []


def test_options_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="--with"):
        interchange.refuse(Format.OSCAL, [Extra.OCSF], Path("x"))
    with pytest.raises(ConfigError, match="standard output"):
        interchange.refuse(Format.PACKAGE, [], Path("-"))


# --- in a package ---


def test_a_package_holds_them_and_verifies(day: Lived, tmp_path: Path) -> None:
    path = packed(day, tmp_path / "package", Extra.OSCAL, Extra.OCSF)
    assert verify.main([str(path)]) == 0
    results = json.loads((path / oscal.RESULTS_FILE).read_bytes())["assessment-results"]
    plan, catalog = results["back-matter"]["resources"]
    for resource, name in ((plan, "plan.json"), (catalog, oscal.CATALOG_FILE)):
        (link,) = resource["rlinks"]
        assert (path / "oscal" / link["href"]).resolve() == (path / name).resolve()
        assert link["hashes"][0]["value"] == canonical.digest((path / name).read_bytes())
    for observation in results["results"][0]["observations"]:
        for evidence in observation["relevant-evidence"]:
            assert (path / "oscal" / evidence.get("href", "../plan.json")).exists()
    assert (path / ocsf.FINDINGS_FILE).read_bytes().count(b"\n") > 1


def test_a_package_that_nobody_asked_for_them_has_none(day: Lived, tmp_path: Path) -> None:
    path = packed(day, tmp_path / "package")
    assert not (path / "oscal").exists()
    assert not (path / "ocsf").exists()


@pytest.mark.parametrize("name", [oscal.RESULTS_FILE, oscal.CATALOG_FILE, ocsf.FINDINGS_FILE])
def test_a_change_in_them_breaks_the_package(day: Lived, tmp_path: Path, name: str) -> None:
    path = packed(day, tmp_path / "package", Extra.OSCAL, Extra.OCSF)
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    assert verify.main([str(path)]) == 4


def test_twice_the_same_package(day: Lived, tmp_path: Path) -> None:
    first = packed(day, tmp_path / "one.zip", Extra.OSCAL, Extra.OCSF).read_bytes()
    assert first == packed(day, tmp_path / "two.zip", Extra.OCSF, Extra.OSCAL).read_bytes()


def test_a_window_without_criteria_is_refused_before_anything_is_written(day: Lived, tmp_path: Path) -> None:
    dossier = read.read(day.ledger, day.settings, WINDOW, EXPORTED)
    bare = replace(dossier, controls=tuple(replace(card, criteria=()) for card in dossier.controls))
    with pytest.raises(ExportError, match="no control answers to a criterion"):
        interchange.files(bare, [Extra.OSCAL])
    assert list(interchange.files(bare, [Extra.OCSF])) == [ocsf.FINDINGS_FILE]


# --- the command ---


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day whose collector has gone: the folder is what a person stands in."""
    lived = live(tmp_path_factory.mktemp("left") / "collector")
    lived.ledger.checkpoint(EXPORTED + timedelta(hours=1))
    lived.ledger.close()
    return lived.folder


def test_the_command_writes_to_a_pipe(left: Path) -> None:
    found = run("export", "--window", WINDOW, "--format", "ocsf", "--out", "-", cwd=left)
    assert found.returncode == 0, found.stderr.decode()
    assert all(json.loads(line)["class_uid"] == 2003 for line in found.stdout.splitlines())
    assert found.stdout.endswith(b"}\n")


def test_the_command_writes_a_file_and_says_what_it_is_not(left: Path) -> None:
    found = run("export", "--window", WINDOW, "--format", "oscal", "--out", "ar.json", cwd=left)
    assert found.returncode == 0, found.stderr.decode()
    assert b"no evidence by itself" in found.stdout
    assert json.loads((left / "ar.json").read_bytes())["assessment-results"]["results"]
    again = run("export", "--window", WINDOW, "--format", "oscal", "--out", "ar.json", cwd=left)
    assert again.returncode == 2
    assert b"already there" in again.stderr


def test_the_command_puts_both_into_a_package(left: Path) -> None:
    arguments = ("--window", WINDOW, "--out", "package", "--with", "oscal", "--with", "ocsf")
    found = run("export", *arguments, cwd=left)
    assert found.returncode == 0, found.stderr.decode()
    assert (left / "package" / oscal.RESULTS_FILE).exists()
    assert (left / "package" / ocsf.FINDINGS_FILE).exists()
    assert run("verify", "package", cwd=left).returncode == 0


def test_only_a_package_is_an_entry(day: Lived, tmp_path: Path) -> None:
    before = [e.kind for e in day.ledger.entries()].count(Kind.EXPORT)
    stream(day, Format.OCSF, tmp_path / "f.jsonl")
    assert [e.kind for e in day.ledger.entries()].count(Kind.EXPORT) == before


# --- what both use ---


def test_identifiers_last_and_are_of_version_four() -> None:
    assert stable_uuid("a", "b") == "59b271ae-1bbc-41d3-9d41-929817f4b16f"
    assert stable_uuid("a", "b") != stable_uuid("ab")
    assert stable_uuid("a")[14] == "4"
    assert stable_uuid("a")[19] in "89ab"


@pytest.mark.parametrize(("text", "line"), [("a\nb", "a b"), ("  ", "-"), ("", "-"), ("\x00a\u2028b\ufeff", "a b")])
def test_a_line_is_one_line(text: str, line: str) -> None:
    assert one_line(text) == line
