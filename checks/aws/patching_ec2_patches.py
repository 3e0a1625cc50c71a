"""Every running EC2 instance was scanned lately and lacks no critical or security patch.

Why: known holes in operating systems are what automated attacks look for first.
Remedy: run AWS-RunPatchBaseline with Install under Systems Manager > Patch Manager on the instance, and reboot it.

Cost: one call for 1000 instances of the region, then one for 50 running instances.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector import check
from collector.check import Family, LimitedCheck, bad, good, not_applicable, not_satisfied, outside, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict

STATES = ("pending", "running", "shutting-down", "stopped", "stopping", "terminated")
TOGETHER = 50  # DescribeInstancePatchStates takes at most 50 instances


@dataclass(frozen=True)
class Patches:
    state: str
    known: bool = False  # Patch Manager has a patch state of it
    scan_age_days: int = 0
    critical: int = 0  # missing, failed, rejected, or waiting for a reboot
    security: int = 0


@dataclass(frozen=True)
class Limits:
    scan_days_max: int = 7
    missing_critical_max: int = 0
    missing_security_max: int = 0


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    """Every instance that EC2 knows, since Patch Manager lists only what it scanned; asked about in groups."""
    found = [each for part in aws.each("ec2", "describe_instances", "Reservations") for each in part["Instances"]]
    running = sorted(each["InstanceId"] for each in found if each["State"]["Name"] == "running")
    groups = {id: running[n - n % TOGETHER : n - n % TOGETHER + TOGETHER] for n, id in enumerate(running)}
    for each in found:
        arn = aws.arn("ec2", f"instance/{check.text(each['InstanceId'])}")
        yield {**each, "arn": arn, "group": groups.get(each["InstanceId"], [])}


def observe(aws: Account, instance: Mapping[str, Any]) -> Patches:
    state = check.one_of(instance["State"]["Name"], STATES)
    if state != "running":
        return Patches(state)
    answer = aws.each("ssm", "describe_instance_patch_states", "InstancePatchStates", InstanceIds=instance["group"])
    found = [each for each in answer if each["InstanceId"] == instance["InstanceId"]]
    age = max((aws.age_days(each["OperationEndTime"]) for each in found), default=0)
    critical = max((check.number(each["CriticalNonCompliantCount"]) for each in found), default=0)
    security = max((check.number(each["SecurityNonCompliantCount"]) for each in found), default=0)
    return Patches(state, bool(found), age, critical, security)


def evaluate(patches: Patches, limits: Limits) -> Verdict:
    if patches.state != "running":
        return not_applicable(f"is {patches.state}")
    if not patches.known:
        return not_satisfied("is running and Systems Manager has no patch state of it")
    if patches.scan_age_days > limits.scan_days_max:
        return not_satisfied(f"was not scanned for patches in the last {limits.scan_days_max} days")
    if patches.critical > limits.missing_critical_max or patches.security > limits.missing_security_max:
        return not_satisfied(f"lacks {patches.critical} critical and {patches.security} security patches")
    return satisfied("was scanned lately and lacks no important patch")


CHECK = LimitedCheck(
    id="aws-ec2-patch-compliance",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=("ec2:DescribeInstances", "ssm:DescribeInstancePatchStates"),
    per="region",
    see=("aws-config:ec2-managedinstance-patch-compliance-status-check", "prowler:ssm_managed_compliant_patching"),
    population=population,
    name=lambda instance: instance["arn"],
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Patches("running", True, 1)),
        *map(bad, (Patches("running", True, 8), Patches("running", True, 1, 2), Patches("running"))),
        outside(Patches("stopped")),
    ),
)
