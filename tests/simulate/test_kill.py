"""Promise 5: kill -9 at random moments loses nothing that was acknowledged."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from collector.demo.cloud import SimulatedCloud

ROOT = Path(__file__).parents[2]


def kill(cloud: SimulatedCloud, folder: Path, rounds: int, seed: int) -> str:
    environment = {**os.environ, **cloud.environment, "SIMULATED_ACCOUNT": cloud.account, "PYTHONPATH": str(ROOT)}
    script = str(ROOT / "tests" / "simulate" / "kill.py")
    found = subprocess.run(
        [sys.executable, script, str(folder), str(rounds), str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120 + rounds * 12,
    )
    assert found.returncode == 0, f"seed {seed}: {found.stdout}\n{found.stderr[-4000:]}"
    return found.stdout


def test_a_daemon_that_is_killed_a_few_times(simulated_cloud: SimulatedCloud, tmp_path: Path) -> None:
    assert '"rounds": 6' in kill(simulated_cloud, tmp_path, 6, 7)


@pytest.mark.slow
@pytest.mark.parametrize("over", [[], ["--postgres"]], ids=["sqlite", "postgresql"])
def test_short_lives_that_are_killed_again_and_again(tmp_path: Path, over: list[str]) -> None:
    """``kill.py`` says how to kill two thousand; docs/measurements.md how that ended."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    script = str(ROOT / "tests" / "simulate" / "kill.py")
    found = subprocess.run(
        [sys.executable, script, str(tmp_path), "80", str(seed), "--canned", *over],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.returncode == 0, f"seed {seed}: {found.stdout}\n{found.stderr[-4000:]}"
    told = json.loads(found.stdout.splitlines()[-1])
    assert told["slots_acknowledged"] > 0
    assert told["rounds"] == 80


@pytest.mark.slow
def test_a_daemon_that_is_killed_two_hundred_times(simulated_cloud: SimulatedCloud, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    print(kill(simulated_cloud, tmp_path, 200, seed))
