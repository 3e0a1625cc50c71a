"""Checkpoints in a Cloud Storage bucket with object retention, over the wire: what is kept, attackers, every fault.

google-auth and requests are unmodified; the proxy of the test-bed is Google.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from collector import canonical
from collector.anchor.gcs import GcsAnchor
from collector.clouds import worm as store_rules
from collector.clouds import worm_gcs
from collector.clouds.gcp_access import Access
from collector.clouds.rest import Reply
from collector.clouds.worm import Version
from collector.config_places import GcsPlace
from collector.demo.cloud import SimulatedCloud
from collector.demo.gcp.storage import RIGHTS
from collector.errors import CannotObserve, ConfigError, Denied, LedgerBroken, Throttled, Unavailable, Unreadable
from tests.support.checkpoints import ORIGIN, head_of, no_proof, note_of

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOST = "storage.googleapis.com"
KEY = "checkpoints/{:020}.note"
NUMBERS = count(1)
EVERYTHING = [
    *RIGHTS,
    *(f"storage.objects.{verb}" for verb in ("delete", "update", "overrideUnlockedRetention")),
    "storage.buckets.delete",
]

Make = Callable[..., GcsAnchor]
Attack = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def cloud(simulated_cloud: SimulatedCloud) -> Iterator[SimulatedCloud]:
    simulated_cloud.set_now(NOW)
    yield simulated_cloud
    simulated_cloud.gcp.reset()


@pytest.fixture
def bucket(cloud: SimulatedCloud, request: pytest.FixtureRequest) -> Iterator[str]:
    """A bucket of this test's own; with versions, where an object can be hidden, unless the test says without."""
    name = f"acme-audit-checkpoints-{next(NUMBERS)}"
    cloud.gcp.make_bucket(name=name, versioning=getattr(request, "param", True))
    cloud.gcp.clear_calls()
    yield name
    cloud.gcp.clear_faults()
    cloud.gcp.storage_rights()
    cloud.gcp.set(key="page_size", value=0)


@pytest.fixture
def make(bucket: str) -> Make:
    def anchor(
        *, name: str = "vault", origin: str = "", now: datetime = NOW, timeout: str = "5s", **place: Any
    ) -> GcsAnchor:
        settings = {"bucket": bucket, "timeout": timeout, **place}
        return GcsAnchor(
            name, GcsPlace.model_validate(settings), clock=lambda: now, sleep=lambda _: None, origin=origin
        )

    return anchor


@pytest.fixture
def attack(cloud: SimulatedCloud, bucket: str) -> Attack:
    """Somebody with every right on the bucket, by plain requests: (status, reason or generation)."""
    access = Access(worm_gcs.SignIn(None, ""))

    def request(
        method: str,
        key: str = "",
        query: dict[str, str] | None = None,
        body: Any = None,
        data: bytes | None = None,
    ) -> tuple[int, str]:
        cloud.gcp.storage_rights(rights=EVERYTHING)
        url = f"https://{HOST}{'/upload' if data is not None else ''}/storage/v1/b/{bucket}"
        headers = {"Content-Type": "application/json"}
        content = json.dumps(body).encode() if body is not None else None
        if data is not None:
            url += "/o"
            parts = f"--b\r\n\r\n{json.dumps({'name': key, **(body or {})})}\r\n--b\r\n\r\n".encode()
            content, headers = parts + data + b"\r\n--b--", {"Content-Type": "multipart/related; boundary=b"}
            query = {"uploadType": "multipart", **(query or {})}
        elif key:
            url += f"/o/{key.replace('/', '%2F')}"
        reply = access.exchange(method, url, query=query or {}, headers=headers, content=content)
        cloud.gcp.storage_rights()
        found = json.loads(reply.body) if reply.body else {}
        errors = found.get("error", {}).get("errors", [{}])
        return reply.status, errors[0].get("reason") or found.get("generation", "")

    return request


def put(anchor: GcsAnchor, size: int, **head: Any) -> Any:
    found = head_of(size, **head)
    return anchor.put(note_of(found), found, no_proof)


def asked(cloud: SimulatedCloud, bucket: str) -> list[str]:
    """What this test asked of its bucket: write, list, about, bytes or bucket."""
    found = []
    for call in cloud.gcp.calls():
        if call["host"] == HOST and f"/b/{bucket}/" in f"{call['path']}/":
            rest = call["path"].partition(f"/b/{bucket}")[2]
            media = call["query"].get("alt") == ["media"]
            read = "bucket" if not rest else "list" if rest == "/o" else "bytes" if media else "about"
            found.append("write" if call["method"] == "POST" else read)
    return found


def test_a_checkpoint_is_written_once_locked_and_read_back(
    cloud: SimulatedCloud, bucket: str, make: Make, attack: Attack
) -> None:
    note = note_of(head_of(42))
    given = make().put(note, head_of(42), no_proof)
    receipt = canonical.parse(given.token)
    assert canonical.record(receipt) == given.token
    assert receipt == {
        "type": "gcs",
        "bucket": bucket,
        "key": KEY.format(42),
        "version": receipt["version"],
        "sha256": canonical.digest(note),
        "retain_until": "2027-02-09T12:00:00.000000Z",
        "mode": "Locked",
    }
    assert given.suffix == "json"
    assert given.where == f"gs://{bucket}/{KEY.format(42)}#{receipt['version']}"
    assert given.time is not None
    assert timedelta(0) <= given.time - NOW < timedelta(minutes=10)
    assert asked(cloud, bucket) == ["write", "list", "about", "bytes"]


def test_the_same_checkpoint_again_writes_nothing(make: Make) -> None:
    first = put(make(), 42)
    assert put(make(now=NOW + timedelta(hours=3)), 42).token == first.token
    with pytest.raises(Unreadable, match="too early"):
        put(make(now=NOW + timedelta(days=2)), 42)


def test_the_largest_checkpoint_is_found_over_all_pages(cloud: SimulatedCloud, bucket: str, make: Make) -> None:
    anchor = make()
    assert anchor.latest() is None
    anchor.test()
    for size in (3, 100, 20, 7):
        put(anchor, size)
    for page_size, pages in ((0, 1), (1, 5), (2, 3), (3, 2)):
        cloud.gcp.set(key="page_size", value=page_size)
        cloud.gcp.clear_calls()
        assert anchor.latest() == head_of(100)
        assert asked(cloud, bucket) == ["list"] * pages + ["about", "bytes"]
    assert [held.head.size for held in anchor.held()] == [100, 20, 7, 3]


# --- start-up ---


def test_a_start_proves_the_place_and_leaves_one_locked_canary_a_day(
    cloud: SimulatedCloud, bucket: str, make: Make
) -> None:
    make().test()
    make(now=NOW + timedelta(hours=11)).test()
    assert asked(cloud, bucket)[:5] == ["bucket", "write", "list", "about", "bytes"]
    assert [version.key for version in make()._store.versions("")] == ["checkpoints/canary/vault-2026-01-05.txt"]
    with capture_logs() as logs:
        assert make().latest() is None
    assert not logs


def test_a_bucket_without_retention_is_a_matter_of_configuration(cloud: SimulatedCloud, make: Make) -> None:
    cloud.gcp.make_bucket(name="acme-plain", retention=False)
    with pytest.raises(ConfigError, match="acme-plain has no object retention; make one that has, see deploy/anchors"):
        make(bucket="acme-plain").test()
    assert asked(cloud, "acme-plain") == ["bucket"]
    with pytest.raises(Unreadable, match="Object retention is not enabled on the bucket"):
        put(make(bucket="acme-plain"), 5)
    with pytest.raises(ConfigError, match="there is no bucket acme-nowhere"):
        make(bucket="acme-nowhere").test()
    with pytest.raises(Unreadable, match="The specified bucket does not exist"):
        put(make(bucket="acme-nowhere"), 5)


def test_a_key_file_and_impersonation_as_configured(
    cloud: SimulatedCloud, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(cloud.environment["GOOGLE_APPLICATION_CREDENTIALS"])
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    collector = json.loads(file.read_text())["client_email"]
    put(make(credentials_file=file), 1)
    put(make(credentials_file=file, impersonate=collector), 2)
    with pytest.raises(Denied, match="no token of Google"):
        put(make(credentials_file=file, impersonate="somebody@acme-prod.iam.gserviceaccount.com"), 3)
    with pytest.raises(Denied, match="cannot be read"):
        put(make(credentials_file=tmp_path / "none.json"), 3)


def test_without_the_sdk_the_extra_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "collector.clouds.worm_gcs", None)
    with pytest.raises(ConfigError, match=r"\[anchors\.gcs\.vault\] needs a library.*evidence-collector\[gcp\]"):
        make()


def test_a_right_that_is_missing_is_named_with_the_role(cloud: SimulatedCloud, make: Make) -> None:
    for right in RIGHTS:
        cloud.gcp.storage_rights(rights=sorted(RIGHTS - {right}))
        with pytest.raises(Denied, match=rf"{right}.*the role of deploy/anchors/gcs-role\.yaml"):
            make().test()
    cloud.gcp.storage_rights()
    make().test()


def test_a_token_that_ran_out_is_renewed_once(cloud: SimulatedCloud, bucket: str, make: Make) -> None:
    anchor = make()
    put(anchor, 1)
    cloud.gcp.expire_tokens()
    put(anchor, 2)
    cloud.gcp.clear_calls()
    cloud.gcp.fault(kind="expired", host=HOST)
    with pytest.raises(Denied, match=r"UNAUTHENTICATED.*the token was refused"):
        put(anchor, 3)
    assert asked(cloud, bucket) == ["write"] * 2


def test_a_token_leaves_for_google_only(cloud: SimulatedCloud) -> None:
    access = Access(worm_gcs.SignIn(None, ""))
    for url in ("https://storage.googleapis.com.evil.example/", "http://storage.googleapis.com/"):
        with pytest.raises(ConfigError, match="it was not sent"):
            access.exchange("GET", url, query={}, headers={})


# --- attackers ---


@pytest.mark.parametrize(("bucket", "versioning"), [(False, False), (True, True)], indirect=["bucket"])
def test_nobody_can_take_a_checkpoint_away(make: Make, attack: Attack, versioning: bool) -> None:
    anchor = make()
    key = KEY.format(42)
    generation = {"generation": canonical.parse(put(anchor, 42).token)["version"]}
    override = {**generation, "overrideUnlockedRetention": "true"}

    def retention(mode: str, days: int) -> dict[str, Any]:
        return {"retention": {"mode": mode, "retainUntilTime": f"{(NOW + timedelta(days=days)).isoformat()}"}}

    kept, locked = (403, "retentionPolicyNotMet"), (403, "forbidden")
    assert attack("DELETE", key, generation) == kept
    assert attack("PATCH", key, override, retention("Locked", 1)) == locked
    assert attack("PATCH", key, override, retention("Unlocked", 900)) == locked
    assert attack("PATCH", key, override, {"retention": None}) == locked
    assert attack("DELETE") == (409, "conflict")
    if versioning:
        assert attack("DELETE", key)[0] == 204  # made noncurrent, which hides it and keeps it
        assert attack("GET", key)[0] == 404
        assert attack("POST", key, data=b"instead")[0] == 200
    else:
        assert attack("DELETE", key) == kept
        assert attack("POST", key, data=b"instead") == kept
    with capture_logs() as logs:
        assert anchor.latest() == head_of(42)
    assert [line["what"] for line in logs] == ["no checkpoint"] * versioning


def test_a_retention_that_is_over_lets_go(cloud: SimulatedCloud, make: Make, attack: Attack) -> None:
    generation = canonical.parse(put(make(retain="1h"), 42).token)["version"]
    try:
        cloud.set_now(NOW + timedelta(hours=2))
        assert attack("DELETE", KEY.format(42), {"generation": generation})[0] == 204
    finally:
        cloud.set_now(NOW)
    assert make().latest() is None


def test_another_history_on_top_of_a_locked_object_is_an_alarm_that_names_it(make: Make, attack: Attack) -> None:
    anchor = make()
    for size in (41, 42, 43):
        put(anchor, size)
    status, generation = attack("POST", KEY.format(42), data=note_of(head_of(42, history="forged")))
    assert status == 200
    with pytest.raises(LedgerBroken, match=f"{KEY.format(42)}#{generation} holds another root over the first 42"):
        anchor.latest()
    with pytest.raises(LedgerBroken, match=f"{KEY.format(42)}#{generation} holds another root over the first 42"):
        put(anchor, 42)


def test_what_is_no_checkpoint_is_reported_and_hides_nothing(make: Make, attack: Attack) -> None:
    anchor = make()
    put(anchor, 42)
    for key, data in ((KEY.format(42), b"\xff\r\n--"), (KEY.format(99), b"x"), ("checkpoints/a b", b"")):
        assert attack("POST", key, data=data)[0] == 200
    put(anchor, 43, origin="other.example/ledger")
    with capture_logs() as logs:
        assert make(origin=ORIGIN).latest() == head_of(42)
    assert {line["object"]: line["what"] for line in logs} == {
        KEY.format(42): "no checkpoint",
        KEY.format(99): "no checkpoint",
        KEY.format(43): "a checkpoint of other.example/ledger",
        "checkpoints/a b": "no name of a checkpoint",
    }
    with pytest.raises(Unreadable, match="holds something else"):
        put(anchor, 42)


def test_an_object_whose_retention_can_be_lifted_is_no_success(make: Make, attack: Attack) -> None:
    until = (NOW + timedelta(days=900)).isoformat()
    retention = {"retention": {"mode": "Unlocked", "retainUntilTime": until}}
    assert attack("POST", KEY.format(42), body=retention, data=note_of(head_of(42)))[0] == 200
    with pytest.raises(Unreadable, match="locked in mode unlocked, which can be taken away; it must be Locked"):
        put(make(), 42)
    assert attack("POST", KEY.format(41), data=note_of(head_of(41)))[0] == 200
    with pytest.raises(Unreadable, match="says nothing of a lock"):
        put(make(), 41)


# --- faults: each at each step ---

STEPS = {"write": "POST", "list": r"GET .*/o$", "about": r"GET .*/o/", "bytes": r"GET .*/o/"}
FAULTS: dict[str, tuple[type[CannotObserve], str, int]] = {
    "throttle": (Throttled, "rateLimitExceeded", 4),
    "usage-limits": (Throttled, "quotaExceeded", 4),
    "denied": (Denied, r"PERMISSION_DENIED:forbidden.*the role of deploy/anchors", 1),
    "expired": (Denied, "the token was refused", 2),
    "404": (Unreadable, "NOT_FOUND", 1),
    "409": (Unreadable, "conflict", 1),
    "412": (Unreadable, "conditionNotMet", 1),
    "500": (Unavailable, "backendError", 4),
    "reset": (Unavailable, "no whole answer in time", 4),
    "truncate": (Unavailable, "no whole answer in time", 4),
    "html": (Unreadable, "the next checkpoint tries again", 1),
}


def inject(cloud: SimulatedCloud, kind: str, step: str, times: int | None = None) -> None:
    if step == "bytes":  # the second question about an object; a fault knows paths and no queries
        cloud.gcp.fault(kind="slow", operation=STEPS[step], host=HOST, times=1, seconds=0)
    cloud.gcp.fault(kind=kind, operation=STEPS[step], host=HOST, times=times)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_at_any_step_is_no_success_and_says_what_to_do(
    cloud: SimulatedCloud, bucket: str, make: Make, kind: str, step: str
) -> None:
    family, words, times = FAULTS[kind]
    anchor = make()
    inject(cloud, kind, step)
    if step == "write" and kind in ("412", "html"):
        words = "took checkpoints/.* and does not have it"
    if step == "bytes" and kind == "html":
        words = "not the .* bytes of generation"
    with pytest.raises(family, match=words) as raised:
        put(anchor, 42)
    assert not isinstance(raised.value, ConfigError)
    assert "; " in str(raised.value)
    assert asked(cloud, bucket).count(step) == times
    cloud.gcp.clear_faults()
    assert canonical.parse(put(anchor, 42).token)["mode"] == "Locked"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", [kind for kind in FAULTS if FAULTS[kind][2] == 4])
def test_a_fault_that_passes_is_waited_for(cloud: SimulatedCloud, make: Make, kind: str, step: str) -> None:
    inject(cloud, kind, step, times=2)
    assert put(make(), 42).suffix == "json"


@pytest.mark.parametrize("step", ["list", "about", "bytes"])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_look_that_fails_is_never_an_empty_place(cloud: SimulatedCloud, make: Make, kind: str, step: str) -> None:
    anchor = make()
    put(anchor, 42)
    inject(cloud, kind, step)
    with pytest.raises(FAULTS[kind][0]):
        anchor.latest()


def test_a_store_that_is_slower_than_the_timeout_is_unavailable(cloud: SimulatedCloud, make: Make) -> None:
    cloud.gcp.fault(kind="slow", operation="POST", host=HOST, seconds=2.0)
    with pytest.raises(Unavailable, match="no whole answer in time"):
        put(make(timeout="1s"), 42)


def test_a_write_whose_answer_was_lost_is_found_again(cloud: SimulatedCloud, make: Make) -> None:
    cloud.gcp.fault(kind="slow", operation="POST", host=HOST, seconds=1.4, times=1)
    anchor = make(timeout="1s")
    put(anchor, 42)
    assert len(list(anchor._store.versions(KEY.format(42)))) == 1


# --- answers that lie ---


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no JSON object"),
        (b"[]", "no JSON object"),
        (b"{}", "no listing"),
        (b'{"kind": "storage#objects", "items": {}}', "no listing"),
        (b'{"kind": "storage#objects", "items": [{"name": "k"}]}', "an object without generation"),
        (b'{"kind": "storage#objects", "items": [7]}', "an object without name"),
        (b'{"kind": "storage#objects", "nextPageToken": "again"}', "does not end as it must"),
    ],
)
def test_a_listing_that_is_none_is_no_empty_place(monkeypatch: pytest.MonkeyPatch, body: bytes, words: str) -> None:
    monkeypatch.setattr(worm_gcs.Bucket, "_ask", lambda *_: Reply(200, {}, body))
    with pytest.raises(Unreadable, match=words):
        list(worm_gcs.Bucket("bucket", timeout=1).versions("checkpoints/"))


ABOUT = {"generation": "1", "size": "1"}


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (ABOUT | {"generation": "2"}, "asked for generation 1, got 2"),
        (ABOUT | {"size": str(store_rules.COPY_BYTES_MAX + 1)}, "more than 1000000 bytes"),
        (ABOUT | {"size": "-1"}, "more than 1000000 bytes"),
        (ABOUT | {"size": "2"}, "not the 2 bytes"),
        (ABOUT | {"retention": {"retainUntilTime": "soon"}}, "a time that is none: 'soon'"),
        ({"size": "1"}, "an object|without generation"),
    ],
)
def test_an_object_that_is_another_one_is_not_read(
    monkeypatch: pytest.MonkeyPatch, about: dict[str, Any], words: str
) -> None:
    def ask(self: Any, method: str, url: str, query: dict[str, str], *_: Any) -> Reply:
        return Reply(200, {}, b"x" if query.get("alt") == "media" else json.dumps(about).encode())

    monkeypatch.setattr(worm_gcs.Bucket, "_ask", ask)
    with pytest.raises(Unreadable, match=words):
        worm_gcs.Bucket("bucket", timeout=1).read(Version("k", "1"))


def test_a_bucket_that_nobody_described_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worm_gcs.Bucket, "_ask", lambda *_: Reply(200, {}, b'{"name": "other"}'))
    with pytest.raises(Unreadable, match="no description of the bucket"):
        worm_gcs.Bucket("bucket", timeout=1).prove()
