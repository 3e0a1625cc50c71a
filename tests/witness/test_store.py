"""The witness's memory: nothing is forgotten, nothing is changed, and only one writer is right."""

from __future__ import annotations

import contextlib
import sqlite3
import threading

import pytest

from collector.errors import ConfigError, StoreError
from collector.witness import store as store_module
from collector.witness.service import Incident
from collector.witness.store import Store
from tests.witness.world import NOW, ORIGIN, Log

LOG = Log()


@pytest.fixture
def store(tmp_path):
    found = Store.open(tmp_path / "witness.db", create=True)
    with found.writing() as view:
        view.trust(LOG.key, NOW)
    yield found
    found.close()


def keep(store, size, after, time=NOW, log=LOG):
    with store.writing() as view:
        view.keep(log.head(size), log.note(size), time, after=after)


def state(store, origin=ORIGIN):
    with store.reading() as view:
        return view.log(origin)


def test_a_commit_is_on_the_disk_before_it_is_said(store):
    with store.reading() as view:
        assert view.one("PRAGMA synchronous") == (2,)  # FULL
        assert view.one("PRAGMA journal_mode") == ("wal",)
        assert view.one("PRAGMA foreign_keys") == (1,)


def test_what_was_kept_is_there_after_opening_again(store, tmp_path):
    keep(store, 5, 0)
    keep(store, 9, 5, NOW + 60)
    store.close()
    again = Store.open(tmp_path / "witness.db")
    try:
        found = state(again)
        assert (found.size, found.time, found.note, found.checkpoints) == (9, NOW + 60, LOG.note(9), 2)
        with again.reading() as view:
            assert [(kept.size, kept.note) for kept in view.checkpoints(ORIGIN)] == [(5, LOG.note(5)), (9, LOG.note(9))]
            assert view.known(ORIGIN, 5).same_size == LOG.head(5).root
            assert view.known(ORIGIN, 6).same_size is None
            assert (view.known(ORIGIN, 5).size, view.known(ORIGIN, 5).root) == (9, LOG.head(9).root)
    finally:
        again.close()


def test_who_comes_from_another_size_writes_nothing(store):
    keep(store, 5, 0)
    with pytest.raises(StoreError, match="no longer the one over 0 entries"):
        keep(store, 9, 0)
    assert (state(store).size, state(store).checkpoints) == (5, 1)


def test_the_same_size_again_moves_the_time_and_keeps_one_checkpoint(store):
    keep(store, 5, 0)
    keep(store, 5, 5, NOW + 60)
    assert (state(store).time, state(store).checkpoints) == (NOW + 60, 1)
    keep(store, 5, 5, NOW)
    assert state(store).time == NOW + 60


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE checkpoint SET note = ''", "never changed"),
        ("DELETE FROM checkpoint", "never removed"),
        ("UPDATE incident SET what = 'fork'", "never changed"),
        ("DELETE FROM incident", "never removed"),
        ("UPDATE log SET size = 4", "only grows"),
        ("UPDATE log SET root = x'00'", "only grows"),
        ("UPDATE log SET origin = 'other'", "only grows"),
        ("DELETE FROM log", "never forgotten"),
    ],
)
def test_the_tables_refuse_to_forget(store, statement, words):
    keep(store, 5, 0)
    with store.writing() as view:
        assert view.keep_incident(LOG.head(9), Incident.NOT_CONTINUED, LOG.head(9).text(), b"body", NOW)
    with pytest.raises(StoreError, match=words), store.writing() as view:
        view.run(statement)
    assert (state(store).size, state(store).unproved) == (5, 1)


def test_a_transaction_that_fails_leaves_nothing(store):
    with contextlib.suppress(KeyboardInterrupt), store.writing() as view:
        view.keep(LOG.head(5), LOG.note(5), NOW, after=0)
        raise KeyboardInterrupt
    assert (state(store).size, state(store).checkpoints) == (0, 0)
    keep(store, 5, 0)


def test_keys_come_and_go_and_come_back(store):
    second = Log(key="second").key
    with store.writing() as view:
        view.trust(second, NOW + 1)
        view.trust(second, NOW + 2)  # once more is the same
    assert state(store).keys == (LOG.key, second)
    with store.writing() as view:
        view.distrust(LOG.key, NOW + 3)
    assert (state(store).keys, state(store).former) == ((second,), (LOG.key,))
    with pytest.raises(ConfigError, match="is not trusted"), store.writing() as view:
        view.distrust(LOG.key, NOW + 4)
    with store.writing() as view:
        view.trust(LOG.key, NOW + 5)
    assert (set(state(store).keys), state(store).former) == ({LOG.key, second}, ())


def test_logs_do_not_mix(store):
    other = Log("other.example/log")
    with store.writing() as view:
        view.trust(other.key, NOW)
    keep(store, 5, 0)
    keep(store, 9, 0, log=other)
    with store.reading() as view:
        assert [(log.origin, log.size, log.keys) for log in view.logs()] == [
            (ORIGIN, 5, (LOG.key,)),
            ("other.example/log", 9, (other.key,)),
        ]
        assert view.known("third.example/log", 5) is None


def test_incidents_are_kept_once_each_and_not_without_end(store, monkeypatch):
    def incident(size, what=Incident.NOT_CONTINUED):
        with store.writing() as view:
            return view.keep_incident(LOG.head(size), what, LOG.head(size).text(), b"request %d" % size, NOW)

    assert incident(9)
    assert not incident(9)
    assert incident(9, Incident.FORK)
    monkeypatch.setattr(store_module, "INCIDENTS_MAX", 3)
    assert incident(10)
    assert not incident(11)
    with store.reading() as view:
        kept = [(item.what, item.size, item.request) for item in view.incidents(ORIGIN)]
    assert kept == [
        (Incident.NOT_CONTINUED, 9, b"request 9"),
        (Incident.FORK, 9, b"request 9"),
        (Incident.NOT_CONTINUED, 10, b"request 10"),
    ]
    assert (state(store).forks, state(store).unproved) == (1, 2)


def test_of_many_writers_at_once_one_wins_each_step(tmp_path, store):
    """Each with a connection of its own, as other processes have."""
    won, lost = [], []

    def move():
        mine = Store.open(tmp_path / "witness.db")
        try:
            for size in range(1, 15):
                try:
                    keep(mine, size, size - 1)
                    won.append(size)
                except StoreError:
                    lost.append(size)
        finally:
            mine.close()

    threads = [threading.Thread(target=move) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(1, 15))
    assert len(lost) == 3 * 14
    assert (state(store).size, state(store).checkpoints) == (14, 14)


def test_a_writer_that_never_ends_is_said_so(tmp_path, store, monkeypatch):
    monkeypatch.setattr(store_module, "PATIENCE_SECONDS", 0.05)
    second = Store.open(tmp_path / "witness.db")
    try:
        with store.writing(), pytest.raises(StoreError, match="did not finish in time"):
            keep(second, 5, 0)
    finally:
        second.close()


def test_what_is_no_witness_is_not_opened(tmp_path):
    with pytest.raises(StoreError, match="there is no witness"):
        Store.open(tmp_path / "none.db")
    text = tmp_path / "text.db"
    text.write_text("no database, but long enough to be taken for one " * 100)
    with pytest.raises(StoreError, match="is no database"):
        Store.open(text)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE log (origin)")
    connection.close()
    for create in (False, True):
        with pytest.raises(StoreError, match="something else"):
            Store.open(other, create=create)
    assert text.read_text().startswith("no database")


def test_a_newer_file_is_left_to_a_newer_collector(tmp_path, store):
    with store.writing() as view:
        view.run("PRAGMA user_version = 2")
    with pytest.raises(StoreError, match="newer collector"):
        Store.open(tmp_path / "witness.db")


def test_a_full_disk_is_said_and_nothing_is_written(store):
    keep(store, 5, 0)
    with store.reading() as view:
        (pages,) = view.one("PRAGMA page_count")
        view.run(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="disk is full"), store.writing() as view:
        view.keep(LOG.head(9), LOG.note(9) + "x" * 100_000, NOW, after=5)
    assert (state(store).size, state(store).checkpoints) == (5, 1)
