"""Windows as the ledger knows them: between the configuration's table, the entry and the values. Writes nothing."""

from __future__ import annotations

from collector.config import Settings, Window
from collector.errors import ConfigError
from collector.ledger.entry import Kind
from collector.ledger.store import Ledger
from collector.tomlfile import duration_text, nearest
from collector.window import history
from collector.window.history import Definition, Recorded


def definition_of(window: Window) -> Definition:
    """What a table ``[windows.NAME]`` says, with its ends as moments."""
    return Definition(
        since=window.since,
        until=window.until,
        zone=window.zone,
        criteria=tuple(window.criteria),
        scopes=tuple(window.scopes),
        frequency_s=None if window.frequency is None else int(window.frequency),
        hold=window.hold,
    )


def window_of(known: Definition) -> Window:
    """The table that says what an entry says."""
    frequency = {} if known.frequency_s is None else {"frequency": duration_text(known.frequency_s)}
    table = {"start": known.since, "end": known.until, "hold": known.hold, **frequency}
    return Window.model_validate(
        {**table, "zone": known.zone, "criteria": known.criteria, "scopes": known.scopes},
    )


def histories(ledger: Ledger, last: int | None = None) -> dict[str, list[Recorded]]:
    """What the entries before ``last`` (all of them) say of every window, by its name."""
    return history.histories(entry.data for entry in ledger.entries(0, last, kinds=[Kind.WINDOW]))


def window(settings: Settings, known: dict[str, list[Recorded]], name: str) -> Window:
    """The window ``name`` of the configuration, or as the ledger last defined it where the configuration is silent.

    Raises ConfigError when neither knows it.
    """
    if name in settings.windows:
        return settings.windows[name]
    if name in known:
        return window_of(known[name][-1].definition)
    raise ConfigError(
        f"neither the configuration nor the ledger has a window {name!r}; {nearest(name, {*settings.windows, *known})}"
    )
