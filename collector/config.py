"""The operator's one configuration file, typed. What each control means stands in the control file, not in here.

Every key is described where it is declared; ``reference`` makes the documentation out of that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from collector import hush, tomlfile
from collector.config_alerts import Alerts
from collector.config_feed import Feeds
from collector.config_places import Anchors
from collector.config_routes import Digest, Route
from collector.config_values import (
    GUID,
    Criteria,
    InFolder,
    ScopeText,
    Variable,
    database_url,
    day_or_time,
    listen_text,
    secret_of,
    zone_name,
)
from collector.errors import ConfigError
from collector.model import ACCOUNT_WORDS, Scope
from collector.tomlfile import Duration, Name, Seconds, Table, Text, Whole, distinct, matching, nearest

PREFIX = "COLLECTOR_"


# --- the sections ---


class Collector(Table):
    """Who this collector is, and where it keeps what it writes."""

    origin: Annotated[
        str,
        matching(
            r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/[a-z0-9][a-z0-9._-]*)+",
            'must be host/tenant in lower case, such as "evidence.example.com/production"',
        ),
    ] = Field(description="Name of the ledger as `host/tenant`. It is signed into every checkpoint: fixed for ever.")
    data: InFolder = Field(
        default=Path("data"), validate_default=True, description="Folder for everything that the collector writes."
    )
    database: Annotated[str, AfterValidator(database_url)] = Field(
        default_factory=lambda values: f"sqlite:///{(values['data'] / 'ledger.db').resolve()}",
        description="SQLAlchemy URL of the ledger's database. Default: `ledger.db` in the data folder. "
        "Give one that holds a password as `COLLECTOR_COLLECTOR__DATABASE`.",
    )
    key: InFolder = Field(
        default_factory=lambda values: values["data"] / "log.key",
        description="File of the key that signs checkpoints. Default: `log.key` in the data folder.",
    )
    signer: Annotated[
        str,
        matching(
            r"|(awskms|gcpkms|azurekv)://\S+",
            'must be "" (the key file) or the URI of a key: "awskms:///arn:aws:kms:...", "gcpkms://projects/...", '
            '"azurekv://VAULT.vault.azure.net/keys/NAME/VERSION"',
        ),
    ] = Field(
        default="",
        description="A key that never leaves its service signs checkpoints: `awskms:///ARN`, `gcpkms://RESOURCE` or "
        "`azurekv://VAULT/keys/NAME/VERSION`. Empty: the key file.",
    )
    controls: InFolder = Field(default=Path("controls.toml"), validate_default=True, description="The control file.")

    def record(self) -> dict[str, Any]:
        # Where files lie differs between machines that run the same configuration, and a URL may hold a password.
        return {"origin": self.origin, "database": self.database.partition(":")[0].partition("+")[0]}


class AwsAccount(Table):
    """One AWS account to observe. Repeat the table for each."""

    account: Annotated[
        str, matching(r"[0-9]{12}", 'must be the 12 digits of the account, in quotes: "123456789012"')
    ] = Field(description="The 12 digits of the account, in quotes. Credentials of another account are refused.")
    profile: str = Field(default="", description="Profile of the AWS configuration. Empty: whatever the AWS SDK finds.")
    role_arn: Annotated[
        str, matching(r"|arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+", 'must be "arn:aws:iam::ACCOUNT:role/NAME"')
    ] = Field(default="", description="Role to assume in the account. Empty: none.")
    external_id: str = Field(default="", description="External id that the role asks for. Left out of the ledger.")
    regions: Annotated[
        tuple[Annotated[str, matching(r"[a-z]{2,3}(-[a-z]+)+-[0-9]+", 'must be a region such as "eu-west-1"')], ...],
        AfterValidator(distinct),
    ] = Field(default=(), description="Regions to observe. Empty: every region that is enabled in the account.")
    home_region: Annotated[str, matching(r"[a-z]{2,3}(-[a-z]+)+-[0-9]+", 'must be a region such as "us-east-1"')] = (
        Field(default="us-east-1", description="Region where account-wide services are asked.")
    )

    @property
    def scope(self) -> Scope:
        return Scope("aws", self.account)

    @property
    def chosen(self) -> tuple[str, ...]:
        return self.regions

    @property
    def first(self) -> tuple[str, ...]:
        return (self.home_region,)

    @model_validator(mode="after")
    def _consistent(self) -> AwsAccount:
        if self.role_arn and self.role_arn.split(":")[4] != self.account:
            raise ValueError(f"role_arn is a role of another account than {self.account}; name a role of this one")
        if self.external_id and not self.role_arn:
            raise ValueError("external_id does nothing without role_arn; name the role or remove it")
        return self

    def record(self) -> dict[str, Any]:
        return {**super().record(), "external_id": bool(self.external_id)}


class AzureTenant(Table):
    """One Azure (Entra) tenant with its subscriptions. Repeat the table for each."""

    tenant: Annotated[str, matching(GUID, "must be the tenant's id, a GUID in lower case")] = Field(
        description="Id of the tenant, a GUID. Credentials of another tenant are refused."
    )
    cloud: Literal["public", "usgovernment", "china"] = Field(default="public", description="Which Azure it lives in.")
    credential: Literal[
        "",
        "environment",
        "workload-identity",
        "managed-identity",
        "client-secret",
        "client-certificate",
        "cli",
    ] = Field(
        default="",
        description="How the collector signs in. Empty: the first that works of environment, workload identity, "
        "managed identity and the Azure CLI.",
    )
    client_id: Annotated[str, matching(rf"|{GUID}", "must be the application's (client) id, a GUID")] = Field(
        default="", description="Application id, or the id of a user-assigned managed identity."
    )
    client_secret_env: Variable | None = Field(
        default=None, description="Environment variable that holds the client secret. This or `client_secret_file`."
    )
    client_secret_file: InFolder | None = Field(default=None, description="File that holds the client secret.")
    certificate_file: InFolder | None = Field(
        default=None, description="PEM or PKCS #12 file of the client certificate with its key."
    )
    management_group: str = Field(
        default="", description="Observe the subscriptions below this management group. Empty: every one that is seen."
    )
    subscriptions: Annotated[
        tuple[Annotated[str, matching(GUID, "must be a subscription's id, a GUID in lower case")], ...],
        AfterValidator(distinct),
    ] = Field(default=(), description="Subscriptions to observe. Empty: all that are discovered; new ones join.")

    @property
    def scope(self) -> Scope:
        return Scope("azure", self.tenant)

    @property
    def chosen(self) -> tuple[str, ...]:
        return self.subscriptions

    @property
    def first(self) -> tuple[str, ...]:
        return ()

    @model_validator(mode="after")
    def _consistent(self) -> AzureTenant:
        secrets = (self.client_secret_env is not None) + (self.client_secret_file is not None)
        if self.credential == "client-secret" and (secrets != 1 or not self.client_id):
            raise ValueError('credential "client-secret" needs client_id and client_secret_env or client_secret_file')
        if self.credential == "client-certificate" and (self.certificate_file is None or not self.client_id):
            raise ValueError('credential "client-certificate" needs client_id and certificate_file')
        if self.credential != "client-secret" and secrets:
            raise ValueError('a client secret does nothing here; set credential to "client-secret" or remove it')
        if self.credential != "client-certificate" and self.certificate_file is not None:
            raise ValueError('certificate_file does nothing here; set credential to "client-certificate" or remove it')
        if self.management_group and self.subscriptions:
            raise ValueError("name a management_group or subscriptions, not both")
        return self

    def secret(self, environ: Mapping[str, str]) -> str:
        """The client secret, "" where none is used. Raises ConfigError when it is not there."""
        if self.credential != "client-secret":
            return ""
        return secret_of(self.client_secret_env, self.client_secret_file, environ)

    def record(self) -> dict[str, Any]:
        hidden = ("client_secret_env", "client_secret_file", "certificate_file")
        return {key: value for key, value in super().record().items() if key not in hidden}


class GoogleOrganization(Table):
    """One Google organization, folder or project, with its projects. Repeat the table for each."""

    parent: Annotated[
        str,
        matching(
            r"(organizations|folders)/[0-9]+|projects/[a-z][a-z0-9-]+",
            'must be "organizations/NUMBER", "folders/NUMBER" or "projects/ID"',
        ),
    ] = Field(description="What is observed, with everything below it: `organizations/461203958147`.")
    credentials_file: InFolder | None = Field(
        default=None,
        description="Key file or workload identity file. Left out: Application Default Credentials, such as the "
        "metadata server or `GOOGLE_APPLICATION_CREDENTIALS`.",
    )
    impersonate: Annotated[str, matching(r"|[^@\s]+@[^@\s]+", "must be a service account's e-mail address")] = Field(
        default="", description="Service account to act as. Empty: none."
    )
    quota_project: str = Field(default="", description="Project whose quotas are used. Empty: the credentials' own.")
    workspace_admin: Annotated[str, matching(r"|[^@\s]+@[^@\s]+", "must be an administrator's e-mail address")] = Field(
        default="",
        description="Workspace administrator in whose name users are read (domain-wide delegation). Empty: users and "
        "their 2-step verification cannot be read, and their checks say so.",
    )
    customer: Text = Field(default="my_customer", description="Workspace customer id.")
    projects: Annotated[
        tuple[Annotated[str, matching(r"[a-z][a-z0-9:.-]+", "must be a project's id")], ...], AfterValidator(distinct)
    ] = Field(default=(), description="Projects to observe. Empty: all that are discovered; new ones join.")

    @property
    def scope(self) -> Scope:
        return Scope("gcp", self.parent.replace("/", "-"))

    @property
    def chosen(self) -> tuple[str, ...]:
        return self.projects

    @property
    def first(self) -> tuple[str, ...]:
        return ()

    def record(self) -> dict[str, Any]:
        return {key: value for key, value in super().record().items() if key != "credentials_file"}


class Checks(Table):
    """Checks of others. Each runs with the collector's cloud credentials, so each is named here or not loaded."""

    folders: tuple[InFolder, ...] = Field(default=(), description="Folders of check files.")
    entry_points: Annotated[tuple[Text, ...], AfterValidator(distinct)] = Field(
        default=(), description="Names in the entry-point group `collector.checks` of installed distributions."
    )


class Schedule(Table):
    """When the collector works. How often a control is tested is its cadence in the control file."""

    grace: Duration = Field(
        default=Seconds(900), description="How late a run may start before its slot counts as late."
    )
    run_seconds_max: Annotated[Whole, Field(ge=1, le=86_400)] = Field(
        default=1800, description="Seconds after which a run stops asking; what it did not read is undetermined."
    )
    check_seconds_max: Annotated[Whole, Field(ge=1, le=86_400)] = Field(
        default=900,
        description="Seconds after which a check over one scope looks at no further subject: the rest is undetermined.",
    )
    heartbeat: Duration = Field(
        default=Seconds(3600), description="How often the collector writes down that it is alive."
    )
    heartbeat_url_env: Variable | None = Field(
        default=None,
        description="Environment variable with a URL that is called (POST) after each heartbeat was written, so that a "
        "service outside notices when the collector falls silent. Left out: none.",
    )
    checkpoint: Duration = Field(
        default=Seconds(3600), description="How often the ledger's head is signed, and anchored where places are named."
    )


class Clock(Table):
    """What the host's clock is held against, besides the Date headers of the clouds."""

    ntp: Annotated[
        str, matching(r"|[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?", 'must be a time server: "host" or "host:port"')
    ] = Field(
        default="",
        description="SNTP server that is asked once with each heartbeat, `host` or `host:port`; its offset is written "
        "down, the clock is not set. Empty: none.",
    )


class Web(Table):
    """Health, readiness and metrics over HTTP. Serves no evidence."""

    listen: Annotated[str, AfterValidator(listen_text)] = Field(
        default="127.0.0.1:8321", description="`host:port` to listen on; empty for off. In a container: `0.0.0.0:8321`."
    )


class Log(Table):
    """The collector's own log, on standard error."""

    format: Literal["console", "json"] = Field(default="console", description="For people or for machines.")
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is said.")


class Retention(Table):
    """How long raw answers, call logs and observations are kept. Digests and entries stay for ever."""

    payloads: Duration | None = Field(
        default=None,
        description="Payloads that no run of this long has used are dropped; their digests stay, and packages say so. "
        "Left out: never. At least `400d` is wise: a Type 2 report looks back a year.",
    )


class Window(Table):
    """An observation window. Half-open: `start` belongs to it, `end` is the first moment that does not."""

    start: Annotated[date, PlainValidator(day_or_time)] = Field(
        description="First day or moment, without quotes: `2026-01-01`."
    )
    end: Annotated[date, PlainValidator(day_or_time)] = Field(
        description="First day or moment after the window: a window over June ends on `2026-07-01`."
    )
    zone: Annotated[str, AfterValidator(zone_name)] = Field(
        default="UTC", description="IANA time zone in which days begin: `Europe/Berlin`."
    )
    criteria: Criteria = Field(description="Trust Services Criteria that the window covers.", min_length=1)
    scopes: Annotated[tuple[ScopeText, ...], AfterValidator(distinct)] = Field(
        default=(), description="Scopes that it covers: `aws/123456789012`. Empty: all."
    )
    frequency: Duration | None = Field(
        default=None,
        description="How often each check of the window must at least be observed: `1d`. Nothing is planned by it: "
        "where a control's cadence is slower, the finding is undetermined, and says so. Left out: as the cadences say.",
    )
    hold: bool = Field(
        default=False, description="Legal hold: payloads that runs of this window rest on are kept beyond their term."
    )

    @model_validator(mode="after")
    def _forward(self) -> Window:
        if self.since >= self.until:
            raise ValueError("end is not after start; end is the first moment that is no longer in the window")
        return self

    @property
    def since(self) -> datetime:
        """The first moment, in UTC."""
        return _utc(self.start, self.zone)

    @property
    def until(self) -> datetime:
        """The first moment after, in UTC."""
        return _utc(self.end, self.zone)

    def record(self) -> dict[str, Any]:
        """Without a frequency as before there were any, so that an upgrade alone is no change of the configuration."""
        return {key: value for key, value in super().record().items() if key != "frequency" or value is not None}


def _utc(value: date, zone: str) -> datetime:
    """The first moment at which the clock of ``zone`` shows a time, or a later one where clocks jump over it."""
    wanted = value if isinstance(value, datetime) else datetime.combine(value, time())
    if wanted.tzinfo is not None:
        return wanted.astimezone(UTC)
    place, minute = ZoneInfo(zone), timedelta(minutes=1)

    def shown(moment: datetime) -> datetime:
        return moment.astimezone(place).replace(tzinfo=None, fold=0)

    found = wanted.replace(tzinfo=place).astimezone(UTC)
    if shown(found) > wanted:  # skipped: found is as long after the jump as the time is after its beginning
        found = found.replace(second=0, microsecond=0)
        while shown(found - minute) > wanted:
            found -= minute
    return found


class Settings(Table):
    """The whole file."""

    collector: Collector = Field(description="Who and where.")
    aws: tuple[AwsAccount, ...] = Field(default=(), description="AWS accounts.")
    azure: tuple[AzureTenant, ...] = Field(default=(), description="Azure tenants.")
    gcp: tuple[GoogleOrganization, ...] = Field(default=(), description="Google organizations.")
    checks: Checks = Field(default=Checks(), description="Checks of others.")
    schedule: Schedule = Field(default=Schedule(), description="When.")
    clock: Clock = Field(default=Clock(), description="The host's clock.")
    web: Web = Field(default=Web(), description="HTTP.")
    log: Log = Field(default=Log(), description="Log.")
    alerts: Alerts = Field(default=Alerts(), description="Channels.")
    route: tuple[Route, ...] = Field(default=(), description="Who is told.")
    digest: Digest | None = Field(default=None, description="What is told once a day.")
    anchors: Anchors = Field(default=Anchors(), description="Places outside that hold checkpoints.")
    feed: Feeds = Field(default=Feeds(), description="What tells of changes between the slots.")
    retention: Retention = Field(default=Retention(), description="How long payloads are kept.")
    windows: Mapping[Name, Window] = Field(default={}, description="Observation windows by name.")

    @property
    def accounts(self) -> tuple[AwsAccount | AzureTenant | GoogleOrganization, ...]:
        """All accounts of all clouds, in the order of the file."""
        return (*self.aws, *self.azure, *self.gcp)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        scopes = [account.scope for account in self.accounts]
        for scope in scopes:
            if scopes.count(scope) > 1:
                raise ValueError(
                    f"[[{scope.cloud}]] names {ACCOUNT_WORDS[scope.cloud]} {scope.account} twice; remove one"
                )
        known = self.alerts.names()
        for name, mail in self.anchors.email.items():
            if mail.channel not in self.alerts.email:
                raise ValueError(
                    f"[anchors.email.{name}] names the channel {mail.channel!r}; "
                    f"{nearest(mail.channel, self.alerts.email)}"
                )
        told = [(f"[[route]] number {n}", (*r.channels, *r.escalate_to)) for n, r in enumerate(self.route, 1)]
        if self.digest is not None:
            told.append(("[digest]", self.digest.channels))
            for channel in self.digest.channels:
                if channel in self.alerts.pagerduty or channel in self.alerts.alertmanager:
                    raise ValueError(f"[digest] names the channel {channel!r}, which takes alerts alone; name another")
        for where, channels in told:
            for channel in channels:
                if channel not in known:
                    raise ValueError(f"{where} names the channel {channel!r}; {nearest(channel, known)}")
        return self


# --- reading the file ---


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of a file, with the overrides of the environment. Raises ConfigError with one sentence."""
    hush.hold_environment(environ)
    raw = tomlfile.read(path, "write one with `collector init`")
    sources = _override(raw, environ)
    context = {"folder": path.resolve().parent}
    return tomlfile.parse(Settings, raw, str(path), context=context, sources=sources)


def _override(raw: dict[str, Any], environ: Mapping[str, str]) -> dict[tuple[int | str, ...], str]:
    """Puts ``COLLECTOR_SECTION__KEY`` into the raw tables; answers which variable gave which value."""
    known = overridable()
    sources: dict[tuple[int | str, ...], str] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or "__" not in name:
            continue  # COLLECTOR_SERVICE_HOST and the like are Kubernetes' own
        if name not in known:
            raise ConfigError(f"the environment sets {name}, which overrides no key; {nearest(name, known)}")
        section, key, kind = known[name]
        table = raw.setdefault(section, {})
        if not isinstance(table, dict):
            continue  # not a table at all: the model says so
        text = environ[name]
        table[key] = _value(text, kind)
        sources[(section, key)] = f"environment variable {name}"
    return sources


def _value(text: str, kind: Any) -> str | int | bool:
    if kind is int and re.fullmatch(r"-?[0-9]{1,15}", text):
        return int(text)
    return text == "true" if kind is bool and text in ("true", "false") else text


def overridable() -> dict[str, tuple[str, str, Any]]:
    """Section, key and type of every environment variable that overrides something: the single values of a section."""
    found: dict[str, tuple[str, str, Any]] = {}
    for section, holder in Settings.model_fields.items():
        model = holder.annotation
        if isinstance(model, type) and issubclass(model, Table):
            for key, field in model.model_fields.items():
                if tomlfile.is_scalar(field.annotation):
                    found[f"{PREFIX}{section}__{key}".upper()] = (section, key, field.annotation)
    return found


# --- the reference page ---

_HEADERS = {
    "aws": "[[aws]]",
    "azure": "[[azure]]",
    "gcp": "[[gcp]]",
    "alerts.webhook": "[alerts.webhook.NAME]",
    "alerts.email": "[alerts.email.NAME]",
    "alerts.pagerduty": "[alerts.pagerduty.NAME]",
    "alerts.slack": "[alerts.slack.NAME]",
    "alerts.teams": "[alerts.teams.NAME]",
    "alerts.alertmanager": "[alerts.alertmanager.NAME]",
    "alerts.sns": "[alerts.sns.NAME]",
    "alerts.apprise": "[alerts.apprise.NAME]",
    "anchors.tsa": "[anchors.tsa.NAME]",
    "anchors.s3": "[anchors.s3.NAME]",
    "anchors.azure_blob": "[anchors.azure-blob.NAME]",
    "anchors.gcs": "[anchors.gcs.NAME]",
    "anchors.witness": "[anchors.witness.NAME]",
    "anchors.file": "[anchors.file.NAME]",
    "anchors.email": "[anchors.email.NAME]",
    "feed.aws": "[feed.aws.NAME]",
    "feed.azure": "[feed.azure.NAME]",
    "feed.gcp": "[feed.gcp.NAME]",
    "route": "[[route]]",
    "route.match": "[[route]] match = { ... }",
    "windows": "[windows.NAME]",
}


def reference() -> str:
    """The configuration file as a Markdown page, made from the models above."""
    names = "\n".join(f"* `{name}`" for name in overridable())
    return (
        "# The configuration file\n\n"
        "One TOML file. Relative paths are relative to it. A duration is a whole number and one of `s`, `m`, `h`, `d`: "
        '`"15m"`. An unknown key is refused. No secret is ever written in it: name a variable or a file that holds it.'
        f"\n\n{tomlfile.reference(Settings, _HEADERS)}\n\n## Environment\n\n"
        f"A variable that is set wins over the file. These are known:\n\n{names}\n"
    )
