"""A signing key in Azure Key Vault or Managed HSM: P-256, asked with the credentials that azure-identity finds.

Needs to get the key and to sign with it ("Key Vault Crypto User"). Key Vault has no Ed25519.
https://learn.microsoft.com/rest/api/keyvault/keys
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from collector.clouds import signing
from collector.clouds.azure_access import Access
from collector.clouds.rest import Call, Reply, Trouble
from collector.clouds.signing import P256_BYTES, PublicKey
from collector.errors import ConfigError, Denied, Disabled, Throttled, Unavailable, Unreadable

URI = re.compile(
    r"azurekv://(?P<host>[a-z0-9-]+\.(?P<domain>[a-z.]+))/keys/(?P<name>[A-Za-z0-9-]+)/(?P<version>[0-9a-f]{32})"
)
# The domains of the service, with the Azure that each is in. A token is for the domain as a whole.
DOMAINS: Mapping[str, str] = {
    "vault.azure.net": "public",
    "managedhsm.azure.net": "public",
    "vault.usgovcloudapi.net": "usgovernment",
    "managedhsm.usgovcloudapi.net": "usgovernment",
    "vault.azure.cn": "china",
    "managedhsm.azure.cn": "china",
}
API = "7.4"
ALGORITHM = "ES256"
PARKED = frozenset(("KeyDisabled", "KeyNotYetValidOrExpired"))
CLOSED = frozenset(("ForbiddenByFirewall", "ForbiddenByConnection"))


@dataclass(frozen=True)
class _Environment:
    """Whoever the environment says we are; the tenant and a chosen identity come from its variables."""

    tenant: str
    cloud: str
    client_id: str
    credential: str = ""
    certificate_file: Path | None = None
    subscriptions: tuple[str, ...] = ()
    management_group: str = ""


class VaultKey:
    """One version of one key."""

    def __init__(
        self, uri: str, *, environ: Mapping[str, str] = os.environ, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Asks for the public half. Raises ConfigError for a URI or a key that cannot be used, or CannotObserve."""
        found = URI.fullmatch(uri)
        if found is None or found["domain"] not in DOMAINS:
            raise ConfigError(
                f"signer {uri}: it is no version of a key; write azurekv://VAULT.vault.azure.net/keys/NAME/VERSION, "
                "with the version of 32 digits that the portal shows"
            )
        self.where = uri
        self._id = f"https://{found['host']}/keys/{found['name']}/{found['version']}"
        self._sleep = sleep
        tenant, client = environ.get("AZURE_TENANT_ID", ""), environ.get("AZURE_CLIENT_ID", "")
        scopes = {found["host"]: f"https://{found['domain']}/.default"}
        self._access = Access(_Environment(tenant, DOMAINS[found["domain"]], client), scopes=scopes)
        self.public: PublicKey = self._public(self._asked("GET", ""))

    def sign(self, message: bytes) -> bytes:
        value = _base64(hashlib.sha256(message).digest())
        answer = self._asked("POST", "/sign", {"alg": ALGORITHM, "value": value})
        if answer.get("kid") != self._id:
            raise Unreadable(f"{self.where}: the answer is of the key {answer.get('kid')}; nothing was signed")
        return signing.der_of(self.where, self._bytes(answer.get("value")))

    def _public(self, answer: Mapping[str, Any]) -> PublicKey:
        key, attributes = answer.get("key"), answer.get("attributes")
        if not isinstance(key, dict) or not isinstance(attributes, dict) or key.get("kid") != self._id:
            raise Unreadable(f"{self.where}: the answer is no key, or another one")
        kind = key.get("kty")
        if kind not in ("EC", "EC-HSM") or key.get("crv") != "P-256":
            raise signing.wrong_key(self.where, f"its key is {kind} {key.get('crv') or ''}".rstrip())
        if "sign" not in (key.get("key_ops") or ()):
            raise signing.wrong_key(self.where, "its permitted operations (key_ops) lack sign")
        if attributes.get("enabled") is not True:
            raise Disabled(f"{self.where}: the key is disabled; {self._enable()}")
        x, y = (self._bytes(key.get(name)) for name in ("x", "y"))
        if len(x) > P256_BYTES or len(y) > P256_BYTES:
            raise Unreadable(f"{self.where}: what the service gives as the public key is none")
        try:
            numbers = EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), SECP256R1())
            spki = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except ValueError as error:
            raise Unreadable(f"{self.where}: what the service gives as the public key is none") from error
        return signing.public_of(self.where, spki)

    def _asked(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        call = Call(method, self._id + path, {"api-version": API}, body)
        return signing.asked(self.where, call, self._access.send, self._trouble, self._sleep)

    def _trouble(self, reply: Reply, body: Any) -> Trouble | ConfigError:
        code, inner, message = _error(body)
        code = code or f"HTTP{reply.status}"
        said = signing.told(inner or code, message)
        if inner in PARKED or "disabled key" in message:
            remedy = self._enable() if inner != "KeyNotYetValidOrExpired" else "prolong its validity, or rotate the key"
            return Trouble(Disabled.code, inner or code, message, remedy)
        if reply.status == 404:
            return signing.no_key(self.where, said)
        if reply.status == 400:
            return signing.wrong_key(self.where, said)
        if reply.status == 429:
            return Trouble(Throttled.code, code, message)
        if reply.status >= 500 or reply.status == 408:
            return Trouble(Unavailable.code, code, message)
        if reply.status == 401:
            remedy = "set AZURE_TENANT_ID to the vault's tenant" if "AKV10032" in message else "look at the credentials"
            return Trouble(Denied.code, code, message, remedy)
        if inner in CLOSED:
            return Trouble(Denied.code, inner, message, "let this machine through the vault's firewall")
        if reply.status == 403:
            remedy = 'assign "Key Vault Crypto User" on the key, or let an access policy get and sign'
            return Trouble(Denied.code, inner or code, message, remedy)
        return Trouble(Unreadable.code, code, message)

    def _enable(self) -> str:
        return f"enable it: az keyvault key set-attributes --enabled true --id {self._id}"

    def _bytes(self, text: Any) -> bytes:
        """Base 64 as JSON web keys have it. Raises Unreadable."""
        try:
            return base64.b64decode(str(text) + "=" * (-len(str(text)) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise Unreadable(f"{self.where}: the answer holds something that is not Base 64") from error


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _error(body: Any) -> tuple[str, str, str]:
    """Code, inner code and words of an error body."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return "", "", ""
    inner = error.get("innererror") or error.get("innerError")
    return (
        str(error.get("code") or ""),
        str(inner.get("code") or "") if isinstance(inner, dict) else "",
        str(error.get("message") or ""),
    )
