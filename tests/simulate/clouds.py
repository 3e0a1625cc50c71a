"""Small clouds of a seed, each a population that changes and a set of faults, and beside them what is really so.

The handles are the real ones; what they put to a cloud is answered here, without a network. The truth is written by
another hand than the checks: ``expected`` says, from the population and the faults alone, what an honest run finds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from collector.clouds import azure, gcp
from collector.clouds.aws import Account
from collector.clouds.rest import Call
from collector.clouds.transcript import Answer
from collector.model import Scope

MFA, EBS, PATCH = "aws-iam-user-mfa", "aws-ebs-volume-encryption", "aws-ec2-patch-compliance"
HTTPS, TLS = "azure-storage-https", "azure-storage-tls-version"
DISK, SQL = "gcp-disk-key", "gcp-sql-tls"

GOOD, BAD, OUTSIDE, UNKNOWN = "satisfied", "not-satisfied", "not-applicable", "undetermined"

NO_ANSWER = ("denied", "throttled", "unavailable", "disabled")  # codes of our family
CRASH = "crash"  # the handle itself breaks
TORN = "torn"  # one subject's own data are not as they must be
CUT = "cut"  # a listing ends before its end
ANYWHERE = ""
BROKEN_LIBRARY = "the library fell over its own feet"

Population = dict[str, str] | None  # state by subject; None when nobody can know who is in it
Key = tuple[str, str]  # check, scope
Tick = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """What is wrong with one operation ("*": all of the account) in one part, or in all."""

    operation: str
    part: str
    how: str


class Simulated:
    """One account of any cloud. ``tick`` is called before and after each answer: there a process may die or be held."""

    cloud = ""
    operations: tuple[tuple[str, tuple[str, ...]], ...] = ()  # with how each of them can fail

    def __init__(self, name: str, chance: random.Random, now: Callable[[], datetime]) -> None:
        self.name = name
        self.chance = chance
        self.now = now
        self.faults: list[Fault] = []
        self.calls = 0
        self.parts: list[str] = []
        self._named = 0

    @property
    def scope(self) -> Scope:
        return Scope(self.cloud, self.name)

    def new(self, kind: str) -> str:
        """A name that was never used before."""
        self._named += 1
        return f"{kind}-{self._named}"

    def how(self, operation: str, part: str) -> str:
        """How an operation fails now; "" when it does not. The newest fault counts."""
        for fault in reversed(self.faults):
            if fault.operation in (operation, "*") and fault.part in (ANYWHERE, part):
                return fault.how
        return ""

    def failing(self, operation: str, part: str) -> bool:
        """Whether an operation gives no answer at all."""
        return self.how(operation, part) in (*NO_ANSWER, CRASH)

    def answer(self, tick: Tick, operation: str, part: str, body: Callable[[], Any], token: Any = None) -> Answer:
        """One answer, or what comes in the place of one."""
        tick()
        self.calls += 1
        now = self.now()
        common = {"request_id": f"request-{self.calls}", "date": format_datetime(now, usegmt=True)}
        how = self.how(operation, part)
        if how == CRASH:
            raise RuntimeError(BROKEN_LIBRARY)
        if how in NO_ANSWER:
            error = {"Error": {"Code": f"Simulated{how.title()}", "Message": "no"}}
            found = Answer(error, now, 1, 403, error["Error"]["Code"], how, **common)
        else:
            found = Answer(body(), now, 7, token=token, **common)
        tick()
        return found

    # --- for the subclasses ---

    def handle(self, transcript: Any, reference: datetime, settings: Any, tick: Tick) -> Any:
        raise NotImplementedError

    def expected(self) -> dict[Key, Population]:
        """What a run finds now, of each check over each scope there could be."""
        raise NotImplementedError

    def change(self, chance: random.Random) -> None:
        """One thing of the population is another from here on."""
        raise NotImplementedError

    def disaster(self, chance: random.Random) -> Callable[[], None]:
        """Many subjects fall at once. Returns what mends them."""
        raise NotImplementedError

    def opened(self, *operations: str, part: str = ANYWHERE) -> str:
        """ "" when none of some operations fails, else how the first does."""
        return next((how for name in operations if (how := self.how(name, part)) and how not in (TORN, CUT)), "")


def _flip(chance: random.Random, held: dict[str, Any], flipped: Callable[[Any], Any]) -> None:
    if held:
        name = chance.choice(sorted(held))
        held[name] = flipped(held[name])


class Aws(Simulated):
    """People, volumes and machines of an account in two regions."""

    cloud = "aws"
    home = "eu-west-1"
    operations = (
        ("get_caller_identity", (*NO_ANSWER, CRASH)),
        ("describe_regions", NO_ANSWER),
        ("generate_credential_report", (*NO_ANSWER, CRASH)),
        ("get_credential_report", (*NO_ANSWER, TORN)),
        ("describe_volumes", (*NO_ANSWER, CRASH, TORN, CUT)),
        ("describe_instances", (*NO_ANSWER, CRASH)),
        ("describe_instance_patch_states", (*NO_ANSWER, CRASH, TORN)),
    )

    def __init__(self, name: str, chance: random.Random, now: Callable[[], datetime]) -> None:
        super().__init__(name, chance, now)
        self.parts = [self.home, "us-east-1"][: chance.randint(1, 2)]
        self.users = {self.new("user"): (True, chance.random() < 0.9) for _ in range(chance.randint(6, 12))}
        self.users[self.new("robot")] = (False, False)
        self.volumes = {part: self._some_volumes(chance) for part in self.parts}
        self.machines = {part: {self.new("i"): (True, 0) for _ in range(chance.randint(0, 4))} for part in self.parts}

    def _some_volumes(self, chance: random.Random) -> dict[str, bool]:
        return {self.new("vol"): chance.random() < 0.95 for _ in range(chance.randint(0, 6))}

    def handle(self, transcript: Any, reference: datetime, settings: Any, tick: Tick) -> Any:
        def put(service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
            again = "NextToken" in params
            token = None
            if operation == "describe_volumes" and self.volumes.get(region):
                # two pages; a listing that is cut begins anew for ever
                cut = self.how(operation, region) == CUT
                token = {"NextToken": "1"} if cut or not again else None
            return self.answer(tick, operation, region, lambda: getattr(self, f"_{operation}")(region, again), token)

        return Account(self.name, transcript, reference, put, settings.home_region, lambda _: None)

    def _get_caller_identity(self, region: str, _: bool) -> Any:
        return {"Account": self.name, "Arn": f"arn:aws:iam::{self.name}:role/EvidenceReadOnly"}

    def _describe_regions(self, region: str, _: bool) -> Any:
        return {"Regions": [{"RegionName": part} for part in self.parts]}

    def _generate_credential_report(self, region: str, _: bool) -> Any:
        return {"State": "COMPLETE"}

    def _get_credential_report(self, region: str, _: bool) -> Any:
        torn = min(self.users, default="") if self.how("get_credential_report", region) == TORN else ""
        rows = [
            f"{name},arn:aws:iam::{self.name}:user/{name},{str(password).lower()},"
            f"{'perhaps' if name == torn else str(mfa).lower()}"
            for name, (password, mfa) in sorted(self.users.items())
        ]
        header = "user,arn,password_enabled,mfa_active"
        root = f"<root_account>,arn:aws:iam::{self.name}:root,not_supported,true"
        return {"Content": "\n".join([header, root, *rows]), "GeneratedTime": self.now().isoformat()}

    def _describe_volumes(self, region: str, again: bool) -> Any:
        held = self.volumes[region]
        torn = min(held, default="") if self.how("describe_volumes", region) == TORN else ""
        page = [
            {"VolumeId": name, "KmsKeyId": f"key-of-{name}"} | ({} if name == torn else {"Encrypted": encrypted})
            for name, encrypted in sorted(held.items())
        ]
        return {"Volumes": page[1:] if again else page[:1]}

    def _describe_instances(self, region: str, _: bool) -> Any:
        there = [
            {"InstanceId": name, "State": {"Name": "running" if runs else "stopped"}}
            for name, (runs, _) in sorted(self.machines[region].items())
        ]
        return {"Reservations": [{"Instances": there}]}

    def _describe_instance_patch_states(self, region: str, _: bool) -> Any:
        torn = self.how("describe_instance_patch_states", region) == TORN
        common = {"SecurityNonCompliantCount": 0, "OperationEndTime": self.now().isoformat()}
        states = [
            {"InstanceId": name, "CriticalNonCompliantCount": "many" if torn else critical, **common}
            for name, (runs, critical) in sorted(self.machines[region].items())
            if runs
        ]
        return {"InstancePatchStates": states}

    def expected(self) -> dict[Key, Population]:
        shut = self.failing("get_caller_identity", self.home)
        found: dict[Key, Population] = {(MFA, str(self.scope)): None if shut else self._people()}
        for part in self.parts:
            found[EBS, f"{self.scope}/{part}"] = None if shut else self._disks(part)
            found[PATCH, f"{self.scope}/{part}"] = None if shut else self._patches(part)
        return found

    def _people(self) -> Population:
        if any(self.failing(f"{verb}_credential_report", self.home) for verb in ("generate", "get")):
            return None
        torn = min(self.users) if self.how("get_credential_report", self.home) == TORN else ""
        return {
            f"arn:aws:iam::{self.name}:user/{name}": UNKNOWN
            if name == torn
            else (OUTSIDE if not password else GOOD if mfa else BAD)
            for name, (password, mfa) in self.users.items()
        }

    def _disks(self, part: str) -> Population:
        how = self.how("describe_volumes", part)
        held = self.volumes[part]
        if self.failing("describe_volumes", part) or (how == CUT and held):
            return None
        torn = min(held, default="") if how == TORN else ""
        return {
            f"arn:aws:ec2:{part}:{self.name}:volume/{name}": UNKNOWN if name == torn else (GOOD if encrypted else BAD)
            for name, encrypted in held.items()
        }

    def _patches(self, part: str) -> Population:
        held = self.machines[part]
        if self.failing("describe_instances", part):
            return None
        how = self.how("describe_instance_patch_states", part)
        if how == CRASH and any(runs for runs, _ in held.values()):
            return None  # the check as a whole falls
        return {
            f"arn:aws:ec2:{part}:{self.name}:instance/{name}": OUTSIDE
            if not runs
            else (UNKNOWN if how else GOOD if not critical else BAD)
            for name, (runs, critical) in held.items()
        }

    def change(self, chance: random.Random) -> None:
        part = chance.choice(self.parts)
        match chance.randrange(9):
            case 0 | 1 | 2:
                _flip(chance, self.users, lambda user: (user[0], not user[1]))
            case 3:
                self.users[self.new("user")] = (True, chance.random() < 0.7)
            case 4 if len(self.users) > 3:
                del self.users[chance.choice(sorted(self.users))]
            case 5:
                _flip(chance, self.volumes[part], lambda encrypted: not encrypted)
            case 6:
                self.volumes[part][self.new("vol")] = chance.random() < 0.7
            case 7 if self.volumes[part]:
                del self.volumes[part][chance.choice(sorted(self.volumes[part]))]
            case _:
                _flip(chance, self.machines[part], lambda found: (chance.random() < 0.8, chance.choice([0, 0, 3])))
                if chance.random() < 0.3:
                    self.machines[part][self.new("i")] = (True, 0)

    def disaster(self, chance: random.Random) -> Callable[[], None]:
        fallen = [name for name, user in self.users.items() if user == (True, True)]
        self.users |= dict.fromkeys(fallen, (True, False))

        def mend() -> None:
            self.users |= {name: (True, True) for name in fallen if name in self.users}

        return mend


class Azure(Simulated):
    """Storage accounts of a tenant's subscriptions."""

    cloud = "azure"
    operations = (
        ("claims", NO_ANSWER),
        ("subscriptions", NO_ANSWER),
        ("accounts", (*NO_ANSWER, CRASH, CUT, TORN)),
        ("permissions", (*NO_ANSWER, CUT)),
    )

    def __init__(self, name: str, chance: random.Random, now: Callable[[], datetime]) -> None:
        super().__init__(name, chance, now)
        self.parts = [f"{number:08d}-0000-4000-8000-{chance.randrange(16**12):012x}" for number in (1, 2)]
        self.accounts: dict[str, tuple[str, bool, str]] = {}
        for _ in range(chance.randint(3, 9)):
            self.accounts[self.new("storage")] = (chance.choice(self.parts), True, "TLS1_2")

    def id(self, name: str) -> str:
        part = self.accounts[name][0]
        return f"/subscriptions/{part}/resourceGroups/one/providers/Microsoft.Storage/storageAccounts/{name}"

    def handle(self, transcript: Any, reference: datetime, settings: Any, tick: Tick) -> Any:
        return azure.opened(settings, transcript, reference, lambda call: self._put(call, tick))

    def _put(self, call: Call, tick: Tick) -> Answer:
        path = call.url.partition("/")[2].partition("/")[2].partition("/")[2]
        if call.method == azure.CLAIMS:
            said = {"tid": self.name, "appid": "00000000-0000-4000-8000-0000000000aa", "idtyp": "app"}
            return self.answer(tick, "claims", ANYWHERE, lambda: said)
        if path == "tenants":
            return self.answer(tick, "tenants", ANYWHERE, lambda: {"value": [{"tenantId": self.name}]})
        if path == "subscriptions":
            return self.answer(tick, "subscriptions", ANYWHERE, self._subscriptions)
        if path.endswith("/permissions"):
            part = path.split("/")[1]
            return self.answer(tick, "permissions", part, lambda: self._permissions(part))
        if "resourcecontainers" in call.body["query"]:
            return self.answer(tick, "containers", ANYWHERE, self._containers)
        return self.answer(tick, "accounts", ANYWHERE, self._rows)

    def _subscriptions(self) -> Any:
        return {"value": [{"subscriptionId": p, "state": "Enabled", "tenantId": self.name} for p in self.parts]}

    def _permissions(self, part: str) -> Any:
        reads = ["Microsoft.Compute/*/read"] if self.how("permissions", part) == CUT else ["*/read"]
        return {"value": [{"actions": reads, "notActions": []}]}

    def _containers(self) -> Any:
        rows = [{"id": f"/subscriptions/{part}", "subscriptionId": part} for part in self.parts]
        return {"data": rows, "totalRecords": len(rows), "resultTruncated": "false"}

    def _rows(self) -> Any:
        how = self.how("accounts", ANYWHERE)
        torn = min(self.accounts) if how == TORN else ""
        rows: list[dict[str, Any]] = []
        for name, (part, https, version) in sorted(self.accounts.items()):
            secure = {} if name == torn else {"supportsHttpsTrafficOnly": https}
            properties = {"minimumTlsVersion": version, **secure}
            rows.append({"id": self.id(name), "subscriptionId": part, "properties": properties})
        if how == CUT:
            return {"data": rows[:-1], "totalRecords": len(rows), "resultTruncated": "false"}
        return {"data": rows, "totalRecords": len(rows), "resultTruncated": "false"}

    def expected(self) -> dict[Key, Population]:
        how = self.how("accounts", ANYWHERE)
        shut = any(self.failing(name, ANYWHERE) for name in ("claims", "tenants", "subscriptions", "containers"))
        shut = shut or self.failing("accounts", ANYWHERE) or how == CUT
        torn = min(self.accounts) if how == TORN else ""
        found: dict[Key, Population] = {}
        for part in self.parts:
            mine = {self.id(n): (n, *held) for n, held in self.accounts.items() if held[0] == part}
            none = shut or self.how("permissions", part) != ""
            scope = f"{self.scope}/{part}"
            found[HTTPS, scope] = (
                None
                if none
                else {
                    id: UNKNOWN if name == torn else GOOD if https else BAD for id, (name, _, https, _v) in mine.items()
                }
            )
            found[TLS, scope] = (
                None if none else {id: BAD if v in ("TLS1_0", "TLS1_1") else GOOD for id, (*_, v) in mine.items()}
            )
        return found

    def change(self, chance: random.Random) -> None:
        match chance.randrange(5):
            case 0 | 1:
                _flip(chance, self.accounts, lambda held: (held[0], not held[1], held[2]))
            case 2:
                _flip(chance, self.accounts, lambda held: (*held[:2], chance.choice(["TLS1_0", "TLS1_2", "TLS1_3"])))
            case 3:
                self.accounts[self.new("storage")] = (chance.choice(self.parts), chance.random() < 0.8, "TLS1_2")
            case _:
                if len(self.accounts) > 2:
                    del self.accounts[chance.choice(sorted(self.accounts))]

    def disaster(self, chance: random.Random) -> Callable[[], None]:
        fallen = {name for name, held in self.accounts.items() if held[1]}
        for name in fallen:
            self.accounts[name] = (self.accounts[name][0], False, self.accounts[name][2])

        def mend() -> None:
            for name in fallen & self.accounts.keys():
                self.accounts[name] = (self.accounts[name][0], True, self.accounts[name][2])

        return mend


class Google(Simulated):
    """Disks and databases of an organization's projects."""

    cloud = "gcp"
    operations = (
        ("tokeninfo", NO_ANSWER),
        ("projects", (*NO_ANSWER, CRASH)),
        ("search", NO_ANSWER),
        ("disks", (*NO_ANSWER, CRASH, CUT, TORN)),
        ("databases", (*NO_ANSWER, CRASH, CUT, TORN)),
    )

    def __init__(self, name: str, chance: random.Random, now: Callable[[], datetime]) -> None:
        super().__init__(name, chance, now)
        self.parts = ["acme-data", "acme-web"]
        self.numbers = {part: f"10000000000{number}" for number, part in enumerate(self.parts)}
        self.disks = {self.new("disk"): (chance.choice(self.parts), True) for _ in range(chance.randint(2, 8))}
        self.databases = {self.new("sql"): (chance.choice(self.parts), True) for _ in range(chance.randint(1, 4))}

    @property
    def parent(self) -> str:
        return self.name.replace("-", "/", 1)

    def handle(self, transcript: Any, reference: datetime, settings: Any, tick: Tick) -> Any:
        return gcp.opened(settings, transcript, reference, lambda call: self._put(call, tick))

    def _put(self, call: Call, tick: Tick) -> Answer:
        if "tokeninfo" in call.url:
            return self.answer(tick, "tokeninfo", ANYWHERE, lambda: {"email": "reader@acme.iam.gserviceaccount.com"})
        if "projects:search" in call.url:
            return self.answer(tick, "search", ANYWHERE, self._search)
        type = str(call.query["assetTypes"])
        operation, rows = {
            gcp.PROJECT: ("projects", self._projects),
            gcp.FOLDER: ("folders", list),
            "compute.googleapis.com/Disk": ("disks", self._disks),
            "compute.googleapis.com/RegionDisk": ("disks", list),
            "sqladmin.googleapis.com/Instance": ("databases", self._databases),
        }[type]
        token = "1" if self.how(operation, ANYWHERE) == CUT else None  # the same page for ever
        body = (
            {"readTime": self.now().isoformat(), "assets": rows()} if rows() else {"readTime": "2026-01-01T00:00:00Z"}
        )
        return self.answer(tick, operation, ANYWHERE, lambda: body, token)

    def _search(self) -> Any:
        return {
            "projects": [
                {"projectId": p, "name": f"projects/{self.numbers[p]}", "state": "ACTIVE", "parent": self.parent}
                for p in self.parts
            ]
        }

    def _asset(self, part: str, type: str, name: str, data: Any) -> dict[str, Any]:
        ancestors = [f"projects/{self.numbers[part]}", self.parent]
        return {"name": name, "assetType": type, "ancestors": ancestors, "resource": {"data": data}}

    def _projects(self) -> list[dict[str, Any]]:
        return [
            self._asset(
                p,
                gcp.PROJECT,
                f"//cloudresourcemanager.googleapis.com/projects/{self.numbers[p]}",
                {"projectId": p, "lifecycleState": "ACTIVE"},
            )
            for p in self.parts
        ]

    def _disks(self) -> list[dict[str, Any]]:
        torn = min(self.disks) if self.how("disks", ANYWHERE) == TORN else ""
        rows = []
        for name, (part, keyed) in sorted(self.disks.items()):
            data = {"diskEncryptionKey": {"kmsKeyName": f"key-of-{name}"}} if keyed else {}
            data = {"diskEncryptionKey": {"rawKey": "?"}} if name == torn else data
            rows.append(self._asset(part, "compute.googleapis.com/Disk", self.disk(name), data))
        return rows

    def _databases(self) -> list[dict[str, Any]]:
        torn = min(self.databases) if self.how("databases", ANYWHERE) == TORN else ""
        rows = []
        for name, (part, shut) in sorted(self.databases.items()):
            mode = "ENCRYPTED_ONLY" if shut else "ALLOW_UNENCRYPTED_AND_ENCRYPTED"
            data = {
                "instanceType": "CLOUD_SQL_INSTANCE",
                "settings": {"ipConfiguration": {"sslMode": "SOMEHOW" if name == torn else mode}},
            }
            rows.append(self._asset(part, "sqladmin.googleapis.com/Instance", self.database(name), data))
        return rows

    def disk(self, name: str) -> str:
        return f"//compute.googleapis.com/projects/{self.disks[name][0]}/zones/a/disks/{name}"

    def database(self, name: str) -> str:
        return f"//cloudsql.googleapis.com/projects/{self.databases[name][0]}/instances/{name}"

    def expected(self) -> dict[Key, Population]:
        shut = any(self.failing(name, ANYWHERE) for name in ("tokeninfo", "projects", "search", "folders"))
        found: dict[Key, Population] = {}
        for part in self.parts:
            for check, operation, held, full in (
                (DISK, "disks", self.disks, self.disk),
                (SQL, "databases", self.databases, self.database),
            ):
                how = self.how(operation, ANYWHERE)
                torn = min(held) if how == TORN else ""
                none = shut or self.failing(operation, ANYWHERE) or how == CUT
                found[check, f"{self.scope}/{part}"] = (
                    None
                    if none
                    else {
                        full(name): UNKNOWN if name == torn else GOOD if good else BAD
                        for name, (where, good) in held.items()
                        if where == part
                    }
                )
        return found

    def change(self, chance: random.Random) -> None:
        held, kind = chance.choice([(self.disks, "disk"), (self.databases, "sql")])
        match chance.randrange(4):
            case 0 | 1:
                _flip(chance, held, lambda found: (found[0], not found[1]))
            case 2:
                held[self.new(kind)] = (chance.choice(self.parts), chance.random() < 0.8)
            case _:
                if len(held) > 1:
                    del held[chance.choice(sorted(held))]

    def disaster(self, chance: random.Random) -> Callable[[], None]:
        fallen = {name for name, held in self.disks.items() if held[1]}
        for name in fallen:
            self.disks[name] = (self.disks[name][0], False)

        def mend() -> None:
            for name in fallen & self.disks.keys():
                self.disks[name] = (self.disks[name][0], True)

        return mend
