"""Writes the JSON schemas that the simulated Google organisation is held to, out of Google's discovery documents.

    pip install google-api-python-client          (in a venv of your own: 113 MB that nothing else here needs)
    python tools/schemas_gcp.py                   writes tests/schemas/gcp/*.json
    python tools/schemas_gcp.py --check           writes nothing; exits with 1 when the documents say otherwise

One file for each API: ``types`` maps asset types, ``answers`` maps methods to a name below ``$defs``. Prose is left
out, every object is closed, and a 64-bit number may be text or number, because the inventory writes both.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "schemas" / "gcp"
MAX_BYTES = 200_000  # all files together

# Document -> asset type -> schema of resource.data. Versions are those that Cloud Asset Inventory uses itself.
TYPES = {
    "artifactregistry.v1": {"artifactregistry.googleapis.com/Repository": "Repository"},
    "bigquery.v2": {"bigquery.googleapis.com/Dataset": "Dataset"},
    "certificatemanager.v1": {"certificatemanager.googleapis.com/Certificate": "Certificate"},
    "cloudkms.v1": {"cloudkms.googleapis.com/CryptoKey": "CryptoKey", "cloudkms.googleapis.com/KeyRing": "KeyRing"},
    "cloudresourcemanager.v1": {
        "cloudresourcemanager.googleapis.com/Organization": "Organization",
        "cloudresourcemanager.googleapis.com/Project": "Project",
    },
    "cloudresourcemanager.v2": {"cloudresourcemanager.googleapis.com/Folder": "Folder"},
    "compute.v1": {
        "compute.googleapis.com/Disk": "Disk",
        "compute.googleapis.com/ForwardingRule": "ForwardingRule",
        "compute.googleapis.com/GlobalForwardingRule": "ForwardingRule",
        "compute.googleapis.com/Instance": "Instance",
        "compute.googleapis.com/Network": "Network",
        "compute.googleapis.com/SslCertificate": "SslCertificate",
        "compute.googleapis.com/SslPolicy": "SslPolicy",
        "compute.googleapis.com/Subnetwork": "Subnetwork",
        "compute.googleapis.com/TargetHttpProxy": "TargetHttpProxy",
        "compute.googleapis.com/TargetHttpsProxy": "TargetHttpsProxy",
        "compute.googleapis.com/TargetSslProxy": "TargetSslProxy",
        "compute.googleapis.com/UrlMap": "UrlMap",
    },
    "container.v1": {"container.googleapis.com/Cluster": "Cluster", "container.googleapis.com/NodePool": "NodePool"},
    "iam.v1": {
        "iam.googleapis.com/ServiceAccount": "ServiceAccount",
        "iam.googleapis.com/ServiceAccountKey": "ServiceAccountKey",
    },
    "logging.v2": {
        "logging.googleapis.com/LogBucket": "LogBucket",
        "logging.googleapis.com/LogMetric": "LogMetric",
        "logging.googleapis.com/LogSink": "LogSink",
    },
    "monitoring.v3": {
        "monitoring.googleapis.com/AlertPolicy": "AlertPolicy",
        "monitoring.googleapis.com/NotificationChannel": "NotificationChannel",
    },
    "osconfig.v1": {"osconfig.googleapis.com/VulnerabilityReport": "VulnerabilityReport"},
    "serviceusage.v1": {"serviceusage.googleapis.com/Service": "GoogleApiServiceusageV1Service"},
    "sqladmin.v1beta4": {"sqladmin.googleapis.com/Instance": "DatabaseInstance"},
    "storage.v1": {"storage.googleapis.com/Bucket": "Bucket"},
}
# Document -> methods whose answers the simulator gives.
ANSWERS = {
    "admin.directory_v1": (
        "directory.users.list",
        "directory.users.get",
        "directory.orgunits.list",
        "directory.customers.get",
    ),
    "admin.reports_v1": ("reports.userUsageReport.get",),
    "cloudasset.v1": ("cloudasset.assets.list",),
    "cloudidentity.v1": ("cloudidentity.policies.list",),
    "cloudresourcemanager.v3": (
        "cloudresourcemanager.folders.list",
        "cloudresourcemanager.organizations.get",
        "cloudresourcemanager.organizations.search",
        "cloudresourcemanager.projects.list",
        "cloudresourcemanager.projects.search",
        "cloudresourcemanager.projects.testIamPermissions",
    ),
    "iamcredentials.v1": (
        "iamcredentials.projects.serviceAccounts.generateAccessToken",
        "iamcredentials.projects.serviceAccounts.signJwt",
    ),
    "osconfig.v1": ("osconfig.projects.locations.instances.vulnerabilityReports.list",),
    "serviceusage.v1": ("serviceusage.services.list", "serviceusage.services.get"),
}
# Large parts of large schemas that nobody here fills: anything may stand there.
OPEN = frozenset(
    (
        "GoogleApiService",
        "GoogleApiServiceusageV1ServiceConfig",
        "GoogleCloudOrgpolicyV1Policy",
        "GoogleIdentityAccesscontextmanagerV1AccessLevel",
        "GoogleIdentityAccesscontextmanagerV1AccessPolicy",
        "GoogleIdentityAccesscontextmanagerV1ServicePerimeter",
        "RelatedAsset",
        "RelatedAssets",
        "HttpRouteAction",
        "AddonsConfig",
    )
)


def converted(schema: dict[str, Any]) -> dict[str, Any]:
    """One schema of a discovery document as JSON Schema, without prose."""
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    kind = schema.get("type")
    if kind == "object":
        members = {name: converted(member) for name, member in schema.get("properties", {}).items()}
        found: dict[str, Any] = {"type": "object"}
        if members:
            found["properties"] = members
        if "additionalProperties" in schema:
            found["additionalProperties"] = converted(schema["additionalProperties"])
        elif members:
            found["additionalProperties"] = False
        return found
    if kind == "array":
        return {"type": "array", "items": converted(schema["items"])}
    if kind == "string":
        if schema.get("format") in ("int64", "uint64"):
            return {"type": ["string", "integer"]}
        return {"type": "string", "enum": schema["enum"]} if schema.get("enum") else {"type": "string"}
    return {"type": kind} if kind in ("integer", "number", "boolean") else {}


def references(schema: Any) -> set[str]:
    """The names that a schema refers to."""
    if isinstance(schema, dict):
        own = {str(schema["$ref"]).removeprefix("#/$defs/")} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*(references(member) for member in schema.values()))
    if isinstance(schema, list):
        return set().union(*(references(member) for member in schema))
    return set()


def methods(resources: dict[str, Any]) -> dict[str, str]:
    """Every method of a document and the schema of its answer."""
    found: dict[str, str] = {}
    for resource in resources.values():
        for method in resource.get("methods", {}).values():
            if "response" in method:
                found[method["id"]] = method["response"]["$ref"]
        found |= methods(resource.get("resources", {}))
    return found


def extracted(name: str, document: dict[str, Any]) -> dict[str, Any]:
    """What is kept of one document. Raises KeyError for a type or method that it no longer has."""
    answering = methods(document["resources"])
    types = TYPES.get(name, {})
    answers = {method: answering[method] for method in ANSWERS.get(name, ())}
    kept: dict[str, Any] = {}
    wanted = {*types.values(), *answers.values()}
    while wanted:
        each = wanted.pop()
        kept[each] = {"type": "object"} if each in OPEN else converted(document["schemas"][each])
        wanted |= references(kept[each]) - set(kept)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"Google discovery document {name}, revision {document['revision']}; made by tools/schemas_gcp.py",
        "types": types,
        "answers": answers,
        "$defs": dict(sorted(kept.items())),
    }


def documents() -> Path:
    """Where google-api-python-client keeps its discovery documents."""
    found = importlib.util.find_spec("googleapiclient")
    if found is None or found.origin is None:
        sys.exit("install google-api-python-client into a venv of your own and run this with its python")
    return Path(found.origin).parent / "discovery_cache" / "documents"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say what differs")
    check = parser.parse_args().check
    made: dict[Path, str] = {}
    for name in sorted({*TYPES, *ANSWERS}):
        document = json.loads((documents() / f"{name}.json").read_text())
        text = json.dumps(extracted(name, document), separators=(",", ":"), ensure_ascii=False)
        made[FOLDER / f"{name}.json"] = text + "\n"
    size = sum(len(text) for text in made.values())
    if size > MAX_BYTES:
        sys.exit(f"{size} bytes are more than {MAX_BYTES}: open some schema in OPEN")
    stale = [file for file in FOLDER.glob("*.json") if file not in made]
    differing = [file for file, text in made.items() if not file.exists() or file.read_text() != text]
    if check:
        for file in (*stale, *differing):
            print(f"{file.relative_to(ROOT)} is not what the discovery documents say; run tools/schemas_gcp.py")
        sys.exit(1 if stale or differing else 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file in stale:
        file.unlink()
    for file, text in made.items():
        file.write_text(text)
    print(f"{len(made)} files, {size} bytes")


if __name__ == "__main__":
    main()
