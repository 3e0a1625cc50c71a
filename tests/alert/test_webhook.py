"""Signed JSON over real HTTP on loopback, to a receiver that verifies it."""

import json
import re
import socket
import ssl
import threading

import pytest

from collector.alert.message import DeliveryFailed
from collector.alert.webhook import MEMBERS, SOMETIMES, Webhook, payload, sign, verify
from tests.support import receivers

SECRET = b"a secret of more than sixteen bytes"


def failure(channel, alert):
    with pytest.raises(DeliveryFailed) as caught:
        channel.send(alert)
    assert "secret-path" not in caught.value.detail
    assert "token" not in caught.value.detail
    assert caught.value.__cause__ is None
    return caught.value


def test_a_receiver_gets_signed_json_it_can_verify(webhook, receiver, alert, clock):
    assert webhook.send(alert) == "HTTP 200"
    (got,) = receiver.requests
    assert got.genuine
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Idempotency-Key"] == f"{alert['key']}:trigger:7"
    assert re.fullmatch(rf"t={int(clock.unix())},v1=[0-9a-f]{{64}}", got.headers["X-Collector-Signature"])
    assert got.headers["User-Agent"].startswith("evidence-collector/")
    assert set(got.data) == {*MEMBERS, "version", "summary", "alert"} | {n for n in SOMETIMES if n in alert}
    assert got.data["version"] == 1
    assert got.data["alert"] == 7
    assert got.data["summary"] == f"Failed: MFA-2: {alert['subject']} has a console password and no MFA"
    for name in MEMBERS:
        assert got.data[name] == alert[name]


def test_nothing_but_the_named_members_leaves_the_ledger(alert):
    assert "answer" not in json.dumps(payload({**alert, "answer": {"secret": 1}}))


def test_what_only_some_alerts_have_is_there_where_they_have_it():
    group = receivers.grouped()
    found = payload(group)
    assert {name: found[name] for name in SOMETIMES if name in found} == {
        name: group[name] for name in SOMETIMES if name in group
    }
    assert {"severity", "link", "facts", "changed_by", "subjects", "count", "list", "flaps"} <= found.keys()
    assert "channels" not in found


def test_a_receiver_with_another_secret_refuses(receiver, alert, clock):
    error = failure(Webhook(receiver.url, b"another secret, as long", timeout=5, clock=clock.unix), alert)
    assert error.detail == "HTTP 401"
    assert error.retry  # the secret can be mended within a day


def test_the_same_alert_again_has_the_same_idempotency_key_and_a_later_trigger_another(webhook, receiver, alert, clock):
    webhook.send(alert)
    clock.pass_(seconds=90)
    webhook.send(alert)
    webhook.send({**alert, "seq": 99})
    first, again, later = (request.headers["Idempotency-Key"] for request in receiver.requests)
    assert first == again
    assert later != first
    assert receiver.requests[0].body == receiver.requests[1].body
    assert all(request.genuine for request in receiver.requests)


@pytest.mark.parametrize(
    ("status", "retry"),
    [(400, False), (401, True), (404, True), (410, False), (422, False), (429, True), (500, True), (503, True)],
)
def test_a_refusal_says_whether_it_is_worth_another_try(webhook, receiver, alert, status, retry):
    receiver.statuses = [status]
    error = failure(webhook, alert)
    assert (error.detail, error.retry) == (f"HTTP {status}", retry)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(webhook, receiver, alert, status):
    receiver.statuses = [status]
    error = failure(webhook, alert)
    assert "redirects are not followed" in error.detail
    assert error.retry
    assert len(receiver.requests) == 1


def test_any_2xx_is_delivered(webhook, receiver, alert):
    receiver.statuses = [202, 204]
    assert webhook.send(alert) == "HTTP 202"
    assert webhook.send(alert) == "HTTP 204"


def test_a_receiver_that_does_not_answer_is_left(receiver, alert, clock):
    receiver.stall = True
    error = failure(Webhook(receiver.url, SECRET, timeout=0.2, clock=clock.unix), alert)
    assert (error.detail, error.retry) == ("the receiver did not answer in time", True)


def test_a_receiver_that_is_not_there_is_said_so(alert):
    with socket.socket() as taken:  # bound and not listening: a connection is refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/secret-path"
        error = failure(Webhook(url, SECRET, timeout=5), alert)
    assert error.detail == "no answer from the receiver: ConnectionRefusedError"
    assert error.retry


def test_a_receiver_that_speaks_no_http_is_no_delivery(alert):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def talk():
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"SSH-2.0-secret-path\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        error = failure(Webhook(f"http://127.0.0.1:{port}/secret-path", SECRET, timeout=5), alert)
        thread.join()
    assert error.retry


# --- TLS ---


def test_a_certificate_that_does_not_verify_stops_the_alert(receiver, alert, certificate, clock):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    receiver.server.socket = server.wrap_socket(receiver.server.socket, server_side=True)
    url = receiver.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
    error = failure(Webhook(url, SECRET, timeout=5, clock=clock.unix), alert)
    assert error.detail.startswith("the receiver's certificate does not verify")
    assert not receiver.requests
    trusting = ssl.create_default_context(cafile=certificate)
    assert Webhook(url, SECRET, timeout=5, clock=clock.unix, tls=trusting).send(alert) == "HTTP 200"
    other_name = url.replace("localhost", "127.0.0.1")
    assert (
        "certificate" in failure(Webhook(other_name, SECRET, timeout=5, clock=clock.unix, tls=trusting), alert).detail
    )


# --- the signature ---

BODY = b'{"a": 1}'
SIGNED = sign(SECRET, 1_700_000_000, BODY)


def test_the_signature_is_the_one_that_is_documented():
    # openssl dgst -sha256 -hmac "key-key-key-key-key" over "1700000000.{}"
    assert sign(b"key-key-key-key-key", 1_700_000_000, b"{}") == (
        "t=1700000000,v1=bd660855eaa867cafda92453576ae868b6815e295348d552ef353660806e0ddb"
    )


def test_a_genuine_signature_verifies_within_its_tolerance():
    assert verify(SECRET, SIGNED, BODY, 1_700_000_000)
    assert verify(SECRET, SIGNED, BODY, 1_700_000_300)
    assert verify(SECRET, SIGNED, BODY, 1_699_999_700)
    assert verify(SECRET, SIGNED.replace(",v1=", f",v1={'0' * 64},v1="), BODY, 1_700_000_000)
    assert not verify(SECRET, SIGNED, BODY, 1_700_000_301)
    assert not verify(SECRET, SIGNED, BODY, 1_699_999_699)
    assert not verify(SECRET, SIGNED, BODY)  # measured against the clock of today


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1700000000",
        SIGNED.replace("t=1700000000", "t=1700000001"),
        SIGNED.replace("v1=", "v0="),
        SIGNED.replace("t=1700000000,", ""),
        f"t=1700000000,{SIGNED}",
        SIGNED.replace("t=1700000000", "t=-1700000000"),
        SIGNED.replace("t=1700000000", "t=¹700000000"),
        SIGNED[:-1],
        SIGNED + "0",
        "t=1700000000,v1=é",
    ],
)
def test_anything_else_does_not(header):
    assert not verify(SECRET, header, BODY, 1_700_000_000)


def test_another_body_or_secret_does_not_verify():
    assert not verify(SECRET, SIGNED, BODY + b" ", 1_700_000_000)
    assert not verify(SECRET + b"x", SIGNED, BODY, 1_700_000_000)
