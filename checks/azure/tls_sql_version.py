"""Every Azure SQL server takes TLS 1.2 or later only.

Why: what travels over an old TLS version, or over none, can be read and changed on the way.
Remedy: choose SQL server > Networking > Connectivity > Minimum TLS version > TLS 1.2.

Cost: one call for 1000 servers of the tenant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, field, good, not_satisfied, one_of, satisfied
from collector.clouds.azure import Tenant
from collector.model import Verdict

OLD = ("1.0", "1.1")


@dataclass(frozen=True)
class Server:
    minimum: str  # None (no minimum), 1.0, 1.1, 1.2, 1.3


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.sql/servers")


def observe(azure: Tenant, server: Mapping[str, Any]) -> Server:
    """The word "None" is an answer; the reference does not say what an absent minimum means: then nobody knows."""
    return Server(one_of(field(server, "properties.minimalTlsVersion"), ("None", *OLD, "1.2", "1.3")))


def evaluate(server: Server) -> Verdict:
    if server.minimum == "None":
        return not_satisfied("sets no minimal TLS version")
    if server.minimum in OLD:
        return not_satisfied(f"accepts versions from TLS {server.minimum} on")
    return satisfied(f"accepts TLS {server.minimum} or later only")


CHECK = Check(
    id="azure-sql-tls-version",
    family=Family.TLS,
    criteria=("CC6.7",),
    permissions=("Microsoft.Sql/servers/read",),
    per="subscription",
    see=("prowler:sqlserver_recommended_minimal_tls_version",),
    population=population,
    name=lambda server: str(server["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(Server("1.2")), bad(Server("1.0")), bad(Server("None"))),
)
