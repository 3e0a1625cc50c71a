"""Dropping each permission of the generated AWS policy in turn blinds exactly the checks that declare it.

Proved by an emulator that enforces IAM (tests/support/ministack.py), and where it enforces nothing by AWS's own list of
actions, which policy_sentry carries.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from policy_sentry.querying.actions import get_action_data
from typer.testing import CliRunner

import checks
from collector import cli, registry
from collector.clouds.aws import credentials_for
from collector.clouds.transcript import Transcript
from collector.demo.cloud import FOREIGN
from collector.errors import Denied, Unreadable
from collector.model import State
from collector.policy import aws
from tests.support import ministack_estate, ministack_role
from tests.support.ministack import ACCOUNT, REGION, Ministack, NotInstalled, installed
from tests.support.ministack_role import ANSWERED_HERE, EXTERNAL_ID, Role

CHECKS = [item.check for item in registry.load([checks]) if item.check.cloud == "aws"]
ACTIONS = aws.actions(CHECKS)
# What the emulator does not refuse, so that only the list of actions vouches for it.
NOT_ENFORCED = {
    "guardduty:GetDetector": "ministack has no GuardDuty",
    "guardduty:ListDetectors": "ministack has no GuardDuty",
}
ENFORCED = sorted(set(ACTIONS) - set(NOT_ENFORCED))
# Checks that see no subject although nothing is refused to them.
SEE_NOTHING = {
    "aws-acm-certificate-expiry": "ministack's listing of certificates lacks InUse",
    "aws-guardduty-enabled": "ministack has no GuardDuty",
}
# Actions that AWS files under another level than List or Read, although they change no resource.
OTHER_LEVELS = {"iam:GenerateCredentialReport"}


def declaring(action: str) -> set[str]:
    """The checks that are predicted to be blind without an action."""
    return {check.id for check in CHECKS if action in check.permissions}


def without(action: str) -> list[dict[str, Any]]:
    """The generated policies, less one action."""
    documents = []
    for document in aws.policies(CHECKS):
        statements = []
        for statement in document["Statement"]:
            left = [each for each in statement["Action"] if each != action]
            statements += [{**statement, "Action": left}] if left else []
        documents.append({**document, "Statement": statements})
    return documents


# --- by AWS's list of actions ---


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_exists_and_only_reads(action: str) -> None:
    service, _, name = action.partition(":")
    found = get_action_data(service, name)
    assert found, f"{action} is no IAM action"
    assert {each["action"] for each in found[service]} == {action}, "written as IAM writes it"
    levels = {each["access_level"] for each in found[service]}
    assert levels <= {"List", "Read"} or action in OTHER_LEVELS, f"{action} is {levels}"


def test_what_is_not_proved_by_enforcement_is_in_the_policy() -> None:
    assert set(NOT_ENFORCED) <= set(ACTIONS)
    assert all(NOT_ENFORCED.values())


def test_dropping_an_action_drops_nothing_else() -> None:
    for action in ACTIONS:
        left = [each for document in without(action) for each in statements_of(document)]
        assert left == [each for each in ACTIONS if each != action]


def statements_of(document: dict[str, Any]) -> list[str]:
    return [action for statement in document["Statement"] for action in statement["Action"]]


# --- by enforcement ---


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A populated account with enforced IAM and the collector's role in it; the environment leads boto3 there."""
    try:
        python = installed()
    except NotInstalled as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"ministack, which enforces IAM, could not be installed: {error}")
    with pytest.MonkeyPatch.context() as patch, Ministack(python, tmp_path_factory.mktemp("ministack")) as ministack:
        for name in [name for name in os.environ if name.upper().startswith(FOREIGN)]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", ministack.endpoint)
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        ministack_estate.populate(ministack.client)
        role = Role(ministack, CHECKS)
        for name, value in role.source.items():
            patch.setenv(name, value)
        yield SimpleNamespace(ministack=ministack, role=role)


@pytest.fixture
def role(estate: SimpleNamespace) -> Role:
    """The role with the generated policy, whatever a test took away before."""
    found: Role = estate.role
    found.allow(aws.policies(CHECKS))
    return found


@pytest.mark.slow
def test_with_the_generated_policy_nothing_is_refused(role: Role) -> None:
    transcript = Transcript()
    handle = role.open(transcript)
    assert handle.identity() == f"arn:aws:sts::{ACCOUNT}:assumed-role/{ministack_role.NAME}/{ministack_role.NAME}"
    assert REGION in handle.parts()
    seen = role.look()
    assert not seen.refused
    assert not [each for each in (*transcript.log, *seen.transcript.log) if each.failure == Denied.code]
    assert {check.id for check in CHECKS} - seen.seeing == set(SEE_NOTHING)


@pytest.mark.slow
def test_without_any_policy_every_check_is_blind_and_none_is_satisfied(role: Role) -> None:
    role.allow([])
    seen = role.look()
    unenforced = {check.id for check in CHECKS if set(check.permissions) <= set(NOT_ENFORCED)}
    assert seen.refused == {check.id for check in CHECKS} - unenforced
    assert not seen.seeing
    states = {each.verdict.state for run in seen.runs for each in run.observations}
    assert states == {State.UNDETERMINED}


@pytest.mark.slow
@pytest.mark.parametrize("action", ENFORCED)
def test_without_an_action_exactly_the_checks_that_declare_it_are_refused(role: Role, action: str) -> None:
    role.allow(without(action))
    assert role.look().refused == declaring(action)


@pytest.mark.slow
@pytest.mark.parametrize("action", sorted(NOT_ENFORCED))
def test_what_the_emulator_does_not_enforce_it_still_does_not(role: Role, action: str) -> None:
    role.allow(without(action))
    assert not role.look().refused, f"ministack enforces {action} now: take it out of NOT_ENFORCED"


@pytest.mark.slow
def test_what_is_answered_here_ministack_has_no_answer_to(role: Role) -> None:
    own = role.look().own
    assert set(own) == set(ANSWERED_HERE)
    unknown = {question: answer.failure for question, answer in own.items()}
    classic = own["elb", "describe_load_balancers"]
    assert unknown.pop(("elb", "describe_load_balancers")) == ""
    assert "LoadBalancerDescriptions" not in classic.body
    assert set(unknown.values()) == {Unreadable.code}


@pytest.mark.slow
def test_without_the_collectors_own_action_it_cannot_list_regions(role: Role) -> None:
    role.allow(without("ec2:DescribeRegions"))
    with pytest.raises(Denied, match="ec2:DescribeRegions"):
        role.open(Transcript()).parts()


@pytest.mark.slow
def test_a_check_that_declares_too_little_or_too_much_would_be_found(role: Role) -> None:
    """The proof can fail: both kinds of mistake make another set than the prediction."""
    mistaken = {"aws-s3-bucket-key-holder": ("kms:DescribeKey", "s3:ListAllMyBuckets", "s3:GetBucketPolicy")}
    lying = [replace(each, permissions=mistaken.get(each.id, each.permissions)) for each in CHECKS]
    role.allow(aws.policies(lying))
    assert role.look().refused == set(mistaken)
    role.allow(without("s3:GetBucketPolicy"))
    assert role.look().refused != {each.id for each in lying if "s3:GetBucketPolicy" in each.permissions}


@pytest.mark.slow
@pytest.mark.parametrize("external_id", ["", "another-external-id"])
def test_the_role_is_not_given_without_its_external_id(role: Role, external_id: str) -> None:
    given = credentials_for(role_arn=ministack_role.ARN, external_id=external_id, session_name="somebody")
    with pytest.raises(ClientError, match="AccessDenied"):
        given.get_frozen_credentials()
    assert credentials_for(role_arn=ministack_role.ARN, external_id=EXTERNAL_ID, session_name="we").access_key


@pytest.mark.slow
def test_preflight_names_the_missing_permission_for_each_check_that_needs_it(role: Role, tmp_path: Path) -> None:
    role.allow(without("kms:DescribeKey"))
    file = tmp_path / "collector.toml"
    file.write_text(
        f'[collector]\norigin = "test.local/acme"\n[[aws]]\naccount = "{ACCOUNT}"\nregions = ["{REGION}"]\n'
        f'role_arn = "{ministack_role.ARN}"\nexternal_id = "{EXTERNAL_ID}"\n'
    )
    (tmp_path / "controls.toml").write_text(controls())
    result = CliRunner().invoke(cli.app, ["preflight", "--config", str(file), "--json"])
    rows = json.loads(result.stdout)
    assert {row["check"] for row in rows} == {check.id for check in CHECKS}
    named = [row for row in rows if "kms:DescribeKey at" in row["blind"]]
    assert {row["check"] for row in named} == declaring("kms:DescribeKey")
    assert all("kms:DescribeKey" in row["permissions"] for row in named)


def controls() -> str:
    """One control that binds every check of AWS."""
    names = ", ".join(f'"{check.id}"' for check in CHECKS)
    return f'[controls.ALL]\ntitle = "All."\nowner = "all"\ncriteria = ["CC6.1"]\nchecks = [{names}]\n'
