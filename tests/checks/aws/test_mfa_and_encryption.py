"""The checks of the families MFA and encryption at rest against answers as AWS gives them, the awkward ones first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest

from checks.aws import (
    encryption_ebs_default,
    encryption_ebs_volume,
    encryption_efs_file_system,
    encryption_kms_rotation,
    encryption_rds_cluster,
    encryption_rds_cluster_snapshot,
    encryption_rds_instance,
    encryption_rds_snapshot,
    encryption_s3_bucket_key,
    mfa_iam_admin,
    mfa_iam_user,
    mfa_root,
)
from collector.check import AnyCheck, limits_with
from collector.clouds.aws import Account
from collector.clouds.transcript import Answer, Transcript
from collector.collect import Task, run
from collector.model import CheckRun, Scope, State

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ACCOUNT, REGION = "123456789012", "eu-west-1"
SATISFIED, NOT_SATISFIED, NOT_APPLICABLE, UNDETERMINED = State

Body = Mapping[str, Any]
Reply = Body | str | list[Body] | Callable[[Mapping[str, Any]], Body | str]  # a text is an error code, a list pages
Replies = Mapping[str, Reply]


class Cloud:
    """Answers by operation and keeps what it was asked."""

    def __init__(self, replies: Replies) -> None:
        self.replies = replies
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def put(self, service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
        self.asked.append((operation, region, dict(params)))
        reply, token = self.replies[operation], None
        if isinstance(reply, list):
            place = int(params.get("Place", 0))
            token = {"Place": place + 1} if place + 1 < len(reply) else None
            reply = reply[place]
        found = reply(params) if callable(reply) else reply
        if isinstance(found, str):
            failure = "denied" if "Denied" in found else "unreadable"
            return Answer({"Error": {"Code": found}}, NOW, 1, status=400, error=found, failure=failure)
        return Answer(dict(found), NOW, 1, token=token)

    def operations(self) -> list[str]:
        return [operation for operation, _, _ in self.asked]


def looked(check: AnyCheck, cloud: Cloud | Replies, limits: Any = None) -> CheckRun:
    asked = cloud if isinstance(cloud, Cloud) else Cloud(cloud)
    account = Account(ACCOUNT, Transcript(), NOW, asked.put, REGION, sleep=lambda _: None)
    with ThreadPoolExecutor(4) as pool:
        return run(Task(check, Scope("aws", ACCOUNT), account, limits), lambda: NOW, pool)


def states(found: CheckRun) -> dict[str, State]:
    assert found.population is not None, found.reason
    return {o.subject.rsplit("/", 1)[-1].rsplit(":", 1)[-1]: o.verdict.state for o in found.observations}


def state(found: CheckRun) -> State:
    (only,) = states(found).values()
    return only


def without(body: Body, name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


# --- MFA ---

COLUMNS = "user,arn,password_enabled,mfa_active,access_key_1_active,access_key_2_active"


def report(*rows: str) -> dict[str, Reply]:
    return {
        "generate_credential_report": {"State": "COMPLETE"},
        "get_credential_report": {"Content": "\n".join((COLUMNS, *rows)), "GeneratedTime": "2026-11-23T09:00:00Z"},
    }


def root(
    password: str, keys: str = "false,false", mfa: int = 0, devices: tuple[dict[str, Any], ...] = ()
) -> dict[str, Reply]:
    return {
        **report(f"<root_account>,arn:aws:iam::{ACCOUNT}:root,{password},false,{keys}"),
        "get_account_summary": {"SummaryMap": {"AccountMFAEnabled": mfa, "AccountAccessKeysPresent": 0}},
        "list_virtual_mfa_devices": {"VirtualMFADevices": list(devices), "IsTruncated": False},
    }


def virtual(owner: str) -> dict[str, Any]:
    """As recorded: the owner has no UserName where it is the root user."""
    arn = f"arn:aws:iam::{ACCOUNT}:{owner}"
    return {"SerialNumber": f"arn:aws:iam::{ACCOUNT}:mfa/x", "User": {"UserId": ACCOUNT, "Arn": arn}}


def test_the_root_user_needs_mfa_unless_it_provably_has_nothing_to_sign_in_with() -> None:
    for replies, expected in (
        (root("not_supported", mfa=1), SATISFIED),
        (root("true", mfa=1), SATISFIED),
        (root("not_supported"), NOT_SATISFIED),
        (root("true"), NOT_SATISFIED),
        (root("FALSE"), NOT_APPLICABLE),  # removed by centralised root access, or never made
        (root("false", keys="true,false"), NOT_SATISFIED),
        (root("false", keys="false,TRUE"), NOT_SATISFIED),
        (root("no_information"), UNDETERMINED),
        (root("false", keys="N/A,false"), UNDETERMINED),
        (root("true", mfa=2), UNDETERMINED),
        ({**root("true"), "get_account_summary": {"SummaryMap": {}}}, UNDETERMINED),
        ({**root("true"), "get_account_summary": "AccessDenied"}, UNDETERMINED),
        ({**root("true"), "get_credential_report": "AccessDenied"}, UNDETERMINED),
        ({**root("true"), **report("alice,a,true,true,false,false")}, UNDETERMINED),  # a report without the root user
    ):
        found = looked(mfa_root.CHECK, replies)
        assert states(found) == {"root": expected}, replies


def test_the_reason_tells_a_virtual_device_of_the_root_user_from_hardware() -> None:
    other = virtual("user/alice")
    (hardware,) = looked(mfa_root.CHECK, root("true", mfa=1, devices=(other,))).observations
    (soft,) = looked(mfa_root.CHECK, root("true", mfa=1, devices=(other, virtual("root")))).observations
    assert hardware.verdict.reason == "has MFA, with hardware only"
    assert soft.verdict.reason == "has MFA, also with a virtual device"
    cloud = Cloud(root("true", mfa=1))
    looked(mfa_root.CHECK, cloud)
    assert cloud.asked[-1][2] == {"AssignmentStatus": "Assigned"}, "an unassigned device names no user"
    nameless = looked(mfa_root.CHECK, root("true", mfa=1, devices=({"SerialNumber": "arn:aws:iam::1:mfa/x"},)))
    assert state(nameless) is UNDETERMINED


def test_console_users_need_mfa_and_the_root_user_is_not_one_of_them() -> None:
    rows = (
        f"<root_account>,arn:aws:iam::{ACCOUNT}:root,not_supported,false,false,false",
        f"amy,arn:aws:iam::{ACCOUNT}:user/amy,true,true,false,false",
        f"bob,arn:aws:iam::{ACCOUNT}:user/ops/bob,TRUE,FALSE,true,false",
        f"ci,arn:aws:iam::{ACCOUNT}:user/ci,false,false,true,true",
        f"new,arn:aws:iam::{ACCOUNT}:user/new,no_information,false,false,false",
        f"odd,arn:aws:iam::{ACCOUNT}:user/odd,true,N/A,false,false",
    )
    cloud = Cloud(report(*rows))
    assert states(looked(mfa_iam_user.CHECK, cloud)) == {
        "amy": SATISFIED,
        "bob": NOT_SATISFIED,
        "ci": NOT_APPLICABLE,
        "new": UNDETERMINED,
        "odd": UNDETERMINED,
    }
    assert cloud.operations() == ["generate_credential_report", "get_credential_report"]


def test_a_report_without_a_column_is_no_report() -> None:
    replies = {**report(), "get_credential_report": {"Content": f"user,arn\nbob,arn:aws:iam::{ACCOUNT}:user/bob"}}
    assert states(looked(mfa_iam_user.CHECK, replies)) == {"bob": UNDETERMINED}
    assert looked(mfa_iam_user.CHECK, {**report(), "get_credential_report": "AccessDenied"}).population is None


ADMINISTRATOR = {"PolicyName": "AdministratorAccess", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}
READER = {"PolicyName": "ReadOnlyAccess", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}
OWN = f"arn:aws:iam::{ACCOUNT}:policy/own"
ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def user(name: str, groups: tuple[str, ...] = (), attached: tuple[Body, ...] = (), **more: Any) -> dict[str, Any]:
    arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    return {"UserName": name, "Arn": arn, "GroupList": list(groups), "AttachedManagedPolicies": list(attached), **more}


def inline(*statements: Body) -> list[dict[str, Any]]:
    return [{"PolicyName": "inline", "PolicyDocument": {"Version": "2012-10-17", "Statement": list(statements)}}]


def group(name: str, attached: tuple[Body, ...] = (), policies: Any = ()) -> dict[str, Any]:
    return {"GroupName": name, "AttachedManagedPolicies": list(attached), "GroupPolicyList": list(policies)}


def own_policy(default: str = "v2") -> dict[str, Any]:
    """A customer managed policy whose second version allows everything, with one statement outside a list."""
    versions = [
        {"VersionId": "v2", "Document": {"Statement": ALL}, "IsDefaultVersion": default == "v2"},
        {"VersionId": "v1", "Document": {"Statement": []}, "IsDefaultVersion": default == "v1"},
    ]
    return {"Arn": OWN, "DefaultVersionId": default, "PolicyVersionList": versions}


def details(
    users: tuple[Body, ...], groups: tuple[Body, ...] = (), policies: tuple[Body, ...] = (), **more: Reply
) -> dict[str, Reply]:
    return {
        "get_account_authorization_details": {
            "UserDetailList": list(users),
            "GroupDetailList": list(groups),
            "RoleDetailList": [],
            "Policies": list(policies),
            "IsTruncated": False,
        },
        "list_mfa_devices": lambda _: {"MFADevices": [], "IsTruncated": False},
        "get_login_profile": lambda params: {"LoginProfile": {"UserName": params["UserName"]}},
        **more,
    }


def test_who_is_an_administrator() -> None:
    """An administrator here has a password and no MFA, so that it is not satisfied; anybody else is not applicable."""
    attached = ({"PolicyName": "own", "PolicyArn": OWN},)
    users = (
        user("nobody"),
        user("reader", attached=(READER,)),
        user("direct", attached=(READER, ADMINISTRATOR)),
        user("by-group", ("readers", "admins")),
        user("by-group-inline", ("inliners",)),
        user("by-own-policy", attached=attached),
        user("inline-star", UserPolicyList=inline({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}, ALL)),
        user("inline-list", UserPolicyList=inline({**ALL, "Action": ["a:B", "*:*"], "Resource": ["arn:x", "*"]})),
        user("inline-deny", UserPolicyList=inline({**ALL, "Effect": "Deny"})),
        user("inline-narrow", UserPolicyList=inline({**ALL, "Resource": "arn:aws:s3:::*"})),
        user("inline-not-action", UserPolicyList=inline({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})),
        user("inline-odd-effect", UserPolicyList=inline({**ALL, "Effect": "Perhaps"})),
        user("inline-no-action", UserPolicyList=inline(without(ALL, "Action"))),
        user("inline-text", UserPolicyList=[{"PolicyName": "x", "PolicyDocument": "%7B%22Statement"}]),
        user("unknown-policy", attached=({"PolicyName": "gone", "PolicyArn": OWN + "-gone"},)),
    )
    groups = (
        group("readers", (READER,)),
        group("admins", (ADMINISTRATOR,)),
        group("inliners", policies=inline(ALL)),
    )
    cloud = Cloud(details(users, groups, (own_policy(),)))
    assert states(looked(mfa_iam_admin.CHECK, cloud)) == {
        "nobody": NOT_APPLICABLE,
        "reader": NOT_APPLICABLE,
        "direct": NOT_SATISFIED,
        "by-group": NOT_SATISFIED,
        "by-group-inline": NOT_SATISFIED,
        "by-own-policy": NOT_SATISFIED,
        "inline-star": NOT_SATISFIED,
        "inline-list": NOT_SATISFIED,
        "inline-deny": NOT_APPLICABLE,
        "inline-narrow": NOT_APPLICABLE,
        "inline-not-action": NOT_APPLICABLE,
        "inline-odd-effect": UNDETERMINED,
        "inline-no-action": UNDETERMINED,
        "inline-text": UNDETERMINED,
        "unknown-policy": UNDETERMINED,
    }
    assert cloud.operations().count("get_account_authorization_details") == 1
    assert cloud.asked[0][2] == {"Filter": ["Group", "LocalManagedPolicy", "User"]}
    assert cloud.operations().count("list_mfa_devices") == cloud.operations().count("get_login_profile") == 6


def test_users_and_their_groups_may_stand_on_different_pages() -> None:
    page = details((user("x", ("admins",)),))["get_account_authorization_details"]
    last = details((user("y"),), (group("admins", (ADMINISTRATOR,)),))["get_account_authorization_details"]
    assert isinstance(page, dict)
    assert isinstance(last, dict)
    cloud = Cloud(details((), get_account_authorization_details=[{**page, "IsTruncated": True}, last]))
    assert states(looked(mfa_iam_admin.CHECK, cloud)) == {"x": NOT_SATISFIED, "y": NOT_APPLICABLE}
    assert cloud.operations().count("get_account_authorization_details") == 2
    torn = details((), get_account_authorization_details=[page, last])  # "no more", and where it goes on
    assert looked(mfa_iam_admin.CHECK, torn).failure == "unreadable"


def test_only_the_default_version_of_a_policy_counts() -> None:
    holder = user("holder", attached=({"PolicyName": "own", "PolicyArn": OWN},))
    assert state(looked(mfa_iam_admin.CHECK, details((holder,), policies=(own_policy("v1"),)))) is NOT_APPLICABLE
    assert looked(mfa_iam_admin.CHECK, details((holder,), policies=(own_policy("v9"),))).population is None


@pytest.mark.parametrize(
    ("serials", "expected"),
    [
        ([], NOT_SATISFIED),
        ([f"arn:aws:iam::{ACCOUNT}:mfa/phone"], NOT_SATISFIED),
        ([f"arn:aws:iam::{ACCOUNT}:sms-mfa/phone"], NOT_SATISFIED),
        ([f"arn:aws:iam::{ACCOUNT}:mfa/u2f/phone"], NOT_SATISFIED),  # a path that only looks like another type
        (["GAKT12345678"], SATISFIED),
        ([f"arn:aws:iam::{ACCOUNT}:u2f/user/x/key-7XNL"], SATISFIED),
        ([f"arn:aws-us-gov:iam::{ACCOUNT}:mfa/phone", f"arn:aws-us-gov:iam::{ACCOUNT}:u2f/user/x/k"], SATISFIED),
        ([f"arn:aws:iam::{ACCOUNT}:fido3/x", "GAKT12345678"], UNDETERMINED),
    ],
)
def test_an_administrator_needs_a_factor_that_is_no_app_on_a_phone(serials: list[str], expected: State) -> None:
    devices = [{"UserName": "x", "SerialNumber": serial} for serial in serials]
    replies = details(
        (user("x", attached=(ADMINISTRATOR,)),), list_mfa_devices={"MFADevices": devices, "IsTruncated": False}
    )
    assert state(looked(mfa_iam_admin.CHECK, replies)) is expected


def test_an_administrator_without_a_password_has_nothing_to_protect_with_a_key() -> None:
    users = (user("x", attached=(ADMINISTRATOR,)),)
    assert state(looked(mfa_iam_admin.CHECK, details(users, get_login_profile="NoSuchEntity"))) is NOT_APPLICABLE
    assert state(looked(mfa_iam_admin.CHECK, details(users, get_login_profile="AccessDenied"))) is UNDETERMINED
    assert state(looked(mfa_iam_admin.CHECK, details(users, get_login_profile={}))) is UNDETERMINED
    assert state(looked(mfa_iam_admin.CHECK, details(users, list_mfa_devices="NoSuchEntity"))) is UNDETERMINED


# --- EBS ---


def test_volumes_are_encrypted_or_not_and_those_that_services_hide_are_asked_for() -> None:
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
    pages: list[Body] = [
        {"Volumes": [{"VolumeId": "vol-1", "Encrypted": True, "KmsKeyId": key}]},
        {
            "Volumes": [
                {"VolumeId": "vol-2", "Encrypted": False},
                {"VolumeId": "vol-3"},
                {"VolumeId": "vol-4", "Encrypted": "enabled"},
                {"VolumeId": "vol-5", "Encrypted": True},
            ]
        },
    ]
    cloud = Cloud({"describe_volumes": pages})
    found = looked(encryption_ebs_volume.CHECK, cloud)
    assert found.observations[0].subject == f"arn:aws:ec2:{REGION}:{ACCOUNT}:volume/vol-1"
    assert states(found) == {
        "vol-1": SATISFIED,
        "vol-2": NOT_SATISFIED,
        "vol-3": UNDETERMINED,
        "vol-4": UNDETERMINED,
        "vol-5": UNDETERMINED,
    }
    assert cloud.asked[0][2] == {"IncludeManagedResources": True, "MaxResults": 1000}
    assert (
        looked(encryption_ebs_volume.CHECK, {"describe_volumes": {"Volumes": [{"Encrypted": True}]}}).population is None
    )


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"EbsEncryptionByDefault": True, "SseType": "sse-ebs"}, SATISFIED),
        ({"EbsEncryptionByDefault": False}, NOT_SATISFIED),
        ({}, UNDETERMINED),
        ("UnauthorizedOperationDenied", UNDETERMINED),
    ],
)
def test_the_default_of_a_region_is_one_subject(reply: Reply, expected: State) -> None:
    found = looked(encryption_ebs_default.CHECK, {"get_ebs_encryption_by_default": reply})
    assert [o.subject for o in found.observations] == [f"arn:aws:ec2:{REGION}:{ACCOUNT}:ebs-encryption-by-default"]
    assert state(found) is expected


# --- EFS ---


def test_file_systems_are_encrypted_or_not_and_one_that_does_not_say_is_neither() -> None:
    cases: dict[str, tuple[dict[str, Any], State]] = {
        "not-said": ({}, UNDETERMINED),
        "null": ({"Encrypted": None}, UNDETERMINED),
        "new-word": ({"Encrypted": "enabled"}, UNDETERMINED),
        "key-alone": ({"KmsKeyId": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"}, UNDETERMINED),
        "yes": ({"Encrypted": True}, SATISFIED),
        "no": ({"Encrypted": False}, NOT_SATISFIED),
    }
    items = [
        {"FileSystemArn": f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:file-system/{name}", **body}
        for name, (body, _) in cases.items()
    ]
    cloud = Cloud({"describe_file_systems": [{"FileSystems": items[:2]}, {"FileSystems": items[2:]}]})
    found = looked(encryption_efs_file_system.CHECK, cloud)
    assert states(found) == {name: expected for name, (_, expected) in cases.items()}
    assert cloud.operations() == ["describe_file_systems", "describe_file_systems"]
    for reply in ("AccessDeniedException", {}, {"FileSystems": [without(items[4], "FileSystemArn")]}):
        assert looked(encryption_efs_file_system.CHECK, {"describe_file_systems": reply}).population is None
    assert looked(encryption_efs_file_system.CHECK, {"describe_file_systems": {"FileSystems": []}}).population == 0


# --- RDS ---

RDS = [
    (encryption_rds_instance, "describe_db_instances", "DBInstances", "DBInstanceArn", "StorageEncrypted"),
    (encryption_rds_cluster, "describe_db_clusters", "DBClusters", "DBClusterArn", "StorageEncrypted"),
    (encryption_rds_snapshot, "describe_db_snapshots", "DBSnapshots", "DBSnapshotArn", "Encrypted"),
    (
        encryption_rds_cluster_snapshot,
        "describe_db_cluster_snapshots",
        "DBClusterSnapshots",
        "DBClusterSnapshotArn",
        "StorageEncrypted",
    ),
]


@pytest.mark.parametrize(("module", "operation", "path", "arn", "member"), RDS)
def test_databases_and_snapshots_tell_their_encryption_in_two_members(
    module: ModuleType, operation: str, path: str, arn: str, member: str
) -> None:
    cases: dict[str, tuple[dict[str, Any], State]] = {
        "old-yes": ({member: True}, SATISFIED),
        "old-no": ({member: False}, NOT_SATISFIED),
        "kms": ({member: True, "StorageEncryptionType": "sse-kms"}, SATISFIED),
        "owned-by-aws": ({member: False, "StorageEncryptionType": "sse-rds"}, SATISFIED),
        "owned-by-aws-too": ({member: True, "StorageEncryptionType": "sse-rds"}, SATISFIED),
        "none": ({member: False, "StorageEncryptionType": "none"}, NOT_SATISFIED),
        "contradicts-itself": ({member: True, "StorageEncryptionType": "none"}, UNDETERMINED),
        "contradicts-too": ({member: False, "StorageEncryptionType": "sse-kms"}, UNDETERMINED),
        "new-word": ({member: True, "StorageEncryptionType": "sse-quantum"}, UNDETERMINED),
        "not-said": ({"StorageEncryptionType": "sse-kms"}, UNDETERMINED),
        "no-engine": ({member: True, "Engine": None}, UNDETERMINED),
    }
    items = [
        {arn: f"arn:aws:rds:{REGION}:{ACCOUNT}:x:{name}", "Engine": "postgres", **body}
        for name, (body, _) in cases.items()
    ]
    cloud = Cloud({operation: [{path: items[:2]}, {path: items[2:]}]})
    assert states(looked(module.CHECK, cloud)) == {name: expected for name, (_, expected) in cases.items()}
    assert cloud.operations() == [operation, operation]
    manual = {"SnapshotType": "manual"} if "snapshot" in operation else {}
    assert cloud.asked[0][2] == manual
    nameless = looked(module.CHECK, {operation: {path: [without(items[0], arn)]}})
    assert nameless.population is None


# --- S3 ---


def bucket(name: str, region: str = REGION) -> dict[str, Any]:
    return {"Name": name, "CreationDate": "2020-01-01T00:00:00Z", "BucketRegion": region}


def encrypted(algorithm: str, key: str = "") -> dict[str, Any]:
    default = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key else {})
    rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
    return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}


OURS, THEIRS, CLOSED, GONE, ODD = (f"arn:aws:kms:{REGION}:{n}11111111111:key/{n}" for n in "12345")
KEYS: Mapping[str, Body | str] = {
    OURS: {"KeyMetadata": {"KeyManager": "CUSTOMER"}},
    "alias/ours": {"KeyMetadata": {"KeyManager": "CUSTOMER"}},
    THEIRS: {"KeyMetadata": {"KeyManager": "AWS"}},
    CLOSED: "AccessDeniedException",
    GONE: "NotFoundException",
    ODD: {"KeyMetadata": {"KeyManager": "PARTNER"}},
}
BUCKETS: Mapping[str, tuple[Body | str, State]] = {
    "s3-owned": (encrypted("AES256"), NOT_SATISFIED),
    "before-2023": ("ServerSideEncryptionConfigurationNotFoundError", NOT_SATISFIED),
    "no-key-named": (encrypted("aws:kms"), NOT_SATISFIED),
    "aws-alias": (encrypted("aws:kms", "alias/aws/s3"), NOT_SATISFIED),
    "aws-alias-arn": (encrypted("aws:kms:dsse", f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws/s3"), NOT_SATISFIED),
    "aws-key": (encrypted("aws:kms", THEIRS), NOT_SATISFIED),
    "our-key": (encrypted("aws:kms", OURS), SATISFIED),
    "our-key-twice": (encrypted("aws:kms:dsse", OURS), SATISFIED),
    "our-alias": (encrypted("aws:kms", "alias/ours"), SATISFIED),
    "closed-key": (encrypted("aws:kms", CLOSED), UNDETERMINED),
    "gone-key": (encrypted("aws:kms", GONE), UNDETERMINED),
    "odd-manager": (encrypted("aws:kms", ODD), UNDETERMINED),
    "odd-algorithm": (encrypted("aws:fsx"), UNDETERMINED),
    "no-default-in-rule": (
        {"ServerSideEncryptionConfiguration": {"Rules": [{"BucketKeyEnabled": True}]}},
        UNDETERMINED,
    ),
    "no-rule": ({"ServerSideEncryptionConfiguration": {"Rules": []}}, UNDETERMINED),
    "two-rules": (
        {
            "ServerSideEncryptionConfiguration": {
                "Rules": encrypted("AES256")["ServerSideEncryptionConfiguration"]["Rules"] * 2
            }
        },
        UNDETERMINED,
    ),
    "denied": ("AccessDenied", UNDETERMINED),
}


def test_a_bucket_is_judged_by_who_holds_its_key() -> None:
    cloud = Cloud(
        {
            "list_buckets": {"Buckets": [bucket(name) for name in BUCKETS], "Owner": {"ID": "x"}},
            "get_bucket_encryption": lambda params: BUCKETS[params["Bucket"]][0],
            "describe_key": lambda params: KEYS[params["KeyId"]],
        }
    )
    found = looked(encryption_s3_bucket_key.CHECK, cloud)
    assert states(found) == {name: expected for name, (_, expected) in BUCKETS.items()}
    assert found.observations[0].subject.startswith("arn:aws:s3:::")
    assert cloud.operations().count("describe_key") == len(KEYS), "each key is asked about once"
    assert cloud.asked[0] == ("list_buckets", REGION, {"MaxBuckets": 1000})


def test_each_bucket_and_its_key_are_asked_about_in_the_region_of_the_bucket() -> None:
    cloud = Cloud(
        {
            "list_buckets": {"Buckets": [bucket("far", "ap-south-1"), without(bucket("nowhere"), "BucketRegion")]},
            "get_bucket_encryption": encrypted("aws:kms", "alias/ours"),
            "describe_key": {"KeyMetadata": {"KeyManager": "CUSTOMER"}},
        }
    )
    found = looked(encryption_s3_bucket_key.CHECK, cloud)
    assert states(found) == {"far": SATISFIED, "nowhere": UNDETERMINED}
    assert {region for operation, region, _ in cloud.asked if operation != "list_buckets"} == {"ap-south-1"}


# --- KMS ---

PLAIN = {
    "KeyManager": "CUSTOMER",
    "KeyState": "Enabled",
    "KeySpec": "SYMMETRIC_DEFAULT",
    "KeyUsage": "ENCRYPT_DECRYPT",
    "Origin": "AWS_KMS",
    "Enabled": True,
    "MultiRegion": False,
}
YEARLY = {"KeyRotationEnabled": True, "RotationPeriodInDays": 365, "NextRotationDate": "2027-01-01T00:00:00Z"}
KMS_KEYS: Mapping[str, tuple[Body | str, Body | str, State]] = {
    "yearly": (PLAIN, YEARLY, SATISFIED),
    "quarterly": (PLAIN, {**YEARLY, "RotationPeriodInDays": 90}, SATISFIED),
    "slow": (PLAIN, {**YEARLY, "RotationPeriodInDays": 366}, NOT_SATISFIED),
    "never": (PLAIN, {"KeyRotationEnabled": False}, NOT_SATISFIED),
    "replica": ({**PLAIN, "MultiRegion": True}, YEARLY, SATISFIED),
    "of-aws": ({**PLAIN, "KeyManager": "AWS"}, "not asked", NOT_APPLICABLE),
    "disabled": ({**PLAIN, "KeyState": "Disabled", "Enabled": False}, "not asked", NOT_APPLICABLE),
    "going": ({**PLAIN, "KeyState": "PendingDeletion"}, "not asked", NOT_APPLICABLE),
    "rsa": ({**PLAIN, "KeySpec": "RSA_4096"}, "not asked", NOT_APPLICABLE),
    "hmac": ({**PLAIN, "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, "not asked", NOT_APPLICABLE),
    "imported": ({**PLAIN, "Origin": "EXTERNAL"}, "not asked", NOT_APPLICABLE),
    "custom-store": ({**PLAIN, "Origin": "AWS_CLOUDHSM"}, "not asked", NOT_APPLICABLE),
    "no-period": (PLAIN, {"KeyRotationEnabled": True}, UNDETERMINED),
    "not-said": (PLAIN, {"RotationPeriodInDays": 365}, UNDETERMINED),
    "status-denied": (PLAIN, "AccessDeniedException", UNDETERMINED),
    "key-denied": ("AccessDeniedException", "not asked", UNDETERMINED),
    "new-state": ({**PLAIN, "KeyState": "Resting"}, "not asked", UNDETERMINED),
    "new-spec": ({**PLAIN, "KeySpec": "SLH_DSA"}, "not asked", UNDETERMINED),
    "new-origin": ({**PLAIN, "Origin": "MOON"}, "not asked", UNDETERMINED),
    "new-manager": ({**PLAIN, "KeyManager": "PARTNER"}, "not asked", UNDETERMINED),
    "old-answer": (without(PLAIN, "KeySpec"), "not asked", UNDETERMINED),
}


def kms() -> Cloud:
    def described(params: Mapping[str, Any]) -> Body | str:
        found = KMS_KEYS[params["KeyId"].rsplit("/", 1)[-1]][0]
        return found if isinstance(found, str) else {"KeyMetadata": found}

    arns = [f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}" for name in KMS_KEYS]
    keys = [{"KeyArn": arn, "KeyId": arn.rsplit("/", 1)[-1]} for arn in arns]
    return Cloud(
        {
            "list_keys": [{"Keys": keys[:9], "Truncated": True}, {"Keys": keys[9:], "Truncated": False}],
            "describe_key": described,
            "get_key_rotation_status": lambda params: KMS_KEYS[params["KeyId"].rsplit("/", 1)[-1]][1],
        }
    )


def test_keys_that_kms_can_rotate_are_rotated_within_the_limit() -> None:
    cloud = kms()
    assert states(looked(encryption_kms_rotation.CHECK, cloud)) == {name: case[2] for name, case in KMS_KEYS.items()}
    assert cloud.operations().count("describe_key") == len(KMS_KEYS)
    rotatable = [name for name, case in KMS_KEYS.items() if case[1] != "not asked"]
    assert cloud.operations().count("get_key_rotation_status") == len(rotatable)


def test_the_limit_of_the_operator_is_the_one_that_counts() -> None:
    limits = limits_with(encryption_kms_rotation.CHECK, {"rotation_days_max": 90})
    found = states(looked(encryption_kms_rotation.CHECK, kms(), limits))
    assert (found["quarterly"], found["yearly"]) == (SATISFIED, NOT_SATISFIED)


def test_the_specs_and_states_of_keys_are_those_that_botocore_knows() -> None:
    """A spec that AWS adds shows up here with the next botocore, and until then as undetermined."""
    import botocore.session

    model = botocore.session.Session().get_service_model("kms")
    metadata = model.operation_model("DescribeKey").output_shape.members["KeyMetadata"].members
    assert set(encryption_kms_rotation.SPECS) == set(metadata["KeySpec"].enum)
    assert {"Enabled", *encryption_kms_rotation.OFF} == set(metadata["KeyState"].enum)
