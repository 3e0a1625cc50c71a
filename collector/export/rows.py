"""The rows of each table, out of a dossier. Formats nothing and computes no verdict; columns.py names the columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from collector.export.dossier import AlertLine, Decision, Dossier, Life, RunItems
from collector.export.words import delivered, duration, utc
from collector.export.workbook import Row, Value
from collector.ledger.entry import population_digest
from collector.model import State
from collector.window.coverage import ControlCoverage, Coverage, percent
from collector.window.slots import Ran


def results(dossier: Dossier) -> Iterator[Row]:
    for slot in dossier.slots:
        run = slot.run
        yield (
            slot.due.account,
            slot.due.check,
            slot.due.scope,
            slot.due.at,
            slot.state.value,
            run.seq if run else None,
            run.started if run else None,
            int((run.started - slot.due.at).total_seconds()) if run else None,
            run.population if run else None,
            *_counts(run),
            slot.reason,
            slot.gap.seq if slot.gap else None,
            slot.runs,
        )


def _counts(run: Ran | None) -> list[Value]:
    if run is None or run.population is None:
        return [None] * len(State)
    return [run.states.get(state.value, 0) for state in State]


def states(dossier: Dossier) -> Iterator[Row]:
    """Every stretch that touches the window, those of whole scopes that nobody could list among them."""
    together = [*dossier.stretches, *dossier.blind]
    for s in sorted(together, key=lambda s: (s.check, s.scope, s.subject, s.from_run)):
        if s.from_at < dossier.until and (s.to_at is None or s.to_at > dossier.since):
            ended = s.to_at is not None and s.to_at < dossier.until
            yield (
                s.check,
                s.scope,
                s.subject,
                s.state.value,
                s.reason,
                s.from_at,
                s.to_at if ended else None,
                s.from_run,
                s.to_run if ended else None,
            )


def exceptions(dossier: Dossier) -> Iterator[Row]:
    controls: dict[str, list[str]] = {}
    for control in dossier.controls:
        for check in control.checks:
            controls.setdefault(check, []).append(control.id)
    for d, life in zip(dossier.deviations, dossier.lives, strict=True):
        yield (
            " ".join(controls.get(d.check, ())),
            d.check,
            d.scope,
            d.subject,
            d.reason,
            d.since,
            d.until,
            int(d.duration.total_seconds()),
            duration(d.duration),
            d.first_bad,
            d.mended_by,
            d.began_before_window,
            d.until is None,
            " ".join(str(alert.seq) for alert in life.alerts),
            "; ".join(f"{channel} {utc(at)}" for alert in life.alerts for channel, at in delivered(alert)),
            life.first_seen,
            life.last_seen,
            life.last_bad,
            min((alert.at for alert in life.alerts), default=None),
            *_acknowledged(life.alerts),
            *_accepted(life),
            life.unobserved,
            life.unobserved_by,
        )


def _acknowledged(alerts: Iterable[AlertLine]) -> tuple[Value, Value, Value]:
    """When first, who with what they said, and the entries of all acknowledgements."""
    acks = sorted((ack for alert in alerts for ack in alert.acks), key=lambda ack: ack.seq)
    if not acks:
        return None, "", ""
    said = "; ".join(f"{ack.person}: {ack.note}" if ack.note else ack.person for ack in acks)
    return acks[0].at, said, " ".join(str(ack.seq) for ack in acks)


def _accepted(life: Life) -> tuple[Value, Value, Value, Value, Value]:
    made = life.decisions
    if not made:
        return None, None, "", "", ""
    return (
        made[0].at,
        max(decision.ended for decision in made),
        "; ".join(dict.fromkeys(decision.approver for decision in made)),
        "; ".join(dict.fromkeys(_because(decision) for decision in made)),
        " ".join(str(decision.seq) for decision in made),
    )


def _because(decision: Decision) -> str:
    return f"{decision.reason} ({decision.ticket})" if decision.ticket else decision.reason


def coverage(dossier: Dossier) -> Iterator[Row]:
    for line in dossier.coverage:
        yield (line.check, line.scope, *_counted(line))


def _counted(line: Coverage | ControlCoverage) -> Row:
    """What the tables of coverage have in common, from ``due`` to ``longest_gap_since``."""
    return (
        line.due,
        line.covered,
        line.observed,
        line.late,
        line.partial,
        line.gap,
        line.missed,
        percent(line.covered, line.due),
        int(line.longest_gap.total_seconds()),
        duration(line.longest_gap),
        line.longest_gap_since,
    )


def coverage_by_control(dossier: Dossier) -> Iterator[Row]:
    seldom = {(item.check, item.scope): item for item in dossier.seldom}
    for line in dossier.control_coverage:
        rare = [seldom[check, line.scope] for check in line.checks if (check, line.scope) in seldom]
        longest = max((item.longest for item in rare), default=None)
        yield (
            line.control,
            line.scope,
            " ".join(line.checks),
            *_counted(line),
            None if longest is None else int(longest.total_seconds()),
            min((item.since for item in rare if item.longest == longest), default=None),
        )


def reconciliation(dossier: Dossier) -> Iterator[Row]:
    for line in dossier.reconciled:
        yield (
            line.account,
            line.what,
            line.since,
            line.last,
            line.looks,
            line.planned,
            line.source,
            line.counted,
            line.second,
            line.second_counted,
            "" if line.agree is None else "yes" if line.agree else "no",
            line.difference,
            line.entry,
            line.calls,
        )


def changes(dossier: Dossier) -> Iterator[Row]:
    for change in dossier.changes:
        yield change.seq, change.at, change.kind, change.what


def alerts(dossier: Dossier) -> Iterator[Row]:
    for a in dossier.alerts:
        yield (
            a.seq,
            a.at,
            a.event,
            a.cause,
            a.check,
            a.scope,
            a.subject,
            a.control,
            a.owner,
            a.reason,
            a.key,
            bool(delivered(a)),
            "; ".join(f"{channel} {outcome} {utc(at)}" for channel, outcome, at in a.deliveries),
            *_acknowledged([a]),
            a.unobserved,
        )


def spots(dossier: Dossier) -> Iterator[Row]:
    for line in dossier.spots:
        yield (
            line.seq,
            line.at,
            line.feed,
            " ".join(line.events),
            line.since,
            int((line.at - line.since).total_seconds()),
            line.started,
            line.account,
            line.check,
            line.scope,
            line.subject,
            line.before,
            line.after,
            line.reason,
            line.calls,
        )


def decisions(dossier: Dossier) -> Iterator[Row]:
    covered: dict[int, int] = {}
    for life in dossier.lives:
        for decision in life.decisions:
            covered[decision.seq] = covered.get(decision.seq, 0) + 1
    for d in dossier.decisions:
        yield (
            d.seq,
            d.at,
            "accepted" if d.revokes is None else "revoked",
            d.control,
            d.check,
            d.scope,
            d.subject,
            d.approver,
            d.reason,
            d.ticket,
            d.expires,
            d.ended,
            d.revokes,
            d.ended_by,
            covered.get(d.seq, 0) if d.revokes is None else None,
        )


class Names(NamedTuple):
    """The subjects of a run that decides no slot, gathered while the items pass by."""

    check: str
    scope: str
    slot: datetime | None
    size: int
    digest: str


class Seen:
    """What the items say of each run: the digest over its subjects, and more of a run that is no slot's nor by hand.

    Of a year there are hundreds of thousands: each is held once.
    """

    def __init__(self, dossier: Dossier) -> None:
        self.runs = {slot.run.seq: slot.run for slot in dossier.slots if slot.run is not None}
        self.runs.update((run.seq, run) for run in dossier.runs_outside_slots)
        self.digests: dict[int, str] = {}
        self.further: dict[int, Names] = {}  # of a slot that another run decided

    def add(self, run: RunItems, size: int, digest: str) -> None:
        """Raises ValueError when a run comes twice (a digest over half of its subjects would be wrong), or lists other
        subjects than its entry says: such a package must not be written."""
        if run.run in self.digests or run.run in self.further:
            raise ValueError(f"the items of run {run.run} come twice; see `collector db verify`")
        known = self.runs.get(run.run)
        if known is None:
            self.further[run.run] = Names(run.check, run.scope, run.slot, size, digest)
            return
        if known.population != size:
            raise ValueError(
                f"run {run.run} lists {size} subjects, its entry says {known.population}; see `collector db verify`"
            )
        self.digests[run.run] = digest


def populations(dossier: Dossier, seen: Seen) -> Iterator[Row]:
    """One row a run, by check and scope. ``seen`` is what passed by when the items were written."""
    ordered = sorted(seen.runs.values(), key=attrgetter("seq"))
    for name in ("scope", "check"):  # stable, so the last one counts most
        ordered.sort(key=attrgetter(name))
    further = sorted((names.check, names.scope, seq) for seq, names in seen.further.items())
    place = 0
    for run in ordered:
        while place < len(further) and further[place] < (run.check, run.scope, run.seq):
            yield _further(further[place][2], seen)
            place += 1
        digest = seen.digests.get(run.seq) or (population_digest(()) if run.population == 0 else "")
        listing = "none" if run.population is None else "complete"
        yield (
            run.check,
            run.scope,
            run.seq,
            run.slot,
            run.started,
            run.population,
            listing,
            *_counts(run),
            digest,
            run.reason,
        )
    for _, _, seq in further[place:]:
        yield _further(seq, seen)


def _further(seq: int, seen: Seen) -> Row:
    """A further run of a slot that another run decided: its subjects are in the package all the same."""
    names = seen.further[seq]
    counts = _counts(None)
    return names.check, names.scope, seq, names.slot, None, names.size, "complete", *counts, names.digest, ""


def anchors(dossier: Dossier) -> Iterator[Row]:
    for line in dossier.anchors:
        inside = line.size and dossier.first <= line.size <= dossier.last
        yield (
            line.seq,
            line.at,
            line.anchor,
            line.outcome,
            line.size,
            line.time,
            line.where,
            line.file,
            f"checkpoints/{line.size:020d}.note" if inside else "",
            line.failure,
            line.reason,
        )


def collector(dossier: Dossier) -> Iterator[Row]:
    for event in dossier.own.events:
        entries = " ".join(map(str, event.entries))
        yield event.event, event.at, event.until, event.count, event.amiss, entries, event.what
