"""Every key of a key vault expires.

Why: a key without an end is used for as long as nobody thinks of it, and so is whatever copy of it got away.
Remedy: choose Key vault > Keys > the key > Rotation policy and set an expiry time, then rotate it now.

Cost: one call for 1000 vaults of the tenant and one for each vault.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Family,
    LimitedCheck,
    absent_means,
    bad,
    boolean,
    field,
    good,
    not_applicable,
    not_satisfied,
    number,
    outside,
    satisfied,
    text,
)
from collector.clouds.azure import Tenant
from collector.model import Verdict

DAY = 86_400  # seconds


@dataclass(frozen=True)
class Key:
    enabled: bool
    expires: bool = False
    lifetime_days: int = 0  # from the making of its current version to its expiry


@dataclass(frozen=True)
class Limits:
    lifetime_days_max: int = 730


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    """The keys of all vaults with the attributes of their current versions."""
    for vault in azure.resources("microsoft.keyvault/vaults"):
        yield from azure.each(f"{text(vault['id'])}/keys", api="2023-07-01")


def observe(azure: Tenant, key: Mapping[str, Any]) -> Key:
    attributes = field(key, "properties.attributes")
    if not boolean(field(attributes, "enabled")):
        return Key(enabled=False)
    because = "Keys, KeyAttributes: exp is there only for a key that was given an expiry date"
    ends = absent_means(attributes, "exp", None, because=because)
    if ends is None:
        return Key(enabled=True)
    return Key(enabled=True, expires=True, lifetime_days=(number(ends) - number(field(attributes, "created"))) // DAY)


def evaluate(key: Key, limits: Limits) -> Verdict:
    if not key.enabled:
        return not_applicable("is disabled")
    if not key.expires:
        return not_satisfied("never expires")
    how = f"expires {key.lifetime_days} days after it was made"
    return satisfied(how) if key.lifetime_days <= limits.lifetime_days_max else not_satisfied(how)


CHECK = LimitedCheck(
    id="azure-keyvault-key-expiry",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/read"),
    per="subscription",
    see=("cis-azure-3.0:3.3.1", "cis-azure-3.0:3.3.2", "prowler:keyvault_key_rotation_enabled"),
    population=population,
    name=lambda key: str(key["id"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Key(True, True, 365)),
        bad(Key(True, True, 3650)),
        bad(Key(True)),
        outside(Key(False)),
    ),
)
