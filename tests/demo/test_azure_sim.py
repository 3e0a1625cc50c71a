"""The simulated Entra tenant as unmodified azure-identity, azure-core and our own handle see it, through the proxy."""

from __future__ import annotations

import json
import re
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

import jwt
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline import policies
from azure.core.rest import HttpRequest
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    DefaultAzureCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
from azure.mgmt.resource.resources import ResourceManagementClient

import checks
from collector import registry
from collector.clouds.azure import Tenant
from collector.clouds.directory import Directory, Limits
from collector.clouds.transcript import Transcript
from collector.config import AzureTenant
from collector.demo.azure.bed import AzureBed
from collector.demo.azure.faults import FAULT_KINDS
from collector.demo.azure.imds import IDENTITY_HEADER
from collector.demo.azure.world import (
    ANALYTICS,
    CLIENT,
    PRINCIPAL,
    PRODUCTION,
    SECRET,
    STAGING,
    SUBSCRIPTION,
    TENANT,
    World,
    subscription_document,
)
from collector.demo.proxy import Proxy
from collector.errors import Denied, Disabled, Throttled, Unavailable, Unreadable
from collector.policy import azure as policy

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ARM = "https://management.azure.com"
GRAPH = "https://graph.microsoft.com/v1.0"
LOGIN = f"https://login.microsoftonline.com/{TENANT}"
ARM_SCOPE = f"{ARM}/.default"
GRAPH_SCOPE = "https://graph.microsoft.com/.default"
GROUP = f"/subscriptions/{PRODUCTION}/resourceGroups/rg-shop"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv-shop"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm-shop"
DISKS = "microsoft.compute/disks"
REGISTRATION = "/reports/authenticationMethods/userRegistrationDetails"
ROLES = (
    "User.Read.All",
    "GroupMember.Read.All",
    "AuditLog.Read.All",
    "Policy.Read.All",
    "RoleManagement.Read.Directory",
)


def resource(id: str, **properties: Any) -> dict[str, Any]:
    parts = id.rpartition("/providers/")[2].split("/")
    kind = "/".join([parts[0], *parts[1::2]])
    return {"id": id, "name": parts[-1], "type": kind, "location": "westeurope", "properties": properties}


def small_tenant(world: World, scale: int) -> None:
    """What these tests ask about, and no more."""

    def arm(body: dict[str, Any]) -> None:
        world.add(body["id"].lower(), body["type"].lower(), body)

    def graph(collection: str, body: dict[str, Any]) -> None:
        world.add(f"{collection}/{body['id']}", collection, body)

    for id, name in ((PRODUCTION, "acme-production"), (STAGING, "acme-staging")):
        world.add(f"/subscriptions/{id}", SUBSCRIPTION, subscription_document(id, name))
    for n in range(7):
        arm(resource(f"{GROUP}/providers/Microsoft.Compute/disks/disk-{n}", diskSizeGB=32 + n))
    other = GROUP.replace(PRODUCTION, STAGING)
    arm(resource(f"{other}/providers/Microsoft.Compute/disks/disk-s", diskSizeGB=8))
    arm(resource(VAULT, enableSoftDelete=True))
    for n in range(5):
        arm(resource(f"{VAULT}/keys/key-{n}", attributes={"enabled": True}))
    setting = f"{VAULT}/providers/Microsoft.Insights/diagnosticSettings/to-workspace"
    arm(resource(setting, workspaceId="/subscriptions/x"))
    arm(resource(VM, vmId="1", extended={"instanceView": {"powerState": {"code": "PowerState/running"}}}))
    site = f"{GROUP}/providers/Microsoft.Web/sites/shop"
    arm(resource(site, httpsOnly=True))
    arm(resource(f"{site}/config/web", minTlsVersion="1.2"))
    versions = (
        f"/subscriptions/{PRODUCTION}/providers/Microsoft.ContainerService/locations/westeurope/kubernetesVersions"
    )
    world.add(
        versions.lower(), "microsoft.containerservice/locations/kubernetesversions", {"values": [{"version": "1.33"}]}
    )
    assessed = f"{VM}/patchAssessmentResults/latest"
    row = {"id": assessed, "name": "latest", "type": "microsoft.compute/virtualmachines/patchassessmentresults"}
    row["properties"] = {"status": "Succeeded", "lastModifiedDateTime": "@-3h"}  # type: ignore[assignment]
    world.add(f"graph row:patchassessmentresources:{assessed.lower()}", "patchassessmentresources", row)
    for n in range(12):
        user = {"id": f"user-{n:02}", "userPrincipalName": f"u{n:02}@acme.example", "displayName": f"User {n}"}
        graph("/users", {**user, "accountEnabled": n != 3, "userType": "Guest" if n == 4 else "Member"})
        graph(
            REGISTRATION,
            {"id": f"user-{n:02}", "userPrincipalName": user["userPrincipalName"], "isMfaRegistered": n < 9},
        )
    graph("/groups", {"id": "group-inner", "displayName": "inner", "members": ["user-01", "user-02", "group-outer"]})
    graph("/groups", {"id": "group-outer", "displayName": "outer", "members": ["group-inner", "user-03"]})
    graph("/roleManagement/directory/roleDefinitions", {"id": "role-ga", "displayName": "Global Administrator"})
    assignment = {"id": "a1", "principalId": "user-00", "roleDefinitionId": "role-ga", "directoryScopeId": "/"}
    graph("/roleManagement/directory/roleAssignments", assignment)
    defaults = "/policies/identitySecurityDefaultsEnforcementPolicy"
    world.add(defaults, defaults, {"id": "00000000-0000-0000-0000-000000000005", "isEnabled": False})


class Clock:
    """A clock that stands where a test has put it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Served:
    """One tenant behind one proxy."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.bed = AzureBed(7, 1, self.clock, small_tenant)
        self.folder = folder
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
    made = Served(tmp_path_factory.mktemp("azure"))
    patch = pytest.MonkeyPatch()
    for name, value in made.environment.items():
        patch.setenv(name, value)
    yield made
    patch.undo()
    made.proxy.close()


@pytest.fixture
def bed(served: Served) -> AzureBed:
    """The tenant as it was at the start, with app roles of Microsoft Graph."""
    served.clock.now = NOW
    served.bed.reset()
    for name in ROLES:
        served.bed.grant(f"graph:{name}")
    served.bed.clear_calls()
    return served.bed


def token(bed: AzureBed, resource: str = ARM) -> str:
    """An access token, without the detour over Entra."""
    return bed.issuer.issue(resource, "1", cae=True, claimed=False, seconds=3599)


class Client:
    """Plain requests with a token of the collector."""

    def __init__(self, bed: AzureBed) -> None:
        self._session = requests.Session()
        self._tokens = {ARM: token(bed), GRAPH: token(bed, "https://graph.microsoft.com")}

    def __call__(self, url: str, method: str = "GET", **more: Any) -> requests.Response:
        base = ARM if url.startswith(ARM) else GRAPH
        headers = {"Authorization": f"Bearer {self._tokens[base]}", **more.pop("headers", {})}
        return self._session.request(method, url, headers=headers, timeout=20, **more)

    def arm(self, path: str, api: str = "2023-07-01", **query: str) -> requests.Response:
        return self(ARM + path, params={"api-version": api, **query})

    def query(self, kql: str, **more: Any) -> requests.Response:
        options = {"resultFormat": "objectArray", **more.pop("options", {})}
        body = {"query": kql, "options": options, **more}
        url = f"{ARM}/providers/Microsoft.ResourceGraph/resources?api-version=2022-10-01"
        return self(url, "POST", json=body)

    def graph(self, path: str, **query: str) -> requests.Response:
        return self(GRAPH + path, params={f"${name}": value for name, value in query.items()})

    def close(self) -> None:
        self._session.close()


@pytest.fixture
def client(bed: AzureBed) -> Iterator[Client]:
    made = Client(bed)
    yield made
    made.close()


def error(answer: requests.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    return found


def code(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, error(answer)["code"]


def claims(text: str) -> dict[str, Any]:
    """The claims of a token whose signature is verified with the tenant's published key."""
    keys = requests.get(f"{LOGIN}/discovery/v2.0/keys", timeout=20).json()["keys"]
    key = jwt.PyJWK(keys[0], algorithm="RS256").key
    found: dict[str, Any] = jwt.decode(text, key, algorithms=["RS256"], options={"verify_aud": False})
    return found


# --- signing in ---


def test_a_secret_gets_a_token_that_says_who_it_is_and_what_it_may(bed: AzureBed) -> None:
    with ClientSecretCredential(TENANT, CLIENT, SECRET) as credential:
        found = claims(credential.get_token(ARM_SCOPE).token)
        roles = claims(credential.get_token(GRAPH_SCOPE).token)["roles"]
    assert (found["tid"], found["appid"], found["oid"], found["idtyp"]) == (TENANT, CLIENT, PRINCIPAL, "app")
    assert found["exp"] - found["iat"] == 3599
    assert "roles" not in found
    assert roles == sorted(ROLES)
    paths = [call["path"] for call in bed.calls() if call["host"] == "login.microsoftonline.com"]
    assert f"/{TENANT}/oauth2/v2.0/token" in paths
    assert bed.unserved() == []


def test_a_certificate_and_a_federated_token_of_a_cluster_sign_in_too(bed: AzureBed, tmp_path: Path) -> None:
    with CertificateCredential(TENANT, CLIENT, bed.certificate(str(tmp_path))) as credential:
        assert claims(credential.get_token(ARM_SCOPE).token)["appidacr"] == "2"
    file = bed.federated_token(str(tmp_path))
    with WorkloadIdentityCredential(tenant_id=TENANT, client_id=CLIENT, token_file_path=file) as workload:
        assert claims(workload.get_token(GRAPH_SCOPE).token)["oid"] == PRINCIPAL


def test_a_wrong_secret_is_refused_in_entras_words(bed: AzureBed) -> None:
    with (
        ClientSecretCredential(TENANT, CLIENT, "wrong") as credential,
        pytest.raises(ClientAuthenticationError, match="AADSTS7000215: Invalid client secret provided"),
    ):
        credential.get_token(ARM_SCOPE)
    assert [call["status"] for call in bed.calls() if call["method"] == "POST"] == [401]


def sign_in(**form: str) -> requests.Response:
    whole = {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_secret": SECRET,
        "scope": ARM_SCOPE,
        **form,
    }
    return requests.post(f"{LOGIN}/oauth2/v2.0/token", data=whole, timeout=20)


def federated(bed: AzureBed, **other: Any) -> dict[str, str]:
    return {
        "client_secret": "",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": bed.issuer.federated_token(**other),
    }


@pytest.mark.parametrize(
    ("form", "status", "word", "number"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": ""}, 401, "invalid_client", 7000218),
        ({"client_id": PRINCIPAL}, 400, "unauthorized_client", 700016),
        ({"scope": "https://database.windows.net/.default"}, 400, "invalid_resource", 500011),
        ({"scope": "https://graph.microsoft.com/User.Read.All"}, 400, "invalid_scope", 1002012),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
    ],
)
def test_entra_says_with_a_number_what_is_wrong(
    bed: AzureBed, form: dict[str, str], status: int, word: str, number: int
) -> None:
    answer = sign_in(**form)
    body = answer.json()
    assert (answer.status_code, body["error"], body["error_codes"]) == (status, word, [number])
    assert body["error_description"].startswith(f"AADSTS{number}: ")
    assert re.search(r"Trace ID: \S+ Correlation ID: \S+ Timestamp: 2026-01-05 12:00:00Z$", body["error_description"])


@pytest.mark.parametrize(
    ("other", "number"),
    [
        ({}, 0),
        ({"sub": "system:serviceaccount:evidence:stranger"}, 700213),
        ({"aud": "api://elsewhere"}, 700213),
        ({"nbf": 0, "exp": 3600}, 700024),
        ({"iss": CLIENT}, 700027),  # says it is the application, and is signed with another key
    ],
)
def test_a_federated_token_is_taken_only_from_whom_and_when_it_is_good(
    bed: AzureBed, other: dict[str, Any], number: int
) -> None:
    answer = sign_in(**federated(bed, **other))
    assert answer.status_code == (401 if number else 200)
    assert answer.json().get("error_codes", [0]) == [number]


def test_a_tenant_that_is_not_there_has_no_configuration(bed: AzureBed) -> None:
    other = LOGIN.replace(TENANT, PRINCIPAL)
    answer = requests.get(f"{other}/v2.0/.well-known/openid-configuration", timeout=20)
    assert (answer.status_code, answer.json()["error_codes"]) == (400, [90002])


@pytest.fixture
def machine(bed: AzureBed) -> Iterator[str]:
    """The metadata service on loopback, as a test or a demo puts it there."""

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
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_machine_and_an_app_have_an_identity_without_a_secret(
    bed: AzureBed, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine)
    with ManagedIdentityCredential() as credential:
        assert claims(credential.get_token(ARM_SCOPE).token)["appid"] == CLIENT
    with (
        ManagedIdentityCredential(client_id=PRINCIPAL) as stranger,
        pytest.raises(ClientAuthenticationError, match="Identity not found"),
    ):
        stranger.get_token(ARM_SCOPE)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{machine}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    with ManagedIdentityCredential() as app:
        assert claims(app.get_token(ARM_SCOPE).token)["oid"] == PRINCIPAL
    assert bed.metadata("GET", "/metadata/identity/oauth2/token?api-version=1", {}).status == 400


# --- Azure Resource Manager ---


@pytest.fixture
def pipeline(bed: AzureBed) -> Iterator[Any]:
    """azure-core as its own SDKs assemble it."""
    with ClientSecretCredential(TENANT, CLIENT, SECRET) as credential:
        chain = [policies.RetryPolicy(), ARMChallengeAuthenticationPolicy(credential, ARM_SCOPE)]
        made: Any = ARMPipelineClient(base_url=ARM, policies=chain)
        with made:
            yield made


def test_the_management_client_reads_and_lists(bed: AzureBed) -> None:
    bed.grant("Microsoft.Resources/subscriptions/resources/read")
    bed.set("page_size", 3)
    with (
        DefaultAzureCredential() as credential,
        ResourceManagementClient(credential, PRODUCTION) as management,
    ):
        found = management.resources.get_by_id(VAULT, api_version="2023-07-01")
        names = [item.name for item in management.resources.list()]
    assert (found.type, found.properties) == ("Microsoft.KeyVault/vaults", {"enableSoftDelete": True})
    assert [name for name in names if name and name.startswith("disk")] == [f"disk-{n}" for n in range(7)]
    assert len([call for call in bed.calls() if call["path"].endswith("/resources")]) == -(-len(names) // 3)


def test_a_pipeline_of_azure_core_follows_next_links(pipeline: Any, bed: AzureBed) -> None:
    bed.set("page_size", 2)
    url, names = f"{ARM}{VAULT}/keys?api-version=2023-07-01", []
    while url:
        answer = pipeline.send_request(HttpRequest("GET", url))
        answer.raise_for_status()
        names += [item["name"] for item in answer.json()["value"]]
        url = answer.json().get("nextLink", "")
    assert names == [f"key-{n}" for n in range(5)]


def test_every_answer_says_when_and_which_it_was(client: Client) -> None:
    answer = client.arm("/subscriptions", "2022-12-01")
    assert [item["displayName"] for item in answer.json()["value"]] == ["acme-production", "acme-staging"]
    assert answer.json()["count"] == {"type": "Total", "value": 2}
    assert parsedate_to_datetime(answer.headers["Date"]) == NOW
    assert answer.headers["x-ms-request-id"] == answer.headers["x-ms-correlation-request-id"]
    assert answer.headers["x-ms-ratelimit-remaining-tenant-reads"] == "249"


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        (f"{VAULT}s", 404, "ResourceNotFound"),
        (f"{VAULT}s/keys", 404, "ParentResourceNotFound"),
        (f"{VAULT}/keys/key-9", 404, "ResourceNotFound"),
        (f"{GROUP}x/providers/Microsoft.KeyVault/vaults", 404, "ResourceGroupNotFound"),
        (f"/subscriptions/{ANALYTICS}/providers/Microsoft.KeyVault/vaults", 404, "SubscriptionNotFound"),
        ("/subscriptions/acme/providers/Microsoft.KeyVault/vaults", 400, "InvalidSubscriptionId"),
        (f"{GROUP}/providers/Microsoft.Compute/snapshots", 403, "AuthorizationFailed"),
        (f"{VAULT}/secrets", 403, "AuthorizationFailed"),
        ("/providers/Microsoft.Management/managementGroups/other/descendants", 403, "AuthorizationFailed"),
    ],
)
def test_what_is_not_there_or_not_allowed_is_said_as_azure_says_it(
    client: Client, path: str, status: int, word: str
) -> None:
    assert code(client.arm(path)) == (status, word)


def test_a_denial_names_the_action_and_who_may_not(client: Client, bed: AzureBed) -> None:
    bed.revoke("Microsoft.KeyVault/vaults/keys/read", PRODUCTION)
    answer = client.arm(f"{VAULT}/keys")
    assert code(answer) == (403, "AuthorizationFailed")
    assert f"client '{PRINCIPAL}'" in error(answer)["message"]
    assert "action 'Microsoft.KeyVault/vaults/keys/read'" in error(answer)["message"]
    assert client.arm(VAULT).status_code == 200
    bed.grant("Microsoft.KeyVault/vaults/keys/read", PRODUCTION)
    assert client.arm(f"{VAULT}/keys").status_code == 200


def test_nothing_can_be_written(client: Client) -> None:
    for method in ("PUT", "PATCH", "DELETE", "POST"):
        answer = client(f"{ARM}{VAULT}?api-version=2023-07-01", method)
        assert code(answer) == (403, "AuthorizationFailed"), method


def test_an_api_version_is_required_and_must_be_one(client: Client) -> None:
    assert code(client(f"{ARM}{VAULT}")) == (400, "MissingApiVersionParameter")
    assert code(client.arm(VAULT, "latest")) == (400, "InvalidApiVersionParameter")


def test_a_type_that_nobody_knows_is_no_empty_list(client: Client, bed: AzureBed) -> None:
    bed.grant("*/read")
    assert code(client.arm(f"{GROUP}/providers/Microsoft.Nothing/things")) == (404, "InvalidResourceType")


def test_settings_belong_to_the_resource_in_front_of_them(client: Client, bed: AzureBed) -> None:
    bed.grant("Microsoft.Insights/diagnosticSettings/read")
    settings = "/providers/Microsoft.Insights/diagnosticSettings"
    assert [item["name"] for item in client.arm(VAULT + settings).json()["value"]] == ["to-workspace"]
    assert client.arm(f"/subscriptions/{PRODUCTION}{settings}").json() == {"value": []}
    assert code(client.arm(f"{VAULT}s{settings}")) == (404, "ResourceNotFound")


def test_resources_are_listed_for_a_subscription_and_for_a_group(client: Client) -> None:
    disks = "/providers/Microsoft.Compute/disks"
    for scope, count in ((f"/subscriptions/{PRODUCTION}", 7), (GROUP, 7), (f"/subscriptions/{STAGING}", 1)):
        assert len(client.arm(scope + disks).json()["value"]) == count


def test_a_document_that_is_no_resource_is_read_by_its_path(client: Client) -> None:
    path = f"/subscriptions/{PRODUCTION}/providers/Microsoft.ContainerService/locations/westeurope/kubernetesVersions"
    assert client.arm(path).json() == {"values": [{"version": "1.33"}]}


def test_the_power_of_a_machine_is_in_resource_graph_and_not_in_its_own_answer(client: Client) -> None:
    assert client.arm(VM).json()["properties"] == {"vmId": "1"}
    (row,) = client.query("resources | where type =~ 'microsoft.compute/virtualMachines'").json()["data"]
    assert row["properties"]["extended"]["instanceView"]["powerState"]["code"] == "PowerState/running"


def test_the_permissions_of_a_subscription_are_the_role(client: Client, bed: AzureBed) -> None:
    path = f"/subscriptions/{PRODUCTION}/providers/Microsoft.Authorization/permissions"
    (role,) = client.arm(path, "2022-04-01").json()["value"]
    assert role["actions"] == [name for name in bed.permissions() if not name.startswith("graph:")]
    bed.revoke("Microsoft.Compute/virtualMachines/patchAssessmentResults/read", PRODUCTION)
    (role,) = client.arm(path, "2022-04-01").json()["value"]
    assert role["notActions"] == ["Microsoft.Compute/virtualMachines/patchAssessmentResults/read"]


def test_a_management_group_has_the_subscriptions_below_it(client: Client) -> None:
    path = "/providers/Microsoft.Management/managementGroups/{}/descendants"
    ids = [item["id"] for item in client.arm(path.format("acme"), "2020-05-01").json()["value"]]
    assert ids == [f"/subscriptions/{PRODUCTION}", f"/subscriptions/{STAGING}"]
    above = client.arm(path.format(TENANT), "2020-05-01").json()["value"]
    assert above[0]["type"] == "Microsoft.Management/managementGroups"


def test_a_token_of_one_listing_is_refused_by_another(client: Client, bed: AzureBed) -> None:
    bed.set("page_size", 2)
    link = client.arm(f"{VAULT}/keys").json()["nextLink"]
    assert code(client(link.replace("vaults/kv-shop/keys", "vaults"))) == (400, "InvalidSkipToken")


def test_reads_of_a_subscription_are_a_bucket_that_fills_again(client: Client, bed: AzureBed, served: Served) -> None:
    bed.set("subscription_reads", 3)
    bed.set("subscription_reads_per_second", 1)
    answers = [client.arm(VAULT) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["x-ms-ratelimit-remaining-subscription-reads"] == "2"
    assert code(answers[3]) == (429, "SubscriptionRequestsThrottled")
    assert answers[3].headers["Retry-After"] == "1"
    served.clock.now += timedelta(seconds=2)
    assert client.arm(VAULT).status_code == 200


# --- tokens that are refused ---


def test_a_request_needs_a_good_token_for_the_host(bed: AzureBed) -> None:
    url = f"{ARM}/subscriptions?api-version=2022-12-01"
    wrong = {"Authorization": f"Bearer {token(bed, 'https://graph.microsoft.com')}"}
    for headers, word in (
        ({}, "AuthenticationFailed"),
        ({"Authorization": "Bearer nonsense"}, "InvalidAuthenticationToken"),
        (wrong, "InvalidAuthenticationTokenAudience"),
    ):
        answer = requests.get(url, headers=headers, timeout=20)
        assert code(answer) == (401, word)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Bearer {token(bed)}"}):
        answer = requests.get(f"{GRAPH}/users", headers=headers, timeout=20)
        assert code(answer) == (401, "InvalidAuthenticationToken")
        assert {"date", "request-id", "client-request-id"} == error(answer)["innerError"].keys()


def test_a_token_ends_when_it_said_it_would(bed: AzureBed) -> None:
    bed.set("token_seconds", 1)
    answer = sign_in().json()
    assert answer["expires_in"] == 1
    time.sleep(2)
    url = f"{ARM}/subscriptions?api-version=2022-12-01"
    refused = requests.get(url, headers={"Authorization": f"Bearer {answer['access_token']}"}, timeout=20)
    assert code(refused) == (401, "ExpiredAuthenticationToken")


def test_azure_core_answers_a_claims_challenge_with_another_token(pipeline: Any, bed: AzureBed) -> None:
    request = HttpRequest("GET", f"{ARM}/subscriptions?api-version=2022-12-01")
    pipeline.send_request(request).raise_for_status()
    bed.fault("cae")
    bed.clear_calls()
    pipeline.send_request(request).raise_for_status()
    pipeline.send_request(request).raise_for_status()
    calls = [(call["host"].partition(".")[0], call["status"]) for call in bed.calls()]
    assert [call for call in calls if call[0] == "management"] == [("management", n) for n in (401, 200, 200)]
    assert ("login", 200) in calls


# --- Resource Graph ---

ALL_DISKS = f"resources | where type =~ '{DISKS}' | project id, name, sku, properties | order by id asc"


def test_rows_come_page_by_page_with_their_total(client: Client) -> None:
    rows: list[dict[str, Any]] = []
    options: dict[str, Any] = {"$top": 3}
    while True:
        body = client.query(ALL_DISKS, options=options).json()
        assert (body["totalRecords"], body["count"]) == (8, len(body["data"]))
        assert body["resultTruncated"] == ("true" if "$skipToken" in body else "false")
        rows += body["data"]
        if "$skipToken" not in body:
            break
        options["$skipToken"] = body["$skipToken"]
    assert [row["name"] for row in rows] == [*(f"disk-{n}" for n in range(7)), "disk-s"]
    assert rows[0].keys() == {"id", "name", "sku", "properties"}
    assert rows[0]["sku"] is None
    assert rows[0]["id"].startswith("/subscriptions/")
    assert "resourceGroups" in rows[0]["id"]


def test_a_row_has_every_column_in_resource_graphs_own_letters(client: Client) -> None:
    (row,) = client.query("resources | where name == 'disk-3'").json()["data"]
    assert (row["type"], row["resourceGroup"], row["subscriptionId"]) == (DISKS, "rg-shop", PRODUCTION)
    assert (row["kind"], row["tenantId"], row["tags"]) == ("", TENANT, None)
    assert client.query("resources | where name =~ 'DISK-3' and type == 'Microsoft.Compute/disks'").json()["data"] == []
    assert client.query("Resources | where type in~ ('Microsoft.Compute/disks') | count").json()["data"] == [
        {"Count": 8}
    ]


def test_a_row_that_may_not_be_read_is_left_out_in_silence(client: Client, bed: AzureBed) -> None:
    bed.revoke("Microsoft.Compute/disks/read", PRODUCTION)
    body = client.query(ALL_DISKS).json()
    assert (body["totalRecords"], [row["name"] for row in body["data"]]) == (1, ["disk-s"])


def test_the_subscriptions_of_a_query_are_honoured(client: Client) -> None:
    assert client.query(ALL_DISKS, subscriptions=[STAGING]).json()["totalRecords"] == 1
    assert client.query(ALL_DISKS, subscriptions=[STAGING, ANALYTICS]).json()["totalRecords"] == 1
    refused = client.query(ALL_DISKS, subscriptions=[ANALYTICS])
    assert code(refused) == (400, "BadRequest")
    assert error(refused)["details"][0]["code"] == "NoValidSubscriptionsInQueryRequest"


def test_subscriptions_are_containers(client: Client, bed: AzureBed) -> None:
    query = "resourcecontainers | where type =~ 'microsoft.resources/subscriptions' | project subscriptionId, name"
    assert client.query(query).json()["data"] == [
        {"subscriptionId": PRODUCTION, "name": "acme-production"},
        {"subscriptionId": STAGING, "name": "acme-staging"},
    ]
    bed.revoke("Microsoft.Resources/subscriptions/read", STAGING)
    assert client.query(query).json()["totalRecords"] == 1


def test_other_tables_have_other_rows(client: Client) -> None:
    (row,) = client.query("appserviceresources | where type =~ 'microsoft.web/sites/config'").json()["data"]
    assert row["properties"] == {"MinTlsVersion": "1.2"}
    assert row["id"].endswith("/sites/shop/config/web")
    (row,) = client.query("patchassessmentresources").json()["data"]
    assert row["properties"]["lastModifiedDateTime"] == "2026-01-05T09:00:00.000Z"
    assert row["subscriptionId"] == PRODUCTION
    kinds = {row["type"] for row in client.query("resources | project type").json()["data"]}
    assert kinds == {DISKS, "microsoft.keyvault/vaults", "microsoft.compute/virtualmachines", "microsoft.web/sites"}


@pytest.mark.parametrize(
    ("query", "word", "said"),
    [
        ("resources | where type contains 'disks'", "ParserFailure", "contains"),
        ("resources | where type =~ disks", "ParserFailure", "disks"),
        ("resources | where type =~ 'disks", "ParserFailure", "'"),
        ("resources | summarize count() by type", "InvalidQueryLanguage", "summarize"),
        ("resources | extend a = 1", "InvalidQueryLanguage", "extend"),
        ("resources | project nothing", "Default", "nothing"),
        ("resources | project name | where type == 'x'", "Default", "type"),
        ("resources | project properties.sku", "ParserFailure", "."),
        ("storageaccounts", "DisallowedLogicalTableName", "storageaccounts"),
        ("where type =~ 'x'", "ParserFailure", "type"),
        ("resources |", "ParserFailure", "<EOF>"),
        ("", "ParserFailure", "<EOF>"),
    ],
)
def test_a_query_that_is_not_understood_is_refused(client: Client, query: str, word: str, said: str) -> None:
    answer = client.query(query)
    assert code(answer) == (400, "BadRequest")
    first, second = error(answer)["details"]
    assert (first["code"], second["code"], second["token"]) == ("InvalidQuery", word, said)


def test_options_outside_their_range_are_refused(client: Client) -> None:
    token = client.query(ALL_DISKS, options={"$top": 3}).json()["$skipToken"]
    for options, word in (
        ({"$top": 1001}, "TopParameterOutOfAllowedRange"),
        ({"$skip": -1}, "SkipParameterOutOfAllowedRange"),
        ({"$skipToken": "nonsense"}, "InvalidSkipToken"),
        ({"resultFormat": "table"}, "UnsupportedOption"),
    ):
        answer = client.query(ALL_DISKS, options=options)
        assert error(answer)["details"][0]["code"] == word
    other = client.query("resources | project id", options={"$skipToken": token})
    assert error(other)["details"][0]["code"] == "InvalidSkipToken"
    assert client.query("resources | project name", options={"$top": 1}).json().get("$skipToken") is None


def test_queries_are_counted_in_windows_of_five_seconds(client: Client, bed: AzureBed, served: Served) -> None:
    bed.set("resource_graph_per_5s", 2)
    answers = [client.query("resources | count") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ms-user-quota-remaining"] for answer in answers] == ["1", "0", "0"]
    assert re.fullmatch(r"00:00:0[1-5]", answers[2].headers["x-ms-user-quota-resets-after"])
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 5
    assert error(answers[2])["details"][0]["code"] == "RateLimiting"
    served.clock.now += timedelta(seconds=6)
    assert client.query("resources | count").status_code == 200


def test_resource_graph_learns_late(client: Client, bed: AzureBed, served: Served) -> None:
    bed.set("resource_graph_lag_seconds", 300)
    served.clock.now += timedelta(hours=1)
    id = bed.put(resource(f"{GROUP}/providers/Microsoft.Compute/disks/disk-new"))
    assert client.arm(id).status_code == 200
    assert client.query(ALL_DISKS).json()["totalRecords"] == 8
    served.clock.now += timedelta(minutes=6)
    assert client.query(ALL_DISKS).json()["totalRecords"] == 9


# --- Microsoft Graph ---


def test_a_user_shows_what_is_selected_and_little_by_default(client: Client) -> None:
    body = client.graph("/users", top="2").json()
    assert body["@odata.context"].endswith("/v1.0/$metadata#users")
    assert "accountEnabled" not in body["value"][0]
    assert body["value"][0]["jobTitle"] is None
    chosen = client.graph("/users", select="id,accountEnabled,userType").json()["value"]
    assert chosen[3] == {"id": "user-03", "accountEnabled": False, "userType": "Member"}
    one = client.graph("/users/u04@acme.example", select="userType").json()
    assert one["userType"] == "Guest"
    assert one["@odata.context"].endswith("#users/$entity")


def test_collections_come_page_by_page(client: Client, bed: AzureBed) -> None:
    bed.set("page_size", 5)
    url, ids, pages = f"{GRAPH}/users?$select=id&$top=999", [], 0
    while url:
        body = client(url).json()
        ids += [user["id"] for user in body["value"]]
        url = body.get("@odata.nextLink", "")
        pages += 1
    assert (len(ids), len(set(ids)), pages) == (12, 12, 3)
    bed.set("page_size", 0)
    assert "@odata.nextLink" not in client.graph("/users", top="999").json()


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ("userType eq 'Guest'", 1),
        ("accountEnabled eq true and userType eq 'member'", 10),
        ("startswith(userPrincipalName,'U1')", 2),
    ],
)
def test_filters_are_applied(client: Client, wanted: str, count: int) -> None:
    assert len(client.graph("/users", select="id", filter=wanted).json()["value"]) == count


@pytest.mark.parametrize(
    "query",
    [
        {"filter": "accountEnabled ne true"},
        {"filter": "accountEnabled eq true or userType eq 'Guest'"},
        {"filter": "nothing eq 'x'"},
        {"select": "nothing"},
        {"top": "1000"},
        {"top": "many"},
        {"orderby": "displayName"},
        {"search": '"displayName:x"'},
        {"expand": "manager"},
        {"skiptoken": "nonsense"},
    ],
)
def test_a_query_that_graph_does_not_take_is_refused(client: Client, query: dict[str, str]) -> None:
    answer = client.graph("/users", **query)
    assert answer.status_code == 400
    assert error(answer)["code"] in ("BadRequest", "Request_UnsupportedQuery", "Directory_ExpiredPageToken")


def test_members_are_followed_through_groups_also_in_a_circle(client: Client, bed: AzureBed) -> None:
    def ids(path: str) -> list[str]:
        return [item["id"] for item in client.graph(path).json()["value"]]

    assert ids("/groups/group-outer/members") == ["group-inner", "user-03"]
    assert ids("/groups/group-outer/transitiveMembers") == ["group-inner", "user-01", "user-02", "user-03"]
    first = client.graph("/groups/group-inner/transitiveMembers").json()["value"]
    assert {item["@odata.type"] for item in first} == {"#microsoft.graph.user", "#microsoft.graph.group"}
    assert "members" not in client.graph("/groups/group-inner").json()
    assert ids("/users/user-01/transitiveMemberOf") == ["group-inner", "group-outer"]
    assert ids("/users/user-01/memberOf") == ["group-inner"]
    refused = client.graph("/groups/group-inner/transitiveMembers", filter="accountEnabled eq true")
    assert code(refused) == (400, "Request_UnsupportedQuery")  # not without the index


def test_members_that_may_not_be_read_show_their_id_alone(bed: AzureBed) -> None:
    bed.revoke("graph:User.Read.All")
    client = Client(bed)
    members = client.graph("/groups/group-outer/members").json()["value"]
    client.close()
    assert members[1]["id"] == "user-03"
    assert members[1]["userPrincipalName"] is None
    assert members[0]["displayName"] == "inner"


def test_an_app_role_is_taken_from_the_token(client: Client, bed: AzureBed) -> None:
    bed.revoke("graph:User.Read.All")
    assert code(client.graph("/users")) == (401, "InvalidAuthenticationToken")  # its roles are those of the day before
    other = Client(bed)
    assert code(other.graph("/users")) == (403, "Authorization_RequestDenied")
    bed.revoke("graph:AuditLog.Read.All")
    bed.revoke("graph:Policy.Read.All")
    last = Client(bed)
    assert code(last.graph(REGISTRATION)) == (403, "Authentication_MSGraphPermissionMissing")
    assert code(last.graph("/policies/identitySecurityDefaultsEnforcementPolicy")) == (403, "AccessDenied")
    other.close()
    last.close()


def test_reports_and_privileged_identities_need_a_licence(client: Client, bed: AzureBed) -> None:
    schedules = "/roleManagement/directory/roleEligibilitySchedules"
    assert len(client.graph(REGISTRATION).json()["value"]) == 12
    assert client.graph(schedules).json()["value"] == []
    bed.set("licenses", [])
    assert code(client.graph(REGISTRATION)) == (403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant")
    assert code(client.graph("/users", select="signInActivity"))[0] == 403
    assert code(client.graph(schedules)) == (400, "AadPremiumLicenseRequired")
    assert client.graph("/users").status_code == 200


def test_policies_and_roles_are_read(client: Client) -> None:
    policy = client.graph("/policies/identitySecurityDefaultsEnforcementPolicy").json()
    assert (policy["isEnabled"], policy["@odata.context"].rpartition("#")[2]) == (
        False,
        "policies/identitySecurityDefaultsEnforcementPolicy/$entity",
    )
    assert client.graph("/identity/conditionalAccess/policies").json()["value"] == []
    path = "/roleManagement/directory/roleAssignments"
    (assignment,) = client.graph(path, expand="principal").json()["value"]
    assert assignment["principal"]["@odata.type"] == "#microsoft.graph.user"
    (assignment,) = client.graph(path, expand="roleDefinition").json()["value"]
    assert assignment["roleDefinition"]["displayName"] == "Global Administrator"
    assert code(client.graph("/groups/nobody")) == (404, "Request_ResourceNotFound")
    assert code(client.graph("/groups/nobody/members")) == (404, "Request_ResourceNotFound")


# --- faults ---


@pytest.mark.parametrize(
    ("kind", "arm", "graph", "query"),
    [
        ("throttle", (429, "SubscriptionRequestsThrottled"), (429, "TooManyRequests"), (429, "RateLimiting")),
        ("denied", (403, "AuthorizationFailed"), (403, "Authorization_RequestDenied"), (403, "AccessDenied")),
        ("500", (500, "InternalServerError"), (500, "InternalServerError"), (500, "InternalServerError")),
        *(
            ("expired", each, (401, "InvalidAuthenticationToken"), each)
            for each in [(401, "ExpiredAuthenticationToken")]
        ),
        *(("cae", each, each, each) for each in [(401, "InvalidAuthenticationToken")]),
    ],
)
def test_a_fault_is_the_services_own_error_as_often_as_it_should(
    client: Client, bed: AzureBed, kind: str, arm: Any, graph: Any, query: Any
) -> None:
    asks: list[tuple[Callable[[], requests.Response], Any]] = [
        (lambda: client.arm(VAULT), arm),
        (lambda: client.graph("/users"), graph),
        (lambda: client.query("resources | count"), query),
    ]
    for ask, expected in asks:
        bed.fault(kind, times=2)
        answers = [ask() for _ in range(3)]
        assert [code(answer) for answer in answers[:2]] == [expected, expected]
        assert answers[2].status_code == 200
        assert ("Retry-After" in answers[0].headers) == (kind == "throttle")
        assert ("WWW-Authenticate" in answers[0].headers) == (answers[0].status_code == 401)
        assert [call["fault"] for call in bed.calls()][-3:] == [kind, kind, ""]
    assert "cae" in FAULT_KINDS


def test_a_fault_hits_one_query_of_resource_graph(client: Client, bed: AzureBed) -> None:
    bed.fault("denied", operation=DISKS)
    assert client.query(ALL_DISKS).status_code == 403
    assert client.query("resources | where type =~ 'microsoft.keyvault/vaults'").status_code == 200
    assert bed.calls()[0]["kql"] == ALL_DISKS


def test_licences_are_graphs_and_registrations_are_arms(client: Client, bed: AzureBed) -> None:
    bed.fault("licence")
    bed.fault("unregistered")
    assert code(client.graph(REGISTRATION)) == (403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant")
    assert code(client.arm(VAULT)) == (409, "MissingSubscriptionRegistration")


def test_lines_drop_and_answers_are_no_json(client: Client, bed: AzureBed) -> None:
    bed.fault("reset", times=1)
    with pytest.raises(requests.ConnectionError):
        client.arm(VAULT)
    assert bed.calls()[-1]["status"] == 0
    bed.fault("truncate", times=1)
    with pytest.raises(requests.RequestException):
        client.arm(VAULT)
    bed.fault("html", times=1)
    assert client.arm(VAULT).headers["Content-Type"].startswith("text/html")
    bed.fault("slow", seconds=0.3, times=1)
    begun = time.monotonic()
    assert client.arm(VAULT).status_code == 200
    assert time.monotonic() - begun >= 0.3


def test_the_token_door_fails_only_when_it_is_named(bed: AzureBed) -> None:
    bed.fault("denied")
    assert sign_in().status_code == 200
    for kind, status, number in (("denied", 401, 7000112), ("expired", 401, 7000222), ("500", 503, 90033)):
        bed.clear_faults()
        bed.fault(kind, host="login.microsoftonline.com")
        answer = sign_in()
        assert (answer.status_code, answer.json()["error_codes"]) == (status, [number])


def test_a_fault_or_a_setting_that_nobody_knows_is_refused(bed: AzureBed) -> None:
    with pytest.raises(ValueError, match="throttle"):
        bed.fault("earthquake")
    with pytest.raises(ValueError, match="page_size"):
        bed.set("pagesize", 3)


def test_what_nobody_knows_is_refused_and_remembered(client: Client, bed: AzureBed) -> None:
    assert client.graph("/devices").status_code == 400
    assert client(f"{ARM}/providers?api-version=2022-12-01").status_code == 404
    assert requests.get(f"{LOGIN}/oauth2/v2.0/authorize", timeout=20).status_code == 404
    assert bed.unserved() == [
        "GET graph.microsoft.com/v1.0/devices",
        "GET management.azure.com/providers",
        f"GET login.microsoftonline.com/{TENANT}/oauth2/v2.0/authorize",
    ]


# --- our own handle ---


@pytest.fixture
def tenant(bed: AzureBed) -> Callable[..., Tenant]:
    clouds = Directory(lambda: NOW, Limits(patience_seconds=20))

    def opened(**settings: Any) -> Tenant:
        found = clouds.open(AzureTenant(tenant=TENANT, **settings), Transcript(), NOW)
        assert isinstance(found, Tenant)
        return found

    return opened


def test_the_handle_knows_who_it_is_and_what_there_is(tenant: Callable[..., Tenant], bed: AzureBed) -> None:
    handle = tenant()
    assert handle.identity() == f"{CLIENT}@{TENANT}"
    assert handle.parts() == [PRODUCTION, STAGING]
    assert tenant(management_group="acme").parts() == [PRODUCTION, STAGING]
    bed.add_subscription(ANALYTICS, "acme-analytics")
    assert tenant().parts() == [PRODUCTION, STAGING, ANALYTICS]
    assert bed.unserved() == []


@pytest.mark.parametrize("page_size", [0, 1, 3])
def test_the_handle_reads_all_pages_of_all_three_apis(
    tenant: Callable[..., Tenant], bed: AzureBed, page_size: int
) -> None:
    bed.set("page_size", page_size)
    handle = tenant()
    assert len(handle.resources(DISKS)) == 8
    assert [disk["name"] for disk in handle.within(STAGING).resources(DISKS)] == ["disk-s"]
    assert len(handle.each(f"{VAULT}/keys", api="2023-07-01")) == 5
    assert len(handle.graph_each("/users", select="id,accountEnabled")) == 12
    assert handle.graph("/policies/identitySecurityDefaultsEnforcementPolicy")["isEnabled"] is False


def test_the_handle_knows_a_missing_right_from_an_empty_list(tenant: Callable[..., Tenant], bed: AzureBed) -> None:
    bed.revoke("Microsoft.Compute/disks/read", PRODUCTION)
    handle = tenant()
    assert len(handle.within(STAGING).resources(DISKS)) == 1
    with pytest.raises(Denied, match=r"may not microsoft\.compute/disks/read"):
        handle.within(PRODUCTION).resources(DISKS)
    bed.revoke("Microsoft.Compute/virtualMachines/patchAssessmentResults/read")
    with pytest.raises(Denied, match="patchassessmentresults"):
        tenant().resources("microsoft.compute/virtualmachines/patchassessmentresults", "patchassessmentresources")


def test_the_handle_says_what_a_licence_or_a_role_would_change(tenant: Callable[..., Tenant], bed: AzureBed) -> None:
    bed.set("licenses", [])
    with pytest.raises(Disabled, match="Entra ID P1"):
        tenant().graph_each(REGISTRATION)
    bed.revoke("graph:User.Read.All")
    with pytest.raises(Denied, match="Authorization_RequestDenied"):
        tenant().graph_each("/users")
    with pytest.raises(Unreadable, match="ResourceNotFound"):
        tenant().get(f"{VAULT}s", api="2023-07-01")
    assert tenant().get(f"{VAULT}s", api="2023-07-01", absent=("ResourceNotFound",)) is None


def test_the_handle_outlives_revoked_and_expired_tokens(tenant: Callable[..., Tenant], bed: AzureBed) -> None:
    tenant().parts()
    bed.expire_tokens()
    assert tenant().parts() == [PRODUCTION, STAGING]
    bed.fault("cae")
    assert tenant().parts() == [PRODUCTION, STAGING]
    bed.clear_faults()
    bed.fault("expired", host="management.azure.com")
    with pytest.raises(Denied, match="ExpiredAuthenticationToken"):
        tenant().parts()


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("500", Unavailable),
        ("reset", Unavailable),
        ("truncate", Unavailable),
        ("throttle", Throttled),
        ("denied", Denied),
        ("unregistered", Disabled),
        ("html", Unreadable),
    ],
)
def test_no_fault_passes_for_an_answer(
    tenant: Callable[..., Tenant], bed: AzureBed, kind: str, family: type[Exception]
) -> None:
    clouds = Directory(lambda: NOW, Limits(patience_seconds=0))
    handle = clouds.open(AzureTenant(tenant=TENANT), Transcript(), NOW)
    bed.fault(kind)
    with pytest.raises(family):
        handle.parts()
    bed.clear_faults()
    bed.fault(kind, times=1)
    if family in (Unavailable, Throttled):  # worth another attempt
        assert tenant().parts() == [PRODUCTION, STAGING]


def test_the_handle_keeps_within_the_quota_of_resource_graph(tenant: Callable[..., Tenant], bed: AzureBed) -> None:
    bed.set("resource_graph_per_5s", 2)
    handle = tenant()
    assert len(handle.resources(DISKS)) == 8  # with the containers: two queries
    assert len(handle.resources("microsoft.keyvault/vaults")) == 1
    statuses = [call["status"] for call in bed.calls() if call["kql"]]
    assert statuses == [200, 200, 200]  # it has waited and was not told to


# --- what the collector may do ---


def test_the_collector_holds_exactly_what_the_checks_declare(served: Served) -> None:
    served.bed.reset()
    declared = [item.check for item in registry.load([checks]) if item.check.cloud == "azure"]
    graph = {f"graph:{name}" for name in policy.graph_permissions(declared)}
    who = {"Microsoft.Insights/eventtypes/values/read"}  # asked of the activity log where alerts say who changed what
    assert set(served.bed.permissions()) == {*policy.actions(declared), *graph, *who}


# --- the control door ---


def test_objects_are_shown_put_edited_removed_and_reset(bed: AzureBed) -> None:
    disk = bed.resources("Microsoft.Compute/disks")[0]
    whole = bed.show(disk)
    assert bed.show(whole["id"]) == whole  # by the provider's letters too
    bed.edit(whole["id"], "properties.diskSizeGB", 64)
    assert bed.show(disk)["properties"]["diskSizeGB"] == 64
    bed.edit(disk, "location", None)
    assert "location" not in bed.show(disk)
    bed.remove(disk)
    with pytest.raises(LookupError, match="no object"):
        bed.show(disk)
    row = {"id": f"{VM}/x", "type": "microsoft.security/assessments", "name": "x"}
    assert bed.put(row, "securityresources") == f"graph row:securityresources:{VM.lower()}/x"
    assert bed.put({"id": "new"}, "/users") == "/users/new"
    defaults = "/policies/identitySecurityDefaultsEnforcementPolicy"
    assert bed.put({"id": "x", "isEnabled": True}, defaults) == defaults
    assert bed.show(defaults)["isEnabled"] is True
    assert bed.put(subscription_document(ANALYTICS, "x", "Disabled")) == f"/subscriptions/{ANALYTICS}"
    with pytest.raises(ValueError, match="put wants"):
        bed.put({"nothing": 1})
    bed.reset()
    assert bed.show(disk) == whole


def test_the_process_of_the_simulated_clouds_serves_the_tenant(tmp_path: Path) -> None:
    script = (
        "import json\n"
        "from collector.demo.cloud import SimulatedCloud\n"
        "with SimulatedCloud() as cloud:\n"
        "    cloud.azure.fault(kind='denied', times=1)\n"
        "    print(json.dumps([cloud.azure.permissions(), sorted(cloud.environment)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    permissions, names = json.loads(done.stdout)
    assert "Microsoft.ResourceGraph/resources/read" in permissions
    assert {"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"} < set(names)
