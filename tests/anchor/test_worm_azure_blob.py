"""Checkpoints in an immutable container of Azure Blob Storage, over the wire: what is kept, attackers, every fault.

azure-identity and the azure-core pipeline are unmodified; the proxy of the test-bed is Entra and the storage account.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from typing import Any

import pytest
from azure.core.rest import HttpRequest
from structlog.testing import capture_logs

from collector import canonical
from collector.anchor.azure_blob import AzureBlobAnchor
from collector.clouds import worm as store_rules
from collector.clouds import worm_azure
from collector.clouds.azure_access import Access
from collector.clouds.rest import Reply
from collector.clouds.worm import Version
from collector.config_places import AzureBlobPlace
from collector.demo.azure.blobs import ACTION, RIGHTS
from collector.demo.azure.world import TENANT
from collector.demo.cloud import SimulatedCloud
from collector.errors import CannotObserve, ConfigError, Denied, LedgerBroken, Throttled, Unavailable, Unreadable
from tests.support.checkpoints import ORIGIN, head_of, no_proof, note_of

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ACCOUNT = "acmeaudit"
HOST = f"{ACCOUNT}.blob.core.windows.net"
KEY = "checkpoints/{:020}.note"
NUMBERS = count(1)
LOCKED = "x-ms-immutability-policy-mode"
UNTIL = "x-ms-immutability-policy-until-date"
EVERYTHING = [
    *RIGHTS,
    *(f"{ACTION}{verb}" for verb in ("delete", "write")),
    *(f"{ACTION}blobs/{verb}" for verb in ("write", "delete", "deleteBlobVersion/action")),
]

Make = Callable[..., AzureBlobAnchor]
Attack = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def cloud(simulated_cloud: SimulatedCloud) -> Iterator[SimulatedCloud]:
    simulated_cloud.set_now(NOW)
    yield simulated_cloud
    simulated_cloud.azure.reset()


@pytest.fixture
def container(cloud: SimulatedCloud) -> Iterator[str]:
    """A container of this test's own."""
    name = f"checkpoints-{next(NUMBERS)}"
    cloud.azure.make_container(account=ACCOUNT, container=name)
    cloud.azure.clear_calls()
    yield name
    cloud.azure.clear_faults()
    cloud.azure.storage_rights()
    cloud.azure.set(key="page_size", value=0)
    cloud.azure.set(key="blob_uploads_unlocked", value=False)


@pytest.fixture
def make(container: str) -> Make:
    def anchor(
        *, name: str = "vault", origin: str = "", now: datetime = NOW, timeout: str = "5s", **place: Any
    ) -> AzureBlobAnchor:
        settings = {"container": f"https://{HOST}/{container}", "tenant": TENANT, "timeout": timeout, **place}
        return AzureBlobAnchor(
            name, AzureBlobPlace.model_validate(settings), clock=lambda: now, sleep=lambda _: None, origin=origin
        )

    return anchor


@pytest.fixture
def attack(cloud: SimulatedCloud, container: str) -> Attack:
    """Somebody with every right on the data, by plain requests: (status, error code)."""
    access = Access(worm_azure.SignIn(TENANT, "public", "", ""), scopes={HOST: worm_azure.SCOPE})

    def request(
        method: str, key: str, query: dict[str, str] | None = None, body: bytes = b"", **headers: str
    ) -> tuple[int, str]:
        cloud.azure.storage_rights(rights=EVERYTHING)
        sent = {"x-ms-version": "2021-12-02", **{name.replace("_", "-"): value for name, value in headers.items()}}
        url = f"https://{HOST}/{container}" + (f"/{key}" if key else "")
        reply = access.exchange(HttpRequest(method, url, params=query or {}, headers=sent, content=body))
        cloud.azure.storage_rights()
        return reply.status, reply.headers.get("x-ms-error-code") or reply.headers.get("x-ms-version-id", "")

    return request


def put(anchor: AzureBlobAnchor, size: int, **head: Any) -> Any:
    found = head_of(size, **head)
    return anchor.put(note_of(found), found, no_proof)


def asked(cloud: SimulatedCloud, container: str) -> list[tuple[str, str]]:
    """What this test asked of its container: method, and the kind of question."""
    calls = [call for call in cloud.azure.calls() if call["path"].startswith(f"/{container}")]
    return [(call["method"], "".join(call["query"].get("comp", []))) for call in calls]


def test_a_checkpoint_is_written_once_locked_and_read_back(cloud: SimulatedCloud, container: str, make: Make) -> None:
    note = note_of(head_of(42))
    given = make().put(note, head_of(42), no_proof)
    receipt = canonical.parse(given.token)
    assert canonical.record(receipt) == given.token
    assert receipt == {
        "type": "azure-blob",
        "container": f"https://{HOST}/{container}",
        "key": KEY.format(42),
        "version": receipt["version"],
        "sha256": canonical.digest(note),
        "retain_until": "2027-02-09T12:00:00.000000Z",
        "mode": "Locked",
    }
    assert given.suffix == "json"
    assert given.where == f"https://{HOST}/{container}/{KEY.format(42)}?versionid={receipt['version']}"
    assert given.time is not None
    assert timedelta(0) <= given.time - NOW < timedelta(minutes=10)
    assert asked(cloud, container) == [("PUT", ""), ("GET", "list"), ("GET", "")]


def test_a_policy_that_came_unlocked_with_the_upload_is_locked_at_once(
    cloud: SimulatedCloud, container: str, make: Make
) -> None:
    """As the documentation says that uploads do; the reference of Put Blob says that they can be locked."""
    cloud.azure.set(key="blob_uploads_unlocked", value=True)
    given = put(make(), 42)
    assert canonical.parse(given.token)["mode"] == "Locked"
    assert asked(cloud, container) == [
        ("PUT", ""),
        ("GET", "list"),
        ("GET", ""),
        ("PUT", "immutabilityPolicies"),
        ("GET", ""),
    ]
    make().test()


def test_an_upload_that_stayed_unlocked_is_locked_by_the_next_attempt(
    cloud: SimulatedCloud, container: str, make: Make
) -> None:
    cloud.azure.set(key="blob_uploads_unlocked", value=True)
    cloud.azure.fault(kind="500", operation=f"GET /{container}/checkpoints", times=4)
    with pytest.raises(Unavailable):
        put(make(), 42)  # written, and then nobody could look at it
    assert canonical.parse(put(make(), 42).token)["mode"] == "Locked"


def test_the_same_checkpoint_again_writes_nothing(cloud: SimulatedCloud, make: Make) -> None:
    first = put(make(), 42)
    assert put(make(now=NOW + timedelta(hours=3)), 42).token == first.token
    # Whoever may only add is told so, before or after the condition is looked at.
    cloud.azure.fault(kind="412", operation="PUT", times=1)
    assert put(make(), 42).token == first.token


def test_the_largest_checkpoint_is_found_over_all_pages(cloud: SimulatedCloud, container: str, make: Make) -> None:
    anchor = make()
    assert anchor.latest() is None
    anchor.test()
    for size in (3, 100, 20, 7):
        put(anchor, size)
    for page_size, pages in ((0, 1), (1, 5), (2, 3), (3, 2)):
        cloud.azure.set(key="page_size", value=page_size)
        cloud.azure.clear_calls()
        assert anchor.latest() == head_of(100)
        assert asked(cloud, container) == [("GET", "list")] * pages + [("GET", "")]
    assert [held.head.size for held in anchor.held()] == [100, 20, 7, 3]


# --- start-up ---


def test_a_start_proves_the_place_and_leaves_one_locked_canary_a_day(
    cloud: SimulatedCloud, container: str, make: Make
) -> None:
    make().test()
    make(now=NOW + timedelta(hours=11)).test()
    assert asked(cloud, container)[:4] == [("GET", ""), ("PUT", ""), ("GET", "list"), ("GET", "")]
    assert all(method in ("GET", "PUT") for method, _ in asked(cloud, container))
    store = make()._store
    assert [version.key for version in store.versions("")] == ["checkpoints/canary/vault-2026-01-05.txt"]
    with capture_logs() as logs:
        assert make().latest() is None
    assert not logs


def test_a_container_without_immutability_is_a_matter_of_configuration(cloud: SimulatedCloud, make: Make) -> None:
    cloud.azure.make_container(account=ACCOUNT, container="plain", immutable=False)
    plain = make(container=f"https://{HOST}/plain")
    with pytest.raises(ConfigError, match="the container /plain has no version-level immutability"):
        plain.test()
    assert asked(cloud, "plain") == [("GET", "")]
    with pytest.raises(Unreadable, match=r"ImmutableStorage.*see deploy/anchors/README"):
        put(plain, 5)
    with pytest.raises(ConfigError, match="there is no container /nowhere"):
        make(container=f"https://{HOST}/nowhere").test()
    with pytest.raises(Unreadable, match="ContainerNotFound"):
        put(make(container=f"https://{HOST}/nowhere"), 5)


@pytest.mark.parametrize(
    "url",
    [
        "http://acmeaudit.blob.core.windows.net/checkpoints",
        "https://evil.example/checkpoints",
        "https://acmeaudit.blob.core.windows.net.evil.example/checkpoints",
        "https://acmeaudit.blob.core.windows.net/",
        "https://acmeaudit.blob.core.windows.net/checkpoints/below",
        "https://acmeaudit.blob.core.windows.net:8443/checkpoints",
    ],
)
def test_a_token_leaves_for_containers_of_azure_only(make: Make, url: str) -> None:
    with pytest.raises(ConfigError, match=r"write it as https://ACCOUNT\.blob\.core\.windows\.net/CONTAINER"):
        make(container=url)


def test_a_signature_in_the_address_of_a_container_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match=r"neither \? nor #"):
        make(container="https://acmeaudit.blob.core.windows.net/checkpoints?sig=secret")


def test_other_clouds_sign_in_elsewhere() -> None:
    places = {
        "https://acme.blob.core.usgovcloudapi.net/checkpoints": "usgovernment",
        "https://acme.blob.core.chinacloudapi.cn/checkpoints/": "china",
        "https://acme.z01.blob.storage.azure.net/checkpoints": "public",
    }
    for url, cloud in places.items():
        assert worm_azure.Container(url, tenant=TENANT, timeout=1)._sign_in.cloud == cloud


def test_without_the_sdk_the_extra_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "collector.clouds.worm_azure", None)
    with pytest.raises(ConfigError, match=r"\[anchors\.azure-blob\.vault\] needs a library.*collector\[azure\]"):
        make()


def test_a_right_that_is_missing_is_named_with_the_role(cloud: SimulatedCloud, make: Make) -> None:
    for right in RIGHTS:
        cloud.azure.storage_rights(rights=sorted(RIGHTS - {right}))
        with pytest.raises(Denied, match=r"assign the role of deploy/anchors/azure-role\.json"):
            make().test()
    cloud.azure.storage_rights()
    make().test()


def test_a_sign_in_that_is_refused_says_so(cloud: SimulatedCloud, make: Make) -> None:
    cloud.azure.fault(kind="expired", host=r"login\.microsoftonline\.com", operation="POST")
    with pytest.raises(Denied, match="no token of Entra"):
        put(make(), 42)
    cloud.azure.clear_faults()
    cloud.azure.fault(kind="reset", host=r"login\.microsoftonline\.com", operation="POST")
    with pytest.raises(Unavailable, match="no whole answer in time"):
        put(make(), 42)


def test_a_token_that_ran_out_is_renewed_once(cloud: SimulatedCloud, container: str, make: Make) -> None:
    anchor = make()
    put(anchor, 1)
    cloud.azure.expire_tokens()
    put(anchor, 2)
    cloud.azure.clear_calls()
    cloud.azure.fault(kind="expired", host=HOST)
    with pytest.raises(Denied, match=r"InvalidAuthenticationInfo.*the token was refused"):
        put(anchor, 3)
    assert asked(cloud, container) == [("PUT", "")] * 2


# --- attackers ---


def test_nobody_can_take_a_checkpoint_away(make: Make, attack: Attack) -> None:
    anchor = make()
    version = canonical.parse(put(anchor, 42).token)["version"]
    key, one = KEY.format(42), {"versionid": version}
    policy = {"comp": "immutabilityPolicies", **one}
    shorter = {UNTIL: format_datetime(NOW + timedelta(days=1), usegmt=True), LOCKED: "Locked"}
    softer = {UNTIL: format_datetime(NOW + timedelta(days=900), usegmt=True), LOCKED: "Unlocked"}
    immutable = (409, "BlobImmutableDueToPolicy")
    assert attack("DELETE", key, one) == immutable
    assert attack("DELETE", key) == immutable
    assert attack("DELETE", key, policy) == immutable
    assert attack("PUT", key, policy, **shorter) == immutable
    assert attack("PUT", key, policy, **softer) == immutable
    assert attack("PUT", key, {"comp": "metadata"}) == immutable
    assert attack("DELETE", "", {"restype": "container"})[0] == 409
    assert anchor.latest() == head_of(42)


def test_a_policy_that_is_over_lets_go(cloud: SimulatedCloud, make: Make, attack: Attack) -> None:
    version = canonical.parse(put(make(retain="1h"), 42).token)["version"]
    try:
        cloud.set_now(NOW + timedelta(hours=2))
        assert attack("DELETE", KEY.format(42), {"versionid": version})[0] == 202
    finally:
        cloud.set_now(NOW)
    assert make().latest() is None


def test_another_history_on_top_of_a_locked_version_is_an_alarm_that_names_it(make: Make, attack: Attack) -> None:
    anchor = make()
    for size in (41, 42, 43):
        put(anchor, size)
    forged = note_of(head_of(42, history="forged"))
    status, version = attack("PUT", KEY.format(42), body=forged, x_ms_blob_type="BlockBlob")
    assert status == 201
    with pytest.raises(LedgerBroken, match=rf"{KEY.format(42)}\?versionid={version} holds another root"):
        anchor.latest()
    with pytest.raises(LedgerBroken, match=rf"{KEY.format(42)}\?versionid={version} holds another root"):
        put(anchor, 42)


def test_what_is_no_checkpoint_is_reported_and_hides_nothing(make: Make, attack: Attack) -> None:
    anchor = make()
    put(anchor, 42)
    for key, body in ((KEY.format(42), b"\xff"), (KEY.format(99), b"x"), ("checkpoints/a%20b&c.txt", b"")):
        assert attack("PUT", key, body=body, x_ms_blob_type="BlockBlob")[0] == 201
    put(anchor, 43, origin="other.example/ledger")
    with capture_logs() as logs:
        assert make(origin=ORIGIN).latest() == head_of(42)
    assert {line["object"]: line["what"] for line in logs} == {
        KEY.format(42): "no checkpoint",
        KEY.format(99): "no checkpoint",
        KEY.format(43): "a checkpoint of other.example/ledger",
        "checkpoints/a b&c.txt": "no name of a checkpoint",
    }
    with pytest.raises(Unreadable, match="holds something else"):
        put(anchor, 42)


def test_a_version_without_a_lock_is_locked_if_it_is_ours(make: Make, attack: Attack) -> None:
    """Azure can lock what is there: a copy that somebody wrote without a policy is as good as ours, once it has one."""
    attack("PUT", KEY.format(42), body=note_of(head_of(42)), x_ms_blob_type="BlockBlob")
    assert canonical.parse(put(make(), 42).token)["retain_until"] == "2027-02-09T12:00:00.000000Z"


# --- faults: each at each step ---

STEPS = {"write": "PUT", "list": r"GET /[a-z0-9-]+$", "read": r"GET /[a-z0-9-]+/"}
FAULTS: dict[str, tuple[type[CannotObserve], str, int]] = {
    "throttle": (Throttled, "ServerBusy", 4),
    "429": (Throttled, "TooManyRequests", 4),
    "denied": (Denied, "AuthorizationPermissionMismatch.*assign the role", 1),
    "expired": (Denied, "the token was refused", 2),
    "404": (Unreadable, "ContainerNotFound", 1),
    "409": (Unreadable, "BlobAlreadyExists", 1),
    "412": (Unreadable, "ConditionNotMet", 1),
    "500": (Unavailable, "InternalError", 4),
    "reset": (Unavailable, "no whole answer in time", 4),
    "truncate": (Unavailable, "no whole answer in time", 4),
    "html": (Unreadable, "the next checkpoint tries again", 1),
}


def step_of(call: tuple[str, str]) -> str:
    return "write" if call[0] == "PUT" else "list" if call[1] == "list" else "read"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_at_any_step_is_no_success_and_says_what_to_do(
    cloud: SimulatedCloud, container: str, make: Make, kind: str, step: str
) -> None:
    family, words, times = FAULTS[kind]
    anchor = make()
    cloud.azure.fault(kind=kind, operation=STEPS[step], host=HOST)
    if step == "write" and kind in ("truncate", "html"):
        put(anchor, 42)  # it was written, and what counts is what is read back
        return
    if step == "write" and kind in ("409", "412"):
        words = "took checkpoints/.* and does not have it"  # "it is there already", and it is not
    with pytest.raises(family, match=words) as raised:
        put(anchor, 42)
    assert not isinstance(raised.value, ConfigError)
    assert "; " in str(raised.value)
    assert [step_of(call) for call in asked(cloud, container)].count(step) == times
    cloud.azure.clear_faults()
    assert canonical.parse(put(anchor, 42).token)["mode"] == "Locked"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", [kind for kind in FAULTS if FAULTS[kind][2] == 4])
def test_a_fault_that_passes_is_waited_for(cloud: SimulatedCloud, make: Make, kind: str, step: str) -> None:
    cloud.azure.fault(kind=kind, operation=STEPS[step], host=HOST, times=2)
    assert put(make(), 42).suffix == "json"


@pytest.mark.parametrize("step", ["list", "read"])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_look_that_fails_is_never_an_empty_place(cloud: SimulatedCloud, make: Make, kind: str, step: str) -> None:
    anchor = make()
    put(anchor, 42)
    cloud.azure.fault(kind=kind, operation=STEPS[step], host=HOST)
    with pytest.raises(FAULTS[kind][0]):
        anchor.latest()


def test_a_store_that_is_slower_than_the_timeout_is_unavailable(cloud: SimulatedCloud, make: Make) -> None:
    cloud.azure.fault(kind="slow", operation="PUT", host=HOST, seconds=2.0)
    with pytest.raises(Unavailable, match="no whole answer in time"):
        put(make(timeout="1s"), 42)


def test_a_write_whose_answer_was_lost_is_found_again(cloud: SimulatedCloud, make: Make) -> None:
    cloud.azure.fault(kind="slow", operation="PUT", host=HOST, seconds=1.4, times=1)
    anchor = make(timeout="1s")
    put(anchor, 42)
    assert len(list(anchor._store.versions(KEY.format(42)))) == 1


# --- answers that lie ---


def listing(body: str, marker: str = "") -> bytes:
    blobs = f"<EnumerationResults><Blobs>{body}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    return f'\ufeff<?xml version="1.0" encoding="utf-8"?>{blobs}'.encode()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "cannot be read"),
        (b"<EnumerationResults><Blobs /></EnumerationResults>", "no listing"),
        (b"<Error><Code>x</Code></Error>", "no listing"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><EnumerationResults>&b;</EnumerationResults>', "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (listing("<Blob><Name>k</Name></Blob>"), "without name or version; switch versioning on"),
        (listing("<Blob><VersionId>1</VersionId></Blob>"), "without name or version"),
        (listing("", "again"), "does not end as it must"),
    ],
)
def test_a_listing_that_is_none_is_no_empty_place(monkeypatch: pytest.MonkeyPatch, body: bytes, words: str) -> None:
    monkeypatch.setattr(worm_azure.Container, "_ask", lambda *_: Reply(200, {}, body))
    store = worm_azure.Container(f"https://{HOST}/checkpoints", tenant=TENANT, timeout=1)
    with pytest.raises(Unreadable, match=words):
        list(store.versions("checkpoints/"))


def test_names_that_xml_cannot_hold_come_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    body = listing('<Blob><Name Encoded="true">a%EF%BF%BFb</Name><VersionId>1</VersionId></Blob>')
    monkeypatch.setattr(worm_azure.Container, "_ask", lambda *_: Reply(200, {}, body))
    store = worm_azure.Container(f"https://{HOST}/checkpoints", tenant=TENANT, timeout=1)
    assert list(store.versions("")) == [Version("a\uffffb", "1")]


def test_a_version_that_is_another_one_or_far_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store = worm_azure.Container(f"https://{HOST}/checkpoints", tenant=TENANT, timeout=1)

    def answer(headers: dict[str, str], body: bytes) -> None:
        monkeypatch.setattr(worm_azure.Container, "_ask", lambda *_: Reply(200, headers, body))

    answer({"x-ms-version-id": "2"}, b"")
    with pytest.raises(Unreadable, match="asked for version 1, Azure gave 2"):
        store.read(Version("k", "1"))
    answer({"x-ms-version-id": "1"}, bytes(store_rules.COPY_BYTES_MAX + 1))
    with pytest.raises(Unreadable, match="more than 1000000 bytes"):
        store.read(Version("k", "1"))
    answer({"x-ms-version-id": "1", UNTIL: "soon"}, b"")
    with pytest.raises(Unreadable, match="a time that is none: 'soon'"):
        store.read(Version("k", "1"))
    answer({"x-ms-version-id": "1"}, b"")
    assert store.read(Version("k", "1")) == store_rules.Copy(b"", "", None, None)


def test_a_prefix_with_what_means_something_in_a_url_names_the_same_blobs(make: Make) -> None:
    """azure-core puts parameters into the URL as they are: a plus would arrive as a space, and "&" would end it."""
    odd = make(prefix="a+b & c/50%25?#/")
    assert odd.latest() is None
    odd.put(note_of(head_of(7)), head_of(7), no_proof)
    assert odd.latest() == head_of(7)
    assert make(prefix="a b ").latest() is None
