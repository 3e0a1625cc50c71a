"""What all tests share: one simulated cloud a session, and no network beyond loopback."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from collector import hush
from collector.demo.cloud import SimulatedCloud

LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Any connection that would leave this machine fails the test that makes it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def no_secret_of_another_test() -> Iterator[None]:
    """What one test gave as a secret is a word like any other in the next."""
    yield
    hush.forget()


@pytest.fixture(scope="session")
def simulated_cloud() -> Iterator[SimulatedCloud]:
    """One populated AWS account; the environment of this process points boto3 at it for the session."""
    with SimulatedCloud(seed=7) as cloud:
        before = dict(os.environ)
        os.environ.update(cloud.environment)
        yield cloud
        os.environ.clear()
        os.environ.update(before)
