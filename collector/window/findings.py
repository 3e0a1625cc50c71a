"""What the observations of a window mean: deviations with their life, and one finding a control. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collector.model import State
from collector.window.coverage import Coverage
from collector.window.frequency import Sparse
from collector.window.slots import COVERED, Slot


@dataclass(frozen=True, slots=True)
class Stretch:
    """One subject in one state, from the run that first saw it to the run that saw something else (None: still)."""

    check: str
    scope: str
    subject: str
    state: State
    reason: str
    from_run: int
    to_run: int | None
    from_at: datetime
    to_at: datetime | None


@dataclass(frozen=True)
class Deviation:
    """A stretch of time in which a subject was not satisfied. Printed as "exception" in exports.

    ``since`` and ``until`` are clipped to the window; ``until`` None means that it stood open at the window's end.
    ``mended_by`` is the run that saw it mended, None while open. Time in which the subject could not be read does not
    end a deviation: it was not seen mended.
    """

    check: str
    scope: str
    subject: str
    reason: str
    since: datetime
    until: datetime | None
    duration: timedelta
    first_bad: int
    mended_by: int | None
    began_before_window: bool


def deviations(stretches: Iterable[Stretch], since: datetime, until: datetime) -> list[Deviation]:
    """All deviations that touch ``[since, until)``, ordered by their beginning."""
    by_subject: dict[tuple[str, str, str], list[Stretch]] = {}
    for stretch in stretches:
        by_subject.setdefault((stretch.check, stretch.scope, stretch.subject), []).append(stretch)
    found: list[Deviation] = []
    for known in by_subject.values():
        known.sort(key=lambda s: s.from_run)
        found += _of_one(known, since, until)
    return sorted(found, key=lambda d: (d.since, d.check, d.scope, d.subject))


def _of_one(known: Sequence[Stretch], since: datetime, until: datetime) -> list[Deviation]:
    found: list[Deviation] = []
    index = 0
    while index < len(known):
        first = known[index]
        index += 1
        if first.state is not State.NOT_SATISFIED:
            continue
        last = first
        while index < len(known) and _continues(last, known[index]):
            last = known[index]
            index += 1
        end = last.to_at
        if first.from_at >= until or (end is not None and end <= since):
            continue
        begun = max(first.from_at, since)
        mended = end if end is not None and end < until else None
        found.append(
            Deviation(
                check=first.check,
                scope=first.scope,
                subject=first.subject,
                reason=first.reason,
                since=begun,
                until=mended,
                duration=(mended or until) - begun,
                first_bad=first.from_run,
                mended_by=last.to_run if mended else None,
                began_before_window=first.from_at < since,
            )
        )
    return found


def _continues(before: Stretch, after: Stretch) -> bool:
    """Whether ``after`` follows without a hole and is no sign of mending."""
    return after.from_run == before.to_run and after.state in (State.NOT_SATISFIED, State.UNDETERMINED)


def after_the_end(slots: Iterable[Slot], until: datetime) -> list[Slot]:
    """The covered slots of a window whose runs began when it was over, and found somebody not satisfied.

    What such a run saw is no deviation of the window, since nothing is written back; nor can anybody say that all was
    well when its slot was due.
    """
    return [
        slot
        for slot in slots
        if slot.run is not None
        and slot.run.started >= until
        and slot.state in COVERED
        and slot.run.states.get(State.NOT_SATISFIED.value, 0)
    ]


def without_subjects(slots: Iterable[Slot]) -> frozenset[str]:
    """The checks that had nobody to look at in any covered slot: each listing was complete, and empty."""
    most: dict[str, int] = {}
    for slot in slots:
        if slot.run is not None and slot.state in COVERED:
            most[slot.due.check] = max(most.get(slot.due.check, 0), slot.run.population or 0)
    return frozenset(check for check, population in most.items() if not population)


@dataclass(frozen=True)
class Finding:
    """The determination for one control over a window.

    ``satisfied``: every slot covered and no deviation. ``not-satisfied``: at least one deviation. ``undetermined``: no
    deviation was seen, and not every slot was covered, or one was only answered after the window's end and then badly,
    or less was planned than the window promises, so nobody can say that there was none. ``not-applicable``: the control
    binds no check, or its checks had nobody to look at in any slot, which is a fact and no pass.
    """

    control: str
    state: State
    due: int
    covered: int
    deviations: tuple[Deviation, ...]
    longest_gap: timedelta
    words: str


def finding(
    control: str,
    checks: Sequence[str],
    lines: Iterable[Coverage],
    found: Iterable[Deviation],
    after: Iterable[Slot] = (),
    seldom: Iterable[Sparse] = (),
    empty: Collection[str] = (),
) -> Finding:
    """One control's finding from the coverage and the deviations of the whole window.

    ``after`` are the slots that ``after_the_end`` names, ``seldom`` what was planned less often than the window
    promises, ``empty`` the checks that ``without_subjects`` names, of any control.
    """
    mine = [line for line in lines if line.check in checks]
    bad = tuple(deviation for deviation in found if deviation.check in checks)
    due, covered = sum(line.due for line in mine), sum(line.covered for line in mine)
    longest = max((line.longest_gap for line in mine), default=timedelta(0))
    belated = sum(slot.due.check in checks for slot in after)
    rare = sum(item.check in checks for item in seldom)
    lanes = "check over a scope" if rare == 1 else "checks over scopes"
    thin = [f"{rare} {lanes} planned less often than the window promises"] if rare else []
    if not checks:
        state, words = State.NOT_APPLICABLE, "no check is bound to it: it is evidenced elsewhere"
    elif bad:
        state, words = State.NOT_SATISFIED, f"{len(bad)} {'exception' if len(bad) == 1 else 'exceptions'}"
    elif belated and covered == due:
        state = State.UNDETERMINED
        words = f"no exception seen; {belated} of {due} slots answered after the window's end, and then not satisfied"
    elif due and covered == due and not thin and all(line.check in empty for line in mine):
        state, words = State.NOT_APPLICABLE, "nothing to look at: 0 subjects in every slot, each listing complete"
    elif due and covered == due and not thin:
        state, words = State.SATISFIED, "operated in every slot, no exception"
    else:
        missing = due - covered
        state = State.UNDETERMINED
        parts = [f"{missing} of {due} slots not fully observed"] if missing else []
        words = "; ".join(["no exception seen", *parts, *thin]) if due else "; ".join(["nothing was due", *thin])
    return Finding(control, state, due, covered, bad, longest, words)
