"""The Google handle against the simulated organisation, over HTTPS: who signs in, what is listed, what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from collector.clouds import gcp, gcp_access
from collector.clouds.directory import Directory, Limits
from collector.clouds.gcp import Organization
from collector.clouds.rest import Call
from collector.clouds.transcript import Answer, Kept, Question, Transcript
from collector.config import GoogleOrganization
from collector.demo.gcp.bed import GcpBed
from collector.demo.gcp.world import COLLECTOR
from collector.demo.proxy import Proxy
from collector.errors import ConfigError, Denied, Disabled, Throttled, Unavailable, Unreadable

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
PARENT = "organizations/461203958147"
BUCKET = "storage.googleapis.com/Bucket"
DISK = "compute.googleapis.com/Disk"
OSCONFIG = "osconfig.googleapis.com"
ADMIN = "admin@acme.example"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GcpBed, Proxy, Path]]:
    folder = tmp_path_factory.mktemp("gcp")
    bed = GcpBed(seed=7, scale=1, clock=lambda: NOW)
    proxy = Proxy("|".join(bed.hosts), bed.handle, folder)
    yield bed, proxy, folder
    proxy.close()


@pytest.fixture
def bed(started: tuple[GcpBed, Proxy, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[GcpBed]:
    bed, proxy, folder = started
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(proxy.bundle))
    for name, value in bed.credentials(folder).items():
        monkeypatch.setenv(name, value)
    bed.clear_calls()
    yield bed
    bed.reset()


def organization(
    transcript: Transcript | None = None, waited: list[float] | None = None, **settings: Any
) -> Organization:
    known = {"parent": PARENT, "workspace_admin": ADMIN, **settings}
    clouds = Directory(lambda: NOW, Limits(patience_seconds=5), sleep=(waited if waited is not None else []).append)
    handle = clouds.open(GoogleOrganization(**known), transcript or Transcript(), NOW)
    assert isinstance(handle, Organization)
    return handle


@pytest.fixture
def machine(bed: GcpBed, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of the collector's project: no key file, a metadata server."""

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = bed.metadata("GET", self.path, headers)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, f"127.0.0.1:{server.server_port}")
    host = f"127.0.0.1:{server.server_port}"
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", host)  # read once, on import
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nonexistent")
    yield
    server.shutdown()
    server.server_close()
    thread.join()


# --- who signs in ---


def test_the_key_file_of_the_environment_signs_in_and_the_identity_is_kept(bed: GcpBed) -> None:
    transcript = Transcript()
    assert organization(transcript).identity() == COLLECTOR
    operations = [exchange.operation for exchange in transcript.log]
    assert "POST /tokeninfo" in operations
    key = json.dumps(bed.issuer.key_file()["private_key"])
    kept = b"".join(transcript.body(exchange.body) for exchange in transcript.log if exchange.body)
    assert b"ya29." not in kept
    assert key.encode()[30:60] not in kept


def test_a_key_file_of_the_configuration_signs_in(bed: GcpBed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    file = tmp_path / "key.json"
    file.write_text(json.dumps(bed.issuer.key_file()))
    settings = GoogleOrganization.model_construct(
        **{**GoogleOrganization(parent=PARENT).model_dump(), "credentials_file": file}
    )
    handle = Directory(lambda: NOW, Limits(patience_seconds=5)).open(settings, Transcript(), NOW)
    assert handle.identity() == COLLECTOR


@pytest.mark.usefixtures("machine")
def test_a_machine_acts_as_the_collector_and_reads_workspace_without_a_key(bed: GcpBed) -> None:
    handle = organization(impersonate=COLLECTOR)
    assert handle.identity() == COLLECTOR
    users = handle.each("admin.googleapis.com", "/admin/directory/v1/users", "users", customer="my_customer")
    assert users
    principals = {call["principal"] for call in bed.calls() if call["host"] == "admin.googleapis.com"}
    assert principals == {ADMIN}


@pytest.mark.usefixtures("machine")
def test_a_machine_that_may_not_act_as_the_collector_says_so(bed: GcpBed) -> None:
    bed.revoke("iam.serviceAccounts.getAccessToken")
    with pytest.raises(Denied, match=r"iam\.serviceAccounts\.getAccessToken"):
        organization(impersonate=COLLECTOR).identity()


def test_no_credentials_say_what_to_set(bed: GcpBed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    with pytest.raises(Denied, match="set credentials_file, or GOOGLE_APPLICATION_CREDENTIALS"):
        organization().identity()


def test_without_an_administrator_users_are_denied_and_the_rest_is_read(bed: GcpBed) -> None:
    handle = organization(workspace_admin="")
    assert handle.assets(BUCKET)
    with pytest.raises(Denied, match="workspace_admin"):
        handle.each("admin.googleapis.com", "/admin/directory/v1/users", "users", customer="my_customer")


def test_a_scope_that_is_not_delegated_closes_its_own_paths_only(bed: GcpBed) -> None:
    bed.revoke("workspace:https://www.googleapis.com/auth/cloud-identity.policies.readonly")
    handle = organization()
    assert handle.each("admin.googleapis.com", "/admin/directory/v1/users", "users", customer="my_customer")
    with pytest.raises(Denied, match="delegate the scopes"):
        handle.each("cloudidentity.googleapis.com", "/v1/policies", "policies")


def test_no_token_leaves_for_another_host(bed: GcpBed) -> None:
    access = gcp_access.Access(GoogleOrganization(parent=PARENT))
    for url in (
        "https://example.com/v1",
        "http://cloudasset.googleapis.com/v1",
        "https://googleapis.com.evil.example/",
    ):
        with pytest.raises(ConfigError, match="was not sent"):
            access.send(Call("GET", url))
    assert bed.calls() == []


def test_a_token_that_ended_is_fetched_again_once(bed: GcpBed) -> None:
    handle = organization()
    handle.assets(BUCKET)
    bed.expire_tokens()
    assert handle.assets(DISK)
    assert [call["status"] for call in bed.calls() if call["status"] == 401] == [401]


def test_the_quota_project_is_named_to_google(bed: GcpBed) -> None:
    bed.grant("serviceusage.services.use")
    assert organization(quota_project="acme-data").assets(BUCKET)


# --- what is listed ---


def test_every_page_of_a_listing_is_read_and_its_own_time_kept(bed: GcpBed) -> None:
    whole = sorted(asset["name"] for asset in organization().assets(DISK))
    bed.set("page_size", 2)
    transcript = Transcript()
    assert sorted(asset["name"] for asset in organization(transcript).assets(DISK)) == whole
    pages = [exchange for exchange in transcript.log if exchange.operation.endswith("/assets")]
    assert [page.page for page in pages] == list(range(1, len(pages) + 1))
    assert len(pages) == -(-len(whole) // 2)
    assert all(page.as_of for page in pages)
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]


def test_one_listing_serves_every_project(bed: GcpBed) -> None:
    handle = organization()
    found = [asset["name"] for project in handle.parts() for asset in handle.within(project).assets(DISK)]
    assert sorted(found) == sorted(asset["name"] for asset in handle.assets(DISK))
    asked = [call for call in bed.calls() if call["path"].endswith("/assets") and DISK in str(call["query"])]
    assert len(asked) == 1


def test_a_quota_is_waited_for_and_then_given_up(bed: GcpBed) -> None:
    bed.fault("throttle", operation="/assets", times=1)
    waited: list[float] = []
    assert organization(waited=waited).assets(BUCKET)
    assert waited
    bed.fault("throttle", operation="/assets")
    with pytest.raises(Throttled):
        organization(waited=waited).assets(DISK)


def test_a_disabled_api_is_told_with_the_command_that_enables_it(bed: GcpBed) -> None:
    bed.revoke(f"api:{OSCONFIG}", project="acme-prod")
    path = "/v1/projects/acme-prod/locations/us-central1-a/instances/-/vulnerabilityReports"
    with pytest.raises(Disabled, match=rf"gcloud services enable {OSCONFIG} --project "):
        organization().within("acme-prod").each(OSCONFIG, path, "vulnerabilityReports")


def test_a_missing_permission_is_named(bed: GcpBed) -> None:
    bed.revoke("cloudasset.assets.listResource")
    with pytest.raises(Denied, match=r"cloudasset\.assets\.listResource"):
        organization().assets(BUCKET)


@pytest.mark.parametrize(("kind", "error"), [("500", Unavailable), ("html", Unreadable), ("truncate", Unreadable)])
def test_what_is_no_answer_is_told(bed: GcpBed, kind: str, error: type[Exception]) -> None:
    bed.fault(kind, operation="/assets")
    with pytest.raises((error, Unavailable, Unreadable)):
        organization().assets(BUCKET)


# --- projects ---


def test_only_active_projects_are_observed_and_the_others_named(bed: GcpBed) -> None:
    handle = organization()
    assert handle.parts() == ["acme-data", "acme-prod", "acme-sandbox"]
    assert all("is DELETE_REQUESTED" in why for why in handle.left_out().values())
    assert handle.within("acme-prod").number == "100000000001"


def test_a_project_that_the_inventory_does_not_show_is_refused(bed: GcpBed) -> None:
    bed.edit("//cloudresourcemanager.googleapis.com/projects/100000000003", "resource.data.projectId", "other-id")
    handle = organization()
    with pytest.raises((Denied, Unavailable)):
        _ = handle.within("acme-sandbox").number


def test_a_project_of_nobody_is_refused_by_name(bed: GcpBed) -> None:
    with pytest.raises(Denied, match="shows no project 'acme-gone'"):
        organization(projects=("acme-gone",)).within("acme-gone").assets(DISK)


# --- over bodies of our own ---


def over(answer: Callable[[Call], dict[str, Any]], **more: Any) -> Organization:
    """An organisation whose answers are ours; ``more`` are members of the Answer."""

    def put(call: Call) -> Answer:
        body = answer(call)
        token = body.pop("nextPageToken", None)
        return Answer(body=body, started=NOW, duration_ms=1, status=200, token=token, **more)

    return Organization(PARENT, Transcript(), NOW, put)


def asset(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "assetType": DISK, "ancestors": ["projects/1", PARENT], **more}


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ({"assets": []}, "readTime"),
        ({"readTime": "x", "assets": {}}, "no list assets"),
        ({"readTime": "x", "assets": [asset("a"), asset("a")]}, "twice"),
        ({"readTime": "x", "assets": [asset("a", ancestors=[])]}, "what it is below"),
        ({"readTime": "x", "assets": [asset("a", ancestors=["projects/1", "organizations/9"])]}, "says that it is not"),
        ({"readTime": "x", "assets": [asset("a", assetType=BUCKET)]}, "was listed as"),
        ({"readTime": "x", "assets": [1]}, "not every item"),
        ({"readTime": "x", "nextPageToken": 7}, "NoToken"),
        ({"readTime": "x", "nextPageToken": "again"}, "RepeatedToken"),
    ],
)
def test_a_listing_that_cannot_be_right_is_no_listing(page: dict[str, Any], words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        over(lambda _: dict(page)).assets(DISK)


def test_an_empty_page_of_the_inventory_is_empty() -> None:
    assert over(lambda _: {"readTime": "2026-01-05T12:00:00Z"}).assets(DISK) == []


@pytest.mark.parametrize("name", gcp.PARTIAL)
def test_a_listing_that_says_it_is_not_whole_is_no_answer(name: str) -> None:
    with pytest.raises(Unavailable, match=name):
        over(lambda _: {"clusters": [], name: ["us-east1"]}).each("container.googleapis.com", "/v1/x", "clusters")


def test_get_refuses_an_answer_that_goes_on() -> None:
    with pytest.raises(Unreadable, match="more pages"):
        over(lambda _: {"a": 1, "nextPageToken": "t"}).get("container.googleapis.com", "/v1/x")


# --- again, offline ---


class Playback(Transcript):
    """Answers from another transcript, and nothing else."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__()
        self.recorded = answers

    def ask(self, question: Question, put: Callable[[Question], Answer], *, read: bool = True) -> Kept:
        return super().ask(question, lambda asked: self.recorded[asked.id], read=read)


def test_kept_answers_give_the_same_again_without_a_network(bed: GcpBed, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Answer] = {}

    class Recorder(Transcript):
        def ask(self, question: Question, put: Callable[[Question], Answer], *, read: bool = True) -> Kept:
            def noted(asked: Question) -> Answer:
                answers[asked.id] = put(asked)
                return answers[asked.id]

            return super().ask(question, noted, read=read)

    live = organization(Recorder())
    first = (live.identity(), live.parts(), live.within("acme-prod").assets(DISK))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    again = gcp.kept("organizations-461203958147", Playback(answers), NOW)
    assert (again.identity(), again.parts(), again.within("acme-prod").assets(DISK)) == first
