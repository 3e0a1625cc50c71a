"""Every Cloud Storage bucket encrypts new objects under a key of the customer by default.

Why: Google encrypts each object anyway; who holds the key decides who can make them unreadable, and sees its use.
Remedy: choose Bucket > Configuration > Default encryption > Cloud KMS key, then rewrite the objects that are there.

Cost: one call for 1000 buckets of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, field, good, not_satisfied, satisfied, text
from collector.clouds.gcp import Organization
from collector.model import Verdict

GOOGLE = (
    "Cloud Storage, Default encryption: a bucket without a default Cloud KMS key (encryption.defaultKmsKeyName) "
    "encrypts with Google-managed keys"
)


@dataclass(frozen=True)
class Bucket:
    key: str = ""  # in Cloud KMS; "" for one of Google's


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    return gcp.assets("storage.googleapis.com/Bucket")


def observe(gcp: Organization, bucket: Mapping[str, Any]) -> Bucket:
    """The inventory writes ``"encryption": {}`` where nothing is set, the service leaves the member out."""
    key = absent_means(field(bucket, "resource.data"), "encryption.defaultKmsKeyName", "", because=GOOGLE)
    return Bucket(text(key) if key else "")


def evaluate(bucket: Bucket) -> Verdict:
    if bucket.key:
        return satisfied(f"encrypts new objects under {bucket.key}")
    return not_satisfied("encrypts new objects under a key that Google manages")


CHECK = Check(
    id="gcp-bucket-key",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    population=population,
    name=lambda bucket: str(bucket["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Bucket("projects/acme-data/locations/us-central1/keyRings/main/cryptoKeys/lake")),
        bad(Bucket()),
    ),
)
