"""Plain-text e-mail, handed to a real mail server on loopback."""

import socket
import ssl
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from collector.alert.email import Email
from collector.alert.message import DeliveryFailed


class Mailbox:
    """Takes mail; ``answers`` to RCPT and DATA can be set."""

    def __init__(self):
        self.mails = []
        self.envelopes = []
        self.refused = {}
        self.data_answer = "250 OK"
        self.logins = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.data_answer.startswith("250"):
            self.envelopes.append((envelope.mail_from, envelope.rcpt_tos, session.ssl is not None))
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return self.data_answer

    def __call__(self, server, session, envelope, mechanism, data):
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data == LoginPassword(b"collector", b"pass phrase"), handled=False)


@pytest.fixture
def mailbox():
    return Mailbox()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def serve(mailbox):
    running = []

    def serve(**options):
        controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), server_hostname="mail.test", **options)
        controller.start()
        running.append(controller)
        return controller.port

    yield serve
    for controller in running:
        controller.stop()


@pytest.fixture
def email(clock):
    def email(port, **changes):
        settings = {
            "sender": "collector@example.com",
            "to": ["platform@example.com", "security@example.com"],
            "tls": "none",
            "domain": "evidence.example.com",
            "timeout": 5,
            "clock": clock.unix,
        }
        return Email("localhost", port, **(settings | changes))

    return email


def failure(channel, alert):
    with pytest.raises(DeliveryFailed) as caught:
        channel.send(alert)
    for word in ("platform@", "pass phrase"):
        assert word not in caught.value.detail
    return caught.value


def test_a_message_arrives_with_everything_the_on_call_engineer_needs(serve, email, mailbox, alert):
    assert email(serve()).send(alert) == "taken for 2 of 2"
    ((sender, to, _),) = mailbox.envelopes
    assert sender == "collector@example.com"
    assert to == ["platform@example.com", "security@example.com"]
    (mail,) = mailbox.mails
    assert mail["Subject"] == f"[collector] Failed: MFA-2: {alert['subject']} has a console password and no MFA"
    assert mail["From"] == "collector@example.com"
    assert mail["To"] == "platform@example.com, security@example.com"
    assert mail["Date"] == "Sun, 01 Mar 2026 12:00:00 -0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    words = mail.get_content()
    for name in ("control", "check", "subject", "scope", "since", "reason", "remedy", "key", "owner"):
        assert alert[name] in words, name
    assert "entry 120 of the ledger" in words
    assert "entry 131 of the ledger" in words


def test_a_resolve_stands_under_its_trigger_and_a_retry_is_the_same_message(email, alert, resolve):
    channel = email(1)
    trigger, again, over = (channel.message(each) for each in (alert, alert, resolve))
    assert trigger["Message-ID"] == again["Message-ID"] == f"<{alert['key']}.131@evidence.example.com>"
    assert over["In-Reply-To"] == over["References"] == trigger["Message-ID"]
    assert over["Message-ID"] != trigger["Message-ID"]
    assert trigger["In-Reply-To"] is None
    assert over["Subject"].startswith("[collector] No longer failed: ")
    next_incident = channel.message({**alert, "first_bad": 200})
    assert next_incident["Message-ID"] != trigger["Message-ID"]


def test_names_cannot_write_headers_and_other_scripts_arrive(serve, email, mailbox, alert):
    evil = {**alert, "subject": "arn:x\r\nBcc: thief@example.com\r\n\r\nhello", "reason": "prüft 日本 " + "x" * 3000}
    email(serve()).send(evil)
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None
    assert "thief" in mail["Subject"]
    assert mail["X-Collector-Key"] == alert["key"]
    assert "prüft 日本" in mail.get_content()
    assert "x" * 3000 in mail.get_content()
    assert mailbox.envelopes[0][1] == ["platform@example.com", "security@example.com"]


# --- TLS ---


def tls_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_starttls_verifies_the_certificate_and_logs_in(serve, email, mailbox, alert, certificate):
    port = serve(tls_context=tls_server(certificate), require_starttls=True, authenticator=mailbox, auth_required=True)
    login = {"tls": "starttls", "username": "collector", "password": "pass phrase"}
    error = failure(email(port, **login), alert)
    assert error.detail.startswith("the mail server's certificate does not verify")
    assert error.retry
    assert mailbox.logins == []  # the password was not shown to a stranger
    trusting = ssl.create_default_context(cafile=certificate)
    assert email(port, **login, context=trusting).send(alert) == "taken for 2 of 2"
    assert mailbox.logins == [(b"collector", b"pass phrase")]
    assert mailbox.envelopes[0][2]
    error = failure(email(port, **(login | {"password": "pass phrasE"}), context=trusting), alert)
    assert (error.detail, error.retry) == ("SMTPAuthenticationError: SMTP 535", True)


def test_tls_from_the_first_byte(serve, email, mailbox, alert, certificate):
    port = serve(ssl_context=tls_server(certificate))
    assert "does not verify" in failure(email(port, tls="tls"), alert).detail
    trusting = ssl.create_default_context(cafile=certificate)
    assert email(port, tls="tls", context=trusting).send(alert) == "taken for 2 of 2"
    assert len(mailbox.mails) == 1


def test_a_server_without_starttls_gets_nothing(serve, email, mailbox, alert):
    error = failure(email(serve(), tls="starttls"), alert)
    assert (error.detail, error.retry) == ("the mail server does not offer starttls or a login", True)
    assert mailbox.mails == []


# --- refusals ---


def test_some_recipients_refused_is_a_delivery_that_says_so(serve, email, mailbox, alert):
    mailbox.refused = {"security@example.com": "550 no such user"}
    assert email(serve()).send(alert) == "taken for 1 of 2; refused: SMTP 550"
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(("answer", "retry"), [("550 no such user", False), ("451 try later", True)])
def test_all_recipients_refused_is_none(serve, email, mailbox, alert, answer, retry):
    mailbox.refused = dict.fromkeys(("platform@example.com", "security@example.com"), answer)
    error = failure(email(serve()), alert)
    assert (error.detail, error.retry) == (f"every recipient was refused: SMTP {answer[:3]}", retry)


@pytest.mark.parametrize(("answer", "retry"), [("554 looks like spam", False), ("452 disk full", True)])
def test_a_refused_message_is_none(serve, email, mailbox, alert, answer, retry):
    mailbox.data_answer = answer
    error = failure(email(serve()), alert)
    assert (error.detail, error.retry) == (f"the message was refused: SMTP {answer[:3]}", retry)


def test_no_server_and_a_silent_server_are_said_so(email, alert):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = failure(email(taken.getsockname()[1]), alert)
    assert (error.detail, error.retry) == ("no answer from the mail server: ConnectionRefusedError", True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(email(silent.getsockname()[1], timeout=0.2), alert)
    assert (error.detail, error.retry) == ("no answer from the mail server: SMTPServerDisconnected", True)
