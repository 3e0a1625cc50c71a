"""Every AKS cluster upgrades its Kubernetes patch versions and node images by itself.

Why: fixes of Kubernetes and of the nodes' system come every few weeks, and nobody upgrades clusters as often.
Remedy: choose Kubernetes cluster > Settings > Upgrades > Upgrade settings: Patch or Stable, and Node image.

Cost: one call for 1000 clusters of the tenant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, field, good, not_satisfied, one_of, satisfied
from collector.clouds.azure import Tenant
from collector.model import Verdict

AUTOMATIC = ("patch", "rapid", "stable")
PATCHED = ("NodeImage", "SecurityPatch")


@dataclass(frozen=True)
class Cluster:
    channel: str  # of Kubernetes: none, node-image, patch, rapid, stable
    nodes: str = ""  # of the nodes' system: NodeImage, None, SecurityPatch, Unmanaged; only read where it matters


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.containerservice/managedclusters")


def observe(azure: Tenant, cluster: Mapping[str, Any]) -> Cluster:
    """The reference gives nodes the default NodeImage, but older clusters have none: absence is no answer."""
    because = "Managed Clusters, upgradeChannel: the default is none"
    channel = absent_means(cluster, "properties.autoUpgradeProfile.upgradeChannel", "none", because=because)
    channel = one_of(channel, ("none", "node-image", *AUTOMATIC))
    if channel not in AUTOMATIC:
        return Cluster(channel)
    nodes = field(cluster, "properties.autoUpgradeProfile.nodeOSUpgradeChannel")
    return Cluster(channel, one_of(nodes, ("None", "Unmanaged", *PATCHED)))


def evaluate(cluster: Cluster) -> Verdict:
    if cluster.channel not in AUTOMATIC:
        return not_satisfied(f"does not upgrade Kubernetes by itself: its channel is {cluster.channel}")
    if cluster.nodes not in PATCHED:
        return not_satisfied(f"does not keep its nodes patched: their channel is {cluster.nodes}")
    return satisfied(f"upgrades by itself: Kubernetes by {cluster.channel}, nodes by {cluster.nodes}")


CHECK = Check(
    id="azure-aks-auto-upgrade",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=("Microsoft.ContainerService/managedClusters/read",),
    per="subscription",
    population=population,
    name=lambda cluster: str(cluster["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Cluster("stable", "NodeImage")),
        bad(Cluster("none")),
        bad(Cluster("node-image")),
        bad(Cluster("patch", "None")),
    ),
)
