"""New EBS volumes of the region are encrypted by default.

Why: a volume that is made in a hurry is then encrypted too, and stays so with all its snapshots.
Remedy: choose EC2 > Settings > Data protection and security > EBS encryption > Always encrypt new EBS volumes.

Cost: one call for the region.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from collector.check import Check, Family, bad, boolean, good, not_satisfied, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict


@dataclass(frozen=True)
class Setting:
    encrypts: bool


def population(aws: Account) -> Iterable[str]:
    """The one setting of the account in this region. AWS has no ARN for it; this name is ours."""
    return [aws.arn("ec2", "ebs-encryption-by-default")]


def observe(aws: Account, setting: str) -> Setting:
    return Setting(boolean(aws.call("ec2", "get_ebs_encryption_by_default")["EbsEncryptionByDefault"]))


def evaluate(setting: Setting) -> Verdict:
    if setting.encrypts:
        return satisfied("encrypts every new volume")
    return not_satisfied("leaves new volumes unencrypted unless somebody asks for it")


CHECK = Check(
    id="aws-ebs-default-encryption",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("ec2:GetEbsEncryptionByDefault",),
    per="region",
    see=("aws-config:ec2-ebs-encryption-by-default", "cis-aws-3.0:2.2.1", "prowler:ec2_ebs_default_encryption"),
    population=population,
    name=str,
    observe=observe,
    evaluate=evaluate,
    examples=(good(Setting(encrypts=True)), bad(Setting(encrypts=False))),
)
