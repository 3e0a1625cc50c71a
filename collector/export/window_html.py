"""What the report says of the window itself, and how each control was covered scope by scope. Computes no verdict."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from collector.export.markup import Head, Html, fill, join, table, terms
from collector.export.words import counted, duration, number, utc
from collector.window.coverage import percent
from collector.window.history import Event, Recorded, changes, closed, differences, moved_late

if TYPE_CHECKING:
    from collector.export.chapter import View

SHOWN = 20  # scopes of one control; all are in tables/coverage_by_control.csv
NOWHERE = "Nowhere in the ledger: what this window is about is what the exporter says that it is."
PROMISE = "How often each check of the window is promised to be observed at least"


def section(view: View) -> Html:
    """Since when the ledger knows the window as it is, what was moved of it, and what it promises."""
    dossier = view.dossier
    told = dossier.history
    late = {after.seq for _, after in moved_late(told)}
    said: list[tuple[object, object]] = [("First recorded", _first(view, told[0]) if told else NOWHERE)]
    for before, after in changes(told):
        title = "Changed when it had begun" if after.seq in late else "Changed before it began"
        parts = [f"{name} was {was}, is {now}" for name, was, now in differences(before.definition, after.definition)]
        said.append((title, _lines(_entry(view, after), *parts)))
    if told and not changes(told):
        said.append(("Changed since", "never"))
    if told and told[-1].event is Event.GONE:
        said.append(("Configured no longer", _lines(_entry(view, told[-1]))))
    if (end := closed(told)) is not None:
        when = "before its end" if end.at < end.definition.until else "after its end"
        said.append(("Closed", _lines(_entry(view, end), when, f"by {end.by}", end.reason)))
    if dossier.frequency_s is not None:
        said.append((PROMISE, f"every {duration(timedelta(seconds=dossier.frequency_s))}: {_kept(view)}"))
    return fill(
        '<section id="window">\n<h2>The window</h2>\n{terms}</section>\n',
        terms=terms(said, "cover"),
    )


def _kept(view: View) -> str:
    seldom = view.dossier.seldom
    if not seldom:
        return "the plan asked for no less"
    return f"the plan asked for less of {counted(len(seldom), 'check over a scope', 'checks over scopes')}"


def _first(view: View, told: Recorded) -> Html:
    begin, end = told.definition.since, told.definition.until
    if told.at <= begin:
        when = f"{duration(begin - told.at)} before it began"
    else:
        when = f"{duration(told.at - begin)} after it had begun" if told.at < end else "after it was over"
    return _lines(_entry(view, told), when, f"by {told.by}" if told.by else "")


def _entry(view: View, told: Recorded) -> Html:
    return join((_time(view, told.at), f", entry {told.seq}"))


def _time(view: View, moment: datetime) -> Html:
    return fill('<time datetime="{utc}">{words}</time>', utc=utc(moment), words=view.clock.minute(moment))


def _lines(*parts: object) -> Html:
    return join((part for part in parts if part), "; ")


# --- of one control ---


def by_scope(view: View, control: str, checks: tuple[str, ...]) -> list[Html]:
    """The coverage of one control over each scope, and what of it was planned less often than the window promises."""
    found: list[Html] = []
    rare = [item for item in view.dossier.seldom if item.check in checks]
    if rare:
        longest = max(rare, key=lambda item: item.longest)
        promised = duration(timedelta(seconds=view.dossier.frequency_s or 0))
        found.append(
            fill(
                '<p class="notice">{words}</p>\n',
                words=f"The window promises each check at least every {promised}, and the plan asks for nothing for up "
                f"to {duration(longest.longest)}: {counted(len(rare), 'check over a scope', 'checks over scopes')}, "
                f"the longest of {longest.check} over {longest.scope} from {view.clock.minute(longest.since)}.",
            )
        )
    lines = [line for line in view.dossier.control_coverage if line.control == control]
    if not lines:
        return found
    shown = lines if len(lines) <= SHOWN else sorted(lines, key=lambda line: (-line.longest_gap, line.scope))[:SHOWN]
    rows = [
        (
            fill("<code>{scope}</code>", scope=line.scope),
            number(line.due),
            number(line.observed),
            number(line.late),
            number(line.partial),
            number(line.gap),
            number(line.missed),
            percent(line.covered, line.due),
            join(
                (
                    duration(line.longest_gap),
                    fill('<span class="sub">from {at}</span>', at=_time(view, line.longest_gap_since)),
                )
            )
            if line.longest_gap_since
            else "none",
        )
        for line in shown
    ]
    left = f" The {SHOWN} with the longest gaps of {number(len(lines))}." if len(lines) > SHOWN else ""
    figures = ("Due", "Observed", "Late", "Partial", "Gap", "Missed", "Covered")
    made = table(
        f"Slots of all its checks, by scope.{left} “Longest gap” is the longest stretch in which one of them had no "
        "covered slot; tables/coverage_by_control.csv has all of it.",
        (Head("Scope", "s"), *(Head(title, "n") for title in figures), Head("Longest gap", "t")),
        rows,
    )
    return [*found, fill("<h3>Coverage by scope</h3>\n{table}", table=made)]
