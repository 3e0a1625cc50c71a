"""Every HTTPS and SSL proxy of a load balancer takes TLS 1.2 or later with strong ciphers only.

Why: a proxy without an SSL policy takes TLS 1.0, and what travels over it can be read and changed on the way.
Remedy: make an SSL policy of profile MODERN or RESTRICTED with minimum TLS 1.2, and choose it on the frontend.

Cost: three calls for 1000 proxies of each kind and 1000 policies of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Check,
    Family,
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

# The features of a profile are Google's; the inventory leaves the list of them out, as the listings of the service do.
STRONG = ("FIPS_202205", "MODERN", "RESTRICTED")
VERSIONS = ("TLS_1_0", "TLS_1_1", "TLS_1_2", "TLS_1_3")
OLD = ("TLS_1_0", "TLS_1_1")
WEAK = "TLS_RSA_WITH_"  # no forward secrecy, and 3DES is among them
NO_POLICY = (
    "Cloud Load Balancing, SSL policies: without one a proxy has the default policy, profile COMPATIBLE with a minimum "
    "of TLS 1.0"
)
NOT_BOUND = "Compute Engine API, TargetHttpsProxy.proxyBind: the default is false; a TargetSslProxy has no such member"


@dataclass(frozen=True)
class Proxy:
    mesh: bool = False  # a configuration of Envoy proxies, which the SSL policy does not reach
    policy: str = ""  # its full name; "" where there is none
    profile: str = "COMPATIBLE"
    minimum: str = "TLS_1_0"
    weak: tuple[str, ...] = ()  # features of a CUSTOM profile


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """Global and regional proxies."""
    return [
        *gcp.assets("compute.googleapis.com/TargetHttpsProxy"),
        *gcp.assets("compute.googleapis.com/TargetSslProxy"),
    ]


def observe(gcp: Organization, proxy: Mapping[str, Any]) -> Proxy:
    policies = {text(field(each, "name")): each for each in gcp.assets("compute.googleapis.com/SslPolicy")}
    data = field(proxy, "resource.data")
    if boolean(absent_means(data, "proxyBind", False, because=NOT_BOUND)):
        return Proxy(mesh=True)
    if not (link := absent_means(data, "sslPolicy", "", because=NO_POLICY)):
        return Proxy()
    name = f"//compute.googleapis.com/projects/{text(link).partition('/projects/')[2]}"
    if name not in policies:
        raise Unreadable(f"the inventory does not have {name}; it follows within minutes of a change")
    found = field(policies[name], "resource.data")
    profile = one_of(field(found, "profile"), ("COMPATIBLE", "CUSTOM", *STRONG))
    features = field(found, "customFeatures") if profile == "CUSTOM" else []
    return Proxy(
        policy=name,
        profile=profile,
        minimum=one_of(field(found, "minTlsVersion"), VERSIONS),
        weak=tuple(sorted(each for each in features if text(each).startswith(WEAK))),
    )


def evaluate(proxy: Proxy) -> Verdict:
    if proxy.mesh:
        return not_applicable("is bound by Envoy proxies of a service mesh, which follow no SSL policy")
    if not proxy.policy:
        return not_satisfied("has no SSL policy and so accepts TLS 1.0")
    by = f"by its policy {proxy.policy}"
    if proxy.minimum in OLD and proxy.profile != "RESTRICTED":  # whose ciphers are of TLS 1.2 and later
        return not_satisfied(f"accepts {proxy.minimum} {by}")
    if proxy.profile == "COMPATIBLE" or proxy.weak:
        return not_satisfied(f"accepts ciphers without forward secrecy {by}, profile {proxy.profile}")
    return satisfied(f"accepts TLS 1.2 or later with strong ciphers only {by}")


POLICY = "//compute.googleapis.com/projects/acme-prod/global/sslPolicies/modern"
CHECK = Check(
    id="gcp-proxy-ssl-policy",
    family=Family.TLS,
    criteria=("CC6.6", "CC6.7"),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    see=("cis-gcp-3.0:3.9",),
    population=population,
    name=lambda proxy: str(proxy["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Proxy(policy=POLICY, profile="MODERN", minimum="TLS_1_2")),
        good(Proxy(policy=POLICY, profile="RESTRICTED", minimum="TLS_1_0")),
        good(Proxy(policy=POLICY, profile="CUSTOM", minimum="TLS_1_2")),
        *map(bad, (Proxy(), Proxy(policy=POLICY, profile="MODERN"), Proxy(policy=POLICY, minimum="TLS_1_2"))),
        bad(Proxy(policy=POLICY, profile="CUSTOM", minimum="TLS_1_2", weak=("TLS_RSA_WITH_3DES_EDE_CBC_SHA",))),
        outside(Proxy(mesh=True)),
    ),
)
