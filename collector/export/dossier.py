"""Everything that one window's package says, as values. Read out of the ledger; tables and report only format it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from collector.window.coverage import ControlCoverage, Coverage
from collector.window.findings import Deviation, Finding, Stretch
from collector.window.frequency import Sparse
from collector.window.history import Recorded
from collector.window.itself import Beat, Itself
from collector.window.slots import Plan, Ran, Slot


@dataclass(frozen=True)
class ControlCard:
    """One control of the operator's file, as it last stood in the window; ``checks`` are all it ever bound in it."""

    id: str
    title: str
    owner: str
    criteria: tuple[str, ...]
    checks: tuple[str, ...]
    cadence_s: int
    by_hand: str = ""  # what no check can show of it, and what a person collects for it
    by_collector: bool = False  # the collector itself is the evidence of it


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
class AckLine:
    """Somebody took note of an alert."""

    seq: int
    at: datetime
    person: str
    note: str
    via: str


@dataclass(frozen=True)
class AlertLine:
    """One alert with what became of it."""

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
    acks: tuple[AckLine, ...] = ()
    delivered_by: tuple[int, ...] = ()  # the delivery entries that say "delivered"
    subjects: tuple[str, ...] = ()  # of a group: all that it names; none of an alert about one subject
    listed: str = ""  # of a group: digest of the blob that has those names
    ended_by: tuple[int, ...] = ()  # of a trigger: the entries that say that some or all of it is over
    held: datetime | None = None  # until when quiet hours kept it from every channel; None when they did not
    unobserved: bool = False  # of a resolve: nobody is to look there any more, and nothing was seen mended


@dataclass(frozen=True)
class SpotLine:
    """One subject that a look between the slots was asked for, because events of a change feed named it."""

    seq: int
    at: datetime
    feed: str
    events: tuple[str, ...]  # the provider's ids
    since: datetime  # when the oldest of them happened
    started: datetime
    account: str
    check: str
    scope: str
    subject: str
    before: str  # how the newest run or look of the window before it found the subject; "" where none did
    after: str  # how this one did; "" when it was not listed
    reason: str
    calls: str  # digest of the call log


@dataclass(frozen=True)
class Decision:
    """An acceptance of a deviation, or the revocation of one. ``subject`` "" means every subject of the check there."""

    seq: int
    at: datetime
    control: str
    check: str
    scope: str
    subject: str
    approver: str
    reason: str
    ticket: str
    expires: datetime
    revokes: int | None
    ended: datetime  # when it stopped to hold: its expiry, or the entry that revoked it
    ended_by: int | None  # that entry

    def held(self, check: str, scope: str, subject: str, since: datetime, until: datetime) -> bool:
        """Whether it was in force over a subject at any time in ``[since, until)``."""
        mine = (self.check, self.scope) == (check, scope) and self.subject in ("", subject)
        return mine and self.revokes is None and max(self.at, since) < min(self.ended, until)


@dataclass(frozen=True)
class Life:
    """What else is known of a deviation. Times are not clipped to the window."""

    first_seen: datetime  # when the run ``first_bad`` began
    last_seen: datetime | None  # when the last run of the window that found it not satisfied began; None: none did
    last_bad: int | None  # that run
    alerts: tuple[AlertLine, ...]  # raised while it lasted, also before the window
    decisions: tuple[Decision, ...]  # acceptances that were in force while it lasted
    unobserved: datetime | None = None  # of one that nobody saw mended: since when no plan asks for it any more
    unobserved_by: int | None = None  # the first plan that does not


@dataclass(frozen=True)
class AnchorLine:
    """One attempt to put a checkpoint into a place outside. ``size`` 0: the place was only asked whether it works."""

    seq: int
    at: datetime
    anchor: str
    type: str
    size: int
    time: datetime | None  # that the outside asserts
    where: str
    outcome: str
    reason: str
    failure: str
    token: str  # digest of what the outside gave; "" when it gave none

    @property
    def file(self) -> str:
        """Where the token lies in a package; "" when there is none."""
        suffix = {"tsa": "tsr", "witness": "note"}.get(self.type, "json")
        return f"anchors/{self.seq:020d}.{suffix}" if self.token else ""


@dataclass(frozen=True)
class Configured:
    """What one configuration said about places outside: which, and every how many seconds each gets a checkpoint."""

    seq: int
    at: datetime
    digest: str
    collector: str
    places: tuple[str, ...]
    every_s: int


@dataclass(frozen=True)
class Reconciled:
    """How many parts of an account the plan names, and how many each source showed, over looks that found the same.

    ``counted`` is None where the source was not asked, or gave no answer.
    """

    account: str
    what: str  # regions, subscriptions, projects; accounts of a whole cloud
    since: datetime  # the first look
    last: datetime  # the last one that found the same
    looks: int
    planned: int
    source: str
    counted: int | None
    second: str
    second_counted: int | None
    agree: bool | None  # None: there is nothing to compare
    difference: str
    entry: int | None  # the run entry of the first look; None where nobody looked
    calls: str  # digest of its call log


@dataclass(frozen=True)
class LeftOut:
    """What the ledger's entries say of the window and this dossier does not unfold, because it was asked for less."""

    controls: int = 0
    slots: int = 0
    runs: int = 0


@dataclass(frozen=True)
class Change:
    """A change of configuration, check, plan, key or permissions inside the window: an entry, in words."""

    seq: int
    at: datetime
    kind: str
    what: str


@dataclass(frozen=True)
class OwnEvent:
    """Something that happened to the collector itself. ``entries`` of the ledger say so."""

    event: str  # one of the words that columns.py explains
    at: datetime
    until: datetime | None
    count: int | None  # heartbeats, or slots
    what: str
    amiss: bool  # whether it counts against the collector
    entries: tuple[int, ...]


@dataclass(frozen=True)
class Own:
    """The collector as a control: what is found of it over the window, and everything that happened to it."""

    found: Itself
    events: tuple[OwnEvent, ...]
    beats: tuple[Beat, ...]  # in the order of the ledger; they reach out of the window


@dataclass(frozen=True)
class Item:
    """One subject as one run saw it."""

    subject: str
    state: str
    reason: str
    facts: Mapping[str, Any] | None
    evidence: tuple[str, ...]  # ids of the exchanges it rests on


@dataclass(frozen=True)
class RunItems:
    """All subjects of one run, ordered by name. Runs with the same ``observations`` say the same of the same."""

    run: int
    slot: datetime | None
    check: str
    scope: str
    observations: str  # digest of the blob
    items: Sequence[Item]


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
    assurance: str  # how strong the proof is, in a few sentences
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
    items: Callable[[], Iterator[RunItems]]  # in the order of the ledger
    own: Own
    criteria: tuple[str, ...] = ()  # of the window, or those of them that were asked for
    scopes: tuple[str, ...] = ()  # likewise; empty: all
    chosen: tuple[str, ...] = ()  # the controls that were asked for; empty: all that serve the criteria
    grace_s: int = 900  # how late a run may begin before its slot is late
    ends: datetime | None = None  # the window's own end, where it had not come yet: then ``until`` is before it
    lives: tuple[Life, ...] = ()  # in the order of ``deviations``
    decisions: tuple[Decision, ...] = ()  # written or in force in the window
    anchors: tuple[AnchorLine, ...] = ()  # of the range
    spots: tuple[SpotLine, ...] = ()  # of the window, in the order of the ledger
    configured: tuple[Configured, ...] = ()  # the configurations in force, oldest first
    left_out: LeftOut = LeftOut()
    rests_on: tuple[int, ...] = ()  # entries before the range without which something in here could not be shown
    groups: tuple[str, ...] = ()  # blobs with the names of groups of alerts
    by: str = ""  # who exports, as far as they said
    plans: tuple[Plan, ...] = ()  # of the range, as far as they speak of the window
    item_rows: int = 0  # how many subjects ``items`` gives over all runs
    reconciled: tuple[Reconciled, ...] = ()  # known once the call logs were read
    control_coverage: tuple[ControlCoverage, ...] = ()  # of the checks that count, in the order of ``controls``
    frequency_s: int | None = None  # how often the window promises that each check is observed
    seldom: tuple[Sparse, ...] = ()  # what was planned less often than that
    history: tuple[Recorded, ...] = ()  # every entry about the window, also from outside of it
