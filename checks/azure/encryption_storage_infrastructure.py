"""Every storage account is encrypted a second time by the infrastructure.

Why: a second layer with a key of its own still holds when one algorithm or one key turns out to be broken.
Remedy: create an account with Encryption > Enable infrastructure encryption and move the data; it is fixed at creation.

Cost: one call for 1000 accounts of the tenant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, good, not_satisfied, satisfied
from collector.clouds.azure import Tenant
from collector.model import Verdict


@dataclass(frozen=True)
class Account:
    twice: bool


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.storage/storageaccounts")


def observe(azure: Tenant, account: Mapping[str, Any]) -> Account:
    because = "Azure Storage, Enable infrastructure encryption: it is on only where the account was created with it"
    twice = absent_means(account, "properties.encryption.requireInfrastructureEncryption", False, because=because)
    return Account(boolean(twice))


def evaluate(account: Account) -> Verdict:
    if account.twice:
        return satisfied("is encrypted a second time by the infrastructure")
    return not_satisfied("is encrypted once, without infrastructure encryption")


CHECK = Check(
    id="azure-storage-infrastructure-encryption",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("Microsoft.Storage/storageAccounts/read",),
    per="subscription",
    see=("cis-azure-3.0:4.2", "prowler:storage_infrastructure_encryption_is_enabled"),
    population=population,
    name=lambda account: str(account["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(Account(twice=True)), bad(Account(twice=False))),
)
