"""Our own limiters of calls, because an SDK's token bucket would be shared between accounts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta


class Pace:
    """Additive increase, multiplicative decrease of the calls per second of one account and service.

    Unlimited until the provider throttles for the first time.
    """

    START_PER_SECOND = 20.0
    LEAST_PER_SECOND = 0.5
    STEP_PER_SECOND = 0.5

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._per_second = 0.0
        self._next = 0.0

    def wait(self, sleep: Callable[[float], None]) -> None:
        with self._lock:
            if not self._per_second:
                return
            now = time.monotonic()
            self._next = max(now, self._next) + 1 / self._per_second
            pause = self._next - now
        sleep(pause)

    def throttled(self) -> None:
        with self._lock:
            self._per_second = max(self.LEAST_PER_SECOND, (self._per_second or self.START_PER_SECOND * 2) / 2)

    def answered(self) -> None:
        with self._lock:
            if self._per_second:
                self._per_second += self.STEP_PER_SECOND


class Window:
    """A quota that a provider states, kept from our side: no more than ``calls`` in any ``seconds``.

    A call is counted over there at some moment between its beginning and its answer. So it counts here from the one
    until ``seconds`` after the other, and whatever the network does, that many are never too many.
    """

    LOOK_SECONDS = 0.05  # between two looks whether one of the calls that are out was answered

    def __init__(self, calls: int, seconds: float, clock: Callable[[], datetime]) -> None:
        """``clock`` tells of time that the monotonic clock did not see: of a machine that was suspended."""
        self._calls, self._seconds, self._clock = calls, seconds, clock
        self._lock = threading.Lock()
        self._out = 0
        self._answered: deque[tuple[float, datetime]] = deque()

    def enter(self, *, always: bool = False) -> float:
        """0 when a call may begin now, which then counts; else after how many seconds it is worth asking again."""
        with self._lock:
            now, at = time.monotonic(), self._clock()
            while self._answered and self._passed(self._answered[0], now, at) >= self._seconds:
                self._answered.popleft()
            if always or self._out + len(self._answered) < self._calls:
                self._out += 1
                return 0.0
            if not self._answered:
                return self.LOOK_SECONDS
            return max(self.LOOK_SECONDS, self._seconds - self._passed(self._answered[0], now, at))

    def leave(self) -> None:
        """The call was answered, or will never be."""
        with self._lock:
            self._out -= 1
            self._answered.append((time.monotonic(), self._clock()))

    @staticmethod
    def _passed(since: tuple[float, datetime], now: float, at: datetime) -> float:
        return max(now - since[0], abs((at - since[1]) / timedelta(seconds=1)))
