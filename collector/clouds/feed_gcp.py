"""One Pub/Sub subscription by the REST API: pulls messages and acknowledges them, and writes nothing else.

Needs pubsub.subscriptions.consume on the subscription. Signing in is that of ``gcp_access.py``.
Source: https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from collector import canonical
from collector.clouds.gcp_access import Access
from collector.clouds.worm_gcs import SignIn
from collector.errors import ConfigError, Denied, Throttled, Unavailable, Unreadable

HOST = "pubsub.googleapis.com"
SUBSCRIPTION = re.compile(r"projects/[a-z0-9:.-]+/subscriptions/[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
MESSAGES_MAX = 100
ACKS_MAX = 500
READ_SECONDS_MAX = 100  # a pull without messages is answered after some 90 s at most
LOOK_SECONDS = 1.0
ASSIGN = "grant roles/pubsub.subscriber on the subscription: deploy/feed/README.md"


class Subscription:
    """A ``feed.pump.Queue``. The body of a message carries Pub/Sub's own id of it. Signs in when it is first asked.

    The subscription's acknowledgement deadline says how long nobody else gets what was pulled: deploy/feed sets 300 s.
    """

    def __init__(
        self,
        name: str,
        *,
        credentials_file: Path | None = None,
        impersonate: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not SUBSCRIPTION.fullmatch(name):
            raise ConfigError(f"{name!r} is no subscription: write projects/PROJECT/subscriptions/NAME")
        self._name = name
        self._sign_in = SignIn(credentials_file, impersonate)
        self._sleep = sleep

    @cached_property
    def _access(self) -> Access:
        return Access(self._sign_in)

    def receive(self, wait_seconds: int) -> list[tuple[bytes, str]]:
        """At most a hundred messages. Raises CannotObserve or ConfigError."""
        until = time.monotonic() + wait_seconds
        while True:
            # Google discourages returnImmediately, since an answer may be empty although messages wait. A pull that
            # waits holds up what was taken before it for a minute and more, and one that is broken off may have taken
            # messages that nobody sees again before the deadline. So we ask again, each second.
            answer = self._ask("pull", {"maxMessages": MESSAGES_MAX, "returnImmediately": True})
            found = self._messages(answer)
            if found or time.monotonic() + LOOK_SECONDS > until:
                return found
            self._sleep(LOOK_SECONDS)

    def done(self, receipts: Sequence[str]) -> None:
        """Acknowledges messages; those whose deadline has passed come again. Raises as ``receive``."""
        for start in range(0, len(receipts), ACKS_MAX):
            self._ask("acknowledge", {"ackIds": list(receipts[start : start + ACKS_MAX])})

    def _messages(self, answer: Mapping[str, Any]) -> list[tuple[bytes, str]]:
        found = []
        try:
            for item in answer.get("receivedMessages", ()):
                message = item["message"]
                body = canonical.payload({"messageId": message["messageId"], "data": _plain(message.get("data", ""))})
                found.append((body, str(item["ackId"])))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise Unreadable(f"{self._name}: the answer is no list of messages") from error
        return found

    def _ask(self, verb: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            reply = self._access.exchange(
                "POST",
                f"https://{HOST}/v1/{self._name}:{verb}",
                query={},
                headers=headers,
                content=canonical.payload(body),
                read_seconds=READ_SECONDS_MAX,
            )
        except OSError as error:
            raise Unavailable(f"{self._name}: no answer ({type(error).__name__}); it is tried again") from error
        words = f"{self._name}: HTTP {reply.status}"
        if reply.status == 429:
            raise Throttled(f"{words}; it is tried again")
        if reply.status in (401, 403):
            raise Denied(f"{words}; {ASSIGN}")
        if reply.status == 404:
            raise ConfigError(f"{words}; make the subscription, or correct its name: deploy/feed/README.md")
        if reply.status >= 500:
            raise Unavailable(f"{words}; it is tried again")
        try:
            found = canonical.parse(reply.body or b"{}")
        except ValueError:
            found = None
        if reply.status != 200 or not isinstance(found, dict):
            raise Unreadable(f"{words}: the answer is no JSON object")
        return found


def _plain(data: str) -> str:
    """The text of a message, which is anybody's who may publish: what is none becomes one that no reader takes."""
    try:
        return base64.b64decode(data, validate=True).decode("utf-8", "replace")
    except ValueError:
        return ""
