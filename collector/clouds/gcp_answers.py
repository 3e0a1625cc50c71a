"""What an answer of a Google API means, where Google keeps what, and which Workspace scope opens which path."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from collector.clouds.rest import Call, Reply, Rest, Trouble
from collector.errors import Denied, Disabled, Throttled, Unavailable, Unreadable

ASSETS = "cloudasset.googleapis.com"
MANAGER = "cloudresourcemanager.googleapis.com"
OAUTH = "oauth2.googleapis.com"
DIRECTORY = "admin.googleapis.com"
DELEGATED_HOSTS = frozenset((DIRECTORY, "cloudidentity.googleapis.com"))
TOKEN_INFO = "/tokeninfo"
CREDENTIAL = "credential"  # the method of the call that asks the credential in use whose it is; nothing is sent
HOST = re.compile(r"([a-z0-9-]+\.)+googleapis\.com")
PLAIN = "/:@!$&'()*+,;=~"  # what a path of a URL holds as it is (RFC 3986), besides letters and digits

# Asked in the name of a Workspace administrator, with one scope at a time: Google refuses a token for several scopes
# when one of them is not delegated, and then no check could see anything.
AUTH = "https://www.googleapis.com/auth/"
DELEGATED_SCOPES: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (DIRECTORY, re.compile(r"/admin/directory/v1/users(/[^/]+)?"), f"{AUTH}admin.directory.user.readonly"),
    (
        DIRECTORY,
        re.compile(r"/admin/directory/v1/customer/[^/]+/orgunits(/.+)?"),
        f"{AUTH}admin.directory.orgunit.readonly",
    ),
    (DIRECTORY, re.compile(r"/admin/reports/v1/usage/.+"), f"{AUTH}admin.reports.usage.readonly"),
    (DIRECTORY, re.compile(r"/admin/reports/v1/activity/.+"), f"{AUTH}admin.reports.audit.readonly"),  # clouds/who.py
    ("cloudidentity.googleapis.com", re.compile(r"/v1/policies(/.+)?"), f"{AUTH}cloud-identity.policies.readonly"),
)

KEPT_OF_TOKEN = ("aud", "azp", "email", "email_verified", "scope", "sub")  # the rest counts down, or is the token
# Status words that an answer of the older APIs leaves out.
STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
DISABLED = frozenset(("SERVICE_DISABLED", "accessNotConfigured"))
UNPAID = frozenset(("BILLING_DISABLED", "billingNotEnabled"))
THROTTLED = frozenset(
    (
        "RATE_LIMIT_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "dailyLimitExceeded",
        "quotaExceeded",
        "rateLimitExceeded",
        "userRateLimitExceeded",
    )
)
# https://cloud.google.com/asset-inventory/docs/quota: 100 ListAssets a minute for one consumer project.
LIST_ASSETS_QUOTA = (100, 60.0)
QUOTA_SECONDS = 20.0  # between two looks whether a quota of so many calls a minute is there again
PERMISSION = re.compile(r"[Pp]ermission '?([a-z]+\.[A-Za-z]+(?:\.[A-Za-z]+)+)'?")
PROJECT = re.compile(r"\bproject[ s/]+#?([a-z0-9][a-z0-9:.-]*[a-z0-9])")
API = re.compile(r"/apis/api/([a-z0-9.-]+\.googleapis\.com)/")
GRANT = "grant the collector's role at the parent: collector policy gcp"
DELEGATE = "let the Workspace administrator's role read it, and delegate the scopes: collector policy gcp"
SIGN_IN = "look at the collector's credentials: the token was refused"


class Answers(Rest):
    """Google, as ``Edge`` speaks to it. ``send`` puts a call on the wire: that of ``gcp_access.Access``."""

    def __init__(self, send: Callable[[Call], Reply]) -> None:
        self._send = send

    def send(self, call: Call) -> Reply:
        return self._send(call)

    def renew(self, call: Call) -> bool:
        return True  # the access does not use a token again that was refused

    def trouble(self, reply: Reply, body: Any) -> Trouble:
        return trouble(reply.status, body)

    def split(self, call: Call, body: dict[str, Any]) -> tuple[dict[str, Any], Any, str]:
        host = urlsplit(call.url).netloc
        if host == OAUTH and call.method != CREDENTIAL:
            return {name: body[name] for name in KEPT_OF_TOKEN if name in body}, None, ""
        as_of = str(body.get("readTime") or "") if host == ASSETS else ""
        if "nextPageToken" not in body:
            return body, None, as_of
        return {name: value for name, value in body.items() if name != "nextPageToken"}, body["nextPageToken"], as_of

    def request_id(self, headers: Mapping[str, str]) -> str:
        return headers.get("x-goog-request-id", "")  # Google's front end rarely gives one

    def quota(self, lane: str) -> tuple[int, float] | None:
        return LIST_ASSETS_QUOTA if lane == ASSETS else None

    def allowance(self, headers: Mapping[str, str]) -> float:
        return 0.0  # Google says nothing of a quota before it is used up


def trouble(status: int, body: Any) -> Trouble:
    """What an error of Google means: of google.rpc.Status, of the older APIs, or of OAuth.

    The code is the status word and, after a colon, the reason where there is one: "PERMISSION_DENIED:SERVICE_DISABLED".
    """
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str):  # OAuth
        return _family(status, error, {error}, str(body.get("error_description") or ""), {})
    if not isinstance(error, dict):
        return _family(status, f"HTTP{status}", set(), "", {})
    info = _info(error)
    word = str(error.get("status") or STATUS.get(status) or f"HTTP{status}")
    reason = str(info.get("reason") or _legacy(error))
    code = f"{word}:{reason}" if reason else word
    metadata = info.get("metadata")
    return _family(
        status,
        code,
        {word, reason},
        str(error.get("message") or ""),
        metadata if isinstance(metadata, dict) else {},
    )


def _family(status: int, code: str, words: set[str], message: str, metadata: Mapping[str, Any]) -> Trouble:
    if words & DISABLED:
        found = PROJECT.search(message)
        project = str(metadata.get("consumer") or "").rpartition("/")[2] or (found[1] if found else "PROJECT")
        named = API.search(message)
        service = str(metadata.get("service") or (named[1] if named else "SERVICE.googleapis.com"))
        return Trouble(Disabled.code, code, message, f"gcloud services enable {service} --project {project}")
    if words & UNPAID:
        return Trouble(Disabled.code, code, message, "link the project to a billing account, or leave it out")
    if status == 429 or words & THROTTLED:
        a_minute = "/min" in str(metadata.get("quota_unit")) or "per minute" in message
        return Trouble(Throttled.code, code, message, wait=QUOTA_SECONDS if a_minute else 0.0)
    if status >= 500 or status == 408:
        return Trouble(Unavailable.code, code, message)
    if status == 401:
        return Trouble(Denied.code, code, message, SIGN_IN)
    if status == 403:
        return Trouble(Denied.code, code, message, _grant(words, message, metadata))
    return Trouble(Unreadable.code, code, message)


def _grant(words: set[str], message: str, metadata: Mapping[str, Any]) -> str:
    if "ACCESS_TOKEN_SCOPE_INSUFFICIENT" in words:
        return f"give the machine's account the scope {AUTH}cloud-platform"
    if "USER_PROJECT_DENIED" in words:
        return f"grant serviceusage.services.use on {metadata.get('consumer')}, or set another quota_project"
    named = PERMISSION.search(message)
    permission = str(metadata.get("permission") or (named[1] if named else ""))
    if not permission:
        return DELEGATE if "Not Authorized" in message else GRANT
    resource = metadata.get("resource")
    where = f" on {resource}" if resource else ""
    return f"grant {permission}{where}"


def _info(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ErrorInfo among the details, empty when there is none."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and str(detail.get("@type")).endswith("/google.rpc.ErrorInfo"):
            return detail
    return {}


def _legacy(error: Mapping[str, Any]) -> str:
    """The reason as the older APIs write it, "" when there is none."""
    errors = error.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    return str(first.get("reason") or "") if isinstance(first, dict) else ""


def delegated_scope(host: str, path: str) -> str:
    """The scope that opens a path of Workspace. Raises Denied for a path that none of ours opens."""
    for known, pattern, scope in DELEGATED_SCOPES:
        if known == host and pattern.fullmatch(path):
            return scope
    raise Denied(f"the collector has no Workspace scope for {host}{path}; it reads users, units, usage and policies")


def url_of(host: str, path: str) -> str:
    """The URL of a path of ours, which is written plainly. Raises ValueError for no Google host, or for a query."""
    if not HOST.fullmatch(host):
        raise ValueError(f"not a host of Google's APIs: {host!r}")
    if not path.startswith("/") or "?" in path:
        raise ValueError(f'a path begins with "/" and has no query: {path!r}')
    return f"https://{host}" + quote(path, safe=PLAIN)


def wired(query: Mapping[str, Any]) -> dict[str, Any]:
    """Query members as Google reads them: JSON's words for true and false, a list as a repeated member."""

    def text(value: Any) -> Any:
        if isinstance(value, bool):
            return "true" if value else "false"
        return [text(each) for each in value] if isinstance(value, list | tuple) else value

    return {name: text(value) for name, value in query.items()}
