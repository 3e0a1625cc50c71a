"""How fast a stranger proves a package: 200,000 entries, a checkpoint every 100. Run: python bench/verify.py

Most entries are run entries of an hourly plan of 20 checks over one account, all inside the window, with their call
logs, answers and observations; the verifier's steps are timed one by one, in its own pure Python.
Baseline, in the same run: hashing the same lines into a tree and parsing them, and nothing else.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector import canonical
from collector.export.package import PREDICATE, STATEMENT, envelope
from collector.ledger import merkle, verify
from collector.ledger.note import TreeHead
from collector.ledger.seal import FileSigner, seal
from collector.window.slots import SlotState

START = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = "aws/123456789012"
ORIGIN = "bench.example/ledger"
EVERY = 3600
STATES = "satisfied,not_satisfied,not_applicable,undetermined"
HEADER = f"account,check,scope,due_utc,state,run,started_utc,population,{STATES},gap,runs"


def build(folder: Path, entries: int, checks: int, per_checkpoint: int) -> None:
    """A package whose files are all real, as far as the verifier looks at them."""
    signer = FileSigner(Ed25519PrivateKey.generate(), ORIGIN)
    sums: dict[str, str] = {}

    def write(name: str, data: bytes) -> str:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        sums[name] = canonical.digest(data)
        return sums[name]

    def blob(data: bytes) -> str:
        return sums.setdefault(verify.object_path(canonical.digest(data)), "") or write(
            verify.object_path(canonical.digest(data)), data
        )

    names = [f"aws-bench-{number:02}" for number in range(checks)]
    code = write(f"checks/{names[0]}/{canonical.digest(b'#')}.py", b"#")
    for name in names[1:]:
        write(f"checks/{name}/{code}.py", b"#")
    config = blob(b"{}")
    hours = entries // checks
    until = START + timedelta(hours=hours)
    planned = [{"check": name, "scopes": [ACCOUNT], "every_s": EVERY, "offset_s": 0} for name in names]
    tree, notes, rows, lines = merkle.Frontier(), [], [HEADER], []

    def add(kind: str, at: datetime, fields: dict[str, Any]) -> None:
        body = canonical.record({**fields, "seq": len(lines), "kind": kind, "at": canonical.stamp(at)})
        lines.append(body)
        tree.push(merkle.leaf_hash(body))
        if len(lines) % per_checkpoint == 0 or len(lines) == hours * checks + 2:
            notes.append((len(lines), seal(signer, TreeHead(ORIGIN, len(lines), tree.root()), None)))

    add("key", START, {"origin": ORIGIN, "vkey": str(signer.key), "reason": "the ledger begins"})
    times = {"since": canonical.stamp(START), "until": canonical.stamp(until)}
    add("plan", START, {"account": ACCOUNT, **times, "parts": [], "checks": planned, "config": config})
    for hour in range(hours):
        slot = START + timedelta(hours=hour)
        started = slot + timedelta(seconds=20)
        body = blob(b'{"Users":[]}')
        call = {"cloud": "aws", "endpoint": "iam.amazonaws.com", "operation": "iam:ListUsers", "params": {}, "page": 1}
        call |= {"attempts": 1, "body": body, "date": started.strftime("%a, %d %b %Y %H:%M:%S GMT"), "last": True}
        call |= {"ms": 9, "request_id": str(hour), "started": canonical.stamp(started), "status": 200}
        calls = blob(canonical.record([call]))
        id = canonical.digest(canonical.payload(["aws", "iam.amazonaws.com", "iam:ListUsers", {}, 1]))[:16]
        people = [f"arn:aws:iam::123456789012:user/{number}" for number in range(3)]
        found = [
            {"subject": p, "state": "satisfied", "reason": "is fine", "facts": {}, "exchanges": []} for p in people
        ]
        observations = blob(canonical.record({"exchanges": [id], "listing": [0], "subjects": found}))
        for name in names:
            rows.append(
                f"{ACCOUNT},{name},{ACCOUNT},{canonical.stamp(slot)},observed,{len(lines)},{canonical.stamp(started)},3,3,0,0,0,,1"
            )
            fields = {"account": ACCOUNT, "scope": ACCOUNT, "check": name, "version": 1, "code": code}
            fields |= {"slot": canonical.stamp(slot), "reference": canonical.stamp(started), "calls": calls}
            fields |= {"started": canonical.stamp(started), "finished": canonical.stamp(started), "population": 3}
            fields |= {"principal": "arn:aws:sts::123456789012:assumed-role/EvidenceReadOnly/collector", "limits": {}}
            fields |= {"subjects": canonical.digest("".join(f"{p}\n" for p in people).encode()), "reason": ""}
            fields |= {"states": {"satisfied": 3, "not-satisfied": 0, "not-applicable": 0, "undetermined": 0}}
            fields |= {"observations": observations, "failure": "", "config": config, "collector": "0.1.0"}
            add("run", started, fields)
    write("ledger/entries.jsonl", b"".join(line + b"\n" for line in lines))
    last = len(lines)
    write("ledger/range.json", canonical.record({"first": 0, "last": last, "origin": ORIGIN, "frontier": []}))
    for size, note in notes:
        write(f"checkpoints/{size:020d}.note", note.encode())
    due = hours * checks
    counts = {state.value: 0 for state in SlotState} | {"observed": due}
    write("plan.json", canonical.record({"due": due, "counts": counts}))
    write("tables/results.csv", "\r\n".join([*rows, ""]).encode())
    covered = [f"{name},{ACCOUNT},{hours},{hours},0,0,0,0" for name in names]
    columns = "check,scope,due,observed,late,partial,gap,missed"
    write("tables/coverage.csv", "\r\n".join([columns, *covered, ""]).encode())
    sign(folder, sums, signer, last, tree.root(), names, times)


def sign(
    folder: Path,
    sums: dict[str, str],
    signer: FileSigner,
    last: int,
    root: bytes,
    names: list[str],
    times: dict[str, str],
) -> None:
    text = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    (folder / "SHA256SUMS").write_bytes(text)
    tops: dict[str, Any] = {}
    for name in sorted(sums):
        top, slash, _ = name.partition("/")
        line = f"{sums[name]}  {name}\n".encode()
        if slash:
            tops.setdefault(f"{top}/", hashlib.sha256()).update(line)
        else:
            tops[top] = sums[name]
    subject = [{"name": "SHA256SUMS", "digest": {"sha256": canonical.digest(text)}}]
    for name, digest in tops.items():
        subject.append({"name": name, "digest": {"sha256": digest if isinstance(digest, str) else digest.hexdigest()}})
    predicate = {
        "origin": ORIGIN,
        "vkey": str(signer.key),
        "window": {"name": "bench", **times, "zone": "UTC"},
        "range": {"first": 0, "last": last, "root": root.hex()},
        "filters": {"checks": names, "scopes": []},
        "grace_s": 900,
    }
    statement = {"_type": STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": predicate}
    (folder / "manifest.dsse.json").write_bytes(envelope(canonical.record(statement), signer))


def baseline(path: Path) -> float:
    """Seconds to hash the same lines into a tree and to parse them."""
    begin = time.perf_counter()
    held: list[bytes] = []
    with path.open("rb") as lines:
        for size, line in enumerate(lines):
            rising = hashlib.sha256(b"\x00" + line[:-1]).digest()
            while size & 1:
                rising = hashlib.sha256(b"\x01" + held.pop() + rising).digest()
                size >>= 1
            held.append(rising)
            json.loads(line)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--checks", type=int, default=20)
    parser.add_argument("--per-checkpoint", type=int, default=100)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder, asked.entries, asked.checks, asked.per_checkpoint)
        gc.collect()
        proof = verify.Proof(verify.Files(verify.Folder(folder)), None, progress=False)
        steps: dict[str, Callable[[], None]] = {
            "manifest": proof.check_manifest,
            "sums": proof.check_sums,
            "files": proof.check_files,
            "checkpoints": proof.check_notes,
            "entries": proof.walk,
            "slots": proof.account_for,
            "results.csv": proof.compare_results,
            "coverage.csv": proof.compare_coverage,
        }
        for step, work in steps.items():
            begin = time.perf_counter()
            work()
            found[f"{step}_s"] = round(time.perf_counter() - begin, 3)
        entries = proof.predicate["range"]["last"]
        alone = verify.Proof(proof.files, None, progress=False)
        alone.check_manifest()
        alone.check_notes()
        alone.since = alone.until  # no run is in the window: entries and tree alone
        begin = time.perf_counter()
        alone.walk()
        found["entries_alone_s"] = round(time.perf_counter() - begin, 3)
        bare = baseline(folder / "ledger" / "entries.jsonl")
        found["baseline_s"] = round(bare, 3)
        found["entries"] = entries
        found["checkpoints"] = len(proof.notes)
        found["files"] = len(proof.files.sums)
        found["megabytes_of_entries"] = (folder / "ledger" / "entries.jsonl").stat().st_size // 1_000_000
        found["entries_per_s"] = round(entries / found["entries_s"])
        found["entries_alone_per_s"] = round(entries / found["entries_alone_s"])
        found["baseline_per_s"] = round(entries / bare)
        found["entries_alone_to_baseline"] = round(found["entries_alone_s"] / bare, 2)
        found["checkpoints_per_s"] = round(found["checkpoints"] / found["checkpoints_s"])
    for key, value in found.items():
        print(f"{key:24} {value:>12,}")
    print(json.dumps({"asked": vars(asked), "found": found}))


if __name__ == "__main__":
    main()
