"""The storage of every RDS database cluster is encrypted.

Why: the volume of a cluster, its replicas and its backups hold all that the application keeps from strangers.
Remedy: restore a snapshot of the cluster as a new cluster with a KMS key and move over to it.

Cost: one call for 100 clusters of the region.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, good, not_satisfied, one_of, satisfied, text
from collector.clouds.aws import Account
from collector.model import Verdict

HOLDERS = {"sse-kms": "a KMS key", "sse-rds": "a key that AWS owns"}


@dataclass(frozen=True)
class Cluster:
    engine: str
    encryption: str  # none, sse-kms, sse-rds


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    """Aurora, Multi-AZ, Neptune and DocumentDB clusters."""
    return aws.each("rds", "describe_db_clusters", "DBClusters")


def observe(aws: Account, cluster: Mapping[str, Any]) -> Cluster:
    """Under a key that AWS owns a cluster is encrypted, also where AWS says that StorageEncrypted is false."""
    encrypted = boolean(cluster["StorageEncrypted"])
    encryption = absent_means(
        cluster,
        "StorageEncryptionType",
        "sse-kms" if encrypted else "none",
        because="API_DBCluster: under a key that AWS owns StorageEncryptionType is sse-rds",
    )
    return Cluster(
        engine=text(cluster["Engine"]),
        encryption=one_of(encryption, ("sse-kms", "sse-rds") if encrypted else ("none", "sse-rds")),
    )


def evaluate(cluster: Cluster) -> Verdict:
    if cluster.encryption == "none":
        return not_satisfied(f"is {cluster.engine} and not encrypted")
    return satisfied(f"is {cluster.engine} and encrypted under {HOLDERS[cluster.encryption]}")


CHECK = Check(
    id="aws-rds-cluster-encryption",
    family=Family.ENCRYPTION,
    criteria=("CC6.1", "CC6.7"),
    permissions=("rds:DescribeDBClusters",),
    per="region",
    see=("aws-config:rds-cluster-encrypted-at-rest", "prowler:rds_cluster_storage_encrypted"),
    population=population,
    name=lambda cluster: str(cluster["DBClusterArn"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Cluster("aurora-postgresql", "sse-kms")),
        good(Cluster("aurora-postgresql", "sse-rds")),
        bad(Cluster("aurora-postgresql", "none")),
    ),
)
