"""Every EBS volume is encrypted.

Why: a volume, its snapshots and whatever is copied of them can otherwise be read by whoever gets hold of them.
Remedy: copy a snapshot of the volume with encryption, make a volume of the copy and put it in the old one's place.

Cost: one call for 1000 volumes of the region.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, boolean, good, not_satisfied, satisfied, text
from collector.clouds.aws import Account
from collector.model import Verdict


@dataclass(frozen=True)
class Volume:
    encrypted: bool
    key: str = ""  # the ARN of its KMS key


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    """All volumes, also those of services that hide what they manage unless asked for it."""
    for volume in aws.each("ec2", "describe_volumes", "Volumes", IncludeManagedResources=True):
        yield {**volume, "arn": aws.arn("ec2", f"volume/{volume['VolumeId']}")}


def observe(aws: Account, volume: Mapping[str, Any]) -> Volume:
    encrypted = boolean(volume["Encrypted"])
    return Volume(encrypted, text(volume["KmsKeyId"]) if encrypted else "")


def evaluate(volume: Volume) -> Verdict:
    if volume.encrypted:
        return satisfied(f"is encrypted under {volume.key}")
    return not_satisfied("is not encrypted")


CHECK = Check(
    id="aws-ebs-volume-encryption",
    family=Family.ENCRYPTION,
    criteria=("CC6.1", "CC6.7"),
    permissions=("ec2:DescribeVolumes",),
    per="region",
    see=("aws-config:encrypted-volumes", "prowler:ec2_ebs_volume_encryption"),
    population=population,
    name=lambda volume: str(volume["arn"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Volume(encrypted=True, key="arn:aws:kms:eu-west-1:123456789012:key/1234abcd")),
        bad(Volume(encrypted=False)),
    ),
)
