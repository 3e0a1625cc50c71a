"""One SQS queue through botocore: takes messages and deletes them. Deleting our own queue's messages is all it writes.

Needs sqs:ReceiveMessage and sqs:DeleteMessage on the queue. Made apart from the clients that observe accounts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from collector.clouds.aws import CONNECT_SECONDS_MAX, DENIED, THROTTLED, credentials_for
from collector.errors import CannotObserve, ConfigError, Denied, Throttled, Unavailable, Unreadable

MESSAGES_MAX = 10  # SQS: of one answer, and of one deletion
HIDDEN_SECONDS = 300  # how long nobody else gets what we took
READ_SECONDS_MAX = 40  # longer than the longest poll, 20 s
GONE = re.compile(r"(AWS\.SimpleQueueService\.NonExistentQueue|QueueDoesNotExist)")


class SqsQueue:
    """A ``feed.pump.Queue``, as pairs of body and receipt. Signs in when it is first asked."""

    def __init__(self, url: str, region: str, *, profile: str = "", role_arn: str = "", external_id: str = "") -> None:
        self.url = url
        self._region = region
        self._who = {"profile": profile, "role_arn": role_arn, "external_id": external_id}

    @cached_property
    def _client(self) -> Any:
        session = botocore.session.Session()
        session._credentials = credentials_for(**self._who, session_name="evidence-collector-feed")
        config = Config(
            retries={"total_max_attempts": 3, "mode": "standard"},
            connect_timeout=CONNECT_SECONDS_MAX,
            read_timeout=READ_SECONDS_MAX,
            user_agent_extra="evidence-collector",
        )
        try:
            return session.create_client("sqs", region_name=self._region, config=config)
        except BotoCoreError as error:
            raise ConfigError(f"{self.url}: SQS cannot be asked: {error}") from error

    def receive(self, wait_seconds: int) -> list[tuple[bytes, str]]:
        """At most ten messages. Raises CannotObserve or ConfigError."""
        answer = self._asked(
            "ReceiveMessage",
            lambda: self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=MESSAGES_MAX,
                WaitTimeSeconds=wait_seconds,
                VisibilityTimeout=HIDDEN_SECONDS,
            ),
        )
        try:
            return [(item["Body"].encode(), item["ReceiptHandle"]) for item in answer.get("Messages", ())]
        except (LookupError, AttributeError) as error:
            raise Unreadable(f"{self.url}: a message without body or receipt; look at what stands between") from error

    def done(self, receipts: Sequence[str]) -> None:
        """Deletes messages. What could not be deleted comes again, and is known by its id. Raises as ``receive``."""
        for start in range(0, len(receipts), MESSAGES_MAX):
            part = receipts[start : start + MESSAGES_MAX]
            entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(part)]
            batch = {"QueueUrl": self.url, "Entries": entries}
            self._asked("DeleteMessage", partial(self._client.delete_message_batch, **batch))

    def _asked(self, operation: str, ask: Callable[[], Any]) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = ask()
        except ClientError as error:
            raise self._meant(operation, error) from error
        except (BotoCoreError, OSError) as error:
            kind = Denied if "Credential" in type(error).__name__ or "Token" in type(error).__name__ else Unavailable
            raise kind(f"{self.url}: no answer from SQS ({type(error).__name__}); it is tried again") from error
        except ValueError as error:
            raise Unreadable(f"{self.url}: the answer of SQS could not be read") from error
        return found

    def _meant(self, operation: str, error: ClientError) -> CannotObserve | ConfigError:
        code = str(error.response.get("Error", {}).get("Code") or "Unknown")
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        if GONE.search(code):
            return ConfigError(f"{self.url}: there is no such queue; make it with deploy/feed/aws.yaml")
        if code in THROTTLED or status == 429:
            return Throttled(f"{self.url}: {code}; it is tried again")
        if code in DENIED or status in (401, 403):
            return Denied(f"{self.url}: {code}; allow sqs:{operation} on the queue")
        if status >= 500:
            return Unavailable(f"{self.url}: {code}; it is tried again")
        return Unreadable(f"{self.url}: {code}")
