"""The words of an alert, and what a channel promises. Knows no channel in particular and sends nothing.

An alert is the body of an ``alert`` entry. It never holds raw answers of a cloud: only names, a reason and a remedy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from collector.errors import CollectorError

LINE_CHARACTERS_MAX = 200  # of a summary; a pager shows less

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class DeliveryFailed(CollectorError):
    """An alert did not arrive. ``detail`` says why without any secret; ``retry`` whether it may arrive later."""

    def __init__(self, detail: str, *, retry: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry = retry


class Channel(Protocol):
    """One way to tell people."""

    def send(self, alert: Mapping[str, Any]) -> str:
        """Delivers an alert and returns what the receiver said. Raises DeliveryFailed.

        May be called again with the same alert: the receiver recognises it by what is made of its key.
        """
        ...


_HEADS = {
    ("failed", "trigger"): "Failed",
    ("failed", "resolve"): "No longer failed",
    ("blind", "trigger"): "Cannot be seen",
    ("blind", "resolve"): "Can be seen again",
    ("missed", "trigger"): "Nobody looked",
    ("missed", "resolve"): "Observed again",
    ("anchor", "trigger"): "Not anchored",
    ("anchor", "resolve"): "Anchored again",
    ("lapsed", "trigger"): "Acceptance lapsed",
    ("lapsed", "resolve"): "No longer lapsed",
}
_MEANINGS = {
    ("failed", "trigger"): "The control does not hold for this subject.",
    ("failed", "resolve"): "What was reported as failed is over.",
    ("blind", "trigger"): "Nobody can say at present whether the control holds here. It may well hold: this says only "
    "that the collector cannot see it.",
    ("blind", "resolve"): "The collector sees what it could not see. Whether the control holds is judged again.",
    ("missed", "trigger"): "Planned observations did not take place. What happened meanwhile stays unknown.",
    ("missed", "resolve"): "Planned observations take place again.",
    (
        "anchor",
        "trigger",
    ): "This place outside takes no checkpoints. Evidence is still written and signed; until the place "
    "takes one again, only the collector's own key speaks for it.",
    ("anchor", "resolve"): "The place outside takes checkpoints again.",
    ("lapsed", "trigger"): "The decision to live with this deviation is over, and the deviation is still there.",
    ("lapsed", "resolve"): "The deviation is gone, or somebody has decided anew.",
}


def line(text: object) -> str:
    """A text on one line: names that a cloud's users chose may hold anything."""
    return _CONTROL_CHARACTERS.sub(" ", str(text)).strip()


def head(alert: Mapping[str, Any]) -> str:
    """What happened, in few words: ``Failed``, ``Cannot be seen``, ``Nobody looked``, or that it is over."""
    return _HEADS[(alert["cause"], alert["event"])]


def summary(alert: Mapping[str, Any]) -> str:
    """What happened to whom, on one line."""
    control = f"{alert['control']}: " if alert["control"] else ""
    words = line(f"{head(alert)}: {control}{alert['subject'] or alert['scope']} {alert['reason']}")
    return words if len(words) <= LINE_CHARACTERS_MAX else words[: LINE_CHARACTERS_MAX - 1] + "…"


def text(alert: Mapping[str, Any]) -> str:
    """The whole message for people, as plain text."""
    over = alert["event"] == "resolve"
    rows = [
        ("Control", alert["control"]),
        ("Owner", alert["owner"]),
        ("Check", f"{alert['check']}: {alert['title']}" if alert["check"] else alert["title"]),
        ("Subject", alert["subject"]),
        ("Scope", alert["scope"]),
        ("Since", alert["since"]),
        ("Good again" if over else "Last good", _entry(alert["last_good"])),
        ("First bad", _entry(alert["first_bad"])),
        ("Remedy", "" if over else alert["remedy"]),
        ("Key", alert["key"]),
    ]
    table = [f"{name + ':':<12}{line(value)}" for name, value in rows if value]
    who = line(f"{alert['subject'] or alert['scope']} {alert['reason']}")
    return "\n".join([f"{head(alert)}: {who}", "", _MEANINGS[(alert["cause"], alert["event"])], "", *table, ""])


def _entry(seq: int | None) -> str:
    return "" if seq is None else f"entry {seq} of the ledger"
