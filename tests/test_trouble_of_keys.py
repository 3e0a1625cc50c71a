"""A key service that refuses or is silent while the daemon runs: evidence is sealed, and nothing waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import controls
from collector.daemon import STOP_SECONDS_MAX
from collector.errors import Throttled
from collector.ledger.entry import Kind
from collector.ledger.note import Note, VerifierKey
from collector.ledger.seal import Signer
from tests.test_trouble import Running


class Service:
    """The key file as a key service: answers, refuses, or is silent until it is let go."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.refuses = False
        self.silent = False
        self.asked = threading.Event()
        self.let_go = threading.Event()

    @property
    def key(self) -> VerifierKey:
        return self._signer.key

    def sign(self, message: bytes) -> bytes:
        self.asked.set()
        if self.refuses:
            raise Throttled("awskms:///key: busy; the next checkpoint tries again")
        if self.silent:
            self.let_go.wait(60)
        return self._signer.sign(message)


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(controls, "CADENCE_SECONDS_MIN", 1)
    found = Running(tmp_path, f"sqlite:///{tmp_path / 'ledger.db'}")
    yield found
    found.ledger.close()


def serviced(running: Running) -> Service:
    ledger: Any = running.ledger
    ledger._signer = Service(ledger._signer)
    found: Service = ledger._signer
    return found


def test_while_a_key_service_refuses_evidence_is_sealed_and_the_next_checkpoint_makes_up_for_it(
    running: Running,
) -> None:
    service = serviced(running)
    service.refuses = True
    running.daemon.start()
    try:
        running.another_run()
        running.daemon._job("checkpoint", running.operation.checkpoint)()
        assert "the next checkpoint tries again" in running.daemon.troubles["checkpoint"]
        assert any("checkpoint" in why for why in running.daemon.ready())
        assert running.ledger.checkpoints() == []
        running.another_run()
        service.refuses = False
        running.daemon._job("checkpoint", running.operation.checkpoint)()
        assert "checkpoint" not in running.daemon.troubles
    finally:
        assert running.daemon.stop()
    newest = running.ledger.checkpoints()[-1]
    assert newest.size == running.ledger.size()
    assert Note.parse(newest.note).verify([service.key])


def test_a_key_service_that_does_not_answer_holds_up_neither_evidence_nor_the_end(running: Running) -> None:
    service = serviced(running)
    running.daemon.start()
    running.another_run()
    service.silent = True
    service.asked.clear()
    signing = threading.Thread(target=running.operation.checkpoint)
    signing.start()
    assert service.asked.wait(30)
    running.another_run()  # sealed while the service is silent
    assert running.data(Kind.RUN)
    begun = time.monotonic()
    assert running.daemon.stop() is False
    assert time.monotonic() - begun < STOP_SECONDS_MAX + 5
    service.let_go.set()
    signing.join(30)
    assert not signing.is_alive()
    assert running.ledger.verify().checkpoints >= 1
