"""What the simulated Google organisation says, held to Google's own definitions and to answers recorded from Google."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from collector.demo.gcp.bed import GcpBed

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "tests" / "schemas" / "gcp"
RECORDED = Path(os.environ.get("COLLECTOR_RECORDED") or ROOT.parent / "shared" / "recorded") / "gcp"
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
WORKSPACE = {
    "admin#directory#user": "directory.users.get",
    "admin#directory#orgUnit": "directory.orgunits.list",
    "admin#reports#usageReport": "reports.userUsageReport.get",
    "cloudidentity#policy": "cloudidentity.policies.list",
}
WITHIN = {
    "directory.orgunits.list": "organizationUnits",
    "reports.userUsageReport.get": "usageReports",
    "cloudidentity.policies.list": "policies",
}


@pytest.fixture(scope="module")
def bed() -> GcpBed:
    return GcpBed(seed=7, scale=2, clock=lambda: NOW)


@cache
def schemas() -> dict[str, Draft202012Validator]:
    """By asset type and by method."""
    found: dict[str, Draft202012Validator] = {}
    for file in SCHEMAS.glob("*.json"):
        document = json.loads(file.read_text())
        for table in ("types", "answers"):
            for name, schema in document[table].items():
                found[name] = Draft202012Validator({"$defs": document["$defs"], "$ref": f"#/$defs/{schema}"})
    return found


def kinds() -> list[str]:
    return sorted(GcpBed(seed=7, scale=1, clock=lambda: NOW).world.by_kind)


def wrong(validator: Draft202012Validator, value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)]


@pytest.mark.parametrize("kind", kinds())
def test_every_object_is_what_googles_definition_says(bed: GcpBed, kind: str) -> None:
    found = bed.resources(kind)
    assert found
    for id in found:
        body = bed.show(id)
        if kind in WORKSPACE:
            method = WORKSPACE[kind]
            body.pop("since", None)  # ours, never answered
            whole = {WITHIN[method]: [body]} if method in WITHIN else body
            assert wrong(schemas()[method], whole) == [], id
        else:
            assert wrong(schemas()[kind], body["resource"]["data"]) == [], id
            assert wrong(schemas()["cloudasset.assets.list"], {"assets": [body]}) == [], id


@pytest.mark.parametrize(
    ("kind", "path", "value", "says"),
    [
        ("compute.googleapis.com/Disk", "resource.data.sizeGB", "50", "sizeGB"),
        ("compute.googleapis.com/SslPolicy", "resource.data.minTlsVersion", "TLS_0_9", "TLS_0_9"),
        ("sqladmin.googleapis.com/Instance", "resource.data.settings.ipConfiguration.requireSsl", "true", "boolean"),
        ("container.googleapis.com/Cluster", "resource.data.releaseChannel.channel", 2, "string"),
    ],
)
def test_the_definitions_refuse_what_google_would_not_say(
    bed: GcpBed, kind: str, path: str, value: Any, says: str
) -> None:
    other = GcpBed(seed=7, scale=1, clock=lambda: NOW)
    id = other.resources(kind)[0]
    other.edit(id, path, value)
    found = wrong(schemas()[kind], other.show(id)["resource"]["data"])
    assert any(says in each for each in found), found


def test_every_name_begins_with_its_service_and_ends_its_ancestors_at_the_organisation(bed: GcpBed) -> None:
    for kind in bed.world.by_kind:
        if "#" in kind:
            continue
        host = {"sqladmin": "cloudsql"}.get(kind.partition(".")[0], kind.partition(".")[0])
        for id in bed.resources(kind):
            body = bed.show(id)
            assert id == body["name"]
            assert id.startswith(f"//{host}.googleapis.com/")
            assert body["assetType"] == kind
            assert body["ancestors"][-1] == "organizations/461203958147"


def test_moving_times_stay_fresh_and_everything_else_stays(bed: GcpBed) -> None:
    clock = [NOW]
    own = GcpBed(seed=7, scale=1, clock=lambda: clock[0])
    ids = [id for kind in own.world.by_kind for id in own.resources(kind)]
    before = {id: own.show(id) for id in ids}
    clock[0] = datetime(2026, 4, 5, 12, tzinfo=UTC)
    after = {id: own.show(id) for id in ids}
    changed = {path for id in ids for path in _differences(before[id], after[id], "")}
    assert "osInventory.updateTime" in changed
    assert changed <= {
        "date",
        "lastLoginTime",
        "osInventory.items.*.createTime",
        "osInventory.items.*.updateTime",
        "osInventory.updateTime",
        "resource.data.expireTime",
        "resource.data.nextRotationTime",
        "resource.data.primary.createTime",
        "resource.data.primary.generateTime",
        "resource.data.updateTime",
        "resource.data.validAfterTime",
        "resource.data.validBeforeTime",
        "setting.value.enforcedFrom",
    }
    machine = own.show("//compute.googleapis.com/projects/acme-prod/zones/us-central1-a/instances/web-1")
    assert machine["osInventory"]["updateTime"] == "2026-04-05T10:00:00.000Z"


def _differences(one: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in one:
            name = "*" if path == "osInventory.items" else key
            yield from _differences(one[key], other[key], f"{path}.{name}".lstrip("."))
    elif one != other:
        yield path


# --- answers recorded from Google ---

KINDS_OF_FLIGHTS = {
    "compute#disk": "compute.googleapis.com/Disk",
    "compute#forwardingRule": "compute.googleapis.com/GlobalForwardingRule",
    "compute#instance": "compute.googleapis.com/Instance",
    "compute#sslCertificate": "compute.googleapis.com/SslCertificate",
    "compute#subnetwork": "compute.googleapis.com/Subnetwork",
    "compute#targetHttpProxy": "compute.googleapis.com/TargetHttpProxy",
    "compute#targetHttpsProxy": "compute.googleapis.com/TargetHttpsProxy",
    "compute#targetSslProxy": "compute.googleapis.com/TargetSslProxy",
    "compute#urlMap": "compute.googleapis.com/UrlMap",
    "sql#instance": "sqladmin.googleapis.com/Instance",
    "bigquery#dataset": "bigquery.googleapis.com/Dataset",
    "storage#bucket": "storage.googleapis.com/Bucket",
}
Shapes = dict[tuple[str, str], set[str]]  # (kind, path) -> the JSON types that were seen there
MAPS = frozenset(("labels", "metadata", "resourceLabels", "domainStatus"))  # names of the customer, not of Google


def json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", dict: "object", list: "array"}.get(type(value), "null")


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
def recorded() -> Shapes:
    found: Shapes = {}

    def learn(kind: str, data: Any) -> None:
        for path, type in members(data):
            if type != "null":
                found.setdefault((kind, path), set()).add(type)

    assets = [a for file in RECORDED.glob("cai_policy_library/*.json") for a in json.loads(file.read_text())]
    for file in RECORDED.glob("cai_forseti/*.ndjson"):
        assets += [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    for asset in assets:
        kind = asset.get("asset_type") or asset.get("assetType")
        if "data" in asset.get("resource", {}):
            learn(kind, asset["resource"]["data"])
    for file in RECORDED.glob("c7n/*/*.json"):
        body = json.loads(file.read_text()).get("body")
        for each in _objects(body):
            if each.get("kind") in KINDS_OF_FLIGHTS:
                learn(KINDS_OF_FLIGHTS[each["kind"]], each)
        if isinstance(body, dict):
            for item, kind in (
                ("sinks", "logging.googleapis.com/LogSink"),
                ("clusters", "container.googleapis.com/Cluster"),
                ("nodePools", "container.googleapis.com/NodePool"),
                ("cryptoKeys", "cloudkms.googleapis.com/CryptoKey"),
                ("keyRings", "cloudkms.googleapis.com/KeyRing"),
                ("alertPolicies", "monitoring.googleapis.com/AlertPolicy"),
            ):
                for each in body.get(item, []):
                    learn(kind, each)
    for file in RECORDED.glob("workspace_scubagoggles/*.json"):
        for each in _objects(json.loads(file.read_text())):
            if {"policyQuery", "setting"} <= each.keys():
                learn("cloudidentity#policy", {key: value for key, value in each.items() if key != "setting"})
    return found


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from _objects(member)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def differing(kind: str, data: dict[str, Any]) -> list[str]:
    """The members whose type differs from every recording of that member."""
    return [
        f"{path} is {type}, recorded as {', '.join(sorted(seen))}"
        for path, type in members(data)
        if (seen := recorded().get((kind, path))) and type not in seen
    ]


needs_recordings = pytest.mark.skipif(
    not RECORDED.is_dir(), reason=f"no recorded answers in {RECORDED}; name their folder in COLLECTOR_RECORDED"
)


@needs_recordings
@pytest.mark.parametrize("kind", kinds())
def test_no_member_has_another_type_than_google_was_recorded_with(bed: GcpBed, kind: str) -> None:
    if not any(name == kind for name, _ in recorded()):
        pytest.skip(f"nobody recorded a {kind}")
    compared = 0
    for id in bed.resources(kind):
        body = bed.show(id)
        data = body["resource"]["data"] if "resource" in body else {k: v for k, v in body.items() if k != "setting"}
        assert differing(kind, data) == [], id
        compared += sum((kind, path) in recorded() for path, _ in members(data))
    assert compared > 0


@needs_recordings
def test_a_member_of_another_type_would_be_found(bed: GcpBed) -> None:
    id = bed.resources("compute.googleapis.com/Disk")[0]
    data = copy.deepcopy(bed.show(id)["resource"]["data"])
    data["sizeGb"] = 50
    assert differing("compute.googleapis.com/Disk", data) == [".sizeGb is number, recorded as string"]
