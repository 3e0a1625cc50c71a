"""Break a package in every way that a file can be broken, and ask the verifier where. Each cheat is a real one."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector import canonical, reperform
from collector.clouds.transcript import Transcript, question_id
from collector.errors import BadCheck, ExportError
from collector.ledger import verify
from collector.ledger.note import TreeHead
from collector.ledger.seal import FileSigner, seal
from collector.window import slots
from tests.support.lived import ACCOUNT, HOME, Lived, forge, live, resign, resum

pytestmark = pytest.mark.only("sqlite")  # the proof is the same; test_postgres.py has its own

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


@pytest.fixture
def stranger(day: Lived, tmp_path: Path) -> FileSigner:
    """Another key under the same name."""
    return FileSigner.create(tmp_path / "stranger.pem", day.ledger.origin)


def prove(path: Path, trust: Path | None = None) -> dict[str, Any]:
    return verify.prove(path, trust, run_packaged_checks=False, progress=False)


def first_broken(path: Path, trust: Path | None = None) -> str:
    """What is wrong with a package, "where: what"; fails when nothing is."""
    found = prove(path, trust)
    assert not found["verified"]
    return f"{found['broken'][0]['where']}: {found['broken'][0]['what']}"


def files(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before, "the test changed nothing"


# --- the honest package ---


def test_an_honest_package_verifies_and_every_verdict_is_given_again(honest: Path) -> None:
    found = prove(honest)
    assert found["verified"], found["broken"]
    assert found["missed"] == []
    proved = " ".join(found["proved"])
    assert "50 due, 38 observed, 0 late, 1 partial, 11 gap, 0 missed" in proved
    assert "40 of 40 runs give the same verdicts again" in proved


def test_it_says_what_it_could_not_prove(honest: Path) -> None:
    found = prove(honest)
    not_proved = " ".join([*found["not_proved"], *(limit["what"] for limit in found["not_caught"])])
    for words in (
        "came with the package",
        "history was not rewritten",
        "left out of the plan",
        "forged",
        "between two",
    ):
        assert words in not_proved


def test_it_runs_alone_without_site_packages_and_says_that_nothing_was_judged_again(honest: Path) -> None:
    command = [sys.executable, "-I", "-S", str(honest / "verify.py"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["verified"]
    assert any("not judged again" in words and "install the collector" in words for words in found["not_proved"])


def test_without_argument_it_verifies_the_folder_that_it_stands_in(package: Path) -> None:
    edit(package / "keys.txt", lambda data: data + b"\n")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "verify.py"], capture_output=True, text=True, cwd=package, timeout=60, check=False
    )
    assert done.returncode == verify.BROKEN
    assert "DOES NOT VERIFY: keys.txt" in done.stdout


def test_code_that_lies_beside_it_in_the_package_is_not_run(package: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    for name in ("json", "zipfile", "collector"):
        (package / f"{name}.py").write_text(f"open({str(trap)!r}, 'w')\nraise SystemExit(0)\n")
    done = subprocess.run(
        [sys.executable, "verify.py"], capture_output=True, text=True, cwd=package, timeout=60, check=False
    )
    assert done.returncode == verify.BROKEN
    assert "collector.py: was added" in done.stdout
    assert not trap.exists()


def test_main_prints_for_people_and_answers_with_a_code(
    honest: Path, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify.main([str(honest)]) == 0
    assert "VERIFIED" in capsys.readouterr().out
    edit(package / "README.txt", lambda data: data[1:])
    assert verify.main([str(package)]) == 4
    assert "DOES NOT VERIFY: README.txt" in capsys.readouterr().out


def test_what_cannot_be_asked_is_code_2(tmp_path: Path, honest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "log.vkey").write_text("nonsense\n")
    assert verify.main([str(tmp_path / "nowhere")]) == 2
    assert verify.main([str(honest), "--trust", str(tmp_path / "empty")]) == 2
    assert verify.main([str(honest), "--trust", str(tmp_path / "wrong")]) == 2
    assert "neither log.vkey nor a checkpoint" in capsys.readouterr().err


# --- somebody who has the package, and no key ---


def test_a_flipped_bit_in_any_file_is_found_and_the_file_is_named(package: Path) -> None:
    chance = random.Random(7)
    for name in files(package):
        path = package / name
        before = path.read_bytes()
        for place in {0, len(before) // 2, len(before) - 1, chance.randrange(len(before))}:
            changed = bytearray(before)
            changed[place] ^= 1 << chance.randrange(8)
            path.write_bytes(changed)
            assert first_broken(package).startswith(f"{name}: "), (name, place)
        path.write_bytes(before)
    assert prove(package)["verified"]


def test_a_file_that_is_gone_is_named(package: Path) -> None:
    for name in files(package):
        path = package / name
        data = path.read_bytes()
        path.unlink()
        assert first_broken(package).startswith(f"{name}: is missing"), name
        path.write_bytes(data)


@pytest.mark.parametrize("name", ["notes.txt", "objects/ab/" + "0" * 62, "tables/.DS_Store", "checkpoints/x.note"])
def test_a_file_that_was_added_is_named(package: Path, name: str) -> None:
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_text("hello")
    assert first_broken(package).startswith(f"{name}: was added after the export")


@pytest.mark.parametrize("name", ["keys.txt", "tables"])
def test_a_link_is_refused(package: Path, tmp_path: Path, name: str) -> None:
    (package / name).rename(tmp_path / "moved")
    (package / name).symlink_to(tmp_path / "moved")
    assert first_broken(package) == f"{name}: is a link or a device; a package holds plain files"


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"\n",
        lambda data: data.replace(b'","', b'", "', 1),
        lambda data: data.replace(b"{", b'{"more":1,', 1),
        lambda data: data.replace(b'"signatures":[', b'"signatures":[{"keyid":"","sig":""},', 1),
        lambda data: data.replace(b'"payload"', b'"payload":"","payload"', 1),
        lambda data: data.replace(b'"keyid":"', b'"keyid":"0', 1),
        lambda data: b"[]",
        lambda data: b"",
    ],
)
def test_the_manifest_is_bound_to_the_last_byte(package: Path, change: Callable[[bytes], bytes]) -> None:
    edit(package / "manifest.dsse.json", change)
    assert first_broken(package).startswith("manifest.dsse.json: ")


def test_an_edited_table_with_new_sums_still_lacks_the_signature(package: Path) -> None:
    edit(package / "tables" / "results.csv", lambda data: data.replace(b",gap,,", b",observed,,", 1))
    resum(package)
    assert first_broken(package) == "SHA256SUMS: is not what the signed manifest says"


def test_a_signature_taken_from_another_package_does_not_fit(package: Path, day: Lived, tmp_path: Path) -> None:
    other = day.export(tmp_path / "other", "people").path
    shutil.copy(other / "manifest.dsse.json", package)
    assert first_broken(package) == "SHA256SUMS: is not what the signed manifest says"


def test_whoever_signs_again_with_another_key_is_found_by_the_key_that_you_hold(
    package: Path, day: Lived, stranger: FileSigner, tmp_path: Path
) -> None:
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "log.vkey").write_text(f"# told by telephone\n{day.signer.key}\n")
    assert "the key is the one that you hold" in prove(package, trust)["proved"]
    resign(package, stranger)
    assert first_broken(package, trust).startswith(f"manifest.dsse.json: is signed by {stranger.key}")
    assert "the newest key of the ledger is" in first_broken(package)  # the ledger still names the old one


def test_a_whole_ledger_under_another_key_is_told_apart_only_by_the_key_that_you_hold(
    day: Lived, stranger: FileSigner, tmp_path: Path
) -> None:
    forged = forge(day, tmp_path / "forged", lambda fields: fields, signer=stranger)
    path = forged.export(tmp_path / "package").path
    found = prove(path)
    assert found["verified"]
    assert any(f"signed by {stranger.key}, which came with the package" in words for words in found["not_proved"])
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "log.vkey").write_text(f"{day.signer.key}\n")
    assert "the key that you hold" in first_broken(path, trust)


# --- zip files ---


@pytest.fixture
def zipped(day: Lived, tmp_path: Path) -> Path:
    return day.export(tmp_path / "package.zip").path


def test_a_zip_verifies_without_being_unpacked(zipped: Path) -> None:
    found = prove(zipped)
    assert found["verified"], found["broken"]
    assert any("40 of 40 runs" in words for words in found["proved"])


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/../b", "C:/x", "a\\b", "./a", "a//b", "folder/", ".hidden", "a\nb"]
)
def test_a_zip_with_a_path_that_leads_elsewhere_is_refused(zipped: Path, name: str) -> None:
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"evil")
    assert "is a path that a package never holds" in first_broken(zipped)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["keys.txt", "KEYS.TXT"])
def test_a_zip_that_holds_a_name_twice_is_refused(zipped: Path, name: str) -> None:
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr(name, b"evil")
    assert first_broken(zipped).startswith(f"{name}: is in the zip file twice")


def test_a_zip_with_a_link_is_refused(zipped: Path) -> None:
    with zipfile.ZipFile(zipped, "a") as archive:
        link = zipfile.ZipInfo("link")
        link.create_system = 3
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert first_broken(zipped) == "link: is a link or a device; a package holds plain files"


def test_a_file_added_to_a_zip_is_named(zipped: Path) -> None:
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr("more.txt", b"more")
    assert first_broken(zipped).startswith("more.txt: was added")


def test_a_zip_that_is_cut_off_or_no_zip_is_refused(zipped: Path, tmp_path: Path) -> None:
    data = zipped.read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    assert "is not a zip file" in first_broken(tmp_path / "cut.zip")


def test_a_flipped_bit_in_the_packed_bytes_of_a_zip_names_the_file(zipped: Path, tmp_path: Path) -> None:
    data = zipped.read_bytes()
    with zipfile.ZipFile(zipped) as archive:
        places = {
            i.filename: i.header_offset + 30 + len(i.filename) + 20 + i.compress_size // 2 for i in archive.infolist()
        }
    for name in ("ledger/entries.jsonl", "report.html", "tables/tables.xlsx", "manifest.dsse.json"):
        changed = bytearray(data)
        changed[places[name]] ^= 0x10
        path = tmp_path / "flipped.zip"
        path.write_bytes(changed)
        assert first_broken(path).startswith(f"{name}: "), name


# --- somebody who has the key of the manifest: what the ledger itself still tells ---


def lines_of(package: Path) -> list[bytes]:
    return (package / ENTRIES).read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: [*lines[:40], *lines[41:]], "entry 49: is not there: entry 50 stands in its place"),
        (lambda lines: [*lines[:40], lines[39], *lines[40:]], "entry 49: is not there: entry 48 stands"),
        (lambda lines: [*lines[:40], lines[41], lines[40], *lines[42:]], "entry 49: is not there: entry 50 stands"),
        (lambda lines: lines[::-1], "entry 9: is not there: entry 114 stands"),
        (lambda lines: lines[:-5], "entry 110: is not there: the range ends at 115"),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], "entry 114: is cut off"),
        (lambda lines: [*lines, lines[-1]], "entry 115: is not there: entry 114 stands"),
        (lambda lines: [*lines[:40], b"\n", *lines[41:]], "entry 49: is not as an entry must be"),
    ],
)
def test_entries_that_are_dropped_doubled_swapped_or_cut_are_named(
    package: Path, day: Lived, change: Callable[[list[bytes]], list[bytes]], told: str
) -> None:
    edit(package / ENTRIES, lambda data: b"".join(change(data.splitlines(keepends=True))))
    resign(package, day.signer)
    assert first_broken(package).startswith(f"{ENTRIES} {told}")


def test_an_entry_that_was_changed_is_found_between_two_checkpoints(package: Path, day: Lived) -> None:
    edit(package / ENTRIES, lambda data: data.replace(b'"uptime_s":', b'"uptime_S":', 1))
    resign(package, day.signer)
    said = first_broken(package)
    assert said.startswith(f"{ENTRIES} entries ")
    assert "they hash to another root" in said


def test_an_entry_that_was_left_out_and_renumbered_gives_other_roots(package: Path, day: Lived) -> None:
    def renumber(data: bytes) -> bytes:
        entries = [json.loads(line) for line in data.splitlines()]
        del entries[50]
        return b"".join(verify.canonical({**e, "seq": 9 + n}) + b"\n" for n, e in enumerate(entries))

    edit(package / ENTRIES, renumber)
    resign(package, day.signer)
    assert "they hash to another root" in first_broken(package)


def test_a_frontier_that_is_not_that_of_the_beginning_is_found(package: Path, day: Lived) -> None:
    span = json.loads((package / "ledger/range.json").read_text())
    span["frontier"][0] = "00" * 32
    (package / "ledger/range.json").write_bytes(canonical.record(span) + b"\n")
    resign(package, day.signer)
    assert first_broken(package).startswith("ledger/range.json: ")


def test_a_checkpoint_of_another_size_under_a_wrong_name_is_found(package: Path, day: Lived) -> None:
    notes = sorted((package / "checkpoints").iterdir())
    notes[3].write_bytes(notes[4].read_bytes())
    resign(package, day.signer)
    assert first_broken(package).startswith(f"checkpoints/{notes[3].name}: is a checkpoint over")


def test_the_last_checkpoint_cannot_be_left_away(package: Path, day: Lived) -> None:
    max((package / "checkpoints").iterdir()).unlink()
    resign(package, day.signer)
    assert "does not begin and end at a checkpoint" in first_broken(package)


def test_an_answer_that_is_left_out_is_named(package: Path, day: Lived) -> None:
    runs = [e for e in map(json.loads, lines_of(package)) if e["kind"] == "run" and e["slot"]]
    run = next(e for e in runs if e["slot"].startswith("2026-01-01T08"))
    calls = json.loads((package / verify.object_path(run["calls"])).read_bytes())
    for digest in (calls[0]["body"], run["observations"], run["calls"], run["config"]):
        path = package / verify.object_path(digest)
        data = path.read_bytes()
        path.unlink()
        resign(package, day.signer)
        assert first_broken(package).startswith(f"{verify.object_path(digest)}: is missing")
        path.write_bytes(data)


def test_an_object_under_the_digest_of_another_is_found(package: Path, day: Lived) -> None:
    path = min(p for p in (package / "objects").rglob("*") if p.is_file())
    edit(path, lambda data: data + b" ")
    resign(package, day.signer)
    assert first_broken(package).endswith("does not lie under its own digest")


def test_the_source_of_a_check_cannot_be_another(package: Path, day: Lived) -> None:
    (path,) = (package / "checks/aws-iam-user-mfa").iterdir()
    edit(path, lambda data: data + b"# kinder\n")
    resign(package, day.signer)
    assert first_broken(package).startswith(f"checks/aws-iam-user-mfa/{path.name}: is missing or another")


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("results", b",gap,,", b",observed,,"),
        ("results", b",2,1,1,0,0,", b",2,2,0,0,0,"),
        ("results", b",gap,runs", b",gap2,runs"),
        ("coverage", b",partial,", b",partial2,"),
        ("coverage", b",10,", b",11,"),
    ],
)
def test_a_table_that_says_something_else_than_the_ledger_is_found(
    package: Path, day: Lived, table: str, old: bytes, new: bytes
) -> None:
    edit(package / f"tables/{table}.csv", lambda data: data.replace(old, new, 1))
    resign(package, day.signer)
    assert first_broken(package).startswith(f"tables/{table}.csv")


@pytest.mark.parametrize("table", ["results", "coverage"])
@pytest.mark.parametrize("row", [1, 3])
def test_a_table_with_a_row_less_or_twice_is_found(package: Path, day: Lived, table: str, row: int) -> None:
    path = package / f"tables/{table}.csv"
    rows = path.read_bytes().splitlines(keepends=True)
    for changed in ([*rows[:row], *rows[row + 1 :]], [*rows, rows[row]]):
        path.write_bytes(b"".join(changed))
        resign(package, day.signer)
        assert first_broken(package).startswith(f"tables/{table}.csv")


def test_a_plan_that_counts_otherwise_is_found(package: Path, day: Lived) -> None:
    edit(package / "plan.json", lambda data: data.replace(b'"gap":11', b'"gap":10'))
    resign(package, day.signer)
    assert first_broken(package).startswith("plan.json: does not count")


def test_a_signed_file_of_another_shape_is_broken_and_not_a_crash(package: Path, day: Lived) -> None:
    for name, data in (
        ("ledger/range.json", b"[]"),
        ("ledger/range.json", b"{"),
        ("plan.json", b"null"),
        ("tables/coverage.csv", b"check,scope\r\na,b\r\n"),
        ("tables/results.csv", b"\xff\xfe"),
    ):
        before = (package / name).read_bytes()
        (package / name).write_bytes(data)
        resign(package, day.signer)
        assert first_broken(package).startswith(name)
        (package / name).write_bytes(before)
    resign(package, day.signer, lambda statement: statement["predicate"].pop("range"))
    assert not prove(package)["verified"]


# --- somebody who has the key of the ledger and the database ---


def at_slot(fields: dict[str, Any], hour: int, check: str = "aws-iam-user-mfa") -> bool:
    return (
        fields["kind"] == "run" and fields["check"] == check and fields["slot"] == f"2026-01-01T{hour:02}:00:00.000000Z"
    )


def test_a_run_that_was_taken_out_of_the_ledger_is_a_missed_slot(day: Lived, tmp_path: Path) -> None:
    forged = forge(day, tmp_path / "forged", lambda fields: None if at_slot(fields, 8) else fields)
    path = forged.export(tmp_path / "package").path
    found = prove(path)
    assert found["verified"]
    due = "2026-01-01T08:00:00.000000Z"
    account = f"aws/{ACCOUNT}"
    assert found["missed"] == [{"account": account, "check": "aws-iam-user-mfa", "due": due, "scope": account}]
    assert b",missed," in (path / "tables/results.csv").read_bytes()


def test_rewritten_history_is_found_by_a_checkpoint_that_was_kept(
    day: Lived, honest: Path, package: Path, tmp_path: Path
) -> None:
    trust = tmp_path / "trust"
    trust.mkdir()
    note = sorted((honest / "checkpoints").iterdir())[-3]
    shutil.copy(note, trust / "from-march.note")
    assert any("the checkpoint that you hold" in words for words in prove(package, trust)["proved"])
    forged = forge(day, tmp_path / "forged", lambda fields: None if at_slot(fields, 8) else fields)
    path = forged.export(tmp_path / "other").path
    assert first_broken(path, trust).startswith("ledger: history was rewritten")


def test_a_kept_checkpoint_that_cannot_be_compared_is_told(day: Lived, package: Path, tmp_path: Path) -> None:
    trust = tmp_path / "trust"
    trust.mkdir()
    oldest = day.ledger.checkpoints()[0]
    assert oldest.size < 115
    later = forge(day, tmp_path / "more", lambda fields: fields)
    for _ in range(3):
        later.operation.heartbeat()
    newer = later.ledger.checkpoint(day.now)
    assert newer is not None
    (trust / "newer.note").write_text(newer.note)
    told = " ".join(prove(package, trust)["not_proved"])
    assert "newer.note over 118 entries is newer than this package" in told
    (trust / "newer.note").write_text(newer.note.replace("\n118\n", "\n114\n"))
    assert "newer.note: the checkpoint that you hold is not what" in first_broken(package, trust)


def test_a_kept_checkpoint_of_before_the_range_is_told(day: Lived, package: Path, tmp_path: Path) -> None:
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "old.note").write_text(seal(day.signer, TreeHead(day.ledger.origin, 4, day.ledger.root(4)), None))
    told = " ".join(prove(package, trust)["not_proved"])
    assert "old.note over 4 entries is older than this package" in told
    assert "history was not rewritten" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"population": 3}, "has 3 subjects, but its states count 2"),
        ({"states": {"satisfied": 1, "not-satisfied": 1, "not-applicable": 0}}, "but its states count"),
        ({"subjects": "0" * 64}, "counts other subjects or states than its observations"),
        (
            {"states": {"satisfied": 2, "not-satisfied": 0, "not-applicable": 0, "undetermined": 0}},
            "counts other subjects or states than its observations",
        ),
        ({"finished": "2026-01-01T07:00:00.000000Z"}, "due 2026-01-01T08:00:00.000000Z, begun"),
        ({"started": "2026-01-01T07:00:00.000000Z"}, "due 2026-01-01T08:00:00.000000Z, begun"),
        ({"finished": "2026-01-01T12:00:00.000000Z"}, "due 2026-01-01T08:00:00.000000Z, begun"),
        ({"at": "2026-01-01T07:00:00.000000Z"}, "goes back in time"),
        ({"population": None}, "has no population, and yet states"),
        ({"started": "2025-12-30T08:00:30.000000Z", "slot": None}, "no run takes that long, it was written back"),
    ],
)
def test_an_entry_that_contradicts_itself_is_named(
    day: Lived, package: Path, change: dict[str, Any], told: str
) -> None:
    """The lie is put into the package alone, signed by the same key: the derived tables would refuse most of them."""
    entries = [json.loads(line) for line in lines_of(package)]
    (wrong,) = [e for e in entries if at_slot(e, 8)]
    wrong.update(change)
    (package / ENTRIES).write_bytes(b"".join(verify.canonical(e) + b"\n" for e in entries))
    resign(package, day.signer)
    said = first_broken(package)
    assert said.startswith(f"{ENTRIES} entry {wrong['seq']}: ")
    assert told in said


def test_a_plan_that_was_written_afterwards_plans_nothing(package: Path, day: Lived) -> None:
    """Else a failing check could be planned away once its result is known."""
    entries = [json.loads(line) for line in lines_of(package)]
    plan = [e for e in entries if e["kind"] == "plan" and e["since"] < "2026-01-01T06"][-1]
    plan["since"] = "2025-12-31T20:00:00.000000Z"
    (package / ENTRIES).write_bytes(b"".join(verify.canonical(e) + b"\n" for e in entries))
    resign(package, day.signer)
    assert first_broken(package).startswith(f"{ENTRIES} entry {plan['seq']}: plans from 2025-12-31T20:00:00.000000Z on")


def test_a_broken_installation_is_told_and_is_no_fault_of_the_package(
    honest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise BadCheck("aws-x: it names no criterion")

    monkeypatch.setattr(reperform, "installed", broken)
    found = prove(honest)
    assert found["verified"]
    assert any("cannot be loaded (BadCheck" in words for words in found["not_proved"])


def run_of(day: Lived, hour: int, check: str) -> dict[str, Any]:
    return next(entry.data for entry in day.ledger.entries() if at_slot(entry.data, hour, check))


def lie(day: Lived, folder: Path, hour: int, check: str, change: Callable[[dict[str, Any]], None], part: str) -> Lived:
    """The ledger with another call log (``part`` "calls") or other observations for the runs of one slot."""
    old = run_of(day, hour, check)[part]
    content = {"it": canonical.parse(day.ledger.blob(old))}
    change(content)
    data = canonical.record(content["it"])
    assert canonical.digest(data) != old, "the test changed nothing"

    def replace(fields: dict[str, Any]) -> dict[str, Any]:
        same = (
            fields["kind"] == "run" and fields[part] == old and fields["slot"] == f"2026-01-01T{hour:02}:00:00.000000Z"
        )
        if same:
            fields[part] = canonical.digest(data)
            if part == "observations":
                states = [item["state"] for item in content["it"]["subjects"]]
                fields["states"] = {state: states.count(state) for state in verify.STATES}
        return fields

    return forge(day, folder, replace, {"lie": data})


def test_a_dropped_last_page_is_found_by_the_page_before_it(day: Lived, tmp_path: Path) -> None:
    def drop(content: dict[str, Any]) -> None:
        content["it"] = [c for c in content["it"] if not (c["operation"] == "ec2:DescribeVolumes" and c["page"] == 2)]

    forged = lie(day, tmp_path / "forged", 8, "aws-ebs-volume-encryption", drop, "calls")
    said = first_broken(forged.export(tmp_path / "package").path)
    assert "rest on an answer that its call log does not hold" in said

    calls = Transcript.kept(day.ledger.blob(run_of(day, 8, "aws-ebs-volume-encryption")["calls"]), day.ledger.blob).log
    (first_page,) = [
        question_id(c) for c in calls if c.operation == "ec2:DescribeVolumes" and HOME in c.endpoint and c.page == 1
    ]

    def drop_both(content: dict[str, Any]) -> None:
        """The observations forget the page, too."""
        it = content["it"]
        del it["subjects"][1]
        it["exchanges"] = [first_page]
        it["listing"] = [0]
        for subject in it["subjects"]:
            subject["exchanges"] = []

    other = lie(forged, tmp_path / "both", 8, "aws-ebs-volume-encryption", drop_both, "observations")

    # The counts of the run follow, so that nothing but the missing page can tell.
    def count(fields: dict[str, Any]) -> dict[str, Any]:
        if at_slot(fields, 8, "aws-ebs-volume-encryption") and fields["scope"].endswith(HOME):
            fields["population"] = sum(fields["states"].values())
            names = [i["subject"] for i in canonical.parse(other.ledger.blob(fields["observations"]))["subjects"]]
            fields["subjects"] = canonical.digest("".join(f"{n}\n" for n in names).encode())
        return fields

    counted = forge(other, tmp_path / "counted", count)
    said = first_broken(counted.export(tmp_path / "third").path)
    assert "rests on ec2:DescribeVolumes, whose last page is missing" in said


def test_a_hole_between_pages_is_found(day: Lived, tmp_path: Path) -> None:
    def drop(content: dict[str, Any]) -> None:
        content["it"] = [c for c in content["it"] if not (c["operation"] == "ec2:DescribeVolumes" and c["page"] == 1)]

    forged = lie(day, tmp_path / "forged", 8, "aws-ebs-volume-encryption", drop, "calls")
    assert "a page of ec2:DescribeVolumes is missing" in first_broken(forged.export(tmp_path / "package").path)


def test_a_clock_that_was_wrong_is_found_by_the_providers(day: Lived, tmp_path: Path) -> None:
    def delay(content: dict[str, Any]) -> None:
        content["it"][0]["date"] = "Thu, 01 Jan 2026 09:00:00 GMT"

    forged = lie(day, tmp_path / "forged", 8, "aws-iam-user-mfa", delay, "calls")
    said = first_broken(forged.export(tmp_path / "package").path)
    assert "the provider's clock said Thu, 01 Jan 2026 09:00:00 GMT" in said


def test_a_verdict_that_was_turned_round_is_found_by_judging_again(day: Lived, tmp_path: Path) -> None:
    def turn(content: dict[str, Any]) -> None:
        (bob,) = [item for item in content["it"]["subjects"] if item["subject"].endswith("user/bob")]
        bob.update(state="satisfied", reason="has a console password and MFA", facts={"mfa": True, "password": True})

    forged = lie(day, tmp_path / "forged", 8, "aws-iam-user-mfa", turn, "observations")
    path = forged.export(tmp_path / "package").path
    said = first_broken(path)
    entry = run_of(forged, 8, "aws-iam-user-mfa")
    assert said.startswith(
        f"{ENTRIES} entry {entry['seq']}: arn:aws:iam::{ACCOUNT}:user/bob: state 'satisfied', judged again"
    )
    alone = [sys.executable, "-I", "-S", str(path / "verify.py"), "--json"]
    done = subprocess.run(alone, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["verified"]  # all signatures are right: only judging again tells
    assert "not judged again" in done.stdout


# --- arithmetic ---

# RFC 8032, section 7.1, tests 1 to 3: public key, message, signature
VECTORS = """
d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a -
e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b

3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c 72
92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00

fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025 af82
6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a
"""


@pytest.mark.parametrize(("public", "message", "signature"), [part.split() for part in VECTORS.strip().split("\n\n")])
def test_ed25519_agrees_with_the_rfc(public: str, message: str, signature: str) -> None:
    key = verify.Ed25519Key(bytes.fromhex(public))
    said = b"" if message == "-" else bytes.fromhex(message)
    assert key.verify(said, bytes.fromhex(signature))
    assert not key.verify(said + b"x", bytes.fromhex(signature))


def test_ed25519_takes_what_openssl_signs_and_nothing_else() -> None:
    chance = random.Random(7)
    for length in range(12):
        private = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        message = chance.randbytes(length * 7)
        signature = private.sign(message)
        key = verify.Ed25519Key(private.public_key().public_bytes_raw())
        assert key.verify(message, signature)
        for place in (0, 31, 32, 63):
            changed = bytearray(signature)
            changed[place] ^= 1 << chance.randrange(8)
            assert not key.verify(message, bytes(changed))
        s = int.from_bytes(signature[32:], "little") + verify.ORDER
        if s < 2**256:
            assert not key.verify(
                message, signature[:32] + s.to_bytes(32, "little")
            )  # the same point, written otherwise
        assert not key.verify(message, signature[:63])


def test_bytes_that_are_no_key_are_refused() -> None:
    for data in (b"", b"\x00" * 31, b"\xff" * 32, (2).to_bytes(32, "little")):
        with pytest.raises(ValueError, match="not an Ed25519 key"):
            verify.Ed25519Key(data)


def test_plans_are_laid_over_each_other_as_the_collector_does() -> None:
    chance = random.Random(7)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(300):
        plans = []
        for seq in range(chance.randrange(1, 7)):
            since = start + timedelta(hours=chance.randrange(40))
            until = since + timedelta(hours=chance.randrange(1, 20))
            plans.append(slots.Plan(seq, "aws/1", since, until, ()))
        raw = [{"seq": p.seq, "since": canonical.stamp(p.since), "until": canonical.stamp(p.until)} for p in plans]
        mine = [(since, until, plan["seq"]) for since, until, plan in verify.in_force(raw)]
        theirs = [(canonical.stamp(a), canonical.stamp(b), p.seq) for a, b, p in slots.in_force(plans)]
        assert mine == theirs


def test_a_package_of_a_ledger_that_was_never_signed_is_not_written(tmp_path: Path) -> None:
    lived = Lived(tmp_path / "day")
    lived.hour()
    with pytest.raises(ExportError, match="nothing was due in it yet"):
        lived.export(tmp_path / "package", exported_at=lived.now)
    lived.ledger.close()
