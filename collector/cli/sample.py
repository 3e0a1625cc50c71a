"""``sample``: items or slots of one control, drawn so that anybody draws the same, from ledger or package alone."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collector import canonical, daemon, errors
from collector.cli.app import app
from collector.cli.terminal import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    out,
    print_json,
    progress,
    reading,
    settings_of,
    table_of,
)

if TYPE_CHECKING:
    from collector.export.sampling import Drawn, Sample

COLUMNS = (
    "window", "control", "of", "seed", "n", "population", "population_digest",
    "place", "rank", "check", "scope", "slot_utc", "slot_local", "subject", "state", "reason", "facts", "evidence",
    "run", "calls",
)  # fmt: skip


@app.command()
def sample(
    control: Annotated[str, typer.Option("--control", help="The control to draw from.", metavar="ID")],
    seed: Annotated[str, typer.Option("--seed", help="Any text; whoever tests chooses it.")],
    n: Annotated[int, typer.Option("--n", help="How many to draw.")],
    window: Annotated[str, typer.Option("--window", help="The window's name. Of a package: its own.")] = "",
    package: Annotated[
        Path | None,
        typer.Option("--package", help="Draw from this folder or .zip alone, without ledger or configuration."),
    ] = None,
    slots: Annotated[
        bool, typer.Option("--slots", help="Draw due slots instead of items: did the control operate when it was due?")
    ] = False,
    target: Annotated[Path | None, typer.Option("--out", help="A new CSV file for the sample.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Draw a sample of one control that anybody draws again, and say what it shows.

    An item is one subject in one slot. The ids are ordered by SHA-256 over seed and id; the first n are the sample.
    """
    from collector.export import read, sampling

    of = sampling.SLOTS if slots else sampling.ITEMS
    if package is not None:
        source = sampling.of_package(package)
        if window and window != source.window:
            raise errors.ConfigError(f"{package} is of the window {source.window}, not {window}")
        zone = source.zone
        with progress("drawing"):
            drawn = sampling.draw(source, control, seed, n, of)
    else:
        if not window:
            raise errors.ConfigError("name a window with --window, or a package with --package")
        settings = settings_of(config)
        with reading(settings) as ledger, progress("drawing"):
            dossier = read.read(ledger, settings, window, daemon.utc_now(), upto=ledger.size())
            drawn = sampling.draw(sampling.of_ledger(dossier, ledger), control, seed, n, of)
            zone = dossier.zone
    rows = [record(drawn, item, zone) for item in drawn.drawn]
    if target is not None:
        _write(target, rows)
    if as_json:
        print_json({**_head(drawn), "items": rows, "says": drawn.says})
        return
    if target is None:
        table = table_of("", "place", "slot", "scope", "subject", "state", "reason", "run")
        for item in drawn.drawn:
            where = (f"{item.slot:%Y-%m-%d %H:%M}Z", item.scope, item.subject, item.state, item.reason)
            table.add_row(str(item.chosen.place), *where, "" if item.run is None else str(item.run))
        out.print(table)
    population = drawn.population
    out.print(
        f"\n{len(drawn.drawn)} of {population.count} {of} of {control} in the window {drawn.window}, seed {seed!r}; "
        f"population {population.digest}" + (f"; {target}" if target else ""),
        markup=False,
    )
    for line in drawn.says or ["There was nothing to draw from: the population is empty."]:
        out.print(f"  - {line}", markup=False)


def _head(drawn: Sample) -> dict[str, Any]:
    return {
        "window": drawn.window,
        "control": drawn.control,
        "of": drawn.of,
        "seed": drawn.seed,
        "n": drawn.n,
        "population": drawn.population.count,
        "population_digest": drawn.population.digest,
    }


def record(drawn: Sample, item: Drawn, zone: Any) -> dict[str, Any]:
    """One drawn item with everything that says what it was drawn from."""
    return {
        **_head(drawn),
        "place": item.chosen.place,
        "rank": item.chosen.rank,
        "check": item.check,
        "scope": item.scope,
        "slot_utc": canonical.stamp(item.slot),
        "slot_local": item.slot.astimezone(zone).isoformat(timespec="microseconds"),
        "subject": item.subject,
        "state": item.state,
        "reason": item.reason,
        "facts": item.facts,
        "evidence": item.evidence,
        "run": "" if item.run is None else item.run,
        "calls": item.calls,
    }


def _write(target: Path, rows: list[dict[str, Any]]) -> None:
    """The sample as CSV, whole or not at all, and never over something else."""
    from collector.export.tables import neutral

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(neutral(cell) if isinstance(cell := row[name], str) else cell for name in COLUMNS)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        if target.exists():
            raise errors.ExportError(f"{target} is already there; evidence is never overwritten: name another place")
        partial.write_bytes(text.getvalue().encode())
        partial.replace(target)
    except OSError as error:
        raise errors.ExportError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
