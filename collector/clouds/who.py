"""Who changed one subject within a stretch of time, as the cloud's own log tells: CloudTrail, Activity Log, Audit Logs.

No evidence of a verdict, and asked outside any run. Each answer is the newest change in the stretch, as texts: ``who``,
``event``, ``when``, ``request`` (the log's own id of it) and ``source``; or None when the log names none.
Sources: AWS CloudTrail API reference (LookupEvents: management events of 90 days, about five minutes late), Azure
Monitor REST reference (Activity Logs, List), Cloud Logging REST reference (entries.list; Admin Activity audit logs).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from collector.canonical import parse
from collector.errors import Unreadable
from collector.model import Scope

Found = dict[str, str]

# What it needs besides the rights of the checks, as checks declare theirs.
PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "aws": ("cloudtrail:LookupEvents",),
    "azure": ("Microsoft.Insights/eventtypes/values/read",),
    "gcp": ("api:logging.googleapis.com", "logging.logEntries.list"),
}
GLOBAL_REGION = "us-east-1"  # where CloudTrail keeps the events of services without regions
LOOKUPS_MAX = 4  # of CloudTrail; two a second are allowed
ACTIVITY_API = "2015-04-01"
LOGGING = "logging.googleapis.com"
BUCKET = re.compile(r"//storage\.googleapis\.com/([^/]+)")
SUBSCRIPTION = re.compile(r"/subscriptions/([^/]+)/.+", re.IGNORECASE)


def changed_by(handle: Any, scope: Scope, subject: str, since: datetime, until: datetime) -> Found | None:
    """Asks the log of the scope's cloud through an account's handle. Raises CannotObserve when nobody answers."""
    return _ASK[scope.cloud](handle, scope, subject, since, until)


# --- AWS ---


def _aws(handle: Any, scope: Scope, subject: str, since: datetime, until: datetime) -> Found | None:
    """CloudTrail files what happened under a resource's name or its ARN, in the region where it happened."""
    names = list(dict.fromkeys((_short(subject), subject)))
    arn = subject.split(":")
    own = scope.part or (arn[3] if len(arn) > 5 else "")
    regions = [own] if own else list(dict.fromkeys((GLOBAL_REGION, handle.region)))
    asked = [(region, name) for region in regions for name in names]
    for region, name in asked[:LOOKUPS_MAX]:
        items = handle.each(
            "cloudtrail",
            "lookup_events",
            "Events",
            region=region,
            LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": name}],
            StartTime=_second(since),
            EndTime=_second(until),
        )
        events = [_event(item) for item in items if item.get("ReadOnly") != "true"]
        done = [event for event in events if not event.error]
        if done:
            last = max(done, key=lambda event: event.at)
            action = f"{last.source.removesuffix('.amazonaws.com')}:{last.name}"
            return _found(last.principal, action, last.at.strftime("%Y-%m-%dT%H:%M:%SZ"), last.request_id, "CloudTrail")
    return None


def _short(arn: str) -> str:
    """The last name in an ARN: of a user, a bucket, an instance."""
    return re.split(r"[/:]", arn)[-1] or arn


def _event(item: Mapping[str, Any]) -> Any:
    """The event in an item, as ``trail.event_of`` reads it."""
    # with it comes boto3, which is there only for who reads AWS
    from collector.clouds import trail

    try:
        return trail.event_of(parse(item["CloudTrailEvent"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"cloudtrail:LookupEvents gave event {item.get('EventId')} without its text") from error


# --- Azure ---


def _azure(handle: Any, scope: Scope, subject: str, since: datetime, until: datetime) -> Found | None:
    """The Activity Log of a subscription; what Entra ID does to people stands in another log."""
    found = SUBSCRIPTION.fullmatch(subject)
    if found is None:
        return None
    quoted = subject.replace("'", "''")
    events = handle.each(
        f"/subscriptions/{found[1]}/providers/Microsoft.Insights/eventtypes/management/values",
        api=ACTIVITY_API,
        filter=f"eventTimestamp ge '{_second(since)}' and eventTimestamp le '{_second(until)}' "
        f"and resourceUri eq '{quoted}'",
    )
    done = [event for event in events if event.get("caller") and _value(event, "status") in ("Succeeded", "Accepted")]
    return _newest(
        done,
        lambda event: str(event.get("eventTimestamp") or ""),
        lambda event: _found(
            str(event["caller"]),
            _value(event, "operationName"),
            str(event.get("eventTimestamp") or ""),
            str(event.get("correlationId") or event.get("eventDataId") or ""),
            "Activity Log",
        ),
    )


def _value(event: Mapping[str, Any], name: str) -> str:
    found = event.get(name)
    return str(found.get("value") or "") if isinstance(found, Mapping) else ""


# --- Google Cloud ---


def _gcp(handle: Any, scope: Scope, subject: str, since: datetime, until: datetime) -> Found | None:
    """The Admin Activity audit log, which cannot be switched off and is kept for 400 days."""
    bucket = BUCKET.fullmatch(subject)
    name = f"projects/_/buckets/{bucket[1]}" if bucket else subject.removeprefix("//").partition("/")[2]
    if not name:
        return None
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    body = {
        "resourceNames": [f"projects/{scope.part}" if scope.part else handle.parent],
        "filter": f'logName:"cloudaudit.googleapis.com%2Factivity" AND protoPayload.resourceName="{quoted}" '
        f'AND timestamp>="{_second(since)}" AND timestamp<="{_second(until)}"',
        "orderBy": "timestamp desc",
        "pageSize": 20,
    }
    entries = handle.post(LOGGING, "/v2/entries:list", body).get("entries", [])
    done = [entry for entry in entries if not (entry.get("protoPayload") or {}).get("status", {}).get("code")]
    return _newest(
        done,
        lambda entry: str(entry.get("timestamp") or ""),
        lambda entry: _found(
            str(entry["protoPayload"].get("authenticationInfo", {}).get("principalEmail") or ""),
            str(entry["protoPayload"].get("methodName") or ""),
            str(entry.get("timestamp") or ""),
            str(entry.get("insertId") or ""),
            "Cloud Audit Logs",
        ),
    )


# --- what they share ---


def _newest(
    events: Iterable[Mapping[str, Any]],
    when: Callable[[Mapping[str, Any]], str],
    told: Callable[[Mapping[str, Any]], Found],
) -> Found | None:
    """The newest of some events in words. RFC 3339 in UTC, so text orders as time does."""
    last = max(events, key=when, default=None)
    if last is None:
        return None
    try:
        return told(last)
    except (KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"the cloud's log gave an event that does not say who did what: {error!r}") from error


def _found(who: str, event: str, when: str, request: str, source: str) -> Found:
    return {"who": who, "event": event, "when": when, "request": request, "source": source}


def _second(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_ASK = {"aws": _aws, "azure": _azure, "gcp": _gcp}
