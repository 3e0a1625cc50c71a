"""The OData query options of Microsoft Graph that are understood here; all others are refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.demo.azure import errors
from collector.demo.azure.world import Ask

KNOWN = ("$select", "$top", "$filter", "$expand", "$count", "$skiptoken")
LITERAL = r"(?P<value>'(?:[^']|'')*'|true|false|null|-?\d+)"
COMPARISON = re.compile(rf"(?P<name>\w+)\s+eq\s+{LITERAL}")
STARTS = re.compile(r"startswith\(\s*(?P<name>\w+)\s*,\s*(?P<value>'(?:[^']|'')*')\s*\)")
AND = re.compile(r"\s+and\s+")

Test = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Query:
    """What a request wants of a collection. ``filtered`` are the members that the filter names."""

    select: tuple[str, ...] = ()
    expand: tuple[str, ...] = ()
    top: int | None = None
    skiptoken: str = ""
    count: bool = False
    filtered: tuple[str, ...] = ()
    tests: tuple[Test, ...] = ()

    def takes(self, body: Mapping[str, Any]) -> bool:
        return all(test(body) for test in self.tests)


def query(ask: Ask) -> Query:
    """The options of a request. Raises Refusal for one that is not understood."""
    options = {name.lower() if name.startswith("$") else name: value for name, value in ask.query.items()}
    if unknown := sorted(name for name in options if name not in KNOWN):
        words = f"The query specified in the URI is not valid. The query parameter '{unknown[0]}' is not supported."
        raise errors.graph(ask, 400, "BadRequest", words)
    top = options.get("$top")
    if top is not None and not top.isdecimal():
        words = (
            f"Invalid value '{top}' for $top query option found. The $top query option requires a non-negative integer."
        )
        raise errors.graph(ask, 400, "BadRequest", words)
    names, tests = _filter(ask, options.get("$filter", ""))
    return Query(
        select=_names(options.get("$select", "")),
        expand=_names(options.get("$expand", "")),
        top=None if top is None else int(top),
        skiptoken=options.get("$skiptoken", ""),
        count=options.get("$count", "").lower() == "true",
        filtered=names,
        tests=tests,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _filter(ask: Ask, text: str) -> tuple[tuple[str, ...], tuple[Test, ...]]:
    """``a eq 'b'`` and ``startswith(a,'b')``, with ``and`` between."""
    names, tests = [], []
    at = 0
    while text and at <= len(text):
        found = COMPARISON.match(text, at) or STARTS.match(text, at)
        if found is None:
            raise errors.graph(ask, 400, "BadRequest", "Invalid filter clause: not of the forms that are simulated.")
        names.append(found["name"])
        tests.append(_test(found["name"], found["value"], starts=found.re is STARTS))
        at = found.end()
        if at == len(text):
            break
        more = AND.match(text, at)
        if more is None:
            raise errors.graph(ask, 400, "BadRequest", f"Invalid filter clause: syntax error at position {at}.")
        at = more.end()
    return tuple(names), tuple(tests)


def _test(name: str, literal: str, *, starts: bool) -> Test:
    value: Any
    if literal.startswith("'"):
        value = literal[1:-1].replace("''", "'").lower()
    else:
        value = {"true": True, "false": False, "null": None}[literal] if literal.isalpha() else int(literal)

    def test(body: Mapping[str, Any]) -> bool:
        held = body.get(name)
        held = held.lower() if isinstance(held, str) else held  # texts are compared without letter case
        if starts:
            return isinstance(held, str) and held.startswith(value)
        return bool(held == value and type(held) is type(value))

    return test
