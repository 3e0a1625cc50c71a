"""The looks between the slots that a change feed asked for, by subject, out of their entries. Formats nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from collector import canonical
from collector.export.dossier import SpotLine
from collector.ledger.entry import Entry
from collector.window.findings import Stretch
from collector.window.slots import Ran

NOT_LISTED = "is not in the listing"


def spot_lines(
    entries: Iterable[Entry],
    covers: Callable[[str, str], bool],
    since: datetime,
    until: datetime,
    blob: Callable[[str], bytes],
    runs: Iterable[Ran],
    stretches: Iterable[Stretch],
) -> tuple[SpotLine, ...]:
    """One line for each subject that a look of the window was asked for, in the order of the ledger.

    ``runs`` are those of the window, ``stretches`` how their subjects stood. ``before`` is what the newest run or look
    of the window before it found of the subject; "" where none did.
    """
    ran: dict[tuple[str, str], list[int]] = {}
    for run in runs:
        if run.population is not None:
            ran.setdefault((run.check, run.scope), []).append(run.seq)
    for known in ran.values():
        known.sort()
    stood: dict[tuple[str, str, str], list[Stretch]] = {}
    for stretch in stretches:
        stood.setdefault((stretch.check, stretch.scope, stretch.subject), []).append(stretch)
    looked: dict[tuple[str, str, str], tuple[int, str]] = {}
    found: list[SpotLine] = []
    for entry in entries:
        data = entry.data
        check, scope, started = data["check"], data["scope"], canonical.moment(data["started"])
        if not since <= started < until or not covers(check, scope):
            continue
        seen = {}
        if data["found"] is not None:
            observed = canonical.parse(blob(data["observations"]))["subjects"]
            seen = {one["subject"]: (one["state"], one["reason"]) for one in observed}
        newest = _newest(ran.get((check, scope), ()), entry.seq)
        for subject in data["subjects"]:
            place = (check, scope, subject)
            seq, before = looked.get(place, (-1, ""))
            if newest > seq:
                before = _stood(stood.get(place, ()), newest)
            after, reason = seen.get(subject, ("", data["reason"] if data["found"] is None else NOT_LISTED))
            found.append(
                SpotLine(
                    seq=entry.seq,
                    at=entry.at,
                    feed=data["event"]["feed"],
                    events=tuple(data["event"]["ids"]),
                    since=canonical.moment(data["event"]["since"]),
                    started=started,
                    account=data["account"],
                    check=check,
                    scope=scope,
                    subject=subject,
                    before=before,
                    after=after,
                    reason=reason,
                    calls=data["calls"],
                )
            )
            if after:
                looked[place] = entry.seq, after
    return tuple(found)


def _newest(ran: Sequence[int], seq: int) -> int:
    """The last run before an entry; -1 without one."""
    place = bisect_left(ran, seq)
    return ran[place - 1] if place else -1


def _stood(known: Iterable[Stretch], run: int) -> str:
    """How a subject stood by a run; "" when it was not in its population."""
    return next((s.state.value for s in known if s.from_run <= run and (s.to_run is None or run < s.to_run)), "")
