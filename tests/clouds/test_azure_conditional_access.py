"""The reader of conditional access: what policies ask, when, of whom; and which of their words it refuses."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from collector.clouds.azure_conditional_access import (
    CLIENTS,
    GUESTS,
    LEGACY,
    MODERN,
    Person,
    Rule,
    covering,
    groups_of,
    names_roles,
    rules_of,
    trials_of,
    uncovered,
)
from collector.errors import Unreadable

ADA, BEN = "aaaaaaaa-0000-4000-8000-000000000001", "AAAAAAAA-0000-4000-8000-000000000002"
STAFF, OTHERS = "bbbbbbbb-0000-4000-8000-000000000001", "BBBBBBBB-0000-4000-8000-000000000002"
ADMIN, READER = "62e90394-69f5-4237-9190-012177145e10", "88d8e3e3-8f55-4a1e-953a-9b9898b8876b"
APPLICATION = "00000003-0000-0ff1-ce00-000000000000"
LOCATION = "cccccccc-0000-4000-8000-000000000001"
# A policy as Microsoft Graph v1.0 lists it.
POLICY: dict[str, Any] = {
    "id": "10ef4fe6-5e51-4f5e-b5a2-8fed19d0be67",
    "templateId": None,
    "displayName": "MFA",
    "createdDateTime": "2021-11-02T14:26:29.1005248Z",
    "modifiedDateTime": None,
    "deletedDateTime": None,
    "state": "enabled",
    "sessionControls": None,
    "conditions": {
        "userRiskLevels": [],
        "signInRiskLevels": [],
        "clientAppTypes": ["all"],
        "servicePrincipalRiskLevels": [],
        "insiderRiskLevels": None,
        "platforms": None,
        "locations": None,
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
        "users": {
            "includeUsers": ["All"],
            "excludeUsers": [],
            "includeGroups": [],
            "excludeGroups": [],
            "includeRoles": [],
            "excludeRoles": [],
            "includeGuestsOrExternalUsers": None,
            "excludeGuestsOrExternalUsers": None,
        },
    },
    "grantControls": {
        "operator": "OR",
        "builtInControls": ["mfa"],
        "customAuthenticationFactors": [],
        "termsOfUse": [],
        "authenticationStrength@odata.context": "https://graph.microsoft.com/v1.0/$metadata#...",
        "authenticationStrength": None,
    },
}
PARTS = {
    **dict.fromkeys(("builtInControls", "operator", "customAuthenticationFactors", "termsOfUse"), ("grantControls",)),
    "authenticationStrength": ("grantControls",),
    **dict.fromkeys(("state", "displayName", "grantControls", "conditions"), ()),
    **dict.fromkeys(POLICY["conditions"], ("conditions",)),
    **dict.fromkeys(POLICY["conditions"]["applications"], ("conditions", "applications")),
    **dict.fromkeys(POLICY["conditions"]["users"], ("conditions", "users")),
}


def policy(**members: Any) -> dict[str, Any]:
    """POLICY with other members, wherever they belong; ``...`` takes one away."""
    found = deepcopy(POLICY)
    for name, value in members.items():
        holder = found
        for part in PARTS.get(name, ("conditions",)):
            holder = holder[part]
        if value is ...:
            del holder[name]
        else:
            holder[name] = value
    return found


def only(**members: Any) -> Rule:
    (rule,) = rules_of([policy(**members)])
    return rule


def strength(*combinations: str) -> dict[str, Any]:
    return {"id": "x", "policyType": "custom", "requirementsSatisfied": "mfa", "allowedCombinations": [*combinations]}


# --- what it asks ---


@pytest.mark.parametrize(
    ("grant", "asks"),
    [
        ({}, "mfa"),
        ({"operator": "AND"}, "mfa"),
        ({"builtInControls": ["mfa", "compliantDevice"], "operator": "AND"}, "mfa"),
        ({"builtInControls": ["passwordChange", "mfa"], "operator": "AND"}, "mfa"),
        ({"termsOfUse": ["t"], "operator": "AND"}, "mfa"),
        ({"builtInControls": ["block"]}, "block"),
        ({"builtInControls": [], "authenticationStrength": strength("fido2", "password,sms")}, "mfa"),
        ({"authenticationStrength": strength("fido2")}, "mfa"),
        (
            {"builtInControls": ["compliantDevice"], "authenticationStrength": strength("fido2"), "operator": "AND"},
            "mfa",
        ),
    ],
)
def test_nobody_gets_in_without(grant: dict[str, Any], asks: str) -> None:
    assert only(**grant).asks == asks


@pytest.mark.parametrize(
    "grant",
    [
        {"grantControls": None},
        {"grantControls": ...},
        {"builtInControls": []},
        {"builtInControls": ["compliantDevice"]},
        {"builtInControls": ["mfa", "compliantDevice"]},
        {"builtInControls": ["mfa", "domainJoinedDevice"]},
        {"termsOfUse": ["d5bb7a2a-9a4d-4b57-b0a8-6f9e7a1a1f5e"]},
        {"customAuthenticationFactors": ["RequireDuoMfa"]},
        {"builtInControls": ["approvedApplication", "compliantApplication"], "operator": "AND"},
        {"builtInControls": [], "authenticationStrength": strength("password,sms", "password")},
        {"builtInControls": ["compliantDevice"], "authenticationStrength": strength("fido2")},
        {"state": "disabled"},
        {"state": "enabledForReportingButNotEnforced"},
        {"clientApplications": {"includeServicePrincipals": ["ServicePrincipalsInMyTenant"]}},
    ],
)
def test_what_asks_nothing_of_everybody_is_no_rule(grant: dict[str, Any]) -> None:
    assert rules_of([policy(**grant)]) == []


@pytest.mark.parametrize(
    ("combination", "factors"),
    [
        ("windowsHelloForBusiness", 2),
        ("x509CertificateMultiFactor", 2),
        ("temporaryAccessPassOneTime", 2),
        ("federatedMultiFactor", 2),
        ("password,microsoftAuthenticatorPush", 2),
        ("password, hardwareOath", 2),
        ("sms,federatedSingleFactor", 2),
        ("password", 1),
        ("sms", 1),
        ("email", 1),
        ("x509CertificateSingleFactor", 1),
        ("federatedSingleFactor", 1),
        ("password,federatedSingleFactor", 1),
        ("sms,voice", 1),
    ],
)
def test_a_strength_is_as_strong_as_its_weakest_combination(combination: str, factors: int) -> None:
    rules = rules_of([policy(builtInControls=[], authenticationStrength=strength("fido2", combination))])
    assert len(rules) == factors - 1


def test_only_trials_that_would_ask_are_named() -> None:
    trial = {"state": "enabledForReportingButNotEnforced"}
    listed = [
        policy(displayName="b", **trial),
        policy(displayName="a", builtInControls=[], authenticationStrength=strength("word of 2031"), **trial),
        policy(displayName="c", builtInControls=["compliantDevice", "control of 2031"], **trial),
        policy(displayName="d", grantControls=None, **trial),
        policy(displayName="e", builtInControls=["block"], **trial),
        policy(displayName="f"),
        policy(displayName="g", state="disabled"),
    ]
    assert trials_of(listed, "mfa") == ["a", "b"]
    assert trials_of(listed, "block") == ["e"]
    assert [rule.name for rule in rules_of(listed)] == ["f"]


# --- when ---

SOME_DEVICES = {"deviceFilter": {"mode": "exclude", "rule": "device.isCompliant -eq True"}}


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"includeApplications": ["None"]}, "for some applications only"),
        ({"includeApplications": []}, "for some applications only"),
        ({"includeApplications": [APPLICATION]}, "for some applications only"),
        ({"includeApplications": ["Office365", "MicrosoftAdminPortals"]}, "for some applications only"),
        ({"excludeApplications": [APPLICATION]}, "not for all applications"),
        ({"applicationFilter": {"mode": "exclude", "rule": "x"}}, "not for all applications"),
        (
            {"includeApplications": [], "includeUserActions": ["urn:user:registersecurityinfo"]},
            "for actions of users only",
        ),
        (
            {"includeApplications": [], "includeAuthenticationContextClassReferences": ["c1"]},
            "for authentication contexts only",
        ),
        ({"platforms": {"includePlatforms": ["android", "iOS"], "excludePlatforms": []}}, "on some platforms only"),
        ({"platforms": {"includePlatforms": ["all"], "excludePlatforms": ["linux"]}}, "on some platforms only"),
        ({"locations": {"includeLocations": ["All"], "excludeLocations": ["AllTrusted"]}}, "at some locations only"),
        ({"locations": {"includeLocations": ["All"], "excludeLocations": [LOCATION]}}, "at some locations only"),
        ({"locations": {"includeLocations": [LOCATION], "excludeLocations": []}}, "at some locations only"),
        ({"locations": {"includeLocations": [], "excludeLocations": []}}, "at some locations only"),
        ({"signInRiskLevels": ["high", "medium"]}, "at some signIn risk only"),
        ({"userRiskLevels": ["high"]}, "at some user risk only"),
        ({"servicePrincipalRiskLevels": ["low"]}, "at some servicePrincipal risk only"),
        ({"insiderRiskLevels": "moderate,elevated"}, "at some insider risk only"),
        ({"devices": SOME_DEVICES}, "on some devices only"),
        (
            {"authenticationFlows": {"transferMethods": "deviceCodeFlow,authenticationTransfer"}},
            "for some authentication",
        ),
    ],
)
def test_a_condition_narrows_and_says_which(members: dict[str, Any], why: str) -> None:
    rule = only(**members)
    assert len(rule.narrowed) == 1
    assert rule.narrowed[0].startswith(why)
    assert covering([rule], Person(ADA)) == covering([rule]) == []
    assert rules_of([policy(builtInControls=["block"], **members)]) == [], (
        "what blocks in part says nothing of the rest"
    )


@pytest.mark.parametrize(
    "members",
    [
        {"platforms": {"includePlatforms": ["all"], "excludePlatforms": []}},
        {"locations": {"includeLocations": ["All"], "excludeLocations": []}},
        {"devices": {"@odata.type": "#microsoft.graph.conditionalAccessDevices", "deviceFilter": None}},
        {"authenticationFlows": {"transferMethods": "none"}},
        {"authenticationFlows": {"transferMethods": None}},
        {"clientApplications": {"includeServicePrincipals": [], "excludeServicePrincipals": []}},
        {"insiderRiskLevels": ..., "authenticationFlows": ..., "servicePrincipalRiskLevels": ...},
        {"agentIdRiskLevels": None, "times": None},
    ],
)
def test_a_condition_that_takes_everything_narrows_nothing(members: dict[str, Any]) -> None:
    rule = only(**members)
    assert rule.narrowed == ()
    assert covering([rule]) == covering([rule], Person(ADA)) == [rule]


def test_policies_share_the_kinds_of_clients() -> None:
    modern = only(clientAppTypes=["browser", "mobileAppsAndDesktopClients"])
    legacy = only(clientAppTypes=["exchangeActiveSync", "other"], builtInControls=["block"])
    half = only(clientAppTypes=["easSupported", "other"], builtInControls=["block"])
    assert uncovered([]) == CLIENTS
    assert uncovered([modern]) == LEGACY
    assert uncovered([modern, half]) == ("exchangeActiveSync",)
    assert uncovered([modern, legacy]) == uncovered([only()]) == ()
    assert uncovered([legacy], MODERN) == MODERN


# --- of whom ---


@pytest.mark.parametrize(
    "members",
    [
        {"includeUsers": ["None"]},
        {"includeUsers": []},
        {"includeUsers": [BEN]},
        {"includeUsers": ["GuestsOrExternalUsers"]},
        {"includeUsers": [], "includeGroups": [OTHERS]},
        {"includeUsers": [], "includeRoles": [READER]},
        {"excludeUsers": [ADA.upper()]},
        {"excludeGroups": [STAFF]},
        {"excludeRoles": [ADMIN]},
        {"includeUsers": [ADA], "excludeUsers": [ADA]},
        {"includeUsers": [ADA], "excludeGroups": [STAFF.upper()]},
        {"excludeUsers": ["All"]},
    ],
)
def test_whom_a_policy_does_not_reach(members: dict[str, Any]) -> None:
    assert not only(**members).reaches(Person(ADA, groups=frozenset((STAFF,)), roles=frozenset((ADMIN,))))


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"includeUsers": [ADA.upper()]},
        {"includeUsers": ["None"], "includeGroups": [OTHERS, STAFF]},
        {"includeUsers": [], "includeRoles": [ADMIN.upper()]},
        {"excludeUsers": [BEN, "GuestsOrExternalUsers"]},
        {"excludeGroups": [OTHERS]},
        {"excludeRoles": [READER]},
        {"includeGuestsOrExternalUsers": ..., "excludeGuestsOrExternalUsers": ...},
    ],
)
def test_whom_a_policy_reaches(members: dict[str, Any]) -> None:
    assert only(**members).reaches(Person(ADA, groups=frozenset((STAFF,)), roles=frozenset((ADMIN,))))


def test_a_role_in_a_part_of_the_tenant_includes_nobody_and_excludes() -> None:
    part = Person(ADA, scoped=frozenset((ADMIN,)))
    assert not only(includeUsers=[], includeRoles=[ADMIN]).reaches(part)
    assert not only(excludeRoles=[ADMIN]).reaches(part)


def guests(kinds: str, kind: str | None = "all") -> dict[str, Any]:
    tenants = None if kind is None else {"@odata.type": "#microsoft.graph.x", "membershipKind": kind, "members": ["t"]}
    return {"guestOrExternalUserTypes": kinds, "externalTenants": tenants}


@pytest.mark.parametrize("guest", [*GUESTS, ""])
def test_kinds_of_guests(guest: str) -> None:
    person = Person(ADA, guest)
    assert only(includeUsers=["GuestsOrExternalUsers"]).reaches(person) is bool(guest)
    assert only(excludeUsers=["GuestsOrExternalUsers"]).reaches(person) is not bool(guest)
    two = guests("internalGuest,b2bCollaborationMember")
    chosen = guest in ("internalGuest", "b2bCollaborationMember")
    assert only(includeUsers=[], includeGuestsOrExternalUsers=two).reaches(person) is chosen
    assert only(excludeGuestsOrExternalUsers=two).reaches(person) is not chosen
    assert only(excludeGuestsOrExternalUsers=guests("none", None)).reaches(person)


def test_guests_of_some_tenants_are_excluded_to_be_sure_and_included_never() -> None:
    person, some = Person(ADA, "b2bCollaborationGuest"), guests("b2bCollaborationGuest,internalGuest", "enumerated")
    assert not only(includeUsers=[], includeGuestsOrExternalUsers=some).reaches(person)
    assert only(includeUsers=[], includeGuestsOrExternalUsers=some).reaches(Person(ADA, "internalGuest"))
    assert not only(excludeGuestsOrExternalUsers=some).reaches(person)


def test_what_has_to_be_looked_up_is_known() -> None:
    rules = [only(includeGroups=[OTHERS]), only(excludeGroups=[STAFF])]
    assert groups_of(rules) == {OTHERS.lower(), STAFF}
    assert groups_of([]) == frozenset()
    assert not names_roles(rules)
    assert names_roles([only(excludeRoles=[ADMIN])])
    assert names_roles([only(includeRoles=[ADMIN])])


# --- what is not understood ---


@pytest.mark.parametrize(
    "members",
    [
        {"state": "enabledForSome"},
        {"state": ...},
        {"displayName": None},
        {"conditions": ...},
        {"operator": "XOR"},
        {"operator": None},
        {"builtInControls": ["mfa", "unknownFutureValue"]},
        {"builtInControls": ...},
        {"builtInControls": "mfa"},
        {"termsOfUse": ...},
        {"authenticationStrength": strength()},
        {"authenticationStrength": strength("fido2", "telepathy")},
        {"authenticationStrength": {"id": "x"}},
        {"grantControls": {**POLICY["grantControls"], "exemptions": ["x"]}},
        {"clientAppTypes": []},
        {"clientAppTypes": ...},
        {"clientAppTypes": ["all", "unknownFutureValue"]},
        {"signInRiskLevels": ["unknownFutureValue"]},
        {"signInRiskLevels": ...},
        {"userRiskLevels": ["extreme"]},
        {"insiderRiskLevels": "unknownFutureValue"},
        {"insiderRiskLevels": ["minor"]},
        {"platforms": {"includePlatforms": ["all", "fridge"], "excludePlatforms": []}},
        {"platforms": {"includePlatforms": ["all"]}},
        {"platforms": {"includePlatforms": ["all"], "excludePlatforms": [], "only": ["linux"]}},
        {"locations": {"includeLocations": ["All"], "excludeLocations": [], "countries": ["IE"]}},
        {"authenticationFlows": {"transferMethods": "pigeon"}},
        {"agentIdRiskLevels": "high"},
        {"times": {"ranges": ["nights"]}},
        {"flag": False},
        {"includeApplications": ...},
        {"excludeApplications": ...},
        {"applications": None},
        {"applications": {**POLICY["conditions"]["applications"], "networkAccess": {"on": True}}},
        {"users": None},
        {"users": {**POLICY["conditions"]["users"], "excludeDepartments": ["Sales"]}},
        {"includeUsers": ...},
        {"excludeUsers": ...},
        {"excludeUsers": None},
        {"excludeUsers": ["AllAgentIdUsers"]},
        {"excludeUsers": ["Current administrator will be excluded"]},
        {"includeUsers": ["everyone"]},
        {"excludeGroups": ["Sales"]},
        {"excludeGroups": ...},
        {"excludeRoles": [""]},
        {"excludeRoles": "x"},
        {"excludeGuestsOrExternalUsers": guests("tourist")},
        {"excludeGuestsOrExternalUsers": guests("internalGuest", "most")},
        {"excludeGuestsOrExternalUsers": {"guestOrExternalUserTypes": ["internalGuest"]}},
    ],
)
def test_what_is_not_understood_is_refused(members: dict[str, Any]) -> None:
    assert rules_of([policy()]), "all else is understood"
    with pytest.raises(Unreadable):
        rules_of([policy(**members)])


def test_a_policy_that_cannot_decide_is_not_read() -> None:
    odd = {"times": {"ranges": ["nights"]}}
    assert rules_of([policy(state="disabled", **odd), policy(builtInControls=["compliantDevice"], **odd)]) == []
    assert rules_of([]) == []
