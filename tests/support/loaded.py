"""Many accounts under sustained load: the daemon's hourly work over canned AWS accounts whose subjects change.

Real: engine, transcript, redaction, drift, alerts, outbox, metrics, ledger, signatures. Canned: the answers, the clock,
and the checks, which are as many as the registry has for AWS and of its two shapes: most judge what their listing
says, some ask once for each subject. Changes come at the rates of the engine's research: 5 % of the subjects a day are
replaced, 1 % get another configuration, 0.1 % turn from good to bad or back.
"""

from __future__ import annotations

import ctypes
import gc
import random
import sqlite3
import sys
import time
from array import array
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import create_engine, text

from collector import config, daemon, decisions
from collector.alert import reminding
from collector.alert.outbox import deliver_due
from collector.clouds.aws import Account
from collector.clouds.redact import redact
from collector.clouds.transcript import Answer
from collector.operation import Operation
from collector.web.metrics import Metrics

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
REGION = "eu-west-1"
REPLACED, RECONFIGURED, TURNED = 0.05 / 24, 0.01 / 24, 0.001 / 24  # of the subjects, in an hour
BAD_AT_FIRST = 0.03  # of those that are new
BAD = (REPLACED * BAD_AT_FIRST + TURNED) / (REPLACED + 2 * TURNED)  # of all, when as many are mended as break
SCRAPED_EVERY = 2  # runs for each look at /metrics: 100 an hour, with 200 accounts
ASKING_EVERY = 7  # each seventh check asks once for each subject
CHECK = '''"""Load {number} is encrypted.

Why: a check of the load's own, shaped like one of the registry's.
Remedy: none is needed.
"""

from dataclasses import dataclass

from collector.check import Check, Family, bad, boolean, field, good, not_satisfied, satisfied, text

ASKS = {asks}


@dataclass(frozen=True)
class Disk:
    encrypted: bool
    key: str


def population(aws):
    return aws.each("ec2", "describe_volumes", "Volumes", Filters=[{{"Name": "tag:load", "Values": ["{number}"]}}])


def observe(aws, volume):
    if ASKS:
        asked = aws.call("ec2", "describe_volume_attribute", VolumeId=volume["VolumeId"], Attribute="{number}")
        return Disk(boolean(field(field(asked, "AutoEnableIO"), "Value")), text(field(volume, "KmsKeyId")))
    return Disk(boolean(field(volume, "Encrypted")), text(field(volume, "KmsKeyId")))


def evaluate(disk):
    return satisfied(f"is encrypted with {{disk.key}}") if disk.encrypted else not_satisfied("is not encrypted")


CHECK = Check(
    id="aws-load-check-{number}",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("ec2:DescribeVolumes",),
    per="region",
    population=population,
    name=lambda volume: str(volume["VolumeId"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(Disk(True, "k")), bad(Disk(False, "k"))),
)
'''


class Clouds:
    """All accounts. A subject is a number, a version of its configuration and whether it is bad."""

    def __init__(self, accounts: int, checks: int, subjects: int, seed: int, clock: Any) -> None:
        self.chance = random.Random(seed)
        self.clock = clock
        self.subjects = subjects
        self.sizes = _sizes(subjects // accounts, checks)
        self.per_account = sum(self.sizes)
        self.names = array("q", range(accounts * self.per_account))
        self.versions = array("l", bytes(8 * len(self.names)))
        self.bad = bytearray(self.chance.random() < BAD for _ in self.names)
        self.next = len(self.names)
        self.calls = 0

    def change(self) -> int:
        """An hour's changes; returns how many subjects were touched."""
        count = len(self.names)
        touched = 0
        for rate, what in ((REPLACED, "name"), (RECONFIGURED, "version"), (TURNED, "bad")):
            expected = rate * count
            many = int(expected) + (self.chance.random() < expected % 1)
            for place in self.chance.sample(range(count), many):
                touched += 1
                if what == "name":
                    self.names[place], self.next = self.next, self.next + 1
                    self.versions[place], self.bad[place] = 0, self.chance.random() < BAD_AT_FIRST
                elif what == "version":
                    self.versions[place] += 1
                else:
                    self.bad[place] ^= 1
        return touched

    def open(self, settings: Any, transcript: Any, reference: datetime) -> Account:
        number = int(settings.account) - 10**11

        def put(service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
            return self._put(number, settings.account, operation, params)

        return Account(settings.account, transcript, reference, put, REGION, lambda _: None)

    def _put(self, number: int, account: str, operation: str, params: Mapping[str, Any]) -> Answer:
        self.calls += 1
        now = self.clock()
        body: Any
        if operation == "describe_volumes":
            check = int(params["Filters"][0]["Values"][0])
            first = number * self.per_account + sum(self.sizes[:check])
            body = {"Volumes": [self._volume(place) for place in range(first, first + self.sizes[check])]}
        elif operation == "describe_volume_attribute":
            place = self._place(number, int(params["Attribute"]), params["VolumeId"])
            body = {"AutoEnableIO": {"Value": not self.bad[place]}, "VolumeId": params["VolumeId"]}
        elif operation == "describe_regions":
            body = {"Regions": [{"RegionName": REGION}]}
        else:
            body = {"Account": account, "Arn": f"arn:aws:iam::{account}:role/EvidenceReadOnly"}
        id = f"{self.chance.getrandbits(128):032x}"  # as random as real ones: they do not compress
        date = format_datetime(now, usegmt=True)
        return Answer(redact(body), now, self.chance.randrange(20, 900), request_id=id, date=date)

    def _place(self, number: int, check: int, name: str) -> int:
        first = number * self.per_account + sum(self.sizes[:check])
        return self.names.index(int(name[4:], 16), first, first + self.sizes[check])

    def _volume(self, place: int) -> dict[str, Any]:
        """About as large as EC2's own, 650 bytes."""
        name = f"vol-{self.names[place]:017x}"
        version = self.versions[place]
        return {
            "Attachments": [
                {
                    "AttachTime": "2026-01-01T00:00:00.000Z",
                    "DeleteOnTermination": True,
                    "Device": "/dev/xvda",
                    "InstanceId": f"i-{self.names[place] * 7919:017x}",
                    "State": "attached",
                    "VolumeId": name,
                }
            ],
            "AvailabilityZone": f"{REGION}a",
            "CreateTime": "2026-01-01T00:00:00.000Z",
            "Encrypted": not self.bad[place],
            "Iops": 3000,
            "KmsKeyId": f"arn:aws:kms:{REGION}:123456789012:key/{version % 5}",
            "MultiAttachEnabled": False,
            "Size": 30 + version,
            "SnapshotId": f"snap-{self.names[place] * 104729:017x}",
            "State": "in-use",
            "Tags": [{"Key": "Name", "Value": f"disk-{self.names[place]}"}, {"Key": "v", "Value": str(version)}],
            "Throughput": 125,
            "VolumeId": name,
            "VolumeType": "gp3",
        }


def _sizes(subjects: int, checks: int) -> list[int]:
    """How many each check has, ``subjects`` in all: a few have most of them, as in real accounts, and none has none."""
    weights = [1 / (1 + number % 10) for number in range(checks)]
    sizes = [max(1, int(subjects * weight / sum(weights))) for weight in weights]
    sizes[0] += subjects - sum(sizes)
    return sizes


class Loaded:
    """The collector under that load, as the daemon would drive it. ``round`` lives through one hour."""

    def __init__(
        self,
        folder: Path,
        *,
        accounts: int,
        subjects: int,
        checks: int | None = None,
        database: str = "",
        inbox: str = "",
        seed: int = 7,
        still: bool = False,
    ) -> None:
        self.still = still
        self.now = START - HOUR / 2
        self.database = database
        folder.mkdir(parents=True, exist_ok=True)
        self.checks = checks or sum(item.check.cloud == "aws" for item in daemon.shipped())
        (folder / "checks").mkdir()
        for number in range(self.checks):
            source = CHECK.format(number=f"{number:02d}", asks=number % ASKING_EVERY == ASKING_EVERY - 1)
            (folder / "checks" / f"load_{id(self)}_{number:02d}.py").write_text(source)
        named = "\n".join(
            f'[[aws]]\naccount = "{10**11 + n}"\nregions = ["{REGION}"]\nhome_region = "{REGION}"'
            for n in range(accounts)
        )
        listed = ", ".join(f'"aws-load-check-{n:02d}"' for n in range(self.checks))
        (folder / "controls.toml").write_text(
            f'[controls.LOAD]\ntitle = "All is encrypted."\nowner = "load"\ncriteria = ["CC6.1"]\nchecks = [{listed}]\n'
            'cadence = "1h"\n'
        )
        store = f'database = "{database}"\n' if database else ""
        channel = f'[alerts.webhook.inbox]\nurl = "{inbox}"\nsecret_env = "LOAD_SECRET"\n' if inbox else ""
        (folder / "collector.toml").write_text(
            f'[collector]\norigin = "test.local/load"\n{store}{named}\n[checks]\nfolders = ["checks"]\n{channel}'
        )
        self.folder = folder
        self.settings = config.load(folder / "collector.toml", {})
        registry = daemon.load_registry(self.settings)
        self.clouds = Clouds(accounts, self.checks, subjects, seed, self._clock)
        self.operation = Operation(
            self.settings,
            daemon.load_controls(self.settings, registry),
            registry,
            daemon.open_ledger(self.settings, create=True),
            self.clouds,
            self._clock,
        )
        self.channels = daemon.open_channels(self.settings, {"LOAD_SECRET": "a secret of the load, long enough"})
        self.metrics = Metrics()
        self.operation.announce()
        for account in self.operation.accounts:
            self.operation.plan(account)
        self.rounds = self.changes = self.alerts = 0

    def _clock(self) -> datetime:
        """No two moments are the same, as with a real clock: equal ones would take no room in the ledger."""
        self.now += timedelta(microseconds=self.clouds.chance.randrange(20, 900))
        return self.now

    def round(self) -> float:
        """The next hour; returns the seconds of CPU that it took."""
        if self.rounds and not self.still:
            self.changes += self.clouds.change()
        self.now = self.now.replace(minute=0, second=0) + HOUR + timedelta(seconds=30)
        begun = time.process_time()
        operation = self.operation
        for number, account in enumerate(operation.accounts):
            operation.plan(account)
            sealed = operation.answer_due(account)
            if sealed is None or len(sealed.runs) != self.checks:
                raise AssertionError(f"{account.scope} did not answer its slot")
            if blind := [run.reason for run in sealed.runs if run.population is None]:
                raise AssertionError(f"{account.scope} was not seen: {blind[0]}")
            self.alerts += sealed.alerts
            self.metrics.sealed(sealed, operation.ledger)
            self.now += timedelta(seconds=1)
            if number % SCRAPED_EVERY == 0:
                self.metrics.exposition("")
        operation.heartbeat()
        decisions.review(operation.ledger, self.now, operation.controls, self.settings, operation.registry)
        reminding.escalate(operation.ledger, operation.controls, self.settings, operation.clock)
        while counts := deliver_due(operation.ledger, self.channels, operation.clock):
            self.metrics.delivered(counts)
        operation.checkpoint()
        self.rounds += 1
        return time.process_time() - begun

    def database_bytes(self) -> int:
        """Of the database on disk, when what SQLite holds in its log was moved into its file."""
        if self.database:
            engine = create_engine(self.database)
            with engine.connect() as connection:
                found = int(connection.execute(text("select pg_database_size(current_database())")).scalar_one())
            engine.dispose()
            return found
        (path,) = self.folder.rglob("ledger.db")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("pragma wal_checkpoint(truncate)")
        return path.stat().st_size

    def close(self) -> None:
        self.operation.ledger.close()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def resident_bytes() -> int:
    """What this process holds in memory, after the garbage is collected and freed pages went back to the system."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096
    raise NotImplementedError("read from /proc, which only Linux has")


def slope(values: list[float]) -> tuple[float, float]:
    """Least squares: how much a value grows a step, and the standard error of that."""
    count = len(values)
    middle, mean = (count - 1) / 2, sum(values) / count
    spread = sum((place - middle) ** 2 for place in range(count))
    rise = sum((place - middle) * (value - mean) for place, value in enumerate(values)) / spread
    left = sum((value - mean - rise * (place - middle)) ** 2 for place, value in enumerate(values))
    return rise, (left / max(1, count - 2) / spread) ** 0.5
