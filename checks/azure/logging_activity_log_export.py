"""Every subscription sends its activity log to a place that keeps it.

Why: Azure keeps the activity log for 90 days, so what an inquiry needs later is gone.
Remedy: choose Monitor > Activity log > Export Activity Logs, with the categories Administrative, Security, Policy and
Alert, to a workspace, a storage account or an event hub.

Several settings may share the categories. A destination counts when it is there. One that nobody can look for, since it
is a partner's or in a subscription that is not observed, leaves the subscription undetermined.

Cost: one call for each subscription, and one for 1000 workspaces, storage accounts or event hubs of the tenant.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from collector.check import Check, Family, absent_means, bad, boolean, field, good, not_satisfied, satisfied
from collector.clouds.azure import Tenant
from collector.clouds.azure_references import DESTINATIONS, DIAGNOSTIC_SETTINGS, place_of
from collector.errors import Unreadable
from collector.model import Verdict

CATEGORIES = ("Administrative", "Alert", "Policy", "Security")
ONE_NAME = "Diagnostic Settings, SubscriptionLogSettings: a log is named by its category or by its category group"
NOT_SENT = (
    "Diagnostic Settings, SubscriptionDiagnosticSettings: each destination is optional, and one absent is not used"
)


@dataclass(frozen=True)
class Export:
    kept: tuple[str, ...] = ()  # categories that go to a place that is there
    lost: tuple[str, ...] = ()  # categories that go to none but places that are gone
    places: tuple[str, ...] = ()  # those that are there, by id


def population(azure: Tenant) -> Iterable[str]:
    return [azure.subscription]


def observe(azure: Tenant, subscription: str) -> Export:
    path = f"/subscriptions/{subscription}/providers/Microsoft.Insights/diagnosticSettings"
    sent: dict[str, set[str]] = {}  # ids of destinations by category
    unjudged = ""
    for setting in azure.each(path, api=DIAGNOSTIC_SETTINGS):
        properties = field(setting, "properties")
        named = {absent_means(properties, name, "", because=NOT_SENT) for name in DESTINATIONS} - {""}
        for log in field(properties, "logs"):
            if not boolean(field(log, "enabled")):
                continue
            group = str(absent_means(log, "categoryGroup", "", because=ONE_NAME))
            if group not in ("", "allLogs"):
                unjudged = group
            category = str(absent_means(log, "category", "", because=ONE_NAME))
            for each in CATEGORIES if group == "allLogs" else (category,):
                sent.setdefault(each, set()).update(named)
    if unjudged and not sent.keys() >= {*CATEGORIES}:
        raise Unreadable(f"no reference says what the category group {unjudged} of the activity log holds")
    places = {each: place_of(azure, sent[each]) for each in CATEGORIES if each in sent}
    return Export(
        kept=tuple(each for each, place in places.items() if place),
        lost=tuple(each for each, place in places.items() if not place),
        places=tuple(sorted({place for place in places.values() if place})),
    )


def evaluate(export: Export) -> Verdict:
    if export.lost:
        return not_satisfied(f"sends {', '.join(export.lost)} of its activity log to places that are gone")
    if missing := [each for each in CATEGORIES if each not in export.kept]:
        return not_satisfied(f"does not send {', '.join(missing)} of its activity log anywhere")
    return satisfied(f"sends its activity log to {', '.join(export.places)}")


CHECK = Check(
    id="azure-activity-log-export",
    family=Family.LOGGING,
    criteria=("CC7.2", "CC7.3"),
    permissions=(
        "Microsoft.EventHub/namespaces/read",
        "Microsoft.Insights/diagnosticSettings/read",
        "Microsoft.OperationalInsights/workspaces/read",
        "Microsoft.Storage/storageAccounts/read",
    ),
    per="subscription",
    see=(
        "cis-azure-3.0:6.1.1",
        "cis-azure-3.0:6.1.2",
        "prowler:monitor_diagnostic_setting_with_appropriate_categories",
        "prowler:monitor_diagnostic_settings_exists",
    ),
    population=population,
    name=lambda subscription: f"/subscriptions/{subscription}",
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Export(CATEGORIES, places=("/subscriptions/s/resourceGroups/g/providers/p/workspaces/log-acme",))),
        bad(Export(("Administrative", "Alert"))),
        bad(Export(("Administrative", "Alert", "Policy"), lost=("Security",))),
        bad(Export()),
    ),
)
