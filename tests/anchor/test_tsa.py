"""Time stamps by a real authority (openssl) and by the simulated one: what counts as one, and what does not."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rfc3161_client
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from collector.anchor import der
from collector.anchor import tsa as module
from collector.anchor.base import Anchored
from collector.anchor.timestamp import Answer, BadStamp, request
from collector.anchor.tsa import Tsa, load_roots, verify
from collector.config_places import TsaPlace
from collector.demo import tsa as simulated
from collector.demo.tsa import POLICY, Faults, SimulatedTsa
from collector.errors import ConfigError, Denied, Throttled, Unavailable, Unreadable
from collector.ledger.note import TreeHead
from tests.anchor.conftest import NOW, Clock, checkpoint, no_proof
from tests.support.openssl_tsa import OPENSSL, OTHER_POLICY, OpensslTsa

DAY = timedelta(days=1)
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="there is no openssl command here")


@dataclass
class Authority:
    """A running authority, and the file of its root."""

    server: OpensslTsa | SimulatedTsa
    roots: Path
    now: Callable[[], datetime]
    policies: tuple[str, str]  # its own, and another that it knows

    @property
    def faults(self) -> Faults:
        return self.server.faults

    def place(self, **changes: object) -> Tsa:
        settings = {"url": self.server.url, "roots": self.roots, **changes}
        return Tsa("here", TsaPlace.model_validate(settings))


@pytest.fixture(scope="session")
def openssl_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], OpensslTsa]]:
    running: dict[bool, OpensslTsa] = {}

    def open_(ordered: bool) -> OpensslTsa:
        if ordered not in running:
            running[ordered] = OpensslTsa(tmp_path_factory.mktemp("openssl-tsa"), ordered=ordered)
        return running[ordered]

    yield open_
    for server in running.values():
        server.close()


@pytest.fixture
def simulation(clock: Clock) -> Iterator[SimulatedTsa]:
    server = SimulatedTsa(clock, policies=(POLICY, OTHER_POLICY))
    yield server
    server.close()


@pytest.fixture
def simulated_authority(simulation: SimulatedTsa, clock: Clock, tmp_path: Path) -> Authority:
    (tmp_path / "root.pem").write_bytes(simulation.root_pem)
    return Authority(simulation, tmp_path / "root.pem", clock, (POLICY, OTHER_POLICY))


KINDS = [
    pytest.param("simulated", id="simulated"),
    # rfc3161-client refuses to read the ones below (InvalidSetOrdering): openssl verifies instead.
    pytest.param("simulated-unsorted", id="simulated-unsorted", marks=needs_openssl),
    pytest.param("openssl", id="openssl", marks=needs_openssl),
    pytest.param("openssl-unsorted", id="openssl-unsorted", marks=needs_openssl),
]


@pytest.fixture(params=KINDS)
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Authority]:
    """One of each kind; all of them do nothing wrong until they are told to."""
    if request.param.startswith("simulated"):
        found = request.getfixturevalue("simulated_authority")
        found.faults.unsorted = request.param == "simulated-unsorted"
        yield found
        return
    server = request.getfixturevalue("openssl_authorities")(request.param == "openssl")
    (tmp_path / "root.pem").write_bytes(server.root_pem)
    yield Authority(server, tmp_path / "root.pem", lambda: datetime.now(UTC), ("1.3.6.1.4.1.99999.7", OTHER_POLICY))
    server.faults = Faults()


def put(place: Tsa, size: int = 592) -> Anchored:
    return place.put(*checkpoint(size), no_proof)


def refused(place: Tsa, kind: type[Exception] = Unreadable) -> str:
    """What the place says when it does not believe the authority."""
    with pytest.raises(kind) as caught:
        put(place)
    with pytest.raises(kind):
        place.test()  # and it would have been noticed at the start
    return str(caught.value)


# --- what counts ---


def test_a_checkpoint_is_stamped(authority: Authority, note: bytes) -> None:
    place = authority.place()
    before = authority.now()
    place.test()
    stamped = put(place)
    assert place.id == "tsa/here"
    assert place.latest() is None
    assert (stamped.suffix, stamped.where) == ("tsr", authority.server.url)
    assert stamped.time is not None
    assert before - timedelta(seconds=2) < stamped.time <= authority.now()
    assert verify(stamped.token, note, load_roots(authority.roots)) == stamped.time


@needs_openssl
def test_a_stranger_verifies_the_token_with_openssl_alone(authority: Authority, note: bytes, tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(note)
    (tmp_path / "changed").write_bytes(note.replace(b"592", b"593"))
    (tmp_path / "token.tsr").write_bytes(put(authority.place()).token)

    def check(data: str) -> subprocess.CompletedProcess[str]:
        command = [OPENSSL, "ts", "-verify", "-data", data, "-in", "token.tsr", "-CAfile", authority.roots]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert check("note").stdout == "Verification: OK\n"
    assert check("changed").returncode == 1


def test_the_simulated_token_is_what_the_library_takes(simulated_authority: Authority, note: bytes) -> None:
    token = put(simulated_authority.place()).token
    response = rfc3161_client.decode_timestamp_response(token)
    roots = list(load_roots(simulated_authority.roots))
    assert rfc3161_client.VerifierBuilder(roots=roots).build().verify_message(response, note)
    assert response.tst_info.gen_time == NOW
    assert response.tst_info.policy.dotted_string == POLICY
    with pytest.raises(rfc3161_client.VerificationError):
        rfc3161_client.VerifierBuilder(roots=roots).build().verify_message(response, note + b"x")


@needs_openssl
def test_fractions_of_a_second_are_kept(tmp_path: Path) -> None:
    server = OpensslTsa(tmp_path, ordered=True, more="clock_precision_digits = 6")
    try:
        (tmp_path / "root.pem").write_bytes(server.root_pem)
        place = Tsa("here", TsaPlace.model_validate({"url": server.url, "roots": tmp_path / "root.pem"}))
        times = {put(place).time for _ in range(4)}
    finally:
        server.close()
    assert any(found.microsecond for found in times if found)  # four times in a row 0 is not to be expected


@needs_openssl
def test_what_is_asked_for(tmp_path: Path, note: bytes) -> None:
    (tmp_path / "query").write_bytes(request(note, 0x8000_0000_0000_0001, "1.2.840.4"))
    command = [OPENSSL, "ts", "-query", "-in", "query", "-text"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "Hash Algorithm: sha256" in text
    assert "Policy OID: 1.2.840.4" in text
    assert "Nonce: 0x8000000000000001" in text
    assert "Certificate required: yes" in text
    digits = "".join(line[11:58] for line in text.splitlines() if line.startswith("    00"))
    assert bytes.fromhex(digits.replace("-", " ")) == hashlib.sha256(note).digest()


def test_no_nonce_is_sent_twice(simulated_authority: Authority) -> None:
    tokens = [put(simulated_authority.place()).token for _ in range(20)]
    assert len({Answer.parse(token).granted.nonce for token in tokens}) == 20


def test_the_policy_that_was_asked_for(authority: Authority) -> None:
    own, other = authority.policies
    assert Answer.parse(put(authority.place()).token).granted.policy == own
    assert Answer.parse(put(authority.place(policy=other)).token).granted.policy == other


# --- what does not: trust.md B.3 ---


def test_a_stamp_over_another_checkpoint(authority: Authority, note: bytes) -> None:
    stamped = put(authority.place())
    with pytest.raises(BadStamp, match="something else than this checkpoint"):
        verify(stamped.token, checkpoint(593)[0], load_roots(authority.roots))
    authority.faults.imprint = True
    assert "something else than this checkpoint" in refused(authority.place())


def test_a_digest_of_another_kind_is_another_digest(simulated_authority: Authority, note: bytes) -> None:
    stamp = Answer.parse(put(simulated_authority.place()).token).granted
    stamp.check(note, stamp.nonce, POLICY)
    with pytest.raises(BadStamp, match="something else"):
        replace(stamp, algorithm="2.16.840.1.101.3.4.2.8").check(note, stamp.nonce, POLICY)  # SHA3-256


def test_an_answer_to_another_request(authority: Authority) -> None:
    authority.faults.nonce = True
    assert "another nonce" in refused(authority.place())


def test_an_answer_that_is_replayed(authority: Authority) -> None:
    old = put(authority.place()).token
    authority.faults.edit = lambda answer: old
    with pytest.raises(Unreadable, match="another nonce"):
        put(authority.place())


def test_a_stamp_under_another_policy(authority: Authority) -> None:
    own, other = authority.policies
    authority.faults.policy = own
    assert f"under the policy {own}, and {other} was asked for" in refused(authority.place(policy=other))
    assert put(authority.place()).time  # who asks for none takes the authority's


def test_an_edited_time(authority: Authority) -> None:
    def edit(answer: bytes) -> bytes:
        year = Answer.parse(answer).granted.time.strftime("%Y%m%d").encode()
        assert answer.count(b"\x18\x0f" + year) == 1
        return answer.replace(b"\x18\x0f" + year, b"\x18\x0f20250101")

    authority.faults.edit = edit
    assert "verif" in refused(authority.place())


def test_another_root_of_the_same_name(authority: Authority, tmp_path: Path, clock: Clock) -> None:
    if isinstance(authority.server, SimulatedTsa):
        stranger: SimulatedTsa | OpensslTsa = SimulatedTsa(clock)
    else:
        (tmp_path / "other").mkdir()
        stranger = OpensslTsa(tmp_path / "other", ordered=True)
    stranger.close()
    assert stranger.root.subject == authority.server.root.subject
    place = authority.place(roots=_file(tmp_path / "stranger.pem", stranger.root_pem))
    assert "verif" in refused(place)
    both = _file(tmp_path / "both.pem", stranger.root_pem + authority.server.root_pem)
    assert put(authority.place(roots=both)).time


def test_a_certificate_that_had_expired(authority: Authority) -> None:
    now = authority.now()
    forever = (now - 3000 * DAY, now + 3000 * DAY)
    try:
        authority.server.renew(now - 700 * DAY, now - 300 * DAY)
        assert "expired" in refused(authority.place())
        authority.server.renew(now + 300 * DAY, now + 700 * DAY)
        assert "not yet valid" in refused(authority.place())
    finally:
        authority.server.renew(*forever)


@pytest.mark.parametrize("unsorted", [False, pytest.param(True, marks=needs_openssl)])
def test_a_certificate_that_expired_since(simulated_authority: Authority, clock: Clock, unsorted: bool) -> None:
    clock.now = datetime(2019, 6, 1, tzinfo=UTC)  # years before anybody runs this
    simulated_authority.faults.unsorted = unsorted
    simulated_authority.server.renew(clock.now - DAY, clock.now + DAY)
    assert put(simulated_authority.place()).time == clock.now
    clock.now += 2 * DAY
    assert "expired" in refused(simulated_authority.place())


PURPOSES = {
    "none": (None, True),
    "another": (ExtendedKeyUsageOID.SERVER_AUTH, True),
    "not critical": (ExtendedKeyUsageOID.TIME_STAMPING, False),
}


@pytest.mark.parametrize("unsorted", [False, pytest.param(True, marks=needs_openssl)])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_certificate_for_something_else(
    simulated_authority: Authority, simulation: SimulatedTsa, purpose: str, unsorted: bool
) -> None:
    usage, critical = PURPOSES[purpose]
    leaf = simulation.leaf
    builder = x509.CertificateBuilder(
        leaf.issuer, leaf.subject, leaf.public_key(), 77, leaf.not_valid_before_utc, leaf.not_valid_after_utc
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=critical)
    simulation.leaf = builder.sign(simulation._root_key, hashes.SHA256())
    simulation.faults.unsorted = unsorted
    refused(simulated_authority.place())


def test_no_byte_can_be_changed_but_those_that_say_nothing(simulated_authority: Authority, note: bytes) -> None:
    """Versions, and the name of the signature's algorithm, are not signed in CMS: they move no time and no imprint."""
    roots = load_roots(simulated_authority.roots)
    stamped = put(simulated_authority.place())
    accepted = []
    for position in range(len(stamped.token)):
        forged = bytearray(stamped.token)
        forged[position] ^= 1 << position % 8
        try:
            unread = module._by_library(bytes(forged), note, roots, None, "")
            said = Answer.parse(bytes(forged)).granted
        except BadStamp:
            continue
        if not unread:
            said.check(note, None, POLICY)
            assert said.time == stamped.time, position
            accepted.append(position)
    signature = der.oid("1.2.840.10045.4.3.2")
    named = range(stamped.token.rindex(signature) + 2, stamped.token.rindex(signature) + len(signature))
    assert set(accepted) - set(named) <= {
        position for position in range(len(stamped.token)) if stamped.token[position - 2 : position] == b"\x02\x01"
    }


@needs_openssl
def test_no_byte_of_an_unsorted_token_moves_its_time(simulated_authority: Authority, note: bytes) -> None:
    simulated_authority.faults.unsorted = True
    roots = load_roots(simulated_authority.roots)
    token = put(simulated_authority.place()).token
    signed = token.index(der.oid("1.2.840.113549.1.9.16.1.4"))  # where the TSTInfo begins
    refusals = 0
    for position in range(signed, len(token), 13):
        forged = bytearray(token)
        forged[position] ^= 0x10
        try:
            assert verify(bytes(forged), note, roots) == NOW, position
        except BadStamp:
            refusals += 1
    assert refusals > 60


# --- what the library cannot read ---


@needs_openssl
def test_openssl_verifies_what_the_library_cannot_read(simulated_authority: Authority, note: bytes) -> None:
    simulated_authority.faults.unsorted = True
    token = put(simulated_authority.place()).token
    with pytest.raises(ValueError, match="InvalidSetOrdering"):
        rfc3161_client.decode_timestamp_response(token)


def test_without_openssl_it_says_what_to_do(
    simulated_authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("openssl") is None
    assert put(simulated_authority.place()).time == NOW  # nobody needs it for this one
    simulated_authority.faults.unsorted = True
    said = refused(simulated_authority.place())
    assert "InvalidSetOrdering" in said
    assert "install openssl" in said


def test_an_openssl_that_fails_verifies_nothing(
    simulated_authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    simulated_authority.faults.unsorted = True
    for body, reason in (
        ("exit 0", "no reason given"),
        ("echo 'Verification: OK'; exit 1", "no reason given"),
        ("echo '40:error:17800064:time stamp routines:f:unexpected thing:a.c:1:data' >&2; exit 1", "unexpected thing"),
        ("exec sleep 5", "TimeoutExpired"),
    ):
        script = _file(tmp_path / "openssl", f"#!/bin/sh\n{body}\n".encode())
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.setattr(module, "OPENSSL_SECONDS_MAX", 0.5)
        with pytest.raises(Unreadable, match=reason):
            put(simulated_authority.place())


@needs_openssl
def test_a_library_that_panics_is_one_that_cannot_read(
    simulated_authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    panic = type("PanicException", (BaseException,), {})

    def decode(data: bytes) -> object:
        raise raised

    monkeypatch.setattr(rfc3161_client, "decode_timestamp_response", decode)
    raised: BaseException = panic("called `Result::unwrap()` on an `Err` value")
    assert put(simulated_authority.place()).time == NOW
    raised = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        put(simulated_authority.place())


# --- authorities that refuse, and that do not answer ---


@pytest.mark.parametrize(
    ("bit", "kind", "word"),
    [
        (simulated.BAD_ALGORITHM, Denied, "badAlg"),
        (simulated.UNACCEPTED_POLICY, Denied, "unacceptedPolicy"),
        (simulated.TIME_NOT_AVAILABLE, Unavailable, "timeNotAvailable"),
        (25, Unavailable, "systemFailure"),
        (30, Denied, "failure 30"),
    ],
)
def test_a_refusal_says_why(simulated_authority: Authority, bit: int, kind: type[Exception], word: str) -> None:
    simulated_authority.faults.reject = bit
    said = refused(simulated_authority.place(), kind)
    assert word in said
    assert "rejected" in said
    assert "'told to refuse'" in said


@needs_openssl
def test_a_policy_that_the_authority_does_not_have(authority: Authority) -> None:
    assert "unacceptedPolicy" in refused(authority.place(policy="1.2.3.4"), Denied)


@pytest.mark.parametrize("status", [1, 3, 4, 5])
def test_only_granted_is_granted(simulated_authority: Authority, status: int) -> None:
    granted, other = der.sequence(der.integer(0)), der.sequence(der.integer(status))
    simulated_authority.faults.edit = lambda answer: answer.replace(granted, other, 1)
    kind = Unavailable if status == 3 else Denied
    assert "did not grant" in refused(simulated_authority.place(), kind)


def test_words_of_an_authority_are_short_and_printable(simulated_authority: Authority) -> None:
    words = der.element(der.UTF8, b"evil\r\n\x1b[31m\xff" + b"x" * 5000)
    simulated_authority.faults.edit = lambda answer: der.sequence(
        der.sequence(der.integer(2), der.sequence(words, words))
    )
    said = refused(simulated_authority.place(), Denied)
    assert len(said) < 350
    assert said.isprintable()


@pytest.mark.parametrize(
    ("status", "kind", "word"),
    [
        (500, Unavailable, "HTTP 500"),
        (503, Unavailable, "HTTP 503"),
        (404, Unavailable, "see that the URL is right"),
        (302, Unavailable, "redirects are not followed"),
        (204, Unavailable, "HTTP 204"),
        (401, Denied, "HTTP 401"),
        (403, Denied, "HTTP 403"),
        (429, Throttled, "HTTP 429"),
    ],
)
def test_http_statuses(simulated_authority: Authority, status: int, kind: type[Exception], word: str) -> None:
    simulated_authority.faults.http = status
    assert word in refused(simulated_authority.place(), kind)
    assert simulated_authority.server.issued == 0  # type: ignore[union-attr]


def test_silence(simulated_authority: Authority) -> None:
    simulated_authority.faults.stall = 30
    begun = time.monotonic()
    assert refused(simulated_authority.place(timeout="1s"), Unavailable) == "the place did not answer in time"
    assert time.monotonic() - begun < 10
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        place = simulated_authority.place(url=f"http://127.0.0.1:{nobody.getsockname()[1]}/")
        assert "ConnectionRefusedError" in refused(place, Unavailable)


def test_an_answer_that_is_far_too_long(simulated_authority: Authority) -> None:
    simulated_authority.faults.edit = lambda answer: answer + bytes(module.ANSWER_BYTES_MAX)
    assert "longer than" in refused(simulated_authority.place(), Unavailable)


@pytest.mark.parametrize("body", [b"", b"<html>welcome</html>", b"\x30", b"\x30\x80\x00\x00", b"\x30\x03\x30\x01\x00"])
def test_answers_that_are_none(simulated_authority: Authority, body: bytes) -> None:
    simulated_authority.faults.edit = lambda answer: body
    assert "no time stamp response" in refused(simulated_authority.place())


def test_granted_without_a_token(simulated_authority: Authority) -> None:
    simulated_authority.faults.edit = lambda answer: der.sequence(der.sequence(der.integer(0)))
    assert "sends no token" in refused(simulated_authority.place())


def test_something_behind_the_answer(simulated_authority: Authority) -> None:
    simulated_authority.faults.edit = lambda answer: answer + b"\x00"
    assert "1 bytes too many" in refused(simulated_authority.place())


# --- configuration ---


def test_roots_that_cannot_be_used(simulated_authority: Authority, tmp_path: Path) -> None:
    for content, word in (
        (None, "No such file"),
        (b"", "no PEM file of certificates"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no PEM file of certificates"),
        (b"x" * (module.ROOTS_BYTES_MAX + 1), "more than"),
    ):
        path = tmp_path / "bad.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=word):
            simulated_authority.place(roots=path)


def test_a_root_that_stands_twice_is_one(simulated_authority: Authority, tmp_path: Path) -> None:
    pem = simulated_authority.roots.read_bytes()
    assert put(simulated_authority.place(roots=_file(tmp_path / "twice.pem", pem + pem))).time == NOW


def test_the_library_is_an_extra(simulated_authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'evidence-collector\[anchors\]'"):
        simulated_authority.place()


def test_a_key_in_the_url_is_not_written_down(simulated_authority: Authority) -> None:
    url = simulated_authority.server.url
    assert put(simulated_authority.place(url=f"{url}?key=hidden")).where == url


# --- the simulated authority itself ---


def test_the_simulation_refuses_what_it_cannot_stamp(simulation: SimulatedTsa, head: TreeHead) -> None:
    for query, failure in (
        (b"", "badDataFormat"),
        (request(b"x", 1)[:-1], "badDataFormat"),
        (request(b"x", 1).replace(der.oid("2.16.840.1.101.3.4.2.1"), der.oid("2.16.840.1.101.3.4.2.2")), "badAlg"),
        (request(b"x", 1, "1.2.3"), "unacceptedPolicy"),
    ):
        answer = Answer.parse(simulation.reply(query))
        assert answer.stamp is None
        assert failure in answer.failures
    assert simulation.issued == 0


def test_the_simulation_counts(simulated_authority: Authority, clock: Clock) -> None:
    place = simulated_authority.place()
    stamps = []
    for _ in range(3):
        clock.now += timedelta(hours=1)
        stamps.append(Answer.parse(put(place).token).granted)
    assert [stamp.serial for stamp in stamps] == [1, 2, 3]
    assert [stamp.time for stamp in stamps] == [NOW + timedelta(hours=n) for n in (1, 2, 3)]


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
