"""The seeded load balancers of acme: proxies, TLS policies, certificates, URL maps and forwarding rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.demo.gcp.estate_machines import COMPUTE, REGION

if TYPE_CHECKING:
    from collector.demo.gcp.estate import Builder

MODERN = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
WEAK = [*MODERN, "TLS_RSA_WITH_3DES_EDE_CBC_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"]
POLICIES = (
    ("modern", "MODERN", "TLS_1_2", MODERN),
    ("restricted", "RESTRICTED", "TLS_1_2", MODERN),
    ("old", "COMPATIBLE", "TLS_1_0", WEAK),
    ("own", "CUSTOM", "TLS_1_2", WEAK),
)


def add_load_balancers(build: Builder) -> None:
    for copy in build.copies():
        for project in ("acme-prod", "acme-sandbox"):
            for name, profile, least, features in POLICIES:
                _add_policy(build, project, f"{name}{copy}", profile, least, features)
        _add_certificates(build, copy)
        # project, name, TLS policy, place, scheme
        for project, name, policy, place in (
            ("acme-prod", "www", "modern", "global"),
            ("acme-prod", "api", "restricted", "global"),
            ("acme-prod", "partners", "own", "global"),
            ("acme-sandbox", "lab", "", "global"),
            ("acme-sandbox", "legacy", "old", "global"),
            ("acme-prod", "internal", "modern", f"regions/{REGION}"),
        ):
            _add_https(build, project, f"{name}{copy}", f"{policy}{copy}" if policy else "", place)
        _add_ssl(build, "acme-prod", f"mqtt{copy}", f"modern{copy}")
        _add_ssl(build, "acme-sandbox", f"mqtt-lab{copy}", "")
        _add_http(build, "acme-prod", f"www-http{copy}", redirect=True)
        _add_http(build, "acme-sandbox", f"lab-http{copy}", redirect=False)


def _compute(build: Builder, noun: str, project: str, path: str, data: dict[str, Any]) -> str:
    """Adds a Compute object with what all of them have; its link."""
    link = f"{COMPUTE}/projects/{project}/{path}"
    place = path.split("/")
    body = {
        "kind": f"compute#{noun[0].lower()}{noun[1:]}",
        "id": build.id(),
        "creationTimestamp": build.ago_local(350),
        "name": place[-1],
        "selfLink": link,
        **data,
    }
    location = place[1] if place[0] in ("regions", "zones") else "global"
    if place[0] == "regions":
        body["region"] = f"{COMPUTE}/projects/{project}/regions/{place[1]}"
    kind = "GlobalForwardingRule" if noun == "ForwardingRule" and location == "global" else noun
    build.asset(
        f"compute.googleapis.com/{kind}", f"projects/{project}/{path}", project, body, location=location, discovery=noun
    )
    return link


def _add_policy(build: Builder, project: str, name: str, profile: str, least: str, features: list[str]) -> None:
    data: dict[str, Any] = {
        "profile": profile,
        "minTlsVersion": least,
        "enabledFeatures": features,
        "fingerprint": build.hex(8) + "=",
    }
    if profile == "CUSTOM":
        data["customFeatures"] = features
    _compute(build, "SslPolicy", project, f"global/sslPolicies/{name}", data)


def _add_certificates(build: Builder, copy: str) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ2VydGlmaWNhdGUgb2YgYWNtZQ==\n-----END CERTIFICATE-----\n"
    for project, name, ends in (
        ("acme-prod", "bought", build.ago_local(-330)),
        ("acme-sandbox", "lapsed", build.ago_local(5)),
        ("acme-sandbox", "lapsing", build.ago_local(-9)),
    ):
        data: dict[str, Any] = {
            "type": "SELF_MANAGED",
            "certificate": pem,
            "selfManaged": {"certificate": pem},
            "subjectAlternativeNames": [f"{name}.acme.example"],
            "expireTime": ends,
        }
        _compute(build, "SslCertificate", project, f"global/sslCertificates/{name}{copy}", data)
    managed = {"domains": ["www.acme.example"], "status": "ACTIVE", "domainStatus": {"www.acme.example": "ACTIVE"}}
    data = {"type": "MANAGED", "managed": managed, "certificate": pem, "expireTime": "@+62d"}
    data["subjectAlternativeNames"] = ["www.acme.example"]
    _compute(build, "SslCertificate", "acme-prod", f"global/sslCertificates/managed{copy}", data)
    waiting = {
        "domains": ["new.acme.example"],
        "status": "PROVISIONING",
        "domainStatus": {"new.acme.example": "PROVISIONING"},
    }
    _compute(
        build,
        "SslCertificate",
        "acme-sandbox",
        f"global/sslCertificates/waiting{copy}",
        {"type": "MANAGED", "managed": waiting},
    )
    path = f"projects/acme-prod/locations/global/certificates/edge{copy}"
    data = {
        "name": path,
        "createTime": build.ago(200),
        "updateTime": build.ago(20),
        "managed": {"domains": ["api.acme.example"], "state": "ACTIVE"},
        "sanDnsnames": ["api.acme.example"],
        "pemCertificate": pem,
        "expireTime": "@+55d",
        "scope": "DEFAULT",
    }
    build.asset("certificatemanager.googleapis.com/Certificate", path, "acme-prod", data)


def _add_rule(build: Builder, project: str, name: str, target: str, port: str, place: str, scheme: str) -> None:
    data: dict[str, Any] = {
        "description": "",
        "IPAddress": f"203.0.113.{build.random.randrange(1, 250)}",
        "IPProtocol": "TCP",
        "portRange": f"{port}-{port}",
        "target": target,
        "loadBalancingScheme": scheme,
        "networkTier": "PREMIUM",
        "labelFingerprint": "42WmSpB8rSM=",
        "fingerprint": build.hex(8) + "=",
    }
    _compute(build, "ForwardingRule", project, f"{place}/forwardingRules/{name}", data)


def _add_https(build: Builder, project: str, name: str, policy: str, place: str) -> None:
    scheme = "EXTERNAL_MANAGED" if place == "global" else "INTERNAL_MANAGED"
    own = f"{COMPUTE}/projects/{project}"
    routes = _compute(
        build,
        "UrlMap",
        project,
        f"{place}/urlMaps/{name}",
        {"defaultService": f"{own}/{place}/backendServices/{name}", "fingerprint": build.hex(8) + "="},
    )
    certificate = "managed" if project == "acme-prod" else "lapsed"
    data: dict[str, Any] = {
        "urlMap": routes,
        "sslCertificates": [f"{own}/global/sslCertificates/{certificate}"],
        "quicOverride": "NONE",
        "tlsEarlyData": "DISABLED",
        "fingerprint": build.hex(8) + "=",
    }
    if policy:
        data["sslPolicy"] = f"{own}/global/sslPolicies/{policy}"
    target = _compute(build, "TargetHttpsProxy", project, f"{place}/targetHttpsProxies/{name}", data)
    _add_rule(build, project, name, target, "443", place, scheme)


def _add_ssl(build: Builder, project: str, name: str, policy: str) -> None:
    own = f"{COMPUTE}/projects/{project}"
    certificate = "managed" if project == "acme-prod" else "lapsed"
    data: dict[str, Any] = {
        "service": f"{own}/global/backendServices/{name}",
        "proxyHeader": "NONE",
        "sslCertificates": [f"{own}/global/sslCertificates/{certificate}"],
    }
    if policy:
        data["sslPolicy"] = f"{own}/global/sslPolicies/{policy}"
    target = _compute(build, "TargetSslProxy", project, f"global/targetSslProxies/{name}", data)
    _add_rule(build, project, name, target, "8883", "global", "EXTERNAL_MANAGED")


def _add_http(build: Builder, project: str, name: str, *, redirect: bool) -> None:
    own = f"{COMPUTE}/projects/{project}"
    data: dict[str, Any] = {"fingerprint": build.hex(8) + "="}
    if redirect:
        data["defaultUrlRedirect"] = {
            "httpsRedirect": True,
            "redirectResponseCode": "MOVED_PERMANENTLY_DEFAULT",
            "stripQuery": False,
        }
    else:
        data["defaultService"] = f"{own}/global/backendServices/{name}"
    routes = _compute(build, "UrlMap", project, f"global/urlMaps/{name}", data)
    proxy = {"urlMap": routes, "fingerprint": build.hex(8) + "="}
    target = _compute(build, "TargetHttpProxy", project, f"global/targetHttpProxies/{name}", proxy)
    _add_rule(build, project, name, target, "80", "global", "EXTERNAL_MANAGED")
