"""How fast a stranger proves a package: 200,000 entries, a checkpoint every 100. Run: python bench/verify.py

Most entries are run entries of an hourly plan of 20 checks over one account, all inside the window, with their call
logs, answers, observations and tables; every step is timed by itself, twice: as `python3 verify.py` does it, in pure
Python, and as `collector verify` does it, with the faster arithmetic of collector/ledger/quick.py.
Baseline, in the same run: hashing the same lines into a tree and parsing them, and nothing else.

Rates are per second of processor time of the busiest process: what a machine with two free processors does in a second
of the wall. The wall is told beside it, for entries alone.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector import canonical
from collector.export.package import PREDICATE, STATEMENT, envelope
from collector.ledger import merkle, verify
from collector.ledger.note import TreeHead
from collector.ledger.quick import Quick
from collector.ledger.seal import FileSigner, seal
from collector.window.slots import SlotState

START = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = "aws/123456789012"
ORIGIN = "bench.example/ledger"
EVERY = 3600
STATES = "satisfied,not_satisfied,not_applicable,undetermined"
PEOPLE = [f"arn:aws:iam::123456789012:user/{number}" for number in range(3)]
HEADERS = {
    "results": "account,check,scope,due_utc,due_local,state,run,started_utc,started_local,late_s,population,"
    f"{STATES},reason,gap,runs",
    "coverage": "check,scope,due,observed,late,partial,gap,missed,covered,longest_gap_s,longest_gap_since_utc,"
    "longest_gap_since_local",
    "items": "slot_utc,slot_local,run,check,scope,subject,state,reason,facts,evidence",
    "populations": "check,scope,run,slot_utc,slot_local,started_utc,started_local,count,listing,"
    f"{STATES},digest,reason",
    "states": "check,scope,subject,state,reason,since_utc,since_local,until_utc,until_local,from_run,to_run",
    "exceptions": "check,scope,subject,since_utc,since_local,until_utc,until_local,first_bad,mended_by,reason,"
    "began_before_window,duration_s,still_open,controls,alerts",
    "alerts": "entry,at_utc,at_local,event,cause,check,scope,subject,control,owner,reason,key,delivered,deliveries,"
    "acknowledgements",
    "changes": "entry,at_utc,at_local,kind",
    "decisions": "entry,at_utc,at_local,control,check,scope,subject,approver,reason,ticket,expires_utc,expires_local,"
    "ended_utc,ended_local,revokes,revoked_by",
    "anchors": "entry,at_utc,at_local,anchor,outcome,size,time_utc,time_local,where,failure,reason",
}


class Builder:
    """A package whose files are all real, as far as the verifier looks at them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sums: dict[str, str] = {}
        self.signer = FileSigner(Ed25519PrivateKey.generate(), ORIGIN)
        self.lines: list[bytes] = []
        self.tree = merkle.Frontier()

    def write(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.sums[name] = canonical.digest(data)
        return self.sums[name]

    def blob(self, data: bytes) -> str:
        name = verify.object_path(canonical.digest(data))
        return self.sums.get(name) or self.write(name, data)

    def add(self, kind: str, at: datetime, fields: dict[str, Any]) -> int:
        seq = len(self.lines)
        body = canonical.record({**fields, "seq": seq, "kind": kind, "at": canonical.stamp(at)})
        self.lines.append(body)
        self.tree.push(merkle.leaf_hash(body))
        return seq

    def sign_tree(self) -> None:
        note = seal(self.signer, TreeHead(ORIGIN, len(self.lines), self.tree.root()), None)
        self.write(f"checkpoints/{len(self.lines):020d}.note", note.encode())

    def build(self, entries: int, checks: int, per_checkpoint: int) -> None:
        names = [f"aws-bench-{number:02}" for number in range(checks)]
        code = canonical.digest(b"#")
        for name in names:
            self.write(f"checks/{name}/{code}.py", b"#")
        control = {"title": "t", "owner": "o", "criteria": ["CC6.1"], "checks": names, "cadence_s": EVERY}
        config = self.blob(canonical.record({"settings": {}, "controls": {"IAM-1": control}}))
        hours = entries // checks
        until = START + timedelta(hours=hours)
        planned = [{"check": name, "scopes": [ACCOUNT], "every_s": EVERY, "offset_s": 0} for name in names]
        times = {"since": canonical.stamp(START), "until": canonical.stamp(until)}
        self.add("key", START, {"origin": ORIGIN, "vkey": str(self.signer.key), "reason": "the ledger begins"})
        self.add("config", START, {"digest": config, "blob": config, "collector": "0.1.0"})
        plan = {"account": ACCOUNT, **times, "parts": [], "checks": planned, "config": config}
        planned_by = self.add("plan", START, plan)
        card = {"version": 1, "limits": {}, "title": "t", "family": "mfa", "criteria": ["CC6.1"], "stage": "stable"}
        cards = [self.add("check", START, {"check": name, "code": code, **card}) for name in names]
        tables = {name: [header] for name, header in HEADERS.items()}
        tables["changes"].append(f"0,{canonical.stamp(START)},{START.isoformat(timespec='microseconds')},key")
        items, slots = hashlib.sha256(), hashlib.sha256()
        digest = canonical.digest("".join(f"{p}\n" for p in PEOPLE).encode())
        for hour in range(hours):
            slot = START + timedelta(hours=hour)
            due, local = canonical.stamp(slot), slot.isoformat(timespec="microseconds")
            started = slot + timedelta(seconds=20)
            begun, begun_local = canonical.stamp(started), started.isoformat(timespec="microseconds")
            calls, observations = self.answers(hour, started)
            for name in names:
                fields = {"account": ACCOUNT, "scope": ACCOUNT, "check": name, "version": 1, "code": code}
                fields |= {"slot": due, "reference": begun, "calls": calls, "limits": {}, "reason": "", "failure": ""}
                fields |= {"started": begun, "finished": begun, "population": 3, "subjects": digest}
                fields |= {"principal": "arn:aws:sts::123456789012:assumed-role/EvidenceReadOnly/collector"}
                fields |= {"states": {"satisfied": 3, "not-satisfied": 0, "not-applicable": 0, "undetermined": 0}}
                fields |= {"observations": observations, "config": config, "collector": "0.1.0"}
                seq = self.add("run", started, fields)
                place = f"{ACCOUNT},{name},{ACCOUNT}"
                tables["results"].append(
                    f"{place},{due},{local},observed,{seq},{begun},{begun_local},20,3,3,0,0,0,,,1",
                )
                tables["items"] += [
                    f"{due},{local},{seq},{name},{ACCOUNT},{p},satisfied,is fine,{{}},{self.id}" for p in PEOPLE
                ]
                tables["populations"].append(
                    f"{name},{ACCOUNT},{seq},{due},{local},{begun},{begun_local},3,complete,3,0,0,0,{digest},"
                )
                items.update("".join(f"{name}|{ACCOUNT}|{due}|{p}\n" for p in PEOPLE).encode())
                slots.update(f"{name}|{ACCOUNT}|{due}\n".encode())
                if hour == 0:
                    tables["states"] += [
                        f"{name},{ACCOUNT},{p},satisfied,is fine,{begun},{begun_local},,,{seq}," for p in PEOPLE
                    ]
                if len(self.lines) % per_checkpoint == 0:
                    self.sign_tree()
        self.sign_tree()
        due_slots = hours * checks
        tables["coverage"] += [f"{name},{ACCOUNT},{hours},{hours},0,0,0,0,{hours},0,," for name in names]
        for name, rows in tables.items():
            self.write(f"tables/{name}.csv", "\r\n".join([*rows, ""]).encode())
        self.write("ledger/entries.jsonl", b"".join(line + b"\n" for line in self.lines))
        span = {"first": 0, "last": len(self.lines), "origin": ORIGIN, "frontier": []}
        self.write("ledger/range.json", canonical.record(span))
        counts = {state.value: 0 for state in SlotState} | {"observed": due_slots}
        stretch = {**times, "entries": [planned_by], "checks": planned}
        accounts = [{"account": ACCOUNT, "stretches": [stretch]}]
        plan_file = {"due": due_slots, "counts": counts, "grace_s": 900, "accounts": accounts}
        self.write("plan.json", canonical.record(plan_file))
        versions = [
            {"id": name, "entry": seq, "source": f"checks/{name}/{code}.py", **card}
            for name, seq in zip(names, cards, strict=True)
        ]
        bound = {"controls": [{"id": "IAM-1", **control}], "checks": versions, "configurations": [config]}
        self.write("controls.json", canonical.record(bound))
        population = {
            "items": {"count": due_slots * len(PEOPLE), "digest": items.hexdigest()},
            "slots": {"count": due_slots, "digest": slots.hexdigest()},
        }
        self.write("sampling.json", canonical.record({"controls": [{"control": "IAM-1", **population}]}))
        self.sign(names, times)

    def answers(self, hour: int, started: datetime) -> tuple[str, str]:
        """One call log and one list of observations, which the runs of an hour share."""
        body = self.blob(b'{"Users":[]}')
        call = {"cloud": "aws", "endpoint": "iam.amazonaws.com", "operation": "iam:ListUsers", "params": {}, "page": 1}
        call |= {"attempts": 1, "body": body, "date": started.strftime("%a, %d %b %Y %H:%M:%S GMT"), "last": True}
        call |= {"ms": 9, "request_id": str(hour), "started": canonical.stamp(started), "status": 200}
        question = ["aws", "iam.amazonaws.com", "iam:ListUsers", {}, 1]
        self.id = canonical.digest(canonical.payload(question))[:16]
        found = [
            {"subject": p, "state": "satisfied", "reason": "is fine", "facts": {}, "exchanges": []} for p in PEOPLE
        ]
        observed = {"exchanges": [self.id], "listing": [0], "subjects": found}
        return self.blob(canonical.record([call])), self.blob(canonical.record(observed))

    def sign(self, names: list[str], times: dict[str, str]) -> None:
        text = "".join(f"{self.sums[name]}  {name}\n" for name in sorted(self.sums)).encode()
        (self.folder / "SHA256SUMS").write_bytes(text)
        tops: dict[str, Any] = {}
        for name in sorted(self.sums):
            top, slash, _ = name.partition("/")
            if slash:
                tops.setdefault(f"{top}/", hashlib.sha256()).update(f"{self.sums[name]}  {name}\n".encode())
            else:
                tops[top] = self.sums[name]
        subject = [{"name": "SHA256SUMS", "digest": {"sha256": canonical.digest(text)}}]
        for name, digest in tops.items():
            found = digest if isinstance(digest, str) else digest.hexdigest()
            subject.append({"name": name, "digest": {"sha256": found}})
        predicate = {
            "origin": ORIGIN,
            "vkey": str(self.signer.key),
            "window": {"name": "bench", **times, "zone": "UTC"},
            "range": {"first": 0, "last": len(self.lines), "root": self.tree.root().hex()},
            "filters": {"controls": [], "criteria": ["CC6.1"], "checks": names, "scopes": []},
            "left_out": {"controls": 0, "slots": 0, "runs": 0},
            "grace_s": 900,
        }
        statement = {"_type": STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": predicate}
        (self.folder / "manifest.dsse.json").write_bytes(envelope(canonical.record(statement), self.signer))


def clock() -> tuple[float, float, float]:
    """Seconds of the wall, of this process on a processor, and of its helpers."""
    used = os.times()
    return time.perf_counter(), time.process_time(), used.children_user + used.children_system


def baseline(path: Path) -> float:
    """Seconds to hash the same lines into a tree and to parse them."""
    begin = time.process_time()
    held: list[bytes] = []
    with path.open("rb") as lines:
        for size, line in enumerate(lines):
            rising = hashlib.sha256(b"\x00" + line[:-1]).digest()
            while size & 1:
                rising = hashlib.sha256(b"\x01" + held.pop() + rising).digest()
                size >>= 1
            held.append(rising)
            json.loads(line)
    return time.process_time() - begin


def proof_of(folder: Path, fast: Any) -> verify.Proof:
    files = verify.Files(verify.Folder(folder))
    return verify.Proof(files, verify.Trust(None, folder, fast), progress=False, fast=fast)


def whole(folder: Path, fast: Any) -> dict[str, float]:
    """Every step, in seconds of this process on a processor."""
    proof = proof_of(folder, fast)
    found: dict[str, float] = {}
    gc.collect()
    for step in (
        proof.check_manifest,
        proof.check_sums,
        proof.check_files,
        proof.read_notes,
        proof.check_proofs,
        proof.walk,
        proof.check_keys,
        proof.check_signatures,
        proof.check_anchors,
        proof.excuse_absent,
        proof.account_for,
        proof.compare_results,
        proof.compare_coverage,
        proof.compare_runs,
        proof.compare_others,
        proof.check_controls,
    ):
        begin = time.process_time()
        step()
        found[step.__name__] = round(time.process_time() - begin, 3)
    return found


def entries_alone(folder: Path, fast: Any) -> tuple[float, float]:
    """Seconds of the busiest process, and of the wall, for entries and tree, when no run is of the window."""
    proof = proof_of(folder, fast)
    proof.check_manifest()
    proof.check_sums()
    proof.read_notes()
    proof.since = proof.until
    gc.collect()
    begin = clock()
    proof.walk()
    end = clock()
    fast.stop()
    return max(end[1] - begin[1], end[2] - begin[2]), end[0] - begin[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--checks", type=int, default=20)
    parser.add_argument("--per-checkpoint", type=int, default=100)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        builder = Builder(folder)
        builder.build(asked.entries, asked.checks, asked.per_checkpoint)
        entries, files = len(builder.lines), len(builder.sums)
        del builder
        ledger = folder / "ledger" / "entries.jsonl"
        found["entries"], found["files"] = entries, files
        found["megabytes_of_entries"] = ledger.stat().st_size // 1_000_000
        bare = min(baseline(ledger) for _ in range(2))
        found["baseline_per_s"] = round(entries / bare)
        for word, fast in (("pure", verify.Plain), ("quick", Quick)):
            cpu, wall = min(entries_alone(folder, fast) for _ in range(5))
            found[f"{word}: entries alone, per s"] = round(entries / cpu)
            found[f"{word}: entries alone, per s of the wall"] = round(entries / wall)
            found[f"{word}: entries alone to baseline"] = round(cpu / bare, 2)
            steps = whole(folder, fast)
            found[f"{word}: entries with what they rest on, per s"] = round(entries / steps["walk"])
            found[f"{word}: rows of items, per s"] = round(entries * len(PEOPLE) / steps["compare_runs"])
            found[f"{word}: checkpoints, per s"] = round(entries / asked.per_checkpoint / steps["check_signatures"])
            found[f"{word}: everything, s"] = round(sum(steps.values()), 2)
            found[f"{word}: steps, s"] = steps
    for key, value in found.items():
        if not isinstance(value, dict):
            print(f"{key:48} {value:>12,}")
    print(json.dumps({"asked": vars(asked), "found": found}))


if __name__ == "__main__":
    main()
