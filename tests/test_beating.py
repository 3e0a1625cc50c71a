"""Signs of life: what a heartbeat says, a time server on the wire, a URL outside, and a daemon's start and stop."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector import beating
from collector.alert.message import DeliveryFailed
from collector.anchoring import Anchoring
from collector.beating import ask_time, open_outside
from collector.daemon import Daemon, utc_now
from collector.errors import ConfigError
from collector.ledger.entry import Kind
from collector.web.metrics import Metrics
from collector.window.itself import Sign
from tests.support.receivers import SECRET_PATH, Answer, Receiver
from tests.test_trouble import Running

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
EPOCH = datetime(1900, 1, 1, tzinfo=UTC)


class TimeServer:
    """An SNTP server (RFC 4330) on loopback; ``bend`` changes the answer before it is sent, None sends nothing."""

    def __init__(self, now: datetime, bend: Callable[[bytearray], bytearray | None] = lambda answer: answer) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.name = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._now, self._bend = now, bend
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        asked, who = self._socket.recvfrom(512)
        if not asked:
            return
        assert len(asked) == 48
        assert asked[0] == 0x23
        stamp = struct.pack(">II", int((self._now - EPOCH).total_seconds()) % 2**32, 1 << 31)
        answer = bytearray(48)
        answer[0], answer[1] = 0x24, 2
        answer[24:32] = asked[40:48]
        answer[32:40] = answer[40:48] = stamp
        bent = self._bend(answer)
        if bent is not None:
            self._socket.sendto(bent, who)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., TimeServer]]:
    found: list[TimeServer] = []

    def serve(*about: object) -> TimeServer:
        found.append(TimeServer(*about))  # type: ignore[arg-type]
        return found[-1]

    yield serve
    for server in found:
        server.close()


@pytest.mark.parametrize("seconds", [0, 3, -7, 86_400])
@pytest.mark.parametrize("now", [NOW, datetime(2037, 1, 1, tzinfo=UTC)])  # before and after the era of 2036
def test_the_offset_of_a_time_server_is_what_its_clock_is_ahead(serve, now, seconds):
    server = serve(now + timedelta(seconds=seconds))
    found = ask_time(server.name, lambda: now)
    assert found == {"server": server.name, "offset_ms": seconds * 1000 + 500, "stratum": 2, "reason": ""}


def set_at(place: int, value: int) -> Callable[[bytearray], bytearray]:
    def bend(answer: bytearray) -> bytearray:
        answer[place] = value
        return answer

    return bend


def forged(answer: bytearray) -> bytearray:
    """Of somebody who did not see the question."""
    answer[24:32] = bytes(byte ^ 0xFF for byte in answer[24:32])
    return answer


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (forged, "answered something else than was asked"),
        (lambda answer: answer[:40], "answered something else than was asked"),
        (set_at(0, 0x23), "answered something else than was asked"),
        (set_at(1, 0), "says that it knows no time"),  # kiss of death
        (set_at(1, 16), "says that it knows no time"),
        (set_at(0, 0xE4), "says that it knows no time"),
        (lambda answer: None, "did not answer in time"),
    ],
)
def test_what_a_time_server_says_amiss_is_no_offset(serve, bend, reason):
    found = ask_time(serve(NOW, bend).name, lambda: NOW, timeout=0.3)
    assert found["offset_ms"] is None
    assert found["stratum"] is None
    assert found["reason"] == reason


def test_a_time_server_that_is_not_there_is_no_offset():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = ask_time(f"127.0.0.1:{port}", lambda: NOW, timeout=0.3)
    assert found["offset_ms"] is None
    assert found["reason"] in ("ConnectionRefusedError", "did not answer in time")


def test_the_digests_change_with_rights_and_identities_and_with_nothing_else():
    def said(**more):
        about = {
            "now": NOW + timedelta(seconds=61),
            "started": NOW,
            "every_s": 3600,
            "skew_ms": None,
            "ntp": None,
            "permissions": ["iam:ListUsers", "ec2:DescribeVolumes"],
            "principals": {"aws/1": "arn:a", "aws/2": "arn:b"},
        }
        return beating.fields(Sign.START, "why", **{**about, **more})

    first = said()
    assert (first["event"], first["reason"], first["uptime_s"], first["every_s"]) == ("start", "why", 61, 3600)
    assert said(permissions=["ec2:DescribeVolumes", "iam:ListUsers", "iam:ListUsers"]) == first
    assert said(principals={"aws/2": "arn:b", "aws/1": "arn:a"}) == first
    assert said(permissions=["iam:ListUsers"])["permissions"] != first["permissions"]
    assert said(principals={"aws/1": "arn:a", "aws/2": "arn:c"})["principals"] != first["principals"]
    assert said(principals=None)["principals"] is None


def test_the_url_is_named_by_a_variable_and_never_said(monkeypatch):
    assert open_outside(None, {}) is None
    with pytest.raises(ConfigError, match="BEAT_URL"):
        open_outside("BEAT_URL", {})
    with pytest.raises(ConfigError) as caught:
        open_outside("BEAT_URL", {"BEAT_URL": "ftp://hc.example/s3cret"})
    assert "BEAT_URL" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(Answer(200, b"OK"))
    yield found
    found.close()


def test_what_is_told_outside_names_no_host_and_no_account(receiver):
    outside = open_outside("BEAT_URL", {"BEAT_URL": receiver.url})
    assert outside is not None
    about = {"permissions": (), "principals": {"aws/123456789012": "arn:x"}, "skew_ms": 4, "ntp": None}
    fields = beating.fields(Sign.BEAT, "", now=NOW, started=NOW, every_s=60, **about)
    outside.tell({**fields, "seq": 7, "at": "2026-03-01T12:00:00.000000Z", "kind": "heartbeat"})
    (got,) = receiver.received
    assert got.path == SECRET_PATH
    assert sorted(json.loads(got.body)) == ["at", "collector", "event", "every_s", "seq", "uptime_s"]
    receiver.answers.append(Answer(404))
    with pytest.raises(DeliveryFailed, match="HTTP 404") as caught:
        outside.tell({**fields, "seq": 8, "at": "2026-03-01T12:00:00.000000Z"})
    assert SECRET_PATH not in str(caught.value)


def test_a_daemon_says_that_it_starts_beats_and_stops_and_a_deaf_url_holds_up_nothing(tmp_path: Path, receiver):
    running = Running(tmp_path, f"sqlite:///{tmp_path / 'ledger.db'}", cadence=3600)
    schedule = running.settings.schedule.model_copy(update={"heartbeat_url_env": "BEAT_URL", "heartbeat": 1})
    settings = running.settings.model_copy(update={"schedule": schedule})
    running.operation.settings = settings
    anchoring = Anchoring(running.ledger, {}, utc_now, settings, running.operation.controls, running.operation.registry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEAT_URL", receiver.url)
        metrics = Metrics()
        daemon = Daemon(running.operation, {}, metrics, anchoring)
    receiver.answers.append(Answer(503))
    try:
        daemon.start()
        running.until(lambda: len(running.data(Kind.HEARTBEAT)) >= 3 and len(receiver.received) >= 2, "no heartbeat")
        assert daemon.stop("SIGTERM")
        beats = running.data(Kind.HEARTBEAT)
        assert [beats[0]["event"], *{beat["event"] for beat in beats[1:-1]}, beats[-1]["event"]] == [
            "start",
            "beat",
            "stop",
        ]
        assert beats[0]["reason"] == "leads; before that the collector was not running"
        assert beats[-1]["reason"] == "SIGTERM"
        assert {beat["every_s"] for beat in beats} == {1}
        assert running.ledger.checkpoints()[-1].size == running.ledger.size()  # the stop is signed
        text = metrics.exposition("text/plain")[0].decode()
        (last,) = [line for line in text.splitlines() if line.startswith("collector_heartbeat_timestamp_seconds ")]
        assert abs(float(last.split()[1]) - time.time()) < 60
        assert "collector_heartbeat_url_failures_total 1.0" in text
    finally:
        daemon.stop()
        running.ledger.close()
