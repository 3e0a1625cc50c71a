"""The life of a seed: what the clouds do, what breaks, who dies when, what operators decide, on a simulated clock.

Everything is drawn from the seed, each kind of event from a stream of its own, so that the same seed lives the same
life again, entry by entry. What must hold afterwards is in invariants.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from collector import config, controls, daemon, decisions, signers
from collector.anchoring import Anchoring
from collector.cli.exporting import export_window
from collector.controls import Controls
from collector.errors import ConfigError, ExportError
from collector.export.read import Asked
from collector.ledger import verify
from collector.ledger.database import Database
from collector.ledger.entry import Entry
from collector.ledger.quick import Quick
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from collector.model import State
from collector.registry import Registry
from tests.simulate import clouds
from tests.simulate.clouds import ANYWHERE, Fault, Key, Population, Simulated
from tests.simulate.process import Clock, Died, Fuse, Place, Process, Receiver, alone, head_of

ORIGIN = "sim.local/acme"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TAKEOVER = timedelta(seconds=20)
QUIET_DAYS = 3  # at the end: all is well, so that whatever is owed can be paid
ACCOUNTS = ("111111111111", "222222222222")
TENANT = "11111111-2222-4333-8444-555555555555"
ORGANIZATION = "organizations-461203958147"
CRITERIA = ("CC6.1", "CC6.6", "CC6.7", "CC7.1")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass
class Settings:
    """What the operator has written into the configuration; a change of it is a change of a file."""

    accounts: list[str]  # scopes
    controls: dict[str, dict[str, Any]]
    windows: dict[str, dict[str, Any]] = field(default_factory=dict)
    grace: str = "15m"
    heartbeat: str = "2d"
    checkpoint: str = "2d"
    retention: str = ""
    channels: list[str] = field(default_factory=lambda: ["pager", "mail"])
    key: str = "first.key"
    quiet: str = ""  # hours in which the pager is silent
    escalates: bool = False
    digest: bool = False


@cache
def shipped() -> Registry:
    return daemon.shipped()


class Life:
    """``live`` lives it. Afterwards ``ledger`` is what is left, beside what everybody outside has seen."""

    def __init__(self, seed: int, days: int, folder: Path, database: str = "") -> None:
        self.seed = seed
        self.days = days
        self.folder = folder
        self.database = database
        draw = self.stream("shape")
        self.begin = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(
            days=draw.randrange(1000), seconds=draw.randrange(86400)
        )
        self.end = self.begin + days * DAY
        self.clock = Clock(self.begin)
        self.story: list[str] = []
        self.world, self.operators, self.deaths = (self.stream(name) for name in ("world", "operators", "deaths"))
        self.clouds = self._clouds()
        self.truth: dict[str, list[tuple[datetime, dict[Key, Population]]]] = {scope: [] for scope in self.clouds}
        self.receivers = [Receiver(name, self.stream(name), self.clock) for name in ("pager", "mail")]
        self.place = Place(self.stream("place"), self.clock)
        self.replicas = draw.choice([1, 2])
        self.leased = bool(database) or draw.random() < 0.5
        first = [str(scope) for scope in draw.sample(sorted(self.clouds), draw.choice([1, 1, 1, 2, 2, 3]))]
        self.settings = Settings(first, _controls(draw), retention=draw.choice(["", "30d", "60d"]))
        self.settings.quiet = draw.choice(["", "", "22:00-07:00", "09:00-17:00"])
        self.settings.escalates, self.settings.digest = draw.random() < 0.4, draw.random() < 0.3
        for _ in range(draw.randint(2, 4)):
            self._add_window(draw)
        self.processes: list[Process | None] = [None] * self.replicas
        self.acknowledged: dict[int, str] = {}  # by entry, the SHA-256 of its body
        self.packages = 0
        self.verified: list[dict[str, Any]] = []
        self.happened: dict[str, int] = {}
        self._number = count()
        self._queue: list[tuple[datetime, int, str, Callable[[], None]]] = []
        self._names = count(1)
        self._fallible = True

    def stream(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    def _clouds(self) -> dict[str, Simulated]:
        found: list[Simulated] = [clouds.Aws(name, self.stream(name), self.clock) for name in ACCOUNTS]
        found.append(clouds.Azure(TENANT, self.stream("azure"), self.clock))
        found.append(clouds.Google(ORGANIZATION, self.stream("gcp"), self.clock))
        return {str(cloud.scope): cloud for cloud in found}

    # --- the files of the operator ---

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def write(self) -> None:
        """The configuration and the control file, as they are now."""
        own = self.settings
        database = f'database = "{self.database}"\n' if self.database else ""
        text = (
            f'[collector]\norigin = "{ORIGIN}"\nkey = "{own.key}"\n{database}'
            f'[schedule]\ngrace = "{own.grace}"\nheartbeat = "{own.heartbeat}"\ncheckpoint = "{own.checkpoint}"\n'
            '[web]\nlisten = ""\n[anchors.file.shelf]\nfolder = "shelf"\n'
        )
        text += f'[retention]\npayloads = "{own.retention}"\n' if own.retention else ""
        for name in own.channels:
            text += f'[alerts.webhook.{name}]\nurl = "https://{name}.example/hook"\nsecret_env = "SECRET"\n'
        if own.quiet or own.escalates:
            others = [name for name in own.channels if name != "pager"]
            text += '[[route]]\nchannels = ["pager"]\nzone = "Europe/Berlin"\n'
            text += f'quiet = "{own.quiet}"\nquiet_severities = ["critical", "high"]\n' if own.quiet else ""
            text += f'escalate_after = "1d"\nescalate_to = {_toml(others)}\n' if own.escalates and others else ""
        text += f'[digest]\nat = "08:00"\nchannels = ["{own.channels[-1]}"]\n' if own.digest else ""
        for scope in own.accounts:
            cloud, name = scope.split("/")
            text += {
                "aws": f'[[aws]]\naccount = "{name}"\nhome_region = "{clouds.Aws.home}"\n',
                "azure": f'[[azure]]\ntenant = "{name}"\n',
                "gcp": f'[[gcp]]\nparent = "{name.replace("-", "/", 1)}"\n',
            }[cloud]
        for name, window in own.windows.items():
            text += f"[windows.{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in window.items())
        (self.folder / "collector.toml").write_text(text)
        tables = [
            f"[controls.{id}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in control.items())
            for id, control in own.controls.items()
        ]
        (self.folder / "controls.toml").write_text("\n".join(tables))

    def load(self) -> tuple[config.Settings, Controls]:
        loaded = config.load(self.folder / "collector.toml", {})
        return loaded, controls.load(loaded.collector.controls, shipped())

    def key(self, name: str) -> FileSigner:
        """A key file that the seed determines."""
        path = self.folder / name
        if not path.exists():
            secret = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
            private = Ed25519PrivateKey.from_private_bytes(secret)
            path.touch(mode=0o600)
            path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return FileSigner.load(path, ORIGIN)

    # --- living ---

    def live(self) -> None:
        """From the first start to the end, when all processes have stopped."""
        with alone(self.clock), _logs_off():
            self._prepare()
            self._draw()
            for number in range(self.replicas):
                self.at(self.clock.now, f"start {number}", lambda number=number: self.start(number))
            self._until(self.end)
            self._heal()
            self._until(self.end + QUIET_DAYS * DAY)
            self._stop_all()

    def _prepare(self) -> None:
        self.data.mkdir(parents=True)
        self.key(self.settings.key)
        self.write()
        for scope in self.clouds:
            self.turn(scope)
        if not self.database:
            shutil.copyfile(_empty_ledger(), self.data / "ledger.db")

    def _until(self, end: datetime) -> None:
        """Whatever is due until then, one after another: events first, then jobs."""
        while True:
            job = self._next_job(self.processes)
            event = self._queue[0] if self._queue else None
            if event is not None and (job is None or event[0] <= job[0]):
                if event[0] > end:
                    break
                heapq.heappop(self._queue)
                self.clock.reach(event[0])
                self.say(event[2])
                event[3]()
            elif job is not None:
                if job[0] > end:
                    break
                self.clock.reach(job[0])
                self._fire(job[1], job[2])
            else:
                break
            self._beat()
        self.clock.reach(end)

    def _next_job(self, among: list[Process | None]) -> tuple[datetime, int, str] | None:
        due = [
            (found[0], number, found[1])
            for number, process in enumerate(among)
            if process is not None and (found := process.schedule.next()) is not None
        ]
        return min(due, default=None)

    def _fire(self, number: int, name: str) -> None:
        """One job of one process, if it still leads by then."""

        def work(process: Process) -> None:
            if self.replicas > 1 or self.deaths.random() < 0.1:
                process.lead()
            if process.schedule.running and name in process.schedule.jobs:
                process.fire(name)

        self.guard(number, work)

    def _beat(self, without: int | None = None) -> None:
        """Every process asks for the lead: the one that leads first, but for now and then, when it is slow."""
        numbers = [n for n, process in enumerate(self.processes) if process is not None and n != without]
        leading = [n for n in numbers if (p := self.processes[n]) is not None and p.schedule.running]
        slow = self._fallible and len(numbers) > 1 and self.deaths.random() < 0.02
        if leading and not slow:
            return  # whoever leads asks again before each job
        for number in sorted(numbers, key=lambda n: n in leading):
            self.guard(number, lambda process: (process.lead(), process.deliver()))

    def guard(self, number: int, work: Callable[[Process], object]) -> None:
        """Lets a process work; when it dies of it, it is started again some time later."""
        process = self.processes[number]
        if process is None:
            return
        try:
            work(process)
        except Died:
            self.say(f"process {number} died")
            self._count("deaths")
            process.dies()
            self.processes[number] = None
            self.at(self.clock.now + self._pause(), f"start {number} again", lambda: self.start(number))
            self.at(self.clock.now + TAKEOVER, "", lambda: None)  # who stands by notices

    def _pause(self) -> timedelta:
        kind = self.deaths.random()
        return timedelta(
            seconds=self.deaths.uniform(5, 300)
            if kind < 0.7
            else self.deaths.uniform(300, 40_000)
            if kind < 0.92
            else self.deaths.uniform(40_000, 300_000)
        )

    def start(self, number: int) -> None:
        if self.processes[number] is not None:
            return
        loaded, bound = self.load()
        names = [receiver for receiver in self.receivers if receiver.name in self.settings.channels]
        about = (loaded, bound, shipped(), self.clouds, names, self.place, self.clock, self._noted)
        self.place.fuse = Fuse()
        self.processes[number] = Process(f"process-{next(self._names)}", *about, leased=self.leased)
        self._count("starts")
        self.guard(number, lambda process: (process.lead(), process.deliver()))

    def restart(self, number: int) -> None:
        self.guard(number, lambda process: process.stops())
        if self.processes[number] is not None:
            self.processes[number] = None
            self.start(number)

    def _stop_all(self) -> None:
        for number, process in enumerate(self.processes):
            if process is not None:
                process.deliver()
                process.stops()
                self.processes[number] = None

    def _heal(self) -> None:
        """All is well from here on."""
        self.say("all is well")
        self._fallible = False
        self._queue.clear()
        for scope, cloud in self.clouds.items():
            cloud.faults.clear()
            self.turn(scope)
        self.place.well = True
        for receiver in self.receivers:
            receiver.well, receiver.broken = True, False
        for number, process in enumerate(self.processes):
            if process is not None:
                process.hold, process.fuse.left = None, None
            self.at(self.clock.now + timedelta(minutes=1), "", lambda number=number: self.restart(number))
            self.at(self.clock.now + timedelta(minutes=2), "", lambda number=number: self.start(number))

    def hold(self, number: int, length: timedelta) -> None:
        """A process stands still in the middle of its work, and the others go on."""
        self.say(f"process {number} stands still for {length}")
        self._count("holds")
        until = self.clock.now + length
        others = [process if n != number else None for n, process in enumerate(self.processes)]
        self.clock.reach(min(self.clock.now + TAKEOVER, until))
        while True:
            self._beat(without=number)
            others = [process if n != number else None for n, process in enumerate(self.processes)]
            job = self._next_job(others)
            if job is None or job[0] > until:
                break
            self.clock.reach(job[0])
            self._fire(job[1], job[2])
        self.clock.reach(until)

    # --- what is drawn ---

    def at(self, moment: datetime, name: str, work: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (moment, next(self._number), name, work))

    def often(self, chance: random.Random, every_days: float, name: str, work: Callable[[], None]) -> None:
        """An event at random moments, so many days apart on average."""
        moment = self.begin
        while (moment := moment + chance.expovariate(1 / every_days) * DAY) < self.end:
            self.at(moment, name, work)

    def _draw(self) -> None:
        draw = self.stream("events")
        self.often(draw, 1.2, "", self.change)
        self.often(draw, 6, "", self.fault)
        self.often(draw, 45, "", self.disaster)
        self.often(draw, 60, "", self.revoked)
        self.often(draw, 50, "", self.outage)
        self.often(draw, 12, "", self.fuse)
        self.often(draw, 40, "", self.silence)
        if self.replicas > 1:
            self.often(draw, 12, "", self.stand_still)
        self.often(draw, 40, "", self.reconfigure)
        self.often(draw, 7, "", self.acknowledge)
        self.often(draw, 12, "", self.accept)
        self.often(draw, 40, "", self.revoke)
        self.often(draw, 90, "", self.rotate)
        self.often(draw, 120, "", self.export)

    def turn(self, scope: str) -> None:
        """Writes down what is true of an account from now on."""
        self.truth[scope].append((self.clock.now, self.clouds[scope].expected()))

    def _cloud(self) -> str:
        return self.world.choice(sorted(self.settings.accounts))

    def change(self) -> None:
        scope = self._cloud()
        self.clouds[scope].change(self.world)
        self.turn(scope)

    def disaster(self) -> None:
        scope = self._cloud()
        mend = self.clouds[scope].disaster(self.world)
        self.turn(scope)
        self.say(f"a disaster in {scope}")
        self._count("disasters")

        def mended() -> None:
            mend()
            self.turn(scope)

        self.at(self.clock.now + self.world.uniform(0.2, 6) * DAY, f"mended in {scope}", mended)

    def fault(self) -> None:
        scope = self._cloud()
        cloud = self.clouds[scope]
        operation, ways = self.world.choice(cloud.operations)
        part = self.world.choice([ANYWHERE, *cloud.parts])
        if cloud.cloud != "aws" and operation != "permissions":
            part = ANYWHERE
        self._fault(scope, Fault(operation, part, self.world.choice(ways)), self.world.uniform(0.1, 3))

    def revoked(self) -> None:
        """The credentials of an account are refused for days."""
        scope = self._cloud()
        operation = self.clouds[scope].operations[0][0]
        self._fault(scope, Fault(operation, ANYWHERE, "denied"), self.world.uniform(1, 6))

    def outage(self) -> None:
        """A provider does not answer, in one region where there are regions."""
        scope = self._cloud()
        cloud = self.clouds[scope]
        part = self.world.choice(cloud.parts) if cloud.cloud == "aws" else ANYWHERE
        self._fault(scope, Fault("*", part, "unavailable"), self.world.uniform(0.1, 2))

    def _fault(self, scope: str, fault: Fault, length: float) -> None:
        cloud = self.clouds[scope]
        cloud.faults.append(fault)
        self.turn(scope)
        self.say(f"{scope}: {fault.operation} {fault.part} {fault.how} for {length:.1f} days")
        self._count(f"fault {fault.how}")

        def over() -> None:
            if fault in cloud.faults:
                cloud.faults.remove(fault)
                self.turn(scope)

        self.at(self.clock.now + length * DAY, f"{scope}: {fault.operation} answers again", over)

    def silence(self) -> None:
        """A receiver of alerts is out of order for a while."""
        receiver = self.world.choice(self.receivers)
        receiver.broken = True

        def over() -> None:
            receiver.broken = False

        self.at(self.clock.now + self.world.uniform(0.05, 2) * DAY, "", over)

    def fuse(self) -> None:
        """A process will die soon: after so many steps of its work."""
        number = self.deaths.randrange(self.replicas)
        steps = int(math.exp(self.deaths.uniform(0, math.log(2500))))
        process = self.processes[number]
        if process is not None:
            process.fuse.light(steps)

    def stand_still(self) -> None:
        number = self.deaths.randrange(self.replicas)
        length = timedelta(seconds=math.exp(self.deaths.uniform(math.log(5), math.log(200_000))))
        process = self.processes[number]
        if process is not None:
            process.hold = lambda: self.hold(number, length)
            process.hold_after = self.deaths.randint(1, 30)

    # --- operators ---

    @contextlib.contextmanager
    def command(self, *, signs: bool = True) -> Iterator[Ledger]:
        """A command that a person runs beside the daemon. One that signs may be killed; then nothing comes of it."""
        fuse = Fuse()
        self.place.fuse = fuse
        signer = self.key(self.settings.key) if signs else None
        ledger = Ledger.open(self._url(), origin=ORIGIN, signer=signer, verify=False)
        fuse.watch(ledger)
        if self._fallible and signs and self.operators.random() < 0.08:
            fuse.light(self.operators.randint(1, 60))
        try:
            yield ledger
        except Died:
            self.say("a command died")
            self._count("commands that died")
        finally:
            fuse.left = None
            ledger.close()
            self.place.fuse = Fuse()

    def _url(self) -> str:
        return self.load()[0].collector.database

    def acknowledge(self) -> None:
        with self.command() as ledger:
            standing = ledger.projection.open_alerts()
            if standing:
                alert = standing[self.operators.choice(sorted(standing))]
                self._said(decisions.acknowledge(ledger, self.clock.now, alert=alert.seq, person="Ann"))
                self._count("acknowledgements")

    def accept(self) -> None:
        bound = self.load()[1]
        with self.command() as ledger:
            bad = [
                (row.check, row.scope, subject)
                for row in ledger.projection.status()
                if row.check in bound.enabled
                for subject, found in ledger.projection.open_states(row.check, row.scope).items()
                if found.state is State.NOT_SATISFIED
            ]
            if not bad:
                return
            check, scope, subject = self.operators.choice(bad)
            if self.operators.random() < 0.2:
                subject = ""
            expires = self.clock.now + self.operators.uniform(0.5, 30) * DAY
            words = {"approver": "Carl", "reason": "the token is on its way"}
            about = {"check": check, "scope": scope, "subject": subject, "expires": expires}
            self._said(decisions.accept(ledger, bound, self.clock.now, **about, **words))
            self._count("acceptances")

    def revoke(self) -> None:
        with self.command() as ledger:
            known = [item for item in decisions.standing(ledger) if item.revoked_by is None]
            if known:
                seq = self.operators.choice(known).seq
                self._said(decisions.revoke(ledger, self.clock.now, seq=seq, approver="Dora", reason="too long"))

    def rotate(self) -> None:
        """A new key, as ``collector key rotate`` puts it in; then the configuration names it, and all are restarted."""
        loaded, bound = self.load()
        name = f"key-{next(self._names)}.key"
        new = self.key(name)
        with self.command() as ledger:
            about = (loaded, bound, shipped())
            anchoring = Anchoring(ledger, {self.place.id: self.place}, self.clock, *about)
            anchoring.begin()
            ledger.checkpoint(self.clock.now)
            signers.remember(loaded, new.key, str(self.folder / name))
            self._said(ledger.rotate(new, self.clock.now, "once a year"))
            ledger.checkpoint(self.clock.now)
            anchoring.put_newest()
        with self.command(signs=False) as ledger:
            if ledger.key() == new.key:  # also when the command died after it was written
                self.settings.key = name
                self.say("the key was rotated")
                self._count("rotations")
        self._reload()

    def _reload(self) -> None:
        self.write()
        for number in range(self.replicas):
            later = timedelta(seconds=self.operators.uniform(1, 20_000))
            self.at(self.clock.now + later, f"restart {number}", lambda number=number: self.restart(number))

    def reconfigure(self) -> None:
        """One thing in the operator's files is another."""
        draw, own = self.operators, self.settings
        control = own.controls[draw.choice(sorted(own.controls))]
        match draw.randrange(8):
            case 0:
                control["cadence"] = draw.choice(["12h", "1d", "1d", "2d"])
            case 1:
                control["owner"] = draw.choice(["identity", "platform", "storage"])
            case 2:
                own.grace = draw.choice(["5m", "15m", "1h"])
            case 3:
                self._add_window(draw)
            case 4:
                missing = sorted(self.clouds.keys() - set(own.accounts))
                if missing and draw.random() < 0.6:
                    own.accounts.append(draw.choice(missing))
                elif len(own.accounts) > 1:
                    own.accounts.remove(draw.choice(sorted(own.accounts)))
            case 5:
                own.channels = draw.choice([["pager"], ["mail", "pager"], ["pager", "mail"]])
            case 6:
                spare = [id for id in own.controls if id.startswith("EXTRA")]
                if spare:
                    del own.controls[spare[0]]
                else:
                    own.controls["EXTRA-1"] = _extra(draw)
            case _:
                self._alert_rules(control, draw)
        self.say(f"another configuration: {sorted(own.accounts)}")
        self._count("reconfigurations")
        self._reload()

    def _alert_rules(self, control: dict[str, Any], draw: random.Random) -> None:
        if "confirm" not in controls.ControlTable.model_fields:
            return
        control["confirm"] = draw.choice([1, 1, 2, 3])
        control["steady"] = draw.choice([1, 1, 2, 3])

    def _add_window(self, draw: random.Random) -> None:
        first = draw.randrange(max(1, self.days - 5))
        length = draw.choice([7, 30, self.days])
        criteria = sorted(draw.sample(CRITERIA, draw.randint(1, 4)))
        if "CC6.1" not in criteria:
            criteria.append("CC6.1")
        since = (self.begin + first * DAY).date()
        until = (self.begin + min(first + length, self.days - 1) * DAY + DAY).date()
        window: dict[str, Any] = {"start": since, "end": until, "zone": draw.choice(ZONES), "criteria": criteria}
        if draw.random() < 0.3:
            window["scopes"] = [draw.choice(sorted(self.settings.accounts))]
        self.settings.windows[f"w{len(self.settings.windows) + 1}"] = window

    def export(self) -> None:
        """A package of some window, or of a part of it, and its proof by a stranger."""
        draw = self.operators
        loaded, _ = self.load()
        past = [n for n, w in loaded.windows.items() if w.since + 2 * DAY < self.clock.now]
        if not past:
            return
        name = draw.choice(sorted(past))
        asked = Asked()
        if draw.random() < 0.5:
            wanted = loaded.windows[name].scopes or tuple(sorted(self.settings.accounts))
            asked = Asked(scopes=(draw.choice(wanted),)) if draw.random() < 0.5 else Asked(criteria=("CC6.1",))
        self.packages += 1
        target = self.folder / f"package-{self.packages}"
        with self.command() as ledger:
            try:
                export_window(loaded, ledger, name, target, self.clock.now, asked=asked, by="Eve")
            except (ConfigError, ExportError) as error:
                self.say(f"no package of {name} {asked}: {error}")
                if "nothing was planned over the scope" not in str(error):
                    raise
                return
        if target.exists():  # else the command died
            self._verify(target, name)

    def _verify(self, target: Path, name: str) -> None:
        with self.command() as ledger:
            keys = [known.key for known in ledger.key_entries()]
        trust = self.folder / f"trust-{self.packages}"
        trust.mkdir()
        (trust / "log.vkey").write_text(f"{self.operators.choice([keys[0], keys[-1]])}\n")
        size = max(head_of(path.read_text()).size for path in (target / "checkpoints").glob("*.note"))
        notes = [(head, note) for head, note in self.place.held if head.size <= size]
        for head, note in self.operators.sample(notes, min(2, len(notes))):
            (trust / f"{head.size}.note").write_bytes(note)
        found = verify.prove(target, trust, False, False, Quick)
        self.say(f"package {target.name} of {name}: {'verifies' if found['verified'] else found['broken']}")
        self._count("packages")
        if not found["verified"]:
            raise Broken(f"the package of {name} is a false alarm: {found['broken'][:3]}")
        self.verified.append(found)
        shutil.rmtree(target)
        shutil.rmtree(trust)

    # --- what is remembered ---

    def say(self, words: str) -> None:
        if words:
            self.story.append(f"{self.clock.now:%Y-%m-%d %H:%M:%S} {words}")

    def _count(self, what: str) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1

    def _noted(self, sealed: Any) -> None:
        if sealed is not None:
            for entry in sealed.entries:
                self._said(entry)

    def _said(self, entry: Entry) -> None:
        """Somebody was told that this is kept."""
        self.acknowledged[entry.seq] = hashlib.sha256(entry.body).hexdigest()


def _controls(draw: random.Random) -> dict[str, dict[str, Any]]:
    day = draw.choice(["1d", "1d", "1d", "1d", "12h"])
    made = {
        "IAM-1": ("People sign in with two factors.", "identity", ["CC6.1"], [clouds.MFA]),
        "DATA-1": ("Data at rest is encrypted.", "storage", ["CC6.1", "CC6.7"], [clouds.EBS, clouds.DISK]),
        "NET-1": ("Data in transit is encrypted.", "storage", ["CC6.6", "CC6.7"], [clouds.HTTPS, clouds.SQL]),
        "OPS-1": ("Machines are patched.", "platform", ["CC7.1"], [clouds.PATCH]),
    }
    found = {
        id: {"title": title, "owner": owner, "criteria": criteria, "checks": checks, "cadence": day}
        for id, (title, owner, criteria, checks) in made.items()
    }
    if draw.random() < 0.5:
        found["EXTRA-1"] = _extra(draw)
    return found


def _extra(draw: random.Random) -> dict[str, Any]:
    words = {"title": "Old versions of TLS are refused.", "owner": "storage", "criteria": ["CC6.7"]}
    return {**words, "checks": [clouds.TLS], "cadence": draw.choice(["1d", "2d"])}


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


@cache
def _empty_ledger() -> Path:
    """Tables without rows, made once: Alembic takes longer than a week of this life."""
    path = Path(os.environ.get("SIMULATE_FOLDER", "/tmp")) / f"empty-{os.getpid()}.db"
    Database.open(f"sqlite:///{path}", create=True).close()
    return path


@contextlib.contextmanager
def _logs_off() -> Iterator[None]:
    import logging

    import structlog

    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
