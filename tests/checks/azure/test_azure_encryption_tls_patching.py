"""The Azure checks of encryption, TLS and patching against answers as Microsoft gives them, the awkward ones first."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import checks
from checks.azure import (
    encryption_disk_key,
    encryption_keyvault_key_expiry,
    encryption_keyvault_purge_protection,
    encryption_sql_key,
    encryption_sql_tde,
    encryption_storage_infrastructure,
    encryption_storage_key,
    patching_aks_auto_upgrade,
    patching_aks_version,
    patching_defender_updates,
    patching_vm_automatic,
    patching_vm_compliance,
    tls_app_service,
    tls_mysql,
    tls_postgresql,
    tls_redis,
    tls_sql_version,
    tls_storage_https,
    tls_storage_version,
)
from collector.check import AnyCheck, field, limits_with
from collector.clouds.azure import Tenant
from collector.clouds.transcript import Transcript
from collector.collect import Task, run
from collector.errors import Denied, Unreadable
from collector.model import CheckRun, Scope, State

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TENANT, SUBSCRIPTION = "11111111-2222-4333-8444-555555555555", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Acme-RG"
SATISFIED, NOT_SATISFIED, NOT_APPLICABLE, UNDETERMINED = State

Row = dict[str, Any]


class Fake(Tenant):
    """A subscription that knows ``rows`` by table and ``answers`` by path; what it does not know is an error."""

    def __init__(self, rows: list[Row], answers: Mapping[str, Any] | None = None) -> None:
        super().__init__(TENANT, Transcript(), NOW, subscription=SUBSCRIPTION)
        self.rows = rows
        self.answers = {path.lower(): answer for path, answer in (answers or {}).items()}
        self.asked: list[str] = []

    def resources(self, type: str, table: str = "resources") -> list[dict[str, Any]]:
        assert type == type.lower()
        return [row for row in self.rows if row["type"].lower() == type and row.get("table", "resources") == table]

    def get(self, path: str, *, api: str, absent: tuple[str, ...] = ()) -> Any:
        return self._answer(path, api)

    def each(self, path: str, *, api: str, absent: tuple[str, ...] = (), **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._answer(path, api)
        return found

    def _answer(self, path: str, api: str) -> Any:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", api), "a stable version"
        assert path.startswith("/")
        self.asked.append(path)
        answer = self.answers.get(path.lower())
        if answer is None:
            raise Unreadable(f"404 ResourceNotFound: {path}")
        if isinstance(answer, Exception):
            raise answer
        return answer


def row(type: str, name: str, properties: Mapping[str, Any] | None, table: str = "resources", **more: Any) -> Row:
    """A row as Resource Graph writes it: the type in small letters, the id as the provider cases it."""
    return {
        "id": f"{GROUP}/providers/{type}/{name}",
        "name": name,
        "type": type.lower(),
        "kind": "",
        "location": "westeurope",
        "resourceGroup": "acme-rg",
        "subscriptionId": SUBSCRIPTION,
        "sku": None,
        "identity": None,
        "properties": properties,
        "table": table,
        **more,
    }


def looked(check: AnyCheck, azure: Fake, limits: Any = None) -> CheckRun:
    with ThreadPoolExecutor(4) as pool:
        task = Task(check, Scope("azure", TENANT, SUBSCRIPTION), azure, limits or check.limits)
        return run(task, lambda: NOW, pool)


def states(check: AnyCheck, rows: list[Row], answers: Mapping[str, Any] | None = None) -> dict[str, State]:
    found = looked(check, Fake(rows, answers))
    assert found.population is not None, found.reason
    return {o.subject.rsplit("/", 1)[-1]: o.verdict.state for o in found.observations}


def state(check: AnyCheck, type: str, properties: Mapping[str, Any] | None, **answers: Any) -> State:
    """What is said of one resource; ``answers`` are those of its children, with _ for /."""
    one = row(type, "one", properties)
    return states(check, [one], {f"{one['id']}/{path.replace('__', '/')}": answer for path, answer in answers.items()})[
        "one"
    ]


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat().replace("+00:00", "Z")


# --- SQL ---

DATABASE, SERVER = "Microsoft.Sql/servers/acme/databases", "Microsoft.Sql/servers"


def database(name: str) -> Row:
    one = row("Microsoft.Sql/servers/databases", name, {"status": "Online"}, kind="v12.0,user")
    return {**one, "id": f"{GROUP}/providers/{DATABASE}/{name}"}


def test_a_database_is_encrypted_only_when_its_own_setting_says_enabled() -> None:
    rows = [database(name) for name in ("master", "on", "off", "old-api", "silent", "new-word")]
    said = {
        "on": {"properties": {"state": "Enabled"}},
        "off": {"properties": {"state": "Disabled"}},
        "old-api": {"properties": {"status": "Enabled"}},
        "new-word": {"properties": {"state": "Enabling"}},
    }
    answers = {
        f"{GROUP}/providers/{DATABASE}/{name}/transparentDataEncryption/current": answer
        for name, answer in said.items()
    }
    assert states(encryption_sql_tde.CHECK, rows, answers) == {
        "master": NOT_APPLICABLE,
        "on": SATISFIED,
        "off": NOT_SATISFIED,
        "old-api": UNDETERMINED,
        "silent": UNDETERMINED,
        "new-word": UNDETERMINED,
    }


def test_the_system_database_is_not_asked_and_one_refusal_leaves_the_others() -> None:
    path = f"{GROUP}/providers/{DATABASE}/%s/transparentDataEncryption/current"
    azure = Fake(
        [database("master"), database("on"), database("refused")],
        {path % "on": {"properties": {"state": "Enabled"}}, path % "refused": Denied("403 AuthorizationFailed")},
    )
    found = looked(encryption_sql_tde.CHECK, azure)
    assert [o.verdict.state for o in found.observations] == [NOT_APPLICABLE, SATISFIED, UNDETERMINED]
    assert sorted(azure.asked) == [path % "on", path % "refused"]


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"serverKeyType": "AzureKeyVault", "uri": "https://acme.vault.azure.net/keys/sql/0a"}, SATISFIED),
        ({"serverKeyType": "AzureKeyVault"}, UNDETERMINED),
        ({"serverKeyType": "ServiceManaged", "serverKeyName": "ServiceManaged"}, NOT_SATISFIED),
        ({"serverKeyType": "Elsewhere"}, UNDETERMINED),
        ({}, UNDETERMINED),
    ],
)
def test_a_server_encrypts_under_the_key_of_its_protector(properties: Row, expected: State) -> None:
    answer = {"encryptionProtector__current": {"properties": properties}}
    assert state(encryption_sql_key.CHECK, SERVER, {}, **answer) is expected


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"minimalTlsVersion": "1.2"}, SATISFIED),
        ({"minimalTlsVersion": "1.3"}, SATISFIED),
        ({"minimalTlsVersion": "1.1"}, NOT_SATISFIED),
        ({"minimalTlsVersion": "None"}, NOT_SATISFIED),
        ({"minimalTlsVersion": None}, UNDETERMINED),
        ({"minimalTlsVersion": "1.4"}, UNDETERMINED),
        ({"version": "12.0", "state": "Ready"}, UNDETERMINED),
        (None, UNDETERMINED),
    ],
)
def test_a_server_without_a_minimum_sets_none_and_one_that_says_nothing_is_unknown(
    properties: Row | None, expected: State
) -> None:
    assert state(tls_sql_version.CHECK, SERVER, properties) is expected


# --- storage ---

STORAGE = "Microsoft.Storage/storageAccounts"


@pytest.mark.parametrize(
    ("encryption", "key", "twice"),
    [
        ({"keySource": "Microsoft.Storage"}, NOT_SATISFIED, NOT_SATISFIED),
        ({"keySource": "Microsoft.Keyvault", "requireInfrastructureEncryption": True}, SATISFIED, SATISFIED),
        ({"keySource": "microsoft.keyvault", "requireInfrastructureEncryption": False}, SATISFIED, NOT_SATISFIED),
        ({"keySource": "Elsewhere", "requireInfrastructureEncryption": "perhaps"}, UNDETERMINED, UNDETERMINED),
        ({"services": {"blob": {"enabled": True}}}, UNDETERMINED, NOT_SATISFIED),
    ],
)
def test_an_account_has_the_keys_that_it_names(encryption: Row, key: State, twice: State) -> None:
    assert state(encryption_storage_key.CHECK, STORAGE, {"encryption": encryption}) is key
    assert state(encryption_storage_infrastructure.CHECK, STORAGE, {"encryption": encryption}) is twice


@pytest.mark.parametrize(
    ("properties", "version", "https"),
    [
        ({"minimumTlsVersion": "TLS1_2", "supportsHttpsTrafficOnly": True}, SATISFIED, SATISFIED),
        ({"minimumTlsVersion": "TLS1_3", "supportsHttpsTrafficOnly": False}, SATISFIED, NOT_SATISFIED),
        ({"minimumTlsVersion": "TLS1_1"}, NOT_SATISFIED, UNDETERMINED),
        ({}, NOT_SATISFIED, UNDETERMINED),
        ({"minimumTlsVersion": "TLS1_4", "supportsHttpsTrafficOnly": "yes"}, UNDETERMINED, UNDETERMINED),
        (None, NOT_SATISFIED, UNDETERMINED),
    ],
)
def test_an_account_without_a_minimum_takes_tls_1_0(properties: Row | None, version: State, https: State) -> None:
    assert state(tls_storage_version.CHECK, STORAGE, properties) is version
    assert state(tls_storage_https.CHECK, STORAGE, properties) is https


# --- disks and vaults ---

PLATFORM = {"type": "EncryptionAtRestWithPlatformKey"}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"encryption": {"type": "EncryptionAtRestWithCustomerKey"}, "diskState": "Unattached"}, SATISFIED),
        ({"encryption": {"type": "EncryptionAtRestWithPlatformAndCustomerKeys"}, "diskState": "Reserved"}, SATISFIED),
        ({"encryption": PLATFORM, "diskState": "Unattached"}, NOT_SATISFIED),
        ({"encryption": PLATFORM, "maxShares": 2, "diskState": "Attached"}, NOT_SATISFIED),
        ({"encryption": PLATFORM, "securityProfile": {"securityType": "TrustedLaunch"}}, NOT_SATISFIED),
        (
            {
                "encryption": PLATFORM,
                "securityProfile": {"securityType": "ConfidentialVM_DiskEncryptedWithCustomerKey"},
            },
            SATISFIED,
        ),
        ({"encryption": PLATFORM, "encryptionSettingsCollection": {"enabled": True}}, SATISFIED),
        ({"encryption": PLATFORM, "encryptionSettingsCollection": {"enabled": False}}, NOT_SATISFIED),
        ({"encryption": PLATFORM, "encryptionSettingsCollection": {"encryptionSettings": []}}, UNDETERMINED),
        ({"encryption": PLATFORM, "securityProfile": {"securityType": "Tomorrow"}}, UNDETERMINED),
        ({"encryption": {"type": "EncryptionAtRestTomorrow"}}, UNDETERMINED),
        ({"diskState": "Unattached"}, UNDETERMINED),
    ],
)
def test_a_disk_is_encrypted_under_the_key_that_it_names(properties: Row, expected: State) -> None:
    assert state(encryption_disk_key.CHECK, "Microsoft.Compute/disks", properties) is expected


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"enableSoftDelete": True, "enablePurgeProtection": True}, SATISFIED),
        ({"enableSoftDelete": True}, NOT_SATISFIED),
        ({"enableSoftDelete": True, "enablePurgeProtection": None}, NOT_SATISFIED),
        ({"enableSoftDelete": False, "enablePurgeProtection": True}, NOT_SATISFIED),
        ({"enablePurgeProtection": True}, UNDETERMINED),
    ],
)
def test_a_vault_keeps_what_is_deleted_only_when_both_settings_say_so(properties: Row, expected: State) -> None:
    assert state(encryption_keyvault_purge_protection.CHECK, "Microsoft.KeyVault/vaults", properties) is expected


def key(name: str, **attributes: Any) -> Row:
    vault = f"{GROUP}/providers/Microsoft.KeyVault/vaults/acme"
    return {"id": f"{vault}/keys/{name}", "name": name, "properties": {"attributes": attributes}}


def test_a_key_expires_within_the_limit_or_never() -> None:
    vault = row("Microsoft.KeyVault/vaults", "acme", {})
    made = int((NOW - timedelta(days=100)).timestamp())
    year, decade = made + 365 * 86_400, made + 3650 * 86_400
    keys = [
        key("year", enabled=True, created=made, exp=year),
        key("decade", enabled=True, created=made, exp=decade),
        key("never", enabled=True, created=made),
        key("disabled", enabled=False, created=made),
        key("unclear", created=made, exp=year),
        key("undated", enabled=True, exp=year),
        key("odd", enabled=True, created=made, exp="next year"),
    ]
    check = encryption_keyvault_key_expiry.CHECK
    answers = {f"{vault['id']}/keys": keys}
    assert states(check, [vault], answers) == {
        "year": SATISFIED,
        "decade": NOT_SATISFIED,
        "never": NOT_SATISFIED,
        "disabled": NOT_APPLICABLE,
        "unclear": UNDETERMINED,
        "undated": UNDETERMINED,
        "odd": UNDETERMINED,
    }
    tight = looked(check, Fake([vault], answers), limits_with(check, {"lifetime_days_max": 364}))
    assert State.SATISFIED not in [o.verdict.state for o in tight.observations]


def test_a_vault_whose_keys_cannot_be_listed_leaves_no_population() -> None:
    vaults = [row("Microsoft.KeyVault/vaults", name, {}) for name in ("open", "shut")]
    answers = {f"{vaults[0]['id']}/keys": [], f"{vaults[1]['id']}/keys": Denied("403 AuthorizationFailed")}
    found = looked(encryption_keyvault_key_expiry.CHECK, Fake(vaults, answers))
    assert (found.population, found.failure) == (None, "denied")


# --- apps, databases of the open source kind, caches ---


def app(name: str, https: Any, config: Mapping[str, Any] | None, kind: str = "Microsoft.Web/sites") -> list[Row]:
    path = f"{GROUP}/providers/Microsoft.Web/sites/{name}"
    site = {**row(kind, name, {"httpsOnly": https, "state": "Running"}), "id": path}
    if config is None:
        return [site]
    settings = row(f"{kind}/config", name, config, table="appserviceresources")
    return [site, {**settings, "id": f"{path.replace('Acme-RG', 'acme-rg')}/config/web"}]


def test_an_app_is_joined_with_its_configuration_whatever_the_letters() -> None:
    rows = [
        *app("good", True, {"MinTlsVersion": "1.2"}),
        *app("rest-letters", True, {"minTlsVersion": "1.3"}),
        *app("http", False, {"MinTlsVersion": "1.2"}),
        *app("old", True, {"MinTlsVersion": "1.0"}),
        *app("missing-row", True, None),
        *app("empty-row", True, {}),
        *app("blank", True, {"MinTlsVersion": ""}),
        *app("unsaid", None, {"MinTlsVersion": "1.2"}),
        *app("staging", True, {"MinTlsVersion": "1.1"}, "Microsoft.Web/sites/slots"),
    ]
    assert states(tls_app_service.CHECK, rows) == {
        "good": SATISFIED,
        "rest-letters": SATISFIED,
        "http": NOT_SATISFIED,
        "old": NOT_SATISFIED,
        "missing-row": UNDETERMINED,
        "empty-row": UNDETERMINED,
        "blank": UNDETERMINED,
        "unsaid": UNDETERMINED,
        "staging": NOT_SATISFIED,
    }


def value(said: str | None) -> Row:
    return {"properties": {"value": said, "source": "user-override"}}


@pytest.mark.parametrize(
    ("required", "versions", "expected"),
    [
        ("ON", "TLSv1.2,TLSv1.3", SATISFIED),
        ("on", "TLSV1.2", SATISFIED),
        ("ON", "TLSv1.2, TLSv1.3", SATISFIED),
        ("ON", "TLSv1.1,TLSv1.2", NOT_SATISFIED),
        ("OFF", "TLSv1.2", NOT_SATISFIED),
        ("ON", "", UNDETERMINED),
        ("ON", "TLSv1.2,", UNDETERMINED),
        ("ON", "TLSv9", UNDETERMINED),
        (None, "TLSv1.2", UNDETERMINED),
        ("maybe", "TLSv1.2", UNDETERMINED),
    ],
)
def test_a_mysql_server_takes_every_version_of_its_list(required: str | None, versions: str, expected: State) -> None:
    said = {
        "configurations__require_secure_transport": value(required),
        "configurations__tls_version": value(versions),
    }
    assert state(tls_mysql.CHECK, "Microsoft.DBforMySQL/flexibleServers", {"state": "Ready"}, **said) is expected


@pytest.mark.parametrize(
    ("required", "minimum", "expected"),
    [
        ("on", "TLSv1.2", SATISFIED),
        ("ON", "TLSv1.3", SATISFIED),
        ("on", "TLSv1", NOT_SATISFIED),
        ("off", "TLSv1.2", NOT_SATISFIED),
        ("on", "", UNDETERMINED),
        ("on", None, UNDETERMINED),
        ("1", "TLSv1.2", UNDETERMINED),
    ],
)
def test_a_postgresql_server_takes_its_minimum_and_later(
    required: str | None, minimum: str | None, expected: State
) -> None:
    said = {
        "configurations__require_secure_transport": value(required),
        "configurations__ssl_min_protocol_version": value(minimum),
    }
    assert state(tls_postgresql.CHECK, "Microsoft.DBforPostgreSQL/flexibleServers", {}, **said) is expected


@pytest.mark.parametrize("check", [tls_mysql.CHECK, tls_postgresql.CHECK], ids=["mysql", "postgresql"])
def test_a_server_whose_parameters_are_not_told_is_unknown(check: AnyCheck) -> None:
    type = "Microsoft.DBforMySQL" if check.id == "azure-mysql-tls" else "Microsoft.DBforPostgreSQL"
    said = {"configurations__require_secure_transport": value("on")}
    assert state(check, f"{type}/flexibleServers", {"state": "Stopped"}, **said) is UNDETERMINED


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"enableNonSslPort": False, "minimumTlsVersion": "1.2"}, SATISFIED),
        ({"enableNonSslPort": False, "minimumTlsVersion": "1.0"}, NOT_SATISFIED),
        ({"enableNonSslPort": True, "minimumTlsVersion": "1.2"}, NOT_SATISFIED),
        ({"enableNonSslPort": False}, UNDETERMINED),
        ({"minimumTlsVersion": "1.2"}, UNDETERMINED),
    ],
)
def test_a_cache_without_a_minimum_is_unknown(properties: Row, expected: State) -> None:
    assert state(tls_redis.CHECK, "Microsoft.Cache/redis", properties) is expected


# --- machines ---

VM, ARC = "Microsoft.Compute/virtualMachines", "Microsoft.HybridCompute/machines"


def machine(name: str, power: str = "PowerState/running", **properties: Any) -> Row:
    view = {"extended": {"instanceView": {"powerState": {"code": power, "displayStatus": "VM"}}}}
    return row(VM, name, {**view, **properties})


def assessed(of: Row, status: str = "Succeeded", when: str = ago(hours=5), **counts: int) -> Row:
    """A row of patchassessmentresources; its id has other letters than the machine's."""
    properties = {
        "status": status,
        "osType": "Linux",
        "lastModifiedDateTime": when,
        "errorDetails": None,
        "availablePatchCountByClassification": counts or {"critical": 0, "security": 0, "other": 31},
    }
    one = row(f"{of['type']}/patchAssessmentResults", "latest", properties, table="patchassessmentresources")
    return {**one, "id": f"{of['id'].replace('Acme-RG', 'ACME-RG')}/patchAssessmentResults/latest"}


def test_a_machine_is_patched_by_a_recent_assessment_that_succeeded() -> None:
    names = ("good", "security", "critical", "stale", "failed", "warned", "running-now", "never", "half", "other-word")
    vms = {name: machine(name) for name in names}
    off = machine("off", "PowerState/deallocated")
    arc = [row(ARC, name, {"status": status}) for name, status in (("up", "Connected"), ("down", "Disconnected"))]
    dark = row(VM, "dark", {"vmId": "0"})
    rows = [
        *vms.values(),
        off,
        dark,
        *arc,
        assessed(vms["good"]),
        assessed(vms["security"], critical=0, security=2, other=0),
        assessed(vms["critical"], critical=1, security=0, definition=0, updateRollup=0),
        assessed(vms["stale"], when=ago(days=8)),
        assessed(vms["failed"], "Failed"),
        assessed(vms["warned"], "CompletedWithWarnings"),
        assessed(vms["running-now"], "InProgress"),
        assessed(vms["half"], security=0),
        assessed(vms["other-word"], "Assessed"),
        assessed(off),
        assessed(arc[0]),
    ]
    assert states(patching_vm_compliance.CHECK, rows) == {
        "good": SATISFIED,
        "security": NOT_SATISFIED,
        "critical": NOT_SATISFIED,
        "stale": NOT_SATISFIED,
        "failed": NOT_SATISFIED,
        "warned": NOT_SATISFIED,
        "running-now": UNDETERMINED,
        "never": NOT_SATISFIED,
        "half": UNDETERMINED,
        "other-word": UNDETERMINED,
        "off": NOT_APPLICABLE,
        "dark": UNDETERMINED,
        "up": SATISFIED,
        "down": NOT_SATISFIED,
    }


def test_a_disconnected_machine_is_judged_by_its_last_assessment() -> None:
    arc = row(ARC, "down", {"status": "Disconnected"})
    fresh, stale = assessed(arc, when=ago(days=6)), assessed(arc, when=ago(days=9))
    assert states(patching_vm_compliance.CHECK, [arc, fresh]) == {"down": SATISFIED}
    assert states(patching_vm_compliance.CHECK, [arc, stale]) == {"down": NOT_SATISFIED}


def system(os: str, configuration: Mapping[str, Any] | None) -> Row:
    profile = {"osProfile": {f"{os.lower()}Configuration": configuration}} if configuration is not None else {}
    return {"storageProfile": {"osDisk": {"osType": os}}, **profile}


BY_PLATFORM = {"patchMode": "AutomaticByPlatform", "assessmentMode": "AutomaticByPlatform"}
BY_CUSTOMER = {**BY_PLATFORM, "automaticByPlatformSettings": {"bypassPlatformSafetyChecksOnUserSchedule": True}}
AUTO, MANUAL = {"enableAutomaticUpdates": True}, {"enableAutomaticUpdates": False}


@pytest.mark.parametrize(
    ("power", "os", "configuration", "expected"),
    [
        ("running", "Linux", {"patchSettings": BY_PLATFORM}, SATISFIED),
        ("running", "Linux", {"patchSettings": {"patchMode": "ImageDefault"}}, NOT_SATISFIED),
        ("running", "Linux", {"disablePasswordAuthentication": True}, NOT_SATISFIED),
        ("running", "Linux", {"patchSettings": {"patchMode": "Nightly"}}, UNDETERMINED),
        ("running", "Windows", {**AUTO, "patchSettings": BY_PLATFORM}, SATISFIED),
        ("running", "Windows", {**AUTO, "patchSettings": {"patchMode": "AutomaticByOS"}}, SATISFIED),
        ("starting", "Windows", {**AUTO, "patchSettings": {"assessmentMode": "ImageDefault"}}, SATISFIED),
        ("running", "Windows", {**MANUAL, "patchSettings": {"patchMode": "Manual"}}, NOT_SATISFIED),
        ("running", "Windows", MANUAL, NOT_SATISFIED),
        ("running", "Windows", {"patchSettings": BY_PLATFORM}, UNDETERMINED),
        ("running", "Linux", {"patchSettings": BY_CUSTOMER}, NOT_SATISFIED),
        ("running", "Linux", None, UNDETERMINED),
        ("deallocated", "Linux", {"patchSettings": {"patchMode": "ImageDefault"}}, NOT_APPLICABLE),
        ("stopped", "Linux", None, NOT_APPLICABLE),
        ("unknown", "Linux", {"patchSettings": BY_PLATFORM}, UNDETERMINED),
    ],
)
def test_a_machine_is_patched_as_its_settings_say(
    power: str, os: str, configuration: Row | None, expected: State
) -> None:
    vm = machine("one", f"PowerState/{power}", **system(os, configuration))
    assert states(patching_vm_automatic.CHECK, [vm]) == {"one": expected}


def schedule(name: str, scope: str) -> Row:
    return row("Microsoft.Maintenance/maintenanceConfigurations", name, {"maintenanceScope": scope})


def assignment(name: str, target: str, configuration: Row) -> Row:
    properties = {"resourceId": target.lower(), "maintenanceConfigurationId": configuration["id"]}
    return row("Microsoft.Maintenance/configurationAssignments", name, properties, table="maintenanceresources")


def test_a_machine_on_a_schedule_of_the_customer_needs_one() -> None:
    check, vm = patching_vm_automatic.CHECK, machine("one", **system("Linux", {"patchSettings": BY_CUSTOMER}))
    guest, host = schedule("weekly", "InGuestPatch"), schedule("hosts", "Host")
    dynamic = assignment("b", f"/subscriptions/{SUBSCRIPTION}", guest)
    assert states(check, [vm, guest, assignment("a", vm["id"], guest)]) == {"one": SATISFIED}
    assert states(check, [vm, host, assignment("a", vm["id"], host)]) == {"one": NOT_SATISFIED}
    assert states(check, [vm, guest, assignment("a", f"{vm['id']}2", guest)]) == {"one": NOT_SATISFIED}
    assert states(check, [vm, guest, dynamic]) == {"one": UNDETERMINED}
    assert states(check, [vm, assignment("a", vm["id"], guest)]) == {"one": UNDETERMINED}


def recommendation(of: Row, guid: str, status: Mapping[str, Any]) -> Row:
    one = row("Microsoft.Security/assessments", guid, {"status": status}, table="securityresources")
    return {**one, "id": f"{of['id'].lower()}/providers/Microsoft.Security/assessments/{guid}"}


def test_a_machine_that_defender_does_not_assess_is_no_good_machine() -> None:
    said: dict[str, Row | None] = {
        "healthy": {"code": "Healthy"},
        "unhealthy": {"code": "Unhealthy", "description": "There are 3 updates missing"},
        "exempt": {"code": "NotApplicable", "cause": "Exempt"},
        "switched-off": {"code": "NotApplicable", "cause": "OffByPolicy"},
        "other-word": {"code": "Unknown"},
        "no-code": {},
        "unseen": None,
    }
    guid = patching_defender_updates.ASSESSMENT
    vms = {name: machine(name) for name in said}
    rows = [*vms.values(), machine("off", "PowerState/deallocated")]
    rows += [recommendation(vms[name], guid, status) for name, status in said.items() if status is not None]
    rows += [recommendation(vms["unseen"], "0b0b0b0b-0000-4000-8000-000000000000", {"code": "Healthy"})]
    assert states(patching_defender_updates.CHECK, rows) == {
        "healthy": SATISFIED,
        "unhealthy": NOT_SATISFIED,
        "exempt": NOT_APPLICABLE,
        "switched-off": NOT_SATISFIED,
        "other-word": UNDETERMINED,
        "no-code": UNDETERMINED,
        "unseen": NOT_SATISFIED,
        "off": NOT_APPLICABLE,
    }


# --- AKS ---

AKS = "Microsoft.ContainerService/managedClusters"
LOCATION = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.ContainerService/locations/westeurope"
OFFICIAL, LONG = "KubernetesOfficial", "AKSLongTermSupport"
OFFERED = {
    "values": [
        {"version": "1.28", "capabilities": {"supportPlan": [LONG]}, "patchVersions": {"1.28.15": {"upgrades": []}}},
        {
            "version": "1.33",
            "isDefault": True,
            "capabilities": {"supportPlan": [OFFICIAL, LONG]},
            "patchVersions": {"1.33.2": {"upgrades": ["1.33.4"]}, "1.33.4": {"upgrades": []}},
        },
        {
            "version": "1.35",
            "isPreview": True,
            "capabilities": {"supportPlan": [OFFICIAL]},
            "patchVersions": {"1.35.0": {"upgrades": []}},
        },
    ]
}


def cluster(name: str, version: str, *pools: str, plan: str | None = OFFICIAL, power: str = "Running") -> Row:
    return row(
        AKS,
        name,
        {
            "powerState": {"code": power},
            "currentKubernetesVersion": version,
            "supportPlan": plan,
            "agentPoolProfiles": [{"name": "pool", "currentOrchestratorVersion": pool} for pool in pools],
        },
    )


def test_a_cluster_runs_what_its_location_offers_under_its_plan() -> None:
    rows = [
        cluster("good", "1.33.4", "1.33.4", "1.33.2"),
        cluster("plan-unsaid", "1.33.4", plan=None),
        cluster("ended", "1.28.15"),
        cluster("long", "1.28.15", plan=LONG),
        cluster("old-patch", "1.33.1"),
        cluster("old-pool", "1.33.4", "1.28.15"),
        cluster("preview", "1.35.0"),
        cluster("off", "1.28.15", power="Stopped"),
        cluster("other-plan", "1.33.4", plan="Forever"),
        row(AKS, "silent", {"powerState": {"code": "Running"}, "agentPoolProfiles": []}),
    ]
    assert states(patching_aks_version.CHECK, rows, {f"{LOCATION}/kubernetesVersions": OFFERED}) == {
        "good": SATISFIED,
        "plan-unsaid": SATISFIED,
        "ended": NOT_SATISFIED,
        "long": SATISFIED,
        "old-patch": NOT_SATISFIED,
        "old-pool": NOT_SATISFIED,
        "preview": NOT_SATISFIED,
        "off": NOT_APPLICABLE,
        "other-plan": UNDETERMINED,
        "silent": UNDETERMINED,
    }


@pytest.mark.parametrize("answer", [{}, {"values": [{"version": "1.33"}]}, Denied("403 AuthorizationFailed")])
def test_a_location_that_does_not_say_what_it_offers_leaves_its_clusters_unknown(answer: Any) -> None:
    answers = {f"{LOCATION}/kubernetesVersions": answer}
    assert states(patching_aks_version.CHECK, [cluster("one", "1.33.4")], answers) == {"one": UNDETERMINED}


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({"upgradeChannel": "stable", "nodeOSUpgradeChannel": "NodeImage"}, SATISFIED),
        ({"upgradeChannel": "patch", "nodeOSUpgradeChannel": "SecurityPatch"}, SATISFIED),
        ({"upgradeChannel": "rapid", "nodeOSUpgradeChannel": "None"}, NOT_SATISFIED),
        ({"upgradeChannel": "stable", "nodeOSUpgradeChannel": "Unmanaged"}, NOT_SATISFIED),
        ({"upgradeChannel": "node-image", "nodeOSUpgradeChannel": "NodeImage"}, NOT_SATISFIED),
        ({"nodeOSUpgradeChannel": "NodeImage"}, NOT_SATISFIED),
        (None, NOT_SATISFIED),
        ({"upgradeChannel": "stable"}, UNDETERMINED),
        ({"upgradeChannel": "yearly", "nodeOSUpgradeChannel": "NodeImage"}, UNDETERMINED),
    ],
)
def test_a_cluster_upgrades_by_itself_when_both_channels_do(profile: Row | None, expected: State) -> None:
    assert state(patching_aks_auto_upgrade.CHECK, AKS, {"autoUpgradeProfile": profile}) is expected


# --- what Azure itself once answered ---

POWER = "properties.extended.instanceView.powerState.code"
# By check: the type that it judges, and the member without which no subject may be called satisfied; "" where a child
# of the resource says it.
JUDGED: dict[str, tuple[AnyCheck, str, str]] = {
    found[0].id: found
    for found in (
        (encryption_disk_key.CHECK, "microsoft.compute/disks", "properties.encryption.type"),
        (encryption_keyvault_purge_protection.CHECK, "microsoft.keyvault/vaults", "properties.enablePurgeProtection"),
        (encryption_sql_key.CHECK, "microsoft.sql/servers", ""),
        (encryption_sql_tde.CHECK, "microsoft.sql/servers/databases", ""),
        (
            encryption_storage_infrastructure.CHECK,
            "microsoft.storage/storageaccounts",
            "properties.encryption.requireInfrastructureEncryption",
        ),
        (encryption_storage_key.CHECK, "microsoft.storage/storageaccounts", "properties.encryption.keySource"),
        (patching_defender_updates.CHECK, "microsoft.compute/virtualmachines", POWER),
        (patching_vm_automatic.CHECK, "microsoft.compute/virtualmachines", POWER),
        (patching_vm_compliance.CHECK, "microsoft.compute/virtualmachines", POWER),
        (tls_app_service.CHECK, "microsoft.web/sites", "properties.httpsOnly"),
        (tls_mysql.CHECK, "microsoft.dbformysql/flexibleservers", ""),
        (tls_postgresql.CHECK, "microsoft.dbforpostgresql/flexibleservers", ""),
        (tls_sql_version.CHECK, "microsoft.sql/servers", "properties.minimalTlsVersion"),
        (tls_storage_https.CHECK, "microsoft.storage/storageaccounts", "properties.supportsHttpsTrafficOnly"),
        (tls_storage_version.CHECK, "microsoft.storage/storageaccounts", "properties.minimumTlsVersion"),
    )
}


def recordings() -> Path:
    project = Path(str(checks.__file__)).parent.parent
    return Path(os.environ.get("COLLECTOR_RECORDED", project.parent / "shared" / "recorded")) / "azure"


@cache
def recorded() -> tuple[Row, ...]:
    """Every ARM resource in the recorded answers."""

    def within(value: Any) -> Iterator[Row]:
        if isinstance(value, dict):
            if isinstance(value.get("id"), str) and isinstance(value.get("type"), str) and "properties" in value:
                yield value
            for member in value.values():
                yield from within(member)
        elif isinstance(value, list):
            for member in value:
                yield from within(member)

    return tuple(one for file in sorted(recordings().glob("*.json")) for one in within(json.loads(file.read_bytes())))


@pytest.mark.skipif(not recordings().is_dir(), reason="no recorded answers; name their folder in COLLECTOR_RECORDED")
@pytest.mark.parametrize("id", sorted(JUDGED))
def test_what_azure_once_answered_is_read_or_refused_and_never_good_by_absence(id: str) -> None:
    check, type, deciding = JUDGED[id]
    found = [one for one in recorded() if one["type"].lower() == type]
    assert found, f"no {type} was recorded"
    children = {one["id"].lower(): one for one in recorded()}
    for one in found:
        as_row = {**row(type, str(one.get("name", "")), one["properties"]), "id": one["id"]}
        for known in (as_row, in_resource_graph(as_row)):
            answered = looked(check, Fake([known], children))
            assert answered.failure == "", answered.reason
            (said,) = answered.observations
            assert said.verdict.reason
            if said.verdict.state is SATISFIED and deciding:
                assert field(known, deciding) is not None
        bare = {name: member for name, member in as_row.items() if name != "properties"}
        for emptied in (bare, {**bare, "properties": None}, {**bare, "properties": {}}):
            (unsaid,) = looked(check, Fake([emptied])).observations
            assert unsaid.verdict.state is not SATISFIED


def in_resource_graph(one: Row) -> Row:
    """A recorded ARM resource with what Resource Graph adds to it: the power of a machine."""
    if not one["type"].endswith("/virtualmachines"):
        return one
    view = {"instanceView": {"powerState": {"code": "PowerState/running"}}}
    return {**one, "properties": {**one["properties"], "extended": view}}


# --- every answer of the tests above, one member less ---


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield (*path, name)
            yield from leaves(member, (*path, name))


WHOLE: list[tuple[AnyCheck, Callable[[], list[Row]]]] = [
    (tls_app_service.CHECK, lambda: app("one", True, {"MinTlsVersion": "1.2"})),
    (
        encryption_disk_key.CHECK,
        lambda: [row("Microsoft.Compute/disks", "one", {"encryption": {"type": "EncryptionAtRestWithCustomerKey"}})],
    ),
    (
        patching_vm_automatic.CHECK,
        lambda: [machine("one", **system("Windows", {**AUTO, "patchSettings": BY_PLATFORM}))],
    ),
    (patching_vm_compliance.CHECK, lambda: [(vm := machine("one")), assessed(vm, critical=0, security=0)]),
    (
        patching_defender_updates.CHECK,
        lambda: [(vm := machine("one")), recommendation(vm, patching_defender_updates.ASSESSMENT, {"code": "Healthy"})],
    ),
    (
        tls_redis.CHECK,
        lambda: [row("Microsoft.Cache/redis", "one", {"enableNonSslPort": False, "minimumTlsVersion": "1.2"})],
    ),
    (
        patching_aks_auto_upgrade.CHECK,
        lambda: [
            row(AKS, "one", {"autoUpgradeProfile": {"upgradeChannel": "patch", "nodeOSUpgradeChannel": "NodeImage"}})
        ],
    ),
]
# Documented: a Windows machine with enableAutomaticUpdates patches itself, whatever else it does not say.
MAY_GO = {"patchSettings", "patchMode", "assessmentMode", "displayStatus", "errorDetails", "state"}


@pytest.mark.parametrize(("check", "make"), WHOLE, ids=[check.id for check, _ in WHOLE])
def test_a_good_subject_is_not_good_any_more_when_a_member_that_decides_is_lost(
    check: AnyCheck, make: Callable[[], list[Row]]
) -> None:
    (whole,) = states(check, make()).values()
    assert whole is SATISFIED
    lost = 0
    for place, one in enumerate(make()):
        for path in leaves(one["properties"]):
            rows = deepcopy(make())
            member = rows[place]["properties"]
            for step in path[:-1]:
                member = member[step]
            del member[path[-1]]
            if path[-1] in MAY_GO or (path[-1] == "osType" and place):
                continue
            (left,) = states(check, rows).values()
            assert left is not SATISFIED, f"good without {'.'.join(path)}"
            lost += 1
    assert lost
