"""Every web app and function app answers over HTTPS with TLS 1.2 or later only.

Why: what travels over plaintext HTTP or an old TLS version can be read and changed on the way.
Remedy: choose App Service > Configuration > General settings > HTTPS Only > On and Minimum Inbound TLS Version > 1.2.

Cost: four calls for 1000 apps of the tenant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, boolean, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.azure import Tenant
from collector.errors import Unreadable
from collector.model import Verdict

KINDS = ("microsoft.web/sites", "microsoft.web/sites/slots")
OLD = ("1.0", "1.1")


@dataclass(frozen=True)
class App:
    https_only: bool
    minimum: str  # 1.0, 1.1, 1.2, 1.3


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    """Apps and their deployment slots, which answer under names of their own, with the row that configures each."""
    for kind in KINDS:
        rows = azure.resources(f"{kind}/config", "appserviceresources")
        configured = {text(row["id"]).lower(): row for row in rows}
        for app in azure.resources(kind):
            yield {**app, "config": configured.get(f"{text(app['id']).lower()}/config/web")}


def observe(azure: Tenant, app: Mapping[str, Any]) -> App:
    """Resource Graph writes the members of a configuration with a capital, the REST reference does not."""
    if app["config"] is None:
        raise Unreadable("Resource Graph has no configuration of the app; it follows within minutes of a change")
    members = {name.lower(): value for name, value in field(app["config"], "properties").items()}
    return App(
        https_only=boolean(field(app, "properties.httpsOnly")),
        minimum=one_of(text(field(members, "mintlsversion")), (*OLD, "1.2", "1.3")),
    )


def evaluate(app: App) -> Verdict:
    if not app.https_only:
        return not_satisfied("answers plaintext HTTP")
    if app.minimum in OLD:
        return not_satisfied(f"accepts versions from TLS {app.minimum} on")
    return satisfied(f"answers over HTTPS with TLS {app.minimum} or later only")


CHECK = Check(
    id="azure-app-service-tls",
    family=Family.TLS,
    criteria=("CC6.6", "CC6.7"),
    permissions=(
        "Microsoft.Web/sites/read",
        "Microsoft.Web/sites/config/read",
        "Microsoft.Web/sites/slots/read",
        "Microsoft.Web/sites/slots/config/read",
    ),
    per="subscription",
    see=("prowler:app_ensure_http_is_redirected_to_https", "prowler:app_minimum_tls_version_12"),
    population=population,
    name=lambda app: str(app["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(App(True, "1.2")), bad(App(False, "1.2")), bad(App(True, "1.0"))),
)
