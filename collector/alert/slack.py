"""Sends an alert to a channel of Slack through an incoming webhook, as Block Kit.

Slack has no key that would join two messages: a message that arrives twice is shown twice, with the same key in its
last line. Names that a cloud's users chose are shown as plain text, escaped: they format, mention and link nothing.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from collector.alert.message import DeliveryFailed, head, line, link, meaning, rows, summary, who
from collector.alert.post import Post, refused

# https://docs.slack.dev/reference/block-kit/blocks: longest texts, most fields of a section
HEADER_CHARACTERS_MAX = 150
TEXT_CHARACTERS_MAX = 3_000
FIELD_CHARACTERS_MAX = 2_000
FIELDS_MAX = 10
# Not documented: a message of about 13,000 characters is refused as msg_blocks_too_long.
MESSAGE_CHARACTERS_MAX = 10_000
VALUE_CHARACTERS = (1_500, 500, 100)  # of a value: as much as fits
ROWS_MAX = 40  # beside 50 blocks at most
URL_CHARACTERS_MAX = 3_000

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# The errors of incoming webhooks; no other word of an answer is passed on.
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
ERRORS = (
    "action_prohibited",
    "channel_is_archived",
    "channel_not_found",
    "invalid_blocks",
    "invalid_payload",
    "invalid_token",
    "msg_blocks_too_long",
    "no_active_hooks",
    "no_service",
    "no_service_id",
    "no_team",
    "no_text",
    "posting_to_general_channel_denied",
    "rollup_error",
    "team_disabled",
    "too_many_attachments",
    "user_not_found",
)


class Slack:
    """An incoming webhook. ``timeout`` in seconds."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._post = Post(url, timeout=timeout, clock=clock, tls=tls)

    def send(self, alert: Mapping[str, Any]) -> str:
        """Posts the message; returns ``HTTP 200: ok``. Raises DeliveryFailed."""
        reply = self._post(json.dumps(message(alert), ensure_ascii=False).encode())
        words = reply.body.decode("ascii", "replace").strip()
        if reply.good:
            if words != "ok":
                raise DeliveryFailed(f"HTTP {reply.status}, but not as Slack answers", retry=True)
            return f"HTTP {reply.status}: ok"
        # An archived channel (410) can be opened again, and a webhook that is gone can be made anew.
        said = words if words in ERRORS else ""
        raise refused(reply, said=said, retry=reply.status not in (400, 413, 422))


def message(alert: Mapping[str, Any]) -> dict[str, Any]:
    """The message: ``text`` for notifications, ``blocks`` for the channel."""
    found: dict[str, Any] = {}
    for limit in VALUE_CHARACTERS:
        found = {
            "text": escaped(summary(alert), TEXT_CHARACTERS_MAX),
            "blocks": _blocks(alert, limit),
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if len(json.dumps(found, ensure_ascii=False)) <= MESSAGE_CHARACTERS_MAX:
            break
    return found


def escaped(text: str, limit: int) -> str:
    """A text in which nothing is a mention, a link or an entity, in at most ``limit`` characters.

    Slack knows three: https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    found: list[str] = []
    room = limit
    for index, letter in enumerate(text):
        part = _ESCAPES.get(letter, letter)
        if room - len(part) < (index < len(text) - 1):  # room for the ellipsis while there is more
            return "".join(found) + "…"
        found.append(part)
        room -= len(part)
    return "".join(found)


def _blocks(alert: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    about = [row for row in rows(alert) if row[0] not in ("Link", "Key")][:ROWS_MAX]
    title = f"{head(alert)}: {line(alert['control'] or alert['check'] or alert['scope'])}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(title, HEADER_CHARACTERS_MAX)},
        {"type": "section", "text": _plain(who(alert) or "-", min(limit * 2, TEXT_CHARACTERS_MAX))},
        {"type": "section", "text": _marked(meaning(alert))},
    ]
    for first in range(0, len(about), FIELDS_MAX // 2):
        fields: list[dict[str, Any]] = []
        for label, value in about[first : first + FIELDS_MAX // 2]:
            fields += [_marked(f"*{label}*"), _plain(value, min(limit, FIELD_CHARACTERS_MAX))]
        blocks.append({"type": "section", "fields": fields})
    told = "\n".join(line(one) for one in alert.get("lines", ()))
    if told:
        blocks.append({"type": "section", "text": _plain(told, min(limit * 2, TEXT_CHARACTERS_MAX))})
    if link(alert) and len(escaped(link(alert), URL_CHARACTERS_MAX + 1)) <= URL_CHARACTERS_MAX:
        blocks.append({"type": "section", "text": _marked(f"<{escaped(link(alert), URL_CHARACTERS_MAX)}|The alert>")})
    blocks.append({"type": "context", "elements": [_plain(f"Key: {alert['key']}, entry {alert['seq']}", 200)]})
    return blocks


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": escaped(text, limit) or "-", "emoji": False}


def _marked(text: str) -> dict[str, Any]:
    """Our own words. ``verbatim``: no name of a channel or person in them is looked for."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}
