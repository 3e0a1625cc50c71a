"""What one run was asked and answered, out of the ledger, cut down to what a page can show. Formats nothing.

The whole of each answer lies in the package under its own SHA-256; an excerpt only shows where in it to look.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from collector import canonical
from collector.clouds.transcript import Question
from collector.ledger.store import Ledger

EXCHANGES_SHOWN = 3  # of one run and subject
EXCERPT_CHARACTERS_MAX = 1_500
PARSED_BYTES_MAX = 4 << 20  # a larger answer is not taken apart for an excerpt
LOGS_HELD = 8
OBSERVATIONS_HELD = 64
LOOKS = ("run", "spot")  # kinds of entries: of all subjects, or of those that an event named

T = TypeVar("T")


@dataclass(frozen=True)
class Exchanged:
    """One question with its answer. ``call`` is the record of the call log; ``place`` says where in the answer the
    excerpt stands; ``expired`` is the entry that dropped the answer after its term."""

    call: Mapping[str, Any]
    excerpt: str
    place: str
    expired: int | None


@dataclass(frozen=True)
class Look:
    """One run, as it saw one subject, or its whole population (subject ""). ``state`` "" where it did not see it."""

    seq: int
    run: Mapping[str, Any]
    subject: str
    state: str
    reason: str
    exchanges: tuple[Exchanged, ...]
    more: int  # exchanges that it rests on besides
    expired: int | None  # the entry that dropped its call log after its term


class Looker:
    """Finds what runs rest on. Call logs and observations are held while neighbours are asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._logs: OrderedDict[str, dict[str, Mapping[str, Any]] | None] = OrderedDict()
        self._observed: OrderedDict[str, _Observed] = OrderedDict()

    def look(self, seq: int, subject: str = "") -> Look:
        """What the run, or the look at single subjects, in entry ``seq`` was asked and answered about a subject, or for
        its listing."""
        entry = self._ledger.entry(seq)
        assert entry.kind.value in LOOKS, f"entry {seq} is a {entry.kind}: nobody looked in it"
        run = entry.data
        state = reason = ""
        ids: Sequence[str] = ()
        if run["observations"]:
            observed = self._held(self._observed, run["observations"], self._read_observed, OBSERVATIONS_HELD)
            found = observed.subjects.get(subject)
            if found is not None:
                state, reason = found["state"], found["reason"]
                ids = [observed.ids[place] for place in found["exchanges"]]
            # A population that is known beforehand rests on no listing: then on what was asked for its subjects.
            ids = ids or [observed.ids[place] for place in observed.listing] or observed.ids
        calls = self._held(self._logs, run["calls"], self._read_calls, LOGS_HELD)
        if calls is None:
            return Look(seq, run, subject, state, reason, (), len(ids), self._ledger.expired_by(run["calls"]))
        if not run["observations"]:  # nobody could list: what failed is the evidence
            ids = [id for id, call in calls.items() if call.get("failure")]
        asked = [calls[id] for id in ids if id in calls]
        shown = self._chosen(asked, subject)
        return Look(seq, run, subject, state, reason, tuple(shown), len(asked) - len(shown), None)

    def _chosen(self, asked: Sequence[Mapping[str, Any]], subject: str) -> list[Exchanged]:
        """The exchanges to show; pages that name the subject before those that do not."""
        if len(asked) > EXCHANGES_SHOWN and subject:
            naming = [call for call in asked if self._names(call, subject)]
            asked = naming or asked
        return [self._exchanged(call, subject) for call in asked[:EXCHANGES_SHOWN]]

    def _names(self, call: Mapping[str, Any], subject: str) -> bool:
        if not call["body"] or not self._ledger.has_blob(call["body"]):
            return False
        text = self._ledger.blob(call["body"]).decode("utf-8", "replace").lower()
        return any(needle in text for needle in needles(subject))

    def _exchanged(self, call: Mapping[str, Any], subject: str) -> Exchanged:
        if not call["body"]:
            return Exchanged(call, "", "", None)
        if not self._ledger.has_blob(call["body"]):
            return Exchanged(call, "", "", self._ledger.expired_by(call["body"]))
        place, text = excerpt(self._ledger.blob(call["body"]), subject)
        return Exchanged(call, text, place, None)

    def _read_observed(self, digest: str) -> _Observed:
        found = canonical.parse(self._ledger.blob(digest))
        return _Observed(found["exchanges"], found["listing"], {item["subject"]: item for item in found["subjects"]})

    def _read_calls(self, digest: str) -> dict[str, Mapping[str, Any]] | None:
        if not self._ledger.has_blob(digest):
            return None
        return {
            Question(call["cloud"], call["endpoint"], call["operation"], call["params"], call["page"]).id: call
            for call in canonical.parse(self._ledger.blob(digest))
        }

    def _held(self, held: OrderedDict[str, T], digest: str, read: Callable[[str], T], most: int) -> T:
        if digest in held:
            held.move_to_end(digest)
        else:
            held[digest] = read(digest)
            if len(held) > most:
                held.popitem(last=False)
        return held[digest]


@dataclass(frozen=True)
class _Observed:
    ids: Sequence[str]
    listing: Sequence[int]
    subjects: Mapping[str, Mapping[str, Any]]


# --- excerpts ---


def needles(subject: str) -> list[str]:
    """How an answer may name a subject: by its full name, or by the last part of it; in lower case."""
    full = subject.lower()
    last = full.replace(":", "/").rsplit("/", 1)[-1]
    return list(dict.fromkeys(text for text in (full, last) if text))


def excerpt(body: bytes, subject: str) -> tuple[str, str]:
    """Where in an answer a subject stands, as a path, and that part of it as readable JSON, cut to what a page holds.

    Without a subject, or where the answer does not name it, the beginning of the answer, with the path "".
    """
    if len(body) > PARSED_BYTES_MAX:
        return _around(body.decode("utf-8", "replace"), subject)
    try:
        value = canonical.parse(body)
    except ValueError:
        return _around(body.decode("utf-8", "replace"), subject)
    for needle in needles(subject):
        if (found := _find(value, needle, "")) is not None:
            path, part = found
            return path, _cut(part if isinstance(part, str) else _readable(part))
    return "", _cut(_readable(value))


def _find(value: Any, needle: str, path: str) -> tuple[str, Any] | None:
    """The smallest object that names it, or the lines of a long text that do."""
    if isinstance(value, str):
        if needle not in value.lower():
            return None
        return path, _lines(value, needle) if "\n" in value else value
    for key, item in _members(value):
        found = _find(item, needle, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}" if path else key)
        if found is not None:
            whole = isinstance(item, str) and "\n" not in item
            return (path, value) if whole and isinstance(value, dict) else found
    return None


def _members(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _lines(text: str, needle: str) -> str:
    """The first line of a report, which names its columns, and the lines that name the subject."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(line for line in rest if needle in line.lower())])


def _readable(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def _cut(text: str) -> str:
    return text if len(text) <= EXCERPT_CHARACTERS_MAX else f"{text[:EXCERPT_CHARACTERS_MAX]}\n…"


def _around(text: str, subject: str) -> tuple[str, str]:
    folded = text.lower()
    at = next((place for needle in needles(subject) if (place := folded.find(needle)) >= 0), 0)
    start = max(at - EXCERPT_CHARACTERS_MAX // 3, 0)
    before = "…" if start else ""
    return (f"from character {start}" if start else "", before + _cut(text[start:]))
