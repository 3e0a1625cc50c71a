"""Every enabled member of the Entra tenant has registered a second factor that the tenant allows.

Why: who has none cannot be asked for one, and whoever has the password registers the first one in their place.
Remedy: have the user add a method at aka.ms/mfasetup, or enable the method under Protection > Authentication methods.

The report is some hours old and needs Entra ID P1; without it nobody is judged. A guest registers in the tenant that is
its home, mostly. What Entra calls disabled users are not in the report.

Cost: one call for 999 users, and one for each page of the report.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, boolean, field, good, not_applicable, not_satisfied, outside, satisfied
from collector.clouds.azure import Tenant
from collector.clouds.azure_people import id_of, is_guest, registered, registrations, users
from collector.model import Verdict


@dataclass(frozen=True)
class User:
    enabled: bool
    guest: bool
    registered: bool = False
    capable: bool = False  # one of the registered methods is allowed


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    """Every user, with its row of the report where there is one."""
    rows = registrations(azure)
    return [{"user": user, "row": rows.get(id_of(user))} for user in users(azure)]


def observe(azure: Tenant, subject: Mapping[str, Any]) -> User:
    user = subject["user"]
    enabled, guest = boolean(field(user, "accountEnabled")), is_guest(user)
    if guest or not enabled:
        return User(enabled, guest)
    return User(enabled, guest, *registered(subject["row"]))


def evaluate(user: User) -> Verdict:
    if not user.enabled:
        return not_applicable("is disabled")
    if user.guest:
        return not_applicable("is a guest, whose own tenant holds its methods")
    if not user.registered:
        return not_satisfied("has registered no second factor")
    if not user.capable:
        return not_satisfied("has registered no second factor that the tenant allows")
    return satisfied("has registered a second factor that the tenant allows")


CHECK = Check(
    id="azure-user-mfa-registered",
    family=Family.MFA,
    criteria=("CC6.1",),
    permissions=("graph:AuditLog.Read.All", "graph:User.Read.All"),
    per="tenant",
    see=("cis-azure-3.0:2.1.3", "prowler:entra_non_privileged_user_has_mfa"),
    population=population,
    name=lambda subject: f"/users/{subject['user']['userPrincipalName']}",
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(User(enabled=True, guest=False, registered=True, capable=True)),
        bad(User(enabled=True, guest=False)),
        bad(User(enabled=True, guest=False, registered=True)),
        outside(User(enabled=False, guest=False)),
        outside(User(enabled=True, guest=True)),
    ),
)
