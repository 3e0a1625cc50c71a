"""Keys in files, and what a signer refuses to sign."""

from __future__ import annotations

import stat
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from collector.errors import ConfigError, LedgerBroken
from collector.ledger import keys
from collector.ledger.note import Note, TreeHead
from collector.ledger.seal import FileSigner, OtherKey, refuse_other_key, seal

ORIGIN = "ledger.example/acme"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.pem"


def head(size, filled=1):
    return TreeHead(ORIGIN, size, bytes([filled]) * 32)


def test_a_new_key_is_its_owners_alone_and_is_found_again(path):
    made = FileSigner.open(path, ORIGIN, create=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    again = FileSigner.open(path, ORIGIN, create=True)
    assert again.key == made.key == FileSigner.load(path, ORIGIN).key
    assert made.key.name == ORIGIN


def test_a_key_is_never_overwritten(path):
    FileSigner.create(path, ORIGIN)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        FileSigner.create(path, ORIGIN)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_a_key_that_others_could_read_is_refused_with_the_command_that_mends_it(path, mode):
    FileSigner.create(path, ORIGIN)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"others can read .*mode 0{mode:o}.*chmod 600 "):
        FileSigner.load(path, ORIGIN)
    path.chmod(0o400)
    assert FileSigner.load(path, ORIGIN).key.name == ORIGIN


def test_a_file_that_holds_no_key_of_ours_is_refused(path):
    made = FileSigner.create(path, ORIGIN)
    private = load_pem_private_key(path.read_bytes(), None)
    locked = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content, words in [
        (b"", "not a log key"),
        (b"hello", "not a log key"),
        (locked, "unencrypted"),
        (other, "Ed25519"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=words):
            FileSigner.load(path, ORIGIN)
    assert made.key.name == ORIGIN


def test_a_missing_key_is_a_sentence(path):
    with pytest.raises(ConfigError, match="cannot be read"):
        FileSigner.open(path, ORIGIN)
    with pytest.raises(ConfigError, match="cannot be written"):
        FileSigner.create(path / "below" / "nothing", ORIGIN)


def test_a_seal_is_a_note_over_the_tree_head(path):
    signer = FileSigner.create(path, ORIGIN)
    parsed = Note.parse(seal(signer, head(5), None))
    assert parsed.verify([signer.key]) == [signer.key]
    assert TreeHead.parse(parsed.text) == head(5)


def test_a_smaller_tree_than_before_is_not_signed(path):
    signer = FileSigner.create(path, ORIGIN)
    with pytest.raises(LedgerBroken, match="has 4 entries, but a checkpoint over 5"):
        seal(signer, head(4), head(5))


def test_another_root_for_the_same_size_is_not_signed(path):
    signer = FileSigner.create(path, ORIGIN)
    with pytest.raises(LedgerBroken, match="another root"):
        seal(signer, head(5, filled=2), head(5, filled=1))
    assert seal(signer, head(5), head(5))


def test_a_key_signs_for_its_own_ledger_only(path):
    signer = FileSigner.create(path, ORIGIN)
    with pytest.raises(ConfigError, match=r"signs for ledger\.example/acme, this ledger is other\.example"):
        seal(signer, TreeHead("other.example/b", 1, bytes(32)), None)


def test_another_key_than_the_ledger_was_begun_with_is_refused_by_name(path, tmp_path):
    begun = FileSigner.create(path, ORIGIN)
    other = FileSigner.create(tmp_path / "other.pem", ORIGIN)
    known = [keys.read(0, datetime(2026, 3, 1, tzinfo=UTC), keys.first_fields(ORIGIN, begun.key), ORIGIN, [])]
    refuse_other_key(known, begun)
    with pytest.raises(OtherKey) as refused:
        refuse_other_key(known, other)
    assert f"was begun with key {begun.key}" in str(refused.value)
    assert f"this is {other.key}" in str(refused.value)
    assert refused.value.wanted == begun.key
