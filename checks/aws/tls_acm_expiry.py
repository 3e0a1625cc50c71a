"""Every certificate in ACM is renewed well before it expires.

Why: an expired certificate stops the service, or teaches people to click warnings away.
Remedy: let ACM renew it by keeping its DNS validation records in place, or import a new one.

Cost: one call for 1000 certificates.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Family,
    LimitedCheck,
    bad,
    boolean,
    field,
    good,
    not_applicable,
    not_satisfied,
    one_of,
    outside,
    satisfied,
)
from collector.clouds.aws import Account
from collector.model import Verdict

# Without this list ACM leaves all but two kinds out of its answer (API_Filters, keyTypes).
KEYS = ["RSA_1024", "RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1"]
NEVER_ISSUED = ("PENDING_VALIDATION", "VALIDATION_TIMED_OUT", "FAILED")
ENDED = ("EXPIRED", "INACTIVE", "REVOKED")


@dataclass(frozen=True)
class Certificate:
    status: str
    in_use: bool
    days_left: int = 0


@dataclass(frozen=True)
class Limits:
    days_left_min: int = 30


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    return aws.each("acm", "list_certificates", "CertificateSummaryList", Includes={"keyTypes": KEYS})


def observe(aws: Account, certificate: Mapping[str, Any]) -> Certificate:
    status = one_of(certificate["Status"], ("ISSUED", *NEVER_ISSUED, *ENDED))
    in_use = boolean(certificate["InUse"])
    days = -aws.age_days(field(certificate, "NotAfter")) if status == "ISSUED" else 0
    return Certificate(status, in_use, days)


def evaluate(certificate: Certificate, limits: Limits) -> Verdict:
    if certificate.status in NEVER_ISSUED:
        return not_applicable(f"was never issued: {certificate.status}")
    if not certificate.in_use:
        return not_applicable("is used by nothing")
    if certificate.status in ENDED:
        return not_satisfied(f"is in use and {certificate.status}")
    if certificate.days_left < limits.days_left_min:
        return not_satisfied(f"is in use and expires within {limits.days_left_min} days")
    return satisfied(f"expires in no less than {limits.days_left_min} days")


CHECK = LimitedCheck(
    id="aws-acm-certificate-expiry",
    family=Family.TLS,
    criteria=("CC6.7",),
    permissions=("acm:ListCertificates",),
    per="region",
    see=("aws-config:acm-certificate-expiration-check", "prowler:acm_certificates_expiration_check"),
    population=population,
    name=lambda certificate: str(certificate["CertificateArn"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        good(Certificate("ISSUED", True, 60)),
        bad(Certificate("ISSUED", True, 29)),
        bad(Certificate("EXPIRED", True)),
        outside(Certificate("ISSUED", False, 3)),
        outside(Certificate("PENDING_VALIDATION", False)),
    ),
)
