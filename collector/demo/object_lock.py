"""S3 Object Lock as AWS keeps it, over moto: what moto lets through although a lock forbids it, and versions by pages.

moto itself refuses to delete a locked version. It does not refuse to loosen its lock, to suspend versioning, or to lock
in a bucket without locks, and it has no answer to GetObjectRetention.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

from __future__ import annotations

import urllib.parse
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from moto.s3.models import FakeDeleteMarker, FakeKey, s3_backends

from collector.demo.answers import answers
from collector.demo.aws import Call, Refusal, World

KEYS_MAX = 1_000  # of a page, as AWS has it
PROTECTED = "Access Denied because object protected by object lock."
OWNER = {"DisplayName": "acme-audit", "ID": "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"}


def _bucket(world: World, call: Call) -> Any:
    buckets = s3_backends[world.account]["aws"].buckets
    name = str(call.params["Bucket"])
    if name not in buckets:
        raise Refusal("NoSuchBucket", "The specified bucket does not exist", 404)
    return buckets[name]


def _require_lock(world: World, call: Call) -> Any:
    bucket = _bucket(world, call)
    if not bucket.object_lock_enabled:
        raise Refusal("InvalidRequest", "Bucket is missing Object Lock Configuration")
    return bucket


def _version(bucket: Any, call: Call) -> Any:
    """The version that is asked for, or the current one."""
    wanted = call.params.get("VersionId")
    versions = bucket.keys.getlist(call.params["Key"], [])
    found = [each for each in versions if isinstance(each, FakeKey) and wanted in (None, str(each.version_id))]
    if not found:
        raise Refusal("NoSuchVersion", "The specified version does not exist.", 404)
    return found[-1]


def _future(world: World, value: Any) -> datetime:
    until = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    if until <= world.now:
        raise Refusal("InvalidArgument", "The retain until date must be in the future!")
    return until


@answers("s3", "PutObject")
def put_object(world: World, call: Call) -> Any:
    """moto stores it; here it is only seen whether AWS would."""
    mode, until = call.params.get("ObjectLockMode"), call.params.get("ObjectLockRetainUntilDate")
    if mode or until:
        _require_lock(world, call)
        if not (mode and until):
            words = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
            raise Refusal("InvalidArgument", words)
        _future(world, until)
    return None


@answers("s3", "PutObjectRetention")
def put_retention(world: World, call: Call) -> Any:
    """A lock in compliance mode can only be made longer; one in governance mode by whoever may bypass it."""
    held = _version(_require_lock(world, call), call)
    wanted = call.params.get("Retention") or {}
    until = _future(world, wanted["RetainUntilDate"]) if wanted.get("RetainUntilDate") else None
    bypass = held.lock_mode == "GOVERNANCE" and bool(call.params.get("BypassGovernanceRetention"))
    if held.is_locked(governance_bypass=bypass) and held.lock_mode:
        now = datetime.fromisoformat(held.lock_until)
        weaker = held.lock_mode == "COMPLIANCE" and wanted.get("Mode") != "COMPLIANCE"
        if until is None or until < now or weaker:
            raise Refusal("AccessDenied", PROTECTED, 403)
    return None


@answers("s3", "GetObjectRetention")
def get_retention(world: World, call: Call) -> Any:
    held = _version(_require_lock(world, call), call)
    if not held.lock_mode:
        words = "The specified object does not have a ObjectLock configuration"
        raise Refusal("NoSuchObjectLockConfiguration", words, 404)
    return {"Retention": {"Mode": held.lock_mode, "RetainUntilDate": datetime.fromisoformat(held.lock_until)}}


@answers("s3", "DeleteObject")
def delete_object(world: World, call: Call) -> Any:
    """moto's refusal has other words."""
    if call.params.get("VersionId"):
        bucket = _bucket(world, call)
        for each in bucket.keys.getlist(call.params["Key"], []):
            ours = str(each.version_id) == call.params["VersionId"] and isinstance(each, FakeKey)
            if ours and each.is_locked(governance_bypass=bool(call.params.get("BypassGovernanceRetention"))):
                raise Refusal("AccessDenied", PROTECTED, 403)
    return None


@answers("s3", "PutBucketVersioning")
def versioning(world: World, call: Call) -> Any:
    wanted = (call.params.get("VersioningConfiguration") or {}).get("Status")
    if _bucket(world, call).object_lock_enabled and wanted != "Enabled":
        words = "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
        raise Refusal("InvalidBucketState", words, 409)
    return None


@answers("s3", "ListObjectVersions")
def versions(world: World, call: Call) -> Any:
    """Versions and marks of deletion by key, the newest of a key first; markers are what the last page ended with."""
    bucket, prefix = _bucket(world, call), str(call.params.get("Prefix") or "")
    rows = [
        (name, -n, each, n == len(kept) - 1)
        for name, kept in bucket.keys.iterlists()
        if name.startswith(prefix)
        for n, each in enumerate(kept)
    ]
    rows.sort(key=lambda row: row[:2])
    start = 0
    after, id = call.params.get("KeyMarker"), call.params.get("VersionIdMarker")
    if after:
        after = urllib.parse.unquote(str(after))
        matched = [n for n, row in enumerate(rows) if row[0] == after and str(row[2].version_id) == id]
        if id and not matched:
            raise Refusal("InvalidArgument", "Invalid version id specified")
        start = matched[0] + 1 if matched else sum(row[0] <= after for row in rows)
    asked = min(int(call.params.get("MaxKeys") or KEYS_MAX), KEYS_MAX)
    size = min(asked, world.page_size or asked)
    page = list(islice(rows, start, start + size))
    more = start + size < len(rows)
    url = call.params.get("EncodingType") == "url"

    def text(name: str) -> str:
        return urllib.parse.quote(name, safe="/-_.~") if url else name

    found: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": text(prefix),
        "KeyMarker": text(str(after or "")),
        "VersionIdMarker": str(id or ""),
        "MaxKeys": asked,
        "IsTruncated": more,
        "Versions": [
            {
                "Key": text(name),
                "VersionId": str(each.version_id or "null"),
                "IsLatest": latest,
                "LastModified": each.last_modified.replace(tzinfo=UTC),
                "ETag": each.etag,
                "Size": each.size,
                "StorageClass": each.storage_class,
                "Owner": OWNER,
            }
            for name, _, each, latest in page
            if isinstance(each, FakeKey)
        ],
        "DeleteMarkers": [
            {
                "Key": text(name),
                "VersionId": str(each.version_id),
                "IsLatest": latest,
                "LastModified": each.last_modified.replace(tzinfo=UTC),
                "Owner": OWNER,
            }
            for name, _, each, latest in page
            if isinstance(each, FakeDeleteMarker)
        ],
    }
    if url:
        found["EncodingType"] = "url"
    if more:
        found |= {"NextKeyMarker": text(page[-1][0]), "NextVersionIdMarker": str(page[-1][2].version_id or "null")}
    return found
