"""Google Cloud KMS: public keys and signatures of asymmetric keys, signed for real. Nothing else of the service.

A version is an object of the world of the kind ``VERSION``; its private half is made when it is first asked for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from collector.demo.gcp import errors
from collector.demo.gcp.errors import Refusal
from collector.demo.gcp.world import COLLECTOR, Ask, World

HOST = "cloudkms.googleapis.com"
VERSION = f"{HOST}/CryptoKeyVersion"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/cloudkms")
VIEW, SIGN = "cloudkms.cryptoKeyVersions.viewPublicKey", "cloudkms.cryptoKeyVersions.useToSign"
NAME = r"(projects/[^/:]+/locations/[^/:]+/keyRings/[^/:]+/cryptoKeys/[^/:]+/cryptoKeyVersions/[0-9]+)"
PRECONDITION = "type.googleapis.com/google.rpc.PreconditionFailure"
DATA_BYTES_MAX = 65_536
CASTAGNOLI = 0x82F63B78

Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def add_version(world: World, name: str, algorithm: str, state: str = "ENABLED") -> None:
    """Adds ``projects/.../cryptoKeyVersions/N``."""
    world.add(name, VERSION, {"name": name, "algorithm": algorithm, "state": state, "protectionLevel": "SOFTWARE"})


def public_key(world: World, ask: Ask, name: str) -> dict[str, Any]:
    """GET /v1/{name}/publicKey"""
    version = _version(world, ask, name, VIEW)
    spki = PublicFormat.SubjectPublicKeyInfo
    pem = _private(world, version).public_key().public_bytes(Encoding.PEM, spki).decode()
    return {
        "pem": pem,
        "algorithm": version["algorithm"],
        "pemCrc32c": str(_crc32c(pem.encode())),
        "name": name,
        "protectionLevel": version["protectionLevel"],
        "publicKeyFormat": "PEM",
    }


def sign(world: World, ask: Ask, name: str) -> dict[str, Any]:
    """POST /v1/{name}:asymmetricSign"""
    version = _version(world, ask, name, SIGN)
    private = _private(world, version)
    data, digest = ask.body.get("data"), ask.body.get("digest")
    if (data is None) == (digest is None):
        raise errors.invalid("Exactly one of digest and data must be set.")
    answer: dict[str, Any] = {"name": name, "protectionLevel": version["protectionLevel"]}
    if data is not None:
        given = _bytes(data, "data")
        answer |= _arrived(ask, "dataCrc32c", given, "verifiedDataCrc32c")
        if len(given) > DATA_BYTES_MAX:
            raise errors.invalid(f"data must be at most {DATA_BYTES_MAX} bytes long, is {len(given)}.")
        if not isinstance(private, ed25519.Ed25519PrivateKey):
            given = hashlib.sha256(given).digest()
    else:
        if isinstance(private, ed25519.Ed25519PrivateKey):
            raise errors.invalid(f"{version['algorithm']} signs data, and no digest.")
        if not isinstance(digest, dict) or set(digest) != {"sha256"}:
            raise errors.invalid(f"The digest must be sha256 for {version['algorithm']}.")
        given = _bytes(digest["sha256"], "digest.sha256")
        answer |= _arrived(ask, "digestCrc32c", given, "verifiedDigestCrc32c")
        if len(given) != 32:
            raise errors.invalid(f"digest.sha256 must be 32 bytes long, is {len(given)}.")
    signature = _signature(private, given)
    return answer | {"signature": base64.b64encode(signature).decode(), "signatureCrc32c": str(_crc32c(signature))}


def _signature(private: Private, given: bytes) -> bytes:
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(given)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return private.sign(given, ec.ECDSA(Prehashed(SHA256())))
    return private.sign(given, padding.PKCS1v15(), Prehashed(SHA256()))


def _version(world: World, ask: Ask, name: str, permission: str) -> dict[str, Any]:
    project = name.split("/")[1]
    lost = {(permission, ""), (permission, project)}
    if ask.principal.account != COLLECTOR or not world.lost.isdisjoint(lost):
        raise errors.denied(ask.host, permission, name.partition("/cryptoKeyVersions/")[0])
    version = world.find(name)
    if version is None:
        raise errors.not_found(f"CryptoKeyVersion {name} not found.")
    if version["state"] != "ENABLED":
        message = f"{name} is not enabled, current state is: {version['state']}."
        failure = {"@type": PRECONDITION, "violations": [{"type": f"KEY_{version['state']}", "subject": name}]}
        raise errors.refusal(400, "FAILED_PRECONDITION", message, [failure])
    if version["algorithm"] not in MADE:
        raise _wrong(name, version["algorithm"])
    return version


def _wrong(name: str, algorithm: str) -> Refusal:
    message = f"{name} is of the algorithm {algorithm}, which is not valid for asymmetric signing."
    return errors.refusal(400, "FAILED_PRECONDITION", message)


def _private(world: World, version: dict[str, Any]) -> Private:
    held: dict[Any, Private] = world.private
    key = version["name"], version["algorithm"]
    if key not in held:
        held[key] = MADE[version["algorithm"]]()
    return held[key]


MADE: dict[str, Callable[[], Private]] = {
    "EC_SIGN_ED25519": ed25519.Ed25519PrivateKey.generate,
    "EC_SIGN_P256_SHA256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RSA_SIGN_PKCS1_2048_SHA256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
}


def _bytes(text: Any, member: str) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise errors.invalid(f"Invalid value at '{member}' (TYPE_BYTES), Base64 decoding failed.") from error


def _arrived(ask: Ask, member: str, given: bytes, verified: str) -> dict[str, Any]:
    """Whether the sender's checksum was there and looked at. Raises Refusal when it is wrong."""
    told = ask.body.get(member)
    if told is None:
        return {}
    if str(told) != str(_crc32c(given)):
        raise errors.invalid(f"The checksum in field {member} did not match the data in field {member[:-6]}.")
    return {verified: True}


def _crc32c(data: bytes) -> int:
    """Bit by bit, so that nothing here is shared with who is tested."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ CASTAGNOLI * (value & 1)
    return value ^ 0xFFFFFFFF


SERVICE = "google.cloud.kms.v1.KeyManagementService"
ROUTES = (
    (HOST, "GET", rf"/v1/{NAME}/publicKey", f"{SERVICE}.GetPublicKey", SCOPES, public_key),
    (HOST, "POST", rf"/v1/{NAME}:asymmetricSign", f"{SERVICE}.AsymmetricSign", SCOPES, sign),
)
