"""The part of the report about one control: its checks, its picture, its exceptions, its gaps. Computes no verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import TypeVar

from collector.criteria import CRITERIA
from collector.export import timeline, window_html
from collector.export.dossier import CheckCard, ControlCard, Dossier, Life
from collector.export.markup import Head, Html, fill, join, table, terms
from collector.export.words import Clock, counted, delivered, duration, number, utc
from collector.model import State
from collector.window.coverage import Coverage, percent
from collector.window.findings import Deviation, Finding, Stretch
from collector.window.slots import Slot, SlotState

ROWS_SHOWN = 200  # of one table; the whole of it is in tables/
CODE_SHOWN = 12  # hexadecimal digits of a digest; the whole of it is in the ledger
UNSEEN = (SlotState.GAP, SlotState.MISSED, SlotState.PARTIAL)

STATE_WORDS = {
    State.SATISFIED: "satisfied",
    State.NOT_SATISFIED: "not satisfied",
    State.UNDETERMINED: "undetermined",
    State.NOT_APPLICABLE: "not applicable",
}

SHOTS = "What was asked of which system, and what came back: its page of evidence"

T = TypeVar("T")


@dataclass(frozen=True)
class Hole:
    """Slots of one lane, or of several alike, that follow one another with the same state for the same reason."""

    state: SlotState
    reason: str
    since: datetime
    until: datetime  # the next slot's time, or the window's end
    slots: int
    entries: tuple[int, ...]  # the gap or run entries that say so; none for what was missed
    lanes: tuple[tuple[str, str], ...]  # check, scope


class View:
    """A dossier, found by check and scope."""

    def __init__(self, dossier: Dossier) -> None:
        self.dossier = dossier
        self.clock = Clock(dossier.zone, dossier.since, dossier.until)
        pairs = zip(dossier.deviations, dossier.lives, strict=True)
        self.lives = {(d.check, d.scope, d.subject, d.first_bad): life for d, life in pairs}
        self.deviations: dict[tuple[str, str], list[Deviation]] = {}
        for d in dossier.deviations:
            self.deviations.setdefault((d.check, d.scope), []).append(d)
        self.slots: dict[str, dict[str, list[Slot]]] = {}
        for slot in dossier.slots:
            self.slots.setdefault(slot.due.check, {}).setdefault(slot.due.scope, []).append(slot)
        for scopes in self.slots.values():
            for lane in scopes.values():
                lane.sort(key=lambda slot: slot.due.at)
        self.coverage = {(line.check, line.scope): line for line in dossier.coverage}
        self.cards: dict[str, list[CheckCard]] = {}
        for card in dossier.checks:
            self.cards.setdefault(card.id, []).append(card)
        self.unread: dict[str, list[Stretch]] = {}
        for stretch in dossier.stretches:
            ended = stretch.to_at is not None and stretch.to_at <= dossier.since
            if stretch.state is State.UNDETERMINED and stretch.from_at < dossier.until and not ended:
                self.unread.setdefault(stretch.check, []).append(stretch)

    def lanes(self, checks: Iterable[str]) -> list[timeline.Lane]:
        """The lanes of some checks, by scope."""
        return [
            timeline.Lane(
                check,
                scope,
                self.slots[check][scope],
                self.deviations.get((check, scope), ()),
            )
            for check in checks
            for scope in sorted(self.slots.get(check, ()))
        ]

    def life(self, d: Deviation) -> Life:
        """What else is known of a deviation."""
        return self.lives[d.check, d.scope, d.subject, d.first_bad]

    def unbound(self) -> list[str]:
        """Checks that were due in the window and that no control binds at its end."""
        bound = {check for control in self.dossier.controls for check in control.checks}
        return sorted(set(self.slots) - bound)

    def time(self, moment: datetime) -> Html:
        """A moment in the window's zone, with UTC underneath for machines; breaks between day and hour."""
        day, hour = self.clock.minute(moment).split(" ", 1)
        return fill('<time datetime="{utc}">{day} <span>{hour}</span></time>', utc=utc(moment), day=day, hour=hour)


def code(value: object) -> Html:
    """A name of a machine's; long ones break after a separator."""
    broken = join(re.split(r"(?<=[:/])(?=[^:/])", str(value)), "<wbr>")
    return fill("<code>{value}</code>", value=broken)


def sub(value: object) -> Html:
    """A second line in a cell."""
    return fill('<span class="sub">{value}</span>', value=value) if value else Html()


def badge(finding: Finding) -> Html:
    return fill('<span class="finding {state}">{words}</span>', state=finding.state, words=STATE_WORDS[finding.state])


def criteria(ids: Sequence[str]) -> Html:
    """Criteria with titles of our own: the text itself is the AICPA's."""
    body = join(fill("<li>{id} {title}</li>", id=id, title=CRITERIA.get(id, "")) for id in ids)
    return fill('<ul class="criteria">{body}</ul>', body=body)


def first(rows: Sequence[T], noun: str, file: str, nouns: str = "") -> tuple[Sequence[T], str]:
    """As many rows as can be read, and a sentence for the caption that says how many there are."""
    if len(rows) <= ROWS_SHOWN:
        return rows, f"{counted(len(rows), noun, nouns)}."
    return rows[:ROWS_SHOWN], f"The first {ROWS_SHOWN} of {counted(len(rows), noun, nouns)}; all are in {file}."


def nothing(words: str) -> Html:
    return fill('<p class="nothing">{words}</p>\n', words=words)


# --- the parts ---


def anchor(control: str) -> str:
    return f"control-{control}"


def control_section(view: View, control: ControlCard, finding: Finding) -> Html:
    """One control. A control without checks is a statement and nothing else."""
    lines = [view.coverage[lane.check, lane.scope] for lane in view.lanes(control.checks)]
    statement = fill(
        '<p class="statement">{badge} {words}. {coverage}</p>\n',
        badge=badge(finding),
        words=finding.words[:1].upper() + finding.words[1:],
        coverage=f"{number(finding.covered)} of {counted(finding.due, 'slot')} covered, "
        f"{percent(finding.covered, finding.due)}. Longest gap: {_span(finding)}."
        if finding.due
        else "",
    )
    facts = terms(
        (
            ("Owner", control.owner),
            ("Observed", observed(control)),
            ("Criteria", criteria(control.criteria)),
            *((("By hand", by_hand(control)),) if control.by_hand else ()),
        )
    )
    promised = window_html.promise(view, control.checks)
    parts = [
        statement,
        promised,
        facts,
        fill('<p><a href="controls/{id}.html">{words}</a></p>\n', id=control.id, words=SHOTS),
    ]
    if control.checks:
        parts += [checks_table(view, control.checks)]
        parts += body(view, anchor(control.id), f"{control.id}, {control.title}", control.checks, lines)
        parts += [window_html.by_scope(view, control.id)]
    return fill(
        '<section class="control" id="{anchor}">\n<h2>{id}: {title}</h2>\n{parts}</section>\n',
        anchor=anchor(control.id),
        id=control.id,
        title=control.title,
        parts=join(parts),
    )


def observed(control: ControlCard) -> Html:
    """How often, or by what else a control without checks is evidenced."""
    if control.checks:
        return fill("every {cadence}", cadence=duration_of(control.cadence_s))
    if control.by_collector:
        return fill('by <a href="#collector">the collector itself</a>')
    return fill("elsewhere")


def by_hand(control: ControlCard) -> str:
    """What a person brings for a control, in words that nobody takes for evidence; "" when nothing is said."""
    return f"Not in this package, to be collected by hand: {control.by_hand}" if control.by_hand else ""


def unbound_section(view: View, checks: Sequence[str]) -> Html:
    """What was planned for controls that are no longer in the file: it must not vanish with them."""
    lines = [view.coverage[lane.check, lane.scope] for lane in view.lanes(checks)]
    parts = [checks_table(view, checks), *body(view, "unbound", "Checks without a control", checks, lines)]
    return fill(
        '<section class="control" id="unbound">\n<h2>Checks that no control binds</h2>\n'
        "<p>They were due in the window, and at its end no control named them. They count in no control above.</p>\n"
        "{parts}</section>\n",
        parts=join(parts),
    )


def body(view: View, id: str, title: str, checks: Sequence[str], lines: Sequence[Coverage]) -> list[Html]:
    """The picture and the tables of some checks."""
    lanes = view.lanes(checks)
    if not lanes:
        return [nothing("Nothing was due in this window.")]
    deviations = [d for d in view.dossier.deviations if d.check in checks]
    return [
        figure(view, id, title, lanes, len(deviations)),
        fill("<h3>Exceptions</h3>\n{table}", table=deviations_table(view, deviations)),
        fill("<h3>Not fully observed</h3>\n{table}", table=holes_table(view, holes(lanes, view.dossier.until))),
        unread_table(view, checks),
        fill("<h3>Coverage and population</h3>\n{table}", table=coverage_table(view, lines)),
    ]


def _span(finding: Finding) -> str:
    return duration(finding.longest_gap) if finding.longest_gap else "none"


def duration_of(seconds: int) -> str:
    """A cadence in words: hour, 6 h, day."""
    return {3600: "hour", 86_400: "day", 604_800: "week"}.get(seconds) or duration(timedelta(seconds=seconds))


def checks_table(view: View, checks: Sequence[str]) -> Html:
    rows = []
    for check in checks:
        for card in view.cards.get(check, ()):
            limits = ", ".join(f"{name} {value}" for name, value in sorted(card.limits.items()))
            stage = "" if card.stage == "stable" else card.stage
            rows.append(
                (
                    code(card.id),
                    join((card.title, sub(f"limits: {limits}" if limits else ""), sub(stage))),
                    card.version,
                    code(card.code[:CODE_SHOWN]),
                    card.first_used,
                )
            )
    heads = (
        Head("Check", "s"),
        Head("What is true when all is well", "w"),
        Head("Version", "n"),
        Head("Code"),
    )
    return table(
        "The checks that test it, in each version that ran. “Code” begins the SHA-256 of the source, which is in "
        "checks/.",
        (*heads, Head("From entry", "n")),
        rows,
    )


def figure(view: View, id: str, title: str, lanes: Sequence[timeline.Lane], deviations: int) -> Html:
    """The picture, its legend and, where there are too many lanes, what was left out."""
    dossier = view.dossier
    drawn = timeline.chosen(lanes)
    present = {timeline.mark(slot) for lane in drawn for slot in lane.slots}
    slots = sum(len(lane.slots) for lane in lanes)
    described = (
        f"{counted(len(drawn), 'lane')}, one for each check and scope, from {view.clock.minute(dossier.since)} to "
        f"{view.clock.minute(dossier.until)}. {counted(slots, 'slot')} due, {counted(deviations, 'exception')}. "
        "The tables below say the same in words."
    )
    left_out = (
        f" {len(drawn)} of {len(lanes)} lanes are drawn, those with the most to see." if len(drawn) < len(lanes) else ""
    )
    caption = fill(
        "<figcaption>Each lane is one check over one scope. Days begin at midnight in {zone}. The narrowest mark "
        "is {width} "
        "wide, and the gravest slot in it decides.{left_out}</figcaption>",
        zone=dossier.zone.key,
        width=duration((dossier.until - dossier.since) / timeline.COLUMNS),
        left_out=left_out,
    )
    legend = [
        fill("<li>{swatch}{word}</li>", swatch=Html(timeline.swatch(kind)), word=timeline.LEGEND[kind][0])
        for kind in timeline.LEGEND
        if kind in present
    ]
    if deviations:
        legend.append(fill("<li>{swatch}exception not yet seen mended</li>", swatch=Html(timeline.swatch_open())))
    svg = Html(
        timeline.draw(
            f"{id}-picture", f"Timeline of {title}", described, drawn, dossier.since, dossier.until, dossier.zone
        )
    )
    return fill(
        '<figure>{caption}<div class="scroll" tabindex="0" role="region" aria-label="Timeline, scrolls '
        'sideways">{svg}</div>'
        '<ul class="legend">{legend}</ul></figure>\n',
        caption=caption,
        svg=svg,
        legend=join(legend),
    )


def deviations_table(view: View, deviations: Sequence[Deviation]) -> Html:
    if not deviations:
        return nothing("None was seen.")
    shown, caption = first(deviations, "exception", "tables/exceptions.csv")
    rows = [
        (
            join((code(d.subject), sub(f"{d.check} over {d.scope}"))),
            join((view.time(d.since), sub("older than the window" if d.began_before_window else ""))),
            view.time(d.until) if d.until else _open_end(view, d),
            duration(d.duration),
            d.reason,
            f"{d.first_bad} to {d.mended_by}" if d.mended_by is not None else f"from {d.first_bad}",
            _became(view, d),
        )
        for d in shown
    ]
    return table(
        f"{caption} “Lasted” counts inside the window. “Entries” are the runs that first saw it and first saw it "
        f"mended.",
        (
            Head("Subject", "s"),
            Head("From", "t"),
            Head("To", "t"),
            Head("Lasted", "k"),
            Head("Reason", "w"),
            Head("Entries", "n"),
            Head("Alert first delivered", "t"),
        ),
        rows,
    )


def _open_end(view: View, d: Deviation) -> Html:
    """What stands where nobody saw it mended: that it stands open, or that nobody is to look any more."""
    left = view.life(d).unobserved
    if left is None:
        return fill("{words}", words="still open")
    return join(("no longer observed since ", view.time(left), sub("not seen mended")))


def _became(view: View, d: Deviation) -> Html:
    """Who heard of it, who took note, and who decided to live with it, a line each."""
    life = view.life(d)
    lines: list[object] = [_alerted(view, d, life)]
    for ack in [ack for alert in life.alerts for ack in alert.acks][:1]:
        lines.append(sub(join(("taken note of by ", ack.person, ", ", view.time(ack.at)))))
    for made in life.decisions[:1]:
        until = view.clock.minute(made.ended)
        lines.append(sub(join(("accepted by ", made.approver, f" until {until}, entry {made.seq}"))))
    return join(lines)


def _alerted(view: View, deviation: Deviation, life: Life) -> Html:
    raised = life.alerts
    if not raised:
        return fill("{words}", words="before the window" if deviation.began_before_window else "none was raised")
    taken = [(at, channel) for alert in raised for channel, at in delivered(alert)]
    entries = "entry " + ", ".join(str(alert.seq) for alert in raised)
    return join((took(view, taken), sub(entries))) if taken else join(("raised, never delivered", sub(entries)))


def took(view: View, taken: Sequence[tuple[datetime, str]]) -> Html:
    """When an alert first reached somebody, and the channels that took it, in that order."""
    channels = dict.fromkeys(channel for _, channel in sorted(taken))
    return join((view.time(min(taken)[0]), sub(", ".join(channels))))


# --- what was not fully observed ---


def holes(lanes: Iterable[timeline.Lane], until: datetime) -> list[Hole]:
    """The stretches of slots that were not covered; lanes with the same stretch for the same reason are one line."""
    merged: dict[tuple[SlotState, str, datetime, datetime, int], list[Hole]] = {}
    for lane in lanes:
        for hole in _of_lane(lane, until):
            merged.setdefault((hole.state, hole.reason, hole.since, hole.until, hole.slots), []).append(hole)
    found = [
        Hole(
            state,
            reason,
            since,
            end,
            slots * len(alike),
            tuple(sorted({entry for hole in alike for entry in hole.entries})),
            tuple(lane for hole in alike for lane in hole.lanes),
        )
        for (state, reason, since, end, slots), alike in merged.items()
    ]
    return sorted(found, key=lambda hole: (hole.since, hole.until, hole.state, hole.lanes))


def _of_lane(lane: timeline.Lane, until: datetime) -> list[Hole]:
    found: list[Hole] = []
    place = 0
    for (state, reason), group in groupby(
        lane.slots, key=lambda slot: (slot.state, slot.reason if slot.state in UNSEEN else "")
    ):
        alike = list(group)
        place += len(alike)
        if state in UNSEEN:
            end = lane.slots[place].due.at if place < len(lane.slots) else until
            entries = {s.gap.seq if s.gap else s.run.seq if s.run else None for s in alike} - {None}
            found.append(
                Hole(
                    state,
                    reason,
                    alike[0].due.at,
                    end,
                    len(alike),
                    tuple(sorted(e for e in entries if e is not None)),
                    ((lane.check, lane.scope),),
                )
            )
    return found


def holes_table(view: View, found: Sequence[Hole]) -> Html:
    if not found:
        return nothing("Every due slot was covered.")
    total = sum(hole.slots for hole in found)
    shown, caption = first(found, "stretch", "tables/results.csv", "stretches")
    rows = [
        (
            hole.state.value,
            view.time(hole.since),
            view.time(hole.until),
            number(hole.slots),
            join((hole.reason, _where(hole))),
            _entries(hole.entries),
        )
        for hole in shown
    ]
    return table(
        f"{counted(total, 'slot')} not covered, in {caption[0].lower()}{caption[1:]} “To” is the next slot of "
        f"another kind; “Entries” are the first and the last that say so.",
        (
            Head("State", "k"),
            Head("From", "t"),
            Head("To", "t"),
            Head("Slots", "n"),
            Head("Reason", "w"),
            Head("Entries", "n"),
        ),
        rows,
    )


def _where(hole: Hole) -> Html:
    by_check: dict[str, list[str]] = {}
    for check, scope in hole.lanes:
        by_check.setdefault(check, []).append(scope)
    return join(
        sub(f"{check} over {scopes[0] if len(scopes) == 1 else counted(len(scopes), 'scope')}")
        for check, scopes in by_check.items()
    )


def _entries(entries: Sequence[int]) -> str:
    if not entries:
        return "none"
    return str(entries[0]) if len(entries) == 1 else f"{entries[0]} to {entries[-1]}"


def unread_table(view: View, checks: Sequence[str]) -> Html:
    found = sorted((s for c in checks for s in view.unread.get(c, ())), key=lambda s: (s.from_at, s.scope, s.subject))
    if not found:
        return Html()
    shown, caption = first(found, "subject", "tables/items.csv")
    rows = [
        (
            join((code(s.subject), sub(f"{s.check} over {s.scope}"))),
            view.time(s.from_at),
            view.time(s.to_at) if s.to_at is not None and s.to_at < view.dossier.until else "still unread",
            s.reason,
            _entries([e for e in (s.from_run, s.to_run) if e is not None]),
        )
        for s in shown
    ]
    heads = (Head("Subject", "s"), Head("From", "t"), Head("To", "t"), Head("Reason", "w"), Head("Entries", "n"))
    made = table(f"{caption} Each is in a population, and what it was like is not known.", heads, rows)
    return fill("<h3>Subjects that could not be read</h3>\n{table}", table=made)


# --- coverage and population ---


def coverage_table(view: View, lines: Sequence[Coverage]) -> Html:
    shown, caption = first(lines, "check and scope", "tables/coverage.csv", "checks and scopes")
    rows = [
        (
            join((code(line.check), sub(line.scope))),
            number(line.due),
            number(line.observed),
            number(line.late),
            number(line.partial),
            number(line.gap),
            number(line.missed),
            percent(line.covered, line.due),
            join((duration(line.longest_gap), sub(join(("from ", view.time(line.longest_gap_since))))))
            if line.longest_gap_since
            else "none",
            population(view.slots[line.check][line.scope]),
        )
        for line in shown
    ]
    figures = ("Due", "Observed", "Late", "Partial", "Gap", "Missed", "Covered")
    return table(
        f"{caption} Covered are observed and late. “Subjects” is the least and the most that any run listed.",
        (
            Head("Check and scope", "s"),
            *(Head(title, "n") for title in figures),
            Head("Longest gap", "t"),
            Head("Subjects", "t"),
        ),
        rows,
    )


def population(slots: Iterable[Slot]) -> str:
    """How many subjects the runs listed: "4", "3 to 5", or that there were none, or that nobody could say."""
    sizes = [slot.run.population for slot in slots if slot.run is not None and slot.run.population is not None]
    if not sizes:
        return "never listed"
    least, most = min(sizes), max(sizes)
    if most == 0:
        return "0 subjects, listing complete"
    return number(least) if least == most else f"{number(least)} to {number(most)}"
