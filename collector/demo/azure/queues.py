"""Azure Queue Storage on the wire: messages that are hidden for a while, come again, and are deleted by their receipt.

Source: https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api
"""

from __future__ import annotations

import base64
import re
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from xml.sax.saxutils import escape

from collector.demo.azure.blobs import AUDIENCE, refusal
from collector.demo.azure.tokens import Issuer
from collector.demo.azure.world import Ask, World
from collector.demo.proxy import Response

HOST = re.compile(r"[a-z0-9]{3,24}\.queue\.core\.windows\.net")
MESSAGES_MAX = 32
HIDDEN_SECONDS_MAX = 7 * 86_400
MESSAGE = re.compile(r"/([a-z0-9-]+)/messages(?:/([0-9a-f-]{36}))?")


@dataclass
class Message:
    text: str
    inserted: datetime
    visible: datetime
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    receipt: str = ""
    taken: int = 0


class Queues:
    """The queues of all accounts, by ``account/queue``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queues: dict[str, list[Message]] = {}

    def make(self, account: str, queue: str) -> None:
        self._queues[f"{account}/{queue}"] = []

    def put(self, account: str, queue: str, body: str, *, encoded: bool = True) -> None:
        """A message as Event Grid writes it: base64."""
        now = self._world.clock()
        text = base64.b64encode(body.encode()).decode() if encoded else body
        self._queues[f"{account}/{queue}"].append(Message(text, now, now))

    def held(self, account: str, queue: str) -> int:
        return len(self._queues[f"{account}/{queue}"])

    def answer(self, issuer: Issuer, ask: Ask) -> Response:
        """Raises Refusal."""
        issuer.token(replace(ask, host=AUDIENCE))
        if "x-ms-version" not in ask.headers:
            raise refusal(400, "MissingRequiredHeader", "An HTTP header that is mandatory is not specified.")
        found = MESSAGE.fullmatch(ask.path)
        queue = self._queues.get(f"{ask.host.partition('.')[0]}/{found[1]}") if found else None
        if found is None or queue is None:
            raise refusal(404, "QueueNotFound", "The specified queue does not exist.")
        if ask.method == "GET" and found[2] is None:
            return self._taken(ask, queue)
        if ask.method == "DELETE" and found[2] is not None:
            return self._deleted(ask, queue, found[2])
        raise refusal(405, "UnsupportedHttpVerb", "The resource doesn't support the specified HTTP verb.")

    def _taken(self, ask: Ask, queue: list[Message]) -> Response:
        count, hidden = int(ask.query.get("numofmessages", 1)), int(ask.query.get("visibilitytimeout", 30))
        if not 1 <= count <= MESSAGES_MAX or not 1 <= hidden <= HIDDEN_SECONDS_MAX:
            raise refusal(400, "OutOfRangeQueryParameterValue", "A query parameter is outside the permissible range.")
        now, written = self._world.clock(), ""
        for message in [each for each in queue if each.visible <= now][:count]:
            message.visible, message.taken = now + timedelta(seconds=hidden), message.taken + 1
            message.receipt = f"Ag+/{base64.b64encode(uuid.uuid4().bytes).decode()}"  # base64, as Azure's are
            written += (
                f"<QueueMessage><MessageId>{message.id}</MessageId><InsertionTime>{_date(message.inserted)}"
                f"</InsertionTime><ExpirationTime>{_date(message.inserted + timedelta(days=7))}</ExpirationTime>"
                f"<PopReceipt>{escape(message.receipt)}</PopReceipt><TimeNextVisible>{_date(message.visible)}"
                f"</TimeNextVisible><DequeueCount>{message.taken}</DequeueCount>"
                f"<MessageText>{escape(message.text)}</MessageText></QueueMessage>"
            )
        body = f'\ufeff<?xml version="1.0" encoding="utf-8"?><QueueMessagesList>{written}</QueueMessagesList>'
        return Response(200, {**_common(ask), "Content-Type": "application/xml"}, body.encode())

    def _deleted(self, ask: Ask, queue: list[Message], id: str) -> Response:
        message = next((each for each in queue if each.id == id), None)
        if message is None:
            raise refusal(404, "MessageNotFound", "The specified message does not exist.")
        if ask.query.get("popreceipt") != message.receipt:
            words = "The specified pop receipt did not match the pop receipt for a dequeued message."
            raise refusal(400, "PopReceiptMismatch", words)
        queue.remove(message)
        return Response(204, _common(ask))


def _common(ask: Ask) -> dict[str, str]:
    return {
        "Server": "Windows-Azure-Queue/1.0 Microsoft-HTTPAPI/2.0",
        "x-ms-request-id": ask.request_id,
        "x-ms-version": ask.headers.get("x-ms-version", ""),
        "Date": _date(ask.at),
    }


def _date(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC), usegmt=True)
