"""Sends an alert as signed JSON over HTTP, and shows receivers how to verify it. Decides nothing about retries.

The request is a POST with

* ``Content-Type: application/json`` and as body one object: ``version`` (1), ``summary`` (one line), ``alert`` (number
  of the ledger entry), ``at``, and of the alert ``key``, ``event`` (trigger, resolve), ``cause`` (failed, blind,
  missed), ``check``, ``title``, ``scope``, ``subject``, ``control``, ``owner``, ``family``, ``reason``, ``remedy``,
  ``since``, ``last_good`` and ``first_bad`` (numbers of ledger entries, or null);
* ``X-Collector-Signature: t=<unix seconds>,v1=<hex>``, where the hexadecimal digits are HMAC-SHA256 over
  ``<t>.<body bytes>`` with the shared secret;
* ``Idempotency-Key: <key>:<event>:<alert>``. An alert may arrive twice, then with the same value. ``key`` alone joins a
  trigger to its resolve; the entry's number tells two triggers of the same subject apart.

Any 2xx means delivered. A redirect is never followed: it would carry the alert to somebody who was not configured.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from collector import __version__, canonical
from collector.alert.message import DeliveryFailed, summary

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
# The receiver has read the request and will never take it. Everything else can be mended on its side within hours:
# a wrong secret (401), a route not yet deployed (404), an overload (429, 5xx).
HOPELESS = frozenset((400, 410, 413, 415, 422))


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
        self._url = url
        self._secret = secret
        self._timeout = timeout
        self._clock = clock
        # Built by hand: the default opener also follows redirects and opens files.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=tls or ssl.create_default_context()),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)

    def send(self, alert: Mapping[str, Any]) -> str:
        """Posts the alert; returns ``HTTP 200``. Raises DeliveryFailed."""
        body = canonical.payload(payload(alert))
        request = urllib.request.Request(  # noqa: S310 - the configuration allows http and https only
            self._url,
            data=body,
            method="POST",
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"evidence-collector/{__version__}",
                "Idempotency-Key": f"{alert['key']}:{alert['event']}:{alert['seq']}",
                "X-Collector-Signature": sign(self._secret, int(self._clock()), body),
            },
        )
        # No words of the transport or of the receiver are passed on: they may hold the URL, and that a secret.
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return f"HTTP {response.status}"
        except urllib.error.HTTPError as error:
            error.close()
            moved = " (redirects are not followed; configure the final URL)" if 300 <= error.code < 400 else ""
            raise DeliveryFailed(f"HTTP {error.code}{moved}", retry=error.code not in HOPELESS) from None
        except urllib.error.URLError as error:
            why = error.reason
            raise DeliveryFailed(_transport(why if isinstance(why, Exception) else error), retry=True) from None
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryFailed(_transport(error), retry=True) from None


def payload(alert: Mapping[str, Any]) -> dict[str, Any]:
    """The body as an object. What is not named above does not leave the ledger."""
    return {
        "version": VERSION,
        "summary": summary(alert),
        "alert": alert["seq"],
        **{name: alert[name] for name in MEMBERS},
    }


def _transport(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the receiver's certificate does not verify: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "the receiver did not answer in time"
    return f"no answer from the receiver: {type(error).__name__}"
