"""The state of a simulated Google organisation: its clock, its objects with their history, and who may do what."""

from __future__ import annotations

import base64
import binascii
import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from collector.demo.gcp import errors
from collector.demo.objects import Objects

ORGANIZATION = "461203958147"
FOLDER = "845720196331"
CUSTOMER = "C02acme7x"
DOMAIN = "acme.example"
PROJECTS = {"acme-prod": "100000000001", "acme-data": "100000000002", "acme-sandbox": "100000000003"}
HOME = "acme-prod"  # the collector's own project: the consumer of its calls unless it names another
COLLECTOR = "collector@acme-prod.iam.gserviceaccount.com"
RUNNER = "runner@acme-prod.iam.gserviceaccount.com"  # the machine's own account; may impersonate the collector
ADMINISTRATOR = f"admin@{DOMAIN}"

# What the collector's service account may do at the start: what the checks declare, and what a handle needs to know
# who and where it is. Tests compare it with the checks.
IAM_PERMISSIONS = frozenset(
    (
        "cloudasset.assets.listIamPolicy",
        "cloudasset.assets.listOSInventories",
        "cloudasset.assets.listResource",
        "logging.logEntries.list",
        "osconfig.vulnerabilityReports.list",
        "resourcemanager.folders.get",
        "resourcemanager.folders.list",
        "resourcemanager.organizations.get",
        "resourcemanager.projects.get",
        "resourcemanager.projects.list",
        "serviceusage.services.get",
        "serviceusage.services.list",
        "serviceusage.services.use",
    )
)
DIRECTORY = "https://www.googleapis.com/auth/admin.directory."
DELEGATED_SCOPES = frozenset(
    (
        DIRECTORY + "user.readonly",
        DIRECTORY + "orgunit.readonly",
        "https://www.googleapis.com/auth/admin.reports.audit.readonly",
        "https://www.googleapis.com/auth/admin.reports.usage.readonly",
        "https://www.googleapis.com/auth/cloud-identity.policies.readonly",
    )
)
HISTORY_DAYS = 35


@dataclass(frozen=True)
class Principal:
    """Who asks: the account of the token, the scopes of the token, and the user it stands for, if it does."""

    account: str
    scopes: frozenset[str]
    subject: str = ""
    self_signed: bool = False

    def holds(self, *scopes: str) -> bool:
        return not self.scopes.isdisjoint(scopes)


@dataclass(frozen=True)
class Ask:
    """One request to an API, taken apart. ``query`` has every value of a name, ``body`` the JSON of a POST."""

    method: str
    host: str
    path: str
    query: Mapping[str, list[str]]
    body: Mapping[str, Any]
    principal: Principal
    consumer: str  # the project number that pays: quotas and enabled APIs are its
    rpc: str = ""  # the name of the method as error details give it

    def one(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[-1]

    def size(self, name: str, default: int, most: int) -> int:
        """A page size. Raises Refusal for what is no whole number from 0."""
        text = self.one(name)
        if not text:
            return default
        if not text.isdecimal():
            message = f"Invalid value at '{name}' (TYPE_INT32), \"{text}\""
            raise errors.invalid(message)
        return min(int(text) or default, most)


@dataclass
class World(Objects):
    """All that answers look at. ``clock`` is simulated time; tokens live by the real one, as the SDKs count them."""

    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    lost: set[tuple[str, str]] = field(default_factory=set)  # (permission, project id or "" for everywhere)
    granted: set[str] = field(default_factory=set)
    private: dict[Any, Any] = field(default_factory=dict)  # the private halves of keys that a service keeps
    used: dict[tuple[str, str], list[tuple[datetime, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begun = self.clock()
        self.settings = {"page_size": 0, "list_assets_per_minute": 100, "token_seconds": 3599, **self.settings}
        self.granted = {*IAM_PERMISSIONS, *(f"workspace:{scope}" for scope in DELEGATED_SCOPES)}

    # --- rights ---

    def permitted(self, permission: str, project: str = "") -> bool:
        """Whether the collector holds a permission, in a project where one is named."""
        lost = {(permission, ""), (permission, project)}
        return permission in self.granted and self.lost.isdisjoint(lost)

    def demand(self, ask: Ask, permission: str, resource: str, project: str = "") -> None:
        """Raises Refusal unless the principal holds the permission on the resource ("projects/acme-data")."""
        if ask.principal.account != COLLECTOR or not self.permitted(permission, project):
            raise errors.denied(ask.host, permission, resource)

    def enabled(self, service: str, number: str) -> bool:
        """Whether the project has enabled an API; the service objects of the estate say so."""
        found = self.items.get(service_name(number, service))
        body = None if found is None else found.now
        return body is not None and body["resource"]["data"]["state"] == "ENABLED"

    def spend(self, host: str, number: str, metric: str, per_minute: int) -> None:
        """Counts one call against a quota. Raises Refusal beyond it.

        A minute is over when it is over in real or in simulated time: a clock that stands still blocks nobody, and
        one that leaps has leapt over the minute.
        """
        now, real = self.clock(), time.monotonic()
        calls = self.used.setdefault((number, metric), [])
        minute = timedelta(minutes=1)
        calls[:] = [(at, since) for at, since in calls if real - since < 60 and abs(now - at) < minute]
        if len(calls) >= per_minute:
            raise errors.quota_exceeded(host, number, metric, per_minute)
        calls.append((now, real))

    # --- projects ---

    def project(self, text: str) -> tuple[str, str] | None:
        """(id, number) of a project named by either; None where there is none."""
        for _, body in self.each("cloudresourcemanager.googleapis.com/Project"):
            data = body["resource"]["data"]
            if text in (data["projectId"], data["projectNumber"]):
                return data["projectId"], data["projectNumber"]
        return None

    def page(self, rows: list[Any], size: int, start: int) -> tuple[list[Any], int]:
        """The rows from ``start``, no more than ``size`` and the configured page size; where the next begins, or 0."""
        most = int(self.settings["page_size"])
        size = min(size, most) if most else size
        end = start + size
        return rows[start:end], end if end < len(rows) else 0

    def listed(self, ask: Ask, rows: list[Any], items: str, size: int, **members: Any) -> dict[str, Any]:
        """One page of a listing with its ``nextPageToken``; an empty list is left out, as Google does."""
        start = 0
        question = _question(ask)
        if token := ask.one("pageToken"):
            start = token_start(token, question)
        chosen, after = self.page(rows, size, start)
        answer: dict[str, Any] = dict(members)
        if chosen:
            answer[items] = self.fresh(chosen)
        if after:
            answer["nextPageToken"] = page_token(after, question)
        return answer


def service_name(number: str, service: str) -> str:
    """The asset name of an API of a project."""
    return f"//serviceusage.googleapis.com/projects/{number}/services/{service}"


def _question(ask: Ask) -> str:
    rest = {name: sorted(values) for name, values in ask.query.items() if name not in ("pageToken", "$alt", "alt")}
    return json.dumps([ask.path, rest], sort_keys=True)


def page_token(start: int, question: str, *more: str) -> str:
    """An opaque token that belongs to one question."""
    text = json.dumps([start, zlib.crc32(question.encode()), *more])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def token_parts(token: str, question: str) -> list[Any]:
    """What a token of ``page_token`` holds, without the check. Raises Refusal for one of another question."""
    try:
        start, check, *more = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, UnicodeDecodeError, ValueError, TypeError) as error:
        raise errors.invalid("The page token is invalid.") from error
    if check != zlib.crc32(question.encode()) or not isinstance(start, int):
        raise errors.invalid("The page token is invalid: it belongs to another request.")
    return [start, *more]


def token_start(token: str, question: str) -> int:
    return int(token_parts(token, question)[0])
