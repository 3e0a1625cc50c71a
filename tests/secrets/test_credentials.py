"""Every way of signing in that a cloud has: no secret, assertion or token of it is kept, logged or said.

Also not when whoever answers quotes all that it was sent in its refusal, which is the worst that an SDK can put into
the text of its error. The secrets are those that really crossed the wire, as the other side recorded them.
"""

from __future__ import annotations

import io
import json
import os
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import google.auth.compute_engine._metadata as metadata_client
import pytest
import structlog

from collector import hush
from collector.clouds.directory import AccountSettings, Directory, Limits
from collector.clouds.transcript import Transcript
from collector.config import AwsAccount, AzureTenant, GoogleOrganization
from collector.demo.azure.bed import AzureBed
from collector.demo.azure.imds import IDENTITY_HEADER
from collector.demo.azure.world import CLIENT, SECRET, TENANT
from collector.demo.cloud import FOREIGN
from collector.demo.gcp.bed import GcpBed
from collector.demo.gcp.oauth import CLOUD_PLATFORM
from collector.demo.gcp.world import ADMINISTRATOR, COLLECTOR, ORGANIZATION, RUNNER, Principal
from collector.demo.proxy import Proxy, Request, Response
from tests.secrets.conftest import NOW
from tests.secrets.planting import secret
from tests.secrets.searching import all_leaks

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
        self._note_request(request.headers, request.body)
        found = _echo(request) if self.echoes(request) else self._served(request)
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

    def _note_request(self, headers: Mapping[str, str], body: bytes) -> None:
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


def _echo(request: Request) -> Response:
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


def _door(request: Request) -> bool:
    """Whether a token is asked for, rather than used."""
    if b"Action=AssumeRole" in request.body:
        return True
    return DOORS.match(request.host) is not None and not request.target.endswith(("openid-configuration", "tokeninfo"))


@pytest.fixture
def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    for name in list(os.environ):
        if name.upper().startswith(FOREIGN):
            monkeypatch.delenv(name)
    (tmp_path / "wire").mkdir()
    found = Wire(tmp_path / "wire")
    for name, value in {
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), found.proxy.url),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
        **dict.fromkeys(("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"), str(found.proxy.bundle)),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    yield found
    found.proxy.close()


@pytest.fixture
def machine(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The metadata servers of a machine of Azure and of one of Google, on one port of loopback; they can refuse too."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            wire._note_request(headers, b"")
            bed = wire.gcp if "computeMetadata" in self.path or self.path == "/" else wire.azure
            request = Request("GET", "metadata", self.path, headers, b"")
            found = bed.metadata("GET", self.path, headers)
            if wire.echoes(request) and "token" in self.path:
                found = Response(403, found.headers, _echo(request).body)
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
        monkeypatch.setattr(metadata_client, "_GCE_METADATA_HOST", host, raising=False)
        for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
            monkeypatch.setenv(name, host)
        yield host
        server.shutdown()


Way = Callable[[Wire, Path, pytest.MonkeyPatch, str], AccountSettings]
WAYS: dict[str, tuple[Way, set[str]]] = {}  # each with the places in which a secret must have crossed


def way(*places: str) -> Callable[[Way], Way]:
    def known(make: Way) -> Way:
        WAYS[make.__name__.strip("_")] = make, set(places)
        return make

    return known


@way("client_secret", "access_token", "bearer")
def _azure_secret(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    (folder / "client").write_text(SECRET + "\n")
    chosen: dict[str, Any] = {"credential": "client-secret", "client_secret_file": folder / "client"}
    return AzureTenant(tenant=TENANT, client_id=CLIENT, **chosen)


@way("client_secret", "access_token", "bearer")
def _azure_environment(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    for name, value in wire.azure.credentials(folder).items():
        environ.setenv(name, value)
    return AzureTenant(tenant=TENANT)


@way("client_assertion", "access_token", "bearer")
def _azure_certificate(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    chosen: dict[str, Any] = {"credential": "client-certificate"}
    file = Path(wire.azure.certificate(str(folder)))
    return AzureTenant(tenant=TENANT, client_id=CLIENT, certificate_file=file, **chosen)


@way("client_assertion", "access_token", "bearer")
def _azure_federation(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    environ.setenv("AZURE_FEDERATED_TOKEN_FILE", wire.azure.federated_token(str(folder)))
    chosen: dict[str, Any] = {"credential": "workload-identity"}
    return AzureTenant(tenant=TENANT, client_id=CLIENT, **chosen)


@way("access_token", "bearer")
def _azure_machine(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    environ.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://{machine}")
    chosen: dict[str, Any] = {"credential": "managed-identity"}
    return AzureTenant(tenant=TENANT, **chosen)


@way("x-identity-header", "access_token", "bearer")
def _azure_app_service(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    environ.setenv("IDENTITY_ENDPOINT", f"http://{machine}/msi/token")
    environ.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    chosen: dict[str, Any] = {"credential": "managed-identity"}
    return AzureTenant(tenant=TENANT, **chosen)


def _google(file: str | Path | None, **more: Any) -> GoogleOrganization:
    return GoogleOrganization(
        parent=f"organizations/{ORGANIZATION}", credentials_file=None if file is None else Path(file), **more
    )


def _key(wire: Wire, folder: Path) -> str:
    return wire.gcp.credentials(folder)["GOOGLE_APPLICATION_CREDENTIALS"]


@way("bearer")  # a JWT that the key itself signed, or a token that was got for one
def _google_key(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    return _google(_key(wire, folder))


@way("assertion", "access_token", "bearer")
def _google_delegation(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    return _google(_key(wire, folder), workspace_admin=ADMINISTRATOR)


@way("accessToken", "bearer")
def _google_impersonation(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    return _google(_key(wire, folder), impersonate=COLLECTOR)


@way("access_token", "accessToken", "signedJwt", "assertion", "bearer")
def _google_machine(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    environ.setenv("CLOUDSDK_CONFIG", str(folder))
    return _google(None, impersonate=COLLECTOR, workspace_admin=ADMINISTRATOR)


@way("subject_token", "access_token", "accessToken", "bearer")
def _google_federation(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    (folder / "token").write_text(wire.azure.issuer.federated_token())  # any cluster's JWT does
    pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
    account = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{COLLECTOR}:generateAccessToken"
    return _google(
        _json(
            folder,
            type="external_account",
            audience=pool,
            subject_token_type="urn:ietf:params:oauth:token-type:jwt",
            token_url="https://sts.googleapis.com/v1/token",
            credential_source={"file": str(folder / "token")},
            service_account_impersonation_url=account,
        )
    )


@way("client_secret", "refresh_token", "access_token", "bearer")
def _google_person(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    secrets = {"client_secret": secret("oauth-client"), "refresh_token": secret("refresh")}
    return _google(_json(folder, type="authorized_user", client_id="c", **secrets))


def _json(folder: Path, **info: Any) -> Path:
    file = folder / "credentials.json"
    file.write_text(json.dumps(info))
    return file


@way("x-amz-security-token")
def _aws_session(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    environ.setenv("AWS_ACCESS_KEY_ID", AWS_KEY)
    environ.setenv("AWS_SECRET_ACCESS_KEY", secret("aws-key"))
    environ.setenv("AWS_SESSION_TOKEN", secret("aws-session"))
    wire.note("never sent", secret("aws-key"))
    return AwsAccount(account=AWS)


@way("SecretAccessKey", "SessionToken", "x-amz-security-token")
def _aws_role(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    environ.setenv("AWS_ACCESS_KEY_ID", AWS_KEY)
    environ.setenv("AWS_SECRET_ACCESS_KEY", secret("aws-key"))
    wire.note("never sent", secret("aws-key"))
    return AwsAccount(account=AWS, role_arn=ROLE, external_id="e-1")


@way("WebIdentityToken", "SecretAccessKey", "SessionToken", "x-amz-security-token")
def _aws_web_identity(wire: Wire, folder: Path, environ: pytest.MonkeyPatch, machine: str) -> AccountSettings:
    (folder / "web-token").write_text(wire.azure.issuer.federated_token())
    environ.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "web-token"))
    environ.setenv("AWS_ROLE_ARN", ROLE)
    return AwsAccount(account=AWS)


def asked(settings: AccountSettings, log: io.StringIO) -> tuple[dict[str, bytes], list[str]]:
    """All that a run over the account leaves behind, and the words of what went wrong in it."""
    transcript, troubles = Transcript(), []
    directory = Directory(lambda: NOW, Limits(patience_seconds=1, run_seconds=60), sleep=lambda _: None)

    def users(handle: Any) -> Any:
        return list(handle.each("admin.googleapis.com", "/admin/directory/v1/users", "users", customer="my_customer"))

    questions: list[Callable[[Any], Any]] = [lambda handle: handle.identity()]
    if isinstance(settings, GoogleOrganization) and settings.workspace_admin:
        questions.append(users)
    for ask in questions:
        try:
            ask(directory.open(settings, transcript, NOW))
        except Exception as error:
            troubles.append(str(error))
            structlog.get_logger("test").exception("trouble")  # with the SDK's own words, which it was raised from
    out = {"words": "\n".join(troubles).encode(), "calls": transcript.call_log()}
    out |= {f"answer {e.operation}": transcript.body(e.body) for e in transcript.log if e.body}
    return {**out, "log": log.getvalue().encode()}, troubles


def _telling(value: str) -> tuple[str, ...]:
    """What of a secret must not be found: also not its beginning, which is left where words are cut to a length.

    The first two parts of a JWT say whose it is; its signature is the secret.
    """
    last = value.rpartition(".")[2] if value.startswith("eyJ") else value
    return value, last[:16]


@pytest.mark.parametrize("name", sorted(WAYS))
@pytest.mark.parametrize("refuses", ["nobody", "the door", "the cloud"])
def test_what_signs_in_stays_between_the_two(
    name: str,
    refuses: str,
    wire: Wire,
    machine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log: io.StringIO,
) -> None:
    make, places = WAYS[name]
    settings = make(wire, tmp_path, monkeypatch, machine)
    hush.hold_environment(os.environ)  # as the first reading of the configuration does
    if refuses == "the door":
        wire.echoes = _door
    elif refuses == "the cloud":
        wire.echoes = lambda request: not _door(request) and not request.target.endswith("openid-configuration")
    out, troubles = asked(settings, log)
    if refuses == "nobody":
        assert places <= set(wire.carried), set(wire.carried)
    else:
        given = {*FORM, "x-identity-header"} - {"access_token"}
        sent = given if refuses == "the door" else {"bearer", "x-amz-security-token"}
        if sent & places and (name, refuses) != ("google_machine", "the door"):  # which is asked without a secret
            assert any(value.encode() in echo for echo in wire.echoed for value in wire.secrets)
            assert troubles
    found = all_leaks(out, {word for value in wire.secrets for word in _telling(value)})
    assert not found, "\n".join(found[:10])
