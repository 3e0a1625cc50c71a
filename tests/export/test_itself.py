"""The collector as a control in a package: a day with everything that can happen to it, its rows, finding, pages, and
what the verifier says when somebody touches them.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import beating, canonical
from collector.controls import load
from collector.errors import ConfigError
from collector.export import itself, itself_html, oscal, read
from collector.export.dossier import ControlCard, Dossier
from collector.ledger import verify
from collector.ledger.entry import Draft, Kind
from collector.model import State
from collector.window.findings import Finding
from collector.window.itself import Beat, Sign
from collector.window.itself import itself as found_of
from tests.support.lived import CONFIG, CONTROLS, DAY, EXPORTED, HOUR, Lived, resign
from tests.test_controls import SHELF

OWN = """
[controls.MON-1]
title = "Somebody always looks."
owner = "compliance"
criteria = ["CC4.1"]
checks = []
by_collector = true
by_hand = "The minutes of <b>whoever</b> read this."
[controls.MON-2]
title = "What is seen is told."
owner = "compliance"
criteria = ["CC4.2"]
by_collector = true
[controls.HR-1]
title = "Leavers lose their access."
owner = "people"
criteria = ["CC6.1"]
by_hand = "=The list of leavers."
"""
WINDOWS = CONFIG.replace('"CC6.1", "CC6.7"', '"CC4.1", "CC4.2", "CC6.1", "CC6.7"') + '[clock]\nntp = "192.0.2.1"\n'


class Watched(Lived):
    """18 hours. What happens when stands in ``_hour``; the window is from 6 to 16."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, WINDOWS, CONTROLS + OWN)
        self.role = "EvidenceReadOnly"
        ask = self.cloud._get_caller_identity
        self.cloud._get_caller_identity = lambda region: {**ask(region), "Arn": f"arn:aws:iam::1:role/{self.role}"}  # type: ignore[method-assign]
        self.operation.heartbeat(Sign.START, "leads")
        for hour in range(18):
            if hour not in (11, 12):  # killed
                self._hour(hour)
        self.ledger.checkpoint(EXPORTED)

    def _hour(self, hour: int) -> None:
        if hour == 14:
            self.reconfigure(
                CONTROLS.replace('checks = ["aws-iam-user-mfa"]', 'checks = ["aws-iam-user-mfa", "aws-root-mfa"]') + OWN
            )
        if hour == 10:
            self.role = "EvidenceReadOnlyNext"
        if hour == 13:
            self.now += 2 * HOUR
        self.cloud.mfa["ann"] = "false" if hour >= 7 else "true"
        self.cloud.mfa["bob"] = "false" if hour in (8, 9) else "true"
        self.hour("the collector was not running")
        more = getattr(self, f"_at_{hour}", None)
        if more is not None:
            more()

    def _at_6(self) -> None:
        """A heartbeat as older collectors wrote it."""
        self.add(Kind.HEARTBEAT, {"collector": "0.1.0", "host": "old", "skew_ms": None})

    def _at_7(self) -> None:
        for ms in (400_000, -301_000):
            self.now += timedelta(seconds=30)
            self.operation._skew_ms = ms
            self.operation.heartbeat()
        self.operation._skew_ms = 12
        self.operation.heartbeat()

    def _at_8(self) -> None:
        self.now += 40 * timedelta(minutes=1)
        self.operation.heartbeat(Sign.STOP, "it was told to stop")
        self.now += 5 * timedelta(minutes=1)
        self.operation.started = self.now
        self.operation.heartbeat(Sign.START, "leads again")
        self._anchor("failed", self.ledger.checkpoints()[-1].size)
        self._anchor("failed", 0)

    def _at_9(self) -> None:
        (ann,) = [e for e in self.ledger.entries(kinds=[Kind.ALERT]) if e.data["subject"].endswith("/ann")]
        sent = {"alert": ann.seq, "channel": "pager", "attempt": 1, "outcome": "delivered", "detail": "200"}
        self.add(Kind.DELIVERY, {**sent, "retry_at": None})
        self._anchor("failed", self.ledger.checkpoints()[-1].size)
        self._anchor("anchored", self.ledger.checkpoints()[-1].size)  # the same, asked again

    def _at_13(self) -> None:
        self.operation.started = self.now
        self.operation.heartbeat(Sign.START, "=after a kill")

    def _anchor(self, outcome: str, size: int) -> None:
        of = next((c for c in self.ledger.checkpoints() if c.size == size), None)
        about = {
            "size": size,
            "root": of.root.hex() if of else "",
            "note": canonical.digest(of.note.encode()) if of else "",
        }
        said = {"outcome": outcome, "reason": "" if outcome == "anchored" else "full", "failure": ""}
        self.add(
            Kind.ANCHOR, {"anchor": "file/shelf", "type": "file", **about, "token": "", "time": "", "where": "", **said}
        )

    def add(self, kind: Kind, fields: dict[str, Any]) -> None:
        with self.ledger.write() as batch:
            batch.add(Draft(kind, self.now, fields))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The day. Nobody writes to it."""
    with pytest.MonkeyPatch.context() as patch:
        asked = {"server": "192.0.2.1", "offset_ms": 7, "stratum": 2, "reason": ""}
        silent = {**asked, "offset_ms": None, "stratum": None, "reason": "did not answer in time"}

        def ask(server: str, clock: Any) -> dict[str, Any]:
            patch.setattr(beating, "__version__", "0.2.0" if clock() >= DAY + 9 * HOUR else "0.1.0")
            return silent if clock() < DAY + 8 * HOUR else asked

        patch.setattr(beating, "ask_time", ask)
        lived = Watched(tmp_path_factory.mktemp("watched") / "collector")
    yield lived
    lived.ledger.close()


@pytest.fixture(scope="module")
def seen(watched: Watched) -> Dossier:
    return read.read(watched.ledger, watched.settings, "morning", EXPORTED)


@pytest.fixture(scope="module")
def packed(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its package. Nobody writes to it."""
    return watched.export(tmp_path_factory.mktemp("packed") / "package").path


def rows(package: Path) -> list[dict[str, str]]:
    with (package / "tables" / "collector.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_everything_that_happened_is_one_row(packed: Path) -> None:
    assert Counter((row["event"], row["amiss"]) for row in rows(packed)) == {
        ("start", "no"): 1,
        ("stop", "no"): 1,
        ("broken-off", "no"): 1,
        ("silence", "yes"): 1,
        ("clock", "yes"): 1,
        ("version", "no"): 1,
        ("configuration", "no"): 1,
        ("permissions", "no"): 1,
        ("identity", "no"): 1,
        ("anchor", "yes"): 1,  # never taken
        ("anchor", "no"): 2,  # taken when it was asked again; only asked whether it works
        ("undelivered", "yes"): 3,  # bob, the account that was not observed, the check that cannot read
        ("told-late", "no"): 1,
        ("unacknowledged", "no"): 4,
    }


def test_each_row_names_the_entries_that_say_so(watched: Watched, packed: Path) -> None:
    kinds = {
        **{event: {"heartbeat"} for event in ("start", "stop", "broken-off", "silence", "clock", "version")},
        "permissions": {"heartbeat"},
        "identity": {"heartbeat", "run"},
        "configuration": {"config"},
        "anchor": {"anchor"},
        "undelivered": {"alert"},
        "unacknowledged": {"alert"},
        "told-late": {"alert", "delivery"},
    }
    for row in rows(packed):
        said = {watched.ledger.entry(int(seq)).kind.value for seq in row["entries"].split()}
        assert said == kinds[row["event"]], row


def test_a_silence_says_how_long_and_how_many(watched: Watched, packed: Path) -> None:
    (silence,) = [row for row in rows(packed) if row["event"] == "silence"]
    assert (silence["at_utc"], silence["until_utc"], silence["count"]) == (
        "2026-01-01T10:00:30.000000Z",
        "2026-01-01T13:00:30.000000Z",
        "2",
    )
    before, after = (watched.ledger.entry(int(seq)) for seq in silence["entries"].split())
    assert (canonical.stamp(before.at), canonical.stamp(after.at)) == (silence["at_utc"], silence["until_utc"])
    assert silence["what"] == "2 heartbeats missed in 3 h, unannounced"


def test_what_changed_is_said_where_the_ledger_knows_it(packed: Path) -> None:
    said = {row["event"]: row["what"] for row in rows(packed)}
    assert said["version"] == "the collector's version was 0.1.0, is 0.2.0"
    assert said["permissions"] == "iam:GetAccountSummary is needed; iam:ListVirtualMFADevices is needed"
    assert "control IAM-1: checks was" in said["configuration"]
    assert said["identity"] == (
        "aws/123456789012 is asked by arn:aws:iam::1:role/EvidenceReadOnlyNext, "
        "was arn:aws:iam::1:role/EvidenceReadOnly"
    )
    assert said["clock"] == "the host's clock was up to 400 s behind those outside"
    assert said["broken-off"].endswith("begins: =after a kill; no stop of the process before it was written")


def test_the_finding_says_each_thing_that_was_amiss(seen: Dossier, packed: Path) -> None:
    it = seen.own.found
    assert it.state is State.NOT_SATISFIED
    assert it.words == (
        "2 heartbeats missed, the longest silence 3.0 hours",
        "the clock was 400 s off providers' clocks",
        "1 checkpoint not taken by a place outside",
        "3 alerts reached nobody",
    )
    assert (it.skew_ms, it.ntp_ms, it.ntp_silent) == ((-301_000, 400_000), (7, 7), 5)
    told = json.loads((packed / "controls.json").read_bytes())["collector"]
    assert (told["state"], told["words"], told["missed"]) == ("not-satisfied", list(it.words), 2)
    assert (told["starts"], told["stops"], told["broken_off"]) == (2, 1, 1)
    assert (told["slots"], told["unaccounted"], told["alerts"], told["undelivered"]) == (len(seen.slots), 0, 4, 3)


def test_a_control_of_the_entity_takes_what_concerns_it(seen: Dossier) -> None:
    findings = {finding.control: finding for finding in seen.findings}
    assert findings["MON-1"].state is State.NOT_SATISFIED
    assert "heartbeats missed" in findings["MON-1"].words
    assert "reached nobody" not in findings["MON-1"].words
    assert findings["MON-2"].state is State.NOT_SATISFIED
    assert findings["MON-2"].words.startswith("3 alerts reached nobody; 2 heartbeats missed")
    assert findings["HR-1"].state is State.NOT_APPLICABLE, "what is collected by hand is never a pass"


def test_what_is_collected_by_hand_is_printed_and_is_no_pass(packed: Path, seen: Dossier) -> None:
    words = "Not in this package, to be collected by hand: =The list of leavers."
    report, page = ((packed / name).read_text() for name in ("report.html", "controls/HR-1.html"))
    assert words in page
    assert "Nothing here shows that it was collected" in page
    assert report.count(words) == 2, "in the table of controls and in its chapter"
    assert "The minutes of &lt;b&gt;whoever&lt;/b&gt; read this." in report
    cards = {card["id"]: card for card in json.loads((packed / "controls.json").read_bytes())["controls"]}
    assert cards["HR-1"]["by_hand"] == "=The list of leavers."
    assert {id for id, card in cards.items() if card["by_collector"]} == {"MON-1", "MON-2"}


def test_the_pages_tell_it(packed: Path) -> None:
    for name in ("collector.html", "report.html", "controls/MON-1.html"):
        page = (packed / name).read_text()
        assert "silent" in page, name
        assert "2 heartbeats missed in 3 h, unannounced" in page, name
    assert 'href="../collector.html"' in (packed / "controls/MON-1.html").read_text()
    assert "<script" not in (packed / "collector.html").read_text()


def test_the_picture_shows_each_missed_heartbeat_where_it_was_due(seen: Dossier) -> None:
    lane = itself_html.lane(seen)
    missed = [slot.due.at for slot in lane.slots if slot.state.value == "missed"]
    assert missed == [DAY + 11 * HOUR + timedelta(seconds=30), DAY + 12 * HOUR + timedelta(seconds=30)]
    assert len(lane.slots) == seen.own.found.beats - len(seen.own.found.stops) + 2


def test_one_line_of_it_for_terminals(watched: Watched, seen: Dossier) -> None:
    line = itself.itself_line(seen.own)
    assert line.startswith("not satisfied: 2 heartbeats missed")
    assert line.endswith("Up 59.1 %, 15 heartbeats, 2 starts"), line
    assert itself.lately(watched.ledger, watched.settings, DAY + 18 * HOUR).startswith("runs; last sign of life 59 min")
    late = itself.lately(watched.ledger, watched.settings, DAY + 19 * HOUR)
    assert late == (
        "is silent; last sign of life 1 h 59 min ago (2026-01-01T17:00:30.000000Z); 3 heartbeats missed in the last day"
    )


def test_oscal_has_the_finding_of_such_a_control_and_no_other_without_checks(seen: Dossier) -> None:
    (found,) = json.loads(b"".join(oscal.pieces(seen)))["assessment-results"]["results"]
    told = {
        prop["value"]: finding
        for finding in found["findings"]
        for prop in finding["props"]
        if prop["name"] == "control"
    }
    assert "HR-1" not in told
    (own,) = [item for item in found["observations"] if item["title"] == "The collector itself"]
    assert len(own["relevant-evidence"]) == 1 + sum(event.amiss for event in seen.own.events)
    for id in ("MON-1", "MON-2"):
        assert told[id]["target"]["status"] == {"state": "not-satisfied", "reason": "fail"}
        assert told[id]["related-observations"] == [{"observation-uuid": own["uuid"]}]


# --- the verifier ---


def verdict(package: Path) -> list[str]:
    told = verify.prove(package, None, run_packaged_checks=False, progress=False)
    return [f"{item['where']}: {item['what']}" for item in told["broken"]]


def test_the_verifier_says_the_same(packed: Path) -> None:
    told = verify.prove(packed, None, run_packaged_checks=False, progress=False)
    assert told["broken"] == []
    (said,) = [words for words in told["proved"] if words.startswith("collector.csv")]
    assert said.endswith("15 heartbeats, 2 missed; not-satisfied")


def forged(watched: Watched, folder: Path, name: str, change: Any) -> Path:
    """A package signed by the collector's own key with another text in one file."""
    package = watched.export(folder / "package").path
    path = package / name
    path.write_bytes(change(path.read_bytes()))
    resign(package, watched.signer)
    return package


def without(event: str) -> Any:
    def change(data: bytes) -> bytes:
        lines = list(csv.reader(io.StringIO(data.decode(), newline="")))
        out = io.StringIO()
        kept = [line for line in lines if line[0] != event]
        assert len(kept) < len(lines)
        csv.writer(out, lineterminator="\r\n").writerows(kept)
        return out.getvalue().encode()

    return change


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("tables/collector.csv", without("silence"), "leaves out what happened to the collector: silence"),
        ("tables/collector.csv", without("broken-off"), "leaves out what happened to the collector: broken-off"),
        ("tables/collector.csv", without("undelivered"), "leaves out what happened to the collector: undelivered"),
        ("tables/collector.csv", without("configuration"), "leaves out what happened to the collector: configuration"),
        ("tables/collector.csv", without("identity"), "leaves out what happened to the collector: identity"),
        (
            "tables/collector.csv",
            lambda data: data.replace(b",2,yes,", b",1,yes,"),
            "says something else of the collector than the ledger",
        ),
        (
            "controls.json",
            lambda data: data.replace(b'"state":"not-satisfied"', b'"state":"satisfied"'),
            "says something else of the collector than the ledger: not-satisfied",
        ),
        (
            "controls.json",
            lambda data: data.replace(b"=The list of leavers.", b"Nothing at all.     "),
            "says something else of a control than the configurations in force",
        ),
    ],
)
def test_whoever_touches_it_is_found(watched: Watched, tmp_path: Path, name: str, change: Any, what: str) -> None:
    (broken,) = verdict(forged(watched, tmp_path, name, change))
    assert broken.startswith(name)
    assert what in broken


def test_a_package_from_before_this_table_still_verifies_and_says_what_is_not_proved(
    watched: Watched, tmp_path: Path
) -> None:
    package = watched.export(tmp_path / "package").path
    (package / "tables" / "collector.csv").unlink()
    resign(package, watched.signer)
    told = verify.prove(package, None, run_packaged_checks=False, progress=False)
    assert told["broken"] == []
    assert any(words.startswith("how the collector itself did") for words in told["not_proved"])


START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(hours=12)


@given(
    seconds=st.lists(st.integers(-90 * 60, 13 * 3600), max_size=25, unique=True),
    every=st.sampled_from((300, 3600, 7200)),
    micro=st.sampled_from((0, 1, 999_999)),
)
def test_two_programs_find_the_same_silences(seconds: list[int], every: int, micro: int) -> None:
    """The verifier shares no code with the collector, so it may as well check it."""
    times = [START + timedelta(seconds=s, microseconds=micro) for s in sorted(seconds)]
    beats = [Beat(n, at, Sign.BEAT, ("h", "p"), "1", every) for n, at in enumerate(times)]
    it = found_of(beats, (), (), (0, 0), START, END, timedelta(minutes=15))
    proof = object.__new__(verify.Proof)
    proof.since, proof.until = canonical.stamp(START), canonical.stamp(END)
    entries = [{"seq": b.seq, "at": canonical.stamp(b.at), "collector": "1", "every_s": every} for b in beats]
    told = list(proof._silences([verify.Beat(entry, 1) for entry in entries], it.beats > 0))
    assert [(row[1], row[2], row[3]) for row in told if row[0] == "silence"] == [
        (canonical.stamp(s.since), canonical.stamp(s.until), str(s.missed)) for s in it.silences
    ]
    assert any(row[0] == "no-heartbeat" for row in told) == (
        any(words.startswith("no heartbeat") for words in it.words)
    )


# --- honesty at the edges ---


def test_without_heartbeats_it_is_undetermined_and_verifies(tmp_path: Path) -> None:
    """As with `collector once` from a timer."""
    lived = Lived(tmp_path / "collector", WINDOWS, CONTROLS + OWN)
    lived.operation.heartbeat = lambda *_: None  # type: ignore[method-assign,assignment]
    for _ in range(18):
        lived.hour()
    package = lived.export(tmp_path / "package").path
    assert verdict(package) == []
    dossier = read.read(lived.ledger, lived.settings, "morning", EXPORTED)
    assert dossier.own.found.state is State.UNDETERMINED
    assert [event.event for event in dossier.own.events] == ["no-heartbeat"]
    states = {finding.control: finding.state for finding in dossier.findings}
    assert (states["MON-1"], states["MON-2"]) == (State.UNDETERMINED, State.UNDETERMINED)
    page = (package / "collector.html").read_text()
    assert "undetermined" in page
    assert 'class="finding satisfied"' not in page
    lived.ledger.close()


def test_a_calm_day_is_satisfied_and_a_part_of_it_that_is_about_no_slot_is_not(tmp_path: Path) -> None:
    lived = Lived(
        tmp_path / "collector", CONFIG.replace('"CC6.1", "CC6.7"', '"CC4.1", "CC6.1", "CC6.7"'), CONTROLS + OWN
    )
    for _ in range(18):
        lived.hour()
    whole = read.read(lived.ledger, lived.settings, "morning", EXPORTED)
    assert (whole.own.found.state, whole.own.found.words) == (State.SATISFIED, ())
    assert {f.control: f.words for f in whole.findings}["MON-1"] == (
        f"no heartbeat missed, {len(whole.slots)} slots accounted for"
    )
    asked = read.Asked(controls=("MON-1",))
    part = read.read(lived.ledger, lived.settings, "morning", EXPORTED, asked=asked)
    assert [finding.state for finding in part.findings] == [State.UNDETERMINED]
    assert "whether runs were missed is not known" in part.findings[0].words
    lived.ledger.close()


def test_a_control_is_evidenced_by_checks_or_by_the_collector(tmp_path: Path) -> None:
    path = tmp_path / "controls.toml"
    path.write_text(
        '[controls.X]\ntitle = "x"\nowner = "x"\ncriteria = ["CC4.1"]\nchecks = ["aws-root-mfa"]\nby_collector = true\n'
    )
    with pytest.raises(ConfigError, match="leave one of them out"):
        load(path, SHELF)


def test_a_long_list_of_events_cuts_none_that_counts(dossier: Dossier) -> None:
    """Of 500 events the 50 that count against it are the last ones, and all of them are shown."""
    from collector.export.chapter import View
    from collector.export.dossier import OwnEvent

    at = dossier.since
    events = [OwnEvent("version", at + n * HOUR / 60, None, None, f"calm {n}.", n >= 450, (n,)) for n in range(500)]
    page = itself_html.own_page(View(replace(dossier, own=replace(dossier.own, events=tuple(events)))))
    assert all(f"calm {n}." in page for n in range(450, 500))
    assert "The first 200 of 500 events; all are in tables/collector.csv." in page


def test_the_entitys_own_finding_is_no_slot_of_a_check(dossier: Dossier) -> None:
    """Its control stands in the summary without a share of slots, which would be those of others."""
    from collector.export import report

    card = ControlCard("MON-9", "We look.", "we", ("CC4.1",), (), 3600, by_collector=True)
    finding = Finding("MON-9", State.SATISFIED, 0, 0, (), timedelta(0), "no heartbeat missed")
    page = report.html(replace(dossier, controls=(card,), findings=(finding,)))
    assert "no slot due" not in page
    assert 'by <a href="#collector">the collector itself</a>' in page
