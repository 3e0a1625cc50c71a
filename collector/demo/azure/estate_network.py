"""The seeded networks of acme: virtual networks, security groups, and flow logs of the one or of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.demo.azure.estate_data import short_of

if TYPE_CHECKING:
    from collector.demo.azure.estate import Builder

VNET = "Microsoft.Network/virtualNetworks"
SUBNET = "Microsoft.Network/virtualNetworks/subnets"
NSG = "Microsoft.Network/networkSecurityGroups"
WATCHER = "Microsoft.Network/networkWatchers"
FLOW_LOG = "Microsoft.Network/networkWatchers/flowLogs"
DEFAULTS = (  # of every security group: name, direction, access, priority, from, to
    ("AllowVnetInBound", "Inbound", "Allow", 65000, "VirtualNetwork", "VirtualNetwork"),
    ("AllowAzureLoadBalancerInBound", "Inbound", "Allow", 65001, "AzureLoadBalancer", "*"),
    ("DenyAllInBound", "Inbound", "Deny", 65500, "*", "*"),
    ("AllowVnetOutBound", "Outbound", "Allow", 65000, "VirtualNetwork", "VirtualNetwork"),
    ("AllowInternetOutBound", "Outbound", "Allow", 65001, "*", "Internet"),
    ("DenyAllOutBound", "Outbound", "Deny", 65500, "*", "*"),
)


def add_networks(build: Builder) -> None:
    """Networks that log their flows themselves, through the security groups of all their subnets, of some, or not."""
    short = short_of(build)
    add_watcher(build)
    for copy in build.copies():
        if build.environment == "production":
            _add_logged(build, f"vnet-acme-hub{copy}", days=90)
            _, groups = add_network(build, f"vnet-acme-apps{copy}", ("web", "data"))
            for group in groups:
                add_flow_log(build, group, f"{group.rpartition('/')[2]}-flow", days=0, analytics=True)
            _, groups = add_network(build, f"vnet-acme-batch{copy}", ("jobs", "queue"))
            add_flow_log(build, groups[0], f"{groups[0].rpartition('/')[2]}-flow", days=90)
            off, _ = add_network(build, f"vnet-acme-lab{copy}", ("lab",))
            add_flow_log(build, off, f"vnet-acme-lab{copy}-flow", days=90, enabled=False)
        else:
            _add_logged(build, f"vnet-acme-{short}{copy}", days=7)


def _add_logged(build: Builder, name: str, *, days: int) -> None:
    network, _ = add_network(build, name, ("web", "data"))
    add_flow_log(build, network, f"{name}-flow", days=days, analytics=True)


def add_network(
    build: Builder, name: str, subnets: tuple[str, ...], group: str = "rg-platform"
) -> tuple[str, list[str]]:
    """Adds a virtual network whose subnets have a security group each; its id and those of the groups."""
    etag = f'W/"{build.guid()}"'
    id = build.id(VNET, group, name)
    second = build.random.randrange(1, 250)
    groups, shown = [], []
    for place, subnet in enumerate(subnets):
        below = f"{id}/subnets/{subnet}"
        nsg = _add_group(build, group, f"nsg-{name.removeprefix('vnet-')}-{subnet}", below)
        groups.append(nsg)
        properties: dict[str, Any] = {
            "provisioningState": "Succeeded",
            "addressPrefix": f"10.{second}.{place}.0/24",
            "networkSecurityGroup": {"id": nsg},
            "serviceEndpoints": [],
            "delegations": [],
            "privateEndpointNetworkPolicies": "Disabled",
            "privateLinkServiceNetworkPolicies": "Enabled",
        }
        shown.append({"name": subnet, "id": below, "etag": etag, "properties": properties, "type": SUBNET})
    whole = {
        "provisioningState": "Succeeded",
        "resourceGuid": build.guid(),
        "addressSpace": {"addressPrefixes": [f"10.{second}.0.0/16"]},
        "subnets": shown,
        "virtualNetworkPeerings": [],
        "enableDdosProtection": False,
    }
    return build.add(VNET, group, name, whole, etag=etag), groups


def _add_group(build: Builder, group: str, name: str, subnet: str) -> str:
    etag = f'W/"{build.guid()}"'
    id = build.id(NSG, group, name)
    rules = [("AllowHttpsInBound", "Inbound", "Allow", 100, "Internet", "*")]
    properties = {
        "provisioningState": "Succeeded",
        "resourceGuid": build.guid(),
        "securityRules": [_rule(id, etag, "securityRules", rule) for rule in rules],
        "defaultSecurityRules": [_rule(id, etag, "defaultSecurityRules", rule) for rule in DEFAULTS],
        "subnets": [{"id": subnet}],
    }
    return build.add(NSG, group, name, properties, etag=etag)


def _rule(group: str, etag: str, kind: str, rule: tuple[str, str, str, int, str, str]) -> dict[str, Any]:
    name, direction, access, priority, source, destination = rule
    own = kind == "securityRules"
    properties: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "protocol": "Tcp" if own else "*",
        "sourcePortRange": "*",
        "destinationPortRange": "443" if own else "*",
        "sourceAddressPrefix": source,
        "destinationAddressPrefix": destination,
        "access": access,
        "priority": priority,
        "direction": direction,
        "sourcePortRanges": [],
        "destinationPortRanges": [],
        "sourceAddressPrefixes": [],
        "destinationAddressPrefixes": [],
    }
    head = {"name": name, "id": f"{group}/{kind}/{name}", "etag": etag, "type": f"{NSG}/{kind}"}
    return {**head, "properties": properties}


# --- flow logs ---


def add_watcher(build: Builder) -> str:
    """Adds the network watcher that Azure itself makes in every region in use; its id."""
    name = f"NetworkWatcher_{build.location}"
    properties = {"provisioningState": "Succeeded"}
    return build.add(WATCHER, "NetworkWatcherRG", name, properties, etag=f'W/"{build.guid()}"')


def add_flow_log(
    build: Builder, target: str, name: str, *, days: int, enabled: bool = True, analytics: bool = False
) -> None:
    """Adds a flow log of a network or of a security group. ``days`` of retention 0 is for ever."""
    watcher = build.id(WATCHER, "NetworkWatcherRG", f"NetworkWatcher_{build.location}")
    configuration: dict[str, Any] = {"enabled": False}
    if analytics:
        workspace = build.world.require(build.sink.workspace.lower())
        configuration = {
            "enabled": True,
            "workspaceId": workspace["properties"]["customerId"],
            "workspaceRegion": build.location,
            "workspaceResourceId": build.sink.workspace,
            "trafficAnalyticsInterval": 60,
        }
    properties = {
        "provisioningState": "Succeeded",
        "targetResourceId": target,
        "targetResourceGuid": build.world.require(target.lower())["properties"]["resourceGuid"],
        "storageId": build.sink.account,
        "enabled": enabled,
        "flowAnalyticsConfiguration": {"networkWatcherFlowAnalyticsConfiguration": configuration},
        "retentionPolicy": {"days": days, "enabled": days > 0},
        "format": {"type": "JSON", "version": 2},
    }
    etag = f'W/"{build.guid()}"'
    build.child(watcher, FLOW_LOG, name, properties, location=build.location, tags=build.tags, etag=etag)
