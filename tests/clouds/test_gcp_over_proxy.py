"""A Google organisation as a run opens it: configuration, directory, google-auth, TLS, and Google simulated behind it.

What is made of single answers is in ``test_gcp.py``; here nothing stands in for the connection.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collector import canonical
from collector.clouds import directory, gcp, gcp_access, pace, rest
from collector.clouds.directory import Directory, Limits
from collector.clouds.gcp import Organization
from collector.clouds.rest import Call
from collector.clouds.transcript import Transcript, reading
from collector.config import GoogleOrganization
from collector.demo.gcp.bed import GcpBed
from collector.demo.gcp.world import ADMINISTRATOR, COLLECTOR, DELEGATED_SCOPES, PROJECTS, RUNNER
from collector.demo.proxy import Proxy, Request, Response
from collector.errors import ConfigError, Denied, Disabled, NeverAsked, Throttled, Unavailable, Unreadable

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
PARENT = "organizations/461203958147"
FOLDER = "folders/845720196331"
DISK = "compute.googleapis.com/Disk"
BUCKET = "storage.googleapis.com/Bucket"
ASSETS = "cloudasset.googleapis.com"
MANAGER = "cloudresourcemanager.googleapis.com"
OAUTH = "oauth2.googleapis.com"
ADMIN = "admin.googleapis.com"
IDENTITY = "cloudidentity.googleapis.com"
IAM = "iamcredentials.googleapis.com"
USERS = "/admin/directory/v1/users"
UNITS = "/admin/directory/v1/customer/my_customer/orgunits"
USER_SCOPE = "https://www.googleapis.com/auth/admin.directory.user.readonly"
EVIL = "evil.example"

Answerer = Callable[[Request], Response]


class Clock:
    """Simulated time, and a monotonic one: a sleep takes none of ours."""

    def __init__(self) -> None:
        self.now = NOW
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return time.monotonic() + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


class Served:
    """One organisation behind one proxy, with what a test puts in place of its answers."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.bed = GcpBed(seed=7, scale=1, clock=self.clock)
        self.seen: list[Request] = []
        self.answers: list[tuple[str, Answerer]] = []
        # Evil is served too, so that what would leave for it is seen.
        self.proxy = Proxy("|".join((*self.bed.hosts, re.escape(EVIL))), self.handle, folder)
        local = "127.0.0.1,localhost"
        self.environment = {
            "HTTPS_PROXY": self.proxy.url,
            "https_proxy": self.proxy.url,
            "NO_PROXY": local,
            "no_proxy": local,
            "REQUESTS_CA_BUNDLE": str(self.proxy.bundle),
            **self.bed.credentials(folder),
        }

    def handle(self, request: Request) -> Response:
        self.seen.append(request)
        found = next((answer for pattern, answer in self.answers if re.search(pattern, _name(request))), None)
        return (found or self.bed.handle)(request)

    def asked(self, pattern: str) -> list[Request]:
        """The requests whose "METHOD host/path?query" the regular expression is in."""
        return [request for request in self.seen if re.search(pattern, _name(request))]

    def on(self, pattern: str, status: int, body: Any, **headers: str) -> None:
        """From now on these requests get this answer."""
        found = Response(status, {"Content-Type": "application/json", **headers}, json.dumps(body).encode())
        self.answers.insert(0, (pattern, lambda _: found))

    def edit(self, pattern: str, change: Callable[[dict[str, Any]], object]) -> None:
        """From now on these answers of the organisation are changed in place before they are sent."""

        def edited(request: Request) -> Response:
            found = self.bed.handle(request)
            body = json.loads(found.body)
            change(body)
            return replace(found, body=json.dumps(body).encode())

        self.answers.insert(0, (pattern, edited))

    def reset(self) -> None:
        self.clock.now = NOW
        self.clock.slept.clear()
        self.seen.clear()
        self.answers.clear()
        self.bed.reset()


def _name(request: Request) -> str:
    return f"{request.method} {request.host}{request.target}"


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("gcp"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        yield made
    made.proxy.close()


@pytest.fixture
def served(standing: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The organisation as it was at the start. Waiting takes no time."""
    standing.reset()
    for module in (rest, pace):
        monkeypatch.setattr(
            module, "time", SimpleNamespace(monotonic=standing.clock.monotonic, sleep=standing.clock.sleep)
        )
    return standing


@pytest.fixture
def bed(served: Served) -> GcpBed:
    return served.bed


Opener = Callable[..., Organization]


@pytest.fixture
def opened(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """Opens an organisation as a run does; every connection is closed in the end."""
    sessions = []
    make = gcp_access._session

    def session() -> Any:
        sessions.append(make())
        return sessions[-1]

    monkeypatch.setattr(gcp_access, "_session", session)

    def open(patience: float = 90, directory: Directory | None = None, **settings: Any) -> Organization:
        account = GoogleOrganization(**{"parent": PARENT, "workspace_admin": ADMINISTRATOR, **settings})
        found = (directory or directory_of(served, patience)).open(account, Transcript(), NOW)
        assert isinstance(found, Organization)
        return found

    yield open
    for each in sessions:
        each.close()


def directory_of(served: Served, patience: float = 90) -> Directory:
    return Directory(served.clock, Limits(patience_seconds=patience), served.clock.sleep)


def again(organization: Organization, **settings: Any) -> Organization:
    """The same organisation over the kept transcript, without a network; ``settings`` as it was opened."""
    account = GoogleOrganization(**{"parent": organization.parent, **settings})
    transcript = Transcript.kept(organization.transcript.call_log(), organization.transcript.body)
    found = directory.kept(account.scope, transcript, NOW, account.record())
    assert isinstance(found, Organization)
    return found


def outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:
        return type(error), str(error)


def disks(organization: Organization) -> list[str]:
    return [row["name"] for row in organization.assets(DISK)]


def users(organization: Organization) -> list[dict[str, Any]]:
    return organization.each(ADMIN, USERS, "users", customer=organization.customer, maxResults=500)


def units(organization: Organization) -> dict[str, Any]:
    return organization.get(ADMIN, UNITS, type="all")


def kept_bytes(organization: Organization) -> bytes:
    """All that would be sealed of a run."""
    log = organization.transcript.log
    return b"".join(organization.transcript.body(e.body) for e in log if e.body) + organization.transcript.call_log()


# --- who asks ---


def test_the_account_of_the_environments_key_is_who_asks_and_the_answer_is_kept(opened: Opener, served: Served) -> None:
    organization = opened()
    assert organization.identity() == again(organization).identity() == COLLECTOR
    (exchange,) = (e for e in organization.transcript.log if e.endpoint == OAUTH)
    assert (exchange.operation, exchange.params) == ("POST /tokeninfo", {})
    body = canonical.parse(organization.transcript.body(exchange.body))
    assert body["email"] == COLLECTOR
    assert body.keys() <= {"aud", "azp", "email", "email_verified", "scope", "sub"}  # nothing that counts down
    (asked,) = served.asked("tokeninfo")
    assert "?" not in asked.target  # no token in an address, which proxies write down
    assert "authorization" not in asked.headers
    assert served.bed.unserved() == []


def test_a_key_file_may_be_named_by_the_configuration(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "key.json"
    file.write_bytes(Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_bytes())
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    assert opened(credentials_file=file).identity() == COLLECTOR


@pytest.mark.parametrize("impersonate", ["", COLLECTOR])
def test_a_token_without_an_address_is_named_by_its_credential(
    opened: Opener, served: Served, impersonate: str
) -> None:
    served.edit("tokeninfo", lambda body: body.pop("email"))
    organization = opened(impersonate=impersonate)
    assert organization.identity() == again(organization).identity() == COLLECTOR
    (said,) = (e for e in organization.transcript.log if e.operation == "credential")
    assert canonical.parse(organization.transcript.body(said.body)) == {"principal": COLLECTOR}


def test_neither_token_nor_key_is_kept(opened: Opener, served: Served) -> None:
    bed = served.bed
    bed.set("page_size", 2)
    organization = opened(impersonate=COLLECTOR)
    for ask in (Organization.identity, disks, users, units):
        ask(organization)
    kept = kept_bytes(organization)
    tokens = set(bed.issuer._tokens)
    sent = {r.headers["authorization"].removeprefix("Bearer ") for r in served.seen if "authorization" in r.headers}
    assert sent
    assert sent <= tokens
    pages = {found[1] for r in served.seen if (found := re.search(r"pageToken=([^&]+)", r.target))}
    assert pages
    key = bed.issuer.key_file()["private_key"].splitlines()[1:-1]
    assert not [secret for secret in (*tokens, *pages, *key, "PRIVATE KEY", "Bearer") if secret.encode() in kept]


def test_no_netrc_and_no_cookie_speaks_for_the_collector(
    opened: Opener, served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text(f"machine {MANAGER} login a password b\nmachine {OAUTH} login a password b\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    served.on("/v3/x", 200, {}, **{"Set-Cookie": "session=1; Path=/"})
    organization = opened()
    assert [organization.get(MANAGER, f"/v3/x/{n}") for n in range(2)] == [{}, {}]
    asked = served.asked("/v3/x")
    assert len(asked) == 2
    assert all(request.headers["authorization"].startswith("Bearer ya29.") for request in asked)
    assert all("authorization" not in request.headers for request in served.asked(f" {OAUTH}"))
    assert not any("cookie" in request.headers for request in served.seen)


# --- without a key, and without anything ---

MACHINE_SCRIPT = """
import json, sys
from datetime import UTC, datetime
from collector.clouds.directory import Directory, Limits
from collector.clouds.transcript import Transcript
from collector.config import GoogleOrganization

now = datetime(2026, 1, 5, 12, tzinfo=UTC)

def outcome(ask):
    try:
        return ask()
    except Exception as error:
        return [type(error).__name__, str(error)]

found = []
for settings in json.loads(sys.argv[1]):
    account = GoogleOrganization(**settings)
    handle = Directory(lambda: now, Limits(patience_seconds=5)).open(account, Transcript(), now)
    found.append({
        "identity": outcome(handle.identity),
        "disks": outcome(lambda: len(handle.assets("compute.googleapis.com/Disk"))),
        "users": outcome(lambda: len(handle.each(
            "admin.googleapis.com", "/admin/directory/v1/users", "users", customer="my_customer"))),
    })
print(json.dumps(found))
"""


def on_a_machine(host: str, home: Path, *settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a collector finds that has nothing but a metadata server; google-auth reads its address when imported."""
    variables = {**os.environ, "GCE_METADATA_HOST": host, "GCE_METADATA_IP": host, "GCE_METADATA_DETECT_RETRIES": "1"}
    variables |= {"HOME": str(home), "CLOUDSDK_CONFIG": str(home), "PYTHONPATH": str(Path(gcp.__file__).parents[2])}
    del variables["GOOGLE_APPLICATION_CREDENTIALS"]
    given = [{"parent": PARENT, "workspace_admin": ADMINISTRATOR, **each} for each in settings]
    command = [sys.executable, "-c", MACHINE_SCRIPT, json.dumps(given)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture
def metadata_host(bed: GcpBed) -> Iterator[str]:
    """The metadata server of a machine that runs as RUNNER, on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = bed.metadata("GET", self.path, {name.lower(): value for name, value in self.headers.items()})
            self.send_response_only(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            """A test says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_machine_acts_as_the_collector_and_is_delegated_to_without_any_key(
    served: Served, metadata_host: str, tmp_path: Path
) -> None:
    acting = {"impersonate": COLLECTOR, "quota_project": "acme-data"}
    itself, collector = on_a_machine(metadata_host, tmp_path, {}, acting)
    # The machine's own account holds none of the collector's rights, and may not sign for itself.
    assert itself["identity"][0] == itself["disks"][0] == itself["users"][0] == "Denied"
    assert "cloudasset.assets.listResource" in itself["identity"][1]
    people = len(served.bed.resources("admin#directory#user"))
    assert collector == {"identity": COLLECTOR, "disks": len(served.bed.resources(DISK)), "users": people}
    calls = [call for call in served.bed.calls() if call["host"] == IAM and call["status"] == 200]
    assert {call["path"].partition(":")[2] for call in calls} == {"generateAccessToken", "signJwt"}
    assert RUNNER in {call["principal"] for call in calls}
    assert {call["principal"] for call in served.bed.calls() if call["host"] == ADMIN} == {ADMINISTRATOR}
    assert {r.headers.get("x-goog-user-project") for r in served.asked(f"GET {ASSETS}")} == {None, "acme-data"}
    assert {r.headers.get("x-goog-user-project") for r in served.asked(f"GET {ADMIN}")} == {None}


def test_without_any_credential_it_is_said_what_to_set(served: Served, tmp_path: Path) -> None:
    with socket.socket() as closed:  # bound and not listening: nobody answers there
        closed.bind(("127.0.0.1", 0))
        (found,) = on_a_machine(f"127.0.0.1:{closed.getsockname()[1]}", tmp_path, {})
    for kind, words in found.values():
        assert kind == "Denied"
        assert "no Google credentials: " in words
        assert "set credentials_file, or GOOGLE_APPLICATION_CREDENTIALS" in words
    assert not served.seen


def test_a_key_that_google_does_not_know_is_a_denial(opened: Opener, tmp_path: Path) -> None:
    stranger = GcpBed(seed=7, scale=1, clock=lambda: NOW).credentials(tmp_path)["GOOGLE_APPLICATION_CREDENTIALS"]
    organization = opened(credentials_file=Path(stranger))
    with pytest.raises(Denied, match=r"no token of Google: invalid_grant: .*look at the credentials"):
        organization.identity()
    assert outcome(again(organization).identity) == outcome(organization.identity)


@pytest.mark.parametrize("kind", ["500", "reset", "truncate"])
def test_a_door_for_tokens_that_is_out_of_order_is_no_denial(
    opened: Opener, bed: GcpBed, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time", SimpleNamespace(sleep=lambda _: None))
    bed.fault(kind, host=OAUTH, operation="POST /token$")
    organization = opened(patience=0.1)
    with pytest.raises(Unavailable):
        organization.assets(DISK)
    assert outcome(lambda: disks(again(organization))) == outcome(lambda: disks(organization))


# --- in the name of a Workspace administrator ---


@pytest.mark.parametrize("impersonate", ["", COLLECTOR], ids=["by key", "keyless"])
def test_workspace_is_asked_in_the_administrators_name_with_one_scope_at_a_time(
    opened: Opener, served: Served, impersonate: str
) -> None:
    bed, reports = served.bed, "/admin/reports/v1/usage/users/all/dates/2026-01-01"
    known = set(bed.issuer._tokens)
    organization = opened(impersonate=impersonate, quota_project="acme-data")

    def read(organization: Organization) -> list[Any]:
        return [
            users(organization),
            units(organization),
            organization.each(ADMIN, reports, "usageReports", maxResults=1000),
            organization.each(IDENTITY, "/v1/policies", "policies", pageSize=100),
        ]

    found = read(organization)
    organization.each(ADMIN, "/admin/reports/v1/activity/users/all/applications/admin", "items")
    assert all(found)
    assert len(found[0]) == len(bed.resources("admin#directory#user"))
    asked = [call for call in bed.calls() if call["host"] in (ADMIN, IDENTITY)]
    assert {(call["principal"], call["status"]) for call in asked} == {(ADMINISTRATOR, 200)}
    issued = Counter(p.scopes for token, (p, _) in bed.issuer._tokens.items() if p.subject and token not in known)
    assert issued == {frozenset([scope]): 1 for scope in DELEGATED_SCOPES}
    assert bool(served.asked(":signJwt")) is bool(impersonate)
    assert all("x-goog-user-project" not in r.headers for r in served.asked(f" ({ADMIN}|{IDENTITY})"))
    assert read(again(organization)) == found


@pytest.mark.parametrize("impersonate", ["", COLLECTOR], ids=["by key", "keyless"])
def test_a_scope_that_is_not_delegated_closes_its_own_questions_only(
    opened: Opener, bed: GcpBed, impersonate: str
) -> None:
    bed.revoke(f"workspace:{USER_SCOPE}")
    organization = opened(impersonate=impersonate)
    with pytest.raises(Denied, match=r"unauthorized_client: .*; delegate the scopes .*: collector policy gcp"):
        users(organization)
    assert units(organization)["organizationUnits"]
    assert disks(organization)
    assert outcome(lambda: users(again(organization))) == outcome(lambda: users(organization))


def test_without_an_administrator_only_workspace_is_closed(opened: Opener, served: Served) -> None:
    organization = opened(workspace_admin="")
    with pytest.raises(Denied, match=r"no workspace_admin is configured.*set it and delegate"):
        users(organization)
    assert outcome(lambda: users(again(organization))) == outcome(lambda: users(organization))
    assert disks(organization)
    assert not served.asked(f" {ADMIN}")


@pytest.mark.parametrize("name", ["nobody@acme.example", "gone@acme.example"])
def test_an_administrator_that_is_not_there_is_a_denial(opened: Opener, name: str) -> None:
    with pytest.raises(Denied, match="Invalid email or User ID"):
        users(opened(workspace_admin=name))


# --- where a token may go, and for how long it is used ---

FOREIGN = (
    f"https://{EVIL}/x",
    f"https://{ASSETS}.{EVIL}/x",
    f"https://{ASSETS}@{EVIL}/x",
    f"https://x@{ASSETS}/x",
    f"https://{ASSETS}:444/x",
    f"http://{ASSETS}/x",
    "https://googleapis.com/x",
    "https://evilgoogleapis.com/x",
)


@pytest.mark.parametrize("url", FOREIGN)
def test_the_token_leaves_for_no_other_host_even_when_told_so(served: Served, url: str) -> None:
    access = gcp_access.Access(GoogleOrganization(parent=PARENT, workspace_admin=ADMINISTRATOR))
    with pytest.raises(ConfigError, match="it was not sent"):
        access.send(Call("GET", url))
    access._session.close()
    assert not served.seen


@pytest.mark.parametrize("pattern", [f"GET {ASSETS}", f"POST {OAUTH}/tokeninfo", f"POST {OAUTH}/token$"])
def test_a_redirect_is_not_followed(opened: Opener, served: Served, pattern: str) -> None:
    served.on(pattern, 302, {}, Location=f"https://{EVIL}/x")
    organization = opened(patience=0.1)
    with pytest.raises((Unreadable, Denied)):
        organization.identity()
    assert served.asked(pattern)
    assert not served.asked(EVIL)
    assert outcome(again(organization).identity) == outcome(organization.identity)


def test_tokens_that_ran_out_are_fetched_anew_once_and_counted(opened: Opener, served: Served) -> None:
    shared = directory_of(served)
    first = opened(directory=shared)
    wanted = disks(first), users(first)
    served.bed.expire_tokens()
    served.seen.clear()
    second = opened(directory=shared)
    assert (disks(second), users(second)) == wanted
    assert [(e.status, e.attempts) for e in second.transcript.log] == [(200, 2), (200, 2)]
    assert len(served.asked(f"POST {OAUTH}/token$")) == 2  # one of the collector's own, one for the scope
    assert not served.clock.slept


def test_a_refused_token_costs_one_sign_in_for_all_threads(opened: Opener, served: Served) -> None:
    organization = opened()
    disks(organization)
    served.bed.expire_tokens()
    served.seen.clear()
    with ThreadPoolExecutor(16) as threads:
        found = threads.map(lambda n: organization.get(MANAGER, f"/v3/{FOLDER}", n=n), range(32))
        assert {answer["name"] for answer in found} == {FOLDER}
    assert len(served.asked(f"GET {MANAGER}")) > 32
    assert len(served.asked(f"POST {OAUTH}/token$")) == 1


def test_a_token_that_is_refused_twice_is_a_denial(opened: Opener, served: Served) -> None:
    served.bed.fault("expired", host=ASSETS)
    organization = opened()
    with pytest.raises(Denied, match="UNAUTHENTICATED:ACCESS_TOKEN_EXPIRED; look at the collector's credentials"):
        disks(organization)
    assert len(served.asked(f"GET {ASSETS}")) == 2
    assert outcome(lambda: disks(again(organization))) == outcome(lambda: disks(organization))


def test_who_asks_is_known_although_the_token_ran_out(opened: Opener, served: Served) -> None:
    shared = directory_of(served)
    disks(opened(directory=shared))
    served.bed.expire_tokens()
    assert opened(directory=shared).identity() == COLLECTOR


def test_the_quota_project_pays_for_the_collectors_own_questions(opened: Opener, served: Served) -> None:
    bed = served.bed
    disks(opened(quota_project="acme-data"))
    disks(opened())
    paid = [request.headers.get("x-goog-user-project") for request in served.asked(f"GET {ASSETS}")]
    assert paid == ["acme-data", None]
    bed.revoke("serviceusage.services.use", "acme-data")
    with pytest.raises(Denied, match=r"grant serviceusage\.services\.use on projects/100000000002, or set another"):
        disks(opened(quota_project="acme-data"))


# --- listings ---


def test_every_page_is_read_and_read_again_from_what_was_kept(opened: Opener, served: Served) -> None:
    whole = opened()
    wanted = disks(whole), whole.parts(), users(whole)
    assert wanted[0] == served.bed.resources(DISK)
    served.bed.set("page_size", 2)
    organization = opened()
    assert (disks(organization), organization.parts(), users(organization)) == wanted
    kept = again(organization)
    assert (disks(kept), kept.parts(), users(kept)) == wanted
    pages = [e for e in organization.transcript.log if e.params.get("assetTypes") == DISK]
    assert [(e.page, e.last) for e in pages] == [(1, False), (2, False), (3, False), (4, True)]
    assert {e.as_of for e in pages} == {"2026-01-05T12:00:00.000Z"}
    assert Counter(e.as_of for e in kept.transcript.log) == Counter(e.as_of for e in organization.transcript.log)


@pytest.mark.parametrize("token", [7, {"a": 1}, ["x"], True])
def test_a_token_that_is_none_leads_nowhere(opened: Opener, served: Served, token: Any) -> None:
    served.on("/v3/things", 200, {"nextPageToken": token})
    organization = opened()
    with pytest.raises(Unreadable, match=r"page 2.*NoToken"):
        organization.each(MANAGER, "/v3/things", "things")
    assert len(served.asked("/v3/things")) == 1


def test_a_page_token_that_comes_again_ends_the_listing(opened: Opener, served: Served) -> None:
    served.on(f"GET {ASSETS}.*pageToken", 200, {"readTime": "2026-01-05T12:00:00Z", "nextPageToken": "same"})
    served.bed.set("page_size", 2)
    organization = opened()
    with pytest.raises(Unreadable, match="RepeatedToken"):
        disks(organization)
    assert len(served.asked(f"GET {ASSETS}")) == 3
    assert outcome(lambda: disks(again(organization))) == outcome(lambda: disks(organization))


@pytest.mark.parametrize("member", gcp.PARTIAL)
def test_a_listing_that_says_it_is_not_whole_is_no_answer(opened: Opener, served: Served, member: str) -> None:
    served.edit("projects:search", lambda body: body.update({member: ["europe-west1"]}))
    organization = opened()
    with pytest.raises(Unavailable, match=f"is not whole: it names {member}"):
        organization.parts()
    assert outcome(again(organization).parts) == outcome(organization.parts)


def test_a_population_rests_on_every_page_and_on_the_projects_both_show(opened: Opener, served: Served) -> None:
    served.bed.set("page_size", 3)
    prod = opened().within("acme-prod")
    read: list[list[str]] = []
    for handle in (prod, prod, None):
        with reading() as ids:
            disks(handle or again(prod).within("acme-prod"))
        read.append(sorted(ids))
    of = Counter((e.endpoint, e.params.get("assetTypes", "").rpartition("/")[2]) for e in prod.transcript.log)
    assert of == {(ASSETS, "Disk"): 3, (ASSETS, "Project"): 2, (ASSETS, "Folder"): 1, (MANAGER, ""): 2}
    assert len(read[0]) == 8
    assert read[0] == read[1] == read[2]


# --- projects ---


def test_a_project_that_is_going_away_is_left_out_and_it_is_said_why(opened: Opener) -> None:
    organization = opened()
    assert organization.parts() == sorted(PROJECTS)
    assert organization.left_out() == again(organization).left_out() == {"acme-retired": "is DELETE_REQUESTED"}
    assert {id: organization.within(id).number for id in PROJECTS} == PROJECTS
    with pytest.raises(Disabled, match="project acme-retired is DELETE_REQUESTED; take it out"):
        disks(organization.within("acme-retired"))
    with pytest.raises(Denied, match=r"shows no project 'acme-other'.*or take the project out"):
        disks(organization.within("acme-other"))


def test_a_project_that_resource_manager_does_not_show_is_refused_and_not_forgotten(
    opened: Opener, bed: GcpBed
) -> None:
    bed.revoke("resourcemanager.projects.get", "acme-data")
    organization = opened()
    assert "acme-data" in organization.parts()
    for handle in (organization, again(organization)):
        with pytest.raises(Denied, match=r"does not show project acme-data.*grant resourcemanager\.projects\.get"):
            _ = handle.within("acme-data").number
    assert disks(organization.within("acme-prod"))


@pytest.mark.parametrize("gone", [False, True], ids=["not active", "not there"])
def test_a_project_that_the_inventory_does_not_show_active_is_refused_and_not_forgotten(
    opened: Opener, served: Served, gone: bool
) -> None:
    def late(body: dict[str, Any]) -> None:
        """As the inventory is some minutes after a project was made, or was brought back."""
        for asset in list(body["assets"]):
            if asset["resource"]["data"]["projectId"] == "acme-sandbox":
                asset["resource"]["data"]["lifecycleState"] = "DELETE_REQUESTED"
                if gone:
                    body["assets"].remove(asset)

    served.edit(f"{ASSETS}.*Project", late)
    organization = opened()
    assert "acme-sandbox" in organization.parts()
    assert "acme-sandbox" not in organization.left_out()
    with pytest.raises(Unavailable, match="does not show project acme-sandbox as active"):
        _ = organization.within("acme-sandbox").number
    assert organization.within("acme-prod").number == PROJECTS["acme-prod"]


@pytest.mark.parametrize(
    ("parent", "parts"), [(FOLDER, ["acme-data", "acme-prod"]), ("projects/acme-prod", ["acme-prod"])]
)
def test_a_folder_or_a_project_may_be_the_parent(opened: Opener, parent: str, parts: list[str]) -> None:
    organization = opened(parent=parent)
    assert organization.identity() == COLLECTOR
    assert organization.parts() == parts
    found = {part: disks(organization.within(part)) for part in parts}
    assert all(found.values())
    kept = again(organization)
    assert kept.organization == parent.replace("/", "-")
    assert {part: disks(kept.within(part)) for part in kept.parts()} == found


# --- what an error means ---


def test_a_quota_of_calls_a_minute_is_waited_for(opened: Opener, served: Served) -> None:
    served.bed.set("list_assets_per_minute", 2)
    organization = opened()
    types = (DISK, BUCKET, gcp.MACHINE, gcp.PROJECT)
    found = [organization.assets(type) for type in types]
    assert all(found)
    assert [(e.status, e.attempts) for e in organization.transcript.log] == [(200, 1), (200, 1), (200, 4), (200, 1)]
    assert 59 <= sum(served.clock.slept) < 70
    kept = again(organization)
    assert [kept.assets(type) for type in types] == found


def test_a_quota_that_stays_used_up_is_throttled(opened: Opener, served: Served) -> None:
    served.bed.set("list_assets_per_minute", 0)
    organization = opened(patience=50)
    with pytest.raises(Throttled, match="RESOURCE_EXHAUSTED:RATE_LIMIT_EXCEEDED"):
        disks(organization)
    assert len(served.asked(f"GET {ASSETS}")) == 3
    assert outcome(lambda: disks(again(organization))) == outcome(lambda: disks(organization))


@pytest.mark.parametrize("kind", ["throttle", "usage-limits"])
def test_workspace_that_throttles_is_asked_again(opened: Opener, served: Served, kind: str) -> None:
    served.bed.fault(kind, host=ADMIN, times=2)
    organization = opened()
    assert users(organization)
    assert [e.attempts for e in organization.transcript.log] == [3]
    assert sum(served.clock.slept) > 0


@pytest.mark.parametrize(
    ("api", "ask"),
    [
        (ASSETS, disks),
        (ADMIN, users),
        (IDENTITY, lambda handle: handle.each(IDENTITY, "/v1/policies", "policies")),
        (MANAGER, lambda handle: handle.parts()),
    ],
)
def test_an_api_that_is_not_enabled_is_disabled_and_says_how_to_enable_it(
    opened: Opener, bed: GcpBed, api: str, ask: Callable[[Organization], Any]
) -> None:
    bed.revoke(f"api:{api}")
    organization = opened()
    with pytest.raises(Disabled, match=f"gcloud services enable {api} --project {PROJECTS['acme-prod']}"):
        ask(organization)
    assert outcome(lambda: ask(again(organization))) == outcome(lambda: ask(organization))


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("denied", Denied, r"IAM_PERMISSION_DENIED; grant cloudasset\.assets\.listResource"),
        ("500", Unavailable, "INTERNAL"),
        ("reset", Unavailable, "ConnectionError"),
        ("truncate", Unavailable, "ConnectionError"),
        ("html", Unreadable, "NotAnObject"),
        ("throttle", Throttled, "RESOURCE_EXHAUSTED"),
    ],
)
def test_a_fault_is_of_its_kind_live_and_kept(
    opened: Opener, served: Served, kind: str, error: type[Exception], words: str
) -> None:
    served.bed.fault(kind, host=ASSETS)
    organization = opened()
    for ask in (Organization.identity, disks, Organization.parts):
        with pytest.raises(error, match=words):
            ask(organization)
    assert outcome(lambda: disks(again(organization))) == outcome(lambda: disks(organization))
    attempts = {e.attempts for e in organization.transcript.log if e.endpoint == ASSETS}
    assert attempts == {rest.ATTEMPTS_MAX if error in (Unavailable, Throttled) else 1}


def test_a_kept_transcript_answers_what_was_asked_and_refuses_the_rest(opened: Opener, served: Served) -> None:
    organization = opened()
    organization.identity()
    served.seen.clear()
    kept = again(organization)
    assert kept.identity() == COLLECTOR
    for ask in (Organization.parts, disks, users, units):
        with pytest.raises(NeverAsked):
            ask(kept)
    assert not served.seen
