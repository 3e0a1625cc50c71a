"""The ledger's database as one SQLite file: how it is opened, who may write, and what its errors mean."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from collector.errors import StoreError
from collector.ledger.database import UPGRADE, Database

SENTENCES = {
    "SQLITE_FULL": "the disk is full, nothing was written; make room, the next run goes on by itself",
    "SQLITE_READONLY": "may not be written; make the file and its folder writable for this user",
    "SQLITE_BUSY": "another process is writing and did not finish in time; only one collector may write to a ledger",
    "SQLITE_LOCKED": "another process is writing and did not finish in time; only one collector may write to a ledger",
    "SQLITE_NOTADB": "is not a ledger but something else; name the right file",
    "SQLITE_CANTOPEN": "cannot be opened; look at the path and at who may read it",
    "SQLITE_CORRUPT": "is damaged; keep it as it is and restore a backup beside it",
    "SQLITE_IOERR": "the disk does not answer, nothing was written; look at the disk",
    "SQLITE_CONSTRAINT_TRIGGER": "the log is appended to and never edited, nothing was written",
}


class SqliteDatabase(Database):
    """One file. One process may write at a time, others wait for it."""

    def __init__(self, url: URL, *, create: bool, patience: float) -> None:
        self.path = file_of(url)
        if create:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.touch(mode=0o600, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"{self.path} cannot be made ({error.strerror}); name a folder that can be written"
                ) from error
        elif not self.path.is_file():
            raise StoreError(f"there is no ledger at {self.path}; name the right file, or {UPGRADE} to begin one")
        engine = sa.create_engine(url, connect_args={"timeout": patience}, pool_size=4, max_overflow=28)
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
        super().__init__(url, engine, str(self.path))

    def say(self, error: BaseException | None) -> str:
        name = str(getattr(error, "sqlite_errorname", "")) or type(error).__name__
        for code, sentence in SENTENCES.items():
            if name.startswith(code):
                return f"{self.path}: {sentence} ({error})"
        return f"{self.path}: the database refuses ({name}: {error}); nothing was written"


def file_of(url: URL) -> Path:
    """The file that a URL names. Raises StoreError when it names none."""
    file = (url.database or "").removeprefix("file:") if url.get_backend_name() == "sqlite" else ""
    if file in ("", ":memory:"):
        raise StoreError("a ledger lies in a file; say sqlite:///path/to/ledger.db")
    return Path(file)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    """Every new connection: we say BEGIN ourselves, a commit is on the disk, and foreign keys hold."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Any) -> None:
    """A writer takes the lock before it reads, so that what it read is still so when it writes."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
