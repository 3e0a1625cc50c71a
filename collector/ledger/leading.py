"""Which of several processes may collect: one at a time, and none that lost its turn can still append.

Over PostgreSQL it is a lease in a row, by the database's clock, with an epoch that every append of the leader compares
inside its own transaction: a process that was stopped, cut off or slow finds its epoch gone, and writes nothing. Over
SQLite it is a lock on a file, which the system gives back at once when its holder dies.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from collector.errors import StoreError
from collector.ledger.database import Database
from collector.ledger.sqlite import SqliteDatabase
from collector.ledger.tables import lease

LEASE_SECONDS = 15.0  # a leader that is not heard of for so long has lost its turn
RENEW_SECONDS = 3.0


class Fenced(StoreError):
    """This process no longer leads: what it was about to write is dropped, and whoever leads now will look itself."""


class Leadership(Protocol):
    """One process's claim to lead. ``take`` is called every ``RENEW_SECONDS``."""

    def take(self) -> bool:
        """Takes the lead or keeps it. False while another leads. Raises StoreError when nobody can tell."""

    def held(self) -> bool:
        """Whether this process may believe that it leads, without asking anybody."""

    def fence(self, connection: sa.Connection) -> None:
        """Inside a transaction that writes: raises Fenced unless this process leads at this very moment."""

    def release(self) -> None:
        """Lets another take over at once."""


def leadership(database: Database) -> Leadership:
    """The way of leading that a kind of database has."""
    return FileLock(database.path) if isinstance(database, SqliteDatabase) else Lease(database)


class FileLock:
    """A lock on a file beside the database."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.lead")
        self._descriptor: int | None = None

    def take(self) -> bool:
        if self._descriptor is not None:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be opened ({error.strerror}); nothing is collected") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def held(self) -> bool:
        return self._descriptor is not None

    def fence(self, connection: sa.Connection) -> None:
        """The lock cannot be lost while this process lives."""

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Lease:
    """A lease in the database. Its clock is the database's, so that the clocks of the processes do not matter."""

    def __init__(self, database: Database, seconds: float = LEASE_SECONDS) -> None:
        self._database = database
        self._seconds = seconds
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._epoch: int | None = None
        self._until = 0.0  # by our own monotonic clock, from before we asked
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            asked = time.monotonic()
            try:
                with self._database.writing() as connection:
                    self._epoch = self._take(connection)
            except StoreError:
                # Nobody can tell. What we held holds until it runs out; the fence decides about every append.
                if not self.held():
                    self._epoch = None
                raise
            self._until = asked + self._seconds
            return self._epoch is not None

    def _now(self) -> sa.ColumnElement[int]:
        """The time in microseconds, by the database's clock."""
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger)

    def _take(self, connection: sa.Connection) -> int | None:
        """The epoch under which we lead, None while another does. Runs alone: writers stand in line."""
        now = self._now()
        until = now + int(self._seconds * 1_000_000)
        row = connection.execute(sa.select(lease, (lease.c.until > now).label("runs"))).one_or_none()
        if row is None:
            values = {"id": 1, "holder": self._holder, "epoch": 1, "until": until}
            connection.execute(sa.insert(lease).values(values))
            return 1
        mine = row.holder == self._holder and row.epoch == self._epoch
        if row.runs and not mine:
            return None
        # Also our own lease begins anew once it ran out: another may have led, and been fenced, in between.
        epoch = int(row.epoch) if mine and row.runs else int(row.epoch) + 1
        connection.execute(sa.update(lease).values(holder=self._holder, epoch=epoch, until=until))
        return epoch

    def held(self) -> bool:
        return self._epoch is not None and time.monotonic() < self._until

    def fence(self, connection: sa.Connection) -> None:
        row = connection.execute(sa.select(lease.c.holder, lease.c.epoch)).one_or_none()
        if row is None or self._epoch is None or (row.holder, row.epoch) != (self._holder, self._epoch):
            who = "nobody" if row is None else row.holder
            raise Fenced(f"this process no longer leads ({who} does): nothing was written, and its work is dropped")

    def release(self) -> None:
        with self._lock:
            if self._epoch is None:
                return
            epoch, self._epoch = self._epoch, None
            with self._database.writing() as connection:
                mine = (lease.c.holder == self._holder) & (lease.c.epoch == epoch)
                connection.execute(sa.update(lease).where(mine).values(until=0))
