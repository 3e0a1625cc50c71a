"""No secret leaves: they are planted wherever the simulated clouds and our own configuration can hold one, and every
byte that a collector wrote, said or sent is searched for them.

Where a place is meant for a secret (an environment variable, user data, a password), any text stands there. Where
people put secrets though they should not (tags, labels, descriptions, filters), what stands there looks like one:
nothing can tell an arbitrary word from a secret.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
from botocore.exceptions import ClientError

from collector import config, daemon, logs
from collector.alert.outbox import deliver_due, open_channels
from collector.cli.windows import export_window
from collector.clouds.aws import Edge, credentials_for
from collector.demo.cloud import ORGANIZATION, TENANT, WORKSPACE_ADMIN, SimulatedCloud
from collector.demo.estate import PLANTED_SECRETS
from collector.demo.gcp.estate_machines import PLANTED_SECRETS as PLANTED_IN_GCP
from collector.demo.play import Clock
from collector.web.metrics import Metrics

MARK = "zq7Xv"  # of every secret that is planted here; no other text has it
NOW = datetime(2026, 1, 1, 11, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTROLS = """
[controls.ALL]
title = "Everything is as it should be."
owner = "tests"
criteria = ["CC6.1"]
cadence = "1h"
checks = [{checks}]
"""
CRASHING = '''"""A check crashes on every subject.

Why: its error's words hold a secret, and those are a stranger's.
Remedy: none is needed.
"""

import os
from dataclasses import dataclass

from collector.check import Check, Family, bad, good, not_satisfied, satisfied


@dataclass(frozen=True)
class Fact:
    fine: bool


def population(aws):
    raise RuntimeError("could not log in with " + os.environ["COLLECTOR_MAIL_PASSWORD"])


CHECK = Check(
    id="aws-test-crash",
    family=Family.MFA,
    criteria=("CC6.1",),
    permissions=("ec2:DescribeVolumes",),
    per="account",
    population=population,
    name=str,
    observe=lambda aws, subject: Fact(True),
    evaluate=lambda fact: satisfied("is fine") if fact.fine else not_satisfied("is not"),
    examples=(good(Fact(True)), bad(Fact(False))),
)
'''


def secret(place: str) -> str:
    """A secret that says where it was planted, if it is found."""
    return f"{MARK}-{place}-0123456789abcdef"


OURS = {
    "COLLECTOR_HOOK_SECRET": secret("webhook-key"),
    "COLLECTOR_MAIL_PASSWORD": secret("smtp-password"),
    "COLLECTOR_PAGER": (MARK + "0123456789abcdef" * 2)[:32],
    "COLLECTOR_SLACK": f"http://127.0.0.1:1/services/T0/B0/{secret('slack')}",
    "COLLECTOR_TEAMS": f"http://127.0.0.1:1/workflows/x?sig={secret('teams')}",
    "COLLECTOR_APPRISE": f"json://ada:{secret('apprise')}@127.0.0.1:1/",
    "COLLECTOR_ALIVE": f"http://127.0.0.1:1/ping/{secret('heartbeat')}",
}
ENCODED = base64.b64encode(secret("launch-template").encode()).decode()  # as EC2 asks for user data
BROKEN_DATABASE = f"postgresql+psycopg://app:{secret('database')}@127.0.0.1:1/ledger"


class Receiver:
    """Hears everything, refuses all, and echoes in the refusal what it was sent."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                heard.append(body)
                self.send_response(500)
                self.end_headers()
                self.wfile.write(f"refused {secret('echo')}: ".encode() + str(self.headers).encode() + body[:200])

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/in"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Day:
    """What was lived, and all that left the process: by where it went."""

    folder: Path
    out: dict[str, bytes] = field(default_factory=dict)
    planted: int = 0
    blobs: int = 0


def plant_aws(cloud: SimulatedCloud) -> int:
    ec2, lam, ssm, s3 = (cloud.client(name) for name in ("ec2", "lambda", "ssm", "s3"))
    machines = [i["InstanceId"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    tags = [
        {"Key": "db-password", "Value": secret("ec2-tag")},
        {"Key": "dsn", "Value": f"mysql://app:{secret('ec2-dsn')}@db/app"},
    ]
    ec2.create_tags(Resources=[*machines, ec2.describe_volumes()["Volumes"][0]["VolumeId"]], Tags=tags)
    ec2.create_security_group(GroupName="leaky", Description=f"Password={secret('ec2-description')}")
    ec2.create_launch_template(
        LaunchTemplateName="leaky",
        LaunchTemplateData={"UserData": ENCODED, "ImageId": "ami-12c6146b"},
    )
    function = lam.list_functions()["Functions"][0]["FunctionName"]
    variables = {"Variables": {"DB": secret("lambda-variable")}}
    lam.update_function_configuration(
        FunctionName=function, Environment=variables, Description=f"api_key={secret('lambda-description')}"
    )
    ssm.put_parameter(Name="leaky", Value=secret("ssm"), Type="SecureString")
    bucket = s3.list_buckets()["Buckets"][0]["Name"]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "api-key", "Value": secret("s3-tag")}]})
    return 7


def plant_azure(cloud: SimulatedCloud) -> int:
    sas = f"https://x.blob.core.windows.net/c?sv=1&sig={secret('azure-sas')}"
    plants: list[tuple[str, str, Any]] = [
        ("Microsoft.Compute/virtualMachines", "tags", {"db-password": secret("azure-tag"), "backup": sas}),
        ("Microsoft.Compute/virtualMachines", "properties.osProfile.customData", secret("azure-custom-data")),
        ("Microsoft.Compute/virtualMachines", "properties.osProfile.adminPassword", secret("azure-admin")),
        ("Microsoft.Compute/virtualMachines", "properties.userData", secret("azure-user-data")),
        (
            "Microsoft.Compute/virtualMachines",
            "resources",
            [
                {
                    "type": "extensions",
                    "properties": {
                        "settings": {"commandToExecute": secret("azure-extension")},
                        "protectedSettings": {"storageAccountKey": secret("azure-protected")},
                    },
                }
            ],
        ),
        ("Microsoft.Web/sites", "properties.siteConfig.appSettings", [{"name": "A", "value": secret("azure-app")}]),
        (
            "Microsoft.Web/sites",
            "properties.siteConfig.connectionStrings",
            [{"name": "db", "connectionString": secret("azure-connection"), "type": "SQLAzure"}],
        ),
        ("Microsoft.Web/sites", "tags", {"note": f"Server=db;Pwd={secret('azure-site-tag')};"}),
        ("Microsoft.Storage/storageAccounts", "tags", {"key": f"AccountKey={secret('az').replace('-', '')}abcdef"}),
        ("Microsoft.KeyVault/vaults", "tags", {"token": secret("azure-vault-tag")}),
        ("Microsoft.Sql/servers", "properties.administratorLoginPassword", secret("azure-sql")),
        ("Microsoft.Cache/redis", "properties.accessKeys", {"primaryKey": secret("azure-redis")}),
        (
            "Microsoft.Insights/actionGroups",
            "properties.webhookReceivers",
            [{"name": "ops", "serviceUri": f"https://hooks.example/{secret('azure-hook')}"}],
        ),
    ]
    for kind, path, value in plants:
        for id in cloud.azure.resources(type=kind):
            cloud.azure.edit(id=id, path=path, value=value)
    return len(plants)


def plant_gcp(cloud: SimulatedCloud) -> int:
    scripts = [
        {"key": "enable-osconfig", "value": "TRUE"},
        *({"key": key, "value": secret(f"gcp-{key}")} for key in ("startup-script", "user-data", "db-password")),
    ]
    plants: list[tuple[str, str, Any]] = [
        ("compute.googleapis.com/Instance", "resource.data.metadata.items", scripts),
        ("compute.googleapis.com/Instance", "resource.data.labels", {"db_password": secret("gcp-label")}),
        ("compute.googleapis.com/Instance", "resource.data.description", f"password={secret('gcp-description')}"),
        ("sqladmin.googleapis.com/Instance", "resource.data.rootPassword", secret("gcp-root-password")),
        ("sqladmin.googleapis.com/Instance", "resource.data.settings.userLabels", {"token": secret("gcp-sql-label")}),
        ("logging.googleapis.com/LogSink", "resource.data.description", f"Bearer {secret('gcp-sink')}"),
        ("storage.googleapis.com/Bucket", "resource.data.labels", {"api_key": secret("gcp-bucket-label")}),
        (
            "monitoring.googleapis.com/NotificationChannel",
            "resource.data.labels",
            {"url": f"https://ops:{secret('gcp-channel')}@hooks.example/x", "auth_token": secret("gcp-channel-token")},
        ),
    ]
    for kind, path, value in plants:
        for id in cloud.gcp.resources(type=kind):
            cloud.gcp.edit(id=id, path=path, value=value)
    return len(plants)


def configure(folder: Path, cloud: SimulatedCloud, receiver: str) -> config.Settings:
    (folder / "checks").mkdir()
    (folder / "checks" / "crash.py").write_text(CRASHING)
    names = [item.check.id for item in daemon.shipped()] + ["aws-test-crash"]
    (folder / "controls.toml").write_text(CONTROLS.format(checks=", ".join(f'"{name}"' for name in names)))
    (folder / "collector.toml").write_text(
        '[collector]\norigin = "test.local/secrets"\n'
        f'[[aws]]\naccount = "{cloud.account}"\n[[azure]]\ntenant = "{TENANT}"\n'
        f'[[gcp]]\nparent = "{ORGANIZATION.replace("-", "/", 1)}"\nworkspace_admin = "{WORKSPACE_ADMIN}"\n'
        '[checks]\nfolders = ["checks"]\n'
        '[schedule]\nheartbeat_url_env = "COLLECTOR_ALIVE"\n'
        '[windows.day]\nstart = 2026-01-01\nend = 2026-01-02\ncriteria = ["CC6.1"]\n'
        f'[alerts.webhook.hook]\nurl = "{receiver}"\nsecret_env = "COLLECTOR_HOOK_SECRET"\n'
        '[alerts.email.mail]\nhost = "127.0.0.1"\nport = 1\nfrom = "a@acme.example"\nto = ["b@acme.example"]\n'
        'username = "ada"\npassword_env = "COLLECTOR_MAIL_PASSWORD"\n'
        f'[alerts.pagerduty.pager]\nrouting_key_env = "COLLECTOR_PAGER"\nurl = "{receiver}"\n'
        '[alerts.slack.chat]\nurl_env = "COLLECTOR_SLACK"\n[alerts.teams.team]\nurl_env = "COLLECTOR_TEAMS"\n'
        '[alerts.apprise.other]\nurl_env = "COLLECTOR_APPRISE"\n'
    )
    return config.load(folder / "collector.toml", os.environ)


def command(folder: Path, *arguments: str) -> bytes:
    found = subprocess.run(
        [sys.executable, "-m", "collector", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        timeout=120,
        check=False,
    )
    return found.stdout + found.stderr


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("secrets")
    root, before = logging.getLogger(), dict(os.environ)
    handlers, level = root.handlers[:], root.level
    stream, receiver, clock = io.StringIO(), Receiver(), Clock(NOW)
    lived = Day(folder)
    logs.setup("json", "debug", stream)
    try:
        with SimulatedCloud(seed=5, now=NOW) as cloud:
            os.environ.update(cloud.environment, **OURS)
            lived.planted = plant_aws(cloud) + plant_azure(cloud) + plant_gcp(cloud)
            settings = configure(folder, cloud, receiver.url)
            metrics = Metrics()
            with daemon.opened(settings, clock=clock) as operation:
                works = daemon.Daemon(
                    operation, open_channels(settings, os.environ), metrics, daemon.anchoring(operation)
                )
                operation.announce()
                for account in operation.accounts:
                    operation.plan(account)
                clock.set(NOW + HOUR)
                for account in operation.accounts:
                    sealed = operation.answer_due(account)
                    assert sealed is not None
                    metrics.sealed(sealed, operation.ledger)
                for bed, kind in ((cloud, "denied"), (cloud.azure, "500"), (cloud.gcp, "denied")):
                    bed.fault(kind=kind)
                clock.set(NOW + 2 * HOUR)
                for account in operation.accounts:  # nobody may look any more
                    assert operation.answer_due(account) is not None
                operation.heartbeat()
                metrics.delivered(deliver_due(operation.ledger, works.channels, clock))
                works._job("broken", _raise)()
                operation.checkpoint()
                lived.out["metrics"] = metrics.exposition("")[0]
                lived.out["readyz"] = json.dumps(works.ready()).encode()
                export_window(settings, operation.ledger, "day", folder / "package", clock())
                export_window(settings, operation.ledger, "day", folder / "package.zip", clock())
                for number, entry in enumerate(operation.ledger.entries()):
                    lived.out[f"entry {number} {entry.kind}"] = entry.body
                    for name, digest in entry.data.items():
                        if (
                            name in ("blob", "code", "calls", "observations", "list")
                            and digest
                            and operation.ledger.has_blob(digest)
                        ):
                            data = lived.out[f"blob {digest}"] = operation.ledger.blob(digest)
                            if name == "calls":
                                for call in json.loads(data):
                                    if call["body"]:
                                        lived.out[f"answer {call['operation']} {call['body']}"] = operation.ledger.blob(
                                            call["body"]
                                        )
            lived.blobs = sum(name.startswith(("blob", "answer")) for name in lived.out)
            for words in ("status --json", "preflight", "decisions", "checks list", "anchor list", "once --json"):
                lived.out[f"collector {words}"] = command(folder, *words.split())
            text = (folder / "collector.toml").read_text()
            (folder / "broken.toml").write_text(
                text.replace("[collector]", f'[collector]\ndatabase = "{BROKEN_DATABASE}"')
            )
            lived.out["collector status, no database"] = command(folder, "status", "--config", "broken.toml")
        lived.out["alerts"] = b"\n".join(receiver.heard)
        lived.out["log"] = stream.getvalue().encode()
        yield lived
    finally:
        receiver.close()
        os.environ.clear()
        os.environ.update(before)
        structlog.reset_defaults()
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)


def _raise() -> None:
    raise RuntimeError(f"cannot connect to {BROKEN_DATABASE}")


def unpacked(path: Path, data: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and whatever is packed in it."""
    yield str(path), data
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield from unpacked(path / name, archive.read(name))
    if data[:5] == b"%PDF-":
        for part in data.split(b"stream\n")[1:]:
            try:
                yield f"{path} (a stream)", zlib.decompressobj().decompress(part)
            except zlib.error:
                continue


def leaks(name: str, data: bytes) -> list[str]:
    words = [MARK, ENCODED, *PLANTED_SECRETS, *PLANTED_IN_GCP]
    found = [(data.find(word.encode()), word) for word in words]
    return [f"{name}: {data[max(0, at - 60) : at + 70]!r}" for at, _ in found if at >= 0]


def test_the_secrets_were_there_to_be_leaked(day: Day) -> None:
    """Redacted values stand in evidence where secrets were, alerts were sent, and commands said something."""
    kept = b"".join(data for name, data in day.out.items() if name.startswith("answer"))
    assert day.planted == 28
    assert kept.count(b"[redacted]") > 40
    assert day.out["alerts"].count(b"routing_key") >= 1
    assert day.blobs > 400
    assert b"crashed" in b"".join(data for name, data in day.out.items() if "run" in name)
    for name, said in day.out.items():
        if name.startswith("collector"):
            assert said, name
            assert b"Traceback" not in said, name


def test_nothing_that_was_sealed_said_or_sent_holds_one(day: Day) -> None:
    pager = OURS["COLLECTOR_PAGER"].encode()  # its key is a member of the body that PagerDuty's API asks for
    found = []
    for name, data in day.out.items():
        found += leaks(name, data.replace(pager, b"") if name == "alerts" else data)
    assert not found, "\n".join(found[:20])


def test_no_file_that_was_written_holds_one(day: Day) -> None:
    ours = {day.folder / "broken.toml"}  # where this test itself wrote one
    found, seen = [], 0
    for path in day.folder.rglob("*"):
        if path.is_file() and path not in ours and path.parent.name != "__pycache__":
            for name, data in unpacked(path, path.read_bytes()):
                seen += 1
                found += leaks(name, data)
    assert seen > 300
    assert not found, "\n".join(found[:20])


@pytest.mark.parametrize(
    "words",
    [
        "cannot reach https://ada:{}@proxy.example",
        "Password={} was refused",
        "Authorization: Bearer {}",
    ],
)
def test_an_error_that_echoes_what_was_sent_is_kept_without_it(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    class Client:
        def describe_volumes(self, **_: Any) -> Any:
            body = {"Error": {"Code": "InternalError", "Message": words.format(secret("echo"))}}
            raise ClientError({**body, "ResponseMetadata": {"HTTPStatusCode": 400}}, "DescribeVolumes")

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret("aws-key"))
    credentials: Callable[..., Any] = credentials_for
    edge = Edge(_Clients(Client()), "1", credentials(session_name="t"), lambda: NOW, lambda _: None)  # type: ignore[arg-type]
    answer = edge.put("ec2", "describe_volumes", "eu-west-1", {})
    assert answer.failure
    assert MARK not in str(answer)
    assert "[redacted]" in str(answer.body)


class _Clients:
    def __init__(self, client: Any) -> None:
        self._client = client

    def client(self, service: str, region: str) -> Any:
        return self._client

    def pace(self, account: str, service: str) -> Any:
        from collector.clouds.pace import Pace

        return Pace()
