"""What a provider's message says, which subjects it is about, and that no message can do harm."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import checks
from collector import registry
from collector.feed import event as events
from collector.feed.event import Event, Refused
from collector.feed.match import Pair, asked, same_thing
from collector.model import Scope

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ACCOUNT = "123456789012"
KNOWN = {item.check.id: item.check for item in registry.load([checks])}


def message(**changes: Any) -> dict[str, Any]:
    """PutBucketPolicy, as in AWS's guide; ``changes`` are of the detail."""
    detail = {
        "eventVersion": "1.11",
        "eventTime": "2026-01-05T11:59:50Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": "PutBucketPolicy",
        "awsRegion": "us-east-1",
        "requestParameters": {"bucketName": "acme-logs", "bucketPolicy": {"Version": "2012-10-17"}},
        "responseElements": None,
        "resources": [{"ARN": "arn:aws:s3:::acme-logs", "accountId": ACCOUNT}],
        "eventID": "7fb9a4a2-0000-4000-8000-000000000001",
        "readOnly": False,
        "recipientAccountId": ACCOUNT,
    }
    return {
        "version": "0",
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.s3",
        "account": ACCOUNT,
        "detail": {**detail, **changes},
    }


def read(found: Any) -> Event:
    return events.aws(json.dumps(found).encode(), {ACCOUNT: None}, NOW)


def about(event: Event, subjects: dict[str, list[str]], looked: datetime = NOW - timedelta(hours=1)) -> dict[str, Any]:
    pairs = [
        Pair(check, Scope("aws", ACCOUNT, "us-east-1" if KNOWN[check].parted else ""), looked) for check in subjects
    ]
    return {a.check: set(a.subjects) for a in asked(event, pairs, KNOWN, lambda check, scope: subjects[check])}


def test_an_event_is_about_the_bucket_that_it_names_and_no_other() -> None:
    event = read(message())
    assert (event.service, event.action, event.part) == ("s3", "PutBucketPolicy", "us-east-1")
    subjects = {"aws-s3-bucket-tls": ["arn:aws:s3:::acme-logs", "arn:aws:s3:::acme-data"], "aws-ebs-volume": []}
    del subjects["aws-ebs-volume"]
    subjects["aws-ebs-default-encryption"] = [f"arn:aws:ec2:us-east-1:{ACCOUNT}:account"]
    assert about(event, subjects) == {"aws-s3-bucket-tls": {"arn:aws:s3:::acme-logs"}}


def test_a_setting_of_the_account_is_named_by_what_is_done_to_it() -> None:
    setting = [f"arn:aws:ec2:us-east-1:{ACCOUNT}:account"]
    ec2 = {"eventSource": "ec2.amazonaws.com", "requestParameters": {}, "resources": []}
    event = read(message(**ec2, eventName="DisableEbsEncryptionByDefault"))
    assert about(event, {"aws-ebs-default-encryption": setting}) == {"aws-ebs-default-encryption": set(setting)}
    assert about(read(message(**ec2, eventName="RunInstances")), {"aws-ebs-default-encryption": setting}) == {}
    elsewhere = read(message(**ec2, eventName="DisableEbsEncryptionByDefault", awsRegion="eu-west-1"))
    assert about(elsewhere, {"aws-ebs-default-encryption": setting}) == {}
    assert not same_thing("PutX", "GetX")


def test_what_was_looked_at_after_the_event_has_seen_it() -> None:
    subjects = {"aws-s3-bucket-tls": ["arn:aws:s3:::acme-logs"]}
    assert about(read(message()), subjects, looked=NOW) == {}
    assert about(read(message()), subjects, looked=NOW - timedelta(seconds=8))  # an event's time is cut to its second


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (message(readOnly=True), "idle"),
        (message(errorCode="AccessDenied"), "idle"),
        (message(recipientAccountId="999999999999"), "foreign"),
        ({**message(), "account": "999999999999"}, "foreign"),
        ({**message(), "account": ["x"]}, "foreign"),
        (message(eventTime="2026-01-05T12:06:00Z"), "malformed"),  # from the future
        (message(eventTime="2026-01-05T12:00:00"), "malformed"),
        (message(eventID="x" * 200), "malformed"),
        (message(eventID="a\nb"), "malformed"),
        (message(eventSource="s3.example.com"), "malformed"),
        ({**message(), "detail-type": "Scheduled Event"}, "malformed"),
        ({**message(), "detail": []}, "malformed"),
        ([], "malformed"),
    ],
)
def test_what_is_not_as_documented_is_refused(found: Any, kind: str) -> None:
    with pytest.raises(Refused) as refused:
        read(found)
    assert refused.value.kind == kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(key=st.sampled_from([*message()["detail"], "detail", "account"]), value=JSON, raw=st.binary(max_size=60))
def test_no_message_raises_anything_but_a_refusal(key: str, value: Any, raw: bytes) -> None:
    found = message()
    (found if key in ("detail", "account") else found["detail"])[key] = value
    for body in (json.dumps(found).encode(), raw):
        try:
            event = events.aws(body, {ACCOUNT: None}, NOW)
        except Refused:
            continue
        about(event, {"aws-s3-bucket-tls": ["arn:aws:s3:::acme-logs"]})


def test_a_deep_and_wide_message_is_bounded() -> None:
    deep: Any = "arn:aws:s3:::acme-logs"
    for _ in range(100):
        deep = [deep]
    event = read(message(requestParameters={"deep": deep, "wide": [f"n{n}" for n in range(5000)]}, resources=[]))
    assert len(event.names) == events.NAMES_MAX
    with pytest.raises(Refused):
        events.aws(b'"' + b"x" * events.BODY_BYTES_MAX + b'"', {ACCOUNT: None}, NOW)
