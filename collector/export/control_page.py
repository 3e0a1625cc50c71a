"""A page for each control, for whoever is used to screenshots: what was asked of which system, when, by whom, and what
came back, with the hash of it and where in the package it lies. Computes no verdict.

Everything that a cloud or an operator wrote is escaped; the page loads nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from collector import canonical
from collector.export import itself_html, timeline
from collector.export.chapter import STATE_WORDS, View, badge, by_hand, code, criteria, nothing, sub
from collector.export.dossier import CheckCard, ControlCard, Life
from collector.export.evidence import Exchanged, Look, Looker
from collector.export.markup import Html, fill, join, page, terms
from collector.export.words import counted, delivered, duration, number
from collector.ledger.store import Ledger
from collector.model import ACCOUNT_WORDS, PART_WORDS, Scope, State
from collector.window.coverage import percent
from collector.window.findings import Deviation, Finding
from collector.window.slots import Ran

EXCEPTIONS_SHOWN = 20  # of one control with their evidence; all are in tables/exceptions.csv
SCOPES_SHOWN = 12  # of one check; all are in tables/results.csv
CLOUDS = {"aws": "AWS", "azure": "Azure", "gcp": "Google Cloud"}


class Pages:
    """The pages of one package."""

    def __init__(self, view: View, ledger: Ledger) -> None:
        self._view = view
        self._ledger = ledger
        self._looker = Looker(ledger)
        self._runs: dict[tuple[str, str], list[Ran]] = {}  # with a population, in the order of the ledger
        self._newest: dict[str, dict[str, Ran]] = {}  # by check and scope
        dossier = view.dossier
        runs = [slot.run for slot in dossier.slots if slot.run is not None]
        for run in sorted((*runs, *dossier.runs_outside_slots), key=_seq):
            self._newest.setdefault(run.check, {})[run.scope] = run
            if run.population is not None:
                self._runs.setdefault((run.check, run.scope), []).append(run)
        self._exceptions: dict[str, list[tuple[Deviation, Life]]] = {}
        for deviation, life in zip(dossier.deviations, dossier.lives, strict=True):
            self._exceptions.setdefault(deviation.check, []).append((deviation, life))

    def html(self, control: ControlCard, finding: Finding) -> str:
        """The page of one control."""
        view = self._view
        dossier = view.dossier
        covered = f"{percent(finding.covered, finding.due)} of {counted(finding.due, 'due slot')}"
        head = fill(
            '<header>\n<p class="eyebrow">{origin}, window {name}</p>\n<h1>{id}</h1>\n<p class="span">{title}</p>\n'
            "{facts}</header>\n<main>\n",
            origin=dossier.origin,
            name=dossier.name,
            id=control.id,
            title=control.title,
            facts=terms(
                (
                    ("Owner", control.owner),
                    ("Criteria", criteria(control.criteria)),
                    ("Window", f"{view.clock.full(dossier.since)} to {view.clock.full(dossier.until)}"),
                    ("Finding", join((badge(finding), fill(" {words}", words=finding.words)))),
                    *((("Covered", covered),) if control.checks else ()),
                    ("More", fill('<a href="../report.html">the report</a>, <a href="../README.html">README</a>')),
                ),
                "cover",
            ),
        )
        parts = [head, Html(timeline.definitions())]
        if control.checks:
            parts.append(fill("<p>{words}</p>\n", words=INTRODUCTION))
        if control.by_collector:
            parts += itself_html.of_control(view)
        elif not control.checks:
            parts.append(nothing("No check is bound to this control: it is evidenced elsewhere."))
        if control.by_hand:
            title = "What no check shows of it" if control.checks or control.by_collector else "Evidenced elsewhere"
            parts.append(_by_hand(title, control))
        for check in control.checks:
            parts.append(self._check(check))
        if control.checks:
            parts.append(self._exceptions_of(control))
        return page(f"{control.id}: {dossier.name}", join((*parts, Html("</main>\n"))))

    # --- how it stands at the end ---

    def _check(self, check: str) -> Html:
        cards = self._view.cards.get(check, [])
        if not cards:
            body = nothing("It did not run in this window.")
            return fill("<section>\n<h2>{check}</h2>\n{body}</section>\n", check=check, body=body)
        newest = self._newest.get(check, {})
        scopes = sorted(newest)
        left = len(scopes) - SCOPES_SHOWN
        more = fill(
            '<p class="nothing">{words}</p>\n',
            words=f"{counted(left, 'scope')} more: tables/results.csv has every run, objects/ every answer.",
        )
        return fill(
            '<section class="break">\n<h2>{title}</h2>\n{versions}<h3>As it was last seen in the window</h3>\n{shots}'
            "{more}</section>\n",
            title=cards[-1].title,
            versions=terms((_version(card) for card in cards), "cover"),
            shots=join(self._last_look(newest[scope]) for scope in scopes[:SCOPES_SHOWN]),
            more=more if left > 0 else "",
        )

    def _last_look(self, run: Ran) -> Html:
        look = self._looker.look(run.seq)
        if run.population is None:
            found: object = f"nobody could list the population: {run.reason}"
        else:
            counts = ((state, run.states.get(state.value, 0)) for state in State)
            states = ", ".join(f"{number(count)} {_state_words(state.value)}" for state, count in counts if count)
            found = f"{counted(run.population, 'subject')}, listing complete" + (f": {states}" if states else "")
        return self._shot(f"{run.scope}", look, [("Found", found)])

    # --- what went wrong ---

    def _exceptions_of(self, control: ControlCard) -> Html:
        mine = sorted(
            (pair for check in control.checks for pair in self._exceptions.get(check, ())),
            key=lambda pair: (pair[0].since, pair[0].check, pair[0].scope, pair[0].subject),
        )
        if not mine:
            return fill("<section>\n<h2>Exceptions</h2>\n{body}</section>\n", body=nothing("None was seen."))
        left = len(mine) - EXCEPTIONS_SHOWN
        more = fill(
            '<p class="nothing">{words}</p>\n',
            words=f"{counted(left, 'exception')} more: tables/exceptions.csv has all of them.",
        )
        return fill(
            '<section class="break">\n<h2>Exceptions</h2>\n{shown}{more}</section>\n',
            shown=join(self._exception(*pair) for pair in mine[:EXCEPTIONS_SHOWN]),
            more=more if left > 0 else "",
        )

    def _exception(self, d: Deviation, life: Life) -> Html:
        view = self._view
        return fill(
            "<article>\n<h3>{subject}</h3>\n{story}{shots}</article>\n",
            subject=d.subject,
            story=terms(
                (
                    ("Check", join((code(d.check), " over ", code(d.scope)))),
                    ("Reason", d.reason),
                    ("First seen", view.time(life.first_seen)),
                    ("Last seen", view.time(life.last_seen) if life.last_seen else "by no run of this window"),
                    ("Mended", view.time(d.until) if d.until else _open_end(view, life)),
                    ("Lasted", f"{duration(d.duration)} of the window"),
                    ("Alert", self._alerted(life)),
                    ("Taken note of", self._noted(life)),
                    ("Accepted", self._accepted(life)),
                )
            ),
            shots=join(self._around(d)),
        )

    def _alerted(self, life: Life) -> Html:
        if not life.alerts:
            return fill("{words}", words="none was raised")
        first = life.alerts[0]
        taken = [(at, channel) for alert in life.alerts for channel, at in delivered(alert)]
        told: object = "never delivered"
        if taken:
            at, channel = min(taken)
            told = join(("first delivered ", self._view.time(at), f" by {channel}"))
        return join(("raised ", self._view.time(first.at), f" (entry {first.seq}), ", told))

    def _noted(self, life: Life) -> Html:
        acks = [ack for alert in life.alerts for ack in alert.acks]
        if not acks:
            return fill("{words}", words="by nobody")
        return join(
            (
                join(
                    (
                        self._view.time(ack.at),
                        f" {ack.person}",
                        f": {ack.note}" if ack.note else "",
                        sub(_said(ack.seq)),
                    )
                )
                for ack in acks
            ),
            "<br>",
        )

    def _accepted(self, life: Life) -> Html:
        if not life.decisions:
            return fill("{words}", words="by nobody")
        return join(
            (
                join(
                    (
                        self._view.time(made.at),
                        f" until {self._view.clock.minute(made.ended)} by {made.approver}: {made.reason}",
                        sub(_said(made.seq)),
                    )
                )
                for made in life.decisions
            ),
            "<br>",
        )

    def _around(self, d: Deviation) -> list[Html]:
        """The run before it, the first that saw it so, and the one that saw it mended."""
        runs = self._runs.get((d.check, d.scope), [])
        before = bisect_left(runs, d.first_bad, key=_seq) - 1
        found: list[Html] = []
        if not d.began_before_window and before >= 0:
            found.append(self._seen(runs[before].seq, d.subject, "The run before"))
        elif d.began_before_window:
            found.append(fill('<p class="nothing">{words}</p>\n', words=self._older(d.first_bad)))
        else:
            words = "No earlier run of the window looked: it was so when it was first looked at."
            found.append(fill('<p class="nothing">{words}</p>\n', words=words))
        if not d.began_before_window:
            found.append(self._seen(d.first_bad, d.subject, "First bad"))
        elif runs:
            found.append(self._seen(runs[0].seq, d.subject, "First look of the window"))
        if d.mended_by is not None:
            found.append(self._seen(d.mended_by, d.subject, "Re-test"))
        return found

    def _older(self, first_bad: int) -> str:
        dossier = self._view.dossier
        proof = f"; proofs/{first_bad:020d}.json is that entry" if first_bad < dossier.first else ""
        return (
            f"It was first seen before the window, by run {first_bad}{proof}. What that run was answered is not here."
        )

    def _seen(self, seq: int, subject: str, title: str) -> Html:
        look = self._looker.look(seq, subject)
        if look.state:
            found = f"{_state_words(look.state)}: {look.reason}"
            if title == "The run before" and look.state in GOOD:
                title = "Last good"
        elif look.run["observations"]:
            found = "is not in the population"
        else:
            found = f"not listed: {look.run['reason']}"
        return self._shot(title, look, [("Found", found)], self._in_window(look))

    def _in_window(self, look: Look) -> bool:
        """Whether the package holds what a run rests on."""
        dossier = self._view.dossier
        moment = canonical.moment(look.run.get("slot") or look.run["started"])
        return dossier.since <= moment < dossier.until and dossier.first <= look.seq < dossier.last

    # --- one run ---

    def _shot(self, title: str, look: Look, found: Sequence[tuple[str, object]], inside: bool = True) -> Html:
        run = look.run
        started = canonical.moment(run["started"])
        return fill(
            '<div class="shot">\n<h4>{title}</h4>\n{facts}{exchanges}{more}</div>\n',
            title=title,
            facts=terms(
                (
                    ("System", _system(run["scope"])),
                    (
                        "Asked by",
                        code(run["principal"]) if run["principal"] else "nobody: the account could not be opened",
                    ),
                    ("When", join((self._view.time(started), sub(f"{run['started']} to {run['finished']}")))),
                    ("Answers for", _answers_for(run)),
                    *found,
                    ("Judged by", f"{run['check']} version {run['version']}"),
                    ("Written down", f"ledger entry {look.seq}"),
                )
            ),
            exchanges=join(self._exchange(item, inside) for item in look.exchanges),
            more=_more(look),
        )

    def _exchange(self, item: Exchanged, inside: bool) -> Html:
        call = item.call
        pages = (
            f", page {call['page']}{' (the last)' if call['last'] else ''}"
            if call["page"] > 1 or not call["last"]
            else ""
        )
        status = f"HTTP {call['status']}" if call["status"] else "no answer came"
        wrong = call.get("error") or call.get("failure")
        answer = f"{status}, {wrong}" if wrong else status
        facts = [
            ("Question", join((code(call["operation"]), pages))),
            ("Parameters", code(canonical.payload(call["params"]).decode()) if call["params"] else "none"),
            ("Asked of", code(call.get("host") or call["endpoint"])),
            ("At", f"{call['started']}, {call['ms']} ms, {counted(call['attempts'], 'attempt')}"),
            ("Answer", answer),
            ("Its own date", call["date"] or "it carries none"),
            ("Request id", code(call["request_id"]) if call["request_id"] else "it carries none"),
        ]
        if call.get("as_of"):
            facts.append(("Speaks of", call["as_of"]))
        if call["body"]:
            facts.append(("SHA-256", self._digest(call["body"], inside and item.expired is None)))
        place = f"Excerpt, at {item.place}." if item.place else "How it begins."
        shown = fill(
            '<p class="sub">{place} It is kept as JSON with sorted keys, without secrets.</p>\n<pre>{text}</pre>\n',
            place=place,
            text=item.excerpt,
        )
        if item.expired is not None:
            shown = nothing(
                f"Payload expired: ledger entry {item.expired} says that the answer was dropped after its term."
            )
        return fill(
            '<div class="exchange">\n{facts}{shown}</div>\n',
            facts=terms(facts),
            shown=shown if call["body"] else "",
        )

    def _digest(self, digest: str, there: bool) -> Html:
        if not there:
            return code(digest)
        return fill('<a href="../objects/{a}/{b}">{digest}</a>', a=digest[:2], b=digest[2:], digest=code(digest))


INTRODUCTION = (
    "Each box is one question that the collector put to a system, and what came back: the account, the identity that "
    "asked, the parameters, the times of both sides, the provider's request id, and the SHA-256 of the answer as it is "
    "kept. This page can be edited like any file; the answers, the hashes and the ledger behind them are proved by "
    "verify.py."
)


def _open_end(view: View, life: Life) -> object:
    """What stands where nobody saw it mended."""
    if life.unobserved is None:
        return "not seen mended by the window's end"
    return join(("no longer observed since ", view.time(life.unobserved), ": not seen mended"))


def _by_hand(title: str, control: ControlCard) -> Html:
    return fill(
        '<section>\n<h2>{title}</h2>\n<p class="lead">{words}</p>\n<p>{more}</p>\n</section>\n',
        title=title,
        words=by_hand(control),
        more="This is what the entity's control file says, as it last stood in the window. Nothing here shows that "
        "it was collected.",
    )


def _seq(run: Ran) -> int:
    return run.seq


GOOD = (State.SATISFIED.value, State.NOT_APPLICABLE.value)


def _state_words(state: str) -> str:
    return STATE_WORDS[State(state)]


def _answers_for(run: Mapping[str, Any]) -> str:
    if run.get("slot"):
        return f"the slot {run['slot']}"
    return "no slot: an event named the subject" if "event" in run else "no slot: it was run by hand"


def _said(seq: int) -> str:
    return f"entry {seq}"


def _version(card: CheckCard) -> tuple[str, Html]:
    source = fill('<a href="../checks/{id}/{code}.py">{code}</a>', id=card.id, code=card.code)
    limits = ", ".join(f"{name} {value}" for name, value in sorted(card.limits.items()))
    return f"Version {card.version}", join(
        (code(card.id), " source ", source, sub(f"limits: {limits}" if limits else ""))
    )


def _system(text: str) -> str:
    scope = Scope.parse(text)
    part = f", {PART_WORDS[scope.cloud]} {scope.part}" if scope.part else ""
    if scope.cloud == "gcp":  # its accounts say themselves what they are: organizations-461203958147
        return f"{CLOUDS[scope.cloud]}, {scope.account.replace('-', '/', 1)}{part}"
    return f"{CLOUDS[scope.cloud]}, {ACCOUNT_WORDS[scope.cloud]} {scope.account}{part}"


def _more(look: Look) -> Html:
    if look.expired is not None:
        return nothing(
            f"Payload expired: ledger entry {look.expired} says that the call log was dropped after its term."
        )
    if look.more:
        return nothing(f"It rests on {counted(look.more, 'further answer')}: its call log is {look.run['calls']}.")
    return Html()
