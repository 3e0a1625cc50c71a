"""Every enabled member of the Entra tenant is held to multifactor authentication in all applications.

Why: a user whom no policy asks signs in with a password alone, whatever second factor is registered.
Remedy: choose Protection > Conditional Access, and have an enabled policy require multifactor authentication of all
users for all resources; take the user out of its exclusions, or accept the deviation of an emergency account.

A policy counts when it requires multifactor authentication, or a strength of more than one factor, for all resources
and under no further condition. "Multifactor authentication or a compliant device" is not it. Several policies may share
the kinds of clients, and one that blocks a kind will do. Security defaults count: by Microsoft's documentation all
users must register, administrators are asked at each sign-in and everybody else when necessary, and legacy clients are
blocked; the account of Entra Connect alone is exempt. Per-user MFA, which Microsoft replaces, is not seen.

Cost: one call for 999 users, one for the policies and one for security defaults, two for each group that policies name
and two for the roles where they name any.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, boolean, field, good, not_applicable, not_satisfied, outside, satisfied
from collector.clouds.azure import Tenant
from collector.clouds.azure_conditional_access import CLIENTS, MODERN, covering, rules_of, trials_of, uncovered
from collector.clouds.azure_people import census, is_guest
from collector.model import Verdict


@dataclass(frozen=True)
class User:
    enabled: bool
    guest: bool
    defaults: bool = False
    held: tuple[str, ...] = ()  # policies that hold at every sign-in to all applications
    clients: tuple[str, ...] = ()  # kinds of clients that none of these is for
    partly: tuple[str, ...] = ()  # policies that hold at some sign-ins only, and why
    left_out: tuple[str, ...] = ()  # policies that exclude the user
    trials: tuple[str, ...] = ()  # policies that report only


def population(azure: Tenant) -> Iterable[Mapping[str, Any]]:
    """Every user, with what all of them share."""
    defaults = boolean(field(azure.graph("/policies/identitySecurityDefaultsEnforcementPolicy"), "isEnabled"))
    policies = [] if defaults else azure.graph_each("/identity/conditionalAccess/policies")
    rules = rules_of(policies)
    people = census(azure, rules)
    shared = {"defaults": defaults, "rules": rules, "trials": trials_of(policies, "mfa"), "people": people}
    return [{"user": user, **shared} for user in people.users]


def observe(azure: Tenant, subject: Mapping[str, Any]) -> User:
    user = subject["user"]
    enabled, guest = boolean(field(user, "accountEnabled")), is_guest(user)
    if guest or not enabled or subject["defaults"]:
        return User(enabled, guest, subject["defaults"])
    person, rules = subject["people"].person(user), subject["rules"]
    held = sorted(covering(rules, person), key=lambda rule: rule.asks == "block")  # those that ask, first
    asking = [rule for rule in rules if rule.asks == "mfa" and rule.includes(person)]
    return User(
        *(enabled, guest, False, tuple(rule.name for rule in held), uncovered(held)),
        partly=tuple(f"{r.name}, {r.narrowed[0]}" for r in asking if r.narrowed and not r.excludes(person)),
        left_out=tuple(rule.name for rule in asking if rule.excludes(person)),
        trials=tuple(subject["trials"]),
    )


def evaluate(user: User) -> Verdict:
    if not user.enabled:
        return not_applicable("is disabled")
    if user.guest:
        return not_applicable("is a guest; azure-tenant-mfa-policy counts whom policies leave out")
    if user.defaults:
        return satisfied("is held to multifactor authentication by security defaults")
    if not user.clients:
        return satisfied(f"is held to multifactor authentication by {', '.join(user.held)}")
    if not set(user.clients) & set(MODERN):
        return not_satisfied(f"is held to nothing by clients of the kinds {', '.join(user.clients)}")
    if user.left_out:
        return not_satisfied(f"is excluded from {user.left_out[0]}")
    if user.partly:
        return not_satisfied(f"is asked for multifactor authentication in part: by {user.partly[0]}")
    trial = f"; {user.trials[0]} reports only" if user.trials else ""
    return not_satisfied(f"is asked for multifactor authentication by no enabled policy{trial}")


CHECK = Check(
    id="azure-user-mfa-enforced",
    family=Family.MFA,
    criteria=("CC6.1",),
    permissions=(
        *("graph:GroupMember.Read.All", "graph:Policy.Read.All", "graph:RoleManagement.Read.Directory"),
        "graph:User.Read.All",
    ),
    per="tenant",
    see=("cis-azure-3.0:2.2.5",),
    population=population,
    name=lambda subject: f"/users/{subject['user']['userPrincipalName']}",
    observe=observe,
    evaluate=evaluate,
    examples=(
        *map(good, (User(True, False, True), User(True, False, held=("MFA",)))),
        *map(bad, (User(True, False, clients=CLIENTS), User(True, False, clients=CLIENTS, trials=("MFA",)))),
        bad(User(True, False, clients=CLIENTS, left_out=("MFA",))),
        bad(User(True, False, clients=CLIENTS, partly=("MFA, at some locations only",))),
        bad(User(True, False, held=("MFA",), clients=("other",))),
        *map(outside, (User(False, False), User(True, True, True))),
    ),
)
