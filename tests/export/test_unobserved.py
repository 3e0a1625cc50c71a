"""A deviation that nobody is to look at any more: a package says since when, and never that it was mended."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.export import read
from collector.export.life import Asking
from collector.ledger import verify
from collector.ledger.entry import Kind
from tests.support.lived import CONTROLS, DAY, EXPORTED, HOUR, Lived

UNBOUND = CONTROLS.replace('checks = ["aws-iam-user-mfa"]', "checks = []")


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[Lived]:
    """Bob has no MFA from 8 on, and from 12 on no control asks for it."""
    found = Lived(tmp_path / "collector")
    for hour in range(17):
        found.cloud.mfa["bob"] = "true" if hour < 8 else "false"
        if hour == 12:
            found.reconfigure(UNBOUND)
        found.hour()
    yield found
    found.ledger.close()


def rows(root: Path, name: str) -> list[dict[str, str]]:
    with (root / f"tables/{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_an_exception_ends_as_no_longer_observed_and_not_as_mended(lived: Lived, tmp_path: Path) -> None:
    root = lived.export(tmp_path / "package").path
    told = verify.prove(root, None, run_packaged_checks=False, progress=False)
    assert told["verified"], told["broken"]
    (bob,) = rows(root, "exceptions")
    plan = next(e for e in lived.ledger.entries(kinds=[Kind.PLAN]) if "aws-iam-user-mfa" not in str(e.data["checks"]))
    assert (bob["unobserved_by"], bob["unobserved_utc"]) == (str(plan.seq), plan.data["since"])
    assert (bob["until_utc"], bob["mended_by"], bob["still_open"]) == ("", "", "yes")
    assert bob["duration_s"] == str(8 * 3600 - 30), "nobody saw it end"
    began, over = rows(root, "alerts")
    assert (began["event"], began["unobserved"]) == ("trigger", "no")
    assert (over["event"], over["unobserved"]) == ("resolve", "yes")
    report = " ".join((root / "report.html").read_text().split())
    assert "no longer observed since" in report
    assert "not seen mended" in report
    assert "resolved: failed" not in report


def test_a_package_that_says_another_time_does_not_verify(
    lived: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Asking, "left", lambda self, check, scope: (DAY + 9 * HOUR, 5))
    root = lived.export(tmp_path / "package").path
    told = verify.prove(root, None, run_packaged_checks=False, progress=False)
    assert not told["verified"]
    assert "plans ask for no more" in str(told["broken"])


def test_what_is_asked_again_at_the_end_of_the_window_is_open_and_observed(lived: Lived) -> None:
    lived.reconfigure(CONTROLS)
    lived.ledger.checkpoint(EXPORTED)
    later = lived.settings.windows["morning"].model_copy(update={"end": DAY + 18 * HOUR})
    settings = lived.settings.model_copy(update={"windows": {"morning": later}})
    (life,) = read.read(lived.ledger, settings, "morning", EXPORTED).lives
    assert life.unobserved is None
