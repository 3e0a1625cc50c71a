"""Every Azure SQL server encrypts its databases under a customer managed key.

Why: whoever holds the key decides who reads the data; a key that Microsoft manages cannot be withdrawn or watched.
Remedy: choose SQL server > Transparent data encryption > Customer-managed key and name a key of a Key Vault.

Cost: one call for 1000 servers of the tenant and one for each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.azure import Tenant
from collector.model import Verdict


@dataclass(frozen=True)
class Protector:
    kind: str  # AzureKeyVault, ServiceManaged
    key: str = ""  # the URI of the customer's key


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.sql/servers")


def observe(azure: Tenant, server: Mapping[str, Any]) -> Protector:
    answer = azure.get(f"{text(server['id'])}/encryptionProtector/current", api="2021-11-01")
    kind = one_of(field(answer, "properties.serverKeyType"), ("AzureKeyVault", "ServiceManaged"))
    return Protector(kind, text(field(answer, "properties.uri")) if kind == "AzureKeyVault" else "")


def evaluate(protector: Protector) -> Verdict:
    if protector.kind == "AzureKeyVault":
        return satisfied(f"encrypts under {protector.key}")
    return not_satisfied("encrypts under a key that Microsoft manages")


CHECK = Check(
    id="azure-sql-tde-key",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("Microsoft.Sql/servers/encryptionProtector/read", "Microsoft.Sql/servers/read"),
    per="subscription",
    see=("cis-azure-3.0:5.1.3", "prowler:sqlserver_tde_encrypted_with_cmk"),
    population=population,
    name=lambda server: str(server["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Protector("AzureKeyVault", "https://acme.vault.azure.net/keys/sql/0123abcd")),
        bad(Protector("ServiceManaged")),
    ),
)
