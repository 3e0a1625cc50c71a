"""The workbook of a package: a sheet for each table, within the limits of a spreadsheet. Knows no table by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xlsxwriter

from collector.export.columns import Column, Form, Table
from collector.export.dossier import Dossier
from collector.export.words import Clock

Value = str | int | bool | datetime | None
Row = tuple[Value, ...]

ROWS_MAX = 1_048_576  # of a sheet, with its header: Excel's own limit
CELL_UNITS_MAX = 32_767  # UTF-16 units of a cell: Excel's own limit
A4 = 9  # of Excel's paper sizes
PRINTED_WIDTH = 260  # characters on one page at most, in a size that can still be read
ABOUT_WIDTH, LINE_POINTS = 110, 15
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


def neutral(text: str) -> str:
    """``text`` so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(DANGEROUS) else text


def cut(text: str, file: str) -> str:
    """``text`` as long as a cell of a workbook may be, saying where the rest of it is."""
    if 2 * len(text) <= CELL_UNITS_MAX:
        return text
    units = text.encode("utf-16-le")
    if len(units) <= 2 * CELL_UNITS_MAX:
        return text
    note = f" … [cut here: the whole cell is in {file}]"
    return units[: 2 * (CELL_UNITS_MAX - len(note))].decode("utf-16-le", "ignore") + note


class Sheet:
    """One table in the workbook, going on in a further sheet when one is full."""

    def __init__(self, book: Book, table: Table) -> None:
        self._book, self._table = book, table
        self._local = [place for place, column in enumerate(_written(table)) if column is None]
        self._part = 0
        self._said = False
        self.rows = 0
        self._open()

    def _open(self) -> None:
        self._part += 1
        name = self._table.name if self._part == 1 else f"{self._table.name} ({self._part})"
        self._sheet = self._book.sheet(name)
        place = wide = 0
        for column in self._table.columns:
            for title in Table("", "", (column,)).header:
                width = max(column.form.value, len(title) + 4)
                self._sheet.write_string(0, place, title, self._book.bold)
                self._sheet.set_column(place, place, width)
                place, wide = place + 1, wide + width
        self._sheet.fit_to_pages(-(-wide // PRINTED_WIDTH), 0)
        self._sheet.freeze_panes(1, 0)
        self._sheet.repeat_rows(0)
        self._next = 1

    def add(self, row: Row, written: Sequence[str | int]) -> None:
        """One row: ``written`` are its CSV cells, which are kept but for local times and cells that are too long."""
        if self._next == ROWS_MAX:
            self.close()
            self._open()
        sheet, line = self._sheet, self._next
        moments = iter([value for value in row if isinstance(value, datetime)]) if self._local else iter(())
        for place, cell in enumerate(written):
            if cell == "":
                continue
            if isinstance(cell, int):
                sheet.write_number(line, place, cell)
            elif place in self._local:
                moment = next(moments).astimezone(self._book.clock.zone).replace(tzinfo=None)
                sheet.write_datetime(line, place, moment, self._book.date)
            else:
                sheet.write_string(line, place, cut(cell, f"{self._table.name}.csv"))
        self._next += 1
        self.rows += 1

    def say(self, lines: Iterable[str]) -> None:
        """Words in place of rows, for a table that is too long for a workbook."""
        self._said = True
        for text in lines:
            self._sheet.write_string(self._next, 0, text, self._book.plain)
            self._next += 1

    def close(self) -> None:
        if not self._said:
            self._sheet.autofilter(0, 0, self._next - 1, len(self._table.header) - 1)


def _written(table: Table) -> list[Column | None]:
    """The column behind each written one; None for the local half of a time."""
    found: list[Column | None] = []
    for column in table.columns:
        found += [column, None] if column.form is Form.TIME else [column]
    return found


class Book:
    """The workbook: written row by row, so that memory does not grow with the window."""

    def __init__(self, path: Path, dossier: Dossier) -> None:
        self.clock = Clock(dossier.zone, dossier.since, dossier.until)
        self._book: Any = xlsxwriter.Workbook(
            str(path),
            {
                "constant_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        # The time of creation is the export's, so that a repeated export gives the same bytes.
        created = dossier.exported_at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
        self._book.set_properties({"title": f"{dossier.origin}: {dossier.name}", "created": created})
        self.bold = self._book.add_format({"bold": True, "bottom": 1})
        self.plain = self._book.add_format({"italic": True})
        self.wrapped = self._book.add_format({"text_wrap": True, "valign": "top"})
        self.term = self._book.add_format({"bold": True, "valign": "top"})
        self.date = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss", "align": "left"})
        self._about = self.sheet("about")

    def sheet(self, name: str) -> Any:
        """A new sheet, which prints in landscape."""
        made = self._book.add_worksheet(name)
        made.set_landscape()
        made.set_paper(A4)
        made.set_footer("&L&F: &A&R&P / &N")
        return made

    def about(self, lines: Iterable[tuple[str, str]]) -> None:
        """The first sheet: what this workbook is, for whoever meets it without its package."""
        self._about.set_column(0, 0, 22)
        self._about.set_column(1, 1, ABOUT_WIDTH)
        self._about.fit_to_pages(1, 0)
        for place, (what, value) in enumerate(lines):
            self._about.set_row(place, LINE_POINTS * -(-(len(value) + 1) // (ABOUT_WIDTH - 10)))
            self._about.write_string(place, 0, what, self.term)
            self._about.write_string(place, 1, neutral(value), self.wrapped)

    def close(self) -> None:
        self._book.close()
