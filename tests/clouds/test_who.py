"""Who changed it: asked of the simulated clouds over the wire, with unmodified clients, as the daemon asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from collector.alert.explaining import asking
from collector.cli.app import app
from collector.clouds import who
from collector.clouds.directory import Directory, Limits
from collector.clouds.transcript import Transcript
from collector.config import AwsAccount, AzureTenant, GoogleOrganization
from collector.controls import starter
from collector.demo.azure.bed import AzureBed
from collector.demo.azure.world import TENANT
from collector.demo.cloud import SimulatedCloud
from collector.demo.gcp.bed import GcpBed
from collector.demo.gcp.world import ORGANIZATION
from collector.demo.proxy import Proxy
from collector.errors import Denied, Unreadable
from collector.model import Scope

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SINCE = NOW - timedelta(hours=2)
HOUR = timedelta(hours=1)
USER = "arn:aws:iam::{}:user/ann"
VAULT = "/subscriptions/{}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/it's"
LIMITS = Limits(patience_seconds=10, run_seconds=10)


def at(hours: float) -> str:
    return (NOW - hours * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- AWS ---


def change(hours: float, request: str, **more: Any) -> dict[str, Any]:
    found = {"at": (NOW - hours * HOUR).isoformat(), "region": "us-east-1", "source": "iam.amazonaws.com"}
    return {**found, "name": "DeactivateMFADevice", "resources": ["ann"], "who": "mallory", "request": request, **more}


@pytest.fixture
def aws(simulated_cloud: SimulatedCloud) -> Iterator[tuple[SimulatedCloud, AwsAccount]]:
    simulated_cloud.set_now(NOW)
    yield simulated_cloud, AwsAccount(account=simulated_cloud.account)
    simulated_cloud.set("trail_changes", [])


def of_aws(account: AwsAccount, subject: str) -> who.Found | None:
    handle = Directory(lambda: NOW, LIMITS).open(account, Transcript(), NOW)
    return who.changed_by(handle, account.scope, subject, SINCE, NOW)


def test_cloudtrail_names_the_newest_change_that_took_place(aws: tuple[SimulatedCloud, AwsAccount]) -> None:
    cloud, account = aws
    cloud.set(
        "trail_changes",
        [
            change(3, "before-it-was-good"),
            change(1.5, "older", name="EnableMFADevice"),
            change(1, "r-1"),
            change(0.7, "refused", error="AccessDenied"),
            change(0.6, "only-looked", name="GetUser", read=True),
            change(0.5, "another", resources=["bob"]),
        ],
    )
    assert of_aws(account, USER.format(account.account)) == {
        "who": f"arn:aws:iam::{account.account}:user/mallory",
        "event": "iam:DeactivateMFADevice",
        "when": at(1),
        "request": "r-1",
        "source": "CloudTrail",
    }


def test_a_resource_is_found_by_its_arn_and_in_its_region(aws: tuple[SimulatedCloud, AwsAccount]) -> None:
    cloud, account = aws
    arn = f"arn:aws:rds:eu-west-1:{account.account}:db:orders"
    about = {"source": "rds.amazonaws.com", "name": "ModifyDBInstance", "resources": [arn]}
    cloud.set("trail_changes", [change(1, "there", region="eu-west-1", **about), change(0.9, "elsewhere", **about)])
    found = of_aws(account, arn)
    assert found is not None
    assert (found["request"], found["event"]) == ("there", "rds:ModifyDBInstance")
    assert of_aws(account, f"arn:aws:s3:::{'nobody-touched-it'}") is None


# --- Azure and Google ---


@pytest.fixture
def through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Puts a simulated cloud behind the proxy that this process then uses."""
    proxies = []

    def through(bed: Any) -> None:
        proxy = Proxy("|".join(bed.hosts), bed.handle, tmp_path)
        proxies.append(proxy)
        for name, value in bed.credentials(tmp_path).items():
            monkeypatch.setenv(name, value)
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1,localhost")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(proxy.bundle))

    yield through
    for proxy in proxies:
        proxy.close()


def activity(uri: str, hours: float, caller: str, status: str = "Succeeded") -> dict[str, Any]:
    return {
        "resourceId": uri,
        "eventTimestamp": f"{at(hours)[:-1]}.1234567Z",
        "caller": caller,
        "operationName": {"value": "Microsoft.KeyVault/vaults/write", "localizedValue": "Update Vault"},
        "status": {"value": status, "localizedValue": status},
        "correlationId": f"c-{caller}",
        "eventDataId": "e",
    }


def test_the_activity_log_names_the_newest_change_that_took_place(through: Callable[[Any], None]) -> None:
    bed = AzureBed(seed=7, scale=1, clock=lambda: NOW)
    through(bed)
    account = AzureTenant(tenant=TENANT)
    handle = Directory(lambda: NOW, LIMITS).open(account, Transcript(), NOW)
    subscription = handle.parts()[0]
    vault = VAULT.format(subscription)
    bed.set(
        "activity",
        [
            activity(vault, 5, "before"),
            activity(vault.upper(), 1, "mallory@acme.example"),
            activity(vault, 1.5, "older"),
            activity(vault, 0.5, "refused", "Failed"),
            activity(vault, 0.4, ""),
            activity(f"{vault}2", 0.3, "another"),
        ],
    )
    scope = Scope("azure", TENANT, subscription)
    assert who.changed_by(handle, scope, vault, SINCE, NOW) == {
        "who": "mallory@acme.example",
        "event": "Microsoft.KeyVault/vaults/write",
        "when": f"{at(1)[:-1]}.1234567Z",
        "request": "c-mallory@acme.example",
        "source": "Activity Log",
    }
    assert who.changed_by(handle, scope, "users/somebody", SINCE, NOW) is None
    assert bed.unserved() == []
    bed.revoke("Microsoft.Insights/eventtypes/values/read")
    again = Directory(lambda: NOW, LIMITS).open(account, Transcript(), NOW)
    with pytest.raises(Denied, match=r"eventtypes/management/values.*AuthorizationFailed"):
        who.changed_by(again, scope, vault, SINCE, NOW)


def audited(name: str, hours: float, person: str, code: int = 0) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "authenticationInfo": {"principalEmail": person},
        "methodName": "storage.setIamPermissions",
        "resourceName": name,
        "serviceName": "storage.googleapis.com",
    }
    if code:
        payload["status"] = {"code": code, "message": "no"}
    log = "projects/acme-prod/logs/cloudaudit.googleapis.com%2Factivity"
    return {"insertId": f"i-{person}", "logName": log, "timestamp": at(hours), "protoPayload": payload}


def test_the_audit_logs_name_the_newest_change_that_took_place(through: Callable[[Any], None]) -> None:
    bed = GcpBed(seed=7, scale=1, clock=lambda: NOW)
    through(bed)
    account = GoogleOrganization(parent=f"organizations/{ORGANIZATION}")
    bucket = 'acme-"quoted"'
    name = f"projects/_/buckets/{bucket}"
    bed.set(
        "audit",
        [
            audited(name, 5, "before@acme.example"),
            audited(name, 1.5, "older@acme.example"),
            audited(name, 1, "mallory@acme.example"),
            audited(name, 0.5, "refused@acme.example", 7),
            audited(f"{name}2", 0.3, "another@acme.example"),
        ],
    )
    handle = Directory(lambda: NOW, LIMITS).open(account, Transcript(), NOW)
    scope = Scope("gcp", account.scope.account, "acme-prod")
    assert who.changed_by(handle, scope, f"//storage.googleapis.com/{bucket}", SINCE, NOW) == {
        "who": "mallory@acme.example",
        "event": "storage.setIamPermissions",
        "when": at(1),
        "request": "i-mallory@acme.example",
        "source": "Cloud Audit Logs",
    }
    instance = "projects/acme-prod/zones/z/instances/one"
    bed.set("audit", [audited(instance, 1, "eve@acme.example")])
    again = Directory(lambda: NOW, LIMITS).open(account, Transcript(), NOW)
    found = who.changed_by(again, account.scope, f"//compute.googleapis.com/{instance}", SINCE, NOW)
    assert found is not None
    assert found["who"] == "eve@acme.example"
    assert who.changed_by(again, account.scope, "nobody", SINCE, NOW) is None
    assert bed.unserved() == []
    bed.revoke("logging.logEntries.list")
    refused = Directory(lambda: NOW, LIMITS).open(account, Transcript(), NOW)
    with pytest.raises(Denied, match="logEntries"):
        who.changed_by(refused, scope, f"//storage.googleapis.com/{bucket}", SINCE, NOW)


# --- what is asked, of an alert ---


def test_an_alert_is_looked_up_in_its_account_between_its_last_good_and_its_first_bad_run() -> None:
    runs = {
        3: {"started": "2026-01-05T09:00:00.000000Z", "finished": "2026-01-05T09:01:00.000000Z"},
        9: {"started": "2026-01-05T10:00:00.000000Z", "finished": "2026-01-05T10:02:00.000000Z"},
    }
    ledger: Any = SimpleNamespace(entry=lambda seq: SimpleNamespace(data=runs[seq]))
    asked: list[Any] = []

    class Handle:
        region = "eu-central-1"

        def each(self, *names: str, **params: Any) -> list[Any]:
            asked.append(
                (
                    params["region"],
                    params["LookupAttributes"][0]["AttributeValue"],
                    params["StartTime"],
                    params["EndTime"],
                )
            )
            return []

    clouds: Any = SimpleNamespace(open=lambda settings, transcript, reference: Handle())
    ask = asking(ledger, clouds, [AwsAccount(account="123456789012")], lambda: NOW)
    alert = {"scope": "aws/123456789012/eu-west-1", "subject": "vol-1", "last_good": 3, "first_bad": 9, "since": ""}
    assert ask(alert) is None
    assert asked == [("eu-west-1", "vol-1", "2026-01-05T09:00:00Z", "2026-01-05T10:02:00Z")]
    asked.clear()
    group = {**alert, "scope": "aws/123456789012", "subject": "", "subjects": ["arn:aws:s3:::one", "two"]}
    ask({**group, "last_good": None, "count": 2})
    assert [(region, name) for region, name, *_ in asked] == [
        ("us-east-1", "one"),
        ("us-east-1", "arn:aws:s3:::one"),
        ("eu-central-1", "one"),
        ("eu-central-1", "arn:aws:s3:::one"),
    ]
    assert {since for _, _, since, _ in asked} == {"2026-01-04T10:02:00Z"}
    assert ask({**alert, "scope": "aws/999999999999"}) is None


def test_an_event_that_does_not_say_what_happened_is_no_answer() -> None:
    class Handle:
        region = "us-east-1"

        def each(self, *names: str, **params: Any) -> list[Any]:
            return [{"EventId": "e-1", "CloudTrailEvent": "{}"}]

    with pytest.raises(Unreadable):
        who.changed_by(Handle(), Scope("aws", "1"), "ann", SINCE, NOW)


# --- the right to ask ---


@pytest.mark.parametrize("wanted", [True, False])
def test_the_right_to_ask_is_granted_only_where_it_is_asked_for(tmp_path: Path, wanted: bool) -> None:
    (tmp_path / "collector.toml").write_text(
        '[collector]\norigin = "test.local/one"\n[[aws]]\naccount = "123456789012"\n'
        f"[alerts]\nchanged_by = {str(wanted).lower()}\n"
    )
    (tmp_path / "controls.toml").write_text(starter(("aws", "azure", "gcp")))
    for cloud, names in who.PERMISSIONS.items():
        said = CliRunner().invoke(app, ["policy", cloud, "--config", str(tmp_path / "collector.toml")])
        assert said.exit_code == 0
        for name in names:
            if not name.startswith("api:"):  # which checks of logging ask for too
                assert (name in said.stdout) == wanted
