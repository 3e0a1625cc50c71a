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


# --- people ---


def of_entra(hours: float, target: str, by: dict[str, Any], result: str = "success", **more: Any) -> dict[str, Any]:
    """A directoryAudit, as in Microsoft's reference."""
    return {
        "id": f"Directory_{hours}",
        "category": "UserManagement",
        "correlationId": f"c-{hours}",
        "result": result,
        "resultReason": "",
        "activityDisplayName": "Delete authentication method",
        "activityDateTime": f"{at(hours)[:-1]}.7215374Z",
        "loggedByService": "Authentication Methods",
        "operationType": "Delete",
        "initiatedBy": {"user": None, "app": None, **by},
        "targetResources": [{"id": target, "displayName": None, "type": "User", "modifiedProperties": []}],
        "additionalDetails": [],
        **more,
    }


MALLORY = {
    "user": {"id": "1", "displayName": "M", "userPrincipalName": "mallory@acme.example", "ipAddress": "192.0.2.1"}
}
ROBOT = {"app": {"appId": "2", "displayName": "Provisioning", "servicePrincipalId": "3", "servicePrincipalName": None}}


def test_the_log_of_entra_names_who_did_it_to_a_person_or_to_the_tenant(through: Callable[[Any], None]) -> None:
    bed = AzureBed(seed=7, scale=1, clock=lambda: NOW)
    through(bed)
    account = AzureTenant(tenant=TENANT)
    handle = Directory(lambda: NOW, LIMITS).open(account, Transcript(), NOW)
    user, other = (bed.show(id) for id in bed.resources("/users")[:2])
    bed.set(
        "directory_audits",
        [
            of_entra(5, user["id"], MALLORY),
            of_entra(1.5, user["id"], ROBOT, activityDisplayName="Update user"),
            of_entra(1, user["id"], MALLORY),
            of_entra(0.5, user["id"], ROBOT, result="failure"),
            of_entra(0.4, other["id"], ROBOT),
            of_entra(0.3, "p-1", ROBOT, loggedByService="Conditional Access", activityDisplayName="Update policy"),
        ],
    )
    bed.set("page_size", 1)
    scope = account.scope
    subject = f"/users/{user['userPrincipalName']}"
    assert who.changed_by(handle, scope, subject, SINCE, NOW) == {
        "who": "mallory@acme.example",
        "event": "Delete authentication method",
        "when": f"{at(1)[:-1]}.7215374Z",
        "request": "c-1",
        "source": "Entra ID audit log",
    }
    tenant = who.changed_by(handle, scope, f"/tenants/{TENANT}", SINCE, NOW)
    assert tenant is not None
    assert (tenant["who"], tenant["event"]) == ("Provisioning", "Update policy")
    assert who.changed_by(handle, scope, "/users/nobody@acme.example", SINCE, NOW) is None
    assert bed.unserved() == []
    bed.revoke("graph:AuditLog.Read.All")
    again = Directory(lambda: NOW, LIMITS).open(account, Transcript(), NOW)
    with pytest.raises(Denied, match=r"directoryAudits"):
        who.changed_by(again, scope, subject, SINCE, NOW)


def of_workspace(hours: float, actor: str, application: str, name: str, person: str = "") -> dict[str, Any]:
    """An activity of the Reports API, as in Google's reference."""
    return {
        "kind": "admin#reports#activity",
        "id": {
            "time": f"{at(hours)[:-1]}.123Z",
            "uniqueQualifier": f"-{hours}",
            "applicationName": application,
            "customerId": "C01",
        },
        "etag": '"x"',
        "actor": {"callerType": "USER", "email": actor, "profileId": "1"},
        "events": [
            {
                "type": "USER_SETTINGS",
                "name": name,
                "parameters": [{"name": "USER_EMAIL", "value": person}] if person else [],
            }
        ],
    }


def test_the_logs_of_workspace_name_an_administrator_or_the_person(
    through: Callable[[Any], None], tmp_path: Path
) -> None:
    bed = GcpBed(seed=7, scale=1, clock=lambda: NOW)
    through(bed)
    account = GoogleOrganization(parent=f"organizations/{ORGANIZATION}", workspace_admin=bed.administrator)
    ann = bed.show(bed.resources("admin#directory#user")[0])["primaryEmail"]
    bed.set(
        "activities",
        [
            of_workspace(5, "before@x.example", "admin", "TURN_OFF_2_STEP_VERIFICATION", ann),
            of_workspace(1, "mallory@x.example", "admin", "TURN_OFF_2_STEP_VERIFICATION", ann.upper()),
            of_workspace(0.5, "mallory@x.example", "admin", "CHANGE_PASSWORD", "somebody@x.example"),
            of_workspace(0.4, ann, "user_accounts", "recovery_email_edit"),
            of_workspace(0.3, "somebody@x.example", "user_accounts", "2sv_disable"),
        ],
    )
    bed.set("page_size", 1)

    def ask() -> Any:
        handle = Directory(lambda: NOW, LIMITS).open(account, Transcript(), NOW)
        return who.changed_by(handle, account.scope, f"users/{ann}", SINCE, NOW)

    assert ask() == {
        "who": "mallory@x.example",
        "event": "TURN_OFF_2_STEP_VERIFICATION",
        "when": f"{at(1)[:-1]}.123Z",
        "request": "-1",
        "source": "Workspace audit log",
    }
    bed.set("activities", [*bed.get("activities"), of_workspace(0.2, ann, "user_accounts", "2sv_disable")])
    assert (ask()["who"], ask()["event"]) == (ann, "2sv_disable")
    bed.set("activities", [])
    assert ask() is None
    assert bed.unserved() == []
    bed.revoke("workspace:https://www.googleapis.com/auth/admin.reports.audit.readonly")
    with pytest.raises(Denied, match=r"activity|scope"):
        ask()
    handle = Directory(lambda: NOW, LIMITS).open(account, Transcript(), NOW)
    assert handle.each("admin.googleapis.com", "/admin/directory/v1/users", "users", customer="my_customer"), (
        "as before"
    )


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
        ("us-east-1", "two"),
        ("eu-central-1", "two"),
    ]
    assert {since for _, _, since, _ in asked} == {"2026-01-04T10:02:00Z"}
    assert ask({**alert, "scope": "aws/999999999999"}) is None


class Log:
    """Stands for ``who.changed_by``: answers by subject, and how long each takes."""

    def __init__(self, answers: dict[str, Any], seconds: float = 0.5) -> None:
        self.answers, self.seconds, self.now, self.asked = answers, seconds, 0.0, 0

    def changed_by(self, handle: Any, scope: Any, subject: str, since: Any, until: Any) -> Any:
        self.asked += 1
        self.now += self.seconds
        found = self.answers.get(subject)
        if isinstance(found, Exception):
            raise found
        return found


def did(person: str, event: str = "s3:DeleteBucketPolicy", when: str = "2026-01-05T10:00:00Z") -> dict[str, str]:
    return {"who": person, "event": event, "when": when, "request": f"r-{when[11:16]}", "source": "CloudTrail"}


def of_group(log: Log, monkeypatch: pytest.MonkeyPatch, count: int = 400) -> Any:
    monkeypatch.setattr(who, "changed_by", log.changed_by)
    clouds: Any = SimpleNamespace(open=lambda settings, transcript, reference: None)
    ledger: Any = SimpleNamespace(entry=lambda seq: None)
    ask = asking(ledger, clouds, [AwsAccount(account="123456789012")], lambda: NOW, lambda: log.now)
    names = [f"b{number}" for number in range(min(count, 50))]
    alert = {"scope": "aws/123456789012", "subject": "", "subjects": names, "count": count}
    return ask({**alert, "last_good": None, "first_bad": None, "since": "2026-01-05T11:00:00.000000Z"})


def test_of_a_group_five_are_asked_about_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log({f"b{number}": did("ann", when=f"2026-01-05T10:0{number}:00Z") for number in range(50)})
    found = of_group(log, monkeypatch)
    assert (log.asked, found["who"], found["when"], found["request"]) == (5, "ann", "2026-01-05T10:04:00Z", "r-10:04")
    assert found["event"] == "s3:DeleteBucketPolicy on b0 and 4 more (5 of the 5 asked about, of 400)"


def test_of_a_group_everybody_who_did_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log({"b0": did("bob", "s3:PutBucketPolicy"), "b2": did("ann"), "b4": did("ann")})
    found = of_group(log, monkeypatch)
    assert found["who"] == "ann"
    assert found["event"] == (
        "s3:DeleteBucketPolicy on b2 and 1 more; s3:PutBucketPolicy by bob on b0 (3 of the 5 asked about, of 400)"
    )


def test_a_slow_log_is_asked_about_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log({"b0": did("ann")}, seconds=1.6)
    assert of_group(log, monkeypatch)["event"].endswith("(1 of the 2 asked about, of 400)")


def test_what_one_answer_said_is_not_lost_to_the_failure_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log({"b0": did("ann"), "b1": Denied("no")})
    assert of_group(log, monkeypatch)["who"] == "ann"
    with pytest.raises(Denied):
        of_group(Log({"b0": Denied("no")}), monkeypatch)
    assert of_group(Log({}), monkeypatch) is None


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
            if not name.startswith(("api:", "graph:")):  # which checks ask for too
                assert (name.removeprefix("workspace:") in said.stdout) == wanted
