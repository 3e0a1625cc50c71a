"""Every storage account is encrypted under a customer managed key.

Why: whoever holds the key decides who reads the data; a key that Microsoft manages cannot be withdrawn or watched.
Remedy: choose Storage account > Encryption > Customer-managed keys and name a key of a Key Vault.

Cost: one call for 1000 accounts of the tenant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.azure import Tenant
from collector.model import Verdict

CUSTOMER, MICROSOFT = "microsoft.keyvault", "microsoft.storage"


@dataclass(frozen=True)
class Account:
    source: str  # of its key: microsoft.keyvault, microsoft.storage


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.storage/storageaccounts")


def observe(azure: Tenant, account: Mapping[str, Any]) -> Account:
    """The reference calls the words of keySource case-insensitive."""
    return Account(one_of(text(field(account, "properties.encryption.keySource")).lower(), (CUSTOMER, MICROSOFT)))


def evaluate(account: Account) -> Verdict:
    if account.source == CUSTOMER:
        return satisfied("is encrypted under a customer managed key")
    return not_satisfied("is encrypted under a key that Microsoft manages")


CHECK = Check(
    id="azure-storage-key-source",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("Microsoft.Storage/storageAccounts/read",),
    per="subscription",
    see=("prowler:storage_ensure_encryption_with_customer_managed_keys",),
    population=population,
    name=lambda account: str(account["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(Account(CUSTOMER)), bad(Account(MICROSOFT))),
)
