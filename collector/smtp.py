"""Hands a message to a mail server over SMTP, and says in our words why it was not taken. Writes no messages."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import EmailMessage


class NotSent(Exception):
    """The server did not take the message. ``detail`` is for people and holds no address and no secret.

    ``retry`` is False when the same message can never be taken; ``refused`` is True when the server said no, rather
    than nothing.
    """

    def __init__(self, detail: str, *, retry: bool = True, refused: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry = retry
        self.refused = refused


class MailServer:
    """One mail server. ``tls`` is none, starttls or tls; certificates are always verified.

    ``local`` is what we call ourselves. ``timeout`` in seconds, for each wait.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: str,
        username: str = "",
        password: str = "",
        local: str,
        timeout: float,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._username = username
        self._password = password
        self._local = local
        self._timeout = timeout
        self._context = context or ssl.create_default_context()

    def send(self, message: EmailMessage, sender: str, to: Sequence[str]) -> tuple[int, ...]:
        """Hands the message over; returns the SMTP code of each address that was refused. Raises NotSent.

        At least one address was taken, or it raises.
        """
        with _words(self._tls), self._ready() as server:
            return _codes(server.send_message(message, sender, list(to)))

    def ask(self, sender: str, to: Sequence[str]) -> None:
        """Asks whether the server would take a message to each of the addresses, and sends none. Raises NotSent."""
        with _words(self._tls), self._ready() as server:
            code, answer = server.mail(sender)
            if code != 250:
                raise smtplib.SMTPSenderRefused(code, answer, sender)
            answers = {address: server.rcpt(address) for address in to}
            server.rset()
        refused = {address: answer for address, answer in answers.items() if answer[0] not in (250, 251)}
        if refused:
            raise NotSent(
                f"{len(refused)} of {len(answers)} addresses are refused: SMTP {joined(_codes(refused))}", refused=True
            )

    @contextmanager
    def _ready(self) -> Iterator[smtplib.SMTP]:
        with self._connected() as server:
            if self._username:
                server.login(self._username, self._password)
            else:
                server.ehlo_or_helo_if_needed()
            yield server

    def _connected(self) -> smtplib.SMTP:
        local = self._local  # smtplib would ask DNS for our own name
        if self._tls == "tls":
            return smtplib.SMTP_SSL(self._host, self._port, local, timeout=self._timeout, context=self._context)
        server = smtplib.SMTP(self._host, self._port, local, timeout=self._timeout)
        if self._tls == "starttls":
            try:
                server.starttls(context=self._context)
            except BaseException:
                server.close()
                raise
        return server


@contextmanager
def _words(tls: str) -> Iterator[None]:
    """Turns smtplib's errors into NotSent.

    Words of the server are not passed on: they may repeat addresses and names; the code is enough to look it up.
    """
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        codes = _codes(error.recipients)
        hopeless = all(code >= 500 for code in codes)
        why = f"every recipient was refused: SMTP {joined(codes)}"
        raise NotSent(why, retry=not hopeless, refused=True) from None
    except smtplib.SMTPDataError as error:
        why = f"the message was refused: SMTP {error.smtp_code}"
        raise NotSent(why, retry=error.smtp_code < 500, refused=True) from None
    except smtplib.SMTPResponseException as error:
        raise NotSent(f"{type(error).__name__}: SMTP {error.smtp_code}", refused=error.smtp_code >= 500) from None
    except smtplib.SMTPNotSupportedError:
        raise NotSent(f"the mail server does not offer {tls} or a login") from None
    except ssl.SSLCertVerificationError as error:
        raise NotSent(f"the mail server's certificate does not verify: {error.verify_message}") from None
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent(f"no answer from the mail server: {type(error).__name__}") from None


def _codes(refused: dict[str, tuple[int, bytes]]) -> tuple[int, ...]:
    return tuple(sorted(code for code, _ in refused.values()))


def joined(codes: Sequence[int]) -> str:
    """``550, 551``: each code once."""
    return ", ".join(map(str, sorted(set(codes))))
