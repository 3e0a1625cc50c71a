"""Receivers of alerts and of the heartbeat that refuse, quote, redirect or say nothing: the secret stays between two.

It goes to its own receiver, where its protocol puts it (a path, a header, a signature), and nowhere else.
"""

from __future__ import annotations

import base64
import io
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from collector import hush
from collector.alert.alertmanager import Alertmanager
from collector.alert.apprise import Apprise
from collector.alert.email import Email
from collector.alert.message import DeliveryFailed
from collector.alert.pagerduty import PagerDuty
from collector.alert.slack import Slack
from collector.alert.teams import Teams
from collector.alert.webhook import Webhook
from collector.beating import Outside
from tests.secrets.conftest import Receiver
from tests.secrets.planting import MARK, TAIL, secret
from tests.secrets.searching import all_leaks
from tests.support import receivers

PAGER = (MARK + TAIL * 2)[:32]
BEAT = {"event": "beat", "collector": "0.1.0", "uptime_s": 1, "every_s": 60, "seq": 1, "at": receivers.AT}
BASIC = base64.b64encode(f"ada:{secret('alertmanager')}".encode()).decode()

Send = Callable[[str], object]


def _told(channel: Any) -> None:
    for alert in (receivers.alert(), receivers.alert(event="resolve"), receivers.digest()):
        try:
            channel.send(alert)
        except DeliveryFailed as error:
            failed.append(error)


failed: list[DeliveryFailed] = []

# Each with where its secret belongs: in the path, in a header, or in the body.
CHANNELS: dict[str, tuple[Callable[[str], Any], str]] = {
    "webhook": (lambda base: Webhook(f"{base}/in", secret("webhook").encode(), timeout=1), "nowhere"),
    "PagerDuty": (lambda base: PagerDuty(PAGER, url=f"{base}/v2/enqueue", timeout=1), "body"),
    "Slack": (lambda base: Slack(f"{base}/services/T0/B0/{secret('slack')}", timeout=1), "path"),
    "Teams": (lambda base: Teams(f"{base}/workflows/x?sig={secret('teams')}", timeout=1), "path"),
    "Alertmanager with a password": (
        lambda base: Alertmanager(base, origin="o", hold=60, authorization=f"Basic {BASIC}", timeout=1),
        "headers",
    ),
    "Alertmanager with a token": (
        lambda base: Alertmanager(base, origin="o", hold=60, authorization=f"Bearer {secret('token')}", timeout=1),
        "headers",
    ),
    "Apprise": (
        lambda base: Apprise(f"json://ada:{secret('apprise')}@{base.removeprefix('http://')}/x", timeout=1),
        "headers",
    ),
}


@pytest.mark.parametrize("status", [200, 302, 401, 404, 500])
@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_shows_its_secret_to_its_own_receiver_alone(
    name: str, status: int, receiver: Receiver, log: io.StringIO
) -> None:
    make, place = CHANNELS[name]
    receiver.status = status
    failed.clear()
    _told(make(receiver.base))
    assert receiver.heard
    sent = {
        part: b"\n".join(
            value.encode() if isinstance(value := getattr(heard, part), str) else value for heard in receiver.heard
        )
        for part in ("path", "headers", "body")
    }
    if place != "nowhere":  # it really is sent
        assert all_leaks({place: sent.pop(place)}) or place == "body"
    if status != 200:
        assert failed
    words = "\n".join(f"{error} {error.detail} {error.args}" for error in failed).encode()
    assert not all_leaks({**sent, "words": words, "log": log.getvalue().encode()})


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_that_nobody_answers_does_not_say_its_address(name: str, log: io.StringIO) -> None:
    make, _ = CHANNELS[name]
    failed.clear()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and says nothing
        for base in ("http://127.0.0.1:1", f"http://127.0.0.1:{silent.getsockname()[1]}", "http://127.0.0.1:99999"):
            try:
                make(base).send(receivers.alert())
            except DeliveryFailed as error:
                failed.append(error)
                structlog.get_logger("test").exception("channel")
            except Exception:
                structlog.get_logger("test").exception("channel")
    assert failed
    words = "\n".join(f"{error} {error.detail} {error.args}" for error in failed).encode()
    assert not all_leaks({"words": words, "log": log.getvalue().encode()})


@pytest.mark.parametrize("status", [204, 302, 404, 500, 0])
def test_the_address_of_the_heartbeat_is_said_nowhere(status: int, receiver: Receiver, log: io.StringIO) -> None:
    receiver.status = status
    base = receiver.base if status else "http://127.0.0.1:1"
    words = ""
    try:
        Outside(f"{base}/ping/{secret('heartbeat')}", timeout=1).tell(BEAT)
    except DeliveryFailed as error:
        words = f"{error} {error.args}"
        structlog.get_logger("test").exception("nobody heard the heartbeat")
    assert bool(words) == (status != 204)
    sent = b"".join(heard.headers.encode() + heard.body for heard in receiver.heard)
    assert [secret("heartbeat") in heard.path for heard in receiver.heard] == [True] * bool(status)
    assert not all_leaks({"words": words.encode(), "log": log.getvalue().encode(), "sent": sent})


class Mailbox:
    """A mail server that quotes the password when it refuses a login, and keeps what it is sent."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.passwords: list[bytes] = []
        self.takes = True

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(envelope.content)
        return "250 OK" if self.takes else f"554 no, {secret('smtp')}"

    def __call__(self, server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.passwords.append(data.password)
        good = data.password == secret("smtp").encode()
        return AuthResult(success=good, handled=False, message=f"535 no such password: {data.password.decode()}")


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    box = Mailbox()
    options = {"authenticator": box, "auth_required": True, "auth_require_tls": False, "server_hostname": "mail.test"}
    controller = Controller(box, hostname="127.0.0.1", port=port, **options)
    controller.start()
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # the server's own, which no collector has
    yield box, port
    controller.stop()
    logging.getLogger("mail.log").setLevel(logging.NOTSET)


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
@pytest.mark.parametrize("how", ["taken", "another password", "not taken"])
def test_a_mail_server_that_quotes_the_password_is_not_quoted(
    how: str, mailbox: tuple[Mailbox, int], log: io.StringIO
) -> None:
    box, port = mailbox
    box.takes = how != "not taken"
    password = secret("wrong" if how == "another password" else "smtp")
    hush.hold(password)
    names = {"sender": "a@acme.example", "to": ["b@acme.example"], "username": "ada", "domain": "acme.example"}
    channel = Email("127.0.0.1", port, password=password, tls="none", timeout=5, **names)  # type: ignore[arg-type]
    words = ""
    try:
        words = channel.send(receivers.alert())
    except DeliveryFailed as error:
        words = f"{error} {error.detail}"
        structlog.get_logger("test").exception("channel")
    assert box.passwords == [password.encode()] * len(box.passwords) != []
    assert bool(box.mails) == (how != "another password")
    out = {"words": words.encode(), "log": log.getvalue().encode(), "mail": b"".join(box.mails)}
    assert not all_leaks(out)
