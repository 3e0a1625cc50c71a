"""The tenant's keys and the tokens it has handed out: JWTs of a key of this process, and what is known of each.

Tokens live by the real clock, because the SDKs count by it.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from collector.demo.azure import errors
from collector.demo.azure.errors import GRAPH_APPLICATION
from collector.demo.azure.world import CLIENT, DOMAIN, PRINCIPAL, TENANT, Ask, Principal, World

RESOURCES = {
    "https://management.azure.com": "management.azure.com",
    "https://management.core.windows.net": "management.azure.com",
    "https://graph.microsoft.com": "graph.microsoft.com",
    "https://vault.azure.net": "vault.azure.net",
    "https://storage.azure.com": "storage.azure.com",
    GRAPH_APPLICATION: "graph.microsoft.com",
}
# The cluster whose service account may act as the application: what its federated credential names.
FEDERATION_ISSUER = f"https://oidc.{DOMAIN}/"
FEDERATION_SUBJECT = "system:serviceaccount:evidence:collector"
FEDERATION_AUDIENCE = "api://AzureADTokenExchange"


@dataclass(frozen=True)
class Token:
    """What is known of a token that was handed out; ``ends`` and ``since`` are seconds since 1970."""

    principal: Principal
    since: float
    ends: float
    audience: str
    claimed: bool  # it was asked for with the claims of a challenge


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unpart(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def signed(key: rsa.RSAPrivateKey, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """A JWT with the algorithm RS256."""
    text = ".".join(part(json.dumps(each).encode()) for each in ({"typ": "JWT", "alg": "RS256", **header}, claims))
    return f"{text}.{part(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def verified(key: rsa.RSAPublicKey, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT that the key has signed. Raises ValueError for what is none, InvalidSignature."""
    header, claims = opened(token)
    text, _, signature = token.rpartition(".")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
    paddings: dict[str, padding.AsymmetricPadding] = {"RS256": padding.PKCS1v15(), "PS256": pss}
    if header.get("alg") not in paddings:
        raise ValueError("an algorithm that is not taken")
    key.verify(unpart(signature), text.encode(), paddings[header["alg"]], hashes.SHA256())
    return header, claims


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT, whoever signed it. Raises ValueError."""
    try:
        head, body, _ = token.split(".")
        header, claims = json.loads(unpart(head)), json.loads(unpart(body))
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise ValueError("no JSON web token") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise ValueError("no JSON web token")
    return header, claims


class Issuer:
    """The tenant's signing key, the application's certificate, and all tokens that were handed out."""

    def __init__(self, world: World) -> None:
        self.world = world  # another one after a reset
        self._lock = threading.Lock()
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.key_id = secrets.token_hex(14)
        self._tokens: dict[str, Token] = {}

    # --- what the application may sign in with ---

    @cached_property
    def application_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def cluster_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def application_certificate(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "evidence-collector")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
        builder = builder.public_key(self.application_key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
        return builder.sign(self.application_key, hashes.SHA256())

    def certificate(self, folder: Path) -> str:
        """Writes the application's certificate with its key as PEM; the file."""
        file = folder / "azure-client-certificate.pem"
        key = self.application_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.touch(mode=0o600)
        file.write_bytes(key + self.application_certificate.public_bytes(serialization.Encoding.PEM))
        return str(file)

    def federated_token(self, **claims: Any) -> str:
        """A token of the cluster for its service account, with other claims where they are given."""
        now = int(time.time())
        body: dict[str, Any] = {"iss": FEDERATION_ISSUER, "sub": FEDERATION_SUBJECT, "aud": FEDERATION_AUDIENCE}
        return signed(
            self.cluster_key, {"kid": "cluster"}, {**body, "iat": now, "nbf": now, "exp": now + 3600, **claims}
        )

    # --- tokens ---

    def issue(self, resource: str, how: str, cae: bool, claimed: bool, seconds: int) -> str:
        """An access token of the collector for a resource; ``how`` is the number of the way it signed in."""
        audience = RESOURCES[resource.rstrip("/")]
        graph = audience == errors.GRAPH
        held = {name.removeprefix("graph:") for name in self.world.granted if name.startswith("graph:")}
        roles = sorted(name for name in held if graph and self.world.permitted(f"graph:{name}"))
        now = int(time.time())
        claims = {
            "aud": resource,
            "iss": f"https://sts.windows.net/{TENANT}/",
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "aio": part(secrets.token_bytes(24)),
            "appid": CLIENT,
            "appidacr": how,
            "idp": f"https://sts.windows.net/{TENANT}/",
            "idtyp": "app",
            "oid": PRINCIPAL,
            **({"roles": roles} if roles else {}),
            "sub": PRINCIPAL,
            "tid": TENANT,
            "uti": part(secrets.token_bytes(16)),
            "ver": "1.0",
            **({"xms_cc": ["CP1"]} if cae else {}),
        }
        token = signed(self.key, {"kid": self.key_id, "x5t": self.key_id}, claims)
        principal = Principal(CLIENT, PRINCIPAL, audience, frozenset(roles))
        with self._lock:
            self._tokens[token] = Token(principal, time.time(), now + seconds, resource, claimed)
        return token

    def expire(self, audience: str = "") -> None:
        """Ends every token for an audience ("graph.microsoft.com", "" for any) that was handed out so far."""
        with self._lock:
            for text, token in self._tokens.items():
                if audience in ("", token.principal.audience):
                    self._tokens[text] = replace(token, ends=0.0)

    def answers_challenge(self, ask: Ask, since: float) -> bool:
        """Whether the token of a request was asked for with the claims of a challenge that was set at a moment."""
        with self._lock:
            found = self._tokens.get(ask.headers.get("authorization", "").removeprefix("Bearer "))
        return found is not None and found.claimed and found.since >= since

    def token(self, ask: Ask) -> Token:
        """The token of a request. Raises Refusal as the service that was asked does."""
        scheme, _, text = ask.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise errors.token_missing(ask)
        with self._lock:
            found = self._tokens.get(text)
        if found is None:
            raise errors.token_invalid(ask)
        if time.time() >= found.ends:
            raise errors.token_expired(ask, datetime.fromtimestamp(found.ends, UTC))
        if found.principal.audience != ask.host:
            raise errors.token_audience(ask, found.audience)
        return found
