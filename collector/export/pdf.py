"""README.pdf: the words of README with the findings and exceptions of the window, to print or to put into a file.

The standard fonts of PDF hold the characters of Windows-1252 and no more; any other stands as its code point. The same
dossier gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    KeepTogether,
    LongTable,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    TableStyle,
)

from collector.export.chapter import STATE_WORDS, by_hand
from collector.export.dossier import ControlCard, Dossier, Life
from collector.export.itself_html import EVENTS, facts
from collector.export.readme import Section, left_out, origin, sections
from collector.export.words import Clock, counted, delivered, duration, ended, number, short
from collector.model import State
from collector.window.coverage import percent
from collector.window.findings import Deviation

EXCEPTIONS_SHOWN = 60  # all are in tables/exceptions.csv
EVENTS_SHOWN = 30  # all are in tables/collector.csv
SUBJECT_LENGTH = 90
REASON_LENGTH = 200
LEFT, RIGHT, TOP, BOTTOM = 18 * mm, 18 * mm, 18 * mm, 20 * mm
PADDING = 6  # points, of reportlab's frames
WIDTH = A4[0] - LEFT - RIGHT - 2 * PADDING

INK, SOFT, RULE, BAD = (colors.HexColor(code) for code in ("#1d2226", "#5a636b", "#d9dbd7", "#94211b"))


def _style(name: str, size: float, **more: Any) -> ParagraphStyle:
    given = {"fontName": "Helvetica", "textColor": INK, "leading": size * 1.38, "splitLongWords": 1, **more}
    return ParagraphStyle(name, fontSize=size, **given)


TITLE = _style("title", 24, fontName="Helvetica-Bold", spaceAfter=2 * mm)
EYEBROW = _style("eyebrow", 9.5, textColor=SOFT)
SPAN = _style("span", 11.5, spaceAfter=5 * mm)
H1 = _style("h1", 14, fontName="Helvetica-Bold", spaceBefore=8 * mm, spaceAfter=2.5 * mm)
H2 = _style("h2", 10.5, fontName="Helvetica-Bold", spaceBefore=5 * mm, spaceAfter=1.5 * mm)
BODY = _style("body", 9.2, spaceAfter=2.2 * mm)
CELL = _style("cell", 8)
FINE = _style("fine", 7.4, textColor=SOFT)
NUMBER = _style("number", 8, alignment=TA_RIGHT)
HEAD = _style("head", 7.6, textColor=SOFT)
HEAD_NUMBER = _style("head-number", 7.6, textColor=SOFT, alignment=TA_RIGHT)
TERM = _style("term", 8.4, textColor=SOFT)
SAID = _style("said", 8.4)
CODE = _style("code", 8, fontName="Courier", leftIndent=4 * mm, spaceBefore=0.5 * mm, spaceAfter=3 * mm)


def plain(text: str) -> str:
    """``text`` as markup: escaped, and what the fonts lack as its code point."""
    found = []
    for character in text:
        try:
            character.encode("cp1252")
        except UnicodeEncodeError:
            found.append(f"<U+{ord(character):04X}>")
        else:
            found.append(max(character, " "))
    return escape("".join(found))


def _lacks(dossier: Dossier) -> bool:
    """Whether a name in the document has a character that ``plain`` writes by its code point."""
    texts = [dossier.name, dossier.origin, dossier.by]
    texts += [text for control in dossier.controls for text in (control.title, control.owner)]
    texts += [text for d in dossier.deviations[:EXCEPTIONS_SHOWN] for text in (d.subject, d.reason)]
    texts += [made.approver for life in dossier.lives[:EXCEPTIONS_SHOWN] for made in life.decisions]
    return any(plain(text) != escape(text) for text in texts)


def readme_pdf(dossier: Dossier, verifier: str = "") -> bytes:
    """The whole document. ``verifier`` is the SHA-256 of the package's verify.py."""
    clock = Clock(dossier.zone, dossier.since, dossier.until)
    story: list[Flowable] = [
        Paragraph("Evidence package: read this first", EYEBROW),
        Paragraph(plain(dossier.name), TITLE),
        Paragraph(plain(f"{dossier.origin}. {clock.full(dossier.since)} to {clock.full(dossier.until)}"), SPAN),
        _terms(origin(dossier)),
        *_glance(dossier),
        *_controls(dossier),
        *_exceptions(dossier, clock),
        *_collector(dossier, clock),
    ]
    if dossier.ends is not None:
        words = f"This window is not over. It ends {clock.full(dossier.ends)}; all of this is about the time until "
        story.insert(3, Paragraph(plain(f"{words}{clock.full(dossier.until)}."), BODY))
    if _lacks(dossier):
        words = (
            "A character that the fonts of this document lack stands as its code point: <U+0159>. README.html has it."
        )
        story.append(Paragraph(escape(words), FINE))
    first, *others = sections(dossier, verifier)
    story += [*_heading(first.title), *(Paragraph(plain(text), BODY) for text in first.paragraphs)]
    for section in others:
        story += _section(section)
    held = io.BytesIO()
    document = SimpleDocTemplate(
        held,
        pagesize=A4,
        leftMargin=LEFT,
        rightMargin=RIGHT,
        topMargin=TOP,
        bottomMargin=BOTTOM,
        title=f"{dossier.origin}: {dossier.name}",
        author=f"collector {dossier.collector}",
        subject="Evidence of how controls operated over a window",
        invariant=1,
    )
    footer = f"{dossier.origin}: {dossier.name}"
    document.build(story, canvasmaker=lambda *args, **more: _Numbered(*args, footer=footer, **more))
    return held.getvalue()


class _Numbered(Canvas):  # type: ignore[misc]
    """Pages that know how many they are: they are drawn when all of them are there."""

    def __init__(self, *args: Any, footer: str, **more: Any) -> None:
        super().__init__(*args, **{**more, "invariant": 1})
        self._footer = plain_text(footer)
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802  reportlab's name
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for place, state in enumerate(self._pages, 1):
            self.__dict__.update(state)
            self.setFont("Helvetica", 7.5)
            self.setFillColor(SOFT)
            self.drawString(LEFT + PADDING, 11 * mm, self._footer)
            self.drawRightString(A4[0] - RIGHT - PADDING, 11 * mm, f"{place} / {len(self._pages)}")
            super().showPage()
        super().save()


def plain_text(text: str) -> str:
    """``text`` as the fonts can show it, without markup."""
    return text.encode("cp1252", "backslashreplace").decode("cp1252")


# --- parts ---


def _heading(text: str, style: ParagraphStyle = H1) -> list[Flowable]:
    """A heading that does not stand alone at the foot of a page."""
    return [CondPageBreak(38 * mm), Paragraph(plain(text), style)]


def _terms(pairs: Sequence[tuple[str, str]]) -> Flowable:
    made = [[Paragraph(plain(term), TERM), Paragraph(plain(said), SAID)] for term, said in pairs]
    return _table(made, (36 * mm, WIDTH - 36 * mm), head=False)


def _table(made: Sequence[Sequence[Flowable]], widths: Sequence[float], head: bool = True) -> Flowable:
    table = LongTable([list(row) for row in made], colWidths=list(widths), repeatRows=1 if head else 0, hAlign="LEFT")
    style: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (0, -1), 0),
        ("LEFTPADDING", (1, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 2.2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.6),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
    ]
    if head:
        style.append(("LINEBELOW", (0, 0), (-1, 0), 0.8, INK))
    table.setStyle(TableStyle(style))
    return table


def _glance(dossier: Dossier) -> list[Flowable]:
    due, covered = sum(line.due for line in dossier.coverage), sum(line.covered for line in dossier.coverage)
    count = {state: sum(finding.state is state for finding in dossier.findings) for state in State}
    still = sum(d.until is None for d in dossier.deviations)
    longest = max((line.longest_gap for line in dossier.coverage), default=None)
    said = [
        (
            "Controls",
            (
                f"{number(len(dossier.controls))}: {count[State.SATISFIED]} satisfied, "
                f"{count[State.NOT_SATISFIED]} not satisfied, {count[State.UNDETERMINED]} undetermined, "
                f"{count[State.NOT_APPLICABLE]} not applicable"
            ),
        ),
        ("Exceptions", f"{number(len(dossier.deviations))}, {number(still)} of them open at the window's end"),
        ("Coverage", f"{percent(covered, due)} of {counted(due, 'due slot')}, {number(due - covered)} not covered"),
        ("Longest gap", duration(longest) if longest else "none"),
        ("How strong it is", dossier.assurance),
    ]
    if left_out(dossier):
        said.append(("Left out", left_out(dossier)))
    return [*_heading("At a glance"), _terms(said)]


def _controls(dossier: Dossier) -> list[Flowable]:
    if not dossier.controls:
        return []
    head = [Paragraph(text, HEAD) for text in ("Control", "What the entity says, and who answers for it", "Finding")]
    head += [Paragraph(text, HEAD_NUMBER) for text in ("Covered", "Exceptions", "Longest gap")]
    made: list[list[Flowable]] = [head]
    for control, finding in zip(dossier.controls, dossier.findings, strict=True):
        wrong = finding.state is State.NOT_SATISFIED
        gap = duration(finding.longest_gap) if finding.longest_gap else "none"
        words = f"<b>{STATE_WORDS[finding.state]}</b>"
        found = f'<font color="{BAD.hexval().replace("0x", "#")}">{words}</font>' if wrong else words
        made.append(
            [
                Paragraph(plain(control.id), CELL),
                [*_both(control.title, f"{control.owner}; {', '.join(control.criteria)}"), *_by_hand(control)],
                [Paragraph(found, CELL), Paragraph(plain(finding.words), FINE)],
                Paragraph(percent(finding.covered, finding.due) if control.checks else "", NUMBER),
                Paragraph(number(len(finding.deviations)) if control.checks else "", NUMBER),
                Paragraph(gap if control.checks else "", NUMBER),
            ]
        )
    widths = (20 * mm, WIDTH - 117 * mm, 40 * mm, 18 * mm, 19 * mm, 20 * mm)
    return [*_heading("The controls"), _table(made, widths)]


def _both(first: str, second: str) -> Any:
    """A cell of two lines, the second in small print."""
    return [Paragraph(plain(first), CELL), Paragraph(plain(second), FINE)]


def _exceptions(dossier: Dossier, clock: Clock) -> list[Flowable]:
    title = _heading("Exceptions")
    pairs = list(zip(dossier.deviations, dossier.lives, strict=True))
    if not pairs:
        return [*title, Paragraph("None was seen.", BODY)]
    shown = pairs[:EXCEPTIONS_SHOWN]
    words = f"{counted(len(pairs), 'exception')}."
    if len(pairs) > len(shown):
        words = f"The first {len(shown)} of {counted(len(pairs), 'exception')}; all are in tables/exceptions.csv."
    head = [Paragraph(text, HEAD) for text in ("Subject and reason", "From and to", "Lasted", "What became of it")]
    made: list[list[Any]] = [head]
    made += [
        [
            [
                Paragraph(plain(short(d.subject, SUBJECT_LENGTH)), CELL),
                Paragraph(plain(short(f"{d.check} over {d.scope}: {d.reason}", REASON_LENGTH)), FINE),
            ],
            _both(clock.minute(d.since), ended(d, life, clock.minute, "still open")),
            Paragraph(duration(d.duration), CELL),
            [Paragraph(plain(text), FINE) for text in _story(d, life, clock)],
        ]
        for d, life in shown
    ]
    widths = (WIDTH - 97 * mm, 32 * mm, 18 * mm, 47 * mm)
    return [*title, Paragraph(words, BODY), _table(made, widths)]


def _story(d: Deviation, life: Life, clock: Clock) -> list[str]:
    taken = [at for alert in life.alerts for _, at in delivered(alert)]
    acks = [ack for alert in life.alerts for ack in alert.acks]
    told = []
    if d.began_before_window:
        told.append(f"first seen {clock.minute(life.first_seen)}, before the window")
    if taken:
        told.append(f"alert delivered {clock.minute(min(taken))}")
    else:
        told.append("alert never delivered" if life.alerts else "no alert")
    told += [f"taken note of {clock.minute(ack.at)} by {ack.person}" for ack in acks[:1]]
    told += [f"accepted by {made.approver} until {clock.minute(made.ended)}" for made in life.decisions[:1]]
    if d.mended_by is not None:
        told.append(f"seen mended by run {d.mended_by}")
    return told


def _by_hand(control: ControlCard) -> list[Flowable]:
    return [Paragraph(plain(by_hand(control)), FINE)] if control.by_hand else []


def _collector(dossier: Dossier, clock: Clock) -> list[Flowable]:
    it = dossier.own.found
    words = "; ".join(it.words) or "no heartbeat missed, every slot accounted for, every alert told"
    made: list[Flowable] = [
        *_heading("The collector itself"),
        Paragraph(plain(f"{STATE_WORDS[it.state].capitalize()} (CC4.1, CC4.2): {words}."), BODY),
        _terms(facts(dossier)),
    ]
    amiss = [event for event in dossier.own.events if event.amiss]
    if not amiss:
        return made
    shown = amiss[:EVENTS_SHOWN]
    more = "; tables/collector.csv has all of them" if len(amiss) > len(shown) else ""
    head = [Paragraph(text, HEAD) for text in ("From and to", "What counts against it", "Entries")]
    rows: list[list[Any]] = [head]
    rows += [
        [
            _both(clock.minute(event.at), "" if event.until is None else clock.minute(event.until)),
            _both(EVENTS[event.event], short(event.what, REASON_LENGTH)),
            Paragraph(plain(", ".join(map(str, event.entries)) or "none"), CELL),
        ]
        for event in shown
    ]
    said = f"{counted(len(amiss), 'event')} against it" + (
        f", of which the first {len(shown)} are here{more}." if more else "."
    )
    return [*made, Spacer(0, 3 * mm), Paragraph(plain(said), BODY), _table(rows, (32 * mm, WIDTH - 62 * mm, 30 * mm))]


def _section(section: Section) -> list[Flowable]:
    made = _heading(section.title, H2 if section.title.endswith(".csv") else H1)
    made += [Paragraph(plain(text), BODY) for text in section.paragraphs]
    made += [Paragraph(f"{place}. {plain(text)}", BODY) for place, text in enumerate(section.steps, 1)]
    if section.pairs:
        made.append(_terms(section.pairs))
    for what, command in section.commands:
        made.append(KeepTogether([Paragraph(plain(what), BODY), Paragraph(plain(command), CODE)]))
    made.append(Spacer(0, 1 * mm))
    return made
