"""``db``: the ledger's database."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from collector import daemon, retention
from collector.cli.app import db_app
from collector.cli.terminal import DEFAULT_CONFIG, ConfigOption, out, progress, reading, settings_of
from collector.ledger import moving


@db_app.command("upgrade")
def db_upgrade(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Create the database or bring it to this version."""
    settings = settings_of(config)
    ledger = daemon.open_ledger(settings, create=True)
    out.print(f"The ledger {ledger.origin} is at this version with {ledger.size()} entries.")
    ledger.close()


@db_app.command("verify")
def db_verify(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Check every entry, tile, checkpoint and blob. Exits 4 and says where it breaks."""
    settings = settings_of(config)
    with reading(settings) as ledger, progress("verifying") as step:
        found = ledger.verify(step, blobs=True)
    out.print(f"The ledger verifies: {found}")


@db_app.command("move")
def db_move(
    to: Annotated[str, typer.Option("--to", envvar="COLLECTOR_MOVE_TO", help="URL of an empty database.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Move the ledger to another database, such as from SQLite to PostgreSQL, and prove that it arrived.

    A URL with a password belongs into the variable, not on the command line.
    """
    settings = settings_of(config)
    with reading(settings) as ledger, ExitStack() as bars:
        found = moving.move(ledger, to, lambda words: bars.enter_context(progress(words)))
    out.print(f"Arrived and proved: {found}.")
    out.print(
        "Now set [collector] database, or COLLECTOR_COLLECTOR__DATABASE, to the new URL. Keep the old database until a "
        "package from the new one has been verified.",
        markup=False,
    )


@db_app.command("expire")
def db_expire(
    config: ConfigOption = DEFAULT_CONFIG,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be dropped.")] = False,
) -> None:
    """Drop payloads whose term is over, as [retention] says; their digests stay. The daemon does it daily."""
    settings = settings_of(config)
    now = daemon.utc_now()
    if settings.retention.payloads is None:
        out.print("No term is configured: payloads are kept for ever. Name one under [retention].", markup=False)
        return
    with reading(settings) as ledger:
        found = retention.due(ledger, settings, now)
        if found is not None and not dry_run:
            retention.drop(ledger, settings, now)
    count, size = (0, 0) if found is None else (len(found.digests), found.bytes)
    out.print(f"{count} payloads ({size} bytes) {'would be' if dry_run else 'were'} dropped.")


@db_app.command("rebuild")
def db_rebuild(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Drop everything that is derived and make it again from the ledger."""
    settings = settings_of(config)
    with reading(settings) as ledger, progress("rebuilding") as step:
        ledger.rebuild(step)
        size = ledger.size()
    out.print(f"Rebuilt from {size} entries.")
