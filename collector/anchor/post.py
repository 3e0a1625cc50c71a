"""One question to a place outside over HTTP, with a limit on everything. Judges no answer, follows no redirect.

A redirect would carry a checkpoint to somebody who was not configured, and bring back an answer of theirs.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from collector import __version__
from collector.errors import Denied, Throttled, Unavailable

CHUNK_BYTES = 16_384


@dataclass(frozen=True)
class Reply:
    """What came back, whatever the status is."""

    status: int
    content_type: str
    body: bytes


def post(
    url: str,
    body: bytes,
    content_type: str,
    *,
    timeout: float,
    answer_bytes_max: int,
    tls: ssl.SSLContext | None = None,
) -> tuple[int, bytes]:
    """The status and the body of the answer, whatever the status is. Raises Unavailable.

    ``timeout`` in seconds, for connecting, for each wait, and for the whole of the body. Proxies are taken from the
    environment, as everywhere.
    """
    reply = ask(url, body, content_type, timeout=timeout, answer_bytes_max=answer_bytes_max, tls=tls)
    return reply.status, reply.body


def ask(
    url: str,
    body: bytes | None = None,
    content_type: str = "",
    *,
    timeout: float,
    answer_bytes_max: int,
    tls: ssl.SSLContext | None = None,
) -> Reply:
    """As ``post``, with the answer's Content-Type; without a ``body`` it is a GET."""
    opener = urllib.request.OpenerDirector()  # the default one also follows redirects and opens files
    opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(urllib.request.HTTPHandler())
    opener.add_handler(urllib.request.UnknownHandler())
    if url[:6].lower() == "https:":  # reading the system's roots takes longer than all the rest
        opener.add_handler(urllib.request.HTTPSHandler(context=tls or ssl.create_default_context()))
    headers = {"User-Agent": f"evidence-collector/{__version__}"}
    if body is not None:
        headers["Content-Type"] = content_type
    request = urllib.request.Request(  # noqa: S310 - the configuration allows http and https only
        url, data=body, method="GET" if body is None else "POST", headers=headers
    )
    # No words of the transport are passed on: they may hold the URL, and that a secret.
    try:
        with opener.open(request, timeout=timeout) as response:
            found = _body(response, time.monotonic() + timeout, answer_bytes_max)
            return Reply(response.status, response.headers.get("Content-Type", ""), found)
    except urllib.error.URLError as error:
        why = error.reason
        raise Unavailable(_transport(why if isinstance(why, Exception) else error)) from None
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(_transport(error)) from None


def refuse(status: int, who: str) -> None:
    """Raises what an HTTP status other than 200 means when ``who`` answers with it."""
    if status == 200:
        return
    if status in (401, 403, 407):
        raise Denied(f"{who} refused us: HTTP {status}; see that the URL and the network policy are right")
    if status == 429:
        raise Throttled(f"{who} asked us to slow down: HTTP 429")
    moved = "; redirects are not followed: configure the final URL" if 300 <= status < 400 else ""
    wrong = "; see that the URL is right" if 400 <= status < 500 else ""
    raise Unavailable(f"{who} answered HTTP {status}{moved}{wrong}")


def _body(response: http.client.HTTPResponse, deadline: float, most: int) -> bytes:
    found = bytearray()
    while chunk := response.read1(CHUNK_BYTES):
        found += chunk
        if len(found) > most:
            raise Unavailable(f"the answer is longer than {most} bytes; see that the URL is right")
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(bytes(found), response.length)
    return bytes(found)


def _transport(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the place does not verify: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "the place did not answer in time"
    return f"no answer from the place: {type(error).__name__}"
