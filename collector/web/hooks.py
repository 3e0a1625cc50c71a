"""Acknowledgements that come back from PagerDuty: one signed POST, one ``ack`` entry. Judges nothing.

``POST /hooks/pagerduty/NAME`` is the address of a V3 webhook subscription, NAME that of the channel; a channel without
a secret has none. Answers are what PagerDuty acts on (https://developer.pagerduty.com/docs/webhooks-behavior): it sends
what got 4xx never again, and what got 5xx four times more within some twenty minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from collector.config import Settings
from collector.errors import ConfigError, StoreError
from collector.ledger.entry import Entry, Kind
from collector.ledger.store import Ledger

BODY_BYTES_MAX = 256 * 1024  # PagerDuty drops what is larger itself
BODY_SECONDS_MAX = 5
SIGNATURES_MAX = 8  # a change of secrets makes two
TEXT_CHARACTERS_MAX = 200
# An event of before the alert is about an earlier alert with the same key. Clocks may differ by this much.
SKEW = timedelta(minutes=5)
ACKNOWLEDGED = "incident.acknowledged"

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")

log = structlog.get_logger(__name__)


class Acknowledge(Protocol):
    """``decisions.acknowledge``, which lies above this floor."""

    def __call__(
        self, ledger: Ledger, now: datetime, *, alert: int, person: str, note: str = "", via: str = "cli"
    ) -> Entry: ...


class Malformed(ValueError):
    """What was signed is no event as PagerDuty documents it."""


@dataclass(frozen=True)
class Acknowledged:
    """One ``incident.acknowledged``. ``key`` is the alert's, ``id`` the event's, the same however often it comes."""

    id: str
    key: str
    at: datetime
    person: str
    incident: str


class PagerDutyHook:
    """What a channel's webhook does. ``name`` is the channel's; any of ``secrets`` signs."""

    def __init__(
        self,
        name: str,
        secrets: Sequence[bytes],
        ledger: Ledger,
        acknowledge: Acknowledge,
        clock: Callable[[], datetime],
    ) -> None:
        self._name = name
        self._secrets = tuple(secrets)
        self._ledger = ledger
        self._acknowledge = acknowledge
        self._clock = clock
        self._one = threading.Lock()  # an event that arrives twice at once is written once

    def signed(self, header: str, body: bytes) -> bool:
        """Whether any signature of ``X-PagerDuty-Signature`` is that of any secret over the body's bytes."""
        given = [part.strip() for part in header.split(",")[:SIGNATURES_MAX]]
        found = [part.removeprefix("v1=").encode() for part in given if part.startswith("v1=")]
        expected = [hmac.new(secret, body, hashlib.sha256).hexdigest().encode() for secret in self._secrets]
        return any(hmac.compare_digest(one, other) for one in expected for other in found)

    def take(self, body: bytes) -> str:
        """Writes the acknowledgement, once; returns what was done with the event.

        Raises Malformed, or StoreError when the ledger cannot be written now or another replica leads.
        """
        event = read(body)
        if event is None:
            return "ignored: not an acknowledgement by a person"
        with self._one:
            alert = self._ledger.projection.open_alerts().get(event.key)
            if alert is None:
                return "ignored: no such alert stands open"
            if event.at < alert.at - SKEW:
                return "ignored: older than the alert"
            note = f"PagerDuty incident {event.incident}, event {event.id}"
            for entry in self._ledger.entries(start=alert.seq, kinds=[Kind.ACK]):
                if (entry.data["via"], entry.data["note"]) == (self._name, note):
                    return "already written"
            try:
                entry = self._acknowledge(
                    self._ledger, self._clock(), alert=alert.seq, person=event.person, note=note, via=self._name
                )
            except ConfigError as error:  # it was resolved in between
                return f"ignored: {error}"
        log.info("acknowledged", channel=self._name, alert=alert.seq, entry=entry.seq)
        return "written"


def read(body: bytes) -> Acknowledged | None:
    """The acknowledgement in a V3 payload; None for any other event, or for one that no person caused.

    A workflow or an integration acknowledges without anybody having seen it: that does not count. Raises Malformed.
    """
    try:
        event = json.loads(body)["event"]
        if event["event_type"] != ACKNOWLEDGED:
            return None
        agent, data = event["agent"], event["data"]
        if not isinstance(agent, dict) or agent.get("type") not in ("user_reference", "user"):
            return None
        at = datetime.fromisoformat(event["occurred_at"])
        return Acknowledged(
            id=_word(event["id"]),
            key=_word(data["incident_key"]) if data.get("incident_key") else "",
            at=at if at.tzinfo else at.replace(tzinfo=UTC),
            person=_line(agent.get("summary") or agent["id"]),
            incident=_word(data["id"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(type(error).__name__) from error


def _line(value: Any) -> str:
    if not isinstance(value, str) or not (found := _CONTROL_CHARACTERS.sub(" ", value).strip()):
        raise TypeError("not a text")
    return found[:TEXT_CHARACTERS_MAX]


def _word(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,200}", value):
        raise TypeError("not one word")
    return value


def open_hooks(
    settings: Settings,
    environ: Mapping[str, str],
    ledger: Ledger,
    acknowledge: Acknowledge,
    clock: Callable[[], datetime],
) -> dict[str, PagerDutyHook]:
    """The hooks of the channels that have a secret for one. Raises ConfigError when a secret is not there."""
    found = {name: pager.hook_secrets(environ) for name, pager in settings.alerts.pagerduty.items()}
    return {
        name: PagerDutyHook(name, secrets, ledger, acknowledge, clock) for name, secrets in found.items() if secrets
    }


def routes(hooks: Mapping[str, PagerDutyHook]) -> list[BaseRoute]:
    """The address of each hook; none at all without any."""

    async def pagerduty(request: Request) -> Response:
        hook = hooks.get(request.path_params["name"])
        if hook is None:
            return _answer(404)
        try:
            body = await asyncio.wait_for(_body(request), BODY_SECONDS_MAX)
        except (TimeoutError, ClientDisconnect):
            return _answer(408)
        if body is None:
            return _answer(413)
        header = ",".join(request.headers.getlist("x-pagerduty-signature"))
        if not hook.signed(header, body):
            log.warning("refused", channel=request.path_params["name"], why="no signature of ours")
            return _answer(403)
        try:
            done = await run_in_threadpool(hook.take, body)
        except Malformed:
            log.warning("refused", channel=request.path_params["name"], why="not an event as PagerDuty documents it")
            return _answer(400)
        except StoreError as error:
            log.warning("later", channel=request.path_params["name"], why=str(error))
            return _answer(503)
        return _answer(202, done)

    return [Route("/hooks/pagerduty/{name}", pagerduty, methods=["POST"])] if hooks else []


async def _body(request: Request) -> bytes | None:
    """The bytes as they came; None when they are too many."""
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > BODY_BYTES_MAX:
            return None
    return bytes(found)


def _answer(status: int, words: str = "") -> Response:
    return Response(words, status, {"cache-control": "no-store"}, "text/plain")
