"""Our own limiter of calls, because an SDK's token bucket would be shared between accounts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


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
