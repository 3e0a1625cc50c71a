"""Alertmanager's API v2: alerts as its OpenAPI has them, and a resolve that resolves by Alertmanager's own rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator, FormatChecker

from collector import canonical
from collector.alert.alertmanager import ENDED, PATH, Alertmanager
from collector.alert.message import DeliveryFailed
from tests.support import receivers
from tests.support.receivers import Answer, Receiver

SCHEMA = json.loads((Path(__file__).parents[1] / "schemas/alerts/alertmanager-v2.json").read_text())
VALIDATOR = Draft4Validator(
    {**SCHEMA, "allOf": [{"$ref": "#/definitions/postableAlerts"}]}, format_checker=FormatChecker()
)
HOLD = 86_400
AT = canonical.moment(receivers.AT)


@dataclass(frozen=True)
class Kept:
    """An alert in Alertmanager's memory."""

    starts: datetime
    ends: datetime
    updated: datetime

    def resolved(self, now: datetime) -> bool:
        return not self.ends > now


class Memory:
    """What Alertmanager does with what it is sent: validation, and the merge of its provider (types.Alert.Merge)."""

    def __init__(self) -> None:
        self.alerts: dict[str, Kept] = {}

    def take(self, body: list[dict[str, Any]], now: datetime) -> None:
        VALIDATOR.validate(body)
        for one in body:
            assert one["labels"]["alertname"]
            assert all(name and value for name, value in one["labels"].items())
            new = Kept(canonical.moment(one["startsAt"]), canonical.moment(one["endsAt"]), now)
            assert new.starts <= new.ends, "start time must be before end time"
            fingerprint = json.dumps(one["labels"], sort_keys=True)
            old = self.alerts.get(fingerprint)
            if old is not None and (old.starts < new.ends < old.ends or old.starts < new.starts < old.ends):
                new = self.merged(old, new, now)
            self.alerts[fingerprint] = new

    @staticmethod
    def merged(a: Kept, o: Kept, now: datetime) -> Kept:
        found = replace(o, starts=min(a.starts, o.starts))
        if o.resolved(now):
            return replace(found, ends=a.ends) if a.resolved(now) and a.ends > o.ends else found
        return replace(found, ends=a.ends) if a.ends > o.ends else found

    def firing(self, now: datetime) -> int:
        return sum(not kept.resolved(now) for kept in self.alerts.values())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(Answer(200))
    yield found
    found.close()


@pytest.fixture
def manager(receiver: Receiver) -> Alertmanager:
    return Alertmanager(receiver.base + "/prefix/", origin="evidence.example.com/test", hold=HOLD, timeout=5)


def sent(manager: Alertmanager, receiver: Receiver, alert: dict[str, Any]) -> list[dict[str, Any]]:
    assert manager.send(alert) == "HTTP 200"
    request = receiver.received[-1]
    assert request.path == "/prefix" + PATH
    body: list[dict[str, Any]] = request.data
    return body


@pytest.mark.parametrize(
    "alert", [*receivers.every(), *receivers.hostile()], ids=lambda a: f"{a['cause']}-{a['event']}"
)
def test_each_alert_is_as_published(manager: Alertmanager, receiver: Receiver, alert: dict) -> None:
    if alert["event"] in ("acknowledge", "digest"):
        with pytest.raises(DeliveryFailed) as caught:
            manager.send(alert)
        assert not caught.value.retry
        return
    (found,) = sent(manager, receiver, alert)
    Memory().take([found], AT)
    assert all(len(value) <= 2_000 for value in (*found["labels"].values(), *found["annotations"].values()))
    assert all(name.isidentifier() for name in (*found["labels"], *found["annotations"]))


@pytest.mark.parametrize("cause", ["failed", "blind", "missed", "late", "anchor", "lapsed"])
@pytest.mark.parametrize("skew", [-240, 0, 30])
@pytest.mark.parametrize("lasted", [0, 1, 299, 3_600, 90_000])
def test_a_trigger_fires_until_its_resolve_ends_it(
    manager: Alertmanager, receiver: Receiver, cause: str, skew: int, lasted: int
) -> None:
    """Also when what was said of the control has changed meanwhile, and Alertmanager's clock is slow or fast."""
    memory, slow = Memory(), timedelta(seconds=skew)
    memory.take(sent(manager, receiver, receivers.alert(cause)), AT + slow)
    assert memory.firing(AT + slow) == 1
    assert memory.firing(AT + timedelta(hours=23)) == 1, "not forgotten after resolve_timeout"
    over = AT + timedelta(seconds=lasted)
    changed = {
        "owner": "other",
        "control": "MFA-9",
        "severity": "low",
        "title": "t",
        "reason": "r",
        "remedy": "",
        "family": "",
    }
    resolve = receivers.alert(cause, "resolve", at=canonical.stamp(over), **changed)
    memory.take(sent(manager, receiver, resolve), over + slow)
    if lasted < HOLD:
        assert len(memory.alerts) == 1
    assert memory.firing(over + slow) == 0
    again = receivers.alert(cause, at=canonical.stamp(over + timedelta(hours=1)), since=canonical.stamp(over + ENDED))
    memory.take(sent(manager, receiver, again), over + timedelta(hours=1) + slow)
    assert memory.firing(over + timedelta(hours=1) + slow) == 1


def test_labels_hold_what_never_changes_and_two_things_are_two_alerts(
    manager: Alertmanager, receiver: Receiver
) -> None:
    (found,) = sent(manager, receiver, receivers.alert())
    assert set(found["labels"]) == {"alertname", "collector", "key", "cause", "check", "scope", "subject"}
    assert found["labels"]["collector"] == "evidence.example.com/test"
    assert found["annotations"]["severity"] == "high"
    assert found["annotations"]["first_bad"] == "entry 131 of the ledger"
    (other,) = sent(manager, receiver, receivers.alert(key="f" * 32))
    assert other["labels"] != found["labels"]
    (linked,) = sent(manager, receiver, receivers.grouped())
    assert linked["generatorURL"] == receivers.grouped()["link"]


def test_it_logs_in(receiver: Receiver) -> None:
    Alertmanager(receiver.base, origin="e/t", hold=60, authorization="Bearer abc", timeout=5).send(receivers.alert())
    Alertmanager(receiver.base, origin="e/t", hold=60, timeout=5).send(receivers.alert())
    assert [request.headers.get("Authorization") for request in receiver.received] == ["Bearer abc", None]
