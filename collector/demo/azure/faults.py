"""What can go wrong with the simulated tenant on demand, in the words of the service that was asked."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any

from collector.demo.azure import arm, blobs, entra, errors, microsoft_graph, resource_graph
from collector.demo.azure.errors import Refusal
from collector.demo.azure.tokens import Issuer
from collector.demo.azure.world import Ask

FAULT_KINDS = (
    "throttle",
    "expired",
    "denied",
    "licence",  # Microsoft Graph only
    "unregistered",  # Azure Resource Manager only
    "cae",  # a claims challenge, until the token is one that was asked for with the claims
    "404",  # these four Blob Storage only
    "409",
    "412",
    "429",
    "500",
    "slow",
    "reset",
    "truncate",
    "html",
)
ANSWERED = ("slow", "truncate", "html")  # the real answer is made first


@dataclass
class Fault:
    """What goes wrong with which calls; ``operation`` is searched in "GET /path", ``host`` matches the whole name."""

    kind: str
    operation: str = ".*"
    host: str = ".*"
    times: int | None = None  # None: until it is cleared
    seconds: float = 3.0
    label: str = ""
    since: float = field(default_factory=time.time)

    def hits(self, ask: Ask, issuer: Issuer) -> bool:
        door = ask.host == entra.HOST
        if self.times == 0 or not re.fullmatch(self.host, ask.host) or (door and self.host == ".*"):
            return False
        asked = f"{ask.method} {ask.path}"
        if not re.search(self.operation, asked) and not re.search(self.operation, f"{asked} {query_of(ask)}"):
            return False
        if self.kind == "cae":
            return not door and not issuer.answers_challenge(ask, self.since)
        if self.kind in ("404", "409", "412", "429"):
            return blobs.HOST.fullmatch(ask.host) is not None
        only = {"licence": microsoft_graph.HOST, "unregistered": arm.HOST}.get(self.kind, ask.host)
        return only == ask.host


def query_of(ask: Ask) -> str:
    """The text of a query of Resource Graph, "" for any other request."""
    body: Any = ask.body
    return str(body.get("query", "")) if ask.host == arm.HOST and isinstance(body, dict) else ""


def refusal(fault: Fault, ask: Ask) -> Refusal:
    """The fault as Azure Resource Manager, Resource Graph or Microsoft Graph says it."""
    if fault.kind == "expired":
        return errors.token_expired(ask)
    if fault.kind == "cae":
        return errors.claims_challenge(ask, int(fault.since))
    if fault.kind == "licence":
        return errors.no_premium(ask)
    if ask.host == microsoft_graph.HOST:
        return _of_graph(fault, ask)
    path = arm.Path(ask.path)
    if fault.kind == "unregistered":
        return errors.unregistered(path.namespace)
    if fault.kind == "500":
        message = (
            f"Encountered internal server error. Diagnostic information: timestamp '{ask.at:%Y%m%dT%H%M%SZ}', "
            f"tracking id '{ask.request_id}', request correlation id '{ask.request_id}'."
        )
        return errors.arm(500, "InternalServerError", message)
    if path.low == resource_graph.PATH:
        words = "No access to any of the subscriptions that were asked."
        denied = errors.resource_graph(ask, [{"code": "AccessDenied", "message": words}], 403, "AccessDenied")
        return errors.queries_throttled(ask, 1) if fault.kind == "throttle" else denied
    if fault.kind == "throttle":
        return errors.reads_throttled(path.subscription or "tenant", 1)
    return errors.authorization_failed(path.action(ask.method), path.text)


def _of_graph(fault: Fault, ask: Ask) -> Refusal:
    if fault.kind == "throttle":
        words = "Too many requests. Please wait before trying again."
        return errors.graph(ask, 429, "TooManyRequests", words, {"Retry-After": "1"})
    if fault.kind == "500":
        return errors.graph(ask, 500, "InternalServerError", "An internal error has occurred.")
    return errors.graph_denied(ask, microsoft_graph.needed(ask))
