"""OSCAL assessment results: always valid, always pointing at what is there, never better than what was seen."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings

from collector import canonical
from collector.export import oscal
from collector.export.dossier import Dossier, LeftOut
from collector.model import State
from tests.support.dossiers import decision, dossiers, in_window, many

SCHEMAS = Path(__file__).parents[1] / "schemas" / "oscal"
# As two projects wrote it down that downloaded NIST's release asset: see the README beside the file.
RESULTS_SHA256 = "4f9e277a177adbcca9527612ce450a33dc6096773fa229d413d801d196c61985"
BYTES_A_STRETCH_MAX = 32  # beside the dossier: a pointer, and two and a half more while they are sorted
PIECE_BYTES_MAX = 16 * 1024


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / f"oscal_{name}_schema-{oscal.VERSION}.json").read_bytes())


@cache
def validator(name: str) -> Any:
    return jsonschema_rs.validator_for(schema(name), validate_formats=True)


def problems(name: str, document: Any) -> list[str]:
    return [f"{list(e.instance_path)}: {e.message[:200]}" for e in validator(name).iter_errors(document)]


def document(dossier: Dossier) -> Any:
    return json.loads(b"".join(oscal.pieces(dossier)))


def result(dossier: Dossier) -> Any:
    (found,) = document(dossier)["assessment-results"]["results"]
    return found


def prop(item: Any, name: str) -> str:
    (found,) = [p["value"] for p in item["props"] if p["name"] == name]
    return str(found)


def uuids(value: Any) -> Iterator[str]:
    """Every identifier that a document defines, not those that it refers to."""
    if isinstance(value, dict):
        if "uuid" in value:
            yield value["uuid"]
        for member in value.values():
            yield from uuids(member)
    elif isinstance(value, list):
        for member in value:
            yield from uuids(member)


# --- valid ---


def test_the_schemas_are_those_of_the_release() -> None:
    path = SCHEMAS / f"oscal_assessment-results_schema-{oscal.VERSION}.json"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == RESULTS_SHA256
    assert schema("assessment-results")["$id"] == "http://csrc.nist.gov/ns/oscal/1.2.1/oscal-ar-schema.json"
    assert schema("catalog")["$id"] == "http://csrc.nist.gov/ns/oscal/1.2.1/oscal-catalog-schema.json"


def test_a_month_is_valid(dossier: Dossier) -> None:
    assert problems("assessment-results", document(dossier)) == []
    assert problems("catalog", json.loads(oscal.catalog(dossier))) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.pop("import-ap"),
        lambda d: d["metadata"].pop("oscal-version"),
        lambda d: d.update(more=1),
        lambda d: d["results"][0].update(start="2026-03-08T23:00:00"),
        lambda d: d["results"][0].update(observations=[]),
        lambda d: d["results"][0]["observations"][0].update(uuid="00000000-0000-1000-8000-000000000000"),
        lambda d: d["results"][0]["findings"][0]["target"]["status"].update(state="undetermined"),
        lambda d: d["results"][0]["findings"][0]["target"].update({"target-id": "6.1"}),
        lambda d: d["results"][0]["observations"][0]["props"][0].update(value="two\nlines"),
    ],
)
def test_the_schema_refuses_what_it_should(dossier: Dossier, spoil: Callable[[Any], Any]) -> None:
    """Otherwise the tests that find nothing wrong would say nothing."""
    spoiled = document(dossier)
    spoil(spoiled["assessment-results"])
    assert problems("assessment-results", spoiled)


@given(dossiers())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_window_is_valid_complete_and_never_too_good(window: Dossier) -> None:
    whole = document(window)
    assert problems("assessment-results", whole) == []
    assert problems("catalog", json.loads(oscal.catalog(window))) == []
    check_references(whole, json.loads(oscal.catalog(window)))
    check_observations(window, whole)
    check_findings(window, whole)


def check_references(whole: Any, catalog: Any) -> None:
    """Everything that is pointed to is there, once."""
    defined = Counter(uuids(whole))
    assert set(defined.values()) == {1}
    results = whole["assessment-results"]
    (found,) = results["results"]
    assert results["import-ap"]["href"].removeprefix("#") in {r["uuid"] for r in results["back-matter"]["resources"]}
    observations = {o["uuid"] for o in found.get("observations", [])}
    items = {i["uuid"] for i in found.get("local-definitions", {}).get("inventory-items", [])}
    pointed = {s["subject-uuid"] for o in found.get("observations", []) for s in o.get("subjects", [])}
    assert pointed == items
    controls = {c["id"]: {p["id"] for p in c["parts"]} for c in catalog["catalog"]["controls"]}
    (selection,) = found["reviewed-controls"]["control-selections"]
    assert {c["control-id"] for c in selection["include-controls"]} == set(controls)
    for finding in found.get("findings", []):
        assert {r["observation-uuid"] for r in finding.get("related-observations", [])} <= observations
        assert any(finding["target"]["target-id"] in parts for parts in controls.values())


def check_observations(window: Dossier, whole: Any) -> None:
    """Each state of each subject stands there once as what it is; each slot without a run lies in one that says so."""
    (found,) = whole["assessment-results"]["results"]
    observations = found.get("observations", [])
    shown = Counter((prop(o, "check"), prop(o, "state")) for o in observations if o["methods"] == ["TEST"])
    assert shown == Counter((item.check, item.state.value) for item in in_window(window))
    holes = [o for o in observations if o["methods"] == ["EXAMINE"]]
    assert all(prop(hole, "state") == "undetermined" for hole in holes)
    for slot in window.slots:
        around = [
            hole
            for hole in holes
            if (prop(hole, "check"), prop(hole, "scope")) == (slot.due.check, oscal.one_line(slot.due.scope))
            and canonical.moment(hole["collected"]) <= slot.due.at
            and (prop(hole, "until") == "open" or slot.due.at < canonical.moment(prop(hole, "until")))
        ]
        assert len(around) == (slot.run is None)


def check_findings(window: Dossier, whole: Any) -> None:
    (found,) = whole["assessment-results"]["results"]
    expected = {
        (card.id, criterion): finding.state
        for card, finding in zip(window.controls, window.findings, strict=True)
        for criterion in card.criteria
        if (not window.criteria or criterion in window.criteria) and finding.state is not State.NOT_APPLICABLE
    }
    told = {
        (prop(f, "control"), f["target"]["target-id"].removesuffix("_obj").upper()): f
        for f in found.get("findings", [])
    }
    assert told.keys() == expected.keys()
    for key, state in expected.items():
        status = told[key]["target"]["status"]
        assert (status["state"] == "satisfied") == (state is State.SATISFIED)
        assert status["reason"] == {"satisfied": "pass", "not-satisfied": "fail"}.get(state.value, "other")


# --- what it says ---


def test_what_nobody_looked_at_is_no_pass(dossier: Dossier) -> None:
    """The month has a control whose only trouble is that the collector was down."""
    down = [f for f in dossier.findings if f.state is State.UNDETERMINED]
    assert down
    told = {prop(f, "control"): f for f in result(dossier)["findings"]}
    for finding in down:
        assert told[finding.control]["target"]["status"] == {"state": "not-satisfied", "reason": "other"}
        assert told[finding.control]["related-observations"]


def test_a_check_that_is_only_tried_out_counts_for_no_finding(dossier: Dossier) -> None:
    (card,) = [c for c in dossier.controls if c.id == "ACC-01"]
    tried = tuple(replace(c, stage="preview") if c.id in card.checks else c for c in dossier.checks)
    finding = {prop(f, "control"): f for f in result(replace(dossier, checks=tried))["findings"]}["ACC-01"]
    assert "related-observations" not in finding


def test_a_control_without_a_check_has_no_finding(dossier: Dossier) -> None:
    assert "HR-04" not in {prop(f, "control") for f in result(dossier)["findings"]}


def test_a_deviation_that_somebody_lives_with_is_still_one(dossier: Dossier) -> None:
    bad = next(s for s in dossier.stretches if s.state is State.NOT_SATISFIED)
    held = decision(bad, bad.from_at, dossier.until)
    plain, told = ([*result(d)["observations"]] for d in (dossier, replace(dossier, decisions=(held,))))
    (changed,) = [(a, b) for a, b in zip(plain, told, strict=True) if a != b]
    assert changed[1] == {**changed[0], "remarks": changed[1]["remarks"]}
    assert changed[1]["remarks"].startswith("accepted by the CISO from ")
    assert result(dossier)["findings"] == result(replace(dossier, decisions=(held,)))["findings"]


def test_only_the_windows_criteria_are_spoken_of(dossier: Dossier) -> None:
    """A control may serve others too; the window was not asked about them."""
    window = replace(dossier, criteria=("CC6.7",))
    assert {f["target"]["target-id"] for f in result(window)["findings"]} == {"cc6.7_obj"}
    assert [c["id"] for c in json.loads(oscal.catalog(window))["catalog"]["controls"]] == ["cc6.7"]


def test_what_was_left_out_is_said(dossier: Dossier) -> None:
    less = replace(dossier, left_out=LeftOut(controls=2, slots=30, runs=28))
    assert result(less)["remarks"].endswith("Asked for less: 2 controls, 30 slots, 28 runs left out.")
    assert "Asked for less" not in result(dossier)["remarks"]


def test_a_version_is_the_one_that_judged(dossier: Dossier) -> None:
    """Two versions of one check in one window: what the first one saw carries the first one's number."""
    runs = sorted(s.from_run for s in dossier.stretches if s.check == "aws-iam-user-mfa")
    (old,) = [c for c in dossier.checks if c.id == "aws-iam-user-mfa"]
    new = replace(old, version=2, first_used=runs[-1] - 1, title="Every IAM user has MFA, at last.")
    window = replace(dossier, checks=(*dossier.checks, new))
    told = [o for o in result(window)["observations"] if prop(o, "check") == old.id and o["methods"] == ["TEST"]]
    assert Counter(prop(o, "check-version") for o in told) == {
        "1": len([run for run in runs if run < runs[-1]]),
        "2": runs.count(runs[-1]),
    }
    assert {o["title"] for o in told} == {old.title, new.title}


def test_a_window_about_no_criterion_is_refused(dossier: Dossier) -> None:
    bare = tuple(replace(card, criteria=()) for card in dossier.controls)
    with pytest.raises(ValueError, match="no criterion"):
        b"".join(oscal.pieces(replace(dossier, controls=bare)))


def test_alone_it_refers_to_no_file_and_in_a_package_to_files_of_it(dossier: Dossier) -> None:
    alone = b"".join(oscal.pieces(dossier))
    assert b'"href":"#' in alone
    assert alone.count(b'"href":"') == alone.count(b'"href":"#') == 2
    inside = json.loads(b"".join(oscal.pieces(dossier, oscal.Package({"plan.json": "ab" * 32}))))
    assert problems("assessment-results", inside) == []
    plan, catalog = inside["assessment-results"]["back-matter"]["resources"]
    assert plan["rlinks"][0]["href"] == "../plan.json"
    assert plan["rlinks"][0]["hashes"] == [{"algorithm": "SHA-256", "value": "ab" * 32}]
    assert catalog["rlinks"][0]["hashes"][0]["value"] == hashlib.sha256(oscal.catalog(dossier)).hexdigest()


def test_the_criteria_text_is_not_in_it(dossier: Dossier) -> None:
    """Ids and our own titles: a title is a few words, the AICPA's points are sentences."""
    for control in json.loads(oscal.catalog(dossier))["catalog"]["controls"]:
        assert len(control["title"]) < 60
        assert control["parts"][0]["prose"] in control["title"]


# --- the same, and small ---


def test_twice_the_same_bytes(dossier: Dossier, rebuilt: Callable[[], Dossier]) -> None:
    assert b"".join(oscal.pieces(dossier)) == b"".join(oscal.pieces(rebuilt()))
    assert oscal.catalog(dossier) == oscal.catalog(rebuilt())


def test_memory_does_not_grow_with_what_it_writes(weekend: Dossier) -> None:
    def peak(count: int) -> tuple[int, int]:
        window = many(weekend, count)
        tracemalloc.start()
        written = 0
        for piece in oscal.pieces(window):
            assert len(piece) < PIECE_BYTES_MAX
            written += len(piece)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used, written

    small, large = peak(2_000), peak(12_000)
    assert large[1] - small[1] > 10_000 * 500
    assert large[0] - small[0] < 10_000 * BYTES_A_STRETCH_MAX
