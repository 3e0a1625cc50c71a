"""A folder as a place: written once and whole, never overwritten; crashes, full disks, and folders of others."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from collector.anchor import file as module
from collector.anchor.file import FileAnchor
from collector.config_places import FilePlace
from collector.errors import ConfigError, Denied, LedgerBroken, Unavailable, Unreadable
from collector.ledger.note import NOTE_BYTES_MAX
from tests.anchor.conftest import ORIGIN, checkpoint, no_proof

ROOT = Path(__file__).parents[2]
NOBODY = 65_534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "held"
    path.mkdir()
    return path


@pytest.fixture(params=["unnamed", "named"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to write: by a file without a name, and as on file systems that know none."""
    if request.param == "unnamed" and not module.UNNAMED:
        pytest.skip("this system knows no files without a name")
    if request.param == "named":
        monkeypatch.setattr(module, "UNNAMED", 0)
    return request.param


def place(folder: Path, origin: str = ORIGIN) -> FileAnchor:
    return FileAnchor("safe", FilePlace(folder=folder), origin=origin)


def name(size: int) -> str:
    return f"{size:020}.note"


def everything(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- writing ---


def test_a_checkpoint_is_a_file(folder: Path, way: str) -> None:
    anchor = place(folder)
    anchor.test()
    assert everything(folder) == []
    note, head = checkpoint(592)
    before = os.umask(0o077)
    try:
        anchored = anchor.put(note, head, no_proof)
    finally:
        os.umask(before)
    assert everything(folder) == ["00000000000000000592.note"]
    path = folder / name(592)
    assert path.read_bytes() == note
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert path.stat().st_nlink == 1
    assert anchor.id == "file/safe"
    assert (anchored.suffix, anchored.time, anchored.where) == ("json", None, name(592))
    receipt = {"type": "file", "name": name(592), "sha256": sha256(note).hexdigest()}
    assert json.loads(anchored.token) == receipt
    assert anchored.token == json.dumps(receipt, sort_keys=True, separators=(",", ":")).encode()


def test_the_same_checkpoint_again_is_the_same_file(folder: Path, way: str) -> None:
    note, head = checkpoint()
    first = place(folder).put(note, head, no_proof)
    inode = (folder / name(592)).stat().st_ino
    assert place(folder).put(note, head, no_proof) == first
    assert (folder / name(592)).stat().st_ino == inode
    assert everything(folder) == [name(592)]


def test_another_root_for_the_same_size_is_an_alarm(folder: Path, way: str) -> None:
    note, head = checkpoint(root=b"\7" * 32)
    place(folder).put(note, head, no_proof)
    with pytest.raises(LedgerBroken, match="another root over the first 592 entries of evidence"):
        place(folder).put(*checkpoint(root=b"\x08" * 32), no_proof)
    assert (folder / name(592)).read_bytes() == note
    assert everything(folder) == [name(592)]


@pytest.mark.parametrize(
    ("there", "what"),
    [
        (b"", "something else"),
        (checkpoint()[0][:100], "something else"),
        (checkpoint()[0] + b"\n", "something else"),
        (checkpoint()[0].replace(b"ZVaQ", b"ZVaR"), "something else"),  # the same tree, signed by nobody
        (checkpoint(591)[0], "something else"),
        (b"\xff" * (NOTE_BYTES_MAX + 10), "something else"),
        (checkpoint(origin="evidence.example.com/other")[0], "a checkpoint of another ledger"),
    ],
)
def test_whatever_else_is_there_is_kept_and_is_an_alarm(folder: Path, way: str, there: bytes, what: str) -> None:
    (folder / name(592)).write_bytes(there)
    with pytest.raises(Unreadable, match=f"already there and holds {what}; it is never overwritten"):
        place(folder).put(*checkpoint(), no_proof)
    assert (folder / name(592)).read_bytes() == there


def test_a_link_is_not_followed(folder: Path, tmp_path: Path, way: str) -> None:
    target = tmp_path / "elsewhere"
    (folder / name(592)).symlink_to(target)
    with pytest.raises(Unreadable, match="something else"):
        place(folder).put(*checkpoint(), no_proof)
    assert not target.exists()
    target.write_bytes(checkpoint()[0])
    with pytest.raises(Unreadable, match="something else"):
        place(folder).put(*checkpoint(), no_proof)
    assert place(folder).latest() is None


# --- crashes and trouble ---

DIES = """
import os, signal, sys
from collector.anchor import file
from collector.anchor.file import FileAnchor
from collector.config_places import FilePlace
from tests.anchor.conftest import checkpoint, no_proof
moment, way, folder = sys.argv[1:]
if way == "named":
    file.UNNAMED = 0
real, written = os.write, 0
def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)
def half(descriptor, data):
    real(descriptor, data[: len(data) // 2])
    die()
if moment == "write":
    os.write = half
elif moment == "link":
    os.link = die
elif moment == "unlink":
    os.unlink = die
FileAnchor("safe", FilePlace(folder=folder)).put(*checkpoint(), no_proof)
print("survived")
"""


@pytest.mark.parametrize("moment", ["write", "link", "unlink"])
def test_killed_at_any_moment_there_is_all_of_a_note_or_none(folder: Path, way: str, moment: str) -> None:
    arguments = [sys.executable, "-c", DIES, moment, way, str(folder)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    if (moment, way) == ("unlink", "unnamed"):
        assert done.stdout == "survived\n", done.stderr  # there is nothing to clean up
    else:
        assert done.returncode == -signal.SIGKILL, done.stderr
    there = moment == "unlink"
    assert (folder / name(592)).exists() == there
    if way == "unnamed":
        assert everything(folder) == ([name(592)] if there else [])
    found = place(folder).latest()
    assert found == (checkpoint()[1] if there else None)  # what is left over is taken for nothing
    place(folder).put(*checkpoint(), no_proof)
    assert (folder / name(592)).read_bytes() == checkpoint()[0]
    assert place(folder).latest() == checkpoint()[1]


FULL = """
import resource, sys
from collector.anchor import file
from collector.anchor.file import FileAnchor
from collector.config_places import FilePlace
from collector.errors import Unavailable
from tests.anchor.conftest import checkpoint, no_proof
way, folder = sys.argv[1:]
if way == "named":
    file.UNNAMED = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    FileAnchor("safe", FilePlace(folder=folder)).put(*checkpoint(), no_proof)
except Unavailable as error:
    print(error)
"""


def test_a_disk_that_takes_half_of_it(folder: Path, way: str) -> None:
    arguments = [sys.executable, "-c", FULL, way, str(folder)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "takes no checkpoint (File too large); see that its disk is well, not full" in done.stdout
    assert everything(folder) == []


def test_short_writes_are_finished(folder: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    place(folder).put(*checkpoint(), no_proof)
    assert (folder / name(592)).read_bytes() == checkpoint()[0]


def test_all_of_it_is_on_the_disk_before_it_has_a_name(folder: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def linked(*arguments: object, **named: object) -> None:
        done.append("link")
        link(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", linked)
    place(folder).put(*checkpoint(), no_proof)
    assert done == ["file", "link", "folder"]
    done.clear()
    place(folder).put(*checkpoint(), no_proof)  # whoever wrote it before may not have come so far
    assert done == ["file", "link", "folder"]


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL])
def test_a_file_system_without_unnamed_files(folder: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not module.UNNAMED:
        pytest.skip("this system knows no files without a name")
    real = os.open

    def refuse(path: object, flags: int, *arguments: object, **named: object) -> int:
        if flags & module.UNNAMED == module.UNNAMED:
            raise OSError(code, os.strerror(code))
        return real(path, flags, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    place(folder).test()
    place(folder).put(*checkpoint(), no_proof)
    assert everything(folder) == [name(592)]


def test_a_file_system_without_hard_links(folder: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(Unavailable, match="has hard links"):
        place(folder).put(*checkpoint(), no_proof)
    assert everything(folder) == []


@pytest.mark.parametrize(("code", "fails"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_folder_that_cannot_be_synced(folder: Path, code: int, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    if fails:
        with pytest.raises(Unavailable, match="Input/output error"):
            place(folder).put(*checkpoint(), no_proof)
    else:
        assert place(folder).put(*checkpoint(), no_proof).where == name(592)


def test_a_folder_that_is_not_there_is_not_made(folder: Path) -> None:
    missing = folder / "mounted" / "later"
    for call in (place(missing).test, place(missing).latest, lambda: place(missing).put(*checkpoint(), no_proof)):
        with pytest.raises(Unavailable, match="No such file or directory"):
            call()
    assert everything(folder) == []


def test_a_folder_that_is_a_file(folder: Path) -> None:
    (folder / "file").write_text("x")
    with pytest.raises(ConfigError, match="is no folder"):
        place(folder / "file").test()
    with pytest.raises(Unavailable, match="Not a directory"):
        place(folder / "file").put(*checkpoint(), no_proof)


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root may write everywhere: be nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder below folders that everybody may enter; pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


def test_a_folder_that_we_may_not_write(shared: Path, way: str) -> None:
    place(shared).put(*checkpoint(591), no_proof)
    shared.chmod(0o555)
    with as_somebody_else():
        for call in (place(shared).test, lambda: place(shared).put(*checkpoint(), no_proof)):
            with pytest.raises(
                Denied, match=r"\(Permission denied\); see that it is there, mounted, and that this user"
            ):
                call()
        assert place(shared).latest() == checkpoint(591)[1]
    assert everything(shared) == [name(591)]


def test_a_note_that_we_may_not_read_may_be_the_largest(shared: Path) -> None:
    place(shared).put(*checkpoint(591), no_proof)
    (shared / name(592)).write_bytes(checkpoint()[0])
    (shared / name(592)).chmod(0o200)
    with as_somebody_else():
        if os.access(shared / name(592), os.R_OK, effective_ids=True):
            pytest.skip("this user may read everything")
        with pytest.raises(Denied, match="cannot be read"):
            place(shared).latest()


def test_a_folder_that_can_only_be_added_to(folder: Path, way: str) -> None:
    chattr = shutil.which("chattr")
    if chattr is None or subprocess.run([chattr, "+a", folder], capture_output=True, check=False).returncode:
        pytest.skip("chattr +a is not possible here")
    try:
        anchor = place(folder)
        anchor.test()
        for size in (591, 592):
            anchor.put(*checkpoint(size), no_proof)
        anchor.put(*checkpoint(592), no_proof)
        assert anchor.latest() == checkpoint(592)[1]
        with pytest.raises(PermissionError):
            (folder / name(591)).unlink()
        if way == "unnamed":
            assert everything(folder) == [name(591), name(592)]
    finally:
        subprocess.run([chattr, "-a", folder], check=True)


# --- reading ---


def test_the_largest_note_that_is_one(folder: Path) -> None:
    anchor = place(folder)
    assert anchor.latest() is None
    for size in (5, 592, 40, 10**18):
        anchor.put(*checkpoint(size), no_proof)
    assert anchor.latest() == checkpoint(10**18)[1]
    for path, content in (
        (name(10**18 + 1), checkpoint(10**18 + 1)[0][:50]),  # cut short
        (name(10**18 + 2), checkpoint(7)[0]),  # named for another size
        (name(10**18 + 3), b"\xff\xfe"),
        (name(10**18 + 4), checkpoint(10**18 + 4)[0].replace(b"\n", b"\r\n")),
        (f"{10**18 + 5}.note", checkpoint(10**18 + 5)[0]),  # not 20 digits
        (f".{'0' * 16}.part", checkpoint(10**18 + 6)[0]),
        (name(10**18 + 7), checkpoint(10**18 + 7, origin="evidence.example.com/other")[0]),
    ):
        (folder / path).write_bytes(content)
    (folder / name(10**18 + 8)).mkdir()
    os.mkfifo(folder / name(10**18 + 9))
    assert anchor.latest() == checkpoint(10**18)[1]
    assert place(folder, origin="").latest() == checkpoint(10**18 + 7, origin="evidence.example.com/other")[1]
