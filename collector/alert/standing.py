"""What stands open in a ledger, and the entries that are written when that changes. Delivers nothing.

Everything is read out of the ledger, within the transaction that writes: a restart or another replica changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from collector import canonical
from collector.alert import route
from collector.config import Settings
from collector.controls import Controls
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.projection import Before, Stood
from collector.ledger.store import Batch
from collector.model import CheckRun, State
from collector.registry import Registry
from collector.window.drift import FLAP_WITHIN, Cause, Drift, Event, Look, Opened, Rules, Told, drifts, flaps

LOOKS = 32  # earlier runs that are read at once
LOOKS_MAX = 512  # earlier runs that are looked at; what lies further back neither confirms nor ends anything
FACTS_MAX = 20
FACT_CHARACTERS_MAX = 200  # of a value; the observations blob has all of it
FACTS_BYTES_MAX = 20_000

# What a run shows of its subjects is told once a batch, by the thousand where an account is new: it is not held here.
OF_RUNS = (Cause.FAILED, Cause.BLIND)

Observed = Mapping[str, Mapping[str, Any] | None]  # the facts of each subject; None when they could not be read


class Standing:
    """The alerts that stand open, as one batch sees them. ``clock`` says when an alert is written.

    With ``account`` only those of that account and its parts are seen: with hundreds of accounts, the others' are many.
    """

    def __init__(
        self,
        batch: Batch,
        controls: Controls,
        settings: Settings,
        registry: Registry,
        clock: Callable[[], datetime],
        account: str = "",
    ) -> None:
        self._batch = batch
        self._controls = controls
        self._settings = settings
        self._registry = registry
        self._clock = clock
        self._open = batch.projection.open_alerts(account)
        self._by_place: dict[tuple[str, str], list[Entry]] = {}
        for entry in self._open.values():
            self._by_place.setdefault((entry.data["check"], entry.data["scope"]), []).append(entry)

    def opened(self, cause: Cause, check: str = "", scope: str = "", subject: str = "") -> Entry | None:
        """The alert about one thing that stands open; None when none does."""
        return self._open.get(route.dedup_key(cause, check, scope, subject))

    def of_cause(self, cause: Cause) -> dict[str, Entry]:
        """The alerts of one cause that stand open, by key."""
        return {key: entry for key, entry in self._open.items() if entry.data["cause"] == cause.value}

    def after(self, run: CheckRun, seq: int, only: Collection[str] | None = None) -> int:
        """Writes the transitions that a run shows, whose entry is ``seq``. Returns how many entries were added.

        ``only``: the run looked at these subjects alone, so it says nothing of others, nor of the scope.
        """
        place = run.check, str(run.scope)
        past = _Past(self._batch, *place, seq, self._clock())
        known = self._known(*place)
        if only is not None:
            known = {about: opened for about, opened in known.items() if about[1] in only}
        found = drifts(run, seq, known, past, Rules(*self._controls.rows_of(run.check)))
        evidence = _Evidence(self._batch, seq, run)
        for drift in found:
            self.change(drift, evidence.facts(drift))
        return len(found)

    def change(self, drift: Drift, facts: Sequence[Mapping[str, Any]] = ()) -> Entry:
        """Writes one transition."""
        key, now = route.key_of(drift), self._clock()
        known = self._open.get(key) if drift.event is not Event.TRIGGER else None
        fields = route.alert_fields(
            drift,
            self._controls,
            self._settings,
            self._registry,
            None if known is None else self._with_escalation(known),
            seq=self._batch.size,
            now=now,
            facts=facts,
        )
        if drift.group is not None:
            fields["list"] = self._batch.blob(canonical.payload(list(drift.subjects)))
        entry = self._batch.add(Draft(Kind.ALERT, now, fields))
        if drift.event is Event.TRIGGER and drift.cause not in OF_RUNS:
            self._open[key] = entry
        elif drift.event is Event.RESOLVE:
            self._open.pop(key, None)
        return entry

    def flaps(self, cause: Cause, check: str, scope: str, subject: str) -> bool:
        """Whether an alert about one thing that begins now is one of many."""
        now = self._clock()
        return flaps(subject, _Past(self._batch, check, scope, self._batch.size, now).told(cause), now)

    def close(self, entry: Entry, reason: str) -> Entry:
        """Ends an alert that stands open, since nobody is to look there any more: nothing was seen mended."""
        data = entry.data
        group = data.get("group")
        return self.change(
            Drift(
                Cause(data["cause"]),
                Event.RESOLVE,
                data["check"],
                data["scope"],
                data["subject"],
                reason,
                canonical.moment(data["since"]),
                data["last_good"],
                data["first_bad"],
                group=group,
                subjects=() if group is None else tuple(sorted(self._left(entry))),
                flaps=data.get("flaps", False),
                unobserved=True,
            )
        )

    def _with_escalation(self, known: Entry) -> dict[str, Any]:
        """The body of an alert, with the channels that were told of it later."""
        further = self._batch.projection.told_of(known.data["key"], "escalate")
        return {**known.data, "escalated": [channel for entry in further for channel in entry.data["channels"]]}

    def _known(self, check: str, scope: str) -> dict[tuple[Cause, str], Opened]:
        """What stands open for a check over a scope, under each subject that it stands for."""
        found: dict[tuple[Cause, str], Opened] = {}
        for entry in self._by_place.get((check, scope), ()):
            data = entry.data
            if self._open.get(data["key"]) is not entry:
                continue
            cause = Cause(data["cause"])
            group = data.get("group")
            subjects = frozenset() if group is None else self._left(entry)
            about = canonical.moment(data["since"]), data["last_good"], data["first_bad"]
            opened = Opened(*about, flaps=data.get("flaps", False), group=group, subjects=subjects)
            for subject in subjects or (data["subject"],):
                found[cause, subject] = opened
        return found

    def _left(self, entry: Entry) -> frozenset[str]:
        """The subjects of a group that are not over."""
        over = self._batch.projection.told_of(entry.data["key"], "update")
        return frozenset(_named(self._batch, entry)).difference(*(_named(self._batch, part) for part in over))


def _named(batch: Batch, entry: Entry) -> list[str]:
    """The subjects that an alert names: of a group all of them."""
    if "list" not in entry.data:
        return [entry.data["subject"]]
    found: list[str] = canonical.parse(batch.read(entry.data["list"]))
    return found


class _Past:
    """Earlier runs of one check over one scope, read when they are asked for and as far back as they are."""

    def __init__(self, batch: Batch, check: str, scope: str, seq: int, now: datetime) -> None:
        self._batch = batch
        self._place = check, scope
        self._seq = seq
        self._now = now
        self._runs: list[Before] = []
        self._stood: dict[str, list[Stood]] = {}
        self._whole = False

    def looks(self, subject: str) -> Iterator[Look]:
        number = 0
        while True:
            if number == len(self._runs) and not self._read_more():
                return
            run = self._runs[number]
            number += 1
            if not subject:
                yield Look(run.seq, run.started, State.SATISFIED if run.seen else State.UNDETERMINED)
            elif run.seen:
                yield Look(run.seq, run.started, self._state(subject, run.seq))

    def told(self, cause: Cause) -> list[Told]:
        entries = self._batch.projection.told(cause.value, *self._place, self._now - FLAP_WITHIN)
        return [
            Told(
                Event(entry.data["event"]),
                entry.at,
                frozenset(_named(self._batch, entry)),
                entry.data.get("flaps", False),
            )
            for entry in entries
            if entry.data["event"] in set(Event)
        ]

    def _read_more(self) -> bool:
        """Reads further back; whether there was anything."""
        if self._whole or len(self._runs) >= LOOKS_MAX:
            return False
        wanted = max(LOOKS, 4 * len(self._runs))
        had = len(self._runs)
        self._runs = self._batch.projection.runs_before(*self._place, self._seq, wanted)
        self._whole = len(self._runs) < wanted
        if len(self._runs) == had:
            return False
        self._stood = {}
        for stood in self._batch.projection.stood(*self._place, self._runs[-1].started):
            self._stood.setdefault(stood.subject, []).append(stood)
        return True

    def _state(self, subject: str, seq: int) -> State | None:
        for stood in self._stood.get(subject, ()):
            if stood.from_run <= seq and (stood.to_run is None or seq < stood.to_run):
                return stood.state
        return None


class _Evidence:
    """What runs read of their subjects, for saying what changed."""

    def __init__(self, batch: Batch, seq: int, run: CheckRun) -> None:
        self._batch = batch
        self._known: dict[int, Observed] = {seq: {o.subject: o.facts for o in run.observations}}

    def facts(self, drift: Drift) -> list[dict[str, Any]]:
        """Fact by fact what differs between the runs on either side of a transition."""
        if drift.cause is not Cause.FAILED or drift.event is Event.UPDATE:
            return []
        sides = drift.last_good, drift.first_bad
        if drift.event is Event.RESOLVE:
            sides = drift.first_bad, drift.last_good
        before, after = (self._of(seq) for seq in sides)
        return changed(before, after, drift.subjects or (drift.subject,))

    def _of(self, seq: int | None) -> Observed:
        if seq is None:
            return {}
        if seq not in self._known:
            entry = self._batch.projection.entry(seq)
            digest = entry.data["observations"] if entry.kind is Kind.RUN else ""
            found = canonical.parse(self._batch.read(digest))["subjects"] if self._there(digest) else ()
            self._known[seq] = {one["subject"]: one["facts"] for one in found}
        return self._known[seq]

    def _there(self, digest: str) -> bool:
        return bool(digest) and self._batch.has_blob(digest)


def changed(before: Observed, after: Observed, subjects: Iterable[str]) -> list[dict[str, Any]]:
    """The facts of some subjects that differ, each once: ``fact``, ``before`` (null when nothing was known) and
    ``after``; of several subjects the most common changes first, each with its ``count``."""
    found: Counter[tuple[str, str | None, str]] = Counter()
    number = 0
    for subject in subjects:
        number += 1
        now, then = after.get(subject), before.get(subject)
        for name, value in sorted((now or {}).items()):
            if then is None or name not in then or then[name] != value:
                found[name, None if then is None or name not in then else _text(then[name]), _text(value)] += 1
    ordered = found.most_common() if number > 1 else list(found.items())
    kept: list[dict[str, Any]] = []
    room = FACTS_BYTES_MAX
    for (name, then_text, now_text), count in ordered[:FACTS_MAX]:
        fact: dict[str, Any] = {"fact": name, "before": then_text, "after": now_text}
        if number > 1:
            fact["count"] = count
        room -= len(json.dumps(fact))
        if room < 0:
            break
        kept.append(fact)
    return kept


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else canonical.payload(value).decode("utf-8", "replace")
    return text if len(text) <= FACT_CHARACTERS_MAX else text[: FACT_CHARACTERS_MAX - 1] + "…"
