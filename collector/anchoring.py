"""Puts each signed checkpoint into every place outside, and writes down what came of it. Knows no kind of place.

A failed anchor is an entry and an alert, never silence; what a place gave is an entry with its token as a blob.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import structlog

from collector import canonical
from collector.alert import leaving, own
from collector.alert.own import Trouble, Turn
from collector.alert.standing import Standing
from collector.anchor.base import Ahead, Anchor, Anchored
from collector.config import Settings
from collector.config_alerts import ROWS_MAX
from collector.controls import Controls
from collector.errors import CannotObserve, CollectorError, LedgerBroken, Unreadable
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.note import BadNote, Note, TreeHead
from collector.ledger.store import Batch, Checkpoint, Ledger
from collector.registry import Registry
from collector.window.drift import Cause

ANCHORED, FAILED = "anchored", "failed"
REASON_CHARACTERS_MAX = 500
CLOCKS_SECONDS_MAX = 300  # docs/decisions/0006: by which two clocks may differ

log = structlog.get_logger(__name__)


class Anchoring:
    """The places of one ledger. Safe to call from several threads: one checkpoint is put at a time."""

    def __init__(
        self,
        ledger: Ledger,
        places: Mapping[str, Anchor],
        clock: Callable[[], datetime],
        settings: Settings,
        controls: Controls,
        registry: Registry,
    ) -> None:
        self.ledger = ledger
        self.places = places
        self._clock = clock
        self._about = (controls, settings, registry)
        self._turn = threading.Lock()
        self._held: dict[str, int] = {}
        self._read = 0  # the first so many entries were looked through for what places hold

    def begin(self) -> None:
        """Asks every place whether it works and what it holds, before anything is signed.

        A place that does not answer is written down and alerted; it is asked again with the next checkpoint. Raises
        ConfigError for a place that can never work, LedgerBroken when one holds more than this ledger has: then this
        is an old copy, or history was rewritten.
        """
        for id, place in self.places.items():
            try:
                self.ask(id, place)
            except CannotObserve as error:
                self._write(id, None, error)
        leaving.close_places(self.ledger, self.places, self._standing, self._clock())

    def _standing(self, batch: Batch, account: str = "") -> Standing:
        return Standing(batch, *self._about, self._clock, account)

    def ask(self, id: str, place: Anchor) -> None:
        """Whether a place works, and holds nothing that this ledger does not continue. Writes nothing.

        Raises one of the ``CannotObserve`` family, ConfigError, or LedgerBroken as ``begin`` says. A larger checkpoint
        there that no key of this ledger signed stops nothing, since whoever may write there could put one: it is
        Unreadable, and so alerted.
        """
        place.test()
        strangers: list[int] = []
        latest = place.latest(lambda note: self._ours(note, strangers))
        if latest is not None:
            self.ledger.refuse_behind([(id, latest)])
        if strangers and max(strangers) > (0 if latest is None else latest.size):
            raise Unreadable(
                f"{id} holds a checkpoint over {max(strangers)} entries in this ledger's name that none of its keys "
                "has signed: find out who put it there"
            )

    def _ours(self, note: bytes, strangers: list[int]) -> bool:
        """Whether any key that ever signed this ledger signed a note; the sizes of those that are not ours are kept."""
        try:
            parsed = Note.parse(note.decode())
            head = TreeHead.parse(parsed.text)
        except (BadNote, UnicodeDecodeError):
            return False
        if head.origin != self.ledger.origin:
            return False
        try:
            parsed.verify([known.key for known in self.ledger.key_entries()])
        except BadNote:
            strangers.append(head.size)
            return False
        return True

    def put_newest(self) -> int:
        """Puts the newest checkpoint into every place that does not have it yet. Returns how many now have it.

        Raises LedgerBroken when a place says that it does not continue what it holds.
        """
        with self._turn:
            newest = self.ledger.newest_checkpoint()
            if newest is None or not self.places:
                return 0
            held = self.held()
            return sum(self._put(id, place, newest) for id, place in self.places.items() if held.get(id) != newest.size)

    def held(self) -> dict[str, int]:
        """The size of the last checkpoint that each place took, as the ledger says. Reads what is new since it was
        asked before."""
        size = self.ledger.size()
        for entry in self.ledger.entries(self._read, size, kinds=[Kind.ANCHOR]):
            if entry.data["outcome"] == ANCHORED:
                self._held[entry.data["anchor"]] = entry.data["size"]
        self._read = size
        return dict(self._held)

    def _put(self, id: str, place: Anchor, newest: Checkpoint) -> bool:
        head = TreeHead.parse(Note.parse(newest.note).text)
        try:
            given = place.put(newest.note.encode(), head, lambda old: self.ledger.consistency(old, head.size))
        except LedgerBroken as error:
            if isinstance(error, Ahead) and error.size <= self.ledger.size():
                # another process, such as an export, put a newer one meanwhile: or one of another history, which the
                # place shows, or says when it is given the next
                if error.held is not None:
                    self.ledger.refuse_behind([(id, error.held)])
                return True
            self._write(id, newest, error)
            raise
        except CollectorError as error:
            self._write(id, newest, error)
            return False
        except Exception as error:  # a defect of one place must not keep the others from being asked
            log.exception("anchor", anchor=id)
            self._write(id, newest, CannotObserve(f"the anchor crashed: {type(error).__name__}"))
            return False
        self._write(id, newest, given)
        return True

    def _write(self, id: str, newest: Checkpoint | None, outcome: Anchored | CollectorError) -> Entry:
        """One ``anchor`` entry, and the alert that begins or ends with it."""
        now = self._clock()
        failed = isinstance(outcome, CollectorError)
        with self.ledger.write() as batch:
            fields = {"anchor": id, "type": id.partition("/")[0], **_of_checkpoint(newest), **_of(outcome)}
            if isinstance(outcome, Anchored):
                fields["token"] = batch.blob(outcome.token) if outcome.token else ""
                fields["reason"] = _other_clock(outcome, now)
            entry = batch.add(Draft(Kind.ANCHOR, now, fields))
            self._alert(batch, id, fields["reason"], entry, now)
        if failed:
            log.warning("not anchored", anchor=id, why=fields["reason"])
        return entry

    def _alert(self, batch: Batch, id: str, reason: str, entry: Entry, now: datetime) -> None:
        standing = Standing(batch, *self._about, lambda: now)

        def before() -> Iterator[Turn]:
            asked = batch.projection.newest(Kind.ANCHOR, ROWS_MAX * max(len(self.places), 1))
            for one in asked:
                if one.seq < entry.seq and one.data["anchor"] == id:
                    yield Turn(bool(one.data["reason"]), one.at, one.seq)

        trouble = Trouble(Cause.ANCHOR, "", id, reason, "holds checkpoints again")
        own.tell(standing, self._about[1], trouble, Turn(bool(reason), now, entry.seq), before())


def _other_clock(given: Anchored, now: datetime) -> str:
    """What is to be said when the place and this host disagree about the time; "" when they do not."""
    off = 0.0 if given.time is None else (given.time - now).total_seconds()
    if abs(off) <= CLOCKS_SECONDS_MAX:
        return ""
    return f"its clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} ours: one of the two is wrong"


def _of_checkpoint(newest: Checkpoint | None) -> dict[str, Any]:
    if newest is None:  # the place was only asked whether it works
        return {"size": 0, "root": "", "note": ""}
    return {"size": newest.size, "root": newest.root.hex(), "note": canonical.digest(newest.note.encode())}


def _of(outcome: Anchored | CollectorError) -> dict[str, Any]:
    if isinstance(outcome, CollectorError):
        failure = outcome.code if isinstance(outcome, CannotObserve) else "refused"
        reason = str(outcome)[:REASON_CHARACTERS_MAX] or failure
        return {"token": "", "time": "", "where": "", "outcome": FAILED, "reason": reason, "failure": failure}
    return {
        "time": "" if outcome.time is None else canonical.stamp(outcome.time),
        "where": outcome.where,
        "outcome": ANCHORED,
        "reason": "",
        "failure": "",
    }
