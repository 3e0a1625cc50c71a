"""Puts the pieces together and keeps them running: start-up, the clock's jobs, signals, health. Judges nothing.

The only room besides cli and demo that names the ``checks`` package.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

import checks
from collector import beating, decisions, logs, retention, signers
from collector import controls as control_file
from collector import registry as registry_module
from collector.alert import explaining, reminding, route
from collector.alert.explaining import Explainer
from collector.alert.message import DeliveryFailed
from collector.alert.outbox import Channels, Repeater, deliver_due, open_channels
from collector.anchoring import Anchoring
from collector.beating import Outside
from collector.clouds.directory import AccountSettings, Directory, Limits
from collector.config import Settings
from collector.controls import Controls
from collector.errors import CollectorError, StoreError
from collector.feeding import Feeding
from collector.ledger.leading import RENEW_SECONDS, Fenced
from collector.ledger.seal import OtherKey, Signer
from collector.ledger.store import Ledger
from collector.operation import Opener, Operation, Sealed
from collector.registry import Registry
from collector.schedule import Schedule
from collector.spot import Spotted
from collector.window.itself import Sign

if TYPE_CHECKING:
    from collector.web.metrics import Metrics

STOP_SECONDS_MAX = 8  # SIGTERM to exit; containers are killed after 10
DELIVER_SECONDS = 5
REMIND_SECONDS = 30
TICK_SECONDS_STALE = 60
NOT_RUNNING = "the collector was not running"

log = structlog.get_logger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


def shipped() -> Registry:
    """The checks that ship with the collector, without a configuration."""
    return registry_module.load([checks])


def load_registry(settings: Settings) -> Registry:
    """Every check that the configuration allows. Raises BadCheck."""
    return registry_module.load([checks], settings.checks.entry_points, settings.checks.folders)


def load_controls(settings: Settings, registry: Registry) -> Controls:
    """The operator's controls, bound to checks. Raises ConfigError."""
    return control_file.load(settings.collector.controls, registry)


def directory(settings: Settings, clock: Callable[[], datetime] = utc_now) -> Directory:
    """The clouds of a configuration."""
    return Directory(clock, Limits(run_seconds=settings.schedule.run_seconds_max))


def signer_of(settings: Settings, *, create: bool = False) -> Signer:
    """The key that signs this ledger. Raises ConfigError, or CannotObserve when a key service refuses."""
    return signers.open_signer(settings, create=create)


def open_ledger(settings: Settings, *, create: bool = False) -> Ledger:
    """The ledger of a configuration with its signing key. Raises StoreError, LedgerBroken or as ``signer_of`` does."""
    if create:
        settings.collector.data.mkdir(parents=True, exist_ok=True)
    signer = signer_of(settings, create=create)
    origin = settings.collector.origin
    try:
        return Ledger.open(settings.collector.database, origin=origin, signer=signer, create=create)
    except OtherKey as error:
        raise signers.explained(settings, error) from error


@contextmanager
def opened(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    clouds: Opener | None = None,
    create: bool = True,
) -> Iterator[Operation]:
    """Everything that observing needs, from a configuration; closes the ledger at the end."""
    registry = load_registry(settings)
    controls = load_controls(settings, registry)
    route.refuse_unknown(controls, settings, registry)
    ledger = open_ledger(settings, create=create)
    try:
        yield Operation(settings, controls, registry, ledger, clouds or directory(settings, clock), clock)
    finally:
        ledger.close()


def anchoring(operation: Operation, environ: Mapping[str, str] = os.environ) -> Anchoring:
    """The places outside that hold this ledger's checkpoints. Raises ConfigError."""
    # libraries of places are loaded only where one is configured
    from collector.anchor.places import open_places

    places = open_places(operation.settings, environ, clock=operation.clock)
    about = (operation.settings, operation.controls, operation.registry)
    return Anchoring(operation.ledger, places, operation.clock, *about)


def _explainer(operation: Operation) -> Explainer | None:
    """Who is asked who changed what, where the configuration wants that: with connections and a deadline of its own."""
    settings = operation.settings
    if not settings.alerts.changed_by:
        return None
    limits = Limits(patience_seconds=explaining.SECONDS_MAX, run_seconds=explaining.SECONDS_MAX)
    clouds = Directory(operation.clock, limits)
    return Explainer(explaining.asking(operation.ledger, clouds, settings.accounts, operation.clock))


class Daemon:
    """The collector as a long-running process: it stands by until it leads, and works while it does."""

    def __init__(self, operation: Operation, channels: Channels, metrics: Metrics, anchoring: Anchoring) -> None:
        self.operation = operation
        self.channels = channels
        self.anchoring = anchoring
        self.metrics = metrics
        self.explainer = _explainer(operation)
        self.outside = beating.open_outside(operation.settings.schedule.heartbeat_url_env, os.environ)
        self.repeater = Repeater(operation.ledger, channels, operation.clock)
        self.schedule = Schedule()
        self.troubles: dict[str, str] = {}  # what went wrong last, by job; empty when all is well
        self.failed: CollectorError | None = None  # why this process must end
        self.feeding = Feeding(operation, metrics.fed, self._spotted)
        self._leadership = operation.ledger.leadership
        self._ended = threading.Event()
        self._away = NOT_RUNNING  # why slots were lost while this process did not lead
        self._working = 0
        self._idle = threading.Condition()
        self._ticked = time.monotonic()

    # --- leading ---

    def start(self) -> None:
        """Stands by, and works whenever this process leads. Returns at once, with the lead where it is free.

        Raises LedgerBroken when a place outside holds more than this ledger has.
        """
        self.operation.ledger.write_only_while_leading()
        self._lead()
        if self.failed is not None:
            raise self.failed
        threading.Thread(target=self._keep, name="leading", daemon=True).start()

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            self._lead()

    def _lead(self) -> None:
        """Takes, keeps or loses the lead, and lets the clock run accordingly."""
        self._ticked = time.monotonic()
        try:
            leads = self._leadership.take()
            self.troubles.pop("leading", None)
        except StoreError as error:
            if "leading" not in self.troubles:
                log.error("trouble", job="leading", what=str(error))
            self.troubles["leading"] = self._away = str(error)
            leads = self._leadership.held()
        if leads and not self.schedule.running:
            try:
                self._begin()
            except StoreError as error:  # the database went away between two sentences; we try again
                self.troubles["leading"] = str(error)
                self.schedule.stop()
            except CollectorError as error:
                log.error("cannot work", what=str(error))
                self.failed = error
                self._leadership.release()
                self._ended.set()
        elif not leads and self.schedule.running:
            log.warning("no longer leads; stands by")
            self.schedule.stop()
            self.feeding.stop()
        self.metrics.leads(leads)

    @property
    def leads(self) -> bool:
        return self.schedule.running

    # --- jobs ---

    def _begin(self) -> None:
        """Asks the places outside, announces, plans, and lets the clock run."""
        operation = self.operation
        self.schedule = Schedule()
        self.anchoring.begin()
        operation.announce()
        self._beat(Sign.START, f"leads; before that {self._away}")
        for account in operation.accounts:
            operation.plan(account)
        settings = operation.settings.schedule
        for account in operation.accounts:
            name = f"account {account.scope}"
            self.schedule.at_slots(name, self._next_slot(account), self._job(name, self._observe(account)))
            self.schedule.every(f"plan {account.scope}", 3600, self._job(f"plan {account.scope}", self._plan(account)))
        self.schedule.every("heartbeat", settings.heartbeat, self._job("heartbeat", self._beat))
        self.schedule.every("checkpoint", settings.checkpoint, self._job("checkpoint", self._anchor))
        self.schedule.at_slots("window", self._next_end, self._job("window", self._anchor), account=False)
        self.schedule.every("decisions", 3600, self._job("decisions", self._review))
        self.schedule.every("retention", 86_400, self._job("retention", self._drop))
        self.schedule.every("deliver", DELIVER_SECONDS, self._job("deliver", self._deliver))
        self.schedule.every("remind", REMIND_SECONDS, self._job("remind", self._remind))
        self.schedule.start()
        self.feeding.start()
        log.info("leads", entries=operation.ledger.size())
        threading.Thread(target=self._catch_up, name="catch-up", daemon=True).start()

    def _beat(self, sign: Sign = Sign.BEAT, reason: str = "") -> None:
        """Writes a sign of life, and tells who waits for it outside: a receiver that is gone holds up nothing."""
        entry = self.operation.heartbeat(sign, reason)
        self.metrics.beat(entry.at, entry.data["every_s"])
        if self.outside is not None:
            threading.Thread(target=self._tell_outside, args=(self.outside, entry.data), daemon=True).start()

    def _tell_outside(self, outside: Outside, beat: Mapping[str, Any]) -> None:
        try:
            outside.tell(beat)
        except DeliveryFailed as error:
            self.metrics.untold()
            log.warning("nobody outside heard the heartbeat", why=str(error))

    def _next_slot(self, account: AccountSettings) -> Callable[[datetime], datetime | None]:
        return lambda after: self.operation.next_slot(account, after)

    def _next_end(self, after: datetime) -> datetime | None:
        """The next moment at which a window begins or ends: its evidence is anchored at both."""
        windows = self.operation.settings.windows.values()
        return min((end for w in windows for end in (w.since, w.until) if end > after), default=None)

    def _anchor(self) -> None:
        self.operation.checkpoint()
        self.anchoring.put_newest()

    def _drop(self) -> None:
        entry = retention.drop(self.operation.ledger, self.operation.settings, self.operation.clock())
        if entry is not None:
            log.info("payloads dropped", count=entry.data["count"], bytes=entry.data["bytes"], entry=entry.seq)

    def _review(self) -> None:
        operation = self.operation
        about = (operation.controls, operation.settings, operation.registry)
        decisions.review(operation.ledger, operation.clock(), *about)
        operation.close_left()

    def _plan(self, account: AccountSettings) -> Callable[[], object]:
        return lambda: self.operation.plan(account)

    def _observe(self, account: AccountSettings, reason: str = "") -> Callable[[], None]:
        """Answers what is due. Slots that were lost meanwhile are gaps for ``reason``, or for the last trouble's."""

        def work() -> None:
            trouble = self.troubles.get(f"account {account.scope}")
            why = f"the last run failed: {trouble}" if trouble else "the run before it was still at work"
            # A slot that fell due meanwhile is answered at once, late; what is due after that waits behind the others.
            for _ in range(2):
                sealed = self.operation.answer_due(account, reason or why)
                self._note(sealed)
                if sealed is None:
                    return

        return work

    def _catch_up(self) -> None:
        for account in self.operation.accounts:
            name = f"account {account.scope}"
            self._job(name, self._observe(account, self._away))()
        self._away = NOT_RUNNING

    def _remind(self) -> None:
        operation = self.operation
        reminding.escalate(operation.ledger, operation.controls, operation.settings, operation.clock)
        reminding.digest(operation.ledger, operation.settings, operation.clock)

    def _deliver(self) -> object:
        counts = deliver_due(self.operation.ledger, self.channels, self.operation.clock, self.explainer)
        self.metrics.delivered(counts)
        self.repeater.repeat()
        return counts

    def _job(self, name: str, work: Callable[[], object]) -> Callable[[], None]:
        """A job that never dies silently: its trouble is logged once when it begins, shown in /readyz, and logged
        again when it is over."""

        def job() -> None:
            with self._idle:
                self._working += 1
            try:
                work()
            except Fenced as error:
                log.warning("dropped", job=name, why=str(error))
            except Exception as error:
                words = str(error) if isinstance(error, CollectorError) else f"{type(error).__name__}: {error}"
                if self.troubles.get(name) != words:
                    log.error("trouble", job=name, what=words, exc_info=not isinstance(error, CollectorError))
                self.troubles[name] = words
                self.metrics.trouble(name.split(" ", 1)[0])
            else:
                if self.troubles.pop(name, None) is not None:
                    log.info("trouble over", job=name)
            finally:
                with self._idle:
                    self._working -= 1
                    self._idle.notify_all()

        return job

    def _spotted(self, found: Spotted) -> None:
        states = [run.counts() for run in found.runs if run.population is not None]
        log.info(
            "looked again",
            entries=[entry.seq for entry in found.entries],
            subjects=sum(sum(counts.values()) for counts in states),
            calls=found.calls,
            alerts=found.alerts,
        )
        self.metrics.refresh(self.operation.ledger)

    def _note(self, sealed: Sealed | None) -> None:
        if sealed is None:
            return
        states: dict[str, int] = {}
        for run in sealed.runs:
            for state, count in run.counts().items():
                states[state] = states.get(state, 0) + count
        blind = sum(run.population is None for run in sealed.runs)
        log.info(
            "sealed",
            account=str(sealed.account),
            slot=sealed.slot.isoformat() if sealed.slot else None,
            runs=len(sealed.runs),
            without_population=blind,
            exchanges=sealed.exchanges,
            alerts=sealed.alerts,
            **{state.replace("-", "_"): count for state, count in states.items()},
        )
        self.metrics.sealed(sealed, self.operation.ledger)

    # --- health ---

    def alive(self) -> bool:
        """Whether this process still works, or still asks whether it should."""
        return not self._ended.is_set() and time.monotonic() - self._ticked < TICK_SECONDS_STALE

    def ready(self) -> list[str]:
        """Why the collector is not ready, in words; nothing when it is."""
        found = sorted({**self.troubles, **self.feeding.troubles()}.items())
        return [logs.without_secret_text(f"{name}: {what}") for name, what in found]

    # --- the end ---

    def _last(self, why: str) -> None:
        self._job("heartbeat", partial(self.operation.heartbeat, Sign.STOP, why))()
        self._job("checkpoint", self.operation.checkpoint)()

    def stop(self, why: str = "it was told to stop") -> bool:
        """Stops within STOP_SECONDS_MAX. A run at work is dropped and its slot declared a gap; nothing sealed is lost.

        Returns whether everything came to rest.
        """
        self._ended.set()
        led = self.leads
        self.schedule.stop()
        self.feeding.stop()
        self.operation.stop()
        if isinstance(self.operation.clouds, Directory):
            self.operation.clouds.stop()
        until = time.monotonic() + STOP_SECONDS_MAX
        with self._idle:
            while self._working and time.monotonic() < until:
                self._idle.wait(until - time.monotonic())
            rested = not self._working
        if rested and led:  # what cannot be signed now, or not in time by a key service, is by whoever leads next
            last = threading.Thread(target=partial(self._last, why), name="last-checkpoint", daemon=True)
            last.start()
            last.join(max(1.0, until - time.monotonic()))
            rested = not last.is_alive()
        with suppress(StoreError):
            self._leadership.release()
        return rested


def run(settings: Settings, clouds: Opener | None = None) -> int:
    """The daemon until SIGTERM or SIGINT. Returns 0."""
    # a web server is no part of any other command
    from collector.web.app import Server
    from collector.web.hooks import open_hooks
    from collector.web.metrics import Metrics

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with opened(settings, clouds=clouds) as operation:
        channels = open_channels(settings, os.environ)
        metrics = Metrics(settings.schedule.grace)
        metrics.channels(channels)
        metrics.refresh(operation.ledger)
        daemon = Daemon(operation, channels, metrics, anchoring(operation))
        acknowledge = partial(decisions.acknowledge, settings=settings)
        hooks = open_hooks(settings, os.environ, operation.ledger, acknowledge, operation.clock)
        server = Server(settings.web.listen, alive=daemon.alive, ready=daemon.ready, metrics=metrics, hooks=hooks)
        daemon.start()
        server.start()
        log.info("started", origin=settings.collector.origin, checks=len(operation.controls.enabled))
        while not stop.wait(1) and daemon.failed is None:
            pass
        log.info("stopping")
        server.stop()
        rested = daemon.stop() if daemon.failed is None else daemon.stop(str(daemon.failed))
    log.info("stopped", rested=rested)
    if daemon.failed is not None:
        raise daemon.failed
    if not rested:
        # A thread still waits for a cloud. Nothing of it will be sealed, and the ledger is closed: leave.
        os._exit(0)
    return 0
