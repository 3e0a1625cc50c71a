"""Every CloudFront distribution talks to viewers over TLS 1.2 or later only.

Why: what travels to viewers over http or an old TLS version can be read and changed on the way.
Remedy: set Redirect HTTP to HTTPS on every behaviour, and a certificate of your own with a TLSv1.2 security policy.

Cost: one call for 100 distributions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, boolean, field, good, not_satisfied, one_of, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict

OLD = ("SSLv3", "TLSv1", "TLSv1_2016", "TLSv1.1_2016")
POLICIES = (*OLD, "TLSv1.2_2018", "TLSv1.2_2019", "TLSv1.2_2021", "TLSv1.2_2025", "TLSv1.3_2025")
VIEWER = ("allow-all", "https-only", "redirect-to-https")


@dataclass(frozen=True)
class Distribution:
    plaintext: bool  # some behaviour answers http
    minimum: str  # the oldest security policy that viewers may use


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    return aws.each("cloudfront", "list_distributions", "DistributionList.Items", quantity="DistributionList.Quantity")


def observe(aws: Account, distribution: Mapping[str, Any]) -> Distribution:
    behaviours = [field(distribution, "DefaultCacheBehavior")]
    if field(distribution, "CacheBehaviors.Quantity"):
        behaviours += field(distribution, "CacheBehaviors.Items")
    plaintext = "allow-all" in [one_of(each["ViewerProtocolPolicy"], VIEWER) for each in behaviours]
    certificate = field(distribution, "ViewerCertificate")
    because = "API_ViewerCertificate: true or false; left out where the distribution has a certificate of its own"
    if boolean(absent_means(certificate, "CloudFrontDefaultCertificate", False, because=because)):
        return Distribution(plaintext, "TLSv1")  # whatever else it says: API_ViewerCertificate, MinimumProtocolVersion
    return Distribution(plaintext, one_of(field(certificate, "MinimumProtocolVersion"), POLICIES))


def evaluate(distribution: Distribution) -> Verdict:
    if distribution.plaintext:
        return not_satisfied("answers viewers over plaintext HTTP")
    if distribution.minimum in OLD:
        return not_satisfied(f"lets viewers use the security policy {distribution.minimum}")
    return satisfied(f"asks viewers for HTTPS by the security policy {distribution.minimum} or later")


CHECK = Check(
    id="aws-cloudfront-viewer-tls",
    family=Family.TLS,
    criteria=("CC6.6", "CC6.7"),
    permissions=("cloudfront:ListDistributions",),
    per="account",
    see=(
        "aws-config:cloudfront-viewer-policy-https",
        "prowler:cloudfront_distributions_https_enabled",
        "prowler:cloudfront_distributions_using_deprecated_ssl_protocols",
    ),
    population=population,
    name=lambda distribution: str(distribution["ARN"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Distribution(False, "TLSv1.2_2021")),
        bad(Distribution(False, "TLSv1")),
        bad(Distribution(True, "TLSv1.2_2021")),
    ),
)
