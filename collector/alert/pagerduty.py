"""Sends an alert to PagerDuty (Events API v2). Acknowledgements come back through ``web/hooks.py``, not here.

A trigger and its resolve carry the alert's key as ``dedup_key``, so the one ends the incident that the other began, and
a repetition opens none. What PagerDuty answers means what its reference says
(https://developer.pagerduty.com/docs/events-api-v2-overview): 202 taken, 400 never, 429 and 5xx later.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from collector.alert.message import DeliveryFailed, clipped, line, link, rows, severity, summary
from collector.alert.post import Post, Reply, refused

URL = "https://events.pagerduty.com/v2/enqueue"  # in the EU: https://events.eu.pagerduty.com/v2/enqueue
EVENT_BYTES_MAX = 512 * 1024
SUMMARY_CHARACTERS_MAX = 1_024
DETAIL_CHARACTERS = (8_000, 1_000, 100)  # of a value: as much as fits
SEVERITY = {"critical": "critical", "high": "error", "medium": "warning", "low": "info"}
# What is said further of an alert that stands open is added to its incident; a digest would open one.
ACTIONS = {
    "trigger": "trigger",
    "update": "trigger",
    "escalate": "trigger",
    "explain": "trigger",
    "acknowledge": "acknowledge",
    "resolve": "resolve",
}
CLIENT = "evidence-collector"


class PagerDuty:
    """One service of PagerDuty. ``timeout`` in seconds."""

    def __init__(
        self,
        routing_key: str,
        *,
        url: str = URL,
        timeout: float,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._post = Post(url, timeout=timeout, clock=clock, tls=tls)
        self._key = routing_key

    def send(self, alert: Mapping[str, Any]) -> str:
        """Enqueues the event; returns what PagerDuty said. Raises DeliveryFailed."""
        action = ACTIONS.get(alert["event"])
        if action is None:
            raise DeliveryFailed(f"PagerDuty takes no {alert['event']}: it would open an incident", retry=False)
        return self._enqueue(event(alert, action))

    def _enqueue(self, fields: dict[str, Any]) -> str:
        reply = self._post(_json({**fields, "routing_key": self._key}))
        if reply.status == 202:
            return _taken(reply, fields["dedup_key"])
        if reply.status == 400 and b"routing_key" in reply.body:  # can be mended within hours, so it is tried again
            raise refused(reply, said="PagerDuty does not know the routing key", retry=True)
        # Only 202 is PagerDuty's: any other success is somebody else's who answers in between.
        raise refused(reply, retry=reply.status not in (400, 413))


def event(alert: Mapping[str, Any], action: str) -> dict[str, Any]:
    """The event without its routing key, in no more than ``EVENT_BYTES_MAX`` bytes."""
    fields: dict[str, Any] = {"event_action": action, "dedup_key": alert["key"]}
    if action != "trigger":
        return fields
    place = {"component": alert["check"], "group": alert["family"], "class": alert["cause"]}
    fields["client"] = CLIENT
    fields["payload"] = {
        "summary": clipped(summary(alert), SUMMARY_CHARACTERS_MAX),
        "source": clipped(line(alert["scope"] or alert["subject"]), SUMMARY_CHARACTERS_MAX) or CLIENT,
        "severity": SEVERITY[severity(alert)],
        "timestamp": alert["at"],
        **{name: value for name, value in place.items() if value},
    }
    if link(alert):
        fields["links"] = [{"href": link(alert), "text": "The alert"}]
        fields["client_url"] = link(alert)
    for limit in DETAIL_CHARACTERS:
        details = {label: clipped(value, limit) for label, value in rows(alert)}
        fields["payload"]["custom_details"] = details
        if len(_json(fields)) <= EVENT_BYTES_MAX - 1_024:  # and the routing key
            return fields
    fields["payload"]["custom_details"] = {"Key": alert["key"], "More": f"entry {alert['seq']} of the ledger"}
    return fields


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _taken(reply: Reply, key: str) -> str:
    """PagerDuty's words for a success. Raises DeliveryFailed for a 202 that is not about this event."""
    try:
        said = json.loads(reply.body)
        fine = said["status"] == "success" and said.get("dedup_key", key) == key
    except (ValueError, KeyError, TypeError):
        fine = False
    if not fine:
        raise DeliveryFailed(f"HTTP {reply.status}, but not as PagerDuty answers", retry=True)
    return f"HTTP {reply.status}: success"
