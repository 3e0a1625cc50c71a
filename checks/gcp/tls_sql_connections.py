"""Every Cloud SQL instance accepts encrypted connections only.

Why: passwords and rows can be read and changed on the way otherwise, in a private network too.
Remedy: choose Connections > Security > Allow only SSL connections on the instance, and on each replica.

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
    boolean,
    field,
    good,
    not_applicable,
    not_satisfied,
    one_of,
    outside,
    satisfied,
)
from collector.clouds.gcp import Organization
from collector.model import Verdict

OUTSIDE = "ON_PREMISES_INSTANCE"
KINDS = ("CLOUD_SQL_INSTANCE", "GREEN_INSTANCE", OUTSIDE, "READ_POOL_INSTANCE", "READ_REPLICA_INSTANCE")
OPEN = "ALLOW_UNENCRYPTED_AND_ENCRYPTED"
CLOSED = ("ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED")
OLDER = "Cloud SQL Admin API, IpConfiguration.sslMode: has priority over requireSsl, which older instances have alone"
DEFAULT = "Cloud SQL, Configure SSL/TLS certificates: to allow non-SSL connections too is the default"


@dataclass(frozen=True)
class Instance:
    kind: str
    mode: str = ""  # a word of sslMode, or "requireSsl" where the older switch alone is on


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """Primary instances and their replicas, each of which has a setting of its own."""
    return gcp.assets("sqladmin.googleapis.com/Instance")


def observe(gcp: Organization, instance: Mapping[str, Any]) -> Instance:
    data = field(instance, "resource.data")
    kind = one_of(field(data, "instanceType"), KINDS)
    if kind == OUTSIDE:
        return Instance(kind)
    found = field(data, "settings.ipConfiguration")
    older = "requireSsl" if boolean(absent_means(found, "requireSsl", False, because=DEFAULT)) else OPEN
    return Instance(kind, one_of(absent_means(found, "sslMode", older, because=OLDER), (OPEN, "requireSsl", *CLOSED)))


def evaluate(instance: Instance) -> Verdict:
    if instance.kind == OUTSIDE:
        return not_applicable("stands for a database outside Cloud SQL, which sets this for itself")
    if instance.mode == OPEN:
        return not_satisfied("accepts connections without TLS")
    return satisfied(f"accepts connections with TLS only ({instance.mode})")


CHECK = Check(
    id="gcp-sql-tls",
    family=Family.TLS,
    criteria=("CC6.6", "CC6.7"),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    see=("cis-gcp-3.0:6.4", "prowler:cloudsql_instance_ssl_connections"),
    population=population,
    name=lambda instance: str(instance["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        *map(good, (Instance("CLOUD_SQL_INSTANCE", mode) for mode in (*CLOSED, "requireSsl"))),
        *map(bad, (Instance("CLOUD_SQL_INSTANCE", OPEN), Instance("READ_REPLICA_INSTANCE", OPEN))),
        outside(Instance(OUTSIDE)),
    ),
)
