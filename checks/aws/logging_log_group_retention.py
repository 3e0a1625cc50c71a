"""Every CloudWatch log group keeps its events long enough.

Why: an intrusion is often found months after it began, and by then the log must still be there.
Remedy: choose Edit retention settings on the log group, with a year or Never expire.

Cost: one call for 50 log groups.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Family,
    LimitedCheck,
    absent_means,
    bad,
    good,
    not_applicable,
    not_satisfied,
    number,
    one_of,
    outside,
    satisfied,
)
from collector.clouds.aws import Account
from collector.model import Verdict

CLASSES = ("DELIVERY", "ESSENTIALS", "INFREQUENT_ACCESS", "STANDARD")
FOR_EVER = "API_LogGroup, retentionInDays, and DeleteRetentionPolicy: a log group without a retention never expires"
STANDARD = "API_CreateLogGroup, logGroupClass: without a class the log group is of the Standard class"


@dataclass(frozen=True)
class LogGroup:
    days: int  # 0: its events never expire
    kind: str = "STANDARD"


@dataclass(frozen=True)
class Limits:
    retention_days_min: int = 365


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    return aws.each("logs", "describe_log_groups", "logGroups", limit=50)


def observe(aws: Account, group: Mapping[str, Any]) -> LogGroup:
    kind = one_of(absent_means(group, "logGroupClass", "STANDARD", because=STANDARD), CLASSES)
    return LogGroup(number(absent_means(group, "retentionInDays", 0, because=FOR_EVER)), kind)


def evaluate(group: LogGroup, limits: Limits) -> Verdict:
    if group.kind == "DELIVERY":
        return not_applicable("only hands its events on, which by its class it keeps for a day or two")
    if group.days == 0:
        return satisfied("keeps its events for ever")
    if group.days >= limits.retention_days_min:
        return satisfied(f"keeps its events for {group.days} days")
    return not_satisfied(f"keeps its events for {group.days} days, less than {limits.retention_days_min}")


CHECK = LimitedCheck(
    id="aws-log-group-retention",
    family=Family.LOGGING,
    criteria=("CC7.2", "CC7.3"),
    permissions=("logs:DescribeLogGroups",),
    per="region",
    see=(
        "aws-config:cw-loggroup-retention-period-check",
        "prowler:cloudwatch_log_group_retention_policy_specific_days_enabled",
    ),
    population=population,
    name=lambda group: str(group["arn"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(good(LogGroup(0)), good(LogGroup(400)), bad(LogGroup(30)), outside(LogGroup(1, "DELIVERY"))),
)
