"""The seeded Kubernetes clusters of acme, and the versions that their locations offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collector.demo.azure.estate import Builder

CLUSTER = "Microsoft.ContainerService/managedClusters"
OFFICIAL, LONG = "KubernetesOfficial", "AKSLongTermSupport"
CURRENT, OLD, ENDED = "1.33.4", "1.32.7", "1.27.7"
SKU = {"name": "Base", "tier": "Standard"}
NO_UPGRADES: dict[str, Any] = {"upgrades": []}


def add_clusters(build: Builder) -> None:
    _add_versions(build)
    for copy in build.copies():
        if build.environment == "production":
            _add_cluster(build, f"aks-acme-apps{copy}", CURRENT, channel="stable", nodes="NodeImage")
            _add_cluster(build, f"aks-acme-batch{copy}", ENDED)
            _add_cluster(build, f"aks-acme-ledger{copy}", "1.30.9", channel="patch", nodes="None", plan=LONG)
        else:
            _add_cluster(build, f"aks-acme-stg{copy}", OLD, channel="node-image", nodes="NodeImage", power="Stopped")
            _add_cluster(build, f"aks-acme-preview{copy}", OLD, channel="rapid", nodes="SecurityPatch")


def _add_versions(build: Builder) -> None:
    """What a location offers: no list of ARM, but one object."""
    both, long = {"supportPlan": [OFFICIAL, LONG]}, {"supportPlan": [LONG]}
    releases: list[dict[str, Any]] = [
        {"version": "1.30", "capabilities": long, "patchVersions": {"1.30.9": NO_UPGRADES}},
        {
            "version": "1.32",
            "capabilities": both,
            "patchVersions": {"1.32.6": {"upgrades": [OLD, CURRENT]}, OLD: {"upgrades": [CURRENT]}},
        },
        {
            "version": "1.33",
            "isDefault": True,
            "capabilities": both,
            "patchVersions": {"1.33.3": {"upgrades": [CURRENT]}, CURRENT: NO_UPGRADES},
        },
        {
            "version": "1.34",
            "isPreview": True,
            "capabilities": {"supportPlan": [OFFICIAL]},
            "patchVersions": {"1.34.0": NO_UPGRADES},
        },
    ]
    kind = "Microsoft.ContainerService/locations"
    id = f"/subscriptions/{build.subscription}/providers/{kind}/{build.location}/kubernetesVersions"
    build.store(id, f"{kind}/kubernetesVersions", {"values": releases})


def _add_cluster(
    build: Builder,
    name: str,
    version: str,
    *,
    channel: str = "",
    nodes: str = "",
    plan: str = OFFICIAL,
    power: str = "Running",
) -> None:
    minor = version.rpartition(".")[0]
    image = f"AKSUbuntu-2204gen2containerd-2025{build.random.randrange(10, 13)}.03.0"
    state = {"code": power}
    host = f"{name}-dns-{build.hex(8)}"
    properties: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "powerState": state,
        "kubernetesVersion": minor,
        "currentKubernetesVersion": version,
        "dnsPrefix": f"{name}-dns",
        "fqdn": f"{host}.hcp.{build.location}.azmk8s.io",
        "azurePortalFQDN": f"{host}.portal.hcp.{build.location}.azmk8s.io",
        "agentPoolProfiles": [
            {
                "name": pool,
                "count": 3,
                "vmSize": "Standard_D4ds_v5",
                "osDiskSizeGB": 128,
                "osDiskType": "Ephemeral",
                "kubeletDiskType": "OS",
                "maxPods": 110,
                "type": "VirtualMachineScaleSets",
                "maxCount": 5,
                "minCount": 1,
                "enableAutoScaling": True,
                "scaleDownMode": "Delete",
                "provisioningState": "Succeeded",
                "powerState": state,
                "orchestratorVersion": minor,
                "currentOrchestratorVersion": version,
                "enableNodePublicIP": False,
                "mode": mode,
                "osType": "Linux",
                "osSKU": "Ubuntu",
                "nodeImageVersion": image,
                "upgradeSettings": {"maxSurge": "10%"},
                "enableFIPS": False,
                "eTag": build.guid(),
            }
            for pool, mode in (("system", "System"), ("apps", "User"))
        ],
        "servicePrincipalProfile": {"clientId": "msi"},
        "nodeResourceGroup": f"MC_rg-platform_{name}_{build.location}",
        "enableRBAC": True,
        "supportPlan": plan,
        "networkProfile": {
            "networkPlugin": "azure",
            "networkPluginMode": "overlay",
            "networkPolicy": "cilium",
            "networkDataplane": "cilium",
            "loadBalancerSku": "standard",
            "podCidr": "10.244.0.0/16",
            "serviceCidr": "10.0.0.0/16",
            "dnsServiceIP": "10.0.0.10",
            "outboundType": "loadBalancer",
            "ipFamilies": ["IPv4"],
        },
        "disableLocalAccounts": True,
        "maxAgentPools": 100,
        "securityProfile": {},
        "storageProfile": {"diskCSIDriver": {"enabled": True}, "fileCSIDriver": {"enabled": True}},
        "oidcIssuerProfile": {"enabled": True},
        "resourceUID": build.hex(24),
    }
    if nodes:  # a cluster from before there were such channels has no profile at all
        properties["autoUpgradeProfile"] = {"upgradeChannel": channel, "nodeOSUpgradeChannel": nodes}
    build.add(CLUSTER, "rg-platform", name, properties, sku=SKU, identity=build.identity(), kind="Base")
