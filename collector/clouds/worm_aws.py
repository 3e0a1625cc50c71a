"""One S3 bucket with Object Lock, through botocore: writes locked versions, lists and reads every version there is.

The clients that observe accounts have no operation that changes anything; this one is made apart from them, and has no
method that deletes or unlocks.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    ParamValidationError,
    ResponseStreamingError,
)
from botocore.loaders import create_loader
from botocore.parsers import ResponseParserError

from collector.clouds.aws import CONNECT_SECONDS_MAX, DENIED, THROTTLED, credentials_for
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

EXISTS = "PreconditionFailed"  # If-None-Match: * on a key that has a current version
RACES = frozenset(("ConditionalRequestConflict", "OperationAborted"))  # two writers at once: ask again
NO_BUCKET = "NoSuchBucket"
NO_LOCK = "ObjectLockConfigurationNotFoundError"
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
PERMISSIONS = {
    "get_object_lock_configuration": "s3:GetBucketObjectLockConfiguration",
    "put_object": "s3:PutObject and s3:PutObjectRetention",
    "list_object_versions": "s3:ListBucketVersions",
    "get_object": "s3:GetObject, s3:GetObjectVersion and s3:GetObjectRetention",
}
# What is wrong with who asks, not with what it may do.
SIGN_IN = frozenset(
    (
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    )
)
HOW = "see deploy/anchors/README.md"


class Bucket:
    """A ``worm.Store``. Signs in when it is first asked."""

    def __init__(
        self,
        bucket: str,
        region: str,
        *,
        profile: str = "",
        role_arn: str = "",
        timeout: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bucket = bucket
        self._region = region
        self._profile = profile
        self._role_arn = role_arn
        self._timeout = timeout
        self._sleep = sleep

    def prove(self) -> None:
        try:
            found = self._ask("get_object_lock_configuration", "", {})
        except _Refused as error:
            if error.code == NO_LOCK:
                raise ConfigError(f"the bucket {self._bucket} has no Object Lock; switch it on, {HOW}") from error
            if error.code == NO_BUCKET:
                raise ConfigError(f"there is no bucket {self._bucket}; correct its name, or make it, {HOW}") from error
            raise
        if "ObjectLockConfiguration" not in found:
            raise Unreadable(f"S3 does not say whether the bucket {self._bucket} has Object Lock; try again")
        if found["ObjectLockConfiguration"].get("ObjectLockEnabled") != "Enabled":
            raise ConfigError(f"Object Lock of the bucket {self._bucket} is not enabled; switch it on, {HOW}")

    def create(self, key: str, data: bytes, until: datetime) -> None:
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        params = {
            "Body": data,
            "ContentType": "text/plain; charset=utf-8",
            "IfNoneMatch": "*",
            "ChecksumAlgorithm": "SHA256",  # S3 stores nothing that does not have this digest
            "ChecksumSHA256": digest,
            "ObjectLockMode": "COMPLIANCE",
            "ObjectLockRetainUntilDate": until,
        }
        try:
            self._ask("put_object", key, params)
        except _Refused as error:
            if error.code != EXISTS:
                raise

    def versions(self, prefix: str) -> Iterator[Version]:
        what = f"s3:ListBucketVersions of {self._bucket}/{prefix}"
        at: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            page = self._ask("list_object_versions", "", {"Prefix": prefix, **at})
            if page.get("Name") != self._bucket or "IsTruncated" not in page:  # an empty list must say that it is one
                raise Unreadable(f"{what}: the answer is no listing of this bucket; the next checkpoint tries again")
            for each in page.get("Versions", []):
                yield Version(str(each["Key"]), str(each["VersionId"]))
            if not page["IsTruncated"]:
                return
            markers = {"KeyMarker": page.get("NextKeyMarker"), "VersionIdMarker": page.get("NextVersionIdMarker")}
            after = {name: str(value) for name, value in markers.items() if value}
            if "KeyMarker" not in after or after == at:
                break
            at = after
        raise endless(what)

    def read(self, version: Version) -> Copy:
        def whole(found: dict[str, Any]) -> dict[str, Any]:
            if int(found.get("ContentLength") or 0) > COPY_BYTES_MAX:
                raise too_large(version)
            data = found["Body"].read(COPY_BYTES_MAX + 1)
            if len(data) > COPY_BYTES_MAX:
                raise too_large(version)
            return {**found, "Body": data + found["Body"].read()}  # at the end its checksum is verified

        asked = {"VersionId": version.id, "ChecksumMode": "ENABLED"}
        found = self._ask("get_object", version.key, asked, whole)
        if str(found.get("VersionId")) != version.id:
            raise Unreadable(
                f"{version.key}: asked for version {version.id}, S3 gave {found.get('VersionId')}; the next checkpoint "
                "tries again"
            )
        mode, until = str(found.get("ObjectLockMode") or ""), found.get("ObjectLockRetainUntilDate")
        return Copy(found["Body"], mode.lower(), _utc(until), _utc(found.get("LastModified")))

    def lock(self, version: Version, until: datetime) -> bool:
        return False  # a version is stored with its lock, or not at all

    # --- the wire ---

    @cached_property
    def _client(self) -> Any:
        """Raises Denied without credentials, ConfigError for an unknown profile."""
        session = botocore.session.Session()
        session.register_component("data_loader", _models())
        session._credentials = credentials_for(  # private to botocore, as in aws.py
            profile=self._profile, role_arn=self._role_arn, session_name="evidence-collector-anchor"
        )
        config = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},  # retries are ours
            connect_timeout=CONNECT_SECONDS_MAX,
            read_timeout=self._timeout,
            user_agent_extra="evidence-collector",
        )
        return session.create_client("s3", region_name=self._region, config=config)

    def _ask(
        self,
        operation: str,
        key: str,
        params: Mapping[str, Any],
        then: Callable[[dict[str, Any]], dict[str, Any]] = lambda found: found,
    ) -> dict[str, Any]:
        """One answer, after ``then`` has read its body. Raises _Refused for an error code of S3."""
        sent = {"Bucket": self._bucket, **({"Key": key} if key else {}), **params}
        what = f"{operation} of s3://{self._bucket}/{key or params.get('Prefix', '')}"

        def once() -> dict[str, Any]:
            try:
                return then(getattr(self._client, operation)(**sent))
            except ClientError as error:
                raise self._refused(what, operation, error) from error
            except (FlexibleChecksumError, ResponseParserError) as error:
                raise Unreadable(f"{what}: {error}; the next checkpoint tries again") from error
            except ParamValidationError as error:
                raise Unreadable(f"{what}: {error}; correct the bucket's name or the prefix") from error
            except (IncompleteReadError, ResponseStreamingError) as error:
                raise gone_quiet(what, error) from error
            except BotoCoreError as error:
                if "Credential" in type(error).__name__ or "Token" in type(error).__name__:
                    raise Denied(f"{what}: {error}; look at the credentials of this place") from error
                raise gone_quiet(what, error) from error
            except OSError as error:
                raise gone_quiet(what, error) from error
            except RuntimeError as error:  # botocore, of credentials that have expired although they are new
                raise Denied(f"{what}: {error}; see that this machine's clock is right") from error

        return patiently(once, self._sleep)

    def _refused(self, what: str, operation: str, error: ClientError) -> Exception:
        """What an error of S3 means, or of STS, which is asked first where there is a role to assume."""
        meta = error.response.get("ResponseMetadata", {})
        status = int(meta.get("HTTPStatusCode") or 0)
        code = str(error.response.get("Error", {}).get("Code") or f"HTTP{status}")
        said = f"{what}: {code}: {error.response.get('Error', {}).get('Message') or 'no words'}"
        wait = seconds(meta.get("HTTPHeaders", {}).get("retry-after"))
        if code in THROTTLED or status == 429:
            return Later(Throttled(f"{said}; the next checkpoint tries again"), wait)
        if code in RACES or status >= 500:
            return Later(Unavailable(f"{said}; the next checkpoint tries again"), wait)
        if error.operation_name.startswith("AssumeRole"):
            return Denied(f"{said}; let the collector assume {self._role_arn}, {HOW}")
        if code in SIGN_IN:
            return Denied(f"{said}; look at the credentials of this place")
        if code in DENIED or status in (401, 403):
            return Denied(f"{said}; grant {PERMISSIONS[operation]} on this bucket, {HOW}")
        return _Refused(f"{said}; {HOW}", code)


class _Refused(Unreadable):
    """An error code that only the method that asked can understand."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@cache
def _models() -> Any:
    """botocore's own models, read once for all buckets; those of ``aws_models.py`` have no operation that writes."""
    return create_loader()


def _utc(value: Any) -> datetime | None:
    return value.astimezone(UTC) if isinstance(value, datetime) else None
