"""PagerDuty's Events API v2: events are what its schema and reference ask for, and its answers mean what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, FormatChecker

from collector.alert.message import DeliveryFailed
from collector.alert.pagerduty import EVENT_BYTES_MAX, PagerDuty
from tests.support import receivers
from tests.support.receivers import Answer, Receiver

KEY = "0123456789abcdefABCDEF0123456789"
SCHEMA = json.loads((Path(__file__).parents[1] / "schemas/alerts/pagerduty-events-v2.json").read_text())
SUCCESS = {"status": "success", "message": "Event processed", "dedup_key": receivers.alert()["key"]}


def validator(name: str) -> Draft7Validator:
    return Draft7Validator({**SCHEMA, "$ref": f"#/definitions/{name}"}, format_checker=FormatChecker())


class Incidents:
    """What PagerDuty makes of events: one incident for each key, as its reference describes the three actions."""

    def __init__(self) -> None:
        self.states: dict[str, list[str]] = {}

    def take(self, event: dict[str, Any]) -> None:
        validator("Enqueue").validate(event)
        states = self.states.setdefault(event["dedup_key"], [])
        open_now = bool(states) and states[-1] != "resolved"
        if event["event_action"] == "trigger" and not open_now:
            states.append("triggered")
        elif event["event_action"] == "acknowledge" and open_now:
            states.append("acknowledged")
        elif event["event_action"] == "resolve" and open_now:
            states.append("resolved")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(Answer(202, json.dumps(SUCCESS).encode()))
    yield found
    found.close()


@pytest.fixture
def pager(receiver: Receiver) -> PagerDuty:
    return PagerDuty(KEY, url=receiver.url, timeout=5)


def sent(pager: PagerDuty, receiver: Receiver, alert: dict[str, Any]) -> dict[str, Any]:
    receiver.answers = [Answer(202, json.dumps({**SUCCESS, "dedup_key": alert["key"]}).encode())]
    assert pager.send(alert) == "HTTP 202: success"
    event: dict[str, Any] = receiver.received[-1].data
    return event


@pytest.mark.parametrize(
    "alert", [*receivers.every(), *receivers.hostile()], ids=lambda a: f"{a['cause']}-{a['event']}"
)
def test_each_event_is_as_published_and_within_the_limits(pager: PagerDuty, receiver: Receiver, alert: dict) -> None:
    if alert["event"] == "digest":
        pytest.skip("PagerDuty takes none")
    event = sent(pager, receiver, alert)
    validator("Enqueue").validate(event)
    assert event["routing_key"] == KEY
    assert event["dedup_key"] == alert["key"]
    assert len(event["dedup_key"]) <= 255
    assert len(receiver.received[-1].body) <= EVENT_BYTES_MAX
    if event["event_action"] == "trigger":
        assert 0 < len(event["payload"]["summary"]) <= 1_024
        assert event["payload"]["source"]
        assert "\n" not in event["payload"]["summary"]
    else:
        assert "payload" not in event


def test_one_incident_from_trigger_to_resolve_whatever_is_repeated(pager: PagerDuty, receiver: Receiver) -> None:
    incidents = Incidents()
    for name in ("trigger", "trigger", "escalate", "acknowledge", "update", "resolve", "resolve"):
        incidents.take(sent(pager, receiver, receivers.alert(event=name)))
    assert incidents.states == {receivers.alert()["key"]: ["triggered", "acknowledged", "resolved"]}


def test_what_the_engineer_reads(pager: PagerDuty, receiver: Receiver) -> None:
    event = sent(pager, receiver, receivers.grouped())
    payload = event["payload"]
    assert payload["summary"].startswith("Failed: MFA-2: aws/123456789012 has a console password")
    assert payload["timestamp"] == receivers.AT
    assert (payload["component"], payload["group"], payload["class"]) == ("aws-iam-user-mfa", "mfa", "failed")
    assert payload["source"] == "aws/123456789012"
    details = payload["custom_details"]
    assert details["Remedy"] == "enrol a device."
    assert details["Changed"] == "mfa: true -> false (400 subjects)"
    assert details["First bad"] == "entry 131 of the ledger"
    assert event["links"] == [{"href": "https://evidence.example.com/alerts/7?a=1&b=2", "text": "The alert"}]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("critical", "critical"), ("high", "error"), ("medium", "warning"), ("low", "info"), ("x", "error")],
)
def test_severities(pager: PagerDuty, receiver: Receiver, ours: str, theirs: str) -> None:
    assert sent(pager, receiver, receivers.alert(severity=ours))["payload"]["severity"] == theirs


def test_an_event_that_is_too_large_is_cut_and_says_where_the_rest_is(pager: PagerDuty, receiver: Receiver) -> None:
    """Labels are ours, so only their number could do it; it is tried anyway."""
    from collector.alert import pagerduty

    many = [(f"Label {number}", "\U0001f4a3" * 9_000) for number in range(3_000)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pagerduty, "rows", lambda alert: many)
        event = sent(pager, receiver, receivers.alert())
        assert event["payload"]["custom_details"]["More"] == "entry 7 of the ledger"
        patch.setattr(pagerduty, "rows", lambda alert: many[:40])
        event = sent(pager, receiver, receivers.alert())
        assert {len(value) for value in event["payload"]["custom_details"].values()} == {1_000}
    assert all(len(request.body) <= EVENT_BYTES_MAX for request in receiver.received)


@pytest.mark.parametrize(
    ("status", "body", "retry", "detail"),
    [
        (400, {"status": "invalid event", "message": "Event object is invalid", "errors": ["x"]}, False, "HTTP 400"),
        (
            400,
            {"status": "invalid event", "message": "m", "errors": ["Length of 'routing_key' is incorrect"]},
            True,
            "HTTP 400: PagerDuty does not know the routing key",
        ),
        (429, {"status": "throttle exceeded", "message": "m"}, True, "HTTP 429"),
        (500, {"status": "error", "message": "m"}, True, "HTTP 500"),
        (202, {**SUCCESS, "dedup_key": "another"}, True, "HTTP 202, but not as PagerDuty answers"),
        (202, {"status": "invalid event"}, True, "HTTP 202, but not as PagerDuty answers"),
        (202, ["success"], True, "HTTP 202, but not as PagerDuty answers"),
        (200, SUCCESS, True, "HTTP 200"),
        (413, {}, False, "HTTP 413"),
    ],
)
def test_answers_mean_what_the_reference_says(
    pager: PagerDuty, receiver: Receiver, status: int, body: object, retry: bool, detail: str
) -> None:
    if status in (400, 500) and isinstance(body, dict):
        validator("Error").validate(body)
    receiver.answers = [Answer(status, json.dumps(body).encode())]
    with pytest.raises(DeliveryFailed) as caught:
        pager.send(receivers.alert())
    assert (caught.value.detail, caught.value.retry) == (detail, retry)
    assert KEY not in repr(caught.value)


def test_a_digest_opens_no_incident(pager: PagerDuty, receiver: Receiver) -> None:
    with pytest.raises(DeliveryFailed, match="takes no digest") as caught:
        pager.send(receivers.digest())
    assert not caught.value.retry
    assert not receiver.received
