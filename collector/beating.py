"""What a heartbeat says of its process, and who outside hears of it: a time server, a URL that misses it when it stops.

When the collector beats is not decided in here, nor what a window of heartbeats means.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from collector import __version__, canonical
from collector.alert.post import Post, refused
from collector.config_values import secret_of, url_text
from collector.errors import ConfigError
from collector.window.itself import Sign

REASON_MAX = 300  # characters
TELL_SECONDS = 5
NTP_PORT = 123
NTP_SECONDS = 2
NTP_BYTES = 48
NTP_CLIENT = 0x23  # no leap warning, version 4, mode 3: a client
NTP_SERVER_MODE = 4
NTP_STRATUM_MAX = 15  # 16 and above: the server itself knows no time; 0: it sends us away
NTP_EPOCH = datetime(1900, 1, 1, tzinfo=UTC)
NTP_ERA = timedelta(seconds=2**32)


def fields(
    sign: Sign,
    reason: str,
    *,
    now: datetime,
    started: datetime,
    every_s: int,
    skew_ms: int | None,
    ntp: Mapping[str, Any] | None,
    permissions: Iterable[str],
    principals: Mapping[str, str] | None,
) -> dict[str, Any]:
    """The fields of a ``heartbeat`` entry. ``principals`` by account, None before all of them were asked."""
    asked = None if principals is None else "".join(f"{a} {who}\n" for a, who in sorted(principals.items()))
    return {
        "event": sign.value,
        "reason": reason[:REASON_MAX],
        "collector": __version__,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": canonical.stamp(started),
        "uptime_s": int((now - started).total_seconds()),
        "every_s": every_s,
        "skew_ms": skew_ms,
        "ntp": None if ntp is None else dict(ntp),
        "permissions": canonical.digest("".join(f"{one}\n" for one in sorted(set(permissions))).encode()),
        "principals": None if asked is None else canonical.digest(asked.encode()),
    }


class Outside:
    """A URL that is called after each heartbeat, so that somebody who is not this process notices when it falls silent.

    Healthchecks, Better Stack and their like take such calls. The URL is a secret: whoever has it can feign life.
    """

    def __init__(self, url: str, *, timeout: float = TELL_SECONDS) -> None:
        self._post = Post(url, timeout=timeout)

    def tell(self, beat: Mapping[str, Any]) -> None:
        """Posts what the heartbeat says, without hosts and accounts. Raises DeliveryFailed."""
        body = {name: beat[name] for name in ("event", "collector", "uptime_s", "every_s", "seq", "at")}
        reply = self._post(canonical.payload(body))
        if not reply.good:
            raise refused(reply)


def open_outside(variable: str | None, environ: Mapping[str, str]) -> Outside | None:
    """Who is told, by the environment variable that holds the URL; None without one. Raises ConfigError."""
    if variable is None:
        return None
    try:
        return Outside(url_text(secret_of(variable, None, environ)))
    except ValueError:  # its words would hold the URL
        raise ConfigError(
            f"the environment variable {variable} holds no URL that begins with https:// or http://"
        ) from None


def ask_time(server: str, clock: Callable[[], datetime], *, timeout: float = NTP_SECONDS) -> dict[str, Any]:
    """One question to an SNTP server (RFC 4330): ``server``, ``offset_ms`` that it is ahead of ``clock``, ``stratum``.

    Never raises: where nothing usable came back, both are None and ``reason`` says why. ``server`` is ``host`` or
    ``host:port``. The time stamp that we send is random, so that only who saw it can answer.
    """
    host, _, port = server.partition(":")
    nonce = os.urandom(8)
    try:
        where = socket.getaddrinfo(host, int(port or NTP_PORT), type=socket.SOCK_DGRAM)[0]
        with socket.socket(where[0], where[1]) as asking:
            asking.settimeout(timeout)
            asking.connect(where[4])  # answers of others are dropped
            sent = clock()
            asking.send(bytes([NTP_CLIENT]) + bytes(39) + nonce)
            answer = asking.recv(512)
            came = clock()
    except OSError as error:
        return _no_time(server, "did not answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
    if len(answer) < NTP_BYTES or answer[0] & 7 != NTP_SERVER_MODE or answer[24:32] != nonce:
        return _no_time(server, "answered something else than was asked")
    if answer[0] >> 6 == 3 or not 1 <= answer[1] <= NTP_STRATUM_MAX:
        return _no_time(server, "says that it knows no time")
    received, replied = _moment(answer[32:40], sent), _moment(answer[40:48], sent)
    offset = ((received - sent) + (replied - came)) / 2
    return {
        "server": server,
        "offset_ms": round(offset.total_seconds() * 1000),
        "stratum": answer[1],
        "reason": "",
    }


def _no_time(server: str, reason: str) -> dict[str, Any]:
    return {"server": server, "offset_ms": None, "stratum": None, "reason": reason}


def _moment(stamp: bytes, near: datetime) -> datetime:
    """An NTP time stamp, of the era that brings it nearest to ``near``: one begins in 2036."""
    seconds, fraction = struct.unpack(">II", stamp)
    found = NTP_EPOCH + timedelta(seconds=seconds, microseconds=(fraction * 1_000_000) >> 32)
    return found + round((near - found) / NTP_ERA) * NTP_ERA
