"""Every key vault keeps what is deleted from it until its retention ends.

Why: who deletes and purges a key destroys everything that was ever encrypted under it, at once and for good.
Remedy: choose Key vault > Properties > Enable purge protection; it cannot be switched off again.

Cost: one call for 1000 vaults of the tenant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, field, good, not_satisfied, satisfied
from collector.clouds.azure import Tenant
from collector.model import Verdict


@dataclass(frozen=True)
class Vault:
    purge_protection: bool
    soft_delete: bool = False  # only read where purge protection is on, which has no effect without it


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.keyvault/vaults")


def observe(azure: Tenant, vault: Mapping[str, Any]) -> Vault:
    because = "Vaults, enablePurgeProtection: on only once it is set to true; the property does not accept false"
    if not boolean(absent_means(vault, "properties.enablePurgeProtection", False, because=because)):
        return Vault(purge_protection=False)
    return Vault(purge_protection=True, soft_delete=boolean(field(vault, "properties.enableSoftDelete")))


def evaluate(vault: Vault) -> Verdict:
    if vault.purge_protection and vault.soft_delete:
        return satisfied("keeps what is deleted until its retention ends")
    if vault.purge_protection:
        return not_satisfied("has purge protection that has no effect, because soft delete is off")
    return not_satisfied("lets whoever deleted a key purge it at once")


CHECK = Check(
    id="azure-keyvault-purge-protection",
    family=Family.ENCRYPTION,
    criteria=("CC6.1", "A1.2"),
    permissions=("Microsoft.KeyVault/vaults/read",),
    per="subscription",
    see=("cis-azure-3.0:3.3.5", "prowler:keyvault_recoverable"),
    population=population,
    name=lambda vault: str(vault["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(Vault(True, True)), bad(Vault(True, False)), bad(Vault(False))),
)
