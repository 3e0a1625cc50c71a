"""The ledger: what is written is there, in order and once; what cannot be written is not, and says why."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa

from collector import canonical
from collector.errors import ConfigError, LedgerBroken, StoreError
from collector.ledger import merkle
from collector.ledger.entry import Draft, Kind
from collector.ledger.note import Note, TreeHead
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from collector.model import State

ORIGIN = "ledger.example/acme"


def beats(ledger, world, hours):
    with ledger.write() as batch:
        return [world.heartbeat(batch, hour) for hour in hours]


# --- writing and reading ---


def test_the_first_entry_of_a_signed_ledger_names_its_key(ledger, world, signer):
    (added,) = beats(ledger, world, [0])
    assert added.seq == 1
    key = ledger.entry(0)
    assert (key.kind, key.at) == (Kind.KEY, world.at(0))
    assert key.data["vkey"] == str(signer.key) == str(ledger.key())
    assert key.data["origin"] == ORIGIN


def test_a_key_entry_that_is_written_by_hand_is_not_written_twice(ledger, world, signer):
    fields = {"origin": ORIGIN, "vkey": str(signer.key), "reason": "begun by hand"}
    with ledger.write() as batch:
        batch.add(Draft(Kind.KEY, world.at(0), fields))
    beats(ledger, world, [1])
    assert [entry.kind for entry in ledger.entries()] == [Kind.KEY, Kind.HEARTBEAT]


def test_a_key_entry_of_another_ledger_is_refused(ledger, world, tmp_path):
    other = FileSigner.create(tmp_path / "other.pem", "other.example/b")
    fields = {"origin": ORIGIN, "vkey": str(other.key), "reason": "mistake"}
    with pytest.raises(ValueError, match=r"names a key of other\.example"), ledger.write() as batch:
        batch.add(Draft(Kind.KEY, world.at(0), fields))
    assert ledger.size() == 0


def test_entries_come_back_byte_for_byte(ledger, world):
    added = []
    for hour in range(150):
        with ledger.write() as batch:
            added.append(world.run(batch, hour, {"a": (State.SATISFIED, "has MFA")}))
            added.append(world.run(batch, hour, "denied", check="aws-kms-rotation", region="eu-west-1"))
    back = list(ledger.entries())
    assert back[1:] == added
    assert [entry.seq for entry in back] == list(range(301))
    assert all(canonical.record(entry.data) == entry.body for entry in back)
    assert ledger.entry(300) == added[-1]
    assert list(ledger.entries(5, 9)) == added[4:8]
    assert list(ledger.entries(kinds={Kind.KEY, Kind.PLAN})) == back[:1]
    assert ledger.size() == 301


def test_similar_entries_take_little_room_on_disk(ledger, world, vandal):
    with ledger.write() as batch:
        bodies = [len(world.run(batch, hour, {}).body) for hour in range(256)]
    ((packed,),) = vandal.read("SELECT sum(length(body)) FROM entry")
    assert packed * 5 < sum(bodies)


def test_an_entry_that_is_not_there_is_a_sentence(ledger):
    with pytest.raises(StoreError, match="no entry 7"):
        ledger.entry(7)


def test_many_pages_of_entries_come_in_order(ledger, world):
    beats(ledger, world, range(2500))
    assert [entry.seq for entry in ledger.entries(3, 2400)] == list(range(3, 2400))


def test_a_reader_sees_one_state_while_a_writer_goes_on(ledger, world):
    beats(ledger, world, range(1200))
    entries = ledger.entries()
    next(entries)
    beats(ledger, world, range(1200, 1300))
    assert sum(1 for _ in entries) == 1200
    assert ledger.size() == 1301


def write_two(ledger, world, fields):
    """A good entry and then one with ``fields``, in one batch."""
    with ledger.write() as batch:
        world.heartbeat(batch, 1)
        batch.add(Draft(Kind.HEARTBEAT, world.at(1), fields))


def test_a_draft_that_is_no_entry_leaves_nothing_behind(ledger, world):
    beats(ledger, world, [0])
    before = ledger.root()
    for fields, words in [({"x": 1.5}, "float"), ({"x": "y" * 70_000}, "put what is large into a blob")]:
        with pytest.raises(ValueError, match=words):
            write_two(ledger, world, fields)
    assert ledger.root() == before
    assert ledger.size() == 2


def test_an_entry_that_lacks_what_its_kind_must_say_is_refused(ledger, world):
    with pytest.raises(ValueError, match="a run entry without 'check'"), ledger.write() as batch:
        batch.add(Draft(Kind.RUN, world.at(0), {}))
    assert ledger.size() == 0


def test_a_batch_that_fails_takes_its_blobs_and_its_leaning_with_it(ledger, world):
    def half_a_run():
        with ledger.write() as batch:
            batch.blob(b"lost" * 100, like="series")
            world.run(batch, 0, {"a": (State.SATISFIED, "has MFA")})
            raise RuntimeError("the run was cut short")

    with pytest.raises(RuntimeError, match="cut short"):
        half_a_run()
    assert not ledger.has_blob(canonical.digest(b"lost" * 100))
    assert ledger.size() == 0
    with ledger.write() as batch:
        kept = batch.blob(b"lost" * 100 + b"found", like="series")
        world.run(batch, 1, {"a": (State.SATISFIED, "has MFA")})
    assert ledger.blob(kept) == b"lost" * 100 + b"found"
    assert ledger.verify(blobs=True).entries == 2


def test_an_entry_that_failed_half_way_spoils_its_batch_even_when_nobody_minds(ledger, world):
    def careless():
        with ledger.write() as batch:
            world.heartbeat(batch, 0)
            run = dict(world.run(batch, 0, {}).data, observations="0" * 64)
            fields = {name: value for name, value in run.items() if name not in ("seq", "kind", "at")}
            with contextlib.suppress(StoreError):
                batch.add(Draft(Kind.RUN, world.at(1), fields))

    with pytest.raises(StoreError, match="entry 3 could not be added; nothing of its batch was written"):
        careless()
    assert ledger.size() == 0


# --- blobs ---


def test_blobs_are_kept_once_and_come_back(ledger):
    with ledger.write() as batch:
        digests = [batch.blob(data) for data in (b"", b"a", b"a" * 10_000, b"a")]
        assert batch.has_blob(digests[1])
    assert digests[1] == digests[3] == canonical.digest(b"a")
    assert [ledger.blob(digest) for digest in digests[:3]] == [b"", b"a", b"a" * 10_000]
    assert ledger.has_blob(digests[0])
    assert not ledger.has_blob(canonical.digest(b"b"))


def test_a_blob_that_is_not_there_is_a_sentence(ledger):
    with pytest.raises(StoreError, match=f"no blob {canonical.digest(b'x')}"):
        ledger.blob(canonical.digest(b"x"))
    with pytest.raises(StoreError, match="not a digest"):
        ledger.blob("12")
    with pytest.raises(StoreError, match="not a digest"):
        ledger.blob("z" * 64)


def call_log(number):
    chance = random.Random(number)
    return json.dumps(
        [
            {"operation": f"s3:GetBucket{row}", "request_id": f"{chance.getrandbits(128):032x}", "ms": row}
            for row in range(200)
        ]
    ).encode()


def test_a_series_of_volatile_blobs_is_kept_as_differences_in_short_chains(ledger, vandal):
    logs = [call_log(number) for number in range(40)]
    digests = []
    for log in logs:
        with ledger.write() as batch:
            digests.append(batch.blob(log, like="calls aws/123456789012"))
    assert [ledger.blob(digest) for digest in digests] == logs
    depths = [depth for (depth,) in vandal.read("SELECT depth FROM blob ORDER BY id")]
    whole, leaning = (
        vandal.read(f"SELECT avg(length(data)) FROM blob WHERE base IS {what} NULL")[0][0] for what in ("", "NOT")
    )
    assert depths == [number % 9 for number in range(40)]
    assert leaning < whole
    assert ledger.verify(blobs=True).blobs == 40


def test_a_series_that_does_not_resemble_itself_is_kept_whole(ledger):
    noise = [random.Random(number).randbytes(3_000) for number in range(3)]
    with ledger.write() as batch:
        digests = [batch.blob(data, like="noise") for data in noise]
    assert [ledger.blob(digest) for digest in digests] == noise


def test_a_damaged_blob_is_named_by_whoever_reads_it(ledger, vandal):
    with ledger.write() as batch:
        first = batch.blob(call_log(1), like="calls")
        second = batch.blob(call_log(2), like="calls")
    (data,) = vandal.read("SELECT data FROM blob WHERE id = 1")[0]
    vandal(("UPDATE blob SET data = ? WHERE id = 1", (data[:-9] + bytes(9),)))
    for digest in (first, second):  # the second leans on the first
        with pytest.raises(StoreError, match=f"blob {digest} .*db verify"):
            ledger.blob(digest)
    vandal("UPDATE blob SET encoding = 0, size = 100000000 WHERE id = 1")
    with pytest.raises(StoreError, match=f"blob {first} is not what was kept: its digest differs"):
        ledger.blob(first)


# --- the tree ---


def test_roots_frontiers_and_proofs_are_those_of_the_bodies(ledger, world):
    for hours in (range(3), range(3, 300), range(300, 301), range(301, 700)):
        beats(ledger, world, hours)
    leaves = [merkle.leaf_hash(entry.body) for entry in ledger.entries()]
    for size in (0, 1, 2, 255, 256, 257, 511, 512, 640, 701):
        tree = merkle.Frontier()
        tree.push(*leaves[:size])
        assert ledger.root(size) == tree.root()
        assert ledger.frontier(size) == tree.hashes()
    root = ledger.root(701)
    assert root == ledger.root()
    assert merkle.includes(leaves[299], 299, 701, ledger.inclusion(299, 701), root)
    assert merkle.extends(256, 701, ledger.root(256), root, ledger.consistency(256, 701))
    with pytest.raises(StoreError, match="701 entries, not 702"):
        ledger.root(702)


# --- checkpoints ---


def test_a_checkpoint_is_signed_when_the_tree_has_grown_and_only_then(ledger, world, signer):
    assert ledger.checkpoint(world.at(0)) is None
    beats(ledger, world, range(5))
    first = ledger.checkpoint(world.at(5))
    assert ledger.checkpoint(world.at(6)) is None
    beats(ledger, world, range(6, 8))
    second = ledger.checkpoint(world.at(8))
    assert ledger.checkpoints() == [first, second]
    assert (first.size, first.at, second.size) == (6, world.at(5), 8)
    assert second.root == ledger.root()
    for found in (first, second):
        note = Note.parse(found.note)
        assert note.verify([signer.key])
        assert TreeHead.parse(note.text) == TreeHead(ORIGIN, found.size, found.root)


def test_without_a_key_nothing_is_signed(url, world):
    ledger = Ledger.open(url, origin=ORIGIN, signer=None, create=True)
    beats(ledger, world, [0])
    assert [entry.kind for entry in ledger.entries()] == [Kind.HEARTBEAT]
    with pytest.raises(ConfigError, match="no key to sign"):
        ledger.checkpoint(world.at(1))
    ledger.close()


def test_a_ledger_begun_without_a_key_says_what_is_missing(url, world, signer):
    with_none = Ledger.open(url, origin=ORIGIN, signer=None, create=True)
    beats(with_none, world, [0])
    with_none.close()
    ledger = Ledger.open(url, origin=ORIGIN, signer=signer)
    with pytest.raises(ConfigError, match="write a key entry"):
        ledger.checkpoint(world.at(1))
    with ledger.write() as batch:
        batch.add(Draft(Kind.KEY, world.at(1), {"origin": ORIGIN, "vkey": str(signer.key), "reason": "begins now"}))
    assert ledger.checkpoint(world.at(2)).size == 2
    ledger.close()


def test_a_restored_backup_is_not_signed(ledger, world, vandal):
    beats(ledger, world, range(20))
    ledger.checkpoint(world.at(20))
    vandal("DELETE FROM entry WHERE seq > 9", "UPDATE head SET size = 10", "DELETE FROM edge",
           ("INSERT INTO edge VALUES (0, ?)", (bytes(320),)))  # fmt: skip
    with pytest.raises(LedgerBroken, match="has 10 entries, but a checkpoint over 21"):
        ledger.checkpoint(world.at(21))


def test_a_rewritten_history_is_not_signed(ledger, world, vandal):
    beats(ledger, world, range(20))
    ledger.checkpoint(world.at(20))
    beats(ledger, world, [21])
    (edge,) = vandal.read("SELECT hashes FROM edge")[0]
    vandal(("UPDATE edge SET hashes = ?", (edge[32:64] + edge[32:],)))
    with pytest.raises(LedgerBroken, match="first 21 entries hash to another root"):
        ledger.checkpoint(world.at(22))
    assert len(ledger.checkpoints()) == 1


# --- opening ---


def test_a_ledger_is_found_again_as_it_was_left(ledger, url, signer, world):
    beats(ledger, world, range(300))
    ledger.checkpoint(world.at(300))
    root = ledger.root()
    ledger.close()
    again = Ledger.open(url, origin=ORIGIN, signer=signer)
    assert (again.root(), again.size(), len(again.checkpoints())) == (root, 301, 1)
    beats(again, world, [301])
    assert again.verify().entries == 302
    again.close()


@pytest.mark.only("sqlite")
def test_a_new_ledger_is_its_owners_alone(ledger):
    assert ledger.path.stat().st_mode & 0o777 == 0o600
    assert ledger.url == f"sqlite:///{ledger.path}"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("ledger.db", "not the URL of a database"),
        ("sqlite://", "lies in a file"),
        ("sqlite:///:memory:", "lies in a file"),
        ("mysql://host/name", "not in mysql"),
        ("postgresql+asyncpg://host/name", "say postgresql"),
    ],
)
def test_a_url_that_is_no_ledger_is_a_sentence(bad, words):
    with pytest.raises(StoreError, match=words):
        Ledger.open(bad, origin=ORIGIN, signer=None)


@pytest.mark.only("sqlite")
def test_a_missing_ledger_is_not_made_by_looking_for_it(url, tmp_path):
    with pytest.raises(StoreError, match=r"no ledger at .*collector db upgrade"):
        Ledger.open(url, origin=ORIGIN, signer=None)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        Ledger.open(f"sqlite:///{tmp_path}/file/ledger.db", origin=ORIGIN, signer=None, create=True)


@pytest.mark.only("sqlite")
def test_a_file_that_is_no_database_is_a_sentence(url, tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"this is a letter to my aunt, not a database. " * 100)
    for create in (False, True):
        with pytest.raises(StoreError, match="not a ledger but something else"):
            Ledger.open(url, origin=ORIGIN, signer=None, create=create)


@pytest.mark.only("sqlite")
def test_the_database_of_something_else_is_left_alone(url, tmp_path):
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.commit()
    with pytest.raises(StoreError, match="is not a ledger yet"):
        Ledger.open(url, origin=ORIGIN, signer=None)
    with pytest.raises(StoreError, match="the database of something else"):
        Ledger.open(url, origin=ORIGIN, signer=None, create=True)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


def test_newer_tables_are_refused_by_version(ledger, url, vandal, signer):
    ledger.close()
    vandal("UPDATE alembic_version SET version_num = '9999'")
    for create in (False, True):
        with pytest.raises(StoreError, match=r"written by a newer collector .tables 9999.*install that version"):
            Ledger.open(url, origin=ORIGIN, signer=signer, create=create)


def test_another_origin_is_refused(ledger, url):
    with pytest.raises(ConfigError, match=r"is ledger\.example/acme, not other\.example/b"):
        Ledger.open(url, origin="other.example/b", signer=None)
    with pytest.raises(ConfigError, match="origin is no name"):
        Ledger.open(url, origin="two words", signer=None)


def test_another_key_is_refused(ledger, url, world, tmp_path, signer):
    beats(ledger, world, [0])
    other = FileSigner.create(tmp_path / "other.pem", ORIGIN)
    with pytest.raises(ConfigError) as refused:
        Ledger.open(url, origin=ORIGIN, signer=other)
    assert f"begun with key {signer.key}; this is {other.key}" in str(refused.value)
    stranger = FileSigner.create(tmp_path / "stranger.pem", "other.example/b")
    with pytest.raises(ConfigError, match=r"signs for other\.example/b"):
        Ledger.open(url, origin=ORIGIN, signer=stranger)


def test_a_broken_ledger_does_not_open_unless_asked_to(ledger, url, world, vandal):
    beats(ledger, world, range(3))
    vandal("UPDATE entry SET at = at + 1 WHERE seq = 1")
    with pytest.raises(LedgerBroken, match="entry 1 is filed under another"):
        Ledger.open(url, origin=ORIGIN, signer=None)
    opened = Ledger.open(url, origin=ORIGIN, signer=None, verify=False)
    assert opened.size() == 4
    opened.close()


# --- guards ---


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET at = at + 1",
        "DELETE FROM entry",
        "INSERT INTO entry SELECT seq + 5, kind, at, encoding, base, body FROM entry WHERE seq = 1",
        "INSERT OR REPLACE INTO entry SELECT * FROM entry WHERE seq = 1",
        "UPDATE tile SET n = 7",
        "DELETE FROM tile",
        "INSERT OR REPLACE INTO tile SELECT * FROM tile",
        "UPDATE blob SET size = 1",
        "DELETE FROM blob",
        "INSERT OR REPLACE INTO blob SELECT * FROM blob",
        "UPDATE checkpoint SET at = 0",
        "DELETE FROM checkpoint",
        "INSERT OR REPLACE INTO checkpoint SELECT * FROM checkpoint",
        "INSERT INTO checkpoint VALUES (1, x'00', 0, '')",
        "UPDATE head SET size = size - 1",
        "UPDATE head SET origin = 'other.example/b'",
        "DELETE FROM head",
        "INSERT OR REPLACE INTO head SELECT * FROM head",
    ],
)
def test_the_log_is_not_edited_by_accident(ledger, world, vandal, backend, statement):
    if backend == "postgres":
        statement = statement.replace("x'00'", "'\\x00'")
        if "OR REPLACE" in statement:
            key = {"tile": "level, n", "entry": "seq", "checkpoint": "size"}.get(statement.split()[4], "id")
            statement = (
                statement.replace(" OR REPLACE", "") + f" ON CONFLICT ({key}) DO UPDATE SET {key.split(',')[0]} = 0"
            )
    with ledger.write() as batch:
        batch.blob(b"blob")
        for hour in range(300):
            world.heartbeat(batch, hour)
    ledger.checkpoint(world.at(300))
    refused = (sqlite3.IntegrityError, psycopg.errors.RaiseException)
    with closing(vandal.connect()) as connection:
        with pytest.raises(refused, match="appended in order and never edited"):
            connection.execute(statement)
        connection.rollback()
    assert ledger.verify(blobs=True).entries == 301


@pytest.mark.only("postgres")
@pytest.mark.parametrize("table", ["head", "entry", "tile", "blob", "checkpoint", "expired"])
def test_no_table_of_the_log_is_emptied_at_once(ledger, world, vandal, table):
    beats(ledger, world, range(3))
    with closing(vandal.connect()) as connection:
        with pytest.raises(psycopg.errors.RaiseException, match="appended in order and never edited"):
            connection.execute(f"TRUNCATE {table} CASCADE")
        connection.rollback()
    assert ledger.size() == 4


# --- one writer ---


def test_threads_write_one_after_another(ledger, world):
    def write(hour):
        for _ in range(5):
            with ledger.write() as batch:
                world.heartbeat(batch, hour)
                world.heartbeat(batch, hour)

    threads = [threading.Thread(target=write, args=(hour,)) for hour in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hours = [entry.data["uptime_s"] for entry in ledger.entries(start=1)]
    assert len(hours) == 60
    assert hours[::2] == hours[1::2]  # no batch was torn apart by another
    assert ledger.verify().entries == 61


def test_a_second_writer_waits_and_then_says_so(ledger, url, world, signer):
    beats(ledger, world, [0])
    second = Ledger.open(url, origin=ORIGIN, signer=signer, patience=0.1)
    with ledger.write() as batch:
        world.heartbeat(batch, 1)
        with pytest.raises(StoreError, match="another process is writing"), second.write():
            raise AssertionError("two writers at once")
        assert second.size() == 2  # readers are not held up
    beats(second, world, [2])
    beats(ledger, world, [3])
    assert [entry.data["uptime_s"] for entry in ledger.entries(start=1)] == [0, 1, 2, 3]
    assert ledger.verify().entries == 5
    second.close()


# --- trouble with the disk ---


@pytest.mark.only("sqlite")
def test_a_full_disk_loses_nothing_that_was_acknowledged(ledger, world):
    beats(ledger, world, range(50))
    database = ledger._database
    limit = 0

    def no_more_pages(connection, _record):
        connection.execute(f"PRAGMA max_page_count = {limit}")

    with closing(sqlite3.connect(ledger.path)) as connection:
        (limit,) = connection.execute("PRAGMA page_count").fetchone()
    ledger.close()
    sa.event.listen(database.engine, "connect", no_more_pages)

    def large():
        with ledger.write() as batch:
            world.heartbeat(batch, 50)
            batch.blob(random.Random(1).randbytes(500_000))

    with pytest.raises(StoreError, match="disk is full, nothing was written; make room"):
        large()
    assert ledger.size() == 51
    limit *= 100
    ledger.close()
    beats(ledger, world, [51])
    assert ledger.verify(blobs=True).entries == 52


@pytest.mark.only("sqlite")
def test_a_database_that_may_only_be_read_is_read_and_not_written(ledger, world, signer):
    beats(ledger, world, range(3))
    ledger.close()
    url = f"sqlite:///file:{ledger.path}?mode=ro&uri=true"
    reader = Ledger.open(url, origin=ORIGIN, signer=signer)
    assert reader.size() == 4
    with pytest.raises(StoreError, match="may not be written"):
        beats(reader, world, [4])
    with pytest.raises(StoreError, match="may not be written"):
        reader.checkpoint(world.at(5))
    reader.close()


def test_times_keep_their_microseconds(ledger, world):
    at = world.at(0) + timedelta(microseconds=123_457)
    with ledger.write() as batch:
        batch.add(Draft(Kind.HEARTBEAT, at, {}))
    assert ledger.entry(1).at == at
