"""Cloud Storage's JSON API: buckets with object retention, every generation of an object, and refusals word for word.

Only what a place for checkpoints and whoever attacks one need. What it says of retained objects is what Google's own
service was measured to say; a condition is looked at before a retention.
Sources: https://cloud.google.com/storage/docs/json_api/v1, https://cloud.google.com/storage/docs/object-lock
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import urllib.parse
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from collector.demo.gcp.errors import Refusal, refusal
from collector.demo.gcp.world import COLLECTOR, World, page_token
from collector.demo.objects import stamp
from collector.demo.proxy import Request, Response

HOST = "storage.googleapis.com"
PATH = re.compile(r"(/upload)?/storage/v1/b/([^/]+)(?:/o(?:/(.+))?)?")
PAGE_MAX = 1_000
PLAIN = {"Content-Type": "text/html; charset=UTF-8"}
SCOPES = (
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/devstorage.full_control",
    "https://www.googleapis.com/auth/devstorage.read_write",
)
# What the collector may do in every bucket: the role of deploy/anchors. A test compares them.
RIGHTS = frozenset(
    (
        "storage.buckets.get",
        "storage.objects.create",
        "storage.objects.get",
        "storage.objects.list",
        "storage.objects.setRetention",
    )
)
LOCKED = (
    "The locked object retention cannot be removed. Its retention mode cannot be changed and its retention period "
    "cannot be shortened."
)
UNLOCKED = (
    "The unlocked object retention cannot be removed and its retention period cannot be shortened without overriding "
    "unlocked retention intent and permission."
)
BOTH = "Both mode and retain until time are required."


@dataclass
class Generation:
    """One generation of an object; ``mode`` is "", "Unlocked" or "Locked"."""

    number: int
    data: bytes
    type: str
    created: datetime
    mode: str = ""
    until: datetime | None = None
    deleted: datetime | None = None  # since when it is noncurrent

    def kept(self, now: datetime) -> bool:
        return bool(self.mode) and self.until is not None and self.until > now


@dataclass
class Bucket:
    """``retention`` is whether objects may be retained, which is chosen when a bucket is made."""

    retention: bool
    versioning: bool
    objects: dict[str, list[Generation]] = field(default_factory=dict)

    def live(self, name: str) -> Generation | None:
        return next((each for each in self.objects.get(name, []) if each.deleted is None), None)


def failed(status: int, reason: str, message: str, domain: str = "global", **more: str) -> Refusal:
    """An error as this API writes it: with a reason, and without a status word."""
    return refusal(status, "", message, errors=[{"domain": domain, "reason": reason, **more}])


def denied(permission: str, what: str = "object") -> Refusal:
    words = f"{COLLECTOR} does not have {permission} access to the Google Cloud Storage {what}. "
    words += f"Permission '{permission}' denied on resource (or it may not exist)."
    return failed(403, "forbidden", words)


FAULTS: Mapping[str, Callable[[], Refusal]] = {
    "throttle": lambda: failed(
        429,
        "rateLimitExceeded",
        "The object exceeded the rate limit for object mutation operations (create, update, and delete). Please reduce "
        "your request rate. See https://cloud.google.com/storage/docs/gcs429.",
        "usageLimits",
    ),
    "denied": lambda: denied("storage.objects.create"),
    "404": lambda: failed(404, "notFound", "The specified bucket does not exist."),
    "409": lambda: failed(
        409, "conflict", "The metadata for object was edited during the operation. Please try again."
    ),
    "412": lambda: condition_not_met(),
    "500": lambda: failed(503, "backendError", "We encountered an internal error. Please try again."),
}


def condition_not_met() -> Refusal:
    words = "At least one of the pre-conditions you specified did not hold."
    return failed(412, "conditionNotMet", words, locationType="header", location="If-Match")


class Storage:
    """Every bucket of the organisation."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._buckets: dict[str, Bucket] = {}
        self._last = 0
        self.rights = set(RIGHTS)

    def make(self, name: str, retention: bool, versioning: bool) -> None:
        self._buckets[name] = Bucket(retention, versioning)

    # --- a request ---

    def answer(self, request: Request) -> Response | None:
        """None for what nobody here knows. Raises Refusal."""
        path, _, text = request.target.partition("?")
        found = PATH.fullmatch(path)
        if found is None:
            return None
        query = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
        name = urllib.parse.unquote(found[2])
        bucket = self._buckets.get(name)
        if bucket is None:
            raise failed(404, "notFound", "The specified bucket does not exist.")
        key = urllib.parse.unquote(found[3]) if found[3] else ""
        if found[1]:
            return self._insert(request, query, name, bucket) if request.method == "POST" else None
        if not path.endswith("/o") and not key:
            return self._of_bucket(request.method, query, name, bucket)
        if not key:
            return self._list(query, name, bucket) if request.method == "GET" else None
        return self._of_object(request, query, name, bucket, key)

    def _demand(self, permission: str, what: str = "object") -> None:
        if permission not in self.rights:
            raise denied(permission, what)

    def _of_bucket(self, method: str, query: Mapping[str, str], name: str, bucket: Bucket) -> Response | None:
        if method == "DELETE":
            self._demand("storage.buckets.delete", "bucket")
            if bucket.objects:
                raise failed(409, "conflict", "The bucket you tried to delete is not empty.")
            return Response(204, {})
        if method != "GET":
            return None
        self._demand("storage.buckets.get", "bucket")
        body: dict[str, Any] = {
            "kind": "storage#bucket",
            "id": name,
            "name": name,
            "location": "EUROPE-WEST3",
            "storageClass": "STANDARD",
            "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"},
        }
        if bucket.retention:
            body["objectRetention"] = {"mode": "Enabled"}
        if bucket.versioning:
            body["versioning"] = {"enabled": True}
        return _json(body, query)

    # --- objects ---

    def _insert(self, request: Request, query: Mapping[str, str], name: str, bucket: Bucket) -> Response:
        about, data = _parts(request)
        key = str(about.get("name") or query.get("name") or "")
        if query.get("uploadType") != "multipart" or not key:
            raise failed(400, "required", "Required parameter: name")
        now = self._world.clock()
        self._demand("storage.objects.create")
        if "retention" in about:
            self._demand("storage.objects.setRetention")
        live = bucket.live(key)
        if "ifGenerationMatch" in query and int(query["ifGenerationMatch"]) != (live.number if live else 0):
            raise condition_not_met()
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        if about.get("md5Hash", digest) != digest:
            words = f'Provided MD5 hash "{about["md5Hash"]}" doesn\'t match calculated MD5 hash "{digest}".'
            raise failed(400, "invalid", words)
        made = Generation(self._number(now), data, str(about.get("contentType") or "application/octet-stream"), now)
        if "retention" in about:
            made.mode, made.until = _retention(about["retention"], bucket, now)
        if live is not None:
            self._demand("storage.objects.delete")
            self._drop(name, key, bucket, live, now)
        bucket.objects.setdefault(key, []).append(made)
        return _json(_object(name, key, made), query)

    def _of_object(
        self, request: Request, query: Mapping[str, str], name: str, bucket: Bucket, key: str
    ) -> Response | None:
        needed = {"GET": "get", "PATCH": "update", "DELETE": "delete"}.get(request.method)
        if needed is None:
            return None
        self._demand(f"storage.objects.{needed}")
        wanted = query.get("generation")
        if wanted is None:
            found = bucket.live(key)
        else:
            found = next((each for each in bucket.objects.get(key, []) if str(each.number) == wanted), None)
        if found is None:
            words = f"No such object: {name}/{key}"
            if query.get("alt") == "media":
                return Response(404, PLAIN, words.encode())
            raise failed(404, "notFound", words)
        now = self._world.clock()
        if request.method == "DELETE":
            if wanted is None:
                self._drop(name, key, bucket, found, now)
            else:
                self._remove(name, key, bucket, found, now)
            return Response(204, {})
        if request.method == "PATCH":
            self._patch(json.loads(request.body), query, bucket, found, now)
        elif query.get("alt") == "media":
            return _media(found)
        return _json(_object(name, key, found), query)

    def _drop(self, name: str, key: str, bucket: Bucket, live: Generation, now: datetime) -> None:
        """The live object makes way: noncurrent where there are versions, which a retention allows, and else gone."""
        if bucket.versioning:
            live.deleted = now
        else:
            self._remove(name, key, bucket, live, now)

    def _remove(self, name: str, key: str, bucket: Bucket, one: Generation, now: datetime) -> None:
        if one.kept(now):
            words = f"Object '{name}/{key}' is subject to bucket's retention policy or object retention and cannot be "
            assert one.until is not None
            raise failed(403, "retentionPolicyNotMet", f"{words}deleted or overwritten until {one.until.isoformat()}")
        bucket.objects[key].remove(one)
        if not bucket.objects[key]:
            del bucket.objects[key]

    def _patch(
        self, body: Mapping[str, Any], query: Mapping[str, str], bucket: Bucket, one: Generation, now: datetime
    ) -> None:
        if "retention" not in body:
            return
        self._demand("storage.objects.setRetention")
        wanted = body["retention"]
        mode, until = ("", None) if wanted is None else _retention(wanted, bucket, now)
        shorter = one.until is not None and (until is None or until < one.until)
        if one.mode == "Locked" and (mode != "Locked" or shorter):
            raise failed(403, "forbidden", LOCKED)
        if one.mode == "Unlocked" and (shorter or mode == "Locked"):
            if query.get("overrideUnlockedRetention") != "true":
                raise failed(403, "forbidden", UNLOCKED)
            self._demand("storage.objects.overrideUnlockedRetention")
        one.mode, one.until = mode, until

    def _list(self, query: Mapping[str, str], name: str, bucket: Bucket) -> Response:
        self._demand("storage.objects.list")
        prefix, versions = query.get("prefix", ""), query.get("versions") == "true"
        rows = [
            (key, each)
            for key, kept in sorted(bucket.objects.items())
            if key.startswith(prefix)
            for each in kept
            if versions or each.deleted is None
        ]
        question = json.dumps([name, prefix, versions])
        start = 0
        if token := query.get("pageToken"):
            start = next((n for n in range(len(rows)) if page_token(n, question) == token), -1)
            if start < 0:
                raise failed(400, "invalid", "Invalid argument.")
        chosen, after = self._world.page(rows, min(int(query.get("maxResults") or PAGE_MAX), PAGE_MAX), start)
        body: dict[str, Any] = {"kind": "storage#objects"}
        if after:
            body["nextPageToken"] = page_token(after, question)
        if chosen:
            body["items"] = [_object(name, key, each) for key, each in chosen]
        return _json(body, query)

    def _number(self, now: datetime) -> int:
        """Microseconds since 1970, larger than every one before."""
        self._last = max(self._last + 1, int(now.timestamp() * 1_000_000))
        return self._last


def _parts(request: Request) -> tuple[dict[str, Any], bytes]:
    """Metadata and data of a multipart upload."""
    boundary = re.fullmatch(r"multipart/related; *boundary=\"?([^\";]+)\"?", request.headers.get("content-type", ""))
    parts = request.body.split(f"\r\n--{boundary[1]}".encode()) if boundary else []
    if boundary is None or len(parts) != 3 or not parts[0].startswith(f"--{boundary[1]}".encode()):
        raise failed(400, "badRequest", "Malformed multipart body.")
    about, data = (part.partition(b"\r\n\r\n")[2] for part in parts[:2])
    return json.loads(about), data


def _retention(wanted: Any, bucket: Bucket, now: datetime) -> tuple[str, datetime]:
    """(mode, until). Raises Refusal in Google's words."""
    if not bucket.retention:
        raise failed(400, "invalid", "Object retention is not enabled on the bucket.")
    mode, until = wanted.get("mode"), wanted.get("retainUntilTime")
    if not mode:
        raise failed(400, "invalid", f"Missing retention mode. {BOTH}")
    if not until:
        raise failed(400, "invalid", f"Missing retain until time. {BOTH}")
    if mode not in ("Locked", "Unlocked"):
        raise failed(400, "invalid", f"Invalid value for: {mode} is not a valid value")
    moment = datetime.fromisoformat(until)
    if moment <= now:
        raise failed(400, "invalid", "Retain until time cannot be in the past.")
    return mode, moment


def _object(bucket: str, key: str, one: Generation) -> dict[str, Any]:
    url = f"https://www.googleapis.com/storage/v1/b/{bucket}/o/{urllib.parse.quote(key, safe='')}"
    body: dict[str, Any] = {
        "kind": "storage#object",
        "id": f"{bucket}/{key}/{one.number}",
        "selfLink": url,
        "name": key,
        "bucket": bucket,
        "generation": str(one.number),
        "metageneration": "1",
        "contentType": one.type,
        "storageClass": "STANDARD",
        "size": str(len(one.data)),
        "md5Hash": base64.b64encode(hashlib.md5(one.data, usedforsecurity=False).digest()).decode(),
        "etag": base64.b64encode(zlib.crc32(one.data).to_bytes(4, "big")).decode(),
        "timeCreated": stamp(one.created),
        "updated": stamp(one.created),
    }
    if one.deleted is not None:
        body["timeDeleted"] = stamp(one.deleted)
    if one.mode and one.until is not None:
        body["retention"] = {"mode": one.mode, "retainUntilTime": stamp(one.until)}
    return body


def _media(one: Generation) -> Response:
    digest = base64.b64encode(hashlib.md5(one.data, usedforsecurity=False).digest()).decode()
    headers = {
        "Content-Type": one.type,
        "X-Goog-Generation": str(one.number),
        "X-Goog-Metageneration": "1",
        "X-Goog-Hash": f"md5={digest}",
        "X-Goog-Storage-Class": "STANDARD",
    }
    return Response(200, headers, one.data)


def _json(body: dict[str, Any], query: Mapping[str, str]) -> Response:
    text = json.dumps(_chosen(body, query["fields"]) if query.get("fields") else body, indent=2) + "\n"
    return Response(200, {"Content-Type": "application/json; charset=UTF-8"}, text.encode())


def _chosen(body: dict[str, Any], fields: str) -> dict[str, Any]:
    """A partial response: members by name, and of the objects in a list those that stand in brackets after it."""
    found: dict[str, Any] = {}
    for name, inner in re.findall(r"(\w+)(?:\(([^)]*)\))?", fields):
        if name in body:
            found[name] = [_chosen(each, inner) for each in body[name]] if inner else body[name]
    return found
