"""The channels that alerts go over: the ``[alerts...]`` tables, typed. What a channel does is in ``alert/``.

No secret stands in the file: each is named by an environment variable or a file, and none reaches a record.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from collector.config_values import InFolder, Mailbox, Url, Variable, link_text, secret_of, url_text
from collector.errors import ConfigError
from collector.tomlfile import Duration, Name, Seconds, Table, Text, Whole, distinct, duration_text, matching

SECRET_BYTES_MIN = 16  # shorter keys of an HMAC can be guessed
TIMEOUT = Seconds(10)
ROWS_MAX = 24  # as of controls
Rows = Annotated[Whole, Field(ge=1, le=ROWS_MAX)]
RETIRED = re.compile(r"https?://([a-z0-9-]+\.webhook\.office\.com|outlook\.office(365)?\.com)[:/]", re.IGNORECASE)


def _host(url: str) -> str:
    parts = urlsplit(url)  # the path and the query of a webhook are often its password
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _one(table: Table, name: str, *, optional: bool = False) -> None:
    """Raises ValueError unless exactly one of ``name_env`` and ``name_file`` is given, or none where that may be."""
    given = sum(getattr(table, f"{name}_{kind}") is not None for kind in ("env", "file"))
    if given > 1 or (given == 0 and not optional):
        raise ValueError(f"needs {'at most' if optional else 'exactly'} one of {name}_env and {name}_file")


def _where(variable: str | None, file: Path | None) -> str:
    return str(variable or file)


def _address(variable: str | None, file: Path | None, environ: Mapping[str, str]) -> str:
    """A URL that is a secret. Raises ConfigError without a word of it."""
    found = secret_of(variable, file, environ).strip()
    try:
        return url_text(found)
    except ValueError as error:
        raise ConfigError(f"{_where(variable, file)}: {error}") from None


def _long_enough(variable: str | None, file: Path | None, environ: Mapping[str, str]) -> bytes:
    found = secret_of(variable, file, environ).encode()
    if len(found) < SECRET_BYTES_MIN:
        raise ConfigError(
            f"{_where(variable, file)}: the secret has fewer than {SECRET_BYTES_MIN} bytes; make a longer one"
        )
    return found


class Webhook(Table):
    """A receiver of signed JSON over HTTP; how to verify the signature is in `collector/alert/webhook.py`."""

    url: Url = Field(description="Where to send. Redirects are not followed.")
    secret_env: Variable | None = Field(
        default=None, description="Environment variable that holds the signing secret. This or `secret_file`."
    )
    secret_file: InFolder | None = Field(default=None, description="File that holds the signing secret.")
    timeout: Duration = Field(default=Seconds(10), description="How long to wait for the receiver.")

    @model_validator(mode="after")
    def _one_secret(self) -> Webhook:
        if (self.secret_env is None) == (self.secret_file is None):
            raise ValueError("needs exactly one of secret_env and secret_file, so that the receiver can trust it")
        return self

    def secret(self, environ: Mapping[str, str]) -> bytes:
        """The signing secret. Raises ConfigError when it is not there or too short."""
        return _long_enough(self.secret_env, self.secret_file, environ)

    def record(self) -> dict[str, Any]:
        return {"host": _host(self.url), "timeout": duration_text(self.timeout)}


class Email(Table):
    """Addresses that are written to over SMTP."""

    host: Text = Field(description="The mail server.")
    port: Annotated[Whole, Field(ge=1, le=65_535)] = Field(description="Commonly 587 for starttls, 465 for tls.")
    sender: Mailbox = Field(alias="from", description="Address that the messages come from.")
    to: Annotated[tuple[Mailbox, ...], Field(min_length=1), AfterValidator(distinct)] = Field(
        description="Addresses that the messages go to."
    )
    tls: Literal["none", "starttls", "tls"] = Field(
        default="starttls", description="How the connection is protected. Certificates are always verified."
    )
    username: str = Field(default="", description="Name to log in with. Empty: no login.")
    password_env: Variable | None = Field(
        default=None, description="Environment variable that holds the password. This or `password_file`."
    )
    password_file: InFolder | None = Field(default=None, description="File that holds the password.")
    timeout: Duration = Field(default=Seconds(20), description="How long to wait for the mail server.")

    @model_validator(mode="after")
    def _login(self) -> Email:
        given = (self.password_env is not None) + (self.password_file is not None)
        if given != (1 if self.username else 0):
            raise ValueError("username goes with exactly one of password_env and password_file; name both or none")
        if self.username and self.tls == "none":
            raise ValueError('a password is not sent in the clear; set tls to "starttls" or "tls"')
        return self

    def password(self, environ: Mapping[str, str]) -> str:
        """The password, "" without a username. Raises ConfigError when it is not there."""
        return secret_of(self.password_env, self.password_file, environ) if self.username else ""

    def record(self) -> dict[str, Any]:
        return {"host": self.host, "port": self.port, "from": self.sender, "to": list(self.to), "tls": self.tls}


class PagerDuty(Table):
    """A service of PagerDuty, through an integration of the kind *Events API V2*."""

    routing_key_env: Variable | None = Field(
        default=None, description="Environment variable that holds the integration key. This or `routing_key_file`."
    )
    routing_key_file: InFolder | None = Field(default=None, description="File that holds the integration key.")
    url: Url = Field(
        default="https://events.pagerduty.com/v2/enqueue",
        description="Where events are sent. In the EU service region: `https://events.eu.pagerduty.com/v2/enqueue`.",
    )
    hook_secret_env: Variable | None = Field(
        default=None,
        description="Environment variable that holds the secret of a V3 webhook subscription, or several with blanks "
        "between them. With it, acknowledgements come back at `/hooks/pagerduty/NAME`.",
    )
    hook_secret_file: InFolder | None = Field(default=None, description="File that holds it instead.")
    timeout: Duration = Field(default=TIMEOUT, description="How long to wait for an answer.")

    @model_validator(mode="after")
    def _secrets(self) -> PagerDuty:
        _one(self, "routing_key")
        _one(self, "hook_secret", optional=True)
        return self

    def routing_key(self, environ: Mapping[str, str]) -> str:
        """The integration key. Raises ConfigError when it is not there, or is none."""
        found = secret_of(self.routing_key_env, self.routing_key_file, environ).strip()
        if not re.fullmatch(r"[A-Za-z0-9]{32}", found):
            where = _where(self.routing_key_env, self.routing_key_file)
            raise ConfigError(f"{where}: an integration key of PagerDuty has 32 letters and digits; copy it again")
        return found

    def hook_secrets(self, environ: Mapping[str, str]) -> tuple[bytes, ...]:
        """The secrets of the webhook subscription, () without a hook. Raises ConfigError when they are not there."""
        if self.hook_secret_env is None and self.hook_secret_file is None:
            return ()
        found = secret_of(self.hook_secret_env, self.hook_secret_file, environ).split()
        if not found or any(len(secret) < SECRET_BYTES_MIN for secret in found):
            where = _where(self.hook_secret_env, self.hook_secret_file)
            raise ConfigError(f"{where}: a secret of the webhook is too short; copy it from PagerDuty again")
        return tuple(secret.encode() for secret in found)

    def record(self) -> dict[str, Any]:
        hook = self.hook_secret_env is not None or self.hook_secret_file is not None
        return {"host": _host(self.url), "hook": hook, "timeout": duration_text(self.timeout)}


class Slack(Table):
    """A channel of Slack, through an incoming webhook. Its URL is a password."""

    url_env: Variable | None = Field(
        default=None, description="Environment variable that holds the webhook's URL. This or `url_file`."
    )
    url_file: InFolder | None = Field(default=None, description="File that holds the webhook's URL.")
    timeout: Duration = Field(default=TIMEOUT, description="How long to wait for an answer.")

    @model_validator(mode="after")
    def _secrets(self) -> Slack:
        _one(self, "url")
        return self

    def address(self, environ: Mapping[str, str]) -> str:
        """The webhook's URL. Raises ConfigError when it is not there, or is none."""
        return _address(self.url_env, self.url_file, environ)

    def record(self) -> dict[str, Any]:
        return {"timeout": duration_text(self.timeout)}


class Teams(Table):
    """A channel or chat of Microsoft Teams, through the webhook of a workflow. Its URL is a password."""

    url_env: Variable | None = Field(
        default=None, description="Environment variable that holds the workflow's URL. This or `url_file`."
    )
    url_file: InFolder | None = Field(default=None, description="File that holds the workflow's URL.")
    timeout: Duration = Field(default=TIMEOUT, description="How long to wait for an answer.")

    @model_validator(mode="after")
    def _secrets(self) -> Teams:
        _one(self, "url")
        return self

    def address(self, environ: Mapping[str, str]) -> str:
        """The workflow's URL. Raises ConfigError when it is not there, is none, or is of a retired connector."""
        found = _address(self.url_env, self.url_file, environ)
        if RETIRED.match(found):
            raise ConfigError(
                f"{_where(self.url_env, self.url_file)}: this is the URL of an Office 365 connector, and those were "
                "retired; make a workflow from the template of a Teams webhook and name its URL"
            )
        return found

    def record(self) -> dict[str, Any]:
        return {"timeout": duration_text(self.timeout)}


class Alertmanager(Table):
    """One Alertmanager of Prometheus. Of a cluster, name each member as a channel of its own."""

    url: Url = Field(description="Where it is: `http://alertmanager:9093`; `/api/v2/alerts` is appended.")
    hold: Duration = Field(
        default=Seconds(366 * 86_400),
        description="How long an alert stands in it when no resolve comes. After that Alertmanager takes it for "
        "resolved, whatever is true.",
    )
    username: str = Field(default="", description="Name to log in with. Empty: none.")
    password_env: Variable | None = Field(
        default=None, description="Environment variable that holds the password. This or `password_file`."
    )
    password_file: InFolder | None = Field(default=None, description="File that holds the password.")
    token_env: Variable | None = Field(
        default=None, description="Environment variable that holds a bearer token, instead of name and password."
    )
    token_file: InFolder | None = Field(default=None, description="File that holds the bearer token.")
    timeout: Duration = Field(default=TIMEOUT, description="How long to wait for an answer.")

    @model_validator(mode="after")
    def _login(self) -> Alertmanager:
        _one(self, "password", optional=True)
        _one(self, "token", optional=True)
        password = self.password_env is not None or self.password_file is not None
        token = self.token_env is not None or self.token_file is not None
        if bool(self.username) != password:
            raise ValueError("username goes with one of password_env and password_file; name both or none")
        if token and password:
            raise ValueError("log in with a name and a password or with a token, not with both")
        if urlsplit(self.url).query or urlsplit(self.url).fragment:
            raise ValueError("url ends with a path; it has neither ? nor #")
        return self

    def authorization(self, environ: Mapping[str, str]) -> str:
        """The header of that name, "" for none. Raises ConfigError when a secret is not there."""
        if self.username:
            password = secret_of(self.password_env, self.password_file, environ)
            return "Basic " + base64.b64encode(f"{self.username}:{password}".encode()).decode()
        if self.token_env is None and self.token_file is None:
            return ""
        token = secret_of(self.token_env, self.token_file, environ).strip()
        if not re.fullmatch(r"[!-~]+", token):
            raise ConfigError(f"{_where(self.token_env, self.token_file)}: the token is not one word; copy it again")
        return f"Bearer {token}"

    def record(self) -> dict[str, Any]:
        return {"host": _host(self.url), "hold": duration_text(self.hold), "timeout": duration_text(self.timeout)}


class Sns(Table):
    """A topic of AWS SNS. Needs `sns:Publish` on it."""

    topic: Annotated[
        str,
        matching(
            r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?",
            'must be "arn:aws:sns:REGION:ACCOUNT:NAME"',
        ),
    ] = Field(description="ARN of the topic.")
    profile: str = Field(default="", description="Profile of the AWS configuration. Empty: whatever the AWS SDK finds.")
    role_arn: Annotated[
        str, matching(r"|arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+", 'must be "arn:aws:iam::ACCOUNT:role/NAME"')
    ] = Field(default="", description="Role to assume, which may publish there. Empty: none.")
    timeout: Duration = Field(default=TIMEOUT, description="How long to wait for an answer.")


class Apprise(Table):
    """One of the services that the Apprise library knows. Its URL holds the service's passwords."""

    url_env: Variable | None = Field(
        default=None, description="Environment variable that holds one URL of Apprise. This or `url_file`."
    )
    url_file: InFolder | None = Field(default=None, description="File that holds one URL of Apprise.")
    timeout: Duration = Field(default=TIMEOUT, description="How long to wait for the service.")

    @model_validator(mode="after")
    def _secrets(self) -> Apprise:
        _one(self, "url")
        return self

    def address(self, environ: Mapping[str, str]) -> str:
        """The URL. Raises ConfigError when it is not there, or is more or less than one."""
        found = secret_of(self.url_env, self.url_file, environ).strip()
        if not re.fullmatch(r"[A-Za-z0-9]+://[^\s]+", found):
            where = _where(self.url_env, self.url_file)
            raise ConfigError(f"{where}: must hold one URL of Apprise; give each service a channel of its own")
        return found

    def record(self) -> dict[str, Any]:
        return {"timeout": duration_text(self.timeout)}


KINDS = {
    "webhook": "a webhook",
    "email": "an e-mail",
    "pagerduty": "a PagerDuty",
    "slack": "a Slack",
    "teams": "a Teams",
    "alertmanager": "an Alertmanager",
    "sns": "an SNS",
    "apprise": "an Apprise",
}


class Confirm(Table):
    """How many in a row begin an alert about the collector itself. Checks have `confirm` in the control file."""

    missed: Rows = Field(default=1, description="Slots of an account that nobody observed.")
    late: Rows = Field(
        default=2, description="Slots of an account whose run began after its grace. One in a busy hour wakes nobody."
    )
    anchor: Rows = Field(
        default=1, description="Attempts that a place outside failed. Each is an entry at once, whatever stands here."
    )


class Steady(Table):
    """How many in a row end an alert about the collector itself; one that flaps needs six at least."""

    missed: Rows = Field(default=1, description="Slots of an account that were observed.")
    late: Rows = Field(default=1, description="Slots of an account whose run began in time.")
    anchor: Rows = Field(default=1, description="Checkpoints that the place took.")


class Alerts(Table):
    """The channels that alerts go over. A name stands for one channel, whatever its kind."""

    webhook: Mapping[Name, Webhook] = Field(default={}, description="Signed webhooks by name.")
    email: Mapping[Name, Email] = Field(default={}, description="E-mail channels by name.")
    pagerduty: Mapping[Name, PagerDuty] = Field(default={}, description="Services of PagerDuty by name.")
    slack: Mapping[Name, Slack] = Field(default={}, description="Channels of Slack by name.")
    teams: Mapping[Name, Teams] = Field(default={}, description="Channels of Microsoft Teams by name.")
    alertmanager: Mapping[Name, Alertmanager] = Field(default={}, description="Alertmanagers by name.")
    sns: Mapping[Name, Sns] = Field(default={}, description="Topics of AWS SNS by name.")
    apprise: Mapping[Name, Apprise] = Field(default={}, description="What Apprise knows, by name.")
    link: Annotated[str, AfterValidator(link_text)] = Field(
        default="",
        description="Where an alert can be looked at: `https://.../{alert}`; `{alert}` becomes the number of its "
        "entry, `{key}` its key. Empty: no link.",
    )
    changed_by: bool = Field(
        default=False,
        description="Whether the cloud's own log is asked who changed what failed. Needs a permission of its own, "
        "which `collector policy` then prints.",
    )

    confirm: Confirm = Field(default=Confirm(), description="What it takes until the collector tells of itself.")
    steady: Steady = Field(default=Steady(), description="What it takes until that is over.")

    @model_validator(mode="after")
    def _one_name(self) -> Alerts:
        seen: dict[str, str] = {}
        for kind, words in KINDS.items():
            for name in getattr(self, kind):
                if name in seen:
                    raise ValueError(f"{name!r} is {seen[name]} and {words} channel; rename one")
                seen[name] = words
        return self

    def names(self) -> tuple[str, ...]:
        """All channels: webhooks, then e-mail, and so on as the tables are named above."""
        return tuple(name for kind in KINDS for name in getattr(self, kind))
