"""Every Azure SQL server audits its databases, to a place that keeps it long enough.

Why: who signed in to a database, and what was run there, stands in its audit log alone.
Remedy: choose SQL server > Auditing > Enable with its default groups, to a workspace, or to a storage account with a
retention of 0 days (for ever) or of those that the limit asks. How long a workspace keeps it is not judged here.

Cost: one call for 1000 servers, workspaces or storage accounts of the tenant, and one or two for each server.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Family,
    LimitedCheck,
    absent_means,
    bad,
    boolean,
    field,
    good,
    not_satisfied,
    number,
    one_of,
    satisfied,
)
from collector.clouds.azure import Tenant
from collector.clouds.azure_references import DESTINATIONS, DIAGNOSTIC_SETTINGS, account_of, place_of
from collector.model import Verdict

SIGN_INS = ("FAILED_DATABASE_AUTHENTICATION_GROUP", "SUCCESSFUL_DATABASE_AUTHENTICATION_GROUP")
GROUPS = (
    "BATCH_COMPLETED_GROUP",
    *SIGN_INS,
)  # recommended; Azure Policy 7ff426e2-515f-405a-91c8-4f2333442eb5 asks them
EVENTS = {("category", "SQLSecurityAuditEvents"), ("categoryGroup", "allLogs"), ("categoryGroup", "audit")}
NO_STORAGE = "Server Blob Auditing Policies: an enabled policy has a storageEndpoint or isAzureMonitorTargetEnabled"
ONE_NAME = "Diagnostic Settings, LogSettings: a log is named by its category or by its category group"
NOT_SENT = "Diagnostic Settings, DiagnosticSettings: each destination is optional, and one absent is not used"


@dataclass(frozen=True)
class Server:
    enabled: bool
    left_out: tuple[str, ...] = ()  # recommended groups that it does not audit
    place: str = ""  # the id of what Azure Monitor sends it to, when that is there
    account: str = ""  # the id of the storage account that it writes to, when that is there
    days: int = 0  # that it is kept in that account; 0 is for ever


@dataclass(frozen=True)
class Limits:
    retention_days_min: int = 90


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.sql/servers")


def observe(azure: Tenant, server: Mapping[str, Any]) -> Server:
    policy = field(azure.get(f"{server['id']}/auditingSettings/default", api="2021-11-01"), "properties")
    if one_of(field(policy, "state"), ("Disabled", "Enabled")) == "Disabled":
        return Server(enabled=False)
    left_out = tuple(group for group in GROUPS if group not in field(policy, "auditActionsAndGroups"))
    monitored = boolean(field(policy, "isAzureMonitorTargetEnabled"))
    place = place_of(azure, destinations(azure, server)) if monitored else ""
    endpoint = str(absent_means(policy, "storageEndpoint", "", because=NO_STORAGE))
    account = account_of(azure, endpoint, str(field(policy, "storageAccountSubscriptionId"))) if endpoint else ""
    return Server(True, left_out, place, account, number(field(policy, "retentionDays")))


def destinations(azure: Tenant, server: Mapping[str, Any]) -> Iterable[str]:
    """Ids of where Azure Monitor sends the server's audit events: those are settings of its master database."""
    path = f"{server['id']}/databases/master/providers/Microsoft.Insights/diagnosticSettings"
    for setting in azure.each(path, api=DIAGNOSTIC_SETTINGS):
        properties = field(setting, "properties")
        for log in field(properties, "logs"):
            names = {(kind, absent_means(log, kind, "", because=ONE_NAME)) for kind in ("category", "categoryGroup")}
            if boolean(field(log, "enabled")) and names & EVENTS:
                yield from {absent_means(properties, name, "", because=NOT_SENT) for name in DESTINATIONS} - {""}


def evaluate(server: Server, limits: Limits) -> Verdict:
    if not server.enabled:
        return not_satisfied("is not audited")
    if server.left_out:
        return not_satisfied(f"is audited without {', '.join(server.left_out)}")
    if server.place:
        return satisfied(f"sends its audit log to {server.place}")
    if not server.account:
        return not_satisfied("sends its audit log to no place that is there")
    if 0 < server.days < limits.retention_days_min:
        return not_satisfied(f"keeps its audit log for {server.days} days, less than {limits.retention_days_min}")
    return satisfied(f"keeps its audit log {f'for {server.days} days' if server.days else 'for ever'}")


CHECK = LimitedCheck(
    id="azure-sql-auditing",
    family=Family.LOGGING,
    criteria=("CC6.1", "CC7.2"),
    permissions=(
        *("Microsoft.EventHub/namespaces/read", "Microsoft.Insights/diagnosticSettings/read"),
        *("Microsoft.OperationalInsights/workspaces/read", "Microsoft.Sql/servers/auditingSettings/read"),
        *("Microsoft.Sql/servers/read", "Microsoft.Storage/storageAccounts/read"),
    ),
    per="subscription",
    see=("cis-azure-3.0:5.1.1", "cis-azure-3.0:5.1.6", "prowler:sqlserver_auditing_retention_90_days"),
    population=population,
    name=lambda server: str(server["id"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        *map(good, (Server(True, place="log-acme"), Server(True, (), "", "acmelogs", 0))),
        *map(bad, (Server(False), Server(True), Server(True, (), "", "acmelogs", 30), Server(True, GROUPS[1:], "log"))),
    ),
)
