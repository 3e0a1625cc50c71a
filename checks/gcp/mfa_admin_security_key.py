"""Every administrator of Google Workspace or Cloud Identity has a security key or passkey.

Why: codes and prompts can be phished together with the password, and an administrator can change everybody's account.
Remedy: have the administrator add a passkey or security key at myaccount.google.com/security, or take the role away.

Cost: one call for 500 users, and one for each active administrator.
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
    number,
    outside,
    satisfied,
    text,
)
from collector.clouds.gcp import Organization
from collector.errors import Unreadable
from collector.model import Verdict

HOST = "admin.googleapis.com"
LAG_DAYS = 4  # reports are of days in UTC-8, and whole some days later
KEYS, PASSKEYS = "accounts:num_security_keys", "accounts:num_passkeys_enrolled"
WHOLE = "Reports API, userUsageReport.get: warnings come with a report that could not be made whole"


@dataclass(frozen=True)
class User:
    role: str  # super, delegated, or "" for no administrator
    active: bool
    keys: int = 0
    passkeys: int = 0


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """Every user, so that the listing shows who is no administrator."""
    return gcp.each(HOST, "/admin/directory/v1/users", "users", customer=gcp.customer, maxResults=500)


def observe(gcp: Organization, user: Mapping[str, Any]) -> User:
    delegated = "delegated" if boolean(field(user, "isDelegatedAdmin")) else ""
    role = "super" if boolean(field(user, "isAdmin")) else delegated
    active = not (boolean(field(user, "suspended")) or boolean(field(user, "archived")))
    if not role or not active:
        return User(role, active)
    day = gcp.now.fromordinal(gcp.now.toordinal() - LAG_DAYS).date().isoformat()
    path = f"/admin/reports/v1/usage/users/{text(field(user, 'id'))}/dates/{day}"
    answer = gcp.get(HOST, path, parameters=f"{KEYS},{PASSKEYS}")
    if absent_means(answer, "warnings", [], because=WHOLE):
        raise Unreadable("the usage report of the day is not whole; the next run asks for a later day")
    reports = field(answer, "usageReports")
    if len(reports) != 1 or field(reports[0], "entity.profileId") != user["id"]:
        raise Unreadable("the usage reports are not one report of the user; a new one has none for some days")
    found = {text(field(each, "name")): each for each in field(reports[0], "parameters")}
    return User(role, active, *(number(field(found[name], "intValue")) for name in (KEYS, PASSKEYS)))


def evaluate(user: User) -> Verdict:
    if not user.role:
        return not_applicable("is no administrator")
    if not user.active:
        return not_applicable(f"is a {user.role} administrator who is suspended or archived")
    if user.keys or user.passkeys:
        return satisfied(f"is a {user.role} administrator with a {'security key' if user.keys else 'passkey'}")
    return not_satisfied(f"is a {user.role} administrator without security key or passkey")


CHECK = Check(
    id="gcp-admin-security-key",
    family=Family.MFA,
    criteria=("CC6.1", "CC6.3"),
    permissions=(
        "api:admin.googleapis.com",
        "workspace:https://www.googleapis.com/auth/admin.directory.user.readonly",
        "workspace:https://www.googleapis.com/auth/admin.reports.usage.readonly",
    ),
    per="organization",
    see=("cis-gcp-3.0:1.3",),
    population=population,
    name=lambda user: f"users/{user['primaryEmail']}",
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(User("super", active=True, keys=2)),
        good(User("delegated", active=True, passkeys=1)),
        bad(User("super", active=True)),
        outside(User("", active=True)),
        outside(User("delegated", active=False)),
    ),
)
