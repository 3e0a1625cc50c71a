"""The tables of the change feed: queues on which clouds say what has changed. What is done with it is in ``feed/``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from collector.tomlfile import Name, Table, matching


class AwsFeed(Table):
    """An SQS queue that an EventBridge rule fills with the CloudTrail management events of AWS accounts."""

    queue_url: Annotated[
        str, matching(r"https://[a-z0-9.-]+/[0-9]{12}/[A-Za-z0-9_.-]{1,85}", "must be the queue's https:// URL")
    ] = Field(description="URL of the queue: `https://sqs.eu-west-1.amazonaws.com/123456789012/evidence-collector`.")
    region: Annotated[str, matching(r"[a-z]{2,3}(-[a-z]+)+-[0-9]+", 'must be a region such as "eu-west-1"')] = Field(
        description="Region of the queue."
    )
    profile: str = Field(default="", description="Profile of the AWS configuration. Empty: whatever the AWS SDK finds.")
    role_arn: Annotated[
        str, matching(r"|arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+", 'must be "arn:aws:iam::ACCOUNT:role/NAME"')
    ] = Field(
        default="", description="Role to assume, which may receive and delete messages of the queue. Empty: none."
    )


class Feeds(Table):
    """Queues that say what has changed. The subjects that an event names are looked at again, between the slots."""

    aws: Mapping[Name, AwsFeed] = Field(default={}, description="SQS queues by name.")
