"""Cloud Logging's entries.list, as far as Admin Activity audit logs are asked for: what was told to the bed beforehand.

Shapes are those of the REST reference; other filters than ours are refused, since nobody here understands them.
"""

from __future__ import annotations

import re
from typing import Any

from collector.demo.gcp import errors
from collector.demo.gcp.world import Ask, World

HOST = "logging.googleapis.com"
PERMISSION = "logging.logEntries.list"
PAGE_MAX = 1000
FILTER = re.compile(
    r'logName:"cloudaudit\.googleapis\.com%2Factivity" AND protoPayload\.resourceName="((?:[^"\\]|\\.)*)" '
    r'AND timestamp>="([^"]+)" AND timestamp<="([^"]+)"'
)


def entries(world: World, ask: Ask) -> dict[str, Any]:
    """POST /v2/entries:list. ``World.settings["audit"]`` has the entries."""
    names = ask.body.get("resourceNames") or []
    if not names:
        raise errors.invalid("At least one resource name must be given.")
    for name in names:
        kind, _, id = name.partition("/")
        project = world.project(id) if kind == "projects" else None
        world.demand(ask, PERMISSION, name, project[0] if project else "")
    asked = FILTER.fullmatch(ask.body.get("filter", ""))
    if asked is None:
        raise errors.invalid("Unparseable filter")
    if ask.body.get("orderBy", "timestamp asc") not in ("timestamp asc", "timestamp desc"):
        raise errors.invalid("Invalid orderBy")
    resource, since, until = re.sub(r"\\(.)", r"\1", asked[1]), asked[2], asked[3]
    found = [
        entry
        for entry in world.settings.get("audit") or ()
        if entry["protoPayload"]["resourceName"] == resource and since <= entry["timestamp"] <= until
    ]
    found.sort(key=lambda entry: str(entry["timestamp"]), reverse=ask.body.get("orderBy") == "timestamp desc")
    size = min(int(ask.body.get("pageSize", 50)), PAGE_MAX)
    return {"entries": found[:size], **({"nextPageToken": "more"} if len(found) > size else {})} if found else {}


ROUTES = (
    (
        HOST,
        "POST",
        r"/v2/entries:list",
        "google.logging.v2.LoggingServiceV2.ListLogEntries",
        (
            "https://www.googleapis.com/auth/cloud-platform",
            "https://www.googleapis.com/auth/cloud-platform.read-only",
            "https://www.googleapis.com/auth/logging.read",
        ),
        entries,
    ),
)
