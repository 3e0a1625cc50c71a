"""The seeded machines of acme: networks, virtual machines, disks, their inventories and vulnerability reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.demo.gcp.world import PROJECTS

if TYPE_CHECKING:
    from collector.demo.gcp.estate import Builder

COMPUTE = "https://www.googleapis.com/compute/v1"
REGION = "us-central1"
ZONE = "us-central1-a"
# Nothing of this may reach evidence; tests look for it there.
PLANTED_SECRETS = ("postgres://app:planted-Gc9pQ2@db.acme.example/app",)


def add_machines(build: Builder) -> None:
    for project in PROJECTS:
        _add_networks(build, project)
    for copy in build.copies():
        # name, project, state, disk key, inventory age in hours (None: no agent), vulnerabilities (None: no report)
        for name, project, state, key, inventory, found in (
            ("web-1", "acme-prod", "RUNNING", "kms", 2, ()),
            ("web-2", "acme-prod", "RUNNING", "kms", 5, (("CVE-2025-32462", "LOW", True),)),
            (
                "worker-1",
                "acme-prod",
                "RUNNING",
                "",
                3,
                (("CVE-2025-6020", "HIGH", True), ("CVE-2024-56433", "LOW", False)),
            ),
            ("etl-1", "acme-data", "RUNNING", "kms", 4, (("CVE-2025-4802", "CRITICAL", False),)),
            ("etl-old", "acme-data", "TERMINATED", "csek", None, None),
            ("lab-1", "acme-sandbox", "RUNNING", "", None, None),
            ("lab-2", "acme-sandbox", "RUNNING", "", 24 * 40, ()),
        ):
            _add_machine(build, project, f"{name}{copy}", state, key, inventory, found)
        _add_disk(build, "acme-data", f"scratch{copy}", "", None)


def _add_networks(build: Builder, project: str) -> None:
    own = f"{COMPUTE}/projects/{project}"
    network = f"{own}/global/networks/main"
    data: dict[str, Any] = {
        "kind": "compute#network",
        "id": build.id(),
        "creationTimestamp": build.ago_local(700),
        "name": "main",
        "selfLink": network,
        "autoCreateSubnetworks": False,
        "routingConfig": {"routingMode": "REGIONAL"},
    }
    build.asset("compute.googleapis.com/Network", f"projects/{project}/global/networks/main", project, data)
    logged = {
        "enable": True,
        "aggregationInterval": "INTERVAL_5_SEC",
        "flowSampling": 0.5,
        "metadata": "INCLUDE_ALL_METADATA",
    }
    for number, (name, purpose, log) in enumerate(
        (
            ("apps", "PRIVATE", None if project == "acme-sandbox" else logged),
            ("tools", "PRIVATE", {"enable": False} if project == "acme-prod" else logged),
            ("proxies", "REGIONAL_MANAGED_PROXY", None),
        )
    ):
        data = {
            "kind": "compute#subnetwork",
            "id": build.id(),
            "creationTimestamp": build.ago_local(700),
            "name": name,
            "network": network,
            "ipCidrRange": f"10.{number}.0.0/20",
            "gatewayAddress": f"10.{number}.0.1",
            "region": f"{own}/regions/{REGION}",
            "selfLink": f"{own}/regions/{REGION}/subnetworks/{name}",
            "privateIpGoogleAccess": purpose == "PRIVATE",
            "fingerprint": build.hex(8) + "=",
            "purpose": purpose,
            "stackType": "IPV4_ONLY",
        }
        if log is not None:
            data |= {"logConfig": log, "enableFlowLogs": log["enable"]}
        if purpose != "PRIVATE":
            data["role"] = "ACTIVE"
        path = f"projects/{project}/regions/{REGION}/subnetworks/{name}"
        build.asset("compute.googleapis.com/Subnetwork", path, project, data, location=REGION)


def key_of(project: str, name: str = "disks") -> str:
    """The name of a customer-managed key of a project."""
    return f"projects/{project}/locations/{REGION}/keyRings/main/cryptoKeys/{name}"


def _encryption(build: Builder, project: str, key: str) -> dict[str, Any]:
    if key == "kms":
        return {"diskEncryptionKey": {"kmsKeyName": f"{key_of(project)}/cryptoKeyVersions/1"}}
    if key == "csek":
        return {"diskEncryptionKey": {"sha256": build.hex(43) + "="}}
    return {}


def _add_disk(build: Builder, project: str, name: str, key: str, user: str | None) -> None:
    own = f"{COMPUTE}/projects/{project}/zones/{ZONE}"
    data: dict[str, Any] = {
        "kind": "compute#disk",
        "id": build.id(),
        "creationTimestamp": build.ago_local(400),
        "name": name,
        "sizeGb": "50",
        "zone": own,
        "status": "READY",
        "selfLink": f"{own}/disks/{name}",
        "type": f"{own}/diskTypes/pd-balanced",
        "labelFingerprint": "42WmSpB8rSM=",
        "physicalBlockSizeBytes": "4096",
        "architecture": "X86_64",
        **_encryption(build, project, key),
    }
    if user is not None:
        data["users"] = [user]
        data["licenses"] = [f"{COMPUTE}/projects/debian-cloud/global/licenses/debian-12-bookworm"]
    build.asset(
        "compute.googleapis.com/Disk", f"projects/{project}/zones/{ZONE}/disks/{name}", project, data, location=ZONE
    )


def _add_machine(
    build: Builder,
    project: str,
    name: str,
    state: str,
    key: str,
    inventory: int | None,
    found: tuple[tuple[str, str, bool], ...] | None,
) -> None:
    own = f"{COMPUTE}/projects/{project}/zones/{ZONE}"
    link = f"{own}/instances/{name}"
    _add_disk(build, project, name, key, link)
    id = build.id()
    metadata = [{"key": "enable-osconfig", "value": "TRUE" if inventory is not None else "FALSE"}]
    if name.startswith("worker"):
        metadata.append({"key": "startup-script", "value": f"#!/bin/sh\nexport DB={PLANTED_SECRETS[0]}\n"})
    data: dict[str, Any] = {
        "kind": "compute#instance",
        "id": id,
        "creationTimestamp": build.ago_local(400),
        "name": name,
        "machineType": f"{own}/machineTypes/e2-standard-2",
        "status": state,
        "zone": own,
        "canIpForward": False,
        "networkInterfaces": [
            {
                "kind": "compute#networkInterface",
                "network": f"{COMPUTE}/projects/{project}/global/networks/main",
                "subnetwork": f"{COMPUTE}/projects/{project}/regions/{REGION}/subnetworks/apps",
                "networkIP": f"10.0.{build.random.randrange(16)}.{build.random.randrange(2, 250)}",
                "name": "nic0",
                "stackType": "IPV4_ONLY",
                "fingerprint": build.hex(8) + "=",
            }
        ],
        "disks": [
            {
                "kind": "compute#attachedDisk",
                "type": "PERSISTENT",
                "mode": "READ_WRITE",
                "source": f"{own}/disks/{name}",
                "deviceName": name,
                "index": 0,
                "boot": True,
                "autoDelete": True,
                "interface": "SCSI",
                "diskSizeGb": "50",
                "architecture": "X86_64",
                **_encryption(build, project, key),
            }
        ],
        "metadata": {"kind": "compute#metadata", "fingerprint": build.hex(8) + "=", "items": metadata},
        "labels": {"team": "platform"},
        "labelFingerprint": "42WmSpB8rSM=",
        "selfLink": link,
        "scheduling": {"onHostMaintenance": "MIGRATE", "automaticRestart": True, "preemptible": False},
        "cpuPlatform": "Intel Broadwell",
        "deletionProtection": False,
        "shieldedInstanceConfig": {"enableSecureBoot": True, "enableVtpm": True, "enableIntegrityMonitoring": True},
        "serviceAccounts": [
            {
                "email": f"batch@{project}.iam.gserviceaccount.com",
                "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
            }
        ],
    }
    if state == "RUNNING":
        data["lastStartTimestamp"] = build.ago_local(30)
    resource = f"projects/{PROJECTS[project]}/locations/{ZONE}/instances/{id}"
    members = {} if inventory is None else {"osInventory": _inventory(resource, name, inventory, found or ())}
    path = f"projects/{project}/zones/{ZONE}/instances/{name}"
    build.asset("compute.googleapis.com/Instance", path, project, data, location=ZONE, members=members)
    if found is not None:
        _add_report(build, project, f"{resource}/vulnerabilityReport", found, inventory or 0)


def _inventory(resource: str, name: str, hours: int, found: tuple[tuple[str, str, bool], ...]) -> dict[str, Any]:
    packages = [("libc6", "2.36-9+deb12u10"), ("openssl", "3.0.16-1~deb12u1"), ("libpam0g", "1.5.2-6+deb12u1")]
    installed = {
        f"installedPackage-{package}:amd64:{version}": {
            "id": f"installedPackage-{package}:amd64:{version}",
            "originType": "INVENTORY_REPORT",
            "createTime": "@last90d",
            "updateTime": "@last90d",
            "type": "INSTALLED_PACKAGE",
            "installedPackage": {"aptPackage": {"packageName": package, "architecture": "amd64", "version": version}},
        }
        for package, version in packages
    }
    fixes = [cve for cve, _, fixable in found if fixable]
    available = {
        f"availablePackage-libpam0g:amd64:{number}": {
            "id": f"availablePackage-libpam0g:amd64:{number}",
            "originType": "INVENTORY_REPORT",
            "createTime": "@last30d",
            "updateTime": "@last30d",
            "type": "AVAILABLE_PACKAGE",
            "availablePackage": {
                "aptPackage": {
                    "packageName": "libpam0g",
                    "architecture": "amd64",
                    "version": f"1.5.2-6+deb12u{number + 2}",
                }
            },
        }
        for number, _ in enumerate(fixes)
    }
    return {
        "name": f"{resource}/inventory",
        "osInfo": {
            "hostname": f"{name}.c.acme.internal",
            "longName": "Debian GNU/Linux 12 (bookworm)",
            "shortName": "debian",
            "version": "12",
            "architecture": "x86_64",
            "kernelVersion": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.140-1",
            "kernelRelease": "6.1.0-37-cloud-amd64",
            "osconfigAgentVersion": "20250902.00-g1",
        },
        "items": {**installed, **available},
        "updateTime": f"@-{hours}h",
    }


SCORES = {"LOW": 3.1, "MEDIUM": 5.5, "HIGH": 7.8, "CRITICAL": 9.8}


def _add_report(build: Builder, project: str, name: str, found: tuple[tuple[str, str, bool], ...], hours: int) -> None:
    vulnerabilities = []
    for number, (cve, severity, fixable) in enumerate(found):
        item = {"installedInventoryItemId": "installedPackage-libpam0g:amd64:1.5.2-6+deb12u1"}
        if fixable:
            item["availableInventoryItemId"] = f"availablePackage-libpam0g:amd64:{number}"
            item["fixedCpeUri"] = "cpe:/o:debian:debian_linux:12"
        vulnerabilities.append(
            {
                "details": {
                    "cve": cve,
                    "cvssV3": {"baseScore": SCORES[severity], "attackVector": "ATTACK_VECTOR_LOCAL"},
                    "severity": severity,
                    "description": "as the distribution describes it",
                    "references": [{"url": f"https://security-tracker.debian.org/tracker/{cve}", "source": "DEBIAN"}],
                },
                "items": [item],
                "createTime": build.ago(45),
                "updateTime": build.ago(45),
            }
        )
    worst = [severity for severity in SCORES if any(each == severity and fix for _, each, fix in found)]
    data: dict[str, Any] = {"name": name, "updateTime": f"@-{hours}h"}
    if vulnerabilities:
        data["vulnerabilities"] = vulnerabilities
    data["highestUpgradableCveSeverity"] = worst[-1] if worst else "NONE"
    build.asset("osconfig.googleapis.com/VulnerabilityReport", name, project, data, location=ZONE)
