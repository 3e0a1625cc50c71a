"""The seeded logging of acme: sinks, log buckets, metrics, alert policies and notification channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.demo.gcp.world import DOMAIN, FOLDER, ORGANIZATION, PROJECTS

if TYPE_CHECKING:
    from collector.demo.gcp.estate import Builder

DEFAULT_FILTER = (
    'NOT LOG_ID("cloudaudit.googleapis.com/activity") AND NOT LOG_ID("externalaudit.googleapis.com/activity") AND NOT '
    'LOG_ID("cloudaudit.googleapis.com/system_event") AND NOT LOG_ID("externalaudit.googleapis.com/system_event") AND '
    'NOT LOG_ID("cloudaudit.googleapis.com/access_transparency") AND NOT '
    'LOG_ID("externalaudit.googleapis.com/access_transparency")'
)
REQUIRED_FILTER = (
    'LOG_ID("cloudaudit.googleapis.com/activity") OR LOG_ID("externalaudit.googleapis.com/activity") OR '
    'LOG_ID("cloudaudit.googleapis.com/system_event") OR LOG_ID("externalaudit.googleapis.com/system_event") OR '
    'LOG_ID("cloudaudit.googleapis.com/access_transparency") OR '
    'LOG_ID("externalaudit.googleapis.com/access_transparency")'
)
# The changes of CIS Google Cloud 2.4 to 2.11, as the benchmark writes their filters.
CHANGES = {
    "ownership-changes": (
        '(protoPayload.serviceName="cloudresourcemanager.googleapis.com") AND (ProjectOwnership OR '
        'projectOwnerInvitee) OR (protoPayload.serviceData.policyDelta.bindingDeltas.action="REMOVE" AND '
        'protoPayload.serviceData.policyDelta.bindingDeltas.role="roles/owner") OR '
        '(protoPayload.serviceData.policyDelta.bindingDeltas.action="ADD" AND '
        'protoPayload.serviceData.policyDelta.bindingDeltas.role="roles/owner")'
    ),
    "audit-config-changes": (
        'protoPayload.methodName="SetIamPolicy" AND protoPayload.serviceData.policyDelta.auditConfigDeltas:*'
    ),
    "custom-role-changes": (
        'resource.type="iam_role" AND (protoPayload.methodName="google.iam.admin.v1.CreateRole" OR '
        'protoPayload.methodName="google.iam.admin.v1.DeleteRole" OR '
        'protoPayload.methodName="google.iam.admin.v1.UpdateRole")'
    ),
    "firewall-changes": (
        'resource.type="gce_firewall_rule" AND (protoPayload.methodName:"compute.firewalls.patch" OR '
        'protoPayload.methodName:"compute.firewalls.insert" OR protoPayload.methodName:"compute.firewalls.delete")'
    ),
    "route-changes": (
        'resource.type="gce_route" AND (protoPayload.methodName:"compute.routes.delete" OR '
        'protoPayload.methodName:"compute.routes.insert")'
    ),
    "network-changes": (
        'resource.type="gce_network" AND (protoPayload.methodName:"compute.networks.insert" OR '
        'protoPayload.methodName:"compute.networks.patch" OR protoPayload.methodName:"compute.networks.delete" OR '
        'protoPayload.methodName:"compute.networks.removePeering" OR '
        'protoPayload.methodName:"compute.networks.addPeering")'
    ),
    "bucket-permission-changes": ('resource.type="gcs_bucket" AND protoPayload.methodName="storage.setIamPermissions"'),
    "sql-changes": 'protoPayload.methodName="cloudsql.instances.update"',
}


def add_logging(build: Builder) -> None:
    for project in PROJECTS:
        _add_sink(
            build,
            project,
            "_Required",
            f"logging.googleapis.com/projects/{project}/locations/global/buckets/_Required",
            REQUIRED_FILTER,
        )
        _add_sink(
            build,
            project,
            "_Default",
            f"logging.googleapis.com/projects/{project}/locations/global/buckets/_Default",
            DEFAULT_FILTER,
        )
        _add_bucket(build, project, "global", "_Required", 400, locked=True)
        _add_bucket(build, project, "global", "_Default", 30, locked=None)
    for copy in build.copies():
        _add_bucket(build, "acme-data", "us-central1", f"audit-archive{copy}", 400, locked=True)
        _add_bucket(build, "acme-sandbox", "us-central1", f"experiments{copy}", 7, locked=None)
    _add_parent_sinks(build)
    mail = _add_channel(build, "acme-prod", "email", {"email_address": f"security@{DOMAIN}"}, enabled=True)
    silent = _add_channel(build, "acme-data", "email", {"email_address": f"nobody@{DOMAIN}"}, enabled=False)
    for name, text in CHANGES.items():
        _add_metric(build, "acme-prod", name, text)
        _add_alert(build, "acme-prod", name, [mail], enabled=True)
    for name in ("firewall-changes", "route-changes", "sql-changes"):
        _add_metric(build, "acme-data", name, CHANGES[name])
    _add_alert(build, "acme-data", "firewall-changes", [silent], enabled=True)
    _add_alert(build, "acme-data", "route-changes", [], enabled=False)


def _sink(build: Builder, name: str, destination: str, text: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": name,
        "destination": destination,
        "createTime": build.ago(800),
        "updateTime": build.ago(300),
    }
    if text:
        data["filter"] = text
    return data


def _add_sink(build: Builder, project: str, name: str, destination: str, text: str) -> None:
    data = _sink(build, name, destination, text)
    data["resourceName"] = f"projects/{project}/sinks/{name}"
    build.asset("logging.googleapis.com/LogSink", f"projects/{PROJECTS[project]}/sinks/{name}", project, data)


def _add_parent_sinks(build: Builder) -> None:
    """The folder's sink takes everything of its projects; the organisation's was switched off."""
    archive = "logging.googleapis.com/projects/acme-data/locations/us-central1/buckets/audit-archive"
    top = f"organizations/{ORGANIZATION}"
    folder = f"folders/{FOLDER}"
    writer = f"serviceAccount:service-{FOLDER}@gcp-sa-logging.iam.gserviceaccount.com"
    for parent, name, ancestors, more in (
        (folder, "everything", [folder, top], {"includeChildren": True, "writerIdentity": writer}),
        (top, "everything-of-all", [top], {"includeChildren": True, "writerIdentity": writer, "disabled": True}),
    ):
        full = f"//logging.googleapis.com/{parent}/sinks/{name}"
        body = {
            "name": full,
            "assetType": "logging.googleapis.com/LogSink",
            "resource": {
                "version": "v2",
                "discoveryDocumentUri": "https://logging.googleapis.com/$discovery/rest?version=v2",
                "discoveryName": "LogSink",
                "parent": f"//cloudresourcemanager.googleapis.com/{parent}",
                "data": {**_sink(build, name, archive, ""), "resourceName": f"{parent}/sinks/{name}", **more},
                "location": "global",
            },
            "ancestors": ancestors,
            "updateTime": build.ago(300),
        }
        build.add(full, "logging.googleapis.com/LogSink", body)


def _add_bucket(build: Builder, project: str, location: str, name: str, days: int, *, locked: bool | None) -> None:
    data: dict[str, Any] = {
        "name": f"projects/{project}/locations/{location}/buckets/{name}",
        "lifecycleState": "ACTIVE",
        "retentionDays": days,
        "description": "Audit bucket" if name == "_Required" else "Default bucket",
    }
    if locked is not None:
        data["locked"] = locked
    if not name.startswith("_"):
        data |= {"createTime": build.ago(600), "updateTime": build.ago(600), "description": "kept by the platform team"}
    path = f"projects/{PROJECTS[project]}/locations/{location}/buckets/{name}"
    build.asset("logging.googleapis.com/LogBucket", path, project, data, location=location)


def _add_metric(build: Builder, project: str, name: str, text: str) -> None:
    data = {
        "name": name,
        "description": "CIS Google Cloud",
        "filter": text,
        "metricDescriptor": {
            "name": f"projects/{project}/metricDescriptors/logging.googleapis.com/user/{name}",
            "type": f"logging.googleapis.com/user/{name}",
            "metricKind": "DELTA",
            "valueType": "INT64",
            "unit": "1",
            "description": "CIS Google Cloud",
        },
        "createTime": build.ago(500),
        "updateTime": build.ago(500),
        "resourceName": f"projects/{project}/metrics/{name}",
    }
    build.asset("logging.googleapis.com/LogMetric", f"projects/{PROJECTS[project]}/metrics/{name}", project, data)


def _add_channel(build: Builder, project: str, kind: str, labels: dict[str, str], *, enabled: bool) -> str:
    name = f"projects/{project}/notificationChannels/{build.id()}"
    data = {
        "name": name,
        "type": kind,
        "displayName": f"{kind} of {project}",
        "labels": labels,
        "enabled": enabled,
        "creationRecord": {"mutateTime": build.ago(500)},
        "mutationRecords": [{"mutateTime": build.ago(500)}],
    }
    build.asset("monitoring.googleapis.com/NotificationChannel", name, project, data)
    return name


def _add_alert(build: Builder, project: str, metric: str, channels: list[str], *, enabled: bool) -> None:
    name = f"projects/{project}/alertPolicies/{build.id()}"
    condition = {
        "name": f"{name}/conditions/{build.id()}",
        "displayName": metric,
        "conditionThreshold": {
            "filter": f'metric.type="logging.googleapis.com/user/{metric}" AND resource.type="global"',
            "comparison": "COMPARISON_GT",
            "thresholdValue": 0,
            "duration": "0s",
            "aggregations": [{"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_DELTA"}],
            "trigger": {"count": 1},
        },
    }
    record = {"mutateTime": build.ago(500), "mutatedBy": f"platform@{DOMAIN}"}
    data: dict[str, Any] = {
        "name": name,
        "displayName": f"{metric} of {project}",
        "combiner": "OR",
        "conditions": [condition],
        "enabled": enabled,
        "creationRecord": record,
        "mutationRecord": record,
        "alertStrategy": {"autoClose": "1800s"},
    }
    if channels:
        data["notificationChannels"] = channels
    build.asset("monitoring.googleapis.com/AlertPolicy", name, project, data)
