"""``witness``: a witness that an auditor, a parent company or another team runs. Needs no configuration file."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from collector import logs
from collector.cli.app import witness_app
from collector.cli.terminal import Exit, JsonOption, out, print_json, table_of
from collector.errors import ConfigError
from collector.witness.keeper import Keeper
from collector.witness.store import LogState

FolderOption = Annotated[Path, typer.Option("--folder", help="The witness's own folder.")]
VkeyArgument = Annotated[str, typer.Argument(metavar="VKEY", help="A log's public key: name+id+key.")]

NOTE_BYTES_MAX = 131_072


def now() -> int:
    """Unix seconds."""
    return int(time.time())


@contextmanager
def _opened(folder: Path) -> Iterator[Keeper]:
    keeper = Keeper.open(folder, now)
    try:
        yield keeper
    finally:
        keeper.close()


@witness_app.command("init")
def witness_init(
    folder: FolderOption,
    name: Annotated[str, typer.Option(help="What it signs under, for ever: a URL without scheme, host/name.")],
) -> None:
    """Make a witness: a folder with a key of its own. Prints the public key, which the log's operator configures."""
    Keeper.begin(folder, name, now).close()
    with _opened(folder) as keeper:
        out.print(f"{keeper.key}", markup=False)


@witness_app.command("trust")
def witness_trust(
    vkey: VkeyArgument,
    folder: FolderOption,
    begin: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="NOTE",
            help="A checkpoint that you hold: the first one to be cosigned has to continue it. Without it, the first "
            "that comes is believed.",
        ),
    ] = None,
) -> None:
    """Cosign for a log from now on; or, for one that is known, also under a further key. Needs no restart."""
    with _opened(folder) as keeper:
        key = keeper.trust(vkey, None if begin is None else _read(begin))
        state = next(state for state in keeper.logs() if state.origin == key.name)
    keys = f", which now has {len(state.keys)} trusted keys" if len(state.keys) > 1 else ""
    out.print(f"Cosigning for {key.name}{keys}, from {state.size} entries on.", markup=False)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(NOTE_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a checkpoint ({error}); name the right file") from error


@witness_app.command("distrust")
def witness_distrust(vkey: VkeyArgument, folder: FolderOption) -> None:
    """Cosign nothing more that this key has signed: it was replaced, or stolen. What was cosigned stays."""
    with _opened(folder) as keeper:
        key = keeper.distrust(vkey)
    out.print(f"No longer cosigning what {key} signs.", markup=False)


@witness_app.command("serve")
def witness_serve(
    folder: FolderOption,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to answer.")] = "127.0.0.1:8322",
    log_format: Annotated[str, typer.Option(help="console or json.")] = "console",
) -> None:
    """Answer until SIGTERM. Put a reverse proxy with TLS in front when others than the log reach it."""
    # a web server is no part of any other command
    from collector.witness.server import Server

    if log_format not in ("console", "json"):
        raise ConfigError(f"--log-format {log_format}: say console or json")
    logs.setup(log_format, "info")
    stop = threading.Event()
    with _opened(folder) as keeper:
        server = Server(listen, keeper)
        server.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        out.print(f"{keeper.key}\nlistening at {server.url}", markup=False)
        stop.wait()
        server.stop()


@witness_app.command("status")
def witness_status(folder: FolderOption, as_json: JsonOption = False) -> None:
    """Every log that is known, how far it has come, and what was wrong. Exits 4 when one has forked."""
    with _opened(folder) as keeper:
        key, rows = str(keeper.key), [_record(state) for state in keeper.logs()]
    forked = any(row["forks"] for row in rows)
    if as_json:
        print_json({"witness": key, "logs": rows})
    else:
        out.print(f"witness {key}\n", markup=False)
        table = table_of("", *COLUMNS, "trusted keys")
        for row in rows:
            table.add_row(*(str(row[name]) for name in COLUMNS), "\n".join(row["keys"]) or "none")
        out.print(table)
        if any(row["forks"] or row["unproved"] for row in rows):
            out.print(INCIDENTS, markup=False)
    raise typer.Exit(Exit.BROKEN if forked else Exit.FINE)


COLUMNS = ("origin", "entries", "cosigned", "checkpoints", "forks", "unproved")
INCIDENTS = (
    "\nforks: the log signed two histories, which nobody but its key can do. unproved: it signed a checkpoint that "
    "came without a proof that it continues what was cosigned. `collector witness export` writes them out."
)


def _record(state: LogState) -> dict[str, Any]:
    return {
        "origin": state.origin,
        "entries": state.size,
        "cosigned": f"{datetime.fromtimestamp(state.time, UTC):%Y-%m-%dT%H:%M:%SZ}" if state.time else "never",
        "checkpoints": state.checkpoints,
        "forks": state.forks,
        "unproved": state.unproved,
        "keys": [str(key) for key in state.keys],
        "former_keys": [str(key) for key in state.former],
    }


@witness_app.command("export")
def witness_export(
    folder: FolderOption,
    target: Annotated[Path, typer.Option("--out", metavar="TRUSTDIR", help="A new folder.")],
    origin: Annotated[str, typer.Option(help="Which log; can be left out when only one is known.")] = "",
) -> None:
    """Write a trust folder for `collector verify --trust`: every checkpoint cosigned, and the keys."""
    with _opened(folder) as keeper:
        known = [state.origin for state in keeper.logs()]
        if not origin and len(known) != 1:
            raise ConfigError(
                f"--origin: say which of {', '.join(known)}" if known else "no log is trusted yet; trust one first"
            )
        origin = origin or known[0]
        count = keeper.export(target, origin)
        incidents = next(state.forks + state.unproved for state in keeper.logs() if state.origin == origin)
    out.print(f"Wrote {count} checkpoints of {origin} to {target}.", markup=False)
    if incidents:
        out.print(
            f"Ask the operator about the incidents that lie in {target / 'incidents'}: {incidents}.", markup=False
        )
