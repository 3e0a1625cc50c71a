"""A loopback HTTPS proxy that ends TLS itself with a throw-away CA and answers from this process.

Nothing leaves the machine: a host that is not served is refused with 403 and remembered. What is answered is no
business of this room; it hands whole requests to one function and writes out what comes back.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK = "127.0.0.1"
HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 64 * 1024 * 1024
CONNECTIONS_MAX = 1024
BACKLOG = 256
IDLE_SECONDS_MAX = 300
CERTIFICATE_DAYS = 30
RECEIVE_BYTES = 65536

# SO_LINGER with zero seconds: closing sends a reset instead of an orderly end.
LINGER_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Request:
    """One HTTP request as it came out of TLS; header names in lower case, ``target`` is path and query."""

    method: str
    host: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """One answer. ``sent`` is how many bytes of the body go out before the line drops; None is all of them."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    sent: int | None = None


class Reset(Exception):
    """Raised by a handler instead of an answer: the connection is reset."""


Handler = Callable[[Request], Response]


class Authority:
    """A CA that lives as long as the proxy, with one certificate for each parent domain."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated cloud, throw-away CA")])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = self._builder(name, name, self._key.public_key(), ca=True).add_extension(usage, critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.bundle = folder / "ca.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        # Python 3.13 verifies strictly: the key identifiers must be there.
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def context(self, host: str) -> ssl.SSLContext:
        """A TLS server context whose certificate covers ``host`` and its siblings."""
        parent = host.partition(".")[2]
        with self._lock:
            found = self._contexts.get(parent)
            if found is None:
                found = self._contexts[parent] = self._issue(parent)
            return found

    def _issue(self, parent: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"*.{parent}"[:64])])
        certificate = (
            self._builder(subject, self._certificate.subject, key.public_key(), ca=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{parent}")]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / f"leaf-{len(self._contexts)}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.set_alpn_protocols(["http/1.1"])
        file.unlink()
        return context


@dataclass
class _Connection:
    """A socket with what was read of it beyond the last request."""

    socket: socket.socket
    rest: bytearray = field(default_factory=bytearray)

    def fill(self) -> bool:
        data = self.socket.recv(RECEIVE_BYTES)
        self.rest += data
        return bool(data)

    def head(self) -> str | None:
        """Everything up to the empty line; None when the other side is done."""
        start = 0
        while (end := self.rest.find(b"\r\n\r\n", start)) < 0:
            if len(self.rest) > HEAD_BYTES_MAX:
                raise ValueError("request head too long")
            start = max(0, len(self.rest) - 3)
            if not self.fill():
                return None
        return self.take(end + 4).decode("latin-1")

    def take(self, size: int) -> bytes:
        while len(self.rest) < size:
            if not self.fill():
                raise ConnectionError("the other side stopped in the middle")
        taken = bytes(self.rest[:size])
        del self.rest[:size]
        return taken

    def line(self) -> bytes:
        while b"\r\n" not in self.rest:
            if len(self.rest) > HEAD_BYTES_MAX or not self.fill():
                raise ConnectionError("no end of line")
        return self.take(self.rest.index(b"\r\n") + 2)[:-2]

    def chunks(self) -> bytes:
        """A body in chunked transfer encoding; trailers are read and dropped."""
        body = bytearray()
        while size := int(self.line().split(b";")[0], 16):
            if len(body) + size > BODY_BYTES_MAX:
                raise ValueError("request body too long")
            body += self.take(size)
            self.take(2)
        while self.line():
            pass
        return bytes(body)


class Proxy:
    """Listens on loopback from construction until ``close``."""

    def __init__(self, hosts: str, handler: Handler, folder: Path) -> None:
        """``hosts`` is a regular expression of what is served; certificates are written below ``folder``."""
        self._hosts = re.compile(hosts)
        self._handler = handler
        self._authority = Authority(folder)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closing = False
        self.refused: list[str] = []
        self._listener = socket.create_server((LOOPBACK, 0), backlog=BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def bundle(self) -> Path:
        """The PEM file that clients must trust."""
        return self._authority.bundle

    def close(self) -> None:
        self._closing = True
        for each in (self._listener, *self._open):
            _shut(each)
        self._thread.join(timeout=5)

    def _accept(self) -> None:
        while not self._closing:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                full = len(self._open) >= CONNECTIONS_MAX
                if not full:
                    self._open.add(accepted)
            if full:
                _shut(accepted)
                continue
            threading.Thread(target=self._serve, args=(accepted,), name="proxied", daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        current = accepted
        try:
            accepted.settimeout(IDLE_SECONDS_MAX)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            host = self._connect(_Connection(accepted))
            if host:
                # The wrapped socket takes over the descriptor, so the old object must be forgotten.
                current = self._authority.context(host).wrap_socket(accepted, server_side=True)
                with self._lock:
                    self._open.discard(accepted)
                    self._open.add(current)
                connection = _Connection(current)
                while not self._closing and self._exchange(connection, host):
                    pass
        except Reset:
            current.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        except (OSError, ValueError):
            pass  # the other side went away or spoke nonsense: there is nobody to tell
        finally:
            with self._lock:
                self._open.discard(accepted)
                self._open.discard(current)
            current.close()

    def _connect(self, connection: _Connection) -> str:
        """The host of the CONNECT line, "" when it was refused."""
        head = connection.head() or ""
        found = re.match(r"CONNECT ([^: ]+):(\d+) ", head)
        if found and self._hosts.fullmatch(found[1]):
            connection.socket.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            return found[1]
        with self._lock:
            self.refused.append(found[1] if found else head.partition("\r\n")[0])
        status = "403 Forbidden" if found else "405 Method Not Allowed"
        connection.socket.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        return ""

    def _exchange(self, connection: _Connection, host: str) -> bool:
        """Answers one request; whether the connection can carry another."""
        head = connection.head()
        if head is None:
            return False
        first, *lines = head[:-4].split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("expect", "").lower() == "100-continue":
            connection.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = connection.chunks()
        else:
            size = int(headers.get("content-length") or 0)
            if size > BODY_BYTES_MAX:
                raise ValueError("request body too long")
            body = connection.take(size)
        answer = self._handler(Request(method, headers.get("host", host), target, headers, body))
        head_lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
        head_lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        if not (method == "HEAD" and "Content-Length" in answer.headers):
            head_lines.append(f"Content-Length: {len(answer.body)}")
        out = ("\r\n".join(head_lines) + "\r\n\r\n").encode("latin-1")
        payload = b"" if method == "HEAD" else answer.body[: answer.sent]
        connection.socket.sendall(out + payload)
        return answer.sent is None and headers.get("connection", "").lower() != "close"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
