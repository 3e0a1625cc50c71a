"""One process leads; one that lost its turn cannot append, whatever it believes."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from collector.ledger import leading
from collector.ledger.leading import Fenced, FileLock, Lease
from collector.ledger.store import Ledger
from tests.ledger.conftest import ORIGIN


@pytest.fixture
def second(ledger, url, signer):
    """Another process on the same ledger, as far as the ledger can tell."""
    opened = Ledger.open(url, origin=ORIGIN, signer=signer, verify=False)
    yield opened
    opened.leadership.release()
    opened.close()


def test_one_leads_and_the_other_stands_by_until_it_is_released(ledger, second) -> None:
    assert ledger.leadership.take()
    assert ledger.leadership.take()
    assert not second.leadership.take()
    assert (ledger.leadership.held(), second.leadership.held()) == (True, False)
    ledger.leadership.release()
    assert second.leadership.take()
    assert not ledger.leadership.take()


def test_a_leader_appends_and_signs(ledger, world) -> None:
    ledger.write_only_while_leading()
    assert ledger.leadership.take()
    with ledger.write() as batch:
        world.heartbeat(batch, 0)
    assert ledger.checkpoint(world.at(1)) is not None
    ledger.leadership.release()


@pytest.mark.only("postgres")
def test_who_stands_by_writes_nothing(ledger, second, world) -> None:
    second.write_only_while_leading()
    ledger.leadership.take()
    with pytest.raises(Fenced, match="nothing was written"), second.write() as batch:
        world.heartbeat(batch, 0)
    assert ledger.size() == 0


@pytest.mark.only("postgres")
def test_a_leader_whose_lease_ran_out_is_fenced_although_it_believes_in_itself(ledger, url, world, signer) -> None:
    slow, other = (Lease(ledger._database, seconds=0.3) for _ in range(2))
    ledger.leadership = slow
    ledger.write_only_while_leading()
    assert slow.take()
    with ledger.write() as batch:
        world.heartbeat(batch, 0)
    time.sleep(0.4)
    assert not slow.held()
    assert other.take()
    slow._until = time.monotonic() + 60  # it was stopped in between and knows nothing
    assert slow.held()
    with pytest.raises(Fenced), ledger.write() as batch:
        world.heartbeat(batch, 1)
    with pytest.raises(Fenced):
        ledger.checkpoint(world.at(1))
    assert not slow.take()
    assert ledger.size() == 2


@pytest.mark.only("postgres")
def test_a_lease_that_ran_out_and_is_taken_again_has_a_new_epoch(ledger) -> None:
    lease = Lease(ledger._database, seconds=0.2)
    assert lease.take()
    first = lease._epoch
    assert lease.take()
    assert lease._epoch == first
    time.sleep(0.3)
    assert lease.take()
    assert lease._epoch == first + 1


@pytest.mark.only("sqlite")
def test_the_lock_of_a_file_is_free_as_soon_as_its_holder_is_killed(ledger) -> None:
    program = (
        "import sys, time; from pathlib import Path; from collector.ledger.leading import FileLock; "
        "lock = FileLock(Path(sys.argv[1])); print(lock.take(), flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(ledger.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        lock = FileLock(ledger.path)
        assert not lock.take()
        holder.kill()
        holder.wait()
        assert lock.take()
        lock.release()


def test_a_lease_outlives_several_failed_renewals() -> None:
    assert leading.LEASE_SECONDS >= 4 * leading.RENEW_SECONDS
