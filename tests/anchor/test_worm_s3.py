"""Checkpoints in a bucket with Object Lock, over the wire: what is kept, what no attacker takes away, every fault.

botocore is unmodified and no endpoint is overridden: the proxy of the test-bed is S3. What moto does not enforce of
Object Lock, ``collector/demo/object_lock.py`` does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from structlog.testing import capture_logs

from collector import canonical
from collector.anchor import worm
from collector.anchor.s3 import S3Anchor
from collector.clouds import worm as store_rules
from collector.clouds import worm_aws
from collector.clouds.worm import Version
from collector.config_places import S3Place
from collector.demo.cloud import SimulatedCloud
from collector.errors import CannotObserve, ConfigError, Denied, LedgerBroken, Throttled, Unavailable, Unreadable
from tests.support.checkpoints import ORIGIN, head_of, no_proof, note_of

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
BUCKET = "acme-audit-checkpoints"
RETAIN = 400 * 86_400
KEY = "checkpoints/{:020}.note"

Make = Callable[..., S3Anchor]


@pytest.fixture(scope="module")
def cloud(simulated_cloud: SimulatedCloud) -> Iterator[SimulatedCloud]:
    simulated_cloud.set_now(NOW)
    yield simulated_cloud
    simulated_cloud.reset()


@pytest.fixture
def bucket(cloud: SimulatedCloud, request: pytest.FixtureRequest) -> Iterator[str]:
    """A bucket of this test's own: nobody can empty one."""
    name = f"{BUCKET}-{abs(hash(request.node.name)) % 10**10}"
    cloud.client("s3").create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    cloud.clear_calls()
    yield name
    cloud.clear_faults()
    cloud.set("page_size", 0)


@pytest.fixture
def make(bucket: str) -> Make:
    def anchor(
        *, name: str = "vault", timeout: str = "5s", origin: str = "", now: datetime = NOW, **place: Any
    ) -> S3Anchor:
        settings = {"bucket": bucket, "region": "us-east-1", "timeout": timeout, **place}
        return S3Anchor(name, S3Place.model_validate(settings), clock=lambda: now, sleep=lambda _: None, origin=origin)

    return anchor


def put(anchor: S3Anchor, size: int, **head: Any) -> Any:
    found = head_of(size, **head)
    return anchor.put(note_of(found), found, no_proof)


def asked(cloud: SimulatedCloud, *buckets: str) -> list[str]:
    """What this test asked; a call of another one that timed out may still be answered meanwhile."""
    hosts = tuple(f"{bucket}.s3." for bucket in buckets)
    return [call["operation"] for call in cloud.calls() if call["service"] == "sts" or call["host"].startswith(hosts)]


# --- what is kept ---


def test_a_checkpoint_is_written_once_locked_and_read_back(cloud: SimulatedCloud, bucket: str, make: Make) -> None:
    anchor = make()
    note = note_of(head_of(42))
    given = anchor.put(note, head_of(42), no_proof)
    key = KEY.format(42)
    held = cloud.client("s3").get_object(Bucket=bucket, Key=key)
    assert held["Body"].read() == note
    assert held["ObjectLockMode"] == "COMPLIANCE"
    assert held["ObjectLockRetainUntilDate"] == NOW + timedelta(seconds=RETAIN)
    assert given.suffix == "json"
    assert given.where == f"s3://{bucket}/{key}?versionId={held['VersionId']}"
    assert given.time == held["LastModified"]
    receipt = canonical.parse(given.token)
    assert canonical.record(receipt) == given.token
    assert receipt == {
        "type": "s3",
        "bucket": bucket,
        "key": key,
        "version": held["VersionId"],
        "sha256": canonical.digest(note),
        "retain_until": "2027-02-09T12:00:00.000000Z",
        "mode": "COMPLIANCE",
    }
    assert asked(cloud, bucket) == ["PutObject", "ListObjectVersions", "GetObject"]
    assert {call["host"] for call in cloud.calls()} >= {f"{bucket}.s3.amazonaws.com"}


def test_a_lock_begins_at_a_whole_second_and_is_never_shorter_than_asked(make: Make) -> None:
    given = put(make(now=NOW + timedelta(microseconds=1)), 7)
    assert canonical.parse(given.token)["retain_until"] == "2027-02-09T12:00:01.000000Z"


def test_the_same_checkpoint_again_writes_nothing(cloud: SimulatedCloud, bucket: str, make: Make) -> None:
    first = put(make(), 42)
    second = put(make(now=NOW + timedelta(hours=3)), 42)  # its answer was lost, the next hour tries again
    assert first.token == second.token
    assert len(cloud.client("s3").list_object_versions(Bucket=bucket)["Versions"]) == 1


def test_a_copy_whose_lock_ends_long_before_is_no_success(make: Make) -> None:
    put(make(), 42)
    with pytest.raises(Unreadable, match=r"2027-02-09 12:00:00\+00:00, which is too early.*deploy/anchors/README"):
        put(make(now=NOW + timedelta(days=1, hours=1)), 42)


def test_the_largest_checkpoint_is_found_over_all_pages(cloud: SimulatedCloud, bucket: str, make: Make) -> None:
    anchor = make()
    assert anchor.latest() is None
    anchor.test()
    for size in (3, 100, 20, 7):
        put(anchor, size)
    for page_size in (0, 1, 2, 3):
        cloud.set("page_size", page_size)
        cloud.clear_calls()
        assert anchor.latest() == head_of(100)
        pages = 5 if page_size == 1 else 3 if page_size == 2 else 2 if page_size == 3 else 1
        assert asked(cloud, bucket) == ["ListObjectVersions"] * pages + ["GetObject"]
    assert [held.head.size for held in anchor.held()] == [100, 20, 7, 3]
    assert next(anchor.held()).note == note_of(head_of(100))


def test_other_prefixes_are_not_looked_at(make: Make) -> None:
    put(make(prefix="other/"), 1_000)
    put(make(prefix=""), 5)
    assert make().latest() is None
    assert make(prefix="other/").latest() == head_of(1_000)
    with capture_logs() as logs:
        assert make(prefix="").latest() == head_of(5)
    assert [line["object"] for line in logs] == ["other/00000000000000001000.note"]


# --- start-up ---


def test_a_start_proves_the_place_and_leaves_one_locked_canary_a_day(
    cloud: SimulatedCloud, bucket: str, make: Make
) -> None:
    make().test()
    make(now=NOW + timedelta(hours=11)).test()
    assert asked(cloud, bucket)[:4] == ["GetObjectLockConfiguration", "PutObject", "ListObjectVersions", "GetObject"]
    (only,) = cloud.client("s3").list_object_versions(Bucket=bucket)["Versions"]
    assert only["Key"] == "checkpoints/canary/vault-2026-01-05.txt"
    assert cloud.client("s3").head_object(Bucket=bucket, Key=only["Key"])["ObjectLockMode"] == "COMPLIANCE"
    assert "DeleteObject" not in asked(cloud, bucket)
    with capture_logs() as logs:
        assert make().latest() is None  # a canary is no checkpoint, and nothing to report
    assert not logs


def test_a_bucket_without_lock_is_a_matter_of_configuration(cloud: SimulatedCloud, make: Make) -> None:
    with pytest.raises(ConfigError, match="acme-exports has no Object Lock; switch it on, see deploy/anchors/README"):
        make(bucket="acme-exports").test()
    assert asked(cloud, "acme-exports") == ["GetObjectLockConfiguration"]
    with pytest.raises(ConfigError, match="there is no bucket acme-nowhere"):
        make(bucket="acme-nowhere").test()
    with pytest.raises(Unreadable, match="Bucket is missing Object Lock Configuration"):
        put(make(bucket="acme-exports"), 5)
    with pytest.raises(Unreadable, match="NoSuchBucket"):
        put(make(bucket="acme-nowhere"), 5)


def test_a_canary_that_somebody_can_delete_stops_the_start(
    bucket: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an S3-like store that takes the lock's headers and ignores them would do."""
    ask = worm_aws.Bucket._ask

    def without_lock(self: Any, operation: str, key: str, params: Any, *then: Any) -> Any:
        return ask(self, operation, key, {k: v for k, v in params.items() if not k.startswith("ObjectLock")}, *then)

    monkeypatch.setattr(worm_aws.Bucket, "_ask", without_lock)
    with pytest.raises(ConfigError, match="says nothing of a lock"):
        make().test()
    with pytest.raises(Unreadable, match="says nothing of a lock"):
        put(make(), 5)


def test_without_the_sdk_the_extra_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "collector.clouds.worm_aws", None)
    with pytest.raises(ConfigError, match=r"\[anchors\.s3\.vault\] needs a library.*evidence-collector\[aws\]"):
        make()


def test_a_profile_or_a_role_that_is_none_says_so(make: Make, cloud: SimulatedCloud) -> None:
    with pytest.raises(ConfigError, match="profile 'nobody'"):
        make(profile="nobody").test()
    cloud.fault("denied", service="sts", operation="AssumeRole")
    role = "arn:aws:iam::210987654321:role/checkpoints"
    with pytest.raises(Denied, match=f"let the collector assume {role}"):
        make(role_arn=role).test()


def test_a_role_in_the_other_account_is_assumed(cloud: SimulatedCloud, bucket: str, make: Make) -> None:
    role = "arn:aws:iam::123456789012:role/checkpoints"
    with pytest.raises(Denied, match="see that this machine's clock is right"):  # the cloud's is months behind
        put(make(role_arn=role), 5)
    cloud.clear_calls()
    cloud.set_now(now := datetime.now(UTC))
    try:
        given = put(make(role_arn=role, now=now), 5)
    finally:
        cloud.set_now(NOW)
    assert given.where.startswith("s3://")
    assert asked(cloud, bucket)[0] == "AssumeRole"
    assert json.loads(cloud.calls()[0]["params"])["RoleSessionName"] == "evidence-collector-anchor"
    assert len({call["key"] for call in cloud.calls()}) == 2  # the bucket saw the role's key, not the collector's


# --- attackers ---


def test_an_administrator_cannot_take_a_checkpoint_away(cloud: SimulatedCloud, bucket: str, make: Make) -> None:
    anchor, admin = make(), cloud.client("s3")
    put(anchor, 42)
    key = KEY.format(42)
    version = admin.head_object(Bucket=bucket, Key=key)["VersionId"]
    shorter = {"Mode": "COMPLIANCE", "RetainUntilDate": NOW + timedelta(days=1)}
    softer = {"Mode": "GOVERNANCE", "RetainUntilDate": NOW + timedelta(days=800)}
    attempts: list[tuple[str, Callable[[], Any]]] = [
        ("AccessDenied", lambda: admin.delete_object(Bucket=bucket, Key=key, VersionId=version)),
        (
            "AccessDenied",
            lambda: admin.delete_object(Bucket=bucket, Key=key, VersionId=version, BypassGovernanceRetention=True),
        ),
        ("AccessDenied", lambda: retention(shorter)),
        ("AccessDenied", lambda: retention(softer)),
        ("AccessDenied", lambda: retention({})),
        (
            "InvalidBucketState",
            lambda: admin.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}),
        ),
        ("BucketNotEmpty", lambda: admin.delete_bucket(Bucket=bucket)),
    ]

    def retention(wanted: dict[str, Any]) -> Any:
        return admin.put_object_retention(
            Bucket=bucket, Key=key, VersionId=version, Retention=wanted, BypassGovernanceRetention=True
        )

    for code, attempt in attempts:
        with pytest.raises(ClientError) as raised:
            attempt()
        assert raised.value.response["Error"]["Code"] == code
    batch = admin.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key, "VersionId": version}]})
    assert [each["Code"] for each in batch["Errors"]] == ["AccessDenied"]
    assert anchor.latest() == head_of(42)


def test_a_lock_that_is_over_lets_go(cloud: SimulatedCloud, bucket: str, make: Make) -> None:
    """The refusals above are of the lock, not of the test-bed."""
    put(make(retain="1h"), 42)
    admin, key = cloud.client("s3"), KEY.format(42)
    version = admin.head_object(Bucket=bucket, Key=key)["VersionId"]
    try:
        cloud.set_now(NOW + timedelta(hours=2))
        admin.delete_object(Bucket=bucket, Key=key, VersionId=version)
    finally:
        cloud.set_now(NOW)
    assert make().latest() is None


def test_a_mark_of_deletion_hides_nothing(cloud: SimulatedCloud, bucket: str, make: Make) -> None:
    anchor = make()
    first = put(anchor, 42)
    cloud.client("s3").delete_object(Bucket=bucket, Key=KEY.format(42))
    with pytest.raises(ClientError):
        cloud.client("s3").get_object(Bucket=bucket, Key=KEY.format(42))
    assert anchor.latest() == head_of(42)
    again = put(anchor, 42)  # S3 takes a mark for nothing, so this is a second version of the same bytes
    assert again.where != first.where
    assert anchor.latest() == head_of(42)


def test_another_history_on_top_of_a_locked_version_is_an_alarm_that_names_it(
    cloud: SimulatedCloud, bucket: str, make: Make
) -> None:
    anchor, admin = make(), cloud.client("s3")
    for size in (41, 42, 43):
        put(anchor, size)
    forged = note_of(head_of(42, history="forged"))
    version = admin.put_object(Bucket=bucket, Key=KEY.format(42), Body=forged)["VersionId"]
    named = rf"{KEY.format(42)}\?versionId="
    with pytest.raises(LedgerBroken, match=named) as raised:
        anchor.latest()  # although it is not the largest
    assert version in str(raised.value)
    with pytest.raises(LedgerBroken, match=f"{named}{version} holds another root over the first 42 entries"):
        put(anchor, 42)
    assert admin.get_object(Bucket=bucket, Key=KEY.format(42))["Body"].read() == forged


def test_garbage_on_top_of_a_locked_version_is_reported_and_hides_nothing(
    cloud: SimulatedCloud, bucket: str, make: Make
) -> None:
    anchor, admin = make(), cloud.client("s3")
    put(anchor, 42)
    version = admin.put_object(Bucket=bucket, Key=KEY.format(42), Body=b"\xff nothing")["VersionId"]
    with capture_logs() as logs:
        assert anchor.latest() == head_of(42)
    assert [(line["version"], line["what"], line["log_level"]) for line in logs] == [
        (version, "no checkpoint", "warning")
    ]
    with pytest.raises(Unreadable, match=f"{version} holds something else; find out who wrote it"):
        put(anchor, 42)


def test_what_is_no_checkpoint_of_this_ledger_is_passed_over_and_reported(
    cloud: SimulatedCloud, bucket: str, make: Make
) -> None:
    anchor, admin = make(), cloud.client("s3")
    put(anchor, 42)
    odd = {
        "checkpoints/readme.txt": b"hello",
        KEY.format(99): b"",
        KEY.format(98): note_of(head_of(97)),  # under another size's name
        KEY.format(96): note_of(head_of(96))[:-20],
    }
    for key, body in odd.items():
        admin.put_object(Bucket=bucket, Key=key, Body=body)
    with capture_logs() as logs:
        assert anchor.latest() == head_of(42)
    assert {line["object"]: line["what"] for line in logs} == {
        "checkpoints/readme.txt": "no name of a checkpoint",
        KEY.format(99): "no checkpoint",
        KEY.format(98): "a checkpoint over 97 entries",
        KEY.format(96): "no checkpoint",
    }


def test_a_place_shared_with_another_ledger_is_no_place(make: Make) -> None:
    anchor = make()
    put(anchor, 42, origin="other.example/ledger")
    with pytest.raises(
        Unreadable, match=r"another ledger, other\.example/ledger; give each ledger a prefix of its own"
    ):
        put(anchor, 42)
    put(anchor, 41)
    with capture_logs() as logs:
        assert make(origin=ORIGIN).latest() == head_of(41)
    assert [line["what"] for line in logs] == ["a checkpoint of other.example/ledger"]


def test_the_same_head_under_another_signature_is_not_what_was_anchored(make: Make) -> None:
    put(make(), 42)
    with pytest.raises(Unreadable, match="the same tree head under another signature"):
        make().put(note_of(head_of(42), b"\1" * 32), head_of(42), no_proof)


def test_a_copy_in_governance_mode_can_be_removed_and_is_no_success(
    cloud: SimulatedCloud, bucket: str, make: Make
) -> None:
    cloud.client("s3").put_object(
        Bucket=bucket,
        Key=KEY.format(42),
        Body=note_of(head_of(42)),
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=NOW + timedelta(days=800),
    )
    with pytest.raises(Unreadable, match="locked in mode governance, which can be taken away; it must be COMPLIANCE"):
        put(make(), 42)


def test_objects_that_are_far_too_large_or_too_many_are_not_read(
    cloud: SimulatedCloud, bucket: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchor, admin = make(), cloud.client("s3")
    admin.put_object(Bucket=bucket, Key=KEY.format(9), Body=bytes(store_rules.COPY_BYTES_MAX + 1))
    with pytest.raises(Unreadable, match="more than 1000000 bytes"):
        anchor.latest()
    put(anchor, 42)
    monkeypatch.setattr(worm, "KEY_VERSIONS_MAX", 3)
    for _ in range(3):
        admin.put_object(Bucket=bucket, Key=KEY.format(42), Body=note_of(head_of(42)))
    with pytest.raises(Unreadable, match="more than 3 versions"):
        put(anchor, 42)
    monkeypatch.setattr(worm, "TWICE_MAX", 0)
    with pytest.raises(Unreadable, match="more than 0 checkpoints in several versions"):
        anchor.latest()


def test_a_note_that_is_not_of_its_head_never_leaves(cloud: SimulatedCloud, bucket: str, make: Make) -> None:
    with pytest.raises(ValueError, match="not a checkpoint over 42 entries"):
        make().put(note_of(head_of(41)), head_of(42), no_proof)
    assert asked(cloud, bucket) == []


# --- faults: each at each step of a put, and of a look ---

STEPS = ("PutObject", "ListObjectVersions", "GetObject")
FAULTS: dict[str, tuple[type[CannotObserve], str, int]] = {
    "throttle": (Throttled, "SlowDown", 4),
    "denied": (Denied, "grant s3:", 1),
    "expired": (Denied, "look at the credentials", 1),
    "404": (Unreadable, "NoSuchBucket", 1),
    "409": (Unavailable, "ConditionalRequestConflict", 4),
    "500": (Unavailable, "InternalError", 4),
    "reset": (Unavailable, "no whole answer in time", 4),
    "truncate": (Unavailable, "no whole answer in time", 4),
    "html": (Unreadable, "S3 gave None", 1),
}
# botocore takes a listing that it cannot read for one of its server's errors.
UNREAD_LISTING = (Unavailable, "500: Internal Server Error", 4)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_at_any_step_is_no_success_and_says_what_to_do(
    cloud: SimulatedCloud, bucket: str, make: Make, kind: str, step: str
) -> None:
    unread = step == "ListObjectVersions" and kind in ("truncate", "html")
    family, words, times = UNREAD_LISTING if unread else FAULTS[kind]
    anchor = make()
    if (kind, step) in (("html", "PutObject"), ("truncate", "PutObject")):
        put(anchor, 1)
        return  # the answer to a write says nothing that is believed: what counts is what is read back
    cloud.fault(kind, service="s3", operation=step)
    with pytest.raises(family, match=words) as raised:
        put(anchor, 42)
    assert not isinstance(raised.value, ConfigError)
    assert "; " in str(raised.value)  # what went wrong; what to do
    assert asked(cloud, bucket).count(step) == times
    cloud.clear_faults()
    assert canonical.parse(put(anchor, 42).token)["mode"] == "COMPLIANCE"  # and the next hour mends it


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", [kind for kind in FAULTS if FAULTS[kind][2] > 1])
def test_a_fault_that_passes_is_waited_for(cloud: SimulatedCloud, make: Make, kind: str, step: str) -> None:
    cloud.fault(kind, service="s3", operation=step, times=2)
    assert put(make(), 42).suffix == "json"
    assert make().latest() == head_of(42)


@pytest.mark.parametrize("step", STEPS[1:])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_look_that_fails_is_never_an_empty_place(cloud: SimulatedCloud, make: Make, kind: str, step: str) -> None:
    anchor = make()
    put(anchor, 42)
    cloud.fault(kind, service="s3", operation=step)
    with pytest.raises(UNREAD_LISTING[0] if (kind, step) == ("html", "ListObjectVersions") else FAULTS[kind][0]):
        anchor.latest()


def test_a_refused_write_where_nothing_is_held_is_no_success(cloud: SimulatedCloud, make: Make) -> None:
    cloud.fault("412", service="s3", operation="PutObject")  # "it is there already", and it is not
    with pytest.raises(Unreadable, match=r"took checkpoints/.* and does not have it"):
        put(make(), 42)


def test_a_store_that_is_slower_than_the_timeout_is_unavailable(cloud: SimulatedCloud, make: Make) -> None:
    cloud.fault("slow", service="s3", operation="PutObject", seconds=2.5)
    with pytest.raises(Unavailable, match="ReadTimeoutError"):
        put(make(timeout="1s"), 42)


def test_a_write_whose_answer_was_lost_is_found_again(cloud: SimulatedCloud, bucket: str, make: Make) -> None:
    cloud.fault("slow", service="s3", operation="PutObject", seconds=1.5, times=1)
    given = put(make(timeout="1s"), 42)
    (only,) = cloud.client("s3").list_object_versions(Bucket=bucket)["Versions"]
    assert canonical.parse(given.token)["version"] == only["VersionId"]


def test_a_listing_that_never_ends_is_given_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    put(make(), 42)
    page = {"Name": "", "IsTruncated": True, "NextKeyMarker": "k", "Versions": []}
    monkeypatch.setattr(worm_aws.Bucket, "_ask", lambda self, *_: page | {"Name": self._bucket})
    with pytest.raises(Unreadable, match="does not end as it must"):
        make().latest()
    monkeypatch.setattr(worm_aws.Bucket, "_ask", lambda self, *_: page | {"Name": self._bucket, "NextKeyMarker": ""})
    with pytest.raises(Unreadable, match="does not end as it must"):
        make().latest()


def test_another_version_than_the_one_asked_for_is_not_read(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worm_aws.Bucket, "_ask", lambda *_: {"Body": b"x", "VersionId": "b"})
    store = worm_aws.Bucket("bucket", "us-east-1", timeout=1)
    with pytest.raises(Unreadable, match="asked for version a, S3 gave b"):
        store.read(Version("key", "a"))


def test_a_store_that_wants_to_be_left_alone_for_long_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []

    def ask() -> None:
        tried.append(1)
        raise store_rules.Later(Throttled("slow down"), wait=31)

    with pytest.raises(Throttled):
        store_rules.patiently(ask, lambda _: None)
    assert len(tried) == 1
    slept: list[float] = []

    def later() -> None:
        raise store_rules.Later(Throttled("slow down"), wait=2.5)

    with pytest.raises(Throttled):
        store_rules.patiently(later, slept.append)
    assert slept == [2.5] * 3
