"""The ledger as the rest of the program has it: open, write in one transaction, read, sign, prove, rebuild.

How entries and blobs lie in their rows is in records.py, the proof in integrity.py, the derived tables in
projecting.py and projection.py, the database file in database.py.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from collector.errors import ConfigError, LedgerBroken, StoreError
from collector.ledger import integrity, keys, merkle, projecting, records, uses
from collector.ledger.database import PATIENCE_SECONDS, Database
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.integrity import Progress, Verified
from collector.ledger.keys import KeyEntry
from collector.ledger.leading import leadership
from collector.ledger.note import BadNote, Note, TreeHead, VerifierKey, check_name
from collector.ledger.projection import Projection
from collector.ledger.seal import Signer, proved, refuse_other_key, seal
from collector.ledger.sqlite import file_of
from collector.ledger.tables import checkpoint, edge, entry, head, tile

ROTATION_ATTEMPTS_MAX = 10  # while others go on writing


@dataclass(frozen=True)
class Checkpoint:
    """A signed tree head: the first ``size`` entries had this ``root``. ``note`` is the C2SP text, kept as signed."""

    size: int
    root: bytes
    at: datetime
    note: str


class Ledger:
    """An append-only log in one database. Safe to use from many threads; one process at a time may write."""

    def __init__(self, database: Database, origin: str, signer: Signer | None) -> None:
        """Use ``Ledger.open``."""
        self._database = database
        self._writer = threading.Lock()
        self._signing = threading.Lock()
        self._deltas = records.Deltas()
        self._signer = signer
        self.origin = origin
        self.url = database.url.render_as_string(hide_password=True)
        self.where = database.where  # for people; without any password
        self.projection = Projection(database.reading)
        self.uses = uses.Uses(database.reading)
        self.leadership = leadership(database)
        self._fence: Callable[[sa.Connection], None] = _no_fence

    @classmethod
    def open(
        cls,
        url: str,
        *,
        origin: str,
        signer: Signer | None,
        create: bool = False,
        verify: bool = True,
        patience: float = PATIENCE_SECONDS,
    ) -> Ledger:
        """Opens the ledger at ``url`` and proves it unless told not to.

        A URL is ``sqlite:///path`` or ``postgresql+psycopg://host/name``.

        ``create`` begins a ledger where there is none, and brings older tables up to date. Without a ``signer`` it can
        be read and written, but not signed. ``patience``: seconds to wait for another process to finish writing.

        Raises StoreError when the database cannot be used as it is, ConfigError when the origin belongs to another
        ledger, OtherKey when the key does, or was replaced; LedgerBroken when the ledger does not verify.
        """
        try:
            check_name(origin)
        except BadNote as error:
            raise ConfigError(f"the ledger's origin is no name: {error}") from error
        database = Database.open(url, create=create, patience=patience, derive=_rebuild)
        try:
            begun = _begun_as(database, origin, create)
            if begun != origin:
                raise ConfigError(f"the ledger at {database.where} is {begun}, not {origin}; origins never change")
            ledger = cls(database, origin, signer)
            if signer is not None and signer.key.name != origin:
                raise ConfigError(f"the key signs for {signer.key.name}, the ledger is {origin}; use this ledger's key")
            if signer is not None and (known := ledger.key_entries()):
                refuse_other_key(known, signer)
            if verify:
                ledger.verify()
        except BaseException:
            database.close()
            raise
        return ledger

    @property
    def path(self) -> Path:
        """The file of a ledger in SQLite. Raises StoreError for another."""
        return file_of(self._database.url)

    def close(self) -> None:
        """Gives all connections back. Reading or writing afterwards opens new ones."""
        self._database.close()

    # --- reading ---

    def reading(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """One state of the whole database, for rooms of the ledger that read its rows. Raises StoreError."""
        return self._database.reading()

    def size(self) -> int:
        """How many entries there are; they are numbered from 0."""
        with self._database.reading() as connection:
            return _size(connection)

    def entry(self, seq: int) -> Entry:
        """Raises StoreError when there is no such entry."""
        with self._database.reading() as connection:
            return records.read_entry(connection, seq)

    def entries(self, start: int = 0, end: int | None = None, kinds: Collection[Kind] | None = None) -> Iterator[Entry]:
        """The entries of ``[start, end)`` in order, only of some ``kinds`` when they are given."""
        bases = records.Bases()
        with self._database.reading() as connection:
            while page := records.read_entries(connection, start, end, kinds, bases):
                yield from page
                start = page[-1].seq + 1

    def blob(self, digest: str) -> bytes:
        """The bytes behind a digest, proved by it. Raises StoreError when they are absent or damaged."""
        with self._database.reading() as connection:
            return records.read_blob(connection, digest)

    def has_blob(self, digest: str) -> bool:
        with self._database.reading() as connection:
            return records.has_blob(connection, digest)

    def blob_size(self, digest: str) -> int | None:
        """How many plain bytes a blob has, None when it is not there."""
        with self._database.reading() as connection:
            return records.blob_size(connection, digest)

    def expired_by(self, digest: str) -> int | None:
        """The ``expiry`` entry that dropped a payload after its term; None when none did."""
        with self._database.reading() as connection:
            return records.expired_by(connection, digest)

    def key(self) -> VerifierKey | None:
        """The key that signs this ledger, as its newest ``key`` entry names it; None when it has none yet."""
        known = self.key_entries()
        return known[-1].key if known else None

    def key_entries(self) -> tuple[KeyEntry, ...]:
        """All keys that this ledger had, oldest first, each proved to follow the one before it. Raises LedgerBroken."""
        with self._database.reading() as connection:
            return _keys(connection, self.origin)

    # --- the tree ---

    def root(self, size: int | None = None) -> bytes:
        """The root over the first ``size`` entries, or over all. Raises StoreError when there are fewer."""
        with self._tree(size) as (node, size):
            return merkle.root(size, node)

    def frontier(self, size: int) -> list[bytes]:
        """The hashes of the complete subtrees of the first ``size`` entries, largest first."""
        with self._tree(size) as (node, size):
            return merkle.frontier(size, node)

    def inclusion(self, seq: int, size: int) -> list[bytes]:
        """The proof that entry ``seq`` is in the tree of ``size`` entries (RFC 6962)."""
        with self._tree(size) as (node, size):
            return merkle.inclusion(seq, size, node)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the first ``old`` entries are the beginning of the first ``new`` ones (RFC 6962)."""
        with self._tree(new) as (node, new):
            return merkle.consistency(old, new, node)

    @contextlib.contextmanager
    def _tree(self, size: int | None) -> Iterator[tuple[merkle.Node, int]]:
        with self._database.reading() as connection:
            now = _size(connection)
            if size is not None and not 0 <= size <= now:
                raise StoreError(f"the ledger has {now} entries, not {size}")
            yield _node(connection, now), now if size is None else size

    # --- writing ---

    def write_only_while_leading(self) -> None:
        """From here on everything that this process appends or signs is dropped, by Fenced, when it does not lead."""
        self._fence = self.leadership.fence

    @contextlib.contextmanager
    def write(self) -> Iterator[Batch]:
        """One transaction: everything in it is kept, on disk, when the block ends; nothing of it when it raises.

        Raises StoreError when another process is writing for longer than our patience, or the disk is full.
        """
        with self._writer:
            try:
                with self._database.writing() as connection:
                    self._fence(connection)
                    batch = Batch(connection, self.origin, self._signer, self._deltas)
                    yield batch
                    batch.finish()
            except BaseException:
                self._deltas = records.Deltas()  # it may lean on entries that were never kept
                raise

    def checkpoint(self, at: datetime, outside: Iterable[tuple[str, TreeHead]] = ()) -> Checkpoint | None:
        """Signs the tree as it is and keeps the checkpoint; None when nothing was written since the last one.

        The signature is made while others may write: a key service can take its time. ``outside`` is what
        ``refuse_behind`` looks at first.

        Raises ConfigError without the right signer, LedgerBroken rather than sign what does not continue the last one
        or what is held outside, one of the ``CannotObserve`` family when a key service does not sign.
        """
        signer = self._signer
        if signer is None:
            raise ConfigError("there is no key to sign the ledger with; name the log key in the configuration")
        with self._signing:
            self.refuse_behind(outside)
            with self._database.reading() as connection:
                size = _size(connection)
                last = _checkpoints(connection, newest=True)
                if size == 0 or (last and last[0].size == size):
                    return None
                known = _keys(connection, self.origin)
                if not known:
                    raise ConfigError(
                        "the ledger was begun without a key; write a key entry before the first checkpoint"
                    )
                refuse_other_key(known, signer)
                node = _node(connection, size)
                before = None if not last else TreeHead(self.origin, last[0].size, last[0].root)
                if before is not None and before.size <= size and merkle.root(before.size, node) != before.root:
                    raise LedgerBroken(
                        f"the first {before.size} entries hash to another root than was signed; nothing more is "
                        "signed: run `collector db verify`"
                    )
                root = merkle.root(size, node)
            note = seal(signer, TreeHead(self.origin, size, root), before)
            with self._writer, self._database.writing() as connection:
                self._fence(connection)
                newest = _checkpoints(connection, newest=True)
                if newest and newest[0].size >= size:
                    return newest[0]  # another process has signed meanwhile
                values = {"size": size, "root": root, "at": records.microseconds(at), "note": note}
                connection.execute(sa.insert(checkpoint), values)
        return Checkpoint(size, root, at.astimezone(UTC), note)

    def checkpoints(self) -> list[Checkpoint]:
        """All of them, smallest first."""
        with self._database.reading() as connection:
            return _checkpoints(connection)

    def newest_checkpoint(self) -> Checkpoint | None:
        """None before the first."""
        with self._database.reading() as connection:
            return next(iter(_checkpoints(connection, newest=True)), None)

    # --- what is held outside ---

    def head_of(self, where: str, note: str) -> TreeHead:
        """The tree head of a checkpoint of this ledger that is held at ``where``, outside.

        Raises LedgerBroken when it is none, or when no key that this ledger ever had has signed it.
        """
        try:
            parsed = Note.parse(note)
            found = TreeHead.parse(parsed.text)
            if found.origin != self.origin:
                raise BadNote(f"it is of the ledger {found.origin}")
            parsed.verify(known.key for known in self.key_entries())
        except BadNote as error:
            raise LedgerBroken(
                f"what {where} holds is no checkpoint of {self.origin} that this ledger knows: {error}. If its key was "
                "replaced, this is a copy from before; nothing is signed until that is cleared up"
            ) from error
        return found

    def refuse_behind(self, heads: Iterable[tuple[str, TreeHead]]) -> None:
        """Raises LedgerBroken when any of ``heads`` is no beginning of this ledger: where it is held, and what it says.

        Each was signed by this ledger once (see ``head_of``), and is held where nobody here can change it. A larger
        one means that this is an old copy, such as a restored backup; another root, that history was rewritten.
        """
        for where, outside in heads:
            if outside.origin != self.origin:
                raise ConfigError(f"{where} holds a checkpoint of {outside.origin}, not of {self.origin}; name another")
            size = self.size()
            if outside.size > size:
                raise LedgerBroken(
                    f"{where} holds a checkpoint over {outside.size} entries, and this ledger has {size}: it is an "
                    "older copy. Nothing is signed; bring the newest copy back, or begin a ledger under another origin"
                )
            if self.root(outside.size) != outside.root:
                raise LedgerBroken(
                    f"{where} holds a checkpoint over {outside.size} entries with another root than this ledger has "
                    "there: history was rewritten. Nothing is signed; keep both for whoever looks into it"
                )

    # --- keys ---

    def rotate(self, new: Signer, at: datetime, reason: str) -> Entry:
        """Puts ``new`` in the place of the ledger's key; both sign the entry. The next checkpoint is signed by ``new``.

        Raises ConfigError without the old key, for a key that was this ledger's before, or for no reason;
        one of the ``CannotObserve`` family when a key service does not sign. Then nothing was written.
        """
        if self._signer is None:
            raise ConfigError("a rotation is signed by the old key too; name it, or recover when it is lost")
        return self._succeed(self._signer, new, at, reason)

    def recover(self, new: Signer, at: datetime, reason: str) -> Entry:
        """Puts ``new`` in the place of the ledger's key, which is lost. Errors as of ``rotate``.

        Only a reader who was given the new key by another way believes what is signed from here on.
        """
        return self._succeed(None, new, at, reason)

    def _succeed(self, old: Signer | None, new: Signer, at: datetime, reason: str) -> Entry:
        try:
            keys.check_reason(reason)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if new.key.name != self.origin:
            raise ConfigError(f"the new key signs for {new.key.name}, this ledger is {self.origin}")
        for _ in range(ROTATION_ATTEMPTS_MAX):
            known, size = self.key_entries(), self.size()
            if not known:
                raise ConfigError("the ledger has no key yet, so there is none to replace; run `collector once` first")
            if old is not None:
                refuse_other_key(known, old)
            _refuse_again(known, new.key)
            said = keys.statement(self.origin, size, known[-1].key, new.key, reason)
            signatures = b"" if old is None else proved(old, said), proved(new, said)
            fields = keys.successor_fields(self.origin, known[-1].key, new.key, reason, *signatures)
            with self.write() as batch:
                if batch.size == size:
                    added = batch.add(Draft(Kind.KEY, at, fields))
                    break
        else:
            raise StoreError("others were writing all the time, so the key was not replaced; stop the collector first")
        self._signer = new
        return added

    # --- proving and rebuilding ---

    def verify(self, progress: Progress | None = None, *, blobs: bool = False) -> Verified:
        """Proves all entries, tiles, roots and signatures, and on request all blobs. Raises LedgerBroken."""
        with self._database.reading() as connection:
            return integrity.verify(connection, self.where, blobs=blobs, progress=progress)

    def rebuild(self, progress: Progress | None = None) -> None:
        """Throws the derived tables away and makes them again from the entries, in one transaction."""
        with self._writer, self._database.writing() as connection:
            _rebuild(connection, progress)


class Batch:
    """What one transaction adds. Made by ``Ledger.write``; of no use after its block has ended."""

    def __init__(self, connection: sa.Connection, origin: str, signer: Signer | None, deltas: records.Deltas) -> None:
        self._connection = connection
        self._origin = origin
        self._signer = signer
        self._deltas = deltas
        self._projector = projecting.Projector(connection, partial(records.read_blob, connection))
        self._began_at = size = _size(connection)
        levels = connection.execute(sa.select(edge.c.hashes).order_by(edge.c.level)).scalars().all()
        try:
            self._edge = merkle.Edge(size, levels)
        except ValueError as error:
            raise LedgerBroken(
                f"the ledger's unfilled tiles are damaged ({error}); run `collector db verify`"
            ) from error
        self._levels_held = len(levels)
        self._torn = False
        self.projection = Projection(self._same)

    @property
    def size(self) -> int:
        """How many entries there are, with those of this batch: the number of the next one."""
        return self._edge.size

    def blob(self, data: bytes, like: str | None = None) -> str:
        """Keeps ``data`` and returns its SHA-256; the same bytes are kept once.

        ``like`` names a series of blobs that differ little from one to the next, such as the call logs of one account
        or the answers to one question. It only saves room: each is kept as what differs from the one before it.
        """
        digest = records.write_blob(self._connection, data, self._deltas.last(like) if like else None)
        if like:
            self._deltas.follow(like, digest)
        return digest

    def has_blob(self, digest: str) -> bool:
        return records.has_blob(self._connection, digest)

    def read(self, digest: str) -> bytes:
        """The bytes behind a digest, also of a blob that this batch keeps. Raises StoreError when they are absent."""
        return records.read_blob(self._connection, digest)

    def count_uses(self, found: Mapping[str, uses.Use], since: int, size: int) -> bool:
        """Adds what the entries of ``[since, size)`` rest on. False when another process counted them meanwhile."""
        return uses.count(self._connection, found, since, size)

    def drop(self, digests: Collection[str], entry: Entry) -> None:
        """Takes payloads away for good, as ``entry``, added before, says. Raises StoreError when one is not there."""
        records.drop_blobs(self._connection, digests, entry.seq)
        self._deltas.series.clear()  # the next of each series may not lean on what is gone

    def add(self, draft: Draft) -> Entry:
        """Appends one entry and draws its consequences. The first entry of a signed ledger names its key.

        Raises ValueError for a draft that cannot be an entry, StoreError when it rests on a blob that is not kept; then
        the batch is lost, also when that error is caught inside its block.
        """
        if self._edge.size == 0 and self._signer is not None and draft.kind is not Kind.KEY:
            fields = keys.first_fields(self._origin, self._signer.key)
            self._append(Draft(Kind.KEY, draft.at, fields))
        if draft.kind is Kind.KEY:
            self._check_key(draft)
        return self._append(draft)

    def _append(self, draft: Draft) -> Entry:
        seq = self._edge.size
        body = draft.body(seq)
        row = self._deltas.pack(draft, seq, body)
        self._torn = True  # until its consequences are drawn too
        self._connection.execute(_INSERT, row)
        full = self._edge.push(merkle.leaf_hash(body))
        if full:
            rows = [{"level": item.level, "n": item.n, "hashes": item.hashes} for item in full]
            self._connection.execute(sa.insert(tile), rows)
        added = Entry(seq, draft.kind, records.moment(row["at"]), body)
        self._projector.apply(added)
        self._torn = False
        return added

    def _check_key(self, draft: Draft) -> None:
        """A key entry decides which signatures are believed, so it is not written unless it can be."""
        known = _keys(self._connection, self._origin)
        try:
            keys.read(self._edge.size, draft.at, draft.fields, self._origin, known)
        except keys.BadKeyEntry as error:
            raise ValueError(f"a key entry that {error}") from error

    def finish(self) -> None:
        """Moves the end of the log; called once, when the block has ended well."""
        if self._torn:
            raise StoreError(f"entry {self._edge.size - 1} could not be added; nothing of its batch was written")
        if self._edge.size == self._began_at:
            return
        self._connection.execute(sa.update(head).where(head.c.size == self._began_at).values(size=self._edge.size))
        for level, hashes in enumerate(self._edge.levels):
            if level < self._levels_held:
                values = {"wanted": level, "held": bytes(hashes)}
                self._connection.execute(_EDGE, values)
            else:
                self._connection.execute(sa.insert(edge), {"level": level, "hashes": bytes(hashes)})

    @contextlib.contextmanager
    def _same(self) -> Iterator[sa.Connection]:
        yield self._connection


def _no_fence(connection: sa.Connection) -> None:
    """A command that a person runs needs no lead: it appends in line with everybody."""


_INSERT = sa.insert(entry)
_EDGE = sa.update(edge).where(edge.c.level == sa.bindparam("wanted")).values(hashes=sa.bindparam("held"))


def _rebuild(connection: sa.Connection, progress: Progress | None = None) -> None:
    bases = records.Bases()
    size = connection.execute(sa.select(head.c.size)).scalar_one_or_none() or 0
    projecting.empty(connection)
    uses.forget(connection)
    projector = projecting.Projector(connection, partial(records.read_blob, connection))
    start = 0
    while page := records.read_entries(connection, start, None, None, bases):
        for found in page:
            projector.apply(found)
        start = page[-1].seq + 1
        if progress is not None:
            progress(start, size)


def _begun_as(database: Database, origin: str, create: bool) -> str:
    """The origin that the ledger was begun with; begins it when asked to."""
    with database.writing() if create else database.reading() as connection:
        found = connection.execute(sa.select(head.c.origin)).scalar_one_or_none()
        if found is None and create:
            connection.execute(sa.insert(head), {"id": 1, "origin": origin, "size": 0})
            return origin
    if found is None:
        raise StoreError(f"the ledger at {database.where} was never begun; run `collector db upgrade`")
    return str(found)


def _size(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(head.c.size)).scalar_one())


def _keys(connection: sa.Connection, origin: str) -> tuple[KeyEntry, ...]:
    bases = records.Bases()
    known: list[KeyEntry] = []
    start = 0
    while page := records.read_entries(connection, start, None, [Kind.KEY], bases):
        for found in page:
            try:
                known.append(keys.read(found.seq, found.at, found.data, origin, known))
            except keys.BadKeyEntry as error:
                raise LedgerBroken(f"entry {found.seq} {error}: run `collector db verify`") from error
        start = page[-1].seq + 1
    return tuple(known)


def _refuse_again(known: Sequence[KeyEntry], new: VerifierKey) -> None:
    """A key that was retired may be one that was stolen; and a four-byte id must tell all keys of a ledger apart."""
    if new == known[-1].key:
        raise ConfigError(f"{new} is the key that signs this ledger already; name the one that is to follow it")
    if any(new.id == each.key.id for each in known):
        raise ConfigError(f"{new} was a key of this ledger before, or looks like one; make a new one")


def _checkpoints(connection: sa.Connection, *, newest: bool = False) -> list[Checkpoint]:
    query = sa.select(checkpoint).order_by(checkpoint.c.size.desc() if newest else checkpoint.c.size)
    rows = connection.execute(query.limit(1) if newest else query)
    return [Checkpoint(row.size, row.root, records.moment(row.at), row.note) for row in rows]


def _node(connection: sa.Connection, size: int) -> merkle.Node:
    """The nodes of the tree of ``size`` entries, each tile read once."""
    held: dict[tuple[int, int], bytes] = {}

    def fetch(level: int, n: int) -> bytes:
        if (level, n) not in held:
            held[level, n] = integrity.stored_tile(connection, level, n, size)
        return held[level, n]

    def node(level: int, index: int) -> bytes:
        try:
            return merkle.node_in_tiles(level, index, fetch)
        except ValueError as error:
            raise LedgerBroken(f"a part of the tree is missing ({error}); run `collector db verify`") from error

    return node
