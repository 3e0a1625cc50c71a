"""``key``: the key that signs the ledger, its successors, and what to hand to an auditor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from collector import canonical, daemon, signers
from collector.cli.app import key_app
from collector.cli.terminal import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    out,
    print_json,
    settings_of,
    table_of,
)
from collector.config import Settings
from collector.errors import CannotObserve, ConfigError
from collector.ledger.entry import Entry
from collector.ledger.note import VerifierKey
from collector.ledger.seal import FileSigner, OtherKey, Signer
from collector.ledger.store import Ledger
from collector.operation import Operation

ToOption = Annotated[
    str,
    typer.Option(
        "--to", metavar="KEY", help="The new key: a file, or awskms://, azurekv:// or gcpkms:// as in signer."
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, in one line. It stands in the ledger for ever.")]


@key_app.command("show")
def key_show(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Every key that the ledger had, and the one that signs it now. Needs no private key."""
    settings = settings_of(config)
    with _ledger(settings, None, verify=False) as ledger:
        known = ledger.key_entries()
    rows: list[dict[str, Any]] = [
        {
            "entry": each.seq,
            "at": canonical.stamp(each.at),
            "how": each.how,
            "reason": each.reason,
            "vkey": str(each.key),
        }
        for each in known
    ]
    if as_json:
        print_json(rows)
        return
    if not rows:
        out.print("The ledger has no key yet: it gets one with its first entry. Run `collector once`.", markup=False)
        return
    table = table_of("", "from entry", "written", "how", "reason", "key")
    for row in rows:
        table.add_row(str(row["entry"]), row["at"], row["how"], row["reason"], row["vkey"])
    out.print(table)
    _say("This one signs now. Whoever verifies puts it into log.vkey, and gets it by another way than the package:")
    _say(rows[-1]["vkey"])


@key_app.command("new")
def key_new(
    to: Annotated[Path, typer.Option("--out", help="Where it is written, for its owner alone.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Make a key in a file. It signs nothing before `collector key rotate --to FILE`."""
    made = FileSigner.create(to, settings_of(config).collector.origin)
    _say(
        f"{to} holds a new key, and signs nothing yet. Keep a copy where this machine cannot reach it. Its public half:"
    )
    _say(str(made.key))


@key_app.command("rotate")
def key_rotate(to: ToOption, reason: ReasonOption, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Put a new key in the place of the one that signs. Both sign the change, so whoever trusts the old one follows."""
    settings = settings_of(config)
    new, where = _new(settings, to)
    old = daemon.signer_of(settings)
    with _operation(settings, old) as operation:
        added = _succeed(operation, new, where, reason, recover=False)
    _say(f"Entry {added.seq} puts the new key in the place of the old one, signed by both.")
    _finish(settings, new.key, where)
    _say("Whoever holds the old key follows by it. A witness refuses the new one until it is told:")
    _say(str(new.key))


@key_app.command("recover")
def key_recover(to: ToOption, reason: ReasonOption, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Put a new key in the place of one that is lost. Whoever verifies must be given the new key by another way."""
    settings = settings_of(config)
    new, where = _new(settings, to)
    _refuse_while_it_is_there(settings)
    with _operation(settings, None) as operation:
        added = _succeed(operation, new, where, reason, recover=True)
    _say(f"Entry {added.seq} puts the new key in the place of the lost one, which did not sign this.")
    _finish(settings, new.key, where)
    _say("Nobody can follow by the old key. Hand this one to whoever verifies, as a line of log.vkey, and say why:")
    _say(str(new.key))


def _new(settings: Settings, to: str) -> tuple[Signer, str]:
    """The new key, and where it is kept, as the configuration names it from any folder."""
    where = to if "://" in to else str(Path(to).expanduser().resolve())
    return signers.open_named(where, settings.collector.origin), where


def _refuse_while_it_is_there(settings: Settings) -> None:
    """A recovery is believed by fewer than a rotation, so it is no way around one."""
    with _ledger(settings, None, verify=False) as ledger:
        key = ledger.key()
    try:
        found = daemon.signer_of(settings).key
    except (ConfigError, CannotObserve):
        return
    if found == key:
        raise ConfigError("the key that signs this ledger is not lost, the configuration names it: use key rotate")


def _succeed(operation: Operation, new: Signer, where: str, reason: str, *, recover: bool) -> Entry:
    """The new key in the ledger, between a checkpoint of the old key (where it is there) and one of the new."""
    ledger, places = operation.ledger, daemon.anchoring(operation)
    places.begin()  # an old copy of the ledger must not get a key of its own
    if not recover:
        ledger.checkpoint(operation.clock())
    signers.remember(operation.settings, new.key, where)
    added = (ledger.recover if recover else ledger.rotate)(new, operation.clock(), reason)
    ledger.checkpoint(operation.clock())
    places.put_newest()
    return added


def _finish(settings: Settings, key: VerifierKey, where: str) -> None:
    """Says what is left to be done. Until then the next start says it again."""
    also = ", and remove signer" if settings.collector.signer and not where.startswith(signers.SCHEMES) else ""
    _say(f"The ledger is signed by {key} from now on.")
    _say(f"In the configuration, under [collector], write {signers.setting_of(where)}{also}.")
    _say("Then restart the collector: until it knows the new key it signs nothing. The old one is of no more use.")


@contextmanager
def _ledger(settings: Settings, signer: Signer | None, *, verify: bool = True) -> Iterator[Ledger]:
    try:
        url, origin = settings.collector.database, settings.collector.origin
        ledger = Ledger.open(url, origin=origin, signer=signer, verify=verify)
    except OtherKey as error:
        raise signers.explained(settings, error) from error
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def _operation(settings: Settings, signer: Signer | None) -> Iterator[Operation]:
    registry = daemon.load_registry(settings)
    controls = daemon.load_controls(settings, registry)
    with _ledger(settings, signer) as ledger:
        clouds, clock = daemon.directory(settings), daemon.utc_now
        yield Operation(settings, controls, registry, ledger, clouds, clock)


def _say(words: str) -> None:
    out.print(words, markup=False)
