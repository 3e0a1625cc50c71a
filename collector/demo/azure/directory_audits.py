"""The audit log of Entra ID: GET /auditLogs/directoryAudits, with the filters that its reference names.

Source: https://learn.microsoft.com/graph/api/directoryaudit-list
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from collector.demo.azure import errors
from collector.demo.azure.world import Ask, World

PATH = "/auditLogs/directoryAudits"
TIME = re.compile(r"activityDateTime (ge|le) (\d{4}-\d\d-\d\dT[\d:.]+Z)")
TARGET = re.compile(r"targetResources/any\(\s*(\w+)\s*:\s*\1/id eq '((?:[^']|'')*)'\s*\)")
WORD = re.compile(r"(loggedByService|activityDisplayName) eq '((?:[^']|'')*)'")

Test = Callable[[Mapping[str, Any]], bool]


def rows(world: World, ask: Ask, text: str) -> list[dict[str, Any]]:
    """The entries that a filter takes, newest first: what ``World.settings["directory_audits"]`` has. Raises Refusal
    for a filter of another form."""
    tests = [_test(ask, part) for part in re.split(r"\s+and\s+", text.strip())] if text.strip() else []
    found = [dict(entry) for entry in world.settings["directory_audits"] if all(test(entry) for test in tests)]
    return sorted(found, key=lambda entry: str(entry["activityDateTime"]), reverse=True)


def _test(ask: Ask, text: str) -> Test:
    if found := TIME.fullmatch(text):
        moment = found[2]
        if found[1] == "ge":
            return lambda entry: str(entry["activityDateTime"]) >= moment.removesuffix("Z")
        return lambda entry: str(entry["activityDateTime"]) <= moment
    if found := TARGET.fullmatch(text):
        id = found[2].replace("''", "'")
        return lambda entry: any(target["id"] == id for target in entry["targetResources"])
    if found := WORD.fullmatch(text):
        name, wanted = found[1], found[2].replace("''", "'")
        return lambda entry: bool(entry[name] == wanted)
    raise errors.graph(ask, 400, "BadRequest", "Invalid filter clause")
