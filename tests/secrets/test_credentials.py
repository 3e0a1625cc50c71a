"""Every way of signing in that a cloud has: no secret, assertion or token of it is kept, logged or said.

Also not when whoever answers quotes all that it was sent in its refusal, which is the worst that an SDK can put into
the text of its error. The secrets are those that really crossed the wire, as the other side recorded them.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google.auth.compute_engine._metadata as metadata_client
import pytest
import structlog

from collector import hush
from collector.clouds.directory import AccountSettings, Directory, Limits
from collector.clouds.transcript import Transcript
from collector.config import AwsAccount, AzureTenant, GoogleOrganization
from collector.demo.azure.imds import IDENTITY_HEADER
from collector.demo.azure.world import CLIENT, SECRET, TENANT
from collector.demo.gcp.world import ADMINISTRATOR, COLLECTOR, ORGANIZATION
from tests.secrets.echoing import AWS, AWS_KEY, FORM, ROLE, Wire, door, machine_of, telling
from tests.secrets.planting import NOW, secret
from tests.secrets.searching import all_leaks


@pytest.fixture
def machine(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with machine_of(wire) as host:
        monkeypatch.setattr(metadata_client, "_GCE_METADATA_HOST", host)
        for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
            monkeypatch.setenv(name, host)
        yield host


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
        wire.echoes = door
    elif refuses == "the cloud":
        wire.echoes = lambda request: not door(request) and not request.target.endswith("openid-configuration")
    out, troubles = asked(settings, log)
    if refuses == "nobody":
        assert places <= set(wire.carried), set(wire.carried)
    else:
        given = {*FORM, "x-identity-header"} - {"access_token"}
        sent = given if refuses == "the door" else {"bearer", "x-amz-security-token"}
        if sent & places and (name, refuses) != ("google_machine", "the door"):  # which is asked without a secret
            assert any(value.encode() in echo for echo in wire.echoed for value in wire.secrets)
            assert troubles
    found = all_leaks(out, {word for value in wire.secrets for word in telling(value)})
    assert not found, "\n".join(found[:10])


@pytest.mark.parametrize("name", ["azure_secret", "google_key", "aws_session"])
def test_the_password_of_a_proxy_that_is_not_there_is_said_nowhere(
    name: str, wire: Wire, machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    settings = WAYS[name][0](wire, tmp_path, monkeypatch, machine)
    for variable in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(variable, f"http://ada:{secret('proxy')}@127.0.0.1:1")
    hush.hold_environment(os.environ)
    out, troubles = asked(settings, log)
    assert troubles
    assert not all_leaks(out)
