"""A trail records every management event of all regions, validates its files, and delivers them.

Why: without it nobody can say afterwards who did what, or that the record is whole.
Remedy: make a multi-region trail with log file validation, all management events and a bucket that it may write to.

Cost: one call, and two for each multi-region trail.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from collector.check import (
    Family,
    LimitedCheck,
    absent_means,
    bad,
    boolean,
    good,
    not_satisfied,
    one_of,
    satisfied,
    text,
)
from collector.clouds.aws import Account
from collector.model import Verdict

NEVER = "API_GetTrailStatus: the last time that files were delivered; a trail that never delivered has none"
NO_ERROR = "API_GetTrailStatus: the error met in the last delivery; none when there was none"
MANAGEMENT = [{"Field": "eventCategory", "Equals": ["Management"]}]  # and nothing that narrows it
BASIC = "API_GetEventSelectors: a trail has basic or advanced event selectors, and the other list is left out"


@dataclass(frozen=True)
class Trails:
    whole: tuple[str, ...] = ()  # that record all, validate, log and deliver without error
    lacking: tuple[str, ...] = ()  # the other multi-region trails, each with what it lacks
    hours_since_delivery: int = 0  # of the most recent delivery of a whole trail


@dataclass(frozen=True)
class Limits:
    hours_since_delivery_max: int = 24


def population(aws: Account) -> Iterable[str]:
    """The account: one good trail is enough for all of it."""
    return [aws.arn("iam", "root", region="")]


def observe(aws: Account, account: str) -> Trails:
    trails = aws.call("cloudtrail", "describe_trails", includeShadowTrails=True)["trailList"]
    whole, lacking, ages = [], [], []
    for trail in trails:
        if not boolean(trail["IsMultiRegionTrail"]):
            continue
        name, region = text(trail["TrailARN"]), text(trail["HomeRegion"])
        status = aws.call("cloudtrail", "get_trail_status", Name=name, region=region)
        delivered = absent_means(status, "LatestDeliveryTime", "", because=NEVER)
        lacks = {
            "log file validation": not boolean(trail["LogFileValidationEnabled"]),
            "logging": not boolean(status["IsLogging"]),
            "a delivery": not delivered,
            "deliveries without error": bool(absent_means(status, "LatestDeliveryError", "", because=NO_ERROR)),
            "all management events": not records_all(aws, name, region),
        }
        if missing := [what for what, absent in lacks.items() if absent]:
            lacking.append(f"{name} lacks {', '.join(missing)}")
        else:
            whole.append(name)
            ages.append(aws.age_hours(delivered))
    return Trails(tuple(sorted(whole)), tuple(sorted(lacking)), min(ages, default=0))


def records_all(aws: Account, name: str, region: str) -> bool:
    """Whether reads and writes of every management event are selected."""
    answer = aws.call("cloudtrail", "get_event_selectors", TrailName=name, region=region)
    if not {"EventSelectors", "AdvancedEventSelectors"} & set(answer):
        raise LookupError("EventSelectors or AdvancedEventSelectors")
    for selector in absent_means(answer, "EventSelectors", [], because=BASIC):
        kind = one_of(selector["ReadWriteType"], ("All", "ReadOnly", "WriteOnly"))
        if (
            boolean(selector["IncludeManagementEvents"])
            and kind == "All"
            and not selector["ExcludeManagementEventSources"]
        ):
            return True
    advanced = absent_means(answer, "AdvancedEventSelectors", [], because=BASIC)
    return any(selector["FieldSelectors"] == MANAGEMENT for selector in advanced)


def evaluate(trails: Trails, limits: Limits) -> Verdict:
    if trails.whole and trails.hours_since_delivery <= limits.hours_since_delivery_max:
        return satisfied(f"is recorded by {trails.whole[0]}")
    if trails.whole:
        return not_satisfied(f"is recorded by {trails.whole[0]}, which delivered nothing lately")
    return not_satisfied(f"has no whole trail: {'; '.join(trails.lacking) or 'none is multi-region'}")


CHECK = LimitedCheck(
    id="aws-cloudtrail-multi-region",
    family=Family.LOGGING,
    criteria=("CC7.2", "CC7.3"),
    permissions=tuple(f"cloudtrail:{what}" for what in ("DescribeTrails", "GetEventSelectors", "GetTrailStatus")),
    per="account",
    see=("cis-aws-3.0:3.1", "cis-aws-3.0:3.2", "prowler:cloudtrail_multi_region_enabled_logging_management_events"),
    population=population,
    name=str,
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Trails(("arn:aws:cloudtrail:us-east-1:123456789012:trail/main",))),
        bad(Trails(("arn:aws:cloudtrail:us-east-1:123456789012:trail/main",), hours_since_delivery=25)),
        bad(Trails(lacking=("arn:aws:cloudtrail:us-east-1:123456789012:trail/main lacks logging",))),
        bad(Trails()),
    ),
)
