"""The report and the README: they agree with the tables, escape everything, load nothing."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest

from collector.export import chapter, report, tables
from collector.export.dossier import Dossier
from collector.export.readme import NOT_PROVED
from collector.export.words import AlertBook, Clock, duration, short, utc
from collector.model import State
from collector.window.findings import Deviation
from collector.window.slots import SlotState
from tests.support.page import Page

HOSTILE = "arn:aws:iam::111122223333:user/<script>alert('x')</script>"


@pytest.fixture(scope="module")
def source(dossier: Dossier) -> str:
    return report.html(dossier)


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


@pytest.fixture(scope="module")
def rows(dossier: Dossier, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[dict[str, str]]]:
    folder = tmp_path_factory.mktemp("tables")
    tables.write(replace(dossier, items=lambda: iter(())), folder)

    def read(name: str) -> list[dict[str, str]]:
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read


def whole(text: str) -> int:
    return int(text.replace(",", ""))


# --- it says what the tables say ---


def test_the_figures_at_the_top_are_those_of_the_tables(dossier: Dossier, page: Page, rows: Callable) -> None:
    text = page.text["glance"]
    results, exceptions = rows("results"), rows("exceptions")
    covered = sum(1 for row in results if row["state"] in ("observed", "late"))
    assert f"of {len(results):,} due slots covered, {len(results) - covered:,} not" in text
    assert f"{1000 * covered // len(results) / 10:.1f} %" in text
    still = sum(1 for row in exceptions if row["still_open"] == "yes")
    assert f"{len(exceptions)}exceptions, {still} of them open at the window's end" in text
    assert f"{len(dossier.controls)}controls:" in text
    longest = max(int(row["longest_gap_s"]) for row in rows("coverage"))
    assert f"{duration(timedelta(seconds=longest))}longest gap" in text


def test_the_summary_has_each_control_with_the_numbers_of_its_tables(
    dossier: Dossier, page: Page, rows: Callable
) -> None:
    summary = page.table("controls", "The controls")
    assert [row["Control"] for row in summary] == [control.id for control in dossier.controls]
    for row, control, finding in zip(summary, dossier.controls, dossier.findings, strict=True):
        mine = [line for line in rows("coverage") if line["check"] in control.checks]
        due, covered = sum(int(m["due"]) for m in mine), sum(int(m["covered"]) for m in mine)
        none = "no slot due" if control.checks else ""  # without a check nothing could be due
        assert row["Covered"] == (f"{1000 * covered // due / 10:.1f} %" if due else none)
        exceptions = [line for line in rows("exceptions") if control.id in line["controls"].split()]
        assert row["Exceptions"] == (f"{len(exceptions):,}" if control.checks else "")
        assert finding.words in row["Finding"]
        assert control.owner in row["What the entity says, and who answers for it"]
        assert all(id in row["Criteria"] for id in control.criteria)
        longest = max((int(m["longest_gap_s"]) for m in mine), default=0)
        none = "none" if control.checks else ""
        assert row["Longest gap"] == (duration(timedelta(seconds=longest)) if longest else none)


def test_each_chapter_has_the_exceptions_of_the_table(dossier: Dossier, page: Page, rows: Callable) -> None:
    clock = Clock(dossier.zone, dossier.since, dossier.until)
    for control in dossier.controls:
        shown = page.table(f"control-{control.id}", "Exceptions")
        wanted = [row for row in rows("exceptions") if row["check"] in control.checks]
        assert len(shown) == len(wanted)
        for row, line in zip(shown, wanted, strict=True):
            assert row["Subject"] == f"{line['subject'].removeprefix(chr(39))}{line['check']} over {line['scope']}"
            assert row["Reason"] == line["reason"].removeprefix("'")
            assert row["Lasted"] == line["duration"]
            assert line["first_bad"] in row["Entries"]
            assert line["mended_by"] in row["Entries"]
            assert (row["To"] == "still open") == (line["still_open"] == "yes")
            assert ("older than the window" in row["From"]) == (line["began_before_window"] == "yes")
            channels = line["alerts_delivered"].split("; ")
            if line["alerts"]:
                first = min(part.split()[1] for part in channels)
                raised = next(a for a in dossier.alerts if str(a.seq) == line["alerts"])
                when = min(at for _, outcome, at in raised.deliveries if outcome == "delivered")
                assert utc(when) == first
                assert row["Alert first delivered"] == f"{clock.minute(when)}mail, pagerentry {raised.seq}"
            else:
                assert row["Alert first delivered"] == "before the window"


def test_each_chapter_has_the_coverage_of_the_table(dossier: Dossier, page: Page, rows: Callable) -> None:
    for control in dossier.controls:
        shown = page.table(f"control-{control.id}", "Coverage and population")
        wanted = [row for check in control.checks for row in rows("coverage") if row["check"] == check]
        assert [row["Check and scope"] for row in shown] == [f"{line['check']}{line['scope']}" for line in wanted]
        for row, line in zip(shown, wanted, strict=True):
            for state in ("due", "observed", "late", "partial", "gap", "missed"):
                assert whole(row[state.capitalize()]) == int(line[state])
            assert row["Covered"] == line["coverage"]
            sizes = [int(r["population"]) for r in rows("results") if r["population"] and r["check"] == line["check"]]
            if max(sizes) == 0:
                assert row["Subjects"] == "0 subjects, listing complete"
            else:
                assert whole(row["Subjects"].split()[0]) == min(sizes)


def test_every_slot_that_was_not_covered_is_in_a_stretch(dossier: Dossier, page: Page, rows: Callable) -> None:
    for control in dossier.controls:
        shown = page.table(f"control-{control.id}", "Not fully observed")
        for state in ("gap", "missed", "partial"):
            wanted = [r for r in rows("results") if r["check"] in control.checks and r["state"] == state]
            assert sum(whole(row["Slots"]) for row in shown if row["State"] == state) == len(wanted)
            assert {row["Reason"].split("aws-")[0] for row in shown if row["State"] == state} <= {
                r["reason"].split("aws-")[0] for r in wanted
            }


def test_subjects_that_could_not_be_read_are_named_with_the_reason(dossier: Dossier, page: Page) -> None:
    unread = [s for s in dossier.stretches if s.state is State.UNDETERMINED]
    shown = page.table("control-NET-01", "Subjects that could not be read")
    assert len(shown) == len(unread) == 3
    assert {row["Reason"] for row in shown} == {s.reason for s in unread}


def test_alerts_and_changes_are_complete(dossier: Dossier, page: Page) -> None:
    alerts = page.table("alerts", "Alerts")
    assert [int(row["Entry"]) for row in alerts] == [alert.seq for alert in dossier.alerts]
    assert {row["What"] for row in alerts} == {"raised: failed", "resolved: failed", "raised: blind", "resolved: blind"}
    assert [row["What changed"] for row in page.table("changes", "Changes")] == [c.what for c in dossier.changes]
    assert [int(row["Entry"]) for row in page.table("by-hand", "Runs outside the plan")] == [
        run.seq for run in dossier.runs_outside_slots
    ]


def test_an_alert_that_nobody_got_says_so(dossier: Dossier) -> None:
    lost = replace(next(a for a in dossier.alerts if a.event == "trigger"), deliveries=())
    lives = tuple(replace(x, alerts=(lost,) * (lost.seq in {a.seq for a in x.alerts})) for x in dossier.lives)
    page = Page(report.html(replace(dossier, alerts=(lost,), lives=lives)))
    assert page.table("alerts", "Alerts")[0]["First delivered"] == "never"
    chapters = [row for c in dossier.controls for row in page.table(f"control-{c.id}", "Exceptions")]
    told = [row["Alert first delivered"] for row in chapters]
    assert told.count(f"raised, never deliveredentry {lost.seq}") == 1
    assert told.count("none was raised") == len(chapters) - 2, "one is older than the window"


def test_there_is_a_lane_for_each_check_and_scope(dossier: Dossier, source: str) -> None:
    drawn = re.findall(r"<g><title>([^<]+) over ([^<]+)</title>", source)
    due = {(slot.due.check, slot.due.scope) for slot in dossier.slots}
    assert sorted(drawn) == sorted({*due, ("heartbeats", "every hour")}), "and one of the collector itself"


# --- it is honest ---


def test_it_opens_with_where_it_comes_from_and_how_strong_it_is(dossier: Dossier, page: Page) -> None:
    cover = page.text[""]
    for said in (dossier.origin, dossier.vkey, dossier.zone.key, "0.1.0", f"entries {dossier.first} to"):
        assert said in cover
    assert "2026-03-09 00:00 CET (UTC+01:00), included" in cover
    assert "2026-04-08 00:00 CEST (UTC+02:00), not included" in cover
    assert dossier.assurance in page.text["strength"]
    for what, why in NOT_PROVED:
        assert what in page.text["strength"]
        assert why in page.text["strength"]


@pytest.mark.parametrize("make", [report.html, report.readme_html, report.readme])
def test_nothing_says_compliant(dossier: Dossier, make: Callable[[Dossier], str]) -> None:
    assert "compliant" not in make(dossier).lower()


def test_a_window_that_is_not_over_says_so_before_any_figure(dossier: Dossier, source: str) -> None:
    assert "not over" not in source
    made = report.html(replace(dossier, ends=dossier.until + timedelta(days=60)))
    assert made.index("This window is not over. It ends 2026-06-07 00:00 CEST") < made.index("At a glance</h2>")


def test_checks_that_no_control_binds_do_not_vanish(dossier: Dossier) -> None:
    fewer = replace(dossier, controls=dossier.controls[1:], findings=dossier.findings[1:])
    page = Page(report.html(fewer))
    assert "Checks that no control binds" in page.text["unbound"]
    assert len(page.table("unbound", "Exceptions")) == 2


def test_a_control_without_a_check_is_listed_and_not_satisfied_by_that(page: Page) -> None:
    assert "evidenced elsewhere" in page.text["control-HR-04"]
    (row,) = (row for row in page.table("controls", "The controls") if row["Control"] == "HR-04")
    assert row["Finding"].startswith("not applicable")


def test_a_list_that_is_too_long_says_that_it_was_cut(dossier: Dossier) -> None:
    pairs = zip(dossier.deviations, dossier.lives, strict=True)
    one, life = next((d, life) for d, life in pairs if d.check == "aws-s3-tls")
    many = tuple(replace(one, subject=f"{one.subject}-{n}") for n in range(300))
    page = Page(report.html(replace(dossier, deviations=many, lives=(life,) * 300)))
    assert len(page.table("control-NET-02", "Exceptions")) == chapter.ROWS_SHOWN
    assert any("The first 200 of 300 exceptions; all are in tables/exceptions.csv." in c for c in page.captions)


def test_a_population_that_was_never_listed_is_not_an_empty_one(dossier: Dossier) -> None:
    blind = tuple(
        replace(s, run=replace(s.run, population=None), state=SlotState.GAP) if s.run else s for s in dossier.slots
    )
    page = Page(report.html(replace(dossier, slots=blind)))
    shown = page.table("control-ENC-01", "Coverage and population")
    assert {row["Subjects"] for row in shown} == {"never listed"}


def test_an_empty_window_can_be_told(dossier: Dossier) -> None:
    nothing = replace(
        dossier,
        controls=(),
        checks=(),
        findings=(),
        slots=(),
        coverage=(),
        deviations=(),
        lives=(),
        alerts=(),
        changes=(),
    )
    page = Page(report.html(replace(nothing, stretches=(), blind=(), runs_outside_slots=())))
    assert "no slot due" in page.text["glance"]
    assert "None was raised" in page.text["alerts"]


# --- it is safe, self-contained and readable by everybody ---


def test_names_from_the_cloud_are_escaped(source: str, page: Page) -> None:
    assert "<script" not in source.lower()
    assert any(HOSTILE in row["Subject"] for row in page.table("control-ACC-01", "Exceptions"))


def test_every_text_of_a_dossier_is_escaped(dossier: Dossier) -> None:
    evil = "<img src=x onerror=alert(1)>\"'&{x}"
    hostile = replace(
        dossier,
        name=evil,
        origin=evil,
        vkey=evil,
        assurance=evil,
        collector=evil,
        controls=tuple(replace(c, title=evil, owner=evil) for c in dossier.controls),
        checks=tuple(replace(c, title=evil, stage=evil) for c in dossier.checks),
        findings=tuple(replace(f, words=evil) for f in dossier.findings),
        deviations=tuple(replace(d, subject=evil, reason=evil) for d in dossier.deviations),
        stretches=tuple(replace(s, subject=evil, reason=evil) for s in dossier.stretches),
        alerts=tuple(replace(a, reason=evil, owner=evil, subject=evil, control=evil) for a in dossier.alerts),
        changes=tuple(replace(c, what=evil, kind=evil) for c in dossier.changes),
        slots=tuple(replace(s, reason=evil) if s.reason else s for s in dossier.slots),
        scopes=(evil,),
    )
    for made in (report.html(hostile), report.readme_html(hostile)):
        assert "<img" not in made
        assert evil in "".join(Page(made).text.values())
    assert evil in report.readme(hostile)


@pytest.mark.parametrize("make", [report.html, report.readme_html])
def test_a_page_loads_nothing_and_runs_nothing(dossier: Dossier, make: Callable[[Dossier], str]) -> None:
    source = make(dossier)
    page = Page(source)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "style", "action"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert re.match(r"#|collector\.html$|controls/[A-Z0-9-]+\.html$", attributes.get("href", "#"))
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = (a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("make", [report.html, report.readme_html])
def test_links_and_labels_lead_somewhere(dossier: Dossier, make: Callable[[Dossier], str]) -> None:
    page = Page(make(dossier))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        link = attributes.get("href", "#")
        inside = [link[1:]] if link.startswith("#") else []
        for target in [*inside, *attributes.get("aria-labelledby", "").split()]:
            assert not target or target in ids
        if not inside and link != "collector.html":
            assert link.removeprefix("controls/").removesuffix(".html") in {c.id for c in dossier.controls}, link


def test_headings_tables_and_pictures_can_be_read_without_seeing(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.captions) == sum(1 for tag, _ in page.tags if tag == "table")
    assert all(caption.strip() for caption in page.captions)
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.tags if tag == "th")
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert all(("aria-labelledby" in a and a["role"] == "img") or a.get("aria-hidden") == "true" for a in pictures)


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_marks_stand_out_in_both_themes(theme: int) -> None:
    style = resources.files("collector.export").joinpath("report.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[theme]
    colour = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    for text in ("ink", "soft", "link"):
        assert contrast(colour[text], colour["paper"]) >= 4.5, text
    assert contrast(colour["paper"], colour["exception"]) >= 4.5, "words on the badge"
    assert contrast(colour["ink"], colour["satisfied"]) >= 4.5, "words on the badge"
    assert contrast(colour["exception"], colour["satisfied"]) >= 3, "told apart in grey"
    for line, ground in (("gap", "gap-ground"), ("missed", "missed-ground"), ("amber", "amber-ground")):
        assert contrast(colour[line], colour[ground]) >= 3, line
    assert contrast(colour["late"], colour["satisfied"]) >= 2.5


def test_the_same_window_gives_the_same_page(source: str, rebuilt: Callable[[], Dossier]) -> None:
    assert report.html(rebuilt()) == source


@pytest.mark.slow
def test_a_year_of_hourly_slots_stays_a_page_that_opens(year: Dossier) -> None:
    assert len(year.slots) == 365 * 24 * 26
    assert len(year.deviations) > 2000
    assert len(report.html(year).encode()) < 5_000_000


# --- README ---


def test_the_readme_says_how_to_verify_what_each_file_is_and_where_the_limits_are(dossier: Dossier) -> None:
    text = report.readme(dossier)
    for command in ("python3 verify.py", "sha256sum -c SHA256SUMS", "collector verify PACKAGE --trust"):
        assert f"      {command}" in text
    flat = " ".join(text.split())
    for file in ("report.html", "tables/", "plan.json", "objects/", "verify.py", "SHA256SUMS", "manifest.dsse.json"):
        assert f" {file}" in flat
    for what, _ in NOT_PROVED:
        assert what in flat
    assert dossier.assurance in flat
    for table in tables.TABLES:
        assert f"{table.name}.csv" in text
        assert all(column.meaning in flat for column in table.columns)
    assert all(len(line) <= 96 for line in text.splitlines())


def test_both_readmes_say_the_same(dossier: Dossier) -> None:
    html = Page(report.readme_html(dossier))
    body = "".join(html.text.values())
    said = " ".join(body[body.index("What this is") :].split()).replace(" ", "")
    for word in report.readme(dossier)[report.readme(dossier).index("What this is") :].split():
        if not set(word) <= set("-=.0123456789"):
            assert word in said, word


# --- words ---


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(seconds=61), "1 min 1 s"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=1, seconds=59), "1 h"),
        (timedelta(days=2, hours=3, minutes=15), "2 d 3 h 15 min"),
        (timedelta(days=400), "400 d"),
    ],
)
def test_a_duration_in_words(span: timedelta, words: str) -> None:
    assert duration(span) == words


def test_a_long_name_keeps_both_ends() -> None:
    assert short("aws/1", 30) == "aws/1"
    made = short("azure/3f2504e0-4f89-11d3-9a0c-0305e82c3301/westeurope", 30)
    assert len(made) == 30
    assert made.startswith("azure/3f2504")
    assert made.endswith("/westeurope")


def test_the_hour_that_is_there_twice_is_told_apart(dossier: Dossier) -> None:
    clock = Clock(dossier.zone, dossier.since, dossier.until)
    autumn = Clock(dossier.zone, clock.since + timedelta(days=220), clock.until + timedelta(days=220))
    twice = autumn.since.replace(month=10, day=25, hour=0)
    assert autumn.minute(twice) == "2026-10-25 02:00 CEST"
    assert autumn.minute(twice + timedelta(hours=1)) == "2026-10-25 02:00 CET"
    summer = Clock(dossier.zone, clock.since + timedelta(days=90), clock.since + timedelta(days=120))
    assert summer.minute(twice.replace(month=7)) == "2026-07-25 02:00"


def test_an_exception_with_no_alert_is_plain(dossier: Dossier, tmp_path: Path) -> None:
    d = next(d for d in dossier.deviations if not d.began_before_window)
    assert isinstance(d, Deviation)
    page = Page(report.html(replace(dossier, alerts=(), lives=tuple(replace(x, alerts=()) for x in dossier.lives))))
    shown = [
        row for c in dossier.controls if d.check in c.checks for row in page.table(f"control-{c.id}", "Exceptions")
    ]
    assert {row["Alert first delivered"] for row in shown} == {"none was raised"}


def test_a_stretch_ends_with_the_next_slot_of_another_kind(page: Page) -> None:
    shown = page.table("control-LOG-01", "Not fully observed")
    assert [(row["State"], row["From"], row["To"], row["Slots"], row["Entries"]) for row in shown[:2]] == [
        ("gap", "2026-03-15 06:00 CET", "2026-03-17 06:00 CET", "48", "150"),
        ("missed", "2026-03-30 07:00 CEST", "2026-03-30 10:00 CEST", "3", "none"),
    ]


def test_an_alert_belongs_to_the_exception_that_it_announced(dossier: Dossier) -> None:
    first = next(d for d in dossier.deviations if d.check == "aws-iam-user-mfa" and d.until)
    assert first.until is not None
    again = replace(first, since=first.until + timedelta(days=3), until=None, mended_by=None)
    alert = next(a for a in dossier.alerts if a.subject == first.subject and a.event == "trigger")
    later = replace(alert, seq=alert.seq + 1000, at=again.since + timedelta(seconds=30))
    over = replace(alert, event="resolve", at=first.until + timedelta(seconds=30))
    book = AlertBook([alert, over, later, replace(later, event="resolve"), replace(later, cause="blind")])
    assert book.of(first) == [alert]
    assert book.of(again) == [later]
    assert book.of(replace(first, scope="aws/elsewhere")) == []


def test_a_group_stands_for_each_of_its_subjects_until_it_is_over_for_it(dossier: Dossier) -> None:
    first = next(d for d in dossier.deviations if d.until and not d.began_before_window)
    assert first.until is not None
    begun = first.since + timedelta(seconds=30)
    alert = next(a for a in dossier.alerts if a.subject == first.subject and a.event == "trigger")
    names = (first.subject, "another", "a third")
    group = replace(alert, at=begun, key="g", subject="", subjects=names, listed="d1")
    part = replace(group, seq=alert.seq + 1, event="update", at=first.until, subjects=names[:1])
    last = replace(group, seq=alert.seq + 2, event="resolve", at=first.until + timedelta(days=9), subjects=names[1:])
    book = AlertBook([group, part, last])
    assert book.of(first) == book.of(replace(first, subject="another")) == [group]
    again = replace(first, since=first.until + timedelta(days=1), until=None, mended_by=None)
    assert book.of(again) == []
    assert book.of(replace(again, subject="another")) == [group]  # it stood all the while
    assert book.of(replace(again, subject="a fourth")) == []
