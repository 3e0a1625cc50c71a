"""Google's token door: JWT bearer grants, access tokens, self-signed JWTs, and impersonation by iamcredentials.

Signatures are verified against the generated key. Tokens live by the real clock, because the SDKs count by it.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
import time
import urllib.parse
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from collector.demo.gcp import errors
from collector.demo.gcp.errors import Refusal
from collector.demo.gcp.world import COLLECTOR, HOME, RUNNER, Ask, Principal, World

TOKEN_URL = "https://oauth2.googleapis.com/token"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
SKEW_SECONDS = 300
JWT_SECONDS_MAX = 3600 + SKEW_SECONDS
DELEGATED_HOSTS = frozenset(("admin.googleapis.com", "cloudidentity.googleapis.com"))
# Who may ask for tokens of whom, besides nobody: the machine's account and the collector itself.
IMPERSONATORS = {COLLECTOR: (RUNNER, COLLECTOR)}


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


class Jwt(Exception):
    """A JWT that is not valid; its text is Google's description."""


class Issuer:
    """The service accounts' key, and all tokens that were handed out."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.Lock()
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._tokens: dict[str, tuple[Principal, float]] = {}
        self.key_id = secrets.token_hex(20)
        self.system_key_id = secrets.token_hex(20)  # Google's own key of an account, which signJwt signs with

    def attach(self, world: World) -> None:
        """Goes on for a world that was made anew."""
        self._world = world

    def key_file(self) -> dict[str, str]:
        """The collector's service account key file, as the console hands it out."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        name = urllib.parse.quote(COLLECTOR, safe="")
        return {
            "type": "service_account",
            "project_id": HOME,
            "private_key_id": self.key_id,
            "private_key": pem.decode(),
            "client_email": COLLECTOR,
            "client_id": "104857600000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": TOKEN_URL,
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{name}",
            "universe_domain": "googleapis.com",
        }

    # --- tokens ---

    def issue(self, principal: Principal, seconds: int | None = None) -> tuple[str, int]:
        """An access token and its life in seconds."""
        life = int(self._world.settings["token_seconds"]) if seconds is None else seconds
        token = "ya29.c." + secrets.token_urlsafe(96)
        with self._lock:
            self._tokens[token] = (principal, time.time() + life)
        return token, life

    def expire(self) -> None:
        """Ends every token that was handed out so far; who asks with one is told that it has expired."""
        with self._lock:
            self._tokens = {token: (principal, 0.0) for token, (principal, _) in self._tokens.items()}

    def principal(self, host: str, authorization: str, rpc: str) -> Principal:
        """Who the Authorization header says it is. Raises Refusal as Google's front end does."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise errors.unauthenticated(host, "CREDENTIALS_MISSING", rpc)
        with self._lock:
            found = self._tokens.get(token)
        if found is not None:
            if time.time() >= found[1]:
                raise errors.unauthenticated(host, "ACCESS_TOKEN_EXPIRED", rpc)
            return found[0]
        if token.count(".") == 2 and token.startswith("ey"):
            return self._self_signed(host, token, rpc)
        raise errors.unauthenticated(host, "ACCESS_TOKEN_TYPE_UNSUPPORTED", rpc)

    def _self_signed(self, host: str, token: str, rpc: str) -> Principal:
        try:
            claims = self._claims(token)
        except Jwt as error:
            reason = "ACCESS_TOKEN_EXPIRED" if "timeframe" in str(error) else "ACCESS_TOKEN_TYPE_UNSUPPORTED"
            raise errors.unauthenticated(host, reason, rpc) from error
        scopes = str(claims.get("scope", "")).split()
        aimed = str(claims.get("aud", "")).rstrip("/") == f"https://{host}"
        # A self-signed JWT speaks for the account itself: it cannot stand for a user, so Workspace is closed to it.
        if host in DELEGATED_HOSTS or claims.get("sub") != COLLECTOR or not (aimed or scopes):
            raise errors.unauthenticated(host, "ACCESS_TOKEN_TYPE_UNSUPPORTED", rpc)
        return Principal(COLLECTOR, frozenset(scopes or (CLOUD_PLATFORM,)), self_signed=True)

    def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a JWT that the collector's key has signed and that is in its time. Raises Jwt."""
        try:
            signed, _, signature = token.rpartition(".")
            head, _, body = signed.partition(".")
            header, claims = json.loads(_bytes(head)), json.loads(_bytes(body))
            raw = _bytes(signature)
        except (binascii.Error, UnicodeDecodeError, ValueError) as error:
            raise Jwt("Invalid JWT: Failed to decode.") from error
        if not isinstance(header, dict) or not isinstance(claims, dict) or header.get("alg") != "RS256":
            raise Jwt("Invalid JWT: Failed audience check.")
        if claims.get("iss") != COLLECTOR:
            raise Jwt("Invalid grant: account not found")
        if header.get("kid") not in (self.key_id, self.system_key_id):
            raise Jwt("Invalid JWT Signature.")
        try:
            self._key.public_key().verify(raw, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise Jwt("Invalid JWT Signature.") from error
        now = time.time()
        issued, ends = claims.get("iat"), claims.get("exp")
        if (
            not isinstance(issued, int | float)
            or not isinstance(ends, int | float)
            or not issued - SKEW_SECONDS <= now <= ends
            or ends - issued > JWT_SECONDS_MAX
        ):
            raise Jwt(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim."
            )
        return claims

    # --- oauth2.googleapis.com ---

    def grant(self, form: Mapping[str, str]) -> dict[str, Any]:
        """POST /token. Raises Refusal with OAuth's own error bodies."""
        if form.get("grant_type") != BEARER:
            raise _oauth(400, "unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
        try:
            claims = self._claims(form.get("assertion", ""))
        except Jwt as error:
            raise _oauth(400, "invalid_grant", str(error)) from error
        if claims.get("aud") != TOKEN_URL:
            raise _oauth(400, "invalid_grant", "Invalid JWT: Failed audience check.")
        scopes = frozenset(str(claims.get("scope", "")).split())
        if not scopes:
            raise _oauth(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        subject = str(claims.get("sub", ""))
        if subject == COLLECTOR:
            subject = ""
        if subject:
            self._delegated(scopes, subject)
        token, life = self.issue(Principal(COLLECTOR, scopes, subject))
        return {"access_token": token, "expires_in": life, "token_type": "Bearer"}

    def _delegated(self, scopes: frozenset[str], subject: str) -> None:
        held = {name.partition(":")[2] for name in self._world.granted if name.startswith("workspace:")}
        lost = {name.partition(":")[2] for name, _ in self._world.lost if name.startswith("workspace:")}
        if not scopes <= held - lost:  # one scope that is not authorised refuses them all
            raise _oauth(
                401,
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any "
                "of the scopes requested.",
            )
        user = self._world.find(f"users/{subject}")
        if user is None or user["suspended"]:
            raise _oauth(400, "invalid_grant", "Invalid email or User ID")

    def token_info(self, token: str) -> dict[str, Any]:
        """GET /tokeninfo. Raises Refusal for what is no live token."""
        with self._lock:
            found = self._tokens.get(token)
        if found is None or time.time() >= found[1]:
            raise _oauth(400, "invalid_token", "Invalid Value")
        principal, ends = found
        return {
            "azp": "104857600000000000001",
            "aud": "104857600000000000001",
            "scope": " ".join(sorted(principal.scopes)),
            "exp": str(int(ends)),
            "expires_in": str(int(ends - time.time())),
            "email": principal.subject or principal.account,
            "email_verified": "true",
            "access_type": "online",
        }

    # --- iamcredentials.googleapis.com ---

    def impersonate(self, ask: Ask, account: str, verb: str) -> dict[str, Any]:
        """generateAccessToken and signJwt of /v1/projects/-/serviceAccounts/{account}. Raises Refusal."""
        permission = {
            "generateAccessToken": "iam.serviceAccounts.getAccessToken",
            "signJwt": "iam.serviceAccounts.signJwt",
        }
        needed = permission.get(verb)
        if needed is None:
            raise errors.not_found()
        if ask.principal.account not in IMPERSONATORS.get(account, ()) or (needed, "") in self._world.lost:
            raise errors.denied(ask.host, needed, f"projects/-/serviceAccounts/{account}")
        if verb == "signJwt":
            return self._signed(account, str(ask.body.get("payload", "")))
        scopes = ask.body.get("scope")
        if not isinstance(scopes, list) or not scopes:
            raise errors.invalid("Request contains an invalid argument.")
        life = str(ask.body.get("lifetime", "3600s")).removesuffix("s")
        if not life.isdecimal() or not 0 < int(life) <= 3600:
            raise errors.invalid("Request contains an invalid argument.")
        token, seconds = self.issue(Principal(account, frozenset(map(str, scopes))), int(life))
        ends = datetime.now(UTC) + timedelta(seconds=seconds)
        return {"accessToken": token, "expireTime": f"{ends:%Y-%m-%dT%H:%M:%SZ}"}

    def _signed(self, account: str, payload: str) -> dict[str, Any]:
        try:
            claims = json.loads(payload)
        except ValueError as error:
            raise errors.invalid("payload is not a JSON Claims Set") from error
        if not isinstance(claims, dict) or claims.get("iss", account) != account:
            raise errors.invalid("payload is not a JSON Claims Set of this account")
        header = {"alg": "RS256", "kid": self.system_key_id, "typ": "JWT"}
        signed = f"{_part(json.dumps(header).encode())}.{_part(payload.encode())}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return {"keyId": self.system_key_id, "signedJwt": f"{signed}.{_part(signature)}"}


def _oauth(status: int, error: str, description: str) -> Refusal:
    return Refusal(status, {"error": error, "error_description": description})
