"""Collecting every check from a populated account, against a bare concurrent boto3 loop that makes the same calls.

    python bench/collect.py [--scale 20]

Both sides run in a process of their own against the same simulated account of about 2,000 resources, with answers that
are already in its cache. Compared are CPU seconds of the client process; memory and the time to the first call are of
the real `collector once`. Machines differ: trust the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 3
THREADS = 64


def collect_once(calls: Path | None) -> dict[str, Any]:
    """Our side: all checks over all regions, through transcript, redaction and verdicts. Writes the calls it made."""
    started = time.process_time()
    from collector import daemon
    from collector.clouds.aws import Account, Clients, Edge, credentials_for
    from collector.clouds.transcript import Transcript
    from collector.collect import Task, collect
    from collector.model import Scope

    made: list[list[Any]] = []
    edge = Edge(Clients(), "123456789012", credentials_for(session_name="bench"), lambda: datetime.now(UTC))

    def put(service: str, operation: str, region: str, params: Any) -> Any:
        made.append([service, operation, region, dict(params)])
        return edge.put(service, operation, region, params)

    transcript = Transcript()
    account = Account("123456789012", transcript, datetime.now(UTC), put)
    account.identity()
    tasks = [
        Task(item.check, Scope("aws", account.account, region), account.within(region) if region else account)
        for item in daemon.shipped()
        for region in (account.parts() if item.check.parted else [""])
    ]
    runs = collect(tasks, lambda: datetime.now(UTC))
    transcript.call_log()
    cpu = time.process_time() - started
    if calls is not None:
        calls.write_text(json.dumps(made))
    subjects = sum(run.population or 0 for run in runs)
    return {"cpu": cpu, "calls": len(made), "subjects": subjects, "blind": sum(run.population is None for run in runs)}


def bare_loop(calls: Path) -> dict[str, Any]:
    """The other side: the same calls from a thread pool, answers thrown away."""
    started = time.process_time()
    import boto3
    from botocore.config import Config

    session = boto3.Session()
    config = Config(max_pool_connections=THREADS)
    made = json.loads(calls.read_text())
    clients = {(s, r): session.client(s, region_name=r, config=config) for s, _, r, _ in made}

    def ask(call: list[Any]) -> None:
        service, operation, region, params = call
        try:
            getattr(clients[service, region], operation)(**params)
        except Exception as error:
            if type(error).__name__ != "ClientError" and not hasattr(error, "response"):
                raise

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, made))
    return {"cpu": time.process_time() - started, "calls": len(made)}


def in_process(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    found = subprocess.run(
        [sys.executable, __file__, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise SystemExit(found.stderr)
    return dict(json.loads(found.stdout.splitlines()[-1]))


def once(environment: dict[str, str], folder: Path) -> float:
    """The real command; its peak memory in MiB."""
    collector = str(Path(sys.executable).parent / "collector")
    subprocess.run(
        [collector, "init", str(folder), "--account", "123456789012"], env=environment, check=True, capture_output=True
    )
    command = [collector, "once", "--json", "--config", str(folder / "collector.toml")]
    subprocess.run(command, env=environment, check=False, capture_output=True)  # makes the database
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # waited for above
    return usage.ru_maxrss / 1024


def first_call(environment: dict[str, str], folder: Path, cloud: Any) -> float:
    """Seconds from starting `collector once` to the first call in the cloud's own log."""
    cloud.clear_calls()
    collector = str(Path(sys.executable).parent / "collector")
    begun = time.monotonic()
    process = subprocess.Popen(
        [collector, "once", "--json", "--config", str(folder / "collector.toml")],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not cloud.calls() and time.monotonic() - begun < 30:
        time.sleep(0.02)
    seconds = time.monotonic() - begun
    process.wait(120)
    return seconds


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--scale", type=int, default=20)
    words.add_argument("--side", choices=("ours", "bare"))
    words.add_argument("--calls", type=Path)
    given = words.parse_args()
    if given.side:
        print(json.dumps(collect_once(given.calls) if given.side == "ours" else bare_loop(given.calls)))
        return
    from collector.demo.cloud import SimulatedCloud

    with SimulatedCloud(scale=given.scale) as cloud, tempfile.TemporaryDirectory() as temporary:
        environment = {**os.environ, **cloud.environment, "PYTHONPATH": str(ROOT)}
        calls = Path(temporary) / "calls.json"
        in_process(environment, "--side", "ours", "--calls", str(calls))  # fills the cloud's cache
        ours, bare = [], []
        for _ in range(ROUNDS):
            ours.append(in_process(environment, "--side", "ours", "--calls", str(calls)))
            bare.append(in_process(environment, "--side", "bare", "--calls", str(calls)))
        mine = sorted(run["cpu"] for run in ours)[ROUNDS // 2]
        theirs = sorted(run["cpu"] for run in bare)[ROUNDS // 2]
        folder = Path(temporary) / "once"
        real = once(environment, folder)
        first = first_call(environment, folder, cloud)
    print(f"subjects judged        {ours[0]['subjects']:>10,}   (runs without population: {ours[0]['blind']})")
    print(f"calls                  {ours[0]['calls']:>10,}")
    print(f"CPU, ours              {mine:>10.2f} s")
    print(f"CPU, bare boto3 loop   {theirs:>10.2f} s")
    print(f"ratio                  {mine / theirs:>10.2f}     asked: at most 1.3")
    print(f"peak memory of `once`  {real:>10.0f} MiB   asked: under 150")
    print(f"first call after       {first:>10.2f} s     asked: within 2")


if __name__ == "__main__":
    main()
