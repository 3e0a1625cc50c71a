"""Event Grid on an Azure subscription: an event for each write and deletion of a resource, in either schema.

Delivering is the queue's; who reads the events is not in here.
Sources: https://learn.microsoft.com/azure/event-grid/event-schema-subscriptions and .../cloud-event-schema
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from collector.demo.azure.world import CLIENT, TENANT

RESOURCE = re.compile(r"/subscriptions/([^/]+)/.*?/?providers/([^/]+)/.+", re.IGNORECASE)
SCHEMAS = ("EventGridSchema", "CloudEventSchemaV1_0")
VERBS = {"Write": "PUT", "Delete": "DELETE"}


@dataclass(frozen=True)
class EventSubscription:
    """Where the events of every subscription go."""

    account: str
    queue: str
    schema: str = SCHEMAS[0]


def event_of(what: str, resource: Mapping[str, Any], at: datetime, schema: str) -> str | None:
    """The event of a ``Write`` or ``Delete``, as JSON; None for what is no resource of a subscription."""
    uri, kind = str(resource.get("id", "")), str(resource.get("type", ""))
    found = RESOURCE.fullmatch(uri)
    if found is None or not kind:
        return None
    operation = f"{kind}/{what.lower()}"
    data = {
        "authorization": {"scope": uri, "action": operation, "evidence": {"role": "Contributor"}},
        "claims": {
            "aud": "https://management.core.windows.net/",
            "iss": f"https://sts.windows.net/{TENANT}/",
            "appid": CLIENT,
            "http://schemas.microsoft.com/identity/claims/tenantid": TENANT,
            "ver": "1.0",
        },
        "correlationId": str(uuid.uuid4()),
        "httpRequest": {
            "clientRequestId": str(uuid.uuid4()),
            "clientIpAddress": "192.0.2.17",
            "method": VERBS[what],
            "url": f"https://management.azure.com{uri}?api-version=2023-01-01",
        },
        "resourceProvider": found[2],
        "resourceUri": uri,
        "operationName": operation,
        "status": "Succeeded",
        "subscriptionId": found[1],
        "tenantId": TENANT,
    }
    about = {"id": str(uuid.uuid4()), "subject": uri, "data": data}
    moment = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"  # seven digits, as .NET writes them
    type, source = f"Microsoft.Resources.Resource{what}Success", f"/subscriptions/{found[1]}"
    if schema == SCHEMAS[1]:
        return json.dumps({**about, "source": source, "type": type, "time": moment, "specversion": "1.0"})
    return json.dumps(
        {**about, "topic": source, "eventType": type, "eventTime": moment, "dataVersion": "2", "metadataVersion": "1"}
    )
