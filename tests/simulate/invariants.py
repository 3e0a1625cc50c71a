"""What must hold of a life that was lived: every invariant of DESIGN section 13, looked at from outside.

Written by another hand than the collector: slots, hashes, states and alerts are worked out anew here from the entries,
the truth of the clouds and what receivers and the place outside have seen. Raises Broken with the first thing wrong.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from collector import canonical, reperform
from collector.ledger.entry import Entry, Kind
from collector.ledger.merkle import extends
from collector.ledger.note import Note
from collector.ledger.store import Ledger
from collector.ledger.tables import DERIVED
from tests.simulate.clouds import BAD, GOOD, OUTSIDE, UNKNOWN
from tests.simulate.life import HOUR, Broken, Life, shipped
from tests.simulate.process import head_of

SETTLED = HOUR  # before the end: what was due until then has been answered or declared
PREFIXES = 12
CALL_LOGS = 8
FLAP_STEADY = 6  # runs, docs/decisions/0008: an alert that flaps is over no later


def require(holds: bool, words: str) -> None:
    if not holds:
        raise Broken(words)


def check(life: Life, ledger: Ledger) -> dict[str, Any]:
    """Everything. Returns what there was, in numbers."""
    entries = list(ledger.entries())
    runs = [entry for entry in entries if entry.kind is Kind.RUN]
    order(entries)
    slots = accounted(life, entries, runs)
    truth(life, ledger, runs)
    alerts(life, ledger, entries)
    deliveries(life, ledger, entries)
    acknowledged(life, entries)
    prefixes(life, ledger, entries)
    reperformed(life, ledger, runs)
    rebuilt(ledger)
    states = Counter[str]()
    for run in runs:
        states.update(run.data["states"] or {"without population": 1})
    kinds = Counter(entry.kind.value for entry in entries)
    return {
        "entries": len(entries),
        "runs": len(runs),
        "slots": dict(slots),
        "states": dict(states),
        "kinds": dict(kinds),
        "root": ledger.root().hex(),
    }


# --- order ---


def order(entries: list[Entry]) -> None:
    """Contiguous, and no entry is older than the one before it."""
    before = entries[0].at
    for number, entry in enumerate(entries):
        require(entry.seq == number == entry.data["seq"], f"entry {number} is numbered {entry.seq}")
        require(entry.at >= before, f"entry {number} is of {entry.at}, the one before it of {before}")
        before = entry.at


# --- slots ---


def accounted(life: Life, entries: list[Entry], runs: list[Entry]) -> Counter[str]:
    """Each slot that a plan asks for has one run or a declared gap. The plans are read the slow, obvious way."""
    end = life.clock.now - SETTLED
    ran = Counter((r.data["check"], r.data["scope"], r.data["slot"]) for r in runs if r.data["slot"])
    twice = [key for key, times in ran.items() if times > 1]
    require(not twice, f"sealed twice: {twice[:2]}")
    for run in runs:
        if run.data["slot"]:
            slot, started = (canonical.moment(run.data[name]) for name in ("slot", "started"))
            require(slot <= started <= run.at, f"entry {run.seq} of slot {slot} began {started}: written back")
    gaps = defaultdict(list)
    for entry in entries:
        if entry.kind is Kind.GAP:
            since, until = (canonical.moment(entry.data[name]) for name in ("since", "until"))
            require(since <= entry.at, f"entry {entry.seq} declares what was not yet due")
            gaps[entry.data["account"]].append((since, until, set(entry.data["checks"])))
    outcome = Counter[str]()
    for account, check, scope, at in due(entries, end):
        if (check, scope, canonical.stamp(at)) in ran:
            outcome["run"] += 1
            continue
        declared = any(s <= at < u and (not checks or check in checks) for s, u, checks in gaps[account])
        require(declared, f"{check} over {scope} was due {at}, and has neither a run nor a gap")
        outcome["gap"] += 1
    require(outcome["run"] > 0, "nothing was ever observed")
    return outcome


def due(entries: Iterable[Entry], end: datetime) -> Iterator[tuple[str, str, str, datetime]]:
    by_account = defaultdict(list)
    for entry in entries:
        if entry.kind is Kind.PLAN:
            by_account[entry.data["account"]].append(entry.data)
    for account, plans in by_account.items():
        for plan, following in zip(plans, [*plans[1:], None], strict=True):
            since, until = canonical.moment(plan["since"]), min(canonical.moment(plan["until"]), end)
            if following is not None:  # each is written when it begins to hold
                until = min(until, canonical.moment(following["since"]))
            for item in plan["checks"]:
                scopes = item.get("scopes") or [f"{account}/{part}" for part in plan["parts"]]
                at = -(-int(since.timestamp()) // item["every_s"]) * item["every_s"]
                while at < until.timestamp():
                    moment = datetime.fromtimestamp(at, since.tzinfo)
                    if moment >= since:
                        for scope in scopes:
                            yield account, item["check"], scope, moment
                    at += item["every_s"]


# --- truth ---


def truth(life: Life, ledger: Ledger, runs: list[Entry]) -> None:
    """Each run says what was so and could be seen, no more and no less: unknown is never good, and never nobody."""
    for run in runs:
        data = run.data
        started = canonical.moment(data["started"])
        known = [expected for at, expected in life.truth[data["account"]] if at <= started][-1]
        wanted = known.get((data["check"], data["scope"]))
        where = f"entry {run.seq}: {data['check']} over {data['scope']} at {started}"
        if data["population"] is None:
            require(wanted is None, f"{where} found nobody ({data['reason']}), and could see {wanted}")
            continue
        require(wanted is not None, f"{where} found {data['population']}, and could see nobody")
        observed = canonical.parse(ledger.blob(data["observations"]))["subjects"]
        found = {item["subject"]: item["state"] for item in observed}
        require(found == wanted, f"{where} found {_unlike(found, wanted or {})}")
        counts = Counter(found.values())
        require(
            {state: counts[state] for state in (GOOD, BAD, OUTSIDE, UNKNOWN)} == data["states"]
            and sum(data["states"].values()) == data["population"] == len(observed),
            f"{where}: {data['states']} do not add up to {data['population']}",
        )


def _unlike(found: dict[str, str], wanted: dict[str, str]) -> str:
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return ", ".join(f"{name} {found.get(name)}, not {wanted.get(name)}" for name in names[:3])


# --- alerts ---


@dataclass
class _Pair:
    """What alerts know of one check over one scope: how each subject stood in each run, the newest last."""

    seen: list[bool] = field(default_factory=list)
    looks: dict[str, list[str]] = field(default_factory=dict)
    runs: int = 0

    def add(self, states: dict[str, str] | None) -> None:
        self.seen.append(states is not None)
        if states is None:
            return
        for subject in self.looks.keys() | states.keys():
            # of before it came nobody knows anything but that it was not there
            self.looks.setdefault(subject, ["gone"] * self.runs).append(states.get(subject, "gone"))
        self.runs += 1

    def row(self, cause: str, subject: str, bad: bool) -> int:
        """How many runs in a row, up to now, found a subject bad (or good); runs that could not tell do not count."""
        if cause == "blind":
            history = [not seen for seen in self.seen] if not subject else [s == UNKNOWN for s in self.looks[subject]]
            tells: list[bool | None] = list(history)
        else:
            tells = [None if s == UNKNOWN else s == BAD for s in self.looks.get(subject, [])]
        count = 0
        for look in reversed(tells):
            if look is None:
                continue
            if look is not bad:
                break
            count += 1
        return count

    def now(self, cause: str, subject: str) -> bool | None:
        """Whether it is bad now; None when nobody can tell."""
        if cause == "blind":
            return not self.seen[-1] if not subject else self.looks[subject][-1] == UNKNOWN
        last = self.looks[subject][-1]
        return None if last == UNKNOWN else last == BAD


def subjects_of(ledger: Ledger, data: dict[str, Any]) -> list[str]:
    """Whom an alert is about: one subject, those of its list, or "" for a whole scope."""
    return list(canonical.parse(ledger.blob(data["list"]))) if data.get("list") else [data["subject"]]


def alerts(life: Life, ledger: Ledger, entries: list[Entry]) -> None:
    """Each drift is alerted once: begun when it happened, over when it was over, and silent in between."""
    pairs: dict[tuple[str, str], _Pair] = defaultdict(_Pair)
    standing: dict[tuple[str, str, str, str], str] = {}  # cause, check, scope, subject: key
    keys: dict[str, int] = {}
    rules = _rules({})
    plans: dict[str, dict[str, Any]] = {}
    flapping: set[str] = set()
    last: tuple[str, str] | None = None
    for entry in entries:
        data = entry.data
        if entry.kind is Kind.CONFIG:
            rules = _rules(canonical.parse(ledger.blob(data["blob"]))["controls"])
        if entry.kind in (Kind.RUN, Kind.GAP, Kind.ANCHOR, Kind.CONFIG, Kind.HEARTBEAT, Kind.PLAN):
            _settled(pairs, standing, last, rules, entry.seq)
            last = None
        if entry.kind is Kind.PLAN:
            plans[data["account"]] = data
        if entry.kind is Kind.RUN:
            last = data["check"], data["scope"]
            blob = data["observations"]
            found = None
            if data["population"] is not None:
                found = {s["subject"]: s["state"] for s in canonical.parse(ledger.blob(blob))["subjects"]}
            pairs[last].add(found)
        elif entry.kind is Kind.ALERT:
            if data.get("flaps"):
                flapping.add(data["key"])  # over only when it was well six times in a row, which may be after the end
            if data.get("unobserved") and data["scope"]:
                account = "/".join(data["scope"].split("/")[:2])
                require(not _asks(plans[account], data), f"entry {entry.seq} closes what a plan still asks for")
            _alert(entry, subjects_of(ledger, data), pairs, standing, keys, last, rules)
    _settled(pairs, standing, last, rules, len(entries))
    left = [
        place
        for place, key in standing.items()
        if place[0] in ("missed", "late", "anchor") and key not in flapping and _watched(life, place[2])
    ]
    require(not left, f"all was well at the end, and still stand: {left[:3]}")


def _asks(plan: dict[str, Any], alert: dict[str, Any]) -> bool:
    """Whether a plan asks for what an alert is about."""
    if not alert["check"]:
        return bool(plan["checks"])
    return any(
        item["check"] == alert["check"]
        and alert["scope"] in (item.get("scopes") or [f"{plan['account']}/{part}" for part in plan["parts"]])
        for item in plan["checks"]
    )


def _watched(life: Life, scope: str) -> bool:
    """Whether the operator still has an account observed; of one that was taken out nobody can say that it is well."""
    return not scope or any(scope == known or scope.startswith(f"{known}/") for known in life.settings.accounts)


def _rules(controls: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """By check, how many runs in a row begin an alert, and how many end it."""
    found: dict[str, tuple[int, int]] = {}
    for control in controls.values():
        for check in control["checks"]:
            confirm, steady = int(control.get("confirm", 1)), int(control.get("steady", 1))
            before = found.get(check, (confirm, steady))
            found[check] = min(before[0], confirm), max(before[1], steady)
    return found


def _alert(
    entry: Entry,
    subjects: list[str],
    pairs: dict[tuple[str, str], _Pair],
    standing: dict[tuple[str, str, str, str], str],
    keys: dict[str, int],
    last: tuple[str, str] | None,
    rules: dict[str, tuple[int, int]],
) -> None:
    data = entry.data
    event, cause, pair = data["event"], data["cause"], (data["check"], data["scope"])
    if event == "escalate":
        require(data["key"] in keys, f"entry {entry.seq} escalates what does not stand")
        escalated = f"escalated {keys[data['key']]}"
        require(escalated not in keys, f"entry {entry.seq} escalates {data['key']} again")
        keys[escalated] = entry.seq
    if event not in ("trigger", "update", "resolve"):
        return
    where = f"entry {entry.seq} ({cause} {event} of {pair})"
    key = data["key"]
    if event == "trigger":
        require(key not in keys, f"{where} begins what entry {keys.get(key)} began already")
        keys[key] = entry.seq
    else:
        require(key in keys, f"{where} ends what never began")
        if event == "resolve":
            del keys[key]
    of_run = cause in ("failed", "blind") and not data.get("unobserved")
    require(not of_run or last == pair, f"{where} does not follow a run of it but of {last}")
    for subject in subjects:
        place = (cause, *pair, subject)
        if event == "trigger":
            require(place not in standing, f"{where}: {subject!r} stands already")
            standing[place] = key
            if of_run:
                row = pairs[pair].row(cause, subject, bad=True)
                wanted = rules.get(pair[0], (1, 1))[0]
                require(
                    pairs[pair].now(cause, subject) is True and row >= wanted, f"{where}: {subject!r} has not fallen"
                )
        else:
            require(standing.get(place) == key, f"{where}: {subject!r} does not stand")
            del standing[place]
            if of_run:
                require(pairs[pair].now(cause, subject) is False, f"{where}: {subject!r} is not mended")
    if event == "resolve":
        left = [place for place, known in standing.items() if known == key]
        require(not left, f"{where} ends it, and {left[:2]} are not")


def _settled(
    pairs: dict[tuple[str, str], _Pair],
    standing: dict[tuple[str, str, str, str], str],
    last: tuple[str, str] | None,
    rules: dict[str, tuple[int, int]],
    seq: int,
) -> None:
    """After a run with its alerts: whoever has fallen stands, and whoever is well does not."""
    if last is None:
        return
    pair = pairs[last]
    confirm, steady = rules.get(last[0], (1, 1))
    places = [("blind", "")]
    if pair.seen[-1]:
        places += [(cause, subject) for cause in ("failed", "blind") for subject in pair.looks]
    for cause, subject in places:
        stands = (cause, *last, subject) in standing
        now = pair.now(cause, subject)
        where = f"before entry {seq}: {cause} of {last}, {subject!r}"
        if now is True and not stands:
            row = pair.row(cause, subject, bad=True)
            require(row < confirm, f"{where} has fallen {row} times in a row, and nobody was told")
        if now is False and stands:
            row = pair.row(cause, subject, bad=False)
            require(row < max(steady, FLAP_STEADY), f"{where} is well {row} times in a row, and its alert stands")


# --- deliveries ---


def deliveries(life: Life, ledger: Ledger, entries: list[Entry]) -> None:
    """Whatever was owed to a channel arrived or was given up; nobody heard of what is not written down; in order."""
    require(not ledger.projection.pending(life.clock.now), "alerts are owed although all is well")
    by_seq = {entry.seq: entry for entry in entries if entry.kind is Kind.ALERT}
    settled = {
        (entry.data["alert"], entry.data["channel"]): entry.data["outcome"]
        for entry in entries
        if entry.kind is Kind.DELIVERY and entry.data["outcome"] != "failed"
    }
    heard: dict[str, dict[int, int]] = {receiver.name: {} for receiver in life.receivers}
    for receiver in life.receivers:
        began: dict[str, int] = {}
        for at, data in receiver.got:
            seq = data["seq"]
            held = data.get("quiet", {}).get(receiver.name)
            require(held is None or at >= canonical.moment(held), f"{receiver.name} was disturbed by {seq} at {at}")
            require(seq in by_seq and by_seq[seq].data == data, f"{receiver.name} heard of {seq}, which is not so")
            if seq not in heard[receiver.name]:
                key = data["key"]
                require(began.get(key, -1) < seq, f"{receiver.name} heard of {seq} after {began.get(key)}")
                began[key] = seq
            heard[receiver.name][seq] = heard[receiver.name].get(seq, 0) + 1
    for entry in by_seq.values():
        for channel in entry.data["channels"]:
            held = entry.data.get("quiet", {}).get(channel)
            if held is not None and canonical.moment(held) > life.clock.now:
                continue  # its hour has not come
            outcome = settled.get((entry.seq, channel))
            require(outcome is not None, f"alert {entry.seq} was owed to {channel}, and nobody knows what became of it")
            if outcome == "delivered":
                require(entry.seq in heard[channel], f"alert {entry.seq} is said to have reached {channel}")
    crashes = life.happened.get("deaths", 0)
    for name, got in heard.items():
        again = sum(times - 1 for times in got.values())
        lost = sum(
            e.data["outcome"] == "failed" and e.data["channel"] == name for e in entries if e.kind is Kind.DELIVERY
        )
        fenced = life.happened.get("holds", 0)
        require(again <= crashes + lost + fenced, f"{name} heard {again} alerts again, after {crashes} deaths")


# --- nothing acknowledged is lost ---


def acknowledged(life: Life, entries: list[Entry]) -> None:
    """What anybody was told is there, byte by byte; and so is every checkpoint that is held outside."""
    runs = sum(entry.kind is Kind.RUN for entry in entries)
    require(len(life.acknowledged) > runs / 2, f"of {runs} runs only {len(life.acknowledged)} were ever acknowledged")
    for seq, digest in life.acknowledged.items():
        kept = seq < len(entries) and hashlib.sha256(entries[seq].body).hexdigest() == digest
        require(kept, f"entry {seq} was acknowledged, and is not there as it was")


# --- prefixes ---


def prefixes(life: Life, ledger: Ledger, entries: list[Entry]) -> None:
    """Every signed prefix, every one held outside and some at random hash to what was said, from the bodies alone."""
    ledger.verify(blobs=True)
    leaves = [hashlib.sha256(b"\x00" + entry.body).digest() for entry in entries]
    checkpoints = ledger.checkpoints()
    require(bool(checkpoints) and checkpoints[-1].size == len(entries), "what was written last was not signed")
    chance = random.Random(f"{life.seed} prefixes")
    sizes = {chance.randint(1, len(leaves)) for _ in range(PREFIXES)} | {len(leaves)}
    roots = {size: _root(leaves[:size]) for size in sorted(sizes)}
    for size, root in roots.items():
        require(ledger.root(size) == root, f"the first {size} entries hash to another root")
    keys = [known.key for known in ledger.key_entries()]
    before = checkpoints[0]
    for checkpoint in checkpoints[1:]:
        path = ledger.consistency(before.size, checkpoint.size)
        continues = extends(before.size, checkpoint.size, before.root, checkpoint.root, path)
        require(continues, f"the checkpoint of {checkpoint.size} does not continue that of {before.size}")
        before = checkpoint
    for checkpoint in [*chance.sample(checkpoints, min(6, len(checkpoints))), checkpoints[-1]]:
        require(_root(leaves[: checkpoint.size]) == checkpoint.root, f"checkpoint {checkpoint.size} has another root")
        Note.parse(checkpoint.note).verify(keys)
    for head, note in life.place.held:
        require(ledger.root(head.size) == head.root, f"the place outside holds another history of {head.size} entries")
        require(head_of(note.decode()) == head, "the place outside holds something else than was put there")
    require(bool(life.place.held) and life.place.held[-1][0].size > 0, "nothing was ever held outside")


def _root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it stands there."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + _root(leaves[:k]) + _root(leaves[k:])).digest()


# --- again ---


def reperformed(life: Life, ledger: Ledger, runs: list[Entry]) -> None:
    """Kept answers, judged again, give the same verdicts: a sample of the call logs that are still there."""
    by_calls = defaultdict(list)
    for run in runs:
        by_calls[run.data["calls"]].append(run.data)
    chance = random.Random(f"{life.seed} reperformed")
    there = [calls for calls in sorted(by_calls) if ledger.has_blob(calls)]
    require(bool(there), "no call log is kept any more")
    for calls in chance.sample(there, min(CALL_LOGS, len(there))):
        wrong = reperform.reperform(ledger.blob(calls), ledger.blob, by_calls[calls], shipped(), lambda _: None)
        require(not any(item.differs for item in wrong), f"judged again: {[i for i in wrong if i.differs][:2]}")


def rebuilt(ledger: Ledger) -> None:
    """Everything that is derived is the same when it is made again."""
    live = _derived(ledger)
    ledger.rebuild()
    again = _derived(ledger)
    for name, rows in live.items():
        if again[name] != rows:
            unlike = [pair for pair in zip(rows, again[name], strict=False) if pair[0] != pair[1]]
            sizes = f"{len(rows)} and {len(again[name])} rows"
            raise Broken(f"{name} is another when it is made again ({sizes}): {unlike[:2]}")


def _derived(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    with ledger.reading() as connection:
        return {table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr) for table in DERIVED}
