"""Acknowledgements from PagerDuty over real HTTP into a real ledger: signed, once, by a person, about what stands open.

The payload is the example of https://developer.pagerduty.com/docs/webhooks-overview with members of it changed.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from collector import canonical, config, decisions
from collector.errors import StoreError
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from collector.web import hooks
from collector.web.app import Server
from collector.web.hooks import BODY_BYTES_MAX, PagerDutyHook, open_hooks
from collector.web.metrics import Metrics
from tests.support import receivers

OLD, NEW = b"SECRET-old-0123456789", b"SECRET-new-0123456789"
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
KEY = receivers.alert()["key"]
REFERENCE = {"html_url": "https://acme.pagerduty.com/x", "id": "PF9KMXH", "self": "https://api.pagerduty.com/x"}


def event(**changes: Any) -> dict[str, Any]:
    """The documented payload of an acknowledgement; members of ``event`` by name, ``incident_key`` of its data."""
    key = changes.pop("incident_key", KEY)
    data = {
        "id": "PGR0VU2",
        "type": "incident",
        "self": "https://api.pagerduty.com/incidents/PGR0VU2",
        "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2",
        "number": 2,
        "status": "acknowledged",
        "incident_key": key,
        "created_at": "2026-03-01T12:00:07Z",
        "title": "A little bump in the road",
        "service": {**REFERENCE, "summary": "API Service", "type": "service_reference"},
        "assignees": [{**REFERENCE, "summary": "User 123", "type": "user_reference"}],
        "escalation_policy": {**REFERENCE, "summary": "Default", "type": "escalation_policy_reference"},
        "teams": [{**REFERENCE, "summary": "Engineering", "type": "team_reference"}],
        "priority": {**REFERENCE, "summary": "P1", "type": "priority_reference"},
        "urgency": "high",
        "conference_bridge": {
            "conference_number": "+1 1234123412,,987654321#",
            "conference_url": "https://example.com",
        },
        "resolve_reason": None,
    }
    found = {
        "id": "5ac64822-4adc-4fda-ade0-410becf0de4f",
        "event_type": "incident.acknowledged",
        "resource_type": "incident",
        "occurred_at": "2026-03-01T12:20:22.169Z",
        "agent": {**REFERENCE, "id": "PLH1HKV", "summary": "Tenex Engineer", "type": "user_reference"},
        "client": {"name": "PagerDuty"},
        "data": data,
    }
    return {"event": {**found, **changes}}


def signature(body: bytes, secret: bytes = NEW) -> str:
    return "v1=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


@dataclass
class House:
    """A ledger with one alert that stands open, and the pages of its daemon."""

    ledger: Ledger
    alert: Entry
    url: str

    def write(self, **changes: Any) -> Entry:
        fields = {n: v for n, v in receivers.alert(**changes).items() if n not in ("seq", "kind", "at")}
        with self.ledger.write() as batch:
            return batch.add(Draft(Kind.ALERT, canonical.moment(receivers.AT), fields))

    def post(self, body: bytes, sign: str | None = None, name: str = "pager", **headers: str) -> int:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        try:
            sign = signature(body) if sign is None else sign
            connection.request("POST", f"/hooks/pagerduty/{name}", body, {"X-PagerDuty-Signature": sign, **headers})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def send(self, **changes: Any) -> int:
        return self.post(json.dumps(event(**changes)).encode())

    def acks(self) -> list[dict[str, Any]]:
        return [entry.data for entry in self.ledger.entries(kinds=[Kind.ACK])]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    signer = FileSigner.open(tmp_path / "log.key", "evidence.example.com/test", create=True)
    ledger = Ledger.open(f"sqlite:///{tmp_path}/l.db", origin="evidence.example.com/test", signer=signer, create=True)
    hook = PagerDutyHook("pager", (NEW, OLD), ledger, decisions.acknowledge, lambda: NOW)
    server = Server("127.0.0.1:0", alive=lambda: True, ready=list, metrics=Metrics(), hooks={"pager": hook})
    server.start()
    found = House(ledger, None, server.url)  # type: ignore[arg-type]
    found.alert = found.write()
    yield found
    server.stop()
    ledger.verify()
    ledger.close()


def test_an_acknowledgement_is_written_with_its_person(house: House) -> None:
    assert house.send() == 202
    (ack,) = house.acks()
    assert {name: ack[name] for name in ("alert", "key", "person", "via", "note")} == {
        "alert": house.alert.seq,
        "key": KEY,
        "person": "Tenex Engineer",
        "via": "pager",
        "note": "PagerDuty incident PGR0VU2, event 5ac64822-4adc-4fda-ade0-410becf0de4f",
    }


def test_the_same_event_is_written_once_also_when_it_comes_many_times_at_once(house: House) -> None:
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(house.send())) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [202] * 12
    assert house.send() == 202
    assert len(house.acks()) == 1
    assert house.send(id="another", agent={**REFERENCE, "summary": "Second", "type": "user_reference"}) == 202
    assert [ack["person"] for ack in house.acks()] == ["Tenex Engineer", "Second"]


def test_a_replay_about_a_later_alert_does_nothing(house: House) -> None:
    """The same key stands for the same thing, which may fail again: an event of last time is not about this time."""
    body = json.dumps(event(occurred_at="2026-03-01T11:54:00Z")).encode()
    assert house.post(body) == 202
    assert house.acks() == []
    assert house.send(occurred_at="2026-03-01T11:56:00Z") == 202, "but clocks may differ a little"
    assert len(house.acks()) == 1
    house.write(event="resolve")
    assert house.send(id="late") == 202
    assert len(house.acks()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"event_type": "incident.triggered"},
        {"event_type": "incident.unacknowledged"},
        {"event_type": "incident.resolved"},
        {
            "event_type": "pagey.ping",
            "agent": None,
            "data": {"message": "Hello from your friend Pagey!", "type": "ping"},
        },
        {"agent": None},
        {"agent": {**REFERENCE, "summary": "Workflow", "type": "service_reference"}},
        {"incident_key": "f" * 32},
        {"incident_key": None},
    ],
)
def test_what_is_no_acknowledgement_of_ours_by_a_person_is_taken_and_ignored(house: House, changes: dict) -> None:
    assert house.send(**changes) == 202
    assert house.acks() == []


# --- who may ---


def test_the_signature_is_the_one_of_pagerdutys_own_client() -> None:
    """Secret, body and signature of go-pagerduty's tests (webhookv3_test.go)."""
    secret = b"lDQHScfUeXUKaQRNF+8XIiDKZ7XX3itBAYzwU0TARw8lJqRnkKl2iB1anSb0Z+IK"
    ref = '"html_url":"https://acme.pagerduty.com/%s","id":"%s","self":"https://api.pagerduty.com/%s","summary":"%s","type":"%s"'

    def at(place: str, name: str, summary: str, kind: str, page: str = "") -> str:
        return "{" + ref % (page or f"{place}/{name}", name, f"{place}/{name}", summary, kind) + "}"

    body = (
        '{"event":{"id":"01BWDWL3NYY7LUFPZCC28QUCMK","event_type":"incident.priority_updated","resource_type":"incident",'
        '"occurred_at":"2021-04-26T17:36:27.458Z","agent":'
        + at("users", "PLH1HKV", "Tenex Engineer", "user_reference")
        + ',"client":null,"data":{"id":"PGR0VU2","type":"incident","self":"https://api.pagerduty.com/incidents/PGR0VU2",'
        '"html_url":"https://acme.pagerduty.com/incidents/PGR0VU2","number":2,"status":"triggered",'
        '"title":"A little bump in the road","service":'
        + at("services", "PF9KMXH", "API Service", "service_reference")
        + ',"assignees":['
        + at("users", "PTUXL6G", "User 123", "user_reference")
        + '],"escalation_policy":'
        + at("escalation_policies", "PUS0KTE", "Default", "escalation_policy_reference")
        + ',"teams":['
        + at("teams", "PFCVPS0", "Engineering", "team_reference")
        + '],"priority":'
        + at("priorities", "PSO75BM", "P1", "priority_reference", "account/incident_priorities")
        + ',"urgency":"high","conference_bridge":{"conference_number":1000,"conference_url":"https://example.com"},'
        '"resolve_reason":null}}}'
    ).encode()
    given = "v1=0c0b9495b893a39e70d1fea2fe11fbe0a825f88b9f67846f6cc07dd2bc5476cd"
    hook = PagerDutyHook("p", (secret,), None, None, lambda: NOW)  # type: ignore[arg-type]
    assert hook.signed(given, body)
    assert not hook.signed(given, body + b" ")


def test_any_of_several_signatures_by_any_of_several_secrets_will_do(house: House) -> None:
    body = json.dumps(event()).encode()
    assert house.post(body, f"v1={'0' * 64},{signature(body, OLD)}") == 202
    assert house.post(body, f"v2={'0' * 64}, {signature(body, NEW)}") == 202
    assert len(house.acks()) == 1


@pytest.mark.parametrize(
    "forge",
    [
        lambda body: "",
        lambda body: signature(body, b"another secret of some length"),
        lambda body: signature(body + b" "),
        lambda body: signature(body).replace("v1=", "v0="),
        lambda body: signature(body).removeprefix("v1="),
        lambda body: signature(body).upper(),
        lambda body: signature(body)[:-1],
        lambda body: "v1=",
        lambda body: "v1=\xe9",
        lambda body: ",".join([f"v1={'0' * 64}"] * 8 + [signature(body)]),
    ],
)
def test_whatever_is_not_signed_is_refused_and_writes_nothing(house: House, forge: Any) -> None:
    body = json.dumps(event()).encode()
    assert house.post(body, forge(body)) == 403
    assert house.acks() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"event": 7}',
        b"[" * 100_000,
        json.dumps(event(occurred_at="yesterday")).encode(),
        json.dumps(event(occurred_at=None)).encode(),
        json.dumps(event(id=7)).encode(),
        json.dumps(event(id="a b")).encode(),
        json.dumps(event(data=None)).encode(),
        json.dumps(event(data={"incident_key": ["x"], "id": "P"})).encode(),
        json.dumps(event(agent={"type": "user_reference", "summary": 7})).encode(),
        json.dumps(event(agent={"type": "user_reference", "summary": "\n\u202e"})).encode(),
    ],
)
def test_what_is_signed_and_no_event_is_refused(house: House, body: bytes) -> None:
    assert house.post(body) == 400
    assert house.acks() == []


def test_a_name_is_one_line_and_no_longer_than_a_name(house: House) -> None:
    for number, name in enumerate(receivers.HOSTILE.values()):
        assert house.send(id=f"e{number}", agent={**REFERENCE, "summary": name, "type": "user_reference"}) == 202
    people = [ack["person"] for ack in house.acks()]
    assert len(people) == len(receivers.HOSTILE)
    assert all(0 < len(person) <= 200 and "\n" not in person and "\u202e" not in person for person in people)


# --- limits, and what is not there ---


def test_a_body_is_read_up_to_its_limit(house: House) -> None:
    body = json.dumps(event()).encode()
    assert house.post(body.ljust(BODY_BYTES_MAX)) == 202
    assert house.post(body.ljust(BODY_BYTES_MAX + 1)) == 413
    assert len(house.acks()) == 1


def test_a_body_that_does_not_come_is_not_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "BODY_SECONDS_MAX", 0.3)
    parts = urlsplit(house.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as slow:
        slow.sendall(b"POST /hooks/pagerduty/pager HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        assert b" 408 " in slow.recv(4_096)
        assert time.monotonic() - began < 5


def test_there_is_one_address_a_channel_and_only_to_post_to(house: House) -> None:
    body = json.dumps(event()).encode()
    assert house.post(body, name="other") == 404
    assert house.post(body, name="") == 404
    assert house.post(body, name="pager/x") == 404
    parts = urlsplit(house.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", "/hooks/pagerduty/pager")
    assert connection.getresponse().status == 405
    connection.close()


def test_a_ledger_that_cannot_be_written_asks_for_another_try(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fenced() -> None:
        raise StoreError("another process leads")

    with monkeypatch.context() as patch:
        patch.setattr(house.ledger, "write", fenced)
        assert house.send() == 503
    assert house.acks() == []
    assert house.send() == 202
    assert len(house.acks()) == 1


def test_there_is_no_hook_without_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "collector.toml"
    path.write_text(
        '[collector]\norigin = "evidence.example.com/test"\n'
        '[alerts.pagerduty.quiet]\nrouting_key_env = "R"\n'
        '[alerts.pagerduty.pager]\nrouting_key_env = "R"\nhook_secret_env = "H"\n'
    )
    settings = config.load(path, {})
    found = open_hooks(settings, {"H": OLD.decode()}, None, decisions.acknowledge, lambda: NOW)  # type: ignore[arg-type]
    assert list(found) == ["pager"]
    server = Server("127.0.0.1:0", alive=lambda: True, ready=list, metrics=Metrics())
    server.start()
    try:
        assert House(None, None, server.url).post(b"{}") == 404  # type: ignore[arg-type]
    finally:
        server.stop()


def test_an_event_keeps_its_zone() -> None:
    body = json.dumps(event(occurred_at="2026-03-01T13:20:22+01:00")).encode()
    found = hooks.read(body)
    assert found is not None
    assert found.at == NOW - timedelta(minutes=9, seconds=38)
