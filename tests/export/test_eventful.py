"""What people decided, what places outside gave, what was dropped, who asked: all is in the package, and provable."""

from __future__ import annotations

import base64
import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from collector.export import package, read
from collector.export.dossier import Dossier
from collector.ledger import merkle, verify
from collector.ledger.note import Note, TreeHead, VerifierKey
from tests.support.eventful import BOB, EVE, EXPORTED, MFA, SCOPE, Eventful
from tests.support.lived import DAY, HOUR


def rows(root: Path, name: str) -> list[dict[str, str]]:
    with (root / f"tables/{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def predicate(root: Path) -> Any:
    return json.loads(base64.b64decode(json.loads((root / "manifest.dsse.json").read_bytes())["payload"]))["predicate"]


@pytest.fixture(scope="module")
def dossier(eventful: Eventful) -> Dossier:
    return read.read(eventful.ledger, eventful.settings, "morning", EXPORTED)


def test_the_package_verifies_and_says_what_expired(packed: Path) -> None:
    told = verify.prove(packed, None, run_packaged_checks=False, progress=False)
    assert told["verified"], told["broken"]
    assert any("payload expired" in line for line in told["not_proved"])


def test_it_is_the_same_each_time(eventful: Eventful, packed: Path, tmp_path: Path) -> None:
    again = eventful.export(tmp_path / "again").path
    for path in packed.rglob("*"):
        if path.is_file():
            assert (again / path.relative_to(packed)).read_bytes() == path.read_bytes(), path


# --- the life of an exception ---


def test_an_exception_tells_its_whole_life(eventful: Eventful, packed: Path) -> None:
    bob, eve = rows(packed, "exceptions")
    known = eventful.entries
    assert (bob["subject"], bob["began_before_window"], bob["still_open"]) == (BOB, "yes", "no")
    assert bob["since_utc"] == "2026-01-01T06:00:00.000000Z"
    assert bob["first_seen_utc"] == "2026-01-01T03:00:30.000000Z" < bob["since_utc"]
    assert bob["last_seen_utc"] == "2026-01-01T08:00:30.000000Z" < bob["until_utc"] == "2026-01-01T09:00:30.000000Z"
    assert int(bob["first_bad"]) < int(bob["last_bad"]) < int(bob["mended_by"])
    assert bob["alerts"] == str(known["alert"].seq)
    assert bob["alerts_delivered"] == "pager 2026-01-01T03:00:30.000000Z"
    assert bob["acknowledged_by"] == "Ann: =looking into it"
    assert bob["acknowledgements"] == str(known["ack"].seq)
    assert bob["acceptances"] == str(known["acceptance"].seq)
    assert (bob["accepted_by"], bob["accepted_because"]) == ("Carl", "the token is on its way (OPS-17)")
    assert bob["accepted_until_utc"] == "2026-01-01T07:00:30.000000Z", "it was revoked, long before it would expire"
    assert (eve["subject"], eve["still_open"], eve["until_utc"], eve["mended_by"]) == (EVE, "yes", "", "")
    assert eve["last_seen_utc"] == "2026-01-01T15:00:30.000000Z"
    assert eve["accepted_until_utc"] == "2026-01-01T14:00:00.000000Z"
    assert eve["acknowledged_by"] == eve["acknowledged_utc"] == ""


def test_the_last_run_that_saw_it_is_one_that_found_it_not_satisfied(eventful: Eventful, packed: Path) -> None:
    for row in rows(packed, "exceptions"):
        entry = eventful.ledger.entry(int(row["last_bad"]))
        observed = json.loads(eventful.ledger.blob(entry.data["observations"]))
        states = {item["subject"]: item["state"] for item in observed["subjects"]}
        assert states[row["subject"]] == "not-satisfied"
        later = [
            run
            for run in eventful.ledger.projection.runs(DAY + 6 * HOUR, DAY + 16 * HOUR, row["check"], row["scope"])
            if run.seq > entry.seq
        ]
        assert (row["mended_by"] == str(later[0].seq)) if later else row["still_open"] == "yes"


def test_decisions_are_a_table_with_what_ended_them(eventful: Eventful, packed: Path) -> None:
    accepted, revoked, visitor = rows(packed, "decisions")
    known = eventful.entries
    assert [row["entry"] for row in (accepted, revoked, visitor)] == [
        str(known[name].seq) for name in ("acceptance", "revocation", "second")
    ]
    assert (accepted["decision"], accepted["revoked_by"], accepted["exceptions"]) == (
        "accepted",
        str(known["revocation"].seq),
        "1",
    )
    assert accepted["ended_utc"] < accepted["expires_utc"]
    assert (revoked["decision"], revoked["revokes"], revoked["approver"]) == ("revoked", accepted["entry"], "Dora")
    assert (visitor["ended_utc"], visitor["expires_utc"]) == (visitor["expires_utc"], "2026-01-01T14:00:00.000000Z")
    assert {row["check"] for row in (accepted, revoked, visitor)} == {MFA}


def test_a_decision_that_was_revoked_after_the_window_says_so_and_verifies(eventful: Eventful, tmp_path: Path) -> None:
    early = eventful.settings.windows["morning"].model_copy(
        update={"start": DAY + 5 * HOUR, "end": DAY + 7 * HOUR, "scopes": ()}
    )
    settings = eventful.settings.model_copy(update={"windows": {"early": early}})
    dossier = read.read(eventful.ledger, settings, "early", EXPORTED)
    written = package.write(dossier, eventful.ledger, eventful.signer, tmp_path / "early")
    (accepted,) = rows(written.path, "decisions")
    assert accepted["revoked_by"] == str(eventful.entries["revocation"].seq)
    told = verify.prove(written.path, None, run_packaged_checks=False, progress=False)
    assert told["verified"], told["broken"]


def test_an_alert_has_its_acknowledgement(dossier: Dossier, packed: Path) -> None:
    assert all(row["acknowledgements"] == "" for row in rows(packed, "alerts")), "the one is older than the window"
    (bob,) = (life for d, life in zip(dossier.deviations, dossier.lives, strict=True) if d.subject == BOB)
    assert [(ack.person, ack.via) for alert in bob.alerts for ack in alert.acks] == [("Ann", "cli")]


def test_a_change_of_who_asks_is_a_change(packed: Path) -> None:
    (found,) = (row for row in rows(packed, "changes") if row["kind"] == "principal")
    assert "EvidenceReadOnlyNext/collector, was" in found["what"]
    assert found["at_utc"].startswith("2026-01-01T10:00")


# --- proofs of what is older than the range ---


def test_every_older_entry_that_it_rests_on_is_proved(eventful: Eventful, dossier: Dossier, packed: Path) -> None:
    first = dossier.first
    assert first > 40
    proved = {int(path.stem) for path in (packed / "proofs").glob("*.json")}
    assert {int(path.stem) for path in (packed / "proofs").glob("*.tlog-proof")} == proved
    named = {"alert", "delivery", "ack", "acceptance"}
    assert {eventful.entries[name].seq for name in named} <= proved
    kinds = {eventful.ledger.entry(seq).kind.value for seq in proved}
    assert kinds == {"key", "check", "run", "alert", "delivery", "ack", "acceptance", "window"}
    assert max(proved) < first
    assert predicate(packed)["counts"]["proofs"] == len(proved)


def test_a_proof_is_one_that_others_can_check(eventful: Eventful, packed: Path) -> None:
    key = VerifierKey.parse((packed / "keys.txt").read_text().strip())
    for path in sorted((packed / "proofs").glob("*.tlog-proof")):
        head, _, checkpoint = path.read_text().partition("\n\n")
        magic, index, *hashes = head.split("\n")
        assert magic == "c2sp.org/tlog-proof@v1"
        assert re.fullmatch(r"index (0|[1-9][0-9]*)", index)
        note = Note.parse(checkpoint)
        note.verify([key])
        tree = TreeHead.parse(note.text)
        leaf = merkle.leaf_hash(path.with_suffix(".json").read_bytes())
        proof = [base64.b64decode(line, validate=True) for line in hashes]
        assert merkle.includes(leaf, int(index[6:]), tree.size, proof, tree.root)
        assert int(index[6:]) == int(path.stem) == json.loads(path.with_suffix(".json").read_bytes())["seq"]
        assert (packed / f"checkpoints/{tree.size:020d}.note").read_text() == checkpoint


# --- places outside ---


def test_tokens_lie_under_the_entry_that_says_so(eventful: Eventful, dossier: Dossier, packed: Path) -> None:
    files = {path.name: path.read_bytes() for path in (packed / "anchors").iterdir()}
    held = [line for line in dossier.anchors if line.token]
    assert files.keys() == {line.file.partition("/")[2] for line in held}
    for line in held:
        assert files[line.file.partition("/")[2]] == eventful.ledger.blob(line.token)
        assert re.fullmatch(r"anchors/[0-9]{20}\.json", line.file)
    assert predicate(packed)["counts"]["anchors"] == len(held)


@pytest.mark.parametrize(("type", "suffix"), [("tsa", "tsr"), ("witness", "note"), ("s3", "json"), ("email", "json")])
def test_the_suffix_says_what_a_token_is(dossier: Dossier, type: str, suffix: str) -> None:
    line = next(line for line in dossier.anchors if line.token)
    assert type_of(line, type).endswith(f".{suffix}")
    assert type_of(line, type, token="") == ""


def type_of(line: Any, type: str, **more: str) -> str:
    from dataclasses import replace

    found: str = replace(line, type=type, **more).file
    return found


def test_each_attempt_is_a_row(dossier: Dossier, packed: Path) -> None:
    found = rows(packed, "anchors")
    assert [int(row["entry"]) for row in found] == [line.seq for line in dossier.anchors]
    failed = [row for row in found if row["outcome"] == "failed"]
    assert [(row["reason"], row["failure"], row["token"]) for row in failed] == [
        ("'=the shelf is full", "unavailable", "")
    ]
    for row in found:
        if row["token"]:
            assert (packed / row["token"]).is_file()
        assert not row["checkpoint"] or (packed / row["checkpoint"]).is_file()


def test_the_manifest_says_which_places_and_the_words_promise_nothing(eventful: Eventful, packed: Path) -> None:
    said = predicate(packed)
    (configured,) = said["anchors"]["configured"]
    assert configured["places"] == ["file/shelf"]
    assert configured["every_s"] == 3600
    assert eventful.ledger.entry(configured["entry"]).kind.value == "config"
    assert (said["anchors"]["failed"], said["anchors"]["entries"] - said["anchors"]["anchored"]) == (1, 1)
    assert "only the trust folder that you hold decides" in said["assurance"]
    assert "level 0 of 3" in said["assurance"]
    assert f"{said['anchors']['anchored']} copies in a folder by file/shelf" in said["assurance"]


def test_places_that_took_nothing_are_worth_nothing(dossier: Dossier) -> None:
    from collector.export import outside

    failed = [line for line in dossier.anchors if line.outcome == "failed"]
    assert "none of them took a checkpoint: 1 attempt failed" in outside.assurance(failed, dossier.configured)
    assert outside.assurance([], ()) == outside.ALONE


# --- what was dropped ---


def test_a_payload_that_expired_is_said_to_be_and_its_list_is_there(eventful: Eventful, packed: Path) -> None:
    gone = eventful.ledger.blob(eventful.entries["expiry"].data["blobs"]).decode().split()
    there = {p.relative_to(packed / "objects").as_posix().replace("/", "") for p in (packed / "objects").rglob("*/*")}
    assert not there & set(gone)
    assert eventful.entries["expiry"].data["blobs"] in there
    runs = [e.data for e in eventful.ledger.entries(0, None) if e.kind.value == "run"]
    missed = {run["calls"] for run in runs if run["slot"] and "T06" <= run["slot"][10:13] <= "T15"} - there
    assert missed <= set(gone)
    assert predicate(packed)["counts"]["expired"] >= len(missed) > 0


def test_what_is_missing_for_another_reason_stops_the_export(eventful: Eventful, tmp_path: Path) -> None:
    from collector.errors import StoreError

    dossier = read.read(eventful.ledger, eventful.settings, "morning", EXPORTED)

    class Thief:
        """The ledger, but for one blob."""

        def __init__(self, ledger: Any, gone: str) -> None:
            self._ledger, self._gone = ledger, gone

        def __getattr__(self, name: str) -> Any:
            return getattr(self._ledger, name)

        def has_blob(self, digest: str) -> bool:
            return bool(digest != self._gone and self._ledger.has_blob(digest))

        def blob(self, digest: str) -> bytes:
            if digest == self._gone:
                raise StoreError(f"the ledger holds no blob {digest}")
            data: bytes = self._ledger.blob(digest)
            return data

    entry = eventful.ledger.entry(dossier.slots[-1].run.seq)  # type: ignore[union-attr]
    thief: Any = Thief(eventful.ledger, entry.data["calls"])
    with pytest.raises(StoreError, match="holds no blob"):
        package.write(dossier, thief, eventful.signer, tmp_path / "package")
    assert list(tmp_path.iterdir()) == []


# --- the page of the window says so too ---


def test_report_and_readme_tell_of_decisions_places_and_who_exports(eventful: Eventful, packed: Path) -> None:
    report = (packed / "report.html").read_text()
    for words in ("Nobody decided to live", "was put into a place outside.</p>"):
        assert words not in report
    for words in ("file/shelf", "=the shelf is full", "the token is on its way", "taken note of by Ann", "accepted by"):
        assert words in report
    assert "<script" not in report.lower()
    dossier = read.read(eventful.ledger, eventful.settings, "morning", EXPORTED, by="Zoë")
    assert ("Exported by", "Zoë") in __import__("collector.export.readme", fromlist=["origin"]).origin(dossier)


def test_scope_and_check_of_the_older_decision_are_those_of_the_exception(dossier: Dossier) -> None:
    assert {(d.check, d.scope) for d in dossier.decisions} == {(MFA, SCOPE)}
    for d, life in zip(dossier.deviations, dossier.lives, strict=True):
        assert all(
            made.held(d.check, d.scope, d.subject, life.first_seen, d.until or dossier.until) for made in life.decisions
        )
        other = dossier.decisions[0]
        assert not other.held(d.check, f"{d.scope}0", d.subject, life.first_seen, dossier.until)
        assert not other.held(d.check, d.scope, d.subject, other.ended, dossier.until)
