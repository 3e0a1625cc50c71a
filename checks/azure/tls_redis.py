"""Every Azure Cache for Redis takes connections over TLS 1.2 or later only.

Why: what travels in plaintext or over an old TLS version, the access key with it, can be read on the way.
Remedy: choose Azure Cache for Redis > Advanced settings > Non-SSL port > Disabled and Minimum TLS version > 1.2.

Cost: one call for 1000 caches of the tenant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, boolean, field, good, not_satisfied, one_of, satisfied
from collector.clouds.azure import Tenant
from collector.model import Verdict

OLD = ("1.0", "1.1")


@dataclass(frozen=True)
class Cache:
    plaintext: bool  # its port without TLS is open
    minimum: str = ""  # 1.0, 1.1, 1.2; only read where the port without TLS is closed


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    """The caches of the Basic, Standard and Premium tiers."""
    return azure.resources("microsoft.cache/redis")


def observe(azure: Tenant, cache: Mapping[str, Any]) -> Cache:
    """A cache without a minimum takes the service's default, which Microsoft raised over time: then nobody knows."""
    if boolean(field(cache, "properties.enableNonSslPort")):
        return Cache(plaintext=True)
    minimum = one_of(field(cache, "properties.minimumTlsVersion"), (*OLD, "1.2", "1.3"))
    return Cache(plaintext=False, minimum=minimum)


def evaluate(cache: Cache) -> Verdict:
    if cache.plaintext:
        return not_satisfied("takes connections without TLS")
    if cache.minimum in OLD:
        return not_satisfied(f"accepts versions from TLS {cache.minimum} on")
    return satisfied(f"accepts TLS {cache.minimum} or later only")


CHECK = Check(
    id="azure-redis-tls",
    family=Family.TLS,
    criteria=("CC6.7",),
    permissions=("Microsoft.Cache/redis/read",),
    per="subscription",
    population=population,
    name=lambda cache: str(cache["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(Cache(False, "1.2")), bad(Cache(False, "1.0")), bad(Cache(True))),
)
