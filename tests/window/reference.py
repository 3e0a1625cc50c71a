"""What a window should say, once more: slow, obvious, and written from the words of the design, not from the program.

Time is walked minute by minute (second by second where seconds matter), and at every step everything that is known is
looked through again. Of the program only its nouns are used. Read DESIGN section 8, docs/decisions/0002 and
docs/reference/ledger.md beside it: each function quotes the sentence that it holds the program to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from collector.export.dossier import AlertLine, Decision
from collector.model import State
from collector.window.findings import Stretch
from collector.window.slots import Declared, Due, Plan, Ran

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
CLOCKS_DIFFER = timedelta(seconds=300)  # docs/reference: clocks may differ by five minutes


def walk(since: datetime, until: datetime, step: timedelta = MINUTE) -> Iterator[datetime]:
    """Each whole step of the clock that lies in ``[since, until)``."""
    moment = since.replace(second=0, microsecond=0) if step == MINUTE else since.replace(microsecond=0)
    while moment < until:
        if moment >= since:
            yield moment
        moment += step


# --- windows: half-open, in a zone, the clock on the wall decides ---


def wall(zone: str, moment: datetime) -> datetime:
    """What the clock on the wall shows, without a zone."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def first_moment(zone: str, day: date, at: time = time()) -> datetime:
    """The first minute at which the wall clock shows this time, or, where the time is skipped, a later one."""
    wanted = datetime.combine(day, at)
    for moment in walk(wanted.replace(tzinfo=UTC) - 27 * HOUR, wanted.replace(tzinfo=UTC) + 27 * HOUR):
        if wall(zone, moment) >= wanted:
            return moment
    raise AssertionError(f"{wanted} never comes in {zone}")


def last_stroke(at: str, zone: str, moment: datetime) -> datetime:
    """The newest moment, not after ``moment``, at which the wall clock came to ``at``; once for each day."""
    day = wall(zone, moment).date()
    strokes = [first_moment(zone, day + timedelta(days=n), time.fromisoformat(at)) for n in range(-2, 2)]
    return max(stroke for stroke in strokes if stroke <= moment)


# --- slots: what the plan asks for ---


def slots_due(plans: Sequence[Plan], since: datetime, until: datetime, step: timedelta = MINUTE) -> list[Due]:
    """ "A slot is due at each unix time t of the stretch for which t - offset_s is divisible by every_s, once for each
    scope. At each moment the newest plan of the account that covers it is in force." By account, then by time."""
    found: set[Due] = set()
    for account in {plan.account for plan in plans}:
        for moment in walk(since, until, step):
            unix = (moment - EPOCH) // SECOND
            covering = [p for p in plans if p.account == account and p.since <= moment < p.until]
            for plan in covering:
                if plan.seq == max(p.seq for p in covering):
                    for item in plan.checks:
                        if (unix - item.offset_s) % item.every_s == 0:
                            found |= {Due(moment, item.check, scope, account) for scope in item.scopes}
    return sorted(found, key=lambda d: (d.account, d.at, d.check, d.scope))


# --- slots: what became of them ---


def answer(due: Due, runs: Sequence[Ran]) -> Ran | None:
    """ "The first run of a slot decides." A run says itself which slot it answers: one of another slot, scope or check
    does not, however near. Nor does one from before the slot was due: it cannot have looked then."""
    for run in sorted(runs, key=lambda run: run.seq):
        same = (run.check, run.scope, run.slot) == (due.check, due.scope, due.at)
        if same and run.started >= due.at - CLOCKS_DIFFER:
            return run
    return None


def declared(due: Due, gaps: Sequence[Declared]) -> bool:
    """ "gap (declared: why)": the slots of an account in ``[since, until)``; no checks means all of them."""
    return any(
        gap.account == due.account and gap.since <= due.at < gap.until and (due.check in gap.checks or not gap.checks)
        for gap in gaps
    )


def state_of(due: Due, runs: Sequence[Ran], gaps: Sequence[Declared], grace: timedelta) -> str:
    """ "observed, late, partial (list what was missing), gap (declared: why), missed (found by comparing)"."""
    run = answer(due, runs)
    if run is None:
        return "gap" if declared(due, gaps) else "missed"
    if run.population is None:
        return "gap"
    if run.states["undetermined"] > 0:
        return "partial"
    return "late" if run.started - due.at > grace else "observed"


def longest_gap(states: Mapping[datetime, str], until: datetime) -> tuple[timedelta, datetime | None]:
    """The longest stretch from a slot that was not covered to the next that was, or to the window's end; of equal ones
    the first. Every slot is tried as a beginning."""
    found: tuple[timedelta, datetime | None] = timedelta(0), None
    for begin in sorted(states):
        if states[begin] in ("observed", "late"):
            continue
        ends = [at for at, state in states.items() if at > begin and state in ("observed", "late")]
        length = min(ends, default=until) - begin
        if length > found[0]:
            found = length, begin
    return found


# --- subjects: what every run saw of them ---


@dataclass(frozen=True, repr=False)
class Saw:
    """A run, and each subject's state and reason in it; None where nobody could list them."""

    run: Ran
    subjects: Mapping[str, tuple[State, str]] | None

    def __repr__(self) -> str:
        """Short, since a history that fails is printed whole."""
        slot = "by hand" if self.run.slot is None else f"for {self.run.slot:%H:%M}"
        said = "blind" if self.subjects is None else {name: str(state) for name, (state, _) in self.subjects.items()}
        return f"<{self.run.seq} {self.run.check} {slot} at {self.run.started:%H:%M}: {said}>"


def stretches_of(seen: Sequence[Saw]) -> list[Stretch]:
    """What the ledger keeps: each subject's rows of equal readings. A run that could list nobody ends none."""
    found: list[Stretch] = []
    for check, scope in sorted({(saw.run.check, saw.run.scope) for saw in seen}):
        mine = [s for s in seen if (s.run.check, s.run.scope) == (check, scope) and s.subjects is not None]
        for name in sorted({name for saw in mine for name in saw.subjects or ()}):
            readings = [((saw.subjects or {}).get(name), saw.run) for saw in mine]
            for place, (reading, run) in enumerate(readings):
                if reading is None or (place and readings[place - 1][0] == reading):
                    continue
                end = next((later for other, later in readings[place:] if other != reading), None)
                found.append(
                    Stretch(
                        check,
                        scope,
                        name,
                        *reading,
                        run.seq,
                        None if end is None else end.seq,
                        run.started,
                        None if end is None else end.started,
                    )
                )
    return found


@dataclass(frozen=True)
class Bad:
    """A deviation: "first seen, last seen, duration, acceptance, mend time"."""

    check: str
    scope: str
    subject: str
    since: datetime
    until: datetime | None
    duration: timedelta
    first_bad: int
    mended_by: int | None
    began_before_window: bool
    first_seen: datetime
    last_bad: int | None


def bad_minutes(
    seen: Sequence[Saw], check: str, scope: str, subject: str, until: datetime
) -> list[tuple[datetime, int]]:
    """Each minute before ``until`` in which the subject was, as far as known, not satisfied; with the run that first
    saw it so. "Time in which it could not be read does not end it: it was not seen mended." """
    mine = [s for s in seen if (s.run.check, s.run.scope) == (check, scope) and s.subjects is not None]
    found: list[tuple[datetime, int]] = []
    if not mine:
        return found
    for moment in walk(mine[0].run.started, until):
        since: int | None = None
        for saw in mine:
            if saw.run.started > moment:
                continue
            state, _ = (saw.subjects or {}).get(subject, (None, ""))
            if state is State.NOT_SATISFIED:
                since = saw.run.seq if since is None else since
            elif state is not State.UNDETERMINED:
                since = None  # seen otherwise, or gone
        if since is not None:
            found.append((moment, since))
    return found


def bad_of(seen: Sequence[Saw], since: datetime, until: datetime) -> list[Bad]:
    """All deviations that last for at least one minute of ``[since, until)``. Runs begin at whole minutes."""
    found: list[Bad] = []
    places = {(s.run.check, s.run.scope, name) for s in seen for name in s.subjects or ()}
    for check, scope, subject in places:
        minutes = bad_minutes(seen, check, scope, subject, until)
        for first_bad in sorted({run for _, run in minutes}):
            mine = [moment for moment, run in minutes if run == first_bad]
            inside = [moment for moment in mine if moment >= since]
            if not inside:
                continue
            end = inside[-1] + MINUTE
            mender = [s.run for s in seen if (s.run.check, s.run.scope, s.run.started) == (check, scope, end)]
            looks = [
                s.run
                for s in seen
                if (s.run.check, s.run.scope) == (check, scope)
                and first_bad <= s.run.seq
                and (end >= until or s.run.started < end)
                and (s.subjects or {}).get(subject, (None, ""))[0] is State.NOT_SATISFIED
            ]
            if end >= until:  # a run may have begun after the end, and still be of the window, by its slot
                looks = _unbroken(looks, seen, check, scope, subject)
            looks = [run for run in looks if since <= (run.slot or run.started) < until]
            found.append(
                Bad(
                    check,
                    scope,
                    subject,
                    inside[0],
                    end if end < until else None,
                    len(inside) * MINUTE,
                    first_bad,
                    mender[0].seq if end < until else None,
                    mine[0] < since,
                    mine[0],
                    max((run.seq for run in looks), default=None),
                )
            )
    return sorted(found, key=lambda d: (d.since, d.check, d.scope, d.subject))


def _unbroken(looks: Sequence[Ran], seen: Sequence[Saw], check: str, scope: str, subject: str) -> list[Ran]:
    """Of the runs that saw it bad, those before any that saw it mended."""
    if not looks:
        return []
    mends = [
        s.run.seq
        for s in seen
        if (s.run.check, s.run.scope) == (check, scope)
        and s.subjects is not None
        and s.run.seq > looks[0].seq
        and s.subjects.get(subject, (None, ""))[0] not in (State.NOT_SATISFIED, State.UNDETERMINED)
    ]
    return [run for run in looks if run.seq < min(mends, default=run.seq + 1)]


# --- the determination ---


def determination(states: Sequence[str], bad: Sequence[Bad], after: bool) -> str:
    """ "satisfied: every slot covered and no deviation. not-satisfied: at least one deviation. undetermined: not every
    slot was covered". ``after``: a run that answers a slot of the window, begun after its end, saw somebody not
    satisfied. That is no deviation of the window, and nothing that could be called satisfied."""
    if bad:
        return "not-satisfied"
    if not states or after or any(state not in ("observed", "late") for state in states):
        return "undetermined"
    return "satisfied"


# --- decisions and alerts beside a deviation ---


def terms(entries: Iterable[tuple[int, datetime, datetime, int | None]]) -> dict[int, tuple[datetime, datetime]]:
    """From when to when each acceptance holds: to its expiry, or to the first entry that revokes it. ``entries`` are
    seq, time, expiry and what it revokes."""
    known = list(entries)
    return {
        seq: (at, min([expires, *(when for _, when, _, revokes in known if revokes == seq)]))
        for seq, at, expires, revoked in known
        if revoked is None
    }


def in_force(decision: Decision, subject: str, since: datetime, until: datetime) -> bool:
    """Whether it holds over the subject in any minute of ``[since, until)``."""
    mine = decision.subject in ("", subject) and decision.revokes is None
    return mine and any(decision.at <= moment < decision.ended for moment in walk(since, until))


def stood(alerts: Sequence[AlertLine], subject: str, since: datetime, until: datetime) -> list[int]:
    """The alerts that told of the subject in any minute of ``[since, until)``: from the trigger to whatever says that
    it is over for this subject."""
    found: list[int] = []
    for place, alert in enumerate(alerts):
        if alert.event != "trigger" or alert.cause != "failed" or subject not in (alert.subjects or (alert.subject,)):
            continue
        over = [
            later.at
            for later in alerts[place + 1 :]
            if later.key == alert.key
            and later.event in ("update", "resolve")
            and subject in (later.subjects or (later.subject,))
        ]
        if any(alert.at <= moment and all(moment < end for end in over) for moment in walk(since, until)):
            found.append(alert.seq)
    return found
