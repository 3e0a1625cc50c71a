"""Every active Google Workspace or Cloud Identity user is held to 2-Step Verification by a policy.

Why: a user who is enrolled and not held to it can switch it off again.
Remedy: choose Security > Authentication > 2-Step Verification > Enforcement: On for the user's organizational unit.

Cost: one call for 500 users.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, boolean, field, good, not_applicable, not_satisfied, outside, satisfied
from collector.clouds.gcp import Organization
from collector.model import Verdict


@dataclass(frozen=True)
class User:
    suspended: bool
    archived: bool
    enforced: bool


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """Every user of all domains; deleted ones are in another list."""
    path = "/admin/directory/v1/users"
    return gcp.each("admin.googleapis.com", path, "users", customer=gcp.customer, maxResults=500)


def observe(gcp: Organization, user: Mapping[str, Any]) -> User:
    suspended, archived, enforced = (
        boolean(field(user, name)) for name in ("suspended", "archived", "isEnforcedIn2Sv")
    )
    return User(suspended, archived, enforced)


def evaluate(user: User) -> Verdict:
    if user.suspended or user.archived:
        return not_applicable(f"is {'suspended' if user.suspended else 'archived'} and cannot sign in")
    if user.enforced:
        return satisfied("is held to 2-Step Verification")
    return not_satisfied("may sign in without 2-Step Verification")


CHECK = Check(
    id="gcp-user-2sv-enforced",
    family=Family.MFA,
    criteria=("CC6.1",),
    permissions=(
        "api:admin.googleapis.com",
        "workspace:https://www.googleapis.com/auth/admin.directory.user.readonly",
    ),
    per="organization",
    see=("cis-gcp-3.0:1.2",),
    population=population,
    name=lambda user: f"users/{user['primaryEmail']}",
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(User(suspended=False, archived=False, enforced=True)),
        bad(User(suspended=False, archived=False, enforced=False)),
        outside(User(suspended=True, archived=False, enforced=False)),
        outside(User(suspended=False, archived=True, enforced=True)),
    ),
)
