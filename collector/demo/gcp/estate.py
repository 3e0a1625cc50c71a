"""What the simulated organisation holds at the start: acme.example with its folder, projects, APIs and policies.

For every check there is at least one subject as it should be and one as it should not. A seed chooses ids and nothing
else, so that findings are the same in every demo; a scale repeats what a project holds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from collector.demo.gcp.estate_data import add_data
from collector.demo.gcp.estate_load_balancers import add_load_balancers
from collector.demo.gcp.estate_logging import add_logging
from collector.demo.gcp.estate_machines import add_machines
from collector.demo.gcp.estate_workspace import add_workspace
from collector.demo.gcp.world import (
    COLLECTOR,
    CUSTOMER,
    DOMAIN,
    FOLDER,
    ORGANIZATION,
    PROJECTS,
    RUNNER,
    World,
    service_name,
)
from collector.demo.objects import stamp

MANAGER = "//cloudresourcemanager.googleapis.com"
TOP = f"organizations/{ORGANIZATION}"
FOLDED = ("acme-prod", "acme-data")  # the projects in the folder; the others stand below the organisation
SERVICES = (
    "admin",
    "artifactregistry",
    "bigquery",
    "certificatemanager",
    "cloudasset",
    "cloudidentity",
    "cloudkms",
    "cloudresourcemanager",
    "compute",
    "container",
    "containerscanning",
    "iam",
    "iamcredentials",
    "logging",
    "monitoring",
    "osconfig",
    "serviceusage",
    "sqladmin",
    "storage",
)
NOT_IN_SANDBOX = frozenset(("admin", "cloudasset", "cloudidentity", "iamcredentials", "containerscanning"))
VERSIONS = {
    "bigquery": "v2",
    "cloudresourcemanager": "v1",
    "logging": "v2",
    "monitoring": "v3",
    "sqladmin": "v1beta4",
}


class Builder:
    """Adds assets to a world as Cloud Asset Inventory would list them."""

    def __init__(self, world: World, scale: int) -> None:
        self.world, self.scale = world, scale
        self.random = random.Random(world.seed)
        self.begun = world.begun

    def id(self) -> str:
        """A numeric id of a resource."""
        return str(self.random.randrange(10**18, 10**19))

    def hex(self, size: int) -> str:
        return f"{self.random.getrandbits(size * 4):0{size}x}"

    def ago(self, days: float) -> str:
        """A fixed time so many days before the simulation began; negative for after."""
        return stamp(self.begun - timedelta(days=days))

    def ago_local(self, days: float) -> str:
        """The same as Compute Engine writes it: with an offset."""
        when = self.begun - timedelta(days=days) - timedelta(hours=8)
        return f"{when:%Y-%m-%dT%H:%M:%S}.{self.random.randrange(1000):03d}-08:00"

    def copies(self) -> Sequence[str]:
        """Suffixes of names: one for each unit of the scale, the first is empty."""
        return ["" if n == 0 else f"-{n + 1}" for n in range(self.scale)]

    def ancestors(self, project: str) -> list[str]:
        folder = [f"folders/{FOLDER}"] if project in FOLDED else []
        return [f"projects/{PROJECTS[project]}", *folder, TOP]

    def asset(
        self,
        kind: str,
        path: str,
        project: str,
        data: dict[str, Any],
        *,
        location: str = "global",
        name: str = "",
        discovery: str = "",
        parent: str = "",
        members: dict[str, Any] | None = None,
    ) -> str:
        """Adds one asset; its full name. ``kind`` is "compute.googleapis.com/Disk", ``path`` follows the host."""
        service, _, noun = kind.partition(".googleapis.com/")
        full = name or f"//{service}.googleapis.com/{path}"
        version = VERSIONS.get(service, "v1")
        legacy = service in ("compute", "storage", "bigquery", "serviceusage")
        uri = (
            f"https://www.googleapis.com/discovery/v1/apis/{service}/{version}/rest"
            if legacy
            else f"https://{service}.googleapis.com/$discovery/rest?version={version}"
        )
        body = {
            "name": full,
            "assetType": kind,
            "resource": {
                "version": version,
                "discoveryDocumentUri": uri,
                "discoveryName": discovery or noun,
                "parent": parent or f"{MANAGER}/projects/{PROJECTS[project]}",
                "data": data,
                "location": location,
            },
            "ancestors": self.ancestors(project),
            "updateTime": self.ago(20),
            **(members or {}),
        }
        self.add(full, kind, body)
        return full

    def add(self, id: str, kind: str, body: dict[str, Any]) -> None:
        self.world.add(id, kind, body, self.begun - timedelta(days=400))


def populate(world: World, scale: int) -> None:
    """Fills a world. ``scale`` 1 is about 150 objects besides the APIs."""
    build = Builder(world, scale)
    _add_hierarchy(build)
    _add_services(build)
    _add_accounts(build)
    add_logging(build)
    add_machines(build)
    add_load_balancers(build)
    add_data(build)
    add_workspace(build)


def _policy(build: Builder, bindings: list[dict[str, Any]], audit: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"bindings": bindings, "etag": f"BwY{build.hex(8)}="}
    if audit:
        found["auditConfigs"] = audit
    return {"iamPolicy": found}


def _audit(service: str, *kinds: str, exempt: Sequence[str] = ()) -> dict[str, Any]:
    extra = {"exemptedMembers": list(exempt)} if exempt else {}
    return {"service": service, "auditLogConfigs": [{"logType": kind, **extra} for kind in kinds]}


ALL = ("ADMIN_READ", "DATA_WRITE", "DATA_READ")


def _add_hierarchy(build: Builder) -> None:
    reader = {"role": "roles/cloudasset.viewer", "members": [f"serviceAccount:{COLLECTOR}"]}
    owners = {"role": "roles/owner", "members": [f"group:platform@{DOMAIN}"]}
    data: dict[str, Any] = {
        "name": TOP,
        "displayName": DOMAIN,
        "lifecycleState": "ACTIVE",
        "creationTime": build.ago(1200),
        "owner": {"directoryCustomerId": CUSTOMER},
    }
    _add_node(build, "Organization", TOP, data, [TOP], "", _policy(build, [reader], []))
    folder = f"folders/{FOLDER}"
    data = {
        "name": folder,
        "parent": TOP,
        "displayName": "production",
        "lifecycleState": "ACTIVE",
        "createTime": build.ago(1100),
    }
    audited = _policy(build, [owners], [_audit("allServices", *ALL)])
    _add_node(build, "Folder", folder, data, [folder, TOP], TOP, audited)
    exempt = _policy(build, [owners], [_audit("allServices", "DATA_READ", exempt=[f"user:analyst@{DOMAIN}"])])
    partial = _policy(build, [owners], [_audit("storage.googleapis.com", "DATA_READ")])
    plain = _policy(build, [owners], [])
    for project, policy in (("acme-prod", plain), ("acme-data", exempt), ("acme-sandbox", partial)):
        _add_project(build, project, PROJECTS[project], "ACTIVE", build.ancestors(project), policy)
    number = "100000000004"  # awaiting deletion: no part of the account
    _add_project(build, "acme-retired", number, "DELETE_REQUESTED", [f"projects/{number}", TOP], plain)


def _add_project(
    build: Builder, id: str, number: str, state: str, ancestors: list[str], policy: dict[str, Any]
) -> None:
    kind, _, parent = ancestors[1].partition("/")
    data: dict[str, Any] = {
        "projectNumber": number,
        "projectId": id,
        "lifecycleState": state,
        "name": id.replace("-", " "),
        "createTime": build.ago(900),
        "labels": {"team": "platform"},
        "parent": {"type": kind.removesuffix("s"), "id": parent},
    }
    _add_node(build, "Project", f"projects/{number}", data, ancestors, ancestors[1], policy)


def _add_node(
    build: Builder,
    noun: str,
    path: str,
    data: dict[str, Any],
    ancestors: list[str],
    parent: str,
    policy: dict[str, Any],
) -> None:
    version = "v2" if noun == "Folder" else "v1"
    resource: dict[str, Any] = {
        "version": version,
        "discoveryDocumentUri": f"https://cloudresourcemanager.googleapis.com/$discovery/rest?version={version}",
        "discoveryName": noun,
        "data": data,
        "location": "global",
    }
    if parent:
        resource["parent"] = f"{MANAGER}/{parent}"
    body = {
        "name": f"{MANAGER}/{path}",
        "assetType": f"cloudresourcemanager.googleapis.com/{noun}",
        "resource": resource,
        "ancestors": ancestors,
        "updateTime": build.ago(300),
        **policy,
    }
    build.add(body["name"], body["assetType"], body)


def _add_services(build: Builder) -> None:
    for project, number in PROJECTS.items():
        for short in SERVICES:
            if project == "acme-sandbox" and short in NOT_IN_SANDBOX:
                continue
            service = f"{short}.googleapis.com"
            data = {"name": service, "parent": f"projects/{number}", "state": "ENABLED"}
            path = f"projects/{number}/services/{service}"
            name = build.asset("serviceusage.googleapis.com/Service", path, project, data)
            assert name == service_name(number, service)


def _add_accounts(build: Builder) -> None:
    accounts = [("acme-prod", COLLECTOR.partition("@")[0]), ("acme-prod", RUNNER.partition("@")[0])]
    accounts += [
        (project, f"{name}{copy}") for project in PROJECTS for copy in build.copies() for name in ("deployer", "batch")
    ]
    for project, short in accounts:
        unique = str(build.random.randrange(10**20, 2 * 10**20))
        email = f"{short}@{project}.iam.gserviceaccount.com"
        data = {
            "name": f"projects/{project}/serviceAccounts/{email}",
            "projectId": project,
            "uniqueId": unique,
            "email": email,
            "displayName": short,
            "etag": "MDEwMjE5MjA=",
            "oauth2ClientId": unique,
        }
        if short.startswith("batch") and project == "acme-sandbox":
            data["disabled"] = True  # type: ignore[assignment]
        account = build.asset(
            "iam.googleapis.com/ServiceAccount", f"projects/{project}/serviceAccounts/{unique}", project, data
        )
        _add_key(build, project, email, account, "SYSTEM_MANAGED", "GOOGLE_PROVIDED", "@last10d", "@+16d")
        if short == "collector":
            _add_key(build, project, email, account, "USER_MANAGED", "GOOGLE_PROVIDED", "@last30d", FOREVER)
        elif short.startswith("deployer"):
            made = {"acme-prod": "@last30d", "acme-data": build.ago(420), "acme-sandbox": build.ago(200)}[project]
            origin = "USER_PROVIDED" if project == "acme-data" else "GOOGLE_PROVIDED"
            _add_key(build, project, email, account, "USER_MANAGED", origin, made, FOREVER)


FOREVER = "9999-12-31T23:59:59Z"


def _add_key(
    build: Builder, project: str, email: str, account: str, kind: str, origin: str, made: str, ends: str
) -> None:
    path = f"projects/{project}/serviceAccounts/{email}/keys/{build.hex(40)}"
    data = {
        "name": path,
        "validAfterTime": made,
        "validBeforeTime": ends,
        "keyAlgorithm": "KEY_ALG_RSA_2048",
        "keyOrigin": origin,
        "keyType": kind,
    }
    build.asset("iam.googleapis.com/ServiceAccountKey", path, project, data, parent=account)
