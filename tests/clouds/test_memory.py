"""What is made out of a transcript's answers is made once, and whoever is given it has read those answers."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from collector.clouds.memory import HELD_BYTES_MAX, HELD_MIN, Memory, memory_of
from collector.clouds.transcript import Answer, Question, Transcript, reading
from collector.errors import Denied

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
HALF = HELD_BYTES_MAX // 2


def ask(transcript: Transcript, name: str) -> str:
    """Reads one answer of the transcript; the id of its question."""
    question = Question("gcp", "x.googleapis.com", f"GET /{name}", {})
    transcript.ask(question, lambda _: Answer({"name": name}, NOW, 0))
    return question.id


class Maker:
    """Makes things out of one answer each, and remembers how often."""

    def __init__(self, transcript: Transcript, size: int) -> None:
        self.transcript, self.size = transcript, size
        self.made: list[str] = []

    def of(self, name: str) -> Callable[[], tuple[str, int]]:
        def make() -> tuple[str, int]:
            self.made.append(name)
            return ask(self.transcript, name), self.size

        return make


def test_many_who_ask_at_once_share_one_making_and_all_have_read_it() -> None:
    transcript, memory = Transcript(), Memory()
    made: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def make() -> tuple[str, int]:
        made.append(ask(transcript, "a"))
        inside.set()
        assert go_on.wait(10)
        return made[0], 1

    def get(_: int) -> tuple[str, list[str]]:
        with reading() as read:
            return memory.get(transcript, "key", make), read

    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(get, n) for n in range(8)]
        assert inside.wait(10)
        go_on.set()
        found = [future.result() for future in futures]
    assert len(made) == 1
    assert found == [(made[0], made)] * 8


def test_what_is_large_goes_when_newer_comes_and_is_made_again_with_the_same_reading() -> None:
    transcript, memory = Transcript(), Memory()
    maker = Maker(transcript, HALF)
    names = [f"n{n}" for n in range(HELD_MIN + 1)]
    for name in names:
        memory.get(transcript, name, maker.of(name))
    with reading() as read:
        kept = [memory.get(transcript, name, maker.of(name)) for name in reversed(names[1:])]
        assert maker.made == names  # the latest are still there, however large
        kept.append(memory.get(transcript, names[0], maker.of(names[0])))
    assert maker.made == [*names, names[0]]
    assert read == kept


def test_what_was_read_last_stays_longest() -> None:
    transcript, memory = Transcript(), Memory()
    maker = Maker(transcript, HELD_BYTES_MAX)
    names = [f"n{n}" for n in range(HELD_MIN)]
    for name in [*names, names[0], "new", names[0]]:
        memory.get(transcript, name, maker.of(name))
    assert maker.made == [*names, "new"]
    memory.get(transcript, names[1], maker.of(names[1]))
    assert maker.made[-1] == names[1]


def test_what_is_small_is_held_beside_any_number_of_large_ones() -> None:
    transcript, memory = Transcript(), Memory()
    small, large = Maker(transcript, 0), Maker(transcript, HELD_BYTES_MAX)
    memory.get(transcript, "small", small.of("small"))
    for n in range(3 * HELD_MIN):
        memory.get(transcript, str(n), large.of(str(n)))
    memory.get(transcript, "small", small.of("small"))
    assert small.made == ["small"]


def test_one_thing_may_be_made_of_another() -> None:
    transcript, memory = Transcript(), Memory()
    maker = Maker(transcript, 1)

    def outer() -> tuple[str, int]:
        return memory.get(transcript, "inner", maker.of("inner")), 0

    with reading() as first:
        memory.get(transcript, "outer", outer)
    with reading() as second:
        memory.get(transcript, "outer", outer)
    assert first == second == [ask(transcript, "inner")]
    assert maker.made == ["inner"]


def test_a_failure_is_not_held_and_was_read() -> None:
    transcript, memory = Transcript(), Memory()

    def make() -> tuple[str, int]:
        ask(transcript, "a")
        raise Denied("no")

    for _ in range(2):
        with reading() as read, pytest.raises(Denied):
            memory.get(transcript, "key", make)
        assert read == [ask(transcript, "a")]
    assert memory.get(transcript, "key", lambda: ("found", 1)) == "found"


def test_a_memory_belongs_to_a_transcript_and_goes_with_it() -> None:
    one, two = Transcript(), Transcript()
    assert memory_of(one) is memory_of(one)
    assert memory_of(one) is not memory_of(two)
    watched = weakref.ref(memory_of(one))
    del one
    gc.collect()
    assert watched() is None
