"""Every subnet of machines records a sample of its traffic in flow logs, without a filter.

Why: after an incident it is the only record of who talked to whom.
Remedy: choose VPC networks > Subnets > Edit > Flow logs: On, at least the sample that the limit asks, no log filter.

Flow logs that Network Management configures for a whole network or organization are not seen.

Cost: one call for 1000 subnets of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Family,
    LimitedCheck,
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
)
from collector.clouds.gcp import Organization
from collector.errors import Unreadable
from collector.model import Verdict

MACHINES = ("PEER_MIGRATION", "PRIVATE", "PRIVATE_RFC_1918")
OTHERS = (  # of proxies, of published services and of address translation: no machine stands in them
    *("GLOBAL_MANAGED_PROXY", "INTERNAL_HTTPS_LOAD_BALANCER", "REGIONAL_MANAGED_PROXY"),
    *("PRIVATE_NAT", "PRIVATE_SERVICE_CONNECT"),
)
PRIVATE = "Compute Engine API, Subnetwork.purpose: if unspecified, the subnet purpose defaults to PRIVATE"
OFF = "Compute Engine API, SubnetworkLogConfig.enable and enableFlowLogs: not in listings unless set; default disabled"
HALF = "Compute Engine API, SubnetworkLogConfig.flowSampling: default 0.5, half of all collected logs"
ALL = "Compute Engine API, SubnetworkLogConfig.filterExpr: default 'true', include everything"


@dataclass(frozen=True)
class Subnet:
    purpose: str
    logged: bool = False
    percent: int = 0  # of the flows, rounded down
    filter: str = "true"


@dataclass(frozen=True)
class Limits:
    sampling_percent_min: int = 50


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    return gcp.assets("compute.googleapis.com/Subnetwork")


def observe(gcp: Organization, subnet: Mapping[str, Any]) -> Subnet:
    data = field(subnet, "resource.data")
    purpose = one_of(absent_means(data, "purpose", "PRIVATE", because=PRIVATE), (*MACHINES, *OTHERS))
    older = absent_means(data, "enableFlowLogs", False, because=OFF)  # the same switch before logConfig
    if purpose in OTHERS or not boolean(absent_means(data, "logConfig.enable", older, because=OFF)):
        return Subnet(purpose)
    share = absent_means(data, "logConfig.flowSampling", 0.5, because=HALF)
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise Unreadable(f"not a share of the flows: {share!r}")
    return Subnet(
        purpose,
        logged=True,
        percent=int(share * 100 + 1e-6),
        filter=str(absent_means(data, "logConfig.filterExpr", "true", because=ALL)) or "true",
    )


def evaluate(subnet: Subnet, limits: Limits) -> Verdict:
    if subnet.purpose in OTHERS:
        return not_applicable(f"is of purpose {subnet.purpose}, in which no machine stands")
    if not subnet.logged:
        return not_satisfied("has no flow logs")
    if subnet.percent < limits.sampling_percent_min:
        return not_satisfied(f"logs {subnet.percent} percent of its flows, less than {limits.sampling_percent_min}")
    if subnet.filter != "true":
        return not_satisfied("logs only the flows that its filter names")
    return satisfied(f"logs {subnet.percent} percent of its flows")


CHECK = LimitedCheck(
    id="gcp-subnet-flow-logs",
    family=Family.LOGGING,
    criteria=("CC6.6", "CC7.2"),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    see=("cis-gcp-3.0:3.8", "powerpipe:enable_network_flow_logs", "prowler:compute_subnet_flow_logs_enabled"),
    population=population,
    name=lambda subnet: str(subnet["name"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Subnet("PRIVATE", logged=True, percent=50)),
        *map(bad, (Subnet("PRIVATE"), Subnet("PRIVATE", logged=True, percent=10))),
        bad(Subnet("PRIVATE", logged=True, percent=100, filter="inIpRange(connection.src_ip, '10.0.0.0/8')")),
        outside(Subnet("REGIONAL_MANAGED_PROXY")),
    ),
)
