"""A short window of the demo, from first call to verified package: nothing doubled or leaked, all judged again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from collector.cli.exporting import export_window
from collector.demo.estate import PLANTED_SECRETS
from collector.demo.play import WINDOW, Played, play
from collector.ledger import verify as verifier
from collector.ledger.entry import Kind

AT_HOME = ("token claims", "credential")  # answered by the credential in use, without a call
SIGNING_IN = re.compile(r"^login\.microsoftonline\.com|^oauth2\.googleapis\.com/token$")
FIRST_CALLS = 15


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    found = play(days=3, seed=11, folder=tmp_path_factory.mktemp("demo") / "out", page_size=2)
    yield found
    found.close()


@pytest.fixture(scope="module")
def package(played: Played) -> Path:
    target = played.folder / "package"
    export_window(played.settings, played.ledger, WINDOW, target, played.now)
    return target


def test_no_question_is_put_twice_within_a_run(played: Played) -> None:
    """From the proxy's own log: what the account run of one slot asked, each page once."""
    runs = {entry.data["calls"]: entry.data["account"] for entry in played.ledger.entries(kinds=[Kind.RUN])}
    asked: Counter[str] = Counter()
    for digest, account in runs.items():
        log = json.loads(played.ledger.blob(digest))
        asked[account.partition("/")[0]] += sum(e["attempts"] for e in log if e["operation"] not in AT_HOME)
        questions = Counter(
            (e["endpoint"], e["operation"], json.dumps(e["params"], sort_keys=True), e["page"]) for e in log
        )
        assert max(questions.values()) == 1
    calls = played.cloud.calls()
    polls = sum(call["operation"] == "GenerateCredentialReport" for call in calls)
    assert abs(len(calls) - asked["aws"]) <= polls
    # The first plan is made of parts that were asked for once before; signing in is no question.
    for cloud, bed in (("azure", played.cloud.azure), ("gcp", played.cloud.gcp)):
        wire = [call for call in bed.calls(since=0) if not SIGNING_IN.search(call["host"] + call["path"])]
        assert 0 <= len(wire) - asked[cloud] <= FIRST_CALLS, cloud


def test_every_page_is_read(played: Played) -> None:
    """Pages hold two items here, so listings have many; the last page of each is marked so, and only it."""
    newest = list(played.ledger.entries(kinds=[Kind.RUN]))[-1]
    pages: dict[tuple[str, str, str], list[tuple[int, bool]]] = {}
    for e in json.loads(played.ledger.blob(newest.data["calls"])):
        key = (e["endpoint"], e["operation"], json.dumps(e["params"], sort_keys=True))
        pages.setdefault(key, []).append((e["page"], e["last"]))
    many = {key: sorted(found) for key, found in pages.items() if len(found) > 1 and "CredentialReport" not in key[1]}
    assert len(many) > 8
    for key, found in many.items():
        assert [number for number, _ in found] == list(range(1, len(found) + 1)), key
        assert [last for _, last in found] == [False] * (len(found) - 1) + [True], key


def test_every_answer_of_every_cloud_has_its_date_and_the_providers_name_of_it(played: Played) -> None:
    """By which an auditor finds our reads in the provider's own logs. Google's front end gives no such name."""
    seen: Counter[str] = Counter()
    for digest in {entry.data["calls"] for entry in played.ledger.entries(kinds=[Kind.RUN])}:
        for e in json.loads(played.ledger.blob(digest)):
            if e["operation"] in AT_HOME:
                continue
            assert parsedate_to_datetime(e["date"]).tzinfo is not None, e
            assert e["request_id"] or e["cloud"] == "gcp", e
            seen[e["cloud"]] += 1
    assert min(seen[cloud] for cloud in ("aws", "azure", "gcp")) > 50


def test_the_cloud_was_only_read(played: Played) -> None:
    harmless = ("Get", "List", "Describe", "BatchGet", "GenerateCredentialReport")
    assert {c["operation"] for c in played.cloud.calls() if not c["operation"].startswith(harmless)} <= {"AssumeRole"}
    assert played.cloud.unserved() == []
    assert played.cloud.refused() == []


def test_no_planted_secret_is_anywhere(played: Played, package: Path) -> None:
    assert PLANTED_SECRETS
    for secret in PLANTED_SECRETS:
        word = secret.encode()
        for path in (p for p in played.folder.rglob("*") if p.is_file()):
            assert word not in path.read_bytes(), path
        for entry in played.ledger.entries():
            assert word not in entry.body
            for digest in (entry.data.get("calls"), entry.data.get("observations")):
                if digest:
                    assert word not in played.ledger.blob(digest)


def test_the_package_verifies_and_every_verdict_is_given_again(package: Path) -> None:
    found = verifier.prove(package, None, False, False)
    assert found["verified"], found
    text = json.dumps(found)
    assert "give the same verdicts again" in text
    assert "could not" not in json.dumps(found.get("proved", ""))


def test_the_package_verifies_without_us(package: Path) -> None:
    """An interpreter with nothing installed: everything but the verdicts is proved."""
    command = [sys.executable, "-I", "-S", str(package / "verify.py")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stdout
    assert "VERIFIED" in found.stdout
    assert "install the collector" in found.stdout


def test_a_zip_verifies_too_and_a_repeated_export_is_the_same(played: Played, package: Path, tmp_path: Path) -> None:
    from collector import daemon
    from collector.export import package as packages
    from collector.export import read

    size = played.ledger.size()
    dossier = read.read(played.ledger, played.settings, WINDOW, played.now, upto=played.ledger.checkpoints()[-1].size)
    signer = daemon.signer_of(played.settings)
    for name in ("one.zip", "two.zip"):
        packages.write(dossier, played.ledger, signer, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert played.ledger.size() == size
    assert zipfile.ZipFile(tmp_path / "one.zip").testzip() is None
    assert verifier.main([str(tmp_path / "one.zip")]) == 0


def test_everybody_who_should_know_was_told_once(played: Played) -> None:
    alerts = [entry.data for entry in played.ledger.entries(kinds=[Kind.ALERT])]
    deliveries = [entry.data for entry in played.ledger.entries(kinds=[Kind.DELIVERY])]
    assert len(deliveries) == len(alerts) == played.received
    assert {d["outcome"] for d in deliveries} == {"delivered"}
    stories = {(a["check"], a["subject"].rpartition("/")[2], a["event"]) for a in alerts}
    assert ("aws-iam-user-mfa", "maria.lopez", "trigger") in stories


def test_rebuilt_is_what_lived(played: Played) -> None:
    before = list(played.ledger.projection.intervals())
    played.ledger.rebuild()
    assert list(played.ledger.projection.intervals()) == before
