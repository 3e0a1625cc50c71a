"""A witness that is killed at any moment forgets nothing that it answered. The killing is in kill.py.

SIGKILL is what a process can be made to suffer here; that a commit also outlives a power failure rests on SQLite's
synchronous=FULL, which test_store.py looks at and nobody here can try.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_killed_at_every_statement_and_at_random(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "tests/witness/kill.py", str(tmp_path), "12", "7"]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    assert said["steps"] >= 10  # both looks, the compare-and-set, the commit
    assert said["cosigned"] >= 12
