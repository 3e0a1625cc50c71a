"""What the simulated tenant says, held to Microsoft's own definitions and to answers recorded from Azure."""

from __future__ import annotations

import copy
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from collector.demo.azure import estate
from collector.demo.azure.world import ANALYTICS, PRODUCTION, STAGING, World

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "tests" / "schemas" / "azure"
RECORDED = Path(os.environ.get("COLLECTOR_RECORDED") or ROOT.parent / "shared" / "recorded") / "azure"
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
PRIVATE = {  # members of ours that no answer shows
    "/groups": "members",
    "/directoryRoles": "members",
}
ACCOUNTS, DISKS = "microsoft.storage/storageaccounts", "microsoft.compute/disks"
MACHINES, SITES = "microsoft.compute/virtualmachines", "microsoft.web/sites"

Body = dict[str, Any]


def filled(seed: int = 7, scale: int = 1, now: datetime = NOW) -> World:
    world = World(lambda: now, seed=seed)
    estate.populate(world, scale)
    return world


@pytest.fixture(scope="module")
def world() -> World:
    found = filled(scale=2)
    estate.populate_subscription(found, ANALYTICS, "acme-analytics")
    return found


@cache
def kinds() -> list[str]:
    return sorted(filled().by_kind)


def bodies(world: World, kind: str) -> Iterator[tuple[str, Body]]:
    for id, _ in world.each(kind):
        body = world.find(id)
        assert body is not None
        yield id, body


# --- Microsoft's definitions ---


@cache
def schemas() -> dict[str, Draft202012Validator]:
    """By type of Azure Resource Manager, table of Resource Graph, and collection of Microsoft Graph."""
    found: dict[str, Draft202012Validator] = {}
    for file in SCHEMAS.glob("*.json"):
        document = json.loads(file.read_text())
        for name, schema in document["types"].items():
            found[name] = Draft202012Validator({"$defs": document["$defs"], "$ref": f"#/$defs/{schema}"})
    return found


def answered(kind: str, body: Body) -> Body:
    """A stored body as its API answers it, in the letters of the definitions."""
    shown = {name: value for name, value in body.items() if name != PRIVATE.get(kind)}
    if kind == MACHINES:  # this part is in Resource Graph only
        shown["properties"] = {name: value for name, value in shown["properties"].items() if name != "extended"}
    elif kind == "patchassessmentresources":  # there is a definition of what a row tells, and none of the row
        return dict(shown["properties"])
    elif kind == "securityresources":  # Resource Graph begins these members with a capital, and has one more
        details = {name.lower(): value for name, value in shown["properties"]["resourceDetails"].items()}
        assert details.pop("resourceid") == details["id"]
        shown["properties"] = {**shown["properties"], "resourceDetails": details}
    return shown


def wrong(kind: str, body: Body) -> list[str]:
    return [f"{error.json_path}: {error.message[-200:]}" for error in schemas()[kind].iter_errors(answered(kind, body))]


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind != "subscription"])
def test_every_object_is_what_microsofts_definition_says(world: World, kind: str) -> None:
    found = list(bodies(world, kind))
    assert found
    for id, body in found:
        assert wrong(kind, body) == [], id


@pytest.mark.parametrize(
    ("kind", "path", "value", "says"),
    [
        (ACCOUNTS, "properties.minimumTlsVersion", "TLS1_9", "TLS1_9"),
        (ACCOUNTS, "properties.supportsHttpsTrafficOnly", "true", "boolean"),
        (ACCOUNTS, "properties.minTlsVersion", "TLS1_2", "minTlsVersion"),
        (DISKS, "properties.encryption.typ", "x", "typ"),
        (DISKS, "properties.diskSizeGB", "64", "integer"),
        (MACHINES, "properties.osProfile.linuxConfiguration.patchSettings.patchMode", "Nightly", "Nightly"),
        ("microsoft.cache/redis", "properties.sku.size", "C1", "size"),
        ("microsoft.security/pricings", "properties.pricingTier", "standard", "standard"),
        ("microsoft.insights/diagnosticsettings", "properties.logs.0.enabled", "yes", "boolean"),
        ("microsoft.sql/servers/databases/transparentdataencryption", "properties.status", "Enabled", "status"),
        ("/users", "accountEnabled", "true", "boolean"),
        ("/identity/conditionalAccess/policies", "state", "on", "on"),
        ("/identity/conditionalAccess/policies", "grantControls.builtInControls.0", "otp", "otp"),
        ("patchassessmentresources", "properties.availablePatchCountByClassification.moderate", 1, "moderate"),
    ],
)
def test_the_definitions_refuse_what_microsoft_would_not_say(kind: str, path: str, value: Any, says: str) -> None:
    own = filled()
    id, before = next(iter(bodies(own, kind)))
    assert wrong(kind, before) == []
    own.edit(id, path, value)
    after = own.find(id)
    assert after is not None
    found = wrong(kind, after)
    assert any(says in each for each in found), found


# --- the estate in itself ---


def test_resources_are_kept_under_their_own_id_and_type(world: World) -> None:
    for id, item in world.items.items():
        body = item.now
        assert body is not None
        if not id.startswith("/subscriptions/") or "/providers/" not in id:
            continue
        if item.kind.endswith("/kubernetesversions"):  # one object without an id
            assert set(body) == {"values"}
            continue
        assert body["id"].lower() == id
        assert body["type"].lower() == item.kind
        parts = id.rpartition("/providers/")[2].split("/")
        assert "/".join([parts[0], *parts[1::2]]) == item.kind
        if not item.kind.endswith("/config"):  # called after its site
            assert body["name"].lower().endswith(parts[-1])


def test_about_150_resources_stand_by_themselves_and_a_scale_repeats_most(world: World) -> None:
    counts = [Counter(item.kind for item in filled(scale=n).items.values()) for n in (1, 2, 3)]
    own = [sum(count for kind, count in each.items() if kind.count("/") == 1 and kind[0] != "/") for each in counts]
    assert 130 <= own[0] <= 200
    assert own[2] - own[1] == own[1] - own[0] > 60
    for kind in (ACCOUNTS, DISKS, MACHINES, "microsoft.keyvault/vaults", "microsoft.sql/servers", "/users"):
        assert counts[1][kind] - counts[0][kind] == counts[2][kind] - counts[1][kind] > 0


def test_a_seed_chooses_ids_and_nothing_else() -> None:
    one, same, other = filled(seed=7), filled(seed=7), filled(seed=8)
    assert {id: item.now for id, item in one.items.items()} == {id: item.now for id, item in same.items.items()}
    assert {kind: len(ids) for kind, ids in one.by_kind.items()} == {k: len(ids) for k, ids in other.by_kind.items()}
    for kind in (ACCOUNTS, "microsoft.sql/servers", SITES, "microsoft.security/pricings"):
        for id, body in bodies(one, kind):
            found = other.find(id)
            assert found is not None
            assert said(found) == said(body)


def said(value: Any) -> Any:
    """A value without numbers and texts in which there are digits of chance."""
    if isinstance(value, dict):
        return {name: said(member) for name, member in value.items()}
    if isinstance(value, list):
        return [said(member) for member in value]
    return None if isinstance(value, str) and re.search(r"[0-9a-fA-F]{8}|\d\d\.\d|\.z\d+\.web|T\d\d:", value) else value


def test_the_story_finds_what_it_points_at(world: World) -> None:
    account = world.require(estate.ACCOUNT_ID.lower())
    assert account["name"] == "acmeinvoices"
    assert account["properties"]["minimumTlsVersion"] == "TLS1_2"
    policy = world.require(estate.MFA_POLICY_ID)
    assert (policy["displayName"], policy["state"]) == ("Require multifactor authentication for all users", "enabled")
    names = [body["displayName"] for _, body in world.subscriptions()]
    assert names == ["acme-production", "acme-staging", "acme-analytics"]
    assert [id for id, _ in world.subscriptions()] == [PRODUCTION, STAGING, ANALYTICS]


def test_what_refers_to_something_refers_to_what_is_there(world: World) -> None:
    """Every id of a resource or of an object of the directory within a body; interfaces of machines are left out,
    and the workspace that somebody deleted though logs are still sent to it."""
    missing: set[str] = set()
    objects = {
        str(item.now["id"]) for id, item in world.items.items() if id[0] == "/" and item.now and "id" in item.now
    }
    for kind in world.by_kind:
        for id, body in bodies(world, kind):
            for path, text in texts(body):
                low = text.lower()
                if low.startswith("/subscriptions/") and "/providers/" in low and not _elsewhere(low):
                    known = low in world.items or _within_a_body(world, low) or "graph row:" + kind + ":" + low == id
                    missing |= set() if known else {f"{kind}{path}: {text}"}
                elif kind[0] == "/" and path.endswith(MEMBERS) and "-" in text and text not in objects:
                    missing.add(f"{kind}{path}: {text}")
    assert missing == set()


MEMBERS = (".members[]", ".principalId", ".roleDefinitionId", "Users[]", "Groups[]", ".includeRoles[]")


def _elsewhere(low: str) -> bool:
    """Whether an id is of a kind that the estate does not hold, or of a part of one."""
    parts = low.rpartition("/providers/")[2].split("/")
    below = ("authorizationrules", "defaultsecurityrules", "patchassessmentresults", "securityrules")
    return parts[1] in ("networkinterfaces", "locations") or parts[-2] in below or low.endswith("/log-acme-old")


def _within_a_body(world: World, low: str) -> bool:
    """Subnets are parts of their network."""
    network, _, subnet = low.partition("/subnets/")
    found = world.find(network)
    return bool(subnet and found and any(each["name"] == subnet for each in found["properties"]["subnets"]))


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from texts(member, f"{path}.{name}")
    elif isinstance(value, list):
        for member in value:
            yield from texts(member, f"{path}[]")
    elif isinstance(value, str):
        yield path, value


def test_moving_times_stay_fresh_and_everything_else_stays() -> None:
    clock = [NOW]
    own = World(lambda: clock[0], seed=7)
    estate.populate(own, 1)
    before = {id: own.find(id) for id in own.items}
    clock[0] = datetime(2026, 4, 5, 12, tzinfo=UTC)
    changed = {path for id in own.items for path in _differences(before[id], own.find(id), "")}
    assert changed == {
        "lastUpdatedDateTime",
        "properties.attributes.created",
        "properties.attributes.exp",
        "properties.attributes.updated",
        "properties.backup.earliestRestoreDate",
        "properties.earliestRestoreDate",
        "properties.lastModifiedDateTime",
        "properties.lastStatusChange",
        "properties.startDateTime",
        "properties.workspaceCapping.quotaNextResetTime",
    }
    for _, body in bodies(own, "patchassessmentresources"):
        assert body["properties"]["lastModifiedDateTime"] == "2026-04-05T07:00:00.000Z"
    for _, body in bodies(own, "microsoft.keyvault/vaults/keys"):
        attributes = body["properties"]["attributes"]
        if attributes["enabled"] and "exp" in attributes:
            assert attributes["created"] < clock[0].timestamp() < attributes["exp"]


def _differences(one: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in one:
            yield from _differences(one[key], other[key], f"{path}.{key}".lstrip("."))
    elif one != other:
        yield path


# --- answers recorded from Azure ---

Shapes = dict[tuple[str, str], set[str]]  # (kind, path) -> the JSON types that were seen there
MAPS = frozenset(("tags", "userAssignedIdentities"))  # names of the customer, not of Microsoft
# Types whose recordings are of versions of the API that had members which went since.
OLDER = frozenset(
    (
        "microsoft.dbformysql/flexibleservers",
        "microsoft.sql/servers/databases",
        "microsoft.sql/servers/databases/transparentdataencryption",
    )
)


def json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    names: dict[type, str] = {str: "string", dict: "object", list: "array"}
    return names.get(type(value), "null")


def members(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every member below an object with its JSON type; all items of a list share a path."""
    if isinstance(value, dict):
        for key, member in value.items():
            below = f"{path}.{key}"
            yield below, json_type(member)
            if key not in MAPS:
                yield from members(member, below)
    elif isinstance(value, list):
        for item in value:
            if not isinstance(item, dict):
                yield f"{path}[]", json_type(item)
            yield from members(item, f"{path}[]")


@cache
def recorded() -> dict[str, list[Body]]:
    """The recorded resources by type."""
    found: dict[str, list[Body]] = {}
    for file in sorted(RECORDED.glob("*.json")):
        for each in _resources(json.loads(file.read_text())):
            found.setdefault(each["type"].lower(), []).append(each)
    return found


def _resources(value: Any) -> Iterator[Body]:
    if isinstance(value, dict):
        id, type = value.get("id"), value.get("type")
        if isinstance(id, str) and isinstance(type, str) and value.get("properties"):
            yield value
        elif isinstance(id, str) and "/microsoft.insights/diagnosticSettings/" in id:  # these had no type
            yield {**value, "type": "microsoft.insights/diagnosticSettings"}
        for member in value.values():
            yield from _resources(member)
    elif isinstance(value, list):
        for member in value:
            yield from _resources(member)


@cache
def shapes() -> Shapes:
    found: Shapes = {}
    for kind, known in recorded().items():
        for each in known:
            for path, type in members(each):
                if type != "null":
                    found.setdefault((kind, path), set()).add(type)
    return found


def differing(kind: str, body: Body) -> list[str]:
    """The members whose type differs from every recording of that member."""
    return [
        f"{path} is {type}, recorded as {', '.join(sorted(seen))}"
        for path, type in members(body)
        if type != "null" and (seen := shapes().get((kind, path))) and type not in seen
    ]


def outer(body: Body) -> set[str]:
    """The members of a resource and of its properties."""
    return {*body, *(f"properties.{name}" for name in body["properties"])}


def defined(kind: str) -> set[str]:
    """The members of a resource and of its properties that Microsoft's definition has."""
    schema = schemas()[kind].schema
    definitions = schema["$defs"]

    def resolved(part: Body) -> Body:
        found: Body = definitions[part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        return found

    whole = resolved(schema)["properties"]
    return {*whole, *(f"properties.{name}" for name in resolved(whole["properties"])["properties"])}


needs_recordings = pytest.mark.skipif(
    not RECORDED.is_dir(), reason=f"no recorded answers in {RECORDED}; name their folder in COLLECTOR_RECORDED"
)
COMPARED = sorted(set(kinds()) & recorded().keys()) or ["nothing"]


@needs_recordings
def test_most_types_that_carry_evidence_were_recorded() -> None:
    assert {ACCOUNTS, DISKS, MACHINES, SITES, "microsoft.insights/diagnosticsettings"} <= set(COMPARED)
    assert len(COMPARED) >= 15


@needs_recordings
@pytest.mark.parametrize("kind", COMPARED)
def test_no_member_has_another_type_than_azure_was_recorded_with(world: World, kind: str) -> None:
    compared = 0
    for id, body in bodies(world, kind):
        assert differing(kind, body) == [], id
        compared += sum((kind, path) in shapes() for path, _ in members(body))
    assert compared > 0


@needs_recordings
@pytest.mark.parametrize("kind", [kind for kind in COMPARED if kind not in OLDER])
def test_no_member_is_missing_that_azure_always_answers_and_defines(world: World, kind: str) -> None:
    always = set.intersection(*(outer(each) for each in recorded()[kind])) & defined(kind)
    assert {"id", "name", "properties"} <= always
    for id, body in bodies(world, kind):
        assert always - outer(body) == set(), id


@needs_recordings
def test_a_member_of_another_type_would_be_found(world: World) -> None:
    _, body = next(bodies(world, DISKS))
    changed = copy.deepcopy(body)
    changed["properties"]["diskSizeGB"] = "64"
    assert differing(DISKS, changed) == [".properties.diskSizeGB is string, recorded as number"]
