"""The tables of a package, as CSV files and as one workbook. Formats what a dossier says; computes no verdict.

``write(dossier, folder)`` makes results, items, exceptions, coverage, changes, alerts and populations (``.csv``) and
``tables.xlsx`` with the same sheets and one named "about". The same dossier gives the same bytes.

CSV is RFC 4180: UTF-8 without mark, CRLF, a header row. Each time stands there twice: ``*_utc`` is RFC 3339 with
microseconds and ``Z``, as in the ledger; ``*_local`` is the same moment with the offset of the window's zone (in the
workbook a date that sorts and filters). What is unknown is an empty cell; flags are ``yes`` and ``no``. A text that
begins with ``= + - @``, tab or carriage return gets a leading apostrophe, since a spreadsheet would run it; the ids of
accounts, checks and scopes never begin so.

results.csv has one row for each due slot, in the order of ``dossier.slots``:

    account, check, scope       as in the plan entry
    due_utc, due_local          when it was due
    state                       of the slot: observed, late, partial, gap, missed
    run                         seq of the run entry that decides, or empty
    started_utc, started_local  when that run began, or empty
    late_s                      whole seconds from due to begun, or empty
    population                  subjects; empty where nobody could list them
    satisfied, not_satisfied, not_applicable, undetermined   how many of them; all empty where population is
    reason                      why it is not "observed", neutralised as above
    gap                         seq of the gap entry that declares it, or empty
    runs                        how many runs claim the slot; the first of them decides

``TABLES`` names every column of every table with its meaning; README prints it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import xlsxwriter

from collector import canonical
from collector.export.dossier import Dossier, Item
from collector.export.words import AlertBook, Clock, delivered, duration, number, utc
from collector.ledger.entry import population_digest
from collector.model import State
from collector.window.coverage import percent
from collector.window.slots import Ran

Value = str | int | bool | datetime | None
Row = tuple[Value, ...]

ROWS_MAX = 1_048_576  # of a sheet, with its header: Excel's own limit
CELL_UNITS_MAX = 32_767  # UTF-16 units of a cell: Excel's own limit
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
WORKBOOK = "tables.xlsx"


class Form(Enum):
    """What a column holds, with the width of its cells in the workbook."""

    ID = 30
    TEXT = 48
    WORD = 15
    WHOLE = 12
    FLAG = 10
    TIME = 28  # two columns: _utc and _local


@dataclass(frozen=True)
class Column:
    name: str
    form: Form
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table: ``about`` says what one row is."""

    name: str
    about: str
    columns: tuple[Column, ...]

    @cached_property
    def header(self) -> tuple[str, ...]:
        """The names of the written columns; a time has two."""
        return tuple(
            name
            for column in self.columns
            for name in ((f"{column.name}_utc", f"{column.name}_local") if column.form is Form.TIME else (column.name,))
        )


CHECK = Column("check", Form.ID, "The check's id.")
SCOPE = Column("scope", Form.ID, "Account, and the part of it where that matters.")
SUBJECT = Column("subject", Form.TEXT, "The cloud's own full name of it; empty where the whole scope is meant.")
REASON = Column("reason", Form.TEXT, "Why, in words.")
STATES = tuple(Column(state.value.replace("-", "_"), Form.WHOLE, f"Subjects found {state.value}.") for state in State)

RESULTS = Table(
    "results",
    "One row for each execution that the plan asked for, whatever became of it.",
    (
        Column("account", Form.ID, "The account whose plan asked for it."),
        CHECK,
        SCOPE,
        Column("due", Form.TIME, "When it was due."),
        Column("state", Form.WORD, "What became of it: observed, late, partial, gap or missed."),
        Column("run", Form.WHOLE, "Ledger entry of the run that answered it; empty where none did."),
        Column("started", Form.TIME, "When that run began."),
        Column("late_s", Form.WHOLE, "Whole seconds from due to begun."),
        Column("population", Form.WHOLE, "Subjects in scope; empty where nobody could list them."),
        *STATES,
        Column("reason", Form.TEXT, "Why it is not plainly observed."),
        Column("gap", Form.WHOLE, "Ledger entry that declares the gap; empty where no entry does."),
        Column("runs", Form.WHOLE, "How many runs claim the slot. The first decides; a second look changes nothing."),
    ),
)
ITEMS = Table(
    "items",
    "One row for each subject in each run.",
    (
        Column("slot", Form.TIME, "The slot that the run answers; empty for a run by hand."),
        Column("run", Form.WHOLE, "Ledger entry of the run."),
        CHECK,
        SCOPE,
        SUBJECT,
        Column("state", Form.WORD, "satisfied, not-satisfied, not-applicable or undetermined."),
        REASON,
        Column("facts", Form.TEXT, "What was read about it, as JSON; empty where it could not be read."),
        Column("evidence", Form.TEXT, "Ids of the answers that it rests on, in the run's call log."),
    ),
)
EXCEPTIONS = Table(
    "exceptions",
    "One row for each stretch of time in which a subject was not satisfied.",
    (
        Column("controls", Form.ID, "The controls that bind the check."),
        CHECK,
        SCOPE,
        SUBJECT,
        REASON,
        Column("since", Form.TIME, "When it was first seen, or the window's start where it is older."),
        Column("until", Form.TIME, "When it was first seen mended; empty while it stands open."),
        Column("duration_s", Form.WHOLE, "Whole seconds inside the window."),
        Column("duration", Form.WORD, "The same in words."),
        Column("first_bad", Form.WHOLE, "Ledger entry of the run that first saw it."),
        Column("mended_by", Form.WHOLE, "Ledger entry of the run that first saw it mended."),
        Column("began_before_window", Form.FLAG, "Whether it is older than the window."),
        Column("still_open", Form.FLAG, "Whether it stood open at the window's end."),
        Column("alerts", Form.WORD, "Ledger entries of the alerts raised for it in the window."),
        Column("alerts_delivered", Form.TEXT, "Which channel took one, and when (UTC)."),
    ),
)
COVERAGE = Table(
    "coverage",
    "One row for each check and scope: how much of what was due was observed.",
    (
        CHECK,
        SCOPE,
        Column("due", Form.WHOLE, "Slots due."),
        Column("covered", Form.WHOLE, "Slots with every subject determined: observed and late."),
        Column("observed", Form.WHOLE, "In time, every subject determined."),
        Column("late", Form.WHOLE, "Every subject determined, begun after the grace."),
        Column("partial", Form.WHOLE, "Some subjects undetermined."),
        Column("gap", Form.WHOLE, "Declared: nobody could look."),
        Column("missed", Form.WHOLE, "Neither a run nor a declared gap."),
        Column("coverage", Form.WORD, "Covered of due, rounded down."),
        Column("longest_gap_s", Form.WHOLE, "Whole seconds of the longest stretch without a covered slot."),
        Column("longest_gap", Form.WORD, "The same in words."),
        Column("longest_gap_since", Form.TIME, "When that stretch began."),
    ),
)
CHANGES = Table(
    "changes",
    "One row for each change of configuration, of a check, of a plan or of a key.",
    (
        Column("entry", Form.WHOLE, "Ledger entry."),
        Column("at", Form.TIME, "When it was written."),
        Column("kind", Form.WORD, "Kind of the entry."),
        Column("what", Form.TEXT, "The change in words."),
    ),
)
ALERTS = Table(
    "alerts",
    "One row for each alert raised or resolved.",
    (
        Column("entry", Form.WHOLE, "Ledger entry."),
        Column("at", Form.TIME, "When it was raised or resolved."),
        Column("event", Form.WORD, "trigger or resolve."),
        Column("cause", Form.WORD, "failed: not satisfied; blind: can no longer be read; missed: nobody looked."),
        CHECK,
        SCOPE,
        SUBJECT,
        Column("control", Form.ID, "The control that it concerns."),
        Column("owner", Form.ID, "Who answers for that control."),
        REASON,
        Column("key", Form.TEXT, "The same for the alert and its resolution."),
        Column("delivered", Form.FLAG, "Whether at least one channel took it."),
        Column("deliveries", Form.TEXT, "Each attempt: channel, outcome, when (UTC)."),
    ),
)
POPULATIONS = Table(
    "populations",
    "One row for each run: how many subjects it found, and a digest that says whether they are the same.",
    (
        CHECK,
        SCOPE,
        Column("run", Form.WHOLE, "Ledger entry of the run."),
        Column("slot", Form.TIME, "The slot that it answers; empty for a run by hand."),
        Column("started", Form.TIME, "When it began."),
        Column("count", Form.WHOLE, "Subjects in scope; empty where nobody could list them."),
        Column("listing", Form.WORD, "complete, or none: the population could not be read."),
        *STATES,
        Column(
            "digest",
            Form.TEXT,
            "SHA-256 over the sorted names, one a line; equal to the field subjects of the run entry.",
        ),
        REASON,
    ),
)
TABLES = (RESULTS, ITEMS, EXCEPTIONS, COVERAGE, CHANGES, ALERTS, POPULATIONS)


# --- rows ---


def results(dossier: Dossier) -> Iterator[Row]:
    for slot in dossier.slots:
        run = slot.run
        yield (
            slot.due.account,
            slot.due.check,
            slot.due.scope,
            slot.due.at,
            slot.state.value,
            run.seq if run else None,
            run.started if run else None,
            int((run.started - slot.due.at).total_seconds()) if run else None,
            run.population if run else None,
            *_counts(run),
            slot.reason,
            slot.gap.seq if slot.gap else None,
            slot.runs,
        )


def _counts(run: Ran | None) -> list[Value]:
    if run is None or run.population is None:
        return [None] * len(State)
    return [run.states.get(state.value, 0) for state in State]


@dataclass
class Names:
    """The subjects of one run, gathered while the items pass by."""

    check: str
    scope: str
    slot: datetime | None
    count: int
    digest: str


def items(dossier: Dossier, seen: dict[int, Names]) -> Iterator[Row]:
    """The rows of items; what populations needs to know of each run is put into ``seen`` on the way.

    Raises ValueError when the items of one run do not stand together: a digest over half of them would be wrong.
    """
    last: Item | None = None
    subjects: list[str] = []

    def close() -> None:
        if last is not None:
            digest = population_digest(subjects)
            seen[last.run] = Names(last.check, last.scope, last.slot, len(subjects), digest)

    for item in dossier.items():
        if last is None or item.run != last.run:
            close()
            if item.run in seen:
                raise ValueError(f"the items of run {item.run} come in two parts; order them by run")
            subjects = []
        last = item
        subjects.append(item.subject)
        facts = "" if item.facts is None else canonical.record(dict(item.facts)).decode()
        evidence = " ".join(item.evidence)
        yield item.slot, item.run, item.check, item.scope, item.subject, item.state, item.reason, facts, evidence
    close()


def exceptions(dossier: Dossier) -> Iterator[Row]:
    controls: dict[str, list[str]] = {}
    for control in dossier.controls:
        for check in control.checks:
            controls.setdefault(check, []).append(control.id)
    book = AlertBook(dossier.alerts)
    for d in dossier.deviations:
        raised = book.of(d)
        yield (
            " ".join(controls.get(d.check, ())),
            d.check,
            d.scope,
            d.subject,
            d.reason,
            d.since,
            d.until,
            int(d.duration.total_seconds()),
            duration(d.duration),
            d.first_bad,
            d.mended_by,
            d.began_before_window,
            d.until is None,
            " ".join(str(alert.seq) for alert in raised),
            "; ".join(f"{channel} {utc(at)}" for alert in raised for channel, at in delivered(alert)),
        )


def coverage(dossier: Dossier) -> Iterator[Row]:
    for line in dossier.coverage:
        yield (
            line.check,
            line.scope,
            line.due,
            line.covered,
            line.observed,
            line.late,
            line.partial,
            line.gap,
            line.missed,
            percent(line.covered, line.due),
            int(line.longest_gap.total_seconds()),
            duration(line.longest_gap),
            line.longest_gap_since,
        )


def changes(dossier: Dossier) -> Iterator[Row]:
    for change in dossier.changes:
        yield change.seq, change.at, change.kind, change.what


def alerts(dossier: Dossier) -> Iterator[Row]:
    for a in dossier.alerts:
        yield (
            a.seq,
            a.at,
            a.event,
            a.cause,
            a.check,
            a.scope,
            a.subject,
            a.control,
            a.owner,
            a.reason,
            a.key,
            bool(delivered(a)),
            "; ".join(f"{channel} {outcome} {utc(at)}" for channel, outcome, at in a.deliveries),
        )


def populations(dossier: Dossier, seen: dict[int, Names]) -> Iterator[Row]:
    """One row a run, by check and scope. Read after ``items``, which fills ``seen``.

    Raises ValueError when a run's items are not as many as its entry says: such a package must not be written.
    """
    runs = {slot.run.seq: slot.run for slot in dossier.slots if slot.run} | {
        run.seq: run for run in dossier.runs_outside_slots
    }
    keys = [(run.check, run.scope, run.seq) for run in runs.values()]
    keys += [(names.check, names.scope, seq) for seq, names in seen.items() if seq not in runs]
    for check, scope, seq in sorted(keys):
        run, names = runs.get(seq), seen.get(seq)
        if run is None:
            # A further run of a slot that another run decided: its subjects are in the package all the same.
            assert names is not None
            yield (check, scope, seq, names.slot, None, names.count, "complete", *_counts(None), names.digest, "")
            continue
        if names is not None and names.count != run.population:
            raise ValueError(
                f"run {seq} lists {names.count} subjects, its entry says {run.population}; see `collector db verify`"
            )
        digest = names.digest if names else population_digest(()) if run.population == 0 else ""
        listing = "none" if run.population is None else "complete"
        yield (
            check,
            scope,
            seq,
            run.slot,
            run.started,
            run.population,
            listing,
            *_counts(run),
            digest,
            run.reason,
        )


# --- cells ---


def neutral(text: str) -> str:
    """``text`` so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(DANGEROUS) else text


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


def cut(text: str, file: str) -> str:
    """``text`` as long as a cell of a workbook may be, saying where the rest of it is."""
    if 2 * len(text) <= CELL_UNITS_MAX:
        return text
    units = text.encode("utf-16-le")
    if len(units) <= 2 * CELL_UNITS_MAX:
        return text
    note = f" … [cut here: the whole cell is in {file}]"
    return units[: 2 * (CELL_UNITS_MAX - len(note))].decode("utf-16-le", "ignore") + note


# --- the workbook ---


class Sheet:
    """One table in the workbook, going on in a further sheet when one is full."""

    def __init__(self, book: Book, table: Table) -> None:
        self._book, self._table = book, table
        self._part = 0
        self._next = ROWS_MAX  # no sheet yet: the first row opens one
        self.rows = 0
        self._open()

    def _open(self) -> None:
        self._part += 1
        name = self._table.name if self._part == 1 else f"{self._table.name} ({self._part})"
        self._sheet = self._book.sheet(name)
        place = 0
        for column in self._table.columns:
            for title in Table("", "", (column,)).header:
                self._sheet.write_string(0, place, title, self._book.bold)
                self._sheet.set_column(place, place, max(column.form.value, len(title) + 4))
                place += 1
        self._sheet.freeze_panes(1, 0)
        self._next = 1

    def add(self, row: Row, written: list[str | int]) -> None:
        """One row: ``written`` are its CSV cells, which are kept but for local times and cells that are too long."""
        if self._next == ROWS_MAX:
            self.close()
            self._open()
        local = iter(value for value in row if isinstance(value, datetime))
        for place, (title, cell) in enumerate(zip(self._table.header, written, strict=True)):
            if cell == "":
                continue
            if isinstance(cell, int):
                self._sheet.write_number(self._next, place, cell)
            elif title.endswith("_local"):
                moment = next(local).astimezone(self._book.clock.zone).replace(tzinfo=None)
                self._sheet.write_datetime(self._next, place, moment, self._book.date)
            else:
                self._sheet.write_string(self._next, place, cut(cell, f"{self._table.name}.csv"))
        self._next += 1
        self.rows += 1

    def close(self) -> None:
        self._sheet.autofilter(0, 0, max(self._next - 1, 1), len(self._table.header) - 1)


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
        self.date = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._about = self.sheet("about")

    def sheet(self, name: str) -> Any:
        return self._book.add_worksheet(name)

    def about(self, lines: Iterable[tuple[str, str]]) -> None:
        """The first sheet: what this workbook is, for whoever meets it without its package."""
        self._about.set_column(0, 0, 22)
        self._about.set_column(1, 1, 110)
        for place, (what, value) in enumerate(lines):
            self._about.write_string(place, 0, what, self.bold)
            self._about.write_string(place, 1, neutral(value))

    def close(self) -> None:
        self._book.close()


def write(dossier: Dossier, folder: Path) -> None:
    """Write all tables into ``folder``, which exists. Raises OSError, and ValueError when items and runs disagree."""
    seen: dict[int, Names] = {}
    content: list[tuple[Table, Iterator[Row]]] = [
        (RESULTS, results(dossier)),
        (ITEMS, items(dossier, seen)),
        (EXCEPTIONS, exceptions(dossier)),
        (COVERAGE, coverage(dossier)),
        (CHANGES, changes(dossier)),
        (ALERTS, alerts(dossier)),
        (POPULATIONS, populations(dossier, seen)),  # after items, which fills ``seen``
    ]
    counts: list[tuple[str, str]] = []
    with closing(Book(folder / WORKBOOK, dossier)) as book:
        for table, rows in content:
            sheet = Sheet(book, table)
            with (folder / f"{table.name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\r\n")
                writer.writerow(table.header)
                for row in rows:
                    written = cells(row, book.clock, table)
                    writer.writerow(written)
                    sheet.add(row, written)
            sheet.close()
            counts.append((table.name, f"{number(sheet.rows)} rows. {table.about}"))
        book.about([*_origin(dossier, book.clock), *counts])


def _origin(dossier: Dossier, clock: Clock) -> list[tuple[str, str]]:
    return [
        ("origin", dossier.origin),
        ("window", dossier.name),
        ("from", f"{clock.full(dossier.since)}, included"),
        ("until", f"{clock.full(dossier.until)}, not included"),
        ("zone", f"{dossier.zone.key}: columns named _local; columns named _utc are UTC"),
        ("exported at", utc(dossier.exported_at)),
        ("collector", dossier.collector),
        ("ledger entries", f"{dossier.first} to {dossier.last - 1}"),
        ("key", dossier.vkey),
        ("assurance", dossier.assurance),
        ("apostrophes", "A text that a spreadsheet could take for a formula has an apostrophe put before it."),
    ]
