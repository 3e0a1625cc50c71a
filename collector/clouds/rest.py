"""Puts questions to a cloud that speaks JSON over HTTPS: paced, retried within limits, every failure an answer.

Azure and Google share this room; what differs between them (credentials, error bodies, where a listing goes on) is
handed in. No SDK is imported here.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from collector import canonical, hush
from collector.clouds.pace import Pace, Window
from collector.clouds.redact import redact
from collector.clouds.transcript import Answer
from collector.errors import CannotObserve, Throttled, Unavailable, Unreadable

CONNECT_SECONDS_MAX = 10
READ_SECONDS_MAX = 60
ATTEMPTS_MAX = 6  # of one question
PATIENCE_SECONDS_MAX = 90  # for one question, all attempts and waiting together
BACKOFF_SECONDS_MAX = 20
RETRY_AFTER_SECONDS_MAX = 60  # a provider may ask for more; then the question is given up and says so
RETRIED_FAILURES = frozenset((Throttled.code, Unavailable.code))


@dataclass(frozen=True)
class Call:
    """One HTTP request. ``query`` is added to ``url``; ``lane`` names what shares a quota."""

    method: str
    url: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    lane: str = ""


@dataclass(frozen=True)
class Reply:
    """One HTTP response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Trouble:
    """What an error response means: the code of our error family, the provider's code and words, what to do next.

    ``wait`` is after how many seconds another attempt is worth it, where the answer lets one know; 0 where not.
    """

    failure: str
    code: str
    message: str
    remedy: str = ""
    wait: float = 0.0


class Rest:
    """One way to speak to a cloud. Subclasses say how a call is sent and what the answers mean."""

    def send(self, call: Call) -> Reply:
        """The response to a call. Raises CannotObserve without credentials, OSError when nothing came back."""
        raise NotImplementedError

    def trouble(self, reply: Reply, body: Any) -> Trouble:
        """What a response that is no success means; ``body`` is its JSON, None when it is none."""
        raise NotImplementedError

    def split(self, call: Call, body: dict[str, Any]) -> tuple[dict[str, Any], Any, str]:
        """A successful body without its continuation token, the token (None at the end), and the body's own time."""
        raise NotImplementedError

    def request_id(self, headers: Mapping[str, str]) -> str:
        """The provider's name of this exchange, by which its own logs can be searched; "" when it gave none."""
        raise NotImplementedError

    def renew(self, call: Call) -> bool:
        """After a 401: whether the next time is another token's, so that the call is worth one more attempt."""
        return False

    def quota(self, lane: str) -> tuple[int, float] | None:
        """How many calls in how many seconds the provider's documentation grants a lane; None where it does not say."""
        return None

    def allowance(self, headers: Mapping[str, str]) -> float:
        """Seconds to wait before the next call of the same lane, as the provider's quota headers say; 0 for none."""
        raise NotImplementedError


class Paces:
    """The paces of a process, by account and lane, and the moments before which a lane stays quiet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paces: dict[tuple[str, str], Pace] = {}
        self._windows: dict[tuple[str, str], Window] = {}
        self._quiet_until: dict[tuple[str, str], float] = {}

    def of(self, account: str, lane: str) -> Pace:
        with self._lock:
            return self._paces.setdefault((account, lane), Pace())

    def window(self, account: str, lane: str, quota: tuple[int, float], clock: Callable[[], datetime]) -> Window:
        with self._lock:
            return self._windows.setdefault((account, lane), Window(*quota, clock))

    def hush(self, account: str, lane: str, seconds: float) -> None:
        """Nobody calls in this lane for so long."""
        with self._lock:
            until = time.monotonic() + seconds
            self._quiet_until[account, lane] = max(until, self._quiet_until.get((account, lane), 0.0))

    def quiet(self, account: str, lane: str) -> float:
        """Seconds that the lane must still be quiet."""
        with self._lock:
            return max(0.0, self._quiet_until.get((account, lane), 0.0) - time.monotonic())


@dataclass
class Edge:
    """Puts the questions of one run over one account; no exception of the network passes."""

    rest: Rest
    account: str
    paces: Paces
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep
    patience_seconds: float = PATIENCE_SECONDS_MAX
    deadline: float = float("inf")  # of the whole run, on time.monotonic
    chance: random.Random = field(default_factory=random.Random)
    stated_quotas: bool = True  # whether those that the provider states are kept from our side too

    def put(self, call: Call) -> Answer:
        started, begin = self.clock(), time.monotonic()
        until = min(begin + self.patience_seconds, self.deadline)
        pace = self.paces.of(self.account, call.lane)
        quota = self.rest.quota(call.lane) if self.stated_quotas else None
        window = self.paces.window(self.account, call.lane, quota, self.clock) if quota else None
        attempt, renewed = 0, False
        while True:
            attempt += 1
            until = min(until + self._turn(call, pace, window), self.deadline)
            try:
                answer, retry_after = self._once(call)
            finally:
                if window is not None:
                    window.leave()
            if answer.failure == Throttled.code:
                pace.throttled()
            else:
                pace.answered()
            if answer.status == 401 and not renewed and self.rest.renew(call):
                renewed = True  # a token that ran out on the way, or was taken back
                continue
            if answer.failure not in RETRIED_FAILURES or attempt >= ATTEMPTS_MAX:
                break
            pause = retry_after or self.chance.uniform(0, min(BACKOFF_SECONDS_MAX, 0.2 * 2**attempt))
            if time.monotonic() + pause >= until:
                break
            if retry_after:
                self.paces.hush(self.account, call.lane, retry_after)  # it speaks to all who share the quota
            else:
                self.sleep(pause)
        taken = round((time.monotonic() - begin) * 1000)
        return replace(answer, started=started, duration_ms=taken, attempts=attempt)

    def _turn(self, call: Call, pace: Pace, window: Window | None) -> float:
        """Waits until the lane is free and its stated quota has room, or the run's time is over (``_once`` says so).

        Returns how many seconds the stated quota took: patience is for a cloud that fails, and not for that.
        """
        took = 0.0
        while (left := self.deadline - time.monotonic()) > 0:
            if quiet := self.paces.quiet(self.account, call.lane):
                self.sleep(min(quiet, left))
                continue
            if window is None or not (full := window.enter()):
                pace.wait(self.sleep)
                return took
            self.sleep(min(full, left))
            took += min(full, left)
        if window is not None:
            window.enter(always=True)
        return took

    def _once(self, call: Call) -> tuple[Answer, float]:
        now = self.clock()

        def failed(trouble: Trouble, **more: Any) -> Answer:
            error = {"Code": trouble.code, "Message": hush.without(trouble.message)}  # it may quote what was sent
            if trouble.remedy:
                error["Remedy"] = hush.without(trouble.remedy)
            body = redact({"Error": error})
            return Answer(body=body, started=now, duration_ms=0, failure=trouble.failure, error=trouble.code, **more)

        if time.monotonic() >= self.deadline:
            return failed(Trouble(Unavailable.code, "RunDeadline", "the run's time was used up"), status=0), 0
        try:
            reply = self.rest.send(call)
        except CannotObserve as error:
            return failed(Trouble(error.code, type(error).__name__, "nothing was sent", str(error)), status=0), 0
        except OSError as error:
            return failed(Trouble(Unavailable.code, type(error).__name__, "no answer in time"), status=0), 0
        meta: dict[str, Any] = {
            "status": reply.status,
            "request_id": self.rest.request_id(reply.headers),
            "date": reply.headers.get("date", ""),
        }
        try:
            body = canonical.parse(reply.body)
        except ValueError:
            body = None
        if not 200 <= reply.status < 300:
            trouble = self.rest.trouble(reply, body)
            return failed(trouble, **meta), seconds(reply.headers.get("retry-after")) or trouble.wait
        if wait := self.rest.allowance(reply.headers):
            self.paces.hush(self.account, call.lane, wait)
        if not isinstance(body, dict):
            words = "the answer is no JSON object"
            return failed(Trouble(Unreadable.code, "NotAnObject", words), **meta), 0
        rest, token, as_of = self.rest.split(call, body)
        return Answer(body=redact(rest), started=now, duration_ms=0, token=token, as_of=as_of, **meta), 0


def seconds(value: Any) -> float:
    """A Retry-After header in seconds, within reason; 0 for none or one that cannot be read."""
    try:
        return max(0.0, min(float(value), RETRY_AFTER_SECONDS_MAX))
    except (TypeError, ValueError):
        return 0.0


def host_of(url: str) -> str:
    return urlsplit(url).netloc
