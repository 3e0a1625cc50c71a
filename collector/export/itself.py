"""The collector as a control of its own: its signs of life and what came of them, out of the ledger. Formats nothing.

What counts against it is decided in ``collector.window.itself``. Here each thing that happened to it becomes an event
that names the entries that say so, so that an auditor can go and look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Any

from collector import canonical
from collector.config import Settings
from collector.export.dossier import AlertLine, AnchorLine, Change, Own, OwnEvent
from collector.export.words import counted, delivered, duration, utc
from collector.ledger.entry import Entry, Kind
from collector.ledger.store import Ledger
from collector.model import State
from collector.tomlfile import duration as seconds_of
from collector.window.itself import CLOCK_MS_MAX, TOLERANCE, Beat, Itself, Sign, Told, itself, late_start
from collector.window.slots import Slot, SlotState

EVERY_S = 3600  # of a heartbeat that does not say, under a configuration that does not say either
TOLD = ("trigger", "escalate")  # events of alerts that somebody must hear of
LATELY = timedelta(days=1)
STEP = 2000  # entries


class Configured:
    """What the configurations in force said, entry by entry: when heartbeats were due, which rights checks needed."""

    def __init__(self, entries: Sequence[Entry], announced: Sequence[Entry], blob: Callable[[str], bytes]) -> None:
        self._known = [(entry.seq, canonical.parse(blob(entry.data["blob"]))) for entry in entries]
        self._announced = announced

    def at(self, seq: int) -> Mapping[str, Any]:
        """The configuration under which entry ``seq`` was written; empty before the first."""
        return next((said for known, said in reversed(self._known) if known < seq), {})

    def every_s(self, seq: int) -> int:
        text = self.at(seq).get("settings", {}).get("schedule", {}).get("heartbeat", "")
        return seconds_of(text) if text else EVERY_S

    def rights(self, beat: Beat) -> frozenset[str] | None:
        """The rights behind a heartbeat's digest of them; None when what is known here gives another digest."""
        said = self.at(beat.seq)
        clouds = {cloud for cloud in ("aws", "azure", "gcp") if said.get("settings", {}).get(cloud)}
        enabled = {check for control in said.get("controls", {}).values() for check in control["checks"]}
        newest: dict[str, Sequence[str]] = {}
        for entry in self._announced:
            if entry.seq < beat.seq and entry.data["check"] in enabled:
                newest[entry.data["check"]] = entry.data["permissions"]
        found = frozenset(one for check, ones in newest.items() if check.partition("-")[0] in clouds for one in ones)
        text = "".join(f"{one}\n" for one in sorted(found))
        return found if canonical.digest(text.encode()) == beat.permissions else None


def beat_from(seq: int, at: datetime, data: Mapping[str, Any], every_s: int) -> Beat:
    """A heartbeat entry as a value. ``every_s``: when it does not say when the next one was due."""
    ntp = data.get("ntp") or {}
    return Beat(
        seq=seq,
        at=at,
        sign=Sign(data.get("event", Sign.BEAT)),
        process=(data.get("host", ""), data.get("started", "")),
        collector=data["collector"],
        every_s=data.get("every_s") or every_s,
        skew_ms=data.get("skew_ms"),
        ntp_ms=ntp.get("offset_ms"),
        ntp_silent=bool(ntp) and ntp.get("offset_ms") is None,
        reason=data.get("reason", ""),
        permissions=data.get("permissions") or "",
        principals=data.get("principals") or "",
    )


def beats_of(ledger: Ledger, first: int, last: int, since: datetime, known: Configured) -> list[Beat]:
    """The heartbeats of ``[first, last)``, and from before it those of the window with the last one before that."""
    found = list(_beats(ledger.entries(first, last, kinds=[Kind.HEARTBEAT]), known))
    if first and not any(beat.at < since for beat in found):
        older = list(_beats(ledger.entries(0, first, kinds=[Kind.HEARTBEAT]), known))
        found[:0] = [beat for beat in older if beat.at < since][-1:] + [beat for beat in older if beat.at >= since]
    return found


def _beats(entries: Iterable[Entry], known: Configured) -> Iterator[Beat]:
    words: dict[Any, Any] = {}  # heartbeats of a year name the same few things: one object for each
    for entry in entries:
        beat = beat_from(entry.seq, entry.at, entry.data, known.every_s(entry.seq) if known else EVERY_S)
        for name in ("process", "collector", "permissions", "principals"):
            value = getattr(beat, name)
            object.__setattr__(beat, name, words.setdefault(value, value))
        yield beat


def own(
    beats: Sequence[Beat],
    known: Configured,
    slots: Sequence[Slot],
    alerts: Iterable[AlertLine],
    anchors: Sequence[AnchorLine],
    changes: Sequence[Change],
    since: datetime,
    until: datetime,
    grace: timedelta,
) -> Own:
    """What became of the collector in ``[since, until)``. ``changes`` are those of the window, of all kinds."""
    lines = [line for line in alerts if line.event in TOLD and since <= line.at < until]
    told = [_told(line) for line in lines]
    tried = [line for line in anchors if line.size and since <= line.at < until]
    taken = {(line.anchor, line.size) for line in anchors if line.outcome == "anchored"}
    lost = {(line.anchor, line.size) for line in tried} - taken
    held = {(line.anchor, line.size) for line in tried} & taken
    found = itself(beats, slots, told, (len(held), len(lost)), since, until, grace)
    ordered = sorted(beats, key=lambda beat: beat.seq)
    mine = [beat for beat in ordered if since <= beat.at < until]
    events = [
        *_lives(found, mine),
        *_silences(found, ordered, mine, since, until),
        *_missed(slots),
        *_changed(ordered, mine, known, changes),
        *_clocks(mine),
        *(
            OwnEvent("anchor", x.at, None, None, f"{x.anchor}: {x.reason}", (x.anchor, x.size) in lost, (x.seq,))
            for x in anchors
            if x.outcome != "anchored" and since <= x.at < until
        ),
        *_alerts(lines, told, found, grace),
    ]
    return Own(found, tuple(sorted(events, key=lambda event: (event.at, event.event, event.entries))), tuple(ordered))


def _told(line: AlertLine) -> Told:
    first = min((at for _, at in delivered(line)), default=None)
    return Told(line.seq, line.at, first, min((ack.at for ack in line.acks), default=None), line.held)


def _lives(found: Itself, mine: Sequence[Beat]) -> Iterator[OwnEvent]:
    broken = {beat.seq for beat in found.broken_off}
    for beat in mine:
        who = f"collector {beat.collector} on {beat.process[0]}"
        if beat.sign is Sign.STOP:
            yield OwnEvent("stop", beat.at, None, None, f"{who} stops: {beat.reason}", False, (beat.seq,))
        elif beat.sign is Sign.START:
            why = "; no stop of the process before it was written" if beat.seq in broken else ""
            what = f"{who} begins: {beat.reason}{why}"
            yield OwnEvent("broken-off" if why else "start", beat.at, None, None, what, False, (beat.seq,))


def _silences(
    found: Itself, ordered: Sequence[Beat], mine: Sequence[Beat], since: datetime, until: datetime
) -> Iterator[OwnEvent]:
    if late_start(ordered, mine, since):
        what = "no sign of life is known from before"
        yield OwnEvent("no-heartbeat", since, ordered[0].at, None, what, True, (ordered[0].seq,))
    elif not mine and not found.silences:
        yield OwnEvent("no-heartbeat", since, until, None, "no sign of life is known", False, ())
    for silence in found.silences:
        said = "after an announced stop" if silence.stopped else "unannounced"
        what = f"{counted(silence.missed, 'heartbeat')} missed in {duration(silence.until - silence.since)}, {said}"
        around = tuple(beat.seq for beat in (silence.before, silence.after) if beat is not None)
        yield OwnEvent("silence", silence.since, silence.until, silence.missed, what, True, around)


def _missed(slots: Iterable[Slot]) -> Iterator[OwnEvent]:
    """One event an account: which slots they are stands in results.csv."""
    lost = sorted((slot.due.account, slot.due.at) for slot in slots if slot.state is SlotState.MISSED)
    for account, group in groupby(lost, key=lambda item: item[0]):
        times = [at for _, at in group]
        what = f"{counted(len(times), 'slot')} of {account} with neither a run nor a declared gap"
        yield OwnEvent("missed-runs", times[0], times[-1], len(times), what, True, ())


def _changed(
    ordered: Sequence[Beat], mine: Sequence[Beat], known: Configured, changes: Sequence[Change]
) -> Iterator[OwnEvent]:
    for change in changes:
        if change.kind == Kind.CONFIG:
            yield OwnEvent("configuration", change.at, None, None, change.what, False, (change.seq,))
    inside = {beat.seq for beat in mine}
    for before, after in pairwise(ordered):
        if after.seq in inside and before.collector != after.collector:
            what = f"the collector's version was {before.collector}, is {after.collector}"
            yield OwnEvent("version", after.at, None, None, what, False, (before.seq, after.seq))
    for before, after in _digests(ordered, "permissions"):
        if after.seq in inside:
            what = _rights(known.rights(before), known.rights(after))
            yield OwnEvent("permissions", after.at, None, None, what, False, (before.seq, after.seq))
    for before, after in _digests(ordered, "principals"):
        if after.seq in inside:
            named = [c for c in changes if c.kind == "principal" and before.seq < c.seq < after.seq]
            what = "; ".join(dict.fromkeys(change.what for change in named))
            what = what or "other accounts are asked, or others ask them: the digests of who asks differ"
            entries = (before.seq, *(change.seq for change in named), after.seq)
            yield OwnEvent("identity", after.at, None, None, what, False, entries)


def _digests(ordered: Sequence[Beat], name: str) -> Iterator[tuple[Beat, Beat]]:
    """Heartbeats that say another digest than the last one before them that said any."""
    for before, after in pairwise(beat for beat in ordered if getattr(beat, name)):
        if getattr(before, name) != getattr(after, name):
            yield before, after


def _rights(was: frozenset[str] | None, now: frozenset[str] | None) -> str:
    if was is None or now is None:
        return "the checks need other rights than before: their digests differ"
    parts = [f"{one} is needed" for one in sorted(now - was)]
    parts += [f"{one} is no longer needed" for one in sorted(was - now)]
    return "; ".join(parts)


def _clocks(mine: Sequence[Beat]) -> Iterator[OwnEvent]:
    for off, group in groupby(mine, key=off_clock):
        beats = list(group)
        if off:
            worst = max((ms for b in beats for ms in (b.skew_ms, b.ntp_ms) if ms is not None), key=abs)
            side = "behind" if worst > 0 else "ahead of"
            what = f"the host's clock was up to {abs(worst) / 1000:.0f} s {side} those outside"
            entries = tuple(dict.fromkeys((beats[0].seq, beats[-1].seq)))
            yield OwnEvent("clock", beats[0].at, beats[-1].at, len(beats), what, True, entries)


def off_clock(beat: Beat) -> bool:
    """Whether a heartbeat says that its clock was further off than providers bear."""
    return any(ms is not None and abs(ms) > CLOCK_MS_MAX for ms in (beat.skew_ms, beat.ntp_ms))


def _alerts(lines: Sequence[AlertLine], told: Sequence[Told], found: Itself, grace: timedelta) -> Iterator[OwnEvent]:
    lost = {item.seq for item in found.undelivered}
    for line, item in zip(lines, told, strict=True):
        about = f"{line.cause} of {line.subject or line.check or line.scope or 'the ledger'}"
        if item.seq in lost:
            yield OwnEvent("undelivered", line.at, None, None, f"{about}: no channel took it", True, (line.seq,))
        elif item.delivered is not None and item.delivered - item.due > grace:
            what = f"{about}: first taken by a channel {duration(item.delivered - item.due)} after it was due there"
            entries = (line.seq, *line.delivered_by[:1])
            yield OwnEvent("told-late", line.at, item.delivered, None, what, False, entries)
        if line.event == "trigger" and item.acknowledged is None:
            yield OwnEvent("unacknowledged", line.at, None, None, f"{about}: nobody took note", False, (line.seq,))


# --- in one line, for terminals ---


def itself_line(found: Own) -> str:
    """How the collector did over a window: "not satisfied: 3 heartbeats missed, ...; up 98.1 %, 2 restarts"."""
    it = found.found
    state = {State.SATISFIED: "satisfied", State.NOT_SATISFIED: "not satisfied"}.get(it.state, "undetermined")
    said = f"{state}: {'; '.join(it.words)}" if it.words else state
    return f"{said}. Up {uptime(it)}, {counted(it.beats, 'heartbeat')}, {counted(len(it.starts), 'start')}"


def uptime(it: Itself) -> str:
    """The share of the window in which it is known to have run, rounded down."""
    whole = int(it.window.total_seconds())
    return f"{1000 * int(it.up.total_seconds()) // whole / 10:.1f} %" if whole else "0.0 %"


def lately(ledger: Ledger, settings: Settings, now: datetime) -> str:
    """The same for the last day, from heartbeats alone: when the last one was, and how many were missed."""
    configs = list(ledger.entries(kinds=[Kind.CONFIG]))[-1:]
    known = Configured(configs, (), ledger.blob)
    since = now - LATELY
    newest = ledger.projection.last(Kind.HEARTBEAT)
    if newest is None:
        return "never wrote a sign of life: `collector run` does"
    back = STEP
    while True:  # as far back as the day reaches, and not through all heartbeats there ever were
        start = max(0, newest.seq - back)
        beats = list(_beats(ledger.entries(start, kinds=[Kind.HEARTBEAT]), known))
        if not start or beats[0].at < since:
            break
        back *= 4
    last = beats[-1]
    grace = timedelta(seconds=settings.schedule.grace)
    it = itself(beats, (), (), (0, 0), max(since, beats[0].at), now, grace)
    late = now - last.at > timedelta(seconds=last.every_s) + TOLERANCE
    ended = f"stopped: {last.reason}" if last.sign is Sign.STOP else "is silent" if late else "runs"
    missed = f"{counted(it.missed, 'heartbeat')} missed" if it.missed else "no heartbeat missed"
    when = duration(max(now - last.at, timedelta(0)))
    return f"{ended}; last sign of life {when} ago ({utc(last.at)}); {missed} in the last day"
