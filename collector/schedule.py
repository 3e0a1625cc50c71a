"""The clock, and nothing else: fires when our own plan says that a slot is due. The only importer of APScheduler.

APScheduler keeps its jobs in memory, rebuilt from the configuration at each start; with coalescing it reports no missed
tick, so what was missed is found by comparing the plan with the runs, never here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from collector.errors import CollectorError

ACCOUNTS_MAX = 8  # accounts observed at once; the others wait in the order in which they fell due
UNREADABLE_RETRY = timedelta(seconds=5)
HOUSE_MAX = 6  # heartbeats, checkpoints, deliveries: never behind an account

log = structlog.get_logger(__name__)


class SlotTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 is untyped
    """Fires at the next slot of a plan. ``next_after`` says which that is, None when nothing is planned.

    When the plan cannot be read, it fires a little later: the job finds out what is due, and the clock never stops.
    """

    def __init__(self, next_after: Callable[[datetime], datetime | None]) -> None:
        self._next_after = next_after

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        try:
            return self._next_after(max(previous_fire_time, now) if previous_fire_time else now)
        except CollectorError as error:
            log.warning("the plan cannot be read", why=str(error))
            return now + UNREADABLE_RETRY


class Schedule:
    """Named jobs on a background thread. A job that is still at work is not started again."""

    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(HOUSE_MAX), "accounts": ThreadPoolExecutor(ACCOUNTS_MAX)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )

    def at_slots(
        self,
        name: str,
        next_after: Callable[[datetime], datetime | None],
        job: Callable[[], Any],
        *,
        account: bool = True,
    ) -> None:
        """Runs ``job`` at each slot. That of an account waits for its turn when many are due; it waits once."""
        pool = "accounts" if account else "default"
        self._scheduler.add_job(job, SlotTrigger(next_after), id=name, replace_existing=True, executor=pool)

    def every(self, name: str, seconds: int, job: Callable[[], Any]) -> None:
        """Runs ``job`` now and then every ``seconds``."""
        trigger = IntervalTrigger(seconds=seconds, timezone=UTC)
        self._scheduler.add_job(job, trigger, id=name, replace_existing=True, next_run_time=datetime.now(UTC))

    def start(self) -> None:
        self._scheduler.start()

    @property
    def running(self) -> bool:
        return bool(self._scheduler.running)

    def stop(self) -> None:
        """Starts nothing more; does not wait for jobs at work."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
