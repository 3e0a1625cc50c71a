"""Compares the parts of each account that were planned with what two sources of the cloud show, out of kept answers.

What an answer looks like is the provider's own; where it lacks what is read here, the source counts as not readable.
Nothing is asked in here, and where a cloud has no second source, or nobody asked it, that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from collector import canonical
from collector.errors import StoreError
from collector.export.dossier import Reconciled
from collector.model import PART_WORDS

Body = Callable[[str], bytes]  # the bytes behind a digest; raises StoreError when they expired
Call = Mapping[str, Any]

RESOURCE_GRAPH = "POST /providers/Microsoft.ResourceGraph/resources"
CONTAINERS = "resourcecontainers | where type =~ 'microsoft.resources/subscriptions' "
DESCENDANTS = "GET /providers/Microsoft.Management/managementGroups/"
PROJECT = "cloudresourcemanager.googleapis.com/Project"
FOLDER = "cloudresourcemanager.googleapis.com/Folder"
NAMES_TOLD = 40  # in one cell
MANY = {word: f"{word}s" for word in PART_WORDS.values()}


@dataclass(frozen=True)
class Source:
    """What one source shows: names, and those that it shows and nobody observes, with the reason. ``names`` None: it
    was not asked, or gave no answer."""

    title: str
    names: frozenset[str] | None
    remark: str = ""
    aside: tuple[tuple[str, str], ...] = ()


class Reconciler:
    """Takes in one account run after the other, in the order of the ledger, and gives one line for each stretch of
    looks that found the same."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._parsed: dict[str, tuple[Any, ...]] = {}
        self._open: dict[tuple[str, str], Reconciled] = {}
        self._lines: list[Reconciled] = []
        self._plans: dict[str, frozenset[str]] = {}
        self._accounts: dict[str, set[str]] = {}

    def plan(self, data: Mapping[str, Any]) -> None:
        """A plan entry: from here on these parts are planned."""
        self._plans[data["account"]] = frozenset(data["parts"])
        cloud = data["account"].partition("/")[0]
        self._accounts.setdefault(cloud, set()).add(data["account"])

    def look(self, run: Mapping[str, Any], at: datetime, calls: Sequence[Call]) -> None:
        """The call log of one account run; ``run`` is one of its entries."""
        account = run["account"]
        cloud = account.partition("/")[0]
        planned = self._plans.get(account, frozenset())
        first, second = _PARTS[cloud](self, account, calls)
        self._add(account, MANY[PART_WORDS[cloud]], planned, first, second, run, at)
        if cloud == "aws":
            self._organization(run, at, calls)

    def lines(self) -> tuple[Reconciled, ...]:
        """By account and time; the accounts of AWS as a whole, where no look answered for them, without a source."""
        found = [*self._lines, *self._open.values()]
        ours = [line for line in found if line.account.startswith("aws/")]
        if ours and ("aws", "accounts") not in self._open:
            found.append(
                Reconciled(
                    account="aws",
                    what="accounts",
                    since=min(line.since for line in ours),
                    last=max(line.last for line in ours),
                    looks=0,
                    planned=len(self._accounts.get("aws", ())),
                    source="organizations:ListAccounts: not asked",
                    counted=None,
                    second=NO_SECOND,
                    second_counted=None,
                    agree=None,
                    difference="no answer lists the accounts of the organisation: compare its own list with these",
                    entry=None,
                    calls="",
                )
            )
        return tuple(sorted(found, key=lambda line: (line.account, line.what, line.since, line.entry or 0)))

    # --- comparing ---

    def _add(
        self,
        account: str,
        what: str,
        planned: frozenset[str],
        first: Source,
        second: Source,
        run: Mapping[str, Any],
        at: datetime,
    ) -> None:
        agree, difference = _compared(planned, first, second)
        line = Reconciled(
            account=account,
            what=what,
            since=at,
            last=at,
            looks=1,
            planned=len(planned),
            source=first.title,
            counted=None if first.names is None else len(first.names),
            second=second.title,
            second_counted=None if second.names is None else len(second.names),
            agree=agree,
            difference=difference,
            entry=run["seq"],
            calls=run["calls"],
        )
        known = self._open.get((account, what))
        if known is not None and _says(known) == _says(line):
            self._open[account, what] = replace(known, last=max(known.last, at), looks=known.looks + 1)
            return
        if known is not None:
            self._lines.append(known)
        self._open[account, what] = line

    def _organization(self, run: Mapping[str, Any], at: datetime, calls: Sequence[Call]) -> None:
        """The accounts of an AWS organisation, where a look of one account listed them."""
        listed = [call for call in calls if call["operation"] == "organizations:ListAccounts"]
        if not listed:
            return
        found = self._names(
            "organizations:ListAccounts",
            listed,
            lambda body: ((a["Id"], "" if a["Status"] == "ACTIVE" else f"is {a['Status']}") for a in body["Accounts"]),
        )
        planned = frozenset(account.partition("/")[2] for account in self._accounts.get("aws", ()))
        self._add("aws", "accounts", planned, found, Source(NO_SECOND, None), run, at)

    # --- reading answers ---

    def _names(self, title: str, calls: Sequence[Call], read: Callable[[Any], Iterable[tuple[str, str]]]) -> Source:
        """The names in all pages of a listing; ``read`` gives each with the reason why it is not observed, or ""."""
        if not calls:
            return Source(f"{title}: not asked", None)
        refused = next((call for call in calls if call.get("failure") or not call["body"]), None)
        if refused is not None:
            return Source(title, None, f"it gave no answer: {refused.get('error') or refused.get('failure') or 'none'}")
        names: set[str] = set()
        aside: list[tuple[str, str]] = []
        try:
            for call in calls:
                for name, why in read(self._answer(call)):
                    if why:
                        aside.append((name, why))
                    else:
                        names.add(name)
        except StoreError as error:
            return Source(title, None, str(error))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            return Source(title, None, f"its answer cannot be read: {error!r}")
        return Source(title, frozenset(names), "", tuple(sorted(set(aside))))

    def _answer(self, call: Call) -> Any:
        """The parsed answer; the last few are kept, since most of them do not change from look to look."""
        digest = call["body"]
        if digest not in self._parsed:
            if len(self._parsed) >= 64:
                self._parsed.clear()
            self._parsed[digest] = (canonical.parse(self._body(digest)),)
        return self._parsed[digest][0]

    def _aws(self, account: str, calls: Sequence[Call]) -> tuple[Source, Source]:
        listed = [call for call in calls if call["operation"] == "ec2:DescribeRegions"]
        found = self._names(
            "ec2:DescribeRegions", listed, lambda body: ((region["RegionName"], "") for region in body["Regions"])
        )
        return found, Source(NO_SECOND, None)

    def _azure(self, account: str, calls: Sequence[Call]) -> tuple[Source, Source]:
        tenant = account.partition("/")[2]

        def subscription(row: Any) -> tuple[str, str]:
            home = str(row["tenantId"]).lower()
            state = row["state"]
            why = f"belongs to tenant {home}" if home != tenant else ""
            return str(row["subscriptionId"]).lower(), why or ("" if state in OBSERVED else f"is {state}")

        listed = [call for call in calls if call["operation"] == "GET /subscriptions"]
        first = self._names(
            "Azure Resource Manager, GET /subscriptions", listed, lambda body: map(subscription, body["value"])
        )
        below = [call for call in calls if call["operation"].startswith(DESCENDANTS)]
        if below and first.names is not None:
            group = self._names("", below, lambda body: map(_descendant, body["value"]))
            if group.names is None:
                return replace(first, names=None, remark=group.remark), self._containers(calls, None)
            first = replace(
                first,
                title=f"{first.title} below the management group",
                names=first.names & group.names,
                aside=tuple(one for one in first.aside if one[0] in group.names),
            )
            return first, self._containers(calls, group.names)
        return first, self._containers(calls, None)

    def _containers(self, calls: Sequence[Call], within: frozenset[str] | None) -> Source:
        """The subscriptions that Resource Graph shows; they hold those that another tenant delegated too."""
        asked = [call for call in calls if call["operation"] == RESOURCE_GRAPH and _query(call).startswith(CONTAINERS)]
        found = self._names(
            "Resource Graph, resourcecontainers",
            asked,
            lambda body: ((str(row["subscriptionId"]).lower(), "") for row in body["data"]),
        )
        return found if within is None or found.names is None else replace(found, names=found.names & within)

    def _gcp(self, account: str, calls: Sequence[Call]) -> tuple[Source, Source]:
        parent = account.partition("/")[2].replace("-", "/", 1)

        def project(state: str, id: str) -> tuple[str, str]:
            return id, "" if state == "ACTIVE" else f"is {state}"

        def inventoried(body: Any) -> Iterator[tuple[str, str]]:
            for asset in body.get("assets", []):
                data = asset["resource"]["data"]
                yield project(data.get("lifecycleState") or data["state"], data["projectId"])

        first = self._names("Cloud Asset Inventory, projects", _assets(calls, PROJECT), inventoried)
        if parent.startswith("projects/"):
            one = [call for call in calls if call["operation"] == f"GET /v3/{parent}"]
            title = "Resource Manager, the project itself"
            return first, self._names(title, one, lambda body: [project(body["state"], body["projectId"])])
        folders = self._names(
            "", _assets(calls, FOLDER), lambda body: ((a["name"], "") for a in body.get("assets", []))
        )
        prefix = "//cloudresourcemanager.googleapis.com/"
        places = {name.removeprefix(prefix) for name in folders.names or ()} | {parent}

        def managed(body: Any) -> Iterator[tuple[str, str]]:
            for row in body.get("projects", []):  # those of other organisations too
                if row.get("parent") in places:
                    yield project(row["state"], row["projectId"])

        searched = [call for call in calls if call["operation"] == "GET /v3/projects:search"]
        return first, self._names("Resource Manager, projects:search", searched, managed)


OBSERVED = ("Enabled", "PastDue", "Warned")
NO_SECOND = "no second source"

_PARTS: Mapping[str, Callable[[Reconciler, str, Sequence[Call]], tuple[Source, Source]]] = {
    "aws": Reconciler._aws,
    "azure": Reconciler._azure,
    "gcp": Reconciler._gcp,
}


def _assets(calls: Sequence[Call], type: str) -> list[Call]:
    return [
        call
        for call in calls
        if call["operation"].endswith("/assets")
        and call["params"].get("assetTypes") == type
        and call["params"].get("contentType") == "RESOURCE"
    ]


def _query(call: Call) -> str:
    body = call["params"].get("body")
    return str(body.get("query", "")) if isinstance(body, Mapping) else ""


def _descendant(row: Any) -> tuple[str, str]:
    id = str(row["id"]).lower()
    prefix = "/subscriptions/"
    return (id.removeprefix(prefix), "") if id.startswith(prefix) else (id, "is a management group")


def _says(line: Reconciled) -> tuple[object, ...]:
    return (line.planned, line.source, line.counted, line.second, line.second_counted, line.agree, line.difference)


def _compared(planned: frozenset[str], first: Source, second: Source) -> tuple[bool | None, str]:
    """Whether all that there is agrees, None where there is nothing to compare with, and the differences in words."""
    parts: list[str] = []
    put_aside = {name for source in (first, second) for name, _ in source.aside}
    known = [source for source in (first, second) if source.names is not None]
    compared = [(planned, "planned", "not planned", source) for source in known]
    if len(known) == 2:
        compared.append((known[0].names or frozenset(), f"in {first.title}", f"not in {first.title}", second))
    for mine, have, lack, other in compared:
        theirs = other.names or frozenset()
        if mine - theirs:
            parts.append(f"{_listed(mine - theirs)}: {have}, not in {other.title}")
        if theirs - mine - put_aside:
            parts.append(f"{_listed(theirs - mine - put_aside)}: in {other.title}, {lack}")
    agree = not parts if compared else None
    for source in (first, second):
        if source.remark:
            parts.append(f"{source.title}: {source.remark}")
        parts += [f"{name} {why}, so it is left out ({source.title})" for name, why in source.aside[:NAMES_TOLD]]
    return agree, "; ".join(parts)


def _listed(names: Iterable[str]) -> str:
    told = sorted(names)
    more = f" and {len(told) - NAMES_TOLD} more" if len(told) > NAMES_TOLD else ""
    return ", ".join(told[:NAMES_TOLD]) + more
