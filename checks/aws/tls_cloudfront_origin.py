"""Every CloudFront distribution talks to its own origins over TLS 1.2 only.

Why: behind the edge the same data travels on, and nobody sees there that it is not protected.
Remedy: set the origin's protocol to HTTPS only, with TLSv1.2 as its only origin SSL protocol.

Cost: one call for 100 distributions and one for each VPC origin.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, field, good, not_applicable, not_satisfied, one_of, outside, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict

VIEWER = ("allow-all", "https-only", "redirect-to-https")
ORIGIN = ("http-only", "https-only", "match-viewer")
KINDS = {"CustomOriginConfig", "S3OriginConfig", "VpcOriginConfig"}
VERSIONS = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2")


@dataclass(frozen=True)
class Distribution:
    plaintext: tuple[str, ...] = ()  # ids of origins that are asked over http
    old: tuple[str, ...] = ()  # ids of origins that may be asked over an old version
    sound: int = 0  # how many other origins end TLS themselves


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    return aws.each("cloudfront", "list_distributions", "DistributionList.Items", quantity="DistributionList.Quantity")


def observe(aws: Account, distribution: Mapping[str, Any]) -> Distribution:
    behaviours = [field(distribution, "DefaultCacheBehavior")]
    if field(distribution, "CacheBehaviors.Quantity"):
        behaviours += field(distribution, "CacheBehaviors.Items")
    open_to = "allow-all" in [one_of(each["ViewerProtocolPolicy"], VIEWER) for each in behaviours]
    plaintext, old, sound = [], [], 0
    for origin in field(distribution, "Origins.Items"):
        config = configured(aws, origin)
        if config is None:
            continue
        protocol = one_of(field(config, "OriginProtocolPolicy"), ORIGIN)
        if protocol == "http-only" or (protocol == "match-viewer" and open_to):
            plaintext.append(str(origin["Id"]))
        elif {one_of(each, VERSIONS) for each in field(config, "OriginSslProtocols.Items")} != {"TLSv1.2"}:
            old.append(str(origin["Id"]))
        else:
            sound += 1
    return Distribution(tuple(sorted(plaintext)), tuple(sorted(old)), sound)


def configured(aws: Account, origin: Mapping[str, Any]) -> Any:
    """How an origin is asked; None for S3, where CloudFront signs and protects requests by itself."""
    kind = one_of(",".join(sorted(KINDS & set(origin))), KINDS)
    if kind == "S3OriginConfig":
        return None
    if kind == "CustomOriginConfig":
        return origin[kind]
    return field(
        aws.call("cloudfront", "get_vpc_origin", Id=origin[kind]["VpcOriginId"]), "VpcOrigin.VpcOriginEndpointConfig"
    )


def evaluate(distribution: Distribution) -> Verdict:
    if distribution.plaintext:
        return not_satisfied(f"asks {', '.join(distribution.plaintext)} over plaintext HTTP")
    if distribution.old:
        return not_satisfied(f"may ask {', '.join(distribution.old)} over a version before TLS 1.2")
    if distribution.sound:
        return satisfied("asks its origins over TLS 1.2 only")
    return not_applicable("has S3 origins only")


CHECK = Check(
    id="aws-cloudfront-origin-tls",
    family=Family.TLS,
    criteria=("CC6.7",),
    permissions=("cloudfront:GetVpcOrigin", "cloudfront:ListDistributions"),
    per="account",
    see=(
        "aws-config:cloudfront-no-deprecated-ssl-protocols",
        "prowler:cloudfront_distributions_origin_traffic_encrypted",
    ),
    population=population,
    name=lambda distribution: str(distribution["ARN"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Distribution(sound=1)),
        bad(Distribution(plaintext=("legacy",), sound=1)),
        bad(Distribution(old=("legacy",))),
        outside(Distribution()),
    ),
)
