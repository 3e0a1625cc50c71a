"""One POST to a receiver over HTTP, and what its answer means. Knows no receiver in particular and builds no message.

Neither the URL, which is often a password, nor words of the transport or of the receiver are ever passed on.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from collector import __version__
from collector.alert.message import DeliveryFailed

# The receiver has read the request and will never take it. Everything else can be mended on its side within hours:
# a wrong secret (401), a route not yet deployed (404), an overload (429, 5xx).
HOPELESS = frozenset((400, 410, 413, 415, 422))
REPLY_BYTES_MAX = 16_384  # of an answer; what is behind them is not read
RETRY_AFTER_MAX = 86_400  # seconds; whoever asks for more is not believed


@dataclass(frozen=True)
class Reply:
    """What a receiver answered. ``retry_after`` in seconds, None when it does not say."""

    status: int
    body: bytes
    retry_after: float | None

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


class Post:
    """A receiver's address. ``timeout`` in seconds: for connecting, for each wait, and twice that for all together.

    Certificates are always verified. A redirect is never followed: it would carry the alert to somebody who was not
    configured. The proxies of the environment (``HTTPS_PROXY`` and the like) are used.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._clock = clock
        self._tls = tls or ssl.create_default_context()
        self._proxies = urllib.request.getproxies()

    def __call__(self, body: bytes, headers: Mapping[str, str] = {}) -> Reply:
        """Posts JSON and returns whatever was answered. Raises DeliveryFailed when nothing was."""
        sent = {"Content-Type": "application/json", "User-Agent": f"evidence-collector/{__version__}", **headers}
        made: list[http.client.HTTPConnection] = []
        until = time.monotonic() + 2 * self._timeout
        watch = threading.Timer(2 * self._timeout, _cut, (made,))
        watch.daemon = True
        watch.start()
        try:
            request = urllib.request.Request(self._url, data=body, method="POST", headers=sent)  # noqa: S310 - the configuration allows http and https only
            with self._opener(made).open(request, timeout=self._timeout) as response:
                read = _read(response, until)
                if time.monotonic() >= until:  # what was cut off looks like an end
                    raise TimeoutError
                return Reply(response.status, read, self._asked(response.headers.get("Retry-After")))
        except urllib.error.URLError as error:
            why = error.reason
            raise DeliveryFailed(transport(why if isinstance(why, Exception) else error), retry=True) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= until:
                raise DeliveryFailed(transport(TimeoutError()), retry=True) from None
            raise DeliveryFailed(transport(error), retry=True) from None
        finally:
            watch.cancel()
            watch.join()

    def _opener(self, made: list[http.client.HTTPConnection]) -> urllib.request.OpenerDirector:
        """Built by hand: the default opener also follows redirects and opens files."""
        opener = urllib.request.OpenerDirector()
        for handler in (urllib.request.ProxyHandler(self._proxies), _Plain(made), _Tls(made, self._tls)):
            opener.add_handler(handler)
        return opener

    def _asked(self, value: str | None) -> float | None:
        """Seconds of a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3); None for anything else."""
        if value is None:
            return None
        value = value.strip()
        if value.isascii() and value.isdecimal():
            seconds = float(value[:12])
        else:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - self._clock()
            except (ValueError, TypeError, OverflowError):
                return None
        return min(max(seconds, 0.0), RETRY_AFTER_MAX)


def refused(reply: Reply, *, said: str = "", retry: bool | None = None) -> DeliveryFailed:
    """What an answer that is no success means. ``said`` is the receiver's error in words of ours."""
    moved = " (redirects are not followed; configure the final URL)" if 300 <= reply.status < 400 else ""
    detail = f"HTTP {reply.status}{moved}{': ' if said else ''}{said}"
    hope = reply.status not in HOPELESS if retry is None else retry
    return DeliveryFailed(detail, retry=hope, retry_after=reply.retry_after)


def transport(error: Exception) -> str:
    """Why there was no answer, without the address that was asked."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the receiver's certificate does not verify: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "the receiver did not answer in time"
    return f"no answer from the receiver: {type(error).__name__}"


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, made: list[http.client.HTTPConnection]) -> None:
        super().__init__()
        self._made = made

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_kept, self._made, http.client.HTTPConnection), req)


class _Tls(urllib.request.HTTPSHandler):
    def __init__(self, made: list[http.client.HTTPConnection], context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._made = made
        self._verifying = context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_kept, self._made, http.client.HTTPSConnection), req, context=self._verifying)


def _kept(made: list[http.client.HTTPConnection], kind: type[http.client.HTTPConnection], host: str, **how: Any) -> Any:
    connection = kind(host, **how)
    made.append(connection)
    return connection


def _cut(made: list[http.client.HTTPConnection]) -> None:
    """Ends a connection whose other side sends a header now and then, for ever: each wait alone is short enough."""
    for connection in made:
        if connection.sock is not None:
            with suppress(OSError):
                # not SSLSocket's own, which takes the session away from under a thread that reads
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _read(response: http.client.HTTPResponse, until: float) -> bytes:
    found = b""
    while len(found) < REPLY_BYTES_MAX:
        part = response.read1(REPLY_BYTES_MAX - len(found))
        if not part:
            break
        found += part
        if time.monotonic() > until:
            raise TimeoutError
    return found
