"""AWS KMS where moto is behind: Ed25519 keys, signatures over digests, disabled keys, and the limit of 4096 bytes.

P-256 keys and their signatures over messages are moto's own.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from moto.kms.models import kms_backends

from collector.demo.answers import answers, key, of_moto
from collector.demo.aws import Call, Refusal, World

SPEC, ALGORITHM = "ECC_NIST_EDWARDS25519", "ED25519_SHA_512"
HELD = "kms.ed25519"  # {key id: the private half in hexadecimal digits}
MESSAGE_BYTES_MAX = 4096
STATES = {
    "Disabled": ("DisabledException", "is disabled."),
    "PendingDeletion": ("KMSInvalidStateException", "is pending deletion."),
}


@answers("kms", "CreateKey")
def create(world: World, call: Call) -> dict[str, Any]:
    if call.params.get("KeySpec") != SPEC:
        return of_moto(world, call)
    params = {**call.params, "KeySpec": "ECC_NIST_P256"}
    found = world.moto.ask("kms", "CreateKey", call.region, params)
    id = found["KeyMetadata"]["KeyId"]
    world.state.setdefault(HELD, {})[id] = Ed25519PrivateKey.generate().private_bytes_raw().hex()
    return {"KeyMetadata": _named(found["KeyMetadata"])}


@answers("kms", "DescribeKey")
def describe(world: World, call: Call) -> dict[str, Any]:
    found: dict[str, Any] = key(world, call)
    if found["KeyMetadata"]["KeyId"] in world.state.get(HELD, {}):
        found["KeyMetadata"] = _named(found["KeyMetadata"])
    return found


def _named(metadata: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in metadata.items() if name != "CustomerMasterKeySpec"}  # too old to know it
    return {**rest, "KeySpec": SPEC, "SigningAlgorithms": [ALGORITHM]}


@answers("kms", "GetPublicKey")
def public_key(world: World, call: Call) -> dict[str, Any]:
    metadata = _metadata(world, call)
    if metadata["KeySpec"] == "SYMMETRIC_DEFAULT" or metadata["KeySpec"].startswith("HMAC"):
        raise Refusal("UnsupportedOperationException", f"{metadata['Arn']} key is not asymmetric.")
    found = of_moto(world, call)
    found["KeyId"] = metadata["Arn"]  # moto leaves out all but the end
    found["KeySpec"] = found["CustomerMasterKeySpec"]
    private = _ed25519(world, metadata)
    if private is None:
        return found
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return _named(found) | {"PublicKey": spki}


@answers("kms", "Sign")
def sign(world: World, call: Call) -> dict[str, Any]:
    message, digest = call.params["Message"], call.params.get("MessageType") == "DIGEST"
    if len(message) > MESSAGE_BYTES_MAX:
        raise Refusal(
            "ValidationException",
            "1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length "
            f"less than or equal to {MESSAGE_BYTES_MAX}",
        )
    metadata = _metadata(world, call)
    if metadata["KeyState"] in STATES:
        code, words = STATES[metadata["KeyState"]]
        raise Refusal(code, f"{metadata['Arn']} {words}")
    private = _ed25519(world, metadata)
    if private is not None:
        if call.params["SigningAlgorithm"] != ALGORITHM or digest:
            raise Refusal("InvalidKeyUsageException", f"{ALGORITHM} with RAW is what {metadata['Arn']} signs with.")
        return {"KeyId": metadata["Arn"], "Signature": private.sign(message), "SigningAlgorithm": ALGORITHM}
    if not digest:
        return of_moto(world, call)
    kept: Any = kms_backends[world.account][call.region].keys[metadata["KeyId"]].private_key
    held = kept.private_key
    if len(message) != 32 or not isinstance(held, ec.EllipticCurvePrivateKey):
        raise Refusal("ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256.")
    signature = held.sign(message, ec.ECDSA(Prehashed(SHA256())))
    return {"KeyId": metadata["Arn"], "Signature": signature, "SigningAlgorithm": call.params["SigningAlgorithm"]}


def _metadata(world: World, call: Call) -> dict[str, Any]:
    found: dict[str, Any] = world.moto.ask("kms", "DescribeKey", call.region, {"KeyId": call.params["KeyId"]})
    return dict(found["KeyMetadata"])


def _ed25519(world: World, metadata: dict[str, Any]) -> Ed25519PrivateKey | None:
    held = world.state.get(HELD, {}).get(metadata["KeyId"])
    return None if held is None else Ed25519PrivateKey.from_private_bytes(bytes.fromhex(held))
