"""The simulated Google organisation on the wire: takes a request apart, lets it fail on demand, answers and logs it.

What is answered is in ``assets.py``, ``services.py``, ``workspace.py``, ``storage.py`` and ``oauth.py``; what there
is, in ``estate.py``. TLS and sockets are in ``collector/demo/proxy.py``.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from collector.demo.gcp import errors, feeds, metadata, pubsub, services, storage
from collector.demo.gcp.errors import Refusal
from collector.demo.gcp.estate import populate as populate_estate
from collector.demo.gcp.oauth import CLOUD_PLATFORM, DELEGATED_HOSTS, Issuer
from collector.demo.gcp.world import ADMINISTRATOR, HOME, ORGANIZATION, PROJECTS, Ask, Principal, World, service_name
from collector.demo.objects import stamp
from collector.demo.proxy import Request, Reset, Response

CALLS_MAX = 500_000  # older ones are dropped from the log
FAULT_KINDS = (
    "throttle",
    "usage-limits",
    "expired",
    "denied",
    "disabled",
    "404",  # these three Cloud Storage only
    "409",
    "412",
    "500",
    "slow",
    "reset",
    "truncate",
    "html",
)
OAUTH = "oauth2.googleapis.com"
IAM_CREDENTIALS = "iamcredentials.googleapis.com"
IMPERSONATION = re.compile(r"/v1/projects/-/serviceAccounts/([^/:]+)(?::(\w+)|/(allowedLocations))")
# Google sends no request ids; these headers come with every answer of its front end.
HEADERS = {
    "Vary": "Origin, X-Origin, Referer",
    "Server": "ESF",
    "Cache-Control": "private",
    "X-XSS-Protection": "0",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
}
PAGE = b"<!DOCTYPE html>\n<html lang=en>\n<title>Error %d</title>\n<p>The requested URL was not served by this server."


@dataclass
class Fault:
    """What goes wrong with which calls; ``operation`` is searched in "GET /path", ``host`` matches the whole name."""

    kind: str
    operation: str = ".*"
    host: str = ".*"
    times: int | None = None  # None: until it is cleared
    seconds: float = 3.0
    label: str = ""

    def hits(self, request: Request) -> bool:
        if self.kind in ("404", "409", "412") and request.host != storage.HOST:
            return False
        asked = f"{request.method} {request.target.partition('?')[0]}"
        return bool(
            self.times != 0 and re.search(self.operation, asked) and re.fullmatch(self.host, request.host.lower())
        )


class GcpBed:
    """One organisation. Each public method except ``handle`` is a control call: JSON in, JSON out."""

    hosts: tuple[str, ...] = (r"(?:[a-z0-9-]+\.)*googleapis\.com",)

    def __init__(
        self,
        seed: int,
        scale: int,
        clock: Callable[[], datetime],
        populate: Callable[[World, int], None] = populate_estate,
    ) -> None:
        """``populate`` fills another organisation than that of ``estate.py``."""
        self._arguments = (seed, scale, clock)
        self._populate = populate
        self._lock = threading.RLock()
        self._issuer: Issuer | None = None
        self.reset()

    def reset(self) -> None:
        """The organisation as it was at the start, with an empty log and no faults; key and tokens stay good."""
        seed, scale, clock = self._arguments
        with self._lock:
            self.world = World(clock, seed=seed)
            self._populate(self.world, scale)
            if self._issuer is None:
                self._issuer = Issuer(self.world)
            else:
                self._issuer.attach(self.world)
            self._storage = storage.Storage(self.world)
            self._pubsub = pubsub.PubSub(clock)
            self._feeds: list[feeds.Feed] = []
            self._faults: list[Fault] = []
            self._calls: deque[dict[str, Any]] = deque(maxlen=CALLS_MAX)
            self._number = 0
            self._unserved: list[str] = []

    @property
    def issuer(self) -> Issuer:
        assert self._issuer is not None
        return self._issuer

    # --- for who starts it ---

    def credentials(self, folder: Path) -> dict[str, str]:
        """Writes the collector's key file into a folder; the environment variables that lead to it."""
        file = folder / "google-service-account.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(self.issuer.key_file(), indent=2))
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}

    def metadata(self, method: str, target: str, headers: dict[str, str]) -> Response:
        """The answer of the metadata server of a machine in the collector's project."""
        return metadata.answer(self.issuer, method, target, headers)

    @property
    def administrator(self) -> str:
        """The Workspace administrator for whom the collector asks."""
        return ADMINISTRATOR

    # --- control: objects ---

    def set(self, key: str, value: Any) -> None:
        """page_size (0: as asked), list_assets_per_minute, token_seconds, report_lag_days, report_warnings."""
        self.world.settings[key] = value

    def get(self, key: str) -> Any:
        return self.world.settings.get(key)

    def resources(self, type: str) -> list[str]:
        """The ids of a kind: an asset type, or admin#directory#user, admin#directory#orgUnit, cloudidentity#policy,
        admin#reports#usageReport."""
        with self._lock:
            return [id for id, _ in self.world.each(type)]

    def show(self, id: str) -> dict[str, Any]:
        """The object as it is answered now. Raises LookupError."""
        with self._lock:
            self.world.require(id)
            found = self.world.find(id)
        assert found is not None
        return found

    def put(self, resource: dict[str, Any]) -> str:
        """Adds or replaces a whole asset or Workspace object; its id. What an asset leaves out is filled in."""
        body = copy.deepcopy(resource)
        id, kind = _identity(body)
        if "assetType" in body:
            body.setdefault("updateTime", stamp(self.world.clock()))
            if "ancestors" not in body:
                body["ancestors"] = self._ancestors(id)
        with self._lock:
            before = self.world.find(id)
            self.world.add(id, kind, body)
            self._tell(before, body)
        return id

    def edit(self, id: str, path: str, value: Any) -> None:
        """Sets a member, "resource.data.settings.tier"; numbers are places in lists, None deletes."""
        with self._lock:
            before = self.world.require(id)
            self.world.edit(id, path, value)
            self._tell(before, self.world.require(id))

    def remove(self, id: str) -> None:
        with self._lock:
            before = self.world.require(id)
            self.world.remove(id)
            self._tell(before, None)

    def make_bucket(self, name: str, retention: bool = True, versioning: bool = False) -> None:
        """An empty bucket of Cloud Storage, with object retention or without. No check knows of it."""
        with self._lock:
            self._storage.make(name, retention, versioning)

    def make_subscription(self, name: str, deadline_seconds: int = 300) -> None:
        with self._lock:
            self._pubsub.make(name, deadline_seconds)

    def feed(self, name: str, content: str = "RESOURCE") -> None:
        """From now on each change of an asset is published to a subscription, as by a feed over the organisation;
        first of all the feed says that it is there. ``content``: RESOURCE, IAM_POLICY or ORG_POLICY."""
        made = feeds.Feed(name, content)
        with self._lock:
            self._feeds.append(made)
            self._pubsub.put(name, made.welcome(f"organizations/{ORGANIZATION}"))

    def _tell(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        for one in self._feeds:
            message = one.message(before, after, self.world.clock())
            if message is not None:
                self._pubsub.put(one.subscription, message)

    def publish(self, name: str, body: str, data: str = "") -> None:
        """As a feed of Cloud Asset Inventory delivers a change; or ``data`` as it is, for what is no base64 of ours."""
        with self._lock:
            self._pubsub.put(name, body, data)

    def messages_held(self, name: str) -> int:
        with self._lock:
            return self._pubsub.held(name)

    def storage_rights(self, rights: list[str] | None = None) -> None:
        """What the collector may do in every bucket; None for what it has at the start (``storage.RIGHTS``)."""
        with self._lock:
            self._storage.rights = set(storage.RIGHTS if rights is None else rights)

    def _ancestors(self, id: str) -> list[str]:
        named = re.search(r"/projects/([^/]+)", id)
        project = self.world.project(named[1]) if named else None
        if project is None:
            raise ValueError(f"say the ancestors of {id}: its name holds no project of the estate")
        for name, body in self.world.each("cloudresourcemanager.googleapis.com/Project"):
            if name.endswith(f"/{project[1]}"):
                return list(body["ancestors"])
        raise LookupError(f"no project {project[0]}")

    # --- control: rights, tokens ---

    def revoke(self, permission: str, project: str = "") -> None:
        """Takes an IAM permission away (in one project), a "workspace:<scope>", or disables "api:<service>"."""
        with self._lock:
            if permission.startswith("api:"):
                self._switch(permission.removeprefix("api:"), project, "DISABLED")
            else:
                self.world.lost.add((permission, project))

    def grant(self, permission: str, project: str = "") -> None:
        """Undoes ``revoke``, or gives what the collector never had."""
        with self._lock:
            if permission.startswith("api:"):
                self._switch(permission.removeprefix("api:"), project, "ENABLED")
                return
            self.world.lost.discard((permission, project))
            self.world.granted.add(permission)

    def permissions(self) -> list[str]:
        """What the collector holds everywhere: IAM permissions, workspace scopes, and APIs enabled at its home."""
        with self._lock:
            prefix = service_name(PROJECTS[HOME], "")
            enabled = [
                "api:" + name.removeprefix(prefix)
                for name, body in self.world.each("serviceusage.googleapis.com/Service")
                if name.startswith(prefix) and body["resource"]["data"]["state"] == "ENABLED"
            ]
            return sorted([p for p in self.world.granted if (p, "") not in self.world.lost] + enabled)

    def _switch(self, service: str, project: str, state: str) -> None:
        numbers = [number for id, number in PROJECTS.items() if project in ("", id, number)]
        known = [service_name(number, service) for number in numbers]
        found = [name for name in known if name in self.world.items]
        if not found:
            raise LookupError(f"no project here has the API {service}")
        for name in found:
            self.world.edit(name, "resource.data.state", state)

    def expire_tokens(self) -> None:
        """Every access token that was handed out is expired from now on; new ones are given on request."""
        self.issuer.expire()

    # --- control: faults and log ---

    def fault(
        self,
        kind: str,
        operation: str = ".*",
        host: str = ".*",
        times: int | None = None,
        seconds: float = 3.0,
        label: str = "",
    ) -> None:
        """Lets calls fail (see FAULT_KINDS). Tokens stay obtainable unless ``host`` names that door."""
        if kind not in FAULT_KINDS:
            raise ValueError(f"no fault {kind!r}; there are {', '.join(FAULT_KINDS)}")
        re.compile(operation), re.compile(host)
        with self._lock:
            self._faults.append(Fault(kind, operation, host, times, seconds, label))

    def clear_faults(self, label: str = "") -> None:
        """Ends the faults with that label, or all."""
        with self._lock:
            self._faults = [fault for fault in self._faults if label and fault.label != label]

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        """The calls after number ``since``; status 0 is a reset."""
        with self._lock:
            return [call for call in self._calls if call["seq"] > since]

    def clear_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    def unserved(self) -> list[str]:
        """What was asked and that nobody here knows, as "GET host/path"."""
        return list(self._unserved)

    # --- the wire ---

    def handle(self, request: Request) -> Response:
        """The answer to one request. Raises Reset for a fault that is one."""
        fault = self._fault(request)
        principal: list[str] = []
        if fault is not None and fault.kind == "slow":
            time.sleep(fault.seconds)
        try:
            if fault is None or fault.kind == "slow":
                found = self._answer(request, principal)
            else:
                found = self._faulty(fault, request, principal)
        except Reset:
            self._log(request, 0, "reset", principal)
            raise
        self._log(request, found.status, fault.kind if fault else "", principal)
        date = format_datetime(self.world.clock(), usegmt=True)
        return Response(found.status, {**HEADERS, **found.headers, "Date": date}, found.body, found.sent)

    def _fault(self, request: Request) -> Fault | None:
        door = request.host in (OAUTH, IAM_CREDENTIALS)
        with self._lock:
            for fault in self._faults:
                if fault.hits(request) and not (door and fault.host == ".*"):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def _faulty(self, fault: Fault, request: Request, principal: list[str]) -> Response:
        if fault.kind == "reset":
            raise Reset
        if fault.kind == "html":
            return Response(200, {"Content-Type": "text/html; charset=UTF-8"}, b"<html><body>Sign in<br></body></html>")
        if fault.kind == "truncate":
            whole = self._answer(request, principal)
            return Response(whole.status, whole.headers, whole.body, sent=len(whole.body) // 2)
        host = request.host
        number = PROJECTS[HOME]
        if host == OAUTH:
            return _written(_of_oauth(fault.kind))
        if host == storage.HOST and fault.kind in storage.FAULTS:
            return _written(storage.FAULTS[fault.kind]())
        known = {
            "throttle": lambda: errors.quota_exceeded(host, number, "Requests", 100, after=1),
            "usage-limits": errors.usage_limits,
            "expired": lambda: errors.unauthenticated(host, "ACCESS_TOKEN_EXPIRED", _route(request)[1]),
            "denied": lambda: errors.denied(host, _permission(request), _resource(request)),
            "disabled": lambda: errors.service_disabled(host, services.title(host), number),
            "500": errors.internal,
        }
        return _written(known[fault.kind]())

    def _log(self, request: Request, status: int, fault: str, principal: list[str]) -> None:
        path, _, query = request.target.partition("?")
        with self._lock:
            self._number += 1
            self._calls.append(
                {
                    "seq": self._number,
                    "at": self.world.clock().isoformat(),
                    "host": request.host,
                    "method": request.method,
                    "path": urllib.parse.unquote(path),
                    "query": urllib.parse.parse_qs(query),
                    "status": status,
                    "fault": fault,
                    "principal": principal[0] if principal else "",
                }
            )

    def _answer(self, request: Request, principal: list[str]) -> Response:
        try:
            if request.host == OAUTH:
                return self._oauth(request)
            if request.host == storage.HOST:
                return self._stored(request, principal)
            if request.host == pubsub.HOST:
                return self._pulled(request, principal)
            return _json(200, self._served(request, principal))
        except Refusal as error:
            return _written(error)
        except _Unserved:
            return self._not_served(request)

    def _oauth(self, request: Request) -> Response:
        path, _, query = request.target.partition("?")
        form = dict(urllib.parse.parse_qsl(query)) | dict(
            urllib.parse.parse_qsl(request.body.decode("utf-8", "replace"))
        )
        if (request.method, path) == ("POST", "/token"):
            return _json(200, self.issuer.grant(form))
        if path == "/tokeninfo":
            return _json(200, self.issuer.token_info(form.get("access_token", "")))
        raise _Unserved

    def _pulled(self, request: Request, principal: list[str]) -> Response:
        who = self.issuer.principal(
            request.host, request.headers.get("authorization", ""), "google.pubsub.v1.Subscriber"
        )
        principal.append(who.subject or who.account)
        if not who.holds(*pubsub.SCOPES):
            raise errors.scopes_insufficient(request.host, "google.pubsub.v1.Subscriber")
        with self._lock:
            found = self._pubsub.answer(request)
        if found is None:
            raise _Unserved
        return found

    def _stored(self, request: Request, principal: list[str]) -> Response:
        who = self.issuer.principal(request.host, request.headers.get("authorization", ""), "storage")
        principal.append(who.subject or who.account)
        if not who.holds(*storage.SCOPES):
            raise errors.scopes_insufficient(request.host, "storage")
        with self._lock:
            found = self._storage.answer(request)
        if found is None:
            raise _Unserved
        return found

    def _served(self, request: Request, principal: list[str]) -> dict[str, Any]:
        answer, rpc, scopes, groups = _route(request)
        if answer is None and not (request.host == IAM_CREDENTIALS and _impersonated(request)):
            raise _Unserved
        who = self.issuer.principal(request.host, request.headers.get("authorization", ""), rpc)
        principal.append(who.subject or who.account)
        ask = self._ask(request, who, rpc)
        with self._lock:
            if not self.world.enabled(request.host, ask.consumer):
                raise errors.service_disabled(request.host, services.title(request.host), ask.consumer)
            if not who.holds(*scopes) or (request.host in DELEGATED_HOSTS and who.self_signed):
                raise errors.scopes_insufficient(request.host, rpc)
            if answer is None:
                account, verb, locations = _impersonated(request) or ("", "", "")
                if locations:
                    raise errors.not_found()  # an account without regional boundaries has none
                return self.issuer.impersonate(ask, account, verb)
            return answer(self.world, ask, *groups)

    def _ask(self, request: Request, who: Principal, rpc: str) -> Ask:
        path, _, query = request.target.partition("?")
        try:
            body = json.loads(request.body) if request.body else {}
        except ValueError as error:
            raise errors.invalid("Invalid JSON payload received.") from error
        consumer = PROJECTS[HOME]
        if named := request.headers.get("x-goog-user-project"):
            found = self.world.project(named)
            if found is None or not self.world.permitted("serviceusage.services.use", found[0]):
                raise errors.quota_project_denied(found[1] if found else named, request.host)
            consumer = found[1]
        values = urllib.parse.parse_qs(query, keep_blank_values=True)
        return Ask(request.method, request.host, urllib.parse.unquote(path), values, body, who, consumer, rpc)

    def _not_served(self, request: Request) -> Response:
        name = f"{request.method} {request.host}{request.target.partition('?')[0]}"
        with self._lock:
            self._unserved.append(name)
        return Response(404, {"Content-Type": "text/html; charset=UTF-8"}, PAGE % 404)


class _Unserved(Exception):
    """Nobody here knows the host or the method."""


def _route(request: Request) -> tuple[services.Answer | None, str, tuple[str, ...], tuple[str, ...]]:
    """The answer of a request, its method's name, the scopes of which one is needed, the parts of its path."""
    path = urllib.parse.unquote(request.target.partition("?")[0])
    for host, method, pattern, rpc, scopes, answer in services.ROUTES:
        if (host, method) == (request.host, request.method) and (found := re.fullmatch(pattern, path)):
            return answer, rpc, scopes, found.groups()
    return None, "google.iam.credentials.v1.IAMCredentials", (CLOUD_PLATFORM, "https://www.googleapis.com/auth/iam"), ()


def _impersonated(request: Request) -> tuple[str, str, str] | None:
    found = IMPERSONATION.fullmatch(urllib.parse.unquote(request.target.partition("?")[0]))
    return (found[1], found[2] or "", found[3] or "") if found else None


def _identity(body: dict[str, Any]) -> tuple[str, str]:
    """(id, kind) of an asset or a Workspace object. Raises ValueError for anything else."""
    if "assetType" in body:
        return body["name"], body["assetType"]
    kind = body.get("kind", "cloudidentity#policy" if str(body.get("name", "")).startswith("policies/") else "")
    if kind == "admin#directory#user":
        return f"users/{body['primaryEmail']}", kind
    if kind == "admin#directory#orgUnit":
        return f"orgunits{body['orgUnitPath']}", kind
    if kind == "admin#reports#usageReport":
        return f"usage/{body['entity']['userEmail']}", kind
    if kind == "cloudidentity#policy":
        return body["name"], kind
    raise ValueError("put wants an asset with name and assetType, or a Workspace object with its kind")


def _permission(request: Request) -> str:
    """The permission that a denial of this request would name."""
    if request.host == "cloudasset.googleapis.com":
        query = urllib.parse.parse_qs(request.target.partition("?")[2])
        wanted = query.get("contentType", ["RESOURCE"])[0]
        return {
            "2": "cloudasset.assets.listIamPolicy",
            "IAM_POLICY": "cloudasset.assets.listIamPolicy",
            "6": "cloudasset.assets.listOSInventories",
            "OS_INVENTORY": "cloudasset.assets.listOSInventories",
        }.get(wanted, "cloudasset.assets.listResource")
    verb = "list" if request.target.partition("?")[0].endswith("s") else "get"
    return f"{request.host.partition('.')[0]}.resources.{verb}"


def _resource(request: Request) -> str:
    found = re.search(r"(?:organizations|folders|projects)/[^/:?]+", request.target)
    return found[0] if found else ""


def _of_oauth(kind: str) -> Refusal:
    """A fault at the token door, in OAuth's own words."""
    status, error, text = {
        "throttle": (429, "rate_limit_exceeded", "You have exceeded the rate limit."),
        "usage-limits": (403, "rate_limit_exceeded", "You have exceeded the rate limit."),
        "500": (500, "internal_failure", "Internal error encountered."),
        "disabled": (400, "invalid_grant", "Service account is disabled."),
        "denied": (401, "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method."),
    }.get(kind, (400, "invalid_grant", "Token has been expired or revoked."))
    return Refusal(status, {"error": error, "error_description": text})


def _written(error: Refusal) -> Response:
    found = _json(error.status, error.body)
    return Response(found.status, {**found.headers, **error.headers}, found.body)


def _json(status: int, body: Any) -> Response:
    text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    return Response(status, {"Content-Type": "application/json; charset=UTF-8"}, text.encode())
