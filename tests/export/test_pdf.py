"""README.pdf: the same bytes each time, the words of the README, names of any script, and nothing cut off."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from collector.export import pdf
from collector.export.columns import TABLES
from collector.export.dossier import Dossier, LeftOut
from collector.export.readme import NOT_PROVED


def streams(document: bytes) -> str:
    """All page contents, unpacked."""
    found = []
    for data in re.findall(rb"stream\r?\n(.*?)endstream", document, re.DOTALL):
        try:
            found.append(
                zlib.decompress(
                    base64.a85decode(data.strip(), adobe=False)
                    if b"~>" not in data
                    else base64.a85decode(b"<~" + data.strip(), adobe=True)
                )
            )
        except (ValueError, zlib.error):
            continue
    return b"\n".join(found).decode("latin-1")


def words(document: bytes) -> str:
    """What is drawn, as one line: strings of Tj operators, in order."""
    drawn = re.findall(r"\((?:[^()\\]|\\.)*\)\s*Tj", streams(document))
    text = " ".join(item[1 : item.rindex(")")] for item in drawn)
    return " ".join(
        re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), text).replace("\\(", "(").replace("\\)", ")").split()
    )


@pytest.fixture(scope="module")
def made(dossier: Dossier) -> bytes:
    return pdf.readme_pdf(dossier, "ab" * 32)


def test_the_same_dossier_gives_the_same_bytes_at_another_time(made: bytes, dossier: Dossier) -> None:
    time.sleep(1.1)  # a time of creation would differ
    assert pdf.readme_pdf(dossier, "ab" * 32) == made


def test_it_says_what_the_readme_says(made: bytes, dossier: Dossier) -> None:
    said = words(made)
    for text in (dossier.origin, dossier.name, "At a glance", "How to verify it", "What it does not prove", "ab" * 32):
        assert text in said
    for title, _ in NOT_PROVED:
        assert title in said
    for table in TABLES:
        assert f"{table.name}.csv" in said
    for control in dossier.controls:
        assert control.id in said


def test_exceptions_are_told_with_what_became_of_them(made: bytes, dossier: Dossier) -> None:
    said = words(made)
    assert f"{len(dossier.deviations)} exceptions." in said
    assert "alert delivered" in said
    assert "seen mended by run" in said
    assert "before the window" in said


def test_a_character_that_the_fonts_lack_stands_as_its_code_point(dossier: Dossier) -> None:
    assert pdf.plain("jiří <b>&") == "ji&lt;U+0159&gt;í &lt;b&gt;&amp;"
    assert pdf.plain("naïve “quotes” – €") == "naïve “quotes” – €"
    plain = replace(dossier, deviations=(), lives=())
    assert "stands as its code point" not in words(pdf.readme_pdf(plain))
    named = replace(plain, controls=(replace(plain.controls[0], owner="東京"), *plain.controls[1:]))
    said = words(pdf.readme_pdf(named))
    assert "stands as its code point" in said
    assert "<U+6771><U+4EAC>" in said.replace("< ", "<").replace(" >", ">").replace("> <", "><")


def test_hostile_names_are_text(dossier: Dossier) -> None:
    evil = "<para><b>&amp;</i> {x} \x00\x1b"
    hostile = replace(
        dossier,
        name=evil,
        origin=evil,
        assurance=evil,
        controls=tuple(replace(c, title=evil, owner=evil) for c in dossier.controls),
        deviations=tuple(replace(d, subject=evil * 40, reason=evil * 40) for d in dossier.deviations),
    )
    assert "<para><b>&amp;</i>" in words(pdf.readme_pdf(hostile))


def test_a_part_and_a_window_that_is_not_over_are_said_to_be(dossier: Dossier) -> None:
    later = replace(dossier, ends=dossier.until.replace(year=2027), left_out=LeftOut(3, 40, 50))
    said = words(pdf.readme_pdf(later))
    assert "This window is not over" in said
    assert "it leaves out 3 controls, 40 due slots and 50 runs" in said


def test_many_exceptions_are_cut_and_it_says_so(dossier: Dossier) -> None:
    one, life = dossier.deviations[0], dossier.lives[0]
    many = replace(dossier, deviations=(one,) * 100, lives=(life,) * 100)
    assert "The first 60 of 100 exceptions; all are in tables/exceptions.csv." in words(pdf.readme_pdf(many))


def test_an_empty_window_has_a_document(dossier: Dossier) -> None:
    empty = replace(
        dossier, controls=(), findings=(), coverage=(), slots=(), deviations=(), lives=(), alerts=(), changes=()
    )
    assert "None was seen." in words(pdf.readme_pdf(empty))


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="needs poppler-utils to draw the pages")
def test_nothing_is_drawn_outside_the_margins(made: bytes, tmp_path: Path) -> None:
    (tmp_path / "readme.pdf").write_bytes(made)
    command = ["pdftoppm", "-r", "40", "-gray", str(tmp_path / "readme.pdf"), str(tmp_path / "page")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    pages = sorted(tmp_path.glob("page-*.pgm"))
    assert len(pages) > 4
    for page in pages:
        magic, size, depth, pixels = page.read_bytes().split(b"\n", 3)
        width, height = map(int, size.split())
        assert (magic, depth, len(pixels)) == (b"P5", b"255", width * height)
        edge = int(width * 0.05)
        assert (
            min(
                min(pixels[y * width : y * width + edge] + pixels[(y + 1) * width - edge : (y + 1) * width])
                for y in range(height)
            )
            > 200
        ), page.name
        assert min(pixels) < 120, f"{page.name} is empty"
