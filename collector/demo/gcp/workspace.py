"""Google Workspace: Directory users and organisational units, usage reports, and Cloud Identity policies."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, timedelta
from typing import Any

from collector.demo.gcp import errors
from collector.demo.gcp.world import CUSTOMER, DIRECTORY, DOMAIN, Ask, World

USER = "admin#directory#user"
UNIT = "admin#directory#orgUnit"
POLICY = "cloudidentity#policy"
REPORT_LAG_DAYS = 3  # the reports of a day are whole after some days
REPORT_DAYS_MAX = 450
PACIFIC = timedelta(hours=8)  # reports are of days in UTC-8
BASIC = ("customSchemas",)  # what a user has only in the projections custom and full


def _demand(world: World, ask: Ask) -> dict[str, Any]:
    """The administrator for whom is asked. Raises Refusal for a service account by itself and for plain users."""
    user = world.find(f"users/{ask.principal.subject}") if ask.principal.subject else None
    if user is None or not (user["isAdmin"] or user["isDelegatedAdmin"]):
        raise errors.denied(ask.host, "", "")
    return user


def _customer(name: str) -> None:
    if name not in ("my_customer", CUSTOMER):
        message = "Bad Request"
        raise errors.refusal(400, "", message, errors=[{"domain": "global", "reason": "badRequest"}])


def _bad(message: str, location: str) -> errors.Refusal:
    reason = {"domain": "global", "reason": "invalid", "locationType": "parameter", "location": location}
    return errors.refusal(400, "", message, errors=[reason])


def users(world: World, ask: Ask) -> dict[str, Any]:
    """GET /admin/directory/v1/users"""
    _demand(world, ask)
    customer, domain = ask.one("customer"), ask.one("domain")
    if not customer and domain != DOMAIN:
        _customer("")
    if customer:
        _customer(customer)
    size = ask.size("maxResults", 100, 10_000)
    if size > 500:
        raise _bad(f"Invalid value '{size}'. Values must be within the range: [1, 500]", "maxResults")
    deleted = ask.one("showDeleted").lower() == "true"  # nobody was
    rows = [] if deleted else [body for _, body in world.each(USER)]
    if query := ask.one("query"):
        for clause in query.split():
            name, _, value = clause.partition("=")
            if name not in ("isSuspended", "isAdmin", "isEnrolledIn2Sv", "isEnforcedIn2Sv", "orgUnitPath"):
                raise errors.refusal(
                    400, "", "Invalid Input: query", errors=[{"domain": "global", "reason": "invalid"}]
                )
            member = {"isSuspended": "suspended"}.get(name, name)
            rows = [row for row in rows if str(row[member]).lower() == value.lower()]
    if ask.one("projection", "basic") == "basic":
        rows = [{key: value for key, value in row.items() if key not in BASIC} for row in rows]
    return world.listed(ask, rows, "users", size, kind="admin#directory#users", etag='"acme/users"')


def user(world: World, ask: Ask, key: str) -> dict[str, Any]:
    """GET /admin/directory/v1/users/{email or id}"""
    _demand(world, ask)
    for id, body in world.each(USER):
        if key in (body["primaryEmail"], body["id"], id):
            return dict(world.fresh(body))
    message = "Resource Not Found: userKey"
    raise errors.refusal(404, "", message, errors=[{"domain": "global", "reason": "notFound"}])


def units(world: World, ask: Ask, customer: str) -> dict[str, Any]:
    """GET /admin/directory/v1/customer/{customer}/orgunits; without pages, and without the root unless it is wanted"""
    _demand(world, ask)
    _customer(customer)
    kind, path = ask.one("type", "children"), ask.one("orgUnitPath") or "/"
    path = "/" + path.strip("/")
    rows = [world.fresh(body) for _, body in world.each(UNIT)]
    if path != "/" and all(row["orgUnitPath"] != path for row in rows):
        message = "Org unit not found"
        raise errors.refusal(404, "", message, errors=[{"domain": "global", "reason": "notFound"}])
    inside = [
        row
        for row in rows
        if row["orgUnitPath"] != path and f"{row['orgUnitPath']}/".startswith(f"{path}/".replace("//", "/"))
    ]
    if kind == "children":
        inside = [row for row in inside if row["parentOrgUnitPath"] == path]
    elif kind == "allIncludingParent":
        inside = [row for row in rows if row["orgUnitPath"] == path] + inside
    elif kind != "all":
        raise _bad(f"Invalid value '{kind}'. Allowed values: [all, allIncludingParent, children]", "type")
    answer: dict[str, Any] = {"kind": "admin#directory#orgUnits", "etag": '"acme/units"'}
    if inside:
        answer["organizationUnits"] = inside
    return answer


def customer(world: World, ask: Ask, name: str) -> dict[str, Any]:
    """GET /admin/directory/v1/customers/{customer}"""
    _demand(world, ask)
    _customer(name)
    return {
        "kind": "admin#directory#customer",
        "id": CUSTOMER,
        "etag": '"acme/customer"',
        "customerDomain": DOMAIN,
        "alternateEmail": "owner@acme-mail.example",
        "language": "en",
        "postalAddress": {"organizationName": "Acme", "countryCode": "US"},
    }


def usage(world: World, ask: Ask, key: str, day: str) -> dict[str, Any]:
    """GET /admin/reports/v1/usage/users/{all or user}/dates/{date}"""
    _demand(world, ask)
    if ask.one("customerId"):
        _customer(ask.one("customerId"))
    today = (world.clock().astimezone(UTC) - PACIFIC).date()
    lag = int(world.settings.get("report_lag_days", REPORT_LAG_DAYS))
    last = today - timedelta(days=lag)
    try:
        wanted = date.fromisoformat(day)
    except ValueError as error:
        raise _bad(f"Invalid value '{day}'. Values must match the following regular expression", "date") from error
    if wanted > today:
        raise _bad(f"Start date can not be later than {today}", "date")
    if wanted > last:
        raise _bad(f"Data for dates later than {last} is not yet available. Please check back later", "date")
    if wanted < today - timedelta(days=REPORT_DAYS_MAX):
        raise _bad(f"Start date can not be before {today - timedelta(days=REPORT_DAYS_MAX)}", "date")
    rows = []
    for _, body in world.each("admin#reports#usageReport"):
        entity = body["entity"]
        if key in ("all", entity["userEmail"], entity["profileId"]) and body["since"] <= day:
            rows.append({**{name: value for name, value in body.items() if name != "since"}, "date": day})
    if key != "all" and not rows:
        message = "Resource Not Found: userKey"
        raise errors.refusal(404, "", message, errors=[{"domain": "global", "reason": "notFound"}])
    if names := ask.one("parameters"):
        chosen = names.split(",")
        rows = [{**row, "parameters": [p for p in row["parameters"] if p["name"] in chosen]} for row in rows]
    answer = world.listed(ask, rows, "usageReports", ask.size("maxResults", 1000, 1000))
    warnings = world.settings.get("report_warnings")
    more = {"warnings": warnings} if warnings else {}
    return {"kind": "admin#reports#usageReports", "etag": '"acme/usage"', **more, **answer}


def activities(world: World, ask: Ask, key: str, application: str) -> dict[str, Any]:
    """GET /admin/reports/v1/activity/users/{all or user}/applications/{application}: what ``World.settings
    ["activities"]`` has, newest first. ``key`` is who acted."""
    _demand(world, ask)
    known = ("admin", "user_accounts", "login", "token", "groups")
    if application not in known:
        raise _bad(f"Invalid value '{application}'. Allowed values: {', '.join(known)}", "applicationName")
    since, until = ask.one("startTime"), ask.one("endTime")
    for name, text in (("startTime", since), ("endTime", until)):
        if text and not re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", text):
            raise _bad(f"Invalid value '{text}'. It must be a time of RFC 3339", name)
    rows = [
        row
        for row in world.settings.get("activities", ())
        if row["id"]["applicationName"] == application
        and key in ("all", row["actor"].get("email"), row["actor"].get("profileId"))
        and (not since or row["id"]["time"] >= since.removesuffix("Z"))
        and (not until or row["id"]["time"] <= until)
    ]
    rows.sort(key=lambda row: str(row["id"]["time"]), reverse=True)
    answer = world.listed(ask, rows, "items", ask.size("maxResults", 1000, 1000))
    return {"kind": "admin#reports#activities", "etag": '"acme/activities"', **answer}


MATCHES = re.compile(r"setting\.type\.matches\((['\"])(.*)\1\)")
OF_CUSTOMER = re.compile(r"customer\s*==\s*(['\"])customers/([^'\"]+)\1")


def policies(world: World, ask: Ask) -> dict[str, Any]:
    """GET /v1/policies; the filter is the part of CEL that the reference shows"""
    _demand(world, ask)
    rows = [world.fresh(body) for _, body in world.each(POLICY)]
    for clause in filter(None, (part.strip() for part in ask.one("filter").split("&&"))):
        alternatives = []
        for choice in clause.removeprefix("(").removesuffix(")").split("||") if "||" in clause else [clause]:
            found, named = MATCHES.fullmatch(choice.strip()), OF_CUSTOMER.fullmatch(choice.strip())
            if named is not None and named[2] in ("my_customer", CUSTOMER):
                alternatives.append(".*")
            elif found is not None:
                # In CEL's string literal a backslash is written twice, as in the reference's own examples.
                alternatives.append(found[2].replace("\\\\", "\\"))
            else:
                raise errors.invalid(f"Invalid filter: {choice.strip()}")
        try:
            rows = [row for row in rows if any(re.search(each, row["setting"]["type"]) for each in alternatives)]
        except re.error as error:
            raise errors.invalid(f"Invalid filter: {clause}") from error
    return world.listed(ask, rows, "policies", ask.size("pageSize", 50, 100))


ADMIN = "admin.googleapis.com"
USERS = (DIRECTORY + "user", DIRECTORY + "user.readonly")
UNITS = (DIRECTORY + "orgunit", DIRECTORY + "orgunit.readonly")
CUSTOMERS = (DIRECTORY + "customer", DIRECTORY + "customer.readonly")
USAGE = ("https://www.googleapis.com/auth/admin.reports.usage.readonly",)
AUDIT = ("https://www.googleapis.com/auth/admin.reports.audit.readonly",)
POLICIES = (
    "https://www.googleapis.com/auth/cloud-identity.policies",
    "https://www.googleapis.com/auth/cloud-identity.policies.readonly",
)
FRONT = "ccc.hosted.frontend.directory.v1."
ROUTES: tuple[tuple[str, str, str, str, tuple[str, ...], Callable[..., dict[str, Any]]], ...] = (
    (ADMIN, "GET", r"/admin/directory/v1/users", FRONT + "DirectoryUsers.List", USERS, users),
    (ADMIN, "GET", r"/admin/directory/v1/users/([^/]+)", FRONT + "DirectoryUsers.Get", USERS, user),
    (ADMIN, "GET", r"/admin/directory/v1/customers/([^/]+)", FRONT + "DirectoryCustomers.Get", CUSTOMERS, customer),
    (
        ADMIN,
        "GET",
        r"/admin/directory/v1/customer/([^/]+)/orgunits",
        FRONT + "DirectoryOrgunits.List",
        UNITS,
        units,
    ),
    (
        ADMIN,
        "GET",
        r"/admin/reports/v1/usage/users/([^/]+)/dates/([^/]+)",
        "ccc.hosted.frontend.reports.v1.UserUsageReports.Get",
        USAGE,
        usage,
    ),
    (
        ADMIN,
        "GET",
        r"/admin/reports/v1/activity/users/([^/]+)/applications/([^/]+)",
        "ccc.hosted.frontend.reports.v1.Activities.List",
        AUDIT,
        activities,
    ),
    (
        "cloudidentity.googleapis.com",
        "GET",
        r"/v1/policies",
        "google.apps.cloudidentity.policies.v1.PoliciesService.ListPolicies",
        POLICIES,
        policies,
    ),
)
