"""CloudTrail's event history of the simulated account: what the bed served, looked up as AWS lets one look it up.

Shapes and limits are those of LookupEvents and of the record contents in AWS's guides. Only management events of calls
whose sender was known are in it, a few minutes after they happened, for 90 days.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from collector.demo.aws import COLLECTOR_KEY, Call, Refusal, World
from collector.demo.proxy import Request, Response

AUDITOR_KEY = "AKIAI77AUDITORXAMPLE"  # somebody who looks things up and is not the collector
RETENTION = timedelta(days=90)
DELIVERY = timedelta(minutes=5)  # how long an event takes; ``World.state["trail_delivery_s"]`` overrides it
PER_SECOND_MAX = 2  # per account and region
PAGE_MAX = 50
SERVED_MAX = 500_000
ADDRESS = "203.0.113.7"
# Actions on objects: events of data, not of management, so they are not in the history.
DATA = re.compile(
    r"s3\.(?:(?:Get|Head|Put|Delete|Copy|Restore)Objects?(?:Acl|Attributes|Tagging|Retention|LegalHold)?|"
    r"List(?:ObjectVersions|Objects(?:V2)?|Parts)|HeadBucket|UploadPart\w*|\w+MultipartUpload)"
)
DATED = {"lambda": "20150331", "cloudfront": "2020_05_31"}  # services that add the date of their API to the name
SOURCES = {
    "elbv2": "elasticloadbalancing",
    "elb": "elasticloadbalancing",
    "efs": "elasticfilesystem",
    "opensearch": "es",
}
S3_NAMES = {
    "GetBucketLifecycleConfiguration": "GetBucketLifecycle",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
}
UNKNOWN_SENDERS = re.compile(r"(?:Expired|Invalid)\w*Token\w*|RequestExpired|\w*Signature\w*|InvalidClientTokenId")
ERROR_CODE = re.compile(rb'<Code>([^<]+)</Code>|"__type"\s*:\s*"(?:[^"]*#)?([^"]+)"')


class Served(NamedTuple):
    """One call that the bed answered."""

    at: datetime
    call: Call
    request_id: str
    host: str
    agent: str
    error: str


class History:
    """What the bed served, and how often somebody asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._served: deque[Served] = deque(maxlen=SERVED_MAX)
        self._asked: dict[str, deque[float]] = {}  # by region: when, on the real clock, which is what clients wait on

    def note(self, at: datetime, call: Call, request: Request, answer: Response) -> None:
        """Keeps what was answered, unless it is no management event or nobody knows who asked."""
        if DATA.fullmatch(call.name):
            return
        error = _error(call, answer)
        if UNKNOWN_SENDERS.fullmatch(error.removeprefix("Client.")):
            return
        id = answer.headers.get("x-amzn-RequestId", "")
        found = Served(at, call, id, request.host, request.headers.get("user-agent", ""), error)
        with self._lock:
            self._served.append(found)

    def clear(self) -> None:
        """As if nothing had been asked yet."""
        with self._lock:
            self._served.clear()

    def look_up(self, world: World, call: Call) -> dict[str, Any]:
        """LookupEvents: everything that fits, latest first; the bed cuts it into pages."""
        self._pace(call.region)
        params = call.params
        asked = params.get("LookupAttributes", [])
        if len(asked) > 1:
            raise Refusal("InvalidLookupAttributesException", "You can specify only one attribute per lookup request.")
        if not 1 <= int(params.get("MaxResults", PAGE_MAX)) <= PAGE_MAX:
            raise Refusal("InvalidMaxResultsException", f"MaxResults must be between 1 and {PAGE_MAX}.")
        now = world.now
        delivered = now - timedelta(seconds=world.state.get("trail_delivery_s", DELIVERY.total_seconds()))
        since, until = _moment(params.get("StartTime"), now - RETENTION), _moment(params.get("EndTime"), now)
        if since > until:
            raise Refusal("InvalidTimeRangeException", "The end time is before the start time.")
        since, until = max(since, now - RETENTION), min(until, delivered)
        with self._lock:
            served = list(self._served)
        found = [
            event
            for item in served
            if item.call.region == call.region and since <= item.at.replace(microsecond=0) <= until
            for event in [_event(world, item)]
            if all(_has(event, wanted["AttributeKey"], wanted["AttributeValue"]) for wanted in asked)
        ]
        found += [
            event
            for change in world.state.get("trail_changes", ())
            for event in [_changed(world, change)]
            if change["region"] == call.region and since <= event["EventTime"] <= until
            if all(_has(event, wanted["AttributeKey"], wanted["AttributeValue"]) for wanted in asked)
        ]
        found.sort(key=lambda event: event["EventTime"], reverse=True)
        return {"Events": found}

    def records(self, world: World, region: str) -> Iterator[dict[str, Any]]:
        """The records of a region, as they stand in a trail's log files."""
        with self._lock:
            served = list(self._served)
        for item in served:
            if item.call.region == region:
                yield _record(world, item)

    def _pace(self, region: str) -> None:
        now = time.monotonic()
        with self._lock:
            recent = self._asked.setdefault(region, deque())
            while recent and now - recent[0] >= 1:
                recent.popleft()
            if len(recent) >= PER_SECOND_MAX:
                raise Refusal("ThrottlingException", "Rate exceeded")
            recent.append(now)


def _moment(value: Any, otherwise: datetime) -> datetime:
    if value is None:
        return otherwise
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.fromtimestamp(float(value), UTC)


def _error(call: Call, answer: Response) -> str:
    """The error code as CloudTrail has it; "" for an answer."""
    if answer.status < 400:
        return ""
    found = ERROR_CODE.search(answer.body)
    code = next((part.decode() for part in found.groups() if part), "") if found else ""
    code = code or answer.headers.get("x-amzn-ErrorType", "") or "InternalFailure"
    if call.service == "ec2":
        return f"{'Client' if answer.status < 500 else 'Server'}.{code}"
    return code


def _event(world: World, item: Served) -> dict[str, Any]:
    """One of the events of an answer; the whole record is a text in it."""
    record = _record(world, item)
    return {
        "EventId": record["eventID"],
        "EventName": record["eventName"],
        "ReadOnly": "true" if record["readOnly"] else "false",
        "AccessKeyId": item.call.key,
        "EventTime": item.at.replace(microsecond=0),
        "EventSource": record["eventSource"],
        "Username": record["userIdentity"]["arn"].rpartition("/")[2],
        "Resources": [],
        "CloudTrailEvent": json.dumps(record, separators=(",", ":")),
    }


def record_of(world: World, at: datetime, call: Call, request: Request, answer: Response) -> dict[str, Any]:
    """The record of one call, at once."""
    id = answer.headers.get("x-amzn-RequestId", "")
    agent = request.headers.get("user-agent", "")
    return _record(world, Served(at, call, id, request.host, agent, _error(call, answer)))


def _record(world: World, item: Served) -> dict[str, Any]:
    call = item.call
    record: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": _identity(world, item),
        "eventTime": f"{item.at:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": f"{SOURCES.get(call.service, call.service)}.amazonaws.com",
        "eventName": _name(call),
        "awsRegion": call.region,
        "sourceIPAddress": ADDRESS,
        "userAgent": item.agent,
        "requestParameters": _params(call, item.host),
        "responseElements": None,
        "requestID": item.request_id,
        "eventID": str(uuid.uuid5(uuid.NAMESPACE_OID, item.request_id)),
        "readOnly": call.reads,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": world.account,
        "eventCategory": "Management",
        "tlsDetails": {
            "tlsVersion": "TLSv1.3",
            "cipherSuite": "TLS_AES_128_GCM_SHA256",
            "clientProvidedHostHeader": item.host,
        },
    }
    if item.error:
        record |= {"errorCode": item.error, "errorMessage": "as it was answered"}
    return record


def _changed(world: World, change: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody else did, as ``World.state["trail_changes"]`` tells: ``at``, ``region``, ``source``, ``name``,
    ``resources`` (their names), ``who`` (a user), ``request``; and ``error`` and ``read`` where they apply."""
    at = datetime.fromisoformat(change["at"])
    arn = f"arn:aws:iam::{world.account}:user/{change['who']}"
    record = {
        "eventVersion": "1.11",
        "userIdentity": {"type": "IAMUser", "arn": arn, "accountId": world.account, "userName": change["who"]},
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": change["source"],
        "eventName": change["name"],
        "awsRegion": change["region"],
        "sourceIPAddress": ADDRESS,
        "requestParameters": None,
        "responseElements": None,
        "requestID": change["request"],
        "eventID": str(uuid.uuid5(uuid.NAMESPACE_OID, change["request"])),
        "readOnly": bool(change.get("read")),
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": world.account,
        "eventCategory": "Management",
        **({"errorCode": change["error"]} if change.get("error") else {}),
    }
    return {
        "EventId": record["eventID"],
        "EventName": change["name"],
        "ReadOnly": "true" if change.get("read") else "false",
        "EventTime": at.replace(microsecond=0),
        "EventSource": change["source"],
        "Username": change["who"],
        "Resources": [{"ResourceName": name} for name in change["resources"]],
        "CloudTrailEvent": json.dumps(record, separators=(",", ":")),
    }


def _identity(world: World, item: Served) -> dict[str, Any]:
    if item.call.key != COLLECTOR_KEY:
        name = "auditor" if item.call.key == AUDITOR_KEY else "somebody"
        return {
            "type": "IAMUser",
            "principalId": f"AIDA{name.upper()}EXAMPLE",
            "arn": f"arn:aws:iam::{world.account}:user/{name}",
            "accountId": world.account,
            "accessKeyId": item.call.key,
            "userName": name,
        }
    role = "evidence-collector"
    return {
        "type": "AssumedRole",
        "principalId": "AROAEXAMPLEID:run",
        "arn": f"arn:aws:sts::{world.account}:assumed-role/{role}/run",
        "accountId": world.account,
        "accessKeyId": item.call.key,
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": "AROAEXAMPLEID",
                "arn": f"arn:aws:iam::{world.account}:role/{role}",
                "accountId": world.account,
                "userName": role,
            },
            "attributes": {"creationDate": f"{item.at:%Y-%m-%dT00:00:00Z}", "mfaAuthenticated": "false"},
        },
    }


def _name(call: Call) -> str:
    if call.service == "s3":
        return S3_NAMES.get(call.operation, call.operation)
    return call.operation + DATED.get(call.service, "")


def _params(call: Call, host: str) -> Any:
    """What was sent, with names that begin small; null when nothing was."""
    found = {_small(name): value for name, value in json.loads(call.digest).items()}
    if call.service == "s3" and "bucket" in found:
        found = {"bucketName": found.pop("bucket"), "Host": host, **found}
    return found or None


def _small(name: str) -> str:
    return name[:1].lower() + name[1:]


_ATTRIBUTES: Mapping[str, str] = {
    "EventId": "EventId",
    "EventName": "EventName",
    "ReadOnly": "ReadOnly",
    "Username": "Username",
    "EventSource": "EventSource",
    "AccessKeyId": "AccessKeyId",
}


def _has(event: Mapping[str, Any], key: str, value: str) -> bool:
    if key == "ResourceName":
        return any(resource["ResourceName"] == value for resource in event["Resources"])
    if key == "ResourceType":
        return False  # none of our events names one
    if key not in _ATTRIBUTES:
        raise Refusal("InvalidLookupAttributesException", f"{key} is no attribute of events.")
    return bool(event.get(_ATTRIBUTES[key]) == value)
