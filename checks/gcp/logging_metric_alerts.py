"""Every change of a project's audits, owners, roles, networks, buckets or databases alerts somebody.

Why: these changes come first when somebody takes a project over; what only a log says is read too late.
Remedy: make a log-based metric of the change, an alerting policy above 0 on it, and a channel that somebody reads.

Cost: one call for 1000 projects, metrics, alerting policies or channels of the organization.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, field, good, not_satisfied, one_of, satisfied
from collector.clouds.gcp import Organization
from collector.clouds.gcp_filter import activity, covers
from collector.errors import Unreadable
from collector.model import Verdict

LEFT_OUT = "Logging and Monitoring API: proto3 JSON leaves false, 0, unspecified, and empty texts and lists out"
VALID = "Monitoring API, AlertPolicy.validity: only set when the policy is invalid, and then it generates no incidents"
COMBINERS = ("AND", "AND_WITH_MATCHING_RESOURCE", "OR")
STATUS = ("UNVERIFIED", "VERIFICATION_STATUS_UNSPECIFIED", "VERIFIED")
data = partial(field, path="resource.data")
SET = ("cloudresourcemanager", "project", "SetIamPolicy", "ADD", "REMOVE")
VERBS = ("delete", "insert", "patch")
CHANGES = {
    "audit_configuration": activity(*SET, delta={"auditConfigDeltas.action": "{}"}),
    "bucket_permission": activity("storage", "gcs_bucket", "storage.setIamPermissions"),
    "sql_instance_configuration": activity("cloudsql", "cloudsql_database", "cloudsql.instances.update"),
    "vpc_firewall_rule": activity("compute", "gce_firewall_rule", "v1.compute.firewalls.{}", *VERBS),
    "vpc_network": activity("compute", "gce_network", "v1.compute.networks.{}", *VERBS, "addPeering", "removePeering"),
    "project_ownership": activity(*SET, delta={"bindingDeltas.action": "{}", "bindingDeltas.role": "roles/owner"}),
    "custom_role": activity("iam", "iam_role", "google.iam.admin.v1.{}Role", "Create", "Delete", "Update"),
    "vpc_network_route": activity("compute", "gce_route", "v1.compute.routes.{}", "delete", "insert"),
}


@dataclass(frozen=True)
class Change:
    metrics: tuple[str, ...] = ()  # that count every entry of the change
    policies: tuple[str, ...] = ()  # that alert on one of these, or on the entries themselves
    channels: tuple[str, ...] = ()  # that these tell, and that work


def population(gcp: Organization) -> Iterable[tuple[str, str]]:
    for project in gcp.assets("cloudresourcemanager.googleapis.com/Project"):
        yield from ((str(field(project, "name")), change) for change in CHANGES)


def observe(gcp: Organization, subject: tuple[str, str]) -> Change:
    entries = CHANGES[subject[1]]
    metrics, policies, named, channels, unjudged = set(), set(), set(), set(), ""
    for metric in map(data, gcp.assets("logging.googleapis.com/LogMetric")):
        off = boolean(absent_means(metric, "disabled", False, because=LEFT_OUT))
        elsewhere = absent_means(metric, "bucketName", "", because=LEFT_OUT)  # it counts what one bucket holds
        if not off and not elsewhere and covers(str(field(metric, "filter")), entries, gcp.project):
            metrics.add(f"logging.googleapis.com/user/{field(metric, 'name')}")
    for policy in map(data, gcp.assets("monitoring.googleapis.com/AlertPolicy")):
        if not boolean(field(policy, "enabled")) or absent_means(policy, "validity", {}, because=VALID):
            continue
        met = {meets(condition, metrics, entries, gcp.project) for condition in field(policy, "conditions")}
        if "yes" in met and (met == {"yes"} or one_of(field(policy, "combiner"), COMBINERS) == "OR"):
            policies.add(str(field(policy, "name")))
            named |= {*absent_means(policy, "notificationChannels", [], because=LEFT_OUT)}
        elif "unjudged" in met:
            unjudged = str(field(policy, "name"))
    for channel in map(data, gcp.assets("monitoring.googleapis.com/NotificationChannel")):
        status = one_of(absent_means(channel, "verificationStatus", STATUS[1], because=LEFT_OUT), STATUS)
        if field(channel, "name") in named and boolean(field(channel, "enabled")) and status != "UNVERIFIED":
            channels.add(str(channel["name"]))
    if unjudged and not channels:
        raise Unreadable(f"{unjudged} alerts by a query, which is not read")
    return Change(*(tuple(sorted(found)) for found in (metrics, policies, channels)))


def meets(condition: Mapping[str, Any], metrics: set[str], entries: list[Mapping[str, str]], project: str) -> str:
    """Whether one entry meets a condition: yes, no, or unjudged."""
    if "conditionMatchedLog" in condition:
        return "yes" if covers(str(field(condition, "conditionMatchedLog.filter")), entries, project) else "no"
    if "conditionThreshold" in condition:
        on = metrics & {*re.findall(r'"([^"]*)"', str(field(condition, "conditionThreshold.filter")))}
        above = absent_means(condition, "conditionThreshold.thresholdValue", 0, because=LEFT_OUT)
        sign = one_of(field(condition, "conditionThreshold.comparison"), ("COMPARISON_GT", "COMPARISON_LT"))
        return "yes" if on and sign == "COMPARISON_GT" and above == 0 else "no"
    words = re.sub(r"\W", "_", str(condition))  # the same for the query languages of Monitoring and of Prometheus
    named = any(re.sub(r"\W", "_", metric) in words for metric in metrics)
    return "unjudged" if named and "conditionAbsent" not in condition else "no"


def evaluate(change: Change) -> Verdict:
    if change.channels:
        return satisfied(f"alerts through {change.channels[0]}")
    if change.policies:
        return not_satisfied(f"alerts by {change.policies[0]}, which has no channel that works")
    if change.metrics:
        return not_satisfied(f"is counted by {change.metrics[0]}, and no enabled policy alerts above 0")
    return not_satisfied("is counted by no enabled metric")


CHECK = Check(
    id="gcp-log-metric-alerts",
    family=Family.LOGGING,
    criteria=("CC7.2", "CC7.3"),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    see=(
        *(f"cis-gcp-3.0:2.{number}" for number in range(4, 12)),
        *(f"prowler:logging_log_metric_filter_and_alert_for_{what}_changes_enabled" for what in CHANGES),
    ),
    population=population,
    name="#".join,
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Change(("user/owners",), ("projects/p/alertPolicies/1",), ("projects/p/notificationChannels/2",))),
        *map(bad, (Change(("user/owners",), ("projects/p/alertPolicies/1",)), Change(("user/owners",)), Change())),
    ),
)
