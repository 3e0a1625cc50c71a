"""What simulated lives found first, each as one small story."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collector import canonical, config, decisions
from collector.ledger import verify
from collector.ledger.entry import Kind
from collector.window.slots import due, plan_from
from tests.support import eventful
from tests.support.lived import CONFIG, DAY, HOUR, Lived

OTHER = "210987654321"


def test_nothing_is_due_of_an_account_that_was_taken_out(tmp_path: Path) -> None:
    """Its plan reached a year ahead, and each slot of it counted as missed."""
    both = CONFIG.replace("[windows.morning]", f'[[aws]]\naccount = "{OTHER}"\n[windows.morning]')
    lived = Lived(tmp_path, both)
    lived.operation.plan(lived.settings.aws[1])
    for _ in range(3):
        lived.hour()
    (tmp_path / "collector.toml").write_text(CONFIG)
    lived.settings = config.load(tmp_path / "collector.toml", {})
    lived.ledger.close()
    lived.operation = lived.start()
    plans = [plan_from(entry.data) for entry in lived.ledger.entries(kinds=[Kind.PLAN])]
    gone = [item for item in due(plans, DAY, DAY + 400 * 24 * HOUR) if item.account == f"aws/{OTHER}"]
    assert gone
    assert max(item.at for item in gone) <= lived.now
    gaps = [entry.data for entry in lived.ledger.entries(kinds=[Kind.GAP])]
    assert {gap["reason"] for gap in gaps} == {"the account was taken out of the configuration"}
    for item in gone:
        assert any(
            gap["account"] == item.account
            and canonical.moment(gap["since"]) <= item.at < canonical.moment(gap["until"])
            and item.check in gap["checks"]
            for gap in gaps
        )
    before = lived.ledger.size()
    lived.operation.announce()
    assert lived.ledger.size() == before


class Early(eventful.Eventful):
    """Bob's acceptance is revoked before the window begins, and before its range does."""

    def _before(self, hour: int) -> None:
        super()._before(hour)
        if hour == 4:
            words: dict[str, Any] = {"approver": "Dora", "reason": "it took too long"}
            decisions.revoke(self.ledger, self.now + HOUR / 4, seq=self.entries["acceptance"].seq, **words)

    def _after(self, hour: int) -> None:
        if hour == 7:  # there is nothing left to revoke
            self._anchor(hour)
        else:
            super()._after(hour)


def test_a_decision_that_ended_before_the_range_is_no_false_alarm(tmp_path: Path) -> None:
    """The acceptance came into the package beside its exception, and its revocation did not."""
    lived = Early(tmp_path / "life")
    lived.export(tmp_path / "package")
    found = verify.prove(tmp_path / "package", None, False, False)
    assert found["broken"] == []
