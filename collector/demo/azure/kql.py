"""The part of Kusto's query language that is understood here; what lies outside is refused as Resource Graph does.

``table | where column =~ 'text' and ... | project columns | order by column asc | limit 10 | count``
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOKEN = re.compile(
    r"""\s+|//[^\n]*|(?P<string>'[^'\n]*'|"[^"\n]*")|(?P<word>[A-Za-z_]\w*)|(?P<number>\d+)|(?P<sign>=~|!~|==|!=|[-|(),.=<>+*/%:{}]|\[|\])"""
)
INVALID = {
    "code": "InvalidQuery",
    "message": "Query is invalid. Please refer to the documentation for the Azure Resource Graph service and fix the "
    "error before retrying.",
}
Row = Mapping[str, Any]
Step = Callable[[list[Row]], list[Row]]


class Invalid(Exception):
    """A query that is not taken; ``details`` are what the service says of it."""

    def __init__(self, code: str, token: str = "", line: int = 1, place: int = 0, message: str = "") -> None:
        super().__init__(f"{code}: {token}")
        found: dict[str, Any] = {"code": code, "message": message or code}
        if token:
            found |= {"line": line, "characterPositionInLine": place, "token": token}
        self.details = [INVALID, found]


@dataclass(frozen=True)
class Word:
    """One token of a query; ``kind`` is string, word, number, sign or end."""

    kind: str
    text: str
    line: int = 1
    place: int = 0

    @property
    def value(self) -> str | int:
        return self.text[1:-1] if self.kind == "string" else int(self.text) if self.kind == "number" else self.text


@dataclass(frozen=True)
class Query:
    """A parsed query: the table, and what becomes of its rows."""

    table: Word
    steps: tuple[Step, ...]
    columns: tuple[str, ...] | None  # None: all of the table


def parsed(text: str, columns: Sequence[str]) -> Query:
    """The query over tables that have these columns. Raises Invalid."""
    return _Parser(_words(text), columns).query()


def _words(text: str) -> list[Word]:
    found, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        line, place = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at) - 1
        if match is None:
            raise Invalid("ParserFailure", text[at], line, place)
        if match.lastgroup:
            kind, word = match.lastgroup, match[0]
            if word.lower() in ("in", "notin") and text[match.end() : match.end() + 1] == "~":
                match = re.compile(r"\w+~").match(text, at)
                assert match is not None
                kind, word = "sign", match[0]
            found.append(Word(kind, word, line, place))
        at = match.end()
    return [*found, Word("end", "<EOF>", text.count("\n") + 1, len(text) - text.rfind("\n") - 1)]


class _Parser:
    def __init__(self, words: list[Word], columns: Sequence[str]) -> None:
        self._words = words
        self._at = 0
        self._columns = tuple(columns)  # that the rows have at this step
        self._chosen = False

    def query(self) -> Query:
        table = self._take("word")
        steps = []
        while self._next().kind != "end":
            self._sign("|")
            steps.append(self._step())
        return Query(table, tuple(steps), self._columns if self._chosen else None)

    def _step(self) -> Step:
        name = self._take("word")
        known: dict[str, Callable[[], Step]] = {
            "where": self._where,
            "project": self._project,
            "order": self._order,
            "sort": self._order,
            "limit": self._limit,
            "take": self._limit,
            "count": self._count,
        }
        if name.text not in known:  # operators are written in lower case
            raise Invalid("InvalidQueryLanguage", name.text, name.line, name.place)
        return known[name.text]()

    def _where(self) -> Step:
        tests = [self._test()]
        while self._next().text == "and":
            self._at += 1
            tests.append(self._test())
        return lambda rows: [row for row in rows if all(test(row) for test in tests)]

    def _test(self) -> Callable[[Row], bool]:
        column = self._column()
        sign = self._next()
        self._at += 1
        if sign.text in ("in", "in~"):
            self._sign("(")
            wanted = [self._literal()]
            while self._next().text == ",":
                self._at += 1
                wanted.append(self._literal())
            self._sign(")")
        elif sign.text in ("==", "=~", "!=", "!~"):
            wanted = [self._literal()]
        else:
            raise Invalid("ParserFailure", sign.text, sign.line, sign.place)
        low = "~" in sign.text
        values = {_low(value) if low else value for value in wanted}
        return lambda row: ((_low(row[column]) if low else row[column]) in values) != sign.text.startswith("!")

    def _project(self) -> Step:
        names = self._columns_listed()
        self._columns, self._chosen = tuple(names), True
        return lambda rows: [{name: row[name] for name in names} for row in rows]

    def _order(self) -> Step:
        by = self._take("word")
        if by.text != "by":
            raise Invalid("ParserFailure", by.text, by.line, by.place)
        keys: list[tuple[str, bool]] = []
        while True:
            column = self._column()
            falling = self._next().text != "asc"  # Kusto sorts from the greatest on unless it is told
            if self._next().text in ("asc", "desc"):
                self._at += 1
            keys.append((column, falling))
            if self._next().text != ",":
                break
            self._at += 1

        def ordered(rows: list[Row]) -> list[Row]:
            for column, falling in reversed(keys):
                rows = sorted(rows, key=lambda row: str(row[column] or ""), reverse=falling)
            return rows

        return ordered

    def _limit(self) -> Step:
        most = int(self._take("number").text)
        return lambda rows: rows[:most]

    def _count(self) -> Step:
        self._columns, self._chosen = ("Count",), True
        return lambda rows: [{"Count": len(rows)}]

    def _columns_listed(self) -> list[str]:
        names = [self._column()]
        while self._next().text == ",":
            self._at += 1
            names.append(self._column())
        return names

    def _column(self) -> str:
        word = self._take("word")
        if word.text not in self._columns:
            raise Invalid(
                "Default",
                word.text,
                word.line,
                word.place,
                f"Failed to resolve column or scalar expression named '{word.text}'",
            )
        return word.text

    def _literal(self) -> str | int:
        word = self._next()
        if word.kind not in ("string", "number"):
            raise Invalid("ParserFailure", word.text, word.line, word.place)
        self._at += 1
        return word.value

    def _next(self) -> Word:
        return self._words[self._at]

    def _take(self, kind: str) -> Word:
        word = self._next()
        if word.kind != kind:
            raise Invalid("ParserFailure", word.text, word.line, word.place)
        self._at += 1
        return word

    def _sign(self, text: str) -> None:
        if self._next().text != text:
            word = self._next()
            raise Invalid("ParserFailure", word.text, word.line, word.place)
        self._at += 1


def _low(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
