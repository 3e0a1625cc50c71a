"""The AWS edge against bytes as AWS sends them: what becomes an answer, what does not, and what is never sent."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.credentials import Credentials
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

import checks
from collector import registry
from collector.clouds import aws
from collector.clouds.aws import Account, Clients, Edge
from collector.clouds.aws_models import READS, READS_BESIDES, lean_session
from collector.clouds.pace import Pace
from collector.clouds.transcript import Transcript, reading
from collector.errors import Denied, NeverAsked, Throttled, Unavailable, Unreadable

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SHIPPED = [item for item in registry.load([checks]) if item.check.cloud == "aws"]
ACCOUNT = "123456789012"


class Wire:
    """Stands where the socket is: answers what botocore is about to send, and counts it."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.answers: Callable[[Any, int], tuple[int, bytes] | Exception] = lambda request, n: (200, b"")
        self.lock = threading.Lock()

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        with self.lock:
            self.sent.append(request)
            number = len(self.sent)
        found = self.answers(request, number)
        if isinstance(found, Exception):
            raise found
        status, body = found
        headers = {"date": "Mon, 05 Jan 2026 12:00:00 GMT", "x-amzn-requestid": f"request-{number}"}
        return AWSResponse(request.url, status, headers, Raw(body))


class Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body

    def read(self, *_: Any, **__: Any) -> bytes:
        return self._body


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    found = Wire()
    make = Clients.client

    def client(self: Clients, service: str, region: str) -> Any:
        made = make(self, service, region)
        if not hasattr(made, "wired"):
            made.wired = True
            made.meta.events.register_last("before-send", found)
        return made

    monkeypatch.setattr(Clients, "client", client)
    return found


def edge(**more: Any) -> Edge:
    settings: dict[str, Any] = {"sleep": lambda _: None, "chance": random.Random(1), **more}
    return Edge(Clients(), ACCOUNT, Credentials("AKIDEXAMPLE", "secret"), lambda: NOW, **settings)


def account(transcript: Transcript | None = None, put: Any = None, **more: Any) -> Account:
    return Account(ACCOUNT, transcript or Transcript(), NOW, put or edge(**more).put, sleep=lambda _: None)


def bodies_of(transcript: Transcript) -> list[bytes]:
    return [transcript.body(exchange.body) for exchange in transcript.log if exchange.body]


def volumes(*ids: str, token: str = "") -> bytes:
    items = "".join(f"<item><volumeId>{id}</volumeId></item>" for id in ids)
    more = f"<nextToken>{token}</nextToken>" if token else ""
    return f"<DescribeVolumesResponse><volumeSet>{items}</volumeSet>{more}</DescribeVolumesResponse>".encode()


def ec2_error(code: str) -> bytes:
    return (
        f"<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors>"
        f"<RequestID>r</RequestID></Response>"
    ).encode()


@pytest.mark.parametrize(
    ("status", "body", "family"),
    [
        (403, ec2_error("UnauthorizedOperation"), Denied),
        (400, ec2_error("AuthFailure"), Denied),
        (503, ec2_error("RequestLimitExceeded"), Throttled),
        (500, ec2_error("InternalError"), Unavailable),
        (503, b"", Unavailable),
        (502, b"<html><body>Bad Gateway</body></html>", Unavailable),
        (200, b"<html>hello", Unreadable),
        (200, volumes("vol-1")[:40], Unreadable),
        (400, ec2_error("InvalidParameterValue"), Unreadable),
    ],
)
def test_what_is_no_answer_raises_its_family(wire: Wire, status: int, body: bytes, family: type[Exception]) -> None:
    wire.answers = lambda request, n: (status, body)
    with pytest.raises(family):
        account().each("ec2", "describe_volumes", "Volumes")


@pytest.mark.parametrize(
    "error",
    [
        ReadTimeoutError(endpoint_url="https://ec2"),
        ConnectTimeoutError(endpoint_url="https://ec2"),
        EndpointConnectionError(endpoint_url="https://ec2"),
        ConnectionResetError("reset"),
    ],
)
def test_a_broken_connection_is_unavailable_and_kept(wire: Wire, error: Exception) -> None:
    wire.answers = lambda request, n: error
    transcript = Transcript()
    with pytest.raises(Unavailable):
        account(transcript).each("ec2", "describe_volumes", "Volumes")
    (exchange,) = transcript.log
    assert exchange.status == 0
    assert exchange.failure == "unavailable"
    assert exchange.attempts == aws.ATTEMPTS_MAX == len(wire.sent)


def test_json_and_rest_errors_have_their_family_too(wire: Wire) -> None:
    wire.answers = lambda request, n: (400, b'{"__type":"AccessDeniedException","message":"no"}')
    with pytest.raises(Denied):
        account().call("kms", "get_key_rotation_status", KeyId="k")
    wire.answers = lambda request, n: (403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
    with pytest.raises(Denied):
        account().call("s3", "get_bucket_policy", Bucket="b", absent=("NoSuchBucketPolicy",))


@pytest.mark.parametrize("body", [b'{"KeyRotationEnabled":tr', b"<html><body>maintenance</body></html>", b"null,"])
def test_broken_json_of_a_success_is_no_answer(wire: Wire, body: bytes) -> None:
    wire.answers = lambda request, n: (200, body)
    with pytest.raises(Unreadable):
        account().call("kms", "get_key_rotation_status", KeyId="k")


def test_a_named_code_is_an_answer(wire: Wire) -> None:
    wire.answers = lambda request, n: (404, b"<Error><Code>NoSuchBucketPolicy</Code></Error>")
    asker = account()
    assert asker.call("s3", "get_bucket_policy", Bucket="b", absent=("NoSuchBucketPolicy",)) is None
    with pytest.raises(Unreadable):
        asker.call("s3", "get_bucket_policy", Bucket="b")
    assert len(wire.sent) == 1  # the second asker shares the first one's answer and judges it by its own list


def test_all_pages_are_read_each_an_exchange(wire: Wire) -> None:
    wire.answers = lambda request, n: (200, [volumes("a", token="t1"), volumes("b", token="t2"), volumes("c")][n - 1])
    transcript = Transcript()
    with reading() as read:
        found = account(transcript).each("ec2", "describe_volumes", "Volumes")
    assert [volume["VolumeId"] for volume in found] == ["a", "b", "c"]
    assert [(e.page, e.last) for e in transcript.log] == [(1, False), (2, False), (3, True)]
    assert len(read) == 3
    assert all(b"t1" not in body for body in bodies_of(transcript))


def test_a_token_that_comes_back_is_no_answer_and_reperforms_so(wire: Wire) -> None:
    wire.answers = lambda request, n: (200, volumes("a", token="again"))
    transcript = Transcript()
    with pytest.raises(Unreadable, match="RepeatedToken"):
        account(transcript).each("ec2", "describe_volumes", "Volumes")
    kept = Transcript.kept(transcript.call_log(), transcript.body)
    with pytest.raises(Unreadable, match="RepeatedToken"):
        Account(ACCOUNT, kept, NOW).each("ec2", "describe_volumes", "Volumes")


def test_more_without_saying_where_is_no_answer(wire: Wire) -> None:
    body = (
        b"<ListUsersResponse><ListUsersResult><Users/><IsTruncated>true</IsTruncated></ListUsersResult>"
        b"</ListUsersResponse>"
    )
    wire.answers = lambda request, n: (200, body)
    with pytest.raises(Unreadable, match="does not say where"):
        account().each("iam", "list_users", "Users")
    with pytest.raises(Unreadable, match="more pages"):
        account().call("iam", "list_users")


def test_a_listing_without_its_list_is_no_answer(wire: Wire) -> None:
    wire.answers = lambda request, n: (200, b"{}")
    with pytest.raises(Unreadable, match="no list"):
        account().each("guardduty", "list_detectors", "DetectorIds")


def test_many_askers_share_one_call(wire: Wire) -> None:
    gate = threading.Event()

    def slowly(request: Any, n: int) -> tuple[int, bytes]:
        gate.wait(5)
        return 200, volumes("a")

    wire.answers = slowly
    asker = account()
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(asker.each, "ec2", "describe_volumes", "Volumes") for _ in range(16)]
        gate.set()
        assert all(len(future.result()) == 1 for future in futures)
    assert len(wire.sent) == 1


def test_a_throttled_call_is_asked_again_and_the_pace_is_kept(wire: Wire) -> None:
    wire.answers = lambda request, n: (503, ec2_error("RequestLimitExceeded")) if n < 4 else (200, volumes("a"))
    transcript = Transcript()
    account(transcript).each("ec2", "describe_volumes", "Volumes")
    (exchange,) = transcript.log
    assert exchange.attempts == 4
    assert exchange.request_id == "request-4"


def test_pace_halves_when_throttled_and_grows_when_answered() -> None:
    pace, pauses = Pace(), []
    pace.wait(pauses.append)
    assert pauses == []  # unlimited until the provider says otherwise
    pace.throttled()
    pace.wait(pauses.append)
    pace.wait(pauses.append)
    assert pauses[1] > pauses[0]
    before = pace._per_second
    pace.answered()
    assert before < pace._per_second
    for _ in range(50):
        pace.throttled()
    assert pace._per_second == Pace.LEAST_PER_SECOND


@pytest.mark.parametrize("service", ["ec2", "iam", "s3", "kms", "rds", "lambda"])
def test_a_client_has_no_way_to_change_anything(service: str) -> None:
    client = Clients().client(service, "us-east-1")
    operations = set(client.meta.service_model.operation_names)
    assert operations
    assert {n for n in operations if not n.startswith(READS)} <= READS_BESIDES
    assert not any(
        hasattr(client, name) for name in ("delete_bucket", "create_user", "terminate_instances", "put_key_policy")
    )


@pytest.mark.parametrize("service", sorted({p.partition(":")[0] for i in SHIPPED for p in i.check.permissions}))
def test_every_error_of_every_service_can_be_read(service: str) -> None:
    """botocore amends its models after loading them; what is left out must not leave halves of shapes behind."""
    names = {"elasticloadbalancing": ("elb", "elbv2"), "elasticfilesystem": ("efs",)}.get(service, (service,))
    for name in names:
        model = lean_session().get_service_model(name)
        assert all(model.shape_for(shape).type_name for shape in model.shape_names)
        assert isinstance(model.error_shapes, list)


def test_nothing_leaves_without_an_account() -> None:
    clients = Clients()
    client = clients.client("ec2", "us-east-1")
    with pytest.raises(NoCredentialsError):
        client.describe_volumes()


def test_interleaved_accounts_never_sign_for_each_other(wire: Wire) -> None:
    seen: dict[str, set[str]] = {}

    def note(request: Any, n: int) -> tuple[int, bytes]:
        header = request.headers["Authorization"]
        text = header.decode() if isinstance(header, bytes) else header
        seen.setdefault(request.url, set()).add(text.split("Credential=")[1].split("/")[0])
        return 200, b'{"KeyRotationEnabled":true}'

    wire.answers = note
    clients = Clients()
    edges = {n: Edge(clients, f"{n:012d}", Credentials(f"AKIA{n:012d}", "s"), lambda: NOW) for n in range(20)}
    keys: list[tuple[int, str]] = []

    def work(i: int) -> None:
        n = i % 20
        answer = edges[n].put("kms", "get_key_rotation_status", "us-east-1", {"KeyId": str(n)})
        keys.append((n, answer.request_id))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, range(400)))
    signers = [
        (
            r.headers["Authorization"].decode()
            if isinstance(r.headers["Authorization"], bytes)
            else r.headers["Authorization"]
        )
        for r in wire.sent
    ]
    bodies = [r.body.decode() if isinstance(r.body, bytes) else r.body for r in wire.sent]
    assert len(wire.sent) == 400
    for signer, body in zip(signers, bodies, strict=True):
        number = int(body.split('"KeyId"')[1].split('"')[1])
        assert f"Credential=AKIA{number:012d}/" in signer


def test_a_signature_of_another_account_is_not_sent() -> None:
    request = type("Request", (), {"headers": {"Authorization": "AWS4-HMAC-SHA256 Credential=OTHER/2026"}})()
    token = aws._credentials.set(Credentials("MINE", "s"))
    try:
        with pytest.raises(Exception, match="another account's signature"):
            aws._guard_signature(request)
    finally:
        aws._credentials.reset(token)


def test_the_run_ends_at_its_deadline(wire: Wire) -> None:
    asker = account(deadline=0.0)
    with pytest.raises(Unavailable, match="RunDeadline"):
        asker.each("ec2", "describe_volumes", "Volumes")
    assert wire.sent == []


def test_a_kept_transcript_answers_what_was_asked_and_refuses_the_rest(wire: Wire) -> None:
    wire.answers = lambda request, n: (200, volumes("a"))
    transcript = Transcript()
    account(transcript).each("ec2", "describe_volumes", "Volumes")
    kept = Transcript.kept(transcript.call_log(), transcript.body)
    again = Account(ACCOUNT, kept, NOW)
    assert again.each("ec2", "describe_volumes", "Volumes") == [{"VolumeId": "a"}]
    with pytest.raises(NeverAsked):
        again.each("ec2", "describe_vpcs", "Vpcs")
    assert kept.call_log() == transcript.call_log()


def test_what_was_read_is_known_per_context(wire: Wire) -> None:
    wire.answers = lambda request, n: (200, b'{"KeyRotationEnabled":true}')
    asker = account()

    def ask(key: str) -> list[str]:
        with reading() as read:
            asker.call("kms", "get_key_rotation_status", KeyId=key)
            asker.call("kms", "get_key_rotation_status", KeyId=key)
        return read

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, [str(n % 4) for n in range(40)]))
    assert all(len(read) == 1 for read in found)
    assert len({read[0] for read in found}) == 4


def test_secrets_are_gone_before_the_digest(wire: Wire) -> None:
    wire.answers = lambda request, n: (
        200,
        b'{"Functions":[{"FunctionName":"f","Environment":{"Variables":{"DB":"PLANTED"}}}]}',
    )
    transcript = Transcript()
    found = account(transcript).each("lambda", "list_functions", "Functions")
    assert found[0]["Environment"]["Variables"] == {"DB": "[redacted]"}
    assert all(b"PLANTED" not in body for body in bodies_of(transcript))


def test_times_stay_as_they_came_and_ages_are_whole(wire: Wire) -> None:
    asker = account()
    assert asker.age_days("2026-01-04T11:59:59Z") == 1
    assert asker.age_days("2026-01-06T12:00:00+00:00") == -1
    assert asker.age_hours("2026-01-05T10:30:00Z") == 1
    for nonsense in ("", "yesterday", None):
        with pytest.raises(Unreadable):
            asker.age_days(nonsense)


def test_credentials_of_another_account_are_refused(wire: Wire) -> None:
    body = (
        b"<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::999999999999:user/x</Arn>"
        b"<Account>999999999999</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    wire.answers = lambda request, n: (200, body)
    with pytest.raises(Denied, match="999999999999"):
        account().identity()
