"""``anchor``: the places outside that hold checkpoints."""

from __future__ import annotations

from typing import Any

import typer

from collector import daemon
from collector.cli.app import anchor_app
from collector.cli.terminal import (
    DEFAULT_CONFIG,
    ConfigOption,
    Exit,
    JsonOption,
    out,
    print_json,
    reading,
    settings_of,
    table_of,
)
from collector.errors import CannotObserve, ConfigError
from collector.ledger.entry import Kind


@anchor_app.command("list")
def anchor_list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Every configured place with the last checkpoint that it took, and what it said last."""
    settings = settings_of(config)
    rows: dict[str, dict[str, Any]] = {
        id: {"anchor": id, "size": None, "time": "", "where": "", "last": "", "reason": "never asked"}
        for id in settings.anchors.ids()
    }
    with reading(settings) as ledger:
        for entry in ledger.entries(kinds=[Kind.ANCHOR]):
            row = rows.get(entry.data["anchor"])
            if row is None:
                continue  # no longer configured
            row |= {"last": entry.data["at"], "reason": entry.data["reason"]}
            if entry.data["outcome"] == "anchored":
                row |= {name: entry.data[name] for name in ("size", "time", "where")}
    if as_json:
        print_json(list(rows.values()))
        return
    table = table_of("", "anchor", "entries held", "time there", "where", "last asked", "trouble")
    for row in rows.values():
        table.add_row(row["anchor"], str(row["size"] or "none"), row["time"], row["where"], row["last"], row["reason"])
    out.print(table)


@anchor_app.command("test")
def anchor_test(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Ask every place whether it works, and whether it holds more than the ledger has. Writes nothing."""
    with daemon.opened(settings_of(config), create=False) as operation:
        anchoring = daemon.anchoring(operation)
        rows: list[dict[str, str]] = []
        for id, place in anchoring.places.items():
            try:
                anchoring.ask(id, place)
            except (CannotObserve, ConfigError) as error:
                rows.append({"anchor": id, "trouble": str(error)})
            else:
                rows.append({"anchor": id, "trouble": ""})
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            out.print(f"{row['anchor']}: {row['trouble'] or 'works'}", markup=False)
        if not rows:
            out.print("No place is configured: whoever holds the key and the database could rewrite history. See "
                      "docs/auditors.md, then name one under [anchors].", markup=False)  # fmt: skip
    raise typer.Exit(Exit.BLIND if any(row["trouble"] for row in rows) else Exit.FINE)


@anchor_app.command("now")
def anchor_now(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Sign the ledger as it stands and put the checkpoint into every place."""
    with daemon.opened(settings_of(config), create=False) as operation:
        anchoring = daemon.anchoring(operation)
        anchoring.begin()
        operation.checkpoint()
        done = anchoring.put_newest()
        operation.checkpoint()
        wanted = len(anchoring.places)
    out.print(f"{done} of {wanted} places took a checkpoint." if wanted else "No place is configured under [anchors].")
    raise typer.Exit(Exit.FINE if done == wanted else Exit.BLIND)
