"""Azure Key Vault: reading a key and signing with it, for real. Nothing else of the service.

A version of a key is an object of the world of the kind ``KEY``, under its URL; its private half is made when it is
first asked for. Needs a token for the service as a whole, and has its own words for refusals.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from collector.demo.azure.errors import AUTHORITY, Refusal
from collector.demo.azure.tokens import Issuer
from collector.demo.azure.world import PRINCIPAL, TENANT, Ask, World

AUDIENCE = "vault.azure.net"
HOSTS = rf"[a-z0-9-]+\.{re.escape(AUDIENCE)}"
KEY = "vault key"
PATH = re.compile(r"/keys/([A-Za-z0-9-]+)/([0-9a-f]{32})(/sign)?")
READ, SIGN = "Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/sign/action"
VERSIONS = ("7.4", "7.5", "7.6")
CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}


def add_key(world: World, vault: str, name: str, kind: str = "EC", curve: str = "P-256") -> str:
    """Adds a key with one version; the URL of the version."""
    id = f"https://{vault}.{AUDIENCE}/keys/{name}/{secrets.token_hex(16)}"
    now = int(world.clock().timestamp())
    key = {"kid": id, "kty": kind, "key_ops": ["sign", "verify"], **({"crv": curve} if kind.startswith("EC") else {})}
    attributes = {
        "enabled": True,
        "created": now,
        "updated": now,
        "recoveryLevel": "Recoverable+Purgeable",
        "exportable": False,
    }
    world.add(id, KEY, {"key": key, "attributes": attributes})
    return id


def answer(world: World, issuer: Issuer, ask: Ask) -> dict[str, Any] | None:
    """The answer of a vault, None for what is not served. Raises Refusal."""
    _signed_in(issuer, ask)
    found = PATH.fullmatch(ask.path)
    if found is None or ask.method != ("POST" if found[3] else "GET"):
        return None
    if ask.query.get("api-version") not in VERSIONS:
        raise _refusal(
            400, "BadParameter", f"The specified version ({ask.query.get('api-version')}) is not recognized."
        )
    action, verb = (SIGN, "sign") if found[3] else (READ, "get")
    if (action, "") in world.lost:
        raise _denied(ask, action)
    id = f"https://{ask.host}/keys/{found[1]}/{found[2]}"
    body = world.find(id)
    if body is None:
        words = (
            f"A key with (name/id) {found[1]}/{found[2]} was not found in this key vault. If you recently deleted this "
            "key you may be able to recover it using the correct recovery command. For help resolving this issue, "
            "please see https://go.microsoft.com/fwlink/?linkid=2125182"
        )
        raise _refusal(404, "KeyNotFound", words)
    if verb == "sign":
        return {"kid": id, "value": _sign(world, ask, id, body)}
    return {**body, "key": body["key"] | _members(_private(world, id, body))}


def _sign(world: World, ask: Ask, id: str, body: dict[str, Any]) -> str:
    if not body["attributes"]["enabled"]:
        raise _refusal(403, "Forbidden", "Operation sign is not allowed on a disabled key.", "KeyDisabled")
    ends = body["attributes"].get("exp")
    if ends is not None and world.clock().timestamp() >= ends:
        words = "Operation sign is not allowed on an expired key."
        raise _refusal(403, "Forbidden", words, "KeyNotYetValidOrExpired")
    if "sign" not in body["key"]["key_ops"]:
        raise _refusal(403, "Forbidden", "Operation sign is not permitted on this key.", "KeyOperationForbidden")
    private = _private(world, id, body)
    if ask.body is None or ask.body.get("alg") != "ES256":
        raise _refusal(400, "BadParameter", f"Algorithm is not supported: {(ask.body or {}).get('alg')}")
    if not isinstance(private, ec.EllipticCurvePrivateKey) or body["key"].get("crv") != "P-256":
        raise _refusal(
            400, "BadParameter", "Key and signing algorithm are incompatible. Key type and algorithm differ."
        )
    digest = _unpart(str(ask.body.get("value") or ""))
    if len(digest) != 32:
        raise _refusal(400, "BadParameter", f"Invalid length of 'value': {len(digest)} bytes. Must be 32 bytes.")
    r, s = decode_dss_signature(private.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
    return _part(r.to_bytes(32) + s.to_bytes(32))


def _members(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> dict[str, str]:
    """The public half as a JSON web key has it."""
    if isinstance(private, rsa.RSAPrivateKey):
        whole = private.public_key().public_numbers()
        return {"n": _part(whole.n.to_bytes(256)), "e": _part(whole.e.to_bytes(3))}
    point = private.public_key().public_numbers()
    size = (private.key_size + 7) // 8
    return {"x": _part(point.x.to_bytes(size)), "y": _part(point.y.to_bytes(size))}


def _private(world: World, id: str, body: dict[str, Any]) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if id not in world.private:
        curve = CURVES.get(body["key"].get("crv"))
        made = rsa.generate_private_key(65537, 2048) if curve is None else ec.generate_private_key(curve)
        world.private[id] = made
    found: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = world.private[id]
    return found


def _signed_in(issuer: Issuer, ask: Ask) -> None:
    """Raises Refusal for a request without a token that is good for Key Vault."""
    challenge = f'Bearer authorization="{AUTHORITY}/{TENANT}", resource="https://{AUDIENCE}"'
    if not ask.headers.get("authorization"):
        words = "AKV10000: Request is missing a Bearer or PoP token."
        raise _refusal(401, "Unauthorized", words, headers={"WWW-Authenticate": challenge})
    try:
        issuer.token(replace(ask, host=AUDIENCE))
    except Refusal as error:
        code = str(error.body["error"]["code"])
        words = {
            "ExpiredAuthenticationToken": "AKV10023: Token is expired.",
            "InvalidAuthenticationTokenAudience": f"AKV10022: Invalid audience. Expected https://{AUDIENCE}.",
        }.get(code, "AKV10046: Unable to resolve the key used for signature validation.")
        challenge += f', error="invalid_token", error_description="{words}"'
        raise _refusal(401, "Unauthorized", words, headers={"WWW-Authenticate": challenge}) from error


def fault(kind: str, ask: Ask) -> Refusal:
    """What goes wrong on demand, in Key Vault's words."""
    if kind == "throttle":
        words = (
            "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"
        )
        return _refusal(429, "Throttled", words, headers={"Retry-After": "1"})
    if kind == "500":
        return _refusal(500, "InternalServerError", "An unexpected error occurred.")
    if kind in ("expired", "cae"):
        words = "AKV10023: Token is expired."
        challenge = f'Bearer authorization="{AUTHORITY}/{TENANT}", resource="https://{AUDIENCE}"'
        return _refusal(401, "Unauthorized", words, headers={"WWW-Authenticate": challenge})
    return _denied(ask, SIGN if ask.path.endswith("/sign") else READ)


def _denied(ask: Ask, action: str) -> Refusal:
    vault = ask.host.partition(".")[0]
    words = (
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
        "definitions were changed recently, please observe propagation time.\r\n"
        f"Caller: oid={PRINCIPAL};iss=https://sts.windows.net/{TENANT}/\r\nAction: '{action}'\r\n"
        f"Resource: '/subscriptions/.../vaults/{vault}{ask.path.removesuffix('/sign')}'\r\n"
        "Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\n"
        f"Vault: {vault};location=westeurope\r\n"
    )
    return _refusal(403, "Forbidden", words, "ForbiddenByRbac")


def _refusal(status: int, code: str, message: str, inner: str = "", headers: dict[str, str] | None = None) -> Refusal:
    error: dict[str, Any] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return Refusal(status, {"error": error}, headers)


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unpart(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refusal(400, "BadParameter", "Property value has invalid value") from error
