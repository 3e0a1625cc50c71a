"""Slack's incoming webhooks: blocks within the limits of its reference, and names that can do nothing in a channel.

The limits are those of https://docs.slack.dev/reference/block-kit/blocks and of Slack's SDK (slack_sdk.models.blocks).
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from collector.alert.message import DeliveryFailed
from collector.alert.slack import ERRORS, MESSAGE_CHARACTERS_MAX, Slack, escaped, message
from tests.support import receivers
from tests.support.receivers import Answer, Receiver

EVERYTHING = [*receivers.every(), *receivers.hostile()]
# What Slack takes for more than text: <@U1>, <#C1>, <!here>, <https://...>, in text of either kind.
CONTROL = re.compile(r"<[^>]*>")


def texts(found: Any) -> Iterator[dict[str, Any]]:
    """Every text object, wherever it stands."""
    if isinstance(found, dict):
        if found.get("type") in ("plain_text", "mrkdwn"):
            yield found
        for member in found.values():
            yield from texts(member)
    elif isinstance(found, list):
        for member in found:
            yield from texts(member)


@pytest.mark.parametrize("alert", EVERYTHING, ids=lambda a: f"{a['cause']}-{a['event']}")
def test_blocks_are_within_the_limits(alert: dict) -> None:
    found = message(alert)
    assert found["text"]
    assert 0 < len(found["blocks"]) <= 50
    assert len(json.dumps(found, ensure_ascii=False)) <= MESSAGE_CHARACTERS_MAX
    for block in found["blocks"]:
        kind = block["type"]
        assert set(block) <= {"header": {"type", "text"}, "context": {"type", "elements"}}.get(
            kind, {"type", "text", "fields"}
        )
        if kind == "header":
            assert block["text"]["type"] == "plain_text"
            assert 0 < len(block["text"]["text"]) <= 150
        elif kind == "section":
            assert ("text" in block) != ("fields" in block)
            assert len(block.get("fields", ())) <= 10
            assert all(0 < len(one["text"]) <= 2_000 for one in block.get("fields", ()))
        else:
            assert kind == "context"
            assert len(block["elements"]) <= 10
    for one in texts(found["blocks"]):
        assert 0 < len(one["text"]) <= 3_000
        assert set(one) == {"type", "text", "emoji" if one["type"] == "plain_text" else "verbatim"}


@pytest.mark.parametrize("alert", EVERYTHING, ids=lambda a: f"{a['cause']}-{a['event']}")
def test_no_name_mentions_links_or_formats(alert: dict) -> None:
    found = message(alert)
    ours = f"<{escaped(alert.get('link', ''), 5_000)}|The alert>"
    for text in (found["text"], *(one["text"] for one in texts(found["blocks"]))):
        assert [part for part in CONTROL.findall(text) if part != ours] == []
        assert not re.search(r"&(?!amp;|lt;|gt;)", text)
    for one in texts(found["blocks"]):
        if one["type"] == "mrkdwn":  # only words of ours are formatted
            assert one["verbatim"] is True
            assert "evil" not in one["text"]
            assert "everyone" not in one["text"]
        else:
            assert one["emoji"] is False
    assert found["unfurl_links"] is found["unfurl_media"] is False


def test_a_name_is_shown_as_it_is() -> None:
    name = receivers.HOSTILE["markup"]
    shown = [html.unescape(one["text"]) for one in texts(message(receivers.alert(subject=name))["blocks"])]
    assert name in shown


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 20])
def test_a_text_is_cut_between_two_characters_and_never_within_an_entity(limit: int) -> None:
    for text in ("", "a", "&", "<&>", "ab<&>cd", "a" * 30, "&" * 30):
        found = escaped(text, limit)
        assert len(found) <= limit
        assert not re.search(r"&(?!amp;|lt;|gt;)", found)
        whole = html.unescape(found)
        assert whole == text or (whole.endswith("…") and text.startswith(whole[:-1]))
    assert escaped("abc", 3) == "abc"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(Answer(200, b"ok"))
    yield found
    found.close()


@pytest.mark.parametrize(
    ("status", "word", "retry"),
    [
        (400, "invalid_payload", False),
        (400, "invalid_blocks", False),
        (403, "action_prohibited", True),
        (404, "no_service", True),
        (410, "channel_is_archived", True),
        (429, "", True),
        (500, "rollup_error", True),
    ],
)
def test_slacks_own_errors_are_named_and_no_other_words(
    receiver: Receiver, status: int, word: str, retry: bool
) -> None:
    slack = Slack(receiver.url, timeout=5)
    for body in (word, "SECRETBODY " + word):
        receiver.answers = [Answer(status, body.encode())]
        with pytest.raises(DeliveryFailed) as caught:
            slack.send(receivers.alert())
        expected = f"HTTP {status}" + (f": {word}" if body in ERRORS else "")
        assert (caught.value.detail, caught.value.retry) == (expected, retry)


def test_only_ok_is_a_delivery(receiver: Receiver) -> None:
    slack = Slack(receiver.url, timeout=5)
    assert slack.send(receivers.alert()) == "HTTP 200: ok"
    receiver.answers = [Answer(200, b"OK!"), Answer(200, b"\xff")]
    for _ in range(2):
        with pytest.raises(DeliveryFailed, match="not as Slack answers"):
            slack.send(receivers.alert())


def test_a_digest_shows_its_lines() -> None:
    shown = [html.unescape(one["text"]) for one in texts(message(receivers.digest())["blocks"])]
    assert any("29: <!channel> *x* & co" in one for one in shown)
