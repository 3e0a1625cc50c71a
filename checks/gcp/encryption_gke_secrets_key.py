"""Every GKE cluster encrypts the secrets of Kubernetes in its database under a key of the customer.

Why: secrets lie in etcd as plain text otherwise, and a copy of the control plane's disk holds all passwords.
Remedy: run gcloud container clusters update NAME --database-encryption-key KEY, then rewrite the secrets.

Cost: one call for 1000 clusters of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.gcp import Organization
from collector.model import Verdict

WANTED = ("ALL_OBJECTS_ENCRYPTION_ENABLED", "ENCRYPTED")
DONE = ("CURRENT_STATE_ALL_OBJECTS_ENCRYPTION_ENABLED", "CURRENT_STATE_ENCRYPTED")
NOT_DONE = (
    "CURRENT_STATE_ALL_OBJECTS_ENCRYPTION_ERROR",
    "CURRENT_STATE_ALL_OBJECTS_ENCRYPTION_PENDING",
    "CURRENT_STATE_DECRYPTED",
    "CURRENT_STATE_DECRYPTION_ERROR",
    "CURRENT_STATE_DECRYPTION_PENDING",
    "CURRENT_STATE_ENCRYPTION_ERROR",
    "CURRENT_STATE_ENCRYPTION_PENDING",
)


@dataclass(frozen=True)
class Cluster:
    wanted: str = "DECRYPTED"
    current: str = ""  # how far it is with what is wanted
    key: str = ""


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    return gcp.assets("container.googleapis.com/Cluster")


def observe(gcp: Organization, cluster: Mapping[str, Any]) -> Cluster:
    found = field(cluster, "resource.data.databaseEncryption")
    if one_of(field(found, "state"), ("DECRYPTED", *WANTED)) == "DECRYPTED":
        return Cluster()
    return Cluster(
        found["state"], one_of(field(found, "currentState"), (*DONE, *NOT_DONE)), text(field(found, "keyName"))
    )


def evaluate(cluster: Cluster) -> Verdict:
    if cluster.wanted not in WANTED:
        return not_satisfied("keeps secrets in etcd as plain text")
    if cluster.current not in DONE:
        return not_satisfied(f"does not encrypt all secrets yet: it is in {cluster.current}")
    return satisfied(f"encrypts secrets under {cluster.key}")


CHECK = Check(
    id="gcp-gke-secrets-key",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    population=population,
    name=lambda cluster: str(cluster["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Cluster("ENCRYPTED", "CURRENT_STATE_ENCRYPTED", "projects/acme-prod/.../cryptoKeys/gke")),
        bad(Cluster("ENCRYPTED", "CURRENT_STATE_ENCRYPTION_ERROR", "projects/acme-prod/.../cryptoKeys/gke")),
        bad(Cluster()),
    ),
)
