"""Whoever owns the file may change anything in it; a start finds out, and says where."""

from __future__ import annotations

import random
import shutil

import pytest

from collector import canonical
from collector.errors import LedgerBroken
from collector.ledger import merkle, packing
from collector.ledger.entry import Draft, Kind
from collector.ledger.note import TreeHead
from collector.ledger.seal import FileSigner, seal
from collector.ledger.store import Ledger
from collector.model import State

pytestmark = pytest.mark.only("sqlite")  # the proof is the same; test_postgres.py has its own

ORIGIN = "ledger.example/acme"
SATISFIED = {"a": (State.SATISFIED, "has MFA")}


@pytest.fixture(scope="module")
def original(tmp_path_factory, world):
    """The folder of a ledger: 600 entries, runs among them, checkpoints at 101, 256, 301, 512 and the end."""
    folder = tmp_path_factory.mktemp("original")
    signer = FileSigner.create(folder / "log.pem", ORIGIN)
    ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", origin=ORIGIN, signer=signer, create=True)
    stops = {101, 256, 301, 512}
    with ledger.write() as batch:
        world.run(batch, 0, SATISFIED)
        batch.add(Draft(Kind.CONFIG, world.at(0), {"digest": "", "blob": batch.blob(b"{}"), "collector": "0.1.0"}))
    while ledger.size() < 600:
        with ledger.write() as batch:
            world.run(batch, ledger.size(), SATISFIED)
        if ledger.size() in stops:
            ledger.checkpoint(world.at(ledger.size()))
    ledger.checkpoint(world.at(600))
    ledger.close()
    return folder


@pytest.fixture
def lived(original, tmp_path):
    """A copy of it to be spoiled."""
    shutil.copyfile(original / "ledger.db", tmp_path / "ledger.db")
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", origin=ORIGIN, signer=None, verify=False)
    yield opened
    opened.close()


def broken(ledger, **how):
    with pytest.raises(LedgerBroken) as found:
        ledger.verify(**how)
    message = str(found.value)
    assert f"the ledger at {ledger.path} does not verify: " in message
    assert "restore a backup" in message
    return message


def packed(body):
    encoding, data = packing.pack(body)
    return encoding, data


def test_an_honest_ledger_verifies_and_says_how_much(lived):
    told = []
    verified = lived.verify(lambda done, total: told.append((done, total)), blobs=True)
    assert (verified.entries, verified.tiles, verified.checkpoints) == (600, 2, 5)
    assert verified.blobs == 600  # the observations once, the configuration, a call log each
    assert verified.root == lived.root()
    assert told[-1] == (600, 600)
    assert "600 entries, 5 signed checkpoints, 600 blobs, root " in str(verified)
    assert lived.verify().blobs is None


@pytest.mark.parametrize("seq", [0, 1, 99, 100, 255, 256, 300, 599])
def test_an_edited_entry_is_named(lived, vandal, seq):
    body = lived.entry(seq).body.replace(b'"reader', b'"writer').replace(b"begins", b"ENDING")
    body = body.replace(b"/collector", b"/COLLECTOR").replace(b'"digest":""', b'"digest":"x"')
    assert body != lived.entry(seq).body
    vandal(("UPDATE entry SET encoding = ?, body = ?, base = NULL WHERE seq = ?", (*packed(body), seq)))
    assert f"entry {seq} is not what was hashed when it was written" in broken(lived)


def test_an_edited_entry_with_its_tile_edited_too_breaks_the_next_checkpoint(lived, vandal):
    body = lived.entry(299).body.replace(b"/collector", b"/COLLECTOR")
    (tile,) = vandal.read("SELECT hashes FROM tile WHERE n = 1")[0]
    at = (299 - 256) * 32
    forged = tile[:at] + merkle.leaf_hash(body) + tile[at + 32 :]
    vandal(
        ("UPDATE entry SET encoding = ?, body = ?, base = NULL WHERE seq = 299", packed(body)),
        ("UPDATE tile SET hashes = ? WHERE n = 1", (forged,)),
    )
    assert "the checkpoint over 301 entries was signed over another history" in broken(lived)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM entry WHERE seq = 300", "entry 300 is missing: entry 301 is the next"),
        ("DELETE FROM entry WHERE seq > 590", "holds 591 entries, but 600 were written"),
        ("UPDATE entry SET kind = 'gap' WHERE seq = 301", "entry 301 is filed under another"),
        ("UPDATE entry SET at = at - 1 WHERE seq = 301", "entry 301 is not what was hashed"),
        ("UPDATE entry SET at = at - 1 WHERE base IS NULL AND seq = 1", "entry 1 is filed under another"),
        ("UPDATE entry SET body = x'00' WHERE seq = 301", "entry 301 cannot be read"),
        ("UPDATE entry SET encoding = 7 WHERE seq = 301", "entry 301 cannot be read: packed in a way"),
        ("UPDATE entry SET encoding = 0, body = x'7b7d' WHERE seq = 301", "entry 301 cannot be read"),
        ("UPDATE entry SET encoding = 0, body = x'5b5d' WHERE seq = 301", "entry 301 cannot be read"),
        ("UPDATE entry SET base = 300 WHERE base IS NOT NULL AND seq = 302", "entry 302 cannot be read: it leans on"),
        ("UPDATE entry SET seq = 700 WHERE seq = 599", "entry 599 is missing: entry 700 is the next"),
        ("DELETE FROM tile WHERE n = 0", "tile 0/0 has 0 hashes instead of 256"),
        ("UPDATE tile SET hashes = substr(hashes, 1, 8160) WHERE n = 1", "tile 0/1 has 255 hashes instead of 256"),
        ("INSERT INTO tile VALUES (0, 9, x'00')", "there are 3 full tiles, but the entries fill 2"),
        ("DELETE FROM edge WHERE level = 0", "tile 0/2 has 0 hashes instead of 88"),
        ("UPDATE edge SET hashes = zeroblob(64) WHERE level = 1", "the unfilled tile of level 1"),
        ("INSERT INTO edge VALUES (2, x'00')", "the unfilled tile of level 2"),
        ("UPDATE head SET size = 599", "but 599 were written: the end is missing or was added to"),
        ("UPDATE checkpoint SET root = zeroblob(32) WHERE size = 512", "checkpoint over 512 entries was signed over"),
        ("UPDATE checkpoint SET size = 513 WHERE size = 512", "checkpoint over 513 entries was signed over another"),
        ("UPDATE checkpoint SET size = 601 WHERE size = 600", "over 601 entries was signed, but there are only 600"),
        ("UPDATE checkpoint SET size = -1 WHERE size = 600", "checkpoint over -1 entries was signed over another"),
        ("UPDATE checkpoint SET note = 'x' WHERE size = 512", "checkpoint over 512 entries does not hold"),
        ("UPDATE checkpoint SET note = (SELECT note FROM checkpoint c WHERE c.size = 301) WHERE size = 512",
         "checkpoint over 512 entries says something else than was signed"),
    ],
)  # fmt: skip
def test_every_other_change_is_found_and_placed(lived, vandal, statement, words):
    vandal(statement)
    assert words in broken(lived)


def test_two_entries_that_changed_places_are_found(lived, vandal):
    vandal(
        "UPDATE entry SET seq = -1 WHERE seq = 400",
        "UPDATE entry SET seq = 400 WHERE seq = 401",
        "UPDATE entry SET seq = 401 WHERE seq = -1",
    )
    found = broken(lived)
    assert "entry 400 is filed under another number" in found or "entry 400 cannot be read" in found


def test_an_entry_put_in_at_the_end_is_found(lived, vandal):
    body = Draft(Kind.HEARTBEAT, lived.entry(599).at, {}).body(600)
    at = vandal.read("SELECT at FROM entry WHERE seq = 599")[0][0]
    vandal(("INSERT INTO entry VALUES (600, 'heartbeat', ?, ?, NULL, ?)", (at, *packed(body))))
    assert "holds 601 entries, but 600 were written" in broken(lived)


def test_a_history_signed_again_by_another_key_is_found(lived, vandal, tmp_path):
    stranger = FileSigner.create(tmp_path / "stranger.pem", ORIGIN)
    note = seal(stranger, TreeHead(ORIGIN, 512, lived.root(512)), None)
    vandal(("UPDATE checkpoint SET note = ? WHERE size = 512", (note,)))
    assert "checkpoint over 512 entries does not hold: not signed by" in broken(lived)


def test_checkpoints_of_a_ledger_without_a_key_are_found(lived, vandal):
    body = Draft(Kind.HEARTBEAT, lived.entry(0).at, {}).body(0)
    (edited,) = vandal.read("SELECT hashes FROM tile WHERE n = 0")[0]
    vandal(
        ("UPDATE entry SET kind = 'heartbeat', encoding = ?, body = ?, base = NULL WHERE seq = 0", packed(body)),
        ("UPDATE tile SET hashes = ? WHERE n = 0", (merkle.leaf_hash(body) + edited[32:],)),
        ("DELETE FROM checkpoint WHERE size < 512"),
    )
    assert "over 512 entries was signed over another history" in broken(lived)


def test_damaged_missing_and_swapped_blobs_are_found_on_request(lived, vandal):
    calls = lived.entry(500).data["calls"]
    (id,) = vandal.read("SELECT id FROM blob WHERE digest = ?", bytes.fromhex(calls))[0]
    vandal(("UPDATE blob SET data = x'00' WHERE id = ?", (id,)))
    assert lived.verify().entries == 600
    assert f"blob {calls} " in broken(lived, blobs=True)
    vandal(("DELETE FROM blob WHERE id = ?", (id,)))
    assert f"entry 500 rests on blob {calls}, which is not there" in broken(lived, blobs=True)


def test_any_byte_changed_in_any_row_is_found(lived, vandal):
    """Every table that is the log, a seeded choice of rows and bytes."""
    chance = random.Random(4)
    columns = {"entry": ("seq", "body"), "tile": ("n", "hashes"), "edge": ("level", "hashes"),
               "checkpoint": ("size", "note"), "blob": ("id", "data")}  # fmt: skip
    for table, (key, column) in columns.items():
        rows = vandal.read(f"SELECT {key}, {column} FROM {table}")
        for row, held in [chance.choice(rows) for _ in range(12)]:
            data = held.encode() if isinstance(held, str) else held
            at = chance.randrange(len(data))
            bent = data[:at] + bytes([data[at] ^ (1 << chance.randrange(7))]) + data[at + 1 :]
            bent = bent.decode(errors="replace") if isinstance(held, str) else bent
            vandal((f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (bent, row)))
            try:
                lived.verify(blobs=True)
            except LedgerBroken:
                found = True
            else:  # the very last bits of a deflated stream mean nothing
                found = table in ("entry", "blob") and at == len(data) - 1
            assert found, f"byte {at} of {column} in {table} {row} may be changed"
            vandal((f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (held, row)))
    assert lived.verify(blobs=True).entries == 600


def test_a_run_is_not_sealed_without_the_observations_it_rests_on(ledger, world):
    class Forgetful:
        """A batch that was told nothing of the observations."""

        def __init__(self, batch):
            self.add = batch.add
            self.blob = lambda data, like=None: canonical.digest(data)

    with pytest.raises(Exception, match="holds no blob"), ledger.write() as batch:
        world.run(Forgetful(batch), 0, SATISFIED)
    assert ledger.size() == 0
