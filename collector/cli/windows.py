"""``window``: which there are, how each is, and who opens and closes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from collector import canonical, daemon, windows
from collector.cli.app import window_app
from collector.cli.terminal import (
    DEFAULT_CONFIG,
    ConfigOption,
    Exit,
    JsonOption,
    err,
    out,
    print_json,
    reading,
    settings_of,
    table_of,
    words_for,
)
from collector.config import Settings
from collector.errors import ConfigError, StoreError
from collector.ledger.entry import Entry
from collector.ledger.store import Ledger
from collector.model import State
from collector.window import history
from collector.window.findings import Finding
from collector.window.history import Recorded

if TYPE_CHECKING:
    from collector.export.dossier import Dossier

SELDOM_SHOWN = 5


@window_app.command("list")
def window_list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Every window that the configuration names or the ledger knows, and how it is now."""
    from collector.export import recorded

    settings = settings_of(config)
    now = daemon.utc_now()
    known: dict[str, list[Recorded]] = {}
    with _ledger_if_any(settings) as ledger:
        if ledger is not None:
            known = recorded.histories(ledger)
    rows = []
    for name in (*settings.windows, *(name for name in sorted(known) if name not in settings.windows)):
        told = known.get(name, [])
        window = recorded.window(settings, known, name)
        definition = recorded.definition_of(window)
        rows.append(
            {
                "name": name,
                "since": canonical.stamp(window.since),
                "until": canonical.stamp(window.until),
                "zone": window.zone,
                "status": history.status(definition, told, now).value,
                "configured": name in settings.windows,
                "recorded": canonical.stamp(told[0].at) if told else None,
                "as_recorded": bool(told) and told[-1].definition == definition,
                "changed_late": [after.seq for _, after in history.moved_late(told)],
            }
        )
    if as_json:
        print_json(rows)
        return
    table = table_of("", "name", "status", "since", "until", "zone", "first recorded", "")
    for row in rows:
        shown = [str(row[key] or "never") for key in ("name", "status", "since", "until", "zone", "recorded")]
        table.add_row(*shown, _remark(row))
    out.print(table)


def _remark(row: Mapping[str, Any]) -> str:
    """What an auditor would stumble over."""
    found = [] if row["configured"] else ["configured no longer"]
    if row["configured"] and row["recorded"] and not row["as_recorded"]:
        found.append("configured otherwise than recorded: the collector writes it down when it starts")
    if row["changed_late"]:
        found.append(f"changed when it had begun: entry {', '.join(map(str, row['changed_late']))}")
    return "; ".join(found)


@contextmanager
def _ledger_if_any(settings: Settings) -> Iterator[Ledger | None]:
    """The ledger, or None before there is one: windows are configured before anything is collected."""
    try:
        ledger = daemon.open_ledger(settings)
    except (ConfigError, StoreError) as error:
        err.print(f"only what is configured is shown: {error}", markup=False)
        yield None
        return
    try:
        yield ledger
    finally:
        ledger.close()


@window_app.command("show")
def window_show(
    name: Annotated[str, typer.Argument(help="The name of a window.")],
    scopes: Annotated[bool, typer.Option("--scopes", help="Also each control over each scope.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Coverage, deviations and findings of one window, up to now, as a picture and a table."""
    from collector.export import read

    settings = settings_of(config)
    with reading(settings) as ledger:
        dossier = read.read(ledger, settings, name, daemon.utc_now(), upto=ledger.size())
    if as_json:
        print_json([_with_scopes(finding_record(finding), dossier) for finding in dossier.findings])
    else:
        _show(dossier, scopes)
    worst = {finding.state for finding in dossier.findings}
    if State.UNDETERMINED in worst:
        raise typer.Exit(Exit.BLIND)
    raise typer.Exit(Exit.DEVIATIONS if State.NOT_SATISFIED in worst else Exit.FINE)


def _show(dossier: Dossier, scopes: bool) -> None:
    from collector.cli import picture
    from collector.export.itself import itself_line

    ends = dossier.ends or dossier.until
    counting = {check for line in dossier.control_coverage for check in line.checks}
    controls = [
        (card.id, [check for check in card.checks if check in counting])
        for card in dossier.controls
        if counting.intersection(card.checks)
    ]
    for words in _about(dossier):
        out.print(words, markup=False)
    out.print(f"The collector itself: {itself_line(dossier.own)}.", markup=False)
    out.print()
    stretch = (dossier.since, dossier.until, ends)
    picture.show(out, controls, dossier.slots, dossier.control_coverage, stretch, dossier.zone, scopes=scopes)
    out.print()
    out.print(findings_table(dossier))
    if scopes:
        out.print()
        out.print(_scopes_table(dossier))


def _about(dossier: Dossier) -> list[str]:
    """The window in a few lines: when, since when it is known, and what was promised and not planned."""
    from collector.cli import picture

    begin, end = (at.astimezone(dossier.zone) for at in (dossier.since, dossier.ends or dossier.until))
    told = dossier.history
    over = picture.share_of(dossier.since, dossier.until, dossier.ends or dossier.until)
    closing = history.closed(told)
    found = [
        f"{dossier.name}: {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} {dossier.zone.key}, {over}"
        + (f"; closed by {closing.by}, entry {closing.seq}" if closing is not None else "")
    ]
    if not told:
        found.append(
            "Not recorded in the ledger yet: the collector does it when it starts, `collector window open` now."
        )
    for before, after in history.moved_late(told):
        parts = [
            f"{name} was {was}, is {now}" for name, was, now in history.differences(before.definition, after.definition)
        ]
        found.append(f"Changed when it had begun, entry {after.seq} of {canonical.stamp(after.at)}: {'; '.join(parts)}")
    promised = words_for(timedelta(seconds=dossier.frequency_s or 0))
    for item in dossier.seldom:
        found.append(
            f"Promised at least every {promised}, and planned less often: "
            f"{item.check} over {item.scope}, nothing due for up to {words_for(item.longest)}"
        )
    if len(dossier.seldom) > SELDOM_SHOWN:
        left = len(dossier.seldom) - SELDOM_SHOWN
        found[-left:] = [f"and {left} more that are planned less often than promised; --json names them"]
    return found


def _scopes_table(dossier: Dossier) -> Table:
    """The coverage of every control over every scope."""
    table = table_of(
        "", "control", "scope", "slots covered", "late", "partial", "gap", "missed", "longest gap", "since"
    )
    for line in dossier.control_coverage:
        since = line.longest_gap_since
        table.add_row(
            line.control,
            line.scope,
            f"{line.covered} of {line.due}",
            *(str(count) for count in (line.late, line.partial, line.gap, line.missed)),
            words_for(line.longest_gap),
            f"{since.astimezone(dossier.zone):%Y-%m-%d %H:%M}" if since else "",
        )
    return table


def _with_scopes(record: dict[str, Any], dossier: Dossier) -> dict[str, Any]:
    """A finding with its coverage by scope, and what of it was planned less often than the window promises."""
    cards = {card.id: card for card in dossier.controls}
    record["scopes"] = [
        {
            "scope": line.scope,
            "checks": list(line.checks),
            "due": line.due,
            "covered": line.covered,
            "late": line.late,
            "partial": line.partial,
            "gap": line.gap,
            "missed": line.missed,
            "longest_gap_s": int(line.longest_gap.total_seconds()),
            "longest_gap_since": canonical.stamp(line.longest_gap_since) if line.longest_gap_since else None,
        }
        for line in dossier.control_coverage
        if line.control == record["control"]
    ]
    record["planned_seldom"] = [
        {
            "check": item.check,
            "scope": item.scope,
            "longest_s": int(item.longest.total_seconds()),
            "since": canonical.stamp(item.since),
        }
        for item in dossier.seldom
        if item.check in cards[record["control"]].checks
    ]
    return record


@window_app.command("open")
def window_open(
    name: Annotated[str, typer.Argument(help="The name of a window of the configuration.")],
    by: Annotated[str, typer.Option("--by", help="Who opens it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Record a window of the configuration as it is now, or open again what was closed."""
    settings = settings_of(config)
    with reading(settings) as ledger:
        entry = windows.open_window(ledger, settings, daemon.utc_now(), name, by, reason)
    _said(entry, as_json)


@window_app.command("close")
def window_close(
    name: Annotated[str, typer.Argument(help="The name of a window.")],
    by: Annotated[str, typer.Option("--by", help="Who closes it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; required before the window's end.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Write down that nothing more is expected of a window. What was due in it stays due, and counts."""
    settings = settings_of(config)
    with reading(settings) as ledger:
        entry = windows.close_window(ledger, settings, daemon.utc_now(), name, by, reason)
    _said(entry, as_json)


def _said(entry: Entry, as_json: bool) -> None:
    if as_json:
        print_json(entry.data)
    else:
        out.print(f"Entry {entry.seq} of the ledger says so.")


def finding_record(finding: Finding) -> dict[str, Any]:
    """A finding as JSON: durations in whole seconds."""
    return {
        "control": finding.control,
        "state": finding.state.value,
        "due": finding.due,
        "covered": finding.covered,
        "deviations": len(finding.deviations),
        "longest_gap_s": int(finding.longest_gap.total_seconds()),
        "words": finding.words,
    }


def findings_table(dossier: Dossier) -> Table:
    """The controls of a window with what became of them."""
    table = table_of("", "control", "owner", "finding", "slots covered", "exceptions", "longest gap")
    cards = {card.id: card for card in dossier.controls}
    for finding in dossier.findings:
        table.add_row(
            f"{finding.control} {cards[finding.control].title}",
            cards[finding.control].owner,
            f"{finding.state.value}: {finding.words}",
            f"{finding.covered} of {finding.due}",
            str(len(finding.deviations)),
            words_for(finding.longest_gap),
        )
    return table
