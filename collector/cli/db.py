"""``db``: the ledger's database."""

from __future__ import annotations

from collector import daemon
from collector.cli.app import db_app
from collector.cli.terminal import DEFAULT_CONFIG, ConfigOption, out, progress, reading, settings_of


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


@db_app.command("rebuild")
def db_rebuild(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Drop everything that is derived and make it again from the ledger."""
    settings = settings_of(config)
    with reading(settings) as ledger, progress("rebuilding") as step:
        ledger.rebuild(step)
        size = ledger.size()
    out.print(f"Rebuilt from {size} entries.")
