"""Health, readiness and metrics over real HTTP on loopback."""

import http.client
import json
import socket
import threading
from urllib.parse import urlsplit

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from collector.errors import ConfigError
from collector.web.app import Server
from collector.web.metrics import Metrics


class State:
    """What the daemon would say."""

    def __init__(self):
        self.works = True
        self.reasons = []

    def alive(self):
        return self.works

    def ready(self):
        return self.reasons


@pytest.fixture
def state():
    return State()


@pytest.fixture
def server(state):
    found = Server("127.0.0.1:0", alive=state.alive, ready=state.ready, metrics=Metrics())
    found.start()
    yield found
    found.stop()


def get(server, path, method="GET", **headers):
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_alive_until_the_clock_stops(server, state):
    status, headers, body = get(server, "/healthz")
    assert (status, json.loads(body)) == (200, {"alive": True})
    assert headers["content-type"] == "application/json"
    assert "server" not in headers
    state.works = False
    status, _, body = get(server, "/healthz")
    assert (status, json.loads(body)) == (503, {"alive": False})


def test_ready_or_not_with_reasons(server, state):
    status, _, body = get(server, "/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "reasons": []})
    state.reasons = ["the ledger does not verify: entry 7", "x" * 5000]
    status, _, body = get(server, "/readyz")
    assert status == 503
    said = json.loads(body)
    assert said["ready"] is False
    assert said["reasons"][0] == "the ledger does not verify: entry 7"
    assert len(said["reasons"][1]) == 300


def test_a_probe_that_fails_is_an_error_and_never_fine():
    def broken():
        raise RuntimeError("defect")

    broken_server = Server("127.0.0.1:0", alive=broken, ready=broken, metrics=Metrics())
    broken_server.start()
    try:
        assert get(broken_server, "/healthz")[0] == 500
        assert get(broken_server, "/readyz")[0] == 500
    finally:
        broken_server.stop()


def test_metrics_in_both_formats(server):
    status, headers, body = get(server, "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert "collector_runs" in {family.name for family in parse_text(body.decode())}
    status, headers, body = get(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert "collector_runs" in {family.name for family in parse_openmetrics(body.decode())}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/evidence", 404), ("POST", "/metrics", 405), ("DELETE", "/healthz", 405)],
)
def test_there_is_nothing_else(server, method, path, status):
    assert get(server, path, method)[0] == status


def test_many_ask_at_once(server):
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(get(server, "/metrics")[0])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 20


def test_an_address_that_is_taken_is_said_so_at_once(state):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        server = Server(listen, alive=state.alive, ready=state.ready, metrics=Metrics())
        with pytest.raises(ConfigError, match=rf"\[web\] listen {listen}: .*in use.*; name another address"):
            server.start()
        server.stop()


def test_nothing_listens_when_it_is_off(state):
    server = Server("", alive=state.alive, ready=state.ready, metrics=Metrics())
    server.start()
    assert server.url == ""
    assert not [thread for thread in threading.enumerate() if thread.name == "web"]
    server.stop()


def test_it_stops_cleanly_gives_its_port_back_and_starts_again(state):
    server = Server("127.0.0.1:0", alive=state.alive, ready=state.ready, metrics=Metrics())
    server.start()
    url = server.url
    assert get(server, "/healthz")[0] == 200
    server.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "web"]
    again = Server(urlsplit(url).netloc, alive=state.alive, ready=state.ready, metrics=Metrics())
    again.start()
    try:
        assert again.url == url
        assert get(again, "/healthz")[0] == 200
    finally:
        again.stop()
    server.stop()  # twice is harmless


def test_a_connection_that_is_left_open_does_not_hold_up_the_end(server):
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")  # and never the rest
        server.stop()
        assert not [thread for thread in threading.enumerate() if thread.name == "web"]
