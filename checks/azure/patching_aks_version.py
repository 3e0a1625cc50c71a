"""Every AKS cluster runs a Kubernetes version that Microsoft supports.

Why: a version out of support gets no security fixes, for the control plane or for the nodes.
Remedy: choose Kubernetes cluster > Settings > Upgrades > Upgrade version, for its node pools too.

Cost: one call for 1000 clusters of the tenant and one for each location with clusters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Check,
    Family,
    absent_means,
    bad,
    boolean,
    field,
    good,
    not_applicable,
    not_satisfied,
    one_of,
    outside,
    satisfied,
    text,
)
from collector.clouds.azure import Tenant
from collector.model import Verdict

OFFICIAL, LONG = "KubernetesOfficial", "AKSLongTermSupport"


@dataclass(frozen=True)
class Cluster:
    power: str  # Running, Stopped
    plan: str = OFFICIAL
    versions: tuple[str, ...] = ()  # of the control plane and of the node pools
    unsupported: tuple[str, ...] = ()  # those of them that the location does not offer under the plan


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.containerservice/managedclusters")


def observe(azure: Tenant, cluster: Mapping[str, Any]) -> Cluster:
    power = one_of(field(cluster, "properties.powerState.code"), ("Running", "Stopped"))
    because = "Managed Clusters, supportPlan: if unspecified, the default is KubernetesOfficial"
    plan = one_of(absent_means(cluster, "properties.supportPlan", OFFICIAL, because=because), (OFFICIAL, LONG))
    pools = field(cluster, "properties.agentPoolProfiles")
    versions = {text(field(pool, "currentOrchestratorVersion")) for pool in pools}
    versions.add(text(field(cluster, "properties.currentKubernetesVersion")))
    where = f"/subscriptions/{text(cluster['subscriptionId'])}/providers/Microsoft.ContainerService/locations"
    answer = azure.get(f"{where}/{text(cluster['location'])}/kubernetesVersions", api="2024-02-01")
    unsupported = versions - offered(answer, plan)
    return Cluster(power, plan, tuple(sorted(versions)), tuple(sorted(unsupported)))


def offered(answer: Mapping[str, Any], plan: str) -> set[str]:
    """The patch versions that a location offers under a support plan, without previews."""
    because = "Managed Clusters, List Kubernetes Versions: a generally available version has no isPreview"
    found: set[str] = set()
    for release in field(answer, "values"):
        preview = boolean(absent_means(release, "isPreview", False, because=because))
        if plan in field(release, "capabilities.supportPlan") and not preview:
            found |= set(field(release, "patchVersions"))
    return found


def evaluate(cluster: Cluster) -> Verdict:
    if cluster.power == "Stopped":
        return not_applicable("is stopped")
    if cluster.unsupported:
        return not_satisfied(f"runs {', '.join(cluster.unsupported)}, not supported under {cluster.plan}")
    return satisfied(f"runs {', '.join(cluster.versions)}, supported under {cluster.plan}")


CHECK = Check(
    id="azure-aks-version",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=(
        "Microsoft.ContainerService/locations/kubernetesversions/read",
        "Microsoft.ContainerService/managedClusters/read",
    ),
    per="subscription",
    population=population,
    name=lambda cluster: str(cluster["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Cluster("Running", OFFICIAL, ("1.33.2",))),
        bad(Cluster("Running", OFFICIAL, ("1.28.5", "1.33.2"), ("1.28.5",))),
        outside(Cluster("Stopped", OFFICIAL, ("1.28.5",), ("1.28.5",))),
    ),
)
