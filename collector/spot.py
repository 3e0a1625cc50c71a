"""Looks again at a few subjects outside the slots, because a change feed named them; one ``spot`` entry for each check.

A spot counts for no slot and no population, and moves no state that a full run found: it is evidence of its own, and
raises what drift says of the subjects that it names. Who has vanished, only a full run says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from collector import __version__, canonical
from collector.alert.standing import Standing
from collector.check import limits_record
from collector.clouds.directory import AccountSettings
from collector.clouds.transcript import Transcript, question_id
from collector.collect import Task, collect, refuse_old
from collector.controls import Controls
from collector.errors import CannotObserve, ConfigError, Denied
from collector.feed.event import Asked, News
from collector.ledger.entry import Draft, Entry, Kind, observations_blob, spot_fields
from collector.ledger.store import Batch, Ledger
from collector.model import CheckRun, Scope
from collector.registry import Registry


class Host(Protocol):
    """What of ``collector.operation.Operation`` is used here."""

    @property
    def clouds(self) -> Any: ...
    @property
    def clock(self) -> Callable[[], datetime]: ...
    @property
    def controls(self) -> Controls: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def config_digest(self) -> str: ...


@dataclass(frozen=True)
class Looked:
    """What was seen, before it is sealed."""

    asked: tuple[Asked, ...]
    runs: tuple[CheckRun, ...]
    reference: datetime
    principal: str
    transcript: Transcript


@dataclass(frozen=True)
class Spotted:
    """What a re-collection left in the ledger. ``calls``: how many questions it took."""

    runs: tuple[CheckRun, ...]
    entries: tuple[Entry, ...]
    alerts: int
    calls: int


def look(
    host: Host, account: AccountSettings, asked: Sequence[Asked], task: Callable[[str, Scope, Any], Task]
) -> Looked:
    """Lists each check's population over one transcript, and observes of it whom ``asked`` names."""
    reference, transcript, principal = host.clock(), Transcript(), ""
    refusal: CannotObserve | None = None
    handle: Any = None
    try:
        handle = host.clouds.open(account, transcript, reference)
        principal = handle.identity()
    except CannotObserve as error:
        refusal = error
    except ConfigError as error:
        refusal = Denied(str(error))
    if refusal is None:
        tasks = [replace(task(item.check, item.scope, handle), only=item.subjects) for item in asked]
        runs = collect(tasks, host.clock)
    else:
        why = f"the account could not be opened: {refusal}"
        runs = [
            CheckRun(item.check, item.scope, reference, host.clock(), None, (), (), why, refusal.code) for item in asked
        ]
    return Looked(tuple(asked), tuple(runs), reference, principal, transcript)


def seal(host: Host, account: Scope, looked: Looked, news: News, standing_of: Callable[[Batch], Standing]) -> Spotted:
    """Writes what was seen, with the alerts that it raises, in one transaction. Raises StoodStill."""
    entries: list[Entry] = []
    alerts = 0
    transcript = looked.transcript
    with host.ledger.write() as batch:
        refuse_old(looked.reference, host.clock())
        for exchange in transcript.log:
            if exchange.body:
                batch.blob(transcript.body(exchange.body), like=f"answer {question_id(exchange)}")
        calls = batch.blob(transcript.call_log(), like=f"calls of spots {account}")
        standing = standing_of(batch)
        for item, run in zip(looked.asked, looked.runs, strict=True):
            if run.population is not None:
                batch.blob(observations_blob(run))
            entry = batch.add(Draft(Kind.SPOT, host.clock(), _fields(host, account, looked, item, run, news, calls)))
            entries.append(entry)
            if run.population is not None:  # nobody was seen: the next full run says whether the scope is blind
                alerts += standing.after(run, entry.seq, only={o.subject for o in run.observations})
    return Spotted(looked.runs, tuple(entries), alerts, len(transcript.log))


def _fields(
    host: Host, account: Scope, looked: Looked, item: Asked, run: CheckRun, news: News, calls: str
) -> Mapping[str, Any]:
    known = host.registry[run.check]
    return spot_fields(
        run,
        account=account,
        subjects=item.subjects,
        event={"feed": news.feed, "ids": list(news.events), "since": canonical.stamp(news.since)},
        reference=looked.reference,
        version=known.check.version,
        code=known.code,
        limits=limits_record(host.controls.limits_of(run.check)),
        principal=looked.principal,
        calls=calls,
        config=host.config_digest,
        collector=__version__,
    )
