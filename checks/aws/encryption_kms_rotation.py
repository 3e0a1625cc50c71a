"""Every customer managed symmetric KMS key is rotated automatically.

Why: rotation bounds how much is encrypted under one key material, and a person forgets to do it.
Remedy: switch on automatic rotation under KMS > Customer managed keys > Key rotation; of a replica on its primary.

Cost: one call for 100 keys of the region, one for each key, and one more for each that can be rotated.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector import check
from collector.check import Family, LimitedCheck, bad, good, not_applicable, not_satisfied, outside, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict

SYMMETRIC = "SYMMETRIC_DEFAULT"
SPECS = f"""{SYMMETRIC} HMAC_224 HMAC_256 HMAC_384 HMAC_512 ML_DSA_44 ML_DSA_65 ML_DSA_87 ML_KEM_512 ML_KEM_768
ML_KEM_1024 ECC_NIST_EDWARDS25519 ECC_NIST_P256 ECC_NIST_P384 ECC_NIST_P521 ECC_SECG_P256K1 RSA_2048 RSA_3072 RSA_4096
SM2""".split()
OFF = ("Creating", "Disabled", "PendingDeletion", "PendingImport", "PendingReplicaDeletion", "Unavailable", "Updating")


@dataclass(frozen=True)
class Key:
    manager: str = "CUSTOMER"
    state: str = "Enabled"
    spec: str = SYMMETRIC
    origin: str = "AWS_KMS"
    period_days: int = 0  # 0: not rotated automatically


@dataclass(frozen=True)
class Limits:
    rotation_days_max: int = 365


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    """All keys of the account in the region, those too that AWS made for its services."""
    return aws.each("kms", "list_keys", "Keys")


def observe(aws: Account, key: Mapping[str, Any]) -> Key:
    found = check.field(aws.call("kms", "describe_key", KeyId=key["KeyArn"]), "KeyMetadata")
    facts = Key(
        manager=check.one_of(found["KeyManager"], ("AWS", "CUSTOMER")),
        state=check.one_of(found["KeyState"], ("Enabled", *OFF)),
        spec=check.one_of(found["KeySpec"], SPECS),
        origin=check.one_of(found["Origin"], ("AWS_CLOUDHSM", "AWS_KMS", "EXTERNAL", "EXTERNAL_KEY_STORE")),
    )
    if facts != Key():
        return facts
    status = aws.call("kms", "get_key_rotation_status", KeyId=key["KeyArn"])
    if not check.boolean(status["KeyRotationEnabled"]):
        return facts
    return Key(period_days=check.number(check.field(status, "RotationPeriodInDays")))


def evaluate(key: Key, limits: Limits) -> Verdict:
    if key.manager == "AWS":
        return not_applicable("is managed by AWS, which rotates it every year")
    if key.state != "Enabled":
        return not_applicable(f"cannot be used: it is {key.state}")
    if key.spec != SYMMETRIC or key.origin != "AWS_KMS":
        return not_applicable(f"is {key.spec} with material of {key.origin}, which KMS cannot rotate automatically")
    if not key.period_days:
        return not_satisfied("is not rotated automatically")
    how = f"is rotated automatically every {key.period_days} days"
    return satisfied(how) if key.period_days <= limits.rotation_days_max else not_satisfied(how)


CHECK = LimitedCheck(
    id="aws-kms-key-rotation",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("kms:DescribeKey", "kms:GetKeyRotationStatus", "kms:ListKeys"),
    per="region",
    see=("aws-config:cmk-backing-key-rotation-enabled", "cis-aws-3.0:3.6", "prowler:kms_cmk_rotation_enabled"),
    population=population,
    name=lambda key: str(key["KeyArn"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Key(period_days=365)),
        *map(bad, (Key(), Key(period_days=2560))),
        *map(outside, (Key(manager="AWS"), Key(state="Disabled"), Key(spec="RSA_2048"), Key(origin="EXTERNAL"))),
    ),
)
