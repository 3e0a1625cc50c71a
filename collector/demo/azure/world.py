"""The state of a simulated Entra tenant: its clock, its objects with their history, and what the collector may do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from collector.demo.objects import Objects

TENANT = "3f6c2a7e-9d41-4c0a-8a53-1b2d7e9f0a11"
DOMAIN = "acme.example"
PRODUCTION = "8a1d5c0e-2b7f-4e39-9c64-0d3f5a7b9c01"
STAGING = "8a1d5c0e-2b7f-4e39-9c64-0d3f5a7b9c02"
ANALYTICS = "8a1d5c0e-2b7f-4e39-9c64-0d3f5a7b9c03"  # is not there at the start; the story lets it appear
MANAGEMENT_GROUP = "acme"
# The collector's application registration, its service principal, and the secret of the tests.
CLIENT = "5d0b7c9e-4f1a-4b6d-8e23-6a9c1f2d3b40"
PRINCIPAL = "c7e19b54-60d3-4a8f-b1c2-9f3e5d7a8b33"
SECRET = "simulated-not-a-secret"

# Kinds of objects. An ARM resource, tracked or child, is kept under its id in lower case; its kind is its type in lower
# case ("microsoft.storage/storageaccounts", "microsoft.sql/servers/databases/transparentdataencryption"). Its body is
# what a GET of Azure Resource Manager answers.
SUBSCRIPTION = "subscription"  # id: "/subscriptions/<guid>"; body: as in GET /subscriptions
# A row of a Resource Graph table that ARM has not ("patchassessmentresources", "securityresources",
# "maintenanceresources", "appserviceresources" configs are ARM children too). Kept under "graph row:<table>:<id>", its
# kind is "<table>", its body the row.
ROW = "graph row:"
# An object of Microsoft Graph, kept under its path without "/v1.0" ("/users/<id>", "/groups/<id>",
# "/identity/conditionalAccess/policies/<id>", "/roleManagement/directory/roleAssignments/<id>",
# "/roleManagement/directory/roleDefinitions/<id>", "/reports/authenticationMethods/userRegistrationDetails/<user id>",
# "/policies/identitySecurityDefaultsEnforcementPolicy"); its kind is the collection's path. A group's members are in
# its member "members", a list of ids, that no answer shows.


@dataclass
class World(Objects):
    """All that answers look at. ``clock`` is simulated time; tokens live by the real one, as the SDKs count them."""

    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)  # ARM actions ("Microsoft.Compute/disks/read"), "graph:NAME"
    lost: set[tuple[str, str]] = field(default_factory=set)  # (permission, subscription guid or "" for everywhere)
    licenses: set[str] = field(default_factory=lambda: {"P1", "P2"})

    def __post_init__(self) -> None:
        self.settings = {"page_size": 0, "token_seconds": 3599, "resource_graph_per_5s": 15, **self.settings}

    def permitted(self, permission: str, subscription: str = "") -> bool:
        """Whether the collector holds a permission, in a subscription where one is named."""
        return permission in self.granted and self.lost.isdisjoint({(permission, ""), (permission, subscription)})

    def subscriptions(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(guid, document) of every subscription that is there now."""
        for id, body in self.each(SUBSCRIPTION):
            yield id.rpartition("/")[2], body
