"""Every EKS cluster runs a Kubernetes version that AWS still supports.

Why: an unsupported version gets no security patches, and AWS upgrades the cluster at a moment of its own choosing.
Remedy: under EKS > Clusters > Upgrade version, go one minor version at a time to one in standard support.

Cost: one call for the versions, one for 100 clusters of the region, then one for each cluster.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from collector.check import Family, LimitedCheck, bad, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.aws import Account
from collector.model import Verdict

SUPPORT = {"STANDARD_SUPPORT": "standard support", "EXTENDED_SUPPORT": "extended support", "UNSUPPORTED": "no support"}


@dataclass(frozen=True)
class Cluster:
    version: str
    support: str


@dataclass(frozen=True)
class Limits:
    extended_support: int = 1  # 1: extended support, which brings security patches too, is enough; 0: it is not


def population(aws: Account) -> Iterable[tuple[str, str]]:
    """Name and ARN of each cluster."""
    return [(name, aws.arn("eks", f"cluster/{text(name)}")) for name in aws.each("eks", "list_clusters", "clusters")]


def observe(aws: Account, cluster: tuple[str, str]) -> Cluster:
    version = text(field(aws.call("eks", "describe_cluster", name=cluster[0]), "cluster.version"))
    known = aws.each("eks", "describe_cluster_versions", "clusterVersions", includeAll=True)
    support = {one_of(each["versionStatus"], SUPPORT) for each in known if each["clusterVersion"] == version}
    if len(support) != 1:
        raise LookupError(f"single support status of Kubernetes {version}")
    return Cluster(version, support.pop())


def evaluate(cluster: Cluster, limits: Limits) -> Verdict:
    reason = f"runs Kubernetes {cluster.version}, which has {SUPPORT[cluster.support]}"
    if cluster.support == "STANDARD_SUPPORT" or (cluster.support == "EXTENDED_SUPPORT" and limits.extended_support):
        return satisfied(reason)
    return not_satisfied(reason)


CHECK = LimitedCheck(
    id="aws-eks-version-supported",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=("eks:DescribeCluster", "eks:DescribeClusterVersions", "eks:ListClusters"),
    per="region",
    see=(
        "aws-config:eks-cluster-supported-version",
        "prowler:eks_cluster_uses_a_supported_version",
        "securityhub:EKS.2",
    ),
    population=population,
    name=lambda cluster: cluster[1],
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Cluster("1.34", "STANDARD_SUPPORT")),
        good(Cluster("1.31", "EXTENDED_SUPPORT")),
        bad(Cluster("1.24", "UNSUPPORTED")),
    ),
)
