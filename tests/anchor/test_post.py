"""One question over HTTP: what arrives, and that no answer can be too long, too slow, cut short or somebody else's."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.anchor.post import post
from collector.errors import Unavailable
from tests.anchor.conftest import certificate

Answer = Callable[[socket.socket], None]


class Peer:
    """Takes connections, keeps what was sent, answers with whatever bytes a test says."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        self.received: list[bytes] = []
        self._answer = answer
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    stream = self._context.wrap_socket(connection, server_side=True) if self._context else connection
                    data = b""
                    while b"\r\n\r\n" not in data or not data.endswith(b"question"):
                        piece = stream.recv(65_536)
                        if not piece:
                            break
                        data += piece
                    self.received.append(data)
                    self._answer(stream)
                    stream.close()
                except OSError:
                    continue

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    running = []

    def open_(answer: Answer | bytes, context: ssl.SSLContext | None = None) -> Peer:
        running.append(Peer(answer if callable(answer) else lambda stream: stream.sendall(answer), context))
        return running[-1]

    yield open_
    for each in running:
        each.close()


def ask(peer: Peer, scheme: str = "http", tls: ssl.SSLContext | None = None, timeout: float = 5) -> tuple[int, bytes]:
    url = f"{scheme}://localhost:{peer.port}/path?key=hidden"
    return post(url, b"question", "text/plain", timeout=timeout, answer_bytes_max=1000, tls=tls)


def fails(call: Callable[[], object]) -> str:
    with pytest.raises(Unavailable) as caught:
        call()
    assert "hidden" not in str(caught.value)
    return str(caught.value)


def test_what_is_sent_and_what_comes_back(peer: Callable[..., Peer]) -> None:
    there = peer(b"HTTP/1.1 418 Teapot\r\nContent-Length: 6\r\n\r\nanswer")
    assert ask(there) == (418, b"answer")
    (request,) = there.received
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /path?key=hidden HTTP/1.1\r\n")
    assert b"Content-Type: text/plain" in head
    assert b"User-Agent: evidence-collector/" in head
    assert body == b"question"


def test_chunks_and_answers_without_a_length(peer: Callable[..., Peer]) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nans\r\n3\r\nwer\r\n0\r\n\r\n"
    assert ask(peer(chunked)) == (200, b"answer")
    assert ask(peer(b"HTTP/1.0 200 OK\r\n\r\nanswer")) == (200, b"answer")


def test_nobody_is_followed(peer: Callable[..., Peer]) -> None:
    elsewhere = peer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    location = f"Location: http://localhost:{elsewhere.port}/".encode()
    for status in (301, 302, 303, 307, 308):
        there = peer(b"HTTP/1.1 %d Moved\r\n%s\r\nContent-Length: 0\r\n\r\n" % (status, location))
        assert ask(there) == (status, b"")
    assert elsewhere.received == []


@pytest.mark.parametrize("length", [b"Content-Length: 1001\r\n", b""])
def test_too_long(peer: Callable[..., Peer], length: bytes) -> None:
    there = peer(b"HTTP/1.0 200 OK\r\n" + length + b"\r\n" + bytes(1001))
    assert "longer than 1000 bytes" in fails(lambda: ask(there))
    assert ask(peer(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(1000))) == (200, bytes(1000))


def test_cut_short(peer: Callable[..., Peer]) -> None:
    there = peer(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\nanswer")
    assert "IncompleteRead" in fails(lambda: ask(there))
    chunked = peer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30\r\nans")
    assert "IncompleteRead" in fails(lambda: ask(chunked))


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 two hundred\r\n\r\n"])
def test_not_http(peer: Callable[..., Peer], answer: bytes) -> None:
    assert "no answer from the place" in fails(lambda: ask(peer(answer)))


def test_a_body_that_never_ends_in_small_pieces(peer: Callable[..., Peer]) -> None:
    def drip(stream: socket.socket) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        for _ in range(900):
            stream.sendall(b".")
            time.sleep(0.05)

    begun = time.monotonic()
    assert fails(lambda: ask(peer(drip), timeout=0.5)) == "the place did not answer in time"
    assert time.monotonic() - begun < 5


def test_certificates_are_verified(peer: Callable[..., Peer], tmp_path: Path) -> None:
    pem = certificate(tmp_path / "localhost.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    there = peer(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer", server)
    assert "certificate of the place does not verify" in fails(lambda: ask(there, "https"))
    assert there.received == []
    for scheme in ("https", "HTTPS"):
        assert ask(there, scheme, ssl.create_default_context(cafile=pem)) == (200, b"answer")


def test_other_schemes_are_none(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    for url in (f"file://{tmp_path}/secret", "ftp://localhost/secret", "data:,secret"):
        with pytest.raises(Unavailable, match="no answer from the place"):
            post(url, b"", "text/plain", timeout=1, answer_bytes_max=10)
