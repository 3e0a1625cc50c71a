"""What the signing keys of all clouds have in common: encodings, kinds of keys, and how patient a question is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from collector.clouds import signing
from collector.clouds.rest import Call, Reply, Trouble
from collector.clouds.signing import ECDSA_P256, ED25519, asked, der_of, public_of
from collector.clouds.signing_gcp import crc32c
from collector.errors import CollectorError, ConfigError, Denied, Throttled, Unavailable, Unreadable
from tests.support.signers import P256Signer

WHERE = "azurekv://kv.vault.azure.net/keys/log/" + "0" * 32
CALL = Call("POST", "https://kv.vault.azure.net/keys/log")
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@given(st.integers(1, ORDER - 1), st.integers(1, ORDER - 1))
def test_r_and_s_side_by_side_become_der_and_back(r: int, s: int) -> None:
    assert decode_dss_signature(der_of(WHERE, r.to_bytes(32) + s.to_bytes(32))) == (r, s)


def test_a_signature_in_der_of_its_parts_is_the_signature() -> None:
    signer = P256Signer(0xB0B)
    sizes = set()
    for number in range(2000):  # with leading zeros, which one in 256 has, and with the highest bit set
        signature = signer.sign(b"%d" % number)
        sizes.add(len(signature))
        r, s = decode_dss_signature(signature)
        assert der_of(WHERE, r.to_bytes(32) + s.to_bytes(32)) == signature
    assert {69, 70, 71, 72} <= sizes


@pytest.mark.parametrize("size", [0, 32, 63, 65, 96, 132])
def test_a_signature_of_another_curve_is_none(size: int) -> None:
    with pytest.raises(Unreadable, match=f"a signature of {size} bytes"):
        der_of(WHERE, bytes(size))


def spki(private: Any) -> bytes:
    found: bytes = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found


def test_public_keys_of_two_kinds_are_taken_and_no_others() -> None:
    first = ed25519.Ed25519PrivateKey.generate()
    assert public_of(WHERE, spki(first)) == signing.PublicKey(ED25519, first.public_key().public_bytes_raw())
    second = ec.generate_private_key(ec.SECP256R1())
    assert public_of(WHERE, spki(second)) == signing.PublicKey(ECDSA_P256, spki(second))
    for other, name in [
        (ec.generate_private_key(ec.SECP384R1()), "secp384r1"),
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
        (rsa.generate_private_key(65537, 2048), "RSA"),
        (ed448.Ed448PrivateKey.generate(), "Ed448"),
        (x25519.X25519PrivateKey.generate(), "X25519"),
        (dsa.generate_private_key(1024), "DSA"),
    ]:
        with pytest.raises(ConfigError, match=f"its key is of the kind _?{name}"):
            public_of(WHERE, spki(other))
    for none in (b"", b"nonsense", spki(second)[:-1]):
        with pytest.raises(Unreadable, match="the public key is none"):
            public_of(WHERE, none)


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    return Reply(status, headers, b"" if body is None else json.dumps(body).encode())


class Service:
    """Gives what it is told to, one after the other."""

    def __init__(self, *answers: Reply | Exception) -> None:
        self.answers = list(answers)
        self.slept: list[float] = []

    def send(self, call: Call) -> Reply:
        assert call is CALL
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def ask(self) -> dict[str, Any]:
        return asked(WHERE, CALL, self.send, trouble, self.slept.append)


def trouble(found: Reply, body: Any) -> Trouble | ConfigError:
    if found.status == 404:
        return signing.no_key(WHERE, "KeyNotFound")
    failure = {429: Throttled.code, 401: Denied.code, 403: Denied.code}.get(found.status, Unavailable.code)
    return Trouble(failure, f"HTTP{found.status}", "words\r\nover  lines", "do this", 7.0 if body == "wait" else 0.0)


def test_an_answer_is_given_back_at_once() -> None:
    service = Service(reply(200, {"a": 1}))
    assert service.ask() == {"a": 1}
    assert service.slept == []


@pytest.mark.parametrize("first", [reply(429), reply(500), ConnectionError("cut"), Unavailable("no token"), reply(503)])
def test_a_busy_service_is_asked_again(first: Any) -> None:
    service = Service(first, reply(200, {"a": 1}))
    assert service.ask() == {"a": 1}
    assert len(service.slept) == 1
    assert 0 <= service.slept[0] <= 1


def test_what_a_service_says_of_waiting_is_kept_within_patience() -> None:
    service = Service(reply(429, **{"retry-after": "3"}), reply(429, "wait"), reply(200, {}))
    assert service.ask() == {}
    assert service.slept == [3.0, 7.0]
    with pytest.raises(Throttled):
        Service(reply(429, **{"retry-after": "30"})).ask()


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ([reply(429)] * 4, Throttled, "HTTP429: words over lines; do this"),
        ([reply(500)] * 4, Unavailable, "HTTP500"),
        ([OSError("cut")] * 4, Unavailable, "no answer from the key service"),
        ([TimeoutError()] * 4, Unavailable, "TimeoutError"),
        ([Throttled("sign-in is busy")] * 4, Throttled, "sign-in is busy"),
        ([Denied("no credentials")], Denied, f"{WHERE}: no credentials"),
        ([reply(403)], Denied, "do this"),
        ([reply(404)], ConfigError, "no such key"),
        ([reply(401)] * 2, Denied, "HTTP401"),
        ([reply(200, [])], Unreadable, "no JSON object"),
        ([reply(200)], Unreadable, "no JSON object"),
    ],
)
def test_every_failure_ends_in_its_own_error(answers: Iterable[Any], error: type[CollectorError], words: str) -> None:
    service = Service(*answers)
    with pytest.raises(error) as raised:
        service.ask()
    assert words in str(raised.value)
    assert WHERE in str(raised.value)
    assert service.answers == []


def test_a_token_that_ran_out_on_the_way_is_worth_one_more_attempt() -> None:
    service = Service(reply(401), reply(200, {"a": 1}))
    assert service.ask() == {"a": 1}
    assert service.slept == []


# RFC 3720, B.4.
@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_the_published_checksums(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum
