"""The metadata server of a machine in the collector's project, as plain HTTP; no socket of its own.

A test or a demo puts ``answer`` behind any HTTP server on loopback and names that in GCE_METADATA_HOST.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping

from collector.demo.gcp.oauth import CLOUD_PLATFORM, Issuer
from collector.demo.gcp.world import HOME, PROJECTS, RUNNER, Principal
from collector.demo.proxy import Response

FLAVOR = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}
ACCOUNTS = "/computeMetadata/v1/instance/service-accounts/"


def answer(issuer: Issuer, method: str, target: str, headers: Mapping[str, str]) -> Response:
    """The answer to one request; header names in lower case. The machine runs as the runner's service account."""
    parts = urllib.parse.urlsplit(target)
    query = dict(urllib.parse.parse_qsl(parts.query))
    if parts.path == "/":
        return _text(200, "computeMetadata/\n")
    if headers.get("metadata-flavor") != "Google":
        return _text(403, "Missing Metadata-Flavor:Google header.\n")
    if method != "GET":
        return _text(405, "Method not allowed\n")
    if parts.path == "/computeMetadata/v1/project/project-id":
        return _text(200, HOME)
    if parts.path == "/computeMetadata/v1/project/numeric-project-id":
        return _text(200, PROJECTS[HOME])
    if parts.path == "/computeMetadata/v1/universe/universe-domain":
        return _text(200, "googleapis.com")
    account, _, what = parts.path.removeprefix(ACCOUNTS).partition("/")
    if not parts.path.startswith(ACCOUNTS) or account not in ("default", RUNNER):
        return _text(404, "Not Found\n")
    if what == "token":
        scopes = query.get("scopes", CLOUD_PLATFORM).split(",")
        token, life = issuer.issue(Principal(RUNNER, frozenset(scopes)))
        return _json({"access_token": token, "expires_in": life, "token_type": "Bearer"})
    if what == "email":
        return _text(200, RUNNER)
    if not what and query.get("recursive") == "true":
        return _json({"aliases": ["default"], "email": RUNNER, "scopes": [CLOUD_PLATFORM]})
    return _text(404, "Not Found\n")


def _text(status: int, text: str) -> Response:
    return Response(status, {**FLAVOR, "Content-Type": "application/text"}, text.encode())


def _json(body: object) -> Response:
    return Response(200, {**FLAVOR, "Content-Type": "application/json"}, json.dumps(body).encode())
