"""Signed notes and checkpoints: the published examples, and everything that is nearly one."""

from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from collector.ledger import note
from collector.ledger.note import BadNote, Note, TreeHead, VerifierKey

# The worked example of c2sp.org/signed-note.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_SIGNATURE = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
SPEC_NOTE = f"This is an example message.\n\n\N{EM DASH} example.com/foo {SPEC_SIGNATURE}\n"

# The example of c2sp.org/tlog-checkpoint, whose key is not published.
SPEC_CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\N{EM DASH} example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
KEY = VerifierKey("ledger.example/acme", PRIVATE.public_key().public_bytes_raw())
HEAD = TreeHead("ledger.example/acme", 12, b"\7" * 32)


def sealed(text: str) -> str:
    return note.signed(text, KEY, PRIVATE.sign(text.encode()))


def test_the_published_note_verifies_with_the_published_key():
    key = VerifierKey.parse(SPEC_KEY)
    assert str(key) == SPEC_KEY
    assert key.id.hex() == "530d903a"
    parsed = Note.parse(SPEC_NOTE)
    assert parsed.text == "This is an example message.\n"
    assert parsed.verify([key]) == [key]


@pytest.mark.parametrize(("good", "bad"), [("example message", "exbmple message"), ("Uw2QOkn8", "Uw2QOkn9")])
def test_the_published_note_is_refused_with_one_letter_changed(good, bad):
    assert good in SPEC_NOTE
    with pytest.raises(BadNote, match="does not fit the text"):
        Note.parse(SPEC_NOTE.replace(good, bad)).verify([VerifierKey.parse(SPEC_KEY)])


def test_the_published_checkpoint_is_read():
    parsed = Note.parse(SPEC_CHECKPOINT)
    head = TreeHead.parse(parsed.text)
    assert (head.origin, head.size, head.extension) == ("example.com/behind-the-sofa", 20852163, ())
    assert base64.b64encode(head.root) == b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    assert head.text() == parsed.text
    assert parsed.signatures[0].id.hex() == "033de0ae"
    with pytest.raises(BadNote, match="not signed by"):
        parsed.verify([KEY])


def test_a_checkpoint_survives_signing_and_reading():
    parsed = Note.parse(sealed(HEAD.text()))
    assert parsed.verify([KEY]) == [KEY]
    assert TreeHead.parse(parsed.text) == HEAD


def test_signatures_by_strangers_are_passed_over_but_not_enough():
    stranger = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    other = VerifierKey("witness.example/w1", stranger.public_key().public_bytes_raw())
    text = HEAD.text()
    both = sealed(text) + note.signed(text, other, stranger.sign(text.encode())).split("\n\n")[1]
    assert Note.parse(both).verify([KEY]) == [KEY]
    assert Note.parse(both).verify([other, KEY]) == [KEY, other]
    third = VerifierKey("witness.example/w1", KEY.public)
    with pytest.raises(BadNote, match="not signed by witness"):
        Note.parse(both).verify([third])


def test_a_false_signature_under_a_known_name_spoils_the_note():
    text = HEAD.text()
    with pytest.raises(BadNote, match="does not fit"):
        Note.parse(note.signed(text, KEY, b"\0" * 64)).verify([KEY])
    with pytest.raises(BadNote, match="does not fit"):
        Note.parse(note.signed(text, KEY, b"short")).verify([KEY])


NOT_NOTES = {
    "no empty line": "text\n\N{EM DASH} a/b AAAAAAA=\n",
    "no signature": "text\n\n",
    "no newline at the end": SPEC_NOTE.rstrip("\n"),
    "a hyphen for a dash": SPEC_NOTE.replace("\N{EM DASH}", "-"),
    "no name": SPEC_NOTE.replace("example.com/foo ", ""),
    "two spaces": SPEC_NOTE.replace("foo Uw", "foo  Uw"),
    "a plus in the name": SPEC_NOTE.replace("foo ", "f+o "),
    "carriage returns": SPEC_NOTE.replace("\n", "\r\n"),
    "a tab": SPEC_NOTE.replace("is an", "is\tan"),
    "spare bits in the Base 64": SPEC_NOTE.replace("yaQM=", "yaQN="),
    "no padding": SPEC_NOTE.replace("yaQM=", "yaQM"),
    "the other alphabet": SPEC_NOTE.replace("yaQM=", "y-QM="),
    "an empty signature": "text\n\n\N{EM DASH} a/b AAAAAA==\n",
    "too many signatures": "text\n\n" + f"\N{EM DASH} a/b {SPEC_SIGNATURE}\n" * 101,
    "too long": "x" * 1_000_001 + SPEC_NOTE,
}


@pytest.mark.parametrize("text", NOT_NOTES.values(), ids=NOT_NOTES.keys())
def test_what_is_nearly_a_note_is_none(text):
    with pytest.raises(BadNote):
        Note.parse(text)


NOT_CHECKPOINTS = {
    "two lines": "a/b\n12\n",
    "no newline at the end": HEAD.text().rstrip("\n"),
    "an empty line": "a/b\n12\n\n",
    "no origin": HEAD.text().replace("ledger.example/acme", ""),
    "a leading zero": HEAD.text().replace("12", "012"),
    "a sign": HEAD.text().replace("12", "+12"),
    "an underscore": HEAD.text().replace("12", "1_2"),
    "other digits": HEAD.text().replace("12", "١٢"),
    "a short root": f"a/b\n12\n{base64.b64encode(bytes(31)).decode()}\n",
    "no root": "a/b\n12\nroot\n",
    "an astronomical size": HEAD.text().replace("12", "1" * 20),
}


@pytest.mark.parametrize("text", NOT_CHECKPOINTS.values(), ids=NOT_CHECKPOINTS.keys())
def test_what_is_nearly_a_checkpoint_is_none(text):
    with pytest.raises(BadNote):
        TreeHead.parse(text)


def test_an_origin_that_would_break_the_format_is_refused():
    with pytest.raises(BadNote, match="cannot be the origin"):
        TreeHead("two\nlines", 1, bytes(32)).text()


NOT_KEYS = {
    "no parts": "example.com/foo",
    "two parts": "example.com/foo+530d903a",
    "another id": SPEC_KEY.replace("530d903a", "530d903b"),
    "an id in capitals": SPEC_KEY.replace("530d903a", "530D903A"),
    "another name": SPEC_KEY.replace("foo", "bar"),
    "a space": SPEC_KEY.replace("foo", "f o"),
    "another kind of key": f"a+00000000+{base64.b64encode(bytes([2]) + bytes(32)).decode()}",
    "a short key": f"a+00000000+{base64.b64encode(bytes([1]) + bytes(31)).decode()}",
    "not Base 64": "example.com/foo+530d903a+????",
}


@pytest.mark.parametrize("text", NOT_KEYS.values(), ids=NOT_KEYS.keys())
def test_what_is_nearly_a_verifier_key_is_none(text):
    with pytest.raises(BadNote):
        VerifierKey.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_a_note_or_refused_in_words(text):
    with contextlib.suppress(BadNote):  # anything else that is raised fails this test
        assert Note.parse(text).signatures


@given(st.binary(min_size=32, max_size=32), st.integers(0, 10**18))
def test_every_tree_head_survives_being_written(root, size):
    head = TreeHead("a/b", size, root)
    assert TreeHead.parse(head.text()) == head
