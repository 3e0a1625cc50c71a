"""Looks between the slots in a package: each subject before and after, and a verifier that finds it out for itself."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collector.export import read, rows
from collector.feed.event import Asked, News
from collector.ledger import verify
from collector.ledger.entry import Kind
from collector.model import Scope
from tests.support.lived import ACCOUNT, EXPORTED, HOME, Lived

CHECK = "aws-ebs-volume-encryption"
SCOPE = Scope("aws", ACCOUNT, HOME)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """Looks at 5:20 (before the window), at 8:20 (one volume fell), 8:40 (and nobody may list), 9:20 (mended)."""
    found = Lived(tmp_path_factory.mktemp("spots") / "collector")
    for hour in range(17):
        found.hour()
        if hour == 5:
            look(found, 20, "=1+1")
        if hour == 8:
            found.cloud.encrypted["vol-2"] = False
            look(found, 20, "+event:8")
            found.cloud.fails = {("describe_volumes", HOME): "denied"}
            look(found, 40, "b")
            found.cloud.fails = {}
        if hour == 9:
            found.cloud.encrypted["vol-2"] = True
            look(found, 20, "c", "gone")
    yield found
    found.ledger.close()


def look(lived: Lived, minute: int, event: str, *more: str) -> None:
    lived.now = lived.now.replace(minute=minute)
    names = sorted(lived.ledger.projection.open_states(CHECK, str(SCOPE)))
    asked = Asked(CHECK, SCOPE, frozenset([*names, *more]))
    assert lived.operation.spot(
        lived.settings.aws[0], [asked], News("aws/main", (event,), lived.now - timedelta(seconds=9))
    )


def table(root: Path) -> list[dict[str, str]]:
    with (root / "tables/spots.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def told(root: Path) -> dict[str, Any]:
    return verify.prove(root, None, run_packaged_checks=False, progress=False)


def test_every_look_of_the_window_is_there_with_each_subject_before_and_after(lived: Lived, tmp_path: Path) -> None:
    root = lived.export(tmp_path / "package").path
    found = told(root)
    assert found["verified"], found["broken"]
    shown = [(r["subject"][-5:], r["before"], r["after"]) for r in table(root)]
    good, bad = "satisfied", "not-satisfied"
    assert shown == [
        ("vol-1", good, good),
        ("vol-2", good, bad),
        ("vol-1", good, ""),
        ("vol-2", bad, ""),
        ("vol-1", good, good),
        ("vol-2", bad, good),
        ("gone", "", ""),
    ]
    first, *_, last = table(root)
    entries = list(lived.ledger.entries(kinds=[Kind.SPOT]))
    assert (first["entry"], first["events"], first["feed"]) == (str(entries[1].seq), "'+event:8", "aws/main")
    assert (first["delay_s"], first["event_utc"]) == ("9", "2026-01-01T08:20:21.000000Z")
    denied = table(root)[2]
    assert "denied" in denied["reason"].lower()
    gone = next(row for row in table(root) if row["subject"] == "gone")
    assert gone["reason"] == "is not in the listing"
    assert last["calls"] == entries[-1].data["calls"]
    assert (root / "tables/tables.xlsx").is_file()


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("after", lambda line: replace(line, after="satisfied")),
        ("before", lambda line: replace(line, before="not-satisfied")),
        ("subject", lambda line: replace(line, subject="another")),
        ("dropped", lambda line: None),
    ],
)
def test_a_table_that_says_otherwise_does_not_verify(
    lived: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, change: Any
) -> None:
    true = rows.spots

    def forged(dossier: Any) -> Any:
        second = dossier.spots[1]
        lines = [change(line) if line is second else line for line in dossier.spots]
        return true(replace(dossier, spots=tuple(line for line in lines if line is not None)))

    monkeypatch.setattr(rows, "spots", forged)
    found = told(lived.export(tmp_path / "package").path)
    assert not found["verified"], what
    assert "spots.csv" in str(found["broken"])


def test_a_package_without_the_table_still_verifies_and_says_so(
    lived: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collector.export import tables

    monkeypatch.setattr(tables, "TABLES", tuple(t for t in tables.TABLES if t.name != "spots"))
    found = told(lived.export(tmp_path / "package").path)
    assert found["verified"], found["broken"]
    assert "spots.csv" in str(found["not_proved"])


def test_looks_of_other_checks_are_left_out_with_them(lived: Lived) -> None:
    lived.ledger.checkpoint(EXPORTED)
    asked = read.Asked(controls=("IAM-1",))
    assert read.read(lived.ledger, lived.settings, "morning", EXPORTED, asked=asked).spots == ()
