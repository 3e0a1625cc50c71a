"""The Azure checks of logging against answers as Microsoft gives them, the awkward ones first."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import checks
from checks.azure import (
    logging_activity_log_alerts,
    logging_activity_log_export,
    logging_defender_plans,
    logging_keyvault_diagnostics,
    logging_sql_auditing,
    logging_vnet_flow_logs,
)
from collector.check import AnyCheck, limits_with
from collector.clouds.azure import Tenant
from collector.clouds.transcript import Transcript
from collector.collect import Task, run
from collector.errors import Denied, Unreadable
from collector.model import CheckRun, Scope, State

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TENANT = "11111111-2222-4333-8444-555555555555"
OWN, CENTRAL, HIDDEN = (f"aaaaaaaa-bbbb-4ccc-8ddd-{digit * 12}" for digit in "123")
SATISFIED, NOT_SATISFIED, NOT_APPLICABLE, UNDETERMINED = State

Row = dict[str, Any]


class Fake(Tenant):
    """Observed subscriptions with ``rows``, and ``answers`` by path; what it does not know is an error."""

    def __init__(self, rows: Sequence[Row], answers: Mapping[str, Any] | None = None, part: str = OWN) -> None:
        super().__init__(TENANT, Transcript(), NOW, subscription=part)
        self.rows = list(rows)
        self.answers = {path.lower(): answer for path, answer in (answers or {}).items()}

    def parts(self) -> list[str]:
        return [OWN, CENTRAL]

    def within(self, part: str) -> Fake:
        return Fake(self.rows, self.answers, part)

    def resources(self, type: str, table: str = "resources") -> list[dict[str, Any]]:
        assert type == type.lower()
        if self.subscription not in self.parts():
            raise Denied(f"subscription {self.subscription} is not shown to the collector")
        return [row for row in self.rows if row["type"] == type and row["subscriptionId"] == self.subscription]

    def get(self, path: str, *, api: str, absent: tuple[str, ...] = ()) -> Any:
        answer = self.answers.get(path.lower())
        if answer is None:
            raise Unreadable(f"404 ResourceNotFound: {path}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def each(self, path: str, *, api: str, absent: tuple[str, ...] = (), **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(path, api=api)
        return found


def resource(type: str, name: str, subscription: str = OWN, group: str = "Acme-RG") -> str:
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{type}/{name}"


def row(type: str, name: str, properties: Mapping[str, Any] | None = None, subscription: str = OWN) -> Row:
    """A row as Resource Graph writes it: the type in small letters, the id as the provider cases it."""
    return {
        "id": resource(type, name, subscription),
        "name": name.rpartition("/")[2],
        "type": type.lower(),
        "kind": "",
        "location": "westeurope",
        "resourceGroup": "acme-rg",
        "subscriptionId": subscription,
        "sku": None,
        "identity": None,
        "properties": properties,
    }


def looked(check: AnyCheck, azure: Fake, **limits: int) -> CheckRun:
    with ThreadPoolExecutor(4) as pool:
        task = Task(check, Scope("azure", TENANT, OWN), azure, limits_with(check, limits))
        return run(task, lambda: NOW, pool)


def states(check: AnyCheck, azure: Fake, **limits: int) -> dict[str, State]:
    found = looked(check, azure, **limits)
    assert found.population is not None, found.reason
    return {o.subject.rpartition("/")[2]: o.verdict.state for o in found.observations}


def state(check: AnyCheck, azure: Fake, **limits: int) -> State:
    (found,) = states(check, azure, **limits).values()
    return found


def reason(check: AnyCheck, azure: Fake, **limits: int) -> str:
    (found,) = looked(check, azure, **limits).observations
    return found.verdict.reason


# --- where logs go ---

WORKSPACE = row("Microsoft.OperationalInsights/workspaces", "log-acme")
ACCOUNT = row("Microsoft.Storage/storageAccounts", "acmelogs")
CENTRAL_ACCOUNT = row("Microsoft.Storage/storageAccounts", "acmecentral", subscription=CENTRAL)
HUB = row("Microsoft.EventHub/namespaces", "hub")
PLACES = [WORKSPACE, ACCOUNT, CENTRAL_ACCOUNT, HUB]
HIDDEN_WORKSPACE = resource("Microsoft.OperationalInsights/workspaces", "log", HIDDEN)
PARTNER = resource("Microsoft.Datadog/monitors", "acme")
NO_RETENTION = {"enabled": False, "days": 0}


def log(name: str, enabled: bool = True, group: bool = False) -> Row:
    """One log of a setting as api-version 2021-05-01-preview gives it: the other name is null."""
    names = {"category": None if group else name, "categoryGroup": name if group else None}
    return {**names, "enabled": enabled, "retentionPolicy": NO_RETENTION}


def setting(*logs: Row, **places: str | None) -> Row:
    return {
        "id": "/subscriptions/s/providers/microsoft.insights/diagnosticSettings/acme",
        "type": "Microsoft.Insights/diagnosticSettings",
        "name": "acme",
        "location": None,
        "properties": {
            **dict.fromkeys(("storageAccountId", "serviceBusRuleId", "workspaceId", "eventHubAuthorizationRuleId")),
            **places,
            "metrics": [],
            "logs": list(logs),
            "logAnalyticsDestinationType": None,
        },
        "identity": None,
    }


TO_WORKSPACE = {"workspaceId": WORKSPACE["id"].lower()}
NEEDED = ("Administrative", "Alert", "Policy", "Security")
ALL_FOUR = [log(name) for name in NEEDED]


def exported(*settings: Row, rows: Sequence[Row] = PLACES) -> Fake:
    return Fake(rows, {f"/subscriptions/{OWN}/providers/Microsoft.Insights/diagnosticSettings": list(settings)})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([setting(*ALL_FOUR, **TO_WORKSPACE)], SATISFIED),
        ([setting(log("allLogs", group=True), **TO_WORKSPACE)], SATISFIED),
        ([setting(*ALL_FOUR, storageAccountId=CENTRAL_ACCOUNT["id"])], SATISFIED),
        ([setting(*ALL_FOUR, eventHubAuthorizationRuleId=f"{HUB['id']}/authorizationrules/send")], SATISFIED),
        (
            [setting(*ALL_FOUR[:2], **TO_WORKSPACE), setting(*ALL_FOUR[2:], storageAccountId=ACCOUNT["id"])],
            SATISFIED,
        ),
        ([setting(*ALL_FOUR[:3], log("Security", enabled=False), **TO_WORKSPACE)], NOT_SATISFIED),
        ([setting(log("allLogs", enabled=False, group=True), **TO_WORKSPACE)], NOT_SATISFIED),
        ([setting(*ALL_FOUR[1:], **TO_WORKSPACE)], NOT_SATISFIED),
        ([setting(*(log(name.lower()) for name in NEEDED), **TO_WORKSPACE)], NOT_SATISFIED),
        ([], NOT_SATISFIED),
        ([setting(*ALL_FOUR, workspaceId=f"{WORKSPACE['id']}-gone")], NOT_SATISFIED),
        ([setting(*ALL_FOUR, workspaceId=f"{WORKSPACE['id']}-gone", storageAccountId=ACCOUNT["id"])], SATISFIED),
        (
            [
                setting(*ALL_FOUR[:3], **TO_WORKSPACE),
                setting(log("Security"), storageAccountId=f"{ACCOUNT['id']}gone"),
            ],
            NOT_SATISFIED,
        ),
        ([setting(*ALL_FOUR, workspaceId=HIDDEN_WORKSPACE)], UNDETERMINED),
        ([setting(*ALL_FOUR, marketplacePartnerId=PARTNER)], UNDETERMINED),
        ([setting(*ALL_FOUR, marketplacePartnerId=PARTNER, **TO_WORKSPACE)], SATISFIED),
        ([setting(log("audit", group=True), **TO_WORKSPACE)], UNDETERMINED),
        ([setting(*ALL_FOUR, log("audit", group=True), **TO_WORKSPACE)], SATISFIED),
        ([setting(*ALL_FOUR[:3], {"category": "Security"}, **TO_WORKSPACE)], UNDETERMINED),
        ([{"name": "acme", "properties": {**TO_WORKSPACE}}], UNDETERMINED),
    ],
)
def test_a_subscription_exports_what_settings_send_to_a_place_that_is_there(
    settings: list[Row], expected: State
) -> None:
    assert state(logging_activity_log_export.CHECK, exported(*settings)) is expected


def test_the_reason_names_what_is_missing_and_what_is_lost() -> None:
    some = setting(*ALL_FOUR[:3], **TO_WORKSPACE)
    lost = setting(log("Security"), storageAccountId=f"{ACCOUNT['id']}gone")
    check = logging_activity_log_export.CHECK
    assert reason(check, exported(some)) == "does not send Security of its activity log anywhere"
    assert reason(check, exported(some, lost)) == "sends Security of its activity log to places that are gone"
    assert WORKSPACE["id"] in reason(check, exported(setting(*ALL_FOUR, **TO_WORKSPACE)))


def test_a_refused_listing_is_no_empty_one() -> None:
    path = f"/subscriptions/{OWN}/providers/Microsoft.Insights/diagnosticSettings"
    assert state(logging_activity_log_export.CHECK, Fake(PLACES, {path: Denied("403")})) is UNDETERMINED


VAULT = row("Microsoft.KeyVault/vaults", "kv-acme", {})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([setting(log("AuditEvent"), **TO_WORKSPACE)], SATISFIED),
        ([setting(log("audit", group=True), log("allLogs", enabled=False, group=True), **TO_WORKSPACE)], SATISFIED),
        ([setting(log("allLogs", group=True), storageAccountId=CENTRAL_ACCOUNT["id"])], SATISFIED),
        ([setting(log("AuditEvent", enabled=False), **TO_WORKSPACE)], NOT_SATISFIED),
        ([setting(log("AzurePolicyEvaluationDetails"), **TO_WORKSPACE)], NOT_SATISFIED),
        ([setting(log("audit"), **TO_WORKSPACE)], NOT_SATISFIED),  # a category of a group's name is another thing
        ([setting(log("AuditEvent", group=True), **TO_WORKSPACE)], NOT_SATISFIED),
        ([], NOT_SATISFIED),
        ([setting(log("AuditEvent"), workspaceId=f"{WORKSPACE['id']}-gone")], NOT_SATISFIED),
        (
            [setting(log("AuditEvent"), workspaceId=f"{WORKSPACE['id']}-gone"), setting(log("x"), **TO_WORKSPACE)],
            NOT_SATISFIED,
        ),
        ([setting(log("AuditEvent"), workspaceId=HIDDEN_WORKSPACE)], UNDETERMINED),
        ([setting(log("AuditEvent"), serviceBusRuleId=PARTNER)], UNDETERMINED),
        ([setting({"category": "AuditEvent", "enabled": "maybe"}, **TO_WORKSPACE)], UNDETERMINED),
    ],
)
def test_a_vault_sends_its_audit_log(settings: list[Row], expected: State) -> None:
    path = f"{VAULT['id']}/providers/Microsoft.Insights/diagnosticSettings"
    azure = Fake([VAULT, *PLACES], {path: settings})
    assert state(logging_keyvault_diagnostics.CHECK, azure) is expected


def test_one_vault_that_does_not_answer_leaves_the_others() -> None:
    other = row("Microsoft.KeyVault/vaults", "kv-other", {})
    path = "/providers/Microsoft.Insights/diagnosticSettings"
    answers = {f"{VAULT['id']}{path}": [setting(log("AuditEvent"), **TO_WORKSPACE)], f"{other['id']}{path}": Denied("")}
    found = states(logging_keyvault_diagnostics.CHECK, Fake([VAULT, other, *PLACES], answers))
    assert found == {"kv-acme": SATISFIED, "kv-other": UNDETERMINED}


# --- SQL ---

SERVER = row("Microsoft.Sql/servers", "sql-acme", {"state": "Ready"})
MASTER = f"{SERVER['id']}/databases/master/providers/Microsoft.Insights/diagnosticSettings"
NOBODY = "00000000-0000-0000-0000-000000000000"


def audit(without: str = "", **members: Any) -> Row:
    """An enabled policy as auditingSettings/default of 2021-11-01 gives it, written to a storage account for ever."""
    properties = {
        "state": "Enabled",
        "storageEndpoint": "https://acmelogs.blob.core.windows.net/",
        "retentionDays": 0,
        "auditActionsAndGroups": [*logging_sql_auditing.GROUPS],
        "storageAccountSubscriptionId": OWN,
        "isStorageSecondaryKeyInUse": False,
        "isAzureMonitorTargetEnabled": False,
        "isManagedIdentityInUse": False,
        **members,
    }
    return {"properties": {name: member for name, member in properties.items() if name != without}}


MONITORED: Row = {"storageEndpoint": "", "isAzureMonitorTargetEnabled": True, "storageAccountSubscriptionId": NOBODY}
SENT = setting(log("SQLSecurityAuditEvents"), **TO_WORKSPACE)


@pytest.mark.parametrize(
    ("policy", "settings", "expected"),
    [
        (audit(), None, SATISFIED),
        (audit(retentionDays=90), None, SATISFIED),
        (audit(retentionDays=89), None, NOT_SATISFIED),
        (audit(storageAccountSubscriptionId=NOBODY), None, SATISFIED),
        (audit(state="Disabled"), None, NOT_SATISFIED),
        (audit(state="Enabling"), None, UNDETERMINED),
        (audit(storageEndpoint="https://acmegone.blob.core.windows.net/"), None, NOT_SATISFIED),
        (
            audit(storageEndpoint="https://acmegone.blob.core.windows.net/", storageAccountSubscriptionId=NOBODY),
            None,
            UNDETERMINED,
        ),
        (audit(storageAccountSubscriptionId=HIDDEN), None, UNDETERMINED),
        (audit(auditActionsAndGroups=["BATCH_COMPLETED_GROUP"]), None, NOT_SATISFIED),
        (audit(auditActionsAndGroups=[*logging_sql_auditing.GROUPS, "BACKUP_RESTORE_GROUP"]), None, SATISFIED),
        (audit(**MONITORED), [SENT], SATISFIED),
        (audit("storageEndpoint", **MONITORED), [SENT], SATISFIED),
        (audit(**MONITORED), [setting(log("audit", group=True), **TO_WORKSPACE)], SATISFIED),
        (audit(**MONITORED), [], NOT_SATISFIED),
        (audit(**MONITORED), [setting(log("SQLInsights"), **TO_WORKSPACE)], NOT_SATISFIED),
        (
            audit(**MONITORED),
            [setting(log("SQLSecurityAuditEvents"), workspaceId=f"{WORKSPACE['id']}-gone")],
            NOT_SATISFIED,
        ),
        (audit(**MONITORED), [setting(log("SQLSecurityAuditEvents"), workspaceId=HIDDEN_WORKSPACE)], UNDETERMINED),
        (audit(**MONITORED), None, UNDETERMINED),  # the settings of master do not answer
        (audit(isAzureMonitorTargetEnabled=True, retentionDays=7), [SENT], SATISFIED),
        (audit(isAzureMonitorTargetEnabled=True, retentionDays=7), [], NOT_SATISFIED),
        *(
            (audit(name), None, UNDETERMINED)
            for name in ("state", "retentionDays", "auditActionsAndGroups", "isAzureMonitorTargetEnabled")
        ),
        (audit("storageAccountSubscriptionId"), None, UNDETERMINED),
        (audit("storageEndpoint"), None, NOT_SATISFIED),
        ({}, None, UNDETERMINED),
    ],
)
def test_a_server_is_audited_to_a_place_that_keeps_it(policy: Row, settings: list[Row] | None, expected: State) -> None:
    answers = {f"{SERVER['id']}/auditingSettings/default": policy, MASTER: settings}
    assert state(logging_sql_auditing.CHECK, Fake([SERVER, *PLACES], answers)) is expected


def test_the_operator_sets_how_long_an_audit_log_is_kept() -> None:
    azure = Fake([SERVER, *PLACES], {f"{SERVER['id']}/auditingSettings/default": audit(retentionDays=30)})
    assert state(logging_sql_auditing.CHECK, azure, retention_days_min=30) is SATISFIED
    assert reason(logging_sql_auditing.CHECK, azure) == "keeps its audit log for 30 days, less than 90"


# --- flow logs ---

FLOW_LOG, NETWORK = "Microsoft.Network/networkWatchers/flowLogs", "Microsoft.Network/virtualNetworks"
GROUP = resource("Microsoft.Network/networkSecurityGroups", "nsg-%s")


def network(*subnets: str, grouped: Sequence[str] = ()) -> Row:
    """A network with subnets; those in ``grouped`` have a security group of their name."""
    one = row(NETWORK, "vnet")
    shown = []
    for name in subnets:
        properties: Row = {"provisioningState": "Succeeded", "addressPrefix": "10.0.0.0/24"}
        if name in grouped:
            properties["networkSecurityGroup"] = {"id": GROUP % name}
        shown.append({"name": name, "id": f"{one['id']}/subnets/{name}", "properties": properties})
    return {**one, "properties": {"provisioningState": "Succeeded", "subnets": shown}}


def flow(target: str, without: str = "", **members: Any) -> Row:
    """A flow log as it was recorded, of 90 days."""
    properties = {
        "provisioningState": "Succeeded",
        "targetResourceId": target.upper(),
        "targetResourceGuid": "f0e98d08-44d6-4d3e-9b3c-9d327c352a23",
        "storageId": ACCOUNT["id"],
        "enabled": True,
        "flowAnalyticsConfiguration": {},
        "retentionPolicy": {"days": 90, "enabled": True},
        "format": {"type": "JSON", "version": 2},
        **members,
    }
    name = f"NetworkWatcher_westeurope/flowLogs/{target.rpartition('/')[2]}"
    kept = {key: member for key, member in properties.items() if key != without}
    return {**row("Microsoft.Network/networkWatchers", name, kept), "type": FLOW_LOG.lower()}


VNET, WEB = resource(NETWORK, "vnet"), resource(NETWORK, "vnet/subnets/web")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, SATISFIED),
        ({"retentionPolicy": {"days": 0, "enabled": False}}, SATISFIED),
        ({"retentionPolicy": {"days": 0, "enabled": True}}, SATISFIED),
        ({"retentionPolicy": {"days": 7, "enabled": False}}, SATISFIED),  # a policy that is off deletes nothing
        ({"retentionPolicy": {"days": 89, "enabled": True}}, NOT_SATISFIED),
        ({"without": "retentionPolicy"}, SATISFIED),  # documented: off, and 0 days
        ({"retentionPolicy": {"days": 90}}, UNDETERMINED),
        ({"enabled": False}, NOT_SATISFIED),
        ({"without": "enabled"}, UNDETERMINED),
        ({"provisioningState": "Failed"}, NOT_SATISFIED),
        ({"provisioningState": "Updating"}, SATISFIED),
        ({"provisioningState": "Resting"}, UNDETERMINED),
        ({"enabledFilteringCriteria": "SrcIP=10.0.0.1"}, NOT_SATISFIED),
        ({"enabledFilteringCriteria": "", "recordTypes": ""}, SATISFIED),
        ({"recordTypes": "D"}, NOT_SATISFIED),
        ({"recordTypes": "E, D, C, B"}, SATISFIED),
        ({"storageId": f"{ACCOUNT['id']}gone"}, NOT_SATISFIED),
        ({"storageId": CENTRAL_ACCOUNT["id"]}, SATISFIED),
        ({"storageId": ACCOUNT["id"].replace(OWN, HIDDEN)}, UNDETERMINED),
        ({"without": "storageId"}, UNDETERMINED),
        ({"without": "targetResourceId"}, UNDETERMINED),
    ],
)
def test_a_flow_log_counts_when_it_records_everything_and_is_kept(members: Row, expected: State) -> None:
    azure = Fake([network("web", "data"), flow(VNET, **members), *PLACES])
    assert state(logging_vnet_flow_logs.CHECK, azure) is expected


@pytest.mark.parametrize(
    ("subnets", "grouped", "targets", "expected"),
    [
        (("web", "data"), ("web", "data"), [GROUP % "web", GROUP % "data"], SATISFIED),
        (("web", "data"), ("web", "data"), [GROUP % "web"], NOT_SATISFIED),
        (("web", "data"), ("web",), [GROUP % "web", GROUP % "data"], NOT_SATISFIED),
        (("web", "data"), ("data",), [WEB, GROUP % "data"], SATISFIED),
        (("web",), (), [f"{VNET}-other"], NOT_SATISFIED),
        (("web",), (), [], NOT_SATISFIED),
        (("web", "GatewaySubnet"), ("web",), [GROUP % "web"], SATISFIED),
        (("GatewaySubnet", "AzureFirewallSubnet"), (), [], NOT_SATISFIED),
        (("GatewaySubnet", "AzureFirewallSubnet"), (), [VNET], SATISFIED),
        ((), (), [], NOT_APPLICABLE),
        ((), (), [VNET], NOT_APPLICABLE),
    ],
)
def test_each_subnet_is_recorded_by_its_network_itself_or_its_security_group(
    subnets: tuple[str, ...], grouped: tuple[str, ...], targets: list[str], expected: State
) -> None:
    azure = Fake([network(*subnets, grouped=grouped), *map(flow, targets), *PLACES])
    assert state(logging_vnet_flow_logs.CHECK, azure) is expected


def test_a_log_that_does_not_count_does_not_hide_one_that_does() -> None:
    azure = Fake([network("web", grouped=["web"]), flow(VNET, enabled=False), flow(GROUP % "web"), *PLACES])
    assert state(logging_vnet_flow_logs.CHECK, azure) is SATISFIED
    short = flow(VNET, retentionPolicy={"days": 7, "enabled": True})
    azure = Fake([network("web"), short, *PLACES])
    assert reason(logging_vnet_flow_logs.CHECK, azure).endswith("web: a log of it is kept for 7 days")
    assert state(logging_vnet_flow_logs.CHECK, azure, retention_days_min=7) is SATISFIED


# --- Defender for Cloud ---


def plan(name: str, tier: str = "Standard", without: str = "", **members: Any) -> Row:
    covered = "FullyCovered" if tier == "Standard" else "NotCovered"
    properties = {
        "pricingTier": tier,
        "freeTrialRemainingTime": "PT0S",
        "enforce": "False",
        "resourcesCoverageStatus": covered,
        **members,
    }
    path = f"/subscriptions/{OWN}/providers/Microsoft.Security/pricings/{name}"
    kept = {key: member for key, member in properties.items() if key != without}
    return {"id": path, "name": name, "type": "Microsoft.Security/pricings", "properties": kept}


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([plan("KeyVaults")], SATISFIED),
        ([plan("KeyVaults", subPlan="PerKeyVault")], SATISFIED),
        ([plan("KeyVaults", "Free")], NOT_SATISFIED),
        ([plan("KeyVaults", "Free", without="resourcesCoverageStatus")], NOT_SATISFIED),
        ([plan("KeyVaults", resourcesCoverageStatus="PartiallyCovered")], NOT_SATISFIED),
        ([plan("KeyVaults", resourcesCoverageStatus="NotCovered")], NOT_SATISFIED),
        ([plan("KeyVaults", resourcesCoverageStatus="Covered")], UNDETERMINED),
        ([plan("KeyVaults", without="resourcesCoverageStatus")], UNDETERMINED),
        ([plan("KeyVaults", "Premium")], UNDETERMINED),
        ([plan("KeyVaults", without="pricingTier")], UNDETERMINED),
        ([plan("KeyVaults", deprecated=True, replacedBy=["Vaults"])], UNDETERMINED),
        ([plan("KeyVaults", deprecated=False)], SATISFIED),
        ([plan("KeyVaults"), plan("KeyVaults", "Free")], UNDETERMINED),
        ([plan("keyvaults")], UNDETERMINED),
        ([], UNDETERMINED),
    ],
)
def test_a_plan_is_on_for_every_resource_or_nobody_knows(listed: list[Row], expected: State) -> None:
    others = [plan(name) for name in logging_defender_plans.REQUIRED if name != "KeyVaults"]
    path = f"/subscriptions/{OWN}/providers/Microsoft.Security/pricings"
    found = states(logging_defender_plans.CHECK, Fake([], {path: [*others, *listed]}))
    assert found.pop("KeyVaults") is expected
    assert set(found.values()) == {SATISFIED}
    assert len(found) == len(logging_defender_plans.REQUIRED) - 1


# --- alerts ---

ALERT, ACTIONS = "Microsoft.Insights/activityLogAlerts", "Microsoft.Insights/actionGroups"
WRITE = "Microsoft.Network/networkSecurityGroups/write"
ON_CALL = {"name": "on-call", "emailAddress": "oncall@acme.example", "status": "Enabled"}


def group(name: str = "ag-oncall", subscription: str = OWN, **members: Any) -> Row:
    properties = {"groupShortName": "oncall", "enabled": True, "emailReceivers": [ON_CALL], "smsReceivers": []}
    return row(ACTIONS, name, {**properties, "webhookReceivers": [], **members}, subscription)


ON_CALL_GROUP = group()


def alert(
    *conditions: Row, without: str = "", told: Sequence[str] = (ON_CALL_GROUP["id"].lower(),), **more: Any
) -> Row:
    """An alert as Resource Graph gives it, on writes of security groups unless ``conditions`` say otherwise."""
    named = ({"field": "category", "equals": "Administrative"}, {"field": "operationName", "equals": WRITE})
    properties = {
        "scopes": [f"/subscriptions/{OWN}"],
        "condition": {"allOf": list(conditions or named)},
        "actions": {"actionGroups": [{"actionGroupId": id, "webhookProperties": {}} for id in told]},
        "enabled": True,
        "description": "",
        **more,
    }
    return row(ALERT, "alert", {name: member for name, member in properties.items() if name != without})


def said_of_writes(*rows: Row) -> State:
    found = looked(logging_activity_log_alerts.CHECK, Fake(rows))
    assert len(found.observations) == len(logging_activity_log_alerts.OPERATIONS)
    return {o.subject: o.verdict.state for o in found.observations}[f"/subscriptions/{OWN}#{WRITE}"]


ADMINISTRATIVE = {"field": "category", "equals": "Administrative"}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (alert(), SATISFIED),
        (alert(without="enabled"), SATISFIED),  # documented: true by default
        (alert(enabled=False), NOT_SATISFIED),
        (alert(ADMINISTRATIVE), SATISFIED),
        (alert(ADMINISTRATIVE, {"field": "resourceProvider", "equals": "Microsoft.Sql"}), NOT_SATISFIED),
        (alert(ADMINISTRATIVE, {"field": "caller", "equals": "ann@acme.example"}), NOT_SATISFIED),
        (alert(ADMINISTRATIVE, {"field": "claims", "equals": "x"}), UNDETERMINED),
        (alert(ADMINISTRATIVE, {"field": "claims", "equals": "x"}, scopes=[f"{GROUP % 'web'}"]), NOT_SATISFIED),
        (alert({"field": "category"}), UNDETERMINED),
        (alert(scopes=[f"/subscriptions/{OWN.upper()}/"]), SATISFIED),
        (alert(scopes=[f"/subscriptions/{OWN}/resourceGroups/Acme-RG"]), NOT_SATISFIED),
        (alert(scopes=[f"/subscriptions/{CENTRAL}"]), NOT_SATISFIED),
        (alert(scopes=[f"/subscriptions/{CENTRAL}", f"/subscriptions/{OWN}"]), SATISFIED),
        (alert(without="scopes"), UNDETERMINED),
        (alert(without="condition"), UNDETERMINED),
        (alert(told=()), NOT_SATISFIED),
        (alert(without="actions"), NOT_SATISFIED),
        (alert(told=[f"{ON_CALL_GROUP['id']}-gone"]), NOT_SATISFIED),
        (alert(told=[resource(ACTIONS, "ag", HIDDEN)]), UNDETERMINED),
        (alert(told=[resource(ACTIONS, "ag", HIDDEN), ON_CALL_GROUP["id"]]), SATISFIED),
        (alert(actions={"actionGroups": [{}]}), UNDETERMINED),
    ],
)
def test_a_change_alerts_by_what_the_alert_means(one: Row, expected: State) -> None:
    assert said_of_writes(one, ON_CALL_GROUP) is expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, SATISFIED),
        ({"enabled": False}, NOT_SATISFIED),
        ({"emailReceivers": []}, NOT_SATISFIED),
        ({"emailReceivers": [{**ON_CALL, "status": "Disabled"}]}, NOT_SATISFIED),  # unsubscribed
        ({"emailReceivers": [{**ON_CALL, "status": "NotSpecified"}]}, NOT_SATISFIED),
        ({"emailReceivers": [{**ON_CALL, "status": "Asleep"}]}, UNDETERMINED),
        ({"emailReceivers": [{"name": "on-call"}]}, UNDETERMINED),
        ({"emailReceivers": [{**ON_CALL, "status": "Disabled"}], "smsReceivers": [ON_CALL]}, SATISFIED),
        ({"emailReceivers": None, "webhookReceivers": [{"name": "pager", "serviceUri": "https://x"}]}, SATISFIED),
        ({"emailReceivers": [], "armRoleReceivers": [{"name": "owners", "roleId": "r"}]}, SATISFIED),
        ({"enabled": None}, UNDETERMINED),
    ],
)
def test_an_action_group_reaches_somebody_when_it_and_a_receiver_are_enabled(members: Row, expected: State) -> None:
    assert said_of_writes(alert(), group(**members)) is expected


def test_an_action_group_of_another_observed_subscription_counts() -> None:
    central = group("ag-central", CENTRAL)
    assert said_of_writes(alert(told=[central["id"]]), central) is SATISFIED
    silent = group(emailReceivers=[])
    assert said_of_writes(alert(told=[silent["id"], central["id"]]), silent, central) is SATISFIED


def test_a_field_that_nobody_knows_hides_no_alert_that_is_understood() -> None:
    unknown = {**alert(ADMINISTRATIVE, {"field": "claims", "equals": "x"}), "id": resource(ALERT, "unknown")}
    assert said_of_writes(unknown, alert(), ON_CALL_GROUP) is SATISFIED
    assert said_of_writes(unknown, alert(told=()), ON_CALL_GROUP) is UNDETERMINED


def test_each_required_operation_is_a_subject_of_its_own_and_needs_an_alert() -> None:
    found = looked(logging_activity_log_alerts.CHECK, Fake([alert(), ON_CALL_GROUP]))
    good = [o.subject for o in found.observations if o.verdict.state is SATISFIED]
    assert good == [f"/subscriptions/{OWN}#{WRITE}"]
    assert {o.verdict.state for o in found.observations} == {SATISFIED, NOT_SATISFIED}


# --- recorded answers ---


def recordings() -> Path:
    project = Path(checks.__file__).parent.parent
    return Path(os.environ.get("COLLECTOR_RECORDED") or project.parent / "shared" / "recorded") / "azure"


needs_recordings = pytest.mark.skipif(
    not recordings().is_dir(), reason="no recorded answers; name their folder in COLLECTOR_RECORDED"
)


@cache
def recorded(type: str) -> tuple[Row, ...]:
    """Every resource of a type in the recorded answers, as it was answered."""

    def within(value: Any) -> Iterator[Row]:
        if isinstance(value, dict):
            if str(value.get("type")).lower() == type and "properties" in value:
                yield value
            for member in value.values():
                yield from within(member)
        elif isinstance(value, list):
            for member in value:
                yield from within(member)

    texts = (path.read_text() for path in sorted(recordings().glob("*.json")))
    return tuple(one for text in texts for one in within(json.loads(text)))


@needs_recordings
def test_recorded_plans_are_on_by_the_tier_and_say_nothing_of_coverage_in_the_old_version() -> None:
    plans = {one["name"]: deepcopy(one) for one in recorded("microsoft.security/pricings")}
    assert set(logging_defender_plans.REQUIRED) & plans.keys()
    path = f"/subscriptions/{OWN}/providers/Microsoft.Security/pricings"
    old = states(logging_defender_plans.CHECK, Fake([], {path: list(plans.values())}))
    for one in plans.values():
        one["properties"]["resourcesCoverageStatus"] = "FullyCovered"
    new = states(logging_defender_plans.CHECK, Fake([], {path: list(plans.values())}))
    for name in logging_defender_plans.REQUIRED:
        tier = plans[name]["properties"]["pricingTier"] if name in plans else "none"
        assert old[name] is {"Free": NOT_SATISFIED}.get(tier, UNDETERMINED)
        assert new[name] is {"Free": NOT_SATISFIED, "Standard": SATISFIED}.get(tier, UNDETERMINED)


def as_row(one: Row) -> Row:
    """A recorded resource as Resource Graph would list it in the subscription of these tests."""
    moved: Row = json.loads(json.dumps(one).replace(one["id"].split("/")[2], OWN))
    return {**moved, "type": one["type"].lower(), "subscriptionId": OWN}


@needs_recordings
def test_a_recorded_flow_log_counts_for_the_subnets_of_its_security_group() -> None:
    (one,) = (as_row(one) for one in recorded("microsoft.network/networkwatchers/flowlogs"))
    net = network("web", grouped=["web"])
    net["properties"]["subnets"][0]["properties"]["networkSecurityGroup"]["id"] = one["properties"]["targetResourceId"]
    account = {**ACCOUNT, "id": one["properties"]["storageId"]}
    assert state(logging_vnet_flow_logs.CHECK, Fake([net, one, account])) is SATISFIED
    assert state(logging_vnet_flow_logs.CHECK, Fake([net, one])) is NOT_SATISFIED
    assert state(logging_vnet_flow_logs.CHECK, Fake([net, one, account]), retention_days_min=91) is NOT_SATISFIED


@needs_recordings
def test_recorded_alerts_are_read_and_tell_nobody_without_an_action_group() -> None:
    alerts = [as_row(one) for one in recorded("microsoft.insights/activitylogalerts")]
    found = looked(logging_activity_log_alerts.CHECK, Fake(alerts))
    reasons = {o.subject.rpartition("#")[2]: o.verdict.reason for o in found.observations}
    assert {o.verdict.state for o in found.observations} == {NOT_SATISFIED}
    assert "dfh-nsg-alert" in reasons[WRITE]  # it compares the type of the resource and names no operation
    assert "dfh-ss-alert" in reasons["Microsoft.Security/securitySolutions/write"]


@needs_recordings
def test_a_recorded_diagnostic_setting_is_read_as_a_vaults() -> None:
    settings = [one for one in recorded("none") if "logs" in one["properties"]]
    assert settings, "they were answered with the type null"
    path = f"{VAULT['id']}/providers/Microsoft.Insights/diagnosticSettings"
    assert state(logging_keyvault_diagnostics.CHECK, Fake([VAULT, *PLACES], {path: settings})) is NOT_SATISFIED
    moved = json.loads(json.dumps(settings).replace("LoadBalancerProbeHealthStatus", "AuditEvent"))
    assert state(logging_keyvault_diagnostics.CHECK, Fake([VAULT, *PLACES], {path: moved})) is UNDETERMINED
