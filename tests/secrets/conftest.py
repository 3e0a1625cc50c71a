"""One day of a collector among planted secrets, lived once: everything that it wrote, said and sent."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog

from collector import config, daemon, hush, logs
from collector.alert.outbox import deliver_due, open_channels
from collector.cli.exporting import export_window
from collector.demo.cloud import FOREIGN, ORGANIZATION, TENANT, WORKSPACE_ADMIN, SimulatedCloud
from collector.demo.play import Clock
from collector.ledger import records
from collector.ledger.store import Ledger
from collector.web.app import Server
from collector.web.metrics import Metrics
from tests.secrets.echoing import Wire
from tests.secrets.planting import CROSSING, NOW, OURS, plant, secret

HOUR = timedelta(hours=1)
BROKEN_DATABASE = f"postgresql+psycopg://app:{secret('database')}@127.0.0.1:1/ledger"
CONTROLS = """
[controls.ALL]
title = "Everything is as it should be."
owner = "tests"
criteria = ["CC6.1"]
cadence = "1h"
checks = [{checks}]
"""
CRASHING = '''"""A check crashes on every subject.

Why: its error's words hold a secret, and those are a stranger's.
Remedy: none is needed.
"""

import os
from dataclasses import dataclass

from collector.check import Check, Family, bad, good, not_satisfied, satisfied


@dataclass(frozen=True)
class Fact:
    fine: bool


def population(aws):
    raise RuntimeError("could not log in with " + os.environ["COLLECTOR_MAIL_PASSWORD"])


CHECK = Check(
    id="aws-test-crash",
    family=Family.MFA,
    criteria=("CC6.1",),
    permissions=("ec2:DescribeVolumes",),
    per="account",
    population=population,
    name=str,
    observe=lambda aws, subject: Fact(True),
    evaluate=lambda fact: satisfied("is fine") if fact.fine else not_satisfied("is not"),
    examples=(good(Fact(True)), bad(Fact(False))),
)
'''


@pytest.fixture(autouse=True)
def no_secret_of_another_test() -> None:
    """Instead of the one of all tests: what the day of a module gave as secrets stays until its end."""


@dataclass
class Heard:
    """One request that a receiver got."""

    path: str
    headers: str
    body: bytes


class Receiver:
    """Hears everything, answers all with ``status``, and echoes in the refusal what it was sent."""

    def __init__(self, status: int = 500) -> None:
        self.heard: list[Heard] = []
        self.status = status
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                receiver.heard.append(Heard(self.path, str(self.headers), body))
                self.send_response(receiver.status)
                if 300 <= receiver.status < 400:
                    self.send_header("Location", f"http://127.0.0.1:1{self.path}")
                self.end_headers()
                echo = f"refused {secret('echo')}: {self.path} {self.headers}".encode() + body[:2000]
                self.wfile.write(echo)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        self.url = f"{self.base}/in"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@contextmanager
def listening() -> Iterator[io.StringIO]:
    """The whole log at its most talkative, as it is written; everything is put back afterwards."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.TALKATIVE}
    logs.setup("json", "debug", stream)
    try:
        yield stream
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    with listening() as stream:
        yield stream
    hush.forget()


@pytest.fixture
def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    for name in list(os.environ):
        if name.upper().startswith(FOREIGN):
            monkeypatch.delenv(name)
    (tmp_path / "wire").mkdir()
    found = Wire(tmp_path / "wire")
    for name, value in {
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), found.proxy.url),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
        **dict.fromkeys(("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"), str(found.proxy.bundle)),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    yield found
    found.proxy.close()


def command(folder: Path, *arguments: str, **environ: str) -> bytes:
    """What a command says on both streams."""
    found = subprocess.run(
        [sys.executable, "-m", "collector", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environ},
        capture_output=True,
        timeout=120,
        check=False,
    )
    return found.stdout + found.stderr


@dataclass
class Day:
    """What was lived, and all that left the process, by where it went; ``crossed`` are the secrets that came in."""

    folder: Path
    out: dict[str, bytes] = field(default_factory=dict)
    planted: set[str] = field(default_factory=set)
    crossed: dict[str, list[str]] = field(default_factory=dict)
    blobs: int = 0


def configure(folder: Path, cloud: SimulatedCloud, receiver: str) -> config.Settings:
    (folder / "checks").mkdir()
    (folder / "checks" / "crash.py").write_text(CRASHING)
    names = [item.check.id for item in daemon.shipped()] + ["aws-test-crash"]
    (folder / "controls.toml").write_text(CONTROLS.format(checks=", ".join(f'"{name}"' for name in names)))
    (folder / "collector.toml").write_text(
        '[collector]\norigin = "test.local/secrets"\n'
        f'[[aws]]\naccount = "{cloud.account}"\n[[azure]]\ntenant = "{TENANT}"\n'
        f'[[gcp]]\nparent = "{ORGANIZATION.replace("-", "/", 1)}"\nworkspace_admin = "{WORKSPACE_ADMIN}"\n'
        '[checks]\nfolders = ["checks"]\n'
        '[schedule]\nheartbeat_url_env = "COLLECTOR_ALIVE"\n'
        '[windows.day]\nstart = 2026-01-01\nend = 2026-01-02\ncriteria = ["CC6.1"]\n'
        f'[alerts.webhook.hook]\nurl = "{receiver}"\nsecret_env = "COLLECTOR_HOOK_SECRET"\n'
        '[alerts.email.mail]\nhost = "127.0.0.1"\nport = 1\nfrom = "a@acme.example"\nto = ["b@acme.example"]\n'
        'username = "ada"\npassword_env = "COLLECTOR_MAIL_PASSWORD"\n'
        f'[alerts.pagerduty.pager]\nrouting_key_env = "COLLECTOR_PAGER"\nurl = "{receiver}"\n'
        '[alerts.slack.chat]\nurl_env = "COLLECTOR_SLACK"\n[alerts.teams.team]\nurl_env = "COLLECTOR_TEAMS"\n'
        '[alerts.apprise.other]\nurl_env = "COLLECTOR_APPRISE"\n'
    )
    return config.load(folder / "collector.toml", os.environ)


def kept(ledger: Ledger) -> Iterator[tuple[str, bytes]]:
    """All that a ledger keeps, as it is without its packing: every entry, every blob, every checkpoint."""
    for entry in ledger.entries():
        yield f"entry {entry.seq} {entry.kind}", entry.body
    with ledger.reading() as connection:
        digests = [digest for digest, _ in records.blobs(connection)]
    for digest in digests:
        yield f"blob {digest}", ledger.blob(digest)
    for checkpoint in ledger.checkpoints():
        yield f"checkpoint {checkpoint.size}", checkpoint.note.encode()


def raises() -> None:
    raise RuntimeError(f"cannot connect to {BROKEN_DATABASE}")


def _pages(works: daemon.Daemon, metrics: Metrics) -> dict[str, bytes]:
    """Every page of the collector's own server, over HTTP."""
    server = Server("127.0.0.1:0", alive=works.alive, ready=works.ready, metrics=metrics)
    server.start()
    found = {}
    try:
        for path in ("/healthz", "/readyz", "/metrics"):
            try:
                with urllib.request.urlopen(f"{server.url}{path}", timeout=10) as answer:
                    found[f"page {path}"] = str(answer.headers).encode() + answer.read()
            except urllib.error.HTTPError as error:
                found[f"page {path}"] = str(error.headers).encode() + error.read()
    finally:
        server.stop()
    return found


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder, before = tmp_path_factory.mktemp("secrets"), dict(os.environ)
    receiver, clock = Receiver(), Clock(NOW)
    lived = Day(folder)
    try:
        with listening() as stream, SimulatedCloud(seed=5, now=NOW) as cloud:
            os.environ.update(cloud.environment, **OURS)
            lived.planted = plant(cloud)
            cloud.watch(CROSSING)
            settings = configure(folder, cloud, receiver.url)
            metrics = Metrics()
            with daemon.opened(settings, clock=clock) as operation:
                works = daemon.Daemon(
                    operation, open_channels(settings, os.environ), metrics, daemon.anchoring(operation)
                )
                operation.announce()
                for account in operation.accounts:
                    operation.plan(account)
                clock.set(NOW + HOUR)
                for account in operation.accounts:
                    sealed = operation.answer_due(account)
                    assert sealed is not None
                    metrics.sealed(sealed, operation.ledger)
                for bed, kind in ((cloud, "denied"), (cloud.azure, "500"), (cloud.gcp, "denied")):
                    bed.fault(kind=kind)
                clock.set(NOW + 2 * HOUR)
                for account in operation.accounts:  # nobody may look any more
                    assert operation.answer_due(account) is not None
                works._beat()
                metrics.delivered(deliver_due(operation.ledger, works.channels, clock))
                works._job("broken", raises)()
                operation.checkpoint()
                lived.out |= _pages(works, metrics)
                export_window(settings, operation.ledger, "day", folder / "package", clock())
                export_window(settings, operation.ledger, "day", folder / "package.zip", clock())
                lived.out |= dict(kept(operation.ledger))
                for path in (folder / "data").glob("ledger.db*"):  # also what has not left the write-ahead log
                    lived.out[f"while it is open: {path.name}"] = path.read_bytes()
            lived.blobs = sum(name.startswith("blob") for name in lived.out)
            for words in ("status --json", "preflight", "decisions", "checks list", "once --json", "key show --json"):
                lived.out[f"collector {words}"] = command(folder, *words.split())
            lived.crossed = cloud.crossed()
        lived.out["alerts"] = b"\n".join(one.headers.encode() + one.body for one in receiver.heard)
        lived.out["log"] = stream.getvalue().encode()
        yield lived
    finally:
        receiver.close()
        os.environ.clear()
        os.environ.update(before)
        hush.forget()
