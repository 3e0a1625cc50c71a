"""A day that a collector lived through over a canned AWS account, in a real ledger, with what an auditor would ask for.

Real: engine, checks, transcript, ledger, signatures. Canned: the answers. The clock is turned by hand.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from collector import canonical, config, daemon
from collector.clouds.aws import Account
from collector.clouds.transcript import Answer
from collector.export import package, read
from collector.export.package import PackageInfo
from collector.ledger.entry import Draft, Kind
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from collector.operation import Operation

HOUR = timedelta(hours=1)
DAY = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = "123456789012"
HOME = "eu-west-1"
EXPORTED = DAY + 20 * HOUR
CONFIG = f"""
[collector]
origin = "test.local/acme"
[[aws]]
account = "{ACCOUNT}"
home_region = "{HOME}"
[windows.morning]
start = 2026-01-01T06:00:00Z
end = 2026-01-01T16:00:00Z
zone = "Europe/Berlin"
criteria = ["CC6.1", "CC6.7", "CC7.1", "CC8.1"]
[windows.people]
start = 2026-01-01T06:00:00Z
end = 2026-01-01T16:00:00Z
criteria = ["CC1.4"]
scopes = ["aws/{ACCOUNT}"]
[windows.later]
start = 2026-01-02
end = 2026-01-03
criteria = ["CC6.1"]
"""
CONTROLS = """
[controls.IAM-1]
title = "People sign in with two factors."
owner = "identity"
criteria = ["CC6.1", "CC1.4"]
checks = ["aws-iam-user-mfa"]
[controls.DATA-1]
title = "Data at rest is encrypted."
owner = "storage"
criteria = ["CC6.7"]
checks = ["aws-ebs-volume-encryption"]
[controls.OPS-1]
title = "Machines are patched."
owner = "platform"
criteria = ["CC7.1"]
checks = ["aws-ec2-patch-compliance"]
limits = { aws-ec2-patch-compliance = { scan_days_max = 2 } }
"""
REPORT = "user,arn,password_enabled,mfa_active"


class Cloud:
    """One account whose people, volumes and machines a test changes between runs."""

    def __init__(self, now: Any) -> None:
        self.now = now
        self.account = ACCOUNT
        self.mfa = {"ann": "true", "bob": "true"}
        self.encrypted: dict[str, Any] = {"vol-1": True, "vol-2": True}
        self.patch_state: dict[str, Any] = {"CriticalNonCompliantCount": 0}
        self.fails: dict[tuple[str, str], str] = {}  # operation and region: code of our family
        self.calls = 0

    def open(self, settings: Any, transcript: Any, reference: datetime) -> Account:
        return Account(settings.account, transcript, reference, self.put, settings.home_region, lambda _: None)

    def put(self, service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
        self.calls += 1
        now = self.now()
        common = {"request_id": f"request-{self.calls}", "date": format_datetime(now, usegmt=True)}
        if (operation, region) in self.fails:
            body = {"Error": {"Code": "AccessDenied", "Message": "no"}}
            return Answer(body, now, 1, 403, "AccessDenied", self.fails[operation, region], **common)
        if operation == "describe_volumes":
            return self._volumes(region, params, now, common)
        return Answer(getattr(self, f"_{operation}")(region), now, 7, **common)

    def _volumes(self, region: str, params: Mapping[str, Any], now: datetime, common: Any) -> Answer:
        """Two pages in the home region, nothing elsewhere."""
        names = sorted(self.encrypted) if region == HOME else []
        page = [{"VolumeId": n, "Encrypted": self.encrypted[n], "KmsKeyId": f"key-of-{n}"} for n in names]
        if region != HOME:
            return Answer({"Volumes": []}, now, 3, **common)
        if "NextToken" in params:
            return Answer({"Volumes": page[1:]}, now, 3, **common)
        return Answer({"Volumes": page[:1]}, now, 3, token={"NextToken": f"t{self.calls}"}, **common)

    def _get_caller_identity(self, region: str) -> Any:
        return {"Account": self.account, "Arn": f"arn:aws:iam::{self.account}:role/EvidenceReadOnly"}

    def _describe_regions(self, region: str) -> Any:
        return {"Regions": [{"RegionName": HOME}, {"RegionName": "us-east-1"}]}

    def _generate_credential_report(self, region: str) -> Any:
        return {"State": "COMPLETE" if self.calls % 2 else "INPROGRESS"}

    def _get_credential_report(self, region: str) -> Any:
        rows = [f"{name},arn:aws:iam::{ACCOUNT}:user/{name},true,{mfa}" for name, mfa in sorted(self.mfa.items())]
        return {"Content": "\n".join([REPORT, *rows]), "GeneratedTime": self.now().isoformat()}

    def _describe_instances(self, region: str) -> Any:
        there = [{"InstanceId": "i-1", "State": {"Name": "running"}}] if region == HOME else []
        return {"Reservations": [{"Instances": there}]}

    def _describe_instance_patch_states(self, region: str) -> Any:
        state = {"SecurityNonCompliantCount": 0, "OperationEndTime": "2026-01-01T00:00:00Z", **self.patch_state}
        return {"InstancePatchStates": [{"InstanceId": "i-1", **state}]}


class Lived:
    """The day. ``hour`` lets one pass; ``export`` writes a package of a window."""

    def __init__(self, folder: Path, configuration: str = CONFIG, controls: str = CONTROLS) -> None:
        self.folder = folder
        self.now = DAY - HOUR / 2
        self.cloud = Cloud(lambda: self.now)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "collector.toml").write_text(configuration)
        (folder / "controls.toml").write_text(controls)
        self.settings = config.load(folder / "collector.toml", {})
        self.operation = self.start()
        self.forged_signer: FileSigner | None = None

    @property
    def ledger(self) -> Ledger:
        return self.operation.ledger

    @property
    def signer(self) -> FileSigner:
        return self.forged_signer or daemon.signer_of(self.settings)

    def start(self) -> Operation:
        registry = daemon.load_registry(self.settings)
        ledger = daemon.open_ledger(self.settings, create=True)
        operation = Operation(
            self.settings, daemon.load_controls(self.settings, registry), registry, ledger, self.cloud, lambda: self.now
        )
        operation.announce()
        operation.plan(self.settings.aws[0])
        operation.checkpoint()
        return operation

    def reconfigure(self, controls: str) -> None:
        (self.folder / "controls.toml").write_text(controls)
        self.ledger.close()
        self.operation = self.start()

    def hour(self, reason: str = "the run before it was still at work") -> None:
        """The next slot, begun 30 seconds after it was due."""
        self.now = self.now.replace(minute=0, second=0) + HOUR + timedelta(seconds=30)
        account = self.settings.aws[0]
        self.operation.plan(account)
        self.operation.answer_due(account, reason)
        self.operation.heartbeat()
        self.operation.checkpoint()

    def export(self, out: Path, window: str = "morning", exported_at: datetime = EXPORTED) -> PackageInfo:
        self.ledger.checkpoint(exported_at)
        dossier = read.read(self.ledger, self.settings, window, exported_at)
        return package.write(dossier, self.ledger, self.signer, out)


def live(folder: Path) -> Lived:
    """The whole day: 18 slots, one deviation of a user, one blind region, two lost slots, one unreadable machine."""
    lived = Lived(folder)
    for hour in range(18):
        if hour in (11, 12):
            continue  # the collector is down
        lived.cloud.mfa["bob"] = "false" if hour in (8, 9) else "true"
        lived.cloud.encrypted["vol-2"] = hour < 13
        lived.cloud.patch_state["CriticalNonCompliantCount"] = "many" if hour == 14 else 0
        lived.cloud.fails = {("describe_volumes", "us-east-1"): "denied"} if hour == 10 else {}
        if hour == 13:
            lived.now += 2 * HOUR
        lived.hour("the collector was not running")
    return lived


# --- how to cheat, for the tests that must catch it ---

Change = Callable[[dict[str, Any]], "dict[str, Any] | None"]


def forge(
    lived: Lived,
    folder: Path,
    change: Change,
    blobs: Mapping[str, bytes] | None = None,
    signer: FileSigner | None = None,
) -> Lived:
    """The day's ledger written anew with the same key, or with another one: every hash, root and signature is right.

    ``change`` alters the fields of an entry, or leaves the entry out by returning None. ``blobs`` are put beside it.
    """
    forged = copy.copy(lived)
    forged.folder = folder
    folder.mkdir(parents=True)
    signs = signer or lived.signer
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    ledger = Ledger.open(url, origin=lived.ledger.origin, signer=signs, create=True)
    signed = {item.size: item.at for item in lived.ledger.checkpoints()}
    begin = 0
    for size in sorted(signed):
        with ledger.write() as batch:
            for data in (blobs or {}).values():
                batch.blob(data)
            for entry in lived.ledger.entries(begin, size):
                fields = change(dict(entry.data))
                if fields is None:
                    continue
                at = canonical.moment(fields.pop("at"))
                del fields["seq"], fields["kind"]
                if entry.kind is Kind.KEY:
                    fields["vkey"] = str(signs.key)
                for data in _blobs_of(lived.ledger, entry.data):
                    batch.blob(data)
                batch.add(Draft(entry.kind, at, fields))
        ledger.checkpoint(signed[size])
        begin = size
    forged.operation = copy.copy(lived.operation)
    forged.operation.ledger = ledger
    forged.forged_signer = signs
    return forged


def _blobs_of(ledger: Ledger, data: Mapping[str, Any]) -> Iterator[bytes]:
    for name in ("blob", "code", "calls", "observations"):
        digest = data.get(name)
        if digest and ledger.has_blob(digest):
            yield ledger.blob(digest)
    if data.get("calls"):
        for call in canonical.parse(ledger.blob(data["calls"])):
            if call["body"]:
                yield ledger.blob(call["body"])


def resum(root: Path) -> None:
    """Makes SHA256SUMS fit the files, as anybody can who edits a package."""
    names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    names = [name for name in names if name not in ("SHA256SUMS", "manifest.dsse.json")]
    lines = [f"{canonical.digest((root / name).read_bytes())}  {name}\n" for name in names]
    (root / "SHA256SUMS").write_text("".join(lines))


def resign(root: Path, signer: FileSigner, change: Callable[[dict[str, Any]], None] = lambda statement: None) -> None:
    """Makes SHA256SUMS and the manifest fit the files, as only somebody with a key can."""
    resum(root)
    sums = (root / "SHA256SUMS").read_bytes()
    tops: dict[str, bytes] = {}
    for line in sums.splitlines(keepends=True):
        top, slash, _ = line[66:].decode().rstrip("\n").partition("/")
        tops[top + slash] = tops.get(top + slash, b"") + line
    subject = [{"name": "SHA256SUMS", "digest": {"sha256": canonical.digest(sums)}}]
    for name in sorted(tops):
        digest = canonical.digest(tops[name]) if name.endswith("/") else tops[name][:64].decode()
        subject.append({"name": name, "digest": {"sha256": digest}})
    old = canonical.parse((root / "manifest.dsse.json").read_bytes())
    statement = canonical.parse(base64.b64decode(old["payload"]))
    statement["subject"] = subject
    statement["predicate"]["vkey"] = str(signer.key)
    change(statement)
    (root / "manifest.dsse.json").write_bytes(package.envelope(canonical.record(statement), signer))
