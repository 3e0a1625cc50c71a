"""The three clouds behind one proxy that can refuse with a quotation of all that it was sent: headers and body.

No cloud quotes as much. But what an SDK puts into the text of its error is its own affair, and a proxy's on the way.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from collector.demo.azure.bed import AzureBed
from collector.demo.gcp.bed import GcpBed
from collector.demo.gcp.oauth import CLOUD_PLATFORM
from collector.demo.gcp.world import RUNNER, Principal
from collector.demo.proxy import Proxy, Request, Response
from tests.secrets.planting import NOW, secret

AWS = "123456789012"
ROLE = f"arn:aws:iam::{AWS}:role/EvidenceReadOnly"
AWS_KEY = "AKIAIOSFODNN7EXAMPLE"
FORM = ("client_secret", "client_assertion", "assertion", "subject_token", "refresh_token", "access_token")
FORM += ("WebIdentityToken",)
ANSWER = ("access_token", "accessToken", "signedJwt", "id_token", "SecretAccessKey", "SessionToken")
DOORS = re.compile(r"login\.microsoftonline\.com|oauth2\.|sts\.googleapis|iamcredentials\.|metadata")


@dataclass
class Wire:
    """The three clouds behind one proxy. ``carried`` are the secrets that crossed, by the name of their place."""

    folder: Path
    echoes: Callable[[Request], bool] = lambda _: False
    carried: dict[str, set[str]] = field(default_factory=dict)
    echoed: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.azure = AzureBed(seed=5, scale=1, clock=lambda: NOW)
        self.gcp = GcpBed(seed=5, scale=1, clock=lambda: NOW)
        hosts = (*self.azure.hosts, *self.gcp.hosts, r"(?:[a-z0-9-]+\.)*amazonaws\.com")
        self.proxy = Proxy("|".join(hosts), self.answer, self.folder)

    def answer(self, request: Request) -> Response:
        self.note_request(request.headers, request.body)
        found = echo(request) if self.echoes(request) else self._served(request)
        if self.echoes(request):
            self.echoed.append(found.body)
        for name in ANSWER:
            for text in re.findall(rf'"{name}": ?"([^"]+)"|<{name}>([^<]+)<', found.body.decode("utf-8", "replace")):
                self.note(name, "".join(text))
        return found

    def _served(self, request: Request) -> Response:
        if request.host.endswith(".amazonaws.com"):
            return _aws(request)
        if request.host == "sts.googleapis.com" or b"grant_type=refresh_token" in request.body:
            token, life = self.gcp.issuer.issue(Principal(RUNNER, frozenset([CLOUD_PLATFORM])))
            body = {"access_token": token, "expires_in": life, "token_type": "Bearer"}
            body["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
            return Response(200, {"Content-Type": "application/json"}, json.dumps(body).encode())
        bed = self.gcp if request.host.endswith("googleapis.com") else self.azure
        return bed.handle(request)

    def note_request(self, headers: Mapping[str, str], body: bytes) -> None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme == "Bearer":
            self.note("bearer", token)
        for name in ("x-amz-security-token", "x-identity-header"):
            if value := headers.get(name):
                self.note(name, value)
        for name, value in urllib.parse.parse_qsl(body.decode("utf-8", "replace")):
            if name in FORM:
                self.note(name, value)

    def note(self, name: str, value: str) -> None:
        self.carried.setdefault(name, set()).add(value)

    @property
    def secrets(self) -> set[str]:
        return {value for values in self.carried.values() for value in values}


def echo(request: Request) -> Response:
    """A refusal in the cloud's own form that says all that was sent."""
    words = f"cannot take {request.body.decode('utf-8', 'replace')} with {dict(request.headers)}"
    if request.host.endswith("amazonaws.com"):
        text = words.replace("&", "&amp;").replace("<", "&lt;")
        error = f"<Type>Sender</Type><Code>AccessDenied</Code><Message>{text}</Message>"
        body = f"<ErrorResponse><Error>{error}</Error><RequestId>r-1</RequestId></ErrorResponse>"
        return Response(403, {"Content-Type": "text/xml"}, body.encode())
    if "token" in request.target and "v1/projects" not in request.target:
        found: dict[str, Any] = {"error": "invalid_client", "error_description": words}
    else:
        found = {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": words}}
    return Response(403, {"Content-Type": "application/json"}, json.dumps(found).encode())


def _aws(request: Request) -> Response:
    form = dict(urllib.parse.parse_qsl(request.body.decode()))
    action = form["Action"]
    if action == "GetCallerIdentity":
        found = f"<Arn>{ROLE}</Arn><UserId>u</UserId><Account>{AWS}</Account>"
    else:
        found = (
            f"<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>{secret(action.lower())}"
            f"</SecretAccessKey><SessionToken>{secret('session')}</SessionToken><Expiration>2099-01-01T00:00:00Z"
            f"</Expiration></Credentials><AssumedRoleUser><Arn>{ROLE}</Arn><AssumedRoleId>r</AssumedRoleId>"
            "</AssumedRoleUser>"
        )
    space = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
    meta = "<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>"
    body = f"<{action}Response {space}><{action}Result>{found}</{action}Result>{meta}</{action}Response>"
    return Response(200, {"Content-Type": "text/xml"}, body.encode())


def door(request: Request) -> bool:
    """Whether a token is asked for, rather than used."""
    if b"Action=AssumeRole" in request.body:
        return True
    return DOORS.match(request.host) is not None and not request.target.endswith(("openid-configuration", "tokeninfo"))


@contextmanager
def machine_of(wire: Wire) -> Iterator[str]:
    """The metadata servers of a machine of Azure and of one of Google, on one port of loopback; they can refuse too."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            wire.note_request(headers, b"")
            bed = wire.gcp if "computeMetadata" in self.path or self.path == "/" else wire.azure
            request = Request("GET", "metadata", self.path, headers, b"")
            found = bed.metadata("GET", self.path, headers)
            if wire.echoes(request) and "token" in self.path:
                found = Response(403, found.headers, echo(request).body)
                wire.echoed.append(found.body)
            for text in re.findall(r'"access_token": ?"([^"]+)"', found.body.decode()):
                wire.note("access_token", text)
            self.send_response_only(found.status)
            for name, value in {**found.headers, "Content-Length": str(len(found.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        yield host
        server.shutdown()


def telling(value: str) -> tuple[str, ...]:
    """What of a secret must not be found: also not its beginning, which is left where words are cut to a length.

    The first two parts of a JWT say whose it is; its signature is the secret.
    """
    last = value.rpartition(".")[2] if value.startswith("eyJ") else value
    return value, last[:16]
