"""The witness in its folder: its key, what its operator tells it, its clock, and what an auditor takes away."""

from __future__ import annotations

import stat

import pytest

from collector.errors import ConfigError
from collector.ledger import cosignature
from collector.ledger.cosignature import WitnessKey
from collector.ledger.note import Note, TreeHead, VerifierKey
from collector.witness.keeper import Keeper
from tests.witness.world import NOW, ORIGIN, Log, request


def state(keeper, origin=ORIGIN):
    return next(found for found in keeper.logs() if found.origin == origin)


def accepted(keeper, body, text, clock):
    """The answer is a cosignature of this witness, now, over ``text``."""
    answer = keeper.add(body)
    assert answer.status == 200, answer
    (found,) = cosignature.verify(Note.parse(f"{text}\n{answer.body}"), [keeper.key])
    assert found.time == clock.now
    assert found.line == answer.body
    return answer


# --- the folder ---


def test_its_key_is_for_its_own_eyes_and_its_name_for_ever(keeper, tmp_path, clock):
    folder = tmp_path / "witness"
    assert stat.S_IMODE((folder / "witness.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "witness.db").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert WitnessKey.parse((folder / "witness.vkey").read_text().rstrip("\n")) == keeper.key
    assert keeper.key.name == "witness.example/w1"
    again = Keeper.open(folder, clock)
    assert again.key == keeper.key
    again.close()


def test_a_second_one_is_not_made_over_the_first(keeper, tmp_path, clock):
    before = {path.name: path.read_bytes() for path in (tmp_path / "witness").iterdir()}
    with pytest.raises(ConfigError, match="already holds a witness"):
        Keeper.begin(tmp_path / "witness", "other.example/w2", clock)
    assert {path.name: path.read_bytes() for path in (tmp_path / "witness").iterdir()} == before


def test_one_that_was_interrupted_while_it_was_made_is_finished(tmp_path, clock):
    first = Keeper.begin(tmp_path / "w", "witness.example/w1", clock)
    first.close()
    (tmp_path / "w" / "witness.vkey").unlink()
    (tmp_path / "w" / "witness.db").unlink()
    with pytest.raises(ConfigError, match="there is no witness"):
        Keeper.open(tmp_path / "w", clock)
    second = Keeper.begin(tmp_path / "w", "witness.example/w1", clock)
    assert second.key == first.key
    second.close()


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_a_name_that_cannot_name_a_key_is_refused(tmp_path, clock, name):
    with pytest.raises(ConfigError, match="cannot name a key"):
        Keeper.begin(tmp_path / "w", name, clock)
    assert not (tmp_path / "w").exists()


def test_a_folder_that_is_none_or_of_somebody_else_is_refused(keeper, tmp_path, clock):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        Keeper.begin(tmp_path / "file", "a/b", clock)
    with pytest.raises(ConfigError, match="there is no witness"):
        Keeper.open(tmp_path / "nowhere", clock)
    other = Keeper.begin(tmp_path / "other", "witness.example/w1", clock)
    other.close()
    (tmp_path / "other" / "witness.key").replace(tmp_path / "witness" / "witness.key")
    with pytest.raises(ConfigError, match="not the private half"):
        Keeper.open(tmp_path / "witness", clock)


def test_a_key_that_others_can_read_is_refused(keeper, tmp_path, clock):
    (tmp_path / "witness" / "witness.key").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        Keeper.open(tmp_path / "witness", clock)


# --- trust ---


def test_the_first_checkpoint_of_a_trusted_log_is_believed_and_from_then_on_none_but_its_successors(keeper, log, clock):
    accepted(keeper, log.request(0, 5), log.head(5).text(), clock)
    clock.now += 3600
    accepted(keeper, log.request(5, 20), log.head(20).text(), clock)
    assert (state(keeper).size, state(keeper).time, state(keeper).checkpoints) == (20, NOW + 3600, 2)
    assert keeper.add(log.request(5, 9)).body == "20\n"


def test_with_a_beginning_only_its_successors_are_ever_cosigned(keeper, clock):
    log, forked = Log(), Log(forked=3)
    keeper.trust(str(log.key), log.note(5))
    assert (state(keeper).size, state(keeper).checkpoints) == (5, 1)
    newest = keeper.newest(ORIGIN)
    assert cosignature.verify(Note.parse(newest), [keeper.key])
    assert Note.parse(newest).verify([log.key])
    assert keeper.add(log.request(0, 9)).content_type == "text/x.tlog.size"
    assert keeper.add(forked.request(5, 9)).status == 422
    accepted(keeper, log.request(5, 9), log.head(9).text(), clock)


def test_a_beginning_is_of_that_log_signed_by_that_key_and_comes_first(keeper, log, clock):
    stranger, other = Log(key="stranger"), Log("other.example/log")
    with pytest.raises(ConfigError, match="not signed by"):
        keeper.trust(str(log.key), stranger.note(5))
    with pytest.raises(ConfigError, match="not signed by"):
        keeper.trust(str(log.key), other.note(5))
    with pytest.raises(ConfigError, match="the key is of"):
        keeper.trust(str(log.key), log.sign(TreeHead("other.example/log", 5, bytes(32))))
    with pytest.raises(ConfigError, match="a note is"):
        keeper.trust(str(log.key), "nothing")
    assert state(keeper).size == 0
    accepted(keeper, log.request(0, 5), log.head(5).text(), clock)
    with pytest.raises(ConfigError, match="already stands at 5"):
        keeper.trust(str(log.key), log.note(9))
    assert state(keeper).size == 5


def test_a_failed_trust_leaves_no_log_behind(keeper):
    log = Log()
    with pytest.raises(ConfigError):
        keeper.trust(str(log.key), Log(key="stranger").note(5))
    assert keeper.logs() == []
    assert keeper.add(log.request(0, 5)).status == 404


@pytest.mark.parametrize("text", ["", "a/b", "a/b+00000000+AAAA"])
def test_what_is_no_key_is_not_trusted(keeper, text):
    with pytest.raises(ConfigError):
        keeper.trust(text)
    with pytest.raises(ConfigError):
        keeper.distrust(text)


def test_the_key_of_a_witness_is_not_taken_for_that_of_a_log(keeper):
    with pytest.raises(ConfigError):
        keeper.trust(str(keeper.key))


def test_a_log_with_a_new_key_goes_on_where_it_stands(keeper, log, clock):
    accepted(keeper, log.request(0, 5), log.head(5).text(), clock)
    rotated = Log(key="second")
    assert rotated.key != log.key
    assert keeper.add(rotated.request(5, 9)).status == 403
    keeper.trust(str(rotated.key))
    assert (state(keeper).size, state(keeper).keys) == (5, (log.key, rotated.key))
    accepted(keeper, rotated.request(5, 9), log.head(9).text(), clock)
    # the old one still signs, until it is said that it no longer does
    accepted(keeper, log.request(9, 12), log.head(12).text(), clock)
    keeper.distrust(str(log.key))
    assert keeper.add(log.request(12, 20)).status == 403
    accepted(keeper, rotated.request(12, 20), log.head(20).text(), clock)
    # a new key does not make another history of it
    assert keeper.add(Log(key="second", forked=3).request(20, 30)).status == 422


def test_a_distrusted_key_brings_no_incidents_either(keeper, log, clock):
    accepted(keeper, log.request(0, 5), log.head(5).text(), clock)
    keeper.distrust(str(log.key))
    assert keeper.add(Log(forked=3).request(5, 5)).status == 403
    assert (state(keeper).forks, state(keeper).unproved) == (0, 0)


# --- time ---


def test_a_clock_that_was_set_back_cosigns_nothing(keeper, log, clock):
    accepted(keeper, log.request(0, 5), log.head(5).text(), clock)
    clock.now = NOW - 6
    answer = keeper.add(log.request(5, 9))
    assert (answer.status, answer.body) == (503, "the clock of this witness is 6 s behind its last cosignature\n")
    assert (state(keeper).size, state(keeper).checkpoints) == (5, 1)
    clock.now = NOW + 1
    accepted(keeper, log.request(5, 9), log.head(9).text(), clock)


def test_a_clock_that_is_slewed_never_makes_time_run_backwards(keeper, log, clock):
    accepted(keeper, log.request(0, 5), log.head(5).text(), clock)
    clock.now = NOW - 5
    answer = keeper.add(log.request(5, 9))
    (found,) = cosignature.verify(Note.parse(f"{log.head(9).text()}\n{answer.body}"), [keeper.key])
    assert found.time == NOW


# --- evidence against a log ---


def test_two_signed_histories_are_kept_as_they_were_sent(keeper, log, clock):
    accepted(keeper, log.request(0, 5), log.head(5).text(), clock)
    accepted(keeper, log.request(5, 20), log.head(20).text(), clock)
    forked = Log(forked=3)
    longer, same, behind = forked.request(20, 30), forked.request(20, 20), forked.request(0, 5)
    assert keeper.add(longer).status == 422
    assert (keeper.add(same).status, keeper.add(same).content_type) == (409, "text/plain; charset=utf-8")
    assert keeper.add(behind).body == "20\n"
    assert (state(keeper).forks, state(keeper).unproved, state(keeper).size) == (2, 1, 20)
    with keeper.store.reading() as view:
        assert [item.request for item in view.incidents(ORIGIN)] == [longer, same, behind]
    # the honest log is not held up by any of it
    accepted(keeper, log.request(20, 40), log.head(40).text(), clock)


def test_what_anybody_could_send_is_no_incident(keeper, log, clock):
    accepted(keeper, log.request(0, 20), log.head(20).text(), clock)
    stranger = Log(key="stranger", forked=3)
    for body in (
        stranger.request(20, 30),
        Log("other.example/log").request(0, 5),
        log.request(0, 5),  # an old checkpoint, once more
        request(20, [], log.note(5)),
        b"nonsense",
    ):
        assert keeper.add(body).status in (400, 403, 404, 409)
    assert (state(keeper).forks, state(keeper).unproved) == (0, 0)


# --- the trust folder ---


def test_everything_cosigned_and_the_keys_are_exported(keeper, log, clock, tmp_path):
    for old, new in ((0, 5), (5, 20), (20, 20)):
        clock.now += 60
        accepted(keeper, log.request(old, new), log.head(new).text(), clock)
    rotated = Log(key="second")
    keeper.trust(str(rotated.key))
    keeper.add(Log(forked=3).request(20, 30))
    assert keeper.export(tmp_path / "trust", ORIGIN) == 2
    names = sorted(str(path.relative_to(tmp_path / "trust")) for path in (tmp_path / "trust").rglob("*.*"))
    assert names == [
        "00000000000000000005.note",
        "00000000000000000020.note",
        "incidents/00000001-not-continued-30.request",
        "log.vkey",
        "witness.vkey",
    ]
    keys = [VerifierKey.parse(line) for line in (tmp_path / "trust" / "log.vkey").read_text().split("\n")[:-1]]
    assert keys == [log.key, rotated.key]
    witness = WitnessKey.parse((tmp_path / "trust" / "witness.vkey").read_text().rstrip("\n"))
    times = []
    for size in (5, 20):
        text = (tmp_path / "trust" / f"{size:020d}.note").read_text("utf-8")
        found = Note.parse(text)
        assert TreeHead.parse(found.text) == log.head(size)
        assert found.verify(keys) == [log.key]
        times += [item.time for item in cosignature.verify(found, [witness])]
    assert times == [NOW + 60, NOW + 180]
    assert not (tmp_path / "trust.partial").exists()


def test_an_export_needs_a_new_folder_and_something_to_export(keeper, log, clock, tmp_path):
    for origin in (ORIGIN, "other.example/log"):
        with pytest.raises(ConfigError, match="nothing of"):
            keeper.export(tmp_path / "trust", origin)
    assert not (tmp_path / "trust").exists()
    accepted(keeper, log.request(0, 5), log.head(5).text(), clock)
    (tmp_path / "trust").mkdir()
    with pytest.raises(ConfigError, match="already there"):
        keeper.export(tmp_path / "trust", ORIGIN)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        keeper.export(tmp_path / "file" / "trust", ORIGIN)


def test_the_newest_of_nothing_is_nothing(keeper, log):
    assert keeper.newest(ORIGIN) is None
    assert keeper.newest("other.example/log") is None
