"""Everything that one window's package says, as values. Read out of the ledger; tables and report only format it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from collector.window.coverage import Coverage
from collector.window.findings import Deviation, Finding, Stretch
from collector.window.slots import Ran, Slot


@dataclass(frozen=True)
class ControlCard:
    """One control of the operator's file, as it last stood in the window; ``checks`` are all it ever bound in it."""

    id: str
    title: str
    owner: str
    criteria: tuple[str, ...]
    checks: tuple[str, ...]
    cadence_s: int


@dataclass(frozen=True)
class CheckCard:
    """One check version that ran in the window."""

    id: str
    version: int
    code: str  # SHA-256 of its source, which lies in the package under checks/
    title: str
    family: str
    criteria: tuple[str, ...]
    stage: str
    limits: Mapping[str, int]
    first_used: int  # seq of its check entry


@dataclass(frozen=True)
class AlertLine:
    """One alert of the window with what became of it."""

    seq: int
    at: datetime
    key: str
    event: str
    cause: str
    check: str
    scope: str
    subject: str
    control: str
    owner: str
    reason: str
    deliveries: tuple[tuple[str, str, datetime], ...]  # channel, outcome, when


@dataclass(frozen=True)
class Change:
    """A change of configuration, of a check, of a plan or of a key inside the window: an entry, in words."""

    seq: int
    at: datetime
    kind: str
    what: str


@dataclass(frozen=True)
class Item:
    """One subject in one run: a line of items.csv."""

    slot: datetime | None
    run: int
    check: str
    scope: str
    subject: str
    state: str
    reason: str
    facts: Mapping[str, Any] | None
    evidence: tuple[str, ...]  # ids of the exchanges it rests on


@dataclass(frozen=True)
class Dossier:
    """One window. ``slots``, ``stretches`` and ``coverage`` are complete; ``items`` streams, since there are many."""

    name: str
    since: datetime
    until: datetime
    zone: ZoneInfo
    origin: str
    vkey: str
    exported_at: datetime
    collector: str  # version
    first: int  # the ledger range in the package is [first, last)
    last: int
    assurance: str  # how strong the proof is, in one sentence
    controls: tuple[ControlCard, ...]
    checks: tuple[CheckCard, ...]
    slots: tuple[Slot, ...]
    runs_outside_slots: tuple[Ran, ...]
    coverage: tuple[Coverage, ...]
    deviations: tuple[Deviation, ...]
    findings: tuple[Finding, ...]  # in the order of ``controls``
    stretches: tuple[Stretch, ...]  # subjects' states, clipped to nothing
    blind: tuple[Stretch, ...]  # scopes without population: subject "", state undetermined
    alerts: tuple[AlertLine, ...]
    changes: tuple[Change, ...]
    items: Callable[[], Iterator[Item]]
    criteria: tuple[str, ...] = ()  # of the window
    scopes: tuple[str, ...] = ()  # of the window; empty: all
    grace_s: int = 900  # how late a run may begin before its slot is late
    ends: datetime | None = None  # the window's own end, where it had not come yet: then ``until`` is before it
