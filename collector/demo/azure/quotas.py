"""Azure's quotas: buckets that fill again by the second, and windows that begin anew."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta

WINDOW_SECONDS = 5


class Quotas:
    """What was spent. A clock that leaps has leapt over whatever was to be waited for."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float, datetime]] = {}  # tokens left, and since when
        self._window = (0, -math.inf, clock())  # calls made, and since when

    def _passed(self, real: float, at: datetime) -> float:
        """Seconds since a moment by the real clock, or by the simulated one where that has gone farther."""
        return max(time.monotonic() - real, abs((self._clock() - at) / timedelta(seconds=1)))

    def bucket(self, name: str, size: int, per_second: int) -> tuple[int, int]:
        """Takes one token: (how many are left, 0) or, when there is none, (0, seconds until there is)."""
        now, at = time.monotonic(), self._clock()
        left, since, moment = self._buckets.get(name, (float(size), now, at))
        left = min(size, left + self._passed(since, moment) * per_second)
        if left < 1:
            self._buckets[name] = (left, now, at)
            return 0, max(1, math.ceil((1 - left) / per_second))
        self._buckets[name] = (left - 1, now, at)
        return int(left - 1), 0

    def window(self, size: int) -> tuple[int, int, bool]:
        """Counts one call: (how many are left of the window, seconds until the next begins, whether it is taken)."""
        calls, since, moment = self._window
        passed = self._passed(since, moment)
        if passed >= WINDOW_SECONDS:
            calls, passed = 0, 0.0
            self._window = (0, time.monotonic(), self._clock())
        _, since, moment = self._window
        ends = max(1, math.ceil(WINDOW_SECONDS - passed))
        if calls >= size:
            return 0, ends, False
        self._window = (calls + 1, since, moment)
        return size - calls - 1, ends, True
