"""Every plan of Defender for Cloud that watches what we run is switched on.

Why: without its plan nobody watches a kind of resource, and an attack on it raises no alert.
Remedy: choose Defender for Cloud > Environment settings > the subscription > the plan > On, for each resource too.

Each plan is a subject of its own: where one is not needed, accept its deviation and say why. Sub-plans and extensions
are not judged.

Cost: one call for each subscription.
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
    not_satisfied,
    one_of,
    satisfied,
    text,
)
from collector.clouds.azure import Tenant
from collector.errors import Unreadable
from collector.model import Verdict

REQUIRED = (  # for what a server, a container, a database, a vault or Resource Manager itself is attacked by
    *("AppServices", "Arm", "Containers", "CosmosDbs", "KeyVaults", "OpenSourceRelationalDatabases"),
    *("SqlServerVirtualMachines", "SqlServers", "StorageAccounts", "VirtualMachines"),
)
TIERS = ("Free", "Standard")
COVERAGE = ("FullyCovered", "NotCovered", "PartiallyCovered")
STAYS = "Pricings, PricingProperties: deprecated is optional, true if the plan is deprecated"


@dataclass(frozen=True)
class Plan:
    tier: str  # Free, Standard
    coverage: str = ""  # FullyCovered, NotCovered, PartiallyCovered; "" where the plan is off


def population(azure: Tenant) -> Iterable[str]:
    return [f"/subscriptions/{azure.subscription}/providers/Microsoft.Security/pricings/{name}" for name in REQUIRED]


def observe(azure: Tenant, id: str) -> Plan:
    """No reference says what it means that a subscription lists no such plan: that is no answer."""
    path, _, wanted = id.rpartition("/")
    named = [plan for plan in azure.each(path, api="2024-01-01") if text(field(plan, "name")) == wanted]
    if len(named) != 1:
        raise Unreadable(f"the subscription lists {len(named)} plans {wanted}; register it for Microsoft.Security")
    properties: Mapping[str, Any] = field(named[0], "properties")
    if boolean(absent_means(properties, "deprecated", False, because=STAYS)):
        raise Unreadable(f"the plan {wanted} is deprecated; teach this check what replaces it")
    if one_of(field(properties, "pricingTier"), TIERS) == "Free":
        return Plan("Free")
    return Plan("Standard", one_of(field(properties, "resourcesCoverageStatus"), COVERAGE))


def evaluate(plan: Plan) -> Verdict:
    if plan.tier == "Free":
        return not_satisfied("is off")
    if plan.coverage != "FullyCovered":
        some = "some resources" if plan.coverage == "PartiallyCovered" else "all resources"
        return not_satisfied(f"is on for the subscription, and off for {some} in it")
    return satisfied("is on for all resources of the subscription")


CHECK = Check(
    id="azure-defender-plans",
    family=Family.LOGGING,
    criteria=("CC6.8", "CC7.2"),
    permissions=("Microsoft.Security/pricings/read",),
    per="subscription",
    see=(
        *(
            f"cis-azure-3.0:3.1.{part}"
            for part in ("3.1", "4.1", "5.1", "6.1", "7.1", "7.2", "7.3", "7.4", "8.1", "9.1")
        ),
        *(
            f"prowler:defender_ensure_defender_for_{plan}_is_on"
            for plan in (
                *("app_services", "arm", "azure_sql_databases", "containers", "cosmosdb", "keyvault"),
                *("os_relational_databases", "server", "sql_servers", "storage"),
            )
        ),
    ),
    population=population,
    name=str,
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Plan("Standard", "FullyCovered")),
        *map(bad, (Plan("Standard", "PartiallyCovered"), Plan("Standard", "NotCovered"), Plan("Free"))),
    ),
)
