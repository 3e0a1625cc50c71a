"""The seeded data of acme: keys, buckets, datasets, databases, clusters and image repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.demo.gcp.estate_machines import REGION, ZONE, key_of
from collector.demo.gcp.world import PROJECTS

if TYPE_CHECKING:
    from collector.demo.gcp.estate import Builder


def add_data(build: Builder) -> None:
    for project in PROJECTS:
        _add_key(build, project, "disks", "ENCRYPT_DECRYPT", 90 if project != "acme-sandbox" else None)
    for copy in build.copies():
        _add_key(build, "acme-data", f"archive{copy}", "ENCRYPT_DECRYPT", 365 * 3)
        _add_key(build, "acme-prod", f"signing{copy}", "ASYMMETRIC_SIGN", None)
        _add_bucket(build, "acme-prod", f"acme-prod-assets{copy}", key_of("acme-prod"))
        _add_bucket(build, "acme-data", f"acme-data-lake{copy}", key_of("acme-data"))
        _add_bucket(build, "acme-data", f"acme-data-exports{copy}", "")
        _add_bucket(build, "acme-sandbox", f"acme-sandbox-tmp{copy}", "")
        suffix = copy.replace("-", "_")
        _add_dataset(build, "acme-data", f"billing{suffix}", key_of("acme-data"))
        _add_dataset(build, "acme-data", f"events{suffix}", "")
        _add_dataset(build, "acme-sandbox", f"trials{suffix}", "")
        _add_databases(build, copy)
        _add_clusters(build, copy)
        _add_repository(build, "acme-prod", f"images{copy}", None)
        _add_repository(build, "acme-sandbox", f"images{copy}", "DISABLED")


def _add_key(build: Builder, project: str, name: str, purpose: str, days: int | None) -> None:
    path = key_of(project, name)
    algorithm = "GOOGLE_SYMMETRIC_ENCRYPTION" if purpose == "ENCRYPT_DECRYPT" else "EC_SIGN_P256_SHA256"
    data: dict[str, Any] = {
        "name": path,
        "purpose": purpose,
        "createTime": build.ago(800),
        "versionTemplate": {"protectionLevel": "SOFTWARE", "algorithm": algorithm},
        "destroyScheduledDuration": "2592000s",
    }
    if purpose == "ENCRYPT_DECRYPT":
        made = f"@last{days}d" if days == 90 else build.ago(800)
        data["primary"] = {
            "name": f"{path}/cryptoKeyVersions/1",
            "state": "ENABLED",
            "protectionLevel": "SOFTWARE",
            "algorithm": algorithm,
            "createTime": made,
            "generateTime": made,
        }
    if days is not None:
        data |= {"rotationPeriod": f"{days * 86_400}s", "nextRotationTime": f"@next{days}d"}
    ring = f"projects/{project}/locations/{REGION}/keyRings/main"
    parent = f"//cloudkms.googleapis.com/{ring}"
    if name == "disks":
        head = {"name": ring, "createTime": build.ago(800)}
        build.asset("cloudkms.googleapis.com/KeyRing", ring, project, head, location=REGION)
    build.asset("cloudkms.googleapis.com/CryptoKey", path, project, data, location=REGION, parent=parent)


def _add_bucket(build: Builder, project: str, name: str, key: str) -> None:
    # The inventory writes unset objects as {}, and the project's number as a number.
    data = {
        "acl": [],
        "billing": {},
        "cors": [],
        "defaultObjectAcl": [],
        "encryption": {"defaultKmsKeyName": key} if key else {},
        "etag": "CAE=",
        "iamConfiguration": {
            "bucketPolicyOnly": {"enabled": True},
            "uniformBucketLevelAccess": {"enabled": True},
            "publicAccessPrevention": "enforced",
        },
        "id": name,
        "kind": "storage#bucket",
        "labels": {},
        "lifecycle": {"rule": []},
        "location": REGION.upper(),
        "locationType": "region",
        "logging": {},
        "metageneration": 3,
        "name": name,
        "owner": {},
        "projectNumber": int(PROJECTS[project]),
        "retentionPolicy": {},
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}",
        "softDeletePolicy": {"effectiveTime": build.ago(600), "retentionDurationSeconds": "604800"},
        "storageClass": "STANDARD",
        "timeCreated": build.ago(600),
        "updated": build.ago(100),
        "versioning": {},
        "website": {},
    }
    build.asset("storage.googleapis.com/Bucket", name, project, data, location=REGION)


def _add_dataset(build: Builder, project: str, name: str, key: str) -> None:
    made = str(int(build.begun.timestamp() - 500 * 86_400) * 1000)
    data: dict[str, Any] = {
        "kind": "bigquery#dataset",
        "id": f"{project}:{name}",
        "datasetReference": {"datasetId": name, "projectId": project},
        "creationTime": made,
        "lastModifiedTime": made,
        "location": "US",
    }
    if key:
        data["defaultEncryptionConfiguration"] = {"kmsKeyName": key}
    build.asset("bigquery.googleapis.com/Dataset", f"projects/{project}/datasets/{name}", project, data, location="us")


def _add_databases(build: Builder, copy: str) -> None:
    window = {"kind": "sql#maintenanceWindow", "day": 7, "hour": 3, "updateTrack": "stable"}
    unset = {"kind": "sql#maintenanceWindow", "day": 0, "hour": 0}
    only = {"sslMode": "ENCRYPTED_ONLY", "requireSsl": False}
    both = {"sslMode": "ALLOW_UNENCRYPTED_AND_ENCRYPTED", "requireSsl": False}
    strict = {"sslMode": "TRUSTED_CLIENT_CERTIFICATE_REQUIRED", "requireSsl": True}
    legacy = {"requireSsl": True}  # of an instance that nobody has changed since sslMode came
    newer = ["POSTGRES_15_13.R20260101.01_00"]
    for project, name, version, tls, key, maintenance, available in (
        ("acme-prod", "orders", "POSTGRES_15", strict, key_of("acme-prod"), window, []),
        ("acme-prod", "accounts", "MYSQL_8_0", only, "", window, []),
        ("acme-data", "reporting", "POSTGRES_15", legacy, key_of("acme-data"), unset, newer),
        ("acme-sandbox", "play", "MYSQL_8_0", both, "", None, newer),
        ("acme-sandbox", "wiki", "POSTGRES_15", {}, "", unset, []),
    ):
        _add_database(build, project, f"{name}{copy}", version, tls, key, maintenance, available)


def _add_database(
    build: Builder,
    project: str,
    name: str,
    version: str,
    tls: dict[str, Any],
    key: str,
    window: dict[str, Any] | None,
    available: list[str],
) -> None:
    settings: dict[str, Any] = {
        "kind": "sql#settings",
        "settingsVersion": "7",
        "tier": "db-custom-2-7680",
        "edition": "ENTERPRISE",
        "availabilityType": "REGIONAL",
        "activationPolicy": "ALWAYS",
        "pricingPlan": "PER_USE",
        "dataDiskSizeGb": "50",
        "dataDiskType": "PD_SSD",
        "storageAutoResize": True,
        "backupConfiguration": {"kind": "sql#backupConfiguration", "enabled": True, "startTime": "04:00"},
        "ipConfiguration": {"ipv4Enabled": False, "privateNetwork": f"projects/{project}/global/networks/main", **tls},
        "locationPreference": {"kind": "sql#locationPreference", "zone": ZONE},
    }
    if window is not None:
        settings["maintenanceWindow"] = window
    data: dict[str, Any] = {
        "kind": "sql#instance",
        "name": name,
        "project": project,
        "region": REGION,
        "gceZone": ZONE,
        "state": "RUNNABLE",
        "databaseVersion": version,
        "databaseInstalledVersion": f"{version}_13" if version.startswith("POSTGRES") else f"{version}_41",
        "backendType": "SECOND_GEN",
        "instanceType": "CLOUD_SQL_INSTANCE",
        "connectionName": f"{project}:{REGION}:{name}",
        "createTime": build.ago(500),
        "etag": build.hex(64),
        "selfLink": f"https://sqladmin.googleapis.com/sql/v1beta4/projects/{project}/instances/{name}",
        "serviceAccountEmailAddress": f"p{PROJECTS[project]}-{build.hex(6)}@gcp-sa-cloud-sql.iam.gserviceaccount.com",
        "ipAddresses": [{"type": "PRIVATE", "ipAddress": f"10.20.0.{build.random.randrange(2, 250)}"}],
        "maintenanceVersion": f"{version}_13.R20250801.00_20",
        "settings": settings,
    }
    if available:
        data["availableMaintenanceVersions"] = available
    if key:
        data["diskEncryptionConfiguration"] = {"kind": "sql#diskEncryptionConfiguration", "kmsKeyName": key}
    build.asset(
        "sqladmin.googleapis.com/Instance",
        "",
        project,
        data,
        location=REGION,
        name=f"//cloudsql.googleapis.com/projects/{project}/instances/{name}",
        discovery="DatabaseInstance",
    )


def _add_clusters(build: Builder, copy: str) -> None:
    sealed = {
        "state": "ENCRYPTED",
        "keyName": key_of("acme-prod"),
        "currentState": "CURRENT_STATE_ENCRYPTED",
    }
    open_ = {"state": "DECRYPTED", "currentState": "CURRENT_STATE_DECRYPTED"}
    full = {"autoUpgrade": True, "autoRepair": True}
    # project, name, place, secrets, channel, [(pool, management)], autopilot. Absent members are false: proto3.
    _add_cluster(
        build,
        "acme-prod",
        f"apps{copy}",
        f"locations/{REGION}",
        sealed,
        "REGULAR",
        [("default", full), ("batch", full)],
        False,
    )
    _add_cluster(build, "acme-prod", f"auto{copy}", f"locations/{REGION}", open_, "STABLE", [("default", full)], True)
    _add_cluster(
        build,
        "acme-sandbox",
        f"lab{copy}",
        f"zones/{ZONE}",
        open_,
        "",
        [("default", {"autoRepair": True}), ("gpu", {})],
        False,
    )


def _add_cluster(
    build: Builder,
    project: str,
    name: str,
    place: str,
    secrets: dict[str, Any],
    channel: str,
    pools: list[tuple[str, dict[str, Any]]],
    autopilot: bool,
) -> None:
    location = place.partition("/")[2]
    version = "1.32.4-gke.1415000"
    link = f"https://container.googleapis.com/v1/projects/{project}/{place}/clusters/{name}"
    nodes = [
        {
            "name": pool,
            "config": {
                "machineType": "e2-standard-4",
                "diskSizeGb": 100,
                "diskType": "pd-balanced",
                "imageType": "COS_CONTAINERD",
                "serviceAccount": f"batch@{project}.iam.gserviceaccount.com",
                "shieldedInstanceConfig": {"enableIntegrityMonitoring": True},
            },
            "initialNodeCount": 1,
            "locations": [ZONE],
            "management": management,
            "maxPodsConstraint": {"maxPodsPerNode": "110"},
            "podIpv4CidrSize": 24,
            "selfLink": f"{link}/nodePools/{pool}",
            "status": "RUNNING",
            "upgradeSettings": {"maxSurge": 1, "strategy": "SURGE"},
            "version": version,
            "etag": build.hex(36),
        }
        for pool, management in pools
    ]
    data: dict[str, Any] = {
        "id": build.hex(64),
        "name": name,
        "location": location,
        "locations": [ZONE],
        "zone": location,
        "status": "RUNNING",
        "createTime": "2024-03-06T06:14:36+00:00",
        "currentMasterVersion": version,
        "currentNodeVersion": version,
        "currentNodeCount": len(pools),
        "initialClusterVersion": "1.28.7-gke.1026000",
        "databaseEncryption": secrets,
        "releaseChannel": {"channel": channel} if channel else {},
        "network": "main",
        "subnetwork": "apps",
        "networkConfig": {
            "network": f"projects/{project}/global/networks/main",
            "subnetwork": f"projects/{project}/regions/{REGION}/subnetworks/apps",
        },
        "networkPolicy": {},
        "legacyAbac": {},
        "masterAuthorizedNetworksConfig": {},
        "maintenancePolicy": {"resourceVersion": build.hex(8)},
        "loggingService": "logging.googleapis.com/kubernetes",
        "monitoringService": "monitoring.googleapis.com/kubernetes",
        "shieldedNodes": {"enabled": True},
        "workloadIdentityConfig": {"workloadPool": f"{project}.svc.id.goog"},
        "nodePools": nodes,
        "selfLink": link,
        "etag": build.hex(36),
    }
    if autopilot:
        data["autopilot"] = {"enabled": True}
    path = f"projects/{project}/{place}/clusters/{name}"
    full = build.asset("container.googleapis.com/Cluster", path, project, data, location=location)
    for node in nodes:
        build.asset(
            "container.googleapis.com/NodePool",
            f"{path}/nodePools/{node['name']}",
            project,
            node,
            location=location,
            parent=full,
        )


def _add_repository(build: Builder, project: str, name: str, scanning: str | None) -> None:
    path = f"projects/{project}/locations/{REGION}/repositories/{name}"
    state = {"enablementState": "SCANNING_ACTIVE"}
    if scanning == "DISABLED":
        state = {"enablementConfig": "DISABLED", "enablementState": "SCANNING_DISABLED"}
    data = {
        "name": path,
        "format": "DOCKER",
        "mode": "STANDARD_REPOSITORY",
        "createTime": build.ago(400),
        "updateTime": build.ago(30),
        "sizeBytes": "104857600",
        "vulnerabilityScanningConfig": state,
        "registryUri": f"{REGION}-docker.pkg.dev/{project}/{name}",
    }
    build.asset("artifactregistry.googleapis.com/Repository", path, project, data, location=REGION)
