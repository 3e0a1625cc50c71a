"""The state of a simulated Entra tenant: its clock, its objects with their history, and what the collector may do."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from collector.demo.objects import Objects

TENANT = "3f6c2a7e-9d41-4c0a-8a53-1b2d7e9f0a11"
DOMAIN = "acme.example"
PRODUCTION = "8a1d5c0e-2b7f-4e39-9c64-0d3f5a7b9c01"
STAGING = "8a1d5c0e-2b7f-4e39-9c64-0d3f5a7b9c02"
ANALYTICS = "8a1d5c0e-2b7f-4e39-9c64-0d3f5a7b9c03"  # is not there at the start; the story lets it appear
MANAGEMENT_GROUP = "acme"
# The collector's application registration, its service principal, and the secret of the tests.
CLIENT = "5d0b7c9e-4f1a-4b6d-8e23-6a9c1f2d3b40"
PRINCIPAL = "c7e19b54-60d3-4a8f-b1c2-9f3e5d7a8b33"
SECRET = "simulated-not-a-secret"

# Kinds of objects. An ARM resource, tracked or child, is kept under its id in lower case; its kind is its type in lower
# case ("microsoft.storage/storageaccounts", "microsoft.sql/servers/databases/transparentdataencryption"). Its body is
# what a GET of Azure Resource Manager answers.
SUBSCRIPTION = "subscription"  # id: "/subscriptions/<guid>"; body: as in GET /subscriptions
# A row of a Resource Graph table that ARM has not ("patchassessmentresources", "securityresources",
# "maintenanceresources", "appserviceresources" configs are ARM children too). Kept under "graph row:<table>:<id>", its
# kind is "<table>", its body the row.
ROW = "graph row:"
# An object of Microsoft Graph, kept under its path without "/v1.0" ("/users/<id>", "/groups/<id>",
# "/identity/conditionalAccess/policies/<id>", "/roleManagement/directory/roleAssignments/<id>",
# "/roleManagement/directory/roleDefinitions/<id>", "/reports/authenticationMethods/userRegistrationDetails/<user id>",
# "/policies/identitySecurityDefaultsEnforcementPolicy"); its kind is the collection's path. A group's members are in
# its member "members", a list of ids, that no answer shows.


# What the collector may do at the start: what the checks declare and what the collector asks itself, as its role says
# it (``collector policy azure``). Tests compare it with them.
ACTIONS = frozenset(
    (
        "Microsoft.Authorization/permissions/read",
        "Microsoft.Cache/redis/read",
        "Microsoft.Compute/disks/read",
        "Microsoft.Compute/virtualMachines/patchAssessmentResults/*",
        "Microsoft.Compute/virtualMachines/read",
        "Microsoft.ContainerService/locations/kubernetesversions/read",
        "Microsoft.ContainerService/managedClusters/read",
        "Microsoft.DBforMySQL/flexibleServers/configurations/read",
        "Microsoft.DBforMySQL/flexibleServers/read",
        "Microsoft.DBforPostgreSQL/flexibleServers/configurations/read",
        "Microsoft.DBforPostgreSQL/flexibleServers/read",
        "Microsoft.EventHub/namespaces/read",
        "Microsoft.HybridCompute/machines/patchAssessmentResults/read",
        "Microsoft.HybridCompute/machines/read",
        "Microsoft.Insights/actionGroups/read",
        "Microsoft.Insights/activityLogAlerts/read",
        "Microsoft.Insights/diagnosticSettings/read",
        "Microsoft.Insights/eventtypes/values/read",
        "Microsoft.KeyVault/vaults/keys/read",
        "Microsoft.KeyVault/vaults/read",
        "Microsoft.Maintenance/configurationAssignments/read",
        "Microsoft.Maintenance/maintenanceConfigurations/read",
        "Microsoft.Management/managementGroups/descendants/read",
        "Microsoft.Network/networkWatchers/flowLogs/read",
        "Microsoft.Network/virtualNetworks/read",
        "Microsoft.OperationalInsights/workspaces/read",
        "Microsoft.ResourceGraph/resources/read",
        "Microsoft.Resources/subscriptions/read",
        "Microsoft.Security/assessments/read",
        "Microsoft.Security/pricings/read",
        "Microsoft.Sql/servers/auditingSettings/read",
        "Microsoft.Sql/servers/databases/read",
        "Microsoft.Sql/servers/databases/transparentDataEncryption/read",
        "Microsoft.Sql/servers/encryptionProtector/read",
        "Microsoft.Sql/servers/read",
        "Microsoft.Storage/storageAccounts/read",
        "Microsoft.Web/sites/config/read",
        "Microsoft.Web/sites/read",
        "Microsoft.Web/sites/slots/config/read",
        "Microsoft.Web/sites/slots/read",
    )
)
GRAPH_PERMISSIONS = frozenset(
    (
        "AuditLog.Read.All",
        "GroupMember.Read.All",
        "Policy.Read.All",
        "RoleManagement.Read.Directory",
        "User.Read.All",
    )
)


@dataclass(frozen=True)
class Principal:
    """Who asks, as the token says: the application, its object, whom the token is for, and its Graph app roles."""

    application: str
    object: str
    audience: str  # "management.azure.com" or "graph.microsoft.com"
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ask:
    """One request to an API, taken apart. ``query`` has the last value of a name, ``path`` is decoded."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    principal: Principal
    request_id: str
    client_request_id: str
    at: datetime


@dataclass
class World(Objects):
    """All that answers look at. ``clock`` is simulated time; tokens live by the real one, as the SDKs count them."""

    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)  # ARM actions ("Microsoft.Compute/disks/read"), "graph:NAME"
    lost: set[tuple[str, str]] = field(default_factory=set)  # (permission, subscription guid or "" for everywhere)
    licenses: set[str] = field(default_factory=lambda: {"P1", "P2"})
    private: dict[Any, Any] = field(default_factory=dict)  # the private halves of keys that a service keeps

    def __post_init__(self) -> None:
        self.begun = self.clock()
        self.settings = {
            "page_size": 0,
            "token_seconds": 3599,
            "resource_graph_per_5s": 15,
            "resource_graph_lag_seconds": 0,  # how late Resource Graph learns of a change
            "blob_uploads_unlocked": False,  # a policy that comes with an upload is unlocked whatever its mode says
            "subscription_reads": 250,  # how many reads of one subscription Azure Resource Manager takes at once,
            "subscription_reads_per_second": 25,  # and how many more each second
            "activity": (),
            "directory_audits": (),
            **self.settings,
        }
        self.granted |= {*ACTIONS, *(f"graph:{name}" for name in GRAPH_PERMISSIONS)}

    # --- rights ---

    def permitted(self, permission: str, subscription: str = "") -> bool:
        """Whether the collector holds a permission, in a subscription where one is named; letter case is no matter."""
        if permission.startswith("graph:"):
            return permission in self.granted and (permission, "") not in self.lost
        actions, others = self.held(subscription)
        return any(covers(each, permission) for each in actions) and not any(covers(o, permission) for o in others)

    def held(self, subscription: str = "") -> tuple[list[str], list[str]]:
        """The collector's role in a subscription: (actions, notActions). What was taken away is not among the actions,
        or excepted where a wildcard covers it."""
        lost = {name for name, where in self.lost if where in ("", subscription) and not name.startswith("graph:")}
        gone = {name.lower() for name in lost}
        actions = sorted(a for a in self.granted if not a.startswith("graph:") and a.lower() not in gone)
        return actions, sorted(name for name in lost if any(covers(action, name) for action in actions))

    # --- subscriptions ---

    def subscriptions(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(guid, document) of every subscription that is there now."""
        for id, body in self.each(SUBSCRIPTION):
            yield id.rpartition("/")[2], body

    def page(self, rows: list[Any], start: int, size: int = 0) -> tuple[list[Any], int]:
        """The rows from ``start``, no more than ``size`` (0: all) and the configured page size; where the next begins,
        0 at the end."""
        end = start + min((n for n in (size, int(self.settings["page_size"])) if n), default=len(rows))
        return rows[start:end], end if end < len(rows) else 0


def subscription_document(id: str, name: str, state: str = "Enabled") -> dict[str, Any]:
    """A subscription as GET /subscriptions lists it."""
    return {
        "id": f"/subscriptions/{id}",
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": id,
        "tenantId": TENANT,
        "displayName": name,
        "state": state,
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "EnterpriseAgreement_2014-09-01",
            "spendingLimit": "Off",
        },
    }


def covers(pattern: str, action: str) -> bool:
    """Whether an action of a role covers an action: without letter case, "*" for anything."""
    return _compiled(pattern).fullmatch(action) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.IGNORECASE)


def page_token(start: int, question: str) -> str:
    """An opaque token that belongs to one question."""
    text = json.dumps([start, zlib.crc32(question.encode())])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def token_start(token: str, question: str) -> int:
    """Where a token of ``page_token`` goes on. Raises ValueError for one of another question, or for none at all."""
    try:
        start, check = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, UnicodeDecodeError, ValueError, TypeError) as error:
        raise ValueError("the token is none of ours") from error
    if check != zlib.crc32(question.encode()) or not isinstance(start, int):
        raise ValueError("the token belongs to another question")
    return start
