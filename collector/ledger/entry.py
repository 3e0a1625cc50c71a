"""What is written down: the kinds of entries, the fields of each, and the blobs they point to. Pure; stores nothing.

Every body is canonical JSON (RFC 8785) under 64 KiB and begins life as a mapping with ``seq``, ``kind`` and ``at``.
docs/reference/ledger.md describes each field for people who read a package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from collector import canonical
from collector.model import CheckRun, Gap, Scope
from collector.window.slots import PlannedCheck

BODY_BYTES_MAX = 65_535  # C2SP tlog-tiles writes an entry's length in 16 bits


class Kind(StrEnum):
    KEY = "key"
    CONFIG = "config"
    CHECK = "check"
    PLAN = "plan"
    RUN = "run"
    SPOT = "spot"
    GAP = "gap"
    HEARTBEAT = "heartbeat"
    ALERT = "alert"
    DELIVERY = "delivery"
    EXPORT = "export"
    ANCHOR = "anchor"
    ACCEPTANCE = "acceptance"
    ACK = "ack"
    EXPIRY = "expiry"
    WINDOW = "window"


@dataclass(frozen=True)
class Draft:
    """An entry before it has its place: the ledger adds ``seq``, ``kind`` and ``at``."""

    kind: Kind
    at: datetime
    fields: Mapping[str, Any]

    def body(self, seq: int) -> bytes:
        """The canonical bytes. Raises ValueError when they would not fit or are not canonical."""
        data = canonical.record({**self.fields, "seq": seq, "kind": self.kind.value, "at": canonical.stamp(self.at)})
        if len(data) > BODY_BYTES_MAX:
            raise ValueError(f"a {self.kind} entry of {len(data)} bytes; put what is large into a blob")
        return data


@dataclass(frozen=True)
class Entry:
    """One record of the ledger, exactly as it is hashed."""

    seq: int
    kind: Kind
    at: datetime
    body: bytes

    @cached_property
    def data(self) -> dict[str, Any]:
        parsed: dict[str, Any] = canonical.parse(self.body)
        return parsed


# --- run ---


def population_digest(subjects: Iterable[str]) -> str:
    """SHA-256 over the sorted subject names, one a line."""
    return canonical.digest("".join(f"{name}\n" for name in sorted(subjects)).encode())


def observations_blob(run: CheckRun) -> bytes:
    """All observations of a run, ordered by subject; the same bytes as long as nothing changed.

    ``exchanges`` lists ids of questions; each subject, and the listing, points into it.
    """
    ids = sorted({*run.listing, *(id for o in run.observations for id in o.exchanges)})
    place = {id: index for index, id in enumerate(ids)}
    subjects = [
        {
            "subject": o.subject,
            "state": o.verdict.state.value,
            "reason": o.verdict.reason,
            "facts": None if o.facts is None else dict(o.facts),
            "exchanges": sorted(place[id] for id in o.exchanges),
        }
        for o in run.observations
    ]
    return canonical.record(
        {"exchanges": ids, "listing": sorted(place[id] for id in run.listing), "subjects": subjects}
    )


def run_fields(
    run: CheckRun,
    *,
    account: Scope,
    slot: datetime | None,
    reference: datetime,
    version: int,
    code: str,
    limits: Mapping[str, int],
    principal: str,
    calls: str,
    config: str,
    collector: str,
) -> dict[str, Any]:
    """The fields of a ``run`` entry. ``calls`` is the digest of the call log; ``slot`` None for a run by hand."""
    counted = run.population is not None
    return {
        "account": str(account),
        "scope": str(run.scope),
        "check": run.check,
        "version": version,
        "code": code,
        "slot": None if slot is None else canonical.stamp(slot),
        "reference": canonical.stamp(reference),
        "started": canonical.stamp(run.started),
        "finished": canonical.stamp(run.finished),
        "principal": principal,
        "population": run.population,
        "subjects": population_digest(o.subject for o in run.observations) if counted else "",
        "states": run.counts() if counted else {},
        "observations": canonical.digest(observations_blob(run)) if counted else "",
        "calls": calls,
        "reason": run.reason,
        "failure": run.failure,
        "limits": dict(limits),
        "config": config,
        "collector": collector,
    }


def spot_fields(
    run: CheckRun,
    *,
    account: Scope,
    subjects: Iterable[str],
    event: Mapping[str, Any],
    reference: datetime,
    version: int,
    code: str,
    limits: Mapping[str, int],
    principal: str,
    calls: str,
    config: str,
    collector: str,
) -> dict[str, Any]:
    """The fields of a ``spot`` entry: a look at named ``subjects`` alone, because ``event`` named them.

    ``found`` counts those of them that the listing held, null when there was none; it is no population.
    """
    fields = run_fields(
        run,
        account=account,
        slot=None,
        reference=reference,
        version=version,
        code=code,
        limits=limits,
        principal=principal,
        calls=calls,
        config=config,
        collector=collector,
    )
    del fields["slot"]
    fields["found"] = fields.pop("population")
    return {**fields, "subjects": sorted(subjects), "event": dict(event)}


def as_run(spot: Mapping[str, Any], observed: Iterable[str]) -> dict[str, Any]:
    """A ``spot`` entry as a run over those that it ``observed``, so that what judges runs judges it too."""
    counted = spot["found"] is not None
    subjects = population_digest(observed) if counted else ""
    return {**spot, "slot": None, "population": spot["found"], "subjects": subjects}


# --- plan and gap ---


def plan_fields(
    account: Scope,
    since: datetime,
    until: datetime,
    planned: Sequence[PlannedCheck],
    parts: Sequence[str],
    config: str,
) -> dict[str, Any]:
    """The fields of a ``plan`` entry: the slots due in ``[since, until)``, written before the first of them.

    A check that is due over each of the parts says so in a word and lists none: 200 subscriptions a check would not
    fit into an entry.
    """
    everywhere = tuple(f"{account}/{part}" for part in parts)
    return {
        "account": str(account),
        "since": canonical.stamp(since),
        "until": canonical.stamp(until),
        "parts": list(parts),
        "checks": [
            {
                "check": item.check,
                **({"each": "part"} if item.scopes == everywhere else {"scopes": list(item.scopes)}),
                "every_s": item.every_s,
                "offset_s": item.offset_s,
            }
            for item in planned
        ],
        "config": config,
    }


def gap_fields(gap: Gap) -> dict[str, Any]:
    """The fields of a ``gap`` entry: the slots of ``[since, until)`` that nobody will observe any more, and why."""
    return {
        "account": str(gap.scope),
        "checks": list(gap.checks),
        "since": canonical.stamp(gap.since),
        "until": canonical.stamp(gap.until),
        "reason": gap.reason,
    }
