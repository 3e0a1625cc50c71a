"""The words of an alert, and what a channel promises. Knows no channel in particular and sends nothing.

An alert is the body of an ``alert`` entry. It never holds raw answers of a cloud: only names, a reason and a remedy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from collector.errors import CollectorError

LINE_CHARACTERS_MAX = 200  # of a summary; a pager shows less
LINK_CHARACTERS_MAX = 2_000
SEVERITIES = ("critical", "error", "warning", "info")

# What breaks a line, and what turns the direction of what follows (the letters of right-to-left scripts do not).
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class DeliveryFailed(CollectorError):
    """An alert did not arrive. ``detail`` says why without any secret; ``retry`` whether it may arrive later.

    ``retry_after`` is how many seconds the receiver asks to be left alone, when it says so.
    """

    def __init__(self, detail: str, *, retry: bool, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry = retry
        self.retry_after = retry_after


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
    ("late", "trigger"): "Too late",
    ("late", "resolve"): "In time again",
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
    ("late", "trigger"): "Planned observations take place after their grace: there is more to ask than the cadence "
    "leaves time for. What is observed is still written down, with the time at which it was seen.",
    ("late", "resolve"): "Planned observations begin in time again.",
    (
        "anchor",
        "trigger",
    ): "This place outside takes no checkpoints. Evidence is still written and signed; until the place "
    "takes one again, only the collector's own key speaks for it.",
    ("anchor", "resolve"): "The place outside takes checkpoints again.",
    ("lapsed", "trigger"): "The decision to live with this deviation is over, and the deviation is still there.",
    ("lapsed", "resolve"): "The deviation is gone, or somebody has decided anew.",
}


# How bad it is where nobody has said so: what fails and what nobody saw is worse than what cannot be said.
_SEVERITY = {"failed": "error", "missed": "error"}


def line(text: object) -> str:
    """A text on one line: names that a cloud's users chose may hold anything."""
    return _CONTROL_CHARACTERS.sub(" ", str(text)).strip()


def clipped(text: str, limit: int) -> str:
    """A text of at most ``limit`` characters; an ellipsis says that there was more."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def head(alert: Mapping[str, Any]) -> str:
    """What happened, in few words: ``Failed``, ``Cannot be seen``, ``Nobody looked``, or that it is over."""
    return _HEADS[(alert["cause"], alert["event"])]


def meaning(alert: Mapping[str, Any]) -> str:
    """What that means, in a sentence or two of our own words."""
    return _MEANINGS[(alert["cause"], alert["event"])]


def summary(alert: Mapping[str, Any]) -> str:
    """What happened to whom, on one line."""
    control = f"{alert['control']}: " if alert["control"] else ""
    words = line(f"{head(alert)}: {control}{alert['subject'] or alert['scope']} {alert['reason']}")
    return clipped(words, LINE_CHARACTERS_MAX)


def who(alert: Mapping[str, Any]) -> str:
    """The subject and what is said of it, on one line: names of a cloud's users, to be shown and never interpreted."""
    return line(f"{alert['subject'] or alert['scope']} {alert['reason']}")


def rows(alert: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What there is to know, as label and value, each on one line; what is empty is left out.

    The labels are ours; the values hold names that anybody may have chosen.
    """
    over = alert["event"] == "resolve"
    found = [
        ("Control", alert["control"]),
        ("Owner", alert["owner"]),
        ("Check", f"{alert['check']}: {alert['title']}" if alert["check"] else alert["title"]),
        ("Subject", alert["subject"]),
        ("Scope", alert["scope"]),
        ("Since", alert["since"]),
        ("Good again" if over else "Last good", _entry(alert["last_good"])),
        ("First bad", _entry(alert["first_bad"])),
        ("Remedy", "" if over else alert["remedy"]),
        ("Link", link(alert)),
        ("Key", alert["key"]),
    ]
    return [(label, line(value)) for label, value in found if value]


def text(alert: Mapping[str, Any]) -> str:
    """The whole message for people, as plain text."""
    table = [f"{label + ':':<12}{value}" for label, value in rows(alert)]
    return "\n".join([f"{head(alert)}: {who(alert)}", "", meaning(alert), "", *table, ""])


def severity(alert: Mapping[str, Any]) -> str:
    """One of ``SEVERITIES``: what the alert itself says, or else what its cause is worth."""
    said = alert.get("severity")
    return said if said in SEVERITIES else _SEVERITY.get(alert["cause"], "warning")


def link(alert: Mapping[str, Any]) -> str:
    """The page that the alert points to; "" without one, or for anything that is no plain http(s) address."""
    found = alert.get("link") or ""
    plain = isinstance(found, str) and re.fullmatch(r"https?://[!-~]+", found)
    return found if plain and len(found) <= LINK_CHARACTERS_MAX else ""


def _entry(seq: int | None) -> str:
    return "" if seq is None else f"entry {seq} of the ledger"
