"""Whenever the outbox is killed, every alert arrives, in order, and twice at most: over real HTTP and SMTP."""

from __future__ import annotations

import email
import email.policy
import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from tests.alert.conftest import SECRET, Receiver
from tests.alert.test_email import free_port

PROGRAM = Path(__file__).parent / "kill.py"
CHANNELS = ("hook", "mail")


class Inbox:
    """Takes every message, and keeps the order."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.messages: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        with self.lock:
            self.messages.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 taken"


class RealTime:
    """The clock of the machine, where the other tests have one that stands."""

    def unix(self) -> float:
        return time.time()


def test_killed_between_every_two_steps_each_alert_arrives_in_order(tmp_path: Path) -> None:
    receiver = Receiver(RealTime())  # type: ignore[arg-type]
    inbox = Inbox()
    port = free_port()
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    try:
        server.start()
        command = [sys.executable, str(PROGRAM), str(tmp_path), receiver.url, str(port), SECRET.decode()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    finally:
        receiver.close()
        server.stop()
    assert done.returncode == 0, done.stderr[-2000:]
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    *killed, last = rounds
    assert all(one["killed"] for one in killed)
    assert not last["killed"]
    # a send, and a transaction, for each of six alerts and two channels; and one for what was found out about "a"
    assert len(last["steps"]) == len(killed) >= 6 * 2 * (2 + 4)
    heard: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)  # (channel, key): what came, in order
    for request in receiver.requests:
        assert request.genuine
        heard["hook", request.data["key"]].append((request.data["alert"], request.headers["Idempotency-Key"]))
    for message in inbox.messages:
        heard["mail", message["X-Collector-Key"]].append((0, message["Message-ID"]))
    for one in rounds:
        assert one["owed"] == 0
        told = {(seq, key): event for seq, key, event in one["alerts"] if event != "explain"}
        assert len(told) == 6
        delivered = [tuple(item) for item in one["deliveries"]]
        assert sorted(delivered) == sorted((seq, channel, "delivered") for seq, _ in told for channel in CHANNELS)
        again = 0
        for channel in CHANNELS:
            for key in {key for _, key in told}:
                wanted = [seq for seq, known in told if known == key]
                came = heard[channel, key]
                ids = list(dict.fromkeys(id for _, id in came))
                assert len(ids) == len(wanted)
                if channel == "hook":
                    assert list(dict.fromkeys(seq for seq, _ in came)) == wanted
                # what came again came at once: nothing overtook it
                assert [id for n, (_, id) in enumerate(came) if n == 0 or came[n - 1][1] != id] == ids
                again += len(came) - len(ids)
        assert again <= 1  # of what was in flight, and of nothing else
