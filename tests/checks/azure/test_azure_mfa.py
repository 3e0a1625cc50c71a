"""The Azure checks of multifactor authentication against answers as Microsoft Graph gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from checks.azure import (
    mfa_privileged_role,
    mfa_tenant_legacy_authentication,
    mfa_tenant_policy,
    mfa_user_enforced,
    mfa_user_registered,
)
from collector.check import AnyCheck, limits_with
from collector.clouds.azure import Tenant
from collector.clouds.transcript import Transcript
from collector.collect import Task, run
from collector.errors import Denied, Disabled, Unreadable
from collector.model import CheckRun, Scope, State

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TENANT = "11111111-2222-4333-8444-555555555555"
SATISFIED, NOT_SATISFIED, NOT_APPLICABLE, UNDETERMINED = State
USERS, ROLES = "/users", "/roleManagement/directory"
REPORT = "/reports/authenticationMethods/userRegistrationDetails"
DEFAULTS = "/policies/identitySecurityDefaultsEnforcementPolicy"
POLICIES = "/identity/conditionalAccess/policies"
ADMIN, READER, CUSTOM = (
    "62e90394-69f5-4237-9190-012177145e10",  # Global Administrator
    "4a5d8f65-41da-4de4-8968-e035b65339cf",  # Reports Reader
    "99999999-0000-4000-8000-000000000001",
)
REGISTERED, ENFORCED, PRIVILEGED = mfa_user_registered.CHECK, mfa_user_enforced.CHECK, mfa_privileged_role.CHECK
POLICY, LEGACY = mfa_tenant_policy.CHECK, mfa_tenant_legacy_authentication.CHECK

Body = dict[str, Any]


class Fake(Tenant):
    """A tenant that knows ``answers`` by path, a listing as the list of its items; all else is not there."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__(TENANT, Transcript(), NOW)
        self.answers = answers
        self.asked: list[str] = []

    def graph(self, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> Any:
        self.asked.append(path)
        answer = self.answers.get(path)
        if answer is None and "Request_ResourceNotFound" in absent:
            return None
        if isinstance(answer, Disabled) and "AadPremiumLicenseRequired" in absent:
            return []
        if answer is None:
            raise Unreadable(f"404 Request_ResourceNotFound: {path}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def graph_each(self, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> list[dict[str, Any]]:
        return list(self.graph(path, absent=absent, **query))


def id_of(name: str) -> str:
    return f"{sum(map(ord, name)):08x}-0000-4000-8000-{len(name):012x}"


def user(name: str, **members: Any) -> Body:
    found = {
        "id": id_of(name),
        "userPrincipalName": f"{name}@acme.example",
        "accountEnabled": True,
        "userType": "Member",
        **members,
    }
    return {key: value for key, value in found.items() if value is not ...}


def group(name: str, *members: str, visibility: str | None = None, nested: Sequence[str] = ()) -> dict[str, Any]:
    """The answers about a group; ``nested`` are groups inside, whose members are among ``members``."""
    id = id_of(name)
    inside = [{"@odata.type": "#microsoft.graph.user", "id": id_of(member)} for member in members]
    inside += [{"@odata.type": "#microsoft.graph.group", "id": id_of(each)} for each in nested]
    inside += [{"@odata.type": "#microsoft.graph.device", "id": id_of("laptop")}]
    return {f"/groups/{id}": {"id": id, "visibility": visibility}, f"/groups/{id}/transitiveMembers": inside}


def role(template: str, name: str, *, built_in: bool = True) -> Body:
    return {"id": template, "templateId": template, "displayName": name, "isBuiltIn": built_in, "isEnabled": True}


DEFINITIONS = [
    role(ADMIN, "Global Administrator"),
    role(READER, "Reports Reader"),
    role(CUSTOM, "Acme Operator", built_in=False),
]


def assignment(template: str, principal: str, kind: str = "user", scope: str = "/") -> Body:
    return {
        "id": f"{template}-{principal}",
        "principalId": id_of(principal),
        "directoryScopeId": scope,
        "roleDefinitionId": template,
        "principal": {"@odata.type": f"#microsoft.graph.{kind}", "id": id_of(principal), "displayName": None},
    }


def policy(name: str = "MFA", state: str = "enabled", *controls: str, **members: Any) -> Body:
    """A policy for all users and applications that asks for multifactor authentication, with other members."""
    users = dict.fromkeys((f"{verb}{kind}" for verb in ("include", "exclude") for kind in ("Groups", "Roles")), ())
    chosen = {"includeUsers": ["All"], "excludeUsers": [], **{key: [] for key in users}}
    chosen |= {key: members.pop(key) for key in list(members) if key in chosen}
    guests = {"includeGuestsOrExternalUsers": None, "excludeGuestsOrExternalUsers": None}
    applications = {
        "includeApplications": members.pop("includeApplications", ["All"]),
        "excludeApplications": [],
        "includeUserActions": [],
        "includeAuthenticationContextClassReferences": [],
        "applicationFilter": None,
    }
    return {
        "id": id_of(name),
        "displayName": name,
        "state": state,
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
            "applications": applications,
            "users": {**chosen, **guests},
            **{key: value for key, value in members.items() if key not in ("strength", "operator")},
        },
        "grantControls": {
            "operator": members.get("operator", "OR"),
            "builtInControls": [] if "strength" in members else list(controls or ("mfa",)),
            "customAuthenticationFactors": [],
            "termsOfUse": [],
            "authenticationStrength": members.get("strength"),
        },
    }


REPORTING = "enabledForReportingButNotEnforced"
BLOCK = policy("Block", "enabled", "block", clientAppTypes=["exchangeActiveSync", "other"])
OUTSIDE: Body = {"locations": {"includeLocations": ["All"], "excludeLocations": ["AllTrusted"]}}


def tenant(*policies: Body, people: Sequence[Body] = (), defaults: Any = False, **answers: Any) -> Fake:
    """A tenant with ada and ben, or ``people``; ``answers`` are by path with __ for /."""
    return Fake(
        {
            USERS: list(people) or [user("ada"), user("ben")],
            DEFAULTS: {"id": "00000000-0000-0000-0000-000000000005", "isEnabled": defaults},
            POLICIES: deepcopy(list(policies)),
            f"{ROLES}/roleDefinitions": DEFINITIONS,
            f"{ROLES}/roleAssignments": [],
            f"{ROLES}/roleEligibilityScheduleInstances": [],
            **answers,
        }
    )


def looked(check: AnyCheck, azure: Fake, **limits: int) -> CheckRun:
    with ThreadPoolExecutor(4) as pool:
        task = Task(check, Scope("azure", TENANT), azure, limits_with(check, limits))
        return run(task, lambda: NOW, pool)


def states(check: AnyCheck, azure: Fake, **limits: int) -> dict[str, State]:
    """What is said of each subject, by its name without path and domain."""
    found = looked(check, azure, **limits)
    assert found.population is not None, found.reason
    return {o.subject.rsplit("/", 1)[-1].partition("@")[0]: o.verdict.state for o in found.observations}


def of(check: AnyCheck, azure: Fake, **limits: int) -> tuple[State, str]:
    """What is said of the only subject of a tenant, or of ada."""
    found = looked(check, azure, **limits)
    assert found.population, found.reason
    one = next(o for o in found.observations if "ada@" in o.subject or o.subject == f"/tenants/{TENANT}")
    return one.verdict.state, one.verdict.reason


# --- registered ---


def row(name: str, **members: Any) -> Body:
    found = {
        "id": id_of(name),
        "userPrincipalName": f"{name}@acme.example",
        "userType": "member",
        "isAdmin": False,
        "isMfaRegistered": True,
        "isMfaCapable": True,
        "methodsRegistered": ["microsoftAuthenticatorPush"],
        "lastUpdatedDateTime": "2026-11-23T06:00:00Z",
        **members,
    }
    return {key: value for key, value in found.items() if value is not ...}


def test_enabled_members_are_judged_by_the_report_and_others_are_not() -> None:
    people = [user(name) for name in ("good", "bad", "barred", "new", "silent", "odd")]
    people += [user("gone", accountEnabled=False), user("guest", userType="Guest"), user("half", accountEnabled=None)]
    people += [user("old", userType=None), user("agent", userType="Agent")]
    rows = [
        *(row("good"), row("bad", isMfaRegistered=False, isMfaCapable=False), row("barred", isMfaCapable=False)),
        *(row("silent", isMfaRegistered=...), row("odd", isMfaCapable="perhaps"), row("guest"), row("half")),
    ]
    azure = tenant(people=people, **{REPORT: rows})
    assert states(REGISTERED, azure) == {
        **dict.fromkeys(("bad", "barred"), NOT_SATISFIED),
        **dict.fromkeys(("gone", "guest"), NOT_APPLICABLE),
        "good": SATISFIED,
        **dict.fromkeys(("new", "silent", "odd", "half", "old", "agent"), UNDETERMINED),
    }
    assert sorted(azure.asked) == [REPORT, USERS], "one listing of each, however many users there are"


def test_a_disabled_user_is_never_looked_for_in_the_report() -> None:
    assert states(REGISTERED, tenant(people=[user("gone", accountEnabled=False)], **{REPORT: []})) == {
        "gone": NOT_APPLICABLE
    }


@pytest.mark.parametrize("check", [REGISTERED, PRIVILEGED])
@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (
            Disabled("Authentication_RequestFromNonPremiumTenantOrB2CTenant; not available: needs Entra ID P1"),
            "disabled",
        ),
        (Denied("403 Authentication_MSGraphPermissionMissing"), "denied"),
    ],
)
def test_without_the_report_nobody_is_judged(check: AnyCheck, error: Exception, failure: str) -> None:
    answers: Body = {REPORT: error}
    found = looked(check, tenant(**answers))
    assert (found.population, found.failure) == (None, failure)
    assert str(error) in found.reason


@pytest.mark.parametrize("check", [REGISTERED, ENFORCED, PRIVILEGED])
def test_users_that_may_not_be_read_are_no_population(check: AnyCheck) -> None:
    answers: Body = {USERS: Denied("403 Authorization_RequestDenied"), REPORT: []}
    found = looked(check, tenant(**answers))
    assert (found.population, found.failure) == (None, "denied")


# --- enforced ---


def test_everybody_is_held_by_a_policy_for_everybody_and_everything() -> None:
    people = [
        user("ada"),
        user("gone", accountEnabled=False),
        user("guest", userType="Guest"),
        user("old", userType=...),
    ]
    azure = tenant(policy(), people=people)
    assert states(ENFORCED, azure) == {
        "ada": SATISFIED,
        "gone": NOT_APPLICABLE,
        "guest": NOT_APPLICABLE,
        "old": UNDETERMINED,
    }
    assert sorted(azure.asked) == [POLICIES, DEFAULTS, USERS], "no groups and roles where no policy names any"
    assert of(ENFORCED, azure) == (SATISFIED, "is held to multifactor authentication by MFA")


@pytest.mark.parametrize(
    ("policies", "reason"),
    [
        ([], "by no enabled policy"),
        ([policy("MFA", "disabled")], "by no enabled policy"),
        ([policy("MFA", REPORTING)], "; MFA reports only"),
        ([policy(excludeUsers=[id_of("ada")])], "is excluded from MFA"),
        ([policy(includeApplications=["Office365"])], "in part: by MFA, for some applications only"),
        ([policy("MFA", "enabled", "mfa", "compliantDevice")], "by no enabled policy"),
        ([policy(**OUTSIDE)], "in part: by MFA, at some locations only"),
        ([policy(signInRiskLevels=["high"])], "in part: by MFA, at some signIn risk only"),
        ([policy(strength={"allowedCombinations": ["fido2", "sms"]})], "by no enabled policy"),
        ([policy(clientAppTypes=["browser", "mobileAppsAndDesktopClients"])], "exchangeActiveSync, other"),
        ([BLOCK], "by no enabled policy"),
        ([BLOCK, policy(clientAppTypes=["browser"])], "by no enabled policy"),
        ([policy(includeUsers=[id_of("ben")])], "by no enabled policy"),
        ([policy(includeUsers=["GuestsOrExternalUsers"])], "by no enabled policy"),
    ],
)
def test_whom_nothing_asks(policies: list[Body], reason: str) -> None:
    state, said = of(ENFORCED, tenant(*policies))
    assert state is NOT_SATISFIED
    assert reason in said


@pytest.mark.parametrize(
    "policies",
    [
        [policy("MFA", "enabled", "mfa", "compliantDevice", operator="AND")],
        [policy(strength={"allowedCombinations": ["fido2", "password,sms"]})],
        [policy(includeUsers=[id_of("ada").upper()])],
        [policy("a", excludeUsers=[id_of("ada")]), policy("b", includeUsers=[id_of("ada")])],
        [policy(clientAppTypes=["browser", "mobileAppsAndDesktopClients"]), BLOCK],
        [policy(), policy("odd", REPORTING, times={"ranges": ["nights"]})],
        [policy(), policy("part", **OUTSIDE)],
    ],
)
def test_who_is_held_by_one_policy_or_by_several_together(policies: list[Body]) -> None:
    assert of(ENFORCED, tenant(*policies))[0] is SATISFIED


def test_groups_count_with_those_inside_and_are_asked_once() -> None:
    answers = {**group("staff", "ada", "ben", nested=["sales"]), **group("kiosks", "ben")}
    rule = policy(includeUsers=[], includeGroups=[id_of("staff"), id_of("gone")], excludeGroups=[id_of("kiosks")])
    azure = tenant(rule, policy("again", REPORTING, includeGroups=[id_of("trial")]), **answers)
    assert states(ENFORCED, azure) == {"ada": SATISFIED, "ben": NOT_SATISFIED}
    groups = [path for path in azure.asked if path.startswith("/groups/")]
    assert len(groups) == len(set(groups)) == 5, "both calls of two groups, and the one that shows that one is gone"
    assert f"/groups/{id_of('trial')}" not in azure.asked


def test_a_group_that_is_gone_excludes_nobody() -> None:
    assert of(ENFORCED, tenant(policy(excludeGroups=[id_of("gone")])))[0] is SATISFIED


STAFF = f"/groups/{id_of('staff')}"


@pytest.mark.parametrize("check", [ENFORCED, POLICY, LEGACY])
@pytest.mark.parametrize(
    "answers",
    [
        group("staff", visibility="HiddenMembership"),
        group("staff", visibility="Concealed"),
        {STAFF: Denied("403")},
        {**group("staff"), STAFF: {}},
        {**group("staff"), STAFF: {"id": id_of("other"), "visibility": None}},
        {**group("staff"), f"{STAFF}/transitiveMembers": Denied("403")},
        {**group("staff"), f"{STAFF}/transitiveMembers": [{"id": id_of("ada")}]},
        {
            **group("staff"),
            f"{STAFF}/transitiveMembers": [{"@odata.type": "#microsoft.graph.robot", "id": id_of("ada")}],
        },
        {**group("staff"), f"{STAFF}/transitiveMembers": [{"@odata.type": "#microsoft.graph.user", "id": "ada"}]},
    ],
)
def test_a_group_that_cannot_be_read_leaves_nobody_judged(check: AnyCheck, answers: dict[str, Any]) -> None:
    found = looked(check, tenant(policy(excludeGroups=[id_of("staff")]), **answers))
    assert found.population is None or {o.verdict.state for o in found.observations} == {UNDETERMINED}


def test_roles_count_when_held_in_the_whole_tenant_by_oneself_or_by_a_group() -> None:
    people = [user(name) for name in ("ada", "ben", "cleo", "dina")]
    held = [
        assignment(ADMIN, "ada"),
        assignment(ADMIN, "admins", "group"),
        assignment(ADMIN, "cleo", scope="/administrativeUnits/1"),
        assignment(ADMIN, "robot", "servicePrincipal"),
        assignment(READER, "dina"),
    ]
    answers = {f"{ROLES}/roleAssignments": held, **group("admins", "ben")}
    rule = policy(includeUsers=[], includeRoles=[ADMIN])
    assert states(ENFORCED, tenant(rule, people=people, **answers)) == {
        **dict.fromkeys(("ada", "ben"), SATISFIED),
        **dict.fromkeys(("cleo", "dina"), NOT_SATISFIED),
    }
    azure = tenant(policy(excludeRoles=[ADMIN]), people=people, **answers)
    assert states(ENFORCED, azure) == {
        **dict.fromkeys(("ada", "ben", "cleo"), NOT_SATISFIED),
        "dina": SATISFIED,
    }
    assert len(azure.asked) == len(set(azure.asked))


def test_a_member_from_another_tenant_may_be_excluded_as_external() -> None:
    people = [user("ada"), user("ben", userPrincipalName="ben_partner.example#EXT#@acme.example")]
    assert list(states(ENFORCED, tenant(policy(excludeUsers=["GuestsOrExternalUsers"]), people=people)).values()) == [
        SATISFIED,
        NOT_SATISFIED,
    ]


@pytest.mark.parametrize("check", [ENFORCED, POLICY, LEGACY])
def test_security_defaults_hold_everybody_and_no_policy_is_asked_for(check: AnyCheck) -> None:
    refused: Body = {POLICIES: Denied("403 tenant is not licensed")}
    azure = tenant(defaults=True, **refused)
    state, reason = of(check, azure)
    assert state is SATISFIED
    assert "security defaults" in reason


@pytest.mark.parametrize("check", [ENFORCED, POLICY, LEGACY])
@pytest.mark.parametrize(
    "answers",
    [
        {DEFAULTS: Denied("403 AccessDenied")},
        {DEFAULTS: {}},
        {DEFAULTS: {"isEnabled": "sometimes"}},
        {POLICIES: Denied("403 AccessDenied")},
        {POLICIES: [policy(), policy("odd", "paused")]},
        {POLICIES: [policy(), policy("odd", "enabled", "unknownFutureValue")]},
        {POLICIES: [policy(excludeUsers=["Contractors"])]},
        {POLICIES: [policy(clientAppTypes=["all", "unknownFutureValue"])]},
        {POLICIES: [policy(times={"ranges": ["nights"]})]},
        {POLICIES: [{**policy(), "conditions": None}]},
        {POLICIES: [policy(excludeRoles=[ADMIN])], f"{ROLES}/roleAssignments": Denied("403")},
        {POLICIES: [policy(excludeRoles=[ADMIN])], f"{ROLES}/roleAssignments": [assignment(TENANT, "ada")]},
        {POLICIES: [policy(excludeRoles=[ADMIN])], f"{ROLES}/roleAssignments": [assignment(ADMIN, "ada", "robot")]},
    ],
)
def test_policies_that_are_not_understood_are_no_answer(check: AnyCheck, answers: dict[str, Any]) -> None:
    found = looked(check, tenant(**answers))
    assert found.failure != "crashed"
    assert found.population is None or {o.verdict.state for o in found.observations} == {UNDETERMINED}


# --- the tenant's policy ---


@pytest.mark.parametrize(
    ("policies", "state", "reason"),
    [
        ([policy()], SATISFIED, "of all users, without exception, by MFA"),
        ([policy(), policy("old", "disabled")], SATISFIED, "by MFA"),
        ([], NOT_SATISFIED, "by no enabled policy"),
        ([policy("MFA", REPORTING)], NOT_SATISFIED, "by no enabled policy; MFA reports only"),
        ([policy(**OUTSIDE)], NOT_SATISFIED, "by no enabled policy; MFA, at some locations only"),
        ([policy("MFA", "enabled", "block")], NOT_SATISFIED, "by no enabled policy"),
        ([policy("MFA", "enabled", "mfa", "domainJoinedDevice")], NOT_SATISFIED, "by no enabled policy"),
        ([policy(includeUsers=[id_of("ada"), id_of("ben")])], NOT_SATISFIED, "by no enabled policy"),
        ([policy(includeApplications=["Office365"])], NOT_SATISFIED, "MFA, for some applications only"),
        ([policy(clientAppTypes=["browser"])], NOT_SATISFIED, "by no enabled policy"),
        (
            [policy(clientAppTypes=["browser"]), policy(clientAppTypes=["mobileAppsAndDesktopClients"]), BLOCK],
            SATISFIED,
            "",
        ),
    ],
)
def test_one_policy_asks_all_users_for_everything(policies: list[Body], state: State, reason: str) -> None:
    found, said = of(POLICY, tenant(*policies))
    assert found is state
    assert reason in said


def test_the_users_that_are_left_out_are_counted_against_the_limit() -> None:
    people = [user(f"u{number}") for number in range(5)] + [user("gone", accountEnabled=False)]
    people += [user("guest", userType="Guest", userPrincipalName="guest#EXT#@acme.example")]
    out = [id_of(name) for name in ("u0", "u1", "gone")]
    azure = tenant(policy(excludeUsers=out), people=people)
    assert of(POLICY, azure) == (
        SATISFIED,
        "requires multifactor authentication of all users, but 2 at most, by MFA",
    )
    assert of(POLICY, azure, users_excluded_max=1) == (
        NOT_SATISFIED,
        "lets more than 1 users in unasked, by browser, exchangeActiveSync, mobileAppsAndDesktopClients, other clients",
    )
    three = tenant(policy(excludeUsers=[*out, "GuestsOrExternalUsers"]), people=people)
    assert of(POLICY, three)[0] is NOT_SATISFIED, "a guest counts"
    (found,) = looked(POLICY, three).observations
    assert found.facts is not None
    assert (found.facts["users"], found.facts["some"]) == (
        3,
        ["guest#EXT#@acme.example", "u0@acme.example", "u1@acme.example"],
    )
    together = tenant(policy(excludeUsers=out), policy("b", includeUsers=out), people=people)
    assert of(POLICY, together, users_excluded_max=0)[0] is SATISFIED


def test_who_gets_in_with_some_clients_only_is_left_out_too() -> None:
    azure = tenant(policy(clientAppTypes=["browser", "mobileAppsAndDesktopClients"]))
    assert of(POLICY, azure, users_excluded_max=1) == (
        NOT_SATISFIED,
        "lets more than 1 users in unasked, by exchangeActiveSync, other clients",
    )


# --- legacy authentication ---


@pytest.mark.parametrize(
    ("policies", "state", "reason"),
    [
        ([BLOCK], SATISFIED, "of all users, without exception, by Block"),
        ([policy()], SATISFIED, "by MFA"),
        (
            [
                policy("a", "enabled", "block", clientAppTypes=["other"]),
                policy("b", clientAppTypes=["exchangeActiveSync"]),
            ],
            SATISFIED,
            "",
        ),
        ([], NOT_SATISFIED, "by no enabled policy"),
        ([{**BLOCK, "state": REPORTING}], NOT_SATISFIED, "by no enabled policy; Block reports only"),
        ([policy("Block", "enabled", "block", clientAppTypes=["other"])], NOT_SATISFIED, "by no enabled policy"),
        (
            [policy("Block", "enabled", "block", clientAppTypes=["easSupported", "other"])],
            NOT_SATISFIED,
            "by no enabled",
        ),
        ([policy(clientAppTypes=["browser", "mobileAppsAndDesktopClients"])], NOT_SATISFIED, "by no enabled policy"),
        ([policy("D", "enabled", "compliantDevice")], NOT_SATISFIED, "by no enabled policy"),
        (
            [policy("Block", "enabled", "block", includeApplications=["Office365"])],
            NOT_SATISFIED,
            "by no enabled policy",
        ),
        ([policy("Block", "enabled", "block", **OUTSIDE)], NOT_SATISFIED, "by no enabled policy"),
        ([policy("Block", "enabled", "block", includeUsers=[id_of("ada")])], NOT_SATISFIED, "by no enabled policy"),
    ],
)
def test_legacy_clients_are_blocked_for_all_users(policies: list[Body], state: State, reason: str) -> None:
    found, said = of(LEGACY, tenant(*policies))
    assert found is state
    assert reason in said


def test_users_of_legacy_clients_are_counted_against_the_limit() -> None:
    names = [f"u{number}" for number in range(4)]
    rule = policy("Block", "enabled", "block", excludeGroups=[id_of("scanners")])
    for inside, state in ((names[:2], SATISFIED), (names[:3], NOT_SATISFIED)):
        gone = user("gone", accountEnabled=False)
        azure = tenant(rule, people=[gone, *map(user, names)], **group("scanners", *inside, "gone"))
        assert of(LEGACY, azure)[0] is state
    covered = policy("b", includeUsers=[id_of("u0")])
    azure = tenant(rule, covered, people=[user(name) for name in names], **group("scanners", *names[:3]))
    assert of(LEGACY, azure) == (SATISFIED, "blocks legacy authentication of all users, but 2 at most, by Block")


# --- privileged roles ---


def holders(*assignments: Body, eligible: Any = (), rows: Sequence[Body] = (), **answers: Any) -> Fake:
    people = [user("ada"), user("ben"), user("gone", accountEnabled=False), user("guest", userType="Guest")]
    return tenant(
        people=people,
        **{
            REPORT: list(rows) or [row("ada"), row("ben", isMfaRegistered=False), row("guest", isMfaCapable=False)],
            f"{ROLES}/roleAssignments": list(assignments),
            f"{ROLES}/roleEligibilityScheduleInstances": eligible,
            **answers,
        },
    )


def test_holders_of_privileged_roles_are_judged_and_others_are_not() -> None:
    azure = holders(
        assignment(ADMIN, "ada"),
        assignment(READER, "ada"),
        assignment(CUSTOM, "ben", scope="/administrativeUnits/1"),
        assignment(ADMIN, "gone"),
        assignment(ADMIN, "guest"),
        assignment(ADMIN, "robot", "servicePrincipal"),
    )
    assert states(PRIVILEGED, azure) == {
        **dict.fromkeys(("gone", id_of("robot")), NOT_APPLICABLE),
        **dict.fromkeys(("ben", "guest"), NOT_SATISFIED),
        "ada": SATISFIED,
    }
    assert len(azure.asked) == len(set(azure.asked)) == 5
    assert of(PRIVILEGED, azure) == (SATISFIED, "holds Global Administrator and has registered a second factor")
    subjects = {o.subject for o in looked(PRIVILEGED, azure).observations}
    assert f"/servicePrincipals/{id_of('robot')}" in subjects
    assert states(PRIVILEGED, holders(assignment(READER, "ben"))) == {"ben": NOT_APPLICABLE}
    assert states(PRIVILEGED, holders()) == {}


def test_a_group_holds_a_role_for_its_users() -> None:
    azure = holders(assignment(ADMIN, "admins", "group"), **group("admins", "ada", "ben", "stranger"))
    assert states(PRIVILEGED, azure) == {"ada": SATISFIED, "ben": NOT_SATISFIED, id_of("stranger"): UNDETERMINED}
    assert states(PRIVILEGED, holders(assignment(ADMIN, "admins", "group"), **group("admins"))) == {}
    assert states(PRIVILEGED, holders(assignment(ADMIN, "gone-by-now", "group"))) == {}


def test_who_may_take_on_a_role_is_judged_as_a_holder() -> None:
    def eligible(template: str, name: str) -> Body:
        found = {**assignment(template, name), "memberType": "Direct", "startDateTime": None, "endDateTime": None}
        del found["principal"]
        return found

    azure = holders(eligible=[eligible(ADMIN, "ben"), eligible(ADMIN, "admins")], **group("admins", "ada"))
    assert states(PRIVILEGED, azure) == {"ada": SATISFIED, "ben": NOT_SATISFIED}
    without = holders(assignment(ADMIN, "ada"), eligible=Disabled("AadPremiumLicenseRequired"))
    assert states(PRIVILEGED, without) == {"ada": SATISFIED}, "without Entra ID P2 nobody is eligible"
    assert looked(PRIVILEGED, holders(eligible=Denied("403"))).failure == "denied"


@pytest.mark.parametrize(
    "answers",
    [
        {f"{ROLES}/roleDefinitions": Denied("403")},
        {f"{ROLES}/roleDefinitions": []},
        {f"{ROLES}/roleDefinitions": [{**DEFINITIONS[0], "templateId": "admin"}]},
        {f"{ROLES}/roleDefinitions": [{**DEFINITIONS[0], "id": None}]},
        {f"{ROLES}/roleAssignments": Denied("403")},
        {f"{ROLES}/roleAssignments": [{**assignment(ADMIN, "ada"), "principal": None}]},
        {f"{ROLES}/roleAssignments": [assignment(ADMIN, "ada", "robot")]},
        {f"{ROLES}/roleAssignments": [{**assignment(ADMIN, "ada"), "directoryScopeId": None}]},
        {
            f"{ROLES}/roleAssignments": [assignment(ADMIN, "admins", "group")],
            **group("admins", visibility="HiddenMembership"),
        },
    ],
)
def test_roles_that_are_not_understood_are_no_population(answers: dict[str, Any]) -> None:
    found = looked(PRIVILEGED, holders(assignment(ADMIN, "ada"), **answers))
    assert found.population is None
    assert found.failure in ("denied", "unreadable")


def test_a_holder_that_the_report_does_not_have_is_undetermined() -> None:
    azure = holders(assignment(ADMIN, "ada"), assignment(ADMIN, "gone"), rows=[row("ben")])
    assert states(PRIVILEGED, azure) == {"ada": UNDETERMINED, "gone": NOT_APPLICABLE}
