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
CHANGES_CHARACTERS_MAX = 1_000  # of a list on one line
UNOBSERVED = "No longer observed"
SEVERITIES = ("critical", "high", "medium", "low")

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
    """One way to tell people.

    A channel with a member ``resend_seconds`` is told of what stands open again each time so many seconds have passed:
    an Alertmanager takes an alert for over that nobody repeats.
    """

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


_OTHER_HEADS = {"update": "Partly over", "acknowledge": "Acknowledged", "digest": "Digest"}
_OTHER_MEANINGS = {
    "update": "Some of those that were reported together are over.",
    "escalate": "Nobody has taken note of this alert so far, and it is not over.",
    "acknowledge": "Somebody has taken note of this alert. It stands until it is over.",
    "digest": "What stands open, what is over since the last digest, and how much was observed.",
}


def line(text: object) -> str:
    """A text on one line: names that a cloud's users chose may hold anything."""
    return _CONTROL_CHARACTERS.sub(" ", str(text)).strip()


def clipped(text: str, limit: int) -> str:
    """A text of at most ``limit`` characters; an ellipsis says that there was more."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def head(alert: Mapping[str, Any]) -> str:
    """What happened, in few words: ``Failed``, ``Cannot be seen``, ``Nobody looked``, or that it is over."""
    event = alert["event"]
    if event == "escalate":
        return f"Unacknowledged: {_HEADS[(alert['cause'], 'trigger')]}"
    if alert.get("unobserved"):
        return UNOBSERVED
    return _OTHER_HEADS.get(event) or _HEADS[(alert["cause"], event)]


def meaning(alert: Mapping[str, Any]) -> str:
    """What that means, in a sentence or two of our own words."""
    event = alert["event"]
    if alert.get("unobserved"):
        return "Nobody is to look there any more, so this alert is closed. It was not seen mended."
    words = _OTHER_MEANINGS.get(event) or _MEANINGS[(alert["cause"], event)]
    if event in ("trigger", "escalate") and alert.get("flaps"):
        words += (
            " It flaps: it began three times within a day, or was not quiet for a day since. It is over only when six "
            "runs in a row find it good."
        )
    return words


def summary(alert: Mapping[str, Any]) -> str:
    """What happened to whom, on one line."""
    control = f"{alert['control']}: " if alert["control"] else ""
    words = line(f"{head(alert)}: {control}{who(alert)}")
    return clipped(words, LINE_CHARACTERS_MAX)


def who(alert: Mapping[str, Any]) -> str:
    """The subject and what is said of it, on one line: names of a cloud's users, to be shown and never interpreted."""
    return line(f"{alert['subject'] or alert['scope']} {alert['reason']}")


def changes(alert: Mapping[str, Any]) -> list[str]:
    """What changed, fact by fact, each on one line: ``mfa: true -> false``, of several subjects with how many."""
    found = []
    for fact in alert.get("facts", ()):
        before = "" if fact["before"] is None else f"{fact['before']} -> "
        count = f" ({fact['count']:,} subjects)" if "count" in fact else ""
        found.append(line(f"{fact['fact']}: {before}{fact['after']}{count}"))
    return found


def changed_by(alert: Mapping[str, Any]) -> str:
    """Who changed it and when, as the cloud's own log says, on one line; "" when nobody found out."""
    found = alert.get("changed_by")
    if not found:
        return ""
    return line(f"{found['who']}, {found['event']} at {found['when']} ({found['source']}, request {found['request']})")


def rows(alert: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What there is to know, as label and value, each on one line; what is empty is left out.

    The labels are ours; the values hold names that anybody may have chosen.
    """
    over = alert["event"] == "resolve"
    count = alert.get("count")
    found = [
        ("Severity", alert.get("severity", "")),
        ("Control", alert["control"]),
        ("Owner", alert["owner"]),
        ("Check", f"{alert['check']}: {alert['title']}" if alert["check"] else alert["title"]),
        ("Subject", alert["subject"]),
        ("Subjects", "" if count is None else f"{count:,}{_listed(alert)}"),
        ("Scope", alert["scope"]),
        ("Since", alert["since"]),
        ("Changed", clipped("; ".join(changes(alert)), CHANGES_CHARACTERS_MAX)),
        ("Changed by", changed_by(alert)),
        ("Good again" if mended(alert) else "Last good", _entry(alert["last_good"])),
        ("First bad", _entry(alert["first_bad"])),
        ("Remedy", "" if over else alert["remedy"]),
        ("Link", link(alert)),
        ("Key", alert["key"]),
    ]
    return [(label, line(value)) for label, value in found if value]


def mended(alert: Mapping[str, Any]) -> bool:
    """Whether it says that the opposite was seen: what left the configuration is over, and nobody saw it mended."""
    return alert["event"] == "resolve" and not alert.get("unobserved")


def text(alert: Mapping[str, Any]) -> str:
    """The whole message for people, as plain text."""
    apart = ("Changed", "Subjects")
    table = [f"{label + ':':<12}{value}" for label, value in rows(alert) if label not in apart]
    blocks = [f"{head(alert)}: {who(alert)}", "", meaning(alert), "", *table]
    for title, lines in (
        ("Changed:", changes(alert)),
        (_of_them(alert), [line(name) for name in alert.get("subjects", ())]),
        ("", [line(one) for one in alert.get("lines", ())]),
    ):
        if lines:
            blocks += ["", *([title] if title else []), *(f"  {one}" if title else one for one in lines)]
    return "\n".join([*blocks, ""])


def _listed(alert: Mapping[str, Any]) -> str:
    names = alert.get("subjects", ())
    more = ", …" if len(names) < alert["count"] else ""
    return clipped(f": {', '.join(names)}{more}", CHANGES_CHARACTERS_MAX) if names else ""


def _of_them(alert: Mapping[str, Any]) -> str:
    names, count = len(alert.get("subjects", ())), alert.get("count", 0)
    return (
        "Subjects:"
        if names == count
        else f"The first {names:,} of {count:,} subjects; all are in blob {alert.get('list')}:"
    )


def severity(alert: Mapping[str, Any]) -> str:
    """One of ``SEVERITIES``. What says nothing of it is high."""
    said = alert.get("severity")
    return said if said in SEVERITIES else "high"


def link(alert: Mapping[str, Any]) -> str:
    """The page that the alert points to; "" without one, or for anything that is no plain http(s) address."""
    found = alert.get("link") or ""
    plain = isinstance(found, str) and re.fullmatch(r"https?://[!-~]+", found)
    return found if plain and len(found) <= LINK_CHARACTERS_MAX else ""


def _entry(seq: int | None) -> str:
    return "" if seq is None else f"entry {seq} of the ledger"
