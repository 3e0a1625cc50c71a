"""The seeded directory of acme: people, groups, roles and who holds them, and the policies that ask for more."""

from __future__ import annotations

import base64
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from collector.demo.azure.estate_policies import add_policies
from collector.demo.azure.estate_roles import ROLES
from collector.demo.azure.world import CLIENT, DOMAIN, PRINCIPAL, TENANT, World

MFA_POLICY = "2b1c5f0a-6d3e-4a79-8c12-4e5f6a7b8c01"  # the story switches it to report-only
USERS = "/users"
GROUPS = "/groups"
REGISTRATION = "/reports/authenticationMethods/userRegistrationDetails"
ASSIGNMENTS = "/roleManagement/directory/roleAssignments"
DEFINITIONS = "/roleManagement/directory/roleDefinitions"
ELIGIBILITY = "/roleManagement/directory/roleEligibilityScheduleInstances"
APP = ("microsoftAuthenticatorPush", "softwareOneTimePasscode")
KEY = ("passKeyDeviceBound",)
PHONE = ("mobilePhone",)


@dataclass(frozen=True)
class Person:
    """A user. ``methods`` are those that are registered beside the password."""

    name: str
    department: str = "Engineering"
    methods: tuple[str, ...] = APP
    enabled: bool = True
    guest_of: str = ""  # the domain of a guest
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


PEOPLE = (
    Person("ada.berg", "IT", (*APP, *KEY), roles=("Global Administrator",), groups=("platform",)),
    Person("bruno.klein", "IT", APP, roles=("Security Administrator",), groups=("platform",)),
    Person("chiara.russo", "IT", KEY, groups=("role-helpdesk", "platform")),
    Person("dario.costa", "IT", (), groups=("role-helpdesk",)),
    Person("elin.sund", "IT", (), roles=("Conditional Access Administrator",)),
    Person("farid.haddad", "Finance", APP, roles=("Reports Reader",), groups=("finance",)),
    Person("greta.vogel", "Finance", PHONE, groups=("finance",)),
    Person("hugo.martin", "Finance", ("windowsHelloForBusiness",), groups=("finance",)),
    Person("ines.ferreira", "Sales", APP),
    Person("jonas.weber", "Sales", ()),
    Person("kiosk", "Operations", (), groups=("kiosks",)),
    Person("leila.amari", "Sales", (), enabled=False),
    Person("mats.olsen", "IT", APP, enabled=False, roles=("User Administrator",)),
    Person("breakglass", "IT", KEY, roles=("Global Administrator",)),
    Person("noor.devries", "Audit", APP, guest_of="auditors.example"),
    Person("omar.said", "Consulting", (), guest_of="partner.example"),
)
STAFF = (  # as often as the scale says
    Person("pia.lindgren"),
    Person("quentin.roux"),
    Person("rosa.medina", methods=(*APP, *PHONE)),
    Person("sven.bauer", methods=KEY),
    Person("tomas.novak", methods=PHONE),
    Person("ursula.frey", methods=()),
    Person("viktor.lang"),
    Person("wanda.kowal", methods=("windowsHelloForBusiness", *APP)),
    Person("xenia.petrova"),
    Person("yusuf.demir", methods=("email",)),
)
# Groups by name: what they are for, and the groups in them.
GROUPED = {
    "platform": ("Runs the platform", ()),
    "finance": ("Works with money", ()),
    "kiosks": ("Accounts of shared terminals", ()),
    "ca-exclusions": ("Whom multifactor authentication is not asked of", ("kiosks",)),
    "role-helpdesk": ("Helps users who are locked out", ()),
    "everybody": ("All groups of people", ("platform", "finance")),
}
APPLICATIONS = ("acme-deployer", "acme-directory-sync")


class Directory:
    """Adds objects of Microsoft Graph to a world. Ids come from the seed and a name, whatever else there is."""

    def __init__(self, world: World, scale: int, since: datetime) -> None:
        self.world, self.scale, self.since = world, scale, since

    def id(self, name: str) -> str:
        """The id of the object of a name, with its collection: "users/ada.berg"."""
        chance = random.Random(f"{self.world.seed}/{TENANT}/{name}")
        return str(uuid.UUID(int=chance.getrandbits(128), version=4))

    def ago(self, days: float) -> str:
        """A fixed time so many days before the simulation began, to the second as Graph writes it."""
        return f"{self.world.begun - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"

    def add(self, collection: str, body: dict[str, Any]) -> str:
        """Adds an object to a collection; its id."""
        id = str(body["id"])
        self.world.add(f"{collection}/{id}", collection, body, self.since)
        return id


def add_directory(world: World, scale: int, since: datetime) -> None:
    """Fills the directory: about 25 users at scale 1."""
    directory = Directory(world, scale, since)
    people = [(person, person.name) for person in PEOPLE]
    for place in range(scale):
        people += [(person, person.name if place == 0 else f"{person.name}{place + 1}") for person in STAFF]
    for person, name in people:
        _add_user(directory, person, name)
    _add_groups(directory, people)
    _add_applications(directory)
    _add_roles(directory, people)
    excluded = [directory.id("users/breakglass")]
    add_policies(directory, MFA_POLICY, excluded, [directory.id("groups/ca-exclusions")])
    _add_organization(directory)


# --- people ---


def _add_user(directory: Directory, person: Person, name: str) -> None:
    id = directory.id(f"users/{name}")
    first, _, last = name.title().partition(".")
    shown = f"{first} {last}".strip()
    guest = bool(person.guest_of)
    mail = f"{name}@{person.guest_of or DOMAIN}"
    principal = f"{mail.replace('@', '_')}#EXT#@{DOMAIN}" if guest else mail
    body: dict[str, Any] = {
        "id": id,
        "businessPhones": [],
        "displayName": shown,
        "givenName": first,
        "jobTitle": None,
        "mail": mail,
        "mobilePhone": None,
        "officeLocation": None,
        "preferredLanguage": None,
        "surname": last or None,
        "userPrincipalName": principal,
        "accountEnabled": person.enabled,
        "userType": "Guest" if guest else "Member",
        "createdDateTime": directory.ago(390),
        "onPremisesSyncEnabled": None,
        "externalUserState": "Accepted" if guest else None,
        "creationType": "Invitation" if guest else None,
        "department": person.department,
        "employeeType": None,
    }
    directory.add(USERS, body)
    if not person.enabled:
        return  # the report has no disabled users
    admin = bool(person.roles) or "role-helpdesk" in person.groups
    directory.add(REGISTRATION, _registration(id, principal, shown, person, guest, admin))


def _registration(id: str, principal: str, shown: str, person: Person, guest: bool, admin: bool) -> dict[str, Any]:
    """What the report says of a user; an e-mail address resets passwords and is no second factor."""
    factors = tuple(method for method in person.methods if method != "email")
    strong = [method for method in factors if method in (*KEY, "windowsHelloForBusiness")]
    named = {"microsoftAuthenticatorPush": "push", "softwareOneTimePasscode": "oath", "mobilePhone": "sms"}
    second = [named[method] for method in factors if method in named]
    return {
        "id": id,
        "userPrincipalName": principal,
        "userDisplayName": shown,
        "userType": "guest" if guest else "member",
        "isAdmin": admin,
        "isSsprRegistered": bool(person.methods),
        "isSsprEnabled": not guest,
        "isSsprCapable": bool(person.methods) and not guest,
        "isMfaRegistered": bool(factors),
        "isMfaCapable": bool(factors),
        "isPasswordlessCapable": bool(strong),
        "methodsRegistered": list(person.methods),
        "isSystemPreferredAuthenticationMethodEnabled": bool(factors),
        "systemPreferredAuthenticationMethods": second[:1],
        "userPreferredMethodForSecondaryAuthentication": second[0] if second else "none",
        "lastUpdatedDateTime": "@-6h",
    }


def _add_groups(directory: Directory, people: Sequence[tuple[Person, str]]) -> None:
    for name, (description, nested) in GROUPED.items():
        members = [directory.id(f"users/{user}") for person, user in people if name in person.groups]
        members += [directory.id(f"groups/{each}") for each in nested]
        body: dict[str, Any] = {
            "id": directory.id(f"groups/{name}"),
            "deletedDateTime": None,
            "classification": None,
            "createdDateTime": directory.ago(390),
            "description": description,
            "displayName": name,
            "groupTypes": [],
            "isAssignableToRole": True if name.startswith("role-") else None,
            "mail": None,
            "mailEnabled": False,
            "mailNickname": name,
            "membershipRule": None,
            "onPremisesSyncEnabled": None,
            "renewedDateTime": directory.ago(390),
            "securityEnabled": True,
            "securityIdentifier": f"S-1-12-1-{uuid.UUID(directory.id(f'groups/{name}')).int % 10**9}-1-2-3",
            "visibility": None,
            "members": members,  # of ours: no answer shows it
        }
        directory.add(GROUPS, body)


# --- roles ---


def _add_applications(directory: Directory) -> None:
    named = [(directory.id(f"servicePrincipals/{name}"), directory.id(f"apps/{name}"), name) for name in APPLICATIONS]
    for id, app, name in [(PRINCIPAL, CLIENT, "evidence-collector"), *named]:
        body = {
            "id": id,
            "deletedDateTime": None,
            "accountEnabled": True,
            "appDisplayName": name,
            "appId": app,
            "appOwnerOrganizationId": TENANT,
            "appRoleAssignmentRequired": False,
            "displayName": name,
            "servicePrincipalNames": [app],
            "servicePrincipalType": "Application",
            "signInAudience": "AzureADMyOrg",
            "tags": [],
        }
        directory.add("/servicePrincipals", body)


def _add_roles(directory: Directory, people: Sequence[tuple[Person, str]]) -> None:
    """Every definition; assignments to people, to a group and to a service principal; one that is only eligible."""
    held: dict[str, list[str]] = {}
    for person, user in people:
        for role in person.roles:
            held.setdefault(role, []).append(directory.id(f"users/{user}"))
    held.setdefault("Helpdesk Administrator", []).append(directory.id("groups/role-helpdesk"))
    held.setdefault("Application Administrator", []).append(directory.id("servicePrincipals/acme-deployer"))
    held.setdefault("Directory Synchronization Accounts", []).append(
        directory.id("servicePrincipals/acme-directory-sync")
    )
    for name, (template, description, actions) in ROLES.items():
        definition = {
            "id": template,
            "description": description,
            "displayName": name,
            "isBuiltIn": True,
            "isEnabled": True,
            "resourceScopes": ["/"],
            "templateId": template,
            "version": "1",
            "rolePermissions": [{"allowedResourceActions": list(actions), "condition": None}],
        }
        directory.add(DEFINITIONS, definition)
        for principal in held.get(name, ()):
            assignment = {
                "id": _assignment_id(template, principal),
                "principalId": principal,
                "directoryScopeId": "/",
                "roleDefinitionId": template,
            }
            directory.add(ASSIGNMENTS, assignment)
        if name in held:
            activated = {
                "id": directory.id(f"directoryRoles/{name}"),
                "deletedDateTime": None,
                "description": description,
                "displayName": name,
                "roleTemplateId": template,
                "members": held[name],
            }
            directory.add("/directoryRoles", activated)
    eligible = {
        "id": f"{directory.id('eligible')}-1-e",
        "principalId": directory.id("users/bruno.klein"),
        "roleDefinitionId": ROLES["Privileged Role Administrator"][0],
        "directoryScopeId": "/",
        "appScopeId": None,
        "startDateTime": directory.ago(100),
        "endDateTime": None,
        "memberType": "Direct",
        "roleEligibilityScheduleId": directory.id("eligible"),
    }
    directory.add(ELIGIBILITY, eligible)


def _assignment_id(template: str, principal: str) -> str:
    """An id as Graph makes it: both ids as bytes."""
    both = uuid.UUID(template).bytes_le + uuid.UUID(principal).bytes_le
    return f"{base64.urlsafe_b64encode(both).decode().rstrip('=')}-1"


def _add_organization(directory: Directory) -> None:
    domain = {"capabilities": "Email", "isDefault": True, "isInitial": False, "name": DOMAIN, "type": "Managed"}
    body = {
        "id": TENANT,
        "deletedDateTime": None,
        "businessPhones": [],
        "city": "Dublin",
        "countryLetterCode": "IE",
        "createdDateTime": directory.ago(2000),
        "displayName": "Acme",
        "preferredLanguage": "en",
        "tenantType": "AAD",
        "verifiedDomains": [domain],
    }
    directory.add("/organization", body)
