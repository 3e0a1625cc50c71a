"""The commands, as an auditor types them, with the server as a process of its own."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from collector.cli import app
from collector.cli.terminal import exit_for
from collector.errors import CollectorError
from collector.ledger import cosignature
from collector.ledger.cosignature import WitnessKey
from collector.ledger.note import Note
from tests.witness.world import ORIGIN, Log, add

ROOT = Path(__file__).parents[2]
LOG = Log()
BARE = {name: value for name, value in os.environ.items() if not name.startswith("COLLECTOR_")}
ENVIRONMENT = {**BARE, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def run(folder: Path, *words: str, code: int = 0) -> str:
    """What a command prints, or the one sentence that it ends with."""
    found = CliRunner().invoke(app, ["witness", *words, "--folder", str(folder / "w")])
    if isinstance(found.exception, CollectorError):
        assert exit_for(found.exception) == code
        return str(found.exception)
    assert found.exit_code == code, found.output
    return found.stdout


@pytest.fixture(autouse=True)
def log_as_before():
    """The commands set up the log of their process, which here is that of all tests."""
    root, before = logging.getLogger(), list(logging.getLogger().handlers)
    level = root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def folder(tmp_path):
    run(tmp_path, "init", "--name", "auditor.example/w1")
    return tmp_path


def test_a_witness_from_beginning_to_end(folder):
    vkey = (folder / "w" / "witness.vkey").read_text().strip()
    key = WitnessKey.parse(vkey)
    assert key.name == "auditor.example/w1"
    assert run(folder, "trust", str(LOG.key)) == f"Cosigning for {ORIGIN}, from 0 entries on.\n"
    command = [sys.executable, "-m", "collector", "witness", "serve", "--folder", "w", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--log-format", "json"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as serving:
        try:
            assert serving.stdout.readline().strip() == vkey
            url = re.fullmatch(r"listening at (http://127\.0\.0\.1:\d+)\n", serving.stdout.readline())[1]
            answer = add(url, LOG.request(0, 5))
            assert cosignature.verify(Note.parse(LOG.note(5) + answer.body), [key])
            assert add(url, LOG.request(5, 20)).status == 200
            rotated = Log(key="second")
            said = run(folder, "trust", str(rotated.key))
            assert said == f"Cosigning for {ORIGIN}, which now has 2 trusted keys, from 20 entries on.\n"
            assert add(url, rotated.request(20, 21)).status == 200
            run(folder, "distrust", str(LOG.key))
            assert add(url, LOG.request(21, 22)).status == 403
            status = json.loads(run(folder, "status", "--json"))
            assert status["witness"] == vkey
            (log,) = status["logs"]
            assert {name: log[name] for name in ("origin", "entries", "checkpoints", "forks", "unproved")} == {
                "origin": ORIGIN,
                "entries": 21,
                "checkpoints": 3,
                "forks": 0,
                "unproved": 0,
            }
            assert (log["keys"], log["former_keys"]) == ([str(rotated.key)], [str(LOG.key)])
            assert add(url, Log(key="second", forked=3).request(21, 21)).status == 409
            assert ORIGIN in run(folder, "status", code=4)
            assert json.loads(run(folder, "status", "--json", code=4))["logs"][0]["forks"] == 1
        finally:
            serving.send_signal(signal.SIGTERM)
            _, told = serving.communicate(timeout=20)
        assert serving.returncode == 0
    events = [json.loads(line) for line in told.splitlines()]
    assert [event["event"] for event in events if event["logger"].startswith("collector")] == ["cosigned"] * 3 + [
        "refused",
        "incident",
        "refused",
    ]
    said = run(folder, "export", "--out", str(folder / "trust"))
    assert f"Wrote 3 checkpoints of {ORIGIN} to {folder / 'trust'}." in said
    assert f"incidents that lie in {folder}/trust/incidents: 1" in said
    assert sorted(path.name for path in (folder / "trust").iterdir()) == [
        "00000000000000000005.note",
        "00000000000000000020.note",
        "00000000000000000021.note",
        "incidents",
        "log.vkey",
        "witness.vkey",
    ]


def test_a_beginning_is_read_from_a_file(folder):
    (folder / "mine.note").write_text(LOG.note(20), "utf-8")
    assert (
        run(folder, "trust", str(LOG.key), "--from", str(folder / "mine.note"))
        == f"Cosigning for {ORIGIN}, from 20 entries on.\n"
    )
    assert "already stands at 20" in run(folder, "trust", str(LOG.key), "--from", str(folder / "mine.note"), code=2)
    assert "cannot be read as a checkpoint" in run(
        folder, "trust", str(LOG.key), "--from", str(folder / "none.note"), code=2
    )


def test_what_cannot_be_done_is_said_in_a_sentence(folder, tmp_path):
    assert "already holds a witness" in run(folder, "init", "--name", "other.example/w2", code=2)
    assert "is not trusted" in run(folder, "distrust", str(LOG.key), code=2)
    assert "no log is trusted yet" in run(folder, "export", "--out", str(folder / "trust"), code=2)
    run(folder, "trust", str(LOG.key))
    run(folder, "trust", str(Log("other.example/log").key))
    assert f"say which of {ORIGIN}, other.example/log" in run(folder, "export", "--out", str(folder / "trust"), code=2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "name another address" in run(folder, "serve", "--listen", listen, code=2)
    (tmp_path / "empty").mkdir()
    assert "collector witness init" in run(tmp_path / "empty", "status", code=2)
