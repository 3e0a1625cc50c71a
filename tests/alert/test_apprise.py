"""Apprise: the real library to a real receiver, kept from redirects, from mentions and from its own log."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from collector import logs
from collector.alert.apprise import Apprise
from collector.alert.message import DeliveryFailed
from collector.errors import ConfigError
from tests.support import receivers
from tests.support.receivers import SECRETS, Answer, Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(Answer(200))
    yield found
    found.close()


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.setup("json", "debug", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def url(receiver: Receiver, more: str = "") -> str:
    return receiver.base.replace("http://", "json://SECRETUSER:SECRETKEY@") + "/SECRETPATH" + more


def test_what_arrives(receiver: Receiver) -> None:
    channel = Apprise(url(receiver), timeout=5)
    assert channel.send(receivers.alert()) == "sent"
    channel.send(receivers.alert(event="resolve"))
    first, second = (request.data for request in receiver.received)
    assert (first["type"], second["type"]) == ("failure", "success")
    assert first["title"] == "Failed: MFA-2"
    assert "Remedy:     enrol a device." in first["message"]
    assert receivers.alert()["key"] in first["message"]


@pytest.mark.parametrize(
    "alert", [*receivers.every(), *receivers.hostile()], ids=lambda a: f"{a['cause']}-{a['event']}"
)
def test_nothing_is_mentioned_or_evaluated(receiver: Receiver, alert: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "SECRETBODY")
    Apprise(url(receiver), timeout=5).send(alert)
    message = receiver.received[0].data["message"] + receiver.received[0].data["title"]
    assert not re.search(r"@everyone|@here|@channel|<[@!#]", message)
    assert "SECRETBODY" not in message
    assert len(message.replace("\u200b", "")) < 9_000


def test_neither_failure_nor_log_tells_a_secret(
    receiver: Receiver, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Apprise(url(receiver, "?+X-Token=SECRETHEADER"), timeout=5)
    receiver.answers = [Answer(500, b"SECRETBODY"), Answer(302, headers={"Location": receiver.base + "/elsewhere"})]
    for _ in range(2):
        with pytest.raises(DeliveryFailed) as caught:
            channel.send(receivers.alert())
        assert (caught.value.detail, caught.value.retry) == ("Apprise could not deliver it", True)
        assert caught.value.__cause__ is None
    assert [request.path.partition("?")[0] for request in receiver.received] == ["/SECRETPATH"] * 2
    assert not [secret for secret in (*SECRETS, "SECRETUSER") if secret in said.getvalue()]
    monkeypatch.setattr(logging.getLogger("apprise"), "propagate", True)  # this is what it would have told
    receiver.answers = [Answer(500, b"SECRETBODY")]
    with pytest.raises(DeliveryFailed):
        channel.send(receivers.alert())
    assert "SECRETBODY" in said.getvalue()


def test_a_plugin_that_crashes_is_named_by_its_kind_alone(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Apprise(url(receiver), timeout=5)

    def crash(*args: object, **how: object) -> bool:
        raise RuntimeError("SECRETKEY in the words of a plugin")

    monkeypatch.setattr(channel._apprise, "notify", crash)
    with pytest.raises(DeliveryFailed) as caught:
        channel.send(receivers.alert())
    assert caught.value.detail == "Apprise crashed: RuntimeError"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("wrong", ["nosuch://SECRETKEY@host", "json://", "discord://SECRETKEY"])
def test_a_url_that_is_none_is_refused_without_it(wrong: str, said: io.StringIO) -> None:
    with pytest.raises(ConfigError, match="Apprise does not know such a URL") as caught:
        Apprise(wrong, timeout=5)
    assert "SECRETKEY" not in repr(caught.value) + said.getvalue()


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'evidence-collector[notify]'")):
        Apprise("json://host", timeout=5)


def test_the_operators_own_words_in_the_url_win(receiver: Receiver) -> None:
    Apprise(url(receiver, "?rto=1&overflow=upstream"), timeout=5).send(receivers.alert())
    assert json.loads(receiver.received[0].body)["title"]
