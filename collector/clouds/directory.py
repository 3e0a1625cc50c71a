"""Opens accounts: credentials, clients and the run's transcript become the handle that checks are given.

A cloud's SDK is imported when the first account of that cloud is opened, so a user of one cloud installs one SDK.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from collector.clouds.transcript import Transcript
from collector.errors import ConfigError, Denied
from collector.model import Scope

if TYPE_CHECKING:
    from collector.clouds.aws import Account, Clients


class AwsSettings(Protocol):
    """What the configuration says about one AWS account."""

    @property
    def account(self) -> str: ...
    @property
    def profile(self) -> str: ...
    @property
    def role_arn(self) -> str: ...
    @property
    def external_id(self) -> str: ...
    @property
    def regions(self) -> Sequence[str]: ...
    @property
    def home_region(self) -> str: ...


@dataclass(frozen=True)
class Limits:
    """How long one question and one whole run may take, in seconds."""

    patience_seconds: float = 90
    run_seconds: float = 1800


class Directory:
    """All accounts that the configuration names, opened one run at a time over shared clients."""

    def __init__(
        self, clock: Callable[[], datetime], limits: Limits, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._sleep = sleep
        self._clients: Clients | None = None
        self._credentials: dict[str, Any] = {}
        self._edges: list[Any] = []

    def open(self, settings: AwsSettings, transcript: Transcript, reference: datetime) -> Account:
        """The handle for one run over one account. Raises Denied without credentials, ConfigError without the SDK."""
        try:
            from collector.clouds import aws
        except ImportError as error:
            raise ConfigError("reading AWS needs boto3: pip install 'evidence-collector[aws]'") from error
        if self._clients is None:
            self._clients = aws.Clients()
        if settings.account not in self._credentials:
            self._credentials[settings.account] = aws.credentials_for(
                profile=settings.profile,
                role_arn=settings.role_arn,
                external_id=settings.external_id,
                session_name="evidence-collector",
            )
        edge = aws.Edge(
            clients=self._clients,
            account=settings.account,
            credentials=self._credentials[settings.account],
            clock=self._clock,
            sleep=self._sleep,
            patience_seconds=self._limits.patience_seconds,
            deadline=time.monotonic() + self._limits.run_seconds,
        )
        self._edges = [known for known in self._edges if known.deadline > time.monotonic()] + [edge]
        return aws.Account(
            settings.account, transcript, reference, edge.put, region=settings.home_region, sleep=self._sleep
        )

    def stop(self) -> None:
        """Lets no further question leave: what is still asked is answered with "the run's time was used up"."""
        for edge in self._edges:
            edge.deadline = 0.0


def kept(scope: Scope, transcript: Transcript, reference: datetime) -> Any:
    """The handle that answers from a kept transcript, without a network."""
    if scope.cloud != "aws":
        raise ConfigError(f"{scope}: this version re-performs AWS only")
    from collector.clouds import aws

    return aws.Account(scope.account, transcript, reference, region=scope.region or aws.HOME_REGION)


def account_of(profile: str) -> str:
    """The AWS account that the credentials belong to. Raises Denied when there are none or they are refused."""
    try:
        import botocore.exceptions
        import botocore.session
    except ImportError as error:
        raise ConfigError("reading AWS needs boto3: pip install 'evidence-collector[aws]'") from error
    try:
        session = botocore.session.Session(profile=profile or None)
        answer = session.create_client("sts", region_name="us-east-1").get_caller_identity()
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise Denied(
            f"AWS did not say which account the credentials belong to ({error}); set AWS_PROFILE or the like, "
            "or name the account: collector init --account 123456789012"
        ) from error
    return str(answer["Account"])
