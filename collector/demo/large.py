"""Accounts of any size out of the estates of the demo, for measuring: a tenant of many subscriptions, an organisation
of many projects. What one of them holds is said in ``azure/estate.py`` and ``gcp/estate.py``.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from datetime import timedelta

from collector.demo.azure import world as azure
from collector.demo.azure.estate import LOCATION, add_subscription
from collector.demo.azure.estate import populate as populate_tenant
from collector.demo.gcp import world as gcp
from collector.demo.gcp.estate import populate as populate_organization

ENVIRONMENTS = ("production", "staging")
FIRST_NUMBER = 200_000_000_000  # of the projects that the demo has not


def tenant(subscriptions: int) -> Callable[[azure.World, int], None]:
    """Fills a world with so many subscriptions, each of ``scale``; the first two are those of the demo."""

    def populate(world: azure.World, scale: int) -> None:
        populate_tenant(world, scale)
        since = world.begun - timedelta(days=400)
        chance = random.Random(world.seed)
        for number in range(2, subscriptions):
            id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            add_subscription(world, scale, id, ENVIRONMENTS[number % 2], LOCATION, since)

    return populate


def organization(projects: int) -> Callable[[gcp.World, int], None]:
    """Fills a world with so many projects: the three of the demo at ``scale``, again and again under other names."""

    def populate(world: gcp.World, scale: int) -> None:
        populate_organization(world, scale)
        since = world.begun - timedelta(days=400)
        known = [(id, number, _assets_of(world, number)) for id, number in gcp.PROJECTS.items()]
        for copy in range(len(known), projects):
            id, number, assets = known[copy % len(known)]
            name, other = f"{id}-{copy:04d}", str(FIRST_NUMBER + copy)
            for kind, text in assets:
                # All that is unique in the world (buckets) is named after its project here, so that one word says all.
                body = json.loads(text.replace(number, other).replace(id, name))
                world.add(body["name"], kind, body, since)

    return populate


def _assets_of(world: gcp.World, number: str) -> list[tuple[str, str]]:
    """(type, JSON) of every asset in a project."""
    return [
        (item.kind, json.dumps(item.now))
        for item in world.items.values()
        if item.now is not None and f"projects/{number}" in item.now.get("ancestors", ())
    ]
