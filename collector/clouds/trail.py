"""What AWS itself remembers of who asked what: CloudTrail's event history, or the log files of a trail.

Only reads, with the credentials of whoever corroborates. What it means for evidence is in ``collector/corroborate.py``.
Sources: AWS CloudTrail API reference (LookupEvents), CloudTrail user guide (event history, record contents, log files).
"""

from __future__ import annotations

import gzip
import io
import time
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from collector import canonical, errors
from collector.clouds.aws import Clients, Edge, credentials_for
from collector.clouds.trail_facts import user_of
from collector.clouds.transcript import Answer

RETENTION = timedelta(days=90)  # of the event history
SETTLED = timedelta(minutes=15)  # events come about five minutes after the call, "not guaranteed"; older ones are there
LOOKUPS_PER_SECOND = 2  # per account and region; the next one is throttled
PAGE_SIZE = 50  # the most that there is
PAGES_MAX = 100_000  # of one lookup: five million events
FILE_BYTES_MAX = 64 * 1024 * 1024  # of one log file, as it lies there
RECORDS_BYTES_MAX = 512 * 1024 * 1024  # of one log file, unpacked
LATE_FILES = timedelta(hours=6)  # a log file lies under the day on which it was delivered
SESSION = "evidence-corroboration"

_FAMILY: dict[str, type[errors.CannotObserve]] = {
    kind.code: kind
    for kind in (errors.Denied, errors.Throttled, errors.Unavailable, errors.Disabled, errors.Unreadable)
}


@dataclass(frozen=True, slots=True)
class Event:
    """One call as AWS logged it. ``at`` is when it was completed, in whole seconds; ``error`` is "" for an answer."""

    id: str
    at: datetime
    region: str
    source: str  # "ec2.amazonaws.com"
    name: str  # "DescribeVolumes"
    request_id: str
    principal: str  # the ARN that asked
    address: str  # the IP address it came from
    error: str
    params: Mapping[str, Any]

    @property
    def user(self) -> str:
        return user_of(self.principal)


class Source(Protocol):
    """Where events are looked up. Every method raises CannotObserve when nobody answers."""

    @property
    def name(self) -> str:
        """What it is, for a report."""
        ...

    @property
    def keeps(self) -> timedelta | None:
        """How far back it reaches; None when that is not known."""
        ...

    def by(self, region: str, users: Set[str], since: datetime, until: datetime, ids: Set[str]) -> Iterator[Event]:
        """The events of ``[since, until]`` by these user or session names; where it costs nothing, those with these
        request ids too, whoever made them."""
        ...

    def near(self, region: str, source: str, since: datetime, until: datetime) -> Iterator[Event]:
        """All events of a service in a short stretch, whoever made them."""
        ...


def event_of(record: Mapping[str, Any]) -> Event:
    """An event out of its record. Raises Unreadable for a record that does not say what was asked, and when."""
    identity = record.get("userIdentity") or {}
    try:
        return Event(
            id=str(record.get("eventID") or ""),
            at=canonical.moment(record["eventTime"]),
            region=str(record.get("awsRegion") or ""),
            source=record["eventSource"],
            name=record["eventName"],
            request_id=str(record.get("requestID") or ""),
            principal=str(identity.get("arn") or identity.get("invokedBy") or identity.get("type") or ""),
            address=str(record.get("sourceIPAddress") or ""),
            error=str(record.get("errorCode") or ""),
            params=record.get("requestParameters") or {},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise errors.Unreadable(f"CloudTrail gave an event that does not say what happened: {error!r}") from error


class _Reader:
    """Questions to one account with somebody's credentials, each answer a dict or an error of ours."""

    def __init__(
        self, account: str, profile: str, clock: Callable[[], datetime], sleep: Callable[[float], None]
    ) -> None:
        credentials = credentials_for(profile=profile, session_name=SESSION)
        self._edge = Edge(Clients(), account, credentials, clock, sleep)

    def put(self, service: str, operation: str, region: str, **params: Any) -> Answer:
        answer = self._edge.put(service, operation, region, params)
        if answer.failure:
            message = (answer.body or {}).get("Error", {}).get("Message", "")
            raise _FAMILY[answer.failure](f"{service}:{operation} in {region}: {answer.error}: {message}")
        return answer


class History:
    """The event history of an account: management events of 90 days, kept by AWS whether there is a trail or not.

    Needs ``cloudtrail:LookupEvents``. Asks no faster than is allowed, one page after the other.
    """

    name = "event history"
    keeps = RETENTION

    def __init__(
        self,
        account: str,
        clock: Callable[[], datetime],
        *,
        profile: str = "",
        home: str = "us-east-1",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._reader = _Reader(account, profile, clock, sleep)
        self._account = account
        self._home = home
        self._sleep = sleep
        self._free: dict[str, float] = {}  # per region: when the next lookup may leave

    def check(self) -> str:
        """Who looks up. Raises Denied when the credentials belong to another account."""
        body = self._reader.put("sts", "get_caller_identity", self._home).body
        if body.get("Account") != self._account:
            raise errors.Denied(
                f"the credentials are for account {body.get('Account')}, not {self._account}: "
                "choose others with --profile or AWS_PROFILE"
            )
        return str(body["Arn"])

    def by(self, region: str, users: Set[str], since: datetime, until: datetime, ids: Set[str]) -> Iterator[Event]:
        for user in sorted(users):
            yield from self._look_up(region, "Username", user, since, until)

    def near(self, region: str, source: str, since: datetime, until: datetime) -> Iterator[Event]:
        return self._look_up(region, "EventSource", source, since, until)

    def _look_up(self, region: str, key: str, value: str, since: datetime, until: datetime) -> Iterator[Event]:
        params: dict[str, Any] = {
            "LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}],
            "StartTime": since.replace(microsecond=0),
            "EndTime": until.replace(microsecond=0) + timedelta(seconds=1),
            "MaxResults": PAGE_SIZE,
        }
        token: Any = None
        for _ in range(PAGES_MAX):
            self._wait(region)
            try:
                answer = self._reader.put("cloudtrail", "lookup_events", region, **params, **(token or {}))
            finally:
                self._free[region] = time.monotonic() + 1 / LOOKUPS_PER_SECOND
            for item in answer.body.get("Events", []):
                yield _event_in(item)
            if not answer.token:
                return
            if answer.token == token:
                raise errors.Unreadable(f"cloudtrail:LookupEvents in {region} gave the same page token twice")
            token = answer.token
        raise errors.Unreadable(f"cloudtrail:LookupEvents in {region} has more than {PAGES_MAX} pages for one day")

    def _wait(self, region: str) -> None:
        pause = self._free.get(region, 0.0) - time.monotonic()
        if pause > 0:
            self._sleep(pause)


def _event_in(item: Mapping[str, Any]) -> Event:
    try:
        record = canonical.parse(item["CloudTrailEvent"])
    except (KeyError, TypeError, ValueError) as error:
        raise errors.Unreadable(f"cloudtrail:LookupEvents gave event {item.get('EventId')} without its text") from error
    return event_of(record)


class Files:
    """The log files of a trail in S3: as far back as the bucket keeps them, of all regions that the trail covers.

    Needs ``s3:ListBucket`` and ``s3:GetObject``, and ``kms:Decrypt`` where the files are encrypted with a key of yours.
    ``prefix`` is what stands before ``ACCOUNT/CloudTrail/``: "AWSLogs", or "AWSLogs/o-abc123" for an organization's.
    """

    keeps = None

    def __init__(
        self,
        bucket: str,
        account: str,
        clock: Callable[[], datetime],
        *,
        prefix: str = "AWSLogs",
        profile: str = "",
        home: str = "us-east-1",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._reader = _Reader(account, profile, clock, sleep)
        self._bucket = bucket
        self._base = f"{prefix.strip('/')}/{account}/CloudTrail"
        self._home = home
        self.name = f"log files in s3://{bucket}/{self._base}"

    def by(self, region: str, users: Set[str], since: datetime, until: datetime, ids: Set[str]) -> Iterator[Event]:
        for event in self._events(region, since, until):
            if event.request_id in ids or event.user in users:
                yield event

    def near(self, region: str, source: str, since: datetime, until: datetime) -> Iterator[Event]:
        return iter(())  # ``by`` has already looked for the request ids in all events

    def _events(self, region: str, since: datetime, until: datetime) -> Iterator[Event]:
        day = since.astimezone(UTC).date()
        last = (until + LATE_FILES).astimezone(UTC).date()
        while day <= last:
            for key in self._keys(f"{self._base}/{region}/{day:%Y/%m/%d}/"):
                for record in self._records(region, key):
                    event = event_of(record)
                    if since <= event.at <= until:
                        yield event
            day += timedelta(days=1)

    def _keys(self, prefix: str) -> Iterator[str]:
        token: Any = None
        for _ in range(PAGES_MAX):
            answer = self._reader.put(
                "s3", "list_objects_v2", self._home, Bucket=self._bucket, Prefix=prefix, **(token or {})
            )
            yield from (str(item["Key"]) for item in answer.body.get("Contents", []))
            token = answer.token
            if not token:
                return
        raise errors.Unreadable(f"s3://{self._bucket}/{prefix} holds more than {PAGES_MAX} pages of names")

    def _records(self, region: str, key: str) -> list[Mapping[str, Any]]:
        where = f"s3://{self._bucket}/{key}"
        if not key.endswith(".json.gz"):
            return []
        stream = self._reader.put("s3", "get_object", self._home, Bucket=self._bucket, Key=key).body["Body"]
        try:
            packed = stream.read(FILE_BYTES_MAX + 1)
        except Exception as error:  # whatever the SDK's stream raises when the line drops
            raise errors.Unavailable(f"{where} could not be read to its end: {error}") from error
        if len(packed) > FILE_BYTES_MAX:
            raise errors.Unreadable(f"{where} is larger than any log file of CloudTrail ({FILE_BYTES_MAX} bytes)")
        try:
            with gzip.open(io.BytesIO(packed)) as file:
                text = file.read(RECORDS_BYTES_MAX + 1)
            if len(text) > RECORDS_BYTES_MAX:
                raise ValueError(f"unpacks to more than {RECORDS_BYTES_MAX} bytes")
            records: list[Mapping[str, Any]] = canonical.parse(text)["Records"]
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise errors.Unreadable(f"{where} is no log file of CloudTrail: {error}") from error
        return records
