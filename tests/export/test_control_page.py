"""The page of a control: what was asked and answered is on it, true to the ledger, escaped, linked to the answers."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.canonical import parse, payload
from collector.clouds.transcript import Question
from collector.export import control_page, evidence, read
from collector.export.chapter import View
from collector.ledger.entry import Kind
from tests.support.eventful import BOB, EVE, EXPORTED, MFA, Eventful
from tests.support.page import Page


@pytest.fixture(scope="module")
def page(packed: Path) -> Callable[[str], str]:
    return lambda control: (packed / f"controls/{control}.html").read_text(encoding="utf-8")


def text(source: str) -> str:
    """What a reader sees, in one line."""
    body = source[source.index("<body>") :].replace("<wbr>", "")
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_there_is_a_page_for_each_control_and_it_is_sound(packed: Path) -> None:
    pages = sorted((packed / "controls").iterdir())
    assert [path.name for path in pages] == ["DATA-1.html", "IAM-1.html", "OPS-1.html"]
    for path in pages:
        source = path.read_text(encoding="utf-8")
        found = Page(source)
        assert not {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object", "embed", "form"}
        levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h[1-6]", tag)]
        assert levels.count(1) == 1
        assert "<script" not in source.lower()


def test_links_lead_to_files_that_are_there(packed: Path, page: Callable[[str], str]) -> None:
    links = {
        attributes["href"]
        for control in ("DATA-1", "IAM-1", "OPS-1")
        for tag, attributes in Page(page(control)).tags
        if tag == "a"
    }
    assert any(link.startswith("../objects/") for link in links)
    assert any(link.startswith("../checks/") for link in links)
    for link in links:
        assert (packed / "controls" / link).resolve().is_file(), link
        assert (packed / "controls" / link).resolve().is_relative_to(packed.resolve())


def test_the_newest_run_is_told_as_the_call_log_has_it(eventful: Eventful, page: Callable[[str], str]) -> None:
    said = text(page("IAM-1"))
    runs = [e for e in eventful.ledger.entries(kinds=[Kind.RUN]) if e.data["check"] == MFA]
    run = next(e for e in runs if (e.data["slot"] or "").startswith("2026-01-01T15"))
    assert f"ledger entry {run.seq}" in said
    assert run.data["principal"] in said
    observed = parse(eventful.ledger.blob(run.data["observations"]))
    shown = {observed["exchanges"][place] for place in observed["listing"]}
    calls = parse(eventful.ledger.blob(run.data["calls"]))
    asked = [
        call
        for call in calls
        if Question(call["cloud"], call["endpoint"], call["operation"], call["params"], call["page"]).id in shown
    ]
    assert asked
    for call in asked:
        for words in (call["operation"], call["request_id"], call["date"], call["started"], call["body"]):
            assert words in said
    assert "System AWS, account 123456789012" in said
    assert "3 subjects, listing complete: 2 satisfied, 1 not satisfied" in said


def test_an_exception_shows_the_run_before_the_first_bad_one_and_the_re_test(page: Callable[[str], str]) -> None:
    source = page("IAM-1")
    articles = source.split("<article>")[1:]
    assert len(articles) == 2
    bob, eve = (text(f"<body>{article}") for article in articles)
    assert "It was first seen before the window, by run" in bob
    assert re.search(r"proofs/[0-9]{20}\.json is that entry", bob)
    assert "First look of the window" in bob
    assert "Re-test" in bob
    assert "satisfied: has a console password and MFA" in bob.partition("Re-test")[2]
    assert "taken note of" in bob.lower()
    assert "Ann: =looking into it" in bob
    assert "by Carl: the token is on its way" in bob
    assert "The run before" in eve, "she was in no population then"
    assert "is not in the population" in eve.partition("The run before")[2]
    assert "First bad" in eve
    assert "Re-test" not in eve
    assert "not seen mended by the window's end" in eve
    assert html.escape(EVE) in articles[1]
    assert EVE.rpartition("user/")[2] in eve.partition("First bad")[2], "the answer that names her"


def test_a_payload_that_expired_is_said_to_be(eventful: Eventful, page: Callable[[str], str]) -> None:
    words = f"Payload expired: ledger entry {eventful.entries['expiry'].seq} says"
    assert words in text(page("IAM-1"))


def test_a_control_without_a_check_says_that_it_is_evidenced_elsewhere(eventful: Eventful) -> None:
    dossier = read.read(eventful.ledger, eventful.settings, "morning", EXPORTED)
    pages = control_page.Pages(View(dossier), eventful.ledger)
    from dataclasses import replace

    found = pages.html(replace(dossier.controls[0], checks=()), dossier.findings[0])
    assert "evidenced elsewhere" in found
    never = pages.html(replace(dossier.controls[0], checks=("aws-never-ran",)), dossier.findings[0])
    assert "It did not run in this window." in never


def test_every_word_of_an_operator_or_a_cloud_is_escaped(eventful: Eventful) -> None:
    from dataclasses import replace

    evil = "<img src=x onerror=alert(1)>\"'&{x}"
    dossier = read.read(eventful.ledger, eventful.settings, "morning", EXPORTED)
    hostile = replace(
        dossier,
        name=evil,
        origin=evil,
        checks=tuple(replace(card, title=evil, limits={evil: 1}) for card in dossier.checks),
        deviations=tuple(replace(d, reason=evil) for d in dossier.deviations),
        lives=tuple(
            replace(
                life,
                decisions=tuple(replace(made, approver=evil, reason=evil) for made in life.decisions),
                alerts=tuple(
                    replace(alert, acks=tuple(replace(ack, person=evil, note=evil) for ack in alert.acks))
                    for alert in life.alerts
                ),
            )
            for life in dossier.lives
        ),
    )
    pages = control_page.Pages(View(hostile), eventful.ledger)
    for control, finding in zip(hostile.controls, hostile.findings, strict=True):
        source = pages.html(replace(control, id=evil, title=evil, owner=evil), replace(finding, words=evil))
        Page(source)
        assert "<img" not in source


def test_a_long_list_of_exceptions_is_cut_and_says_so(eventful: Eventful, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_page, "EXCEPTIONS_SHOWN", 1)
    monkeypatch.setattr(control_page, "SCOPES_SHOWN", 1)
    dossier = read.read(eventful.ledger, eventful.settings, "morning", EXPORTED)
    pages = control_page.Pages(View(dossier), eventful.ledger)
    found = {
        control.id: pages.html(control, finding)
        for control, finding in zip(dossier.controls, dossier.findings, strict=True)
    }
    assert "1 exception more: tables/exceptions.csv has all of them." in found["IAM-1"]
    assert found["IAM-1"].count("<article>") == 1
    assert "1 scope more: tables/results.csv has every run" in found["DATA-1"]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"slot": "2026-01-01T06:00:00.000000Z"}, "the slot 2026-01-01T06:00:00.000000Z"),
        ({"slot": None}, "no slot: it was run by hand"),
        ({"event": {"id": "1"}}, "no slot: an event named the subject"),
    ],
)
def test_a_look_says_what_it_answers_for(run: dict[str, object], said: str) -> None:
    assert control_page._answers_for(run) == said


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("aws/123456789012/eu-west-1", "AWS, account 123456789012, region eu-west-1"),
        ("azure/t", "Azure, tenant t"),
        ("gcp/organizations-461/acme-data", "Google Cloud, organizations/461, project acme-data"),
        ("gcp/projects-acme-one", "Google Cloud, projects/acme-one"),
    ],
)
def test_a_system_is_named_in_the_words_of_its_cloud(scope: str, said: str) -> None:
    assert control_page._system(scope) == said


# --- what a run rests on ---


def test_a_run_that_could_list_nobody_shows_what_was_refused(tmp_path: Path) -> None:
    from tests.support.lived import live

    lived = live(tmp_path / "day")
    entry = next(e for e in lived.ledger.entries(kinds=[Kind.RUN]) if e.data["failure"] == "denied")
    look = evidence.Looker(lived.ledger).look(entry.seq)
    assert {item.call["error"] for item in look.exchanges} == {"AccessDenied"}
    assert "AccessDenied" in look.exchanges[0].excerpt
    lived.ledger.close()


def test_a_subject_is_shown_with_the_page_that_names_it(eventful: Eventful) -> None:
    looker = evidence.Looker(eventful.ledger)
    volumes = [e for e in eventful.ledger.entries(kinds=[Kind.RUN]) if e.data["check"] == "aws-ebs-volume-encryption"]
    run = [e for e in volumes if e.data["population"] == 2][-1]
    observed = parse(eventful.ledger.blob(run.data["observations"]))
    for item in observed["subjects"]:
        look = looker.look(run.seq, item["subject"])
        assert (look.state, look.reason) == (item["state"], item["reason"])
        assert any(item["subject"].rpartition("/")[2] in shown.excerpt for shown in look.exchanges)
    stranger = looker.look(run.seq, BOB)
    assert (stranger.state, stranger.reason) == ("", "")


VOLUMES = {"Volumes": [{"VolumeId": f"vol-{n}", "Tags": [{"Key": "a", "Value": "b"}]} for n in range(40)], "Other": 1}


def test_an_excerpt_is_the_smallest_object_that_names_the_subject() -> None:
    place, shown = evidence.excerpt(payload(VOLUMES), "arn:aws:ec2:eu-west-1:1:volume/vol-17")
    assert place == "Volumes[17]"
    assert json.loads(shown) == VOLUMES["Volumes"][17]  # type: ignore[index]


def test_a_full_name_is_looked_for_before_its_last_part() -> None:
    body = {"names": [{"short": "vol-1"}, {"full": "arn:aws:ec2:eu-west-1:1:volume/vol-1"}]}
    assert evidence.excerpt(payload(body), "arn:aws:ec2:eu-west-1:1:volume/VOL-1")[0] == "names[1]"


def test_of_a_report_the_header_and_the_lines_are_shown() -> None:
    report = {"Content": "user,arn\nann,arn:user/ann\nbob,arn:user/bob\n"}
    assert evidence.excerpt(payload(report), "arn:user/bob") == ("Content", "user,arn\nbob,arn:user/bob")


def test_what_names_nobody_shows_how_it_begins() -> None:
    place, shown = evidence.excerpt(payload(VOLUMES), "arn:nobody")
    assert place == ""
    assert shown.startswith('{\n  "Other": 1')
    assert len(shown) <= evidence.EXCERPT_CHARACTERS_MAX + 2
    assert shown.endswith("…")
    assert evidence.excerpt(payload({"a": 1}), "") == ("", '{\n  "a": 1\n}')


def test_a_large_answer_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "PARSED_BYTES_MAX", 100)
    place, shown = evidence.excerpt(payload(VOLUMES), "arn:aws:ec2:eu-west-1:1:volume/vol-39")
    assert place.startswith("from character ")
    assert "vol-39" in shown
    assert evidence.excerpt(b"no json, but long " * 20, "arn:x")[0] == ""


def test_an_answer_that_is_no_json_is_shown_as_it_is() -> None:
    assert evidence.excerpt(b"<xml/>", "") == ("", "<xml/>")
