"""The generated AWS policies allow what the checks need, nothing else, and fit into IAM."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from policy_sentry.querying.actions import get_actions_for_service

import checks
from collector import registry
from collector.check import AnyCheck
from collector.errors import ConfigError
from collector.policy import aws

CHECKS = [item.check for item in registry.load([checks])]
AWS = [check for check in CHECKS if check.cloud == "aws"]
ROLE = "arn:aws:iam::123456789012:role/collector"


def actions(document: dict[str, Any]) -> list[str]:
    return [action for statement in document["Statement"] for action in statement["Action"]]


def with_permissions(*permissions: str) -> AnyCheck:
    return replace(AWS[0], permissions=permissions)


def test_the_policy_is_every_action_of_every_check_and_the_collectors_own() -> None:
    wanted = {action for check in AWS for action in check.permissions} | {"ec2:DescribeRegions"}
    found = actions(aws.policy(CHECKS))
    assert set(found) == wanted
    assert found == sorted(found)
    assert len(found) == len(wanted)


def test_the_policy_of_one_check_is_its_own_actions_only() -> None:
    found = actions(aws.policy([with_permissions("s3:ListAllMyBuckets")]))
    assert found == ["ec2:DescribeRegions", "s3:ListAllMyBuckets"]


def test_no_action_is_a_wildcard_or_changes_anything() -> None:
    for statement in aws.policy(CHECKS)["Statement"]:
        assert statement["Effect"] == "Allow"
        for action in statement["Action"]:
            assert "*" not in action


def test_statements_are_by_service_sorted_and_named_with_letters_and_digits() -> None:
    document = aws.policy(CHECKS)
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert document["Version"] == "2012-10-17"
    assert sids == sorted(sids)
    assert len(set(sids)) == len(sids)
    assert all(sid.isascii() and sid.isalnum() for sid in sids)
    for statement in document["Statement"]:
        assert len({action.split(":")[0] for action in statement["Action"]}) == 1


def test_checks_of_other_clouds_add_nothing() -> None:
    other = replace(AWS[0], id="azure-some-thing", permissions=("Microsoft.Storage/storageAccounts/read",))
    assert aws.policy([other]) == aws.policy([])


@pytest.mark.parametrize("permission", ["s3:*", "s3:Get*", "*", "s3/ListAllMyBuckets"])
def test_a_permission_that_is_no_action_is_refused(permission: str) -> None:
    with pytest.raises(ConfigError, match="name each action in full"):
        aws.policy([with_permissions(permission)])


def test_the_shipped_policies_fit_into_managed_policies() -> None:
    documents = aws.policies(CHECKS)
    assert [action for document in documents for action in actions(document)] == aws.actions(CHECKS)
    for document in documents:
        assert aws.size(document) <= aws.CHARACTERS_MAX


def test_a_policy_that_is_too_large_for_iam_is_split_without_losing_an_action() -> None:
    many = [action for service in ("ec2", "iam", "rds") for action in get_actions_for_service(service)]
    check = with_permissions(*many)
    assert aws.size(aws.policy([check])) > aws.CHARACTERS_MAX
    documents = aws.policies([check])
    assert len(documents) > 1
    assert all(aws.size(document) <= aws.CHARACTERS_MAX for document in documents)
    assert sorted(action for document in documents for action in actions(document)) == aws.actions([check])


def test_the_size_is_counted_without_white_space() -> None:
    document = aws.policy(CHECKS)
    assert aws.size(document) == len("".join(json.dumps(document, indent=4).split()))


def test_the_role_trusts_one_principal_with_one_external_id() -> None:
    assert aws.trust_policy(ROLE, "a-long-random-word")["Statement"] == [
        {
            "Sid": "OnlyTheCollector",
            "Effect": "Allow",
            "Principal": {"AWS": ROLE},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "a-long-random-word"}},
        }
    ]


@pytest.mark.parametrize(
    "principal", ["*", "123456789012", "arn:aws:iam::123456789012:role/*", "arn:aws:iam::*:root", ""]
)
def test_a_principal_that_is_not_one_role_user_or_account_is_refused(principal: str) -> None:
    with pytest.raises(ConfigError, match="cannot be trusted"):
        aws.trust_policy(principal, "a-long-random-word")


@pytest.mark.parametrize("external_id", ["", "x", "with space", "ünïcode", "x" * 1225])
def test_an_external_id_that_iam_refuses_is_refused_here(external_id: str) -> None:
    with pytest.raises(ConfigError, match="external id"):
        aws.trust_policy(ROLE, external_id)
