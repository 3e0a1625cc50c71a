"""The database file itself: opening, transactions, migrations, and its errors in words. Knows no entry and no blob.

Everything that is particular to SQLite is in this file and in alembic/. PostgreSQL comes by giving ``_begin`` its
``SELECT ... FOR UPDATE`` on the one row of ``head``, and the migrations their triggers; nothing else depends on it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from collector.errors import StoreError

PATIENCE_SECONDS = 30.0  # for another process to finish writing

UPGRADE = "run `collector db upgrade`"


def _migrations() -> Path:
    """The folder of migrations: inside the wheel beside this file, in a working copy at its root."""
    shipped = Path(__file__).parent / "migrations"
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "alembic"


def newest_revision() -> str:
    """The revision of this version's tables: migrations begin with the name of theirs."""
    return max(path.name.partition("_")[0] for path in (_migrations() / "versions").glob("[0-9]*.py"))


class Database:
    """One SQLite file, opened by ``Database.open``. Safe to use from many threads."""

    def __init__(self, url: URL, path: Path, patience: float) -> None:
        self.url = url
        self.path = path
        self.engine = sa.create_engine(url, connect_args={"timeout": patience}, pool_size=4, max_overflow=28)
        sa.event.listen(self.engine, "connect", _prepare)
        sa.event.listen(self.engine, "begin", _begin)

    @classmethod
    def open(cls, url: str, *, create: bool, patience: float = PATIENCE_SECONDS) -> Database:
        """Opens the file at ``url``, with the tables as this version needs them.

        ``create`` makes the file, or brings older tables up to date. Raises StoreError when there is no such file,
        when it is no database, or when its tables are not of this version.
        """
        parsed, path = _file_of(url)
        if create:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"{path} cannot be made ({error.strerror}); name a folder that can be written"
                ) from error
        elif not path.is_file():
            raise StoreError(f"there is no ledger at {path}; name the right file, or {UPGRADE} to begin one")
        database = cls(parsed, path, patience)
        try:
            with database.words():
                database._fit(create=create)
        except BaseException:
            database.close()
            raise
        return database

    def _fit(self, *, create: bool) -> None:
        """Compares the version of the tables with ours, and migrates when asked to."""
        if self._version() == newest_revision():
            return
        # not before it is needed: Alembic and its templates are 11 MiB of a process that is to stay small
        from alembic import command
        from alembic.config import Config
        from alembic.runtime.migration import MigrationContext
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
        script = ScriptDirectory.from_config(config)
        ours = script.get_current_head()
        with self.reading() as connection:
            theirs = MigrationContext.configure(connection).get_current_revision()
        if theirs == ours:
            return
        if theirs is not None and theirs not in {revision.revision for revision in script.walk_revisions()}:
            raise StoreError(
                f"{self.path} was written by a newer collector (tables {theirs}, this version knows {ours}); "
                "install that version or a later one"
            )
        if not create:
            what = "is not a ledger yet" if theirs is None else f"has tables {theirs}, this version needs {ours}"
            raise StoreError(f"{self.path} {what}; {UPGRADE}")
        with self.writing() as connection:
            begun = MigrationContext.configure(connection).get_current_revision() is not None  # by now, by another
            if not begun and sa.inspect(connection).get_table_names():
                raise StoreError(f"{self.path} is the database of something else; name another file")
            config.attributes["connection"] = connection
            with _quiet():
                command.upgrade(config, "head")

    def _version(self) -> str | None:
        """The revision that the tables say they are of; None when they do not."""
        with self.reading() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return found

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database until it is given back. Raises StoreError."""
        with self.words(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """The one connection that may write: all or nothing, after other writers have finished. Raises StoreError."""
        with self.words(), self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def words(self) -> Iterator[None]:
        """Turns what a database says into a StoreError that says what to do."""
        try:
            yield
        except DBAPIError as error:
            raise StoreError(self._say(error.orig)) from error
        except sqlite3.Error as error:
            raise StoreError(self._say(error)) from error

    def _say(self, error: BaseException | None) -> str:
        name = str(getattr(error, "sqlite_errorname", "")) or type(error).__name__
        for code, sentence in _SENTENCES.items():
            if name.startswith(code):
                return f"{self.path}: {sentence} ({error})"
        return f"{self.path}: the database refuses ({name}: {error}); nothing was written"

    def close(self) -> None:
        self.engine.dispose()


_SENTENCES = {
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


def _file_of(url: str) -> tuple[URL, Path]:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(f"{url!r} is not the URL of a database; say sqlite:///path/to/ledger.db") from error
    if parsed.get_backend_name() != "sqlite":
        raise StoreError(
            f"a ledger lies in SQLite in this version, not in {parsed.get_backend_name()}; say sqlite:///path"
        )
    file = parsed.database or ""
    if file.startswith("file:"):
        file = file.removeprefix("file:")
    if file in ("", ":memory:"):
        raise StoreError("a ledger lies in a file; say sqlite:///path/to/ledger.db")
    return parsed, Path(file)


def _prepare(connection: Any, _record: object) -> None:
    """Every new connection: we say BEGIN ourselves, a commit is on the disk, and foreign keys hold."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sa.Connection) -> None:
    """A writer takes the lock before it reads, so that what it read is still so when it writes."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Alembic tells its progress to the log; ours tells it once, to whoever asked for the upgrade."""
    log = logging.getLogger("alembic")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
