"""The state of a simulated Google organisation: its clock, its objects with their history, and who may do what."""

from __future__ import annotations

import base64
import binascii
import copy
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.demo.gcp import errors

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
        "https://www.googleapis.com/auth/admin.reports.usage.readonly",
        "https://www.googleapis.com/auth/cloud-identity.policies.readonly",
    )
)
# An age in a text that is answered: "@-3h" is three hours before the clock, "@last30d" the last whole thirty days,
# "@next90d" the next, "@date-4d" a date. Whatever stays fresh by itself in reality is written so.
MOVING = re.compile(r"@(date)?(?:([+-]\d+)([dhm])|(last|next)(\d+)d)")
HISTORY_DAYS = 35


def stamp(when: datetime) -> str:
    """A time as Google's newer services write it."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Item:
    """One object: its kind ("compute.googleapis.com/Disk", "admin#directory#user") and what it was since when."""

    kind: str
    versions: list[tuple[datetime, dict[str, Any] | None]]

    @property
    def now(self) -> dict[str, Any] | None:
        return self.versions[-1][1]

    def at(self, moment: datetime) -> dict[str, Any] | None:
        return next((body for since, body in reversed(self.versions) if since <= moment), None)


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
class World:
    """All that answers look at. ``clock`` is simulated time; tokens live by the real one, as the SDKs count them."""

    clock: Callable[[], datetime]
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    lost: set[tuple[str, str]] = field(default_factory=set)  # (permission, project id or "" for everywhere)
    granted: set[str] = field(default_factory=set)
    by_kind: dict[str, dict[str, None]] = field(default_factory=dict)
    used: dict[tuple[str, str], list[tuple[datetime, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begun = self.clock()
        self.settings = {"page_size": 0, "list_assets_per_minute": 100, "token_seconds": 3599, **self.settings}
        self.granted = {*IAM_PERMISSIONS, *(f"workspace:{scope}" for scope in DELEGATED_SCOPES)}

    # --- objects ---

    def add(self, id: str, kind: str, body: dict[str, Any], since: datetime | None = None) -> None:
        """Adds or replaces an object; one of the estate has been there for long."""
        known = self.items.get(id)
        version = (since or self.clock(), body)
        if known is None:
            self.items[id] = Item(kind, [version])
            self.by_kind.setdefault(kind, {})[id] = None
        else:
            known.versions.append(version)

    def remove(self, id: str) -> None:
        self.require(id)
        self.items[id].versions.append((self.clock(), None))

    def require(self, id: str) -> dict[str, Any]:
        """The object as it is stored. Raises LookupError, with names that are like it."""
        item = self.items.get(id)
        if item is None or item.now is None:
            near = [name for name in self.items if id.rpartition("/")[2] in name][:3]
            raise LookupError(f"no object {id!r}; there is {', '.join(near) or 'nothing like it'}")
        return item.now

    def find(self, id: str) -> dict[str, Any] | None:
        """The object as it is answered now; None where there is none."""
        item = self.items.get(id)
        return None if item is None or item.now is None else self.fresh(item.now)

    def each(self, kind: str, at: datetime | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a kind by name, as they are stored, now or at a moment."""
        for id in sorted(self.by_kind.get(kind, ())):
            item = self.items[id]
            body = item.now if at is None else item.at(at)
            if body is not None:
                yield id, body

    def edit(self, id: str, path: str, value: Any) -> None:
        """Sets the member at a dotted path, numbers being places in lists; None takes it away."""
        found = copy.deepcopy(self.require(id))
        at: Any = found
        *way, last = path.split(".")
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
        if isinstance(at, list):
            if value is None:
                del at[int(last)]
            else:
                at[int(last)] = value
        elif value is None:
            at.pop(last, None)
        else:
            at[last] = value
        if "updateTime" in found and path != "updateTime":
            found["updateTime"] = stamp(self.clock())
        self.items[id].versions.append((self.clock(), found))

    def fresh(self, value: Any, now: datetime | None = None) -> Any:
        """A copy in which moving times stand as they are now."""
        now = now or self.clock()
        if isinstance(value, dict):
            return {key: self.fresh(member, now) for key, member in value.items()}
        if isinstance(value, list):
            return [self.fresh(member, now) for member in value]
        if isinstance(value, str) and value.startswith("@") and (found := MOVING.fullmatch(value)):
            return _moment(found, now)
        return value

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


def _moment(found: re.Match[str], now: datetime) -> str:
    date, amount, unit, turn, period = found.groups()
    if turn:
        length = timedelta(days=int(period))
        past = (now - datetime(2020, 1, 1, 5, tzinfo=UTC)) % length
        when = now - past + (length if turn == "next" else timedelta())
    else:
        when = now + timedelta(**{{"d": "days", "h": "hours", "m": "minutes"}[unit]: int(amount)})
    return f"{when.astimezone(UTC):%Y-%m-%d}" if date else stamp(when)
