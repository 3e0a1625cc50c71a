"""Google's errors as its services write them: a status, a code word, a message and typed details."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
HELP = "type.googleapis.com/google.rpc.Help"
LOCALIZED = "type.googleapis.com/google.rpc.LocalizedMessage"
# Admin SDK is older than google.rpc.Status: its errors have reasons of their own, and a status only from the gateway.
LEGACY_HOSTS = frozenset(("admin.googleapis.com", "storage.googleapis.com"))
UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


class Refusal(Exception):
    """Raised instead of an answer. ``body`` is what goes out as JSON, ``headers`` go beside Google's usual ones."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(json.dumps(body))
        self.status, self.body, self.headers = status, body, dict(headers or {})


def refusal(
    status: int,
    word: str,
    message: str,
    details: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
) -> Refusal:
    """An error in the shape of google.rpc.Status over JSON; ``errors`` are the older services' own reasons."""
    error: dict[str, Any] = {"code": status, "message": message}
    if errors:
        error["errors"] = [{"message": message, **each} for each in errors]
    if word:
        error["status"] = word
    if details:
        error["details"] = list(details)
    return Refusal(status, {"error": error}, headers)


def info(reason: str, metadata: Mapping[str, str], domain: str = "googleapis.com") -> dict[str, Any]:
    """An ErrorInfo detail."""
    return {"@type": ERROR_INFO, "reason": reason, "domain": domain, "metadata": dict(metadata)}


def invalid(message: str = "Request contains an invalid argument.") -> Refusal:
    return refusal(400, "INVALID_ARGUMENT", message)


def not_found(message: str = "Requested entity was not found.") -> Refusal:
    return refusal(404, "NOT_FOUND", message)


def unauthenticated(host: str, reason: str, method: str) -> Refusal:
    """No, a broken or an expired access token: CREDENTIALS_MISSING, ACCESS_TOKEN_TYPE_UNSUPPORTED, ..._EXPIRED."""
    challenge = 'Bearer realm="https://accounts.google.com/"'
    if reason != "CREDENTIALS_MISSING":
        challenge += ', error="invalid_token"'
    errors = [{"domain": "global", "reason": "authError", "location": "Authorization", "locationType": "header"}]
    return refusal(
        401,
        "UNAUTHENTICATED",
        UNAUTHENTICATED,
        [info(reason, {"method": method, "service": host})],
        {"WWW-Authenticate": challenge},
        errors if host in LEGACY_HOSTS else (),
    )


def scopes_insufficient(host: str, method: str) -> Refusal:
    errors = [{"message": "Insufficient Permission", "domain": "global", "reason": "insufficientPermissions"}]
    return refusal(
        403,
        "PERMISSION_DENIED",
        "Request had insufficient authentication scopes.",
        [info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", {"service": host, "method": method})],
        {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="insufficient_scope"'},
        errors if host in LEGACY_HOSTS else (),
    )


def denied(host: str, permission: str, resource: str) -> Refusal:
    """An IAM permission that the principal does not hold on a resource; Workspace knows no IAM permissions."""
    if host == "admin.googleapis.com":
        message = "Not Authorized to access this resource/api"
        return refusal(403, "", message, errors=[{"domain": "global", "reason": "forbidden"}])
    if host == "cloudidentity.googleapis.com":
        return refusal(403, "PERMISSION_DENIED", "The caller does not have permission")
    full = resource if resource.startswith("//") else f"//cloudresourcemanager.googleapis.com/{resource}"
    return refusal(
        403,
        "PERMISSION_DENIED",
        f"Permission '{permission}' denied on resource '{full}' (or it may not exist).",
        [info("IAM_PERMISSION_DENIED", {"resource": resource, "permission": permission}, host)],
    )


def service_disabled(host: str, title: str, number: str) -> Refusal:
    """An API that the consumer project ``number`` has not enabled."""
    url = f"https://console.developers.google.com/apis/api/{host}/overview?project={number}"
    message = (
        f"{title} has not been used in project {number} before or it is disabled. Enable it by visiting {url} then "
        "retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and "
        "retry."
    )
    metadata = {
        "service": host,
        "consumer": f"projects/{number}",
        "serviceTitle": title,
        "containerInfo": number,
        "activationUrl": url,
    }
    return refusal(
        403,
        "PERMISSION_DENIED",
        message,
        [
            info("SERVICE_DISABLED", metadata),
            {"@type": LOCALIZED, "locale": "en-US", "message": message},
            {"@type": HELP, "links": [{"description": "Google developers console API activation", "url": url}]},
        ],
        errors=[{"domain": "usageLimits", "reason": "accessNotConfigured"}] if host in LEGACY_HOSTS else (),
    )


def quota_project_denied(number: str, host: str) -> Refusal:
    """The caller may not let ``number`` pay: serviceusage.services.use is missing there."""
    message = (
        f"Caller does not have required permission to use project {number}. Grant the caller the "
        "roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission, "
        f"by visiting https://console.developers.google.com/iam-admin/iam/project?project={number} and then retry. "
        "Propagation of the new permission may take a few minutes."
    )
    metadata = {"consumer": f"projects/{number}", "service": host, "containerInfo": number}
    return refusal(403, "PERMISSION_DENIED", message, [info("USER_PROJECT_DENIED", metadata)])


def quota_exceeded(host: str, number: str, metric: str, limit: int, after: int | None = None) -> Refusal:
    """Too many calls a minute of the consumer project. ``after`` adds a Retry-After in seconds."""
    message = (
        f"Quota exceeded for quota metric '{metric}' and limit '{metric} per minute' of service '{host}' for consumer "
        f"'project_number:{number}'."
    )
    word = metric.replace(" ", "")
    metadata = {
        "service": host,
        "consumer": f"projects/{number}",
        "quota_metric": f"{host}/{metric.lower().replace(' ', '_')}",
        "quota_limit": f"{word}PerMinutePerProject",
        "quota_limit_value": str(limit),
        "quota_location": "global",
        "quota_unit": "1/min/{project}",
    }
    url = "https://cloud.google.com/docs/quotas/help/request_increase"
    details = [
        info("RATE_LIMIT_EXCEEDED", metadata),
        {"@type": HELP, "links": [{"description": "Request a higher quota limit.", "url": url}]},
    ]
    errors = [{"domain": "global", "reason": "rateLimitExceeded"}] if host in LEGACY_HOSTS else ()
    headers = {} if after is None else {"Retry-After": str(after)}
    return refusal(429, "RESOURCE_EXHAUSTED", message, details, headers, errors)


def usage_limits(reason: str = "quotaExceeded") -> Refusal:
    """Admin SDK's older way to throttle: 403 with a reason, no status word and no details."""
    message = "Request rate higher than configured." if reason == "quotaExceeded" else "Rate Limit Exceeded"
    return refusal(403, "", message, errors=[{"domain": "usageLimits", "reason": reason}])


def internal() -> Refusal:
    return refusal(500, "INTERNAL", "Internal error encountered.")
