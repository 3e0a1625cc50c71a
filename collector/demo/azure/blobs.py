"""Azure Blob Storage on the wire: containers with version-level immutability, versions with policies, errors in XML.

Only what a place for checkpoints and whoever attacks one need. Shapes are those of recorded answers: the mode of a
policy comes back in lower case, listings and errors begin with a byte order mark.
Sources: https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api,
https://learn.microsoft.com/azure/storage/blobs/immutable-version-level-worm-policies
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from xml.sax.saxutils import escape

from collector.demo.azure.errors import AUTHORITY, Refusal
from collector.demo.azure.tokens import Issuer
from collector.demo.azure.world import TENANT, Ask, World, page_token, token_start
from collector.demo.proxy import Response

AUDIENCE = "storage.azure.com"  # of a token for any account
HOST = re.compile(r"[a-z0-9]{3,24}\.blob\.core\.windows\.net")
BLOBS_MAX = 5_000  # of a page
UNTIL, MODE = "x-ms-immutability-policy-until-date", "x-ms-immutability-policy-mode"
ACTION = "Microsoft.Storage/storageAccounts/blobServices/containers/"
# What the collector may do in every container: the role of deploy/anchors. A test compares them.
RIGHTS = frozenset(
    (
        f"{ACTION}read",
        f"{ACTION}blobs/read",
        f"{ACTION}blobs/add/action",
        f"{ACTION}blobs/immutableStorage/runAsSuperUser/action",
    )
)
FAULTS = {
    "throttle": (503, "ServerBusy", "The server is busy."),
    "denied": (
        403,
        "AuthorizationPermissionMismatch",
        "This request is not authorized to perform this operation using this permission.",
    ),
    "404": (404, "ContainerNotFound", "The specified container does not exist."),
    "409": (409, "BlobAlreadyExists", "The specified blob already exists."),
    "412": (412, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met."),
    "429": (429, "TooManyRequests", "Too many requests have been sent in a given amount of time."),
    "500": (500, "InternalError", "The server encountered an internal error. Please retry the request."),
}
IMMUTABLE = "This operation is not permitted as the blob is immutable due to a policy."


@dataclass
class Version:
    """One version of a blob; ``mode`` is "", "unlocked" or "locked"."""

    id: str
    data: bytes
    type: str
    written: datetime
    until: datetime | None = None
    mode: str = ""

    def kept(self, now: datetime) -> bool:
        return bool(self.mode) and self.until is not None and self.until > now


@dataclass
class Blob:
    """All versions, the oldest first; the current one may be none of them any more."""

    versions: list[Version] = field(default_factory=list)
    current: Version | None = None


@dataclass
class Container:
    """``immutable`` is whether version-level immutability is on."""

    immutable: bool
    blobs: dict[str, Blob] = field(default_factory=dict)


class Storage:
    """Every container of the tenant."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._containers: dict[str, Container] = {}  # by "account/container"
        self._written = 0
        self.rights = set(RIGHTS)

    def make(self, account: str, container: str, immutable: bool) -> None:
        self._containers[f"{account}/{container}"] = Container(immutable)

    # --- a request ---

    def answer(self, issuer: Issuer, ask: Ask) -> Response:
        """Raises Refusal."""
        issuer.token(replace(ask, host=AUDIENCE))
        self._versioned(ask)
        container, _, name = ask.path.strip("/").partition("/")
        account = ask.host.partition(".")[0]
        found = self._containers.get(f"{account}/{container}")
        if found is None:
            raise refusal(404, "ContainerNotFound", "The specified container does not exist.")
        if not name:
            return self._of_container(ask, found, container)
        if ask.query.get("comp") == "immutabilityPolicies":
            return self._policy(ask, found, name)
        if ask.method == "PUT" and "comp" not in ask.query:
            return self._put(ask, found, name)
        if ask.method in ("GET", "HEAD") and "comp" not in ask.query:
            return self._get(ask, found, name)
        if ask.method == "PUT" and ask.query["comp"] == "metadata":
            self._demand(f"{ACTION}blobs/write")
            if self._find(found, name, ask).kept(ask.at):
                raise refusal(409, "BlobImmutableDueToPolicy", IMMUTABLE)
            return self._said(ask, 200)
        if ask.method == "DELETE":
            return self._delete(ask, found, name)
        raise refusal(405, "UnsupportedHttpVerb", "The resource doesn't support the specified HTTP verb.")

    def _versioned(self, ask: Ask) -> None:
        if ask.headers.get("x-ms-version", "") < "2017-11-09":  # the first that takes a bearer token
            words = "An HTTP header that's mandatory for this request is not specified."
            raise refusal(400, "MissingRequiredHeader", words)

    def _demand(self, *actions: str) -> None:
        if not any(action in self.rights for action in actions):
            raise refusal(*FAULTS["denied"])

    def _of_container(self, ask: Ask, found: Container, container: str) -> Response:
        if ask.query.get("restype") != "container":
            raise refusal(400, "InvalidQueryParameterValue", "Value for one of the query parameters is invalid.")
        if ask.method == "GET" and ask.query.get("comp") == "list":
            self._demand(f"{ACTION}blobs/read")
            return self._list(ask, found, container)
        if ask.method == "DELETE":
            self._demand(f"{ACTION}delete")
            if found.blobs:
                words = "The container has blobs in it and is enabled for immutable storage with versioning."
                raise refusal(409, "ContainerImmutableStorageWithVersioningEnabled", words)
            return self._said(ask, 202)
        if ask.method not in ("GET", "HEAD") or "comp" in ask.query:
            raise refusal(405, "UnsupportedHttpVerb", "The resource doesn't support the specified HTTP verb.")
        self._demand(f"{ACTION}read")
        about = {
            "x-ms-lease-status": "unlocked",
            "x-ms-lease-state": "available",
            "x-ms-has-immutability-policy": "false",
            "x-ms-has-legal-hold": "false",
            "x-ms-immutable-storage-with-versioning-enabled": str(found.immutable).lower(),
            "x-ms-default-encryption-scope": "$account-encryption-key",
            "x-ms-deny-encryption-scope-override": "false",
        }
        return self._said(ask, 200, about)

    # --- blobs ---

    def _put(self, ask: Ask, found: Container, name: str) -> Response:
        if ask.headers.get("x-ms-blob-type") != "BlockBlob":
            words = "An HTTP header that's mandatory for this request is not specified."
            raise refusal(400, "MissingRequiredHeader", words)
        policed = UNTIL in ask.headers or MODE in ask.headers
        self._demand(f"{ACTION}blobs/write", f"{ACTION}blobs/add/action")
        if policed:
            self._demand(f"{ACTION}blobs/immutableStorage/runAsSuperUser/action")
        blob = found.blobs.get(name)
        if blob is not None and blob.current is not None:
            if ask.headers.get("if-none-match") == "*":
                raise refusal(*FAULTS["409"])
            if f"{ACTION}blobs/write" not in self.rights:
                words = "This request is not authorized to perform blob overwrites."
                raise refusal(403, "UnauthorizedBlobOverwrite", words)
        digest = base64.b64encode(hashlib.md5(ask.body, usedforsecurity=False).digest()).decode()
        if ask.headers.get("content-md5", digest) != digest:
            words = "The MD5 value specified in the request did not match with the MD5 value calculated by the server."
            raise refusal(400, "Md5Mismatch", words)
        version = Version(self._id(ask.at), ask.body, ask.headers.get("content-type", ""), ask.at)
        if policed:
            self._locked(ask, found, version)
            if self._world.settings["blob_uploads_unlocked"]:
                version.mode = "unlocked"
        blob = found.blobs.setdefault(name, Blob())
        blob.versions.append(version)
        blob.current = version
        more = {
            "ETag": _etag(version),
            "Last-Modified": _date(version.written),
            "Content-MD5": digest,
            "x-ms-request-server-encrypted": "true",
            "x-ms-version-id": version.id,
        }
        return self._said(ask, 201, more)

    def _get(self, ask: Ask, found: Container, name: str) -> Response:
        self._demand(f"{ACTION}blobs/read")
        version = self._find(found, name, ask)
        current = found.blobs[name].current is version
        about = {
            "Content-Type": version.type,
            "Last-Modified": _date(version.written),
            "Accept-Ranges": "bytes",
            "ETag": _etag(version),
            "x-ms-version-id": version.id,
            **({"x-ms-is-current-version": "true"} if current else {}),
            **({UNTIL: _date(version.until), MODE: version.mode} if version.mode and version.until else {}),
            "x-ms-creation-time": _date(found.blobs[name].versions[0].written),
            "x-ms-lease-status": "unlocked",
            "x-ms-lease-state": "available",
            "x-ms-blob-type": "BlockBlob",
            "x-ms-server-encrypted": "true",
        }
        return self._said(ask, 200, about, version.data)

    def _delete(self, ask: Ask, found: Container, name: str) -> Response:
        versioned = "versionid" in ask.query
        self._demand(f"{ACTION}blobs/{'deleteBlobVersion/action' if versioned else 'delete'}")
        version = self._find(found, name, ask)
        if version.kept(ask.at):
            raise refusal(409, "BlobImmutableDueToPolicy", IMMUTABLE)
        blob = found.blobs[name]
        if blob.current is version:
            blob.current = None
        if versioned:
            blob.versions.remove(version)
            if not blob.versions:
                del found.blobs[name]
        return self._said(ask, 202, {"x-ms-delete-type-permanent": str(versioned).lower()})

    def _policy(self, ask: Ask, found: Container, name: str) -> Response:
        self._demand(f"{ACTION}blobs/immutableStorage/runAsSuperUser/action")
        version = self._find(found, name, ask)
        if ask.method == "DELETE":
            if version.mode == "locked":
                raise refusal(409, "BlobImmutableDueToPolicy", IMMUTABLE)
            version.until, version.mode = None, ""
            return self._said(ask, 200)
        self._locked(ask, found, version)
        assert version.until is not None
        return self._said(ask, 200, {UNTIL: _date(version.until), MODE: version.mode})

    def _locked(self, ask: Ask, found: Container, version: Version) -> None:
        """Sets the policy that the headers say. A locked one can be made longer, and nothing else."""
        if not found.immutable:
            # The reference names no code for this; what it says is that such a container takes no policies of blobs.
            words = "The container does not support version-level immutability policies."
            raise refusal(409, "ImmutableStorageWithVersioningNotEnabled", words)
        mode = ask.headers.get(MODE, "unlocked").lower()
        try:
            until = parsedate_to_datetime(ask.headers.get(UNTIL, ""))
            if mode not in ("locked", "unlocked") or until <= ask.at:
                raise ValueError("neither mode, or the past")
        except ValueError as error:
            words = "The value for one of the HTTP headers is not in the correct format."
            raise refusal(400, "InvalidHeaderValue", words) from error
        if version.mode == "locked" and (mode != "locked" or (version.until is not None and until < version.until)):
            raise refusal(409, "BlobImmutableDueToPolicy", IMMUTABLE)
        version.until, version.mode = until, mode

    def _find(self, found: Container, name: str, ask: Ask) -> Version:
        blob, id = found.blobs.get(name), ask.query.get("versionid")
        if blob is not None:
            version = blob.current if id is None else next((v for v in blob.versions if v.id == id), None)
            if version is not None:
                return version
        raise refusal(404, "BlobNotFound", "The specified blob does not exist.")

    def _list(self, ask: Ask, found: Container, container: str) -> Response:
        include = set(filter(None, ask.query.get("include", "").split(",")))
        prefix = ask.query.get("prefix", "")
        rows = [
            (name, version, blob.current is version)
            for name, blob in sorted(found.blobs.items())
            if name.startswith(prefix)
            for version in blob.versions
            if "versions" in include or blob.current is version
        ]
        question = f"{ask.host}{ask.path}?{prefix}&{sorted(include)}"
        try:
            start = token_start(ask.query["marker"], question) if ask.query.get("marker") else 0
        except ValueError as error:
            words = "Value for one of the query parameters specified in the request URI is invalid."
            raise refusal(400, "InvalidQueryParameterValue", words) from error
        chosen, after = self._world.page(rows, start, int(ask.query.get("maxresults") or BLOBS_MAX))
        blobs = "".join(_listed(name, version, current, include) for name, version, current in chosen)
        marker = f"<NextMarker>{page_token(after, question)}</NextMarker>" if after else "<NextMarker />"
        body = (
            f'<EnumerationResults ServiceEndpoint="https://{ask.host}/" ContainerName="{escape(container)}">'
            f"<Prefix>{escape(prefix)}</Prefix><Blobs>{blobs}</Blobs>{marker}</EnumerationResults>"
        )
        return self._said(ask, 200, {"Content-Type": "application/xml"}, _xml(body))

    # --- answers ---

    def _id(self, at: datetime) -> str:
        """The time of writing to seven digits, later than every one before."""
        self._written += 1
        return f"{at.astimezone(UTC) + timedelta(microseconds=self._written):%Y-%m-%dT%H:%M:%S.%f}8Z"

    def _said(self, ask: Ask, status: int, more: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
        return Response(status, {**_common(ask), **(more or {})}, body)


def refusal(status: int, code: str, message: str) -> Refusal:
    """An error of Blob Storage; ``written`` makes XML of it."""
    headers = {"Retry-After": "1"} if status in (429, 503) else {}
    return Refusal(status, {"error": {"code": code, "message": message}}, headers)


def written(ask: Ask, error: Refusal) -> Response:
    """An error as Blob Storage writes it; one about a token in its own words for that."""
    about: Mapping[str, Any] = error.body.get("error", {})
    code, message, headers = str(about.get("code")), str(about.get("message")), dict(error.headers)
    if error.status == 401:
        code = "InvalidAuthenticationInfo" if "authorization" in ask.headers else "NoAuthenticationInformation"
        message = (
            "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
        )
        where = f"authorization_uri={AUTHORITY}/{TENANT}/oauth2/authorize resource_id=https://storage.azure.com"
        if "insufficient_claims" not in headers.get("WWW-Authenticate", ""):
            headers["WWW-Authenticate"] = f"Bearer {where}"
    words = f"{escape(message)}\nRequestId:{ask.request_id}\nTime:{ask.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"
    body = _xml(f"<Error><Code>{code}</Code><Message>{words}</Message></Error>")
    own = {**_common(ask), "Content-Type": "application/xml", "x-ms-error-code": code}
    return Response(error.status, {**own, **headers}, b"" if ask.method == "HEAD" else body)


def _common(ask: Ask) -> dict[str, str]:
    found = {
        "Server": "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0",
        "x-ms-request-id": ask.request_id,
        "x-ms-version": ask.headers.get("x-ms-version", "2009-09-19"),
        "Date": _date(ask.at),
    }
    if "x-ms-client-request-id" in ask.headers:
        found["x-ms-client-request-id"] = ask.headers["x-ms-client-request-id"]
    return found


def _listed(name: str, version: Version, current: bool, include: Iterable[str]) -> str:
    digest = base64.b64encode(hashlib.md5(version.data, usedforsecurity=False).digest()).decode()
    date = _date(version.written)
    policy = ""
    if "immutabilitypolicy" in include and version.mode and version.until:
        policy = f"<ImmutabilityPolicyUntilDate>{_date(version.until)}</ImmutabilityPolicyUntilDate>"
        policy += f"<ImmutabilityPolicyMode>{version.mode}</ImmutabilityPolicyMode>"
    return (
        f"<Blob><Name>{escape(name)}</Name><VersionId>{version.id}</VersionId>"
        + ("<IsCurrentVersion>true</IsCurrentVersion>" if current else "")
        + f"<Properties><Creation-Time>{date}</Creation-Time><Last-Modified>{date}</Last-Modified>"
        f"<Etag>{_etag(version)[1:-1]}</Etag><Content-Length>{len(version.data)}</Content-Length>"
        f"<Content-Type>{escape(version.type)}</Content-Type><Content-Encoding /><Content-Language /><Content-CRC64 />"
        f"<Content-MD5>{digest}</Content-MD5><Cache-Control /><Content-Disposition /><BlobType>BlockBlob</BlobType>"
        "<AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>"
        f"<LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted>{policy}</Properties>"
        "<OrMetadata /></Blob>"
    )


def _xml(body: str) -> bytes:
    return f'\ufeff<?xml version="1.0" encoding="utf-8"?>{body}'.encode()


def _date(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def _etag(version: Version) -> str:
    return f'"0x8D{hashlib.sha256(version.id.encode()).hexdigest()[:13].upper()}"'
