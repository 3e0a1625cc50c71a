"""A real ledger before a real witness: growth, a rotated key, a restored backup, a rewritten history."""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from collector.anchor.base import Ahead
from collector.anchor.witness import WitnessAnchor
from collector.config_places import WitnessPlace
from collector.errors import Denied, LedgerBroken
from collector.ledger import cosignature
from collector.ledger.cosignature import WitnessKey
from collector.ledger.entry import Draft, Kind
from collector.ledger.note import BadNote, Note, TreeHead, VerifierKey
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from tests.witness.world import NOW, ORIGIN

START = datetime.fromtimestamp(NOW, UTC)


class Company:
    """The ledger, its key, and the daemon's way of anchoring it."""

    def __init__(self, folder, url, key):
        self.path = folder / "ledger.db"
        self.signer = FileSigner.create(folder / "log.pem", ORIGIN)
        self.ledger = self.open()
        place = WitnessPlace(url=url, vkey=str(key), timeout="5s")
        self.witness = WitnessAnchor("parent", place, ORIGIN, lambda: START)

    def open(self):
        return Ledger.open(f"sqlite:///{self.path}", origin=ORIGIN, signer=self.signer, create=True)

    def live(self, hours, host="h"):
        with self.ledger.write() as batch:
            for hour in range(hours):
                at = START + timedelta(hours=hour)
                batch.add(Draft(Kind.HEARTBEAT, at, {"collector": "0.1.0", "host": host, "uptime_s": hour}))

    def anchor(self):
        self.ledger.checkpoint(START)
        newest = self.ledger.checkpoints()[-1]
        head = TreeHead.parse(Note.parse(newest.note).text)
        return self.witness.put(newest.note.encode(), head, lambda old: self.ledger.consistency(old, head.size))


@pytest.fixture
def company(tmp_path, server, keeper):
    found = Company(tmp_path, server.url, keeper.key)
    keeper.trust(str(found.signer.key))
    yield found
    found.ledger.close()


def test_a_ledger_grows_before_the_witness(company, keeper):
    for hours in (1, 7, 300, 1):
        company.live(hours)
        token = company.anchor().token
        assert cosignature.verify(Note.parse(token.decode()), [keeper.key])
    assert keeper.logs()[0].size == company.ledger.size() == 310  # and the key entry
    assert company.witness.latest().root == company.ledger.root()


def test_a_rotated_key_is_told_to_the_witness_and_the_history_goes_on(company, keeper, tmp_path):
    company.live(5)
    company.anchor()
    second = FileSigner.create(tmp_path / "second.pem", ORIGIN)
    company.ledger.rotate(second, START, "the year is over")
    company.live(5)
    with pytest.raises(Denied, match="does not trust the key"):
        company.anchor()
    keeper.trust(str(second.key))
    company.anchor()
    keeper.distrust(str(company.signer.key))
    company.live(5)
    company.anchor()
    assert keeper.logs()[0].size == company.ledger.size()
    # what the auditor takes away verifies under the ledger's own chain of keys
    keeper.export(tmp_path / "trust", ORIGIN)
    keys = [known.key for known in company.ledger.key_entries()]
    witness = WitnessKey.parse((tmp_path / "trust" / "witness.vkey").read_text().strip())
    notes = sorted((tmp_path / "trust").glob("*.note"))
    assert len(notes) == 3
    for path in notes:
        note = Note.parse(path.read_text("utf-8"))
        assert note.verify(keys)
        assert cosignature.verify(note, [witness])
        head = TreeHead.parse(note.text)
        assert head.root == company.ledger.root(head.size)
    held = (tmp_path / "trust" / "log.vkey").read_text().splitlines()
    assert [VerifierKey.parse(line) for line in held] == [second.key]


def test_a_restored_backup_is_found_at_the_next_checkpoint_and_at_the_start(company, tmp_path):
    company.live(5)
    company.anchor()
    company.ledger.close()
    shutil.copy(company.path, tmp_path / "backup.db")
    company.ledger = company.open()
    company.live(20)
    company.anchor()
    company.ledger.close()
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", company.path)
    company.ledger = company.open()
    assert company.ledger.size() == 6
    assert company.witness.latest().size == 26  # which is what the daemon refuses to start on
    company.live(3)
    with pytest.raises(Ahead) as caught:
        company.anchor()
    assert (caught.value.size, caught.value.held.size) == (26, 26)
    # it overtakes what the witness has seen, with other entries
    company.live(40, host="restored")
    with pytest.raises(LedgerBroken, match="holds another history"):
        company.anchor()


def test_a_history_that_was_rewritten_with_its_own_key_is_refused_and_kept_as_evidence(company, keeper, tmp_path):
    company.live(5)
    company.anchor()
    company.ledger.close()
    company.path = tmp_path / "forged.db"
    company.ledger = company.open()
    company.live(5, host="forged")
    with pytest.raises(LedgerBroken, match="holds another history"):
        company.anchor()
    company.live(5, host="forged")
    with pytest.raises(LedgerBroken, match="holds another history"):
        company.anchor()
    (state,) = keeper.logs()
    assert (state.size, state.forks, state.unproved) == (6, 1, 1)


def test_a_backup_from_before_a_rotation_is_found_although_it_does_not_know_the_new_key(company, keeper, tmp_path):
    company.live(5)
    company.anchor()
    company.ledger.close()
    shutil.copy(company.path, tmp_path / "backup.db")
    company.ledger = company.open()
    second = FileSigner.create(tmp_path / "second.pem", ORIGIN)
    company.ledger.rotate(second, START, "the year is over")
    keeper.trust(str(second.key))
    company.live(5)
    company.anchor()
    company.ledger.close()
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", company.path)
    company.ledger = company.open()
    known = [entry.key for entry in company.ledger.key_entries()]

    def ours(note: bytes) -> bool:
        with contextlib.suppress(BadNote):
            return bool(Note.parse(note.decode()).verify(known))
        return False

    assert company.witness.latest(ours).size == 12 > company.ledger.size() == 6
