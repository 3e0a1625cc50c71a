"""Places outside that hold checkpoints where the collector cannot change them: the ``[anchors...]`` tables, typed.

What a place does is in ``collector/anchor/``, one file a kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from collector.config_values import GUID, InFolder, PlainUrl, Url
from collector.tomlfile import Duration, Name, Seconds, Table, Text, matching

TIMEOUT = Seconds(20)
RETAIN = Seconds(400 * 86_400)


class TsaPlace(Table):
    """A time stamping authority (RFC 3161): it signs the time at which a checkpoint was there."""

    url: Url = Field(description="Where the authority answers.")
    roots: InFolder = Field(description="PEM file of the root certificates that its answers are verified with.")
    policy: Annotated[str, matching(r"|[0-2](\.[0-9]+)+", "must be an object identifier such as 1.2.3.4")] = Field(
        default="", description="Policy to ask for. Empty: the authority's own."
    )
    timeout: Duration = Field(default=TIMEOUT, description="How long to wait for an answer.")

    def record(self) -> dict[str, Any]:
        # Authorities that ask for a key take it in the query.
        return {**super().record(), "url": self.url.partition("?")[0]}


class S3Place(Table):
    """A bucket with Object Lock, best in another account: each checkpoint is a version that nobody can remove."""

    bucket: Text = Field(description="Name of the bucket. Object Lock must be on.")
    prefix: str = Field(default="checkpoints/", description="Begin of the objects' keys.")
    region: Text = Field(description="Region of the bucket.")
    profile: str = Field(default="", description="Profile of the AWS configuration. Empty: whatever the AWS SDK finds.")
    role_arn: Annotated[
        str, matching(r"|arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+", 'must be "arn:aws:iam::ACCOUNT:role/NAME"')
    ] = Field(default="", description="Role to assume, which may put and get objects there. Empty: none.")
    retain: Duration = Field(default=RETAIN, description="How long the lock lasts (compliance mode).")
    timeout: Duration = Field(default=TIMEOUT, description="How long to wait for an answer.")


class AzureBlobPlace(Table):
    """A container with version-level immutability: each checkpoint is a blob under a locked policy."""

    container: PlainUrl = Field(description="Its URL: `https://ACCOUNT.blob.core.windows.net/CONTAINER`.")
    prefix: str = Field(default="checkpoints/", description="Begin of the blobs' names.")
    tenant: Annotated[str, matching(GUID, "must be the tenant's id, a GUID in lower case")] = Field(
        description="Id of the tenant that signs in."
    )
    credential: Literal["", "environment", "workload-identity", "managed-identity", "cli"] = Field(
        default="", description="How to sign in, as in `[[azure]]`."
    )
    client_id: Annotated[str, matching(rf"|{GUID}", "must be the application's (client) id, a GUID")] = Field(
        default="", description="Application id, or the id of a user-assigned managed identity."
    )
    retain: Duration = Field(default=RETAIN, description="How long the policy lasts.")
    timeout: Duration = Field(default=TIMEOUT, description="How long to wait for an answer.")


class GcsPlace(Table):
    """A Google Cloud Storage bucket with object retention: each checkpoint is an object under a locked retention."""

    bucket: Text = Field(description="Name of the bucket. Object retention must be enabled.")
    prefix: str = Field(default="checkpoints/", description="Begin of the objects' names.")
    credentials_file: InFolder | None = Field(
        default=None, description="Key file or workload identity file. Left out: Application Default Credentials."
    )
    impersonate: Annotated[str, matching(r"|[^@\s]+@[^@\s]+", "must be a service account's e-mail address")] = Field(
        default="", description="Service account to act as. Empty: none."
    )
    retain: Duration = Field(default=RETAIN, description="How long the retention lasts.")
    timeout: Duration = Field(default=TIMEOUT, description="How long to wait for an answer.")

    def record(self) -> dict[str, Any]:
        return {key: value for key, value in super().record().items() if key != "credentials_file"}


class WitnessPlace(Table):
    """A C2SP witness: it cosigns a checkpoint only if it continues the one before. `collector witness serve` is one."""

    url: PlainUrl = Field(description="Prefix of its URLs; `/add-checkpoint` is appended.")
    vkey: Text = Field(description="Its public key as `name+id+key`. Cosignatures by another are refused.")
    timeout: Duration = Field(default=TIMEOUT, description="How long to wait for an answer.")


class FilePlace(Table):
    """A folder, best on a file system that this machine can only append to."""

    folder: InFolder = Field(description="The folder; one file a checkpoint.")


class EmailPlace(Table):
    """A mailbox of somebody else: each checkpoint is sent as a message."""

    channel: Name = Field(description="Name of an `[alerts.email.NAME]` channel, which says how and to whom.")


class Anchors(Table):
    """Places that hold checkpoints outside. Each that is named gets every checkpoint."""

    tsa: Mapping[Name, TsaPlace] = Field(default={}, description="Time stamping authorities by name.")
    s3: Mapping[Name, S3Place] = Field(default={}, description="Buckets with Object Lock by name.")
    azure_blob: Mapping[Name, AzureBlobPlace] = Field(
        default={}, alias="azure-blob", description="Immutable Azure containers by name."
    )
    gcs: Mapping[Name, GcsPlace] = Field(default={}, description="Google buckets with retention by name.")
    witness: Mapping[Name, WitnessPlace] = Field(default={}, description="Witnesses by name.")
    file: Mapping[Name, FilePlace] = Field(default={}, description="Folders by name.")
    email: Mapping[Name, EmailPlace] = Field(default={}, description="Mailboxes by name.")

    def ids(self) -> tuple[str, ...]:
        """``type/name`` of every place, in the order of the file's tables."""
        kinds = ("tsa", "s3", "azure_blob", "gcs", "witness", "file", "email")
        return tuple(f"{kind.replace('_', '-')}/{name}" for kind in kinds for name in getattr(self, kind))
