"""What AWS logged against what is kept: an honest run matches to the last call, each lie is found, doubt stays doubt.

Real: the collector, its ledger, and the lookups over the wire of the simulated account, whose event history has the
shape and the limits of LookupEvents. Forged: what a test's ``Tamper`` does between the cloud and the transcript.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from collector import config, corroborate, daemon
from collector.cli.corroborate import COLUMNS, exit_of
from collector.cli.terminal import Exit
from collector.clouds import trail
from collector.clouds.trail import Files, History
from collector.clouds.transcript import Answer
from collector.corroborate import Row, Status, Summary
from collector.demo.cloud import SECRET_KEY, SimulatedCloud
from collector.demo.event_history import AUDITOR_KEY
from collector.errors import Denied
from collector.ledger.entry import Kind
from collector.ledger.store import Ledger
from tests.support.lived import live

ACCOUNT = "123456789012"
PRINCIPAL = f"arn:aws:sts::{ACCOUNT}:assumed-role/evidence-collector/run"
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
LATER = START + timedelta(hours=1)
HOUR = timedelta(hours=1)
CONFIG = """
[collector]
origin = "test.local/acme"
[[aws]]
account = "123456789012"
"""
# Services that log what they are asked, that add a date to the name, that are account-wide, whose refusals are answers.
CHECKS = (
    *("aws-iam-user-mfa", "aws-s3-bucket-tls", "aws-ebs-volume-encryption", "aws-kms-key-rotation"),
    *("aws-lambda-runtime-supported", "aws-cloudfront-viewer-tls", "aws-elbv2-listener-tls"),
)
CONTROLS = """
[controls.ALL-1]
title = "Things are as they should be."
owner = "platform"
criteria = ["CC6.1"]
checks = [{checks}]
"""

Put = Callable[[str, str, str, Mapping[str, Any]], Answer]
Tamper = Callable[[Put, str, str, str, Mapping[str, Any]], Answer]


class Between:
    """Opens accounts, and lets a test stand between cloud and transcript: who can do that can write anything."""

    def __init__(self, clouds: Any, tamper: Tamper) -> None:
        self._clouds, self._tamper = clouds, tamper

    def open(self, settings: Any, transcript: Any, reference: datetime) -> Any:
        handle = self._clouds.open(settings, transcript, reference)
        real: Put = handle._put
        handle._put = lambda *asked: self._tamper(real, *asked)
        return handle


@dataclass
class Observed:
    """A ledger after one run."""

    ledger: Ledger
    now: Callable[[], datetime]

    def compare(self, source: trail.Source | None = None, at: datetime = LATER) -> tuple[Summary, list[Row]]:
        source = source or History(ACCOUNT, lambda: at)
        entries = [entry.data for entry in self.ledger.entries(kinds=[Kind.RUN, Kind.PLAN])]
        runs = [data for data in entries if data["kind"] == "run"]
        logs = corroborate.logs_of(runs, ACCOUNT, START - HOUR, START + HOUR)
        summary = Summary(ACCOUNT, source.name, START - HOUR, START + HOUR, at)
        return summary, list(corroborate.corroborate(summary, logs, self.ledger.blob, source))


@pytest.fixture
def cloud(simulated_cloud: SimulatedCloud) -> Iterator[SimulatedCloud]:
    simulated_cloud.clear_trail()
    simulated_cloud.clear_calls()
    yield simulated_cloud
    simulated_cloud.clear_faults()
    simulated_cloud.set("trail_delivery_s", 300)
    simulated_cloud.set_now(START)


def settings_in(folder: Path, more: str = "") -> config.Settings:
    (folder / "collector.toml").write_text(CONFIG + more)
    (folder / "controls.toml").write_text(CONTROLS.format(checks=", ".join(f'"{id}"' for id in CHECKS)))
    return config.load(folder / "collector.toml", {})


@pytest.fixture
def observe(cloud: SimulatedCloud, tmp_path: Path) -> Iterator[Callable[..., Observed]]:
    """Lets the collector look once, at START, with somebody in between; then it is an hour later."""
    ledgers: list[Ledger] = []

    def once(tamper: Tamper | None = None, runs: int = 1) -> Observed:
        begun = time.monotonic()
        cloud.set_now(START)

        def clock() -> datetime:
            return START + timedelta(seconds=time.monotonic() - begun)

        settings = settings_in(tmp_path)
        clouds = daemon.directory(settings, clock)
        with daemon.opened(settings, clock=clock, clouds=Between(clouds, tamper) if tamper else clouds) as operation:
            operation.announce()
            for _ in range(runs):
                operation.observe(operation.accounts[0], None)
        ledgers.append(daemon.open_ledger(settings))
        cloud.set_now(LATER)
        return Observed(ledgers[-1], clock)

    yield once
    for ledger in ledgers:
        ledger.close()


def only(summary: Summary, **counts: int) -> None:
    """These statuses and no others, beside what matched."""
    found = {status.value: count for status, count in summary.counts.items() if count and status is not Status.MATCHED}
    assert found == {name.replace("_", "-"): count for name, count in counts.items()}
    assert summary.counts[Status.MATCHED] > 20


def of(rows: list[Row], status: Status) -> list[Row]:
    return [row for row in rows if row.status is status]


# --- honest ---


def test_an_honest_run_matches_to_the_last_call(cloud: SimulatedCloud, observe: Callable[..., Observed]) -> None:
    observed = observe(runs=2)
    summary, rows = observed.compare()
    only(summary)
    assert exit_of(summary) is Exit.FINE
    assert summary.exchanges == len(rows) == summary.counts[Status.MATCHED]
    assert summary.principals == (PRINCIPAL,)
    assert summary.regions == ("eu-west-1", "us-east-1")
    asked = [call for call in cloud.calls() if call["operation"] != "LookupEvents"]
    assert len(rows) == len(asked)
    assert {row.event.request_id for row in rows if row.event} == {
        row.asked.exchange.request_id for row in rows if row.asked
    }
    assert all(row.seconds is not None and abs(row.seconds) <= 2 for row in rows)
    assert {row.event.address for row in rows if row.event} == {"203.0.113.7"}


def test_names_that_carry_a_date_and_refusals_that_are_answers_match(observe: Callable[..., Observed]) -> None:
    _, rows = observe().compare()
    names = {row.event.name for row in rows if row.event}
    assert {"ListFunctions20150331", "ListDistributions2020_05_31"} <= names
    assert "NoSuchBucketPolicy" in {row.event.error for row in rows if row.event}


def test_lookups_are_paged_and_never_too_fast(cloud: SimulatedCloud, observe: Callable[..., Observed]) -> None:
    """Two a second in each region, or AWS throttles: the simulated account does."""
    observed = observe(runs=3)
    time.sleep(1)  # whoever looked before us counts too
    cloud.clear_calls()
    observed.compare()
    lookups = [call for call in cloud.calls() if call["operation"] == "LookupEvents"]
    assert {call["status"] for call in lookups} == {200}
    assert {call["region"] for call in lookups} == {"eu-west-1", "us-east-1"}
    busy = [call for call in lookups if call["region"] == "us-east-1"]
    assert len(busy) > 2
    assert [call["token"] is None for call in busy] == [True] + [False] * (len(busy) - 1)
    moments = [datetime.fromisoformat(call["at"]) for call in busy]
    assert all(b - a >= timedelta(seconds=0.45) for a, b in itertools.pairwise(moments))
    assert all(json.loads(call["params"])["MaxResults"] == 50 for call in lookups)


def test_attempts_that_were_throttled_are_known_for_what_they_are(
    cloud: SimulatedCloud, observe: Callable[..., Observed]
) -> None:
    cloud.fault("throttle", service="kms", operation="ListKeys", region="us-east-1", times=2)
    summary, rows = observe().compare()
    only(summary, attempt=2)
    assert exit_of(summary) is Exit.FINE
    assert {row.event.error for row in of(rows, Status.ATTEMPT) if row.event} == {"ThrottlingException"}


def test_a_call_without_an_answer_is_no_alarm(cloud: SimulatedCloud, observe: Callable[..., Observed]) -> None:
    cloud.fault("reset", service="kms", operation="ListKeys", region="eu-west-1")
    summary, rows = observe().compare()
    only(summary, no_answer=1)
    assert exit_of(summary) is Exit.FINE
    (row,) = of(rows, Status.NO_ANSWER)
    assert row.asked is not None
    assert row.asked.exchange.operation == "kms:ListKeys"


def test_a_sender_who_was_not_established_is_not_logged(
    cloud: SimulatedCloud, observe: Callable[..., Observed]
) -> None:
    cloud.fault("expired", service="kms", operation="ListKeys", region="eu-west-1")
    summary, rows = observe().compare()
    only(summary, not_logged=1)
    assert "ExpiredToken" in of(rows, Status.NOT_LOGGED)[0].what
    assert exit_of(summary) is Exit.FINE


def test_a_refusal_is_logged_and_matches(cloud: SimulatedCloud, observe: Callable[..., Observed]) -> None:
    cloud.fault("denied", service="ec2", operation="DescribeVolumes")
    summary, rows = observe().compare()
    only(summary)
    errors = {row.event.error for row in rows if row.event and row.event.name == "DescribeVolumes"}
    assert errors == {"Client.UnauthorizedOperation"}


# --- lies ---


def instead(service: str, operation: str, make: Callable[[Answer], Answer], *, ask: bool = True) -> Tamper:
    """Another answer to one operation; ``ask`` False: without asking the cloud at all."""
    nothing = Answer({}, START, 3, request_id="5b3c1a2e-0000-4000-8000-000000000000")

    def tamper(put: Put, *asked: Any) -> Answer:
        if asked[:2] != (service, operation):
            return put(*asked)
        return make(put(*asked) if ask else nothing)

    return tamper


def test_a_made_up_answer_is_unmatched(observe: Callable[..., Observed]) -> None:
    """The cloud was never asked; everything else about the exchange is as it should be."""
    forged = instead("kms", "list_keys", lambda answer: replace(answer, body={"Keys": []}, started=START), ask=False)
    summary, rows = observe(forged).compare()
    only(summary, unmatched=2)
    assert exit_of(summary) is Exit.BROKEN
    assert {row.asked.exchange.operation for row in of(rows, Status.UNMATCHED) if row.asked} == {"kms:ListKeys"}


def test_a_request_id_that_was_borrowed_from_another_call_is_found(observe: Callable[..., Observed]) -> None:
    ids: dict[str, str] = {}

    def borrow(put: Put, service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
        if operation == "get_caller_identity":
            answer = put(service, operation, region, params)
            ids["taken"] = answer.request_id
            return answer
        if operation == "list_keys" and region == "us-east-1":
            return Answer({"Keys": []}, START, 3, request_id=ids["taken"])
        return put(service, operation, region, params)

    summary, rows = observe(borrow).compare()
    assert exit_of(summary) is Exit.BROKEN
    contradicted = {row.asked.exchange.operation: row.what for row in of(rows, Status.CONTRADICTED) if row.asked}
    assert contradicted.keys() == {"kms:ListKeys", "sts:GetCallerIdentity"}
    assert "it was a call to sts.amazonaws.com, not to kms.amazonaws.com" in contradicted["kms:ListKeys"]
    assert "more than one exchange claims this request id" in contradicted["sts:GetCallerIdentity"]


def test_an_answer_where_aws_refused_is_found(cloud: SimulatedCloud, observe: Callable[..., Observed]) -> None:
    cloud.fault("denied", service="kms", operation="ListKeys", region="us-east-1")

    def pretend(answer: Answer) -> Answer:
        return replace(answer, body={"Keys": []}, status=200, error="", failure="") if answer.failure else answer

    summary, rows = observe(instead("kms", "list_keys", pretend)).compare()
    only(summary, contradicted=1)
    assert "AWS refused it (AccessDeniedException)" in of(rows, Status.CONTRADICTED)[0].what


def test_an_answer_about_another_subject_is_found(observe: Callable[..., Observed]) -> None:
    """The policy of the bucket that has a good one, kept as the answer about every bucket."""
    good: list[Answer] = []

    def swap(put: Put, service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
        answer = put(service, operation, region, params)
        if operation != "get_bucket_policy" or answer.error:
            return answer
        good.append(answer)
        return good[0]

    _, rows = observe(swap).compare()
    found = of(rows, Status.CONTRADICTED)
    assert len(found) > 1
    assert any("it asked for Bucket" in row.what for row in found)


def test_a_call_of_somebody_else_does_not_pass_for_ours(observe: Callable[..., Observed]) -> None:
    client = boto3.client("kms", "us-east-1", aws_access_key_id=AUDITOR_KEY, aws_secret_access_key=SECRET_KEY)

    def others(put: Put, service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
        if operation != "list_keys" or region != "us-east-1":
            return put(service, operation, region, params)
        id = client.list_keys()["ResponseMetadata"]["RequestId"]
        return Answer({"Keys": []}, START, 3, request_id=id)

    summary, rows = observe(others).compare()
    client.close()
    only(summary, contradicted=1)
    (row,) = of(rows, Status.CONTRADICTED)
    assert f"arn:aws:iam::{ACCOUNT}:user/auditor asked, not {PRINCIPAL}" in row.what


def test_what_was_asked_and_not_kept_is_counted(observe: Callable[..., Observed]) -> None:
    """The collector asked until it liked the answer: two calls, one kept."""

    def again(put: Put, *asked: Any) -> Answer:
        if asked[1] == "describe_volumes":
            put(*asked)
        return put(*asked)

    summary, rows = observe(again).compare()
    assert exit_of(summary) is Exit.DEVIATIONS
    pages = Counter(row.asked.exchange.operation for row in of(rows, Status.MATCHED) if row.asked)[
        "ec2:DescribeVolumes"
    ]
    assert summary.uncalled == {"ec2:DescribeVolumes": pages}
    assert summary.record()["not_in_evidence"] == {"ec2:DescribeVolumes": pages}
    only(summary, not_in_evidence=pages)


def test_a_whole_run_that_was_thrown_away_is_counted(cloud: SimulatedCloud, observe: Callable[..., Observed]) -> None:
    observed = observe()
    kept = observed.compare()[0].exchanges
    cloud.set_now(START + timedelta(minutes=10))
    client = boto3.client("iam")
    for _ in range(3):
        client.list_users()
    client.close()
    cloud.set_now(LATER)
    summary, _ = observed.compare()
    only(summary, not_in_evidence=3)
    assert summary.uncalled == {"iam:ListUsers": 3}
    assert summary.exchanges == kept


# --- doubt ---


def test_events_that_may_be_on_their_way_are_no_alarm(cloud: SimulatedCloud, observe: Callable[..., Observed]) -> None:
    observed = observe()
    cloud.set_now(START + timedelta(minutes=2))
    summary, _ = observed.compare(at=START + timedelta(minutes=2))
    assert set(summary.counts) == {Status.TOO_RECENT}
    assert exit_of(summary) is Exit.BLIND


def test_after_ninety_days_nobody_can_say(cloud: SimulatedCloud, observe: Callable[..., Observed]) -> None:
    observed = observe()
    late = START + timedelta(days=91)
    cloud.set_now(late)
    cloud.clear_calls()
    summary, _ = observed.compare(at=late)
    assert set(summary.counts) == {Status.OUT_OF_RETENTION}
    assert exit_of(summary) is Exit.BLIND
    assert "begins 2026-01-06" in summary.blind["2026-01-05"]
    assert not [call for call in cloud.calls() if call["operation"] == "LookupEvents"]


@pytest.mark.parametrize("kind", ["denied", "500", "truncate"])
def test_a_history_that_cannot_be_asked_leaves_everything_undetermined(
    cloud: SimulatedCloud, observe: Callable[..., Observed], kind: str
) -> None:
    observed = observe()
    cloud.fault(kind, service="cloudtrail", operation="LookupEvents", region="us-east-1")
    # Short waits, not none: without its pace it is throttled, and then no region can be asked.
    history = History(ACCOUNT, lambda: LATER, sleep=lambda seconds: time.sleep(min(seconds, 0.6)))
    summary, rows = observed.compare(history)
    assert {status for status, count in summary.counts.items() if count} == {Status.MATCHED, Status.UNDETERMINED}
    assert {row.asked.region for row in of(rows, Status.UNDETERMINED) if row.asked} == {"us-east-1"}
    assert {row.asked.region for row in of(rows, Status.MATCHED) if row.asked} == {"eu-west-1"}
    assert exit_of(summary) is Exit.BLIND
    assert list(summary.blind) == ["us-east-1 2026-01-05"]


def test_a_page_that_fails_half_way_does_not_pass_for_all(
    cloud: SimulatedCloud, observe: Callable[..., Observed]
) -> None:
    observed = observe(runs=2)
    cloud.fault("denied", service="cloudtrail", operation="LookupEvents", region="us-east-1", params="NextToken")
    summary, _ = observed.compare()
    assert summary.counts[Status.UNDETERMINED] > 10
    assert summary.counts[Status.UNMATCHED] == 0
    assert exit_of(summary) is Exit.BLIND


def test_credentials_of_another_account_are_refused(cloud: SimulatedCloud) -> None:
    with pytest.raises(Denied, match="not 999999999999"):
        History("999999999999", lambda: LATER).check()
    assert History(ACCOUNT, lambda: LATER).check() == PRINCIPAL


# --- a trail's files ---


def keep_files(cloud: SimulatedCloud, bucket: str, prefix: str = "AWSLogs", spoil: bool = False) -> None:
    """Writes what CloudTrail logged as it delivers it, in files of twenty events."""
    client = cloud.client("s3")
    client.create_bucket(Bucket=bucket)
    for region in cloud.regions:
        records = cloud.trail_records(region)
        for start in range(0, len(records), 20):
            name = f"{ACCOUNT}_CloudTrail_{region}_20260105T1205Z_{start:04d}.json.gz"
            body = gzip.compress(json.dumps({"Records": records[start : start + 20]}).encode())
            key = f"{prefix}/{ACCOUNT}/CloudTrail/{region}/2026/01/05/{name}"
            client.put_object(Bucket=bucket, Key=key, Body=body[:-9] if spoil else body)


def files(bucket: str, at: datetime = LATER, prefix: str = "AWSLogs") -> Files:
    return Files(bucket, ACCOUNT, lambda: at, prefix=prefix)


@pytest.fixture
def bucket(cloud: SimulatedCloud) -> Iterator[str]:
    """The name of a bucket that is gone after the test, as other tests count buckets."""
    name = f"trail-{time.monotonic_ns()}"
    yield name
    client = cloud.client("s3")
    for item in client.list_objects_v2(Bucket=name).get("Contents", []):
        client.delete_object(Bucket=name, Key=item["Key"])
    client.delete_bucket(Bucket=name)


@pytest.mark.parametrize("prefix", ["AWSLogs", "logs/AWSLogs/o-abc123"])
def test_the_files_of_a_trail_say_the_same(
    cloud: SimulatedCloud, observe: Callable[..., Observed], bucket: str, prefix: str
) -> None:
    observed = observe()
    keep_files(cloud, bucket, prefix)
    summary, rows = observed.compare(files(bucket, prefix=prefix))
    only(summary)
    assert exit_of(summary) is Exit.FINE
    assert len(rows) == observed.compare()[0].exchanges


def test_the_files_of_a_trail_reach_further_back_than_the_history(
    cloud: SimulatedCloud, observe: Callable[..., Observed], bucket: str
) -> None:
    observed = observe()
    keep_files(cloud, bucket)
    late = START + timedelta(days=200)
    cloud.set_now(late)
    only(observed.compare(files(bucket, late), at=late)[0])


def test_files_that_are_missing_leave_alarms_and_damaged_ones_doubt(
    cloud: SimulatedCloud, observe: Callable[..., Observed], bucket: str
) -> None:
    observed = observe()
    keep_files(cloud, bucket, spoil=True)
    summary, _ = observed.compare(files(bucket))
    assert set(summary.counts) == {Status.UNDETERMINED}
    assert "is no log file of CloudTrail" in summary.blind["us-east-1 2026-01-05"]
    summary, _ = observed.compare(files(bucket, prefix="AWSLogs/elsewhere"))
    assert set(summary.counts) == {Status.UNMATCHED}


def test_somebody_elses_call_is_found_in_the_files_too(
    cloud: SimulatedCloud, observe: Callable[..., Observed], bucket: str
) -> None:
    client = boto3.client("kms", "us-east-1", aws_access_key_id=AUDITOR_KEY, aws_secret_access_key=SECRET_KEY)

    def others(put: Put, service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
        if operation != "list_keys" or region != "us-east-1":
            return put(service, operation, region, params)
        return Answer({"Keys": []}, START, 3, request_id=client.list_keys()["ResponseMetadata"]["RequestId"])

    observed = observe(others)
    client.close()
    keep_files(cloud, bucket)
    only(observed.compare(files(bucket))[0], contradicted=1)


# --- the command ---


@pytest.fixture
def today(cloud: SimulatedCloud, tmp_path: Path) -> Path:
    """A run at this very moment, since the command has no other clock, with events that come at once."""
    now = datetime.now(UTC)
    cloud.set_now(now)
    cloud.set("trail_delivery_s", 0)
    window = f"""
[windows.now]
start = {(now - timedelta(days=1)).isoformat()}
end = {(now + timedelta(hours=1)).isoformat()}
criteria = ["CC6.1"]
"""
    settings = settings_in(tmp_path, window)
    with daemon.opened(settings) as operation:
        operation.announce()
        operation.plan(operation.accounts[0])
        operation.observe(operation.accounts[0], None)
        operation.checkpoint()
    return tmp_path


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "collector", "corroborate", *arguments]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, timeout=120
    )


def test_the_command_compares_and_reports(today: Path) -> None:
    time.sleep(1)  # calls of the second in which it begins may be its own
    found = run("--window", "now", "--json", "--out", "calls.csv", cwd=today)
    assert found.returncode == 0, found.stdout + found.stderr
    said = json.loads(found.stdout)
    assert said["counts"]["matched"] == said["exchanges"] > 20
    with (today / "calls.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == said["exchanges"]
    assert all(row["event_id"] and row["event_principal"] == PRINCIPAL == row["principal"] for row in rows)
    again = run("--window", "now", "--out", "calls.csv", cwd=today)
    assert again.returncode == 2
    assert "already there" in again.stderr


def test_calls_beside_the_runs_are_listed(today: Path) -> None:
    client = boto3.client("iam")
    client.list_users()
    client.close()
    time.sleep(1)
    found = run("--window", "now", "--out", "calls.json", cwd=today)
    assert found.returncode == 1, found.stdout + found.stderr
    assert "not in evidence: 1 x iam:ListUsers" in found.stdout
    written = json.loads((today / "calls.json").read_text())
    assert written["summary"]["not_in_evidence"] == {"iam:ListUsers": 1}
    assert len(written["rows"]) == sum(written["summary"]["counts"].values())


def test_the_command_says_what_it_needs(tmp_path: Path) -> None:
    settings_in(tmp_path)
    for arguments, words in (
        ((), "--window NAME, or --package PATH"),
        (("--window", "now"), "no window 'now'"),
        (("--window", "now", "--out", "calls.txt"), "ends in .csv or .json"),
        (("--package", "nothing"), "cannot be read"),
    ):
        found = run(*arguments, cwd=tmp_path)
        assert found.returncode == 2, found.stderr
        assert words in found.stderr
        assert "Traceback" not in found.stderr


@pytest.mark.parametrize("name", ["package", "package.zip"])
def test_a_package_is_as_good_as_the_ledger(cloud: SimulatedCloud, tmp_path: Path, name: str) -> None:
    """An auditor has a package and credentials, and neither our configuration nor our database."""
    lived = live(tmp_path / "lived")
    lived.ledger.checkpoint(lived.now)
    lived.export(tmp_path / name)
    lived.ledger.close()
    cloud.set_now(datetime.now(UTC))
    found = run("--package", name, "--json", cwd=tmp_path)
    said = json.loads(found.stdout)
    assert said["account"] == ACCOUNT
    assert said["exchanges"] > 10
    assert said["regions"] == ["eu-west-1", "us-east-1"]
    assert said["counts"]["matched"] == 0  # its answers were canned, and it is long ago
    assert said["counts"]["out-of-retention"] + said["counts"]["no-answer"] == said["exchanges"]
    assert found.returncode == 3
