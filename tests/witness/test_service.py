"""The decision: every answer that c2sp.org/tlog-witness names, in its order, over honest logs, forks and nonsense."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from collector.ledger import merkle
from collector.ledger.note import Note, TreeHead, VerifierKey
from collector.witness.service import (
    PROOF_LINES_MAX,
    REQUEST_BYTES_MAX,
    Accepted,
    BadRequest,
    Incident,
    Known,
    Refusal,
    Request,
    decide,
)
from tests.witness.world import ORIGIN, Log, request

DASH = "\N{EM DASH}"

# The request of c2sp.org/tlog-witness.
SPEC_REQUEST = f"""old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

{DASH} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
{DASH} example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""  # noqa: E501

# Requests that another implementation made, with a log of its own: the test vectors of filippo.io/torchwood
# (internal/witness/witness_test.go), made by sigsum's log.
THEIRS = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
THEIR_KEY = VerifierKey(THEIRS, bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f"))
THEIR_FIRST = f"""old 0

{THEIRS}
1
KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

{DASH} {THEIRS} UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=
"""
THEIR_SECOND = f"""old 1
KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

{THEIRS}
3
RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=

{DASH} {THEIRS} UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=
"""
THEIR_OTHER = f"""old 1
KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=
KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

{THEIRS}
5
QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=

{DASH} {THEIRS} UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=
"""

LOG = Log()


def known(size, log=LOG, **more):
    """What a witness knows that has cosigned ``size`` entries of an honest log."""
    return Known(keys=(log.key,), size=size, root=log.head(size).root, **more)


def answer(body, state):
    return decide(Request.parse(body), state)


def test_the_published_request_is_read():
    found = Request.parse(SPEC_REQUEST.encode())
    assert (found.old, len(found.proof), found.head.size) == (20852014, 4, 20852163)
    assert base64.b64encode(found.proof[0]) == b"PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw="
    assert found.head.origin == "example.com/behind-the-sofa"
    assert len(found.note.signatures) == 2
    assert f"{found.note.text}\n" in found.checkpoint


def test_requests_of_another_implementation_are_answered_as_it_answers_them():
    first = answer(THEIR_FIRST.encode(), Known((THEIR_KEY,)))
    assert isinstance(first, Accepted)
    at_one = Known((THEIR_KEY,), 1, first.head.root)
    second = answer(THEIR_SECOND.encode(), at_one)
    other = answer(THEIR_OTHER.encode(), at_one)
    assert isinstance(second, Accepted)
    assert isinstance(other, Accepted)
    assert other.head.root.hex() == "42bb57ad06420afa4882c4a63ac6a1ec77480b330b2f20dfc53a0caa5f564e36"
    # whichever comes second finds the other's size
    assert answer(THEIR_SECOND.encode(), Known((THEIR_KEY,), 5, other.head.root)).size == 5
    assert answer(THEIR_FIRST.encode().replace(b"1\nKg", b"2\nKg", 1), Known((THEIR_KEY,))).status == 403


# --- the answers, in the specification's order ---


def test_an_unknown_log_is_not_found():
    found = answer(LOG.request(0, 5), None)
    assert (found.status, found.size, found.incident) == (404, None, None)


def test_a_checkpoint_signed_by_nobody_known_is_forbidden_whatever_else_is_wrong_with_it():
    stranger = Log(key="stranger")
    for body in (stranger.request(0, 5), stranger.request(5, 6), request(9, [bytes(32)], stranger.note(5))):
        found = answer(body, known(7))
        assert (found.status, found.incident) == (403, None)


def test_a_false_signature_under_a_known_key_is_forbidden():
    good = LOG.request(0, 5).decode()
    line = good.rstrip("\n").rpartition(" ")[2]
    value = bytearray(base64.b64decode(line))
    value[-1] ^= 1
    found = answer(good.replace(line, base64.b64encode(value).decode()).encode(), known(0))
    assert found.status == 403


def test_a_key_that_is_no_longer_trusted_is_forbidden():
    assert answer(LOG.request(0, 5), Known(keys=())).status == 403


def test_an_old_size_above_the_new_one_is_a_bad_request_even_when_it_is_right():
    found = answer(request(7, [], LOG.note(5)), known(7))
    assert (found.status, found.size) == (400, None)


@pytest.mark.parametrize(("old", "new"), [(0, 5), (3, 9), (6, 7), (0, 64)])
def test_another_old_size_is_a_conflict_that_names_the_right_one(old, new):
    found = answer(LOG.request(old, new), known(7, same_size=LOG.head(new).root))
    assert (found.status, found.size, found.incident) == (409, 7, None)


def test_another_root_for_the_same_size_is_a_conflict_and_a_fork():
    forked = Log(forked=3)
    found = answer(forked.request(7, 7), known(7, same_size=LOG.head(7).root))
    assert (found.status, found.size, found.incident) == (409, None, Incident.FORK)


def test_a_fork_is_recognised_at_any_size_that_was_ever_cosigned():
    forked = Log(forked=3)
    found = answer(forked.request(0, 5), known(7, same_size=LOG.head(5).root))
    assert (found.status, found.size, found.incident) == (409, 7, Incident.FORK)


def test_a_history_that_was_rewritten_and_grown_does_not_continue():
    forked = Log(forked=3)
    found = answer(forked.request(7, 20), known(7))
    assert (found.status, found.incident) == (422, Incident.NOT_CONTINUED)
    # a fork behind what was cosigned is no other history yet
    assert isinstance(answer(Log(forked=7).request(7, 20), known(7)), Accepted)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 20])
def test_the_same_checkpoint_again_is_cosigned_again(size):
    assert isinstance(answer(LOG.request(size, size), known(size)), Accepted)


EMPTY = merkle.EMPTY_ROOT
LEAF = LOG.head(1).root


@pytest.mark.parametrize(
    ("at", "old", "size", "root", "proof", "status"),
    [
        (0, 0, 0, EMPTY, [], 200),
        (0, 0, 0, LEAF, [], 409),  # another root for the same size, zero
        (0, 0, 0, bytes(32), [], 409),
        (0, 0, 0, EMPTY, [LEAF], 422),
        (0, 0, 1, LEAF, [], 200),
        (0, 0, 1, LEAF, [LEAF], 422),
        (1, 0, 1, LEAF, [LEAF], 409),
        (1, 1, 0, EMPTY, [], 400),
        (1, 1, 1, LEAF, [LEAF], 422),
    ],
)
def test_the_smallest_trees(at, old, size, root, proof, status):
    found = answer(request(old, proof, LOG.sign(TreeHead(ORIGIN, size, root))), known(at))
    assert (200 if isinstance(found, Accepted) else found.status) == status


def test_every_pair_of_sizes_is_accepted_with_its_proof_and_with_no_other():
    for old in range(18):
        for new in range(old, 18):
            proof = LOG.proof(old, new)
            assert isinstance(answer(LOG.request(old, new), known(old)), Accepted), (old, new)
            others = [[*proof, bytes(32)], proof[:-1], proof[::-1], [bytes(32)] * len(proof), []]
            for wrong in others:
                if wrong != proof:
                    found = answer(LOG.request(old, new, wrong), known(old))
                    assert isinstance(found, Refusal), (old, new, wrong)
                    assert found.status == 422


# --- what is kept of a checkpoint ---


def test_signatures_of_strangers_are_left_out_and_those_of_all_trusted_keys_stay():
    second, stranger = Log(key="second"), Log(key="stranger")
    lines = [log.note(5).split("\n\n")[1] for log in (stranger, second, LOG)]
    lines.append(LOG.note(6).split("\n\n")[1])  # once more by a trusted key, and false: nobody has verified it
    body = request(0, [], f"{LOG.head(5).text()}\n{''.join(lines)}")
    found = answer(body, Known(keys=(LOG.key, second.key)))
    assert isinstance(found, Accepted)
    assert found.note == f"{found.text}\n{lines[1]}{lines[2]}"
    assert Note.parse(found.note).verify([LOG.key, second.key]) == [second.key, LOG.key]


def test_extension_lines_are_cosigned_as_they_stand():
    head = TreeHead(ORIGIN, 5, LOG.head(5).root, ("a line", "another"))
    found = answer(request(0, [], LOG.sign(head)), known(0))
    assert isinstance(found, Accepted)
    assert found.text.endswith("a line\nanother\n")


# --- what is no request ---

GOOD = LOG.request(7, 20).decode()
NOT_REQUESTS = {
    "nothing": "",
    "no old size": GOOD.partition("\n")[2],
    "another word": GOOD.replace("old 7", "size 7"),
    "no space": GOOD.replace("old 7", "old7"),
    "two spaces": GOOD.replace("old 7", "old  7"),
    "a trailing space": GOOD.replace("old 7", "old 7 "),
    "a leading zero": GOOD.replace("old 7", "old 07"),
    "a sign": GOOD.replace("old 7", "old +7"),
    "a negative size": GOOD.replace("old 7", "old -7"),
    "other digits": GOOD.replace("old 7", "old ٧"),
    "an astronomical old size": GOOD.replace("old 7", f"old {10**19}"),
    "a size beyond 63 bits": GOOD.replace("\n20\n", f"\n{2**63}\n"),
    "no empty line": GOOD.replace("\n\n", "\n", 1),
    "an empty line in the proof": GOOD.replace("old 7\n", "old 7\n\n"),
    "carriage returns": GOOD.replace("\n", "\r\n"),
    "a short hash": GOOD.replace("old 7\n", f"old 7\n{base64.b64encode(bytes(31)).decode()}\n"),
    "a long hash": GOOD.replace("old 7\n", f"old 7\n{base64.b64encode(bytes(33)).decode()}\n"),
    "hexadecimal": GOOD.replace("old 7\n", f"old 7\n{'0' * 64}\n"),
    "spare bits": GOOD.replace("old 7\n", f"old 7\n{base64.b64encode(bytes(32)).decode()[:-2]}B=\n"),
    "no padding": GOOD.replace("old 7\n", f"old 7\n{base64.b64encode(bytes(32)).decode()[:-1]}\n"),
    "a space after a hash": GOOD.replace("old 7\n", f"old 7\n{base64.b64encode(bytes(32)).decode()} \n"),
    "no checkpoint": GOOD.partition("\n\n")[0] + "\n\n",
    "no signature": GOOD.rpartition("\n\n")[0] + "\n\n",
    "a note that is no checkpoint": f"old 0\n\nhello\n\n{GOOD.rpartition(chr(10) * 2)[2]}",
    "cut off": GOOD[:-2],
    "something after it": GOOD + "x",
    "a control character": GOOD.replace(ORIGIN, "ledger.example/ac\tme", 1),
}


@pytest.mark.parametrize("text", NOT_REQUESTS.values(), ids=NOT_REQUESTS.keys())
def test_what_is_nearly_a_request_is_none(text):
    assert Request.parse(GOOD.encode()).old == 7
    assert text != GOOD
    with pytest.raises(BadRequest):
        Request.parse(text.encode())


def test_what_is_not_utf8_is_none():
    with pytest.raises(BadRequest, match="UTF-8"):
        Request.parse(b"\xff" + GOOD.encode())


def test_a_proof_has_at_most_63_lines():
    assert len(Request.parse(request(7, [bytes(32)] * PROOF_LINES_MAX, LOG.note(20))).proof) == 63
    with pytest.raises(BadRequest, match="more than 63"):
        Request.parse(request(7, [bytes(32)] * (PROOF_LINES_MAX + 1), LOG.note(20)))


def test_a_request_with_sixteen_post_quantum_signatures_fits_and_larger_ones_do_not():
    line = f"{DASH} witness.example/w1 {base64.b64encode(bytes(4 + 5000)).decode()}\n"
    body = request(7, LOG.proof(7, 20), LOG.note(20) + line * 15)
    assert isinstance(answer(body, known(7)), Accepted)
    with pytest.raises(BadRequest, match="bytes"):
        Request.parse(body.ljust(REQUEST_BYTES_MAX + 1, b"x"))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused_in_words(body):
    with contextlib.suppress(BadRequest):  # anything else that is raised fails this test
        assert Request.parse(body).head


@given(st.data())
def test_a_request_with_anything_changed_is_never_taken_for_another_history(data):
    """Whatever is done to the bytes: what is accepted is signed by the log, and continues what is known."""
    old = data.draw(st.integers(0, 20))
    new = data.draw(st.integers(old, 40))
    body = bytearray(LOG.request(old, new))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    assume(bytes(body) != LOG.request(old, new))
    try:
        found = answer(bytes(body), known(old))
    except BadRequest:
        return
    if isinstance(found, Accepted):
        assert found.head == LOG.head(new)
        assert Note.parse(found.note).verify([LOG.key]) == [LOG.key]
