"""Every symmetric key of Cloud KMS is rotated automatically, and often enough.

Why: rotation bounds how much is encrypted under one key material, and a person forgets to do it.
Remedy: choose Key management > the key > Edit rotation period; of an external key, in a coordinated connection.

Cost: one call for 1000 keys of the organization.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Family,
    LimitedCheck,
    absent_means,
    bad,
    boolean,
    field,
    good,
    not_applicable,
    not_satisfied,
    one_of,
    outside,
    satisfied,
    text,
)
from collector.clouds.gcp import Organization
from collector.errors import Unreadable
from collector.model import Verdict

SYMMETRIC = "ENCRYPT_DECRYPT"
OTHERS = ("AES_WRAPPING", "ASYMMETRIC_DECRYPT", "ASYMMETRIC_SIGN", "KEY_ENCAPSULATION", "MAC", "RAW_ENCRYPT_DECRYPT")
OFF = (
    *("DESTROYED", "DESTROY_SCHEDULED", "EXTERNAL_DESTRUCTION_FAILED", "PENDING_EXTERNAL_DESTRUCTION", "DISABLED"),
    *("GENERATION_FAILED", "PENDING_GENERATION", "IMPORT_FAILED", "PENDING_IMPORT"),
)
LEVELS = ("EXTERNAL", "EXTERNAL_VPC", "HSM", "HSM_SINGLE_TENANT", "SOFTWARE")
NO_PRIMARY = "Cloud KMS API, CryptoKey.primary: keys with purpose ENCRYPT_DECRYPT may have a primary"
NOT_ONLY = "Cloud KMS API, CryptoKey.importOnly: a bool, and proto3 JSON leaves false out"
SOFTWARE = "Cloud KMS API, CryptoKeyVersionTemplate.protectionLevel: defaults to SOFTWARE"
BY_HAND = "Cloud KMS API, CryptoKey.rotationPeriod: optional; a key without one is not rotated automatically"


@dataclass(frozen=True)
class Key:
    purpose: str = SYMMETRIC
    state: str = "ENABLED"  # of its primary version; "" without one
    level: str = "SOFTWARE"
    imported: bool = False  # has imported versions only
    period_days: int = 0  # 0: not rotated automatically
    next_days: int = 0  # until the next rotation


@dataclass(frozen=True)
class Limits:
    rotation_days_max: int = 90


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    return gcp.assets("cloudkms.googleapis.com/CryptoKey")


def observe(gcp: Organization, key: Mapping[str, Any]) -> Key:
    data = field(key, "resource.data")
    purpose = one_of(field(data, "purpose"), (SYMMETRIC, *OTHERS))
    if purpose != SYMMETRIC:
        return Key(purpose, state="")
    primary = absent_means(data, "primary", {}, because=NO_PRIMARY)
    state = one_of(field(primary, "state"), ("ENABLED", *OFF)) if primary else ""
    level = one_of(absent_means(data, "versionTemplate.protectionLevel", "SOFTWARE", because=SOFTWARE), LEVELS)
    imported = boolean(absent_means(data, "importOnly", False, because=NOT_ONLY))
    if not (period := absent_means(data, "rotationPeriod", "", because=BY_HAND)):
        return Key(purpose, state, level, imported)
    if not (found := re.fullmatch(r"(\d+)(\.\d+)?s", text(period))):
        raise Unreadable(f"not a duration: {period!r}")
    days = -(-int(found[1]) // 86_400)
    return Key(purpose, state, level, imported, days, -gcp.age_days(field(data, "nextRotationTime")))


def evaluate(key: Key, limits: Limits) -> Verdict:
    if key.purpose != SYMMETRIC:
        return not_applicable(f"is for {key.purpose}, which Cloud KMS cannot rotate automatically")
    if key.state != "ENABLED":
        return not_applicable(f"cannot encrypt: its primary version is {key.state or 'not there'}")
    if key.imported or key.level == "EXTERNAL":
        return not_applicable("has material from elsewhere, which Cloud KMS cannot rotate automatically")
    if not key.period_days:
        return not_satisfied("is not rotated automatically")
    if key.period_days <= limits.rotation_days_max < key.next_days:
        return not_satisfied(f"is not rotated within the next {limits.rotation_days_max} days")
    how = f"is rotated automatically every {key.period_days} days"
    return satisfied(how) if key.period_days <= limits.rotation_days_max else not_satisfied(how)


CHECK = LimitedCheck(
    id="gcp-kms-rotation",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    see=("cis-gcp-3.0:1.10", "powerpipe:kms_key_rotated_within_90_day", "prowler:kms_key_rotation_enabled"),
    population=population,
    name=lambda key: str(key["name"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Key(period_days=90, next_days=30)),
        *map(bad, (Key(), Key(period_days=365, next_days=30), Key(period_days=90, next_days=300))),
        *map(outside, (Key("MAC", ""), Key(state="DESTROYED"), Key(imported=True), Key(level="EXTERNAL"))),
    ),
)
