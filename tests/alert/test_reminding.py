"""Alerts that nobody took note of, the daily digest, acknowledgements, and what is told again: over a real ledger."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import canonical, config, decisions
from collector.alert import reminding
from collector.alert.alertmanager import Alertmanager, postable
from collector.alert.explaining import SECONDS_MAX, Explainer
from collector.alert.message import DeliveryFailed, head, text
from collector.alert.outbox import Repeater, deliver_due
from collector.errors import Unavailable
from collector.ledger.entry import Draft, Entry, Kind, PlannedCheck, gap_fields, plan_fields
from collector.model import Gap, State
from tests.alert.test_standing import House
from tests.support.drifting import SCOPE, START

S, N = State.SATISFIED, State.NOT_SATISFIED
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ROUTES = """
[alerts.webhook.boss]
url = "https://boss.example/"
secret_env = "S"
[alerts.email.team]
host = "localhost"
port = 25
from = "a@example.com"
to = ["b@example.com"]
[[route]]
match = { cause = "failed" }
channels = ["pager", "team"]
escalate_after = "30m"
escalate_to = ["boss"]
"""


class Fake:
    """A channel that remembers, and fails when it is told to."""

    resend_seconds = 240

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.heard: list[Any] = []

    def send(self, alert: Any) -> str:
        self.heard.append(alert)
        if self.answers:
            raise self.answers.pop(0)
        return "fine"


class Desk(House):
    """A house with routes that tests write."""

    def configure(self, more: str) -> None:
        path = self._folder / "collector.toml"
        path.write_text(path.read_text("utf-8") + more)
        self.settings = config.load(path, {})

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        super().__init__(folder)

    def escalate(self, after: timedelta) -> list[Entry]:
        self.now += after
        return reminding.escalate(self.ledger, self.controls, self.settings, lambda: self.now)

    def ack(self, alert: Entry, **more: Any) -> Entry:
        about = {"alert": alert.seq, "person": "Ann", "settings": self.settings, **more}
        return decisions.acknowledge(self.ledger, self.now, **about)

    def digest(self, after: timedelta) -> Entry | None:
        self.now += after
        return reminding.digest(self.ledger, self.settings, lambda: self.now)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    found = Desk(tmp_path)
    yield found
    found.ledger.verify()
    found.ledger.close()


# --- escalation ---


def test_what_nobody_took_note_of_is_told_to_others_once_and_so_is_its_end(desk: Desk) -> None:
    desk.configure(ROUTES)
    _, (alert,) = desk.step({"a": N})
    assert desk.escalate(29 * MINUTE) == []
    (told,) = desk.escalate(MINUTE)
    assert (told.data["event"], told.data["key"], told.data["channels"]) == ("escalate", alert.data["key"], ["boss"])
    assert (told.data["facts"], told.data["link"]) == (alert.data["facts"], alert.data["link"])
    assert head(told.data) == "Unacknowledged: Failed"
    assert "Nobody has taken note" in text(told.data)
    desk.restart()
    assert desk.escalate(HOUR) == []
    _, (over,) = desk.step({"a": S})
    assert over.data["channels"] == ["pager", "team", "boss"]
    _, (again,) = desk.step({"a": N})
    (once_more,) = desk.escalate(30 * MINUTE)
    assert once_more.data["key"] == again.data["key"]


@pytest.mark.parametrize("how", ["acknowledged", "over"])
def test_what_somebody_took_note_of_or_is_over_is_not(desk: Desk, how: str) -> None:
    desk.configure(ROUTES)
    _, (alert,) = desk.step({"a": N})
    desk.ack(alert) if how == "acknowledged" else desk.step({"a": S}, MINUTE)
    assert desk.escalate(HOUR) == []


def test_another_cause_takes_another_route_and_none_is_none(desk: Desk) -> None:
    desk.step({"a": N})
    assert desk.escalate(HOUR) == []
    desk.configure(ROUTES)
    desk.step({"a": State.UNDETERMINED, "b": S})
    assert [entry.data["cause"] for entry in desk.escalate(HOUR)] == ["failed"]


def test_time_in_quiet_hours_does_not_count_and_others_have_theirs_too(desk: Desk) -> None:
    desk.configure(ROUTES + 'quiet = "01:00-07:00"\nzone = "Europe/Berlin"\n')
    _, (alert,) = desk.step({"a": N})  # at 02:00 in Berlin, on the night on which 02:00 is skipped a day later
    until = canonical.stamp(datetime.fromisoformat("2026-03-28T07:00:00+01:00"))
    assert alert.data["quiet"] == {"pager": until, "team": until}
    assert desk.ledger.projection.pending(desk.now) == []
    assert desk.escalate(canonical.moment(until) - desk.now + 29 * MINUTE) == []
    (told,) = desk.escalate(MINUTE)
    assert "quiet" not in told.data
    assert [one.channel for one in desk.ledger.projection.pending(desk.now)] == ["pager", "team", "boss"]
    desk.now = canonical.moment("2026-03-29T00:10:00.000000Z")
    desk.step({"a": N, "b": N}, timedelta(0))
    assert desk.escalate(timedelta(0)) == []


def test_a_resolve_in_quiet_hours_follows_its_trigger(desk: Desk) -> None:
    desk.configure(ROUTES + 'quiet = "00:00-07:00"\n')
    desk.step({"a": N})
    desk.step({"a": S})
    channel = Fake()
    desk.now += 9 * HOUR
    deliver_due(desk.ledger, {"pager": channel}, lambda: desk.now)
    assert [alert["event"] for alert in channel.heard] == ["trigger", "resolve"]


# --- acknowledgements ---


def test_others_hear_that_somebody_took_note_where_many_read_along(desk: Desk) -> None:
    desk.configure(ROUTES)
    _, (alert,) = desk.step({"a": N})
    desk.escalate(30 * MINUTE)
    desk.ack(alert, note="on it", via="pager")
    (told,) = [e for e in desk.ledger.entries(kinds=[Kind.ALERT]) if e.data["event"] == "acknowledge"]
    assert told.data["channels"] == ["boss"]  # whoever told us knows, and nobody gets mail for it
    assert told.data["reason"] == "Ann has taken note: on it"
    assert (told.data["key"], head(told.data)) == (alert.data["key"], "Acknowledged")
    assert desk.ledger.projection.open_alerts() == {alert.data["key"]: alert}


def test_an_alert_that_is_over_is_acknowledged_in_silence(desk: Desk) -> None:
    desk.configure(ROUTES)
    _, (alert,) = desk.step({"a": N})
    desk.step({"a": S})
    before = desk.ledger.size()
    desk.ack(alert)
    assert desk.ledger.size() == before + 1


# --- the digest ---


def planned(desk: Desk) -> None:
    item = PlannedCheck("aws-a-b", (str(SCOPE),), 3600)
    with desk.ledger.write() as batch:
        fields = plan_fields(SCOPE, START, START + timedelta(days=40), [item], [], "")
        batch.add(Draft(Kind.PLAN, START, fields))


DIGEST = '\n[digest]\nat = "08:00"\nzone = "Europe/Berlin"\nchannels = ["pager"]\n'


def test_once_a_day_it_is_told_what_stands_open_what_is_over_and_what_was_observed(desk: Desk) -> None:
    desk.configure(DIGEST)
    planned(desk)
    desk.step({"a": N, "b": N})
    desk.step({"a": N, "b": S})
    with desk.ledger.write() as batch:
        gap = Gap(SCOPE, (), START + 3 * HOUR, START + 4 * HOUR, "it was down")
        batch.add(Draft(Kind.GAP, desk.now, gap_fields(gap)))
    assert desk.digest(timedelta(0)) is None  # the hour has not struck since the ledger began
    desk.now = canonical.moment("2026-03-28T07:00:00.000000Z")
    entry = desk.digest(timedelta(0))
    assert entry is not None
    data = entry.data
    assert (data["event"], data["cause"], data["channels"]) == ("digest", "digest", ["pager"])
    assert (data["open"], data["over"], data["due"], data["covered"]) == (1, 1, 7, 0)  # runs by hand fill no slot
    said = text(data)
    assert "1 alerts stand open, 1 were over within a day" in said
    assert "high: Failed: aws-a-b: a is not-satisfied (since 2026-03-28T01:00Z, entry" in said
    assert "No longer failed: aws-a-b: b is satisfied" in said
    assert "aws-a-b over aws/1: 0 of 7 in time, the longest hole 420 min" in said
    assert desk.ledger.projection.open_alerts().keys() == {data_key(desk, "a")}


def data_key(desk: Desk, subject: str) -> str:
    return next(e.data["key"] for e in desk.ledger.entries(kinds=[Kind.ALERT]) if e.data["subject"] == subject)


def test_a_digest_is_told_once_a_day_late_if_need_be_and_by_one_process(desk: Desk) -> None:
    desk.configure(DIGEST)
    planned(desk)
    desk.now = canonical.moment("2026-03-28T06:59:59.000000Z")
    assert desk.digest(timedelta(0)) is None
    assert desk.digest(timedelta(seconds=1)) is not None
    desk.restart()
    assert desk.digest(23 * HOUR - timedelta(seconds=1)) is None  # clocks go forward: 08:00 comes an hour sooner
    assert desk.digest(timedelta(seconds=1)) is not None
    assert desk.digest(timedelta(days=3, hours=5)) is not None  # it was down for days: one digest, of the last of them
    assert desk.digest(HOUR) is None


def test_without_a_digest_nobody_is_told(desk: Desk) -> None:
    assert desk.digest(timedelta(days=3)) is None


def test_a_long_digest_is_cut_and_still_fits(desk: Desk) -> None:
    desk.configure(DIGEST)
    wide = "\U0001f512" * 500
    standing: dict[str, State] = {}
    for hour in range(30):
        standing |= {f"{hour:02}-{n}-{wide}": N for n in range(5)}
        desk.step(standing, 5 * MINUTE)
        desk.step({**standing, f"over {hour} {wide}": N}, 5 * MINUTE)
        desk.step({**standing, f"over {hour} {wide}": S}, 5 * MINUTE)
    entry = desk.digest(timedelta(days=1))
    assert entry is not None
    assert entry.data["open"] == 150
    assert len([line for line in entry.data["lines"] if line.startswith("  and ")]) >= 1
    assert len(entry.body) > 10_000


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ('[digest]\nat = "8:00"\nchannels = ["pager"]\n', "time of day"),
        ('[digest]\nat = "08:00"\nchannels = ["pagr"]\n', "did you mean 'pager'"),
        ('[digest]\nat = "08:00"\nchannels = []\n', "empty"),
        ('[[route]]\nchannels = ["pager"]\nquiet = "22-7"\n', "two times of day"),
        ('[[route]]\nchannels = ["pager"]\nquiet = "22:00-22:00"\n', "two times of day"),
        ('[[route]]\nchannels = ["pager"]\nzone = "Berlin"\n', "no IANA time zone"),
        ('[[route]]\nchannels = ["pager"]\nescalate_after = "30m"\n', "goes with escalate_to"),
        ('[[route]]\nchannels = []\nescalate_after = "30m"\nescalate_to = ["bos"]\n', "names the channel 'bos'"),
        ('[[route]]\nchannels = ["pager"]\nquiet_severities = ["worst"]\n', "quiet_severities"),
    ],
)
def test_what_cannot_be_meant_is_refused(desk: Desk, tables: str, words: str) -> None:
    with pytest.raises(config.ConfigError, match=words):
        desk.configure(tables)


# --- who changed it ---

WHO = {"who": "mallory", "event": "iam:DeactivateMFADevice", "when": "then", "request": "r-1", "source": "CloudTrail"}


def test_who_changed_it_is_asked_once_kept_and_told_on_every_channel_and_attempt(desk: Desk) -> None:
    desk.configure(ROUTES)
    _, (alert,) = desk.step({"a": N})
    asked: list[Any] = []

    def ask(about: Any) -> Any:
        asked.append(about)
        return WHO

    pager, team = Fake(DeliveryFailed("HTTP 503", retry=True)), Fake()
    deliver_due(desk.ledger, {"pager": pager, "team": team}, lambda: desk.now, Explainer(ask))
    desk.restart()
    desk.now += HOUR
    deliver_due(desk.ledger, {"pager": pager, "team": team}, lambda: desk.now, Explainer(ask))
    assert [about["seq"] for about in asked] == [alert.seq]
    assert [told["changed_by"] for told in (*pager.heard, *team.heard)] == [WHO] * 3
    words = "Changed by: mallory, iam:DeactivateMFADevice at then (CloudTrail, request r-1)"
    assert words in text(pager.heard[0])
    (kept,) = [e for e in desk.ledger.entries(kinds=[Kind.ALERT]) if e.data["event"] == "explain"]
    assert (kept.data["changed_by"], kept.data["channels"]) == (WHO, [])


def nobody(_: Any) -> None:
    return None


def refused(_: Any) -> None:
    raise Unavailable("no answer")


def broken(_: Any) -> None:
    raise KeyError("a defect")


@pytest.mark.parametrize("ask", [nobody, refused, broken])
def test_when_nobody_says_who_the_alert_goes_all_the_same(desk: Desk, ask: Any) -> None:
    desk.step({"a": N})
    pager = Fake()
    deliver_due(desk.ledger, {"pager": pager}, lambda: desk.now, Explainer(ask))
    assert ["changed_by" in told for told in pager.heard] == [False]


def test_a_log_that_does_not_answer_holds_up_a_pass_for_seconds_and_all_alerts_go(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.alert.explaining.SECONDS_MAX", 0.3)
    assert SECONDS_MAX == 5
    desk.step({"a": N, "b": N, "c": N})
    gate = threading.Event()
    asked: list[Any] = []

    def ask(about: Any) -> None:
        asked.append(about)
        gate.wait(20)

    explainer = Explainer(ask)
    pager = Fake()
    deliver_due(desk.ledger, {"pager": pager}, lambda: desk.now, explainer)
    assert len(pager.heard) == 3
    assert len(asked) == 1  # while it waits, no other question is put
    gate.set()


def test_what_is_blind_or_over_has_nobody_who_changed_it(desk: Desk) -> None:
    asked: list[Any] = []
    desk.step({"a": State.UNDETERMINED})
    desk.step({"a": S})
    deliver_due(desk.ledger, {"pager": Fake()}, lambda: desk.now, Explainer(asked.append))
    assert asked == []


# --- again and again ---


def test_what_stands_open_is_told_again_to_a_channel_that_forgets_until_it_is_over(desk: Desk) -> None:
    manager = Fake()
    repeater = Repeater(desk.ledger, {"pager": manager}, lambda: desk.now)
    desk.step({"a": N})
    desk.now += HOUR
    assert repeater.repeat() == 0  # it is still owed: told in its turn
    deliver_due(desk.ledger, {"pager": manager}, lambda: desk.now)
    size = desk.ledger.size()
    assert repeater.repeat() == 0  # it has just looked
    desk.now += timedelta(seconds=manager.resend_seconds / 10)
    assert repeater.repeat() == 1
    assert repeater.repeat() == 0
    desk.now += timedelta(seconds=manager.resend_seconds)
    assert repeater.repeat() == 1
    assert [told["at"] for told in manager.heard[1:]] == [
        canonical.stamp(desk.now - timedelta(seconds=manager.resend_seconds)),
        canonical.stamp(desk.now),
    ]
    assert desk.ledger.size() == size  # it is no news
    desk.step({"a": S})
    desk.now += HOUR
    assert repeater.repeat() == 0


def test_a_repetition_that_fails_is_made_up_for_and_others_need_none(desk: Desk) -> None:
    class Once:
        def send(self, alert: Any) -> str:
            return "fine"

    desk.step({"a": N})
    assert Repeater(desk.ledger, {"pager": Once()}, lambda: desk.now).repeat() == 0
    manager = Fake()
    deliver_due(desk.ledger, {"pager": manager}, lambda: desk.now)
    repeater = Repeater(desk.ledger, {"pager": manager}, lambda: desk.now)
    desk.now += HOUR
    manager.answers = [DeliveryFailed("HTTP 503", retry=True)]
    assert repeater.repeat() == 0
    desk.now += timedelta(seconds=manager.resend_seconds / 10)
    assert repeater.repeat() == 1


def test_an_alertmanager_is_told_again_before_the_end_that_it_was_told(desk: Desk) -> None:
    manager = Alertmanager("http://127.0.0.1:9093", origin="o", hold=900, timeout=1)
    assert 0 < manager.resend_seconds <= 300
    _, (alert,) = desk.step({"a": N})
    body = postable({**alert.data, "at": canonical.stamp(desk.now + HOUR)}, "o", timedelta(seconds=900))
    first = postable(alert.data, "o", timedelta(seconds=900))
    assert body["labels"] == first["labels"]
    assert body["startsAt"] == first["startsAt"]
    assert canonical.moment(body["endsAt"]) - canonical.moment(first["endsAt"]) == HOUR
