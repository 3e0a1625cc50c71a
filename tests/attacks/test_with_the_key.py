"""Somebody holds the ledger's key and writes history anew, with more and more of the outside under his hand.

He lives the day again with other answers, on a clock that he turns back: hashes, roots, signatures, call logs and
tables are all as they must be. What remains is what others saw.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from collector import canonical
from collector.errors import LedgerBroken
from collector.ledger import keys as keys_module
from collector.ledger import note, verify
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.keys import KeyEntry
from collector.ledger.seal import FileSigner
from tests.attacks.conftest import live
from tests.attacks.world import FAILED, Puppets, World, alarm, copied, levels, prove
from tests.support.lived import EXPORTED, HOUR, Lived, forge, resign

Forge = Callable[..., World]
ENTRIES = "ledger/entries.jsonl"


@pytest.fixture
def again(world: World, honest: Path, tmp_path: Path) -> Iterator[Forge]:
    """Lives the day again without its bad hours, with the real key."""
    made: list[Any] = []

    def build(*, authority: str = "", witness: str = "", anchored: str = "hourly", vault: bool = True) -> World:
        folder = tmp_path / f"forged-{len(made)}"
        puppets = Puppets(world, folder / "puppets", authority=authority, witness=witness)
        made.append(puppets)
        forged = World(folder / "collector", key=world.key, outside=puppets, anchored=anchored, vault=vault)
        made.append(forged.ledger)
        return live(forged, bad=False)

    yield build
    for item in reversed(made):
        item.close()


def told(found: dict[str, Any], words: str) -> bool:
    return any(words in said for said in found["not_proved"])


def without(keys: Path, *names: str) -> Path:
    for name in names:
        (keys / name).unlink()
    return keys


def anchored(world: World) -> list[Entry]:
    return [e for e in world.ledger.entries(kinds=[Kind.ANCHOR]) if e.data["token"]]


# --- everything anew ---


def test_all_anew_and_anchored_today(world: World, honest: Path, keys: Path, trust: Path, tmp_path: Path) -> None:
    """The honest witness refuses it, the honest authority stamps today's time."""
    forged = World(tmp_path / "forged", key=world.key, outside=world.outside, anchored="never")
    live(forged, bad=False)
    forged.anchored = "hourly"
    with pytest.raises(LedgerBroken, match=r"witness/auditor"):
        forged.anchor()
    forged.anchored = "never"
    path = forged.export(tmp_path / "package").path
    said = alarm(path, keys)
    assert "without going to any of the places outside that are configured: this was written afterwards" in said
    assert alarm(path) == said  # nobody needs to hold anything to see that
    assert alarm(path, trust) == said
    forged.ledger.close()


def test_all_anew_and_no_place_answered_they_say(again: Forge, keys: Path, trust: Path, tmp_path: Path) -> None:
    """A failed attempt each hour explains why there are no stamps: then the package proves no more than level 0."""
    path = again(authority="own", anchored="failing").export(tmp_path / "package").path
    found = prove(path, keys)
    assert found["verified"]
    assert levels(found) == [True, False, False, False]
    assert told(found, "attempts to anchor failed, first entry")
    assert "history was rewritten" in alarm(path, trust)


def test_all_anew_without_any_place(again: Forge, keys: Path, trust: Path, tmp_path: Path) -> None:
    """As if no place had ever been configured."""
    path = again(anchored="never", vault=False).export(tmp_path / "package").path
    found = prove(path, keys)
    assert found["verified"]
    assert levels(found) == [True, False, False, False]
    assert "history was rewritten" in alarm(path, trust)


def test_all_anew_with_a_witness_that_colludes(again: Forge, keys: Path, tmp_path: Path) -> None:
    """It cosigns any time; the authority, whose stamps the auditor expects, has stamped none of it."""
    path = again(witness="bought").export(tmp_path / "package").path
    found = prove(path, keys)
    assert found["verified"]
    assert levels(found) == [True, False, False, True]
    assert "no time stamps under the roots that you hold" in found["assurance"]["levels"][2]["words"]


def test_all_anew_with_a_witness_that_colludes_and_stamps_of_today(
    again: Forge, world: World, keys: Path, tmp_path: Path
) -> None:
    """An honest authority stamps the time that it is: every entry before is late, every entry after is too early."""
    forged = again(authority="bought", witness="bought", anchored="failing")
    forged.anchored = "hourly"
    forged.now = max(forged.now, EXPORTED)
    path = forged.export(tmp_path / "package").path
    found = prove(path, keys)
    assert found["verified"]
    assert levels(found) == [True, False, False, False]
    assert told(found, "more than two hours later")
    assert "came under one more than two hours late" in found["assurance"]["levels"][2]["words"]


def test_all_anew_with_witness_and_authority_in_collusion(
    again: Forge, keys: Path, trust: Path, tmp_path: Path
) -> None:
    """Now only a checkpoint helps that somebody holds outside of their reach."""
    path = again(authority="bought", witness="bought").export(tmp_path / "package").path
    found = prove(path, keys)
    assert found["verified"]
    assert levels(found) == [True, False, True, True]
    assert "history was rewritten: the checkpoint over" in alarm(path, trust)
    for name in ("log.vkey", "witness.vkey", "tsa.pem"):
        shutil.copy(trust / name, keys)
    shutil.copytree(trust / "vault", keys / "vault")  # the write-once copies alone
    assert "history was rewritten: the checkpoint over" in alarm(path, keys)


def test_all_anew_and_nobody_outside_holds_anything(again: Forge, keys: Path, tmp_path: Path) -> None:
    """Not detectable: the deviation is gone, and the package reaches every level but the reader's own checkpoint."""
    path = again(authority="bought", witness="bought").export(tmp_path / "package").path
    found = prove(path, keys)
    assert found["verified"]
    assert levels(found) == [True, False, True, True]
    assert b"user/bob" not in (path / "tables/exceptions.csv").read_bytes()


def test_an_authority_of_their_own(again: Forge, keys: Path, tmp_path: Path) -> None:
    """Its stamps are in perfect order, and under no root that the auditor holds."""
    path = again(authority="own").export(tmp_path / "package").path
    found = prove(path, keys)
    assert found["verified"]
    assert levels(found) == [True, False, False, False]
    assert "is not under the roots that you hold" in found["assurance"]["levels"][2]["words"]
    assert told(found, "anchors by tsa/authority: each is not under the roots that you hold")


def test_a_witness_of_their_own(again: Forge, keys: Path, tmp_path: Path) -> None:
    path = again(witness="own").export(tmp_path / "package").path
    found = prove(path, keys)
    assert found["verified"]
    assert levels(found) == [True, False, False, False]
    assert told(found, "is by a witness whose key you do not hold")


def test_a_trust_folder_that_came_with_the_package(honest: Path, package: Path, trust: Path) -> None:
    shutil.copytree(trust, package / "trust")
    assert verify.main([str(package), "--trust", str(package / "trust")]) == verify.USAGE
    assert alarm(package).startswith("trust/")


def test_another_ledger_for_another_reader(again: Forge, honest: Path, keys: Path, tmp_path: Path) -> None:
    """Two histories under one key: each verifies by itself; a checkpoint from the other reader tells."""
    path = again(authority="own").export(tmp_path / "package").path
    assert prove(path, keys)["verified"]
    assert prove(honest, keys)["verified"]
    theirs = sorted((honest / "checkpoints").iterdir())[1]
    shutil.copy(theirs, keys / "from-a-colleague.note")
    assert f"the checkpoint over {int(theirs.stem)} entries that you hold (from-a-colleague.note)" in alarm(path, keys)


# --- the genuine tokens around another history ---


def test_genuine_tokens_around_another_history(world: World, honest: Path, trust: Path, tmp_path: Path) -> None:
    """Whoever changes an entry and keeps what the outside gave has tokens of other checkpoints."""

    def turn(fields: dict[str, Any]) -> dict[str, Any] | None:
        return {**fields, "host": "another"} if fields["kind"] == "heartbeat" and fields["seq"] > 80 else fields

    tokens = {e.data["token"]: world.ledger.blob(e.data["token"]) for e in anchored(world)}
    forged = forge(world, tmp_path / "forged", turn, tokens)
    path = Lived.export(forged, tmp_path / "package").path
    said = alarm(path)
    assert said.startswith("anchors/")
    assert "is over another checkpoint than checkpoints/" in said


@pytest.mark.parametrize("kind", ["tsr", "note"])
def test_tokens_exchanged(package: Path, world: World, kind: str) -> None:
    names = sorted((package / "anchors").glob(f"*.{kind}"))
    first, second = names[3].read_bytes(), names[4].read_bytes()
    names[3].write_bytes(second)
    names[4].write_bytes(first)
    resign(package, world.signer)
    assert alarm(package) == f"anchors/{names[3].name}: is another token than entry {int(names[3].stem)} says"


def test_a_token_left_out(package: Path, world: World) -> None:
    name = sorted((package / "anchors").glob("*.tsr"))[3]
    name.unlink()
    resign(package, world.signer)
    assert alarm(package) == f"anchors/{name.name}: is missing: the token of entry {int(name.stem)}"


def test_a_token_added(package: Path, world: World) -> None:
    (package / "anchors" / f"{7:020d}.tsr").write_bytes(b"0")
    resign(package, world.signer)
    assert alarm(package) == f"anchors/{7:020d}.tsr: is the token of no entry in the range"


# --- part of it ---


def test_the_last_hours_dropped(world: World, tmp_path: Path) -> None:
    """A copy of the database from earlier: it verifies, the plan asks for what is gone, and others have seen more."""
    whole = live(World(tmp_path / "collector"), hours=8)
    dropped = copied(whole, tmp_path / "copy")
    for _ in range(10):
        whole.hour()
    whole.export(tmp_path / "whole")
    trust, keys = whole.trust(tmp_path / "trust"), whole.trust(tmp_path / "keys", holding=False)
    anchoring = whole.anchoring()
    anchoring.ledger = dropped.ledger
    with pytest.raises(LedgerBroken, match="older copy"):
        anchoring.begin()
    path = Lived.export(dropped, tmp_path / "package").path
    found = prove(path, keys)
    assert found["verified"]
    assert {item["due"][11:13] for item in found["missed"]} == {f"{hour:02}" for hour in range(8, 16)}
    assert told(prove(path, trust), "is newer than this package: it could not be compared")
    dropped.ledger.close()
    whole.close()


def test_failing_runs_left_out_and_all_renumbered(world: World, honest: Path, keys: Path, tmp_path: Path) -> None:
    """Hashes, roots and signatures fit, and no place answered, they say: the slots are due all the same."""

    def leave_out(fields: dict[str, Any]) -> dict[str, Any] | None:
        if fields["kind"] == "anchor":
            return {**fields, **FAILED}
        bad = fields["kind"] == "run" and fields["check"] == "aws-iam-user-mfa" and fields["states"]["not-satisfied"]
        return None if bad or fields.get("cause") == "failed" else fields

    forged = forge(world, tmp_path / "forged", leave_out)
    found = prove(Lived.export(forged, tmp_path / "package").path, keys)
    assert found["verified"]
    assert [item["due"][11:13] for item in found["missed"]] == ["08", "09"]
    assert levels(found) == [True, False, False, False]


def test_hours_written_afterwards_with_old_times(tmp_path: Path) -> None:
    """The collector was off from seven to ten; at half past ten the hours are filled in as if it had been on."""
    forged = live(World(tmp_path / "collector"), hours=7)
    forged.anchored = "never"
    for _ in range(3):
        forged.hour()
    forged.now += HOUR / 2
    forged.anchored = "hourly"
    forged.anchor()
    assert "this was written afterwards" in alarm(forged.export(tmp_path / "package").path)
    forged.close()


def test_hours_written_afterwards_after_a_stamp_of_today(tmp_path: Path) -> None:
    """A stamp taken first closes the past: nothing can be dated before it any more."""
    forged = live(World(tmp_path / "collector"), hours=7)
    forged.ahead = 4 * HOUR
    forged.anchor()
    forged.ahead = 0 * HOUR
    forged.anchored = "never"
    forged.hour()
    path = Lived.export(forged, tmp_path / "package", exported_at=forged.now).path
    assert "before what a place outside said of entries before it" in alarm(path)
    forged.close()


def test_a_stamp_under_another_time_than_the_ledger_says(package: Path, world: World) -> None:
    """The entry must say what the token says, else the brackets would be the collector's own."""
    path = package / ENTRIES
    lines = path.read_bytes().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if b'"type":"tsa"' in line)
    entry = canonical.parse(lines[place])
    token = package / "anchors" / f"{entry['seq']:020d}.tsr"
    stamp = verify.TimeStamp(token.read_bytes())
    assert verify.stamp_of(stamp.time) == entry["time"]
    anchor = verify.Anchor({**entry, "time": "2026-01-01T03:00:00.000000Z"})
    proof = verify.Proof(
        verify.Files(verify.Folder(package)), verify.Trust(None, package, verify.Plain), progress=False
    )
    with pytest.raises(ValueError, match="says otherwise"):
        proof._stamp(anchor, token.read_bytes())


# --- payloads that are said to have expired ---


def test_a_payload_left_out_as_if_it_had_expired(package: Path, world: World) -> None:
    path = next(
        p for p in sorted((package / "objects").rglob("*")) if p.is_file() and b"user/bob,true,false" in p.read_bytes()
    )
    path.unlink()
    resign(package, world.signer)
    name = path.relative_to(package).as_posix()
    assert alarm(package) == f"{name}: is missing: the answer to iam:GetCredentialReport"


def test_a_payload_dropped_before_its_term(tmp_path: Path) -> None:
    """An expiry entry that lists it, and a policy that does not: runs within the term rest on it."""
    forged = live(World(tmp_path / "collector", more='\n[retention]\npayloads = "1h"\n'))
    ledger = forged.ledger
    run = next(e for e in ledger.entries(kinds=[Kind.RUN]) if (e.data["states"] or {}).get("not-satisfied"))
    with ledger.write() as batch:
        listed = batch.blob(f"{run.data['calls']}\n".encode())
        fields = {
            "policy": "after a while",
            "before": run.data["slot"],
            "blobs": listed,
            "count": 1,
            "bytes": 1,
            "hold": [],
        }
        batch.drop([run.data["calls"]], batch.add(Draft(Kind.EXPIRY, forged.now, fields)))
    said = alarm(forged.export(tmp_path / "package").path)
    assert said.startswith(
        f"{verify.object_path(run.data['calls'])}: is missing, and was dropped before its term was over"
    )
    forged.close()


# --- keys ---


@pytest.fixture
def rotated(tmp_path: Path) -> Iterator[tuple[World, FileSigner, FileSigner]]:
    """A day in whose sixth hour the key was replaced; the old one, and the new one."""
    world = World(tmp_path / "rotated")
    old = world.signer
    live(world, hours=6)
    new = FileSigner.create(tmp_path / "new.pem", world.ledger.origin)
    world.ledger.rotate(new, world.now, "the yearly rotation")
    world.outside.trust(str(new.key))
    world.forged_signer = new
    for _ in range(12):
        world.hour()
    yield world, old, new
    world.close()


def test_a_rotation_raises_no_alarm_for_whoever_holds_either_key(
    rotated: tuple[World, FileSigner, FileSigner], tmp_path: Path
) -> None:
    world, old, new = rotated
    path = world.export(tmp_path / "package").path
    trust = world.trust(tmp_path / "trust")
    for text in (str(old.key), str(new.key), f"{old.key}\n{new.key}"):
        (trust / "log.vkey").write_text(f"{text}\n")
        found = prove(path, trust)
        assert found["verified"], found["broken"]
        assert levels(found) == [True, True, True, True]


def test_a_package_signed_by_the_key_that_was_replaced(
    rotated: tuple[World, FileSigner, FileSigner], tmp_path: Path
) -> None:
    """A stolen old key: what it signs today is not what the newest key signed."""
    world, old, new = rotated
    path = world.export(tmp_path / "package").path
    resign(path, old)
    assert alarm(path).startswith(
        f"manifest.dsse.json: is signed by {old.key}; the newest key of the ledger is {new.key}"
    )


def test_a_ledger_that_never_heard_of_the_new_key(
    rotated: tuple[World, FileSigner, FileSigner], tmp_path: Path
) -> None:
    """Whoever has the old key writes a ledger without the rotation. A reader of the new key refuses it; one who holds
    both is told; one who never heard of the new key is deceived unless he holds a checkpoint."""
    world, old, new = rotated
    world.export(tmp_path / "honest")
    puppets = Puppets(world, tmp_path / "puppets", authority="own")
    key = tmp_path / "rotated" / "data" / "log.key"
    forged = live(World(tmp_path / "forged", key=key, outside=puppets), bad=False)
    path = forged.export(tmp_path / "package").path
    trust = world.trust(tmp_path / "trust", holding=False)
    (trust / "log.vkey").write_text(f"{new.key}\n")
    assert alarm(path, trust).startswith(
        f"manifest.dsse.json: is signed by {old.key}; the key that you hold is {new.key}"
    )
    (trust / "log.vkey").write_text(f"{old.key}\n{new.key}\n")
    assert told(prove(path, trust), f"why this ledger never names {new.key}")
    (trust / "log.vkey").write_text(f"{old.key}\n")
    assert prove(path, trust)["verified"]
    assert "history was rewritten" in alarm(path, world.trust(tmp_path / "holding"))
    forged.ledger.close()
    puppets.close()


@pytest.mark.parametrize(("lacking", "said"), [("old", "by the key before it"), ("new", "by the key that it names")])
def test_a_rotation_that_one_of_both_keys_did_not_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str, said: str
) -> None:
    """Written by a collector that was changed so that it takes any change of keys."""

    def anything(seq: int, at: datetime, data: Any, origin: str, before: Sequence[KeyEntry]) -> KeyEntry:
        key = note.VerifierKey.parse(data["vkey"])
        return KeyEntry(seq, at, key, data["reason"], before[-1].key if before else None, recovery=False)

    forged = live(World(tmp_path / "collector"), hours=6)
    old, thief = forged.signer, FileSigner.create(tmp_path / "thief.pem", forged.ledger.origin)
    stranger = FileSigner.create(tmp_path / "stranger.pem", forged.ledger.origin)
    monkeypatch.setattr(keys_module, "read", anything)
    text = keys_module.statement(old.key.name, forged.ledger.size(), old.key, thief.key, "the yearly rotation")
    signatures = {"old": old.sign(text), "new": thief.sign(text), lacking: stranger.sign(text)}
    fields = keys_module.successor_fields(old.key.name, old.key, thief.key, "the yearly rotation", **signatures)
    with forged.ledger.write() as batch:
        added = batch.add(Draft(Kind.KEY, forged.now, fields))
    forged.ledger._signer = forged.forged_signer = thief
    forged.outside.trust(str(thief.key))
    for _ in range(12):
        forged.hour()
    path = forged.export(tmp_path / "package").path
    assert alarm(path) == f"{ENTRIES} entry {added.seq}: is not signed {said}"
    forged.close()
