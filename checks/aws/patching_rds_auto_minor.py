"""Every RDS database instance and cluster upgrades to new minor versions by itself.

Why: minor versions carry the security fixes of the database engine, and nobody installs them by hand in time.
Remedy: choose Modify > Enable auto minor version upgrade on the instance; for Aurora and Multi-AZ clusters on both.

Cost: one call for 100 instances of the region and one for 100 clusters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, boolean, good, not_applicable, not_satisfied, outside, satisfied, text
from collector.clouds.aws import Account
from collector.model import Verdict


@dataclass(frozen=True)
class Database:
    engine: str
    cluster: bool
    automatic: bool
    elsewhere: str = ""  # why the setting says nothing about this one


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    """Instances and clusters: an Aurora cluster is upgraded when it and all its instances say so.

    https://docs.aws.amazon.com/config/latest/developerguide/rds-automatic-minor-version-upgrade-enabled.html
    """
    yield from aws.each("rds", "describe_db_instances", "DBInstances")
    yield from aws.each("rds", "describe_db_clusters", "DBClusters")


def name(database: Mapping[str, Any]) -> str:
    return text(database["DBClusterArn"] if "DBClusterArn" in database else database["DBInstanceArn"])


def observe(aws: Account, database: Mapping[str, Any]) -> Database:
    engine, cluster = text(database["Engine"]), "DBClusterArn" in database
    elsewhere = ""
    if engine == "docdb":  # "does not perform minor version upgrades regardless of the value set", API_DBInstance
        elsewhere = "is DocumentDB, which has no automatic minor upgrades"
    elif engine.startswith("custom-"):  # "you must set AutoMinorVersionUpgrade to false", API_CreateDBInstance
        elsewhere = "is RDS Custom, which its owner patches"
    elif engine == "neptune" and cluster:  # the API reference of Neptune knows the member of instances only
        elsewhere = "is a Neptune cluster, whose instances carry the setting"
    automatic = not elsewhere and boolean(database["AutoMinorVersionUpgrade"])
    return Database(engine, cluster, automatic, elsewhere)


def evaluate(database: Database) -> Verdict:
    if database.elsewhere:
        return not_applicable(database.elsewhere)
    what = f"is {database.engine} and, as {'a cluster' if database.cluster else 'an instance'},"
    if database.automatic:
        return satisfied(f"{what} upgrades minor versions by itself")
    return not_satisfied(f"{what} waits for somebody to upgrade minor versions")


CHECK = Check(
    id="aws-rds-auto-minor-upgrade",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=("rds:DescribeDBClusters", "rds:DescribeDBInstances"),
    per="region",
    see=(
        "aws-config:rds-automatic-minor-version-upgrade-enabled",
        "cis-aws-3.0:2.3.2",
        "prowler:rds_instance_minor_version_upgrade_enabled",
    ),
    population=population,
    name=name,
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Database("postgres", cluster=False, automatic=True)),
        bad(Database("aurora-mysql", cluster=True, automatic=False)),
        outside(Database("docdb", cluster=False, automatic=False, elsewhere="is DocumentDB")),
    ),
)
