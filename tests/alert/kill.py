"""Kills the outbox between every two of its steps, and lets another process go on. Run as a program by test_kill.py.

    python tests/alert/kill.py FOLDER WEBHOOK_URL SMTP_PORT SECRET

For each number from 1 a child of its own writes alerts into a fresh ledger and delivers them, and dies at that step
with ``os._exit``: steps are what lies around the ledger's transactions and the channels' sending. Another child then
delivers what is owed. Ends with the first number that nobody reaches, and prints one JSON line a number:
``steps`` that were taken, ``killed``, what is still ``owed``, the ``deliveries`` by alert and channel.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from collector.alert.email import Email
from collector.alert.explaining import Explainer
from collector.alert.outbox import deliver_due
from collector.alert.route import dedup_key
from collector.alert.webhook import Webhook
from collector.ledger.entry import Draft, Kind
from collector.ledger.seal import FileSigner
from collector.ledger.store import Batch, Ledger

ORIGIN = "evidence.example.com/test"
KILLED = 9
FAR = datetime(9999, 1, 1, tzinfo=UTC)
EVENTS = (("a", "trigger"), ("b", "trigger"), ("a", "resolve"), ("a", "trigger"), ("b", "escalate"), ("b", "resolve"))


class Steps:
    """Counts what the outbox does, and dies when it comes to one number."""

    def __init__(self, last: int | None) -> None:
        self.last = last
        self.names: list[str] = []

    def __call__(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self.last:
            os._exit(KILLED)


def traced(ledger: Ledger, step: Steps) -> None:
    """Steps before a transaction, in it, after its last sentence, and after it is on disk."""
    write = ledger.write

    @contextmanager
    def stepping() -> Iterator[Batch]:
        step("before the transaction")
        with write() as batch:
            step("in the transaction")
            yield batch
            step("before it is on disk")
        step("after it is on disk")

    ledger.write = stepping  # type: ignore[method-assign]


class Traced:
    """A channel with steps before and after."""

    def __init__(self, channel: Any, step: Steps) -> None:
        self._channel, self._step = channel, step

    def send(self, alert: Mapping[str, Any]) -> str:
        self._step("before sending")
        said: str = self._channel.send(alert)
        self._step("after sending")
        return said


def now() -> datetime:
    return datetime.now(UTC)


def opened(folder: Path) -> Ledger:
    signer = FileSigner.open(folder / "log.key", ORIGIN, create=True)
    return Ledger.open(f"sqlite:///{folder}/ledger.db", origin=ORIGIN, signer=signer, create=True)


def begin(folder: Path, number: int) -> None:
    """A ledger with six alerts about two things, owed to two channels."""
    folder.mkdir()
    ledger = opened(folder)
    for place, (name, event) in enumerate(EVENTS):
        subject = f"{number}-{name}"
        fields = {
            "key": dedup_key("failed", "aws-a", "aws/1", subject),
            "event": event,
            "cause": "failed",
            "severity": "high",
            "check": "aws-a",
            "scope": "aws/1",
            "subject": subject,
            "control": "C-1",
            "owner": "us",
            "family": "mfa",
            "title": "A title.",
            "reason": "is as it is",
            "remedy": "mend it.",
            "since": "2026-03-01T12:00:00.000000Z",
            "last_good": 1,
            "first_bad": 2 + sum(known == (name, "trigger") for known in EVENTS[: place + 1]),
            "channels": ["hook", "mail"],
        }
        with ledger.write() as batch:
            batch.add(Draft(Kind.ALERT, now() - timedelta(seconds=5), fields))
    ledger.close()


def deliver(folder: Path, channels: Mapping[str, Any], last: int | None) -> list[str]:
    """Delivers until nothing is owed; dies at step ``last``. Returns the steps."""
    step = Steps(last)
    ledger = opened(folder)
    traced(ledger, step)
    mine = {name: Traced(channel, step) for name, channel in channels.items()}
    who = {"who": "mallory", "event": "DeleteMfa", "when": "now", "request": "r", "source": "test"}
    explainer = Explainer(lambda alert: who if alert["subject"].endswith("-a") else None)
    while ledger.projection.pending(FAR):
        deliver_due(ledger, mine, now, explainer)
    ledger.verify()
    ledger.close()
    return step.names


def forked(work: Callable[[], object]) -> tuple[int, Any]:
    """What a child makes of some work: its exit code and what it returned."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            said = json.dumps(work()).encode()
            os.write(write, said)
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), json.loads(said) if said else None


def left(folder: Path) -> dict[str, Any]:
    ledger = opened(folder)
    found = [entry.data for entry in ledger.entries(kinds=[Kind.DELIVERY])]
    alerts = [entry.data for entry in ledger.entries(kinds=[Kind.ALERT])]
    said = {
        "owed": len(ledger.projection.pending(FAR)),
        "deliveries": [[data["alert"], data["channel"], data["outcome"]] for data in found],
        "alerts": [[data["seq"], data["key"], data["event"]] for data in alerts],
    }
    ledger.close()
    return said


def main(base: Path, url: str, port: int, secret: str) -> int:
    channels = {
        "hook": Webhook(url, secret.encode(), timeout=5),
        "mail": Email(
            "127.0.0.1", port, sender="a@example.com", to=["b@example.com"], tls="none", domain="x.example", timeout=5
        ),
    }
    number = 0
    while True:
        number += 1
        folder = base / str(number)
        forked(lambda folder=folder, number=number: begin(folder, number))
        code, steps = forked(lambda folder=folder, number=number: deliver(folder, channels, number))
        if code not in (0, KILLED):
            return 1
        again, _ = forked(lambda folder=folder: deliver(folder, channels, None))
        if again != 0:
            return 1
        _, said = forked(lambda folder=folder: left(folder))
        print(json.dumps({"number": number, "killed": code == KILLED, "steps": steps, **said}), flush=True)
        if code == 0:
            return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]))
