"""What an answer of Azure Resource Manager, Resource Graph or Microsoft Graph means, and where each of them lives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from collector.clouds.rest import RETRY_AFTER_SECONDS_MAX, Call, Reply, Rest, Trouble
from collector.errors import Denied, Disabled, Throttled, Unavailable, Unreadable

CLAIMS = "token claims"  # the method of the call that reads, out of the token in use, who it was given to

# Members that continue a listing, in lower case and without "@" and "odata.".
CONTINUATIONS = ("nextlink", "$skiptoken")
ODATA = frozenset(("count", "expand", "filter", "orderby", "search", "select", "skip", "top"))
PLAIN = "/:@!$&'()*+,;=~"  # what a path of a URL holds as it is (RFC 3986), besides letters and digits

# Refusals that are about what the tenant has bought, not about rights.
LICENSES = {
    "authentication_requestfromnonpremiumtenantorb2ctenant": "needs Entra ID P1",
    "aadpremiumlicenserequired": "needs Entra ID P2",
}
# Answers of a subscription that does not use the resource provider that was asked.
UNREGISTERED = frozenset(
    ("missingsubscriptionregistration", "subscription not registered", "subscriptionnotregistered")
)
REGISTER = "register the resource provider: az provider register --subscription ID --namespace NAME"
ASSIGN = "assign the collector's role, or consent to its Graph permissions: collector policy azure"
SIGN_IN = "look at the collector's credentials: the token was refused"


@dataclass(frozen=True)
class Hosts:
    """Where the parts of one Azure cloud live."""

    arm: str
    graph: str
    authority: str


HOSTS: Mapping[str, Hosts] = {
    "public": Hosts("management.azure.com", "graph.microsoft.com", "login.microsoftonline.com"),
    "usgovernment": Hosts("management.usgovcloudapi.net", "graph.microsoft.us", "login.microsoftonline.us"),
    "china": Hosts("management.chinacloudapi.cn", "microsoftgraph.chinacloudapi.cn", "login.chinacloudapi.cn"),
}


ARM_HOSTS = frozenset(hosts.arm for hosts in HOSTS.values())
RESOURCE_GRAPH_LANE = "resource graph"
# https://learn.microsoft.com/azure/governance/resource-graph/concepts/guidance-for-throttled-requests: 15 queries in
# each window of 5 seconds, for one principal.
RESOURCE_GRAPH_QUOTA = (15, 5.0)
# https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling: a bucket of 250
# reads that 25 a second fill again, for one principal in one subscription, and so for the tenant. No more than 250 in
# any 10 seconds never empties it.
READS_QUOTA = (250, 10.0)


class Answers(Rest):
    """Azure, as ``Edge`` speaks to it. ``send`` puts a call on the wire: that of ``azure_access.Access``."""

    def __init__(self, send: Callable[[Call], Reply]) -> None:
        self._send = send

    def send(self, call: Call) -> Reply:
        return self._send(call)

    def renew(self, call: Call) -> bool:
        return True  # the access does not use a token again that was refused

    def trouble(self, reply: Reply, body: Any) -> Trouble:
        code, message = _error(body)
        code = code or f"HTTP{reply.status}"
        word = code.lower()
        if license := LICENSES.get(word):
            return Trouble(Disabled.code, code, message, f"not available: {license}")
        if word in UNREGISTERED:
            return Trouble(Disabled.code, code, message, REGISTER)
        if reply.status == 429:
            return Trouble(Throttled.code, code, message)
        if reply.status >= 500 or reply.status == 408:
            return Trouble(Unavailable.code, code, message)
        if reply.status == 401:
            return Trouble(Denied.code, code, message, SIGN_IN)
        if reply.status == 403:
            return Trouble(Denied.code, code, message, ASSIGN)
        return Trouble(Unreadable.code, code, message)

    def split(self, call: Call, body: dict[str, Any]) -> tuple[dict[str, Any], Any, str]:
        names = [name for name in body if name.lower().removeprefix("@").removeprefix("odata.") in CONTINUATIONS]
        if not names:
            return body, None, ""
        token = next((body[name] for name in names if body[name]), None)
        return {name: value for name, value in body.items() if name not in names}, token, ""

    def request_id(self, headers: Mapping[str, str]) -> str:
        return headers.get("x-ms-request-id") or headers.get("request-id") or ""

    def quota(self, lane: str) -> tuple[int, float] | None:
        if lane == RESOURCE_GRAPH_LANE:
            return RESOURCE_GRAPH_QUOTA
        return READS_QUOTA if lane.partition("/")[0] in ARM_HOSTS else None

    def allowance(self, headers: Mapping[str, str]) -> float:
        """Resource Graph says how many queries are left of a window, and when the next window begins (hh:mm:ss)."""
        if headers.get("x-ms-user-quota-remaining") != "0":
            return 0.0
        found = re.fullmatch(r"(\d+):(\d\d):(\d\d)", headers.get("x-ms-user-quota-resets-after", ""))
        if found is None:
            return 0.0
        hours, minutes, seconds = map(int, found.groups())
        return float(min(hours * 3600 + minutes * 60 + seconds, RETRY_AFTER_SECONDS_MAX))


def _error(body: Any) -> tuple[str, str]:
    """The code and the words of an error body; a few resource providers leave out the envelope ``error``."""
    if not isinstance(body, dict):
        return "", ""
    inner = body.get("error", body)
    if isinstance(inner, str):  # as OAuth writes errors
        return inner, str(body.get("error_description") or "")
    if not isinstance(inner, dict):
        return "", ""
    low = {str(name).lower(): value for name, value in inner.items()}
    words = [str(low.get("message") or "")]
    details = low.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            words.append(f"{detail.get('code') or ''} {detail.get('message') or ''}".strip())
    return str(low.get("code") or ""), "; ".join(word for word in words if word)


def odata(query: Mapping[str, Any]) -> dict[str, Any]:
    """Query members as they are sent: ``select`` as ``$select``, all others as they are."""
    return {f"${name}" if name in ODATA else name: value for name, value in query.items()}


def url_of(host: str, path: str) -> str:
    """The URL of a path of ours, which is written plainly: ``/users/a#b`` names one user, and no fragment."""
    if not path.startswith("/") or "?" in path:
        raise ValueError(f'a path begins with "/" and has no query: {path!r}')
    return f"https://{host}" + quote(path, safe=PLAIN)


def next_url(host: str, link: Any) -> str:
    """The URL of the next page, "" for a link that leads anywhere but to the host that gave it.

    A link is followed with the tenant's token, so the host in front is always ours and never the link's.
    """
    if not isinstance(link, str) or not link.isascii() or not link.isprintable() or " " in link:
        return ""
    try:
        found = urlsplit(link)
        fits = (found.scheme, found.hostname, found.port or 443) == ("https", host, 443)
    except ValueError:
        return ""
    if not fits or "@" in found.netloc or "\\" in link or not found.path.startswith("/"):
        return ""
    return f"https://{host}{found.path}" + (f"?{found.query}" if found.query else "")
