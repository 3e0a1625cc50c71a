"""Every managed disk is encrypted under a customer managed key.

Why: whoever holds the key decides who reads the disk, its snapshots and its copies, also after its machine is gone.
Remedy: make a disk encryption set with a key of a Key Vault and choose it under Disk > Encryption.

Cost: one call for 1000 disks of the tenant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, field, good, not_satisfied, one_of, satisfied
from collector.clouds.azure import Tenant
from collector.model import Verdict

PLATFORM = "EncryptionAtRestWithPlatformKey"
CUSTOMER = ("EncryptionAtRestWithCustomerKey", "EncryptionAtRestWithPlatformAndCustomerKeys")
CONFIDENTIAL = "ConfidentialVM_DiskEncryptedWithCustomerKey"
SECURITY = (
    CONFIDENTIAL,
    "ConfidentialVM_DiskEncryptedWithPlatformKey",
    "ConfidentialVM_NonPersistedTPM",
    "ConfidentialVM_VMGuestStateOnlyEncryptedWithPlatformKey",
    "Standard",
    "TrustedLaunch",
)


@dataclass(frozen=True)
class Disk:
    encryption: str  # the type of the key that the storage encrypts it under
    security: str = ""  # the security type of its machine; "" where it has none
    guest: bool = False  # encrypted once more by Azure Disk Encryption, under a secret of the customer's vault


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    """All disks, also unattached ones and those of stopped machines; ephemeral disks are not among them."""
    return azure.resources("microsoft.compute/disks")


def observe(azure: Tenant, disk: Mapping[str, Any]) -> Disk:
    because = "Disks, DiskProperties: optional, and absent from a disk that has nothing of the kind"
    security = absent_means(disk, "properties.securityProfile", None, because=because)
    guest = absent_means(disk, "properties.encryptionSettingsCollection", None, because=because)
    return Disk(
        encryption=one_of(field(disk, "properties.encryption.type"), (PLATFORM, *CUSTOMER)),
        security=one_of(field(security, "securityType"), SECURITY) if security is not None else "",
        guest=boolean(field(guest, "enabled")) if guest is not None else False,
    )


def evaluate(disk: Disk) -> Verdict:
    if disk.encryption in CUSTOMER:
        return satisfied(f"is encrypted under a customer managed key ({disk.encryption})")
    if disk.security == CONFIDENTIAL:
        return satisfied("is encrypted under the customer managed key of its confidential machine")
    if disk.guest:
        return satisfied("is encrypted by Azure Disk Encryption under a secret of the customer's Key Vault")
    return not_satisfied("is encrypted under a key that Microsoft manages")


CHECK = Check(
    id="azure-disk-key",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("Microsoft.Compute/disks/read",),
    per="subscription",
    see=(
        "cis-azure-3.0:8.3",
        "cis-azure-3.0:8.4",
        "prowler:vm_ensure_attached_disks_encrypted_with_cmk",
        "prowler:vm_ensure_unattached_disks_encrypted_with_cmk",
    ),
    population=population,
    name=lambda disk: str(disk["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Disk(CUSTOMER[0])),
        good(Disk(PLATFORM, security=CONFIDENTIAL)),
        good(Disk(PLATFORM, guest=True)),
        bad(Disk(PLATFORM, security="TrustedLaunch")),
        bad(Disk(PLATFORM)),
    ),
)
