"""Messages in the shapes that providers publish: members, nesting, case and digits as documented and as seen.

Sources: learn.microsoft.com/azure/event-grid/event-schema-subscriptions (its three examples), .../cloud-event-schema,
MicrosoftDocs/azure-docs issues 69702 and 102923 (base64 or not), cloud.google.com/asset-inventory/docs/
monitoring-asset-changes, and messages of real feeds in the tests of mia-platform/integration-connector-agent.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collector.clouds.feed_azure import StorageQueue
from collector.clouds.feed_gcp import Subscription
from collector.demo.cloud import SUBSCRIPTIONS, TENANT, SimulatedCloud
from collector.feed import event as events
from collector.feed.event import Event, Refused
from collector.feed.match import Pair, asked
from collector.model import Scope

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
GROUP = f"/subscriptions/{SUBSCRIPTIONS[0]}/resourcegroups/app"
STORE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acmedata"
RULE = f"{GROUP}/providers/Microsoft.EventHub/namespaces/acme/AuthorizationRules/RootManageSharedAccessKey"
ORGANIZATION = "organizations-123456789012"
ACCOUNTS: dict[str, object] = {TENANT: None, ORGANIZATION: None}


def resource(what: str, uri: str, operation: str) -> dict[str, Any]:
    """``what``: Write, Delete or Action. Seven digits of a second; claims with URLs as their names."""
    return {
        "subject": uri,
        "eventType": f"Microsoft.Resources.Resource{what}Success",
        "eventTime": "2026-01-05T11:58:04.6117357Z",
        "id": "4db48cba-0000-4000-8000-de41a3b5b7f6",
        "data": {
            "authorization": {"scope": uri, "action": operation, "evidence": {"role": "Subscription Admin"}},
            "claims": {
                "aud": "https://management.core.windows.net/",
                "http://schemas.microsoft.com/claims/authnclassreference": "1",
                "_claim_names": '{"groups":"src1"}',
            },
            "correlationId": "7c1e4a52-0000-4000-8000-000000000001",
            "httpRequest": {
                "clientRequestId": "1",
                "clientIpAddress": "192.0.2.7",
                "method": "PUT",
                "url": "https://x",
            },
            "resourceProvider": operation.partition("/")[0],
            "resourceUri": uri,
            "operationName": operation,
            "status": "Succeeded",
            "subscriptionId": SUBSCRIPTIONS[0],
            "tenantId": TENANT.upper(),
        },
        "dataVersion": "2",
        "metadataVersion": "1",
        "topic": f"/subscriptions/{SUBSCRIPTIONS[0]}",
    }


def cloud_event() -> dict[str, Any]:
    made = resource("Write", STORE, "Microsoft.Storage/storageAccounts/write")
    return {
        "id": made["id"],
        "source": made["topic"],
        "subject": made["subject"],
        "type": made["eventType"],
        "time": made["eventTime"],
        "data": made["data"],
        "specversion": "1.0",
    }


def temporal(state: str, **changes: Any) -> dict[str, Any]:
    """A TemporalAsset: no ``deleted`` where it is false, no ``priorAsset`` where there was none."""
    asset = {
        "ancestors": ["projects/100000000001", "folders/200000000002", "organizations/123456789012"],
        "assetType": "storage.googleapis.com/Bucket",
        "name": "//storage.googleapis.com/acme-logs",
        "resource": {"version": "v1", "discoveryName": "Bucket", "parent": "//x", "data": {}, "location": "eu"},
        "updateTime": "2026-01-05T11:58:46.875574Z",
    }
    found: dict[str, Any] = {
        "asset": asset,
        "priorAssetState": state,
        "window": {"startTime": "2026-01-05T11:58:46.875574Z"},
    }
    if state == "PRESENT":
        found["priorAsset"] = {**asset, "updateTime": "2026-01-05T10:00:00Z"}
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


def azure(found: Any) -> Event:
    return events.azure(json.dumps(found).encode(), ACCOUNTS, NOW)


def gcp(data: str) -> Event:
    return events.gcp(json.dumps({"messageId": "2000000001", "data": data}).encode(), ACCOUNTS, NOW)


@pytest.mark.parametrize("in_a_list", [False, True])
@pytest.mark.parametrize("what", ["Write", "Delete"])
def test_an_event_of_event_grid(what: str, in_a_list: bool) -> None:
    made = resource(what, STORE, f"Microsoft.Storage/storageAccounts/{what.lower()}")
    event = azure([made] if in_a_list else made)
    assert (event.account, event.part, event.service) == (TENANT, SUBSCRIPTIONS[0], "microsoft.storage")
    assert STORE.lower() in event.names
    assert event.at == datetime(2026, 1, 5, 11, 58, 4, 611735, tzinfo=UTC)


def test_a_cloud_event_says_the_same() -> None:
    assert azure(cloud_event()) == azure(resource("Write", STORE, "Microsoft.Storage/storageAccounts/write"))


def test_two_events_in_one_message_are_none_that_anybody_sends() -> None:
    with pytest.raises(Refused, match="malformed"):
        azure([cloud_event(), cloud_event()])


@pytest.mark.parametrize("state", ["DOES_NOT_EXIST", "PRESENT", "DELETED"])
def test_a_change_of_an_asset(state: str) -> None:
    event = gcp(json.dumps(temporal(state)))
    assert (event.account, event.names) == (ORGANIZATION, {"//storage.googleapis.com/acme-logs"})
    assert event.at == datetime(2026, 1, 5, 11, 58, 46, 875574, tzinfo=UTC)


@pytest.mark.parametrize("left", [True, False])
def test_a_deleted_asset_may_be_named_by_what_it_was_alone(left: bool) -> None:
    gone = temporal("PRESENT", deleted=True, **({} if left else {"asset": None}))
    assert gcp(json.dumps(gone)).names == {"//storage.googleapis.com/acme-logs"}
    with pytest.raises(Refused, match="malformed"):
        gcp(json.dumps(temporal("PRESENT", asset=None)))  # not deleted, and nothing is said of it


def test_the_welcome_of_a_new_feed_is_no_change_and_nothing_wrong() -> None:
    with pytest.raises(Refused, match="idle"):
        gcp("You have successfully configured real time feed organizations/123456789012/feeds/changes")


def test_what_checks_themselves_ask_is_no_change() -> None:
    """Else a look would ask it again, its event would ask for a look, and so for ever."""

    class Card:
        def __init__(self, *permissions: str) -> None:
            self.permissions, self.parted = permissions, False

    site = f"{GROUP}/providers/Microsoft.Web/sites/shop"
    listed = azure(resource("Action", site, "Microsoft.Web/sites/config/list/Action"))
    report = Event("1", "aws", "1", "us-east-1", NOW, "iam", "GenerateCredentialReport", frozenset({"STARTED"}))
    for event, scope, permissions, subject in (
        (listed, Scope("azure", TENANT), ("Microsoft.Web/sites/read", "Microsoft.Web/sites/config/list/action"), site),
        (report, Scope("aws", "1"), ("iam:GenerateCredentialReport", "iam:GetCredentialReport"), "arn:aws:iam::1:root"),
    ):
        pair = Pair("x", scope, NOW - timedelta(hours=1))

        def about(permissions: tuple[str, ...], event: Event = event, pair: Pair = pair, subject: str = subject) -> Any:
            return list(asked(event, [pair], {"x": Card(*permissions)}, lambda check, scope: [subject]))

        assert about(permissions) == []
        assert about(tuple(name for name in permissions if not name.lower().endswith(event.action.lower()))), "the rest"


# --- on the wire ---


@pytest.mark.parametrize("encoded", [True, False])
def test_a_storage_queue_gives_what_event_grid_put_in_base64_or_as_text(
    simulated_cloud: SimulatedCloud, encoded: bool
) -> None:
    simulated_cloud.set_now(NOW)
    simulated_cloud.azure.make_queue(account="acmeshapes", queue="changes")
    simulated_cloud.azure.put_message(
        account="acmeshapes", queue="changes", body=json.dumps(cloud_event()), encoded=encoded
    )
    ((body, _),) = StorageQueue("https://acmeshapes.queue.core.windows.net/changes", tenant=TENANT).receive(0)
    assert events.azure(body, ACCOUNTS, NOW).names == azure(cloud_event()).names


def test_a_message_that_is_no_text_holds_up_no_other(simulated_cloud: SimulatedCloud) -> None:
    name = "projects/acme-audit/subscriptions/shapes"
    simulated_cloud.set_now(NOW)
    simulated_cloud.gcp.make_subscription(name=name)
    for data in (b"\xff\xfe\x00", json.dumps(temporal("PRESENT")).encode(), b""):
        simulated_cloud.gcp.publish(name=name, body="", data=base64.b64encode(data).decode())
    bodies = [body for body, _ in Subscription(name).receive(0)]
    kinds = []
    for body in bodies:
        try:
            kinds.append(events.gcp(body, ACCOUNTS, NOW).action)
        except Refused as refused:
            kinds.append(refused.kind)
    assert kinds == ["malformed", "storage.googleapis.com/Bucket", "malformed"]
