"""The tables of the change feed: queues on which clouds say what has changed. What is done with it is in ``feed/``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from collector.config_values import GUID, InFolder, PlainUrl
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


class AzureFeed(Table):
    """An Azure Storage queue that Event Grid fills with the changes of subscriptions."""

    queue_url: PlainUrl = Field(description="URL of the queue: `https://ACCOUNT.queue.core.windows.net/QUEUE`.")
    tenant: Annotated[str, matching(GUID, "must be the tenant's id, a GUID in lower case")] = Field(
        description="Id of the tenant that signs in."
    )
    credential: Literal["", "environment", "workload-identity", "managed-identity", "cli"] = Field(
        default="", description="How to sign in, as in `[[azure]]`."
    )
    client_id: Annotated[str, matching(rf"|{GUID}", "must be the application's (client) id, a GUID")] = Field(
        default="", description="Application id, or the id of a user-assigned managed identity."
    )


class GoogleFeed(Table):
    """A Pub/Sub subscription to the topic that a feed of Cloud Asset Inventory publishes changes to."""

    subscription: Annotated[
        str,
        matching(
            r"projects/[a-z0-9:.-]+/subscriptions/[A-Za-z][A-Za-z0-9._~+%-]{2,254}",
            'must be "projects/PROJECT/subscriptions/NAME"',
        ),
    ] = Field(description="Its full name: `projects/acme-audit/subscriptions/evidence-collector`.")
    credentials_file: InFolder | None = Field(
        default=None, description="Key file or workload identity file. Left out: Application Default Credentials."
    )
    impersonate: Annotated[str, matching(r"|[^@\s]+@[^@\s]+", "must be a service account's e-mail address")] = Field(
        default="", description="Service account to act as. Empty: none."
    )

    def record(self) -> dict[str, Any]:
        return {key: value for key, value in super().record().items() if key != "credentials_file"}


class Feeds(Table):
    """Queues that say what has changed. The subjects that an event names are looked at again, between the slots."""

    aws: Mapping[Name, AwsFeed] = Field(default={}, description="SQS queues by name.")
    azure: Mapping[Name, AzureFeed] = Field(default={}, description="Azure Storage queues by name.")
    gcp: Mapping[Name, GoogleFeed] = Field(default={}, description="Pub/Sub subscriptions by name.")
