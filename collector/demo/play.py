"""Lives through a window: the seeded story on one side, an unmodified collector on the other, one simulated clock.

The collector here is the daemon's own ``Operation`` over a real ledger; only the clock is turned by hand. The clouds
are reached by real HTTPS through the loopback proxy, by nothing but environment variables.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType

from collector import config, daemon
from collector.alert.outbox import Channels, deliver_due, open_channels
from collector.anchoring import Anchoring
from collector.clouds.directory import Directory, Limits
from collector.config import Settings
from collector.controls import starter
from collector.demo.cloud import ORGANIZATION, TENANT, WORKSPACE_ADMIN, SimulatedCloud
from collector.demo.inbox import Inbox
from collector.demo.outside import Outside
from collector.demo.story import story
from collector.errors import ConfigError
from collector.ledger.store import Ledger
from collector.model import PART_WORDS
from collector.operation import Operation
from collector.window.itself import Sign
from collector.window.slots import ticks

START = datetime(2026, 1, 1, tzinfo=UTC)  # fixed, so that the same seed tells the same story on any day
CADENCE = timedelta(hours=12)  # hourly would be real, and would take twelve times as long
WINDOW = "demo"
CRITERIA = (  # all that the starter controls serve
    *("CC4.1", "CC4.2", "CC6.1", "CC6.2", "CC6.3", "CC6.4", "CC6.5", "CC6.6", "CC6.7", "CC6.8"),
    *("CC7.1", "CC7.2", "CC7.3", "CC7.4", "CC7.5", "CC8.1", "A1.2", "C1.1"),
)
QUOTA = 10_000
SECRET_VARIABLE = "COLLECTOR_DEMO_WEBHOOK_SECRET"
SECONDS_AFTER_THE_SLOT = 20


class Clock:
    """Simulated time: set by the story, and running on in real time from there."""

    def __init__(self, start: datetime) -> None:
        self._base = start
        self._set = time.monotonic()

    def set(self, moment: datetime) -> None:
        self._base, self._set = moment, time.monotonic()

    def __call__(self) -> datetime:
        return self._base + timedelta(seconds=time.monotonic() - self._set)


@dataclass
class Played:
    """A window that was lived through, with everything still open."""

    settings: Settings
    folder: Path
    cloud: SimulatedCloud
    inbox: Inbox
    outside: Outside
    clock: Clock
    ledger: Ledger
    stack: ExitStack
    slots: int = 0
    seconds: float = 0.0
    told: list[str] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.clock()

    @property
    def received(self) -> int:
        return self.inbox.received

    def hand_over(self) -> Path:
        """The trust folder of the demo's auditor, as it stands now."""
        return self.outside.hand_over(self.folder / "trust", self.settings.collector.origin)

    def close(self) -> None:
        self.ledger.close()
        self.stack.close()

    def __enter__(self) -> Played:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def serve(self, say: Callable[[str], None]) -> None:
        """Keeps the cloud up and runs a daemon with the real clock against it, until Ctrl-C."""
        live = self.folder / "live"
        live.mkdir(exist_ok=True)
        path = live / "collector.toml"
        path.write_text(configuration(self.cloud.account, "demo.local/live", self.inbox.url, None, "127.0.0.1:8321"))
        (live / "controls.toml").write_text(controls("5m"))
        self.cloud.set_now(datetime.now(UTC))
        say("The simulated cloud stays up. Point any AWS tool at it with this environment:\n")
        for name, value in sorted(self.cloud.environment.items()):
            say(f"export {name}={value}")
        say(f"\nA daemon now collects every five minutes ({path}): http://127.0.0.1:8321/metrics. Ctrl-C ends both.\n")
        daemon.run(config.load(path, os.environ))


def play(
    *,
    days: int,
    seed: int,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    page_size: int = 0,
) -> Played:
    """Lives through ``days`` days of the story of ``seed``. Raises ConfigError when ``folder`` is in use.

    ``page_size``: how many items the simulated cloud puts on a page at most, 0 for as many as AWS would.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; name another folder with --out, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with ExitStack() as stack:
        clock = Clock(START - timedelta(minutes=10))
        secret = secrets.token_hex(32)
        inbox = Inbox(secret.encode(), folder / "inbox.jsonl")
        stack.callback(inbox.close)
        outside = Outside(folder, clock)
        stack.callback(outside.close)
        cloud = stack.enter_context(SimulatedCloud(seed=seed, now=clock()))
        cloud.set("page_size", page_size)
        # Twelve hours lie between two runs here, and no real second: nobody wants to wait for a quota of five seconds.
        cloud.azure.set(key="resource_graph_per_5s", value=QUOTA)
        cloud.gcp.set(key="list_assets_per_minute", value=QUOTA)
        stack.callback(_restore_environment, dict(os.environ))
        os.environ.update(cloud.environment, **{SECRET_VARIABLE: secret})
        end = START + timedelta(days=days)
        (folder / "collector.toml").write_text(
            configuration(cloud.account, "demo.local/acme", inbox.url, (START, end), "") + outside.configuration()
        )
        (folder / "controls.toml").write_text(controls("12h"))
        settings = config.load(folder / "collector.toml", os.environ)
        ledger = daemon.open_ledger(settings, create=True)
        outside.trust(str(daemon.signer_of(settings).key))
        played = Played(settings, folder, cloud, inbox, outside, clock, ledger, stack.pop_all())
    try:
        _live(played, seed, end, progress)
    except BaseException:
        played.close()
        raise
    played.seconds = time.monotonic() - begun
    return played


def _live(played: Played, seed: int, end: datetime, progress: Callable[[int, int], None]) -> None:
    days = (end - START).days
    events = sorted(story(seed, START, days), key=lambda event: event.at)
    moments = list(ticks(START, end, int(CADENCE.total_seconds())))
    operation, channels, anchoring = _begin(played)
    up, reason = True, ""
    workers = played.stack.enter_context(ThreadPoolExecutor(len(operation.accounts)))  # as the daemon has them
    for number, moment in enumerate(moments):
        played.clock.set(moment + timedelta(seconds=SECONDS_AFTER_THE_SLOT))
        played.cloud.set_now(played.clock())
        while events and events[0].at <= moment:
            event = events.pop(0)
            event.act(played.cloud)
            played.told.append(f"{event.at:%m-%d %H:%M} {event.title}")
            if event.kind.startswith("authority"):
                played.outside.fail(event.kind == "authority-down")
            elif event.kind == "collector-down":
                operation.checkpoint()
                played.ledger.close()
                up = False
            elif event.kind == "collector-up":
                played.ledger = daemon.open_ledger(played.settings)
                operation, channels, anchoring = _begin(played)
                up, reason = True, "the collector was not running"
        if up:
            operation.heartbeat()  # before the run, whose length is the machine's and no part of the story
            for account in operation.accounts:
                operation.plan(account)
            why = reason or "the run before it was still at work"
            list(workers.map(partial(operation.answer_due, reason=why), operation.accounts))
            played.slots += len(operation.accounts)
            reason = ""
            _deliver(operation, channels)
            operation.checkpoint()
            anchoring.put_newest()
            _deliver(operation, channels)  # what the anchoring raised
        progress(number + 1, len(moments))
    played.clock.set(end + timedelta(minutes=5))
    if not up:  # a story cut short while the collector was down
        played.ledger = daemon.open_ledger(played.settings)
        operation, channels, anchoring = _begin(played)
        for account in operation.accounts:
            operation.declare(account, operation.open_slots(account), "the collector was not running")
    _deliver(operation, channels)
    operation.checkpoint()
    anchoring.put_newest()


def _deliver(operation: Operation, channels: Channels) -> None:
    """All that is due. The daemon passes every few seconds, and a pass is of a hundred."""
    while deliver_due(operation.ledger, channels, operation.clock):
        pass


def _begin(played: Played, before: str = daemon.NOT_RUNNING) -> tuple[Operation, Channels, Anchoring]:
    """Starts a collector as the daemon does, on the simulated clock."""
    settings = played.settings
    registry = daemon.load_registry(settings)
    bound = daemon.load_controls(settings, registry)
    limits = Limits(run_seconds=settings.schedule.run_seconds_max, stated_quotas=False)  # see ``play``
    clouds = Directory(played.clock, limits)
    operation = Operation(settings, bound, registry, played.ledger, clouds, played.clock)
    anchoring = daemon.anchoring(operation)
    anchoring.begin()
    operation.announce()
    operation.heartbeat(Sign.START, f"leads; before that {before}")
    for account in operation.accounts:
        operation.plan(account)
    operation.checkpoint()
    anchoring.put_newest()
    return operation, open_channels(settings, os.environ), anchoring


def configuration(account: str, origin: str, inbox: str, window: tuple[datetime, datetime] | None, listen: str) -> str:
    """The demo's collector.toml."""
    lines = [
        "# Written by `collector demo`. A real one is written by `collector init`.",
        "[collector]",
        f'origin = "{origin}"',
        "",
        "[[aws]]",
        f'account = "{account}"',
        "",
        "[[azure]]",
        f'tenant = "{TENANT}"',
        "",
        "[[gcp]]",
        f'parent = "{ORGANIZATION.replace("-", "/", 1)}"',
        f'workspace_admin = "{WORKSPACE_ADMIN}"',
        "",
        "[schedule]",
        f'heartbeat = "{"12h" if window else "5m"}"',  # as often as it runs, so that a silence shows
        "",
        "[web]",
        f'listen = "{listen}"',
        "",
        "[alerts.webhook.inbox]",
        f'url = "{inbox}"',
        f'secret_env = "{SECRET_VARIABLE}"',
    ]
    if window:
        criteria = ", ".join(f'"{id}"' for id in CRITERIA)
        lines += [
            "",
            f"[windows.{WINDOW}]",
            f"start = {window[0]:%Y-%m-%d}",
            f"end = {window[1]:%Y-%m-%d}",
            f"criteria = [{criteria}]",
        ]
    return "\n".join(lines) + "\n"


def controls(cadence: str) -> str:
    """The starter controls, each with a cadence of its own unless it has one."""
    text = starter(PART_WORDS)
    tables = text.split("\n[controls.")
    for number, table in enumerate(tables[1:], 1):
        if "\ncadence" not in table:
            head, _, rest = table.partition("\n")
            tables[number] = f'{head}\ncadence = "{cadence}"\n{rest}'
    return "\n[controls.".join(tables)


def _restore_environment(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)
