"""What the simulated tenant holds at the start: acme's two subscriptions and its directory.

For every check there is at least one subject as it should be and one as it should not. A seed chooses ids and nothing
else, so that findings are the same in every demo; a scale repeats what a subscription and the directory hold.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from collector.demo.azure.estate_apps import add_apps
from collector.demo.azure.estate_clusters import add_clusters
from collector.demo.azure.estate_data import add_data
from collector.demo.azure.estate_databases import add_databases
from collector.demo.azure.estate_entra import MFA_POLICY, add_directory
from collector.demo.azure.estate_logging import Sink, add_logging, add_sink
from collector.demo.azure.estate_machines import add_machines
from collector.demo.azure.estate_network import add_networks
from collector.demo.azure.estate_small import add_small
from collector.demo.azure.world import PRODUCTION, ROW, STAGING, SUBSCRIPTION, TENANT, World, subscription_document

__all__ = [
    *("ACCOUNT", "ACCOUNT_ID", "LOCATION", "MFA_POLICY", "MFA_POLICY_ID"),
    *("add_subscription", "populate", "populate_subscription"),
]

# What the story of the demo points at.
MFA_POLICY_ID = f"/identity/conditionalAccess/policies/{MFA_POLICY}"
ACCOUNT = "acmeinvoices"
ACCOUNT_ID = (  # kept under it in lower case
    f"/subscriptions/{PRODUCTION}/resourceGroups/rg-payments/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}"
)
GROUPS = ("rg-platform", "rg-payments", "rg-data", "rg-logging", "NetworkWatcherRG")
LOCATION = "westeurope"


class Builder:
    """Adds resources of one subscription to a world as Azure Resource Manager would answer them."""

    def __init__(
        self, world: World, scale: int, subscription: str, since: datetime, *, environment: str, location: str
    ) -> None:
        self.world, self.scale, self.subscription, self.since = world, scale, subscription, since
        self.random = random.Random(f"{world.seed}/{subscription}")
        self.environment, self.location = environment, location
        self.tags = {"environment": environment, "owner": "platform"}  # shared: what is stored is never changed
        self.sink = Sink("", "", "")

    def guid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def hex(self, size: int) -> str:
        return f"{self.random.getrandbits(size * 4):0{size}x}"

    def ago(self, days: float) -> str:
        """A fixed time so many days before the simulation began, with the seven digits of .NET."""
        when = self.world.begun - timedelta(days=days)
        return f"{when:%Y-%m-%dT%H:%M:%S}.{self.random.randrange(10**7):07d}"

    def copies(self) -> Sequence[str]:
        """Suffixes of names: one for each unit of the scale, the first is empty."""
        return ["" if n == 0 else f"-{n + 1}" for n in range(self.scale)]

    def id(self, kind: str, group: str, name: str) -> str:
        """The id of a resource of its own: ``kind`` is "Microsoft.Storage/storageAccounts"."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{group}/providers/{kind}/{name}"

    def identity(self) -> dict[str, str]:
        return {"type": "SystemAssigned", "principalId": self.guid(), "tenantId": TENANT}

    def add(
        self, kind: str, group: str, name: str, properties: Mapping[str, Any], /, *, location: str = "", **members: Any
    ) -> str:
        """Adds a resource of its own; its id. Members beside the properties are ``sku``, ``identity`` and so on."""
        id = self.id(kind, group, name)
        head = {"id": id, "name": name, "type": kind, "location": location or self.location, "tags": self.tags}
        self.store(id, kind, {**head, **members, "properties": properties})
        return id

    def child(
        self, parent: str, kind: str, name: str, properties: Mapping[str, Any], /, *, shown: str = "", **members: Any
    ) -> str:
        """Adds a resource below another; its id. ``kind`` is its whole type, "Microsoft.Sql/servers/databases";
        ``shown`` is the name that it has by itself, where that is not the last part of its id."""
        id = f"{parent}/{kind.rpartition('/')[2]}/{name}"
        self.store(id, kind, {"id": id, "name": shown or name, "type": kind, **members, "properties": properties})
        return id

    def store(self, id: str, kind: str, body: dict[str, Any]) -> None:
        self.world.add(id.lower(), kind.lower(), body, self.since)

    def row(self, table: str, id: str, kind: str, properties: Mapping[str, Any], **members: Any) -> None:
        """Adds a row that only Resource Graph has."""
        body = {"id": id, "name": id.rpartition("/")[2], "type": kind.lower(), **members, "properties": properties}
        self.world.add(f"{ROW}{table}:{id.lower()}", table, body, self.since)


def populate(world: World, scale: int) -> None:
    """Fills a world: two subscriptions, about 150 resources of their own at scale 1, and a directory."""
    since = world.begun - timedelta(days=400)
    for id, environment, location in ((PRODUCTION, "production", LOCATION), (STAGING, "staging", "northeurope")):
        add_subscription(world, scale, id, environment, location, since)
    add_directory(world, scale, since)


def add_subscription(world: World, scale: int, id: str, environment: str, location: str, since: datetime) -> None:
    """Adds a subscription with all that one of an environment ("production", "staging") holds."""
    world.add(f"/subscriptions/{id}", SUBSCRIPTION, subscription_document(id, f"acme-{environment}"), since)
    build = Builder(world, scale, id, since, environment=environment, location=location)
    _add_groups(build, GROUPS)
    build.sink = add_sink(build)
    add_networks(build)
    add_data(build)
    add_databases(build)
    add_apps(build)
    add_clusters(build)
    add_machines(build)
    add_logging(build)


def populate_subscription(world: World, id: str, name: str = "", scale: int = 1) -> None:
    """Fills a subscription that appears while the simulation runs; adds it where it is not there yet."""
    key = f"/subscriptions/{id}"
    if world.find(key) is None:
        world.add(key, SUBSCRIPTION, subscription_document(id, name or id))
    label = (name or str(world.require(key)["displayName"])).removeprefix("acme-")
    build = Builder(world, scale, id, world.clock(), environment=label, location=LOCATION)
    _add_groups(build, ("rg-analytics", "NetworkWatcherRG"))
    add_small(build, label)


def _add_groups(build: Builder, names: Sequence[str]) -> None:
    for name in names:
        id = f"/subscriptions/{build.subscription}/resourceGroups/{name}"
        body = {
            "id": id,
            "name": name,
            "type": "Microsoft.Resources/resourceGroups",
            "location": build.location,
            "tags": build.tags,
            "properties": {"provisioningState": "Succeeded"},
        }
        build.store(id, "microsoft.resources/subscriptions/resourcegroups", body)
