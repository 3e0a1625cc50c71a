"""Reads one window out of the ledger into a dossier. Writes nothing and formats nothing.

Everything comes from entries of the range that the package will hold, or from older ones that it proves one by one, so
that a stranger who has only the package finds the same: which configuration was in force, what was planned, what ran,
what was declared, what was decided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from collector import __version__, canonical
from collector.check import Stage
from collector.config import Settings, Window
from collector.errors import ConfigError, ExportError
from collector.export import changes, itself, life, outside, recorded, spots
from collector.export.dossier import (
    AlertLine,
    CheckCard,
    ControlCard,
    Decision,
    Dossier,
    Item,
    LeftOut,
    Life,
    Own,
    RunItems,
)
from collector.ledger.entry import Entry, Kind
from collector.ledger.projection import Interval
from collector.ledger.store import Ledger
from collector.model import State
from collector.tomlfile import nearest
from collector.window.coverage import by_control, coverage
from collector.window.findings import Deviation, Finding, Stretch, after_the_end, deviations, finding, without_subjects
from collector.window.frequency import Sparse, sparse
from collector.window.history import Recorded
from collector.window.itself import Beat, for_control
from collector.window.slots import Declared, Due, Plan, Ran, Slot, account_for, due, in_force, plan_from

LISTING_PAGES_MAX = 4  # a subject that rests on the listing alone names its pages, unless that would drown the table
SCOPES_TOLD = 12  # in an error


@dataclass(frozen=True)
class Filter:
    """What a window is about: checks of its controls over its scopes. No ``scopes``: all."""

    checks: frozenset[str]
    scopes: tuple[str, ...]

    def covers(self, check: str, scope: str) -> bool:
        return check in self.checks and self.reaches(scope)

    def reaches(self, scope: str) -> bool:
        return not self.scopes or any(_within(scope, known) for known in self.scopes)

    def touches(self, scope: str) -> bool:
        """Whether a scope holds one of ours, or is held by one. The ledger as a whole ("") touches everything."""
        return not scope or self.reaches(scope) or any(_within(known, scope) for known in self.scopes)


def _within(scope: str, other: str) -> bool:
    return scope == other or scope.startswith(f"{other}/")


@dataclass(frozen=True)
class Asked:
    """What is wanted of a window: some of its controls, criteria and scopes. Empty: all of them."""

    controls: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


def read(
    ledger: Ledger,
    settings: Settings,
    name: str,
    exported_at: datetime,
    *,
    upto: int | None = None,
    asked: Asked | None = None,
    by: str = "",
) -> Dossier:
    """Everything that the ledger says about the window ``name``, or what was ``asked`` for of it. A window that is
    configured no longer is the one that the ledger last defined.

    Only entries before ``upto`` are looked at; by default those of the newest checkpoint, which is what a package can
    hold: sign before exporting. Of a window that has not ended, the part is read whose runs must have begun by
    ``exported_at``. ``by`` says who exports. Raises ConfigError for an unknown window, or for a control, a criterion or
    a scope that it is not about; ExportError when there is nothing to say yet.
    """
    asked = asked or Asked()
    window, told, key, last = _window(ledger, settings, name, upto)
    since, until = _span(window, settings.schedule.grace, exported_at, name)
    plans = plans_of(entry.data for entry in ledger.entries(0, last, kinds=[Kind.PLAN]))
    plans = [plan for plan in plans if plan.since < until and plan.until > since]
    first = _first(ledger, plans, since, until)
    plans = [plan for plan in plans if plan.seq >= first]
    configs = _configs(ledger, since, until, last)
    bodies = [canonical.parse(ledger.blob(entry.data["blob"]))["controls"] for entry in configs]
    controls = _narrowed(bodies, window, name, asked)
    scopes = _scopes(plans, window, name, asked.scopes)
    about = Filter(frozenset(check for card in controls for check in card.checks), scopes)

    announced = list(ledger.entries(0, last, kinds=[Kind.CHECK]))
    ran = _runs(ledger, first, last, about, since, until, announced)
    gaps = [
        Declared(row.seq, row.account, row.checks, row.since, row.until, row.reason)
        for row in ledger.projection.gaps(since, until)
        if first <= row.seq < last
    ]
    dues, others = _dues(plans, about, since, until)
    grace = timedelta(seconds=settings.schedule.grace)
    slots, outside_slots = _accounted(dues, ran.runs, gaps, grace)
    stretches = _stretches(ledger, about, since, until, last)
    lines = coverage(slots, until)
    found = deviations(stretches, since, until)
    belated, empty = after_the_end(slots, until), without_subjects(slots)
    seldom = _seldom(plans, slots, about, since, until, window)
    counted_checks = _counted(announced)
    alerts = life.alert_lines(
        ledger.entries(0, last, kinds=life.KINDS),
        lambda entry: entry.at < until and _concerns(about, entry),
        ledger.blob,
    )
    every = life.decisions(ledger.entries(0, last, kinds=[Kind.ACCEPTANCE]))
    decided = [decision for decision in every if decision.check in about.checks and about.touches(decision.scope)]
    lives = life.lives(found, stretches, ran.runs, alerts, decided, until, plans)
    shown = tuple(d for d in decided if life.in_window(d, since, until))
    anchors = outside.anchor_lines(ledger.entries(first, last, kinds=[Kind.ANCHOR]))
    places = outside.configured(ledger, configs)
    asked_for = ledger.entries(first, last, kinds=[Kind.SPOT])
    looks = spots.spot_lines(asked_for, about.covers, since, until, ledger.blob, ran.runs, stretches)
    changed = [*changes.changes(ledger, last, since, until), *ran.principals.changes]
    known = itself.Configured(configs, announced, ledger.blob)
    beats = itself.beats_of(ledger, first, last, since, known)
    own = itself.own(beats, known, slots, alerts, anchors, changed, since, until, grace)
    rests_on = _rests_on(ledger, first, configs, ran.cards, found, lives, shown, beats, told)
    return Dossier(
        name=name,
        since=since,
        until=until,
        zone=ZoneInfo(window.zone),
        origin=ledger.origin,
        vkey=key,
        exported_at=exported_at,
        collector=__version__,
        first=first,
        last=last,
        assurance=outside.assurance(anchors, places),
        controls=controls,
        checks=ran.cards,
        slots=slots,
        runs_outside_slots=outside_slots,
        coverage=tuple(lines),
        deviations=tuple(found),
        findings=tuple(
            _by_collector(card, own)
            if card.by_collector and not card.checks
            else finding(card.id, _those(card, counted_checks), lines, found, belated, seldom, empty)
            for card in controls
        ),
        own=own,
        stretches=tuple(stretches),
        blind=_blind(ledger, about, since, until, last),
        alerts=tuple(line for line in alerts if line.at >= since),
        changes=tuple(sorted([*changed, *changes.of_window(told)], key=lambda change: change.seq)),
        items=lambda: _items(ledger, first, last, about, since, until),
        criteria=tuple(id for id in window.criteria if not asked.criteria or id in asked.criteria),
        scopes=scopes,
        chosen=tuple(sorted(asked.controls)),
        grace_s=settings.schedule.grace,
        ends=window.until if until < window.until else None,
        lives=lives,
        decisions=shown,
        anchors=tuple(anchors),
        spots=looks,
        configured=tuple(places),
        left_out=LeftOut(len({id for body in bodies for id in body}) - len(controls), others, ran.others),
        rests_on=rests_on,
        groups=_groups(line for line in alerts if line.seq >= first or line.seq in rests_on),
        by=by,
        plans=tuple(plans),
        item_rows=sum(run.population or 0 for run in ran.runs),
        control_coverage=tuple(by_control(((card.id, _those(card, counted_checks)) for card in controls), lines)),
        frequency_s=None if window.frequency is None else int(window.frequency),
        seldom=tuple(seldom),
        history=tuple(told),
    )


def _window(
    ledger: Ledger, settings: Settings, name: str, upto: int | None
) -> tuple[Window, Sequence[Recorded], str, int]:
    key = ledger.key()
    if key is None:
        raise ExportError(
            "the ledger has no key yet: run `collector db upgrade` with a log key, then collect something"
        )
    if upto is None:
        upto = max((item.size for item in ledger.checkpoints()), default=0)
    if not upto:
        raise ExportError("the ledger has no checkpoint yet: nothing was signed; run `collector once` first")
    known = recorded.histories(ledger, upto)
    return recorded.window(settings, known, name), known.get(name, ()), str(key), upto


def _span(window: Window, grace_s: int, exported_at: datetime, name: str) -> tuple[datetime, datetime]:
    """The part of a window that can be spoken of: up to its end, or up to the last slot whose grace is over."""
    until = window.until
    if exported_at < until:
        until = exported_at - timedelta(seconds=grace_s)
    if until <= window.since:
        raise ExportError(f"the window {name} begins {canonical.stamp(window.since)}: nothing was due in it yet")
    return window.since, until


def _first(ledger: Ledger, plans: Sequence[Plan], since: datetime, until: datetime) -> int:
    """The newest checkpoint before every plan that is in force at any time in the window, and before every run of it,
    which may be older than they are where the clock was set back; 0 without one."""
    by_account: dict[str, list[Plan]] = {}
    for plan in plans:
        by_account.setdefault(plan.account, []).append(plan)
    used = [
        plan.seq
        for known in by_account.values()
        for begin, end, plan in in_force(known)
        if begin < until and end > since
    ]
    checkpoints = ledger.checkpoints()
    if used:
        ran = next((row.seq for row in ledger.projection.runs(since, until)), min(used))
        begun = min(*used, ran)
        return max((item.size for item in checkpoints if item.size <= begun), default=0)
    return max((item.size for item in checkpoints[:-1] if item.at <= since), default=0)


def plans_of(bodies: Iterable[Mapping[str, Any]]) -> list[Plan]:
    """Plans out of the bodies of their entries. A plan is written each day and mostly asks for the same: that is one
    object then, since those of a year would fill the memory."""
    found: list[Plan] = []
    newest: dict[str, Plan] = {}
    for data in bodies:
        plan = plan_from(data)
        before = newest.get(plan.account)
        if before is not None and before.checks == plan.checks:
            plan = replace(plan, checks=before.checks)
        newest[plan.account] = plan
        found.append(plan)
    return found


def _accounted(
    dues: Sequence[Due], runs: Sequence[Ran], gaps: Sequence[Declared], grace: timedelta
) -> tuple[tuple[Slot, ...], tuple[Ran, ...]]:
    """Every due slot with what became of it, and the runs that answer none. One account after the other: what finds
    the runs of a slot is larger than the runs themselves."""
    by_account: dict[str, list[Ran]] = {}
    for run in runs:
        by_account.setdefault(run.account, []).append(run)
    slots: list[Slot] = []
    outside: list[Ran] = []
    for account, mine in groupby(dues, key=lambda item: item.account):
        asked = list(mine)
        known = by_account.pop(account, [])
        slots += account_for(asked, known, gaps, grace)
        planned = {(item.check, item.scope, item.at) for item in asked}
        outside += (run for run in known if (run.check, run.scope, run.slot) not in planned)
    for left in by_account.values():
        outside += left
    return tuple(slots), tuple(sorted(outside, key=lambda run: run.seq))


def _dues(plans: Iterable[Plan], about: Filter, since: datetime, until: datetime) -> tuple[list[Due], int]:
    """What was due and is covered, and how much was due and is not."""
    dues: list[Due] = []
    others = 0
    for item in due(plans, since, until):
        if about.covers(item.check, item.scope):
            dues.append(item)
        else:
            others += 1
    return dues, others


# --- what was in force, and what is asked for of it ---


def _configs(ledger: Ledger, since: datetime, until: datetime, last: int) -> list[Entry]:
    """The configurations that were in force in the window, oldest first."""
    known = list(ledger.entries(0, last, kinds=[Kind.CONFIG]))
    if not known:
        raise ExportError("the ledger holds no configuration: nothing was ever collected; run `collector once` first")
    before = [entry for entry in known if entry.at <= since]
    inside = [entry for entry in known if since < entry.at < until]
    return before[-1:] + inside or known[:1]


def _controls(configs: Iterable[Mapping[str, Any]], criteria: Collection[str]) -> tuple[ControlCard, ...]:
    """A control that was removed in the window, and a check that was unbound in it, still stand in it."""
    cards: dict[str, ControlCard] = {}
    for controls in configs:
        for id, control in controls.items():
            if not set(control["criteria"]) & set(criteria):
                continue
            before = cards[id].checks if id in cards else ()
            checks = (*control["checks"], *(check for check in before if check not in control["checks"]))
            cards[id] = ControlCard(
                id,
                control["title"],
                control["owner"],
                tuple(control["criteria"]),
                checks,
                control["cadence_s"],
                control.get("by_hand", ""),
                control.get("by_collector", False),
            )
    return tuple(cards[id] for id in sorted(cards))


def _narrowed(configs: Sequence[Mapping[str, Any]], window: Window, name: str, asked: Asked) -> tuple[ControlCard, ...]:
    """The controls that serve the window's criteria, of those the ones that are asked for. Raises ConfigError."""
    mine = _controls(configs, window.criteria)
    known = [card.id for card in mine]
    for id in asked.criteria:
        if id not in window.criteria:
            raise ConfigError(f"the window {name} is not about the criterion {id!r}; {nearest(id, window.criteria)}")
    for id in asked.controls:
        if id not in known:
            raise ConfigError(f"no control {id!r} serves the criteria of the window {name}; {nearest(id, known)}")
    found = _controls(configs, asked.criteria) if asked.criteria else mine
    found = tuple(card for card in found if not asked.controls or card.id in asked.controls)
    if not found and (asked.controls or asked.criteria):
        wanted = ", ".join((*asked.controls, *asked.criteria))
        raise ConfigError(f"no control of the window {name} is all of this: {wanted}; ask for fewer at once")
    return found


def _scopes(plans: Sequence[Plan], window: Window, name: str, asked: Sequence[str]) -> tuple[str, ...]:
    """The scopes that are asked for, each within the window's and planned in it. Raises ConfigError."""
    if not asked:
        return window.scopes
    planned = {scope for plan in plans for item in plan.checks for scope in item.scopes}
    planned |= {plan.account for plan in plans}
    for scope in asked:
        if window.scopes and not any(_within(scope, known) for known in window.scopes):
            raise ConfigError(
                f"the window {name} is not about the scope {scope!r}; it is about {', '.join(window.scopes)}"
            )
        if scope not in planned:
            told = sorted(planned)
            more = f" and {len(told) - SCOPES_TOLD} more" if len(told) > SCOPES_TOLD else ""
            hint = nearest(scope, planned) if planned else "nothing was planned in it"
            raise ConfigError(
                f"nothing was planned over the scope {scope!r} in the window {name}; {hint}. "
                f"Planned were {', '.join(told[:SCOPES_TOLD])}{more}"
            )
    return tuple(sorted(set(asked)))


def _by_collector(card: ControlCard, own: Own) -> Finding:
    """The collector's own finding for a control that it is the evidence of. Slots of checks are none of its own."""
    state, words = for_control(own.found, card.criteria)
    return Finding(card.id, state, 0, 0, (), timedelta(0), words)


def _seldom(
    plans: Iterable[Plan], slots: Iterable[Slot], about: Filter, since: datetime, until: datetime, window: Window
) -> list[Sparse]:
    """What was planned less often than the window promises."""
    if window.frequency is None:
        return []
    return sparse(plans, slots, about.covers, since, until, timedelta(seconds=window.frequency))


def _those(card: ControlCard, counted_checks: Collection[str]) -> list[str]:
    return [check for check in card.checks if check in counted_checks]


def _counted(announced: Iterable[Entry]) -> frozenset[str]:
    """Checks in preview are observed, not counted."""
    stages = {entry.data["check"]: entry.data["stage"] for entry in announced}
    return frozenset(id for id, stage in stages.items() if stage != Stage.PREVIEW.value)


def _concerns(about: Filter, alert: Entry) -> bool:
    """Slots that were missed concern a whole account, places outside the whole ledger."""
    check = alert.data["check"]
    return (not check or check in about.checks) and about.touches(alert.data["scope"])


def _groups(alerts: Iterable[AlertLine]) -> tuple[str, ...]:
    """The blobs with the names of every group of alerts that a reader comes across."""
    return tuple(sorted({line.listed for line in alerts if line.listed}))


def _rests_on(
    ledger: Ledger,
    first: int,
    configs: Iterable[Entry],
    cards: Iterable[CheckCard],
    found: Iterable[Deviation],
    lives: Iterable[Life],
    decided: Iterable[Decision],
    beats: Iterable[Beat],
    told: Iterable[Recorded],
) -> tuple[int, ...]:
    """The entries before the range that something in the dossier rests on; a package proves each of them."""
    wanted = {entry.seq for entry in ledger.entries(0, first, kinds=[Kind.KEY])}
    wanted |= {entry.seq for entry in configs}
    wanted |= {card.first_used for card in cards}
    wanted |= {deviation.first_bad for deviation in found}
    wanted |= {beat.seq for beat in beats}
    wanted |= {one.seq for one in told}
    for one in lives:
        wanted |= {alert.seq for alert in one.alerts}
        wanted |= {ack.seq for alert in one.alerts for ack in alert.acks}
        wanted |= {seq for alert in one.alerts for seq in (*alert.delivered_by, *alert.ended_by)}
    # with what ended each of them, also before the window: else a reader takes it for standing
    for decision in (*decided, *(known for one in lives for known in one.decisions)):
        wanted |= {seq for seq in (decision.seq, decision.revokes, decision.ended_by) if seq is not None}
    return tuple(sorted(seq for seq in wanted if seq < first))


# --- what ran ---


def in_window(data: Mapping[str, Any], since: datetime, until: datetime) -> bool:
    """Whether a run entry is of the window: by the slot that it answers, or by its start when it was made by hand."""
    return since <= canonical.moment(data.get("slot") or data["started"]) < until


@dataclass(frozen=True)
class _Ran:
    runs: list[Ran]
    cards: tuple[CheckCard, ...]
    principals: changes.Principals
    others: int  # runs of the window that are left out


def _runs(
    ledger: Ledger,
    first: int,
    last: int,
    about: Filter,
    since: datetime,
    until: datetime,
    announced: Sequence[Entry],
) -> _Ran:
    runs: list[Ran] = []
    others = 0
    words: dict[str, str] = {}  # runs of a year name the same few things, and count the same: one object for each
    moments: dict[str, datetime] = {}
    counts: dict[tuple[int, ...], Mapping[str, int]] = {}
    cards: dict[int, CheckCard] = {}
    principals = changes.Principals(since, until)
    by_check: dict[str, list[Entry]] = {}
    for entry in announced:
        by_check.setdefault(entry.data["check"], []).append(entry)
    for entry in ledger.entries(first, last, kinds=[Kind.RUN]):
        data = entry.data
        if about.touches(data["account"]):
            principals.add(entry)
        if not in_window(data, since, until):
            continue
        if not about.covers(data["check"], data["scope"]):
            others += 1
            continue
        card = _card(by_check.get(data["check"], ()), entry)
        cards.setdefault(card.first_used, card)
        slot = data["slot"]
        if slot is not None and slot not in moments:
            moments[slot] = canonical.moment(slot)
        runs.append(
            Ran(
                seq=entry.seq,
                account=words.setdefault(data["account"], data["account"]),
                check=words.setdefault(data["check"], data["check"]),
                scope=words.setdefault(data["scope"], data["scope"]),
                slot=None if slot is None else moments[slot],
                started=canonical.moment(data["started"]),
                finished=canonical.moment(data["finished"]),
                population=data["population"],
                states=counts.setdefault(tuple(data["states"].values()), data["states"]),
                failure=words.setdefault(data["failure"], data["failure"]),
                reason=words.setdefault(data["reason"], data["reason"]),
            )
        )
    ordered = tuple(sorted(cards.values(), key=lambda card: (card.id, card.first_used)))
    return _Ran(runs, ordered, principals, others)


def _card(announced: Sequence[Entry], run: Entry) -> CheckCard:
    """The check entry that a run was made under: the newest before it that says the same."""
    used = [run.data[name] for name in ("version", "code", "limits")]
    for entry in reversed(announced):
        data = entry.data
        if entry.seq < run.seq and [data[name] for name in ("version", "code", "limits")] == used:
            return CheckCard(
                id=data["check"],
                version=data["version"],
                code=data["code"],
                title=data["title"],
                family=data["family"],
                criteria=tuple(data["criteria"]),
                stage=data["stage"],
                limits=data["limits"],
                first_used=entry.seq,
            )
    raise ExportError(
        f"run {run.seq} was judged by version {used[0]} of {run.data['check']}, which no entry before it announces; "
        "run `collector db verify`"
    )


def _items(
    ledger: Ledger, first: int, last: int, about: Filter, since: datetime, until: datetime
) -> Iterator[RunItems]:
    held: dict[tuple[str, str], RunItems] = {}  # mostly nothing changed since the run before
    for entry in ledger.entries(first, last, kinds=[Kind.RUN]):
        data = entry.data
        if (
            data["population"] is None
            or not about.covers(data["check"], data["scope"])
            or not in_window(data, since, until)
        ):
            continue
        pair, digest = (data["check"], data["scope"]), data["observations"]
        before = held.get(pair)
        items = before.items if before is not None and before.observations == digest else _seen(ledger.blob(digest))
        slot = None if data["slot"] is None else canonical.moment(data["slot"])
        held[pair] = RunItems(entry.seq, slot, data["check"], data["scope"], digest, items)
        yield held[pair]


def _seen(observations: bytes) -> list[Item]:
    """The subjects of an observations blob, ordered by name."""
    observed = canonical.parse(observations)
    ids = observed["exchanges"]
    listing = observed["listing"] if len(observed["listing"]) <= LISTING_PAGES_MAX else []
    return [
        Item(
            subject=subject["subject"],
            state=subject["state"],
            reason=subject["reason"],
            facts=subject["facts"],
            evidence=tuple(ids[place] for place in subject["exchanges"] or listing),
        )
        for subject in observed["subjects"]
    ]


# --- states over time ---


def _stretches(ledger: Ledger, about: Filter, since: datetime, until: datetime, last: int) -> list[Stretch]:
    """All stretches that touch the window, and before them those that lead into one nobody could read.

    A deviation that could not be read when the window began did not begin in it.
    """
    found = [_stretch(item, last) for item in ledger.projection.intervals(since, until) if item.from_run < last]
    found = [item for item in found if about.covers(item.check, item.scope)]
    unread = {(i.check, i.scope) for i in found if i.state is State.UNDETERMINED and i.from_at < since}
    wanted = {
        (i.check, i.scope, i.subject): i.from_run for i in found if i.state is State.UNDETERMINED and i.from_at < since
    }
    earlier: list[Stretch] = []
    for check, scope in sorted(unread):
        before = [_stretch(item, last) for item in ledger.projection.intervals(None, since, check, scope)]
        for item in sorted(before, key=lambda i: i.from_run, reverse=True):
            place = (check, scope, item.subject)
            if place in wanted and item.to_run == wanted[place]:
                earlier.append(item)
                wanted[place] = item.from_run
    return earlier + found


def _stretch(item: Interval, last: int) -> Stretch:
    """An interval as it stood when the range ends."""
    closed = item.to_run is not None and item.to_run < last
    return Stretch(
        check=item.check,
        scope=item.scope,
        subject=item.subject,
        state=item.state,
        reason=item.reason,
        from_run=item.from_run,
        to_run=item.to_run if closed else None,
        from_at=item.from_at,
        to_at=item.to_at if closed else None,
    )


def _blind(ledger: Ledger, about: Filter, since: datetime, until: datetime, last: int) -> tuple[Stretch, ...]:
    return tuple(
        _stretch(
            Interval(i.check, i.scope, "", State.UNDETERMINED, i.reason, i.from_run, i.to_run, i.from_at, i.to_at), last
        )
        for i in ledger.projection.scope_intervals(since, until, seen=False)
        if i.from_run < last and about.covers(i.check, i.scope)
    )
