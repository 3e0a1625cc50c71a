"""Who is in an Entra tenant: its users, the members of groups and the holders of roles, followed through the handle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from collector.clouds.azure import Tenant
from collector.clouds.azure_conditional_access import ID, Person, Rule, groups_of, names_roles
from collector.errors import Unreadable
from collector.parsers import absent_means, boolean, field, one_of, text

ROLES = "/roleManagement/directory"
USER, GROUP = "#microsoft.graph.user", "#microsoft.graph.group"
PRINCIPALS = (USER, GROUP, "#microsoft.graph.servicePrincipal")  # what may hold a role
MEMBERS = (*PRINCIPALS, "#microsoft.graph.device", "#microsoft.graph.orgContact")  # what may be in a group
VISIBILITY = ("", "Private", "Public", "HiddenMembership")
EXTERNAL = "#EXT#"  # in the name of a user whose home is another tenant
NOT_HIDDEN = "Microsoft Graph, group: HiddenMembership is set when a group is created, or visibility is another or null"
NO_PIM = ("AadPremiumLicenseRequired",)  # without Entra ID P2 nobody can be eligible for a role

# Templates of the built-in roles that Microsoft labels privileged, and of those of which its policy template requires
# multifactor authentication: https://learn.microsoft.com/entra/identity/role-based-access-control/permissions-reference
# and https://learn.microsoft.com/entra/identity/conditional-access/policy-old-require-mfa-admin.
PRIVILEGED = frozenset(
    (
        "db506228-d27e-4b7d-95e5-295956d6615f",  # Agent ID Administrator
        "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3",  # Application Administrator
        "cf1c38e5-3621-4004-a7cb-879624dced7c",  # Application Developer
        "ecb2c6bf-0ab6-418e-bd87-7986f8d63bbe",  # Attribute Provisioning Administrator
        "422218e4-db15-4ef9-bbe0-8afb41546d79",  # Attribute Provisioning Reader
        "c4e39bd9-1100-46d3-8c65-fb160da0071f",  # Authentication Administrator
        "25a516ed-2fa0-40ea-a2d0-12923a21473a",  # Authentication Extensibility Administrator
        "0526716b-113d-4c15-b2c8-68e3c22b9f80",  # Authentication Policy Administrator
        "aaf43236-0c0d-4d5f-883a-6955382ac081",  # B2C IEF Keyset Administrator
        "b0f54661-2d74-4c50-afa3-1ec803f12efe",  # Billing Administrator
        "158c047a-c907-4556-b7ef-446551a6b5f7",  # Cloud Application Administrator
        "7698a772-787b-4ac8-901f-60d6b08affd2",  # Cloud Device Administrator
        "b1be1c3e-b65d-4f19-8427-f6fa0d97feb9",  # Conditional Access Administrator
        "9360feb5-f418-4baa-8175-e2a00bac4301",  # Directory Writers
        "8329153b-31d0-4727-b945-745eb3bc5f31",  # Domain Name Administrator
        "29232cdf-9323-42fd-ade2-1d097af3e4de",  # Exchange Administrator
        "be2f45a1-457d-42af-a067-6ec1fa63bc45",  # External Identity Provider Administrator
        "62e90394-69f5-4237-9190-012177145e10",  # Global Administrator
        "f2ef992c-3afb-46b9-b7cf-a126ee74c451",  # Global Reader
        "729827e3-9c14-49f7-bb1b-9608f156bbb8",  # Helpdesk Administrator
        "8ac3fc64-6eca-42ea-9e69-59f4c7b60eb2",  # Hybrid Identity Administrator
        "45d8d3c5-c802-45c6-b32a-1d70b5e1e86e",  # Identity Governance Administrator
        "3a2c62db-5318-420d-8d74-23affee5d9d5",  # Intune Administrator
        "59d46f88-662b-457b-bceb-5c3809e5908f",  # Lifecycle Workflows Administrator
        "4ba39ca4-527c-499a-b93d-d9b492c50246",  # Partner Tier1 Support
        "e00e864a-17c5-4a4b-9c06-f5b95a8d5bd8",  # Partner Tier2 Support
        "966707d0-3269-4727-9be2-8c3a10f19b9d",  # Password Administrator
        "7be44c8a-adaf-4e2a-84d6-ab2649e08a13",  # Privileged Authentication Administrator
        "e8611ab8-c189-46e8-94e1-60213ab1f814",  # Privileged Role Administrator
        "194ae4cb-b126-40b2-bd5b-6091b380977d",  # Security Administrator
        "5f2222b1-57c3-48ba-8ad5-d4759f1fde6f",  # Security Operator
        "5d6b6bb7-de71-4623-b4af-96380a352509",  # Security Reader
        "f28a1f50-f6e7-4571-818b-6a12f2af6b6c",  # SharePoint Administrator
        "69091246-20e8-4a56-aa4d-066075b2a7a8",  # Teams Administrator
        "fe930be7-5e62-47db-91af-98c3a49a38b1",  # User Administrator
    )
)

User = Mapping[str, Any]


def users(azure: Tenant) -> list[dict[str, Any]]:
    """Every user with id, userPrincipalName, accountEnabled and userType; deleted ones are in another list."""
    return azure.graph_each("/users", select="id,userPrincipalName,accountEnabled,userType", top=999)


def is_guest(user: User) -> bool:
    return one_of(field(user, "userType"), ("Guest", "Member")) == "Guest"


def registrations(azure: Tenant) -> dict[str, dict[str, Any]]:
    """What the report says of each enabled user, by the user's id. Needs Entra ID P1, and raises Disabled without."""
    rows = azure.graph_each("/reports/authenticationMethods/userRegistrationDetails")
    return {id_of(row): row for row in rows}


def registered(row: Mapping[str, Any] | None) -> tuple[bool, bool]:
    """Whether the user has registered a second factor, and whether the tenant's policy allows one of them.

    Raises Unreadable for a user that the report does not have.
    """
    if row is None:
        raise Unreadable("the registration report has no such user yet; a new one appears there within a day")
    return boolean(field(row, "isMfaRegistered")), boolean(field(row, "isMfaCapable"))


def members(azure: Tenant, group: str) -> frozenset[str]:
    """The ids of the users in a group and in those inside it; nobody in a group that is gone.

    Raises Unreadable for a hidden membership, of which Graph would show nobody and say nothing.
    """
    known = azure.graph(f"/groups/{group}", absent=("Request_ResourceNotFound",), select="id,visibility")
    if known is None:
        return frozenset()
    if id_of(known) != group.lower():
        raise Unreadable(f"the answer about group {group} is about another: {known['id']}")
    if one_of(absent_means(known, "visibility", "", because=NOT_HIDDEN), VISIBILITY) == "HiddenMembership":
        raise Unreadable(f"the membership of group {group} is hidden; name another group in its place")
    found = azure.graph_each(f"/groups/{group}/transitiveMembers", select="id", top=999)
    return frozenset(id_of(member) for member in found if one_of(member["@odata.type"], MEMBERS) == USER)


@dataclass(frozen=True)
class Holding:
    """A role that a principal holds, or may take on through Privileged Identity Management."""

    principal: str  # id of a user or of another principal
    kind: str  # USER for users and for all who hold it by a group
    definition: str  # id of the role
    everywhere: bool  # in the whole tenant
    eligible: bool  # taken on when needed, and not held now


def definitions(azure: Tenant) -> dict[str, dict[str, Any]]:
    """The definition of each role by its id; for what is built in, that is its template's."""
    return {id_of(role): role for role in azure.graph_each(f"{ROLES}/roleDefinitions")}


def is_privileged(role: Mapping[str, Any]) -> bool:
    """Whether the definition is of one of PRIVILEGED, or the tenant's own."""
    return id_of(role, "templateId") in PRIVILEGED or not boolean(field(role, "isBuiltIn"))


def holdings(azure: Tenant, roles: Mapping[str, Mapping[str, Any]]) -> Iterator[Holding]:
    """Every holding of a role, that of a group as one of each user in it; ``roles`` are the definitions."""
    for assignment in azure.graph_each(f"{ROLES}/roleAssignments", expand="principal"):
        kind = one_of(field(assignment, "principal")["@odata.type"], PRINCIPALS)
        yield from _spread(azure, assignment, kind, roles, eligible=False)


def eligibilities(azure: Tenant, roles: Mapping[str, Mapping[str, Any]], people: Iterable[User]) -> Iterator[Holding]:
    """Every role that somebody may take on. Only users and groups may, and ``people`` are all users."""
    known = {id_of(user) for user in people}
    for instance in azure.graph_each(f"{ROLES}/roleEligibilityScheduleInstances", absent=NO_PIM):
        kind = USER if id_of(instance, "principalId") in known else GROUP
        yield from _spread(azure, instance, kind, roles, eligible=True)


def _spread(
    azure: Tenant, row: Mapping[str, Any], kind: str, roles: Mapping[str, Mapping[str, Any]], *, eligible: bool
) -> Iterator[Holding]:
    definition = roles.get(id_of(row, "roleDefinitionId"))
    if definition is None:
        raise Unreadable(f"a role is assigned that has no definition: {row['roleDefinitionId']}; the next run may know")
    principal = id_of(row, "principalId")
    everywhere = text(field(row, "directoryScopeId")) == "/"
    for id in sorted(members(azure, principal)) if kind == GROUP else (principal,):
        yield Holding(id, USER if kind == GROUP else kind, id_of(definition), everywhere, eligible)


@dataclass(frozen=True)
class Census:
    """The users of a tenant with what policies of conditional access ask about them."""

    users: list[dict[str, Any]]
    groups: Mapping[str, frozenset[str]]  # users by group
    roles: Mapping[str, frozenset[str]]  # users by role held in the whole tenant
    scoped: Mapping[str, frozenset[str]]  # users by role held in a part of it

    def person(self, user: User) -> Person:
        """Raises Unreadable for a user of whom it is not known whether it is a guest.

        A user from another tenant is known by its name, which holds #EXT# unless somebody changed it.
        """
        external = EXTERNAL in text(field(user, "userPrincipalName"))
        if is_guest(user):
            guest = "b2bCollaborationGuest" if external else "internalGuest"
        else:
            guest = "b2bCollaborationMember" if external else ""
        id = id_of(user)
        found = (
            frozenset(key for key, ids in by.items() if id in ids) for by in (self.groups, self.roles, self.scoped)
        )
        return Person(id, guest, *found)


def census(azure: Tenant, rules: Iterable[Rule]) -> Census:
    """All users, the members of the groups that rules name, and the holders of roles where a rule names any."""
    rules = list(rules)
    found: dict[bool, dict[str, set[str]]] = {True: {}, False: {}}
    if names_roles(rules):
        known = definitions(azure)
        for holding in holdings(azure, known):
            template = id_of(known[holding.definition], "templateId")
            found[holding.everywhere].setdefault(template, set()).add(holding.principal)
    roles, scoped = ({role: frozenset(ids) for role, ids in found[every].items()} for every in (True, False))
    return Census(users(azure), {id: members(azure, id) for id in sorted(groups_of(rules))}, roles, scoped)


def id_of(row: Mapping[str, Any], name: str = "id") -> str:
    """The id that a member holds, in small letters. Raises Unreadable for what is none: nobody would be found by it."""
    found = text(field(row, name)).lower()
    if not ID.fullmatch(found):
        raise Unreadable(f"{name} is no id: {found!r}")
    return found
