"""An AWS account that enforces IAM policies: ministack, in a process and a virtual environment of its own.

It shares no environment with moto, which holds it at an old version. Real: the requests, their signatures, the role and
its policy. Emulated: the account behind them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
from botocore.config import Config

from collector.demo.cloud import FOREIGN

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-emulators"
PINNED = ROOT / "requirements" / "emulators.txt"
ENVIRONMENT = dict(os.environ)  # as the tests began: the simulated cloud leads later ones to itself
READY = FOLDER / ".pinned"  # what was installed, so that a new lock is installed again
ACCOUNT = "000000000000"  # the one that ministack's root key belongs to
REGION = "us-east-1"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 5.0
INSTALL_SECONDS_MAX = 300.0


class NotInstalled(RuntimeError):
    """The emulator's virtual environment could not be made; the message says what was tried."""


def installed() -> Path:
    """The interpreter of the virtual environment, made from the pinned requirements where it is missing or old.

    Raises NotInstalled with what the installer said.
    """
    python = FOLDER / "bin" / "python"
    with PINNED.open() as pinned:
        fcntl.flock(pinned, fcntl.LOCK_EX)  # pytest-xdist starts several of us
        wanted = pinned.read()
        if READY.is_file() and READY.read_text() == wanted:
            return python
        try:
            done = subprocess.run(
                ["sh", "tools/venv_emulators.sh", str(FOLDER)],
                cwd=ROOT,
                env={**ENVIRONMENT, "PYTHON": sys.executable},
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NotInstalled(f"{' '.join(error.cmd)} took more than {INSTALL_SECONDS_MAX:.0f} seconds") from error
        if done.returncode:
            raise NotInstalled(f"tools/venv_emulators.sh failed: {done.stderr.strip()[-1000:]}")
        READY.write_text(wanted)
    return python


class Ministack:
    """One empty account whose IAM is enforced, from construction or ``with`` to ``close``.

    Raises RuntimeError when it does not start in time.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        environment = {name: value for name, value in ENVIRONMENT.items() if not name.upper().startswith(FOREIGN)}
        environment |= {
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "DOCKER_HOST": "unix:///nonexistent",  # nothing of it needs a container
            "TMPDIR": str(folder),
            "MINISTACK_REGION": REGION,
            "LOG_LEVEL": "WARNING",
        }
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", "ministack"], cwd=folder, env=environment, stdout=log, stderr=log
            )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                    f"{self.endpoint}/_ministack/health", timeout=5
                ):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"ministack did not start: {(self.folder / 'log').read_text(errors='replace')[-2000:]}")

    def client(self, service: str, key: str = "test", secret: str = "test") -> Any:
        """A client of the root user, or of the key named."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=self._config,
        )

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Ministack:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
