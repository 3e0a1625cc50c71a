"""Payloads are dropped after their term, as an entry says, and nothing else is: history, verdicts and proofs stay."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from collector import canonical, config, retention
from collector.config import Settings
from collector.errors import LedgerBroken, StoreError
from collector.ledger.entry import Draft, Kind
from collector.ledger.store import Ledger
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


def scanned(ledger: Ledger, settings: Settings, now: datetime) -> list[str]:
    """What is due by reading everything each time: slow, and obvious."""
    before = now - timedelta(seconds=settings.retention.payloads or 0)
    holds = [(window.since, window.until) for window in settings.windows.values() if window.hold]
    old: set[str] = set()
    kept: set[str] = set()
    for entry in ledger.entries(kinds=[Kind.RUN, Kind.SPOT]):
        at = canonical.moment(entry.data.get("slot") or entry.data["started"])
        spared = entry.at >= before or any(since <= at < until for since, until in holds)
        (kept if spared else old).add(entry.data["calls"])
    old = {digest for digest in old - kept if ledger.has_blob(digest)}

    def answers(logs: set[str]) -> set[str]:
        named = (call["body"] for log in logs if ledger.has_blob(log) for call in canonical.parse(ledger.blob(log)))
        return {body for body in named if body and ledger.has_blob(body)}

    return sorted(old | (answers(old) - answers(kept)))


def write_run(lived: Lived, at: datetime, slot: datetime, answers: list[bytes]) -> None:
    """An account run with a call log over some answers; those that asked nothing have one log together."""
    with lived.ledger.write() as batch:
        log = [{"body": batch.blob(answer), "at": canonical.stamp(at)} for answer in answers]
        calls = batch.blob(canonical.record(log))
        known = dict(next(iter(lived.ledger.entries(kinds=[Kind.RUN]))).data)
        fields = {name: value for name, value in known.items() if name not in ("seq", "kind", "at")}
        for check in ("aws-one", "aws-two"):
            more = {"check": check, "calls": calls, "slot": canonical.stamp(slot), "started": canonical.stamp(at)}
            batch.add(Draft(Kind.RUN, at, fields | more))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_due_is_what_reading_everything_finds(lived, tmp_path, monkeypatch, seed) -> None:
    """Random histories: answers that change, come back and are shared, terms, windows on hold that come and go, looks
    at any time, drops, rebuilding, and counting in small parts."""
    chance = random.Random(seed)
    monkeypatch.setattr(retention, "ENTRIES_AT_ONCE", chance.choice([1, 3, 1000]))
    monkeypatch.setattr(retention, "PAYLOADS_AT_ONCE", chance.choice([1, 1000]))
    begun, dropped = lived.now, 0
    for number in range(40):
        now = begun + number * HOUR
        used = chance.sample(range(12), chance.choice([0, 1, 2, 4]))
        slot = now - chance.choice([0, 0, 0, 3]) * HOUR
        write_run(lived, now, slot, [f"answer {chance.choice([0, 0, number // 7])} of {one}".encode() for one in used])
        if chance.random() < 0.4:
            text = CONFIG + f'\n[retention]\npayloads = "{chance.choice([1, 5, 20])}h"\n'
            for hold in range(chance.choice([0, 0, 1, 2])):
                since = begun + chance.randrange(-4, 35) * HOUR
                until = since + chance.choice([1, 2, 9]) * HOUR
                text += f"[windows.h{hold}]\nstart = {canonical.stamp(since)}\nend = {canonical.stamp(until)}\n"
                text += 'criteria = ["CC6.1"]\nhold = true\n'
            (tmp_path / "collector.toml").write_text(text)
            settings = config.load(tmp_path / "collector.toml", {})
            wanted = scanned(lived.ledger, settings, now)
            found = retention.due(lived.ledger, settings, now)
            assert (list(found.digests) if found else []) == wanted
            if wanted and chance.random() < 0.6:
                assert retention.drop(lived.ledger, settings, now) is not None
                dropped += len(wanted)
            if chance.random() < 0.1:
                lived.ledger.rebuild()
                assert lived.ledger.uses.counted() == 0
    assert dropped > 5
    lived.ledger.verify(blobs=True)


def test_counting_reads_each_entry_once(lived, monkeypatch) -> None:
    retention.due(lived.ledger, lived.settings, lived.now)
    read: list[str] = []
    monkeypatch.setattr(retention, "_answers", lambda ledger, digest: read.append(digest) or set())
    retention.due(lived.ledger, lived.settings, lived.now - 100 * HOUR)
    assert read == []
    lived.hour()
    retention.due(lived.ledger, lived.settings, lived.now - 100 * HOUR)
    assert len(read) == 1


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
