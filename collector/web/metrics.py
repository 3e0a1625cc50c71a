"""What the collector counts, for Prometheus. No label ever names an account, a region or a resource.

Counters begin at zero with each process; gauges are read from the ledger and are the same after a restart.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from collector import __version__, canonical
from collector.errors import StoreError
from collector.ledger.entry import Entry, Kind
from collector.model import CheckRun, Scope, State
from collector.window.drift import Cause
from collector.window.slots import SlotState

RUN_OUTCOMES = ("observed", "partial", "blind")  # everything was seen, something was, nothing was
DELIVERY_OUTCOMES = ("delivered", "failed", "gave-up")
DURATION_SECONDS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600)


class SealedRun(Protocol):
    """What of ``collector.operation.Sealed`` is used here."""

    @property
    def account(self) -> Scope: ...
    @property
    def slot(self) -> datetime | None: ...
    @property
    def runs(self) -> Sequence[CheckRun]: ...
    @property
    def entries(self) -> Sequence[Entry]: ...


class ReadsLedger(Protocol):
    """What of ``collector.ledger.store.Ledger`` is used here."""

    def size(self) -> int: ...
    def blob(self, digest: str) -> bytes: ...
    def newest_checkpoint(self) -> Any: ...
    @property
    def projection(self) -> Any: ...


class Metrics:
    """All metrics of one collector, on a registry of their own. ``grace_s`` as configured: later than that is late."""

    def __init__(self, grace_s: int = 900) -> None:
        self.registry = CollectorRegistry()
        self._grace = timedelta(seconds=grace_s)
        self._channels: set[str] = set()
        self._stale: ReadsLedger | None = None  # what the gauges are read from when they are asked for next
        self._runs = self._counter("runs", "Account runs that were sealed, by how much they saw.", "outcome")
        self._duration = Histogram(
            "collector_run_duration_seconds",
            "How long account runs took.",
            buckets=DURATION_SECONDS,
            registry=self.registry,
        )
        self._last_success = self._gauge("last_success_timestamp_seconds", "End of the last run that saw anything.")
        self._slots = self._counter("slots", "Due executions that were accounted for, by what became of them.", "state")
        self._subjects = self._gauge("subjects", "Subjects in the newest run of each check and scope.", "state")
        self._blind_scopes = self._gauge("blind_scopes", "Checks and scopes whose newest run has no population.")
        self._alerts_open = self._gauge("alerts_open", "Alerts that were triggered and not resolved.", "cause")
        self._deliveries = self._counter(
            "deliveries", "Attempts to deliver an alert, by outcome.", "channel", "outcome"
        )
        self._given_up = self._gauge("deliveries_given_up", "Open alerts that a channel never took.", "channel")
        self._troubles = self._counter("troubles", "Jobs of the collector that failed.", "job")
        self._entries = self._gauge("ledger_entries", "Entries in the ledger.")
        self._leading = self._gauge("leader", "1 while this process collects, 0 while it stands by.")
        self._checkpoint = self._gauge("checkpoint_timestamp_seconds", "When the ledger was last signed.")
        self._beat = self._gauge("heartbeat_timestamp_seconds", "When this process last wrote that it is alive.")
        self._every = self._gauge("heartbeat_interval_seconds", "After how many seconds the next heartbeat is due.")
        self._untold = self._counter("heartbeat_url_failures", "Heartbeats that the URL outside did not take.")
        self._fed = self._counter("feed_events", "Events of change feeds, by what became of them.", "cloud", "outcome")
        self._calls = self._counter(
            "cloud_calls", "Questions to a cloud, by how they were answered.", "cloud", "outcome"
        )
        self._gauge("build_info", "The version that runs; always 1.", "version").labels(__version__).set(1)
        # A series that exists from the start can be alerted on before the first thing goes wrong.
        for outcome in RUN_OUTCOMES:
            self._runs.labels(outcome)
        for slot_state in SlotState:
            self._slots.labels(slot_state.value)
        for state in State:
            self._subjects.labels(state.value)
        for cause in Cause:
            self._alerts_open.labels(cause.value)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"collector_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"collector_{name}", text, labels, registry=self.registry)

    # --- what happened ---

    def sealed(self, sealed: SealedRun, ledger: ReadsLedger) -> None:
        """Counts an account run that was sealed; the gauges are read anew when somebody looks at them.

        To read them after each run would cost each of many accounts the work of all of them.
        """
        if sealed.runs:
            outcome = run_outcome(sealed.runs)
            started = min(run.started for run in sealed.runs)
            finished = max(run.finished for run in sealed.runs)
            self._runs.labels(outcome).inc()
            self._duration.observe((finished - started).total_seconds())
            if sealed.slot is not None:
                for run in sealed.runs:
                    self._slots.labels(self._slot_state(run, sealed.slot).value).inc()
        for digest in {entry.data["calls"] for entry in sealed.entries if entry.kind is Kind.RUN}:
            self.called(canonical.parse(ledger.blob(digest)))
        self._stale = ledger

    def _slot_state(self, run: CheckRun, slot: datetime) -> SlotState:
        if run.population is None:
            return SlotState.GAP
        if run.counts()[State.UNDETERMINED]:
            return SlotState.PARTIAL
        return SlotState.LATE if run.started > slot + self._grace else SlotState.OBSERVED

    def lost(self, slots: int, state: SlotState = SlotState.GAP) -> None:
        """Counts due executions that nobody observed."""
        self._slots.labels(state.value).inc(slots)

    def called(self, exchanges: Iterable[Mapping[str, Any]]) -> None:
        """Counts the exchanges of a call log."""
        found = Tally((exchange["cloud"], exchange.get("failure") or "answered") for exchange in exchanges)
        for (cloud, outcome), count in found.items():
            self._calls.labels(cloud, outcome).inc(count)

    def delivered(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Counts attempts to deliver, by channel and outcome."""
        for (channel, outcome), count in counts.items():
            self._deliveries.labels(channel, outcome).inc(count)

    def fed(self, cloud: str, outcome: str) -> None:
        """Counts an event of a change feed by what became of it: one of ``collector.feed.pump.OUTCOMES``."""
        self._fed.labels(cloud, outcome).inc()

    def channels(self, names: Iterable[str]) -> None:
        """Lets the series of every configured channel begin at zero."""
        for name in names:
            self._channels.add(name)
            self._given_up.labels(name)
            for outcome in DELIVERY_OUTCOMES:
                self._deliveries.labels(name, outcome)

    def beat(self, at: datetime, every_s: int = 0) -> None:
        """A heartbeat was committed; the next one is due after ``every_s``, so that an alert rule need not know it."""
        self._beat.set(at.timestamp())
        self._every.set(every_s)

    def untold(self) -> None:
        """Counts a heartbeat that nobody outside heard of."""
        self._untold.inc()

    def leads(self, leads: bool) -> None:
        """Whether this process collects, or stands by for another."""
        self._leading.set(int(leads))

    def trouble(self, job: str) -> None:
        """Counts a job that failed. ``job`` is the kind of job, never an account."""
        self._troubles.labels(job).inc()

    # --- how things stand ---

    def refresh(self, ledger: ReadsLedger) -> None:
        """Reads the gauges out of the ledger: at start, and after each run."""
        subjects: Tally[str] = Tally()
        blind, last_success = 0, None
        for row in ledger.projection.status():
            subjects.update(row.states)
            if row.population is None:
                blind += 1
            elif last_success is None or row.finished > last_success:
                last_success = row.finished
        for state in State:
            self._subjects.labels(state.value).set(subjects[state.value])
        self._blind_scopes.set(blind)
        if last_success is not None:
            self._last_success.set(last_success.timestamp())
        causes = Tally(one.cause for one in ledger.projection.open_places())
        for cause in Cause:
            self._alerts_open.labels(cause.value).set(causes[cause.value])
        self._refresh_given_up(ledger.projection.given_up())
        self._entries.set(ledger.size())
        if (signed := ledger.newest_checkpoint()) is not None:
            self._checkpoint.set(signed.at.timestamp())

    def _refresh_given_up(self, found: Mapping[str, int]) -> None:
        self._channels |= set(found)
        for channel in self._channels:
            self._given_up.labels(channel).set(found.get(channel, 0))

    # --- out ---

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Everything as text for an ``Accept`` header, with its content type: OpenMetrics when asked for."""
        stale, self._stale = self._stale, None
        if stale is not None:
            try:
                self.refresh(stale)
            except StoreError:  # the database is away: how things stood is still worth telling
                self._stale = stale
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def run_outcome(runs: Iterable[CheckRun]) -> str:
    """One of ``RUN_OUTCOMES`` for all the check runs of an account run."""
    runs = list(runs)
    seen = [run for run in runs if run.population is not None]
    if not seen:
        return "blind"
    whole = len(seen) == len(runs) and not any(run.counts()[State.UNDETERMINED] for run in seen)
    return "observed" if whole else "partial"
