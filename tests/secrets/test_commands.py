"""What commands say when they fail: no password of a database, no secret of the configuration, on neither stream.

Each is run as its entry point runs it, in this process; a crash that nobody foresaw is run in one of its own.
"""

from __future__ import annotations

import gc
import io
import json
import socket
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector import config, hush
from collector.cli import main
from collector.errors import ConfigError
from collector.ledger.seal import FileSigner
from tests.secrets.planting import MARK, secret
from tests.secrets.searching import all_leaks, leaks

PASSWORD = secret("database")
AWKWARD = f"p@{PASSWORD}:x/y"
HERE = "127.0.0.1:1/ledger"
GUID = "11111111-2222-4333-8444-555555555555"
SETTINGS = '[collector]\norigin = "test.local/commands"\n[[aws]]\naccount = "123456789012"\n'
CONTROL = (
    '[controls.A]\ntitle = "A."\nowner = "o"\ncriteria = ["CC6.1"]\ncadence = "1h"\nchecks = ["aws-iam-user-mfa"]\n'
)

URLS = {
    "nobody listens": f"postgresql+psycopg://app:{PASSWORD}@{HERE}",
    "a password in the query": f"postgresql+psycopg://{HERE}?password={PASSWORD}",
    "quoted": f"postgresql+psycopg://app:{urllib.parse.quote(AWKWARD, safe='')}@{HERE}",
    "not quoted": f"postgresql+psycopg://app:{AWKWARD}@{HERE}",
    "taken for a port": f"postgresql+psycopg://app:x@db:{PASSWORD}@{HERE}",
    "an old driver": f"postgresql+pg8000://app:{PASSWORD}@{HERE}",
    "another database": f"mysql://app:{PASSWORD}@{HERE}",
    "no URL": f"postgresql:app:{PASSWORD}@{HERE}",
    "no host": f"sqlite://app:{PASSWORD}@/",
}
COMMANDS = [
    "status",
    "status --json",
    "once --json",
    "decisions",
    "window list",
    "window show w",
    "key show --json",
    "key rotate --to new.key --reason r",
    "anchor list --json",
    "db verify",
    "db rebuild",
    "db expire",
    "export --window w --out package",
]


class Refusing:
    """As much of a PostgreSQL server as asks for a password, and quotes it when it refuses."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client:
                while (start := client.recv(8192))[4:8] in (b"\x04\xd2\x16\x2f", b"\x04\xd2\x16\x30"):
                    client.sendall(b"N")  # no TLS, no GSSAPI
                if not start:
                    continue
                client.sendall(b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big"))  # a password in the clear
                password = client.recv(8192)[5:-1]
                self.heard.append(password)
                words = b'MPassword authentication failed for user "app" with ' + password
                body = b"\x00".join([b"SFATAL", b"VFATAL", b"C28P01", words]) + b"\x00\x00"
                client.sendall(b"E" + (len(body) + 4).to_bytes(4, "big") + body)

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    found = Refusing()
    yield found
    found.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> Path:
    """A folder with a configuration, in which a command is run."""
    (tmp_path / "collector.toml").write_text(
        f'{SETTINGS}[retention]\npayloads = "400d"\n'
        '[windows.w]\nstart = 2026-01-01\nend = 2026-01-02\ncriteria = ["CC6.1"]\n'
    )
    (tmp_path / "controls.toml").write_text(CONTROL)
    (tmp_path / "data").mkdir()
    for name in ("data/log.key", "new.key"):
        FileSigner.create(tmp_path / name, "test.local/commands")
    monkeypatch.chdir(tmp_path)
    return tmp_path


Run = Callable[..., bytes]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command as ``collector`` does and returns all that it said, with its exit code at the end."""
    thresholds = gc.get_threshold()

    def run(*words: str, **environ: str) -> bytes:
        hush.forget()
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["collector", *words])
            patch.setattr(sys, "stderr", sys.stderr)
            code: object = "returned"
            try:
                main()
            except SystemExit as ended:
                code = ended.code
        said = capfd.readouterr()
        return f"{said.out}{said.err}\nexit {code}".encode()

    yield run
    gc.set_threshold(*thresholds)


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_no_way_of_writing_a_database_shows_its_password(folder: Path, run: Run, url: str) -> None:
    said = run("db", "upgrade", COLLECTOR_COLLECTOR__DATABASE=url)
    assert b"exit 2" in said, said
    assert not leaks("db upgrade", said)
    for part in (PASSWORD, AWKWARD):
        assert part.encode() not in said


@pytest.mark.parametrize("words", COMMANDS)
def test_no_command_shows_the_password_of_a_database_that_is_not_there(folder: Path, run: Run, words: str) -> None:
    said = run(*words.split(), COLLECTOR_COLLECTOR__DATABASE=URLS["nobody listens"])
    assert b"exit 2" in said or words == "window list", said  # which shows what the configuration says
    assert b"127.0.0.1:1/ledger" in said  # it is this database that was asked
    assert not leaks(words, said)


def test_a_server_that_quotes_the_password_in_its_refusal_is_not_quoted(
    folder: Path, run: Run, refusing: Refusing, log: io.StringIO
) -> None:
    url = f"postgresql+psycopg://app:{PASSWORD}@127.0.0.1:{refusing.port}/ledger"
    said = {words: run(*words.split(), COLLECTOR_COLLECTOR__DATABASE=url) for words in ("status", "db upgrade")}
    assert set(refusing.heard) == {PASSWORD.encode()}
    assert all(b"with [redacted]" in words for words in said.values())
    assert not all_leaks({**said, "log": log.getvalue().encode()})


@pytest.mark.parametrize("how", ["by an option", "by a variable", "as a word that was not asked for"])
def test_moving_to_a_database_that_refuses_does_not_show_its_password(
    folder: Path, run: Run, refusing: Refusing, how: str
) -> None:
    url = f"postgresql+psycopg://app:{PASSWORD}@127.0.0.1:{refusing.port}/ledger"
    assert b"with 0 entries" in run("db", "upgrade")
    if how == "by an option":
        said = run("db", "move", "--to", url)
    elif how == "by a variable":
        said = run("db", "move", COLLECTOR_MOVE_TO=url)
    else:
        said = run("db", "move", "--to", "sqlite:///new.db", url)  # the complaint quotes it
        assert b"[redacted]" in said
    assert b"exit 2" in said, said
    assert not leaks("db move", said)
    assert bool(refusing.heard) == (how != "as a word that was not asked for")


MISTAKES = {
    "a URL for the name of a variable": '[alerts.slack.chat]\nurl_env = "https://hooks.slack.com/services/{}"\n',
    "a URL for a key that is not there": '[alerts.slack.chat]\nurl = "https://hooks.slack.com/services/{}"\n',
    "a user in a URL": '[alerts.webhook.w]\nurl = "https://ada:{}@hooks.example/"\nsecret_env = "X"\n',
    "a user in the URL of an authority": '[anchors.tsa.t]\nurl = "https://ada:{}@tsa.example/"\nroots = "r.pem"\n',
    "a signed URL of a queue": f'[feed.azure.q]\nqueue_url = "https://a.queue.core.windows.net/q?sv=1&sig={{}}"\n'
    f'tenant = "{GUID}"\n',
    "a signed URL of a container": "[anchors.azure-blob.b]\n"
    f'container = "https://a.blob.core.windows.net/c?sv=1&sig={{}}"\ntenant = "{GUID}"\n',
    "a password for a user": '[alerts.email.e]\nhost = "h"\nport = 587\nfrom = "a@b.example"\nto = ["{}"]\n',
    "no TOML": '[alerts.webhook.w]\npassword = "{}\n',
    "a secret for a scope": '[windows.v]\nstart = 2026-01-01\nend = 2026-01-02\ncriteria = ["CC6.1"]\nscopes = 1\n'
    'token = "{}"\n',
}


@pytest.mark.parametrize("table", MISTAKES.values(), ids=MISTAKES)
def test_a_secret_at_the_wrong_place_of_the_configuration_is_not_said_again(folder: Path, run: Run, table: str) -> None:
    with (folder / "collector.toml").open("a") as file:
        file.write("\n" + table.replace("{}", secret("misplaced")))
    said = run("status", "--json")
    assert b"exit 2" in said, said
    assert b"collector.toml" in said
    assert not leaks("status", said)


def test_the_query_of_a_receiver_is_not_in_the_record_of_the_configuration(folder: Path) -> None:
    """A record is an entry of the ledger. Authorities that take a key take it in the query."""
    with (folder / "collector.toml").open("a") as file:
        file.write(f'\n[anchors.tsa.t]\nurl = "https://tsa.example/stamp?key={secret("tsa")}"\nroots = "r.pem"\n')
        file.write(f'\n[alerts.webhook.w]\nurl = "https://h.example/{secret("hook")}"\nsecret_env = "X"\n')
    settings = config.load(folder / "collector.toml", {})
    record = json.dumps(settings.record())
    assert '"https://tsa.example/stamp"' in record
    assert MARK not in record
    assert MARK not in str(ConfigError(f"cannot reach {settings.anchors.tsa['t'].url}"))


CRASH = """
import os, threading
from collector import cli
from collector.cli import terminal
def crash(settings):
    def work():
        raise RuntimeError("a thread lost " + os.environ["MY_PASSWORD"])
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    raise RuntimeError("cannot reach " + settings.collector.database + " with " + os.environ["MY_PASSWORD"])
terminal.daemon.open_ledger = crash
cli.main()
"""


def test_a_crash_that_nobody_foresaw_shows_its_trace_without_secrets(folder: Path) -> None:
    environ = {"COLLECTOR_COLLECTOR__DATABASE": URLS["nobody listens"], "MY_PASSWORD": secret("crash")}
    import os

    done = subprocess.run(
        [sys.executable, "-c", CRASH, "status"],
        env={**os.environ, **environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, "1 would say that everything could be observed"
    assert done.stderr.count(b"Traceback") == 2
    assert done.stderr.count(b"[redacted]") >= 3
    assert not leaks("crash", done.stdout + done.stderr)
