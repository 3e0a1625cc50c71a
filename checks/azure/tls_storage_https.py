"""Every storage account answers over HTTPS only.

Why: what travels over plaintext HTTP, an access key or token with it, can be read and changed on the way.
Remedy: choose Storage account > Configuration > Secure transfer required > Enabled.

Cost: one call for 1000 accounts of the tenant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, boolean, field, good, not_satisfied, satisfied
from collector.clouds.azure import Tenant
from collector.model import Verdict


@dataclass(frozen=True)
class Account:
    https_only: bool


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.storage/storageaccounts")


def observe(azure: Tenant, account: Mapping[str, Any]) -> Account:
    """What the absence of the setting means hangs on the API version the account was made with: then nobody knows."""
    return Account(boolean(field(account, "properties.supportsHttpsTrafficOnly")))


def evaluate(account: Account) -> Verdict:
    if account.https_only:
        return satisfied("requires secure transfer")
    return not_satisfied("answers plaintext HTTP")


CHECK = Check(
    id="azure-storage-https",
    family=Family.TLS,
    criteria=("CC6.7",),
    permissions=("Microsoft.Storage/storageAccounts/read",),
    per="subscription",
    see=("cis-azure-3.0:4.1", "prowler:storage_secure_transfer_required_is_enabled"),
    population=population,
    name=lambda account: str(account["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(Account(https_only=True)), bad(Account(https_only=False))),
)
