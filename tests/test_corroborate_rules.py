"""When a call that AWS logged is the exchange that claims to be it, and what else there is: the rules, one by one."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collector import corroborate
from collector.cli.corroborate import exit_of
from collector.cli.terminal import Exit
from collector.clouds import trail
from collector.clouds.trail import Event
from collector.clouds.trail_facts import DATA_EVENTS, other_params, plain_name, region_of, source_of, user_of, wire_name
from collector.clouds.transcript import exchange_record
from collector.corroborate import Log, Row, Status, Summary
from collector.errors import Unreadable
from collector.model import Exchange

ACCOUNT = "123456789012"
PRINCIPAL = f"arn:aws:sts::{ACCOUNT}:assumed-role/evidence-collector/run"
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
LATER = START + timedelta(hours=1)
HOUR = timedelta(hours=1)


class Canned:
    """A source that a test wrote down."""

    name, keeps = "notes", None

    def __init__(self, *events: Event) -> None:
        self.events = events

    def by(self, region: str, users: Any, since: datetime, until: datetime, ids: Any) -> Iterator[Event]:
        return (e for e in self.events if e.region == region and e.user in users and since <= e.at <= until)

    def near(self, region: str, source: str, since: datetime, until: datetime) -> Iterator[Event]:
        return (e for e in self.events if e.region == region and e.source == source and since <= e.at <= until)


def exchange(**changes: Any) -> Exchange:
    made = Exchange(
        cloud="aws",
        endpoint="kms.eu-west-1.amazonaws.com",
        operation="kms:DescribeKey",
        params={"KeyId": "1234"},
        page=1,
        last=True,
        status=200,
        error="",
        failure="",
        attempts=1,
        request_id="r-1",
        date="",
        as_of="",
        host="",
        started=START,
        duration_ms=400,
        body="",
    )
    return replace(made, **changes)


def event(**changes: Any) -> Event:
    made = Event(
        id="e-1",
        at=START,
        region="eu-west-1",
        source="kms.amazonaws.com",
        name="DescribeKey",
        request_id="r-1",
        principal=PRINCIPAL,
        address="203.0.113.7",
        error="",
        params={"keyId": f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1234"},
    )
    return replace(made, **changes)


def verdict(asked: list[Exchange] | Exchange, *events: Event, principal: str = PRINCIPAL) -> list[Row]:
    """The rows for exchanges of one run against events."""
    asked = asked if isinstance(asked, list) else [asked]
    data = json.dumps([exchange_record(each) for each in asked]).encode()
    summary = Summary(ACCOUNT, "notes", START - HOUR, START + HOUR, LATER)
    logs = [Log(7, principal, START, "calls")]
    return list(corroborate.corroborate(summary, logs, lambda digest: data, Canned(*events)))


def test_a_call_that_is_the_same_matches() -> None:
    assert [row.status for row in verdict(exchange(), event())] == [Status.MATCHED]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"at": START - timedelta(seconds=301)}, "it was at 2026-01-05T11:54:59"),
        ({"at": START + timedelta(seconds=302)}, "it was at 2026-01-05T12:05:02"),
        ({"source": "ssm.amazonaws.com"}, "it was a call to ssm.amazonaws.com"),
        ({"name": "ListKeys"}, "it was ListKeys, not DescribeKey"),
        ({"error": "AccessDenied"}, "AWS refused it (AccessDenied)"),
        ({"params": {"keyId": "5678"}}, "it asked for KeyId 5678, not 1234"),
        ({"principal": f"arn:aws:sts::{ACCOUNT}:assumed-role/admin/run"}, "assumed-role/admin/run asked"),
    ],
)
def test_a_call_that_differs_contradicts(changes: dict[str, Any], words: str) -> None:
    (row,) = verdict(exchange(), event(**changes))
    assert row.status is Status.CONTRADICTED
    assert words in row.what


@pytest.mark.parametrize(
    "changes",
    [
        {"at": START - timedelta(seconds=299)},
        {"at": START + timedelta(seconds=300)},
        {"params": {}},
        {"params": {"keyId": "HIDDEN_DUE_TO_SECURITY_REASONS"}},
        {"params": {"keyId": {"set": 1}}},
        {"params": {"keyId": "arn%3Aaws%3Akms%3Aeu-west-1%3A123456789012%3Akey%2F1234"}},
        {"name": "DescribeKey20141101"},
    ],
)
def test_what_says_nothing_contradicts_nothing(changes: dict[str, Any]) -> None:
    assert [row.status for row in verdict(exchange(), event(**changes))] == [Status.MATCHED]


def test_an_answer_without_a_request_id_is_no_answer_of_aws() -> None:
    (row,) = verdict(exchange(request_id=""))
    assert row.status is Status.UNMATCHED
    (row,) = verdict(exchange(request_id="", failure="unavailable", error="ReadTimeoutError"))
    assert row.status is Status.NO_ANSWER


def test_an_event_is_spent_on_as_many_attempts_as_there_were() -> None:
    """Three attempts: one has a request id, so two others may be in the history, and a third one is nobody's."""
    retried = exchange(attempts=3, duration_ms=9_000)
    others = [event(id=f"e-{n}", request_id=f"x-{n}", at=START + timedelta(seconds=n)) for n in range(2, 5)]
    statuses = Counter(row.status for row in verdict(retried, event(), *others))
    assert statuses == {Status.MATCHED: 1, Status.ATTEMPT: 2, Status.NOT_IN_EVIDENCE: 1}


def test_an_attempt_is_of_the_same_call_at_the_same_time() -> None:
    retried = exchange(attempts=2, duration_ms=9_000)
    for changes in ({"name": "ListKeys"}, {"at": START + timedelta(seconds=60)}, {"params": {"keyId": "5678"}}):
        statuses = [row.status for row in verdict(retried, event(), event(id="e-2", request_id="x", **changes))]
        assert statuses == [Status.MATCHED, Status.NOT_IN_EVIDENCE]


@pytest.mark.parametrize("operation", sorted(DATA_EVENTS))
def test_data_events_are_looked_for_in_vain(operation: str) -> None:
    (row,) = verdict(exchange(operation=operation))
    assert row.status is Status.NOT_LOGGED


def test_other_clouds_are_left_alone() -> None:
    assert verdict(exchange(cloud="gcp")) == []


def test_calls_of_others_are_nobodys_business() -> None:
    other = event(principal=f"arn:aws:iam::{ACCOUNT}:user/ann", request_id="x")
    namesake = event(principal=f"arn:aws:sts::{ACCOUNT}:assumed-role/other/run", request_id="y")
    assert verdict([], other, namesake) == []


def test_a_call_log_that_is_not_kept_any_more_is_doubt() -> None:
    summary = Summary(ACCOUNT, "notes", START - HOUR, START + HOUR, LATER)
    logs = [Log(7, PRINCIPAL, START, "calls")]
    assert list(corroborate.corroborate(summary, logs, lambda digest: None, Canned())) == []
    assert summary.blind == {"run 7": "its call log is not kept any more"}
    assert exit_of(summary) is Exit.BLIND


def test_days_do_not_lose_what_lies_between_them() -> None:
    """A run over midnight: its exchanges lie on two days, are all found, and nothing is told twice."""
    midnight = datetime(2026, 1, 6, tzinfo=UTC)
    moments = [midnight + timedelta(seconds=10 * n) for n in range(-30, 30)]
    asked = [exchange(request_id=f"r-{n}", started=at, attempts=2) for n, at in enumerate(moments)]
    events = [event(id=f"e-{n}", request_id=f"r-{n}", at=at) for n, at in enumerate(moments)]
    events += [event(id=f"f-{n}", request_id=f"x-{n}", at=at) for n, at in enumerate(moments)]  # the first attempts
    data = json.dumps([exchange_record(each) for each in asked]).encode()
    summary = Summary(ACCOUNT, "notes", midnight - 30 * HOUR, midnight + 30 * HOUR, midnight + 40 * HOUR)
    logs = [Log(7, PRINCIPAL, moments[0], "calls")]
    shuffled = random.Random(7).sample(events, len(events))
    rows = list(corroborate.corroborate(summary, logs, lambda digest: data, Canned(*shuffled)))
    assert Counter(row.status for row in rows) == {Status.MATCHED: 60, Status.ATTEMPT: 60}


def test_runs_of_the_window_are_those_that_began_in_it() -> None:
    def run(seq: int, started: str, calls: str, account: str = f"aws/{ACCOUNT}") -> dict[str, Any]:
        return {"seq": seq, "started": started, "calls": calls, "account": account, "principal": PRINCIPAL}

    runs = [
        run(1, "2026-01-05T11:59:59Z", "early"),
        run(2, "2026-01-05T12:00:00Z", "a"),
        run(3, "2026-01-05T12:00:00Z", "a"),
        run(4, "2026-01-05T12:30:00Z", "other", "aws/999999999999"),
        run(5, "2026-01-05T13:00:00Z", "late"),
    ]
    assert [(log.run, log.calls) for log in corroborate.logs_of(runs, ACCOUNT, START, LATER)] == [(2, "a")]


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("ec2.eu-west-1.amazonaws.com", "eu-west-1"),
        ("api.ecr.ap-southeast-2.amazonaws.com", "ap-southeast-2"),
        ("s3.us-gov-east-1.amazonaws.com", "us-gov-east-1"),
        ("iam.amazonaws.com", "us-east-1"),
        ("cloudfront.amazonaws.com", "us-east-1"),
        ("iam.us-gov.amazonaws.com", "us-gov-west-1"),
        ("ec2.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"),
        ("iam.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_calls_are_logged_where_they_were_answered(endpoint: str, region: str) -> None:
    assert region_of(endpoint) == region


@pytest.mark.parametrize(
    ("service", "source"),
    [
        ("elbv2", "elasticloadbalancing"),
        ("efs", "elasticfilesystem"),
        ("s3control", "s3"),
        ("cloudwatch", "monitoring"),
    ],
)
def test_services_are_logged_under_the_name_they_sign_for(service: str, source: str) -> None:
    assert source_of(service) == f"{source}.amazonaws.com"


def test_names_and_users_are_plain() -> None:
    assert source_of("no-such-service") == ""
    assert plain_name("GetPolicy20150331v2") == "GetPolicy"
    assert plain_name("ListDistributions2014_01_31") == "ListDistributions"
    assert wire_name("s3control", "GetPublicAccessBlock") == "GetAccountPublicAccessBlock"
    assert user_of(f"arn:aws:iam::{ACCOUNT}:user/ops/ann") == "ann"
    assert user_of(f"arn:aws:iam::{ACCOUNT}:root") == "root"
    assert other_params({"Bucket": "a"}, {"bucketName": "b"}) == ["it asked for Bucket b, not a"]


def test_an_event_that_says_nothing_is_not_read_over() -> None:
    with pytest.raises(Unreadable, match="does not say what happened"):
        trail.event_of({"eventName": "ListKeys"})
    with pytest.raises(Unreadable, match="without its text"):
        trail._event_in({"EventId": "e", "CloudTrailEvent": "[redacted]"})
