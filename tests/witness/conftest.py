"""A witness in a temporary folder, alone and over HTTP on loopback."""

from __future__ import annotations

import pytest

from collector.witness.keeper import Keeper
from collector.witness.server import Server
from tests.witness.world import Clock, Log


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keeper(tmp_path, clock):
    found = Keeper.begin(tmp_path / "witness", "witness.example/w1", clock)
    yield found
    found.close()


@pytest.fixture
def log(keeper):
    """A log of 64 entries that the witness trusts."""
    found = Log()
    keeper.trust(str(found.key))
    return found


@pytest.fixture
def server(keeper):
    found = Server("127.0.0.1:0", keeper)
    found.start()
    yield found
    found.stop()
