"""The DER that time stamps are made of: what is written is read back, and nothing else is read."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.anchor import der
from collector.anchor.der import BadDer, Reader
from collector.anchor.timestamp import Answer, BadStamp
from tests.support.openssl_tsa import OPENSSL


@given(st.integers(-(2**200), 2**200))
def test_integers(value: int) -> None:
    written = der.integer(value)
    reader = Reader(written)
    assert reader.integer() == value
    reader.end()
    content = written[2:] if written[1] < 0x80 else written[3:]
    longer = der.element(der.INTEGER, (b"\xff" if value < 0 else b"\x00") + content)
    with pytest.raises(BadDer, match="as short as it can be"):
        Reader(longer).integer()


@given(
    st.one_of(
        st.tuples(st.integers(0, 1), st.integers(0, 39)),
        st.tuples(st.just(2), st.integers(0, 2**40)),
    ),
    st.lists(st.integers(0, 2**70), max_size=8),
)
def test_object_identifiers(first: tuple[int, int], rest: list[int]) -> None:
    dotted = ".".join(map(str, (*first, *rest)))
    assert Reader(der.oid(dotted)).oid() == dotted


@given(st.binary(max_size=70_000), st.sampled_from([0, 127, 128, 255, 256, 65_535, 65_536]))
def test_lengths(content: bytes, size: int) -> None:
    for each in (content, bytes(size)):
        outer = Reader(der.octets(each) + b"rest")
        assert outer.take(der.OCTETS) == each
        with pytest.raises(BadDer, match="4 bytes too many"):
            outer.end()


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year >= 1000))
def test_times(moment: datetime) -> None:
    assert Reader(der.generalized_time(moment)).time() == moment.replace(microsecond=0)


def test_times_of_other_zones_and_of_none() -> None:
    moment = datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert Reader(der.generalized_time(moment)).time() == datetime(2026, 2, 28, 23, tzinfo=UTC)
    with pytest.raises(ValueError, match="no time zone"):
        der.generalized_time(moment.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("text", "microsecond"), [("20260301120000.5Z", 500_000), ("20260301120000.123456789Z", 123_456)]
)
def test_fractions(text: str, microsecond: int) -> None:
    assert Reader(der.element(der.TIME, text.encode())).time().microsecond == microsecond


@pytest.mark.parametrize(
    "text",
    [
        "20260301120000",
        "20260301120000+0100",
        "202603011200Z",
        "20260301120000.Z",
        "20260301120000.50Z",
        "20260301120000,5Z",
        "20261301120000Z",
        "20260230120000Z",
        "20260301126000Z",
        "٢٠٢٦٠٣٠١١٢٠٠٠٠Z",
        "20260301120000Z\n",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(BadDer, match="no time"):
        Reader(der.element(der.TIME, text.encode())).time()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x80\x00\x00",  # without a definite length
        b"\x30\x81\x7f" + bytes(0x7F),  # a length that is longer than it must be
        b"\x30\x82\x00\x80" + bytes(0x80),
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x82\x01",
        b"\x30\x02\x00",
        b"\x31\x00",
    ],
)
def test_what_is_no_sequence(data: bytes) -> None:
    with pytest.raises(BadDer):
        Reader(data).inside()


@pytest.mark.parametrize("content", [b"", b"\x80\x01", b"\x2a\x80\x01", b"\x2a\x86"])
def test_what_is_no_object_identifier(content: bytes) -> None:
    with pytest.raises(BadDer):
        Reader(der.element(der.OID, content)).oid()


def test_sets_are_sorted() -> None:
    parts = (der.octets(b"longer"), der.integer(7), der.octets(b"b"), der.octets(b"a"))
    expected = der.element(der.SET, der.integer(7), der.octets(b"a"), der.octets(b"b"), der.octets(b"longer"))
    assert der.set_of(*parts) == expected


@pytest.mark.skipif(OPENSSL is None, reason="there is no openssl command here")
def test_openssl_reads_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(
        der.sequence(
            der.integer(-129),
            der.integer(2**64),
            der.boolean(True),
            der.oid("1.2.840.113549.1.9.16.1.4"),
            der.generalized_time(datetime(2026, 3, 1, 12, tzinfo=UTC)),
            der.element(der.NULL),
            der.element(der.context(3), der.set_of(der.octets(bytes(300)))),
        )
    )
    command = [OPENSSL, "asn1parse", "-inform", "DER", "-in", tmp_path / "data"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for words in (":-81", ":010000000000000000", ":255", ":id-smime-ct-TSTInfo", ":20260301120000Z", "cont [ 3 ]"):
        assert words in found
    assert "l= 300" in found


@given(st.binary(max_size=200))
def test_noise_is_no_answer(data: bytes) -> None:
    with pytest.raises(BadStamp):
        Answer.parse(data)


@given(st.lists(st.sampled_from([0x30, 0x31, 0xA0, 0x02, 0x06, 0x18, 0x03, 0x0C]), min_size=1, max_size=40), st.data())
def test_nested_noise_is_no_answer(tags: list[int], data: st.DataObject) -> None:
    value = data.draw(st.binary(max_size=8))
    for tag in tags:
        value = der.element(tag, value, data.draw(st.sampled_from([b"", der.integer(0), der.sequence()])))
    try:
        answer = Answer.parse(der.sequence(value))
    except BadStamp:
        return
    assert answer.stamp is None
