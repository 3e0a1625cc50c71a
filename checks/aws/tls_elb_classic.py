"""Every classic load balancer takes TLS 1.2 or later and no plaintext HTTP.

Why: what travels over http or an old TLS version can be read and changed on the way.
Remedy: give HTTPS and SSL listeners the policy ELBSecurityPolicy-TLS-1-2-2017-01, replace HTTP ones, or move to an ALB.

Cost: one call for 400 load balancers and one for each that ends TLS.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, boolean, good, not_applicable, not_satisfied, one_of, outside, satisfied
from collector.clouds.aws import Account
from collector.errors import Unreadable
from collector.model import Verdict

OLD = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1")
NEGOTIATION = "SSLNegotiationPolicyType"


@dataclass(frozen=True)
class Balancer:
    protocols: tuple[str, ...]  # of its listeners: HTTP, HTTPS, SSL, TCP
    versions: tuple[str, ...] = ()  # that its policies let clients negotiate


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    return aws.each("elb", "describe_load_balancers", "LoadBalancerDescriptions")


def observe(aws: Account, balancer: Mapping[str, Any]) -> Balancer:
    listeners = balancer["ListenerDescriptions"]
    protocols = {one_of(each["Listener"]["Protocol"].upper(), ("HTTP", "HTTPS", "SSL", "TCP")) for each in listeners}
    secure = [each for each in listeners if each["Listener"]["Protocol"].upper() in ("HTTPS", "SSL")]
    if not secure:
        return Balancer(tuple(sorted(protocols)))
    name = balancer["LoadBalancerName"]
    answer = aws.call("elb", "describe_load_balancer_policies", LoadBalancerName=name)
    policies = {policy["PolicyName"]: policy for policy in answer["PolicyDescriptions"]}
    versions: set[str] = set()
    for each in secure:
        used = [policies[policy] for policy in each["PolicyNames"]]
        found = [negotiated(policy) for policy in used if policy["PolicyTypeName"] == NEGOTIATION]
        if len(found) != 1:
            raise Unreadable(f"a TLS listener has {len(found)} negotiation policies")
        versions |= found[0]
    return Balancer(tuple(sorted(protocols)), tuple(sorted(versions)))


def negotiated(policy: Mapping[str, Any]) -> set[str]:
    """The versions that a policy enables. Raises Unreadable when it speaks of none at all."""
    attributes = {each["AttributeName"]: each["AttributeValue"] for each in policy["PolicyAttributeDescriptions"]}
    spoken = {
        name.removeprefix("Protocol-"): value for name, value in attributes.items() if name.startswith("Protocol-")
    }
    if not spoken:
        raise Unreadable(f"the policy {policy['PolicyName']} does not say which protocols it enables")
    return {version for version, value in spoken.items() if boolean(value)}


def evaluate(balancer: Balancer) -> Verdict:
    if "HTTP" in balancer.protocols:
        return not_satisfied("answers plaintext HTTP")
    if old := [version for version in balancer.versions if version in OLD]:
        return not_satisfied(f"accepts {', '.join(old)}")
    if balancer.versions:
        return satisfied(f"accepts {', '.join(balancer.versions)} only")
    return not_applicable("passes TCP on without ending TLS")


CHECK = Check(
    id="aws-elb-classic-listener-tls",
    family=Family.TLS,
    criteria=("CC6.6", "CC6.7"),
    permissions=(
        "elasticloadbalancing:DescribeLoadBalancerPolicies",
        "elasticloadbalancing:DescribeLoadBalancers",
    ),
    per="region",
    see=("aws-config:elb-tls-https-listeners-only", "prowler:elb_ssl_listeners", "prowler:elb_insecure_ssl_ciphers"),
    population=population,
    name=lambda balancer: str(balancer["DNSName"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Balancer(("HTTPS",), ("TLSv1.2",))),
        bad(Balancer(("HTTPS", "TCP"), ("TLSv1", "TLSv1.2"))),
        bad(Balancer(("HTTP", "HTTPS"), ("TLSv1.2",))),
        outside(Balancer(("TCP",))),
    ),
)
