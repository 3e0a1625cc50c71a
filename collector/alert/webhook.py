"""Sends an alert as signed JSON over HTTP, and shows receivers how to verify it. Decides nothing about retries.

The request is a POST with

* ``Content-Type: application/json`` and as body one object: ``version`` (1), ``summary`` (one line), ``alert`` (number
  of the ledger entry), ``at``, and of the alert ``key``, ``event`` (trigger, resolve, and what is told in between),
  ``cause`` (failed, blind, missed, late, anchor, lapsed), ``check``, ``title``, ``scope``, ``subject``, ``control``,
  ``owner``, ``family``, ``reason``, ``remedy``, ``since``, ``last_good`` and ``first_bad`` (numbers of ledger entries,
  or null). What not every alert has is there only where it has it: ``severity``, ``link``, ``facts`` (what changed),
  ``changed_by``, ``flaps``, ``lines``; of a group ``count``, ``left``, ``subjects`` and ``list`` (a blob's digest);
* ``X-Collector-Signature: t=<unix seconds>,v1=<hex>``, where the hexadecimal digits are HMAC-SHA256 over
  ``<t>.<body bytes>`` with the shared secret;
* ``Idempotency-Key: <key>:<event>:<alert>``. An alert may arrive twice, then with the same value. ``key`` alone joins a
  trigger to its resolve; the entry's number tells two triggers of the same subject apart.

Any 2xx means delivered. A redirect is never followed: it would carry the alert to somebody who was not configured.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from collector import canonical
from collector.alert.message import summary
from collector.alert.post import Post, refused

VERSION = 1
SIGNATURE_SECONDS_MAX = 300  # older than that, a receiver should take a request for a replay
MEMBERS = (
    "at",
    "cause",
    "check",
    "control",
    "event",
    "family",
    "first_bad",
    "key",
    "last_good",
    "owner",
    "reason",
    "remedy",
    "scope",
    "since",
    "subject",
    "title",
)
SOMETIMES = ("changed_by", "count", "facts", "flaps", "left", "lines", "link", "list", "severity", "subjects")


def sign(secret: bytes, at: int, body: bytes) -> str:
    """The value of ``X-Collector-Signature`` for a body that is sent at ``at``, in unix seconds."""
    return f"t={at},v1={_mac(secret, str(at), body)}"


def verify(
    secret: bytes, header: str, body: bytes, now: float | None = None, tolerance: int = SIGNATURE_SECONDS_MAX
) -> bool:
    """Whether a request was signed with ``secret`` no more than ``tolerance`` seconds from ``now``, in unix seconds.

    For receivers: ``header`` is ``X-Collector-Signature``, ``body`` the request's bytes before anybody parses them;
    without ``now`` it is now. Answer 401 when this is false.
    """
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdecimal():
        return False
    expected = _mac(secret, times[0], body).encode()
    genuine = any(hmac.compare_digest(expected, value.encode()) for name, _, value in parts if name == "v1")
    return genuine and abs((time.time() if now is None else now) - int(times[0])) <= tolerance


def _mac(secret: bytes, at: str, body: bytes) -> str:
    return hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()


class Webhook:
    """A receiver of signed JSON. ``timeout`` in seconds, for connecting and for each wait for an answer."""

    def __init__(
        self,
        url: str,
        secret: bytes,
        *,
        timeout: float,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._post = Post(url, timeout=timeout, clock=clock, tls=tls)
        self._secret = secret
        self._clock = clock

    def send(self, alert: Mapping[str, Any]) -> str:
        """Posts the alert; returns ``HTTP 200``. Raises DeliveryFailed."""
        body = canonical.payload(payload(alert))
        reply = self._post(
            body,
            {
                "Idempotency-Key": f"{alert['key']}:{alert['event']}:{alert['seq']}",
                "X-Collector-Signature": sign(self._secret, int(self._clock()), body),
            },
        )
        if not reply.good:
            raise refused(reply)
        return f"HTTP {reply.status}"


def payload(alert: Mapping[str, Any]) -> dict[str, Any]:
    """The body as an object. What is not named above does not leave the ledger."""
    return {
        "version": VERSION,
        "summary": summary(alert),
        "alert": alert["seq"],
        **{name: alert[name] for name in MEMBERS},
        **{name: alert[name] for name in SOMETIMES if name in alert},
    }
