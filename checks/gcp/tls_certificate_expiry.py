"""Every certificate of load balancers and of Certificate Manager is renewed well before it expires.

Why: an expired certificate stops the service, or teaches people to click warnings away.
Remedy: upload a new certificate and choose it on the proxy; let a managed one reach its domains; delete unused ones.

Cost: two calls for 1000 certificates of each kind of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Family,
    LimitedCheck,
    absent_means,
    bad,
    field,
    good,
    not_applicable,
    not_satisfied,
    one_of,
    outside,
    satisfied,
)
from collector.clouds.gcp import Organization
from collector.model import Verdict

COMPUTE, MANAGER = "compute.googleapis.com/SslCertificate", "certificatemanager.googleapis.com/Certificate"
NEVER_ISSUED = ("FAILED", "PROVISIONING", "PROVISIONING_FAILED", "PROVISIONING_FAILED_PERMANENTLY")
GIVEN_UP = ("FAILED", "PROVISIONING_FAILED_PERMANENTLY", "RENEWAL_FAILED")
SELF = "Compute Engine API, SslCertificate.type: if not specified, the certificate is self-managed"
UPLOADED = "Certificate Manager API, Certificate.managed and managedIdentity: set for certificates of that kind only"
NOT_ISSUED = "expireTime: output only; a managed certificate has none before it is first provisioned"


@dataclass(frozen=True)
class Certificate:
    state: str = ""  # of a managed one; "" for one that was uploaded
    issued: bool = True
    days_left: int = 0


@dataclass(frozen=True)
class Limits:
    days_left_min: int = 30
    managed_days_left_min: int = 14  # Google begins to renew about a month before the end


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """Used or not: which of them a proxy shows is known for some kinds of proxies only."""
    return [*gcp.assets(COMPUTE), *gcp.assets(MANAGER)]


def observe(gcp: Organization, certificate: Mapping[str, Any]) -> Certificate:
    data = field(certificate, "resource.data")
    state = state_of(data) if certificate["assetType"] == MANAGER else status_of(data)
    if state in NEVER_ISSUED and not absent_means(data, "expireTime", "", because=NOT_ISSUED):
        return Certificate(state, issued=False)
    return Certificate(state, days_left=-gcp.age_days(field(data, "expireTime")))


def state_of(data: Mapping[str, Any]) -> str:
    """Of a certificate of Certificate Manager."""
    for kind in ("managed", "managedIdentity"):
        if found := absent_means(data, kind, {}, because=UPLOADED):
            return one_of(field(found, "state"), ("ACTIVE", "FAILED", "PROVISIONING"))
    return ""


def status_of(data: Mapping[str, Any]) -> str:
    """Of a certificate of Compute Engine, global or regional."""
    if one_of(absent_means(data, "type", "SELF_MANAGED", because=SELF), ("MANAGED", "SELF_MANAGED")) == "SELF_MANAGED":
        return ""
    return one_of(field(data, "managed.status"), ("ACTIVE", "RENEWAL_FAILED", *NEVER_ISSUED[1:]))


def evaluate(certificate: Certificate, limits: Limits) -> Verdict:
    if not certificate.issued:
        return not_applicable(f"was never issued: {certificate.state}")
    if certificate.state in GIVEN_UP:
        return not_satisfied(f"is not renewed any more: {certificate.state}")
    least = limits.managed_days_left_min if certificate.state else limits.days_left_min
    if certificate.days_left < least:
        return not_satisfied(f"expires within {least} days or has expired")
    return satisfied(f"expires in no less than {least} days")


CHECK = LimitedCheck(
    id="gcp-certificate-expiry",
    family=Family.TLS,
    criteria=("CC6.7",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    population=population,
    name=lambda certificate: str(certificate["name"]),
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        *map(good, (Certificate(days_left=60), Certificate("ACTIVE", days_left=20))),
        *map(bad, (Certificate(days_left=20), Certificate(days_left=-3), Certificate("ACTIVE", days_left=13))),
        bad(Certificate("RENEWAL_FAILED", days_left=25)),
        outside(Certificate("PROVISIONING", issued=False)),
    ),
)
