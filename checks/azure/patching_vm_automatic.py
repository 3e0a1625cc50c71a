"""Every running virtual machine is patched automatically.

Why: patches that wait for somebody to install them wait for months.
Remedy: choose Update Manager > Machines > Update settings > Patch orchestration > Azure Managed - Safe Deployment.

Cost: three calls for 1000 machines of the tenant.
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
    not_applicable,
    not_satisfied,
    one_of,
    outside,
    satisfied,
    text,
)
from collector.clouds.azure import Tenant
from collector.errors import Unreadable
from collector.model import Verdict

POWER = ("deallocated", "deallocating", "running", "starting", "stopped", "stopping")
AUTOMATIC = {"AutomaticByOS": "Windows itself", "AutomaticByPlatform": "Azure"}
MODES = (*AUTOMATIC, "ImageDefault", "Manual")


@dataclass(frozen=True)
class Machine:
    power: str
    mode: str = ""  # AutomaticByOS, AutomaticByPlatform, ImageDefault, Manual; "" where it does not run
    unscheduled: bool = False  # left to schedules of the customer, of which none is assigned


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    """Virtual machines, those of flexible scale sets too, with their schedules; Arc does not patch by itself."""
    found = azure.resources("microsoft.maintenance/maintenanceconfigurations")
    scopes = {text(each["id"]).lower(): field(each, "properties.maintenanceScope") for each in found}
    assigned: dict[str, list[str]] = {}
    for each in azure.resources("microsoft.maintenance/configurationassignments", "maintenanceresources"):
        target = text(field(each, "properties.resourceId")).lower()
        assigned.setdefault(target, []).append(text(field(each, "properties.maintenanceConfigurationId")).lower())
    dynamic = any("/providers/" not in target for target in assigned)  # to what a filter finds in a subscription
    for vm in azure.resources("microsoft.compute/virtualmachines"):
        schedules = assigned.get(text(vm["id"]).lower(), [])
        yield {**vm, "schedules": schedules, "scopes": scopes, "dynamic": dynamic}


def observe(azure: Tenant, vm: Mapping[str, Any]) -> Machine:
    code = text(field(vm, "properties.extended.instanceView.powerState.code"))
    power = one_of(code.removeprefix("PowerState/"), POWER)
    if power not in ("running", "starting"):
        return Machine(power)
    if one_of(field(vm, "properties.storageProfile.osDisk.osType"), ("Linux", "Windows")) == "Linux":
        settings, unset = field(vm, "properties.osProfile.linuxConfiguration"), "ImageDefault"
    else:
        settings, unset = field(vm, "properties.osProfile.windowsConfiguration"), "AutomaticByOS"
        if not boolean(field(settings, "enableAutomaticUpdates")):
            return Machine(power, "Manual")
    because = "Virtual Machines, patchMode: Linux keeps its image's ways, Windows with enableAutomaticUpdates its own"
    mode = one_of(absent_means(settings, "patchSettings.patchMode", unset, because=because), MODES)
    because = "Update Manager: only customer managed schedules set it to true; Azure then no longer patches by itself"
    bypass = "patchSettings.automaticByPlatformSettings.bypassPlatformSafetyChecksOnUserSchedule"
    by_customer = mode == "AutomaticByPlatform" and boolean(absent_means(settings, bypass, False, because=because))
    return Machine(power, mode, unscheduled=by_customer and not scheduled(vm))


def scheduled(vm: Mapping[str, Any]) -> bool:
    """Whether a schedule that patches is assigned to the machine. Raises Unreadable where only a filter could tell."""
    if "InGuestPatch" in [vm["scopes"][schedule] for schedule in vm["schedules"]]:
        return True
    if vm["dynamic"]:
        raise Unreadable("schedules are assigned by dynamic scopes; assign one to the machine itself to show it here")
    return False


def evaluate(machine: Machine) -> Verdict:
    if not machine.mode:
        return not_applicable(f"is {machine.power}")
    if machine.mode not in AUTOMATIC:
        return not_satisfied(f"is not patched automatically: its patch mode is {machine.mode}")
    if machine.unscheduled:
        return not_satisfied("waits for a maintenance schedule, and none is assigned to it")
    return satisfied(f"is patched by {AUTOMATIC[machine.mode]}")


CHECK = Check(
    id="azure-vm-automatic-patching",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=(
        "Microsoft.Compute/virtualMachines/read",
        "Microsoft.Maintenance/configurationAssignments/read",
        "Microsoft.Maintenance/maintenanceConfigurations/read",
    ),
    per="subscription",
    population=population,
    name=lambda vm: str(vm["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        *map(good, (Machine("running", "AutomaticByPlatform"), Machine("running", "AutomaticByOS"))),
        *map(bad, (Machine("running", "ImageDefault"), Machine("running", "AutomaticByPlatform", unscheduled=True))),
        outside(Machine("deallocated")),
    ),
)
