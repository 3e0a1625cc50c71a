"""Every holder of a privileged role of Entra has registered a second factor that the tenant allows.

Why: an administrator without one can be taken over with a password, and with them everybody's account.
Remedy: have the administrator add a method at aka.ms/mfasetup, or take the role away.

Privileged are the roles that Microsoft labels so, those of which it recommends to require multifactor authentication,
and all that the tenant defined itself, whatever is in them. Roles that a group holds count for its users, and so do
those that somebody may take on through Privileged Identity Management; who may only join such a group is not seen.
Guests are judged too: they need a second factor here. The report is some hours old and needs Entra ID P1.

Cost: one call each for 999 users, the report's pages, roles, assignments and eligibilities; two for each group.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Check,
    Family,
    bad,
    boolean,
    field,
    good,
    not_applicable,
    not_satisfied,
    outside,
    satisfied,
    text,
)
from collector.clouds.azure import Tenant
from collector.clouds.azure_people import (
    USER,
    definitions,
    eligibilities,
    holdings,
    id_of,
    is_privileged,
    registered,
    registrations,
    users,
)
from collector.errors import Unreadable
from collector.model import Verdict


@dataclass(frozen=True)
class Holder:
    person: bool
    enabled: bool = True
    roles: tuple[str, ...] = ()  # privileged ones, held or to be taken on
    registered: bool = False
    capable: bool = False  # one of the registered methods is allowed


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    """Everybody and everything with some role, with the names of the privileged ones."""
    people = {id_of(user): user for user in users(azure)}
    roles = definitions(azure)
    held: dict[str, dict[str, Any]] = {}
    for holding in (*holdings(azure, roles), *eligibilities(azure, roles, people.values())):
        subject = held.setdefault(holding.principal, {"kind": holding.kind, "roles": set()})
        if is_privileged(roles[holding.definition]):
            subject["roles"].add(text(field(roles[holding.definition], "displayName")))
    rows = registrations(azure)
    for id, subject in held.items():
        user = people.get(id)
        kind = subject["kind"].rpartition(".")[2]  # user, servicePrincipal
        name = f"/{kind}s/{user['userPrincipalName'] if user else id}"
        yield {**subject, "name": name, "user": user, "row": rows.get(id)}


def observe(azure: Tenant, subject: Mapping[str, Any]) -> Holder:
    roles = tuple(sorted(subject["roles"]))
    if subject["kind"] != USER:
        return Holder(person=False, roles=roles)
    if subject["user"] is None:
        raise Unreadable("a user holds a role that the listing of users does not have; the next run may")
    enabled = boolean(field(subject["user"], "accountEnabled"))
    if not roles or not enabled:
        return Holder(True, enabled, roles)
    return Holder(True, enabled, roles, *registered(subject["row"]))


def evaluate(holder: Holder) -> Verdict:
    if not holder.person:
        return not_applicable("is no user, and has no second factor")
    if not holder.roles:
        return not_applicable("holds no privileged role")
    if not holder.enabled:
        return not_applicable(f"is disabled, and holds {', '.join(holder.roles)}")
    if holder.registered and holder.capable:
        return satisfied(f"holds {', '.join(holder.roles)} and has registered a second factor")
    what = "second factor that the tenant allows" if holder.registered else "second factor"
    return not_satisfied(f"holds {', '.join(holder.roles)} and has registered no {what}")


CHECK = Check(
    id="azure-privileged-role-mfa",
    family=Family.MFA,
    criteria=("CC6.1", "CC6.3"),
    permissions=(
        *("graph:AuditLog.Read.All", "graph:GroupMember.Read.All", "graph:RoleManagement.Read.Directory"),
        "graph:User.Read.All",
    ),
    per="tenant",
    see=("cis-azure-3.0:2.1.2", "prowler:entra_privileged_user_has_mfa"),
    population=population,
    name=lambda subject: str(subject["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Holder(True, True, ("Global Administrator",), True, True)),
        *map(bad, (Holder(True, True, ("User Administrator",)), Holder(True, True, ("User Administrator",), True))),
        *map(outside, (Holder(False), Holder(True), Holder(True, False, ("User Administrator",)))),
    ),
)
