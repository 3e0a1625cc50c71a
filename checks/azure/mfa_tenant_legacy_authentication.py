"""The Entra tenant lets nobody in by legacy authentication.

Why: IMAP, SMTP and old clients cannot ask for a second factor, so there a password that leaked is enough.
Remedy: choose Protection > Conditional Access > New policy from template > Block legacy authentication, for all users
and resources, and switch it from Report-only to On; or switch on security defaults.

By Microsoft's documentation a legacy client is blocked as well by a policy for all kinds of clients that requires
multifactor authentication, since it cannot give it. All enabled users are counted whom no policy covers, guests too.
Security defaults block legacy authentication for all users.

Cost: one call for 999 users, one for the policies and one for security defaults, two for each group that policies name
and two for the roles where they name any.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from collector.check import Family, LimitedCheck, bad, boolean, field, good, not_satisfied, satisfied
from collector.clouds.azure import Tenant
from collector.clouds.azure_conditional_access import LEGACY, covering, rules_of, trials_of, uncovered
from collector.clouds.azure_people import census
from collector.model import Verdict

NAMED_MAX = 10


@dataclass(frozen=True)
class Policies:
    defaults: bool
    everybody: tuple[str, ...] = ()  # policies that stop legacy clients of all users, for all applications
    users: int = 0  # enabled, whom policies do not cover
    some: tuple[str, ...] = ()  # of these, the first by name
    trials: tuple[str, ...] = ()  # policies that block and report only


@dataclass(frozen=True)
class Limits:
    users_excluded_max: int = 2  # Microsoft recommends two emergency accounts


def population(azure: Tenant) -> Iterable[str]:
    return [azure.tenant]


def observe(azure: Tenant, tenant: str) -> Policies:
    if boolean(field(azure.graph("/policies/identitySecurityDefaultsEnforcementPolicy"), "isEnabled")):
        return Policies(defaults=True)
    policies = azure.graph_each("/identity/conditionalAccess/policies")
    rules = [rule for rule in rules_of(policies) if not rule.narrowed and not rule.clients.isdisjoint(LEGACY)]
    people = census(azure, rules)
    everybody = covering(rules)
    open_to = [
        str(user["userPrincipalName"])
        for user in people.users
        if boolean(field(user, "accountEnabled")) and uncovered(covering(rules, people.person(user)), LEGACY)
    ]
    return Policies(
        defaults=False,
        everybody=tuple(rule.name for rule in everybody) if not uncovered(everybody, LEGACY) else (),
        users=len(open_to),
        some=tuple(sorted(open_to)[:NAMED_MAX]),
        trials=tuple(trials_of(policies, "block")),
    )


def evaluate(policies: Policies, limits: Limits) -> Verdict:
    if policies.defaults:
        return satisfied("blocks legacy authentication by security defaults")
    if not policies.everybody:
        trial = f"; {policies.trials[0]} reports only" if policies.trials else ""
        return not_satisfied(f"blocks legacy authentication of all users by no enabled policy{trial}")
    if policies.users > limits.users_excluded_max:
        return not_satisfied(f"lets more than {limits.users_excluded_max} users in by legacy authentication")
    most = f"but {limits.users_excluded_max} at most" if policies.users else "without exception"
    return satisfied(f"blocks legacy authentication of all users, {most}, by {policies.everybody[0]}")


CHECK = LimitedCheck(
    id="azure-tenant-legacy-authentication",
    family=Family.MFA,
    criteria=("CC6.1", "CC6.6"),
    permissions=(
        *("graph:GroupMember.Read.All", "graph:Policy.Read.All", "graph:RoleManagement.Read.Directory"),
        "graph:User.Read.All",
    ),
    per="tenant",
    see=("prowler:entra_security_defaults_enabled",),
    population=population,
    name=lambda tenant: f"/tenants/{tenant}",
    observe=observe,
    evaluate=evaluate,
    limits=Limits(),
    examples=(
        *map(good, (Policies(True), Policies(False, ("Block",)), Policies(False, ("Block",), 2, ("a", "b")))),
        *map(bad, (Policies(False), Policies(False, trials=("Block",)), Policies(False, ("Block",), 3, ("a",)))),
    ),
)
