"""Somebody has the package on its way to the auditor, and no key: whatever he changes, the file is named."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest

from collector.ledger import verify
from tests.attacks.world import World, alarm, levels, prove
from tests.support.lived import EXPORTED, HOUR, resum

ENTRIES = "ledger/entries.jsonl"


def files(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_an_honest_package_raises_no_alarm_and_reaches_every_level(honest: Path, trust: Path) -> None:
    found = prove(honest, trust)
    assert found["verified"], found["broken"]
    assert levels(found) == [True, True, True, True]
    assert found["missed"] == []
    assert found["assurance"]["level"] == 3


def test_the_verifier_in_the_package_says_the_same_without_anything_installed(honest: Path, trust: Path) -> None:
    command = [sys.executable, "-I", "-S", str(honest / "verify.py"), "--trust", str(trust), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout)["assurance"]["level"] == 3


def test_an_edited_table(package: Path) -> None:
    path = package / "tables/exceptions.csv"
    path.write_bytes(path.read_bytes().replace(b"no MFA", b"an MFA", 1))
    assert alarm(package) == "tables/exceptions.csv: is not what was exported: its SHA-256 differs"


def test_an_edited_payload(package: Path) -> None:
    path = next(p for p in sorted((package / "objects").rglob("*")) if p.is_file() and b"bob" in p.read_bytes())
    path.write_bytes(path.read_bytes().replace(b"false", b"true ", 1))
    name = path.relative_to(package).as_posix()
    assert alarm(package) == f"{name}: is not what was exported: its SHA-256 differs"


def test_each_file_dropped(package: Path) -> None:
    for name in files(package):
        data = (package / name).read_bytes()
        (package / name).unlink()
        assert alarm(package) == f"{name}: is missing", name
        (package / name).write_bytes(data)
    assert {name.partition("/")[0] for name in files(package)} >= {"anchors", "proofs", "objects", "checks"}


def test_two_entries_swapped(package: Path) -> None:
    path = package / ENTRIES
    lines = path.read_bytes().splitlines(keepends=True)
    lines[40], lines[41] = lines[41], lines[40]
    path.write_bytes(b"".join(lines))
    assert alarm(package) == f"{ENTRIES}: is not what was exported: its SHA-256 differs"
    resum(package)
    assert alarm(package) == "SHA256SUMS: is not what the signed manifest says"


@pytest.mark.parametrize("part", ["ledger", "checkpoints", "tables", "objects", "anchors", "proofs"])
def test_two_packages_spliced(package: Path, world: World, part: str, tmp_path: Path) -> None:
    """Each part is signed, in its own package."""
    other = world.export(tmp_path / "other", "people", EXPORTED + HOUR).path
    shutil.rmtree(package / part)
    shutil.copytree(other / part, package / part)
    assert not prove(package)["verified"]
    for name in ("SHA256SUMS", "manifest.dsse.json"):
        shutil.copy(other / name, package / name)
    assert not prove(package)["verified"]


def test_an_unsorted_list_of_files(package: Path) -> None:
    path = package / "SHA256SUMS"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    assert alarm(package) == "SHA256SUMS: is not what the signed manifest says"


# --- zip files, as somebody wrote them who wants the auditor's unpacker to do something else than the verifier saw ---


@pytest.fixture
def zipped(world: World, honest: Path, tmp_path: Path) -> Path:
    path = tmp_path / "package.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files(honest):
            archive.write(honest / name, name)
    return path


def test_a_zip_is_verified_as_it_is(zipped: Path, trust: Path) -> None:
    assert levels(prove(zipped, trust)) == [True, True, True, True]


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "C:/x", "a\\b", "a/../b", "./a", "a//b", ".ssh/x", "a\nb"])
def test_a_zip_with_a_path_that_leads_elsewhere(zipped: Path, name: str) -> None:
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"evil")
    assert "is a path that a package never holds; do not unpack this file" in alarm(zipped)


@pytest.mark.parametrize("name", ["plan.json", "PLAN.json"])
def test_a_zip_with_a_name_twice(zipped: Path, name: str) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(zipped, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(name, b"evil")
    assert alarm(zipped).startswith(f"{name}: is in the zip file twice")


def test_a_zip_with_a_link(zipped: Path) -> None:
    with zipfile.ZipFile(zipped, "a") as archive:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert alarm(zipped) == "link: is a link or a device; a package holds plain files"


def test_a_zip_that_would_flood_a_disk(zipped: Path) -> None:
    with zipfile.ZipFile(zipped, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", bytes(64 << 20))
    assert "do not unpack this file" in alarm(zipped)


def test_a_zip_that_claims_to_hold_more_than_any_package(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(zipped) as archive:
        size = sum(info.file_size for info in archive.infolist())
    monkeypatch.setattr(verify, "PACKAGE_BYTES_MAX", size - 1)
    assert "more than a package ever does" in alarm(zipped)


def test_a_zip_whose_files_share_bytes(zipped: Path, tmp_path: Path) -> None:
    """Ten names for one packed file: how a small zip grows without bound under every limit on its ratio."""
    path = tmp_path / "shared.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"a" * 4000)
        archive.writestr("b.txt", b"b" * 4000)
        first, second = archive.infolist()
        second.header_offset = first.header_offset
        second.compress_size = first.compress_size
    assert "shares its bytes with what stands before it" in alarm(path)


def test_a_zip_behind_another_program(zipped: Path, tmp_path: Path) -> None:
    path = tmp_path / "both.zip"
    path.write_bytes(b"#!/bin/sh\necho hello\nexit\n" + zipped.read_bytes())
    assert "shares its bytes with what stands before it" in alarm(path)


def test_a_zip_that_calls_a_file_otherwise_inside(zipped: Path, tmp_path: Path) -> None:
    """Programs that read a zip from its beginning see another name than those that read its directory."""
    data = zipped.read_bytes()
    assert data.count(b"plan.json") >= 2
    (tmp_path / "other.zip").write_bytes(data.replace(b"plan.json", b"plan.html", 1))
    assert alarm(tmp_path / "other.zip").startswith("plan.json: cannot be read out of the zip file")


def test_a_zip_with_a_second_name_for_other_programs(zipped: Path) -> None:
    """The extra field of a Unicode path (0x7075): unpackers that know it write to that name instead."""
    with zipfile.ZipFile(zipped, "a") as archive:
        info = zipfile.ZipInfo("note.txt")
        second = b"\x01" + zlib.crc32(b"note.txt").to_bytes(4, "little") + b"../evil"
        info.extra = struct.pack("<HH", 0x7075, len(second)) + second
        archive.writestr(info, b"evil")
    assert alarm(zipped) == "note.txt: has a second name for other programs; a package's files have one"
