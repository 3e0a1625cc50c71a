"""What deploy/anchors grants is what the anchors use, what the simulated stores demand, and nothing that removes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from policy_sentry.querying.actions import get_action_data

from collector.clouds.worm_aws import PERMISSIONS
from collector.demo.azure import blobs
from collector.demo.gcp import storage

FOLDER = Path(__file__).parents[2] / "deploy" / "anchors"
NEVER = re.compile(r"delete|bypass|override|/write$|\.update$|\*|lifecycle|policy", re.IGNORECASE)


@pytest.fixture(scope="module")
def readme() -> str:
    return (FOLDER / "README.md").read_text()


def statements() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / "s3-policy.json").read_text())["Statement"]
    return found


def actions(statement: dict[str, Any]) -> list[str]:
    found = statement["Action"]
    return [found] if isinstance(found, str) else found


def test_the_policy_for_s3_is_what_the_calls_need_and_what_they_say_to_grant(readme: str) -> None:
    granted = [action for statement in statements() for action in actions(statement)]
    assert len(granted) == len(set(granted))
    assert set(granted) == set(re.findall(r"s3:\w+", " ".join(PERMISSIONS.values())))
    assert all(f"`{action}`" in readme for action in granted)


def test_every_action_and_condition_is_one_that_aws_has() -> None:
    for statement in statements():
        assert statement["Effect"] == "Allow"
        assert statement["Resource"] in ("arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/checkpoints/*")
        for action in actions(statement):
            assert not NEVER.search(action)
            (known,) = get_action_data("s3", action.removeprefix("s3:")).values()
            formats = {row["resource_arn_format"] for row in known}
            of_objects = statement["Resource"].endswith("/*")
            assert f"arn:${{Partition}}:s3:::${{BucketName}}{'/${ObjectName}' if of_objects else ''}" in formats
            keys = {key for row in known for key in row["condition_keys"]}
            asked = {key for operands in statement.get("Condition", {}).values() for key in operands}
            assert asked <= keys


def test_nothing_can_be_written_that_is_there_or_is_not_locked() -> None:
    (write,) = (each for each in statements() if "s3:PutObject" in actions(each))
    assert write["Condition"] == {"StringEquals": {"s3:if-none-match": "*", "s3:object-lock-mode": "COMPLIANCE"}}


def test_the_role_for_azure_is_what_the_simulated_store_demands(readme: str) -> None:
    role = json.loads((FOLDER / "azure-role.json").read_text())
    granted = {*role["Actions"], *role["DataActions"]}
    assert granted == blobs.RIGHTS
    assert not any(NEVER.search(each) for each in granted)
    assert (role["NotActions"], role["NotDataActions"]) == ([], [])
    assert all(f"`{each.split('/blobServices/')[1]}`" in readme for each in granted)


def test_the_role_for_google_is_what_the_simulated_store_demands(readme: str) -> None:
    granted = re.findall(r"^- (\S+)$", (FOLDER / "gcs-role.yaml").read_text(), re.MULTILINE)
    assert set(granted) == storage.RIGHTS
    assert not any(NEVER.search(each) for each in granted)
    assert all(f"`{each}`" in readme for each in granted)


def test_the_readme_names_every_file_beside_it(readme: str) -> None:
    for file in FOLDER.iterdir():
        assert file.name in readme or file.name == "README.md"
