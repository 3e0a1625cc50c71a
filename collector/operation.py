"""What the collector does, with time as an argument: announce, plan, observe, seal, declare gaps, beat, sign.

The daemon calls these when its clock says so, the demo when its story says so, tests whenever they like. Nothing here
sleeps, schedules, prints or delivers an alert.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, groupby
from typing import Any, Protocol

import structlog

from collector import __version__, beating, canonical, spot, windows
from collector.alert import leaving, own, route
from collector.alert.own import Trouble, Turn
from collector.alert.standing import Standing
from collector.check import limits_record, title_of
from collector.clouds.directory import AccountSettings
from collector.clouds.transcript import Transcript, question_id, skew_ms
from collector.collect import Task, collect, refuse_old
from collector.config import Settings
from collector.config_alerts import ROWS_MAX
from collector.controls import Controls
from collector.errors import CannotObserve, CollectorError, ConfigError, Denied, StoodStill
from collector.feed.event import Asked, News
from collector.ledger.entry import Draft, Entry, Kind, gap_fields, observations_blob, plan_fields, run_fields
from collector.ledger.projection import Slotted
from collector.ledger.store import Batch, Ledger
from collector.model import CheckRun, Gap, Scope
from collector.registry import Registry
from collector.window.drift import Cause
from collector.window.itself import Sign
from collector.window.slots import Declared, Due, Plan, PlannedCheck, due, in_force, plan_from, ticks, unanswered

# A plan holds until a newer one is written, which is each day while the collector runs. It reaches so far ahead that an
# outage of any length finds its slots due, and so declared as gaps, instead of finding nothing planned.
PLAN_AHEAD = timedelta(days=400)
NEXT_SLOT_WITHIN = timedelta(days=32)  # the longest cadence is 31 days
LOOK_BACK = timedelta(days=400)  # how far a starting daemon looks for slots that nobody accounted for

log = structlog.get_logger(__name__)


class Opener(Protocol):
    """Opens an account for one run: ``clouds.directory.Directory``, or a test's own."""

    def open(self, settings: AccountSettings, transcript: Transcript, reference: datetime) -> Any: ...


@dataclass(frozen=True)
class Sealed:
    """What one account run left in the ledger."""

    account: Scope
    slot: datetime | None
    runs: tuple[CheckRun, ...]
    entries: tuple[Entry, ...]
    alerts: int
    exchanges: int


@dataclass(frozen=True)
class _Gone:
    """An account that was planned and is configured no longer."""

    scope: Scope
    chosen: tuple[str, ...] = ()
    first: tuple[str, ...] = ()


class AlreadyAnswered(CollectorError):
    """Another process sealed this slot first; this run is dropped, nothing is written twice."""


class Operation:
    """One collector over its accounts. Safe to call from several threads; the ledger has one writer."""

    def __init__(
        self,
        settings: Settings,
        controls: Controls,
        registry: Registry,
        ledger: Ledger,
        clouds: Opener,
        clock: Callable[[], datetime],
    ) -> None:
        self.settings = settings
        self.controls = controls
        self.registry = registry
        self.ledger = ledger
        self.clouds = clouds
        self.clock = clock
        self.started = clock()
        self.config_digest = ""
        self._stopping = threading.Event()
        self._skew_ms: int | None = None
        self._principals: dict[str, str] = {}  # who asked last, by account
        self._turns = {account.scope: threading.Lock() for account in settings.accounts}  # one run of each at a time
        self._accounted: dict[str, datetime] = {}  # per account: all slots up to here have a run or a gap

    # --- who and what ---

    @property
    def accounts(self) -> Sequence[AccountSettings]:
        return self.settings.accounts

    def announce(self) -> None:
        """Writes the configuration, its windows and every enabled check into the ledger, where they differ from it."""
        now = self.clock()
        effective = canonical.record({"settings": self.settings.record(), "controls": self.controls.record()})
        self.config_digest = canonical.digest(effective)
        with self.ledger.write() as batch:
            last = batch.projection.last(Kind.CONFIG)
            if last is None or last.data["digest"] != self.config_digest:
                fields = {"digest": self.config_digest, "blob": batch.blob(effective), "collector": __version__}
                batch.add(Draft(Kind.CONFIG, now, fields))
            windows.announce(batch, self.settings.windows, now)
            clouds = {account.scope.cloud for account in self.accounts}
            for id in self.controls.enabled:
                if self.registry[id].check.cloud in clouds:
                    self._announce_check(batch, id, now)
        self._retire_plans()
        known = {str(account.scope) for account in self.accounts}
        self.close_left(lambda account: account not in known)

    def _announce_check(self, batch: Batch, id: str, now: datetime) -> None:
        known = self.registry[id]
        check = known.check
        fields = {
            "check": id,
            "version": check.version,
            "code": known.code,
            "title": title_of(check),
            "family": check.family.value,
            "criteria": list(check.criteria),
            "stage": check.stage.value,
            "permissions": list(check.permissions),
            "limits": limits_record(self.controls.limits_of(id)),
            "origin": known.origin,
        }
        last = batch.projection.latest_check(id)
        if last is None or any(last.data[name] != value for name, value in fields.items()):
            batch.blob(known.source)
            batch.add(Draft(Kind.CHECK, now, fields))

    # --- planning ---

    def plan(self, account: AccountSettings, parts: Sequence[str] | None = None) -> Entry | None:
        """Writes what is due next, before it is due, when no plan says so yet or what is due has changed.

        ``parts`` are those just discovered; without them, the configured or last planned ones hold, and an account that
        was never planned is asked for them.
        """
        now = self.clock()
        scope = account.scope
        if parts is None and not account.chosen and not account.first:
            parts = self._first_parts(account)
        with self.ledger.write() as batch:
            last = batch.projection.latest_plan(str(scope))
            known = last.data["parts"] if last else account.first
            names = sorted(account.chosen or parts or known)
            planned = self._planned(scope, names)
            until = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + PLAN_AHEAD
            fields = plan_fields(scope, now, until, planned, names, self.config_digest)
            if last is not None and all(
                last.data[name] == fields[name] for name in ("until", "checks", "parts", "config")
            ):
                return None
            entry = batch.add(Draft(Kind.PLAN, now, fields))
        if last is not None:
            self.close_left(lambda account: account == str(scope))
        return entry

    def _first_parts(self, account: AccountSettings) -> list[str] | None:
        """The parts of an account without a plan. None when there is a plan, or nobody can be asked.

        What was asked is no evidence: the first run asks again, and its plan corrects this one.
        """
        if self.ledger.projection.latest_plan(str(account.scope)) is not None:
            return None
        try:
            handle = self.clouds.open(account, Transcript(), self.clock())
            handle.identity()
            return list(handle.parts())
        except (CannotObserve, ConfigError) as error:
            log.warning("parts unknown", account=str(account.scope), why=str(error))
            return None

    def _planned(self, scope: Scope, parts: Sequence[str]) -> list[PlannedCheck]:
        planned: list[PlannedCheck] = []
        for id in self.controls.enabled:
            check = self.registry[id].check
            if check.cloud != scope.cloud:
                continue
            scopes = [Scope(scope.cloud, scope.account, name) for name in parts] if check.parted else [scope]
            planned.append(PlannedCheck(id, tuple(map(str, scopes)), self.controls.cadence_of(id)))
        return planned

    def plans(self, account: AccountSettings, since: datetime, until: datetime) -> list[Plan]:
        """The plans of one account that hold at any moment of ``[since, until)``."""
        found = self.ledger.projection.plans_in_force(str(account.scope), since, until)
        return [plan_from(entry.data) for entry in found]

    def _retire_plans(self) -> None:
        """Ends the plans of accounts that are configured no longer, since a plan reaches a year ahead.

        What was due before and nobody observed is declared; from here on nothing is due of them.
        """
        known = {str(account.scope) for account in self.accounts}
        for last in self.ledger.projection.latest_plans():
            if last.data["account"] in known or not last.data["checks"]:
                continue
            gone = _Gone(Scope.parse(last.data["account"]))
            lost = self.open_slots(gone)
            now = self.clock()
            until = max(now + PLAN_AHEAD, canonical.moment(last.data["until"]))
            fields = plan_fields(gone.scope, now, until, (), last.data["parts"], self.config_digest)
            with self.ledger.write() as batch:
                for gap in _stretches(gone.scope, lost, "the account was taken out of the configuration"):
                    batch.add(Draft(Kind.GAP, now, gap_fields(gap)))
                batch.add(Draft(Kind.PLAN, now, fields))
            log.info("no longer planned", account=str(gone.scope), lost=len(lost))

    def close_left(self, mine: Callable[[str], bool] = lambda account: True) -> int:
        """Closes the alerts about what no plan asks for any more; only of the accounts that are ``mine``."""
        configured = leaving.Configured(
            {str(account.scope) for account in self.accounts},
            frozenset(self.controls.enabled),
            {str(account.scope) for account in self.accounts if account.chosen},
        )
        return leaving.close_left(self.ledger, configured, self._standing, self.clock(), mine)

    def next_slot(self, account: AccountSettings, after: datetime) -> datetime | None:
        """The first moment after ``after`` at which anything is due."""
        first: datetime | None = None
        for since, until, plan in in_force(self.plans(account, after, after + NEXT_SLOT_WITHIN)):
            for item in plan.checks:
                later = max(since, after + timedelta(microseconds=1))
                found = next(ticks(later, until, item.every_s, item.offset_s), None)
                if found is not None and (first is None or found < first):
                    first = found
        return first

    # --- slots that nobody accounted for ---

    def open_slots(self, account: AccountSettings) -> list[Due]:
        """Every execution that was due until now and has neither a run nor a declared gap, oldest first."""
        now = self.clock()
        scope = str(account.scope)
        since = self._accounted.get(scope, now - LOOK_BACK)
        dues = list(due(self.plans(account, since, now), since, now + timedelta(seconds=1)))
        rows = self.ledger.projection.runs(since=since, until=now + timedelta(seconds=1), account=scope)
        answered = {(row.check, row.scope, row.slot) for row in rows if row.slot is not None}
        gaps = [
            Declared(row.seq, row.account, tuple(row.checks), row.since, row.until, row.reason)
            for row in self.ledger.projection.gaps(since, now + timedelta(seconds=1))
            if row.account == scope
        ]
        return sorted(unanswered(dues, answered, gaps))

    def declare(self, account: AccountSettings, lost: Iterable[Due], reason: str) -> int:
        """Declares slots as gaps, and opens the alert that says so. Returns the number of gap entries."""
        scope = account.scope
        slots = sorted(lost)
        gaps = list(_stretches(scope, slots, reason))
        if not gaps:
            return 0
        now = self.clock()
        with self.ledger.write() as batch:
            entries = [batch.add(Draft(Kind.GAP, now, gap_fields(gap))) for gap in gaps]
            first, last = gaps[0].since, gaps[-1].until
            words = f"nobody looked from {canonical.stamp(first)} to {canonical.stamp(last)}: {reason}"
            moments = sorted({item.at for item in slots})
            turns = [Turn(True, first, entries[0].seq)] * len(moments)
            before = chain(turns[1:], self._lost_before(batch, account, moments[0]))
            missed = Trouble(Cause.MISSED, str(scope), "", words, "")
            own.tell(self._standing(batch, str(scope)), self.settings, missed, turns[0], before)
        log.warning("gap", account=str(scope), entries=len(gaps), reason=reason)
        return len(gaps)

    # --- observing ---

    def answer_due(
        self, account: AccountSettings, reason: str = "the run before it was still at work"
    ) -> Sealed | None:
        """Observes the newest slot that is due and unanswered; declares all older ones as gaps with ``reason``.

        A slot that is answered late keeps its own time and the run's true time: nothing is written back.
        """
        with self._turns[account.scope]:
            waiting = self.open_slots(account)
            if not waiting:
                return None
            newest = waiting[-1].at
            self.declare(account, [item for item in waiting if item.at < newest], reason)
            sealed = self.observe(account, newest, [item for item in waiting if item.at == newest])
            self._accounted[str(account.scope)] = newest
            if sealed is not None and sealed.runs:
                self._say_whether_late(account.scope, newest, min(run.started for run in sealed.runs), sealed)
            return sealed

    def _say_whether_late(self, scope: Scope, slot: datetime, started: datetime, sealed: Sealed) -> None:
        """One alert while an account's runs begin after their grace, and its end when they begin in time again."""
        grace = timedelta(seconds=self.settings.schedule.grace)
        late = started - slot
        opened = self.ledger.projection.open_alert(route.dedup_key(Cause.LATE, "", str(scope), ""))
        if (late > grace) == (opened is not None):
            return
        words = f"the run that was due at {canonical.stamp(slot)} began {int(late.total_seconds() // 60)} min later"
        trouble = Trouble(Cause.LATE, str(scope), "", words, "runs begin in time again")
        with self.ledger.write() as batch:
            before = (Turn(one.started - one.at > grace, one.at, one.seq) for one in self._answered(batch, scope, slot))
            now = Turn(late > grace, slot, sealed.entries[0].seq)
            own.tell(self._standing(batch, str(scope)), self.settings, trouble, now, before)

    def _answered(self, batch: Batch, scope: Scope, until: datetime) -> Iterator[Slotted]:
        """The slots of an account that were answered before a moment, newest first; read when they are asked for."""
        yield from batch.projection.slots_before(str(scope), until, ROWS_MAX)

    def _lost_before(self, batch: Batch, account: AccountSettings, until: datetime) -> Iterator[Turn]:
        """The slots that nobody observed in a row before a moment, newest first."""
        answered = next(self._answered(batch, account.scope, until), None)
        since = until - LOOK_BACK if answered is None else answered.at
        for at in sorted({item.at for item in due(self.plans(account, since, until), since, until)}, reverse=True):
            if answered is None or at > answered.at:
                yield Turn(True, at, None)

    def observe(self, account: AccountSettings, slot: datetime | None, items: Sequence[Due] = ()) -> Sealed | None:
        """One account run: every due check over one transcript, sealed in one transaction or not at all.

        Without ``slot`` every enabled check is run by hand, or those of ``items``. Returns None when the collector was
        stopped meanwhile, or stood still so long that what it read is of no one time; the slot is then declared a gap.
        Raises AlreadyAnswered when somebody else sealed the slot.
        """
        scope = account.scope
        reference = self.clock()
        transcript = Transcript()
        principal, refusal, handle = "", None, None
        parts: list[str] | None = None
        try:
            handle = self.clouds.open(account, transcript, reference)
            principal = handle.identity()
            self._principals[str(scope)] = principal
            if not account.chosen:
                parts = handle.parts()
        except CannotObserve as error:
            if not principal:
                refusal = error
        except ConfigError as error:  # a profile that is gone: nobody could look, and that is evidence too
            refusal = Denied(str(error))
        if slot is None and items:
            pairs = [(item.check, item.scope) for item in items]
        elif slot is None:
            names = sorted(account.chosen or parts or account.first)
            pairs = [(item.check, name) for item in self._planned(scope, names) for name in item.scopes]
        else:
            pairs = [(item.check, item.scope) for item in items]
        if refusal is not None:
            runs = [_refused(check, Scope.parse(name), reference, self.clock(), refusal) for check, name in pairs]
        else:
            runs = collect([self._task(check, Scope.parse(name), handle) for check, name in pairs], self.clock)
        if self._stopping.is_set():
            if slot is not None:
                self.declare(account, items, "the collector was stopped")
            return None
        self._skew_ms = skew_ms(transcript.log)
        try:
            sealed = self._seal(scope, slot, reference, principal, transcript, runs)
        except StoodStill as error:
            log.warning("stood still", account=str(scope), reason=str(error))
            if slot is not None:
                self.declare(account, items, str(error))
            return None
        if parts is not None:
            self.plan(account, parts)
        return sealed

    def spot(self, account: AccountSettings, asked: Sequence[Asked], news: News) -> spot.Spotted | None:
        """Looks again at named subjects, outside the slots. None: the account is at work, the collector was stopped,
        or it stood still meanwhile."""
        turn = self._turns[account.scope]
        if not turn.acquire(blocking=False):
            return None
        try:
            looked = spot.look(self, account, asked, self._task)
            return None if self._stopping.is_set() else spot.seal(self, account.scope, looked, news, self._standing)
        except StoodStill as error:
            log.warning("stood still", account=str(account.scope), reason=str(error))
            return None
        finally:
            turn.release()

    def rerun(self, account: AccountSettings, pairs: Sequence[tuple[str, Scope]]) -> Sealed | None:
        """Runs some checks in full, by hand. None: the account is at work, or the collector stopped."""
        turn = self._turns[account.scope]
        if not turn.acquire(blocking=False):
            return None
        try:
            now, name = self.clock(), str(account.scope)
            return self.observe(account, None, [Due(now, check, str(scope), name) for check, scope in pairs])
        finally:
            turn.release()

    def _task(self, id: str, scope: Scope, handle: Any) -> Task:
        check = self.registry[id].check
        within = handle.within(scope.part) if scope.part else handle
        seconds = self.settings.schedule.check_seconds_max
        return Task(check, scope, within, self.controls.limits_of(id), seconds)

    def _seal(
        self,
        scope: Scope,
        slot: datetime | None,
        reference: datetime,
        principal: str,
        transcript: Transcript,
        runs: Sequence[CheckRun],
    ) -> Sealed:
        calls = transcript.call_log()
        entries: list[Entry] = []
        alerts = 0
        with self.ledger.write() as batch:
            refuse_old(reference, self.clock())
            if slot is not None:
                self._fence(batch, scope, slot, runs)
            for exchange in transcript.log:
                if exchange.body:  # like the last answer to the same question: only what differs takes room
                    batch.blob(transcript.body(exchange.body), like=f"answer {question_id(exchange)}")
            digest = batch.blob(calls, like=f"calls {scope}")
            standing = self._standing(batch, str(scope))
            for run in runs:
                entry = self._seal_one(batch, scope, slot, reference, principal, digest, run)
                alerts += standing.after(run, entry.seq)
                entries.append(replace(entry))  # without what was parsed of it: a run may have ten thousand
            if entries:
                alerts += self._resolve_missed(batch, scope, slot, entries[0].seq, standing)
        return Sealed(scope, slot, tuple(runs), tuple(entries), alerts, len(transcript.log))

    def _fence(self, batch: Batch, scope: Scope, slot: datetime, runs: Sequence[CheckRun]) -> None:
        """Inside the transaction: whoever commits a slot first has it."""
        asked = {(run.check, str(run.scope)) for run in runs}
        until = slot + timedelta(microseconds=1)
        for row in batch.projection.runs(since=slot, until=until, account=str(scope)):
            if (row.check, row.scope) in asked:
                raise AlreadyAnswered(f"{row.check} over {row.scope} was already sealed for {canonical.stamp(slot)}")

    def _seal_one(
        self,
        batch: Batch,
        scope: Scope,
        slot: datetime | None,
        reference: datetime,
        principal: str,
        calls: str,
        run: CheckRun,
    ) -> Entry:
        known = self.registry[run.check]
        if run.population is not None:
            batch.blob(observations_blob(run))
        return batch.add(
            Draft(
                Kind.RUN,
                self.clock(),
                run_fields(
                    run,
                    account=scope,
                    slot=slot,
                    reference=reference,
                    version=known.check.version,
                    code=known.code,
                    limits=limits_record(self.controls.limits_of(run.check)),
                    principal=principal,
                    calls=calls,
                    config=self.config_digest,
                    collector=__version__,
                ),
            )
        )

    def _standing(self, batch: Batch, account: str = "") -> Standing:
        return Standing(batch, self.controls, self.settings, self.registry, self.clock, account)

    def _resolve_missed(self, batch: Batch, scope: Scope, slot: datetime | None, seq: int, standing: Standing) -> int:
        if standing.opened(Cause.MISSED, scope=str(scope)) is None:
            return 0
        at = slot or self.clock()

        def before() -> Iterator[Turn]:
            gaps = [gap.until for gap in batch.projection.gaps(at - LOOK_BACK, at) if gap.account == str(scope)]
            lost = max(gaps, default=at - LOOK_BACK)
            for one in self._answered(batch, scope, at):
                yield Turn(one.at < lost, one.at, one.seq)

        trouble = Trouble(Cause.MISSED, str(scope), "", "", "the account is observed again")
        return own.tell(standing, self.settings, trouble, Turn(False, at, seq), before()) is not None

    # --- housekeeping ---

    def heartbeat(self, sign: Sign = Sign.BEAT, reason: str = "") -> Entry:
        """Writes that the collector is alive, even when nothing is due; or that it starts or stops, and why."""
        server = self.settings.clock.ntp
        # a process that must end waits for nobody
        ntp = beating.ask_time(server, self.clock) if server and sign is not Sign.STOP else None
        clouds = {account.scope.cloud for account in self.accounts}
        enabled = [self.registry[id].check for id in self.controls.enabled]
        now = self.clock()
        fields = beating.fields(
            sign,
            reason,
            now=now,
            started=self.started,
            every_s=self.settings.schedule.heartbeat,
            skew_ms=self._skew_ms,
            ntp=ntp,
            permissions=[one for check in enabled if check.cloud in clouds for one in check.permissions],
            principals=self._principals if len(self._principals) == len(self.accounts) else None,
        )
        with self.ledger.write() as batch:
            return batch.add(Draft(Kind.HEARTBEAT, now, fields))

    def checkpoint(self) -> None:
        """Signs the ledger as it stands, if it has grown."""
        self.ledger.checkpoint(self.clock())

    def stop(self) -> None:
        """No run at work is sealed any more; its slot becomes a declared gap."""
        self._stopping.set()


def _refused(check: str, scope: Scope, started: datetime, finished: datetime, error: CannotObserve) -> CheckRun:
    return CheckRun(
        check=check,
        scope=scope,
        started=started,
        finished=finished,
        population=None,
        observations=(),
        listing=(),
        reason=f"the account could not be opened: {error}",
        failure=error.code,
    )


def _stretches(scope: Scope, lost: Sequence[Due], reason: str) -> Iterable[Gap]:
    """Slots of one account as few gaps: neighbouring moments that lost the same checks are one stretch."""
    moments = [(at, tuple(sorted({item.check for item in items}))) for at, items in groupby(lost, lambda d: d.at)]
    for checks, group in groupby(moments, lambda m: m[1]):
        stretch = [at for at, _ in group]
        yield Gap(scope, checks, stretch[0], stretch[-1] + timedelta(seconds=1), reason)
