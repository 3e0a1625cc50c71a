"""A real time stamping authority behind HTTP on loopback: ``openssl ts -reply``, with RSA keys and a chain of three.

What it is told to do wrong is done to the query on its way in or to the answer on its way out: it signs honestly.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collector.anchor import der
from collector.anchor.der import Reader
from collector.demo.tsa import Faults

OPENSSL = shutil.which("openssl")
POLICY, OTHER_POLICY = "1.3.6.1.4.1.99999.7", "1.3.6.1.4.1.99999.8"
CONFIG = """\
[tsa]
default_tsa = it
[it]
serial = serial
crypto_device = builtin
signer_cert = leaf.pem
signer_key = leaf.key
certs = middle.pem
signer_digest = sha512
default_policy = {policy}
other_policies = {other}
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
{more}
"""


class OpensslTsa:
    """Listens from construction until ``close``. ``more`` is added to the authority's configuration.

    OpenSSL sends certificates in the order of the chain, DER wants the shorter one first: when ``ordered``, the one in
    the middle is longer than the leaf, and else it is not.
    """

    def __init__(self, folder: Path, *, ordered: bool, more: str = "") -> None:
        self.faults = Faults()
        self._folder = folder
        self._lock = threading.Lock()
        sizes = (3072, 3072, 2048) if ordered else (2048, 2048, 2048)
        self._root_key, self._middle_key, key = (rsa.generate_private_key(65537, bits) for bits in sizes)
        now = datetime.now(UTC)
        ages = (now - timedelta(days=3000), now + timedelta(days=3000))
        self.root = _certificate("Root", self._root_key, "Root", self._root_key, ages, authority=True)
        self._middle = _certificate("Middle", self._middle_key, "Root", self._root_key, ages, authority=True)
        (folder / "middle.pem").write_bytes(self._middle.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "leaf.key").write_bytes(pem)
        self._key = key
        self.renew(*ages)
        (folder / "serial").write_text("01\n")
        (folder / "tsa.cnf").write_text(CONFIG.format(policy=POLICY, other=OTHER_POLICY, more=more))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def root_pem(self) -> bytes:
        return self.root.public_bytes(Encoding.PEM)

    def renew(self, since: datetime, until: datetime) -> None:
        """Signs with a certificate that is valid from ``since`` to ``until``."""
        leaf = _certificate("Leaf", self._key, "Middle", self._middle_key, (since, until), authority=False)
        (self._folder / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, query: bytes) -> bytes:
        with self._lock:
            (self._folder / "query.tsq").write_bytes(_altered(query, self.faults))
            subprocess.run(
                [OPENSSL, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq", "-out", "answer.tsr"],
                cwd=self._folder,
                check=True,
                capture_output=True,
            )
            answer = (self._folder / "answer.tsr").read_bytes()
        return self.faults.edit(answer) if self.faults.edit else answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        tsa = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                answer = tsa.reply(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def _altered(query: bytes, faults: Faults) -> bytes:
    """The query that an authority would be answering that does what ``faults`` says."""
    outer = Reader(query).inside()
    version = outer.integer()
    imprint = outer.inside()
    algorithm, digest = imprint.take(der.SEQUENCE), imprint.take(der.OCTETS)
    policy = outer.oid() if outer.next_is(der.OID) else ""
    nonce = outer.integer() + faults.nonce
    policy = faults.policy or policy
    digest = hashlib.sha256(digest).digest() if faults.imprint else digest
    return der.sequence(
        der.integer(version),
        der.sequence(der.sequence(algorithm), der.octets(digest)),
        der.oid(policy) if policy else b"",
        der.integer(nonce),
        der.boolean(True),
    )


def _certificate(
    name: str,
    key: rsa.RSAPrivateKey,
    issuer: str,
    issuer_key: rsa.RSAPrivateKey,
    ages: tuple[datetime, datetime],
    *,
    authority: bool,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ages[0])
        .not_valid_after(ages[1])
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False), critical=True
        )
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"OpenSSL TSA {name}")])
