"""A slot just before a window's end, answered just after it: what was then seen makes no window look well."""

from __future__ import annotations

import csv
import html
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from collector.export import package, read
from collector.export.dossier import Dossier
from collector.ledger import verify
from collector.model import State
from tests.support.lived import DAY, EXPORTED, HOUR, Lived


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """The run for the slot at 16:00 begins at 16:00:30, and is the first to see that bob has no MFA."""
    found = Lived(tmp_path_factory.mktemp("after") / "collector")
    for hour in range(18):
        found.cloud.mfa["bob"] = "true" if hour < 16 else "false"
        found.hour()
    found.ledger.checkpoint(EXPORTED)
    yield found
    found.ledger.close()


def until(lived: Lived, seconds: int) -> Dossier:
    end = DAY + 16 * HOUR + timedelta(seconds=seconds)
    window = lived.settings.windows["morning"].model_copy(update={"end": end})
    settings = lived.settings.model_copy(update={"windows": {"morning": window}})
    return read.read(lived.ledger, settings, "morning", EXPORTED)


@pytest.mark.parametrize(
    ("seconds", "due", "state"),
    [
        (0, 10, State.SATISFIED),  # the slot is not of the window
        (1, 11, State.UNDETERMINED),
        (30, 11, State.UNDETERMINED),  # half-open: the run begins at the end
        (31, 11, State.NOT_SATISFIED),
    ],
)
def test_a_control_is_not_satisfied_by_what_was_seen_bad_after_the_end(
    lived: Lived, seconds: int, due: int, state: State
) -> None:
    found = {finding.control: finding for finding in until(lived, seconds).findings}
    assert (found["IAM-1"].due, found["IAM-1"].covered, found["IAM-1"].state) == (due, due, state)
    if state is State.UNDETERMINED:
        assert "1 of 11 slots answered after the window's end, and then not satisfied" in found["IAM-1"].words
    assert found["OPS-1"].state is State.SATISFIED  # what was seen well after the end is no reason for doubt


def test_the_package_says_the_same_and_verifies(lived: Lived, tmp_path: Path) -> None:
    root = package.write(until(lived, 10), lived.ledger, lived.signer, tmp_path / "package").path
    told = verify.prove(root, None, run_packaged_checks=False, progress=False)
    assert told["verified"], told["broken"]
    with (root / "tables/exceptions.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file, strict=True)) == []
    assert "answered after the window's end" in html.unescape((root / "report.html").read_text())
