"""What all commands share: exit codes, options, tables, progress, and how an error is said."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import IntEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from collector import config as config_file
from collector import daemon, errors, logs
from collector.config import Settings
from collector.ledger.store import Ledger


class Exit(IntEnum):
    """What the process says when it ends. Documented in docs/reference/cli.md."""

    FINE = 0
    DEVIATIONS = 1  # observed, and something is not satisfied
    USAGE = 2  # the command, the configuration or the database cannot be used as it stands, or a fault of ours
    BLIND = 3  # something could not be observed
    BROKEN = 4  # evidence does not verify


ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="COLLECTOR_CONFIG", help="The configuration file.", show_default=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DEFAULT_CONFIG = Path("collector.toml")

PIPE_COLUMNS = 160  # a file or a pipe has no width of its own; ARNs are long

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def exit_for(error: errors.CollectorError) -> Exit:
    """The exit code of an error of ours."""
    if isinstance(error, errors.LedgerBroken):
        return Exit.BROKEN
    if isinstance(error, errors.CannotObserve):
        return Exit.BLIND
    return Exit.USAGE


def die(words: str, code: Exit) -> NoReturn:
    err.print(f"collector: {words}", markup=False)
    raise SystemExit(code)


def settings_of(path: Path) -> Settings:
    settings = config_file.load(path, os.environ)
    logs.setup(settings.log.format, settings.log.level)
    return settings


@contextmanager
def reading(settings: Settings) -> Iterator[Ledger]:
    ledger = daemon.open_ledger(settings)
    try:
        yield ledger
    finally:
        ledger.close()


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")


def table_of(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


@contextmanager
def progress(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere. Call what it yields with (done, of how many)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def words_for(span: timedelta) -> str:
    """A duration in the two largest units that matter: "2 d 3 h", "45 min", "none"."""
    minutes = int(span.total_seconds() // 60)
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (rest, "min")) if count]
    return " ".join(parts[:2]) or "none"
