"""Proofs that single entries are in the ledger, as c2sp.org/tlog-proof has them: for what a window rests on and its
range does not hold, and to hand out one by one. Makes them; whether to believe one is for the verifier."""

from __future__ import annotations

import base64

from collector.ledger.store import Checkpoint, Ledger

HEADER = "c2sp.org/tlog-proof@v1"


def tlog_proof(ledger: Ledger, seq: int, checkpoint: Checkpoint) -> str:
    """The proof that entry ``seq`` is under a checkpoint: index, audit path, and the checkpoint as it was signed.

    Raises ValueError when the checkpoint is over fewer entries.
    """
    path = [base64.b64encode(item).decode() for item in ledger.inclusion(seq, checkpoint.size)]
    return "\n".join((HEADER, f"index {seq}", *path, "", checkpoint.note))
