"""The roles of Azure and Google hold exactly what the checks declare, and nothing that could change anything."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import yaml

import checks
from collector import registry
from collector.check import AnyCheck
from collector.errors import ConfigError
from collector.policy import azure, gcp

CHECKS = [item.check for item in registry.load([checks])]


def declared(cloud: str, prefix: str = "") -> set[str]:
    found = {name for check in CHECKS if check.cloud == cloud for name in check.permissions}
    if prefix:
        return {name.removeprefix(prefix) for name in found if name.startswith(prefix)}
    return {name for name in found if not name.startswith(("graph:", "workspace:", "api:"))}


def with_permissions(cloud: str, *permissions: str) -> AnyCheck:
    return replace(CHECKS[0], id=f"{cloud}-some-check", permissions=permissions)


def test_azure_actions_are_those_of_the_checks_and_the_collectors_own() -> None:
    wanted = {azure.WRITTEN.get(name, name) for name in declared("azure")}
    assert set(azure.actions(CHECKS)) == wanted | set(azure.OWN)
    assert azure.graph_permissions(CHECKS) == sorted(declared("azure", "graph:"))
    role = azure.template(CHECKS)["resources"][0]["properties"]["permissions"]
    assert role == [{"actions": azure.actions(CHECKS), "notActions": [], "dataActions": []}]


def test_azure_terraform_names_each_action_and_each_graph_permission() -> None:
    text = azure.terraform(CHECKS)
    wanted = {*azure.actions(CHECKS), *azure.graph_permissions(CHECKS)}
    assert {json.loads(word) for word in re.findall(r'^\s+("[^"]+"),$', text, re.MULTILINE)} == wanted
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    "permission",
    ["Microsoft.Storage/*", "*/read", "Microsoft.Storage/storageAccounts/write", "graph:User.ReadWrite.All", "s3:Get"],
)
def test_azure_passes_on_nothing_that_is_no_single_read(permission: str) -> None:
    check = with_permissions("azure", permission)
    with pytest.raises(ConfigError, match="declares"):
        (azure.actions([check]), azure.graph_permissions([check]))


def test_gcp_role_is_those_of_the_checks_and_the_collectors_own() -> None:
    role = yaml.safe_load(gcp.role(CHECKS))
    assert set(role["includedPermissions"]) == declared("gcp") | set(gcp.OWN)
    assert gcp.scopes(CHECKS) == sorted(declared("gcp", "workspace:"))
    assert set(gcp.apis(CHECKS)) == declared("gcp", "api:") | set(gcp.OWN_APIS)


def test_gcp_terraform_names_each_permission_each_api_and_each_scope() -> None:
    text = gcp.terraform(CHECKS)
    wanted = {*gcp.permissions(CHECKS), *gcp.apis(CHECKS)}
    assert {json.loads(word) for word in re.findall(r'^\s+("[^"]+"),$', text, re.MULTILINE)} == wanted
    assert all(f"#   {scope}\n" in text for scope in gcp.scopes(CHECKS))
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    "permission",
    [
        "cloudasset.*",
        "compute.instances.delete",
        "workspace:https://www.googleapis.com/auth/admin.directory.user",
        "api:everything",
    ],
)
def test_gcp_passes_on_nothing_that_is_no_single_read(permission: str) -> None:
    check = with_permissions("gcp", permission)
    with pytest.raises(ConfigError, match="declares"):
        (gcp.permissions([check]), gcp.scopes([check]), gcp.apis([check]))


def test_no_role_of_another_cloud_is_mixed_in() -> None:
    others = [check for check in CHECKS if check.cloud == "aws"]
    assert azure.actions(others) == sorted(azure.OWN, key=str.lower)
    assert gcp.permissions(others) == sorted(gcp.OWN)
