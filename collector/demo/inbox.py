"""A webhook receiver on loopback: verifies each signature, keeps what it got. Stands where a pager would."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from collector.alert.webhook import verify

BODY_BYTES_MAX = 1024 * 1024


class Inbox:
    """Listens from construction until ``close``; ``received`` counts what was accepted."""

    def __init__(self, secret: bytes, keep: Path) -> None:
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), BODY_BYTES_MAX))
                signature = self.headers.get("X-Collector-Signature", "")
                genuine = verify(secret, signature, body)
                if genuine:
                    inbox._accept(body)
                self.send_response(204 if genuine else 401)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing: the demo's terminal belongs to the story."""

        self._keep = keep
        self._lock = threading.Lock()
        self.received = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"
        threading.Thread(target=self._server.serve_forever, name="inbox", daemon=True).start()

    def _accept(self, body: bytes) -> None:
        with self._lock, self._keep.open("a") as file:
            file.write(json.dumps(json.loads(body), sort_keys=True) + "\n")
            self.received += 1

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
