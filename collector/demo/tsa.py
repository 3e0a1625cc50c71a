"""A time stamping authority on loopback whose time is a clock that is handed in. Stands where a public one would.

Speaks RFC 3161 over HTTP and signs real tokens (CMS, ECDSA P-256) that OpenSSL and every other verifier take. What it
can be told to do wrong is what an authority, or somebody on the way to it, could do wrong.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collector.anchor import der
from collector.anchor.der import BadDer, Reader
from collector.anchor.timestamp import GRANTED, SHA256, SIGNED_DATA, TST_INFO

POLICY = "1.3.6.1.4.1.99999.1"  # of a private enterprise number that nobody has
NAME = "Simulated TSA"
REQUEST_BYTES_MAX = 65_536
DIGEST_BYTES = {SHA256: 32, "2.16.840.1.101.3.4.2.2": 48, "2.16.840.1.101.3.4.2.3": 64}
# Long enough for simulated windows and for whoever verifies them in the real present.
SINCE, UNTIL = datetime(2015, 1, 1, tzinfo=UTC), datetime(2049, 1, 1, tzinfo=UTC)
REJECTED = 2
BAD_ALGORITHM, BAD_FORMAT, TIME_NOT_AVAILABLE, UNACCEPTED_POLICY = 0, 5, 14, 15  # of PKIFailureInfo
ECDSA_SHA256 = "1.2.840.10045.4.3.2"
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"


@dataclass
class Faults:
    """What the authority does wrong from now on. As it comes, nothing."""

    nonce: bool = False  # answers with another nonce than it was sent
    imprint: bool = False  # stamps something else than it was sent
    policy: str = ""  # stamps under this policy, whatever was asked for
    reject: int | None = None  # refuses with this bit of PKIFailureInfo
    http: int = 200  # answers with this status and no body
    stall: float = 0.0  # seconds that it does nothing before it answers
    unsorted: bool = False  # sends its root along, and the certificates not in the order of DER
    edit: Callable[[bytes], bytes] | None = None  # what somebody on the way does to the answer


@dataclass(frozen=True)
class _Query:
    algorithm: str
    imprint: bytes
    policy: str
    nonce: int | None
    certificates: bool


class SimulatedTsa:
    """Listens on loopback from construction until ``close``; ``issued`` counts the tokens that it signed."""

    def __init__(self, clock: Callable[[], datetime], *, policies: tuple[str, ...] = (POLICY,)) -> None:
        """``policies`` are those that may be asked for; the first is its own."""
        self.faults = Faults()
        self.issued = 0
        self._clock = clock
        self._policies = policies
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = _root(self._root_key)
        self.renew(SINCE, UNTIL)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/tsr"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="tsa", daemon=True).start()

    @property
    def root_pem(self) -> bytes:
        """The root certificate: what goes into ``roots``, and into the reader's ``tsa.pem``."""
        return self.root.public_bytes(Encoding.PEM)

    def renew(self, since: datetime, until: datetime) -> None:
        """Signs with a new key from now on, whose certificate is valid from ``since`` to ``until``."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.leaf = _leaf(self._key, self.root, self._root_key, since, until)

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    # --- the protocol ---

    def reply(self, request: bytes) -> bytes:
        """The TimeStampResp to a TimeStampReq, both in DER."""
        faults = self.faults
        try:
            query = _read(request)
        except BadDer as error:
            return _rejection(BAD_FORMAT, str(error))
        if len(query.imprint) != DIGEST_BYTES.get(query.algorithm):
            return _rejection(BAD_ALGORITHM, "the digest must be SHA-256, SHA-384 or SHA-512")
        if query.policy and query.policy not in self._policies:
            return _rejection(UNACCEPTED_POLICY, "no such policy here")
        if faults.reject is not None:
            return _rejection(faults.reject, "told to refuse")
        with self._lock:
            self.issued += 1
            serial = self.issued
        imprint = hashlib.sha256(query.imprint).digest() if faults.imprint else query.imprint
        nonce = query.nonce + 1 if faults.nonce and query.nonce is not None else query.nonce
        info = der.sequence(
            der.integer(1),
            der.oid(faults.policy or query.policy or self._policies[0]),
            der.sequence(_algorithm(SHA256 if faults.imprint else query.algorithm), der.octets(imprint)),
            der.integer(serial),
            der.generalized_time(self._clock()),
            der.sequence(der.integer(1)),  # accurate to a second
            b"" if nonce is None else der.integer(nonce),
        )
        certificates = _certificates(self.leaf, self.root, faults) if query.certificates else b""
        answer = der.sequence(der.sequence(der.integer(GRANTED)), self._token(info, certificates))
        return faults.edit(answer) if faults.edit else answer

    def _token(self, info: bytes, certificates: bytes) -> bytes:
        """A ContentInfo with SignedData over a TSTInfo (RFC 5652, RFC 3161 section 2.4.2)."""
        leaf = self.leaf.public_bytes(Encoding.DER)
        issuer = self.leaf.issuer.public_bytes()
        serial = der.integer(self.leaf.serial_number)
        # RFC 5035: binds the token to this one certificate. SHA-256 is the default and therefore not written.
        directory_name = der.element(der.context(4), issuer)
        certificate_id = der.sequence(
            der.octets(hashlib.sha256(leaf).digest()), der.sequence(der.sequence(directory_name), serial)
        )
        attributes = (
            _attribute(CONTENT_TYPE, der.oid(TST_INFO)),
            _attribute(MESSAGE_DIGEST, der.octets(hashlib.sha256(info).digest())),
            _attribute(SIGNING_CERTIFICATE_V2, der.sequence(der.sequence(certificate_id))),
        )
        # Signed as a set, sent under the tag [0]: RFC 5652 section 5.4.
        signature = self._key.sign(der.set_of(*attributes), ec.ECDSA(hashes.SHA256()))
        signer = der.sequence(
            der.integer(1),
            der.sequence(issuer, serial),
            _algorithm(SHA256),
            der.set_of(*attributes, tag=der.context(0)),
            der.sequence(der.oid(ECDSA_SHA256)),
            der.octets(signature),
        )
        signed = der.sequence(
            der.integer(3),
            der.set_of(_algorithm(SHA256)),
            der.sequence(der.oid(TST_INFO), der.element(der.context(0), der.octets(info))),
            certificates,
            der.set_of(signer),
        )
        return der.sequence(der.oid(SIGNED_DATA), der.element(der.context(0), signed))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        tsa = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), REQUEST_BYTES_MAX))
                if tsa.faults.stall:
                    tsa._closed.wait(tsa.faults.stall)
                status, answer = tsa.faults.http, b""
                if self.headers.get("Content-Type") != "application/timestamp-query":
                    status = 415
                elif status == 200:
                    answer = tsa.reply(request)
                self.send_response(status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(answer)))
                if 300 <= status < 400:
                    self.send_header("Location", tsa.url)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing: the demo's terminal belongs to the story."""

        return Handler


def _read(request: bytes) -> _Query:
    """A TimeStampReq. Raises BadDer. Extensions are passed over: none is known here."""
    outer = Reader(request)
    query = outer.inside()
    outer.end()
    if query.integer() != 1:
        raise BadDer("a request of another version than 1")
    imprint = query.inside()
    algorithm = imprint.inside().oid()
    digest = imprint.take(der.OCTETS)
    imprint.end()
    policy = query.oid() if query.next_is(der.OID) else ""
    nonce = query.integer() if query.next_is(der.INTEGER) else None
    certificates = query.next_is(der.BOOLEAN) and query.take(der.BOOLEAN) == b"\xff"
    query.skip(der.context(0))
    query.end()
    return _Query(algorithm, digest, policy, nonce, certificates)


def _rejection(failure: int, words: str) -> bytes:
    bits = bytearray(failure // 8 + 1)
    bits[-1] = 0x80 >> failure % 8
    unused = 7 - failure % 8
    return der.sequence(
        der.sequence(
            der.integer(REJECTED),
            der.sequence(der.element(der.UTF8, words.encode())),
            der.element(der.BIT_STRING, bytes((unused,)), bytes(bits)),
        )
    )


def _algorithm(dotted: str) -> bytes:
    return der.sequence(der.oid(dotted), der.element(der.NULL))


def _attribute(dotted: str, value: bytes) -> bytes:
    return der.sequence(der.oid(dotted), der.set_of(value))


def _certificates(leaf: x509.Certificate, root: x509.Certificate, faults: Faults) -> bytes:
    if not faults.unsorted:
        return der.set_of(leaf.public_bytes(Encoding.DER), tag=der.context(0))
    both = sorted((leaf.public_bytes(Encoding.DER), root.public_bytes(Encoding.DER)), reverse=True)
    return der.element(der.context(0), *both)


# --- certificates ---


def _root(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{NAME} Root")])
    return (
        _builder(name, name, key, SINCE, UNTIL)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    key: ec.EllipticCurvePrivateKey,
    root: x509.Certificate,
    root_key: ec.EllipticCurvePrivateKey,
    since: datetime,
    until: datetime,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    return (
        _builder(name, root.subject, key, since, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        # RFC 3161 section 2.3: this one purpose, and critical.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(issuer, critical=False)
        .sign(root_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
