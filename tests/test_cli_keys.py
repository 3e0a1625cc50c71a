"""The key of a ledger as an operator meets it: shown, made, rotated, recovered, and what a start says in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from collector import config, daemon, signers
from collector.cli import app
from collector.config import Settings
from collector.demo.cloud import SimulatedCloud
from collector.errors import ConfigError, Denied, LedgerBroken
from collector.ledger.entry import Draft, Kind
from collector.ledger.keys import key_at
from collector.ledger.note import ECDSA_P256, ED25519, Note, VerifierKey
from collector.ledger.seal import FileSigner, OtherKey
from collector.ledger.store import Ledger

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collector that was set up, with a ledger of two entries and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    assert call("init", "--account", "123456789012").exit_code == 0
    ledger = daemon.open_ledger(settings(), create=True)
    beat(ledger)
    ledger.checkpoint(NOW)
    ledger.close()
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def said(*arguments: str) -> str:
    found = call(*arguments)
    assert found.exit_code == 0, (found.output, found.exception)
    return found.output


def refused(error: type[Exception], *arguments: str) -> str:
    found = call(*arguments)
    assert isinstance(found.exception, error), (found.output, found.exception)
    return str(found.exception)


def settings() -> Settings:
    return config.load(Path("collector.toml"), {})


def beat(ledger: Ledger) -> None:
    with ledger.write() as batch:
        batch.add(Draft(Kind.HEARTBEAT, NOW, {"collector": "0.1.0", "host": "h", "uptime_s": 1}))


def configure(line: str) -> None:
    """Puts a line under ``[collector]``, in the place of one that names a key."""
    path = Path("collector.toml")
    kept = [each for each in path.read_text().splitlines() if not each.startswith(("key =", "signer ="))]
    kept.insert(kept.index("[collector]") + 1, line)
    path.write_text("\n".join(kept) + "\n")


def keys() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(said("key", "show", "--json"))
    return rows


def proved() -> None:
    """The ledger opens as it is configured, and each checkpoint is signed by the key of its time."""
    ledger = daemon.open_ledger(settings())
    beat(ledger)
    ledger.checkpoint(NOW)
    for item in ledger.checkpoints():
        key = key_at(item.size, ledger.key_entries())
        assert key is not None
        assert Note.parse(item.note).verify([key])
    ledger.close()


def test_show_prints_what_an_auditor_is_handed(folder: Path) -> None:
    (row,) = keys()
    key = FileSigner.load(folder / "data" / "log.key", settings().collector.origin).key
    assert row == {"entry": 0, "at": row["at"], "how": "begun", "reason": "the ledger begins", "vkey": str(key)}
    text = said("key", "show")
    assert text.splitlines()[-1] == str(key)
    assert "log.vkey" in text
    (folder / "data" / "log.key").unlink()  # no private key is needed
    assert keys() == [row]


def test_a_new_key_is_made_beside_and_signs_nothing(folder: Path) -> None:
    text = said("key", "new", "--out", "next.key")
    made = FileSigner.load(folder / "next.key", settings().collector.origin)
    assert text.splitlines()[-1] == str(made.key)
    assert "signs nothing yet" in text
    assert "never overwritten" in refused(ConfigError, "key", "new", "--out", "next.key")
    assert len(keys()) == 1
    proved()


def test_a_rotation_says_what_to_change_and_the_next_start_says_it_again(folder: Path) -> None:
    vkey = said("key", "new", "--out", "next.key").splitlines()[-1]
    text = said("key", "rotate", "--to", "next.key", "--reason", "the yearly rotation")
    line = f'key = "{folder / "next.key"}"'
    assert line in text
    assert "restart the collector" in text
    assert text.splitlines()[-1] == vkey
    rows = keys()
    assert [(row["how"], row["reason"]) for row in rows] == [
        ("begun", "the ledger begins"),
        ("rotated", "the yearly rotation"),
    ]
    with pytest.raises(OtherKey) as stopped:
        daemon.open_ledger(settings())
    assert f"That key is {folder / 'next.key'}: write {line}, and start again" in str(stopped.value)
    assert "the yearly rotation" in str(stopped.value)
    assert line in refused(OtherKey, "status")
    assert line in refused(OtherKey, "key", "rotate", "--to", "next.key", "--reason", "again")
    configure(line)
    proved()
    ledger = daemon.open_ledger(settings())
    signed = [(item.size, Note.parse(item.note).signatures[0].id.hex()) for item in ledger.checkpoints()]
    ledger.close()
    ids = [VerifierKey.parse(row["vkey"]).id.hex() for row in rows]
    assert signed == [(2, ids[0]), (3, ids[1]), (4, ids[1])]


def test_a_rotation_that_cannot_be_leaves_everything_as_it_was(folder: Path) -> None:
    said("key", "new", "--out", "next.key")
    before = keys()
    for to, words in [
        ("nowhere.key", "cannot be read"),
        ("gopher://key", "names no key"),
        (str(folder / "data" / "log.key"), "signs this ledger already"),
    ]:
        assert words in refused(ConfigError, "key", "rotate", "--to", to, "--reason", "a mistake")
    assert "one line of 1 to 500" in refused(ConfigError, "key", "rotate", "--to", "next.key", "--reason", "two\nlines")
    (folder / "data" / "log.key").rename(folder / "lost.key")
    assert "cannot be read" in refused(ConfigError, "key", "rotate", "--to", "next.key", "--reason", "no old key")
    (folder / "lost.key").rename(folder / "data" / "log.key")
    assert keys() == before
    proved()


def test_a_recovery_is_for_a_key_that_is_lost(folder: Path) -> None:
    vkey = said("key", "new", "--out", "next.key").splitlines()[-1]
    words = refused(ConfigError, "key", "recover", "--to", "next.key", "--reason", "for comfort")
    assert "is not lost, the configuration names it: use key rotate" in words
    (folder / "data" / "log.key").unlink()
    text = said("key", "recover", "--to", "next.key", "--reason", "the disk died")
    assert "Nobody can follow by the old key" in text
    assert text.splitlines()[-1] == vkey
    assert [row["how"] for row in keys()] == ["begun", "recovered"]
    configure(f'key = "{folder / "next.key"}"')
    proved()


# Dies by SIGKILL at the moment that is named: before or after the entry of the new key is on disk.
DYING = """
import os, signal, sys
from collector.cli import app
from collector.ledger.store import Ledger

when, method = sys.argv.pop(1), Ledger.rotate

def rotate(self, *arguments):
    if when == "after":
        method(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)

Ledger.rotate = rotate
app()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_rotation_that_is_killed_is_whole_or_not_there_and_the_next_start_says_which_key(
    folder: Path, when: str
) -> None:
    said("key", "new", "--out", "next.key")
    command = [sys.executable, "-c", DYING, when, "key", "rotate", "--to", "next.key", "--reason", "killed"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    died = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr
    if when == "before":
        assert len(keys()) == 1
        proved()
        said("key", "rotate", "--to", "next.key", "--reason", "once more")
    line = f'key = "{folder / "next.key"}"'
    assert f"write {line}, and start again" in refused(OtherKey, "status")
    configure(line)
    proved()


def test_what_was_remembered_is_believed_for_its_own_key_only(folder: Path) -> None:
    found = settings()
    key = FileSigner.create(folder / "a.key", found.collector.origin).key
    other = FileSigner.create(folder / "b.key", found.collector.origin).key
    assert signers.where_is(found, key) == ""
    signers.remember(found, key, "/somewhere/a.key")
    assert signers.where_is(found, key) == "/somewhere/a.key"
    assert signers.where_is(found, other) == ""
    for damaged in (b"", b"[]", b"{}", b'{"vkey": 1}', b"\xff", b"x" * 20_000):
        (found.collector.data / signers.NEXT).write_bytes(damaged)
        assert signers.where_is(found, key) == ""
    error = OtherKey("words", other)
    assert signers.explained(found, error) is error


def test_an_old_copy_of_the_ledger_gets_no_key_of_its_own(folder: Path) -> None:
    """A place outside holds more than this ledger has: a restored backup."""
    path = Path("collector.toml")
    path.write_text(path.read_text() + '\n[anchors.file.usb]\nfolder = "usb"\n')
    (folder / "usb").mkdir()
    copy = (folder / "data" / "ledger.db").read_bytes()
    proved()  # the ledger goes on, and that is what is held outside
    said("anchor", "now")
    for file in (folder / "data").glob("ledger.db*"):
        file.unlink()
    (folder / "data" / "ledger.db").write_bytes(copy)
    said("key", "new", "--out", "next.key")
    words = refused(LedgerBroken, "key", "rotate", "--to", "next.key", "--reason", "of a backup")
    assert "file/usb holds a checkpoint over" in words
    assert len(keys()) == 1


def test_the_key_moves_from_a_file_through_three_clouds(folder: Path, simulated_cloud: SimulatedCloud) -> None:
    kms = simulated_cloud.client("kms", "eu-west-1")
    arn = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    vault = simulated_cloud.azure.vault_key(vault="kv-evidence", name="log")
    version = "projects/acme-prod/locations/europe-west1/keyRings/evidence/cryptoKeys/log/cryptoKeyVersions/1"
    simulated_cloud.gcp.put(
        resource={
            "assetType": "cloudkms.googleapis.com/CryptoKeyVersion",
            "name": version,
            "algorithm": "EC_SIGN_ED25519",
            "state": "ENABLED",
            "protectionLevel": "HSM",
            "ancestors": [],
        }
    )
    tour = [f"awskms:///{arn}", vault.replace("https://", "azurekv://"), f"gcpkms://{version}"]
    for uri in tour:
        assert f'signer = "{uri}"' in said("key", "rotate", "--to", uri, "--reason", "on to the next")
        with pytest.raises(OtherKey, match="on to the next"):
            daemon.open_ledger(settings())
        configure(f'signer = "{uri}"')
        proved()
    rows = keys()
    assert [row["how"] for row in rows] == ["begun", "rotated", "rotated", "rotated"]
    algorithms = [VerifierKey.parse(row["vkey"]).algorithm for row in rows]
    assert algorithms == [ED25519, ECDSA_P256, ECDSA_P256, ED25519]
    said("key", "new", "--out", "back.key")
    text = said("key", "rotate", "--to", "back.key", "--reason", "home again")
    assert f'write key = "{folder / "back.key"}", and remove signer.' in text
    assert "and remove signer, and start again" in refused(OtherKey, "status")
    configure(f'key = "{folder / "back.key"}"')
    proved()


def test_a_key_service_that_refuses_is_said_at_the_start(folder: Path, simulated_cloud: SimulatedCloud) -> None:
    kms = simulated_cloud.client("kms", "eu-west-1")
    arn = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    said("key", "rotate", "--to", f"awskms:///{arn}", "--reason", "into the key service")
    configure(f'signer = "awskms:///{arn}"')
    simulated_cloud.fault("denied", service="kms", operation="GetPublicKey", label="keys")
    try:
        assert "allow kms:GetPublicKey on the key" in refused(Denied, "status")
        said("key", "new", "--out", "next.key")
        assert "kms:GetPublicKey" in refused(Denied, "key", "rotate", "--to", "next.key", "--reason", "denied")
        text = said("key", "recover", "--to", "next.key", "--reason", "the account was closed")
        assert "remove signer" in text
    finally:
        simulated_cloud.clear_faults("keys")
    assert [row["how"] for row in keys()] == ["begun", "rotated", "recovered"]
