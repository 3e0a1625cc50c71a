"""Three real daemons on one PostgreSQL ledger, killed, stopped, cut off and resumed at random. Run by test_replicas.py.

    python tests/simulate/replicas.py FOLDER SECONDS SEED

Slots fall due every three seconds. Afterwards every slot has exactly one run or a declared gap, the ledger verifies,
and whenever the leader was taken away another led within 30 s. Prints one JSON line; exits 1 when that is not so.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from collector import config, controls, daemon
from collector.ledger.entry import Kind
from collector.ledger.store import Ledger
from collector.window.slots import Declared, Ran, account_for, due, plan_from
from tests.support import lived, postgres
from tests.support.wire import Wire

REPLICAS = 3
CADENCE_SECONDS = 3
TAKEOVER_SECONDS_MAX = 30
SETTLE_SECONDS = 40
EVENTS_MIN = 8  # a slow machine gets up to three times as long for them
GRACE = timedelta(seconds=60)


@dataclass
class Replica:
    """One daemon process behind a wire of its own."""

    folder: Path
    wire: Wire
    process: subprocess.Popen[bytes] | None = None
    stopped: bool = False
    hung: bool = False
    starts: int = 0
    log: Path = field(init=False)

    def start(self) -> None:
        self.starts += 1
        self.log = self.folder / f"{self.starts}.log"
        with self.log.open("wb") as file:
            command = [sys.executable, __file__, "--replica", str(self.folder)]
            self.process = subprocess.Popen(command, stderr=file, stdout=file)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)


def main(folder: Path, seconds: float, seed: int) -> int:
    chance = random.Random(seed)
    server = postgres.own()
    url = server.create("ledger")
    key = folder / "log.key"
    replicas = []
    for number in range(REPLICAS):
        wire = Wire(server.port)
        home = folder / str(number)
        home.mkdir()
        write(home, url.replace(str(server.port), str(wire.port)), key)
        replicas.append(Replica(home, wire))
    controls.CADENCE_SECONDS_MIN = 1
    settings = config.load(folder / "0" / "collector.toml", {})
    direct = Ledger.open(
        url, origin=settings.collector.origin, signer=daemon.signer_of(settings, create=True), create=True
    )
    for replica in replicas:
        replica.start()
    longest, done = 0.0, Counter[str]()
    begun = time.monotonic()
    while (past := time.monotonic() - begun) < seconds or (done.total() < EVENTS_MIN and past < 3 * seconds):
        time.sleep(chance.uniform(1, 8))
        leader = leading(direct, replicas)
        event = chance.choice(["kill", "kill", "stop", "hang", "sever", "resume", "resume", "restart"])
        victim = leader if leader is not None and chance.random() < 0.7 else chance.choice(replicas)
        if act(event, victim, replicas):
            done[event] += 1
            if victim is leader and event in ("kill", "stop", "hang"):
                longest = max(longest, takeover(direct, replicas, victim))
    for replica in replicas:
        resume(replica)
        if replica.process is not None and replica.process.poll() is not None:
            replica.start()
    time.sleep(SETTLE_SECONDS)
    for replica in replicas:
        replica.signal(signal.SIGTERM)
    for replica in replicas:
        assert replica.process is not None
        replica.process.wait(30)
    found = judge(direct, settings)
    found |= {"seed": seed, "events": dict(done), "longest_takeover_s": round(longest, 1)}
    print(json.dumps(found))
    direct.close()
    server.close()
    fine = not found["wrong"] and longest <= TAKEOVER_SECONDS_MAX
    return int(not fine)


def write(home: Path, url: str, key: Path) -> None:
    text = lived.CONFIG.split("[windows.")[0].replace(
        "[[aws]]", f'database = "{url}"\nkey = "{key}"\n[web]\nlisten = ""\n[log]\nformat = "json"\n[[aws]]', 1
    )
    (home / "collector.toml").write_text(text)
    tables = lived.CONTROLS.split("\n[controls.")
    cadence = f'\ncadence = "{CADENCE_SECONDS}s"\n'
    marked = [f"[controls.{table.strip().removeprefix('[controls.')}" for table in tables if table.strip()]
    (home / "controls.toml").write_text(
        "\n".join(table.split("\n", 1)[0] + cadence + table.split("\n", 1)[1] for table in marked)
    )


def run_replica(home: Path) -> None:
    controls.CADENCE_SECONDS_MIN = 1
    settings = config.load(home / "collector.toml", {})
    cloud = lived.Cloud(daemon.utc_now)
    cloud.mfa |= {f"user-{number}": "true" for number in range(200)}  # something to do
    raise SystemExit(daemon.run(settings, cloud))


# --- what happens to them ---


def act(event: str, victim: Replica, replicas: list[Replica]) -> bool:
    """Does one thing to one replica; False when it cannot be done to it now. One is always left alone."""
    process = victim.process
    assert process is not None
    alive = process.poll() is None
    well = [r for r in replicas if r.process and r.process.poll() is None and not r.stopped and not r.hung]
    if event in ("kill", "stop", "hang") and (not alive or (victim in well and len(well) == 1)):
        return False
    if event == "kill":
        victim.signal(signal.SIGKILL)
        process.wait()
        victim.stopped = False
    elif event == "stop":
        victim.signal(signal.SIGSTOP)
        victim.stopped = True
    elif event == "hang":
        victim.wire.hang()
        victim.hung = True
    elif event == "sever":
        victim.wire.sever()
    elif event == "resume":
        if not victim.stopped and not victim.hung:
            return False
        resume(victim)
    elif event == "restart":
        if alive:
            return False
        victim.wire.mend()
        victim.hung = False
        victim.start()
    return True


def resume(replica: Replica) -> None:
    replica.wire.mend()
    if replica.stopped and replica.process is not None and replica.process.poll() is None:
        replica.signal(signal.SIGCONT)
    replica.stopped = replica.hung = False


def holder(ledger: Ledger) -> str:
    with ledger._database.reading() as connection:
        row = connection.exec_driver_sql("SELECT holder FROM lease").one_or_none()
        return "" if row is None else str(row.holder)


def leading(ledger: Ledger, replicas: list[Replica]) -> Replica | None:
    pid = holder(ledger).split("/")[-2:-1]
    return next((r for r in replicas if r.process is not None and [str(r.process.pid)] == pid), None)


def takeover(ledger: Ledger, replicas: list[Replica], victim: Replica) -> float:
    """How long it took until another process led."""
    before, begun = holder(ledger), time.monotonic()
    while holder(ledger) == before and time.monotonic() - begun < 2 * TAKEOVER_SECONDS_MAX:
        time.sleep(0.2)
    return time.monotonic() - begun


# --- what must hold afterwards ---


def judge(ledger: Ledger, settings: config.Settings) -> dict[str, object]:
    wrong: list[str] = []
    verified = ledger.verify(blobs=True)
    rows = list(ledger.projection.runs())
    runs = Counter((row.check, row.scope, row.slot) for row in rows if row.slot is not None)
    wrong += [f"{place} was sealed {count} times" for place, count in runs.items() if count > 1]
    plans = [plan_from(entry.data) for entry in ledger.entries(kinds=[Kind.PLAN])]
    end = max(row.slot for row in rows if row.slot is not None)
    first = min(plan.since for plan in plans)
    ran = [
        Ran(r.seq, r.account, r.check, r.scope, r.slot, r.started, r.finished, r.population, r.states, "", r.reason)
        for r in rows
    ]
    gaps = [
        Declared(g.seq, g.account, tuple(g.checks), g.since, g.until, g.reason)
        for g in ledger.projection.gaps(first, end)
    ]
    states = Counter(slot.state.value for slot in account_for(due(plans, first, end), ran, gaps, GRACE))
    if states["missed"]:
        wrong.append(f"{states['missed']} slots have neither a run nor a gap")
    hosts = {entry.data["started"] for entry in ledger.entries(kinds=[Kind.HEARTBEAT])}
    return {"wrong": wrong[:10], "entries": verified.entries, "slots": dict(states), "leaders": len(hosts)}


if __name__ == "__main__":
    if sys.argv[1] == "--replica":
        run_replica(Path(sys.argv[2]))
    os.environ.pop("COLLECTOR_CONFIG", None)
    raise SystemExit(main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
