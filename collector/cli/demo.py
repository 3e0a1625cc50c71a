"""``demo``: a window in simulated clouds, from nothing to a package that verifies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from collector import errors, logs
from collector.cli.app import app
from collector.cli.exporting import export_window
from collector.cli.terminal import out, progress, table_of, words_for
from collector.cli.windows import findings_table
from collector.window.slots import Slot, SlotState

if TYPE_CHECKING:
    from collector.export.dossier import Dossier


@app.command()
def demo(
    days: Annotated[int, typer.Option(min=2, max=366, help="Length of the window in days.")] = 30,
    seed: Annotated[int, typer.Option(help="The story's seed; the same seed tells the same story.")] = 7,
    target: Annotated[Path, typer.Option("--out", help="A new folder for configuration, ledger and package.")] = Path(
        "demo-out"
    ),
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Afterwards keep the cloud and a daemon running, and print how to reach them."),
    ] = False,
) -> None:
    """Three simulated clouds, a whole window in about two minutes, then export and verify. Needs no account."""
    from collector.export import read
    from collector.ledger import verify as verifier

    try:
        from collector.demo import play
    except ImportError as error:
        raise errors.ConfigError(
            f"the demo needs its extra: pip install 'evidence-collector[demo]' ({error})"
        ) from error
    logs.setup("console", "error")  # what happens is told in tables at the end
    with progress(f"living through {days} days") as step:
        played = play.play(days=days, seed=seed, folder=target, progress=step)
    try:
        info = export_window(played.settings, played.ledger, "demo", target / "package", played.now)
        dossier = read.read(played.ledger, played.settings, "demo", played.now)
        out.print(findings_table(dossier))
        out.print(deviations_table(dossier))
        out.print(gaps_table(dossier))
        out.print(
            f"{len(dossier.alerts)} alerts raised, {played.received} received by the webhook on loopback; "
            f"{info['entries']} ledger entries; {played.slots} account runs in {played.seconds:.0f} s.\n"
        )
        trust = played.hand_over()
        out.print(f"Package: {target / 'package'}   (open report.html in a browser, tables/tables.xlsx in Excel)")
        out.print(
            f"Trust:   {trust}   (what an auditor holds: keys, checkpoints that a witness saw, a time stamp's root)\n"
        )
        code = verifier.main([str(target / "package"), "--trust", str(trust)])
        if serve:
            played.serve(out.print)
    finally:
        played.close()
    raise typer.Exit(code)


def deviations_table(dossier: Dossier) -> Table:
    """The exceptions that began inside a window, with how long they lasted; those of the first look are counted."""
    first = min((slot.run.seq for slot in dossier.slots if slot.run is not None), default=0)
    looks = {(s.due.check, s.due.scope): s.run.seq for s in reversed(dossier.slots) if s.run is not None}
    began = [d for d in dossier.deviations if d.first_bad > looks.get((d.check, d.scope), first)]
    others = len(dossier.deviations) - len(began)
    table = table_of(f"\nExceptions that began in the window ({others} more stood from the first look on)", *HEADS)
    for d in began:
        lasted = words_for(d.duration) if d.until else f"{words_for(d.duration)}, still open"
        table.add_row(d.check, d.subject, f"{d.since:%m-%d %H:%M}", lasted, d.reason)
    return table


HEADS = ("check", "subject", "from", "lasted", "what")


def gaps_table(dossier: Dossier) -> Table:
    """Where nobody looked, one line a reason."""
    table = table_of("\nNobody looked", "slots", "first", "last", "why")
    by_reason: dict[str, list[Slot]] = {}
    for slot in dossier.slots:
        if slot.state in (SlotState.GAP, SlotState.MISSED, SlotState.PARTIAL):
            by_reason.setdefault(slot.reason, []).append(slot)
    for reason, slots in sorted(by_reason.items(), key=lambda item: item[1][0].due.at):
        table.add_row(str(len(slots)), f"{slots[0].due.at:%m-%d %H:%M}", f"{slots[-1].due.at:%m-%d %H:%M}", reason)
    return table
