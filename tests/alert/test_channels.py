"""What all channels over HTTP share, on the wire: all alerts, hostile names, no secret, a deadline, Retry-After."""

from __future__ import annotations

import io
import json
import logging
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate

import pytest

from collector import logs
from collector.alert import apprise, post
from collector.alert.alertmanager import Alertmanager
from collector.alert.apprise import Apprise
from collector.alert.message import Channel, DeliveryFailed
from collector.alert.pagerduty import PagerDuty
from collector.alert.post import RETRY_AFTER_MAX, Post
from collector.alert.slack import Slack
from collector.alert.teams import Teams
from collector.alert.webhook import Webhook
from tests.support import receivers
from tests.support.receivers import SECRET_PATH, SECRETS, Answer, Receiver

KEY = "SECRETKEY0123456789abcdefABCDEF0"
NOW = 1_772_366_405.0

Open = Callable[..., Channel]


@dataclass(frozen=True)
class Kind:
    """One kind of channel: how it is opened at an address, and what its receiver says when all is well."""

    open: Callable[[str, float], Channel]
    good: Answer
    digest: bool = True  # whether it takes one
    retry_after: bool = True  # whether it can know


def _apprise(base: str, timeout: float) -> Channel:
    return Apprise(base.replace("http://", "json://user:SECRETKEY@") + SECRET_PATH, timeout=timeout)


KINDS = {
    "webhook": Kind(
        lambda base, t: Webhook(base + SECRET_PATH, b"SECRETKEY-of-some-length", timeout=t, clock=lambda: NOW), Answer()
    ),
    "pagerduty": Kind(
        lambda base, t: PagerDuty(KEY, url=base + SECRET_PATH, timeout=t, clock=lambda: NOW),
        Answer(202, b'{"status": "success", "message": "Event processed"}'),
        digest=False,
    ),
    "slack": Kind(lambda base, t: Slack(base + SECRET_PATH, timeout=t, clock=lambda: NOW), Answer(200, b"ok")),
    "teams": Kind(lambda base, t: Teams(base + SECRET_PATH, timeout=t, clock=lambda: NOW), Answer(202)),
    "alertmanager": Kind(
        lambda base, t: Alertmanager(
            base, origin="e.example/t", hold=86_400, authorization="Bearer SECRETKEY", timeout=t, clock=lambda: NOW
        ),
        Answer(),
        digest=False,
    ),
    "apprise": Kind(_apprise, Answer(), retry_after=False),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def receiver(kind: Kind) -> Iterator[Receiver]:
    found = Receiver(kind.good)
    yield found
    found.close()


@pytest.fixture
def channel(kind: Kind, receiver: Receiver) -> Channel:
    return kind.open(receiver.base, 5)


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """Everything that this process logs, down to the least."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.setup("json", "debug", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def failure(channel: Channel, alert: dict | None = None) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        channel.send(alert or receivers.alert())
    words = [caught.value.detail, str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)]
    assert not [secret for secret in SECRETS for one in words if secret in one]
    assert caught.value.__cause__ is None
    assert len(caught.value.detail) < 200
    return caught.value


def test_everything_that_is_told_arrives(kind: Kind, channel: Channel, receiver: Receiver) -> None:
    sent = 0
    for alert in receivers.every():
        refuses = {"digest": not kind.digest, "acknowledge": isinstance(channel, Alertmanager)}
        if refuses.get(alert["event"]):
            assert not failure(channel, alert).retry
        else:
            words = channel.send(alert)
            assert words
            assert not [secret for secret in SECRETS if secret in words]
            sent += 1
    assert sent > 14
    assert len(receiver.received) == sent


@pytest.mark.parametrize("name", receivers.HOSTILE)
def test_hostile_names_arrive_as_json_and_break_nothing(name: str, channel: Channel, receiver: Receiver) -> None:
    whole = [one for one in receivers.hostile() if one["reason"] == receivers.HOSTILE[name]]
    assert len(whole) == 3
    for alert in whole:
        channel.send(alert)
    for request in receiver.received:
        assert request.data
        assert "Bcc" not in request.headers
        assert int(request.headers["Content-Length"]) == len(request.body)
        # A webhook cuts nothing: an entry of the ledger, which these are not, has less than 64 KiB.
        assert len(request.body) < 512 * 1024 or isinstance(channel, Webhook)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 408, 410, 413, 429, 500, 502, 503])
def test_a_refusal_tells_no_secret_and_whether_it_is_worth_another_try(
    status: int, kind: Kind, channel: Channel, receiver: Receiver, said: io.StringIO
) -> None:
    words = "SECRETBODY " + receiver.url
    receiver.answers = [Answer(status, words.encode(), {"Location": receiver.base + "/SECRETHEADER", "X-A": words})]
    error = failure(channel)
    assert len(receiver.received) == 1, "a redirect is not followed, and nothing is tried again in here"
    assert not [secret for secret in SECRETS if secret in said.getvalue()]
    if status in (401, 403, 404, 408, 429, 500, 502, 503):
        assert error.retry
    if status == 413 and kind.retry_after:
        assert not error.retry
    if kind.retry_after:
        assert error.detail.startswith(f"HTTP {status}")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("99999999999999999999", RETRY_AFTER_MAX),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("\u00b2", None),
        (None, None),
    ],
)
def test_a_receiver_says_for_how_long_it_wants_to_be_left_alone(
    header: str | None, seconds: float | None, kind: Kind, channel: Channel, receiver: Receiver
) -> None:
    for status in (429, 503):
        receiver.answers = [Answer(status, headers={} if header is None else {"Retry-After": header})]
        error = failure(channel)
        assert error.retry
        assert error.retry_after == (seconds if kind.retry_after else None)


def test_a_receiver_that_drips_for_ever_is_left_in_time(kind: Kind, receiver: Receiver) -> None:
    receiver.answers = [Answer(drip=True)]
    began = time.monotonic()
    error = failure(kind.open(receiver.base, 0.4))
    assert error.retry
    assert time.monotonic() - began < 5


def test_nobody_there_is_said_without_the_address(kind: Kind, said: io.StringIO) -> None:
    with socket.socket() as taken:  # bound and not listening: a connection is refused
        taken.bind(("127.0.0.1", 0))
        error = failure(kind.open(f"http://127.0.0.1:{taken.getsockname()[1]}", 5))
    assert error.retry
    assert not [secret for secret in SECRETS if secret in said.getvalue()]


def test_the_same_alert_again_is_the_same_request(kind: Kind, channel: Channel, receiver: Receiver) -> None:
    for _ in range(2):
        channel.send(receivers.alert())
    first, again = receiver.received
    assert first.body == again.body
    assert first.path == again.path


def test_a_success_of_somebody_else_is_no_delivery(kind: Kind, channel: Channel, receiver: Receiver) -> None:
    """A portal that answers every address with a page and 200: whoever can tell, tells."""
    receiver.answers = [Answer(200, b"<html>Welcome to the hotel</html>")]
    if isinstance(channel, PagerDuty | Slack):
        assert failure(channel).retry
    else:
        assert channel.send(receivers.alert())


# --- the one POST ---


@pytest.fixture
def place() -> Iterator[Receiver]:
    found = Receiver(Answer(200, b"x" * 100_000))
    yield found
    found.close()


def test_no_more_of_an_answer_is_read_than_is_needed(place: Receiver) -> None:
    reply = Post(place.url, timeout=5)(b"{}")
    assert (reply.status, len(reply.body)) == (200, post.REPLY_BYTES_MAX)


def test_our_headers_go_along_and_nothing_of_python(place: Receiver) -> None:
    Post(place.url, timeout=5)(b"{}", {"Authorization": "Bearer x"})
    (request,) = place.received
    assert request.headers["User-Agent"].startswith("evidence-collector/")
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == "Bearer x"
    assert request.path == SECRET_PATH


@pytest.mark.parametrize(
    "url", ["http://[broken/SECRETPATH", "http://a..b/SECRETPATH", f"http://{'a' * 70}.x/SECRETPATH"]
)
def test_an_address_that_is_none_is_said_without_it(url: str) -> None:
    with pytest.raises(DeliveryFailed) as caught:
        Post(url, timeout=1)(b"{}")
    assert "SECRETPATH" not in "".join(traceback.format_exception(caught.value))


def test_a_proxy_of_the_environment_is_used(place: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", place.base)
    monkeypatch.setenv("no_proxy", "")
    assert Post("http://receiver.example/hook", timeout=5)(b"{}").status == 200
    assert place.received[0].path == "http://receiver.example/hook"


# --- what Apprise is kept from ---


def test_nobody_is_mentioned_over_apprise() -> None:
    before = "@everyone <@123> <!channel> <#C1> @here user@example.com @Channel"
    after = apprise.harmless(before)
    assert after.replace("\u200b", "") == before
    for mention in ("@everyone", "<@", "<!", "<#", "@here", "@Channel"):
        assert mention not in after
    assert "user@example.com" in after
    assert json.loads(json.dumps(after)) == after
