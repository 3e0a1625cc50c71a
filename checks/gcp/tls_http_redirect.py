"""Every HTTP proxy of a load balancer does nothing but redirect to HTTPS.

Why: what travels over plaintext HTTP can be read and changed on the way.
Remedy: choose HTTP to HTTPS redirect on the frontend, or httpsRedirect in each rule of the URL map of port 80.

Proxies inside a network count too: a neighbour reads plaintext as well as a stranger.

Cost: two calls for 1000 proxies and 1000 URL maps of the organization.
"""

from collections.abc import Iterable, Iterator, Mapping
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
    outside,
    satisfied,
    text,
)
from collector.clouds.gcp import Organization
from collector.errors import Unreadable
from collector.model import Verdict

NOT_BOUND = "Compute Engine API, TargetHttpProxy.proxyBind: the default is false"
ONE_OF_THREE = "Compute Engine API, UrlMap: only one of redirect, service and weighted backends is set in each place"
NOT_HTTPS = "Compute Engine API, HttpRedirectAction.httpsRedirect: the default is set to false"
EMPTY = "Compute Engine API, UrlMap, PathMatcher: an empty list is left out; inventories of 2018-19 name it in singular"


@dataclass(frozen=True)
class Proxy:
    mesh: bool = False  # a configuration of Envoy proxies beside or before the services
    map: str = ""
    plain: tuple[str, ...] = ()  # places of the URL map that answer without a redirect to HTTPS


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """Global and regional proxies."""
    return gcp.assets("compute.googleapis.com/TargetHttpProxy")


def observe(gcp: Organization, proxy: Mapping[str, Any]) -> Proxy:
    maps = {text(field(each, "name")): each for each in gcp.assets("compute.googleapis.com/UrlMap")}
    data = field(proxy, "resource.data")
    if boolean(absent_means(data, "proxyBind", False, because=NOT_BOUND)):
        return Proxy(mesh=True)
    name = f"//compute.googleapis.com/projects/{text(field(data, 'urlMap')).partition('/projects/')[2]}"
    if name not in maps:
        raise Unreadable(f"the inventory does not have {name}; it follows within minutes of a change")
    return Proxy(map=name, plain=tuple(plain(field(maps[name], "resource.data"))))


def plain(routes: Mapping[str, Any]) -> Iterator[str]:
    """Every place of a URL map that answers a request in another way than by sending the client to HTTPS."""
    if not redirects(routes, "defaultUrlRedirect"):
        yield "default"
    for matcher in listed(routes, "pathMatchers"):
        name = text(field(matcher, "name"))
        if not redirects(matcher, "defaultUrlRedirect"):
            yield f"{name} default"
        for kind in ("pathRules", "routeRules"):
            for number, rule in enumerate(listed(matcher, kind)):
                if not redirects(rule, "urlRedirect"):
                    yield f"{name} {kind}[{number}]"


def redirects(place: Mapping[str, Any], member: str) -> bool:
    redirect = absent_means(place, member, {}, because=ONE_OF_THREE)
    return boolean(absent_means(redirect, "httpsRedirect", False, because=NOT_HTTPS))


def listed(place: Mapping[str, Any], plural: str) -> Any:
    return absent_means(place, plural, absent_means(place, plural[:-1], [], because=EMPTY), because=EMPTY)


def evaluate(proxy: Proxy) -> Verdict:
    if proxy.mesh:
        return not_applicable("is bound by Envoy proxies of a service mesh, which encrypt between themselves")
    if proxy.plain:
        return not_satisfied(f"answers plaintext HTTP by {proxy.map}: {', '.join(proxy.plain)}")
    return satisfied(f"redirects every request to HTTPS by {proxy.map}")


MAP = "//compute.googleapis.com/projects/acme-prod/global/urlMaps/www-http"
CHECK = Check(
    id="gcp-http-redirect",
    family=Family.TLS,
    criteria=("CC6.6", "CC6.7"),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    population=population,
    name=lambda proxy: str(proxy["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(good(Proxy(map=MAP)), bad(Proxy(map=MAP, plain=("default",))), outside(Proxy(mesh=True))),
)
