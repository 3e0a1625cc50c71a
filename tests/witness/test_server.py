"""The witness over real HTTP on loopback: the protocol's answers to the letter, limits, and many clients at once."""

from __future__ import annotations

import http.client
import socket
import threading
from urllib.parse import urlsplit

import pytest

from collector.errors import ConfigError, StoreError
from collector.ledger import cosignature
from collector.ledger.note import Note
from collector.witness import server as server_module
from collector.witness.keeper import Keeper
from collector.witness.server import Server
from collector.witness.service import REQUEST_BYTES_MAX
from tests.witness.world import NOW, ORIGIN, Log, Reply, add, request, send

PLAIN = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"


def test_a_checkpoint_is_cosigned(server, log, keeper):
    found = add(server.url, log.request(0, 5))
    assert (found.status, found.content_type) == (200, PLAIN)
    assert found.body.startswith("\N{EM DASH} witness.example/w1 ")
    assert found.body.count("\n") == 1
    assert found.body.endswith("\n")
    # as the protocol tells clients to read it: under the checkpoint that they sent
    (given,) = cosignature.verify(Note.parse(log.note(5) + found.body), [keeper.key])
    assert given.time == NOW


def test_every_refusal_has_the_protocols_status_and_type(server, log):
    assert add(server.url, log.request(0, 20)).status == 200
    forked = Log(forked=3)
    assert add(server.url, b"") == Reply(
        400, PLAIN, "a request is an old size line, proof lines, an empty line, and a checkpoint\n"
    )
    assert add(server.url, request(21, [], log.note(20))).status == 400
    assert add(server.url, Log(key="stranger").request(20, 30)).status == 403
    assert add(server.url, Log("other.example/log").request(0, 5)).status == 404
    assert add(server.url, log.request(5, 30)) == Reply(409, SIZE, "20\n")
    other_root = add(server.url, forked.request(20, 20))
    assert (other_root.status, other_root.content_type) == (409, PLAIN)
    assert add(server.url, forked.request(20, 30)).status == 422
    for found in (add(server.url, body) for body in (b"", forked.request(20, 20), forked.request(20, 30))):
        assert "\N{EM DASH} " not in found.body
        assert found.body.endswith("\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/add-checkpoint", 405),
        ("PUT", "/add-checkpoint", 405),
        ("POST", "/latest", 405),
        ("POST", "/", 404),
        ("GET", "/", 404),
        ("GET", "/checkpoint", 404),
        ("GET", "/witness.key", 404),
        ("GET", "/../witness.key", 404),
        ("DELETE", f"/{ORIGIN}/checkpoint", 405),
    ],
)
def test_there_is_nothing_else(server, method, path, status):
    assert send(server.url, path, method=method).status == status


def test_the_newest_checkpoint_lies_where_tiles_have_it(server, log, keeper):
    path = f"/{ORIGIN}/checkpoint"
    assert send(server.url, path).status == 404
    add(server.url, log.request(0, 5))
    add(server.url, log.request(5, 20))
    found = send(server.url, path)
    assert (found.status, found.content_type) == (200, PLAIN)
    assert found.body.startswith(log.note(20))
    assert cosignature.verify(Note.parse(found.body), [keeper.key])
    assert send(server.url, "/other.example/log/checkpoint").status == 404
    assert send(server.url, "/ledger.example%2Facme/checkpoint") == found


def test_people_see_every_log_in_words(server, log):
    add(server.url, log.request(0, 20))
    add(server.url, Log(forked=3).request(20, 20))
    found = send(server.url, "/latest")
    assert (found.status, found.content_type) == (200, PLAIN)
    for line in (
        f"log            {ORIGIN}",
        "entries        20",
        "last cosigned  2026-05-28T20:26:40Z",
        "checkpoints    1",
        "forks          1",
        f"trusted key    {log.key}",
    ):
        assert line in found.body.split("\n")


def test_nothing_is_kept_in_between(server, log):
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("POST", "/add-checkpoint", log.request(0, 5))
    answer = connection.getresponse()
    assert answer.getheader("cache-control") == "no-store"
    assert answer.getheader("server") is None
    assert answer.read()
    # and the same connection goes on, as the protocol asks for
    connection.request("POST", "/add-checkpoint", log.request(5, 9))
    assert connection.getresponse().status == 200
    connection.close()


# --- limits ---


def test_a_body_that_is_too_large_is_not_read(server, log):
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.putrequest("POST", "/add-checkpoint")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    connection.send(b"x" * (REQUEST_BYTES_MAX + 1))
    assert connection.getresponse().status == 413
    connection.close()
    # the largest that is allowed is read, and found to be nothing
    assert add(server.url, log.request(0, 5).ljust(REQUEST_BYTES_MAX, b"\n")).status == 400


def test_a_body_without_end_is_not_read_either(server):
    parts = urlsplit(server.url)
    sent = 0
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        while sent <= REQUEST_BYTES_MAX:
            connection.sendall(chunk)
            sent += 0x4000
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_never_comes_is_given_up(server, log, monkeypatch):
    monkeypatch.setattr(server_module, "BODY_SECONDS_MAX", 0.2)
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\nold 0")
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
    assert add(server.url, log.request(0, 5)).status == 200


def test_a_client_that_hangs_up_halfway_changes_nothing(server, log, keeper):
    parts = urlsplit(server.url)
    body = log.request(0, 5)
    for cut in (0, 1, len(body) - 1):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
            head = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.sendall(head + body[:cut])
    assert keeper.logs()[0].size == 0
    assert add(server.url, body).status == 200


# --- many at once ---


def test_of_many_successors_at_once_exactly_one_is_cosigned(server, log, keeper):
    """Honest ones of other sizes and forks of the same size: every answer follows from the one that won."""
    add(server.url, log.request(0, 8))
    forked = Log(forked=8)  # continues the 8 entries as well as the honest log does
    bodies = [source.request(8, size) for source in (log, forked) for size in range(9, 19)]
    answers: dict[int, Reply] = {}
    barrier = threading.Barrier(len(bodies))

    def ask(number: int) -> None:
        barrier.wait()
        answers[number] = add(server.url, bodies[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [number for number, answer in answers.items() if answer.status == 200]
    assert len(won) == 1
    size = 9 + won[0] % 10
    assert {(a.status, a.content_type, a.body) for n, a in answers.items() if n != won[0]} == {(409, SIZE, f"{size}\n")}
    (state,) = keeper.logs()
    assert (state.size, state.checkpoints) == (size, 2)
    # the loser's size is the winner's at most once, and that one is known as a fork
    assert state.forks <= 1


def test_clients_that_follow_the_conflicts_all_get_through_and_no_step_is_taken_twice(server, log, keeper):
    """Each anchors its own size as the protocol tells it to; the memory only ever grows."""
    cosigned: list[int] = []
    ahead: list[int] = []

    def anchor(size: int) -> None:
        old = 0
        while True:
            found = add(server.url, log.request(old, size))
            if found.status == 200:
                cosigned.append(size)
                return
            assert found.status == 409
            old = int(found.body)
            if old > size:
                ahead.append(size)
                return

    threads = [threading.Thread(target=anchor, args=(size,)) for size in range(1, 33)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(cosigned + ahead) == list(range(1, 33))
    with keeper.store.reading() as view:
        kept = [item.size for item in view.checkpoints(ORIGIN)]
    assert kept == sorted(cosigned)
    assert kept[-1] == 32


def test_trust_takes_effect_while_it_serves(server, tmp_path, clock):
    log = Log()
    assert add(server.url, log.request(0, 5)).status == 404
    beside = Keeper.open(tmp_path / "witness", clock)  # as `collector witness trust` does
    beside.trust(str(log.key))
    assert add(server.url, log.request(0, 5)).status == 200
    beside.distrust(str(log.key))
    assert add(server.url, log.request(5, 9)).status == 403
    beside.close()


# --- trouble ---


def test_what_cannot_be_written_is_not_cosigned(server, log, keeper, monkeypatch):
    add(server.url, log.request(0, 5))

    def full(*_: object, **__: object) -> None:
        raise StoreError("witness.db: the disk is full")

    monkeypatch.setattr(keeper.store, "writing", full)
    found = add(server.url, log.request(5, 9))
    assert found.status == 503
    assert "\N{EM DASH} " not in found.body
    assert "witness.db" not in found.body
    monkeypatch.undo()
    assert add(server.url, log.request(5, 9)).status == 200


def test_an_address_that_cannot_be_had_is_said_so(keeper):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"--listen {listen}: .*in use.*; name another"):
            Server(listen, keeper).start()
    for listen in ("here", "127.0.0.1:99999", ""):
        with pytest.raises(ConfigError, match="--listen"):
            Server(listen, keeper).start()


def test_it_stops_gives_its_port_back_and_starts_again(keeper, log):
    others = set(threading.enumerate())  # a witness of other tests may still serve them
    first = Server("127.0.0.1:0", keeper)
    first.start()
    assert [thread for thread in threading.enumerate() if thread.name == "witness" and thread not in others]
    url = first.url
    add(url, log.request(0, 5))
    first.stop()
    first.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "witness" and thread not in others]
    again = Server(urlsplit(url).netloc, keeper)
    again.start()
    try:
        assert again.url == url
        assert add(url, log.request(0, 9)) == Reply(409, SIZE, "5\n")
    finally:
        again.stop()


def test_it_listens_on_ipv6(keeper, log):
    server = Server("[::1]:0", keeper)
    try:
        server.start()
    except ConfigError:
        pytest.skip("no IPv6 here")
    try:
        assert server.url.startswith("http://[::1]:")
        assert add(server.url, log.request(0, 5)).status == 200
    finally:
        server.stop()
