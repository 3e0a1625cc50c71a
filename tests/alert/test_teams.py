"""Cards for Microsoft Teams: valid by Microsoft's schema of version 1.5, small enough, and names that stay text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft6Validator

from collector.alert.message import DeliveryFailed, meaning
from collector.alert.teams import CARD, CARD_BYTES_MAX, Teams, message
from tests.support import receivers
from tests.support.receivers import Answer, Receiver

SCHEMA = json.loads((Path(__file__).parents[1] / "schemas/alerts/adaptive-card-1.5.json").read_text("utf-8"))
VALIDATOR = Draft6Validator(SCHEMA)
EVERYTHING = [*receivers.every(), *receivers.hostile()]


def card(alert: dict[str, Any]) -> dict[str, Any]:
    found = message(alert)
    assert set(found) == {"type", "attachments"}
    (attachment,) = found["attachments"]
    assert (found["type"], attachment["contentType"], attachment["contentUrl"]) == ("message", CARD, None)
    content: dict[str, Any] = attachment["content"]
    return content


@pytest.mark.parametrize("alert", EVERYTHING, ids=lambda a: f"{a['cause']}-{a['event']}")
def test_each_card_is_valid_and_small_enough(alert: dict) -> None:
    found = card(alert)
    VALIDATOR.validate(found)
    assert found["version"] == "1.5"
    whole = json.dumps(message(alert), ensure_ascii=False, separators=(",", ":"))
    assert max(len(whole.encode()), 2 * len(whole)) <= CARD_BYTES_MAX


def test_the_schema_can_refuse() -> None:
    found = card(receivers.alert())
    for wrong in (
        {**found, "version": 1.5},
        {**found, "colour": "red"},
        {**found, "body": [{"type": "RichTextBlock"}]},
        {**found, "body": [{"type": "TextBlock", "text": "x", "color": "Red"}]},
        {**found, "actions": [{"type": "Action.OpenUrl"}]},
    ):
        assert not VALIDATOR.is_valid(wrong), wrong


@pytest.mark.parametrize("alert", EVERYTHING, ids=lambda a: f"{a['cause']}-{a['event']}")
def test_names_stand_only_where_no_markdown_is_read(alert: dict) -> None:
    found = card(alert)
    for element in found["body"]:
        if element["type"] == "TextBlock":  # Markdown, and dates: words of ours alone
            assert element["text"] == meaning(alert)
        else:
            assert element["type"] == "RichTextBlock"
            assert all(run["type"] == "TextRun" and "selectAction" not in run for run in element["inlines"])
            assert all("\n" not in run["text"] and "\u202e" not in run["text"] for run in element["inlines"])
    assert len(found["fallbackText"]) < 60
    assert "msteams" not in found, "a mention would need its entities there"


def runs(found: dict[str, Any]) -> list[str]:
    return ["".join(run["text"] for run in e["inlines"]) for e in found["body"] if e["type"] == "RichTextBlock"]


def test_what_people_read() -> None:
    found = card(receivers.grouped())
    said = runs(found)
    assert said[0] == "Failed: MFA-2"
    assert "Remedy: enrol a device." in said
    assert "Changed: mfa: true -> false (400 subjects)" in said
    assert said[-1] == f"Key: {receivers.alert()['key']}"
    (action,) = found["actions"]
    assert action["url"] == "https://evidence.example.com/alerts/7?a=1&b=2"
    over = card(receivers.alert(event="resolve"))
    assert over["body"][0]["inlines"][0]["color"] == "Good"
    assert found["body"][0]["inlines"][0]["color"] == "Attention"
    assert any("29: <!channel> *x* & co" in one for one in runs(card(receivers.digest())))


def test_a_link_that_is_none_makes_no_button() -> None:
    for link in ("javascript:alert(1)", "https://a b", "https://a\n", 7, None, "https://x/" + "a" * 3_000):
        assert "actions" not in card(receivers.alert(link=link))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(Answer(202))
    yield found
    found.close()


def test_a_workflow_answers_202_and_one_that_is_off_can_be_mended(receiver: Receiver) -> None:
    teams = Teams(receiver.url, timeout=5)
    assert teams.send(receivers.alert()) == "HTTP 202"
    for status, retry in ((400, True), (401, True), (404, True), (413, False), (429, True), (502, True)):
        receiver.answers = [Answer(status, b'{"error":{"code":"WorkflowTriggerIsNotEnabled","message":"SECRETBODY"}}')]
        with pytest.raises(DeliveryFailed) as caught:
            teams.send(receivers.alert())
        assert (caught.value.detail, caught.value.retry) == (f"HTTP {status}", retry)
