"""A ledger in a temporary folder, and a small world that writes into it what a collector would."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector import canonical
from collector.ledger.entry import Draft, Kind, observations_blob, run_fields
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from collector.model import CheckRun, Observation, Scope, State, Verdict

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


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url, signer):
    opened = Ledger.open(url, origin=ORIGIN, signer=signer, create=True)
    yield opened
    opened.close()


class Vandal:
    """Somebody who owns the file: takes the guards away and changes what lies in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, *statements) -> None:
        """Runs statements, each SQL text or (SQL text, values)."""
        with closing(sqlite3.connect(self.path)) as connection:
            guards = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for (name,) in guards:
                connection.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                sql, values = (statement, ()) if isinstance(statement, str) else statement
                assert connection.execute(sql, values).rowcount > 0, f"{sql} changed nothing"
            connection.commit()

    def read(self, sql, *values):
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql, values).fetchall()


@pytest.fixture
def vandal(tmp_path):
    return Vandal(tmp_path / "ledger.db")
