"""Every Cloud SQL instance is encrypted under a key of the customer.

Why: Google encrypts each database anyway; who holds the key decides who can make it unreadable, and sees its use.
Remedy: make a new instance with Data encryption > Cloud KMS key and move the data; an instance keeps its key.

Cost: one call for 1000 instances of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Check,
    Family,
    absent_means,
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
from collector.clouds.gcp import Organization
from collector.model import Verdict

OUTSIDE = "ON_PREMISES_INSTANCE"
KINDS = ("CLOUD_SQL_INSTANCE", "GREEN_INSTANCE", OUTSIDE, "READ_POOL_INSTANCE", "READ_REPLICA_INSTANCE")
GOOGLE = (
    "Cloud SQL, Customer-managed encryption keys: data is encrypted with Google-owned keys unless the instance was "
    "created with one of the customer (DatabaseInstance.diskEncryptionConfiguration.kmsKeyName)"
)


@dataclass(frozen=True)
class Instance:
    kind: str
    key: str = ""  # in Cloud KMS; "" for one of Google's


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """Primary instances and their replicas, which are encrypted each for itself."""
    return gcp.assets("sqladmin.googleapis.com/Instance")


def observe(gcp: Organization, instance: Mapping[str, Any]) -> Instance:
    data = field(instance, "resource.data")
    key = absent_means(data, "diskEncryptionConfiguration.kmsKeyName", "", because=GOOGLE)
    return Instance(one_of(field(data, "instanceType"), KINDS), text(key) if key else "")


def evaluate(instance: Instance) -> Verdict:
    if instance.kind == OUTSIDE:
        return not_applicable("stands for a database outside Cloud SQL, which keeps its data elsewhere")
    if instance.key:
        return satisfied(f"is encrypted under {instance.key}")
    return not_satisfied("is encrypted under a key that Google manages")


CHECK = Check(
    id="gcp-sql-key",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    population=population,
    name=lambda instance: str(instance["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Instance("CLOUD_SQL_INSTANCE", "projects/acme-prod/locations/us-central1/keyRings/main/cryptoKeys/sql")),
        *map(bad, (Instance("CLOUD_SQL_INSTANCE"), Instance("READ_REPLICA_INSTANCE"))),
        outside(Instance(OUTSIDE)),
    ),
)
