"""No secret leaves: they are planted in the simulated clouds and in our own configuration, and every byte that a
collector wrote, said or sent on one day is searched for them.

Which credentials sign in, and what fails on the way, is in the files beside this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from collector.clouds.aws import Edge, credentials_for
from collector.clouds.pace import Pace
from tests.secrets.conftest import Day
from tests.secrets.planting import MARK, NOW, OURS, secret
from tests.secrets.searching import all_leaks, leaks


def test_every_secret_that_was_planted_in_a_cloud_really_came_in(day: Day) -> None:
    """As the simulated clouds' side of the wire saw it: a search for what was never answered would prove nothing."""
    assert len(day.planted) > 40
    assert not day.planted - set(day.crossed)
    hosts = {host for place in day.crossed.values() for host in place}
    assert {host.partition(".")[2].partition(".")[0] for host in hosts} >= {"azure", "googleapis"}
    assert any(host.endswith(".amazonaws.com") for host in hosts)


def test_what_was_searched_is_all_there(day: Day) -> None:
    """Redacted values stand in evidence where secrets were, alerts were sent, and commands said something."""
    kept = b"".join(data for name, data in day.out.items() if name.startswith("blob"))
    assert kept.count(b"[redacted]") > 60
    assert b'"note","Value":"see [redacted]"' in kept.replace(b'"Key":', b"")
    assert day.out["alerts"].count(b"routing_key") >= 1
    assert day.blobs > 400
    assert b"crashed" in b"".join(data for name, data in day.out.items() if "run" in name)
    assert b"collector_" in day.out["page /metrics"]
    assert b"cannot connect to" in day.out["page /readyz"]
    assert any(name.endswith("ledger.db-wal") and data for name, data in day.out.items())
    for name, said in day.out.items():
        if name.startswith("collector"):
            assert said, name
            assert b"Traceback" not in said, name


def test_nothing_that_was_sealed_said_or_sent_holds_one(day: Day) -> None:
    pager = OURS["COLLECTOR_PAGER"].encode()  # its key is a member of the body that PagerDuty's API asks for
    found = all_leaks({**day.out, "alerts": day.out["alerts"].replace(pager, b"")})
    assert not found, "\n".join(found[:20])


def test_no_file_that_was_written_holds_one(day: Day) -> None:
    found, seen = [], 0
    for path in day.folder.rglob("*"):
        if path.is_file() and path.parent.name != "__pycache__":
            seen += 1
            found += leaks(str(path), path.read_bytes())
    assert seen > 300
    assert not found, "\n".join(found[:20])


def test_the_key_of_the_ledger_stays_in_its_file(day: Day) -> None:
    """Nobody planted it, and it is the one secret that a package must not even hint at."""
    file = day.folder / "data" / "log.key"
    key = max(file.read_text().split(), key=len)
    assert len(key) > 40
    word = json.loads(f'"{key}"').split("+")[-1]
    out = {**day.out, **{str(path): path.read_bytes() for path in _files(day.folder) if path != file}}
    found = all_leaks(out, [word])
    assert not found, "\n".join(found[:20])


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]


@pytest.mark.parametrize(
    "words",
    [
        "cannot reach https://ada:{}@proxy.example",
        "Password={} was refused",
        "Authorization: Bearer {}",
        "the key {} is not known",  # the words of a library have no form: this one is known because it is ours
    ],
)
def test_an_error_that_echoes_what_was_sent_is_kept_without_it(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    class Client:
        def describe_volumes(self, **_: Any) -> Any:
            body = {"Error": {"Code": "InternalError", "Message": words.format(secret("aws-key"))}}
            raise ClientError({**body, "ResponseMetadata": {"HTTPStatusCode": 400}}, "DescribeVolumes")

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret("aws-key"))
    credentials: Callable[..., Any] = credentials_for
    edge = Edge(_Clients(Client()), "1", credentials(session_name="t"), lambda: NOW, lambda _: None)  # type: ignore[arg-type]
    answer = edge.put("ec2", "describe_volumes", "eu-west-1", {})
    assert answer.failure
    assert MARK not in str(answer)
    assert "[redacted]" in str(answer.body)


class _Clients:
    def __init__(self, client: Any) -> None:
        self._client = client

    def client(self, service: str, region: str) -> Any:
        return self._client

    def pace(self, account: str, service: str) -> Any:
        return Pace()
