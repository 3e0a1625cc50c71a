"""Every log bucket keeps its entries long enough, and is locked so that nobody can shorten it.

Why: an intrusion is often found months after it began, and who is inside shortens what would show it.
Remedy: set the retention under Logging > Log storage, then run gcloud logging buckets update --locked; it is final.

Cost: one call for 1000 log buckets of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Family,
    LimitedCheck,
    absent_means,
    bad,
    boolean,
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

STATES = ("ACTIVE", "CREATING", "DELETE_REQUESTED", "FAILED", "UPDATING")
UNLOCKED = "Logging API, LogBucket.locked: a bool, and proto3 JSON leaves false out"


@dataclass(frozen=True)
class Bucket:
    fixed: bool  # _Required, whose retention Google fixes
    state: str = "ACTIVE"
    days: int = 0
    locked: bool = False


@dataclass(frozen=True)
class Limits:
    retention_days_min: int = 365


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    return gcp.assets("logging.googleapis.com/LogBucket")


def observe(gcp: Organization, bucket: Mapping[str, Any]) -> Bucket:
    data = field(bucket, "resource.data")
    if text(field(data, "name")).rpartition("/")[2] == "_Required":
        return Bucket(fixed=True)
    return Bucket(
        fixed=False,
        state=one_of(field(data, "lifecycleState"), STATES),
        days=number(field(data, "retentionDays")),
        locked=boolean(absent_means(data, "locked", False, because=UNLOCKED)),
    )


def evaluate(bucket: Bucket, limits: Limits) -> Verdict:
    if bucket.fixed:
        return not_applicable("is _Required, which Google keeps for 400 days and nobody can change")
    if bucket.state == "DELETE_REQUESTED":
        return not_satisfied("is to be deleted, and its entries with it")
    if bucket.days < limits.retention_days_min:
        return not_satisfied(f"keeps its entries for {bucket.days} days, less than {limits.retention_days_min}")
    if not bucket.locked:
        return not_satisfied(f"keeps its entries for {bucket.days} days, and is not locked")
    return satisfied(f"keeps its entries for {bucket.days} days, and is locked")


CHECK = LimitedCheck(
    id="gcp-log-bucket-retention",
    family=Family.LOGGING,
    criteria=("CC7.2", "CC7.3"),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    see=(
        "cis-gcp-3.0:2.3",
        "powerpipe:storage_bucket_log_retention_policy_lock_enabled",
        "prowler:cloudstorage_bucket_log_retention_policy_lock",
    ),
    population=population,
    name=lambda bucket: str(bucket["name"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Bucket(fixed=False, days=400, locked=True)),
        *map(bad, (Bucket(fixed=False, days=400), Bucket(fixed=False, days=30, locked=True))),
        bad(Bucket(fixed=False, state="DELETE_REQUESTED", days=400)),
        outside(Bucket(fixed=True)),
    ),
)
