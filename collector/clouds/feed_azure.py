"""One Azure Storage queue by the REST API: takes messages and deletes them, and writes nothing else.

Needs Microsoft.Storage/storageAccounts/queueServices/queues/messages/process/action on the queue. Signing in and the
pipeline are those of ``azure_access.py``.
Source: https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api
"""

from __future__ import annotations

import base64
import binascii
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from functools import cached_property
from urllib.parse import quote, urlsplit

from azure.core.rest import HttpRequest

from collector.clouds.azure_access import Access, quoted
from collector.clouds.rest import Reply
from collector.clouds.worm_azure import API_VERSION, SCOPE, THROTTLED, SignIn
from collector.errors import CannotObserve, ConfigError, Denied, Throttled, Unavailable, Unreadable

HOSTS = (
    (re.compile(r"[a-z0-9]{3,24}(\.z[0-9]{1,2})?\.queue\.(core\.windows|storage\.azure)\.net"), "public"),
    (re.compile(r"[a-z0-9]{3,24}\.queue\.core\.usgovcloudapi\.net"), "usgovernment"),
    (re.compile(r"[a-z0-9]{3,24}\.queue\.core\.chinacloudapi\.cn"), "china"),
)
QUEUE = re.compile(r"/[a-z0-9](-?[a-z0-9]){2,62}/?")
MESSAGES_MAX = 32  # Azure: of one answer
ANSWER_BYTES_MAX = 4 * 1024 * 1024  # 32 messages of 64 KiB in XML
HIDDEN_SECONDS = 300
READ_SECONDS_MAX = 30
LOOK_SECONDS = 2.0  # a storage queue knows no long poll
ASSIGN = "assign the role Storage Queue Data Message Processor on the queue: deploy/feed/README.md"


class StorageQueue:
    """A ``feed.pump.Queue``. A receipt is the message's id and its pop receipt. Signs in when it is first asked."""

    def __init__(
        self,
        url: str,
        *,
        tenant: str,
        credential: str = "",
        client_id: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises ConfigError when ``url`` names no queue of Azure."""
        where = urlsplit(url)
        cloud = next((cloud for host, cloud in HOSTS if host.fullmatch(where.netloc)), "")
        if where.scheme != "https" or not cloud or not QUEUE.fullmatch(where.path) or where.query:
            raise ConfigError(f"{url!r} is no URL of a queue: write https://ACCOUNT.queue.core.windows.net/QUEUE")
        self._host, self._path = where.netloc, where.path.rstrip("/")
        self._sign_in = SignIn(tenant, cloud, credential, client_id)
        self._sleep = sleep

    @cached_property
    def _access(self) -> Access:
        return Access(self._sign_in, scopes={self._host: SCOPE})

    def receive(self, wait_seconds: int) -> list[tuple[bytes, str]]:
        """At most 32 messages. Raises CannotObserve or ConfigError."""
        until = time.monotonic() + wait_seconds
        while True:
            query = {"numofmessages": str(MESSAGES_MAX), "visibilitytimeout": str(HIDDEN_SECONDS)}
            found = self._messages(self._ask("GET", "/messages", query).body)
            if found or time.monotonic() + LOOK_SECONDS > until:
                return found
            self._sleep(LOOK_SECONDS)

    def done(self, receipts: Sequence[str]) -> None:
        """Deletes messages; one that is gone, or was given to somebody else meanwhile, is none of ours any more."""
        for receipt in receipts:
            id, _, pop = receipt.partition(" ")
            self._ask("DELETE", f"/messages/{quote(id, safe='')}", {"popreceipt": pop}, gone=True)

    def _messages(self, body: bytes) -> list[tuple[bytes, str]]:
        try:
            if len(body) > ANSWER_BYTES_MAX or b"<!DOCTYPE" in body:
                raise ValueError("too large, or with a document type")
            root = ET.fromstring(body.decode("utf-8-sig"))  # noqa: S314 - no document type, and of a known size
            found = []
            for item in root.iter("QueueMessage"):
                id, pop = item.findtext("MessageId"), item.findtext("PopReceipt")
                if not id or not pop:
                    raise ValueError("a message without id or receipt")
                found.append((_plain(item.findtext("MessageText") or ""), f"{id} {pop}"))
        except (ValueError, ET.ParseError) as error:
            raise Unreadable(
                f"https://{self._host}{self._path}: the answer is no list of messages ({error})"
            ) from error
        return found

    def _ask(self, method: str, path: str, query: Mapping[str, str], *, gone: bool = False) -> Reply:
        where = f"https://{self._host}{self._path}"
        headers = {"x-ms-version": API_VERSION, "x-ms-date": formatdate(usegmt=True), "Accept": "application/xml"}
        request = HttpRequest(method, where + path, params=quoted(query), headers=headers)
        try:
            reply = self._access.exchange(request, read_seconds=READ_SECONDS_MAX)
        except OSError as error:
            raise Unavailable(f"{where}: no answer ({type(error).__name__}); it is tried again") from error
        if 200 <= reply.status < 300 or (gone and reply.status == 404):
            return reply
        code = reply.headers.get("x-ms-error-code", f"HTTP {reply.status}")
        if gone and code == "PopReceiptMismatch":
            return reply
        raise self._refused(f"{where}: {code}", code, reply.status)

    def _refused(self, words: str, code: str, status: int) -> CannotObserve | ConfigError:
        if code in THROTTLED or status == 429:
            return Throttled(f"{words}; it is tried again")
        if status in (401, 403):
            return Denied(f"{words}; {ASSIGN}")
        if code == "QueueNotFound" or status == 404:
            return ConfigError(f"{words}; make the queue, or correct its URL: deploy/feed/README.md")
        if status >= 500:
            return Unavailable(f"{words}; it is tried again")
        return Unreadable(words)


def _plain(text: str) -> bytes:
    """Event Grid writes one event a message, in base64; in its first years, and elsewhere, as plain text: JSON begins
    with a brace, which base64 does not know. https://github.com/MicrosoftDocs/azure-docs/issues/102923 and /69702"""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()
