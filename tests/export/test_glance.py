"""A look at a window says what reading all of it says, and when it is only of a part it says which."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collector.export import read
from collector.export.glance import Glance, glance
from tests.support.lived import DAY, HOUR, Lived, live

GRACE = timedelta(minutes=15)
CONTROLS = [
    ("IAM-1", ("CC6.1",), ["aws-iam-user-mfa"]),
    ("DATA-1", ("CC6.7",), ["aws-ebs-volume-encryption"]),
    ("OPS-1", ("CC7.1",), ["aws-ec2-patch-compliance"]),
    ("LAW-1", ("CC1.1",), ["aws-root-mfa"]),
    ("PAPER-1", ("CC6.1",), []),
]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return live(tmp_path_factory.mktemp("day"))


def look(day: Lived, hour: int, window: str = "morning", slots_max: int = 1000) -> Glance | None:
    now = DAY + hour * HOUR
    return glance(day.ledger.projection, window, day.settings.windows[window], CONTROLS, now, GRACE, slots_max)


@pytest.mark.parametrize("window", ["morning", "people"])
@pytest.mark.parametrize("hour", [9, 12, 14, 20])
def test_it_says_what_the_ledger_says(day: Lived, window: str, hour: int) -> None:
    found = look(day, hour, window)
    dossier = read.read(day.ledger, day.settings, window, DAY + hour * HOUR, upto=day.ledger.size())
    assert found is not None
    assert found.whole
    assert (found.since, found.until, found.ends) == (dossier.since, dossier.until, dossier.ends or dossier.until)
    mine = {check for _, checks in found.controls for check in checks}
    assert sorted(found.slots, key=lambda s: s.due) == sorted(
        (slot for slot in dossier.slots if slot.due.check in mine), key=lambda s: s.due
    )
    assert set(found.coverage) == {line for line in dossier.control_coverage if set(line.checks) <= mine}


def test_controls_of_other_criteria_and_those_without_checks_are_left_out(day: Lived) -> None:
    found = look(day, 14)
    assert found is not None
    assert [id for id, _ in found.controls] == ["IAM-1", "DATA-1", "OPS-1"]


def test_of_a_long_window_the_newest_part_is_looked_at(day: Lived) -> None:
    found, whole = look(day, 16, slots_max=15), look(day, 16)
    assert found is not None
    assert whole is not None
    assert (found.whole, found.ends) == (False, found.until), "what is to come is not drawn beside so little"
    assert found.since == DAY + 12 * HOUR, "five slots an hour: three hours before 15:45, from a full hour on"
    assert list(found.slots) == [slot for slot in whole.slots if slot.due.at >= found.since]


def test_before_anything_was_due_there_is_nothing_to_look_at(day: Lived) -> None:
    assert look(day, 6) is None
    assert look(day, 9, "later") is None


def test_the_number_of_slots_bounds_the_work(day: Lived) -> None:
    found = look(day, 16, slots_max=1)
    assert found is not None
    assert 0 < len(found.slots) <= 10
