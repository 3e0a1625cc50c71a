"""Pub/Sub on the wire: pull and acknowledge, with deadlines after which a message comes again under another ackId.

Source: https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from collector.demo.proxy import Request, Response

HOST = "pubsub.googleapis.com"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/pubsub")
PATH = re.compile(r"/v1/(projects/[^/]+/subscriptions/[^/:]+):(pull|acknowledge)")


@dataclass
class Message:
    id: str
    data: str
    published: datetime
    visible: datetime
    ack: str = ""


class PubSub:
    """The subscriptions of all projects by their full name."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._messages: dict[str, list[Message]] = {}
        self._deadline: dict[str, int] = {}
        self._number = 0

    def make(self, subscription: str, deadline_seconds: int = 300) -> None:
        self._messages[subscription] = []
        self._deadline[subscription] = deadline_seconds

    def put(self, subscription: str, body: str, data: str = "") -> None:
        now = self._clock()
        self._number += 1
        data = data or base64.b64encode(body.encode()).decode()
        self._messages[subscription].append(Message(str(2_000_000 + self._number), data, now, now))

    def held(self, subscription: str) -> int:
        return len(self._messages[subscription])

    def answer(self, request: Request) -> Response | None:
        """None for what nobody here knows."""
        found = PATH.fullmatch(urllib.parse.unquote(request.target.partition("?")[0]))
        if request.method != "POST" or found is None:
            return None
        messages = self._messages.get(found[1])
        if messages is None:
            return _error(404, "NOT_FOUND", f"Resource not found (resource={found[1].rpartition('/')[2]}).")
        try:
            body: dict[str, Any] = json.loads(request.body)
        except ValueError:
            return _error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")
        if found[2] == "acknowledge":
            wanted = set(body.get("ackIds", ()))
            if not wanted:
                return _error(400, "INVALID_ARGUMENT", "No ack ids specified.")
            now = self._clock()
            # An id whose deadline has passed acknowledges nothing, and is no error.
            messages[:] = [m for m in messages if not (m.ack in wanted and m.visible > now)]
            return _json(200, {})
        return self._pulled(found[1], messages, body)

    def _pulled(self, subscription: str, messages: list[Message], body: dict[str, Any]) -> Response:
        count = body.get("maxMessages")
        if not isinstance(count, int) or count < 1:
            return _error(400, "INVALID_ARGUMENT", "You have passed an invalid argument (argument=max_messages).")
        now = self._clock()
        received = []
        for message in [each for each in messages if each.visible <= now][: min(count, 1000)]:
            message.visible = now + timedelta(seconds=self._deadline[subscription])
            message.ack = secrets.token_urlsafe(24)
            told = {
                "data": message.data,
                "messageId": message.id,
                "publishTime": f"{message.published.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            }
            received.append({"ackId": message.ack, "message": told})
        return _json(200, {"receivedMessages": received} if received else {})


def _json(status: int, body: dict[str, Any]) -> Response:
    headers = {"Content-Type": "application/json; charset=UTF-8", "Server": "ESF"}
    return Response(status, headers, json.dumps(body, indent=2).encode())


def _error(status: int, name: str, message: str) -> Response:
    assert HTTPStatus(status)
    return _json(status, {"error": {"code": status, "message": message, "status": name}})
