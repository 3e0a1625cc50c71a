"""Sends an alert as a plain-text e-mail. Decides nothing about retries.

A resolve is an answer to its trigger, so that mail programs show it below. A retry carries the same Message-ID, so
that mail systems show it once.
"""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any

from collector.alert.message import DeliveryFailed, line, summary, text


class Email:
    """Addresses that are written to over SMTP. ``tls`` is none, starttls or tls; certificates are always verified.

    ``domain`` is the right-hand side of message ids. ``timeout`` in seconds.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str,
        to: Sequence[str],
        tls: str,
        username: str = "",
        password: str = "",
        domain: str,
        timeout: float,
        clock: Callable[[], float] = time.time,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._sender = sender
        self._to = list(to)
        self._tls = tls
        self._username = username
        self._password = password
        self._domain = domain
        self._timeout = timeout
        self._clock = clock
        self._context = context or ssl.create_default_context()

    def send(self, alert: Mapping[str, Any]) -> str:
        """Hands the message to the mail server; returns how many addresses it took. Raises DeliveryFailed."""
        message = self.message(alert)
        # Words of the server are not passed on: they may repeat addresses and names; the code is enough to look it up.
        try:
            with self._connected() as server:
                if self._username:
                    server.login(self._username, self._password)
                refused = server.send_message(message, self._sender, self._to)
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted({code for code, _ in error.recipients.values()})
            hopeless = all(code >= 500 for code in codes)
            raise DeliveryFailed(f"every recipient was refused: SMTP {_joined(codes)}", retry=not hopeless) from None
        except smtplib.SMTPDataError as error:
            refusal = f"the message was refused: SMTP {error.smtp_code}"
            raise DeliveryFailed(refusal, retry=error.smtp_code < 500) from None
        except smtplib.SMTPResponseException as error:
            raise DeliveryFailed(f"{type(error).__name__}: SMTP {error.smtp_code}", retry=True) from None
        except smtplib.SMTPNotSupportedError:
            raise DeliveryFailed(f"the mail server does not offer {self._tls} or a login", retry=True) from None
        except ssl.SSLCertVerificationError as error:
            why = f"the mail server's certificate does not verify: {error.verify_message}"
            raise DeliveryFailed(why, retry=True) from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryFailed(f"no answer from the mail server: {type(error).__name__}", retry=True) from None
        taken = f"taken for {len(self._to) - len(refused)} of {len(self._to)}"
        return f"{taken}; refused: SMTP {_joined(sorted({code for code, _ in refused.values()}))}" if refused else taken

    def message(self, alert: Mapping[str, Any]) -> EmailMessage:
        """The message itself."""
        message = EmailMessage(policy=SMTP)
        # A trigger and its resolve name the same first bad entry; two incidents of one subject do not.
        trigger = f"{alert['key']}.{alert['first_bad'] or 0}"
        over = alert["event"] == "resolve"
        message["Subject"] = f"[collector] {line(summary(alert))}"
        message["From"] = self._sender
        message["To"] = ", ".join(self._to)
        message["Date"] = formatdate(self._clock())
        message["Message-ID"] = f"<{trigger}{'.resolve' if over else ''}@{self._domain}>"
        if over:
            message["In-Reply-To"] = message["References"] = f"<{trigger}@{self._domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: absence notices do not answer
        message["X-Collector-Key"] = alert["key"]
        message.set_content(text(alert))
        return message

    def _connected(self) -> smtplib.SMTP:
        local = self._domain  # smtplib would ask DNS for our own name
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


def _joined(codes: Sequence[int]) -> str:
    return ", ".join(map(str, codes))
