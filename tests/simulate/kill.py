"""Kills a real daemon again and again while it collects, and looks at what it left. Run as a program by test_kill.py.

    python tests/simulate/kill.py FOLDER ROUNDS SEED

The environment must point at a simulated cloud. Each round forks a child that runs the daemon as `collector run` does,
with slots every three seconds, and kills it with SIGKILL at a random moment. Prints one JSON line; exits 1 when
anything acknowledged is lost, written twice, or unaccounted for.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Set
from datetime import timedelta
from importlib import resources
from pathlib import Path

from collector import config, controls, daemon, logs
from collector.clouds import aws
from collector.ledger.entry import Kind
from collector.window.slots import Declared, Ran, SlotState, account_for, due, plan_from

SERVICES = {"elasticfilesystem": "efs", "elasticloadbalancing": "elbv2"}  # permissions not named for their service
CADENCE_SECONDS = 3
LONGEST_LIFE_SECONDS = 4.5
LAST_LIFE_SECONDS = 14
GRACE = timedelta(seconds=60)


def main(folder: Path, rounds: int, seed: int) -> int:
    controls.CADENCE_SECONDS_MIN = 1
    settings = write(folder)
    clients = warmed()
    chance = random.Random(seed)
    killed_at_work = 0
    acknowledged: set[str] = set()
    for number in range(rounds):
        journal = folder / f"{number}.log"
        child = fork(lambda path=journal: live(settings, path, clients))
        time.sleep(chance.uniform(0.05, LONGEST_LIFE_SECONDS))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        said = sealed(journal)
        acknowledged |= said
        killed_at_work += not said
        if fork_and_wait(lambda known=frozenset(acknowledged): check(settings, known)):
            print(json.dumps({"broken_in_round": number, "seed": seed}))
            return 1
    child = fork(lambda: live(settings, folder / "last.log", clients))
    time.sleep(LAST_LIFE_SECONDS)
    begun = time.monotonic()
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    stopped_in = time.monotonic() - begun
    broken = fork_and_wait(lambda: check(settings, acknowledged | sealed(folder / "last.log"), whole=True))
    print(
        json.dumps(
            {
                "rounds": rounds,
                "seed": seed,
                "slots_acknowledged": len(acknowledged),
                "killed_before_the_first_seal": killed_at_work,
                "sigterm_seconds": round(stopped_in, 2),
            }
        )
    )
    return int(bool(broken) or os.waitstatus_to_exitcode(status) != 0 or stopped_in > 10)


def write(folder: Path) -> config.Settings:
    account = os.environ["SIMULATED_ACCOUNT"]
    (folder / "collector.toml").write_text(
        f'[collector]\norigin = "test.local/kill"\n[[aws]]\naccount = "{account}"\n'
        '[web]\nlisten = ""\n[log]\nformat = "json"\n'
    )
    starter = resources.files("collector.starter").joinpath("controls.toml").read_text("utf-8")
    lines = [line for line in starter.splitlines() if not line.startswith("cadence")]
    text = "\n".join(
        f'{line}\ncadence = "{CADENCE_SECONDS}s"' if line.startswith("[controls.") else line for line in lines
    )
    (folder / "controls.toml").write_text(text)
    return config.load(folder / "collector.toml", {})


def fork(work: object) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()  # type: ignore[operator]
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def fork_and_wait(work: object) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(fork(work), 0)[1])


def warmed() -> aws.Clients:
    """Clients that every child inherits: reading botocore's models takes longer than most of these lives."""
    clients = aws.Clients()
    for item in daemon.shipped():
        for permission in item.check.permissions if item.check.cloud == "aws" else ():
            service = SERVICES.get(permission.partition(":")[0], permission.partition(":")[0])
            for region in ("us-east-1", "eu-west-1"):
                clients.client(service, region)
    clients.client("elb", "us-east-1")
    clients.client("sts", "us-east-1")
    return clients


def live(settings: config.Settings, journal: Path, clients: aws.Clients) -> None:
    out = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 2)
    logs.setup("json", "info")
    clouds = daemon.directory(settings)
    clouds._clients = clients
    daemon.run(settings, clouds)


def sealed(journal: Path) -> set[str]:
    """The slots that the daemon said it had sealed, before it was killed."""
    found: set[str] = set()
    for line in journal.read_text().splitlines() if journal.exists() else ():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the line it was killed in
        if event.get("event") == "sealed" and event.get("slot"):
            found.add(event["slot"])
    return found


def check(settings: config.Settings, acknowledged: Set[str], whole: bool = False) -> None:
    """Raises when the ledger does not verify, lost or doubled anything, or (``whole``) left a slot unaccounted for."""
    if not Path(settings.collector.data, "ledger.db").exists():
        assert not acknowledged
        return
    ledger = daemon.open_ledger(settings, create=True)
    try:
        ledger.verify(blobs=whole)
        rows = list(ledger.projection.runs())
        answered = Counter((row.check, row.scope, row.slot) for row in rows)
        doubled = [key for key, count in answered.items() if count > 1]
        assert not doubled, doubled[:3]
        slots = {row.slot.isoformat() for row in rows if row.slot}
        assert acknowledged <= slots, sorted(acknowledged - slots)[:3]
        if not whole:
            return
        plans = [plan_from(entry.data) for entry in ledger.entries(kinds=[Kind.PLAN])]
        since = min(plan.since for plan in plans)
        last = max(entry.at for entry in ledger.entries())
        runs = [
            Ran(r.seq, r.account, r.check, r.scope, r.slot, r.started, r.finished, r.population, r.states, "", "")
            for r in rows
        ]
        gaps = [
            Declared(g.seq, g.account, g.checks, g.since, g.until, g.reason)
            for g in ledger.projection.gaps(since, last)
        ]
        outcome = Counter(slot.state for slot in account_for(due(plans, since, last), runs, gaps, GRACE))
        # the slots that fell due while the last daemon was being stopped are nobody's yet: at most two
        checks = len({row.check for row in rows}) * 3
        assert outcome[SlotState.MISSED] <= 2 * checks, outcome
        later = last - timedelta(seconds=3 * CADENCE_SECONDS)
        early = Counter(slot.state for slot in account_for(due(plans, since, later), runs, gaps, GRACE))
        assert early[SlotState.MISSED] == 0, early
        assert early[SlotState.OBSERVED] + early[SlotState.PARTIAL] > 0, early
    finally:
        ledger.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
