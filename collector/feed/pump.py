"""Takes messages from one queue and has their subjects looked at again: settled, paced, bounded, fair to each account.

A message is taken off its queue only after what it asked for is sealed, or when it asks for nothing. Whatever is lost
here is found by the next full run.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog

from collector.errors import CollectorError
from collector.feed.event import Asked, Event, News, Refused
from collector.model import Scope

SETTLE_SECONDS = 2.0  # a change is often several calls; this long after the last of them, it is looked at
TOGETHER_SECONDS = 5.0  # ... but no later than this after the first, and no subject's account more often than this
WAIT_SECONDS = 10  # of one long poll; a stop waits no longer
HELD_MAX = 1_000  # messages taken and not yet answered; beyond, they wait in the queue
SEEN_MAX = 20_000  # ids of events that were answered
FLOOD_SUBJECTS = 50  # of one check over one scope ...
FLOOD_SECONDS = 60.0  # ... in this time are a full run of that check
AFTER_FLOOD_SECONDS = 60.0
EVENTS_NAMED_MAX = 20  # in a spot entry
NAMED_BYTES_MAX = 16_384  # of the subjects of one spot entry
TROUBLE_SECONDS = 5.0
PAUSE_SECONDS = 0.2  # where a poll returns at once although it should wait

OUTCOMES = ("looked", "nothing", "malformed", "foreign", "idle", "again", "flood")

log = structlog.get_logger(__name__)

Pair = tuple[str, Scope]


Message = tuple[bytes, str]  # the body, and the receipt that the queue wants to hear when the message is done with


class Queue(Protocol):
    """One queue of a provider. Both raise CannotObserve or ConfigError."""

    def receive(self, wait_seconds: int) -> Sequence[Message]:
        """The next messages, which nobody else gets for some minutes; waits up to ``wait_seconds`` for the first."""
        ...

    def done(self, receipts: Sequence[str]) -> None:
        """Takes messages off the queue."""
        ...


class Looks(Protocol):
    """Looks again. False: the account is at work; ask again later."""

    def __call__(self, account: str, asked: Sequence[Asked], news: News) -> bool: ...


class Whole(Protocol):
    """Runs checks over scopes in full. False: the account is at work; ask again later."""

    def __call__(self, account: str, pairs: Sequence[Pair]) -> bool: ...


@dataclass
class _Waiting:
    """What one account waits for."""

    subjects: dict[Pair, set[str]] = field(default_factory=dict)
    whole: set[Pair] = field(default_factory=set)
    events: OrderedDict[str, datetime] = field(default_factory=OrderedDict)
    receipts: set[str] = field(default_factory=set)
    first: float = 0.0
    last: float = 0.0


class Pump:
    """One feed at work. ``run`` until it is stopped, or ``step`` as often as one likes."""

    def __init__(
        self,
        name: str,
        queue: Queue,
        read: Callable[[bytes, datetime], Event],
        match: Callable[[Event], Sequence[Asked]],
        look: Looks,
        whole: Whole,
        clock: Callable[[], datetime],
        count: Callable[[str], None] = lambda outcome: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.trouble = ""
        self._queue = queue
        self._read = read
        self._match = match
        self._look = look
        self._whole = whole
        self._clock = clock
        self._count = count
        self._monotonic = monotonic
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()  # by account; the one looked at last is at the end
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._looked: dict[str, float] = {}
        self._ran_whole: dict[str, float] = {}
        self._named: dict[Pair, deque[tuple[float, str]]] = {}

    def run(self, stopped: threading.Event) -> None:
        """Works until ``stopped``. Trouble with the queue is logged once, and tried again."""
        while not stopped.is_set():
            begun = self._monotonic()
            try:
                took = self.step()
            except CollectorError as error:
                self._trouble(str(error))
                stopped.wait(TROUBLE_SECONDS)
            except Exception as error:
                self._trouble(type(error).__name__)
                stopped.wait(TROUBLE_SECONDS)
            else:
                if self.trouble:
                    log.info("trouble over", job=f"feed {self.name}")
                self.trouble = ""
                if not took and self._monotonic() - begun < PAUSE_SECONDS:
                    stopped.wait(PAUSE_SECONDS)

    def _trouble(self, words: str) -> None:
        if self.trouble != words:
            log.error("trouble", job=f"feed {self.name}", what=words)
        self.trouble = words

    def step(self) -> int:
        """Takes what there is and looks at what is due. Returns how many messages were taken."""
        took = 0
        if sum(len(waiting.receipts) for waiting in self._waiting.values()) < HELD_MAX:
            messages = self._queue.receive(1 if self._waiting else WAIT_SECONDS)
            took = len(messages)
            done = [receipt for body, receipt in messages if not self._take(body, receipt)]
            if done:
                self._queue.done(done)
        else:
            time.sleep(PAUSE_SECONDS)
        for account in list(self._waiting):
            self._answer(account)
        return took

    # --- taking ---

    def _take(self, body: bytes, receipt: str) -> bool:
        """Whether a message waits for something to be sealed."""
        try:
            event = self._read(body, self._clock())
        except Refused as refused:
            self._count(refused.kind)
            return False
        if event.id in self._seen:
            self._count("again")
            return False
        waiting = self._waiting.get(event.account)
        if waiting is not None and event.id in waiting.events:
            waiting.receipts.add(receipt)  # delivered twice; both are done with when it is answered
            self._count("again")
            return True
        found = self._match(event)
        if not found:
            self._count("nothing")
            self._remember([event.id])
            return False
        now = self._monotonic()
        if waiting is None:
            waiting = self._waiting[event.account] = _Waiting(first=now)
        for asked in found:
            self._want(waiting, asked, now)
        waiting.last = now
        waiting.events[event.id] = event.at
        waiting.receipts.add(receipt)
        return True

    def _want(self, waiting: _Waiting, asked: Asked, now: float) -> None:
        pair = (asked.check, asked.scope)
        if pair in waiting.whole:
            return
        named = self._named.setdefault(pair, deque(maxlen=4 * FLOOD_SUBJECTS))
        named.extend((now, subject) for subject in asked.subjects)
        while named and now - named[0][0] > FLOOD_SECONDS:
            named.popleft()
        if len({subject for _, subject in named}) > FLOOD_SUBJECTS:
            self._count("flood")
            waiting.whole.add(pair)
            waiting.subjects.pop(pair, None)
        else:
            waiting.subjects.setdefault(pair, set()).update(asked.subjects)

    # --- looking ---

    def _answer(self, account: str) -> None:
        now, waiting = self._monotonic(), self._waiting[account]
        settled = now - waiting.last >= SETTLE_SECONDS or now - waiting.first >= TOGETHER_SECONDS
        if not settled or now - self._looked.get(account, -TOGETHER_SECONDS) < TOGETHER_SECONDS:
            return
        if waiting.whole and now - self._ran_whole.get(account, -AFTER_FLOOD_SECONDS) < AFTER_FLOOD_SECONDS:
            return
        self._waiting.move_to_end(account)  # whoever was looked at waits behind the others
        if waiting.whole:
            if not self._whole(account, sorted(waiting.whole, key=str)):
                return
            self._ran_whole[account] = self._monotonic()
            waiting.whole.clear()
        if waiting.subjects:
            news = News(self.name, tuple(waiting.events)[:EVENTS_NAMED_MAX], min(waiting.events.values()))
            if not self._look(account, list(_pieces(waiting.subjects)), news):
                return
        self._looked[account] = self._monotonic()
        del self._waiting[account]
        self._remember(waiting.events)
        for _ in waiting.events:
            self._count("looked")
        self._queue.done(sorted(waiting.receipts))

    def _remember(self, ids: Sequence[str] | Mapping[str, object]) -> None:
        for id in ids:
            self._seen[id] = None
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)


def _pieces(subjects: Mapping[Pair, set[str]]) -> Sequence[Asked]:
    """Pieces that fit into an entry, in order."""
    found: list[Asked] = []
    for (check, scope), names in sorted(subjects.items(), key=str):
        piece: list[str] = []
        size = 0
        for name in sorted(names):
            if piece and size + len(name.encode()) > NAMED_BYTES_MAX:
                found.append(Asked(check, scope, frozenset(piece)))
                piece, size = [], 0
            piece.append(name)
            size += len(name.encode())
        found.append(Asked(check, scope, frozenset(piece)))
    return found
