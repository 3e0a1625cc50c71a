"""A receiver of alerts over real HTTP on loopback, and the alerts that every channel has to be able to tell.

Answers are scripted one by one; what arrived is kept as it came, with its headers and its path.
"""

from __future__ import annotations

import http.server
import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from collector.window.drift import Cause

SECRET_PATH = "/services/T000SECRETPATH/B000?sig=SECRETQUERY"
SECRETS = ("SECRETPATH", "SECRETQUERY", "SECRETBODY", "SECRETHEADER", "SECRETKEY")

AT = "2026-03-01T12:00:05.000000Z"
SINCE = "2026-03-01T12:00:00.000000Z"

HOSTILE = {
    "markup": "<b>bold</b> *bold* _it_ `code` [link](https://evil.example/) ![x](https://evil.example/i.png) & &amp;",
    "mentions": "<!channel> <!here> <@U0123> <#C01|general> <at>everyone</at> @everyone @here @channel <@&123>",
    "lines": "one\r\nBcc: x@evil.example\r\n\r\nbody\u2028two\x00\x1b[31m\ttab",
    "long": "arn:aws:s3:::" + "<&>*\U0001f4a3" * 2_000,
    "right to left": "\u202egpj.exe\u202c \u2067\u05d0\u05d1\u2069 \u05d0\u05d1\u05d2 \u0627\u0644\u0639",
    "expressions": "{{DATE(2017-02-14T06:08:00Z,SHORT)}} ${env.SECRET} @{triggerBody()} {{ .Labels.x }} %s {0} $(id)",
    "quotes": '"\'\\"}],"text":"injected"',
}


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What to answer: status, body, more headers; ``drip`` sends header after header and never an end."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drip: bool = False


class Receiver:
    """Keeps what arrives in ``received``; answers with ``answers`` in turn, then with ``usual``."""

    def __init__(self, usual: Answer) -> None:
        receiver = self
        self.received: list[Received] = []
        self.answers: list[Answer] = []
        self.usual = usual
        self.over = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(Received(self.path, dict(self.headers), body))
                answer = receiver.answers.pop(0) if receiver.answers else receiver.usual
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.drip:
                    self.drip()
                    return
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def drip(self) -> None:
                try:
                    for number in itertools.count():
                        self.send_header(f"X-{number}", "x")
                        self.flush_headers()
                        if receiver.over.wait(0.05):
                            return
                except OSError:
                    pass

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_port}"
        self.url = self.base + SECRET_PATH
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def alert(cause: str = "failed", event: str = "trigger", **changes: Any) -> dict[str, Any]:
    """The body of an alert entry as ``alert.route`` makes it, of any cause and event."""
    house = cause == "anchor"
    found: dict[str, Any] = {
        "seq": 7 if event == "trigger" else 9,
        "kind": "alert",
        "at": AT,
        "key": "0123456789abcdef0123456789abcdef",
        "event": event,
        "cause": cause,
        "severity": "high",
        "check": "" if house or cause in ("missed", "late") else "aws-iam-user-mfa",
        "scope": "" if house else "aws/123456789012",
        "subject": "tsa/freetsa"
        if house
        else ""
        if cause in ("missed", "late")
        else "arn:aws:iam::123456789012:user/a",
        "control": "" if house else "MFA-2",
        "owner": "" if house else "identity",
        "family": "" if house else "mfa",
        "title": "Every IAM user with a console password has MFA.",
        "reason": "has a console password and no MFA",
        "remedy": "enrol a device.",
        "since": SINCE,
        "last_good": 120,
        "first_bad": 131,
        "channels": ["pager"],
    }
    return {**found, **changes}


def digest() -> dict[str, Any]:
    """A digest: an alert entry about nothing in particular, with lines."""
    lines = ["Open: 2", *(f"{number}: <!channel> *x* & co" for number in range(30))]
    return alert(event="digest", cause="", check="", scope="", subject="", control="", owner="", family="", title="",
                 remedy="", last_good=None, first_bad=None, reason="2 stand open", lines=lines)  # fmt: skip


def every() -> Iterator[dict[str, Any]]:
    """A trigger and a resolve of each cause there is, and what is told in between."""
    for cause in Cause:
        for event in ("trigger", "resolve"):
            yield alert(cause.value, event)
    for event in ("escalate", "update", "acknowledge"):
        yield alert(event=event)
    yield digest()
    yield grouped()


def grouped() -> dict[str, Any]:
    """One alert for 400 buckets, with all that an alert can say."""
    return alert(
        subject="",
        group=7,
        count=400,
        left=400,
        subjects=[f"arn:aws:s3:::bucket-{number}" for number in range(50)],
        list="ab" * 32,
        flaps=True,
        link="https://evidence.example.com/alerts/7?a=1&b=2",
        facts=[{"fact": "mfa", "before": "true", "after": "false", "count": 400}],
        changed_by={"who": "ann", "event": "DeleteBucketPolicy", "when": AT, "source": "CloudTrail", "request": "r-1"},
    )


def hostile() -> Iterator[dict[str, Any]]:
    """Alerts whose names try to format, to mention, to break lines, to turn direction, or to be too long."""
    names = ("subject", "scope", "reason", "remedy", "control", "owner", "title", "check", "family")
    for text in HOSTILE.values():
        yield alert(**dict.fromkeys(names, text))
        yield alert(event="resolve", **dict.fromkeys(names, text))
        yield {**grouped(), **dict.fromkeys(names, text), "subjects": [text] * 50, "lines": [text] * 200, "link": text}
