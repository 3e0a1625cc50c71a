"""A simulated week under load: ``.venv/bin/python bench/load.py [--rounds 168] [--accounts 200] [--postgres]``.

200 accounts, as many checks as the registry has for AWS, 100,000 subjects, every hour, with the changes of real
accounts (``tests/support/loaded.py`` says which are canned). Prints each round, then what the claims are about: CPU
against an hour of two cores, memory and its slope, database bytes a day and a run. With ``--still`` nothing changes:
what two such runs differ by is what the changes cost.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import importlib
import json
import os
import pstats
import resource
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from collector.demo.inbox import Inbox
from tests.support.loaded import Loaded, resident_bytes, slope

HOUR_OF_TWO_CORES = 7200.0
SETTLED = 40  # rounds until every word is known, every buffer has its size, and what ended is forgotten
MIB = 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=168)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--subjects", type=int, default=100_000)
    parser.add_argument("--postgres", action="store_true", help="a server of its own instead of SQLite")
    parser.add_argument("--still", action="store_true", help="nothing ever changes: what runs alone cost")
    parser.add_argument("--profile", action="store_true", help="where the time of all rounds after the first went")
    args = parser.parse_args()
    _as_the_daemon()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = _postgres() if args.postgres else ""
        inbox = Inbox(b"a secret of the load, long enough", Path(os.devnull))
        stack.callback(inbox.close)
        about = {"accounts": args.accounts, "subjects": args.subjects, "still": args.still}
        loaded = stack.enter_context(Loaded(folder / "load", database=database, inbox=inbox.url, **about))
        _live(loaded, args.rounds, args.profile)


def _as_the_daemon() -> None:
    """The heap and the collection of garbage as every command sets them."""
    app = importlib.import_module("collector.cli.app")
    app._small_heap()
    gc.set_threshold(*app.GARBAGE)


def _live(loaded: Loaded, rounds: int, profiled: bool) -> None:
    profile = cProfile.Profile()
    cpu, memory, stored, changes = [], [], [], []
    for number in range(rounds):
        if profiled and number == 1:
            profile.enable()
        cpu.append(loaded.round())
        memory.append(resident_bytes() / MIB)
        stored.append(loaded.database_bytes() / MIB)
        changes.append(loaded.changes)
        print(
            f"round {number + 1:3}: {cpu[-1]:6.1f} s CPU ({cpu[-1] / HOUR_OF_TWO_CORES:.2%}), {memory[-1]:5.0f} MiB, "
            f"database {stored[-1]:7.1f} MiB, {loaded.changes} changes, {loaded.alerts} alerts",
            flush=True,
        )
    if profiled:
        profile.disable()
        pstats.Stats(profile).sort_stats("cumulative").print_stats(70)
    later = cpu[1:] or cpu
    found = {
        "accounts": len(loaded.operation.accounts),
        "checks": loaded.checks,
        "subjects": len(loaded.clouds.names),
        "rounds": rounds,
        "cpu_first_s": round(cpu[0], 1),
        "cpu_median_s": round(statistics.median(later), 1),
        "cpu_worst_s": round(max(later), 1),
        "fraction_of_two_cores": round(max(cpu) / HOUR_OF_TWO_CORES, 4),
        "memory_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "alerts": loaded.alerts,
    }
    if rounds > SETTLED + 2:
        rise, error = slope(memory[SETTLED:])
        begun = stored[SETTLED - 1]
        grown = stored[-1] - begun
        found["memory_slope_kib_a_round"] = round(rise * 1024, 1)
        found["memory_slope_error"] = round(error * 1024, 1)
        found["changes_a_round"] = round((changes[-1] - changes[SETTLED - 1]) / (rounds - SETTLED), 1)
        found["database_mib_a_day"] = round(grown / (rounds - SETTLED) * 24, 2)
        runs = loaded.checks * len(loaded.operation.accounts) * (rounds - SETTLED)
        found["database_bytes_a_run"] = round(grown * MIB / runs)
    print(json.dumps(found))


def _postgres() -> str:
    """The URL of an empty database on a server that lives as long as this process."""
    # a driver and a server that only this flag needs
    from tests.support import postgres

    return postgres.own().create("load")


if __name__ == "__main__":
    main()
