"""A receiver that asks to be left alone is, for all alerts, for as long as it asks, and no longer than an hour."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from collector import canonical
from collector.alert.message import DeliveryFailed
from collector.alert.outbox import RETRY_SECONDS_MAX, deliver_due
from collector.alert.webhook import Webhook
from tests.support.receivers import Answer, Receiver


@pytest.fixture
def place() -> Iterator[Receiver]:
    found = Receiver(Answer(200))
    yield found
    found.close()


def test_nothing_is_sent_before_the_time_that_it_asked_for(book, place, clock) -> None:
    channels = {"pager": Webhook(place.url, b"a secret of more than sixteen bytes", timeout=5, clock=clock.unix)}
    book.trigger("pager")
    book.trigger("pager", subject="arn:aws:iam::123456789012:user/bob")
    place.answers = [Answer(429, headers={"Retry-After": "600"})]
    assert deliver_due(book.ledger, channels, clock) == {("pager", "failed"): 1}
    (failed,) = book.deliveries()
    assert canonical.moment(failed["retry_at"]) - clock() == timedelta(seconds=600)
    for _ in range(6):  # the second alert, which was not refused itself, waits as well
        clock.pass_(seconds=95)
        assert deliver_due(book.ledger, channels, clock) == {}
    assert len(place.received) == 1
    clock.pass_(seconds=31)
    assert deliver_due(book.ledger, channels, clock) == {("pager", "delivered"): 2}


def test_other_receivers_do_not_wait_along(book, place, clock) -> None:
    channels = {
        name: Webhook(place.url, b"a secret of more than sixteen bytes", timeout=5, clock=clock.unix)
        for name in ("one", "two")
    }
    book.trigger("one", "two")
    place.answers = [Answer(503, headers={"Retry-After": "600"})]
    assert deliver_due(book.ledger, channels, clock) == {("one", "failed"): 1, ("two", "delivered"): 1}


class Asking:
    """A channel whose receiver asks for a time."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds

    def send(self, alert: object) -> str:
        raise DeliveryFailed("HTTP 429", retry=True, retry_after=self.seconds)


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [(None, 22, 30), (0, 22, 30), (5, 22, 30), (100, 100, 100), (10**9, RETRY_SECONDS_MAX, RETRY_SECONDS_MAX)],
)
def test_the_longer_of_its_wish_and_our_patience_counts_up_to_an_hour(book, clock, asked, least, most) -> None:
    book.trigger("pager")
    deliver_due(book.ledger, {"pager": Asking(asked)}, clock)
    (failed,) = book.deliveries()
    assert least <= (canonical.moment(failed["retry_at"]) - clock()).total_seconds() <= most
