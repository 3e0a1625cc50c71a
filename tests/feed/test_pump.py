"""The pump: settled, paced, bounded, fair; a message leaves its queue only after what it asked for is sealed."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from collector.errors import Denied
from collector.feed import pump as pumps
from collector.feed.event import Asked, Event, News, Refused
from collector.feed.pump import Pump
from collector.model import Scope

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Bench:
    """A queue that redelivers what is not taken off, and a clock that tests turn."""

    def __init__(self) -> None:
        self.time = 100.0
        self.queue: dict[str, bytes] = {}
        self.taken: set[str] = set()
        self.busy: set[str] = set()
        self.fails = False
        self.looks: list[tuple[float, str, list[set[str]], tuple[str, ...]]] = []
        self.wholes: list[tuple[str, int]] = []
        self.counts: Counter[str] = Counter()
        self.pump = Pump(
            "main",
            self,
            self.read,
            self.match,
            self.look,
            self.whole,
            lambda: NOW,
            lambda outcome: self.counts.update([outcome]),
            lambda: self.time,
        )

    def send(self, id: str, *subjects: str, account: str = "one", receipt: str = "") -> None:
        self.queue[receipt or f"r-{id}"] = json.dumps([id, account, list(subjects)]).encode()

    def receive(self, wait_seconds: int) -> list[tuple[bytes, str]]:
        if self.fails:
            raise Denied("no")
        found = [(body, receipt) for receipt, body in self.queue.items() if receipt not in self.taken][:10]
        self.taken |= {receipt for _, receipt in found}
        return found

    def done(self, receipts: Sequence[str]) -> None:
        for receipt in receipts:
            del self.queue[receipt]

    def read(self, body: bytes, now: datetime) -> Event:
        try:
            id, account, subjects = json.loads(body)
        except ValueError:
            raise Refused("malformed") from None
        return Event(id, "aws", account, "", NOW, "s3", "Put", frozenset(subjects))

    def match(self, event: Event) -> list[Asked]:
        scope = Scope("aws", event.account)
        return [Asked("aws-x", scope, event.names)] if event.names else []

    def look(self, account: str, asked: Sequence[Asked], news: News) -> bool:
        if account in self.busy:
            return False
        self.looks.append((self.time, account, [set(item.subjects) for item in asked], news.events))
        return True

    def whole(self, account: str, pairs: Sequence[Any]) -> bool:
        if account in self.busy:
            return False
        self.wholes.append((account, len(pairs)))
        return True

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self.pump.step()
            self.time += 0.5


def test_several_events_of_one_subject_within_five_seconds_are_one_look() -> None:
    bench = Bench()
    for n in range(4):
        bench.send(f"e{n}", "a")
        bench.run(1)
    bench.run(6)
    ((when, _, subjects, ids),) = bench.looks
    assert (subjects, ids) == ([{"a"}], ("e0", "e1", "e2", "e3"))
    assert when - 100 <= pumps.TOGETHER_SECONDS + 1
    assert bench.queue == {}


def test_changes_without_end_are_looked_at_every_five_seconds() -> None:
    bench = Bench()
    for n in range(40):
        bench.send(f"e{n}", "a")
        bench.run(1)
    times = [when for when, *_ in bench.looks]
    assert 6 <= len(times) <= 8
    assert all(5 <= later - earlier < 8 for earlier, later in pairwise(times))


def test_nothing_leaves_the_queue_before_it_is_sealed_and_a_second_delivery_is_no_second_look() -> None:
    bench = Bench()
    bench.busy.add("one")
    bench.send("e", "a")
    bench.run(10)
    assert list(bench.queue) == ["r-e"]
    bench.send("e", "a", receipt="again")  # the queue delivers at least once
    bench.run(1)
    bench.busy.clear()
    bench.run(1)
    assert (len(bench.looks), bench.queue, bench.counts["again"]) == (1, {}, 1)
    bench.send("e", "a")
    bench.taken.clear()
    bench.run(10)
    assert (len(bench.looks), bench.queue, bench.counts["again"]) == (1, {}, 2)


def test_an_account_at_work_holds_up_no_other() -> None:
    bench = Bench()
    bench.busy.add("one")
    bench.send("e1", "a")
    bench.send("e2", "b", account="two")
    bench.run(5)
    assert [account for _, account, *_ in bench.looks] == ["two"]


def test_what_says_nothing_is_taken_off_and_counted() -> None:
    bench = Bench()
    bench.queue["r"] = b"{"
    bench.send("e")
    bench.run(5)
    assert (bench.queue, bench.looks) == ({}, [])
    assert bench.counts == {"malformed": 1, "nothing": 1}


def test_a_flood_becomes_one_full_run_and_what_is_held_is_bounded() -> None:
    bench = Bench()
    bench.busy.add("one")
    for n in range(3000):
        bench.send(f"e{n}", f"subject-{n}")
    bench.run(150)
    held = len(bench.pump._waiting["one"].receipts)
    assert pumps.HELD_MAX <= held < pumps.HELD_MAX + 10
    bench.busy.clear()
    bench.run(400)
    assert bench.queue == {}
    assert 1 <= len(bench.wholes) <= 5
    assert sum(len(subjects) for *_, found, _ in bench.looks for subjects in found) <= 3 * pumps.FLOOD_SUBJECTS


def test_many_long_names_fit_into_entries() -> None:
    names = {f"arn:{n:04}:{'x' * 1000}" for n in range(45)}
    pieces = pumps._pieces({("aws-x", Scope("aws", "one")): names})
    assert set().union(*(piece.subjects for piece in pieces)) == names
    assert max(sum(map(len, piece.subjects)) for piece in pieces) <= pumps.NAMED_BYTES_MAX


def test_a_queue_that_refuses_is_trouble_until_it_answers() -> None:
    bench = Bench()
    bench.fails = True
    stopped = threading.Event()
    thread = threading.Thread(target=bench.pump.run, args=(stopped,))
    thread.start()
    while not bench.pump.trouble:
        stopped.wait(0.01)
    assert bench.pump.trouble == "no"
    stopped.set()
    thread.join(5)
    assert not thread.is_alive()
