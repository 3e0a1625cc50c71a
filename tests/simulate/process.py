"""One collector process on a simulated clock: the real daemon in one thread, which dies or is held as a seed says.

Real: daemon, operation, ledger, leadership, outbox, anchoring. Simulated: the clock that fires its jobs, the clouds,
the receivers of alerts and the place outside. Nothing here decides when anything happens: life.py does.
"""

from __future__ import annotations

import contextvars
import random
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace, TracebackType
from typing import Any

import sqlalchemy as sa

from collector import beating, canonical, collect, daemon, reperform
from collector.alert.message import DeliveryFailed
from collector.anchor.base import Ahead, Anchored, Believe, Consistency, anything
from collector.anchoring import Anchoring
from collector.config import Settings
from collector.controls import Controls
from collector.errors import LedgerBroken, Unavailable
from collector.ledger import merkle, sqlite
from collector.ledger.leading import LEASE_SECONDS, FileLock, Lease
from collector.ledger.note import Note, TreeHead
from collector.ledger.store import Ledger
from collector.operation import Operation
from collector.registry import Registry
from tests.simulate.clouds import BROKEN_LIBRARY, Simulated

HOUSE_SECONDS_MIN = 48 * 3600  # what the daemon does every hour, it does every other day here, and daily work weekly
TELLING = ("account", "checkpoint", "window", "decisions", "remind", "heartbeat")  # after them something is owed
DEFECT = re.compile(r"[A-Z]\w*: ")  # how the daemon writes an error that is none of its own


class Died(BaseException):
    """The process was killed. No handler of errors may hold it up."""


class Clock:
    """The time of a simulated life. Whoever asks a cloud makes it go on."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def tick(self) -> None:
        self.now += timedelta(milliseconds=40)

    def reach(self, moment: datetime) -> None:
        """Goes on to a moment, and by a second at least, so that no two events are at the same time."""
        self.now = max(moment, self.now + timedelta(seconds=1))


class Fuse:
    """Where a process dies: at the n-th of its statements, commits, questions to clouds, sends and puts from now on."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.died = False

    def light(self, steps: int) -> None:
        self.left = steps

    def step(self, *_: object, **__: object) -> None:
        """One step. Who is dead does nothing any more, also where the first death was swallowed."""
        if self.left is not None:
            self.left -= 1
            self.died = self.died or self.left <= 0
        if self.died:
            raise Died

    def watch(self, ledger: Ledger) -> None:
        """Counts what a ledger does with its database: each statement before it is sent, and each commit."""
        engine = ledger._database.engine
        sa.event.listen(engine, "before_cursor_execute", self.step)
        sa.event.listen(engine, "commit", self.step)


# --- what stands outside ---


@dataclass
class Receiver:
    """One way to tell people, that fails at random: before it has the alert, or after, and that may be the end."""

    name: str
    chance: random.Random
    clock: Clock
    got: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    broken: bool = False
    well: bool = False  # at the end it takes everything

    def take(self, alert: Mapping[str, Any], fuse: Fuse) -> str:
        fuse.step()
        if self.broken or (not self.well and self.chance.random() < 0.15):
            raise DeliveryFailed("503 out of order", retry=True)
        self.got.append((self.clock(), dict(alert)))
        if not self.well and self.chance.random() < 0.05:
            raise DeliveryFailed("the connection was lost before the answer", retry=True)
        fuse.step()
        return "200"


class Line:
    """What one process has of a receiver."""

    def __init__(self, receiver: Receiver, fuse: Fuse) -> None:
        self._receiver = receiver
        self._fuse = fuse

    def send(self, alert: Mapping[str, Any]) -> str:
        return self._receiver.take(alert, self._fuse)


class Place:
    """A place outside that keeps checkpoints and never forgets one; it demands proof that each continues the last."""

    id = "file/shelf"

    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self.chance = chance
        self.clock = clock
        self.held: list[tuple[TreeHead, bytes]] = []
        self.well = False
        self.fuse = Fuse()  # of whoever puts or asks now

    def _answers(self) -> None:
        self.fuse.step()
        if not self.well and self.chance.random() < 0.1:
            raise Unavailable("the shelf cannot be reached")

    def test(self) -> None:
        self._answers()

    def put(self, note: bytes, head: TreeHead, consistency: Consistency) -> Anchored:
        self._answers()
        if self.held:
            last = self.held[-1][0]
            if head.size < last.size:
                raise Ahead(f"the shelf holds {last.size}, not {head.size}", last.size, last)
            if not merkle.extends(last.size, head.size, last.root, head.root, consistency(last.size)):
                raise LedgerBroken("what is put on the shelf does not continue what stands there")
        self.held.append((head, note))
        self.fuse.step()
        token = canonical.record({"file": f"{head.size}.note", "put": len(self.held)})
        return Anchored(token, "json", None, f"shelf/{head.size}.note")

    def latest(self, believe: Believe = anything) -> TreeHead | None:
        self._answers()
        return next((head for head, note in reversed(self.held) if believe(note)), None)


class SimulatedLease(Lease):
    """The lease as it is, by the simulated clock in the place of the database's and of the process's own."""

    def __init__(self, database: Any, clock: Clock, holder: str) -> None:
        super().__init__(database)
        self._clock = clock
        self._holder = holder
        self._lost = clock()

    def _now(self) -> sa.ColumnElement[int]:
        return sa.literal(int(self._clock().timestamp() * 1_000_000), sa.BigInteger)

    def take(self) -> bool:
        asked = self._clock()
        leads = super().take()
        self._lost = asked + timedelta(seconds=LEASE_SECONDS)
        return leads

    def held(self) -> bool:
        return self._epoch is not None and self._clock() < self._lost


# --- the clock of the daemon ---


@dataclass
class Job:
    name: str
    work: Callable[[], Any]
    after: Callable[[datetime], datetime | None]
    at: datetime | None


class SimulatedSchedule:
    """Stands for ``collector.schedule.Schedule``: keeps the jobs, and lets life fire them one at a time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.jobs: dict[str, Job] = {}
        self.running = False

    def at_slots(
        self,
        name: str,
        next_after: Callable[[datetime], datetime | None],
        job: Callable[[], Any],
        *,
        account: bool = True,
    ) -> None:
        self.jobs[name] = Job(name, job, next_after, None)

    def every(self, name: str, seconds: int, job: Callable[[], Any]) -> None:
        pause = timedelta(seconds=max(seconds, HOUSE_SECONDS_MIN) * (4 if name == "retention" else 1))
        self.jobs[name] = Job(name, job, lambda after: after + pause, self.clock())

    def start(self) -> None:
        self.running = True
        for job in self.jobs.values():
            if job.at is None:
                job.at = job.after(self.clock())

    def stop(self) -> None:
        self.running = False

    def next(self) -> tuple[datetime, str] | None:
        """The job that is due first. Deliveries are not among them: they follow whatever happens."""
        if not self.running:
            return None
        due = [(job.at, name) for name, job in self.jobs.items() if job.at is not None and name != "deliver"]
        return min(due, default=None)

    def fire(self, name: str) -> None:
        job = self.jobs[name]
        job.at = None
        try:
            job.work()
        finally:
            if job.at is None:
                job.at = job.after(self.clock())


class _Quiet:
    """Metrics that nobody scrapes."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Process:
    """A daemon that was started and not yet stopped. ``note`` hears of each seal that the daemon has said aloud."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        controls: Controls,
        registry: Registry,
        clouds: Mapping[str, Simulated],
        receivers: Iterable[Receiver],
        place: Place,
        clock: Clock,
        note: Callable[[Any], None],
        *,
        leased: bool,
    ) -> None:
        self.name = name
        self.clock = clock
        self.clouds = clouds
        self.fuse = Fuse()
        self.place = place
        self.hold: Callable[[], None] | None = None
        self.hold_after = 0
        self.ledger = daemon.open_ledger(settings, create=True)
        if leased:
            self.ledger.leadership = SimulatedLease(self.ledger._database, clock, name)
        self.fuse.watch(self.ledger)
        self.operation = Operation(settings, controls, registry, self.ledger, self, clock)
        channels = {receiver.name: Line(receiver, self.fuse) for receiver in receivers}
        anchoring = Anchoring(self.ledger, {place.id: place}, clock, settings, controls, registry)
        self.daemon = daemon.Daemon(self.operation, channels, _Quiet(), anchoring)  # type: ignore[arg-type]
        tell = self.daemon._note

        def noted(sealed: Any) -> None:
            tell(sealed)
            note(sealed)

        self.daemon._note = noted  # type: ignore[method-assign]
        self.ledger.write_only_while_leading()

    @property
    def schedule(self) -> SimulatedSchedule:
        found: Any = self.daemon.schedule
        return found

    def open(self, settings: Any, transcript: Any, reference: datetime) -> Any:
        """The clouds, as the operation opens them."""
        return self.clouds[str(settings.scope)].handle(transcript, reference, settings, self._asked)

    def _asked(self) -> None:
        self.clock.tick()
        self.fuse.step()
        if self.hold is not None:
            self.hold_after -= 1
            if self.hold_after <= 0:
                hold, self.hold = self.hold, None
                # what others do meanwhile, they do in a context of their own
                contextvars.Context().run(hold)
                self.place.fuse = self.fuse

    def lead(self) -> None:
        """Asks for the lead, as the daemon does every three seconds."""
        self.place.fuse = self.fuse
        self.daemon._lead()
        if self.daemon.failed is not None:
            raise self.daemon.failed

    def fire(self, name: str) -> None:
        self.place.fuse = self.fuse
        self.schedule.fire(name)
        if name.split(" ")[0] in TELLING:
            self.deliver()
        self._sane()

    def deliver(self) -> None:
        self.place.fuse = self.fuse
        if self.schedule.running:
            self.schedule.jobs["deliver"].work()
        self._sane()

    def _sane(self) -> None:
        """A job may fail in ways that the collector knows, and as a broken library does; in no other way."""
        for job, words in self.daemon.troubles.items():
            if DEFECT.match(words) and BROKEN_LIBRARY not in words:
                raise AssertionError(f"{job} failed: {words}")

    def dies(self) -> None:
        """What the system does when a process ends: connections are cut, and its locks on files are gone."""
        self.fuse.left = None
        self.fuse.died = True
        if isinstance(self.ledger.leadership, FileLock):
            self.ledger.leadership.release()
        self.ledger.close()

    def stops(self) -> None:
        """As on SIGTERM."""
        self.place.fuse = self.fuse
        self.daemon.stop()
        self.ledger.close()


# --- one thread, one clock, no chance that no seed knows ---


class _AtOnce:
    """Stands for a thread and for a pool of threads: what is to be done is done at once, by whoever asks for it."""

    def __init__(self, *_: object, target: Callable[[], None] | None = None, **__: object) -> None:
        self._target = target

    def start(self) -> None:
        assert self._target is not None
        self._target()

    def join(self, *_: object) -> None:
        """It has ended."""

    def is_alive(self) -> bool:
        return False

    def __enter__(self) -> _AtOnce:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Nothing is left to be done."""

    @staticmethod
    def map(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return map(work, items)


def _relaxed(connection: sqlite3.Connection, record: object) -> None:
    """A simulated crash loses no power: what is written need not reach the disk."""
    _prepare(connection, record)
    connection.execute("PRAGMA synchronous=OFF")


_prepare = sqlite._prepare


@contextmanager
def alone(clock: Clock) -> Iterator[None]:
    """Inside, this thread is the only one of the collector, its clock is ``clock``, and SQLite does not sync."""
    puts: list[tuple[Any, str, Any]] = [
        (sqlite, "_prepare", _relaxed),
        (collect, "ThreadPoolExecutor", _AtOnce),
        (reperform, "ThreadPoolExecutor", _AtOnce),
        (daemon, "Schedule", lambda: SimulatedSchedule(clock)),
        (
            daemon,
            "threading",
            SimpleNamespace(Thread=_AtOnce, Event=threading.Event, Condition=threading.Condition),
        ),
        (beating, "socket", SimpleNamespace(gethostname=lambda: "simulated.local")),
        (beating, "os", SimpleNamespace(getpid=lambda: 1)),
    ]
    before = [(room, name, getattr(room, name)) for room, name, _ in puts]
    for room, name, value in puts:
        setattr(room, name, value)
    try:
        yield
    finally:
        for room, name, value in before:
            setattr(room, name, value)


def head_of(note: str) -> TreeHead:
    """The tree head that a checkpoint is about."""
    return TreeHead.parse(Note.parse(note).text)
