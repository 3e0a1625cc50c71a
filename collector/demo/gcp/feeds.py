"""Feeds of Cloud Asset Inventory: what a topic gets when an asset under the organisation changes. Delivers nothing.

Sources: https://cloud.google.com/asset-inventory/docs/monitoring-asset-changes and .../reference/rest/v1/feeds
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from collector.demo.gcp.assets import CONTENT, ENVELOPE
from collector.demo.objects import stamp


@dataclass(frozen=True)
class Feed:
    """One feed over the whole organisation into the topic of a subscription. ``content``: a word of ContentType."""

    subscription: str
    content: str = "RESOURCE"

    def welcome(self, parent: str) -> str:
        """The first message of every feed, which is a sentence."""
        return f"You have successfully configured real time feed {parent}/feeds/{self.subscription.rpartition('/')[2]}"

    def message(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, at: datetime) -> str | None:
        """The TemporalAsset of a change; None when nothing changed that the feed is about."""
        member = CONTENT[self.content][1]
        was, now = (_of(asset, member) for asset in (before, after))
        known = now or was
        if known is None or (was or {}).get(member) == (now or {}).get(member):
            return None
        found: dict[str, Any] = {"asset": {**known, "updateTime": stamp(at)}, "window": {"startTime": stamp(at)}}
        if now is None:
            found["deleted"] = True  # what is false is left out
        if was is None:
            found["priorAssetState"] = "DOES_NOT_EXIST"
        else:
            found |= {"priorAsset": was, "priorAssetState": "PRESENT"}
        return json.dumps(found)


def _of(asset: Mapping[str, Any] | None, member: str) -> dict[str, Any] | None:
    """An asset as a feed of one kind of content shows it."""
    if asset is None or "assetType" not in asset or member not in asset:
        return None
    return {name: asset[name] for name in (*ENVELOPE, member) if name in asset}
