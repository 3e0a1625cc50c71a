"""A mailbox as a place: the exact note arrives at a real mail server, and every way that it does not is said."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from collector.anchor.email import MailAnchor
from collector.config_alerts import Email
from collector.errors import ConfigError, Denied, Unavailable
from collector.ledger.note import Note, TreeHead
from tests.anchor.conftest import KEY, Clock, certificate, checkpoint, no_proof

ENVIRON = {"MAIL_PASSWORD": "pass phrase"}
TO = ["auditor@example.org", "parent@example.net"]


class Mailbox:
    """A mail server's memory; ``refused`` and ``data_answer`` say what it does not take."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.asked: list[str] = []
        self.refused: dict[str, str] = {}
        self.sender_answer = "250 OK"
        self.data_answer = "250 OK"
        self.logins: list[LoginPassword] = []
        self.dropped = 0  # messages that were begun and taken back

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        envelope.mail_from = address
        return self.sender_answer

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        self.asked.append(address)
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_RSET(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.dropped += 1
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.data_answer.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return self.data_answer

    def __call__(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append(data)
        return AuthResult(success=data == LoginPassword(b"collector", b"pass phrase"), handled=False)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def serve(mailbox: Mailbox) -> Iterator[Callable[..., int]]:
    running = []

    def serve(**options: Any) -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        controller = Controller(mailbox, hostname="127.0.0.1", port=port, server_hostname="mail.test", **options)
        controller.start()
        running.append(controller)
        return port

    yield serve
    for controller in running:
        controller.stop()


def anchor(port: int, clock: Clock, context: ssl.SSLContext | None = None, **changes: Any) -> MailAnchor:
    settings = {"host": "localhost", "port": port, "from": "collector@example.com", "to": TO, "tls": "none", **changes}
    return MailAnchor(
        "auditor", Email.model_validate(settings), ENVIRON, "evidence.example.com", clock=clock, context=context
    )


def test_the_exact_note_arrives(serve: Callable[..., int], mailbox: Mailbox, clock: Clock) -> None:
    note, head = checkpoint()
    place = anchor(serve(), clock)
    anchored = place.put(note, head, no_proof)
    (mail,) = mailbox.mails
    assert mail["Subject"] == "[collector] Checkpoint of evidence.example.com/test over 592 entries"
    assert (mail["From"], mail["To"]) == ("collector@example.com", "auditor@example.org, parent@example.net")
    assert mail["Date"] == "Sun, 01 Mar 2026 12:00:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    (attached,) = mail.iter_attachments()
    assert attached.get_filename() == "00000000000000000592.note"
    assert attached.get_content() == note
    Note.parse(attached.get_content().decode()).verify([KEY])
    body = mail.get_body()
    assert body is not None
    assert body.get_content_type() == "text/plain"
    words = body.get_content()
    for said in ("evidence.example.com/test", "592 entries", sha256(note).hexdigest(), "00000000000000000592.note"):
        assert said in words
    assert note.decode() in words.replace("\r\n", "\n")
    assert max(map(len, words.splitlines())) < 200
    assert place.id == "email/auditor"
    assert place.latest() is None
    assert (anchored.suffix, anchored.time, anchored.where) == ("json", None, mail["Message-ID"].strip())
    receipt = {
        "type": "email",
        "message_id": anchored.where,
        "sha256": sha256(note).hexdigest(),
        "taken": 2,
        "refused": [],
    }
    assert anchored.token == json.dumps(receipt, sort_keys=True, separators=(",", ":")).encode()


def test_the_same_checkpoint_is_the_same_message(clock: Clock) -> None:
    place = anchor(1, clock)

    def id_of(size: int = 592, root: bytes = b"\7" * 32) -> str:
        return str(place.message(*checkpoint(size, root))["Message-ID"])

    assert id_of() == id_of()
    assert len({id_of(), id_of(593), id_of(root=b"\x08" * 32)}) == 3
    assert id_of().endswith("@evidence.example.com>")


def test_a_trial_asks_for_every_address_and_sends_nothing(
    serve: Callable[..., int], mailbox: Mailbox, clock: Clock
) -> None:
    place = anchor(serve(), clock)
    place.test()
    assert mailbox.asked == TO
    assert (mailbox.mails, mailbox.dropped) == ([], 1)
    place.put(*checkpoint(), no_proof)
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(("answer", "code"), [("550 no such user auditor@example.org", 550), ("451 later", 451)])
def test_a_trial_notices_one_refused_address(
    serve: Callable[..., int], mailbox: Mailbox, clock: Clock, answer: str, code: int
) -> None:
    mailbox.refused = {TO[0]: answer}
    with pytest.raises(Denied, match=f"1 of 2 addresses are refused: SMTP {code}; see the") as caught:
        anchor(serve(), clock).test()
    assert "auditor@" not in str(caught.value)


def test_taken_for_one_is_held_by_one(serve: Callable[..., int], mailbox: Mailbox, clock: Clock) -> None:
    mailbox.refused = {TO[0]: "550 no such user"}
    receipt = json.loads(anchor(serve(), clock).put(*checkpoint(), no_proof).token)
    assert (receipt["taken"], receipt["refused"]) == (1, [550])


def test_taken_for_none_is_held_by_nobody(serve: Callable[..., int], mailbox: Mailbox, clock: Clock) -> None:
    mailbox.refused = dict.fromkeys(TO, "550 no such user")
    with pytest.raises(Denied, match="every recipient was refused: SMTP 550"):
        anchor(serve(), clock).put(*checkpoint(), no_proof)
    assert mailbox.mails == []


@pytest.mark.parametrize("answer", ["554 looks like spam", "452 disk full"])
def test_a_refused_message(serve: Callable[..., int], mailbox: Mailbox, clock: Clock, answer: str) -> None:
    mailbox.data_answer = answer
    place = anchor(serve(), clock)
    place.test()
    with pytest.raises(Denied, match=f"the message was refused: SMTP {answer[:3]}"):
        place.put(*checkpoint(), no_proof)


def test_a_refused_sender(serve: Callable[..., int], mailbox: Mailbox, clock: Clock) -> None:
    mailbox.sender_answer = "553 not from you"
    place = anchor(serve(), clock)
    for call in (place.test, lambda: place.put(*checkpoint(), no_proof)):
        with pytest.raises(Denied, match="SMTPSenderRefused: SMTP 553"):
            call()


def test_no_server_and_a_silent_server(clock: Clock) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = anchor(taken.getsockname()[1], clock)
        for call in (place.test, lambda: place.put(*checkpoint(), no_proof)):
            with pytest.raises(Unavailable, match="no answer from the mail server: ConnectionRefusedError"):
                call()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = anchor(silent.getsockname()[1], clock, timeout="1s")
        with pytest.raises(Unavailable, match="no answer from the mail server"):
            place.put(*checkpoint(), no_proof)


def test_a_login_over_tls(serve: Callable[..., int], mailbox: Mailbox, clock: Clock, tmp_path: Path) -> None:
    pem = certificate(tmp_path / "localhost.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    port = serve(tls_context=server, require_starttls=True, authenticator=mailbox, auth_required=True)
    login = {"tls": "starttls", "username": "collector", "password_env": "MAIL_PASSWORD"}
    for call in (anchor(port, clock, **login).test, lambda: anchor(port, clock, **login).put(*checkpoint(), no_proof)):
        with pytest.raises(Unavailable, match="certificate does not verify"):
            call()
    assert mailbox.logins == []
    place = anchor(port, clock, ssl.create_default_context(cafile=pem), **login)
    place.test()
    place.put(*checkpoint(), no_proof)
    assert mailbox.logins == [LoginPassword(b"collector", b"pass phrase")] * 2
    assert len(mailbox.mails) == 1
    other = {"MAIL_PASSWORD": "pass phrasE"}
    settings = Email.model_validate({"host": "localhost", "port": port, "from": "a@b.c", "to": TO, **login})
    wrong = MailAnchor("auditor", settings, other, "d", context=ssl.create_default_context(cafile=pem))
    with pytest.raises(Denied, match="SMTPAuthenticationError: SMTP 535") as caught:
        wrong.test()
    assert "phras" not in str(caught.value)


def test_a_password_that_is_not_there(clock: Clock) -> None:
    with pytest.raises(ConfigError, match="NOWHERE"):
        anchor(25, clock, tls="tls", username="collector", password_env="NOWHERE")


def test_an_origin_cannot_write_headers(clock: Clock) -> None:
    head = TreeHead("evil.example/x: y Bcc", 1, b"\0" * 32)
    message = anchor(25, clock).message(b"note\n", head)
    assert message["Bcc"] is None
    assert b"\nBcc" not in message.as_bytes()
