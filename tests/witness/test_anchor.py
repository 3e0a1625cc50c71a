"""The log's side: against our own witness over HTTP, and against others that answer what they should not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from collector.anchor.base import Ahead
from collector.anchor.witness import ANSWER_BYTES_MAX, NOBODY, WitnessAnchor
from collector.config_places import WitnessPlace
from collector.errors import ConfigError, Denied, LedgerBroken, Throttled, Unavailable, Unreadable
from collector.ledger import cosignature
from collector.ledger.cosignature import WitnessKey
from collector.ledger.note import Note, TreeHead
from collector.witness.service import Request
from tests.witness.world import NOW, ORIGIN, Log, add, private

PRIVATE = private("their witness")
THEIRS = WitnessKey("witness.example/theirs", PRIVATE.public_key().public_bytes_raw())
SIZE = "text/x.tlog.size"
LOG = Log()


def place(url: str, key: object, timeout: int = 5) -> WitnessPlace:
    return WitnessPlace(url=url, vkey=str(key), timeout=f"{timeout}s")


def anchor(url: str, key: object, now: int = NOW, origin: str = ORIGIN, timeout: int = 5) -> WitnessAnchor:
    return WitnessAnchor("parent", place(url, key, timeout), origin, lambda: datetime.fromtimestamp(now, UTC))


def put(client: WitnessAnchor, size: int, log: Log = LOG):
    return client.put(log.note(size).encode(), log.head(size), lambda old: log.proof(old, size))


@pytest.fixture
def client(server, log, keeper):
    """The log's side of a witness that trusts ``LOG``."""
    return anchor(server.url, keeper.key)


# --- our own witness ---


def test_the_token_is_the_checkpoint_with_the_witness_under_it(client, server, keeper):
    given = put(client, 5)
    assert given.token.startswith(LOG.note(5).encode())
    assert (given.suffix, given.where) == ("note", server.url)
    assert given.time == datetime.fromtimestamp(NOW, UTC)
    token = Note.parse(given.token.decode())
    assert token.verify([LOG.key]) == [LOG.key]
    (found,) = cosignature.verify(token, [keeper.key])
    assert found.time == NOW
    assert TreeHead.parse(token.text) == LOG.head(5)
    assert client.id == "witness/parent"


def test_one_checkpoint_after_the_other_and_the_same_again(client, keeper):
    for size in (5, 20, 20, 21, 64):
        assert put(client, size).token
    assert keeper.logs()[0].size == 64


def test_a_client_that_remembers_nothing_asks_and_goes_on(client, server, keeper):
    put(client, 5)
    for size in (20, 20, 40):  # a collector that was started again each time
        assert put(anchor(server.url, keeper.key), size).token
    assert (keeper.logs()[0].size, keeper.logs()[0].forks, keeper.logs()[0].unproved) == (40, 0, 0)


def test_a_witness_that_forgot_is_followed_back(server, keeper, log, tmp_path, clock):
    """A new one under the same address and key: what the client remembers of the old one does not hold it up."""
    client = anchor(server.url, keeper.key)
    client._size = 20
    assert put(client, 30).token


def test_an_older_checkpoint_is_refused_as_old(client, server, keeper):
    put(client, 20)
    for other in (client, anchor(server.url, keeper.key)):
        with pytest.raises(Ahead, match=r"has cosigned 20 entries.*this checkpoint has 9") as caught:
            put(other, 9)
        assert isinstance(caught.value, LedgerBroken)
        assert caught.value.size == 20
        assert caught.value.held == LOG.head(20)


def test_a_restored_backup_that_went_on_is_another_history(client, server, keeper):
    put(client, 20)
    forked = Log(forked=10)
    for other in (client, anchor(server.url, keeper.key)):
        for size in (20, 40):
            with pytest.raises(LedgerBroken, match="holds another history") as caught:
                put(other, size, forked)
            assert not isinstance(caught.value, Ahead)
    assert put(client, 40).token
    assert (keeper.logs()[0].forks, keeper.logs()[0].unproved) == (1, 1)


def test_a_log_that_nobody_trusts_yet_is_told_what_to_do(server, keeper):
    client = anchor(server.url, keeper.key)
    with pytest.raises(Denied, match=r"does not know this ledger.*collector witness trust"):
        client.test()
    with pytest.raises(Denied, match=r"does not know this ledger.*collector witness trust"):
        put(client, 5)
    assert client.latest() is None
    keeper.trust(str(LOG.key))
    client.test()
    assert put(client, 5).token


def test_a_new_key_is_told_what_to_do_and_goes_on(client, keeper):
    put(client, 5)
    rotated = Log(key="second")
    with pytest.raises(Denied, match=r"does not trust the key that signed.*collector witness trust"):
        put(client, 20, rotated)
    keeper.trust(str(rotated.key))
    assert put(client, 20, rotated).token


def test_a_trial_leaves_no_trace(client, keeper):
    before = keeper.logs()
    client.test()
    client.test()
    assert keeper.logs() == before
    anchor(client._url, keeper.key, origin="").test()
    assert keeper.logs() == before


def test_what_the_witness_holds_is_asked_at_start(client, server, keeper):
    assert client.latest() is None
    put(client, 20)
    assert client.latest() == LOG.head(20)
    assert anchor(server.url, keeper.key).latest() == LOG.head(20)
    assert anchor(server.url + "/", keeper.key).latest() == LOG.head(20)
    assert anchor(server.url, keeper.key, origin="other.example/log").latest() is None
    assert WitnessAnchor("parent", place(server.url, keeper.key)).latest() is None
    with pytest.raises(Unreadable, match="none that it cosigned"):
        anchor(server.url, THEIRS).latest()


def test_another_key_than_configured_is_refused(server, log, keeper):
    client = anchor(server.url, WitnessKey(keeper.key.name, THEIRS.public))
    with pytest.raises(Unreadable, match="no cosignature by its configured key"):
        put(client, 5)


@pytest.mark.parametrize(("off", "fine"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_two_clocks_may_differ_by_five_minutes(server, log, keeper, off, fine):
    client = anchor(server.url, keeper.key, now=NOW - off)
    if fine:
        assert put(client, 5).time == datetime.fromtimestamp(NOW, UTC)
        return
    with pytest.raises(Unreadable, match=f"301 s {'ahead of' if off > 0 else 'behind'} our clock"):
        put(client, 5)


def test_a_witness_whose_clock_was_set_back_is_unavailable(client, clock):
    put(client, 5)
    clock.now -= 60
    with pytest.raises(Unavailable, match="HTTP 503"):
        put(client, 20)


def test_a_configured_key_that_is_none_of_a_witness_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"\[anchors.witness.parent\] vkey: .*key of a log"):
        anchor("http://127.0.0.1:1", LOG.key)


# --- other witnesses, honest and not ---


class Script:
    """An HTTP server that answers what it is told to; ``seen`` are the requests (method, path, body)."""

    def __init__(self) -> None:
        self.answer: Callable[[bytes], tuple[int, str, bytes]] = lambda body: (200, "text/plain", b"")
        self.page: tuple[int, str, bytes] = (404, "text/plain", b"")
        self.seen: list[tuple[str, str, bytes]] = []
        self.url = ""


@pytest.fixture
def script() -> Iterator[Script]:
    told = Script()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.seen.append(("POST", self.path, body))
            self.send(*told.answer(body))

        def do_GET(self) -> None:
            told.seen.append(("GET", self.path, b""))
            self.send(*told.page)

        def send(self, status: int, content_type: str, body: bytes) -> None:
            with contextlib.suppress(OSError):  # who has read enough hangs up
                self.send_response(status)
                if content_type:
                    self.send_header("Content-Type", content_type)
                if 300 <= status < 400:
                    self.send_header("Location", f"{told.url}/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def cosigned(body: bytes, time: int = NOW, key: WitnessKey = THEIRS) -> bytes:
    return cosignature.sign(key, PRIVATE.sign, Request.parse(body).note.text, time).encode()


def test_what_is_sent_is_the_protocol_to_the_letter(script):
    told = [(409, SIZE, b"5\n")]
    script.answer = lambda body: told.pop() if told else (200, "text/plain", cosigned(body))
    client = anchor(f"{script.url}/prefix/", THEIRS)
    put(client, 20)
    assert [(method, path) for method, path, _ in script.seen] == [("POST", "/prefix/add-checkpoint")] * 2
    first, second = (body for _, _, body in script.seen)
    assert first == b"old 0\n\n" + LOG.note(20).encode()
    assert second == LOG.request(5, 20)
    assert Request.parse(second).proof == tuple(LOG.proof(5, 20))
    script.seen.clear()
    put(client, 40)
    assert [body for _, _, body in script.seen] == [LOG.request(20, 40)]


def test_lines_by_other_keys_are_passed_over_and_stay_out_of_the_token(script):
    stranger = WitnessKey("witness.example/other", private("other").public_key().public_bytes_raw())

    def answer(body: bytes) -> tuple[int, str, bytes]:
        text = Request.parse(body).note.text
        other = cosignature.sign(stranger, private("other").sign, text, NOW).encode()
        return 200, "text/plain", other + cosigned(body, NOW - 5) + other + cosigned(body, NOW)

    script.answer = answer
    given = put(anchor(script.url, THEIRS), 5)
    line = cosignature.sign(THEIRS, PRIVATE.sign, LOG.head(5).text(), NOW)
    assert given.token.decode() == LOG.note(5) + line


def test_a_size_with_a_charset_is_a_size(script):
    told = [(409, "text/x.tlog.size; charset=utf-8", b"5\n")]
    script.answer = lambda body: told.pop() if told else (200, "", cosigned(body))
    assert put(anchor(script.url, THEIRS), 20).token


SIGNED = cosigned(LOG.request(0, 5))
ANSWERS = {
    "nothing": (200, b"", Unreadable),
    "a page": (200, b"<html>hello</html>", Unreadable),
    "not text": (200, b"\xff\xfe", Unreadable),
    "no newline": (200, SIGNED[:-1], Unreadable),
    "a blank before it": (200, b"\n" + SIGNED, Unreadable),
    "of another checkpoint": (200, cosigned(LOG.request(0, 6)), Unreadable),
    "of another time than signed": (200, SIGNED.replace(b"AAAAA", b"AAAAB", 1), Unreadable),
    "of last week": (200, cosigned(LOG.request(0, 5), NOW - 7 * 86_400), Unreadable),
    "of next week": (200, cosigned(LOG.request(0, 5), NOW + 7 * 86_400), Unreadable),
    "of the end of time": (200, cosigned(LOG.request(0, 5), 2**63 - 1), Unreadable),
    "the log's own line": (200, LOG.note(5).split("\n\n")[1].encode(), Unreadable),
    "created": (201, SIGNED, Unreadable),
    "no content": (204, b"", Unreadable),
    "moved": (301, SIGNED, Unreadable),
    "see other": (303, b"", Unreadable),
    "bad request": (400, SIGNED, Unreadable),
    "unauthorized": (401, SIGNED, Denied),
    "forbidden": (403, SIGNED, Denied),
    "not found": (404, SIGNED, Denied),
    "not allowed": (405, b"", Unreadable),
    "too large": (413, b"", Unreadable),
    "too many": (429, b"", Throttled),
    "broken": (500, SIGNED, Unavailable),
    "down": (503, b"", Unavailable),
    "another root": (409, SIGNED, LedgerBroken),
    "no continuation": (422, SIGNED, LedgerBroken),
}


@pytest.mark.parametrize(("status", "body", "error"), ANSWERS.values(), ids=ANSWERS.keys())
def test_every_other_answer_is_an_error_of_its_kind_and_never_a_success(script, status, body, error):
    script.answer = lambda _: (status, "text/plain", body)
    with pytest.raises(error, match="witness/parent"):
        put(anchor(script.url, THEIRS), 5)
    assert len(script.seen) == 1


@pytest.mark.parametrize("body", [b"", b"x\n", b"-1\n", b"05\n", b"1 2\n", b"1e3\n", b"9" * 20 + b"\n", b"\xb2\n"])
def test_a_size_that_is_none_is_unreadable(script, body):
    script.answer = lambda _: (409, SIZE, body)
    with pytest.raises(Unreadable, match="a size that is none"):
        put(anchor(script.url, THEIRS), 5)


def test_a_witness_that_says_two_things_at_once_is_not_followed_for_ever(script):
    script.answer = lambda body: (409, SIZE, b"%d\n" % Request.parse(body).old)
    with pytest.raises(Unreadable, match="refuses a proof that begins there"):
        put(anchor(script.url, THEIRS), 20)
    sizes = iter(range(1, 20))
    script.answer = lambda _: (409, SIZE, b"%d\n" % next(sizes))
    script.seen.clear()
    with pytest.raises(Unavailable, match="moved on by others"):
        put(anchor(script.url, THEIRS), 20)
    assert len(script.seen) == 4


def test_a_witness_that_is_ahead_without_showing_what_it_holds_is_ahead_all_the_same(script):
    script.answer = lambda _: (409, SIZE, b"9000\n")
    for page in ((404, "text/plain", b""), (500, "text/plain", b""), (200, "text/html", b"<html>")):
        script.page = page
        with pytest.raises(Ahead, match="has cosigned 9000 entries, this") as caught:
            put(anchor(script.url, THEIRS), 20)
        assert (caught.value.size, caught.value.held) == (9000, None)


PAGES = {
    "no such page": (404, b"", None),
    "not allowed": (405, b"", None),
    "forbidden": (403, b"", None),
    "another page": (200, b"<html>", Unreadable),
    "a checkpoint that it did not cosign": (200, LOG.note(5).encode(), Unreadable),
    "a cosigned note that is no checkpoint": (200, b"hello\n\n" + SIGNED, Unreadable),
    "moved": (302, b"", Unreadable),
    "too many": (429, b"", Throttled),
    "down": (502, b"", Unavailable),
}


@pytest.mark.parametrize(("status", "body", "error"), PAGES.values(), ids=PAGES.keys())
def test_what_it_holds_is_known_or_not_known_or_an_error(script, status, body, error):
    script.page = (status, "text/plain", body)
    client = anchor(script.url, THEIRS)
    if error is None:
        assert client.latest() is None
    else:
        with pytest.raises(error):
            client.latest()
    assert script.seen == [("GET", f"/{ORIGIN}/checkpoint", b"")]


def test_the_checkpoint_of_another_log_is_not_taken_for_ours(script):
    other = Log("other.example/log")
    script.page = (200, "text/plain", other.note(5).encode() + cosigned(other.request(0, 5)))
    with pytest.raises(Unreadable, match="of another log"):
        anchor(script.url, THEIRS).latest()


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, None), (404, Denied), (200, Unreadable), (400, Unreadable), (405, Unreadable), (500, Unavailable)],
)
def test_a_trial_expects_to_be_refused_for_the_missing_signature(script, status, error):
    script.answer = lambda _: (status, "text/plain", b"")
    client = anchor(script.url, THEIRS)
    if error is None:
        client.test()
    else:
        with pytest.raises(error, match="witness/parent"):
            client.test()
    found = Request.parse(script.seen[0][2])
    assert (found.old, found.head.origin, found.head.size) == (0, ORIGIN, 0)


def test_a_trial_without_a_ledger_names_nobody(script):
    script.answer = lambda _: (404, "text/plain", b"")
    anchor(script.url, THEIRS, origin="").test()
    assert Request.parse(script.seen[0][2]).head.origin == NOBODY


def test_nobody_there_and_nobody_answering(script):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unavailable, match="in time"):
            put(anchor(url, THEIRS, timeout=1), 5)
    with pytest.raises(Unavailable, match="no answer"):
        put(anchor(url, THEIRS), 5)


def test_an_answer_without_end_is_not_read(script):
    script.answer = lambda _: (200, "text/plain", b"x" * (ANSWER_BYTES_MAX + 1))
    with pytest.raises(Unavailable, match="longer than"):
        put(anchor(script.url, THEIRS), 5)


def test_two_collectors_on_one_ledger_both_get_through(server, log, keeper):
    """The export's process and the daemon's, each with what it remembers."""
    one, two = anchor(server.url, keeper.key), anchor(server.url, keeper.key)
    for size in range(1, 30):
        assert put(one if size % 3 else two, size).token
    with pytest.raises(Ahead) as caught:
        put(two, 28)
    assert caught.value.held == LOG.head(29)
    assert add(server.url, LOG.request(29, 29)).status == 200
