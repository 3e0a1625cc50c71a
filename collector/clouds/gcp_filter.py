"""What a filter of Google's Logging query language takes, judged on entries as far as they are known. Asks nothing.

An entry here is what all entries of a kind agree in: dotted names of members in small letters, with their texts. Where
another member decides, a filter takes some entries of the kind and leaves others out; such a filter covers nothing.
Language: https://cloud.google.com/logging/docs/view/logging-query-language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from collector.errors import Unreadable

Entry = Mapping[str, str]

NEVER, DEPENDS, ALWAYS = range(3)  # so that AND is min, OR is max and NOT is the distance from ALWAYS
QUOTED = r'"(?:\\.|[^"\\])*"'
TOKEN = re.compile(rf'(?:\s|--[^\n]*)*(?:([(),]|!=|=~|!~|<=|>=|[=:<>]|(?:{QUOTED}|[^\s(),=:<>!~"])+)|\Z)')
OPERATORS = frozenset(("=", "!=", ":", "=~", "!~", "<", "<=", ">", ">="))
REPEATS_MAX = 4  # in a regular expression
JOINTS = frozenset(("AND", "OR", "NOT", "(", ")", ",", *OPERATORS))
# LogEntry.severity, https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#logseverity
SEVERITIES = ("default", "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
ACTIVITY = "cloudaudit.googleapis.com/activity"


def activity(
    service: str, resource: str, method: str, *words: str, delta: Mapping[str, str] = MappingProxyType({})
) -> list[Entry]:
    """What the Admin Activity audit log has of successful changes, one entry for each of ``words``.

    ``service`` is short ("compute"), ``resource`` the monitored resource type, ``delta`` the policy delta that an entry
    of SetIamPolicy has ({"bindingDeltas.action": "ADD"}). {} in the method and in the delta stands for the word.
    """
    members = {
        "log_id": ACTIVITY,  # stands for the function LOG_ID
        "severity": "NOTICE",
        "resource.type": resource,
        "protoPayload.@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "protoPayload.serviceName": f"{service}.googleapis.com",
        "protoPayload.methodName": method,
        **{f"protoPayload.serviceData.policyDelta.{name}": value for name, value in delta.items()},
    }
    return [{name.lower(): value.replace("{}", word) for name, value in members.items()} for word in words or ("",)]


def covers(query: str, entries: Iterable[Entry], project: str) -> bool:
    """Whether the filter takes each of the entries of a project, whatever their other members are.

    Raises Unreadable for a filter that does not parse.
    """
    own = {
        "logname": f"projects/{project}/logs/{ACTIVITY.replace('/', '%2F')}",
        "resource.labels.project_id": project,
    }
    words = _words(query)
    return all(_Reader(words, {**entry, **own}).whole() == ALWAYS for entry in entries)


def _words(query: str) -> list[str]:
    found, at = [], 0
    while at < len(query):
        token = TOKEN.match(query, at)
        if token is None:
            raise Unreadable(f"a log filter that cannot be read from {query[at : at + 40]!r} on")
        at = token.end()
        if token[1]:
            found.append(token[1])
    return found


class _Reader:
    """Reads the words of a filter from left to right, and says what each part makes of one entry."""

    def __init__(self, words: list[str], entry: Entry) -> None:
        self._left = words[::-1]
        self._entry = entry

    def whole(self) -> int:
        found = self._every(self._comparison)
        if self._left:
            raise Unreadable(f"a log filter with {self._left[-1]!r} where none belongs")
        return found

    def _take(self, wanted: str = "") -> str:
        if not self._left:
            raise Unreadable("a log filter that ends too soon")
        word = self._left.pop()
        if wanted and word != wanted:
            raise Unreadable(f"a log filter with {word!r} where {wanted!r} belongs")
        return word

    def _next(self, words: Iterable[str]) -> bool:
        return bool(self._left) and self._left[-1] in words

    def _every(self, leaf: Callable[[str], int]) -> int:
        """Parts joined by AND, which need not be written and binds less than OR."""
        found = self._some(leaf)
        while self._left and not self._next((")", ",")):
            if self._next(("AND",)):
                self._take()
            found = min(found, self._some(leaf))
        return found

    def _some(self, leaf: Callable[[str], int]) -> int:
        found = self._one(leaf)
        while self._next(("OR",)):
            self._take()
            found = max(found, self._one(leaf))
        return found

    def _one(self, leaf: Callable[[str], int]) -> int:
        word = self._take()
        if word == "NOT":
            return ALWAYS - self._one(leaf)
        if word == "(":
            found = self._every(leaf)
            self._take(")")
            return found
        if word in JOINTS:
            raise Unreadable(f"a log filter with {word!r} where a comparison belongs")
        return leaf(word)

    def _comparison(self, word: str) -> int:
        if word.startswith("-") and len(word) > 1:  # a minus before a comparison is NOT
            return ALWAYS - self._comparison(word[1:])
        if self._next(OPERATORS):
            operator = self._take()
            # With a parenthesis on the right, each value in it is compared by itself.
            return self._one(lambda value: self._compare(_plain(word).lower(), operator, value))
        if self._next(("(",)):
            return self._function(word)
        wanted = _plain(word).lower()  # by itself it is looked for in every member
        return ALWAYS if any(wanted in value.lower() for value in self._entry.values()) else DEPENDS

    def _function(self, name: str) -> int:
        self._take("(")
        inside = []
        depth = 1
        while depth:
            inside.append(self._take())
            depth += {"(": 1, ")": -1}.get(inside[-1], 0)
        if name.lower() == "log_id" and len(inside) == 2:
            return self._compare("log_id", "=", inside[0])
        return DEPENDS  # sample, ip_in_net and their like

    def _compare(self, name: str, operator: str, value: str) -> int:
        below = [text for member, text in self._entry.items() if f"{member}.".startswith(f"{name}.")]
        wanted = _plain(value).lower()
        if operator == ":":
            if below and (value == "*" or any(wanted in text.lower() for text in below)):
                return ALWAYS
            return NEVER if name in self._entry else DEPENDS
        if name not in self._entry:
            return DEPENDS
        held = self._entry[name]
        if operator in ("=", "!="):
            same = held.lower() == wanted
            return ALWAYS if same == (operator == "=") else NEVER
        if operator in ("=~", "!~"):
            return ALWAYS if _matches(_pattern(value), held) == (operator == "=~") else NEVER
        if name != "severity" or wanted not in SEVERITIES:
            return DEPENDS
        least, most = (SEVERITIES.index(text) for text in (wanted, held.lower()))
        fits = {"<": most < least, "<=": most <= least, ">": most > least, ">=": most >= least}
        return ALWAYS if fits[operator] else NEVER


def _plain(word: str) -> str:
    """A word without its quotation marks and escapes: labels."a.b" is labels.a.b."""
    return re.sub(QUOTED, lambda found: re.sub(r"\\(.)", r"\1", found[0][1:-1]), word)


def _pattern(word: str) -> str:
    """A regular expression without its quotation marks; a backslash before anything else stays the expression's."""
    return re.sub(r'\\(["\\])', r"\1", word[1:-1]) if re.fullmatch(QUOTED, word) else word


def _matches(pattern: str, text: str) -> bool:
    # RE2 never goes back over a text, Python does: what could take it long is not tried.
    if re.search(r"\)[*+?{]", pattern) or len(re.findall(r"[*+?{]", pattern)) > REPEATS_MAX:
        raise Unreadable(f"a log filter with a regular expression that is not tried: {pattern!r}")
    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise Unreadable(f"a log filter with a regular expression that cannot be read: {pattern!r}") from error
