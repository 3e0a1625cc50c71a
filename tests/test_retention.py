"""Payloads are dropped after their term, as an entry says, and nothing else is: history, verdicts and proofs stay."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from collector import canonical, config, retention
from collector.errors import LedgerBroken, StoreError
from collector.ledger.entry import Kind
from tests.support.lived import CONFIG, HOUR, Lived

TERM = '\n[retention]\npayloads = "2h"\n'


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[Lived]:
    day = Lived(tmp_path, CONFIG + TERM)
    for hour in range(6):
        day.cloud.mfa["bob"] = "true" if hour % 2 else "false"
        day.cloud.encrypted[f"vol-{hour}"] = True
        day.hour()
    yield day
    day.ledger.close()


def calls_of(lived: Lived) -> dict[str, set[str]]:
    """Answers of each call log that is still there."""
    logs = {entry.data["calls"] for entry in lived.ledger.entries(kinds=[Kind.RUN])}
    return {log: {c["body"] for c in canonical.parse(lived.ledger.blob(log))} for log in logs if held(lived, log)}


def held(lived: Lived, digest: str) -> bool:
    return lived.ledger.has_blob(digest)


def test_without_a_term_nothing_is_ever_dropped(lived, tmp_path) -> None:
    (tmp_path / "collector.toml").write_text(CONFIG)
    settings = config.load(tmp_path / "collector.toml", {})
    assert retention.drop(lived.ledger, settings, lived.now + 1000 * HOUR) is None


def test_what_no_late_run_used_is_dropped_and_the_entry_lists_it(lived) -> None:
    before = calls_of(lived)
    entry = retention.drop(lived.ledger, lived.settings, lived.now)
    assert entry is not None
    listed = lived.ledger.blob(entry.data["blobs"]).decode().split()
    assert len(listed) == entry.data["count"] > 0
    after = calls_of(lived)
    assert len(before) == 6
    assert len(after) == 3  # the runs that are at most two hours old
    for digest in listed:
        assert not held(lived, digest)
        with pytest.raises(StoreError, match=f"entry {entry.seq} says that it was dropped"):
            lived.ledger.blob(digest)
    for answers in after.values():
        assert all(held(lived, digest) for digest in answers if digest)
    assert retention.drop(lived.ledger, lived.settings, lived.now) is None


def test_after_dropping_everything_still_verifies_and_rebuilds_the_same(lived) -> None:
    states = list(lived.ledger.projection.intervals(None, None))
    retention.drop(lived.ledger, lived.settings, lived.now)
    lived.ledger.verify(blobs=True)
    lived.ledger.rebuild()
    assert list(lived.ledger.projection.intervals(None, None)) == states
    lived.hour()
    lived.ledger.verify(blobs=True)


def test_an_answer_that_comes_back_is_kept_again_and_dropped_again(lived) -> None:
    retention.drop(lived.ledger, lived.settings, lived.now)
    for _ in range(4):
        lived.hour()
    assert retention.drop(lived.ledger, lived.settings, lived.now) is not None
    lived.ledger.verify(blobs=True)


def test_a_window_on_legal_hold_keeps_its_payloads(lived, tmp_path) -> None:
    whole = '[windows.trial]\nstart = 2026-01-01\nend = 2026-01-02\ncriteria = ["CC6.1"]\nhold = true\n'
    (tmp_path / "collector.toml").write_text(CONFIG + TERM + whole)
    settings = config.load(tmp_path / "collector.toml", {})
    assert retention.drop(lived.ledger, settings, lived.now) is None
    lived.now += timedelta(days=2)
    lived.hour()
    assert retention.drop(lived.ledger, settings, lived.now + 1000 * HOUR) is not None
    assert len(calls_of(lived)) == 6  # only the run after the window has gone


def test_a_payload_that_was_only_marked_as_expired_is_a_broken_ledger(lived) -> None:
    digest = next(iter(calls_of(lived)))
    with closing(sqlite3.connect(lived.ledger.path)) as connection:
        connection.execute("INSERT INTO expired VALUES (?, 3)", (bytes.fromhex(digest),))
        connection.execute("DELETE FROM blob WHERE digest = ? AND id NOT IN (SELECT base FROM blob WHERE base > 0)",
                           (bytes.fromhex(digest),))  # fmt: skip
        connection.commit()
    with pytest.raises(LedgerBroken, match="no entry says that it was dropped"):
        lived.ledger.verify(blobs=True)


def test_the_guards_let_nothing_else_be_dropped(lived) -> None:
    retention.drop(lived.ledger, lived.settings, lived.now)
    for statement in (
        "DELETE FROM blob",
        "UPDATE blob SET digest = x'00', base = NULL",
        "DELETE FROM expired",
        "UPDATE expired SET entry = 0",
    ):
        with (
            closing(sqlite3.connect(lived.ledger.path)) as connection,
            pytest.raises(sqlite3.IntegrityError, match="never edited"),
        ):
            connection.execute(statement)


def test_what_was_dropped_lies_in_no_page_of_the_file_any_more(tmp_path) -> None:
    day = Lived(tmp_path, CONFIG + TERM)
    mark = "arn-of-somebody-who-left"
    day.cloud.mfa[mark] = "true"
    day.hour()
    answers = {digest: day.ledger.blob(digest) for log in calls_of(day).values() for digest in log if digest}
    (digest,) = [digest for digest, body in answers.items() if mark.encode() in body]
    del day.cloud.mfa[mark]
    for _ in range(4):
        day.hour()
    with closing(sqlite3.connect(day.ledger.path)) as connection:
        (packed,) = connection.execute("SELECT data FROM blob WHERE digest = ?", (bytes.fromhex(digest),)).fetchone()
    retention.drop(day.ledger, day.settings, day.now)
    assert not held(day, digest)
    day.ledger.close()
    with closing(sqlite3.connect(day.ledger.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert packed not in day.ledger.path.read_bytes()
