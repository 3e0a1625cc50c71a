"""What goes wrong around a collector has a defined outcome: what is recorded and why, who is told, how it recovers.

The daemon is the real one, with its own clock and threads, over a canned cloud; slots fall due every second.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import config, controls, daemon, registry
from collector.alert.outbox import open_channels
from collector.anchoring import Anchoring
from collector.daemon import Daemon
from collector.errors import StoreError
from collector.ledger.entry import Kind
from collector.ledger.store import Ledger
from collector.operation import Operation
from collector.web.metrics import Metrics
from tests.support import lived, postgres

WAIT_SECONDS = 60


class Running:
    """A daemon in this process."""

    def __init__(self, folder: Path, url: str, accounts: int = 1, cadence: int = 1) -> None:
        tables = "".join(
            f'[[aws]]\naccount = "{n:012}"\nhome_region = "{lived.HOME}"\n' for n in range(1, accounts + 1)
        )
        (folder / "collector.toml").write_text(
            f'[collector]\norigin = "test.local/trouble"\ndatabase = "{url}"\n{tables}[schedule]\ngrace = "2s"\n'
            '[web]\nlisten = ""\n'
        )
        text = lived.CONTROLS.replace('checks = ["aws-iam', f'cadence = "{cadence}s"\nchecks = ["aws-iam')
        (folder / "controls.toml").write_text(text.split("[controls.DATA-1]")[0])
        self.settings = config.load(folder / "collector.toml", {})
        self.cloud = Clouds()
        known = daemon.load_registry(self.settings)
        bound = daemon.load_controls(self.settings, known)
        self.ledger = daemon.open_ledger(self.settings, create=True)
        self.operation = Operation(self.settings, bound, known, self.ledger, self.cloud, daemon.utc_now)
        about = (self.settings, bound, known)
        anchoring = Anchoring(self.ledger, {}, daemon.utc_now, *about)
        self.metrics = Metrics(self.settings.schedule.grace)
        self.daemon = Daemon(self.operation, open_channels(self.settings, {}), self.metrics, anchoring)

    def data(self, kind: Kind) -> list[dict[str, Any]]:
        return [entry.data for entry in self.ledger.entries(kinds=[kind])]

    def until(self, holds: Callable[[], Any], why: str) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while not _quietly(holds):
            assert time.monotonic() < end, f"{why}: {self.daemon.troubles}"
            time.sleep(0.05)

    def runs(self) -> int:
        return len(self.data(Kind.RUN))

    def another_run(self, more: int = 2) -> None:
        wanted = self.runs() + more
        self.until(lambda: self.runs() >= wanted, "no further run")


def _quietly(holds: Callable[[], Any]) -> Any:
    try:
        return holds()
    except StoreError:
        return False


class Clouds:
    """Canned accounts; ``slow`` holds every opening up, ``down`` says that no account can be opened."""

    def __init__(self) -> None:
        self.slow = 0.0
        self.down = ""
        self.at_once: list[str] = []
        self._lock = threading.Lock()

    def open(self, settings: Any, transcript: Any, reference: Any) -> Any:
        with self._lock:
            self.at_once.append(settings.account)
        time.sleep(self.slow)
        cloud = lived.Cloud(daemon.utc_now)
        cloud.account = settings.account
        if self.down:
            cloud.fails = dict.fromkeys(
                (("get_caller_identity", lived.HOME), ("get_caller_identity", "us-east-1")), self.down
            )
        return cloud.open(settings, transcript, reference)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "CADENCE_SECONDS_MIN", 1)
    assert registry is not None


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    found: list[Running] = []

    def start(url: str = "", **how: Any) -> Running:
        found.append(Running(tmp_path, url or f"sqlite:///{tmp_path / 'ledger.db'}", **how))
        found[-1].daemon.start()
        return found[-1]

    yield start
    for item in found:
        item.daemon.stop()
        item.ledger.close()


def test_a_database_that_is_gone_for_a_while_is_a_gap_an_alert_and_no_work_for_anybody(running) -> None:
    server = postgres.own()
    bench = running(server.create("ledger"))
    bench.another_run()
    server.stop()
    bench.until(lambda: bench.daemon.ready(), "nobody was told")
    assert "nothing was written; the next run goes on by itself" in " ".join(bench.daemon.ready())
    assert bench.daemon.alive()
    time.sleep(4)
    server.start()
    bench.another_run()
    bench.until(lambda: not bench.daemon.ready(), "it did not recover")
    bench.until(lambda: bench.data(Kind.GAP), "the lost slots were not declared")
    assert any("the database" in gap["reason"] for gap in bench.data(Kind.GAP))
    assert [alert["event"] for alert in bench.data(Kind.ALERT) if alert["cause"] == "missed"][:1] == ["trigger"]
    assert bench.ledger.verify(blobs=True)
    bench.daemon.stop()
    bench.ledger.close()
    server.close()


def test_a_full_disk_loses_the_slots_and_says_so_and_goes_on_when_there_is_room(running, monkeypatch) -> None:
    bench = running()
    bench.another_run()
    full = StoreError("the disk is full, nothing was written; make room, the next run goes on by itself")
    real = Ledger.write
    monkeypatch.setattr(Ledger, "write", lambda ledger: (_ for _ in ()).throw(full))
    bench.until(lambda: bench.daemon.ready(), "nobody was told")
    time.sleep(2)
    monkeypatch.setattr(Ledger, "write", real)
    bench.another_run()
    bench.until(lambda: any("disk is full" in gap["reason"] for gap in bench.data(Kind.GAP)), "no gap gives the reason")
    bench.until(lambda: not bench.daemon.ready(), "it did not recover")


def test_a_file_that_may_only_be_read_for_a_while_is_the_same(running, tmp_path) -> None:
    bench = running()
    bench.another_run()
    with bench.ledger.reading() as connection:
        connection.exec_driver_sql("SELECT 1")
    engine = bench.ledger._database.engine
    import sqlalchemy as sa

    def only_read(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA query_only = ON")

    sa.event.listen(engine, "connect", only_read)
    engine.dispose()
    bench.until(lambda: bench.daemon.ready(), "nobody was told")
    assert "may not be written" in " ".join(bench.daemon.ready())
    time.sleep(2)
    sa.event.remove(engine, "connect", only_read)
    engine.dispose()
    bench.another_run()
    bench.until(lambda: bench.data(Kind.GAP), "the lost slots were not declared")
    assert shutil.disk_usage(tmp_path).free


@pytest.mark.parametrize(("failure", "cause"), [("denied", "blind"), ("unavailable", "blind")])
def test_credentials_that_are_revoked_and_a_provider_that_is_out_are_runs_without_population(
    running, failure, cause
) -> None:
    bench = running()
    bench.another_run()
    bench.cloud.down = failure
    bench.until(lambda: any(run["failure"] == failure for run in bench.data(Kind.RUN)), "no run says so")
    bench.cloud.down = ""
    bench.until(lambda: bench.data(Kind.RUN)[-1]["population"] is not None, "it did not recover")
    events = [alert["event"] for alert in bench.data(Kind.ALERT) if alert["cause"] == cause]
    assert events == ["trigger", "resolve"]
    assert not bench.daemon.ready()


def test_more_accounts_than_time_are_all_served_in_turn_and_the_daemon_says_that_it_is_late(running) -> None:
    bench = running(accounts=24)
    bench.cloud.slow = 0.5  # eight at once: 24 accounts take 1.5 s, and fall due every second
    bench.until(
        lambda: any(alert["cause"] in ("late", "missed") for alert in bench.data(Kind.ALERT)), "nobody was told"
    )
    bench.cloud.at_once.clear()
    bench.until(lambda: len(bench.cloud.at_once) >= 96, "it stood still")
    counts = {account: bench.cloud.at_once.count(account) for account in set(bench.cloud.at_once)}
    assert len(counts) == 24
    assert max(counts.values()) <= 3 * min(counts.values())
    assert threading.active_count() < 60
    beats = len(bench.data(Kind.HEARTBEAT))
    assert beats >= 1
