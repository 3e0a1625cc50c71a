"""A log key in Google Cloud KMS: google-auth, TLS, and behind it a simulated service that really signs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector.clouds import signing
from collector.clouds.signing_gcp import GARBLED_MAX, CloudKmsKey
from collector.demo.gcp import kms
from collector.demo.gcp.bed import GcpBed
from collector.demo.gcp.world import COLLECTOR, Principal
from collector.demo.proxy import Proxy, Request, Response
from collector.errors import ConfigError, Denied, Disabled, Throttled, Unavailable, Unreadable
from collector.ledger import note
from collector.signers import ServiceSigner, open_named

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ORIGIN = "ledger.example/acme"
RING = "projects/acme-prod/locations/europe-west1/keyRings/evidence"
HOST = "cloudkms.googleapis.com"
KINDS = {"EC_SIGN_ED25519": note.ED25519, "EC_SIGN_P256_SHA256": note.ECDSA_P256}

Change = Callable[[Request, Response], Response]


class Served:
    """One organisation behind one proxy; a test may change its answers on the way."""

    def __init__(self, folder: Path) -> None:
        self.bed = GcpBed(seed=7, scale=1, clock=lambda: NOW)
        self.change: Change | None = None
        self.seen: list[dict[str, Any]] = []  # the bodies of what was to be signed
        self.proxy = Proxy("|".join(self.bed.hosts), self.handle, folder)
        local = "127.0.0.1,localhost"
        self.environment = {
            "HTTPS_PROXY": self.proxy.url,
            "https_proxy": self.proxy.url,
            "NO_PROXY": local,
            "no_proxy": local,
            "REQUESTS_CA_BUNDLE": str(self.proxy.bundle),
            **self.bed.credentials(folder),
        }

    def handle(self, request: Request) -> Response:
        found = self.bed.handle(request)
        if request.host != HOST:
            return found
        if request.body:
            self.seen.append(json.loads(request.body))
        return self.change(request, found) if self.change else found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("gcp"))
    patch = pytest.MonkeyPatch()
    for name, value in made.environment.items():
        patch.setenv(name, value)
    yield made
    patch.undo()
    made.proxy.close()


@pytest.fixture
def bed(served: Served) -> Iterator[GcpBed]:
    served.bed.reset()
    served.seen.clear()
    for algorithm in kms.MADE:
        kms.add_version(served.bed.world, name(algorithm), algorithm)
    yield served.bed
    served.change = None


def name(algorithm: str) -> str:
    return f"{RING}/cryptoKeys/{algorithm.lower()}/cryptoKeyVersions/1"


P256 = name("EC_SIGN_P256_SHA256")


def uri(name: str) -> str:
    return f"gcpkms://{name}"


def opened(name: str = P256) -> ServiceSigner:
    return ServiceSigner(CloudKmsKey(uri(name), sleep=lambda seconds: None), ORIGIN)


def asked(bed: GcpBed) -> list[tuple[str, int]]:
    return [(call["path"].rpartition("/")[2], call["status"]) for call in bed.calls() if call["host"] == HOST]


@pytest.mark.parametrize(("algorithm", "kind"), KINDS.items())
def test_a_key_signs_and_only_what_it_signed_verifies(served: Served, bed: GcpBed, algorithm: str, kind: int) -> None:
    signer = open_named(uri(name(algorithm)), ORIGIN)
    assert isinstance(signer, ServiceSigner)
    assert (signer.where, signer.key.name, signer.key.algorithm) == (uri(name(algorithm)), ORIGIN, kind)
    for message in (b"a checkpoint", b"x" * 65_536):
        signature = signer.sign(message)
        assert signer.key.verifies(signature, message)
        assert not signer.key.verifies(signature, message + b"!")
    assert asked(bed) == [("publicKey", 200), ("1:asymmetricSign", 200), ("1:asymmetricSign", 200)]
    sent = {"data", "dataCrc32c"} if kind == note.ED25519 else {"digest", "digestCrc32c"}
    assert all(set(body) == sent for body in served.seen)
    assert bed.unserved() == []


def test_a_message_that_is_too_long_for_ed25519_is_refused_here(bed: GcpBed) -> None:
    signer = opened(name("EC_SIGN_ED25519"))
    with pytest.raises(ConfigError, match=r"no more than 65536 bytes with Ed25519, and this has 65537"):
        signer.sign(b"x" * 65_537)
    assert opened().key.verifies(opened().sign(b"x" * 65_537), b"x" * 65_537)


def test_a_key_of_the_wrong_algorithm_is_refused_when_it_is_opened(bed: GcpBed) -> None:
    with pytest.raises(ConfigError, match=r"its algorithm is RSA_SIGN_PKCS1_2048_SHA256; make a signing key"):
        opened(name("RSA_SIGN_PKCS1_2048_SHA256"))
    kms.add_version(bed.world, P256, "GOOGLE_SYMMETRIC_ENCRYPTION")
    with pytest.raises(ConfigError, match=r"cannot sign the ledger: FAILED_PRECONDITION"):
        opened()


@pytest.mark.parametrize(
    "text",
    [
        f"gcpkms://{RING}/cryptoKeys/log",
        f"gcpkms://{RING}/cryptoKeys/log/cryptoKeyVersions/latest",
        f"gcpkms://{RING}/cryptoKeys/../cryptoKeys/log/cryptoKeyVersions/1",
        f"gcpkms:///{RING}/cryptoKeys/log/cryptoKeyVersions/1",
        f"gcpkms://evil.example/{RING}/cryptoKeys/log/cryptoKeyVersions/1",
        "gcpkms://projects/p",
    ],
)
def test_what_is_no_version_of_a_key_is_refused_before_anybody_is_asked(bed: GcpBed, text: str) -> None:
    with pytest.raises(ConfigError, match="it is no version of a key; write gcpkms://projects"):
        open_named(text, ORIGIN)
    assert bed.calls() == []


def test_a_key_that_is_not_there_says_so(bed: GcpBed) -> None:
    with pytest.raises(ConfigError, match=r"there is no such key \(NOT_FOUND.*signer in \[collector\]"):
        opened(P256.replace("Versions/1", "Versions/2"))


@pytest.mark.parametrize(("permission", "opens"), [(kms.VIEW, False), (kms.SIGN, True)])
def test_a_denial_names_the_permission_and_the_role(bed: GcpBed, permission: str, opens: bool) -> None:
    signer = opened()
    bed.revoke(permission)
    with pytest.raises(Denied, match=rf"grant {permission} on .*; roles/cloudkms.signerVerifier on the key"):
        signer.sign(b"text") if opens else opened()
    bed.grant(permission)
    assert signer.key.verifies(signer.sign(b"text"), b"text")


def test_a_service_that_is_not_enabled_says_how_to_enable_it(bed: GcpBed) -> None:
    bed.revoke(f"api:{HOST}")
    with pytest.raises(Disabled, match=f"gcloud services enable {HOST}"):
        opened()


def test_a_disabled_version_says_how_to_enable_it(bed: GcpBed) -> None:
    signer = opened()
    bed.edit(id=P256, path="state", value="DISABLED")
    remedy = (
        "current state is: DISABLED.; enable it: gcloud kms keys versions enable 1 --key ec_sign_p256_sha256 "
        "--keyring evidence --location europe-west1 --project acme-prod"
    )
    with pytest.raises(Disabled, match=re.escape(remedy)):
        signer.sign(b"text")
    with pytest.raises(Disabled, match=re.escape(remedy)):
        opened()
    bed.edit(id=P256, path="state", value="ENABLED")
    assert signer.key.verifies(signer.sign(b"text"), b"text")


def test_a_busy_service_is_asked_again_and_then_given_up(bed: GcpBed) -> None:
    signer = opened()
    bed.fault("throttle", operation="asymmetricSign", times=2)
    assert signer.key.verifies(signer.sign(b"text"), b"text")
    bed.clear_calls()
    bed.fault("throttle", operation="asymmetricSign")
    with pytest.raises(Throttled, match=r"RESOURCE_EXHAUSTED.*the next checkpoint tries again"):
        signer.sign(b"text")
    assert [status for _, status in asked(bed)] == [429] * signing.ATTEMPTS_MAX


@pytest.mark.parametrize(
    ("kind", "error"),
    [("500", Unavailable), ("reset", Unavailable), ("html", Unreadable), ("truncate", Unavailable)],
)
def test_a_service_that_fails_signs_nothing(bed: GcpBed, kind: str, error: type[Exception]) -> None:
    signer = opened()
    bed.fault(kind, host=HOST)
    with pytest.raises(error, match=re.escape(uri(P256))):
        signer.sign(b"text")
    with pytest.raises(error, match=re.escape(uri(P256))):
        opened()


def test_a_token_that_was_taken_back_is_replaced(bed: GcpBed) -> None:
    signer = opened()
    bed.expire_tokens()
    assert signer.key.verifies(signer.sign(b"text"), b"text")


def test_no_credentials_are_a_denial(bed: GcpBed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
    with pytest.raises(Denied, match="no Google credentials"):
        opened()


def replied(found: Response, **changes: Any) -> Response:
    body = json.loads(found.body) | changes
    kept = {name: value for name, value in body.items() if value is not None}
    return replace(found, body=json.dumps(kept).encode())


def garbled(served: Served, times: int, of: str, **changes: Any) -> None:
    left = [times]

    def change(request: Request, found: Response) -> Response:
        if request.target.endswith(of) and left[0]:
            left[0] -= 1
            return replied(found, **changes)
        return found

    served.change = change


@pytest.mark.parametrize(
    "changes",
    [
        {"signatureCrc32c": "1"},
        {"signatureCrc32c": None},
        {"verifiedDigestCrc32c": False},
        {"verifiedDigestCrc32c": None},
        {"signature": "AAAA"},
        {"signature": None},
    ],
    ids=repr,
)
def test_what_did_not_arrive_whole_is_asked_for_again_and_then_given_up(
    served: Served, bed: GcpBed, changes: dict[str, Any]
) -> None:
    signer = opened()
    garbled(served, GARBLED_MAX - 1, ":asymmetricSign", **changes)
    assert signer.key.verifies(signer.sign(b"text"), b"text")
    garbled(served, GARBLED_MAX, ":asymmetricSign", **changes)
    with pytest.raises(Unavailable, match=rf"did not arrive whole.* {GARBLED_MAX} times; nothing was signed"):
        signer.sign(b"text")


def test_data_that_did_not_arrive_whole_is_found_too(served: Served, bed: GcpBed) -> None:
    signer = opened(name("EC_SIGN_ED25519"))
    garbled(served, GARBLED_MAX, ":asymmetricSign", verifiedDataCrc32c=False)
    with pytest.raises(Unavailable, match="the message did not arrive whole"):
        signer.sign(b"text")


def test_a_public_key_that_did_not_arrive_whole_is_found(served: Served, bed: GcpBed) -> None:
    garbled(served, GARBLED_MAX - 1, "/publicKey", pemCrc32c="1")
    assert opened().key.name == ORIGIN
    garbled(served, GARBLED_MAX, "/publicKey", pemCrc32c="1")
    with pytest.raises(Unavailable, match="pemCrc32c"):
        opened()
    garbled(served, 1, "/publicKey", algorithm="EC_SIGN_ED25519")
    with pytest.raises(Unreadable, match="it says EC_SIGN_ED25519, and gives a key of ECDSA over P-256"):
        opened()
    garbled(served, 1, "/publicKey", pem="nonsense", pemCrc32c=str(kms._crc32c(b"nonsense")))
    with pytest.raises(Unreadable, match="the public key is none"):
        opened()


def test_the_answer_of_another_key_is_never_given_out(served: Served, bed: GcpBed) -> None:
    signer = opened()
    other = P256.replace("Versions/1", "Versions/2")
    garbled(served, 1, ":asymmetricSign", name=other)
    with pytest.raises(Unreadable, match=f"is of the key {other}; nothing was signed"):
        signer.sign(b"text")
    garbled(served, 1, "/publicKey", name=other)
    with pytest.raises(Unreadable, match=f"is of the key {other}"):
        opened()
    bed.world.private.clear()  # as if the key behind the name were another one now
    with pytest.raises(Unreadable, match="does not fit its public key; nothing was signed"):
        signer.sign(b"text")


def test_the_simulated_service_looks_at_checksums(bed: GcpBed) -> None:
    """So that the tests above prove that right ones were sent."""
    principal = Principal(COLLECTOR, frozenset(("https://www.googleapis.com/auth/cloud-platform",)))
    token, _ = bed.issuer.issue(principal)
    headers = {"authorization": f"Bearer {token}"}
    body = json.dumps({"digest": {"sha256": "AAAA"}, "digestCrc32c": "1"}).encode()
    found = bed.handle(Request("POST", HOST, f"/v1/{P256}:asymmetricSign", headers, body))
    assert found.status == 400
    assert "did not match the data in field digest" in json.loads(found.body)["error"]["message"]
