"""What the tests of alerts share: drifts, alerts, a real ledger, a clock that stands until it is moved."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from collector import canonical
from collector.alert.route import dedup_key
from collector.alert.webhook import Webhook, verify
from collector.ledger.entry import Draft, Entry, Kind
from collector.ledger.seal import FileSigner
from collector.ledger.store import Ledger
from collector.window.drift import Cause, Drift, Event

ORIGIN = "evidence.example.com/test"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
USER = "arn:aws:iam::123456789012:user/ann"
FAILED = Drift(
    Cause.FAILED,
    Event.TRIGGER,
    "aws-iam-user-mfa",
    "aws/123456789012",
    USER,
    "has a console password and no MFA",
    START,
    120,
    131,
)


RESOLVED = replace(FAILED, event=Event.RESOLVE, reason="has a console password and MFA", last_good=140)


def fields(channels: list[str], drift: Drift) -> dict[str, Any]:
    """An alert entry's fields, as the ledger's readers know them."""
    return {
        "key": dedup_key(drift.cause, drift.check, drift.scope, drift.subject),
        "event": drift.event.value,
        "cause": drift.cause.value,
        "check": drift.check,
        "scope": drift.scope,
        "subject": drift.subject,
        "control": "MFA-2",
        "owner": "identity",
        "family": "mfa",
        "title": "Every IAM user with a console password has MFA.",
        "reason": drift.reason,
        "remedy": "enrol a device.",
        "since": canonical.stamp(drift.since),
        "last_good": drift.last_good,
        "first_bad": drift.first_bad,
        "channels": channels,
    }


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def unix(self) -> float:
        return self.now.timestamp()

    def pass_(self, **parts: float) -> None:
        self.now += timedelta(**parts)


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Book:
    """A real ledger on disk, with the few questions that tests of delivery ask."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._clock = clock
        self._url = f"sqlite:///{folder}/ledger.db"
        self._signer = FileSigner.open(folder / "log.key", ORIGIN, create=True)
        self.ledger = Ledger.open(self._url, origin=ORIGIN, signer=self._signer, create=True)

    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self._url, origin=ORIGIN, signer=self._signer)

    def trigger(self, *channels: str, **changes: Any) -> Entry:
        """Writes the alert that a user failed; ``changes`` are members of the drift."""
        return self._write(list(channels), replace(FAILED, **changes))

    def resolve(self, *channels: str, **changes: Any) -> Entry:
        """Writes the resolve of that alert."""
        return self._write(list(channels), replace(RESOLVED, **changes))

    def _write(self, channels: list[str], drift: Drift) -> Entry:
        with self.ledger.write() as batch:
            return batch.add(Draft(Kind.ALERT, self._clock(), fields(channels, drift)))

    def deliveries(self) -> list[dict[str, Any]]:
        return [entry.data for entry in self.ledger.entries(kinds=(Kind.DELIVERY,))]

    def outcomes(self) -> list[tuple[int, str, str]]:
        return [(data["alert"], data["channel"], data["outcome"]) for data in self.deliveries()]


@pytest.fixture
def book(tmp_path: Path, clock: Clock) -> Iterator[Book]:
    found = Book(tmp_path, clock)
    yield found
    found.ledger.verify()
    found.ledger.close()


def body(drift: Drift, seq: int) -> dict[str, Any]:
    return {**fields(["pager"], drift), "seq": seq, "kind": "alert", "at": canonical.stamp(START)}


@pytest.fixture
def alert() -> dict[str, Any]:
    """The body of an alert entry that says that a user failed."""
    return body(FAILED, 7)


@pytest.fixture
def resolve() -> dict[str, Any]:
    """The body of the alert entry that says that it is over."""
    return body(RESOLVED, 9)


# --- a receiver over real HTTP ---

SECRET = b"a secret of more than sixteen bytes"


@dataclass
class Request:
    """What arrived."""

    headers: Mapping[str, str]
    body: bytes
    genuine: bool

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.body)


class Receiver:
    """Verifies signatures, remembers what arrived, answers with ``statuses`` in turn and then with 200."""

    def __init__(self, clock: Clock) -> None:
        receiver = self
        self.requests: list[Request] = []
        self.statuses: list[int] = []
        self.stalled = threading.Event()
        self.stall = False

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                genuine = verify(SECRET, self.headers["X-Collector-Signature"], body, clock.unix())
                receiver.requests.append(Request(dict(self.headers), body, genuine))
                if receiver.stall:
                    receiver.stalled.wait(10)
                    return
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                self.send_response(status if genuine else 401)
                if 300 <= status < 400:
                    self.send_header("Location", receiver.url + "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:  # where a followed redirect would arrive
                receiver.requests.append(Request(dict(self.headers), b"", False))
                self.send_error(405)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/secret-path?token=abc"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.stalled.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def receiver(clock: Clock) -> Iterator[Receiver]:
    found = Receiver(clock)
    yield found
    found.close()


@pytest.fixture
def webhook(receiver: Receiver, clock: Clock) -> Webhook:
    return Webhook(receiver.url, SECRET, timeout=5, clock=clock.unix)


# --- a certificate of nobody ---


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of ``localhost`` in one PEM file, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    )
    return path
