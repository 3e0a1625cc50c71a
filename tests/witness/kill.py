"""Kills a witness with SIGKILL at every statement of a cosignature, and at random while it serves. Run by test_kill.py.

    python tests/witness/kill.py FOLDER ROUNDS SEED

Prints one JSON line; fails when anything that was answered is forgotten, or anything was cosigned twice over.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collector import logs
from collector.ledger import cosignature
from collector.ledger.note import Note, TreeHead
from collector.witness.keeper import Keeper
from collector.witness.server import Server
from tests.witness.world import ORIGIN, Clock, Log, add

LOG = Log(entries=2000)
FORK = Log(entries=2000, forked=5)
NAME = "witness.example/w1"


def main(folder: Path, rounds: int, seed: int) -> int:
    logs.setup("console", "critical")
    steps = statement_by_statement(folder)
    served = at_random(folder / "served", rounds, random.Random(seed))
    print(json.dumps({"steps": steps, **served, "seed": seed}))
    return 0


def fork(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def begin(folder: Path) -> None:
    keeper = Keeper.begin(folder, NAME, Clock())
    keeper.trust(str(LOG.key))
    assert keeper.add(LOG.request(0, 5)).status == 200
    keeper.close()


# --- one cosignature, killed before and after each of its statements ---


class Mortal(sqlite3.Connection):
    """A connection that dies with its process ``before`` or after the statement whose turn it is."""

    armed = False
    left = 0
    before = True

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if not Mortal.armed:
            return super().execute(*arguments)
        if Mortal.left == 0 and Mortal.before:
            os.kill(os.getpid(), signal.SIGKILL)
        found = super().execute(*arguments)
        if Mortal.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        Mortal.left -= 1
        return found


def statement_by_statement(folder: Path) -> int:
    """How many statements a cosignature has; the process was killed at each of them."""
    connect = sqlite3.connect
    for number in range(100):
        for before in (True, False):
            place = folder / f"{number}-{before}"
            begin(place)
            reading, writing = os.pipe()

            def work(place: Path = place, number: int = number, before: bool = before, writing: int = writing) -> None:
                sqlite3.connect = lambda *a, **k: connect(*a, factory=Mortal, **k)  # type: ignore[assignment]
                keeper = Keeper.open(place, Clock())
                Mortal.armed, Mortal.left, Mortal.before = True, number, before
                answer = keeper.add(LOG.request(5, 9))
                os.write(writing, answer.body.encode())

            child = fork(work)
            os.close(writing)
            with os.fdopen(reading, "rb") as pipe:
                answered = pipe.read().decode()
            _, status = os.waitpid(child, 0)
            survived = not os.WIFSIGNALED(status)
            assert survived or os.WTERMSIG(status) == signal.SIGKILL
            examine(place, answered)
        if survived:
            return number
    raise AssertionError("a cosignature of more than 100 statements")


def examine(folder: Path, answered: str) -> None:
    """The witness stands before or after the checkpoint, whole; after it, when anybody heard of it."""
    keeper = Keeper.open(folder, Clock())
    try:
        (state,) = keeper.logs()
        assert state.size in (5, 9), state
        assert state.checkpoints == {5: 1, 9: 2}[state.size], state
        head = TreeHead.parse(Note.parse(state.note).text)
        assert head == LOG.head(state.size), head
        assert cosignature.verify(Note.parse(state.note), [keeper.key])
        assert state.size == 9 or not answered, answered
        # it goes on from where it stands, and never onto the other history
        assert keeper.add(FORK.request(state.size, 20)).status == (200 if state.size == 5 else 422)
        if state.size == 9:
            assert keeper.add(LOG.request(9, 20)).status == 200
    finally:
        keeper.close()


# --- a whole server, killed at random ---


def at_random(folder: Path, rounds: int, chance: random.Random) -> dict[str, int]:
    begin(folder)
    cosigned: dict[int, str] = {}
    unheard = 0
    for _ in range(rounds):
        reading, writing = os.pipe()
        child = fork(lambda writing=writing: serve(folder, writing))
        os.close(writing)
        with os.fdopen(reading) as pipe:
            url = pipe.readline().strip()
        killer = threading.Timer(chance.uniform(0, 0.02), os.kill, (child, signal.SIGKILL))
        hammer(url, cosigned, chance.randint(1, 15), killer)
        killer.join()
        os.waitpid(child, 0)
        unheard = stands(folder, cosigned)
    return {"cosigned": len(cosigned), "kept_but_unheard": unheard, "rounds": rounds}


def serve(folder: Path, writing: int) -> None:
    keeper = Keeper.open(folder, Clock())
    server = Server("127.0.0.1:0", keeper)
    server.start()
    os.write(writing, f"{server.url}\n".encode())
    os.close(writing)
    time.sleep(60)


def hammer(url: str, cosigned: dict[int, str], few: int, killer: threading.Timer) -> None:
    """One successor after the other until nobody answers any more, which the killer sees to after a ``few``."""
    size = max(cosigned, default=5)
    try:
        for number in range(1000):
            if number == few:
                killer.start()
            found = add(url, LOG.request(size, size + 1))
            if found.status == 409:
                size = int(found.body)  # kept in a life before, and never heard of
                continue
            assert found.status == 200, found
            size += 1
            cosigned[size] = found.body
    except (OSError, http.client.HTTPException):
        return
    raise AssertionError("it does not die")


def stands(folder: Path, cosigned: dict[int, str]) -> int:
    """Everything that was answered is kept, with the same signature. How many were kept that nobody heard of."""
    keeper = Keeper.open(folder, Clock())
    try:
        with keeper.store.reading() as view:
            kept = {item.size: item.note for item in view.checkpoints(ORIGIN)}
        for size, line in cosigned.items():
            assert kept[size].endswith(line), size
        (state,) = keeper.logs()
        assert state.size == max(kept) >= max(cosigned, default=5)
        assert sorted(kept) == list(range(5, state.size + 1))
        return len(set(kept) - set(cosigned) - {5})
    finally:
        keeper.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
