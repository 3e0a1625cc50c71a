"""A day in which everything happens that a package has to tell: decisions, acknowledgements, anchors, dropped payloads,
another identity that asks, a deviation that is older than the window. Real as in lived.py, but for the places outside.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from collector import canonical, daemon, decisions, retention
from collector.ledger.entry import Draft, Entry, Kind
from tests.support.lived import ACCOUNT, CONFIG, CONTROLS, DAY, HOUR, Lived

MFA, EBS, PATCH = "aws-iam-user-mfa", "aws-ebs-volume-encryption", "aws-ec2-patch-compliance"
BOB = f"arn:aws:iam::{ACCOUNT}:user/bob"
EVE = f"arn:aws:iam::{ACCOUNT}:user/<script>alert('eve')</script>"
SCOPE = f"aws/{ACCOUNT}"
EXPORTED = DAY + 20 * HOUR
OUTSIDE = (
    CONFIG
    + """
[retention]
payloads = "9h"
[anchors.file.shelf]
folder = "shelf"
"""
)


class Eventful(Lived):
    """18 hours. Bob loses MFA at 3, before the window that begins at 6, and has it again at 9. Eve, whose name is HTML,
    comes at 11 without MFA and stays. The account is asked by another role from 10 on. Payloads of before 9 are gone.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, OUTSIDE)
        self.entries: dict[str, Entry] = {}
        self.role = "EvidenceReadOnly"
        ask = self.cloud._get_caller_identity
        self.cloud._get_caller_identity = lambda region: {**ask(region), "Arn": self._arn()}  # type: ignore[method-assign]
        for hour in range(18):
            self._before(hour)
            self.hour()
            self._after(hour)
        self.now = EXPORTED - timedelta(minutes=30)
        dropped = retention.drop(self.ledger, self.settings, DAY + 18 * HOUR)
        assert dropped is not None
        self.entries["expiry"] = dropped
        self.ledger.checkpoint(EXPORTED)

    def _arn(self) -> str:
        return f"arn:aws:sts::{ACCOUNT}:assumed-role/{self.role}/collector"

    def _before(self, hour: int) -> None:
        self.cloud.mfa["bob"] = "false" if 3 <= hour < 9 else "true"
        if hour == 5:  # a new plan, so that the range begins after the decisions
            self.reconfigure(CONTROLS.replace('owner = "platform"', 'owner = "machines"'))
        if hour == 10:
            self.role = "EvidenceReadOnlyNext"
        if hour == 11:
            self.cloud.mfa[EVE.rpartition("user/")[2]] = "false"

    def _after(self, hour: int) -> None:
        if hour == 3:
            alert = next(e for e in self.ledger.entries(kinds=[Kind.ALERT]) if e.data["subject"] == BOB)
            self.entries["alert"] = alert
            self.entries["delivery"] = self.add(Kind.DELIVERY, self._delivered(alert))
            self.entries["ack"] = decisions.acknowledge(
                self.ledger, self.now, alert=alert.seq, person="Ann", note="=looking into it"
            )
            self.entries["acceptance"] = self._accept(BOB, DAY + 30 * HOUR, "the token is on its way", "OPS-17")
        if hour == 7:
            self.entries["revocation"] = decisions.revoke(
                self.ledger, self.now, seq=self.entries["acceptance"].seq, approver="Dora", reason="it took too long"
            )
        if hour == 12:
            self.entries["second"] = self._accept(EVE, DAY + 14 * HOUR, "a visitor", "")
        self._anchor(hour)

    def _accept(self, subject: str, expires: Any, reason: str, ticket: str) -> Entry:
        return decisions.accept(
            self.ledger,
            daemon.load_controls(self.settings, daemon.load_registry(self.settings)),
            self.now,
            check=MFA,
            scope=SCOPE,
            subject=subject,
            approver="Carl",
            reason=reason,
            expires=expires,
            ticket=ticket,
        )

    def _delivered(self, alert: Entry) -> dict[str, Any]:
        fields = {"alert": alert.seq, "channel": "pager", "attempt": 1, "outcome": "delivered", "detail": "200"}
        return {**fields, "retry_at": None}

    def add(self, kind: Kind, fields: dict[str, Any], token: bytes = b"") -> Entry:
        with self.ledger.write() as batch:
            if token:
                fields = {**fields, "token": batch.blob(token)}
            return batch.add(Draft(kind, self.now, fields))

    def _anchor(self, hour: int) -> None:
        """Every checkpoint goes to the shelf, but at 8, when it cannot be written to."""
        newest = self.ledger.checkpoints()[-1]
        about = {"size": newest.size, "root": newest.root.hex(), "note": canonical.digest(newest.note.encode())}
        fields = {"anchor": "file/shelf", "type": "file", **about, "token": "", "time": ""}
        if hour == 8:
            wrong = {"where": "", "outcome": "failed", "reason": "=the shelf is full", "failure": "unavailable"}
            self.entries["failed"] = self.add(Kind.ANCHOR, {**fields, **wrong})
            return
        token = canonical.record({"file": f"{newest.size}.note", "hour": hour})
        held = {"where": f"shelf/{newest.size}.note", "outcome": "anchored", "reason": "", "failure": ""}
        self.entries["anchored"] = self.add(Kind.ANCHOR, {**fields, **held}, token)
