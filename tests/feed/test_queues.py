"""The queues of Azure and Google over the wire: hidden while held, back when not taken off, and what an event names.

azure-identity, azure-core, google-auth and requests are unmodified; the proxy of the test-bed is the provider.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collector.clouds.feed_azure import StorageQueue
from collector.clouds.feed_gcp import Subscription
from collector.demo.cloud import ORGANIZATION, SUBSCRIPTIONS, TENANT, SimulatedCloud
from collector.errors import ConfigError, Denied, Unavailable
from collector.feed import event as events
from collector.feed.event import Refused
from collector.feed.match import Pair, asked
from collector.model import Scope

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
NAME = "projects/acme-audit/subscriptions/changes"
VAULT = f"/subscriptions/{SUBSCRIPTIONS[0]}/resourceGroups/App/providers/Microsoft.KeyVault/vaults/Acme"
BUCKET = "//storage.googleapis.com/acme-logs"


class Queue:
    """One of the two, with what the provider's side of it can do."""

    def __init__(self, cloud: SimulatedCloud, kind: str) -> None:
        self.kind = kind
        self.bed: Any = getattr(cloud, kind)
        if kind == "azure":
            self.where = {"account": "acmeaudit", "queue": "changes"}
            self.bed.make_queue(**self.where)
            self.queue: Any = StorageQueue("https://acmeaudit.queue.core.windows.net/changes", tenant=TENANT)
            self.host = ".*queue.*"
        else:
            self.where = {"name": NAME}
            self.bed.make_subscription(**self.where)
            self.queue = Subscription(NAME)
            self.host = "pubsub.*"

    def put(self, body: str) -> None:
        (self.bed.put_message if self.kind == "azure" else self.bed.publish)(**self.where, body=body)

    def held(self) -> int:
        return int(self.bed.messages_held(**self.where))


@pytest.fixture(params=["azure", "gcp"])
def queue(simulated_cloud: SimulatedCloud, request: pytest.FixtureRequest) -> Iterator[Queue]:
    simulated_cloud.set_now(NOW)
    found = Queue(simulated_cloud, request.param)
    yield found
    found.bed.clear_faults()


def test_a_message_is_hidden_while_it_is_held_and_gone_when_it_is_done(
    simulated_cloud: SimulatedCloud, queue: Queue
) -> None:
    for number in range(3):
        queue.put(json.dumps({"n": number, "text": "ä <&>"}))
    taken = queue.queue.receive(0)
    assert ["ä <&>" in json.loads(body).get("data", body.decode()) or b"\\u00e4" in body for body, _ in taken] == [
        True
    ] * 3
    assert queue.queue.receive(0) == []
    queue.queue.done([receipt for _, receipt in taken[:2]])
    assert queue.held() == 1
    simulated_cloud.set_now(NOW + timedelta(seconds=301))
    ((body, again),) = queue.queue.receive(0)
    assert (body, again != taken[2][1]) == (taken[2][0], True)
    queue.queue.done([taken[2][1]])  # its time is over: it takes nothing off
    assert queue.held() == 1
    queue.queue.done([again])
    queue.queue.done([again])  # and once more harms nothing
    assert queue.held() == 0


@pytest.mark.parametrize(("fault", "error"), [("denied", Denied), ("500", Unavailable), ("reset", Unavailable)])
def test_a_queue_that_does_not_answer_says_why(queue: Queue, fault: str, error: type[Exception]) -> None:
    queue.queue.receive(0)
    queue.bed.fault(kind=fault, host=queue.host)
    with pytest.raises(error):
        queue.queue.receive(0)


def test_a_queue_that_is_not_there_is_a_matter_of_configuration(simulated_cloud: SimulatedCloud) -> None:
    for make in (
        lambda: StorageQueue("https://acmeaudit.queue.core.windows.net/nowhere", tenant=TENANT).receive(0),
        lambda: StorageQueue("https://acmeaudit.blob.core.windows.net/changes", tenant=TENANT),
        lambda: Subscription("projects/acme-audit/subscriptions/nowhere").receive(0),
        lambda: Subscription("changes"),
    ):
        with pytest.raises(ConfigError):
            make()


# --- what they say ---


def of_azure(**changes: Any) -> dict[str, Any]:
    """ResourceWriteSuccess, as in Microsoft's guide."""
    data = {
        "resourceProvider": "Microsoft.KeyVault",
        "resourceUri": VAULT,
        "operationName": "Microsoft.KeyVault/vaults/write",
        "status": "Succeeded",
        "subscriptionId": SUBSCRIPTIONS[0],
        "tenantId": TENANT,
    }
    return {
        "topic": f"/subscriptions/{SUBSCRIPTIONS[0]}",
        "subject": VAULT,
        "eventType": "Microsoft.Resources.ResourceWriteSuccess",
        "eventTime": "2026-01-05T11:59:50.1234567Z",
        "id": "6a7e3a40-0000-4000-8000-000000000001",
        "data": {**data, **changes},
        "dataVersion": "2",
        "metadataVersion": "1",
    }


def of_gcp(**changes: Any) -> dict[str, Any]:
    """A change of a bucket, as in Google's guide."""
    asset = {
        "name": BUCKET,
        "assetType": "storage.googleapis.com/Bucket",
        "ancestors": ["projects/100000000001", ORGANIZATION.replace("-", "/", 1)],
    }
    inner = {"asset": {**asset, **changes}, "window": {"startTime": "2026-01-05T11:59:50.123456Z"}, "deleted": False}
    return {"messageId": "2000001", "data": json.dumps(inner)}


class Card:
    def __init__(self, *permissions: str) -> None:
        self.permissions = permissions
        self.parted = True


def test_azure_names_a_resource_in_any_case_and_what_it_is_a_part_of() -> None:
    accounts = {TENANT: None}
    event = events.azure(json.dumps(of_azure(resourceUri=VAULT + "/secrets/One")).encode(), accounts, NOW)
    scope = Scope("azure", TENANT, SUBSCRIPTIONS[0])
    pairs = [Pair("x", scope, NOW - timedelta(hours=1)), Pair("y", scope, NOW - timedelta(hours=1))]
    cards = {"x": Card("Microsoft.KeyVault/vaults/read"), "y": Card("Microsoft.Compute/disks/read")}
    (found,) = asked(event, pairs, cards, lambda check, scope: [VAULT, VAULT + "2"])
    assert (found.check, found.subjects) == ("x", {VAULT})
    cloud_event = {**of_azure(), "specversion": "1.0", "type": "Microsoft.Resources.ResourceDeleteSuccess"}
    cloud_event["time"] = cloud_event.pop("eventTime")
    assert events.azure(json.dumps(cloud_event).encode(), accounts, NOW).part == SUBSCRIPTIONS[0]


def test_google_names_an_asset_in_full() -> None:
    account = ORGANIZATION.replace("/", "-")
    event = events.gcp(json.dumps(of_gcp()).encode(), {account: None}, NOW)
    pairs = [Pair("x", Scope("gcp", account, "acme-prod"), NOW - timedelta(hours=1))]
    cards = {"x": Card("cloudasset.assets.listResource")}
    (found,) = asked(event, pairs, cards, lambda check, scope: [BUCKET, BUCKET + "2", "//x/acme-logs"])
    assert found.subjects == {BUCKET}
    assert not list(asked(event, pairs, cards, lambda check, scope: [BUCKET + "2"]))


@pytest.mark.parametrize(
    ("read", "found", "kind"),
    [
        (events.azure, of_azure(tenantId="00000000-0000-0000-0000-000000000000"), "foreign"),
        (events.azure, of_azure(resourceUri="x"), "malformed"),
        (events.azure, {**of_azure(), "data": None}, "malformed"),
        (events.azure, {**of_azure(), "eventType": "Microsoft.Resources.ResourceWriteFailure"}, "idle"),
        (events.azure, {**of_azure(), "eventTime": "9999-12-31T23:59:59-23:59"}, "malformed"),
        (events.gcp, of_gcp(ancestors=["organizations/1"]), "foreign"),
        (events.gcp, of_gcp(ancestors=[{}]), "malformed"),
        (events.gcp, of_gcp(name=7), "malformed"),
        (events.gcp, {"messageId": "1", "data": "{"}, "malformed"),
        (events.gcp, {"messageId": "1"}, "malformed"),
    ],
)
def test_what_is_not_as_documented_is_refused(read: Any, found: Any, kind: str) -> None:
    with pytest.raises(Refused) as refused:
        read(json.dumps(found).encode(), {TENANT: None, ORGANIZATION.replace("/", "-"): None}, NOW)
    assert refused.value.kind == kind
