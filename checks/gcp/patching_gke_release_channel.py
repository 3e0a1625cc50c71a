"""Every GKE cluster is enrolled in a release channel.

Why: Google then upgrades the control plane and the nodes to versions that it still mends.
Remedy: choose Clusters > the cluster > Release channel > Edit, and pick Regular or Stable.

Cost: one call for 1000 clusters of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, field, good, not_satisfied, one_of, satisfied
from collector.clouds.gcp import Organization
from collector.model import Verdict

NONE = "UNSPECIFIED"
CHANNELS = ("EXTENDED", "RAPID", "REGULAR", "STABLE")
LEFT_OUT = "GKE API, ReleaseChannel.channel: UNSPECIFIED, no channel, is the enum's zero, which proto3 JSON leaves out"
STANDARD = "GKE API, Autopilot.enabled: a bool, and proto3 JSON leaves false out"


@dataclass(frozen=True)
class Cluster:
    autopilot: bool = False
    channel: str = NONE


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    return gcp.assets("container.googleapis.com/Cluster")


def observe(gcp: Organization, cluster: Mapping[str, Any]) -> Cluster:
    data = field(cluster, "resource.data")
    return Cluster(
        autopilot=boolean(absent_means(data, "autopilot.enabled", False, because=STANDARD)),
        channel=one_of(absent_means(data, "releaseChannel.channel", NONE, because=LEFT_OUT), (NONE, *CHANNELS)),
    )


def evaluate(cluster: Cluster) -> Verdict:
    if cluster.channel != NONE:
        return satisfied(f"is enrolled in the release channel {cluster.channel}")
    if cluster.autopilot:
        return satisfied("is of Autopilot, which is always enrolled in a release channel")
    return not_satisfied("is enrolled in no release channel")


CHECK = Check(
    id="gcp-gke-release-channel",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    population=population,
    name=lambda cluster: str(cluster["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(Cluster(channel="REGULAR")), good(Cluster(autopilot=True)), bad(Cluster())),
)
