"""One AWS account, read only: every question is asked once, every answer is kept, every page is read.

boto3 and botocore are imported here and nowhere else. Checks see ``Account``; they never see a client.
"""

from __future__ import annotations

import base64
import csv
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, overload
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config as ClientConfig
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    Credentials,
    DeferredRefreshableCredentials,
    RefreshableCredentials,
)
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from collector import canonical, hush
from collector.clouds.aws_models import continuations, endpoint, lean_session, paging, partition_of, wire_name
from collector.clouds.handle import Handle
from collector.clouds.pace import Pace
from collector.clouds.redact import redact
from collector.clouds.transcript import REPLAYED_TOKEN, Answer, Kept, Question, Transcript
from collector.errors import ConfigError, Denied, Disabled, Throttled, Unavailable, Unreadable

HOME_REGION = "us-east-1"  # where the account-wide services of the aws partition answer
HOME_REGIONS = {"aws": HOME_REGION, "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
THREADS_MAX = 64  # engine.md 1a: beyond 64 boto3 gets slower
CONNECT_SECONDS_MAX = 10
READ_SECONDS_MAX = 60
ATTEMPTS_MAX = 6  # of one question
PATIENCE_SECONDS_MAX = 90  # for one question, all attempts and waiting together
BACKOFF_SECONDS_MAX = 20
PAGES_MAX = 10_000
PAGE_SIZE_EC2 = 1_000
UNPAGED_EC2 = frozenset(("InstanceIds", "VolumeIds", "SnapshotIds"))  # EC2 refuses a page size beside these
REPORT_POLLS_MAX = 30
REPORT_POLL_SECONDS = 2

DENIED = frozenset(
    (
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "AuthorizationError",
        "AuthorizationErrorException",
        "ExpiredToken",
        "ExpiredTokenException",
        "Forbidden",
        "InvalidClientTokenId",
        "RequestExpired",
        "InvalidSignatureException",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "UnauthorizedAccess",
        "UnauthorizedException",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    )
)
THROTTLED = frozenset(
    (
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    )
)
DISABLED = frozenset(["OptInRequired", "SubscriptionRequiredException"])
RETRIED_FAILURES = frozenset((Throttled.code, Unavailable.code))


# --- credentials: one client per (service, region) serves every account (engine.md 1b) ---

_credentials: ContextVar[Credentials | None] = ContextVar("credentials", default=None)


def _current() -> Credentials:
    found = _credentials.get()
    if found is None:
        raise NoCredentialsError  # fail closed: no call leaves without an account
    return found


class _ContextCredentials(Credentials):  # type: ignore[misc]  # botocore is untyped
    """Credentials that are whatever account the calling context works for."""

    def __init__(self) -> None:
        self.method = "context"

    def get_frozen_credentials(self) -> Any:
        return _current().get_frozen_credentials()

    def get_deferred_property(self, property_name: str) -> Callable[[], Any]:
        return lambda: getattr(_current(), property_name, None)

    access_key = property(lambda self: _current().access_key)
    secret_key = property(lambda self: _current().secret_key)
    token = property(lambda self: _current().token)
    account_id = property(lambda self: getattr(_current(), "account_id", None))


_SIGNER = re.compile(rb"Credential=([^/,\s]+)/")


def _guard_signature(request: Any, **_: Any) -> None:
    """Refuses to send a request that is signed with another account's key."""
    header = request.headers.get("Authorization") or b""
    found = _SIGNER.search(header if isinstance(header, bytes) else header.encode())
    if found is None or found[1].decode() != _current().get_frozen_credentials().access_key:
        raise ConfigError("a request was about to leave with another account's signature; it was not sent")


def _refuse_broken_json(operation_model: Any, response_dict: Mapping[str, Any], **_: Any) -> None:
    """Raises ResponseParserError for a success with broken JSON, which botocore takes for an answer without members."""
    if "json" not in operation_model.service_model.resolved_protocol or response_dict["status_code"] >= 300:
        return
    if operation_model.has_streaming_output or not response_dict["body"]:
        return
    try:
        canonical.parse(response_dict["body"])
    except ValueError as error:
        raise ResponseParserError(f"{operation_model.name}: {error}") from error


def credentials_for(*, profile: str = "", role_arn: str = "", external_id: str = "", session_name: str) -> Credentials:
    """Credentials of one account: a profile or whatever boto3 finds, then a role if one is named.

    Raises Denied when there are none, ConfigError when the profile is unknown.
    """
    try:
        session = botocore.session.Session(profile=profile or None)
        source = session.get_credentials()
    except BotoCoreError as error:
        raise ConfigError(f"AWS profile {profile!r}: {error}") from error
    if source is None:
        raise Denied(
            "no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or give the container a role "
            "(https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html)"
        )
    hold_credentials(source)
    if not role_arn:
        return source
    extra = {"RoleSessionName": session_name} | ({"ExternalId": external_id} if external_id else {})
    fetcher = AssumeRoleCredentialFetcher(session.create_client, source, role_arn, extra_args=extra)
    found = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)
    hold_credentials(found)
    return found


def hold_credentials(credentials: Credentials) -> None:
    """Lets no text show a key or a session's token; of credentials that are fetched, whenever they are."""
    if not isinstance(credentials, RefreshableCredentials):
        _hold_both(credentials.secret_key, credentials.token)
        return
    fetch = credentials._refresh_using  # private to botocore, as in Clients

    def fetched() -> Any:
        found = fetch()
        _hold_both(found["secret_key"], found["token"])
        return found

    credentials._refresh_using = fetched
    if credentials._frozen_credentials is not None:  # those of a machine are there at once
        _hold_both(credentials._frozen_credentials.secret_key, credentials._frozen_credentials.token)


def _hold_both(key: str, token: str | None) -> None:
    for secret in (key, token):
        if secret:
            hush.hold(secret, passing=True)


# --- clients ---


def _wire_time(value: Any) -> str:
    """Timestamps stay as they came over the wire; epoch seconds become RFC 3339. Parsing them costs half a listing."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")
    return str(value)


class Clients:
    """The boto clients of this process, one per service and region, shared by all accounts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        self._paces: dict[tuple[str, str], Pace] = {}
        self._session = lean_session()
        self._session._credentials = _ContextCredentials()  # private to botocore: pinned by the lock, tested
        factory = self._session.get_component("response_parser_factory")
        factory.set_parser_defaults(timestamp_parser=_wire_time)
        self._boto3 = boto3.Session(botocore_session=self._session)
        self._config = ClientConfig(
            retries={"total_max_attempts": 1, "mode": "standard"},  # retries are ours: each is counted and paced
            connect_timeout=CONNECT_SECONDS_MAX,
            read_timeout=READ_SECONDS_MAX,
            max_pool_connections=THREADS_MAX,
            user_agent_extra="evidence-collector",
        )

    def client(self, service: str, region: str) -> Any:
        with self._lock:
            found = self._clients.get((service, region))
            if found is None:
                token = _credentials.set(_credentials.get() or Credentials("unset", "unset"))
                try:
                    found = self._boto3.client(service, region_name=region, config=self._config)
                finally:
                    _credentials.reset(token)
                found.meta.events.register("before-send", _guard_signature)
                found.meta.events.register("before-parse", _refuse_broken_json)
                self._clients[service, region] = found
            return found

    def pace(self, account: str, service: str) -> Pace:
        with self._lock:
            return self._paces.setdefault((account, service), Pace())


# --- answers as values ---


def _path(body: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(body, Mapping):
            return None
        body = body.get(part)
    return body


def _without(body: dict[str, Any], path: str) -> dict[str, Any]:
    """``body`` without the member at a dotted path; shares the rest."""
    first, _, rest = path.partition(".")
    if first not in body:
        return body
    copy = dict(body)
    if rest and isinstance(copy[first], dict):
        copy[first] = _without(copy[first], rest)
    else:
        del copy[first]
    return copy


def _names(value: Any) -> list[str]:
    return list(value) if isinstance(value, list) else [value]


def _plain(value: Any) -> Any:
    """JSON-ready: bytes become text, or base64 under one key where they are not text."""
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    return value


# --- the edge: one question becomes one answer, and no exception passes ---


def _family(code: str, status: int) -> str:
    if code in THROTTLED or status == 429:
        return Throttled.code
    if code in DENIED or status in (401, 403):
        return Disabled.code if code in DISABLED else Denied.code
    if code in DISABLED:
        return Disabled.code
    return Unavailable.code if status >= 500 else Unreadable.code


@dataclass
class Edge:
    """Puts questions of one account to AWS. Retries within limits; turns every failure into an answer that says so."""

    clients: Clients
    account: str
    credentials: Credentials
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep
    patience_seconds: float = PATIENCE_SECONDS_MAX
    deadline: float = float("inf")  # of the whole run, on time.monotonic
    chance: random.Random = field(default_factory=random.Random)

    def put(self, service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
        token = _credentials.set(self.credentials)
        try:
            return self._put(service, operation, region, params)
        finally:
            _credentials.reset(token)

    def _put(self, service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
        started, begin = self.clock(), time.monotonic()
        until = min(begin + self.patience_seconds, self.deadline)
        pace = self.clients.pace(self.account, service)
        attempt = 0
        while True:
            attempt += 1
            pace.wait(self.sleep)
            answer, retry_after = self._once(service, operation, region, params)
            if answer.failure == Throttled.code:
                pace.throttled()
            else:
                pace.answered()
            if answer.failure not in RETRIED_FAILURES or attempt >= ATTEMPTS_MAX:
                break
            pause = retry_after or self.chance.uniform(0, min(BACKOFF_SECONDS_MAX, 0.2 * 2**attempt))
            if time.monotonic() + pause >= until:
                break
            self.sleep(pause)
        taken = round((time.monotonic() - begin) * 1000)
        return Answer(**{**answer.__dict__, "started": started, "duration_ms": taken, "attempts": attempt})

    def _once(self, service: str, operation: str, region: str, params: Mapping[str, Any]) -> tuple[Answer, float]:
        now = self.clock()

        def failed(failure: str, error: str, message: str, **more: Any) -> Answer:
            body = redact({"Error": {"Code": error, "Message": hush.without(message)}})  # it may quote what was sent
            return Answer(body=body, started=now, duration_ms=0, failure=failure, error=error, **more)

        if time.monotonic() >= self.deadline:
            return failed(Unavailable.code, "RunDeadline", "the run's time was used up", status=0), 0
        try:
            client = self.clients.client(service, region)
            found: dict[str, Any] = getattr(client, operation)(**params)
        except ClientError as error:
            meta = error.response.get("ResponseMetadata", {})
            headers = meta.get("HTTPHeaders", {})
            code = str(error.response.get("Error", {}).get("Code") or "Unknown")
            status = int(meta.get("HTTPStatusCode") or 0)
            answer = failed(
                _family(code, status),
                code,
                str(error.response.get("Error", {}).get("Message") or ""),
                status=status,
                request_id=_request_id(meta),
                date=str(headers.get("date") or ""),
            )
            return answer, _seconds(headers.get("retry-after"))
        except ParamValidationError:
            raise  # a check asks nonsense: that is a crash of the check, not an answer of the cloud
        except (ResponseParserError, UnicodeDecodeError, ValueError) as error:
            return failed(Unreadable.code, type(error).__name__, "the answer could not be parsed", status=200), 0
        except (ConnectTimeoutError, ReadTimeoutError) as error:
            return failed(Unavailable.code, type(error).__name__, "no answer in time", status=0), 0
        except NoCredentialsError as error:
            return failed(Denied.code, type(error).__name__, "no credentials", status=0), 0
        except BotoCoreError as error:
            family = Denied.code if "Credential" in type(error).__name__ or "Token" in type(error).__name__ else ""
            return failed(family or Unavailable.code, type(error).__name__, str(error), status=0), 0
        except OSError as error:
            return failed(Unavailable.code, type(error).__name__, str(error), status=0), 0
        except ConfigError:
            raise  # another account's signature: that must stop the run, not pass for an answer
        except Exception as error:  # the SDK tripped over what came: no answer either, and kept as such
            return failed(Unreadable.code, type(error).__name__, "the SDK failed on the answer", status=0), 0
        return self._answer(service, operation, region, found, now), 0

    def _answer(self, service: str, operation: str, region: str, found: dict[str, Any], now: datetime) -> Answer:
        meta = found.pop("ResponseMetadata", {})
        body = _plain(found)
        token: dict[str, Any] = {}
        if table := paging(service, operation):
            for given, taken in zip(_names(table["input_token"]), _names(table["output_token"]), strict=True):
                if value := _path(body, taken):
                    token[given] = value
                body = _without(body, taken)
        host = urlsplit(self.clients.client(service, region).meta.endpoint_url).netloc
        return Answer(
            body=redact(body),
            started=now,
            duration_ms=0,
            status=int(meta.get("HTTPStatusCode") or 0),
            request_id=_request_id(meta),
            date=str(meta.get("HTTPHeaders", {}).get("date") or ""),
            as_of=str(body.get("GeneratedTime") or ""),
            host="" if host == endpoint(service, region) else host,
            token=token or None,
        )


def _request_id(meta: Mapping[str, Any]) -> str:
    headers = meta.get("HTTPHeaders", {})
    return str(meta.get("RequestId") or headers.get("x-amzn-requestid") or headers.get("x-amz-request-id") or "")


def _seconds(value: Any) -> float:
    try:
        return max(0.0, min(float(value), BACKOFF_SECONDS_MAX))
    except (TypeError, ValueError):
        return 0.0


# --- what a check sees ---

Put = Callable[[str, str, str, Mapping[str, Any]], Answer]


def _no_network(service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
    raise AssertionError(f"{service}.{operation} was put to a cloud while re-performing")


class Account(Handle):
    """One AWS account in one region during one run. All questions go through the run's one transcript."""

    def __init__(
        self,
        account: str,
        transcript: Transcript,
        now: datetime,
        put: Put = _no_network,
        region: str = HOME_REGION,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(now, transcript)
        self.account = account
        self.region = region
        self._put = put
        self._sleep = sleep

    def within(self, part: str) -> Account:
        """The same account and transcript, asked in another region."""
        return Account(self.account, self.transcript, self.now, self._put, part, self._sleep)

    @overload
    def call(
        self, service: str, operation: str, *, absent: tuple[str, ...], region: str = "", **params: Any
    ) -> dict[str, Any] | None: ...
    @overload
    def call(self, service: str, operation: str, *, region: str = "", **params: Any) -> dict[str, Any]: ...
    def call(
        self, service: str, operation: str, *, absent: tuple[str, ...] = (), region: str = "", **params: Any
    ) -> dict[str, Any] | None:
        """One answer that has one page. An error code in ``absent`` is the answer None.

        Raises CannotObserve for every other error, and Unreadable when the answer says that there is more of it.
        """
        kept = self._ask(service, operation, region, params)
        if kept.exchange.error in absent and kept.exchange.error:
            return None
        kept.raise_failure()
        if kept.token or any(_path(kept.body, name) for name in continuations(service, operation)):
            raise Unreadable(f"{service}.{operation} has more pages; the check must use each()")
        found: dict[str, Any] = kept.body
        return found

    def each(
        self,
        service: str,
        operation: str,
        path: str,
        *,
        absent: tuple[str, ...] = (),
        quantity: str = "",
        region: str = "",
        **params: Any,
    ) -> list[Any]:
        """All items at the dotted ``path`` of every page. An error code in ``absent`` is the empty list.

        ``quantity`` is the path of the count that such answers carry as leave out a list of none (CloudFront).

        Raises CannotObserve when any page got no answer, says there is more without saying where, or lacks ``path``.
        """
        table = paging(service, operation)
        limit = (table or {}).get("limit_key")
        if service == "ec2" and limit and not UNPAGED_EC2 & params.keys():
            params.setdefault(limit, PAGE_SIZE_EC2)
        items: list[Any] = []
        token: Any = None
        for page in range(1, PAGES_MAX + 1):
            kept = self._ask(service, operation, region, params, page, token)
            if kept.exchange.error in absent and kept.exchange.error:
                return items
            kept.raise_failure()
            found = _path(kept.body, path)
            if found is None and quantity and _path(kept.body, quantity) == 0:
                found = []
            if not isinstance(found, list):
                raise Unreadable(f"{service}.{operation} page {page} has no list {path}")
            items += found
            if not self._more(service, operation, kept, table):
                return items
            if kept.token == token and kept.token != REPLAYED_TOKEN:
                kept = self._repeated(service, operation, region, params, page + 1)
                kept.raise_failure()
            token = kept.token
        raise Unreadable(f"{service}.{operation} has more than {PAGES_MAX} pages")

    def _more(self, service: str, operation: str, kept: Kept, table: Mapping[str, Any] | None) -> bool:
        if table is None:
            if any(_path(kept.body, name) for name in continuations(service, operation)):
                raise Unreadable(f"{service}.{operation} has more pages and no known way to read them")
            return False
        if "more_results" not in table:
            return kept.token is not None
        more = _path(kept.body, table["more_results"])
        if not isinstance(more, bool):
            raise Unreadable(f"{service}.{operation} does not say whether there is more ({table['more_results']})")
        if more and kept.token is None:
            raise Unreadable(f"{service}.{operation} says there is more and does not say where")
        if not more and kept.token is not None:
            raise Unreadable(f"{service}.{operation} says that there is no more and where it goes on")
        return more

    def credential_report(self) -> list[dict[str, str]]:
        """IAM's own list of users, passwords, keys and MFA, one row a user, the root user included.

        Asks for it to be made, waits for it with a limit, then reads it. AWS makes it at most every four hours;
        the exchange keeps the time of its making as ``as_of``.
        """
        for poll in range(1, REPORT_POLLS_MAX + 1):
            kept = self._ask("iam", "generate_credential_report", "", {}, poll, read=False)
            kept.raise_failure()
            if kept.body.get("State") == "COMPLETE":
                answer = self.call("iam", "get_credential_report")
                rows = list(csv.DictReader(str(answer.get("Content", "")).splitlines()))
                if not rows or any(None in row or None in row.values() for row in rows):
                    raise Unreadable("iam.get_credential_report is not a table with one row a user")
                return rows
            if not self.transcript.replaying:
                self._sleep(REPORT_POLL_SECONDS)
        raise Unavailable("iam:GenerateCredentialReport at iam.amazonaws.com: not complete in time")

    def identity(self) -> str:
        """The ARN that asks. Raises Denied when the credentials belong to another account than the one named."""
        answer = self.call("sts", "get_caller_identity")
        if answer.get("Account") != self.account:
            raise Denied(f"the credentials are for account {answer.get('Account')}, not {self.account}")
        return str(answer["Arn"])

    def parts(self) -> list[str]:
        """The regions that are enabled for the account, by name."""
        found = self.each("ec2", "describe_regions", "Regions", AllRegions=False)
        names = sorted(str(region["RegionName"]) for region in found if region.get("RegionName"))
        if not names or len(names) != len(found):
            raise Unreadable("ec2.describe_regions does not name its regions")
        return names

    def arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        """The full name of a resource of this account; ``region`` "" for services that are account-wide."""
        where = self.region if region is None else region
        return f"arn:{partition_of(self.region)}:{service}:{where}:{self.account}:{resource}"

    def _question(self, service: str, operation: str, region: str, params: Mapping[str, Any], page: int) -> Question:
        host = endpoint(service, region or self.region)
        return Question("aws", host, f"{service}:{wire_name(service, operation)}", dict(params), page)

    def _ask(
        self,
        service: str,
        operation: str,
        region: str,
        params: Mapping[str, Any],
        page: int = 1,
        token: Any = None,
        *,
        read: bool = True,
    ) -> Kept:
        where = region or self.region
        question = self._question(service, operation, region, params, page)
        sent = {**params, **(token if isinstance(token, Mapping) else {})}
        return self.transcript.ask(question, lambda _: self._put(service, operation, where, sent), read=read)

    def _repeated(self, service: str, operation: str, region: str, params: Mapping[str, Any], page: int) -> Kept:
        """Writes down that a listing gave the same token twice, so that reperformance ends as this run does."""
        error = {"Code": "RepeatedToken", "Message": "the listing gave the same continuation token twice"}
        answer = Answer({"Error": error}, self.now, 0, 0, error["Code"], Unreadable.code)
        return self.transcript.ask(self._question(service, operation, region, params, page), lambda _: answer)
