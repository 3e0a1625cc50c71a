"""Every running machine is free of missing system updates by Defender for Cloud.

Why: a second look finds machines that the patch programme forgot.
Remedy: switch on Defender for Servers, then follow "System updates should be installed on your machines".

Cost: one call for 1000 machines of the tenant and one for 1000 assessments.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Check,
    Family,
    absent_means,
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
from collector.clouds.azure import Tenant
from collector.model import Verdict

ASSESSMENT = "e1145ab1-eb4f-43d8-911b-36ddf771d13f"  # system updates, powered by Azure Update Manager
POWER = ("deallocated", "deallocating", "running", "starting", "stopped", "stopping")


@dataclass(frozen=True)
class Machine:
    power: str
    code: str = ""  # Healthy, NotApplicable, Unhealthy; "" where Defender has not assessed it, or it does not run
    cause: str = ""  # why it is not applicable, where Defender says so


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    """All virtual machines; Defender lists only those that it assesses."""
    rows = azure.resources("microsoft.security/assessments", "securityresources")
    assessed = {text(row["id"]).lower(): row for row in rows}
    for machine in azure.resources("microsoft.compute/virtualmachines"):
        child = f"{text(machine['id']).lower()}/providers/microsoft.security/assessments/{ASSESSMENT}"
        yield {**machine, "assessment": assessed.get(child)}


def observe(azure: Tenant, machine: Mapping[str, Any]) -> Machine:
    code = text(field(machine, "properties.extended.instanceView.powerState.code"))
    power = one_of(code.removeprefix("PowerState/"), POWER)
    if power not in ("running", "starting") or machine["assessment"] is None:
        return Machine(power)
    status = field(machine["assessment"], "properties.status")
    because = "Assessments, AssessmentStatus: cause is a programmatic code for the status, and optional"
    cause = absent_means(status, "cause", "", because=because)
    return Machine(power, one_of(field(status, "code"), ("Healthy", "NotApplicable", "Unhealthy")), str(cause))


def evaluate(machine: Machine) -> Verdict:
    if machine.power not in ("running", "starting"):
        return not_applicable(f"is {machine.power}")
    if not machine.code:
        return not_satisfied("is not assessed by Defender for Cloud")
    if machine.code == "NotApplicable" and machine.cause == "OffByPolicy":
        return not_satisfied("is not assessed by Defender for Cloud: a policy switches the assessment off")
    if machine.code == "NotApplicable":
        return not_applicable(f"is not assessed by Defender for Cloud ({machine.cause or 'no cause given'})")
    if machine.code == "Unhealthy":
        return not_satisfied("misses system updates")
    return satisfied("misses no system updates")


CHECK = Check(
    id="azure-defender-system-updates",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=("Microsoft.Compute/virtualMachines/read", "Microsoft.Security/assessments/read"),
    per="subscription",
    see=("prowler:defender_ensure_system_updates_are_applied",),
    population=population,
    name=lambda machine: str(machine["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Machine("running", "Healthy")),
        *map(bad, (Machine("running"), Machine("running", "Unhealthy"))),
        bad(Machine("running", "NotApplicable", "OffByPolicy")),
        *map(outside, (Machine("deallocated"), Machine("running", "NotApplicable", "Exempt"))),
    ),
)
