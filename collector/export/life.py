"""What became of alerts and deviations: who was told, who took note, who decided to live with it, and until when.

Entries in, values out. A decision changes no verdict: it stands beside the deviation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from collector import canonical
from collector.export.dossier import AckLine, AlertLine, Decision, Life
from collector.export.words import ENDS, AlertBook
from collector.ledger.entry import Entry, Kind
from collector.model import Scope, State
from collector.window.findings import Deviation, Stretch
from collector.window.slots import Plan, Ran, in_force

KINDS = (Kind.ALERT, Kind.DELIVERY, Kind.ACK)


def alert_lines(
    entries: Iterable[Entry], wanted: Callable[[Entry], bool], blob: Callable[[str], bytes]
) -> list[AlertLine]:
    """The alerts that are wanted, each with its deliveries and acknowledgements, in the order of the ledger.

    ``blob`` reads the list of a group's names.
    """
    found: dict[int, AlertLine] = {}
    begun: dict[str, int] = {}  # the trigger of each key that stands open
    ends: dict[int, list[int]] = {}
    deliveries: dict[int, list[tuple[str, str, datetime]]] = {}
    acks: dict[int, list[AckLine]] = {}
    delivered: dict[int, list[int]] = {}
    for entry in entries:
        data = entry.data
        if entry.kind is Kind.DELIVERY and data["alert"] in found:
            deliveries.setdefault(data["alert"], []).append((data["channel"], data["outcome"], entry.at))
            if data["outcome"] == "delivered":
                delivered.setdefault(data["alert"], []).append(entry.seq)
        elif entry.kind is Kind.ACK and data["alert"] in found:
            ack = AckLine(entry.seq, entry.at, data["person"], data["note"], data["via"])
            acks.setdefault(data["alert"], []).append(ack)
        elif entry.kind is Kind.ALERT and wanted(entry):
            names = ("key", "event", "cause", "check", "scope", "subject", "control", "owner", "reason")
            words = {name: data[name] for name in names}
            words["held"] = _held(data)
            listed = data.get("list", "")
            subjects = tuple(canonical.parse(blob(listed))) if listed else ()
            found[entry.seq] = AlertLine(
                seq=entry.seq,
                at=entry.at,
                deliveries=(),
                subjects=subjects,
                listed=listed,
                unobserved=data.get("unobserved", False),
                **words,
            )
            if data["event"] == "trigger":
                begun[data["key"]] = entry.seq
            elif data["event"] in ENDS and data["key"] in begun:
                ends.setdefault(begun[data["key"]], []).append(entry.seq)
    return [
        replace(
            line,
            deliveries=tuple(deliveries.get(seq, ())),
            acks=tuple(acks.get(seq, ())),
            delivered_by=tuple(delivered.get(seq, ())),
            ended_by=tuple(ends.get(seq, ())),
        )
        for seq, line in found.items()
    ]


def _held(alert: Mapping[str, Any]) -> datetime | None:
    """Until when quiet hours keep an alert from every one of its channels."""
    quiet = alert.get("quiet", {})
    if not quiet or not set(alert["channels"]) <= quiet.keys():
        return None
    return canonical.moment(min(quiet.values()))


def decisions(entries: Iterable[Entry]) -> list[Decision]:
    """Every acceptance and every revocation, in the order of the ledger."""
    found: dict[int, Decision] = {}
    for entry in entries:
        data = entry.data
        revokes = data["revokes"]
        names = ("control", "check", "scope", "subject", "approver", "reason", "ticket")
        words = {name: data[name] for name in names}
        expires = canonical.moment(data["expires"])
        made = Decision(
            seq=entry.seq, at=entry.at, expires=expires, revokes=revokes, ended=expires, ended_by=None, **words
        )
        if revokes is not None:
            made = replace(made, ended=entry.at, expires=entry.at)
            known = found.get(revokes)
            if known is not None and known.ended_by is None and entry.at < known.ended:
                found[revokes] = replace(known, ended=entry.at, ended_by=entry.seq)
        found[entry.seq] = made
    return list(found.values())


def in_window(decision: Decision, since: datetime, until: datetime) -> bool:
    """Whether a decision was made in a window, or stood when it began."""
    return decision.at < until and max(decision.ended, decision.at) >= since


def lives(
    deviations: Sequence[Deviation],
    stretches: Sequence[Stretch],
    runs: Iterable[Ran],
    alerts: Sequence[AlertLine],
    decided: Collection[Decision],
    until: datetime,
    plans: Sequence[Plan] = (),
) -> tuple[Life, ...]:
    """The life of each deviation. ``runs`` are those of the window, ``alerts`` also older ones."""
    asked = Asking(plans, until)
    by_run = {(s.check, s.scope, s.subject, s.from_run): s for s in stretches}
    looks: dict[tuple[str, str], list[Ran]] = {}
    for run in runs:
        if run.population is not None:
            looks.setdefault((run.check, run.scope), []).append(run)
    for known in looks.values():
        known.sort(key=lambda run: run.seq)
    book = AlertBook(alerts)
    by_place: dict[tuple[str, str], list[Decision]] = {}
    for decision in decided:
        by_place.setdefault((decision.check, decision.scope), []).append(decision)
    found: list[Life] = []
    for d in deviations:
        first = by_run[d.check, d.scope, d.subject, d.first_bad]
        last = _last_bad(first, by_run, looks.get((d.check, d.scope), ()))
        end = d.until or until
        mine = by_place.get((d.check, d.scope), ())
        left = asked.left(d.check, d.scope) if d.until is None else None
        found.append(
            Life(
                first_seen=first.from_at,
                last_seen=None if last is None else last.started,
                last_bad=None if last is None else last.seq,
                alerts=tuple(book.of(d, first.from_at)),
                decisions=tuple(x for x in mine if x.held(d.check, d.scope, d.subject, first.from_at, end)),
                unobserved=left[0] if left else None,
                unobserved_by=left[1] if left else None,
            )
        )
    return tuple(found)


class Asking:
    """Until when plans ask for a check over a scope, before ``until``."""

    def __init__(self, plans: Iterable[Plan], until: datetime) -> None:
        by_account: dict[str, list[Plan]] = {}
        for plan in plans:
            by_account.setdefault(plan.account, []).append(plan)
        self._stretches = {
            account: [(since, plan) for since, _, plan in in_force(known) if since < until]
            for account, known in by_account.items()
        }
        self._pairs: dict[int, frozenset[tuple[str, str]]] = {}  # plans of a year share what they ask for

    def left(self, check: str, scope: str) -> tuple[datetime, int] | None:
        """Since when the plans ask for it no more, and the first that does not. None while the last one asks, or
        none ever did."""
        account = str(replace(Scope.parse(scope), part=""))
        left: tuple[datetime, int] | None = None
        for since, plan in reversed(self._stretches.get(account, ())):
            if (check, scope) in self._asked(plan):
                return left
            left = since, plan.seq
        return None

    def _asked(self, plan: Plan) -> frozenset[tuple[str, str]]:
        key = id(plan.checks)
        if key not in self._pairs:
            self._pairs[key] = frozenset((item.check, scope) for item in plan.checks for scope in item.scopes)
        return self._pairs[key]


def _last_bad(
    first: Stretch, following: Mapping[tuple[str, str, str, int], Stretch], looks: Sequence[Ran]
) -> Ran | None:
    """The last run of the window that found the subject not satisfied, in the deviation that ``first`` begins."""
    last: Ran | None = None
    stretch: Stretch | None = first
    while stretch is not None and stretch.state in (State.NOT_SATISFIED, State.UNDETERMINED):
        if stretch.state is State.NOT_SATISFIED:
            end = len(looks) if stretch.to_run is None else bisect_left(looks, stretch.to_run, key=_seq)
            if end and looks[end - 1].seq >= stretch.from_run:
                last = looks[end - 1]
        stretch = None if stretch.to_run is None else following.get((*_place(stretch), stretch.to_run))
    return last


def _seq(run: Ran) -> int:
    return run.seq


def _place(stretch: Stretch) -> tuple[str, str, str]:
    return stretch.check, stretch.scope, stretch.subject
