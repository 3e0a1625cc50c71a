"""An Entra tenant over real azure-core pipelines and a wire of bytes: what becomes an answer, what is never sent."""

from __future__ import annotations

import base64
import io
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import urllib3
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest

from collector import canonical
from collector.clouds import azure, azure_access
from collector.clouds.azure import Tenant
from collector.clouds.azure_answers import HOSTS, Answers, next_url, url_of
from collector.clouds.rest import Edge, Paces
from collector.clouds.transcript import Transcript, reading
from collector.errors import ConfigError, Denied, Disabled, NeverAsked, Throttled, Unavailable, Unreadable

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TENANT = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"
APP = "aaaaaaaa-2222-4333-8444-555555555555"
OBJECT = "bbbbbbbb-2222-4333-8444-555555555555"
ONE = "00000000-0000-4000-8000-000000000001"
TWO = "00000000-0000-4000-8000-000000000002"
DISKS = "microsoft.compute/disks"
ARM = "management.azure.com"
GRAPH = "graph.microsoft.com"
AUTHORITY = "login.microsoftonline.com"


@dataclass(frozen=True)
class Settings:
    tenant: str = TENANT
    cloud: str = "public"
    credential: str = "client-secret"
    client_id: str = APP
    certificate_file: Path | None = None
    subscriptions: tuple[str, ...] = ()
    management_group: str = ""


@dataclass(frozen=True)
class Sent:
    method: str
    host: str
    path: str
    query: dict[str, str]
    body: Any
    token: str
    headers: Any


Found = tuple[int, Any] | tuple[int, Any, dict[str, str]] | Exception


class Wire(requests.adapters.BaseAdapter):
    """Stands where the socket is: takes the bytes that azure-core is about to send, and answers with bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self.routes: list[tuple[str, Callable[[Sent], Found]]] = []
        self.tokens = 0
        self.claims: dict[str, Any] = {"tid": TENANT, "appid": APP, "oid": OBJECT, "idtyp": "app"}
        self.subscriptions = [
            {"subscriptionId": id, "tenantId": TENANT, "displayName": id[-1], "state": "Enabled"} for id in (ONE, TWO)
        ]
        self.actions = {ONE: ["*/read"], TWO: ["*/read"]}
        self.rows: list[dict[str, Any]] = []
        self.containers = [ONE, TWO]
        self.page_size = 1000
        self.lock = threading.Lock()

    def on(self, what: str, answer: Callable[[Sent], Found] | Found) -> None:
        """From now on this is the answer to a "METHOD host/path" that the regular expression is in."""
        self.routes.insert(0, (what, answer if callable(answer) else lambda _: answer))

    def asked(self, what: str) -> list[Sent]:
        return [sent for sent in self.sent if re.search(what, f"{sent.method} {sent.host}{sent.path}")]

    def send(self, request: Any, *_: Any, **__: Any) -> requests.Response:
        url = urlsplit(request.url)
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        text = request.body.decode() if isinstance(request.body, bytes) else request.body
        body = json.loads(text) if text and text.startswith("{") else parse_qs(text or "")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        sent = Sent(request.method, url.netloc, url.path, query, body, token, request.headers)
        with self.lock:
            self.sent.append(sent)
        found = self._answer(sent)
        if isinstance(found, Exception):
            raise found
        status, body, *more = found
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        headers |= {"Date": "Mon, 05 Jan 2026 12:00:00 GMT", "x-ms-request-id": f"request-{len(self.sent)}"}
        headers |= more[0] if more else {}
        response = requests.Response()
        response.status_code, response.url, response.request = status, request.url, request
        response.headers.update(headers)
        response.raw = urllib3.HTTPResponse(io.BytesIO(data), headers, status, preload_content=False)
        return response

    def close(self) -> None: ...

    def _answer(self, sent: Sent) -> Found:
        where = f"{sent.method} {sent.host}{sent.path}"
        for pattern, answer in self.routes:
            if re.search(pattern, where):
                return answer(sent)
        if sent.host.startswith("login."):
            return self._entra(sent)
        assert sent.token, f"{where} without a token"
        if sent.path == "/tenants":
            return 200, {"value": [{"id": f"/tenants/{TENANT}", "tenantId": TENANT}]}
        if sent.path == "/subscriptions":
            return 200, {"value": self.subscriptions}
        if found := re.fullmatch(r"/subscriptions/([^/]+)/providers/Microsoft.Authorization/permissions", sent.path):
            return 200, {"value": [{"actions": self.actions[found[1]], "notActions": []}]}
        if sent.path == azure.RESOURCE_GRAPH:
            return self.resource_graph(sent)
        return 404, {"error": {"code": "ResourceNotFound", "message": f"no {where}"}}

    def _entra(self, sent: Sent) -> Found:
        base = f"https://{sent.host}/{TENANT}"
        if sent.path.endswith("/openid-configuration"):
            return 200, {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "issuer": f"{base}/v2.0",
            }
        if sent.path == "/common/discovery/instance":
            return 200, {"tenant_discovery_endpoint": f"{base}/v2.0/.well-known/openid-configuration", "metadata": []}
        return 200, {"token_type": "Bearer", "expires_in": 3599, "access_token": self.token()}

    def token(self) -> str:
        with self.lock:
            self.tokens += 1
            number = self.tokens
        claims = base64.urlsafe_b64encode(json.dumps({**self.claims, "jti": number}).encode()).rstrip(b"=").decode()
        return f"e30.{claims}.signature-{number}"

    def resource_graph(self, sent: Sent) -> Found:
        query = sent.body["query"]
        if query.startswith("resourcecontainers"):
            rows = [{"id": f"/subscriptions/{id}", "subscriptionId": id} for id in self.containers]
        else:
            rows = [row for row in self.rows if f"'{row['type']}'" in query]
        start = int(sent.body["options"].get("$skipToken") or 0)
        page = rows[start : start + self.page_size]
        more = start + self.page_size < len(rows)
        token = {"$skipToken": str(start + self.page_size)} if more else {}
        answer = {"totalRecords": len(rows), "count": len(page), "data": page, "facets": []}
        return 200, {**answer, "resultTruncated": str(more).lower(), **token}


@pytest.fixture
def wire() -> Wire:
    return Wire()


def transport_over(wire: Wire) -> RequestsTransport:
    session = requests.Session()
    session.mount("https://", wire)
    session.mount("http://", wire)
    return RequestsTransport(session=session, session_owner=False)


def access_over(wire: Wire, settings: Settings | None = None) -> azure_access.Access:
    return azure_access.Access(settings or Settings(), secret="simulated-not-a-secret", transport=transport_over(wire))


def tenant_over(
    wire: Wire,
    settings: Settings | None = None,
    *,
    access: azure_access.Access | None = None,
    slept: list[float] | None = None,
    patience: float = 5,
    sleep: Callable[[float], None] | None = None,
) -> Tenant:
    settings = settings or Settings()
    pauses = slept if slept is not None else []
    edge = Edge(
        Answers((access or access_over(wire, settings)).send),
        settings.tenant,
        Paces(),
        lambda: NOW,
        sleep or pauses.append,
        patience,
        chance=random.Random(1),
    )
    return azure.opened(settings, Transcript(), NOW, edge.put)


def again(tenant: Tenant, settings: Settings | None = None) -> Tenant:
    """The same tenant over the kept transcript, without a network."""
    settings = settings or Settings()
    kept = Transcript.kept(tenant.transcript.call_log(), tenant.transcript.body)
    record = {"cloud": settings.cloud, "subscriptions": list(settings.subscriptions)}
    return azure.kept(settings.tenant, kept, NOW, {**record, "management_group": settings.management_group})


def row(subscription: str, name: str, type: str = DISKS) -> dict[str, Any]:
    id = f"/subscriptions/{subscription}/resourceGroups/rg/providers/{type}/{name}"
    return {"id": id, "name": name, "type": type, "subscriptionId": subscription, "properties": {"size": 1}}


def outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:
        return type(error), str(error)


# --- who asks ---


def test_the_application_of_the_token_and_the_tenant_of_azure_are_who_asks(wire: Wire) -> None:
    tenant = tenant_over(wire)
    assert tenant.identity() == f"{APP}@{TENANT}"
    assert again(tenant).identity() == f"{APP}@{TENANT}"


def test_neither_token_nor_signature_is_kept(wire: Wire) -> None:
    tenant = tenant_over(wire)
    tenant.identity()
    kept = b"".join(tenant.transcript.body(e.body) for e in tenant.transcript.log) + tenant.transcript.call_log()
    assert b"signature" not in kept
    assert b"simulated-not-a-secret" not in kept
    (claims,) = (e for e in tenant.transcript.log if e.operation == "token claims")
    assert canonical.parse(tenant.transcript.body(claims.body)) == wire.claims


def test_a_person_is_named_by_the_object_and_not_by_the_program_used(wire: Wire) -> None:
    wire.claims = {"tid": TENANT, "appid": APP, "oid": OBJECT, "scp": "user_impersonation"}
    assert tenant_over(wire).identity() == f"{OBJECT}@{TENANT}"


def test_credentials_of_another_tenant_are_refused(wire: Wire) -> None:
    wire.claims["tid"] = OTHER
    tenant = tenant_over(wire)
    with pytest.raises(Denied, match=f"of tenant {OTHER}, not {TENANT}"):
        tenant.identity()
    assert outcome(again(tenant).identity) == outcome(tenant.identity)


def test_a_tenant_that_azure_does_not_list_is_refused_whatever_the_token_says(wire: Wire) -> None:
    wire.on("/tenants$", (200, {"value": [{"tenantId": OTHER}]}))
    tenant = tenant_over(wire)
    with pytest.raises(Denied, match="does not list tenant"):
        tenant.identity()
    assert outcome(again(tenant).identity) == outcome(tenant.identity)


def test_a_token_that_does_not_say_whose_it_is_is_no_identity(wire: Wire) -> None:
    wire.on("oauth2/v2.0/token", (200, {"token_type": "Bearer", "expires_in": 3599, "access_token": "opaque"}))
    with pytest.raises(Unreadable, match="no JSON web token"):
        tenant_over(wire).identity()


def test_a_wrong_secret_is_denied_in_entras_words_without_what_differs_each_time(wire: Wire) -> None:
    words = "AADSTS7000215: Invalid client secret provided. Trace ID: 1 Correlation ID: 2 Timestamp: 2026"
    wire.on("oauth2/v2.0/token", (401, {"error": "invalid_client", "error_description": words}))
    tenant = tenant_over(wire)
    with pytest.raises(Denied, match=r"AADSTS7000215: Invalid client secret provided\.; look at") as caught:
        tenant.parts()
    assert "Trace" not in str(caught.value)
    assert outcome(again(tenant).parts) == outcome(tenant.parts)


def test_entra_out_of_order_is_not_a_denial(wire: Wire) -> None:
    wire.on("oauth2/v2.0/token", (503, {}))
    with pytest.raises(Unavailable, match="Entra failed"):
        tenant_over(wire).parts()


@pytest.mark.parametrize("credential", ["", "environment", "client-secret"])
@pytest.mark.parametrize(
    ("status", "code", "kind"), [(429, 90055, Throttled), (400, 90024, Throttled), (400, 90033, Unavailable)]
)
def test_entra_that_is_busy_is_not_a_denial(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, credential: str, status: int, code: int, kind: type[Exception]
) -> None:
    for name, value in {"TENANT_ID": TENANT, "CLIENT_ID": APP, "CLIENT_SECRET": "simulated-not-a-secret"}.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    words = f"AADSTS{code}: The service is temporarily unavailable. Please retry later."
    wire.on("oauth2/v2.0/token", (status, {"error": "temporarily_unavailable", "error_description": words}))
    with pytest.raises(kind):
        tenant_over(wire, Settings(credential=credential)).parts()


def test_one_token_serves_all_threads_and_all_runs(wire: Wire) -> None:
    access = access_over(wire)
    for _ in range(2):
        tenant = tenant_over(wire, access=access)
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda n: outcome(lambda: tenant.get(f"/a/{n}", api="1")), range(64)))  # noqa: B023
    assert len(wire.asked("POST .*oauth2/v2.0/token")) == 1


# --- ways to get credentials ---


def test_a_managed_identity_needs_no_secret(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    token = {"access_token": wire.token(), "expires_in": "86399", "token_type": "Bearer", "resource": "r"}
    wire.on("GET 127.0.0.1:9/metadata/identity/oauth2/token", (200, token))
    tenant = tenant_over(wire, Settings(credential="managed-identity", client_id=""))
    assert tenant.identity() == f"{APP}@{TENANT}"
    (asked,) = wire.asked("metadata/identity")
    assert asked.query["resource"] == "https://management.azure.com"
    assert asked.headers["Metadata"] == "true"


def test_a_workload_identity_exchanges_the_token_of_its_file(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("the-token-of-the-cluster")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    assert tenant_over(wire, Settings(credential="workload-identity")).identity() == f"{APP}@{TENANT}"
    (asked,) = wire.asked("oauth2/v2.0/token")
    assert asked.body["client_assertion"] == ["the-token-of-the-cluster"]


def test_without_a_choice_the_environment_comes_first(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", APP)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "simulated-not-a-secret")
    assert tenant_over(wire, Settings(credential="", client_id="")).identity() == f"{APP}@{TENANT}"
    (asked,) = wire.asked("oauth2/v2.0/token")
    assert asked.body["client_secret"] == ["simulated-not-a-secret"]


def test_without_a_choice_a_failure_of_the_environments_sign_in_keeps_its_kind(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", APP)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "simulated-not-a-secret")
    wire.on("oauth2/v2.0/token", requests.exceptions.ConnectionError("reset"))
    with pytest.raises(Unavailable):
        tenant_over(wire, Settings(credential="", client_id="")).parts()


def test_without_any_credential_what_was_tried_is_said(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "")  # no az either
    wire.on("GET 169.254.169.254/", requests.exceptions.ConnectTimeout("nobody there"))
    with pytest.raises(
        Denied, match=r"none \(EnvironmentCredential .*; ManagedIdentityCredential .*; Azure CLI not found"
    ) as caught:
        tenant_over(wire, Settings(credential="", client_id="")).parts()
    assert "look at the tenant's credential" in str(caught.value)


def test_a_certificate_that_is_none_is_an_error_of_the_configuration(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("not a certificate")
    with pytest.raises(ConfigError, match="client-certificate"):
        access_over(wire, Settings(credential="client-certificate", certificate_file=tmp_path / "cert.pem"))


def test_a_certificate_signs_the_collector_in(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_bytes(certificate())
    settings = Settings(credential="client-certificate", certificate_file=tmp_path / "cert.pem")
    assert tenant_over(wire, settings).identity() == f"{APP}@{TENANT}"
    (asked,) = wire.asked("oauth2/v2.0/token")
    assert asked.body["client_assertion"][0].count(".") == 2


def certificate() -> bytes:
    """A self-signed certificate with its key, as PEM."""
    from datetime import timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "collector")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    made = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + made.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("cloud", "scope"),
    [
        ("public", "https://management.azure.com/.default"),
        ("usgovernment", "https://management.core.usgovcloudapi.net/.default"),
        ("china", "https://management.chinacloudapi.cn/.default"),
    ],
)
def test_a_national_cloud_has_hosts_and_an_authority_of_its_own(wire: Wire, cloud: str, scope: str) -> None:
    settings, hosts = Settings(cloud=cloud), HOSTS[cloud]
    wire.on(f"{hosts.graph}/v1.0/policies/x", (200, {"id": "x"}))
    tenant = tenant_over(wire, settings)
    assert tenant.parts() == [ONE, TWO]
    assert tenant.graph("/policies/x") == {"id": "x"}
    signed_in = wire.asked("oauth2/v2.0/token")
    assert [sent.body["scope"] for sent in signed_in] == [[scope], [f"https://{hosts.graph}/.default"]]
    assert {sent.host for sent in wire.sent} <= {hosts.arm, hosts.graph, hosts.authority, AUTHORITY}
    assert all(sent.host == hosts.authority for sent in signed_in)
    assert again(tenant, settings).parts() == [ONE, TWO]


# --- the transport as it is used ---


class Server(BaseHTTPRequestHandler):
    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.send_header("Set-Cookie", "session=1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


def test_the_transport_follows_nothing_remembers_nothing_and_lets_no_netrc_speak(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Server.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        transport = azure_access._transport()
        for _ in range(2):
            url = f"http://127.0.0.1:{server.server_port}/x"
            response = transport.send(HttpRequest("GET", url, headers={"Authorization": "Bearer token"}))
            assert response.status_code == 302
        transport.session.close()
        server.shutdown()
    assert [seen["authorization"] for seen in Server.seen] == ["Bearer token"] * 2
    assert not any("cookie" in seen for seen in Server.seen)


# --- tokens that are no longer good ---


def test_a_token_that_ran_out_is_fetched_anew_once_and_counted(wire: Wire) -> None:
    error = {"error": {"code": "ExpiredAuthenticationToken", "message": "The access token expiry UTC time is earlier"}}
    good: Callable[[Sent], Found] = lambda sent: (200, {"value": []}) if "-2" in sent.token else (401, error)  # noqa: E731
    wire.on(r"GET management\.azure\.com/things", good)
    tenant = tenant_over(wire)
    assert tenant.each("/things", api="1") == []
    assert len(wire.asked("oauth2/v2.0/token")) == 2
    assert [exchange.attempts for exchange in tenant.transcript.log] == [2]


def test_a_token_that_is_refused_twice_is_a_denial(wire: Wire) -> None:
    wire.on("/things", (401, {"error": {"code": "InvalidAuthenticationToken", "message": "no"}}))
    tenant = tenant_over(wire)
    with pytest.raises(Denied, match="InvalidAuthenticationToken; look at the collector's credentials"):
        tenant.get("/things", api="1")
    assert len(wire.asked("/things")) == 2


def test_a_claims_challenge_that_entra_refuses_is_a_denial(wire: Wire) -> None:
    header = {"WWW-Authenticate": 'Bearer realm="", error="insufficient_claims", claims="e30="'}
    wire.on("/things", (401, {"error": {"code": "TokenRevoked"}}, header))
    refusal = (400, {"error": "invalid_grant", "error_description": "AADSTS50173: revoked"})
    wire.on("oauth2/v2.0/token", lambda sent: refusal if len(wire.asked("/things")) else wire._entra(sent))
    with pytest.raises(Denied, match="AADSTS50173"):
        tenant_over(wire).each("/things", api="1")


def test_a_claims_challenge_is_answered_with_a_token_that_has_them(wire: Wire) -> None:
    claims = json.dumps({"access_token": {"nbf": {"essential": True, "value": "1700000000"}}})
    encoded = base64.b64encode(claims.encode()).decode()
    header = {"WWW-Authenticate": f'Bearer realm="", error="insufficient_claims", claims="{encoded}"'}
    error = {"error": {"code": "TokenRevoked", "message": "policy"}}
    wire.on("/things", lambda sent: (200, {"value": []}) if "-2" in sent.token else (401, error, header))
    tenant = tenant_over(wire)
    assert tenant.each("/things", api="1") == []
    challenged = wire.asked("oauth2/v2.0/token")[-1]
    assert "nbf" in challenged.body["claims"][0]
    assert "CP1" in challenged.body["claims"][0]


def test_a_refused_token_costs_one_sign_in_for_all_threads(wire: Wire) -> None:
    access = access_over(wire)
    tenant = tenant_over(wire, access=access)
    assert tenant.each("/tenants", api="1")
    wire.on("/things", lambda sent: (200, {"value": []}) if "-2" in sent.token else (401, {"error": {"code": "X"}}))
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(lambda n: tenant.each(f"/things/{n}", api="1"), range(64))) == [[]] * 64
    assert len(wire.asked("oauth2/v2.0/token")) == 2


# --- what an error means ---


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (403, {"error": {"code": "AuthorizationFailed", "message": "no"}}, Denied, "AuthorizationFailed; assign"),
        (
            403,
            {"error": {"code": "Authentication_RequestFromNonPremiumTenantOrB2CTenant", "message": "Neither"}},
            Disabled,
            "not available: needs Entra ID P1",
        ),
        (409, {"error": {"code": "MissingSubscriptionRegistration"}}, Disabled, "az provider register"),
        (404, {"error": {"code": "Subscription Not Registered"}}, Disabled, "az provider register"),
        (404, {"error": {"code": "ResourceNotFound", "message": "gone"}}, Unreadable, "ResourceNotFound"),
        (400, {"Code": "BadThing", "Message": "flat"}, Unreadable, "BadThing"),
        (500, b"<html>oops</html>", Unavailable, "HTTP500"),
        (200, b"<html>sign in</html>", Unreadable, "NotAnObject"),
        (200, b'{"value": [', Unreadable, "NotAnObject"),
        (200, [], Unreadable, "NotAnObject"),
        (204, b"", Unreadable, "NotAnObject"),
        (302, b"", Unreadable, "HTTP302"),
    ],
)
def test_an_error_is_of_its_kind_live_and_kept(
    wire: Wire, status: int, body: Any, error: type[Exception], words: str
) -> None:
    wire.on("/x$", (status, body, {"Location": "https://evil.example/x"}))
    tenant = tenant_over(wire)
    with pytest.raises(error, match=words):
        tenant.get("/x", api="1")
    assert outcome(lambda: again(tenant).get("/x", api="1")) == outcome(lambda: tenant.get("/x", api="1"))
    assert not wire.asked("evil")


@pytest.mark.parametrize(
    "trouble",
    [
        requests.exceptions.ReadTimeout("slow"),
        requests.exceptions.ConnectTimeout("slow"),
        requests.exceptions.ConnectionError("reset"),
    ],
)
def test_a_network_that_fails_is_unavailable_and_asked_again(wire: Wire, trouble: Exception) -> None:
    wire.on("/x$", trouble)
    slept: list[float] = []
    with pytest.raises(Unavailable):
        tenant_over(wire, slept=slept, patience=60).get("/x", api="1")
    assert len(wire.asked("/x$")) == 6
    assert len(slept) == 5


def test_an_answer_that_is_cut_off_is_no_answer(wire: Wire) -> None:
    wire.on("/x$", (200, b'{"value": []}', {"Content-Length": "5000"}))
    with pytest.raises(Unavailable):
        tenant_over(wire).get("/x", api="1")


def test_a_code_that_is_said_to_be_absent_is_no_error(wire: Wire) -> None:
    tenant = tenant_over(wire)
    assert tenant.get("/nothing", api="1", absent=("ResourceNotFound",)) is None
    assert tenant.each("/nothing", api="1", absent=("ResourceNotFound",)) == []
    assert tenant.graph("/nothing", absent=("ResourceNotFound",)) is None
    assert tenant.graph_each("/nothing", absent=("ResourceNotFound",)) == []
    assert again(tenant).get("/nothing", api="1", absent=("ResourceNotFound",)) is None


def test_a_retry_after_is_honoured_by_all_who_share_the_quota(wire: Wire) -> None:
    answers: Iterator[Found] = iter([(429, {"error": {"code": "TooManyRequests"}}, {"Retry-After": "2"}), (200, {})])
    wire.on("/x$", lambda _: next(answers))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.sleep(seconds)

    assert tenant_over(wire, sleep=sleep).get("/x", api="1") == {}
    assert 1 < sum(slept) < 3


def test_a_retry_after_beyond_patience_is_throttled(wire: Wire) -> None:
    wire.on("/x$", (429, {"error": {"code": "TooManyRequests"}}, {"Retry-After": "30"}))
    with pytest.raises(Throttled):
        tenant_over(wire).get("/x", api="1")
    assert len(wire.asked("/x$")) == 1


def test_the_quota_of_resource_graph_is_waited_for_before_it_is_used_up() -> None:
    answers = Answers(lambda _: pytest.fail("nothing is sent"))
    left = {"x-ms-user-quota-remaining": "0", "x-ms-user-quota-resets-after": "00:00:05"}
    assert answers.allowance(left) == 5
    assert answers.allowance({**left, "x-ms-user-quota-remaining": "3"}) == 0
    assert answers.allowance({**left, "x-ms-user-quota-resets-after": "24:00:00"}) == 60
    assert answers.allowance({}) == 0


# --- listings ---


def test_every_page_is_read_and_read_again_from_what_was_kept(wire: Wire) -> None:
    def page(sent: Sent) -> Found:
        number = int(sent.query.get("$skiptoken", 0))
        more = {"nextLink": f"https://{ARM}:443/list?api-version=1&$skiptoken={number + 1}"} if number < 3 else {}
        return 200, {"value": [{"n": number}], **more}

    wire.on("/list$", page)
    tenant = tenant_over(wire)
    wanted = [{"n": number} for number in range(4)]
    assert tenant.each("/list", api="1", filter="a eq 'b'") == wanted
    assert again(tenant).each("/list", api="1", filter="a eq 'b'") == wanted
    assert wire.asked("/list$")[0].query == {"api-version": "1", "$filter": "a eq 'b'"}
    assert [(e.page, e.last) for e in tenant.transcript.log] == [(1, False), (2, False), (3, False), (4, True)]
    assert b"skiptoken" not in b"".join(tenant.transcript.body(e.body) for e in tenant.transcript.log)


def test_graph_pages_are_followed_by_their_own_links(wire: Wire) -> None:
    link = f"https://{GRAPH}/v1.0/users?$select=id&$skiptoken=x%2B1"
    wire.on("/v1.0/users$", lambda s: (200, {"value": [{"n": 2}]} if "$skiptoken" in s.query else two(link)))
    tenant = tenant_over(wire)
    assert tenant.graph_each("/users", select="id", top=999) == [{"n": 1}, {"n": 2}]
    first, second = wire.asked("/v1.0/users$")
    assert first.query == {"$select": "id", "$top": "999"}
    assert second.query["$skiptoken"] == "x+1"
    assert again(tenant).graph_each("/users", select="id", top=999) == [{"n": 1}, {"n": 2}]


def two(link: str) -> dict[str, Any]:
    return {"@odata.context": "c", "value": [{"n": 1}], "@odata.nextLink": link}


FOREIGN = (
    "https://evil.example/list",
    f"https://{ARM}.evil.example/list",
    f"https://{ARM}@evil.example/list",
    f"https://evil.example\\@{ARM}/list",
    f"https://x@{ARM}/list",
    f"https://{ARM}:444/list",
    f"http://{ARM}/list",
    f"https://{GRAPH}/v1.0/users",
    "/list?page=2",
    "//evil.example/list",
    f"https://{ARM}",
    f"https://{ARM}/a b",
    "https://[::1",
    7,
    {"href": "x"},
)


@pytest.mark.parametrize("link", FOREIGN, ids=str)
def test_a_link_to_anywhere_else_is_never_followed(wire: Wire, link: Any) -> None:
    wire.on("/list$", (200, {"value": [1], "nextLink": link}))
    tenant = tenant_over(wire)
    with pytest.raises(Unreadable, match="ForeignLink"):
        tenant.each("/list", api="1")
    assert len(wire.asked("GET")) - len(wire.asked("GET login")) == 1
    assert outcome(lambda: again(tenant).each("/list", api="1")) == outcome(lambda: tenant.each("/list", api="1"))


def test_the_token_leaves_for_no_other_host_even_when_told_so(wire: Wire) -> None:
    from collector.clouds.rest import Call

    with pytest.raises(ConfigError, match=r"leave for evil\.example"):
        access_over(wire).send(Call("GET", "https://evil.example/x"))
    with pytest.raises(ConfigError):
        access_over(wire).send(Call("GET", f"http://{ARM}/x"))
    assert not wire.sent


@pytest.mark.parametrize("loop", [1, 2])
def test_a_listing_that_goes_in_circles_ends(wire: Wire, loop: int) -> None:
    links = [f"https://{ARM}/list?page={n}" for n in range(1, loop + 1)]
    served: Iterator[str] = iter(links * 10)
    wire.on("/list$", lambda _: (200, {"value": [1], "nextLink": next(served)}))
    tenant = tenant_over(wire)
    with pytest.raises(Unreadable, match="RepeatedToken"):
        tenant.each("/list", api="1")
    assert outcome(lambda: again(tenant).each("/list", api="1")) == outcome(lambda: tenant.each("/list", api="1"))
    assert len(wire.asked("/list$")) == loop + 1


def test_a_page_without_its_list_is_no_answer(wire: Wire) -> None:
    wire.on("/list$", (200, {"items": []}))
    with pytest.raises(Unreadable, match="page 1 has no list value"):
        tenant_over(wire).each("/list", api="1")


def test_one_answer_that_has_more_pages_is_refused(wire: Wire) -> None:
    wire.on("/list$", (200, {"value": [], "nextLink": f"https://{ARM}/list?p=2"}))
    tenant = tenant_over(wire)
    with pytest.raises(Unreadable, match="must use each"):
        tenant.get("/list", api="1")
    with pytest.raises(Unreadable, match="must use each"):
        again(tenant).get("/list", api="1")


def test_a_failure_on_a_later_page_fails_the_listing_whatever_is_absent(wire: Wire) -> None:
    wire.on("/list$", lambda s: (404, {"error": {"code": "Gone"}}) if s.query.get("p") else (200, page_one()))
    with pytest.raises(Unreadable, match="page 2"):
        tenant_over(wire).each("/list", api="1", absent=("Gone",))


def page_one() -> dict[str, Any]:
    return {"value": [1], "nextLink": f"https://{ARM}/list?p=2"}


def test_a_path_is_sent_as_it_is_written() -> None:
    assert url_of(GRAPH, "/v1.0/users/a#EXT#@b c%") == f"https://{GRAPH}/v1.0/users/a%23EXT%23@b%20c%25"
    with pytest.raises(ValueError, match="no query"):
        url_of(ARM, "/x?api-version=1")
    with pytest.raises(ValueError, match="begins with"):
        url_of(ARM, "subscriptions")
    assert next_url(ARM, f"https://{ARM}/x?%24skiptoken=a%2Fb") == f"https://{ARM}/x?%24skiptoken=a%2Fb"


def test_many_threads_share_one_question_and_each_is_said_to_have_read_it(wire: Wire) -> None:
    wire.on("/list$", lambda _: (time.sleep(0.05), (200, {"value": [1]}))[1])  # type: ignore[func-returns-value]
    tenant = tenant_over(wire)

    def ask(_: int) -> tuple[list[Any], int]:
        with reading() as read:
            return tenant.each("/list", api="1"), len(read)

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(ask, range(32))) == [([1], 1)] * 32
    assert len(wire.asked("/list$")) == 1


def test_a_kept_transcript_answers_what_was_asked_and_refuses_the_rest(wire: Wire) -> None:
    tenant = tenant_over(wire)
    tenant.parts()
    assert again(tenant).parts() == [ONE, TWO]
    for ask in (again(tenant).identity, lambda: again(tenant).resources(DISKS), lambda: again(tenant).graph("/me")):
        with pytest.raises(NeverAsked):
            ask()


# --- subscriptions ---


def test_subscriptions_that_cannot_be_observed_are_left_out_and_it_is_said_why(wire: Wire) -> None:
    wire.subscriptions[1]["state"] = "Disabled"
    guest = {"subscriptionId": OTHER, "tenantId": OTHER, "state": "Enabled"}
    wire.subscriptions.append(guest)
    tenant = tenant_over(wire)
    assert tenant.parts() == [ONE]
    assert tenant.left_out() == {
        TWO: "is Disabled, not one of Enabled, Warned, PastDue",
        OTHER: f"belongs to tenant {OTHER}",
    }


def test_no_subscription_at_all_is_a_missing_right_and_no_empty_tenant(wire: Wire) -> None:
    wire.subscriptions = []
    with pytest.raises(Denied, match="shows no subscription to these credentials; assign"):
        tenant_over(wire).parts()


def test_a_named_subscription_stays_when_it_is_gone_and_its_runs_are_refused(wire: Wire) -> None:
    settings = Settings(subscriptions=(TWO, OTHER))
    tenant = tenant_over(wire, settings)
    assert tenant.parts() == [TWO, OTHER]
    with pytest.raises(Denied, match=f"{OTHER} is not shown"):
        tenant.within(OTHER).resources(DISKS)
    wire.subscriptions[1]["state"] = "Disabled"
    with pytest.raises(Disabled, match="is Disabled"):
        tenant_over(wire, settings).within(TWO).resources(DISKS)


def test_a_management_group_names_its_subscriptions_at_any_depth(wire: Wire) -> None:
    below = [
        {"id": f"/subscriptions/{TWO}", "type": "/subscriptions", "name": TWO},
        {"id": "/providers/Microsoft.Management/managementGroups/inner", "type": "Microsoft.Management/groups"},
        {"id": f"/subscriptions/{OTHER}", "type": "/subscriptions", "name": OTHER},
    ]
    wire.on("GET .*/managementGroups/acme/descendants$", (200, {"value": below}))
    settings = Settings(management_group="acme")
    tenant = tenant_over(wire, settings)
    assert tenant.parts() == [TWO, OTHER]  # one that the role does not reach is not forgotten
    assert again(tenant, settings).parts() == [TWO, OTHER]
    with pytest.raises(NeverAsked):
        again(tenant).within(ONE).resources(DISKS)


# --- Resource Graph ---


def test_one_query_serves_all_subscriptions_and_all_checks(wire: Wire) -> None:
    wire.page_size = 3
    wire.rows = sorted((row(s, f"disk-{n}") for s in (ONE, TWO) for n in range(4)), key=lambda r: str(r["id"]))
    tenant = tenant_over(wire)
    for subscription in (ONE, TWO, ONE):
        found = tenant.within(subscription).resources(DISKS)
        assert [item["name"] for item in found] == [f"disk-{n}" for n in range(4)]
        assert {item["subscriptionId"] for item in found} == {subscription}
    assert len(tenant.resources(DISKS)) == 8
    queries = Counter(sent.body["query"] for sent in wire.asked("ResourceGraph"))
    assert queries == {
        f"resources | where type =~ '{DISKS}' | project {azure.COLUMNS} | order by id asc": 3,
        f"resourcecontainers | where type =~ 'microsoft.resources/subscriptions' | project {azure.COLUMNS} "
        "| order by id asc": 1,
    }
    kept = again(tenant)
    assert kept.within(TWO).resources(DISKS) == tenant.within(TWO).resources(DISKS)
    assert kept.resources(DISKS) == tenant.resources(DISKS)


def test_a_population_rests_on_every_page_and_on_the_right_to_see_it(wire: Wire) -> None:
    wire.page_size = 1
    wire.rows = [row(ONE, "a"), row(TWO, "b")]
    tenant = tenant_over(wire).within(ONE)
    with reading() as read:
        tenant.resources(DISKS)
    assert len(read) == len(wire.asked(ARM)) == 2 + 1 + 2 + 1  # disks, GET /subscriptions, containers, permissions
    with reading() as second:
        tenant.resources(DISKS)
    assert second == read


def test_a_missing_right_is_not_an_empty_subscription(wire: Wire) -> None:
    wire.actions[ONE] = ["Microsoft.Storage/*/read", "Microsoft.Compute/virtualMachines/read"]
    tenant = tenant_over(wire)
    with pytest.raises(Denied, match=f"may not {DISKS}/read in subscription {ONE}.*add the action"):
        tenant.within(ONE).resources(DISKS)
    assert tenant.within(TWO).resources(DISKS) == []
    with pytest.raises(Denied):
        tenant.resources(DISKS)
    assert outcome(lambda: again(tenant).resources(DISKS)) == outcome(lambda: tenant.resources(DISKS))


@pytest.mark.parametrize(
    ("entries", "allowed"),
    [
        ([{"actions": ["*"], "notActions": []}], True),
        ([{"actions": ["Microsoft.Compute/*"], "notActions": []}], True),
        ([{"actions": ["MICROSOFT.COMPUTE/DISKS/READ"], "notActions": []}], True),
        ([{"actions": ["*/read"], "notActions": ["Microsoft.Compute/disks/*"]}], False),
        (
            [
                {"actions": ["*/read"], "notActions": ["*/disks/read"]},
                {"actions": ["microsoft.compute/disks/read"], "notActions": []},
            ],
            True,
        ),
        ([{"actions": ["Microsoft.Compute/disks"], "notActions": []}], False),
        ([{"actions": ["Microsoft.Compute/disks/read/more"], "notActions": []}], False),
        ([], False),
    ],
)
def test_actions_less_not_actions_of_each_role_are_what_one_may_do(
    wire: Wire, entries: list[dict[str, Any]], allowed: bool
) -> None:
    wire.on(f"/{ONE}/providers/Microsoft.Authorization/permissions$", (200, {"value": entries}))
    tenant = tenant_over(wire).within(ONE)
    if allowed:
        assert tenant.resources(DISKS) == []
    else:
        with pytest.raises(Denied):
            tenant.resources(DISKS)


def test_permissions_without_both_lists_are_no_permissions(wire: Wire) -> None:
    wire.on("Microsoft.Authorization/permissions$", (200, {"value": [{"actions": ["*"]}]}))
    with pytest.raises(Unreadable, match="without the lists actions and notActions"):
        tenant_over(wire).within(ONE).resources(DISKS)


def test_a_subscription_that_one_of_the_two_lists_lacks_is_not_judged(wire: Wire) -> None:
    wire.containers = [ONE]
    tenant = tenant_over(wire)
    with pytest.raises(Unavailable, match=f"does not know subscription {TWO}"):
        tenant.within(TWO).resources(DISKS)
    assert tenant.within(ONE).resources(DISKS) == []
    wire.containers, wire.subscriptions = [ONE, TWO], wire.subscriptions[:1]
    with pytest.raises(Denied, match=f"{TWO} is not shown"):
        tenant_over(wire).within(TWO).resources(DISKS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"totalRecords": 3}, "says 3 rows and has 2"),
        ({"totalRecords": None}, "says None rows"),
        ({"data": None}, "no list data"),
        ({"data": {"columns": [], "rows": []}}, "no list data"),
        ({"resultTruncated": "true"}, "was cut off"),
        ({"data": [row(ONE, "a"), row(ONE, "A")]}, "names a resource twice"),
        ({"data": [row(ONE, "a"), {"id": "x"}]}, "without id or subscriptionId"),
    ],
)
def test_a_listing_that_contradicts_itself_is_refused(wire: Wire, change: dict[str, Any], words: str) -> None:
    wire.rows = [row(ONE, "a"), row(TWO, "b")]

    def answer(sent: Sent) -> Found:
        status, body, *_ = wire.resource_graph(sent)  # type: ignore[misc]
        return status, {**body, **change} if "disks" in sent.body["query"] else body

    wire.on("ResourceGraph", answer)
    tenant = tenant_over(wire).within(ONE)
    with pytest.raises(Unreadable, match=words):
        tenant.resources(DISKS)
    assert outcome(lambda: again(tenant).within(ONE).resources(DISKS)) == outcome(lambda: tenant.resources(DISKS))


def test_skip_tokens_that_go_in_circles_end(wire: Wire) -> None:
    answer = {"totalRecords": 9, "data": [row(ONE, "a")], "$skipToken": "same", "resultTruncated": "true"}
    wire.on("ResourceGraph", (200, answer))
    tenant = tenant_over(wire).within(ONE)
    with pytest.raises(Unreadable, match="RepeatedToken"):
        tenant.resources(DISKS)
    assert len(wire.asked("ResourceGraph")) == 2


@pytest.mark.parametrize("type", ["", "Microsoft.Compute/disks", "a' | project id //", "microsoft.compute"])
def test_a_type_that_is_none_is_the_checks_mistake_and_not_asked(wire: Wire, type: str) -> None:
    with pytest.raises(ValueError, match="not a type"):
        tenant_over(wire).within(ONE).resources(type)
    assert not wire.sent


def test_what_a_query_of_resource_graph_may_not_is_said_in_its_details(wire: Wire) -> None:
    detail = {"code": "InvalidQuery", "message": "Query is invalid"}
    wire.on("ResourceGraph", (400, {"error": {"code": "BadRequest", "message": "See details", "details": [detail]}}))
    tenant = tenant_over(wire).within(ONE)
    with pytest.raises(Unreadable, match="BadRequest"):
        tenant.resources(DISKS)
    (exchange,) = tenant.transcript.log
    assert b"See details; InvalidQuery Query is invalid" in tenant.transcript.body(exchange.body)
