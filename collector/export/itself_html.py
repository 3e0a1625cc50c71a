"""The collector as a control, to read: its section in the report, its page beside it, and the same facts in plain text.

Computes no verdict: ``collector.window.itself`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from collector.export import timeline
from collector.export.chapter import ROWS_SHOWN, STATE_WORDS, View, criteria, duration_of, first, sub
from collector.export.dossier import ControlCard, Dossier, OwnEvent
from collector.export.itself import uptime
from collector.export.markup import Head, Html, fill, join, page, table, terms
from collector.export.words import Clock, counted, duration, number, short
from collector.window.itself import Itself, Sign
from collector.window.slots import Due, Ran, Slot, SlotState

FILE = "collector.html"
WORDS_SHOWN = 400  # characters of one event; all of them are in the table
ENTRIES_SHOWN = 4
CRITERIA = ("CC4.1", "CC4.2")

EVENTS = {
    "start": "started",
    "stop": "stopped",
    "broken-off": "started, without a stop before",
    "silence": "silent",
    "no-heartbeat": "not known to have run",
    "missed-runs": "slots unaccounted for",
    "version": "another version",
    "configuration": "configuration",
    "permissions": "other rights needed",
    "identity": "asked by others",
    "clock": "clock off",
    "anchor": "not taken outside",
    "undelivered": "alert reached nobody",
    "told-late": "alert told late",
    "unacknowledged": "nobody took note",
}
ELSEWHERE = ("told-late", "unacknowledged")  # may be so many that they would hide all else


def facts(dossier: Dossier) -> list[tuple[str, str]]:
    """What is known of the collector over the window, as terms and plain text."""
    it = dossier.own.found
    clock = Clock(dossier.zone, dossier.since, dossier.until)
    count = {name: sum(event.event == name for event in dossier.own.events) for name in EVENTS}
    longest = max(it.silences, key=lambda silence: silence.until - silence.since, default=None)
    silent = "none of them missed" if it.beats else "so that nothing is known of when it ran"
    if longest is not None:
        silent = (
            f"{number(it.missed)} missed; the longest silence {duration(longest.until - longest.since)}, from "
            f"{clock.minute(longest.since)} to {clock.minute(longest.until)}, "
            f"{'after an announced stop' if longest.stopped else 'which nothing announced'}"
        )
    slots = f"{counted(it.slots, 'slot')} due in what this package is about"
    told = "none had to be told"
    if it.alerts:
        reached = "each reached somebody" if not it.undelivered else f"{number(len(it.undelivered))} reached nobody"
        slowest = f", the slowest after {duration(it.delivered_after)}" if it.delivered_after is not None else ""
        told = f"{counted(it.alerts, 'alert')} to be told, {reached}{slowest}; somebody took note of {it.acknowledged}"
        if it.acknowledged_after is not None:
            told += f", the latest after {duration(it.acknowledged_after)}"
    return [
        ("Heartbeats", f"{number(it.beats)} written, {silent}"),
        ("Known to have run", f"{duration(it.up)} of {duration(it.window)}, {uptime(it)}"),
        (
            "Processes",
            f"{counted(len(it.starts), 'start')}, {counted(len(it.stops), 'stop')}"
            + (f"; {counted(len(it.broken_off), 'start')} without a stop before" if it.broken_off else ""),
        ),
        ("Versions", ", ".join(it.versions) or "not known"),
        (
            "Changes",
            (
                f"configuration {_times(count['configuration'])} changed, rights {_times(count['permissions'])} "
                f"changed, who asks {_times(count['identity'])} changed"
            ),
        ),
        ("Slots", f"{slots}, {_unaccounted(it)}"),
        ("Clock", _offsets(it)),
        ("Alerts", told),
        ("Held outside", _outside(it.anchored, it.anchors_failed)),
    ]


def _times(count: int) -> str:
    return "never" if not count else "once" if count == 1 else f"{number(count)} times"


def _unaccounted(it: Itself) -> str:
    if it.unaccounted:
        return f"{number(it.unaccounted)} with neither a run nor a declared gap"
    return "each has a run or a declared gap" if it.slots else "so that nothing is known of missed runs"


def _offsets(it: Itself) -> str:
    """How far other clocks were ahead of the host's, or behind it."""
    said = []
    for who, span in (("clouds", it.skew_ms), ("the time server", it.ntp_ms)):
        if span is not None:
            low, high = (f"{ms / 1000:+.1f} s" for ms in span)
            said.append(f"{who} differed from ours by {low if low == high else f'{low} to {high}'}")
    if it.skew_ms is None:
        said.append("no cloud said the time")
    if it.ntp_silent:
        said.append(f"a time server gave no usable answer {_times(it.ntp_silent)}")
    elif it.ntp_ms is None:
        said.append("no time server was asked")
    return "; ".join(said)


def _outside(held: int, lost: int) -> str:
    if not held and not lost:
        return "no checkpoint of the window was given to a place outside"
    lack = f"{counted(lost, 'checkpoint')} never taken by a place that was given it"
    return f"{counted(held, 'checkpoint')} taken, {lack}" if lost else f"{counted(held, 'checkpoint')} taken"


# --- HTML ---


def section(view: View) -> Html:
    """The chapter of the report."""
    return fill(
        '<section class="control" id="collector">\n<h2>The collector itself</h2>\n{parts}'
        '<p><a href="{file}">Its page of evidence</a></p>\n</section>\n',
        parts=body(view),
        file=FILE,
    )


def own_page(view: View) -> str:
    """The page beside the report."""
    dossier = view.dossier
    head = fill(
        '<header>\n<p class="eyebrow">{origin}, window {name}</p>\n<h1>The collector</h1>\n'
        '<p class="span">Whether it was there all the time, and what it saw reached somebody</p>\n{facts}</header>\n'
        "<main>\n",
        origin=dossier.origin,
        name=dossier.name,
        facts=terms(
            (
                ("Criteria", criteria(CRITERIA)),
                ("Window", f"{view.clock.full(dossier.since)} to {view.clock.full(dossier.until)}"),
                ("More", fill('<a href="report.html">the report</a>, <a href="README.html">README</a>')),
            ),
            "cover",
        ),
    )
    parts = [head, fill("<p>{words}</p>\n", words=INTRODUCTION), Html(timeline.definitions()), body(view)]
    parts += [fill("<h3>{title}</h3>\n{said}", title="How the finding is made", said=terms(RULES, "glossary"))]
    return page(f"The collector: {dossier.name}", join((*parts, Html("</main>\n"))))


def body(view: View) -> Html:
    """What is found, the facts, the picture and the events; for pages in the package's own folder."""
    resting = [card for card in view.dossier.controls if card.by_collector]
    parts: list[Html] = [statement(view)]
    if resting:
        links = join((_link(card) for card in resting), ", ")
        parts.append(fill("<p>The evidence of {links}.</p>\n", links=links))
    return join((*parts, particulars(view)))


def particulars(view: View) -> Html:
    """The facts, the picture and the events, without what is found."""
    parts = [terms(facts(view.dossier))]
    if view.dossier.own.beats:
        parts.append(_figure(view))
    return join((*parts, _events(view)))


def statement(view: View) -> Html:
    it = view.dossier.own.found
    words = "; ".join(it.words) or "no heartbeat missed, every slot accounted for, every alert told"
    return fill(
        '<p class="statement"><span class="finding {state}">{said}</span> {words}.</p>\n',
        state=it.state,
        said=STATE_WORDS[it.state],
        words=words[:1].upper() + words[1:],
    )


def _link(card: ControlCard) -> Html:
    return fill('<a href="controls/{id}.html">{id}: {title}</a>', id=card.id, title=card.title.rstrip("."))


def lane(dossier: Dossier) -> timeline.Lane:
    """Heartbeats as a lane: each that was written, and each that was due and missed."""
    slots: list[Slot] = []
    states = {"satisfied": 1}
    every = dossier.own.beats[-1].every_s
    for beat in dossier.own.beats:
        if dossier.since <= beat.at < dossier.until and beat.sign is not Sign.STOP:
            due = Due(beat.at, "heartbeats", "", "")
            ran = Ran(beat.seq, "", "", "", beat.at, beat.at, beat.at, 1, states, "", "")
            slots.append(Slot(due, SlotState.OBSERVED, ran))
    for silence in dossier.own.found.silences:
        step = timedelta(seconds=silence.before.every_s)
        at = max(silence.before.at + step, silence.since)
        for _ in range(silence.missed):
            slots.append(Slot(Due(at, "heartbeats", "", ""), SlotState.MISSED))
            at += step
    slots.sort(key=lambda slot: slot.due.at)
    return timeline.Lane("heartbeats", f"every {duration_of(every)}", slots, ())


def _figure(view: View) -> Html:
    dossier = view.dossier
    it = dossier.own.found
    drawn = lane(dossier)
    described = (
        f"Heartbeats from {view.clock.minute(dossier.since)} to {view.clock.minute(dossier.until)}: "
        f"{number(it.beats)} written, {number(it.missed)} missed. The table below says the same in words."
    )
    svg = timeline.draw(
        "collector-picture", "Heartbeats", described, [drawn], dossier.since, dossier.until, dossier.zone
    )
    marks = [(timeline.Mark.SATISFIED, "a heartbeat"), (timeline.Mark.MISSED, "due, and not written")]
    legend = join(fill("<li>{swatch}{word}</li>", swatch=Html(timeline.swatch(m)), word=word) for m, word in marks)
    return fill(
        "<figure><figcaption>Signs of life. Days begin at midnight in {zone}.</figcaption>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Timeline, scrolls sideways">{svg}</div>'
        '<ul class="legend">{legend}</ul></figure>\n',
        zone=dossier.zone.key,
        svg=Html(svg),
        legend=legend,
    )


def _events(view: View) -> Html:
    events = [event for event in view.dossier.own.events if event.event not in ELSEWHERE]
    if not events:
        return fill('<p class="nothing">{words}</p>\n', words="Nothing else happened to it in this window.")
    if len(events) > ROWS_SHOWN:  # what counts against it is never cut for what does not
        events.sort(key=lambda event: not event.amiss)
    shown, caption = first(events, "event", "tables/collector.csv")
    every = view.dossier.own.events
    late, unnoted = (sum(event.event == name for event in every) for name in ELSEWHERE)
    more = f" {counted(late, 'alert')} told late" if late else ""
    if unnoted:
        more += f"{' and' if late else ''} {counted(unnoted, 'alert')} that nobody took note of"
    more += ": those stand in tables/collector.csv alone." if more else ""
    rows = [
        (
            view.time(event.at),
            _until(view, event),
            join((EVENTS[event.event], sub("counts against it" if event.amiss else ""))),
            short(event.what, WORDS_SHOWN),
            _entries(event.entries),
        )
        for event in shown
    ]
    heads = (Head("From", "t"), Head("To", "t"), Head("What"), Head("In words", "w"), Head("Entries"))
    return fill(
        "<h3>What happened to it</h3>\n{table}",
        table=table(f"{caption}{more} “Entries” are those of the ledger that say so.", heads, rows),
    )


def _until(view: View, event: OwnEvent) -> object:
    if event.until is None or event.until == event.at:
        return ""
    return join((view.time(event.until), sub(duration(event.until - event.at))))


def _entries(entries: Sequence[int]) -> str:
    if len(entries) > ENTRIES_SHOWN:
        return f"{entries[0]} to {entries[-1]}"
    return ", ".join(map(str, entries)) or "none"


INTRODUCTION = (
    "Whoever relies on an automated control asks whether the automaton was there. The collector writes heartbeats into "
    "its ledger, each with when the next one is due; every slot has a run, a declared gap, or is missed; every alert "
    "has its deliveries. This page can be edited like any file: tables/collector.csv says the same, and verify.py "
    "compares it with the ledger, entry by entry."
)
RULES = (
    (
        "not satisfied",
        (
            "A heartbeat was missed (a minute late), a slot has neither a run nor a declared gap, the clock was more "
            "than five minutes off, a checkpoint was never taken by a place outside that was given it, or an alert "
            "reached nobody."
        ),
    ),
    (
        "undetermined",
        (
            "None of that is known, and there is no heartbeat or nothing was due. Of a control about telling (CC4.2) "
            "also when heartbeats were missed: who was silent told nobody either."
        ),
    ),
    ("satisfied", "None of it happened. Silence is never satisfied, whether it was announced or not."),
    (
        "told, and not counted",
        (
            "Starts, stops, versions, configurations, rights and identities; alerts that nobody took note of; alerts "
            "that were told late."
        ),
    ),
)


def of_control(view: View) -> Iterator[Html]:
    """The parts of a page of a control that the collector itself is the evidence of."""
    yield fill(
        "<section>\n<h2>Evidenced by the collector itself</h2>\n<p>{words} <a "
        'href="../{file}">The page of the collector</a> says how it is found.</p>\n{body}</section>\n',
        words="What is found of the collector is found of this control, as far as it concerns its criteria: looking "
        "for CC4.1, telling for CC4.2.",
        body=particulars(view),
        file=FILE,
    )
