"""Three daemons on one PostgreSQL: one leads, another takes over within 30 s, no slot is run twice, none is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("replicas.py")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "seed"), [(150, 1), (150, 2)])
def test_replicas_that_die_stop_and_are_cut_off_never_fork_or_lose_a_slot(tmp_path, seconds, seed) -> None:
    command = [sys.executable, str(PROGRAM), str(tmp_path), str(seconds), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert found["slots"]["observed"] > 50
    assert sum(found["events"].values()) >= 8
