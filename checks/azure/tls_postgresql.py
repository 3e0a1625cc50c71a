"""Every PostgreSQL flexible server takes connections over TLS 1.2 or later only.

Why: what travels in plaintext or over an old TLS version, a password with it, can be read and changed on the way.
Remedy: under Server parameters set require_secure_transport to on and ssl_min_protocol_version to TLSv1.2.

Cost: one call for 1000 servers of the tenant and two for each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.azure import Tenant
from collector.model import Verdict

OLD = ("TLSV1", "TLSV1.1")


@dataclass(frozen=True)
class Server:
    required: bool
    minimum: str  # in capitals: TLSV1.2


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.dbforpostgresql/flexibleservers")


def observe(azure: Tenant, server: Mapping[str, Any]) -> Server:
    return Server(
        required=one_of(parameter(azure, server, "require_secure_transport"), ("OFF", "ON")) == "ON",
        minimum=one_of(parameter(azure, server, "ssl_min_protocol_version"), (*OLD, "TLSV1.2", "TLSV1.3")),
    )


def parameter(azure: Tenant, server: Mapping[str, Any], name: str) -> str:
    """The value of a server parameter in capitals; the service writes on and ON."""
    answer = azure.get(f"{text(server['id'])}/configurations/{name}", api="2024-08-01")
    return text(field(answer, "properties.value")).upper()


def evaluate(server: Server) -> Verdict:
    if not server.required:
        return not_satisfied("takes connections without TLS")
    if server.minimum in OLD:
        return not_satisfied(f"accepts versions from {server.minimum} on")
    return satisfied(f"requires TLS and accepts {server.minimum} or later only")


CHECK = Check(
    id="azure-postgresql-tls",
    family=Family.TLS,
    criteria=("CC6.7",),
    permissions=(
        "Microsoft.DBforPostgreSQL/flexibleServers/configurations/read",
        "Microsoft.DBforPostgreSQL/flexibleServers/read",
    ),
    per="subscription",
    see=("cis-azure-3.0:5.2.1", "prowler:postgresql_flexible_server_enforce_ssl_enabled"),
    population=population,
    name=lambda server: str(server["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Server(True, "TLSV1.2")),
        bad(Server(True, "TLSV1.1")),
        bad(Server(False, "TLSV1.2")),
    ),
)
