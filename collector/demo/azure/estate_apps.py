"""The seeded apps of acme: sites, their slots, function apps, and the configuration of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.demo.azure.estate_data import short_of

if TYPE_CHECKING:
    from collector.demo.azure.estate import Builder

PLAN = "Microsoft.Web/serverfarms"
SITE = "Microsoft.Web/sites"
SLOT = "Microsoft.Web/sites/slots"
# Long names of regions are what App Service answers with.
REGIONS = {"westeurope": "West Europe", "northeurope": "North Europe"}
ANYBODY = [
    {"ipAddress": "Any", "action": "Allow", "priority": 2147483647, "name": "Allow all", "description": "All access"}
]
DOCUMENTS = ["Default.htm", "Default.html", "index.htm", "index.html", "hostingstart.html"]
# What no app of acme sets and every configuration has: one object for all of them.
CONFIGURATION: dict[str, Any] = {
    "numberOfWorkers": 1,
    "defaultDocuments": DOCUMENTS,
    "netFrameworkVersion": "v4.0",
    "phpVersion": "",
    "pythonVersion": "",
    "nodeVersion": "",
    "powerShellVersion": "",
    "windowsFxVersion": None,
    "requestTracingEnabled": False,
    "remoteDebuggingEnabled": False,
    "httpLoggingEnabled": True,
    "logsDirectorySizeLimit": 35,
    "detailedErrorLoggingEnabled": False,
    "appSettings": None,
    "connectionStrings": None,
    "scmType": "None",
    "use32BitWorkerProcess": False,
    "webSocketsEnabled": False,
    "alwaysOn": True,
    "appCommandLine": "",
    "managedPipelineMode": "Integrated",
    "virtualApplications": [{"virtualPath": "/", "physicalPath": "site\\wwwroot", "preloadEnabled": True}],
    "loadBalancing": "LeastRequests",
    "experiments": {"rampUpRules": []},
    "autoHealEnabled": False,
    "vnetName": "",
    "vnetRouteAllEnabled": False,
    "localMySqlEnabled": False,
    "ipSecurityRestrictions": ANYBODY,
    "scmIpSecurityRestrictions": ANYBODY,
    "scmIpSecurityRestrictionsUseMain": False,
    "http20Enabled": True,
    "scmMinTlsVersion": "1.2",
    "ftpsState": "Disabled",
    "preWarmedInstanceCount": 0,
    "functionAppScaleLimit": 0,
    "functionsRuntimeScaleMonitoringEnabled": False,
    "minimumElasticInstanceCount": 1,
}
# What a site says of what it has not.
NOTHING = dict.fromkeys(
    (
        *("clientCertExclusionPaths", "cloningInfo", "hostingEnvironmentProfile", "inProgressOperationId"),
        *("maxNumberOfWorkers", "publicNetworkAccess", "slotSwapStatus", "suspendedTill", "targetSwapSlot"),
        "trafficManagerHostNames",
    )
)


def add_apps(build: Builder) -> None:
    short = short_of(build)
    plan = _add_plan(build, f"asp-acme-{short}")
    for copy in build.copies():
        if build.environment == "production":
            portal = _add_site(build, plan, f"app-acme-portal{copy}", https=True, minimum="1.2")
            _add_site(build, plan, "staging", https=True, minimum="1.1", slot_of=portal)
            _add_site(build, plan, f"app-acme-shop{copy}", https=False, minimum="1.2")
            _add_site(build, plan, f"func-acme-invoices{copy}", https=True, minimum="1.3", kind="functionapp,linux")
            _add_site(build, plan, f"func-acme-legacy{copy}", https=True, minimum="1.0", kind="functionapp,linux")
        else:
            site = _add_site(build, plan, f"app-acme-{short}{copy}", https=True, minimum="1.2")
            _add_site(build, plan, "preview", https=True, minimum="1.2", slot_of=site)


def _add_plan(build: Builder, name: str) -> str:
    properties = {
        "workerTierName": None,
        "status": "Ready",
        "maximumNumberOfWorkers": 30,
        "geoRegion": REGIONS[build.location],
        "numberOfSites": 4,
        "numberOfWorkers": 1,
        "perSiteScaling": False,
        "reserved": True,
        "isXenon": False,
        "hyperV": False,
        "targetWorkerCount": 0,
        "targetWorkerSizeId": 0,
        "provisioningState": "Succeeded",
        "resourceGroup": "rg-platform",
        "subscription": build.subscription,
        "zoneRedundant": False,
    }
    sku = {"name": "P1v3", "tier": "PremiumV3", "size": "P1v3", "family": "Pv3", "capacity": 1}
    return build.add(PLAN, "rg-platform", name, properties, kind="linux", sku=sku, location=REGIONS[build.location])


def _add_site(
    build: Builder,
    plan: str,
    name: str,
    *,
    https: bool,
    minimum: str,
    kind: str = "app,linux",
    slot_of: str = "",
) -> str:
    """Adds a site, or a slot of one, with the row of its configuration; its id."""
    whole = f"{slot_of.rpartition('/')[2]}-{name}" if slot_of else name
    host = f"{whole}.azurewebsites.net"
    region = REGIONS[build.location]
    shown = f"{slot_of.rpartition('/')[2]}/{name}" if slot_of else name
    outbound = f"20.105.{build.random.randrange(1, 255)}.{build.random.randrange(1, 255)},20.105.0.1"
    properties: dict[str, Any] = {
        **NOTHING,
        "name": f"{slot_of.rpartition('/')[2]}({name})" if slot_of else name,
        "state": "Running",
        "hostNames": [host],
        "webSpace": f"rg-platform-{region.replace(' ', '')}webspace-Linux",
        "repositorySiteName": whole,
        "usageState": "Normal",
        "enabled": True,
        "adminEnabled": True,
        "enabledHostNames": [host, f"{whole}.scm.azurewebsites.net"],
        "availabilityState": "Normal",
        "hostNameSslStates": [
            {"name": host, "sslState": "Disabled", "ipBasedSslState": "NotConfigured", "hostType": "Standard"},
        ],
        "serverFarmId": plan,
        "reserved": True,
        "isXenon": False,
        "hyperV": False,
        "lastModifiedTimeUtc": build.ago(30),
        "vnetRouteAllEnabled": False,
        "sku": "PremiumV3",
        # What a listing says of the configuration: hardly anything, and nothing of TLS.
        "siteConfig": {
            "numberOfWorkers": 1,
            "linuxFxVersion": "",
            "acrUseManagedIdentityCreds": False,
            "alwaysOn": False,
            "http20Enabled": False,
            "functionAppScaleLimit": 0,
            "minimumElasticInstanceCount": 0,
            "minTlsVersion": None,
            "ftpsState": None,
        },
        "scmSiteAlsoStopped": False,
        "clientAffinityEnabled": False,
        "clientCertEnabled": False,
        "clientCertMode": "Required",
        "hostNamesDisabled": False,
        "customDomainVerificationId": build.hex(64).upper(),
        "containerSize": 0,
        "dailyMemoryTimeQuota": 0,
        "resourceGroup": "rg-platform",
        "defaultHostName": host,
        "httpsOnly": https,
        "redundancyMode": "None",
        "outboundIpAddresses": outbound,
        "possibleOutboundIpAddresses": outbound,
        "storageAccountRequired": False,
        "keyVaultReferenceIdentity": "SystemAssigned",
    }
    members: dict[str, Any] = {"kind": kind, "location": region, "identity": build.identity()}
    if slot_of:
        site = build.child(slot_of, SLOT, name, properties, shown=shown, tags=build.tags, **members)
    else:
        site = build.add(SITE, "rg-platform", name, properties, **members)
    configuration = {
        **CONFIGURATION,
        "linuxFxVersion": "PYTHON|3.12" if kind.startswith("functionapp") else "NODE|22-lts",
        "publishingUsername": f"${whole}",
        "minTlsVersion": minimum,
    }
    config = f"{SLOT if slot_of else SITE}/config"
    build.child(site, config, "web", configuration, shown=shown, location=region)
    return site
