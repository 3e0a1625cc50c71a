"""The storage of every RDS database instance is encrypted.

Why: the files of a database, its replicas and its backups hold all that the application keeps from strangers.
Remedy: copy a snapshot of the instance with encryption, restore an instance from the copy and move over to it.

Cost: one call for 100 instances of the region.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, good, not_satisfied, one_of, satisfied, text
from collector.clouds.aws import Account
from collector.model import Verdict

HOLDERS = {"sse-kms": "a KMS key", "sse-rds": "a key that AWS owns"}


@dataclass(frozen=True)
class Instance:
    engine: str
    encryption: str  # none, sse-kms, sse-rds


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    """All instances, those of Aurora, Neptune and DocumentDB too: each has a setting that follows its cluster."""
    return aws.each("rds", "describe_db_instances", "DBInstances")


def observe(aws: Account, instance: Mapping[str, Any]) -> Instance:
    """Under a key that AWS owns an instance is encrypted, also where AWS says that StorageEncrypted is false."""
    encrypted = boolean(instance["StorageEncrypted"])
    encryption = absent_means(
        instance,
        "StorageEncryptionType",
        "sse-kms" if encrypted else "none",
        because="API_DBInstance: under a key that AWS owns StorageEncryptionType is sse-rds",
    )
    return Instance(
        engine=text(instance["Engine"]),
        encryption=one_of(encryption, ("sse-kms", "sse-rds") if encrypted else ("none", "sse-rds")),
    )


def evaluate(instance: Instance) -> Verdict:
    if instance.encryption == "none":
        return not_satisfied(f"is {instance.engine} and not encrypted")
    return satisfied(f"is {instance.engine} and encrypted under {HOLDERS[instance.encryption]}")


CHECK = Check(
    id="aws-rds-instance-encryption",
    family=Family.ENCRYPTION,
    criteria=("CC6.1", "CC6.7"),
    permissions=("rds:DescribeDBInstances",),
    per="region",
    see=("aws-config:rds-storage-encrypted", "cis-aws-3.0:2.3.1", "prowler:rds_instance_storage_encrypted"),
    population=population,
    name=lambda instance: str(instance["DBInstanceArn"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Instance("postgres", "sse-kms")),
        good(Instance("postgres", "sse-rds")),
        bad(Instance("postgres", "none")),
    ),
)
