"""What changed between two runs that somebody should hear of. Pure; alert/ decides who hears it, and says it.

Blindness is a drift of its own: a subject that can no longer be read is neither mended nor broken. Such a run neither
confirms a fall nor counts towards its end: unknown is never good, and never bad either.

docs/decisions/0008-alerts.md says why the rules are as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from collector.model import CheckRun, State

GROUP_OVER = 5  # more subjects than this that fall in one run are one alert
FLAP_TRIGGERS = 3  # so many alerts about one subject ...
FLAP_WITHIN = timedelta(hours=24)  # ... in this time flap, until nothing was told for as long
FLAP_STEADY = 6  # runs that must be good before an alert that flaps is over


class Cause(StrEnum):
    FAILED = "failed"  # a subject is not satisfied
    BLIND = "blind"  # a subject, or a whole scope, can no longer be read
    MISSED = "missed"  # slots passed that nobody observed
    LATE = "late"  # an account's runs begin after their grace: there is more to do than the cadence leaves time for
    ANCHOR = "anchor"  # a place outside takes no checkpoints; the subject is the place, check and scope are ""
    LAPSED = "lapsed"  # a decision to live with a deviation is over, and the deviation is not


class Event(StrEnum):
    TRIGGER = "trigger"
    UPDATE = "update"  # some subjects of a group are over, the others are not; nobody is told
    RESOLVE = "resolve"


@dataclass(frozen=True)
class Drift:
    """One transition. ``subject`` is "" for a whole scope and for a group, ``check`` "" for a whole account.

    ``last_good`` and ``first_bad`` are sequence numbers of run entries: the evidence on either side of the change.
    """

    cause: Cause
    event: Event
    check: str
    scope: str
    subject: str
    reason: str
    since: datetime
    last_good: int | None
    first_bad: int | None
    group: int | None = None  # of a group: the run that began it
    subjects: tuple[str, ...] = ()  # of a group: who fell, or who is over with this transition; sorted
    left: int = 0  # of a group: how many still stand
    flaps: bool = False
    unobserved: bool = False  # a resolve that says nothing of mending: nobody is to look there any more


@dataclass(frozen=True)
class Opened:
    """What is known of an alert that has been triggered and not yet resolved."""

    since: datetime
    last_good: int | None
    first_bad: int | None
    flaps: bool = False
    group: int | None = None
    subjects: frozenset[str] = frozenset()  # of a group: who still stands


@dataclass(frozen=True)
class Told:
    """A trigger, or the end of one, of the last ``FLAP_WITHIN``, and the subjects that it began or ended for."""

    event: Event
    at: datetime
    subjects: frozenset[str]
    flaps: bool


@dataclass(frozen=True)
class Rules:
    """How many runs in a row must be bad before an alert begins, and good before it ends; at least 1."""

    confirm: int = 1
    steady: int = 1


class Look(NamedTuple):
    """How one subject stood in one run: None when it was not in the population."""

    seq: int
    started: datetime
    state: State | None


class Past(Protocol):
    """What earlier runs over the same scope found, and what was told of it. Asked only where something changes."""

    def looks(self, subject: str) -> Iterator[Look]:
        """The earlier runs that could list the population, newest first. Of "", the scope itself, all earlier runs:
        undetermined where nobody could list it, satisfied elsewhere."""
        ...

    def told(self, cause: Cause) -> Sequence[Told]:
        """What was told for this cause in the last ``FLAP_WITHIN``."""
        ...


def drifts(
    run: CheckRun, seq: int, opened: Mapping[tuple[Cause, str], Opened], past: Past, rules: Rules = Rules()
) -> list[Drift]:
    """The transitions that a run shows, given what stands open for its check and scope.

    ``seq`` is the run's entry. ``opened`` has an alert under each subject that it stands for. Each transition is
    reported once: while it stands open it is silence.
    """
    finder = _Finder(run, seq, past, rules)
    if run.population is None:
        finder.look(Cause.BLIND, "", State.UNDETERMINED, run.reason, opened)
        return finder.found()
    finder.look(Cause.BLIND, "", State.SATISFIED, "the population can be read again", opened)
    for observation in run.observations:
        state, reason = observation.verdict.state, observation.verdict.reason
        again = reason if state is State.UNDETERMINED else f"can be read again: {reason}"
        finder.look(Cause.BLIND, observation.subject, state, again, opened)
        finder.look(Cause.FAILED, observation.subject, state, reason, opened)
    present = {observation.subject for observation in run.observations}
    for cause, subject in opened:
        if subject and subject not in present and cause in (Cause.FAILED, Cause.BLIND):
            finder.look(cause, subject, None, "is no longer in the population", opened)
    return finder.found()


def flaps(subject: str, told: Iterable[Told], now: datetime) -> bool:
    """Whether an alert that begins at ``now`` is one of many: the third in a day, or not quiet since it flapped."""
    mine = [one for one in told if subject in one.subjects and now - one.at < FLAP_WITHIN]
    if any(one.flaps and one.event is not Event.TRIGGER for one in mine):
        return True
    return sum(one.event is Event.TRIGGER for one in mine) >= FLAP_TRIGGERS - 1


@dataclass(frozen=True)
class _Change:
    """One subject that has fallen, or is over."""

    subject: str
    reason: str
    first: Look  # of the row of runs that shows it
    last_good: int | None = None


@dataclass
class _Finder:
    run: CheckRun
    seq: int
    past: Past
    rules: Rules
    _single: list[Drift] = field(default_factory=list)
    _fallen: dict[Cause, list[_Change]] = field(default_factory=dict)
    _over: dict[tuple[Cause, int], tuple[Opened, list[_Change]]] = field(default_factory=dict)
    _told: dict[Cause, Sequence[Told]] = field(default_factory=dict)

    def look(
        self,
        cause: Cause,
        subject: str,
        state: State | None,
        reason: str,
        opened: Mapping[tuple[Cause, str], Opened],
    ) -> None:
        """Takes down what one subject's state in this run means for one cause."""
        known = opened.get((cause, subject))
        now = Look(self.seq, self.run.started, state)
        if known is None and _bad(cause, state):
            row, before = self._row(cause, subject, now, _bad, _mended)
            if len(row) >= self.rules.confirm:
                good = before is not None and before.state is not None
                change = _Change(subject, reason, row[-1], before.seq if before is not None and good else None)
                self._fallen.setdefault(cause, []).append(change)
        elif known is not None and _mended(cause, state):
            need = max(self.rules.steady, FLAP_STEADY) if known.flaps else self.rules.steady
            first = now
            if need > 1:
                row, _ = self._row(cause, subject, now, _mended, _bad, need)
                if len(row) < need:
                    return
                first = row[-1]
            change = _Change(subject, reason, first)
            if known.group is None:
                self._single.append(self._drift(cause, Event.RESOLVE, change, known))
            else:
                self._over.setdefault((cause, known.group), (known, []))[1].append(change)

    def _row(
        self,
        cause: Cause,
        subject: str,
        now: Look,
        counts: Callable[[Cause, State | None], bool],
        ends: Callable[[Cause, State | None], bool],
        enough: int | None = None,
    ) -> tuple[list[Look], Look | None]:
        """The runs in a row, newest first and this one included, that count; and the run before that ended the row."""
        row = [now]
        if enough == 1:
            return row, None
        for look in self.past.looks(subject):
            if ends(cause, look.state):
                return row, look
            if counts(cause, look.state):
                row.append(look)
                if len(row) == enough:
                    break
        return row, None

    def _flaps(self, cause: Cause, subject: str) -> bool:
        if cause not in self._told:
            self._told[cause] = self.past.told(cause)
        return flaps(subject, self._told[cause], self.run.finished)

    def _drift(self, cause: Cause, event: Event, change: _Change, known: Opened | None = None) -> Drift:
        over = known is not None
        return Drift(
            cause,
            event,
            self.run.check,
            str(self.run.scope),
            change.subject,
            change.reason,
            known.since if known else change.first.started,
            change.first.seq if over else change.last_good,
            known.first_bad if known else change.first.seq,
            flaps=known.flaps if known else self._flaps(cause, change.subject),
        )

    def found(self) -> list[Drift]:
        """All transitions: of single subjects in the order of the run, then of groups."""
        groups = [self._end(cause, *over) for (cause, _), over in self._over.items()]
        for cause, fallen in self._fallen.items():
            if len(fallen) > GROUP_OVER:
                groups.append(self._begin(cause, fallen))
            else:
                self._single += [self._drift(cause, Event.TRIGGER, change) for change in fallen]
        return self._single + groups

    def _begin(self, cause: Cause, fallen: Sequence[_Change]) -> Drift:
        first = min((change.first for change in fallen), key=lambda look: look.seq)
        good = [change.last_good for change in fallen if change.last_good is not None]
        return Drift(
            cause,
            Event.TRIGGER,
            self.run.check,
            str(self.run.scope),
            "",
            f"{len(fallen):,} subjects: {_mostly(fallen)}",
            first.started,
            max(good, default=None),
            first.seq,
            group=self.seq,
            subjects=tuple(sorted(change.subject for change in fallen)),
            left=len(fallen),
            flaps=any(self._flaps(cause, change.subject) for change in fallen),
        )

    def _end(self, cause: Cause, known: Opened, over: Sequence[_Change]) -> Drift:
        left = len(known.subjects) - len(over)
        who = f"{len(over):,} of those that were left" if left else f"all are over, the last {len(over):,}"
        return Drift(
            cause,
            Event.UPDATE if left else Event.RESOLVE,
            self.run.check,
            str(self.run.scope),
            "",
            f"{who}: {_mostly(over)}",
            known.since,
            max(change.first.seq for change in over),
            known.first_bad,
            group=known.group,
            subjects=tuple(sorted(change.subject for change in over)),
            left=left,
            flaps=known.flaps,
        )


def _bad(cause: Cause, state: State | None) -> bool:
    return state is (State.UNDETERMINED if cause is Cause.BLIND else State.NOT_SATISFIED)


def _mended(cause: Cause, state: State | None) -> bool:
    """Whether the opposite was seen. Whoever is gone is mended; whoever cannot be read has not been seen mended."""
    if cause is Cause.BLIND:
        return state is not State.UNDETERMINED
    return state in (State.SATISFIED, State.NOT_APPLICABLE, None)


def _mostly(changes: Sequence[_Change]) -> str:
    """The reason that most of them share, and whether all do."""
    (reason, count), *others = Counter(change.reason for change in changes).most_common()
    return f"{reason} (so {count:,} of them; the others for {len(others):,} other reasons)" if others else reason
