"""Every organizational unit, and every group with a policy of its own, enforces 2-Step Verification.

Why: who joins a unit that does not enforce it, or a group that is exempt, may sign in with a password alone.
Remedy: choose Security > Authentication > 2-Step Verification > Enforcement: On for the unit or group.

Cost: one call, and one for 100 policies.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, absent_means, bad, field, good, not_satisfied, one_of, satisfied, text
from collector.clouds.gcp import Organization
from collector.errors import Unreadable
from collector.model import Verdict

SETTING = "settings/security.two_step_verification_enforcement"
NEVER = ("0001-01-01T", "1970-01-01T00:00:00")  # the zero of a timestamp: enforcement is off, not long in force
NO_GROUP = "Cloud Identity, PolicyQuery.group: the empty string when no group applies, which JSON leaves out"
NO_UNIT = "Cloud Identity, PolicyQuery.orgUnit: only set if a single unit satisfies all clauses of the query"


@dataclass(frozen=True)
class Place:
    path: str  # of the unit; "" for a group
    policies: tuple[str, ...]  # that decide here, the strongest first; all but the last for some users only
    off: tuple[str, ...] = ()  # of these, the ones that do not enforce
    later: tuple[str, ...] = ()  # of these, the ones whose day has not come


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    """All units with the root, then the groups that policies name; each with the policies that reach it."""
    path = f"/admin/directory/v1/customer/{gcp.customer}/orgunits"
    units = gcp.each("admin.googleapis.com", path, "organizationUnits", orgUnitPath="/", type="allIncludingParent")
    ids = {text(field(unit, "orgUnitPath")): text(field(unit, "orgUnitId")).removeprefix("id:") for unit in units}
    if "/" not in ids:
        raise Unreadable("the listing has no root unit: the Workspace administrator must see all units")
    every = gcp.each("cloudidentity.googleapis.com", "/v1/policies", "policies", pageSize=100)
    if not every:  # not even one of Google's own, of which every customer has some
        raise Unreadable("the listing of policies is empty: the Workspace administrator must be a super administrator")
    own = [policy for policy in every if text(field(policy, "setting.type")) == SETTING]
    groups = {absent_means(policy, "policyQuery.group", "", because=NO_GROUP) for policy in own}
    for group in sorted(groups | {""}):
        found = [p for p in own if absent_means(p, "policyQuery.group", "", because=NO_GROUP) == group]
        if group:
            yield {"name": group, "path": "", "policies": found}
            continue
        for where in sorted(ids):
            above = {f"orgUnits/{ids[each]}" for each in ids if f"{where}/".startswith(f"{each.rstrip('/')}/")}
            yield {
                "name": f"orgUnits/{ids[where]}",
                "path": where,
                "policies": [policy for policy in found if unit_of(policy) in above | {""}],
            }


def unit_of(policy: Mapping[str, Any]) -> str:
    return str(absent_means(policy, "policyQuery.orgUnit", "", because=NO_UNIT))


def order(policy: Mapping[str, Any]) -> float:
    value = field(policy, "policyQuery.sortOrder")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"not a number: {value!r}")
    return value


def observe(gcp: Organization, place: Mapping[str, Any]) -> Place:
    """The policy with the highest sortOrder decides, whoever set it; one with more clauses, for some users only."""
    decide, off, later = [], [], []
    for policy in sorted(place["policies"], key=order, reverse=True):
        decide.append(f"{one_of(field(policy, 'type'), ('ADMIN', 'SYSTEM'))} {field(policy, 'name')}")
        start = text(field(policy, "setting.value.enforcedFrom"))
        if start.startswith(NEVER):
            off.append(decide[-1])
        elif gcp.age_hours(start) < 0:
            later.append(decide[-1])
        query = text(field(policy, "policyQuery.query"))
        if unit_of(policy) and not any(word in query for word in ("licenses", "!", "||")):
            break
    else:  # what no policy reaches has Google's default, which enforces nothing
        off.append("Google's default")
    return Place(place["path"], tuple(decide), tuple(off), tuple(later))


def evaluate(place: Place) -> Verdict:
    where = f"is {place.path} and" if place.path else "is a group with a policy of its own and"
    if place.off:
        return not_satisfied(f"{where} does not enforce 2-Step Verification, by {place.off[0]}")
    if place.later:
        return not_satisfied(f"{where} does not enforce 2-Step Verification yet, by {place.later[0]}")
    return satisfied(f"{where} enforces 2-Step Verification, by {place.policies[0]}")


CHECK = Check(
    id="gcp-orgunit-2sv-enforcement",
    family=Family.MFA,
    criteria=("CC6.1",),
    permissions=(
        "api:admin.googleapis.com",
        "api:cloudidentity.googleapis.com",
        "workspace:https://www.googleapis.com/auth/admin.directory.orgunit.readonly",
        "workspace:https://www.googleapis.com/auth/cloud-identity.policies.readonly",
    ),
    per="organization",
    see=("cis-gcp-3.0:1.2",),
    population=population,
    name=lambda place: str(place["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Place("/Engineering", ("ADMIN policies/a",))),
        bad(Place("/Engineering", ("SYSTEM policies/b",), off=("SYSTEM policies/b",))),
        bad(Place("/Sales", ("ADMIN policies/c",), later=("ADMIN policies/c",))),
        bad(Place("", ("ADMIN policies/d",), off=("ADMIN policies/d",))),
        bad(Place("/", (), off=("Google's default",))),
    ),
)
