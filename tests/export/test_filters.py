"""A part of a window: what is asked for is there, what is not is counted, the ledger is whole, nonsense is refused."""

from __future__ import annotations

import base64
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collector.errors import ConfigError
from collector.export import package, read
from collector.export.read import Asked
from collector.ledger import verify
from tests.support.eventful import EBS, EXPORTED, MFA, PATCH, SCOPE, Eventful
from tests.support.lived import HOME


def part(eventful: Eventful, out: Path, **asked: tuple[str, ...]) -> Path:
    dossier = read.read(eventful.ledger, eventful.settings, "morning", EXPORTED, asked=Asked(**asked), by="Ann")
    return package.write(dossier, eventful.ledger, eventful.signer, out).path


def predicate(root: Path) -> Any:
    return json.loads(base64.b64decode(json.loads((root / "manifest.dsse.json").read_bytes())["payload"]))["predicate"]


def column(root: Path, table: str, name: str) -> list[str]:
    with (root / f"tables/{table}.csv").open(encoding="utf-8", newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def objects(root: Path) -> set[str]:
    return {path.relative_to(root / "objects").as_posix() for path in (root / "objects").rglob("*/*")}


EVERY = {"DATA-1", "IAM-1", "OPS-1"}
PARTS: list[tuple[dict[str, tuple[str, ...]], set[str], set[str], set[str]]] = [
    ({"controls": ("IAM-1",)}, {"IAM-1"}, {MFA}, {SCOPE}),
    ({"controls": ("OPS-1", "DATA-1")}, {"DATA-1", "OPS-1"}, {EBS, PATCH}, {f"{SCOPE}/{HOME}", f"{SCOPE}/us-east-1"}),
    ({"criteria": ("CC7.1",)}, {"OPS-1"}, {PATCH}, {f"{SCOPE}/{HOME}", f"{SCOPE}/us-east-1"}),
    ({"scopes": (f"{SCOPE}/{HOME}",)}, {"DATA-1", "IAM-1", "OPS-1"}, {EBS, PATCH}, {f"{SCOPE}/{HOME}"}),
    ({"controls": ("DATA-1",), "scopes": (f"{SCOPE}/us-east-1",)}, {"DATA-1"}, {EBS}, {f"{SCOPE}/us-east-1"}),
    ({"scopes": (SCOPE,)}, EVERY, {EBS, MFA, PATCH}, {SCOPE, f"{SCOPE}/{HOME}", f"{SCOPE}/us-east-1"}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "controls", "checks", "scopes"), PARTS)
def test_a_part_holds_what_was_asked_for_and_counts_the_rest(
    eventful: Eventful,
    packed: Path,
    tmp_path: Path,
    asked: dict[str, tuple[str, ...]],
    controls: set[str],
    checks: set[str],
    scopes: set[str],
) -> None:
    found = part(eventful, tmp_path / "part", **asked)
    said, whole = predicate(found), predicate(packed)
    assert {path.stem for path in (found / "controls").iterdir()} == controls
    assert {card["id"] for card in json.loads((found / "controls.json").read_bytes())["controls"]} == controls
    for table in ("results", "coverage", "populations"):
        assert set(column(found, table, "check")) == checks, table
        assert set(column(found, table, "scope")) == scopes, table
    for table in ("items", "states"):  # there is nobody in the second region
        assert set(column(found, table, "check")) <= checks, table
        assert set(column(found, table, "scope")) == scopes - {f"{SCOPE}/us-east-1"}, table
    assert set(column(found, "exceptions", "check")) <= checks
    if not asked.get("scopes"):  # what is said of the account concerns its regions too
        assert set(column(found, "decisions", "check")) <= checks
        assert set(column(found, "alerts", "check")) <= {*checks, ""}
    assert set(said["filters"]["controls"]) == set(asked.get("controls", ()))
    assert set(said["filters"]["scopes"]) == set(asked.get("scopes", ()))
    assert said["exporter"]["by"] == "Ann"
    # what it leaves out, and what it holds, are the whole window
    assert said["left_out"]["slots"] + said["counts"]["due"] == whole["counts"]["due"] + whole["left_out"]["slots"]
    assert said["left_out"]["runs"] + said["counts"]["runs"] == whole["counts"]["runs"] + whole["left_out"]["runs"]
    assert said["left_out"]["controls"] == 3 - len(controls)
    # the ledger is whole
    for name in ("ledger/entries.jsonl", "ledger/range.json"):
        assert (found / name).read_bytes() == (packed / name).read_bytes()
    assert {p.name for p in (found / "anchors").iterdir()} == {p.name for p in (packed / "anchors").iterdir()}
    assert objects(found) <= objects(packed)
    told = verify.prove(found, None, run_packaged_checks=False, progress=False)
    assert told["verified"], told["broken"]


def test_readme_says_that_it_is_a_part(eventful: Eventful, packed: Path, tmp_path: Path) -> None:
    found = part(eventful, tmp_path / "part", controls=("IAM-1",))
    words = "it leaves out 2 controls, 40 due slots and 40 runs"
    text = " ".join((found / "README.txt").read_text().split())
    assert words in text
    assert words in " ".join((found / "report.html").read_text().split())
    assert "it leaves out" not in (packed / "README.txt").read_text()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"controls": ("IAM-2",)},
            "no control 'IAM-2' serves the criteria of the window morning; did you mean 'IAM-1'",
        ),
        ({"criteria": ("CC6.2",)}, "the window morning is not about the criterion 'CC6.2'; did you mean"),
        ({"criteria": ("nonsense",)}, "not about the criterion 'nonsense'"),
        ({"scopes": ("aws/999999999999",)}, "nothing was planned over the scope 'aws/999999999999' in the window"),
        ({"scopes": (f"{SCOPE}/eu-west-2",)}, f"Planned were {SCOPE}, {SCOPE}/eu-west-1, {SCOPE}/us-east-1"),
        (
            {"controls": ("IAM-1",), "criteria": ("CC7.1",)},
            "no control of the window morning is all of this: IAM-1, CC7.1",
        ),
    ],
)
def test_what_the_window_is_not_about_is_refused(
    eventful: Eventful, asked: dict[str, tuple[str, ...]], words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        read.read(eventful.ledger, eventful.settings, "morning", EXPORTED, asked=Asked(**asked))
    assert words in str(error.value)


def test_a_scope_outside_of_those_of_the_window_is_refused(eventful: Eventful) -> None:
    with pytest.raises(ConfigError, match=f"the window people is not about the scope 'aws/9'; it is about {SCOPE}"):
        read.read(eventful.ledger, eventful.settings, "people", EXPORTED, asked=Asked(scopes=("aws/9",)))


def test_a_control_that_the_window_leaves_out_is_not_to_be_had(eventful: Eventful) -> None:
    with pytest.raises(ConfigError, match="no control 'OPS-1' serves the criteria of the window people"):
        read.read(eventful.ledger, eventful.settings, "people", EXPORTED, asked=Asked(controls=("OPS-1",)))


def collector(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, "-m", "collector", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_the_command_takes_the_filters_and_names_what_is_wrong(tmp_path: Path) -> None:
    lived = Eventful(tmp_path / "collector")
    lived.ledger.close()
    (lived.folder / "shelf").mkdir()  # the export puts its checkpoint there first
    found = collector(
        lived.folder, "export", "--window", "morning", "--out", "part.zip", "--control", "IAM-1", "--by", "Ann"
    )
    assert found.returncode == 0, found.stderr
    proof = verify.prove(lived.folder / "part.zip", None, run_packaged_checks=False, progress=False)
    assert proof["verified"], proof["broken"]
    assert any((lived.folder / "shelf").iterdir())
    wrong = collector(lived.folder, "export", "--window", "morning", "--out", "no", "--control", "IAM-9")
    assert (wrong.returncode, (lived.folder / "no").exists()) == (2, False)
    assert "no control 'IAM-9'" in wrong.stderr
    assert "Traceback" not in wrong.stderr
