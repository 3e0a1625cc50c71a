"""Planned parts against what two sources show: differences named, refusals no empty lists, no source no agreement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collector import canonical
from collector.errors import StoreError
from collector.export.dossier import Reconciled
from collector.export.reconcile import DESCENDANTS, FOLDER, PROJECT, RESOURCE_GRAPH, Reconciler

START = datetime(2026, 1, 1, 6, tzinfo=UTC)
TENANT = "3f6c2a7e-9d41-4c0a-8a53-1b2d7e9f0a11"
AZURE, AWS, GCP = f"azure/{TENANT}", "aws/123456789012", "gcp/organizations-461203958147"
ORGANIZATION = "organizations/461203958147"
QUERY = "resourcecontainers | where type =~ 'microsoft.resources/subscriptions' | project id"


class World:
    """Answers by digest, and looks at them an hour apart."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.reconciler = Reconciler(self.body)
        self.hours = 0

    def body(self, digest: str) -> bytes:
        if digest not in self.blobs:
            raise StoreError(f"the payload {digest} has expired")
        return self.blobs[digest]

    def call(self, operation: str, body: Any, **more: Any) -> dict[str, Any]:
        data = canonical.payload(body)
        self.blobs[canonical.digest(data)] = data
        return {"operation": operation, "params": {}, "body": canonical.digest(data), **more}

    def plan(self, account: str, *parts: str) -> None:
        self.reconciler.plan({"account": account, "parts": list(parts)})

    def look(self, account: str, *calls: dict[str, Any]) -> None:
        self.hours += 1
        run = {"account": account, "seq": self.hours, "calls": f"log {self.hours}"}
        self.reconciler.look(run, START + timedelta(hours=self.hours), calls)

    def lines(self, account: str) -> list[Reconciled]:
        return [line for line in self.reconciler.lines() if line.account == account]


@pytest.fixture
def world() -> World:
    return World()


def regions(world: World, *names: str, **more: Any) -> dict[str, Any]:
    return world.call("ec2:DescribeRegions", {"Regions": [{"RegionName": name} for name in names]}, **more)


def subscriptions(world: World, *ids: str, **states: str) -> dict[str, Any]:
    rows = [{"subscriptionId": id.upper(), "tenantId": TENANT, "state": states.get(id, "Enabled")} for id in ids]
    return world.call("GET /subscriptions", {"value": rows})


def containers(world: World, *ids: str) -> dict[str, Any]:
    params = {"body": {"query": QUERY}}
    return world.call(RESOURCE_GRAPH, {"data": [{"subscriptionId": id} for id in ids]}, params=params)


def projects(world: World, kind: str, *ids: str, **states: str) -> dict[str, Any]:
    if kind == "managed":
        rows = [{"projectId": id, "state": states.get(id, "ACTIVE"), "parent": ORGANIZATION} for id in ids]
        rows.append({"projectId": "of-somebody-else", "state": "ACTIVE", "parent": "organizations/9"})
        return world.call("GET /v3/projects:search", {"projects": rows})
    assets = [{"resource": {"data": {"projectId": id, "lifecycleState": states.get(id, "ACTIVE")}}} for id in ids]
    params = {"assetTypes": PROJECT, "contentType": "RESOURCE"}
    return world.call(f"GET /v1/{ORGANIZATION}/assets", {"assets": assets}, params=params)


# --- AWS ---


def test_regions_have_one_source_and_agree_or_not(world: World) -> None:
    world.plan(AWS, "eu-west-1")
    world.look(AWS, regions(world, "eu-west-1", "us-east-1"))
    world.plan(AWS, "eu-west-1", "us-east-1")
    world.look(AWS, regions(world, "us-east-1", "eu-west-1"))
    world.look(AWS, regions(world, "eu-west-1", "us-east-1"))
    first, then = world.lines(AWS)
    assert (first.planned, first.counted, first.second, first.agree, first.looks) == (
        1,
        2,
        "no second source",
        False,
        1,
    )
    assert first.difference == "us-east-1: in ec2:DescribeRegions, not planned"
    assert (then.agree, then.difference, then.looks) == (True, "", 2)
    assert (then.since, then.last) == (START + timedelta(hours=2), START + timedelta(hours=3))
    assert (first.entry, first.calls) == (1, "log 1")


def test_a_listing_that_was_not_asked_or_refused_is_no_empty_one(world: World) -> None:
    world.plan(AWS, "eu-west-1")
    world.look(AWS)
    world.look(AWS, regions(world, failure="denied", error="UnauthorizedOperation"))
    world.look(AWS, world.call("ec2:DescribeRegions", {"Regions": [{"Name": "x"}]}))
    gone = regions(world, "eu-west-3")
    del world.blobs[gone["body"]]
    world.look(AWS, gone)
    unasked, refused, unreadable, expired = world.lines(AWS)
    assert {line.counted for line in world.lines(AWS)} == {None}
    assert {line.agree for line in world.lines(AWS)} == {None}
    assert unasked.source == "ec2:DescribeRegions: not asked"
    assert "gave no answer: UnauthorizedOperation" in refused.difference
    assert "cannot be read: KeyError('RegionName')" in unreadable.difference
    assert "has expired" in expired.difference


def test_a_region_that_is_planned_and_gone_is_named(world: World) -> None:
    world.plan(AWS, "eu-west-1", "eu-west-9")
    world.look(AWS, regions(world, "eu-west-1"))
    assert world.lines(AWS)[0].difference == "eu-west-9: planned, not in ec2:DescribeRegions"


def test_accounts_without_a_list_of_the_organisation_say_so(world: World) -> None:
    world.plan(AWS, "eu-west-1")
    world.plan("aws/999999999999", "eu-west-1")
    world.look(AWS, regions(world, "eu-west-1"))
    (line,) = world.lines("aws")
    assert (line.what, line.planned, line.counted, line.agree, line.entry) == ("accounts", 2, None, None, None)
    assert "no answer lists the accounts of the organisation" in line.difference


def test_accounts_are_compared_with_the_list_of_the_organisation_where_there_is_one(world: World) -> None:
    world.plan(AWS, "eu-west-1")
    accounts = [
        {"Id": "123456789012", "Status": "ACTIVE"},
        {"Id": "222222222222", "Status": "ACTIVE"},
        {"Id": "333333333333", "Status": "SUSPENDED"},
    ]
    listed = world.call("organizations:ListAccounts", {"Accounts": accounts})
    world.look(AWS, regions(world, "eu-west-1"), listed)
    (line,) = world.lines("aws")
    assert (line.planned, line.counted, line.agree) == (1, 2, False)
    assert line.difference.startswith("222222222222: in organizations:ListAccounts, not planned")
    assert "333333333333 is SUSPENDED, so it is left out" in line.difference


# --- Azure ---


def test_subscriptions_have_two_sources(world: World) -> None:
    world.plan(AZURE, "a", "b")
    world.look(AZURE, subscriptions(world, "a", "b"), containers(world, "a", "b"))
    world.look(AZURE, subscriptions(world, "a", "b", "c"), containers(world, "a", "b"))
    agreed, other = world.lines(AZURE)
    assert (agreed.planned, agreed.counted, agreed.second_counted, agreed.agree) == (2, 2, 2, True)
    assert (other.counted, other.second_counted, other.agree) == (3, 2, False)
    assert "c: in Azure Resource Manager, GET /subscriptions, not planned" in other.difference
    assert "not in Resource Graph, resourcecontainers" in other.difference


def test_a_subscription_that_is_not_observed_is_named_with_the_reason_and_is_no_difference(world: World) -> None:
    world.plan(AZURE, "a")
    guest = {"subscriptionId": "g", "tenantId": "other", "state": "Enabled"}
    rows = canonical.parse(world.blobs[subscriptions(world, "a", "off", off="Disabled")["body"]])["value"]
    world.look(AZURE, world.call("GET /subscriptions", {"value": [*rows, guest]}), containers(world, "a", "off", "g"))
    (line,) = world.lines(AZURE)
    assert line.agree is True
    assert "off is Disabled, so it is left out" in line.difference
    assert "g belongs to tenant other" in line.difference


def test_below_a_management_group_only_that_counts(world: World) -> None:
    world.plan(AZURE, "a")
    below = [{"id": "/subscriptions/A"}, {"id": "/providers/microsoft.management/managementgroups/x"}]
    group = world.call(f"{DESCENDANTS}core/descendants", {"value": below})
    world.look(AZURE, subscriptions(world, "a", "b"), group, containers(world, "a", "b"))
    (line,) = world.lines(AZURE)
    assert (line.counted, line.second_counted, line.agree) == (1, 1, True)
    assert line.source.endswith("below the management group")


def test_another_question_to_resource_graph_is_no_source(world: World) -> None:
    world.plan(AZURE, "a")
    disks = world.call(RESOURCE_GRAPH, {"data": []}, params={"body": {"query": "resources | where type =~ 'x'"}})
    world.look(AZURE, subscriptions(world, "a"), disks)
    (line,) = world.lines(AZURE)
    assert (line.second, line.second_counted) == ("Resource Graph, resourcecontainers: not asked", None)
    assert line.agree is True, "with the one source that there is"


# --- Google Cloud ---


def test_projects_have_two_sources_and_those_of_others_do_not_count(world: World) -> None:
    world.plan(GCP, "one", "two")
    world.look(
        GCP,
        projects(world, "assets", "one", "two", "old", old="DELETE_REQUESTED"),
        projects(world, "managed", "one", "two"),
    )
    world.look(GCP, projects(world, "assets", "one"), projects(world, "managed", "one", "two"))
    agreed, other = world.lines(GCP)
    assert (agreed.counted, agreed.second_counted, agreed.agree) == (2, 2, True)
    assert "old is DELETE_REQUESTED, so it is left out" in agreed.difference
    assert (other.counted, other.second_counted, other.agree) == (1, 2, False)
    assert "two: planned, not in Cloud Asset Inventory, projects" in other.difference


def test_projects_in_folders_count(world: World) -> None:
    world.plan(GCP, "one", "deep")
    params = {"assetTypes": FOLDER, "contentType": "RESOURCE"}
    named = {"assets": [{"name": "//cloudresourcemanager.googleapis.com/folders/7"}]}
    folders = world.call(f"GET /v1/{ORGANIZATION}/assets", named, params=params)
    rows = [
        {"projectId": "one", "state": "ACTIVE", "parent": ORGANIZATION},
        {"projectId": "deep", "state": "ACTIVE", "parent": "folders/7"},
    ]
    searched = world.call("GET /v3/projects:search", {"projects": rows})
    world.look(GCP, folders, projects(world, "assets", "one", "deep"), searched)
    assert world.lines(GCP)[0].agree is True


def test_one_project_alone_is_asked_for_itself(world: World) -> None:
    account = "gcp/projects-acme-one"
    world.plan(account, "acme-one")
    assets = [{"resource": {"data": {"projectId": "acme-one", "state": "ACTIVE"}}}]
    params = {"assetTypes": PROJECT, "contentType": "RESOURCE"}
    listed = world.call("GET /v1/projects/acme-one/assets", {"assets": assets}, params=params)
    itself = world.call("GET /v3/projects/acme-one", {"projectId": "acme-one", "state": "ACTIVE"})
    world.look(account, listed, itself)
    (line,) = world.lines(account)
    assert (line.counted, line.second_counted, line.agree) == (1, 1, True)


def test_a_long_list_of_names_is_cut(world: World) -> None:
    world.plan(AWS)
    world.look(AWS, regions(world, *(f"r-{n:03}" for n in range(100))))
    assert "r-039 and 60 more: in ec2:DescribeRegions, not planned" in world.lines(AWS)[0].difference
