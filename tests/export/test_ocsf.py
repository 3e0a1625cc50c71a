"""OCSF compliance findings: valid under four versions, one story a subject, never better than what was seen."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from collector import canonical
from collector.export import ocsf
from collector.export.dossier import Dossier
from collector.model import State
from tests.support.dossiers import decision, dossiers, in_window, many

VERSIONS = ("1.5.0", "1.6.0", "1.7.0", "1.8.0")
BYTES_A_STRETCH_MAX = 32  # beside the dossier: a pointer, and two and a half more while they are sorted
LINE_BYTES_MAX = 16 * 1024
GOOD, BAD, UNKNOWN, OTHER = 1, 3, 0, 99


@cache
def schema(version: str) -> Any:
    made = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
    return made.get_class_schema("compliance_finding", profiles=["cloud", "datetime"])


@cache
def validator(version: str) -> Any:
    return jsonschema_rs.Draft202012Validator(schema(version))


def problems(event: Any, version: str) -> list[str]:
    return [f"{list(e.instance_path)}: {e.message[:200]}" for e in validator(version).iter_errors(event)]


def events(dossier: Dossier) -> list[Any]:
    written = list(ocsf.lines(dossier))
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in written)
    return [json.loads(line) for line in written]


def closes_a_hole(event: Any) -> bool:
    return event["compliance"]["status"] in (ocsf.GONE[1], ocsf.LOOKED_AGAIN[1])


# --- valid ---


@pytest.mark.parametrize("version", VERSIONS)
def test_a_month_is_valid(dossier: Dossier, version: str) -> None:
    assert [p for event in events(dossier) for p in problems(event, version)] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_the_reference_implementation_of_json_schema_agrees(dossier: Dossier, version: str) -> None:
    """The fast validator is the one of the properties below; a part is held to the slow one too."""
    slow = jsonschema.Draft202012Validator(schema(version))
    for event in events(dossier)[::20]:
        assert list(slow.iter_errors(event)) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda e: e.pop("compliance"),
        lambda e: e.pop("time"),
        lambda e: e.pop("cloud"),
        lambda e: e.update(more=1),
        lambda e: e["compliance"].update(status_id=7),
        lambda e: e.update(time="2026-03-08T23:00:00Z"),
        lambda e: e["finding_info"].pop("uid"),
    ],
)
def test_the_schema_refuses_what_it_should(dossier: Dossier, version: str, spoil: Callable[[Any], Any]) -> None:
    event = events(dossier)[0]
    spoil(event)
    assert problems(event, version)


@given(dossiers())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_window_is_valid_complete_and_never_too_good(window: Dossier) -> None:
    found = events(window)
    for event in found:
        for version in VERSIONS:
            assert problems(event, version) == []
    check_states(window, found)
    check_holes(window, found)
    check_stories(window, found)


def check_states(window: Dossier, found: list[Any]) -> None:
    """Each state of each subject is there once as what it is. Pass is said of nothing else."""
    expected = Counter(
        (item.check, item.subject, item.from_run, ocsf.COMPLIANCE[item.state][0]) for item in in_window(window)
    )
    told = Counter(
        (
            event["compliance"]["checks"][0]["uid"],
            event.get("resources", [{"uid": ""}])[0]["uid"],
            event["evidences"][0]["data"]["entry"],
            event["compliance"]["status_id"],
        )
        for event in found
        if event["evidences"][0]["data"]["kind"] == "run" and not closes_a_hole(event)
    )
    assert told == expected
    undetermined = {
        (i.check, i.scope, i.subject, i.from_run) for i in in_window(window) if i.state is State.UNDETERMINED
    }
    passed = sum(event["compliance"]["status_id"] == GOOD for event in found)
    assert passed == sum(item.state is State.SATISFIED for item in in_window(window))
    assert len(undetermined) <= sum(event["compliance"]["status_id"] == UNKNOWN for event in found)
    for event in found:
        wrong = event["compliance"]["status_id"] in (BAD, UNKNOWN)
        assert (event["severity_id"] == 0) == wrong


def check_holes(window: Dossier, found: list[Any]) -> None:
    """Each slot without a run lies in exactly one event that says Unknown, and no other slot does."""
    holes = [e for e in found if e["evidences"][0]["data"]["kind"] != "run" and not closes_a_hole(e)]
    assert all(hole["compliance"]["status_id"] == UNKNOWN and "resources" not in hole for hole in holes)
    for slot in window.slots:
        at = int(slot.due.at.timestamp() * 1000)
        around = [
            hole
            for hole in holes
            if hole["compliance"]["checks"][0]["uid"] == slot.due.check
            and scope_of(hole) == slot.due.scope
            and hole["start_time"] <= at < hole.get("end_time", at + 1)
        ]
        assert len(around) == (slot.run is None)


def scope_of(event: Any) -> str:
    cloud = {name: short for short, name in ocsf.PROVIDERS.items()}[event["cloud"]["provider"]]
    parts = [cloud, event["cloud"]["account"]["uid"], event["cloud"].get("region", "")]
    return "/".join(part for part in parts if part)


def check_stories(window: Dossier, found: list[Any]) -> None:
    """All events about one subject tell one story in order: what was opened is open until it is closed."""
    assert len({event["metadata"]["uid"] for event in found}) == len(found)
    stories: dict[str, list[Any]] = defaultdict(list)
    for event in found:
        stories[event["finding_info"]["uid"]].append(event)
    for story in stories.values():
        assert [event["time"] for event in story] == sorted(event["time"] for event in story)
        opened = False
        for event in story:
            wrong = event["compliance"]["status_id"] in (BAD, UNKNOWN)
            assert event["activity_id"] == 3 if opened and not wrong else event["activity_id"] in (1, 2)
            assert event["status_id"] == ((2 if opened else 1) if wrong else (4 if opened else 99))
            assert event["type_uid"] == 200300 + event["activity_id"]
            opened = wrong
        assert not opened or "end_time" not in story[-1]  # what still stands open has no end
    until = int(window.until.timestamp() * 1000)
    assert all(event["time"] < until for event in found)


# --- what it says ---


def test_a_hole_is_unknown_and_closes_when_somebody_looks_again(dossier: Dossier) -> None:
    about = [e for e in events(dossier) if e["compliance"]["checks"][0]["uid"] == "aws-iam-user-mfa"]
    holes = [e for e in about if e["evidences"][0]["data"]["kind"] == "gap"]
    assert [(e["compliance"]["status"], e["activity_name"]) for e in holes] == [
        ("Unknown", "Create"),
        ("Looked at again", "Close"),
    ]
    assert "the collector was stopped for a move to another cluster" in holes[0]["message"]
    assert holes[0]["end_time"] == holes[1]["time"]


def test_who_vanishes_while_something_is_wrong_is_closed_without_a_pass(dossier: Dossier) -> None:
    bad = next(s for s in dossier.stretches if s.state is State.NOT_SATISFIED and s.to_at is not None)
    others = tuple(s for s in dossier.stretches if (s.check, s.subject) != (bad.check, bad.subject))
    told = [
        e
        for e in events(replace(dossier, stretches=(*others, bad)))
        if e["compliance"]["checks"][0]["uid"] == bad.check and e.get("resources", [{}])[0].get("uid") == bad.subject
    ]
    assert [e["compliance"]["status_id"] for e in told] == [BAD, OTHER]
    assert told[-1]["compliance"]["status"] == "No longer in the population"
    assert told[-1]["time"] == int(bad.to_at.timestamp() * 1000)  # type: ignore[union-attr]


def test_a_deviation_that_somebody_lives_with_is_still_one(dossier: Dossier) -> None:
    bad = next(s for s in dossier.stretches if s.state is State.NOT_SATISFIED)
    held = decision(bad, bad.from_at, dossier.until)
    told = [(a, b) for a, b in zip(events(dossier), events(replace(dossier, decisions=(held,))), strict=True) if a != b]
    assert told
    for before, after in told:
        assert after == {**before, "comment": after["comment"]}
        assert after["comment"].startswith("accepted by the CISO from ")
        assert [p for version in VERSIONS for p in problems(after, version)] == []


def test_a_region_is_named_where_the_scope_has_one(dossier: Dossier) -> None:
    regions = {e["cloud"].get("region") for e in events(dossier)}
    assert regions == {None, "eu-central-1", "eu-west-1", "us-east-1"}


def test_each_event_names_the_entry_and_the_source_that_it_rests_on(dossier: Dossier) -> None:
    codes = {card.id: card.code for card in dossier.checks}
    for event in events(dossier):
        rests = event["evidences"][0]["data"]
        if rests["kind"] == "run":
            assert rests["check_source_sha256"] == codes[event["compliance"]["checks"][0]["uid"]]
            assert isinstance(rests["entry"], int)


def test_a_check_that_is_only_tried_out_says_so(dossier: Dossier) -> None:
    tried = replace(dossier, checks=tuple(replace(card, stage="preview") for card in dossier.checks))
    assert all(event["finding_info"]["types"][-1] == "preview" for event in events(tried))


def test_times_are_what_they_say(dossier: Dossier) -> None:
    for event in events(dossier):
        assert event["time"] == int(canonical.moment(event["time_dt"]).timestamp() * 1000)


# --- the same, and small ---


def test_twice_the_same_bytes(dossier: Dossier, rebuilt: Callable[[], Dossier]) -> None:
    assert list(ocsf.lines(dossier)) == list(ocsf.lines(rebuilt()))


def test_memory_does_not_grow_with_what_it_writes(weekend: Dossier) -> None:
    def peak(count: int) -> tuple[int, int]:
        window = many(weekend, count)
        tracemalloc.start()
        written = 0
        for line in ocsf.lines(window):
            assert len(line) < LINE_BYTES_MAX
            written += len(line)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used, written

    small, large = peak(2_000), peak(8_000)
    assert large[1] - small[1] > 6_000 * 1000
    assert large[0] - small[0] < 6_000 * BYTES_A_STRETCH_MAX
