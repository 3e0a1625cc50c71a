"""Lives through whole windows of many seeds and checks what must hold afterwards. Run by `make simulate` and CI.

    python tests/simulate/simulate.py [--seeds N] [--days D] [--first S] [--jobs J] [--postgres] [--story]

Prints one line for each seed that breaks an invariant, with the command that lives the same life again, and one line
of JSON at the end; exits 1 when any did. The same seed over the same kind of database gives the same ledger, whose root
is printed for a single seed. ``--postgres`` lives over a real PostgreSQL server instead of SQLite.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

SHARED_MEMORY = Path("/dev/shm")


def main(arguments: list[str] | None = None) -> int:
    words = argparse.ArgumentParser(prog="simulate.py", description=__doc__)
    words.add_argument("--seeds", type=int, default=20, help="how many seeds (20)")
    words.add_argument("--days", type=int, default=90, help="days of each life (90)")
    words.add_argument("--first", type=int, default=1, help="the first seed (1)")
    words.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once (one for each core)")
    words.add_argument("--postgres", action="store_true", help="over PostgreSQL")
    words.add_argument("--minutes", type=float, default=1e6, help="stop after so long, and say how many were lived")
    words.add_argument("--story", action="store_true", help="print what happened in each life")
    given = words.parse_args(arguments)
    begun = time.monotonic()
    broken: list[int] = []
    lived = 0
    happened, cpu, slots, packages = Counter[str](), 0.0, Counter[str](), 0
    root = ""
    seeds = range(given.first, given.first + given.seeds)
    work = [(seed, given.days, given.postgres, given.story) for seed in seeds]
    with get_context("spawn").Pool(min(given.jobs, given.seeds)) as pool:
        for found in pool.imap_unordered(one, work):
            if found["story"]:
                print("\n".join(found["story"]))
            if found["wrong"]:
                broken.append(found["seed"])
                print(f"seed {found['seed']}: {found['wrong']}\n  again: {again(found['seed'], given)}", flush=True)
            happened.update(found["happened"])
            slots.update(found.get("slots", {}))
            cpu += found["cpu"]
            root = found.get("root", "")
            lived += 1
            if time.monotonic() - begun > given.minutes * 60:
                pool.terminate()
                break
    packages = happened["packages"]
    summary: dict[str, Any] = {
        "seeds": lived,
        "first": given.first,
        "days": given.days,
        "database": "postgresql" if given.postgres else "sqlite",
        "broken": sorted(broken),
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_seconds_a_seed": round(cpu / lived, 2),
        "slots": dict(slots),
        "packages_verified": packages,
        "happened": dict(sorted(happened.items())),
    }
    if given.seeds == 1:
        summary["root"] = root
    print(json.dumps(summary))
    return int(bool(broken))


def again(seed: int, given: argparse.Namespace) -> str:
    """The command that lives the same life again."""
    over = " --postgres" if given.postgres else ""
    return f"python tests/simulate/simulate.py --first {seed} --seeds 1 --days {given.days}{over} --story"


def one(work: tuple[int, int, bool, bool]) -> dict[str, Any]:
    """One life with its judgement. Never raises: what broke is told."""
    from tests.simulate import invariants
    from tests.simulate.life import Life
    from tests.simulate.process import alone

    seed, days, postgres, story = work
    begun = time.process_time()
    result: dict[str, Any] = {"seed": seed, "wrong": "", "happened": {}, "story": []}
    with _folder() as folder, _database(postgres, seed) as url:
        life = Life(seed, days, folder, url)
        try:
            life.live()
            with alone(life.clock), life.command() as ledger:
                result.update(invariants.check(life, ledger))
        except Exception as error:
            where = "".join(traceback.format_tb(error.__traceback__)[-3:])
            result["wrong"] = f"{type(error).__name__}: {error}"
            life.story.append(where)
        result["happened"] = life.happened
        result["story"] = life.story if story else []
    result["cpu"] = time.process_time() - begun
    return result


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="simulate", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _database(postgres: bool, seed: int) -> Iterator[str]:
    if not postgres:
        yield ""
        return
    from tests.support import postgres as servers

    server, name = servers.server(), f"simulate_{seed}"
    url = server.create(name)
    try:
        yield url
    finally:
        server.drop(name)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    raise SystemExit(main())
