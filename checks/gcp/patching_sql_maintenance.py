"""Every Cloud SQL instance has a maintenance window and is not far behind the maintenance on offer.

Why: maintenance versions carry the patches of database and system; without a window people put them off.
Remedy: choose Edit > Maintenance > Window; run gcloud sql instances patch NAME --maintenance-version=VERSION.

Cost: one call for 1000 instances of the organization.
"""

import re
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
from collector.errors import Unreadable
from collector.model import Verdict

OUTSIDE = "ON_PREMISES_INSTANCE"
FOLLOWS = ("READ_POOL_INSTANCE", "READ_REPLICA_INSTANCE")
KINDS = ("CLOUD_SQL_INSTANCE", "GREEN_INSTANCE", OUTSIDE, *FOLLOWS)
ANY_TIME = "Cloud SQL Admin API, Settings.maintenanceWindow: day is 1 to 7; unset or 0, maintenance comes at any time"
LATEST = "Cloud SQL Admin API, DatabaseInstance.availableMaintenanceVersions: output only, an empty list is left out"


@dataclass(frozen=True)
class Instance:
    kind: str
    day: int = 0  # of the week, from Monday, 1; 0 without a window
    behind_days: int = 0  # between the making of the installed and of the newest version that is offered


@dataclass(frozen=True)
class Limits:
    behind_days_max: int = 120  # Google installs maintenance by itself every few months


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    return gcp.assets("sqladmin.googleapis.com/Instance")


def observe(gcp: Organization, instance: Mapping[str, Any]) -> Instance:
    data = field(instance, "resource.data")
    kind = one_of(field(data, "instanceType"), KINDS)
    if kind == OUTSIDE:
        return Instance(kind)
    day = number(absent_means(field(data, "settings"), "maintenanceWindow.day", 0, because=ANY_TIME))
    installed = made(gcp, field(data, "maintenanceVersion"))  # which is known of every instance of today
    offered = [made(gcp, each) for each in absent_means(data, "availableMaintenanceVersions", [], because=LATEST)]
    return Instance(kind, day, behind_days=max(0, installed - min(offered, default=installed)))


def made(gcp: Organization, version: object) -> int:
    """Days since a maintenance version was made, from its name: POSTGRES_15_13.R20250801.00_20."""
    if not (found := re.search(r"\.R(\d{4})(\d\d)(\d\d)\.", text(version))):
        raise Unreadable(f"not a maintenance version: {version!r}")
    return gcp.age_days("-".join(found.groups()))


def evaluate(instance: Instance, limits: Limits) -> Verdict:
    if instance.kind == OUTSIDE:
        return not_applicable("stands for a database outside Cloud SQL, which others maintain")
    if instance.behind_days > limits.behind_days_max:
        return not_satisfied(f"is {instance.behind_days} days behind the newest maintenance that is offered to it")
    if not instance.day and instance.kind not in FOLLOWS:
        return not_satisfied("has no maintenance window")
    return satisfied("has a maintenance window, its own or its primary's, and is not far behind")


CHECK = LimitedCheck(
    id="gcp-sql-maintenance",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    population=population,
    name=lambda instance: str(instance["name"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        *map(good, (Instance("CLOUD_SQL_INSTANCE", day=7), Instance("READ_REPLICA_INSTANCE", behind_days=30))),
        *map(bad, (Instance("CLOUD_SQL_INSTANCE"), Instance("CLOUD_SQL_INSTANCE", day=7, behind_days=153))),
        bad(Instance("READ_REPLICA_INSTANCE", behind_days=153)),
        outside(Instance(OUTSIDE)),
    ),
)
