"""What changed between two runs that somebody should hear of. Pure; alert/ decides who hears it, and says it.

Blindness is a drift of its own: a subject that can no longer be read is neither mended nor broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from collector.model import CheckRun, State


class Cause(StrEnum):
    FAILED = "failed"  # a subject is not satisfied
    BLIND = "blind"  # a subject, or a whole scope, can no longer be read
    MISSED = "missed"  # slots passed that nobody observed
    LATE = "late"  # an account's runs begin after their grace: there is more to do than the cadence leaves time for
    ANCHOR = "anchor"  # a place outside takes no checkpoints; the subject is the place, check and scope are ""
    LAPSED = "lapsed"  # a decision to live with a deviation is over, and the deviation is not


class Event(StrEnum):
    TRIGGER = "trigger"
    RESOLVE = "resolve"


@dataclass(frozen=True)
class Drift:
    """One transition. ``subject`` is "" for a whole scope, ``check`` "" for a whole account.

    ``last_good`` and ``first_bad`` are sequence numbers of run entries: the evidence on either side of the change.
    """

    cause: Cause
    event: Event
    check: str
    scope: str
    subject: str
    reason: str
    since: datetime
    last_good: int | None
    first_bad: int | None


@dataclass(frozen=True)
class Opened:
    """What is known of an alert that has been triggered and not yet resolved."""

    since: datetime
    last_good: int | None
    first_bad: int | None


def drifts(
    run: CheckRun, seq: int, previous: int | None, opened: Mapping[tuple[Cause, str], Opened], good: frozenset[str]
) -> list[Drift]:
    """The transitions that a run shows, given what is already known to be open for its check and scope.

    ``seq`` is the run's entry, ``previous`` the entry of the run before it over the same scope, ``good`` the subjects
    that run found satisfied or not applicable. Each transition is reported once: while it stands open it is silence.
    """
    found: list[Drift] = []

    def trigger(cause: Cause, subject: str, reason: str, last_good: int | None) -> None:
        if (cause, subject) not in opened:
            found.append(
                Drift(cause, Event.TRIGGER, run.check, str(run.scope), subject, reason, run.started, last_good, seq)
            )

    def resolve(cause: Cause, subject: str, reason: str) -> None:
        known = opened.get((cause, subject))
        if known is not None:
            found.append(
                Drift(
                    cause,
                    Event.RESOLVE,
                    run.check,
                    str(run.scope),
                    subject,
                    reason,
                    known.since,
                    seq,
                    known.first_bad,
                )
            )

    if run.population is None:
        trigger(Cause.BLIND, "", run.reason, previous)
        return found
    resolve(Cause.BLIND, "", "the population can be read again")
    for observation in run.observations:
        state, reason = observation.verdict.state, observation.verdict.reason
        if state is State.UNDETERMINED:
            trigger(Cause.BLIND, observation.subject, reason, previous if observation.subject in good else None)
            continue
        resolve(Cause.BLIND, observation.subject, f"can be read again: {reason}")
        if state is State.NOT_SATISFIED:
            trigger(Cause.FAILED, observation.subject, reason, previous if observation.subject in good else None)
        else:
            resolve(Cause.FAILED, observation.subject, reason)
    present = {observation.subject for observation in run.observations}
    for cause, subject in opened:
        if subject and subject not in present and cause in (Cause.FAILED, Cause.BLIND):
            resolve(cause, subject, "is no longer in the population")
    return found
