"""Which tables a package has, and what each of their columns means. README prints it; no row is made in here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from collector.model import State


class Form(Enum):
    """What a column holds, with the width of its cells in the workbook."""

    ID = 30
    TEXT = 48
    WORD = 15
    WHOLE = 12
    FLAG = 10
    TIME = 28  # two columns: _utc and _local


@dataclass(frozen=True)
class Column:
    name: str
    form: Form
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table: ``about`` says what one row is."""

    name: str
    about: str
    columns: tuple[Column, ...]

    @cached_property
    def header(self) -> tuple[str, ...]:
        """The names of the written columns; a time has two."""
        return tuple(
            name
            for column in self.columns
            for name in ((f"{column.name}_utc", f"{column.name}_local") if column.form is Form.TIME else (column.name,))
        )


CHECK = Column("check", Form.ID, "The check's id.")
SCOPE = Column("scope", Form.ID, "Account, and the part of it where that matters.")
SUBJECT = Column("subject", Form.TEXT, "The cloud's own full name of it; empty where the whole scope is meant.")
REASON = Column("reason", Form.TEXT, "Why, in words.")
STATES = tuple(Column(state.value.replace("-", "_"), Form.WHOLE, f"Subjects found {state.value}.") for state in State)

RESULTS = Table(
    "results",
    "One row for each execution that the plan asked for, whatever became of it.",
    (
        Column("account", Form.ID, "The account whose plan asked for it."),
        CHECK,
        SCOPE,
        Column("due", Form.TIME, "When it was due."),
        Column("state", Form.WORD, "What became of it: observed, late, partial, gap or missed."),
        Column("run", Form.WHOLE, "Ledger entry of the run that answered it; empty where none did."),
        Column("started", Form.TIME, "When that run began."),
        Column("late_s", Form.WHOLE, "Whole seconds from due to begun."),
        Column("population", Form.WHOLE, "Subjects in scope; empty where nobody could list them."),
        *STATES,
        Column("reason", Form.TEXT, "Why it is not plainly observed."),
        Column("gap", Form.WHOLE, "Ledger entry that declares the gap; empty where no entry does."),
        Column("runs", Form.WHOLE, "How many runs claim the slot. The first decides; a second look changes nothing."),
    ),
)
ITEMS = Table(
    "items",
    "One row for each subject in each run, in the order of the ledger.",
    (
        Column("slot", Form.TIME, "The slot that the run answers; empty for a run by hand."),
        Column("run", Form.WHOLE, "Ledger entry of the run."),
        CHECK,
        SCOPE,
        SUBJECT,
        Column("state", Form.WORD, "satisfied, not-satisfied, not-applicable or undetermined."),
        REASON,
        Column("facts", Form.TEXT, "What was read about it, as JSON; empty where it could not be read."),
        Column("evidence", Form.TEXT, "Ids of the answers that it rests on, in the run's call log."),
    ),
)
STATES_OVER_TIME = Table(
    "states",
    "One row for each stretch of time in which a subject was in one state for one reason.",
    (
        CHECK,
        SCOPE,
        SUBJECT,
        Column("state", Form.WORD, "satisfied, not-satisfied, not-applicable or undetermined."),
        REASON,
        Column("since", Form.TIME, "When the run that first saw it so began; it may be before the window."),
        Column("until", Form.TIME, "When the run that first saw it otherwise began; empty while it stands so."),
        Column("from_run", Form.WHOLE, "Ledger entry of the first of these runs."),
        Column("to_run", Form.WHOLE, "Ledger entry of the second; empty while it stands so."),
    ),
)
EXCEPTIONS = Table(
    "exceptions",
    "One row for each stretch of time in which a subject was not satisfied.",
    (
        Column("controls", Form.ID, "The controls that bind the check."),
        CHECK,
        SCOPE,
        SUBJECT,
        REASON,
        Column("since", Form.TIME, "When it was first seen, or the window's start where it is older."),
        Column("until", Form.TIME, "When it was first seen mended; empty while it stands open."),
        Column("duration_s", Form.WHOLE, "Whole seconds inside the window."),
        Column("duration", Form.WORD, "The same in words."),
        Column("first_bad", Form.WHOLE, "Ledger entry of the run that first saw it."),
        Column("mended_by", Form.WHOLE, "Ledger entry of the run that first saw it mended: the re-test."),
        Column("began_before_window", Form.FLAG, "Whether it is older than the window."),
        Column("still_open", Form.FLAG, "Whether it stood open at the window's end."),
        Column(
            "alerts",
            Form.WORD,
            "Ledger entries of the alerts that stood for it; a group stands for each of its subjects.",
        ),
        Column("alerts_delivered", Form.TEXT, "Which channel took one, and when (UTC)."),
        Column("first_seen", Form.TIME, "When the run that first saw it began; it may be before the window."),
        Column("last_seen", Form.TIME, "When the last run of the window that found it not satisfied began."),
        Column("last_bad", Form.WHOLE, "Ledger entry of that run."),
        Column("alerted", Form.TIME, "When the first alert for it was raised."),
        Column("acknowledged", Form.TIME, "When somebody first took note of one of its alerts."),
        Column("acknowledged_by", Form.TEXT, "Who did, and what they said."),
        Column("acknowledgements", Form.WORD, "Ledger entries of all acknowledgements."),
        Column("accepted", Form.TIME, "When somebody first decided to live with it for a time."),
        Column("accepted_until", Form.TIME, "When the last such decision stopped to hold: expired or revoked."),
        Column("accepted_by", Form.TEXT, "Who decided."),
        Column("accepted_because", Form.TEXT, "The reasons that they gave."),
        Column("acceptances", Form.WORD, "Ledger entries of the decisions. A decision changes no verdict."),
        Column(
            "unobserved",
            Form.TIME,
            "Of one that stood open: since when no plan asks for it any more. It was not seen mended, so it counts on.",
        ),
        Column("unobserved_by", Form.WHOLE, "Ledger entry of the first plan that does not ask for it."),
    ),
)
COUNTED = (
    Column("covered", Form.WHOLE, "Slots with every subject determined: observed and late."),
    Column("observed", Form.WHOLE, "In time, every subject determined."),
    Column("late", Form.WHOLE, "Every subject determined, begun after the grace."),
    Column("partial", Form.WHOLE, "Some subjects undetermined."),
    Column("gap", Form.WHOLE, "Declared: nobody could look."),
    Column("missed", Form.WHOLE, "Neither a run nor a declared gap."),
    Column("coverage", Form.WORD, "Covered of due, rounded down."),
)
COVERAGE = Table(
    "coverage",
    "One row for each check and scope: how much of what was due was observed.",
    (
        CHECK,
        SCOPE,
        Column("due", Form.WHOLE, "Slots due."),
        *COUNTED,
        Column("longest_gap_s", Form.WHOLE, "Whole seconds of the longest stretch without a covered slot."),
        Column("longest_gap", Form.WORD, "The same in words."),
        Column("longest_gap_since", Form.TIME, "When that stretch began."),
    ),
)
COVERAGE_BY_CONTROL = Table(
    "coverage_by_control",
    "One row for each control and scope: how much of what was due for it was observed, over all checks that count.",
    (
        Column("control", Form.ID, "The control's id."),
        SCOPE,
        Column("checks", Form.TEXT, "The checks that count for it over this scope: all that it binds but previews."),
        Column("due", Form.WHOLE, "Slots due, of all these checks."),
        *COUNTED,
        Column(
            "longest_gap_s",
            Form.WHOLE,
            "Whole seconds of the longest stretch in which one of them had no covered slot.",
        ),
        Column("longest_gap", Form.WORD, "The same in words."),
        Column("longest_gap_since", Form.TIME, "When that stretch began."),
        Column(
            "unplanned_s",
            Form.WHOLE,
            "Whole seconds of the longest stretch for which the plan asked nothing of one of them, where that is "
            "longer than the window's frequency; empty otherwise.",
        ),
        Column("unplanned_since", Form.TIME, "When that stretch began."),
    ),
)
RECONCILIATION = Table(
    "reconciliation",
    "One row for each account and stretch of looks that found the same: what was planned against what two sources of "
    "the cloud show.",
    (
        Column("account", Form.ID, "The account; a cloud alone where its accounts are counted."),
        Column("what", Form.WORD, "What is counted: regions, subscriptions, projects or accounts."),
        Column("since", Form.TIME, "The first look that found this."),
        Column("last", Form.TIME, "The last look that found the same."),
        Column("looks", Form.WHOLE, "How many runs of the account looked."),
        Column("planned", Form.WHOLE, "How many the plan in force names."),
        Column("source", Form.TEXT, "The question whose answer lists them."),
        Column("counted", Form.WHOLE, "How many it shows; empty where it was not asked or gave no answer."),
        Column("second_source", Form.TEXT, "The question to another service, or that there is no second source."),
        Column("second_counted", Form.WHOLE, "How many that one shows; empty where there is none."),
        Column("agree", Form.WORD, "yes, no, or empty where nothing can be compared."),
        Column("difference", Form.TEXT, "Who is in one and not in the other, and what is left out and why."),
        Column("run", Form.WHOLE, "Ledger entry of a run of the first look."),
        Column("calls", Form.TEXT, "Its call log, in objects/, which holds both answers."),
    ),
)
CHANGES = Table(
    "changes",
    "One row for each change of configuration, check, plan, key or asking identity in the window, and for each entry "
    "about the window itself, whenever it was written.",
    (
        Column("entry", Form.WHOLE, "Ledger entry."),
        Column("at", Form.TIME, "When it was written."),
        Column("kind", Form.WORD, "Kind of the entry; principal: another identity asks from this run on."),
        Column("what", Form.TEXT, "The change in words."),
    ),
)
ALERTS = Table(
    "alerts",
    "One row for each alert: raised, resolved, or what was told in between.",
    (
        Column("entry", Form.WHOLE, "Ledger entry."),
        Column("at", Form.TIME, "When it was written."),
        Column(
            "event",
            Form.WORD,
            "trigger; resolve; update: over for some subjects of a group; escalate: told to others, since nobody took "
            "note; acknowledge; explain: who changed it; digest.",
        ),
        Column(
            "cause",
            Form.WORD,
            "failed: not satisfied; blind: can no longer be read; missed: nobody looked; late: runs begin after "
            "their grace; anchor: a place outside takes no checkpoint; lapsed: an acceptance is over; digest: the day.",
        ),
        CHECK,
        SCOPE,
        SUBJECT,
        Column("control", Form.ID, "The control that it concerns."),
        Column("owner", Form.ID, "Who answers for that control."),
        REASON,
        Column("key", Form.TEXT, "The same for the alert and its resolution."),
        Column("delivered", Form.FLAG, "Whether at least one channel took it."),
        Column("deliveries", Form.TEXT, "Each attempt: channel, outcome, when (UTC)."),
        Column("acknowledged", Form.TIME, "When somebody first took note of it."),
        Column("acknowledged_by", Form.TEXT, "Who did, and what they said."),
        Column("acknowledgements", Form.WORD, "Ledger entries of all acknowledgements."),
        Column(
            "unobserved",
            Form.FLAG,
            "Of a resolve: whether it is over because nobody is to look there any more. Nothing was seen mended then.",
        ),
    ),
)
DECISIONS = Table(
    "decisions",
    "One row for each decision to live with a deviation, and for each that ends one, made or in force in the window.",
    (
        Column("entry", Form.WHOLE, "Ledger entry."),
        Column("at", Form.TIME, "When it was written."),
        Column("decision", Form.WORD, "accepted, or revoked."),
        Column("control", Form.ID, "The controls that bind the check."),
        CHECK,
        SCOPE,
        Column("subject", Form.TEXT, "What is accepted; empty for every subject of the check in the scope."),
        Column("approver", Form.TEXT, "Who decided."),
        REASON,
        Column("ticket", Form.TEXT, "Where more about it stands."),
        Column("expires", Form.TIME, "The first moment at which it no longer holds by itself."),
        Column("ended", Form.TIME, "When it stopped to hold: expired or revoked."),
        Column("revokes", Form.WHOLE, "The decision that this one ends."),
        Column("revoked_by", Form.WHOLE, "The decision that ends this one."),
        Column("exceptions", Form.WHOLE, "How many exceptions of the window it covers."),
    ),
)
POPULATIONS = Table(
    "populations",
    "One row for each run: how many subjects it found, and a digest that says whether they are the same.",
    (
        CHECK,
        SCOPE,
        Column("run", Form.WHOLE, "Ledger entry of the run."),
        Column("slot", Form.TIME, "The slot that it answers; empty for a run by hand."),
        Column("started", Form.TIME, "When it began."),
        Column("count", Form.WHOLE, "Subjects in scope; empty where nobody could list them."),
        Column("listing", Form.WORD, "complete, or none: the population could not be read."),
        *STATES,
        Column(
            "digest",
            Form.TEXT,
            "SHA-256 over the sorted names, one a line; equal to the field subjects of the run entry.",
        ),
        REASON,
    ),
)
ANCHORS = Table(
    "anchors",
    "One row for each attempt to put a checkpoint into a place outside, in the ledger's range.",
    (
        Column("entry", Form.WHOLE, "Ledger entry."),
        Column("at", Form.TIME, "When it was written."),
        Column("anchor", Form.ID, "The place, as type and name."),
        Column("outcome", Form.WORD, "anchored or failed."),
        Column("size", Form.WHOLE, "Entries under the checkpoint; 0 where the place was only asked whether it works."),
        Column("time", Form.TIME, "The time that the outside asserts; empty where it asserts none."),
        Column("where", Form.TEXT, "Where it lies there."),
        Column("token", Form.TEXT, "File in this package that the outside gave for it."),
        Column("checkpoint", Form.TEXT, "File in this package that it is about."),
        Column("failure", Form.WORD, "Kind of the failure."),
        REASON,
    ),
)
COLLECTOR = Table(
    "collector",
    "The collector as a control of its own: one row for each thing that happened to it in the window.",
    (
        Column(
            "event",
            Form.WORD,
            "start, stop: of a process, as it says itself; broken-off: a start that no stop went before; silence: "
            "heartbeats were due and did not come; no-heartbeat: none is known from before; missed-runs: slots with "
            "neither a run nor a declared gap; version; configuration; permissions: the checks need other rights; "
            "identity: others ask; clock: further off than 5 minutes; anchor: an attempt that a place outside did not "
            "take; undelivered: an alert that no channel took; told-late: one taken later than the grace; "
            "unacknowledged: one that nobody took note of.",
        ),
        Column("at", Form.TIME, "When, or since when."),
        Column("until", Form.TIME, "Until when it lasted; empty for what has no length."),
        Column("count", Form.WHOLE, "Heartbeats that were missed or said so, or slots; empty for other events."),
        Column("amiss", Form.FLAG, "Whether it counts against the collector's own finding."),
        Column("entries", Form.WORD, "Ledger entries that say so; of a silence those around it."),
        Column("what", Form.TEXT, "The same in words, with what is known of the reason."),
    ),
)
SPOTS = Table(
    "spots",
    "One row for each subject of each look between the slots that a change feed asked for. None of them is a run.",
    (
        Column("entry", Form.WHOLE, "Ledger entry of the look."),
        Column("at", Form.TIME, "When it was written."),
        Column("feed", Form.ID, "The feed of the configuration whose events asked for it."),
        Column("events", Form.TEXT, "The provider's ids of these events; at most 20."),
        Column("event", Form.TIME, "When the oldest of them happened, as the provider says."),
        Column("delay_s", Form.WHOLE, "Whole seconds from that event to the entry."),
        Column("started", Form.TIME, "When the look began."),
        Column("account", Form.ID, "The account that was asked."),
        CHECK,
        SCOPE,
        Column("subject", Form.TEXT, "The cloud's own full name of it, as the events named it."),
        Column("before", Form.WORD, "How the newest run or look of the window before it found it; empty: none did."),
        Column("after", Form.WORD, "How this look found it; empty where it was not listed, or nothing was."),
        REASON,
        Column("calls", Form.TEXT, "Its call log, in objects/: what was asked, and what was answered."),
    ),
)
TABLES = (
    RESULTS,
    ITEMS,
    STATES_OVER_TIME,
    EXCEPTIONS,
    COVERAGE,
    COVERAGE_BY_CONTROL,
    RECONCILIATION,
    CHANGES,
    ALERTS,
    DECISIONS,
    POPULATIONS,
    ANCHORS,
    COLLECTOR,
    SPOTS,
)
