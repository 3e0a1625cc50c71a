"""Which plans hold at a time, asked of the database, against the pure rule over all of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector.errors import StoreError
from collector.ledger.entry import Draft, Kind, plan_fields
from collector.ledger.records import read_listed
from collector.ledger.store import Ledger
from collector.model import Scope
from collector.window.slots import PlannedCheck, in_force, plan_from

DAY, HOUR = datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1)
ONE, OTHER = Scope("aws", "111111111111"), Scope("aws", "222222222222")


def plan(ledger: Ledger, account: Scope, since: datetime, until: datetime) -> None:
    planned = [PlannedCheck("aws-a", (str(account),), 3600)]
    with ledger.write() as batch:
        batch.add(Draft(Kind.PLAN, DAY, plan_fields(account, since, until, planned, [], "")))


@pytest.mark.parametrize("seed", range(8))
def test_the_plans_in_force_are_those_of_the_pure_rule(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'l.db'}", origin="test.local/a", signer=None, create=True)
    for _ in range(12):
        since = DAY + chance.randrange(40) * HOUR
        plan(ledger, chance.choice([ONE, OTHER]), since, since + chance.randrange(1, 30) * HOUR)
    plans = [plan_from(entry.data) for entry in ledger.entries(kinds=[Kind.PLAN])]
    for _ in range(30):
        since = DAY + chance.randrange(60) * HOUR
        until = since + chance.randrange(1, 20) * HOUR
        stretches = in_force(item for item in plans if item.account == str(ONE))
        wanted = {item.seq for begin, end, item in stretches if begin < until and end > since}
        found = [entry.seq for entry in ledger.projection.plans_in_force(str(ONE), since, until)]
        assert found == sorted(wanted)
    newest = {item.account: item.seq for item in plans}
    assert [entry.seq for entry in ledger.projection.latest_plans()] == sorted(newest.values())
    ledger.close()


def test_listed_entries_are_read_together_and_a_missing_one_is_named(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'l.db'}", origin="test.local/a", signer=None, create=True)
    for number in range(5):
        plan(ledger, ONE, DAY + number * HOUR, DAY + 50 * HOUR)
    with ledger.reading() as connection:
        assert [read_listed(connection, [3, 1])[seq].seq for seq in (1, 3)] == [1, 3]
        assert list(read_listed(connection, [4])) == [4]
        assert read_listed(connection, []) == {}
        with pytest.raises(StoreError, match="no entry 9"):
            read_listed(connection, [1, 9])
    ledger.close()
