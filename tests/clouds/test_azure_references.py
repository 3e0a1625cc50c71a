"""A name in a setting proves nothing until its resource was found, and what nobody can look for is no answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from collector.clouds.azure import Tenant
from collector.clouds.azure_references import NOBODY, PLACES, account_of, place_of, rows_of
from collector.clouds.transcript import Transcript
from collector.errors import Denied, Unreadable

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OWN, CENTRAL, HIDDEN = (f"aaaaaaaa-bbbb-4ccc-8ddd-{digit * 12}" for digit in "123")


def resource(subscription: str, type: str, name: str) -> str:
    return f"/subscriptions/{subscription}/resourceGroups/Logs/providers/{type}/{name}"


WORKSPACE, CENTRAL_WORKSPACE, HIDDEN_WORKSPACE = (
    resource(subscription, "Microsoft.OperationalInsights/workspaces", "log") for subscription in (OWN, CENTRAL, HIDDEN)
)
ACCOUNT = resource(CENTRAL, "Microsoft.Storage/storageAccounts", "acmelogs")
HUB = resource(OWN, "Microsoft.EventHub/namespaces", "hub")
PARTNER = resource(OWN, "Microsoft.Datadog/monitors", "acme")


class Fake(Tenant):
    """Two observed subscriptions with ``ids``; ``asked`` notes which listings were asked for, by every handle."""

    def __init__(self, ids: tuple[str, ...], part: str = OWN, asked: list[str] | None = None) -> None:
        super().__init__("t", Transcript(), NOW, subscription=part)
        self.ids = ids
        self.asked: list[str] = [] if asked is None else asked

    def parts(self) -> list[str]:
        return [OWN, CENTRAL]

    def within(self, part: str) -> Fake:
        return Fake(self.ids, part, self.asked)

    def resources(self, type: str, table: str = "resources") -> list[dict[str, Any]]:
        if self.subscription not in (OWN, CENTRAL):
            raise Denied(f"subscription {self.subscription} is not shown to the collector")
        self.asked.append(f"{self.subscription[-1]} {type}")
        rows: list[Mapping[str, Any]] = [{"id": id, "name": id.rpartition("/")[2]} for id in self.ids]
        return [dict(row) for row in rows if f"{self.subscription}/" in row["id"] and type in row["id"].lower()]


def test_a_place_is_found_in_its_own_subscription_whatever_the_case_and_named_as_azure_names_it() -> None:
    azure = Fake((WORKSPACE, CENTRAL_WORKSPACE, ACCOUNT))
    assert place_of(azure, [WORKSPACE.upper().replace("/SUBSCRIPTIONS", "/subscriptions")]) == WORKSPACE
    assert place_of(azure, [ACCOUNT.lower()]) == ACCOUNT
    assert place_of(azure, [CENTRAL_WORKSPACE, WORKSPACE]) == WORKSPACE  # its own subscription first


def test_a_rule_of_an_event_hub_is_looked_for_by_its_namespace() -> None:
    rule = f"{HUB}/authorizationRules/RootManageSharedAccessKey"
    assert place_of(Fake((HUB,)), [rule]) == HUB
    assert place_of(Fake((f"{HUB}-2",)), [rule]) == ""


def test_what_is_gone_is_no_place() -> None:
    assert place_of(Fake(()), [WORKSPACE, ACCOUNT]) == ""
    assert place_of(Fake(()), []) == ""
    assert place_of(Fake((f"{WORKSPACE}-2",)), [WORKSPACE]) == ""


@pytest.mark.parametrize("id", [HIDDEN_WORKSPACE, PARTNER, "", "elsewhere", WORKSPACE.replace("/resourceGroups", "")])
def test_what_nobody_can_look_for_is_no_answer_unless_another_place_is_there(id: str) -> None:
    with pytest.raises(Unreadable, match="nobody can say whether"):
        place_of(Fake(()), [id])
    with pytest.raises(Unreadable, match="nobody can say whether"):
        place_of(Fake(()), [id, WORKSPACE])
    assert place_of(Fake((WORKSPACE,)), [id, WORKSPACE]) == WORKSPACE


def test_only_the_kinds_that_are_wanted_are_looked_for_and_only_until_one_is_found() -> None:
    azure = Fake((WORKSPACE, ACCOUNT))
    with pytest.raises(Unreadable, match=r"none of microsoft\.storage/storageaccounts"):
        list(rows_of(azure, [WORKSPACE], ("microsoft.storage/storageaccounts",)))
    assert azure.asked == []
    assert next(rows_of(azure, [ACCOUNT, WORKSPACE], PLACES))["id"] == WORKSPACE
    assert azure.asked == ["1 microsoft.operationalinsights/workspaces"]


def test_an_account_is_found_by_its_endpoint_in_the_subscription_that_is_named() -> None:
    endpoint = "https://acmelogs.blob.core.windows.net/"
    assert account_of(Fake((ACCOUNT,)), endpoint, CENTRAL) == ACCOUNT
    assert account_of(Fake((ACCOUNT,)), endpoint.upper().rstrip("/"), CENTRAL.upper()) == ACCOUNT
    assert account_of(Fake(()), endpoint, CENTRAL) == ""
    assert account_of(Fake((ACCOUNT,), part=CENTRAL), endpoint, NOBODY) == ACCOUNT


@pytest.mark.parametrize(
    ("endpoint", "subscription"),
    [
        ("https://acmelogs.blob.core.windows.net/", NOBODY),  # not in the handle's own, and where else is not said
        ("https://acmelogs.blob.core.windows.net/", HIDDEN),
        ("https://acmelogs.file.core.windows.net/", CENTRAL),
        ("acmelogs", CENTRAL),
    ],
)
def test_an_account_that_nobody_can_look_for_is_no_answer(endpoint: str, subscription: str) -> None:
    with pytest.raises(Unreadable, match="nobody can say whether"):
        account_of(Fake((ACCOUNT,)), endpoint, subscription)
