"""Reads one window out of the ledger into a dossier. Writes nothing and formats nothing.

Everything comes from entries of the range that the package will hold, so that a stranger who has only the package finds
the same: which configuration was in force, what was planned, what ran, what was declared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from collector import __version__, canonical
from collector.check import Stage
from collector.config import Settings, Window
from collector.errors import ConfigError, ExportError
from collector.export.dossier import AlertLine, Change, CheckCard, ControlCard, Dossier, Item
from collector.export.words import counted
from collector.ledger.entry import Entry, Kind
from collector.ledger.projection import Interval
from collector.ledger.store import Ledger
from collector.model import State
from collector.tomlfile import nearest
from collector.window.coverage import coverage
from collector.window.findings import Stretch, deviations, finding
from collector.window.slots import Declared, Plan, Ran, account_for, due, in_force, plan_from, scopes_of

ASSURANCE = (
    "The ledger is signed by the collector's own key, and nothing outside holds a copy of its checkpoints. Whoever has "
    "both that key and the database could have written all of it anew; only a checkpoint that you were given earlier "
    "would show it."
)

LISTING_PAGES_MAX = 4  # a subject that rests on the listing alone names its pages, unless that would drown the table


@dataclass(frozen=True)
class Filter:
    """What a window is about: checks of its controls over its scopes. No ``scopes``: all."""

    checks: frozenset[str]
    scopes: tuple[str, ...]

    def covers(self, check: str, scope: str) -> bool:
        return check in self.checks and self.reaches(scope)

    def reaches(self, scope: str) -> bool:
        return not self.scopes or any(scope == known or scope.startswith(f"{known}/") for known in self.scopes)

    def touches(self, scope: str) -> bool:
        """Whether a scope holds one of ours, or is held by one."""
        return self.reaches(scope) or any(known.startswith(f"{scope}/") for known in self.scopes)


def read(ledger: Ledger, settings: Settings, name: str, exported_at: datetime, *, upto: int | None = None) -> Dossier:
    """Everything that the ledger says about the window ``name`` of the configuration.

    Only entries before ``upto`` are looked at; by default those of the newest checkpoint, which is what a package can
    hold: sign before exporting. Of a window that has not ended, the part is read whose runs must have begun by
    ``exported_at``. Raises ConfigError for an unknown window, ExportError when there is nothing to say yet.
    """
    window, key, last = _asked(ledger, settings, name, upto)
    since, until = _span(window, settings.schedule.grace, exported_at, name)
    plans = [entry for entry in ledger.projection.plans(since, until) if entry.seq < last]
    first = _first(ledger, [plan_from(entry.data) for entry in plans], since, until)
    plans = [entry for entry in plans if entry.seq >= first]
    controls = _controls(_configs(ledger, since, until, last), window.criteria)
    about = Filter(frozenset(check for card in controls for check in card.checks), window.scopes)

    announced = list(ledger.entries(0, last, kinds=[Kind.CHECK]))
    runs, cards = _runs(ledger, first, last, about, since, until, announced)
    gaps = [
        Declared(row.seq, row.account, row.checks, row.since, row.until, row.reason)
        for row in ledger.projection.gaps(since, until)
        if first <= row.seq < last
    ]
    dues = [
        item
        for item in due((plan_from(entry.data) for entry in plans), since, until)
        if about.covers(item.check, item.scope)
    ]
    grace = timedelta(seconds=settings.schedule.grace)
    slots = tuple(account_for(dues, runs, gaps, grace))
    planned = {(item.check, item.scope, item.at) for item in dues}
    stretches = _stretches(ledger, about, since, until, last)
    lines = coverage(slots, until)
    found = deviations(stretches, since, until)
    counted_checks = _counted(announced)
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
        assurance=ASSURANCE,
        controls=controls,
        checks=cards,
        slots=slots,
        runs_outside_slots=tuple(run for run in runs if (run.check, run.scope, run.slot) not in planned),
        coverage=tuple(lines),
        deviations=tuple(found),
        findings=tuple(
            finding(card.id, [check for check in card.checks if check in counted_checks], lines, found)
            for card in controls
        ),
        stretches=tuple(stretches),
        blind=_blind(ledger, about, since, until, last),
        alerts=_alerts(ledger, about, first, last, since, until),
        changes=_changes(ledger, last, since, until),
        items=lambda: _items(ledger, first, last, about, since, until),
        criteria=window.criteria,
        scopes=window.scopes,
        grace_s=settings.schedule.grace,
        ends=window.until if until < window.until else None,
    )


def _asked(ledger: Ledger, settings: Settings, name: str, upto: int | None) -> tuple[Window, str, int]:
    window = settings.windows.get(name)
    if window is None:
        raise ConfigError(f"the configuration has no window {name!r}; {nearest(name, settings.windows)}")
    key = ledger.key()
    if key is None:
        raise ExportError(
            "the ledger has no key yet: run `collector db upgrade` with a log key, then collect something"
        )
    if upto is None:
        upto = max((item.size for item in ledger.checkpoints()), default=0)
    if not upto:
        raise ExportError("the ledger has no checkpoint yet: nothing was signed; run `collector once` first")
    return window, str(key), upto


def _span(window: Window, grace_s: int, exported_at: datetime, name: str) -> tuple[datetime, datetime]:
    """The part of a window that can be spoken of: up to its end, or up to the last slot whose grace is over."""
    until = window.until
    if exported_at < until:
        until = exported_at - timedelta(seconds=grace_s)
    if until <= window.since:
        raise ExportError(f"the window {name} begins {canonical.stamp(window.since)}: nothing was due in it yet")
    return window.since, until


def _first(ledger: Ledger, plans: Sequence[Plan], since: datetime, until: datetime) -> int:
    """The newest checkpoint before every plan that is in force at any time in the window; 0 without one."""
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
        return max((item.size for item in checkpoints if item.size <= min(used)), default=0)
    return max((item.size for item in checkpoints[:-1] if item.at <= since), default=0)


# --- what was in force ---


def _configs(ledger: Ledger, since: datetime, until: datetime, last: int) -> list[Mapping[str, Any]]:
    """The controls of every configuration that was in force in the window, oldest first."""
    known = list(ledger.entries(0, last, kinds=[Kind.CONFIG]))
    if not known:
        raise ExportError("the ledger holds no configuration: nothing was ever collected; run `collector once` first")
    before = [entry for entry in known if entry.at <= since]
    inside = [entry for entry in known if since < entry.at < until]
    return [canonical.parse(ledger.blob(entry.data["blob"]))["controls"] for entry in before[-1:] + inside or known[:1]]


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
                id, control["title"], control["owner"], tuple(control["criteria"]), checks, control["cadence_s"]
            )
    return tuple(cards[id] for id in sorted(cards))


def _counted(announced: Iterable[Entry]) -> frozenset[str]:
    """Checks in preview are observed, not counted."""
    stages = {entry.data["check"]: entry.data["stage"] for entry in announced}
    return frozenset(id for id, stage in stages.items() if stage != Stage.PREVIEW.value)


# --- what ran ---


def in_window(data: Mapping[str, Any], about: Filter, since: datetime, until: datetime) -> bool:
    """Whether a run entry is of the window: by the slot that it answers, or by its start when it was made by hand."""
    moment = canonical.moment(data["slot"] or data["started"])
    return since <= moment < until and about.covers(data["check"], data["scope"])


def _runs(
    ledger: Ledger,
    first: int,
    last: int,
    about: Filter,
    since: datetime,
    until: datetime,
    announced: Sequence[Entry],
) -> tuple[list[Ran], tuple[CheckCard, ...]]:
    runs: list[Ran] = []
    cards: dict[int, CheckCard] = {}
    by_check: dict[str, list[Entry]] = {}
    for entry in announced:
        by_check.setdefault(entry.data["check"], []).append(entry)
    for entry in ledger.entries(first, last, kinds=[Kind.RUN]):
        data = entry.data
        if not in_window(data, about, since, until):
            continue
        card = _card(by_check.get(data["check"], ()), entry)
        cards.setdefault(card.first_used, card)
        runs.append(
            Ran(
                seq=entry.seq,
                account=data["account"],
                check=data["check"],
                scope=data["scope"],
                slot=None if data["slot"] is None else canonical.moment(data["slot"]),
                started=canonical.moment(data["started"]),
                finished=canonical.moment(data["finished"]),
                population=data["population"],
                states=data["states"],
                failure=data["failure"],
                reason=data["reason"],
            )
        )
    return runs, tuple(sorted(cards.values(), key=lambda card: (card.id, card.first_used)))


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


def _items(ledger: Ledger, first: int, last: int, about: Filter, since: datetime, until: datetime) -> Iterator[Item]:
    held: dict[tuple[str, str], tuple[str, Any]] = {}  # mostly nothing changed since the run before
    for entry in ledger.entries(first, last, kinds=[Kind.RUN]):
        data = entry.data
        if data["population"] is None or not in_window(data, about, since, until):
            continue
        pair = (data["check"], data["scope"])
        if pair not in held or held[pair][0] != data["observations"]:
            held[pair] = (data["observations"], canonical.parse(ledger.blob(data["observations"])))
        observed = held[pair][1]
        ids = observed["exchanges"]
        listing = observed["listing"] if len(observed["listing"]) <= LISTING_PAGES_MAX else []
        slot = None if data["slot"] is None else canonical.moment(data["slot"])
        for subject in observed["subjects"]:
            yield Item(
                slot=slot,
                run=entry.seq,
                check=data["check"],
                scope=data["scope"],
                subject=subject["subject"],
                state=subject["state"],
                reason=subject["reason"],
                facts=subject["facts"],
                evidence=tuple(ids[place] for place in subject["exchanges"] or listing),
            )


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


# --- alerts and changes ---


def _alerts(
    ledger: Ledger, about: Filter, first: int, last: int, since: datetime, until: datetime
) -> tuple[AlertLine, ...]:
    alerts: dict[int, Entry] = {}
    deliveries: dict[int, list[tuple[str, str, datetime]]] = {}
    for entry in ledger.entries(first, last, kinds=[Kind.ALERT, Kind.DELIVERY]):
        data = entry.data
        if entry.kind is Kind.DELIVERY:
            deliveries.setdefault(data["alert"], []).append((data["channel"], data["outcome"], entry.at))
            continue
        mine = not data["check"] or data["check"] in about.checks  # slots that were missed concern a whole account
        if mine and since <= entry.at < until and about.touches(data["scope"]):
            alerts[entry.seq] = entry
    return tuple(
        AlertLine(
            seq=entry.seq,
            at=entry.at,
            key=entry.data["key"],
            event=entry.data["event"],
            cause=entry.data["cause"],
            check=entry.data["check"],
            scope=entry.data["scope"],
            subject=entry.data["subject"],
            control=entry.data["control"],
            owner=entry.data["owner"],
            reason=entry.data["reason"],
            deliveries=tuple(deliveries.get(entry.seq, ())),
        )
        for entry in alerts.values()
    )


def _changes(ledger: Ledger, last: int, since: datetime, until: datetime) -> tuple[Change, ...]:
    """What changed inside the window, each against what stood before it, however long ago that was written."""
    found: list[Change] = []
    before: dict[tuple[Kind, str], Entry] = {}
    for entry in ledger.entries(0, last, kinds=[Kind.KEY, Kind.CONFIG, Kind.CHECK, Kind.PLAN]):
        subject = (entry.kind, str(entry.data.get("check") or entry.data.get("account") or ""))
        if since <= entry.at < until:
            what = _what(ledger, entry, before.get(subject))
            if what:
                found.append(Change(entry.seq, entry.at, entry.kind.value, what))
        before[subject] = entry
    return tuple(found)


def _what(ledger: Ledger, entry: Entry, before: Entry | None) -> str:
    """A change in words; "" when nothing changed, as with a plan that is written anew each day."""
    data, old = entry.data, None if before is None else before.data
    if entry.kind is Kind.KEY:
        return f"the ledger is signed by {data['vkey']}: {data['reason']}"
    if entry.kind is Kind.CHECK:
        if old is None:
            return f"{data['check']} version {data['version']} is used for the first time"
        names = [name for name in data if name not in ("seq", "kind", "at") and data[name] != old.get(name)]
        return f"{data['check']}: " + "; ".join(_change(name, old.get(name), data[name]) for name in sorted(names))
    if entry.kind is Kind.PLAN:
        return _plan_change(data, old)
    return _config_change(ledger, data, old)


def _change(name: str, old: object, new: object) -> str:
    if name == "code":
        return f"code is now {str(new)[:12]}"
    return f"{name} was {_text(old)}, is {_text(new)}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else canonical.record(value).decode()


def _plan_change(data: Mapping[str, Any], old: Mapping[str, Any] | None) -> str:
    now = _asks(data)
    if old is None:
        return f"{data['account']} is planned for the first time: {counted(len(now), 'execution')} a round"
    was = _asks(old)
    parts = [
        *(f"{check} over {scope} is no longer asked for" for check, scope in sorted(was.keys() - now.keys())),
        *(
            f"{check} over {scope} is asked for every {now[check, scope][0]} s"
            for check, scope in sorted(now.keys() - was.keys())
        ),
        *(
            f"{check} over {scope} is asked for every {now[check, scope][0]} s, was every {was[check, scope][0]} s"
            for check, scope in sorted(now.keys() & was.keys())
            if now[check, scope] != was[check, scope]
        ),
    ]
    return f"{data['account']}: {'; '.join(parts)}" if parts else ""


def _asks(plan: Mapping[str, Any]) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (item["check"], scope): (item["every_s"], item["offset_s"])
        for item in plan["checks"]
        for scope in scopes_of(plan, item)
    }


def _config_change(ledger: Ledger, data: Mapping[str, Any], old: Mapping[str, Any] | None) -> str:
    if old is None:
        return f"the configuration is {data['digest'][:12]}, collector {data['collector']}"
    now, was = (canonical.parse(ledger.blob(config["blob"])) for config in (data, old))
    parts: list[str] = []
    if data["collector"] != old["collector"]:
        parts.append(_change("collector", old["collector"], data["collector"]))
    for id in sorted(now["controls"].keys() | was["controls"].keys()):
        if id not in now["controls"]:
            parts.append(f"control {id} was removed")
        elif id not in was["controls"]:
            parts.append(f"control {id} was added")
        else:
            new, past = now["controls"][id], was["controls"][id]
            names = sorted(name for name in new.keys() | past.keys() if new.get(name) != past.get(name))
            parts += [f"control {id}: {_change(name, past.get(name), new.get(name))}" for name in names]
    for name in sorted(now["settings"].keys() | was["settings"].keys()):
        if now["settings"].get(name) != was["settings"].get(name):
            parts.append(f"setting [{name}] changed")
    return "; ".join(parts)
