"""Whatever else signs in: anchors, key services, queues of the change feed and the topic of alerts.

The cloud lets the collector sign in, and then refuses with a quotation of all that it was sent.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from collector import hush
from collector.alert.message import DeliveryFailed
from collector.alert.sns import Sns
from collector.anchor.azure_blob import AzureBlobAnchor
from collector.anchor.gcs import GcsAnchor
from collector.anchor.s3 import S3Anchor
from collector.anchor.tsa import Tsa
from collector.anchor.witness import WitnessAnchor
from collector.clouds.feed_aws import SqsQueue
from collector.clouds.feed_azure import StorageQueue
from collector.clouds.feed_gcp import Subscription
from collector.config_places import AzureBlobPlace, GcsPlace, S3Place, TsaPlace, WitnessPlace
from collector.demo.azure.world import TENANT
from collector.demo.tsa import SimulatedTsa
from collector.errors import CollectorError
from collector.signers import open_named
from collector.witness.keeper import Keeper
from tests.secrets.conftest import Receiver
from tests.secrets.echoing import AWS, AWS_KEY, ROLE, Wire, door, telling
from tests.secrets.planting import NOW, secret
from tests.secrets.searching import all_leaks
from tests.support import receivers

KEY = f"arn:aws:kms:us-east-1:{AWS}:key/11111111-2222-4333-8444-555555555555"
LOG = "test.local/places"


def _s3(**place: str) -> S3Anchor:
    return S3Anchor("vault", S3Place.model_validate({"bucket": "acme", "region": "us-east-1", **place}))


def _azure(**place: str) -> AzureBlobAnchor:
    container = "https://acme.blob.core.windows.net/checkpoints"
    settings = {"container": container, "tenant": TENANT, "credential": "environment", **place}
    return AzureBlobAnchor("vault", AzureBlobPlace.model_validate(settings), sleep=lambda _: None)


def _gcs() -> GcsAnchor:
    return GcsAnchor("vault", GcsPlace.model_validate({"bucket": "acme"}), sleep=lambda _: None)


ASKED: dict[str, Callable[[], object]] = {
    "an anchor in S3": lambda: _s3().test(),
    "an anchor in S3 by a role": lambda: _s3(role_arn=ROLE).test(),
    "an anchor in Azure": lambda: _azure().test(),
    "an anchor in Cloud Storage": lambda: _gcs().test(),
    "a key in AWS KMS": lambda: open_named(f"awskms:///{KEY}", LOG),
    "a key in AWS KMS by a token in a file": lambda: open_named(f"awskms:///{KEY}", LOG),
    "a key in Key Vault": lambda: open_named("azurekv://acme.vault.azure.net/keys/log/" + "0123456789abcdef" * 2, LOG),
    "a key in Cloud KMS": lambda: open_named(
        "gcpkms://projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1", LOG
    ),
    "a queue of SQS": lambda: SqsQueue(
        f"https://sqs.us-east-1.amazonaws.com/{AWS}/q", "us-east-1", role_arn=ROLE
    ).receive(0),
    "a queue of Azure": lambda: StorageQueue("https://acme.queue.core.windows.net/changes", tenant=TENANT).receive(0),
    "a subscription of Google": lambda: Subscription("projects/acme-audit/subscriptions/changes").receive(0),
    "a topic of SNS": lambda: Sns(f"arn:aws:sns:us-east-1:{AWS}:alerts", role_arn=ROLE, timeout=5).send(
        receivers.alert()
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_place_that_quotes_what_it_was_sent_is_not_quoted(
    name: str, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    environ = {**wire.azure.credentials(tmp_path), **wire.gcp.credentials(tmp_path), "AWS_ACCESS_KEY_ID": AWS_KEY}
    environ |= {"AWS_SECRET_ACCESS_KEY": secret("aws-key"), "AWS_SESSION_TOKEN": secret("aws-session")}
    if "in a file" in name:
        (tmp_path / "web").write_text(wire.azure.issuer.federated_token())
        environ = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "web"), "AWS_ROLE_ARN": ROLE}
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    hush.hold_environment(os.environ)
    wire.note("never sent", secret("aws-key"))
    wire.echoes = lambda request: not door(request) and not request.target.endswith("openid-configuration")
    with pytest.raises((CollectorError, DeliveryFailed)) as caught:
        ASKED[name]()
    words = f"{caught.value} {caught.value.args}"
    try:
        raise RuntimeError("a checkpoint was not anchored") from caught.value
    except RuntimeError:
        structlog.get_logger("test").exception("trouble")
    assert any(value.encode() in echo for echo in wire.echoed for value in wire.secrets)
    found = all_leaks({"words": words.encode(), "log": log.getvalue().encode()}, _words(wire))
    assert not found, "\n".join(found[:10])


def _words(wire: Wire) -> set[str]:
    return {word for value in wire.secrets for word in telling(value)}


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 429, 500])
def test_the_key_in_the_address_of_an_authority_is_told_to_nobody_else(
    status: int, receiver: Receiver, tmp_path: Path, log: io.StringIO
) -> None:
    """Authorities that ask for a key take it in the query; whoever answers quotes it or sends it on."""
    authority = SimulatedTsa(lambda: NOW)
    (tmp_path / "roots.pem").write_bytes(authority.root_pem)
    authority.close()
    receiver.status = status
    place = {"url": f"{receiver.base}/stamp?key={secret('tsa')}", "roots": tmp_path / "roots.pem"}
    with pytest.raises(CollectorError) as caught:
        Tsa("t", TsaPlace.model_validate(place)).test()
    assert [secret("tsa") in heard.path for heard in receiver.heard] == [True]
    out = {"words": str(caught.value).encode(), "log": log.getvalue().encode()}
    assert not all_leaks({**out, "sent": b"".join(heard.headers.encode() + heard.body for heard in receiver.heard)})


@pytest.mark.parametrize("status", [200, 302, 403, 404, 409, 500])
def test_a_witness_hears_of_tree_heads_alone(
    status: int, receiver: Receiver, tmp_path: Path, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret("aws-key"))
    hush.hold_environment(os.environ)
    keeper = Keeper.begin(tmp_path / "witness", "audit.local/witness", lambda: int(NOW.timestamp()))
    vkey = str(keeper.key)
    keeper.close()
    receiver.status = status
    anchor = WitnessAnchor("w", WitnessPlace.model_validate({"url": receiver.base, "vkey": vkey}), LOG)
    words = ""
    try:
        anchor.test()
        anchor.latest()
    except CollectorError as error:
        words = str(error)
    assert receiver.heard
    sent = b"".join(heard.path.encode() + heard.headers.encode() + heard.body for heard in receiver.heard)
    assert not all_leaks({"words": words.encode(), "log": log.getvalue().encode(), "sent": sent})
