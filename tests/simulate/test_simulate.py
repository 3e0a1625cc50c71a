"""Section 13 of the design: windows of seeded clouds, faults, crashes, replicas, operators, and then the invariants.

A few fixed seeds and one that is printed; `make simulate` lives through as many as one likes.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.ledger.store import Ledger
from tests.simulate import invariants
from tests.simulate.life import Broken, Life
from tests.simulate.process import alone

ROOT = Path(__file__).parents[2]
SHORT = 9  # a seed whose first month has a disaster, a death and a process that stands still


def simulate(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "tests" / "simulate" / "simulate.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment, cwd=ROOT)
    print(done.stdout[-6000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_month_of_a_seed_holds_and_the_same_seed_lives_the_same_life(tmp_path: Path) -> None:
    roots = set()
    for name in ("once", "again"):
        life = Life(SHORT, 30, tmp_path / name)
        life.folder.mkdir()
        life.live()
        with alone(life.clock), life.command() as ledger:
            roots.add(invariants.check(life, ledger)["root"])
        assert life.happened.get("deaths", 0) >= 1
    assert len(roots) == 1


@pytest.mark.slow
def test_a_quarter_of_fixed_seeds_and_one_by_chance() -> None:
    chance = random.SystemRandom().randrange(10**6, 10**9)
    assert simulate("--first", 101, "--seeds", 6)["packages_verified"] > 0
    simulate("--first", chance, "--seeds", 1)


@pytest.mark.slow
def test_a_year_of_a_seed() -> None:
    assert simulate("--first", 7, "--seeds", 1, "--days", 365)["slots"]["run"] > 300


@pytest.mark.slow
def test_a_month_over_postgresql() -> None:
    assert simulate("--first", 201, "--seeds", 2, "--days", 30, "--postgres", "--jobs", 1)["slots"]["run"] > 30


# --- the invariants can fail ---


def _unknown_for_good(life: Life, ledger: Ledger) -> None:
    """The clouds were never as the runs say."""
    for scope, known in life.truth.items():
        life.truth[scope] = [
            (at, {key: None if found is None else dict.fromkeys(found, "satisfied") for key, found in state.items()})
            for at, state in known
        ]


def _forgotten(life: Life, ledger: Ledger) -> None:
    seq = min(life.acknowledged)
    life.acknowledged[seq] = "0" * 64


def _unheard(life: Life, ledger: Ledger) -> None:
    for receiver in life.receivers:
        receiver.got.clear()


def _another_history(life: Life, ledger: Ledger) -> None:
    life.place.held[0] = life.place.held[-1]
    life.place.held[-1] = (life.place.held[0][0].__class__("sim.local/acme", 1, bytes(32)), life.place.held[-1][1])


def _not_rebuilt(life: Life, ledger: Ledger) -> None:
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("UPDATE run SET population = population + 1 WHERE population IS NOT NULL")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_unknown_for_good, "found"),
        (_forgotten, "was acknowledged"),
        (_unheard, "is said to have reached"),
        (_another_history, "holds another history"),
        (_not_rebuilt, "is another when it is made again"),
    ],
)
def test_what_does_not_hold_is_found(tmp_path: Path, spoil: Callable[[Life, Ledger], None], words: str) -> None:
    life = Life(3, 8, tmp_path)
    life.live()
    with alone(life.clock), life.command() as ledger:
        spoil(life, ledger)
        with pytest.raises(Broken, match=words):
            invariants.check(life, ledger)
