"""Every VPC records at least its rejected traffic in a flow log that arrives.

Why: after an incident it is the only record of who talked to whom.
Remedy: create a flow log on the VPC for all or rejected traffic, with a destination that it may write to.

Cost: one call for 1000 VPCs and one for 1000 flow logs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, good, not_satisfied, one_of, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict

TRAFFIC = ("ACCEPT", "ALL", "REJECT")
DELIVERY = ("FAILED", "SUCCESS")


@dataclass(frozen=True)
class Vpc:
    logs: tuple[str, ...]  # each active flow log as "traffic delivery": "ALL SUCCESS"


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    return [{**vpc, "arn": aws.arn("ec2", f"vpc/{vpc['VpcId']}")} for vpc in aws.each("ec2", "describe_vpcs", "Vpcs")]


def observe(aws: Account, vpc: Mapping[str, Any]) -> Vpc:
    logs = []
    for log in aws.each("ec2", "describe_flow_logs", "FlowLogs"):
        if log["ResourceId"] == vpc["VpcId"] and one_of(log["FlowLogStatus"], ("ACTIVE", "INACTIVE")) == "ACTIVE":
            logs.append(f"{one_of(log['TrafficType'], TRAFFIC)} {one_of(log['DeliverLogsStatus'], DELIVERY)}")
    return Vpc(tuple(sorted(logs)))


def evaluate(vpc: Vpc) -> Verdict:
    if {"ALL SUCCESS", "REJECT SUCCESS"} & set(vpc.logs):
        return satisfied("has a flow log of its rejected traffic that arrives")
    if {"ALL FAILED", "REJECT FAILED"} & set(vpc.logs):
        return not_satisfied("has a flow log whose delivery fails")
    return not_satisfied("has a flow log of accepted traffic only" if vpc.logs else "has no flow log")


CHECK = Check(
    id="aws-vpc-flow-logs",
    family=Family.LOGGING,
    criteria=("CC6.6", "CC7.2"),
    permissions=("ec2:DescribeFlowLogs", "ec2:DescribeVpcs"),
    per="region",
    see=("aws-config:vpc-flow-logs-enabled", "cis-aws-3.0:3.7", "prowler:vpc_flow_logs_enabled"),
    population=population,
    name=lambda vpc: str(vpc["arn"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Vpc(("ALL SUCCESS",))),
        good(Vpc(("ACCEPT SUCCESS", "REJECT SUCCESS"))),
        bad(Vpc(("ALL FAILED",))),
        bad(Vpc(("ACCEPT SUCCESS",))),
        bad(Vpc(())),
    ),
)
