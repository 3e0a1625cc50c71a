"""Keys of both kinds, their rotation and recovery, and copies that are older than what is held outside.

``vectors/keys.json`` is the same as text, for verifiers that share no code with the ledger.
"""

from __future__ import annotations

import base64
import contextlib
import json
import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from collector import canonical
from collector.errors import ConfigError, LedgerBroken, StoreError, Throttled, Unreadable
from collector.ledger import keys, merkle, note, verify
from collector.ledger.entry import Draft, Kind
from collector.ledger.keys import BadKeyEntry
from collector.ledger.note import ECDSA_P256, ED25519, SPKI_P256, BadNote, Note, TreeHead, VerifierKey
from collector.ledger.seal import FileSigner, OtherKey, proved, seal
from collector.ledger.store import Ledger
from tests.support.signers import ORIGIN, P256Signer, ed25519, vectors

VECTORS = Path(__file__).parent / "vectors" / "keys.json"

# github.com/transparency-dev/formats, note/note_verifier_test.go: two logs that sign with type 0x02.
REKOR_KEY = (
    "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLOC96l+smGNM7"
    "nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc="
)
REKOR_NOTE = (
    "Rekor\n798034\nf+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n\n"
    "\N{EM DASH} rekor.sigstore.dev wNI9ajBEAiARInWIWyCdyG27CO6LPnPekyw20qO0YJfoaPaowGp/XgIgc+qEHS3+GKVClgqq20uDLet7"
    "MCoTURUCRdxwWBHHufk=\n"
)
PIXEL_KEY = (
    "pixel6_transparency_log+91c16e30+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN+4x0Jk1yTwvLFI9A4NDdGZcX0aiWVdWM5XJVy0M4VWD3"
    "AvyW5Q6Hs9A0mcDkpUoYgn+KKPNzFC0H3nN3q6JQ8="
)
PIXEL_NOTE = (
    "DEFAULT\n10\nbsWRucJU5xJPHb5eBdOm6+DM+VelCZBuvtI3sHERJ9Y=\n\n"
    "\N{EM DASH} pixel6_transparency_log kcFuMDBFAiEAhqMAP8P6qf6QxtUJhzMhbN+MbZ9dwfUHzGQJmffJHtoCIGD0cNe47dHWBoPwYdg"
    "BCepB06/+g5O1FmYjXl06owL4\n"
)


@pytest.fixture
def second():
    return P256Signer(0xB0B)


@pytest.fixture
def third():
    return ed25519(b"c")


def beat(ledger, world, hour):
    with ledger.write() as batch:
        return world.heartbeat(batch, hour)


def opened(url, signer, **more):
    return Ledger.open(url, origin=ORIGIN, signer=signer, **more)


# --- the two kinds of keys ---


@pytest.mark.parametrize(("text", "published", "size"), [(REKOR_KEY, REKOR_NOTE, 798034), (PIXEL_KEY, PIXEL_NOTE, 10)])
def test_the_published_checkpoints_of_logs_that_sign_with_ecdsa_verify(text, published, size):
    key = VerifierKey.parse(text)
    assert (str(key), key.algorithm) == (text, ECDSA_P256)
    assert Note.parse(published).verify([key]) == [key]
    assert TreeHead.parse(Note.parse(published).text).size == size
    with pytest.raises(BadNote, match="does not fit"):
        Note.parse(published.replace(f"\n{size}\n", f"\n{size + 1}\n")).verify([key])


def test_the_id_of_an_ecdsa_key_is_of_the_key_alone(second):
    other = P256Signer(0xB0B, "other.example/b").key
    assert other.id == second.key.id
    assert other != second.key
    assert ed25519(b"a").key.id != ed25519(b"a", "other.example/b").key.id


def test_an_ed25519_key_is_what_it_always_was():
    key = ed25519(b"a").key
    assert key.algorithm == ED25519
    assert key == VerifierKey(ORIGIN, key.public)
    assert base64.b64decode(str(key).split("+", 2)[2]) == b"\1" + key.public


def test_a_signature_of_ecdsa_has_one_form_only(second):
    signature = second.sign(b"text")
    assert second.key.verifies(signature, b"text")
    assert not second.key.verifies(signature, b"next")
    assert signature[:1] == b"\x30"
    raw = b"".join(part.rjust(32, b"\0")[-32:] for part in _integers(signature))
    assert len(raw) == 64
    assert not second.key.verifies(raw, b"text")
    assert not second.key.verifies(b"\x30\x81" + signature[1:], b"text")
    assert not second.key.verifies(signature + b"\0", b"text")
    assert not second.key.verifies(b"", b"text")


def _integers(der):
    size = der[3]
    first, rest = der[4 : 4 + size], der[4 + size :]
    return first, rest[2 : 2 + rest[1]]


def written(public: bytes, kind: int = ECDSA_P256) -> str:
    key = VerifierKey("a/b", public, kind)
    return str(key)


def test_a_p256_key_has_one_form_only(second):
    point = second.key.public[len(SPKI_P256) :]
    assert VerifierKey.parse(written(second.key.public)).public == second.key.public
    off_the_curve = point[:-1] + bytes([point[-1] ^ 1])
    compressed = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + bytes([2]) + point[1:33]
    other_curve = generate_private_key(SECP384R1()).public_key()
    spki_p384 = other_curve.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for public in (
        SPKI_P256 + off_the_curve,
        compressed,
        spki_p384,
        point,
        second.key.public + b"\0",
        SPKI_P256 + b"\4" + bytes(64),
        b"",
    ):
        with pytest.raises(BadNote, match=r"neither Ed25519 .* nor ECDSA"):
            VerifierKey.parse(written(public))
    for kind in (0, 3, 4, 5, 255):
        with pytest.raises(BadNote, match="neither Ed25519"):
            VerifierKey.parse(written(ed25519(b"a").key.public, kind))
    with pytest.raises(BadNote, match="mistyped"):
        VerifierKey.parse(written(second.key.public).replace(second.key.id.hex(), "00000000"))


# --- the vectors ---


def test_the_vectors_are_what_the_code_makes():
    assert json.loads(VECTORS.read_text()) == vectors()


def test_the_vectors_verify_entry_by_entry():
    known: list[keys.KeyEntry] = []
    found = json.loads(VECTORS.read_text())
    leaves = merkle.Frontier()
    for seq, (body, checkpoint) in enumerate(zip(found["entries"], found["checkpoints"], strict=True)):
        data = canonical.parse(body)
        if data["kind"] == "key":
            known.append(keys.read(seq, canonical.moment(data["at"]), data, found["origin"], known))
        leaves.push(merkle.leaf_hash(body.encode()))
        assert leaves.root().hex() == checkpoint["root"]
        key = keys.key_at(checkpoint["size"], known)
        assert str(key) == checkpoint["signed_by"]
        parsed = Note.parse(checkpoint["note"])
        assert parsed.verify([key]) == [key]
        assert TreeHead.parse(parsed.text) == TreeHead(ORIGIN, checkpoint["size"], leaves.root())
        for other in found["keys"].values():
            if other != checkpoint["signed_by"]:
                with pytest.raises(BadNote, match="not signed by"):
                    parsed.verify([VerifierKey.parse(other)])
    assert [(item.seq, item.how) for item in known] == [(0, "begun"), (2, "rotated"), (4, "recovered")]
    assert keys.key_at(0, known) is None
    for seq, said in found["statements"].items():
        assert said.splitlines()[:3] == ["evidence-collector/key/v1", ORIGIN, seq]
        assert said.endswith("\n")
        assert len(said.splitlines()) == 6


@pytest.mark.parametrize("case", json.loads(VECTORS.read_text())["refused"], ids=lambda case: case["why"])
def test_what_is_nearly_a_rotation_is_none(case):
    found = json.loads(VECTORS.read_text())
    known: list[keys.KeyEntry] = []
    for seq, body in enumerate(found["entries"][: case["seq"]]):
        data = canonical.parse(body)
        if data["kind"] == "key":
            known.append(keys.read(seq, canonical.moment(data["at"]), data, ORIGIN, known))
    data = canonical.parse(case["body"])
    with pytest.raises(BadKeyEntry):
        keys.read(case["seq"], canonical.moment(data["at"]), data, ORIGIN, known)


@pytest.mark.parametrize(
    "damage",
    [
        {"signatures": None},
        {"signatures": {"old": "", "new": 7}},
        {"signatures": {"old": "!", "new": "!"}},
        {"signatures": {"new": "AA=="}},
        {"signatures": {"old": "", "new": "AB=="}},
        {"previous": None},
        {"vkey": "nonsense"},
        {"vkey": 7},
        {"reason": None},
        {"reason": "two\nlines"},
        {"origin": "other.example/b"},
    ],
    ids=repr,
)
def test_damaged_fields_of_a_rotation_are_refused_in_words(damage):
    found = json.loads(VECTORS.read_text())
    first, rotation = canonical.parse(found["entries"][0]), canonical.parse(found["entries"][2])
    known = [keys.read(0, canonical.moment(first["at"]), first, ORIGIN, [])]
    with pytest.raises(BadKeyEntry):
        keys.read(2, canonical.moment(rotation["at"]), {**rotation, **damage}, ORIGIN, known)


def test_every_flipped_byte_of_a_rotations_signatures_is_found():
    found = json.loads(VECTORS.read_text())
    first, rotation = canonical.parse(found["entries"][0]), canonical.parse(found["entries"][2])
    at = canonical.moment(rotation["at"])
    known = [keys.read(0, at, first, ORIGIN, [])]
    for name in ("old", "new"):
        signature = base64.b64decode(rotation["signatures"][name])
        for place in range(len(signature)):
            flipped = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
            changed = {**rotation["signatures"], name: base64.b64encode(flipped).decode()}
            with pytest.raises(BadKeyEntry, match="is not signed by"):
                keys.read(2, at, {**rotation, "signatures": changed}, ORIGIN, known)


# --- rotation ---


def test_a_rotation_is_signed_by_both_and_the_next_checkpoint_by_the_new_key(ledger, url, world, signer, second):
    beat(ledger, world, 0)
    before = ledger.checkpoint(world.at(1))
    added = ledger.rotate(second, world.at(2), "moved into the key service")
    assert (added.seq, added.kind) == (2, Kind.KEY)
    data = added.data
    assert (data["origin"], data["previous"], data["vkey"]) == (ORIGIN, str(signer.key), str(second.key))
    said = keys.statement(ORIGIN, 2, signer.key, second.key, "moved into the key service")
    assert signer.key.verifies(base64.b64decode(data["signatures"]["old"]), said)
    assert second.key.verifies(base64.b64decode(data["signatures"]["new"]), said)
    after = ledger.checkpoint(world.at(3))
    assert Note.parse(before.note).verify([signer.key])
    assert Note.parse(after.note).verify([second.key])
    assert [(item.seq, item.how, item.key) for item in ledger.key_entries()] == [
        (0, "begun", signer.key),
        (2, "rotated", second.key),
    ]
    assert ledger.key() == second.key
    assert ledger.verify().checkpoints == 2
    again = opened(url, second)
    beat(again, world, 4)
    assert Note.parse(again.checkpoint(world.at(5)).note).verify([second.key])
    again.close()


def test_after_a_rotation_the_old_key_is_refused_with_the_one_that_is_needed(ledger, url, world, signer, second):
    beat(ledger, world, 0)
    ledger.rotate(second, world.at(2), "moved into the key service")
    with pytest.raises(OtherKey) as refused:
        opened(url, signer)
    assert refused.value.wanted == second.key
    words = str(refused.value)
    assert f"since entry 2 of 2026-03-01T02:00:00.000000Z the ledger is signed by key {second.key}" in words
    assert "rotated: moved into the key service" in words
    assert "the one before it" in words
    assert "[collector]" in words
    with pytest.raises(OtherKey, match=r"this is ledger\.example/acme\+"):
        opened(url, ed25519(b"s"))


def test_a_process_that_still_holds_the_old_key_signs_no_more(ledger, url, world, signer, second):
    beat(ledger, world, 0)
    running = opened(url, signer)
    ledger.rotate(second, world.at(2), "moved into the key service")
    beat(running, world, 3)
    with pytest.raises(OtherKey, match="rotated"):
        running.checkpoint(world.at(4))
    with pytest.raises(OtherKey, match="rotated"):
        running.rotate(ed25519(b"c"), world.at(4), "too late")
    running.close()
    assert ledger.checkpoint(world.at(5)).size == 4
    assert ledger.verify().entries == 4


def test_a_rotation_back_and_other_mistakes_are_refused(ledger, url, world, signer, second, tmp_path):
    with pytest.raises(ConfigError, match="has no key yet"):
        ledger.rotate(second, world.at(0), "too early")
    beat(ledger, world, 0)
    with pytest.raises(ConfigError, match="signs this ledger already"):
        ledger.rotate(signer, world.at(1), "the same")
    ledger.rotate(second, world.at(2), "moved into the key service")
    with pytest.raises(ConfigError, match="was a key of this ledger before"):
        ledger.rotate(signer, world.at(3), "back again")
    with pytest.raises(ConfigError, match=r"signs for other\.example/b"):
        ledger.rotate(ed25519(b"c", "other.example/b"), world.at(3), "another ledger's")
    for reason in ("", "  ", "two\nlines", "x" * 501, "a\ttab"):
        with pytest.raises(ConfigError, match="one line of 1 to 500 characters"):
            ledger.rotate(ed25519(b"c"), world.at(3), reason)
    reader = opened(url, None)
    with pytest.raises(ConfigError, match="recover when it is lost"):
        reader.rotate(ed25519(b"c"), world.at(3), "without the old key")
    reader.close()
    assert ledger.size() == 3


class Broken:
    """A key service that gives anything but a signature."""

    def __init__(self, signer, answer):
        self.key = signer.key
        self._answer = answer

    def sign(self, message):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize("answer", [b"", b"\0" * 64, b"nonsense"])
def test_what_is_no_signature_is_never_kept(ledger, world, third, answer):
    beat(ledger, world, 0)
    with pytest.raises(Unreadable, match="nothing was signed"):
        ledger.rotate(Broken(third, answer), world.at(1), "a broken key service")
    with pytest.raises(Unreadable, match="nothing was signed"):
        proved(Broken(third, answer), b"text")
    with pytest.raises(Unreadable, match="nothing was signed"):
        seal(Broken(third, answer), TreeHead(ORIGIN, 1, bytes(32)), None)
    ledger._signer = Broken(ledger._signer, answer)
    with pytest.raises(Unreadable, match="nothing was signed"):
        ledger.rotate(third, world.at(1), "the old one is broken")
    with pytest.raises(Unreadable, match="nothing was signed"):
        ledger.checkpoint(world.at(2))
    assert (ledger.size(), ledger.checkpoints()) == (2, [])


def test_a_key_service_that_refuses_leaves_everything_as_it_was(ledger, world, signer, third):
    beat(ledger, world, 0)
    with pytest.raises(Throttled):
        ledger.rotate(Broken(third, Throttled("later")), world.at(1), "a busy key service")
    assert (ledger.size(), ledger.key()) == (2, signer.key)
    assert Note.parse(ledger.checkpoint(world.at(2)).note).verify([signer.key])


def test_others_may_write_while_a_key_service_signs(ledger, url, world, signer):
    """Its answer may take seconds: evidence is sealed meanwhile, here and in another process."""
    beat(ledger, world, 0)
    other = opened(url, signer, patience=0.2)

    class Slow(Broken):
        def sign(self, message):
            for each in (ledger, other):
                beat(each, world, 5)
            return signer.sign(message)

    ledger._signer = Slow(signer, b"")
    first = ledger.checkpoint(world.at(1))
    assert (first.size, ledger.size()) == (2, 4)
    other.close()
    assert ledger.verify().checkpoints == 1


def test_a_rotation_is_for_its_place_even_when_others_write_meanwhile(ledger, world, signer, second, third):
    beat(ledger, world, 0)
    times = []

    class Busy(Broken):
        def sign(self, message):
            if len(times) < 3:
                times.append(beat(ledger, world, 5).seq)
            return second.sign(message)

    added = ledger.rotate(Busy(second, b""), world.at(1), "while others write")
    assert (times, added.seq) == ([2, 3, 4], 5)
    assert ledger.verify().entries == 6

    class Busiest(Broken):
        def sign(self, message):
            beat(ledger, world, 5)
            return third.sign(message)

    with pytest.raises(StoreError, match="writing all the time"):
        ledger.rotate(Busiest(third, b""), world.at(2), "while others never stop")
    assert ledger.key() == second.key


def test_two_processes_that_sign_at_once_keep_one_checkpoint(ledger, url, world, signer):
    beat(ledger, world, 0)
    other = opened(url, signer)

    class Meanwhile(Broken):
        def sign(self, message):
            if threading.current_thread().name != "other":
                thread = threading.Thread(target=lambda: other.checkpoint(world.at(1)), name="other")
                thread.start()
                thread.join()
            return signer.sign(message)

    ledger._signer = Meanwhile(signer, b"")
    assert ledger.checkpoint(world.at(2)) == ledger.checkpoints()[0]
    assert [item.at for item in ledger.checkpoints()] == [world.at(1)]
    other.close()


# --- recovery ---


def test_a_recovery_needs_no_old_key_and_says_so(ledger, url, world, signer, third):
    beat(ledger, world, 0)
    ledger.checkpoint(world.at(1))
    keyless = opened(url, None)
    added = keyless.recover(third, world.at(2), "the disk with the key died")
    assert added.data["signatures"]["old"] == ""
    assert [item.how for item in keyless.key_entries()] == ["begun", "recovered"]
    assert Note.parse(keyless.checkpoint(world.at(3)).note).verify([third.key])
    keyless.close()
    with pytest.raises(OtherKey, match="recovered: the disk with the key died"):
        opened(url, signer)
    again = opened(url, third)
    assert again.verify().checkpoints == 2
    again.close()


# --- proving ---


def rewritten(vandal, ledger, seq, change):
    """Writes a key entry anew in a database whose other parts do not notice: the last entry, unsigned."""
    entry = ledger.entry(seq)
    fields = {name: value for name, value in entry.data.items() if name not in ("seq", "kind", "at")}
    body = Draft(Kind.KEY, entry.at, change(fields)).body(seq)
    (hashes,) = vandal.read("SELECT hashes FROM edge WHERE level = 0")[0]
    hashes = hashes[: 32 * seq] + merkle.leaf_hash(body)
    vandal(
        ("UPDATE entry SET encoding = 0, body = ?, base = NULL WHERE seq = ?", (body, seq)),
        ("UPDATE edge SET hashes = ? WHERE level = 0", (hashes,)),
    )


def test_a_key_entry_that_does_not_follow_is_found(ledger, world, vandal, second, third):
    beat(ledger, world, 0)
    ledger.rotate(second, world.at(1), "moved into the key service")
    rewritten(vandal, ledger, 2, lambda fields: {**fields, "vkey": str(third.key)})
    with pytest.raises(LedgerBroken, match="entry 2 is not signed by the key that it names"):
        ledger.verify()
    with pytest.raises(LedgerBroken, match="entry 2 is not signed by"):
        ledger.checkpoint(world.at(2))


def test_a_checkpoint_by_the_key_that_was_replaced_is_found(ledger, world, vandal, signer, second):
    beat(ledger, world, 0)
    ledger.rotate(second, world.at(1), "moved into the key service")
    beat(ledger, world, 2)
    ledger.checkpoint(world.at(3))
    forged = seal(signer, TreeHead(ORIGIN, 4, ledger.root(4)), None)
    vandal(("UPDATE checkpoint SET note = ? WHERE size = 4", (forged,)))
    with pytest.raises(LedgerBroken, match="over 4 entries does not hold: not signed by"):
        ledger.verify()


def test_many_rotations_between_many_checkpoints_verify(ledger, world):
    for number in range(12):
        beat(ledger, world, number)
        if number % 3 == 1:
            ledger.checkpoint(world.at(number))
        if number % 2 == 0:
            new = ed25519(bytes([number + 1])) if number % 4 else P256Signer(number + 1)
            ledger.rotate(new, world.at(number), f"rotation {number}")
        if number % 5 == 1:
            ledger.recover(P256Signer(1000 + number), world.at(number), f"recovery {number}")
        ledger.checkpoint(world.at(number))
    found = ledger.verify()
    assert (found.entries, len(ledger.key_entries())) == (22, 10)
    for item in ledger.checkpoints():
        wanted = keys.key_at(item.size, ledger.key_entries())
        assert Note.parse(item.note).verify([wanted])


def test_a_rebuild_keeps_the_keys(ledger, world, second):
    beat(ledger, world, 0)
    ledger.rotate(second, world.at(1), "moved into the key service")
    before = ledger.key_entries()
    ledger.rebuild()
    assert ledger.key_entries() == before


def test_a_key_entry_by_hand_must_follow_too(ledger, world, signer, third):
    beat(ledger, world, 0)
    for fields in (
        keys.first_fields(ORIGIN, third.key),
        keys.successor_fields(ORIGIN, signer.key, third.key, "by hand", b"", b"\0" * 64),
    ):
        with pytest.raises(ValueError, match="a key entry that"), ledger.write() as batch:
            batch.add(Draft(Kind.KEY, world.at(1), fields))
    assert ledger.size() == 2


# --- copies that are older than what is held outside ---


def backup(folder):
    with closing(sqlite3.connect(folder / "ledger.db")) as source, closing(sqlite3.connect(folder / "backup.db")) as to:
        source.backup(to)


@pytest.mark.only("sqlite")
def test_a_restored_backup_is_refused_before_anything_is_signed(ledger, url, world, signer, tmp_path):
    """A copy of the database from earlier verifies by itself: only what is held outside tells."""
    beat(ledger, world, 0)
    ledger.checkpoint(world.at(1))
    backup(tmp_path)
    for hour in range(2, 6):
        beat(ledger, world, hour)
    anchored = ledger.checkpoint(world.at(6))
    head = ledger.head_of("s3/vault", anchored.note)
    assert head == TreeHead(ORIGIN, 6, ledger.root())
    ledger.refuse_behind([("s3/vault", head)])
    ledger.close()

    restored = opened(f"sqlite:///{tmp_path / 'backup.db'}", signer)
    assert restored.verify().checkpoints == 1
    beat(restored, world, 9)
    with pytest.raises(LedgerBroken) as refused:
        restored.refuse_behind([("file/usb", TreeHead(ORIGIN, 2, restored.root(2))), ("s3/vault", head)])
    assert "s3/vault holds a checkpoint over 6 entries, and this ledger has 3" in str(refused.value)
    with pytest.raises(LedgerBroken, match="older copy"):
        restored.checkpoint(world.at(10), outside=[("s3/vault", head)])
    assert len(restored.checkpoints()) == 1
    for hour in range(10, 14):  # it grows beyond what is held outside, and is another history all the same
        beat(restored, world, hour)
    with pytest.raises(LedgerBroken, match=r"over 6 entries with another root .* history was rewritten"):
        restored.checkpoint(world.at(15), outside=[("s3/vault", head)])
    assert len(restored.checkpoints()) == 1
    assert restored.checkpoint(world.at(15), outside=[("s3/vault", TreeHead(ORIGIN, 2, restored.root(2)))]).size == 7
    restored.close()


def test_what_is_held_outside_is_believed_by_its_signature_only(ledger, world, signer, second):
    beat(ledger, world, 0)
    ledger.checkpoint(world.at(1))
    old = ledger.checkpoints()[0]
    ledger.rotate(second, world.at(2), "moved into the key service")
    ledger.checkpoint(world.at(3))
    new = ledger.checkpoints()[1]
    assert ledger.head_of("s3/vault", old.note).size == 2
    assert ledger.head_of("s3/vault", new.note).size == 3
    stranger = ed25519(b"s")
    text = TreeHead(ORIGIN, 99, bytes(32)).text()
    for held, words in [
        (note.signed(text, stranger.key, stranger.sign(text.encode())), "not signed by"),
        (old.note.replace("\n2\n", "\n3\n"), "does not fit"),
        ("nonsense", "empty line"),
        (seal(ed25519(b"s", "other.example/b"), TreeHead("other.example/b", 1, bytes(32)), None), "is of the ledger"),
    ]:
        with pytest.raises(LedgerBroken, match=words):
            ledger.head_of("s3/vault", held)
    with pytest.raises(ConfigError, match=r"holds a checkpoint of other\.example/b"):
        ledger.refuse_behind([("s3/vault", TreeHead("other.example/b", 1, bytes(32)))])


@pytest.mark.only("sqlite")
def test_a_backup_from_before_a_rotation_knows_not_the_key_that_signed_outside(ledger, url, world, tmp_path, second):
    beat(ledger, world, 0)
    backup(tmp_path)
    ledger.rotate(second, world.at(2), "moved into the key service")
    held = ledger.checkpoint(world.at(3)).note
    restored = opened(f"sqlite:///{tmp_path / 'backup.db'}", FileSigner.load(tmp_path / "log.pem", ORIGIN))
    with pytest.raises(LedgerBroken, match="If its key was replaced, this is a copy from before"):
        restored.head_of("s3/vault", held)
    restored.close()


# --- the verifier, which shares no code with the ledger ---


def test_the_verifier_believes_the_same_checkpoints():
    found = json.loads(VECTORS.read_text())
    theirs = {text: verify.Key(text, verify.Plain) for text in [*found["keys"].values(), REKOR_KEY, PIXEL_KEY]}
    for checkpoint in found["checkpoints"]:
        parsed = verify.Note(checkpoint["note"].encode())
        for text in found["keys"].values():
            assert (parsed.doubt(theirs[text]) == "") == (text == checkpoint["signed_by"])
    for text, published in [(REKOR_KEY, REKOR_NOTE), (PIXEL_KEY, PIXEL_NOTE)]:
        key, (_, id, signature) = theirs[text], verify.Note(published.encode()).signatures[0]
        assert id == key.id == VerifierKey.parse(text).id
        said = published.rpartition("\n\n")[0] + "\n"
        assert key.verify(said.encode(), signature)
        assert not key.verify(said.replace("\n1", "\n2").replace("\n7", "\n8").encode(), signature)


def test_the_verifier_takes_the_same_signatures_of_ecdsa(second):
    theirs = verify.Key(str(second.key), verify.Plain)
    chance = random.Random(5)
    for number in range(12):
        message = b"%d" % number
        signature = second.sign(message)
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        r, s = decode_dss_signature(signature)
        place = chance.randrange(len(signature))
        flipped = signature[:place] + bytes([signature[place] ^ 1 << chance.randrange(8)]) + signature[place + 1 :]
        for tried in (
            signature,
            encode_dss_signature(r, order - s),  # as good, by the arithmetic: both must take it or both refuse it
            encode_dss_signature(r, s + order),
            encode_dss_signature(r + order, s),
            encode_dss_signature(0, s),
            encode_dss_signature(r, 0),
            encode_dss_signature(s, r),
            b"\x30\x81" + signature[1:],
            signature + b"\0",
            signature[:-1],
            signature[:2] + b"\2\1\0" + signature[2:],
            flipped,
            b"",
        ):
            assert theirs.verify(message, tried) == second.key.verifies(tried, message), tried.hex()
        assert theirs.verify(message, signature)


def test_the_verifier_takes_the_same_keys_of_p256(second):
    point = second.key.public[len(SPKI_P256) :]
    for public in (
        second.key.public,
        SPKI_P256 + point[:-1] + bytes([point[-1] ^ 1]),
        SPKI_P256 + b"\4" + bytes(64),
        SPKI_P256 + b"\4" + b"\xff" * 64,
        second.key.public + b"\0",
        point,
        b"",
    ):
        text = written(public)
        with contextlib.suppress(BadNote):
            VerifierKey.parse(text)
            assert verify.Key(text, verify.Plain).text == text
            continue
        with pytest.raises(ValueError, match=r"key|number|curve|point"):
            verify.Key(text, verify.Plain)
