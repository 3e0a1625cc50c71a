"""The resources that Azure's settings name. A setting outlives what it names, so a name alone proves nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from collector.clouds.azure import Tenant
from collector.errors import Unreadable

DIAGNOSTIC_SETTINGS = "2021-05-01-preview"  # the only version with category groups; Azure has no stable one of it
DESTINATIONS = (  # where a diagnostic setting may send to, https://learn.microsoft.com/rest/api/monitor/diagnostic-settings
    *("workspaceId", "storageAccountId", "eventHubAuthorizationRuleId"),
    *("marketplacePartnerId", "serviceBusRuleId"),
)
ACCOUNT = "microsoft.storage/storageaccounts"
# What logs are sent to and is looked for. A rule of an event hub is looked for by its namespace.
PLACES = ("microsoft.eventhub/namespaces", "microsoft.operationalinsights/workspaces", ACCOUNT)
RESOURCE = re.compile(r"/subscriptions/([0-9a-f-]{36})/resourcegroups/[^/]+/providers/([^/]+/[^/]+)/[^/]+")
ENDPOINT = re.compile(r"https://([a-z0-9]+)\.blob\.[a-z0-9.]+/?")
NOBODY = "00000000-0000-0000-0000-000000000000"


def rows_of(azure: Tenant, ids: Iterable[str], kinds: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The rows in Resource Graph of the resources that ARM ids name or lie in, the handle's own subscription first.
    ``kinds`` are their types in small letters.

    An id that leads nowhere gives no row. Raises Unreadable, after every row that there is, when an id leads to where
    nobody looks: into a subscription that is not observed, or to another kind. So who finds what it wants in a row
    never learns of it, and who does not must not conclude that it is missing.
    """
    own = f"/subscriptions/{azure.subscription.lower()}/"
    unseen: str | None = None
    for _, low, id in sorted((not id.lower().startswith(own), id.lower(), id) for id in set(ids)):
        found = RESOURCE.match(low)
        if found is None or found[2] not in kinds or not _observed(azure, found[1]):
            unseen = id if unseen is None else unseen
            continue
        rows = azure.within(found[1]).resources(found[2])
        yield from (row for row in rows if str(row["id"]).lower() == found[0])
    if unseen is not None:
        raise Unreadable(
            f"nobody can say whether {unseen!r} is there: it is in no observed subscription, or none of "
            f"{', '.join(kinds)}; observe its subscription, or name one of these as well"
        )


def place_of(azure: Tenant, ids: Iterable[str]) -> str:
    """The id of the first place among some destinations of logs that is there; "" when none is.

    Raises Unreadable when none is found and one could not be looked for, as ``rows_of`` does.
    """
    return next((str(row["id"]) for row in rows_of(azure, ids, PLACES)), "")


def account_of(azure: Tenant, endpoint: str, subscription: str) -> str:
    """The id of the storage account of a blob endpoint ("https://acmelogs.blob.core.windows.net/"); "" when it is gone.

    ``subscription`` is where it is, all zeros when the setting does not say: then it is looked for in the handle's.
    Raises Unreadable when nobody can look for it.
    """
    name = ENDPOINT.fullmatch(endpoint.lower())
    where = azure.subscription if subscription == NOBODY else subscription.lower()
    if name and _observed(azure, where):
        rows = azure.within(where).resources(ACCOUNT)
        for row in rows:
            if str(row["name"]).lower() == name[1]:  # no other account of all Azure has it
                return str(row["id"])
        if subscription != NOBODY:
            return ""
    raise Unreadable(f"nobody can say whether {endpoint} is there: it is in no observed subscription that is named")


def _observed(azure: Tenant, subscription: str) -> bool:
    return subscription == azure.subscription.lower() or subscription in {part.lower() for part in azure.parts()}
