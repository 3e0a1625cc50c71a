"""Exports for machines: OSCAL and OCSF, streamed to a file or to standard output, or as files of a package.

The ``export`` command is in windows.py; what the formats say is in ``collector.export``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from collector import daemon, errors
from collector.cli.terminal import out, print_json, progress
from collector.config import Settings
from collector.ledger.store import Ledger

if TYPE_CHECKING:
    from collector.export.dossier import Dossier
    from collector.export.package import More
    from collector.export.read import Asked

STDOUT = Path("-")
TELL_EVERY = 1000


class Format(StrEnum):
    """What ``collector export`` writes."""

    PACKAGE = "package"
    OSCAL = "oscal"
    OCSF = "ocsf"


class Extra(StrEnum):
    """What a package can hold besides."""

    OSCAL = "oscal"
    OCSF = "ocsf"


def files(dossier: Dossier, extras: Iterable[Extra]) -> More:
    """The files of a package that the formats are, for ``package.write``."""
    from collector.export import ocsf, oscal

    wanted = set(extras)
    found: dict[str, Callable[..., Iterable[bytes]]] = {}
    if Extra.OSCAL in wanted:
        _refuse_without_criteria(dossier)
        found[oscal.RESULTS_FILE] = lambda digests: oscal.pieces(dossier, oscal.Package(digests))
        found[oscal.CATALOG_FILE] = lambda digests: [oscal.catalog(dossier)]
    if Extra.OCSF in wanted:
        found[ocsf.FINDINGS_FILE] = lambda digests: ocsf.lines(dossier)
    return found


def stream(
    settings: Settings,
    ledger: Ledger,
    window: str,
    form: Format,
    target: Path,
    now: datetime,
    asked: Asked | None = None,
) -> int:
    """Writes one window, or what was asked for of it, in a format of machines to a new file, or to standard output for
    "-". Returns its bytes.

    It is no package: nothing in it is signed, and no entry says that it was written. The ledger is signed before, so
    that it says the same as a package of the same moment. Raises ExportError when it cannot be written there.
    """
    from collector.export import ocsf, oscal, read

    ledger.checkpoint(now)
    dossier = read.read(ledger, settings, window, now, asked=asked)
    if form is Format.OSCAL:
        _refuse_without_criteria(dossier)
    make = partial(oscal.pieces, dossier) if form is Format.OSCAL else partial(ocsf.lines, dossier)
    total = 0
    with _opened(target) as file, progress(f"writing {form}") as step:
        for number, piece in enumerate(make(), 1):
            file.write(piece)
            total += len(piece)
            if number % TELL_EVERY == 0:
                step(number, len(dossier.stretches))
    return total


def write_alone(
    settings: Settings,
    ledger: Ledger,
    window: str,
    form: Format,
    target: Path,
    *,
    as_json: bool = False,
    asked: Asked | None = None,
) -> None:
    """``stream`` at this moment, with a word about it where standard output is not the document itself."""
    size = stream(settings, ledger, window, form, target, daemon.utc_now(), asked)
    if target == STDOUT:
        return
    if as_json:
        print_json({"file": str(target), "format": form.value, "bytes": size})
    else:
        out.print(f"{target}: {size} bytes of {form.value}. It is no evidence by itself: only a package is signed.")


def refuse(form: Format, extras: Sequence[Extra], target: Path) -> None:
    """Raises ConfigError for options that do not go together."""
    if extras and form is not Format.PACKAGE:
        raise errors.ConfigError(f"--with puts a file into a package; --format {form} writes that file alone")
    if target == STDOUT and form is Format.PACKAGE:
        raise errors.ConfigError(
            "a package is a folder or a .zip and cannot go to standard output; name one with --out"
        )


def _refuse_without_criteria(dossier: Dossier) -> None:
    from collector.export.interchange import all_criteria

    if not all_criteria(dossier):
        raise errors.ExportError(
            f"no control answers to a criterion of the window {dossier.name}: OSCAL has nothing to say of it"
        )


@contextmanager
def _opened(target: Path) -> Iterator[IO[bytes]]:
    """A file that is there whole or not at all; standard output as it is."""
    if target == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if target.exists():
        raise errors.ExportError(f"{target} is already there; evidence is never overwritten: name another place")
    partial_file = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial_file.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial_file.replace(target)
    except OSError as error:
        raise errors.ExportError(f"{target} cannot be written: {error.strerror}; nothing is left of it") from error
    finally:
        partial_file.unlink(missing_ok=True)
