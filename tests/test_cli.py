"""The command line as a person meets it: what each mistake says, what it exits with, and that nothing is lost."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from collector.demo.cloud import SimulatedCloud

COMMAND = [sys.executable, "-m", "collector"]
BARE = {
    name: value
    for name, value in os.environ.items()
    if not name.upper().startswith(("AWS_", "HTTPS_PROXY", "COLLECTOR_"))
} | {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[1])
    env = {**BARE, "PYTHONPATH": root, **environment}
    return subprocess.run([*COMMAND, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = run("init", "--account", "123456789012", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    return tmp_path


def says(found: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One sentence on standard error, no traceback, the right exit code."""
    assert found.returncode == code, found.stdout + found.stderr
    assert "Traceback" not in found.stderr, found.stderr
    for word in words:
        assert word in found.stderr, found.stderr


def test_no_configuration_says_how_to_get_one(tmp_path: Path) -> None:
    says(run("once", cwd=tmp_path), 2, "collector.toml", "collector init")


def test_init_overwrites_nothing(folder: Path) -> None:
    before = (folder / "collector.toml").read_bytes()
    says(run("init", "--account", "999999999999", cwd=folder), 2, "already there")
    assert (folder / "collector.toml").read_bytes() == before


def test_an_unknown_key_names_the_nearest(folder: Path) -> None:
    path = folder / "collector.toml"
    path.write_text(path.read_text().replace("grace =", "graze ="))
    says(run("status", cwd=folder), 2, "graze", "grace")


def test_an_unknown_check_in_the_control_file_names_the_nearest(folder: Path) -> None:
    path = folder / "controls.toml"
    path.write_text(path.read_text().replace("aws-root-mfa", "aws-rot-mfa"))
    says(run("once", cwd=folder), 2, "aws-rot-mfa", "aws-root-mfa")


def test_no_credentials_says_what_to_set_and_is_kept_as_evidence(folder: Path) -> None:
    found = run("once", "--json", cwd=folder)
    says(found, 3)
    rows = json.loads(found.stdout)
    assert rows
    assert all(row["population"] is None and "credentials" in row["reason"] for row in rows)
    says(run("preflight", cwd=folder), 3, "AWS_PROFILE")


def test_a_database_that_is_none_is_refused_and_not_touched(folder: Path) -> None:
    (folder / "data").mkdir()
    path = folder / "data" / "ledger.db"
    path.write_text("these are my holiday photos")
    says(run("once", cwd=folder), 2, "ledger.db")
    assert path.read_text() == "these are my holiday photos"


def test_a_key_of_another_ledger_is_refused(folder: Path) -> None:
    run("db", "upgrade", cwd=folder)
    run("once", cwd=folder)
    (folder / "data" / "log.key").unlink()
    says(run("once", cwd=folder), 2, "key")


def test_a_ledger_that_was_edited_stops_everything_and_says_where(folder: Path) -> None:
    run("once", cwd=folder)
    with sqlite3.connect(folder / "data" / "ledger.db") as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for name in names:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("DELETE FROM entry WHERE seq = 3")
    connection.close()
    says(run("once", cwd=folder), 4, "3")


def test_commands_that_need_no_configuration(tmp_path: Path) -> None:
    rows = json.loads(run("checks", "list", "--json", cwd=tmp_path).stdout)
    assert len(rows) >= 28
    for row in rows:
        assert {"id", "family", "criteria", "permissions", "see", "stage", "version"} <= row.keys()
    shown = run("checks", "show", "aws-iam-user-mfa", cwd=tmp_path)
    assert "Why:" in shown.stdout
    says(run("checks", "show", "aws-iam-user-mfaa", cwd=tmp_path), 2, "did you mean aws-iam-user-mfa")
    assert json.loads(run("policy", "aws", cwd=tmp_path).stdout)["Version"] == "2012-10-17"
    says(run("verify", "nowhere", cwd=tmp_path), 2, "nowhere")
    assert run("--version", cwd=tmp_path).stdout.startswith("collector ")


def test_against_the_simulated_cloud(folder: Path, simulated_cloud: SimulatedCloud) -> None:
    path = folder / "collector.toml"
    path.write_text(path.read_text() + '\n[windows.w]\nstart = 2026-01-01\nend = 2031-01-01\ncriteria = ["CC6.1"]\n')
    cloud = simulated_cloud.environment
    found = run("once", "--json", cwd=folder, **cloud)
    assert found.returncode == 1, found.stderr  # there are deviations, and everything could be observed
    status = run("status", "--json", cwd=folder, **cloud)
    states = {row["control"]: row["state"] for row in json.loads(status.stdout)}
    assert states["MFA-1"] == "satisfied"
    assert status.returncode in (1, 3)
    preflight = run("preflight", cwd=folder, **cloud)
    assert preflight.returncode == 0, preflight.stdout + preflight.stderr
    exported = run("export", "--window", "w", "--out", "package", cwd=folder, **cloud)
    assert exported.returncode == 0, exported.stderr
    assert run("verify", "package", cwd=folder).returncode == 0
    says(run("export", "--window", "w", "--out", "package", cwd=folder), 2, "package")
    says(run("export", "--window", "v", "--out", "other", cwd=folder), 2, "v")
    assert run("db", "verify", cwd=folder).returncode == 0
    assert run("db", "rebuild", cwd=folder).returncode == 0


def test_preflight_names_what_a_missing_permission_blinds(folder: Path, simulated_cloud: SimulatedCloud) -> None:
    simulated_cloud.fault("denied", service="kms", operation="get_key_rotation_status", label="cli")
    try:
        found = run("preflight", "--json", cwd=folder, **simulated_cloud.environment)
    finally:
        simulated_cloud.clear_faults("cli")
    assert found.returncode == 3
    blind = {row["check"] for row in json.loads(found.stdout) if row["blind"]}
    assert blind == {"aws-kms-key-rotation"}
