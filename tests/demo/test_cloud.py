"""The simulated account as an unmodified boto3 sees it: pages, faults, clock, log, and no answer that is made up."""

from __future__ import annotations

import base64
import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ProxyConnectionError
from botocore.parsers import ResponseParserError

from collector.demo.cloud import CloudError, SimulatedCloud
from collector.demo.estate import PLANTED_SECRETS

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ONCE = Config(retries={"total_max_attempts": 1}, read_timeout=20)

Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def clean(simulated_cloud: SimulatedCloud) -> Iterator[None]:
    simulated_cloud.set_now(NOW)
    simulated_cloud.clear_calls()
    yield
    simulated_cloud.clear_faults()
    simulated_cloud.set("page_size", 0)


@pytest.fixture
def ask(simulated_cloud: SimulatedCloud) -> Iterator[Ask]:
    """A client made from the environment alone."""
    made = []

    def client(service: str, region: str = "us-east-1") -> Any:
        made.append(boto3.client(service, region_name=region, config=ONCE))
        return made[-1]

    yield client
    for each in made:
        each.close()


def pages(client: Any, operation: str, **params: Any) -> list[dict[str, Any]]:
    return list(client.get_paginator(operation).paginate(**params))


# --- pages ---

PAGED = [
    ("iam", "list_users", "Users", {}),
    ("iam", "get_account_authorization_details", "UserDetailList", {"Filter": ["User"]}),
    ("ec2", "describe_volumes", "Volumes", {"IncludeManagedResources": True}),
    ("ec2", "describe_instances", "Reservations", {}),
    ("s3", "list_buckets", "Buckets", {"PaginationConfig": {"PageSize": 1000}}),
    ("kms", "list_keys", "Keys", {}),
    ("rds", "describe_db_instances", "DBInstances", {}),
    ("elbv2", "describe_load_balancers", "LoadBalancers", {}),
    ("elb", "describe_load_balancers", "LoadBalancerDescriptions", {}),
    ("acm", "list_certificates", "CertificateSummaryList", {}),
    ("lambda", "list_functions", "Functions", {}),
    ("logs", "describe_log_groups", "logGroups", {}),
    ("ssm", "describe_instance_information", "InstanceInformationList", {}),
    ("ecr", "describe_repositories", "repositories", {}),
    ("eks", "list_clusters", "clusters", {}),
    ("eks", "describe_cluster_versions", "clusterVersions", {}),
    ("inspector2", "list_coverage", "coveredResources", {}),
]


@pytest.mark.parametrize(("service", "operation", "key", "params"), PAGED, ids=lambda value: str(value)[:24])
def test_pages_add_up_to_the_whole(
    simulated_cloud: SimulatedCloud, ask: Ask, service: str, operation: str, key: str, params: dict[str, Any]
) -> None:
    client = ask(service)
    (whole,) = pages(client, operation, **params)
    simulated_cloud.set("page_size", 2)
    parts = pages(client, operation, **params)
    assert len(parts) == -(-len(whole[key]) // 2) > 1
    assert [lasting(item) for part in parts for item in part[key]] == [lasting(item) for item in whole[key]]
    assert sum(call["token"] is not None for call in simulated_cloud.calls()) == len(parts) - 1


def lasting(item: Any) -> Any:
    """An item without what moves with the clock."""
    moving = ("LatestRestorableTime", "LastPingDateTime", "lastScannedAt")
    return {key: value for key, value in item.items() if key not in moving} if isinstance(item, dict) else item


def test_distributions_are_counted_by_page(simulated_cloud: SimulatedCloud, ask: Ask) -> None:
    simulated_cloud.set("page_size", 2)
    parts = pages(ask("cloudfront"), "list_distributions")
    assert [part["DistributionList"]["Quantity"] for part in parts] == [2, 1]
    assert [part["DistributionList"]["IsTruncated"] for part in parts] == [True, False]


def test_a_request_may_ask_for_small_pages_and_an_unknown_token_is_refused(ask: Ask) -> None:
    client = ask("iam")
    first = client.list_users(MaxItems=3)
    assert len(first["Users"]) == 3
    assert first["IsTruncated"]
    with pytest.raises(ClientError, match="token"):
        client.list_users(Marker="nonsense")


# --- faults ---

CODES = {
    ("throttle", "iam"): "Throttling",
    ("throttle", "s3"): "SlowDown",
    ("throttle", "ec2"): "RequestLimitExceeded",
    ("throttle", "kms"): "ThrottlingException",
    ("throttle", "lambda"): "ThrottlingException",
    ("denied", "iam"): "AccessDenied",
    ("denied", "s3"): "AccessDenied",
    ("denied", "ec2"): "UnauthorizedOperation",
    ("denied", "kms"): "AccessDeniedException",
    ("denied", "lambda"): "AccessDeniedException",
    ("expired", "iam"): "ExpiredToken",
    ("expired", "kms"): "ExpiredTokenException",
    ("500", "ec2"): "InternalError",
    ("500", "kms"): "InternalFailure",
}
QUESTIONS = {
    "iam": "list_users",
    "s3": "list_buckets",
    "ec2": "describe_volumes",
    "kms": "list_keys",
    "lambda": "list_functions",
}


@pytest.mark.parametrize(("kind", "service"), CODES)
def test_a_fault_speaks_as_the_service_does(simulated_cloud: SimulatedCloud, ask: Ask, kind: str, service: str) -> None:
    question = getattr(ask(service), QUESTIONS[service])
    simulated_cloud.fault(kind, service=service, operation=QUESTIONS[service], times=1)
    with pytest.raises(ClientError) as raised:
        question()
    assert raised.value.response["Error"]["Code"] == CODES[kind, service]
    question()  # it was for one call only
    assert [call["fault"] for call in simulated_cloud.calls()] == [kind, ""]


@pytest.mark.parametrize("service", QUESTIONS)
@pytest.mark.parametrize("kind", ["reset", "truncate", "html"])
def test_a_broken_answer_is_no_answer(simulated_cloud: SimulatedCloud, ask: Ask, kind: str, service: str) -> None:
    simulated_cloud.fault(kind, service=service, times=1)
    question = getattr(ask(service), QUESTIONS[service])
    try:
        answer = question()
    except (BotoCoreError, ClientError, ResponseParserError):
        pass
    else:  # botocore takes JSON that it cannot read for an empty answer; it must not look like a population
        assert kind in ("html", "truncate")
        assert not [value for name, value in answer.items() if name != "ResponseMetadata" and isinstance(value, list)]
    question()


def test_faults_choose_by_region_and_parameters(simulated_cloud: SimulatedCloud, ask: Ask) -> None:
    simulated_cloud.fault("denied", service="s3", operation="GetBucketPolicy", params="acme-invoices", label="one")
    simulated_cloud.fault("500", service="kms", region="eu-west-1", label="two")
    s3 = ask("s3")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_bucket_policy(Bucket="acme-invoices")
    s3.get_bucket_policy(Bucket="acme-exports")
    ask("kms").list_keys()
    with pytest.raises(ClientError, match="InternalFailure"):
        ask("kms", "eu-west-1").list_keys()
    simulated_cloud.clear_faults("one")
    s3.get_bucket_policy(Bucket="acme-invoices")
    with pytest.raises(ClientError):
        ask("kms", "eu-west-1").list_keys()
    with pytest.raises(CloudError, match="no fault 'earthquake'"):
        simulated_cloud.fault("earthquake")


def test_slow_is_slow_and_then_right(simulated_cloud: SimulatedCloud, ask: Ask) -> None:
    simulated_cloud.fault("slow", service="sts", seconds=0.4, times=1)
    begun = time.monotonic()
    assert ask("sts").get_caller_identity()["Account"] == simulated_cloud.account
    assert time.monotonic() - begun > 0.4


def test_what_nobody_serves_fails_loudly(simulated_cloud: SimulatedCloud, ask: Ask) -> None:
    with pytest.raises(ClientError) as raised:
        ask("ssm").describe_patch_groups()
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "ssm.DescribePatchGroups" in simulated_cloud.unserved()


def test_nothing_leaves_the_machine(simulated_cloud: SimulatedCloud, ask: Ask) -> None:
    elsewhere = boto3.client("sts", endpoint_url="https://cloud.example.com", config=ONCE)
    with pytest.raises(ProxyConnectionError):
        elsewhere.get_caller_identity()
    elsewhere.close()
    assert "cloud.example.com" in simulated_cloud.refused()


# --- log and clock ---


def test_the_log_says_what_was_asked(simulated_cloud: SimulatedCloud, ask: Ask) -> None:
    ask("kms", "eu-west-1").list_keys(Limit=5)
    ask("s3").get_bucket_policy(Bucket="acme-invoices")
    simulated_cloud.client("iam").list_users()  # an administrator's calls are not the collector's
    first, second = simulated_cloud.calls()
    assert (first["service"], first["operation"], first["region"]) == ("kms", "ListKeys", "eu-west-1")
    assert json.loads(first["params"]) == {"Limit": 5}
    assert (second["service"], second["operation"], second["status"]) == ("s3", "GetBucketPolicy", 200)
    assert json.loads(second["params"]) == {"Bucket": "acme-invoices"}
    assert simulated_cloud.calls(since=first["seq"]) == [second]


def test_answers_carry_the_simulated_time_and_an_id(simulated_cloud: SimulatedCloud, ask: Ask) -> None:
    moment = datetime(2026, 3, 1, 6, tzinfo=UTC)
    simulated_cloud.set_now(moment)
    found = [ask(service).__getattribute__(QUESTIONS[service])()["ResponseMetadata"] for service in QUESTIONS]
    for metadata in found:
        assert 0 <= (parsedate_to_datetime(metadata["HTTPHeaders"]["date"]) - moment).total_seconds() < 30
    assert len({metadata["RequestId"] for metadata in found}) == len(found)
    delivered = ask("cloudtrail").get_trail_status(Name="acme-audit")["LatestDeliveryTime"]
    assert 0 < (moment - delivered).total_seconds() < 3600


def test_a_change_is_seen_at_once(simulated_cloud: SimulatedCloud, ask: Ask) -> None:
    s3, admin = ask("s3"), simulated_cloud.client("s3")
    before = s3.get_bucket_policy(Bucket="acme-exports")["Policy"]
    admin.delete_bucket_policy(Bucket="acme-exports")
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket="acme-exports")
    admin.put_bucket_policy(Bucket="acme-exports", Policy=before)
    assert s3.get_bucket_policy(Bucket="acme-exports")["Policy"] == before


# --- the estate ---


def report(iam: Any) -> dict[str, dict[str, str]]:
    assert iam.generate_credential_report()["State"] == "COMPLETE"
    text = iam.get_credential_report()["Content"].decode()
    return {row["user"]: row for row in csv.DictReader(text.splitlines())}


def test_the_credential_report_agrees_with_iam(ask: Ask) -> None:
    iam = ask("iam")
    rows = report(iam)
    users = {user["UserName"] for user in iam.list_users()["Users"]}
    assert rows.keys() == users | {"<root_account>"}
    assert {len(row) for row in rows.values()} == {22}
    for name in users:
        devices = iam.list_mfa_devices(UserName=name)["MFADevices"]
        assert rows[name]["mfa_active"] == str(bool(devices)).lower()
    assert iam.get_account_summary()["SummaryMap"]["AccountMFAEnabled"] == 1


def test_secrets_are_where_aws_would_give_them_out(ask: Ask) -> None:
    ec2 = ask("ec2")
    instance = ec2.describe_instances()["Reservations"][0]["Instances"][0]["InstanceId"]
    data = ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")["UserData"]["Value"]
    answers = [ask("lambda").list_functions(), ask("cloudfront").list_distributions()]
    said = repr(answers) + base64.b64decode(data).decode()
    assert [secret for secret in PLANTED_SECRETS if secret not in said] == []


def test_regions_are_the_accounts_own(simulated_cloud: SimulatedCloud, ask: Ask) -> None:
    found = ask("ec2").describe_regions(AllRegions=False)["Regions"]
    assert sorted(region["RegionName"] for region in found) == sorted(simulated_cloud.regions)


# --- the process ---


def test_the_cloud_ends_with_whoever_started_it() -> None:
    command = "from collector.demo.cloud import SimulatedCloud as C; import os; print(C()._process.pid); os._exit(0)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=120, check=True)
    stat = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the cloud lives on")
