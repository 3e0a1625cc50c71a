"""What is owed is delivered, at least once, in order, and every attempt is written down. Over a real ledger."""

from datetime import UTC, datetime, timedelta

import pytest

from collector import canonical, config
from collector.alert.email import Email
from collector.alert.message import DeliveryFailed
from collector.alert.outbox import (
    ATTEMPTS_MIN,
    DELIVERIES_MAX,
    RETRY_SECONDS_MAX,
    deliver_due,
    open_channels,
    retry_after,
)
from collector.alert.webhook import Webhook
from collector.errors import ConfigError, StoreError
from collector.ledger.entry import Kind

FAR = datetime(9999, 1, 1, tzinfo=UTC)


class Fake:
    """A channel that does what it is told, then delivers."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.heard = []

    def send(self, alert):
        self.heard.append((alert["event"], alert["seq"]))
        answer = self.answers.pop(0) if self.answers else "fine"
        if isinstance(answer, Exception):
            raise answer
        return answer


def later(detail="HTTP 503"):
    return DeliveryFailed(detail, retry=True)


def never(detail="HTTP 400"):
    return DeliveryFailed(detail, retry=False)


class Down:
    def send(self, alert):
        raise later()


def test_what_is_owed_is_delivered_once_and_written_down(book, receiver, webhook, clock):
    alert = book.trigger("pager")
    assert deliver_due(book.ledger, {"pager": webhook}, clock) == {("pager", "delivered"): 1}
    (request,) = receiver.requests
    assert request.genuine
    assert request.data["key"] == alert.data["key"]
    (delivery,) = book.deliveries()
    assert {name: delivery[name] for name in ("alert", "channel", "attempt", "outcome", "detail", "retry_at")} == {
        "alert": alert.seq,
        "channel": "pager",
        "attempt": 1,
        "outcome": "delivered",
        "detail": "HTTP 200",
        "retry_at": None,
    }
    assert deliver_due(book.ledger, {"pager": webhook}, clock) == {}
    book.reopen()
    assert deliver_due(book.ledger, {"pager": webhook}, clock) == {}
    assert len(receiver.requests) == 1


def test_a_resolve_follows_its_trigger_with_the_same_key(book, receiver, webhook, clock):
    book.trigger("pager")
    book.resolve("pager")
    assert deliver_due(book.ledger, {"pager": webhook}, clock).total() == 2
    assert [request.data["event"] for request in receiver.requests] == ["trigger", "resolve"]
    assert len({request.data["key"] for request in receiver.requests}) == 1
    assert len({request.headers["Idempotency-Key"] for request in receiver.requests}) == 2


def test_a_crash_between_sending_and_writing_sends_again_with_the_same_key(book, receiver, webhook, clock, monkeypatch):
    book.trigger("pager")

    def crash():
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(book.ledger, "write", crash)
        with pytest.raises(StoreError):
            deliver_due(book.ledger, {"pager": webhook}, clock)
    assert len(receiver.requests) == 1
    assert book.deliveries() == []
    book.reopen()
    clock.pass_(seconds=5)
    assert deliver_due(book.ledger, {"pager": webhook}, clock) == {("pager", "delivered"): 1}
    first, again = receiver.requests
    assert first.headers["Idempotency-Key"] == again.headers["Idempotency-Key"]
    assert first.body == again.body
    assert first.genuine
    assert again.genuine


def test_a_receiver_that_is_down_is_asked_again_later_and_later(book, receiver, webhook, clock):
    book.trigger("pager")
    receiver.statuses = [503, 503]
    assert deliver_due(book.ledger, {"pager": webhook}, clock) == {("pager", "failed"): 1}
    (failed,) = book.deliveries()
    wait = canonical.moment(failed["retry_at"]) - clock()
    assert timedelta(seconds=22) <= wait <= timedelta(seconds=30)
    assert failed["detail"] == "HTTP 503"
    assert deliver_due(book.ledger, {"pager": webhook}, clock) == {}  # not yet
    clock.pass_(seconds=31)
    assert deliver_due(book.ledger, {"pager": webhook}, clock) == {("pager", "failed"): 1}
    clock.pass_(seconds=31)
    assert deliver_due(book.ledger, {"pager": webhook}, clock) == {}  # the second wait is longer
    clock.pass_(seconds=30)
    assert deliver_due(book.ledger, {"pager": webhook}, clock) == {("pager", "delivered"): 1}
    assert [data["attempt"] for data in book.deliveries()] == [1, 2, 3]
    assert len({request.headers["Idempotency-Key"] for request in receiver.requests}) == 1


def test_after_a_day_it_is_given_up_and_never_sent_again(book, clock):
    book.trigger("pager")
    channel = Down()
    for _ in range(400):
        deliver_due(book.ledger, {"pager": channel}, clock)
        clock.pass_(minutes=5)
    outcomes = [data["outcome"] for data in book.deliveries()]
    assert outcomes[-1] == "gave-up"
    assert set(outcomes[:-1]) == {"failed"}
    last = book.deliveries()[-1]
    assert canonical.moment(last["at"]) - book.ledger.entry(last["alert"]).at >= timedelta(hours=24)
    assert last["retry_at"] is None
    assert last["detail"] == f"HTTP 503; given up after {len(outcomes)} attempts"
    assert 24 < len(outcomes) < 60
    assert book.ledger.projection.pending(FAR) == []


def test_an_alert_that_grew_old_while_the_collector_was_down_is_still_tried(book, clock):
    book.trigger("pager")
    clock.pass_(days=3)
    channel = Fake(*[later() for _ in range(ATTEMPTS_MIN - 1)])
    for _ in range(ATTEMPTS_MIN):
        deliver_due(book.ledger, {"pager": channel}, clock)
        clock.pass_(hours=1)
    assert [data["outcome"] for data in book.deliveries()] == ["failed"] * (ATTEMPTS_MIN - 1) + ["delivered"]


def test_what_can_never_arrive_is_given_up_at_once_and_holds_up_nothing(book, clock):
    book.trigger("pager")
    book.trigger("pager", subject="another")
    channel = Fake(never())
    assert deliver_due(book.ledger, {"pager": channel}, clock) == {("pager", "gave-up"): 1, ("pager", "delivered"): 1}
    assert book.deliveries()[0]["detail"] == "HTTP 400"


# --- order ---


def test_a_resolve_waits_for_its_trigger_and_never_overtakes_it(book, clock):
    trigger = book.trigger("pager")
    channel = Fake(later(), later())
    deliver_due(book.ledger, {"pager": channel}, clock)
    resolve = book.resolve("pager")
    deliver_due(book.ledger, {"pager": channel}, clock)  # the resolve is due, its trigger is not
    assert channel.heard == [("trigger", trigger.seq)]
    clock.pass_(minutes=1)
    deliver_due(book.ledger, {"pager": channel}, clock)
    clock.pass_(minutes=2)
    assert deliver_due(book.ledger, {"pager": channel}, clock) == {("pager", "delivered"): 2}
    assert channel.heard == [("trigger", trigger.seq)] * 3 + [("resolve", resolve.seq)]


def test_the_resolve_of_a_trigger_that_was_given_up_still_goes(book, clock):
    trigger = book.trigger("pager")
    resolve = book.resolve("pager")
    channel = Fake(never())
    deliver_due(book.ledger, {"pager": channel}, clock)
    assert book.outcomes() == [(trigger.seq, "pager", "gave-up"), (resolve.seq, "pager", "delivered")]


def test_flapping_arrives_in_order(book, clock):
    for _ in range(3):
        book.trigger("pager")
        book.resolve("pager")
    channel = Fake()
    deliver_due(book.ledger, {"pager": channel}, clock)
    assert [event for event, _ in channel.heard] == ["trigger", "resolve"] * 3
    assert [seq for _, seq in channel.heard] == sorted(seq for _, seq in channel.heard)


# --- one channel and the others ---


def test_a_channel_that_is_down_is_asked_once_in_a_pass_and_holds_up_no_other(book, clock):
    for number in range(5):
        book.trigger("pager", "chat", subject=f"user {number}")
    pager, chat = Fake(*[later() for _ in range(5)]), Fake()
    assert deliver_due(book.ledger, {"pager": pager, "chat": chat}, clock) == {
        ("pager", "failed"): 1,
        ("chat", "delivered"): 5,
    }
    assert len(pager.heard) == 1
    deliver_due(book.ledger, {"pager": pager, "chat": chat}, clock)
    assert len({seq for _, seq in pager.heard}) == 2  # the next pass asks with the next alert
    clock.pass_(hours=1)
    for _ in range(5):
        deliver_due(book.ledger, {"pager": pager, "chat": chat}, clock)
        clock.pass_(hours=1)
    assert book.ledger.projection.pending(FAR) == []
    assert [outcome for _, channel, outcome in book.outcomes() if channel == "pager"].count("delivered") == 5


def test_a_channel_that_is_no_longer_configured_is_given_up_with_words(book, clock):
    book.trigger("gone", "chat")
    assert deliver_due(book.ledger, {"chat": Fake()}, clock) == {("gone", "gave-up"): 1, ("chat", "delivered"): 1}
    assert "no channel of this name" in next(d["detail"] for d in book.deliveries() if d["channel"] == "gone")


def test_a_defect_in_a_channel_is_a_failure_and_not_the_end(book, clock):
    book.trigger("pager", "chat")
    broken = Fake(KeyError("a secret"))
    assert deliver_due(book.ledger, {"pager": broken, "chat": Fake()}, clock) == {
        ("pager", "failed"): 1,
        ("chat", "delivered"): 1,
    }
    assert next(d["detail"] for d in book.deliveries() if d["channel"] == "pager") == "the channel crashed: KeyError"


def test_an_alert_for_nobody_is_owed_to_nobody(book, clock):
    book.trigger()
    assert deliver_due(book.ledger, {"pager": Fake()}, clock) == {}


def test_a_pass_is_bounded(book, clock):
    for number in range(DELIVERIES_MAX + 3):
        book.trigger("pager", subject=f"user {number}")
    channel = Fake()
    assert deliver_due(book.ledger, {"pager": channel}, clock).total() == DELIVERIES_MAX
    assert deliver_due(book.ledger, {"pager": channel}, clock).total() == 3
    assert [seq for _, seq in channel.heard] == sorted(seq for _, seq in channel.heard)


def test_each_attempt_is_written_at_its_own_time(book, clock):
    class Slow:
        def send(self, alert):
            clock.pass_(seconds=7)
            return "fine"

    book.trigger("pager")
    book.trigger("pager", subject="another")
    deliver_due(book.ledger, {"pager": Slow()}, clock)
    first, second = (canonical.moment(data["at"]) for data in book.deliveries())
    assert second - first == timedelta(seconds=7)


def test_what_is_owed_is_the_same_after_a_rebuild(book, clock):
    book.trigger("pager", "chat")
    book.trigger("pager", subject="another")
    deliver_due(book.ledger, {"pager": Fake(later()), "chat": Fake()}, clock)
    before = book.ledger.projection.pending(FAR)
    book.ledger.rebuild()
    assert book.ledger.projection.pending(FAR) == before
    assert len(before) == 2
    assert len(list(book.ledger.entries(kinds=(Kind.DELIVERY,)))) == 2


# --- how long to wait ---


def test_waits_double_up_to_an_hour_and_differ_between_alerts():
    waits = [retry_after(attempt, "a").total_seconds() for attempt in range(1, 40)]
    for attempt, wait in enumerate(waits, 1):
        whole = min(30 * 2 ** (attempt - 1), RETRY_SECONDS_MAX)
        assert 0.75 * whole - 1 <= wait <= whole
    assert retry_after(3, "a") == retry_after(3, "a")
    assert len({retry_after(8, f"{number}") for number in range(50)}) > 25
    assert retry_after(10**6, "a") <= timedelta(seconds=RETRY_SECONDS_MAX)


# --- channels out of the configuration ---


def test_channels_are_opened_with_their_secrets(tmp_path):
    path = tmp_path / "collector.toml"
    path.write_text(
        """
        [collector]
        origin = "evidence.example.com/test"
        [alerts.webhook.pager]
        url = "https://pager.example/"
        secret_env = "PAGER"
        [alerts.email.team]
        host = "localhost"
        port = 25
        from = "a@example.com"
        to = ["b@example.com"]
        """
    )
    settings = config.load(path, {})
    channels = open_channels(settings, {"PAGER": "0123456789abcdef"})
    assert list(channels) == ["pager", "team"]
    assert isinstance(channels["pager"], Webhook)
    assert isinstance(channels["team"], Email)
    with pytest.raises(ConfigError, match="PAGER"):
        open_channels(settings, {})
