"""A tenant of 50,000 resources and an organization of 200,000 assets: calls, quotas and memory stay within bounds.

What it measures and how is in ``bench/clouds.py``, which also compares the CPU; nothing is timed here. Minutes long.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collector.clouds import pace, rest
from collector.clouds.azure_answers import HOSTS, RESOURCE_GRAPH_LANE
from collector.clouds.azure_answers import Answers as OfAzure
from collector.clouds.gcp_answers import ASSETS
from collector.clouds.gcp_answers import Answers as OfGoogle
from collector.clouds.pace import Window
from collector.clouds.rest import Call, Edge, Paces, Reply
from collector.errors import Unavailable

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
BENCH = Path(__file__).parents[2] / "bench" / "clouds.py"
HURRY = 6.0  # how much faster the clocks of both sides run: a quota of calls a minute is waited for all the same


def bench() -> Any:
    if "bench_clouds" not in sys.modules:
        spec = importlib.util.spec_from_file_location("bench_clouds", BENCH)
        assert spec is not None
        assert spec.loader is not None
        sys.modules["bench_clouds"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["bench_clouds"])
    return sys.modules["bench_clouds"]


def held(found: dict[str, Any], resources: int) -> None:
    """Holds a measured run to what is asked of one."""
    asked = bench().ASKED
    assert found["resources"] >= resources
    assert found["blind"] == []
    assert found["unserved"] == []
    assert found["states"]["undetermined"] == 0
    assert found["states"]["satisfied"] > resources / 10
    assert found["throttled"] == 0
    assert set(found["statuses"]) <= {"200", "404"}  # 404: what is absent is an answer of its own
    assert found["calls"] <= asked["calls"] * found["pages"]
    assert found["rss"] < asked["memory"]


@pytest.mark.slow
@pytest.mark.parametrize(("cloud", "resources"), [("azure", 50_000), ("gcp", 200_000)])
def test_a_large_account_is_read_within_its_quotas_and_within_memory(cloud: str, resources: int) -> None:
    held(bench().measured(cloud, *bench().LARGE[cloud], HURRY, compare=False), resources)


@pytest.mark.parametrize("cloud", ["azure", "gcp"])
def test_a_small_account_is_measured_in_the_same_way(cloud: str) -> None:
    found = bench().measured(cloud, *bench().SMALL[cloud], 30.0, compare=False)
    held(found, 600)
    assert found["parts"] == bench().SMALL[cloud][0]


# --- quotas, kept from our side ---


class Time:
    """A monotonic clock that sleeping moves, and nothing else."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.at += seconds

    def __call__(self) -> datetime:
        return NOW + timedelta(seconds=self.at)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    for module in (rest, pace):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=made.monotonic, sleep=made.sleep))
    return made


def edge_of(clock: Time, send: Callable[[Call], Reply], *, azure: bool = False, **more: Any) -> Edge:
    return Edge((OfAzure if azure else OfGoogle)(send), "account", Paces(), clock, clock.sleep, **more)


@pytest.mark.parametrize(
    ("azure", "lane", "calls", "seconds"),
    [
        (False, ASSETS, 100, 60),
        (True, RESOURCE_GRAPH_LANE, 15, 5),
        (True, HOSTS["public"].arm, 250, 10),
        (True, f"{HOSTS['china'].arm}/subscriptions/8a1d5c0e-2b7f-4e39-9c64-0d3f5a7b9c01", 250, 10),
    ],
)
def test_no_more_calls_than_a_quota_grants_fall_into_any_stretch(
    clock: Time, azure: bool, lane: str, calls: int, seconds: float
) -> None:
    sent: list[float] = []

    def send(call: Call) -> Reply:
        clock.at += 0.01
        sent.append(clock.at)
        return Reply(200, {}, b"{}")

    edge = edge_of(clock, send, azure=azure)
    for _ in range(3 * calls + 1):
        assert edge.put(Call("GET", f"https://{ASSETS}/v1/x", lane=lane)).status == 200
    assert all(later - earlier >= seconds for earlier, later in zip(sent, sent[calls:], strict=False))
    assert sent[-1] - sent[0] < 3 * seconds + 1 + 0.02 * len(sent)  # and no slower than it has to be


def test_a_lane_without_a_stated_quota_is_not_held_up(clock: Time) -> None:
    edge = edge_of(clock, lambda _: Reply(200, {}, b"{}"))
    for _ in range(1000):
        edge.put(Call("GET", "https://osconfig.googleapis.com/v1/x", lane="osconfig.googleapis.com"))
    assert clock.at == 1000.0


def test_waiting_for_a_quota_takes_no_patience_away(clock: Time) -> None:
    replies = [Reply(200, {}, b"{}")] * 100 + [Reply(503, {}, b"{}"), Reply(200, {}, b"{}")]
    edge = edge_of(clock, lambda _: replies.pop(0), patience_seconds=5)
    for _ in range(100):
        edge.put(Call("GET", f"https://{ASSETS}/v1/x", lane=ASSETS))
    answer = edge.put(Call("GET", f"https://{ASSETS}/v1/x", lane=ASSETS))
    assert (answer.status, answer.attempts) == (200, 2)


def test_a_run_whose_time_is_over_waits_for_no_quota_and_sends_nothing(clock: Time) -> None:
    sent: list[Call] = []

    def send(call: Call) -> Reply:
        sent.append(call)
        return Reply(200, {}, b"{}")

    edge = edge_of(clock, send, deadline=clock.at + 30)
    answers = [edge.put(Call("GET", f"https://{ASSETS}/v1/x", lane=ASSETS)) for _ in range(102)]
    assert len(sent) == 100
    assert [(a.failure, a.error) for a in answers[100:]] == [(Unavailable.code, "RunDeadline")] * 2
    assert clock.at <= 1031


def test_the_quota_of_one_account_is_none_of_anothers(clock: Time) -> None:
    paces = Paces()
    for account in ("one", "two"):
        edge = Edge(OfGoogle(lambda _: Reply(200, {}, b"{}")), account, paces, clock, clock.sleep)
        for _ in range(100):
            edge.put(Call("GET", f"https://{ASSETS}/v1/x", lane=ASSETS))
    assert clock.at == 1000.0


def test_a_machine_that_slept_has_slept_over_the_window(clock: Time) -> None:
    wall = [NOW]
    window = Window(2, 60, lambda: wall[0])
    for _ in range(2):
        assert window.enter() == 0
        window.leave()
    assert window.enter() == pytest.approx(60)
    wall[0] += timedelta(hours=8)  # the monotonic clock stood still
    assert window.enter() == 0


def test_calls_that_are_out_count_until_they_are_answered() -> None:
    window = Window(3, 0.2, lambda: NOW)
    most, out = 0, []

    def call(number: int) -> None:
        nonlocal most
        while pause := window.enter():
            time.sleep(pause)
        out.append(number)
        most = max(most, len(out))
        time.sleep(0.05)
        out.remove(number)
        window.leave()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(call, range(9)))
    assert most <= 3
