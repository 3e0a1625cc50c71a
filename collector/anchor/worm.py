"""Copies of checkpoints in a write-once store: what S3, Azure Blob and Cloud Storage have in common, and every rule.

One object a checkpoint, ``PREFIX`` and the size in 20 digits and ``.note``, locked so that not even the owner of the
store can remove it. A version with other bytes can still be added on top of it, so every version is always read.
No SDK in here: stores are in ``collector/clouds/worm_*.py``. Whether a note is signed is for whoever asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import ClassVar

import structlog

from collector import canonical
from collector.anchor.base import Anchored, Believe, Consistency, anything
from collector.clouds.worm import Copy, Store, Version
from collector.errors import ConfigError, LedgerBroken, Unreadable
from collector.ledger.note import NOTE_BYTES_MAX, BadNote, Note, TreeHead

# The same checkpoint may be there already, from a put whose answer was lost: its lock began then, and ends as much
# earlier. No checkpoint is anchored again a day later, because the ledger has grown meanwhile.
LOCK_SLACK = timedelta(days=1)
KEY_VERSIONS_MAX = 100  # of one object; there is one, or somebody is at work
TWICE_MAX = 100  # objects with several versions that are read in one look
REPORTED_MAX = 20  # warnings of one look
CANARY = "canary/"  # below the prefix; one object a day on which the collector was started

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Held:
    """One checkpoint that the place holds. Its signature was not verified."""

    head: TreeHead
    note: bytes
    where: str


class WormAnchor:
    """One store. Subclasses say which, in what words its receipts speak, and how a version is written as an address."""

    kind: ClassVar[str]  # of the place, as in the configuration
    mode: ClassVar[str]  # the provider's word for a lock that nobody can take away or shorten

    def __init__(
        self,
        name: str,
        store: Store,
        receipt: Mapping[str, str],
        *,
        prefix: str,
        retain: int,
        clock: Callable[[], datetime],
        origin: str,
    ) -> None:
        """``receipt`` is what every receipt says of the place; ``retain`` is in seconds. With an ``origin``, the
        checkpoints of other ledgers are passed over."""
        self._name = name
        self._store = store
        self._receipt = dict(receipt)
        self._prefix = prefix
        self._retain = timedelta(seconds=retain)
        self._clock = clock
        self._origin = origin
        self._names = re.compile(re.escape(prefix) + r"([0-9]{20})\.note")

    @property
    def id(self) -> str:
        return f"{self.kind}/{self._name}"

    def where(self, version: Version) -> str:
        """The address of one version, as the provider's own tools take it or nearly so."""
        raise NotImplementedError

    def test(self) -> None:
        """Asks whether the store locks, then writes a canary, reads it and looks at its lock: the whole way of a put.

        That the canary cannot be deleted is not tried. The collector asks for no right to delete anything anywhere, so
        a refusal would prove only that; and a deletion that succeeds would be a write that nobody ordered. The lock
        that the store itself reports is what it enforces.

        Raises ConfigError for a store without locks, else one of the ``CannotObserve`` family.
        """
        self._store.prove()
        day = f"{self._clock().astimezone(UTC):%Y-%m-%d}"
        text = f"{self.id} of evidence-collector was tried on {day}\n".encode()  # a second start that day writes none
        try:
            self._kept(f"{self._prefix}{CANARY}{self._name}-{day}.txt", text, None)
        except _NotLocked as error:
            raise ConfigError(str(error)) from error

    def put(self, note: bytes, head: TreeHead, consistency: Consistency) -> Anchored:
        """Writes the note once, then reads every version of it back: the exact bytes, locked, for long enough.

        Raises LedgerBroken when a version holds another root for this size, Unreadable when one holds anything else or
        none is locked as it must be, and else one of the ``CannotObserve`` family.
        """
        if len(note) > NOTE_BYTES_MAX or _head(note) != head:
            raise ValueError(f"not a checkpoint over {head.size} entries")
        version, copy = self._kept(f"{self._prefix}{head.size:020}.note", note, head)
        assert copy.retain_until is not None
        receipt = {
            "type": self.kind,
            **self._receipt,
            "key": version.key,
            "version": version.id,
            "sha256": canonical.digest(note),
            "retain_until": canonical.stamp(copy.retain_until),
            "mode": self.mode,
        }
        return Anchored(canonical.record(receipt), "json", copy.written, self.where(version))

    def latest(self, believe: Believe = anything) -> TreeHead | None:
        """The largest checkpoint that is one and is believed.

        Raises LedgerBroken when any size is held with two roots, else one of the ``CannotObserve`` family; whatever
        else is found that does not belong there is reported in the log.
        """
        return next((held.head for held in self.held() if believe(held.note)), None)

    def held(self) -> Iterator[Held]:
        """Every checkpoint that the place holds, the largest first, each read when it is asked for. As ``latest``."""
        report = _Report(self.id)
        known: dict[str, list[Version]] = {}
        for version in self._store.versions(self._prefix):
            if self._names.fullmatch(version.key):
                known.setdefault(version.key, []).append(version)
            elif not version.key.startswith(f"{self._prefix}{CANARY}"):
                report(version, "no name of a checkpoint")
        twice = [key for key, versions in known.items() if len(versions) > 1]
        if len(twice) > TWICE_MAX:
            raise Unreadable(
                f"{self.id} holds more than {TWICE_MAX} checkpoints in several versions ({twice[0]} ...): they were "
                "written again by somebody; find out who, and give this ledger a prefix of its own"
            )
        written_again = {key: self._of_key(known[key], report) for key in sorted(twice)}
        for key in sorted(known, reverse=True):
            yield from written_again[key] if key in written_again else self._of_key(known[key], report)

    # --- reading ---

    def _of_key(self, versions: Sequence[Version], report: _Report) -> list[Held]:
        """The checkpoints in the versions of one object: one, unless somebody wrote there. Raises LedgerBroken."""
        _few(self.id, versions)
        found: list[Held] = []
        for version in versions:
            note = self._store.read(version).data
            head = _head(note)
            if head is None or f"{self._prefix}{head.size:020}.note" != version.key:
                report(version, "no checkpoint" if head is None else f"a checkpoint over {head.size} entries")
            elif self._origin and head.origin != self._origin:
                report(version, f"a checkpoint of {head.origin}")
            else:
                for other in found:
                    if other.head.origin == head.origin and other.head.root != head.root:
                        raise self._forked(head, other.where, version)
                if not any(other.note == note for other in found):
                    found.append(Held(head, note, self.where(version)))
        return found

    def _kept(self, key: str, data: bytes, head: TreeHead | None) -> tuple[Version, Copy]:
        """The version that holds ``data`` under the best lock, written if there was none."""
        until = _whole_seconds(self._clock()) + self._retain
        self._store.create(key, data, until)
        versions = [each for each in islice(self._store.versions(key), KEY_VERSIONS_MAX + 1) if each.key == key]
        if not versions:
            raise Unreadable(f"{self.id} took {key} and does not have it; the next checkpoint tries again")
        _few(self.id, versions)
        best: tuple[Version, Copy] | None = None
        why = ""
        for version in versions:
            copy = self._store.read(version)
            if copy.data != data:
                raise self._other(version, copy.data, head)
            wrong = self._wrong(copy, until)
            if wrong and self._store.lock(version, until):
                copy = self._store.read(version)
                wrong = self._wrong(copy, until)
            if wrong:
                why = why or f"{self.where(version)} {wrong}"
            elif best is None or _until(copy) > _until(best[1]):
                best = version, copy
        if best is None:
            raise _NotLocked(f"{why}; see deploy/anchors/README.md")
        return best

    def _wrong(self, copy: Copy, until: datetime) -> str:
        """What is wrong with a lock; "" when nothing is."""
        if not copy.mode:
            return "says nothing of a lock: it has none, or its retention may not be read"
        if copy.mode != self.mode.lower():
            return f"is locked in mode {copy.mode}, which can be taken away; it must be {self.mode}"
        if copy.retain_until is None or copy.retain_until < until - LOCK_SLACK:
            return f"is locked until {copy.retain_until}, which is too early: it must be {until}"
        return ""

    # --- what does not belong there ---

    def _other(self, version: Version, data: bytes, head: TreeHead | None) -> Exception:
        found = _head(data)
        if found and head and (found.origin, found.size) == (head.origin, head.size) and found.root != head.root:
            return self._forked(head, "this ledger", version)
        if found and head and found.origin != head.origin:
            what = f"a checkpoint of another ledger, {found.origin}; give each ledger a prefix of its own"
        elif found and head and found == head:
            what = "the same tree head under another signature; see whether the key was rotated or somebody else has it"
        else:
            what = "something else; find out who wrote it: the store's own access log names them"
        return Unreadable(
            f"{self.where(version)} holds {what}. It is never overwritten, and nothing was anchored there"
        )

    def _forked(self, head: TreeHead, one: str, version: Version) -> LedgerBroken:
        return LedgerBroken(
            f"{self.where(version)} holds another root over the first {head.size} entries of {head.origin} than {one}: "
            "history was rewritten, or somebody else wrote there. Keep both; see which is signed, and by whom"
        )


class _NotLocked(Unreadable):
    """The copy is there, and can be removed."""


class _Report:
    """Says in the log what a store holds that does not belong there; only the beginning of a long list."""

    def __init__(self, id: str) -> None:
        self._id = id
        self._said = 0

    def __call__(self, version: Version, what: str) -> None:
        self._said += 1
        if self._said <= REPORTED_MAX:
            words = "a place outside holds what is no checkpoint of this ledger; find out who wrote it there"
            log.warning(words, anchor=self._id, object=version.key, version=version.id, what=what)
        elif self._said == REPORTED_MAX + 1:
            log.warning("and more of the kind", anchor=self._id)


def _few(id: str, versions: Sequence[Version]) -> None:
    if len(versions) > KEY_VERSIONS_MAX:
        raise Unreadable(
            f"{id} holds more than {KEY_VERSIONS_MAX} versions of {versions[0].key}; find out who wrote them, and give "
            "this ledger a prefix of its own"
        )


def _head(note: bytes) -> TreeHead | None:
    try:
        return TreeHead.parse(Note.parse(note.decode()).text)
    except (BadNote, UnicodeDecodeError):
        return None


def _whole_seconds(moment: datetime) -> datetime:
    """The next whole second: stores keep no fractions."""
    return moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1 if moment.microsecond else 0)


def _until(copy: Copy) -> datetime:
    assert copy.retain_until is not None
    return copy.retain_until


def utc_now() -> datetime:
    return datetime.now(UTC)


def no_sdk(kind: str, name: str, extra: str, error: ImportError) -> ConfigError:
    """What a missing SDK means."""
    return ConfigError(
        f"[anchors.{kind}.{name}] needs a library ({error.name}): pip install 'evidence-collector[{extra}]'"
    )
