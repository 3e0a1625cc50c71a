"""A change in the simulated Azure or Google Cloud: its own event into a queue, a look at it, an alert at a webhook.

Nothing is put into the queues by hand: the simulated clouds do it, as Event Grid and feeds of Cloud Asset Inventory do.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector import config, daemon
from collector.alert.outbox import deliver_due, open_channels
from collector.demo.cloud import ORGANIZATION, SUBSCRIPTIONS, TENANT, SimulatedCloud
from collector.demo.inbox import Inbox
from collector.feed import pump
from collector.feed.pump import Pump
from collector.feeding import Feeding
from collector.ledger.entry import Kind
from collector.operation import Operation

SECRET = "a secret of the test, long enough"
QUEUE = {"account": "acmechanges", "queue": "changes"}
NAME = "projects/acme-audit/subscriptions/change-to-alert"


@dataclass(frozen=True)
class Case:
    """One check, the member that decides it, and how it is bad; ``events``: what the cloud tells of one change."""

    cloud: str
    check: str
    criteria: str
    account: str
    feed: str
    path: str
    bad: Any


CASES = {
    "azure": Case(
        "azure",
        "azure-storage-tls-version",
        "CC6.7",
        f'[[azure]]\ntenant = "{TENANT}"\nsubscriptions = ["{SUBSCRIPTIONS[0]}"]\n',
        f'[feed.azure.main]\nqueue_url = "https://acmechanges.queue.core.windows.net/changes"\ntenant = "{TENANT}"\n',
        "properties.minimumTlsVersion",
        "TLS1_0",
    ),
    "gcp": Case(
        "gcp",
        "gcp-sql-tls",
        "CC6.7",
        f'[[gcp]]\nparent = "{ORGANIZATION}"\n',
        f'[feed.gcp.main]\nsubscription = "{NAME}"\n',
        "resource.data.settings.ipConfiguration.sslMode",
        "ALLOW_UNENCRYPTED_AND_ENCRYPTED",
    ),
}


@pytest.fixture(params=["azure", "azure cloud events", "gcp"])
def case(simulated_cloud: SimulatedCloud, request: pytest.FixtureRequest) -> Iterator[Case]:
    found = CASES[request.param.split()[0]]
    bed: Any = getattr(simulated_cloud, found.cloud)
    bed.reset()
    simulated_cloud.set_now(datetime.now(UTC))
    if found.cloud == "azure":
        bed.make_queue(**QUEUE)
        bed.subscribe(**QUEUE, schema="CloudEventSchemaV1_0" if "cloud events" in request.param else "EventGridSchema")
    else:
        bed.make_subscription(name=NAME)
        bed.feed(name=NAME)
        bed.feed(name=NAME, content="IAM_POLICY")
    yield found
    bed.reset()


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    found = Inbox(SECRET.encode(), tmp_path / "inbox.jsonl")
    yield found
    found.close()


@pytest.fixture
def operation(case: Case, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operation]:
    monkeypatch.setenv("INBOX_SECRET", SECRET)
    (tmp_path / "controls.toml").write_text(
        f'[controls.A]\ntitle = "T."\nowner = "o"\ncriteria = ["{case.criteria}"]\nchecks = ["{case.check}"]\n'
    )
    (tmp_path / "collector.toml").write_text(
        f'[collector]\norigin = "test.local/change"\n{case.account}{case.feed}'
        f'[alerts.webhook.inbox]\nurl = "{inbox.url}"\nsecret_env = "INBOX_SECRET"\n'
    )
    monkeypatch.setattr(pump, "SETTLE_SECONDS", 0.2)  # nobody has to wait here for further calls of the same change
    monkeypatch.setattr(pump, "TOGETHER_SECONDS", 0.5)
    with daemon.opened(config.load(tmp_path / "collector.toml", os.environ)) as opened:
        opened.announce()
        opened.plan(opened.accounts[0])
        opened.observe(opened.accounts[0], None)
        yield opened


def settle(one: Pump, operation: Operation, spots: int) -> dict[str, Any]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        one.step()
        found = [entry.data for entry in operation.ledger.entries(kinds=[Kind.SPOT])]
        if len(found) >= spots:
            return found[-1]
    raise AssertionError(f"nobody looked again; {one.trouble}")


def test_a_change_is_looked_at_and_told_and_its_end_too(
    simulated_cloud: SimulatedCloud, case: Case, operation: Operation, inbox: Inbox, tmp_path: Path
) -> None:
    counts: list[str] = []
    (one,) = Feeding(operation, lambda cloud, outcome: counts.append(outcome)).pumps
    bed: Any = getattr(simulated_cloud, case.cloud)
    scopes = {row.scope for row in operation.ledger.projection.status()}
    good = {
        (scope, name)
        for scope in scopes
        for name, standing in operation.ledger.projection.open_states(case.check, scope).items()
        if standing.state.value == "satisfied"
    }
    scope, subject = min(good)
    id = subject.lower() if case.cloud == "azure" else subject
    kept: Any = bed.show(id=id)
    for part in case.path.split("."):
        kept = kept.get(part)  # None: it is not said, and put back by being taken away
    channels = open_channels(operation.settings, os.environ)
    deliver_due(operation.ledger, channels, operation.clock)
    before = inbox.received
    simulated_cloud.set_now(datetime.now(UTC))
    begun = time.monotonic()
    bed.edit(id=id, path=case.path, value=case.bad)
    entry = settle(one, operation, 1)
    deliver_due(operation.ledger, channels, operation.clock)
    assert time.monotonic() - begun < 30
    assert (entry["scope"], entry["subjects"], entry["states"]["not-satisfied"]) == (scope, [subject], 1)
    simulated_cloud.set_now(datetime.now(UTC))
    bed.edit(id=id, path=case.path, value=kept)
    settle(one, operation, 2)
    deliver_due(operation.ledger, channels, operation.clock)
    heard = [json.loads(line) for line in (tmp_path / "inbox.jsonl").read_text().splitlines()][before:]
    assert [(each["event"], each["cause"], each["subject"]) for each in heard] == [
        ("trigger", "failed", subject),
        ("resolve", "failed", subject),
    ]
    assert bed.messages_held(**(QUEUE if case.cloud == "azure" else {"name": NAME})) == 0
    assert counts.count("looked") == 2
    assert set(counts) <= {"looked", "idle"}, "idle: a feed of Google greets"


def test_what_is_no_resource_or_of_another_content_tells_nothing(simulated_cloud: SimulatedCloud, case: Case) -> None:
    bed: Any = getattr(simulated_cloud, case.cloud)
    held = QUEUE if case.cloud == "azure" else {"name": NAME}
    before = bed.messages_held(**held)
    if case.cloud == "azure":
        (user, *_) = bed.resources(type="/users")
        bed.edit(id=user, path="displayName", value="Somebody Else")
        assert bed.messages_held(**held) == before
        store = min(bed.resources(type="microsoft.storage/storageaccounts"))
        bed.remove(id=store)
        assert bed.messages_held(**held) == before + 1
    else:
        bucket = min(bed.resources(type="storage.googleapis.com/Bucket"))
        bed.edit(id=bucket, path="iamPolicy.bindings", value=[{"role": "roles/storage.objectViewer", "members": ["x"]}])
        assert bed.messages_held(**held) == before + 1  # of the one feed, that of IAM policies
        bed.edit(id=bucket, path="resource.data.location", value="US")
        assert bed.messages_held(**held) == before + 2
