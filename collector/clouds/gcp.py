"""One Google organisation, folder or project with what is below it, read only: every question asked once.

No SDK is imported here, so kept answers are read again without one: credentials and connections are made in
``gcp_access``, what an answer means is in ``gcp_answers``. Checks see ``Organization``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, overload

from collector.clouds.gcp_answers import ASSETS, CREDENTIAL, DIRECTORY, MANAGER, OAUTH, TOKEN_INFO, url_of, wired
from collector.clouds.handle import Handle
from collector.clouds.memory import Memory, Place, memory_of
from collector.clouds.rest import Call
from collector.clouds.transcript import Answer, Kept, Question, Transcript
from collector.errors import Denied, Disabled, Unavailable, Unreadable

PAGES_MAX = 10_000
ASSETS_A_PAGE = 1_000  # the most that Cloud Asset Inventory gives
INVENTORIES_A_PAGE = 25  # an OS inventory names every package of a machine: up to a megabyte each
PROJECTS_A_PAGE = 500
PROJECT = f"{MANAGER}/Project"
FOLDER = f"{MANAGER}/Folder"
MACHINE = "compute.googleapis.com/Instance"
# Members by which a listing says that it was not made whole.
PARTIAL = ("unreachable", "unreachables", "failedLocations", "missingZones")

Put = Callable[[Call], Answer]


def _no_network(call: Call) -> Answer:
    raise AssertionError(f"{call.method} {call.url} was put to a cloud while re-performing")


class Organization(Handle):
    """One Google organisation (or folder, or project), or one project of it, during one run.

    All questions go through the run's transcript. What is returned is shared: nobody changes it.
    """

    def __init__(
        self,
        parent: str,
        transcript: Transcript,
        now: datetime,
        put: Put = _no_network,
        *,
        project: str = "",
        customer: str = "my_customer",
        projects: tuple[str, ...] = (),
    ) -> None:
        super().__init__(now, transcript)
        self.parent = parent  # "organizations/123", "folders/456" or "projects/some-id"
        self.organization = parent.replace("/", "-", 1)
        self.project = project  # "" for everything below the parent
        self.customer = customer
        self._put = put
        self._chosen = projects
        self._memory: Memory = memory_of(transcript)

    def within(self, part: str) -> Organization:
        """The same parent and transcript, asked about one project; "" for the parent as a whole."""
        return Organization(
            self.parent,
            self.transcript,
            self.now,
            self._put,
            project=part,
            customer=self.customer,
            projects=self._chosen,
        )

    # --- who asks, and about what ---

    def identity(self) -> str:
        """Who asks: the e-mail address of the principal. Raises Denied when it may not list what is in the parent.

        The address is what Google says of the very token in use. Of a token without an address (a pool of workload
        identity, a machine without the scope for it) the credential says whose it is, and that is kept instead.
        """
        info = self._one(OAUTH, TOKEN_INFO, {}, ("invalid_token",), method="POST")
        name = info.get("email") if info is not None else None
        if not name:
            question = Question("gcp", OAUTH, CREDENTIAL, {})
            call = Call(CREDENTIAL, url_of(OAUTH, TOKEN_INFO), lane=OAUTH)
            kept = self.transcript.ask(question, lambda _: self._put(call))
            kept.raise_failure()
            name = kept.body.get("principal")
        if not isinstance(name, str) or not name:
            raise Unreadable("neither Google nor the credential says whose it is; use a service account")
        self._inventory()
        return name

    def parts(self) -> list[str]:
        """The ids of the projects that are observed, sorted; ``left_out`` says which others are seen and why not.

        A project that only one of Cloud Asset Inventory and Resource Manager shows stays in the list, and so do those
        that the operator names: their runs are refused with a reason, and not forgotten. Raises Denied for none.
        """
        if self._chosen:
            return sorted(self._chosen)
        known = self._projects()
        found = sorted(id for id, project in known.items() if project.active)
        if not found:
            raise Denied(
                f"{self.parent} shows no active project to these credentials; grant the collector's role there"
            )
        return found

    def left_out(self) -> dict[str, str]:
        """The projects that are seen and not observed, each with the reason in words after "the project"."""
        return {id: f"is {project.state}" for id, project in self._projects().items() if not project.active}

    @property
    def number(self) -> str:
        """The number of the handle's project ("100000000001").

        Raises CannotObserve unless Cloud Asset Inventory and Resource Manager both show the project below the parent,
        active: what is listed of a project that one of them does not know may be less than there is.
        """
        project = self._projects().get(self.project)
        if project is None:
            raise Denied(
                f"{self.parent} shows no project {self.project!r} to the collector; grant its role at {self.parent}, "
                "or take the project out of the configuration"
            )
        if not project.active:
            raise Disabled(f"project {self.project} is {project.state}; take it out of the configuration")
        if not project.inventoried:
            raise Unavailable(
                f"Cloud Asset Inventory does not show project {self.project} as active; a new one takes some minutes"
            )
        if not project.managed:
            raise Denied(
                f"Resource Manager does not show project {self.project} to the collector; "
                "grant resourcemanager.projects.get"
            )
        return project.number

    def _projects(self) -> Mapping[str, _Project]:
        """All projects below the parent that anybody shows, by id."""
        found: Mapping[str, _Project] = self._memory.get(
            self.transcript, f"projects of {self.parent}", lambda: _reconciled(self._inventory(), self._managed())
        )
        return found

    def _inventory(self) -> list[_Project]:
        """The projects that Cloud Asset Inventory shows."""
        found = []
        for asset in self._rows(self._listing(PROJECT, "RESOURCE")):
            try:
                data = asset["resource"]["data"]
                state = data.get("lifecycleState") or data["state"]  # as Resource Manager v1 and v3 write it
                number = asset["ancestors"][0].removeprefix("projects/")
                found.append(_Project(data["projectId"], number, state, inventoried=state == "ACTIVE"))
            except (LookupError, TypeError, AttributeError) as error:
                raise Unreadable(f"Cloud Asset Inventory shows a project without {error}") from None
        return found

    def _managed(self) -> list[_Project]:
        """The projects below the parent that Resource Manager shows. Its answer is of now, the inventory's older."""
        if self.parent.startswith("projects/"):
            shown = self.get(MANAGER, f"/v3/{self.parent}", absent=("PERMISSION_DENIED",))
            rows = [] if shown is None else [shown]
        else:
            rows = self.each(MANAGER, "/v3/projects:search", "projects", pageSize=PROJECTS_A_PAGE)
            # It shows whatever the collector may see, in any organisation.
            prefix = f"//{MANAGER}/"
            folders = {asset["name"].removeprefix(prefix) for asset in self._rows(self._listing(FOLDER, "RESOURCE"))}
            rows = [row for row in rows if row.get("parent") in folders | {self.parent}]
        try:
            return [
                _Project(
                    row["projectId"],
                    row["name"].removeprefix("projects/"),
                    row["state"],
                    managed=True,
                )
                for row in rows
            ]
        except (LookupError, AttributeError) as error:
            raise Unreadable(f"Resource Manager shows a project without {error}") from None

    # --- Cloud Asset Inventory ---

    def assets(self, type: str) -> list[dict[str, Any]]:
        """Every asset of a type ("compute.googleapis.com/Disk") with its RESOURCE content.

        In the project of the handle, or in everything below the parent. Raises CannotObserve when the project is not
        shown (see ``number``), when any page got no answer, or when an asset does not say where it belongs.
        """
        return self._content(type, "RESOURCE")

    def assets_of(self, places: Iterable[str], type: str) -> list[dict[str, Any]]:
        """Every asset of a type that stands directly in one of some places ("folders/845720196331"), which need not be
        the project of the handle. Raises CannotObserve as ``assets`` of the parent does."""
        return self._rows(self._listing(type, "RESOURCE"), places)

    def policies(self, type: str) -> list[dict[str, Any]]:
        """Every asset of a type that has an IAM policy, with it in ``iamPolicy``. Errors as of ``assets``.

        What has no policy is not listed. One that is listed without it is no answer, and is handed on to be refused.
        """
        return self._content(type, "IAM_POLICY")

    def os_inventories(self) -> list[dict[str, Any]]:
        """Every machine that has an OS inventory, with it in ``osInventory``; one without an agent has none.

        Its ``items``, every package of the machine, are in the kept answers only: here they would fill the memory.
        """
        return [asset for asset in self._content(MACHINE, "OS_INVENTORY") if "osInventory" in asset]

    def _content(self, type: str, content: str) -> list[dict[str, Any]]:
        if not self.project:
            return self._rows(self._listing(type, content))
        number = self.number
        return self._rows(self._listing(type, content), (f"projects/{number}",))

    def _rows(self, listing: _Listing, places: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """The assets of a listing in some places, or in all."""
        wanted = listing.places if places is None else places
        return list(self._memory.shelf.get(chunk for place in wanted for chunk in listing.places.get(place, ())))

    def _listing(self, type: str, content: str) -> _Listing:
        """All assets of one type below the parent, one listing for all checks and projects."""
        size = INVENTORIES_A_PAGE if content == "OS_INVENTORY" else ASSETS_A_PAGE
        path = f"/v1/{self.parent}/assets"
        query = {"assetTypes": type, "contentType": content, "pageSize": size}
        found: _Listing = self._memory.get(
            self.transcript, f"{content} of {type} in {self.parent}", lambda: self._listed(type, path, query)
        )
        return found

    def _listed(self, type: str, path: str, query: Mapping[str, Any]) -> _Listing:
        """A listing, laid down page by page: a whole one is too large for the memory. Raises CannotObserve."""
        listing, names, count = _Listing(), set[str](), 0
        for kept in self._walk(ASSETS, path, query, ()):
            page = kept.body
            if not page.get("readTime"):
                raise Unreadable(f"GET {path} page {kept.exchange.page} does not say of when it is (readTime)")
            rows = _list(page, "assets", f"GET {path} page {kept.exchange.page}")
            if query["contentType"] == "OS_INVENTORY":
                rows = [_without_items(row) for row in rows]
            for place, held in _by_place(rows, type, self.parent).items():
                listing.places.setdefault(place, []).append(self._memory.shelf.put(held))
            names.update(row["name"] for row in rows)
            count += len(rows)
        if len(names) != count:
            raise Unreadable(f"GET {path} names an asset of type {type} twice")
        return listing

    # --- any API of Google ---

    @overload
    def get(self, host: str, path: str, *, absent: tuple[str, ...], **query: Any) -> dict[str, Any] | None: ...
    @overload
    def get(self, host: str, path: str, **query: Any) -> dict[str, Any]: ...
    def get(self, host: str, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> dict[str, Any] | None:
        """One answer that has one page. A status or a reason in ``absent`` ("NOT_FOUND") is the answer None.

        Raises CannotObserve for every other error, and Unreadable when the answer says that there is more of it.
        """
        return self._one(host, path, query, absent)

    def each(
        self, host: str, path: str, items: str, *, absent: tuple[str, ...] = (), **query: Any
    ) -> list[dict[str, Any]]:
        """All of the list ``items`` over every page; Google leaves an empty list out. ``absent`` as of ``get``.

        Raises CannotObserve when any page got no answer, has something else in place of the list, says that it is not
        whole, or goes on where this listing has been.
        """
        found: list[dict[str, Any]] = []
        for kept in self._walk(host, path, query, absent):
            what = f"GET {path} page {kept.exchange.page}"
            if host == DIRECTORY and "kind" not in kept.body:
                raise Unreadable(f"{what} does not say of what kind it is, as every answer of {host} does")
            if missing := next((name for name in PARTIAL if kept.body.get(name)), ""):
                raise Unavailable(f"{what} at {host} is not whole: it names {missing}")
            found += _list(kept.body, items, what)
        return found

    def post(self, host: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The first page of the answer to a question that is put in a body, whether or not there is more of it.

        Raises CannotObserve for every error.
        """
        call = Call("POST", url_of(host, path), {}, dict(body), lane=host)
        kept = self.transcript.ask(Question("gcp", host, f"POST {path}", {"body": body}), lambda _: self._put(call))
        kept.raise_failure()
        found: dict[str, Any] = kept.body
        return found

    def _one(
        self, host: str, path: str, query: Mapping[str, Any], absent: tuple[str, ...], method: str = "GET"
    ) -> dict[str, Any] | None:
        kept = next(self._walk(host, path, query, absent, method), None)
        if kept is None:
            return None
        if kept.token:
            raise Unreadable(f"{method} {path} has more pages; the check must use each()")
        found: dict[str, Any] = kept.body
        return found

    def _walk(
        self, host: str, path: str, query: Mapping[str, Any], absent: tuple[str, ...], method: str = "GET"
    ) -> Iterator[Kept]:
        """Every page of a question. Ends at once for an error in ``absent``; raises for every other error."""
        question = Question("gcp", host, f"{method} {path}", query)
        call = Call(method, url_of(host, path), wired(query), lane=host)
        token: Any = None
        taken: list[Any] = []
        for page in range(1, PAGES_MAX + 1):
            ask = partial(self._follow, call, token, tuple(taken))
            kept = self.transcript.ask(replace(question, page=page) if page > 1 else question, ask)
            if page == 1 and kept.exchange.error and not set(absent).isdisjoint(kept.exchange.error.split(":")):
                return
            kept.raise_failure()
            yield kept
            if not kept.token:
                return
            if token is not None:
                taken.append(token)
            token = kept.token
        raise Unreadable(f"{question.operation} has more than {PAGES_MAX} pages")

    def _follow(self, call: Call, token: Any, taken: tuple[Any, ...], _: Question) -> Answer:
        """Asks for the page that a token leads to. One that leads nowhere is an answer that says so, and is kept, so
        that reperformance ends as this run does."""
        if token is None:
            return self._put(call)
        if not isinstance(token, str):
            return self._refusal("NoToken", "the listing goes on with something that is no page token")
        if token in taken:
            return self._refusal("RepeatedToken", "the listing gave the same page token twice")
        return self._put(replace(call, query={**call.query, "pageToken": token}))

    def _refusal(self, code: str, message: str) -> Answer:
        return Answer({"Error": {"Code": code, "Message": message}}, self.now, 0, 0, code, Unreadable.code)


def _list(page: Mapping[str, Any], name: str, what: str) -> list[dict[str, Any]]:
    """The list of a page; Google leaves an empty one out. Raises Unreadable for anything else in its place."""
    found = page.get(name, [])
    if not isinstance(found, list):
        raise Unreadable(f"{what} has no list {name}")
    if not all(isinstance(item, dict) for item in found):
        raise Unreadable(f"{what}: not every item of {name} is an object")
    return found


def _without_items(asset: dict[str, Any]) -> dict[str, Any]:
    inventory = asset.get("osInventory")
    if not isinstance(inventory, dict):
        return asset
    return {**asset, "osInventory": {name: value for name, value in inventory.items() if name != "items"}}


# --- what was listed ---


@dataclass(frozen=True)
class _Project:
    """One project, as Cloud Asset Inventory, Resource Manager or both show it."""

    id: str
    number: str
    state: str
    inventoried: bool = False  # Cloud Asset Inventory shows it, active
    managed: bool = False  # Resource Manager shows it, in any state

    @property
    def active(self) -> bool:
        return self.state == "ACTIVE"


def _reconciled(inventory: list[_Project], managed: list[_Project]) -> dict[str, _Project]:
    """The projects of both. The state is Resource Manager's where it has one: the inventory follows it."""
    found = {project.id: project for project in inventory}
    for project in managed:
        known = found.get(project.id)
        if known is not None and known.number != project.number:
            raise Unreadable(f"project {project.id} has two numbers, {known.number} and {project.number}")
        found[project.id] = replace(project, inventoried=known is not None and known.inventoried)
    return found


@dataclass
class _Listing:
    """Where on the shelf the assets of one type are, by the first of their ancestors ("projects/100000000001")."""

    places: dict[str, list[Place]] = field(default_factory=dict)


def _by_place(rows: list[dict[str, Any]], type: str, parent: str) -> dict[str, list[dict[str, Any]]]:
    """The assets of one page. Raises Unreadable for one that does not belong into the listing."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        ancestors = row.get("ancestors")
        if not isinstance(ancestors, list) or not ancestors or not row.get("name"):
            raise Unreadable(f"an asset of type {type} has no name or does not say what it is below")
        if parent not in ancestors and not parent.startswith("projects/"):  # named by id there, by number here
            raise Unreadable(f"{row['name']} was listed below {parent}, and says that it is not")
        if row.get("assetType") != type:
            raise Unreadable(f"{row['name']} was listed as {type}, and is {row.get('assetType')}")
        found.setdefault(ancestors[0], []).append(row)
    return found


# --- opened, live or over kept answers ---


class GcpSettings(Protocol):
    """What the configuration says about one organisation, folder or project."""

    @property
    def parent(self) -> str: ...
    @property
    def credentials_file(self) -> Path | None:
        """A key file or a file of workload identity federation; None for Application Default Credentials."""
        ...

    @property
    def impersonate(self) -> str: ...
    @property
    def quota_project(self) -> str: ...
    @property
    def workspace_admin(self) -> str: ...
    @property
    def customer(self) -> str: ...
    @property
    def projects(self) -> tuple[str, ...]: ...


def opened(settings: GcpSettings, transcript: Transcript, reference: datetime, put: Put) -> Organization:
    """The organisation for one run; ``put`` is that of an ``Edge`` over ``gcp_answers.Answers``."""
    return Organization(
        settings.parent,
        transcript,
        reference,
        put,
        customer=settings.customer,
        projects=tuple(settings.projects),
    )


def kept(
    account: str, transcript: Transcript, reference: datetime, settings: Mapping[str, Any] | None = None
) -> Organization:
    """The organisation that answers from a kept transcript, offline; ``settings`` is its sealed record.

    ``account`` is as in a scope, "organizations-123".
    """
    settings = settings or {}
    return Organization(
        account.replace("-", "/", 1),
        transcript,
        reference,
        customer=settings.get("customer", "my_customer"),
        projects=tuple(settings.get("projects", ())),
    )
