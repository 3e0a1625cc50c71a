"""One topic of AWS SNS, through botocore: publishes, and does nothing else. What is published is decided in alert/.

The clients that observe accounts have no operation that changes anything; this one is made apart from them, needs
``sns:Publish`` on its topic (and ``kms:GenerateDataKey`` with ``kms:Decrypt`` where that is encrypted), and no more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.parsers import ResponseParserError

from collector.clouds.aws import CONNECT_SECONDS_MAX, DENIED, THROTTLED, credentials_for
from collector.clouds.worm import seconds
from collector.errors import CannotObserve, ConfigError, Denied, Disabled, Throttled, Unavailable, Unreadable

FIFO = ".fifo"
# What is wrong with who asks: mended by other credentials or a right clock.
SIGN_IN = frozenset(
    (
        "ExpiredToken",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    )
)
REFUSED = frozenset(("AuthorizationError", "KMSAccessDenied", *DENIED))


class Asked(Throttled):
    """Throttled, by a service that says for how long. ``retry_after`` in seconds, None when it does not."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Topic:
    """One topic by its ARN. ``timeout`` in seconds. Signs in when it is first asked."""

    def __init__(self, arn: str, *, profile: str = "", role_arn: str = "", timeout: float) -> None:
        self._arn = arn
        self._profile = profile
        self._role_arn = role_arn
        self._timeout = timeout

    def publish(
        self, *, subject: str, messages: Mapping[str, str], attributes: Mapping[str, str], group: str, once: str
    ) -> str:
        """Publishes ``messages`` by protocol; returns the message's id. Raises CannotObserve or ConfigError.

        A FIFO topic keeps the order of a ``group`` and drops what it got ``once`` within five minutes; others do not
        take either. No word of the transport is passed on but the code of an error.
        """
        sent: dict[str, Any] = {
            "TopicArn": self._arn,
            "Subject": subject,
            "Message": json.dumps(dict(messages), ensure_ascii=False),
            "MessageStructure": "json",
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        }
        if self._arn.endswith(FIFO):
            sent |= {"MessageGroupId": group, "MessageDeduplicationId": once}
        try:
            answer = self._client.publish(**sent)
        except ClientError as error:
            raise self._refused(error) from None
        except ParamValidationError:
            raise Unreadable("the AWS SDK does not take the message; this is a defect of the collector") from None
        except ResponseParserError:
            raise Unavailable("the answer of SNS could not be read; it is tried again") from None
        except RuntimeError:  # botocore, of credentials that have expired although they are new
            raise Denied("the credentials for SNS have expired; see that this machine's clock is right") from None
        except (BotoCoreError, OSError) as error:
            kind = type(error).__name__
            if "Credential" in kind or "Token" in kind:
                raise Denied(f"no credentials for SNS ({kind}); look at the role or profile of the channel") from None
            raise Unavailable(f"no answer from SNS: {kind}") from None
        message = answer.get("MessageId")
        if not message:
            raise Unavailable("the answer of SNS names no message; it is tried again")
        return str(message)

    @cached_property
    def _client(self) -> Any:
        """Raises Denied without credentials, ConfigError for an unknown profile."""
        session = botocore.session.Session()
        session._credentials = credentials_for(  # private to botocore, as in aws.py
            profile=self._profile, role_arn=self._role_arn, session_name="evidence-collector-alerts"
        )
        config = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},  # the outbox tries again
            connect_timeout=min(CONNECT_SECONDS_MAX, self._timeout),
            read_timeout=self._timeout,
            user_agent_extra="evidence-collector",
        )
        return session.create_client("sns", region_name=self._arn.split(":")[3], config=config)

    def _refused(self, error: ClientError) -> CannotObserve | ConfigError:
        """What an error of SNS means, or of STS, which is asked first where there is a role to assume."""
        meta = error.response.get("ResponseMetadata", {})
        status = int(meta.get("HTTPStatusCode") or 0)
        code = str(error.response.get("Error", {}).get("Code") or f"HTTP{status}")[:100]
        wait = meta.get("HTTPHeaders", {}).get("retry-after")
        if code in THROTTLED or code.startswith(("Throttl", "KMSThrottl")) or status == 429:
            return Asked(f"SNS: {code}", None if wait is None else seconds(wait))
        if status >= 500:
            return Unavailable(f"SNS: {code}")
        if error.operation_name.startswith("AssumeRole"):
            return Denied(f"STS: {code}; let the collector assume the role of the channel")
        if code in SIGN_IN:
            return Denied(f"SNS: {code}; look at the credentials of the channel, and at this machine's clock")
        if code in REFUSED or status in (401, 403):
            return Denied(f"SNS: {code}; allow sns:Publish on the topic")
        if code in ("NotFound", "NotFoundException"):
            return ConfigError("SNS: NotFound; there is no such topic in that region: correct its ARN, or make it")
        if code.startswith("KMS") or code == "EndpointDisabled":
            return Disabled(f"SNS: {code}; look at the key that encrypts the topic")
        return Unreadable(f"SNS: {code}")
