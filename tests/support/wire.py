"""A TCP relay on loopback that tests can cut: refuse, hang, or let through. For partitions between real processes."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

BUFFER = 65_536


class Wire:
    """Relays connections to one port. While it hangs, bytes are swallowed by neither side: they wait."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def hang(self) -> None:
        """Nothing arrives any more, and nobody is told: a partition."""
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def sever(self) -> None:
        """Every connection is reset at once."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()
        self.sever()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(near,), daemon=True).start()

    def _relay(self, near: socket.socket) -> None:
        self._open.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self._target), 10)
        except OSError:
            near.close()
            return
        pair = (near, far)
        with self._lock:
            self._pairs.add(pair)
        other = {near: far, far: near}
        with selectors.DefaultSelector() as watched, near, far:
            for end in pair:
                watched.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in watched.select():
                    self._open.wait()
                    end: socket.socket = key.fileobj  # type: ignore[assignment]
                    try:
                        data = end.recv(BUFFER)
                        other[end].sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        return
