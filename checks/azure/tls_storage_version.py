"""Every storage account takes TLS 1.2 or later only.

Why: what travels over an old TLS version can be read and changed on the way.
Remedy: choose Storage account > Configuration > Minimum TLS version > Version 1.2.

Cost: one call for 1000 accounts of the tenant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, good, not_satisfied, one_of, satisfied
from collector.clouds.azure import Tenant
from collector.model import Verdict

OLD = ("TLS1_0", "TLS1_1")


@dataclass(frozen=True)
class Account:
    minimum: str  # TLS1_0, TLS1_1, TLS1_2, TLS1_3


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.storage/storageaccounts")


def observe(azure: Tenant, account: Mapping[str, Any]) -> Account:
    because = "Storage Accounts, minimumTlsVersion: the default interpretation is TLS 1.0 for this property"
    minimum = absent_means(account, "properties.minimumTlsVersion", "TLS1_0", because=because)
    return Account(one_of(minimum, (*OLD, "TLS1_2", "TLS1_3")))


def evaluate(account: Account) -> Verdict:
    if account.minimum in OLD:
        return not_satisfied(f"accepts versions from {account.minimum} on")
    return satisfied(f"accepts {account.minimum} or later only")


CHECK = Check(
    id="azure-storage-tls-version",
    family=Family.TLS,
    criteria=("CC6.7",),
    permissions=("Microsoft.Storage/storageAccounts/read",),
    per="subscription",
    see=("cis-azure-3.0:4.15", "prowler:storage_ensure_minimum_tls_version_12"),
    population=population,
    name=lambda account: str(account["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(Account("TLS1_2")), bad(Account("TLS1_0"))),
)
