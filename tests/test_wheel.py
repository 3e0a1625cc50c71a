"""As far as a container can be checked without one: the wheel, unpacked elsewhere, run by nobody on read-only code."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOBODY = 65534


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel in a folder that nobody may write to."""
    folder = tmp_path_factory.mktemp("wheel")
    folder.chmod(0o755)
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True, capture_output=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)
    for path in [site, *site.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return site


def test_the_wheel_holds_what_runs_and_nothing_else(site: Path) -> None:
    names = {path.relative_to(site).parts[0] for path in site.rglob("*")}
    assert {"collector", "checks"} <= names
    assert not {"tests", "alembic", "tools", "bench"} & names
    assert (site / "collector" / "ledger" / "migrations" / "env.py").exists()
    assert (site / "collector" / "starter" / "controls.toml").exists()
    assert list((site / "checks" / "aws").glob("*.py"))


def test_nobody_can_run_it_over_read_only_code(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("data")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(site), sysconfig.get_paths()["purelib"]]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(data),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    who = {"user": NOBODY, "group": NOBODY} if os.getuid() == 0 else {}
    if who:
        os.chown(data, NOBODY, NOBODY)
    python = _python_for(who, data, environment)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [python, "-m", "collector", *arguments]
        return subprocess.run(command, cwd=data, env=environment, capture_output=True, text=True, **who)  # type: ignore[call-overload,no-any-return]

    made = run("init", "--account", "123456789012")
    assert made.returncode == 0, made.stderr
    once = run("once", "--json")
    assert once.returncode == 3, once.stderr  # no credentials: blind, and sealed as such
    assert (data / "data" / "ledger.db").exists()
    assert run("db", "verify").returncode == 0


def _python_for(who: dict[str, int], data: Path, environment: dict[str, str]) -> str:
    """An interpreter of this version that the user may run, with our dependencies: either may lie in a home folder."""
    code = f"import sys, typer, sqlalchemy; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        command = [candidate, "-c", code]
        try:
            found = subprocess.run(command, cwd=data, env=environment, capture_output=True, **who)  # type: ignore[call-overload]
        except OSError:
            continue
        if found.returncode == 0:
            return candidate
    pytest.skip("an unprivileged user may not read this interpreter or its packages; tried as root only elsewhere")
