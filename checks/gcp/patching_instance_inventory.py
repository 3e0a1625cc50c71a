"""Every running VM reports the packages of its operating system to VM Manager.

Why: nobody patches what nobody sees; a machine without an inventory is missing from every list of holes.
Remedy: set the metadata enable-osconfig=TRUE on the project, see that the OS Config agent runs and may report.

Nodes of GKE count too: on Container-Optimized OS the same metadata of the project makes them report.

Cost: two calls for 1000 VMs of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Family,
    LimitedCheck,
    bad,
    field,
    good,
    not_applicable,
    not_satisfied,
    one_of,
    outside,
    satisfied,
    text,
)
from collector.clouds.gcp import Organization
from collector.model import Verdict

STATES = (
    *("DEPROVISIONING", "PENDING", "PENDING_STOP", "PROVISIONING", "REPAIRING", "RUNNING", "STAGING"),
    *("STOPPED", "STOPPING", "SUSPENDED", "SUSPENDING", "TERMINATED"),
)


@dataclass(frozen=True)
class Machine:
    state: str
    known: bool = False  # VM Manager has an inventory of it
    age_days: int = 0


@dataclass(frozen=True)
class Limits:
    inventory_age_days_max: int = 7


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """All VMs; VM Manager itself lists only those that report."""
    return gcp.assets("compute.googleapis.com/Instance")


def observe(gcp: Organization, machine: Mapping[str, Any]) -> Machine:
    reported = {text(field(each, "name")): each for each in gcp.os_inventories()}
    state = one_of(field(machine, "resource.data.status"), STATES)
    if state != "RUNNING" or machine["name"] not in reported:
        return Machine(state)
    age = gcp.age_days(field(reported[machine["name"]], "osInventory.updateTime"))
    return Machine(state, known=True, age_days=age)


def evaluate(machine: Machine, limits: Limits) -> Verdict:
    if machine.state != "RUNNING":
        return not_applicable(f"is {machine.state}")
    if not machine.known:
        return not_satisfied("is running and has no OS inventory")
    if machine.age_days > limits.inventory_age_days_max:
        return not_satisfied(f"reported no OS inventory in the last {limits.inventory_age_days_max} days")
    return satisfied("reports its OS inventory")


CHECK = LimitedCheck(
    id="gcp-instance-os-inventory",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=(
        "api:osconfig.googleapis.com",
        "cloudasset.assets.listOSInventories",
        "cloudasset.assets.listResource",
    ),
    per="project",
    see=("cis-gcp-3.0:4.12",),
    population=population,
    name=lambda machine: str(machine["name"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Machine("RUNNING", known=True, age_days=1)),
        *map(bad, (Machine("RUNNING"), Machine("RUNNING", known=True, age_days=8))),
        *map(outside, (Machine("TERMINATED"), Machine("SUSPENDED"))),
    ),
)
