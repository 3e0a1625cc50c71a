"""Azure Resource Manager: subscriptions, what one may do in them, and every stored resource, by id or listed."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

from collector.demo.azure import errors, resource_graph
from collector.demo.azure.quotas import Quotas
from collector.demo.azure.world import (
    ACTIONS,
    DOMAIN,
    MANAGEMENT_GROUP,
    TENANT,
    Ask,
    World,
    page_token,
    token_start,
)

HOST = "management.azure.com"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
API_VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview|-privatepreview|-beta|-alpha)?")
SUBSCRIPTIONS_READ = "Microsoft.Resources/subscriptions/read"
ITEMS_A_PAGE = 100
# Listings that never have a second page, whatever their length.
WHOLE = frozenset(("microsoft.insights/diagnosticsettings", "microsoft.security/pricings"))
# Kinds that belong to the resource, or the subscription, in front of them and are not listed from above.
EXTENSIONS = frozenset(
    (
        "microsoft.insights/diagnosticsettings",
        "microsoft.maintenance/configurationassignments",
        "microsoft.security/assessments",
        "microsoft.security/pricings",
    )
)
VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete", "POST": "action"}
# What a resource has in Resource Graph and not in its own GET.
GRAPH_ONLY = {"microsoft.compute/virtualmachines": "extended"}


class Unserved(Exception):
    """Nobody here knows the path."""


class Path:
    """A path of Azure Resource Manager taken apart, names as they were asked."""

    def __init__(self, path: str) -> None:
        self.text = path.rstrip("/") or "/"
        self.low = self.text.lower()
        found = re.match(r"/subscriptions/([^/]+)", self.low)
        self.subscription = found[1] if found else ""
        group = re.match(r"/subscriptions/[^/]+/resourcegroups/([^/]+)", self.text, re.IGNORECASE)
        self.group = group[1] if group else ""
        at = self.low.rfind("/providers/")
        self.scope = self.low[:at] if at >= 0 else self.low  # what the last provider's resource belongs to
        self.namespace, *self.parts = self.text[at + len("/providers/") :].split("/") if at >= 0 else [""]

    @property
    def types(self) -> str:
        """ "vaults/keys", as it was asked."""
        return "/".join(self.parts[0::2])

    @property
    def kind(self) -> str:
        return f"{self.namespace}/{self.types}".lower() if self.namespace else ""

    @property
    def listing(self) -> bool:
        """Whether it ends with a type and not with a name."""
        return len(self.parts) % 2 == 1

    @property
    def parent(self) -> str:
        """The id of the resource above the last one, "" where there is none."""
        names = self.parts[:-1] if self.listing else self.parts[:-2]
        return f"{self.scope}/providers/{self.namespace.lower()}/{'/'.join(names).lower()}" if names else ""

    def action(self, method: str) -> str:
        """The action that a request for it needs: what the path says is what the operation is called."""
        if self.namespace:
            return f"{self.namespace}/{self.types}/{VERBS.get(method, 'action')}"
        rest = self.low.split("/")[3:]
        below = f"/{'resourceGroups' if rest[0] == 'resourcegroups' else rest[0]}" if rest else ""
        return f"Microsoft.Resources/subscriptions{below}/{VERBS.get(method, 'action')}"


def answer(world: World, quotas: Quotas, ask: Ask) -> tuple[dict[str, Any], dict[str, str]]:
    """(body, headers). Raises Refusal, Unserved."""
    path = Path(ask.path)
    if "api-version" not in ask.query:
        raise errors.missing_api_version()
    if not API_VERSION.fullmatch(ask.query["api-version"]):
        raise errors.invalid_api_version(ask.query["api-version"])
    if (ask.method, path.low) == ("POST", resource_graph.PATH):
        return resource_graph.answer(world, quotas, ask)
    headers = _spend(world, quotas, path)
    if not path.subscription:
        return _tenant(world, ask, path), headers
    if not GUID.fullmatch(path.subscription):
        raise errors.invalid_subscription(path.subscription)
    if path.subscription not in {id for id, _ in world.subscriptions()}:
        raise errors.subscription_not_found(path.subscription)
    action = path.action(ask.method)
    if not world.permitted(action, path.subscription):
        raise errors.authorization_failed(action, path.text)
    if ask.method != "GET":
        raise Unserved
    return _of_subscription(world, ask, path), headers


def _spend(world: World, quotas: Quotas, path: Path) -> dict[str, str]:
    size, per_second = (int(world.settings[name]) for name in ("subscription_reads", "subscription_reads_per_second"))
    left, wait = quotas.bucket(path.subscription, size, per_second)
    if wait:
        raise errors.reads_throttled(path.subscription or "tenant", wait)
    return {f"x-ms-ratelimit-remaining-{'subscription' if path.subscription else 'tenant'}-reads": str(left)}


# --- the tenant ---


def _tenant(world: World, ask: Ask, path: Path) -> dict[str, Any]:
    if ask.method != "GET":
        raise errors.authorization_failed(path.action(ask.method), path.text)
    if path.low == "/tenants":
        tenant = {
            "id": f"/tenants/{TENANT}",
            "tenantId": TENANT,
            "countryCode": "IE",
            "displayName": "Acme",
            "domains": [DOMAIN],
            "tenantCategory": "Home",
            "defaultDomain": DOMAIN,
            "tenantType": "AAD",
        }
        return {"value": [tenant]}
    if path.low == "/subscriptions":
        shown = [body for id, body in world.subscriptions() if world.permitted(SUBSCRIPTIONS_READ, id)]
        count = {"type": "Total", "value": len(shown)}
        return {**_listed(world, ask, shown), "count": count}
    group = re.fullmatch(r"/providers/microsoft\.management/managementgroups/([^/]+)/descendants", path.low)
    if group is None:
        raise Unserved
    action = "Microsoft.Management/managementGroups/descendants/read"
    if group[1] not in (MANAGEMENT_GROUP, TENANT) or not world.permitted(action):
        raise errors.authorization_failed(action, path.text.removesuffix("/descendants"))
    return _listed(world, ask, list(_descendants(world, group[1])))


def _descendants(world: World, group: str) -> Iterator[dict[str, Any]]:
    """The subscriptions are below one management group, which is below the root group of the tenant."""
    groups = "/providers/Microsoft.Management/managementGroups"
    if group == TENANT:
        yield {
            "id": f"{groups}/{MANAGEMENT_GROUP}",
            "type": "Microsoft.Management/managementGroups",
            "name": MANAGEMENT_GROUP,
            "properties": {"displayName": "Acme", "parent": {"id": f"{groups}/{TENANT}"}},
        }
    for id, body in world.subscriptions():
        yield {
            "id": f"/subscriptions/{id}",
            "type": "/subscriptions",
            "name": id,
            "properties": {"displayName": body["displayName"], "parent": {"id": f"{groups}/{MANAGEMENT_GROUP}"}},
        }


# --- a subscription ---

ACTIVITY = "microsoft.insights/eventtypes/values"
ACTIVITY_FILTER = re.compile(r"eventTimestamp ge '([^']+)' and eventTimestamp le '([^']+)' and resourceUri eq '(.+)'")


def _activity(world: World, ask: Ask) -> list[dict[str, Any]]:
    """The Activity Log, newest first: what ``World.settings["activity"]`` has of one resource. Other filters are none
    of ours."""
    asked = ACTIVITY_FILTER.fullmatch(ask.query.get("$filter", ""))
    if asked is None:
        raise errors.arm(400, "BadRequest", "The filter is missing, or of no pattern that is allowed.")
    since, until, uri = asked[1], asked[2], asked[3].replace("''", "'").lower()
    found = [
        event
        for event in world.settings.get("activity") or ()
        if event["resourceId"].lower() == uri and since <= event["eventTimestamp"] <= until
    ]
    return sorted(found, key=lambda event: str(event["eventTimestamp"]), reverse=True)


def _of_subscription(world: World, ask: Ask, path: Path) -> dict[str, Any]:
    if path.kind == "microsoft.authorization/permissions" and path.listing:
        actions, others = world.held(path.subscription)
        role = {"actions": actions, "notActions": others, "dataActions": [], "notDataActions": []}
        return {"value": [role] if actions else []}
    if path.kind == ACTIVITY:
        return _listed(world, ask, _activity(world, ask))
    stored = world.find(path.low)
    if stored is not None:
        return _shown(stored, world.items[path.low].kind)
    if not path.namespace:
        return _below(world, ask, path)
    _require_parent(world, path)
    if not path.listing:
        name = f"{path.namespace}/{path.types}/{'/'.join(path.parts[1::2])}"
        raise errors.resource_not_found(name, path.group)
    known = {action.rpartition("/")[0].lower() for action in ACTIONS} | set(world.by_kind)
    if path.kind not in known:
        raise errors.type_not_found(path.namespace, path.types, ask.query["api-version"])
    if unknown := sorted(name for name in ask.query if name.lower() not in ("api-version", "$skiptoken", "$top")):
        raise errors.arm(400, "InvalidQueryParameter", f"not simulated: {', '.join(unknown)}")
    own = _below_itself(path)
    listed = world.each(path.kind, under=f"{path.low if own else path.scope}/")
    found = [_shown(world.fresh(body), path.kind) for id, body in listed if not own or _direct(id, path)]
    return {"value": found} if path.kind in WHOLE else _listed(world, ask, found)


def _below(world: World, ask: Ask, path: Path) -> dict[str, Any]:
    """What a subscription or a resource group lists besides the resources of a provider."""
    prefix, _, last = path.low.rpartition("/")
    if last == "resourcegroups":
        found = [
            body for id, body in world.each("microsoft.resources/subscriptions/resourcegroups") if id.startswith(prefix)
        ]
        return _listed(world, ask, found)
    if last == "resources":
        rows: list[dict[str, Any]] = [
            {
                key: body[key]
                for key in ("id", "name", "type", "location", "tags", "kind", "sku", "identity")
                if key in body
            }
            for kind in sorted(world.by_kind)
            if kind.startswith("microsoft.") and "resources" in resource_graph.tables(kind)
            for id, body in world.each(kind)
            if id.startswith(f"{prefix}/") and world.permitted(f"{kind}/read", path.subscription)
        ]
        return _listed(world, ask, rows)
    if path.group and path.low.endswith(f"/resourcegroups/{path.group.lower()}"):
        raise errors.group_not_found(path.group)
    raise Unserved


def _require_parent(world: World, path: Path) -> None:
    """Raises Refusal unless what the resource belongs to is there."""
    if path.parent and path.parts[0].lower() != "locations" and world.find(path.parent) is None:
        raise errors.parent_not_found(path.types, path.parent.rpartition("/")[2])
    if "/providers/" in path.scope and world.find(path.scope) is None:
        owner = Path(path.scope)
        name = f"{owner.namespace}/{owner.types}/{'/'.join(owner.parts[1::2])}"
        raise errors.resource_not_found(name, owner.group)
    group = "/".join(path.low.split("/")[:5])
    if path.group and world.find(group) is None and not any(id.startswith(f"{group}/") for id in world.items):
        raise errors.group_not_found(path.group)


def _below_itself(path: Path) -> bool:
    """Whether a listing has what is directly below its own path, not all of the kind in front of it."""
    return path.kind in EXTENSIONS or len(path.parts) > 1


def _direct(id: str, path: Path) -> bool:
    return "/" not in id[len(path.low) + 1 :]


def _shown(body: dict[str, Any], kind: str) -> dict[str, Any]:
    hidden = GRAPH_ONLY.get(kind)
    if hidden is None or hidden not in body.get("properties", {}):
        return body
    return {**body, "properties": {name: value for name, value in body["properties"].items() if name != hidden}}


def _listed(world: World, ask: Ask, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One page of a listing with its ``nextLink``."""
    query = {name: value for name, value in ask.query.items() if name.lower() not in ("$skiptoken", "%24skiptoken")}
    token = next((value for name, value in ask.query.items() if name.lower() == "$skiptoken"), "")
    question = json.dumps([ask.path.lower(), query], sort_keys=True)
    start = 0
    if token:
        try:
            start = token_start(token, question)
        except ValueError as error:
            raise errors.arm(400, "InvalidSkipToken", f"The skip token is invalid: {error}.") from error
    top = ask.query.get("$top", "")
    size = min(int(top), ITEMS_A_PAGE) if top.isdecimal() and int(top) else ITEMS_A_PAGE
    chosen, after = world.page(rows, start, size)
    answer: dict[str, Any] = {"value": chosen}
    if after:
        link = urllib.parse.urlencode({**query, "$skiptoken": page_token(after, question)})
        answer["nextLink"] = f"https://{ask.host}{urllib.parse.quote(ask.path)}?{link}"
    return answer
