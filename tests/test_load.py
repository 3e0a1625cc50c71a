"""A small load, in little: accounts and subjects that change for two days; nothing that is kept in memory grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import canonical
from collector.clouds import redact
from collector.ledger import records
from tests.support.loaded import Loaded, resident_bytes, slope

ACCOUNTS, CHECKS, SUBJECTS, ROUNDS, SETTLED = 3, 7, 300, 48, 16
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loaded, list[float], list[int]]]:
    folder: Path = tmp_path_factory.mktemp("load") / "load"
    memory, stored = [], []
    with Loaded(folder, accounts=ACCOUNTS, checks=CHECKS, subjects=SUBJECTS) as loaded:
        for _ in range(ROUNDS):
            loaded.round()
            memory.append(resident_bytes() / MIB)
            stored.append(loaded.database_bytes())
        yield loaded, memory, stored


def test_every_slot_of_every_account_is_answered_in_time(lived: tuple[Loaded, list[float], list[int]]) -> None:
    loaded = lived[0]
    rows = list(loaded.operation.ledger.projection.runs())
    assert len(rows) == ACCOUNTS * CHECKS * ROUNDS
    assert sum(row.population or 0 for row in rows) == SUBJECTS * ROUNDS
    assert all(row.slot is not None and abs((row.started - row.slot).total_seconds()) < 300 for row in rows)
    assert loaded.changes > 20


def test_memory_is_flat(lived: tuple[Loaded, list[float], list[int]]) -> None:
    """A rise that is no noise is less than 2 MiB from the first day to the second."""
    memory = lived[1][SETTLED:]
    rise, error = slope(memory)
    assert (rise - 2 * error) * len(memory) < 2, memory


def test_the_database_grows_by_less_than_half_a_kilobyte_for_each_run_of_a_check(
    lived: tuple[Loaded, list[float], list[int]],
) -> None:
    stored = lived[2]
    runs = (ROUNDS - SETTLED) * ACCOUNTS * CHECKS
    assert 0 < (stored[-1] - stored[SETTLED - 1]) / runs < 512


def test_what_a_process_remembers_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "SERIES_KEPT", 3)
    deltas = records.Deltas()
    for name in ("a", "b", "c", "a", "d"):
        deltas.follow(name, canonical.digest(name.encode()))
    assert list(deltas.series) == ["c", "a", "d"]
    assert deltas.last("a") == canonical.digest(b"a")
    assert deltas.last("b") is None
    monkeypatch.setattr(records, "SERIES_KEPT", 1000)
    monkeypatch.setattr(records, "SERIES_ROUND_MIN", 10)
    for _ in range(records.SERIES_ROUNDS * 10 + 1):
        deltas.follow("a", canonical.digest(b"a"))
    assert list(deltas.series) == ["a"], "what ended long ago is still remembered"
    monkeypatch.setattr(redact, "_KNOWN_MAX", 10)
    redact._KNOWN.clear()
    for number in range(100):
        redact.redact({f"member-{number}": "x"})
        assert len(redact._KNOWN) <= 10
