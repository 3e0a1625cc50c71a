"""Every door is locked.

Why: an open door lets people in who should stay out; this check exists for tests only.
Remedy: turn the key.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, field, good, not_satisfied, one_of, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict


@dataclass(frozen=True)
class Door:
    state: str


def population(aws: Account) -> Iterable[dict[str, Any]]:
    return aws.each("ec2", "describe_volumes", "Volumes")


def observe(aws: Account, volume: dict[str, Any]) -> Door:
    return Door(one_of(field(volume, "State"), {"available", "in-use"}))


def evaluate(door: Door) -> Verdict:
    return satisfied("is locked") if door.state == "in-use" else not_satisfied("is open")


CHECK = Check(
    id="aws-test-door",
    family=Family.MFA,
    criteria=("CC6.1",),
    permissions=("ec2:DescribeVolumes",),
    per="region",
    population=population,
    name=lambda volume: str(volume["VolumeId"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(Door("in-use")), bad(Door("available"))),
)
