"""The ledger's database in PostgreSQL: how it is reached, who may write, and what its errors mean.

A writer takes one advisory lock for the length of its transaction, before it reads anything: appends of all processes
stand in one line, and what a writer has read is still so when it commits. Readers see one snapshot.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from collector.errors import ConfigError, StoreError
from collector.ledger.database import Database

LOCK = 0x45564C4C  # of the writers, in this database; any number that is ours
POOL = {"pool_size": 4, "max_overflow": 28, "pool_pre_ping": True, "pool_recycle": 1800}
# A connection that is cut without a word is noticed within some 20 seconds, not after the two hours of TCP.
ALIVE = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
CONNECT_SECONDS = 10
IDLE_WRITER_SECONDS = 10
APPLICATION = "evidence-collector"

SENTENCES = {  # SQLSTATE, or how it begins
    "08": "the database cannot be reached, nothing was written; the next run goes on by itself",
    "25P03": "this process was away for too long in the middle of writing, and nothing of it was written",
    "25006": "may only be read: it is a standby, or set to read only; nothing was written",
    "28": "the database refuses this user or password; look at COLLECTOR_COLLECTOR__DATABASE",
    "3D": "there is no such database; create it first",
    "42501": "the role may not do this; see deploy/postgres for the rights of each role",
    "53100": "the database's disk is full, nothing was written; make room, the next run goes on by itself",
    "53": "the database has no more room or connections, nothing was written; the next run goes on by itself",
    "55P03": "another process is writing and did not finish in time",
    "57P": "the database is being shut down or started, nothing was written; the next run goes on by itself",
    "P0001": "the log is appended to and never edited, nothing was written",
}


class PostgresDatabase(Database):
    """One database on a server. Many processes may open it; their writes stand in line."""

    def __init__(self, url: URL, *, patience: float) -> None:
        if url.get_driver_name() not in ("psycopg", "psycopg2"):
            raise StoreError(f"PostgreSQL is reached with psycopg 3; say postgresql+psycopg://, not {url.drivername}")
        url = url.set(drivername="postgresql+psycopg")
        settings = f"-c synchronous_commit=on -c lock_timeout={int(patience * 1000)} -c timezone=UTC"
        arguments = {**ALIVE, "connect_timeout": CONNECT_SECONDS, "application_name": APPLICATION, "options": settings}
        try:
            engine = sa.create_engine(url, connect_args=arguments, **POOL)
        except ModuleNotFoundError as error:
            raise ConfigError(
                "PostgreSQL needs an extra that is not installed: pip install 'evidence-collector[postgres]'"
            ) from error
        bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database)
        super().__init__(url, engine, bare.render_as_string())
        sa.event.listen(engine, "begin", _begin)

    def say(self, error: BaseException | None) -> str:
        words = " ".join(str(error).split())
        state = str(getattr(error, "sqlstate", None) or _state_of(words))
        for code, sentence in SENTENCES.items():
            if state.startswith(code):
                return f"{self.where}: {sentence} ({words})"
        return f"{self.where}: the database refuses ({state}: {words}); nothing was written"


def _state_of(words: str) -> str:
    """What a refused connection means: libpq gives its words, and no SQLSTATE."""
    if "does not exist" in words and "database" in words:
        return "3D000"
    return "28000" if "password" in words or "pg_hba.conf" in words or "role" in words else "08000"


def _begin(connection: Any) -> None:
    """Psycopg has said BEGIN. A writer waits for its turn; a reader gets one snapshot for all its questions."""
    if connection.get_execution_options().get("writes"):
        # A writer that was stopped or cut off in the middle must not hold up all others for longer than this.
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_WRITER_SECONDS * 1000}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
