"""What is in the trust folder decides what a package proves; what is in neither is said; and the smaller arithmetic."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector import canonical, retention
from collector.anchor import timestamp
from collector.export import sampling
from collector.export.read import Asked
from collector.ledger import cosignature, merkle, verify
from collector.ledger.cosignature import WitnessKey
from collector.ledger.note import TreeHead, VerifierKey
from collector.ledger.seal import FileSigner, seal
from tests.attacks.conftest import live
from tests.attacks.world import World, alarm, levels, prove
from tests.support.lived import ACCOUNT, HOME, HOUR, resign
from tests.support.openssl_tsa import OPENSSL, OpensslTsa

VECTORS = Path(__file__).resolve().parents[1] / "ledger" / "vectors" / "keys.json"
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="no openssl command here")


def told(found: dict[str, Any], words: str) -> bool:
    return any(words in said for said in found["not_proved"])


# --- levels ---


@pytest.mark.parametrize(
    ("holding", "reached"),
    [
        (["log.vkey"], [True, False, False, False]),
        (["tsa.pem"], [True, False, True, False]),
        (["witness.vkey"], [True, False, False, True]),
        (["vault"], [True, True, False, False]),
        (["log.vkey", "tsa.pem", "witness.vkey"], [True, False, True, True]),
    ],
)
def test_each_level_rests_on_what_is_held(
    honest: Path, trust: Path, tmp_path: Path, holding: list[str], reached: list[bool]
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in holding:
        if (trust / name).is_dir():
            shutil.copytree(trust / name, mine / "fetched" / name)
        else:
            shutil.copy(trust / name, mine)
    found = prove(honest, mine)
    assert found["verified"]
    assert levels(found) == reached
    assert found["assurance"]["level"] == max(n for n, holds in enumerate(reached) if holds)
    assert told(found, "whose key it is") == ("log.vkey" not in holding)


def test_without_a_trust_folder_nothing_is_believed_and_all_of_it_said(honest: Path) -> None:
    found = prove(honest)
    assert levels(found) == [True, False, False, False]
    for words in (
        "whose key it is",
        "you hold no checkpoint of it",
        "you hold no roots",
        "witness whose key you do not",
    ):
        assert told(found, words), words


def test_the_text_for_people_says_how_strong_it_is(
    honest: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify.main([str(honest), "--trust", str(trust)]) == 0
    said = capsys.readouterr().out
    assert "Assurance level 3 of 3: witnessed" in said
    for number in range(4):
        assert f"\n  {number} yes " in said
    assert "What cryptography does not catch, and what does" in said
    assert said.count("    instead: ") == len(verify.LIMITS)


def test_checkpoints_of_other_ledgers_are_passed_over_and_told(honest: Path, trust: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(trust, tmp_path / "mine"))
    other = FileSigner(Ed25519PrivateKey.generate(), "other.example/ledger")
    note = seal(other, TreeHead("other.example/ledger", 3, bytes(32)), None)
    (mine / "other.note").write_text(note)
    (mine / "log.vkey").write_text((mine / "log.vkey").read_text() + f"{other.key}\n")
    found = prove(honest, mine)
    assert levels(found) == [True, True, True, True]
    assert told(found, "your checkpoint other.note is of another ledger, other.example/ledger")


def test_a_witness_key_among_the_ledgers_keys_is_refused(honest: Path, trust: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(trust, tmp_path / "mine"))
    shutil.copy(mine / "witness.vkey", mine / "log.vkey")
    with pytest.raises(verify.UsageError, match="not a key of the kind that belongs here"):
        prove(honest, mine)


# --- time stamps ---


def test_without_openssl_stamps_are_said_not_to_be_verified(
    honest: Path, trust: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify.shutil, "which", lambda _: None)
    found = prove(honest, trust)
    assert levels(found) == [True, True, False, True]
    assert told(found, "was not verified: there is no openssl command here")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'unknown option -attime' >&2; exit 1", "this openssl command cannot verify time stamps"),
        ("exit 0", "this openssl command cannot verify time stamps"),
        ("echo 'Verification: FAILED'; echo '1:error:0A:x:y:some reason:z' >&2; exit 1", "some reason"),
    ],
)
def test_an_openssl_that_knows_no_time_stamps(
    honest: Path, trust: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    """As that of LibreSSL: what it cannot do is no fault of the package."""
    fake = tmp_path / "openssl"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setattr(verify.shutil, "which", lambda _: str(fake))
    found = prove(honest, trust)
    assert found["verified"]
    assert levels(found) == [True, True, False, True]
    assert said in found["assurance"]["levels"][2]["words"]


@pytest.fixture(scope="module")
def rsa_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpensslTsa]:
    """Another implementation: RSA, a chain of three, SHA-512 in its signatures."""
    tsa = OpensslTsa(tmp_path_factory.mktemp("tsa"), ordered=True)
    yield tsa
    tsa.close()


@needs_openssl
def test_the_stamps_of_another_authority_are_read_and_verified(rsa_authority: OpensslTsa, tmp_path: Path) -> None:
    note = b"some checkpoint\n"
    token = rsa_authority.reply(timestamp.request(note, 7))
    stamp = verify.TimeStamp(token)
    assert stamp.fits(note)
    assert not stamp.fits(note + b"x")
    assert abs(stamp.time - datetime.now(UTC).timestamp()) < 60
    roots = tmp_path / "tsa.pem"
    roots.write_bytes(rsa_authority.root_pem)
    assert OPENSSL is not None
    assert verify.openssl_says(OPENSSL, token, stamp, roots) == ""
    flipped = bytearray(token)
    flipped[-3] ^= 1
    with pytest.raises(ValueError, match="does not fit what it says"):
        verify.openssl_says(OPENSSL, bytes(flipped), stamp, roots)
    stamp.digest = bytes(32)
    with pytest.raises(ValueError, match="does not fit what it says"):
        verify.openssl_says(OPENSSL, token, stamp, roots)


@needs_openssl
def test_a_certificate_counts_as_of_the_time_of_the_stamp(world: World, honest: Path, trust: Path) -> None:
    """Stamps outlive the certificate that they were made with; and one made after its end proves nothing."""
    name = min((honest / "anchors").glob("*.tsr"))
    stamp = verify.TimeStamp(name.read_bytes())
    assert OPENSSL is not None
    assert verify.openssl_says(OPENSSL, name.read_bytes(), stamp, trust / "tsa.pem") == ""
    stamp.time += 40 * 365 * 86_400
    assert "expired" in verify.openssl_says(OPENSSL, name.read_bytes(), stamp, trust / "tsa.pem")


def test_bytes_that_are_no_time_stamp(honest: Path) -> None:
    token = min((honest / "anchors").glob("*.tsr")).read_bytes()
    verify.TimeStamp(token)
    for place in range(0, len(token), 7):
        for cut in (token[:place], token[:place] + token[place + 1 :]):
            try:
                verify.TimeStamp(cut)
            except (ValueError, IndexError):
                continue
            assert place > 200, "a token that lost a byte of what it signs was read"


@pytest.mark.parametrize(
    "data",
    ["30", "30810100", "30800000", "300500", "0200", "02020001", "1f0100", "30850101010101", "0202ff80"],
)
def test_der_that_is_not_as_it_must_be(data: str) -> None:
    with pytest.raises(ValueError, match="not DER"):
        verify.der(bytes.fromhex(data))


# --- cosignatures ---

# c2sp.org/tlog-cosignature, the published example. Its key is not published, so what can be read of it is compared.
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
LOG = "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8="
COSIGNED = "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="
EXAMPLE = (
    f"example.com/behind-the-sofa\n20852163\n{ROOT}\n\n"
    f"\u2014 example.com/behind-the-sofa {LOG}\n\u2014 witness.example.com/w1 {COSIGNED}\n"
)


def test_the_published_example_of_a_cosignature() -> None:
    note = verify.Note(EXAMPLE.encode())
    assert (note.origin, note.size) == ("example.com/behind-the-sofa", 20852163)
    name, id, signature = note.signatures[1]
    assert (name, id.hex(), len(signature)) == ("witness.example.com/w1", "8d66cf3f", 72)
    assert int.from_bytes(signature[:8], "big") == 1679315147


def test_a_cosignature_is_believed_under_its_own_key_alone() -> None:
    private = Ed25519PrivateKey.generate()
    key = WitnessKey("witness.example", private.public_key().public_bytes_raw())
    text = TreeHead("ledger.example/a", 9, bytes(32)).text()
    log = FileSigner(Ed25519PrivateKey.generate(), "ledger.example/a")
    line = cosignature.sign(key, private.sign, text, 1_700_000_000)
    note = verify.Note((seal(log, TreeHead("ledger.example/a", 9, bytes(32)), None) + line).encode())
    mine = verify.Key(str(key), verify.Plain, (4,))
    assert note.cosigned(mine) == 1_700_000_000
    assert note.doubt(verify.Key(str(log.key), verify.Plain)) == ""
    other = WitnessKey("witness.example", Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    assert note.cosigned(verify.Key(str(other), verify.Plain, (4,))) is None
    as_log_key = VerifierKey("witness.example", key.public)
    assert verify.Key(str(as_log_key), verify.Plain).id != mine.id
    changed = verify.Note((note.text + "\n" + line).replace("\n9\n", "\n8\n").encode())
    with pytest.raises(ValueError, match=r"is not what witness\.example cosigned"):
        changed.cosigned(mine)


# --- keys ---


def chain(entries: list[Any], newest: str, held: str, tmp_path: Path) -> verify.Proof:
    folder = tmp_path / "held"
    folder.mkdir(exist_ok=True)
    (folder / "log.vkey").write_text(f"{held}\n")
    files = verify.Files(verify.Folder(tmp_path))
    proof = verify.Proof(files, verify.Trust(folder, tmp_path / "package", verify.Plain), progress=False)
    proof.kept = {entry["seq"]: entry for entry in entries}
    proof.key = verify.Key(newest, verify.Plain)
    proof.check_keys()
    return proof


def test_the_keys_of_a_ledger_follow_one_another(tmp_path: Path) -> None:
    found = json.loads(VECTORS.read_text())
    entries = [json.loads(body) for body in found["entries"]]
    keys = [entry for entry in entries if entry["kind"] == "key"]
    first, second, third = (entry["vkey"] for entry in keys)
    assert chain(keys[:2], second, first, tmp_path).proved[-1] == "the key is signed for by the one that you hold"
    assert chain(keys[:2], second, second, tmp_path).proved[-1] == "the key is the one that you hold"
    with pytest.raises(verify.BrokenError):  # a recovery: nobody signed for the third
        chain(keys, third, second, tmp_path)
    assert any("was lost and not stolen" in said for said in chain(keys, third, third, tmp_path).unproved)
    with pytest.raises(verify.BrokenError):  # the manifest is signed by the newest
        chain(keys, second, second, tmp_path)


def test_a_key_that_does_not_follow_is_refused(tmp_path: Path) -> None:
    found = json.loads(VECTORS.read_text())
    entries = {entry["seq"]: entry for entry in map(json.loads, found["entries"]) if entry["kind"] == "key"}
    assert len(found["refused"]) > 5
    for case in found["refused"]:
        wrong = json.loads(case["body"])
        before = [entry for seq, entry in sorted(entries.items()) if seq < case["seq"]]
        with pytest.raises((verify.BrokenError, KeyError)):
            chain([*before, wrong], wrong["vkey"], before[0]["vkey"], tmp_path)


# --- what is left out, and what is gone ---


def test_a_filter_leaves_out_rows_and_payloads_and_counts_them(world: World, honest: Path, tmp_path: Path) -> None:
    asked = Asked(controls=("DATA-1",), scopes=(f"aws/{ACCOUNT}/{HOME}",))
    path = world.export(tmp_path / "package", asked=asked).path
    found = prove(path, world.trust(tmp_path / "trust"))
    assert found["verified"], found["broken"]
    assert levels(found) == [True, True, True, True]
    assert found["left_out"]["slot"] == 40
    assert found["left_out"]["run"] > 20
    assert told(found, "40 slots of checks or scopes that this export leaves out are not accounted for in it, nor")
    assert "10 due" in " ".join(found["proved"])


def test_payloads_that_expired_are_told_and_those_that_are_there_are_proved(tmp_path: Path) -> None:
    world = live(World(tmp_path / "collector", more='\n[retention]\npayloads = "8h"\n'))
    assert retention.drop(world.ledger, world.settings, world.now) is not None
    world.anchor()
    path = world.export(tmp_path / "package").path
    found = prove(path, world.trust(tmp_path / "trust"))
    assert found["verified"], found["broken"]
    assert told(found, "payload expired (raw answers and call logs are kept for 8h")
    assert told(found, "runs were not re-performed: their payloads expired")
    assert any("give the same verdicts again" in said for said in found["proved"])
    for name in (path / "objects").rglob("*"):
        if name.is_file() and name.read_bytes().count(b"\n") > 3 and b"{" not in name.read_bytes():
            name.unlink()  # the list itself
            break
    else:
        pytest.fail("there is no list of what expired")
    resign(path, world.signer)
    assert ": is missing: " in alarm(path)
    world.close()


# --- entries from before the range ---


@pytest.fixture
def proof(package: Path) -> Path:
    return min((package / "proofs").glob("*.tlog-proof"))


def test_a_proof_proves_one_entry_and_no_other(package: Path, world: World, proof: Path) -> None:
    body = proof.with_suffix(".json")
    before = body.read_bytes(), proof.read_bytes()
    other = sorted((package / "proofs").glob("*.tlog-proof"))[1]
    changes = [
        (before[0].replace(b'"at":"2025', b'"at":"2024'), before[1], "it gives another root"),
        (other.with_suffix(".json").read_bytes(), before[1], "is no proof of an entry"),
        (before[0], other.read_bytes(), "is no proof of an entry"),
        (before[0], before[1].replace(b"index ", b"index 1", 1), "is no proof of an entry"),
        (before[0], b"\n".join(before[1].split(b"\n")[:2] + before[1].split(b"\n")[3:]), "is no proof of an entry"),
        (before[0], before[1].replace(b"@v1", b"@v2"), "is no proof of an entry"),
        (before[0], before[1][:-5] + b"AAAA\n", "is no proof of an entry"),
    ]
    for data, proved, said in changes:
        assert (data, proved) != before
        body.write_bytes(data)
        proof.write_bytes(proved)
        resign(package, world.signer)
        assert said in alarm(package), said
    body.write_bytes(before[0])
    proof.write_bytes(before[1].replace(b"@v1\n", b"@v1\nextra aGVsbG8=\n", 1))
    resign(package, world.signer)
    assert prove(package)["verified"]  # c2sp.org/tlog-proof allows it, and nobody trusts it
    proof.unlink()
    resign(package, world.signer)
    assert "is not one of the two files that prove an older entry" in alarm(package)


def test_a_proof_is_read_in_trees_of_every_size() -> None:
    for size in range(1, 40):
        leaves = [merkle.leaf_hash(b"%d" % n) for n in range(size)]
        tree = merkle.Frontier()
        tree.push(*leaves)

        def node(level: int, index: int, leaves: list[bytes] = leaves) -> bytes:
            if level == 0:
                return leaves[index]
            return merkle.node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

        for index in range(size):
            path = merkle.inclusion(index, size, node)
            assert verify.root_from(leaves[index], index, size, path) == tree.root()
            if path:
                with pytest.raises(ValueError, match="hashes"):
                    verify.root_from(leaves[index], index, size, path[:-1])
            with pytest.raises(ValueError, match="hashes"):
                verify.root_from(leaves[index], index, size, [*path, bytes(32)])


# --- samples ---


def test_a_sample_is_drawn_anew_from_the_package_alone(honest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        sys.executable,
        "-I",
        "-S",
        str(honest / "verify.py"),
        "--sample",
        "IAM-1",
        "--seed",
        "march",
        "--n",
        "4",
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    drawn = json.loads(done.stdout)["sample"]
    theirs = sampling.draw(sampling.of_package(honest), "IAM-1", "march", 4)
    assert [item["id"] for item in drawn["items"]] == [item.chosen.id for item in theirs.drawn]
    assert [item["rank"] for item in drawn["items"]] == [item.chosen.rank for item in theirs.drawn]
    assert [item["state"] for item in drawn["items"]] == [item.state for item in theirs.drawn]
    assert drawn["population"] == {"count": theirs.population.count, "digest": theirs.population.digest}
    stated = canonical.parse((honest / "sampling.json").read_bytes())["controls"]
    assert drawn["population"] in [card["items"] for card in stated]
    for item in drawn["items"]:
        hashed = subprocess.run(
            ["sha256sum"], input=f"march{item['id']}".encode(), capture_output=True, check=True, timeout=60
        )
        assert hashed.stdout.decode().startswith(item["rank"])
    assert verify.main([str(honest), "--sample", "IAM-1", "--seed", "march", "--n", "500"]) == 0
    said = capsys.readouterr().out
    assert "Sample of" in said
    assert "this is no sample, there is nothing to infer" in said


def test_what_a_sample_says_is_the_binomial_limit() -> None:
    for n, share in ((25, "8.8"), (45, "5.0"), (60, "3.8"), (180, "1.3"), (365, "0.6")):
        assert f"{100 * verify.upper_limit(n, 0):.1f}" == share
    assert verify.upper_limit(25, 25) == 1.0
    assert f"{100 * verify.upper_limit(25, 2):.1f}" == "19.9"
    assert "nine of ten samples" in verify.sample_says(1000, 25, 1, 1)[0]
    assert "at most 19.9 %" in verify.sample_says(1000, 25, 1, 1)[0]


@pytest.mark.parametrize(
    "words",
    [
        ["--sample", "NO-1", "--seed", "s"],
        ["--sample", "IAM-1"],
        ["--seed", "s"],
        ["--sample", "IAM-1", "--seed", "s", "--n", "0"],
    ],
)
def test_a_sample_that_cannot_be_asked_for(honest: Path, words: list[str]) -> None:
    assert verify.main([str(honest), *words]) == verify.USAGE


def test_a_stretch_of_time_in_words() -> None:
    assert verify.span_of(30) == "less than a minute"
    assert verify.span_of(3 * 86_400 + 4 * 3600 + 59) == "3 d 4 h"
    assert verify.stamp_of(0.5) == "1970-01-01T00:00:00.500000Z"


# --- failed attempts ---


def test_hours_without_an_authority_cost_the_level_and_are_named(tmp_path: Path) -> None:
    """Others that fail cost nothing of it: only who did not stamp can be missed as a stamp."""
    world = World(tmp_path / "collector")
    live(world, hours=8)
    world.outside.fail(True)
    for _ in range(4):
        world.hour()
    world.outside.fail(False)
    for _ in range(6):
        world.hour()
    found = prove(world.export(tmp_path / "package").path, world.trust(tmp_path / "trust"))
    assert found["verified"], found["broken"]
    assert levels(found) == [True, True, False, True]
    assert found["assurance"]["level"] == 3
    assert "of the window came under one more than two hours late" in found["assurance"]["levels"][2]["words"]
    assert told(found, "attempts failed meanwhile, first tsa/authority: ")
    assert told(found, "4 attempts to anchor failed, first entry")
    world.close()


def test_a_short_outage_costs_nothing_where_another_place_fails(tmp_path: Path) -> None:
    world = World(tmp_path / "collector")
    live(world, hours=8)
    world.vault.rename(world.vault.with_name("unmounted"))
    world.now += HOUR / 3
    world.operation.heartbeat()
    world.now += 2 * HOUR
    for _ in range(8):
        world.hour("the collector was not running")
    found = prove(world.export(tmp_path / "package").path, world.trust(tmp_path / "trust", holding=False))
    assert found["verified"], found["broken"]
    assert levels(found) == [True, False, True, True]
    assert told(found, "nothing was written from")
    assert told(found, "attempts to anchor failed, first entry")
    world.close()
