"""One Cloud Storage bucket with object retention, by the JSON API: writes locked objects, reads every generation.

Nothing in here deletes an object or loosens its retention. Signing in is that of ``gcp_access.py``.
Source: https://cloud.google.com/storage/docs/json_api/v1, https://cloud.google.com/storage/docs/object-lock
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from collector import canonical
from collector.clouds.gcp_access import Access
from collector.clouds.gcp_answers import trouble
from collector.clouds.rest import Reply
from collector.clouds.worm import (
    COPY_BYTES_MAX,
    PAGES_MAX,
    Copy,
    Later,
    Version,
    endless,
    gone_quiet,
    patiently,
    seconds,
    too_large,
)
from collector.errors import ConfigError, Denied, Throttled, Unavailable, Unreadable

HOST = "storage.googleapis.com"
PAGE = 1_000  # the most that Google gives
HOW = "see deploy/anchors/README.md"
LOCKED = "Locked"


@dataclass(frozen=True)
class SignIn:
    """What ``gcp_access`` wants to know of an organisation, for a place that observes nothing in it."""

    credentials_file: Path | None
    impersonate: str
    parent: str = ""
    quota_project: str = ""
    workspace_admin: str = ""
    customer: str = ""
    projects: tuple[str, ...] = ()


class Bucket:
    """A ``worm.Store``. Signs in when it is first asked."""

    def __init__(
        self,
        bucket: str,
        *,
        credentials_file: Path | None = None,
        impersonate: str = "",
        timeout: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bucket = bucket
        self._sign_in = SignIn(credentials_file, impersonate)
        self._timeout = timeout
        self._sleep = sleep

    def prove(self) -> None:
        try:
            found = self._json("GET", "", {"fields": "name,objectRetention"})
        except _Refused as error:
            if error.status == 404:
                raise ConfigError(f"there is no bucket {self._bucket}; correct its name, or make it, {HOW}") from error
            raise
        if found.get("name") != self._bucket:
            raise Unreadable(f"Cloud Storage gave no description of the bucket {self._bucket}; try again")
        retention = found.get("objectRetention")
        if not isinstance(retention, dict) or retention.get("mode") != "Enabled":
            raise ConfigError(f"the bucket {self._bucket} has no object retention; make one that has, {HOW}")

    def create(self, key: str, data: bytes, until: datetime) -> None:
        about = {
            "name": key,
            "contentType": "text/plain; charset=utf-8",
            "md5Hash": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
            "retention": {"mode": LOCKED, "retainUntilTime": _written(until)},
        }
        boundary = secrets.token_hex(16)
        parts = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n".encode(),
            canonical.payload(about),
            f"\r\n--{boundary}\r\nContent-Type: {about['contentType']}\r\n\r\n".encode(),
            data,
            f"\r\n--{boundary}--\r\n".encode(),
        )
        query = {"uploadType": "multipart", "ifGenerationMatch": "0"}  # 0: nothing has that name
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
        try:
            self._ask(
                "POST",
                f"https://{HOST}/upload/storage/v1/b/{quote(self._bucket, safe='')}/o",
                query,
                headers,
                b"".join(parts),
            )
        except _Refused as error:
            if error.status != 412:
                raise

    def versions(self, prefix: str) -> Iterator[Version]:
        what = f"storage.objects.list of {self._bucket}/{prefix}"
        query = {
            "prefix": prefix,
            "versions": "true",
            "maxResults": str(PAGE),
            "fields": "kind,nextPageToken,items(name,generation)",
        }
        token = ""
        for _ in range(PAGES_MAX):
            page = self._json("GET", "/o", {**query, **({"pageToken": token} if token else {})})
            items = page.get("items", [])  # an empty list is left out
            if page.get("kind") != "storage#objects" or not isinstance(items, list):
                raise Unreadable(f"{what}: the answer is no listing; the next checkpoint tries again")
            for item in items:
                yield Version(_text(item, "name", what), _text(item, "generation", what))
            after = str(page.get("nextPageToken") or "")
            if not after:
                return
            if after == token:
                break
            token = after
        raise endless(what)

    def read(self, version: Version) -> Copy:
        path = f"/o/{quote(version.key, safe='')}"
        pinned = {"generation": version.id}
        fields = "name,generation,size,retention,timeCreated"
        about = self._json("GET", path, {**pinned, "fields": fields})
        if _text(about, "generation", version.key) != version.id:
            raise Unreadable(
                f"{version.key}: asked for generation {version.id}, got {about['generation']}; the next checkpoint "
                "tries again"
            )
        size = _text(about, "size", version.key)
        if not size.isdecimal() or int(size) > COPY_BYTES_MAX:
            raise too_large(version)
        reply = self._ask("GET", self._url(path), {**pinned, "alt": "media"}, {})
        if len(reply.body) != int(size) or reply.headers.get("x-goog-generation", version.id) != version.id:
            raise Unreadable(
                f"{version.key}: not the {size} bytes of generation {version.id} that it is said to have; the next "
                "checkpoint tries again"
            )
        retention = about.get("retention")
        retention = retention if isinstance(retention, dict) else {}
        return Copy(
            reply.body,
            str(retention.get("mode") or "").lower(),
            _moment(retention.get("retainUntilTime"), version.key),
            _moment(about.get("timeCreated"), version.key),
        )

    def lock(self, version: Version, until: datetime) -> bool:
        return False  # an object is stored with its retention, or not at all

    # --- the wire ---

    @cached_property
    def _access(self) -> Access:
        return Access(self._sign_in)

    def _url(self, path: str) -> str:
        return f"https://{HOST}/storage/v1/b/{quote(self._bucket, safe='')}{path}"

    def _json(self, method: str, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        reply = self._ask(method, self._url(path), query, {"Accept": "application/json"})
        try:
            found = canonical.parse(reply.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Unreadable(
                f"{method} {self._url(path)}: the answer is no JSON object; the next checkpoint tries again"
            )
        return found

    def _ask(
        self, method: str, url: str, query: Mapping[str, str], headers: Mapping[str, str], content: bytes | None = None
    ) -> Reply:
        """One successful response. Raises _Refused for an error that is not about rights, load or the network."""
        what = f"{method} {url}"

        def once() -> Reply:
            try:
                reply = self._access.exchange(
                    method, url, query=query, headers=headers, content=content, read_seconds=self._timeout
                )
            except (Throttled, Unavailable) as error:
                raise Later(error) from error
            except OSError as error:
                raise gone_quiet(what, error) from error
            if 200 <= reply.status < 300:
                return reply
            raise _refused(what, reply)

        return patiently(once, self._sleep)


class _Refused(Unreadable):
    """An error that only the method that asked can understand."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def _refused(what: str, reply: Reply) -> Exception:
    try:
        body = canonical.parse(reply.body)
    except ValueError:  # a read of bytes is refused in plain text
        words = reply.body[:300].decode("utf-8", "replace").strip()
        body = {"error": {"code": reply.status, "message": words}}
    found = trouble(reply.status, body)
    said = f"{what}: {found.code}: {found.message or 'no words'}"
    wait = seconds(reply.headers.get("retry-after")) or found.wait
    if found.failure == Throttled.code:
        return Later(Throttled(f"{said}; the next checkpoint tries again"), wait)
    if found.failure == Unavailable.code:
        return Later(Unavailable(f"{said}; the next checkpoint tries again"), wait)
    if reply.status == 401:  # once more, with another token
        return Later(Denied(f"{said}; look at the credentials of this place: the token was refused"), attempts=2)
    if reply.status == 403:
        return Denied(f"{said}; grant the role of deploy/anchors/gcs-role.yaml on this bucket, {HOW}")
    return _Refused(f"{said}; {HOW}", reply.status)


def _text(item: Any, name: str, what: str) -> str:
    value = item.get(name) if isinstance(item, dict) else None
    if not isinstance(value, str) or not value:
        raise Unreadable(f"{what}: an object without {name}; the next checkpoint tries again")
    return value


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(text: Any, key: str) -> datetime | None:
    if not text:
        return None
    try:
        return canonical.moment(str(text))
    except ValueError as error:
        raise Unreadable(f"{key}: Cloud Storage wrote a time that is none: {text!r}; tell the maintainers") from error
