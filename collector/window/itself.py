"""The collector as a control: whether it was there all the time, and what came of what it saw. Pure: values in, out.

Which entries of the ledger the values come from is not in here, nor how the finding is printed.
"""

from __future__ import annotations

from collections import Counter
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
NO_HEARTBEAT = "no heartbeat: whether the collector ran is not known; `collector run` writes them"
NO_SLOT = "nothing was due here: whether runs were missed is not known"


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
    ntp_silent: bool = False  # a time server was asked and gave no usable answer
    reason: str = ""
    permissions: str = ""  # digest of the rights that the enabled checks need; "" where the entry does not say
    principals: str = ""  # digest of who asks which account; "" where the entry does not say


@dataclass(frozen=True)
class Told:
    """An alert that somebody had to be told of: when it was raised, first delivered, first acknowledged.

    ``held``: quiet hours kept it from every channel until then. Nobody was late before that.
    """

    seq: int
    at: datetime
    delivered: datetime | None
    acknowledged: datetime | None
    held: datetime | None = None

    @property
    def due(self) -> datetime:
        return self.held or self.at


@dataclass(frozen=True)
class Silence:
    """A stretch without a sign of life in which at least one heartbeat was due. ``stopped``: announced by a stop.

    ``before`` and ``after`` are the heartbeats around it, also out of the window; None where none came any more.
    """

    since: datetime
    until: datetime
    missed: int
    stopped: bool
    before: Beat
    after: Beat | None


@dataclass(frozen=True)
class Itself:
    """How the collector did over a window. ``state`` is satisfied only when nothing at all was amiss or unknown."""

    state: State
    words: tuple[str, ...]  # what is unknown and what was amiss, one by one; empty when satisfied
    unseen: tuple[str, ...]  # of ``words``: that it was not there, or is not known to have been
    watching: tuple[str, ...]  # of ``words``: what was amiss with looking (CC4.1)
    telling: tuple[str, ...]  # of ``words``: what was amiss with telling (CC4.2)
    beats: int
    missed: int
    silences: tuple[Silence, ...]
    up: timedelta  # of the window: between two signs of life of one process that were not further apart than due
    window: timedelta
    starts: tuple[Beat, ...]
    stops: tuple[Beat, ...]
    broken_off: tuple[Beat, ...]  # starts that no stop went before: the process before them was killed or lost its lead
    versions: tuple[str, ...]  # in their order
    skew_ms: tuple[int, int] | None  # the least and the most that providers' clocks were ahead
    ntp_ms: tuple[int, int] | None  # and a time server's
    ntp_silent: int  # how often it was asked and gave no usable answer
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
    states = Counter(slot.state for slot in slots)
    unaccounted = states[SlotState.MISSED]
    undelivered = tuple(item for item in told if item.delivered is None and item.due + grace < until)
    skew = _span(beat.skew_ms for beat in mine)
    ntp = _span(beat.ntp_ms for beat in mine)
    absent = _absent(ordered, mine, silences, since)
    watching = _watching(unaccounted, skew, ntp, anchors[1])
    telling = (f"{_counted(len(undelivered), 'alert')} reached nobody",) if undelivered else ()
    unknown = []
    if not mine and not silences:
        unknown.append(NO_HEARTBEAT)
    if not states:
        unknown.append(NO_SLOT)
    amiss = absent or watching or telling
    return Itself(
        state=State.NOT_SATISFIED if amiss else State.UNDETERMINED if unknown else State.SATISFIED,
        words=(*unknown, *absent, *watching, *telling),
        unseen=(*unknown, *absent),
        watching=(*absent, *watching),
        telling=telling,
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
        ntp_silent=sum(beat.ntp_silent for beat in mine),
        slots=states.total(),
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
            found.append(Silence(begin, end, missed, before.sign is Sign.STOP, before, after))
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


def _span(values: Iterable[int | None]) -> tuple[int, int] | None:
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else None


def _absent(
    ordered: Sequence[Beat], mine: Sequence[Beat], silences: Sequence[Silence], since: datetime
) -> tuple[str, ...]:
    found = []
    if late_start(ordered, mine, since):
        found.append(f"no heartbeat before {canonical.stamp(ordered[0].at)}")
    if silences:
        missed = sum(silence.missed for silence in silences)
        longest = max(silence.until - silence.since for silence in silences)
        hours = f"{longest.total_seconds() / 3600:.1f}"
        found.append(f"{_counted(missed, 'heartbeat')} missed, the longest silence {hours} hours")
    return tuple(found)


def late_start(ordered: Sequence[Beat], mine: Sequence[Beat], since: datetime) -> bool:
    """Whether the first heartbeat ever came later in the window than one would have been due."""
    return bool(mine) and ordered[0].at > since + timedelta(seconds=ordered[0].every_s) + TOLERANCE


def _watching(
    unaccounted: int, skew: tuple[int, int] | None, ntp: tuple[int, int] | None, failed: int
) -> tuple[str, ...]:
    found = []
    if unaccounted:
        found.append(f"{_counted(unaccounted, 'slot')} with neither a run nor a declared gap")
    for name, span in (("providers' clocks", skew), ("the time server", ntp)):
        offset = max(span, key=abs) if span else 0
        if abs(offset) > CLOCK_MS_MAX:
            found.append(f"the clock was {abs(offset) / 1000:.0f} s off {name}")
    if failed:
        found.append(f"{_counted(failed, 'checkpoint')} not taken by a place outside")
    return tuple(found)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


# --- one control of the entity's own that the collector is the evidence of ---


def for_control(it: Itself, criteria: Iterable[str]) -> tuple[State, str]:
    """What the collector's finding is for a control that serves ``criteria``, and in words.

    CC4.1 is about looking, CC4.2 about telling; a control that serves neither of them, or both, is about both. Who was
    not there told nobody either, but nothing was lost for certain: that leaves telling undetermined.
    """
    asked = LOOKING_AND_TELLING.intersection(criteria) or LOOKING_AND_TELLING
    bad = [*(it.watching if "CC4.1" in asked else ()), *(it.telling if "CC4.2" in asked else ())]
    doubt = [words for words in it.unseen if words not in bad and ("CC4.1" in asked or words != NO_SLOT)]
    told = f"{_counted(it.alerts, 'alert')}, each reached somebody" if it.alerts else "no alert was raised"
    if bad:
        return State.NOT_SATISFIED, "; ".join((*bad, *doubt))
    if doubt:
        return State.UNDETERMINED, "; ".join((*doubt, *((told,) if "CC4.1" not in asked else ())))
    good = (f"no heartbeat missed, {_counted(it.slots, 'slot')} accounted for",) if "CC4.1" in asked else ()
    return State.SATISFIED, "; ".join((*good, *((told,) if "CC4.2" in asked else ())))


LOOKING_AND_TELLING = frozenset(("CC4.1", "CC4.2"))
