"""The Google checks of MFA and logging against answers as Google gives them, the awkward ones first."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import checks
from checks.gcp import (
    logging_audit_config,
    logging_bucket_retention,
    logging_metric_alerts,
    logging_sink,
    logging_subnet_flow_logs,
    mfa_admin_security_key,
    mfa_orgunit_2sv_enforcement,
    mfa_service_account_keys,
    mfa_user_2sv_enforced,
    mfa_user_2sv_enrolled,
)
from collector.check import AnyCheck, limits_with
from collector.clouds.gcp import Organization
from collector.clouds.transcript import Transcript
from collector.collect import Task, run
from collector.errors import Denied, Unreadable
from collector.model import CheckRun, Scope, State

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SATISFIED, NOT_SATISFIED, NOT_APPLICABLE, UNDETERMINED = State
NUMBER, PROJECT, FOLDER, TOP = "100000000001", "acme-prod", "folders/845720196331", "organizations/461203958147"
ANCESTORS = [f"projects/{NUMBER}", FOLDER, TOP]
MANAGER = "cloudresourcemanager.googleapis.com"

Body = dict[str, Any]


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat().replace("+00:00", "Z")


class Fake(Organization):
    """An organisation that knows ``assets``, and ``pages`` by path; what it does not know is an error."""

    def __init__(
        self,
        assets: Sequence[Body] = (),
        pages: Mapping[str, Any] | None = None,
        parent: str = TOP,
        project: str = PROJECT,
    ) -> None:
        super().__init__(parent, Transcript(), NOW, project=project)
        self.known = assets
        self.pages = pages or {}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def within(self, part: str) -> Fake:
        return Fake(self.known, self.pages, self.parent, part)

    def _listed(self, type: str, member: str) -> list[Body]:
        found = [asset for asset in self.known if asset["assetType"] == type and member in asset]
        return [one for one in found if not self.project or one["ancestors"][0] == f"projects/{NUMBER}"]

    def assets(self, type: str) -> list[dict[str, Any]]:
        return self._listed(type, "resource")

    def assets_of(self, places: Iterable[str], type: str) -> list[dict[str, Any]]:
        return [one for one in self.within("").assets(type) if one["ancestors"][0] in places]

    def policies(self, type: str) -> list[dict[str, Any]]:
        return self._listed(type, "iamPolicy")

    def get(self, host: str, path: str, *, absent: tuple[str, ...] = (), **query: Any) -> Any:
        self.asked.append((host, path, query))
        if path not in self.pages:
            raise Unreadable(f"404 NOT_FOUND: {path}")
        if isinstance(self.pages[path], Exception):
            raise self.pages[path]
        return self.pages[path]

    def each(
        self, host: str, path: str, items: str, *, absent: tuple[str, ...] = (), **query: Any
    ) -> list[dict[str, Any]]:
        return [item for page in self.get(host, path, **query) for item in page.get(items, [])]


def looked(check: AnyCheck, gcp: Fake, **limits: int) -> CheckRun:
    with ThreadPoolExecutor(4) as pool:
        task = Task(check, Scope("gcp", gcp.organization, gcp.project), gcp, limits_with(check, limits))
        return run(task, lambda: NOW, pool)


def states(check: AnyCheck, gcp: Fake, **limits: int) -> dict[str, State]:
    found = looked(check, gcp, **limits)
    assert found.population is not None, found.reason
    return {o.subject.rsplit("/", 1)[-1]: o.verdict.state for o in found.observations}


def reason(check: AnyCheck, gcp: Fake) -> str:
    (found,) = looked(check, gcp).observations
    return found.verdict.reason


def asset(type: str, path: str, data: Body, ancestors: Sequence[str] = ANCESTORS, **more: Any) -> Body:
    """An asset as Cloud Asset Inventory lists it with RESOURCE content."""
    service = type.partition("/")[0]
    return {
        "name": f"//{service}/{path}",
        "assetType": type,
        "resource": {"version": "v1", "discoveryName": type.partition("/")[2], "data": data, "location": "global"},
        "ancestors": list(ancestors),
        "updateTime": ago(20),
        **more,
    }


def project(ancestors: Sequence[str] = ANCESTORS) -> Body:
    data = {"projectId": PROJECT, "projectNumber": NUMBER, "lifecycleState": "ACTIVE"}
    return asset(f"{MANAGER}/Project", f"projects/{NUMBER}", data, ancestors)


# --- users ---

USERS = "/admin/directory/v1/users"


def user(name: str, without: str = "", **members: Any) -> Body:
    """A user as users.list gives it in the projection "basic"."""
    body = {
        "kind": "admin#directory#user",
        "id": str(10**20 + sum(map(ord, name))),
        "primaryEmail": f"{name}@acme.example",
        "isAdmin": False,
        "isDelegatedAdmin": False,
        "suspended": False,
        "archived": False,
        "orgUnitPath": "/",
        "isEnrolledIn2Sv": True,
        "isEnforcedIn2Sv": True,
        **members,
    }
    return {key: value for key, value in body.items() if key != without}


@pytest.mark.parametrize(
    ("check", "member"),
    [(mfa_user_2sv_enrolled.CHECK, "isEnrolledIn2Sv"), (mfa_user_2sv_enforced.CHECK, "isEnforcedIn2Sv")],
)
def test_active_users_are_judged_and_others_are_not(check: AnyCheck, member: str) -> None:
    first = [user("good"), user("bad", **{member: False}), user("gone", suspended=True), user("kept", archived=True)]
    second = [user("silent", without=member), user("odd", **{member: "maybe"}), user("half", without="archived")]
    gcp = Fake(pages={USERS: [{"users": first}, {}, {"users": second}]}, project="")
    assert states(check, gcp) == {
        "good@acme.example": SATISFIED,
        "bad@acme.example": NOT_SATISFIED,
        "gone@acme.example": NOT_APPLICABLE,
        "kept@acme.example": NOT_APPLICABLE,
        "silent@acme.example": UNDETERMINED,
        "odd@acme.example": UNDETERMINED,
        "half@acme.example": UNDETERMINED,
    }
    assert gcp.asked == [("admin.googleapis.com", USERS, {"customer": "my_customer", "maxResults": 500})]


@pytest.mark.parametrize("module", [mfa_user_2sv_enrolled, mfa_user_2sv_enforced, mfa_admin_security_key])
def test_users_that_may_not_be_read_are_no_population(module: Any) -> None:
    found = looked(module.CHECK, Fake(pages={USERS: Denied("403 notAuthorized")}, project=""))
    assert (found.population, found.failure) == (None, "denied")


# --- administrators and the usage report ---

REPORT_DAY = "2026-11-19"
KEYS, PASSKEYS = "accounts:num_security_keys", "accounts:num_passkeys_enrolled"


def report(one: Body, **parameters: Any) -> Body:
    found = {KEYS: "0", PASSKEYS: "0"} | {f"accounts:{name}": value for name, value in parameters.items()}
    return {
        "kind": "admin#reports#usageReports",
        "usageReports": [
            {
                "kind": "admin#reports#usageReport",
                "date": REPORT_DAY,
                "entity": {"type": "USER", "profileId": one["id"], "userEmail": one["primaryEmail"]},
                "parameters": [{"name": name, "intValue": value} for name, value in found.items() if value is not None],
            }
        ],
    }


def administrator(answer: Any, **members: Any) -> State:
    one = user("root", **({"isAdmin": True} | members))
    answer = answer(one) if callable(answer) else answer
    path = f"/admin/reports/v1/usage/users/{one['id']}/dates/{REPORT_DAY}"
    gcp = Fake(pages={USERS: [{"users": [one]}], path: answer}, project="")
    return states(mfa_admin_security_key.CHECK, gcp)["root@acme.example"]


WARNED = {
    "kind": "admin#reports#usageReports",
    "warnings": [{"code": "PARTIAL_DATA_AVAILABLE", "message": "Data for date 2026-11-19 ... is not available"}],
    "usageReports": [],
}


def test_an_administrator_has_a_key_or_passkey_in_the_last_whole_report() -> None:
    assert administrator(lambda one: report(one, num_security_keys="2")) is SATISFIED
    assert administrator(lambda one: report(one, num_passkeys_enrolled="1")) is SATISFIED
    assert administrator(report) is NOT_SATISFIED
    delegated = {"isAdmin": False, "isDelegatedAdmin": True}
    assert administrator(report, **delegated) is NOT_SATISFIED
    assert administrator(lambda one: report(one, num_security_keys="1"), **delegated) is SATISFIED


def test_who_is_no_active_administrator_is_no_question_to_the_report() -> None:
    assert administrator(Denied("403"), isAdmin=False) is NOT_APPLICABLE
    assert administrator(Denied("403"), suspended=True) is NOT_APPLICABLE
    assert administrator(Denied("403"), archived=True, isAdmin=False, isDelegatedAdmin=True) is NOT_APPLICABLE


@pytest.mark.parametrize(
    "answer",
    [
        WARNED,
        lambda one: {**report(one, num_security_keys="2"), "warnings": WARNED["warnings"]},
        {"kind": "admin#reports#usageReports"},
        {"usageReports": []},
        lambda one: report(user("somebody-else"), num_security_keys="2"),
        lambda one: report(one, num_security_keys=None),
        lambda one: report(one, num_security_keys="many"),
        lambda one: report(one, num_passkeys_enrolled=None),
        Unreadable("400 Data for dates later than 2026-11-18 is not yet available"),
        Denied("403 insufficientPermissions"),
    ],
)
def test_a_report_without_the_users_numbers_is_no_answer(answer: Any) -> None:
    assert administrator(answer) is UNDETERMINED


# --- organizational units ---

UNITS, POLICIES = "/admin/directory/v1/customer/my_customer/orgunits", "/v1/policies"
OFF = "1970-01-01T00:00:00Z"


def unit(path: str) -> Body:
    return {"kind": "admin#directory#orgUnit", "orgUnitPath": path, "orgUnitId": f"id:03ph{path.replace('/', '-')}"}


def policy(path: str, start: str | None, order: Any, **members: Any) -> Body:
    id = f"03ph{path.replace('/', '-')}"
    clause = members.pop("clause", "")
    scope = {"orgUnit": f"orgUnits/{id}"} if path else {}
    if "group" in members:
        scope["group"] = members.pop("group")
    return {
        "name": f"policies/{order}",
        "customer": "customers/C02acme7x",
        "policyQuery": {
            "query": f"entity.org_units.exists(org_unit, org_unit.org_unit_id == orgUnitId('{id}')){clause}",
            "sortOrder": order,
            **scope,
        },
        "setting": {
            "type": "settings/security.two_step_verification_enforcement",
            "value": {} if start is None else {"enforcedFrom": start},
        },
        "type": "ADMIN",
        **members,
    }


def places(*policies: Body, paths: Sequence[str] = ("/", "/Sales", "/Sales/EMEA", "/Salesforce")) -> dict[str, State]:
    pages = {UNITS: [{"organizationUnits": [unit(path) for path in paths]}], POLICIES: [{"policies": list(policies)}]}
    found = looked(mfa_orgunit_2sv_enforcement.CHECK, Fake(pages=pages, project=""))
    assert found.population is not None, found.reason
    return {o.subject.removeprefix("orgUnits/03ph"): o.verdict.state for o in found.observations}


NOISE = {**policy("/", ago(9), 300), "setting": {"type": "settings/security.password", "value": {"minimumLength": 12}}}
FACTOR = {
    **policy("/", ago(9), 301),
    "setting": {"type": "settings/security.two_step_verification_enforcement_factor", "value": {}},
}


def test_units_inherit_and_the_highest_order_decides() -> None:
    found = places(
        policy("/", OFF, 101.00025, type="SYSTEM"),
        policy("/Sales", OFF, 202),
        NOISE,
        FACTOR,
        policy("/", ago(30), 201.00048),
    )
    assert found == {"-": SATISFIED, "-Sales": NOT_SATISFIED, "-Sales-EMEA": NOT_SATISFIED, "-Salesforce": SATISFIED}
    found = places(policy("/", OFF, 201), policy("/Sales/EMEA", ago(1), 203.5), policy("/Sales", ago(1), 202))
    assert found == {"-": NOT_SATISFIED, "-Sales": SATISFIED, "-Sales-EMEA": SATISFIED, "-Salesforce": NOT_SATISFIED}


def test_enforcement_in_the_future_or_never_is_none() -> None:
    assert places(policy("/", ago(-0.001), 201), paths=["/"]) == {"-": NOT_SATISFIED}
    assert places(policy("/", ago(0.001), 201), paths=["/"]) == {"-": SATISFIED}
    assert places(policy("/", OFF, 201), paths=["/"]) == {"-": NOT_SATISFIED}
    assert places(policy("/", "0001-01-01T00:00:00Z", 201), paths=["/"]) == {"-": NOT_SATISFIED}
    assert places(policy("/Other", ago(9), 201), paths=["/"]) == {"-": NOT_SATISFIED}, "Google's default"


def test_a_group_with_a_policy_of_its_own_is_a_subject() -> None:
    root = policy("/", ago(9), 201)
    exempt = policy("/", OFF, 399.00027, group="groups/02xcytpi2smgulh")
    held = policy("/", ago(9), 399.00013, group="groups/019c6y181lsgu1p")
    assert places(root, exempt, held, paths=["/"]) == {
        "-": SATISFIED,
        "groups/02xcytpi2smgulh": NOT_SATISFIED,
        "groups/019c6y181lsgu1p": SATISFIED,
    }


def test_a_policy_for_some_users_of_a_unit_does_not_speak_for_the_others() -> None:
    some = {"clause": " && entity.licenses.exists(license, license in ['/product/Google-Apps/sku/1010020020'])"}
    assert places(policy("/", ago(9), 202, **some), paths=["/"]) == {"-": NOT_SATISFIED}
    assert places(policy("/", ago(9), 202, **some), policy("/", OFF, 201), paths=["/"]) == {"-": NOT_SATISFIED}
    assert places(policy("/", OFF, 202, **some), policy("/", ago(9), 201), paths=["/"]) == {"-": NOT_SATISFIED}
    assert places(policy("/", ago(9), 202, **some), policy("/", ago(9), 201), paths=["/"]) == {"-": SATISFIED}
    assert places(policy("", OFF, 202), policy("/", ago(9), 201), paths=["/"]) == {"-": NOT_SATISFIED}
    assert places(policy("", OFF, 102), policy("/", ago(9), 201), paths=["/"]) == {"-": SATISFIED}


@pytest.mark.parametrize(
    "odd",
    [
        policy("/", None, 201),
        policy("/", "soon", 201),
        policy("/", ago(9), None),
        policy("/", ago(9), "201"),
        policy("/", ago(9), 201, type="PARTNER"),
        policy("/", ago(9), 201, type=None),
    ],
)
def test_a_policy_that_is_not_understood_is_no_answer(odd: Body) -> None:
    assert places(odd, paths=["/"]) == {"-": UNDETERMINED}


def test_units_without_the_root_are_no_population() -> None:
    pages = {UNITS: [{"organizationUnits": [unit("/Sales")]}], POLICIES: [{}]}
    found = looked(mfa_orgunit_2sv_enforcement.CHECK, Fake(pages=pages, project=""))
    assert found.population is None
    assert "root" in found.reason
    assert looked(mfa_orgunit_2sv_enforcement.CHECK, Fake(pages={**pages, UNITS: [{}]}, project="")).population is None


# --- keys of service accounts ---

EMAIL, UNIQUE = "deployer@acme-prod.iam.gserviceaccount.com", "102628377948083709745"
ACCOUNTS = f"projects/{PROJECT}/serviceAccounts"


def account(**members: Any) -> Body:
    data = {"name": f"{ACCOUNTS}/{EMAIL}", "projectId": PROJECT, "uniqueId": UNIQUE, "email": EMAIL, **members}
    return asset("iam.googleapis.com/ServiceAccount", f"{ACCOUNTS}/{UNIQUE}", data)


def key(days: float, owner: str = EMAIL, **members: Any) -> Body:
    data = {
        "name": f"{ACCOUNTS}/{EMAIL}/keys/{days}",
        "validAfterTime": ago(days),
        "validBeforeTime": "9999-12-31T23:59:59Z",
        "keyAlgorithm": "KEY_ALG_RSA_2048",
        "keyOrigin": "GOOGLE_PROVIDED",
        "keyType": "USER_MANAGED",
        **members,
    }
    return asset("iam.googleapis.com/ServiceAccountKey", f"{ACCOUNTS}/{owner}/keys/{days}", data)


@pytest.mark.parametrize(
    ("held", "state"),
    [
        ([], SATISFIED),
        ([key(90)], SATISFIED),
        ([key(91)], NOT_SATISFIED),
        ([key(1), key(200, owner=UNIQUE)], NOT_SATISFIED),
        ([key(200, keyType="SYSTEM_MANAGED")], SATISFIED),
        ([key(200, disabled=True)], SATISFIED),
        ([key(200, disabled=False)], NOT_SATISFIED),
        ([key(200, validBeforeTime=ago(1))], SATISFIED),
        ([key(200, validBeforeTime=ago(-1))], NOT_SATISFIED),
        ([key(200, keyOrigin="USER_PROVIDED")], NOT_SATISFIED),
        ([key(1, keyType="KEY_TYPE_UNSPECIFIED")], UNDETERMINED),
        ([key(1, keyType=None)], UNDETERMINED),
        ([key(1, validAfterTime=None)], UNDETERMINED),
        ([key(1, validBeforeTime="")], UNDETERMINED),
    ],
)
def test_keys_of_users_grow_old(held: list[Body], state: State) -> None:
    assert states(mfa_service_account_keys.CHECK, Fake([account(), *held])) == {UNIQUE: state}


def test_a_disabled_account_and_a_key_without_account() -> None:
    check = mfa_service_account_keys.CHECK
    assert states(check, Fake([account(disabled=True), key(200)])) == {UNIQUE: NOT_APPLICABLE}
    assert states(check, Fake([key(200, owner="lost@acme-prod.iam.gserviceaccount.com")])) == {
        "lost@acme-prod.iam.gserviceaccount.com": UNDETERMINED
    }
    assert states(check, Fake([account(), key(200)]), key_age_days_max=365) == {UNIQUE: SATISFIED}


# --- audit configs ---

ALL = ("ADMIN_READ", "DATA_READ", "DATA_WRITE")


def config(service: str, *kinds: str, exempt: Sequence[str] = ()) -> Body:
    more = {"exemptedMembers": list(exempt)} if exempt else {}
    return {"service": service, "auditLogConfigs": [{"logType": kind, **more} for kind in kinds]}


def audited(parent: str = TOP, ancestors: Sequence[str] = ANCESTORS, **configs: list[Body]) -> State:
    """The verdict of a project; ``configs`` are of its "project", "folder" and "organization"."""
    held = [project(ancestors)]
    places = {"project": ("Project", 0), "folder": ("Folder", 1), "organization": ("Organization", 2)}
    for noun, found in configs.items():
        kind, at = places[noun]
        policy = {"bindings": [], "etag": "BwY="} | ({"auditConfigs": found} if found else {})
        held.append(
            {
                "name": f"//{MANAGER}/{ancestors[at]}",
                "assetType": f"{MANAGER}/{kind}",
                "iamPolicy": policy,
                "ancestors": list(ancestors[at:]),
            }
        )
    return states(logging_audit_config.CHECK, Fake(held, parent=parent))[NUMBER]


def test_audit_configs_are_a_union_over_the_ancestors() -> None:
    assert audited(project=[config("allServices", *ALL)]) is SATISFIED
    assert audited(organization=[config("allServices", *ALL)], project=[]) is SATISFIED
    parts = {"organization": [config("allServices", "ADMIN_READ")], "folder": [config("allServices", "DATA_READ")]}
    assert audited(**parts, project=[config("allServices", "DATA_WRITE")]) is SATISFIED
    assert audited(**parts) is NOT_SATISFIED
    assert audited() is NOT_SATISFIED
    assert audited(project=[config("storage.googleapis.com", *ALL)]) is NOT_SATISFIED


def test_an_exemption_anywhere_exempts() -> None:
    whole, who = [config("allServices", *ALL)], ["user:ada@acme.example"]
    assert audited(project=whole, organization=[config("allServices", "DATA_READ", exempt=who)]) is NOT_SATISFIED
    assert audited(folder=whole, project=[config("storage.googleapis.com", "DATA_READ", exempt=who)]) is NOT_SATISFIED


def test_what_another_folder_sets_is_not_ours() -> None:
    other = {
        "name": f"//{MANAGER}/folders/1",
        "assetType": f"{MANAGER}/Folder",
        "iamPolicy": {"auditConfigs": [config("allServices", *ALL)]},
        "ancestors": ["folders/1", TOP],
    }
    assert states(logging_audit_config.CHECK, Fake([project(), other])) == {NUMBER: NOT_SATISFIED}


def test_what_lies_above_the_parent_is_unknown() -> None:
    whole = [config("allServices", *ALL)]
    assert audited(parent=FOLDER, folder=whole) is UNDETERMINED
    assert audited(parent=f"projects/{PROJECT}", project=whole) is UNDETERMINED
    alone = [f"projects/{NUMBER}"]
    assert audited(parent=f"projects/{PROJECT}", ancestors=alone, project=whole) is SATISFIED


@pytest.mark.parametrize(
    "odd",
    [
        config("allServices", *ALL, "LOG_TYPE_UNSPECIFIED"),
        config("", *ALL),
        {"service": "allServices"},
        {"auditLogConfigs": [{"logType": kind} for kind in ALL]},
        {"service": "allServices", "auditLogConfigs": [{}]},
    ],
)
def test_an_audit_config_that_is_not_understood_is_no_answer(odd: Body) -> None:
    assert audited(project=[config("allServices", *ALL), odd]) is UNDETERMINED


# --- sinks ---


def sink(owner: str = f"projects/{NUMBER}", ancestors: Sequence[str] = ANCESTORS, **members: Any) -> Body:
    data = {"name": "all", "destination": "storage.googleapis.com/acme-logs", "createTime": ago(99), **members}
    return asset("logging.googleapis.com/LogSink", f"{owner}/sinks/all", data, ancestors)


def of_folder(**members: Any) -> Body:
    return sink(FOLDER, [FOLDER, TOP], **members)


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (sink(), SATISFIED),
        (sink(filter=""), SATISFIED),
        (sink(filter=" \n"), SATISFIED),
        (sink(filter="severity>=ERROR"), NOT_SATISFIED),
        (sink(disabled=True), NOT_SATISFIED),
        (sink(disabled=False, exclusions=[]), SATISFIED),
        (sink(exclusions=[{"name": "noise", "filter": "severity<ERROR"}]), NOT_SATISFIED),
        (sink(exclusions=[{"name": "noise", "filter": "severity<ERROR", "disabled": True}]), SATISFIED),
        (of_folder(), NOT_SATISFIED),
        (of_folder(includeChildren=False), NOT_SATISFIED),
        (of_folder(includeChildren=True), SATISFIED),
        (of_folder(includeChildren=True, interceptChildren=True), SATISFIED),
        (of_folder(includeChildren=True, disabled=True), NOT_SATISFIED),
        (of_folder(includeChildren=True, filter="severity>=ERROR"), NOT_SATISFIED),
        (sink(TOP, [TOP], includeChildren=True), SATISFIED),
        (sink("folders/1", ["folders/1", TOP], includeChildren=True), NOT_SATISFIED),
        (sink("projects/2", ["projects/2", FOLDER, TOP]), NOT_SATISFIED),
        (sink(disabled="perhaps"), UNDETERMINED),
        (sink(destination=None), UNDETERMINED),
        (of_folder(includeChildren="some"), UNDETERMINED),
    ],
)
def test_a_sink_takes_all_or_is_none(one: Body, state: State) -> None:
    assert states(logging_sink.CHECK, Fake([project(), one])) == {NUMBER: state}


def test_one_whole_sink_is_enough_and_what_others_lack_is_said() -> None:
    filtered = sink(filter="severity>=ERROR")
    assert states(logging_sink.CHECK, Fake([project(), filtered, of_folder(includeChildren=True)])) == {
        NUMBER: SATISFIED
    }
    said = reason(logging_sink.CHECK, Fake([project(), filtered, of_folder()]))
    assert "sinks/all has a filter" in said
    assert "does not include children" in said


def test_a_sink_above_the_parent_may_be_there() -> None:
    assert states(logging_sink.CHECK, Fake([project()], parent=FOLDER)) == {NUMBER: UNDETERMINED}
    assert states(logging_sink.CHECK, Fake([project(), sink()], parent=FOLDER)) == {NUMBER: SATISFIED}
    assert states(logging_sink.CHECK, Fake([project()])) == {NUMBER: NOT_SATISFIED}


# --- log buckets ---


def bucket(name: str = "audit", without: str = "", **members: Any) -> Body:
    path = f"projects/{PROJECT}/locations/global/buckets/{name}"
    data = {"name": path, "retentionDays": 400, "lifecycleState": "ACTIVE", "locked": True, **members}
    data.pop(without, None)
    return asset("logging.googleapis.com/LogBucket", path.replace(PROJECT, NUMBER), data)


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (bucket(), SATISFIED),
        (bucket(retentionDays=365), SATISFIED),
        (bucket(retentionDays=364), NOT_SATISFIED),
        (bucket(locked=False), NOT_SATISFIED),
        (bucket(without="locked"), NOT_SATISFIED),
        (bucket("_Default", retentionDays=30, without="locked"), NOT_SATISFIED),
        (bucket("_Default"), SATISFIED),
        (bucket("_Required"), NOT_APPLICABLE),
        (bucket(lifecycleState="DELETE_REQUESTED"), NOT_SATISFIED),
        (bucket(lifecycleState="UPDATING"), SATISFIED),
        (bucket(without="retentionDays"), UNDETERMINED),
        (bucket(without="lifecycleState"), UNDETERMINED),
        (bucket(lifecycleState="LIFECYCLE_STATE_UNSPECIFIED"), UNDETERMINED),
        (bucket(retentionDays="long"), UNDETERMINED),
        (bucket(locked="tight"), UNDETERMINED),
    ],
)
def test_a_log_bucket_keeps_and_is_locked(one: Body, state: State) -> None:
    assert list(states(logging_bucket_retention.CHECK, Fake([one])).values()) == [state]


def test_the_retention_that_is_asked_is_a_limit() -> None:
    check, one = logging_bucket_retention.CHECK, bucket(retentionDays=90)
    assert states(check, Fake([one]), retention_days_min=90) == {"audit": SATISFIED}


# --- subnets ---


def subnet(**data: Any) -> Body:
    body = {"kind": "compute#subnetwork", "name": "apps", "ipCidrRange": "10.0.0.0/20", **data}
    return asset("compute.googleapis.com/Subnetwork", f"projects/{PROJECT}/regions/r/subnetworks/apps", body)


def logged(**config: Any) -> Body:
    return subnet(logConfig={"enable": True, **config})


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (logged(aggregationInterval="INTERVAL_5_SEC", flowSampling=0.5, metadata="INCLUDE_ALL_METADATA"), SATISFIED),
        (logged(), SATISFIED),
        (logged(flowSampling=1), SATISFIED),
        (logged(flowSampling=0.57), SATISFIED),
        (logged(flowSampling=0.49), NOT_SATISFIED),
        (logged(flowSampling=0), NOT_SATISFIED),
        (logged(filterExpr="true"), SATISFIED),
        (logged(filterExpr="false"), NOT_SATISFIED),
        (subnet(), NOT_SATISFIED),
        (subnet(enableFlowLogs=True), SATISFIED),
        (subnet(enableFlowLogs=True, logConfig={"enable": False}), NOT_SATISFIED),
        (subnet(logConfig={"aggregationInterval": "INTERVAL_5_SEC"}), NOT_SATISFIED),
        (subnet(purpose="PRIVATE"), NOT_SATISFIED),
        (subnet(purpose="REGIONAL_MANAGED_PROXY"), NOT_APPLICABLE),
        (subnet(purpose="PRIVATE_SERVICE_CONNECT"), NOT_APPLICABLE),
        (subnet(purpose="PRIVATE_NAT", logConfig={"enable": False}), NOT_APPLICABLE),
        (subnet(purpose="SOMETHING_NEW", logConfig={"enable": True}), UNDETERMINED),
        (logged(flowSampling="half"), UNDETERMINED),
        (logged(flowSampling=True), UNDETERMINED),
        (subnet(logConfig={"enable": "on"}), UNDETERMINED),
        (subnet(logConfig="on"), UNDETERMINED),
    ],
)
def test_a_subnet_of_machines_logs_its_flows(one: Body, state: State) -> None:
    assert states(logging_subnet_flow_logs.CHECK, Fake([one])) == {"apps": state}


def test_the_sample_that_is_asked_is_a_limit() -> None:
    check = logging_subnet_flow_logs.CHECK
    assert states(check, Fake([logged()]), sampling_percent_min=100) == {"apps": NOT_SATISFIED}


# --- alerts on changes ---

# CIS Google Cloud 2.4 to 2.11 in words of its own.
DELTA = "protoPayload.serviceData.policyDelta"
WANTED = {
    "project_ownership": (
        f'protoPayload.serviceName="{MANAGER}" AND (ProjectOwnership OR projectOwnerInvitee) OR '
        f'({DELTA}.bindingDeltas.action="REMOVE" AND {DELTA}.bindingDeltas.role="roles/owner") OR '
        f'({DELTA}.bindingDeltas.action="ADD" AND {DELTA}.bindingDeltas.role="roles/owner")'
    ),
    "audit_configuration": f'protoPayload.methodName="SetIamPolicy" AND {DELTA}.auditConfigDeltas:*',
    "custom_role": (
        'resource.type="iam_role" AND protoPayload.methodName=("google.iam.admin.v1.CreateRole" OR '
        '"google.iam.admin.v1.DeleteRole" OR "google.iam.admin.v1.UpdateRole")'
    ),
    "vpc_firewall_rule": 'resource.type="gce_firewall_rule" AND protoPayload.methodName:"compute.firewalls."',
    "vpc_network_route": (
        'resource.type="gce_route"\nprotoPayload.methodName:("compute.routes.delete" OR "compute.routes.insert")'
    ),
    "vpc_network": 'resource.type=gce_network AND protoPayload.methodName=~"^v1\\.compute\\.networks\\..*"',
    "bucket_permission": 'resource.type="gcs_bucket" AND protoPayload.methodName="storage.setIamPermissions"',
    "sql_instance_configuration": 'protoPayload.methodName="cloudsql.instances.update"',
}
NAMES = f"projects/{PROJECT}"


def metric(name: str = "m", query: Any = WANTED["vpc_firewall_rule"], **members: Any) -> Body:
    data = {"name": name, "filter": query, **members}
    return asset("logging.googleapis.com/LogMetric", f"projects/{NUMBER}/metrics/{name}", data)


def threshold(name: str = "m", **members: Any) -> Body:
    found = {
        "filter": f'metric.type="logging.googleapis.com/user/{name}" AND resource.type="global"',
        "comparison": "COMPARISON_GT",
        "duration": "0s",
        **members,
    }
    return {"displayName": name, "conditionThreshold": found}


def alert(*conditions: Body, without: str = "", **members: Any) -> Body:
    data = {
        "name": f"{NAMES}/alertPolicies/1",
        "combiner": "OR",
        "conditions": list(conditions) or [threshold()],
        "enabled": True,
        "notificationChannels": [f"{NAMES}/notificationChannels/2"],
        **members,
    }
    data.pop(without, None)
    return asset("monitoring.googleapis.com/AlertPolicy", data["name"], data)


def channel(without: str = "", **members: Any) -> Body:
    data = {"name": f"{NAMES}/notificationChannels/2", "type": "email", "enabled": True, **members}
    data.pop(without, None)
    return asset("monitoring.googleapis.com/NotificationChannel", f"{NAMES}/notificationChannels/2", data)


def alerted(*assets: Body, change: str = "vpc_firewall_rule") -> State:
    found = states(logging_metric_alerts.CHECK, Fake([project(), *assets]))
    assert set(found) == {f"{NUMBER}#{name}" for name in WANTED}
    return found[f"{NUMBER}#{change}"]


@pytest.mark.parametrize("change", WANTED)
def test_a_filter_is_read_by_its_meaning(change: str) -> None:
    found = states(logging_metric_alerts.CHECK, Fake([project(), metric(query=WANTED[change]), alert(), channel()]))
    assert found == {f"{NUMBER}#{name}": SATISFIED if name == change else NOT_SATISFIED for name in WANTED}


@pytest.mark.parametrize(
    "query",
    [
        'resource.type="gce_firewall_rule" AND protoPayload.methodName:"compute.firewalls.insert"',
        'resource.type="gce_firewall_rule" AND NOT protoPayload.methodName:"patch"',
        'resource.type="gce_firewall_rule" AND NOT protoPayload.authenticationInfo.principalEmail:"robot"',
        'resource.type="gce_firewall_rule" AND jsonPayload.event_subtype="compute.firewalls.insert"',
        'resource.type="gce_route"',
    ],
)
def test_a_filter_that_leaves_some_changes_out_does_not_count(query: str) -> None:
    assert alerted(metric(query=query), alert(), channel()) is NOT_SATISFIED


@pytest.mark.parametrize(
    ("assets", "state"),
    [
        ([metric(), alert(), channel()], SATISFIED),
        ([metric(disabled=True), alert(), channel()], NOT_SATISFIED),
        ([metric(bucketName=f"{NAMES}/locations/global/buckets/x"), alert(), channel()], NOT_SATISFIED),
        ([metric("other"), alert(), channel()], NOT_SATISFIED),
        ([metric(), channel()], NOT_SATISFIED),
        ([metric(), alert(enabled=False), channel()], NOT_SATISFIED),
        ([metric(), alert(validity={"code": 3, "message": "no such metric"}), channel()], NOT_SATISFIED),
        ([metric(), alert(without="notificationChannels"), channel()], NOT_SATISFIED),
        ([metric(), alert(notificationChannels=[f"{NAMES}/notificationChannels/9"]), channel()], NOT_SATISFIED),
        ([metric(), alert(), channel(enabled=False)], NOT_SATISFIED),
        ([metric(), alert(), channel(verificationStatus="UNVERIFIED")], NOT_SATISFIED),
        ([metric(), alert(), channel(verificationStatus="VERIFIED")], SATISFIED),
        ([metric(), alert()], NOT_SATISFIED),
        ([metric(), alert(threshold(thresholdValue=0)), channel()], SATISFIED),
        ([metric(), alert(threshold(thresholdValue=0.0)), channel()], SATISFIED),
        ([metric(), alert(threshold(thresholdValue=100)), channel()], NOT_SATISFIED),
        ([metric(), alert(threshold(comparison="COMPARISON_LT")), channel()], NOT_SATISFIED),
        ([metric(), alert(threshold("other"), threshold()), channel()], SATISFIED),
        ([metric(), alert(threshold("other"), threshold(), combiner="AND"), channel()], NOT_SATISFIED),
        ([metric(), alert(threshold(), threshold(), combiner="AND"), channel()], SATISFIED),
        ([metric(), alert({"conditionAbsent": threshold()["conditionThreshold"]}), channel()], NOT_SATISFIED),
        ([alert({"conditionMatchedLog": {"filter": WANTED["vpc_firewall_rule"]}}), channel()], SATISFIED),
        ([alert({"conditionMatchedLog": {"filter": WANTED["vpc_network"]}}), channel()], NOT_SATISFIED),
        ([metric(), alert(without="enabled"), channel()], UNDETERMINED),
        ([metric(), alert(without="conditions"), channel()], UNDETERMINED),
        ([metric(), alert(threshold(comparison="COMPARISON_NEW")), channel()], UNDETERMINED),
        ([metric(), alert(threshold("other"), threshold(), combiner="XOR"), channel()], UNDETERMINED),
        ([metric(), alert(), channel(without="enabled")], UNDETERMINED),
        ([metric(), alert(), channel(verificationStatus="PENDING")], UNDETERMINED),
        ([metric(query="resource.type=("), alert(), channel()], UNDETERMINED),
        ([metric(query=None), alert(), channel()], UNDETERMINED),
    ],
)
def test_a_change_is_counted_alerted_on_and_told(assets: list[Body], state: State) -> None:
    assert alerted(*assets) is state


@pytest.mark.parametrize(
    "query",
    [
        {"conditionMonitoringQueryLanguage": {"query": "fetch global | metric 'logging.googleapis.com/user/m' | ..."}},
        {"conditionPrometheusQueryLanguage": {"query": "sum(logging_googleapis_com:user_m) > 0"}},
    ],
)
def test_an_alert_by_a_query_is_not_judged_and_hides_no_other(query: Body) -> None:
    assert alerted(metric(), alert(query), channel()) is UNDETERMINED
    assert alerted(metric("other"), alert(query), channel()) is NOT_SATISFIED
    assert alerted(metric(), alert(query), alert(name=f"{NAMES}/alertPolicies/3"), channel()) is SATISFIED


# --- what Google once answered ---


def recordings() -> Path:
    root = Path(checks.__file__).parent.parent
    return Path(os.environ.get("COLLECTOR_RECORDED") or root.parent / "shared" / "recorded") / "gcp"


@cache
def recorded() -> tuple[tuple[str, Body], ...]:
    """Each recorded body of a kind that is judged here, with its asset type."""
    return tuple(_recorded())


def _recorded() -> Iterator[tuple[str, Body]]:
    lists = {
        "sinks": "logging.googleapis.com/LogSink",
        "metrics": "logging.googleapis.com/LogMetric",
        "accounts": "iam.googleapis.com/ServiceAccount",
    }
    kinds = {
        "-sinks-": "logging.googleapis.com/LogSink",
        "-subnetworks-": "compute.googleapis.com/Subnetwork",
        "-keys-2222": "iam.googleapis.com/ServiceAccountKey",
    }
    for file in sorted(recordings().glob("c7n/*/get-*.json")):
        body = json.loads(file.read_bytes()).get("body")
        if not isinstance(body, dict):
            continue
        for name, type in lists.items():
            yield from ((type, item) for item in body.get(name, []) if isinstance(item, dict))
        yield from ((type, body) for part, type in kinds.items() if part in file.name)
    assets = [a for file in recordings().glob("cai_policy_library/*.json") for a in json.loads(file.read_bytes())]
    for file in sorted(recordings().glob("cai_forseti/*.ndjson")):
        assets += [json.loads(line) for line in file.read_text().splitlines() if line]
    for one in assets:
        type = one.get("asset_type") or one.get("assetType")
        if type in (*lists.values(), *kinds.values()) and "resource" in one:
            yield type, one["resource"]["data"]
        if type.startswith(f"{MANAGER}/") and "iam_policy" in one:
            yield type, one["iam_policy"]


JUDGED: dict[str, tuple[AnyCheck, ...]] = {
    "logging.googleapis.com/LogSink": (logging_sink.CHECK,),
    "logging.googleapis.com/LogMetric": (logging_metric_alerts.CHECK,),
    "iam.googleapis.com/ServiceAccount": (mfa_service_account_keys.CHECK,),
    "iam.googleapis.com/ServiceAccountKey": (mfa_service_account_keys.CHECK,),
    "compute.googleapis.com/Subnetwork": (logging_subnet_flow_logs.CHECK,),
    f"{MANAGER}/Project": (logging_audit_config.CHECK,),
    f"{MANAGER}/Folder": (logging_audit_config.CHECK,),
    f"{MANAGER}/Organization": (logging_audit_config.CHECK,),
}
# Members whose absence is documented to be no limit: a sink without a filter takes all. A key that is gone is gone.
MEANT = {("LogSink", "filter"), ("LogSink", "disabled"), ("LogSink", "exclusions"), ("Subnetwork", "purpose")}


def seen(type: str, body: Body) -> set[State | None]:
    """What is said of one recorded body; None for a run without population, which says why."""
    noun = type.partition("/")[2]
    around = [project(), account(), alert(threshold("test-metric-1")), channel()]
    if type.startswith(MANAGER):
        at = ("Project", "Folder", "Organization").index(noun)
        name = f"//{MANAGER}/{ANCESTORS[at]}"
        around.append({"name": name, "assetType": type, "iamPolicy": body, "ancestors": ANCESTORS[at:]})
    elif noun == "ServiceAccountKey":
        around.append(asset(type, f"{ACCOUNTS}/{EMAIL}/keys/2222", body))
    else:
        around = [one for one in around if one["assetType"] != type]
        around.append(asset(type, f"{noun}/recorded", body))
    found: set[State | None] = set()
    for check in JUDGED[type]:
        done = looked(check, Fake(around))
        assert done.failure != "crashed", done.reason
        if done.population is None:
            assert done.reason
            found.add(None)
        found |= {observation.verdict.state for observation in done.observations}
    return found


@pytest.mark.skipif(not recordings().is_dir(), reason="no recorded answers; name their folder in COLLECTOR_RECORDED")
@pytest.mark.parametrize("type", JUDGED)
def test_what_google_once_answered_is_read_or_refused_and_never_good_by_absence(type: str) -> None:
    bodies = [body for kind, body in recorded() if kind == type]
    assert bodies, f"nothing recorded of {type}"
    for body in bodies:
        whole = seen(type, body)
        assert whole
        for member in body:
            less = {key: value for key, value in body.items() if key != member}
            if (type.partition("/")[2], member) not in MEANT and SATISFIED not in whole:
                assert SATISFIED not in seen(type, less), member
            seen(type, {**body, member: None})
            seen(type, {**body, member: "gibberish"})


@pytest.mark.skipif(not recordings().is_dir(), reason="no recorded answers; name their folder in COLLECTOR_RECORDED")
def test_a_recorded_sink_a_metric_and_a_subnet_are_judged_as_they_are() -> None:
    found = [(type, seen(type, body), body) for type, body in recorded()]
    sinks = {body["name"]: said for type, said, body in found if type.endswith("/LogSink")}
    assert sinks["storage"] == {SATISFIED}
    assert sinks["_Required"] == {NOT_SATISFIED}
    assert {frozenset(said) for type, said, _ in found if type.endswith("/Subnetwork")} >= {
        frozenset({SATISFIED}),
        frozenset({NOT_SATISFIED}),
    }
    owners = next(body for type, _, body in found if type.endswith("/LogMetric"))
    run = states(logging_metric_alerts.CHECK, Fake([project(), metric("m", owners["filter"]), alert(), channel()]))
    assert [name for name, state in run.items() if state is SATISFIED] == [f"{NUMBER}#project_ownership"]
    assert {state for _, said, _ in found for state in said} >= {SATISFIED, NOT_SATISFIED, None}


def recorded_policies() -> list[tuple[str, Body, list[Body]]]:
    """Each recorded answer of policies.list: the file's name, its units by id, and the policies."""
    found = []
    for file in sorted(recordings().glob("workspace_scubagoggles/policyapi_*.json")):
        body = json.loads(file.read_bytes())
        answers = body.get("responses", [body["response"]] if "response" in body else [])
        rows = [row for answer in answers for row in answer.get("policies", [])]
        if rows and "orgunits" in body:
            found.append((file.stem, body["orgunits"], rows))
    return found


@pytest.mark.skipif(not recordings().is_dir(), reason="no recorded answers; name their folder in COLLECTOR_RECORDED")
def test_recorded_policies_of_other_settings_enforce_nothing_and_as_enforcement_are_read_or_refused() -> None:
    cases = recorded_policies()
    assert cases
    for name, units, rows in cases:
        listed = [{"orgUnitId": f"id:{id}", "orgUnitPath": one.get("path", "/")} for id, one in units.items()]
        pages = {UNITS: [{"organizationUnits": listed}], POLICIES: [{"policies": rows}]}
        noise = looked(mfa_orgunit_2sv_enforcement.CHECK, Fake(pages=pages, project=""))
        assert {o.verdict.state for o in noise.observations} == {NOT_SATISFIED}, name
        as_ours = deepcopy(rows)
        for row in as_ours:
            row["setting"] = policy("/", OFF, 1)["setting"]
        pages[POLICIES] = [{"policies": as_ours}]
        found = looked(mfa_orgunit_2sv_enforcement.CHECK, Fake(pages=pages, project=""))
        assert found.failure != "crashed", found.reason
        assert {o.verdict.state for o in found.observations} <= {NOT_SATISFIED, UNDETERMINED}, name
