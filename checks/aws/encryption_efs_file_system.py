"""Every EFS file system is encrypted at rest.

Why: files that many machines share lie readable on the provider's disks.
Remedy: choose Create file system > Customize > Enable encryption of data at rest, move the files, delete the old one.

Cost: one call for 100 file systems of the region.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, Stage, bad, boolean, good, not_satisfied, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict


@dataclass(frozen=True)
class FileSystem:
    encrypted: bool


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    return aws.each("efs", "describe_file_systems", "FileSystems")


def observe(aws: Account, system: Mapping[str, Any]) -> FileSystem:
    """The reference calls Encrypted optional and does not say what its absence means: then nobody knows."""
    return FileSystem(boolean(system["Encrypted"]))


def evaluate(system: FileSystem) -> Verdict:
    if system.encrypted:
        return satisfied("is encrypted at rest")
    return not_satisfied("is not encrypted at rest")


CHECK = Check(
    id="aws-efs-file-system-encryption",
    family=Family.ENCRYPTION,
    stage=Stage.PREVIEW,
    criteria=("CC6.1", "CC6.7"),
    permissions=("elasticfilesystem:DescribeFileSystems",),
    per="region",
    see=("aws-config:efs-encrypted-check", "prowler:efs_encryption_at_rest_enabled"),
    population=population,
    name=lambda system: system["FileSystemArn"],
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(FileSystem(encrypted=True)),
        bad(FileSystem(encrypted=False)),
    ),
)
