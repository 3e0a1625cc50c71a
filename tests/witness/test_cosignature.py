"""Cosignatures: the published example, those of real witnesses, and everything that is nearly one."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ledger import cosignature
from collector.ledger.cosignature import WitnessKey
from collector.ledger.note import BadNote, Note, VerifierKey
from tests.witness.world import Log, private

DASH = "\N{EM DASH}"

# The example of c2sp.org/tlog-cosignature, whose keys are not published.
SPEC_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
SPEC_NOTE = (
    f"{SPEC_TEXT}\n"
    f"{DASH} example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    f"{DASH} witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
SPEC_MESSAGE = f"cosignature/v1\ntime 1679315147\n{SPEC_TEXT}"

# A checkpoint of a public log (arche2025h1.staging.ct.transparency.dev) with the cosignatures of four public witnesses,
# which are three implementations, as the tests of github.com/florolf/tlog-scales keep it. Their keys are published at
# witness-network.org and on the witnesses' own pages.
REAL_TEXT = "arche2025h1.staging.ct.transparency.dev\n1432088532\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"
REAL_NOTE = (
    f"{REAL_TEXT}\n"
    f"{DASH} arche2025h1.staging.ct.transparency.dev "
    "ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n"
    f"{DASH} transparency.dev/DEV:witness-little-garden "
    "2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n"
    f"{DASH} witness1.smartit.nu/witness1 "
    "pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n"
    f"{DASH} remora.n621.de "
    "2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n"
    f"{DASH} witness.stagemole.eu "
    "Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n"
)
REAL_TIME = 1_779_573_024
REAL_KEYS = (
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
)

PRIVATE = private("witness")
KEY = WitnessKey("witness.example/w1", PRIVATE.public_key().public_bytes_raw())
LOG = Log()
TEXT = LOG.head(12).text()


def cosigned(text=TEXT, time=1_780_000_000, key=KEY):
    return Note.parse(f"{text}\n{cosignature.sign(key, PRIVATE.sign, text, time)}")


def test_the_published_example_is_read_and_asks_for_the_published_message():
    line = Note.parse(SPEC_NOTE).signatures[1]
    assert (line.name, line.id.hex(), len(line.value)) == ("witness.example.com/w1", "8d66cf3f", 8 + 64)
    assert int.from_bytes(line.value[:8], "big") == 1_679_315_147
    assert cosignature.message(SPEC_TEXT, 1_679_315_147).decode() == SPEC_MESSAGE


@pytest.mark.parametrize("vkey", REAL_KEYS)
def test_the_cosignatures_of_public_witnesses_verify(vkey):
    key = WitnessKey.parse(vkey)
    assert str(key) == vkey
    (found,) = cosignature.verify(Note.parse(REAL_NOTE), [key])
    assert (found.key, found.time) == (key, REAL_TIME)
    assert found.line in REAL_NOTE


def test_all_of_them_at_once_in_the_order_of_the_note():
    keys = [WitnessKey.parse(vkey) for vkey in reversed(REAL_KEYS)]
    found = cosignature.verify(Note.parse(REAL_NOTE), keys)
    assert [str(item.key) for item in found] == list(REAL_KEYS)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("1432088532", "1432088533"),
        ("arche2025h1.staging.ct.transparency.dev\n1", "arche2025h2.staging.ct.transparency.dev\n1"),
        ("U7WM79jr", "U7WM79js"),
        ("4Ro=\n\n", "4Ro=\nextension\n\n"),
        ("2net5wAAAABqEiEg", "2net5wAAAABqEiEh"),  # the time
        ("PlfF3V06", "PlfF3V07"),  # the signature
    ],
)
def test_a_real_cosignature_is_refused_with_one_letter_changed(good, bad):
    assert REAL_NOTE.count(good) == 1
    with pytest.raises(BadNote, match="does not fit"):
        cosignature.verify(Note.parse(REAL_NOTE.replace(good, bad)), [WitnessKey.parse(REAL_KEYS[2])])


def test_what_is_signed_is_what_the_specification_says_byte_by_byte():
    line = cosignature.sign(KEY, PRIVATE.sign, TEXT, 1_780_000_000)
    id = hashlib.sha256(b"witness.example/w1\n\x04" + KEY.public).digest()[:4]
    value = struct.pack(">Q", 1_780_000_000) + PRIVATE.sign(b"cosignature/v1\ntime 1780000000\n" + TEXT.encode())
    assert line == f"{DASH} witness.example/w1 {base64.b64encode(id + value).decode()}\n"
    assert str(KEY) == f"witness.example/w1+{id.hex()}+{base64.b64encode(bytes([4]) + KEY.public).decode()}"


def test_strangers_are_passed_over_but_not_enough():
    stranger = WitnessKey("witness.example/w1", private("stranger").public_key().public_bytes_raw())
    both = Note.parse(f"{LOG.note(12)}{cosignature.sign(KEY, PRIVATE.sign, TEXT, 7)}")
    assert [found.key for found in cosignature.verify(both, [stranger, KEY])] == [KEY]
    with pytest.raises(BadNote, match="not cosigned by witness"):
        cosignature.verify(both, [stranger])
    with pytest.raises(BadNote, match="any known witness"):
        cosignature.verify(both, [])


def test_a_plain_signature_of_the_same_key_is_no_cosignature_and_the_other_way_round():
    plain = VerifierKey(KEY.name, KEY.public)
    assert plain.id != KEY.id
    with pytest.raises(BadNote, match="not signed by"):
        cosigned().verify([plain])
    # under the cosignature's id, but over the text alone
    forged = base64.b64encode(KEY.id + bytes(8) + PRIVATE.sign(TEXT.encode())).decode()
    with pytest.raises(BadNote, match="does not fit"):
        cosignature.verify(Note.parse(f"{TEXT}\n{DASH} {KEY.name} {forged}\n"), [KEY])


def test_a_cosignature_of_another_length_is_refused_and_not_cut():
    (good,) = cosigned().signatures
    for value in (good.value[:-1], good.value + b"\0", good.value[8:]):
        line = base64.b64encode(good.id + value).decode()
        with pytest.raises(BadNote, match="is not a time and"):
            cosignature.verify(Note.parse(f"{TEXT}\n{DASH} {KEY.name} {line}\n"), [KEY])


def test_only_checkpoints_and_only_times_are_cosigned():
    for text in ("not a checkpoint\n", "a/b\n012\n" + TEXT.split("\n")[2] + "\n", ""):
        with pytest.raises(BadNote):
            cosignature.sign(KEY, PRIVATE.sign, text, 1)
    for time in (-1, 2**63):
        with pytest.raises(BadNote, match="no time"):
            cosignature.message(TEXT, time)
    late = base64.b64encode(KEY.id + struct.pack(">Q", 2**63) + bytes(64)).decode()
    with pytest.raises(BadNote, match="no time"):
        cosignature.verify(Note.parse(f"{TEXT}\n{DASH} {KEY.name} {late}\n"), [KEY])


NOT_KEYS = {
    "no parts": "witness.example/w1",
    "two parts": "witness.example/w1+530d903a",
    "another id": str(KEY).replace(KEY.id.hex(), "00000000"),
    "an id in capitals": f"{KEY.name}+{KEY.id.hex().upper()}+{str(KEY).split('+', 2)[2]}",
    "another name": str(KEY).replace("/w1", "/w2"),
    "a space": str(KEY).replace("/w1", "/ w1"),
    "no name": str(KEY).removeprefix("witness.example/w1"),
    "the key of a log": str(LOG.key),
    "a post-quantum key": f"a+00000000+{base64.b64encode(bytes([6]) + bytes(1312)).decode()}",
    "a short key": f"a+00000000+{base64.b64encode(bytes([4]) + bytes(31)).decode()}",
    "no key": "a+00000000+",
    "not Base 64": "witness.example/w1+530d903a+????",
    "not ASCII": "witness.example/w1+530d903a+é",
    "a newline": f"{KEY}\n",
}


@pytest.mark.parametrize("text", NOT_KEYS.values(), ids=NOT_KEYS.keys())
def test_what_is_nearly_a_witness_key_is_none(text):
    assert WitnessKey.parse(str(KEY)) == KEY
    with pytest.raises(BadNote):
        WitnessKey.parse(text)


def test_the_key_of_a_log_is_said_to_be_one():
    with pytest.raises(BadNote, match="key of a log"):
        WitnessKey.parse(str(LOG.key))


@given(st.integers(0, 2**63 - 1), st.integers(0, 64))
def test_every_time_and_size_survives(time, size):
    text = LOG.head(size).text()
    (found,) = cosignature.verify(cosigned(text, time), [KEY])
    assert found.time == time


@given(st.binary(max_size=90))
def test_any_value_under_the_right_id_is_refused_in_words(value):
    line = f"{DASH} {KEY.name} {base64.b64encode(KEY.id + value).decode()}\n"
    with contextlib.suppress(BadNote):
        assert not cosignature.verify(Note.parse(f"{TEXT}\n{line}"), [KEY])
