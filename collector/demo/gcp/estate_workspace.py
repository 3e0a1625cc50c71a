"""The seeded Workspace of acme: people, organisational units, their policies, and what the usage reports say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.demo.gcp.world import ADMINISTRATOR, CUSTOMER, DOMAIN

if TYPE_CHECKING:
    from collector.demo.gcp.estate import Builder

ROOT = "03ph8a2z0acme00"
UNITS = {
    "/": ROOT,
    "/Contractors": "03ph8a2z1acme01",
    "/Engineering": "03ph8a2z2acme02",
    "/Engineering/SRE": "03ph8a2z3acme03",
    "/Sales": "03ph8a2z4acme04",
}
OFF = "1970-01-01T00:00:00Z"  # the zero of a timestamp: how the API says that nothing is enforced
PEOPLE = (
    "ada", "bela", "carlos", "dana", "emeka", "fatima", "goran", "hana", "ines", "jonas", "kemi", "lars", "mei",
    "nadia", "omar", "priya",
)  # fmt: skip


def add_workspace(build: Builder) -> None:
    for path, id in UNITS.items():
        _add_unit(build, path, id)
    # name, unit, super administrator, delegated, enrolled, enforced, security keys
    _add_user(build, ADMINISTRATOR, "/", admin=True, keys=2)
    _add_user(build, f"backup-admin@{DOMAIN}", "/", admin=True, keys=0)
    _add_user(build, f"helpdesk@{DOMAIN}", "/", delegated=True, keys=1)
    _add_user(build, f"analyst@{DOMAIN}", "/Sales", enrolled=False, enforced=False)
    _add_user(build, f"intern@{DOMAIN}", "/Contractors", enrolled=False, enforced=False)
    _add_user(build, f"courier@{DOMAIN}", "/Contractors", enforced=False)
    _add_user(build, f"gone@{DOMAIN}", "/Sales", enrolled=False, enforced=False, suspended=True)
    _add_user(build, f"archive@{DOMAIN}", "/Sales", enrolled=False, enforced=False, archived=True)
    for copy in build.copies():
        for number, person in enumerate(PEOPLE):
            unit = ("/Engineering", "/Engineering/SRE", "/Sales")[number % 3]
            _add_user(build, f"{person}{copy}@{DOMAIN}", unit, keys=number % 2)
    _add_policies(build)


def _add_unit(build: Builder, path: str, id: str) -> None:
    above, _, name = path.rpartition("/")
    body: dict[str, Any] = {
        "kind": "admin#directory#orgUnit",
        "etag": f'"{build.hex(20)}"',
        "name": name or DOMAIN,
        "description": "",
        "orgUnitPath": path,
        "orgUnitId": f"id:{id}",
    }
    if path != "/":
        body |= {"parentOrgUnitPath": above or "/", "parentOrgUnitId": f"id:{UNITS[above or '/']}"}
    build.add(f"orgunits{path}", "admin#directory#orgUnit", body)


def _add_user(
    build: Builder,
    email: str,
    unit: str,
    *,
    admin: bool = False,
    delegated: bool = False,
    enrolled: bool = True,
    enforced: bool = True,
    suspended: bool = False,
    archived: bool = False,
    keys: int = 0,
) -> None:
    name = email.partition("@")[0]
    id = "1" + "".join(str(build.random.randrange(10)) for _ in range(20))
    body: dict[str, Any] = {
        "kind": "admin#directory#user",
        "id": id,
        "etag": f'"{build.hex(20)}"',
        "primaryEmail": email,
        "name": {"givenName": name.title(), "familyName": "Acme", "fullName": f"{name.title()} Acme"},
        "isAdmin": admin,
        "isDelegatedAdmin": delegated,
        "lastLoginTime": "@-9h" if not suspended else build.ago(200),
        "creationTime": build.ago(700),
        "agreedToTerms": True,
        "suspended": suspended,
        "archived": archived,
        "changePasswordAtNextLogin": False,
        "ipWhitelisted": False,
        "emails": [{"address": email, "primary": True}],
        "customerId": CUSTOMER,
        "orgUnitPath": unit,
        "isMailboxSetup": True,
        "isEnrolledIn2Sv": enrolled,
        "isEnforcedIn2Sv": enforced,
        "includeInGlobalAddressList": True,
        "languages": [{"languageCode": "en", "preference": "preferred"}],
    }
    if suspended:
        body["suspensionReason"] = "ADMIN"
    build.add(f"users/{email}", "admin#directory#user", body)
    report = {
        "kind": "admin#reports#usageReport",
        "date": "@date-4d",
        "since": build.ago(700)[:10],
        "etag": f'"{build.hex(20)}"',
        "entity": {"type": "USER", "customerId": CUSTOMER, "userEmail": email, "profileId": id},
        "parameters": [
            {"name": "accounts:is_2sv_enforced", "boolValue": enforced},
            {"name": "accounts:is_2sv_enrolled", "boolValue": enrolled},
            {"name": "accounts:is_delegated_admin", "boolValue": delegated},
            {"name": "accounts:is_suspended", "boolValue": suspended},
            {"name": "accounts:is_super_admin", "boolValue": admin},
            {"name": "accounts:num_passkeys_enrolled", "intValue": "0"},
            {"name": "accounts:num_security_keys", "intValue": str(keys)},
            {"name": "accounts:password_strength", "stringValue": "STRONG"},
        ],
    }
    build.add(f"usage/{email}", "admin#reports#usageReport", report)


def _add_policies(build: Builder) -> None:
    """Enforced from the root and hence for all; not yet for sales, and switched off for contractors."""
    settings: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("/", "two_step_verification_enrollment", {"allowEnrollment": True}),
        ("/", "two_step_verification_enforcement", {"enforcedFrom": build.ago(600)}),
        ("/", "two_step_verification_grace_period", {"enrollmentGracePeriod": "604800s"}),
        ("/", "two_step_verification_device_trust", {"allowTrustingDevice": False}),
        ("/", "two_step_verification_enforcement_factor", {"allowedSignInFactorSet": "NO_TELEPHONY"}),
        ("/Engineering/SRE", "two_step_verification_enforcement_factor", {"allowedSignInFactorSet": "PASSKEY_ONLY"}),
        ("/Sales", "two_step_verification_enforcement", {"enforcedFrom": "@+30d"}),
        ("/Contractors", "two_step_verification_enforcement", {"enforcedFrom": OFF}),
        ("/", "password", {"allowedStrength": "STRONG", "minimumLength": 12, "allowReuse": False}),
    )
    for number, (unit, name, value) in enumerate(settings):
        # An administrator's policy stands before the system's, and a deeper unit's before a higher one's.
        _add_policy(build, unit, f"security.{name}", value, 100 + unit.count("/") + number / 100, "ADMIN")
    _add_policy(build, "/", "security.two_step_verification_enforcement", {"enforcedFrom": OFF}, 1, "SYSTEM")
    _add_policy(build, "/", "gmail.pop_access", {"enablePopAccess": False}, 101, "ADMIN")


def _add_policy(build: Builder, unit: str, kind: str, value: dict[str, Any], order: float, type: str) -> None:
    id = UNITS[unit]
    name = f"policies/akajj{build.hex(16)}"
    query = f"entity.org_units.exists(org_unit, org_unit.org_unit_id == orgUnitId('{id}'))"
    body = {
        "name": name,
        "customer": f"customers/{CUSTOMER}",
        "policyQuery": {"query": query, "orgUnit": f"orgUnits/{id}", "sortOrder": order},
        "setting": {"type": f"settings/{kind}", "value": value},
        "type": type,
    }
    build.add(name, "cloudidentity#policy", body)
