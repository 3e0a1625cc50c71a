"""What a witness remembers: which logs it trusts, what it cosigned last of each, and all that it ever cosigned.

One SQLite file. A commit is on the disk before anybody hears of it, and a writer holds the lock from its first look to
its commit: that is the compare-and-set that the protocol asks for. Decides nothing and signs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from collector.errors import ConfigError, StoreError
from collector.ledger import merkle
from collector.ledger.note import TreeHead, VerifierKey
from collector.witness.service import Incident, Known

PATIENCE_SECONDS = 10.0  # for another process, such as `collector witness trust`, to finish writing
INCIDENTS_MAX = 1000  # of one log; the first ones are the evidence, the rest is somebody repeating them
APPLICATION, VERSION = 0x65637773, 1

TABLES = """
CREATE TABLE log (
    origin TEXT PRIMARY KEY, since INTEGER NOT NULL,
    size INTEGER NOT NULL, root BLOB NOT NULL, time INTEGER NOT NULL, note TEXT NOT NULL
);
CREATE TABLE key (
    origin TEXT NOT NULL REFERENCES log (origin), vkey TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER,
    PRIMARY KEY (origin, vkey)
);
CREATE TABLE checkpoint (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL REFERENCES log (origin),
    size INTEGER NOT NULL, root BLOB NOT NULL, time INTEGER NOT NULL, note TEXT NOT NULL, UNIQUE (origin, size)
);
CREATE TABLE incident (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL REFERENCES log (origin), what TEXT NOT NULL,
    digest BLOB NOT NULL, size INTEGER NOT NULL, time INTEGER NOT NULL, request BLOB NOT NULL,
    UNIQUE (origin, what, digest)
);
CREATE TRIGGER checkpoint_stays BEFORE UPDATE ON checkpoint
    BEGIN SELECT RAISE(ABORT, 'what was cosigned is never changed'); END;
CREATE TRIGGER checkpoint_remains BEFORE DELETE ON checkpoint
    BEGIN SELECT RAISE(ABORT, 'what was cosigned is never removed'); END;
CREATE TRIGGER incident_stays BEFORE UPDATE ON incident
    BEGIN SELECT RAISE(ABORT, 'an incident is never changed'); END;
CREATE TRIGGER incident_remains BEFORE DELETE ON incident
    BEGIN SELECT RAISE(ABORT, 'an incident is never removed'); END;
CREATE TRIGGER log_grows BEFORE UPDATE ON log
    WHEN new.size < old.size OR (new.size = old.size AND new.root <> old.root) OR new.origin <> old.origin
    BEGIN SELECT RAISE(ABORT, 'a log only grows'); END;
CREATE TRIGGER log_remains BEFORE DELETE ON log
    BEGIN SELECT RAISE(ABORT, 'what was cosigned is never forgotten'); END;
"""


@dataclass(frozen=True)
class Kept:
    """A checkpoint that was cosigned."""

    size: int
    root: bytes
    time: int  # unix seconds: when it was cosigned first
    note: str


@dataclass(frozen=True)
class KeptIncident:
    """A request that the log's own signature makes evidence against it."""

    seq: int
    what: Incident
    size: int
    time: int  # unix seconds
    request: bytes


@dataclass(frozen=True)
class LogState:
    """One trusted log, as it is now."""

    origin: str
    since: int  # unix seconds: since when it is trusted
    keys: tuple[VerifierKey, ...]  # trusted now
    former: tuple[VerifierKey, ...]  # no longer
    size: int
    time: int  # unix seconds of the last cosignature, 0 before the first
    note: str  # the newest checkpoint with its cosignature, "" before the first
    checkpoints: int  # how many were kept
    forks: int
    unproved: int


class Store:
    """The file, opened by ``Store.open``. Safe to use from many threads, and by several processes at once."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._turn = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Store:
        """Raises StoreError when there is no such file, or it is something else."""
        if create:
            path.touch(mode=0o600, exist_ok=True)
        elif not path.is_file():
            raise StoreError(f"there is no witness at {path.parent}; begin one with `collector witness init`")
        with _words(path):
            connection = sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
        store = cls(path, connection)
        try:
            store._prepare(create=create)
        except BaseException:
            connection.close()
            raise
        return store

    def _prepare(self, *, create: bool) -> None:
        with _words(self.path):
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                self._connection.execute(f"PRAGMA {pragma}")
        with self.writing() if create else self.reading() as view:
            (application,) = view.one("PRAGMA application_id")
            (version,) = view.one("PRAGMA user_version")
            (tables,) = view.one("SELECT count(*) FROM sqlite_master")
            if create and not application and not tables:
                for statement in _statements(TABLES):
                    view.run(statement)
                view.run(f"PRAGMA application_id = {APPLICATION}")
                view.run(f"PRAGMA user_version = {VERSION}")
            elif application != APPLICATION:
                raise StoreError(f"{self.path} is the database of something else; name the witness's own folder")
            elif version != VERSION:
                raise StoreError(
                    f"{self.path} was written by a newer collector (tables {version}, this version knows {VERSION}); "
                    "install that version or a later one"
                )

    @contextlib.contextmanager
    def reading(self) -> Iterator[View]:
        """One state of the file, unchanging until it is given back. Raises StoreError."""
        with self._transaction("BEGIN") as view:
            yield view

    @contextlib.contextmanager
    def writing(self) -> Iterator[View]:
        """All or nothing, after every other writer has finished. Raises StoreError."""
        with self._transaction("BEGIN IMMEDIATE") as view:
            yield view

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[View]:
        with self._turn, _words(self.path):
            self._connection.execute(begin)
            try:
                yield View(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._turn:
            self._connection.close()


class View:
    """The tables within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def one(self, statement: str, *values: object) -> tuple[object, ...]:
        """The only row, or an empty tuple."""
        row: tuple[object, ...] | None = self.run(statement, *values).fetchone()
        return row or ()

    # --- reading ---

    def known(self, origin: str, size: int) -> Known | None:
        """What is known of a log when a checkpoint of ``size`` comes; None when it is not trusted."""
        row = self.run("SELECT size, root FROM log WHERE origin = ?", origin).fetchone()
        if row is None:
            return None
        same = self.run("SELECT root FROM checkpoint WHERE origin = ? AND size = ?", origin, size).fetchone()
        return Known(self._keys(origin, "until IS NULL"), row[0], row[1], None if same is None else same[0])

    def time(self, origin: str) -> int:
        """When the log was cosigned last, in unix seconds; 0 before the first time."""
        found: int = self.run("SELECT time FROM log WHERE origin = ?", origin).fetchone()[0]
        return found

    def logs(self) -> list[LogState]:
        """Every log that is or was trusted, by name."""
        rows = self.run(
            "SELECT origin, since, size, time, note,"
            " (SELECT count(*) FROM checkpoint AS c WHERE c.origin = log.origin),"
            " (SELECT count(*) FROM incident AS i WHERE i.origin = log.origin AND what = ?),"
            " (SELECT count(*) FROM incident AS i WHERE i.origin = log.origin AND what = ?) FROM log ORDER BY origin",
            *(Incident.FORK.value, Incident.NOT_CONTINUED.value),
        ).fetchall()
        return [self._state(*row) for row in rows]

    def log(self, origin: str) -> LogState | None:
        return next((state for state in self.logs() if state.origin == origin), None)

    def _state(self, origin: str, since: int, size: int, time: int, note: str, *counts: int) -> LogState:
        now, former = self._keys(origin, "until IS NULL"), self._keys(origin, "until IS NOT NULL")
        return LogState(origin, since, now, former, size, time, note, *counts)

    def _keys(self, origin: str, which: str) -> tuple[VerifierKey, ...]:
        rows = self.run(f"SELECT vkey FROM key WHERE origin = ? AND {which} ORDER BY since, rowid", origin)  # noqa: S608
        return tuple(VerifierKey.parse(row[0]) for row in rows.fetchall())

    def checkpoints(self, origin: str) -> Iterator[Kept]:
        """Everything that was cosigned of a log, smallest first."""
        rows = self.run("SELECT size, root, time, note FROM checkpoint WHERE origin = ? ORDER BY size", origin)
        return (Kept(*row) for row in rows)

    def incidents(self, origin: str) -> Iterator[KeptIncident]:
        rows = self.run("SELECT seq, what, size, time, request FROM incident WHERE origin = ? ORDER BY seq", origin)
        return (KeptIncident(seq, Incident(what), size, time, request) for seq, what, size, time, request in rows)

    # --- writing ---

    def trust(self, key: VerifierKey, now: int) -> None:
        """From now on checkpoints of the log ``key.name`` may be signed by ``key``, and by those trusted before."""
        self.run("INSERT INTO log VALUES (?, ?, 0, ?, 0, '') ON CONFLICT DO NOTHING", key.name, now, merkle.EMPTY_ROOT)
        self.run(
            "INSERT INTO key VALUES (?, ?, ?, NULL) ON CONFLICT DO UPDATE SET since = excluded.since, until = NULL"
            " WHERE until IS NOT NULL",
            key.name,
            str(key),
            now,
        )

    def distrust(self, key: VerifierKey, now: int) -> None:
        """From now on ``key`` signs nothing. What was cosigned stays. Raises ConfigError when it is not trusted."""
        changed = self.run("UPDATE key SET until = ? WHERE vkey = ? AND until IS NULL", now, str(key)).rowcount
        if not changed:
            raise ConfigError(f"{key} is not trusted; `collector witness status` shows the keys that are")

    def keep(self, head: TreeHead, note: str, time: int, *, after: int) -> None:
        """``note`` is the newest checkpoint of its log from now on; the one before was over ``after`` entries.

        The log's time is never set back. Raises StoreError when another is the newest by now: nothing is written.
        """
        changed = self.run(
            "UPDATE log SET size = ?, root = ?, time = max(time, ?), note = ? WHERE origin = ? AND size = ?",
            *(head.size, head.root, time, note, head.origin, after),
        ).rowcount
        if changed != 1:
            raise StoreError(f"the newest checkpoint of {head.origin} is no longer the one over {after} entries")
        self.run(
            "INSERT INTO checkpoint (origin, size, root, time, note) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (origin, size) DO NOTHING",
            *(head.origin, head.size, head.root, time, note),
        )

    def keep_incident(self, head: TreeHead, what: Incident, text: str, request: bytes, time: int) -> bool:
        """Keeps a request as evidence, once for each checkpoint. False when it is not new, or too many are kept."""
        if self.one("SELECT count(*) FROM incident WHERE origin = ?", head.origin) >= (INCIDENTS_MAX,):
            return False
        changed = self.run(
            "INSERT INTO incident (origin, what, digest, size, time, request) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (origin, what, digest) DO NOTHING",
            *(head.origin, what.value, hashlib.sha256(text.encode()).digest(), head.size, time, request),
        ).rowcount
        return changed == 1


def _statements(script: str) -> Iterator[str]:
    """One by one: ``executescript`` would commit the transaction that they belong to."""
    statement = ""
    for line in script.strip().split("\n"):
        statement += f"{line}\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def _words(path: Path) -> Iterator[None]:
    """Turns what SQLite says into a StoreError that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        told = next((words for code, words in _SENTENCES.items() if name.startswith(code)), "the database refuses")
        raise StoreError(f"{path}: {told} ({name}: {error}); nothing was written") from error


_SENTENCES = {
    "SQLITE_FULL": "the disk is full; make room",
    "SQLITE_READONLY": "may not be written; make the file and its folder writable for this user",
    "SQLITE_BUSY": "another process is writing and did not finish in time",
    "SQLITE_NOTADB": "is no database; name the witness's own folder",
    "SQLITE_CANTOPEN": "cannot be opened; look at the path and at who may read it",
    "SQLITE_CORRUPT": "is damaged; keep it as it is, and begin anew only from a checkpoint that you hold (--from)",
    "SQLITE_IOERR": "the disk does not answer; look at the disk",
}
