"""Puts answers recorded from real clouds to every check: each object is judged or refused, and absence proves nothing.

The recordings lie outside the project (see tests/support/recorded.py); without them the tests over them are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

import checks
from checks.aws import encryption_ebs_volume, logging_log_group_retention
from collector import registry
from collector.check import AnyCheck
from collector.model import Scope, State
from tests.support import recorded_aws, recorded_azure, recorded_gcp
from tests.support.recorded import FOLDER, NOW, Case, clocks, outcome, won_by_absence

SAID = re.compile("^(the population )?could not be read: ")  # by the engine, before the reason
EVERY = [item.check for item in registry.load([checks])]
beside = pytest.mark.skipif(not FOLDER.is_dir(), reason="no recorded answers: COLLECTOR_RECORDED names their folder")


class Went(NamedTuple):
    """How many recorded objects a check was asked about, judged, and found satisfied at some reference time."""

    objects: int
    judged: int
    satisfied: int


NONE = Went(0, 0, 0)  # no recording exists
OBJECTS: Mapping[str, Went] = {
    "aws-acm-certificate-expiry": Went(1, 0, 0),
    "aws-cloudfront-origin-tls": Went(9, 9, 0),
    "aws-cloudfront-viewer-tls": Went(9, 9, 0),
    "aws-cloudtrail-multi-region": Went(42, 41, 24),
    "aws-config-recorder": Went(6, 3, 2),
    "aws-ebs-default-encryption": NONE,
    "aws-ebs-volume-encryption": Went(28, 28, 4),
    "aws-ec2-patch-compliance": Went(128, 127, 88),
    "aws-ec2-ssm-managed": Went(130, 129, 90),
    "aws-ecr-image-scanning": Went(17, 17, 17),
    "aws-efs-file-system-encryption": Went(25, 22, 18),
    "aws-eks-version-supported": Went(24, 24, 18),
    "aws-elb-classic-listener-tls": Went(17, 16, 5),
    "aws-elbv2-listener-tls": Went(18, 18, 18),
    "aws-guardduty-enabled": Went(2, 2, 2),
    "aws-iam-admin-hardware-mfa": Went(2, 2, 0),
    "aws-iam-user-mfa": Went(50, 50, 18),
    "aws-kms-key-rotation": Went(81, 57, 53),
    "aws-lambda-runtime-supported": Went(28, 15, 11),
    "aws-log-group-retention": Went(9, 9, 8),
    "aws-rds-auto-minor-upgrade": Went(67, 49, 38),
    "aws-rds-cluster-encryption": Went(20, 17, 13),
    "aws-rds-cluster-snapshot-encryption": Went(7, 7, 4),
    "aws-rds-instance-encryption": Went(47, 44, 20),
    "aws-rds-snapshot-encryption": Went(14, 10, 4),
    "aws-root-mfa": Went(9, 5, 5),
    "aws-s3-bucket-key-holder": Went(136, 130, 109),
    "aws-s3-bucket-tls": Went(94, 94, 81),
    "aws-vpc-flow-logs": Went(33, 31, 31),
    "azure-activity-log-alerts": Went(13, 13, 0),
    "azure-activity-log-export": Went(1, 1, 0),
    "azure-aks-auto-upgrade": NONE,
    "azure-aks-version": NONE,
    "azure-app-service-tls": Went(5, 3, 0),
    "azure-defender-plans": Went(1, 1, 0),
    "azure-defender-system-updates": Went(20, 20, 20),
    "azure-disk-key": Went(11, 5, 0),
    "azure-keyvault-diagnostics": Went(10, 10, 9),
    "azure-keyvault-key-expiry": Went(9, 9, 9),
    "azure-keyvault-purge-protection": Went(9, 9, 1),
    "azure-mysql-tls": Went(8, 8, 7),
    "azure-postgresql-tls": Went(2, 2, 2),
    "azure-privileged-role-mfa": NONE,
    "azure-redis-tls": NONE,
    "azure-sql-auditing": Went(12, 12, 11),
    "azure-sql-tde": Went(19, 17, 11),
    "azure-sql-tde-key": Went(13, 13, 12),
    "azure-sql-tls-version": Went(11, 3, 3),
    "azure-storage-https": Went(39, 39, 16),
    "azure-storage-infrastructure-encryption": Went(39, 39, 0),
    "azure-storage-key-source": Went(39, 39, 1),
    "azure-storage-tls-version": Went(39, 39, 10),
    "azure-tenant-legacy-authentication": NONE,
    "azure-tenant-mfa-policy": NONE,
    "azure-user-mfa-enforced": NONE,
    "azure-user-mfa-registered": NONE,
    "azure-vm-automatic-patching": Went(20, 19, 3),
    "azure-vm-patch-compliance": Went(20, 20, 20),
    "azure-vnet-flow-logs": Went(1, 1, 1),
    "gcp-admin-security-key": NONE,
    "gcp-audit-config": Went(27, 27, 24),
    "gcp-bigquery-dataset-key": Went(15, 15, 0),
    "gcp-bucket-key": Went(33, 33, 6),
    "gcp-certificate-expiry": Went(1, 0, 0),
    "gcp-container-scanning": Went(23, 23, 20),
    "gcp-disk-key": Went(18, 18, 0),
    "gcp-gke-node-auto-upgrade": Went(44, 44, 38),
    "gcp-gke-release-channel": Went(41, 41, 7),
    "gcp-gke-secrets-key": Went(41, 20, 0),
    "gcp-http-redirect": Went(3, 3, 0),
    "gcp-instance-os-inventory": Went(24, 20, 9),
    "gcp-instance-vulnerabilities": Went(24, 20, 9),
    "gcp-kms-rotation": Went(14, 14, 3),
    "gcp-log-bucket-retention": NONE,
    "gcp-log-metric-alerts": Went(16, 16, 16),
    "gcp-log-sink": Went(19, 19, 13),
    "gcp-orgunit-2sv-enforcement": Went(33, 33, 33),
    "gcp-proxy-ssl-policy": Went(4, 4, 0),
    "gcp-service-account-keys": Went(13, 10, 9),
    "gcp-sql-key": Went(28, 28, 0),
    "gcp-sql-maintenance": Went(28, 1, 0),
    "gcp-sql-tls": Went(28, 23, 1),
    "gcp-subnet-flow-logs": Went(21, 21, 2),
    "gcp-user-2sv-enforced": NONE,
    "gcp-user-2sv-enrolled": NONE,
}


def cases(check: AnyCheck) -> Iterable[Case]:
    if check.cloud == "aws":
        return recorded_aws.cases(check.id)
    return recorded_azure.cases(check) if check.cloud == "azure" else recorded_gcp.cases(check.id)


def put(check: AnyCheck, *, every: bool) -> tuple[Went, list[str]]:
    """Puts all recorded objects to a check; what became of them, and all that is wrong with that in words."""
    went, wrong = NONE, []
    for case in cases(check):
        asked, states = False, set()
        for now in clocks(case):
            found = outcome(check, case, now, watch=True)
            if found.crashed:
                wrong.append(f"{case.source}: {found.crashed}")
                continue
            said = [reason for _, reason in found.subjects.values()] or [found.refused] * bool(found.refused)
            wrong += [f"{case.source}: no reason is given" for reason in said if not SAID.sub("", reason).strip()]
            asked |= case.asked in found.asked and bool(found.subjects or found.refused)
            states |= {state for state, _ in found.subjects.values()}
            if not case.whole:  # each object by itself; a listing as a whole only must not crash
                wrong += won_by_absence(check, case, now, found, every=every)
        if asked and not case.whole:
            judged = bool(states - {State.UNDETERMINED})
            went = Went(went.objects + 1, went.judged + judged, went.satisfied + (State.SATISFIED in states))
    return went, wrong


@beside
@pytest.mark.parametrize("check", EVERY, ids=lambda check: check.id)
def test_every_recorded_object_is_judged_or_refused_and_none_is_satisfied_by_absence(check: AnyCheck) -> None:
    went, wrong = put(check, every=False)
    assert wrong == []
    assert check.id in OBJECTS, f'add "{check.id}": {went} to OBJECTS, with 0 where no recording exists'
    assert went == OBJECTS[check.id]


@pytest.mark.slow
@beside
@pytest.mark.parametrize("check", EVERY, ids=lambda check: check.id)
def test_no_member_at_all_can_be_taken_away_to_satisfy(check: AnyCheck) -> None:
    assert put(check, every=True)[1] == []


def test_every_number_of_the_table_is_of_a_check() -> None:
    assert {id for id, went in OBJECTS.items() if went != NONE} <= {check.id for check in EVERY}


# --- that the above can fail: checks that are wrong on purpose, and answers of ours ---

VOLUME = {"VolumeId": "vol-1", "Encrypted": True, "KmsKeyId": "arn:aws:kms:eu-west-1:1:key/1", "Size": 8}
RIGHT = encryption_ebs_volume.CHECK


def volume(**changes: Any) -> Case:
    body = {"Volumes": [{**VOLUME, **changes}]}
    world = {"ec2:describe_volumes": body}
    return Case("ours", "ec2:describe_volumes", Scope("aws", "1" * 12, "us-east-1"), world, recorded_aws.opened)


def faults(check: AnyCheck, case: Case, *, every: bool = False) -> list[str]:
    return list(won_by_absence(check, case, NOW, outcome(check, case, NOW, watch=True), every=every))


def trusting(aws: Any, volume: Mapping[str, Any]) -> encryption_ebs_volume.Volume:
    return encryption_ebs_volume.Volume(volume.get("Encrypted", True), "some key")


def swallowing(aws: Any, volume: Mapping[str, Any]) -> encryption_ebs_volume.Volume:
    return encryption_ebs_volume.Volume(not any("Encrypted" in name for name in volume), "some key")


def test_a_sound_check_has_no_fault_and_reads_what_it_judges_by() -> None:
    found = outcome(RIGHT, volume(), NOW, watch=True)
    assert {state for state, _ in found.subjects.values()} == {State.SATISFIED}
    read = {place[-1] for places in found.read.values() for place in places}
    assert read == {"Volumes", "VolumeId", "Encrypted", "KmsKeyId"}  # in a copy of the volume, and not its size
    assert faults(RIGHT, volume(), every=True) == []


@pytest.mark.parametrize(("encrypted", "was"), [(True, "satisfied"), (False, "not-satisfied")])
def test_a_check_that_takes_absence_for_good_is_found(encrypted: bool, was: str) -> None:
    found = faults(replace(RIGHT, observe=trusting), volume(Encrypted=encrypted))
    assert len(found) == 1
    assert f"was {was}, and is satisfied without Volumes.0.Encrypted of ec2:describe_volumes" in found[0]


def test_a_check_that_looks_up_nothing_is_found_when_every_member_is_taken_away() -> None:
    check = replace(RIGHT, observe=swallowing)
    assert faults(check, volume()) == []
    assert len(faults(check, volume(), every=True)) == 1


def test_a_check_that_crashes_on_absence_is_found() -> None:
    def touchy(aws: Any, volume: Mapping[str, Any]) -> encryption_ebs_volume.Volume:
        return encryption_ebs_volume.Volume(bool(volume.get("KmsKeyId").strip()))  # type: ignore[union-attr]

    assert ["crashed" in fault for fault in faults(replace(RIGHT, observe=touchy), volume())] == [True]
    assert outcome(replace(RIGHT, observe=touchy), volume(KmsKeyId=None), NOW).crashed


def test_an_absence_with_a_documented_meaning_is_no_fault() -> None:
    group = {"arn": "arn:aws:logs:eu-west-1:1:log-group:a", "logGroupName": "a", "retentionInDays": 400}
    world = {"logs:describe_log_groups": {"logGroups": [{**group, "logGroupArn": group["arn"]}]}}
    case = Case("ours", "logs:describe_log_groups", Scope("aws", "1" * 12, "us-east-1"), world, recorded_aws.opened)
    check = logging_log_group_retention.CHECK
    before = outcome(check, case, NOW, watch=True)
    assert before.satisfied
    assert "retentionInDays" in {place[-1] for places in before.read.values() for place in places}
    assert faults(check, case) == []  # without a retention the group keeps its events for ever
