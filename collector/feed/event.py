"""What a provider's message says: who changed what, when, in which account. Pure; nothing here is believed to be good.

A message is a hint and never evidence: it only says where to look. Whatever in it is not as the provider documents it
is refused with a word for the metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from collector import canonical
from collector.model import Scope

BODY_BYTES_MAX = 1024 * 1024  # SQS carries 1 MiB, Pub/Sub 10 MB, a storage queue 64 KiB
NAMES_MAX = 500  # strings of one event that may be the name of a subject
NAME_CHARACTERS_MAX = 2_048
DEPTH_MAX = 12
AHEAD_MAX = timedelta(minutes=5)  # clocks differ; a message from further in the future is not believed
ID = re.compile(r"[\w.:=/+-]{1,128}", re.ASCII)


class Refused(Exception):
    """A message that says nothing here. ``kind``: "malformed", "foreign" (another account) or "idle" (no change)."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True)
class Event:
    """One change. ``names`` are all strings that may name a subject; ``part`` is "" where the provider names none."""

    id: str
    cloud: str
    account: str  # as in ``Scope.account``
    part: str  # region, subscription or project
    at: datetime
    service: str  # as permissions of checks begin: "s3", "Microsoft.Storage", "storage"
    action: str  # "PutBucketPolicy"
    names: frozenset[str]


@dataclass(frozen=True)
class Asked:
    """Subjects of one check over one scope that are to be looked at again."""

    check: str
    scope: Scope
    subjects: frozenset[str]


@dataclass(frozen=True)
class News:
    """What brought a re-collection about: the feed, the ids of its events, and when the oldest of them happened."""

    feed: str
    events: tuple[str, ...]
    since: datetime


def aws(body: bytes, accounts: Mapping[str, object], now: datetime) -> Event:
    """A CloudTrail management event as EventBridge delivers it. Raises Refused.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html
    """
    found = _document(body)
    detail = found.get("detail")
    if found.get("detail-type") != "AWS API Call via CloudTrail" or not isinstance(detail, dict):
        raise Refused("malformed")
    account = found.get("account")
    if account != detail.get("recipientAccountId", account):
        raise Refused("foreign")
    if not isinstance(account, str) or account not in accounts:
        raise Refused("foreign")
    source, action = _text(detail, "eventSource"), _text(detail, "eventName")
    service, _, rest = source.partition(".")
    if rest != "amazonaws.com" and not rest.startswith("amazonaws.com."):
        raise Refused("malformed")
    at = _moment(_text(detail, "eventTime"), now)
    id = _id(detail.get("eventID"))
    part = _text(detail, "awsRegion")
    if detail.get("readOnly") is True or detail.get("errorCode"):
        raise Refused("idle")
    said = (detail.get("requestParameters"), detail.get("responseElements"), detail.get("resources"))
    return Event(id, "aws", account, part, at, AWS_SERVICES.get(service, service), action, names_in(said))


def azure(body: bytes, accounts: Mapping[str, object], now: datetime) -> Event:
    """A change of a resource as Event Grid delivers it from a subscription, in its own schema or as a CloudEvent 1.0.

    Into a queue each event comes alone, to webhooks and in Microsoft's examples in a list of one; both are read. The
    type of a CloudEvent is that of Event Grid's own, its ``source`` the subscription, its ``time`` the event's.
    https://learn.microsoft.com/azure/event-grid/event-schema-subscriptions and .../cloud-event-schema. Raises Refused.
    """
    found = _document(body, alone=True)
    data = found.get("data")
    if not isinstance(data, dict):
        raise Refused("malformed")
    kind = _text(found, "type" if "specversion" in found else "eventType")
    tenant = data.get("tenantId")
    if not isinstance(tenant, str) or tenant.lower() not in accounts:
        raise Refused("foreign")
    at = _moment(_text(found, "time" if "specversion" in found else "eventTime"), now)
    id = _id(found.get("id"))
    parts = _text(data, "resourceUri").lower().split("/")
    if len(parts) < 3 or parts[:2] != ["", "subscriptions"]:
        raise Refused("malformed")
    if kind not in AZURE_CHANGES:
        raise Refused("idle")
    service = parts[parts.index("providers") + 1] if "providers" in parts[:-1] else ""
    # What is set on a part of a resource is a fact of the resource, and of the subscription.
    names = frozenset("/".join(parts[:end]) for end in range(3, min(len(parts), 40) + 1))
    return Event(id, "azure", tenant.lower(), parts[2], at, service, data.get("operationName") or kind, names)


AZURE_CHANGES = frozenset(f"Microsoft.Resources.Resource{what}Success" for what in ("Write", "Delete", "Action"))


def gcp(body: bytes, accounts: Mapping[str, object], now: datetime) -> Event:
    """A change of an asset as a feed of Cloud Asset Inventory publishes it, with Pub/Sub's own id of the message.

    It is a TemporalAsset as JSON: members that are false or empty are left out, and of a deleted asset only
    ``priorAsset`` may say what it was. The first message of a new feed is a sentence and no JSON.
    https://cloud.google.com/asset-inventory/docs/monitoring-asset-changes and
    .../reference/rest/v1/TopLevel/batchGetAssetsHistory#TemporalAsset. Raises Refused.
    """
    outer = _document(body)
    id = _id(outer.get("messageId"))
    data = _text_of(outer.get("data"))
    if data.startswith(GCP_WELCOME):
        raise Refused("idle")
    found = _document(data.encode())
    asset, window = found.get("asset"), found.get("window")
    if asset is None and found.get("deleted") is True:
        asset = found.get("priorAsset")
    if not isinstance(asset, dict) or not isinstance(window, dict):
        raise Refused("malformed")
    above = asset.get("ancestors")
    if not isinstance(above, list) or not all(isinstance(one, str) for one in above):
        raise Refused("malformed")
    mine = [one.replace("/", "-") for one in above if one.replace("/", "-") in accounts]
    if not mine:
        raise Refused("foreign")
    at = _moment(_text(window, "startTime"), now)
    # Every asset is read out of one inventory: the name alone says which checks are concerned.
    return Event(id, "gcp", mine[0], "", at, "", _text(asset, "assetType"), frozenset([_text(asset, "name")]))


GCP_WELCOME = "You have successfully configured real time feed"


def _text_of(value: object) -> str:
    if not isinstance(value, str):
        raise Refused("malformed")
    return value


# Event sources whose permissions begin with another word.
AWS_SERVICES = {"monitoring": "cloudwatch", "email": "ses", "tagging": "tag"}


def names_in(value: Any) -> frozenset[str]:
    """Every string in an answer that may be a name, keys left out."""
    found: set[str] = set()
    for text in _strings(value, 0):
        if 0 < len(text) <= NAME_CHARACTERS_MAX:
            found.add(text)
            if len(found) >= NAMES_MAX:
                break
    return frozenset(found)


def _strings(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth < DEPTH_MAX:
        if isinstance(value, dict):
            value = value.values()
        elif not isinstance(value, list | tuple):
            return
        for member in value:
            yield from _strings(member, depth + 1)


def _document(body: bytes, *, alone: bool = False) -> dict[str, Any]:
    """A JSON object; with ``alone`` also one in a list by itself."""
    if len(body) > BODY_BYTES_MAX:
        raise Refused("malformed")
    try:
        found = canonical.parse(body)
    except ValueError:
        raise Refused("malformed") from None
    if alone and isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        raise Refused("malformed")
    return found


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= NAME_CHARACTERS_MAX:
        raise Refused("malformed")
    return value


def _id(value: object) -> str:
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise Refused("malformed")
    return value


def _moment(text: str, now: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Refused("malformed") from None
    if found.tzinfo is None:
        raise Refused("malformed")
    try:
        found = found.astimezone(UTC)
    except OverflowError:
        raise Refused("malformed") from None
    if found > now + AHEAD_MAX:
        raise Refused("malformed")
    return found
