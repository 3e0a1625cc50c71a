"""Processes that die or meet in the middle of writing: what was acknowledged is there, nothing is half there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collector.ledger.store import Ledger

pytestmark = pytest.mark.only("sqlite")  # the proof is the same; test_postgres.py has its own

ORIGIN = "ledger.example/acme"

# Appends batches of a blob and three entries for ever (or COUNT of them), and says the size after each commit.
WRITER = """
import sys
from datetime import UTC, datetime
from collector.ledger.entry import Draft, Kind
from collector.ledger.store import Ledger

url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
ledger = Ledger.open(url, origin="ledger.example/acme", signer=None)
number = 0
while number != count:
    with ledger.write() as batch:
        for part in range(3):
            blob = batch.blob(f"{name} {number} {part}".encode() * 200, like=name)
            fields = {"digest": blob, "blob": blob, "collector": name, "number": number, "part": part}
            batch.add(Draft(Kind.CONFIG, datetime.now(UTC), fields))
    number += 1
    print(ledger.size(), flush=True)
"""


def writer(url, name, count=-1):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, name, str(count)], stdout=subprocess.PIPE, env=environment, text=True
    )


@pytest.fixture
def begun(url):
    ledger = Ledger.open(url, origin=ORIGIN, signer=None, create=True)
    ledger.close()
    return url


def check(url):
    """The ledger verifies, and is made of whole batches of three. Returns its size."""
    ledger = Ledger.open(url, origin=ORIGIN, signer=None)
    verified = ledger.verify(blobs=True)
    parts = [(e.data["collector"], e.data["number"], e.data["part"]) for e in ledger.entries()]
    for first in range(0, len(parts), 3):
        name, number, _ = parts[first]
        assert parts[first : first + 3] == [(name, number, part) for part in range(3)]
    assert len({e.data["blob"] for e in ledger.entries()}) == verified.blobs == verified.entries
    assert all(ledger.blob(e.data["blob"]).startswith(e.data["collector"].encode()) for e in ledger.entries())
    ledger.close()
    return verified.entries


def test_killed_in_the_middle_of_anything_nothing_is_half_written_and_nothing_said_is_lost(begun):
    chance = random.Random(9)
    for round in range(6):
        with writer(begun, f"writer {round}") as process:
            said = int(process.stdout.readline())
            time.sleep(chance.uniform(0.0, 0.15))
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                if line.endswith("\n"):
                    said = int(line)
        assert process.returncode == -signal.SIGKILL
        assert check(begun) >= said


def test_two_processes_never_fork_the_log(begun):
    with writer(begun, "one", 25) as one, writer(begun, "two", 25) as two:
        sizes = [[int(line) for line in process.stdout] for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0)
    assert all(found == sorted(found) for found in sizes)
    assert check(begun) == 150


def test_a_process_that_is_killed_leaves_no_lock_behind(begun):
    with writer(begun, "first") as process:
        process.stdout.readline()
        process.kill()
    with writer(begun, "second", 1) as process:
        assert int(process.stdout.readline()) >= 6
    assert process.returncode == 0
