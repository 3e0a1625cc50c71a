"""A year in a ledger: how large it gets, how fast it is written, asked and proved. Run: python bench/ledger.py

Lives through hourly runs of 20 checks over one account with 500 subjects each that do not change, with about 40
exchanges a run whose request ids, times and durations are random, as real ones are. Prints a table, then JSON.
Baselines, in the same run: hashing the same bodies and nothing else; the same bodies kept plainly in one table.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import random
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from collector import canonical
from collector.clouds.transcript import exchange_record
from collector.ledger.entry import Draft, Kind, observations_blob, run_fields
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from collector.model import CheckRun, Exchange, Observation, Scope, State, Verdict

START = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = Scope("aws", "123456789012")
PRINCIPAL = "arn:aws:sts::123456789012:assumed-role/EvidenceReadOnly/collector"
OPERATIONS = ("ec2:DescribeVolumes", "iam:GetUser", "s3:GetBucketEncryption", "rds:DescribeDBInstances", "kms:GetKey")


class Year:
    """What a collector would write, made beforehand where it does not change, so that only the ledger is measured."""

    def __init__(self, seed: int, checks: int, subjects: int, exchanges: int) -> None:
        self.random = random.Random(seed)
        self.questions = [self._question(number) for number in range(exchanges)]
        self.runs = [self._run(number, subjects) for number in range(checks)]
        self.blobs = [observations_blob(run) for run in self.runs]
        self.config = canonical.digest(b"config")
        self.fields = [
            run_fields(
                run,
                account=ACCOUNT,
                slot=START,
                reference=START,
                version=1,
                code=canonical.digest(run.check.encode()),
                limits={},
                principal=PRINCIPAL,
                calls="",
                config=self.config,
                collector="0.1.0",
            )
            for run in self.runs
        ]

    def _question(self, number: int) -> Exchange:
        operation = OPERATIONS[number % len(OPERATIONS)]
        return Exchange(
            cloud="aws",
            endpoint=f"https://{operation.partition(':')[0]}.eu-west-1.amazonaws.com",
            operation=operation,
            params={"MaxResults": 500, "Name": f"subject-{number}"},
            page=1,
            last=True,
            status=200,
            error="",
            failure="",
            attempts=1,
            request_id="",
            date="",
            as_of="",
            host="",
            started=START,
            duration_ms=0,
            body=canonical.digest(str(number).encode()),
        )

    def _run(self, check: int, subjects: int) -> CheckRun:
        found = []
        for number in range(subjects):
            state = (State.SATISFIED, State.NOT_SATISFIED, State.NOT_APPLICABLE)[min(number // 470, 2)]
            verdict = Verdict(state, f"has a volume that is {state.value}")
            name = f"arn:aws:ec2:eu-west-1:123456789012:volume/vol-{check:04x}{number:08x}"
            facts = {"encrypted": state is State.SATISFIED, "key": f"alias/key-{number % 7}"}
            found.append(Observation(name, verdict, facts, (f"{number % 40:016x}",)))
        scope = replace(ACCOUNT, part="eu-west-1")
        return CheckRun(f"aws-ec2-volume-{check:02d}", scope, START, START, subjects, tuple(found), ("0" * 16,))

    def call_log(self, slot: datetime) -> bytes:
        records = []
        at = slot
        for question in self.questions:
            at += timedelta(microseconds=self.random.randrange(200_000))
            exchange = replace(
                question,
                request_id=str(uuid.UUID(int=self.random.getrandbits(128), version=4)),
                date=format_datetime(at, usegmt=True),
                started=at,
                duration_ms=self.random.randrange(20, 900),
            )
            records.append(exchange_record(exchange))
        return canonical.record(records)

    def drafts(self, slot: datetime, calls: str) -> Iterator[Draft]:
        reference = slot + timedelta(microseconds=self.random.randrange(1_000_000))
        for fields in self.fields:
            started = reference + timedelta(microseconds=self.random.randrange(2_000_000))
            finished = started + timedelta(microseconds=self.random.randrange(5_000_000))
            times: dict[str, Any] = {
                "slot": canonical.stamp(slot),
                "reference": canonical.stamp(reference),
                "started": canonical.stamp(started),
                "finished": canonical.stamp(finished),
            }
            yield Draft(Kind.RUN, finished + timedelta(milliseconds=40), {**fields, **times, "calls": calls})


def live(ledger: Ledger, year: Year, hours: int) -> dict[str, Any]:
    writing = 0.0
    plain_logs = 0
    for hour in range(hours):
        slot = START + timedelta(hours=hour)
        calls = year.call_log(slot)
        plain_logs += len(calls)
        drafts = list(year.drafts(slot, canonical.digest(calls)))
        begun = time.perf_counter()
        with ledger.write() as batch:
            batch.blob(calls, like=f"calls {ACCOUNT}")
            for blob in year.blobs:
                batch.blob(blob)
            for draft in drafts:
                batch.add(draft)
        ledger.checkpoint(slot + timedelta(minutes=1))
        writing += time.perf_counter() - begun
    entries = ledger.size()
    return {
        "entries": entries,
        "call_logs_plain_mb": round(plain_logs / 1e6, 1),
        "append_entries_per_s": round(entries / writing),
        "append_runs_ms": round(1000 * writing / hours, 2),
    }


def ask(ledger: Ledger, hours: int, pairs: int, seed: int) -> dict[str, Any]:
    times: list[float] = []
    chance = random.Random(seed)
    for _ in range(25):
        moment = START + timedelta(hours=1 + chance.randrange(max(hours - 1, 1)))
        begun = time.perf_counter()
        states = ledger.projection.states_at(moment)
        times.append(1000 * (time.perf_counter() - begun))
        assert len(states) == pairs, f"{len(states)} subjects stand at {moment}, not {pairs}"
    begun = time.perf_counter()
    runs = sum(1 for _ in ledger.projection.runs())
    return {
        "states_at_ms_median": round(statistics.median(times), 1),
        "states_at_ms_worst": round(max(times), 1),
        "runs_rows_per_s": round(runs / (time.perf_counter() - begun)),
    }


def prove(ledger: Ledger) -> dict[str, Any]:
    begun = time.perf_counter()
    verified = ledger.verify()
    log = time.perf_counter() - begun
    begun = time.perf_counter()
    ledger.verify(blobs=True)
    everything = time.perf_counter() - begun
    bodies = [entry.body for entry in ledger.entries()]
    begun = time.perf_counter()
    for body in bodies:
        hashlib.sha256(b"\x00" + body).digest()
    hashing = time.perf_counter() - begun
    begun = time.perf_counter()
    ledger.rebuild()
    return {
        "verify_entries_per_s": round(verified.entries / log),
        "verify_s": round(log, 2),
        "verify_with_blobs_s": round(everything, 2),
        "verify_times_bare_hashing": round(log / hashing, 1),
        "rebuild_s": round(time.perf_counter() - begun, 1),
    }


def weigh(ledger: Ledger, folder: Path) -> dict[str, Any]:
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        total = ledger.path.stat().st_size
        try:
            parts = dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
        except sqlite3.OperationalError:  # this SQLite was built without it
            parts = {}
    connection.close()
    plain = sqlite3.connect(folder / "plain.db")
    plain.execute("CREATE TABLE entry(seq INTEGER PRIMARY KEY, body BLOB)")
    plain.executemany("INSERT INTO entry VALUES (?, ?)", ((entry.seq, entry.body) for entry in ledger.entries()))
    plain.commit()
    plain.close()
    held = (folder / "plain.db").stat().st_size
    return {
        "disk_mb": round(total / 1e6, 1),
        "entries_kept_plainly_mb": round(held / 1e6, 1),
        "disk_mb_by_table": {name: round(size / 1e6, 1) for name, size in sorted(parts.items()) if size > 5e4},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--checks", type=int, default=20)
    parser.add_argument("--subjects", type=int, default=500, help="for each check")
    parser.add_argument("--exchanges", type=int, default=40, help="in each run of the account")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    hours = asked.days * 24
    year = Year(asked.seed, asked.checks, asked.subjects, asked.exchanges)
    gc.freeze()  # the imagined cloud is no part of a collector's memory
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        signer = FileSigner.create(folder / "log.pem", "bench.example/ledger")
        url = f"sqlite:///{folder / 'ledger.db'}"
        ledger = Ledger.open(url, origin="bench.example/ledger", signer=signer, create=True)
        found = live(ledger, year, hours)
        found |= weigh(ledger, folder)
        found |= ask(ledger, hours, asked.checks * asked.subjects, asked.seed)
        found |= prove(ledger)
        ledger.close()
    for key, value in found.items():
        if not isinstance(value, dict):
            print(f"{key:32} {value:>12,}")
    for key, value in found["disk_mb_by_table"].items():
        print(f"  {key:30} {value:>12,}")
    print(json.dumps({"asked": vars(asked), "found": found}))


if __name__ == "__main__":
    main()
