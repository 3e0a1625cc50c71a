"""Kills a real daemon again and again while it collects, and looks at what it left. Run as a program by test_kill.py.

    python tests/simulate/kill.py FOLDER ROUNDS SEED [--canned] [--postgres] [--each N]

Each round forks a child that runs the daemon as `collector run` does, and kills it with SIGKILL at a random moment.
Without ``--canned`` the environment must point at a simulated cloud, and slots fall due every three seconds; with it
the answers are canned, slots fall due every second and lives are short, so that thousands of kills are feasible.
``--postgres`` keeps the ledger in a real PostgreSQL server of its own; a lease there lasts a quarter of a second, so
that the next child need not wait for it. ``--each`` begins a new ledger after so many rounds: an old one takes longer
to prove at each start than these lives last. Prints one JSON line; exits 1 when anything acknowledged is lost, written
twice, or unaccounted for.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any

from collector import config, controls, daemon, logs
from collector.clouds import aws
from collector.ledger import leading, store
from collector.ledger.entry import Kind
from collector.window.slots import Declared, Ran, SlotState, account_for, due, plan_from
from tests.simulate import clouds

SERVICES = {"elasticfilesystem": "efs", "elasticloadbalancing": "elbv2"}  # permissions not named for their service
GRACE = timedelta(seconds=60)
CHECK_EVERY = 25  # rounds, of short lives
ACCOUNTS = ("111111111111", "222222222222")
LIVES = 1.8  # the longest, in times to the first seal: so the machine decides how long lives are
FIRST_SECONDS_MAX = 20
LEASE_SECONDS, RENEW_SECONDS = 0.25, 0.08  # of short lives


@dataclass(frozen=True)
class Way:
    """How children live."""

    cadence_s: int
    longest_s: float  # 0: as long as the machine needs
    last_s: float
    settle_s: int  # before the end: what was due until then has been answered or declared, on a busy machine too
    check_every: int
    opener: Callable[[config.Settings], Any]


def main(arguments: list[str] | None = None) -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("folder", type=Path)
    words.add_argument("rounds", type=int)
    words.add_argument("seed", type=int)
    words.add_argument("--canned", action="store_true")
    words.add_argument("--postgres", action="store_true")
    words.add_argument("--each", type=int, default=0)
    given = words.parse_args(arguments)
    controls.CADENCE_SECONDS_MIN = 1
    way = Way(1, 0, 12, 6, CHECK_EVERY, canned) if given.canned else Way(3, 4.5, 14, 9, 1, warmed())
    begun = time.monotonic()
    server = None
    if given.postgres:
        from tests.support import postgres

        server = postgres.own()
    if given.canned:
        warm(given.folder / "warm", way)
    told = Counter[str]()
    slowest, wrong, left, number = 0.0, "", given.rounds, 0
    while left > 0 and not wrong:
        rounds = min(left, given.each or left)
        home = given.folder / f"ledger-{number}"
        home.mkdir()
        settings = write(home, way, given.canned, server.create(f"kill_{number}") if server else "")
        outcome = kill(home, settings, way, rounds, random.Random(f"{given.seed} {number}"))
        told.update(outcome.told)
        slowest, wrong = max(slowest, outcome.stopped_s), outcome.wrong
        left -= rounds
        number += 1
    report = {
        "rounds": given.rounds - left,
        "seed": given.seed,
        "ledgers": number,
        "database": "postgresql" if given.postgres else "sqlite",
        **told,
        "sigterm_seconds": round(slowest, 2),
        "seconds": round(time.monotonic() - begun),
        "wrong": wrong,
    }
    print(json.dumps(report))
    if server:
        server.close()
    return int(bool(wrong))


@dataclass(frozen=True)
class Outcome:
    told: dict[str, int]
    stopped_s: float
    wrong: str


def kill(folder: Path, settings: config.Settings, way: Way, rounds: int, chance: random.Random) -> Outcome:
    """One ledger: so many lives that are killed, a last one that may end, and what must hold of all."""
    acknowledged: set[str] = set()
    killed_early = 0
    longest_s = way.longest_s or LIVES * first_seal(folder, settings, way, acknowledged)

    def told() -> dict[str, int]:
        return {"slots_acknowledged": len(acknowledged), "killed_before_the_first_seal": killed_early}

    for number in range(rounds):
        journal = folder / f"{number}.log"
        child = fork(lambda path=journal: live(settings, path, way))
        time.sleep(chance.uniform(0.01, longest_s))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        said = sealed(journal)
        acknowledged |= said
        killed_early += not said
        journal.unlink(missing_ok=True)
        if number % way.check_every == way.check_every - 1 and fork_and_wait(
            lambda known=frozenset(acknowledged): check(settings, known, way)
        ):
            return Outcome(told(), 0, f"after round {number} of {folder.name}")
    child = fork(lambda: live(settings, folder / "last.log", way))
    time.sleep(way.last_s)
    begun = time.monotonic()
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    stopped_s = time.monotonic() - begun
    acknowledged |= sealed(folder / "last.log")
    if fork_and_wait(lambda: check(settings, acknowledged, way, whole=True)):
        return Outcome(told(), stopped_s, f"at the end of {folder.name}")
    if os.waitstatus_to_exitcode(status) != 0 or stopped_s > 10:
        return Outcome(told(), stopped_s, f"SIGTERM: {os.waitstatus_to_exitcode(status)} after {stopped_s:.1f} s")
    return Outcome(told(), stopped_s, "")


def first_seal(folder: Path, settings: config.Settings, way: Way, acknowledged: set[str]) -> float:
    """How many seconds the first life takes to say that it sealed something; it is killed then."""
    begun = time.monotonic()
    child = fork(lambda: live(settings, folder / "first.log", way))
    while not sealed(folder / "first.log") and time.monotonic() - begun < FIRST_SECONDS_MAX:
        time.sleep(0.01)
    taken = time.monotonic() - begun
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    acknowledged |= sealed(folder / "first.log")
    return taken


def write(folder: Path, way: Way, short: bool, database: str) -> config.Settings:
    accounts = ACCOUNTS if short else (os.environ["SIMULATED_ACCOUNT"],)
    where = f'database = "{database}"\n' if database else ""
    tables = "".join(f'[[aws]]\naccount = "{name}"\nhome_region = "eu-west-1"\n' for name in accounts)
    if not short:
        tables = f'[[aws]]\naccount = "{accounts[0]}"\n'
    (folder / "collector.toml").write_text(
        f'[collector]\norigin = "test.local/kill"\n{where}{tables}[web]\nlisten = ""\n[log]\nformat = "json"\n'
    )
    if short:
        checks = json.dumps([clouds.MFA, clouds.EBS, clouds.PATCH])
        text = f'[controls.ONE]\ntitle = "All is well."\nowner = "all"\ncriteria = ["CC6.1"]\nchecks = {checks}'
    else:
        text = resources.files("collector.starter").joinpath("controls.toml").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("cadence")]
    text = "\n".join(
        f'{line}\ncadence = "{way.cadence_s}s"' if line.startswith("[controls.") else line for line in lines
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


def warmed() -> Callable[[config.Settings], Any]:
    """Clients that every child inherits: reading botocore's models takes longer than most of these lives."""
    clients = aws.Clients()
    for item in daemon.shipped():
        for permission in item.check.permissions if item.check.cloud == "aws" else ():
            service = SERVICES.get(permission.partition(":")[0], permission.partition(":")[0])
            for region in ("us-east-1", "eu-west-1"):
                clients.client(service, region)
    clients.client("elb", "us-east-1")
    clients.client("sts", "us-east-1")

    def opener(settings: config.Settings) -> Any:
        found = daemon.directory(settings)
        found._clients = clients
        return found

    return opener


class canned:  # noqa: N801 - it stands where a function stands
    """Answers without a network, of accounts whose people and volumes differ a little from life to life."""

    def __init__(self, settings: config.Settings) -> None:
        chance = random.Random(time.time_ns())
        self._clouds = {name: clouds.Aws(name, random.Random(name), daemon.utc_now) for name in ACCOUNTS}
        for cloud in self._clouds.values():
            for _ in range(chance.randrange(4)):
                cloud.change(chance)
        store.leadership = _short_lease
        daemon.RENEW_SECONDS = RENEW_SECONDS

    def open(self, settings: Any, transcript: Any, reference: Any) -> Any:
        return self._clouds[settings.account].handle(transcript, reference, settings, lambda: None)


def warm(folder: Path, way: Way) -> None:
    """One observation in this process, so that its children have read every module and model before they live."""
    for room in ("collector.anchor.places", "collector.web.app", "collector.web.metrics"):
        importlib.import_module(room)
    folder.mkdir()
    settings = write(folder, way, True, "")
    with daemon.opened(settings, clouds=way.opener(settings)) as operation:
        operation.announce()
        for account in operation.accounts:
            operation.plan(account)
            operation.observe(account, None)
        operation.checkpoint()


def _short_lease(database: Any) -> leading.Leadership:
    """As ``leading.leadership``, with a lease that is over before the next child wants it."""
    found = leading.leadership(database)
    return leading.Lease(database, LEASE_SECONDS) if isinstance(found, leading.Lease) else found


def live(settings: config.Settings, journal: Path, way: Way) -> None:
    out = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 2)
    logs.setup("json", "info")
    daemon.run(settings, way.opener(settings))


def sealed(journal: Path) -> set[str]:
    """The slots that the daemon said it had sealed, before it was killed."""
    found: set[str] = set()
    for line in journal.read_text().splitlines() if journal.exists() else ():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the line it was killed in
        if event.get("event") == "sealed" and event.get("slot"):
            found.add(f"{event['account']} {event['slot']}")
    return found


def check(settings: config.Settings, acknowledged: Set[str], way: Way, whole: bool = False) -> None:
    """Raises when the ledger does not verify, lost or doubled anything, or (``whole``) left a slot unaccounted for."""
    if settings.collector.database.startswith("sqlite") and not Path(settings.collector.data, "ledger.db").exists():
        assert not acknowledged
        return
    ledger = daemon.open_ledger(settings, create=True)
    try:
        ledger.verify(blobs=whole)
        rows = list(ledger.projection.runs())
        answered = Counter((row.check, row.scope, row.slot) for row in rows)
        doubled = [key for key, count in answered.items() if count > 1]
        assert not doubled, doubled[:3]
        slots = {f"{row.account} {row.slot.isoformat()}" for row in rows if row.slot}
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
        # the slots that fell due during the last run, and while the last daemon was being stopped, are nobody's yet
        checks = len({(row.check, row.scope) for row in rows})
        assert outcome[SlotState.MISSED] <= way.settle_s // way.cadence_s * checks, outcome
        later = last - timedelta(seconds=way.settle_s)
        early = Counter(slot.state for slot in account_for(due(plans, since, later), runs, gaps, GRACE))
        assert early[SlotState.MISSED] == 0, early
        assert early[SlotState.OBSERVED] + early[SlotState.PARTIAL] > 0, early
    finally:
        ledger.close()


if __name__ == "__main__":
    sys.exit(main())
