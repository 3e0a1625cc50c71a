"""Every MySQL flexible server takes connections over TLS 1.2 or later only.

Why: what travels in plaintext or over an old TLS version, a password with it, can be read and changed on the way.
Remedy: under Server parameters set require_secure_transport to ON and tls_version to TLSv1.2,TLSv1.3.

Cost: one call for 1000 servers of the tenant and two for each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.azure import Tenant
from collector.model import Verdict

OLD = ("TLSV1", "TLSV1.1")
VERSIONS = (*OLD, "TLSV1.2", "TLSV1.3")


@dataclass(frozen=True)
class Server:
    required: bool
    versions: tuple[str, ...]  # in capitals: TLSV1.2


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.dbformysql/flexibleservers")


def observe(azure: Tenant, server: Mapping[str, Any]) -> Server:
    required = one_of(parameter(azure, server, "require_secure_transport"), ("OFF", "ON"))
    versions = {one_of(word.strip(), VERSIONS) for word in parameter(azure, server, "tls_version").split(",")}
    return Server(required == "ON", tuple(sorted(versions)))


def parameter(azure: Tenant, server: Mapping[str, Any], name: str) -> str:
    """The value of a server parameter in capitals; the service keeps them as somebody once typed them."""
    answer = azure.get(f"{text(server['id'])}/configurations/{name}", api="2023-12-30")
    return text(field(answer, "properties.value")).upper()


def evaluate(server: Server) -> Verdict:
    if not server.required:
        return not_satisfied("takes connections without TLS")
    if old := [version for version in server.versions if version in OLD]:
        return not_satisfied(f"accepts {', '.join(old)}")
    return satisfied(f"requires TLS and accepts {', '.join(server.versions)} only")


CHECK = Check(
    id="azure-mysql-tls",
    family=Family.TLS,
    criteria=("CC6.7",),
    permissions=(
        "Microsoft.DBforMySQL/flexibleServers/configurations/read",
        "Microsoft.DBforMySQL/flexibleServers/read",
    ),
    per="subscription",
    see=(
        "cis-azure-3.0:5.3.1",
        "cis-azure-3.0:5.3.2",
        "prowler:mysql_flexible_server_minimum_tls_version_12",
        "prowler:mysql_flexible_server_ssl_connection_enabled",
    ),
    population=population,
    name=lambda server: str(server["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Server(True, ("TLSV1.2", "TLSV1.3"))),
        bad(Server(True, ("TLSV1.1", "TLSV1.2"))),
        bad(Server(False, ("TLSV1.2",))),
    ),
)
