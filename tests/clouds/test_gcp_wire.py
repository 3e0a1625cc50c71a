"""A Google organisation over real google-auth and a wire of bytes: what becomes an answer, what is never sent."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import urllib3

import checks
from collector import registry
from collector.clouds import directory, gcp, gcp_access, gcp_answers
from collector.clouds.gcp import Organization
from collector.clouds.gcp_answers import Answers, delegated_scope, url_of, wired
from collector.clouds.rest import Call, Edge, Paces
from collector.clouds.transcript import Transcript, reading
from collector.collect import Task, collect
from collector.demo.gcp.bed import GcpBed
from collector.demo.gcp.world import COLLECTOR, DELEGATED_SCOPES, RUNNER, Principal
from collector.demo.proxy import Proxy, Request, Reset
from collector.errors import (
    CannotObserve,
    ConfigError,
    Denied,
    Disabled,
    NeverAsked,
    Throttled,
    Unavailable,
    Unreadable,
)
from collector.model import Scope

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
PARENT = "organizations/461203958147"
ADMIN = "admin@acme.example"
PERSON = "ada@acme.example"
POOL = "//iam.googleapis.com/projects/100000000001/locations/global/workloadIdentityPools/p/providers/q"
CLOUD = "https://www.googleapis.com/auth/cloud-platform"
DISK = "compute.googleapis.com/Disk"
ASSETS = "cloudasset.googleapis.com"
MANAGER = "cloudresourcemanager.googleapis.com"
DIRECTORY = "admin.googleapis.com"
USAGE = "serviceusage.googleapis.com"
USERS = "/admin/directory/v1/users"
LISTED = f"GET {ASSETS}/v1/{PARENT}/assets"
SEARCH = f"GET {MANAGER}/v3/projects:search"
SIGN = "POST iamcredentials.*signJwt"
TOKEN = "POST oauth2.googleapis.com/token$"


@dataclass(frozen=True)
class Settings:
    parent: str = PARENT
    credentials_file: Path | None = None
    impersonate: str = ""
    quota_project: str = ""
    workspace_admin: str = ADMIN
    customer: str = "my_customer"
    projects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sent:
    method: str
    host: str
    path: str
    query: dict[str, list[str]]
    form: dict[str, list[str]]
    headers: Any

    @property
    def token(self) -> str:
        return str(self.headers.get("authorization") or "").removeprefix("Bearer ")


Found = tuple[int, Any] | tuple[int, Any, dict[str, str]] | Exception


class Wire(requests.adapters.BaseAdapter):
    """Stands where the socket is: takes the bytes that requests is about to send; the simulated Google answers them."""

    def __init__(self, bed: GcpBed) -> None:
        super().__init__()
        self.bed = bed
        self.sent: list[Sent] = []
        self.routes: list[tuple[str, Callable[[Sent], Found | None]]] = []
        self.lock = threading.Lock()

    def on(self, what: str, answer: Callable[[Sent], Found | None] | Found) -> None:
        """From now on this is the answer to a "METHOD host/path" that the expression is in; None: the usual one."""
        self.routes.insert(0, (what, answer if callable(answer) else lambda _: answer))

    def altered(self, what: str, change: Callable[[dict[str, Any]], Any], type: str = "") -> None:
        """From now on the usual answer (about one type of asset) is changed in place before it is given."""

        def answer(sent: Sent) -> Found | None:
            if type and sent.query["assetTypes"] != [type]:
                return None
            query = "&".join(f"{name}={value}" for name, values in sent.query.items() for value in values)
            usual = self.bed.handle(Request(sent.method, sent.host, f"{sent.path}?{query}", sent.headers, b""))
            page = json.loads(usual.body)
            change(page)
            return usual.status, page

        self.on(what, answer)

    def asked(self, what: str) -> list[Sent]:
        return [sent for sent in self.sent if re.search(what, f"{sent.method} {sent.host}{sent.path}")]

    def send(self, request: Any, *_: Any, **__: Any) -> requests.Response:
        url = urlsplit(request.url)
        body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        headers = {name.lower(): value for name, value in request.headers.items()}
        sent = Sent(request.method, url.netloc, url.path, parse_qs(url.query), parse_qs(body.decode()), headers)
        where = f"{sent.method} {sent.host}{sent.path}"
        with self.lock:
            self.sent.append(sent)
        found: Found | None = next(
            (answer for pattern, ask in self.routes if re.search(pattern, where) and (answer := ask(sent))), None
        )
        if found is None:
            try:
                usual = self.bed.handle(Request(request.method, url.netloc, request.path_url, headers, body))
            except Reset as error:
                raise requests.ConnectionError("reset") from error
            found = usual.status, usual.body, dict(usual.headers)
        if isinstance(found, Exception):
            raise found
        status, answered, *more = found
        data = answered if isinstance(answered, bytes) else json.dumps(answered).encode()
        back = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(more[0] if more else {})}
        response = requests.Response()
        response.status_code, response.url, response.request = status, request.url, request
        response.headers.update(back)
        response.raw = urllib3.HTTPResponse(io.BytesIO(data), back, status, preload_content=False)
        return response

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def organisation() -> GcpBed:
    return GcpBed(seed=7, scale=1, clock=lambda: NOW)


@pytest.fixture
def bed(organisation: GcpBed) -> GcpBed:
    organisation.reset()
    return organisation


@pytest.fixture
def wire(bed: GcpBed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Wire:
    for name in ("GOOGLE_CLOUD_QUOTA_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    for name, value in bed.credentials(tmp_path).items():
        monkeypatch.setenv(name, value)
    return Wire(bed)


def access_over(wire: Wire, settings: Settings | None = None) -> gcp_access.Access:
    session = gcp_access._session()
    session.mount("https://", wire)
    session.mount("http://", wire)
    return gcp_access.Access(settings or Settings(), session=session)


def organization_over(
    wire: Wire,
    settings: Settings | None = None,
    *,
    access: gcp_access.Access | None = None,
    slept: list[float] | None = None,
    patience: float = 5,
    sleep: Callable[[float], None] | None = None,
) -> Organization:
    settings = settings or Settings()
    pauses = slept if slept is not None else []
    edge = Edge(
        Answers((access or access_over(wire, settings)).send),
        settings.parent,
        Paces(),
        lambda: NOW,
        sleep or pauses.append,
        patience,
        chance=random.Random(1),
    )
    return gcp.opened(settings, Transcript(), NOW, edge.put)


def again(gcp: Organization, settings: Settings | None = None) -> Any:
    """The same organisation over the kept transcript, without a network, as reperformance opens it."""
    settings = settings or Settings()
    kept = Transcript.kept(gcp.transcript.call_log(), gcp.transcript.body)
    record = {"customer": settings.customer, "projects": list(settings.projects)}
    return directory.kept(Scope("gcp", gcp.organization), kept, NOW, record)


def outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except CannotObserve as error:
        return type(error), str(error)


def error(status: int, word: str, message: str, reason: str = "", **metadata: str) -> Found:
    """An error as google.rpc.Status over JSON."""
    body: dict[str, Any] = {"code": status, "message": message, "status": word}
    if reason:
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}
        body["details"] = [info]
    return status, {"error": body}


def file_of(folder: Path, **info: Any) -> Settings:
    file = folder / "credentials.json"
    file.write_text(json.dumps(info))
    return Settings(credentials_file=file)


def users(gcp: Organization) -> list[dict[str, Any]]:
    return gcp.each(DIRECTORY, USERS, "users", customer="my_customer", maxResults=500)


def people(wire: Wire) -> int:
    return len(wire.bed.resources("admin#directory#user"))


# --- who asks ---


def test_the_service_account_of_the_environment_is_who_asks(wire: Wire) -> None:
    gcp = organization_over(wire)
    assert gcp.identity() == COLLECTOR
    assert again(gcp).identity() == COLLECTOR
    assert not wire.bed.unserved()


def test_the_key_file_of_the_configuration_comes_before_the_environment(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
    assert organization_over(wire, Settings(credentials_file=file)).identity() == COLLECTOR


def test_no_token_is_kept_and_none_is_in_a_url(wire: Wire) -> None:
    gcp = organization_over(wire)
    gcp.identity()
    users(gcp)
    kept = b"".join(gcp.transcript.body(e.body) for e in gcp.transcript.log) + gcp.transcript.call_log()
    assert b"ya29" not in kept
    assert b"expires_in" not in kept
    assert len({sent.token for sent in wire.sent if sent.token}) == 2
    assert not any("ya29" in str(sent.query) for sent in wire.sent)
    assert said_of_token(gcp)["email"] == COLLECTOR


def said_of_token(gcp: Organization) -> Any:
    (info,) = (e for e in gcp.transcript.log if e.operation == "POST /tokeninfo")
    return json.loads(gcp.transcript.body(info.body))


def issued(wire: Wire, account: str) -> Callable[[Sent], Found]:
    """A token door that hands out tokens of this account, OAuth's and STS's members together."""

    def answer(_: Sent) -> Found:
        token, life = wire.bed.issuer.issue(Principal(account, frozenset((CLOUD,))))
        kind = "urn:ietf:params:oauth:token-type:access_token"
        return 200, {"access_token": token, "expires_in": life, "token_type": "Bearer", "issued_token_type": kind}

    return answer


def test_a_person_of_gcloud_is_named_by_address_and_may_see_no_users(wire: Wire, tmp_path: Path) -> None:
    wire.on(TOKEN, issued(wire, PERSON))
    secret = {"client_id": "c", "client_secret": "simulated", "refresh_token": "1//r"}
    gcp = organization_over(wire, file_of(tmp_path, type="authorized_user", quota_project_id="acme-prod", **secret))
    with pytest.raises(Denied, match=r"cloudasset\.assets\.listResource"):
        gcp.identity()  # the simulated role is the collector's only
    assert said_of_token(gcp)["email"] == PERSON
    assert wire.asked(LISTED)[0].headers["x-goog-user-project"] == "acme-prod"
    assert wire.asked(TOKEN)[0].form["refresh_token"] == ["1//r"]
    with pytest.raises(Denied, match="set impersonate"):
        users(gcp)


def federated(folder: Path, **more: Any) -> Settings:
    (folder / "token").write_text("the-token-of-the-cluster")
    return file_of(
        folder,
        type="external_account",
        audience=POOL,
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        token_url="https://sts.googleapis.com/v1/token",
        credential_source={"file": str(folder / "token")},
        **more,
    )


def test_workload_identity_acts_as_a_service_account_and_asks_for_the_administrator(wire: Wire, tmp_path: Path) -> None:
    wire.on("POST sts.googleapis.com/v1/token", issued(wire, RUNNER))
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{COLLECTOR}:generateAccessToken"
    gcp = organization_over(wire, federated(tmp_path, service_account_impersonation_url=url))
    assert gcp.identity() == COLLECTOR
    assert len(users(gcp)) == people(wire)
    assert wire.asked("sts.googleapis.com")[0].form["subject_token"] == ["the-token-of-the-cluster"]
    assert len(wire.asked(SIGN)) == 1


def test_a_pool_that_acts_as_nobody_is_named_by_itself_and_that_is_kept(wire: Wire, tmp_path: Path) -> None:
    wire.on("POST sts.googleapis.com/v1/token", issued(wire, COLLECTOR))
    wire.on("/tokeninfo", (400, {"error": "invalid_token", "error_description": "Invalid Value"}))
    gcp = organization_over(wire, federated(tmp_path))
    assert gcp.identity() == POOL
    assert again(gcp).identity() == POOL
    with pytest.raises(Denied, match="set impersonate"):
        users(gcp)


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ({"subject_token_type": "urn:ietf:params:aws:token-type:aws4_request"}, "aws"),
        ({"credential_source": {"executable": {"command": "x"}}}, "pluggable"),
        ({"credential_source": {"url": "http://127.0.0.1/"}}, "identity_pool"),
    ],
)
def test_every_kind_of_pool_has_its_own_way(info: dict[str, Any], name: str) -> None:
    assert gcp_access._federated(info).__module__ == f"google.auth.{name}"


def test_an_impersonated_account_is_who_asks_and_signs_for_the_administrator(wire: Wire) -> None:
    gcp = organization_over(wire, Settings(impersonate=COLLECTOR))
    assert gcp.identity() == COLLECTOR
    assert len(users(gcp)) == people(wire)
    assert len(wire.asked("generateAccessToken")) == 1
    assert len(wire.asked(SIGN)) == 1
    assert {call["principal"] for call in wire.bed.calls() if call["host"] == DIRECTORY} == {ADMIN}


def test_who_may_not_impersonate_is_told_what_to_grant(wire: Wire) -> None:
    account = "deployer@acme-data.iam.gserviceaccount.com"
    with pytest.raises(Denied, match=rf"grant iam\.serviceAccounts\.getAccessToken on projects/-/.*{account}"):
        organization_over(wire, Settings(impersonate=account)).identity()
    wire.bed.revoke("iam.serviceAccounts.signJwt")
    gcp = organization_over(wire, Settings(impersonate=COLLECTOR))
    with pytest.raises(Denied, match=r"grant iam\.serviceAccounts\.signJwt"):
        users(gcp)
    assert outcome(lambda: users(again(gcp))) == outcome(lambda: users(gcp))


def test_impersonation_by_an_api_that_is_off_says_how_to_enable_it(wire: Wire) -> None:
    wire.bed.revoke("api:iamcredentials.googleapis.com")
    with pytest.raises(
        Disabled, match=r"gcloud services enable iamcredentials\.googleapis\.com --project 100000000001"
    ):
        organization_over(wire, Settings(impersonate=COLLECTOR)).identity()


@pytest.mark.parametrize(("status", "kind"), [(429, Throttled), (503, Unavailable)])
def test_iam_out_of_order_is_not_a_denial(wire: Wire, status: int, kind: type[Exception]) -> None:
    wire.on("generateAccessToken", error(status, "X", "later"))
    with pytest.raises(kind, match="later"):
        organization_over(wire, Settings(impersonate=COLLECTOR)).identity()


METADATA_SCRIPT = """
import json, sys
from datetime import UTC, datetime
from collector.clouds.directory import Directory, Limits
from collector.clouds.transcript import Transcript
from collector.config import GoogleOrganization
from collector.errors import CannotObserve
now = datetime(2026, 1, 5, 12, tzinfo=UTC)
found = []
for given in json.loads(sys.argv[1]):
    settings = GoogleOrganization(parent="organizations/461203958147", workspace_admin="admin@acme.example", **given)
    gcp = Directory(lambda: now, Limits(20, 60)).open(settings, Transcript(), now)
    for ask in (gcp.identity, lambda: len(gcp.each("admin.googleapis.com", "/admin/directory/v1/users", "users",
            customer="my_customer", maxResults=500))):
        try:
            found.append(ask())
        except CannotObserve as error:
            found.append(error.code)
print(json.dumps(found))
"""


def test_a_machine_asks_with_its_own_account_or_acts_as_the_collector(bed: GcpBed, tmp_path: Path) -> None:
    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = bed.metadata("GET", self.path, {name.lower(): value for name, value in self.headers.items()})
            self.send_response_only(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: Any) -> None: ...

    proxy = Proxy("|".join(bed.hosts), bed.handle, tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"127.0.0.1:{server.server_port}"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GOOGLE_")},
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy.url),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
            **dict.fromkeys(("GCE_METADATA_HOST", "GCE_METADATA_IP"), here),
            "REQUESTS_CA_BUNDLE": str(proxy.bundle),
            "HOME": str(tmp_path),
            "PYTHONPATH": str(Path(gcp.__file__).parents[2]),
        }
        # google-auth reads the metadata host when it is imported, hence a process of its own.
        command = [sys.executable, "-c", METADATA_SCRIPT, json.dumps([{}, {"impersonate": COLLECTOR}])]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        server.shutdown()
    proxy.close()
    assert done.returncode == 0, done.stderr
    # The machine's own account holds nothing, and may neither list nor sign; acting as the collector it may both.
    expected = ["denied", "denied", COLLECTOR, len(bed.resources("admin#directory#user"))]
    assert json.loads(done.stdout) == expected
    assert bed.unserved() == []


# --- no credentials, or broken ones ---


def test_without_any_credentials_it_is_said_what_to_set(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    wire.on("GET 169.254.169.254", (404, b""))
    gcp = organization_over(wire)
    with pytest.raises(Denied, match=r"no Google credentials: .*; set credentials_file, or GOOGLE_APPLICATION"):
        gcp.identity()
    assert outcome(again(gcp).identity) == outcome(gcp.identity)
    assert not wire.asked("googleapis")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no json", "cannot be read"),
        ("[]", "of type None"),
        ('{"type": "gdch_service_account"}', "of type 'gdch_service_account'"),
        ('{"type": "service_account"}', "cannot be used: .*missing fields"),
        ('{"type": "external_account"}', "cannot be used: A valid credential source"),
        ('{"type": "authorized_user"}', "cannot be used: .*missing fields"),
    ],
)
def test_a_credentials_file_that_is_none_is_denied_with_its_name(
    wire: Wire, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "key.json").write_text(text)
    with pytest.raises(Denied, match=rf"credentials_file key\.json .*{words}|key\.json is {words}"):
        organization_over(wire, Settings(credentials_file=tmp_path / "key.json")).identity()
    assert not wire.sent


def test_a_credentials_file_that_is_missing_is_denied(wire: Wire, tmp_path: Path) -> None:
    with pytest.raises(Denied, match=r"credentials_file gone\.json cannot be read"):
        organization_over(wire, Settings(credentials_file=tmp_path / "gone.json")).identity()


def test_a_key_that_was_taken_back_is_denied_in_googles_words(wire: Wire) -> None:
    wire.on(TOKEN, (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}))
    gcp = organization_over(wire)
    with pytest.raises(Denied, match=r"Invalid JWT Signature.*look at the credentials in the configuration"):
        gcp.identity()
    assert outcome(again(gcp).identity) == outcome(gcp.identity)


@pytest.mark.parametrize("trouble", [(503, {"error": "x"}), requests.ConnectionError("reset"), requests.Timeout("t")])
def test_a_token_door_out_of_order_is_not_a_denial(wire: Wire, trouble: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    wire.on(TOKEN, trouble)
    with pytest.raises(Unavailable):
        organization_over(wire).identity()


def test_one_token_serves_all_threads_and_all_runs(wire: Wire) -> None:
    access = access_over(wire)
    for _ in range(2):
        gcp = organization_over(wire, access=access)
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda n: gcp.get(USAGE, f"/v1/projects/acme-prod/services/a{n}"), range(64)))  # noqa: B023
    assert len(wire.asked(TOKEN)) == 1


# --- Workspace ---


def test_each_path_of_workspace_is_asked_with_its_own_scope_for_the_administrator(wire: Wire) -> None:
    gcp = organization_over(wire)
    users(gcp)
    gcp.get(DIRECTORY, f"{USERS}/{ADMIN}", absent=("NOT_FOUND", "HTTP404"))
    gcp.each(DIRECTORY, "/admin/directory/v1/customer/my_customer/orgunits", "organizationUnits", type="all")
    gcp.get(DIRECTORY, "/admin/reports/v1/usage/users/all/dates/2026-01-01", parameters="accounts:is_2sv_enrolled")
    gcp.each("cloudidentity.googleapis.com", "/v1/policies", "policies", pageSize=100)
    gcp.each(DIRECTORY, "/admin/reports/v1/activity/users/all/applications/admin", "items")
    found = Counter(wire.bed.issuer._tokens[sent.token][0] for sent in wire.sent if sent.token)
    asked = {(principal.subject, *principal.scopes) for principal in found}
    assert asked == {(ADMIN, scope) for scope in DELEGATED_SCOPES}
    assert sorted(found.values()) == [1, 1, 1, 1, 2]


def test_without_an_administrator_it_is_said_what_to_set(wire: Wire) -> None:
    gcp = organization_over(wire, Settings(workspace_admin=""))
    with pytest.raises(Denied, match="no workspace_admin is configured"):
        users(gcp)
    assert not wire.sent
    assert outcome(lambda: users(again(gcp))) == outcome(lambda: users(gcp))


def test_a_scope_that_is_not_delegated_closes_its_own_path_only(wire: Wire) -> None:
    wire.bed.revoke("workspace:https://www.googleapis.com/auth/admin.directory.user.readonly")
    gcp = organization_over(wire)
    with pytest.raises(Denied, match=r"unauthorized_client.*delegate the scopes.*collector policy gcp"):
        users(gcp)
    assert gcp.each("cloudidentity.googleapis.com", "/v1/policies", "policies", pageSize=100)


def test_a_path_that_no_scope_opens_is_not_asked(wire: Wire) -> None:
    with pytest.raises(Denied, match=r"no Workspace scope for admin\.googleapis\.com/admin/directory/v1/groups"):
        organization_over(wire).each(DIRECTORY, "/admin/directory/v1/groups", "groups")
    with pytest.raises(Denied):
        delegated_scope("cloudidentity.googleapis.com", USERS)
    assert not wire.asked(DIRECTORY)


def test_an_administrator_without_the_right_is_denied(wire: Wire) -> None:
    with pytest.raises(Denied, match="forbidden; let the Workspace administrator's role read it"):
        users(organization_over(wire, Settings(workspace_admin=PERSON)))


def test_a_page_of_the_directory_that_is_of_no_kind_is_no_answer(wire: Wire) -> None:
    wire.on(USERS, (200, {"users": []}))
    with pytest.raises(Unreadable, match="page 1 does not say of what kind it is"):
        users(organization_over(wire))


# --- who pays ---


def test_a_quota_project_pays_for_the_cloud_and_not_for_workspace(wire: Wire) -> None:
    gcp = organization_over(wire, Settings(quota_project="acme-data"))
    gcp.identity()
    users(gcp)
    assert {sent.headers.get("x-goog-user-project") for sent in wire.asked(ASSETS)} == {"acme-data"}
    assert {sent.headers.get("x-goog-user-project") for sent in wire.asked(DIRECTORY)} == {None}


def test_a_quota_project_that_may_not_be_used_says_what_to_grant(wire: Wire) -> None:
    wire.bed.revoke("serviceusage.services.use", "acme-data")
    with pytest.raises(Denied, match=r"grant serviceusage\.services\.use on projects/100000000002"):
        organization_over(wire, Settings(quota_project="acme-data")).identity()


# --- tokens that are no longer good ---


@pytest.mark.parametrize("impersonate", ["", COLLECTOR])
def test_tokens_that_ran_out_are_fetched_anew_once_and_counted(wire: Wire, impersonate: str) -> None:
    settings = Settings(impersonate=impersonate)
    access = access_over(wire, settings)
    before = organization_over(wire, settings, access=access)
    assert len(before.assets(DISK)) + len(users(before)) > 8
    wire.bed.expire_tokens()
    gcp = organization_over(wire, settings, access=access)
    assert gcp.assets(DISK)
    assert users(gcp)
    assert [exchange.attempts for exchange in gcp.transcript.log] == [2, 2]
    signed_in = len(wire.asked(TOKEN)) + len(wire.asked("generateAccessToken"))
    assert users(organization_over(wire, settings, access=access))
    assert len(wire.asked(TOKEN)) + len(wire.asked("generateAccessToken")) == signed_in


def test_a_token_that_is_refused_twice_is_a_denial(wire: Wire) -> None:
    wire.on(LISTED, error(401, "UNAUTHENTICATED", "no", "ACCESS_TOKEN_EXPIRED"))
    with pytest.raises(Denied, match="UNAUTHENTICATED:ACCESS_TOKEN_EXPIRED; look at the collector's credentials"):
        organization_over(wire).assets(DISK)
    assert len(wire.asked(LISTED)) == 2


def test_a_refused_token_costs_one_sign_in_for_all_threads(wire: Wire) -> None:
    gcp = organization_over(wire)
    gcp.identity()
    wire.bed.expire_tokens()
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda n: gcp.get(USAGE, f"/v1/projects/acme-prod/services/a{n}"), range(64)))
    assert len(found) == 64
    assert len(wire.asked(TOKEN)) == 2


# --- the transport as it is used ---


class Server(BaseHTTPRequestHandler):
    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(200)
        self.send_header("Set-Cookie", "session=1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


def test_the_transport_remembers_nothing_and_lets_no_netrc_speak(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Server.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with gcp_access._session() as session:
            for _ in range(2):
                url = f"http://127.0.0.1:{server.server_port}/x"
                session.get(url, headers={"Authorization": "Bearer token"}, timeout=5)
        server.shutdown()
    assert [seen["authorization"] for seen in Server.seen] == ["Bearer token"] * 2
    assert not any("cookie" in seen for seen in Server.seen)


@pytest.mark.parametrize("where", [LISTED, TOKEN])
def test_no_redirect_is_followed_with_or_for_a_token(wire: Wire, where: str) -> None:
    wire.on(where, (302, b"", {"Location": "https://evil.example/x"}))
    with pytest.raises(CannotObserve):
        organization_over(wire).assets(DISK)
    assert not wire.asked("evil")


def test_the_token_leaves_for_no_host_that_is_not_googles(wire: Wire) -> None:
    access = access_over(wire)
    for place in ("https://evil.example", f"http://{ASSETS}", f"https://{ASSETS}.evil.example", f"https://a@{ASSETS}"):
        with pytest.raises(ConfigError, match="was about to leave for"):
            access.send(Call("GET", f"{place}/x"))
    assert not wire.sent
    with pytest.raises(ValueError, match="not a host"):
        url_of("evil.example", "/x")


def test_a_path_and_a_query_are_sent_as_they_are_written() -> None:
    assert url_of(ASSETS, "/v1/a b%") == f"https://{ASSETS}/v1/a%20b%25"
    assert url_of(DIRECTORY, "/x/a@b:c") == f"https://{DIRECTORY}/x/a@b:c"
    with pytest.raises(ValueError, match="no query"):
        url_of(ASSETS, "/x?pageSize=1")
    with pytest.raises(ValueError, match="begins with"):
        url_of(ASSETS, "v1")
    assert wired({"a": True, "b": [1, False], "c": "x"}) == {"a": "true", "b": [1, "false"], "c": "x"}


# --- what an error means ---

LINK = "https://console.developers.google.com/apis/api/admin.googleapis.com/overview?project=123"
LEGACY = {"code": 403, "message": f"Admin SDK API has not been used in project 123 before. {LINK}"}
DENIED = "PERMISSION_DENIED"
NO_PERMISSION = error(403, DENIED, "x", "IAM_PERMISSION_DENIED", permission="a.b.c", resource="projects/p")
OFF = error(403, DENIED, "x", "SERVICE_DISABLED", consumer="projects/1", service="a.googleapis.com")
OFF_LEGACY = (403, {"error": {**LEGACY, "errors": [{"reason": "accessNotConfigured"}]}})
SLOW_LEGACY = (403, {"error": {"code": 403, "message": "slow", "errors": [{"reason": "quotaExceeded"}]}})


@pytest.mark.parametrize(
    ("found", "kind", "words"),
    [
        (NO_PERMISSION, Denied, "PERMISSION_DENIED:IAM_PERMISSION_DENIED; grant a.b.c on projects/p"),
        (error(403, DENIED, "Permission 'a.b.c' denied on resource"), Denied, "; grant a.b.c$"),
        (error(403, DENIED, "The caller does not have permission"), Denied, "; grant the collector's role"),
        (error(403, DENIED, "x", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), Denied, "scope .*cloud-platform"),
        (OFF, Disabled, "gcloud services enable a.googleapis.com --project 1$"),
        (OFF_LEGACY, Disabled, "accessNotConfigured; gcloud services enable admin.googleapis.com --project 123$"),
        (error(403, DENIED, "x", "BILLING_DISABLED"), Disabled, "link the project to a billing account"),
        (SLOW_LEGACY, Throttled, "PERMISSION_DENIED:quotaExceeded"),
        (error(404, "NOT_FOUND", "gone"), Unreadable, "NOT_FOUND"),
        (error(400, "INVALID_ARGUMENT", "bad"), Unreadable, "INVALID_ARGUMENT"),
        (error(501, "UNIMPLEMENTED", "no"), Unavailable, "UNIMPLEMENTED"),
        (error(500, "INTERNAL", "oops"), Unavailable, "INTERNAL"),
        ((503, b"<html>oops</html>"), Unavailable, "HTTP503"),
        ((200, b"<html>sign in</html>"), Unreadable, "NotAnObject"),
        ((200, b'{"services": ['), Unreadable, "NotAnObject"),
        ((200, []), Unreadable, "NotAnObject"),
        ((204, b""), Unreadable, "NotAnObject"),
    ],
)
def test_an_error_is_of_its_kind_live_and_kept(wire: Wire, found: Found, kind: Any, words: str) -> None:
    wire.on("/x$", found)
    gcp = organization_over(wire)
    with pytest.raises(kind, match=words):
        gcp.get(USAGE, "/x")
    assert outcome(lambda: again(gcp).get(USAGE, "/x")) == outcome(lambda: gcp.get(USAGE, "/x"))


def test_an_api_that_is_off_is_disabled_and_says_how_to_enable_it(wire: Wire) -> None:
    wire.bed.revoke("api:cloudasset.googleapis.com")
    gcp = organization_over(wire)
    words = r"gcloud services enable cloudasset\.googleapis\.com --project 100000000001"
    with pytest.raises(Disabled, match=f"PERMISSION_DENIED:SERVICE_DISABLED; {words}"):
        gcp.identity()
    assert outcome(again(gcp).identity) == outcome(gcp.identity)


@pytest.mark.parametrize(
    "trouble",
    [requests.ReadTimeout("slow"), requests.ConnectTimeout("slow"), requests.ConnectionError("reset")],
)
def test_a_network_that_fails_is_unavailable_and_asked_again(wire: Wire, trouble: Exception) -> None:
    wire.on("/x$", trouble)
    slept: list[float] = []
    with pytest.raises(Unavailable):
        organization_over(wire, slept=slept, patience=60).get(USAGE, "/x")
    assert len(wire.asked("/x$")) == 6
    assert len(slept) == 5


def test_an_answer_that_is_cut_off_is_no_answer(wire: Wire) -> None:
    wire.on("/x$", (200, b"{}", {"Content-Length": "5000"}))
    with pytest.raises(Unavailable):
        organization_over(wire).get(USAGE, "/x")


def test_a_status_or_a_reason_that_is_said_to_be_absent_is_no_error(wire: Wire) -> None:
    wire.on("/x$", error(404, "NOT_FOUND", "gone", "projectNotFound"))
    gcp = organization_over(wire)
    assert gcp.get(USAGE, "/x", absent=("NOT_FOUND",)) is None
    assert gcp.get(USAGE, "/x", absent=("projectNotFound",)) is None
    assert gcp.each(USAGE, "/x", "rows", absent=("NOT_FOUND",)) == []
    assert again(gcp).get(USAGE, "/x", absent=("NOT_FOUND",)) is None
    with pytest.raises(Unreadable):
        gcp.get(USAGE, "/x", absent=("NOT",))


def test_a_quota_that_is_used_up_is_waited_for(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp_answers, "QUOTA_SECONDS", 0.3)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.sleep(seconds)
        wire.bed.world.used.clear()  # the minute is over

    wire.bed.set("list_assets_per_minute", 1)
    wire.bed.set("page_size", 4)
    gcp = organization_over(wire, sleep=sleep, patience=60)
    assert len(gcp.assets(DISK)) == len(wire.bed.resources(DISK)) == 8
    assert [exchange.attempts for exchange in gcp.transcript.log] == [1, 2]
    assert sum(slept) >= 0.25


def test_a_quota_beyond_patience_is_throttled(wire: Wire) -> None:
    wire.bed.set("list_assets_per_minute", 0)
    with pytest.raises(Throttled, match="RESOURCE_EXHAUSTED:RATE_LIMIT_EXCEEDED"):
        organization_over(wire, patience=5).assets(DISK)
    assert len(wire.asked(LISTED)) == 1


# --- listings ---


def test_every_page_is_read_and_read_again_from_what_was_kept(wire: Wire) -> None:
    whole = organization_over(wire).assets(DISK)
    wire.bed.set("page_size", 3)
    gcp = organization_over(wire)
    assert gcp.assets(DISK) == whole == again(gcp).assets(DISK)
    assert len(whole) == 8
    pages = [(exchange.page, exchange.last) for exchange in gcp.transcript.log]
    assert pages == [(1, False), (2, False), (3, True)]
    assert {exchange.as_of for exchange in gcp.transcript.log} == {"2026-01-05T12:00:00.000Z"}
    assert b"nextPageToken" not in b"".join(gcp.transcript.body(e.body) for e in gcp.transcript.log)
    sent = wire.asked(LISTED)[1]
    assert sent.query == {"assetTypes": [DISK], "contentType": ["RESOURCE"], "pageSize": ["1000"]}


def test_one_listing_serves_all_projects_checks_and_readers(wire: Wire) -> None:
    wire.bed.set("page_size", 3)
    gcp = organization_over(wire)
    found = {project: gcp.within(project).assets(DISK) for project in gcp.parts()}
    assert sorted(a["name"] for rows in found.values() for a in rows) == sorted(wire.bed.resources(DISK))
    assert all(f"/projects/{project}/" in a["name"] for project, rows in found.items() for a in rows)
    reads = []
    for handle in (gcp.within("acme-data"), gcp.within("acme-data"), gcp.within("acme-prod")):
        with reading() as read:
            handle.assets(DISK)
        reads.append(set(read))
    assert reads[0] == reads[1] == reads[2]
    assert len(reads[0]) == 3 + 2 + 1 + 2  # disks, projects and folders there, projects of Resource Manager
    assert Counter(sent.query["assetTypes"][0] for sent in wire.asked(LISTED))[DISK] == 3
    kept = again(gcp)
    assert {project: kept.within(project).assets(DISK) for project in kept.parts()} == found


def test_policies_and_inventories_come_with_their_content(wire: Wire) -> None:
    gcp = organization_over(wire)
    (prod,) = gcp.within("acme-prod").policies(f"{MANAGER}/Project")
    assert prod["iamPolicy"]["bindings"]
    machines = gcp.os_inventories()
    assert machines
    assert all("osInventory" in each and "resource" not in each for each in machines)
    assert all("updateTime" in each["osInventory"] and "items" not in each["osInventory"] for each in machines)
    page = gcp.transcript.body(gcp.transcript.log[-1].body)
    assert b"installedPackage-" in page  # what is left out of the memory is in the evidence
    assert wire.asked(LISTED)[-1].query["pageSize"] == ["25"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda page: page.pop("readTime"), "page 1 does not say of when it is"),
        (lambda page: page.update(assets={}), "has no list assets"),
        (lambda page: page.update(assets=[1]), "not every item of assets is an object"),
        (lambda page: page["assets"][0].pop("ancestors"), "does not say what it is below"),
        (lambda page: page["assets"][0].update(ancestors=[]), "does not say what it is below"),
        (lambda page: page["assets"][0].pop("name"), "has no name"),
        (lambda page: page["assets"][0].update(ancestors=["organizations/9"]), "says that it is not"),
        (lambda page: page["assets"][0].update(assetType="x.googleapis.com/Y"), "was listed as"),
        (lambda page: page["assets"].append(page["assets"][0]), "twice"),
        (lambda page: page.update(nextPageToken=7), "NoToken"),
    ],
)
def test_a_listing_that_contradicts_itself_is_refused(wire: Wire, change: Any, words: str) -> None:
    wire.altered(LISTED, change)
    gcp = organization_over(wire)
    with pytest.raises(Unreadable, match=words):
        gcp.assets(DISK)
    assert outcome(lambda: again(gcp).assets(DISK)) == outcome(lambda: gcp.assets(DISK))


@pytest.mark.parametrize("loop", [1, 2])
def test_a_listing_that_goes_in_circles_ends(wire: Wire, loop: int) -> None:
    served: Iterator[str] = iter([f"token-{n}" for n in range(loop)] * 10)
    wire.on("/x$", lambda _: (200, {"rows": [{"n": 1}], "nextPageToken": next(served)}))
    gcp = organization_over(wire)
    with pytest.raises(Unreadable, match="RepeatedToken"):
        gcp.each(USAGE, "/x", "rows")
    assert outcome(lambda: again(gcp).each(USAGE, "/x", "rows")) == outcome(lambda: gcp.each(USAGE, "/x", "rows"))
    assert len(wire.asked("/x$")) == loop + 1


@pytest.mark.parametrize("name", gcp.PARTIAL)
def test_a_listing_that_says_it_is_not_whole_is_no_answer(wire: Wire, name: str) -> None:
    wire.on("/x$", (200, {"rows": [], name: ["projects/p/locations/z"]}))
    with pytest.raises(Unavailable, match=f"page 1 at {USAGE} is not whole: it names {name}"):
        organization_over(wire).each(USAGE, "/x", "rows")


def test_an_empty_list_is_left_out_and_anything_else_in_its_place_is_no_list(wire: Wire) -> None:
    wire.on("/x$", (200, {}))
    wire.on("/y$", (200, {"rows": None}))
    gcp = organization_over(wire)
    assert gcp.each(USAGE, "/x", "rows") == []
    with pytest.raises(Unreadable, match="has no list rows"):
        gcp.each(USAGE, "/y", "rows")


def test_one_answer_that_has_more_pages_is_refused(wire: Wire) -> None:
    wire.on("/x$", (200, {"rows": [], "nextPageToken": "more"}))
    gcp = organization_over(wire)
    with pytest.raises(Unreadable, match="must use each"):
        gcp.get(USAGE, "/x")
    with pytest.raises(Unreadable, match="must use each"):
        again(gcp).get(USAGE, "/x")


def test_a_failure_on_a_later_page_fails_the_listing_whatever_is_absent(wire: Wire) -> None:
    first = (200, {"rows": [{}], "nextPageToken": "t"})
    wire.on("/x$", lambda sent: error(404, "NOT_FOUND", "") if "pageToken" in sent.query else first)
    with pytest.raises(Unreadable, match="page 2"):
        organization_over(wire).each(USAGE, "/x", "rows", absent=("NOT_FOUND",))


def test_who_gets_no_listing_has_read_what_it_failed_over(wire: Wire) -> None:
    wire.bed.set("page_size", 2)
    wire.on(LISTED, lambda sent: error(403, DENIED, "no") if "pageToken" in sent.query else None)
    gcp = organization_over(wire)
    for _ in range(2):
        with reading() as read, pytest.raises(Denied, match="page 2"):
            gcp.assets(DISK)
        assert len(read) == 2


def test_a_kept_transcript_answers_what_was_asked_and_refuses_the_rest(wire: Wire) -> None:
    gcp = organization_over(wire)
    gcp.parts()
    assert again(gcp).parts() == gcp.parts()
    for ask in (again(gcp).identity, lambda: again(gcp).assets(DISK), lambda: users(again(gcp))):
        with pytest.raises(NeverAsked):
            ask()


# --- projects ---


def test_projects_are_those_that_are_active_and_it_is_said_which_others_there_are(wire: Wire) -> None:
    gcp = organization_over(wire)
    assert gcp.parts() == ["acme-data", "acme-prod", "acme-sandbox"]
    left = gcp.left_out()
    assert list(left.values()) == ["is DELETE_REQUESTED"]
    assert again(gcp).left_out() == left
    assert gcp.within("acme-data").number == "100000000002"
    (gone,) = left
    with pytest.raises(Disabled, match=f"project {gone} is DELETE_REQUESTED; take it out"):
        gcp.within(gone).assets(DISK)


def test_no_project_at_all_is_a_missing_right_and_no_empty_organisation(wire: Wire) -> None:
    wire.on(SEARCH, (200, {}))
    wire.altered(LISTED, lambda page: page.pop("assets"))
    with pytest.raises(Denied, match=f"{PARENT} shows no active project to these credentials; grant"):
        organization_over(wire).parts()


def test_a_project_that_only_the_inventory_shows_is_not_judged(wire: Wire) -> None:
    wire.bed.revoke("resourcemanager.projects.get", "acme-data")
    gcp = organization_over(wire)
    assert "acme-data" in gcp.parts()
    with pytest.raises(Denied, match=r"does not show project acme-data .*grant resourcemanager\.projects\.get"):
        gcp.within("acme-data").assets(DISK)
    assert gcp.within("acme-prod").assets(DISK)
    kept = again(gcp).within("acme-data")
    assert outcome(lambda: kept.assets(DISK)) == outcome(lambda: gcp.within("acme-data").assets(DISK))


def test_a_project_that_the_inventory_does_not_show_yet_is_not_judged(wire: Wire) -> None:
    def without(page: dict[str, Any]) -> None:
        page["assets"] = [row for row in page["assets"] if "100000000003" not in row["name"]]

    wire.altered(LISTED, without, type=f"{MANAGER}/Project")
    gcp = organization_over(wire)
    assert "acme-sandbox" in gcp.parts()
    with pytest.raises(Unavailable, match="does not show project acme-sandbox as active; a new one takes"):
        gcp.within("acme-sandbox").assets(DISK)


def test_a_project_with_two_numbers_is_refused(wire: Wire) -> None:
    wire.altered(SEARCH, lambda page: page["projects"][0].update(name="projects/7"))
    with pytest.raises(Unreadable, match="has two numbers"):
        organization_over(wire).parts()


def test_named_projects_stay_when_they_are_gone_and_their_runs_are_refused(wire: Wire) -> None:
    settings = Settings(projects=("acme-prod", "acme-gone"))
    gcp = organization_over(wire, settings)
    assert gcp.parts() == ["acme-gone", "acme-prod"] == again(gcp, settings).parts()
    with pytest.raises(Denied, match="shows no project 'acme-gone'"):
        gcp.within("acme-gone").assets(DISK)


def test_projects_of_other_organisations_are_not_ours(wire: Wire) -> None:
    stranger = {"name": "projects/9", "projectId": "elsewhere", "parent": "organizations/9", "state": "ACTIVE"}
    wire.altered(SEARCH, lambda page: page["projects"].append(stranger))
    gcp = organization_over(wire)
    assert "elsewhere" not in gcp.parts()
    assert "elsewhere" not in gcp.left_out()


@pytest.mark.parametrize(
    ("parent", "parts"),
    [("folders/845720196331", ["acme-data", "acme-prod"]), ("projects/acme-data", ["acme-data"])],
)
def test_a_folder_or_a_project_may_be_all_that_is_observed(wire: Wire, parent: str, parts: list[str]) -> None:
    settings = Settings(parent=parent)
    gcp = organization_over(wire, settings)
    assert gcp.identity() == COLLECTOR
    assert gcp.parts() == parts
    assert {part: len(gcp.within(part).assets(DISK)) for part in parts} == {
        part: sum(f"/projects/{part}/" in name for name in wire.bed.resources(DISK)) for part in parts
    }
    assert again(gcp, settings).parts() == parts


# --- everything, again ---


def test_every_check_says_the_same_over_what_was_kept(wire: Wire) -> None:
    gcp = organization_over(wire)
    gcp.identity()

    def runs(handle: Any) -> list[Any]:
        tasks = [
            Task(item.check, Scope("gcp", gcp.organization, part), handle.within(part) if part else handle)
            for item in registry.load([checks])
            if item.check.cloud == "gcp"
            for part in (handle.parts() if item.check.parted else [""])
        ]
        return [replace(run, started=NOW, finished=NOW) for run in collect(tasks, lambda: NOW)]

    live = runs(gcp)
    asked = len(wire.sent)
    kept = runs(again(gcp))
    assert len(wire.sent) == asked
    assert sum(run.population or 0 for run in live) > 100
    for one, other in zip(live, kept, strict=True):
        assert [o.facts for o in one.observations] == [o.facts for o in other.observations]
        assert [set(o.exchanges) for o in one.observations] == [set(o.exchanges) for o in other.observations]
        assert one.counts() == other.counts()
