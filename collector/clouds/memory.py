"""Holds what was made out of a transcript's answers, so that many readers of one listing do not make it again each.

What is held for a run stays small: whatever is large lies on a shelf, which is a file.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Any

from collector import canonical
from collector.clouds.transcript import Transcript, reading

PARSED_BYTES_MAX = 4 * 1024 * 1024  # of JSON, of what was read off a shelf last

Place = tuple[int, int]  # where on a shelf, and how many bytes


@dataclass(frozen=True)
class _Held:
    value: Any
    ids: tuple[str, ...]  # of the exchanges it was made of


class Memory:
    """What was made out of one transcript."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[str, threading.RLock] = {}
        self._held: dict[str, _Held] = {}
        self.shelf = Shelf()

    def get(self, transcript: Transcript, key: str, make: Callable[[], Any]) -> Any:
        """The thing of that name, made by the first who asks.

        Whoever gets it has read the exchanges that it was made of, and one who gets none, those that it failed over.
        Raises what ``make`` raises.
        """
        with self._lock:
            held = self._held.get(key)
            making = self._making.setdefault(key, threading.RLock()) if held is None else None
        if making is not None:
            with making:  # the others wait for the first
                held = self._held.get(key) or self._made(transcript, key, make)
        assert held is not None
        transcript.note(held.ids)
        return held.value

    def _made(self, transcript: Transcript, key: str, make: Callable[[], Any]) -> _Held:
        ids: list[str] = []
        try:
            with reading() as ids:
                value = make()
        finally:
            transcript.note(ids)
        with self._lock:
            held = self._held[key] = _Held(value, tuple(ids))
            self._making.pop(key, None)
        return held


class Shelf:
    """Lists of answers' items that are read again, as JSON in an unnamed temporary file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._end = 0
        self._parsed: OrderedDict[tuple[Place, ...], tuple[list[Any], int]] = OrderedDict()  # the latest read last
        self._parsed_bytes = 0

    def put(self, items: list[Any]) -> Place:
        """Lays items down; where they lie."""
        data = canonical.compact(items)
        with self._lock:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the run
                weakref.finalize(self, self._file.close)
            place = self._end, len(data)
            self._end += len(data)
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]
        return place

    def get(self, places: Iterable[Place]) -> list[Any]:
        """All items that lie in some places. Shared between its readers, who never change it."""
        key = tuple(places)
        with self._lock:
            if key in self._parsed:
                self._parsed.move_to_end(key)
                return self._parsed[key][0]
        found: list[Any] = []
        size = 0
        for start, length in key:
            assert self._file is not None
            found += canonical.parse(os.pread(self._file.fileno(), length, start))
            size += length
        with self._lock:
            if key not in self._parsed:
                self._parsed[key] = found, size
                self._parsed_bytes += size
            while self._parsed_bytes > PARSED_BYTES_MAX and len(self._parsed) > 1:
                _, (_, freed) = self._parsed.popitem(last=False)
                self._parsed_bytes -= freed
        return found


_memories: weakref.WeakKeyDictionary[Transcript, Memory] = weakref.WeakKeyDictionary()
_memories_lock = threading.Lock()


def memory_of(transcript: Transcript) -> Memory:
    """By transcript and not by handle: reperformance opens a handle for every run that shares one."""
    with _memories_lock:
        return _memories.setdefault(transcript, Memory())
