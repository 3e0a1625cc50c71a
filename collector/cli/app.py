"""The program and its groups of commands, and what is done before and after any of them."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from collector import __version__, errors, hush, logs
from collector.cli.terminal import Exit, die, exit_for, out

MALLOC = {-8: 2, -3: 65_536, -1: 65_536}  # M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
GARBAGE = (50_000, 20, 20)  # answers are large trees without circles: looking for those every 700 objects takes a tenth

app = typer.Typer(
    name="collector",
    help="Asks AWS, Azure and GCP how your controls really are, keeps the answers as dated, tamper-evident evidence, "
    "and proves for any observation window where the controls operated, where they did not, and where nobody looked.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
checks_app = typer.Typer(help="The checks that there are.", no_args_is_help=True)
window_app = typer.Typer(help="The observation windows of the configuration.", no_args_is_help=True)
db_app = typer.Typer(help="The ledger's database.", no_args_is_help=True)
anchor_app = typer.Typer(help="The places outside that hold checkpoints.", no_args_is_help=True)
key_app = typer.Typer(help="The key that signs the ledger.", no_args_is_help=True)
witness_app = typer.Typer(help="A witness of somebody else's ledger, which you run.", no_args_is_help=True)
app.add_typer(checks_app, name="checks")
app.add_typer(window_app, name="window")
app.add_typer(db_app, name="db")
app.add_typer(anchor_app, name="anchor")
app.add_typer(key_app, name="key")
app.add_typer(witness_app, name="witness")


def main() -> None:
    """The entry point: errors of ours become one sentence and an exit code; anything else is a fault of ours."""
    _small_heap()
    gc.set_threshold(*GARBAGE)
    hush.hold_environment(os.environ)
    sys.stderr = logs.Hushed(sys.stderr)
    try:
        app()
    except errors.CollectorError as error:
        die(str(error), exit_for(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(Exit.FINE) from None
    except KeyboardInterrupt:
        die("interrupted", Exit.USAGE)
    except Exception:  # Python would end with 1, which says here that everything could be observed
        sys.excepthook(*sys.exc_info())
        raise SystemExit(Exit.USAGE) from None


def _small_heap() -> None:
    """Tells glibc to keep two heaps for all threads and to give large answers back to the system when they are done.

    By default each thread grows a heap of its own and none shrinks (mallopt(3)); measured in bench/collect.py.
    """
    with suppress(OSError, AttributeError):  # another C library: nothing to set
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in MALLOC.items():
            mallopt(parameter, value)


def _version(value: bool) -> None:
    if value:
        out.print(f"collector {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    # Library code logs through structlog; until a configuration says otherwise, only warnings are of interest.
    logs.setup("console", "warning")
