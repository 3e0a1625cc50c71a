"""Every load balancer listener takes TLS 1.2 or later, or only redirects to it.

Why: what travels over http or an old TLS version can be read and changed on the way.
Remedy: choose a security policy of TLS 1.2 or 1.3 on the listener; let listeners on port 80 redirect to HTTPS.

Cost: one call for 400 load balancers, one for each of them, one for the policies, one for each HTTP listener.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Check,
    Family,
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
from collector.clouds.aws import Account
from collector.model import Verdict

OPAQUE = ("TCP", "UDP", "TCP_UDP", "GENEVE", "QUIC", "TCP_QUIC")  # passed on as they come; TLS is the target's
PROTOCOLS = ("HTTP", "HTTPS", "TLS", *OPAQUE)
VERSIONS = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
OLD = {"SSLv3", "TLSv1", "TLSv1.1"}
ACTIONS = ("forward", "authenticate-oidc", "authenticate-cognito", "redirect", "fixed-response", "jwt-validation")


@dataclass(frozen=True)
class Listener:
    protocol: str
    policy: str = ""
    versions: tuple[str, ...] = ()
    only_redirects: bool = False  # of an HTTP listener: every rule ends in a redirect to HTTPS


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    for balancer in aws.each("elbv2", "describe_load_balancers", "LoadBalancers"):
        yield from aws.each("elbv2", "describe_listeners", "Listeners", LoadBalancerArn=balancer["LoadBalancerArn"])


def observe(aws: Account, listener: Mapping[str, Any]) -> Listener:
    protocol = one_of(listener["Protocol"], PROTOCOLS)
    if protocol in OPAQUE:
        return Listener(protocol)
    if protocol == "HTTP":
        rules = aws.each("elbv2", "describe_rules", "Rules", ListenerArn=listener["ListenerArn"])
        return Listener(protocol, only_redirects=bool(rules) and all(redirects(rule["Actions"]) for rule in rules))
    policies = aws.each("elbv2", "describe_ssl_policies", "SslPolicies")
    versions = {policy["Name"]: policy["SslProtocols"] for policy in policies}[field(listener, "SslPolicy")]
    return Listener(protocol, listener["SslPolicy"], tuple(sorted(one_of(version, VERSIONS) for version in versions)))


def redirects(actions: list[Mapping[str, Any]]) -> bool:
    """Whether a rule does nothing but send the client to HTTPS."""
    if [one_of(action["Type"], ACTIONS) for action in actions] != ["redirect"]:
        return False
    because = "API_RedirectActionConfig: without a protocol the redirect keeps the one of the request, #{protocol}"
    return bool(absent_means(actions[0], "RedirectConfig.Protocol", "#{protocol}", because=because) == "HTTPS")


def evaluate(listener: Listener) -> Verdict:
    if listener.protocol in OPAQUE:
        return not_applicable(f"passes {listener.protocol} on without ending TLS")
    if listener.protocol == "HTTP":
        if listener.only_redirects:
            return satisfied("redirects every plaintext request to HTTPS")
        return not_satisfied("answers plaintext HTTP")
    if old := sorted(OLD & set(listener.versions)):
        return not_satisfied(f"accepts {', '.join(old)} by its policy {listener.policy}")
    return satisfied(f"accepts {', '.join(listener.versions)} only, by its policy {listener.policy}")


CHECK = Check(
    id="aws-elbv2-listener-tls",
    family=Family.TLS,
    criteria=("CC6.6", "CC6.7"),
    permissions=tuple(
        f"elasticloadbalancing:Describe{what}" for what in ("Listeners", "LoadBalancers", "Rules", "SSLPolicies")
    ),
    per="region",
    see=("aws-config:alb-http-to-https-redirection-check", "prowler:elbv2_insecure_ssl_ciphers"),
    population=population,
    name=lambda listener: str(listener["ListenerArn"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Listener("HTTPS", "ELBSecurityPolicy-TLS13-1-2-2021-06", ("TLSv1.2", "TLSv1.3"))),
        bad(Listener("TLS", "ELBSecurityPolicy-2016-08", ("TLSv1", "TLSv1.1", "TLSv1.2"))),
        good(Listener("HTTP", only_redirects=True)),
        bad(Listener("HTTP")),
        outside(Listener("TCP")),
    ),
)
