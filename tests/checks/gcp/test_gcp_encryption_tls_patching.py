"""The Google checks of encryption, TLS and patching against answers as Google gives them, the awkward ones first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from checks.gcp import (
    encryption_bigquery_dataset_key,
    encryption_bucket_key,
    encryption_disk_key,
    encryption_gke_secrets_key,
    encryption_kms_rotation,
    encryption_sql_key,
    patching_container_scanning,
    patching_gke_node_upgrade,
    patching_gke_release_channel,
    patching_instance_inventory,
    patching_instance_vulnerabilities,
    patching_sql_maintenance,
    tls_certificate_expiry,
    tls_http_redirect,
    tls_proxy_ssl_policy,
    tls_sql_connections,
)
from collector.check import AnyCheck, limits_with
from collector.clouds.gcp import Organization
from collector.clouds.transcript import Transcript
from collector.collect import Task, run
from collector.errors import Denied, Disabled, Unreadable
from collector.model import CheckRun, Scope, State

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SATISFIED, NOT_SATISFIED, NOT_APPLICABLE, UNDETERMINED = State
NUMBER, PROJECT, TOP = "100000000001", "acme-prod", "organizations/461203958147"
COMPUTE = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}"
OWN = f"//compute.googleapis.com/projects/{PROJECT}"
KEY = f"projects/{PROJECT}/locations/us-central1/keyRings/main/cryptoKeys/disks"

DISK, REGION_DISK = "compute.googleapis.com/Disk", "compute.googleapis.com/RegionDisk"
BUCKET, DATASET = "storage.googleapis.com/Bucket", "bigquery.googleapis.com/Dataset"
SQL, CRYPTO_KEY = "sqladmin.googleapis.com/Instance", "cloudkms.googleapis.com/CryptoKey"
CLUSTER, NODE_POOL = "container.googleapis.com/Cluster", "container.googleapis.com/NodePool"
HTTPS, SSL, HTTP = (f"compute.googleapis.com/Target{kind}Proxy" for kind in ("Https", "Ssl", "Http"))
POLICY, URL_MAP = "compute.googleapis.com/SslPolicy", "compute.googleapis.com/UrlMap"
CERTIFICATE, MANAGED = "compute.googleapis.com/SslCertificate", "certificatemanager.googleapis.com/Certificate"
MACHINE = "compute.googleapis.com/Instance"
REPOSITORY, SERVICE = "artifactregistry.googleapis.com/Repository", "serviceusage.googleapis.com/Service"

Body = dict[str, Any]


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat().replace("+00:00", "Z")


class Fake(Organization):
    """A project that knows ``assets``, ``inventories`` and ``pages`` by path; what it does not know is an error."""

    def __init__(
        self,
        assets: Sequence[Body] = (),
        inventories: Sequence[Body] | Exception = (),
        pages: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(TOP, Transcript(), NOW, project=PROJECT)
        self.known, self.inventories, self.pages = assets, inventories, pages or {}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def assets(self, type: str) -> list[dict[str, Any]]:
        return [asset for asset in self.known if asset["assetType"] == type]

    def os_inventories(self) -> list[dict[str, Any]]:
        if isinstance(self.inventories, Exception):
            raise self.inventories
        return list(self.inventories)

    def each(
        self, host: str, path: str, items: str, *, absent: tuple[str, ...] = (), **query: Any
    ) -> list[dict[str, Any]]:
        self.asked.append((host, path, query))
        if path not in self.pages:
            raise Unreadable(f"404 NOT_FOUND: {path}")
        if isinstance(self.pages[path], Exception):
            raise self.pages[path]
        return [item for page in self.pages[path] for item in page.get(items, [])]


def looked(check: AnyCheck, gcp: Fake, **limits: int) -> CheckRun:
    with ThreadPoolExecutor(4) as pool:
        task = Task(check, Scope("gcp", gcp.organization, PROJECT), gcp, limits_with(check, limits))
        return run(task, lambda: NOW, pool)


def states(check: AnyCheck, gcp: Fake, **limits: int) -> dict[str, State]:
    found = looked(check, gcp, **limits)
    assert found.population is not None, found.reason
    return {o.subject.rsplit("/", 1)[-1]: o.verdict.state for o in found.observations}


def asset(type: str, path: str, data: Body | None) -> Body:
    """An asset as Cloud Asset Inventory lists it with RESOURCE content."""
    service, _, noun = type.partition("/")
    service = "cloudsql.googleapis.com" if type == SQL else service
    return {
        "name": f"//{service}/{path}",
        "assetType": type,
        "resource": {"version": "v1", "discoveryName": noun, "data": data, "location": "global"},
        "ancestors": [f"projects/{NUMBER}", "folders/845720196331", TOP],
        "updateTime": ago(20),
    }


def state(check: AnyCheck, type: str, data: Body | None, *around: Body, **limits: int) -> State:
    """What is said of one asset, with others around it."""
    return states(check, Fake([asset(type, f"projects/{PROJECT}/one", data), *around]), **limits)["one"]


# --- who holds the key ---


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"diskEncryptionKey": {"kmsKeyName": f"{KEY}/cryptoKeyVersions/1"}}, SATISFIED),
        ({"diskEncryptionKey": {"kmsKeyName": KEY, "kmsKeyServiceAccount": "x@y.example"}}, SATISFIED),
        ({"diskEncryptionKey": {"sha256": "esTuF7d4eatX4cnc4JsiEiaI+Rff78JgPhA/v1zxX9E="}}, SATISFIED),
        ({}, NOT_SATISFIED),
        ({"diskEncryptionKey": {}}, NOT_SATISFIED),
        ({"diskEncryptionKey": {"kmsKeyServiceAccount": "x@y.example"}}, UNDETERMINED),
        ({"diskEncryptionKey": {"kmsKeyName": 7}}, UNDETERMINED),
        ({"diskEncryptionKey": "yes"}, UNDETERMINED),
    ],
)
@pytest.mark.parametrize("type", [DISK, REGION_DISK])
def test_a_disk_is_encrypted_under_the_key_it_names(members: Body, expected: State, type: str) -> None:
    data = {"name": "one", "status": "READY", "sizeGb": "50", **members}
    assert state(encryption_disk_key.CHECK, type, data) is expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"encryption": {"defaultKmsKeyName": KEY}}, SATISFIED),
        ({"encryption": {}}, NOT_SATISFIED),
        ({}, NOT_SATISFIED),
        (
            {"encryption": {"googleManagedEncryptionEnforcementConfig": {"restrictionMode": "NotRestricted"}}},
            NOT_SATISFIED,
        ),
        ({"encryption": {"defaultKmsKeyName": ["a"]}}, UNDETERMINED),
        ({"encryption": True}, UNDETERMINED),
    ],
)
def test_a_bucket_has_the_key_that_new_objects_get(members: Body, expected: State) -> None:
    assert state(encryption_bucket_key.CHECK, BUCKET, {"kind": "storage#bucket", **members}) is expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"defaultEncryptionConfiguration": {"kmsKeyName": KEY}, "type": "DEFAULT"}, SATISFIED),
        ({"type": "DEFAULT"}, NOT_SATISFIED),
        ({"defaultEncryptionConfiguration": {}}, NOT_SATISFIED),
        ({"type": "LINKED", "linkedDatasetSource": {"sourceDataset": {"datasetId": "x"}}}, NOT_APPLICABLE),
        ({"defaultEncryptionConfiguration": {"kmsKeyName": 1}}, UNDETERMINED),
    ],
)
def test_a_dataset_has_the_key_that_new_tables_get(members: Body, expected: State) -> None:
    data = {"datasetReference": {"datasetId": "one", "projectId": PROJECT}, "location": "US", **members}
    assert state(encryption_bigquery_dataset_key.CHECK, DATASET, data) is expected


def database(**members: Any) -> Body:
    return {
        "kind": "sql#instance",
        "backendType": "SECOND_GEN",
        "instanceType": "CLOUD_SQL_INSTANCE",
        "state": "RUNNABLE",
        "maintenanceVersion": "POSTGRES_15_13.R20260726.00_36",
        "settings": {
            "ipConfiguration": {"ipv4Enabled": True, "sslMode": "ENCRYPTED_ONLY", "requireSsl": False},
            "maintenanceWindow": {"kind": "sql#maintenanceWindow", "day": 7, "hour": 3},
        },
        **members,
    }


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"diskEncryptionConfiguration": {"kmsKeyName": KEY}}, SATISFIED),
        ({"diskEncryptionConfiguration": {"kind": "sql#diskEncryptionConfiguration"}}, NOT_SATISFIED),
        ({}, NOT_SATISFIED),
        ({"instanceType": "READ_REPLICA_INSTANCE"}, NOT_SATISFIED),
        ({"instanceType": "READ_REPLICA_INSTANCE", "diskEncryptionConfiguration": {"kmsKeyName": KEY}}, SATISFIED),
        ({"instanceType": "ON_PREMISES_INSTANCE", "backendType": "EXTERNAL"}, NOT_APPLICABLE),
        ({"instanceType": "TOMORROWS", "diskEncryptionConfiguration": {"kmsKeyName": KEY}}, UNDETERMINED),
        ({"instanceType": None, "diskEncryptionConfiguration": {"kmsKeyName": KEY}}, UNDETERMINED),
    ],
)
def test_a_database_is_encrypted_under_the_key_it_names(members: Body, expected: State) -> None:
    assert state(encryption_sql_key.CHECK, SQL, database(**members)) is expected


@pytest.mark.parametrize(
    ("encryption", "expected"),
    [
        ({"state": "ENCRYPTED", "currentState": "CURRENT_STATE_ENCRYPTED", "keyName": KEY}, SATISFIED),
        (
            {
                "state": "ALL_OBJECTS_ENCRYPTION_ENABLED",
                "currentState": "CURRENT_STATE_ALL_OBJECTS_ENCRYPTION_ENABLED",
                "keyName": KEY,
            },
            SATISFIED,
        ),
        ({"state": "DECRYPTED"}, NOT_SATISFIED),
        ({"state": "DECRYPTED", "currentState": "CURRENT_STATE_DECRYPTION_PENDING", "keyName": KEY}, NOT_SATISFIED),
        ({"state": "ENCRYPTED", "currentState": "CURRENT_STATE_ENCRYPTION_PENDING", "keyName": KEY}, NOT_SATISFIED),
        ({"state": "ENCRYPTED", "currentState": "CURRENT_STATE_ENCRYPTION_ERROR", "keyName": KEY}, NOT_SATISFIED),
        ({"state": "ENCRYPTED", "currentState": "CURRENT_STATE_DECRYPTED", "keyName": KEY}, NOT_SATISFIED),
        ({"state": "ENCRYPTED", "currentState": "CURRENT_STATE_ENCRYPTED"}, UNDETERMINED),
        ({"state": "ENCRYPTED", "keyName": KEY}, UNDETERMINED),
        ({"state": "UNKNOWN"}, UNDETERMINED),
        ({}, UNDETERMINED),
        (None, UNDETERMINED),
    ],
)
def test_secrets_are_encrypted_when_wanted_done_and_under_a_key(encryption: Body | None, expected: State) -> None:
    data = {"name": "one", "status": "RUNNING", "databaseEncryption": encryption}
    assert state(encryption_gke_secrets_key.CHECK, CLUSTER, data) is expected


def crypto_key(**members: Any) -> Body:
    return {
        "name": KEY,
        "purpose": "ENCRYPT_DECRYPT",
        "primary": {"name": f"{KEY}/cryptoKeyVersions/1", "state": "ENABLED", "protectionLevel": "SOFTWARE"},
        "versionTemplate": {"algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION", "protectionLevel": "SOFTWARE"},
        "rotationPeriod": "7776000s",
        "nextRotationTime": ago(-60),
        **members,
    }


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, SATISFIED),
        ({"nextRotationTime": ago(0.2)}, SATISFIED),  # the inventory is a little behind
        ({"rotationPeriod": "86400.500s", "nextRotationTime": ago(-1)}, SATISFIED),
        ({"rotationPeriod": "7776001s"}, NOT_SATISFIED),
        ({"rotationPeriod": "31536000s"}, NOT_SATISFIED),
        ({"nextRotationTime": ago(-400)}, NOT_SATISFIED),  # the period counts from there only
        ({"rotationPeriod": None, "nextRotationTime": None}, NOT_SATISFIED),
        ({"rotationPeriod": None, "versionTemplate": {"protectionLevel": "HSM"}}, NOT_SATISFIED),
        ({"rotationPeriod": None, "versionTemplate": {"protectionLevel": "EXTERNAL_VPC"}}, NOT_SATISFIED),
        ({"rotationPeriod": None, "versionTemplate": {"protectionLevel": "EXTERNAL"}}, NOT_APPLICABLE),
        ({"rotationPeriod": None, "importOnly": True}, NOT_APPLICABLE),
        ({"rotationPeriod": None, "importOnly": "true", "primary": None}, NOT_APPLICABLE),
        *(
            ({"purpose": word, "primary": None, "rotationPeriod": None}, NOT_APPLICABLE)
            for word in ("MAC", "ASYMMETRIC_SIGN")
        ),
        *(({"primary": {"state": word}}, NOT_APPLICABLE) for word in ("DISABLED", "DESTROYED", "DESTROY_SCHEDULED")),
        ({"primary": {"state": "SLEEPING"}}, UNDETERMINED),
        ({"primary": {"name": "x"}}, UNDETERMINED),
        ({"purpose": None}, UNDETERMINED),
        ({"purpose": "TELEPATHY"}, UNDETERMINED),
        ({"nextRotationTime": None}, UNDETERMINED),
        ({"rotationPeriod": "90 days"}, UNDETERMINED),
        ({"rotationPeriod": 7776000}, UNDETERMINED),
        ({"versionTemplate": {"protectionLevel": "QUANTUM"}}, UNDETERMINED),
    ],
)
def test_a_key_rotates_when_google_can_and_does(members: Body, expected: State) -> None:
    data = {name: value for name, value in crypto_key(**members).items() if value is not None}
    assert state(encryption_kms_rotation.CHECK, CRYPTO_KEY, data) is expected


def test_the_limit_of_rotation_is_the_operators() -> None:
    yearly = crypto_key(rotationPeriod="31536000s", nextRotationTime=ago(-300))
    assert state(encryption_kms_rotation.CHECK, CRYPTO_KEY, yearly, rotation_days_max=365) is SATISFIED
    assert state(encryption_kms_rotation.CHECK, CRYPTO_KEY, crypto_key(), rotation_days_max=89) is NOT_SATISFIED


# --- what proxies take ---


def policy(profile: str | None, minimum: str | None, place: str = "global", **more: Any) -> Body:
    """As a listing has it: without enabledFeatures, which only a get of one policy gives."""
    data = {"kind": "compute#sslPolicy", "name": "p", "profile": profile, "minTlsVersion": minimum, **more}
    data = {name: value for name, value in data.items() if value is not None}
    return asset(POLICY, f"projects/{PROJECT}/{place}/sslPolicies/p", data)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (policy("MODERN", "TLS_1_2"), SATISFIED),
        (policy("RESTRICTED", "TLS_1_2"), SATISFIED),
        (policy("RESTRICTED", "TLS_1_0"), SATISFIED),  # its ciphers are of TLS 1.2
        (policy("RESTRICTED", "TLS_1_3"), SATISFIED),
        (policy("FIPS_202205", "TLS_1_2"), SATISFIED),
        (policy("CUSTOM", "TLS_1_2", customFeatures=["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]), SATISFIED),
        (policy("CUSTOM", "TLS_1_2", customFeatures=["TLS_RSA_WITH_AES_128_GCM_SHA256"]), NOT_SATISFIED),
        (policy("CUSTOM", "TLS_1_1", customFeatures=["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]), NOT_SATISFIED),
        (policy("COMPATIBLE", "TLS_1_2"), NOT_SATISFIED),
        (policy("COMPATIBLE", "TLS_1_0"), NOT_SATISFIED),
        (policy("MODERN", "TLS_1_0"), NOT_SATISFIED),
        (policy("MODERN", "TLS_1_1"), NOT_SATISFIED),
        (policy("CUSTOM", "TLS_1_2"), UNDETERMINED),
        (policy("CUSTOM", "TLS_1_2", customFeatures=[7]), UNDETERMINED),
        (policy("POST_MODERN", "TLS_1_2"), UNDETERMINED),
        (policy("MODERN", "TLS_2_0"), UNDETERMINED),
        (policy("MODERN", None), UNDETERMINED),
        (policy(None, "TLS_1_2"), UNDETERMINED),
    ],
)
@pytest.mark.parametrize("type", [HTTPS, SSL])
def test_a_proxy_takes_what_its_policy_says(found: Body, expected: State, type: str) -> None:
    proxy = {"name": "one", "sslPolicy": f"{COMPUTE}/global/sslPolicies/p"}
    assert state(tls_proxy_ssl_policy.CHECK, type, proxy, found) is expected


@pytest.mark.parametrize("type", [HTTPS, SSL])
def test_a_proxy_without_a_policy_takes_tls_1_0(type: str) -> None:
    found = looked(tls_proxy_ssl_policy.CHECK, Fake([asset(type, "one", {"name": "one"}), policy("MODERN", "TLS_1_2")]))
    assert [o.verdict.state for o in found.observations] == [NOT_SATISFIED]
    assert "TLS 1.0" in found.observations[0].verdict.reason


def test_a_regional_proxy_has_the_policy_of_its_region_and_an_unknown_one_is_no_answer() -> None:
    place = "regions/us-central1"
    around = [policy("MODERN", "TLS_1_2", place), policy("COMPATIBLE", "TLS_1_0")]
    for host in ("www.googleapis.com", "compute.googleapis.com"):
        link = f"https://{host}/compute/v1/projects/{PROJECT}"
        for link_place, expected in ((place, SATISFIED), ("global", NOT_SATISFIED), ("regions/x", UNDETERMINED)):
            proxy = {"name": "one", "sslPolicy": f"{link}/{link_place}/sslPolicies/p"}
            assert state(tls_proxy_ssl_policy.CHECK, HTTPS, proxy, *around) is expected


def test_a_proxy_of_a_mesh_follows_no_policy() -> None:
    assert state(tls_proxy_ssl_policy.CHECK, HTTPS, {"name": "one", "proxyBind": True}) is NOT_APPLICABLE
    assert state(tls_http_redirect.CHECK, HTTP, {"name": "one", "proxyBind": True}) is NOT_APPLICABLE
    assert state(tls_http_redirect.CHECK, HTTP, {"name": "one", "proxyBind": "perhaps"}) is UNDETERMINED


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"sslMode": "ENCRYPTED_ONLY", "requireSsl": False}, SATISFIED),
        ({"sslMode": "ENCRYPTED_ONLY"}, SATISFIED),
        ({"sslMode": "TRUSTED_CLIENT_CERTIFICATE_REQUIRED", "requireSsl": True}, SATISFIED),
        ({"requireSsl": True}, SATISFIED),
        ({"requireSsl": "true"}, SATISFIED),
        ({"sslMode": "ALLOW_UNENCRYPTED_AND_ENCRYPTED", "requireSsl": False}, NOT_SATISFIED),
        ({"sslMode": "ALLOW_UNENCRYPTED_AND_ENCRYPTED", "requireSsl": True}, NOT_SATISFIED),  # sslMode has priority
        ({"requireSsl": False}, NOT_SATISFIED),
        ({"ipv4Enabled": True}, NOT_SATISFIED),
        ({"sslMode": "SSL_MODE_UNSPECIFIED", "requireSsl": True}, UNDETERMINED),
        ({"sslMode": "MAYBE"}, UNDETERMINED),
        ({"requireSsl": "perhaps"}, UNDETERMINED),
        (None, UNDETERMINED),
    ],
)
@pytest.mark.parametrize("kind", ["CLOUD_SQL_INSTANCE", "READ_REPLICA_INSTANCE", "READ_POOL_INSTANCE"])
def test_a_database_takes_what_its_mode_says(found: Body | None, expected: State, kind: str) -> None:
    data = database(instanceType=kind, settings={"ipConfiguration": found} if found is not None else {})
    assert state(tls_sql_connections.CHECK, SQL, data) is expected


def test_a_database_elsewhere_is_not_ours_to_judge() -> None:
    data = {"kind": "sql#instance", "instanceType": "ON_PREMISES_INSTANCE", "backendType": "EXTERNAL"}
    assert state(tls_sql_connections.CHECK, SQL, data) is NOT_APPLICABLE
    assert state(patching_sql_maintenance.CHECK, SQL, data) is NOT_APPLICABLE


@pytest.mark.parametrize(
    ("type", "data", "expected"),
    [
        (CERTIFICATE, {"type": "SELF_MANAGED", "expireTime": ago(-31)}, SATISFIED),
        (CERTIFICATE, {"type": "SELF_MANAGED", "expireTime": "2027-03-01T00:00:00.000-08:00"}, SATISFIED),
        (CERTIFICATE, {"expireTime": ago(-31)}, SATISFIED),
        (CERTIFICATE, {"type": "SELF_MANAGED", "expireTime": ago(-29)}, NOT_SATISFIED),
        (CERTIFICATE, {"type": "SELF_MANAGED", "expireTime": ago(1)}, NOT_SATISFIED),
        (CERTIFICATE, {"type": "SELF_MANAGED"}, UNDETERMINED),
        (CERTIFICATE, {"type": "SELF_MANAGED", "expireTime": "soon"}, UNDETERMINED),
        (CERTIFICATE, {"certificate": "-----BEGIN CERTIFICATE-----"}, UNDETERMINED),  # as of 2019
        (CERTIFICATE, {"type": "MANAGED", "managed": {"status": "ACTIVE"}, "expireTime": ago(-20)}, SATISFIED),
        (CERTIFICATE, {"type": "MANAGED", "managed": {"status": "ACTIVE"}, "expireTime": ago(-9)}, NOT_SATISFIED),
        (CERTIFICATE, {"type": "MANAGED", "managed": {"status": "ACTIVE"}}, UNDETERMINED),
        (CERTIFICATE, {"type": "MANAGED", "managed": {"status": "PROVISIONING"}}, NOT_APPLICABLE),
        (CERTIFICATE, {"type": "MANAGED", "managed": {"status": "PROVISIONING_FAILED_PERMANENTLY"}}, NOT_APPLICABLE),
        (
            CERTIFICATE,
            {"type": "MANAGED", "managed": {"status": "RENEWAL_FAILED"}, "expireTime": ago(-25)},
            NOT_SATISFIED,
        ),
        (CERTIFICATE, {"type": "MANAGED", "managed": {"status": "FAILED"}, "expireTime": ago(-25)}, UNDETERMINED),
        (CERTIFICATE, {"type": "MANAGED", "expireTime": ago(-60)}, UNDETERMINED),
        (CERTIFICATE, {"type": "BORROWED", "expireTime": ago(-60)}, UNDETERMINED),
        (MANAGED, {"managed": {"state": "ACTIVE"}, "expireTime": ago(-20)}, SATISFIED),
        (MANAGED, {"managed": {"state": "PROVISIONING"}, "expireTime": ago(-20)}, SATISFIED),  # is being renewed
        (MANAGED, {"managed": {"state": "PROVISIONING"}, "expireTime": ago(-5)}, NOT_SATISFIED),
        (MANAGED, {"managed": {"state": "PROVISIONING"}}, NOT_APPLICABLE),
        (MANAGED, {"managed": {"state": "FAILED"}}, NOT_APPLICABLE),
        (MANAGED, {"managed": {"state": "FAILED"}, "expireTime": ago(-60)}, NOT_SATISFIED),
        (MANAGED, {"managedIdentity": {"state": "ACTIVE"}, "expireTime": ago(-20)}, SATISFIED),
        (MANAGED, {"selfManaged": {}, "expireTime": ago(-31)}, SATISFIED),
        (MANAGED, {"selfManaged": {}, "expireTime": ago(-20)}, NOT_SATISFIED),
        (MANAGED, {"selfManaged": {}}, UNDETERMINED),
        (MANAGED, {"managed": {"domains": ["acme.example"]}, "expireTime": ago(-60)}, UNDETERMINED),
        (MANAGED, {"managed": {"state": "STATE_UNSPECIFIED"}}, UNDETERMINED),
    ],
)
def test_a_certificate_lasts_or_is_renewed(type: str, data: Body, expected: State) -> None:
    assert state(tls_certificate_expiry.CHECK, type, data) is expected


def test_certificates_of_both_kinds_are_one_population() -> None:
    data = {"expireTime": ago(-40)}
    gcp = Fake(
        [asset(CERTIFICATE, "projects/p/global/sslCertificates/old", data), asset(MANAGED, "projects/p/new", data)]
    )
    assert states(tls_certificate_expiry.CHECK, gcp) == {"old": SATISFIED, "new": SATISFIED}
    assert states(tls_certificate_expiry.CHECK, gcp, days_left_min=41) == {"old": NOT_SATISFIED, "new": NOT_SATISFIED}


AWAY = {"httpsRedirect": True, "redirectResponseCode": "MOVED_PERMANENTLY_DEFAULT", "stripQuery": False}
STAYS = {"hostRedirect": "other.acme.example"}  # keeps the scheme of the request
SERVES = {"defaultService": f"{COMPUTE}/global/backendServices/web"}


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ({"defaultUrlRedirect": AWAY}, SATISFIED),
        ({"defaultUrlRedirect": {"httpsRedirect": "true"}}, SATISFIED),
        ({"defaultUrlRedirect": AWAY, "pathMatchers": [{"name": "m", "defaultUrlRedirect": AWAY}]}, SATISFIED),
        (
            {
                "defaultUrlRedirect": AWAY,
                "hostRules": [{"hosts": ["acme.example"], "pathMatcher": "m"}],
                "pathMatchers": [
                    {"name": "m", "defaultUrlRedirect": AWAY, "pathRules": [{"paths": ["/a"], "urlRedirect": AWAY}]},
                    {"name": "n", "defaultUrlRedirect": AWAY, "routeRules": [{"priority": 1, "urlRedirect": AWAY}]},
                ],
            },
            SATISFIED,
        ),
        ({}, NOT_SATISFIED),
        (SERVES, NOT_SATISFIED),
        ({"defaultUrlRedirect": STAYS}, NOT_SATISFIED),
        ({"defaultRouteAction": {"weightedBackendServices": []}}, NOT_SATISFIED),
        ({"defaultUrlRedirect": AWAY, "pathMatchers": [{"name": "m", **SERVES}]}, NOT_SATISFIED),
        ({"defaultUrlRedirect": AWAY, "pathMatcher": [{"name": "m", **SERVES}]}, NOT_SATISFIED),  # as of 2018
        (
            {
                "defaultUrlRedirect": AWAY,
                "pathMatchers": [
                    {"name": "m", "defaultUrlRedirect": AWAY, "pathRules": [{"paths": ["/a"], "service": "web"}]}
                ],
            },
            NOT_SATISFIED,
        ),
        (
            {
                "defaultUrlRedirect": AWAY,
                "pathMatchers": [{"name": "m", "defaultUrlRedirect": AWAY, "routeRules": [{"urlRedirect": STAYS}]}],
            },
            NOT_SATISFIED,
        ),
        ({"defaultUrlRedirect": {"httpsRedirect": "perhaps"}}, UNDETERMINED),
        ({"defaultUrlRedirect": True}, UNDETERMINED),
        ({"defaultUrlRedirect": AWAY, "pathMatchers": ["m"]}, UNDETERMINED),
    ],
)
@pytest.mark.parametrize("place", ["global", "regions/us-central1"])
def test_a_proxy_redirects_when_every_place_of_its_map_does(routes: Body, expected: State, place: str) -> None:
    around = asset(URL_MAP, f"projects/{PROJECT}/{place}/urlMaps/m", {"name": "m", **routes})
    proxy = {"name": "one", "urlMap": f"{COMPUTE}/{place}/urlMaps/m"}
    assert state(tls_http_redirect.CHECK, HTTP, proxy, around) is expected


def test_a_proxy_whose_map_is_not_known_is_no_answer_and_a_finding_names_the_places() -> None:
    proxy = {"name": "one", "urlMap": f"{COMPUTE}/global/urlMaps/m"}
    assert state(tls_http_redirect.CHECK, HTTP, proxy) is UNDETERMINED
    assert state(tls_http_redirect.CHECK, HTTP, {"name": "one"}) is UNDETERMINED
    routes = {"defaultUrlRedirect": AWAY, "pathMatchers": [{"name": "m", **SERVES, "pathRules": [{"service": "web"}]}]}
    around = asset(URL_MAP, f"projects/{PROJECT}/global/urlMaps/m", routes)
    (found,) = looked(tls_http_redirect.CHECK, Fake([asset(HTTP, "one", proxy), around])).observations
    assert found.verdict.reason.endswith("m default, m pathRules[0]")


# --- machines ---


def machine(name: str, status: str | None = "RUNNING", zone: str = "us-central1-a", id: str = "1") -> Body:
    data = {"kind": "compute#instance", "id": id, "name": name, "status": status, "zone": f"{COMPUTE}/zones/{zone}"}
    return asset(MACHINE, f"projects/{PROJECT}/zones/{zone}/instances/{name}", data)


def inventory(name: str, when: str | None) -> Body:
    body: Body = {"osInfo": {"shortName": "debian"}, "items": {}}
    if when is not None:
        body["updateTime"] = when
    return {"name": f"{OWN}/zones/us-central1-a/instances/{name}", "assetType": MACHINE, "osInventory": body}


def test_only_running_machines_need_an_inventory_and_a_recent_one() -> None:
    off = ("STAGING", "STOPPED", "SUSPENDED", "TERMINATED")
    machines = [machine(name) for name in ("fresh", "stale", "silent", "undated", "odd")]
    machines += [machine(word, word) for word in off] + [machine("new", "HIBERNATING"), machine("none", None)]
    inventories = [
        inventory("fresh", ago(6.9)),
        inventory("stale", ago(8.1)),
        inventory("undated", None),
        inventory("odd", "yesterday"),
        inventory("elsewhere", ago(1)),
        inventory("TERMINATED", ago(1)),
    ]
    gcp = Fake(machines, inventories)
    assert states(patching_instance_inventory.CHECK, gcp) == {
        "fresh": SATISFIED,
        "stale": NOT_SATISFIED,
        "silent": NOT_SATISFIED,
        "undated": UNDETERMINED,
        "odd": UNDETERMINED,
        **dict.fromkeys(off, NOT_APPLICABLE),
        "new": UNDETERMINED,
        "none": UNDETERMINED,
    }
    assert states(patching_instance_inventory.CHECK, gcp, inventory_age_days_max=9)["stale"] is SATISFIED


def test_inventories_that_may_not_be_read_make_no_machine_bad() -> None:
    gcp = Fake([machine("one"), machine("off", "TERMINATED")], Denied("403 cloudasset.assets.listOSInventories"))
    assert set(states(patching_instance_inventory.CHECK, gcp).values()) == {UNDETERMINED}


REPORTS = "/v1/projects/acme-prod/locations/{}/instances/-/vulnerabilityReports"


def report(id: str, worst: str | None, days: float = 1, zone: str = "us-central1-a", fix: bool | None = None) -> Body:
    """A report as OS Config lists it; ``fix`` says whether its one vulnerability has one, None that there is none."""
    body: Body = {"name": f"projects/{NUMBER}/locations/{zone}/instances/{id}/vulnerabilityReport"}
    body["updateTime"] = ago(days)
    if worst is not None:
        body["highestUpgradableCveSeverity"] = worst
    if fix is not None:
        item = {"installedInventoryItemId": "installedPackage-a"}
        item |= {"availableInventoryItemId": "availablePackage-a"} if fix else {}
        body["vulnerabilities"] = [{"details": {"cve": "CVE-2026-1", "severity": "HIGH"}, "items": [item]}]
    return body


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (report("1", "NONE"), SATISFIED),
        (report("1", None), SATISFIED),  # of nothing found, and zeros are left out
        (report("1", None, fix=False), SATISFIED),  # nothing that can be mended
        (report("1", "NONE", fix=False), SATISFIED),
        (report("1", "MEDIUM", fix=True), SATISFIED),
        (report("1", "HIGH", fix=True), NOT_SATISFIED),
        (report("1", "CRITICAL", fix=True), NOT_SATISFIED),
        (report("1", "HIGH"), NOT_SATISFIED),
        (report("1", "NONE", days=31), NOT_SATISFIED),
        (report("11", "NONE"), NOT_SATISFIED),  # of another machine
        (report("1", "NONE", zone="us-east1-b"), NOT_SATISFIED),
        (report("1", None, fix=True), UNDETERMINED),
        (report("1", "TERRIBLE", fix=True), UNDETERMINED),
        (report("1", "VULNERABILITY_SEVERITY_LEVEL_UNSPECIFIED"), UNDETERMINED),
        ({**report("1", "NONE"), "updateTime": None}, UNDETERMINED),
        ({**report("1", None), "vulnerabilities": [{"details": {}}]}, UNDETERMINED),
    ],
)
def test_a_running_machine_is_judged_by_its_own_report(found: Body, expected: State) -> None:
    pages = {
        REPORTS.format("us-central1-a"): [
            {},
            {"vulnerabilityReports": [report("2", "NONE")]},
            {"vulnerabilityReports": [found]},
        ]
    }
    assert states(patching_instance_vulnerabilities.CHECK, Fake([machine("one")], (), pages))["one"] is expected


def test_each_zone_is_asked_where_a_machine_runs_and_one_refusal_leaves_the_others() -> None:
    machines = [
        machine("a", zone="us-central1-a", id="1"),
        machine("b", zone="us-east1-b", id="2"),
        machine("c", zone="europe-west1-c", id="3", status="TERMINATED"),
        machine("d", zone="europe-west1-d", id="4"),
        machine("e", zone="us-central1-a", id="many"),
    ]
    pages = {
        REPORTS.format("us-central1-a"): [{"vulnerabilityReports": [report("1", "LOW", fix=True)]}],
        REPORTS.format("us-east1-b"): Denied("403 osconfig.vulnerabilityReports.list"),
        REPORTS.format("europe-west1-d"): Disabled("osconfig.googleapis.com is not enabled"),
    }
    gcp = Fake(machines, (), pages)
    assert states(patching_instance_vulnerabilities.CHECK, gcp) == {
        "a": SATISFIED,
        "b": UNDETERMINED,
        "c": NOT_APPLICABLE,
        "d": UNDETERMINED,
        "e": UNDETERMINED,
    }
    assert {(host, path) for host, path, _ in gcp.asked} == {("osconfig.googleapis.com", path) for path in pages}


# --- clusters and images ---


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        *(({"releaseChannel": {"channel": word}}, SATISFIED) for word in ("RAPID", "REGULAR", "STABLE", "EXTENDED")),
        ({"autopilot": {"enabled": True}, "releaseChannel": {"channel": "REGULAR"}}, SATISFIED),
        ({"autopilot": {"enabled": True}}, SATISFIED),
        ({"autopilot": {}, "releaseChannel": {}}, NOT_SATISFIED),
        ({"releaseChannel": {"channel": "UNSPECIFIED"}}, NOT_SATISFIED),
        ({}, NOT_SATISFIED),
        ({"releaseChannel": {"channel": "NIGHTLY"}}, UNDETERMINED),
        ({"autopilot": {"enabled": "perhaps"}, "releaseChannel": {"channel": "REGULAR"}}, UNDETERMINED),
    ],
)
def test_a_cluster_is_in_a_channel_or_of_autopilot(members: Body, expected: State) -> None:
    assert state(patching_gke_release_channel.CHECK, CLUSTER, {"status": "RUNNING", **members}) is expected


def pools(cluster: Body, *own: Body) -> dict[str, State]:
    """What is said of the pools that a cluster names and of those that the inventory has beside it."""
    path = f"projects/{PROJECT}/zones/us-central1-a/clusters/c"
    beside = [asset(NODE_POOL, f"{path}/nodePools/{pool['name']}", pool) for pool in own]
    return states(patching_gke_node_upgrade.CHECK, Fake([asset(CLUSTER, path, cluster), *beside]))


def test_a_pool_is_judged_once_whoever_names_it() -> None:
    on, off = {"management": {"autoUpgrade": True}}, {"management": {"autoRepair": True}}
    named = [
        {"name": "on", **on},
        {"name": "on-2018", "management": {"autoUpgrade": "true"}},
        {"name": "off", **off},
        {"name": "empty", "management": {}},
        {"name": "bare"},
        {"name": "odd", "management": {"autoUpgrade": "perhaps"}},
        {"name": "text", "management": "all"},
    ]
    expected = {
        "on": SATISFIED,
        "on-2018": SATISFIED,
        **dict.fromkeys(("off", "empty", "bare"), NOT_SATISFIED),
        **dict.fromkeys(("odd", "text"), UNDETERMINED),
    }
    assert pools({"nodePools": named}) == expected
    assert pools({"nodePools": named}, *named) == expected
    assert pools({}, *named) == expected
    assert pools({"nodePools": named[:1]}, *named[1:]) == expected
    assert pools({}) == {}


def test_nodes_of_autopilot_are_upgraded_by_google() -> None:
    assert pools({"autopilot": {"enabled": True}, "nodePools": [{"name": "p"}]}) == {"p": SATISFIED}
    assert pools({"autopilot": {}, "nodePools": [{"name": "p"}]}) == {"p": NOT_SATISFIED}


def test_a_pool_without_its_cluster_or_its_name_leaves_no_population() -> None:
    alone = asset(NODE_POOL, "projects/p/zones/z/clusters/c/nodePools/n", {"management": {"autoUpgrade": True}})
    found = looked(patching_gke_node_upgrade.CHECK, Fake([alone]))
    assert (found.population, found.failure) == (None, "unreadable")
    found = looked(patching_gke_node_upgrade.CHECK, Fake([asset(CLUSTER, "c", {"nodePools": [{}]})]))
    assert (found.population, found.failure) == (None, "unreadable")


def api(name: str = "containerscanning.googleapis.com", word: str | None = "ENABLED") -> Body:
    data = {"name": name, "parent": f"projects/{NUMBER}", **({"state": word} if word else {})}
    return asset(SERVICE, f"projects/{NUMBER}/services/{name}", data)


SCANNED, UNSCANNED = {"enablementState": "SCANNING_ACTIVE"}, {"enablementState": "SCANNING_DISABLED"}


@pytest.mark.parametrize(
    ("members", "services", "expected"),
    [
        ({"vulnerabilityScanningConfig": SCANNED}, [api()], SATISFIED),
        ({"vulnerabilityScanningConfig": {"enablementConfig": "INHERITED", **SCANNED}}, [api()], SATISFIED),
        ({"vulnerabilityScanningConfig": {}}, [api()], SATISFIED),  # unset is inherited of the API
        ({"mode": "REMOTE_REPOSITORY", "vulnerabilityScanningConfig": SCANNED}, [api()], SATISFIED),
        ({"vulnerabilityScanningConfig": SCANNED}, [], NOT_SATISFIED),  # the API went, the inventory has not noticed
        ({"vulnerabilityScanningConfig": SCANNED}, [api(word="DISABLED")], NOT_SATISFIED),
        ({"vulnerabilityScanningConfig": SCANNED}, [api("containeranalysis.googleapis.com")], NOT_SATISFIED),
        ({"vulnerabilityScanningConfig": {"enablementConfig": "DISABLED"}}, [api()], NOT_SATISFIED),
        ({"vulnerabilityScanningConfig": UNSCANNED}, [api()], NOT_SATISFIED),
        ({"vulnerabilityScanningConfig": {"enablementState": "SCANNING_UNSUPPORTED"}}, [api()], NOT_SATISFIED),
        ({"format": "MAVEN"}, [], NOT_APPLICABLE),
        ({"mode": "VIRTUAL_REPOSITORY"}, [api()], NOT_APPLICABLE),
        ({"vulnerabilityScanningConfig": {"enablementConfig": "SOMETIMES"}}, [api()], UNDETERMINED),
        ({"vulnerabilityScanningConfig": {"enablementState": "SCANNING"}}, [api()], UNDETERMINED),
        ({"vulnerabilityScanningConfig": SCANNED}, [api(word=None)], UNDETERMINED),
        ({"vulnerabilityScanningConfig": SCANNED}, [api(word="STATE_UNSPECIFIED")], UNDETERMINED),
        ({"format": None, "vulnerabilityScanningConfig": SCANNED}, [api()], UNDETERMINED),
        ({"mode": None, "vulnerabilityScanningConfig": SCANNED}, [api()], UNDETERMINED),
        ({"format": "PAPER"}, [api()], UNDETERMINED),
    ],
)
def test_images_are_scanned_where_the_api_and_the_repository_say_so(
    members: Body, services: list[Body], expected: State
) -> None:
    data = {"format": "DOCKER", "mode": "STANDARD_REPOSITORY", **members}
    assert state(patching_container_scanning.CHECK, REPOSITORY, data, *services) is expected


# --- maintenance of databases ---

NEAR, FAR, OLD = (f"POSTGRES_15_13.R{day}.01_04" for day in ("20261013", "20261213", "20260105"))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, SATISFIED),
        ({"availableMaintenanceVersions": []}, SATISFIED),
        ({"availableMaintenanceVersions": [NEAR]}, SATISFIED),
        ({"availableMaintenanceVersions": [OLD]}, SATISFIED),  # applicable, and older than what is installed
        ({"availableMaintenanceVersions": ["POSTGRES_15_13.R20260726.00_36"]}, SATISFIED),
        ({"availableMaintenanceVersions": [NEAR, FAR]}, NOT_SATISFIED),
        ({"settings": {"maintenanceWindow": {"kind": "sql#maintenanceWindow", "day": 0, "hour": 0}}}, NOT_SATISFIED),
        ({"settings": {"tier": "db-f1-micro"}}, NOT_SATISFIED),
        ({"instanceType": "READ_REPLICA_INSTANCE", "settings": {"tier": "db-f1-micro"}}, SATISFIED),
        ({"instanceType": "READ_REPLICA_INSTANCE", "availableMaintenanceVersions": [FAR]}, NOT_SATISFIED),
        ({"maintenanceVersion": None}, UNDETERMINED),  # as before there were any
        ({"maintenanceVersion": "newest"}, UNDETERMINED),
        ({"maintenanceVersion": "POSTGRES_15_13.R20261399.00_36"}, UNDETERMINED),
        ({"availableMaintenanceVersions": ["next"]}, UNDETERMINED),
        ({"settings": None}, UNDETERMINED),
        ({"settings": {"maintenanceWindow": {"day": "SUNDAY"}}}, UNDETERMINED),
    ],
)
def test_a_database_has_a_window_and_keeps_up(members: Body, expected: State) -> None:
    assert state(patching_sql_maintenance.CHECK, SQL, database(**members)) is expected


def test_how_far_behind_is_the_operators_limit_and_does_not_grow_by_waiting() -> None:
    data = database(availableMaintenanceVersions=[NEAR])
    check = patching_sql_maintenance.CHECK
    assert state(check, SQL, data, behind_days_max=78) is NOT_SATISFIED
    assert state(check, SQL, data, behind_days_max=79) is SATISFIED
    gcp = Fake([asset(SQL, "one", data)])
    gcp.now = NOW + timedelta(days=30)
    assert states(check, gcp, behind_days_max=79) == {"one": SATISFIED}
