"""The page that says how to write a check is itself right: its example is a check, its helpers are all there are."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import checks
from collector import check, registry
from collector.clouds.aws import Account
from collector.clouds.transcript import Answer, Transcript
from collector.collect import Task, run
from collector.model import Scope
from collector.registry import Registered

README = (Path(checks.__file__).parent / "README.md").read_text()
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def example(tmp_path: Path) -> Registered:
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    (tmp_path / "patching_example.py").write_text(blocks[0])
    (found,) = registry.load([], folders=[tmp_path])
    return found


def test_the_example_is_a_check_that_the_registry_accepts(example: Registered) -> None:
    assert example.check.id == "aws-elasticache-auto-minor-upgrade"
    assert len(example.source.splitlines()) <= 70


def test_the_example_runs_and_leaves_the_unknown_undetermined(example: Registered) -> None:
    def put(service: str, operation: str, region: str, params: Any) -> Answer:
        assert (service, operation) == ("elasticache", "describe_cache_clusters")
        caches = [
            {"ARN": "arn:1", "Engine": "redis", "AutoMinorVersionUpgrade": True},
            {"ARN": "arn:2", "Engine": "redis", "AutoMinorVersionUpgrade": False},
            {"ARN": "arn:3", "Engine": "dragonfly", "AutoMinorVersionUpgrade": True},
            {"ARN": "arn:4", "Engine": "valkey"},
            {"ARN": "arn:5", "Engine": "memcached", "AutoMinorVersionUpgrade": True},
        ]
        return Answer({"CacheClusters": caches}, NOW, 1)

    account = Account("123456789012", Transcript(), NOW, put, "eu-west-1")
    with ThreadPoolExecutor(1) as pool:
        found = run(Task(example.check, Scope("aws", "123456789012", "eu-west-1"), account), lambda: NOW, pool)
    assert [o.verdict.state.value for o in found.observations] == [
        "satisfied",
        "not-satisfied",
        "undetermined",
        "undetermined",
        "not-applicable",
    ]


def test_every_helper_of_the_contract_is_in_the_table_and_nothing_else() -> None:
    section = README.partition("## Helpers")[2].partition("The handle")[0]
    told = {name for line in section.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)\(", line)}
    parsers = {"field", "absent_means", "boolean", "number", "text", "document", "one_of"}
    assert told == parsers | {"satisfied", "not_satisfied", "not_applicable", "good", "bad", "outside"}
    assert all(callable(getattr(check, name)) for name in told)


def test_every_question_of_the_handle_that_is_named_exists() -> None:
    named = set(re.findall(r"`aws\.(\w+)\(", README))
    assert {"call", "each", "credential_report", "arn", "age_days", "age_hours"} <= named
    assert all(callable(getattr(Account, name)) for name in named)


def test_every_path_and_id_of_the_page_is_real() -> None:
    root = Path(checks.__file__).parent.parent
    for path in re.findall(r"`((?:tests|docs|deploy|collector)/[\w/.]+)`", README):
        assert (root / path).exists(), f"{path} is named in checks/README.md and is not there"
