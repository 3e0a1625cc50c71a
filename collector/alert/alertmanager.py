"""Sends an alert to Prometheus' Alertmanager (API v2). Silences, grouping and receivers are Alertmanager's.

Alertmanager knows an alert by its labels and forgets one that is not sent again within its ``resolve_timeout``, unless
the alert says itself when it ends. A trigger therefore ends far ahead (``hold``), and a resolve in the past. What
stands open is sent again every few minutes all the same: Alertmanager keeps alerts in memory, and one that restarted
has forgotten them. The labels are only what never changes between the two: a control, an owner or a severity may be
written anew meanwhile, and the resolve would then be another alert's; they are annotations.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from collector import canonical
from collector.alert.message import DeliveryFailed, clipped, head, line, link, meaning, rows, severity, summary
from collector.alert.post import Post, refused

PATH = "/api/v2/alerts"
NAME = "EvidenceCollector"
VALUE_CHARACTERS_MAX = 2_000
# How long before it was written a resolve ends. One that ends later than it is on Alertmanager's clock is not resolved
# yet, and the trigger's end, far ahead, then counts (types.Alert.Merge).
ENDED = timedelta(minutes=5)
RESEND_SECONDS = 300


class Alertmanager:
    """One Alertmanager. ``hold`` and ``timeout`` in seconds; ``authorization`` is the whole header, "" for none."""

    def __init__(
        self,
        url: str,
        *,
        origin: str,
        hold: float,
        authorization: str = "",
        timeout: float,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._post = Post(url.rstrip("/") + PATH, timeout=timeout, clock=clock, tls=tls)
        self._origin = origin
        self._hold = timedelta(seconds=hold)
        # The end that a trigger names moves ahead while it stands open, and one that restarted learns of it again.
        self.resend_seconds = max(1, min(RESEND_SECONDS, int(hold / 3)))
        self._headers = {"Authorization": authorization} if authorization else {}

    def send(self, alert: Mapping[str, Any]) -> str:
        """Posts the alert; returns ``HTTP 200``. Raises DeliveryFailed."""
        if alert["event"] in ("acknowledge", "digest"):
            raise DeliveryFailed(f"Alertmanager takes no {alert['event']}: it knows alerts alone", retry=False)
        body = json.dumps([postable(alert, self._origin, self._hold)], ensure_ascii=False).encode()
        reply = self._post(body, self._headers)
        if reply.status != 200:
            raise refused(reply)
        return f"HTTP {reply.status}"


def postable(alert: Mapping[str, Any], origin: str, hold: timedelta) -> dict[str, Any]:
    """A ``postableAlert`` of Alertmanager's OpenAPI. Sent again, it is the same."""
    written = canonical.moment(alert["at"])
    ends = written - ENDED if alert["event"] == "resolve" else written + hold
    since = min(canonical.moment(alert["since"]), ends)
    labels = {
        "alertname": NAME,
        "collector": origin,
        "key": alert["key"],
        "cause": alert["cause"],
        "check": alert["check"],
        "scope": alert["scope"],
        "subject": alert["subject"],
    }
    notes = {
        "summary": summary(alert),
        "description": f"{head(alert)}. {meaning(alert)}",
        "severity": severity(alert),
        **{label.lower().replace(" ", "_"): value for label, value in rows(alert)},
    }
    found: dict[str, Any] = {
        "labels": {name: clipped(line(value), VALUE_CHARACTERS_MAX) for name, value in labels.items() if value},
        "annotations": {name: clipped(line(value), VALUE_CHARACTERS_MAX) for name, value in notes.items() if value},
        "startsAt": canonical.stamp(since),
        "endsAt": canonical.stamp(ends),
    }
    if link(alert):
        found["generatorURL"] = link(alert)
    return found
