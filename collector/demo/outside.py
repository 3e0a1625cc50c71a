"""What stands outside the collector in the demo: a time stamping authority, a witness, and an auditor's trust folder.

All three are real servers on loopback that know nothing of the collector; their clock is the story's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from collector.demo.tsa import SimulatedTsa
from collector.witness.keeper import Keeper
from collector.witness.server import Server

WITNESS = "audit.local/witness"
UNAVAILABLE = 503


class Outside:
    """The places of one demo. ``close`` stops them."""

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.tsa = SimulatedTsa(clock)
        self._stack.callback(self.tsa.close)
        self._keeper = Keeper.begin(folder / "witness", WITNESS, lambda: int(clock().timestamp()))
        self._stack.callback(self._keeper.close)
        self._server = Server("127.0.0.1:0", self._keeper)
        self._server.start()
        self._stack.callback(self._server.stop)
        (folder / "tsa.pem").write_bytes(self.tsa.root_pem)

    def configuration(self) -> str:
        """The ``[anchors]`` of the demo's collector.toml."""
        return (
            f'\n[anchors.tsa.authority]\nurl = "{self.tsa.url}"\nroots = "tsa.pem"\n'
            f'\n[anchors.witness.auditor]\nurl = "{self._server.url}"\nvkey = "{self._keeper.key}"\n'
        )

    def trust(self, vkey: str) -> None:
        """The auditor is told the ledger's key, and has the witness serve that ledger."""
        self._keeper.trust(vkey)

    def fail(self, fails: bool) -> None:
        """The authority stops answering, or answers again."""
        self.tsa.faults.http = UNAVAILABLE if fails else 200

    def hand_over(self, target: Path, origin: str) -> Path:
        """Writes what an auditor holds by then: what the witness saw, its key, and the authority's root."""
        self._keeper.export(target, origin)
        (target / "tsa.pem").write_bytes(self.tsa.root_pem)
        return target

    def close(self) -> None:
        self._stack.close()
