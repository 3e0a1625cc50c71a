"""Somebody may write into the database, and has no key: a start refuses it, and so does whoever gets the package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.errors import LedgerBroken, StoreError
from collector.ledger.entry import Entry, Kind
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from tests.attacks.world import World, alarm, copied, database, overwrite, prove
from tests.support.lived import Lived

GOOD = {"satisfied": 2, "not-satisfied": 0, "not-applicable": 0, "undetermined": 0}


@pytest.fixture
def spoiled(world: World, honest: Path, tmp_path: Path) -> Iterator[Lived]:
    """A copy of the database; the honest one was exported."""
    lived = copied(world, tmp_path / "copy")
    yield lived
    lived.ledger.close()


def failing(ledger: Ledger) -> list[Entry]:
    """The runs that saw bob without MFA."""
    runs = [e for e in ledger.entries(kinds=[Kind.RUN]) if e.data["check"] == "aws-iam-user-mfa"]
    found = [e for e in runs if e.data["states"]["not-satisfied"]]
    assert len(found) == 2
    return found


def refusal(lived: Lived) -> str:
    """Why the collector does not start on this ledger any more."""
    with pytest.raises(LedgerBroken) as found:
        Ledger.open(f"sqlite:///{lived.ledger.path}", origin=lived.ledger.origin, signer=lived.signer)
    return str(found.value)


def test_a_verdict_turned_round_with_update(spoiled: Lived, tmp_path: Path) -> None:
    first, *_ = bad = failing(spoiled.ledger)
    with database(spoiled.ledger) as connection:
        for entry in bad:
            overwrite(connection, entry, states=GOOD)
    assert f"entry {first.seq} is not what was hashed when it was written" in refusal(spoiled)
    # a collector that was changed so that it starts all the same
    said = alarm(spoiled.export(tmp_path / "package").path)
    assert said.startswith("ledger/entries.jsonl entry") or "they hash to another root" in said


def test_failing_runs_deleted(spoiled: Lived, tmp_path: Path) -> None:
    first, *_ = bad = failing(spoiled.ledger)
    with database(spoiled.ledger) as connection:
        for entry in bad:
            connection.execute("DELETE FROM entry WHERE seq = ?", (entry.seq,))
    assert f"entry {first.seq} is missing" in refusal(spoiled)
    with pytest.raises(StoreError, match=f"the ledger has no entry {first.seq}"):
        spoiled.export(tmp_path / "package")


def test_the_end_of_the_ledger_cut_off(spoiled: Lived) -> None:
    with database(spoiled.ledger) as connection:
        connection.execute("DELETE FROM entry WHERE seq >= 150")
    assert "150 entries, but" in refusal(spoiled)


def test_derived_tables_that_say_something_else(spoiled: Lived, tmp_path: Path) -> None:
    """The log is untouched: a start does not notice, and the exporter copies the lie into its tables."""
    with database(spoiled.ledger) as connection:
        changed = connection.execute("UPDATE state_interval SET state = 0 WHERE state = 1").rowcount
    assert changed
    found = prove(spoiled.export(tmp_path / "package").path)
    assert not found["verified"]
    assert found["broken"][0]["where"].startswith("tables/states.csv")


def test_another_key_named_by_whoever_can_write_entries(
    spoiled: Lived, world: World, keys: Path, tmp_path: Path
) -> None:
    """A recovery needs no old key, and so convinces nobody who holds the old one."""
    thief = FileSigner.create(tmp_path / "thief.pem", spoiled.ledger.origin)
    spoiled.ledger.recover(thief, spoiled.now, "the host burned down")
    spoiled.forged_signer = thief
    path = spoiled.export(tmp_path / "package").path
    said = alarm(path, keys)
    assert said.startswith(f"manifest.dsse.json: is signed by {thief.key}; the key that you hold is {world.signer.key}")
    found = prove(path)
    assert found["verified"]
    assert any("was lost and not stolen" in words for words in found["not_proved"])
    (keys / "log.vkey").write_text(f"{thief.key}\n")
    assert prove(path, keys)["verified"]  # this reader was told the new key, and believes whoever told it
