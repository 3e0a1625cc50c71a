"""One Azure Blob container with version-level immutability, by the REST API: writes locked versions, reads all of them.

Nothing in here deletes a blob or loosens a policy. Signing in and the pipeline are those of ``azure_access.py``.
Source: https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from azure.core.rest import HttpRequest

from collector.clouds.azure_access import Access, quoted
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

API_VERSION = "2021-12-02"
SCOPE = "https://storage.azure.com/.default"
# Where a token for storage may go, and which cloud signs in there.
HOSTS = (
    (re.compile(r"[a-z0-9]{3,24}(\.z[0-9]{1,2})?\.blob\.(core\.windows|storage\.azure)\.net"), "public"),
    (re.compile(r"[a-z0-9]{3,24}\.blob\.core\.usgovcloudapi\.net"), "usgovernment"),
    (re.compile(r"[a-z0-9]{3,24}\.blob\.core\.chinacloudapi\.cn"), "china"),
)
CONTAINER = re.compile(r"/[a-z0-9](-?[a-z0-9]){2,62}/?")
UNTIL, MODE = "x-ms-immutability-policy-until-date", "x-ms-immutability-policy-mode"
LISTING_BYTES_MAX = 64 * 1024 * 1024  # of one page; Azure sends 5,000 blobs at most
# The last is for whoever may only add blobs: it is refused before the condition is looked at, or after.
EXISTS = frozenset(("BlobAlreadyExists", "ConditionNotMet", "UnauthorizedBlobOverwrite"))
THROTTLED = frozenset(("ServerBusy", "TooManyRequests", "AccountLimitExceeded"))
# https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory
HOW = "see deploy/anchors/README.md"
ASSIGN = f"assign the role of deploy/anchors/azure-role.json on this container, {HOW}"


@dataclass(frozen=True)
class SignIn:
    """What ``azure_access`` wants to know of a tenant, for a place that observes nothing in it."""

    tenant: str
    cloud: str
    credential: str
    client_id: str
    certificate_file: Path | None = None
    subscriptions: tuple[str, ...] = ()
    management_group: str = ""


class Container:
    """A ``worm.Store``. Signs in when it is first asked."""

    def __init__(
        self,
        url: str,
        *,
        tenant: str,
        credential: str = "",
        client_id: str = "",
        timeout: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises ConfigError when ``url`` names no container of Azure."""
        where = urlsplit(url)
        cloud = next((cloud for host, cloud in HOSTS if host.fullmatch(where.netloc)), "")
        if where.scheme != "https" or not cloud or not CONTAINER.fullmatch(where.path) or where.query:
            words = "write it as https://ACCOUNT.blob.core.windows.net/CONTAINER"
            raise ConfigError(f"{url!r} is no URL of a container of Azure Blob Storage; {words}")
        self._host, self._path = where.netloc, where.path.rstrip("/")
        self._sign_in = SignIn(tenant, cloud, credential, client_id)
        self._timeout = timeout
        self._sleep = sleep

    def prove(self) -> None:
        try:
            reply = self._ask("GET", "", {"restype": "container"})
        except _Refused as error:
            if error.code == "ContainerNotFound":
                words = f"there is no container {self._path}; correct its URL, or make it, {HOW}"
                raise ConfigError(words) from error
            raise
        # A container of an account with immutability is enabled with it, so it says the same.
        if reply.headers.get("x-ms-immutable-storage-with-versioning-enabled", "").lower() == "false":
            raise ConfigError(f"the container {self._path} has no version-level immutability; make one that has, {HOW}")

    def create(self, key: str, data: bytes, until: datetime) -> None:
        headers = {
            "x-ms-blob-type": "BlockBlob",
            "Content-Type": "text/plain; charset=utf-8",
            "Content-MD5": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
            "If-None-Match": "*",
            UNTIL: _http_date(until),
            MODE: "Locked",
        }
        try:
            self._ask("PUT", key, {}, headers, data)
        except _Refused as error:
            if error.code not in EXISTS:
                raise

    def versions(self, prefix: str) -> Iterator[Version]:
        what = f"List Blobs of {self._host}{self._path}/{prefix}"
        query = {"restype": "container", "comp": "list", "prefix": prefix, "include": "versions"}
        marker = ""
        for _ in range(PAGES_MAX):
            reply = self._ask("GET", "", {**query, **({"marker": marker} if marker else {})})
            page = _xml(reply.body, what)
            blobs, after = page.find("Blobs"), page.find("NextMarker")
            if page.tag != "EnumerationResults" or blobs is None or after is None:
                raise Unreadable(f"{what}: the answer is no listing; the next checkpoint tries again")
            for blob in blobs.iter("Blob"):
                yield _listed(blob, what)
            if not after.text:
                return
            if after.text == marker:
                break
            marker = after.text
        raise endless(what)

    def read(self, version: Version) -> Copy:
        reply = self._ask("GET", version.key, {"versionid": version.id})
        if len(reply.body) > COPY_BYTES_MAX:
            raise too_large(version)
        given = reply.headers.get("x-ms-version-id", "")
        if given != version.id:
            raise Unreadable(
                f"{version.key}: asked for version {version.id}, Azure gave {given or 'none'}; the next checkpoint "
                "tries again"
            )
        return Copy(
            reply.body,
            reply.headers.get(MODE, "").lower(),
            _moment(reply.headers.get(UNTIL, ""), version.key),
            _moment(reply.headers.get("last-modified", ""), version.key),
        )

    def lock(self, version: Version, until: datetime) -> bool:
        """A policy that came with the upload may be an unlocked one, which this locks. It cannot be taken back."""
        query = {"comp": "immutabilityPolicies", "versionid": version.id}
        self._ask("PUT", version.key, query, {UNTIL: _http_date(until), MODE: "Locked"})
        return True

    # --- the wire ---

    @cached_property
    def _access(self) -> Access:
        return Access(self._sign_in, scopes={self._host: SCOPE})

    def _ask(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
    ) -> Reply:
        """One successful response. Raises _Refused for an error code of Blob Storage."""
        url = f"https://{self._host}{self._path}" + (f"/{quote(key)}" if key else "")
        what = f"{method} {url}" + (f"?comp={query['comp']}" if "comp" in query else "")

        def once() -> Reply:
            sent = {"x-ms-version": API_VERSION, "x-ms-date": _http_date(datetime.now(UTC)), **(headers or {})}
            if method == "PUT":
                sent["Content-Length"] = str(len(content))
            body = content if method == "PUT" else None
            request = HttpRequest(method, url, params=quoted(query), headers=sent, content=body)
            try:
                reply = self._access.exchange(request, read_seconds=self._timeout)
            except Throttled as error:
                raise Later(error) from error
            except Unavailable as error:
                raise Later(error) from error
            except OSError as error:
                raise gone_quiet(what, error) from error
            if 200 <= reply.status < 300:
                return reply
            raise _refused(what, reply)

        return patiently(once, self._sleep)


class _Refused(Unreadable):
    """An error code that only the method that asked can understand."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def _refused(what: str, reply: Reply) -> Exception:
    code, message = _error(reply)
    said = f"{what}: {code}: {message}"
    wait = seconds(reply.headers.get("retry-after"))
    if reply.status == 429 or code in THROTTLED:
        return Later(Throttled(f"{said}; the next checkpoint tries again"), wait)
    if reply.status >= 500 or reply.status == 408:
        return Later(Unavailable(f"{said}; the next checkpoint tries again"), wait)
    if reply.status == 401:  # once more, with another token
        return Later(Denied(f"{said}; look at the credentials of this place: the token was refused"), attempts=2)
    if reply.status == 403 and code not in EXISTS:
        return Denied(f"{said}; {ASSIGN}, and let the account's firewall admit the collector")
    return _Refused(f"{said}; {HOW}", code)


def _error(reply: Reply) -> tuple[str, str]:
    """The code and the first line of the words; the lines after it are of the request."""
    code, message = reply.headers.get("x-ms-error-code", ""), ""
    try:
        body = _xml(reply.body, "")
    except Unreadable:
        body = ET.Element("None")
    if body.tag == "Error":
        code = code or (body.findtext("Code") or "")
        message = (body.findtext("Message") or "").partition("\n")[0].strip()
    return code or f"HTTP{reply.status}", message or "no words"


def _xml(body: bytes, what: str) -> ET.Element:
    """An answer of Azure as a tree. Raises Unreadable, also for one that defines entities, which no answer does."""
    try:
        if len(body) > LISTING_BYTES_MAX or b"<!" in body[:1024]:
            raise ValueError("not an answer of Blob Storage")
        return ET.fromstring(body.decode("utf-8-sig"))  # noqa: S314 - no DTD gets here, so no entities do
    except (ET.ParseError, ValueError) as error:
        raise Unreadable(f"{what}: the answer cannot be read ({error}); the next checkpoint tries again") from error


def _listed(blob: ET.Element, what: str) -> Version:
    name, id = blob.find("Name"), blob.findtext("VersionId")
    if name is None or not name.text or not id:
        raise Unreadable(f"{what}: a blob without name or version; switch versioning on for the account, {HOW}")
    return Version(unquote(name.text) if name.get("Encoded") == "true" else name.text, id)


def _http_date(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def _moment(text: str, key: str) -> datetime | None:
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError as error:
        raise Unreadable(f"{key}: Azure wrote a time that is none: {text!r}; tell the maintainers") from error
