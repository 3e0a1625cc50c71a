"""One Entra tenant with its Azure subscriptions, read only: every question asked once, every answer kept.

No SDK is imported here, so kept answers are read again without one: credentials and connections are made in
``azure_access``, and what an answer means is in ``azure_answers``. Checks see ``Tenant``.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, overload

from collector.clouds.azure_answers import CLAIMS, HOSTS, RESOURCE_GRAPH_LANE, next_url, odata, url_of
from collector.clouds.handle import Handle
from collector.clouds.rest import Call
from collector.clouds.transcript import Answer, Kept, Question, Transcript
from collector.errors import Denied, Disabled, Unavailable, Unreadable

PAGES_MAX = 10_000
ROWS_A_PAGE = 1_000  # the most that Resource Graph gives
OBSERVED_STATES = ("Enabled", "Warned", "PastDue")  # a Disabled or Deleted subscription answers nothing dependable
SUBSCRIPTIONS_API = "2022-12-01"
DESCENDANTS_API = "2020-05-01"
PERMISSIONS_API = "2022-04-01"
RESOURCE_GRAPH_API = "2022-10-01"
RESOURCE_GRAPH = "/providers/Microsoft.ResourceGraph/resources"
COLUMNS = "id, name, type, kind, location, resourceGroup, subscriptionId, sku, identity, properties"
TYPE = re.compile(r"[a-z0-9.]+(/[a-z0-9.]+)+")
TABLE = re.compile(r"[a-z]+")

Put = Callable[[Call], Answer]


def _no_network(call: Call) -> Answer:
    raise AssertionError(f"{call.method} {call.url} was put to a cloud while re-performing")


class Tenant(Handle):
    """One Entra tenant, or one of its subscriptions, during one run. All questions go through the run's transcript."""

    def __init__(
        self,
        tenant: str,
        transcript: Transcript,
        now: datetime,
        put: Put = _no_network,
        *,
        subscription: str = "",
        cloud: str = "public",
        subscriptions: tuple[str, ...] = (),
        management_group: str = "",
    ) -> None:
        super().__init__(now, transcript)
        self.tenant = tenant
        self.subscription = subscription  # "" for the tenant as a whole
        self._put = put
        self._cloud = cloud
        self._hosts = HOSTS[cloud]
        self._chosen = subscriptions
        self._management_group = management_group

    def within(self, part: str) -> Tenant:
        """The same tenant and transcript, asked about one subscription; "" for the tenant as a whole."""
        return Tenant(
            self.tenant,
            self.transcript,
            self.now,
            self._put,
            subscription=part,
            cloud=self._cloud,
            subscriptions=self._chosen,
            management_group=self._management_group,
        )

    # --- who asks, and about what ---

    def identity(self) -> str:
        """Who asks: "<application or object id>@<tenant>". Raises Denied when the credentials are another tenant's.

        Two kept answers say so. The tenant is what Azure Resource Manager itself answers to GET /tenants. No API
        that needs no permission names the principal, so it is read from the claims of the very token that Azure
        Resource Manager accepted: kept without signature, checked by Microsoft and not by us.
        """
        question = Question("azure", self._hosts.authority, CLAIMS, {})
        call = Call(CLAIMS, url_of(self._hosts.authority, "/"), lane=self._hosts.authority)
        kept = self.transcript.ask(question, lambda _: self._put(call))
        kept.raise_failure()
        claims = kept.body
        if claims.get("tid") != self.tenant:
            raise Denied(f"the credentials are of tenant {claims.get('tid')}, not {self.tenant}; use some of that one")
        known = {str(item.get("tenantId")).lower() for item in self.each("/tenants", api=SUBSCRIPTIONS_API)}
        if self.tenant not in known:
            raise Denied(f"Azure does not list tenant {self.tenant} for these credentials; use some of that tenant")
        application = claims.get("appid") or claims.get("azp")
        person = claims.get("idtyp") == "user" or (claims.get("idtyp") is None and "scp" in claims)
        name = claims.get("oid") if person or not application else application
        if not isinstance(name, str) or not name:
            raise Unreadable("the token names neither an application nor an object; use another kind of credential")
        return f"{name}@{self.tenant}"

    def parts(self) -> list[str]:
        """The ids of the subscriptions that are observed, sorted; ``left_out`` says which others are seen and why not.

        Those that the operator names stay in the list whatever becomes of them, so that their runs are refused and
        not forgotten. Raises Denied when none is left.
        """
        if self._chosen:
            return sorted(self._chosen)
        found = (self._below() if self._management_group else self._seen().keys()) - self.left_out().keys()
        if not found:
            where = f" below management group {self._management_group}" if self._management_group else ""
            raise Denied(
                f"tenant {self.tenant} shows no subscription{where} to these credentials; "
                "assign the collector's role at the management group or at each subscription"
            )
        return sorted(found)

    def left_out(self) -> dict[str, str]:
        """The subscriptions that are seen and not observed, each with the reason in words after "the subscription"."""
        found = {}
        for id, subscription in self._seen().items():
            if why := self._unfit(subscription):
                found[id] = why
        return found

    def _seen(self) -> dict[str, dict[str, Any]]:
        """What GET /subscriptions shows, by id in lower case."""
        try:
            listed = self.each("/subscriptions", api=SUBSCRIPTIONS_API)
            return {str(item["subscriptionId"]).lower(): item for item in listed}
        except LookupError as error:
            raise Unreadable(f"GET /subscriptions has an item without {error}") from None

    def _below(self) -> set[str]:
        """The subscriptions at any depth below the configured management group."""
        path = f"/providers/Microsoft.Management/managementGroups/{self._management_group}/descendants"
        try:
            ids = [str(item["id"]).lower() for item in self.each(path, api=DESCENDANTS_API)]
        except LookupError as error:
            raise Unreadable(f"GET {path} has an item without {error}") from None
        return {id.removeprefix("/subscriptions/") for id in ids if id.startswith("/subscriptions/")}

    def _unfit(self, subscription: Mapping[str, Any]) -> str:
        """Why a subscription is not observed; "" when it is."""
        state, home = subscription.get("state"), subscription.get("tenantId")
        if state not in OBSERVED_STATES:
            return f"is {state}, not one of {', '.join(OBSERVED_STATES)}"
        if str(home).lower() != self.tenant:  # delegated to us with Azure Lighthouse: its own tenant answers for it
            return f"belongs to tenant {home}"
        return ""

    # --- Resource Graph ---

    def resources(self, type: str, table: str = "resources") -> list[dict[str, Any]]:
        """Every resource of a type ("microsoft.compute/disks") in the subscription of the handle, or in all.

        Raises CannotObserve when Resource Graph may have left some out: when the subscription is not to be seen in
        Azure Resource Manager or in Resource Graph, the right to read the type is missing, or rows are missing.
        """
        pages, index = self._listing(type, table)
        found: list[dict[str, Any]] = []
        for subscription in [self.subscription] if self.subscription else self.parts():
            self._require(subscription, f"{type}/read")
            for page, start, stop in index.spans.get(subscription.lower(), ()):
                found += pages[page].body["data"][start:stop]
        return found

    def _require(self, subscription: str, action: str) -> None:
        """Raises CannotObserve unless Resource Graph shows all that ``action`` reads in the subscription."""
        listed = self.each("/subscriptions", api=SUBSCRIPTIONS_API)
        wanted = subscription.lower()
        shown = next((item for item in listed if str(item.get("subscriptionId")).lower() == wanted), None)
        if shown is None:
            raise Denied(f"subscription {subscription} is not shown to the collector; assign its role there")
        if why := self._unfit(shown):
            raise Disabled(f"subscription {subscription} {why}; take it out of the configuration")
        _, containers = self._listing("microsoft.resources/subscriptions", "resourcecontainers")
        if wanted not in containers.spans:
            raise Unavailable(f"Resource Graph does not know subscription {subscription}; a new one takes some minutes")
        path = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/permissions"
        if not any(_grants(permission, action) for permission in self.each(path, api=PERMISSIONS_API)):
            raise Denied(
                f"the collector may not {action} in subscription {subscription}, and Resource Graph leaves out in "
                "silence what one may not read; add the action to its role"
            )

    def _listing(self, type: str, table: str) -> tuple[list[Kept], _Index]:
        """The pages of all rows of one type in one table, and where each subscription's rows are."""
        if not TYPE.fullmatch(type) or not TABLE.fullmatch(table):
            raise ValueError(f"not a type and a table of Resource Graph, in lower case: {type!r}, {table!r}")
        query = f"{table} | where type =~ '{type}' | project {COLUMNS} | order by id asc"
        options = {"$top": ROWS_A_PAGE, "resultFormat": "objectArray"}
        body = {"query": query, "options": options}
        host, params = self._hosts.arm, {"api-version": RESOURCE_GRAPH_API}

        def call(token: Any) -> Call:
            sent = body if token is None else {**body, "options": {**options, "$skipToken": token}}
            return Call("POST", url_of(host, RESOURCE_GRAPH), params, sent, lane=RESOURCE_GRAPH_LANE)

        question = Question("azure", host, f"POST {RESOURCE_GRAPH}", {**params, "body": body})
        pages = list(self._walk(question, call))
        index = _indices_of(self.transcript).get(question.id, pages)
        if index.problem:
            raise Unreadable(f"Resource Graph, {type} in {table}: {index.problem}")
        return pages, index

    # --- Azure Resource Manager and Microsoft Graph ---

    @overload
    def get(self, path: str, *, api: str, absent: tuple[str, ...]) -> dict[str, Any] | None: ...
    @overload
    def get(self, path: str, *, api: str) -> dict[str, Any]: ...
    def get(self, path: str, *, api: str, absent: tuple[str, ...] = ()) -> dict[str, Any] | None:
        """One answer of Azure Resource Manager that has one page. An error code in ``absent`` is the answer None.

        ``path`` begins with "/": a resource's id and what follows. Raises CannotObserve for every other error, and
        Unreadable when the answer says that there is more of it.
        """
        return self._one(self._hosts.arm, path, {"api-version": api}, absent)

    def each(self, path: str, *, api: str, absent: tuple[str, ...] = (), **query: Any) -> list[dict[str, Any]]:
        """All items of ``value`` over every page of a listing. An error code in ``absent`` is the empty list.

        OData words ("filter", "expand", "top") are sent with their "$". Raises CannotObserve when any page got no
        answer, lacks ``value``, or goes on where this listing has been or where this tenant's token must not go.
        """
        return self._all(self._hosts.arm, path, {"api-version": api, **odata(query)}, absent)

    @overload
    def graph(self, path: str, *, absent: tuple[str, ...], **query: Any) -> dict[str, Any] | None: ...
    @overload
    def graph(self, path: str, **query: Any) -> dict[str, Any]: ...
    def graph(self, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> dict[str, Any] | None:
        """One answer of Microsoft Graph v1.0 ("/policies/..."); ``select="id"`` is sent as ``$select=id``.

        An error code in ``absent`` is the answer None. Raises CannotObserve for every other error.
        """
        return self._one(self._hosts.graph, f"/v1.0{path}", odata(query), absent)

    def graph_each(self, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> list[dict[str, Any]]:
        """All items of ``value`` over every page of a Microsoft Graph v1.0 listing. Errors as of ``each``."""
        return self._all(self._hosts.graph, f"/v1.0{path}", odata(query), absent)

    def _one(self, host: str, path: str, query: Mapping[str, Any], absent: tuple[str, ...]) -> dict[str, Any] | None:
        pages = self._walk(Question("azure", host, f"GET {path}", query), self._reading(host, path, query), absent)
        kept = next(pages, None)
        if kept is None:
            return None
        if kept.token:
            raise Unreadable(f"GET {path} has more pages; the check must use each() or graph_each()")
        found: dict[str, Any] = kept.body
        return found

    def _all(self, host: str, path: str, query: Mapping[str, Any], absent: tuple[str, ...]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        question = Question("azure", host, f"GET {path}", query)
        for kept in self._walk(question, self._reading(host, path, query), absent):
            found = kept.body.get("value")
            if not isinstance(found, list):
                raise Unreadable(f"GET {path} page {kept.exchange.page} has no list value")
            items += found
        return items

    def _reading(self, host: str, path: str, query: Mapping[str, Any]) -> Callable[[Any], Call | None]:
        """Makes the calls of one GET: the first, and from each link the next; None for a link not to be followed."""
        lane = f"{host}{path.lower()[:51]}" if path.lower().startswith("/subscriptions/") else host

        def call(token: Any) -> Call | None:
            if token is None:
                return Call("GET", url_of(host, path), query, lane=lane)
            url = next_url(host, token)
            return Call("GET", url, lane=lane) if url else None

        return call

    def _walk(
        self, question: Question, call: Callable[[Any], Call | None], absent: tuple[str, ...] = ()
    ) -> Iterator[Kept]:
        """Every page of a question. Ends at once for an error code in ``absent``; raises for every other error."""
        token: Any = None
        taken: list[Any] = []
        for page in range(1, PAGES_MAX + 1):
            kept = self.transcript.ask(replace(question, page=page), partial(self._follow, call, token, tuple(taken)))
            if page == 1 and kept.exchange.error and kept.exchange.error in absent:
                return
            kept.raise_failure()
            yield kept
            if not kept.token:
                return
            taken.append(token)
            token = kept.token
        raise Unreadable(f"{question.operation} has more than {PAGES_MAX} pages")

    def _follow(self, call: Callable[[Any], Call | None], token: Any, taken: tuple[Any, ...], _: Question) -> Answer:
        """Asks for the page that a token leads to. One that must not be followed is an answer that says so, and is
        kept, so that reperformance ends as this run does."""
        if taken and token in taken:
            return self._refusal("RepeatedToken", "the listing gave the same continuation token twice")
        found = call(token)
        if found is None:
            return self._refusal("ForeignLink", "the listing goes on at another host, where no token of ours may go")
        return self._put(found)

    def _refusal(self, code: str, message: str) -> Answer:
        error = {"Code": code, "Message": message}
        return Answer({"Error": error}, self.now, 0, 0, code, Unreadable.code)


# --- what one may do ---


def _grants(permission: Mapping[str, Any], action: str) -> bool:
    """Whether one entry of the permissions list allows an action: among its actions, not among its notActions."""
    actions, others = permission.get("actions"), permission.get("notActions")
    if not isinstance(actions, list) or not isinstance(others, list):
        raise Unreadable("the permissions of a subscription have an entry without the lists actions and notActions")
    return any(_covers(each, action) for each in actions) and not any(_covers(each, action) for each in others)


def _covers(pattern: object, action: str) -> bool:
    return _compiled(str(pattern)).fullmatch(action) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Actions are compared without case; "*" stands for anything, over several segments too."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.IGNORECASE)


# --- where the rows of each subscription are ---


@dataclass
class _Index:
    """Where in the pages of a listing the rows of each subscription are, or why the listing is no good."""

    spans: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)  # page from 0, first row, row after
    problem: str = ""


class _Indices:
    """The indices of one transcript. They hold places and no rows: those stay where the transcript keeps them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, _Index] = {}

    def get(self, key: str, pages: list[Kept]) -> _Index:
        with self._lock:  # nothing is asked inside: every page is there
            found = self._found.get(key)
            if found is None:
                found = self._found[key] = _index(pages)
            return found


def _index(pages: list[Kept]) -> _Index:
    index, ids = _Index(), set()
    totals: set[Any] = set()
    rows = 0
    for number, kept in enumerate(pages):
        body = kept.body
        data = body.get("data")
        if not isinstance(data, list):
            return _Index(problem=f"page {number + 1} has no list data")
        cut = str(body.get("resultTruncated")).lower()  # "true" and "false" are words here
        if cut not in ("true", "false"):
            return _Index(problem=f"page {number + 1} does not say whether it is whole (resultTruncated)")
        if cut == "true" and kept.exchange.last:
            return _Index(problem="it was cut off and does not say where it goes on")
        totals.add(body.get("totalRecords"))
        rows += len(data)
        for place, row in enumerate(data):
            if not isinstance(row, dict) or not row.get("id") or not row.get("subscriptionId"):
                return _Index(problem=f"page {number + 1} has a row without id or subscriptionId")
            ids.add(str(row["id"]).lower())
            spans = index.spans.setdefault(str(row["subscriptionId"]).lower(), [])
            if spans and spans[-1][0] == number and spans[-1][2] == place:
                spans[-1] = (number, spans[-1][1], place + 1)
            else:
                spans.append((number, place, place + 1))
    if totals != {rows}:
        said = ", ".join(sorted(map(str, totals)))
        return _Index(problem=f"it says {said} rows and has {rows}; it changed while it was read, or rows are missing")
    if len(ids) != rows:
        return _Index(problem="it names a resource twice")
    return index


_known_indices: weakref.WeakKeyDictionary[Transcript, _Indices] = weakref.WeakKeyDictionary()
_known_lock = threading.Lock()


def _indices_of(transcript: Transcript) -> _Indices:
    """By transcript and not by handle: reperformance opens a handle for every run that shares one."""
    with _known_lock:
        return _known_indices.setdefault(transcript, _Indices())


# --- opened, live or over kept answers ---


class AzureSettings(Protocol):
    """What the configuration says about one tenant."""

    @property
    def tenant(self) -> str: ...
    @property
    def cloud(self) -> str: ...
    @property
    def credential(self) -> str:
        """ "" for the first that works, or a word of the configuration: "managed-identity", "client-secret" ..."""
        ...

    @property
    def client_id(self) -> str: ...
    @property
    def certificate_file(self) -> Path | None: ...
    @property
    def subscriptions(self) -> tuple[str, ...]: ...
    @property
    def management_group(self) -> str: ...


def opened(settings: AzureSettings, transcript: Transcript, reference: datetime, put: Put) -> Tenant:
    """The tenant for one run; ``put`` is that of an ``Edge`` over ``azure_answers.Answers``."""
    return Tenant(
        settings.tenant,
        transcript,
        reference,
        put,
        cloud=settings.cloud,
        subscriptions=tuple(settings.subscriptions),
        management_group=settings.management_group,
    )


def kept(tenant: str, transcript: Transcript, reference: datetime, settings: Mapping[str, Any]) -> Tenant:
    """The tenant that answers from a kept transcript, offline; ``settings`` is its sealed record."""
    return Tenant(
        tenant,
        transcript,
        reference,
        cloud=settings.get("cloud", "public"),
        subscriptions=tuple(settings.get("subscriptions", ())),
        management_group=settings.get("management_group", ""),
    )
