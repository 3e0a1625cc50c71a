"""Recorded answers of Azure as cases for our checks: ARM resources as rows of Resource Graph, and answers by path.

The recordings are cassettes of HTTP exchanges. What nobody recorded is answered by ``ours``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache, partial
from typing import Any
from urllib.parse import unquote, urlsplit

from collector.check import AnyCheck
from collector.clouds.azure import Tenant
from collector.clouds.redact import redact
from collector.clouds.transcript import Transcript
from collector.model import Scope
from tests.support.recorded import FOLDER, Answers, Case, World, digest

TENANT, SUBSCRIPTION = "11111111-2222-4333-8444-555555555555", "ea42f556-5106-4743-99b0-c129bfa71a47"
WORKSPACE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/one/providers/Microsoft.OperationalInsights/workspaces/central"
)
MACHINES = "microsoft.compute/virtualmachines"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/one/providers"
# Answers below a resource: how their paths end, the type of the resource, and the checks that ask for them. A setting
# of one resource has the form of any other's, so it is put below one of ours where the check names it.
CHILDREN: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (r"/transparentDataEncryption/[^/]+$", "microsoft.sql/servers/databases", {"azure-sql-tde": ""}),
    (r"/encryptionProtector/[^/]+$", "microsoft.sql/servers", {"azure-sql-tde-key": ""}),
    (r"/configurations/tls_version$", "microsoft.dbformysql/flexibleservers", {"azure-mysql-tls": ""}),
    (r"/providers/Microsoft.Security/pricings$", "", {"azure-defender-plans": ""}),
    (
        r"/providers/microsoft.insights/diagnosticSettings$",
        "",
        {"azure-activity-log-export": f"/subscriptions/{SUBSCRIPTION}"},
    ),
    (
        r"/providers/microsoft.insights/diagnosticSettings$",
        "microsoft.keyvault/vaults",
        {"azure-keyvault-diagnostics": f"{GROUP}/Microsoft.KeyVault/vaults/one"},
    ),
    (
        r"/providers/microsoft.insights/diagnosticSettings$",
        "microsoft.sql/servers",
        {"azure-sql-auditing": f"{GROUP}/Microsoft.Sql/servers/one/databases/master"},
    ),
)

Body = dict[str, Any]


@cache
def exchanges() -> tuple[tuple[str, str, Body], ...]:
    """Every recorded answer that is a JSON object: the cassette, the path that was asked for, the body."""
    found = []
    for file in sorted((FOLDER / "azure").glob("c7n__*.json")):
        for exchange in json.loads(file.read_text())["interactions"]:
            url = urlsplit(exchange["request"]["uri"])
            body = exchange["response"]["body"].get("data")
            good = exchange["response"]["status"]["code"] == 200 and isinstance(body, dict)
            if good and url.netloc == "management.azure.com":
                found.append((file.stem.removeprefix("c7n__"), unquote(url.path), redact(body)))
    return tuple(found)


@cache
def rows() -> Mapping[str, tuple[tuple[str, Body], ...]]:
    """Every recorded resource as Resource Graph lists it, by type in small letters, each once, with its cassette."""
    found: dict[str, dict[str, tuple[str, Body]]] = {}
    for cassette, path, body in exchanges():
        listed = body.get("value")
        for item in listed if isinstance(listed, list) else _graph_rows(body) if "totalRecords" in body else [body]:
            row = _row(item, path)
            if row is not None:
                found.setdefault(row["type"], {}).setdefault(digest(row), (cassette, row))
    return {type: tuple(of_type.values()) for type, of_type in found.items()}


def _graph_rows(body: Body) -> list[Body]:
    """The rows of an answer of Resource Graph in its older form, a table."""
    names = [column["name"] for column in body["data"]["columns"]]
    return [dict(zip(names, row, strict=True)) for row in body["data"]["rows"]]


def _row(item: Any, path: str) -> Body | None:
    """A resource of Azure Resource Manager as a row; None for what is none."""
    if not isinstance(item, dict) or not isinstance(item.get("properties"), dict):
        return None
    id = item.get("id")
    parts = str(id).split("/")
    if len(parts) < 9 or parts[5].lower() != "providers":
        return None
    type = "/".join([parts[6], *parts[7::2]]).lower()
    properties = item["properties"]
    if type == MACHINES:  # Resource Graph adds the state of the machine, which the listing of the service leaves out
        running = {"instanceView": {"powerState": {"code": "PowerState/running"}}}
        properties = {"extended": running, **properties}
    return {
        "id": id,
        "name": item.get("name"),
        "type": type,
        "kind": item.get("kind") or "",
        "location": str(item.get("location") or "").lower().replace(" ", ""),
        "resourceGroup": parts[4].lower(),
        "subscriptionId": parts[2],
        "sku": item.get("sku"),
        "identity": item.get("identity"),
        "properties": properties,
    }


def _own(id: str, properties: Body, type: str = "") -> Body:
    """A row of ours."""
    made = _row({"id": id, "name": id.rpartition("/")[2], "properties": properties}, "")
    assert made is not None, id
    return {**made, "type": type or made["type"]}


def ours(question: str, params: Mapping[str, Any]) -> Any:
    """An answer of a sound tenant to a question that nobody recorded, None for one that we do not answer either."""
    if question.startswith("rows "):
        places = [_own(WORKSPACE, {"provisioningState": "Succeeded"})]
        return places if "workspaces" in question else []
    logs = [
        {"category": name, "categoryGroup": None, "enabled": True}
        for name in ("Administrative", "Alert", "AuditEvent", "Policy", "Security", "SQLSecurityAuditEvents")
    ]
    setting = {"name": "all", "properties": {"workspaceId": WORKSPACE, "logs": logs}}
    groups = (
        "BATCH_COMPLETED_GROUP",
        "FAILED_DATABASE_AUTHENTICATION_GROUP",
        "SUCCESSFUL_DATABASE_AUTHENTICATION_GROUP",
    )
    auditing = {
        "state": "Enabled",
        "auditActionsAndGroups": list(groups),
        "retentionDays": 0,
        "isAzureMonitorTargetEnabled": True,
    }
    attributes = {"enabled": True, "created": 1_750_000_000, "exp": 1_780_000_000}
    known = (
        ("/transparentdataencryption/current", {"properties": {"state": "Enabled"}}),
        ("/encryptionprotector/current", {"properties": {"serverKeyType": "AzureKeyVault", "uri": "https://v/keys/k"}}),
        ("/configurations/require_secure_transport", {"properties": {"value": "ON"}}),
        ("/configurations/tls_version", {"properties": {"value": "TLSv1.2"}}),
        ("/configurations/ssl_min_protocol_version", {"properties": {"value": "TLSv1.2"}}),
        ("/auditingsettings/default", {"properties": auditing}),
        ("/providers/microsoft.insights/diagnosticsettings", {"value": [setting]}),
        ("/keys", {"value": [{"id": f"{params.get('path')}/one", "properties": {"attributes": attributes}}]}),
    )
    return next((answer for ending, answer in known if question.endswith(ending)), None)


def _around(check: str, row: Body) -> World:
    """Rows of ours that have to fit the recorded one."""
    id = str(row["id"])
    if check == "azure-vm-patch-compliance":
        patches = {"critical": 0, "security": 0}
        result = {
            "status": "Succeeded",
            "lastModifiedDateTime": "2026-11-22T03:00:00Z",
            "availablePatchCountByClassification": patches,
        }
        return {f"rows {MACHINES}/patchassessmentresults": [_own(f"{id}/patchAssessmentResults/latest", result)]}
    if check == "azure-defender-system-updates":
        own = f"{id}/providers/Microsoft.Security/assessments/e1145ab1-eb4f-43d8-911b-36ddf771d13f"
        made = {**_own(id, {"status": {"code": "Healthy"}}), "id": own, "type": "microsoft.security/assessments"}
        return {"rows microsoft.security/assessments": [made]}
    if check == "azure-vnet-flow-logs" and row["type"] == "microsoft.network/networkwatchers/flowlogs":
        group = {"networkSecurityGroup": {"id": row["properties"].get("targetResourceId")}}
        network = f"{GROUP}/Microsoft.Network/virtualNetworks/one"
        subnet = {"id": f"{network}/subnets/one", "name": "one", "properties": group}
        storage = _own(str(row["properties"].get("storageId")), {})
        return {
            "rows microsoft.network/virtualnetworks": [_own(network, {"subnets": [subnet]})],
            "rows microsoft.storage/storageaccounts": [storage],
        }
    if check == "azure-app-service-tls" and row["type"] == "microsoft.web/sites":
        found = [each for _, each in rows().get("microsoft.web/sites/config", ()) if _below(each, row)]
        config = found or [_own(f"{id}/config/web", {"MinTlsVersion": "1.2"})]
        return {"rows microsoft.web/sites/config": config}
    if check == "azure-app-service-tls" and row["type"] == "microsoft.web/sites/config":
        site = _own(id.rpartition("/config/")[0], {"httpsOnly": True})
        return {"rows microsoft.web/sites": [site]}
    return {}


def _below(row: Body, parent: Body) -> bool:
    return str(row["id"]).lower() == f"{parent['id']}/config/web".lower()


def types(check: AnyCheck) -> list[str]:
    """The types whose rows a check may ask for, by its permissions."""
    ending = "/read"
    return sorted(each.lower().removesuffix(ending) for each in check.permissions if each.lower().endswith(ending))


def cases(check: AnyCheck) -> Iterator[Case]:
    """Every recorded resource of a type that a check asks for, each by itself and then all, and every answer below."""
    scope = Scope("azure", TENANT, SUBSCRIPTION)
    opened = partial(Case, scope=scope, open=_open, ours=ours)
    asked = types(check)
    for type in asked:
        known = rows().get(type, ())
        for cassette, row in known:
            around = _around(check.id, row)
            yield opened(f"{cassette}: {row['id']}", f"rows {type}", world={f"rows {type}": [row], **around})
    everything: World = {}
    for type in asked:
        for _, row in rows().get(type, ()):
            held = everything.setdefault(f"rows {type}", [])
            if str(row["id"]).lower() not in {str(each["id"]).lower() for each in held}:  # recorded more than once
                held.append(row)
    if everything:
        yield opened("every resource", "", world=everything, whole=True)
    seen: set[str] = set()
    for cassette, path, body in exchanges():
        for ending, type, home in CHILDREN:
            found = re.search(ending, path, re.IGNORECASE)
            if found is None or check.id not in home or digest(body) in seen:
                continue
            seen.add(digest(body))
            parent = home[check.id] or path[: found.start()]
            world: World = {"GET " + f"{parent}{found[0]}".lower(): body}
            if type:
                world[f"rows {type}"] = [_own(parent.removesuffix("/databases/master"), {}, type)]
            yield opened(f"{cassette}: {path}", next(iter(world)), world=world)


class _Recorded(Tenant):
    """A subscription that answers from a world: rows by type, everything else by path in small letters."""

    def __init__(self, answers: Answers, now: datetime) -> None:
        super().__init__(TENANT, Transcript(), now, subscription=SUBSCRIPTION)
        self._answers = answers

    def within(self, part: str) -> Tenant:
        return self

    def parts(self) -> list[str]:
        return [SUBSCRIPTION]

    def resources(self, type: str, table: str = "resources") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._answers.of(f"rows {type}")
        return found

    def get(self, path: str, *, api: str, absent: tuple[str, ...] = ()) -> Any:
        return self._answers.of(f"GET {path.lower()}", {"path": path})

    def each(self, path: str, *, api: str, absent: tuple[str, ...] = (), **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._answers.of(f"GET {path.lower()}", {"path": path})["value"]
        return found

    def graph(self, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> Any:
        return self._answers.of(f"GRAPH {path}")

    def graph_each(self, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._answers.of(f"GRAPH {path}")["value"]
        return found


def _open(answers: Answers, now: datetime) -> _Recorded:
    return _Recorded(answers, now)
