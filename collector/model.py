"""The nouns, as an auditor says them. Frozen values without verbs; nothing here imports anything of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    SATISFIED = "satisfied"
    NOT_SATISFIED = "not-satisfied"
    NOT_APPLICABLE = "not-applicable"
    UNDETERMINED = "undetermined"  # said by collect.py alone, when it could not look


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the facts mean: a state, and the reason in words that follow "The subject ..."."""

    state: State
    reason: str


@dataclass(frozen=True, order=True)
class Scope:
    """One account as a whole, or one part of it; what each cloud calls them is in ``ACCOUNT_WORDS``, ``PART_WORDS``."""

    cloud: str
    account: str
    part: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.cloud, self.account, self.part) if part)

    @classmethod
    def parse(cls, text: str) -> Scope:
        """The scope that ``str`` wrote: ``aws/123456789012`` or ``aws/123456789012/eu-west-1``."""
        cloud, account, *part = text.split("/", 2)
        return cls(cloud, account, part[0] if part else "")


# An account is what one run opens, with one identity; a check runs once for it, or once for each of its parts.
ACCOUNT_WORDS = {"aws": "account", "azure": "tenant", "gcp": "organization"}
PART_WORDS = {"aws": "region", "azure": "subscription", "gcp": "project"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question with its answer. ``body`` is the SHA-256 of the kept (redacted) answer, "" when there was none."""

    cloud: str
    endpoint: str
    operation: str  # "ec2:DescribeVolumes"
    params: Mapping[str, Any]
    page: int  # from 1
    last: bool
    status: int  # HTTP status; 0 when no answer came
    error: str  # the provider's error code, or the class of the transport error; "" when answered
    failure: str  # the code of our error family when this was no answer: "denied", "throttled", ...; "" when it was one
    attempts: int
    request_id: str
    date: str  # the provider's Date header, as sent
    as_of: str  # the time that the answer itself says it speaks of (RFC 3339), "" when it carries none
    host: str  # the host really asked, where it is not ``endpoint``; "" otherwise
    started: datetime
    duration_ms: int
    body: str


@dataclass(frozen=True, slots=True)
class Observation:
    """One subject, judged once, with the ids of the exchanges it rests on."""

    subject: str
    verdict: Verdict
    facts: Mapping[str, Any] | None  # None when undetermined
    exchanges: tuple[str, ...]


@dataclass(frozen=True)
class CheckRun:
    """One check over one scope, once. ``population`` None means nobody knows who was in it."""

    check: str
    scope: Scope
    started: datetime
    finished: datetime
    population: int | None
    observations: tuple[Observation, ...]
    listing: tuple[str, ...]  # the ids of the exchanges that the population rests on
    reason: str = ""  # why there is no population
    failure: str = ""  # code of the error family, or "crashed"

    def __post_init__(self) -> None:
        if self.population is None:
            if self.observations or not self.reason:
                raise ValueError(
                    f"{self.check} over {self.scope}: a run without population has a reason and no subjects"
                )
        elif self.population != len(self.observations):
            raise ValueError(
                f"{self.check} over {self.scope}: {self.population} subjects in the population, "
                f"{len(self.observations)} observed; the run is refused"
            )

    def counts(self) -> dict[str, int]:
        """How many subjects are in each state; all four states are always named."""
        found = {state.value: 0 for state in State}
        for observation in self.observations:
            found[observation.verdict.state.value] += 1
        return found


@dataclass(frozen=True)
class Gap:
    """A stretch ``[since, until)`` of slots that were not observed, declared by the collector with a reason."""

    scope: Scope
    checks: tuple[str, ...]  # empty: every check of the plan
    since: datetime
    until: datetime
    reason: str
