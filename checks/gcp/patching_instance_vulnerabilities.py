"""Every running VM has a vulnerability report without critical or high findings that a fix exists for.

Why: what a published package mends is what attackers try first.
Remedy: choose VM Manager > Patch > New patch deployment for the VM, and let it run again until the report is clean.

Cost: one call for 1000 VMs of the organization, one for 100 VMs of each zone that has running ones.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Family,
    LimitedCheck,
    absent_means,
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
from collector.clouds.gcp import Organization
from collector.model import Verdict

STATES = (
    *("DEPROVISIONING", "PENDING", "PENDING_STOP", "PROVISIONING", "REPAIRING", "RUNNING", "STAGING"),
    *("STOPPED", "STOPPING", "SUSPENDED", "SUSPENDING", "TERMINATED"),
)
SEVERE = ("CRITICAL", "HIGH")
SEVERITIES = ("NONE", "MINIMAL", "LOW", "MEDIUM", *SEVERE)
CLEAN = "OS Config API, VulnerabilityReport.vulnerabilities: the list of them; proto3 JSON leaves an empty list out"
NO_FIX = "OS Config API, VulnerabilityReport, Item.availableInventoryItemId: if there is no available fix, it is empty"


@dataclass(frozen=True)
class Machine:
    state: str
    worst: str = ""  # severity of what a package that is available would mend; "" without a report
    age_days: int = 0  # of the report


@dataclass(frozen=True)
class Limits:
    report_age_days_max: int = 30


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """All VMs; VM Manager itself lists only those that report."""
    return gcp.assets("compute.googleapis.com/Instance")


def observe(gcp: Organization, machine: Mapping[str, Any]) -> Machine:
    data = field(machine, "resource.data")
    state = one_of(field(data, "status"), STATES)
    if state != "RUNNING":
        return Machine(state)
    place = f"locations/{text(field(data, 'zone')).rpartition('/')[2]}"
    path = f"/v1/projects/{gcp.project}/{place}/instances/-/vulnerabilityReports"  # of one zone: "-" is refused
    own = f"/{place}/instances/{number(field(data, 'id'))}/vulnerabilityReport"
    for report in gcp.each("osconfig.googleapis.com", path, "vulnerabilityReports", pageSize=100):
        if text(field(report, "name")).endswith(own):
            return Machine(state, worst_of(report), gcp.age_days(field(report, "updateTime")))
    return Machine(state)


def worst_of(report: Mapping[str, Any]) -> str:
    """The highest severity that an available package mends. Only a report without any such package may leave it out."""
    fixes = [
        absent_means(item, "availableInventoryItemId", "", because=NO_FIX)
        for vulnerability in absent_means(report, "vulnerabilities", [], because=CLEAN)
        for item in field(vulnerability, "items")
    ]
    if not any(fixes):
        return one_of(absent_means(report, "highestUpgradableCveSeverity", "NONE", because=NO_FIX), SEVERITIES)
    return one_of(field(report, "highestUpgradableCveSeverity"), SEVERITIES)


def evaluate(machine: Machine, limits: Limits) -> Verdict:
    if machine.state != "RUNNING":
        return not_applicable(f"is {machine.state}")
    if not machine.worst:
        return not_satisfied("is running and has no vulnerability report")
    if machine.age_days > limits.report_age_days_max:
        return not_satisfied(f"has no vulnerability report of the last {limits.report_age_days_max} days")
    if machine.worst in SEVERE:
        return not_satisfied(f"has a vulnerability of severity {machine.worst} for which there is a fix")
    return satisfied("has no critical or high vulnerability for which there is a fix")


CHECK = LimitedCheck(
    id="gcp-instance-vulnerabilities",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=(
        "api:osconfig.googleapis.com",
        "cloudasset.assets.listResource",
        "osconfig.vulnerabilityReports.list",
    ),
    per="project",
    see=("cis-gcp-3.0:4.12",),
    population=population,
    name=lambda machine: str(machine["name"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        *map(good, (Machine("RUNNING", "NONE"), Machine("RUNNING", "MEDIUM", 30))),
        *map(bad, (Machine("RUNNING"), Machine("RUNNING", "HIGH"), Machine("RUNNING", "NONE", 31))),
        outside(Machine("TERMINATED")),
    ),
)
