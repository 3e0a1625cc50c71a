"""Sends an alert to Microsoft Teams through a workflow's webhook, as an Adaptive Card 1.5.

Office 365 connectors ("Incoming Webhook") were retired; the trigger *When a Teams webhook request is received* of Power
Automate took their place. It answers 202 when the workflow has begun: whether the card was then posted, only the
workflow's own history says. Names that a cloud's users chose stand in text runs, which know no Markdown.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from collector.alert.message import clipped, head, line, link, meaning, mended, rows, severity, who
from collector.alert.post import Post, refused

# A card of more than about 28 KB is refused (https://learn.microsoft.com/connectors/teams, known issues); others have
# measured that Teams counts two bytes a character.
CARD_BYTES_MAX = 20_000
VALUE_CHARACTERS = (1_000, 300, 80, 20)  # of a value: as much as fits
ROWS_MAX = 40
SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"
CARD = "application/vnd.microsoft.card.adaptive"
COLOURS = {"critical": "Attention", "high": "Attention", "medium": "Warning", "low": "Accent"}


class Teams:
    """A workflow's webhook. ``timeout`` in seconds."""

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
        """Posts the card; returns ``HTTP 202``. Raises DeliveryFailed."""
        reply = self._post(_json(message(alert)))
        if not reply.good:
            # A workflow that is switched off or gone answers 400 or 404 with words of its own; it can be mended.
            raise refused(reply, retry=reply.status not in (413, 415))
        return f"HTTP {reply.status}"


def message(alert: Mapping[str, Any]) -> dict[str, Any]:
    """What the workflow's trigger expects: a message with one card."""
    found: dict[str, Any] = {}
    for limit in VALUE_CHARACTERS:
        attachment = {"contentType": CARD, "contentUrl": None, "content": card(alert, limit)}
        found = {"type": "message", "attachments": [attachment]}
        whole = _json(found).decode()
        if max(len(whole.encode()), len(whole.encode("utf-16-le"))) <= CARD_BYTES_MAX:
            break
    return found


def card(alert: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """The card, with values of at most ``limit`` characters."""
    colour = "Good" if mended(alert) else "Default" if alert.get("unobserved") else COLOURS[severity(alert)]
    title = f"{head(alert)}: {clipped(line(alert['control'] or alert['check'] or alert['scope']), 150)}"
    body: list[dict[str, Any]] = [
        _text(_run(title, size="Large", weight="Bolder", color=colour)),
        _text(_run(clipped(who(alert), limit) or "-")),
        {"type": "TextBlock", "text": meaning(alert), "wrap": True, "isSubtle": True},
    ]
    about = [row for row in rows(alert) if row[0] != "Link"]
    about = about if len(about) <= ROWS_MAX else [*about[: ROWS_MAX - 1], about[-1]]  # the key stays
    for label, value in about:
        body.append({**_text(_run(f"{label}: ", weight="Bolder"), _run(clipped(value, limit))), "spacing": "Small"})
    for one in list(alert.get("lines", ()))[:ROWS_MAX]:
        body.append({**_text(_run(clipped(line(one), limit) or "-")), "spacing": "Small"})
    found: dict[str, Any] = {
        "$schema": SCHEMA,
        "type": "AdaptiveCard",
        "version": "1.5",
        "fallbackText": head(alert),
        "body": body,
    }
    if link(alert):
        found["actions"] = [{"type": "Action.OpenUrl", "title": "The alert", "url": link(alert)}]
    return found


def _text(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(text: str, **looks: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **looks}


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
