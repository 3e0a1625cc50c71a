"""What the condition of an activity log alert takes, judged on the entries that an operation leaves. Asks nothing.

An operation of Resource Manager that took effect leaves several entries, the last of them with the status Succeeded.
All of them agree in the operation and what follows from its name, and in nothing else that is known beforehand.
Condition: https://learn.microsoft.com/rest/api/monitor/activity-log-alerts/create-or-update; a condition compares
without case. Entries: https://learn.microsoft.com/azure/azure-monitor/essentials/activity-log-schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collector.errors import Unreadable

NO, UNJUDGED, YES = range(3)  # so that "all of" is min and "any of" is max

LEVELS = frozenset(("critical", "error", "warning", "informational"))  # a provider of resources may choose any of them
# A condition on one of these takes some entries of an operation and leaves others out, whatever it says.
NARROW = frozenset(("caller", "resourceid", "resourcegroup", "substatus"))


def takes(condition: object, operation: str) -> int:
    """Whether every success of ``operation`` ("Microsoft.Sql/servers/firewallRules/write") meets the condition.

    NO when it does not, or only sometimes; UNJUDGED when a field decides that the reference does not name. Raises
    Unreadable for what is no condition.
    """
    members = condition.get("allOf") if isinstance(condition, Mapping) else None
    if not isinstance(members, list) or not members:
        raise Unreadable("the condition of an activity log alert has no list allOf with something in it")
    return min(_any(member, operation) for member in members)


def _any(member: Any, operation: str) -> int:
    """One member of allOf: a comparison, or several of which any will do."""
    if not isinstance(member, Mapping):
        raise Unreadable("a member of an activity log alert's condition is no object")
    several = member.get("anyOf")
    if several is not None and (not isinstance(several, list) or not several or member.get("field") is not None):
        raise Unreadable("a member of an activity log alert's condition has an anyOf that is no list, or a field too")
    taken: dict[str, set[str]] = {}  # by field, so that one comparison for each level is one for all of them
    for leaf in [member] if several is None else several:
        field, values = _leaf(leaf)
        taken.setdefault(field, set()).update(values)
    return max(_compared(field, values, operation.lower()) for field, values in taken.items())


def _leaf(leaf: Any) -> tuple[str, list[str]]:
    """The field of a comparison and the texts of which it must be one, in small letters."""
    if not isinstance(leaf, Mapping):
        raise Unreadable("a comparison of an activity log alert's condition is no object")
    field, equals, several = leaf.get("field"), leaf.get("equals"), leaf.get("containsAny")
    values = several or ([] if equals is None else [equals])
    if not isinstance(field, str) or not isinstance(values, list) or (equals is not None and several):
        raise Unreadable("a comparison of an activity log alert's condition is not a field with equals or containsAny")
    if not values or not all(isinstance(value, str) for value in values):
        raise Unreadable(f"the field {field} of an activity log alert's condition is compared with no text")
    return field.lower(), [value.lower() for value in values]


def _compared(field: str, values: set[str], operation: str) -> int:
    resource_type = operation.rpartition("/")[0]
    provider = operation.partition("/")[0]
    known = {
        "category": _categories(provider),
        "operationname": {operation},
        "resourceprovider": {provider},
        "resourcetype": {resource_type},
        "status": {"succeeded"},
    }
    if field in known:
        return YES if known[field] & values else NO
    if field == "level":
        return YES if values >= LEVELS else NO
    return NO if field in NARROW or field.startswith("properties") else UNJUDGED


def _categories(provider: str) -> set[str]:
    """Microsoft contradicts itself about Microsoft.Security: by the schema of the log all that Resource Manager does
    is Administrative; by the portal's alerts and the built-in policy 3b980d31-7904-4bb7-8575-5665739a8052 these
    operations are of category Security. Either is taken for its word."""
    return {"administrative", "security"} if provider == "microsoft.security" else {"administrative"}
