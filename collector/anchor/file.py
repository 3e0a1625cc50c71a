"""A folder as a place outside: one file a checkpoint, written once. Best on a file system that we can only append to.

Nothing here overwrites or removes a checkpoint. Whether a note in the folder is signed is for whoever asks.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from collector import canonical
from collector.anchor.base import Anchored, Believe, Consistency, anything
from collector.config_places import FilePlace
from collector.errors import CannotObserve, ConfigError, Denied, LedgerBroken, Unavailable, Unreadable
from collector.ledger.note import NOTE_BYTES_MAX, BadNote, Note, TreeHead

MODE = 0o444
NAME = re.compile(r"[0-9]{20}\.note")
# Open without following a link or waiting for a pipe that somebody put there.
READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
UNNAMED = getattr(os, "O_TMPFILE", 0)  # Linux: a file without a name, gone at a crash
NO_UNNAMED = frozenset((errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT))  # file systems without it


class FileAnchor:
    """One folder. It must be there: were it made here, a disk that is not mounted would be taken for one that is.

    ``origin`` is this ledger's; without it, checkpoints of other ledgers count in ``latest``.
    """

    def __init__(self, name: str, place: FilePlace, *, origin: str = "") -> None:
        self._name = name
        self._folder = place.folder
        self._origin = origin

    @property
    def id(self) -> str:
        return f"file/{self._name}"

    def test(self) -> None:
        """Writes a file without leaving one. Raises ConfigError when that can never work, else ``CannotObserve``."""
        with self._errors("is not writable"):
            if self._folder.exists() and not self._folder.is_dir():
                raise ConfigError(f"[anchors.file.{self._name}]: {self._folder} is no folder; name another")
            with self._opened() as folder, _written(folder, b"trial\n"):
                pass

    def put(self, note: bytes, head: TreeHead, consistency: Consistency) -> Anchored:
        """Writes ``SIZE.note``, size in 20 digits: whole or not at all, read-only, on the disk before this returns.

        The same note may be there already. Raises LedgerBroken when another root for this size is, Unreadable when
        anything else is, and else one of the ``CannotObserve`` family.
        """
        name = f"{head.size:020}.note"
        with self._errors("takes no checkpoint"), self._opened() as folder:
            try:
                with _written(folder, note) as source:
                    # Fails when there is one: no moment between looking and writing, nothing is ever replaced.
                    # Naming the descriptor makes os.link follow the link in /proc that stands for it.
                    os.link(source, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
                _settled(folder)
            except FileExistsError:
                self._same(folder, name, note, head)
        token = canonical.record({"type": "file", "name": name, "sha256": canonical.digest(note)})
        return Anchored(token, "json", None, name)

    def latest(self, believe: Believe = anything) -> TreeHead | None:
        """The largest note that is one, and is named for its own size.

        A note that cannot be read at all is an error: it may be the largest. What is no note is passed over.
        """
        with self._errors("cannot be read"), self._opened() as folder:
            names = os.listdir(folder)  # noqa: PTH208 - a path could name another folder by now
            for name in sorted(filter(NAME.fullmatch, names), reverse=True):
                note = _content(folder, name)
                found = _parse(note)
                if found is None or found.size != int(name[:20]):
                    continue
                if self._origin in ("", found.origin) and believe(note):
                    return found
        return None

    def _same(self, folder: int, name: str, note: bytes, head: TreeHead) -> None:
        """Raises unless the file holds exactly ``note``."""
        held = _content(folder, name)
        if held == note:
            _settled(folder)  # whoever wrote it may have crashed before this
            return
        other = _parse(held)
        if other is not None and (other.origin, other.size) == (head.origin, head.size) and other.root != head.root:
            raise LedgerBroken(
                f"{self.id} holds another root over the first {head.size} entries of {head.origin} than this ledger "
                f"has ({name}): history was rewritten, or somebody else wrote that file. Keep both; find out who"
            )
        what = "a checkpoint of another ledger" if other and other.origin != head.origin else "something else"
        raise Unreadable(
            f"{name} is already there and holds {what}; it is never overwritten. Find out who wrote it, and give each "
            "ledger a folder of its own"
        )

    @contextmanager
    def _opened(self) -> Iterator[int]:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield folder
        finally:
            os.close(folder)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Turns errors of the operating system into ours."""
        try:
            yield
        except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
            kind: type[CannotObserve] = Denied if isinstance(error, PermissionError) else Unavailable
            raise kind(
                f"{self._folder} {what} ({error.strerror}); see that it is there, mounted, and that this user may write"
            ) from error
        except OSError as error:
            raise Unavailable(
                f"{self._folder} {what} ({error.strerror}); see that its disk is well, not full, and has hard links"
            ) from error


@contextmanager
def _written(folder: int, content: bytes) -> Iterator[str]:
    """A new file with ``content``, on the disk, under a path that ``os.link`` takes and nobody else looks for."""
    name = ""
    try:
        if not UNNAMED:
            raise OSError(errno.EOPNOTSUPP, "no unnamed files here")
        file = os.open(".", UNNAMED | os.O_WRONLY | os.O_CLOEXEC, MODE, dir_fd=folder)
        path = f"/proc/self/fd/{file}"
        if not Path(path).exists():  # no /proc here: such a file could never get a name
            os.close(file)
            raise OSError(errno.EOPNOTSUPP, "no /proc here")
    except OSError as error:
        if error.errno not in NO_UNNAMED:
            raise
        path = name = f".{secrets.token_hex(8)}.part"
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE, dir_fd=folder)
    try:
        os.fchmod(file, MODE)  # whatever the umask is
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
        yield path
    finally:
        os.close(file)
        if name:
            with suppress(PermissionError):  # where files can only be added, it stays, and nobody takes it for a note
                os.unlink(name, dir_fd=folder)


def _settled(folder: int) -> None:
    """Has the names in the folder written to the disk."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems do it by themselves, and have no such call
            raise


def _content(folder: int, name: str) -> bytes:
    """Up to one byte more than a note may have; nothing of what is no plain file."""
    try:
        file = os.open(name, READING, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link, which we never write
            return b""
        raise
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        return b""
    with os.fdopen(file, "rb") as opened:
        return opened.read(NOTE_BYTES_MAX + 1)


def _parse(content: bytes) -> TreeHead | None:
    try:
        return TreeHead.parse(Note.parse(content.decode()).text)
    except (BadNote, UnicodeDecodeError):
        return None
