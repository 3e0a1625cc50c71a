"""Every virtual network records its traffic in flow logs, unfiltered, and keeps them long enough.

Why: after an incident it is the only record of who talked to whom.
Remedy: choose Network Watcher > Flow logs > Create, type Virtual network, no filter, days of the limit or 0 (for ever).

A subnet counts by a log of its network, of itself or of its security group; the last end on 30 September 2027. One that
Azure reserves for what passes traffic on needs none beside others, where that is recorded.

Cost: one call for 1000 networks, flow logs or storage accounts of the tenant.
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
    number,
    one_of,
    outside,
    satisfied,
)
from collector.clouds.azure import Tenant
from collector.clouds.azure_references import ACCOUNT, rows_of
from collector.model import Verdict

RESERVED = ("AzureBastionSubnet", "AzureFirewallManagementSubnet", "AzureFirewallSubnet", "GatewaySubnet")
STATES = ("Canceled", "Creating", "Deleting", "Failed", "Succeeded", "Updating")  # the last two record
ALL = "Flow Logs, FlowLogPropertiesFormat, enabledFilteringCriteria and recordTypes: without, all traffic is logged"
FOREVER = "Flow Logs, RetentionPolicyParameters: enabled is false and days is 0 by default, and 0 is for ever"
NO_GROUP = "Virtual Networks, SubnetPropertiesFormat: networkSecurityGroup is optional"


@dataclass(frozen=True)
class Log:
    subnet: str  # the name of the subnet that it is of, by its network or security group too
    flaw: str = ""  # why it does not record everything
    days: int = 0  # that it is kept; 0 is for ever


@dataclass(frozen=True)
class Network:
    subnets: tuple[str, ...] = ()  # their names
    logs: tuple[Log, ...] = ()


@dataclass(frozen=True)
class Limits:
    retention_days_min: int = 90


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.network/virtualnetworks")


def observe(azure: Tenant, network: Mapping[str, Any]) -> Network:
    rows = azure.resources("microsoft.network/networkwatchers/flowlogs")
    known = [(str(field(row, "properties.targetResourceId")).lower(), row["properties"]) for row in rows]
    subnets, logs = [], []
    for subnet in field(network, "properties.subnets"):
        subnets.append(str(field(subnet, "name")))
        group = absent_means(subnet, "properties.networkSecurityGroup.id", "", because=NO_GROUP)
        targets = {str(id).lower() for id in (network["id"], field(subnet, "id"), group)}
        logs += [log_of(azure, subnets[-1], log) for target, log in known if target in targets]
    return Network(tuple(subnets), tuple(logs))


def log_of(azure: Tenant, subnet: str, log: Mapping[str, Any]) -> Log:
    on = boolean(field(log, "enabled")) and one_of(field(log, "provisioningState"), STATES) in STATES[-2:]
    records = str(absent_means(log, "recordTypes", "", because=ALL) or "B,C,D,E").replace(" ", "").split(",")
    some = absent_means(log, "enabledFilteringCriteria", "", because=ALL) or {*records} != {*"BCDE"}
    place = rows_of(azure, [str(field(log, "storageId"))], (ACCOUNT,))  # looked for only where it decides
    flaw = "is off" if not on else "has a filter" if some else "" if any(place) else "writes to an account that is gone"
    policy = absent_means(log, "retentionPolicy", {"enabled": False, "days": 0}, because=FOREVER)
    return Log(subnet, flaw, number(field(policy, "days")) if boolean(field(policy, "enabled")) else 0)


def evaluate(network: Network, limits: Limits) -> Verdict:
    if not network.subnets:
        return not_applicable("has no subnet")
    for name in [name for name in network.subnets if name not in RESERVED] or network.subnets:
        logs = [log for log in network.logs if log.subnet == name]
        if all(log.flaw or 0 < log.days < limits.retention_days_min for log in logs):
            whys = [f"a log of it {log.flaw or f'is kept for {log.days} days'}" for log in logs]
            return not_satisfied(f"does not keep the traffic of {name}: {', '.join(whys) or 'no log is of it'}")
    return satisfied("keeps its traffic in flow logs")


CHECK = LimitedCheck(
    id="azure-vnet-flow-logs",
    family=Family.LOGGING,
    criteria=("CC6.6", "CC7.2"),
    permissions=(
        *("Microsoft.Network/networkWatchers/flowLogs/read", "Microsoft.Network/virtualNetworks/read"),
        "Microsoft.Storage/storageAccounts/read",
    ),
    per="subscription",
    see=("cis-azure-3.0:7.5", "prowler:network_flow_log_captured_sent", "prowler:network_flow_log_more_than_90_days"),
    population=population,
    name=lambda network: str(network["id"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Network(("web", "GatewaySubnet"), (Log("web", "is off"), Log("web", days=90)))),
        *map(bad, (Network(("web",), (Log("web", days=7),)), Network(("web",)), Network(("GatewaySubnet",)))),
        outside(Network()),
    ),
)
