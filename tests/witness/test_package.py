"""From end to end: a collector anchors hourly before a witness, and an auditor verifies with its trust folder."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from collector.anchor.witness import WitnessAnchor
from collector.anchoring import Anchoring
from collector.errors import LedgerBroken
from collector.ledger import verify
from collector.ledger.seal import FileSigner
from collector.witness.keeper import Keeper
from collector.witness.server import Server
from tests.support.lived import CONFIG, EXPORTED, Lived

ORIGIN = "test.local/acme"


class Audit:
    """A company that collects, and the auditor's witness beside it, on the company's simulated clock."""

    def __init__(self, folder, witnessed_by=None):
        self.folder = folder
        self.keeper = witnessed_by or Keeper.begin(
            folder / "witness", "auditor.example/w1", lambda: int(self.lived.now.timestamp())
        )
        self.server = Server("127.0.0.1:0", self.keeper)
        self.server.start()
        place = f'\n[anchors.witness.auditor]\nurl = "{self.server.url}"\nvkey = "{self.keeper.key}"\n'
        self.lived = Lived(folder / "company", CONFIG + place)
        settings, operation = self.lived.settings, self.lived.operation
        witness = WitnessAnchor("auditor", settings.anchors.witness["auditor"], ORIGIN, lambda: self.lived.now)
        about = (settings, operation.controls, operation.registry)
        self.anchoring = Anchoring(self.lived.ledger, {witness.id: witness}, lambda: self.lived.now, *about)

    def live(self, hours):
        for _ in range(hours):
            self.lived.hour()
            self.anchoring.put_newest()

    def export(self):
        self.lived.now = EXPORTED
        self.lived.operation.checkpoint()
        self.anchoring.put_newest()
        self.lived.operation.checkpoint()
        return self.lived.export(self.folder / "package")

    def close(self):
        self.server.stop()
        self.lived.ledger.close()


@pytest.fixture
def audit(tmp_path) -> Iterator[Audit]:
    found = Audit(tmp_path)
    found.keeper.trust(str(found.lived.ledger.key()))
    found.anchoring.begin()
    yield found
    found.close()
    found.keeper.close()


def verified(folder, capsys):
    capsys.readouterr()
    code = verify.main([str(folder / "package"), "--trust", str(folder / "trust"), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_witnessed_window_is_as_strong_as_it_gets(audit, capsys):
    audit.live(18)
    audit.export()
    assert audit.keeper.export(audit.folder / "trust", ORIGIN) == 19
    code, said = verified(audit.folder, capsys)
    assert code == 0, said
    assert said["assurance"]["level"] == 3, said["assurance"]


def test_without_the_witness_s_key_its_cosignatures_are_worth_nothing(audit, capsys):
    audit.live(18)
    audit.export()
    audit.keeper.export(audit.folder / "trust", ORIGIN)
    (audit.folder / "trust" / "witness.vkey").unlink()
    code, said = verified(audit.folder, capsys)
    assert code == 0, said
    assert said["assurance"]["level"] < 3, said["assurance"]


def test_a_key_that_was_rotated_and_is_distrusted_takes_nothing_away(audit, capsys):
    audit.live(9)
    second = FileSigner.create(audit.folder / "second.pem", ORIGIN)
    audit.lived.ledger.rotate(second, audit.lived.now, "the holder of the key left")
    audit.keeper.trust(str(second.key))
    audit.keeper.distrust(str(audit.lived.signer.key))
    audit.lived.forged_signer = second
    audit.live(9)
    audit.export()
    audit.keeper.export(audit.folder / "trust", ORIGIN)
    assert (audit.folder / "trust" / "log.vkey").read_text() == f"{second.key}\n"
    code, said = verified(audit.folder, capsys)
    assert code == 0, said
    assert said["assurance"]["level"] == 3, said["assurance"]


def test_a_day_that_was_written_anew_with_the_right_key_is_refused_twice(audit, capsys):
    """By the witness when it is anchored, and by the auditor's folder when it is exported all the same."""
    audit.live(18)
    audit.keeper.export(audit.folder / "trust", ORIGIN)
    key = audit.lived.settings.collector.key.read_bytes()
    forged_folder = audit.folder / "forged"
    (forged_folder / "company" / "data").mkdir(parents=True)
    path = forged_folder / audit.lived.settings.collector.key.relative_to(audit.folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(key)
    path.chmod(0o600)
    forged = Audit(forged_folder, witnessed_by=audit.keeper)
    try:
        assert forged.lived.ledger.key() == audit.lived.ledger.key()
        with pytest.raises(LedgerBroken):
            forged.anchoring.begin()
        for _ in range(18):
            forged.lived.cloud.mfa["bob"] = "true"
            forged.lived.hour("written anew")
            with pytest.raises(LedgerBroken):
                forged.anchoring.put_newest()
        forged.lived.now = EXPORTED
        forged.lived.operation.checkpoint()
        forged.lived.export(forged_folder / "package")
    finally:
        forged.close()
    (audit.folder / "trust").rename(forged_folder / "trust")
    code, said = verified(forged_folder, capsys)
    assert code == 4, said


def test_an_export_that_anchors_at_the_same_time_is_no_old_copy(audit):
    """The daemon has read the newest checkpoint; the export signs and anchors a newer one before the daemon does."""
    audit.live(3)
    older = audit.lived.ledger.checkpoints()[-2]
    (place,) = audit.anchoring.places.items()
    size = audit.lived.ledger.size()
    assert audit.anchoring._put(*place, older)
    assert audit.lived.ledger.size() == size  # nothing is written: it did not fail, and it is not news
    audit.live(1)
    assert audit.keeper.logs()[0].size == audit.lived.ledger.checkpoints()[-1].size
