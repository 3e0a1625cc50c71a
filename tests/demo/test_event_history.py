"""The simulated event history as an unmodified client sees it: pages, limits, delay, retention and refusals of AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from collector.demo.cloud import SECRET_KEY, SimulatedCloud
from collector.demo.event_history import AUDITOR_KEY

PRINCIPAL = "arn:aws:sts::123456789012:assumed-role/evidence-collector/run"
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
LATER = START + timedelta(hours=1)


@pytest.fixture
def history(simulated_cloud: SimulatedCloud) -> Iterator[Any]:
    """A client of the event history, after a hundred calls of the collector and one of somebody else."""
    simulated_cloud.clear_trail()
    simulated_cloud.set_now(START)
    for name, key in (("collector", None), ("auditor", AUDITOR_KEY)):
        more = {"aws_access_key_id": key, "aws_secret_access_key": SECRET_KEY} if key else {}
        client = boto3.client("kms", "eu-west-1", **more)
        for _ in range(100 if name == "collector" else 1):
            client.list_keys()
        client.close()
    simulated_cloud.set_now(LATER)
    client = boto3.client("cloudtrail", "eu-west-1", config=Config(retries={"total_max_attempts": 1}))
    time.sleep(1)  # whoever looked before us counts too
    yield client
    client.close()
    simulated_cloud.set_now(START)


def slowly(client: Any, **params: Any) -> list[dict[str, Any]]:
    """All pages, at the speed that is allowed."""
    found = [client.lookup_events(**params)]
    while token := found[-1].get("NextToken"):
        time.sleep(0.6)
        found.append(client.lookup_events(NextToken=token, **params))
    return found


def test_the_history_gives_pages_of_fifty_latest_first(history: Any) -> None:
    pages = slowly(history, LookupAttributes=[{"AttributeKey": "Username", "AttributeValue": "run"}])
    assert [len(page["Events"]) for page in pages] == [50, 50]
    events = [each for page in pages for each in page["Events"]]
    times = [each["EventTime"] for each in events]
    assert times == sorted(times, reverse=True)
    assert len({each["EventId"] for each in events}) == 100
    record = json.loads(events[0]["CloudTrailEvent"])
    assert record["userIdentity"]["arn"] == PRINCIPAL
    assert record["readOnly"] is True
    assert record["responseElements"] is None
    assert record["eventID"] == events[0]["EventId"]


def test_the_history_throttles_the_third_lookup_of_a_second(history: Any) -> None:
    for _ in range(2):
        history.lookup_events(MaxResults=1)
    with pytest.raises(ClientError, match="Rate exceeded"):
        history.lookup_events(MaxResults=1)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"MaxResults": 50, "StartTime": LATER, "EndTime": START}, "InvalidTimeRangeException"),
        ({"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "x"}] * 2}, "InvalidLookupAttributes"),
        ({"NextToken": "nonsense"}, "Invalid"),
    ],
)
def test_the_history_refuses_what_aws_refuses(history: Any, params: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as refused:
        history.lookup_events(**params)
    assert refused.value.response["Error"]["Code"].startswith(code)


def test_the_history_comes_late_and_ends_after_ninety_days(simulated_cloud: SimulatedCloud, history: Any) -> None:
    def count(moment: datetime) -> int:
        simulated_cloud.set_now(moment)
        time.sleep(0.6)
        who = [{"AttributeKey": "Username", "AttributeValue": "auditor"}]
        return len(history.lookup_events(LookupAttributes=who)["Events"])

    moments = [START + timedelta(minutes=n) for n in (2, 7)] + [START + timedelta(days=n) for n in (89, 91)]
    assert [count(moment) for moment in moments] == [0, 1, 1, 0]
