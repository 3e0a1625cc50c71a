"""One simulated AWS account on the wire: says which operation a request is, answers it, fails it on demand, logs it.

moto answers first; ``answers.py`` amends or replaces what moto gets wrong, validated against botocore's own models.
What the account holds is in ``estate.py``. TLS and sockets are in ``proxy.py``.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import io
import json
import re
import threading
import time
import urllib.parse
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, DataNotFoundError
from botocore.handlers import json_decode_policies
from cryptography.hazmat.primitives.asymmetric import rsa
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request as MotoRequest
from moto.core.request import determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from collector.demo.change_feed import long_poll
from collector.demo.proxy import Request, Reset, Response

ACCOUNT = "123456789012"
HOSTS = r"(?:[a-z0-9-]+\.)*amazonaws\.com"
COLLECTOR_KEY = "AKIAIOSFODNN7EXAMPLE"
ADMIN_KEY = "AKIAI44QH8DHBEXAMPLE"  # its calls are neither logged nor failed: they are the story's, not the collector's
SECRET = "simulated-not-a-secret"
CALLS_MAX = 500_000  # older ones are dropped from the log
CACHED_MAX = 50_000
FAULT_KINDS = ("throttle", "expired", "denied", "404", "409", "412", "500", "slow", "reset", "truncate", "html")
READING = re.compile(r"Get|List|Describe|BatchGet|Head|Lookup|Search|Simulate")
NEUTRAL = re.compile(
    r"GenerateCredentialReport|Assume|Decode|LookupEvents|(Receive|Send|Delete)Message"
)  # neither cached nor a change
SIGNING_NAMES = {
    "access-analyzer": "accessanalyzer",
    "elasticfilesystem": "efs",
    "es": "opensearch",
    "monitoring": "cloudwatch",
    "sso": "sso-admin",
    "tagging": "resourcegroupstaggingapi",
}
SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
REQUEST_ID = re.compile(rb"(<[Rr]equestI[dD]>)[^<]*(</[Rr]equestI[dD]>)")
PLACEHOLDER = b"00000000-feed-0000-0000-000000000000"
HIDDEN_ID = rb"\g<1>" + PLACEHOLDER + rb"\g<2>"
STAMPING_MODULES = ("moto.core.utils", "moto.s3.models", "moto.elb.models")  # they import the module ``datetime``
VOLATILE_HEADERS = frozenset(("x-amz-date", "x-amz-content-sha256", "x-amz-security-token"))


@dataclass(frozen=True)
class Call:
    """What a request asks. ``params`` has botocore's names; ``protocol`` says how the answer is written."""

    service: str
    operation: str
    region: str
    key: str
    protocol: str
    params: Mapping[str, Any]
    digest: str  # the params as canonical JSON

    @property
    def name(self) -> str:
        return f"{self.service}.{self.operation}"

    @property
    def reads(self) -> bool:
        return READING.match(self.operation) is not None


@dataclass
class Fault:
    """What goes wrong with which calls; the expressions match whole names, ``params`` anywhere in their JSON."""

    kind: str
    service: str = ".*"
    operation: str = ".*"
    region: str = ".*"
    params: str = ""
    times: int | None = None  # None: until it is cleared
    seconds: float = 3.0
    label: str = ""

    def hits(self, call: Call) -> bool:
        return bool(
            self.times != 0
            and re.fullmatch(self.service, call.service)
            and (
                re.fullmatch(self.operation, call.operation) or re.fullmatch(self.operation, xform_name(call.operation))
            )
            and re.fullmatch(self.region, call.region)
            and re.search(self.params, call.digest)
        )


class Refusal(Exception):
    """Raised by an answer: AWS's own error."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class Unserved(Exception):
    """Neither moto nor we know the operation."""


@dataclass
class World:
    """What the answers look at: the clock, the regions, our own state beside moto's, and moto itself."""

    regions: tuple[str, ...]
    base: datetime
    moto: Moto
    account: str = ACCOUNT
    page_size: int = 0  # at most so many items a page; 0: as many as the request says
    state: dict[str, Any] = field(default_factory=dict)
    clock_read: bool = False  # whether an answer has looked at the clock since somebody made this False
    _set: float = field(default_factory=time.monotonic)

    @property
    def now(self) -> datetime:
        """Simulated time; runs on in real time from where it was set."""
        self.clock_read = True
        return self.base + timedelta(seconds=time.monotonic() - self._set)

    def set_now(self, moment: datetime) -> None:
        self.base, self._set = moment, time.monotonic()

    def of(self, key: str, region: str) -> Any:
        """Our own state of a region; an empty list where there is none."""
        return self.state.get(f"{key}/{region}", [])


# An output dict as botocore would give it, or None to leave the answer to moto; raises Refusal.
Answer = Callable[[World, Call], Any]


# --- moto ---


class _Dispatcher(DomainDispatcherApplication):
    """moto looks through all its services for each request; a third of the time of an answer went into that."""

    # Services whose application follows from the name in the signature alone.
    PLAIN = re.compile(
        "acm|cloudfront|cloudtrail|config|ec2|ecr|eks|elasticloadbalancing|guardduty|iam|kms|lambda|logs|rds|sts"
    )

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self._found: dict[str, Any] = {}

    def get_application(self, environ: dict[str, Any]) -> Any:
        scope = SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        name = scope[3] if scope else ""
        if not self.PLAIN.fullmatch(name) and (name != "s3" or environ["PATH_INFO"].startswith("/v20180820/")):
            return super().get_application(environ)
        if name not in self._found:
            self._found[name] = super().get_application(environ)
        return self._found[name]


class Moto:
    """moto's server application, called in this process; as bytes or as an unmodified boto client."""

    def __init__(self, seed: int) -> None:
        mock_random.seed(seed)
        self._application = _Dispatcher()
        self._session = botocore.session.Session()
        self._clients: dict[tuple[str, str], Any] = {}

    def answer(self, request: Request) -> Response:
        found: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
            found[:] = [int(status.split(" ", 1)[0]), dict(headers)]
            return lambda data: None

        body = b"".join(self._application(environment(request), start))
        return Response(found[0], found[1], body)

    def client(self, service: str, region: str) -> Any:
        found = self._clients.get((service, region))
        if found is None:
            found = self._session.create_client(
                service,
                region,
                aws_access_key_id=ADMIN_KEY,
                aws_secret_access_key=SECRET,
                config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
            )
            found.meta.events.register_first("before-send", self._send)
            found.meta.events.unregister("after-call.iam", json_decode_policies)  # documents stay as they were sent
            self._clients[service, region] = found
        return found

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        parts = urllib.parse.urlsplit(request.url)
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else body.read()
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        found = self.answer(Request(request.method, parts.netloc, target or "/", headers, body))
        return AWSResponse(request.url, found.status, dict(found.headers), _Raw(found.body))

    def ask(self, service: str, operation: str, region: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """moto's answer to an operation, all pages of it in one. Raises Refusal for AWS's own errors."""
        client = self.client(service, region)
        method = xform_name(operation)
        table = paging(service, operation)
        try:
            if table is None:
                found = getattr(client, method)(**params)
            else:
                own = {*names(table["input_token"]), table.get("limit_key")}
                rest = {key: value for key, value in params.items() if key not in own}
                found = client.get_paginator(method).paginate(**rest).build_full_result()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "500", "501"):
                raise Unserved from error
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            raise Refusal(error.response["Error"]["Code"], error.response["Error"]["Message"], status) from error
        found.pop("ResponseMetadata", None)
        result: dict[str, Any] = found
        return result


class _Raw(io.BytesIO):
    """A body as botocore reads it."""

    def stream(self, **_: Any) -> Any:
        yield self.read()


class _Clock(type):
    """Any time is an instance of the simulated class, also one that the real class made."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


def set_moto_clock(now: Callable[[], datetime]) -> None:
    """moto stamps what it makes through ``moto.core.utils.utcnow``, a few services by ``datetime`` itself."""

    class Simulated(datetime, metaclass=_Clock):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return now().astimezone(tz) if tz else now().astimezone(UTC).replace(tzinfo=None)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now()

    shim = SimpleNamespace(**{**vars(dt), "datetime": Simulated})
    for name in STAMPING_MODULES:
        import_module(name).datetime = shim  # type: ignore[attr-defined]


def share_private_keys() -> None:
    """moto makes an RSA key for each KMS key and certificate; nobody uses them, so one is made and shared."""
    rsa.generate_private_key = cache(rsa.generate_private_key)


def environment(request: Request) -> dict[str, Any]:
    """A request as WSGI wants it."""
    path, _, query = request.target.partition("?")
    found: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": urllib.parse.unquote(path, "latin-1"),
        "RAW_URI": request.target,
        "QUERY_STRING": query,
        "SERVER_NAME": request.host,
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": request.host,
        "CONTENT_LENGTH": str(len(request.body)),
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        if name not in ("host", "content-length", "content-type", "transfer-encoding"):  # the body is whole already
            found["HTTP_" + name.upper().replace("-", "_")] = value
    return found


# --- what botocore's models know ---


@cache
def _models() -> Any:
    return botocore.session.Session()


@cache
def paging(service: str, operation: str) -> Mapping[str, Any] | None:
    """How an operation pages; None when it does not."""
    try:
        tables = _models().get_component("data_loader").load_service_model(service, "paginators-1")["pagination"]
    except DataNotFoundError:
        return None
    found: Mapping[str, Any] | None = tables.get(operation)
    return found


def names(value: Any) -> list[str]:
    return list(value) if isinstance(value, list) else [str(value)]


def problems(shape: Any, value: Any, path: str = "$") -> list[str]:
    """What is wrong with a value for a botocore output shape; empty when it fits."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{path}: want structure"]
        found = [f"{path}.{key}: required, absent" for key in shape.required_members if key not in value]
        for key, member in value.items():
            if key in shape.members:
                found += problems(shape.members[key], member, f"{path}.{key}")
            else:
                found.append(f"{path}.{key}: not in {shape.name}")
        return found
    if kind == "list":
        if not isinstance(value, list):
            return [f"{path}: want list"]
        return [bad for n, member in enumerate(value) for bad in problems(shape.member, member, f"{path}[{n}]")]
    if kind == "map":
        if not isinstance(value, dict):
            return [f"{path}: want map"]
        return [bad for key, member in value.items() for bad in problems(shape.value, member, f"{path}.{key}")]
    if kind == "string" and isinstance(value, str) and shape.enum and value not in {*shape.enum, *SENT_ANYWAY}:
        return [f"{path}: {value!r} is none of {shape.enum}"]
    if isinstance(value, bool) is not (kind == "boolean") or not isinstance(value, _TYPES[kind]):
        return [f"{path}: want {kind}, got {type(value).__name__}"]
    return []


# Words that recorded answers of AWS hold although AWS's own models do not know them.
SENT_ANYWAY = ("RSA-2048", "SUCCESS")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (str, datetime),
    "blob": (bytes, str),
}


# --- pages ---


def _put(body: dict[str, Any], path: str, value: Any) -> None:
    *parts, last = path.split(".")
    for part in parts:
        body = body.setdefault(part, {})
    if value is None:
        body.pop(last, None)
    else:
        body[last] = value


def _get(body: Any, path: str) -> Any:
    for part in path.split("."):
        body = body.get(part) if isinstance(body, dict) else None
    return body


PAGE_SIZES = {"cloudtrail.LookupEvents": 50}  # where AWS gives less than everything to who names no size


def token_at(start: int) -> str:
    return base64.urlsafe_b64encode(f"simulated-page:{start}".encode()).decode()


def start_of(token: object) -> int:
    """Raises Refusal for a token that we did not give."""
    try:
        return int(base64.urlsafe_b64decode(str(token)).decode().removeprefix("simulated-page:"))
    except (ValueError, binascii.Error):
        raise Refusal("InvalidToken", f"{token!r} is no continuation token") from None


def page_of(call: Call, body: dict[str, Any], size_max: int) -> dict[str, Any]:
    """The part of a whole answer that a request asked for, with the token of the next one."""
    table = paging(call.service, call.operation)
    if table is None:
        return body
    given = next((call.params[name] for name in names(table["input_token"]) if call.params.get(name)), None)
    start = 0 if given is None else start_of(given)
    asked = call.params.get(table.get("limit_key", ""))
    size = min(int(asked) if asked else PAGE_SIZES.get(call.name, 10**9), size_max or 10**9)
    left, skip, more = size, start, False
    for path in names(table["result_key"]):
        whole = _get(body, path)
        if not isinstance(whole, list):
            continue
        part = whole[skip : skip + left]
        more = more or len(whole) > skip + left
        skip = max(0, skip - len(whole))
        left -= len(part)
        _put(body, path, part)
        if "." in path and path.endswith(".Items"):  # CloudFront counts what it sends
            parent = path.removesuffix(".Items")
            _put(body, f"{parent}.Quantity", len(part))
    token = names(table["output_token"])[0].split(" ")[0]
    _put(body, token, token_at(start + size) if more else None)
    if "more_results" in table:
        _put(body, table["more_results"], more)
    return body


# --- errors as each protocol writes them ---


def refusal_of(call: Call, kind: str) -> Refusal:
    """The error that AWS gives for a kind of fault, in the words of the service."""
    ec2, s3 = call.service == "ec2", call.service == "s3"
    json_like = "json" in call.protocol or "cbor" in call.protocol
    if kind == "throttle":
        code = (
            "RequestLimitExceeded"
            if ec2
            else "SlowDown"
            if s3
            else "ThrottlingException"
            if json_like
            else "Throttling"
        )
        return Refusal(code, "Rate exceeded", 503 if ec2 or s3 else 400)
    if kind == "expired":
        code = "RequestExpired" if ec2 else "ExpiredTokenException" if json_like else "ExpiredToken"
        return Refusal(code, "The security token included in the request is expired", 400 if s3 or ec2 else 403)
    if kind == "denied":
        code = "UnauthorizedOperation" if ec2 else "AccessDeniedException" if json_like else "AccessDenied"
        who = f"arn:aws:sts::{ACCOUNT}:assumed-role/evidence-collector/run"
        return Refusal(code, f"User: {who} is not authorized to perform: {call.service}:{call.operation}", 403)
    if kind in _STATES:
        return Refusal(*_STATES[kind], int(kind))
    return Refusal("InternalError" if ec2 or s3 else "InternalFailure", "An internal error occurred", 500)


# Answers of S3 about a state that there is not: a lie, or another writer in between.
_STATES = {
    "404": ("NoSuchBucket", "The specified bucket does not exist"),
    "409": ("ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation."),
    "412": ("PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
}


def written_error(call: Call, error: Refusal) -> Response:
    code, message = error.code, error.message.replace("&", "&amp;").replace("<", "&lt;")
    if "json" in call.protocol or "cbor" in call.protocol:
        body = json.dumps({"__type": code, "message": error.message}).encode()
        return Response(error.status, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": code}, body)
    inner = f"<Code>{code}</Code><Message>{message}</Message>"
    request_id = PLACEHOLDER.decode()
    if call.protocol == "ec2":
        text = f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    elif call.service == "s3":
        text = f"<Error>{inner}<RequestId>{request_id}</RequestId></Error>"
    else:
        kind = "Sender" if error.status < 500 else "Receiver"
        inner = f"<Error><Type>{kind}</Type>{inner}</Error>"
        text = f"<ErrorResponse>{inner}<RequestId>{request_id}</RequestId></ErrorResponse>"
    return Response(
        error.status, {"Content-Type": "text/xml"}, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    )


# --- the account ---

Note = Callable[[datetime, Call, Request, Response], None]


class TestBed:
    """Answers requests. One lock guards moto and the world; an answer given before needs neither."""

    __test__ = False  # pytest: not a test

    def __init__(self, world: World, answers: Mapping[tuple[str, str], Answer], note: Note | None = None) -> None:
        """``note`` is told of each call that was answered: when, which, its request and its answer."""
        self.world = world
        self._answers = answers
        self._note = note
        self._work = threading.RLock()
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._calls: deque[dict[str, Any]] = deque(maxlen=CALLS_MAX)
        self._number = 0
        self._known: dict[tuple[Any, ...], Call | None] = {}
        self._cache: dict[tuple[Any, ...], Response] = {}
        self._timed: set[tuple[Any, ...]] = set()  # answers of the cache that looked at the clock
        self.unserved: list[str] = []
        self.heard: Note | None = None  # is told of each change that somebody made: a change feed

    # --- control ---

    def changed(self) -> None:
        """The world is another one: answers given before are no longer true."""
        with self._work, self._lock:
            self._cache.clear()

    def clock_turned(self) -> None:
        """Only the time is another one: what did not look at the clock is still true."""
        with self._work, self._lock:
            for key in self._timed:
                self._cache.pop(key, None)
            self._timed.clear()

    def add_fault(self, fault: Fault) -> None:
        if fault.kind not in FAULT_KINDS:
            raise ValueError(f"no fault {fault.kind!r}; there are {', '.join(FAULT_KINDS)}")
        with self._lock:
            self._faults = [*self._faults, fault]

    def clear_faults(self, label: str = "") -> None:
        with self._lock:
            self._faults = [fault for fault in self._faults if label and fault.label != label]

    def faults(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._faults]

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        with self._lock:
            return [call for call in self._calls if call["seq"] > since]

    def clear_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    # --- a request ---

    def __call__(self, request: Request) -> Response:
        if b'"WaitTimeSeconds"' in request.body:
            return long_poll(request, self._once)
        return self._once(request)

    def _once(self, request: Request) -> Response:
        key = _key(request)
        call = self._known[key] if key in self._known else self._identify(request, key)
        logged = call is not None and call.key != ADMIN_KEY
        fault = self._fault(call) if call is not None and logged else None
        if fault is not None and fault.kind == "slow":
            time.sleep(fault.seconds)
            fault = None
        try:
            found = self._answer(request, call, key) if fault is None else self._faulty(fault, request, call, key)
        except Reset:
            self._log(request, call, 0, "reset")
            raise
        number = self._log(request, call if logged else None, found.status, fault.kind if fault else "")
        stamped = self._stamped(found, number)
        if self._note is not None and call is not None and logged:
            self._note(self.world.now, call, request, stamped)
        changed = call is not None and not call.reads and not NEUTRAL.match(call.operation) and stamped.status < 400
        if self.heard is not None and call is not None and changed:
            self.heard(self.world.now, call, request, stamped)
        return stamped

    def _fault(self, call: Call) -> Fault | None:
        if not self._faults:
            return None
        with self._lock:
            found = next((fault for fault in self._faults if fault.hits(call)), None)
            if found is not None and found.times is not None:
                found.times -= 1
            return found

    def _faulty(self, fault: Fault, request: Request, call: Call | None, key: tuple[Any, ...]) -> Response:
        assert call is not None
        if fault.kind == "reset":
            raise Reset
        if fault.kind == "html":
            page = b"<html><head><title>Service Unavailable</title></head><body>please try later<br></body></html>"
            return Response(200, {"Content-Type": "text/html"}, page)
        if fault.kind == "truncate":
            whole = self._answer(request, call, key)
            return Response(whole.status, whole.headers, whole.body, sent=len(whole.body) // 2)
        return written_error(call, refusal_of(call, fault.kind))

    def _log(self, request: Request, call: Call | None, status: int, fault: str) -> int:
        with self._lock:
            self._number += 1
            if call is not None:
                table = paging(call.service, call.operation) or {}
                token = next((call.params[n] for n in names(table.get("input_token", [])) if call.params.get(n)), None)
                self._calls.append(
                    {
                        "seq": self._number,
                        "at": self.world.now.isoformat(),
                        "service": call.service,
                        "operation": call.operation,
                        "region": call.region,
                        "host": request.host,
                        "params": call.digest,
                        "token": token,
                        "status": status,
                        "fault": fault,
                        "key": call.key,
                    }
                )
            return self._number

    def _stamped(self, found: Response, number: int) -> Response:
        id = str(uuid.UUID(int=number, version=4))
        headers = {name: value for name, value in found.headers.items() if name.lower() not in _OWN_HEADERS}
        headers |= {
            "Date": format_datetime(self.world.now.astimezone(UTC), usegmt=True),
            "x-amzn-RequestId": id,
            "x-amz-request-id": id,
        }
        return Response(found.status, headers, found.body.replace(PLACEHOLDER, id.encode()), found.sent)

    # --- which operation is this? ---

    def _identify(self, request: Request, key: tuple[Any, ...]) -> Call | None:
        found = None
        scope = SCOPE.search(request.headers.get("authorization", ""))
        if scope:
            access_key, region, signing = scope.groups()
            form: dict[str, str] = {}
            if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
                form = dict(urllib.parse.parse_qsl(request.body.decode("utf-8", "replace")))
            service = _service_of(signing, request, form)
            found = _parsed(request, service, region, access_key, form)
        if len(self._known) > CACHED_MAX:
            self._known.clear()
        self._known[key] = found
        return found

    # --- what is its answer? ---

    def _answer(self, request: Request, call: Call | None, key: tuple[Any, ...]) -> Response:
        cached = self._cache.get(key)
        if cached is not None:
            return cached
        with self._work:
            self.world.clock_read = False
            try:
                found = self._made(request, call)
            except Refusal as error:
                assert call is not None
                found = written_error(call, error)
            except (Unserved, NotImplementedError):
                found = self._not_served(request, call)
            except Exception as error:  # moto's or ours: nobody must take it for an answer of AWS
                found = self._not_served(request, call, f" ({type(error).__name__}: {error})")
            found = Response(found.status, found.headers, REQUEST_ID.sub(HIDDEN_ID, found.body))
            self._keep(key, call, found)  # within the work, so that no answer outlives a change that came after it
        return found

    def _keep(self, key: tuple[Any, ...], call: Call | None, found: Response) -> None:
        with self._lock:
            if call is not None and call.reads and not NEUTRAL.match(call.operation):
                if len(self._cache) > CACHED_MAX:
                    self._cache.clear()
                self._cache[key] = found
                if self.world.clock_read:
                    self._timed.add(key)
            elif call is None or not NEUTRAL.match(call.operation):
                self._cache.clear()

    def _made(self, request: Request, call: Call | None) -> Response:
        if call is None:
            return self._of_moto(request)
        ours = self._answers.get((call.service, call.operation))
        if ours is not None:
            body = ours(self.world, call)
            if body is None:  # it only saw to it that AWS would not refuse
                return self._of_moto(request)
            wrong = problems(_output(call), body) if _output(call) is not None else []
            if wrong:
                raise Refusal("WrongAnswerOfSimulator", f"{call.name}: {'; '.join(wrong[:5])}", 501)
        elif call.reads and paging(call.service, call.operation) is not None and call.service not in PAGED_BY_MOTO:
            body = self.world.moto.ask(call.service, call.operation, call.region, call.params)
        else:
            return self._of_moto(request)
        return _written(call, body if call.name in PAGED_BY_ANSWER else page_of(call, body, self.world.page_size))

    def _of_moto(self, request: Request) -> Response:
        found = self.world.moto.answer(request)
        text = found.body[:2000].lower()
        page = b"<!doctype html" in text or b"<html" in text or b"not been implemented" in text
        if found.status >= 400 and (page or b"not yet implemented" in text):
            raise Unserved
        return found

    def _not_served(self, request: Request, call: Call | None, why: str = "") -> Response:
        name = call.name if call else f"{request.method} {request.host}{request.target}"
        with self._lock:
            self.unserved.append(name + why)
        message = f"the simulated cloud serves no {name}; add it to collector/demo/answers.py{why}"
        if call is None:
            return Response(501, {"Content-Type": "text/plain"}, message.encode())
        return written_error(call, Refusal("NotServedBySimulator", message, 501))


_OWN_HEADERS = frozenset(
    ("date", "server", "connection", "content-length", "x-amzn-requestid", "x-amz-request-id", "transfer-encoding")
)
# Object listings have prefixes and delimiters that only moto weighs; nobody reads objects here.
PAGED_BY_MOTO = frozenset(("s3control", "sts"))
PAGED_BY_ANSWER = frozenset(("s3.ListObjectVersions",))


def _key(request: Request) -> tuple[Any, ...]:
    """Two requests with the same key are the same question of the same principal."""
    scope = SCOPE.search(request.headers.get("authorization", ""))
    own = tuple(
        (name, value)
        for name, value in request.headers.items()
        if name.startswith("x-amz-") and name not in VOLATILE_HEADERS
    )
    return request.method, request.host, request.target, scope.groups() if scope else None, own, request.body


def _service_of(signing: str, request: Request, form: Mapping[str, str]) -> str:
    if signing == "s3" and request.target.startswith("/v20180820/"):
        return "s3control"
    if signing == "apigateway" and request.target.startswith("/v2/"):
        return "apigatewayv2"
    if signing == "elasticloadbalancing":
        return "elbv2" if form.get("Version") == "2015-12-01" else "elb"
    return SIGNING_NAMES.get(signing, signing)


def _parsed(request: Request, service: str, region: str, key: str, form: Mapping[str, str]) -> Call | None:
    operation = form.get("Action") or request.headers.get("x-amz-target", "").rpartition(".")[2]
    values: Mapping[str, Any] = {}
    wsgi = MotoRequest(environment(request))
    try:
        service_model = get_service_model(service)
        if not operation:
            model, values = get_service_router(service).match(wsgi)
            operation = str(model.name)
    except Exception:  # moto raises what it likes for a service or a path that it does not know
        return None
    if operation not in service_model.operation_names:
        return None
    protocol = str(determine_request_protocol(service_model, request.headers.get("content-type", "").split(";")[0]))
    question: Any = {
        "method": request.method,
        "values": wsgi.values,
        "headers": wsgi.headers,
        "body": request.body,
        "url_path": request.target.partition("?")[0],
        "url_params": values,
    }
    params = PROTOCOL_PARSERS[protocol](service_model.operation_model(operation)).parse(question) or {}
    params = {name: value for name, value in dict(params).items() if value is not None}
    digest = json.dumps(params, sort_keys=True, separators=(",", ":"), default=str)
    return Call(service, operation, region, key, protocol, params, digest)


def _output(call: Call) -> Any:
    return get_service_model(call.service).operation_model(call.operation).output_shape


def _written(call: Call, body: Any) -> Response:
    """An output dict in the bytes of its protocol, by moto's serialisers."""
    model = get_service_model(call.service)
    serializer = get_serializer_class(model.service_name, call.protocol)
    found = serializer(operation_model=model.operation_model(call.operation)).serialize(body)
    content = found["body"].encode() if isinstance(found["body"], str) else found["body"]
    return Response(int(found["status_code"]), {name: str(value) for name, value in found["headers"].items()}, content)
