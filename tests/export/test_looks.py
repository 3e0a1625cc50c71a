"""What people open, opened with what people have: a spreadsheet, a browser, a drawer of PDFs. Skipped where absent."""

from __future__ import annotations

import csv
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from collector.export.columns import TABLES, Form, Table

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
SOFFICE = shutil.which("soffice") or ""
PAGES = ("README.html", "report.html", "controls/IAM-1.html", "controls/DATA-1.html")


def run(command: list[str], folder: Path) -> None:
    env = {**os.environ, "HOME": str(folder), "DBUS_SESSION_BUS_ADDRESS": "/dev/null"}
    subprocess.run(command, check=True, capture_output=True, timeout=180, env=env, cwd=folder)


@pytest.fixture(scope="module")
def opened(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every sheet of the workbook, as LibreOffice reads it and writes it again."""
    out = tmp_path_factory.mktemp("opened")
    options = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"
    run([SOFFICE, "--headless", "--convert-to", options, "--outdir", str(out), str(packed / "tables/tables.xlsx")], out)
    return out


@pytest.mark.skipif(not SOFFICE, reason="needs LibreOffice")
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_libreoffice_reads_the_workbook_as_the_csv_says(packed: Path, opened: Path, table: Table) -> None:
    with (opened / f"tables-{table.name}.csv").open(encoding="utf-8", newline="") as file:
        shown = list(csv.DictReader(file))
    with (packed / f"tables/{table.name}.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    local = {f"{column.name}_local" for column in table.columns if column.form is Form.TIME}
    assert len(shown) == len(written)
    assert written or table.name == "spots", "nothing was looked at again in this window"
    for theirs, ours in zip(shown, written, strict=True):
        for title, cell in ours.items():
            wanted = cell[:19].replace("T", " ") if title in local else cell
            assert theirs[title] == wanted, title


def pixels(path: Path) -> tuple[int, int, list[tuple[int, int, int]]]:
    """Width, height and every 97th pixel of a PNG as Chromium writes it: 8 bits, RGB or RGBA, no interlace."""
    data = path.read_bytes()
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert depth == 8
    step = {2: 3, 6: 4}[kind]
    packed, at = b"", 8
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        packed += data[at + 8 : at + 8 + size] if name == b"IDAT" else b""
        at += size + 12
    raw, stride = zlib.decompress(packed), width * step
    before, rows = bytearray(stride), []
    for y in range(height):
        line = bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        method = raw[y * (stride + 1)]
        for x in range(stride if method else 0):
            left, up = line[x - step] if x >= step else 0, before[x]
            corner = before[x - step] if x >= step else 0
            guess = left + up - corner
            paeth = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
            line[x] = (line[x] + (0, left, up, (left + up) // 2, paeth)[method]) & 255
        before = line
        rows += [tuple(line[x * step : x * step + 3]) for x in range(y * 7 % 97, width, 97)]
    return width, height, rows  # type: ignore[return-value]


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
@pytest.mark.parametrize("page", PAGES)
def test_a_browser_shows_each_page_light_and_dark(packed: Path, tmp_path: Path, page: str) -> None:
    means = {}
    for scheme, number in (("light", 1), ("dark", 0)):
        shot = tmp_path / f"{scheme}.png"
        settings = [f"--blink-settings=preferredColorScheme={number}", "--window-size=700,500", f"--screenshot={shot}"]
        run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *settings, (packed / page).as_uri()], tmp_path)
        width, height, seen = pixels(shot)
        assert (width, height) == (700, 500)
        means[scheme] = sum(map(sum, seen)) / len(seen) / 3
        assert len(set(seen)) > 3, "there is something to see"
    assert means["light"] > 200
    assert means["dark"] < 60


@pytest.mark.skipif(not CHROMIUM or not shutil.which("pdftotext"), reason="needs Chromium and poppler-utils")
def test_a_printed_page_of_a_control_has_every_word(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.pdf"
    page = (packed / "controls/IAM-1.html").as_uri()
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-pdf-header-footer",
        f"--print-to-pdf={out}",
    ]
    run([*command, page], tmp_path)
    said = subprocess.run(["pdftotext", "-layout", str(out), "-"], capture_output=True, check=True, text=True).stdout
    for words in ("Asked by", "Request id", "SHA-256", "<script>alert('eve')</script>", "First bad", "Re-test"):
        assert words in said


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="needs poppler-utils")
def test_the_pdf_can_be_read_by_others(packed: Path) -> None:
    command = ["pdftotext", "-layout", str(packed / "README.pdf"), "-"]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    for words in ("At a glance", "The controls", "accepted by Carl", "taken note of", "How to draw a sample"):
        assert words in said
