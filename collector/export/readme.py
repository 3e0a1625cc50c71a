"""The first file of a package that anybody opens: what it is, what each file is, how to verify, where its limits are.

Said once, as sections, and set twice: as plain text and as HTML. The report repeats two of the sections.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from collector.export.columns import TABLES, Form
from collector.export.dossier import Dossier
from collector.export.markup import Html, fill, join, page, terms
from collector.export.words import Clock, counted, duration, number, utc

TEXT_WIDTH = 96

# What cryptography cannot catch, and what somebody can do about it. In no footnote.
NOT_PROVED = (
    (
        "What was never planned.",
        (
            "An account that was left out of the plan from the first day leaves no trace here. Compare the accounts in "
            "these tables with the list that the entity's organisation account gives."
        ),
    ),
    (
        "What happened between two observations.",
        "A subject that came and went, or a state that changed and changed back between two runs, was not seen.",
    ),
    (
        "That the collector was told the truth.",
        (
            "Somebody who alters the collector, or answers in the cloud's place, can have false answers recorded. Each "
            "answer keeps the cloud's own request id: look some of them up in the cloud's audit log, and watch "
            "one run live."
        ),
    ),
    (
        "That the whole ledger was not written anew.",
        (
            "Whoever holds both the signing key and the database can. Only something held outside catches it: a "
            "checkpoint "
            "that you kept earlier, or one that another party keeps. The line on assurance says what there is."
        ),
    ),
    (
        "That a control suits its criterion, or that a criterion is met.",
        (
            "The entity wrote the controls and bound the checks to them. Whether they are the right ones, and what an "
            "exception means for an opinion, is for the auditor to judge."
        ),
    ),
    (
        "Anything about a control without a check.",
        "It is listed with what the entity says it collects by hand for it. That is not in here.",
    ),
)

COMMANDS = (
    (
        "In the package's folder: every file, signature, hash, count and due slot. Needs Python, and nothing of ours.",
        "python3 verify.py",
    ),
    (
        (
            "The same, against trust material that you hold: the log's key, earlier checkpoints, keys of witnesses, "
            "roots of time stamping authorities. It says which of four levels of assurance holds for you."
        ),
        "python3 verify.py --trust ../trust",
    ),
    ("The files alone, without Python.", "sha256sum -c SHA256SUMS"),
    (
        "With the collector installed: also evaluates the kept answers again and compares the verdicts.",
        "collector verify PACKAGE --trust ../trust",
    ),
)

TRUST = (
    "Get the key from the entity by another way than this package, and keep a checkpoint of your own from one visit to "
    "the next: what lies in the package cannot vouch for the package. The verifier ends with 0 when the evidence "
    "verifies and with 4 when it does not, and says where."
)

ONE_LINE = (
    "Take a row of results.csv: its column run holds the number of a ledger entry.",
    (
        "That entry names the account, the identity that asked, the check's version and the digest of its "
        "source, the size "
        "and digest of the population, and the digests of its observations and of its call log."
    ),
    (
        "The call log lists each question with its parameters, pages, times, the cloud's request id and the digest of "
        "the answer as it was kept; each subject's row in items.csv names the questions that it rests on."
    ),
    "The source of the check is in the package: read it, and judge the answer yourself.",
)

SAMPLES = (
    (
        "Exceptions were looked for in the whole population, each time. Who wants to test a part of it by hand draws "
        "a sample: choose a seed, and nobody else chooses the items. sampling.json has the populations with their "
        "digests; the sample comes out the same from this package alone, from the ledger, and on any other machine."
    ),
)

SAMPLE_COMMANDS = (
    (
        "25 items of one control, drawn from this package with nothing but Python.",
        "python3 verify.py --sample ID --seed SEED --n 25",
    ),
    (
        "The same with the collector installed, as a table with facts and evidence.",
        "collector sample --package PACKAGE --control ID --seed SEED --n 25 --out sample.csv",
    ),
)

FILES = (
    ("README.pdf, README.html, README.txt", "This page, three times; the PDF also has the findings and exceptions."),
    ("report.html", "The window to read: findings, exceptions, gaps, alerts, changes. Opens without a network."),
    (
        "controls/",
        "A page for each control in place of screenshots: what was asked of which system, when, by whom, and answered.",
    ),
    ("collector.html", "The collector as a control of its own: whether it was there, what happened to it."),
    ("tables/", f"The same as tables: {len(TABLES)} CSV files, and tables.xlsx with a sheet for each."),
    ("plan.json", "What was due and when, as planned before the runs."),
    (
        "controls.json",
        (
            "The entity's controls with owners, criteria, checks and what is collected by hand; the configurations "
            "that say so; what is found of the collector itself."
        ),
    ),
    ("sampling.json", "The populations of each control with their digests, and how to draw samples from them."),
    ("checks/", "The source of every check version that ran in the window, under the check's id."),
    ("ledger/", "The ledger's entries of the window, byte for byte, and what ties them to what came before."),
    ("checkpoints/", "Signed heads of the ledger."),
    (
        "anchors/",
        "What places outside gave for them: time stamps, cosignatures, receipts. Absent where there are none.",
    ),
    ("proofs/", "Entries from before the range that the window rests on, each with its proof. Absent for none."),
    ("objects/", "What entries point to: answers of the clouds, call logs, observations; each named by its SHA-256."),
    ("keys.txt", "The ledger's key, to compare with the one that you got by another way."),
    ("manifest.dsse.json", "What is in the package, signed."),
    ("SHA256SUMS", "The hash of every file."),
    ("verify.py", "The verifier: one file that needs Python and nothing else."),
)


@dataclass(frozen=True)
class Section:
    """A part of the page. What is empty is left out; the order is the one below."""

    title: str
    paragraphs: Sequence[str] = ()
    steps: Sequence[str] = ()
    pairs: Sequence[tuple[str, str]] = ()
    commands: Sequence[tuple[str, str]] = ()


def left_out(dossier: Dossier) -> str:
    """What the filters of an export leave out, in a sentence; "" when they leave out nothing."""
    out = dossier.left_out
    if not (out.slots or out.runs or out.controls):
        return ""
    return (
        f"This package is about a part of what was collected: it leaves out {counted(out.controls, 'control')}, "
        f"{counted(out.slots, 'due slot')} and {counted(out.runs, 'run')} of the window. The ledger in it is whole: "
        "their entries are there and counted by the verifier; only what they rest on is not."
    )


def origin(dossier: Dossier) -> list[tuple[str, str]]:
    """What this is, of what, and from where: the same lines on every page of a package."""
    clock = Clock(dossier.zone, dossier.since, dossier.until)
    entries = dossier.last - dossier.first
    return [
        ("Origin", dossier.origin),
        ("Window", dossier.name),
        ("From", f"{clock.full(dossier.since)}, included"),
        ("Until", f"{clock.full(dossier.until)}, not included"),
        *([("Not over yet", f"the window ends {clock.full(dossier.ends)}")] if dossier.ends else []),
        ("Zone", dossier.zone.key if dossier.zone.key == "UTC" else f"{dossier.zone.key}; tables also give UTC"),
        *([("Controls", f"{', '.join(dossier.chosen)}, as asked for")] if dossier.chosen else []),
        ("Criteria", ", ".join(dossier.criteria) or "those of all controls"),
        ("Scopes", ", ".join(dossier.scopes) or "all that were planned"),
        (
            "Grace",
            f"a run is late when it begins more than {duration(timedelta(seconds=dossier.grace_s))} after it was due",
        ),
        ("Exported at", clock.full(dossier.exported_at)),
        *([("Exported by", dossier.by)] if dossier.by else []),
        ("Collector", f"version {dossier.collector}"),
        (
            "Ledger range",
            f"entries {dossier.first} to {dossier.last - 1}, {counted(entries, 'entry', 'entries')} without a hole"
            if entries
            else "no entry",
        ),
        ("Key", dossier.vkey),
    ]


def sections(dossier: Dossier, verifier: str = "") -> list[Section]:
    """The whole page. ``verifier`` is the SHA-256 of the package's verify.py."""
    due, covered = sum(line.due for line in dossier.coverage), sum(line.covered for line in dossier.coverage)
    return [
        Section(
            "What this is",
            (
                (
                    "Evidence that an automated collector kept while it asked cloud accounts, on a schedule, how "
                    "controls "
                    "really are. It says what was observed, when, and how completely. It gives no opinion."
                ),
                (
                    f"{counted(len(dossier.controls), 'control')}; {counted(due, 'execution')} due, "
                    f"{number(covered)} of "
                    f"them fully observed; {counted(len(dossier.deviations), 'exception')}."
                ),
                *([left_out(dossier)] if left_out(dossier) else []),
            ),
            pairs=origin(dossier),
        ),
        Section("How to verify it", (TRUST, *([published(dossier, verifier)] if verifier else [])), commands=COMMANDS),
        Section("How to check one line by hand", steps=ONE_LINE),
        Section("How strong it is", (dossier.assurance,)),
        Section("What it does not prove", pairs=NOT_PROVED),
        Section("The files", pairs=FILES),
        Section("How to draw a sample", SAMPLES, commands=SAMPLE_COMMANDS),
        Section(
            "The tables",
            (
                (
                    "CSV: UTF-8, CRLF, a header row. Columns that end in _utc are RFC 3339 in UTC, as in the "
                    "ledger; columns that "
                    f"end in _local are the same moments in {dossier.zone.key}. An empty cell means unknown or "
                    f"none. A text "
                    "that a spreadsheet could take for a formula has an apostrophe put before it. In Excel, open "
                    "tables.xlsx rather than the CSV files: Excel guesses at those."
                ),
            ),
        ),
        *(
            Section(
                f"{table.name}.csv",
                (table.about,),
                pairs=[
                    (f"{c.name}_utc, {c.name}_local" if c.form is Form.TIME else c.name, c.meaning)
                    for c in table.columns
                ],
            )
            for table in TABLES
        ),
    ]


def published(dossier: Dossier, verifier: str) -> str:
    """Which verifier this is: the copy in a package came with the package."""
    return (
        f"The verify.py in here has the SHA-256 {verifier}. Compare it with the one published for release "
        f"{dossier.collector} of the collector, or use a copy of your own."
    )


def readme(dossier: Dossier, verifier: str = "") -> str:
    """README.txt: UTF-8, lines of at most 96 characters where words allow it."""
    title = f"{dossier.origin}: {dossier.name}"
    lines = [title, "=" * len(title), "", f"Written {utc(dossier.exported_at)} by collector {dossier.collector}.", ""]
    for section in sections(dossier, verifier):
        lines += [section.title, "-" * len(section.title), ""]
        for paragraph in section.paragraphs:
            lines += [*_wrapped(paragraph), ""]
        for count, step in enumerate(section.steps, 1):
            lines += _wrapped(step, f"{count}. ", "   ")
        for term, said in section.pairs:
            lines += [f"  {term}", *_wrapped(said, "      ", "      ")]
        for what, command in section.commands:
            lines += [*_wrapped(what, "  ", "  "), "", f"      {command}", ""]
        if lines[-1]:
            lines.append("")
    return "\n".join(lines)


def _wrapped(text: str, first: str = "", then: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        TEXT_WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )


def readme_html(dossier: Dossier, verifier: str = "") -> str:
    """README.html: self-contained, the same words as README.txt."""
    head = fill(
        '<header><p class="eyebrow">Read this first</p><h1>{name}</h1><p class="span">{origin}</p></header>\n<main>\n',
        name=dossier.name,
        origin=dossier.origin,
    )
    body = join(
        fill("<section>\n<h2>{title}</h2>\n{said}</section>\n", title=section.title, said=said(section))
        for section in sections(dossier, verifier)
    )
    return page(f"{dossier.name}: read this first", join((head, body, Html("</main>\n"))))


def said(section: Section) -> Html:
    """A section's content without its heading."""
    parts: list[Html] = [fill("<p>{text}</p>\n", text=text) for text in section.paragraphs]
    if section.steps:
        steps = join(fill("<li>{step}</li>\n", step=step) for step in section.steps)
        parts.append(fill("<ol>\n{steps}</ol>\n", steps=steps))
    if section.pairs:
        parts.append(terms(section.pairs))
    parts += [
        fill("<p>{what}</p>\n<pre>{command}</pre>\n", what=what, command=command) for what, command in section.commands
    ]
    return join(parts)
