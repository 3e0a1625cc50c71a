"""Sends an alert to a topic of AWS SNS: words for people, JSON for programs, attributes for filters.

Subscribers by e-mail get the plain text, by SMS the summary; queues, functions and HTTP get the object that a signed
webhook would get. SNS is spoken in ``clouds/notify_aws.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

from collector import canonical
from collector.alert import webhook
from collector.alert.message import DeliveryFailed, clipped, head, severity, summary, text
from collector.errors import CannotObserve, ConfigError, Denied, Disabled, Throttled, Unavailable

MESSAGE_BYTES_MAX = 256 * 1024
TEXT_CHARACTERS_MAX = 40_000  # in bytes at most 160,000, beside the JSON of the same alert
SUBJECT_CHARACTERS_MAX = 100  # printable ASCII; https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
SMS_CHARACTERS_MAX = 160
PROGRAMS = ("sqs", "lambda", "http", "https", "firehose")
MENDABLE = (Denied, Disabled, Throttled, Unavailable, ConfigError)


class Topic(Protocol):
    """What of ``clouds.notify_aws.Topic`` is used here."""

    def publish(
        self, *, subject: str, messages: Mapping[str, str], attributes: Mapping[str, str], group: str, once: str
    ) -> str: ...


class Sns:
    """One topic. ``timeout`` in seconds. Signs in when it first sends."""

    def __init__(
        self, topic: str, *, profile: str = "", role_arn: str = "", timeout: float, opened: Topic | None = None
    ) -> None:
        """Raises ConfigError without the AWS SDK."""
        self._topic = opened or _open(topic, profile, role_arn, timeout)

    def send(self, alert: Mapping[str, Any]) -> str:
        """Publishes the alert; returns the message's id. Raises DeliveryFailed."""
        try:
            return "message " + self._topic.publish(
                subject=subject(alert),
                messages=messages(alert),
                attributes=attributes(alert),
                group=alert["key"],
                once=f"{alert['key']}-{alert['event']}-{alert['seq']}",
            )
        except (CannotObserve, ConfigError) as error:
            raise DeliveryFailed(
                str(error), retry=isinstance(error, MENDABLE), retry_after=getattr(error, "retry_after", None)
            ) from None


def messages(alert: Mapping[str, Any]) -> dict[str, str]:
    """The words by protocol; ``default`` for those that are not named."""
    words = clipped(text(alert), TEXT_CHARACTERS_MAX)
    data = canonical.payload(webhook.payload(alert)).decode()
    found = {"default": words, "sms": clipped(summary(alert), SMS_CHARACTERS_MAX), **dict.fromkeys(PROGRAMS, data)}
    if len(json.dumps(found).encode()) > MESSAGE_BYTES_MAX:
        # The object as many times as there are protocols is too much: programs then get a summary, with the entry.
        short = canonical.payload({name: alert[name] for name in ("seq", "key", "event", "cause", "check")}).decode()
        found |= dict.fromkeys(PROGRAMS, short) | {"default": clipped(words, 8_000)}
    return found


def subject(alert: Mapping[str, Any]) -> str:
    """Printable ASCII of at most 100 characters, as SNS demands, that begins with a letter of ours."""
    words = f"{head(alert)}: {alert['control'] or alert['check'] or alert['scope'] or alert['subject']}"
    return clipped_ascii(re.sub(r"[^ -~]+", "?", words))


def clipped_ascii(words: str) -> str:
    whole = words.strip()
    return whole if len(whole) <= SUBJECT_CHARACTERS_MAX else whole[: SUBJECT_CHARACTERS_MAX - 3] + "..."


def attributes(alert: Mapping[str, Any]) -> dict[str, str]:
    """What subscriptions may filter by."""
    names = ("event", "cause", "check", "scope", "family", "control")
    found = {name: clipped(str(alert[name]), 256) for name in names if alert[name]}
    return {**found, "severity": severity(alert)}


def _open(topic: str, profile: str, role_arn: str, timeout: float) -> Topic:
    try:
        from collector.clouds import notify_aws  # the SDK is an extra
    except ImportError as error:
        raise ConfigError(
            "an SNS channel needs the AWS SDK, which is not installed; pip install 'evidence-collector[aws]'"
        ) from error
    return notify_aws.Topic(topic, profile=profile, role_arn=role_arn, timeout=timeout)
