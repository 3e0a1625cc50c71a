"""Entra's doors: discovery, and tokens for a secret, a certificate or the federated token of a cluster."""

from __future__ import annotations

import binascii
import json
import re
import secrets
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from collector.demo.azure import errors
from collector.demo.azure.errors import AUTHORITY, Refusal
from collector.demo.azure.tokens import (
    FEDERATION_AUDIENCE,
    FEDERATION_ISSUER,
    FEDERATION_SUBJECT,
    RESOURCES,
    Issuer,
    opened,
    part,
    verified,
)
from collector.demo.azure.world import CLIENT, DOMAIN, SECRET, TENANT

HOST = "login.microsoftonline.com"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TENANTS = (TENANT, DOMAIN)
SKEW_SECONDS = 300


class Entra:
    """The doors of one tenant."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    def answer(self, method: str, path: str, form: Mapping[str, str]) -> dict[str, Any] | None:
        """The answer of Entra, None for what is not served. Raises Refusal."""
        if path == "/common/discovery/instance":
            return _instances()
        found = re.fullmatch(r"/([^/]+)/(.+)", path)
        if found is None:
            return None
        tenant, what = found[1].lower(), found[2].lower()
        if what in ("v2.0/.well-known/openid-configuration", ".well-known/openid-configuration"):
            self._known(tenant, ("common", "organizations"))
            return self._configuration(TENANT if tenant in TENANTS else tenant)
        if what in ("discovery/v2.0/keys", "discovery/keys"):
            return {"keys": [self._public()]}
        if (method, what) == ("POST", "oauth2/v2.0/token"):
            self._known(tenant, ())
            return self._token(form)
        return None

    def _known(self, tenant: str, others: tuple[str, ...]) -> None:
        if tenant not in (*TENANTS, *others):
            raise self._error(
                400,
                "invalid_tenant",
                90002,
                f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into "
                "the correct cloud. Check with your subscription administrator, this may happen if there are no active "
                "subscriptions for the tenant.",
            )

    def _configuration(self, tenant: str) -> dict[str, Any]:
        base = f"{AUTHORITY}/{tenant}"
        return {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": f"{base}/v2.0",
            "request_uri_parameter_supported": False,
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
            "cloud_graph_host_name": "graph.windows.net",
            "msgraph_host": "graph.microsoft.com",
        }

    def _public(self) -> dict[str, Any]:
        numbers = self._issuer.key.public_key().public_numbers()
        modulus = numbers.n.to_bytes(256, "big")
        return {"kty": "RSA", "use": "sig", "kid": self._issuer.key_id, "n": part(modulus), "e": part(b"\1\0\1")}

    def _token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Only the client credentials flow: the collector is no person."""
        if form.get("grant_type") != "client_credentials":
            kind = form.get("grant_type", "")
            raise self._error(
                400, "unsupported_grant_type", 70003, f"The app requested an unsupported grant type '{kind}'."
            )
        client = form.get("client_id", "").lower()
        if client != CLIENT:
            raise self._error(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{client}' was not found in the directory 'Acme'. This can happen if the "
                "application has not been installed by the administrator of the tenant or consented to by any user in "
                "the tenant. You may have sent your authentication request to the wrong tenant.",
            )
        how = self._proof(form)
        resource = self._resource(form.get("scope", ""))
        wanted = _claims(form.get("claims", ""))
        seconds = int(self._issuer.world.settings["token_seconds"])
        text = self._issuer.issue(resource, how, "xms_cc" in wanted, "nbf" in wanted, seconds)
        return {"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": text}

    def _resource(self, scope: str) -> str:
        resource = scope.removesuffix("/.default")
        if resource == scope or " " in scope:
            raise self._error(
                400,
                "invalid_scope",
                1002012,
                f"The provided value for scope {scope} is not valid. Client credential flows must have a scope value "
                "with /.default suffixed to the resource identifier (application ID URI).",
            )
        if resource.rstrip("/") not in RESOURCES:
            words = (
                f"The resource principal named {resource} was not found in the tenant named Acme. This can happen if "
                "the application has not been installed by the administrator of the tenant or consented to by any user "
                "in the tenant. You might have sent your authentication request to the wrong tenant."
            )
            raise self._error(400, "invalid_resource", 500011, words)
        return resource

    def _proof(self, form: Mapping[str, str]) -> str:
        """How the application has proved itself: "1" by secret, "2" by certificate or federation. Raises Refusal."""
        assertion = form.get("client_assertion", "")
        if assertion and form.get("client_assertion_type") == ASSERTION:
            self._assertion(assertion)
            return "2"
        if not form.get("client_secret"):
            words = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
            raise self._error(401, "invalid_client", 7000218, words)
        if not secrets.compare_digest(form["client_secret"], SECRET):
            raise self._error(
                401,
                "invalid_client",
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{CLIENT}'.",
            )
        return "1"

    def _assertion(self, assertion: str) -> None:
        try:
            _, claims = opened(assertion)
        except ValueError as error:
            words = "Invalid JWT token. Token format not valid."
            raise self._error(401, "invalid_client", 50027, words) from error
        own = claims.get("iss") == CLIENT
        key = self._issuer.application_key if own else self._issuer.cluster_key
        try:
            header, claims = verified(key.public_key(), assertion)
        except (InvalidSignature, ValueError, binascii.Error) as error:
            words = "Client assertion failed signature validation."
            raise self._error(401, "invalid_client", 700027 if own else 7000272, words) from error
        if own:
            self._by_certificate(header, claims)
        elif (claims.get("iss"), claims.get("sub"), claims.get("aud")) != (
            FEDERATION_ISSUER,
            FEDERATION_SUBJECT,
            FEDERATION_AUDIENCE,
        ):
            raise self._error(
                401,
                "invalid_client",
                700213,
                f"No matching federated identity record found for presented assertion subject '{claims.get('sub')}'. "
                "Check your federated identity credential Subject, Audience and Issuer against the presented "
                "assertion.",
            )
        begins, ends = claims.get("nbf", 0), claims.get("exp", 0)
        if not (isinstance(ends, int | float) and begins - SKEW_SECONDS <= time.time() <= ends + SKEW_SECONDS):
            now = datetime.now(UTC)
            words = f"Client assertion is not within its valid time range. Current time: {now:%Y-%m-%dT%H:%M:%SZ}."
            raise self._error(401, "invalid_client", 700024, words)

    def _by_certificate(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
        old = self._issuer.application_certificate.fingerprint(hashes.SHA1())  # noqa: S303 - what the header x5t is made of
        prints = {part(old), part(self._issuer.application_certificate.fingerprint(hashes.SHA256()))}
        shown = str(header.get("x5t#S256") or header.get("x5t") or "").rstrip("=")
        if shown not in prints:
            words = (
                "The certificate with identifier used to sign the client assertion is not registered on application. "
                f"[Reason - The key was not found., Thumbprint of key used by client: '{shown}']"
            )
            raise self._error(401, "invalid_client", 700027, words)
        endpoint = f"{AUTHORITY}/{TENANT}/oauth2/v2.0/token"
        if claims.get("aud") not in (endpoint, f"{AUTHORITY}/{TENANT}/v2.0", f"{AUTHORITY}/{DOMAIN}/oauth2/v2.0/token"):
            words = "Client assertion audience claim does not match Realm issuer."
            raise self._error(401, "invalid_client", 700023, words)

    def _error(self, status: int, error: str, number: int, message: str) -> Refusal:
        return errors.entra(status, error, number, message, self._issuer.world.clock(), str(uuid.uuid4()))

    def fault(self, kind: str) -> Refusal:
        """A fault at this door, in Entra's own words."""
        if kind == "throttle":
            words = "The service is temporarily unavailable. Please retry later."
            found = self._error(429, "temporarily_unavailable", 90055, words)
            found.headers["Retry-After"] = "1"
            return found
        if kind == "500":
            words = "There was an error issuing a token or an issue with our sign-in service."
            return self._error(503, "temporarily_unavailable", 90033, words)
        if kind == "expired":
            words = f"The provided client secret keys for app '{CLIENT}' are expired."
            return self._error(401, "invalid_client", 7000222, words)
        return self._error(401, "unauthorized_client", 7000112, f"Application '{CLIENT}'(Acme) is disabled.")


def _instances() -> dict[str, Any]:
    aliases = [HOST, "login.windows.net", "login.microsoft.com", "sts.windows.net"]
    public = {"preferred_network": HOST, "preferred_cache": "login.windows.net", "aliases": aliases}
    return {
        "tenant_discovery_endpoint": f"{AUTHORITY}/{TENANT}/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [public],
    }


def _claims(text: str) -> set[str]:
    """The names of the claims that an access token is asked to have."""
    try:
        found = json.loads(text or "{}").get("access_token", {})
    except (ValueError, AttributeError):
        return set()
    return set(found) if isinstance(found, dict) else set()
