"""When call logs and answers were last used, counted entry by entry as the ledger grows. Decides nothing about them.

Of the moment, not evidence: what is counted follows from the entries, and is counted anew from the first one when it
was thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import sqlalchemy as sa

from collector.ledger.tables import blob, counted, expired, payload

CHUNK = 500  # asked for in one statement


class Use(NamedTuple):
    """One payload. Times in microseconds since 1970: of the newest entry that rests on it, and of the first and the
    last slot for which it was read, the first 0 when it is not known."""

    log: bool
    newest: int
    first: int
    last: int

    def and_also(self, other: Use) -> Use:
        """Both together."""
        return Use(
            self.log or other.log,
            max(self.newest, other.newest),
            min(self.first, other.first),
            max(self.last, other.last),
        )


class Uses:
    """What was counted so far."""

    def __init__(self, reading: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self._reading = reading

    def counted(self) -> int:
        """Of how many entries."""
        with self._reading() as connection:
            return _counted(connection)

    def logs_before(self, newest: int) -> dict[str, Use]:
        """The call logs that are kept and that no entry of that time or later rests on, by digest."""
        query = _USES.where(payload.c.log == 1, payload.c.newest < newest)
        with self._reading() as connection:
            return dict(map(_use, connection.execute(query)))

    def of(self, digests: Collection[str]) -> dict[str, Use]:
        """Those of some payloads that are kept and were counted."""
        found: dict[str, Use] = {}
        with self._reading() as connection:
            for part in _parts(digests):
                found.update(map(_use, connection.execute(_USES.where(blob.c.digest.in_(part)))))
        return found


_USES = sa.select(
    blob.c.digest, payload.c.log, payload.c.newest, payload.c.first, payload.c.last, payload.c.id
).select_from(payload.join(blob, blob.c.id == payload.c.id))
_SET = (
    sa.update(payload)
    .where(payload.c.id == sa.bindparam("blob"))
    .values({name: sa.bindparam(f"its_{name}") for name in Use._fields})
)


def _use(row: Any) -> tuple[str, Use]:
    return row.digest.hex(), Use(bool(row.log), row.newest, row.first, row.last)


def _parts(digests: Collection[str]) -> Iterator[list[bytes]]:
    wanted = sorted(map(bytes.fromhex, digests))
    for start in range(0, len(wanted), CHUNK):
        yield wanted[start : start + CHUNK]


def _counted(connection: sa.Connection) -> int:
    return connection.execute(sa.select(counted.c.size)).scalar_one_or_none() or 0


def count(connection: sa.Connection, found: Mapping[str, Use], since: int, size: int) -> bool:
    """Adds the uses by the entries of ``[since, size)``. False when another process counted them meanwhile."""
    if _counted(connection) != since:
        return False
    for part in _parts(found):
        known = {row.digest: row for row in connection.execute(_USES.where(blob.c.digest.in_(part)))}
        kept = connection.execute(sa.select(blob.c.digest, blob.c.id).where(blob.c.digest.in_(part))).all()
        again = set(connection.execute(sa.select(expired.c.digest).where(expired.c.digest.in_(part))).scalars())
        begun: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        for digest, id in kept:
            use = found[digest.hex()]
            row = known.get(digest)
            if row is None:
                first = 0 if digest in again else use.first  # what was counted before it was dropped is forgotten
                begun.append({"id": id, "log": int(use.log), "newest": use.newest, "first": first, "last": use.last})
            else:
                both = use.and_also(_use(row)[1])
                changed.append({"blob": id, **{f"its_{name}": int(value) for name, value in both._asdict().items()}})
        if begun:
            connection.execute(sa.insert(payload), begun)
        if changed:
            connection.execute(_SET, changed)
    if since:
        connection.execute(sa.update(counted).values(size=size))
    else:
        connection.execute(sa.delete(counted))
        connection.execute(sa.insert(counted), {"id": 1, "size": size})
    return True


def drop(connection: sa.Connection, ids: Collection[int]) -> None:
    """Forgets payloads that are dropped: their numbers may be given to others."""
    connection.execute(sa.delete(payload).where(payload.c.id.in_(ids)))


def forget(connection: sa.Connection) -> None:
    """Throws everything away that was counted."""
    connection.execute(sa.delete(payload))
    connection.execute(sa.delete(counted))
