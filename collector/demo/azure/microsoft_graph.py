"""Microsoft Graph v1.0: collections of directory objects, policies and reports, read by app roles."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from collector.demo.azure import directory_audits, errors, odata
from collector.demo.azure.world import Ask, World, page_token, token_start

HOST = errors.GRAPH
ROOT = "/v1.0"
PAGE = 100
PAGE_MAX = 999
REGISTRATION = "/reports/authenticationMethods/userRegistrationDetails"
DIRECTORY = ("Directory.Read.All", "Directory.ReadWrite.All")
CONDITIONAL_ACCESS = ("Policy.Read.All", "Policy.Read.ConditionalAccess")
MEMBERSHIPS = ("User.Read.All", "GroupMember.Read.All", "Group.Read.All", *DIRECTORY)
SCHEDULES = ("RoleManagement.Read.Directory", "RoleManagement.Read.All")
ROLES = (*SCHEDULES, *DIRECTORY)
# A path and the app roles of which one is needed, the least first. The first that matches counts.
ACCESS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"/users/[^/]+/(transitiveMemberOf|memberOf)", MEMBERSHIPS),
    (r"/groups/[^/]+/(transitiveMemberOf|memberOf)", DIRECTORY),
    (r"/servicePrincipals/[^/]+/(transitiveMemberOf|memberOf)", ("Application.Read.All", *DIRECTORY)),
    (r"/groups/[^/]+/(transitiveMembers|members)", ("GroupMember.Read.All", "Group.Read.All", *DIRECTORY)),
    (r"/users(/[^/]+)?", ("User.Read.All", "User.ReadWrite.All", *DIRECTORY)),
    (r"/groups(/[^/]+)?", ("GroupMember.Read.All", "Group.Read.All", *DIRECTORY)),
    (r"/servicePrincipals(/[^/]+)?", ("Application.Read.All", *DIRECTORY)),
    (r"/directoryRoles(/[^/]+)?", ROLES),
    (r"/organization(/[^/]+)?", ("Organization.Read.All", *DIRECTORY)),
    (r"/subscribedSkus(/[^/]+)?", ("LicenseAssignment.Read.All", "Organization.Read.All", *DIRECTORY)),
    (re.escape(directory_audits.PATH), ("AuditLog.Read.All",)),
    (re.escape(REGISTRATION) + r"(/[^/]+)?", ("AuditLog.Read.All",)),
    (r"/identity/conditionalAccess/(policies|namedLocations)(/[^/]+)?", CONDITIONAL_ACCESS),
    (
        r"/(identity/conditionalAccess/authenticationStrength/policies|policies/authenticationStrengthPolicies)(/[^/]+)?",
        ("Policy.Read.AuthenticationMethod", "Policy.Read.All"),
    ),
    (r"/policies/identitySecurityDefaultsEnforcementPolicy", ("Policy.Read.All",)),
    (r"/policies/(authenticationMethodsPolicy|authorizationPolicy)", ("Policy.Read.All",)),
    (r"/roleManagement/directory/roleDefinitions(/[^/]+)?", ROLES),
    (r"/roleManagement/directory/roleAssignments(/[^/]+)?", ROLES),
    (
        r"/roleManagement/directory/roleEligibilitySchedule(s|Instances)(/[^/]+)?",
        ("RoleEligibilitySchedule.Read.Directory", *SCHEDULES),
    ),
    (
        r"/roleManagement/directory/roleAssignmentSchedule(s|Instances)(/[^/]+)?",
        ("RoleAssignmentSchedule.Read.Directory", *SCHEDULES),
    ),
)
SINGLES = ("identitySecurityDefaultsEnforcementPolicy", "authenticationMethodsPolicy", "authorizationPolicy")
PREMIUM_2 = re.compile(r"/roleManagement/directory/role(Eligibility|Assignment)Schedule(s|Instances)(/.*)?")
MEMBERSHIP = re.compile(
    r"/(users|groups|servicePrincipals)/([^/]+)/(transitiveMembers|members|transitiveMemberOf|memberOf)"
)
# What an object is called, and the app roles without which its members show no more than their id.
DIRECTORY_OBJECTS = {
    "/users": ("#microsoft.graph.user", ("User.Read.All", "User.ReadWrite.All", *DIRECTORY)),
    "/groups": ("#microsoft.graph.group", ("GroupMember.Read.All", "Group.Read.All", *DIRECTORY)),
    "/servicePrincipals": ("#microsoft.graph.servicePrincipal", ("Application.Read.All", *DIRECTORY)),
    "/directoryRoles": ("#microsoft.graph.directoryRole", ROLES),
}
# What a user shows when nothing is selected; everything else has to be.
USER_DEFAULTS = (
    *("businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone", "officeLocation"),
    *("preferredLanguage", "surname", "userPrincipalName", "id"),
)
USER_MEMBERS = frozenset(
    (
        *USER_DEFAULTS,
        "accountEnabled",
        "userType",
        "createdDateTime",
        "onPremisesSyncEnabled",
        "externalUserState",
        "creationType",
        "department",
        "employeeType",
        "signInActivity",
    )
)
EXPANDED = {"/roleManagement/directory/roleAssignments": ("principal", "roleDefinition")}
HIDDEN = ("members",)


class Unserved(Exception):
    """Nobody here knows the path."""


def answer(world: World, ask: Ask) -> tuple[dict[str, Any], dict[str, str]]:
    """(body, headers). Raises Refusal, Unserved."""
    path = ask.path.removeprefix(ROOT).rstrip("/")
    roles = needed(ask)
    if not ask.path.startswith(f"{ROOT}/") or not roles:
        raise Unserved
    if ask.method != "GET" or ask.principal.roles.isdisjoint(roles):
        raise errors.graph_denied(ask, roles)
    if path.startswith(REGISTRATION) and "P1" not in world.licenses:
        raise errors.no_premium(ask)
    if PREMIUM_2.fullmatch(path) and "P2" not in world.licenses:
        raise errors.no_p2(ask)
    if path.lower() == directory_audits.PATH.lower():
        wanted = odata.query(replace(ask, query={n: v for n, v in ask.query.items() if n != "$filter"}))
        taken = directory_audits.rows(world, ask, ask.query.get("$filter", ""))
        return _page(world, ask, directory_audits.PATH, wanted, ((directory_audits.PATH, row) for row in taken)), {}
    wanted = odata.query(ask)
    if "signInActivity" in wanted.select and "P1" not in world.licenses:
        raise errors.no_premium(ask)
    if found := MEMBERSHIP.fullmatch(path):
        if wanted.filtered and not (wanted.count and _eventual(ask)):
            raise errors.graph(ask, 400, "Request_UnsupportedQuery", "The specified filter is not supported here.")
        return _page(world, ask, path, wanted, _related(world, ask, *found.groups())), {}
    one = _one(world, path)
    if one is not None:
        kind, body = one
        context = path if path.endswith(SINGLES) else kind
        shown = _shown(world, ask, kind, body, wanted)
        return {"@odata.context": f"https://{HOST}{ROOT}/$metadata#{context.strip('/')}/$entity", **shown}, {}
    if path.endswith(SINGLES) or not re.fullmatch(_listing(path), path):
        name = path.rpartition("/")[2]
        words = f"Resource '{name}' does not exist or one of its queried reference-property objects are not present."
        raise errors.graph(ask, 404, "Request_ResourceNotFound", words)
    rows = ((path, world.fresh(body)) for _, body in world.each(path))
    return _page(world, ask, path, wanted, rows), {}


def needed(ask: Ask) -> tuple[str, ...]:
    """The app roles of which a request needs one, the least first; none for a path that nobody knows."""
    path = ask.path.removeprefix(ROOT).rstrip("/")
    return next((roles for pattern, roles in ACCESS if re.fullmatch(pattern, path)), ())


def _listing(path: str) -> str:
    """The pattern of the collection that a path of ``ACCESS`` may be."""
    found = next(pattern for pattern, _ in ACCESS if re.fullmatch(pattern, path))
    return found.removesuffix("(/[^/]+)?")


def _one(world: World, path: str) -> tuple[str, dict[str, Any]] | None:
    """(collection, object) that a path names by id, or a user by name; None where it names none."""
    found = world.find(path)
    if found is not None:
        return path.rpartition("/")[0], found
    if path.startswith("/users/"):
        name = path.removeprefix("/users/").lower()
        for id, body in world.each("/users"):
            if str(body.get("userPrincipalName", "")).lower() == name:
                user = world.find(id)
                assert user is not None
                return "/users", user
    return None


# --- groups ---


def _related(world: World, ask: Ask, kind: str, id: str, relation: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(collection, object) of every member of an object, or of every object that it is a member of."""
    known = _one(world, f"/{kind}/{id}")
    if known is None:
        words = f"Resource '{id}' does not exist or one of its queried reference-property objects are not present."
        raise errors.graph(ask, 404, "Request_ResourceNotFound", words)
    start = str(known[1]["id"])
    parents: dict[str, list[str]] = {}
    children: dict[str, list[str]] = {}
    for collection in ("/groups", "/directoryRoles"):
        for _, body in world.each(collection):
            children[body["id"]] = list(body.get("members", ()))
            for member in body.get("members", ()):
                parents.setdefault(member, []).append(body["id"])
    ways = parents if relation.endswith("MemberOf") or relation == "memberOf" else children
    deep = relation.startswith("transitive")
    for found in sorted(_reached(ways, start) if deep else set(ways.get(start, ()))):
        for collection in DIRECTORY_OBJECTS:
            member = world.find(f"{collection}/{found}")
            if member is not None:
                yield collection, member


def _reached(ways: dict[str, list[str]], start: str) -> set[str]:
    reached: set[str] = set()
    open_ends = [start]
    while open_ends:
        for each in ways.get(open_ends.pop(), ()):
            if each not in reached and each != start:
                reached.add(each)
                open_ends.append(each)
    return reached


# --- answers ---


def _page(
    world: World, ask: Ask, path: str, wanted: odata.Query, rows: Iterable[tuple[str, dict[str, Any]]]
) -> dict[str, Any]:
    found = list(rows)
    related = bool(MEMBERSHIP.fullmatch(path))
    kinds = {path: found} if not related else {}
    for names in (wanted.select, wanted.filtered):
        for name in names:
            _require_member(ask, path, name, [body for _, body in kinds.get(path, found)])
    found = [(kind, body) for kind, body in found if wanted.takes(body)]
    size = PAGE if wanted.top is None else wanted.top
    if not 1 <= size <= PAGE_MAX:
        words = f"Invalid page size specified: '{size}'. Must be between 1 and {PAGE_MAX} inclusive."
        raise errors.graph(ask, 400, "Request_UnsupportedQuery", words)
    query = {name: value for name, value in ask.query.items() if name.lower() != "$skiptoken"}
    question = json.dumps([ask.path, query], sort_keys=True)
    start = 0
    if wanted.skiptoken:
        try:
            start = token_start(wanted.skiptoken, question)
        except ValueError as error:
            words = "Skip token is not valid."
            raise errors.graph(ask, 400, "Directory_ExpiredPageToken", words) from error
    chosen, after = world.page(found, start, size)
    context = "directoryObjects" if related else path.strip("/")
    selected = f"({','.join(wanted.select)})" if wanted.select else ""
    answer: dict[str, Any] = {"@odata.context": f"https://{HOST}{ROOT}/$metadata#{context}{selected}"}
    if wanted.count and _eventual(ask):
        answer["@odata.count"] = len(found)
    if after:
        link = urllib.parse.urlencode({**query, "$skiptoken": page_token(after, question)}, safe="$,'()")
        answer["@odata.nextLink"] = f"https://{HOST}{urllib.parse.quote(ask.path)}?{link}"
    answer["value"] = [_shown(world, ask, kind, body, wanted, typed=related) for kind, body in chosen]
    return answer


def _eventual(ask: Ask) -> bool:
    """Whether the caller takes answers of the index, which some queries of directory objects need."""
    return ask.headers.get("consistencylevel", "").lower() == "eventual"


def _require_member(ask: Ask, path: str, name: str, bodies: list[dict[str, Any]]) -> None:
    """Raises Refusal for a member that no object of the collection can have."""
    if MEMBERSHIP.fullmatch(path):
        return  # objects of several kinds
    known = USER_MEMBERS if path == "/users" else frozenset()
    if bodies and name != "id" and name not in known and not any(name in body for body in bodies):
        kind = path.rpartition("/")[2].removesuffix("s")
        words = f"Could not find a property named '{name}' on type 'microsoft.graph.{kind}'."
        raise errors.graph(ask, 400, "BadRequest", words)


def _shown(
    world: World, ask: Ask, kind: str, body: dict[str, Any], wanted: odata.Query, *, typed: bool = False
) -> dict[str, Any]:
    """An object with the members that were selected, or those that it shows by default."""
    names = wanted.select or (USER_DEFAULTS if kind == "/users" else tuple(name for name in body if name not in HIDDEN))
    shown = {name: body.get(name) for name in names if name not in HIDDEN}
    if typed:
        name, roles = DIRECTORY_OBJECTS[kind]
        if ask.principal.roles.isdisjoint(roles):  # who may read the membership and not the member sees its id
            shown = {member: body[member] if member == "id" else None for member in shown}
        shown = {"@odata.type": name, **shown}
    for navigation in wanted.expand:
        if navigation not in EXPANDED.get(kind, ()):
            words = f"Could not find a property named '{navigation}' on type 'microsoft.graph.entity'."
            raise errors.graph(ask, 400, "BadRequest", words)
        shown[navigation] = _expanded(world, navigation, body)
    return shown


def _expanded(world: World, navigation: str, body: dict[str, Any]) -> dict[str, Any] | None:
    if navigation == "roleDefinition":
        return world.find(f"/roleManagement/directory/roleDefinitions/{body['roleDefinitionId']}")
    for collection, (name, _) in DIRECTORY_OBJECTS.items():
        found = world.find(f"{collection}/{body['principalId']}")
        if found is not None:
            kept = {member: value for member, value in found.items() if member not in HIDDEN}
            return {"@odata.type": name, **kept}
    return None
