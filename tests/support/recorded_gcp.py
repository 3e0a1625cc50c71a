"""Recorded answers of Google as cases for our checks: inventory exports as they are, resources of APIs as assets.

An asset holds what the service's own API says of a resource, so a resource recorded from that API makes an asset too.
What nobody recorded is answered by ``ours``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache, partial
from typing import Any

from collector.clouds.gcp import Organization
from collector.clouds.gcp import _by_place as by_place
from collector.clouds.redact import redact
from collector.clouds.transcript import Transcript
from collector.model import Scope
from tests.support.recorded import FOLDER, Answers, Case, World, digest

NUMBER, PROJECT, TOP = "365206961407", "cloud-custodian", "organizations/461203958147"
MANAGER = "cloudresourcemanager.googleapis.com"
COMPUTE, CONTAINER, SQL = "compute.googleapis.com", "container.googleapis.com", "sqladmin.googleapis.com/Instance"
CLUSTER, POOL, MACHINE = f"{CONTAINER}/Cluster", f"{CONTAINER}/NodePool", f"{COMPUTE}/Instance"
BUCKET, DATASET, KEY = (
    "storage.googleapis.com/Bucket",
    "bigquery.googleapis.com/Dataset",
    "cloudkms.googleapis.com/CryptoKey",
)
ACCOUNT, ACCOUNT_KEY = "iam.googleapis.com/ServiceAccount", "iam.googleapis.com/ServiceAccountKey"
SINK, METRIC = "logging.googleapis.com/LogSink", "logging.googleapis.com/LogMetric"
ALERT, CHANNEL = "monitoring.googleapis.com/AlertPolicy", "monitoring.googleapis.com/NotificationChannel"
REPOSITORY, SERVICE = "artifactregistry.googleapis.com/Repository", "serviceusage.googleapis.com/Service"
SSL_POLICY, URL_MAP = f"{COMPUTE}/SslPolicy", f"{COMPUTE}/UrlMap"
HTTP_PROXY, HTTPS_PROXY, SSL_PROXY = (f"{COMPUTE}/Target{kind}Proxy" for kind in ("Http", "Https", "Ssl"))
CERTIFICATE = f"{COMPUTE}/SslCertificate"
POLICIES = "cloudidentity#policy"  # no asset: an answer of Cloud Identity

KINDS = {
    **{
        f"compute#{type.rpartition('/')[2][0].lower()}{type.rpartition('/')[2][1:]}": type
        for type in (
            f"{COMPUTE}/Disk",
            f"{COMPUTE}/Subnetwork",
            MACHINE,
            SSL_POLICY,
            URL_MAP,
            HTTP_PROXY,
            HTTPS_PROXY,
            SSL_PROXY,
            CERTIFICATE,
        )
    },
    "sql#instance": SQL,
    "storage#bucket": BUCKET,
    "bigquery#dataset": DATASET,
}
LISTS = {
    "accounts": ACCOUNT,
    "clusters": CLUSTER,
    "cryptoKeys": KEY,
    "metrics": METRIC,
    "nodePools": POOL,
    "projects": f"{MANAGER}/Project",
    "repositories": REPOSITORY,
    "services": SERVICE,
    "sinks": SINK,
}
SINGLE = (  # by the name of the file, the longest first: what has no kind
    ("-keys-", ACCOUNT_KEY),
    ("-nodePools-", POOL),
    ("-clusters-standard-", CLUSTER),
    ("-cryptoKeys-cloud-custodian_", KEY),
    ("-repositories-", REPOSITORY),
    ("-serviceAccounts-test-sa-actions", ACCOUNT),
    ("-services-deploymentmanager", SERVICE),
    ("-sinks-", SINK),
    ("get-v1-projects-c7n-test-target_", f"{MANAGER}/Project"),
    ("get-v1-projects-cloud-custodian_", f"{MANAGER}/Project"),
)
# Which recorded objects each check judges or joins.
SOURCES: Mapping[str, tuple[str, ...]] = {
    "gcp-admin-security-key": (),
    "gcp-audit-config": (
        f"{MANAGER}/Project",
        *(f"policy of {MANAGER}/{kind}" for kind in ("Project", "Folder", "Organization")),
    ),
    "gcp-bigquery-dataset-key": (DATASET,),
    "gcp-bucket-key": (BUCKET,),
    "gcp-certificate-expiry": (CERTIFICATE,),
    "gcp-container-scanning": (REPOSITORY, SERVICE),
    "gcp-disk-key": (f"{COMPUTE}/Disk",),
    "gcp-gke-node-auto-upgrade": (CLUSTER, POOL),
    "gcp-gke-release-channel": (CLUSTER,),
    "gcp-gke-secrets-key": (CLUSTER,),
    "gcp-http-redirect": (HTTP_PROXY, URL_MAP),
    "gcp-instance-os-inventory": (MACHINE,),
    "gcp-instance-vulnerabilities": (MACHINE,),
    "gcp-kms-rotation": (KEY,),
    "gcp-log-bucket-retention": (),
    "gcp-log-metric-alerts": (f"{MANAGER}/Project", METRIC),
    "gcp-log-sink": (f"{MANAGER}/Project", SINK),
    "gcp-orgunit-2sv-enforcement": (POLICIES,),
    "gcp-proxy-ssl-policy": (HTTPS_PROXY, SSL_PROXY, SSL_POLICY),
    "gcp-service-account-keys": (ACCOUNT, ACCOUNT_KEY),
    "gcp-sql-key": (SQL,),
    "gcp-sql-maintenance": (SQL,),
    "gcp-sql-tls": (SQL,),
    "gcp-subnet-flow-logs": (f"{COMPUTE}/Subnetwork",),
    "gcp-user-2sv-enforced": (),
    "gcp-user-2sv-enrolled": (),
}

CONTENT = {"RESOURCE": "assets", "IAM_POLICY": "policies", "OS_INVENTORY": "inventories"}

Body = dict[str, Any]


# --- recorded files as assets ---


def asset(type: str, data: Body, name: str = "") -> Body:
    """An asset with RESOURCE content; named by the resource's own link or name where none is given."""
    service = "cloudsql.googleapis.com" if type == SQL else type.partition("/")[0]
    own = str(data.get("selfLink") or "").partition("/projects/")[2]
    path = f"projects/{own}" if own else str(data.get("name") or data.get("id") or data.get("projectId"))
    if not path.startswith("projects/"):
        path = f"projects/{PROJECT}/{type.rpartition('/')[2]}/{path}"
    return {
        "name": name or f"//{service}/{path}",
        "assetType": type,
        "resource": {"version": "v1", "discoveryName": type.rpartition("/")[2], "data": data},
        "ancestors": [f"projects/{NUMBER}", TOP],
        "updateTime": "2026-11-23T11:00:00Z",
    }


def _exported(line: Body) -> Iterator[tuple[str, Body]]:
    """An asset of an export, with the question that lists it; older exports write other names and no ancestors."""
    found = {
        "name": line["name"],
        "assetType": line.get("asset_type") or line.get("assetType"),
        "ancestors": _ancestors(line),
        "updateTime": "2026-11-23T11:00:00Z",
    }
    if "resource" in line:
        yield str(found["assetType"]), {**found, "resource": line["resource"]}
    if policy := line.get("iam_policy") or line.get("iamPolicy"):
        members = {"audit_configs": "auditConfigs", "audit_log_configs": "auditLogConfigs", "log_type": "logType"}
        policy = {members.get(name, name): member for name, member in policy.items()}
        yield f"policy of {found['assetType']}", {**found, "iamPolicy": policy}


def _ancestors(line: Body) -> list[str]:
    if line.get("ancestors"):
        return list(line["ancestors"])
    own = line["name"].partition(f"//{MANAGER}/")[2]
    return [own] if own.startswith("organizations/") else [*([own] if own else [f"projects/{NUMBER}"]), TOP]


@cache
def recorded() -> Mapping[str, tuple[tuple[str, Body], ...]]:
    """Every recorded object by asset type ("policy of ..." for IAM policies), each once, with its file."""
    found: dict[str, dict[str, tuple[str, Body]]] = {}

    def keep(type: str, file: str, body: Body) -> None:
        found.setdefault(type, {}).setdefault(digest(body), (file, body))

    exports = [*FOLDER.glob("gcp/cai_policy_library/*.json"), *FOLDER.glob("gcp/cai_forseti/*.ndjson")]
    for file in sorted(exports):
        text = file.read_text()
        lines = (
            [json.loads(each) for each in text.splitlines() if each] if file.suffix == ".ndjson" else json.loads(text)
        )
        for line in lines:
            for type, body in _exported(redact(line)):
                keep(type, file.name, body)
    for file in sorted(FOLDER.glob("gcp/c7n/*/get-*.json")):
        body = redact(json.loads(file.read_text()).get("body"))
        for type, data in _resources(file.name, body):
            keep(type, f"{file.parent.name}/{file.name}", asset(type, data))
    for file in sorted(FOLDER.glob("gcp/c7n/project-*/post-v1-projects-*-getIamPolicy_*.json")):
        policy = redact(json.loads(file.read_text()).get("body"))
        if isinstance(policy, dict) and "error" not in policy:
            line = {"name": f"//{MANAGER}/projects/{NUMBER}", "asset_type": f"{MANAGER}/Project", "iam_policy": policy}
            for type, body in _exported(line):
                keep(type, f"{file.parent.name}/{file.name}", body)
    for file in sorted(FOLDER.glob("gcp/workspace_scubagoggles/*get_policies*.json")):
        document = json.loads(file.read_text())
        for page in [document.get("response"), *document.get("responses", ())]:
            for policy in (page or {}).get("policies", ()):
                keep(POLICIES, file.name, redact(policy))
    return {type: tuple(of_type.values()) for type, of_type in found.items()}


def _resources(file: str, body: Any) -> Iterator[tuple[str, Body]]:
    """The resources in one answer of an API, with their asset types."""
    if not isinstance(body, dict) or "error" in body or "getIamPolicy" in file:
        return
    listed = [(LISTS.get(name, ""), item) for name, items in body.items() if isinstance(items, list) for item in items]
    held = body.get("items")
    if isinstance(held, dict):  # an aggregated list: by zone or region, then by what it is of
        listed += [
            ("", item)
            for place in held.values()
            for items in place.values()
            if isinstance(items, list)
            for item in items
        ]
    single = next((type for part, type in SINGLE if part in file), "")
    for known, item in [*listed, (single, body)]:
        type = KINDS.get(item.get("kind", ""), known) if isinstance(item, dict) else ""
        if type == DATASET and "access" not in item:
            continue  # a listing of datasets has an outline of each
        if type == SERVICE and "state" not in item:
            continue  # a service of Cloud Run
        if type:
            yield type, item


# --- what stands around ---


def _project(places: list[str]) -> Body:
    name = f"//{MANAGER}/{places[0]}"
    found = asset(f"{MANAGER}/Project", {"projectId": PROJECT, "name": PROJECT, "lifecycleState": "ACTIVE"}, name)
    return {**found, "ancestors": places}


def _around(check: str, type: str, one: Body) -> World:
    """Answers of ours that have to fit the recorded object."""
    data = one.get("resource", {}).get("data", {})
    if type.startswith("policy of "):
        places = [f"projects/{NUMBER}", *(place for place in _ancestors(one) if place != f"projects/{NUMBER}")]
        own = type.removeprefix("policy of ") == f"{MANAGER}/Project"
        return {f"assets {MANAGER}/Project": [_project(_ancestors(one) if own else places)]}
    if type in (SINK, METRIC):
        return {f"assets {MANAGER}/Project": [_project(one["ancestors"])], **_alerts(type, data)}
    if type == POOL:
        cluster = asset(CLUSTER, {"name": "one"}, f"//{CONTAINER}/projects/{PROJECT}/zones/z/clusters/one")
        return {f"assets {CLUSTER}": [cluster]}
    if type == ACCOUNT_KEY:
        name = one["name"].partition("/keys/")[0]
        data = {"email": name.rpartition("/")[2], "uniqueId": "1"}
        return {f"assets {ACCOUNT}": [asset(ACCOUNT, data, name)]}
    link = f"https://www.googleapis.com/compute/v1/{one['name'].partition(f'//{COMPUTE}/')[2]}" if "name" in one else ""
    if type == SSL_POLICY:
        return {f"assets {HTTPS_PROXY}": [asset(HTTPS_PROXY, {"name": "one", "sslPolicy": link})]}
    if type == URL_MAP:
        return {f"assets {HTTP_PROXY}": [asset(HTTP_PROXY, {"name": "one", "urlMap": link})]}
    if type == HTTP_PROXY:
        name = f"//{COMPUTE}/projects/{data.get('urlMap', '').partition('/projects/')[2]}"
        made = asset(URL_MAP, {"defaultUrlRedirect": {"httpsRedirect": True}}, name)
        known = [each for _, each in recorded().get(URL_MAP, ()) if each["name"] == name]
        return {f"assets {URL_MAP}": known[:1] or [made]}
    if type == SERVICE:
        scans = asset(SERVICE, {"state": "ENABLED"}, f"//{SERVICE}s/containerscanning.googleapis.com")
        repository = asset(REPOSITORY, {"name": "one", "format": "DOCKER", "mode": "STANDARD_REPOSITORY"})
        return {
            f"assets {SERVICE}": [one, scans],
            f"assets {REPOSITORY}": [repository],
        }
    if type == MACHINE:
        zone, id = str(data.get("zone")).rpartition("/")[2], data.get("id")
        report = {
            "name": f"projects/{NUMBER}/locations/{zone}/instances/{id}/vulnerabilityReport",
            "updateTime": "2026-11-22T08:00:00Z",
            "highestUpgradableCveSeverity": "LOW",
        }
        inventory = {"name": one["name"], "osInventory": {"updateTime": "2026-11-23T08:00:00Z"}}
        path = f"/v1/projects/{PROJECT}/locations/{zone}/instances/-/vulnerabilityReports"
        return {
            f"inventories {MACHINE}": [inventory],
            f"GET osconfig.googleapis.com{path}": [report],
        }
    if type == POLICIES:
        unit = {
            "orgUnitPath": "/",
            "orgUnitId": f"id:{one['policyQuery'].get('orgUnit', '').rpartition('/')[2] or '1'}",
        }
        query = {"orgUnit": f"orgUnits/{unit['orgUnitId'][3:]}", "query": "true", "sortOrder": 1}
        setting = {
            "type": "settings/security.two_step_verification_enforcement",
            "value": {"enforcedFrom": "2020-01-01T00:00:00Z"},
        }
        enforced = {"name": "policies/one", "type": "ADMIN", "policyQuery": query, "setting": setting}
        return {
            "GET cloudidentity.googleapis.com/v1/policies": [one, enforced],
            "GET admin.googleapis.com/admin/directory/v1/customer/my_customer/orgunits": [unit],
        }
    return _alerts(METRIC, {"name": "all", "filter": EVERYTHING}) if check == "gcp-log-metric-alerts" else {}


EVERYTHING = (
    "resource.type=(project OR gcs_bucket OR cloudsql_database OR gce_firewall_rule OR gce_network OR iam_role "
    "OR gce_route)"
)


def _alerts(type: str, metric: Body) -> World:
    """A metric, a policy that alerts on it, and a channel that works."""
    if type != METRIC:
        return {}
    above = {
        "filter": f'metric.type="logging.googleapis.com/user/{metric.get("name")}"',
        "comparison": "COMPARISON_GT",
        "thresholdValue": 0,
    }
    policy = {
        "name": "alert",
        "enabled": True,
        "combiner": "OR",
        "conditions": [{"conditionThreshold": above}],
        "notificationChannels": ["mail"],
    }
    channel = {"name": "mail", "enabled": True, "verificationStatus": "VERIFIED"}
    known = {METRIC: metric, ALERT: policy, CHANNEL: channel}
    return {f"assets {each}": [asset(each, data)] for each, data in known.items()}


def ours(question: str, params: Mapping[str, Any]) -> Any:
    """An answer of a sound organisation to a question that nobody recorded, None for one that we do not answer."""
    wanted = [{"service": "allServices", "auditLogConfigs": [{"logType": f"{kind}"} for kind in KINDS_OF_AUDIT]}]
    modern = {"profile": "MODERN", "minTlsVersion": "TLS_1_2"}
    known = {
        f"policies {MANAGER}/Organization": [
            {
                "name": f"//{MANAGER}/{TOP}",
                "assetType": f"{MANAGER}/Organization",
                "iamPolicy": {"auditConfigs": wanted},
            }
        ],
        f"assets {SINK}": [asset(SINK, {"name": "all", "destination": "storage.googleapis.com/acme-logs"})],
        f"assets {SERVICE}": [asset(SERVICE, {"state": "ENABLED"}, f"//{SERVICE}s/containerscanning.googleapis.com")],
        f"assets {SSL_POLICY}": [
            asset(SSL_POLICY, modern, each["name"]) for _, each in recorded().get(SSL_POLICY, ())[:1]
        ],
    }
    if question.startswith(("assets ", "policies ", "inventories ")) or question.endswith("/vulnerabilityReports"):
        return known.get(question, [])
    return None


KINDS_OF_AUDIT = ("ADMIN_READ", "DATA_READ", "DATA_WRITE")


def cases(check: str) -> Iterator[Case]:
    """Every recorded object of the types of a check, each by itself and then all of a type together."""
    for type in SOURCES[check]:
        known = recorded().get(type, ())
        content = "policies" if type.startswith("policy of ") else "assets"
        question = f"{content} {type.removeprefix('policy of ')}"
        opened = _opener(check, type)
        for file, one in known:
            if type == POOL:
                one = {**one, "name": f"//{CONTAINER}/projects/{PROJECT}/zones/z/clusters/one/nodePools/pool"}
            if type == ACCOUNT_KEY:
                one = {
                    **one,
                    "name": one["name"].replace(f"//{ACCOUNT_KEY.partition('/')[0]}/", "//iam.googleapis.com/"),
                }
            own = {} if type == POLICIES else {question: [one]}
            asked = "GET cloudidentity.googleapis.com/v1/policies" if type == POLICIES else question
            yield opened(one)(f"{file}: {one['name']}", asked, world={**own, **_around(check, type, one)})
        if len(known) > 1 and content == "assets" and type != POLICIES:
            every = list({one["name"]: one for _, one in known}.values())
            yield opened(every[0])(f"every {type}", question, world={question: every}, whole=True)


def _opener(check: str, type: str) -> Callable[[Body], Callable[..., Case]]:
    def opener(one: Body) -> Callable[..., Case]:
        parent = (one.get("ancestors") or [TOP])[-1]
        scope = Scope("gcp", parent.replace("/", "-", 1), PROJECT)
        return partial(Case, scope=scope, open=partial(_Recorded, parent), ours=ours)

    return opener


class _Recorded(Organization):
    """A project that answers from a world: assets by type and content, everything else by host and path."""

    def __init__(self, parent: str, answers: Answers, now: datetime) -> None:
        super().__init__(parent, Transcript(), now, project=PROJECT)
        self._answers = answers

    def within(self, part: str) -> Organization:
        return self

    @property
    def number(self) -> str:
        return NUMBER

    def _content(self, type: str, content: str) -> list[dict[str, Any]]:
        """What the listings of ``assets``, ``policies`` and ``os_inventories`` are made from."""
        return self._rows(f"{CONTENT[content]} {type}")

    def assets_of(self, places: Iterable[str], type: str) -> list[dict[str, Any]]:
        """As the handle does it: an asset that does not say where it stands is no answer."""
        held = by_place(self._content(type, "RESOURCE"), type, f"projects/{PROJECT}")
        return [asset for place in places for asset in held.get(place, ())]

    def get(self, host: str, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> Any:
        return self._answers.of(f"GET {host}{path}", query)

    def each(
        self, host: str, path: str, items: str, *, absent: tuple[str, ...] = (), **query: Any
    ) -> list[dict[str, Any]]:
        return self._rows(f"GET {host}{path}")

    def _rows(self, question: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._answers.of(question)
        return found
