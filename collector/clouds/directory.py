"""Opens accounts: credentials, clients and the run's transcript become the handle that checks are given.

A cloud's SDK is imported when the first account of that cloud is opened, so a user of one cloud installs one SDK.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from collector.clouds.handle import Handle
from collector.clouds.rest import Edge, Paces, Rest
from collector.clouds.transcript import Transcript
from collector.errors import ConfigError, Denied
from collector.model import Scope


class AccountSettings(Protocol):
    """What the configuration says about one account of any cloud; the rest of it only that cloud's opener reads."""

    @property
    def scope(self) -> Scope:
        """The account as a whole."""
        ...

    @property
    def chosen(self) -> tuple[str, ...]:
        """The parts that the operator named; empty for all that are discovered."""
        ...

    @property
    def first(self) -> tuple[str, ...]:
        """The parts that are known before anybody asked."""
        ...


@dataclass(frozen=True)
class Limits:
    """How long one question and one whole run may take, in seconds."""

    patience_seconds: float = 90
    run_seconds: float = 1800
    stated_quotas: bool = True  # the demo's clouds have none, and its clock leaps over what there is to wait for


class Directory:
    """All accounts that the configuration names, opened one run at a time over shared clients."""

    def __init__(
        self, clock: Callable[[], datetime], limits: Limits, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._sleep = sleep
        self._clients: Any = None  # AWS: of all accounts
        self._access: dict[Scope, Any] = {}  # credentials and connections of each account
        self._paces = Paces()
        self._edges: list[Any] = []

    def open(self, settings: AccountSettings, transcript: Transcript, reference: datetime) -> Handle:
        """The handle for one run over one account. Raises Denied without credentials, ConfigError without the SDK."""
        cloud = settings.scope.cloud
        if cloud not in _OPENERS:
            raise ConfigError(f"{settings.scope}: this version cannot read {cloud}; remove [[{cloud}]]")
        try:
            return _OPENERS[cloud](self, settings, transcript, reference)
        except ImportError as error:
            words = f"reading {cloud} needs its SDK ({error.name}): pip install 'evidence-collector[{cloud}]'"
            raise ConfigError(words) from error

    def _aws(self, settings: Any, transcript: Transcript, reference: datetime) -> Handle:
        from collector.clouds import aws

        if self._clients is None:
            self._clients = aws.Clients()
        if settings.scope not in self._access:
            self._access[settings.scope] = aws.credentials_for(
                profile=settings.profile,
                role_arn=settings.role_arn,
                external_id=settings.external_id,
                session_name="evidence-collector",
            )
        edge = self._watched(
            aws.Edge(
                clients=self._clients,
                account=settings.account,
                credentials=self._access[settings.scope],
                clock=self._clock,
                sleep=self._sleep,
                **self._times(),
            )
        )
        return aws.Account(
            settings.account, transcript, reference, edge.put, region=settings.home_region, sleep=self._sleep
        )

    def _azure(self, settings: Any, transcript: Transcript, reference: datetime) -> Handle:
        from collector.clouds import azure, azure_access, azure_answers

        if settings.scope not in self._access:
            self._access[settings.scope] = azure_access.Access(settings, secret=settings.secret(os.environ))
        answers = azure_answers.Answers(self._access[settings.scope].send)
        return azure.opened(settings, transcript, reference, self._edge(settings.scope, answers).put)

    def _gcp(self, settings: Any, transcript: Transcript, reference: datetime) -> Handle:
        from collector.clouds import gcp, gcp_access, gcp_answers

        if settings.scope not in self._access:
            self._access[settings.scope] = gcp_access.Access(settings)
        answers = gcp_answers.Answers(self._access[settings.scope].send)
        return gcp.opened(settings, transcript, reference, self._edge(settings.scope, answers).put)

    def _edge(self, scope: Scope, answers: Rest) -> Any:
        edge = Edge(answers, str(scope), self._paces, self._clock, self._sleep, **self._times())
        edge.stated_quotas = self._limits.stated_quotas
        return self._watched(edge)

    def _times(self) -> dict[str, Any]:
        return {
            "patience_seconds": self._limits.patience_seconds,
            "deadline": time.monotonic() + self._limits.run_seconds,
        }

    def _watched(self, edge: Any) -> Any:
        self._edges = [known for known in self._edges if known.deadline > time.monotonic()] + [edge]
        return edge

    def stop(self) -> None:
        """Lets no further question leave: what is still asked is answered with "the run's time was used up"."""
        for edge in self._edges:
            edge.deadline = 0.0


_OPENERS: Mapping[str, Callable[[Directory, Any, Transcript, datetime], Handle]] = {
    "aws": Directory._aws,
    "azure": Directory._azure,
    "gcp": Directory._gcp,
}


def kept(scope: Scope, transcript: Transcript, reference: datetime, settings: Mapping[str, Any]) -> Handle:
    """The handle that answers from a kept transcript, offline; ``settings`` is the account's sealed record."""
    if scope.cloud == "aws":
        from collector.clouds import aws

        home = settings.get("home_region", aws.HOME_REGION)
        return aws.Account(scope.account, transcript, reference, region=home)
    if scope.cloud == "azure":
        from collector.clouds import azure

        return azure.kept(scope.account, transcript, reference, settings)
    if scope.cloud == "gcp":
        from collector.clouds import gcp

        return gcp.kept(scope.account, transcript, reference, settings)
    raise ConfigError(f"{scope}: this version re-performs no such cloud")


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
