"""A window to read: one HTML file for somebody who has to rely on it and is right to distrust it.

It formats what a dossier says and computes no verdict. Long lists are cut to what can be read, say so, and name the
table that has all of it. ``readme`` and ``readme_html`` are here as well: callers ask one module for all that is read.
"""

from __future__ import annotations

from datetime import timedelta

from collector.criteria import EDITION
from collector.export import itself_html, timeline, window_html
from collector.export.chapter import (
    View,
    anchor,
    badge,
    code,
    control_section,
    criteria,
    first,
    nothing,
    sub,
    took,
    unbound_section,
)
from collector.export.chapter import by_hand as hand_work
from collector.export.dossier import Dossier
from collector.export.markup import Head, Html, fill, join, page, table, terms
from collector.export.readme import (
    COMMANDS,
    NOT_PROVED,
    ONE_LINE,
    TRUST,
    Section,
    left_out,
    origin,
    readme,
    readme_html,
    said,
)
from collector.export.reconcile import NO_SECOND
from collector.export.words import counted, delivered, duration, number
from collector.model import State
from collector.window.coverage import percent

__all__ = ["html", "readme", "readme_html"]

GLOSSARY = (
    (
        "What became of a slot",
        (
            (
                "slot",
                (
                    "One execution of a check over a scope that the plan asked for. The plan is in the ledger before "
                    "the run."
                ),
            ),
            ("observed", "The run began in time, and every subject of its population was determined."),
            ("late", "Every subject was determined, and the run began after the grace. Counts as covered."),
            ("partial", "Some subjects could not be read. Does not count as covered."),
            ("gap", "Nobody could look, and the ledger says why. Does not count as covered."),
            (
                "missed",
                (
                    "Neither a run nor a declared gap: found by comparing the plan with the ledger. Does not count "
                    "as covered."
                ),
            ),
        ),
    ),
    (
        "What was seen of a subject",
        (
            ("subject", "One member of a population: a user, a bucket, a machine, under the cloud's own full name."),
            (
                "population",
                "Every subject in scope of a check, listed anew by each run. An empty one is stated, and is no pass.",
            ),
            ("satisfied", "The facts that were read are as the check asks."),
            ("not satisfied", "They are not."),
            ("not applicable", "The check does not concern this subject, for the reason given."),
            (
                "undetermined",
                (
                    "It could not be read: refused, throttled, cut short or unreadable. Never taken for good, never "
                    "for bad."
                ),
            ),
            (
                "exception",
                (
                    "A stretch of time in which a subject was not satisfied. It ends when a run sees it mended "
                    "or gone; "
                    "while nobody can look it goes on."
                ),
            ),
        ),
    ),
    (
        "What is found for a control",
        (
            ("satisfied", "Every due slot was covered, and no exception was seen."),
            ("not satisfied", "At least one exception was seen, however short."),
            (
                "undetermined",
                (
                    "No exception was seen, and not every slot was covered, or less was planned than the window "
                    "promises: nobody can say that there was none."
                ),
            ),
            (
                "not applicable",
                (
                    "No check is bound to the control, which is evidenced elsewhere, by what is collected by hand; or "
                    "its checks had nobody to look at in any slot: each listing was complete, and empty. It is no pass."
                ),
            ),
            (
                "of the collector itself",
                (
                    "A control about the evaluation itself (CC4.1, CC4.2) may rest on the collector: whether it was "
                    "there all the time, and what it saw reached somebody. Silence is never satisfied."
                ),
            ),
        ),
    ),
)


def html(dossier: Dossier, view: View | None = None) -> str:
    """The report: self-contained, no script, loads nothing. Every text of the dossier is escaped."""
    view = view or View(dossier)
    unbound = view.unbound()
    findings = dict(zip(dossier.controls, dossier.findings, strict=True)) if dossier.controls else {}
    chapters = [control_section(view, control, finding) for control, finding in findings.items()]
    if unbound:
        chapters.append(unbound_section(view, unbound))
    body = join(
        (
            Html(timeline.definitions()),
            cover(view),
            Html("<main>\n"),
            not_over(view),
            at_a_glance(view),
            window_html.section(view),
            strength(dossier),
            summary(view),
            *chapters,
            itself_html.section(view),
            alerts(view),
            decisions(view),
            changes(view),
            reconciliation(view),
            outside(view),
            by_hand(view),
            verification(),
            glossary(),
            Html("</main>\n"),
        )
    )
    return page(f"{dossier.name}: {dossier.origin}", body)


def cover(view: View) -> Html:
    dossier, clock = view.dossier, view.clock
    contents = [
        ("glance", "At a glance"),
        ("window", "The window, and since when it is known"),
        ("strength", "How strong this evidence is, and what it does not prove"),
        ("controls", "The controls"),
        *((anchor(control.id), f"{control.id}: {control.title}") for control in dossier.controls),
        ("collector", "The collector itself"),
        ("alerts", "Alerts"),
        ("decisions", "Decisions"),
        ("changes", "Changes"),
        ("reconciliation", "Whether all parts of all accounts were planned"),
        ("outside", "Checkpoints held outside"),
        ("verify", "How to verify this"),
        ("glossary", "Words"),
    ]
    return fill(
        '<header>\n<p class="eyebrow">Evidence of how controls operated over a window</p>\n<h1>{name}</h1>\n'
        '<p class="span">{since} to {until}</p>\n{origin}<nav aria-label="Contents"><ul '
        'class="contents">\n{contents}</ul></nav>\n'
        "</header>\n",
        name=dossier.name,
        since=clock.full(dossier.since),
        until=clock.full(dossier.until),
        origin=terms(((term, code(said) if term == "Key" else said) for term, said in origin(dossier)), "cover"),
        contents=join(fill('<li><a href="#{id}">{title}</a></li>\n', id=id, title=title) for id, title in contents),
    )


def not_over(view: View) -> Html:
    """A window that is still running looks whole in every count, so this is said before any of them."""
    dossier = view.dossier
    if dossier.ends is None:
        return Html()
    return fill(
        '<p class="lead notice">This window is not over. It ends {ends}; everything below is about the time '
        "until {until}.</p>\n",
        ends=view.clock.full(dossier.ends),
        until=view.clock.full(dossier.until),
    )


def at_a_glance(view: View) -> Html:
    dossier = view.dossier
    due, covered = sum(line.due for line in dossier.coverage), sum(line.covered for line in dossier.coverage)
    count = {state: sum(1 for finding in dossier.findings if finding.state is state) for state in State}
    still = sum(1 for d in dossier.deviations if d.until is None)
    longest = max((line.longest_gap for line in dossier.coverage), default=timedelta(0))
    figures = (
        (
            number(len(dossier.controls)),
            (
                f"controls: {count[State.SATISFIED]} satisfied, {count[State.NOT_SATISFIED]} not satisfied, "
                f"{count[State.UNDETERMINED]} undetermined, {count[State.NOT_APPLICABLE]} not applicable"
            ),
        ),
        (number(len(dossier.deviations)), f"exceptions, {number(still)} of them open at the window's end"),
        (percent(covered, due), f"of {counted(due, 'due slot')} covered, {number(due - covered)} not"),
        (duration(longest) if longest else "none", "longest gap of any check over any scope"),
    )
    items = join(
        fill("<li><strong>{figure}</strong><span>{words}</span></li>\n", figure=f, words=w) for f, w in figures
    )
    return fill(
        '<section id="glance">\n<h2>At a glance</h2>\n<ul class="figures">\n{items}</ul>\n</section>\n', items=items
    )


def strength(dossier: Dossier) -> Html:
    partly = left_out(dossier)
    return fill(
        '<section id="strength">\n<h2>How strong this evidence is</h2>\n<p class="lead">{assurance}</p>\n{partly}'
        "<h3>What it does not prove</h3>\n<ul>\n{limits}</ul>\n</section>\n",
        assurance=dossier.assurance,
        partly=fill("<p>{words}</p>\n", words=partly) if partly else "",
        limits=join(fill("<li><strong>{what}</strong> {why}</li>\n", what=what, why=why) for what, why in NOT_PROVED),
    )


def summary(view: View) -> Html:
    dossier = view.dossier
    rows = [
        (
            fill('<a href="#{anchor}">{id}</a>', anchor=anchor(control.id), id=control.id),
            join((control.title, sub(control.owner))),
            criteria(control.criteria),
            join((badge(finding), sub(finding.words), sub(hand_work(control)))),
            percent(finding.covered, finding.due) if control.checks else "",
            number(len(finding.deviations)) if control.checks else "",
            (duration(finding.longest_gap) if finding.longest_gap else "none") if control.checks else "",
        )
        for control, finding in zip(dossier.controls, dossier.findings, strict=True)
    ]
    made = table(
        f"The entity's own controls at the window's end, with the criteria that it says they serve ({EDITION}; "
        f"short titles "
        "are ours).",
        (
            Head("Control", "k"),
            Head("What the entity says, and who answers for it", "w"),
            Head("Criteria", "w"),
            Head("Finding"),
            Head("Covered", "n"),
            Head("Exceptions", "n"),
            Head("Longest gap", "k"),
        ),
        rows,
    )
    return fill('<section id="controls" class="break">\n<h2>The controls</h2>\n{table}</section>\n', table=made)


EVENTS = {
    "trigger": "raised",
    "update": "partly over",
    "resolve": "resolved",
    "escalate": "escalated",
    "acknowledge": "acknowledged",
    "explain": "explained",
    "digest": "told",
}
UNTOLD = ("update", "explain")  # written down, and nobody is told


def alerts(view: View) -> Html:
    lines = view.dossier.alerts
    undelivered = sum(1 for alert in lines if not delivered(alert) and alert.event not in UNTOLD)
    shown, caption = first(lines, "alert", "tables/alerts.csv")
    rows = [
        (
            alert.seq,
            view.time(alert.at),
            f"{'no longer observed' if alert.unobserved else EVENTS[alert.event]}: {alert.cause}",
            join((code(alert.subject or alert.scope), sub(alert.check))),
            join((alert.control, sub(alert.owner))),
            alert.reason,
            took(view, [(at, channel) for channel, at in delivered(alert)]) if delivered(alert) else "never",
        )
        for alert in shown
    ]
    made = table(
        f"{caption} {counted(undelivered, 'alert')} of them never delivered to any channel.",
        (
            Head("Entry", "n"),
            Head("When", "t"),
            Head("What", "t"),
            Head("Subject, or the whole scope", "s"),
            Head("Control"),
            Head("Reason", "w"),
            Head("First delivered", "t"),
        ),
        rows,
    )
    content = made if lines else nothing("None was raised or resolved in this window.")
    return fill('<section id="alerts" class="break">\n<h2>Alerts</h2>\n{content}</section>\n', content=content)


def decisions(view: View) -> Html:
    """What people decided to live with. It changed no verdict above."""
    lines = view.dossier.decisions
    shown, caption = first(lines, "decision", "tables/decisions.csv")
    rows = [
        (
            made.seq,
            view.time(made.at),
            "accepted" if made.revokes is None else f"ends decision {made.revokes}",
            join((code(made.subject or f"every subject of {made.check}"), sub(f"{made.check} over {made.scope}"))),
            made.approver,
            join((made.reason, sub(made.ticket))),
            view.time(made.ended),
        )
        for made in shown
    ]
    made_table = table(
        f"{caption} “Until” is when it expired or was revoked.",
        (
            Head("Entry", "n"),
            Head("When", "t"),
            Head("What", "k"),
            Head("Subject", "s"),
            Head("By"),
            Head("Reason", "w"),
            Head("Until", "t"),
        ),
        rows,
    )
    content = made_table if lines else nothing("Nobody decided to live with an exception in this window.")
    return fill(
        '<section id="decisions">\n<h2>Decisions</h2>\n<p>A decision to live with an exception for a time. It '
        "changes no verdict.</p>\n{content}</section>\n",
        content=content,
    )


def reconciliation(view: View) -> Html:
    """Whether the plan named everything that the clouds show."""
    shown, caption = first(view.dossier.reconciled, "stretch", "tables/reconciliation.csv", "stretches")
    rows = [
        (
            join((code(line.account), sub(line.what))),
            join((view.time(line.since), sub(join(("to ", view.time(line.last)))))),
            number(line.planned),
            _counted(line.source, line.counted),
            _counted(line.second, line.second_counted),
            "nothing to compare" if line.agree is None else "agree" if line.agree else "do not agree",
            line.difference,
        )
        for line in shown
    ]
    made = table(
        f"{caption} One line for each account and stretch of looks that found the same.",
        (
            Head("Account", "s"),
            Head("Looked", "t"),
            Head("Planned", "n"),
            Head("One source", "t"),
            Head("Another source", "t"),
            Head("They"),
            Head("Difference", "w"),
        ),
        rows,
    )
    return fill(
        '<section id="reconciliation">\n<h2>Whether all parts of all accounts were planned</h2>\n<p>{words}</p>\n'
        "{content}</section>\n",
        words=RECONCILED,
        content=made if rows else nothing("No account run of the window kept an answer that lists parts."),
    )


def _counted(source: str, count: int | None) -> Html:
    return join((number(count) if count is not None else "no answer" if source != NO_SECOND else "", sub(source)))


RECONCILED = (
    "What was never planned leaves no trace in the plan. Here is what the plan names, against what the cloud itself "
    "shows of the same account. Whether whole accounts are missing is told by a list of the organisation's accounts: "
    "compare it with the accounts in these tables."
)


def outside(view: View) -> Html:
    """Which places took checkpoints, and which did not. Only the reader's trust folder says what that is worth."""
    lines = view.dossier.anchors
    places = sorted({line.anchor for line in lines})
    rows = []
    for place in places:
        mine = [line for line in lines if line.anchor == place]
        held = [line for line in mine if line.outcome == "anchored"]
        failed = [line for line in mine if line.outcome != "anchored"]
        rows.append(
            (
                code(place),
                number(len(held)),
                view.time(held[0].at) if held else "never",
                view.time(held[-1].at) if held else "never",
                number(len(failed)),
                join((failed[-1].reason, sub(f"entry {failed[-1].seq}"))) if failed else "none",
            )
        )
    made = table(
        "One line for each place; tables/anchors.csv has each attempt.",
        (
            Head("Place", "s"),
            Head("Took", "n"),
            Head("First", "t"),
            Head("Last", "t"),
            Head("Failed", "n"),
            Head("Last trouble", "w"),
        ),
        rows,
    )
    content = made if rows else nothing("No checkpoint of this range was put into a place outside.")
    return fill(
        '<section id="outside">\n<h2>Checkpoints held outside</h2>\n<p>What the ledger says of places that the '
        "collector cannot change. Only your own trust folder decides what of it counts.</p>\n{content}</section>\n",
        content=content,
    )


def changes(view: View) -> Html:
    shown, caption = first(view.dossier.changes, "change", "tables/changes.csv")
    rows = [(change.seq, view.time(change.at), change.kind, change.what) for change in shown]
    heads = (Head("Entry", "n"), Head("When", "t"), Head("Kind", "k"), Head("What changed", "w"))
    content = table(caption, heads, rows) if rows else nothing("Nothing was changed in this window.")
    return fill(
        '<section id="changes">\n<h2>Changes</h2>\n<p>Changes of the configuration, of checks, plans and keys '
        "are ledger entries "
        "themselves.</p>\n{content}</section>\n",
        content=content,
    )


def by_hand(view: View) -> Html:
    """Runs that answer no slot. They decide nothing, and are kept, so that nobody can look twice and show once."""
    runs = view.dossier.runs_outside_slots
    if not runs:
        return Html()
    shown, caption = first(runs, "run", "tables/populations.csv")
    rows = [
        (
            run.seq,
            view.time(run.started),
            code(run.check),
            run.scope,
            "not listed" if run.population is None else number(run.population),
            number(run.states.get(State.NOT_SATISFIED.value, 0)),
        )
        for run in shown
    ]
    heads = (Head("Entry", "n"), Head("Began", "t"), Head("Check", "s"), Head("Scope"), Head("Subjects", "n"))
    made = table(f"{caption} They answer no slot and count in no coverage.", (*heads, Head("Not satisfied", "n")), rows)
    return fill('<section id="by-hand">\n<h2>Runs outside the plan</h2>\n{table}</section>\n', table=made)


def verification() -> Html:
    return fill(
        '<section id="verify" class="break">\n<h2>How to verify this</h2>\n<p>This page proves nothing: it can '
        "be edited like any "
        "file. The package that it lies in can be verified without us.</p>\n{commands}<h3>One line, by "
        "hand</h3>\n{line}</section>\n",
        commands=said(Section("", (TRUST,), commands=COMMANDS)),
        line=said(Section("", steps=ONE_LINE)),
    )


def glossary() -> Html:
    marks = [
        fill(
            "<li>{swatch}<b>{word}</b><span>{meaning}</span></li>",
            swatch=Html(timeline.swatch(kind)),
            word=word,
            meaning=meaning,
        )
        for kind, (word, meaning) in timeline.LEGEND.items()
    ]
    marks.append(
        fill(
            "<li>{swatch}<b>beneath a lane</b><span>{meaning}</span></li>",
            swatch=Html(timeline.swatch_open()),
            meaning="an exception had been seen and was not yet seen mended, also while nobody looked",
        )
    )
    parts: list[Html] = [
        fill("<h3>{title}</h3>\n{terms}", title=title, terms=terms(pairs, "glossary")) for title, pairs in GLOSSARY
    ]
    return fill(
        '<section id="glossary" class="break">\n<h2>Words</h2>\n{parts}<h3>Marks in the pictures</h3>\n<p>A slot '
        "is drawn from its "
        "time to the next one. Where several marks fall into the same two points of width, the gravest is drawn: "
        "exception, "
        'missed, gap, partial, late, satisfied, no subject.</p>\n<ul class="legend full">{marks}</ul>\n</section>\n',
        parts=join(parts),
        marks=join(marks),
    )
