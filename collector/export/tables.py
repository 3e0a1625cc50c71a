"""The tables of a package, as CSV files and as one workbook. Formats what a dossier says; computes no verdict.

``write(dossier, folder)`` makes a ``.csv`` for each table of columns.py and ``tables.xlsx`` with the same sheets and
one named "about". The same dossier gives the same bytes.

CSV is RFC 4180: UTF-8 without mark, CRLF, a header row. Each time stands there twice: ``*_utc`` is RFC 3339 with
microseconds and ``Z``, as in the ledger; ``*_local`` is the same moment with the offset of the window's zone (in the
workbook a date that sorts and filters). What is unknown is an empty cell; flags are ``yes`` and ``no``. A text that
begins with ``= + - @``, tab or carriage return gets a leading apostrophe, since a spreadsheet would run it; the ids of
accounts, checks and scopes never begin so.

Items can be twenty million rows. Where one run saw what the run before it saw, its rows differ only in the run: they
are formatted once. A workbook cannot hold so many (docs/decisions/0007), and says where they are.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import IO

from collector import canonical
from collector.export import rows
from collector.export.columns import (
    ALERTS,
    ANCHORS,
    CHANGES,
    COLLECTOR,
    COVERAGE,
    COVERAGE_BY_CONTROL,
    DECISIONS,
    EXCEPTIONS,
    ITEMS,
    POPULATIONS,
    RECONCILIATION,
    RESULTS,
    SPOTS,
    STATES_OVER_TIME,
    TABLES,
    Form,
    Table,
)
from collector.export.dossier import Dossier, Item, RunItems
from collector.export.rows import Seen
from collector.export.words import Clock, number, utc
from collector.export.workbook import Book, Row, Sheet, Value, neutral
from collector.ledger.entry import population_digest

__all__ = ["TABLES", "WORKBOOK", "neutral", "write"]

WORKBOOK = "tables.xlsx"
SHEET_ITEMS_MAX = 250_000  # LibreOffice takes 40 s to open so many rows of items; see docs/decisions/0007

Tell = Callable[[int], None]


def write(dossier: Dossier, folder: Path, tell: Tell = lambda runs: None) -> dict[str, str]:
    """Writes all tables into ``folder``, which exists; returns the SHA-256 of each file by its name.

    ``tell`` is called with the number of runs whose items were written since it was called last. Raises OSError, and
    ValueError when items and runs disagree.
    """
    seen = Seen(dossier)
    content: list[tuple[Table, Callable[[], Iterator[Row]]]] = [
        (RESULTS, lambda: rows.results(dossier)),
        (STATES_OVER_TIME, lambda: rows.states(dossier)),
        (EXCEPTIONS, lambda: rows.exceptions(dossier)),
        (COVERAGE, lambda: rows.coverage(dossier)),
        (COVERAGE_BY_CONTROL, lambda: rows.coverage_by_control(dossier)),
        (RECONCILIATION, lambda: rows.reconciliation(dossier)),
        (CHANGES, lambda: rows.changes(dossier)),
        (ALERTS, lambda: rows.alerts(dossier)),
        (DECISIONS, lambda: rows.decisions(dossier)),
        (POPULATIONS, lambda: rows.populations(dossier, seen)),  # after items, which fill ``seen``
        (ANCHORS, lambda: rows.anchors(dossier)),
        (COLLECTOR, lambda: rows.collector(dossier)),
        (SPOTS, lambda: rows.spots(dossier)),
    ]
    makers = dict(content)
    counts: list[tuple[str, str]] = []
    digests: dict[str, str] = {}
    with closing(Book(folder / WORKBOOK, dossier)) as book:
        for table in TABLES:
            sheet = Sheet(book, table)
            with _Hashed(folder / f"{table.name}.csv") as file:
                file.write(_line(table.header))
                if table is ITEMS:
                    count = _write_items(dossier, file, sheet, book.clock, seen, tell)
                else:
                    count = _write_rows(makers[table](), table, file, sheet, book.clock)
            digests[f"{table.name}.csv"] = file.digest
            sheet.close()
            counts.append((table.name, f"{number(count)} {'row' if count == 1 else 'rows'}. {table.about}"))
        book.about([*_origin(dossier, book.clock), *counts])
    with (folder / WORKBOOK).open("rb") as written:
        digests[WORKBOOK] = hashlib.file_digest(written, "sha256").hexdigest()
    return digests


class _Hashed:
    """A file that is hashed as it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self._file: IO[bytes]

    def __enter__(self) -> _Hashed:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._file.write(data)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def _write_rows(made: Iterator[Row], table: Table, file: _Hashed, sheet: Sheet, clock: Clock) -> int:
    for row in made:
        written = cells(row, clock, table)
        file.write(_line(written))
        sheet.add(row, written)
    return sheet.rows


def _line(written: Iterable[str | int]) -> bytes:
    """One line of CSV, ended."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(written)
    return text.getvalue().encode()


def cells(row: Iterable[Value], clock: Clock, table: Table) -> list[str | int]:
    """A row as CSV cells."""
    found: list[str | int] = []
    for column, value in zip(table.columns, row, strict=True):
        if column.form is Form.TIME:
            found += [utc(value), clock.rfc3339(value)] if isinstance(value, datetime) else ["", ""]
        elif value is None:
            found.append("")
        elif isinstance(value, bool):
            found.append("yes" if value else "no")
        elif isinstance(value, int):
            found.append(value)
        else:
            assert isinstance(value, str), f"{table.name}.{column.name}: {value!r} stands in the wrong column"
            found.append(neutral(value))
    return found


# --- items ---


class _Block:
    """The rows of one run's items, but for their first cells, which say which run it is.

    What the block ``before`` it says of a subject is taken over where nothing of it changed.
    """

    def __init__(self, run: RunItems, before: _Block | None) -> None:
        self.observations = run.observations
        self.items = run.items
        known = (
            {} if before is None else {i.subject: (i, line) for i, line in zip(before.items, before.lines, strict=True)}
        )
        self.lines: list[bytes] = []
        for item in run.items:
            same = known.get(item.subject)
            if same is not None and same[0] == item:
                self.lines.append(same[1])
            else:
                self.lines.append(_line(_item_cells(run, item)))
        self.digest = population_digest(item.subject for item in run.items)


def _item_cells(run: RunItems, item: Item) -> list[str]:
    facts = "" if item.facts is None else canonical.payload(item.facts).decode()  # canonical already, as it was sealed
    found = (run.check, run.scope, item.subject, item.state, item.reason, facts, " ".join(item.evidence))
    return [neutral(text) for text in found]


def _write_items(dossier: Dossier, file: _Hashed, sheet: Sheet, clock: Clock, seen: Seen, tell: Tell) -> int:
    """Streams the items; what populations needs to know of each run is put into ``seen`` on the way."""
    shown = dossier.item_rows <= SHEET_ITEMS_MAX
    held: dict[tuple[str, str], _Block] = {}
    count = 0
    for run in dossier.items():
        pair = (run.check, run.scope)
        block = held.get(pair)
        if block is None or block.observations != run.observations:
            block = held[pair] = _Block(run, block)
        seen.add(run, len(block.lines), block.digest)
        times = ["", ""] if run.slot is None else [utc(run.slot), clock.rfc3339(run.slot)]
        if block.lines:
            begin = f"{times[0]},{times[1]},{run.run},".encode()
            file.write(begin + begin.join(block.lines))
        if shown:
            for item in run.items:
                facts = [] if run.slot is None else [run.slot]
                sheet.add(tuple(facts), [*times, run.run, *_item_cells(run, item)])
        count += len(block.lines)
        tell(1)
    if not shown:
        sheet.say(
            (
                f"{number(count)} rows: more than a workbook can hold. They are in items.csv.",
                "The sheet states says the same in fewer: one row for each stretch in which nothing changed.",
                "A package of one control alone (collector export --control ID) may be small enough for a sheet.",
                "A sample out of them is drawn with: collector sample --package PACKAGE --control ID --seed SEED --n N",
            )
        )
    return count


# --- about ---


def _origin(dossier: Dossier, clock: Clock) -> list[tuple[str, str]]:
    return [
        ("origin", dossier.origin),
        ("window", dossier.name),
        ("from", f"{clock.full(dossier.since)}, included"),
        ("until", f"{clock.full(dossier.until)}, not included"),
        ("zone", f"{dossier.zone.key}: columns named _local; columns named _utc are UTC"),
        ("controls", ", ".join(dossier.chosen) or "all that serve the criteria"),
        ("criteria", ", ".join(dossier.criteria) or "those of all controls"),
        ("scopes", ", ".join(dossier.scopes) or "all that were planned"),
        ("exported at", utc(dossier.exported_at)),
        ("collector", dossier.collector),
        ("ledger entries", f"{dossier.first} to {dossier.last - 1}"),
        ("key", dossier.vkey),
        ("assurance", dossier.assurance),
        ("apostrophes", "A text that a spreadsheet could take for a formula has an apostrophe put before it."),
    ]
