"""The contract between this program and a check. A check is one module that ends in one ``CHECK``.

What a check may use is here: the card, the three verdict makers, the strict parsers. What it may not say is
``undetermined``: that word belongs to the engine, which says it when a question got no answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast

from collector.errors import ConfigError
from collector.model import PART_WORDS, State, Verdict
from collector.parsers import absent_means as absent_means
from collector.parsers import boolean as boolean
from collector.parsers import document as document
from collector.parsers import field as field
from collector.parsers import number as number
from collector.parsers import one_of as one_of
from collector.parsers import text as text

C = TypeVar("C")  # the cloud handle
S = TypeVar("S")  # one subject, as the listing names it
F = TypeVar("F")  # the facts of one subject: a frozen dataclass
L = TypeVar("L")  # the limits of a check: a frozen dataclass


class Family(StrEnum):
    MFA = "mfa"
    ENCRYPTION = "encryption-at-rest"
    TLS = "tls"
    LOGGING = "logging"
    PATCHING = "patching"


class Stage(StrEnum):
    PREVIEW = "preview"  # observed, not counted
    STABLE = "stable"
    RETIRED = "retired"  # its page stays, it is no longer run


# --- verdicts: the only ones a check can make ---


def satisfied(reason: str) -> Verdict:
    return Verdict(State.SATISFIED, reason)


def not_satisfied(reason: str) -> Verdict:
    return Verdict(State.NOT_SATISFIED, reason)


def not_applicable(reason: str) -> Verdict:
    return Verdict(State.NOT_APPLICABLE, reason)


# --- the card ---


@dataclass(frozen=True)
class Example(Generic[F]):
    """Facts, and the state that a reader should expect of them. Run by the tests, printed in the docs."""

    facts: F
    expect: State


def good(facts: F) -> Example[F]:
    return Example(facts, State.SATISFIED)


def bad(facts: F) -> Example[F]:
    return Example(facts, State.NOT_SATISFIED)


def outside(facts: F) -> Example[F]:
    return Example(facts, State.NOT_APPLICABLE)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known about a check besides its three functions. Docs, policies and tables are made from it."""

    id: str  # permanent, never reused, begins with the cloud: "aws-iam-user-mfa"
    family: Family
    criteria: tuple[str, ...]  # a suggestion; the operator's control file binds
    permissions: tuple[str, ...]  # exactly the actions that its questions need
    per: str  # what it runs once for, a word of ACCOUNT_WORDS or PART_WORDS: "account", "region", "subscription" ...
    see: tuple[str, ...] = ()  # the same idea elsewhere: "cis-aws-3.0:1.10"
    version: int = 1  # raised when the same facts get another verdict
    stage: Stage = Stage.STABLE
    provider_enforced: str = ""  # why the provider makes this impossible to fail, if it does

    @property
    def cloud(self) -> str:
        return self.id.split("-", 1)[0]

    @property
    def parted(self) -> bool:
        """Whether it runs once for each part of an account, not once for the account."""
        return self.per == PART_WORDS[self.cloud]


@dataclass(frozen=True, kw_only=True)
class Check(Card, Generic[C, S, F]):
    """A check without limits: ``evaluate`` sees the facts and nothing else."""

    population: Callable[[C], Iterable[S]]  # completeness: who is in scope
    name: Callable[[S], str]  # the cloud's own full name of a subject
    observe: Callable[[C, S], F]  # accuracy: what was read of one
    evaluate: Callable[[F], Verdict]  # judgement: pure and total
    examples: tuple[Example[F], ...]

    @property
    def limits(self) -> None:
        return None

    def judge(self, facts: F, limits: object = None) -> Verdict:
        return self.evaluate(facts)


@dataclass(frozen=True, kw_only=True)
class LimitedCheck(Card, Generic[C, S, F, L]):
    """A check with limits that the operator may set in the control file; ``evaluate`` is handed them."""

    population: Callable[[C], Iterable[S]]
    name: Callable[[S], str]
    observe: Callable[[C, S], F]
    evaluate: Callable[[F, L], Verdict]
    examples: tuple[Example[F], ...]
    limits: L

    def judge(self, facts: F, limits: object = None) -> Verdict:
        return self.evaluate(facts, self.limits if limits is None else cast("L", limits))


AnyCheck = Check[Any, Any, Any] | LimitedCheck[Any, Any, Any, Any]


def module_of(check: AnyCheck) -> str:
    """The module that holds the check."""
    return str(getattr(check.population, "__module__", ""))  # a partial or a builtin has none


def doc_of(check: AnyCheck) -> str:
    """The check's whole docstring: title, Why, Remedy."""
    return (sys.modules[module_of(check)].__doc__ or "").strip()


def title_of(check: AnyCheck) -> str:
    """The first line of the docstring: what is true when all is well."""
    return doc_of(check).partition("\n")[0]


def section_of(check: AnyCheck, heading: str) -> str:
    """The paragraph of the docstring after ``Why:`` or ``Remedy:``, on one line."""
    _, _, rest = doc_of(check).partition(f"\n{heading}: ")
    lines: list[str] = []
    for line in rest.splitlines():
        if not line.strip() or line.startswith(("Why: ", "Remedy: ")):
            break
        lines.append(line.strip())
    return " ".join(lines)


def limits_with(check: AnyCheck, overrides: Mapping[str, int]) -> Any:
    """The check's limits with the operator's numbers. Raises ConfigError for a limit that it does not have."""
    if check.limits is None:
        if overrides:
            raise ConfigError(f"{check.id} has no limits; remove {', '.join(sorted(overrides))}")
        return None
    known = {member.name for member in fields(check.limits)}
    for name, value in overrides.items():
        if name not in known:
            raise ConfigError(f"{check.id} has no limit {name!r}; it has {', '.join(sorted(known))}")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ConfigError(f"{check.id}: limit {name} must be a whole number from 0, not {value!r}")
    return replace(check.limits, **overrides)


def limits_record(limits: object) -> dict[str, int]:
    """Limits as they are written into the ledger."""
    return {} if limits is None else dict(asdict(cast("Any", limits)))
