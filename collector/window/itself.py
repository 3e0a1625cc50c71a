"""The collector as a control: whether it was there all the time, and what came of what it saw. Pure: values in, out.

Which entries of the ledger the values come from is not in here, nor how the finding is printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from collector import canonical
from collector.model import State
from collector.window.slots import Slot, SlotState

TOLERANCE = timedelta(seconds=60)  # by how much a heartbeat may come late before it counts as one that was missed
CLOCK_MS_MAX = 5 * 60 * 1000  # providers refuse requests that are signed with a clock further off than this


class Sign(StrEnum):
    """What a heartbeat entry says of its process."""

    START = "start"
    BEAT = "beat"
    STOP = "stop"


@dataclass(frozen=True)
class Beat:
    """A heartbeat entry. ``every_s`` is when the next one was due; ``skew_ms`` what providers' clocks were ahead of the
    host's, ``ntp_ms`` the same of a time server, None where nobody was asked."""

    seq: int
    at: datetime
    sign: Sign
    process: tuple[str, str]  # host, and when the process began
    collector: str  # version
    every_s: int
    skew_ms: int | None = None
    ntp_ms: int | None = None


@dataclass(frozen=True)
class Told:
    """An alert that somebody had to be told of: when it was raised, first delivered, first acknowledged."""

    seq: int
    at: datetime
    delivered: datetime | None
    acknowledged: datetime | None


@dataclass(frozen=True)
class Silence:
    """A stretch without a sign of life in which at least one heartbeat was due. ``stopped``: announced by a stop."""

    since: datetime
    until: datetime
    missed: int
    stopped: bool


@dataclass(frozen=True)
class Itself:
    """How the collector did over a window. ``state`` is satisfied only when nothing at all was amiss."""

    state: State
    words: tuple[str, ...]  # what was amiss, one by one; empty when satisfied
    beats: int
    missed: int
    silences: tuple[Silence, ...]
    up: timedelta  # of the window: between two signs of life of one process that were not further apart than due
    window: timedelta
    starts: tuple[Beat, ...]
    stops: tuple[Beat, ...]
    broken_off: tuple[Beat, ...]  # starts that no stop went before: the process before them was killed or lost its lead
    versions: tuple[str, ...]  # in their order
    skew_ms: int | None  # the value that was furthest from nought
    ntp_ms: int | None
    slots: int
    unaccounted: int  # slots with neither a run nor a declared gap
    alerts: int
    undelivered: tuple[Told, ...]
    delivered_after: timedelta | None  # the longest
    acknowledged: int
    acknowledged_after: timedelta | None  # the longest
    anchored: int
    anchors_failed: int


def itself(
    beats: Iterable[Beat],
    slots: Iterable[Slot],
    alerts: Iterable[Told],
    anchors: tuple[int, int],
    since: datetime,
    until: datetime,
    grace: timedelta,
) -> Itself:
    """The collector's own finding over ``[since, until)``.

    ``beats`` may reach out of the window on both sides: the last one before it says whether the collector was there
    when it began. ``alerts`` are those raised in the window; one that is younger than ``grace`` at its end may still be
    on its way. ``anchors`` counts checkpoints that places outside took, and those that they did not.
    """
    ordered = sorted(beats, key=lambda beat: beat.seq)
    mine = [beat for beat in ordered if since <= beat.at < until]
    silences = _silences(ordered, since, until)
    missed = sum(silence.missed for silence in silences)
    told = list(alerts)
    counted = list(slots)
    unaccounted = sum(slot.state is SlotState.MISSED for slot in counted)
    undelivered = tuple(item for item in told if item.delivered is None and item.at + grace < until)
    skew = _furthest(beat.skew_ms for beat in mine)
    ntp = _furthest(beat.ntp_ms for beat in mine)
    words = _words(mine, missed, silences, unaccounted, undelivered, skew, ntp, anchors[1])
    if mine and ordered[0].at > since + timedelta(seconds=ordered[0].every_s) + TOLERANCE:
        words = (f"no heartbeat before {canonical.stamp(ordered[0].at)}", *words)
    seen = State.NOT_SATISFIED if words else State.SATISFIED
    return Itself(
        state=seen if mine else State.UNDETERMINED,
        words=words,
        beats=len(mine),
        missed=missed,
        silences=silences,
        up=_up(ordered, since, until),
        window=until - since,
        starts=tuple(beat for beat in mine if beat.sign is Sign.START),
        stops=tuple(beat for beat in mine if beat.sign is Sign.STOP),
        broken_off=tuple(b for a, b in pairwise(ordered) if _broken(a, b) and since <= b.at < until),
        versions=tuple(dict.fromkeys(beat.collector for beat in mine)),
        skew_ms=skew,
        ntp_ms=ntp,
        slots=len(counted),
        unaccounted=unaccounted,
        alerts=len(told),
        undelivered=undelivered,
        delivered_after=max((item.delivered - item.at for item in told if item.delivered), default=None),
        acknowledged=sum(item.acknowledged is not None for item in told),
        acknowledged_after=max((item.acknowledged - item.at for item in told if item.acknowledged), default=None),
        anchored=anchors[0],
        anchors_failed=anchors[1],
    )


def _broken(before: Beat, after: Beat) -> bool:
    return after.sign is Sign.START and before.sign is not Sign.STOP


def _silences(beats: Sequence[Beat], since: datetime, until: datetime) -> tuple[Silence, ...]:
    """Where heartbeats were due and did not come, clipped to the window. Before the first one ever, none was due."""
    found = []
    for before, after in pairwise([*beats, None]):
        if before is None:
            continue
        end = until if after is None else after.at
        begin, end = max(before.at, since), min(end, until)
        every = timedelta(seconds=before.every_s)
        # Due at before.at + n * every; one is missed when its tolerance is over and nothing came up to then.
        last = _due_until(before.at, end - TOLERANCE, every)
        missed = last - _due_until(before.at, since - TOLERANCE, every)
        if begin < end and missed > 0:
            found.append(Silence(begin, end, missed, before.sign is Sign.STOP))
    return tuple(found)


def _due_until(start: datetime, end: datetime, every: timedelta) -> int:
    """How many heartbeats after one at ``start`` were due before ``end``."""
    return max(0, -(-(end - start) // every) - 1)


def _up(beats: Sequence[Beat], since: datetime, until: datetime) -> timedelta:
    total = timedelta(0)
    for before, after in pairwise(beats):
        near = after.at - before.at <= timedelta(seconds=before.every_s) + TOLERANCE
        if before.process == after.process and before.sign is not Sign.STOP and near:
            total += max(timedelta(0), min(after.at, until) - max(before.at, since))
    return total


def _furthest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), key=abs, default=None)


def _words(
    beats: Sequence[Beat],
    missed: int,
    silences: Sequence[Silence],
    unaccounted: int,
    undelivered: Sequence[Told],
    skew: int | None,
    ntp: int | None,
    failed: int,
) -> tuple[str, ...]:
    if not beats:
        return ("no heartbeat: whether the collector ran is not known; `collector run` writes them",)
    found = []
    if missed:
        longest = max(silence.until - silence.since for silence in silences)
        hours = f"{longest.total_seconds() / 3600:.1f}"
        found.append(f"{_counted(missed, 'heartbeat')} missed, the longest silence {hours} hours")
    if unaccounted:
        found.append(f"{_counted(unaccounted, 'slot')} with neither a run nor a declared gap")
    if undelivered:
        found.append(f"{_counted(len(undelivered), 'alert')} reached nobody")
    for name, offset in (("providers' clocks", skew), ("the time server", ntp)):
        if offset is not None and abs(offset) > CLOCK_MS_MAX:
            found.append(f"the clock was {abs(offset) / 1000:.0f} s off {name}")
    if failed:
        found.append(f"{_counted(failed, 'checkpoint')} not taken by a place outside")
    return tuple(found)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
