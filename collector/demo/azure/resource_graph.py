"""Azure Resource Graph: rows of all subscriptions by a query, page by page; what may not be read is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from collector.demo.azure import errors, kql
from collector.demo.azure.quotas import Quotas
from collector.demo.azure.world import MANAGEMENT_GROUP, SUBSCRIPTION, TENANT, Ask, World, page_token, token_start

PATH = "/providers/microsoft.resourcegraph/resources"
ACTION = "Microsoft.ResourceGraph/resources/read"
ROWS_MAX = 1000
# Every column of a row, and what it is where the resource has none.
COLUMNS: dict[str, Any] = {
    "id": "",
    "name": "",
    "type": "",
    "tenantId": TENANT,
    "kind": "",
    "location": "",
    "resourceGroup": "",
    "subscriptionId": "",
    "managedBy": "",
    "sku": None,
    "plan": None,
    "properties": None,
    "tags": None,
    "identity": None,
    "zones": None,
    "extendedLocation": None,
}
APP_CONFIGURATION = ("microsoft.web/sites/config", "microsoft.web/sites/slots/config")
# The table ``resources`` has what has a name of its own in a resource group, and these children.
CHILDREN = frozenset(
    (
        "microsoft.compute/virtualmachines/extensions",
        "microsoft.network/networkwatchers/flowlogs",
        "microsoft.sql/servers/databases",
        "microsoft.sql/servers/elasticpools",
        "microsoft.web/sites/slots",
    )
)
TABLES = frozenset(
    (
        *("advisorresources", "appserviceresources", "authorizationresources", "computeresources", "healthresources"),
        *("guestconfigurationresources", "insightsresources", "kubernetesconfigurationresources", "networkresources"),
        *("maintenanceresources", "patchassessmentresources", "patchinstallationresources", "policyresources"),
        *("recoveryservicesresources", "resourcecontainers", "resources", "securityresources", "supportresources"),
    )
)
SUBSCRIPTION_ID = re.compile(r"/subscriptions/([^/]+)", re.IGNORECASE)
GROUP = re.compile(r"/resourcegroups/([^/]+)", re.IGNORECASE)


def answer(world: World, quotas: Quotas, ask: Ask) -> tuple[dict[str, Any], dict[str, str]]:
    """POST of a query: (body, headers). Raises Refusal."""
    if not any(world.permitted(ACTION, id) for id, _ in world.subscriptions()):
        raise errors.authorization_failed(ACTION, PATH)
    left, seconds, taken = quotas.window(int(world.settings["resource_graph_per_5s"]))
    headers = {
        "x-ms-user-quota-remaining": str(left),
        "x-ms-user-quota-resets-after": str(timedelta(seconds=seconds)).rjust(8, "0"),
        "x-ms-resource-graph-request-duration": "0:00:00:00.0410000",
    }
    if not taken:
        refused = errors.queries_throttled(ask, seconds)
        refused.headers.update(headers)
        raise refused
    try:
        return _answer(world, ask), headers
    except errors.Refusal as refused:
        refused.headers.update(headers)
        raise


def _answer(world: World, ask: Ask) -> dict[str, Any]:
    body = ask.body
    if not isinstance(body, dict) or not isinstance(body.get("query"), str):
        raise _invalid(ask, "InvalidQuery", "Required property 'query' not found in JSON.")
    options = body.get("options") or {}
    unknown = sorted(options.keys() - {"$top", "$skip", "$skipToken", "resultFormat", "allowPartialScopes"})
    if unknown or options.get("resultFormat", "objectArray") != "objectArray" or body.get("facets"):
        # What the real service takes and nobody here needs: refused, so that nobody relies on a made-up answer.
        raise _invalid(ask, "UnsupportedOption", f"not simulated: {', '.join(unknown) or 'table format, facets'}")
    scope = _scope(world, ask, body)
    try:
        query = kql.parsed(body["query"], tuple(COLUMNS))
        if query.table.text.lower() not in TABLES:
            word = query.table
            words = f"Table {word.text} is invalid, unsupported or disallowed."
            raise kql.Invalid("DisallowedLogicalTableName", word.text, word.line, word.place, words)
    except kql.Invalid as error:
        raise errors.resource_graph(ask, error.details) from error

    def rows() -> list[kql.Row]:
        found: list[kql.Row] = list(_readable(world, query.table.text.lower(), scope))
        for step in query.steps:
            found = step(found)
        return found

    late = world.settings["resource_graph_lag_seconds"]  # then the rows depend on the moment
    rights = frozenset(world.lost), frozenset(world.granted)
    found = rows() if late else world.once(("kql", body["query"], frozenset(scope), rights), rows)
    top, start = _window(ask, options)
    question = json.dumps([body["query"], sorted(scope)])
    if token := options.get("$skipToken"):
        try:
            start = token_start(str(token), question)
        except ValueError as error:
            raise _invalid(ask, "InvalidSkipToken", f"The provided skip token is invalid: {error}.") from error
    chosen, after = world.page(found, start, top)
    result: dict[str, Any] = {
        "totalRecords": len(found),
        "count": len(chosen),
        "data": world.fresh(chosen),
        "facets": [],
    }
    result["resultTruncated"] = "true" if after else "false"
    if after and (query.columns is None or "id" in query.columns):  # without an id nothing says where it goes on
        result["$skipToken"] = page_token(after, question)
    return result


def _invalid(ask: Ask, code: str, message: str) -> errors.Refusal:
    return errors.resource_graph(ask, [{"code": code, "message": message}])


def _window(ask: Ask, options: dict[str, Any]) -> tuple[int, int]:
    top, skip = options.get("$top", ROWS_MAX), options.get("$skip", 0)
    if not isinstance(top, int) or not 1 <= top <= ROWS_MAX:
        words = (
            f"Provided value for Top parameter is out of allowed range: '{top}'. Value must be between '1' and '1000'."
        )
        raise _invalid(ask, "TopParameterOutOfAllowedRange", words)
    if not isinstance(skip, int) or skip < 0:
        raise _invalid(
            ask, "SkipParameterOutOfAllowedRange", f"Provided value for Skip parameter is invalid: '{skip}'."
        )
    return top, skip


def _scope(world: World, ask: Ask, body: dict[str, Any]) -> set[str]:
    """The subscriptions that are asked. Raises Refusal when none of those that were named is there."""
    there = {id for id, _ in world.subscriptions() if world.held(id)[0]}
    named = body.get("subscriptions")
    groups = body.get("managementGroups")
    if groups and not set(groups) & {MANAGEMENT_GROUP, TENANT}:
        words = "No access to any of the given management groups."
        raise errors.resource_graph(ask, [{"code": "AccessDenied", "message": words}], 403, "AccessDenied")
    if not named:
        return there
    chosen = there & {str(id).lower() for id in named}
    if not chosen:
        words = (
            "There must be at least one subscription that is eligible to contain resources. Given: "
            f"'{','.join(map(str, named))}'."
        )
        raise _invalid(ask, "NoValidSubscriptionsInQueryRequest", words)
    return chosen


# --- rows ---


def _readable(world: World, table: str, scope: set[str]) -> Iterator[dict[str, Any]]:
    """The rows of a table that the collector may read, as late as Resource Graph is."""
    lag = timedelta(seconds=float(world.settings["resource_graph_lag_seconds"]))
    at = max(world.begun, world.clock() - lag) if lag else None
    allowed: dict[tuple[str, str], bool] = {}
    for row in _rows(world, table, at):
        key = (row["type"], row["subscriptionId"])
        if key not in allowed:
            allowed[key] = row["subscriptionId"] in scope and world.permitted(f"{key[0]}/read", key[1])
        if allowed[key]:
            yield row


def _rows(world: World, table: str, at: datetime | None) -> Iterator[dict[str, Any]]:
    there = {id for id, _ in world.subscriptions()}
    if table == "resourcecontainers":
        for _, body in world.each(SUBSCRIPTION, at):
            yield _container(body)
        kinds = ["microsoft.resources/subscriptions/resourcegroups"]
    else:
        kinds = sorted(kind for kind in world.by_kind if table in tables(kind))
    for kind in kinds:
        for _, body in world.each(kind, at):
            row = _row(body, kind)
            if row["subscriptionId"] in there:
                yield row
    for _, body in world.each(table, at):
        row = {**COLUMNS, **_named(str(body["id"])), **body}
        row["type"] = row["type"].lower()
        if row["subscriptionId"] in there:
            yield row


def tables(kind: str) -> tuple[str, ...]:
    """The tables in which the resources of a kind of Azure Resource Manager are."""
    if kind in APP_CONFIGURATION:
        return ("appserviceresources",)
    if kind.startswith("microsoft.security/"):
        return ("securityresources",)
    extension = kind in ("microsoft.insights/diagnosticsettings", "microsoft.maintenance/configurationassignments")
    own = kind.count("/") == 1 and kind.startswith("microsoft.") and not extension
    return ("resources",) if own or kind in CHILDREN else ()


def _container(body: dict[str, Any]) -> dict[str, Any]:
    properties = {
        "managementGroupAncestorsChain": [{"displayName": MANAGEMENT_GROUP, "name": MANAGEMENT_GROUP}],
        "managedByTenants": [],
        "state": body["state"],
        "subscriptionPolicies": body.get("subscriptionPolicies", {}),
    }
    return {
        **COLUMNS,
        "id": body["id"],
        "name": body["displayName"],
        "type": "microsoft.resources/subscriptions",
        "subscriptionId": body["subscriptionId"],
        "tenantId": body["tenantId"],
        "properties": properties,
    }


def _row(body: dict[str, Any], kind: str) -> dict[str, Any]:
    """A resource of Azure Resource Manager as a row; configurations of apps have capitals here, and nowhere else."""
    row = {**COLUMNS, **{name: body[name] for name in COLUMNS if name in body}, **_named(str(body["id"])), "type": kind}
    if kind in APP_CONFIGURATION:
        row["properties"] = {name[:1].upper() + name[1:]: value for name, value in body.get("properties", {}).items()}
    return row


def _named(id: str) -> dict[str, str]:
    """What an ARM id says of where its resource is."""
    subscription, group = SUBSCRIPTION_ID.match(id), GROUP.search(id)
    return {
        "subscriptionId": subscription[1].lower() if subscription else "",
        "resourceGroup": group[1].lower() if group else "",
    }
