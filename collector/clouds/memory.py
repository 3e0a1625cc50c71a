"""Holds what was made out of a transcript's answers, so that many readers of one listing do not make it again each.

Nothing is held that cannot be made again from the transcript, so large things are dropped when newer ones come.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from collector.clouds.transcript import Transcript, reading

HELD_MIN = 3  # the latest are held whatever their size: a check reads so many listings side by side
HELD_BYTES_MAX = 16 * 1024 * 1024  # of JSON, over all that are held


@dataclass(frozen=True)
class _Held:
    value: Any
    size: int  # bytes of the JSON it was made of
    ids: tuple[str, ...]  # of the exchanges it was made of


class Memory:
    """What was made out of one transcript."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[str, threading.RLock] = {}
        self._held: OrderedDict[str, _Held] = OrderedDict()  # the latest read last
        self._small: dict[str, _Held] = {}

    def get(self, transcript: Transcript, key: str, make: Callable[[], tuple[Any, int]]) -> Any:
        """The thing of that name, made by the first who asks: ``make`` returns it with its size in bytes of JSON.

        A thing of size 0 is held for ever. Whoever gets it has read the exchanges that it was made of, and one who
        gets none, those that it failed over. Raises what ``make`` raises.
        """
        with self._lock:
            held = self._known(key)
            making = self._making.setdefault(key, threading.RLock())
        if held is None:
            with making:  # the others wait for the first
                with self._lock:
                    held = self._known(key)
                if held is None:
                    held = self._made(transcript, key, make)
        transcript.note(held.ids)
        return held.value

    def _made(self, transcript: Transcript, key: str, make: Callable[[], tuple[Any, int]]) -> _Held:
        ids: list[str] = []
        try:
            with reading() as ids:
                value, size = make()
        finally:
            transcript.note(ids)
        held = _Held(value, size, tuple(ids))
        with self._lock:
            if not size:
                self._small[key] = held
                return held
            self._held[key] = held
            while len(self._held) > HELD_MIN and sum(each.size for each in self._held.values()) > HELD_BYTES_MAX:
                self._held.popitem(last=False)
        return held

    def _known(self, key: str) -> _Held | None:
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        return self._small.get(key)


_memories: weakref.WeakKeyDictionary[Transcript, Memory] = weakref.WeakKeyDictionary()
_memories_lock = threading.Lock()


def memory_of(transcript: Transcript) -> Memory:
    """By transcript and not by handle: reperformance opens a handle for every run that shares one."""
    with _memories_lock:
        return _memories.setdefault(transcript, Memory())
