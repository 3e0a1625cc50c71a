"""``export`` and ``verify``: the package of a window, and the proof of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collector import daemon, windows
from collector.cli import interchange
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
)
from collector.config import Settings
from collector.ledger.entry import Draft, Kind
from collector.ledger.store import Ledger

if TYPE_CHECKING:
    from collector.export.read import Asked


@app.command()
def export(
    window: Annotated[str, typer.Option("--window", help="The window's name in the configuration.")],
    target: Annotated[Path, typer.Option("--out", help="The package: a new folder, or a file ending in .zip.")],
    controls: Annotated[
        list[str] | None,
        typer.Option("--control", help="Only this control of the window; repeatable. Left out: all.", metavar="ID"),
    ] = None,
    criteria: Annotated[
        list[str] | None,
        typer.Option("--criterion", help="Only controls that serve this criterion; repeatable.", metavar="CC6.1"),
    ] = None,
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", help="Only this scope and what is below it; repeatable.", metavar="aws/123456789012"),
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who exports: written into the manifest.")] = "",
    form: Annotated[
        interchange.Format,
        typer.Option("--format", help="package, or one file for machines; with --out - to standard output."),
    ] = interchange.Format.PACKAGE,
    extras: Annotated[
        list[interchange.Extra] | None, typer.Option("--with", help="Put this format into the package too; repeatable.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Write the evidence package of one window: tables, report, raw answers, ledger, verifier.

    A part of a window is exported with --control, --criterion and --scope; the ledger in it is whole all the same.
    """
    from collector.export.read import Asked

    interchange.refuse(form, extras or (), target)
    asked = Asked(tuple(controls or ()), tuple(criteria or ()), tuple(scopes or ()))
    settings = settings_of(config)
    if form is interchange.Format.PACKAGE:
        _anchor(settings)
    with reading(settings) as ledger:
        if form is not interchange.Format.PACKAGE:
            interchange.write_alone(settings, ledger, window, form, target, as_json=as_json, asked=asked)
            return
        now = daemon.utc_now()
        info = export_window(settings, ledger, window, target, now, extras or (), asked=asked, by=by)
    if as_json:
        print_json({"package": str(target), **info})
    else:
        out.print(f"{target}: {info['entries']} entries, {info['files']} files. Verify it: collector verify {target}")


def _anchor(settings: Settings) -> None:
    """Signs the ledger and puts the checkpoint into every place outside, so that the newest evidence is held there too.

    A place that does not answer is written down and alerted; the package then says so.
    """
    if not settings.anchors.ids():
        return
    with daemon.opened(settings, create=False) as operation, progress("anchoring"):
        anchoring = daemon.anchoring(operation)
        anchoring.begin()
        operation.checkpoint()
        anchoring.put_newest()


def export_window(
    settings: Settings,
    ledger: Ledger,
    window: str,
    target: Path,
    now: datetime,
    extras: Sequence[interchange.Extra] = (),
    *,
    asked: Asked | None = None,
    by: str = "",
) -> dict[str, Any]:
    """Records the window as it is exported and signs what there is, writes the package, then writes into the ledger
    that it was written."""
    from collector.export import package, read

    windows.record(ledger, settings, now, window)
    ledger.checkpoint(now)
    dossier = read.read(ledger, settings, window, now, asked=asked, by=by)
    signer = daemon.signer_of(settings)
    with progress("writing the package") as step:
        info = package.write(dossier, ledger, signer, target, step, interchange.files(dossier, extras))
    with ledger.write() as batch:
        batch.add(Draft(Kind.EXPORT, now, info.fields))
    ledger.checkpoint(now)
    return {"entries": dossier.last - dossier.first, "files": info.files, "manifest": info.fields["manifest"]}


@app.command("verify")
def verify_command(
    package_path: Annotated[Path, typer.Argument(metavar="PACKAGE", help="A folder or a .zip.")],
    trust: Annotated[
        Path | None,
        typer.Option(help="Your own folder with log.vkey and checkpoints: what the package is held against."),
    ] = None,
    run_packaged_checks: Annotated[
        bool,
        typer.Option(help="Run check sources from the package where the installed version differs: code you trust."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove a package: integrity, continuity, plan coverage, and every verdict again from the raw answers."""
    from collector.ledger import verify as verifier
    from collector.ledger.quick import Quick

    arguments = [str(package_path)]
    if trust is not None:
        arguments += ["--trust", str(trust)]
    if run_packaged_checks:
        arguments += ["--run-packaged-checks"]
    if as_json:
        arguments += ["--json"]
    raise typer.Exit(verifier.main(arguments, Quick))
