"""Who changed one subject within a stretch of time, as the cloud's own log tells: CloudTrail, Activity Log, Audit Logs,
and for people those of Entra ID and of Workspace.

No evidence of a verdict, and asked outside any run. Each answer is the newest change in the stretch, as texts: ``who``,
``event``, ``when``, ``request`` (the log's own id of it) and ``source``; or None when the log names none.
Sources: AWS CloudTrail API reference (LookupEvents: management events of 90 days, about five minutes late), Azure
Monitor REST reference (Activity Logs, List), Cloud Logging REST reference (entries.list; Admin Activity audit logs),
Microsoft Graph reference (List directoryAudits: some minutes late, kept for 7 days, with P1 or P2 for 30), Admin SDK
Reports reference (Activities: list; the admin log and user_accounts, mostly minutes late, kept for 180 days).
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
    "azure": ("Microsoft.Insights/eventtypes/values/read", "graph:AuditLog.Read.All", "graph:User.Read.All"),
    "gcp": (
        "api:admin.googleapis.com",
        "api:logging.googleapis.com",
        "logging.logEntries.list",
        "workspace:https://www.googleapis.com/auth/admin.reports.audit.readonly",
    ),
}
GLOBAL_REGION = "us-east-1"  # where CloudTrail keeps the events of services without regions
LOOKUPS_MAX = 4  # of CloudTrail; two a second are allowed
ACTIVITY_API = "2015-04-01"
LOGGING = "logging.googleapis.com"
ADMIN = "admin.googleapis.com"
ACTIVITY = "/admin/reports/v1/activity/users"
PERSON = re.compile(r"users/([^/@]+@[^/@]+)")
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
    """The Activity Log of a subscription; what is done to people stands in the log of Entra ID."""
    found = SUBSCRIPTION.fullmatch(subject)
    if found is None:
        return _entra(handle, subject, since, until)
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


def _entra(handle: Any, subject: str, since: datetime, until: datetime) -> Found | None:
    """Of a person whatever was done to them, by their id: names change, and the log is filtered by ids. Of a tenant
    what was done to Conditional Access; a change of its security defaults stands there under no name of its own."""
    if subject.startswith("/users/"):
        known = handle.graph(subject, absent=("Request_ResourceNotFound",), select="id")
        if known is None or not known.get("id"):
            return None
        about = f"targetResources/any(t:t/id eq '{str(known['id']).replace(chr(39), chr(39) * 2)}')"
    elif subject.startswith("/tenants/"):
        about = "loggedByService eq 'Conditional Access'"
    else:
        return None
    filter = f"activityDateTime ge {_second(since)} and activityDateTime le {_second(until)} and {about}"
    entries = handle.graph_each("/auditLogs/directoryAudits", filter=filter)
    done = [entry for entry in entries if entry.get("result") == "success"]
    return _newest(
        done,
        lambda entry: str(entry.get("activityDateTime") or ""),
        lambda entry: _found(
            _initiator(entry.get("initiatedBy") or {}),
            str(entry["activityDisplayName"]),
            str(entry["activityDateTime"]),
            str(entry.get("correlationId") or entry.get("id") or ""),
            "Entra ID audit log",
        ),
    )


def _initiator(by: Mapping[str, Any]) -> str:
    """A person's name, or an application's; "" when the log says neither, as of what Entra ID does by itself."""
    user, app = by.get("user") or {}, by.get("app") or {}
    found = (user.get("userPrincipalName"), user.get("displayName"), user.get("id"), app.get("displayName"))
    return str(next((name for name in (*found, app.get("servicePrincipalId")) if name), ""))


def _value(event: Mapping[str, Any], name: str) -> str:
    found = event.get(name)
    return str(found.get("value") or "") if isinstance(found, Mapping) else ""


# --- Google Cloud ---


def _gcp(handle: Any, scope: Scope, subject: str, since: datetime, until: datetime) -> Found | None:
    """The Admin Activity audit log, which cannot be switched off and is kept for 400 days; of people, Workspace's."""
    if person := PERSON.fullmatch(subject):
        return _workspace(handle, person[1], since, until)
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


def _workspace(handle: Any, email: str, since: datetime, until: datetime) -> Found | None:
    """What an administrator did to a person, or the person to their own 2-step verification."""
    span = {"startTime": _second(since), "endTime": _second(until), "maxResults": 1000}
    found: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = []
    for path, own in (("all/applications/admin", False), (f"{email}/applications/user_accounts", True)):
        for activity in handle.each(ADMIN, f"{ACTIVITY}/{path}", "items", **span):
            for event in activity.get("events") or ():
                if str(event.get("name") or "").startswith("2sv_") if own else email.lower() in _values(event):
                    found.append((str(activity["id"]["time"]), activity, event))
    if not found:
        return None
    when, activity, event = max(found, key=lambda one: one[0])
    actor = activity.get("actor") or {}
    who = actor.get("email") or actor.get("key") or actor.get("profileId") or ""
    return _found(str(who), str(event["name"]), when, str(activity["id"]["uniqueQualifier"]), "Workspace audit log")


def _values(event: Mapping[str, Any]) -> set[str]:
    """What the parameters of an event say, in lower case."""
    return {str(each.get("value") or "").lower() for each in event.get("parameters") or ()}


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
