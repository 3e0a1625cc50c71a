"""The faster arithmetic says what the verifier's own says, about good packages and bad ones, and never more."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from collector.cli import app
from collector.ledger import hashing, merkle, quick, verify
from collector.ledger.quick import Quick
from collector.ledger.verify import Plain
from tests.support.lived import Lived, live, resign
from tests.support.signers import P256Signer

pytestmark = pytest.mark.only("sqlite")
ENTRIES = "ledger/entries.jsonl"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    lived = live(tmp_path_factory.mktemp("day") / "collector")
    yield lived
    lived.ledger.close()


@pytest.fixture(scope="module")
def honest(day: Lived) -> Path:
    return day.export(day.folder.parent / "package").path


@pytest.fixture
def package(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "package"))


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every ledger is long enough to be hashed in a process of its own."""
    monkeypatch.setattr(quick, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(quick.os, "cpu_count", lambda: 2)
    yield
    assert Quick.helpers == []


def prove(path: Path, fast: Any) -> dict[str, Any]:
    return verify.prove(path, None, run_packaged_checks=False, progress=False, fast=fast)


@pytest.mark.parametrize("name", ["package", "package.zip"])
def test_both_say_the_same_of_an_honest_package(day: Lived, tmp_path: Path, name: str) -> None:
    path = day.export(tmp_path / name).path
    assert prove(path, Quick) == prove(path, Plain)
    assert prove(path, Quick)["verified"]


def test_both_name_the_same_thing_first(package: Path, day: Lived) -> None:
    """What breaks the ledger in the middle is found after the walk by one and in it by the other."""
    lines = (package / ENTRIES).read_bytes().splitlines(keepends=True)
    changed = [
        lines[:40] + lines[41:],
        [*lines[:40], lines[40].replace(b'"kind"', b'"Kind"'), *lines[41:]],
        [*lines[:40], lines[40].replace(b'"collector":"', b'"collector":"x'), *lines[41:]],
        [*lines[:40], b"[]\n", *lines[41:]],
        lines[:-1],
        [*lines, lines[-1]],
    ]
    for data in changed:
        (package / ENTRIES).write_bytes(b"".join(data))
        resign(package, day.signer)
        found = prove(package, Quick)
        assert not found["verified"]
        assert found == prove(package, Plain)


def test_json_that_only_one_parser_takes_is_taken(package: Path, day: Lived) -> None:
    """A lone surrogate is no fault of the package, if every hash fits: the verifier's own parser decides."""
    text = b'{"a":"\\ud800"}'
    assert Plain.loads(text) == {"a": "\ud800"}
    with pytest.raises(ValueError, match="surrogate"):
        Quick.loads(text)
    (package / "keys.txt").write_bytes(text)
    resign(package, day.signer)
    assert prove(package, Quick)["verified"]


def test_a_helper_that_fails_proves_nothing_and_breaks_nothing(
    honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit(3)\n")
    monkeypatch.setattr(hashing, "__file__", str(script))
    assert prove(honest, Quick) == prove(honest, Plain)


def test_the_hashing_agrees_with_the_ledgers_own() -> None:
    lines = [b"%d\n" % n for n in range(70)]
    for first in range(20):
        before, after = merkle.Frontier(), merkle.Frontier()
        for line in lines[:first]:
            before.push(merkle.leaf_hash(line[:-1]))
        found = hashing.roots(lines[first:], first, list(before.hashes()), set(range(first + 1, 71)))
        assert found.keys() == set(range(first + 1, 71))
        for line in lines[:first]:
            after.push(merkle.leaf_hash(line[:-1]))
        for seq, line in enumerate(lines[first:], first + 1):
            after.push(merkle.leaf_hash(line[:-1]))
            assert found[seq] == after.root()


def test_the_keys_agree() -> None:
    chance = random.Random(7)
    signer = P256Signer(77)
    for number in range(20):
        message = chance.randbytes(30)
        private = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        public = private.public_key().public_bytes_raw()
        for mine, theirs, signature in (
            (verify.Ed25519Key(public), quick.Ed25519(public), private.sign(message)),
            (verify.P256Key(signer.key.public), quick.P256(signer.key.public), signer.sign(message)),
        ):
            assert mine.verify(message, signature)
            assert theirs.verify(message, signature)
            for _ in range(6):
                changed = bytearray(signature)
                changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
                assert mine.verify(message, bytes(changed)) == theirs.verify(message, bytes(changed)), number
            assert not theirs.verify(message + b"x", signature)
            assert not theirs.verify(message, signature[:-1])
    for data in (b"", b"\x00" * 31, b"\xff" * 32, (2).to_bytes(32, "little")):
        with pytest.raises(ValueError, match="not an Ed25519 key"):
            quick.Ed25519(data)
    for data in (b"", signer.key.public[:-1], signer.key.public[:-1] + b"\0", verify.P256_HEAD + bytes(64)):
        for made in (quick.P256, verify.P256Key):
            with pytest.raises(ValueError, match=r"key|point|curve"):
                made(data)


def test_collector_verify_uses_it(honest: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Any] = []
    honestly = verify.prove

    def seen(*arguments: Any) -> dict[str, Any]:
        used.append(arguments[4])
        return honestly(*arguments)

    monkeypatch.setattr(verify, "prove", seen)
    runner = CliRunner()
    assert runner.invoke(app, ["verify", str(honest)]).exit_code == 0
    (package / "plan.json").write_bytes(b"{}")
    done = runner.invoke(app, ["verify", str(package)])
    assert done.exit_code == 4
    assert "DOES NOT VERIFY: plan.json" in done.stdout
    assert used == [Quick, Quick, Plain]


def test_the_helper_needs_nothing_installed(honest: Path) -> None:
    assert hashing.__file__.endswith("hashing.py")
    text = Path(hashing.__file__).read_text("utf-8")
    imported = {line.split()[1].partition(".")[0] for line in text.split("\n") if line.startswith(("import ", "from "))}
    assert imported <= sys.stdlib_module_names
