"""The witness over HTTP: add-checkpoint as c2sp.org/tlog-witness has it, and what it cosigned last for whoever asks.

Decides nothing. No TLS in here: both directions are signed; whoever wants the traffic hidden, or faces the internet,
puts a reverse proxy in front.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from datetime import UTC, datetime

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from collector.config_values import listen_address
from collector.errors import ConfigError, StoreError
from collector.witness.keeper import Answer, Keeper
from collector.witness.service import REQUEST_BYTES_MAX

START_SECONDS_MAX = 10
STOP_SECONDS_MAX = 5
BODY_SECONDS_MAX = 20
CONNECTIONS_MAX = 64

log = structlog.get_logger(__name__)


def application(keeper: Keeper) -> Starlette:
    """The pages.

    * ``POST /add-checkpoint``: cosigns. 200 with signature lines; 400 not a request, or an old size above the new one;
      403 not signed by a trusted key; 404 unknown log; 409 another old size (``text/x.tlog.size``: the right one) or
      another root; 413 too large; 422 the proof does not verify; 503 nothing could be kept.
    * ``GET /ORIGIN/checkpoint``: the newest checkpoint with the log's signature and ours, where C2SP tlog-tiles has it
      below a log's prefix. 404 when there is none.
    * ``GET /latest``: the same of all logs in words, for people.
    """

    async def add_checkpoint(request: Request) -> Response:
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                body = await _body(request)
        except TimeoutError:
            return _plain(408, "the request did not come within its time\n")
        except ClientDisconnect:
            return _plain(400, "the request was cut off\n")
        if body is None:
            return _plain(413, f"a request has at most {REQUEST_BYTES_MAX} bytes\n")
        try:
            answer = await run_in_threadpool(keeper.add, body)
        except StoreError as error:
            log.error("store", why=str(error))
            return _plain(503, "the witness cannot write what it would cosign; its log says why\n")
        return _sent(answer)

    async def checkpoint(request: Request) -> Response:
        found = await run_in_threadpool(keeper.newest, request.path_params["origin"])
        return _plain(404, "no checkpoint of this log was cosigned here\n") if found is None else _plain(200, found)

    async def latest(request: Request) -> Response:
        return _plain(200, await run_in_threadpool(_latest, keeper))

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/latest", latest),
            Route("/{origin:path}/checkpoint", checkpoint),
        ]
    )


async def _body(request: Request) -> bytes | None:
    """The whole body, None when it is too large: no more than that is ever read."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > REQUEST_BYTES_MAX:
            return None
    return bytes(found)


def _sent(answer: Answer) -> Response:
    # set by hand: the framework would add a charset, which the protocol does not have for sizes
    headers = {"content-type": answer.content_type, "cache-control": "no-store"}
    return Response(answer.body.encode(), answer.status, headers)


def _plain(status: int, words: str) -> Response:
    return _sent(Answer(status, words))


def _latest(keeper: Keeper) -> str:
    lines = [f"witness {keeper.key}"]
    for state in keeper.logs():
        when = "never" if not state.time else f"{datetime.fromtimestamp(state.time, UTC):%Y-%m-%dT%H:%M:%SZ}"
        lines += [
            "",
            f"log            {state.origin}",
            f"entries        {state.size}",
            f"last cosigned  {when}",
            f"checkpoints    {state.checkpoints}",
            f"forks          {state.forks}",
            f"unproved       {state.unproved}",
            *(f"trusted key    {key}" for key in state.keys),
        ]
    return "\n".join(lines) + "\n"


class Server:
    """The pages on a thread. ``listen`` is host:port; ``url`` says where it really listens."""

    def __init__(self, listen: str, keeper: Keeper) -> None:
        self._listen = listen
        self._application = application(keeper)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self) -> None:
        """Returns when it answers. Raises ConfigError when the address cannot be had."""
        listening = _bind(self._listen)
        config = uvicorn.Config(
            self._application,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,  # the log is set up by collector.logs
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=STOP_SECONDS_MAX - 2,
        )
        self._server = server = uvicorn.Server(config)
        ended = threading.Event()

        def serve() -> None:
            try:
                server.run(sockets=[listening])
            finally:
                ended.set()
                listening.close()

        self._thread = threading.Thread(target=serve, name="witness", daemon=True)
        self._thread.start()
        for _ in range(START_SECONDS_MAX * 100):
            if server.started or ended.wait(0.01):
                break
        if not server.started:
            raise ConfigError(f"--listen {self._listen}: the server did not start; its log says why")
        host, port = listening.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def stop(self) -> None:
        """Ends the thread after the requests at work; at most ``STOP_SECONDS_MAX`` seconds."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(STOP_SECONDS_MAX)
            self._server = self._thread = None
            self.url = ""


def _bind(listen: str) -> socket.socket:
    try:
        host, port = listen_address(listen)
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # with the protocol by its number: without it asyncio leaves Nagle's algorithm on, and each answer waits 40 ms
        listening = socket.socket(family, kind, protocol)
    except ValueError as error:
        raise ConfigError(f"--listen {listen}: {error}") from error
    except OSError as error:
        raise ConfigError(f"--listen {listen}: {error.strerror or error}; name another address") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise ConfigError(f"--listen {listen}: {error.strerror or error}; name another address") from error
    return listening
