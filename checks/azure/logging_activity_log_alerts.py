"""Every change of policies, network rules, security solutions or SQL firewalls alerts somebody.

Why: these changes come first when somebody takes a subscription over; what only a log says is read too late.
Remedy: choose Monitor > Alerts > Create > Alert rule, scope the subscription, signal the operation, any level,
status and initiator, and an action group that reaches somebody.

Alert processing rules, which may suppress what is sent, are not seen.

Cost: one call for 1000 alerts or action groups of the tenant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Check,
    Family,
    absent_means,
    bad,
    boolean,
    field,
    good,
    not_satisfied,
    one_of,
    satisfied,
    text,
)
from collector.clouds.azure import Tenant
from collector.clouds.azure_alert_condition import UNJUDGED, YES, takes
from collector.clouds.azure_references import rows_of
from collector.errors import Unreadable
from collector.model import Verdict

OPERATIONS = tuple(
    f"Microsoft.{resource}/{verb}"
    for resource in (
        *("Authorization/policyAssignments", "Network/networkSecurityGroups", "Network/publicIPAddresses"),
        *("Security/securitySolutions", "Sql/servers/firewallRules"),
    )
    for verb in ("delete", "write")
)
WATCHED = ("emailReceivers", "smsReceivers")  # those that the receiver itself may switch off
OTHERS = (
    *("armRoleReceivers", "automationRunbookReceivers", "azureAppPushReceivers", "azureFunctionReceivers"),
    *("eventHubReceivers", "itsmReceivers", "logicAppReceivers", "voiceReceivers", "webhookReceivers"),
)
ON = "Activity Log Alerts, AlertRuleProperties: enabled is true by default"
NONE = "Activity Log Alerts, ActionList, and Action Groups, ActionGroup: each list of groups or receivers is optional"
STATUS = ("Disabled", "Enabled", "NotSpecified")


@dataclass(frozen=True)
class Operation:
    alerts: tuple[str, ...] = ()  # ids of the enabled ones that every success of the operation meets
    group: str = ""  # the id of an action group of theirs that reaches somebody


def population(azure: Tenant) -> Iterable[tuple[str, str]]:
    return [(azure.subscription, operation) for operation in OPERATIONS]


def observe(azure: Tenant, subject: tuple[str, str]) -> Operation:
    subscription, operation = subject
    alerts, named, unjudged = [], set(), ""
    for alert in azure.resources("microsoft.insights/activitylogalerts"):
        properties = field(alert, "properties")
        if not boolean(absent_means(properties, "enabled", True, because=ON)):
            continue
        scopes = {text(scope).lower().rstrip("/") for scope in field(properties, "scopes")}
        met = takes(field(properties, "condition"), operation)
        if f"/subscriptions/{subscription}".lower() not in scopes:
            continue
        if met == YES:
            alerts.append(text(alert["id"]))
            groups = absent_means(properties, "actions.actionGroups", [], because=NONE)
            named |= {text(field(group, "actionGroupId")) for group in groups}
        elif met == UNJUDGED:
            unjudged = text(alert["id"])
    found = rows_of(azure, named, ("microsoft.insights/actiongroups",))
    group = next((text(row["id"]) for row in found if reaches(field(row, "properties"))), "")
    if unjudged and not group:
        raise Unreadable(f"{unjudged} compares a field that is not known; teach azure_alert_condition what it holds")
    return Operation(tuple(sorted(alerts)), group)


def reaches(group: Mapping[str, Any]) -> bool:
    """Whether an action group is enabled and has a receiver that is."""
    watched = [one for kind in WATCHED for one in absent_means(group, kind, [], because=NONE)]
    told = [one for one in watched if one_of(field(one, "status"), STATUS) == "Enabled"]
    others = [one for kind in OTHERS for one in absent_means(group, kind, [], because=NONE)]
    return boolean(field(group, "enabled")) and bool(told or others)


def evaluate(operation: Operation) -> Verdict:
    if operation.group:
        return satisfied(f"alerts {operation.group}")
    if operation.alerts:
        return not_satisfied(f"meets {operation.alerts[0]}, and no action group of it reaches anybody")
    return not_satisfied("meets no enabled alert of the whole subscription")


CHECK = Check(
    id="azure-activity-log-alerts",
    family=Family.LOGGING,
    criteria=("CC7.2", "CC7.3"),
    permissions=("Microsoft.Insights/actionGroups/read", "Microsoft.Insights/activityLogAlerts/read"),
    per="subscription",
    see=(*(f"cis-azure-3.0:6.2.{number}" for number in range(1, 11)), "prowler:monitor_alert_create_policy_assignment"),
    population=population,
    name=lambda subject: f"/subscriptions/{subject[0]}#{subject[1]}",
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Operation(("/subscriptions/s/activityLogAlerts/a",), "/subscriptions/s/actionGroups/on-call")),
        *map(bad, (Operation(("/subscriptions/s/activityLogAlerts/a",)), Operation())),
    ),
)
