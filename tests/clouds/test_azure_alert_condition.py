"""The reader of activity log alerts' conditions: what every success of an operation meets, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from collector.clouds.azure_alert_condition import NO, UNJUDGED, YES, takes
from collector.errors import Unreadable

WRITE = "Microsoft.Network/networkSecurityGroups/write"
SOLUTION = "Microsoft.Security/securitySolutions/delete"
ADMINISTRATIVE = {"field": "category", "equals": "Administrative"}
NAMED = {"field": "operationName", "equals": WRITE}
LEVELS = ["Critical", "Error", "Informational", "Warning"]


def said(*members: Any, operation: str = WRITE) -> int:
    return takes({"allOf": list(members)}, operation)


def compared(field: str, *values: str) -> dict[str, Any]:
    return {"field": field, "containsAny": list(values)}


@pytest.mark.parametrize(
    "members",
    [
        [ADMINISTRATIVE],  # every operation
        [ADMINISTRATIVE, NAMED],
        [ADMINISTRATIVE, {"field": "OPERATIONNAME", "equals": WRITE.upper()}],
        [ADMINISTRATIVE, {"field": "resourceType", "equals": "microsoft.network/networksecuritygroups"}],
        [ADMINISTRATIVE, {"field": "resourceProvider", "equals": "Microsoft.Network"}],
        [ADMINISTRATIVE, compared("operationName", "Microsoft.Network/networkSecurityGroups/delete", WRITE)],
        [ADMINISTRATIVE, {"anyOf": [{"field": "caller", "equals": "ann@acme.example"}, NAMED]}],
        [{**ADMINISTRATIVE, "anyOf": None, "containsAny": None}, {**NAMED, "containsAny": []}],
        [ADMINISTRATIVE, NAMED, {"field": "status", "equals": "Succeeded"}],
        [ADMINISTRATIVE, NAMED, compared("status", "Failed", "Succeeded")],
        [ADMINISTRATIVE, NAMED, compared("level", *LEVELS, "Verbose")],
        [ADMINISTRATIVE, NAMED, {"anyOf": [{"field": "level", "equals": level} for level in LEVELS]}],
        [ADMINISTRATIVE, {"anyOf": [{"field": "claims", "equals": "x"}, NAMED]}],
    ],
)
def test_what_every_success_of_the_operation_meets(members: list[Any]) -> None:
    assert said(*members) == YES


@pytest.mark.parametrize(
    "member",
    [
        {"field": "category", "equals": "ServiceHealth"},
        {"field": "category", "equals": "Security"},
        {"field": "operationName", "equals": "Microsoft.Network/networkSecurityGroups/delete"},
        {"field": "operationName", "equals": "Microsoft.Network/networkSecurityGroups/securityRules/write"},
        {"field": "operationName", "equals": "Microsoft.Network/*"},  # it compares, and knows no wildcard
        {"field": "resourceProvider", "equals": "Microsoft.Sql"},
        {"field": "resourceType", "equals": "Microsoft.Network"},
        {"field": "status", "equals": "Failed"},
        {"field": "status", "equals": "Started"},
        {"field": "level", "equals": "Informational"},
        compared("level", "Critical", "Error"),
        {"field": "caller", "equals": "ann@acme.example"},
        {"field": "resourceGroup", "equals": "rg-platform"},
        {"field": "resourceId", "equals": "/subscriptions/s/resourceGroups/g"},
        {"field": "subStatus", "equals": "Created"},
        {"field": "properties.eventCategory", "equals": "Administrative"},
        {"anyOf": [{"field": "caller", "equals": "ann@acme.example"}, {"field": "level", "equals": "Error"}]},
    ],
)
def test_what_leaves_the_operation_out_or_takes_it_sometimes(member: dict[str, Any]) -> None:
    assert said(ADMINISTRATIVE, NAMED, member) == NO


def test_an_operation_of_security_is_of_either_category_since_microsoft_says_both() -> None:
    for category in ("Administrative", "Security"):
        both = ({"field": "category", "equals": category}, {"field": "operationName", "equals": SOLUTION})
        assert said(*both, operation=SOLUTION) == YES
    assert said({"field": "category", "equals": "Policy"}, operation=SOLUTION) == NO


def test_a_field_that_nobody_knows_is_not_judged_unless_another_member_settles_it() -> None:
    new = {"field": "claims", "equals": "x"}
    assert said(ADMINISTRATIVE, NAMED, new) == UNJUDGED
    assert said({"field": "category", "equals": "ServiceHealth"}, new) == NO


@pytest.mark.parametrize(
    "condition",
    [
        None,
        [],
        {},
        {"allOf": None},
        {"allOf": []},  # all of nothing would be met by everything
        {"allOf": {"field": "category", "equals": "Administrative"}},
        {"allOf": ["category"]},
        {"allOf": [{}]},
        {"allOf": [{"field": "category"}]},
        {"allOf": [{"equals": "Administrative"}]},
        {"allOf": [{"field": "category", "equals": None, "containsAny": []}]},
        {"allOf": [{"field": "category", "equals": "Administrative", "containsAny": ["Policy"]}]},
        {"allOf": [{"field": "category", "equals": ["Administrative"]}]},
        {"allOf": [{"field": "category", "containsAny": "Administrative"}]},
        {"allOf": [{"field": "category", "containsAny": [1]}]},
        {"allOf": [{"anyOf": []}]},
        {"allOf": [{"anyOf": [None]}]},
        {"allOf": [{**ADMINISTRATIVE, "anyOf": [NAMED]}]},
        {"allOf": [{"anyOf": [{"anyOf": [NAMED]}]}]},
    ],
)
def test_what_is_no_condition_is_no_answer(condition: Any) -> None:
    with pytest.raises(Unreadable):
        takes(condition, WRITE)
