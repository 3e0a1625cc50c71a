"""Every running EC2 instance is online in Systems Manager.

Why: an instance that Systems Manager does not reach is neither scanned nor patched, and no patch report mentions it.
Remedy: give the instance a profile with AmazonSSMManagedInstanceCore and a route to Systems Manager, start SSM Agent.

Cost: one call for 1000 instances of the region, then one for 50 running instances.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, good, not_applicable, not_satisfied, one_of, outside, satisfied, text
from collector.clouds.aws import Account
from collector.model import Verdict

STATES = ("pending", "running", "shutting-down", "stopped", "stopping", "terminated")
PINGS = ("ConnectionLost", "Inactive", "Online")
TOGETHER = 50  # DescribeInstanceInformation gives at most 50 instances a page


@dataclass(frozen=True)
class Management:
    state: str
    ping: str  # "" when Systems Manager does not know the instance


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    """Every instance that EC2 knows, since Systems Manager lists only what it manages; asked about in groups."""
    found = [each for part in aws.each("ec2", "describe_instances", "Reservations") for each in part["Instances"]]
    running = sorted(each["InstanceId"] for each in found if each["State"]["Name"] == "running")
    groups = {id: running[n - n % TOGETHER : n - n % TOGETHER + TOGETHER] for n, id in enumerate(running)}
    for each in found:
        arn = aws.arn("ec2", f"instance/{text(each['InstanceId'])}")
        yield {**each, "arn": arn, "group": groups.get(each["InstanceId"], [])}


def observe(aws: Account, instance: Mapping[str, Any]) -> Management:
    state = one_of(instance["State"]["Name"], STATES)
    if state != "running":
        return Management(state, ping="")
    these = [{"Key": "InstanceIds", "Values": instance["group"]}]
    known = aws.each(
        "ssm", "describe_instance_information", "InstanceInformationList", Filters=these, MaxResults=TOGETHER
    )
    pings = [one_of(each["PingStatus"], PINGS) for each in known if each["InstanceId"] == instance["InstanceId"]]
    if len(pings) > 1:
        raise LookupError(f"single entry for {instance['InstanceId']}")
    return Management(state, ping=pings[0] if pings else "")


def evaluate(found: Management) -> Verdict:
    if found.state != "running":
        return not_applicable(f"is {found.state}")
    if not found.ping:
        return not_satisfied("is running and unknown to Systems Manager")
    if found.ping != "Online":
        return not_satisfied(f"is running and not reached by Systems Manager ({found.ping})")
    return satisfied("is running and online in Systems Manager")


CHECK = Check(
    id="aws-ec2-ssm-managed",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=("ec2:DescribeInstances", "ssm:DescribeInstanceInformation"),
    per="region",
    see=(
        "aws-config:ec2-instance-managed-by-systems-manager",
        "prowler:ec2_instance_managed_by_ssm",
        "securityhub:SSM.1",
    ),
    population=population,
    name=lambda instance: instance["arn"],
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Management("running", ping="Online")),
        bad(Management("running", ping="ConnectionLost")),
        bad(Management("running", ping="")),
        outside(Management("stopped", ping="")),
    ),
)
