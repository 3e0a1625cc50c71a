"""A window in which the key changed, as a stranger verifies it: who follows whom, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collector.ledger import verify
from collector.ledger.note import TreeHead
from collector.ledger.seal import Signer, seal
from tests.support.lived import EXPORTED, Lived, resign
from tests.support.signers import P256Signer, ed25519


class Told:
    """One export, and what the verifier says of it to a reader who holds some keys."""

    def __init__(self, lived: Lived, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.lived, self.package, self._capsys = lived, package, capsys

    def __call__(self, *held: Signer) -> tuple[int, str]:
        arguments = [str(self.package), "--json"]
        if held:
            trust = self.package.parent / "trust"
            trust.mkdir(exist_ok=True)
            (trust / "log.vkey").write_text("".join(f"{each.key}\n" for each in held))
            arguments += ["--trust", str(trust)]
        self._capsys.readouterr()
        code = verify.main(arguments)
        found: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return code, json.dumps(found)


class Window:
    """A morning under a first key, a noon under a second, of ECDSA, and an afternoon under a third."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], *, recovered: bool) -> None:
        self.lived = Lived(folder / "company")
        origin = self.lived.ledger.origin
        self.first = self.lived.signer
        self.second, self.third, self.stranger = P256Signer(0xB0B, origin), ed25519(b"c", origin), ed25519(b"s", origin)
        self.hours(6)
        self.lived.ledger.rotate(self.second, self.lived.now, "moved into the key service")
        self.hours(6)
        change = self.lived.ledger.recover if recovered else self.lived.ledger.rotate
        change(self.third, self.lived.now, "the key service was closed")
        self.hours(6)
        self.lived.now = EXPORTED
        self.lived.forged_signer = self.third
        self.lived.export(folder / "package")
        self.told = Told(self.lived, folder / "package", capsys)

    def hours(self, count: int) -> None:
        for _ in range(count):
            self.lived.hour()


@pytest.fixture
def rotated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Window:
    return Window(tmp_path, capsys, recovered=False)


@pytest.fixture
def recovered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Window:
    return Window(tmp_path, capsys, recovered=True)


def test_who_holds_any_key_of_a_chain_of_rotations_follows_it(rotated: Window) -> None:
    for held in (rotated.first, rotated.second, rotated.third):
        code, words = rotated.told(held)
        assert code == 0, words
        assert "2 changes, each signed for" in words
    code, words = rotated.told()
    assert code == 0, words
    code, words = rotated.told(rotated.stranger)
    assert code == 4, words


def test_a_recovery_is_believed_by_who_holds_the_new_key_only(recovered: Window) -> None:
    for held in (recovered.first, recovered.second):
        code, words = recovered.told(held)
        assert code == 4, words
    code, words = recovered.told(recovered.third)
    assert code == 0, words
    assert "recover" in words


def test_a_checkpoint_by_the_key_before_is_refused(rotated: Window) -> None:
    ledger, folder = rotated.lived.ledger, rotated.told.package / "checkpoints"
    change = ledger.key_entries()[1].seq
    path = next(path for path in sorted(folder.iterdir()) if int(path.stem) > change)
    size = int(path.stem)
    path.write_text(seal(rotated.first, TreeHead(ledger.origin, size, ledger.root(size)), None))
    resign(rotated.told.package, rotated.third)  # type: ignore[arg-type]
    code, words = rotated.told(rotated.first)
    assert code == 4
    assert f"{size:020d}.note" in words
    assert "is not signed by" in words


def test_a_manifest_by_any_other_key_than_the_newest_is_refused(rotated: Window) -> None:
    for signer in (rotated.first, rotated.second, rotated.stranger):
        resign(rotated.told.package, signer)  # type: ignore[arg-type]
        code, words = rotated.told(rotated.first, rotated.second, rotated.third)
        assert code == 4, words
