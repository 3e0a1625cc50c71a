"""The process of a simulated cloud: ``python -m collector.demo.serve``. Ends when its standard input does.

Two doors on loopback: the HTTPS proxy, which is the clouds, and a control door, which no cloud host name leads to. What
stands behind the proxy is in ``aws.py`` and ``estate.py``, ``azure`` and ``gcp``; whoever wants one uses ``cloud.py``.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import os
import re
import secrets
import sys
import threading
import warnings
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# moto reads these when it is imported.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")

from moto.moto_api._internal.models import moto_api_backend

from collector.demo import change_feed, kms, object_lock  # noqa: F401 - kms and object_lock register their answers
from collector.demo.answers import ANSWERS
from collector.demo.aws import HOSTS, Fault, Moto, TestBed, World, set_moto_clock, share_private_keys
from collector.demo.azure.bed import AzureBed
from collector.demo.estate import Estate
from collector.demo.event_history import History
from collector.demo.gcp.bed import GcpBed
from collector.demo.proxy import LOOPBACK, Proxy, Request, Response

CONTROL_BYTES_MAX = 16 * 1024 * 1024
GZIPPED = b"\x1f\x8b"


class Served:
    """Populated clouds on one clock, and what may be done to them from outside.

    Each public method is a control call that speaks of AWS; those of the beds are called "gcp.NAME" and the like.
    """

    def __init__(self, seed: int, scale: int, now: datetime, regions: tuple[str, ...]) -> None:
        self._arguments = (seed, scale, now, regions)
        self._start()

        def clock() -> datetime:
            return self.bed.world.now

        self.beds: dict[str, AzureBed | GcpBed] = {
            "azure": AzureBed(seed, scale, clock),
            "gcp": GcpBed(seed, scale, clock),
        }
        self._hosts = {name: re.compile("|".join(bed.hosts)) for name, bed in self.beds.items()}
        self._watched: re.Pattern[bytes] | None = None
        self._crossed: dict[str, set[str]] = {}
        self.served_hosts = "|".join([HOSTS, *(pattern.pattern for pattern in self._hosts.values())])

    def _start(self) -> None:
        seed, scale, now, regions = self._arguments
        moto = Moto(seed)
        world = World(regions, now, moto)
        set_moto_clock(lambda: world.now)
        Estate(seed, scale).populate(world)
        self.history = History()  # CloudTrail's
        look_up = {("cloudtrail", "LookupEvents"): self.history.look_up}
        self.bed = TestBed(world, {**ANSWERS, **look_up}, self.history.note)

    def __call__(self, request: Request) -> Response:
        answer = self._answer(request)
        if self._watched is not None:
            self._note(request, answer)
        return answer

    def _answer(self, request: Request) -> Response:
        for name, pattern in self._hosts.items():
            if pattern.fullmatch(request.host):
                return self.beds[name].handle(request)
        return self.bed(request)

    def _note(self, request: Request, answer: Response) -> None:
        """Remembers which of the watched words an answer carries, on which host, with its body unpacked."""
        assert self._watched is not None
        body = gzip.decompress(answer.body) if answer.body[:2] == GZIPPED else answer.body
        for found in set(self._watched.findall(body)):
            self._crossed.setdefault(found.decode(), set()).add(request.host)

    def watch(self, pattern: str) -> None:
        """From now on every answer is searched for this expression, and what is found is kept for ``crossed``."""
        self._watched = re.compile(pattern.encode()) if pattern else None
        self._crossed = {}

    def crossed(self) -> dict[str, list[str]]:
        """The words that answers carried since ``watch``, and the hosts that answered with each."""
        return {word: sorted(hosts) for word, hosts in list(self._crossed.items())}

    def set_now(self, moment: str) -> None:
        self.bed.world.set_now(datetime.fromisoformat(moment))
        self.bed.clock_turned()

    def set(self, key: str, value: Any) -> None:
        if key == "page_size":
            self.bed.world.page_size = int(value)
        else:
            self.bed.world.state[key] = value
        self.bed.changed()

    def get(self, key: str) -> Any:
        return self.bed.world.state.get(key)

    def feed(self, queue_url: str, region: str) -> None:
        """From now on EventBridge puts every change into that queue; "" ends it."""
        self.bed.heard = change_feed.rule(self.bed.world, queue_url, region) if queue_url else None

    def calls(self, since: int) -> list[dict[str, Any]]:
        return self.bed.calls(since)

    def clear_calls(self) -> None:
        self.bed.clear_calls()

    def clear_trail(self) -> None:
        self.history.clear()

    def trail_records(self, region: str) -> list[dict[str, Any]]:
        return list(self.history.records(self.bed.world, region))

    def fault(self, **fault: Any) -> None:
        self.bed.add_fault(Fault(**fault))

    def clear_faults(self, label: str) -> None:
        self.bed.clear_faults(label)

    def unserved(self) -> list[str]:
        return list(self.bed.unserved)

    def reset(self) -> None:
        moto_api_backend.reset()  # all that moto holds, in all accounts
        self._start()
        for bed in self.beds.values():
            bed.reset()


def control(served: Served, proxy: Proxy, token: str) -> ThreadingHTTPServer:
    """The control door: POST /METHOD with the arguments as JSON, behind a token."""
    methods: dict[str, Callable[..., Any]] = {
        name: getattr(served, name) for name in vars(Served) if not name.startswith("_")
    }
    methods["refused"] = lambda: list(proxy.refused)
    for cloud, bed in served.beds.items():
        for name in dir(bed):
            if not name.startswith("_") and name != "handle" and callable(getattr(bed, name)):
                methods[f"{cloud}.{name}"] = getattr(bed, name)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), CONTROL_BYTES_MAX))
            method = methods.get(self.path.strip("/"))
            if method is None or not secrets.compare_digest(self.headers.get("X-Control", ""), token):
                return self._say(404, {"error": "no such method"})
            try:
                return self._say(200, {"result": method(**json.loads(body))})
            except Exception as error:  # the caller gets to see whatever it was
                return self._say(400, {"error": f"{type(error).__name__}: {error}"})

        def _say(self, status: int, value: dict[str, Any]) -> None:
            data = json.dumps(value, default=str).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Standard error is for what goes wrong."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="control", daemon=True).start()
    return server


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m collector.demo.serve", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the CA certificate is written")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--now", type=datetime.fromisoformat, required=True)
    parser.add_argument("--regions", required=True, help="names with commas between")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    share_private_keys()
    gc.disable()  # a quarter of the start would go into looking for garbage that there is none of
    served = Served(options.seed, options.scale, options.now, tuple(options.regions.split(",")))
    gc.enable()
    gc.freeze()
    proxy = Proxy(served.served_hosts, served, options.folder)
    token = secrets.token_hex(16)
    door = control(served, proxy, token)
    ready = {"proxy": proxy.url, "bundle": str(proxy.bundle), "control": door.server_port, "token": token}
    ready["environment"] = {k: v for bed in served.beds.values() for k, v in bed.credentials(options.folder).items()}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    sys.stdin.read()  # until whoever started us is gone
    door.shutdown()
    proxy.close()


if __name__ == "__main__":
    main(sys.argv[1:])
