"""Every Azure SQL database is encrypted at rest.

Why: without transparent data encryption the files, backups and logs of a database are readable to whoever gets them.
Remedy: choose SQL database > Data Encryption > Transparent data encryption > On.

Cost: one call for 1000 databases of the tenant and one for each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Check,
    Family,
    bad,
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
from collector.model import Verdict


@dataclass(frozen=True)
class Database:
    name: str
    state: str = ""  # of its encryption: Enabled, Disabled; "" where it was not asked


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    """The databases of all logical servers, their system databases too."""
    return azure.resources("microsoft.sql/servers/databases")


def observe(azure: Tenant, database: Mapping[str, Any]) -> Database:
    name = text(database["name"]).rpartition("/")[2]
    if name == "master":
        return Database(name)
    answer = azure.get(f"{text(database['id'])}/transparentDataEncryption/current", api="2021-11-01")
    return Database(name, one_of(field(answer, "properties.state"), ("Disabled", "Enabled")))


def evaluate(database: Database) -> Verdict:
    if database.name == "master":
        return not_applicable("is the server's system database, which cannot be encrypted")
    if database.state == "Enabled":
        return satisfied("is encrypted by transparent data encryption")
    return not_satisfied("is not encrypted")


CHECK = Check(
    id="azure-sql-tde",
    family=Family.ENCRYPTION,
    criteria=("CC6.1", "CC6.7"),
    permissions=(
        "Microsoft.Sql/servers/databases/read",
        "Microsoft.Sql/servers/databases/transparentDataEncryption/read",
    ),
    per="subscription",
    see=("cis-azure-3.0:5.1.5", "prowler:sqlserver_tde_encryption_enabled"),
    population=population,
    name=lambda database: str(database["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Database("orders", "Enabled")),
        bad(Database("orders", "Disabled")),
        outside(Database("master")),
    ),
)
