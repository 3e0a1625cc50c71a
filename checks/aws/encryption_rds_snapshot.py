"""Every manual snapshot of an RDS database instance is encrypted.

Why: a snapshot that somebody took outlives its database, can be shared, and holds the whole of it.
Remedy: copy the snapshot with a KMS key, then delete the one that is not encrypted.

Cost: one call for 100 snapshots of the region.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, good, not_satisfied, one_of, satisfied, text
from collector.clouds.aws import Account
from collector.model import Verdict

HOLDERS = {"sse-kms": "a KMS key", "sse-rds": "a key that AWS owns"}


@dataclass(frozen=True)
class Snapshot:
    engine: str
    encryption: str  # none, sse-kms, sse-rds


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    """Those that stay until somebody deletes them; automated ones live and are encrypted as their instance is."""
    return aws.each("rds", "describe_db_snapshots", "DBSnapshots", SnapshotType="manual")


def observe(aws: Account, snapshot: Mapping[str, Any]) -> Snapshot:
    """Under a key that AWS owns a snapshot is encrypted, also where AWS says that Encrypted is false."""
    encrypted = boolean(snapshot["Encrypted"])
    encryption = absent_means(
        snapshot,
        "StorageEncryptionType",
        "sse-kms" if encrypted else "none",
        because="API_DBSnapshot: under a key that AWS owns StorageEncryptionType is sse-rds",
    )
    return Snapshot(
        engine=text(snapshot["Engine"]),
        encryption=one_of(encryption, ("sse-kms", "sse-rds") if encrypted else ("none", "sse-rds")),
    )


def evaluate(snapshot: Snapshot) -> Verdict:
    if snapshot.encryption == "none":
        return not_satisfied(f"is {snapshot.engine} and not encrypted")
    return satisfied(f"is {snapshot.engine} and encrypted under {HOLDERS[snapshot.encryption]}")


CHECK = Check(
    id="aws-rds-snapshot-encryption",
    family=Family.ENCRYPTION,
    criteria=("CC6.1", "CC6.7"),
    permissions=("rds:DescribeDBSnapshots",),
    per="region",
    see=("aws-config:rds-snapshot-encrypted", "prowler:rds_snapshots_encrypted"),
    population=population,
    name=lambda snapshot: str(snapshot["DBSnapshotArn"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Snapshot("postgres", "sse-kms")),
        good(Snapshot("postgres", "sse-rds")),
        bad(Snapshot("postgres", "none")),
    ),
)
