"""The simulated Google organisation as unmodified google-auth and google-cloud-asset see it, through the proxy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import google.auth
import pytest
import requests
from google.api_core import exceptions as api_exceptions
from google.auth import exceptions as auth_exceptions
from google.auth import impersonated_credentials, jwt
from google.auth.crypt import RSASigner
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import asset_v1
from google.oauth2 import service_account

from collector.demo.gcp.bed import FAULT_KINDS, GcpBed
from collector.demo.gcp.estate_machines import PLANTED_SECRETS
from collector.demo.gcp.world import COLLECTOR, DELEGATED_SCOPES, RUNNER
from collector.demo.proxy import Proxy

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
CLOUD = "https://www.googleapis.com/auth/cloud-platform"
USERS = "https://www.googleapis.com/auth/admin.directory.user.readonly"
ORGANIZATION = "organizations/461203958147"
ASSETS = f"https://cloudasset.googleapis.com/v1/{ORGANIZATION}/assets"
DIRECTORY = "https://admin.googleapis.com/admin/directory/v1/users?customer=my_customer"
DISK = "compute.googleapis.com/Disk"


class Clock:
    """A clock that stands where a test has put it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Served:
    """One organisation behind one proxy."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.bed = GcpBed(seed=7, scale=1, clock=self.clock)
        self.proxy = Proxy("|".join(self.bed.hosts), self.bed.handle, folder)
        local = "127.0.0.1,localhost"
        self.environment = {
            "HTTPS_PROXY": self.proxy.url,
            "https_proxy": self.proxy.url,
            "NO_PROXY": local,
            "no_proxy": local,
            "REQUESTS_CA_BUNDLE": str(self.proxy.bundle),
            **self.bed.credentials(folder),
        }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("gcp"))
    patch = pytest.MonkeyPatch()
    for name, value in made.environment.items():
        patch.setenv(name, value)
    yield made
    patch.undo()
    made.proxy.close()


@pytest.fixture
def bed(served: Served) -> GcpBed:
    """The organisation as it was at the start."""
    served.clock.now = NOW
    served.bed.reset()
    return served.bed


@pytest.fixture
def sessions() -> Iterator[Callable[..., AuthorizedSession]]:
    made: list[AuthorizedSession] = []

    def session(*scopes: str, subject: str = "", credentials: Any = None) -> AuthorizedSession:
        if credentials is None:
            credentials, project = google.auth.default(scopes=scopes or (CLOUD,))
            assert project == "acme-prod"
        if subject:
            credentials = credentials.with_subject(subject)
        made.append(AuthorizedSession(credentials))
        return made[-1]

    yield session
    for each in made:
        each.close()


@pytest.fixture
def session(bed: GcpBed, sessions: Callable[..., AuthorizedSession]) -> AuthorizedSession:
    return sessions(CLOUD)


@pytest.fixture
def workspace(bed: GcpBed, sessions: Callable[..., AuthorizedSession]) -> AuthorizedSession:
    return sessions(*sorted(DELEGATED_SCOPES), subject=bed.administrator)


def error(answer: requests.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    assert found["code"] == answer.status_code
    return found


def reason(answer: requests.Response) -> str:
    return str(next(each for each in error(answer)["details"] if each["@type"].endswith("ErrorInfo"))["reason"])


def listed(session: AuthorizedSession, url: str, items: str, **query: Any) -> list[dict[str, Any]]:
    """Everything of a listing, page by page."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        answer = session.get(url, params={**query, **({"pageToken": token} if token else {})}, timeout=20)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found += body.get(items, [])
        token = body.get("nextPageToken", "")
        if not token:
            return found


# --- credentials ---


def test_a_service_account_gets_a_token_and_asks_with_it(session: AuthorizedSession, bed: GcpBed) -> None:
    answer = session.get(ASSETS, params={"contentType": "RESOURCE", "assetTypes": DISK}, timeout=20)
    assert answer.status_code == 200
    assert answer.json()["readTime"] == "2026-01-05T12:00:00.000Z"
    assert {asset["assetType"] for asset in answer.json()["assets"]} == {DISK}
    assert parsedate_to_datetime(answer.headers["Date"]) == NOW
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    calls = [(call["host"], call["method"], call["status"], call["principal"]) for call in bed.calls()]
    assert ("oauth2.googleapis.com", "POST", 200, "") in calls
    assert ("cloudasset.googleapis.com", "GET", 200, COLLECTOR) in calls
    assert bed.unserved() == []


def test_a_delegated_account_asks_for_an_administrator(workspace: AuthorizedSession, bed: GcpBed) -> None:
    users = listed(workspace, DIRECTORY, "users", maxResults=500)
    assert len(users) == len(bed.resources("admin#directory#user"))
    assert bed.calls()[-1]["principal"] == "admin@acme.example"


def test_a_scope_that_is_not_authorised_gets_no_token(bed: GcpBed, sessions: Callable[..., AuthorizedSession]) -> None:
    bed.revoke(f"workspace:{USERS}")
    with pytest.raises(auth_exceptions.RefreshError, match="unauthorized_client"):
        sessions(USERS, subject=bed.administrator).get(DIRECTORY, timeout=20)
    bed.grant(f"workspace:{USERS}")
    assert sessions(USERS, subject=bed.administrator).get(DIRECTORY, timeout=20).status_code == 200


@pytest.mark.parametrize("subject", ["nobody@acme.example", "gone@acme.example"])
def test_nobody_can_be_asked_for_who_is_not_there_or_suspended(
    bed: GcpBed, sessions: Callable[..., AuthorizedSession], subject: str
) -> None:
    with pytest.raises(auth_exceptions.RefreshError, match="Invalid email or User ID"):
        sessions(USERS, subject=subject).get(DIRECTORY, timeout=20)


def test_the_directory_is_closed_to_plain_users_and_to_the_account_itself(
    bed: GcpBed, sessions: Callable[..., AuthorizedSession]
) -> None:
    plain = sessions(USERS, subject="ada@acme.example").get(DIRECTORY, timeout=20)
    itself = sessions(USERS).get(DIRECTORY, timeout=20)
    for answer in (plain, itself):
        assert answer.status_code == 403
        assert error(answer)["errors"][0]["reason"] == "forbidden"
        assert "status" not in error(answer)


def test_a_token_without_the_scope_is_refused(bed: GcpBed, sessions: Callable[..., AuthorizedSession]) -> None:
    answer = sessions(USERS, subject=bed.administrator).get(ASSETS, timeout=20)
    assert answer.status_code == 403
    assert reason(answer) == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


def assertion(bed: GcpBed, **claims: Any) -> str:
    """A JWT that the key of the collector has signed."""
    key = bed.issuer.key_file()
    now = int(time.time())
    body = {"iss": COLLECTOR, "aud": key["token_uri"], "scope": CLOUD, "iat": now, "exp": now + 3600, **claims}
    signer = RSASigner.from_string(key["private_key"], claims.pop("kid", key["private_key_id"]))
    return jwt.encode(signer, body).decode()


def granted(token: str) -> requests.Response:
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": token}
    return requests.post("https://oauth2.googleapis.com/token", data=form, timeout=20)


def test_a_grant_wants_a_true_signature_and_sound_claims(bed: GcpBed) -> None:
    assert granted(assertion(bed)).json()["expires_in"] == 3599
    head, body, signature = assertion(bed).split(".")
    forged = ".".join((head, body, signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:]))
    old = int(time.time()) - 7200
    for token, says in (
        (forged, "Invalid JWT Signature."),
        (assertion(bed, iat=old, exp=old + 3600), "reasonable timeframe"),
        (assertion(bed, exp=int(time.time()) + 86_400), "short-lived"),
        (assertion(bed, iss="other@acme-prod.iam.gserviceaccount.com"), "account not found"),
        (assertion(bed, aud="https://example.com/"), "Failed audience check"),
        (assertion(bed, scope=""), "Invalid OAuth scope"),
        ("nonsense", "decode"),
    ):
        answer = granted(token)
        assert answer.status_code == 400, says
        assert says in answer.json()["error_description"]


def test_a_key_of_another_making_is_refused(bed: GcpBed, tmp_path: Path) -> None:
    stranger = GcpBed(seed=7, scale=1, clock=lambda: NOW).credentials(tmp_path)["GOOGLE_APPLICATION_CREDENTIALS"]
    credentials = service_account.Credentials.from_service_account_file(stranger, scopes=[CLOUD])
    with pytest.raises(auth_exceptions.RefreshError, match="Invalid JWT Signature"):
        credentials.refresh(Request())


def test_a_self_signed_token_is_taken_by_the_cloud_and_refused_by_workspace(
    bed: GcpBed, sessions: Callable[..., AuthorizedSession]
) -> None:
    key = os.environ["GOOGLE_APPLICATION_CREDENTIALS"]
    made = service_account.Credentials.from_service_account_file(key, always_use_jwt_access=True, scopes=[CLOUD])
    made._create_self_signed_jwt(None)
    assert sessions(credentials=made).get(ASSETS, timeout=20).status_code == 200
    other = service_account.Credentials.from_service_account_file(key, always_use_jwt_access=True, scopes=[USERS])
    other._create_self_signed_jwt(None)
    refused = sessions(credentials=other).get(DIRECTORY, timeout=20)
    assert refused.status_code == 401
    assert [call for call in bed.calls() if call["host"] == "oauth2.googleapis.com"] == []


METADATA_SCRIPT = """
import json, sys
import google.auth
from google.auth import impersonated_credentials
from google.auth.transport.requests import AuthorizedSession
cloud = "https://www.googleapis.com/auth/cloud-platform"
credentials, project = google.auth.default(scopes=[cloud])
found = [project, AuthorizedSession(credentials).get(sys.argv[1]).status_code]
as_collector = dict(source_credentials=credentials, target_principal=sys.argv[2])
found.append(credentials.service_account_email)
other = impersonated_credentials.Credentials(target_scopes=[cloud], **as_collector)
found.append(AuthorizedSession(other).get(sys.argv[1]).status_code)
delegated = impersonated_credentials.Credentials(
    target_scopes=["https://www.googleapis.com/auth/admin.directory.user.readonly"],
    subject="admin@acme.example", **as_collector)
found.append(AuthorizedSession(delegated).get(sys.argv[3]).status_code)
print(json.dumps(found))
"""


@pytest.fixture
def metadata_host(bed: GcpBed) -> Iterator[str]:
    """The metadata server on loopback, as a test or a demo puts it there."""

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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_machine_gets_tokens_from_its_metadata_server_and_impersonates_the_collector(
    bed: GcpBed, metadata_host: str, tmp_path: Path
) -> None:
    # google-auth reads the host when it is imported, hence a process of its own.
    variables = {
        **os.environ,
        "GCE_METADATA_HOST": metadata_host,
        "GCE_METADATA_IP": metadata_host,
        "HOME": str(tmp_path),
    }
    del variables["GOOGLE_APPLICATION_CREDENTIALS"]
    command = [sys.executable, "-c", METADATA_SCRIPT, ASSETS, COLLECTOR, DIRECTORY]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    # The machine's own account holds no permission of the collector.
    assert json.loads(done.stdout) == ["acme-prod", 403, RUNNER, 200, 200]
    verbs = {call["path"].partition(":")[2] for call in bed.calls() if call["host"] == "iamcredentials.googleapis.com"}
    assert {"generateAccessToken", "signJwt"} <= verbs


def test_impersonation_is_a_right_of_its_own(bed: GcpBed) -> None:
    source, _ = google.auth.default(scopes=[CLOUD])
    for target, allowed in ((COLLECTOR, True), ("deployer@acme-data.iam.gserviceaccount.com", False)):
        made = impersonated_credentials.Credentials(
            source_credentials=source, target_principal=target, target_scopes=[CLOUD]
        )
        if allowed:
            made.refresh(Request())
            assert made.token
        else:
            with pytest.raises(auth_exceptions.RefreshError, match="getAccessToken"):
                made.refresh(Request())


def test_regional_boundaries_are_not_found(session: AuthorizedSession) -> None:
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{COLLECTOR}/allowedLocations"
    assert session.get(url, timeout=20).status_code == 404


# --- Cloud Asset Inventory ---


@pytest.fixture
def assets(bed: GcpBed) -> Iterator[asset_v1.AssetServiceClient]:
    with asset_v1.AssetServiceClient(transport="rest") as client:
        yield client


def ask(content: str = "RESOURCE", kind: str = DISK, size: int = 3) -> asset_v1.ListAssetsRequest:
    return asset_v1.ListAssetsRequest(
        parent=ORGANIZATION, asset_types=[kind], content_type=asset_v1.ContentType[content], page_size=size
    )


def test_the_asset_client_lists_page_by_page_with_numbers_for_words(
    assets: asset_v1.AssetServiceClient, bed: GcpBed
) -> None:
    names = [asset.name for asset in assets.list_assets(ask())]
    assert names == bed.resources(DISK)
    calls = [call for call in bed.calls() if call["host"] == "cloudasset.googleapis.com"]
    assert len(calls) == -(-len(names) // 3)
    assert calls[0]["query"]["contentType"] == ["1"]
    assert "enum-encoding=int" in calls[0]["query"]["$alt"][0]


def test_the_asset_client_reads_policies_and_inventories(assets: asset_v1.AssetServiceClient) -> None:
    folders = list(assets.list_assets(ask("IAM_POLICY", "cloudresourcemanager.googleapis.com/Folder")))
    configs = folders[0].iam_policy.audit_configs
    assert [config.service for config in configs] == ["allServices"]
    assert sorted(log.log_type for log in configs[0].audit_log_configs) == [1, 2, 3]
    machines = list(assets.list_assets(ask("OS_INVENTORY", "compute.googleapis.com/Instance")))
    assert {machine.os_inventory.os_info.short_name for machine in machines} == {"debian"}
    items = [item for machine in machines for item in machine.os_inventory.items.values()]
    assert {item.type_.name for item in items} == {"INSTALLED_PACKAGE", "AVAILABLE_PACKAGE"}
    everything = assets.list_assets(ask("RESOURCE", "compute.googleapis.com/Instance"))
    assert len(machines) < len(list(everything))  # a machine without the agent has no inventory


def test_words_and_numbers_of_a_content_type_ask_the_same(session: AuthorizedSession) -> None:
    for word, number in (("RESOURCE", 1), ("IAM_POLICY", 2), ("OS_INVENTORY", 6)):
        answers = [
            session.get(ASSETS, params={"contentType": content}, timeout=20).json() for content in (word, number)
        ]
        assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("parent", "count"),
    [(ORGANIZATION, 8), ("folders/845720196331", 6), ("projects/acme-prod", 3), ("projects/100000000001", 3)],
)
def test_a_parent_holds_what_is_below_it(session: AuthorizedSession, parent: str, count: int) -> None:
    url = f"https://cloudasset.googleapis.com/v1/{parent}/assets"
    found = listed(session, url, "assets", contentType="RESOURCE", assetTypes=DISK)
    assert len(found) == count


def test_no_asset_of_a_type_is_an_empty_object_and_no_list(session: AuthorizedSession) -> None:
    query = {"contentType": "RESOURCE", "assetTypes": "redis.googleapis.com/Instance"}
    assert session.get(ASSETS, params=query, timeout=20).json().keys() == {"readTime"}


def test_types_may_be_expressions_and_an_unknown_one_is_an_error(session: AuthorizedSession) -> None:
    found = listed(session, ASSETS, "assets", assetTypes="container.googleapis.com.*", contentType="RESOURCE")
    kinds = {asset["assetType"] for asset in found}
    assert kinds == {"container.googleapis.com/Cluster", "container.googleapis.com/NodePool"}
    for query in ({"assetTypes": "compute.googleapis.com/Disc"}, {"contentType": "EVERYTHING"}, {"pageSize": "many"}):
        answer = session.get(ASSETS, params=query, timeout=20)
        assert (answer.status_code, error(answer)["status"]) == (400, "INVALID_ARGUMENT")


def test_pages_show_one_moment_and_a_token_fits_one_question(
    session: AuthorizedSession, bed: GcpBed, served: Served
) -> None:
    query = {"contentType": "RESOURCE", "assetTypes": DISK, "pageSize": 5}
    first = session.get(ASSETS, params=query, timeout=20).json()
    served.clock.now += timedelta(minutes=1)
    bed.remove(bed.resources(DISK)[-1])
    token = {"pageToken": first["nextPageToken"]}
    second = session.get(ASSETS, params=query | token, timeout=20).json()
    assert second["readTime"] == first["readTime"]
    assert len(first["assets"]) + len(second["assets"]) == 8
    assert session.get(ASSETS, params=query | token | {"contentType": "IAM_POLICY"}, timeout=20).status_code == 400
    assert session.get(ASSETS, params=query | {"pageToken": "bm9uc2Vuc2U"}, timeout=20).status_code == 400
    assert len(listed(session, ASSETS, "assets", **query)) == 7


def test_history_answers_as_of_a_moment(session: AuthorizedSession, bed: GcpBed, served: Served) -> None:
    id = "//storage.googleapis.com/acme-data-exports"
    served.clock.now += timedelta(days=10)
    bed.edit(id, "resource.data.encryption.defaultKmsKeyName", "projects/p/locations/l/keyRings/r/cryptoKeys/k")

    def at(**query: str) -> Any:
        found = listed(
            session, ASSETS, "assets", contentType="RESOURCE", assetTypes="storage.googleapis.com/Bucket", **query
        )
        return next(asset for asset in found if asset["name"] == id)["resource"]["data"]["encryption"]

    assert at(readTime="2026-01-06T00:00:00Z") == {}
    assert "defaultKmsKeyName" in at()
    assert session.get(ASSETS, params={"readTime": "2025-10-01T00:00:00Z"}, timeout=20).status_code == 400
    assert session.get(ASSETS, params={"readTime": "2026-03-01T00:00:00Z"}, timeout=20).status_code == 400


def test_a_hundred_listings_a_minute_are_allowed(session: AuthorizedSession, bed: GcpBed, served: Served) -> None:
    bed.set("list_assets_per_minute", 5)
    answers = [session.get(ASSETS, params={"pageSize": 1}, timeout=20).status_code for _ in range(5)]
    refused = requests.get(ASSETS, headers={"Authorization": f"Bearer {session.credentials.token}"}, timeout=20)
    assert answers == [200] * 5
    assert (refused.status_code, error(refused)["status"], reason(refused)) == (
        429,
        "RESOURCE_EXHAUSTED",
        "RATE_LIMIT_EXCEEDED",
    )
    assert "Retry-After" not in refused.headers
    served.clock.now += timedelta(minutes=2)
    assert session.get(ASSETS, timeout=20).status_code == 200
    assert GcpBed(seed=1, scale=1, clock=lambda: NOW).get("list_assets_per_minute") == 100


@pytest.mark.parametrize(
    ("content", "permission"),
    [
        ("RESOURCE", "cloudasset.assets.listResource"),
        ("IAM_POLICY", "cloudasset.assets.listIamPolicy"),
        ("OS_INVENTORY", "cloudasset.assets.listOSInventories"),
    ],
)
def test_each_content_type_wants_a_permission_of_its_own(
    session: AuthorizedSession, bed: GcpBed, content: str, permission: str
) -> None:
    bed.revoke(permission)
    answer = session.get(ASSETS, params={"contentType": content}, timeout=20)
    assert (answer.status_code, reason(answer)) == (403, "IAM_PERMISSION_DENIED")
    assert permission in error(answer)["message"]
    assert permission not in bed.permissions()
    others = {"RESOURCE", "IAM_POLICY", "OS_INVENTORY"} - {content}
    assert {session.get(ASSETS, params={"contentType": each}, timeout=20).status_code for each in others} == {200}
    bed.grant(permission)
    assert session.get(ASSETS, params={"contentType": content}, timeout=20).status_code == 200


def test_the_asset_client_meets_denial_throttling_and_a_disabled_api(
    assets: asset_v1.AssetServiceClient, bed: GcpBed
) -> None:
    for kind, raised in (
        ("denied", api_exceptions.PermissionDenied),
        ("throttle", api_exceptions.ResourceExhausted),
        ("disabled", api_exceptions.PermissionDenied),
    ):
        bed.fault(kind, host="cloudasset.googleapis.com", label=kind)
        with pytest.raises(api_exceptions.GoogleAPICallError) as caught:
            list(assets.list_assets(ask(), timeout=5, retry=None))
        assert isinstance(caught.value, (raised, api_exceptions.Forbidden, api_exceptions.TooManyRequests))
        if kind == "disabled":
            assert caught.value.reason == "SERVICE_DISABLED"
            assert caught.value.metadata["service"] == "cloudasset.googleapis.com"
        bed.clear_faults(kind)
    assert list(assets.list_assets(ask()))


# --- disabled APIs and quota projects ---


def test_an_api_that_was_disabled_says_so_and_how_to_enable_it(workspace: AuthorizedSession, bed: GcpBed) -> None:
    bed.revoke("api:admin.googleapis.com")
    answer = workspace.get(DIRECTORY, timeout=20)
    assert (answer.status_code, reason(answer)) == (403, "SERVICE_DISABLED")
    assert "Admin SDK API has not been used in project 100000000001" in error(answer)["message"]
    assert error(answer)["errors"][0]["reason"] == "accessNotConfigured"
    bed.grant("api:admin.googleapis.com")
    assert workspace.get(DIRECTORY, timeout=20).status_code == 200


def test_an_api_may_be_disabled_in_one_project(session: AuthorizedSession, bed: GcpBed) -> None:
    bed.revoke("api:osconfig.googleapis.com", "acme-data")
    found = {project: session.get(reports(project), timeout=20).status_code for project in ("acme-prod", "acme-data")}
    assert found == {"acme-prod": 200, "acme-data": 403}


def test_a_quota_project_pays_and_must_be_allowed(session: AuthorizedSession, bed: GcpBed) -> None:
    def using(project: str) -> requests.Response:
        return session.get(ASSETS, headers={"x-goog-user-project": project}, timeout=20)

    assert using("acme-data").status_code == 200
    assert reason(using("acme-sandbox")) == "SERVICE_DISABLED"  # nobody enabled the API there
    bed.revoke("serviceusage.services.use", "acme-data")
    assert reason(using("acme-data")) == "USER_PROJECT_DENIED"


# --- the other services ---


def reports(project: str, zone: str = "us-central1-a") -> str:
    return f"https://osconfig.googleapis.com/v1/projects/{project}/locations/{zone}/instances/-/vulnerabilityReports"


def test_vulnerability_reports_are_listed_zone_by_zone(session: AuthorizedSession, bed: GcpBed) -> None:
    bed.set("page_size", 1)
    found = listed(session, reports("acme-prod"), "vulnerabilityReports")
    assert len(found) == 3
    assert all(each["name"].startswith("projects/100000000001/locations/us-central1-a/instances/") for each in found)
    assert session.get(reports("acme-prod", "europe-west1-b"), timeout=20).json() == {}
    # The service does not take the wildcard for the zone.
    assert error(session.get(reports("acme-prod", "-"), timeout=20))["status"] == "UNIMPLEMENTED"


def test_projects_are_found_and_only_the_living_are_listed(session: AuthorizedSession, bed: GcpBed) -> None:
    url = "https://cloudresourcemanager.googleapis.com/v3"
    found = listed(session, f"{url}/projects:search", "projects", pageSize=2)
    states = {project["projectId"]: project["state"] for project in found}
    assert states == {
        "acme-data": "ACTIVE",
        "acme-prod": "ACTIVE",
        "acme-retired": "DELETE_REQUESTED",
        "acme-sandbox": "ACTIVE",
    }
    below = listed(session, f"{url}/projects", "projects", parent=ORGANIZATION)
    assert [project["projectId"] for project in below] == ["acme-sandbox"]
    assert session.get(f"{url}/{ORGANIZATION}", timeout=20).json()["directoryCustomerId"] == "C02acme7x"
    assert session.get(f"{url}/projects/acme-data", timeout=20).json()["name"] == "projects/100000000002"
    bed.revoke("resourcemanager.projects.get", "acme-data")
    left = listed(session, f"{url}/projects:search", "projects")
    assert "acme-data" not in {project["projectId"] for project in left}
    assert session.get(f"{url}/projects/acme-data", timeout=20).status_code == 403


def test_services_are_listed_as_they_are_enabled(session: AuthorizedSession, bed: GcpBed) -> None:
    url = "https://serviceusage.googleapis.com/v1/projects/acme-sandbox/services"
    enabled = listed(session, url, "services", filter="state:ENABLED", pageSize=5)
    assert len(enabled) == len({each["name"] for each in enabled})
    assert "containerscanning.googleapis.com" not in {each["config"]["name"] for each in enabled}
    assert session.get(f"{url}/containerscanning.googleapis.com", timeout=20).json()["state"] == "DISABLED"


def test_permissions_can_be_tried(session: AuthorizedSession, bed: GcpBed) -> None:
    url = "https://cloudresourcemanager.googleapis.com/v3/projects/acme-prod:testIamPermissions"
    wanted = {"permissions": ["cloudasset.assets.listResource", "compute.instances.delete"]}
    assert session.post(url, json=wanted, timeout=20).json() == {"permissions": ["cloudasset.assets.listResource"]}


def test_units_reports_and_policies_of_the_workspace(workspace: AuthorizedSession, bed: GcpBed) -> None:
    url = "https://admin.googleapis.com/admin/directory/v1/customer/my_customer/orgunits"
    paths = {
        kind: [
            unit["orgUnitPath"]
            for unit in workspace.get(url, params={"type": kind}, timeout=20).json()["organizationUnits"]
        ]
        for kind in ("all", "allIncludingParent", "children")
    }
    assert "/" not in paths["all"]
    assert paths["allIncludingParent"] == ["/", *paths["all"]]
    assert "/Engineering/SRE" in paths["all"]
    assert "/Engineering/SRE" not in paths["children"]
    url = "https://admin.googleapis.com/admin/reports/v1/usage/users/all/dates"
    query = {"parameters": "accounts:num_security_keys", "maxResults": 10}
    found = listed(workspace, f"{url}/2026-01-01", "usageReports", **query)
    assert len(found) == 24
    assert {len(each["parameters"]) for each in found} == {1}
    assert {each["date"] for each in found} == {"2026-01-01"}
    early = workspace.get(f"{url}/2026-01-03", timeout=20)
    assert early.status_code == 400
    assert error(early)["message"].startswith("Data for dates later than 2026-01-02 is not yet available")
    url = "https://cloudidentity.googleapis.com/v1/policies"
    wanted = "setting.type.matches('^settings/security\\\\.two_step_verification_enforcement$')"
    policies = listed(workspace, url, "policies", filter=wanted, pageSize=2)
    assert {policy["setting"]["type"] for policy in policies} == {"settings/security.two_step_verification_enforcement"}
    assert {policy["type"] for policy in policies} == {"ADMIN", "SYSTEM"}
    both = f'customer == "customers/my_customer" && {wanted}'
    assert listed(workspace, url, "policies", filter=both) == policies
    assert workspace.get(url, params={"filter": "type == 2"}, timeout=20).status_code == 400


# --- faults ---


def test_an_expired_token_is_refreshed_by_the_session(session: AuthorizedSession, bed: GcpBed) -> None:
    assert session.get(ASSETS, timeout=20).status_code == 200
    before = session.credentials.token
    bed.expire_tokens()
    bed.clear_calls()
    assert session.get(ASSETS, timeout=20).status_code == 200
    assert session.credentials.token != before
    assert [call["status"] for call in bed.calls() if call["host"] == "cloudasset.googleapis.com"] == [401, 200]
    bed.fault("expired", host="cloudasset.googleapis.com")
    answer = session.get(ASSETS, timeout=20)
    assert (answer.status_code, reason(answer)) == (401, "ACCESS_TOKEN_EXPIRED")


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [
        ("throttle", 429, "RESOURCE_EXHAUSTED"),
        ("denied", 403, "PERMISSION_DENIED"),
        ("disabled", 403, "PERMISSION_DENIED"),
        ("500", 500, "INTERNAL"),
        ("expired", 401, "UNAUTHENTICATED"),
    ],
)
def test_a_fault_is_googles_own_error_as_often_as_it_should(
    session: AuthorizedSession, bed: GcpBed, kind: str, status: int, word: str
) -> None:
    session.get(ASSETS, timeout=20)
    header = {"Authorization": f"Bearer {session.credentials.token}"}
    bed.fault(kind, operation="assets$", times=2)
    answers = [requests.get(ASSETS, headers=header, timeout=20) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert error(answers[0])["status"] == word
    assert ("Retry-After" in answers[0].headers) == (kind == "throttle")
    asked = [call["fault"] for call in bed.calls() if call["path"].endswith("/assets")]
    assert asked[-3:] == [kind, kind, ""]


def test_workspace_throttles_in_its_old_way_too(workspace: AuthorizedSession, bed: GcpBed) -> None:
    bed.fault("usage-limits", host="admin.googleapis.com", times=1)
    answer = workspace.get(DIRECTORY, timeout=20)
    assert (answer.status_code, error(answer)["errors"][0]["domain"]) == (403, "usageLimits")


def logged(bed: GcpBed, fault: str) -> None:
    """Waits for the other side, which writes down a call when it is through with it."""
    ends = time.monotonic() + 10
    while bed.calls()[-1]["fault"] != fault and time.monotonic() < ends:
        time.sleep(0.05)


def test_lines_drop_and_answers_are_no_json(session: AuthorizedSession, bed: GcpBed) -> None:
    session.get(ASSETS, timeout=20)
    bed.fault("reset", times=1)
    with pytest.raises(requests.ConnectionError):
        session.get(ASSETS, timeout=20)
    logged(bed, "reset")
    assert bed.calls()[-1]["status"] == 0
    bed.fault("truncate", times=1)
    with pytest.raises(requests.RequestException):
        session.get(ASSETS, timeout=20)
    bed.fault("html", times=1)
    assert session.get(ASSETS, timeout=20).headers["Content-Type"].startswith("text/html")
    bed.fault("slow", seconds=1.0, times=1)
    with pytest.raises(requests.Timeout):
        session.get(ASSETS, timeout=0.3)
    logged(bed, "slow")  # the next test must not meet its call
    assert bed.calls()[-1]["fault"] == "slow"
    assert session.get(ASSETS, timeout=20).status_code == 200


def test_the_token_door_fails_only_when_it_is_named(bed: GcpBed) -> None:
    bed.fault("denied")
    assert granted(assertion(bed)).status_code == 200
    bed.fault("denied", host="oauth2.googleapis.com")
    assert granted(assertion(bed)).json()["error"] == "unauthorized_client"


def test_a_fault_that_nobody_knows_is_refused(bed: GcpBed) -> None:
    with pytest.raises(ValueError, match="throttle"):
        bed.fault("earthquake")
    assert "throttle" in FAULT_KINDS


# --- what is not served ---


def test_unknown_hosts_and_methods_are_404_and_remembered(session: AuthorizedSession, bed: GcpBed) -> None:
    for method, url in (
        ("GET", "https://pubsub.googleapis.com/v1/projects/acme-prod/topics"),
        ("DELETE", "https://cloudresourcemanager.googleapis.com/v3/projects/acme-prod"),
        ("GET", "https://cloudasset.googleapis.com/v9/nothing"),
    ):
        assert session.request(method, url, timeout=20).status_code == 404
    assert bed.unserved() == [
        "GET pubsub.googleapis.com/v1/projects/acme-prod/topics",
        "DELETE cloudresourcemanager.googleapis.com/v3/projects/acme-prod",
        "GET cloudasset.googleapis.com/v9/nothing",
    ]


def test_no_token_and_a_made_up_token_are_401(bed: GcpBed) -> None:
    none = requests.get(ASSETS, timeout=20)
    assert (none.status_code, reason(none)) == (401, "CREDENTIALS_MISSING")
    made_up = requests.get(ASSETS, headers={"Authorization": "Bearer ya29.nobody"}, timeout=20)
    assert (made_up.status_code, reason(made_up)) == (401, "ACCESS_TOKEN_TYPE_UNSUPPORTED")
    assert 'error="invalid_token"' in made_up.headers["WWW-Authenticate"]


# --- the control door ---


def test_objects_are_shown_put_edited_removed_and_reset(bed: GcpBed) -> None:
    id = bed.resources(DISK)[0]
    whole = bed.show(id)
    bed.edit(id, "resource.data.sizeGb", "70")
    assert bed.show(id)["resource"]["data"]["sizeGb"] == "70"
    bed.edit(id, "ancestors.0", "projects/9")
    assert bed.show(id)["ancestors"][0] == "projects/9"
    bed.edit(id, "resource.data.status", None)
    assert "status" not in bed.show(id)["resource"]["data"]
    bed.remove(id)
    with pytest.raises(LookupError, match="no object"):
        bed.show(id)
    new = {"name": id.replace("/disks/", "/disks/new-"), "assetType": DISK, "resource": whole["resource"]}
    made = bed.put(new)
    assert bed.show(made)["ancestors"] == whole["ancestors"]
    user = {**bed.show("users/ada@acme.example"), "primaryEmail": "new@acme.example"}
    assert bed.put(user) == "users/new@acme.example"
    with pytest.raises(ValueError, match="put wants"):
        bed.put({"nothing": 1})
    bed.reset()
    assert bed.show(id) == whole


def test_a_seed_makes_the_same_estate_and_a_scale_a_larger_one() -> None:
    def estate(seed: int, scale: int) -> dict[str, Any]:
        made = GcpBed(seed=seed, scale=scale, clock=lambda: NOW)
        return {id: made.show(id) for kind in made.world.by_kind for id in made.resources(kind)}

    first = estate(7, 1)
    assert first == estate(7, 1)
    assert first != estate(8, 1)
    resources = [id for id in first if not id.startswith(("//serviceusage", "usage/"))]
    assert 150 <= len(resources) <= 250
    sizes = [len(estate(7, scale)) for scale in (1, 2, 3)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] > 100
    disks = {id for id in first if "/disks/" in id}
    assert disks < {id for id in estate(7, 2) if "/disks/" in id}


def test_a_secret_is_planted_for_others_to_keep_out_of_evidence(bed: GcpBed) -> None:
    shown = json.dumps([bed.show(id) for id in bed.resources("compute.googleapis.com/Instance")])
    assert all(secret in shown for secret in PLANTED_SECRETS)
