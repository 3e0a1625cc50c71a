"""What becomes of a checkpoint and its places: entries, tokens, alerts, and the refusal to sign behind the outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from collector import canonical
from collector.anchor.base import Anchored, Believe, Consistency, anything
from collector.anchoring import Anchoring
from collector.errors import LedgerBroken, Unavailable
from collector.ledger import merkle, note
from collector.ledger.entry import Entry, Kind
from collector.ledger.note import Note, TreeHead
from collector.ledger.seal import FileSigner, Signer
from collector.ledger.store import Ledger
from tests.support.lived import Lived

HOUR = timedelta(hours=1)


class Place:
    """A place in memory that checks what a witness would, and fails when a test says so."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.notes: list[bytes] = []
        self.heads: list[TreeHead] = []
        self.fails: Exception | None = None
        self.pretends: bytes | None = None
        self.time: datetime | None = None

    def test(self) -> None:
        if self.fails:
            raise self.fails

    def put(self, note: bytes, head: TreeHead, consistency: Consistency) -> Anchored:
        if self.fails:
            raise self.fails
        if self.heads:
            old = self.heads[-1]
            assert merkle.extends(old.size, head.size, old.root, head.root, list(consistency(old.size)))
        self.notes.append(note)
        self.heads.append(head)
        return Anchored(b"token of " + note, "json", self.time, f"shelf {len(self.notes)}")

    def latest(self, believe: Believe = anything) -> TreeHead | None:
        notes = [self.pretends] if self.pretends else self.notes[::-1]
        found = next((note for note in notes if believe(note)), None)
        return TreeHead.parse(Note.parse(found.decode()).text) if found else None


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[Lived]:
    day = Lived(tmp_path)
    day.hour()
    yield day
    day.ledger.close()


@pytest.fixture
def anchor(lived: Lived) -> Callable[..., Anchoring]:
    def make(*places: Place) -> Anchoring:
        operation = lived.operation
        about = (operation.settings, operation.controls, operation.registry)
        return Anchoring(lived.ledger, {place.id: place for place in places}, lambda: lived.now, *about)

    return make


def entries(ledger: Ledger, kind: Kind) -> list[Entry]:
    return list(ledger.entries(kinds=[kind]))


def test_every_place_gets_the_exact_note_and_its_token_is_kept(lived, anchor) -> None:
    one, two = Place("file/one"), Place("witness/two")
    assert anchor(one, two).put_newest() == 2
    newest = lived.ledger.checkpoints()[-1]
    assert one.notes == two.notes == [newest.note.encode()]
    for found in entries(lived.ledger, Kind.ANCHOR):
        assert found.data["size"] == newest.size
        assert found.data["root"] == newest.root.hex()
        assert found.data["note"] == canonical.digest(newest.note.encode())
        assert lived.ledger.blob(found.data["token"]) == b"token of " + newest.note.encode()
        assert found.data["outcome"] == "anchored"


def test_a_checkpoint_is_put_once_and_the_next_one_continues_it(lived, anchor) -> None:
    place = Place("witness/two")
    anchoring = anchor(place)
    assert (anchoring.put_newest(), anchoring.put_newest()) == (1, 0)
    lived.hour()
    assert anchor(place).put_newest() == 1  # also by a process that was started meanwhile
    assert [head.size for head in place.heads] == sorted({head.size for head in place.heads})


def test_what_places_hold_is_what_all_entries_say_also_those_of_another_process(lived, anchor) -> None:
    places = Place("file/a"), Place("file/b")
    ours, others = anchor(*places), anchor(*places)
    for number in range(6):
        places[number % 2].fails = Unavailable("down") if number in (1, 2, 4) else None
        lived.hour()
        lived.ledger.checkpoint(lived.now)
        (ours, others)[number % 3 == 0].put_newest()
        said = [e.data for e in entries(lived.ledger, Kind.ANCHOR) if e.data["outcome"] == "anchored"]
        wanted = {data["anchor"]: data["size"] for data in said}
        assert ours.held() == others.held() == anchor(*places).held() == wanted
    assert len(wanted) == 2


def test_a_failed_place_is_an_entry_and_one_alert_until_it_works_again(lived, anchor) -> None:
    good, bad = Place("file/one"), Place("tsa/two")
    bad.fails = Unavailable("tsa/two did not answer in 20 s")
    anchoring = anchor(good, bad)
    assert anchoring.put_newest() == 1
    lived.hour()
    assert anchoring.put_newest() == 1
    failed = [e for e in entries(lived.ledger, Kind.ANCHOR) if e.data["outcome"] == "failed"]
    assert [e.data["failure"] for e in failed] == ["unavailable", "unavailable"]
    alerts = [e.data for e in entries(lived.ledger, Kind.ALERT) if e.data["cause"] == "anchor"]
    assert [(a["event"], a["subject"], a["first_bad"]) for a in alerts] == [("trigger", "tsa/two", failed[0].seq)]
    bad.fails = None
    lived.hour()
    assert anchoring.put_newest() == 2
    events = [e.data["event"] for e in entries(lived.ledger, Kind.ALERT) if e.data["cause"] == "anchor"]
    assert events == ["trigger", "resolve"]


def test_a_place_whose_clock_differs_is_alerted_although_it_took_the_checkpoint(lived, anchor) -> None:
    place = Place("tsa/two")
    place.time = lived.now + timedelta(seconds=301)
    assert anchor(place).put_newest() == 1
    (found,) = entries(lived.ledger, Kind.ANCHOR)
    assert (found.data["outcome"], found.data["reason"][:28]) == ("anchored", "its clock is 301 s ahead of ")
    assert [e.data["event"] for e in entries(lived.ledger, Kind.ALERT) if e.data["cause"] == "anchor"] == ["trigger"]


def test_a_crash_of_one_place_keeps_no_other_from_being_asked(lived, anchor) -> None:
    bad, good = Place("s3/bad"), Place("witness/good")
    bad.fails = ZeroDivisionError()
    assert anchor(bad, good).put_newest() == 1
    assert good.notes


def test_a_place_that_does_not_answer_at_the_start_is_alerted_and_stops_nothing(lived, anchor) -> None:
    place = Place("s3/vault")
    place.fails = Unavailable("no route")
    anchor(place).begin()
    (found,) = entries(lived.ledger, Kind.ANCHOR)
    assert (found.data["outcome"], found.data["size"], found.data["note"]) == ("failed", 0, "")


def signed(signer: Signer, head: TreeHead) -> bytes:
    return note.signed(head.text(), signer.key, signer.sign(head.text().encode())).encode()


@pytest.mark.parametrize("more", [0, 3])
def test_nothing_starts_on_a_ledger_that_is_behind_or_beside_what_is_held_outside(lived, anchor, more) -> None:
    place = Place("witness/two")
    size = lived.ledger.size()
    place.pretends = signed(lived.signer, TreeHead(lived.ledger.origin, size + more, b"\1" * 32))
    with pytest.raises(LedgerBroken, match="older copy" if more else "history was rewritten"):
        anchor(place).begin()


def test_another_ledger_in_the_same_place_says_nothing_of_this_one(lived, anchor, tmp_path) -> None:
    place = Place("s3/vault")
    stranger = FileSigner.create(tmp_path / "other.key", "other.local/one")
    place.pretends = signed(stranger, TreeHead("other.local/one", 10**6, b"\1" * 32))
    anchor(place).begin()
    assert entries(lived.ledger, Kind.ANCHOR) == []


def test_a_checkpoint_that_a_stranger_put_there_stops_nothing_and_is_alerted(lived, anchor, tmp_path) -> None:
    place = Place("s3/vault")
    stranger = FileSigner.create(tmp_path / "other.key", lived.ledger.origin)
    place.pretends = signed(stranger, TreeHead(lived.ledger.origin, 10**6, b"\1" * 32))
    anchor(place).begin()
    (found,) = entries(lived.ledger, Kind.ANCHOR)
    assert "none of its keys has signed" in found.data["reason"]
    assert [e.data["event"] for e in entries(lived.ledger, Kind.ALERT) if e.data["cause"] == "anchor"] == ["trigger"]


def test_a_fork_that_a_witness_sees_stops_the_signing_and_stays_written(lived, anchor) -> None:
    place = Place("witness/two")
    place.fails = LedgerBroken("the witness holds another history")
    with pytest.raises(LedgerBroken):
        anchor(place).put_newest()
    (found,) = entries(lived.ledger, Kind.ANCHOR)
    assert found.data["failure"] == "refused"
    assert lived.ledger.verify().entries == lived.ledger.size()
