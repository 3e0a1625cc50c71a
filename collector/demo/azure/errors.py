"""Azure's errors as its services write them: Azure Resource Manager, Resource Graph, Microsoft Graph and Entra."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from collector.demo.azure.world import PRINCIPAL, TENANT, Ask

AUTHORITY = "https://login.microsoftonline.com"
GRAPH_APPLICATION = "00000003-0000-0000-c000-000000000000"
AUDIENCES = (
    "https://management.core.windows.net/",
    "https://management.core.windows.net",
    "https://management.azure.com/",
    "https://management.azure.com",
)
GRAPH = "graph.microsoft.com"


class Refusal(Exception):
    """Raised instead of an answer. ``body`` is what goes out as JSON, ``headers`` go beside the usual ones."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(json.dumps(body))
        self.status, self.body, self.headers = status, body, dict(headers or {})


# --- Azure Resource Manager ---


def arm(
    status: int,
    code: str,
    message: str,
    details: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    error: dict[str, Any] = {"code": code, "message": message}
    if details:
        error["details"] = list(details)
    return Refusal(status, {"error": error}, headers)


def authorization_failed(action: str, scope: str, principal: str = PRINCIPAL) -> Refusal:
    message = (
        f"The client '{principal}' with object id '{principal}' does not have authorization to perform action "
        f"'{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh "
        "your credentials."
    )
    return arm(403, "AuthorizationFailed", message)


def missing_api_version() -> Refusal:
    message = "The api-version query parameter (?api-version=) is required for all requests."
    return arm(400, "MissingApiVersionParameter", message)


def invalid_api_version(text: str) -> Refusal:
    message = f"The api-version '{text}' is invalid. The supported versions are dates such as '2022-12-01'."
    return arm(400, "InvalidApiVersionParameter", message)


def subscription_not_found(id: str) -> Refusal:
    return arm(404, "SubscriptionNotFound", f"The subscription '{id}' could not be found.")


def invalid_subscription(id: str) -> Refusal:
    message = f"The provided subscription identifier '{id}' is malformed or invalid."
    return arm(400, "InvalidSubscriptionId", message)


def resource_not_found(what: str, group: str) -> Refusal:
    """``what`` is type and name, "Microsoft.KeyVault/vaults/payments"."""
    where = f" under resource group '{group}'" if group else ""
    message = (
        f"The Resource '{what}'{where} was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix"
    )
    return arm(404, "ResourceNotFound", message)


def parent_not_found(kind: str, parent: str) -> Refusal:
    message = (
        f"Failed to perform 'read' on resource(s) of type '{kind}', because the parent resource '{parent}' could not "
        "be found."
    )
    return arm(404, "ParentResourceNotFound", message)


def group_not_found(group: str) -> Refusal:
    return arm(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")


def type_not_found(namespace: str, kind: str, version: str) -> Refusal:
    message = (
        f"The resource type '{kind}' could not be found in the namespace '{namespace}' for api version '{version}'."
    )
    return arm(404, "InvalidResourceType", message)


def unregistered(namespace: str) -> Refusal:
    message = (
        f"The subscription is not registered to use namespace '{namespace}'. See https://aka.ms/rps-not-found for how "
        "to register subscriptions."
    )
    return arm(409, "MissingSubscriptionRegistration", message)


def reads_throttled(subscription: str, seconds: int) -> Refusal:
    message = (
        f"Number of 'read' requests for subscription '{subscription}' actor '{PRINCIPAL}' exceeded. Please try again "
        f"after '{seconds}' seconds after additional tokens are available. Refer to https://aka.ms/arm-throttling for "
        "additional information."
    )
    return arm(429, "SubscriptionRequestsThrottled", message, headers={"Retry-After": str(seconds)})


# --- Resource Graph ---


def resource_graph(
    ask: Ask, details: Sequence[Mapping[str, Any]], status: int = 400, code: str = "BadRequest"
) -> Refusal:
    """An error with the service's usual preface, which says nothing."""
    message = (
        f"Please provide below info when asking for support: timestamp = {ask.at:%Y-%m-%dT%H:%M:%S.%f}0Z, "
        f"correlationId = {ask.request_id}."
    )
    return arm(status, code, message, details)


def queries_throttled(ask: Ask, seconds: int) -> Refusal:
    detail = {
        "code": "RateLimiting",
        "message": "Client application has been throttled and should not attempt to repeat the request until an amount "
        "of time has elapsed. Please see https://aka.ms/resourcegraph-throttling for help.",
    }
    found = resource_graph(ask, [detail], 429, "RateLimiting")
    found.headers["Retry-After"] = str(seconds)
    return found


# --- Microsoft Graph ---


def graph(ask: Ask, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Refusal:
    inner = {
        "date": f"{ask.at:%Y-%m-%dT%H:%M:%S}",
        "request-id": ask.request_id,
        "client-request-id": ask.client_request_id,
    }
    return Refusal(status, {"error": {"code": code, "message": message, "innerError": inner}}, headers)


def graph_denied(ask: Ask, permissions: Sequence[str]) -> Refusal:
    """An app role is missing; three services behind Microsoft Graph say so in three ways."""
    if ask.path.lower().startswith("/v1.0/reports/authenticationmethods"):
        message = f"Calling principal does not have required MSGraph permissions {', '.join(permissions[:1])}"
        return graph(ask, 403, "Authentication_MSGraphPermissionMissing", message)
    if ask.path.lower().startswith(("/v1.0/identity/", "/v1.0/policies/")):
        message = "You cannot perform the requested operation, required scopes are missing in the token."
        return graph(ask, 403, "AccessDenied", message)
    return graph(ask, 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")


def no_premium(ask: Ask) -> Refusal:
    """The tenant has no Entra ID P1, which the registration report and sign-in activity need."""
    message = "Neither tenant is B2C or tenant doesn't have premium license"
    return graph(ask, 403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant", message)


def no_p2(ask: Ask) -> Refusal:
    """The tenant has no Entra ID P2, which Privileged Identity Management needs."""
    message = "The tenant needs to have Microsoft Entra ID P2 or Microsoft Entra ID Governance license."
    return graph(ask, 400, "AadPremiumLicenseRequired", message)


# --- tokens that are refused, by both ---


def token_missing(ask: Ask) -> Refusal:
    if ask.host == GRAPH:
        return graph(ask, 401, "InvalidAuthenticationToken", "Access token is empty.", _graph_challenge())
    words = "The authentication failed because of missing 'Authorization' header."
    message = "Authentication failed. The 'Authorization' header is missing."
    return arm(401, "AuthenticationFailed", message, headers=_arm_challenge(words))


def token_invalid(ask: Ask) -> Refusal:
    if ask.host == GRAPH:
        message = (
            "IDX14100: JWT is not well formed, there are no dots (.).\nThe token needs to be in JWS or JWE Compact "
        )
        message += "Serialization Format."
        return graph(ask, 401, "InvalidAuthenticationToken", message, _graph_challenge())
    message = "The access token is invalid."
    return arm(401, "InvalidAuthenticationToken", message, headers=_arm_challenge(message))


def token_audience(ask: Ask, audience: str) -> Refusal:
    if ask.host == GRAPH:
        message = "Access token validation failure. Invalid audience."
        return graph(ask, 401, "InvalidAuthenticationToken", message, _graph_challenge())
    message = (
        f"The access token has been obtained for wrong audience or resource '{audience}'. It should exactly match with "
        f"one of the allowed audiences {','.join(repr(each) for each in AUDIENCES)}."
    )
    return arm(401, "InvalidAuthenticationTokenAudience", message, headers=_arm_challenge(message))


def token_expired(ask: Ask, ended: datetime | None = None) -> Refusal:
    if ask.host == GRAPH:
        message = "Lifetime validation failed, the token is expired."
        return graph(ask, 401, "InvalidAuthenticationToken", message, _graph_challenge())
    now = datetime.now(UTC)
    message = (
        f"The access token expiry UTC time '{_american(ended or now)}' is earlier than current UTC time "
        f"'{_american(now)}'."
    )
    return arm(401, "ExpiredAuthenticationToken", message, headers=_arm_challenge(message))


def claims_challenge(ask: Ask, since: int) -> Refusal:
    """Continuous access evaluation: the token was revoked, another must be asked for with these claims.

    ``since`` is the moment, in seconds since 1970, that the new token must not be issued before.
    """
    wanted = {"access_token": {"nbf": {"essential": True, "value": str(since)}}}
    claims = base64.b64encode(json.dumps(wanted, separators=(",", ":")).encode()).decode()
    challenge = (
        f'Bearer realm="", authorization_uri="{AUTHORITY}/common/oauth2/authorize", '
        f'error="insufficient_claims", claims="{claims}"'
    )
    headers = {"WWW-Authenticate": challenge}
    if ask.host == GRAPH:
        message = (
            "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: "
            "TokenIssuedBeforeRevocationTimestamp"
        )
        return graph(ask, 401, "InvalidAuthenticationToken", message, headers)
    message = (
        "User session has been revoked. The access token must be requested again with the claims of the challenge."
    )
    return arm(401, "InvalidAuthenticationToken", message, headers=headers)


def _arm_challenge(words: str) -> dict[str, str]:
    challenge = f'Bearer authorization_uri="{AUTHORITY}/{TENANT}", error="invalid_token", error_description="{words}"'
    return {"WWW-Authenticate": challenge}


def _graph_challenge() -> dict[str, str]:
    challenge = (
        f'Bearer realm="", authorization_uri="{AUTHORITY}/common/oauth2/authorize", client_id="{GRAPH_APPLICATION}"'
    )
    return {"WWW-Authenticate": challenge}


def _american(when: datetime) -> str:
    return f"{when.month}/{when.day}/{when.year} {when:%I:%M:%S %p}"


# --- Entra ---


def entra(status: int, error: str, number: int, message: str, now: datetime, trace: str) -> Refusal:
    """An OAuth error with Entra's number, its words, and what tells this attempt from others."""
    body = {
        "error": error,
        "error_description": f"AADSTS{number}: {message} Trace ID: {trace} Correlation ID: {trace} "
        f"Timestamp: {now:%Y-%m-%d %H:%M:%SZ}",
        "error_codes": [number],
        "timestamp": f"{now:%Y-%m-%d %H:%M:%SZ}",
        "trace_id": trace,
        "correlation_id": trace,
        "error_uri": f"{AUTHORITY}/error?code={number}",
    }
    return Refusal(status, body)
