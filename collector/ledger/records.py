"""Entries and blobs in their rows, and out of them: packed, unpacked, found. Reads nothing of what they say.

Functions on a connection, so that the same ones serve a reader, a batch that sees its own writes, and verification.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from collector import canonical
from collector.errors import StoreError
from collector.ledger import fields, packing, uses
from collector.ledger.entry import BODY_BYTES_MAX, Draft, Entry, Kind
from collector.ledger.tables import blob, entry, expired

PAGE = 1_000  # entries fetched at once
BASES_KEPT = 20_000  # plain bodies that deltas are against, kept by a reader or a writer
NEARS_KEPT = 64  # split bodies of entries that others lie beside, kept by a reader
SERIES_KEPT = 100_000  # some 20 MB of names and digests
SERIES_ROUNDS = 32  # a series that all others were added to so often, and it was not, has ended: a day has 24 hours
SERIES_ROUND_MIN = 1_000
BASE_BYTES_MAX = 8_192  # of such a body; a larger one is always written whole
BASE_USES = 256  # deltas against one body before a new one is written whole
LEAN = 24  # bytes that an entry takes in which nothing changed but the times
SHORT = 8  # an entry so many times smaller than its body is small enough to look no further
DEPTH_MAX = 8  # of a chain of blob deltas
BLOB_BYTES_MAX = 1 << 30
DROPPED_AT_ONCE = 500  # in one statement

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Since 1970, as the tables keep times."""
    return (moment - EPOCH) // MICROSECOND


def moment(microseconds: int) -> datetime:
    """The other way, in UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


# --- entries ---


class Bases:
    """The plain bodies that deltas lean on, as far as a reader has met them."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[int, bytes | fields.Parts] = OrderedDict()
        self._near: OrderedDict[int, dict[bytes, bytes]] = OrderedDict()
        self._names: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}  # the few that there are, each once

    def get(self, connection: sa.Connection, seq: int) -> bytes:
        held = self._held(connection, seq)
        return held if isinstance(held, bytes) else fields.join(held)

    def parts(self, connection: sa.Connection, seq: int) -> fields.Parts:
        """The same in its fields, as which it is held from then on."""
        held = self._held(connection, seq)
        if isinstance(held, bytes):
            held = self._split(seq, held)
            if seq in self._bodies:
                self._bodies[seq] = held
        return held

    def near(self, connection: sa.Connection, seq: int) -> dict[bytes, bytes]:
        """The fields of the entry beside others, which itself lies beside none."""
        held = self._near.get(seq)
        if held is None:
            row = connection.execute(_ONE, {"seq": seq}).one_or_none()
            if row is None:
                raise ValueError(f"it lies beside entry {seq}, which is not there")
            if row.encoding == packing.FIELDS and not fields.stands_alone(row.body):
                raise ValueError(f"it lies beside entry {seq}, which lies beside another")
            body = body_of(connection, seq, row.at, row.encoding, row.base, row.body, self)
            held = self._near.get(seq) or self.keep_near(seq, self._split(seq, body))
        return held

    def keep_near(self, seq: int, parts: fields.Parts) -> dict[bytes, bytes]:
        """Remembers an entry that others may lie beside."""
        held = self._near[seq] = fields.by_name(parts)
        if len(self._near) > NEARS_KEPT:
            self._near.popitem(last=False)
        return held

    def _held(self, connection: sa.Connection, seq: int) -> bytes | fields.Parts:
        held = self._bodies.get(seq)
        if held is None:
            row = connection.execute(_BASE, {"seq": seq}).one_or_none()
            if row is None or row.base is not None:
                raise ValueError(f"it leans on entry {seq}, which is not there whole")
            held = packing.unpack(row.encoding, row.body, None, BODY_BYTES_MAX)
            self.keep(seq, held)
        return held

    def _split(self, seq: int, body: bytes) -> fields.Parts:
        found = fields.split(body)
        if found is None:
            raise ValueError(f"it leans on entry {seq}, which has no fields")
        return fields.Parts(self._names.setdefault(found.names, found.names), found.values)

    def keep(self, seq: int, body: bytes) -> None:
        """Remembers a body that was read whole."""
        if len(body) <= BASE_BYTES_MAX:
            self._bodies[seq] = body
            if len(self._bodies) > BASES_KEPT:
                self._bodies.popitem(last=False)


_BASE = sa.select(entry.c.encoding, entry.c.base, entry.c.body).where(entry.c.seq == sa.bindparam("seq"))
ROW = (entry.c.seq, entry.c.kind, entry.c.at, entry.c.encoding, entry.c.base, entry.c.body)


def body_of(
    connection: sa.Connection,
    seq: int,
    at: int,
    encoding: int,
    leans_on: int | None,
    packed: bytes,
    bases: Bases,
) -> bytes:
    """The plain body out of the columns of a row. Raises ValueError when it cannot be unpacked."""
    if leans_on is None:
        body = packing.unpack(encoding, packed, None, BODY_BYTES_MAX)
        bases.keep(seq, body)
        return body
    if encoding == packing.FIELDS:
        base = bases.parts(connection, leans_on)
        parts = fields.unpack(packed, fields.Place(seq, at), base, lambda near: bases.near(connection, near))
        if fields.stands_alone(packed):
            bases.keep_near(seq, parts)
        body = fields.join(parts)
        if len(body) > BODY_BYTES_MAX:
            raise ValueError(f"unpacks to more than {BODY_BYTES_MAX} bytes")
        return body
    return packing.unpack(encoding, packed, bases.get(connection, leans_on), BODY_BYTES_MAX)


def _entry_of(connection: sa.Connection, row: Sequence[Any], bases: Bases) -> Entry:
    seq, kind, at, encoding, leans_on, packed = row
    try:
        return Entry(seq, Kind(kind), moment(at), body_of(connection, seq, at, encoding, leans_on, packed, bases))
    except ValueError as error:
        raise StoreError(f"entry {seq} cannot be read: {error}; run `collector db verify`") from error


_ONE = sa.select(*ROW).where(entry.c.seq == sa.bindparam("seq"))
LISTED = 500  # entries asked for by number in one statement
_LISTED = sa.select(*ROW).where(entry.c.seq.in_(sa.bindparam("seqs", expanding=True))).order_by(entry.c.seq)


def read_entry(connection: sa.Connection, seq: int) -> Entry:
    """Raises StoreError when there is no such entry."""
    row = connection.execute(_ONE, {"seq": seq}).one_or_none()
    if row is None:
        raise StoreError(f"the ledger has no entry {seq}")
    return _entry_of(connection, row, Bases())


def read_listed(connection: sa.Connection, seqs: Collection[int]) -> dict[int, Entry]:
    """Some entries by their numbers, many with one question. Raises StoreError when one is not there."""
    wanted, bases = sorted(set(seqs)), Bases()
    found: dict[int, Entry] = {}
    for start in range(0, len(wanted), LISTED):
        query = _LISTED if len(wanted) > 1 else _ONE
        values: dict[str, Any] = {"seqs": wanted[start : start + LISTED]} if len(wanted) > 1 else {"seq": wanted[0]}
        for row in connection.execute(query, values):
            found[row.seq] = _entry_of(connection, row, bases)
    for seq in wanted:
        if seq not in found:
            raise StoreError(f"the ledger has no entry {seq}")
    return found


def read_entries(
    connection: sa.Connection, start: int, end: int | None, kinds: Collection[Kind] | None, bases: Bases
) -> list[Entry]:
    """At most ``PAGE`` entries of ``[start, end)``, in order."""
    query = sa.select(*ROW).where(entry.c.seq >= start).order_by(entry.c.seq).limit(PAGE)
    if end is not None:
        query = query.where(entry.c.seq < end)
    if kinds is not None:
        query = query.where(of_kinds(kinds))
    return [_entry_of(connection, row, bases) for row in connection.execute(query)]


def of_kinds(kinds: Collection[Kind]) -> sa.ColumnElement[bool]:
    """Which entries are of some kinds: through the index, when it has them."""
    found = entry.c.kind.in_(sorted(kind.value for kind in kinds))
    return found if Kind.RUN in kinds else sa.and_(found, _NO_RUN)


_NO_RUN = entry.c.kind != sa.literal_column("'run'")  # in the words of the index, or it would not be used


class Deltas:
    """Which bodies a writer may lean new ones on: the last one written whole of the same kind, check and scope; and,
    of the same account, the last one that nothing lies beside.

    Also the last blob of each series, for the same purpose. Known only to the process that wrote them; after a start
    each group and each series begins with one written whole.
    """

    def __init__(self) -> None:
        self.series: OrderedDict[str, tuple[bytes, int]] = OrderedDict()  # the last blob and when, by name; newest last
        self._followed = 0
        self._groups: OrderedDict[tuple[Any, ...], _Whole] = OrderedDict()
        self._near: OrderedDict[tuple[Any, ...], tuple[int, fields.Parts]] = OrderedDict()

    def last(self, name: str) -> str | None:
        """The digest of the last blob of a series; None at its begin."""
        known = self.series.get(name)
        return None if known is None else known[0].hex()

    def follow(self, name: str, digest: str) -> None:
        """Remembers the last blob of a series. Questions about subjects that are gone are never asked again: what was
        not added to while all others were, many times, is forgotten."""
        self._followed += 1
        self.series[name] = bytes.fromhex(digest), self._followed
        self.series.move_to_end(name)
        oldest = next(iter(self.series))
        waited = self._followed - self.series[oldest][1]
        if len(self.series) > SERIES_KEPT or waited > SERIES_ROUNDS * max(len(self.series), SERIES_ROUND_MIN):
            del self.series[oldest]

    def pack(self, draft: Draft, seq: int, body: bytes) -> dict[str, Any]:
        """The row of an entry."""
        group: tuple[Any, ...] = (draft.kind, draft.fields.get("check"))
        if draft.kind in (Kind.RUN, Kind.SPOT, Kind.PLAN):  # of the others there are too few over one scope
            group = *group, draft.fields.get("account"), draft.fields.get("scope")
        place = fields.Place(seq, microseconds(draft.at))
        whole = self._groups.pop(group, None)
        base = None
        if whole is None or whole.uses >= BASE_USES or whole.spent >= whole.cost:
            encoding, packed = packing.pack(body)
        else:
            encoding, packed = self._lean(draft, place, body, whole)
            base = whole.seq if encoding in (packing.DELTA, packing.FIELDS) else None
        if base is not None and whole is not None:
            spent = whole.spent + max(0, len(packed) - LEAN)
            self._groups[group] = whole._replace(uses=whole.uses + 1, spent=spent)
        elif len(body) <= BASE_BYTES_MAX:
            self._groups[group] = _Whole(seq, body, len(packed), 0, 0)
        if len(self._groups) > BASES_KEPT:
            self._groups.popitem(last=False)
        return {
            "seq": seq,
            "kind": draft.kind.value,
            "at": place.at,
            "encoding": encoding,
            "base": base,
            "body": packed,
        }

    def _lean(self, draft: Draft, place: fields.Place, body: bytes, whole: _Whole) -> tuple[int, bytes]:
        """The smaller of a delta and what differs field by field."""
        parts, base = fields.split(body), fields.split(whole.body)
        if parts is None or base is None or parts.names != base.names:
            return packing.pack_leaning(body, whole.body)
        beside = (draft.kind, draft.fields.get("account"))
        near = self._near.get(beside)
        packed = fields.pack(parts, place, base, near)
        if packed is None or len(packed) > LEAN:
            alone = fields.pack(parts, place, base)
            if alone is not None and (packed is None or len(alone) <= len(packed) + LEAN):
                packed = alone
                if draft.kind is Kind.RUN:
                    self._near[beside] = place.seq, parts
                    self._near.move_to_end(beside)
                    if len(self._near) > NEARS_KEPT:
                        self._near.popitem(last=False)
        if packed is None or len(packed) * SHORT > len(body):
            encoding, delta = packing.pack_leaning(body, whole.body)
            if packed is None or len(delta) < len(packed):
                return encoding, delta
        return packing.FIELDS, packed


class _Whole(NamedTuple):
    """A body that was written whole: as how many bytes, how many lean on it, and what more they took than they must."""

    seq: int
    body: bytes
    cost: int
    uses: int
    spent: int


# --- blobs ---

_BLOB = sa.select(blob.c.id, blob.c.digest, blob.c.size, blob.c.encoding, blob.c.base, blob.c.depth, blob.c.data)
_BY_DIGEST = _BLOB.where(blob.c.digest == sa.bindparam("digest"))
_BY_ID = _BLOB.where(blob.c.id == sa.bindparam("id"))
_FIND = sa.select(blob.c.id).where(blob.c.digest == sa.bindparam("digest"))
_NEXT = sa.select(sa.func.coalesce(sa.func.max(blob.c.id), 0) + 1)


def has_blob(connection: sa.Connection, digest: str) -> bool:
    return connection.execute(_FIND, {"digest": _raw(digest)}).one_or_none() is not None


def blob_size(connection: sa.Connection, digest: str) -> int | None:
    """How many plain bytes it has, None when it is not there."""
    query = sa.select(blob.c.size).where(blob.c.digest == _raw(digest))
    found: int | None = connection.execute(query).scalar_one_or_none()
    return found


def read_blob(connection: sa.Connection, digest: str) -> bytes:
    """The plain bytes behind a digest. Raises StoreError when they are not there or are not what they were."""
    row = connection.execute(_BY_DIGEST, {"digest": _raw(digest)}).one_or_none()
    if row is None:
        dropped = expired_by(connection, digest)
        if dropped is not None:
            raise StoreError(f"the payload {digest} has expired: entry {dropped} says that it was dropped")
        raise StoreError(f"the ledger holds no blob {digest}; it may belong to another ledger")
    try:
        data = _unpack_blob(connection, row)
    except ValueError as error:
        raise StoreError(f"blob {digest} {error}; run `collector db verify`, and restore a backup") from error
    return data


def write_blob(connection: sa.Connection, data: bytes, like: str | None) -> str:
    """Keeps ``data`` once and returns its digest. ``like``: the digest of an earlier one much like it."""
    digest = canonical.digest(data)
    if has_blob(connection, digest):
        return digest
    if len(data) > BLOB_BYTES_MAX:
        raise StoreError(f"a blob of {len(data)} bytes; at most {BLOB_BYTES_MAX} are kept in one piece")
    base = connection.execute(_BY_DIGEST, {"digest": _raw(like)}).one_or_none() if like else None
    if base is not None and base.depth >= DEPTH_MAX:
        base = None
    try:
        whole = None if base is None else _unpack_blob(connection, base)
    except ValueError as error:
        raise StoreError(f"blob {like} {error}; run `collector db verify`, and restore a backup") from error
    encoding, packed = packing.pack(data, whole)
    leans = base if encoding in (packing.DELTA, packing.MIDDLE) else None
    connection.execute(
        sa.insert(blob),
        {
            "id": connection.execute(_NEXT).scalar_one(),
            "digest": _raw(digest),
            "size": len(data),
            "encoding": encoding,
            "base": None if leans is None else leans.id,
            "depth": 0 if leans is None else leans.depth + 1,
            "data": packed,
        },
    )
    return digest


def _unpack_blob(connection: sa.Connection, row: Any) -> bytes:
    """The plain bytes of a row, proved by its digest. Raises ValueError with words that follow "blob X ..."."""
    chain = [row]
    while chain[-1].base is not None:
        below = connection.execute(_BY_ID, {"id": chain[-1].base}).one_or_none()
        if below is None or len(chain) > DEPTH_MAX:
            raise ValueError("leans on a blob that is not there")
        chain.append(below)
    data: bytes | None = None
    for link in reversed(chain):
        try:
            data = packing.unpack(link.encoding, link.data, data, link.size)
        except ValueError as error:
            raise ValueError(f"cannot be unpacked: {error}") from error
    if data is None or canonical.digest(data) != row.digest.hex():
        raise ValueError("is not what was kept: its digest differs")
    return data


def blobs(connection: sa.Connection) -> Iterator[tuple[str, str]]:
    """Every blob in the order of its keeping as (digest, what is wrong with it or "")."""
    last = 0
    while rows := connection.execute(_BLOB.where(blob.c.id > last).order_by(blob.c.id).limit(64)).all():
        for row in rows:
            try:
                _unpack_blob(connection, row)
            except ValueError as error:
                yield row.digest.hex(), str(error)
            else:
                yield row.digest.hex(), ""
        last = rows[-1].id


def drop_blobs(connection: sa.Connection, digests: Collection[str], seq: int) -> None:
    """Takes payloads away for good; entry ``seq`` says so. Blobs that lean on one of them are packed anew, whole.

    Raises StoreError for a blob that is not there or damaged; then nothing is to be kept of the transaction.
    """
    wanted = sorted(map(_raw, digests))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")  # what was dropped is not left lying in free pages
    for start in range(0, len(wanted), DROPPED_AT_ONCE):
        part = wanted[start : start + DROPPED_AT_ONCE]
        known = connection.execute(sa.select(expired.c.digest).where(expired.c.digest.in_(part))).scalars().all()
        rows = [{"digest": raw, "entry": seq} for raw in part if raw not in set(known)]
        if rows:
            connection.execute(sa.insert(expired), rows)
    gone = set(wanted)
    for start in range(0, len(wanted), DROPPED_AT_ONCE):
        part = wanted[start : start + DROPPED_AT_ONCE]
        ids = connection.execute(sa.select(blob.c.id).where(blob.c.digest.in_(part))).scalars().all()
        if len(ids) != len(part):
            raise StoreError("a payload that is to be dropped is not there; run `collector db verify`")
        for row in connection.execute(_BLOB.where(blob.c.base.in_(ids))).all():
            if row.digest not in gone:
                _stand_alone(connection, row)
    for start in reversed(range(0, len(wanted), DROPPED_AT_ONCE)):
        part = wanted[start : start + DROPPED_AT_ONCE]
        ids = connection.execute(sa.select(blob.c.id).where(blob.c.digest.in_(part))).scalars().all()
        # Those that are dropped too may lean on each other: they let go first.
        connection.execute(sa.update(blob).where(blob.c.base.in_(ids)).values(base=None))
        uses.drop(connection, ids)
        connection.execute(sa.delete(blob).where(blob.c.id.in_(ids)))


def _stand_alone(connection: sa.Connection, row: Any) -> None:
    try:
        data = _unpack_blob(connection, row)
    except ValueError as error:
        raise StoreError(f"blob {row.digest.hex()} {error}; run `collector db verify`") from error
    encoding, packed = packing.pack(data, None)
    values = {"encoding": encoding, "base": None, "depth": 0, "data": packed}
    connection.execute(sa.update(blob).where(blob.c.id == row.id).values(values))


def expired_by(connection: sa.Connection, digest: str) -> int | None:
    """The entry that dropped a payload, None when none did."""
    query = sa.select(expired.c.entry).where(expired.c.digest == _raw(digest))
    found: int | None = connection.execute(query).scalar_one_or_none()
    return found


def _raw(digest: str) -> bytes:
    try:
        raw = bytes.fromhex(digest)
    except ValueError as error:
        raise StoreError(f"{digest!r} is not a digest: 64 hexadecimal digits") from error
    if len(raw) != 32:
        raise StoreError(f"{digest!r} is not a digest: 64 hexadecimal digits")
    return raw
