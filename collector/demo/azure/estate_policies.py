"""The seeded policies of sign-in: conditional access, authentication strengths, security defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from collector.demo.azure.estate_roles import ADMINISTRATORS

if TYPE_CHECKING:
    from collector.demo.azure.estate_entra import Directory

POLICIES = "/identity/conditionalAccess/policies"
LOCATIONS = "/identity/conditionalAccess/namedLocations"
# Both paths lead to the same objects.
STRENGTHS = ("/policies/authenticationStrengthPolicies", "/identity/conditionalAccess/authenticationStrength/policies")
SECURITY_DEFAULTS = "/policies/identitySecurityDefaultsEnforcementPolicy"
BUILT_IN = "2021-12-01T00:00:00Z"
RESISTANT = ("windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor")
PASSWORDLESS = (*RESISTANT, "deviceBasedPush")
MULTIFACTOR = (
    *PASSWORDLESS,
    "temporaryAccessPassOneTime",
    "temporaryAccessPassMultiUse",
    "password,microsoftAuthenticatorPush",
    "password,softwareOath",
    "password,hardwareOath",
    "password,sms",
    "password,voice",
    "federatedMultiFactor",
    "microsoftAuthenticatorPush,federatedSingleFactor",
    "softwareOath,federatedSingleFactor",
    "hardwareOath,federatedSingleFactor",
    "sms,federatedSingleFactor",
    "voice,federatedSingleFactor",
)


def add_policies(directory: Directory, mfa: str, users: Sequence[str], groups: Sequence[str]) -> None:
    """Adds all policies; ``mfa`` is the id of the one for everybody, which leaves ``users`` and ``groups`` out."""
    strengths = _add_strengths(directory)
    office = _add_location(directory)
    everybody = _users(["All"], users, groups)
    _add_policy(
        directory,
        mfa,
        "Require multifactor authentication for all users",
        everybody,
        grant=_grant("mfa"),
    )
    _add_policy(
        directory,
        directory.id("policies/admins"),
        "Require phishing-resistant authentication for administrators",
        {**_users([], users, ()), "includeRoles": list(ADMINISTRATORS)},
        grant=_grant(strength=strengths["Phishing-resistant MFA"]),
    )
    _add_policy(
        directory,
        directory.id("policies/legacy"),
        "Block legacy authentication",
        _users(["All"], (), ()),
        clients=("exchangeActiveSync", "other"),
        grant=_grant("block"),
    )
    _add_policy(
        directory,
        directory.id("policies/devices"),
        "Require a compliant device (trial)",
        everybody,
        state="enabledForReportingButNotEnforced",
        grant=_grant("compliantDevice", "domainJoinedDevice"),
    )
    _add_policy(
        directory,
        directory.id("policies/finance"),
        "Require multifactor authentication for finance outside the office",
        _users([], (), (), [directory.id("groups/finance")]),
        locations={"includeLocations": ["All"], "excludeLocations": [office]},
        grant=_grant("mfa"),
    )
    _add_policy(
        directory,
        directory.id("policies/old"),
        "Require multifactor authentication for guests (old)",
        _users(["GuestsOrExternalUsers"], (), ()),
        state="disabled",
        grant=_grant("mfa"),
    )
    defaults = {
        "id": "00000000-0000-0000-0000-000000000005",
        "displayName": "Security Defaults",
        "description": "Security defaults is a set of basic identity security mechanisms recommended by Microsoft.",
        "isEnabled": False,
    }
    directory.world.add(SECURITY_DEFAULTS, SECURITY_DEFAULTS, defaults, directory.since)


def _users(
    users: Sequence[str], excluded: Sequence[str], excluded_groups: Sequence[str], groups: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "includeUsers": list(users),
        "excludeUsers": list(excluded),
        "includeGroups": list(groups),
        "excludeGroups": list(excluded_groups),
        "includeRoles": [],
        "excludeRoles": [],
        "includeGuestsOrExternalUsers": None,
        "excludeGuestsOrExternalUsers": None,
    }


def _grant(*controls: str, strength: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "operator": "OR",
        "builtInControls": list(controls),
        "customAuthenticationFactors": [],
        "termsOfUse": [],
        "authenticationStrength": strength,
    }


def _add_policy(
    directory: Directory,
    id: str,
    name: str,
    users: dict[str, Any],
    *,
    grant: dict[str, Any],
    state: str = "enabled",
    clients: Sequence[str] = ("all",),
    locations: dict[str, Any] | None = None,
) -> None:
    body = {
        "id": id,
        "templateId": None,
        "displayName": name,
        "createdDateTime": directory.ago(380),
        "modifiedDateTime": directory.ago(120),
        "state": state,
        "sessionControls": None,
        "conditions": {
            "userRiskLevels": [],
            "signInRiskLevels": [],
            "clientAppTypes": list(clients),
            "servicePrincipalRiskLevels": [],
            "insiderRiskLevels": None,
            "platforms": None,
            "locations": locations,
            "devices": None,
            "clientApplications": None,
            "authenticationFlows": None,
            "applications": {
                "includeApplications": ["All"],
                "excludeApplications": [],
                "includeUserActions": [],
                "includeAuthenticationContextClassReferences": [],
                "applicationFilter": None,
            },
            "users": users,
        },
        "grantControls": grant,
    }
    directory.add(POLICIES, body)


def _add_strengths(directory: Directory) -> dict[str, dict[str, Any]]:
    """Adds the strengths that Microsoft brings and one of acme's own; all by name."""
    made = directory.ago(300)
    found: dict[str, dict[str, Any]] = {}
    for id, name, combinations, when in (
        ("00000000-0000-0000-0000-000000000002", "Multifactor authentication", MULTIFACTOR, BUILT_IN),
        ("00000000-0000-0000-0000-000000000003", "Passwordless MFA", PASSWORDLESS, BUILT_IN),
        ("00000000-0000-0000-0000-000000000004", "Phishing-resistant MFA", RESISTANT, BUILT_IN),
        (directory.id("strengths/own"), "Certificates of acme", ("x509CertificateMultiFactor",), made),
    ):
        body: dict[str, Any] = {
            "id": id,
            "createdDateTime": when,
            "modifiedDateTime": when,
            "displayName": name,
            "description": "",
            "policyType": "builtIn" if when == BUILT_IN else "custom",
            "requirementsSatisfied": "mfa",
            "allowedCombinations": list(combinations),
            "combinationConfigurations": [],
        }
        found[name] = body
        for collection in STRENGTHS:
            directory.add(collection, body)
    return found


def _add_location(directory: Directory) -> str:
    body = {
        "@odata.type": "#microsoft.graph.ipNamedLocation",
        "id": directory.id("locations/office"),
        "displayName": "Office in Dublin",
        "createdDateTime": directory.ago(390),
        "modifiedDateTime": directory.ago(390),
        "isTrusted": True,
        "ipRanges": [{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "198.51.100.0/24"}],
    }
    return directory.add(LOCATIONS, body)
