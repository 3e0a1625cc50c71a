"""The Entra tenant has a policy that requires multifactor authentication of all users for everything.

Why: what is asked of groups or applications by name forgets the next user and the next application.
Remedy: choose Protection > Conditional Access > New policy, require multifactor authentication of all users for all
resources under no condition, exclude emergency accounts only, and switch it from Report-only to On; or switch on
security defaults.

A policy under a condition, for some resources, or that a compliant device may meet as well is not it. All enabled users
are counted whom nothing asks, guests too. What Microsoft documents of security defaults is in azure-user-mfa-enforced.

Cost: one call for 999 users, one for the policies and one for security defaults, two for each group that policies name
and two for the roles where they name any.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from collector.check import Family, LimitedCheck, bad, boolean, field, good, not_satisfied, satisfied
from collector.clouds.azure import Tenant
from collector.clouds.azure_conditional_access import MODERN, covering, rules_of, trials_of, uncovered
from collector.clouds.azure_people import census
from collector.model import Verdict

NAMED_MAX = 10


@dataclass(frozen=True)
class Policies:
    defaults: bool
    everybody: tuple[str, ...] = ()  # policies for all users, at every sign-in to all applications
    clients: tuple[str, ...] = ()  # kinds of clients with which somebody gets in unasked
    users: int = 0  # enabled, whom policies do not ask at every sign-in
    some: tuple[str, ...] = ()  # of these, the first by name
    partly: tuple[str, ...] = ()  # policies at some sign-ins only, and why
    trials: tuple[str, ...] = ()  # policies that report only


@dataclass(frozen=True)
class Limits:
    users_excluded_max: int = 2  # Microsoft recommends two emergency accounts


def population(azure: Tenant) -> Iterable[str]:
    return [azure.tenant]


def observe(azure: Tenant, tenant: str) -> Policies:
    if boolean(field(azure.graph("/policies/identitySecurityDefaultsEnforcementPolicy"), "isEnabled")):
        return Policies(defaults=True)
    policies = azure.graph_each("/identity/conditionalAccess/policies")
    rules = rules_of(policies)
    people = census(azure, rules)
    everybody = [rule for rule in covering(rules) if rule.asks == "mfa"]
    unasked = {}
    for user in people.users:
        if boolean(field(user, "accountEnabled")):
            clients = uncovered(covering(rules, people.person(user)))
            unasked.update({str(user["userPrincipalName"]): clients} if clients else {})
    return Policies(
        defaults=False,
        everybody=tuple(rule.name for rule in everybody) if not uncovered(everybody, MODERN) else (),
        clients=tuple(sorted({client for clients in unasked.values() for client in clients})),
        users=len(unasked),
        some=tuple(sorted(unasked)[:NAMED_MAX]),
        partly=tuple(f"{rule.name}, {rule.narrowed[0]}" for rule in rules if rule.narrowed),
        trials=tuple(trials_of(policies, "mfa")),
    )


def evaluate(policies: Policies, limits: Limits) -> Verdict:
    if policies.defaults:
        return satisfied("has security defaults switched on")
    if not policies.everybody:
        near = [f"; {name} reports only" for name in policies.trials] + [f"; {name}" for name in policies.partly]
        return not_satisfied(
            f"requires multifactor authentication of all users for everything by no enabled policy{''.join(near[:2])}"
        )
    if policies.users > limits.users_excluded_max:
        with_what = f"by {', '.join(policies.clients)} clients"
        return not_satisfied(f"lets more than {limits.users_excluded_max} users in unasked, {with_what}")
    most = f"but {limits.users_excluded_max} at most" if policies.users else "without exception"
    return satisfied(f"requires multifactor authentication of all users, {most}, by {policies.everybody[0]}")


CHECK = LimitedCheck(
    id="azure-tenant-mfa-policy",
    family=Family.MFA,
    criteria=("CC6.1",),
    permissions=(
        *("graph:GroupMember.Read.All", "graph:Policy.Read.All", "graph:RoleManagement.Read.Directory"),
        "graph:User.Read.All",
    ),
    per="tenant",
    see=("cis-azure-3.0:2.1.1", "cis-azure-3.0:2.2.5", "prowler:entra_security_defaults_enabled"),
    population=population,
    name=lambda tenant: f"/tenants/{tenant}",
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        *map(good, (Policies(True), Policies(False, ("MFA",)), Policies(False, ("MFA",), ("browser",), 2, ("a", "b")))),
        *map(bad, (Policies(False), Policies(False, trials=("MFA",)), Policies(False, partly=("MFA, at some risk",)))),
        bad(Policies(False, ("MFA",), ("browser",), 3, ("a", "b", "c"))),
    ),
)
