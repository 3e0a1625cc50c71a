"""A ledger in a temporary folder, and a small world that writes into it what a collector would."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from collector import canonical
from collector.ledger.entry import Draft, Kind, observations_blob, run_fields
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from collector.model import CheckRun, Observation, Scope, State, Verdict
from tests.support import postgres

ORIGIN = "ledger.example/acme"
START = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    """Writes runs hour by hour. A population is {subject: (state, reason)} or, blind, the reason why."""

    start: datetime = START
    account: Scope = field(default_factory=lambda: Scope("aws", "123456789012"))

    def at(self, hour):
        return self.start + timedelta(hours=hour)

    def run(self, batch, hour, population, *, check="aws-iam-user-mfa", region="", by_hand=False, facts=0):
        """Seals one run for the slot of ``hour``, a minute after it; returns its entry."""
        scope = Scope(self.account.cloud, self.account.account, region)
        started = self.at(hour) + timedelta(minutes=1)
        blind = isinstance(population, str)
        observations = () if blind else tuple(self.observed(*item, facts) for item in sorted(population.items()))
        run = CheckRun(
            check=check,
            scope=scope,
            started=started,
            finished=started + timedelta(seconds=2),
            population=None if blind else len(observations),
            observations=observations,
            listing=() if blind else ("0" * 16,),
            reason=population if blind else "",
            failure="denied" if blind else "",
        )
        if not blind:
            batch.blob(observations_blob(run))
        fields = run_fields(
            run,
            account=self.account,
            slot=None if by_hand else self.at(hour),
            reference=started,
            version=1,
            code=canonical.digest(b"code"),
            limits={},
            principal="arn:aws:sts::123456789012:assumed-role/reader/collector",
            calls=batch.blob(b'[{"hour":%d}]' % hour),
            config=canonical.digest(b"config"),
            collector="0.1.0",
        )
        return batch.add(Draft(Kind.RUN, started + timedelta(seconds=3), fields))

    def observed(self, subject, found, facts):
        state, reason = found
        held = None if state is State.UNDETERMINED else {"mfa": state is State.SATISFIED, "more": facts}
        return Observation(subject, Verdict(state, reason), held, ("0" * 16,))

    def heartbeat(self, batch, hour):
        return batch.add(Draft(Kind.HEARTBEAT, self.at(hour), {"collector": "0.1.0", "host": "h", "uptime_s": hour}))


@pytest.fixture(scope="session")
def world():
    return World()


@pytest.fixture
def signer(tmp_path):
    return FileSigner.create(tmp_path / "log.pem", ORIGIN)


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request):
    """Every test of a ledger runs over both databases, unless it says that it is about one of them."""
    return request.param


def pytest_collection_modifyitems(items):
    """A test that is about one database is not there for the other."""
    items[:] = [item for item in items if not _about_another(item)]


def _about_another(item):
    only, call = item.get_closest_marker("only"), getattr(item, "callspec", None)
    return only is not None and call is not None and call.params.get("backend", only.args[0]) not in only.args


@pytest.fixture
def url(backend, tmp_path):
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    server, name = postgres.server(), f"ledger_{uuid.uuid4().hex}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture
def ledger(url, signer):
    opened = Ledger.open(url, origin=ORIGIN, signer=signer, create=True)
    yield opened
    opened.close()


class Vandal:
    """Somebody who owns the database: takes the guards away and changes what lies in it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connect(self):
        if self.url.startswith("sqlite"):
            return sqlite3.connect(self.url.removeprefix("sqlite:///"))
        return psycopg.connect(self.url.replace("+psycopg", ""))

    def __call__(self, *statements) -> None:
        """Runs statements, each SQL text or (SQL text, values)."""
        with closing(self.connect()) as connection:
            self._drop_guards(connection)
            for statement in statements:
                sql, values = (statement, ()) if isinstance(statement, str) else statement
                assert connection.execute(self._words(sql), values).rowcount > 0, f"{sql} changed nothing"
            connection.commit()

    def _drop_guards(self, connection) -> None:
        if self.url.startswith("sqlite"):
            query, drop = "SELECT name, '' FROM sqlite_master WHERE type = 'trigger'", "DROP TRIGGER {}"
        else:
            query = "SELECT tgname, tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal"
            drop = "DROP TRIGGER {} ON {}"
            connection.execute("SET session_replication_role = replica")  # and foreign keys with them
        for guard in connection.execute(query).fetchall():
            connection.execute(drop.format(*guard))

    def read(self, sql, *values):
        with closing(self.connect()) as connection:
            return connection.execute(self._words(sql), values).fetchall()

    def _words(self, sql):
        return sql if self.url.startswith("sqlite") else sql.replace("?", "%s")


@pytest.fixture
def vandal(url):
    return Vandal(url)
