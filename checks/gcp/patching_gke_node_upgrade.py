"""Every GKE node pool upgrades its nodes by itself.

Why: nodes run the operating system and the kubelet, whose holes come with old versions.
Remedy: choose Clusters > the node pool > Edit > Management > Enable node auto-upgrade.

Cost: two calls for 1000 clusters and 1000 node pools of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, field, good, not_satisfied, satisfied, text
from collector.clouds.gcp import Organization
from collector.errors import Unreadable
from collector.model import Verdict

EMPTY = "GKE API, Cluster.nodePools: repeated, and proto3 JSON leaves an empty list out"
STANDARD = "GKE API, Autopilot.enabled: a bool, and proto3 JSON leaves false out"
OFF = "GKE API, NodeManagement.autoUpgrade: a bool, and proto3 JSON leaves false out, and management when all is false"


@dataclass(frozen=True)
class Pool:
    autopilot: bool
    upgrades: bool


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """The pools that clusters name and those that the inventory has by themselves, each once, with its cluster."""
    clusters = {text(field(each, "name")): each for each in gcp.assets("container.googleapis.com/Cluster")}
    found = {}
    for pool in gcp.assets("container.googleapis.com/NodePool"):
        found[text(field(pool, "name"))] = field(pool, "resource.data")
    for name, cluster in clusters.items():
        for pool in absent_means(field(cluster, "resource.data"), "nodePools", [], because=EMPTY):
            found[f"{name}/nodePools/{text(field(pool, 'name'))}"] = pool
    for name, pool in found.items():
        owner = name.rpartition("/nodePools/")[0]
        if owner not in clusters:
            raise Unreadable(f"the inventory has {name} and not its cluster; it follows within minutes of a change")
        yield {"name": name, "pool": pool, "cluster": field(clusters[owner], "resource.data")}


def observe(gcp: Organization, pool: Mapping[str, Any]) -> Pool:
    return Pool(
        autopilot=boolean(absent_means(pool["cluster"], "autopilot.enabled", False, because=STANDARD)),
        upgrades=boolean(absent_means(pool["pool"], "management.autoUpgrade", False, because=OFF)),
    )


def evaluate(pool: Pool) -> Verdict:
    if pool.upgrades:
        return satisfied("upgrades its nodes by itself")
    if pool.autopilot:
        return satisfied("is of Autopilot, where Google upgrades the nodes")
    return not_satisfied("waits for somebody to upgrade its nodes")


CHECK = Check(
    id="gcp-gke-node-auto-upgrade",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    population=population,
    name=lambda pool: str(pool["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Pool(autopilot=False, upgrades=True)),
        good(Pool(autopilot=True, upgrades=False)),
        bad(Pool(autopilot=False, upgrades=False)),
    ),
)
