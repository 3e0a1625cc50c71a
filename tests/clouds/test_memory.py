"""What is made out of a transcript's answers is made once, and whoever is given it has read those answers."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from collector.clouds.memory import PARSED_BYTES_MAX, Memory, Shelf, memory_of
from collector.clouds.transcript import Answer, Question, Transcript, reading
from collector.errors import Denied

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def ask(transcript: Transcript, name: str) -> str:
    """Reads one answer of the transcript; the id of its question."""
    question = Question("gcp", "x.googleapis.com", f"GET /{name}", {})
    transcript.ask(question, lambda _: Answer({"name": name}, NOW, 0))
    return question.id


class Maker:
    """Makes things out of one answer each, and remembers how often."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.made: list[str] = []

    def of(self, name: str) -> Callable[[], str]:
        def make() -> str:
            self.made.append(name)
            return ask(self.transcript, name)

        return make


def test_many_who_ask_at_once_share_one_making_and_all_have_read_it() -> None:
    transcript, memory = Transcript(), Memory()
    made: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def make() -> str:
        made.append(ask(transcript, "a"))
        inside.set()
        assert go_on.wait(10)
        return made[0]

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


def test_what_is_made_is_made_once_and_read_by_all_who_get_it() -> None:
    transcript, memory = Transcript(), Memory()
    maker = Maker(transcript)
    names = [f"n{n}" for n in range(20)]
    for name in names:
        memory.get(transcript, name, maker.of(name))
    with reading() as read:
        kept = [memory.get(transcript, name, maker.of(name)) for name in names]
    assert maker.made == names
    assert read == kept


def test_what_lies_on_a_shelf_is_read_as_it_was_and_fills_no_memory() -> None:
    shelf = Shelf()
    lists = [[{"name": f"{n}-{m}", "text": "x" * 10_000} for m in range(n)] for n in range(100)]
    places = [shelf.put(items) for items in lists]
    for _ in range(2):
        assert [shelf.get([place]) for place in places] == lists
    assert shelf.get(places[3:1:-1]) == lists[3] + lists[2]
    assert shelf.get([]) == []
    assert shelf.get([places[7]]) is shelf.get([places[7]])  # the latest stay parsed
    assert shelf._parsed_bytes == sum(size for _, size in shelf._parsed.values()) <= PARSED_BYTES_MAX
    assert sum(size for _, size in places) > PARSED_BYTES_MAX


def test_many_may_lay_down_and_read_at_once() -> None:
    shelf = Shelf()

    def use(number: int) -> bool:
        return shelf.get([shelf.put([number] * number)]) == [number] * number

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(500)))


def test_one_thing_may_be_made_of_another() -> None:
    transcript, memory = Transcript(), Memory()
    maker = Maker(transcript)

    def outer() -> str:
        return str(memory.get(transcript, "inner", maker.of("inner")))

    with reading() as first:
        memory.get(transcript, "outer", outer)
    with reading() as second:
        memory.get(transcript, "outer", outer)
    assert first == second == [ask(transcript, "inner")]
    assert maker.made == ["inner"]


def test_a_failure_is_not_held_and_was_read() -> None:
    transcript, memory = Transcript(), Memory()

    def make() -> str:
        ask(transcript, "a")
        raise Denied("no")

    for _ in range(2):
        with reading() as read, pytest.raises(Denied):
            memory.get(transcript, "key", make)
        assert read == [ask(transcript, "a")]
    assert memory.get(transcript, "key", lambda: "found") == "found"


def test_a_memory_belongs_to_a_transcript_and_goes_with_it() -> None:
    one, two = Transcript(), Transcript()
    assert memory_of(one) is memory_of(one)
    assert memory_of(one) is not memory_of(two)
    watched = weakref.ref(memory_of(one))
    del one
    gc.collect()
    assert watched() is None
