"""What was changed is told against what stood before it, value by value, and nothing that did not change is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import canonical
from collector.export import changes
from collector.export.changes import Principals
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTROL = {"title": "T", "owner": "o", "criteria": ["CC6.1"], "checks": ["aws-x"], "cadence_s": 3600}
SETTINGS: dict[str, Any] = {
    "schedule": {"checkpoint": "1h", "grace": "15m"},
    "aws": [{"account": "123456789012", "regions": []}],
    "anchors": {"tsa": {}},
}
CHECK = {
    "check": "aws-x",
    "version": 1,
    "code": "a" * 64,
    "title": "T",
    "limits": {},
    "permissions": ["iam:GetUser", "iam:ListUsers"],
}


@pytest.fixture
def told(tmp_path: Path) -> Callable[..., list[str]]:
    """What is told of entries that are written an hour apart; the window begins with the second."""

    def write(*entries: tuple[Kind, dict[str, Any]]) -> list[str]:
        signer = FileSigner.create(tmp_path / "log.pem", "changes.example/x")
        ledger = Ledger.open(
            f"sqlite:///{tmp_path / 'ledger.db'}", origin="changes.example/x", signer=signer, create=True
        )
        for hour, (kind, fields) in enumerate(entries):
            with ledger.write() as batch:
                if kind is Kind.CONFIG:
                    blob = batch.blob(canonical.record(fields))
                    fields = {"digest": blob, "blob": blob, "collector": fields.get("v", "0.1.0")}
                if kind is Kind.CHECK:
                    fields = {**fields, "code": batch.blob(fields["code"].encode())}
                batch.add(Draft(kind, START + hour * HOUR, fields))
        found = changes.changes(ledger, ledger.size(), START + HOUR / 2, START + 100 * HOUR)
        ledger.close()
        return [change.what for change in found]

    return write


def config(controls: dict[str, Any] | None = None, **settings: Any) -> tuple[Kind, dict[str, Any]]:
    return Kind.CONFIG, {"settings": {**SETTINGS, **settings}, "controls": controls or {"C-1": CONTROL}}


def test_settings_are_told_value_by_value(told: Callable[..., list[str]]) -> None:
    (what,) = told(
        config(),
        config(
            schedule={"checkpoint": "1h", "grace": "30m"},
            aws=[{"account": "123456789012", "regions": ["eu-west-1"]}, {"account": "999999999999", "regions": []}],
            anchors={"tsa": {"free": {"url": "https://tsa.example"}}},
        ),
    )
    assert what.split("; ") == [
        "setting anchors.tsa.free.url is new: https://tsa.example",
        'setting aws.1.regions was [], is ["eu-west-1"]',
        "setting aws.2.account is new: 999999999999",
        "setting aws.2.regions is new: []",
        "setting schedule.grace was 15m, is 30m",
    ]


def test_a_setting_that_is_gone_and_a_long_list_of_them(told: Callable[..., list[str]]) -> None:
    many = {f"k{n:03}": "v" for n in range(changes.SETTINGS_SHOWN + 5)}
    (what,) = told(config(many=many), config(many={}))
    assert what.startswith("setting many.k000 was v, is gone; ")
    assert what.endswith("; and 5 settings more")


def test_controls_are_told_by_name(told: Callable[..., list[str]]) -> None:
    (what,) = told(
        config({"C-1": CONTROL, "C-2": CONTROL}),
        config({"C-1": {**CONTROL, "checks": ["aws-x", "aws-y"], "owner": "p"}, "C-3": CONTROL}),
    )
    assert what.split("; ") == [
        'control C-1: checks was ["aws-x"], is ["aws-x","aws-y"]',
        "control C-1: owner was o, is p",
        "control C-2 was removed",
        "control C-3 was added",
    ]


def test_permissions_of_a_check_are_told_one_by_one(told: Callable[..., list[str]]) -> None:
    newer = {**CHECK, "version": 2, "permissions": ["iam:ListUsers", "iam:ListMFADevices"]}
    (what,) = told((Kind.CHECK, CHECK), (Kind.CHECK, newer))
    assert what.split("; ") == [
        "aws-x: permission iam:ListMFADevices is needed",
        "permission iam:GetUser is no longer needed",
        "version was 1, is 2",
    ]


def test_what_is_written_for_the_first_time_is_said_to_be(told: Callable[..., list[str]]) -> None:
    first, second, third = told(
        (Kind.HEARTBEAT, {"collector": "0.1.0", "host": "h", "started": canonical.stamp(START), "uptime_s": 0}),
        config(),
        (Kind.CHECK, CHECK),
        (
            Kind.PLAN,
            {
                "account": "aws/123456789012",
                "since": canonical.stamp(START),
                "until": canonical.stamp(START + 50 * HOUR),
                "parts": ["eu-west-1", "us-east-1"],
                "checks": [{"check": "aws-x", "each": "part", "every_s": 3600, "offset_s": 0}],
                "config": "",
            },
        ),
    )
    assert first.startswith("the configuration is ")
    assert second == "aws-x version 1 is used for the first time"
    assert third == "aws/123456789012 is planned for the first time: 2 executions a round"


# --- who asks ---


def run(seq: int, principal: str, account: str = "aws/1") -> Entry:
    at = START + seq * HOUR
    return Entry(seq, Kind.RUN, at, canonical.record({"account": account, "principal": principal, "seq": seq}))


def test_another_identity_is_a_change_of_its_account_alone() -> None:
    seen = Principals(START + 2 * HOUR, START + 6 * HOUR)
    for entry in (
        run(0, "old"),
        run(1, "older"),  # before the window
        run(2, "older"),
        run(3, ""),  # the account could not be opened
        run(4, "new"),
        run(5, "another", "aws/2"),  # the first of its account
        run(6, "newer"),  # after the window
    ):
        seen.add(entry)
    assert [(change.seq, change.kind, change.what) for change in seen.changes] == [
        (4, "principal", "aws/1 is asked by new, was older")
    ]
