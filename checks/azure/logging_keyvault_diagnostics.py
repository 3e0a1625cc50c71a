"""Every key vault sends its audit log to a place that keeps it.

Why: who read which secret stands in the audit log alone, and a vault that sends it nowhere keeps none.
Remedy: choose Key vault > Diagnostic settings > Add, category group audit, to a workspace, a storage account or an
event hub.

A destination counts when it is there. One that nobody can look for, since it is a partner's or in a subscription that
is not observed, leaves the vault undetermined.

Cost: one call for 1000 vaults, workspaces, storage accounts or event hubs of the tenant, and one for each vault.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, field, good, not_satisfied, satisfied, text
from collector.clouds.azure import Tenant
from collector.clouds.azure_references import DESTINATIONS, DIAGNOSTIC_SETTINGS, place_of
from collector.model import Verdict

# Azure Monitor, supported categories of Microsoft.KeyVault/vaults: AuditEvent is in both groups.
AUDIT = {("category", "AuditEvent"), ("categoryGroup", "allLogs"), ("categoryGroup", "audit")}
ONE_NAME = "Diagnostic Settings, LogSettings: a log is named by its category or by its category group"
NOT_SENT = "Diagnostic Settings, DiagnosticSettings: each destination is optional, and one absent is not used"


@dataclass(frozen=True)
class Vault:
    sent: bool  # whether a setting sends its audit log
    place: str = ""  # the id of the first destination of it that is there


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    return azure.resources("microsoft.keyvault/vaults")


def observe(azure: Tenant, vault: Mapping[str, Any]) -> Vault:
    path = f"{text(vault['id'])}/providers/Microsoft.Insights/diagnosticSettings"
    sent, named = False, set()
    for setting in azure.each(path, api=DIAGNOSTIC_SETTINGS):
        properties = field(setting, "properties")
        for log in field(properties, "logs"):
            names = {(kind, absent_means(log, kind, "", because=ONE_NAME)) for kind in ("category", "categoryGroup")}
            if boolean(field(log, "enabled")) and names & AUDIT:
                sent = True
                named |= {absent_means(properties, name, "", because=NOT_SENT) for name in DESTINATIONS} - {""}
    return Vault(sent, place_of(azure, named))


def evaluate(vault: Vault) -> Verdict:
    if vault.place:
        return satisfied(f"sends its audit log to {vault.place}")
    if vault.sent:
        return not_satisfied("sends its audit log to places that are gone")
    return not_satisfied("sends its audit log nowhere")


CHECK = Check(
    id="azure-keyvault-diagnostics",
    family=Family.LOGGING,
    criteria=("CC6.1", "CC7.2"),
    permissions=(
        "Microsoft.EventHub/namespaces/read",
        "Microsoft.Insights/diagnosticSettings/read",
        "Microsoft.KeyVault/vaults/read",
        "Microsoft.OperationalInsights/workspaces/read",
        "Microsoft.Storage/storageAccounts/read",
    ),
    per="subscription",
    see=("cis-azure-3.0:6.1.4", "prowler:keyvault_logging_enabled"),
    population=population,
    name=lambda vault: str(vault["id"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Vault(sent=True, place="/subscriptions/s/resourceGroups/g/providers/p/workspaces/log-acme")),
        *map(bad, (Vault(sent=True), Vault(sent=False))),
    ),
)
