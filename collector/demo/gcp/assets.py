"""Cloud Asset Inventory v1: listings of assets under an organisation, a folder or a project, page by page."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

from collector.demo.gcp import errors
from collector.demo.gcp.world import FOLDER, HISTORY_DAYS, ORGANIZATION, Ask, World, page_token, token_parts
from collector.demo.objects import stamp

HOST = "cloudasset.googleapis.com"
PAGE_DEFAULT = 100
PAGE_MAX = 1000
PARENT = re.compile(r"(organizations|folders|projects)/([^/]+)")
# The words and numbers of ContentType: clients of the SDK send the number. Member of the asset, permission.
CONTENT = {
    "CONTENT_TYPE_UNSPECIFIED": (0, "", "cloudasset.assets.listResource"),
    "RESOURCE": (1, "resource", "cloudasset.assets.listResource"),
    "IAM_POLICY": (2, "iamPolicy", "cloudasset.assets.listIamPolicy"),
    "ORG_POLICY": (4, "orgPolicy", "cloudasset.assets.listOrgPolicy"),
    "ACCESS_POLICY": (5, "accessPolicy", "cloudasset.assets.listAccessPolicy"),
    "OS_INVENTORY": (6, "osInventory", "cloudasset.assets.listOSInventories"),
    "RELATIONSHIP": (7, "relatedAsset", "cloudasset.assets.listResource"),
}
ENUMS = {
    "logType": {"LOG_TYPE_UNSPECIFIED": 0, "ADMIN_READ": 1, "DATA_WRITE": 2, "DATA_READ": 3},
    "originType": {"ORIGIN_TYPE_UNSPECIFIED": 0, "INVENTORY_REPORT": 1},
    "type": {"TYPE_UNSPECIFIED": 0, "INSTALLED_PACKAGE": 1, "AVAILABLE_PACKAGE": 2},
}
ENVELOPE = ("name", "assetType", "ancestors", "updateTime")
# The asset types of Google's reference that somebody may ask for; any other name is an invalid argument.
NOUNS = {
    "aiplatform": "Dataset Endpoint",
    "alloydb": "Cluster Instance",
    "apigateway": "Gateway",
    "apikeys": "Key",
    "appengine": "Application Service Version",
    "artifactregistry": "DockerImage Repository",
    "bigquery": "Dataset Table",
    "bigtableadmin": "Cluster Instance",
    "certificatemanager": "Certificate CertificateMap",
    "cloudbilling": "BillingAccount",
    "cloudfunctions": "CloudFunction",
    "cloudkms": "CryptoKey CryptoKeyVersion ImportJob KeyRing",
    "cloudresourcemanager": "Folder Organization Project",
    "compute": (
        "Address Autoscaler BackendBucket BackendService Disk Firewall ForwardingRule GlobalAddress "
        "GlobalForwardingRule HealthCheck Image Instance InstanceGroup InstanceGroupManager InstanceTemplate "
        "Network Project RegionBackendService RegionDisk ResourcePolicy Route Router SecurityPolicy Snapshot "
        "SslCertificate SslPolicy Subnetwork TargetHttpProxy TargetHttpsProxy TargetPool TargetSslProxy "
        "TargetTcpProxy UrlMap VpnTunnel"
    ),
    "container": "Cluster NodePool",
    "containerregistry": "Image",
    "dataflow": "Job",
    "dataproc": "Cluster",
    "dns": "ManagedZone Policy",
    "file": "Backup Instance",
    "firestore": "Database",
    "iam": "Role ServiceAccount ServiceAccountKey",
    "logging": "LogBucket LogMetric LogSink LogView",
    "memcache": "Instance",
    "monitoring": "AlertPolicy NotificationChannel UptimeCheckConfig",
    "orgpolicy": "CustomConstraint Policy",
    "osconfig": "OSPolicyAssignment PatchDeployment VulnerabilityReport",
    "privateca": "CaPool",
    "pubsub": "Subscription Topic",
    "redis": "Instance",
    "run": "Service",
    "secretmanager": "Secret SecretVersion",
    "serviceusage": "Service",
    "spanner": "Database Instance",
    "sqladmin": "BackupRun Instance",
    "storage": "Bucket",
}
TYPES = frozenset(f"{service}.googleapis.com/{noun}" for service, nouns in NOUNS.items() for noun in nouns.split())


def asset_types(world: World) -> set[str]:
    """Every asset type that a listing may name."""
    return set(TYPES) | {kind for kind in world.by_kind if "#" not in kind}


def listing(world: World, ask: Ask, parent: str) -> dict[str, Any]:
    """GET /v1/{parent}/assets. Raises Refusal."""
    place, project = _place(world, ask, parent)
    word = _content(ask.one("contentType", "CONTENT_TYPE_UNSPECIFIED"))
    _, member, permission = CONTENT[word]
    world.demand(ask, permission, parent, project)
    world.spend(HOST, ask.consumer, "ListAssets Requests", int(world.settings["list_assets_per_minute"]))
    kinds = _kinds(world, ask.query.get("assetTypes", []))
    size = ask.size("pageSize", PAGE_DEFAULT, PAGE_MAX)
    question = json.dumps([parent, word, sorted(kinds), ask.one("readTime")])
    start, moment = 0, _read_time(world, ask.one("readTime"))
    if token := ask.one("pageToken"):
        start, read = token_parts(token, question)  # all pages are of the moment of the first
        moment = datetime.fromisoformat(read)

    def gathered() -> list[dict[str, Any]]:
        return [
            body
            for kind in sorted(kinds)
            for _, body in world.each(kind, moment)
            if place in (*body["ancestors"], body["name"].partition("//cloudresourcemanager.googleapis.com/")[2])
            and (not member or member in body)
        ]

    rows = world.once(("assets", place, member, frozenset(kinds), moment), gathered)
    chosen, after = world.page(rows, size, start)
    answer: dict[str, Any] = {"readTime": stamp(moment)}
    if chosen:
        keep = (*ENVELOPE, member)
        answer["assets"] = [world.fresh({key: body[key] for key in keep if key in body}, moment) for body in chosen]
    if after:
        answer["nextPageToken"] = page_token(after, question, moment.isoformat())
    if "enum-encoding=int" in ask.one("$alt"):
        answer = _numbered(answer)
    return answer


def _place(world: World, ask: Ask, parent: str) -> tuple[str, str]:
    """The ancestor that a parent is, with a project's id. Raises Refusal for one that is not ours."""
    found = PARENT.fullmatch(parent)
    if found is None:
        raise errors.invalid(f"Invalid parent: {parent}")
    kind, name = found.groups()
    if kind == "projects":
        project = world.project(name)
        if project is not None:
            return f"projects/{project[1]}", project[0]
    elif parent == f"organizations/{ORGANIZATION}" or (kind == "folders" and world.find(folder_name(name))):
        return parent, ""
    raise errors.denied(ask.host, "cloudasset.assets.listResource", parent)


def folder_name(number: str = FOLDER) -> str:
    return f"//cloudresourcemanager.googleapis.com/folders/{number}"


def _content(text: str) -> str:
    for word, (number, _, _) in CONTENT.items():
        if text in (word, str(number)):
            return word
    raise errors.invalid(
        f"Invalid value at 'content_type' (type.googleapis.com/google.cloud.asset.v1.ContentType), {text!r}"
    )


def _kinds(world: World, wanted: list[str]) -> set[str]:
    known = asset_types(world)
    if not wanted:
        return known
    found: set[str] = set()
    for text in wanted:
        matched = {kind for kind in known if re.fullmatch(text, kind)}
        if not matched:
            raise errors.invalid(f"Invalid asset type: {text}. Supported asset types are in the reference.")
        found |= matched
    return found


def _read_time(world: World, text: str) -> datetime:
    now = world.clock()
    if not text:
        return now
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise errors.invalid(f"Invalid value at 'read_time' (Timestamp), {text!r}") from error
    if not now - timedelta(days=HISTORY_DAYS) <= moment <= now:
        raise errors.invalid(f"Read time must be within the last {HISTORY_DAYS} days and not in the future.")
    return moment


def _numbered(value: Any, key: str = "") -> Any:
    """A copy in which the enums of the envelope are numbers, as a client that asks so gets them."""
    if isinstance(value, dict):
        # What stands in resource.data is another service's JSON, a Struct here: its words stay words.
        return {name: member if name == "resource" else _numbered(member, name) for name, member in value.items()}
    if isinstance(value, list):
        return [_numbered(member) for member in value]
    if isinstance(value, str):
        return ENUMS.get(key, {}).get(value, value)
    return value
