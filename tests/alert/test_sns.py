"""Alerts over AWS SNS: botocore is unmodified, no endpoint overridden; the test-bed's proxy is SNS, SQS behind it."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from collector.alert import sns as sns_module
from collector.alert.message import DeliveryFailed, head
from collector.alert.sns import MESSAGE_BYTES_MAX, Sns, attributes, messages, subject
from collector.alert.webhook import payload
from collector.demo.cloud import SimulatedCloud
from collector.errors import ConfigError
from tests.support import receivers

EVERYTHING = [*receivers.every(), *receivers.hostile()]


@pytest.fixture(scope="module")
def cloud(simulated_cloud: SimulatedCloud) -> Iterator[SimulatedCloud]:
    yield simulated_cloud
    simulated_cloud.reset()


class Post:
    """A topic with a queue that is subscribed to it."""

    def __init__(self, cloud: SimulatedCloud, name: str) -> None:
        fifo = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
        self._sqs = cloud.client("sqs")
        self.topic = cloud.client("sns").create_topic(Name=name, Attributes=fifo)["TopicArn"]
        queued = {"FifoQueue": "true"} if fifo else {}
        self._queue = self._sqs.create_queue(QueueName=name, Attributes=queued)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        cloud.client("sns").subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def received(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while page := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for one in page:
                found.append(json.loads(one["Body"]))
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=one["ReceiptHandle"])
        return found


@pytest.fixture
def open_post(cloud: SimulatedCloud, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Post]]:
    number = abs(hash(request.node.name)) % 10**10
    yield lambda suffix: Post(cloud, f"alerts-{number}{suffix}")
    cloud.clear_faults()


def failure(channel: Sns) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        channel.send(receivers.alert())
    words = "".join(traceback.format_exception(caught.value))
    assert "simulated-not-a-secret" not in words
    assert not re.search(r"(AKIA|ASIA)[A-Z0-9]{16}", words)
    return caught.value


def test_all_alerts_arrive_with_words_data_and_attributes(
    cloud: SimulatedCloud, open_post: Callable[[str], Post]
) -> None:
    post = open_post("")
    channel = Sns(post.topic, timeout=5)
    for alert in EVERYTHING:
        assert re.fullmatch(r"message [0-9a-f-]{36}", channel.send(alert))
    found = post.received()
    assert len(found) == len(EVERYTHING)
    by_subject = [one["Subject"] for one in found]
    assert "Failed: MFA-2" in by_subject
    plain = next(one for one in found if json.loads(one["Message"])["event"] == "resolve")
    assert json.loads(plain["Message"]).keys() >= {"key", "cause", "event"}
    assert plain["MessageAttributes"]["event"] == {"Type": "String", "Value": "resolve"}
    assert plain["MessageAttributes"]["severity"] == {"Type": "String", "Value": "high"}


def test_a_fifo_topic_keeps_the_order_and_drops_a_repetition(open_post: Callable[[str], Post]) -> None:
    post = open_post(".fifo")
    channel = Sns(post.topic, timeout=5)
    for alert in (receivers.alert(), receivers.alert(), receivers.alert(event="resolve")):
        channel.send(alert)
    assert [json.loads(one["Message"])["event"] for one in post.received()] == ["trigger", "resolve"]


@pytest.mark.parametrize("alert", EVERYTHING, ids=lambda a: f"{a['cause']}-{a['event']}")
def test_words_are_as_sns_takes_them(alert: dict) -> None:
    found = messages(alert)
    assert len(json.dumps(found).encode()) <= MESSAGE_BYTES_MAX
    assert found["default"].startswith(head(alert))
    assert json.loads(found["sqs"])["key"] == alert["key"]
    assert len(found["sms"]) <= 160
    assert re.fullmatch(r"[!-~][ -~]{0,99}", subject(alert))
    filters = attributes(alert)
    assert len(filters) <= 10, "raw delivery to a queue takes ten"
    assert all(filters.values())


def test_programs_get_what_a_signed_webhook_gets() -> None:
    assert json.loads(messages(receivers.alert())["lambda"]) == json.loads(json.dumps(payload(receivers.alert())))


@pytest.mark.parametrize(
    ("kind", "retry", "words"),
    [
        ("throttle", True, "SNS: "),
        ("denied", True, "allow sns:Publish on the topic"),
        ("expired", True, "look at the credentials"),
        ("500", True, "SNS: "),
        ("reset", True, "no answer from SNS"),
        ("html", True, ""),
        ("slow", True, "no answer from SNS: ReadTimeoutError"),
    ],
)
def test_a_fault_is_no_delivery_and_says_what_to_do(
    cloud: SimulatedCloud, open_post: Callable[[str], Post], kind: str, retry: bool, words: str
) -> None:
    post = open_post("")
    channel = Sns(post.topic, timeout=1)
    cloud.fault(kind, service="sns", operation="Publish", times=1, seconds=3)
    error = failure(channel)
    assert error.retry is retry
    assert words in error.detail
    cloud.clear_faults()
    assert channel.send(receivers.alert())


def test_a_topic_that_is_not_there_can_be_made(cloud: SimulatedCloud) -> None:
    error = failure(Sns("arn:aws:sns:eu-west-1:123456789012:nowhere", timeout=5))
    assert error.retry
    assert "there is no such topic" in error.detail


def test_a_role_of_another_account_is_assumed(cloud: SimulatedCloud, open_post: Callable[[str], Post]) -> None:
    post = open_post("")
    cloud.set_now(datetime.now(UTC))  # or the role's credentials have expired before they are used
    cloud.clear_calls()
    role = "arn:aws:iam::123456789012:role/alerts"
    Sns(post.topic, role_arn=role, timeout=5).send(receivers.alert())
    assert [call["operation"] for call in cloud.calls()] == ["AssumeRole", "Publish"]


def test_a_profile_that_is_none_and_no_credentials_are_said_so(
    cloud: SimulatedCloud, monkeypatch: pytest.MonkeyPatch, open_post: Callable[[str], Post]
) -> None:
    topic = open_post("").topic
    assert "profile" in failure(Sns(topic, profile="nobody", timeout=5)).detail
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    error = failure(Sns(topic, timeout=5))
    assert "no AWS credentials" in error.detail
    assert error.retry


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "collector.clouds.notify_aws", None)
    monkeypatch.delattr("collector.clouds.notify_aws", raising=False)
    with pytest.raises(ConfigError, match=re.escape("pip install 'evidence-collector[aws]'")):
        Sns("arn:aws:sns:eu-west-1:123456789012:x", timeout=5)
    assert sns_module.PROGRAMS
