"""From a change in the simulated account over EventBridge and SQS to an alert, and on to a package that verifies."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import config, daemon
from collector.clouds.feed_aws import SqsQueue
from collector.demo.cloud import SimulatedCloud
from collector.errors import ConfigError, Denied, Throttled, Unavailable
from collector.export import package, read
from collector.feed.pump import Pump
from collector.feeding import Feeding
from collector.ledger import verify
from collector.ledger.entry import Kind
from collector.operation import Operation

CHECK = "aws-s3-bucket-tls"


@pytest.fixture(scope="module")
def queue(simulated_cloud: SimulatedCloud) -> Iterator[str]:
    simulated_cloud.set_now(datetime.now(UTC))
    client = simulated_cloud.client("sqs")
    url: str = client.create_queue(QueueName="changes")["QueueUrl"]
    simulated_cloud.feed(url)
    yield url
    simulated_cloud.feed("")
    client.delete_queue(QueueUrl=url)


@pytest.fixture(scope="module")
def operation(
    simulated_cloud: SimulatedCloud, queue: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operation]:
    folder = tmp_path_factory.mktemp("feed")
    today = datetime.now(UTC).date()
    (folder / "controls.toml").write_text(
        f'[controls.TLS]\ntitle = "Buckets."\nowner = "o"\ncriteria = ["CC6.7"]\nchecks = ["{CHECK}"]\n'
    )
    (folder / "collector.toml").write_text(
        f'[collector]\norigin = "test.local/feed"\n[[aws]]\naccount = "{simulated_cloud.account}"\n'
        f'[feed.aws.main]\nqueue_url = "{queue}"\nregion = "us-east-1"\n'
        f'[windows.now]\nstart = {today}\nend = {today + timedelta(days=2)}\ncriteria = ["CC6.7"]\n'
    )
    settings = config.load(folder / "collector.toml", os.environ)
    with daemon.opened(settings) as opened:
        opened.announce()
        opened.plan(opened.accounts[0])
        opened.observe(opened.accounts[0], None)
        yield opened


def settle(pump: Pump, operation: Operation, spots: int) -> list[dict[str, Any]]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        pump.step()
        found = [entry.data for entry in operation.ledger.entries(kinds=[Kind.SPOT])]
        if len(found) == spots:
            return found
    raise AssertionError("nobody looked again")


def test_a_bucket_that_loses_its_policy_is_alerted_and_the_package_of_the_window_verifies(
    simulated_cloud: SimulatedCloud, operation: Operation, queue: str, tmp_path: Path
) -> None:
    counts: list[tuple[str, str]] = []
    (pump,) = Feeding(operation, lambda cloud, outcome: counts.append((cloud, outcome))).pumps
    scope = f"aws/{simulated_cloud.account}"
    standing = operation.ledger.projection.open_states(CHECK, scope)
    arn = next(name for name, s in sorted(standing.items()) if s.state.value == "satisfied")
    bucket = arn.rpartition(":")[2]
    s3, sqs = simulated_cloud.client("s3"), simulated_cloud.client("sqs")
    kept = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    sqs.send_message(QueueUrl=queue, MessageBody="{")
    sqs.send_message(
        QueueUrl=queue, MessageBody=json.dumps({"detail-type": "AWS API Call via CloudTrail", "detail": {}})
    )
    begun = time.monotonic()
    s3.delete_bucket_policy(Bucket=bucket)
    (entry,) = settle(pump, operation, 1)
    assert time.monotonic() - begun < 30
    calls = json.loads(operation.ledger.blob(entry["calls"]))
    assert [call["operation"] for call in calls] == ["sts:GetCallerIdentity", "s3:ListBuckets", "s3:GetBucketPolicy"]
    assert (entry["subjects"], entry["states"]["not-satisfied"]) == ([arn], 1)
    s3.put_bucket_policy(Bucket=bucket, Policy=kept)
    settle(pump, operation, 2)
    alerts = [(a.data["event"], a.data["subject"]) for a in operation.ledger.entries(kinds=[Kind.ALERT])]
    assert alerts[-2:] == [("trigger", arn), ("resolve", arn)]
    assert counts[:2] == [("aws", "malformed"), ("aws", "foreign")]
    held = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (held["ApproximateNumberOfMessages"], held["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")

    operation.checkpoint()
    dossier = read.read(operation.ledger, operation.settings, "now", operation.clock() + timedelta(hours=12))
    package.write(dossier, operation.ledger, daemon.signer_of(operation.settings), tmp_path / "package")
    found = verify.prove(tmp_path / "package", None, False, False)
    assert any("2 looks at single subjects between the slots" in line for line in found["proved"]), found["proved"]
    assert any("3 of 3 runs and looks between the slots give the same verdicts" in line for line in found["proved"])


@pytest.mark.parametrize(
    ("fault", "error"), [("denied", Denied), ("throttle", Throttled), ("500", Unavailable), ("reset", Unavailable)]
)
def test_a_queue_that_does_not_answer_says_why(
    simulated_cloud: SimulatedCloud, queue: str, fault: str, error: type[Exception]
) -> None:
    taken = SqsQueue(queue, "us-east-1")
    simulated_cloud.fault(fault, service="sqs")
    try:
        with pytest.raises(error, match="changes"):
            taken.receive(1)
    finally:
        simulated_cloud.clear_faults()
    with pytest.raises(ConfigError, match="no such queue"):
        SqsQueue(queue + "-gone", "us-east-1").receive(1)
