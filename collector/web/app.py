"""Three pages for machines: is it alive, is it ready, what does it count. Serves no evidence.

What it takes in are the signed hooks of ``hooks.py``, where a channel has one, and nothing else.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector.config_values import listen_address
from collector.errors import ConfigError
from collector.web import hooks as signed
from collector.web.metrics import Metrics

START_SECONDS_MAX = 10
STOP_SECONDS_MAX = 5
CONNECTIONS_MAX = 64
REASON_CHARACTERS_MAX = 300


def application(
    alive: Callable[[], bool],
    ready: Callable[[], Sequence[str]],
    metrics: Metrics,
    hooks: Mapping[str, signed.PagerDutyHook] = {},
) -> Starlette:
    """The pages.

    * ``/healthz``: 200 ``{"alive": true}``, 503 when the collector's clock no longer ticks: restart it.
    * ``/readyz``: 200 ``{"ready": true, "reasons": []}``, 503 with the reasons in words.
    * ``/metrics``: Prometheus text, or OpenMetrics when the ``Accept`` header asks for it.
    * ``/hooks/pagerduty/NAME`` (POST): acknowledgements, for the ``hooks`` that there are.
    """

    async def healthz(request: Request) -> Response:
        works = await run_in_threadpool(alive)
        return _json({"alive": works}, works)

    async def readyz(request: Request) -> Response:
        reasons = [reason[:REASON_CHARACTERS_MAX] for reason in await run_in_threadpool(ready)]
        return _json({"ready": not reasons, "reasons": reasons}, not reasons)

    async def exposition(request: Request) -> Response:
        body, content_type = await run_in_threadpool(metrics.exposition, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})

    pages = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", exposition)]
    return Starlette(routes=[*pages, *signed.routes(hooks)])


def _json(value: object, fine: bool) -> Response:
    body = json.dumps(value, ensure_ascii=False)
    return Response(body, 200 if fine else 503, {"cache-control": "no-store"}, "application/json")


class Server:
    """The pages on a thread. ``listen`` is host:port, "" for off; ``url`` says where it really listens."""

    def __init__(
        self,
        listen: str,
        *,
        alive: Callable[[], bool],
        ready: Callable[[], Sequence[str]],
        metrics: Metrics,
        hooks: Mapping[str, signed.PagerDutyHook] = {},
    ) -> None:
        self._listen = listen
        self._application = application(alive, ready, metrics, hooks)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self) -> None:
        """Returns when it answers. Raises ConfigError when the address cannot be had."""
        if not self._listen:
            return
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
        started = threading.Event()

        def serve() -> None:
            try:
                server.run(sockets=[listening])
            finally:
                started.set()
                listening.close()

        self._thread = threading.Thread(target=serve, name="web", daemon=True)
        self._thread.start()
        for _ in range(START_SECONDS_MAX * 100):
            if server.started or started.wait(0.01):
                break
        if not server.started:
            raise ConfigError(f"[web] listen {self._listen}: the server did not start; its log says why")
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
    host, port = listen_address(listen)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"[web] listen {listen}: {error.strerror or error}; name another address") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise ConfigError(f"[web] listen {listen}: {error.strerror or error}; name another address") from error
    return listening
