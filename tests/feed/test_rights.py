"""What a feed may do: two rights on one queue, printed only where a feed is configured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collector.cli import app
from collector.errors import ConfigError
from collector.policy import aws

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/changes"
CONFIG = '[collector]\norigin = "test.local/rights"\n[[aws]]\naccount = "123456789012"\n'
CONTROLS = '[controls.A]\ntitle = "T."\nowner = "o"\ncriteria = ["CC6.7"]\nchecks = ["aws-s3-bucket-tls"]\n'


@pytest.mark.parametrize("feed", [f'[feed.aws.main]\nqueue_url = "{URL}"\nregion = "eu-west-1"\n', ""])
def test_the_policy_names_the_queue_only_where_there_is_one(tmp_path: Path, feed: str) -> None:
    (tmp_path / "collector.toml").write_text(CONFIG + feed)
    (tmp_path / "controls.toml").write_text(CONTROLS)
    found = CliRunner().invoke(app, ["policy", "aws", "--config", str(tmp_path / "collector.toml")])
    assert found.exit_code == 0, found.output
    statements = json.loads(found.stdout)["Statement"]
    mine = [each for each in statements if any(action.startswith("sqs:") for action in each["Action"])]
    resource = ["arn:aws:sqs:eu-west-1:123456789012:changes"]
    assert [(each["Action"], each["Resource"]) for each in mine] == (
        [(["sqs:DeleteMessage", "sqs:ReceiveMessage"], resource)] if feed else []
    )


def test_a_queue_of_somebody_else_is_refused() -> None:
    assert aws.queue_arn(URL.replace("eu-west-1", "cn-north-1"), "cn-north-1").startswith("arn:aws-cn:sqs:")
    with pytest.raises(ConfigError):
        aws.queue_arn("https://example.com/123456789012/changes", "eu-west-1")
