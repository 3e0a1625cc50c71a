"""The Google services that are asked directly, besides Cloud Asset Inventory and Workspace: one function a method."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from collector.demo.gcp import audit, errors, kms, workspace
from collector.demo.gcp.assets import folder_name, listing
from collector.demo.gcp.world import ORGANIZATION, Ask, World, service_name

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
READ_ONLY = "https://www.googleapis.com/auth/cloud-platform.read-only"
RESOURCE_MANAGER = "//cloudresourcemanager.googleapis.com/"

Answer = Callable[..., dict[str, Any]]


def organization(world: World, ask: Ask, number: str) -> dict[str, Any]:
    """GET /v3/organizations/{number}"""
    world.demand(ask, "resourcemanager.organizations.get", f"organizations/{number}")
    body = world.find(f"{RESOURCE_MANAGER}organizations/{number}")
    if body is None:
        raise errors.denied(ask.host, "resourcemanager.organizations.get", f"organizations/{number}")
    return _organization_v3(body)


def folder(world: World, ask: Ask, number: str) -> dict[str, Any]:
    """GET /v3/folders/{number}"""
    world.demand(ask, "resourcemanager.folders.get", f"folders/{number}")
    body = world.find(folder_name(number))
    if body is None:
        raise errors.denied(ask.host, "resourcemanager.folders.get", f"folders/{number}")
    return _folder_v3(body)


def _organization_v3(body: dict[str, Any]) -> dict[str, Any]:
    data = body["resource"]["data"]
    return {
        "name": data["name"],
        "displayName": data["displayName"],
        "directoryCustomerId": data["owner"]["directoryCustomerId"],
        "state": data["lifecycleState"],
        "createTime": data["creationTime"],
        "updateTime": data["creationTime"],
        "etag": "W/organization",
    }


def _folder_v3(body: dict[str, Any]) -> dict[str, Any]:
    data = body["resource"]["data"]
    return {
        "name": data["name"],
        "parent": data["parent"],
        "displayName": data["displayName"],
        "state": data["lifecycleState"],
        "createTime": data["createTime"],
        "updateTime": data["createTime"],
        "etag": "W/folder",
    }


def project(world: World, ask: Ask, text: str) -> dict[str, Any]:
    """GET /v3/projects/{id or number}"""
    found = world.project(text)
    world.demand(ask, "resourcemanager.projects.get", f"projects/{text}", found[0] if found else "")
    for _, body in world.each("cloudresourcemanager.googleapis.com/Project"):
        if found and body["resource"]["data"]["projectNumber"] == found[1]:
            return _project_v3(world.fresh(body))
    raise errors.denied(ask.host, "resourcemanager.projects.get", f"projects/{text}")


def _project_v3(body: dict[str, Any]) -> dict[str, Any]:
    """A project as v3 has it; assets still carry v1's form."""
    data = body["resource"]["data"]
    parent = data["parent"]
    return {
        "name": f"projects/{data['projectNumber']}",
        "parent": f"{parent['type']}s/{parent['id']}",
        "projectId": data["projectId"],
        "state": data["lifecycleState"],
        "displayName": data["name"],
        "createTime": data["createTime"],
        "updateTime": data["createTime"],
        "etag": f"W/{data['projectNumber']}",
        "labels": data["labels"],
    }


def projects(world: World, ask: Ask) -> dict[str, Any]:
    """GET /v3/projects?parent= and /v3/projects:search?query="""
    rows = [_project_v3(world.fresh(body)) for _, body in world.each("cloudresourcemanager.googleapis.com/Project")]
    if ask.path.endswith(":search"):
        rows = [row for row in rows if world.permitted("resourcemanager.projects.get", row["projectId"])]
        for clause in ask.one("query").split():
            name, _, value = clause.partition(":")
            name = {"projectid": "projectId", "id": "projectId"}.get(name.lower(), name)
            rows = [
                row for row in rows if value in ("*", str(row.get(name, "")), str(row.get(name, "")).split("/")[-1])
            ]
    else:
        parent = ask.one("parent")
        if not parent:
            raise errors.invalid("field [parent] has issue [must be set]")
        world.demand(ask, "resourcemanager.projects.list", parent)
        rows = [row for row in rows if row["parent"] == parent]
        if ask.one("showDeleted").lower() != "true":
            rows = [row for row in rows if row["state"] == "ACTIVE"]
    return world.listed(ask, rows, "projects", ask.size("pageSize", 300, 1000))


def folders(world: World, ask: Ask) -> dict[str, Any]:
    """GET /v3/folders?parent="""
    parent = ask.one("parent")
    world.demand(ask, "resourcemanager.folders.list", parent)
    rows = [_folder_v3(world.fresh(body)) for _, body in world.each("cloudresourcemanager.googleapis.com/Folder")]
    return world.listed(ask, [r for r in rows if r["parent"] == parent], "folders", ask.size("pageSize", 300, 300))


def organizations(world: World, ask: Ask) -> dict[str, Any]:
    """GET /v3/organizations:search; only what the caller may see"""
    rows = []
    if world.permitted("resourcemanager.organizations.get"):
        kind = "cloudresourcemanager.googleapis.com/Organization"
        rows = [_organization_v3(world.fresh(body)) for _, body in world.each(kind)]
    return world.listed(ask, rows, "organizations", ask.size("pageSize", 50, 300))


def test_permissions(world: World, ask: Ask, resource: str) -> dict[str, Any]:
    """POST /v3/{resource}:testIamPermissions; needs no permission"""
    asked = ask.body.get("permissions", [])
    found = world.project(resource.partition("/")[2]) if resource.startswith("projects/") else None
    known = found is not None or resource == f"organizations/{ORGANIZATION}"
    if not known and world.find(f"{RESOURCE_MANAGER}{resource}") is None:
        raise errors.denied(ask.host, "resourcemanager.projects.get", resource)
    held = [name for name in asked if world.permitted(name, found[0] if found else "")]
    return {"permissions": held} if held else {}


def service(world: World, ask: Ask, text: str, name: str) -> dict[str, Any]:
    """GET /v1/projects/{project}/services/{name}"""
    _, number = _own(world, ask, text, "serviceusage.services.get")
    found = world.find(service_name(number, name))
    if found is None:
        return {"name": f"projects/{number}/services/{name}", "parent": f"projects/{number}", "state": "DISABLED"}
    return _service(number, name, found["resource"]["data"]["state"])


def services(world: World, ask: Ask, text: str) -> dict[str, Any]:
    """GET /v1/projects/{project}/services?filter=state:ENABLED"""
    _, number = _own(world, ask, text, "serviceusage.services.list")
    rows = []
    for name, body in world.each("serviceusage.googleapis.com/Service"):
        if name.startswith(service_name(number, "")):
            rows.append(_service(number, name.rpartition("/")[2], body["resource"]["data"]["state"]))
    wanted = ask.one("filter")
    if wanted:
        if wanted not in ("state:ENABLED", "state:DISABLED"):
            raise errors.invalid("The filter must be state:ENABLED or state:DISABLED.")
        rows = [row for row in rows if row["state"] == wanted.partition(":")[2]]
    return world.listed(ask, rows, "services", ask.size("pageSize", 50, 200))


def _service(number: str, name: str, state: str) -> dict[str, Any]:
    return {
        "name": f"projects/{number}/services/{name}",
        "config": {"name": name, "title": title(name), "quota": {}, "authentication": {}, "usage": {}},
        "state": state,
        "parent": f"projects/{number}",
    }


def reports(world: World, ask: Ask, text: str, location: str, instance: str) -> dict[str, Any]:
    """GET /v1/projects/{project}/locations/{zone}/instances/-/vulnerabilityReports"""
    _, number = _own(world, ask, text, "osconfig.vulnerabilityReports.list")
    if location == "-":
        # The reference has a zone here; over all zones the service says that it cannot.
        raise errors.refusal(501, "UNIMPLEMENTED", "Operation is not implemented, or supported, or enabled.")
    if instance != "-":
        raise errors.invalid()
    prefix = f"projects/{number}/locations/{location}/instances/"
    rows = [
        body["resource"]["data"]
        for _, body in world.each("osconfig.googleapis.com/VulnerabilityReport")
        if body["resource"]["data"]["name"].startswith(prefix)
    ]
    if wanted := re.findall(r"vulnerabilities\.details\.severity:(\w+)", ask.one("filter")):
        rows = [r for r in rows if any(v["details"]["severity"] in wanted for v in r.get("vulnerabilities", []))]
    return world.listed(ask, rows, "vulnerabilityReports", ask.size("pageSize", 100, 500))


def _own(world: World, ask: Ask, text: str, permission: str) -> tuple[str, str]:
    """(id, number) of the project of a path, after its permission and its own API. Raises Refusal."""
    found = world.project(text)
    world.demand(ask, permission, f"projects/{text}", found[0] if found else "")
    if found is None:
        raise errors.denied(ask.host, permission, f"projects/{text}")
    if ask.host != "serviceusage.googleapis.com" and not world.enabled(ask.host, found[1]):
        raise errors.service_disabled(ask.host, title(ask.host), found[1])
    return found


TITLES = {
    "admin.googleapis.com": "Admin SDK API",
    "cloudasset.googleapis.com": "Cloud Asset API",
    "cloudidentity.googleapis.com": "Cloud Identity API",
    "cloudkms.googleapis.com": "Cloud Key Management Service (KMS) API",
    "cloudresourcemanager.googleapis.com": "Cloud Resource Manager API",
    "containerscanning.googleapis.com": "Container Scanning API",
    "iamcredentials.googleapis.com": "IAM Service Account Credentials API",
    "osconfig.googleapis.com": "VM Manager - OS Config API",
    "serviceusage.googleapis.com": "Service Usage API",
}


def title(name: str) -> str:
    """The display name of an API."""
    return TITLES.get(name, f"{name.partition('.')[0].capitalize()} API")


CLOUD = (CLOUD_PLATFORM,)
CLOUD_READ = (CLOUD_PLATFORM, READ_ONLY)
# (host, method, path) -> the method's name in errors, the scopes of which a token needs one, the answer.
ROUTES: tuple[tuple[str, str, str, str, tuple[str, ...], Answer], ...] = (
    (
        "cloudasset.googleapis.com",
        "GET",
        r"/v1/((?:organizations|folders|projects)/[^/:]+)/assets",
        "google.cloud.asset.v1.AssetService.ListAssets",
        CLOUD,
        listing,
    ),
    (
        "cloudresourcemanager.googleapis.com",
        "GET",
        r"/v3/organizations/([^/:]+)",
        "google.cloud.resourcemanager.v3.Organizations.GetOrganization",
        CLOUD_READ,
        organization,
    ),
    (
        "cloudresourcemanager.googleapis.com",
        "GET",
        r"/v3/organizations:search",
        "google.cloud.resourcemanager.v3.Organizations.SearchOrganizations",
        CLOUD_READ,
        organizations,
    ),
    (
        "cloudresourcemanager.googleapis.com",
        "GET",
        r"/v3/folders/([^/:]+)",
        "google.cloud.resourcemanager.v3.Folders.GetFolder",
        CLOUD_READ,
        folder,
    ),
    (
        "cloudresourcemanager.googleapis.com",
        "GET",
        r"/v3/folders",
        "google.cloud.resourcemanager.v3.Folders.ListFolders",
        CLOUD_READ,
        folders,
    ),
    (
        "cloudresourcemanager.googleapis.com",
        "GET",
        r"/v3/projects(?::search)?",
        "google.cloud.resourcemanager.v3.Projects.SearchProjects",
        CLOUD_READ,
        projects,
    ),
    (
        "cloudresourcemanager.googleapis.com",
        "GET",
        r"/v3/projects/([^/:]+)",
        "google.cloud.resourcemanager.v3.Projects.GetProject",
        CLOUD_READ,
        project,
    ),
    (
        "cloudresourcemanager.googleapis.com",
        "POST",
        r"/v3/((?:organizations|folders|projects)/[^/:]+):testIamPermissions",
        "google.cloud.resourcemanager.v3.Projects.TestIamPermissions",
        CLOUD_READ,
        test_permissions,
    ),
    (
        "serviceusage.googleapis.com",
        "GET",
        r"/v1/projects/([^/]+)/services",
        "google.api.serviceusage.v1.ServiceUsage.ListServices",
        CLOUD_READ,
        services,
    ),
    (
        "serviceusage.googleapis.com",
        "GET",
        r"/v1/projects/([^/]+)/services/([^/:]+)",
        "google.api.serviceusage.v1.ServiceUsage.GetService",
        CLOUD_READ,
        service,
    ),
    (
        "osconfig.googleapis.com",
        "GET",
        r"/v1/projects/([^/]+)/locations/([^/]+)/instances/([^/]+)/vulnerabilityReports",
        "google.cloud.osconfig.v1.OsConfigZonalService.ListVulnerabilityReports",
        CLOUD,
        reports,
    ),
    *workspace.ROUTES,
    *kms.ROUTES,
    *audit.ROUTES,
)
