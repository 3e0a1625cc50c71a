"""Every Compute Engine disk is encrypted under a key of the customer.

Why: Google encrypts each disk anyway; who holds the key decides who can make it unreadable, and sees its use.
Remedy: make a snapshot, then a new disk of it with Encryption > Cloud KMS key; a disk keeps the key it was made with.

Cost: two calls for 1000 disks of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, field, good, not_satisfied, satisfied, text
from collector.clouds.gcp import Organization
from collector.errors import Unreadable
from collector.model import Verdict

GOOGLE = (
    "Compute Engine API, Disk.diskEncryptionKey: without a key at its creation a disk is encrypted using an "
    "automatically generated key"
)
NONE = "Compute Engine API, CustomerEncryptionKey: kmsKeyName or sha256, by the kind of key; the other is left out"


@dataclass(frozen=True)
class Disk:
    key: str = ""  # name of the version in Cloud KMS
    supplied: bool = False  # the customer brings the key with each use, and Google keeps its SHA-256


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """Zonal and regional disks, attached or not."""
    return [*gcp.assets("compute.googleapis.com/Disk"), *gcp.assets("compute.googleapis.com/RegionDisk")]


def observe(gcp: Organization, disk: Mapping[str, Any]) -> Disk:
    data = field(disk, "resource.data")
    encryption = absent_means(data, "diskEncryptionKey", {}, because=GOOGLE)
    if not encryption:
        return Disk()
    key = absent_means(encryption, "kmsKeyName", "", because=NONE)
    supplied = absent_means(encryption, "sha256", "", because=NONE)
    if not key and not supplied:
        raise Unreadable("the disk has an encryption key of neither kind")
    return Disk(text(key) if key else "", supplied=bool(supplied))


def evaluate(disk: Disk) -> Verdict:
    if disk.key:
        return satisfied(f"is encrypted under {disk.key}")
    if disk.supplied:
        return satisfied("is encrypted under a key that the customer supplies")
    return not_satisfied("is encrypted under a key that Google manages")


CHECK = Check(
    id="gcp-disk-key",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    see=(
        "cis-gcp-3.0:4.7",
        "powerpipe:compute_disk_encrypted_with_csk",
        "prowler:compute_instance_encryption_with_csek_enabled",
    ),
    population=population,
    name=lambda disk: str(disk["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Disk("projects/acme-data/locations/us-central1/keyRings/main/cryptoKeys/disks/cryptoKeyVersions/1")),
        good(Disk(supplied=True)),
        bad(Disk()),
    ),
)
