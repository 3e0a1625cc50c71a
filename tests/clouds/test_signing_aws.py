"""A log key in AWS KMS, over TLS, as botocore asks: moto signs with P-256, ``collector/demo/kms.py`` does the rest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from collector.clouds import signing, signing_aws
from collector.clouds.signing import ECDSA_P256, ED25519
from collector.clouds.signing_aws import KmsKey
from collector.demo.cloud import SimulatedCloud
from collector.errors import ConfigError, Denied, Disabled, Throttled, Unavailable, Unreadable
from collector.ledger import note
from collector.ledger.note import VerifierKey
from collector.signers import ServiceSigner, open_named

ORIGIN = "ledger.example/acme"
REGION = "eu-west-1"
LONG = b"x" * 5000


@pytest.fixture(scope="module")
def kms(simulated_cloud: SimulatedCloud) -> Any:
    """An administrator's client, in the region of the keys."""
    return simulated_cloud.client("kms", REGION)


@pytest.fixture(scope="module")
def made(kms: Any) -> dict[str, str]:
    """ARNs of keys by their spec."""

    def key(spec: str, usage: str) -> str:
        found: str = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"]
        return found

    specs = {
        "ECC_NIST_P256": "SIGN_VERIFY",
        "ECC_NIST_EDWARDS25519": "SIGN_VERIFY",
        "ECC_NIST_P384": "SIGN_VERIFY",
        "ECC_SECG_P256K1": "SIGN_VERIFY",
        "RSA_2048": "SIGN_VERIFY",
        "SYMMETRIC_DEFAULT": "ENCRYPT_DECRYPT",
    }
    return {spec: key(spec, usage) for spec, usage in specs.items()}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "ATTEMPTS_MAX", 2)


@contextlib.contextmanager
def fault(cloud: SimulatedCloud, kind: str, operation: str, **more: Any) -> Iterator[None]:
    cloud.fault(kind, service="kms", operation=operation, label="signing", **more)
    try:
        yield
    finally:
        cloud.clear_faults("signing")


def uri(arn: str) -> str:
    return f"awskms:///{arn}"


def asked(cloud: SimulatedCloud, since: int) -> list[tuple[str, int]]:
    return [(call["operation"], call["status"]) for call in cloud.calls(since) if call["service"] == "kms"]


def last(cloud: SimulatedCloud) -> int:
    return max((call["seq"] for call in cloud.calls()), default=0)


@pytest.mark.parametrize(
    ("spec", "algorithm", "kind"),
    [("ECC_NIST_P256", ECDSA_P256, note.ECDSA_P256), ("ECC_NIST_EDWARDS25519", ED25519, note.ED25519)],
)
def test_a_key_signs_and_only_what_it_signed_verifies(
    simulated_cloud: SimulatedCloud, made: dict[str, str], spec: str, algorithm: str, kind: int
) -> None:
    since = last(simulated_cloud)
    signer = open_named(uri(made[spec]), ORIGIN)
    assert isinstance(signer, ServiceSigner)
    assert (signer.where, signer.key.name, signer.key.algorithm) == (uri(made[spec]), ORIGIN, kind)
    assert KmsKey(uri(made[spec])).public.algorithm == algorithm
    signature = signer.sign(b"a checkpoint")
    assert signer.key.verifies(signature, b"a checkpoint")
    assert not signer.key.verifies(signature, b"another")
    assert VerifierKey.parse(str(signer.key)) == signer.key
    assert open_named(uri(made[spec]), ORIGIN).key == signer.key
    assert {status for _, status in asked(simulated_cloud, since)} == {200}
    call = next(call for call in reversed(simulated_cloud.calls(since)) if call["operation"] == "Sign")
    assert '"MessageType":"RAW"' in call["params"]


def test_a_long_message_is_signed_by_its_digest_where_that_is_the_same(
    simulated_cloud: SimulatedCloud, made: dict[str, str]
) -> None:
    signer = open_named(uri(made["ECC_NIST_P256"]), ORIGIN)
    for message in (b"x", b"x" * 4096, b"x" * 4097, LONG):
        assert signer.key.verifies(signer.sign(message), message)
    since = last(simulated_cloud)
    signer.sign(LONG)
    assert '"MessageType":"DIGEST"' in simulated_cloud.calls(since)[-1]["params"]
    ed25519 = open_named(uri(made["ECC_NIST_EDWARDS25519"]), ORIGIN)
    assert ed25519.key.verifies(ed25519.sign(b"x" * 4096), b"x" * 4096)
    with pytest.raises(ConfigError, match=r"no more than 4096 bytes with Ed25519, and this has 5000; rotate to .*P256"):
        ed25519.sign(LONG)


@pytest.mark.parametrize("spec", ["ECC_NIST_P384", "ECC_SECG_P256K1", "RSA_2048", "SYMMETRIC_DEFAULT"])
def test_a_key_of_the_wrong_spec_is_refused_when_it_is_opened(made: dict[str, str], spec: str) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot sign the ledger: .* make a signing key of Ed25519 or ECDSA over P-256"
    ):
        open_named(uri(made[spec]), ORIGIN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("awskms:///alias/log", "alias can be turned"),
        ("awskms:///arn:aws:kms:eu-west-1:123456789012:alias/log", "alias can be turned"),
        ("awskms:///arn:aws:kms:eu-west-1:123456789012:key/", "no key's ARN"),
        ("awskms://kms.evil.example/arn:aws:kms:eu-west-1:123456789012:key/1", "no key's ARN"),
        ("awskms:///arn:aws:s3:eu-west-1:123456789012:key/1", "no key's ARN"),
        ("awskms:///", "no key's ARN"),
    ],
)
def test_what_is_no_key_is_refused_before_anybody_is_asked(
    simulated_cloud: SimulatedCloud, text: str, words: str
) -> None:
    since = last(simulated_cloud)
    with pytest.raises(ConfigError, match=words):
        open_named(text, ORIGIN)
    assert asked(simulated_cloud, since) == []


def test_a_key_that_is_not_there_says_so(simulated_cloud: SimulatedCloud, made: dict[str, str]) -> None:
    arn = made["ECC_NIST_P256"].rpartition("/")[0] + "/00000000-0000-0000-0000-000000000000"
    with pytest.raises(ConfigError, match=r"there is no such key \(NotFoundException.*signer in \[collector\]"):
        open_named(uri(arn), ORIGIN)


@pytest.mark.parametrize("operation", ["GetPublicKey", "Sign"])
def test_a_denial_names_the_permission(simulated_cloud: SimulatedCloud, made: dict[str, str], operation: str) -> None:
    arn = made["ECC_NIST_P256"]
    signer = open_named(uri(arn), ORIGIN)
    with fault(simulated_cloud, "denied", operation), pytest.raises(Denied) as refused:
        signer.sign(b"text") if operation == "Sign" else open_named(uri(arn), ORIGIN)
    assert f"allow kms:{operation} on the key" in str(refused.value)
    assert arn in str(refused.value)


def test_expired_credentials_are_a_denial(simulated_cloud: SimulatedCloud, made: dict[str, str]) -> None:
    with fault(simulated_cloud, "expired", "GetPublicKey"), pytest.raises(Denied, match="ExpiredToken"):
        open_named(uri(made["ECC_NIST_P256"]), ORIGIN)


def test_no_credentials_are_a_denial(
    simulated_cloud: SimulatedCloud, made: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(Denied, match="no AWS credentials; set AWS_PROFILE"):
        open_named(uri(made["ECC_NIST_P256"]), ORIGIN)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigError, match=r"nobody.*could not be found"):
        open_named(uri(made["ECC_NIST_P256"]), ORIGIN)


def test_a_busy_service_is_asked_again_and_then_given_up(simulated_cloud: SimulatedCloud, made: dict[str, str]) -> None:
    signer = open_named(uri(made["ECC_NIST_P256"]), ORIGIN)
    since = last(simulated_cloud)
    with fault(simulated_cloud, "throttle", "Sign", times=1):
        assert signer.key.verifies(signer.sign(b"text"), b"text")
    assert [status >= 400 for _, status in asked(simulated_cloud, since)] == [True, False]
    with (
        fault(simulated_cloud, "throttle", "Sign"),
        pytest.raises(Throttled, match=r"next checkpoint tries again, or raise the quota"),
    ):
        signer.sign(b"text")


@pytest.mark.parametrize(
    ("kind", "error"), [("500", Unavailable), ("reset", Unavailable), ("html", Unreadable), ("truncate", Unreadable)]
)
def test_a_service_that_fails_signs_nothing(
    simulated_cloud: SimulatedCloud, made: dict[str, str], kind: str, error: type[Exception]
) -> None:
    signer = open_named(uri(made["ECC_NIST_P256"]), ORIGIN)
    with fault(simulated_cloud, kind, ".*"):
        with pytest.raises(error, match=made["ECC_NIST_P256"]):
            signer.sign(b"text")
        with pytest.raises(error, match=made["ECC_NIST_P256"]):
            open_named(uri(made["ECC_NIST_P256"]), ORIGIN)


def test_a_disabled_key_and_one_that_is_to_be_deleted_say_how_to_get_them_back(kms: Any) -> None:
    arn = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    signer = open_named(uri(arn), ORIGIN)
    id = arn.rpartition("/")[2]  # moto knows no other name here
    kms.disable_key(KeyId=id)
    with pytest.raises(Disabled, match=rf"is disabled\.; aws kms enable-key --key-id {arn}"):
        signer.sign(b"text")
    kms.enable_key(KeyId=id)
    assert signer.key.verifies(signer.sign(b"text"), b"text")
    kms.schedule_key_deletion(KeyId=id, PendingWindowInDays=30)
    with pytest.raises(Disabled, match=rf"aws kms cancel-key-deletion --key-id {arn}"):
        signer.sign(b"text")


def test_a_signature_of_another_key_is_never_given_out(made: dict[str, str], kms: Any) -> None:
    """As if the service, or who stands between, had signed with something else."""
    other = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    key = KmsKey(uri(made["ECC_NIST_P256"]))
    stranger = KmsKey(uri(other))
    signer = ServiceSigner(key, ORIGIN)
    key._client = stranger._client
    key._arn = other
    with pytest.raises(Unreadable, match=r"does not fit its public key; nothing was signed"):
        signer.sign(b"text")
    key._arn = made["ECC_NIST_P256"]
    key._client = _Renamed(key._client, other)
    with pytest.raises(Unreadable, match=rf"is of the key {other}; nothing was signed"):
        signer.sign(b"text")


class _Renamed:
    """A client whose answers are of another key."""

    def __init__(self, client: Any, arn: str) -> None:
        self._client, self._arn = client, arn

    def sign(self, **request: Any) -> dict[str, Any]:
        return {**self._client.sign(**request), "KeyId": self._arn}


def test_the_uri_keeps_partitions_and_multi_region_keys() -> None:
    for arn in (
        "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab",
    ):
        found = signing_aws.URI.fullmatch(uri(arn))
        assert found is not None
        assert found["arn"] == arn
