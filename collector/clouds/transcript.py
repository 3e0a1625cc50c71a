"""Asks a cloud each question once, keeps every answer, and knows who read which. Knows no cloud in particular.

The same object is evidence (``log`` and ``body``), test fixture, and the means of reperformance: a transcript
made by ``Transcript.kept`` answers the questions it was asked before, without a network, and refuses all others.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import IO, Any

from collector import canonical, errors, hush
from collector.model import Exchange

EXCHANGES_MAX = 200_000  # of one run; beyond it a run is refused rather than the memory filled
ANSWER_BYTES_MAX = 64 * 1024 * 1024  # of one page
MEMORY_BYTES_MAX = 16 * 1024 * 1024  # of all answers of a run; from there on they lie in a temporary file
PARSED_BYTES_MAX = 8 * 1024 * 1024  # of the answers, as JSON, that stay parsed; the others are parsed again when read

_FAMILY: dict[str, type[errors.CannotObserve]] = {
    kind.code: kind
    for kind in (errors.Denied, errors.Throttled, errors.Unavailable, errors.Disabled, errors.Unreadable)
}


@dataclass(frozen=True)
class Question:
    """What is asked: enough to ask it again, and to find its answer in a kept transcript."""

    cloud: str
    endpoint: str
    operation: str
    params: Mapping[str, Any]
    page: int = 1

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits that stand for this question in observations. The same in every run."""
        asked = [self.cloud, self.endpoint, self.operation, dict(self.params), self.page]
        return canonical.digest(canonical.payload(asked))[:16]


@dataclass(frozen=True)
class Answer:
    """What came back, as the cloud's edge hands it over. ``body`` is redacted and JSON-ready; None when nothing came.

    ``host`` names the host that was really asked where that is not the provider's own endpoint (FIPS, a private
    link, an emulator). ``token`` continues the listing and is never kept: it is transport and differs each time.
    """

    body: Any
    started: datetime
    duration_ms: int
    status: int = 200
    error: str = ""
    failure: str = ""
    attempts: int = 1
    host: str = ""
    request_id: str = ""
    date: str = ""
    as_of: str = ""
    token: Any = None


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer together with its exchange. ``raise_failure`` turns no answer into its error."""

    exchange: Exchange
    token: Any
    load: Callable[[str], Any]

    @property
    def body(self) -> Any:
        """The kept answer, None when nothing came. Shared between its readers, who never change it."""
        return self.load(self.exchange.body) if self.exchange.body else None

    def raise_failure(self) -> None:
        """Raises the error of our family that this exchange is, if it is one; the same words live and replayed."""
        if self.exchange.failure:
            page = f" page {self.exchange.page}" if self.exchange.page > 1 else ""
            what = f"{self.exchange.operation}{page} at {self.exchange.endpoint}"
            words = f"{what}: {self.exchange.error or self.exchange.failure}"
            body = self.body
            remedy = body.get("Error", {}).get("Remedy") if isinstance(body, dict) else None
            raise _FAMILY[self.exchange.failure](f"{words}; {remedy}" if remedy else words)


class Read(list[str]):
    """The ids of exchanges that were read, each once, and whether any of them was waited for."""

    waited = False


_reader: ContextVar[Read | None] = ContextVar("reader", default=None)


@contextmanager
def reading() -> Iterator[Read]:
    """Collects the ids of the exchanges that are read inside, in this context only, each once."""
    read, outside = Read(), _reader.get()
    token = _reader.set(read)
    try:
        yield read
    finally:
        _reader.reset(token)
        if outside is not None and read.waited:
            outside.waited = True


class Transcript:
    """All exchanges of one run over one account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[str, Kept | Future[Kept]] = {}
        # Observations hold the same id by the thousand. Not sys.intern: its table, which is for ever, would grow by a
        # step of megabytes with the ids that come and go with each run.
        self._ids: dict[str, str] = {}
        self._bodies = _Bodies()
        self._load = self._bodies.parsed
        self.log: list[Exchange] = []
        self.replaying = False

    def body(self, digest: str) -> bytes:
        """The kept bytes behind a digest of the log. Raises KeyError."""
        return self._bodies.raw(digest)

    def ask(self, question: Question, put: Callable[[Question], Answer], *, read: bool = True) -> Kept:
        """The answer to ``question``: put to the cloud by the first who asks, shared by all others.

        Never raises for an answer that is an error; ``Kept.raise_failure`` does. Raises NeverAsked when this is a
        kept transcript that does not hold the question.
        """
        id = question.id
        key = self._ids.setdefault(id, id)
        reader = _reader.get()
        asking: Future[Kept] | None = None
        with self._lock:
            held = self._answers.get(key)
            if held is None:
                if self.replaying:
                    raise errors.NeverAsked(f"{question.operation} {dict(question.params)} was not asked in this run")
                if len(self._answers) >= EXCHANGES_MAX:
                    raise errors.Unavailable(f"more than {EXCHANGES_MAX} questions in one run; split the scope")
                asking = self._answers[key] = Future()
        if asking is not None:
            try:
                kept = self._keep(question, put(question))
            except BaseException as error:
                asking.set_exception(error)
                raise
            with self._lock:
                self._answers[key] = kept  # a future is ten times as large, and nobody needs to wait any more
            asking.set_result(kept)
        elif isinstance(held, Future):
            kept = held.result()
        else:
            assert held is not None
            kept = held
        if reader is not None:
            reader.waited = reader.waited or kept is not held
            if read and key not in reader:
                reader.append(key)
        return kept

    def note(self, ids: Iterable[str]) -> None:
        """Says that these exchanges, by their questions' ids, were read here too: by who was given what they say."""
        reader = _reader.get()
        if reader is not None:
            reader += [key for key in ids if key not in reader]

    def _keep(self, question: Question, answer: Answer) -> Kept:
        data = b"" if answer.body is None else canonical.payload(answer.body)
        if hush.shown(data):  # the collector runs in what it observes, so its own settings may be in the answers
            answer = replace(answer, body=hush.cleared(answer.body))
            data = canonical.payload(answer.body)
        if len(data) > ANSWER_BYTES_MAX:
            answer = replace(answer, body=None, failure=errors.Unreadable.code, error="AnswerTooLarge")
            data = b""
        exchange = Exchange(
            cloud=question.cloud,
            endpoint=question.endpoint,
            operation=question.operation,
            params=question.params,
            page=question.page,
            last=not answer.token,
            status=answer.status,
            error=hush.cleared(answer.error),
            failure=answer.failure,
            attempts=answer.attempts,
            request_id=hush.cleared(answer.request_id),
            date=hush.cleared(answer.date),
            as_of=answer.as_of,
            host=answer.host,
            started=answer.started,
            duration_ms=answer.duration_ms,
            body=canonical.digest(data) if data else "",
        )
        with self._lock:
            self.log.append(exchange)
        if data:
            self._bodies.keep(exchange.body, data, answer.body)
        return Kept(exchange, answer.token, self._load)

    def call_log(self) -> bytes:
        """The log as one blob of canonical JSON, ordered by start, ready to be sealed."""
        with self._lock:
            ordered = sorted(self.log, key=lambda e: (e.started, e.endpoint, e.operation, e.page, e.body))
        return canonical.record([exchange_record(exchange) for exchange in ordered])

    @classmethod
    def kept(cls, call_log: bytes, body: Callable[[str], bytes]) -> Transcript:
        """A transcript out of evidence; ``body`` fetches the bytes behind a digest. Raises ValueError."""
        transcript = cls()
        transcript.replaying = True
        for record in canonical.parse(call_log):
            exchange = exchange_from(record)
            question = Question(exchange.cloud, exchange.endpoint, exchange.operation, exchange.params, exchange.page)
            if exchange.body:
                transcript._bodies.keep(exchange.body, body(exchange.body), None)
            token = None if exchange.last else REPLAYED_TOKEN
            transcript._answers[question.id] = Kept(exchange, token, transcript._load)
            transcript.log.append(exchange)
        return transcript


class _Bodies:
    """The kept bytes of a run by digest: in memory up to a limit, the others in an unnamed temporary file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memory: dict[str, bytes] = {}
        self._memory_bytes = 0
        self._file: IO[bytes] | None = None
        self._places: dict[str, tuple[int, int]] = {}
        self._parsed: OrderedDict[str, tuple[Any, int]] = OrderedDict()  # the latest read last
        self._parsed_bytes = 0

    def keep(self, digest: str, data: bytes, value: Any) -> None:
        """Keeps bytes, once; ``value`` is what they say, where somebody parsed them already."""
        with self._lock:
            if digest in self._memory or digest in self._places:
                return
            if self._memory_bytes + len(data) <= MEMORY_BYTES_MAX:
                self._memory[digest] = data
                self._memory_bytes += len(data)
            else:
                self._spool(digest, data)
            if value is not None:
                self._remember(digest, value, len(data))

    def _spool(self, digest: str, data: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the run
            weakref.finalize(self, self._file.close)
        self._places[digest] = (self._file.seek(0, os.SEEK_END), len(data))
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def raw(self, digest: str) -> bytes:
        with self._lock:
            if digest in self._memory:
                return self._memory[digest]
            place, size = self._places[digest]
            assert self._file is not None
            return os.pread(self._file.fileno(), size, place)

    def parsed(self, digest: str) -> Any:
        with self._lock:
            if digest in self._parsed:
                self._parsed.move_to_end(digest)
                return self._parsed[digest][0]
        data = self.raw(digest)
        value = canonical.parse(data)
        with self._lock:
            if digest not in self._parsed:
                self._remember(digest, value, len(data))
        return value

    def _remember(self, digest: str, value: Any, size: int) -> None:
        self._parsed[digest] = value, size
        self._parsed_bytes += size
        while self._parsed_bytes > PARSED_BYTES_MAX and len(self._parsed) > 1:
            _, (_, freed) = self._parsed.popitem(last=False)
            self._parsed_bytes -= freed


REPLAYED_TOKEN = "the next page of a kept listing"  # stands for the token, which is not kept


def exchange_record(exchange: Exchange) -> dict[str, Any]:
    """An exchange as it stands in a call log."""
    record: dict[str, Any] = {
        "attempts": exchange.attempts,
        "body": exchange.body,
        "cloud": exchange.cloud,
        "date": exchange.date,
        "endpoint": exchange.endpoint,
        "last": exchange.last,
        "ms": exchange.duration_ms,
        "operation": exchange.operation,
        "page": exchange.page,
        "params": dict(exchange.params),
        "request_id": exchange.request_id,
        "started": canonical.stamp(exchange.started),
        "status": exchange.status,
    }
    for name in ("as_of", "error", "failure", "host"):
        if value := getattr(exchange, name):
            record[name] = value
    return record


def exchange_from(record: Mapping[str, Any]) -> Exchange:
    """The exchange that ``exchange_record`` wrote. Raises ValueError for anything else."""
    try:
        return Exchange(
            cloud=record["cloud"],
            endpoint=record["endpoint"],
            operation=record["operation"],
            params=record["params"],
            page=record["page"],
            last=record["last"],
            status=record["status"],
            error=record.get("error", ""),
            failure=record.get("failure", ""),
            attempts=record["attempts"],
            request_id=record["request_id"],
            date=record["date"],
            as_of=record.get("as_of", ""),
            host=record.get("host", ""),
            started=canonical.moment(record["started"]),
            duration_ms=record["ms"],
            body=record["body"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an exchange of a call log: {error!r}") from error


def skew_ms(log: Iterable[Exchange]) -> int | None:
    """The median difference between the providers' Date headers and our own clock in milliseconds, None without any."""
    found: list[int] = []
    for exchange in log:
        try:
            theirs = parsedate_to_datetime(exchange.date)
        except (TypeError, ValueError):
            continue
        found.append(round((theirs - exchange.started).total_seconds() * 1000))
    return sorted(found)[len(found) // 2] if found else None


def question_id(exchange: Exchange) -> str:
    """The id by which observations point to an exchange."""
    return Question(exchange.cloud, exchange.endpoint, exchange.operation, exchange.params, exchange.page).id
