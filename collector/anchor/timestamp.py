"""Requests and answers of RFC 3161 as bytes and values. No network; signatures are verified in tsa.py.

Sources: RFC 3161 sections 2.4.1 and 2.4.2, RFC 5652 section 5.1 (SignedData), RFC 5816 (SHA-2 in tokens).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from collector.anchor import der
from collector.anchor.der import BadDer, Reader

SHA256 = "2.16.840.1.101.3.4.2.1"
SIGNED_DATA = "1.2.840.113549.1.7.2"
TST_INFO = "1.2.840.113549.1.9.16.1.4"
GRANTED = 0
STATUSES = ("granted", "granted with changes", "rejected", "waiting", "revocation warning", "revoked")
FAILURES = {
    0: "badAlg",
    2: "badRequest",
    5: "badDataFormat",
    14: "timeNotAvailable",
    15: "unacceptedPolicy",
    16: "unacceptedExtension",
    17: "addInfoNotAvailable",
    25: "systemFailure",
}
TEMPORARY = frozenset(("timeNotAvailable", "systemFailure"))  # the authority's own trouble: ask again later
TEXT_CHARACTERS_MAX = 200


class BadStamp(ValueError):
    """An answer that is no time stamp over what was sent. The message says what is wrong with it."""


def request(note: bytes, nonce: int | None, policy: str = "") -> bytes:
    """A TimeStampReq over the SHA-256 of ``note`` that asks for the signer's certificate.

    ``policy`` is a dotted object identifier, "" for the authority's own.
    """
    return der.sequence(
        der.integer(1),
        der.sequence(der.sequence(der.oid(SHA256), der.element(der.NULL)), der.octets(hashlib.sha256(note).digest())),
        der.oid(policy) if policy else b"",
        b"" if nonce is None else der.integer(nonce),
        der.boolean(True),
    )


@dataclass(frozen=True)
class Stamp:
    """What a token says. Nothing of it is believed before its signature is."""

    policy: str
    algorithm: str  # of the imprint
    imprint: bytes
    serial: int
    time: datetime  # genTime, in UTC
    nonce: int | None

    def check(self, note: bytes, nonce: int | None, policy: str) -> None:
        """Whether it answers ``request(note, nonce, policy)``; a nonce of None fits any. Raises BadStamp."""
        if self.algorithm != SHA256 or self.imprint != hashlib.sha256(note).digest():
            raise BadStamp("the time stamp is over something else than this checkpoint")
        if nonce is not None and self.nonce != nonce:
            raise BadStamp("the time stamp carries another nonce than was sent: it answers another request")
        if policy and self.policy != policy:
            raise BadStamp(f"the time stamp is under the policy {self.policy}, and {policy} was asked for")


@dataclass(frozen=True)
class Answer:
    """A TimeStampResp, taken apart."""

    status: int
    text: str  # the authority's words, printable and short
    failures: tuple[str, ...]
    stamp: Stamp | None

    @classmethod
    def parse(cls, data: bytes) -> Answer:
        """Raises BadStamp for anything that is not exactly a TimeStampResp in DER."""
        try:
            outer = Reader(data)
            response = outer.inside()
            outer.end()
            info = response.inside()
            status = info.integer()
            text = _text(info.inside()) if info.next_is(der.SEQUENCE) else ""
            failures = _failures(info.take(der.BIT_STRING)) if info.next_is(der.BIT_STRING) else ()
            info.end()
            stamp = _stamp(response.inside()) if response.next_is(der.SEQUENCE) else None
            response.end()
        except BadDer as error:
            raise BadStamp(f"the answer is no time stamp response: {error}") from error
        if status not in range(len(STATUSES)):
            raise BadStamp(f"the answer has the status {status}, which RFC 3161 does not know")
        return cls(status, text, failures, stamp)

    @property
    def granted(self) -> Stamp:
        """The stamp of a granted request. Raises BadStamp, with the authority's reasons, when it was not."""
        if self.status != GRANTED:
            why = ", ".join((*self.failures, *([repr(self.text)] if self.text else ()))) or "no reason given"
            raise BadStamp(f"the authority did not grant the request: {STATUSES[self.status]} ({why})")
        if self.stamp is None:
            raise BadStamp("the authority says granted, and sends no token")
        return self.stamp


def _text(strings: Reader) -> str:
    found = []
    while strings.next_is(der.UTF8):
        found.append(strings.take(der.UTF8).decode("utf-8", "replace"))
    strings.end()
    words = "".join(c if c.isprintable() else " " for c in " ".join(found))
    return words[:TEXT_CHARACTERS_MAX].strip()


def _failures(bits: bytes) -> tuple[str, ...]:
    numbers = [8 * index + bit for index, byte in enumerate(bits[1:5]) for bit in range(8) if byte & 0x80 >> bit]
    return tuple(FAILURES.get(number, f"failure {number}") for number in numbers)


def _stamp(token: Reader) -> Stamp:
    """Out of a ContentInfo down to the TSTInfo."""
    if token.oid() != SIGNED_DATA:
        raise BadDer("the token is no CMS SignedData")
    explicit = token.inside(der.context(0))
    signed = explicit.inside()
    explicit.end()
    token.end()
    signed.integer()
    signed.take(der.SET)  # digest algorithms
    content = signed.inside()
    if content.oid() != TST_INFO:
        raise BadDer("the token signs something else than a TSTInfo")
    wrapped = content.inside(der.context(0))
    content.end()
    octets = Reader(wrapped.take(der.OCTETS))
    wrapped.end()
    info = octets.inside()
    octets.end()
    return _info(info)


def _info(info: Reader) -> Stamp:
    if info.integer() != 1:
        raise BadDer("the TSTInfo is not of version 1")
    policy = info.oid()
    imprint = info.inside()
    algorithm = imprint.inside().oid()  # parameters are NULL or absent, and mean nothing
    digest = imprint.take(der.OCTETS)
    imprint.end()
    serial = info.integer()
    time = info.time()
    info.skip(der.SEQUENCE)  # accuracy
    info.skip(der.BOOLEAN)  # ordering
    nonce = info.integer() if info.next_is(der.INTEGER) else None
    info.skip(der.context(0))  # the authority's name
    info.skip(der.context(1))  # extensions
    info.end()
    return Stamp(policy, algorithm, digest, serial, time, nonce)
