"""What the ledger says of a window over time: defined, changed, closed, gone. Pure: bodies of entries in, values out.

Which entry is written when is not in here: see ``collector.windows``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any

from collector import canonical


class Event(StrEnum):
    """What a ``window`` entry says."""

    OPEN = "open"  # recorded: configured for the first time, again after it was gone, or opened by a person
    CHANGE = "change"  # its definition is another one than the entry before it says
    CLOSE = "close"  # a person says that nothing more is expected of it; changes no count
    GONE = "gone"  # the configuration no longer names it


class Status(StrEnum):
    """How a window is at a moment."""

    TO_COME = "not yet begun"
    RUNNING = "running"
    OVER = "over"
    CLOSED = "closed"


@dataclass(frozen=True)
class Definition:
    """What a window promises. Half-open: ``since`` belongs to it, ``until`` does not. ``frequency_s`` None: nothing is
    said of how often its checks are observed. No ``scopes``: all."""

    since: datetime
    until: datetime
    zone: str
    criteria: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    frequency_s: int | None = None
    hold: bool = False

    def fields(self) -> dict[str, Any]:
        """The definition as an entry writes it."""
        return {
            "start": canonical.stamp(self.since),
            "end": canonical.stamp(self.until),
            "zone": self.zone,
            "criteria": list(self.criteria),
            "scopes": list(self.scopes),
            "frequency_s": self.frequency_s,
            "hold": self.hold,
        }


@dataclass(frozen=True)
class Recorded:
    """One ``window`` entry. ``via`` is ``configuration`` or ``cli``; ``by`` the person, "" of a configuration."""

    seq: int
    at: datetime
    window: str
    event: Event
    definition: Definition
    by: str
    via: str
    reason: str
    previous: int | None  # the entry before it about the same window


def recorded(data: Mapping[str, Any]) -> Recorded:
    """The body of a ``window`` entry as a value. Raises KeyError or ValueError when it is none."""
    return Recorded(
        seq=data["seq"],
        at=canonical.moment(data["at"]),
        window=data["window"],
        event=Event(data["event"]),
        definition=Definition(
            since=canonical.moment(data["start"]),
            until=canonical.moment(data["end"]),
            zone=data["zone"],
            criteria=tuple(data["criteria"]),
            scopes=tuple(data["scopes"]),
            frequency_s=data["frequency_s"],
            hold=data["hold"],
        ),
        by=data["by"],
        via=data["via"],
        reason=data["reason"],
        previous=data["previous"],
    )


def histories(bodies: Iterable[Mapping[str, Any]]) -> dict[str, list[Recorded]]:
    """The entries of every window, by its name, in the order of the ledger."""
    found: dict[str, list[Recorded]] = {}
    for data in bodies:
        one = recorded(data)
        found.setdefault(one.window, []).append(one)
    return found


def closed(history: Sequence[Recorded]) -> Recorded | None:
    """The entry that closed the window, unless a person opened it again since: no configuration does that."""
    found = None
    for one in history:
        if one.event is Event.CLOSE:
            found = one
        elif one.event is Event.OPEN and one.by:
            found = None
    return found


def status(definition: Definition, history: Sequence[Recorded], now: datetime) -> Status:
    """How a window with this definition and this history is at ``now``."""
    if closed(history) is not None:
        return Status.CLOSED
    if now < definition.since:
        return Status.TO_COME
    return Status.RUNNING if now < definition.until else Status.OVER


# --- what was changed ---

WORDS = {"start": "start", "end": "end", "frequency_s": "frequency"}


def differences(old: Definition, new: Definition) -> list[tuple[str, str, str]]:
    """Each part of a definition that differs: its name, and what it was and is, as text."""
    was, now = old.fields(), new.fields()
    return [(WORDS.get(name, name), _text(was[name]), _text(now[name])) for name in was if was[name] != now[name]]


def parts_of(definition: Definition) -> list[tuple[str, str]]:
    """Each part of a definition with its value as text."""
    return [(WORDS.get(name, name), _text(value)) for name, value in definition.fields().items()]


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "all"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value} s"
    return "none" if value is None else str(value)


def changes(history: Sequence[Recorded]) -> list[tuple[Recorded, Recorded]]:
    """Each entry with another definition than the one before it, after that one."""
    return [(a, b) for a, b in pairwise(history) if a.definition != b.definition]


def moved_late(history: Sequence[Recorded]) -> list[tuple[Recorded, Recorded]]:
    """The changes that were written when the window had begun already, by what it was before or by what it became."""
    return [(a, b) for a, b in changes(history) if b.at >= min(a.definition.since, b.definition.since)]
