"""Samples out of the ledger, out of a package, out of a zip and by the verifier are the same, and cannot be bent."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from collector.canonical import moment
from collector.cli import app
from collector.errors import ConfigError, ExportError, LedgerBroken
from collector.export import read, sampling
from collector.ledger import verify
from tests.support.eventful import EVE, EXPORTED, MFA, SCOPE, Eventful
from tests.support.lived import DAY, HOUR, Lived

CONTROLS = ("DATA-1", "IAM-1", "OPS-1")


@pytest.fixture(scope="module")
def source(eventful: Eventful) -> sampling.Source:
    return sampling.of_ledger(read.read(eventful.ledger, eventful.settings, "morning", EXPORTED), eventful.ledger)


@pytest.fixture(scope="module")
def zipped(eventful: Eventful, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return eventful.export(tmp_path_factory.mktemp("zip") / "package.zip").path


def items_of(packed: Path, control: str) -> list[dict[str, str]]:
    """The items of a control as the tables have them: those of the runs that decide slots."""
    checks = {card["id"]: card["checks"] for card in json.loads((packed / "controls.json").read_bytes())["controls"]}
    with (packed / "tables/results.csv").open(encoding="utf-8", newline="") as file:
        deciding = {row["run"] for row in csv.DictReader(file)}
    with (packed / "tables/items.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["check"] in checks[control] and row["run"] in deciding]


def by_hand(packed: Path, control: str, seed: str, n: int) -> list[str]:
    """What docs/reference/package.md says, done with the tables."""
    ids = ["|".join((row["check"], row["scope"], row["slot_utc"], row["subject"])) for row in items_of(packed, control)]
    return sorted(ids, key=lambda one: hashlib.sha256((seed + one).encode()).hexdigest())[:n]


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("seed", ["1", "the seed of the auditor", "č"])
@pytest.mark.parametrize("of", [sampling.ITEMS, sampling.SLOTS])
def test_ledger_package_and_zip_draw_the_same(
    source: sampling.Source, packed: Path, zipped: Path, control: str, seed: str, of: str
) -> None:
    drawn = sampling.draw(source, control, seed, 7, of)
    assert len(drawn.drawn) == 7
    assert sampling.draw(sampling.of_package(packed), control, seed, 7, of) == drawn
    assert sampling.draw(sampling.of_package(zipped), control, seed, 7, of) == drawn
    if of == sampling.ITEMS:
        assert [item.chosen.id for item in drawn.drawn] == by_hand(packed, control, seed, 7)
    else:
        assert all(item.subject == "" and item.state == "observed" for item in drawn.drawn)


def test_the_verifier_draws_the_same(source: sampling.Source, packed: Path) -> None:
    sample = ("IAM-1", "seed", 5)
    theirs = verify.prove(packed, None, run_packaged_checks=False, progress=False, sample=sample)["sample"]
    ours = sampling.draw(source, "IAM-1", "seed", 5)
    assert theirs["population"] == {"count": ours.population.count, "digest": ours.population.digest}
    assert [(i["place"], i["rank"], i["id"], i["state"], i["reason"], i["run"]) for i in theirs["items"]] == [
        (i.chosen.place, i.chosen.rank, i.chosen.id, i.state, i.reason, i.run) for i in ours.drawn
    ]


def test_what_was_drawn_is_what_the_tables_say(source: sampling.Source, packed: Path) -> None:
    known = {(r["check"], r["scope"], r["slot_utc"], r["subject"]): r for r in items_of(packed, "IAM-1")}
    drawn = sampling.draw(source, "IAM-1", "s", 1000)
    assert len(drawn.drawn) == drawn.population.count == len(known)
    for item in drawn.drawn:
        row = known[item.check, item.scope, f"{item.slot:%Y-%m-%dT%H:%M:%S.%f}Z", item.subject]
        assert (item.state, item.reason, item.facts, item.evidence, str(item.run)) == (
            row["state"],
            row["reason"],
            row["facts"],
            row["evidence"],
            row["run"],
        )
    bad = sum(item.state == "not-satisfied" for item in drawn.drawn)
    assert bad > 3
    assert f"{bad} of them deviate" in drawn.says[0]


def test_populations_are_written_down_with_their_digests(source: sampling.Source, packed: Path) -> None:
    said = json.loads((packed / sampling.FILE).read_bytes())
    assert [item["control"] for item in said["controls"]] == list(CONTROLS)
    for item in said["controls"]:
        ids = [
            "|".join((r["check"], r["scope"], r["slot_utc"], r["subject"])) for r in items_of(packed, item["control"])
        ]
        digest = hashlib.sha256("".join(f"{id}\n" for id in ids).encode()).hexdigest()
        assert item["items"] == {"count": len(ids), "digest": digest}
        with (packed / "tables/results.csv").open(encoding="utf-8", newline="") as file:
            due = [r for r in csv.DictReader(file) if r["check"] in item["checks"]]
        slots = "".join(f"{r['check']}|{r['scope']}|{r['due_utc']}\n" for r in due)
        assert item["slots"] == {"count": len(due), "digest": hashlib.sha256(slots.encode()).hexdigest()}
    assert [(row["n"], row["at_most"]) for row in said["clean"]] == [
        (25, "8.8 %"),
        (45, "5.0 %"),
        (60, "3.8 %"),
        (180, "1.3 %"),
        (365, "0.6 %"),
    ]


def test_a_second_look_and_a_run_by_hand_are_in_no_population(tmp_path: Path) -> None:
    lived = Lived(tmp_path / "day")
    for _ in range(9):
        lived.hour()
    before = populations(lived)
    lived.operation.observe(lived.settings.aws[0], None)  # by hand
    lived.now += 20 * HOUR
    lived.ledger.checkpoint(lived.now)
    assert populations(lived) == before
    lived.ledger.close()


def populations(lived: Lived) -> Any:
    lived.ledger.checkpoint(lived.now)
    dossier = read.read(lived.ledger, lived.settings, "morning", DAY + 8 * HOUR + 40 * HOUR / 60)
    source = sampling.of_ledger(dossier, lived.ledger)
    return sampling.item_populations(source), sampling.slot_populations(source)


# --- refusals ---


@pytest.mark.parametrize(
    ("control", "seed", "n", "words"),
    [
        ("IAM-2", "s", 1, "has no control 'IAM-2'; did you mean 'IAM-1'"),
        ("IAM-1", "", 1, "a seed has from 1 to 200"),
        ("IAM-1", "s", 0, "a sample has from 1 to"),
    ],
)
def test_what_cannot_be_drawn_is_refused(source: sampling.Source, control: str, seed: str, n: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        sampling.draw(source, control, seed, n)


def test_a_control_without_a_check_has_no_population(source: sampling.Source) -> None:
    from dataclasses import replace

    with pytest.raises(ConfigError, match="evidenced elsewhere"):
        sampling.draw(replace(source, controls={"HR-1": ()}), "HR-1", "s", 1)


def test_a_package_that_was_bent_is_refused(packed: Path, tmp_path: Path) -> None:
    root = tmp_path / "bent"
    shutil.copytree(packed, root)
    entries = [json.loads(line) for line in (root / "ledger/entries.jsonl").read_bytes().splitlines()]
    run = next(e for e in entries if e["kind"] == "run" and e["check"] == MFA and (e["slot"] or "") > "2026-01-01T06")
    name = root / "objects" / run["observations"][:2] / run["observations"][2:]
    name.write_bytes(name.read_bytes().replace(b"not-satisfied", b"satisfied"))
    with pytest.raises(LedgerBroken, match="is not what its name says"):
        sampling.draw(sampling.of_package(root), "IAM-1", "s", 5)
    name.write_bytes((packed / name.relative_to(root)).read_bytes())
    lines = (root / "ledger/entries.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["seq"] != run["seq"]]
    (root / "ledger/entries.jsonl").write_bytes(b"".join(kept))
    with pytest.raises(LedgerBroken, match="of the package says"):
        sampling.draw(sampling.of_package(root), "IAM-1", "s", 5)


@pytest.mark.parametrize("name", ["nothing", "a file", "an empty folder", "no manifest"])
def test_what_is_no_package_is_said_to_be_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a file":
        path.write_bytes(b"PK no zip")
    elif name != "nothing":
        path.mkdir()
    if name == "no manifest":
        (path / "manifest.dsse.json").write_text("{}")
    with pytest.raises(ExportError, match=r"collector verify|no such folder|neither a folder nor a zip"):
        sampling.of_package(path)


# --- the command ---


def test_the_command_draws_from_a_package_alone_and_writes_a_table(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "sample.csv"
    arguments = ["sample", "--package", str(packed), "--control", "IAM-1", "--seed", "=seed", "--n", "30"]
    told = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert told.exit_code == 0, told.output
    assert "With 90 % confidence" in told.output or "nothing to infer" in told.output
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    drawn = sampling.draw(sampling.of_package(packed), "IAM-1", "=seed", 30)
    assert [row["rank"] for row in rows] == [item.chosen.rank for item in drawn.drawn]
    assert {row["seed"] for row in rows} == {"'=seed"}, "no cell is run by a spreadsheet"
    assert {row["population_digest"] for row in rows} == {drawn.population.digest}
    assert {moment(row["slot_local"]) == moment(row["slot_utc"]) for row in rows} == {True}
    assert EVE in {row["subject"] for row in rows}
    again = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert again.exit_code != 0
    assert "is already there" in str(again.exception)


def test_the_command_draws_the_same_from_the_ledger(eventful: Eventful, packed: Path) -> None:
    common = ["--control", "DATA-1", "--seed", "x", "--n", "4", "--json"]
    config = str(eventful.folder / "collector.toml")
    ledger = CliRunner().invoke(app, ["sample", "--window", "morning", "--config", config, *common])
    alone = CliRunner().invoke(app, ["sample", "--window", "morning", "--package", str(packed), *common])
    assert ledger.exit_code == alone.exit_code == 0, ledger.output + alone.output
    assert json.loads(ledger.output) == json.loads(alone.output)
    assert len(json.loads(alone.output)["items"]) == 4
    slots = CliRunner().invoke(app, ["sample", "--package", str(packed), *common, "--slots"])
    assert {item["scope"].startswith(SCOPE) for item in json.loads(slots.output)["items"]} == {True}
    assert json.loads(slots.output)["of"] == "slots"


@pytest.mark.parametrize(("arguments", "words"), [([], "name a window"), (["--window", "other"], "is of the window")])
def test_the_command_says_what_is_missing(packed: Path, arguments: list[str], words: str) -> None:
    where = ["--package", str(packed)] if arguments else []
    told = CliRunner().invoke(app, ["sample", "--control", "IAM-1", "--seed", "s", "--n", "1", *arguments, *where])
    assert words in str(told.exception)
