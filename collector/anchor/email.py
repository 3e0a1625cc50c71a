"""A mailbox of somebody else as a place outside: each checkpoint is sent as a message with the note attached.

Nothing comes back but that the mail server took it, and the receipt says no more than that.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from collector import canonical
from collector.anchor.base import Anchored, Believe, Consistency, anything
from collector.config_alerts import Email
from collector.errors import Denied, Unavailable
from collector.ledger.note import TreeHead
from collector.smtp import MailServer, NotSent

WORDS = """\
Keep this message: it holds a signed checkpoint of the evidence ledger

    {origin}

over its first {size} entries. Its sender cannot take it back. Whoever verifies a
package of this ledger later puts the attached file {name} into the
folder of what they trust: then none of these entries can have been changed,
removed or added since without being noticed.

SHA-256 of the file: {digest}

What is in it:

{note}"""


def utc_now() -> datetime:
    return datetime.now(UTC)


class MailAnchor:
    """The addresses of one e-mail channel. ``domain`` is the right-hand side of message ids."""

    def __init__(
        self,
        name: str,
        email_settings: Email,
        environ: Mapping[str, str],
        domain: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Raises ConfigError when the password is not there. ``clock`` gives the Date header."""
        self._name = name
        self._sender = email_settings.sender
        self._to = list(email_settings.to)
        self._domain = domain
        self._clock = clock
        self._server = MailServer(
            email_settings.host,
            email_settings.port,
            tls=email_settings.tls,
            username=email_settings.username,
            password=email_settings.password(environ),
            local=domain,
            timeout=email_settings.timeout,
            context=context,
        )

    @property
    def id(self) -> str:
        return f"email/{self._name}"

    def test(self) -> None:
        """Logs in and asks whether the server takes mail for every address; sends none."""
        try:
            self._server.ask(self._sender, self._to)
        except NotSent as error:
            raise _converted(error) from None

    def put(self, note: bytes, head: TreeHead, consistency: Consistency) -> Anchored:
        """Sends the note. Taken for one address is enough; the receipt counts them."""
        message = self.message(note, head)
        try:
            refused = self._server.send(message, self._sender, self._to)
        except NotSent as error:
            raise _converted(error) from None
        token = canonical.record(
            {
                "type": "email",
                "message_id": message["Message-ID"],
                "sha256": canonical.digest(note),
                "taken": len(self._to) - len(refused),
                "refused": list(refused),  # the SMTP code of each
            }
        )
        return Anchored(token, "json", None, message["Message-ID"])

    def latest(self, believe: Believe = anything) -> TreeHead | None:
        """None: a mailbox of somebody else cannot be asked."""
        return None

    def message(self, note: bytes, head: TreeHead) -> EmailMessage:
        """The message itself. A second one for the same checkpoint has the same Message-ID: it is shown once."""
        name = f"{head.size:020}.note"
        message = EmailMessage(policy=SMTP)
        message["Subject"] = f"[collector] Checkpoint of {head.origin} over {head.size} entries"
        message["From"] = self._sender
        message["To"] = ", ".join(self._to)
        message["Date"] = format_datetime(self._clock())
        message["Message-ID"] = f"<checkpoint.{head.size}.{canonical.digest(note)[:16]}@{self._domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: absence notices do not answer
        message.set_content(
            WORDS.format(
                origin=head.origin, size=head.size, name=name, digest=canonical.digest(note), note=note.decode()
            )
        )
        # Not as text: mail systems change the ends of lines, and every byte is signed.
        message.add_attachment(note, maintype="application", subtype="octet-stream", filename=name)
        return message


def _converted(error: NotSent) -> Denied | Unavailable:
    kind = Denied if error.refused else Unavailable
    return kind(f"{error.detail}; see the [alerts.email] channel of this place, and the mail server's log")
