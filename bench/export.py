"""A year in a package: how long an export takes and how much memory. Run: python bench/export.py

Lives through daily runs of 100 checks over 50,000 subjects for a year, in a real ledger with hourly heartbeats,
checkpoints and anchors; in a tenth of the runs one subject is otherwise than the day before. Then the window is
exported in a process of its own, into a folder and into a zip, and its time and largest resident size are taken.
Baseline, in the same run: writing and hashing as many bytes as the folder has, and nothing else.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from collector import canonical, config
from collector.clouds.transcript import Question, exchange_record
from collector.export import package, read
from collector.ledger.entry import Draft, Kind, observations_blob, plan_fields, run_fields
from collector.ledger.seal import FileSigner
from collector.ledger.store import Batch, Ledger
from collector.model import CheckRun, Exchange, Observation, Scope, State, Verdict
from collector.window.slots import PlannedCheck

START = datetime(2026, 1, 1, tzinfo=UTC)
ORIGIN = "bench.example/ledger"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
DAILY = 86_400
CRITERIA = ("CC6.1", "CC6.6", "CC6.7", "CC7.1", "CC7.2")
SOURCE = b'"""Every thing is as it should be."""\n'
PRINCIPAL = "arn:aws:sts::{account}:assumed-role/EvidenceReadOnly/collector"
SETTINGS = """
[collector]
origin = "{origin}"
key = "log.pem"
database = "sqlite:///{database}"
{accounts}
[windows.year]
start = 2026-01-01
end = {end}
zone = "Europe/Berlin"
criteria = ["CC6.1", "CC6.6", "CC6.7", "CC7.1", "CC7.2"]
"""


@dataclass
class Pair:
    """One check over one account: what it was asked and what it saw last."""

    check: str
    account: Scope
    questions: list[Question]
    bodies: list[bytes]
    observations: list[Observation]
    digest: str = ""

    def run(self) -> CheckRun:
        listing = (self.questions[0].id,)
        found = tuple(self.observations)
        return CheckRun(self.check, self.account, START, START, len(found), found, listing)


class Year:
    """What a collector would write over accounts that hardly change."""

    def __init__(self, seed: int, checks: int, subjects: int, accounts: int, exchanges: int, changes: float) -> None:
        self.random = random.Random(seed)
        self.changes = changes
        self.accounts = [Scope("aws", f"{100_000_000_000 + n}") for n in range(accounts)]
        self.checks = [f"aws-bench-{n:03d}" for n in range(checks)]
        each = max(subjects // checks // accounts, 1)
        self.pairs = {
            account: [self._pair(check, account, each, exchanges) for check in self.checks] for account in self.accounts
        }

    def _pair(self, check: str, account: Scope, subjects: int, exchanges: int) -> Pair:
        host = "ec2.eu-west-1.amazonaws.com"
        asked = [
            Question("aws", host, "ec2:DescribeVolumes", {"Filters": check, "MaxResults": 500, "n": n})
            for n in range(exchanges)
        ]
        names = [f"arn:aws:ec2:eu-west-1:{account.account}:volume/{check}-{n:08x}" for n in range(subjects)]
        seen = [self._observation(name, State.SATISFIED) for name in names]
        pair = Pair(check, account, asked, [], seen)
        pair.bodies = [self._body(pair, n) for n in range(exchanges)]
        return pair

    @staticmethod
    def _observation(name: str, state: State) -> Observation:
        verdict = Verdict(state, f"is encrypted with alias/key-{len(name) % 7}, and that is {state.value}")
        facts = {"encrypted": state is State.SATISFIED, "key": f"alias/key-{len(name) % 7}", "size_gib": 100}
        return Observation(name, verdict, facts, ())

    @staticmethod
    def _body(pair: Pair, n: int) -> bytes:
        if n:
            return canonical.payload({"Policy": pair.check, "n": n})
        volumes = [{"VolumeId": o.subject.rpartition("/")[2], "State": o.verdict.state} for o in pair.observations]
        return canonical.payload({"Volumes": volumes})

    def day(self, batch: Batch, account: Scope, slot: datetime, config_digest: str, code: str) -> None:
        """All runs of one account at one slot, in one transaction as the collector writes them."""
        calls, at = [], slot + timedelta(seconds=20)
        for pair in self.pairs[account]:
            if not pair.digest or self.random.random() < self.changes:
                self._change(pair)
                pair.digest = batch.blob(observations_blob(pair.run()), like=f"observed {pair.check} {account}")
                for question, body in zip(pair.questions, pair.bodies, strict=True):
                    batch.blob(body, like=question.id)
            for question, body in zip(pair.questions, pair.bodies, strict=True):
                at += timedelta(microseconds=self.random.randrange(200_000))
                calls.append(exchange_record(self._exchange(question, body, at)))
        log = batch.blob(canonical.record(calls), like=f"calls {account}")
        for pair in self.pairs[account]:
            started = slot + timedelta(microseconds=20_000_000 + self.random.randrange(2_000_000))
            finished = started + timedelta(microseconds=self.random.randrange(5_000_000))
            run = replace(pair.run(), started=started, finished=finished)
            fields = run_fields(
                run,
                account=account,
                slot=slot,
                reference=started,
                version=1,
                code=code,
                limits={},
                principal=PRINCIPAL.format(account=account.account),
                calls=log,
                config=config_digest,
                collector="0.1.0",
            )
            batch.add(Draft(Kind.RUN, at + timedelta(seconds=30), fields))

    def _change(self, pair: Pair) -> None:
        """One subject is otherwise than it was; the first time nothing is."""
        if pair.digest:
            place = self.random.randrange(len(pair.observations))
            known = pair.observations[place]
            state = State.NOT_SATISFIED if known.verdict.state is State.SATISFIED else State.SATISFIED
            pair.observations[place] = self._observation(known.subject, state)
            pair.bodies[0] = self._body(pair, 0)

    def _exchange(self, question: Question, body: bytes, at: datetime) -> Exchange:
        return Exchange(
            cloud=question.cloud,
            endpoint=question.endpoint,
            operation=question.operation,
            params=question.params,
            page=1,
            last=True,
            status=200,
            error="",
            failure="",
            attempts=1,
            request_id=str(uuid.UUID(int=self.random.getrandbits(128), version=4)),
            date=format_datetime(at.replace(microsecond=0), usegmt=True),
            as_of="",
            host="",
            started=at,
            duration_ms=self.random.randrange(20, 900),
            body=canonical.digest(body),
        )


def build(folder: Path, year: Year, days: int) -> dict[str, Any]:
    """The ledger of the year, and a configuration that names the window."""
    signer = FileSigner.create(folder / "log.pem", ORIGIN)
    accounts = "\n".join(f'[[aws]]\naccount = "{account.account}"' for account in year.accounts)
    end = START + days * DAY
    database = (folder / "ledger.db").resolve()
    (folder / "collector.toml").write_text(
        SETTINGS.format(origin=ORIGIN, database=database, accounts=accounts, end=f"{end:%Y-%m-%d}")
    )
    ledger = Ledger.open(f"sqlite:///{database}", origin=ORIGIN, signer=signer, create=True)
    begun = time.perf_counter()
    controls = {
        f"C-{n:02d}": {
            "title": f"Control number {n} operates",
            "owner": "platform",
            "criteria": [CRITERIA[n % len(CRITERIA)]],
            "checks": year.checks[n :: max(len(year.checks) * 2 // 5, 1)],
            "cadence_s": DAILY,
            "limits": {},
            "channels": None,
        }
        for n in range(max(len(year.checks) * 2 // 5, 1))
    }
    settings = {"anchors": {"file": {"folder": {}}}, "schedule": {"checkpoint": "1h"}}
    effective = canonical.record({"settings": settings, "controls": controls})
    before = START - HOUR
    with ledger.write() as batch:
        digest = batch.blob(effective)
        batch.add(Draft(Kind.CONFIG, before, {"digest": digest, "blob": digest, "collector": "0.1.0"}))
        code = batch.blob(SOURCE)
        for check in year.checks:
            fields = {"check": check, "version": 1, "code": code, "title": "Every thing is as it should be."}
            fields |= {"family": "encryption-at-rest", "criteria": ["CC6.1"], "stage": "stable", "permissions": []}
            batch.add(Draft(Kind.CHECK, before, {**fields, "limits": {}, "origin": "bench"}))
    ledger.checkpoint(before)
    for day in range(days):
        slot = START + day * DAY
        _plans(ledger, year, slot, digest)
        for account in year.accounts:
            with ledger.write() as batch:
                year.day(batch, account, slot, digest, code)
        for hour in range(24):
            _hour(ledger, slot + hour * HOUR + timedelta(minutes=10))
    ledger.checkpoint(end + HOUR)
    found = {"entries": ledger.size(), "build_s": round(time.perf_counter() - begun, 1)}
    ledger.close()
    found["ledger_mb"] = sum(path.stat().st_size for path in folder.glob("ledger.db*")) // 1_000_000
    return found


def _plans(ledger: Ledger, year: Year, slot: datetime, digest: str) -> None:
    at = slot - timedelta(minutes=30)
    with ledger.write() as batch:
        for account in year.accounts:
            planned = [PlannedCheck(check, (str(account),), DAILY) for check in year.checks]
            batch.add(Draft(Kind.PLAN, at, plan_fields(account, at, at + 400 * DAY, planned, [], digest)))


def _hour(ledger: Ledger, at: datetime) -> None:
    with ledger.write() as batch:
        fields = {"collector": "0.1.0", "host": "bench", "started": canonical.stamp(START), "uptime_s": 1, "skew_ms": 0}
        batch.add(Draft(Kind.HEARTBEAT, at, fields))
    signed = ledger.checkpoint(at)
    assert signed is not None
    with ledger.write() as batch:
        token = batch.blob(canonical.record({"size": signed.size, "kept": canonical.stamp(at)}), like="tokens")
        note = canonical.digest(signed.note.encode())
        where = {"size": signed.size, "root": signed.root.hex(), "note": note, "token": token, "time": ""}
        fields = {"anchor": "file/folder", "type": "file", "where": f"{signed.size}.note", "outcome": "anchored"}
        batch.add(Draft(Kind.ANCHOR, at, {**fields, **where, "reason": "", "failure": ""}))


def export(folder: Path, out: Path) -> None:
    """What `collector export` does, in this process; prints its time and largest resident size as JSON."""
    settings = config.load(folder / "collector.toml", {})
    begun = time.perf_counter()
    signer = FileSigner.load(folder / "log.pem", ORIGIN)
    ledger = Ledger.open(settings.collector.database, origin=ORIGIN, signer=signer)
    opened = time.perf_counter()
    dossier = read.read(ledger, settings, "year", settings.windows["year"].until + HOUR)
    known = time.perf_counter()
    steps: list[tuple[float, int]] = []
    info = package.write(
        dossier, ledger, signer, out, lambda done, _: steps.append((time.perf_counter() - known, done))
    )
    ended = time.perf_counter()
    marks = {share: next((round(at, 1) for at, done in steps if done >= share), None) for share in (400, 800, 930)}
    found = {
        "seconds": round(ended - begun, 1),
        "open_s": round(opened - begun, 1),
        "read_s": round(known - opened, 1),
        "write_s": round(ended - known, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "files": info.files,
        "item_rows": dossier.item_rows,
        "exceptions": len(dossier.deviations),
        "slots": len(dossier.slots),
        "told": len(steps),
        "reached_s": marks,
    }
    ledger.close()
    print(json.dumps(found))


def measured(folder: Path, out: Path) -> dict[str, Any]:
    """``export`` in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--export", str(folder), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def baseline(folder: Path, size: int) -> float:
    """Seconds to write and hash as many bytes."""
    piece = random.Random(1).randbytes(1 << 20)
    begun = time.perf_counter()
    digest = hashlib.sha256()
    with (folder / "baseline").open("wb") as file:
        for _ in range(size >> 20):
            file.write(piece)
            digest.update(piece)
    (folder / "baseline").unlink()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--checks", type=int, default=100)
    parser.add_argument("--subjects", type=int, default=50_000, help="of all checks together")
    parser.add_argument("--accounts", type=int, default=1, help="over which checks and subjects are spread")
    parser.add_argument("--exchanges", type=int, default=3, help="for each check in each run")
    parser.add_argument("--changes", type=float, default=0.1, help="share of runs that see one subject changed")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--no-zip", action="store_true", help="only the folder")
    parser.add_argument("--keep", type=Path, help="a folder for ledger and packages, kept afterwards")
    parser.add_argument("--export", nargs=2, type=Path, metavar=("LEDGER", "OUT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.export:
        export(*asked.export)
        return
    year = Year(asked.seed, asked.checks, asked.subjects, asked.accounts, asked.exchanges, asked.changes)
    gc.freeze()
    with tempfile.TemporaryDirectory() as name:
        folder = asked.keep or Path(name)
        folder.mkdir(exist_ok=True)
        found = build(folder, year, asked.days) if not (folder / "ledger.db").exists() else {}
        shutil.rmtree(folder / "package", ignore_errors=True)
        (folder / "package.zip").unlink(missing_ok=True)
        found |= {f"folder_{key}": value for key, value in measured(folder, folder / "package").items()}
        size = sum(path.stat().st_size for path in (folder / "package").rglob("*") if path.is_file())
        items = (folder / "package/tables/items.csv").stat().st_size
        found |= {"folder_mb": size // 1_000_000, "items_mb": items // 1_000_000}
        found["workbook_mb"] = round((folder / "package/tables/tables.xlsx").stat().st_size / 1e6, 1)
        bare = baseline(folder, size)
        found |= {"baseline_s": round(bare, 1), "to_baseline": round(found["folder_seconds"] / bare, 1)}
        if not asked.no_zip:
            found |= {f"zip_{key}": value for key, value in measured(folder, folder / "package.zip").items()}
            found["zip_mb"] = (folder / "package.zip").stat().st_size // 1_000_000
    for key, value in found.items():
        if not isinstance(value, dict):
            print(f"{key:24} {value:>14,}" if isinstance(value, int | float) else f"{key:24} {value!s:>14}")
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in vars(asked).items()}
    print(json.dumps({"asked": plain, "found": found}))


if __name__ == "__main__":
    main()
