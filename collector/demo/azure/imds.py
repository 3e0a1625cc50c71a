"""A machine's own identity, as plain HTTP: the metadata service (IMDS), and the identity endpoint of App Service.

No socket of its own: a test or a demo puts ``answer`` behind any HTTP server on loopback and names that in
AZURE_POD_IDENTITY_AUTHORITY_HOST, or in IDENTITY_ENDPOINT with IDENTITY_HEADER. The identity is the collector's.
"""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from collector.demo.azure.errors import Refusal
from collector.demo.azure.tokens import RESOURCES, Issuer
from collector.demo.azure.world import CLIENT
from collector.demo.proxy import Response

MACHINE_SECONDS = 86_399  # the life of a managed identity's token
IDENTITY_HEADER = "simulated-identity-header"


def answer(issuer: Issuer, method: str, target: str, headers: Mapping[str, str]) -> Response:
    """The answer to one request; header names in lower case."""
    parts = urllib.parse.urlsplit(target)
    query = dict(urllib.parse.parse_qsl(parts.query))
    status: int
    body: Mapping[str, Any]
    try:
        status, body = 200, _token(issuer, f"{method} {parts.path}", query, headers)
    except Refusal as error:
        status, body = error.status, error.body
    server = {"Content-Type": "application/json; charset=utf-8", "Server": "IMDS/150.870.65.1854"}
    return Response(status, server, json.dumps(body).encode())


def _token(issuer: Issuer, what: str, query: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    if what == "GET /metadata/identity/oauth2/token":
        if headers.get("metadata", "").lower() != "true":
            raise _refused("invalid_request", "Required metadata header not specified")
    elif what == "GET /msi/token":
        if headers.get("x-identity-header") != IDENTITY_HEADER:
            raise Refusal(401, {"statusCode": 401, "message": "The X-IDENTITY-HEADER is not valid."})
    else:
        raise Refusal(404, {"error": "not_found", "error_description": "No such endpoint"})
    resource = query.get("resource", "")
    if "api-version" not in query:
        raise _refused("invalid_request", "Required query variable 'api-version' not specified")
    if resource.rstrip("/") not in RESOURCES:
        raise _refused("invalid_resource", f"AADSTS500011: The resource principal named {resource} was not found.")
    if query.get("client_id", CLIENT) != CLIENT:
        raise _refused("invalid_request", "Identity not found")
    now = int(time.time())
    return {
        "access_token": issuer.issue(resource, "2", cae=False, claimed=False, seconds=MACHINE_SECONDS),
        "client_id": CLIENT,
        "expires_in": str(MACHINE_SECONDS),
        "expires_on": str(now + MACHINE_SECONDS),
        "ext_expires_in": str(MACHINE_SECONDS),
        "not_before": str(now),
        "resource": resource,
        "token_type": "Bearer",
    }


def _refused(error: str, description: str) -> Refusal:
    return Refusal(400, {"error": error, "error_description": description})
