"""What is told when nothing changes: an alert that nobody took note of, and once a day how things stand.

Both are ``alert`` entries like every other, so they are delivered, retried and kept alike. What was told before is read
out of the ledger: a restart, or another replica, tells nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from collector import canonical
from collector.alert import route
from collector.alert.message import clipped, head, line
from collector.config import Settings
from collector.controls import Controls, Severity
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.store import Ledger
from collector.window.coverage import Coverage, coverage, percent
from collector.window.quiet import last_struck
from collector.window.slots import Declared, Ran, account_for, due, plan_from

DAY = timedelta(hours=24)
ESCALATIONS_MAX = 200  # of one pass
LINES_MAX = 50  # of each part of a digest
LINE_CHARACTERS_MAX = 240
PART_BYTES_MAX = 12_000  # four parts fit into an entry
DIGEST = "digest"


def escalate(ledger: Ledger, controls: Controls, settings: Settings, clock: Callable[[], datetime]) -> list[Entry]:
    """Tells others of each alert that stands open and that nobody has taken note of, as its route asks; each once.

    The time in which quiet hours held an alert back from everybody does not count.
    """
    waits = [route.escalate_after for route in settings.route if route.escalate_after is not None]
    if not waits:
        return []
    now = clock()
    longest = now - timedelta(seconds=min(waits))
    if not ledger.projection.unheard(longest):
        return []
    found: list[Entry] = []
    with ledger.write() as batch:
        for entry in batch.projection.unheard(longest):
            data = entry.data
            asked = route.escalation(data, controls, settings)
            if asked is None or now < _heard(entry) + asked[0]:
                continue
            names = asked[1]
            fields = _body(data) | {"event": "escalate", "channels": list(names)}
            fields["reason"] = data["reason"]
            if held := route.held(data, names, controls, settings, now):
                fields["quiet"] = held
            found.append(batch.add(Draft(Kind.ALERT, now, fields)))
            if len(found) == ESCALATIONS_MAX:
                break
    return found


def _heard(entry: Entry) -> datetime:
    """When the first channel was to be told."""
    held: Mapping[str, str] = entry.data.get("quiet", {})
    if any(channel not in held for channel in entry.data["channels"]):
        return entry.at
    return min((canonical.moment(until) for until in held.values()), default=entry.at)


def _body(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an alert, for another entry about the same."""
    return {name: value for name, value in data.items() if name not in ("seq", "kind", "at", "quiet")}


# --- once a day ---


def digest(ledger: Ledger, settings: Settings, clock: Callable[[], datetime]) -> Entry | None:
    """Tells how things stand, when the hour of the digest has struck and nobody was told since. None otherwise.

    A collector that was down at that hour tells it late, and once.
    """
    asked = settings.digest
    if asked is None:
        return None
    now = clock()
    struck = last_struck(asked.at, asked.zone, now)
    last = ledger.projection.last_told((DIGEST, "", ""))
    if (last is not None and last.at >= struck) or not ledger.size() or ledger.entry(0).at >= struck:
        return None
    fields = summed_up(ledger, settings, struck, now) | {"channels": list(asked.channels)}
    with ledger.write() as batch:
        last = batch.projection.last_told((DIGEST, "", ""))
        if last is not None and last.at >= struck:
            return None
        return batch.add(Draft(Kind.ALERT, now, fields))


def summed_up(ledger: Ledger, settings: Settings, struck: datetime, now: datetime) -> dict[str, Any]:
    """The fields of a digest but its channels: the day that ended when the hour struck."""
    since = struck - DAY
    opened = sorted(ledger.projection.open_alerts().values(), key=_worst_first)
    ended = [
        entry
        for entry in ledger.projection.told_since(since)
        if entry.data["event"] == "resolve" and entry.at < now and entry.data["cause"] != DIGEST
    ]
    over = [entry for entry in ended if not entry.data.get("unobserved")]
    left = [entry for entry in ended if entry.data.get("unobserved")]
    slots = _coverage(ledger, settings, since, struck)
    wanted, covered = sum(one.due for one in slots), sum(one.covered for one in slots)
    holes = [one for one in slots if one.covered < one.due]
    words = f"{len(opened):,} alerts stand open, {len(over):,} were over within a day; {percent(covered, wanted)} of "
    lines = [
        *_part("Open", (_opened_line(entry) for entry in opened), len(opened)),
        *_part("Over", (_over_line(entry) for entry in over), len(over)),
        *_part("No longer observed", (_over_line(entry) for entry in left), len(left)),
        *_part("Not fully observed", (_hole_line(one) for one in holes), len(holes)),
    ]
    return {
        "key": route.dedup_key(DIGEST, "", "", canonical.stamp(struck)),
        "event": DIGEST,
        "cause": DIGEST,
        "severity": Severity.LOW.value,
        "check": "",
        "scope": "",
        "subject": "",
        "control": "",
        "owner": "",
        "family": "",
        "title": "What stands open, what is over, and how much was observed.",
        "reason": f"{words}{wanted:,} due observations took place in time",
        "remedy": "",
        "since": canonical.stamp(since),
        "last_good": None,
        "first_bad": None,
        "open": len(opened),
        "over": len(over),
        "closed": len(left),
        "due": wanted,
        "covered": covered,
        "lines": lines,
    }


def _worst_first(entry: Entry) -> tuple[int, int]:
    order = [severity.value for severity in Severity]
    said = entry.data.get("severity", Severity.HIGH.value)
    return order.index(said), entry.seq


def _part(title: str, lines: Iterable[str], count: int) -> list[str]:
    """A part of the digest: its title with how many there are, and as many of them as fit."""
    shown: list[str] = []
    room = PART_BYTES_MAX
    for one in lines:
        text = f"  {clipped(line(one), LINE_CHARACTERS_MAX)}"
        room -= len(text.encode())
        if len(shown) == LINES_MAX or room < 0:
            break
        shown.append(text)
    if not count:
        return []
    more = [f"  and {count - len(shown):,} more"] if count > len(shown) else []
    return [f"{title} ({count:,}):", *shown, *more]


def _about(entry: Entry) -> str:
    data = entry.data
    return f"{data['control'] or data['check'] or data['cause']}: {data['subject'] or data['scope']}"


def _opened_line(entry: Entry) -> str:
    data = entry.data
    said = data.get("severity", Severity.HIGH.value)
    return f"{said}: {head(data)}: {_about(entry)} {data['reason']} (since {data['since'][:16]}Z, entry {entry.seq})"


def _over_line(entry: Entry) -> str:
    return f"{head(entry.data)}: {_about(entry)} {entry.data['reason']} (since {entry.data['since'][:16]}Z)"


def _hole_line(one: Coverage) -> str:
    hole = int(one.longest_gap.total_seconds() // 60)
    return f"{one.check} over {one.scope}: {one.covered} of {one.due} in time, the longest hole {hole} min"


def _coverage(ledger: Ledger, settings: Settings, since: datetime, until: datetime) -> list[Coverage]:
    read = ledger.projection
    plans = [plan_from(entry.data) for entry in read.plans(since, until)]
    runs = [Ran(*row) for row in read.runs(since=since, until=until)]
    gaps = [
        Declared(row.seq, row.account, tuple(row.checks), row.since, row.until, row.reason)
        for row in read.gaps(since, until)
    ]
    grace = timedelta(seconds=settings.schedule.grace)
    return coverage(account_for(due(plans, since, until), runs, gaps, grace), until)
