"""The objects of a simulated cloud with their history: what each was, and since when."""

from __future__ import annotations

import bisect
import copy
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

# An age in a text that is answered: "@-3h" is three hours before the clock, "@last30d" the last whole thirty days,
# "@next90d" the next, "@date-4d" a date, "@unix+90d" seconds since 1970. Whatever stays fresh by itself in reality is
# written so.
MOVING = re.compile(r"@(date|unix)?(?:([+-]\d+)([dhm])|(last|next)(\d+)d)")

MADE_MAX = 32  # things made of the objects and held
LAST = "\U0010ffff"  # sorts behind every character of an id


def stamp(when: datetime) -> str:
    """A time as most APIs write it."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Item:
    """One object: its kind ("compute.googleapis.com/Disk", "admin#directory#user") and what it was since when."""

    kind: str
    versions: list[tuple[datetime, dict[str, Any] | None]]

    @property
    def now(self) -> dict[str, Any] | None:
        return self.versions[-1][1]

    def at(self, moment: datetime) -> dict[str, Any] | None:
        return next((body for since, body in reversed(self.versions) if since <= moment), None)


@dataclass
class Objects:
    """All objects by id. ``clock`` is simulated time."""

    clock: Callable[[], datetime]
    items: dict[str, Item] = field(default_factory=dict)
    by_kind: dict[str, list[str]] = field(default_factory=dict)  # ids, sorted
    _made: OrderedDict[Any, Any] = field(default_factory=OrderedDict)  # of the objects as they are

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` makes of the objects, made again only when one of them has changed since: a listing of many
        pages is not gathered anew for each of them. ``key`` says all that it depends on besides the objects."""
        if key not in self._made:
            self._made[key] = make()
            while len(self._made) > MADE_MAX:
                self._made.popitem(last=False)
        return self._made[key]

    def add(self, id: str, kind: str, body: dict[str, Any], since: datetime | None = None) -> None:
        """Adds or replaces an object; one of the estate has been there for long."""
        self._made.clear()
        known = self.items.get(id)
        version = (since or self.clock(), body)
        if known is None:
            self.items[id] = Item(kind, [version])
            bisect.insort(self.by_kind.setdefault(kind, []), id)
        else:
            known.versions.append(version)

    def remove(self, id: str) -> None:
        self.require(id)
        self._made.clear()
        self.items[id].versions.append((self.clock(), None))

    def require(self, id: str) -> dict[str, Any]:
        """The object as it is stored. Raises LookupError, with names that are like it."""
        item = self.items.get(id)
        if item is None or item.now is None:
            near = [name for name in self.items if id.rpartition("/")[2] in name][:3]
            raise LookupError(f"no object {id!r}; there is {', '.join(near) or 'nothing like it'}")
        return item.now

    def find(self, id: str) -> dict[str, Any] | None:
        """The object as it is answered now; None where there is none."""
        item = self.items.get(id)
        return None if item is None or item.now is None else self.fresh(item.now)

    def each(self, kind: str, at: datetime | None = None, *, under: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a kind by name, as they are stored, now or at a moment; those whose ids begin so."""
        ids = self.by_kind.get(kind, [])
        for id in ids[bisect.bisect_left(ids, under) : bisect.bisect_left(ids, f"{under}{LAST}")]:
            item = self.items[id]
            body = item.now if at is None else item.at(at)
            if body is not None:
                yield id, body

    def edit(self, id: str, path: str, value: Any) -> None:
        """Sets the member at a dotted path, numbers being places in lists; None takes it away."""
        found = copy.deepcopy(self.require(id))
        at: Any = found
        *way, last = path.split(".")
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
        if isinstance(at, list):
            if value is None:
                del at[int(last)]
            else:
                at[int(last)] = value
        elif value is None:
            at.pop(last, None)
        else:
            at[last] = value
        self._made.clear()
        if "updateTime" in found and path != "updateTime":
            found["updateTime"] = stamp(self.clock())
        self.items[id].versions.append((self.clock(), found))

    def fresh(self, value: Any, now: datetime | None = None) -> Any:
        """A copy in which moving times stand as they are now."""
        now = now or self.clock()
        if isinstance(value, dict):
            return {key: self.fresh(member, now) for key, member in value.items()}
        if isinstance(value, list):
            return [self.fresh(member, now) for member in value]
        if isinstance(value, str) and value.startswith("@") and (found := MOVING.fullmatch(value)):
            return _moment(found, now)
        return value


def _moment(found: re.Match[str], now: datetime) -> str | int:
    form, amount, unit, turn, period = found.groups()
    if turn:
        length = timedelta(days=int(period))
        past = (now - datetime(2020, 1, 1, 5, tzinfo=UTC)) % length
        when = now - past + (length if turn == "next" else timedelta())
    else:
        when = now + timedelta(**{{"d": "days", "h": "hours", "m": "minutes"}[unit]: int(amount)})
    if form == "unix":
        return int(when.timestamp())
    return f"{when.astimezone(UTC):%Y-%m-%d}" if form == "date" else stamp(when)
