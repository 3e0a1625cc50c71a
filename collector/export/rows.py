"""The rows of each table, out of a dossier. Formats nothing and computes no verdict; columns.py names the columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from collector.export.dossier import AlertLine, Decision, Dossier, Life
from collector.export.words import delivered, duration, utc
from collector.export.workbook import Row, Value
from collector.ledger.entry import population_digest
from collector.model import State
from collector.window.coverage import percent
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
        yield (
            line.check,
            line.scope,
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
    """The subjects of one run, gathered while the items pass by."""

    check: str
    scope: str
    slot: datetime | None
    size: int
    digest: str


def populations(dossier: Dossier, seen: dict[int, Names]) -> Iterator[Row]:
    """One row a run, by check and scope. ``seen`` is what passed by when the items were written.

    Raises ValueError when a run's items are not as many as its entry says: such a package must not be written.
    """
    runs = {slot.run.seq: slot.run for slot in dossier.slots if slot.run} | {
        run.seq: run for run in dossier.runs_outside_slots
    }
    keys = [(run.check, run.scope, run.seq) for run in runs.values()]
    keys += [(names.check, names.scope, seq) for seq, names in seen.items() if seq not in runs]
    for check, scope, seq in sorted(keys):
        run, names = runs.get(seq), seen.get(seq)
        if run is None:
            # A further run of a slot that another run decided: its subjects are in the package all the same.
            assert names is not None
            yield (check, scope, seq, names.slot, None, names.size, "complete", *_counts(None), names.digest, "")
            continue
        if names is not None and names.size != run.population:
            raise ValueError(
                f"run {seq} lists {names.size} subjects, its entry says {run.population}; see `collector db verify`"
            )
        digest = names.digest if names else population_digest(()) if run.population == 0 else ""
        listing = "none" if run.population is None else "complete"
        yield (check, scope, seq, run.slot, run.started, run.population, listing, *_counts(run), digest, run.reason)


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
