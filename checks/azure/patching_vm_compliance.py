"""Every virtual machine and Arc machine misses no critical or security patch, by a recent assessment.

Why: what a published patch mends is what attackers try first.
Remedy: choose Update Manager > Machines, switch on periodic assessment, then install the updates that it finds.

Cost: four calls for 1000 machines of the tenant.
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
    number,
    one_of,
    outside,
    satisfied,
    text,
)
from collector.clouds.azure import Tenant
from collector.errors import Unreadable
from collector.model import Verdict

KINDS = ("microsoft.compute/virtualmachines", "microsoft.hybridcompute/machines")
OFF = ("deallocated", "deallocating", "stopped", "stopping")
POWER = (*OFF, "running", "starting")
ARC = ("AwaitingConnection", "Connected", "Disconnected", "Error", "Expired")
STATUS = ("CompletedWithWarnings", "Failed", "InProgress", "Succeeded", "Unknown")


@dataclass(frozen=True)
class Machine:
    state: str  # of its power, or of Arc's agent on it
    assessment: str = ""  # how the last one ended; "" where there is none
    age_days: int = 0  # of that assessment
    critical: int = 0  # patches that it found missing
    security: int = 0


@dataclass(frozen=True)
class Limits:
    assessment_age_days_max: int = 7


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    """All machines with their last assessment; Update Manager itself lists only those it has assessed."""
    for kind in KINDS:
        rows = azure.resources(f"{kind}/patchassessmentresults", "patchassessmentresources")
        assessed = {text(row["id"]).lower(): row for row in rows}
        for machine in azure.resources(kind):
            last = assessed.get(f"{text(machine['id']).lower()}/patchassessmentresults/latest")
            yield {**machine, "arc": kind == KINDS[1], "assessment": last}


def observe(azure: Tenant, machine: Mapping[str, Any]) -> Machine:
    if machine["arc"]:
        state = one_of(field(machine, "properties.status"), ARC)
    else:
        code = text(field(machine, "properties.extended.instanceView.powerState.code"))
        state = one_of(code.removeprefix("PowerState/"), POWER)
    last = machine["assessment"]
    if state in OFF or last is None:
        return Machine(state)
    status = one_of(field(last, "properties.status"), STATUS)
    if status == "InProgress":
        raise Unreadable("the machine is being assessed; the next run sees the result")
    age = azure.age_days(field(last, "properties.lastModifiedDateTime"))
    if status != "Succeeded":
        return Machine(state, status, age)
    missing = field(last, "properties.availablePatchCountByClassification")
    return Machine(state, status, age, number(field(missing, "critical")), number(field(missing, "security")))


def evaluate(machine: Machine, limits: Limits) -> Verdict:
    if machine.state in OFF:
        return not_applicable(f"is {machine.state}")
    if not machine.assessment:
        return not_satisfied(f"is {machine.state} and has no patch assessment; Azure keeps one for 7 days")
    if machine.assessment != "Succeeded":
        return not_satisfied(f"has a last patch assessment that is {machine.assessment}")
    if machine.age_days > limits.assessment_age_days_max:
        return not_satisfied(f"was not assessed for patches within {limits.assessment_age_days_max} days")
    if machine.critical or machine.security:
        return not_satisfied(f"misses {machine.critical} critical and {machine.security} security patches")
    return satisfied("misses no critical or security patch")


CHECK = LimitedCheck(
    id="azure-vm-patch-compliance",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=(
        "Microsoft.Compute/virtualMachines/patchAssessmentResults/read",  # a role cannot name it, only .../*
        "Microsoft.Compute/virtualMachines/read",
        "Microsoft.HybridCompute/machines/patchAssessmentResults/read",
        "Microsoft.HybridCompute/machines/read",
    ),
    per="subscription",
    see=("prowler:defender_ensure_system_updates_are_applied",),
    population=population,
    name=lambda machine: str(machine["id"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Machine("running", "Succeeded", 1)),
        *map(bad, (Machine("running"), Machine("Disconnected"), Machine("running", "Failed"))),
        *map(bad, (Machine("running", "Succeeded", 8), Machine("Connected", "Succeeded", 0, 0, 2))),
        outside(Machine("deallocated")),
    ),
)
