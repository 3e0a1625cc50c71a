"""Windows written down: when the configuration names, changes or drops one, and when a person opens or closes it.

That makes a window a dated promise: whoever moves its ends afterwards leaves an entry that says when. What the entries
mean is in ``collector.window.history``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from collector import canonical
from collector.config import Settings, Window
from collector.errors import ConfigError
from collector.export.recorded import definition_of
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.store import Batch, Ledger
from collector.tomlfile import nearest
from collector.window import history
from collector.window.history import Definition, Event, Recorded

TEXT_CHARACTERS_MAX = 4_000
BY_CONFIGURATION, BY_PERSON = "configuration", "cli"


def announce(
    batch: Batch, configured: Mapping[str, Window], now: datetime, only: Collection[str] | None = None
) -> list[Entry]:
    """Writes an entry for each window that is configured otherwise than the ledger says, and for each that is gone.

    ``only``: of these windows alone. What a person closed stays closed, whatever the configuration says of it later.
    """
    known = _known(batch)
    written: list[Entry] = []
    for name in sorted({*configured, *known}):
        if only is not None and name not in only:
            continue
        last = known[name][-1] if name in known else None
        if name in configured:
            definition = definition_of(configured[name])
            if last is None or last.event is Event.GONE:
                event = Event.OPEN
            elif last.definition != definition:
                event = Event.CHANGE
            else:
                continue
        elif last is not None and last.event is not Event.GONE:
            definition, event = last.definition, Event.GONE
        else:
            continue
        written.append(batch.add(_draft(now, name, event, definition, last)))
    return written


def record(ledger: Ledger, settings: Settings, now: datetime, name: str) -> Entry | None:
    """Writes down what the configuration says of one window, where the ledger does not say so yet."""
    if name not in settings.windows:
        return None
    with ledger.write() as batch:
        written = announce(batch, settings.windows, now, only=[name])
    return written[0] if written else None


def open_window(ledger: Ledger, settings: Settings, now: datetime, name: str, by: str, reason: str = "") -> Entry:
    """A person opens a configured window: records it as it is configured, or opens again what was closed.

    Raises ConfigError for a window that is not configured, or that is open as it is configured.
    """
    _said(by=by)
    _short(reason)
    window = settings.windows.get(name)
    if window is None:
        hint = nearest(name, settings.windows)
        raise ConfigError(f"the configuration has no window {name!r}; {hint}. Write it as [windows.{name}] first")
    definition = definition_of(window)
    with ledger.write() as batch:
        known = _known(batch).get(name, [])
        last = known[-1] if known else None
        if last is not None and _stands(known, definition):
            raise ConfigError(
                f"the window {name} is open as it is configured since entry {last.seq} of {canonical.stamp(last.at)}"
            )
        return batch.add(_draft(now, name, Event.OPEN, definition, last, by=by, reason=reason))


def _stands(known: list[Recorded], definition: Definition) -> bool:
    last = known[-1]
    return last.event is not Event.GONE and last.definition == definition and history.closed(known) is None


def close_window(ledger: Ledger, settings: Settings, now: datetime, name: str, by: str, reason: str = "") -> Entry:
    """A person closes a window: nothing more is expected of it. What was due in it stays due, and counts.

    Before the window's end a reason is required. Raises ConfigError without one, for an unknown window, and for one
    that is closed.
    """
    _said(by=by)
    _short(reason)
    with ledger.write() as batch:
        announce(batch, settings.windows, now, only=[name])
        found = _known(batch)
        known = found.get(name)
        if known is None:
            raise ConfigError(
                f"neither the configuration nor the ledger has a window {name!r}; "
                f"{nearest(name, {*settings.windows, *found})}"
            )
        last, before = known[-1], history.closed(known)
        if before is not None:
            raise ConfigError(
                f"the window {name} is closed since entry {before.seq} of {canonical.stamp(before.at)}; "
                f"`collector window open {name}` opens it again"
            )
        if now < last.definition.until and not reason.strip():
            raise ConfigError(
                f"the window {name} ends {canonical.stamp(last.definition.until)}: to close it before its end, say why "
                "with --reason. What is due until then stays due; to end it earlier, move its end in the configuration"
            )
        return batch.add(_draft(now, name, Event.CLOSE, last.definition, last, by=by, reason=reason))


def _known(batch: Batch) -> dict[str, list[Recorded]]:
    return history.histories(entry.data for entry in batch.projection.of_kind(Kind.WINDOW))


def _draft(
    now: datetime,
    name: str,
    event: Event,
    definition: Definition,
    last: Recorded | None,
    *,
    by: str = "",
    reason: str = "",
) -> Draft:
    fields = {
        "window": name,
        "event": event.value,
        **definition.fields(),
        "by": by,
        "via": BY_PERSON if by else BY_CONFIGURATION,
        "reason": reason,
        "previous": None if last is None else last.seq,
    }
    return Draft(Kind.WINDOW, now, fields)


def _said(**words: str) -> None:
    for name, text in words.items():
        if not text.strip() or len(text) > TEXT_CHARACTERS_MAX:
            raise ConfigError(f"--{name} must say something, in at most {TEXT_CHARACTERS_MAX} characters")


def _short(reason: str) -> None:
    if len(reason) > TEXT_CHARACTERS_MAX:
        raise ConfigError(f"--reason has more than {TEXT_CHARACTERS_MAX} characters; put what is long into a ticket")
