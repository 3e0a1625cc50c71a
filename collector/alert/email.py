"""Sends an alert as a plain-text e-mail. Decides nothing about retries.

A resolve is an answer to its trigger, so that mail programs show it below. A retry carries the same Message-ID, so
that mail systems show it once.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any

from collector.alert.message import DeliveryFailed, line, summary, text
from collector.smtp import MailServer, NotSent, joined


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
        self._server = MailServer(
            host,
            port,
            tls=tls,
            username=username,
            password=password,
            local=domain,
            timeout=timeout,
            context=context,
        )
        self._sender = sender
        self._to = list(to)
        self._domain = domain
        self._clock = clock

    def send(self, alert: Mapping[str, Any]) -> str:
        """Hands the message to the mail server; returns how many addresses it took. Raises DeliveryFailed."""
        try:
            refused = self._server.send(self.message(alert), self._sender, self._to)
        except NotSent as error:
            raise DeliveryFailed(error.detail, retry=error.retry) from None
        taken = f"taken for {len(self._to) - len(refused)} of {len(self._to)}"
        return f"{taken}; refused: SMTP {joined(refused)}" if refused else taken

    def message(self, alert: Mapping[str, Any]) -> EmailMessage:
        """The message itself."""
        message = EmailMessage(policy=SMTP)
        # A trigger and its resolve name the same first bad entry; two incidents of one subject do not.
        trigger = f"{alert['key']}.{alert['first_bad'] or 0}"
        event = alert["event"]
        more = "" if event == "trigger" else ".resolve" if event == "resolve" else f".{event}.{alert['seq']}"
        message["Subject"] = f"[collector] {line(summary(alert))}"
        message["From"] = self._sender
        message["To"] = ", ".join(self._to)
        message["Date"] = formatdate(self._clock())
        message["Message-ID"] = f"<{trigger}{more}@{self._domain}>"
        if more and event != "digest":
            message["In-Reply-To"] = message["References"] = f"<{trigger}@{self._domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: absence notices do not answer
        message["X-Collector-Key"] = alert["key"]
        message.set_content(text(alert))
        return message
