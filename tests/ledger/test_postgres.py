"""What is particular to a ledger in PostgreSQL: its errors in words, its proof, many processes, and least rights."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import psycopg
import pytest

from collector.errors import LedgerBroken, StoreError
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from tests.ledger.conftest import ORIGIN, World
from tests.support import postgres

pytestmark = pytest.mark.only("postgres")


def fill(ledger: Ledger, world: World, hours: range) -> None:
    for hour in hours:
        with ledger.write() as batch:
            world.heartbeat(batch, hour)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (("UPDATE entry SET body = ? WHERE seq = 5", (b"\0{}",)), "entry 5 "),
        ("DELETE FROM entry WHERE seq = 299", "holds 300 entries, but 301 were written|entry 299 is missing"),
        ("DELETE FROM entry WHERE seq = 300", "holds 300 entries, but 301 were written"),
        ("UPDATE head SET size = 299", "but 299 were written"),
        ("DELETE FROM tile", "tile 0/0 has 0 hashes"),
        ("UPDATE checkpoint SET size = 299", "signed over another history|another root"),
    ],
)
def test_what_a_superuser_changes_behind_the_guards_is_found(ledger, world, vandal, statement, words) -> None:
    fill(ledger, world, range(300))
    ledger.checkpoint(world.at(300))
    vandal(statement)
    with pytest.raises(LedgerBroken, match=words):
        ledger.verify()


def test_names_with_every_character_come_back_in_the_order_of_their_code_points(ledger, world) -> None:
    names = ["Z", "a", "é", "\N{GRINNING FACE}", "z", "A b", "~", "\u2028"]
    with ledger.write() as batch:
        world.run(batch, 0, dict.fromkeys(names, world_state()))
    assert list(ledger.projection.open_states("aws-iam-user-mfa", "aws/123456789012")) == sorted(names)


def world_state():
    from collector.model import State

    return State.SATISFIED, "is well"


def append(url: str, key: str, worker: int, count: int, done) -> None:
    ledger = Ledger.open(url, origin=ORIGIN, signer=FileSigner.load(Path(key), ORIGIN), verify=False)
    for number in range(count):
        with ledger.write() as batch:
            World().heartbeat(batch, worker * 1000 + number)
            World().heartbeat(batch, worker * 1000 + number)
        if number % 7 == 0:
            ledger.checkpoint(World().at(number))
    ledger.close()
    done.put(worker)


def test_processes_append_in_one_line_and_nobody_forks_the_log(ledger, url, tmp_path, world) -> None:
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    key = str(tmp_path / "log.pem")
    workers = [context.Process(target=append, args=(url, key, worker, 25, done)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    hours = [entry.data["uptime_s"] for entry in ledger.entries(start=1)]
    assert len(hours) == 150
    assert hours[::2] == hours[1::2]  # no batch was torn apart by another
    assert ledger.verify().entries == 151


def test_a_reader_sees_one_state_while_others_write(ledger, world) -> None:
    fill(ledger, world, range(3))
    with ledger._database.reading() as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM entry").scalar_one()
        fill(ledger, world, range(3, 6))
        assert connection.exec_driver_sql("SELECT count(*) FROM entry").scalar_one() == before
    assert ledger.size() == 7


def test_a_reader_cannot_write(ledger) -> None:
    with pytest.raises(StoreError, match="may only be read"), ledger._database.reading() as connection:
        connection.exec_driver_sql("UPDATE head SET size = 99")


CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = %s"


def cut_off(ledger: Ledger, world: World, name: str) -> None:
    """Begins to write, loses the connection in the middle, and goes on as if nothing was."""
    with ledger.write() as batch:
        world.heartbeat(batch, 3)
        with psycopg.connect(postgres.server().dsn("postgres")) as other:
            other.execute(CUT, (name,))
        world.heartbeat(batch, 4)


def test_a_cut_connection_loses_what_was_not_acknowledged_and_nothing_else(ledger, url, world) -> None:
    fill(ledger, world, range(3))
    with pytest.raises(StoreError, match="nothing was written"):
        cut_off(ledger, world, url.rsplit("/", 1)[1])
    fill(ledger, world, range(5, 7))
    assert [entry.data["uptime_s"] for entry in ledger.entries(start=1)] == [0, 1, 2, 5, 6]
    assert ledger.verify().entries == 6


def test_a_server_that_is_gone_is_a_sentence_and_comes_back(signer, world) -> None:
    server = postgres.own()
    url = server.create("ledger")
    ledger = Ledger.open(url, origin=ORIGIN, signer=signer, create=True)
    fill(ledger, world, range(2))
    server.stop()
    begun = time.monotonic()
    with pytest.raises(StoreError, match="nothing was written; the next run goes on by itself"):
        fill(ledger, world, range(2, 3))
    assert time.monotonic() - begun < 30
    server.start()
    fill(ledger, world, range(3, 4))
    assert ledger.verify().entries == 4
    ledger.close()
    server.close()


def test_a_database_that_is_not_there_or_refuses_is_a_sentence_without_the_password(signer) -> None:
    server = postgres.server()
    url = server.url("nowhere").replace("postgres@", "postgres:hunter2-secret@")
    with pytest.raises(StoreError, match="no such database; create it first") as caught:
        Ledger.open(url, origin=ORIGIN, signer=signer)
    assert "hunter2" not in str(caught.value)


def test_a_read_only_server_is_a_sentence(ledger, url, world, signer) -> None:
    fill(ledger, world, range(2))
    name = url.rsplit("/", 1)[1]
    with psycopg.connect(postgres.server().dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    ledger.close()
    with pytest.raises(StoreError, match="may only be read"):
        fill(ledger, world, range(2, 3))
    assert ledger.verify().entries == 3


def test_the_rights_of_each_role_are_enough_and_no_more(ledger, url, world, signer) -> None:
    """deploy/postgres/roles.sql: the collector appends, an exporter reads, and neither edits nor drops a guard."""
    fill(ledger, world, range(2))
    server, name = postgres.server(), url.rsplit("/", 1)[1]
    sql = (Path(__file__).parents[2] / "deploy" / "postgres" / "roles.sql").read_text()
    with psycopg.connect(server.dsn(name), autocommit=True) as owner:
        owner.execute(sql)
        for role in ("collector_writer", "collector_reader"):
            owner.execute(f"ALTER ROLE {role} LOGIN")
    writer = Ledger.open(server.url(name, "collector_writer"), origin=ORIGIN, signer=signer)
    reader = Ledger.open(server.url(name, "collector_reader"), origin=ORIGIN, signer=None)
    with writer.write() as batch:
        world.run(batch, 3, {"a": world_state()})
    writer.checkpoint(world.at(4))
    writer.rebuild()
    assert reader.verify(blobs=True).entries == 4
    with pytest.raises(StoreError, match="the role may not do this"), reader.write() as batch:
        world.heartbeat(batch, 5)
    for role, statements in {
        "collector_writer": (
            "UPDATE entry SET kind = 'gap'",
            "DELETE FROM entry",
            "TRUNCATE entry CASCADE",
            "DELETE FROM checkpoint",
            "ALTER TABLE entry DISABLE TRIGGER ALL",
            "DROP TRIGGER entry_no_update ON entry",
            "DROP TABLE entry CASCADE",
            "SET session_replication_role = replica",
        ),
        "collector_reader": ("INSERT INTO tile VALUES (9, 9, '')", "DELETE FROM run", "DELETE FROM outbox"),
    }.items():
        for statement in statements:
            with (
                psycopg.connect(server.dsn(name, role)) as connection,
                pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException)),
            ):
                connection.execute(statement)
    writer.close()
    reader.close()
