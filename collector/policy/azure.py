"""The custom role of Azure and the Microsoft Graph application permissions, from what the checks declare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from collector.check import AnyCheck
from collector.errors import ConfigError

NAME = "Evidence collector"
DESCRIPTION = "Reads exactly what the enabled checks of the evidence collector ask. Changes nothing."
GRAPH = "graph:"
# What the collector asks besides its checks: which subscriptions there are, what it may read in each (Resource Graph
# leaves out in silence what it may not), and Resource Graph itself.
OWN = (
    "Microsoft.Authorization/permissions/read",
    "Microsoft.Management/managementGroups/descendants/read",
    "Microsoft.ResourceGraph/resources/read",
    "Microsoft.Resources/subscriptions/read",
)
# Resource Graph asks for this read of whoever wants the rows. Azure's list of operations, by which it accepts a role,
# has only what lies below it, all of it reads.
WRITTEN = {
    "Microsoft.Compute/virtualMachines/patchAssessmentResults/read": (
        "Microsoft.Compute/virtualMachines/patchAssessmentResults/*"
    ),
}
ACTION = re.compile(r"Microsoft\.[A-Za-z]+(/[A-Za-z]+)+/read")
GRAPH_PERMISSION = re.compile(r"[A-Za-z]+\.Read(\.[A-Za-z]+)*")


def actions(checks: Iterable[AnyCheck]) -> list[str]:
    """The ARM actions that the Azure checks among ``checks`` and the collector need, sorted, each once.

    Raises ConfigError for a declared permission that is no single read action; a wildcard is never passed on.
    """
    found = set(OWN)
    for check, permission in _declared(checks):
        if permission.startswith(GRAPH):
            continue
        if not ACTION.fullmatch(permission):
            raise ConfigError(f"{check.id} declares {permission!r}, which is no read action of ARM; name it in full")
        found.add(WRITTEN.get(permission, permission))
    return sorted(found, key=str.lower)


def graph_permissions(checks: Iterable[AnyCheck]) -> list[str]:
    """The application permissions of Microsoft Graph that need an administrator's consent, sorted."""
    found = set()
    for check, permission in _declared(checks):
        if permission.startswith(GRAPH):
            name = permission.removeprefix(GRAPH)
            if not GRAPH_PERMISSION.fullmatch(name):
                raise ConfigError(f"{check.id} declares {permission!r}, which reads nothing in Microsoft Graph")
            found.add(name)
    return sorted(found)


def template(checks: Iterable[AnyCheck]) -> dict[str, Any]:
    """An ARM template that defines the role at a management group and assigns it to the collector."""
    group = "tenantResourceId('Microsoft.Management/managementGroups', parameters('managementGroup'))"
    role = "guid(parameters('managementGroup'), variables('name'))"
    definition = f"extensionResourceId({group}, 'Microsoft.Authorization/roleDefinitions', {role})"
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-08-01/managementGroupDeploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "managementGroup": {"type": "string", "metadata": {"description": "Id of the management group."}},
            "principalId": {"type": "string", "metadata": {"description": "Object id of the collector's identity."}},
        },
        "variables": {"name": NAME},
        "resources": [
            {
                "type": "Microsoft.Authorization/roleDefinitions",
                "apiVersion": "2022-04-01",
                "name": f"[{role}]",
                "properties": {
                    "roleName": "[variables('name')]",
                    "description": DESCRIPTION,
                    "type": "customRole",
                    "permissions": [{"actions": actions(checks), "notActions": [], "dataActions": []}],
                    "assignableScopes": [f"[{group}]"],
                },
            },
            {
                "type": "Microsoft.Authorization/roleAssignments",
                "apiVersion": "2022-04-01",
                "name": f"[guid({role}, parameters('principalId'))]",
                "dependsOn": [f"[{definition}]"],
                "properties": {
                    "roleDefinitionId": f"[{definition}]",
                    "principalId": "[parameters('principalId')]",
                    "principalType": "ServicePrincipal",
                },
            },
        ],
    }


def terraform(checks: Iterable[AnyCheck]) -> str:
    """The role, its assignment and the Graph permissions, for the azurerm and azuread providers."""
    checks = list(checks)
    listed = "\n".join(f"      {json.dumps(action)}," for action in actions(checks))
    graph = "\n".join(f"    {json.dumps(name)}," for name in graph_permissions(checks))
    return f"""variable "management_group_id" {{
  type        = string
  description = "Management group that is observed: /providers/Microsoft.Management/managementGroups/NAME."
}}

variable "principal_id" {{
  type        = string
  description = "Object id of the collector's service principal or managed identity."
}}

resource "azurerm_role_definition" "evidence_collector" {{
  name        = {json.dumps(NAME)}
  description = {json.dumps(DESCRIPTION)}
  scope       = var.management_group_id

  permissions {{
    actions = [
{listed}
    ]
  }}
}}

resource "azurerm_role_assignment" "evidence_collector" {{
  scope              = var.management_group_id
  role_definition_id = azurerm_role_definition.evidence_collector.role_definition_resource_id
  principal_id       = var.principal_id
}}

data "azuread_application_published_app_ids" "well_known" {{}}

data "azuread_service_principal" "graph" {{
  client_id = data.azuread_application_published_app_ids.well_known.result["MicrosoftGraph"]
}}

resource "azuread_app_role_assignment" "evidence_collector" {{
  for_each = toset([
{graph}
  ])
  app_role_id         = data.azuread_service_principal.graph.app_role_ids[each.value]
  principal_object_id = var.principal_id
  resource_object_id  = data.azuread_service_principal.graph.object_id
}}
"""


def _declared(checks: Iterable[AnyCheck]) -> Iterable[tuple[AnyCheck, str]]:
    return [(check, permission) for check in checks if check.cloud == "azure" for permission in check.permissions]
