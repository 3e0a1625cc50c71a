"""What the report says of the window itself, and how each control was covered scope by scope. Computes no verdict."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from collector import canonical
from collector.export.markup import Head, Html, fill, join, table, terms
from collector.export.words import counted, duration, number, utc
from collector.window.coverage import percent
from collector.window.history import Event, Recorded, changes, closed, differences, moved_late

if TYPE_CHECKING:
    from collector.export.chapter import View

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
SHOWN = 20  # scopes of one control; all are in tables/coverage_by_control.csv
NOWHERE = "Nowhere in the ledger: what this window is about is what the exporter says that it is."


def section(view: View) -> Html:
    """Since when the ledger knows the window as it is, what was moved of it, and what it promises."""
    dossier = view.dossier
    told = dossier.history
    late = {after.seq for _, after in moved_late(told)}
    said: list[tuple[object, object]] = [("First recorded", _first(view, told[0]) if told else NOWHERE)]
    for before, after in changes(told):
        title = "Changed when it had begun" if after.seq in late else "Changed before it began"
        said.append((title, _lines(_entry(view, after), *_changed(view, before, after))))
    if told and not changes(told):
        said.append(("Changed since", "never"))
    if told and told[-1].event is Event.GONE:
        said.append(("Configured no longer", _lines(_entry(view, told[-1]))))
    if (end := closed(told)) is not None:
        when = "before its end" if end.at < end.definition.until else "after its end"
        said.append(("Closed", _lines(_entry(view, end), when, f"by {end.by}", end.reason)))
    if dossier.frequency_s is not None:
        often = duration(timedelta(seconds=dossier.frequency_s))
        said.append(("Promised", f"each check is observed at least every {often}; {_kept(view)}"))
    return fill(
        '<section id="window">\n<h2>The window</h2>\n{terms}</section>\n',
        terms=terms(said, "cover"),
    )


def _kept(view: View) -> str:
    seldom = view.dossier.seldom
    if not seldom:
        return "the plan asked for no less"
    return f"the plan asked for less of {counted(len(seldom), 'check over a scope', 'checks over scopes')}"


def _changed(view: View, before: Recorded, after: Recorded) -> list[str]:
    """What is defined otherwise; moments by the window's clock."""
    return [
        f"{name} was {_moment(view, was)}, is {_moment(view, now)}"
        for name, was, now in differences(before.definition, after.definition)
    ]


def _moment(view: View, text: str) -> str:
    return view.clock.full(canonical.moment(text)) if STAMP.fullmatch(text) else text


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


def promise(view: View, checks: tuple[str, ...]) -> Html:
    """What of one control was planned less often than the window promises; nothing where that is none of it."""
    rare = [item for item in view.dossier.seldom if item.check in checks]
    if not rare:
        return Html()
    longest = max(rare, key=lambda item: item.longest)
    promised = duration(timedelta(seconds=view.dossier.frequency_s or 0))
    return fill(
        '<p class="notice">{words}</p>\n',
        words=f"The window promises each check at least every {promised}, and the plan asks for nothing for up to "
        f"{duration(longest.longest)}: {counted(len(rare), 'check over a scope', 'checks over scopes')}, the longest "
        f"of {longest.check} over {longest.scope} from {view.clock.minute(longest.since)}.",
    )


def by_scope(view: View, control: str) -> Html:
    """The coverage of one control over each scope; nothing where one check alone counts for it, since then the table of
    checks and scopes says the same."""
    lines = [line for line in view.dossier.control_coverage if line.control == control]
    if len({check for line in lines for check in line.checks}) < 2:
        return Html()
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
    return fill("<h3>Coverage by scope</h3>\n{table}", table=made)
