"""A ledger arrives in another database exactly as it was, or not at all."""

from __future__ import annotations

import random
import sqlite3
import uuid

import pytest

from collector.errors import LedgerBroken, StoreError
from collector.ledger.moving import move
from collector.ledger.store import Ledger
from collector.model import State
from tests.ledger.conftest import ORIGIN, Vandal
from tests.support import postgres


@pytest.fixture
def lived(ledger, world):
    chance = random.Random(4)
    for hour in range(60):
        population = {f"s{n}": (chance.choice([State.SATISFIED, State.NOT_SATISFIED]), "words") for n in range(9)}
        with ledger.write() as batch:
            for _ in range(8):
                world.heartbeat(batch, hour)
            world.run(batch, hour, population if hour % 7 else "nobody could list them")
            batch.blob(chance.randbytes(2_000), like="answers")
        ledger.checkpoint(world.at(hour))
    return ledger


@pytest.fixture
def other(tmp_path):
    server, name = postgres.server(), f"moved_{uuid.uuid4().hex}"
    yield server.create(name)
    server.drop(name)


def test_what_arrives_verifies_answers_the_same_and_goes_on(lived, world, signer, other) -> None:
    sent = lived.verify(blobs=True)
    assert move(lived, other) == sent
    moved = Ledger.open(other, origin=ORIGIN, signer=signer)
    assert moved.root() == lived.root()
    assert [item.note for item in moved.checkpoints()] == [item.note for item in lived.checkpoints()]
    assert moved.projection.status() == lived.projection.status()
    assert list(moved.projection.intervals(None, None)) == list(lived.projection.intervals(None, None))
    with moved.write() as batch:
        world.heartbeat(batch, 100)
    moved.checkpoint(world.at(100))
    assert moved.verify(blobs=True).entries == sent.entries + 1
    moved.close()


@pytest.mark.only("postgres")
def test_a_ledger_goes_back_into_a_file(lived, tmp_path) -> None:
    assert move(lived, f"sqlite:///{tmp_path / 'back.db'}") == lived.verify(blobs=True)


@pytest.mark.only("sqlite")
def test_a_ledger_is_never_written_over_another(lived, other) -> None:
    move(lived, other)
    with pytest.raises(StoreError, match="holds a ledger already"):
        move(lived, other)


@pytest.mark.only("sqlite")
def test_nothing_is_moved_while_a_collector_is_at_work(lived, url, signer, other) -> None:
    daemon = Ledger.open(url, origin=ORIGIN, signer=signer, verify=False)
    assert daemon.leadership.take()
    with pytest.raises(StoreError, match="a collector is at work"):
        move(lived, other)
    daemon.leadership.release()
    daemon.close()
    move(lived, other)


@pytest.mark.only("sqlite")
def test_a_broken_ledger_stays_where_it_is(lived, vandal, other) -> None:
    vandal("UPDATE entry SET at = at + 1 WHERE seq = 17")
    with pytest.raises(LedgerBroken, match="entry 17"):
        move(lived, other)
    assert Vandal(other).read("SELECT count(*) FROM pg_class WHERE relname = 'entry'") == [(0,)]


@pytest.mark.only("sqlite")
def test_a_move_that_fails_half_way_leaves_nothing(lived, other, monkeypatch) -> None:
    def stop(done: int, total: int) -> None:
        if done > 300:
            raise sqlite3.OperationalError("the power went")

    with pytest.raises(StoreError):
        move(lived, other, lambda words: stop if words == "copying" else lambda done, total: None)
    assert Vandal(other).read("SELECT count(*) FROM entry") == [(0,)]
    move(lived, other)
