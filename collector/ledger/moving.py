"""Moves a ledger into another database, row by row as it lies there, and proves that it arrived."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from collector.errors import LedgerBroken, StoreError
from collector.ledger.database import Database
from collector.ledger.integrity import Progress, Verified
from collector.ledger.store import Ledger
from collector.ledger.tables import LOG, head

ROWS = 1_000  # copied at once


def move(source: Ledger, url: str, progress: Callable[[str], Progress] | None = None) -> Verified:
    """Copies every entry, tile, blob and checkpoint of ``source`` to the database at ``url``, and proves both sides.

    The copy is one transaction: all of it is there afterwards, or nothing. Derived tables are made again from it. The
    source stays as it is. Raises StoreError when the target holds a ledger already or a collector is at work on the
    source, LedgerBroken when either side does not verify.
    """
    if not source.leadership.take():
        raise StoreError(f"a collector is at work on {source.where}: stop it, then move the ledger")
    try:
        there = source.verify(_told(progress, "verifying the source"), blobs=True)
        target = Database.open(url, create=True)
        try:
            _copy(source, target, _told(progress, "copying"))
        finally:
            target.close()
        moved = Ledger.open(url, origin=source.origin, signer=None, verify=False)
        try:
            moved.rebuild(_told(progress, "rebuilding"))
            here = moved.verify(_told(progress, "verifying the copy"), blobs=True)
        finally:
            moved.close()
    finally:
        source.leadership.release()
    if here != there:
        raise LedgerBroken(f"what arrived is not what was sent: {here} instead of {there}; remove the copy")
    return here


def _told(progress: Callable[[str], Progress] | None, words: str) -> Progress | None:
    return None if progress is None else progress(words)


def _copy(source: Ledger, target: Database, tell: Progress | None) -> None:
    with source.reading() as reading, target.writing() as writing:
        if writing.execute(sa.select(sa.func.count()).select_from(head)).scalar_one():
            raise StoreError(f"{target.where} holds a ledger already; name an empty database")
        counts = {t.name: reading.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for t in LOG}
        total, done = sum(counts.values()), 0
        for table in LOG:
            query = sa.select(table).order_by(*table.primary_key.columns)
            with reading.execute(query, execution_options={"yield_per": ROWS}) as rows:
                for part in rows.mappings().partitions():
                    writing.execute(sa.insert(table), [dict(row) for row in part])
                    done += len(part)
                    if tell is not None:
                        tell(done, total)
