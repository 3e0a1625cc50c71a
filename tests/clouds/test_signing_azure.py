"""A log key in Azure Key Vault: azure-identity, azure-core, TLS, and behind it a simulated vault that really signs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector.clouds import signing
from collector.clouds.signing_azure import VaultKey
from collector.demo.azure.bed import AzureBed
from collector.demo.azure.key_vault import SIGN
from collector.demo.azure.world import World
from collector.demo.proxy import Proxy, Request, Response
from collector.errors import ConfigError, Denied, Disabled, Throttled, Unavailable, Unreadable
from collector.ledger import note
from collector.signers import ServiceSigner, open_named

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ORIGIN = "ledger.example/acme"
VAULT = "kv-evidence.vault.azure.net"
READ = "Microsoft.KeyVault/vaults/keys/read"

Change = Callable[[Request, Response], Response]


class Served:
    """One tenant behind one proxy; a test may change its answers on the way."""

    def __init__(self, folder: Path) -> None:
        self.bed = AzureBed(seed=7, scale=1, clock=lambda: NOW, populate=lambda world, scale: None)
        self.change: Change | None = None
        self.proxy = Proxy("|".join(self.bed.hosts), self.handle, folder)
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
        found = self.bed.handle(request)
        return self.change(request, found) if self.change and request.host == VAULT else found


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
def bed(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureBed]:
    monkeypatch.setattr(signing.time, "sleep", lambda seconds: None)
    served.bed.reset()
    yield served.bed
    served.change = None


@pytest.fixture
def kid(bed: AzureBed) -> str:
    return bed.vault_key(vault="kv-evidence", name="log")


def uri(kid: str) -> str:
    return kid.replace("https://", "azurekv://")


def opened(kid: str) -> ServiceSigner:
    return ServiceSigner(VaultKey(uri(kid), sleep=lambda seconds: None), ORIGIN)


def asked(bed: AzureBed) -> list[tuple[str, int]]:
    return [(f"{call['method']} {call['path']}", call["status"]) for call in bed.calls() if call["host"] == VAULT]


def test_a_key_signs_and_only_what_it_signed_verifies(bed: AzureBed, kid: str) -> None:
    signer = open_named(uri(kid), ORIGIN)
    assert isinstance(signer, ServiceSigner)
    assert (signer.where, signer.key.name, signer.key.algorithm) == (uri(kid), ORIGIN, note.ECDSA_P256)
    for message in (b"", b"a checkpoint", b"x" * 100_000):
        signature = signer.sign(message)
        assert signature[:1] == b"\x30"  # DER, made of what the service gives as r and s
        assert signer.key.verifies(signature, message)
        assert not signer.key.verifies(signature, message + b"!")
    path = kid.removeprefix(f"https://{VAULT}")
    assert asked(bed) == [(f"GET {path}", 200)] + [(f"POST {path}/sign", 200)] * 3
    assert bed.unserved() == []


@pytest.mark.parametrize(
    ("kind", "curve", "words"), [("EC", "P-384", "its key is EC P-384"), ("RSA", "", "its key is RSA;")]
)
def test_a_key_of_the_wrong_kind_is_refused_when_it_is_opened(bed: AzureBed, kind: str, curve: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"cannot sign the ledger: {words}"):
        opened(bed.vault_key(vault="kv-evidence", name="other", kind=kind, curve=curve))


def test_an_hsm_key_is_as_good(bed: AzureBed) -> None:
    signer = opened(bed.vault_key(vault="kv-evidence", name="hsm", kind="EC-HSM"))
    assert signer.key.verifies(signer.sign(b"text"), b"text")


@pytest.mark.parametrize(
    "text",
    [
        "azurekv://kv-evidence.vault.azure.net/keys/log",
        "azurekv://kv-evidence.vault.azure.net/keys/log/latest",
        "azurekv://kv-evidence.evil.example/keys/log/" + "0" * 32,
        "azurekv://kv.evil.vault.azure.net/keys/log/" + "0" * 32,
        "azurekv://user@kv-evidence.vault.azure.net/keys/log/" + "0" * 32,
        "azurekv://vault.azure.net/keys/log/" + "0" * 32,
        "azurekv://kv-evidence.vault.azure.net/secrets/log/" + "0" * 32,
    ],
)
def test_what_is_no_version_of_a_key_is_refused_before_anybody_is_asked(bed: AzureBed, text: str) -> None:
    with pytest.raises(ConfigError, match="it is no version of a key; write azurekv://"):
        open_named(text, ORIGIN)
    assert bed.calls() == []


def test_a_key_that_is_not_there_says_so(bed: AzureBed, kid: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no such key \(KeyNotFound.*signer in \[collector\]"):
        opened(kid[:-32] + "0" * 32)


@pytest.mark.parametrize(("permission", "opens"), [(READ, False), (SIGN, True)])
def test_a_denial_says_which_role_to_assign(bed: AzureBed, kid: str, permission: str, opens: bool) -> None:
    signer = opened(kid)
    bed.revoke(permission)
    with pytest.raises(Denied, match=r'ForbiddenByRbac: .*assign "Key Vault Crypto User" on the key'):
        signer.sign(b"text") if opens else opened(kid)
    bed.grant(permission)
    assert signer.key.verifies(signer.sign(b"text"), b"text")


def test_a_disabled_key_says_how_to_enable_it(bed: AzureBed, kid: str) -> None:
    signer = opened(kid)
    bed.edit(id=kid, path="attributes.enabled", value=False)
    remedy = rf"enable it: az keyvault key set-attributes --enabled true --id {re.escape(kid)}"
    with pytest.raises(Disabled, match=rf"KeyDisabled: Operation sign is not allowed on a disabled key\.; {remedy}"):
        signer.sign(b"text")
    with pytest.raises(Disabled, match=remedy):
        opened(kid)
    bed.edit(id=kid, path="attributes.enabled", value=True)
    bed.edit(id=kid, path="attributes.exp", value=int(NOW.timestamp()) - 1)
    with pytest.raises(Disabled, match=r"KeyNotYetValidOrExpired: .*prolong its validity, or rotate the key"):
        signer.sign(b"text")


def test_a_key_that_may_not_sign_is_refused(bed: AzureBed, kid: str) -> None:
    bed.edit(id=kid, path="key.key_ops", value=["verify"])
    with pytest.raises(ConfigError, match=r"its permitted operations \(key_ops\) lack sign"):
        opened(kid)


def test_a_busy_service_is_asked_again_and_then_given_up(bed: AzureBed, kid: str) -> None:
    signer = opened(kid)
    bed.fault("throttle", operation="/sign", times=2)
    assert signer.key.verifies(signer.sign(b"text"), b"text")
    bed.clear_calls()
    bed.fault("throttle", operation="/sign")
    with pytest.raises(Throttled, match=r"Throttled: .*the next checkpoint tries again"):
        signer.sign(b"text")
    assert [status for _, status in asked(bed)] == [429] * signing.ATTEMPTS_MAX


@pytest.mark.parametrize(
    ("kind", "error"),
    [("500", Unavailable), ("reset", Unavailable), ("html", Unreadable), ("truncate", Unavailable)],
)
def test_a_service_that_fails_signs_nothing(bed: AzureBed, kid: str, kind: str, error: type[Exception]) -> None:
    signer = opened(kid)
    bed.fault(kind, host=re.escape(VAULT))
    with pytest.raises(error, match=re.escape(uri(kid))):
        signer.sign(b"text")
    with pytest.raises(error, match=re.escape(uri(kid))):
        opened(kid)


def test_a_token_that_was_taken_back_is_replaced(bed: AzureBed, kid: str) -> None:
    signer = opened(kid)
    bed.expire_tokens()
    assert signer.key.verifies(signer.sign(b"text"), b"text")
    bed.fault("expired", host=re.escape(VAULT))
    with pytest.raises(Denied, match=r"AKV10023: Token is expired.*look at the credentials"):
        signer.sign(b"text")


def test_credentials_that_are_refused_say_so(bed: AzureBed, kid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    with pytest.raises(Denied, match=r"no token of Entra: .*Invalid client secret"):
        opened(kid)


def replied(request: Request, found: Response, **changes: Any) -> Response:
    body = json.loads(found.body)
    for path, value in changes.items():
        at = body
        *parents, last = path.split("__")
        for each in parents:
            at = at[each]
        at[last] = value
    return replace(found, body=json.dumps(body).encode())


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"value": part(bytes(63))}, "a signature of 63 bytes, and not of 64"),
        ({"value": part(bytes(range(64)))}, "does not fit its public key; nothing was signed"),
        ({"value": "?"}, "not Base 64"),
        ({"value": None}, "a signature of|not Base 64"),
        ({"kid": "https://kv-evidence.vault.azure.net/keys/log/" + "f" * 32}, "is of the key"),
    ],
)
def test_what_is_no_signature_of_this_key_is_never_given_out(
    served: Served, bed: AzureBed, kid: str, changes: dict[str, Any], words: str
) -> None:
    signer = opened(kid)
    served.change = lambda request, found: replied(request, found, **changes)
    with pytest.raises(Unreadable, match=words):
        signer.sign(b"text")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"key__kid": "https://other"}, Unreadable),
        ({"key__x": part(bytes(32))}, Unreadable),
        ({"key__x": part(bytes(33))}, Unreadable),
        ({"key__y": "!"}, Unreadable),
        ({"key": "nothing"}, Unreadable),
        ({"attributes": None}, Unreadable),
        ({"key__crv": "P-521"}, ConfigError),
        ({"key__kty": "oct-HSM"}, ConfigError),
        ({"attributes__enabled": None}, Disabled),
    ],
)
def test_what_is_no_public_key_is_not_taken_for_one(
    served: Served, bed: AzureBed, kid: str, changes: dict[str, Any], error: type[Exception]
) -> None:
    served.change = lambda request, found: replied(request, found, **changes)
    with pytest.raises(error):
        opened(kid)


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (
            401,
            {"code": "Unauthorized", "message": "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/a/"},
            Denied,
            "set AZURE_TENANT_ID to the vault's tenant",
        ),
        (
            403,
            {
                "code": "Forbidden",
                "message": "Client address is not authorized",
                "innererror": {"code": "ForbiddenByFirewall"},
            },
            Denied,
            "let this machine through the vault's firewall",
        ),
        (
            403,
            {
                "code": "Forbidden",
                "message": "does not have keys sign permission",
                "innererror": {"code": "AccessDenied"},
            },
            Denied,
            "let an access policy get and sign",
        ),
        (
            400,
            {"code": "BadParameter", "message": "Key and signing algorithm are incompatible."},
            ConfigError,
            "cannot",
        ),
        (503, {"code": "ServiceUnavailable", "message": "later"}, Unavailable, "the next checkpoint tries again"),
        (418, {}, Unreadable, "HTTP418"),
        (403, "no JSON at all", Denied, "HTTP403"),
    ],
)
def test_each_refusal_says_what_to_do(
    served: Served, bed: AzureBed, kid: str, status: int, body: Any, error: type[Exception], words: str
) -> None:
    signer = opened(kid)
    text = body if isinstance(body, str) else json.dumps({"error": body})
    served.change = lambda request, found: Response(status, {"Content-Type": "application/json"}, text.encode())
    with pytest.raises(error, match=re.escape(words)):
        signer.sign(b"text")


def test_the_simulated_vault_wants_a_token_of_its_own(served: Served, bed: AzureBed, kid: str) -> None:
    """So that the tests above prove that one was sent."""
    assert isinstance(bed.world, World)
    path = kid.removeprefix(f"https://{VAULT}")
    bare = Request("GET", VAULT, f"{path}?api-version=7.4", {}, b"")
    found = bed.handle(bare)
    assert (found.status, json.loads(found.body)["error"]["code"]) == (401, "Unauthorized")
    assert 'resource="https://vault.azure.net"' in found.headers["WWW-Authenticate"]
    token = bed.issuer.issue("https://management.azure.com", "1", False, False, 600)
    wrong = bed.handle(replace(bare, headers={"authorization": f"Bearer {token}"}))
    assert wrong.status == 401
    assert "AKV10022" in json.loads(wrong.body)["error"]["message"]
