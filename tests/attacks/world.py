"""A collector whose checkpoints are held outside, and what somebody can do who wants to deceive an auditor.

Real: engine, ledger, time stamping authority, witness, folder, exporter, verifier. Canned: the cloud's answers. The
clock is turned by hand; what is outside has a clock of its own, which mostly shows the same.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from collector import canonical, daemon
from collector.anchor.places import open_places
from collector.anchoring import Anchoring
from collector.demo.outside import WITNESS, Outside
from collector.demo.tsa import SINCE, UNTIL, SimulatedTsa
from collector.export import package, read
from collector.export.package import PackageInfo
from collector.export.read import Asked
from collector.ledger import packing, verify
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.seal import FileSigner, Signer
from collector.ledger.store import Ledger
from collector.operation import Operation
from collector.witness.keeper import Keeper
from collector.witness.server import Server
from collector.witness.store import Store
from tests.support.lived import CONFIG, CONTROLS, EXPORTED, Lived


class World(Lived):
    """The day of ``Lived``, anchored each hour. ``ahead`` is by how much the clocks outside are before ours.

    Somebody who writes history anew lives it again: with the same ``key``, with answers as he likes them, with his own
    ``outside``, and anchored in his way.
    """

    def __init__(
        self,
        folder: Path,
        *,
        more: str = "",
        configuration: str = CONFIG,
        controls: str = CONTROLS,
        outside: Outside | Puppets | None = None,
        key: Path | None = None,
        anchored: str = "hourly",
        vault: bool = True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ahead = timedelta(0)
        self.anchored = anchored  # hourly, failing (claims that nobody answered) or never
        self.outside = outside or Outside(folder, self.outside_now)
        if isinstance(outside, Puppets):
            outside.clock = self.outside_now
        if key is not None:
            (folder / "data").mkdir()
            shutil.copy(key, folder / "data" / "log.key")
        self.vault = folder / "vault"
        self.vault.mkdir()
        (folder / "tsa.pem").write_bytes(self.outside.tsa.root_pem)
        places = self.outside.configuration() + ('\n[anchors.file.vault]\nfolder = "vault"\n' if vault else "")
        super().__init__(folder, configuration.replace("[windows", f"{places}{more}\n[windows", 1), controls)

    def outside_now(self) -> datetime:
        return self.now + self.ahead

    @property
    def key(self) -> Path:
        """The private key of the ledger."""
        return Path(self.settings.collector.key)

    def start(self) -> Operation:
        """As the daemon begins: what is outside is asked, then the first checkpoint is put there."""
        self.operation = self.begin()
        self.outside.trust(str(self.ledger.key()))
        self.places = open_places(self.settings, {}, clock=self.outside_now)
        if self.anchored == "hourly":
            self.anchoring().begin()
        self.anchor()
        return self.operation

    def begin(self) -> Operation:
        """The collector up to the moment at which it would go outside for the first time."""
        signer: Signer | None = getattr(self, "forged_signer", None)
        if signer is None:
            return super().start()
        about = self.settings.collector
        registry = daemon.load_registry(self.settings)
        controls = daemon.load_controls(self.settings, registry)
        ledger = Ledger.open(about.database, origin=about.origin, signer=signer)
        operation = Operation(self.settings, controls, registry, ledger, self.cloud, lambda: self.now)
        operation.announce()
        operation.plan(self.settings.aws[0])
        operation.checkpoint()
        return operation

    def anchoring(self) -> Anchoring:
        operation = self.operation
        about = (operation.settings, operation.controls, operation.registry)
        return Anchoring(operation.ledger, self.places, lambda: self.now, *about)

    def anchor(self) -> None:
        self.operation.checkpoint()
        if self.anchored == "hourly":
            self.anchoring().put_newest()
        elif self.anchored == "failing":
            with self.ledger.write() as batch:
                batch.add(Draft(Kind.ANCHOR, self.now, FAILED))

    def hour(self, reason: str = "the run before it was still at work") -> None:
        super().hour(reason)
        self.anchor()

    def restart(self) -> None:
        """The process ends, and another begins."""
        self.ledger.close()
        self.operation = self.start()

    def export(
        self, out: Path, window: str = "morning", exported_at: datetime = EXPORTED, asked: Asked | None = None
    ) -> PackageInfo:
        """Signs, anchors, signs again, then reads, as `collector export` does."""
        self.now = max(self.now, exported_at)
        self.anchor()
        self.operation.checkpoint()
        dossier = read.read(self.ledger, self.settings, window, exported_at, asked=asked)
        return package.write(dossier, self.ledger, self.signer, out)

    def trust(self, folder: Path, *, holding: bool = True) -> Path:
        """The trust folder of an auditor: keys, roots, and with ``holding`` the newest checkpoints from outside."""
        self.outside.hand_over(folder, self.ledger.origin)
        if not holding:
            for note in folder.rglob("*.note"):
                note.unlink()
        else:
            shutil.copytree(self.vault, folder / "vault", dirs_exist_ok=True)
        return folder

    def close(self) -> None:
        self.ledger.close()
        self.outside.close()


def prove(path: Path, trust: Path | None = None) -> dict[str, Any]:
    return verify.prove(path, trust, run_packaged_checks=False, progress=False)


def alarm(path: Path, trust: Path | None = None) -> str:
    """The first thing that does not hold, "where: what"; fails when everything holds."""
    found = prove(path, trust)
    assert not found["verified"]
    return f"{found['broken'][0]['where']}: {found['broken'][0]['what']}"


def levels(found: Mapping[str, Any]) -> list[bool]:
    """Whether each of the levels 0 to 3 holds."""
    return [item["holds"] for item in found["assurance"]["levels"]]


# --- somebody who may write into the database ---


@contextmanager
def database(ledger: Ledger) -> Iterator[sqlite3.Connection]:
    """The ledger's file with every guard taken off, as its owner can."""
    with closing(sqlite3.connect(ledger.path)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        yield connection
        connection.commit()


def overwrite(connection: sqlite3.Connection, entry: Entry, **fields: Any) -> None:
    """Other fields for one entry, written where it stands."""
    encoding, packed = packing.pack(canonical.record({**entry.data, **fields}))
    values = (packed, encoding, entry.seq)
    connection.execute("UPDATE entry SET body = ?, encoding = ?, base = NULL WHERE seq = ?", values)


def copied(world: World, folder: Path) -> Lived:
    """The day with a copy of its database, to be spoiled. Nothing is proved when it is opened."""
    folder.mkdir(parents=True)
    with (
        closing(sqlite3.connect(world.ledger.path)) as source,
        closing(sqlite3.connect(folder / "ledger.db")) as target,
    ):
        source.backup(target)
    url = f"sqlite:///{folder / 'ledger.db'}"
    return _with_ledger(
        world, folder, Ledger.open(url, origin=world.ledger.origin, signer=world.signer, verify=False), world.signer
    )


def _with_ledger(world: World, folder: Path, ledger: Ledger, signer: FileSigner) -> Lived:
    """The day as if it had been written into another ledger. Its exports are not anchored."""
    operation = Operation.__new__(Operation)
    operation.__dict__.update(world.operation.__dict__, ledger=ledger)
    found = Lived.__new__(Lived)
    found.__dict__.update(world.__dict__, folder=folder, operation=operation, forged_signer=signer)
    return found


# --- somebody who has places of his own, or those of others ---

FAILED = {
    "anchor": "tsa/authority",
    "type": "tsa",
    "size": 0,
    "root": "",
    "note": "",
    "token": "",
    "time": "",
    "where": "",
    "outcome": "failed",
    "reason": "did not answer in 20 s",
    "failure": "unavailable",
}


class Puppets:
    """An authority and a witness that stamp and cosign whatever time the attacker's clock shows.

    ``authority`` and ``witness``: "own" are ones that he made up, "bought" are the honest ones' keys under his hand,
    "" is none. A bought witness has forgotten what it saw.
    """

    def __init__(self, honest: World, folder: Path, *, authority: str = "", witness: str = "") -> None:
        self.clock: Callable[[], datetime] = lambda: SINCE
        self._stack = ExitStack()
        folder.mkdir(parents=True, exist_ok=True)
        self.tsa = SimulatedTsa(lambda: self.clock())
        self._stack.callback(self.tsa.close)
        if authority == "bought":
            self.tsa.root, self.tsa._root_key = honest.outside.tsa.root, honest.outside.tsa._root_key
            self.tsa.renew(SINCE, UNTIL)
        self._places = f'\n[anchors.tsa.authority]\nurl = "{self.tsa.url}"\nroots = "tsa.pem"\n' if authority else ""
        self._keeper: Keeper | None = None
        if witness:
            self._cosign(honest, folder / "witness", bought=witness == "bought")

    def _cosign(self, honest: World, folder: Path, *, bought: bool) -> None:
        if bought:
            folder.mkdir()
            for name in ("witness.key", "witness.vkey"):
                shutil.copy(honest.folder / "witness" / name, folder / name)
            Store.open(folder / "witness.db", create=True).close()
        else:
            Keeper.begin(folder, WITNESS, lambda: 0).close()
        self._keeper = Keeper.open(folder, lambda: int(self.clock().timestamp()))
        server = Server("127.0.0.1:0", self._keeper)
        server.start()
        self._stack.callback(self._keeper.close)
        self._stack.callback(server.stop)
        self._places += f'\n[anchors.witness.auditor]\nurl = "{server.url}"\nvkey = "{self._keeper.key}"\n'

    def configuration(self) -> str:
        return self._places

    def trust(self, vkey: str) -> None:
        if self._keeper is not None:
            self._keeper.trust(vkey)

    def close(self) -> None:
        self._stack.close()
