"""What was changed inside a window: configuration, checks, plans, keys, and the identity that asks; and of the window
itself, whenever that was. In words.

Each change is an entry of the ledger against what stood before it, however long ago that was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from collector import canonical
from collector.export.dossier import Change
from collector.export.words import counted
from collector.ledger.entry import Entry, Kind
from collector.ledger.store import Ledger
from collector.window.history import Event, Recorded, differences, moved_late, parts_of
from collector.window.slots import scopes_of

PRINCIPAL = "principal"  # the identity that asks, out of run entries; all other kinds are those of the entry
SETTINGS_SHOWN = 60  # of one change; the configurations themselves are in objects/


def changes(ledger: Ledger, last: int, since: datetime, until: datetime) -> list[Change]:
    """The changes of ``[since, until)`` that entries before ``last`` tell, but for those of the principal."""
    found: list[Change] = []
    before: dict[tuple[Kind, str], Entry] = {}
    for entry in ledger.entries(0, last, kinds=[Kind.KEY, Kind.CONFIG, Kind.CHECK, Kind.PLAN]):
        subject = (entry.kind, str(entry.data.get("check") or entry.data.get("account") or ""))
        if since <= entry.at < until:
            what = _what(ledger, entry, before.get(subject))
            if what:
                found.append(Change(entry.seq, entry.at, entry.kind.value, what))
        before[subject] = entry
    return found


class Principals:
    """Who asked, account by account, while run entries pass by in their order."""

    def __init__(self, since: datetime, until: datetime) -> None:
        self._since, self._until = since, until
        self._known: dict[str, str] = {}
        self.changes: list[Change] = []

    def add(self, entry: Entry) -> None:
        """A run whose account could not be opened names nobody, and changes nothing."""
        account, principal = entry.data["account"], entry.data["principal"]
        if not principal:
            return
        known = self._known.get(account)
        if known is not None and known != principal and self._since <= entry.at < self._until:
            what = f"{account} is asked by {principal}, was {known}"
            self.changes.append(Change(entry.seq, entry.at, PRINCIPAL, what))
        self._known[account] = principal


def of_window(told: Sequence[Recorded]) -> list[Change]:
    """What was recorded of the exported window itself, whenever it was: also before it began and after it was over."""
    late = {after.seq for _, after in moved_late(told)}
    found: list[Change] = []
    before: Recorded | None = None
    for one in told:
        parts = [f"window {one.window} {_EVENTS[one.event]}{f' by {one.by}' if one.by else ''}"]
        if before is None:
            parts += [f"{name} {value}" for name, value in parts_of(one.definition)]
        else:
            parts += [
                f"{name} was {was}, is {now}" for name, was, now in differences(before.definition, one.definition)
            ]
        parts += ["written when the window had begun"] if one.seq in late else []
        parts += ["before its end"] if one.event is Event.CLOSE and one.at < one.definition.until else []
        parts += [one.reason] if one.reason else []
        found.append(Change(one.seq, one.at, Kind.WINDOW.value, "; ".join(parts)))
        before = one
    return found


_EVENTS = {
    Event.OPEN: "is open",
    Event.CHANGE: "is defined otherwise",
    Event.CLOSE: "is closed",
    Event.GONE: "is configured no longer",
}


def _what(ledger: Ledger, entry: Entry, before: Entry | None) -> str:
    """A change in words; "" when nothing changed, as with a plan that is written anew each day."""
    data, old = entry.data, None if before is None else before.data
    if entry.kind is Kind.KEY:
        return f"the ledger is signed by {data['vkey']}: {data['reason']}"
    if entry.kind is Kind.CHECK:
        return _check_change(data, old)
    if entry.kind is Kind.PLAN:
        return _plan_change(data, old)
    return _config_change(ledger, data, old)


def _change(name: str, old: object, new: object) -> str:
    if name == "code":
        return f"code is now {str(new)[:12]}"
    return f"{name} was {_text(old)}, is {_text(new)}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else canonical.record(value).decode()


def _check_change(data: Mapping[str, Any], old: Mapping[str, Any] | None) -> str:
    if old is None:
        return f"{data['check']} version {data['version']} is used for the first time"
    names = [name for name in data if name not in ("seq", "kind", "at") and data[name] != old.get(name)]
    parts = []
    for name in sorted(names):
        if name == "permissions":  # the whole lists would hide what is new among them
            asked, was = set(data[name]), set(old.get(name, ()))
            parts += [f"permission {one} is needed" for one in sorted(asked - was)]
            parts += [f"permission {one} is no longer needed" for one in sorted(was - asked)]
        else:
            parts.append(_change(name, old.get(name), data[name]))
    return f"{data['check']}: {'; '.join(parts)}"


def _plan_change(data: Mapping[str, Any], old: Mapping[str, Any] | None) -> str:
    now = _asks(data)
    if old is None:
        return f"{data['account']} is planned for the first time: {counted(len(now), 'execution')} a round"
    was = _asks(old)
    parts = [
        *(f"{check} over {scope} is no longer asked for" for check, scope in sorted(was.keys() - now.keys())),
        *(
            f"{check} over {scope} is asked for every {now[check, scope][0]} s"
            for check, scope in sorted(now.keys() - was.keys())
        ),
        *(
            f"{check} over {scope} is asked for every {now[check, scope][0]} s, was every {was[check, scope][0]} s"
            for check, scope in sorted(now.keys() & was.keys())
            if now[check, scope] != was[check, scope]
        ),
    ]
    return f"{data['account']}: {'; '.join(parts)}" if parts else ""


def _asks(plan: Mapping[str, Any]) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (item["check"], scope): (item["every_s"], item["offset_s"])
        for item in plan["checks"]
        for scope in scopes_of(plan, item)
    }


# --- the configuration ---


def _config_change(ledger: Ledger, data: Mapping[str, Any], old: Mapping[str, Any] | None) -> str:
    if old is None:
        return f"the configuration is {data['digest'][:12]}, collector {data['collector']}"
    now, was = (canonical.parse(ledger.blob(config["blob"])) for config in (data, old))
    parts: list[str] = []
    if data["collector"] != old["collector"]:
        parts.append(_change("collector", old["collector"], data["collector"]))
    for id in sorted(now["controls"].keys() | was["controls"].keys()):
        if id not in now["controls"]:
            parts.append(f"control {id} was removed")
        elif id not in was["controls"]:
            parts.append(f"control {id} was added")
        else:
            new, past = now["controls"][id], was["controls"][id]
            names = sorted(name for name in new.keys() | past.keys() if new.get(name) != past.get(name))
            parts += [f"control {id}: {_change(name, past.get(name), new.get(name))}" for name in names]
    parts += _setting_changes(dict(_leaves(was["settings"])), dict(_leaves(now["settings"])))
    return "; ".join(parts)


def _setting_changes(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    parts = []
    for name in sorted(was.keys() | now.keys()):
        if name not in now:
            parts.append(f"setting {name} was {was[name]}, is gone")
        elif name not in was:
            parts.append(f"setting {name} is new: {now[name]}")
        elif was[name] != now[name]:
            parts.append(f"setting {_change(name, was[name], now[name])}")
    if len(parts) > SETTINGS_SHOWN:
        parts[SETTINGS_SHOWN:] = [f"and {counted(len(parts) - SETTINGS_SHOWN, 'setting')} more"]
    return parts


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every single value of the settings under its path: ``anchors.tsa.freetsa.url``, ``aws.1.account``."""
    if isinstance(value, Mapping) and value:
        for key in value:
            yield from _leaves(value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for place, item in enumerate(value, 1):
            yield from _leaves(item, f"{path}.{place}")
    elif not isinstance(value, Mapping):
        yield path, _text(value)
