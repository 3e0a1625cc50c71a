"""The database itself: opening, transactions, migrations, and its errors in words. Knows no entry and no blob.

What is particular to SQLite is in sqlite.py, what is particular to PostgreSQL in postgres.py, and both in alembic/.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from collector import hush
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
    """A database, opened by ``Database.open``. Safe to use from many threads. Each kind has a file of its own."""

    def __init__(self, url: URL, engine: sa.Engine, where: str) -> None:
        self.url = url
        self.engine = engine
        self.where = where  # for people; without any password

    @staticmethod
    def open(
        url: str,
        *,
        create: bool,
        patience: float = PATIENCE_SECONDS,
        derive: Callable[[sa.Connection], None] | None = None,
    ) -> Database:
        """Opens the database at ``url``, with the tables as this version needs them.

        ``create`` makes the file of an SQLite database, and brings older tables up to date; ``derive`` then fills the
        derived ones in the same transaction. Raises StoreError when there is none, when it is something else, or when
        its tables are not of this version.
        """
        database = _kind_of(url, create, patience)
        try:
            with database.words():
                database._fit(create=create, derive=derive)
        except BaseException:
            database.close()
            raise
        return database

    def say(self, error: BaseException | None) -> str:
        """What an error of this kind of database means, and what to do."""
        raise NotImplementedError

    def _fit(self, *, create: bool, derive: Callable[[sa.Connection], None] | None) -> None:
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
                f"{self.where} was written by a newer collector (tables {theirs}, this version knows {ours}); "
                "install that version or a later one"
            )
        if not create:
            what = "is not a ledger yet" if theirs is None else f"has tables {theirs}, this version needs {ours}"
            raise StoreError(f"{self.where} {what}; {UPGRADE}")
        with self.writing() as connection:
            begun = MigrationContext.configure(connection).get_current_revision() is not None  # by now, by another
            if not begun and sa.inspect(connection).get_table_names():
                raise StoreError(f"{self.where} is the database of something else; name another file")
            config.attributes["connection"] = connection
            with _quiet():
                command.upgrade(config, "head")
            if begun and derive is not None:
                derive(connection)

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
            raise StoreError(self.say(error.orig)) from error
        except sqlite3.Error as error:
            raise StoreError(self.say(error)) from error

    def close(self) -> None:
        self.engine.dispose()


def _kind_of(url: str, create: bool, patience: float) -> Database:
    # a driver is loaded only where it is used
    from collector.ledger.postgres import PostgresDatabase
    from collector.ledger.sqlite import SqliteDatabase

    hush.hold_url(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # their words quote the URL; a password with @ or : is read as host and port
        raise StoreError(
            "that is not the URL of a database; say sqlite:///path/to/ledger.db or postgresql+psycopg://host/name; "
            "in a password write @, : and / as %40, %3A and %2F"
        ) from None
    if parsed.get_backend_name() == "sqlite":
        return SqliteDatabase(parsed, create=create, patience=patience)
    if parsed.get_backend_name() == "postgresql":
        return PostgresDatabase(parsed, patience=patience)
    raise StoreError(f"a ledger lies in SQLite or PostgreSQL, not in {parsed.get_backend_name()}")


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
