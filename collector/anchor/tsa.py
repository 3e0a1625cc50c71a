"""Time stamps by an authority (RFC 3161) over HTTP: proof that a checkpoint was there at a time that we cannot choose.

Reads no ledger. The bytes of requests and answers are in timestamp.py; which time to expect is the verifier's business.
"""

from __future__ import annotations

import importlib.util
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from collector.anchor.base import Anchored, Believe, Consistency, anything
from collector.anchor.post import post, refuse
from collector.anchor.timestamp import GRANTED, TEMPORARY, Answer, BadStamp, request
from collector.config_places import TsaPlace
from collector.errors import ConfigError, Denied, Unavailable, Unreadable
from collector.ledger.note import TreeHead

ANSWER_BYTES_MAX = 262_144  # a token with its certificates has 1 to 8 kB
ROOTS_BYTES_MAX = 1_048_576
NONCE_BITS = 64
OPENSSL_SECONDS_MAX = 30
REASON_CHARACTERS_MAX = 200
TRIAL = b"a trial of evidence-collector: is this authority's answer one that can be verified?\n"
WAITING = 3


class Tsa:
    """One time stamping authority. A stamp is verified under the configured roots before it counts."""

    def __init__(self, name: str, place: TsaPlace) -> None:
        """Raises ConfigError when the roots cannot be read, or the library is not installed."""
        if importlib.util.find_spec("rfc3161_client") is None:
            raise ConfigError(f"[anchors.tsa.{name}] needs a library: pip install 'evidence-collector[anchors]'")
        self._name = name
        self._place = place
        self._roots = load_roots(place.roots)

    @property
    def id(self) -> str:
        return f"tsa/{self._name}"

    def test(self) -> None:
        """A whole round trip over a text of no meaning. Raises one of the ``CannotObserve`` family."""
        self._stamp(TRIAL)

    def put(self, note: bytes, head: TreeHead, consistency: Consistency) -> Anchored:
        """Has the SHA-256 of the note's exact bytes stamped. The token is the TimeStampResp as it came."""
        token, time = self._stamp(note)
        return Anchored(token, "tsr", time, self._place.url.partition("?")[0])

    def latest(self, believe: Believe = anything) -> TreeHead | None:
        """None: an authority keeps nothing."""
        return None

    def _stamp(self, note: bytes) -> tuple[bytes, datetime]:
        nonce = secrets.randbits(NONCE_BITS)
        status, body = post(
            self._place.url,
            request(note, nonce, self._place.policy),
            "application/timestamp-query",
            timeout=self._place.timeout,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        refuse(status, "the time stamping authority")
        try:
            answer = Answer.parse(body)
            if answer.status != GRANTED:
                _not_granted(answer)
            return body, verify(body, note, self._roots, nonce=nonce, policy=self._place.policy)
        except BadStamp as error:
            raise Unreadable(str(error)) from error


def _not_granted(answer: Answer) -> None:
    """Raises what the authority's refusal means."""
    try:
        answer.granted  # noqa: B018 - its error has the words
    except BadStamp as error:
        later = answer.status == WAITING or TEMPORARY.intersection(answer.failures)
        raise (Unavailable if later else Denied)(str(error)) from error


# --- verifying ---


def load_roots(path: Path) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            pem = file.read(ROOTS_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: the authority's roots cannot be read ({error.strerror}); "
            "put its root certificates there as PEM, from its own web page"
        ) from error
    if len(pem) > ROOTS_BYTES_MAX:
        raise ConfigError(f"{path}: more than {ROOTS_BYTES_MAX} bytes; name a file with the authority's roots only")
    try:
        return tuple(dict.fromkeys(x509.load_pem_x509_certificates(pem)))
    except ValueError as error:
        raise ConfigError(
            f"{path}: no PEM file of certificates; put the authority's root certificates there"
        ) from error


def verify(
    token: bytes, note: bytes, roots: Sequence[x509.Certificate], *, nonce: int | None = None, policy: str = ""
) -> datetime:
    """The time that ``token``, a TimeStampResp in DER, proves for the exact bytes of ``note``; in UTC.

    Status, imprint, policy and nonce fit (None and "" fit any), the signature is by a certificate for time stamping
    that chains to one of ``roots``, and all of them were valid at that time: they may have expired since. Raises
    BadStamp. Needs the extra ``anchors``.
    """
    stamp = Answer.parse(token).granted
    stamp.check(note, nonce, policy)
    unread = _by_library(token, note, roots, nonce, policy)
    if unread:
        # The library takes strict DER only; some authorities do not sort the certificates in their answers.
        _by_openssl(token, request(note, nonce, policy), roots, stamp.time, unread)
    return stamp.time


def _by_library(token: bytes, note: bytes, roots: Sequence[x509.Certificate], nonce: int | None, policy: str) -> str:
    """Raises BadStamp when the token is no good; answers why when it cannot be read, and "" when it is good."""
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    try:
        verifier = VerifierBuilder(
            policy_id=x509.ObjectIdentifier(policy) if policy else None, roots=list(roots), nonce=nonce
        ).build()
        verifier.verify_message(decode_timestamp_response(token), note)
    except VerificationError as error:
        raise BadStamp(f"the time stamp does not verify under the configured roots: {error}") from error
    except ValueError as error:
        return str(error)
    except BaseException as error:
        # Its Rust half panics, instead of raising, on some tokens that it decodes and then cannot take apart.
        if type(error).__name__ != "PanicException":
            raise
        return "it panicked"
    return ""


def _by_openssl(token: bytes, query: bytes, roots: Sequence[x509.Certificate], time: datetime, unread: str) -> None:
    """Verifies with ``openssl ts -verify``, as of ``time``. Raises BadStamp, also when there is no such command."""
    command = shutil.which("openssl")
    if command is None:
        raise BadStamp(
            f"rfc3161-client cannot read this authority's answers ({unread[:REASON_CHARACTERS_MAX]}), and there is no "
            "openssl command to verify them with; install openssl, or choose another authority"
        )
    with tempfile.TemporaryDirectory(prefix="collector-tsa-") as folder:
        files = {
            "query.tsq": query,
            "token.tsr": token,
            "roots.pem": b"".join(root.public_bytes(Encoding.PEM) for root in roots),
        }
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        arguments = ["-queryfile", "query.tsq", "-in", "token.tsr", "-CAfile", "roots.pem"]
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and nothing of the answer is an argument
                [command, "ts", "-verify", *arguments, "-attime", str(int(time.timestamp()))],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=OPENSSL_SECONDS_MAX,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BadStamp(f"openssl could not verify the time stamp: {type(error).__name__}") from error
    if done.returncode != 0 or b"Verification: OK" not in done.stdout:
        raise BadStamp(f"openssl does not verify the time stamp: {_reason(done.stderr)}")


def _reason(stderr: bytes) -> str:
    """The reasons out of OpenSSL's lines: thread, "error", code, library, function, reason, file, line, data."""
    lines = [line.split(":", 8) for line in stderr.decode("utf-8", "replace").splitlines()]
    reasons = [": ".join(filter(None, (line[5], *line[8:]))) for line in lines if len(line) > 7 and line[1] == "error"]
    return "; ".join(reasons)[:REASON_CHARACTERS_MAX] or "no reason given"
