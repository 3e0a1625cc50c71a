"""The seeded logging of acme: where logs go, what is sent there, Defender's plans, alerts and who hears of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.demo.azure.estate_data import Account, add_account, short_of
from collector.demo.azure.world import PRODUCTION

if TYPE_CHECKING:
    from collector.demo.azure.estate import Builder

WORKSPACE = "Microsoft.OperationalInsights/workspaces"
EVENT_HUBS = "Microsoft.EventHub/namespaces"
SETTING = "Microsoft.Insights/diagnosticSettings"
ALERT = "Microsoft.Insights/activityLogAlerts"
ACTION_GROUP = "Microsoft.Insights/actionGroups"
PRICING = "Microsoft.Security/pricings"
NO_RETENTION = {"enabled": False, "days": 0}  # settings have none of their own any more
METRICS = [{"category": "AllMetrics", "enabled": False, "retentionPolicy": NO_RETENTION}]
ACTIVITY = (
    *("Administrative", "Security", "ServiceHealth", "Alert"),
    *("Recommendation", "Policy", "Autoscale", "ResourceHealth"),
)
OPERATIONS = (
    "Microsoft.Authorization/policyAssignments/write",
    "Microsoft.Authorization/policyAssignments/delete",
    "Microsoft.Network/networkSecurityGroups/write",
    "Microsoft.Network/networkSecurityGroups/delete",
    "Microsoft.Security/securitySolutions/write",
    "Microsoft.Security/securitySolutions/delete",
    "Microsoft.Sql/servers/firewallRules/write",
    "Microsoft.Sql/servers/firewallRules/delete",
    "Microsoft.Network/publicIPAddresses/write",
    "Microsoft.Network/publicIPAddresses/delete",
)
# Plans by name: the sub-plan that acme takes where a plan has some. The old ones live on under Containers.
PLANS = {
    "VirtualMachines": "P2",
    "SqlServers": "",
    "AppServices": "",
    "StorageAccounts": "DefaultStorageV2",
    "SqlServerVirtualMachines": "",
    "KeyVaults": "PerKeyVault",
    "Arm": "PerSubscription",
    "OpenSourceRelationalDatabases": "",
    "CosmosDbs": "",
    "Containers": "",
    "CloudPosture": "",
    "Api": "",
}
REPLACED = {"KubernetesService": "Containers", "ContainerRegistry": "Containers", "Dns": "VirtualMachines"}
FREE = {"production": ("Api", "CosmosDbs"), "staging": tuple(PLANS)[3:]}
EXTENSIONS = {
    "StorageAccounts": ("OnUploadMalwareScanning", "SensitiveDataDiscovery"),
    "VirtualMachines": ("AgentlessVmScanning", "MdeDesignatedSubscription"),
    "Containers": ("ContainerRegistriesVulnerabilityAssessments", "AgentlessDiscoveryForKubernetes"),
}


@dataclass(frozen=True)
class Sink:
    """Where the logs of a subscription go: ids of a workspace, of a storage account and of an action group."""

    workspace: str
    account: str
    actions: str


def add_setting(
    build: Builder,
    target: str,
    name: str,
    logs: Sequence[tuple[str, bool]],
    *,
    workspace: str = "",
    storage: str = "",
    hub: str = "",
    groups: bool = False,
) -> None:
    """Adds a diagnostic setting to a resource, or to a subscription. ``logs`` are categories, or with ``groups``
    category groups, each with whether it is sent; the destinations are ids."""
    named = ("category", "categoryGroup") if not groups else ("categoryGroup", "category")
    properties: dict[str, Any] = {
        "storageAccountId": storage or None,
        "serviceBusRuleId": None,
        "workspaceId": workspace or None,
        "eventHubAuthorizationRuleId": hub or None,
        "eventHubName": None,
        "metrics": [] if target.count("/") == 2 else METRICS,
        "logs": [
            {named[0]: category, named[1]: None, "enabled": sent, "retentionPolicy": NO_RETENTION}
            for category, sent in logs
        ],
        "logAnalyticsDestinationType": None,
    }
    id = f"{target}/providers/microsoft.insights/diagnosticSettings/{name}"
    head = {"id": id, "type": SETTING, "name": name, "location": None, "kind": None, "tags": None}
    build.store(id, SETTING, {**head, "properties": properties, "identity": None})


def add_sink(build: Builder, group: str = "rg-logging") -> Sink:
    """Adds a workspace, a storage account for logs, and the action group that tells the people on call."""
    short = short_of(build)
    made = f"{build.ago(390)}Z"
    properties: dict[str, Any] = {
        "customerId": build.guid(),
        "provisioningState": "Succeeded",
        "sku": {"name": "PerGB2018", "lastSkuUpdate": made},
        "retentionInDays": 365,
        "features": {
            "legacy": 0,
            "searchVersion": 1,
            "enableLogAccessUsingOnlyResourcePermissions": True,
        },
        "workspaceCapping": {
            "dailyQuotaGb": -1.0,
            "quotaNextResetTime": "@next1d",
            "dataIngestionStatus": "RespectQuota",
        },
        "publicNetworkAccessForIngestion": "Enabled",
        "publicNetworkAccessForQuery": "Enabled",
        "createdDate": made,
        "modifiedDate": made,
    }
    workspace = build.add(WORKSPACE, group, f"log-acme-{short}", properties)
    account = add_account(build, Account(f"acmelogs{short.replace('-', '')}", group, twice=True), "")
    return Sink(workspace, account, add_action_group(build, group, f"ag-oncall-{short}", reached=True))


def add_action_group(build: Builder, group: str, name: str, *, reached: bool) -> str:
    """Adds an action group with a receiver or without any; its id."""
    receiver = {
        "name": "on-call",
        "emailAddress": "oncall@acme.example",
        "useCommonAlertSchema": True,
        "status": "Enabled",
    }
    others = ("sms", "webhook", "eventHub", "itsm", "azureAppPush", "automationRunbook", "voice", "logicApp")
    properties: dict[str, Any] = {
        "groupShortName": name[3:15],
        "enabled": True,
        "emailReceivers": [receiver] if reached else [],
        **{f"{each}Receivers": [] for each in others},
        "azureFunctionReceivers": [],
        "armRoleReceivers": [],
    }
    return build.add(ACTION_GROUP, group, name, properties, location="Global")


def add_logging(build: Builder) -> None:
    """Production exports what it should and hears of nearly all; staging has an action group that nobody hears."""
    production = build.environment == "production"
    subscription = f"/subscriptions/{build.subscription}"
    sent = ACTIVITY if production else ("Administrative", "ServiceHealth", "Alert")
    logs = [(category, category in sent) for category in ACTIVITY]
    storage = build.sink.account if production else ""
    add_setting(build, subscription, "activity", logs, workspace=build.sink.workspace, storage=storage)
    silent = add_action_group(build, "rg-logging", f"ag-archive-{short_of(build)}", reached=False)
    if production:
        for operation in OPERATIONS[:-1]:
            add_alert(build, operation, build.sink.actions, enabled=not operation.endswith("firewallRules/delete"))
        add_health_alert(build, build.sink.actions)
    else:
        for place, operation in enumerate(OPERATIONS[:4]):
            add_alert(build, operation, silent if place < 2 else build.sink.actions)
    add_plans(build, FREE[build.environment])
    _add_settings_of_vaults(build)


def _add_settings_of_vaults(build: Builder) -> None:
    """The first vault of a subscription sends its audit log, the second only what is no audit; the third sends it to
    an event hub in production, and in staging to a workspace that is gone."""
    sink, hub = build.sink, ""
    if build.environment == "production":
        hub = f"{_add_event_hubs(build)}/authorizationRules/RootManageSharedAccessKey"
    central = f"/subscriptions/{PRODUCTION}/resourceGroups/rg-logging/providers/{WORKSPACE}/log-acme-prod"
    gone = "" if hub else build.id(WORKSPACE, "rg-logging", "log-acme-old")
    for id, body in list(build.world.each("microsoft.keyvault/vaults")):
        vault = str(body["id"])
        if not id.startswith(f"/subscriptions/{build.subscription}/"):
            continue
        if "-apps-" in body["name"]:
            named = (("AuditEvent", False), ("AzurePolicyEvaluationDetails", True))
            add_setting(build, vault, "policy", named, workspace=sink.workspace)
        elif "-data-" in body["name"]:
            add_setting(build, vault, "siem", (("AuditEvent", True),), workspace=gone, hub=hub)
        else:
            groups = (("audit", True), ("allLogs", False))
            add_setting(build, vault, "audit", groups, workspace=central, groups=True)


def _add_event_hubs(build: Builder) -> str:
    """Adds the event hubs that feed the system which watches all logs; their id."""
    name = f"evhns-acme-{short_of(build)}"
    made = f"{build.ago(380)}Z"
    properties = {
        "minimumTlsVersion": "1.2",
        "publicNetworkAccess": "Enabled",
        "disableLocalAuth": False,
        "zoneRedundant": True,
        "isAutoInflateEnabled": False,
        "maximumThroughputUnits": 0,
        "kafkaEnabled": True,
        "provisioningState": "Succeeded",
        "status": "Active",
        "createdAt": made,
        "updatedAt": made,
        "metricId": f"{build.subscription}:{name}",
        "serviceBusEndpoint": f"https://{name}.servicebus.windows.net:443/",
    }
    sku = {"name": "Standard", "tier": "Standard", "capacity": 1}
    return build.add(EVENT_HUBS, "rg-logging", name, properties, sku=sku)


# --- alerts ---


def add_alert(build: Builder, operation: str, actions: str, *, enabled: bool = True, group: str = "rg-logging") -> None:
    """Adds an alert on an operation of the activity log."""
    category = "Security" if operation.startswith("Microsoft.Security/") else "Administrative"
    name = f"alert-{operation.partition('/')[2].replace('/', '-').lower()}"
    conditions = [{"field": "category", "equals": category}, {"field": "operationName", "equals": operation}]
    _add_alert(build, group, name, conditions, actions, enabled, f"Somebody called {operation}.")


def add_health_alert(build: Builder, actions: str, group: str = "rg-logging") -> None:
    """Adds an alert on incidents of Azure itself."""
    conditions = [
        {"field": "category", "equals": "ServiceHealth"},
        {"field": "properties.incidentType", "equals": "Incident"},
    ]
    _add_alert(build, group, "alert-service-health", conditions, actions, True, "Azure itself has an incident.")


def _add_alert(
    build: Builder,
    group: str,
    name: str,
    conditions: list[dict[str, str]],
    actions: str,
    enabled: bool,
    description: str,
) -> None:
    properties = {
        "scopes": [f"/subscriptions/{build.subscription}"],
        "condition": {"allOf": conditions},
        "actions": {"actionGroups": [{"actionGroupId": actions, "webhookProperties": {}}]},
        "enabled": enabled,
        "description": description,
    }
    build.add(ALERT, group, name, properties, location="Global")


# --- Defender for Cloud ---


def add_plans(build: Builder, free: Sequence[str]) -> None:
    """Adds every plan of Defender for Cloud; ``free`` are those that acme does not pay for."""
    for name in (*PLANS, *REPLACED):
        paid = name not in free and name not in REPLACED
        properties: dict[str, Any] = {
            "pricingTier": "Standard" if paid else "Free",
            "freeTrialRemainingTime": "PT0S" if paid else "P30D",
        }
        if paid:
            properties["enablementTime"] = f"{build.ago(200)}Z"
            if PLANS[name]:
                properties["subPlan"] = PLANS[name]
        if name in REPLACED:
            properties |= {"deprecated": True, "replacedBy": [REPLACED[name]]}
        elif name in EXTENSIONS:
            properties["extensions"] = [{"name": each, "isEnabled": str(paid)} for each in EXTENSIONS[name]]
        if name not in REPLACED:
            covered = "FullyCovered" if paid else "NotCovered"
            properties |= {"inherited": "False", "enforce": "False", "resourcesCoverageStatus": covered}
        id = f"/subscriptions/{build.subscription}/providers/{PRICING}/{name}"
        build.store(id, PRICING, {"id": id, "name": name, "type": PRICING, "properties": properties})
