"""The seeded Google organisation has a good and a bad subject for every check, and the checks say so themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

import pytest

import checks
from collector import registry
from collector.clouds.directory import Directory, Limits
from collector.clouds.transcript import Transcript
from collector.collect import Task, collect
from collector.config import GoogleOrganization
from collector.demo.gcp.bed import GcpBed
from collector.demo.gcp.world import DELEGATED_SCOPES, IAM_PERMISSIONS, PROJECTS
from collector.demo.proxy import Proxy
from collector.model import CheckRun

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
CHECKS = [item.check for item in registry.load([checks]) if item.check.cloud == "gcp"]
Question = Callable[[dict[str, Any]], bool]

needs_checks = pytest.mark.skipif(
    not CHECKS or find_spec("collector.clouds.gcp") is None,
    reason="no checks of Google Cloud, or no handle to run them with, in this version",
)


# --- what the estate holds, read without any check ---


def at(body: dict[str, Any], path: str, default: Any = None) -> Any:
    value: Any = body
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return default
        value = value[part]
    return value


def key(path: str) -> Question:
    return lambda data: bool(at(data, path))


CONCERNS: dict[str, tuple[str, Question]] = {
    "user enrolled in 2SV": ("admin#directory#user", lambda d: d["isEnrolledIn2Sv"]),
    "user enforced to 2SV": ("admin#directory#user", lambda d: d["isEnforcedIn2Sv"]),
    "key of a service account is young": (
        "iam.googleapis.com/ServiceAccountKey",
        lambda d: d["validAfterTime"] > "2025-10",
    ),
    "log bucket locked": ("logging.googleapis.com/LogBucket", lambda d: bool(d.get("locked"))),
    "subnet logs flows": ("compute.googleapis.com/Subnetwork", lambda d: at(d, "logConfig.enable", False)),
    "alert policy has a channel": ("monitoring.googleapis.com/AlertPolicy", key("notificationChannels")),
    "channel enabled": ("monitoring.googleapis.com/NotificationChannel", key("enabled")),
    "disk key": ("compute.googleapis.com/Disk", key("diskEncryptionKey")),
    "bucket key": ("storage.googleapis.com/Bucket", key("encryption.defaultKmsKeyName")),
    "dataset key": ("bigquery.googleapis.com/Dataset", key("defaultEncryptionConfiguration.kmsKeyName")),
    "database key": ("sqladmin.googleapis.com/Instance", key("diskEncryptionConfiguration.kmsKeyName")),
    "cluster secrets key": (
        "container.googleapis.com/Cluster",
        lambda d: d["databaseEncryption"]["state"] == "ENCRYPTED",
    ),
    "key rotates": ("cloudkms.googleapis.com/CryptoKey", key("rotationPeriod")),
    "HTTPS proxy has a policy": ("compute.googleapis.com/TargetHttpsProxy", key("sslPolicy")),
    "SSL proxy has a policy": ("compute.googleapis.com/TargetSslProxy", key("sslPolicy")),
    "TLS policy is modern": ("compute.googleapis.com/SslPolicy", lambda d: d["minTlsVersion"] == "TLS_1_2"),
    "database wants TLS": (
        "sqladmin.googleapis.com/Instance",
        lambda d: at(d, "settings.ipConfiguration.sslMode") in STRICT,
    ),
    "certificate lasts": ("compute.googleapis.com/SslCertificate", lambda d: d.get("expireTime", "9") > "2026-03"),
    "URL map redirects": ("compute.googleapis.com/UrlMap", key("defaultUrlRedirect.httpsRedirect")),
    "cluster has a channel": ("container.googleapis.com/Cluster", key("releaseChannel.channel")),
    "nodes upgrade": ("container.googleapis.com/NodePool", key("management.autoUpgrade")),
    "repository is scanned": (
        "artifactregistry.googleapis.com/Repository",
        lambda d: d["vulnerabilityScanningConfig"]["enablementState"] == "SCANNING_ACTIVE",
    ),
    "database has a window": (
        "sqladmin.googleapis.com/Instance",
        lambda d: at(d, "settings.maintenanceWindow.day", 0) > 0,
    ),
    "machine has a worst CVE": (
        "osconfig.googleapis.com/VulnerabilityReport",
        lambda d: d["highestUpgradableCveSeverity"] in ("HIGH", "CRITICAL"),
    ),
}
STRICT = ("ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED")


@pytest.fixture(scope="module")
def estate() -> GcpBed:
    return GcpBed(seed=7, scale=1, clock=lambda: NOW)


@pytest.mark.parametrize("concern", CONCERNS)
def test_the_estate_holds_good_and_bad(estate: GcpBed, concern: str) -> None:
    kind, question = CONCERNS[concern]
    bodies = [estate.show(id) for id in estate.resources(kind)]
    answers = {bool(question(at(body, "resource.data", body))) for body in bodies}
    assert answers == {True, False}


def test_running_machines_have_a_fresh_a_stale_or_no_inventory(estate: GcpBed) -> None:
    machines = [estate.show(id) for id in estate.resources("compute.googleapis.com/Instance")]
    running = [m for m in machines if m["resource"]["data"]["status"] == "RUNNING"]
    assert len(running) < len(machines)
    ages = Counter(at(m, "osInventory.updateTime", "none") >= "2026" for m in running if "osInventory" in m)
    assert ages.keys() == {True, False}
    assert sum(ages.values()) < len(running)


def test_audit_logs_are_whole_in_one_project_only(estate: GcpBed) -> None:
    """The folder writes everything down; one project exempts a user, and one stands outside with a part of it."""
    name = "//cloudresourcemanager.googleapis.com/{}"
    folder = estate.show(name.format("folders/845720196331"))["iamPolicy"]["auditConfigs"]
    assert [config["service"] for config in folder] == ["allServices"]
    own = {p: estate.show(name.format(f"projects/{n}"))["iamPolicy"].get("auditConfigs") for p, n in PROJECTS.items()}
    assert own["acme-prod"] is None
    assert own["acme-data"][0]["auditLogConfigs"][0]["exemptedMembers"]
    assert own["acme-sandbox"][0]["service"] == "storage.googleapis.com"


# --- what the checks say of it ---


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[CheckRun]:
    """Every check of Google Cloud over every project, through the proxy, without a fault."""
    folder = tmp_path_factory.mktemp("gcp")
    bed = GcpBed(seed=7, scale=1, clock=lambda: NOW)
    proxy = Proxy("|".join(bed.hosts), bed.handle, folder)
    local = "127.0.0.1,localhost"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bed.credentials(folder).items():
            patch.setenv(name, value)
        for name in ("HTTPS_PROXY", "https_proxy"):
            patch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, local)
        patch.setenv("REQUESTS_CA_BUNDLE", str(proxy.bundle))
        account = GoogleOrganization(parent="organizations/461203958147", workspace_admin=bed.administrator)
        handle = Directory(lambda: NOW, Limits(patience_seconds=20)).open(account, Transcript(), NOW)
        tasks = [
            Task(check, replace(account.scope, part=part), handle.within(part) if part else handle)
            for check in CHECKS
            for part in (handle.parts() if check.parted else [""])
        ]
        found = collect(tasks, lambda: NOW)
    proxy.close()
    assert bed.unserved() == []
    return found


@needs_checks
@pytest.mark.parametrize("id", [check.id for check in CHECKS])
def test_each_check_finds_a_subject_as_it_should_be_and_one_as_it_should_not(runs: list[CheckRun], id: str) -> None:
    own = [run for run in runs if run.check == id]
    states: Counter[str] = Counter()
    for run in own:
        assert run.population is not None, run.reason
        states.update(observation.verdict.state.value for observation in run.observations)
    assert states["undetermined"] == 0, [o.verdict.reason for run in own for o in run.observations]
    assert states["satisfied"], states
    assert states["not-satisfied"], states


@needs_checks
def test_the_collector_holds_what_the_checks_declare_and_what_it_needs_itself() -> None:
    from collector.policy import gcp

    assert set(gcp.permissions(CHECKS)) <= IAM_PERMISSIONS
    assert set(gcp.scopes(CHECKS)) <= DELEGATED_SCOPES
    bed = GcpBed(seed=7, scale=1, clock=lambda: NOW)
    assert {f"api:{api}" for api in gcp.apis(CHECKS)} <= set(bed.permissions())
